//! The shards, and what belongs to whole databases.

use super::lock_watch::{ShardGuard, waits_for_shard};
use super::shard::Shard;
use super::table::SHARD_BITS;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use storage_format::Placement;

/// Number of shards.
pub const SHARDS: usize = 1 << SHARD_BITS;

/// What a database has besides its tables.
pub struct DatabaseState {
    generation: AtomicU32,
    /// Keys of this database that no table accounts for: those of a recovered directory.
    base_keys: AtomicI64,
    base_deadlines: AtomicI64,
}

/// A shard on cache lines of its own, so that neighbours' locks do not disturb each other.
#[repr(align(128))]
struct ShardCell(Mutex<Shard>);

/// All hot keys of all databases.
pub struct Keyspace {
    shards: Box<[ShardCell]>,
    databases: Box<[DatabaseState]>,
    next_generation: AtomicU32,
    placement: Placement,
}

impl Keyspace {
    /// An empty keyspace; database `i` has generation `i`.
    pub fn new(databases: u32, placement: Placement) -> Keyspace {
        let state = |generation| DatabaseState {
            generation: AtomicU32::new(generation),
            base_keys: AtomicI64::new(0),
            base_deadlines: AtomicI64::new(0),
        };
        Keyspace {
            shards: (0..SHARDS)
                .map(|_| ShardCell(Mutex::new(Shard::default())))
                .collect(),
            databases: (0..databases).map(state).collect(),
            next_generation: AtomicU32::new(databases),
            placement,
        }
    }

