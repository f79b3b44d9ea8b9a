//! Lists: one packed allocation while small, then a counted tree of packed chunks.
//!
//! Pushing and popping at both ends touches the first or last chunk; an index is found by the tree's counts and a walk
//! through at most 2 KiB. Two bytes of overhead for a short item, and 1 to 3 % for chunks and tree.

use storage_format::Side;

use super::compact::{Compact, Form, FormMut};
use super::list_chunk::{ChunkWalk, ListChunk};
use super::packed::{Entries, Packed, entry_at};
use super::thin::HEADER_BYTES;
use super::tree::CountedTree;

/// A list of byte strings with O(1) clone.
#[derive(Clone)]
pub struct List {
    body: Compact<LargeList>,
}

#[derive(Clone)]
struct LargeList {
    chunks: CountedTree<ListChunk>,
    payload_bytes: usize,
}

/// About what a chunk costs beside its entries: tree, reference counts, free room at the ends.
const CHUNK_OVERHEAD_BYTES: usize = 128;

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        Self {
            body: Compact::packed(Packed::new()),
        }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.count(),
            Form::Large(large) => large.chunks.len(),
        }
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at `index`. O(log n) and a walk inside one chunk.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        match self.body.form() {
            Form::Packed(packed) if index < packed.count() => {
                Some(entry_at(packed.bytes(), packed_offset(packed, index)).0)
            }
            Form::Packed(_) => None,
            Form::Large(large) => {
                let (chunk, offset) = large.chunks.chunk_at(index)?;
                chunk.get(offset)
            }
        }
    }

    /// All items.
    pub fn iter(&self) -> ListIter<'_> {
        self.range(0, usize::MAX)
    }

    /// Up to `count` items from `start` on. With `rev()` it works from the far end, at the same cost.
    pub fn range(&self, start: usize, count: usize) -> ListIter<'_> {
        let start = start.min(self.len());
        let end = start.saturating_add(count).min(self.len());
        ListIter {
            list: self,
            start,
            end,
            front: ChunkWalk::Single(None),
            back: ChunkWalk::Single(None),
        }
    }

    /// Adds an item at one end.
    pub fn push(&mut self, side: Side, item: &[u8]) {
        match side {
            Side::Left => self.insert(0, item),
            Side::Right => self.insert(self.len(), item),
        };
    }

    /// Takes an item from one end.
    pub fn pop(&mut self, side: Side) -> Option<Box<[u8]>> {
        let index = match side {
            Side::Left => 0,
            Side::Right => self.len().checked_sub(1)?,
        };
        let item = self.get(index)?.into();
        self.remove_range(index, 1);
        Some(item)
    }

    /// Replaces the item at `index`; `false` if there is none.
    pub fn set(&mut self, index: usize, item: &[u8]) -> bool {
        let Some(old_bytes) = self.get(index).map(<[u8]>::len) else {
            return false;
        };
        if let FormMut::Packed(packed) = self.body.form_mut()
            && packed.has_room_for_replacement(item.len())
        {
            let at = packed_offset(packed, index);
            let end = entry_at(packed.bytes(), at).1;
            packed.replace_entries(at, end, &[item]);
            packed.note(0, item.len());
            return true;
        }
        let large = self.make_large();
        large
            .chunks
            .edit(index, |chunk, offset, added| chunk.set(offset, item, added));
        large.payload_bytes = large.payload_bytes + item.len() - old_bytes;
        true
    }

    /// Makes `item` the item at `index`, before the one that was there; `false` if `index` is beyond the end.
    pub fn insert(&mut self, index: usize, item: &[u8]) -> bool {
        if index > self.len() {
            return false;
        }
        if let FormMut::Packed(packed) = self.body.form_mut()
            && packed.has_room(&[item.len()])
        {
            packed.insert(packed_offset(packed, index), &[item], item.len());
            return true;
        }
        let large = self.make_large();
        large.payload_bytes += item.len();
        let inserted = large.chunks.edit(index, |chunk, offset, added| {
            chunk.insert(offset, item, added)
        });
        if inserted.is_none() {
            large.chunks.push_chunk(ListChunk::of(item));
        }
        true
    }

    /// Takes up to `count` items out from `index` on; tells how many there were.
    pub fn remove_range(&mut self, index: usize, count: usize) -> usize {
        let count = count.min(self.len().saturating_sub(index));
        if count == self.len() {
            *self = Self::new();
            return count;
        }
        match self.body.form_mut() {
            _ if count == 0 => {}
            FormMut::Packed(packed) => {
                let (at, end) = (
                    packed_offset(packed, index),
                    packed_offset(packed, index + count),
                );
                packed.remove(at, end, count);
            }
            FormMut::Large(large) => large.remove_range(index, count),
        }
        count
    }

    /// Sum of the items' lengths. O(1) for large lists.
    pub fn payload_bytes(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.entries().map(<[u8]>::len).sum(),
            Form::Large(large) => large.payload_bytes,
        }
    }

    /// Estimate of the heap bytes, O(1).
    pub fn memory_bytes(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.memory_bytes(),
            Form::Large(large) => {
                let entries = large.payload_bytes + large.chunks.len() * 2;
                let chunks = entries.div_ceil(4000).max(1);
                size_of::<LargeList>() + HEADER_BYTES + entries + chunks * CHUNK_OVERHEAD_BYTES
            }
        }
    }

    /// Builds a list from `items` chunk by chunk.
    pub(super) fn from_items<'a>(items: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut list = Self::new();
        let mut chunks: Vec<ListChunk> = Vec::new();
        let mut payload_bytes = 0;
        for item in items {
            if chunks.is_empty()
                && let FormMut::Packed(packed) = list.body.form_mut()
            {
                if packed.has_room(&[item.len()]) {
                    packed.insert(packed.bytes().len(), &[item], item.len());
                    continue;
                }
                payload_bytes = packed.entries().map(<[u8]>::len).sum();
                chunks.extend((packed.count() > 0).then(|| chunk_of(packed)));
            }
            payload_bytes += item.len();
            match chunks.last_mut() {
                Some(last) if last.has_room(item) => last.push(item),
                _ => chunks.push(ListChunk::of(item)),
            }
        }
        if !chunks.is_empty() {
            list.body = Compact::large(LargeList {
                chunks: CountedTree::from_chunks(chunks),
                payload_bytes,
            });
        }
        list
    }

    fn make_large(&mut self) -> &mut LargeList {
        if let Form::Packed(packed) = self.body.form() {
            let mut chunks = CountedTree::new();
            if packed.count() > 0 {
                chunks.push_chunk(chunk_of(packed));
            }
            self.body = Compact::large(LargeList {
                chunks,
                payload_bytes: self.payload_bytes(),
            });
        }
        match self.body.form_mut() {
            FormMut::Large(large) => large,
            FormMut::Packed(_) => unreachable!("just made large"),
        }
    }

    #[cfg(test)]
    pub(super) fn chunk_addresses(&self) -> Vec<*const ()> {
        match self.body.form() {
            Form::Packed(packed) => vec![packed.bytes().as_ptr().cast()],
            Form::Large(large) => large
                .chunks
                .chunk_addresses()
                .into_iter()
                .map(<*const _>::cast)
                .collect(),
        }
    }
}

