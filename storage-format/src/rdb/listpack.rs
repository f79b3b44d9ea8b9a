//! The listpack: the packed list of Redis since 5. Its size in bytes (`u32`), the number of entries (`u16`, 65535: count them), the entries,
//! 0xff. An entry is an integer or a string, and its own size again behind it (1 to 5 bytes of 7 bits, the most significant first),
//! for walking backwards.

use super::elements::Elements;
use super::writer::canonical_integer;
use super::ziplist::int24;
use crate::error::FormatError;
use crate::reader::ByteReader;

const END: u8 = 0xff;
const HEADER_BYTES: usize = 6;
const UNCOUNTED: usize = u16::MAX as usize;

/// Appends all entries to `elements`, and returns how many there are.
///
/// # Errors
/// [`FormatError::Damaged`] if the bytes are not exactly a listpack, or if its sizes and counts disagree.
pub(super) fn read(bytes: &[u8], elements: &mut Elements) -> Result<usize, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let size = u32::from_le_bytes(reader.array("listpack size")?) as usize;
    let announced = usize::from(u16::from_le_bytes(reader.array("listpack count")?));
    if size != bytes.len() {
        return Err(FormatError::damaged("listpack size", 0));
    }
    let mut count = 0;
    loop {
        let start = reader.position();
        let first = reader.u8("listpack entry")?;
        if first == END {
            break;
        }
        read_entry(first, &mut reader, elements)?;
        let mut expected = [0; 5];
        let written = back_length(&mut expected, reader.position() - start);
        if reader.take(written.len(), "listpack entry")? != written {
            return Err(FormatError::damaged("listpack entry size", start));
        }
        count += 1;
    }
    reader.finish("listpack end")?;
    if announced != UNCOUNTED && announced != count {
        return Err(FormatError::damaged("listpack count", 4));
    }
    Ok(count)
}

fn read_entry(
    first: u8,
    reader: &mut ByteReader<'_>,
    elements: &mut Elements,
) -> Result<(), FormatError> {
    const WHAT: &str = "listpack entry";
    let length = match first {
        0x80..0xc0 => usize::from(first & 0x3f),
        0xe0..0xf0 => usize::from(first & 0x0f) << 8 | usize::from(reader.u8(WHAT)?),
        0xf0 => u32::from_le_bytes(reader.array(WHAT)?) as usize,
        _ => {
            elements.push_integer(read_integer(first, reader)?);
            return Ok(());
        }
    };
    elements.push(reader.take(length, WHAT)?);
    Ok(())
}

fn read_integer(first: u8, reader: &mut ByteReader<'_>) -> Result<i64, FormatError> {
    const WHAT: &str = "listpack integer";
    Ok(match first {
        0..0x80 => i64::from(first),
        0xc0..0xe0 => {
            let bits = i64::from(first & 0x1f) << 8 | i64::from(reader.u8(WHAT)?);
            // 13 bits with a sign.
            if bits < 1 << 12 {
                bits
            } else {
                bits - (1 << 13)
            }
        }
        0xf1 => i64::from(i16::from_le_bytes(reader.array(WHAT)?)),
        0xf2 => int24(reader.array(WHAT)?),
        0xf3 => i64::from(i32::from_le_bytes(reader.array(WHAT)?)),
        0xf4 => i64::from_le_bytes(reader.array(WHAT)?),
        _ => return Err(reader.damaged(WHAT)),
    })
}

/// The size of an entry as it stands behind it. The borders between the lengths are Redis's, one below what 7 bits each would hold.
fn back_length(buffer: &mut [u8; 5], entry_bytes: usize) -> &[u8] {
    let count = match entry_bytes {
        0..0x80 => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0xfff_ffff => 4,
        _ => 5,
    };
    for (index, byte) in buffer[..count].iter_mut().enumerate() {
        let group = (entry_bytes >> (7 * (count - 1 - index)) & 0x7f) as u8;
        *byte = group | u8::from(index > 0) << 7;
    }
    &buffer[..count]
}

/// Puts entries together.
pub(super) struct ListpackWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl ListpackWriter {
    /// The longest item that an entry holds.
    pub(super) const ITEM_BYTES_MAX: usize = 1 << 30;

    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES],
            count: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an item, as an integer if it is the text of one.
    pub(super) fn push(&mut self, item: &[u8]) {
        const LONGEST_INTEGER: usize = "-9223372036854775808".len();
        let integer = if item.len() <= LONGEST_INTEGER {
            canonical_integer(item)
        } else {
            None
        };
        let start = self.bytes.len();
        match integer {
            Some(integer) => self.put_integer(integer),
            None => self.put_text(item),
        }
        self.end_entry(start);
    }

    /// Adds an integer.
    pub(super) fn push_integer(&mut self, integer: i64) {
        let start = self.bytes.len();
        self.put_integer(integer);
        self.end_entry(start);
    }

    fn end_entry(&mut self, start: usize) {
        let mut buffer = [0; 5];
        let size = back_length(&mut buffer, self.bytes.len() - start);
        self.bytes.extend_from_slice(size);
        self.count += 1;
    }

    fn put_integer(&mut self, integer: i64) {
        let bytes = integer.to_le_bytes();
        match integer {
            0..0x80 => self.bytes.push(bytes[0]),
            -0x1000..0x1000 => self
                .bytes
                .extend_from_slice(&[0xc0 | bytes[1] & 0x1f, bytes[0]]),
            -0x8000..0x8000 => self.put_wide(0xf1, &bytes[..2]),
            -0x80_0000..0x80_0000 => self.put_wide(0xf2, &bytes[..3]),
            -0x8000_0000..0x8000_0000 => self.put_wide(0xf3, &bytes[..4]),
            _ => self.put_wide(0xf4, &bytes),
        }
    }

    fn put_wide(&mut self, kind: u8, bytes: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(bytes);
    }

    fn put_text(&mut self, item: &[u8]) {
        let length = item.len() as u32;
        match length {
            0..0x40 => self.bytes.push(0x80 | length as u8),
            0x40..0x1000 => self
                .bytes
                .extend_from_slice(&(0xe000 | length as u16).to_be_bytes()),
            _ => self.put_wide(0xf0, &length.to_le_bytes()),
        }
        self.bytes.extend_from_slice(item);
    }

    /// Adds all entries of another.
    pub(super) fn append(&mut self, other: &ListpackWriter) {
        self.bytes.extend_from_slice(&other.bytes[HEADER_BYTES..]);
        self.count += other.count;
    }

    /// The finished listpack; the writer is empty again.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::replace(&mut self.bytes, vec![0; HEADER_BYTES]);
        bytes.push(END);
        let size = bytes.len() as u32;
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        let count = std::mem::take(&mut self.count).min(UNCOUNTED) as u16;
        bytes[4..6].copy_from_slice(&count.to_le_bytes());
        bytes
    }
}
