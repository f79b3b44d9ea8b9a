//! Streams: IDs, chunks of entries, the value encoding, and what can happen to one (FORMAT.md sections 2.1 and 3.1).
//!
//! A stream keeps its entries in memory in the very chunks that are stored, so encoding one copies regions, and decoding
//! one walks them once. An entry whose fields have the names of its chunk's first entry stores only its values.

mod chunk;
mod effect;
mod list;
mod value;

pub use chunk::{
    StreamChunk, StreamEntries, StreamEntry, StreamFields, put_entry, put_master_fields,
};
pub(crate) use chunk::{put_entry_pairs, put_entry_values};
pub use effect::StreamEffect;
pub use list::{IdItem, IdList, IdListIter};
pub use value::{
    EncodedConsumer, EncodedGroup, EncodedPending, EncodedStream, EncodedStreamGroups,
    StreamChunks, StreamConsumers, StreamHead, StreamPending, put_consumer, put_group_head,
    put_pending,
};

use crate::error::FormatError;
use crate::reader::ByteReader;
use crate::varint::put_varint;

/// The ID of an entry: a time, and a number within it. Ordered by both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Unix time in milliseconds, or whatever the writer chose.
    pub time_ms: u64,
    /// Tells entries of the same millisecond apart.
    pub sequence: u64,
}

impl StreamId {
    /// 0-0: no entry has it.
    pub const MIN: StreamId = StreamId::new(0, 0);
    /// The last possible one.
    pub const MAX: StreamId = StreamId::new(u64::MAX, u64::MAX);

    /// An ID of its two parts.
    #[must_use]
    pub const fn new(time_ms: u64, sequence: u64) -> StreamId {
        StreamId { time_ms, sequence }
    }

    /// The ID behind this one; `None` behind the last.
    #[must_use]
    pub const fn next(self) -> Option<StreamId> {
        match (self.time_ms, self.sequence) {
            (u64::MAX, u64::MAX) => None,
            (time_ms, u64::MAX) => Some(StreamId::new(time_ms + 1, 0)),
            (time_ms, sequence) => Some(StreamId::new(time_ms, sequence + 1)),
        }
    }

    /// The ID in front of this one; `None` in front of 0-0.
    #[must_use]
    pub const fn previous(self) -> Option<StreamId> {
        match (self.time_ms, self.sequence) {
            (0, 0) => None,
            (time_ms, 0) => Some(StreamId::new(time_ms - 1, u64::MAX)),
            (time_ms, sequence) => Some(StreamId::new(time_ms, sequence - 1)),
        }
    }

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self.time_ms);
        put_varint(out, self.sequence);
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<StreamId, FormatError> {
        Ok(StreamId {
            time_ms: reader.varint("stream ID")?,
            sequence: reader.varint("stream ID")?,
        })
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.time_ms, self.sequence)
    }
}

#[cfg(test)]
mod tests;
