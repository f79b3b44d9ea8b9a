//! Reading a stream: its listpacks with their IDs, its numbers, its groups.
//!
//! Each listpack becomes a chunk as it is: the entries keep sharing the fields of the first one. Entries that are only marked as
//! deleted are left out, and listpacks of nothing else too. Groups and consumers come in the order of a radix tree, which is the order of
//! the value encoding, but nobody has to keep to it: they are sorted. Refused is, beside what is cut off or miscounted: IDs that do not
//! ascend, names twice, a pending entry without exactly one consumer. Time and memory are linear in the bytes (times a logarithm for
//! what is sorted): no names are compared.

use super::elements::Elements;
use super::reader::RdbReader;
use super::stream_numbers::{
    DELETED, ENTRY_NUMBERS, SHARES_FIELDS, TIME_MAX_MS, entries_read_at, id_of_bytes,
};
use super::writer::canonical_integer;
use super::{listpack, value_type};
use crate::error::FormatError;
use crate::stream::{
    EncodedConsumer, EncodedPending, StreamChunk, StreamHead, StreamId, put_consumer,
    put_entry_pairs, put_entry_values, put_group_head, put_master_fields, put_pending,
};
use crate::varint::put_varint;

/// Reads the stream behind its type byte.
pub(super) fn read(type_byte: u8, reader: &mut RdbReader<'_>) -> Result<Vec<u8>, FormatError> {
    let mut entries = Entries::default();
    for _ in 0..reader.count_or_none(2, "stream node count")? {
        let start = reader.position();
        let key = reader.string("stream node ID")?;
        let key = <[u8; 16]>::try_from(&*key)
            .map_err(|_| FormatError::damaged("stream node ID", start))?;
        let packed = reader.string("stream node")?;
        entries.add_node(id_of_bytes(key), &packed)?;
    }
    let head = read_head(type_byte, reader, &entries)?;
    let mut groups = Vec::new();
    for _ in 0..reader.count_or_none(5, "group count")? {
        groups.push(read_group(type_byte, reader, &head, entries.first_id)?);
    }
    sort_by_name(&mut groups)?;
    let mut out = Vec::new();
    head.encode(&mut out);
    out.append(&mut entries.chunks);
    put_varint(&mut out, groups.len() as u64);
    groups
        .iter()
        .for_each(|(_, group)| out.extend_from_slice(group));
    Ok(out)
}

/// The chunks so far, in the value encoding.
#[derive(Default)]
struct Entries {
    chunks: Vec<u8>,
    chunk_count: usize,
    entry_count: usize,
    first_id: StreamId,
    last_id: StreamId,
}

impl Entries {
    fn add_node(&mut self, base: StreamId, packed: &[u8]) -> Result<(), FormatError> {
        let mut elements = Elements::default();
        listpack::read(packed, &mut elements)?;
        let mut node = Walk {
            elements: &elements,
            next: 0,
        };
        let entry_count = node.count()?;
        let deleted_count = node.count()?;
        let field_count = node.count()?;
        let mut master_fields = Vec::new();
        put_master_fields(&mut master_fields, node.take(field_count)?);
        if node.integer()? != 0 {
            return Err(node.damaged());
        }
        let mut region = Vec::new();
        let mut kept = 0;
        for _ in 0..entry_count + deleted_count {
            kept += usize::from(self.add_entry(&mut node, base, field_count, &mut region)?);
        }
        if kept != entry_count || node.next != elements.len() {
            return Err(node.damaged());
        }
        if entry_count > 0 {
            StreamChunk {
                entry_count,
                deleted_count: 0,
                base,
                master_fields: &master_fields,
                entries: &region,
            }
            .encode(&mut self.chunks);
            self.chunk_count += 1;
        }
        Ok(())
    }

