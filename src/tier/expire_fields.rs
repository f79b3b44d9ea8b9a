//! Cold hashes with fields that are due.
//!
//! An index entry of a hash's earliest field is a hint: if the record is still the version it was written with, the hash is promoted,
//! and looking at it removes the fields. The entry goes in any case but one: while the hash is hot and unchanged, it will be needed
//! again when the hash leaves.

use super::Tier;
use super::cold::{Cold, DueRecord};
use super::cold_write::ColdWrite;
use super::expire::Round;
use super::residency::KeyRequest;
use crate::error::InternalError;
use crate::keyspace::lock_watch;
use std::sync::atomic::Ordering;

impl Tier {
    /// Follows a hint; false if the log has no room.
    pub(super) fn expire_cold_fields(
        &self,
        cold: &Cold,
        round: &mut Round<'_>,
        database: u32,
        due: &DueRecord,
    ) -> Result<bool, InternalError> {
        let (recorder, now_ms) = (&*self.ports.recorder, round.now_ms);
        let Some(mut keys) = self.lock_due_record(round, database, due)? else {
            return Ok(true);
        };
        let shard = keys.shard_mut(due.hash);
        if let Some(place) = shard.find(database, due.hash, &due.key) {
            if shard.entry(database, place).is_clean() {
                return Ok(true);
            }
        } else if self.is_of_record(cold, due)? {
            let request = KeyRequest {
                database,
                generation: due.generation,
                hash: due.hash,
                key: &due.key,
                only_looks: false,
                now_ms,
            };
            self.resolve_now(shard, &request)?;
            keys.no_touch = true;
            keys.exists(&due.key);
            let removed = keys.counts.expired + keys.counts.expired_fields;
            let counters = &self.counters;
            counters
                .expired
                .fetch_add(keys.counts.expired, Ordering::Relaxed);
            counters
                .expired_fields
                .fetch_add(keys.counts.expired_fields, Ordering::Relaxed);
            keys.commit();
            if removed == 0 && !recorder.has_room(due.key.len() + 256) {
                return Ok(false);
            }
        }
        drop(keys);
        self.publish_events(round.journal);
        self.forget_hint(cold, due)
    }

    fn is_of_record(&self, cold: &Cold, due: &DueRecord) -> Result<bool, InternalError> {
        // The hash is promoted next, under the same lock.
        let record = lock_watch::may_wait(|| cold.get(due.generation, due.hash, &due.key))?;
        Ok(record.is_some_and(|record| record.lsn == due.lsn))
    }

    /// Deletes the index entry unless it was written anew meanwhile.
    fn forget_hint(&self, cold: &Cold, due: &DueRecord) -> Result<bool, InternalError> {
        let _hand = self.lock_writer();
        if cold.is_still_due(due)? {
            let mut batch = ColdWrite::new(cold);
            batch.forget_due(due);
            batch.commit()?;
        }
        Ok(true)
    }
}
