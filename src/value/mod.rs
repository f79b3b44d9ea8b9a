//! The values: text, list, set, sorted set, hash and stream, all in memory, all cheap to clone.
//!
//! Cloning any value counts one reference; changing a clone copies only the chunks on the way to the change. Snapshots,
//! demotion and COPY rest on that: they clone under a lock and work on the clone without it. Nothing here does I/O,
//! reads a clock or draws a random number, so the same calls give the same value, live and in replay.
//!
//! A stream (`stream`) is always chunks. Every other type is one pointer and has two forms (`compact`): *packed*, all elements in one allocation (`packed` on `thin`),
//! up to 128 elements and 4 KiB; and *large*, chunks in a persistent counted B+ tree (`tree`). The chunks of a list are
//! packed entries (`list_chunk`); those of the others are sorted runs (`run`), by placement hash (`hash_table`) or by score
//! (`order`). A large value does not become packed again by shrinking, only by being encoded and decoded.

use std::fmt;

use storage_format::ValueKind;

mod compact;
mod encode;
mod field_deadlines;
mod hash;
mod hash_table;
mod list;
mod list_chunk;
mod order;
mod ordered_map;
mod packed;
mod peaks;
mod run;
mod set;
mod sorted_set;
mod stream;
mod text;
mod thin;
mod tree;

#[cfg(test)]
mod behaviour_tests;
#[cfg(test)]
mod model_tests;

pub use hash::{Hash, HashIter};
pub use hash_table::Cursor;
pub use list::{List, ListIter};
pub use set::{Set, SetIter};
pub use sorted_set::{Inserted, SortedSet, SortedSetIter};
pub use stream::{
    ChunkSummary, Consumer, Group, LastChunk, Pending, Stream, StreamRange, StreamReverse,
};
pub use text::SharedText;

/// A value of any type. 16 bytes; cloning is O(1).
#[derive(Clone)]
pub enum Value {
    /// A string that does not live inside its entry.
    Text(SharedText),
    /// Items in order.
    List(List),
    /// Distinct members.
    Set(Set),
    /// Distinct members by score.
    SortedSet(SortedSet),
    /// Fields with values.
    Hash(Hash),
    /// Entries by ID, and groups that read them.
    Stream(Stream),
}

impl Value {
    /// The type as it is stored.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Text(_) => ValueKind::String,
            Self::List(_) => ValueKind::List,
            Self::Set(_) => ValueKind::Set,
            Self::SortedSet(_) => ValueKind::SortedSet,
            Self::Hash(_) => ValueKind::Hash,
            Self::Stream(_) => ValueKind::Stream,
        }
    }

    /// Bytes of a text, elements of a collection.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(list) => list.len(),
            Self::Set(set) => set.len(),
            Self::SortedSet(sorted) => sorted.len(),
            Self::Hash(hash) => hash.len(),
            Self::Stream(stream) => stream.len(),
        }
    }

    /// Whether it is a collection without elements, whose key must go. An empty text is a value like any other, and so is
    /// a stream without entries.
    pub fn is_empty(&self) -> bool {
        !matches!(self, Self::Text(_) | Self::Stream(_)) && self.len() == 0
    }

    /// Estimate of the heap bytes, O(1).
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.memory_bytes(),
            Self::List(list) => list.memory_bytes(),
            Self::Set(set) => set.memory_bytes(),
            Self::SortedSet(sorted) => sorted.memory_bytes(),
            Self::Hash(hash) => hash.memory_bytes(),
            Self::Stream(stream) => stream.memory_bytes(),
        }
    }
}

impl Value {
    /// A text.
    pub fn from_text(text: &[u8]) -> Value {
        Value::Text(SharedText::new(text))
    }

    /// The bytes of a text; `None` for a collection.
    pub fn as_text(&self) -> Option<&[u8]> {
        if let Value::Text(text) = self {
            Some(text.as_bytes())
        } else {
            None
        }
    }

    /// The list, if it is one.
    pub fn as_list(&self) -> Option<&List> {
        if let Value::List(list) = self {
            Some(list)
        } else {
            None
        }
    }

    /// The set, if it is one.
    pub fn as_set(&self) -> Option<&Set> {
        if let Value::Set(set) = self {
            Some(set)
        } else {
            None
        }
    }

    /// The hash, if it is one.
    pub fn as_hash(&self) -> Option<&Hash> {
        if let Value::Hash(hash) = self {
            Some(hash)
        } else {
            None
        }
    }

    /// The stream, if it is one.
    pub fn as_stream(&self) -> Option<&Stream> {
        if let Value::Stream(stream) = self {
            Some(stream)
        } else {
            None
        }
    }

    /// The sorted set, if it is one.
    pub fn as_sorted_set(&self) -> Option<&SortedSet> {
        if let Value::SortedSet(sorted_set) = self {
            Some(sorted_set)
        } else {
            None
        }
    }
}

impl Default for Value {
    /// An empty text.
    fn default() -> Value {
        Value::from_text(b"")
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", self.kind().name(), self.len())
    }
}

impl From<SharedText> for Value {
    fn from(text: SharedText) -> Self {
        Self::Text(text)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

impl From<Set> for Value {
    fn from(set: Set) -> Self {
        Self::Set(set)
    }
}

impl From<SortedSet> for Value {
    fn from(sorted: SortedSet) -> Self {
        Self::SortedSet(sorted)
    }
}

impl From<Stream> for Value {
    fn from(stream: Stream) -> Self {
        Self::Stream(stream)
    }
}

impl From<Hash> for Value {
    fn from(hash: Hash) -> Self {
        Self::Hash(hash)
    }
}
