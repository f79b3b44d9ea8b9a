//! The value encoding of a stream: its numbers, its chunks, its groups with their consumers and pending entries.
//!
//! [`EncodedStream::parse`] validates everything in one pass; iterating afterwards cannot fail.

use super::{StreamChunk, StreamId};
use crate::error::FormatError;
use crate::reader::{ByteReader, put_bytes};
use crate::varint::put_varint;

/// The flags byte of a stream. No flag is defined yet.
const STREAM_FLAGS: u8 = 0;

/// What a stream's encoding begins with; its chunks follow, then the number of its groups, then the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamHead {
    /// The largest ID that the stream ever had; not below its last entry's.
    pub last_id: StreamId,
    /// The largest ID that was ever deleted.
    pub max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub entries_added: u64,
    /// How many entries there are.
    pub entry_count: usize,
    /// In how many chunks.
    pub chunk_count: usize,
}

impl StreamHead {
    /// Appends the head. The caller then appends the chunks, the group count as a varint, and the groups.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(STREAM_FLAGS);
        self.last_id.put(out);
        self.max_deleted_id.put(out);
        put_varint(out, self.entries_added);
        put_varint(out, self.entry_count as u64);
        put_varint(out, self.chunk_count as u64);
    }

    fn read(reader: &mut ByteReader<'_>) -> Result<Self, FormatError> {
        if reader.u8("stream flags")? != STREAM_FLAGS {
            return Err(FormatError::damaged("stream flags", 0));
        }
        Ok(Self {
            last_id: StreamId::read(reader)?,
            max_deleted_id: StreamId::read(reader)?,
            entries_added: reader.varint("entries added")?,
            entry_count: reader.count(1, "entry count")?,
            chunk_count: reader.count(1, "chunk count")?,
        })
    }
}

/// Appends what a group begins with; the caller then appends the count of its consumers as a varint, the consumers, the count of its
/// pending entries, and these. Groups are in the order of their names.
pub fn put_group_head(
    out: &mut Vec<u8>,
    name: &[u8],
    last_delivered_id: StreamId,
    entries_read: Option<u64>,
) {
    put_bytes(out, name);
    last_delivered_id.put(out);
    put_optional(out, entries_read);
}

/// Appends a consumer. Consumers are in the order of their names.
pub fn put_consumer(out: &mut Vec<u8>, consumer: &EncodedConsumer<'_>) {
    put_bytes(out, consumer.name);
    put_varint(out, consumer.seen_ms);
    put_optional(out, consumer.active_ms);
}

/// Appends a pending entry. They are in the order of their IDs.
pub fn put_pending(out: &mut Vec<u8>, pending: &EncodedPending) {
    pending.id.put(out);
    put_varint(out, pending.consumer as u64);
    put_varint(out, pending.delivered_ms);
    put_varint(out, pending.deliveries);
}

/// A number that may be missing: 0, or one more than it is. `u64::MAX` counts as missing.
pub(super) fn put_optional(out: &mut Vec<u8>, number: Option<u64>) {
    put_varint(out, number.map_or(0, |number| number.wrapping_add(1)));
}

pub(super) fn read_optional(
    reader: &mut ByteReader<'_>,
    what: &'static str,
) -> Result<Option<u64>, FormatError> {
    Ok(reader.varint(what)?.checked_sub(1))
}

/// A validated stream, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedStream<'a> {
    /// Its numbers.
    pub head: StreamHead,
    chunks: &'a [u8],
    group_count: usize,
    groups: &'a [u8],
}

impl<'a> EncodedStream<'a> {
    /// Validates all of `bytes`: flags, counts, lengths, nothing behind it; entries, names and pending entries strictly ascending;
    /// no entry behind the last ID; pending entries of consumers that exist.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] with the offset in `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        let head = StreamHead::read(&mut reader)?;
        let chunks_start = reader.position();
        let mut entries_left = head.entry_count;
        let mut last = StreamId::MIN;
        for _ in 0..head.chunk_count {
            let start = reader.position();
            let chunk = StreamChunk::read(&mut reader)?;
            if chunk.entry_count == 0 || chunk.entry_count > entries_left {
                return Err(FormatError::damaged("chunk entry count", start));
            }
            entries_left -= chunk.entry_count;
            let entries_start = reader.position() - chunk.entries.len();
            (chunk.validate(&mut last)).map_err(|error| error.shifted_by(entries_start as u64))?;
        }
        if entries_left > 0 || last > head.last_id {
            return Err(FormatError::damaged("entry count or last ID", 1));
        }
        let chunks = reader.since(chunks_start);
        let group_count = reader.count(1, "group count")?;
        let groups_start = reader.position();
        let mut former = None;
        for _ in 0..group_count {
            let start = reader.position();
            let group = EncodedGroup::read(&mut reader)?;
            if former.is_some_and(|former| former >= group.name) {
                return Err(FormatError::damaged("group order", start));
            }
            former = Some(group.name);
        }
        reader.finish("stream end")?;
        Ok(Self {
            head,
            chunks,
            group_count,
            groups: reader.since(groups_start),
        })
    }

    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> StreamChunks<'a> {
        StreamChunks {
            left: self.head.chunk_count,
            reader: ByteReader::new(self.chunks),
        }
    }

    /// All entries in order.
    pub fn entries(&self) -> impl Iterator<Item = super::StreamEntry<'a>> + use<'a> {
        self.chunks().flat_map(|chunk| chunk.entries_from(0))
    }

    /// The groups by name.
    #[must_use]
    pub fn groups(&self) -> EncodedStreamGroups<'a> {
        EncodedStreamGroups {
            left: self.group_count,
            reader: ByteReader::new(self.groups),
        }
    }
}

