//! A chunk: neighbouring entries in one region of bytes, their IDs relative to the chunk's base.
//!
//! The chunk names the fields of its first entry once; an entry with the same names, which is the usual case, holds only its
//! values. Overhead for such an entry: four or five bytes, and one or two for the length of each value.

use super::StreamId;
use crate::error::FormatError;
use crate::items::{Items, ItemsIter};
use crate::reader::{ByteReader, put_bytes};
use crate::varint::{put_varint, read_varint, varint_length};

/// In an entry's head: it has the fields of its chunk, and only values follow.
const SHARES_FIELDS: u64 = 1;

/// Appends the field names of a chunk, as [`StreamChunk::master_fields`] holds them.
pub fn put_master_fields<'f>(out: &mut Vec<u8>, fields: impl ExactSizeIterator<Item = &'f [u8]>) {
    put_varint(out, fields.len() as u64);
    fields.for_each(|field| put_bytes(out, field));
}

/// Appends an entry to a chunk's region. `pairs` are field, value, field, value …; `id` is not below `base`.
pub fn put_entry(
    out: &mut Vec<u8>,
    base: StreamId,
    master_fields: &[u8],
    id: StreamId,
    pairs: Items<'_>,
) {
    if shares_fields(master_fields, pairs) {
        put_entry_values(out, base, id, pairs.iter().skip(1).step_by(2));
    } else {
        put_entry_pairs(out, base, id, pairs.len() / 2, pairs.iter());
    }
}

/// Appends an entry that has the fields of its chunk, as many as there are values. The names are not looked at.
pub(crate) fn put_entry_values<'i>(
    out: &mut Vec<u8>,
    base: StreamId,
    id: StreamId,
    values: impl Iterator<Item = &'i [u8]> + Clone,
) {
    put_entry_items(out, base, id, SHARES_FIELDS, values);
}

/// Appends an entry with its own names; `pairs` are field, value, field, value …
pub(crate) fn put_entry_pairs<'i>(
    out: &mut Vec<u8>,
    base: StreamId,
    id: StreamId,
    field_count: usize,
    pairs: impl Iterator<Item = &'i [u8]> + Clone,
) {
    put_entry_items(out, base, id, (field_count as u64) << 1, pairs);
}

fn put_entry_items<'i>(
    out: &mut Vec<u8>,
    base: StreamId,
    id: StreamId,
    head: u64,
    items: impl Iterator<Item = &'i [u8]> + Clone,
) {
    let time = id.time_ms - base.time_ms;
    let sequence = if time == 0 {
        id.sequence - base.sequence
    } else {
        id.sequence
    };
    let items_bytes: usize = (items.clone())
        .map(|item| varint_length(item.len() as u64) + item.len())
        .sum();
    let numbers = [time, sequence, head];
    let length = numbers.iter().copied().map(varint_length).sum::<usize>() + items_bytes;
    put_varint(out, length as u64);
    numbers.iter().for_each(|number| put_varint(out, *number));
    items.for_each(|item| put_bytes(out, item));
}

fn shares_fields(master_fields: &[u8], pairs: Items<'_>) -> bool {
    let Some(masters) = master_items(master_fields) else {
        return false;
    };
    masters.len() * 2 == pairs.len() && masters.iter().eq(pairs.iter().step_by(2))
}

/// The names in validated master fields.
fn master_items(master_fields: &[u8]) -> Option<Items<'_>> {
    let (count, length) = read_varint(master_fields)?;
    Some(Items::of_region(
        usize::try_from(count).ok()?,
        master_fields.get(length..)?,
    ))
}

/// A chunk, borrowed: from the value encoding, or from the value in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamChunk<'a> {
    /// Entries: at least one.
    pub entry_count: usize,
    /// Entries that were here and are gone. They count for how full the chunk is.
    pub deleted_count: u64,
    /// What the IDs are relative to: not above the first one.
    pub base: StreamId,
    /// The count and the names of the fields that entries may share.
    pub master_fields: &'a [u8],
    /// The entries.
    pub entries: &'a [u8],
}

