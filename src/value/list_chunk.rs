//! The chunks of a large list: packed items with free room at either end, or one big item.

use std::sync::Arc;

use super::packed::{Entries, Frame, entry_at, entry_before};
use super::thin::good_size;
use super::tree::Chunk;

/// Most bytes of a packed chunk.
const CHUNK_BYTES: usize = 4096;
/// Items longer than this get a chunk of their own, which is copied by counting a reference.
const MAX_PACKED_ITEM_BYTES: usize = 1024;
/// A chunk below this is merged with a neighbour if the result is not nearly full.
const SPARSE_BYTES: usize = 1024;

/// Packed entries (see `packed`) that grow and shrink cheaply at both ends.
#[derive(Clone)]
pub(super) struct PackedDeque {
    /// The entries lie in `bytes[start..]`.
    bytes: Vec<u8>,
    start: u32,
    count: u32,
}

/// Some neighbouring items of a list.
#[derive(Clone)]
pub(super) enum ListChunk {
    Packed(PackedDeque),
    Single(Arc<[u8]>),
    /// Nothing is left; the tree drops it.
    Empty,
}

impl PackedDeque {
    fn from_entries(entries: &[u8], count: usize) -> Self {
        Self {
            bytes: entries.to_vec(),
            start: 0,
            count: count as u32,
        }
    }

    fn data(&self) -> &[u8] {
        &self.bytes[self.start as usize..]
    }

    /// The offset of item `index` in `data`; for the count, the end.
    fn offset_of(&self, index: usize) -> usize {
        let (data, count) = (self.data(), self.count as usize);
        if index <= count / 2 {
            (0..index).fold(0, |at, _| entry_at(data, at).1)
        } else {
            (index..count).fold(data.len(), |end, _| entry_before(data, end).1)
        }
    }

    /// Replaces `removed` bytes at offset `at` of `data` by an entry for `item`, or by nothing.
    fn splice(&mut self, at: usize, removed: usize, item: Option<&[u8]>) {
        let frame = Frame::new(item.map_or(0, <[u8]>::len));
        let parts = item.map_or([&[][..]; 3], |item| {
            [frame.head.as_slice(), item, frame.tail.as_slice()]
        });
        let added: usize = parts.iter().map(|part| part.len()).sum();
        if at == 0 {
            self.make_front_room(added.saturating_sub(removed));
            self.start = self.start + removed as u32 - added as u32;
        } else {
            self.resize_gap(at, removed, added);
        }
        let mut target = self.start as usize + at;
        for part in parts {
            self.bytes[target..target + part.len()].copy_from_slice(part);
            target += part.len();
        }
    }

    fn make_front_room(&mut self, needed: usize) {
        if self.start as usize >= needed {
            return;
        }
        let length = self.data().len();
        let total = length + needed;
        let capacity = good_size(total + total / 2).min(CHUNK_BYTES).max(total);
        let mut bytes = vec![0; capacity];
        bytes[capacity - length..].copy_from_slice(self.data());
        self.bytes = bytes;
        self.start = (capacity - length) as u32;
    }

    /// Makes `removed` bytes at `at` into `added` by moving what is behind them.
    fn resize_gap(&mut self, at: usize, removed: usize, added: usize) {
        let grown = added.saturating_sub(removed);
        if self.bytes.len() + grown > self.bytes.capacity() && self.start > 0 {
            self.bytes.drain(..self.start as usize);
            self.start = 0;
        }
        let needed = self.bytes.len() + grown;
        if needed > self.bytes.capacity() {
            let capacity = good_size(needed + needed / 2).min(CHUNK_BYTES).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        let end = self.start as usize + at + removed;
        if added >= removed {
            let old = self.bytes.len();
            self.bytes.resize(old + grown, 0);
            self.bytes.copy_within(end..old, end + grown);
        } else {
            self.bytes.drain(end - (removed - added)..end);
        }
    }

    fn insert(&mut self, index: usize, item: &[u8]) {
        self.splice(self.offset_of(index), 0, Some(item));
        self.count += 1;
    }

    fn has_room(&self, item: &[u8]) -> bool {
        self.data().len() + Frame::entry_bytes(item.len()) <= CHUNK_BYTES
    }
}

impl ListChunk {
    /// A chunk of one item.
    pub(super) fn of(item: &[u8]) -> Self {
        if item.len() > MAX_PACKED_ITEM_BYTES {
            return Self::Single(Arc::from(item));
        }
        let mut packed = PackedDeque::from_entries(&[], 0);
        packed.insert(0, item);
        Self::Packed(packed)
    }

