//! The tiers behind the keyspace: warm copies in memory, cold records on NVMe, and what moves keys between them.
//!
//! A key has one home. The keyspace is authoritative for what it holds; a key that it does not hold is looked up in
//! warm ([`warm`]), then cold ([`cold`]). [`residency`] brings keys in for a command, [`demote`] sends idle ones out when
//! memory ([`budget`]) runs short, [`deletions`] and [`expire`] remove records, [`evict`] gives keys up where the settings
//! say so, [`scan`] walks over all.
//!
//! Locks, in this order: the writer's lock (whoever writes cold records), then shards by number. The warm tier and RocksDB have
//! locks of their own that are never held while one of ours is taken.
//!
//! Invariants:
//! 1. A key in the keyspace has no warm copy; a copy is the same version as the cold record.
//! 2. An entry whose key may have a cold record says so (`has_cold_record`), before that record is written.
//! 3. A record with a deadline has exactly one entry in the index of deadlines.
//! 4. A key in `Shard::deletions` has had no record written since its deletion.
//! 5. Whenever an entry leaves the keyspace while its key may exist elsewhere, `Shard::departures` grows.

mod budget;
mod cold;
mod cold_flush;
mod cold_options;
mod cold_write;
mod deletions;
mod demote;
mod evict;
mod expire;
mod expire_fields;
mod huge_pages;
mod look;
mod lull;
mod memory;
mod pool;
mod ports;
mod prefix;
mod residency;
mod scan;
mod settings;
mod statistics;
mod victims;
mod warm;
mod worker;

#[cfg(test)]
mod tests;

pub use budget::{Admission, Budget};
pub use cold::{Cold, ColdCursor, ColdRecord, ColdSnapshot, DueRecord, Probe};
pub use cold_options::ColdBudget;
pub use huge_pages::HugePages;
pub use lull::{Lull, Sleeper};
pub use memory::{avoid_huge_pages_if_small, purge as purge_memory};
pub use pool::{FetchTicket, Fetched};
pub use ports::{Durability, EventSink, Loader, Ports};
pub use residency::{KeyRequest, Residency};
pub use settings::{MaxmemoryPolicy, TierSettings};
pub use statistics::{MemoryFigures, TierStatistics};

use crate::clock;
use crate::error::InternalError;
use crate::keyspace::{Journal, Keyspace, Temperature};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use storage_format::record::ColdKey;

