//! Eviction: keys are given up for good, as `maxmemory-policy` says.
//!
//! Without a cold tier (`maxdisk 0`) that makes room in memory, by sampling as Redis does: of some entries of a random
//! segment the best one goes. With one, memory is made by demotion and nothing is evicted until the disk budget is full; then a stretch
//! of cold records goes, in hash order, and its files are compacted at once, since only that gives disk space back.
//! So which cold keys go is a matter of their hash and not of their last use, which is not known for them; a volatile
//! policy gives up those with a deadline only.
//!
//! Every eviction is a logged deletion.

use super::Tier;
use super::cold::Cold;
use super::settings::{MaxmemoryPolicy, TierSettings};
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::lock_watch;
use crate::keyspace::shard::Shard;
use crate::keyspace::{EventClasses, Journal, Keys, Keyspace, SHARDS};
use std::sync::atomic::Ordering;
use storage_format::record::ColdKey;

/// Where the next cold eviction begins.
#[derive(Default)]
pub(super) struct EvictionHand {
    database: u32,
    hash: u64,
    random: u64,
    journal: Journal,
}

/// An entry that may be evicted; the one with the highest score goes.
pub(super) struct Candidate {
    database: u32,
    hash: u64,
    pub(super) key: Box<[u8]>,
    score: u64,
}

impl EvictionHand {
    /// xorshift64*: good enough for choosing samples.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.max(1);
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

impl Tier {
    /// Evicts hot keys until memory is below the low-water mark: what a server without a cold tier does.
    pub(super) fn evict_hot(&self, hand: &mut EvictionHand) -> Result<(), InternalError> {
        const KEYS_BETWEEN_SAMPLES: u32 = 64;
        const MISSES_MAX: u32 = 4 * SHARDS as u32;
        let settings = *self.settings.read();
        if settings.policy == MaxmemoryPolicy::NoEviction {
            self.budget.set_exhausted(self.budget.excess_bytes() > 0);
            return Ok(());
        }
        hand.random ^= clock::now_us();
        let mut misses = 0;
        while self.budget.excess_bytes() > 0 && !self.is_stopping() {
            let mut evicted = 0;
            while evicted < KEYS_BETWEEN_SAMPLES && misses < MISSES_MAX {
                let gone = match self.candidate(hand, &settings) {
                    Some(candidate) => self.evict_key(hand, &candidate)?,
                    None => false,
                };
                evicted += u32::from(gone);
                misses = if gone { 0 } else { misses + 1 };
            }
            self.budget.sample();
            if misses >= MISSES_MAX {
                // Nothing may go. Wait before trying again: set_limit_bytes or a sample below the limit ends this.
                self.budget.set_exhausted(true);
                break;
            }
        }
        Ok(())
    }

    /// The best of some entries of a random segment.
    fn candidate(&self, hand: &mut EvictionHand, settings: &TierSettings) -> Option<Candidate> {
        let (hash, random) = (hand.next_random(), hand.next_random());
        let shard = self.keyspace.lock(Keyspace::shard_of(hash));
        let databases = shard.tables.count() as u64;
        let first = random.checked_rem(databases)? as u32;
        (0..databases as u32)
            .map(|offset| (first + offset) % databases as u32)
            .find_map(|database| self.best_of_segment(hand, &shard, database, hash, settings))
    }

    pub(super) fn best_of_segment(
        &self,
        hand: &mut EvictionHand,
        shard: &Shard,
        database: u32,
        hash: u64,
        settings: &TierSettings,
    ) -> Option<Candidate> {
        let segment = shard.table(database)?.segment(hash);
        let seconds = (clock::now_ms() / 1000) as u32;
        let mut best: Option<Candidate> = None;
        for _ in 0..settings.samples.max(1) {
            let entry = segment.entry(segment.random_slot(hand.next_random())?);
            let is_fit = !entry.is_tombstone()
                && (!settings.policy.is_volatile() || entry.deadline_ms().is_some());
            if !is_fit {
                continue;
            }
            let idle_seconds = u64::from(seconds.wrapping_sub(entry.access() >> 8) & 0x00ff_ffff);
            let score = match settings.policy {
                MaxmemoryPolicy::AllKeysLfu | MaxmemoryPolicy::VolatileLfu => {
                    u64::from(255 - (entry.access() & 0xff))
                }
                MaxmemoryPolicy::VolatileTtl => u64::MAX - entry.deadline_ms().unwrap_or(u64::MAX),
                MaxmemoryPolicy::AllKeysLru | MaxmemoryPolicy::VolatileLru => idle_seconds,
                _ => 0,
            };
            if best.as_ref().is_none_or(|best| best.score < score) {
                let key: Box<[u8]> = entry.key().into();
                best = Some(Candidate {
                    database,
                    hash: self.keyspace.hash(&key),
                    key,
                    score,
                });
            }
        }
        best
    }

