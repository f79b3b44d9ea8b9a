//! Active expiry: keys whose deadline has passed go although nobody asks for them.
//!
//! Every deletion is logged like any other. Hot keys are found by their segments' heaps, cold ones by the index of deadlines, without
//! reading their records: a tombstone is left, and its record follows with the other deletions. A cold hash with fields that are
//! due is promoted and loses them as a hot one does (`expire_fields`).
//!
//! Cost: each round looks at the heaps' tops, at most a few milliseconds of it, and goes on next time where it stopped.

use super::Tier;
use super::cold::{Cold, DueRecord};
use super::cold_write::ColdWrite;
use super::scan::Expired;
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::{EventClasses, Journal, Keys, SHARDS};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a round begins.
pub(super) const ROUND_INTERVAL: Duration = Duration::from_millis(100);
/// How long a round may take.
const ROUND_TIME_MAX: Duration = Duration::from_millis(25);
/// How many cold deadlines are looked up at a time.
const DUE_BATCH: usize = 256;

/// Where the next round goes on.
#[derive(Default)]
pub(super) struct ExpiryHand {
    shard: usize,
    journal: Journal,
    /// No hot key or field is due before this (Unix milliseconds), by the last whole lap.
    next_hot_ms: u64,
}

/// What one round works with.
pub(super) struct Round<'a> {
    pub(super) journal: &'a mut Journal,
    pub(super) now_ms: u64,
    /// The classes of events that somebody wants.
    pub(super) listens_to: EventClasses,
}

/// A hot key that is due.
struct DueKey {
    database: u32,
    generation: u32,
    hash: u64,
    key: Box<[u8]>,
}

impl Tier {
    /// One round: hot, then cold. The latency monitor hears how long it took.
    ///
    /// # Errors
    /// RocksDB or the snapshot failed.
    pub(super) fn expire_round(&self, hand: &mut ExpiryHand) -> Result<(), InternalError> {
        self.timed("expire-cycle", || self.expire_some(hand))
    }

    fn expire_some(&self, hand: &mut ExpiryHand) -> Result<(), InternalError> {
        if !self.expires.load(Ordering::Relaxed) {
            return Ok(());
        }
        let end = Instant::now() + ROUND_TIME_MAX;
        let now_ms = clock::now_ms();
        if now_ms < self.expiry_held_until_ms.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut round = Round {
            journal: &mut hand.journal,
            now_ms,
            listens_to: self.ports.events.listens_to(),
        };
        // Until the lap is done, anything may be due.
        hand.next_hot_ms = 0;
        let mut next_hot_ms = u64::MAX;
        for _ in 0..SHARDS {
            let number = hand.shard;
            loop {
                match self.next_due(number, round.now_ms) {
                    Ok(due) => {
                        if !self.expire_hot(&mut round, &due)? || Instant::now() > end {
                            return Ok(());
                        }
                    }
                    Err(next_ms) => {
                        next_hot_ms = next_hot_ms.min(next_ms);
                        break;
                    }
                }
            }
            hand.shard = (number + 1) % SHARDS;
        }
        hand.next_hot_ms = next_hot_ms;
        match self.cold.as_deref() {
            Some(cold) => self.expire_cold(cold, &mut round, end),
            None => Ok(()),
        }
    }

    /// Removes keys that a walk came by, unless they have changed since or nothing may be removed now.
    pub(super) fn expire_found(
        &self,
        database: u32,
        found: Vec<Expired>,
    ) -> Result<(), InternalError> {
        let now_ms = clock::now_ms();
        if now_ms < self.expiry_held_until_ms.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut journal = Journal::default();
        let mut round = Round {
            journal: &mut journal,
            now_ms,
            listens_to: self.ports.events.listens_to(),
        };
        for Expired {
            generation,
            hash,
            key,
            record,
        } in found
        {
            let has_room = match (record, self.cold.as_deref()) {
                (Some((lsn, deadline_ms)), Some(cold)) => {
                    let due = DueRecord {
                        deadline_ms,
                        generation,
                        hash,
                        key,
                        lsn,
                        is_of_field: false,
                    };
                    self.expire_cold_key(cold, &mut round, database, &due)?
                }
                _ => {
                    let due = DueKey {
                        database,
                        generation,
                        hash,
                        key,
                    };
                    self.expire_hot(&mut round, &due)?
                }
            };
            if !has_room {
                break;
            }
        }
        Ok(())
    }

    /// How long nothing will be due, if nothing is written meanwhile.
    pub(super) fn time_to_next_deadline(&self, hand: &ExpiryHand) -> Duration {
        let next_cold_ms = match &self.cold {
            Some(cold) => cold.next_deadline_ms().unwrap_or(0),
            None => u64::MAX,
        };
        let next_ms = hand.next_hot_ms.min(next_cold_ms);
        Duration::from_millis(next_ms.saturating_sub(clock::now_ms()))
    }