    /// Whether it is an entry that was not deleted.
    fn add_entry(
        &mut self,
        node: &mut Walk<'_>,
        base: StreamId,
        shared_fields: usize,
        region: &mut Vec<u8>,
    ) -> Result<bool, FormatError> {
        let flags = node.integer()?;
        let id = StreamId::new(
            base.time_ms.wrapping_add(node.integer()? as u64),
            base.sequence.wrapping_add(node.integer()? as u64),
        );
        let shares = flags & SHARES_FIELDS != 0;
        let start = node.next;
        let fields = if shares { shared_fields } else { node.count()? };
        let items = node.take(if shares { fields } else { fields * 2 })?;
        let written = node.next - start + ENTRY_NUMBERS;
        if node.count()? != written || fields == 0 {
            return Err(node.damaged());
        }
        if flags & DELETED != 0 {
            return Ok(false);
        }
        if id < base || id <= self.last_id {
            return Err(node.damaged());
        }
        if shares {
            put_entry_values(region, base, id, items);
        } else {
            put_entry_pairs(region, base, id, fields, items);
        }
        if self.entry_count == 0 {
            self.first_id = id;
        }
        self.entry_count += 1;
        self.last_id = id;
        Ok(true)
    }
}

/// A cursor over the elements of a listpack.
struct Walk<'a> {
    elements: &'a Elements,
    next: usize,
}

impl<'a> Walk<'a> {
    fn damaged(&self) -> FormatError {
        FormatError::damaged("stream node", 0)
    }

    fn take(
        &mut self,
        count: usize,
    ) -> Result<impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a>, FormatError> {
        if count > self.elements.len() - self.next {
            return Err(self.damaged());
        }
        let (elements, start) = (self.elements, self.next);
        self.next += count;
        Ok((start..self.next).map(move |index| elements.get(index)))
    }

    fn integer(&mut self) -> Result<i64, FormatError> {
        let element = self.take(1)?.next().and_then(canonical_integer);
        element.ok_or_else(|| self.damaged())
    }

    /// A number of things in this listpack: no more than it has elements.
    fn count(&mut self) -> Result<usize, FormatError> {
        let count = usize::try_from(self.integer()?).ok();
        count
            .filter(|count| *count <= self.elements.len())
            .ok_or_else(|| self.damaged())
    }
}

fn read_head(
    type_byte: u8,
    reader: &mut RdbReader<'_>,
    entries: &Entries,
) -> Result<StreamHead, FormatError> {
    let start = reader.position();
    let announced = reader.number("entry count")?;
    let mut head = StreamHead {
        last_id: read_id(reader)?,
        max_deleted_id: StreamId::MIN,
        entries_added: announced,
        entry_count: entries.entry_count,
        chunk_count: entries.chunk_count,
    };
    if type_byte != value_type::STREAM_LISTPACKS {
        let _first_id = read_id(reader)?;
        head.max_deleted_id = read_id(reader)?;
        head.entries_added = reader.number("entries added")?;
    }
    let is_possible = announced == entries.entry_count as u64
        && entries.last_id <= head.last_id
        && (announced..=i64::MAX as u64).contains(&head.entries_added);
    if is_possible {
        Ok(head)
    } else {
        Err(FormatError::damaged("stream numbers", start))
    }
}

fn read_id(reader: &mut RdbReader<'_>) -> Result<StreamId, FormatError> {
    Ok(StreamId::new(
        reader.number("stream ID")?,
        reader.number("stream ID")?,
    ))
}

/// An ID in 16 bytes, as pending entries have it.
fn read_raw_id(reader: &mut RdbReader<'_>) -> Result<StreamId, FormatError> {
    reader.array("pending ID").map(id_of_bytes)
}

/// Milliseconds; `None` if negative, which means "never".
fn read_time_ms(reader: &mut RdbReader<'_>) -> Result<Option<u64>, FormatError> {
    let time_ms = u64::from_le_bytes(reader.array("stream time")?);
    Ok(Some(time_ms).filter(|time_ms| *time_ms <= TIME_MAX_MS))
}

/// Sorts; refuses names that are there twice.
fn sort_by_name<T>(named: &mut [(Vec<u8>, T)]) -> Result<(), FormatError> {
    named.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    if named.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(FormatError::damaged("distinct names", 0));
    }
    Ok(())
}

