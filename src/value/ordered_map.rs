//! A persistent sorted map on the counted tree: a clone is O(1), a change copies one chunk.
//!
//! For what is ordered and addressed by key but has values of fixed size: the groups of a stream, their consumers, their
//! pending entries. A chunk is a sorted array, so an entry costs its own size and about an eighth.

use std::sync::Arc;

use storage_format::StreamId;

use super::thin::reserve_tight;
use super::tree::{Child, Chunk, CountedTree, Seek};

/// Most entries of a chunk.
const MAX_ENTRIES: usize = 64;
/// A chunk with fewer entries is merged with a neighbour if both fit well.
const SPARSE_ENTRIES: usize = 16;

/// A key, the form in which it is looked for, and a summary that most comparisons need no more than.
pub(super) trait MapKey: Clone {
    type Sought: Ord + ?Sized;
    type Fence: Copy;

    fn sought(&self) -> &Self::Sought;
    fn fence(sought: &Self::Sought) -> Self::Fence;
    /// Whether the key with this fence is at most `sought`; `None` if the fence does not tell.
    fn is_at_most(fence: Self::Fence, sought: &Self::Sought) -> Option<bool>;
}

impl MapKey for StreamId {
    type Sought = StreamId;
    type Fence = StreamId;

    fn sought(&self) -> &StreamId {
        self
    }

    fn fence(sought: &StreamId) -> StreamId {
        *sought
    }

    fn is_at_most(fence: StreamId, sought: &StreamId) -> Option<bool> {
        Some(fence <= *sought)
    }
}

impl MapKey for Arc<[u8]> {
    type Sought = [u8];
    type Fence = u64;

    fn sought(&self) -> &[u8] {
        self
    }

    /// The first 8 bytes as a number that compares as they do.
    fn fence(sought: &[u8]) -> u64 {
        let mut start = [0; 8];
        let length = sought.len().min(8);
        start[..length].copy_from_slice(&sought[..length]);
        u64::from_be_bytes(start)
    }

    fn is_at_most(fence: u64, sought: &[u8]) -> Option<bool> {
        let own = Self::fence(sought);
        (fence != own).then_some(fence < own)
    }
}

#[derive(Clone)]
struct MapChunk<K, V>(Vec<(K, V)>);

impl<K: MapKey, V: Clone> Chunk for MapChunk<K, V> {
    type Fence = K::Fence;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn fence(&self) -> K::Fence {
        K::fence(self.0[0].0.sought())
    }

    fn is_sparse(&self) -> bool {
        self.0.len() < SPARSE_ENTRIES
    }

    fn fits(&self, right: &Self) -> bool {
        self.0.len() + right.0.len() <= MAX_ENTRIES * 3 / 4
    }

    fn absorb(&mut self, right: &Self) {
        reserve_tight(&mut self.0, right.0.len());
        self.0.extend_from_slice(&right.0);
    }
}

impl<K: MapKey, V> MapChunk<K, V> {
    /// Where the key is, or would be.
    fn position(&self, sought: &K::Sought) -> Result<usize, usize> {
        self.0.binary_search_by(|(key, _)| key.sought().cmp(sought))
    }
}

/// Goes to the chunk that holds the key, or would.
struct ByKey<'a, K: MapKey> {
    sought: &'a K::Sought,
    skipped: usize,
}

impl<K: MapKey, V: Clone> Seek<MapChunk<K, V>> for ByKey<'_, K> {
    fn choose(&mut self, children: &[Child<MapChunk<K, V>>]) -> usize {
        let reaches = |child: &Child<MapChunk<K, V>>| {
            K::is_at_most(child.fence(), self.sought)
                .unwrap_or_else(|| child.first_chunk().0[0].0.sought() <= self.sought)
        };
        let index = children.partition_point(reaches).saturating_sub(1);
        self.skipped += children[..index].iter().map(Child::count).sum::<usize>();
        index
    }
}

/// See the module's comment.
#[derive(Clone)]
pub(super) struct OrderedMap<K: MapKey, V: Clone> {
    tree: CountedTree<MapChunk<K, V>>,
}

impl<K: MapKey, V: Clone> Default for OrderedMap<K, V> {
    fn default() -> Self {
        Self {
            tree: CountedTree::new(),
        }
    }
}

