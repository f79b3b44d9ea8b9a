//! What makes the keyspace survive: the append-only log, forkless snapshots, and the start-up that puts them together.
//!
//! Durable state at a snapshot's cut = snapshot + cold records; from there on the log. `docs/ARCHITECTURE.md` has the rules;
//! the modules say how each of them is kept.

pub mod log;
