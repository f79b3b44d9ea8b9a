//! Deletions on their way into the cold tier: tombstones become deletes of records, then go.
//!
//! A key in `Shard::deletions` has a cold record that was written before its deletion: victims.rs takes no such key. So the
//! record is deleted even if the key lives again by now (its next version is in the log); only the entry stays then, and is told
//! that it has no cold record any more.

use super::Tier;
use super::cold::Cold;
use super::cold_write::ColdWrite;
use crate::error::InternalError;
use crate::keyspace::entry::PENDING_LSN;
use crate::keyspace::shard::{PendingDeletion, Shard};
use crate::keyspace::{Keyspace, SHARDS};
use std::sync::atomic::Ordering;
use storage_format::record::ColdKey;

/// Most deletions of one RocksDB batch.
const BATCH_DELETIONS_MAX: usize = 4096;

/// A record that has to go.
struct Doomed {
    deletion: PendingDeletion,
    lsn: u64,
    deadline_ms: Option<u64>,
}

impl Tier {
    /// Applies all deletions that are pending now, and makes the cold tier durable. What a snapshot does before it
    /// is complete; the log is durable past its cut already. Returns RocksDB's sequence number.
    ///
    /// # Errors
    /// The log or RocksDB cannot write.
    pub fn flush_for_snapshot(&self) -> Result<u64, InternalError> {
        let Some(cold) = self.cold.as_deref() else {
            return Ok(0);
        };
        self.drain_deletions(cold)?;
        let _hand = self.lock_writer();
        cold.flush()?;
        Ok(cold.sequence())
    }

    /// Applies pending deletions, shard by shard, until each was looked at once. Returns how many records went.
    pub(super) fn drain_deletions(&self, cold: &Cold) -> Result<u64, InternalError> {
        let _hand = self.lock_writer();
        let (mut number, mut removed) = (0, 0);
        while number < SHARDS {
            let mut doomed = Vec::new();
            while number < SHARDS && doomed.len() < BATCH_DELETIONS_MAX {
                self.collect_doomed(number, &mut doomed);
                number += 1;
            }
            removed += self.delete_records(cold, doomed)?;
        }
        Ok(removed)
    }

    fn collect_doomed(&self, number: usize, doomed: &mut Vec<Doomed>) {
        let mut shard = self.keyspace.lock(number);
        for deletion in std::mem::take(&mut shard.deletions) {
            let Some(database) = self.keyspace.database_of(deletion.generation) else {
                continue;
            };
            let Some(place) = shard.find(database, deletion.hash, &deletion.key) else {
                continue;
            };
            let entry = shard.entry(database, place);
            if !entry.has_cold_record() || entry.is_clean() {
                continue;
            }
            if entry.lsn() == PENDING_LSN {
                shard.deletions.push(deletion);
                continue;
            }
            let (lsn, deadline_ms) = (
                entry.lsn(),
                shard.cold_deadline_ms(deletion.generation, &entry),
            );
            doomed.push(Doomed {
                deletion,
                lsn,
                deadline_ms,
            });
        }
    }

    fn delete_records(&self, cold: &Cold, doomed: Vec<Doomed>) -> Result<u64, InternalError> {
        let deleted = self.delete_in_cold(cold, &doomed);
        let count = doomed.len() as u64;
        let mut doomed = doomed.into_iter().peekable();
        while let Some(first) = doomed.peek() {
            let number = Keyspace::shard_of(first.deletion.hash);
            let mut shard = self.keyspace.lock(number);
            while let Some(item) =
                doomed.next_if(|item| Keyspace::shard_of(item.deletion.hash) == number)
            {
                if deleted.is_ok() {
                    self.forget_tombstone(&mut shard, &item);
                } else {
                    shard.deletions.push(item.deletion);
                }
            }
        }
        deleted?;
        self.counters
            .records_deleted
            .fetch_add(count, Ordering::Relaxed);
        Ok(count)
    }

    fn delete_in_cold(&self, cold: &Cold, doomed: &[Doomed]) -> Result<(), InternalError> {
        let Some(newest_lsn) = doomed.iter().map(|item| item.lsn).max() else {
            return Ok(());
        };
        // An older version in a block that is not loaded yet would take the tombstone's place.
        for Doomed { deletion, .. } in doomed {
            self.ports
                .loader
                .load_at(deletion.generation, deletion.hash)?;
        }
        self.ports.durability.ensure_durable(newest_lsn)?;
        let mut batch = ColdWrite::new(cold);
        for Doomed {
            deletion,
            deadline_ms,
            ..
        } in doomed
        {
            let PendingDeletion {
                generation,
                hash,
                key,
            } = deletion;
            batch.delete(
                ColdKey {
                    generation: *generation,
                    hash: *hash,
                    key,
                },
                *deadline_ms,
            );
        }
        batch.commit()
    }

    /// The record is gone: so is the tombstone, and an entry that lives again knows.
    fn forget_tombstone(&self, shard: &mut Shard, item: &Doomed) {
        let PendingDeletion {
            generation,
            hash,
            key,
        } = &item.deletion;
        let Some(database) = self.keyspace.database_of(*generation) else {
            return;
        };
        let Some(place) = shard.find(database, *hash, key) else {
            return;
        };
        let entry = shard.entry(database, place);
        if entry.is_tombstone() {
            // Another LSN means that the key lived and was deleted again; that deletion is pending by itself.
            if entry.lsn() == item.lsn {
                drop(shard.table_mut(database).remove(place));
                shard.departures += 1;
            }
            return;
        }
        shard
            .table_mut(database)
            .change(place, |entry| entry.set_cold_record(false));
        // Whoever read the record before must not install it, should the key go without leaving a tombstone.
        shard.departures += 1;
        if !shard.cold_deadlines.is_empty() {
            shard.cold_deadlines.remove(&(*generation, key.clone()));
        }
    }

    /// Removes the records of a generation whose database was flushed. Called without shard locks, after the database
    /// has its new generation.
    ///
    /// # Errors
    /// RocksDB cannot write.
    pub fn drop_generation(&self, generation: u32) -> Result<(), InternalError> {
        let Some(cold) = &self.cold else {
            return Ok(());
        };
        let _hand = self.lock_writer();
        cold.drop_generation(generation)?;
        self.warm
            .remove_prefix(&storage_format::record::generation_prefix(generation));
        let cold = std::sync::Arc::clone(cold);
        self.pool.run(move || cold.compact(generation, 0, u64::MAX));
        Ok(())
    }
}
