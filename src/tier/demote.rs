//! Demotion: idle entries leave the keyspace when memory runs short, and their cold records are written if they are dirty.
//!
//! A batch: take victims under the shard's lock, encode them without it, wait until the log is durable past them, write
//! one RocksDB batch, then under the lock again remove each entry that is still the version that was written. An entry that
//! changed meanwhile stays; its record is merely an older version.
//!
//! All cold writes and deletes happen under one lock ([`Tier::writer`]), so those of one key never race. It is taken
//! before shard locks, never under one.

use super::Tier;
use super::cold::Cold;
use super::cold_write::ColdWrite;
use super::victims::{Choice, Taken, Victim, take_from_segment, take_key};
use super::warm::WarmCopy;
use crate::error::InternalError;
use crate::keyspace::entry::{Entry, NewBody};
use crate::keyspace::field_expiry::earliest_field_deadline_ms;
use crate::keyspace::shard::Shard;
use crate::keyspace::{Keyspace, lock_watch};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage_format::record::{ColdHeader, ColdKey, generation_prefix};

/// The clock hand: where the next batch is taken from. Whoever holds it may write cold records.
#[derive(Default)]
pub(super) struct Hand {
    database: u32,
    hash: u64,
    /// How often it went round all databases.
    laps: u64,
}

/// What one batch did.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Demoted {
    /// Entries that left the keyspace.
    pub entries: u64,
    /// Bytes that they took there.
    pub bytes: u64,
}

/// A victim with what is to be written for it.
struct Prepared {
    victim: Victim,
    record: Option<Vec<u8>>,
    copy: Option<Arc<WarmCopy>>,
}

/// Bytes that a batch of a budget like this takes.
fn batch_bytes(limit_bytes: u64) -> u64 {
    if limit_bytes == 0 {
        4 << 20
    } else {
        (limit_bytes / 64).clamp(256 << 10, 4 << 20)
    }
}