/// Iterates over the chunks of an [`EncodedStream`].
#[derive(Debug, Clone)]
pub struct StreamChunks<'a> {
    left: usize,
    reader: ByteReader<'a>,
}

impl<'a> Iterator for StreamChunks<'a> {
    type Item = StreamChunk<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        StreamChunk::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for StreamChunks<'_> {}

/// Iterates over the groups of an [`EncodedStream`].
#[derive(Debug, Clone)]
pub struct EncodedStreamGroups<'a> {
    left: usize,
    reader: ByteReader<'a>,
}

impl<'a> Iterator for EncodedStreamGroups<'a> {
    type Item = EncodedGroup<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        EncodedGroup::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for EncodedStreamGroups<'_> {}

/// A consumer group, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedGroup<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// The last entry that it was given.
    pub last_delivered_id: StreamId,
    /// How many entries of all that were ever added it was given, if that is known.
    pub entries_read: Option<u64>,
    consumer_count: usize,
    consumers: &'a [u8],
    pending_count: usize,
    pending: &'a [u8],
}

impl<'a> EncodedGroup<'a> {
    fn read(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        let name = reader.bytes("group name")?;
        let last_delivered_id = StreamId::read(reader)?;
        let entries_read = read_optional(reader, "entries read")?;
        let consumer_count = reader.count(3, "consumer count")?;
        let consumers_start = reader.position();
        let mut former = None;
        for _ in 0..consumer_count {
            let start = reader.position();
            let consumer = EncodedConsumer::read(reader)?;
            if former.is_some_and(|former| former >= consumer.name) {
                return Err(FormatError::damaged("consumer order", start));
            }
            former = Some(consumer.name);
        }
        let consumers = reader.since(consumers_start);
        let pending_count = reader.count(5, "pending count")?;
        let pending_start = reader.position();
        let mut former = None;
        for _ in 0..pending_count {
            let start = reader.position();
            let pending = EncodedPending::read(reader)?;
            if former >= Some(pending.id) || pending.consumer >= consumer_count {
                return Err(FormatError::damaged("pending order or consumer", start));
            }
            former = Some(pending.id);
        }
        Ok(Self {
            name,
            last_delivered_id,
            entries_read,
            consumer_count,
            consumers,
            pending_count,
            pending: reader.since(pending_start),
        })
    }

    /// The consumers by name.
    #[must_use]
    pub fn consumers(&self) -> StreamConsumers<'a> {
        StreamConsumers {
            left: self.consumer_count,
            reader: ByteReader::new(self.consumers),
        }
    }

    /// The pending entries by ID.
    #[must_use]
    pub fn pending(&self) -> StreamPending<'a> {
        StreamPending {
            left: self.pending_count,
            reader: ByteReader::new(self.pending),
        }
    }
}

/// A consumer, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedConsumer<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// When it last asked for entries, in Unix milliseconds.
    pub seen_ms: u64,
    /// When it last got some, in Unix milliseconds.
    pub active_ms: Option<u64>,
}

impl<'a> EncodedConsumer<'a> {
    fn read(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        Ok(Self {
            name: reader.bytes("consumer name")?,
            seen_ms: reader.varint("consumer seen time")?,
            active_ms: read_optional(reader, "consumer active time")?,
        })
    }
}

/// Iterates over the consumers of an [`EncodedGroup`].
#[derive(Debug, Clone)]
pub struct StreamConsumers<'a> {
    left: usize,
    reader: ByteReader<'a>,
}

impl<'a> Iterator for StreamConsumers<'a> {
    type Item = EncodedConsumer<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        EncodedConsumer::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for StreamConsumers<'_> {}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedPending {
    /// The entry's ID; the entry itself may be gone.
    pub id: StreamId,
    /// Whose it is: the consumer's number in the order of names, from 0.
    pub consumer: usize,
    /// When it was last delivered, in Unix milliseconds.
    pub delivered_ms: u64,
    /// How often.
    pub deliveries: u64,
}

impl EncodedPending {
    fn read(reader: &mut ByteReader<'_>) -> Result<Self, FormatError> {
        let id = StreamId::read(reader)?;
        let start = reader.position();
        let consumer = usize::try_from(reader.varint("pending consumer")?)
            .map_err(|_| FormatError::damaged("pending consumer", start))?;
        Ok(Self {
            id,
            consumer,
            delivered_ms: reader.varint("pending delivery time")?,
            deliveries: reader.varint("pending deliveries")?,
        })
    }
}

/// Iterates over the pending entries of an [`EncodedGroup`].
#[derive(Debug, Clone)]
pub struct StreamPending<'a> {
    left: usize,
    reader: ByteReader<'a>,
}

impl Iterator for StreamPending<'_> {
    type Item = EncodedPending;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        EncodedPending::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for StreamPending<'_> {}
