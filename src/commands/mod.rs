//! The commands: one file for each family, a row and its function standing together.
//!
//! To add a command, write its function and its row at the end of the family's file; nothing else. A command is
//! plain synchronous code on live values. It knows nothing of tiers, log or network: its keys are locked and resident
//! when it runs ([`context::Context::keys`]), its changes are effects ([`crate::keyspace::Keys::apply`]).

pub mod access;
pub mod acl;
pub mod administration;
pub mod bitmaps;
pub mod bitmaps_fields;
pub mod bitmaps_operations;
pub mod bitmaps_words;
pub mod categories;
pub mod client;
pub mod client_control;
pub mod client_tracking;
pub mod collections;
pub mod command_docs;
pub mod command_info;
pub mod connection;
pub mod context;
pub mod debug;
mod debug_digest;
#[cfg(test)]
mod debug_tests;
pub mod delprefix;
pub mod document;
pub mod dump;
pub mod functions;
pub mod generic;
pub mod generic_expiry;
pub mod generic_keyspace;
pub mod generic_object;
pub mod geo;
pub mod geo_cells;
pub mod geo_search;
pub mod geo_shapes;
pub mod hash_deadlines;
pub mod hash_expiring;
pub mod hashes;
pub mod hashes_numbers;
pub mod hashes_walk;
pub mod hyperloglog;
pub mod hyperloglog_estimate;
pub mod hyperloglog_format;
pub mod hyperloglog_sparse;
pub mod introspection;
pub mod latency;
pub mod lists;
pub mod lists_blocking;
pub mod lists_move;
pub mod lists_search;
pub mod memory;
pub mod messaging;
pub mod migrate;
pub mod options;
pub mod pubsub;
pub mod script;
pub mod scripting;
pub mod services;
pub mod session;
pub mod sets;
pub mod sets_algebra;
pub mod sets_random;
pub mod slow_log;
pub mod sort;
pub mod sort_order;
pub mod sorted_sets;
pub mod sorted_sets_algebra;
pub mod sorted_sets_blocking;
pub mod sorted_sets_bounds;
pub mod sorted_sets_pop;
pub mod sorted_sets_range;
pub mod sorted_sets_remove;
pub mod spec;
pub mod standalone;
pub mod streams;
pub mod streams_groups;
pub mod streams_ids;
pub mod streams_info;
pub mod streams_pending;
pub mod streams_read;
pub mod streams_trim;
pub mod strings;
pub mod strings_conditions;
pub mod strings_lcs;
pub mod strings_numbers;
pub mod strings_ranges;
pub mod synopsis;
pub mod syntax;
pub mod table;
pub mod tiers;
pub mod transactions;
pub mod waiting;

#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod lists_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod scripting_libraries_tests;
#[cfg(test)]
mod scripting_tests;
#[cfg(test)]
mod scripting_waiting_tests;
#[cfg(test)]
mod sets_tests;
#[cfg(test)]
mod sorted_sets_algebra_tests;
#[cfg(test)]
mod sorted_sets_model_tests;
#[cfg(test)]
mod sorted_sets_tests;
#[cfg(test)]
mod streams_group_tests;
#[cfg(test)]
mod streams_tests;
#[cfg(test)]
pub mod test_replies;
#[cfg(test)]
pub mod test_services;
#[cfg(test)]
pub mod test_support;

pub use context::{BlockRequest, Context, Job, Retry, TimeoutReply};
pub use migrate::OtherServer;
pub use services::Services;
pub use session::Session;
pub use spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