impl LargeList {
    fn remove_range(&mut self, index: usize, count: usize) {
        let mut left = count;
        while left > 0 {
            let removed = self
                .chunks
                .edit(index, |chunk, offset, _| chunk.remove_up_to(offset, left));
            let Some((items, bytes)) = removed else {
                return;
            };
            left -= items;
            self.payload_bytes -= bytes;
        }
    }
}

fn chunk_of(packed: &Packed) -> ListChunk {
    ListChunk::of_entries(packed.bytes(), packed.count())
}

/// The offset of item `index`, walked to from the nearer end.
fn packed_offset(packed: &Packed, index: usize) -> usize {
    let mut entries = packed.entries();
    if index <= packed.count() / 2 {
        entries.by_ref().take(index).for_each(drop);
        entries.front
    } else {
        entries
            .by_ref()
            .rev()
            .take(packed.count() - index)
            .for_each(drop);
        entries.back
    }
}

/// Iterates over items from both ends.
#[derive(Clone)]
pub struct ListIter<'a> {
    list: &'a List,
    start: usize,
    end: usize,
    front: ChunkWalk<'a>,
    back: ChunkWalk<'a>,
}

impl<'a> ListIter<'a> {
    fn walk_from(&self, index: usize) -> Option<ChunkWalk<'a>> {
        match self.list.body.form() {
            Form::Packed(packed) => {
                let (bytes, front) = (packed.bytes(), packed_offset(packed, index));
                Some(ChunkWalk::Packed(Entries {
                    bytes,
                    front,
                    back: bytes.len(),
                }))
            }
            Form::Large(large) => {
                let (chunk, offset) = large.chunks.chunk_at(index)?;
                Some(chunk.walk(offset))
            }
        }
    }

    fn walk_back_from(&self, index: usize) -> Option<ChunkWalk<'a>> {
        match self.list.body.form() {
            Form::Packed(packed) => {
                let back = packed_offset(packed, index + 1);
                Some(ChunkWalk::Packed(Entries {
                    bytes: packed.bytes(),
                    front: 0,
                    back,
                }))
            }
            Form::Large(large) => {
                let (chunk, offset) = large.chunks.chunk_at(index)?;
                Some(chunk.walk_back(offset + 1))
            }
        }
    }
}

impl<'a> Iterator for ListIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.start >= self.end {
            return None;
        }
        let item = match self.front.next() {
            Some(item) => item,
            None => {
                self.front = self.walk_from(self.start)?;
                self.front.next()?
            }
        };
        self.start += 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.start;
        (left, Some(left))
    }
}

impl DoubleEndedIterator for ListIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start >= self.end {
            return None;
        }
        let item = match self.back.next_back() {
            Some(item) => item,
            None => {
                self.back = self.walk_back_from(self.end - 1)?;
                self.back.next_back()?
            }
        };
        self.end -= 1;
        Some(item)
    }
}

impl ExactSizeIterator for ListIter<'_> {}
