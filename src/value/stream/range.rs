//! Walking the entries of a stream, forwards and backwards.

use storage_format::StreamId;
use storage_format::stream::{StreamEntries, StreamEntry};

use super::super::tree::CountedTree;
use super::chunk::{ById, EntryChunk};

/// How many entries are below this ID.
pub(super) fn rank_of(tree: &CountedTree<EntryChunk>, id: StreamId) -> usize {
    let mut seek = ById { id, skipped: 0 };
    let Some(chunk) = tree.find(&mut seek) else {
        return 0;
    };
    seek.skipped + chunk.iter().take_while(|entry| entry.id < id).count()
}

/// Entries in order.
pub struct StreamRange<'a> {
    tree: &'a CountedTree<EntryChunk>,
    /// Rank behind the last entry of `current`.
    next_rank: usize,
    current: Option<StreamEntries<'a>>,
    end: StreamId,
}

impl<'a> StreamRange<'a> {
    pub(super) fn new(tree: &'a CountedTree<EntryChunk>, start: StreamId, end: StreamId) -> Self {
        let mut range = Self {
            tree,
            next_rank: 0,
            current: None,
            end,
        };
        let mut seek = ById {
            id: start,
            skipped: 0,
        };
        if let Some(chunk) = tree.find(&mut seek) {
            let mut entries = chunk.iter();
            let mut from = entries;
            while entries.next().is_some_and(|entry| entry.id < start) {
                from = entries;
            }
            range.current = Some(from);
            range.next_rank = seek.skipped + chunk.view().entry_count;
        }
        range
    }
}

impl<'a> Iterator for StreamRange<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            if let Some(entry) = self.current.as_mut()?.next() {
                return (entry.id <= self.end).then_some(entry);
            }
            self.current = None;
            if self.next_rank < self.tree.len() {
                let (chunk, _) = self.tree.chunk_at(self.next_rank)?;
                self.next_rank += chunk.view().entry_count;
                self.current = Some(chunk.iter());
            }
        }
    }
}

/// Entries in reverse order. A chunk can only be read forwards, so it is read whole, then given back from its end.
pub struct StreamReverse<'a> {
    tree: &'a CountedTree<EntryChunk>,
    /// Rank of the first entry of `current`.
    rank: usize,
    current: Vec<StreamEntry<'a>>,
    start: StreamId,
}

impl<'a> StreamReverse<'a> {
    pub(super) fn new(tree: &'a CountedTree<EntryChunk>, start: StreamId, end: StreamId) -> Self {
        let mut reverse = Self {
            tree,
            rank: 0,
            current: Vec::new(),
            start,
        };
        let mut seek = ById {
            id: end,
            skipped: 0,
        };
        if let Some(chunk) = tree.find(&mut seek) {
            reverse.rank = seek.skipped;
            reverse.current = chunk.iter().take_while(|entry| entry.id <= end).collect();
        }
        reverse
    }
}

impl<'a> Iterator for StreamReverse<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        loop {
            if let Some(entry) = self.current.pop() {
                return (entry.id >= self.start).then_some(entry);
            }
            let (chunk, offset) = self.tree.chunk_at(self.rank.checked_sub(1)?)?;
            self.rank -= 1 + offset;
            self.current = chunk.iter().collect();
        }
    }
}
