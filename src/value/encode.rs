//! Values to and from the value encoding of `storage-format`.
//!
//! Decoding builds the chunks directly. It refuses what could not have been written: damaged lengths, members twice,
//! a sorted set out of order.

use storage_format::value::{
    CollectionWriter, EncodedCollection, put_field, put_item, put_pair, put_scored,
};
use storage_format::{FormatError, ValueKind};

use super::hash_table::Duplicate;
use super::{Hash, List, Set, SharedText, SortedSet, Stream, Value};

/// Elements of an encoded chunk: about what the chunks in memory have.
const CHUNK_ELEMENTS: usize = 128;

impl Value {
    /// Appends the value encoding. Reads only, so it may run on a clone without any lock.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Stream(stream) => stream.encode(out),
            Self::List(list) => encode_elements(list.iter(), out, put_item),
            Self::Set(set) => encode_elements(set.iter(), out, put_item),
            Self::Hash(hash) if hash.has_field_deadlines() => {
                encode_with(
                    CollectionWriter::begin_with_field_deadlines,
                    hash.iter(),
                    out,
                    |out, (field, value)| {
                        put_field(
                            out,
                            field,
                            value,
                            hash.field_deadline_ms(field).unwrap_or(0),
                        )
                    },
                );
            }
            Self::Hash(hash) => encode_elements(hash.iter(), out, |out, (field, value)| {
                put_pair(out, field, value)
            }),
            Self::SortedSet(sorted) => {
                encode_elements(sorted.iter(), out, |out, (member, score)| {
                    put_scored(out, score, member)
                });
            }
        }
    }

    /// Builds a value of this kind from its encoding.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if the bytes are not such an encoding, or contain a member twice.
    pub fn decode(kind: ValueKind, encoded: &[u8]) -> Result<Self, FormatError> {
        if kind == ValueKind::String {
            return Ok(SharedText::new(encoded).into());
        }
        if kind == ValueKind::Stream {
            return Ok(Stream::decode(encoded)?.into());
        }
        let elements = EncodedCollection::parse(kind, encoded)?;
        let repeated = |Duplicate| FormatError::damaged("distinct members", 0);
        Ok(match kind {
            ValueKind::List => List::from_items(elements.items()).into(),
            ValueKind::Set => Set::from_members(elements.len(), || elements.items())
                .map_err(repeated)?
                .into(),
            ValueKind::Hash if elements.has_field_deadlines() => {
                Hash::from_fields(elements.len(), || elements.fields())
                    .map_err(repeated)?
                    .into()
            }
            ValueKind::Hash => Hash::from_pairs(elements.len(), || elements.pairs())
                .map_err(repeated)?
                .into(),
            ValueKind::SortedSet => SortedSet::from_sorted(elements.len(), || elements.scored())
                .map_err(repeated)?
                .into(),
            ValueKind::String | ValueKind::Stream => {
                return Err(FormatError::damaged("collection type", 0));
            }
        })
    }
}

fn encode_elements<T>(
    elements: impl ExactSizeIterator<Item = T>,
    out: &mut Vec<u8>,
    put: impl Fn(&mut Vec<u8>, T),
) {
    encode_with(CollectionWriter::begin, elements, out, put);
}

fn encode_with<'o, T>(
    begin: fn(&'o mut Vec<u8>, u64, u64) -> CollectionWriter<'o>,
    mut elements: impl ExactSizeIterator<Item = T>,
    out: &'o mut Vec<u8>,
    put: impl Fn(&mut Vec<u8>, T),
) {
    let count = elements.len();
    let mut writer = begin(out, count as u64, count.div_ceil(CHUNK_ELEMENTS) as u64);
    while elements.len() > 0 {
        let chunk = elements.len().min(CHUNK_ELEMENTS);
        writer.chunk(chunk as u64, |out| {
            elements
                .by_ref()
                .take(chunk)
                .for_each(|element| put(out, element))
        });
    }
    writer.finish();
}
