//! Reads a snapshot by memory map: opening verifies everything but the blocks; each block is verified when it is decoded.

use std::path::Path;

use memmap2::Mmap;

use crate::error::{FileError, FormatError};
use crate::mapped::map_file;
use crate::snapshot::block::{DecodedBlock, SnapshotEntry};
use crate::snapshot::footer::Footer;
use crate::snapshot::index::BlockIndex;
use crate::snapshot::statistics::{STATISTICS_ENVELOPE, Statistics};
use crate::snapshot::{HEADER_ENVELOPE, SnapshotHeader};

/// An open snapshot. `B` is where its bytes are: a memory map, or anything else for tests and streams.
#[derive(Debug)]
pub struct SnapshotReader<B = Mmap> {
    bytes: B,
    header: SnapshotHeader,
    footer: Footer,
    statistics: Statistics,
}

impl SnapshotReader<Mmap> {
    /// Maps and opens the snapshot at `path`.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be mapped, or as [`SnapshotReader::from_bytes`].
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let map = map_file(path)?;
        Self::from_bytes(map).map_err(FileError::format(path))
    }
}

impl<B: AsRef<[u8]>> SnapshotReader<B> {
    /// Opens the snapshot in these bytes: verifies header, footer, index and statistics, and that the blocks fill all the rest.
    ///
    /// # Errors
    /// [`FormatError::NotThisFormat`], [`FormatError::NewerVersion`], or [`FormatError::Damaged`] with the offset in the file.
    pub fn from_bytes(bytes: B) -> Result<Self, FormatError> {
        let file = bytes.as_ref();
        let (header, header_length) = HEADER_ENVELOPE.open::<SnapshotHeader>(file)?;
        let footer = Footer::decode(file)?;
        if crc32fast::hash(&file[..header_length]) != footer.header_crc {
            return Err(FormatError::damaged("snapshot header", 0));
        }
        let index_bytes = file
            .get(footer.index_range())
            .ok_or(FormatError::damaged("snapshot footer", file.len()))?;
        let index = BlockIndex::new(index_bytes);
        let whole_rows = footer
            .index_length
            .is_multiple_of(super::index::INDEX_ROW_LENGTH as u64);
        if !whole_rows || crc32fast::hash(index_bytes) != footer.index_crc {
            return Err(FormatError::damaged(
                "snapshot index",
                footer.index_range().start,
            ));
        }
        let blocks = header_length as u64..footer.index_offset;
        index.validate(blocks, footer.index_offset, footer.entry_count)?;
        let statistics_start = footer.statistics_range().start as u64;
        let damaged = || FormatError::Damaged {
            what: "snapshot statistics",
            offset: statistics_start,
        };
        let statistics_bytes = file.get(footer.statistics_range()).ok_or_else(damaged)?;
        let (statistics, length) = STATISTICS_ENVELOPE
            .open::<Statistics>(statistics_bytes)
            .map_err(|error| error.shifted_by(statistics_start))?;
        if length != statistics_bytes.len() || statistics.entry_count() != footer.entry_count {
            return Err(damaged());
        }
        Ok(Self {
            bytes,
            header,
            footer,
            statistics,
        })
    }

    /// What the snapshot says about itself.
    #[must_use]
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// What is in it.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// How many entries it holds.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.footer.entry_count
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.bytes.as_ref().len() as u64
    }

    /// How many blocks it has.
    #[must_use]
    pub fn block_count(&self) -> usize {
        self.index().len()
    }

    /// The block index: which block holds what.
    #[must_use]
    pub fn index(&self) -> BlockIndex<'_> {
        BlockIndex::new(
            self.bytes
                .as_ref()
                .get(self.footer.index_range())
                .unwrap_or_default(),
        )
    }

    /// Decodes a block, from 0.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] with the offset in the file.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn decode_block(&self, block: usize) -> Result<DecodedBlock, FormatError> {
        let row = self.index().get(block);
        let row = row.unwrap_or_else(|| panic!("block {block} of {}", self.block_count()));
        let damaged = || FormatError::Damaged {
            what: "snapshot block",
            offset: row.offset,
        };
        let start = row.offset as usize;
        let stored = self
            .bytes
            .as_ref()
            .get(start..start + row.stored_length as usize)
            .ok_or_else(damaged)?;
        let decoded = DecodedBlock::decode(stored).map_err(|error| error.shifted_by(row.offset))?;
        let first = decoded
            .entries()
            .next()
            .map(|entry| (entry.generation, entry.hash));
        let agrees = decoded.entry_count() == row.entry_count
            && first == Some((row.first_generation, row.first_hash));
        if agrees { Ok(decoded) } else { Err(damaged()) }
    }

    /// Looks a key up and hands its entry to `read`: a binary search and the decoding of at most one block.
    ///
    /// # Errors
    /// As [`SnapshotReader::decode_block`].
    pub fn find<R>(
        &self,
        generation: u32,
        hash: u64,
        key: &[u8],
        read: impl FnOnce(SnapshotEntry<'_>) -> R,
    ) -> Result<Option<R>, FormatError> {
        let Some(block) = self.index().block_of(generation, hash) else {
            return Ok(None);
        };
        Ok(self
            .decode_block(block)?
            .find(generation, hash, key)
            .map(read))
    }

    /// Reads every block, calling `progress` with the number of blocks done after each, and compares what was read with the statistics.
    ///
    /// # Errors
    /// The first damage found.
    pub fn verify_all(&self, mut progress: impl FnMut(usize)) -> Result<(), FormatError> {
        let damages = self.damages(|block, _| {
            progress(block + 1);
            Ok(())
        });
        damages.into_iter().next().map_or(Ok(()), Err)
    }

    /// Reads every block and goes on behind damaged ones: all damage that there is, by ascending offset. `each_block` sees the sound blocks in
    /// order, with their numbers from 0, and may find more.
    pub fn damages(
        &self,
        mut each_block: impl FnMut(usize, &DecodedBlock) -> Result<(), FormatError>,
    ) -> Vec<FormatError> {
        let mut damages = Vec::new();
        let mut counted = Statistics::default();
        let mut last = None;
        for (block, row) in self.index().rows().enumerate() {
            let decoded = match self.decode_block(block) {
                Ok(decoded) => decoded,
                Err(damage) => {
                    damages.push(damage);
                    continue;
                }
            };
            if last >= Some((row.first_generation, row.first_hash)) {
                damages.push(FormatError::Damaged {
                    what: "snapshot order",
                    offset: row.offset,
                });
            }
            last = decoded
                .entries()
                .last()
                .map(|entry| (entry.generation, entry.hash));
            decoded.entries().for_each(|entry| counted.add(&entry));
            damages.extend(each_block(block, &decoded).err());
        }
        if damages.is_empty() && counted != self.statistics {
            damages.push(FormatError::damaged(
                "snapshot statistics",
                self.footer.statistics_range().start,
            ));
        }
        damages
    }
}
