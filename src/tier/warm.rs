//! The warm tier: clean, compressed, immutable copies of values whose cold record is the same, in moka, by LRU.
//!
//! A key that the keyspace holds has no copy here: promotion takes it out, demotion puts it in, both under the lock of
//! the key's shard. So a copy is never older than its record, and dropping one is always free.
//!
//! Why only values from 256 bytes on: a moka entry costs about 250 bytes of its own, so a copy of a small value would need more
//! memory than the value did when it was hot. Copies are LZ4 where that is smaller than the plain encoding.

use crate::error::InternalError;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use storage_format::ValueKind;

/// Values that encode to less than this get no copy.
pub const WARM_VALUE_BYTES_MIN: usize = 256;
/// What moka needs for one entry beside key and value, and the header of the copy.
const ENTRY_OVERHEAD_BYTES: usize = 300;

/// One copy.
pub struct WarmCopy {
    /// The version of the key.
    pub lsn: u64,
    /// When it expires, in Unix milliseconds.
    pub deadline_ms: Option<u64>,
    /// Type of the value.
    pub kind: ValueKind,
    /// Set by the first read that was served from the copy; the next one promotes.
    pub read_once: AtomicBool,
    packed: Box<[u8]>,
    /// Length of the plain encoding; `None` if `packed` is the plain encoding.
    plain_length: Option<u32>,
}

impl WarmCopy {
    /// A copy of an encoded value.
    pub fn new(lsn: u64, deadline_ms: Option<u64>, kind: ValueKind, encoded: &[u8]) -> WarmCopy {
        let mut copy = WarmCopy {
            lsn,
            deadline_ms,
            kind,
            read_once: AtomicBool::new(false),
            packed: Box::default(),
            plain_length: None,
        };
        let compressed = lz4_flex::block::compress(encoded);
        match u32::try_from(encoded.len()) {
            Ok(length) if compressed.len() < encoded.len() => {
                copy.packed = compressed.into_boxed_slice();
                copy.plain_length = Some(length);
            }
            _ => copy.packed = encoded.into(),
        }
        copy
    }

    /// Bytes of the plain encoding.
    pub fn plain_bytes(&self) -> usize {
        self.plain_length
            .map_or(self.packed.len(), |length| length as usize)
    }

    /// The plain encoding.
    ///
    /// # Errors
    /// The copy was damaged in memory.
    pub fn unpack(&self) -> Result<Vec<u8>, InternalError> {
        match self.plain_length {
            None => Ok(self.packed.to_vec()),
            Some(length) => {
                lz4_flex::block::decompress(&self.packed, length as usize).map_err(|error| {
                    InternalError::Other(format!("a warm copy does not decompress: {error}"))
                })
            }
        }
    }

    fn weight(&self, cold_key: &[u8]) -> u32 {
        u32::try_from(cold_key.len() + self.packed.len() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
    }
}

type Copies = Cache<Box<[u8]>, Arc<WarmCopy>, foldhash::fast::RandomState>;

/// See the module's comment. Keys are encoded cold keys.
pub struct Warm {
    copies: RwLock<Copies>,
    capacity_bytes: AtomicU64,
}

fn build(capacity_bytes: u64) -> Copies {
    Cache::<Box<[u8]>, Arc<WarmCopy>>::builder()
        .max_capacity(capacity_bytes)
        .eviction_policy(EvictionPolicy::lru())
        .weigher(|key, copy| copy.weight(key))
        .build_with_hasher(foldhash::fast::RandomState::default())
}

impl Warm {
    /// An empty tier of this capacity in bytes.
    pub fn new(capacity_bytes: u64) -> Warm {
        Warm {
            copies: RwLock::new(build(capacity_bytes)),
            capacity_bytes: AtomicU64::new(capacity_bytes),
        }
    }

    /// Gives it another capacity. moka's is fixed when it is built, so all copies go; that is free.
    pub fn set_capacity_bytes(&self, capacity_bytes: u64) {
        if self.capacity_bytes.swap(capacity_bytes, Ordering::AcqRel) != capacity_bytes {
            let former = std::mem::replace(&mut *self.copies.write(), build(capacity_bytes));
            drop(former);
        }
    }

    /// Drops all copies, which is always free; false if there were none.
    pub fn clear(&self) -> bool {
        let mut copies = self.copies.write();
        copies.run_pending_tasks();
        if copies.entry_count() == 0 {
            return false;
        }
        let former = std::mem::replace(&mut *copies, build(self.capacity_bytes()));
        drop(copies);
        drop(former);
        true
    }

