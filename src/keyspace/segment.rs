//! A small open-addressing table of entries: at most about a thousand of them.
//!
//! A slot is 8 bytes: 16 bits of the placement hash as a tag, 48 bits of the entry's address; 0 is empty. A tag's home
//! is `tag * capacity >> 16`, so growing needs no look at the entries. Collisions go to the next slot and deletion
//! shifts back, so there are no marks of former entries. Capacity grows by a quarter at a time, which keeps slots
//! at about 10 bytes a key.
//!
//! Deadlines are a heap of `deadline << 16 | tag`, checked against the entries when one comes due. A changed deadline
//! leaves its former item in the heap, which is rebuilt when most of it is of that kind.
//!
//! Cost: a full segment is split by its table, one pass over its entries (about 50 µs); nothing else is ever rehashed.

use super::entry::{Entry, EntryRef, PENDING_LSN};
use super::field_expiry::next_deadline_ms;
use super::pre_image::PreImage;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem::ManuallyDrop;

/// A segment with this many entries is split.
pub const SEGMENT_ENTRIES_MAX: usize = 1024;
const CAPACITY_MIN: usize = 8;
const ADDRESS_MASK: u64 = (1 << 48) - 1;
/// Deadlines past this (the year 6429) are not indexed: 47 bits of milliseconds leave 16 for the tag.
const INDEXED_DEADLINE_MAX: u64 = (1 << 47) - 1;

/// The tag of a placement hash: its low 16 bits (its high bits choose shard and segment).
fn tag_of(hash: u64) -> u64 {
    hash & 0xffff
}

fn home(tag: u64, capacity: usize) -> usize {
    (tag as usize * capacity) >> 16
}

/// See the module's comment.
#[derive(Default)]
pub struct Segment {
    slots: Vec<u64>,
    entries: usize,
    deadlines: BinaryHeap<Reverse<u64>>,
    /// Former states that a running snapshot still has to write.
    pub pre_images: Vec<PreImage>,
}

impl Segment {
    /// Number of entries, tombstones included.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// True if the segment should be split before the next insertion.
    pub fn is_full(&self) -> bool {
        self.entries >= SEGMENT_ENTRIES_MAX
    }

    /// Bytes of the slots and the deadline heap.
    pub fn table_bytes(&self) -> usize {
        self.slots.capacity() * 8 + self.deadlines.capacity() * 8
    }

    /// The address to prefetch before a key of this hash is looked up.
    pub fn slot_address(&self, hash: u64) -> *const u8 {
        match self.slots.get(home(tag_of(hash), self.slots.len())) {
            Some(slot) => std::ptr::from_ref(slot).cast(),
            None => std::ptr::null(),
        }
    }

    /// The address of the first entry whose tag fits, for prefetching.
    pub fn entry_address(&self, hash: u64) -> *const u8 {
        match self.probe(hash, |_| true) {
            Some(index) => {
                std::ptr::without_provenance((self.slots[index] & ADDRESS_MASK) as usize)
            }
            None => std::ptr::null(),
        }
    }

