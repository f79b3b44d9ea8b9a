//! The zipmap: hashes of Redis 2.4 and older. A count (1 byte, only a hint), then for each pair the field's length and bytes,
//! the value's length, a number of unused bytes, the value, the unused bytes; at the end 0xff. A length is one byte, or 0xfe and
//! a `u32`.

use super::elements::Elements;
use crate::error::FormatError;
use crate::reader::ByteReader;

const END: u8 = 0xff;
const LONG: u8 = 0xfe;
/// The count of a map that has too many pairs for a byte.
const UNCOUNTED: usize = 254;

/// Appends field, value, field, value … to `elements`.
///
/// # Errors
/// [`FormatError::Damaged`] if the bytes are not exactly a zipmap with at least one pair.
pub(super) fn read(bytes: &[u8], elements: &mut Elements) -> Result<(), FormatError> {
    let mut reader = ByteReader::new(bytes);
    let announced = usize::from(reader.u8("zipmap count")?);
    let mut count = 0;
    loop {
        let first = reader.u8("zipmap field")?;
        if first == END {
            break;
        }
        let length = long_length(first, &mut reader)?;
        elements.push(reader.take(length, "zipmap field")?);
        let first = reader.u8("zipmap value")?;
        if first == END {
            return Err(reader.damaged("zipmap value"));
        }
        let length = long_length(first, &mut reader)?;
        let unused = reader.u8("zipmap value")?;
        elements.push(reader.take(length, "zipmap value")?);
        reader.take(usize::from(unused), "zipmap value")?;
        count += 1;
    }
    reader.finish("zipmap end")?;
    if count == 0 || announced < UNCOUNTED && announced != count {
        return Err(reader.damaged("zipmap count"));
    }
    Ok(())
}

fn long_length(first: u8, reader: &mut ByteReader<'_>) -> Result<usize, FormatError> {
    if first == LONG {
        Ok(u32::from_le_bytes(reader.array("zipmap length")?) as usize)
    } else {
        Ok(usize::from(first))
    }
}
