//! The ziplist: the packed list of Redis until 6.2. Its size in bytes (`u32`), the offset of its last entry (`u32`), the number of entries
//! (`u16`, 65535: count them), the entries, 0xff. An entry is the size of the one before (one byte, or 0xfe and a `u32`), then an
//! integer or a string, whose kind and length the next byte begins.

use super::elements::Elements;
use crate::error::FormatError;
use crate::reader::ByteReader;

const END: u8 = 0xff;
const LONG: u8 = 0xfe;
const HEADER_BYTES: usize = 10;
const UNCOUNTED: usize = u16::MAX as usize;

/// Appends all entries to `elements`, and returns how many there are.
///
/// # Errors
/// [`FormatError::Damaged`] if the bytes are not exactly a ziplist, or if its sizes, counts and offsets disagree.
pub(super) fn read(bytes: &[u8], elements: &mut Elements) -> Result<usize, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let size = u32::from_le_bytes(reader.array("ziplist size")?) as usize;
    let tail = u32::from_le_bytes(reader.array("ziplist tail")?) as usize;
    let announced = usize::from(u16::from_le_bytes(reader.array("ziplist count")?));
    if size != bytes.len() {
        return Err(FormatError::damaged("ziplist size", 0));
    }
    let (mut count, mut former_start) = (0, HEADER_BYTES);
    loop {
        let start = reader.position();
        let first = reader.u8("ziplist entry")?;
        if first == END {
            break;
        }
        let former_bytes = if first == LONG {
            u32::from_le_bytes(reader.array("ziplist entry")?) as usize
        } else {
            usize::from(first)
        };
        if former_bytes != start - former_start {
            return Err(FormatError::damaged("ziplist entry", start));
        }
        read_entry(&mut reader, elements)?;
        former_start = start;
        count += 1;
    }
    reader.finish("ziplist end")?;
    if former_start != tail || announced != UNCOUNTED && announced != count {
        return Err(FormatError::damaged("ziplist header", 0));
    }
    Ok(count)
}

fn read_entry(reader: &mut ByteReader<'_>, elements: &mut Elements) -> Result<(), FormatError> {
    const WHAT: &str = "ziplist entry";
    let first = reader.u8(WHAT)?;
    let low = usize::from(first & 0x3f);
    let length = match first {
        0..0x40 => low,
        0x40..0x80 => low << 8 | usize::from(reader.u8(WHAT)?),
        0x80 => u32::from_be_bytes(reader.array(WHAT)?) as usize,
        _ => {
            elements.push_integer(read_integer(first, reader)?);
            return Ok(());
        }
    };
    elements.push(reader.take(length, WHAT)?);
    Ok(())
}

fn read_integer(first: u8, reader: &mut ByteReader<'_>) -> Result<i64, FormatError> {
    const WHAT: &str = "ziplist integer";
    Ok(match first {
        0xc0 => i64::from(i16::from_le_bytes(reader.array(WHAT)?)),
        0xd0 => i64::from(i32::from_le_bytes(reader.array(WHAT)?)),
        0xe0 => i64::from_le_bytes(reader.array(WHAT)?),
        0xf0 => int24(reader.array(WHAT)?),
        0xfe => i64::from(i8::from_le_bytes(reader.array(WHAT)?)),
        0xf1..=0xfd => i64::from(first & 0x0f) - 1,
        _ => return Err(reader.damaged(WHAT)),
    })
}

/// Three bytes, little-endian, with a sign.
pub(super) fn int24([low, middle, high]: [u8; 3]) -> i64 {
    i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
}