/// A pending entry; its consumer is known only once the consumers are read.
struct Pending {
    id: StreamId,
    delivered_ms: u64,
    deliveries: u64,
    /// The consumer's number in the order in which they come.
    owner: Option<usize>,
}

/// A consumer's number in the order in which they come, and its times.
struct Consumer {
    number: usize,
    seen_ms: u64,
    active_ms: Option<u64>,
}

/// Reads a group; returns its name, and all of it in the value encoding.
fn read_group(
    type_byte: u8,
    reader: &mut RdbReader<'_>,
    head: &StreamHead,
    first_id: StreamId,
) -> Result<(Vec<u8>, Vec<u8>), FormatError> {
    let name = reader.string("group name")?.into_owned();
    let last_delivered_id = read_id(reader)?;
    let entries_read = if type_byte == value_type::STREAM_LISTPACKS {
        entries_read_at(last_delivered_id, head.entry_count, first_id, head.last_id)
    } else {
        Some(reader.number("entries read")?).filter(|number| *number <= i64::MAX as u64)
    };
    let mut pending = read_pending(reader)?;
    let mut consumers = Vec::new();
    for number in 0..reader.count_or_none(10, "consumer count")? {
        consumers.push(read_consumer(type_byte, reader, number, &mut pending)?);
    }
    sort_by_name(&mut consumers)?;
    let mut out = Vec::new();
    put_group_head(&mut out, &name, last_delivered_id, entries_read);
    put_varint(&mut out, consumers.len() as u64);
    let mut ranks = vec![0; consumers.len()];
    for (rank, (name, consumer)) in consumers.iter().enumerate() {
        ranks[consumer.number] = rank;
        let (seen_ms, active_ms) = (consumer.seen_ms, consumer.active_ms);
        let consumer = EncodedConsumer {
            name,
            seen_ms,
            active_ms,
        };
        put_consumer(&mut out, &consumer);
    }
    put_varint(&mut out, pending.len() as u64);
    for entry in &pending {
        let owner = entry
            .owner
            .ok_or_else(|| reader.damaged("pending entry of nobody"))?;
        let entry = EncodedPending {
            id: entry.id,
            consumer: ranks[owner],
            delivered_ms: entry.delivered_ms,
            deliveries: entry.deliveries,
        };
        put_pending(&mut out, &entry);
    }
    Ok((name, out))
}

/// The pending entries of a whole group, sorted.
fn read_pending(reader: &mut RdbReader<'_>) -> Result<Vec<Pending>, FormatError> {
    let count = reader.count_or_none(25, "pending count")?;
    let mut pending = Vec::with_capacity(count);
    for _ in 0..count {
        pending.push(Pending {
            id: read_raw_id(reader)?,
            delivered_ms: read_time_ms(reader)?.unwrap_or_default(),
            deliveries: reader.number("deliveries")?,
            owner: None,
        });
    }
    pending.sort_unstable_by_key(|entry| entry.id);
    if pending.windows(2).any(|pair| pair[0].id == pair[1].id) {
        return Err(reader.damaged("distinct pending entries"));
    }
    Ok(pending)
}

/// Reads a consumer, and puts its number on the pending entries that it has.
fn read_consumer(
    type_byte: u8,
    reader: &mut RdbReader<'_>,
    number: usize,
    pending: &mut [Pending],
) -> Result<(Vec<u8>, Consumer), FormatError> {
    let name = reader.string("consumer name")?.into_owned();
    let seen_ms = read_time_ms(reader)?.unwrap_or_default();
    let active_ms = if type_byte == value_type::STREAM_LISTPACKS_3 {
        read_time_ms(reader)?
    } else {
        Some(seen_ms)
    };
    for _ in 0..reader.count_or_none(16, "pending count")? {
        let start = reader.position();
        let id = read_raw_id(reader)?;
        let entry = pending.binary_search_by_key(&id, |entry| entry.id);
        let former = entry.map(|index| pending[index].owner.replace(number));
        if former != Ok(None) {
            return Err(FormatError::damaged("pending entry", start));
        }
    }
    let consumer = Consumer {
        number,
        seen_ms,
        active_ms,
    };
    Ok((name, consumer))
}
