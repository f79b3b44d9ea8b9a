//! The block index: one fixed-size row for each block, searched in place (FORMAT.md section 7.3).

use std::ops::{Range, RangeInclusive};

use crate::bytes::{u32_at, u64_at};
use crate::error::FormatError;

/// Bytes of a row (FORMAT.md section 7.3).
pub const INDEX_ROW_LENGTH: usize = 32;

/// One block's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexRow {
    /// Generation of the block's first entry.
    pub first_generation: u32,
    /// Hash of the block's first entry. All entries of one generation and hash are in one block.
    pub first_hash: u64,
    /// How many entries the block holds.
    pub entry_count: u32,
    /// Where the block begins in the file, in bytes.
    pub offset: u64,
    /// Bytes that the block takes in the file, its header included.
    pub stored_length: u64,
}

impl IndexRow {
    fn first(&self) -> (u32, u64) {
        (self.first_generation, self.first_hash)
    }

    pub(crate) fn encode(&self) -> [u8; INDEX_ROW_LENGTH] {
        let mut bytes = [0; INDEX_ROW_LENGTH];
        bytes[..4].copy_from_slice(&self.first_generation.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.entry_count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first_hash.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..].copy_from_slice(&self.stored_length.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; INDEX_ROW_LENGTH]) -> Self {
        Self {
            first_generation: u32_at(bytes, 0),
            entry_count: u32_at(bytes, 4),
            first_hash: u64_at(bytes, 8),
            offset: u64_at(bytes, 16),
            stored_length: u64_at(bytes, 24),
        }
    }
}

/// The rows of a snapshot, as they stand in the file.
#[derive(Debug, Clone, Copy)]
pub struct BlockIndex<'a> {
    rows: &'a [[u8; INDEX_ROW_LENGTH]],
}

impl<'a> BlockIndex<'a> {
    /// The index in these bytes; a remainder that is no whole row is left out.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rows: bytes.as_chunks().0,
        }
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row of a block.
    #[must_use]
    pub fn get(&self, block: usize) -> Option<IndexRow> {
        self.rows.get(block).map(IndexRow::decode)
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = IndexRow> + use<'a> {
        self.rows.iter().map(IndexRow::decode)
    }

    /// The only block that can hold entries of this generation and hash. `None` if all entries come behind it.
    #[must_use]
    pub fn block_of(&self, generation: u32, hash: u64) -> Option<usize> {
        self.rows
            .partition_point(|row| IndexRow::decode(row).first() <= (generation, hash))
            .checked_sub(1)
    }

    /// The blocks that can hold entries of this generation with a hash in this range.
    #[must_use]
    pub fn blocks_of_range(&self, generation: u32, hashes: RangeInclusive<u64>) -> Range<usize> {
        let behind = |hash| {
            self.rows
                .partition_point(|row| IndexRow::decode(row).first() <= (generation, hash))
        };
        let end = behind(*hashes.end());
        let start = behind(*hashes.start()).saturating_sub(1);
        if hashes.is_empty() {
            start..start
        } else {
            start..end.max(start)
        }
    }

    /// Checks that the blocks fill the file from `blocks_start` to `blocks_end` without a gap, in order, and that they hold `entry_count`
    /// entries in all. `index_offset` is where the index stands, for the error's offset.
    pub(crate) fn validate(
        &self,
        blocks: Range<u64>,
        index_offset: u64,
        entry_count: u64,
    ) -> Result<(), FormatError> {
        let damaged = |block: usize| {
            FormatError::damaged("snapshot index", block * INDEX_ROW_LENGTH)
                .shifted_by(index_offset)
        };
        let (mut offset, mut entries, mut last) = (blocks.start, 0u64, None);
        for (block, row) in self.rows().enumerate() {
            let in_order = last.is_none_or(|last| last < row.first());
            if row.offset != offset || row.entry_count == 0 || !in_order {
                return Err(damaged(block));
            }
            offset = offset
                .checked_add(row.stored_length)
                .ok_or_else(|| damaged(block))?;
            entries += u64::from(row.entry_count);
            last = Some(row.first());
        }
        if (offset, entries) == (blocks.end, entry_count) {
            Ok(())
        } else {
            Err(damaged(self.len()))
        }
    }
}
