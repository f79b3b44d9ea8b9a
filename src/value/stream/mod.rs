//! A stream: entries in the order of their IDs, and groups of consumers that share the reading of them.
//!
//! Entries lie in chunks of the form in which they are stored (`chunk`), in the counted tree of the other collections;
//! groups, consumers and pending entries in persistent maps. So a clone is one reference, a change copies one chunk, and
//! memory is close to the bytes of the entries: for small ones with the same fields about 6 bytes beside the values.
//!
//! What happens to a stream does not depend on settings or clock: whoever adds an entry says whether it begins a chunk, and
//! which time it is.

mod chunk;
mod encode;
mod group;
mod range;

#[cfg(test)]
mod model_tests;

use std::sync::Arc;

pub use group::{Consumer, Group, Pending};
pub use range::{StreamRange, StreamReverse};
use storage_format::stream::StreamEntry;
use storage_format::{Items, StreamId};

use super::ordered_map::OrderedMap;
use super::tree::CountedTree;
use chunk::{ById, CHUNK_OVERHEAD_BYTES, EntryChunk};
use group::Name;

/// Estimate of the heap bytes of a group, beside its name, consumers and pending entries.
const GROUP_BYTES: usize = 160;

/// See the module's comment.
#[derive(Clone, Default)]
pub struct Stream(Arc<Content>);

#[derive(Clone, Default)]
struct Content {
    entries: CountedTree<EntryChunk>,
    groups: OrderedMap<Name, Group>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    chunk_count: usize,
    /// Bytes of all chunks' entries and fields, and of groups.
    payload_bytes: usize,
}

/// How full the last chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastChunk {
    /// Entries in it, those included that were deleted.
    pub entries: u64,
    /// Bytes of it.
    pub bytes: usize,
}

/// What trimming of whole chunks looks at.
#[derive(Clone, Copy)]
pub struct ChunkSummary<'a>(&'a EntryChunk);

impl ChunkSummary<'_> {
    /// Entries that are there.
    pub fn entries(&self) -> usize {
        self.0.view().entry_count
    }

    /// The last one's ID; walks over the chunk.
    pub fn last_id(&self) -> StreamId {
        self.0.last_id()
    }
}

impl Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether there is no entry. Such a stream may well exist: it has an ID to go on from, and groups.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest ID that an entry ever had.
    pub fn last_id(&self) -> StreamId {
        self.0.last_id
    }

    /// The first entry's ID; 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.0
            .entries
            .chunk_at(0)
            .and_then(|(chunk, _)| chunk.iter().next())
            .map_or(StreamId::MIN, |entry| entry.id)
    }

    /// The last entry's ID.
    pub fn top_id(&self) -> Option<StreamId> {
        let (chunk, _) = self.0.entries.chunk_at(self.len())?;
        Some(chunk.last_id())
    }

    /// The largest ID that was deleted by XDEL.
    pub fn max_deleted_id(&self) -> StreamId {
        self.0.max_deleted_id
    }

    /// How many entries were ever added.
    pub fn entries_added(&self) -> u64 {
        self.0.entries_added
    }

    /// Number of chunks.
    pub fn chunk_count(&self) -> usize {
        self.0.chunk_count
    }

    /// The last chunk's state, from which follows whether an entry shall begin another.
    pub fn last_chunk(&self) -> Option<LastChunk> {
        let (chunk, _) = self.0.entries.chunk_at(self.len())?;
        let view = chunk.view();
        Some(LastChunk {
            entries: view.entry_count as u64 + view.deleted_count,
            bytes: chunk.bytes(),
        })
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkSummary<'_>> + use<'_> {
        let mut rank = 0;
        std::iter::from_fn(move || {
            let (chunk, _) = (rank < self.len()).then(|| self.0.entries.chunk_at(rank))??;
            rank += chunk.view().entry_count;
            Some(ChunkSummary(chunk))
        })
    }

    /// The entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> StreamRange<'_> {
        StreamRange::new(&self.0.entries, start, end)
    }

    /// The entries from `end` back to `start`, both included.
    pub fn reverse(&self, start: StreamId, end: StreamId) -> StreamReverse<'_> {
        StreamReverse::new(&self.0.entries, start, end)
    }

    /// The entry with this ID.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        self.range(id, id).next()
    }

    /// How many entries are below this ID.
    pub fn count_below(&self, id: StreamId) -> usize {
        range::rank_of(&self.0.entries, id)
    }

    /// Estimate of the heap bytes, O(1).
    pub fn memory_bytes(&self) -> usize {
        size_of::<Content>() + self.0.payload_bytes + self.0.chunk_count * CHUNK_OVERHEAD_BYTES
    }

    /// The group of this name.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.0.groups.get(name).map(|(_, group)| group)
    }

    /// The groups by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.0.groups.iter().map(|(name, group)| (&**name, group))
    }
}

