//! The commands: one file for each family, a row and its function standing together.
//!
//! To add a command, write its function and its row at the end of the family's file; nothing else. A command is
//! plain synchronous code on live values. It knows nothing of tiers, log or network: its keys are locked and resident
//! when it runs ([`context::Context::keys`]), its changes are effects ([`crate::keyspace::Keys::apply`]).

pub mod administration;
pub mod client;
pub mod connection;
pub mod context;
pub mod introspection;
pub mod options;
pub mod services;
pub mod session;
pub mod spec;
pub mod table;
pub mod tiers;
pub mod transactions;

#[cfg(test)]
pub mod test_replies;
#[cfg(test)]
pub mod test_services;
#[cfg(test)]
pub mod test_support;

pub use context::{Context, Job};
pub use services::Services;
pub use session::Session;
pub use spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
