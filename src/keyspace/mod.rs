//! The hot tier: every live key in memory, in the order of its placement hash.
//!
//! The keyspace is authoritative for the keys it holds: a live entry, or a tombstone. It is an array of 256 shards with
//! a lock each; a shard holds one [`table::Table`] per database, made of small segments ([`segment`]) of
//! one-allocation entries ([`entry`]). Commands see it through [`Keys`], which holds the locks of one command.
//!
//! Why our own table: 8-byte slots that can be prefetched, one allocation a key, no rehash of the whole, and one hash
//! order shared with cold records, snapshots and SCAN. What it costs: the unsafe code of [`entry`], about 48 bytes of
//! allocation and 10 of slot for a small key.

mod apply;
mod apply_collection;
mod apply_stream;
pub mod entry;
mod events;
pub mod field_expiry;
mod journal;
mod keys;
pub mod lock_watch;
mod pre_image;
pub mod segment;
pub mod shard;
mod shards;
pub mod table;
pub mod tables;
mod undo;
pub mod walk;

pub use crate::event_classes::EventClasses;
pub use apply::Applied;
pub use events::KeyEvent;
pub use journal::{Journal, Recorder};
pub use keys::{Deadline, EntryInfo, Keys, LookupCounts};
pub use lock_watch::ShardGuard;
pub use pre_image::PreImage;
pub use shards::{DatabaseState, Keyspace, SHARDS, prefetch_line};
pub use storage_format::Placement;

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temperature {
    /// In the keyspace.
    Hot,
    /// A compressed copy in memory.
    Warm,
    /// Only on disk.
    Cold,
}