/// Changes. Each tells whether (or how much) it changed anything.
impl Stream {
    fn content(&mut self) -> &mut Content {
        Arc::make_mut(&mut self.0)
    }

    /// Adds an entry of field, value, field, value … behind all others. False, and nothing is changed, if the ID is not above
    /// the last one.
    pub fn add(&mut self, id: StreamId, starts_chunk: bool, pairs: Items<'_>) -> bool {
        if id <= self.last_id() {
            return false;
        }
        let content = self.content();
        let len = content.entries.len();
        let grown = content.entries.edit(len, |last, _, added| {
            if starts_chunk {
                let chunk = EntryChunk::new(id, pairs, Some(last));
                let bytes = chunk.bytes();
                added.push(chunk);
                return bytes;
            }
            let before = last.bytes();
            last.push(id, pairs);
            last.bytes() - before
        });
        content.payload_bytes += grown.unwrap_or_else(|| {
            let chunk = EntryChunk::new(id, pairs, None);
            let bytes = chunk.bytes();
            content.entries.push_chunk(chunk);
            bytes
        });
        content.chunk_count += usize::from(starts_chunk || len == 0);
        content.last_id = id;
        content.entries_added += 1;
        true
    }

    /// Deletes an entry; false if there is none with this ID.
    pub fn delete(&mut self, id: StreamId) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        let content = self.content();
        content.edit_chunk(ById { id, skipped: 0 }, |chunk| {
            chunk.remove(id);
        });
        content.max_deleted_id = content.max_deleted_id.max(id);
        true
    }

    /// Drops the oldest entries; how many there were of them.
    pub fn trim(&mut self, count: u64) -> u64 {
        let count = usize::try_from(count).map_or(self.len(), |count| count.min(self.len()));
        let mut left = count;
        while left > 0 {
            let first = ById {
                id: StreamId::MIN,
                skipped: 0,
            };
            left -= self.content().edit_chunk(first, |chunk| {
                let entries = chunk.view().entry_count;
                if left < entries {
                    chunk.remove_first(left);
                } else {
                    chunk.clear();
                }
                left.min(entries)
            });
        }
        count as u64
    }

    /// Sets the stream's numbers. The last ID must not be below that of an entry; false, and nothing is changed, if it is.
    pub fn set_id(
        &mut self,
        last_id: StreamId,
        entries_added: u64,
        max_deleted_id: StreamId,
    ) -> bool {
        if self.top_id().is_some_and(|top_id| top_id > last_id) {
            return false;
        }
        let content = self.content();
        content.last_id = last_id;
        content.entries_added = entries_added;
        content.max_deleted_id = max_deleted_id;
        true
    }

    /// Makes a group; false if it exists.
    pub fn create_group(
        &mut self,
        name: &[u8],
        last_delivered_id: StreamId,
        entries_read: Option<u64>,
    ) -> bool {
        if self.group(name).is_some() {
            return false;
        }
        let group = Group {
            last_delivered_id,
            entries_read,
            ..Group::default()
        };
        let content = self.content();
        content.groups.insert(Arc::from(name), group);
        content.payload_bytes += GROUP_BYTES;
        true
    }

    /// Removes a group; false if it does not exist.
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        if self.group(name).is_none() {
            return false;
        }
        let content = self.content();
        let bytes = (content.groups.remove(name)).map_or(0, |group| group.memory_bytes());
        content.payload_bytes -= GROUP_BYTES + bytes;
        true
    }

    /// Changes a group; `None` if it does not exist.
    pub(crate) fn change_group<R>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut GroupChange<'_>) -> R,
    ) -> Option<R> {
        self.group(name)?;
        let content = self.content();
        let bytes = &mut content.payload_bytes;
        content.groups.change(name, |group| {
            let before = group.memory_bytes();
            let result = change(&mut GroupChange(group));
            *bytes = *bytes + group.memory_bytes() - before;
            result
        })
    }

    /// Gives the next `count` entries behind a group's position to a consumer, which must exist: moves the position, and makes them
    /// pending, and the consumer active, unless they count as acknowledged. How many there were.
    pub fn deliver(
        &mut self,
        group_name: &[u8],
        consumer: &[u8],
        now_ms: u64,
        count: u64,
        is_pending: bool,
    ) -> u64 {
        let Some(group) = self.group(group_name) else {
            return 0;
        };
        let Some(start) = group.last_delivered_id.next() else {
            return 0;
        };
        let limit = usize::try_from(count).unwrap_or(usize::MAX);
        let ids: Vec<StreamId> = (self.range(start, StreamId::MAX).take(limit))
            .map(|entry| entry.id)
            .collect();
        let mut entries_read = group.entries_read;
        for id in &ids {
            entries_read = self.entries_read_after(*id, entries_read);
        }
        self.change_group(group_name, |GroupChange(group)| {
            group.touch_consumer(consumer, now_ms, is_pending && !ids.is_empty());
            if let Some(last) = ids.last() {
                group.last_delivered_id = *last;
            }
            group.entries_read = entries_read;
            for id in ids.iter().filter(|_| is_pending) {
                group.give(*id, consumer, now_ms, 1);
            }
        });
        ids.len() as u64
    }
}