    /// A key of this shard that is due, or a lower bound of the next deadline.
    fn next_due(&self, number: usize, now_ms: u64) -> Result<DueKey, u64> {
        let mut next_ms = u64::MAX;
        let mut shard = self.keyspace.lock(number);
        for database in 0..shard.tables.count() as u32 {
            let table = shard.table_mut(database);
            for number in 0..table.segments() {
                let segment = table.segment_at_mut(number);
                let Some(deadline_ms) = segment.next_deadline_ms() else {
                    continue;
                };
                if deadline_ms > now_ms {
                    next_ms = next_ms.min(deadline_ms);
                    continue;
                }
                if let Some(slot) = segment.due(now_ms) {
                    let key: Box<[u8]> = segment.entry(slot).key().into();
                    let (generation, hash) =
                        (self.keyspace.generation(database), self.keyspace.hash(&key));
                    return Ok(DueKey {
                        database,
                        generation,
                        hash,
                        key,
                    });
                }
                // What was due is outdated, and forgotten by now.
                next_ms = next_ms.min(segment.next_deadline_ms().unwrap_or(u64::MAX));
            }
        }
        Err(next_ms)
    }

    /// Removes a hot key, or the fields of one, if they are still due; false if the log has no room for that.
    fn expire_hot(&self, round: &mut Round<'_>, due: &DueKey) -> Result<bool, InternalError> {
        self.ports.loader.load_at(due.generation, due.hash)?;
        let recorder = &*self.ports.recorder;
        let mut keys = self.lock_due(round, due.database, due.hash);
        keys.no_touch = true;
        self.timed("expire-del", || keys.exists(&due.key));
        let (expired, fields) = (keys.counts.expired, keys.counts.expired_fields);
        keys.commit();
        drop(keys);
        self.publish_events(round.journal);
        self.counters.expired.fetch_add(expired, Ordering::Relaxed);
        self.counters
            .expired_fields
            .fetch_add(fields, Ordering::Relaxed);
        // Nothing happened: it is gone already, or there is no room. The latter must not be tried again and again.
        Ok(expired + fields > 0 || recorder.has_room(due.key.len() + 256))
    }

    fn expire_cold(
        &self,
        cold: &Cold,
        round: &mut Round<'_>,
        end: Instant,
    ) -> Result<(), InternalError> {
        loop {
            let due = cold.due(round.now_ms, DUE_BATCH)?;
            let is_last = due.len() < DUE_BATCH;
            let mut dead = Vec::new();
            for (done, record) in due.iter().enumerate() {
                match self.keyspace.database_of(record.generation) {
                    None => dead.push(record),
                    Some(database) => {
                        let expired = if record.is_of_field {
                            self.expire_cold_fields(cold, round, database, record)?
                        } else {
                            self.expire_cold_key(cold, round, database, record)?
                        };
                        if !expired || Instant::now() > end {
                            // The rest is looked up again next time.
                            due[done..]
                                .iter()
                                .for_each(|record| cold.note_deadline(record.deadline_ms));
                            return self.forget_dead(cold, &dead);
                        }
                    }
                }
            }
            self.forget_dead(cold, &dead)?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Locks the shard of a key that is due, with what this round needs told of its end.
    pub(super) fn lock_due<'a>(
        &'a self,
        round: &'a mut Round<'_>,
        database: u32,
        hash: u64,
    ) -> Keys<'a> {
        let mut keys = Keys::lock(
            &self.keyspace,
            &[hash],
            round.journal,
            &*self.ports.recorder,
            database,
            round.now_ms,
        );
        keys.listens_to = round.listens_to;
        keys.notes_written = self.ports.events.hears_writes();
        keys
    }

    /// Locks the shard of a cold key that is due; `None` if its database was flushed meanwhile.
    pub(super) fn lock_due_record<'a>(
        &'a self,
        round: &'a mut Round<'_>,
        database: u32,
        due: &DueRecord,
    ) -> Result<Option<Keys<'a>>, InternalError> {
        self.ports.loader.load_at(due.generation, due.hash)?;
        let keys = self.lock_due(round, database, due.hash);
        let is_current = self.keyspace.generation(database) == due.generation;
        Ok(is_current.then_some(keys))
    }

    /// Deletes a key that is only cold, on the word of the index; false if the log has no room.
    pub(super) fn expire_cold_key(
        &self,
        cold: &Cold,
        round: &mut Round<'_>,
        database: u32,
        due: &DueRecord,
    ) -> Result<bool, InternalError> {
        let Some(mut keys) = self.lock_due_record(round, database, due)? else {
            return Ok(true);
        };
        let shard = keys.shard_mut(due.hash);
        // Where the keyspace has the key it knows better; whatever leaves it is looked up again.
        if shard.find(database, due.hash, &due.key).is_some() || !cold.is_still_due(due)? {
            return Ok(true);
        }
        let deletion = || keys.delete_cold(&due.key, due.lsn, Some(due.deadline_ms));
        if !self.timed("expire-del", deletion) {
            return Ok(false);
        }
        self.warm.remove(&due.index_key().cold_key.to_vec());
        keys.notify(EventClasses::EXPIRED, "expired", &due.key);
        keys.commit();
        drop(keys);
        self.publish_events(round.journal);
        self.counters.expired.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Index entries of databases that were flushed.
    fn forget_dead(&self, cold: &Cold, dead: &[&DueRecord]) -> Result<(), InternalError> {
        let _hand = self.lock_writer();
        let mut batch = ColdWrite::new(cold);
        dead.iter().for_each(|record| batch.forget_due(record));
        batch.commit()
    }
}
