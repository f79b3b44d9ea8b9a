//! The footer: the last 64 bytes of a snapshot, which make it complete (FORMAT.md section 7.5).

use std::ops::Range;

use crate::bytes::{u32_at, u64_at};
use crate::error::FormatError;

/// The last bytes of a complete snapshot.
const FOOTER_MAGIC: [u8; 8] = *b"LARDREND";

/// Where everything behind the blocks stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    /// Where the blocks end and the index begins.
    pub(crate) index_offset: u64,
    /// Bytes of the index.
    pub(crate) index_length: u64,
    /// Bytes of the statistics, which follow the index.
    pub(crate) statistics_length: u64,
    /// How many entries the snapshot holds.
    pub(crate) entry_count: u64,
    /// CRC of the index.
    pub(crate) index_crc: u32,
    /// CRC of the header at the start of the file: binds both ends together.
    pub(crate) header_crc: u32,
}

impl Footer {
    pub(crate) const LENGTH: usize = 64;

    pub(crate) fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..8].copy_from_slice(&self.index_offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.index_length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.statistics_length.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.entry_count.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.index_crc.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.header_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..56].copy_from_slice(&crc.to_le_bytes());
        bytes[56..].copy_from_slice(&FOOTER_MAGIC);
        bytes
    }

    /// Reads the footer at the end of `file`. Its fields add up: index and statistics lie in front of it without a gap.
    pub(crate) fn decode(file: &[u8]) -> Result<Self, FormatError> {
        let start = file.len().saturating_sub(Self::LENGTH);
        let damaged = FormatError::damaged("snapshot footer", start);
        let Some(bytes) = file.last_chunk::<{ Self::LENGTH }>() else {
            return Err(damaged);
        };
        if !bytes.ends_with(&FOOTER_MAGIC) || crc32fast::hash(&bytes[..52]) != u32_at(bytes, 52) {
            return Err(damaged);
        }
        let footer = Self {
            index_offset: u64_at(bytes, 0),
            index_length: u64_at(bytes, 8),
            statistics_length: u64_at(bytes, 16),
            entry_count: u64_at(bytes, 24),
            index_crc: u32_at(bytes, 32),
            header_crc: u32_at(bytes, 36),
        };
        let end = footer
            .index_offset
            .checked_add(footer.index_length)
            .and_then(|sum| sum.checked_add(footer.statistics_length));
        if end == Some(start as u64) {
            Ok(footer)
        } else {
            Err(damaged)
        }
    }

    /// Where the index stands in the file.
    pub(crate) fn index_range(&self) -> Range<usize> {
        let start = self.index_offset as usize;
        start..start + self.index_length as usize
    }

    /// Where the statistics stand in the file.
    pub(crate) fn statistics_range(&self) -> Range<usize> {
        let start = self.index_range().end;
        start..start + self.statistics_length as usize
    }
}