impl Tier {
    /// Takes the writer's lock: before shards, never under one.
    pub(super) fn lock_writer(&self) -> MutexGuard<'_, Hand> {
        lock_watch::holds_none("the writer's lock");
        self.writer.lock()
    }

    /// Demotes until memory is below the low-water mark, or nothing is left to demote.
    pub(super) fn relieve(&self, cold: &Cold) -> Result<(), InternalError> {
        // The first lap may find everything marked as used; the second finds the marks cleared.
        const IDLE_LAPS_MAX: u64 = 2;
        let mut idle_since = self.lock_writer().laps;
        while self.budget.excess_bytes() > 0 && !self.is_stopping() {
            let bytes = self
                .budget
                .excess_bytes()
                .min(batch_bytes(self.budget.limit_bytes()));
            let mut hand = self.lock_writer();
            let demoted = self.sweep(
                cold,
                &mut hand,
                Choice {
                    bytes,
                    ignores_marks: false,
                },
            )?;
            let laps = hand.laps;
            drop(hand);
            self.warm.maintain();
            self.budget.sample();
            if demoted.entries > 0 {
                self.budget.note_step();
                idle_since = laps;
            } else if laps > idle_since + IDLE_LAPS_MAX {
                // Nothing hot is left to go. What is warm goes before anybody has to wait for more.
                if !self.warm.clear() {
                    self.budget.note_floor();
                    break;
                }
                self.budget.sample();
                idle_since = laps;
            }
        }
        Ok(())
    }

    /// One step of the hand: looks at segments until something was taken (or a lap is done), and demotes it.
    pub(super) fn sweep(
        &self,
        cold: &Cold,
        hand: &mut Hand,
        choice: Choice,
    ) -> Result<Demoted, InternalError> {
        let lap = hand.laps;
        while hand.laps == lap {
            let (database, hash) = (hand.database, hand.hash);
            let (taken, generation) = self.take(database, hash, choice);
            match taken.next_hash {
                Some(next_hash) => hand.hash = next_hash,
                None => {
                    hand.hash = 0;
                    hand.database = (database + 1) % self.keyspace.databases();
                    hand.laps += u64::from(hand.database == 0);
                }
            }
            if !taken.victims.is_empty() {
                return self.demote(cold, generation, taken.victims, true);
            }
        }
        Ok(Demoted::default())
    }

    /// Takes victims from the segment that owns a hash, and their generation. An entry that the log says more of may not go: its copy
    /// would be outdated. So the log is replayed first; a segment where that fails is passed over.
    fn take(&self, database: u32, hash: u64, choice: Choice) -> (Taken, u32) {
        loop {
            let mut shard = self.keyspace.lock(Keyspace::shard_of(hash));
            let generation = self.keyspace.generation(database);
            let bounds = shard
                .table(database)
                .map(|table| table.segment_bounds(hash));
            let behind =
                bounds.filter(|(first, last)| !self.ports.loader.is_replayed(*first, *last));
            let Some((first_hash, last_hash)) = behind else {
                let hash_of = |key: &[u8]| self.keyspace.hash(key);
                let taken =
                    take_from_segment(&mut shard, database, generation, hash, choice, hash_of);
                return (taken, generation);
            };
            drop(shard);
            if let Err(error) = self.ports.loader.replay(first_hash, last_hash) {
                tracing::debug!(%error, "keys of which the log cannot be replayed are not demoted");
                let taken = Taken {
                    next_hash: last_hash.checked_add(1),
                    ..Taken::default()
                };
                return (taken, generation);
            }
        }
    }

    /// Moves what is hot or warm of a database to the cold tier, and waits until it is there. Returns how many keys moved.
    ///
    /// # Errors
    /// The log or RocksDB cannot write.
    pub fn demote_all(&self, database: u32) -> Result<u64, InternalError> {
        let Some(cold) = self.cold.as_deref() else {
            return Ok(0);
        };
        let choice = Choice {
            bytes: batch_bytes(self.budget.limit_bytes()),
            ignores_marks: true,
        };
        let (mut moved, mut position) = (0, Some(0));
        while let Some(hash) = position {
            let _hand = self.lock_writer();
            let (taken, generation) = self.take(database, hash, choice);
            position = taken.next_hash;
            moved += self.demote(cold, generation, taken.victims, false)?.entries;
        }
        let generation = self.keyspace.generation(database);
        Ok(moved + self.warm.remove_prefix(&generation_prefix(generation)))
    }

    /// As [`Tier::demote_all`], for some keys.
    ///
    /// # Errors
    /// As there.
    pub fn demote_keys(&self, database: u32, keys: &[Vec<u8>]) -> Result<u64, InternalError> {
        let Some(cold) = self.cold.as_deref() else {
            return Ok(0);
        };
        let mut moved = 0;
        for key in keys {
            let hash = self.keyspace.hash(key);
            let _hand = self.lock_writer();
            self.ports.loader.replay(hash, hash)?;
            let mut shard = self.keyspace.lock(Keyspace::shard_of(hash));
            let generation = self.keyspace.generation(database);
            moved += u64::from(
                self.warm.remove(
                    &ColdKey {
                        generation,
                        hash,
                        key,
                    }
                    .to_vec(),
                ),
            );
            let victim = take_key(&mut shard, database, generation, hash, key);
            drop(shard);
            moved += self
                .demote(cold, generation, victim.into_iter().collect(), false)?
                .entries;
        }
        Ok(moved)
    }

    /// Writes and removes victims of one database, chunk by chunk. The writer's lock is held.
    fn demote(
        &self,
        cold: &Cold,
        generation: u32,
        victims: Vec<Victim>,
        leaves_copies: bool,
    ) -> Result<Demoted, InternalError> {
        let chunk_bytes = batch_bytes(self.budget.limit_bytes()) as usize;
        let mut demoted = Demoted::default();
        let mut victims = victims.into_iter().peekable();
        while victims.peek().is_some() {
            let (mut chunk, mut bytes) = (Vec::new(), 0);
            while bytes < chunk_bytes
                && let Some(victim) = victims.next()
            {
                bytes += victim.bytes;
                chunk.push(self.prepare(victim, leaves_copies));
            }
            if let Err(error) = self.write(cold, generation, &chunk) {
                let rest = victims.map(|victim| Prepared {
                    victim,
                    record: None,
                    copy: None,
                });
                self.give_back(generation, chunk.into_iter().chain(rest).collect());
                return Err(error);
            }
            let done = self.finish(cold, generation, chunk);
            demoted.entries += done.entries;
            demoted.bytes += done.bytes;
        }
        Ok(demoted)
    }

    /// Encodes what has to be written or copied.
    fn prepare(&self, victim: Victim, leaves_copies: bool) -> Prepared {
        let kind = victim.value.kind();
        let may_copy = leaves_copies && self.warm.takes(victim.bytes);
        if !victim.is_dirty && !may_copy {
            return Prepared {
                victim,
                record: None,
                copy: None,
            };
        }
        let header = ColdHeader {
            lsn: victim.lsn,
            deadline_ms: victim.deadline_ms.unwrap_or(0),
            kind,
        };
        let mut record = header.encode().to_vec();
        victim.value.encode(&mut record);
        let encoded = &record[ColdHeader::LENGTH..];
        let copies = may_copy && self.warm.takes(encoded.len());
        let copy =
            copies.then(|| Arc::new(WarmCopy::new(victim.lsn, victim.deadline_ms, kind, encoded)));
        let record = victim.is_dirty.then_some(record);
        Prepared {
            victim,
            record,
            copy,
        }
    }

    /// Writes the records of the dirty ones, after the log.
    fn write(&self, cold: &Cold, generation: u32, chunk: &[Prepared]) -> Result<(), InternalError> {
        let Some(newest_lsn) = chunk
            .iter()
            .filter(|item| item.record.is_some())
            .map(|item| item.victim.lsn)
            .max()
        else {
            return Ok(());
        };
        self.ports.durability.ensure_durable(newest_lsn)?;
        let mut batch = ColdWrite::new(cold);
        for Prepared { victim, record, .. } in chunk {
            let Some(record) = record else { continue };
            let key = ColdKey {
                generation,
                hash: victim.hash,
                key: &victim.key,
            };
            batch.put(
                key,
                record,
                victim.lsn,
                victim.deadline_ms,
                victim.former_deadline_ms,
            );
            let of_fields = earliest_field_deadline_ms(&victim.value);
            if let Some(deadline_ms) = of_fields.filter(|_| of_fields != victim.deadline_ms) {
                batch.index_fields(key, victim.lsn, deadline_ms);
            }
        }
        batch.commit()
    }

    /// Removes what is still as it was written.
    fn finish(&self, cold: &Cold, generation: u32, chunk: Vec<Prepared>) -> Demoted {
        let mut demoted = Demoted::default();
        let (mut written, mut left) = (0, 0);
        for_each_locked(&self.keyspace, chunk, |shard, item| {
            written += u64::from(item.record.is_some());
            let Some(database) = self.keyspace.database_of(generation) else {
                return;
            };
            let Prepared { victim, copy, .. } = item;
            let Some(place) = shard.find(database, victim.hash, &victim.key) else {
                return;
            };
            let entry = shard.entry(database, place);
            if entry.is_tombstone() || entry.lsn() != victim.lsn {
                left += 1;
                return;
            }
            shard.keep_pre_image(database, generation, place, victim.hash);
            drop(shard.table_mut(database).remove(place));
            shard.departures += 1;
            let of_fields = earliest_field_deadline_ms(&victim.value);
            for deadline_ms in victim.deadline_ms.into_iter().chain(of_fields) {
                cold.note_deadline(deadline_ms);
            }
            if let Some(copy) = copy {
                let cold_key = ColdKey {
                    generation,
                    hash: victim.hash,
                    key: &victim.key,
                }
                .to_vec();
                self.warm.insert(cold_key.into_boxed_slice(), copy);
            }
            demoted.entries += 1;
            demoted.bytes += victim.bytes as u64;
        });
        let counters = &self.counters;
        counters
            .demotions
            .fetch_add(demoted.entries, Ordering::Relaxed);
        counters
            .records_written
            .fetch_add(written, Ordering::Relaxed);
        counters.demotions_outrun.fetch_add(left, Ordering::Relaxed);
        demoted
    }

    /// After a failed write: the cold records are what they were before, and the keyspace says so again.
    fn give_back(&self, generation: u32, chunk: Vec<Prepared>) {
        for_each_locked(&self.keyspace, chunk, |shard, Prepared { victim, .. }| {
            if !victim.is_dirty {
                return;
            }
            let Some(database) = self.keyspace.database_of(generation) else {
                return;
            };
            let Some(place) = shard.find(database, victim.hash, &victim.key) else {
                return;
            };
            let entry = shard.entry(database, place);
            if entry.is_tombstone() {
                let former_ms = victim.former_deadline_ms;
                shard.table_mut(database).change(place, |entry| {
                    let tombstone = Entry::new(b"", NewBody::Tombstone, None);
                    *entry = std::mem::replace(entry, tombstone).with_deadline(former_ms);
                });
            } else if victim.had_record {
                let former_ms = victim.former_deadline_ms.unwrap_or(0);
                shard
                    .cold_deadlines
                    .insert((generation, victim.key), former_ms);
            } else if entry.lsn() == victim.lsn {
                shard
                    .table_mut(database)
                    .change(place, |entry| entry.set_cold_record(false));
            }
        });
    }
}

/// Calls `each` with every item's shard locked; items of one shard that follow each other share a lock.
fn for_each_locked(
    keyspace: &Keyspace,
    items: Vec<Prepared>,
    mut each: impl FnMut(&mut Shard, Prepared),
) {
    let mut items = items.into_iter().peekable();
    while let Some(first) = items.peek() {
        let number = Keyspace::shard_of(first.victim.hash);
        let mut shard = keyspace.lock(number);
        while let Some(item) = items.next_if(|item| Keyspace::shard_of(item.victim.hash) == number)
        {
            each(&mut shard, item);
        }
    }
}