    /// The placement hash of a key.
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.placement.hash(key)
    }

    /// The hash function.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The number of the shard that owns a hash.
    pub fn shard_of(hash: u64) -> usize {
        (hash >> (64 - SHARD_BITS)) as usize
    }

    /// Locks a shard. Whoever locks several does so in the order of their numbers.
    #[inline]
    pub fn lock(&self, shard: usize) -> ShardGuard<'_> {
        waits_for_shard(shard);
        ShardGuard::new(shard, self.shards[shard].0.lock())
    }

    /// Locks a shard if that is possible at once.
    #[inline]
    pub fn try_lock(&self, shard: usize) -> Option<ShardGuard<'_>> {
        let guard = self.shards[shard].0.try_lock()?;
        Some(ShardGuard::new(shard, guard))
    }

    /// Locks a shard, unless `gives_up` says while waiting that it will not be free soon.
    #[inline]
    pub fn lock_unless(&self, shard: usize, gives_up: &dyn Fn() -> bool) -> Option<ShardGuard<'_>> {
        waits_for_shard(shard);
        match self.try_lock(shard) {
            Some(guard) => Some(guard),
            None => self.wait_unless(shard, gives_up),
        }
    }

    #[cold]
    fn wait_unless(&self, shard: usize, gives_up: &dyn Fn() -> bool) -> Option<ShardGuard<'_>> {
        /// How long to wait before asking again.
        const PATIENCE: std::time::Duration = std::time::Duration::from_millis(20);
        while !gives_up() {
            if let Some(guard) = self.shards[shard].0.try_lock_for(PATIENCE) {
                return Some(ShardGuard::new(shard, guard));
            }
        }
        None
    }

    /// Asks the processor to load the slot that a look-up of this hash will read. Does nothing if the shard is busy.
    pub fn prefetch_slot(&self, database: u32, hash: u64) {
        const SLOTS_AHEAD_BYTES: usize = 32;
        let Some(shard) = self.try_lock(Self::shard_of(hash)) else {
            return;
        };
        if let Some(table) = shard.table(database) {
            // The entry is usually a few slots further, which may be on the next line.
            let address = table.segment(hash).slot_address(hash);
            prefetch_line(address);
            prefetch_line(address.wrapping_add(SLOTS_AHEAD_BYTES));
        }
    }

    /// Asks the processor to load the entry of this hash: its key, and a text of usual length behind it. Without the lines
    /// of the text, storing one would stall at the next locked instruction.
    pub fn prefetch_entry(&self, database: u32, hash: u64) {
        const LINE_BYTES: usize = 64;
        const LINES: usize = 3;
        let Some(shard) = self.try_lock(Self::shard_of(hash)) else {
            return;
        };
        let Some(table) = shard.table(database) else {
            return;
        };
        let address = table.segment(hash).entry_address(hash);
        if !address.is_null() {
            (0..LINES).for_each(|line| prefetch_line(address.wrapping_add(line * LINE_BYTES)));
        }
    }

    /// Locks all shards, in order.
    pub fn lock_all(&self) -> Vec<ShardGuard<'_>> {
        (0..SHARDS).map(|shard| self.lock(shard)).collect()
    }

    /// Number of databases.
    pub fn databases(&self) -> u32 {
        self.databases.len() as u32
    }

    /// The generation of a database; it changes only while all shards are locked.
    pub fn generation(&self, database: u32) -> u32 {
        self.databases[database as usize]
            .generation
            .load(Ordering::Acquire)
    }

    /// The database whose generation this is now; `None` for one that was flushed.
    pub fn database_of(&self, generation: u32) -> Option<u32> {
        (0..self.databases()).find(|database| self.generation(*database) == generation)
    }

    /// The generation that the next FLUSHDB will take.
    pub fn next_generation(&self) -> u32 {
        self.next_generation.load(Ordering::Acquire)
    }

    /// Sets what a recovered directory says of a database.
    pub fn restore_database(&self, database: u32, generation: u32, keys: u64, deadlines: u64) {
        let state = &self.databases[database as usize];
        state.generation.store(generation, Ordering::Release);
        state.base_keys.store(keys as i64, Ordering::Release);
        state
            .base_deadlines
            .store(deadlines as i64, Ordering::Release);
        self.next_generation
            .fetch_max(generation + 1, Ordering::AcqRel);
    }

    /// Counts keys of a database that no table accounts for (yet).
    pub fn add_base_keys(&self, database: u32, keys: i64) {
        let base_keys = &self.databases[database as usize].base_keys;
        base_keys.fetch_add(keys, Ordering::AcqRel);
    }

    /// Makes sure that generations up to `next` are not given out again.
    pub fn reserve_generations(&self, next: u32) {
        self.next_generation.fetch_max(next, Ordering::AcqRel);
    }

    /// Takes the number of a new generation.
    pub fn take_generation(&self) -> u32 {
        self.next_generation.fetch_add(1, Ordering::AcqRel)
    }

    /// Empties a database: its tables come back to the caller, who drops them where it does not hurt. All shards are
    /// locked (`shards` are their guards).
    pub fn flush_database(
        &self,
        shards: &mut [ShardGuard<'_>],
        database: u32,
        generation: u32,
    ) -> Vec<super::table::Table> {
        let state = &self.databases[database as usize];
        let former = state.generation.swap(generation, Ordering::AcqRel);
        state.base_keys.store(0, Ordering::Release);
        state.base_deadlines.store(0, Ordering::Release);
        self.next_generation
            .fetch_max(generation + 1, Ordering::AcqRel);
        let mut tables = Vec::new();
        for shard in shards {
            if let Some(table) = shard.tables.get_mut(database as usize) {
                tables.push(std::mem::take(table));
            }
            shard
                .deletions
                .retain(|deletion| deletion.generation != former);
            shard.cold_deadlines.retain(|(of, _), _| *of != former);
        }
        tables
    }

    /// Exchanges two databases. All shards are locked.
    pub fn swap_databases(&self, shards: &mut [ShardGuard<'_>], first: u32, second: u32) {
        if first == second {
            return;
        }
        let (one, other) = (
            &self.databases[first as usize],
            &self.databases[second as usize],
        );
        let generation = one
            .generation
            .swap(other.generation.load(Ordering::Acquire), Ordering::AcqRel);
        other.generation.store(generation, Ordering::Release);
        for (left, right) in [
            (&one.base_keys, &other.base_keys),
            (&one.base_deadlines, &other.base_deadlines),
        ] {
            let former = left.swap(right.load(Ordering::Acquire), Ordering::AcqRel);
            right.store(former, Ordering::Release);
        }
        for shard in shards {
            shard.tables.swap(first as usize, second as usize);
        }
    }

    /// As [`Keyspace::key_counts`], for a caller who has locked all shards.
    pub fn key_counts_locked(&self, shards: &[ShardGuard<'_>], database: u32) -> (u64, u64) {
        let state = &self.databases[database as usize];
        let tables = || shards.iter().filter_map(|shard| shard.table(database));
        let keys = state.base_keys.load(Ordering::Acquire)
            + tables().map(|table| table.key_balance).sum::<i64>();
        let deadlines = state.base_deadlines.load(Ordering::Acquire)
            + tables().map(|table| table.deadline_balance).sum::<i64>();
        (keys.max(0) as u64, deadlines.max(0) as u64)
    }

    /// Keys of a database in all tiers, and how many of them have a deadline.
    pub fn key_counts(&self, database: u32) -> (u64, u64) {
        let state = &self.databases[database as usize];
        let mut keys = state.base_keys.load(Ordering::Acquire);
        let mut deadlines = state.base_deadlines.load(Ordering::Acquire);
        for shard in 0..SHARDS {
            if let Some(table) = self.lock(shard).table(database) {
                keys += table.key_balance;
                deadlines += table.deadline_balance;
            }
        }
        (keys.max(0) as u64, deadlines.max(0) as u64)
    }
}

/// Asks the processor to load a cache line: a hint, any address is allowed.
pub fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and faults on no address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
