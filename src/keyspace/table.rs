//! One database's part of one shard: segments that split when full, found by a directory of hash prefixes.
//!
//! This is extendible hashing. The shard is the hash's top 8 bits; the directory is indexed by the bits after them, and
//! a segment owns all hashes with a common prefix of those. Walking the directory in order therefore walks the
//! keys in hash order, segment by segment, whatever splits in the meantime.

use super::entry::{Entry, EntryRef};
use super::segment::Segment;

/// Bits of the hash that choose the shard.
pub const SHARD_BITS: u32 = 8;
/// Deeper than this a segment grows instead of splitting: its keys share 40 bits, so a split would not help.
const DEPTH_MAX: u32 = 32;

struct Bucket {
    segment: Segment,
    /// Number of prefix bits (after the shard's) that all its hashes share.
    depth: u32,
}

/// See the module's comment.
pub struct Table {
    /// `2^depth` indexes into `buckets`.
    directory: Vec<u32>,
    depth: u32,
    buckets: Vec<Bucket>,
    /// Keys that this table accounts for: made here less removed here, in whatever tier they are now.
    pub key_balance: i64,
    /// Likewise for keys with a deadline.
    pub deadline_balance: i64,
}

/// Where an entry is: bucket and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    bucket: u32,
    slot: u32,
}

impl Default for Table {
    fn default() -> Table {
        let bucket = Bucket {
            segment: Segment::default(),
            depth: 0,
        };
        Table {
            directory: vec![0],
            depth: 0,
            buckets: vec![bucket],
            key_balance: 0,
            deadline_balance: 0,
        }
    }
}

fn directory_index(hash: u64, depth: u32) -> usize {
    // A shift by 64 is not defined, hence two steps.
    ((hash << SHARD_BITS) >> 1 >> (63 - depth)) as usize
}

impl Table {
    fn bucket_of(&self, hash: u64) -> usize {
        // A table of one segment has nothing to look up, which saves a cache line where many databases are small.
        if self.depth == 0 {
            0
        } else {
            self.directory[directory_index(hash, self.depth)] as usize
        }
    }

    /// The segment that owns this hash.
    pub fn segment(&self, hash: u64) -> &Segment {
        &self.buckets[self.bucket_of(hash)].segment
    }

    /// The segment that owns this hash, for changing.
    pub fn segment_mut(&mut self, hash: u64) -> &mut Segment {
        let bucket = self.bucket_of(hash);
        &mut self.buckets[bucket].segment
    }

    /// First and last hash of the segment that owns `hash`.
    pub fn segment_bounds(&self, hash: u64) -> (u64, u64) {
        let depth = self.buckets[self.bucket_of(hash)].depth;
        let free = u64::MAX >> SHARD_BITS >> depth;
        (hash & !free, hash | free)
    }

