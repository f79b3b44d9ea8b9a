//! Reading a value of any type and encoding that Redis 2.6 to 7.4 and Valkey write.

use super::elements::Elements;
use super::reader::RdbReader;
use super::{intset, listpack, stream_load, value_type, ziplist, zipmap};
use crate::error::FormatError;
use crate::value::ValueKind;

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedValue {
    /// Its type.
    pub kind: ValueKind,
    /// The value in the value encoding of [`crate::value`].
    pub encoded: Vec<u8>,
}

/// Reads the value whose type byte has been read already. The reader stands behind it afterwards.
///
/// # Errors
/// [`FormatError::Damaged`] if it is damaged, empty, has a member twice, or is of a type that is not known here.
pub fn read_value(type_byte: u8, reader: &mut RdbReader<'_>) -> Result<LoadedValue, FormatError> {
    let (kind, encoded) = match type_byte {
        value_type::STRING => (ValueKind::String, reader.string("string")?.into_owned()),
        value_type::LIST
        | value_type::LIST_ZIPLIST
        | value_type::LIST_QUICKLIST
        | value_type::LIST_QUICKLIST_2 => (ValueKind::List, read_list(type_byte, reader)?),
        value_type::SET | value_type::SET_INTSET | value_type::SET_LISTPACK => {
            (ValueKind::Set, read_set(type_byte, reader)?)
        }
        value_type::SORTED_SET
        | value_type::SORTED_SET_2
        | value_type::SORTED_SET_ZIPLIST
        | value_type::SORTED_SET_LISTPACK => {
            (ValueKind::SortedSet, read_sorted_set(type_byte, reader)?)
        }
        value_type::HASH
        | value_type::HASH_ZIPMAP
        | value_type::HASH_ZIPLIST
        | value_type::HASH_LISTPACK
        | value_type::HASH_METADATA_PRE_RELEASE
        | value_type::HASH_LISTPACK_DEADLINES_PRE_RELEASE
        | value_type::HASH_METADATA
        | value_type::HASH_LISTPACK_DEADLINES => (ValueKind::Hash, read_hash(type_byte, reader)?),
        value_type::STREAM_LISTPACKS
        | value_type::STREAM_LISTPACKS_2
        | value_type::STREAM_LISTPACKS_3 => {
            (ValueKind::Stream, stream_load::read(type_byte, reader)?)
        }
        _ => return Err(reader.damaged("value type")),
    };
    Ok(LoadedValue { kind, encoded })
}

/// Strings behind their number, each of `strings_each` in a row counting as one.
fn read_strings(
    reader: &mut RdbReader<'_>,
    strings_each: usize,
    elements: &mut Elements,
) -> Result<(), FormatError> {
    let count = reader.count(strings_each, "element count")?;
    for _ in 0..count * strings_each {
        elements.push(&reader.string("element")?);
    }
    Ok(())
}

/// A ziplist or a listpack in a string.
type ReadPacked = fn(&[u8], &mut Elements) -> Result<usize, FormatError>;

fn read_packed(
    reader: &mut RdbReader<'_>,
    read: ReadPacked,
    elements: &mut Elements,
) -> Result<(), FormatError> {
    let start = reader.position();
    let packed = reader.string("packed collection")?;
    read(&packed, elements).map_err(|error| error.shifted_by(start as u64))?;
    Ok(())
}

fn read_list(type_byte: u8, reader: &mut RdbReader<'_>) -> Result<Vec<u8>, FormatError> {
    const SINGLE_ITEM: u64 = 1;
    const PACKED: u64 = 2;
    let mut items = Elements::default();
    match type_byte {
        value_type::LIST => read_strings(reader, 1, &mut items)?,
        value_type::LIST_ZIPLIST => read_packed(reader, ziplist::read, &mut items)?,
        value_type::LIST_QUICKLIST => {
            for _ in 0..reader.count(1, "node count")? {
                read_packed(reader, ziplist::read, &mut items)?;
            }
        }
        _ => {
            for _ in 0..reader.count(2, "node count")? {
                match reader.number("node form")? {
                    SINGLE_ITEM => items.push(&reader.string("item")?),
                    PACKED => read_packed(reader, listpack::read, &mut items)?,
                    _ => return Err(reader.damaged("node form")),
                }
            }
        }
    }
    items.into_list()
}

fn read_set(type_byte: u8, reader: &mut RdbReader<'_>) -> Result<Vec<u8>, FormatError> {
    let mut members = Elements::default();
    match type_byte {
        value_type::SET => read_strings(reader, 1, &mut members)?,
        value_type::SET_LISTPACK => read_packed(reader, listpack::read, &mut members)?,
        _ => {
            let start = reader.position();
            intset::read(&reader.string("intset")?, &mut members)
                .map_err(|error| error.shifted_by(start as u64))?;
        }
    }
    members.into_set()
}