impl<K: MapKey, V: Clone> OrderedMap<K, V> {
    /// Builds the map from entries in ascending order.
    pub(super) fn from_sorted(entries: impl Iterator<Item = (K, V)>) -> Self {
        let mut chunks = Vec::new();
        let mut chunk = Vec::new();
        for entry in entries {
            if chunk.len() == MAX_ENTRIES * 7 / 8 {
                chunks.push(MapChunk(std::mem::take(&mut chunk)));
            }
            reserve_tight(&mut chunk, 1);
            chunk.push(entry);
        }
        if !chunk.is_empty() {
            chunks.push(MapChunk(chunk));
        }
        Self {
            tree: CountedTree::from_chunks(chunks),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    pub(super) fn get(&self, sought: &K::Sought) -> Option<(&K, &V)> {
        let chunk = self.tree.find(&mut ByKey::<K> { sought, skipped: 0 })?;
        let (key, value) = &chunk.0[chunk.position(sought).ok()?];
        Some((key, value))
    }

    /// Sets a key's value; returns the former one.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let mut new = Some((key.clone(), value));
        let sought = key.sought();
        let len = self.tree.len();
        let seek = ByKey::<K> { sought, skipped: 0 };
        let former = self.tree.edit_found(seek, |chunk, seek, added| {
            let (key, value) = new.take()?;
            match chunk.position(sought) {
                Ok(index) => Some(std::mem::replace(&mut chunk.0[index].1, value)),
                Err(index) => {
                    reserve_tight(&mut chunk.0, 1);
                    chunk.0.insert(index, (key, value));
                    if chunk.0.len() > MAX_ENTRIES {
                        let is_last = seek.skipped + index == len;
                        let at = if is_last { index } else { MAX_ENTRIES / 2 };
                        added.push(MapChunk(chunk.0.split_off(at)));
                        chunk.0.shrink_to_fit();
                    }
                    None
                }
            }
        });
        if let Some(entry) = new {
            self.tree.push_chunk(MapChunk(vec![entry]));
        }
        former.flatten()
    }

    /// Takes a key out; copies nothing if it is not there.
    pub(super) fn remove(&mut self, sought: &K::Sought) -> Option<V> {
        self.get(sought)?;
        let seek = ByKey::<K> { sought, skipped: 0 };
        let removed = self.tree.edit_found(seek, |chunk, _, _| {
            let index = chunk.position(sought).ok()?;
            Some(chunk.0.remove(index).1)
        });
        removed.flatten()
    }

    /// Changes a key's value; copies nothing if it is not there.
    pub(super) fn change<R>(
        &mut self,
        sought: &K::Sought,
        change: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        self.get(sought)?;
        let seek = ByKey::<K> { sought, skipped: 0 };
        let changed = self.tree.edit_found(seek, |chunk, _, _| {
            let index = chunk.position(sought).ok()?;
            Some(change(&mut chunk.0[index].1))
        });
        changed.flatten()
    }

    /// All entries in order.
    pub(super) fn iter(&self) -> OrderedMapIter<'_, K, V> {
        self.iter_at(0)
    }

    /// The entries from a key on, which need not be there.
    pub(super) fn iter_from(&self, sought: &K::Sought) -> OrderedMapIter<'_, K, V> {
        self.iter_at(self.rank_of(sought))
    }

    /// How many keys are below this one.
    pub(super) fn rank_of(&self, sought: &K::Sought) -> usize {
        let mut seek = ByKey::<K> { sought, skipped: 0 };
        let Some(chunk) = self.tree.find(&mut seek) else {
            return 0;
        };
        seek.skipped + chunk.position(sought).unwrap_or_else(|place| place)
    }

    fn iter_at(&self, rank: usize) -> OrderedMapIter<'_, K, V> {
        OrderedMapIter {
            tree: &self.tree,
            front: rank,
            back: self.tree.len(),
        }
    }
}

/// Iterates over an [`OrderedMap`].
pub(super) struct OrderedMapIter<'a, K: MapKey, V: Clone> {
    tree: &'a CountedTree<MapChunk<K, V>>,
    front: usize,
    back: usize,
}

impl<'a, K: MapKey, V: Clone> OrderedMapIter<'a, K, V> {
    fn at(&self, rank: usize) -> Option<(&'a K, &'a V)> {
        let (chunk, offset) = self.tree.chunk_at(rank)?;
        let (key, value) = chunk.0.get(offset)?;
        Some((key, value))
    }
}

impl<'a, K: MapKey, V: Clone> Iterator for OrderedMapIter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.front += 1;
        self.at(self.front - 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.back - self.front, Some(self.back - self.front))
    }
}

impl<K: MapKey, V: Clone> ExactSizeIterator for OrderedMapIter<'_, K, V> {}

impl<K: MapKey, V: Clone> DoubleEndedIterator for OrderedMapIter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back -= 1;
        self.at(self.back)
    }
}