    /// Finds a key.
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let bucket = self.bucket_of(hash);
        let slot = self.buckets[bucket].segment.find(hash, key)?;
        Some(Place {
            bucket: bucket as u32,
            slot: slot as u32,
        })
    }

    /// The entry at a place that [`Table::find`] gave; nothing may have changed in between.
    pub fn entry(&self, place: Place) -> EntryRef<'_> {
        self.buckets[place.bucket as usize]
            .segment
            .entry(place.slot as usize)
    }

    /// As [`Segment::note_use`].
    #[inline]
    pub fn note_use(&mut self, place: Place, used: impl FnOnce(u32) -> u32) {
        self.buckets[place.bucket as usize]
            .segment
            .note_use(place.slot as usize, used);
    }

    /// As [`Segment::change`].
    pub fn change<R>(&mut self, place: Place, change: impl FnOnce(&mut Entry) -> R) -> R {
        self.buckets[place.bucket as usize]
            .segment
            .change(place.slot as usize, change)
    }

    /// Takes the entry at a place out.
    pub fn remove(&mut self, place: Place) -> Entry {
        self.buckets[place.bucket as usize]
            .segment
            .remove(place.slot as usize)
    }

    /// Adds an entry whose key is not there. `hash_of` is needed when a segment has to be split.
    pub fn insert(&mut self, hash: u64, entry: Entry, hash_of: impl Fn(&[u8]) -> u64) -> Place {
        let mut bucket = self.bucket_of(hash);
        while self.buckets[bucket].segment.is_full() && self.buckets[bucket].depth < DEPTH_MAX {
            self.split(hash, &hash_of);
            bucket = self.bucket_of(hash);
        }
        let slot = self.buckets[bucket].segment.insert(hash, entry);
        Place {
            bucket: bucket as u32,
            slot: slot as u32,
        }
    }

    fn split(&mut self, hash: u64, hash_of: impl Fn(&[u8]) -> u64) {
        let low = self.bucket_of(hash);
        let depth = self.buckets[low].depth;
        if depth == self.depth {
            self.directory = self
                .directory
                .iter()
                .flat_map(|bucket| [*bucket, *bucket])
                .collect();
            self.depth += 1;
        }
        let is_high = |hash: u64| hash >> (63 - SHARD_BITS - depth) & 1 == 1;
        let mut former = std::mem::take(&mut self.buckets[low].segment);
        let mut halves = [Segment::default(), Segment::default()];
        for entry in former.drain() {
            let hash = hash_of(entry.key());
            halves[usize::from(is_high(hash))].insert(hash, entry);
        }
        for image in std::mem::take(&mut former.pre_images) {
            halves[usize::from(is_high(image.hash))]
                .pre_images
                .push(image);
        }
        let [low_half, high_half] = halves;
        let high = self.buckets.len() as u32;
        self.buckets[low] = Bucket {
            segment: low_half,
            depth: depth + 1,
        };
        self.buckets.push(Bucket {
            segment: high_half,
            depth: depth + 1,
        });
        let span = 1 << (self.depth - depth);
        let start = directory_index(hash, self.depth) & !(span - 1);
        self.directory[start + span / 2..start + span].fill(high);
    }

    /// Entries, tombstones included.
    pub fn entries(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.segment.len()).sum()
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.buckets.len()
    }

    /// A segment by number, below [`Table::segments`].
    pub fn segment_at(&self, number: usize) -> &Segment {
        &self.buckets[number].segment
    }

    /// A segment by number, for changing.
    pub fn segment_at_mut(&mut self, number: usize) -> &mut Segment {
        &mut self.buckets[number].segment
    }

    /// The place of a slot of a numbered segment.
    pub fn place(&self, segment: usize, slot: usize) -> Place {
        Place {
            bucket: segment as u32,
            slot: slot as u32,
        }
    }

    /// Bytes of directory, slots and deadline heaps.
    pub fn table_bytes(&self) -> usize {
        self.directory.capacity() * 4
            + self.buckets.capacity() * size_of::<Bucket>()
            + self
                .buckets
                .iter()
                .map(|bucket| bucket.segment.table_bytes())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::NewBody;
    use super::*;

    /// A hash whose bits are all in use, and whose shard bits are 0.
    fn hash_of(key: &[u8]) -> u64 {
        let number = u64::from_be_bytes(key.try_into().expect("8 bytes"));
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> SHARD_BITS
    }

    #[test]
    fn keys_stay_findable_through_splits_and_walk_in_hash_order() {
        let mut table = Table::default();
        for number in 0u64..50_000 {
            let key = number.to_be_bytes();
            table.insert(
                hash_of(&key),
                Entry::new(&key, NewBody::Text(b"v"), None),
                hash_of,
            );
        }
        assert_eq!(table.entries(), 50_000);
        for number in 0u64..50_000 {
            let key = number.to_be_bytes();
            let place = table.find(hash_of(&key), &key).expect("every key is found");
            assert_eq!(table.entry(place).key(), key);
        }
        let (mut position, mut seen) = (0u64, 0);
        loop {
            let (first, last) = table.segment_bounds(position);
            assert_eq!(first, position, "segments follow each other without a gap");
            for entry in table.segment(position).iter() {
                let hash = hash_of(entry.key());
                assert!((first..=last).contains(&hash));
                seen += 1;
            }
            if last == u64::MAX >> SHARD_BITS {
                break;
            }
            position = last + 1;
        }
        assert_eq!(seen, 50_000);
        assert!(table.segments() > 48 && table.segments() < 128);
    }
}
