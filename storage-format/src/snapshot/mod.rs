//! Snapshot files: a state at one LSN, complete and sealed (FORMAT.md section 7).
//!
//! A header, LZ4 blocks of about 64 KiB holding entries in (generation, hash, key) order, an index with one row for each block,
//! statistics, and a footer that says where these are. It is written once, front to back, so the writer needs no seeking; it is read by
//! memory map, where a point lookup is a binary search in the index and the decoding of one block. Opening reads the header, footer,
//! index and statistics, which is about 1/2000 of the file, and none of the blocks.
//!
//! - [`block`]: entries and their blocks
//! - [`index`]: rows and the search in them
//! - [`writer`], [`reader`]: the file as a whole
//! - [`statistics`]: what is in it, by generation and type

pub mod block;
mod footer;
pub mod index;
pub mod reader;
pub mod statistics;
pub mod writer;

use serde::{Deserialize, Serialize};

pub use block::{DecodedBlock, SnapshotEntry};
pub use reader::SnapshotReader;
pub use statistics::{GenerationStatistics, KindStatistics, Statistics};
pub use writer::{SnapshotSummary, SnapshotWriter};

use crate::envelope::Envelope;

/// The first bytes of a snapshot file.
pub const SNAPSHOT_MAGIC: [u8; 8] = *b"LARDRSNP";
/// The version of the snapshot format that this build writes, and the newest that it reads.
pub const SNAPSHOT_VERSION: u32 = 1;
/// A block is closed when its entries have this many bytes.
pub const BLOCK_TARGET_BYTES: usize = 64 << 10;

pub(crate) const HEADER_ENVELOPE: Envelope = Envelope {
    what: "snapshot",
    magic: SNAPSHOT_MAGIC,
    version: SNAPSHOT_VERSION,
};

/// What a snapshot file says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Which form it is.
    pub form: SnapshotForm,
    /// Seed of the placement hash by which the entries are ordered.
    pub hash_seed: u64,
    /// The cut: the state at this LSN exactly.
    pub cut_lsn: u64,
    /// Number of the first log segment to replay on it.
    pub log_segment_number: u64,
    /// When the cut was made, in Unix milliseconds.
    pub created_ms: u64,
    /// The generation of each logical database, by index.
    pub generations: Vec<u32>,
}

/// What a snapshot file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotForm {
    /// The hot entries: complete only together with its data directory's cold records.
    Snapshot,
    /// Every key, hot and cold: complete by itself.
    Backup,
}

#[cfg(test)]
mod tests;
