//! A chunk of entries: one region of bytes in the form in which it is stored, and the tree's view of it.
//!
//! Entries are only added behind the last and taken out anywhere, so a chunk needs no slots: finding one walks over at
//! most as many lengths as `stream-node-max-entries` allows. Chunks are never merged, because trimming with `~` drops
//! whole ones and clients see how many there are.

use std::sync::Arc;

use storage_format::stream::{StreamChunk, StreamEntries, put_entry, put_master_fields};
use storage_format::{Items, StreamId};

use super::super::thin::reserve_tight;
use super::super::tree::{Child, Chunk, Seek};

/// About what a chunk costs beside its region: itself, its reference counts, its entry in the tree.
pub(super) const CHUNK_OVERHEAD_BYTES: usize = 160;

#[derive(Clone)]
pub(super) struct EntryChunk {
    count: usize,
    deleted: u64,
    base: StreamId,
    /// Shared by neighbouring chunks whose first entries have the same fields.
    master_fields: Arc<[u8]>,
    entries: Vec<u8>,
}

impl Chunk for EntryChunk {
    type Fence = StreamId;

    fn count(&self) -> usize {
        self.count
    }

    fn fence(&self) -> StreamId {
        self.iter().next().map_or(self.base, |entry| entry.id)
    }

    fn is_sparse(&self) -> bool {
        false
    }

    fn fits(&self, _: &Self) -> bool {
        false
    }

    fn absorb(&mut self, _: &Self) {
        unreachable!("chunks that never fit together are not merged");
    }
}

impl EntryChunk {
    /// A chunk of one entry. Shares the field names of `neighbour` if they are the same.
    pub(super) fn new(id: StreamId, pairs: Items<'_>, neighbour: Option<&EntryChunk>) -> Self {
        let mut names = Vec::new();
        let fields: Vec<&[u8]> = pairs.iter().step_by(2).collect();
        put_master_fields(&mut names, fields.into_iter());
        let master_fields = match neighbour {
            Some(neighbour) if *neighbour.master_fields == *names => {
                Arc::clone(&neighbour.master_fields)
            }
            _ => Arc::from(names),
        };
        let mut chunk = Self {
            count: 0,
            deleted: 0,
            base: id,
            master_fields,
            entries: Vec::new(),
        };
        chunk.push(id, pairs);
        chunk
    }

    pub(super) fn from_encoded(encoded: &StreamChunk<'_>) -> Self {
        Self {
            count: encoded.entry_count,
            deleted: encoded.deleted_count,
            base: encoded.base,
            master_fields: Arc::from(encoded.master_fields),
            entries: encoded.entries.to_vec(),
        }
    }

    /// Adds an entry behind the last; its ID must be above all.
    pub(super) fn push(&mut self, id: StreamId, pairs: Items<'_>) {
        let payload: usize = pairs.iter().map(<[u8]>::len).sum();
        reserve_tight(&mut self.entries, payload);
        put_entry(&mut self.entries, self.base, &self.master_fields, id, pairs);
        self.count += 1;
    }

    /// Takes an entry out; false if it is not there.
    pub(super) fn remove(&mut self, id: StreamId) -> bool {
        let mut entries = self.iter();
        let Some(entry) = entries.find(|entry| entry.id >= id) else {
            return false;
        };
        if entry.id > id {
            return false;
        }
        let (start, end) = (entry.offset, entries.offset());
        self.entries.drain(start..end);
        self.count -= 1;
        self.deleted += 1;
        true
    }

    /// Takes the first entries out, fewer than there are.
    pub(super) fn remove_first(&mut self, count: usize) {
        let end = (self.iter().nth(count)).map_or(self.entries.len(), |entry| entry.offset);
        self.entries.drain(..end);
        self.count -= count;
        self.deleted += count as u64;
    }

    /// Empties the chunk, which makes the tree drop it.
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.entries = Vec::new();
    }

    pub(super) fn iter(&self) -> StreamEntries<'_> {
        self.view().entries_from(0)
    }

    pub(super) fn view(&self) -> StreamChunk<'_> {
        StreamChunk {
            entry_count: self.count,
            deleted_count: self.deleted,
            base: self.base,
            master_fields: &self.master_fields,
            entries: &self.entries,
        }
    }

    /// Bytes of its entries and field names.
    pub(super) fn bytes(&self) -> usize {
        self.entries.len() + self.master_fields.len()
    }

    /// The last entry's ID.
    pub(super) fn last_id(&self) -> StreamId {
        self.iter().last().map_or(self.base, |entry| entry.id)
    }
}

/// Goes to the chunk that holds the ID, or would.
pub(super) struct ById {
    pub(super) id: StreamId,
    pub(super) skipped: usize,
}

impl Seek<EntryChunk> for ById {
    fn choose(&mut self, children: &[Child<EntryChunk>]) -> usize {
        let index = children
            .partition_point(|child| child.fence() <= self.id)
            .saturating_sub(1);
        self.skipped += children[..index].iter().map(Child::count).sum::<usize>();
        index
    }
}