fn read_sorted_set(type_byte: u8, reader: &mut RdbReader<'_>) -> Result<Vec<u8>, FormatError> {
    let (mut members, mut scores) = (Elements::default(), Vec::new());
    let read_packed_pairs = match type_byte {
        value_type::SORTED_SET_ZIPLIST => ziplist::read,
        value_type::SORTED_SET_LISTPACK => listpack::read,
        _ => {
            for _ in 0..reader.count(2, "member count")? {
                members.push(&reader.string("member")?);
                scores.push(if type_byte == value_type::SORTED_SET_2 {
                    f64::from_le_bytes(reader.array("score")?)
                } else {
                    decimal_score(reader)?
                });
            }
            return members.into_sorted_set(&scores);
        }
    };
    let mut pairs = Elements::default();
    read_packed(reader, read_packed_pairs, &mut pairs)?;
    if !pairs.len().is_multiple_of(2) {
        return Err(reader.damaged("pairs"));
    }
    for index in (0..pairs.len()).step_by(2) {
        members.push(pairs.get(index));
        scores.push(parse_score(pairs.get(index + 1)).ok_or_else(|| reader.damaged("score"))?);
    }
    members.into_sorted_set(&scores)
}

/// A score in the oldest form: a length and as many characters, or one of three special lengths.
fn decimal_score(reader: &mut RdbReader<'_>) -> Result<f64, FormatError> {
    match reader.u8("score")? {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        length => {
            let text = reader.take(usize::from(length), "score")?;
            parse_score(text).ok_or_else(|| reader.damaged("score"))
        }
    }
}

fn parse_score(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn read_hash(type_byte: u8, reader: &mut RdbReader<'_>) -> Result<Vec<u8>, FormatError> {
    let mut pairs = Elements::default();
    match type_byte {
        value_type::HASH => read_strings(reader, 2, &mut pairs)?,
        value_type::HASH_ZIPLIST => read_packed(reader, ziplist::read, &mut pairs)?,
        value_type::HASH_LISTPACK => read_packed(reader, listpack::read, &mut pairs)?,
        value_type::HASH_ZIPMAP => {
            let start = reader.position();
            zipmap::read(&reader.string("zipmap")?, &mut pairs)
                .map_err(|error| error.shifted_by(start as u64))?;
        }
        value_type::HASH_METADATA | value_type::HASH_METADATA_PRE_RELEASE => {
            return read_hash_with_deadlines(type_byte, reader);
        }
        _ => return read_packed_hash_with_deadlines(type_byte, reader),
    }
    pairs.into_hash(&[])
}

/// Deadline, field, value …, each deadline absolute or 1 more than its distance to the earliest one.
fn read_hash_with_deadlines(
    type_byte: u8,
    reader: &mut RdbReader<'_>,
) -> Result<Vec<u8>, FormatError> {
    let earliest_ms = if type_byte == value_type::HASH_METADATA {
        Some(u64::from_le_bytes(reader.array("earliest deadline")?))
    } else {
        None
    };
    let (mut pairs, mut deadlines_ms) = (Elements::default(), Vec::new());
    for _ in 0..reader.count(3, "field count")? {
        let stored = reader.number("field deadline")?;
        let deadline_ms = match (stored, earliest_ms) {
            (0, _) | (_, None) => Some(stored),
            (_, Some(earliest_ms)) => earliest_ms.checked_add(stored - 1),
        };
        deadlines_ms.push(deadline_ms.ok_or_else(|| reader.damaged("field deadline"))?);
        pairs.push(&reader.string("field")?);
        pairs.push(&reader.string("value")?);
    }
    pairs.into_hash(&deadlines_ms)
}

/// A listpack of field, value, absolute deadline …
fn read_packed_hash_with_deadlines(
    type_byte: u8,
    reader: &mut RdbReader<'_>,
) -> Result<Vec<u8>, FormatError> {
    if type_byte == value_type::HASH_LISTPACK_DEADLINES {
        reader.array::<8>("earliest deadline")?;
    }
    let mut triples = Elements::default();
    read_packed(reader, listpack::read, &mut triples)?;
    if !triples.len().is_multiple_of(3) {
        return Err(reader.damaged("fields"));
    }
    let (mut pairs, mut deadlines_ms) = (Elements::default(), Vec::new());
    for index in (0..triples.len()).step_by(3) {
        pairs.push(triples.get(index));
        pairs.push(triples.get(index + 1));
        let text = std::str::from_utf8(triples.get(index + 2)).ok();
        let deadline_ms = text.and_then(|text| text.parse().ok());
        deadlines_ms.push(deadline_ms.ok_or_else(|| reader.damaged("field deadline"))?);
    }
    pairs.into_hash(&deadlines_ms)
}
