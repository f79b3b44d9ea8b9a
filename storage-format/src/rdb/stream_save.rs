//! Writing a stream: a listpack for each chunk, its numbers, its groups.
//!
//! Of the three forms the oldest that loses nothing: Redis 5's knows no deleted entries and no counts of entries read, Redis 7.0's
//! takes each consumer as active whenever it was seen, and Redis 7.2's tells all.

use super::listpack::ListpackWriter;
use super::stream_numbers::{ENTRY_NUMBERS, SHARES_FIELDS, TIME_MAX_MS, entries_read_at, id_bytes};
use super::value_type;
use super::writer::{put_length, put_raw_string, put_string};
use crate::error::FormatError;
use crate::stream::{EncodedGroup, EncodedStream, StreamChunk, StreamEntry, StreamId};

/// A listpack is closed before it has more bytes than this, as Redis does; a chunk may be larger.
const NODE_BYTES_MAX: usize = 1 << 30;
/// What an entry takes beside the bytes of its items: numbers, and what stands around each item.
const ENTRY_BYTES: usize = 64;
const ITEM_BYTES: usize = 10;

/// Appends the type byte and the stream; returns the RDB version that introduced this form.
pub(super) fn write(out: &mut Vec<u8>, encoded: &[u8]) -> Result<u16, FormatError> {
    let stream = EncodedStream::parse(encoded)?;
    let first_id = stream
        .entries()
        .next()
        .map_or(StreamId::MIN, |entry| entry.id);
    let (type_byte, version) = oldest_form(&stream, first_id);
    out.push(type_byte);
    let mut nodes = Nodes::default();
    for chunk in stream.chunks() {
        nodes.add_chunk(&chunk)?;
    }
    put_length(out, nodes.count);
    out.append(&mut nodes.bytes);
    let head = &stream.head;
    put_length(out, head.entry_count as u64);
    put_id(out, head.last_id);
    if type_byte != value_type::STREAM_LISTPACKS {
        put_id(out, first_id);
        put_id(out, head.max_deleted_id);
        put_length(out, head.entries_added);
    }
    put_length(out, stream.groups().len() as u64);
    for group in stream.groups() {
        put_group(out, type_byte, &group);
    }
    Ok(version)
}

/// The type byte, and the version that introduced it.
fn oldest_form(stream: &EncodedStream<'_>, first_id: StreamId) -> (u8, u16) {
    let head = &stream.head;
    let mut consumers = stream.groups().flat_map(|group| group.consumers());
    if consumers.any(|consumer| consumer.active_ms != Some(consumer.seen_ms)) {
        return (value_type::STREAM_LISTPACKS_3, 11);
    }
    let is_estimated = |group: EncodedGroup<'_>| {
        let position = group.last_delivered_id;
        let estimate = entries_read_at(position, head.entry_count, first_id, head.last_id);
        group.entries_read == estimate
    };
    // Without entries, Redis would take the highest of all IDs for the first one.
    let has_history = head.entry_count == 0
        || head.max_deleted_id != StreamId::MIN
        || head.entries_added != head.entry_count as u64;
    if has_history || !stream.groups().all(is_estimated) {
        return (value_type::STREAM_LISTPACKS_2, 10);
    }
    (value_type::STREAM_LISTPACKS, 9)
}

/// The listpacks so far, each behind its ID.
#[derive(Default)]
struct Nodes {
    count: u64,
    bytes: Vec<u8>,
}

impl Nodes {
    fn add_chunk(&mut self, chunk: &StreamChunk<'_>) -> Result<(), FormatError> {
        let names_bytes: usize = chunk.field_names().map(<[u8]>::len).sum();
        check_size(names_bytes, "the fields of a stream's entries")?;
        let (mut base, mut entry_count) = (chunk.base, 0);
        let mut entries = ListpackWriter::new();
        for entry in chunk.entries_from(0) {
            let size = entry_bytes(&entry);
            check_size(size, "an entry of a stream")?;
            if entry_count > 0 && entries.len() + size > NODE_BYTES_MAX {
                self.close(base, chunk, entry_count, &mut entries);
                (base, entry_count) = (entry.id, 0);
            }
            push_entry(&mut entries, base, &entry);
            entry_count += 1;
        }
        self.close(base, chunk, entry_count, &mut entries);
        Ok(())
    }