    /// A chunk of entries that are packed already.
    pub(super) fn of_entries(entries: &[u8], count: usize) -> Self {
        if count == 0 {
            Self::Empty
        } else {
            Self::Packed(PackedDeque::from_entries(entries, count))
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        match self {
            Self::Packed(packed) if index < packed.count as usize => {
                Some(entry_at(packed.data(), packed.offset_of(index)).0)
            }
            Self::Single(item) if index == 0 => Some(item),
            _ => None,
        }
    }

    /// Whether `item` may be put into this chunk.
    pub(super) fn has_room(&self, item: &[u8]) -> bool {
        match self {
            Self::Packed(packed) => item.len() <= MAX_PACKED_ITEM_BYTES && packed.has_room(item),
            Self::Single(_) | Self::Empty => false,
        }
    }

    /// Puts a new item at `index`, into new neighbours if it has no room here.
    pub(super) fn insert(&mut self, index: usize, item: &[u8], added: &mut Vec<Self>) {
        let has_room = self.has_room(item);
        match self {
            Self::Packed(packed) if has_room => packed.insert(index, item),
            _ => {
                let right = self.split_off(index);
                if self.has_room(item) {
                    self.push(item);
                } else {
                    added.push(Self::of(item));
                }
                added.extend(right);
                self.replace_if_empty(added);
            }
        }
    }

    /// Replaces the item at `index`, which exists.
    pub(super) fn set(&mut self, index: usize, item: &[u8], added: &mut Vec<Self>) {
        if let Self::Packed(packed) = self {
            let at = packed.offset_of(index);
            let removed = entry_at(packed.data(), at).1 - at;
            let length = packed.data().len() - removed + Frame::entry_bytes(item.len());
            if item.len() <= MAX_PACKED_ITEM_BYTES && length <= CHUNK_BYTES {
                packed.splice(at, removed, Some(item));
                return;
            }
        }
        let right = self.split_off(index + 1);
        self.remove(index, 1);
        added.push(Self::of(item));
        added.extend(right);
        self.replace_if_empty(added);
    }

    /// An empty chunk takes the place of its first follower, so that the tree has less to do.
    fn replace_if_empty(&mut self, added: &mut Vec<Self>) {
        if self.count() == 0 {
            *self = added.remove(0);
        }
    }

    fn split_off(&mut self, index: usize) -> Option<Self> {
        if index >= self.count() {
            return None;
        }
        match self {
            _ if index == 0 => Some(std::mem::replace(self, Self::Empty)),
            Self::Packed(packed) => {
                let at = packed.offset_of(index);
                let right = Self::of_entries(&packed.data()[at..], packed.count as usize - index);
                packed.bytes.truncate(packed.start as usize + at);
                packed.count = index as u32;
                Some(right)
            }
            Self::Single(_) | Self::Empty => None,
        }
    }

    /// Puts an item that has room behind all others.
    pub(super) fn push(&mut self, item: &[u8]) {
        self.insert(self.count(), item, &mut Vec::new());
    }

    /// Takes up to `count` items out from `index` on; tells how many and how many bytes they had.
    pub(super) fn remove_up_to(&mut self, index: usize, count: usize) -> (usize, usize) {
        let count = count.min(self.count() - index);
        let bytes = self.walk(index).take(count).map(<[u8]>::len).sum();
        self.remove(index, count);
        (count, bytes)
    }

    /// Takes `count` items out from `index` on; all exist.
    fn remove(&mut self, index: usize, count: usize) {
        match self {
            Self::Packed(packed) if count < packed.count as usize => {
                let (at, end) = (packed.offset_of(index), packed.offset_of(index + count));
                packed.splice(at, end - at, None);
                packed.count -= count as u32;
            }
            _ => *self = Self::Empty,
        }
    }

    /// The items from `index` on.
    pub(super) fn walk(&self, index: usize) -> ChunkWalk<'_> {
        match self {
            Self::Packed(packed) => {
                let (bytes, at) = (packed.data(), packed.offset_of(index));
                ChunkWalk::Packed(Entries {
                    bytes,
                    front: at,
                    back: bytes.len(),
                })
            }
            Self::Single(item) => ChunkWalk::Single(Some(item)),
            Self::Empty => ChunkWalk::Single(None),
        }
    }

    /// The items before `end`, to be walked backwards from there.
    pub(super) fn walk_back(&self, end: usize) -> ChunkWalk<'_> {
        match self {
            Self::Packed(packed) => ChunkWalk::Packed(Entries {
                bytes: packed.data(),
                front: 0,
                back: packed.offset_of(end),
            }),
            other => other.walk(0),
        }
    }
}

/// A way through a chunk's items from some place on.
#[derive(Clone)]
pub(super) enum ChunkWalk<'a> {
    Packed(Entries<'a>),
    Single(Option<&'a [u8]>),
}

impl<'a> Iterator for ChunkWalk<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Packed(entries) => entries.next(),
            Self::Single(item) => item.take(),
        }
    }
}

impl DoubleEndedIterator for ChunkWalk<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Packed(entries) => entries.next_back(),
            Self::Single(item) => item.take(),
        }
    }
}

impl Chunk for ListChunk {
    type Fence = ();

    fn count(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.count as usize,
            Self::Single(_) => 1,
            Self::Empty => 0,
        }
    }

    fn fence(&self) {}

    fn is_sparse(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed.data().len() < SPARSE_BYTES)
    }

    fn fits(&self, right: &Self) -> bool {
        match (self, right) {
            (Self::Packed(left), Self::Packed(right)) => {
                left.data().len() + right.data().len() <= CHUNK_BYTES * 3 / 4
            }
            _ => false,
        }
    }

    fn absorb(&mut self, right: &Self) {
        if let (Self::Packed(left), Self::Packed(right)) = (self, right) {
            left.bytes.extend_from_slice(right.data());
            left.count += right.count;
        }
    }
}