impl<'a> StreamChunk<'a> {
    /// The names that entries may share.
    #[must_use]
    pub fn field_names(&self) -> ItemsIter<'a> {
        let none = Items::of_region(0, &[]);
        master_items(self.master_fields).unwrap_or(none).iter()
    }

    /// Appends the chunk.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.entry_count as u64);
        put_varint(out, self.deleted_count);
        self.base.put(out);
        put_bytes(out, self.master_fields);
        put_bytes(out, self.entries);
    }

    /// The entries from an offset of the region on, which is where one begins.
    #[must_use]
    pub fn entries_from(&self, offset: usize) -> StreamEntries<'a> {
        StreamEntries {
            chunk: *self,
            offset,
        }
    }

    pub(super) fn read(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        Ok(Self {
            entry_count: reader.count(1, "chunk entry count")?,
            deleted_count: reader.varint("chunk deleted count")?,
            base: StreamId::read(reader)?,
            master_fields: reader.bytes("chunk fields")?,
            entries: reader.bytes("chunk entries")?,
        })
    }

    /// Checks all of the chunk, whose entries must lie behind `last`; leaves the last one's ID there.
    pub(super) fn validate(&self, last: &mut StreamId) -> Result<(), FormatError> {
        let mut fields = ByteReader::new(self.master_fields);
        let field_count = fields.count(1, "chunk field count")?;
        for _ in 0..field_count {
            fields.bytes("chunk field")?;
        }
        fields.finish("chunk fields")?;
        let mut reader = ByteReader::new(self.entries);
        for _ in 0..self.entry_count {
            let start = reader.position();
            let entry = reader.bytes("stream entry")?;
            let id = validate_entry(entry, self.base, field_count)
                .map_err(|error| error.shifted_by(start as u64))?;
            if id <= *last {
                return Err(FormatError::damaged("stream entry order", start));
            }
            *last = id;
        }
        reader.finish("chunk entries")
    }
}

fn validate_entry(
    bytes: &[u8],
    base: StreamId,
    field_count: usize,
) -> Result<StreamId, FormatError> {
    let mut reader = ByteReader::new(bytes);
    let id = read_id(&mut reader, base)?;
    let head = reader.varint("stream entry head")?;
    let items = match head {
        SHARES_FIELDS => field_count as u64,
        _ if head & SHARES_FIELDS == 0 => head,
        _ => return Err(reader.damaged("stream entry head")),
    };
    if items == 0 {
        return Err(reader.damaged("stream entry fields"));
    }
    for _ in 0..items {
        reader.bytes("stream entry item")?;
    }
    reader.finish("stream entry")?;
    Ok(id)
}

fn read_id(reader: &mut ByteReader<'_>, base: StreamId) -> Result<StreamId, FormatError> {
    let time = reader.varint("stream entry time")?;
    let sequence = reader.varint("stream entry sequence")?;
    let id = if time == 0 {
        (base.sequence.checked_add(sequence)).map(|sequence| StreamId::new(base.time_ms, sequence))
    } else {
        (base.time_ms.checked_add(time)).map(|time_ms| StreamId::new(time_ms, sequence))
    };
    id.ok_or_else(|| reader.damaged("stream entry ID"))
}

/// An entry, borrowed from its chunk.
#[derive(Debug, Clone, Copy)]
pub struct StreamEntry<'a> {
    /// Its ID.
    pub id: StreamId,
    /// Where it begins in its chunk's region.
    pub offset: usize,
    /// How many fields it has.
    pub field_count: usize,
    masters: Option<Items<'a>>,
    items: &'a [u8],
}

impl<'a> StreamEntry<'a> {
    /// Whether it has the fields of its chunk, and stores only its values.
    #[must_use]
    pub fn shares_fields(&self) -> bool {
        self.masters.is_some()
    }

    /// The fields with their values.
    #[must_use]
    pub fn fields(&self) -> StreamFields<'a> {
        let stored = if self.masters.is_some() { 1 } else { 2 };
        StreamFields {
            masters: self.masters.map(|masters| masters.iter()),
            items: Items::of_region(self.field_count * stored, self.items).iter(),
        }
    }
}

/// Iterates over the entries of a validated chunk.
#[derive(Debug, Clone, Copy)]
pub struct StreamEntries<'a> {
    chunk: StreamChunk<'a>,
    offset: usize,
}

impl StreamEntries<'_> {
    /// Where the next entry begins in its chunk's region.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for StreamEntries<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        let (offset, region) = (self.offset, self.chunk.entries);
        let mut outer = ByteReader::new(region.get(offset..)?);
        let entry = outer.bytes("stream entry").ok()?;
        let mut reader = ByteReader::new(entry);
        let id = read_id(&mut reader, self.chunk.base).ok()?;
        let head = reader.varint("stream entry head").ok()?;
        self.offset += outer.position();
        let masters = if head == SHARES_FIELDS {
            Some(master_items(self.chunk.master_fields)?)
        } else {
            None
        };
        Some(StreamEntry {
            id,
            offset,
            field_count: masters.map_or((head >> 1) as usize, |masters| masters.len()),
            masters,
            items: reader.rest(),
        })
    }
}

/// Iterates over the fields of an entry, each with its value.
#[derive(Debug, Clone)]
pub struct StreamFields<'a> {
    masters: Option<ItemsIter<'a>>,
    items: ItemsIter<'a>,
}

impl<'a> Iterator for StreamFields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let field = match &mut self.masters {
            Some(masters) => masters.next()?,
            None => self.items.next()?,
        };
        Some((field, self.items.next()?))
    }
}
