//! Writes a snapshot front to back into any [`Write`]: no seeking, one block of entries in memory, and the index (32 bytes a block).

use std::io::{self, Write};

use crate::snapshot::block::{SnapshotEntry, encode_block};
use crate::snapshot::footer::Footer;
use crate::snapshot::index::IndexRow;
use crate::snapshot::statistics::{STATISTICS_ENVELOPE, Statistics};
use crate::snapshot::{BLOCK_TARGET_BYTES, HEADER_ENVELOPE, SnapshotHeader};

/// Writes a snapshot. Entries are pushed in (generation, hash, key) order; nothing is complete before [`SnapshotWriter::finish`].
#[derive(Debug)]
pub struct SnapshotWriter<W: Write> {
    out: W,
    /// Bytes written so far: where the next block begins.
    offset: u64,
    header_crc: u32,
    /// The encoded entries of the block that is being filled.
    entries: Vec<u8>,
    entry_count: u32,
    /// Generation and hash of that block's first entry.
    first: (u32, u64),
    /// Generation, hash and key of the last entry pushed.
    last: Option<(u32, u64)>,
    last_key: Vec<u8>,
    /// The encoded block on its way to `out`, kept for its allocation.
    block: Vec<u8>,
    index: Vec<u8>,
    statistics: Statistics,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// How many entries.
    pub entry_count: u64,
    /// How many blocks.
    pub block_count: u64,
    /// Bytes of the whole file.
    pub file_bytes: u64,
    /// What is in it.
    pub statistics: Statistics,
}

impl<W: Write> SnapshotWriter<W> {
    /// Writes the header. `out` should need no buffer of its own: a block is written by one call.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn new(mut out: W, header: &SnapshotHeader) -> io::Result<Self> {
        let bytes = HEADER_ENVELOPE.seal(header)?;
        out.write_all(&bytes)?;
        Ok(Self {
            out,
            offset: bytes.len() as u64,
            header_crc: crc32fast::hash(&bytes),
            entries: Vec::with_capacity(BLOCK_TARGET_BYTES * 2),
            entry_count: 0,
            first: (0, 0),
            last: None,
            last_key: Vec::new(),
            block: Vec::with_capacity(BLOCK_TARGET_BYTES * 2),
            index: Vec::new(),
            statistics: Statistics::default(),
        })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Any I/O error, or [`io::ErrorKind::InvalidInput`] for an entry that is not behind the one before it in (generation, hash, key)
    /// order: the caller's mistake, which would make the file unreadable.
    pub fn push(&mut self, entry: &SnapshotEntry<'_>) -> io::Result<()> {
        let position = (entry.generation, entry.hash);
        let new_position = self.last != Some(position);
        let behind = self
            .last
            .is_none_or(|last| (last, self.last_key.as_slice()) < (position, entry.key));
        if !behind {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "snapshot entries are not in order",
            ));
        }
        // Only between positions, so that all entries of one position are in one block.
        if new_position && self.entries.len() >= BLOCK_TARGET_BYTES {
            self.write_block()?;
        }
        if self.entry_count == 0 {
            self.first = position;
        }
        entry.encode(&mut self.entries);
        self.entry_count += 1;
        self.statistics.add(entry);
        self.last = Some(position);
        self.last_key.clear();
        self.last_key.extend_from_slice(entry.key);
        Ok(())
    }

    /// Bytes written so far, for progress and pacing.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.offset
    }

    /// Writes what remains, the index, the statistics and the footer, flushes, and gives `out` back: to be synced and published
    /// ([`crate::durable::publish`]) by the caller.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn finish(mut self) -> io::Result<(W, SnapshotSummary)> {
        if self.entry_count > 0 {
            self.write_block()?;
        }
        let statistics = STATISTICS_ENVELOPE.seal(&self.statistics)?;
        let footer = Footer {
            index_offset: self.offset,
            index_length: self.index.len() as u64,
            statistics_length: statistics.len() as u64,
            entry_count: self.statistics.entry_count(),
            index_crc: crc32fast::hash(&self.index),
            header_crc: self.header_crc,
        };
        self.out.write_all(&self.index)?;
        self.out.write_all(&statistics)?;
        self.out.write_all(&footer.encode())?;
        self.out.flush()?;
        let summary = SnapshotSummary {
            entry_count: footer.entry_count,
            block_count: (self.index.len() / crate::snapshot::index::INDEX_ROW_LENGTH) as u64,
            file_bytes: self.offset
                + footer.index_length
                + footer.statistics_length
                + Footer::LENGTH as u64,
            statistics: self.statistics,
        };
        Ok((self.out, summary))
    }

    fn write_block(&mut self) -> io::Result<()> {
        self.block.clear();
        let stored_length = encode_block(&self.entries, self.entry_count, &mut self.block) as u64;
        self.out.write_all(&self.block)?;
        let row = IndexRow {
            first_generation: self.first.0,
            first_hash: self.first.1,
            entry_count: self.entry_count,
            offset: self.offset,
            stored_length,
        };
        self.index.extend_from_slice(&row.encode());
        self.offset += stored_length;
        self.entries.clear();
        self.entry_count = 0;
        // One huge value must not keep its memory for the rest of the walk.
        self.entries.shrink_to(BLOCK_TARGET_BYTES * 2);
        self.block.shrink_to(BLOCK_TARGET_BYTES * 2);
        Ok(())
    }
}