/// See the module's comment. One for each server.
pub struct Tier {
    keyspace: Arc<Keyspace>,
    cold: Option<Arc<Cold>>,
    warm: warm::Warm,
    pool: pool::Pool,
    budget: Arc<Budget>,
    lull: Lull,
    ports: Ports,
    settings: RwLock<TierSettings>,
    counters: statistics::Counters,
    /// Whoever holds it may write cold records.
    writer: Mutex<demote::Hand>,
    /// False while DEBUG SET-ACTIVE-EXPIRE 0 is in force.
    expires: AtomicBool,
    expiry_held_until_ms: AtomicU64,
    disk_is_full: AtomicBool,
    stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Tier {
    /// The tiers behind `keyspace`; without `cold` there are none (`maxdisk 0`), only the memory budget and expiry.
    /// Fetches wait and nothing moves by itself until [`Tier::start`].
    pub fn new(
        keyspace: Arc<Keyspace>,
        cold: Option<Arc<Cold>>,
        ports: Ports,
        settings: TierSettings,
    ) -> Arc<Tier> {
        Arc::new(Tier {
            warm: warm::Warm::new(if cold.is_some() {
                settings.warm_bytes()
            } else {
                0
            }),
            pool: pool::Pool::new(),
            budget: Arc::new(Budget::new(settings.maxmemory_bytes)),
            lull: Lull::default(),
            settings: RwLock::new(settings),
            counters: statistics::Counters::default(),
            writer: Mutex::default(),
            expires: AtomicBool::new(true),
            expiry_held_until_ms: AtomicU64::new(0),
            disk_is_full: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            threads: Mutex::default(),
            keyspace,
            cold,
            ports,
        })
    }

    /// Takes over changed settings (CONFIG SET). Whether there is a cold tier is decided at start-up.
    pub fn configure(&self, settings: TierSettings) {
        let former = std::mem::replace(&mut *self.settings.write(), settings);
        if self.cold.is_some() && former.warm_bytes() != settings.warm_bytes() {
            self.warm.set_capacity_bytes(settings.warm_bytes());
        }
        if let Some(cold) = &self.cold {
            cold.set_block_cache_bytes(
                ColdBudget::for_maxmemory(settings.maxmemory_bytes).block_cache_bytes,
            );
        }
        self.budget.set_limit_bytes(settings.maxmemory_bytes);
    }

    /// The memory budget.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Notes that a batch of commands ran, or a part of a job, and about how many bytes it has brought.
    #[inline]
    pub fn note_activity(&self, bytes: usize) {
        self.budget.note_written(bytes);
        self.lull.end();
    }

    /// What the background threads sleep by.
    pub fn lull(&self) -> &Lull {
        &self.lull
    }

    /// The cold tier, if there is one.
    pub fn cold(&self) -> Option<&Arc<Cold>> {
        self.cold.as_ref()
    }

    /// True if no key was ever demoted: every key is in the keyspace or does not exist.
    pub fn everything_is_hot(&self) -> bool {
        self.cold.as_ref().is_none_or(|cold| cold.is_empty())
    }

    /// May a command that needs memory run?
    pub fn admission(&self) -> Admission {
        self.budget.admission()
    }

    /// Turns active expiry on or off.
    pub fn set_active_expire(&self, on: bool) {
        self.expires.store(on, Ordering::Relaxed);
    }

    /// No key is removed because of its age until then (Unix milliseconds): CLIENT PAUSE.
    pub fn hold_expiry_until(&self, until_ms: u64) {
        self.expiry_held_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Publishes the events that were kept in `journal`. The locks of their keys are gone.
    fn publish_events(&self, journal: &mut Journal) {
        if journal.has_events() {
            self.ports.events.publish(journal.take_events());
        }
        if journal.has_written() {
            self.ports.events.written(journal.take_written());
        }
    }

    /// Does something of which the latency monitor hears how long it took.
    fn timed<R>(&self, event: &'static str, work: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let outcome = work();
        self.ports.events.took(event, started.elapsed());
        outcome
    }

    /// Runs a job on one of the I/O threads.
    pub fn run_in_background(&self, job: impl FnOnce() + Send + 'static) {
        self.pool.run(job);
    }

    /// Where a key is; `None` if it does not exist. Not a use of the key. Waits for the disk.
    ///
    /// # Errors
    /// RocksDB or the snapshot failed.
    pub fn temperature(
        &self,
        database: u32,
        key: &[u8],
    ) -> Result<Option<Temperature>, InternalError> {
        let hash = self.keyspace.hash(key);
        self.ports
            .loader
            .load_at(self.keyspace.generation(database), hash)?;
        let now_ms = clock::now_ms();
        let is_alive =
            |deadline_ms: Option<u64>| deadline_ms.is_none_or(|deadline_ms| deadline_ms > now_ms);
        let shard = self.keyspace.lock(Keyspace::shard_of(hash));
        let generation = self.keyspace.generation(database);
        if let Some(place) = shard.find(database, hash, key) {
            let entry = shard.entry(database, place);
            let exists = !entry.is_tombstone() && is_alive(entry.deadline_ms());
            return Ok(exists.then_some(Temperature::Hot));
        }
        let is_warm = self.warm.contains(
            &ColdKey {
                generation,
                hash,
                key,
            }
            .to_vec(),
        );
        drop(shard);
        let Some(cold) = &self.cold else {
            return Ok(None);
        };
        let record = cold
            .get(generation, hash, key)?
            .filter(|record| is_alive(record.deadline_ms));
        Ok(record.map(|_| {
            if is_warm {
                Temperature::Warm
            } else {
                Temperature::Cold
            }
        }))
    }
}