    /// The slot index of a key.
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.probe(hash, |entry| entry.key() == key)
    }

    /// True if there is an entry whose tag fits the hash and that is as asked.
    pub fn has_tagged(&self, hash: u64, is_wanted: impl Fn(EntryRef<'_>) -> bool) -> bool {
        self.probe(hash, is_wanted).is_some()
    }

    fn probe(&self, hash: u64, matches: impl Fn(EntryRef<'_>) -> bool) -> Option<usize> {
        let tag = tag_of(hash);
        let capacity = self.slots.len();
        if capacity == 0 {
            return None;
        }
        let mut index = home(tag, capacity);
        loop {
            let slot = self.slots[index];
            if slot == 0 {
                return None;
            }
            if slot >> 48 == tag && matches(self.view(slot)) {
                return Some(index);
            }
            index = if index + 1 == capacity { 0 } else { index + 1 };
        }
    }

    fn view(&self, slot: u64) -> EntryRef<'_> {
        // SAFETY: an occupied slot owns the entry at its address; it is freed or changed only through
        // `&mut self`, which the returned lifetime excludes.
        unsafe { EntryRef::at(slot & ADDRESS_MASK) }
    }

    /// The entry in an occupied slot.
    pub fn entry(&self, index: usize) -> EntryRef<'_> {
        let slot = self.slots[index];
        assert_ne!(slot, 0, "an empty slot");
        self.view(slot)
    }

    /// Notes that the entry in an occupied slot was used: `used` makes its access word from the former one.
    #[inline]
    pub fn note_use(&mut self, index: usize, used: impl FnOnce(u32) -> u32) {
        let mut entry = self.used(index);
        let access = used(entry.access());
        if access != entry.access() {
            entry.set_access(access);
        }
        entry.set_referenced(true);
    }

    /// Changes the entry in an occupied slot; `change` may also put another entry of the same key in its place.
    pub fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Entry) -> R) -> R {
        /// Writes the address back however `change` ends.
        struct Home<'a>(&'a mut u64, Option<Entry>);
        impl Drop for Home<'_> {
            fn drop(&mut self) {
                if let Some(entry) = self.1.take() {
                    *self.0 = *self.0 & !ADDRESS_MASK | entry.into_address();
                }
            }
        }
        let slot = &mut self.slots[index];
        assert_ne!(*slot, 0, "an empty slot");
        // SAFETY: the slot owns the entry at its address; `Home` gives it back before the slot can be read again.
        let entry = unsafe { Entry::from_address(*slot & ADDRESS_MASK) };
        let mut home = Home(slot, Some(entry));
        change(home.1.as_mut().expect("just put there"))
    }

    /// Gives an LSN to the first entry whose tag fits the hash and that waits for one. A run of slots can be long and is not in
    /// the cache behind the entry that was used: going on to its end would be what this costs.
    pub fn stamp(&mut self, hash: u64, lsn: u64) {
        if let Some(index) = self.probe(hash, |entry| entry.lsn() == PENDING_LSN) {
            self.used(index).set_lsn(lsn);
        }
    }

    /// The entry in an occupied slot, for changing what does not move it. It stays the slot's: whoever gets it must not put
    /// another in its place.
    #[inline]
    fn used(&mut self, index: usize) -> ManuallyDrop<Entry> {
        let slot = self.slots[index];
        assert_ne!(slot, 0, "an empty slot");
        // SAFETY: the slot owns the entry at its address, and keeps it: this one is not dropped, and no other view of it
        // exists while `self` is borrowed for changing.
        ManuallyDrop::new(unsafe { Entry::from_address(slot & ADDRESS_MASK) })
    }

    /// Adds an entry whose key is not there, and gives its slot.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> usize {
        if (self.entries + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        if let Some(deadline_ms) = next_deadline_ms(&entry) {
            self.note_deadline(hash, deadline_ms);
        }
        self.entries += 1;
        let tag = tag_of(hash);
        self.place(tag << 48 | entry.into_address())
    }

    fn place(&mut self, slot: u64) -> usize {
        let capacity = self.slots.len();
        let mut index = home(slot >> 48, capacity);
        while self.slots[index] != 0 {
            index = if index + 1 == capacity { 0 } else { index + 1 };
        }
        self.slots[index] = slot;
        index
    }

    fn grow(&mut self) {
        let capacity = (self.slots.len() + self.slots.len() / 4)
            .next_multiple_of(8)
            .max(CAPACITY_MIN);
        let former = std::mem::replace(&mut self.slots, vec![0; capacity]);
        for slot in former.into_iter().filter(|slot| *slot != 0) {
            self.place(slot);
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, index: usize) -> Entry {
        let removed = self.slots[index];
        assert_ne!(removed, 0, "an empty slot");
        self.entries -= 1;
        let capacity = self.slots.len();
        let (mut hole, mut next) = (index, index);
        loop {
            next = if next + 1 == capacity { 0 } else { next + 1 };
            let slot = self.slots[next];
            if slot == 0 {
                break;
            }
            let wanted = home(slot >> 48, capacity);
            // The slot may move into the hole unless its home lies cyclically after the hole.
            let stays = if hole <= next {
                hole < wanted && wanted <= next
            } else {
                hole < wanted || wanted <= next
            };
            if !stays {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = 0;
        // SAFETY: the slot owned this entry and is overwritten or cleared by now.
        unsafe { Entry::from_address(removed & ADDRESS_MASK) }
    }

    /// All entries, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.occupied().map(|index| self.entry(index))
    }

    /// The indexes of the occupied slots.
    pub fn occupied(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| **slot != 0)
            .map(|(index, _)| index)
    }

    /// The first occupied slot at or after a point chosen by `random`; `None` if there is none.
    pub fn random_slot(&self, random: u64) -> Option<usize> {
        let capacity = self.slots.len();
        if self.entries == 0 {
            return None;
        }
        let start = (random % capacity as u64) as usize;
        (start..capacity)
            .chain(0..start)
            .find(|index| self.slots[*index] != 0)
    }

    /// Takes all entries out.
    pub fn drain(&mut self) -> Vec<Entry> {
        self.entries = 0;
        self.deadlines.clear();
        let slots = std::mem::take(&mut self.slots);
        // SAFETY: every occupied slot owned its entry; the slots are gone.
        slots
            .into_iter()
            .filter(|slot| *slot != 0)
            .map(|slot| unsafe { Entry::from_address(slot & ADDRESS_MASK) })
            .collect()
    }

    /// Puts a deadline into the index. Whoever gives an entry a (new) deadline calls this.
    pub fn note_deadline(&mut self, hash: u64, deadline_ms: u64) {
        if deadline_ms > INDEXED_DEADLINE_MAX {
            return;
        }
        if self.deadlines.len() > 2 * self.entries + 16 {
            self.rebuild_deadlines();
        }
        self.deadlines
            .push(Reverse(deadline_ms << 16 | tag_of(hash)));
    }

    fn rebuild_deadlines(&mut self) {
        let mut live: Vec<Reverse<u64>> = Vec::with_capacity(self.entries);
        for index in self.occupied() {
            let tag = self.slots[index] >> 48;
            match next_deadline_ms(&self.entry(index)) {
                Some(deadline_ms) if deadline_ms <= INDEXED_DEADLINE_MAX => {
                    live.push(Reverse(deadline_ms << 16 | tag))
                }
                _ => {}
            }
        }
        self.deadlines = BinaryHeap::from(live);
    }

    /// A lower bound for the next deadline in this segment.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.deadlines.peek().map(|Reverse(item)| item >> 16)
    }

    /// The slot of a live entry whose deadline, or whose earliest field's, is at or before `now_ms`, if there is one; forgets
    /// outdated items.
    pub fn due(&mut self, now_ms: u64) -> Option<usize> {
        while let Some(Reverse(item)) = self.deadlines.peek().copied() {
            if item >> 16 > now_ms {
                return None;
            }
            let found = self.probe(item & 0xffff, |entry| {
                !entry.is_tombstone()
                    && next_deadline_ms(&entry).is_some_and(|deadline_ms| deadline_ms <= now_ms)
            });
            if found.is_some() {
                return found;
            }
            self.deadlines.pop();
        }
        None
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        drop(self.drain());
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::NewBody;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn entry(key: u16, deadline_ms: Option<u64>) -> Entry {
        Entry::new(&key.to_be_bytes(), NewBody::Text(b"value"), deadline_ms)
    }

    proptest! {
        /// Few tags and many keys, so that runs collide, wrap around and shift back.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u16..200, prop::bool::ANY), 1..600)) {
            let hash_of = |key: u16| 0xfff0 + u64::from(key % 16);
            let mut segment = Segment::default();
            let mut model = HashMap::new();
            for (key, insert) in steps {
                let found = segment.find(hash_of(key), &key.to_be_bytes());
                prop_assert_eq!(found.is_some(), model.contains_key(&key));
                match found {
                    Some(index) if !insert => {
                        let removed = segment.remove(index);
                        prop_assert_eq!(removed.key(), &key.to_be_bytes());
                        model.remove(&key);
                    }
                    None if insert => {
                        segment.insert(hash_of(key), entry(key, None));
                        model.insert(key, ());
                    }
                    _ => {}
                }
                prop_assert_eq!(segment.len(), model.len());
            }
            for key in model.keys() {
                prop_assert!(segment.find(hash_of(*key), &key.to_be_bytes()).is_some());
            }
        }
    }

    #[test]
    fn deadlines_come_due_in_order_and_outdated_ones_are_forgotten() {
        let mut segment = Segment::default();
        for key in 0..10u16 {
            segment.insert(u64::from(key), entry(key, Some(u64::from(100 - key))));
        }
        let moved = segment.find(9, &9u16.to_be_bytes()).expect("there");
        segment.change(moved, |entry| entry.overwrite_deadline(500));
        segment.note_deadline(9, 500);
        assert_eq!(
            segment.due(90),
            None,
            "the entry that was due at 91 is due at 500 now"
        );
        let due = segment.due(92).expect("key 8 is due");
        assert_eq!(segment.remove(due).key(), 8u16.to_be_bytes());
        assert_eq!(segment.due(92), None);
        assert_eq!(segment.next_deadline_ms(), Some(93));
    }

    #[test]
    fn the_deadline_heap_stays_small() {
        let mut segment = Segment::default();
        let index = segment.insert(1, entry(1, Some(1)));
        for deadline_ms in 2..10_000 {
            segment.change(index, |entry| entry.overwrite_deadline(deadline_ms));
            segment.note_deadline(1, deadline_ms);
        }
        assert!(segment.deadlines.len() < 32);
        assert_eq!(segment.due(9_999), Some(index));
    }
}