    fn evict_key(
        &self,
        hand: &mut EvictionHand,
        candidate: &Candidate,
    ) -> Result<bool, InternalError> {
        let Candidate {
            database,
            hash,
            key,
            ..
        } = candidate;
        self.ports
            .loader
            .load_at(self.keyspace.generation(*database), *hash)?;
        let recorder = &*self.ports.recorder;
        let mut keys = Keys::lock(
            &self.keyspace,
            &[*hash],
            &mut hand.journal,
            recorder,
            *database,
            clock::now_ms(),
        );
        keys.listens_to = self.ports.events.listens_to();
        keys.notes_written = self.ports.events.hears_writes();
        let gone = self.timed("eviction-del", || keys.delete(key).unwrap_or(false));
        if gone {
            keys.notify(EventClasses::EVICTED, "evicted", key);
        }
        keys.commit();
        drop(keys);
        self.publish_events(&mut hand.journal);
        self.counters
            .evicted
            .fetch_add(u64::from(gone), Ordering::Relaxed);
        Ok(gone)
    }

    /// Evicts cold records until their files are within `maxdisk`, or until a twentieth of them was looked at.
    pub(super) fn evict_cold(
        &self,
        cold: &Cold,
        hand: &mut EvictionHand,
    ) -> Result<(), InternalError> {
        let settings = *self.settings.read();
        let Some(maxdisk_bytes) = settings.maxdisk_bytes else {
            return Ok(());
        };
        let disk_bytes = cold.disk_bytes();
        self.disk_is_full
            .store(disk_bytes > maxdisk_bytes, Ordering::Release);
        if disk_bytes <= maxdisk_bytes || settings.policy == MaxmemoryPolicy::NoEviction {
            return Ok(());
        }
        let (excess_bytes, is_volatile) =
            (disk_bytes - maxdisk_bytes, settings.policy.is_volatile());
        self.timed("eviction-cycle", || {
            self.evict_share(
                cold,
                hand,
                excess_bytes as f64 / disk_bytes as f64,
                is_volatile,
            )
        })?;
        self.disk_is_full
            .store(cold.disk_bytes() > maxdisk_bytes, Ordering::Release);
        Ok(())
    }

    /// Evicts about this share of all cold records.
    fn evict_share(
        &self,
        cold: &Cold,
        hand: &mut EvictionHand,
        share: f64,
        only_volatile: bool,
    ) -> Result<(), InternalError> {
        // As many records as the excess is of the whole, and a few more, so that this is not done all the time.
        let mut left = (cold.records_estimate() as f64 * (share + 0.02)).ceil() as u64 + 1;
        for _ in 0..=self.keyspace.databases() {
            if left == 0 || self.is_stopping() {
                break;
            }
            let (database, first_hash) = (hand.database, hand.hash);
            let generation = self.keyspace.generation(database);
            let last_hash = self.evict_stretch(cold, hand, generation, only_volatile, &mut left)?;
            self.drain_deletions(cold)?;
            cold.flush()?;
            cold.compact(generation, first_hash, last_hash.unwrap_or(u64::MAX));
            match last_hash.and_then(|hash| hash.checked_add(1)) {
                Some(next_hash) => hand.hash = next_hash,
                None => {
                    (hand.database, hand.hash) = ((database + 1) % self.keyspace.databases(), 0)
                }
            }
        }
        Ok(())
    }

    /// Evicts cold records of one generation from the hand on, `left` at most. Returns the hash where it stopped, `None` at the end.
    fn evict_stretch(
        &self,
        cold: &Cold,
        hand: &mut EvictionHand,
        generation: u32,
        only_volatile: bool,
        left: &mut u64,
    ) -> Result<Option<u64>, InternalError> {
        let mut cursor = cold.cursor(generation, hand.hash);
        while let Some((key, header, _)) = cursor.current()? {
            if *left == 0 || self.is_stopping() {
                return Ok(Some(key.hash.saturating_sub(1)));
            }
            if header.deadline_ms != 0 || !only_volatile {
                let deadline_ms = (header.deadline_ms != 0).then_some(header.deadline_ms);
                let gone =
                    self.evict_record(cold, &mut hand.journal, key, header.lsn, deadline_ms)?;
                *left -= u64::from(gone);
            }
            cursor.advance();
        }
        Ok(None)
    }

    /// Deletes a key that is only cold, if it still is this version.
    fn evict_record(
        &self,
        cold: &Cold,
        journal: &mut Journal,
        cold_key: ColdKey<'_>,
        lsn: u64,
        deadline_ms: Option<u64>,
    ) -> Result<bool, InternalError> {
        let ColdKey {
            generation,
            hash,
            key,
        } = cold_key;
        self.ports.loader.load_at(generation, hash)?;
        let Some(database) = self.keyspace.database_of(generation) else {
            return Ok(false);
        };
        let recorder = &*self.ports.recorder;
        let mut keys = Keys::lock(&self.keyspace, &[hash], journal, recorder, database, 0);
        let is_current = self.keyspace.generation(database) == generation;
        if !is_current || keys.shard_mut(hash).find(database, hash, key).is_some() {
            return Ok(false);
        }
        // The cursor read it a moment ago, so this comes from the block cache; it may have changed since.
        let record = lock_watch::may_wait(|| cold.get(generation, hash, key))?;
        if record.is_none_or(|record| record.lsn != lsn) {
            return Ok(false);
        }
        keys.listens_to = self.ports.events.listens_to();
        keys.notes_written = self.ports.events.hears_writes();
        let gone = self.timed("eviction-del", || keys.delete_cold(key, lsn, deadline_ms));
        if gone {
            self.warm.remove(&cold_key.to_vec());
            keys.notify(EventClasses::EVICTED, "evicted", key);
            keys.commit();
            drop(keys);
            self.publish_events(journal);
            self.counters.evicted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(gone)
    }
}