    fn close(
        &mut self,
        base: StreamId,
        chunk: &StreamChunk<'_>,
        entry_count: usize,
        entries: &mut ListpackWriter,
    ) {
        const DELETED_COUNT: i64 = 0;
        let names = chunk.field_names();
        let mut node = ListpackWriter::new();
        node.push_integer(entry_count as i64);
        node.push_integer(DELETED_COUNT);
        node.push_integer(names.clone().count() as i64);
        names.for_each(|name| node.push(name));
        node.push_integer(0);
        node.append(entries);
        *entries = ListpackWriter::new();
        put_raw_string(&mut self.bytes, &id_bytes(base));
        put_raw_string(&mut self.bytes, &node.finish());
        self.count += 1;
    }
}

/// At most so many bytes in a listpack.
fn entry_bytes(entry: &StreamEntry<'_>) -> usize {
    let items = entry.fields().map(|(field, value)| {
        let field_bytes = if entry.shares_fields() {
            0
        } else {
            field.len() + ITEM_BYTES
        };
        field_bytes + value.len() + ITEM_BYTES
    });
    ENTRY_BYTES + items.sum::<usize>()
}

fn check_size(bytes: usize, what: &'static str) -> Result<(), FormatError> {
    if bytes <= NODE_BYTES_MAX {
        return Ok(());
    }
    Err(FormatError::TooLarge {
        what,
        size: bytes as u64,
        limit: NODE_BYTES_MAX as u64,
    })
}

fn push_entry(node: &mut ListpackWriter, base: StreamId, entry: &StreamEntry<'_>) {
    let shares = entry.shares_fields();
    node.push_integer(if shares { SHARES_FIELDS } else { 0 });
    node.push_integer(entry.id.time_ms.wrapping_sub(base.time_ms) as i64);
    node.push_integer(entry.id.sequence.wrapping_sub(base.sequence) as i64);
    if !shares {
        node.push_integer(entry.field_count as i64);
    }
    for (field, value) in entry.fields() {
        if !shares {
            node.push(field);
        }
        node.push(value);
    }
    let items = if shares {
        entry.field_count
    } else {
        entry.field_count * 2 + 1
    };
    node.push_integer((items + ENTRY_NUMBERS) as i64);
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.time_ms);
    put_length(out, id.sequence);
}

/// Milliseconds; none is -1.
fn put_time_ms(out: &mut Vec<u8>, time_ms: Option<u64>) {
    let time_ms = time_ms.map_or(u64::MAX, |time_ms| time_ms.min(TIME_MAX_MS));
    out.extend_from_slice(&time_ms.to_le_bytes());
}

/// The group: what it was given, the pending entries of all its consumers, then each consumer with the IDs of its own.
fn put_group(out: &mut Vec<u8>, type_byte: u8, group: &EncodedGroup<'_>) {
    put_string(out, group.name);
    put_id(out, group.last_delivered_id);
    if type_byte != value_type::STREAM_LISTPACKS {
        put_length(out, group.entries_read.unwrap_or(u64::MAX));
    }
    let mut owned = vec![Vec::new(); group.consumers().len()];
    put_length(out, group.pending().len() as u64);
    for pending in group.pending() {
        out.extend_from_slice(&id_bytes(pending.id));
        put_time_ms(out, Some(pending.delivered_ms));
        put_length(out, pending.deliveries);
        owned[pending.consumer].push(pending.id);
    }
    put_length(out, group.consumers().len() as u64);
    for (consumer, owned) in group.consumers().zip(owned) {
        put_string(out, consumer.name);
        put_time_ms(out, Some(consumer.seen_ms));
        if type_byte == value_type::STREAM_LISTPACKS_3 {
            put_time_ms(out, consumer.active_ms);
        }
        put_length(out, owned.len() as u64);
        (owned.into_iter()).for_each(|id| out.extend_from_slice(&id_bytes(id)));
    }
}
