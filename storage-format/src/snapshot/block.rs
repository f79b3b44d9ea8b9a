//! Entries, and the blocks that hold them (FORMAT.md section 7.2).
//!
//! A block is compressed as a whole, because neighbours compress where single small values do not. It is self-contained: its header has
//! its lengths, its entry count and a CRC of all of it, so that a damaged index or footer does not make the rest unreadable.

use crate::bytes::{u32_at, u64_at};
use crate::error::FormatError;
use crate::reader::{ByteReader, put_bytes};
use crate::value::ValueKind;
use crate::varint::put_varint;

/// Bytes in front of a block's stored contents (FORMAT.md section 7.2).
pub const BLOCK_HEADER_LENGTH: usize = 24;

/// LZ4 cannot make anything more than this many times smaller: more is damage, found before memory is taken for it.
const MAX_LZ4_RATIO: u64 = 255;
/// The most that is compressed as one: LZ4's own limit. Larger blocks (a single huge value) are stored as they are.
const MAX_LZ4_INPUT: usize = 0x7E00_0000;

/// A key with its value and everything that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotEntry<'a> {
    /// The generation of the key's database.
    pub generation: u32,
    /// The placement hash of `key`.
    pub hash: u64,
    /// The version of the key.
    pub lsn: u64,
    /// Absolute deadline in Unix milliseconds; 0 = none.
    pub deadline_ms: u64,
    /// The value's type.
    pub kind: ValueKind,
    /// The client's key.
    pub key: &'a [u8],
    /// The value in the value encoding. Not validated by reading a block: see [`crate::value::validate`].
    pub value: &'a [u8],
}

impl<'a> SnapshotEntry<'a> {
    /// What entries are ordered by.
    #[must_use]
    pub fn order(&self) -> (u32, u64, &'a [u8]) {
        (self.generation, self.hash, self.key)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        put_varint(out, u64::from(self.generation));
        out.extend_from_slice(&self.hash.to_le_bytes());
        put_varint(out, self.lsn);
        put_varint(out, self.deadline_ms);
        put_bytes(out, self.key);
        put_bytes(out, self.value);
    }

    fn read(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        Ok(Self {
            kind: ValueKind::read(reader)?,
            generation: reader.varint_u32("entry generation")?,
            hash: u64::from_le_bytes(reader.array("entry hash")?),
            lsn: reader.lsn("entry LSN")?,
            deadline_ms: reader.varint("entry deadline")?,
            key: reader.bytes("entry key")?,
            value: reader.bytes("entry value")?,
        })
    }
}

/// Appends a block with these encoded entries to `out` and returns its stored length, header included.
pub(crate) fn encode_block(entries: &[u8], entry_count: u32, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + BLOCK_HEADER_LENGTH, 0);
    let compressed = (entries.len() <= MAX_LZ4_INPUT)
        .then(|| lz4_flex::block::compress(entries))
        .filter(|compressed| compressed.len() < entries.len());
    out.extend_from_slice(compressed.as_deref().unwrap_or(entries));
    let header = &mut out[start..start + BLOCK_HEADER_LENGTH];
    header[8..16].copy_from_slice(&(entries.len() as u64).to_le_bytes());
    header[16..20].copy_from_slice(&entry_count.to_le_bytes());
    reseal_block(&mut out[start..]);
    out.len() - start
}

/// Makes the stored length and the CRC of a block right. It must have its whole header.
pub(crate) fn reseal_block(block: &mut [u8]) {
    let stored_length = (block.len() - BLOCK_HEADER_LENGTH) as u64;
    block[..8].copy_from_slice(&stored_length.to_le_bytes());
    let crc = block_crc(block);
    block[20..BLOCK_HEADER_LENGTH].copy_from_slice(&crc.to_le_bytes());
}

/// The CRC of a whole block without the four bytes that hold it.
fn block_crc(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..20]);
    hasher.update(&block[BLOCK_HEADER_LENGTH..]);
    hasher.finalize()
}

/// A decompressed, validated block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedBlock {
    entries: Vec<u8>,
    entry_count: u32,
}

impl DecodedBlock {
    /// Decodes a whole block (header and contents): verifies the CRC, that the entries are complete and that they are in order.
    ///
    /// # Errors
    /// [`FormatError::Damaged`], its offset counted from the start of the block.
    pub fn decode(block: &[u8]) -> Result<Self, FormatError> {
        let (header, stored) = block
            .split_first_chunk::<BLOCK_HEADER_LENGTH>()
            .ok_or(FormatError::damaged("snapshot block", 0))?;
        let (stored_length, raw_length) = (u64_at(header, 0), u64_at(header, 8));
        if stored_length != stored.len() as u64 || block_crc(block) != u32_at(header, 20) {
            return Err(FormatError::damaged("snapshot block", 0));
        }
        let entries = decompress(stored, raw_length)?;
        let decoded = Self {
            entries,
            entry_count: u32_at(header, 16),
        };
        decoded.validate()?;
        Ok(decoded)
    }

    /// How many entries the block holds.
    #[must_use]
    pub fn entry_count(&self) -> u32 {
        self.entry_count
    }

    /// Bytes of the decompressed entries.
    #[must_use]
    pub fn raw_length(&self) -> usize {
        self.entries.len()
    }

    /// The entries in (generation, hash, key) order.
    #[must_use]
    pub fn entries(&self) -> Entries<'_> {
        Entries {
            reader: ByteReader::new(&self.entries),
            left: self.entry_count,
        }
    }

    /// The entry of a key.
    #[must_use]
    pub fn find(&self, generation: u32, hash: u64, key: &[u8]) -> Option<SnapshotEntry<'_>> {
        self.entries()
            .take_while(|entry| entry.order() <= (generation, hash, key))
            .find(|entry| entry.order() == (generation, hash, key))
    }

    fn validate(&self) -> Result<(), FormatError> {
        let at_block = |_| FormatError::damaged("snapshot entry", BLOCK_HEADER_LENGTH);
        let mut reader = ByteReader::new(&self.entries);
        let mut last = None;
        for _ in 0..self.entry_count {
            let entry = SnapshotEntry::read(&mut reader).map_err(at_block)?;
            if last.is_some_and(|last| last >= entry.order()) {
                return Err(FormatError::damaged("snapshot order", BLOCK_HEADER_LENGTH));
            }
            last = Some(entry.order());
        }
        reader.finish("snapshot entry").map_err(at_block)
    }
}

fn decompress(stored: &[u8], raw_length: u64) -> Result<Vec<u8>, FormatError> {
    let damaged = FormatError::damaged("snapshot block lengths", 8);
    if raw_length == stored.len() as u64 {
        return Ok(stored.to_vec());
    }
    if raw_length / MAX_LZ4_RATIO > stored.len() as u64 || raw_length > MAX_LZ4_INPUT as u64 {
        return Err(damaged);
    }
    let mut raw = vec![0; raw_length as usize];
    match lz4_flex::block::decompress_into(stored, &mut raw) {
        Ok(length) if length == raw.len() => Ok(raw),
        _ => Err(FormatError::damaged(
            "snapshot block compression",
            BLOCK_HEADER_LENGTH,
        )),
    }
}

/// Iterates over the entries of a [`DecodedBlock`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    reader: ByteReader<'a>,
    left: u32,
}

impl<'a> Iterator for Entries<'a> {
    type Item = SnapshotEntry<'a>;

    fn next(&mut self) -> Option<SnapshotEntry<'a>> {
        self.left = self.left.checked_sub(1)?;
        SnapshotEntry::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Entries<'_> {}
