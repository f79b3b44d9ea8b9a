//! The append-only log: every change, in the order it happened, in memory-mapped files.
//!
//! A record is appended under one short lock that hands out its LSN and copies it into the mapping. So the order of LSNs is
//! the order in the file, a kill can tear the last record only, and no watermark is needed (decision 0004 has the
//! figures). Appending is a copy into the page cache: what a client was told survives `kill -9` under every
//! [`SyncPolicy`] without a system call on the way; the policy decides about power failures.
//!
//! - [`segment`]: one file and its mapping
//! - [`inventory`]: all files of the directory, and the spare that is always prepared ahead
//! - [`append`]: [`Log`], the lock, and the promise that there is room
//! - [`sync`]: the thread that makes records durable, and those who wait for it
//! - [`mod@replay`]: reading the log at start-up: the end of it, torn tails, damage; [`scan`]: its segments, several at a time;
//!   [`index`]: what of it belongs to which part of the keyspace
//! - [`counter`]: LSNs without a log
//!
//! Cost: two segments of disk (the active one and its spare) even when nothing is written, and two threads that sleep.

mod append;
mod counter;
pub mod index;
mod inventory;
pub mod replay;
pub mod scan;
mod segment;
mod sync;

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

pub use append::{Log, LogStatistics, Rotation};
pub use counter::NoLog;
pub use inventory::{has_segment, remove_files_before};
pub use replay::{LogEnd, ReplayStart, TornTail, replay};
pub use scan::ReadOptions;

use std::path::PathBuf;

/// Bytes of a segment unless the options say otherwise.
pub const SEGMENT_BYTES: usize = 64 << 20;
/// The smallest segment that works: header, slack, and something to write.
pub const SEGMENT_BYTES_MIN: usize = 16 << 10;

/// When records reach the disk for good: `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before the reply leaves.
    Always,
    /// Once a second: a power failure takes the last second.
    EverySecond,
    /// When the operating system sees fit, or somebody asks.
    Never,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Where its files are; it exists.
    pub directory: PathBuf,
    /// Seed of the placement hash: tells this directory's segments from others'.
    pub hash_seed: u64,
    /// Bytes of a segment, at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: usize,
    /// How many removed segments are kept for reuse.
    pub pool_segments: usize,
    /// When records are synced.
    pub sync_policy: SyncPolicy,
    /// What all files together may take, in bytes; as if the disk ended there.
    pub quota_bytes: u64,
}

impl LogOptions {
    /// The defaults for a directory: 64 MiB segments, two kept for reuse, synced every second, no quota.
    pub fn new(directory: impl Into<PathBuf>, hash_seed: u64) -> LogOptions {
        LogOptions {
            directory: directory.into(),
            hash_seed,
            segment_bytes: SEGMENT_BYTES,
            pool_segments: 2,
            sync_policy: SyncPolicy::EverySecond,
            quota_bytes: u64::MAX,
        }
    }
}
