//! Larder: a Redis-protocol cache that keeps more than fits in memory and survives restarts.
//!
//! `docs/ARCHITECTURE.md` has the bird's-eye view. The arrows: `net -> dispatch -> commands -> keyspace -> value ->
//! storage-format`; `dispatch -> tier, persist`; `tier, persist -> keyspace`.

pub mod clock;
pub mod commands;
pub mod config;
pub mod dispatch;
pub mod error;
pub mod event_classes;
pub mod glob;
pub mod keyspace;
pub mod metrics;
pub mod net;
pub mod persist;
pub mod pubsub;
pub mod resp;
pub mod server;
pub mod stopwatch;
pub mod tier;
pub mod tracking;
pub mod value;