impl Content {
    /// Changes a chunk by taking entries out, and keeps the sums.
    fn edit_chunk<R: Default>(
        &mut self,
        seek: ById,
        change: impl FnOnce(&mut EntryChunk) -> R,
    ) -> R {
        let edited = self.entries.edit_found(seek, |chunk, _, _| {
            let before = chunk.bytes();
            let result = change(chunk);
            let is_gone = chunk.view().entry_count == 0;
            let after = if is_gone { 0 } else { chunk.bytes() };
            (result, before - after, is_gone)
        });
        let (result, freed, is_gone) = edited.unwrap_or_default();
        self.payload_bytes -= freed;
        self.chunk_count -= usize::from(is_gone);
        result
    }
}

/// A group that may be changed.
pub(crate) struct GroupChange<'a>(&'a mut Group);

impl GroupChange<'_> {
    /// Sets the group's position.
    pub(crate) fn set_position(&mut self, last_delivered_id: StreamId, entries_read: Option<u64>) {
        self.0.last_delivered_id = last_delivered_id;
        self.0.entries_read = entries_read;
    }

    /// Makes a consumer; false if it exists.
    pub(crate) fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> bool {
        self.0.create_consumer(name, now_ms)
    }

    /// Notes that a consumer asked for entries; false if nothing changed.
    pub(crate) fn touch_consumer(&mut self, name: &[u8], now_ms: u64, is_active: bool) -> bool {
        self.0.touch_consumer(name, now_ms, is_active)
    }

    /// Removes a consumer with its pending entries; false if it does not exist.
    pub(crate) fn delete_consumer(&mut self, name: &[u8]) -> bool {
        self.0.delete_consumer(name)
    }

    /// Makes an entry pending for a consumer; false if there is no such consumer.
    pub(crate) fn give(&mut self, id: StreamId, name: &[u8], at_ms: u64, deliveries: u64) -> bool {
        self.0.give(id, name, at_ms, deliveries)
    }

    /// Settles a pending entry; false if it is not pending.
    pub(crate) fn acknowledge(&mut self, id: StreamId) -> bool {
        self.0.acknowledge(id)
    }
}

/// How many entries a group has read.
impl Stream {
    /// Whether an entry at or behind `start` was deleted by XDEL, as far as that is known.
    fn has_deletions_from(&self, start: StreamId) -> bool {
        let max_deleted_id = self.max_deleted_id();
        !self.is_empty()
            && max_deleted_id != StreamId::MIN
            && self.first_id() <= max_deleted_id
            && start <= max_deleted_id
    }

    /// The number of the entry with this ID among all that were ever added, where that can be told.
    fn number_of(&self, id: StreamId) -> Option<u64> {
        let (added, last_id) = (self.entries_added(), self.last_id());
        if added == 0 {
            return Some(0);
        }
        if id == last_id || (self.is_empty() && id < last_id) {
            return Some(added);
        }
        if id > last_id {
            return None;
        }
        let first_id = self.first_id();
        let max_deleted_id = self.max_deleted_id();
        if max_deleted_id != StreamId::MIN && max_deleted_id >= first_id {
            return None;
        }
        let before_first = added.saturating_sub(self.len() as u64);
        match id.cmp(&first_id) {
            std::cmp::Ordering::Less => Some(before_first),
            std::cmp::Ordering::Equal => Some(before_first + 1),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// A group's count of entries read after it got this one.
    fn entries_read_after(&self, id: StreamId, before: Option<u64>) -> Option<u64> {
        match before {
            Some(before) if !self.has_deletions_from(id) => before.checked_add(1),
            _ if self.entries_added() > 0 => self.number_of(id),
            _ => before,
        }
    }

    /// How many entries a group has still to get, where that can be told. Negative if somebody set its count too high.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.entries_added() == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_deletions_from(group.last_delivered_id) => read,
            _ => self.number_of(group.last_delivered_id)?,
        };
        Some(self.entries_added().wrapping_sub(read) as i64)
    }
}