    /// Bytes that all copies may have.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Ordering::Acquire)
    }

    /// True if an encoded value of this length would get a copy.
    pub fn takes(&self, encoded_bytes: usize) -> bool {
        encoded_bytes >= WARM_VALUE_BYTES_MIN && (encoded_bytes as u64) < self.capacity_bytes() / 4
    }

    /// The copy of a key; counts as a use.
    pub fn get(&self, cold_key: &[u8]) -> Option<Arc<WarmCopy>> {
        self.copies.read().get(cold_key)
    }

    /// True if the key has a copy; not a use.
    pub fn contains(&self, cold_key: &[u8]) -> bool {
        self.copies.read().contains_key(cold_key)
    }

    /// Adds a copy. The lock of the key's shard is held, and the key is not in the keyspace (any more).
    pub fn insert(&self, cold_key: Box<[u8]>, copy: Arc<WarmCopy>) {
        self.copies.read().insert(cold_key, copy);
    }

    /// Drops a key's copy; true if it had one. The lock of the key's shard is held.
    pub fn remove(&self, cold_key: &[u8]) -> bool {
        self.copies.read().remove(cold_key).is_some()
    }

    /// Drops the copies whose encoded cold keys start so; returns how many.
    pub fn remove_prefix(&self, prefix: &[u8]) -> u64 {
        let copies = self.copies.read();
        let mut removed = 0;
        for (key, _) in copies.iter() {
            if key.starts_with(prefix) {
                copies.invalidate(&*key);
                removed += 1;
            }
        }
        copies.run_pending_tasks();
        removed
    }

    /// moka's own housekeeping, so that it does not fall to a request.
    pub fn maintain(&self) {
        self.copies.read().run_pending_tasks();
    }

    /// Bytes of all copies, with what moka needs for them.
    pub fn memory_bytes(&self) -> u64 {
        self.copies.read().weighted_size()
    }

    /// Number of copies.
    pub fn copies(&self) -> u64 {
        self.copies.read().entry_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_come_back_whether_they_compress_or_not() {
        let incompressible: Vec<u8> = (0u32..4096)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for encoded in [vec![b'x'; 100_000], incompressible, Vec::new()] {
            let copy = WarmCopy::new(7, Some(9), ValueKind::Hash, &encoded);
            assert_eq!(copy.plain_bytes(), encoded.len());
            assert!(copy.packed.len() <= encoded.len());
            assert_eq!(copy.unpack().expect("undamaged"), encoded);
        }
    }

    #[test]
    fn the_capacity_holds_in_bytes_and_the_oldest_go_first() {
        let warm = Warm::new(100_000);
        for number in 0u32..1000 {
            let encoded: Vec<u8> = (0..1000u32)
                .map(|n| ((n ^ number).wrapping_mul(2_654_435_761) >> 15) as u8)
                .collect();
            warm.insert(
                number.to_be_bytes().into(),
                Arc::new(WarmCopy::new(1, None, ValueKind::String, &encoded)),
            );
            warm.maintain();
        }
        assert!(warm.memory_bytes() <= 100_000 && warm.memory_bytes() > 50_000);
        assert!(warm.contains(&999u32.to_be_bytes()), "LRU takes newcomers");
        assert!(!warm.contains(&0u32.to_be_bytes()));
        warm.set_capacity_bytes(50_000);
        assert_eq!(warm.copies(), 0);
    }

    #[test]
    fn clearing_says_whether_there_was_anything() {
        let warm = Warm::new(1 << 20);
        assert!(!warm.clear());
        let copy = WarmCopy::new(1, None, ValueKind::String, &[b'x'; 500]);
        warm.insert(Box::from(&b"key"[..]), Arc::new(copy));
        assert!(warm.clear());
        assert!(warm.get(b"key").is_none());
        assert!(!warm.clear());
    }

    #[test]
    fn a_prefix_can_be_dropped() {
        let warm = Warm::new(1 << 20);
        for number in 0u32..10 {
            warm.insert(
                number.to_be_bytes().into(),
                Arc::new(WarmCopy::new(1, None, ValueKind::String, &[b'x'; 500])),
            );
            warm.insert(
                (number + (1 << 24)).to_be_bytes().into(),
                Arc::new(WarmCopy::new(1, None, ValueKind::String, &[b'x'; 500])),
            );
        }
        assert_eq!(warm.remove_prefix(&[1]), 10);
        assert!(warm.contains(&3u32.to_be_bytes()));
        assert!(!warm.contains(&(3u32 + (1 << 24)).to_be_bytes()));
    }
}
