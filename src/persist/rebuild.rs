//! Replaying the log's effects onto snapshot and cold records, each onto exactly the base that it names.
//!
//! | effect | the key's base | done |
//! |---|---|---|
//! | whole-value put, deletion | not needed | applied; the key is settled, whatever the snapshot says of it |
//! | any other, previous LSN 0 | there is none | applied: it creates the key |
//! | any other | in the keyspace or the snapshot, with the LSN it names | applied |
//! | any other | only a cold record, with the LSN it names | the record is promoted, then applied |
//! | any other | a cold record with the effect's LSN or a newer one | skipped: the record has it already |
//! | any other | none: the record went with a later deletion | skipped and marked |
//! | any other | another LSN | damage |
//!
//! A mark has to be settled by a put, a deletion, a creation or a flush before the log ends. Key counts follow from the effects
//! alone: previous LSN 0 creates a key, a deletion removes one.

use super::cold_store::{ColdStore, ColdVersion};
use super::lazy_snapshot::LazySnapshot;
use crate::error::InternalError;
use crate::keyspace::entry::{Entry, NewBody};
use crate::keyspace::shard::PendingDeletion;
use crate::keyspace::{Journal, Keys, Keyspace, Recorder};
use hashbrown::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use storage_format::log::LogRecord;
use storage_format::{Effect, EffectRecord, SAME_RECORD_LSN};

/// Stamps replayed entries with the LSN of the record that is being replayed.
#[derive(Default)]
struct ReplayRecorder {
    lsn: AtomicU64,
}

impl Recorder for ReplayRecorder {
    fn append(&self, _effects: &[u8]) -> u64 {
        self.lsn.load(Ordering::Relaxed)
    }

    fn has_room(&self, _bytes: usize) -> bool {
        true
    }

    fn keeps_effects(&self) -> bool {
        false
    }
}

/// What the keyspace has of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Live { lsn: u64 },
    Tombstone,
    Nothing,
}

/// A key that an effect names.
#[derive(Clone, Copy)]
struct Named<'a> {
    database: u32,
    generation: u32,
    hash: u64,
    key: &'a [u8],
}

/// A keyspace on its way back; see the module's comment.
pub struct Rebuild<'a> {
    keyspace: &'a Keyspace,
    cold: &'a dyn ColdStore,
    lazy: &'a LazySnapshot,
    journal: Journal,
    recorder: ReplayRecorder,
    /// Keys whose base is missing; see the table.
    marks: HashSet<(u32, Box<[u8]>)>,
    /// Effects that were applied.
    pub effects_applied: u64,
    /// Effects that were skipped, because a cold record has them or their base is gone.
    pub effects_skipped: u64,
}

impl<'a> Rebuild<'a> {
    /// Begins on what the snapshot and the cold tier hold.
    pub fn new(
        keyspace: &'a Keyspace,
        cold: &'a dyn ColdStore,
        lazy: &'a LazySnapshot,
    ) -> Rebuild<'a> {
        Rebuild {
            keyspace,
            cold,
            lazy,
            journal: Journal::default(),
            recorder: ReplayRecorder::default(),
            marks: HashSet::new(),
            effects_applied: 0,
            effects_skipped: 0,
        }
    }

    /// Replays one record.
    ///
    /// # Errors
    /// Damage: an effect that cannot be read, or that does not fit what is there.
    pub fn replay(&mut self, record: &LogRecord<'_>) -> Result<(), InternalError> {
        self.recorder.lsn.store(record.lsn, Ordering::Relaxed);
        for effect in record.effects() {
            let effect = effect.map_err(|error| {
                InternalError::Other(format!("log record {}: {error}", record.lsn))
            })?;
            let was_applied = match effect.effect {
                Effect::FlushDatabase { database } => {
                    self.flush(record.lsn, effect.generation, database)?
                }
                Effect::SwapDatabases { first, second } => self.swap(record.lsn, first, second)?,
                _ => self.replay_effect(record.lsn, &effect)?,
            };
            *if was_applied {
                &mut self.effects_applied
            } else {
                &mut self.effects_skipped
            } += 1;
        }
        Ok(())
    }

    /// Ends the replay.
    ///
    /// # Errors
    /// A mark was not settled: a cold record is missing.
    pub fn finish(self) -> Result<(), InternalError> {
        let Some((generation, key)) = self.marks.iter().next() else {
            return Ok(());
        };
        Err(InternalError::Other(format!(
            "the cold tier is damaged: the log changes {} keys whose records are missing, the first is {:?} of generation {generation}; \
             run `larderctl check` on the data directory",
            self.marks.len(),
            key.escape_ascii().to_string()
        )))
    }

    fn check_database(&self, lsn: u64, database: u32) -> Result<(), InternalError> {
        if database < self.keyspace.databases() {
            return Ok(());
        }
        Err(InternalError::Other(format!(
            "log record {lsn} uses database {database}, but `databases` is {}",
            self.keyspace.databases()
        )))
    }

    fn flush(&mut self, lsn: u64, generation: u32, database: u32) -> Result<bool, InternalError> {
        self.check_database(lsn, database)?;
        let former = self.keyspace.generation(database);
        drop(
            self.keyspace
                .flush_database(&mut self.keyspace.lock_all(), database, generation),
        );
        self.marks.retain(|(of, _)| *of != former);
        self.cold.drop_generation(former)?;
        Ok(true)
    }

    fn swap(&mut self, lsn: u64, first: u32, second: u32) -> Result<bool, InternalError> {
        self.check_database(lsn, first.max(second))?;
        self.keyspace
            .swap_databases(&mut self.keyspace.lock_all(), first, second);
        Ok(true)
    }

    fn replay_effect(
        &mut self,
        lsn: u64,
        record: &EffectRecord<'_>,
    ) -> Result<bool, InternalError> {
        let (generation, key) = (record.generation, record.key);
        let Some(database) = self.keyspace.database_of(generation) else {
            return Err(InternalError::Other(format!(
                "log record {lsn}: no database has generation {generation}"
            )));
        };
        let named = Named {
            database,
            generation,
            hash: self.keyspace.hash(key),
            key,
        };
        let is_applied = match record.effect {
            Effect::Put { .. } => self.put(lsn, named, record)?,
            Effect::Delete => self.delete(lsn, named, record)?,
            _ if record.previous_lsn == 0 => self.put(lsn, named, record)?,
            _ => self.change(lsn, named, record)?,
        };
        Ok(is_applied)
    }

    /// A whole value, or an effect that creates the key.
    fn put(
        &mut self,
        lsn: u64,
        named: Named<'_>,
        record: &EffectRecord<'_>,
    ) -> Result<bool, InternalError> {
        self.unmark(named);
        let held = self.held(named);
        if record.previous_lsn == 0 && matches!(held, Held::Live { .. }) {
            return Err(misfit(lsn, record, "the key exists"));
        }
        let cold = if held == Held::Nothing {
            self.replaced_version(named, record.previous_lsn)?
        } else {
            None
        };
        self.apply(lsn, named, record, i64::from(record.previous_lsn == 0))?;
        if let Some(cold) = cold {
            let mut shard = self.keyspace.lock(Keyspace::shard_of(named.hash));
            if let Some(place) = shard.find(named.database, named.hash, named.key) {
                let deadline_ms = shard.entry(named.database, place).deadline_ms();
                shard
                    .table_mut(named.database)
                    .change(place, |entry| entry.set_cold_record(true));
                if cold.deadline_ms != deadline_ms {
                    let key = (named.generation, Box::from(named.key));
                    shard
                        .cold_deadlines
                        .insert(key, cold.deadline_ms.unwrap_or(0));
                }
            }
        }
        Ok(true)
    }

    fn delete(
        &mut self,
        lsn: u64,
        named: Named<'_>,
        record: &EffectRecord<'_>,
    ) -> Result<bool, InternalError> {
        self.unmark(named);
        match self.held(named) {
            Held::Live { .. } => self.apply(lsn, named, record, -1)?,
            Held::Tombstone => return Err(misfit(lsn, record, "the key is deleted already")),
            Held::Nothing => {
                let cold = self.replaced_version(named, record.previous_lsn)?;
                let mut shard = self.keyspace.lock(Keyspace::shard_of(named.hash));
                shard.table_mut(named.database).key_balance -= 1;
                if let Some(cold) = cold {
                    let mut tombstone = Entry::new(named.key, NewBody::Tombstone, cold.deadline_ms);
                    tombstone.set_cold_record(true);
                    tombstone.set_lsn(lsn);
                    self.insert(&mut shard, named, tombstone);
                    let (generation, hash, key) = (named.generation, named.hash, named.key.into());
                    shard.deletions.push(PendingDeletion {
                        generation,
                        hash,
                        key,
                    });
                }
            }
        }
        Ok(true)
    }

    /// An effect that builds on what the key held.
    fn change(
        &mut self,
        lsn: u64,
        named: Named<'_>,
        record: &EffectRecord<'_>,
    ) -> Result<bool, InternalError> {
        let previous_lsn = if record.previous_lsn == SAME_RECORD_LSN {
            lsn
        } else {
            record.previous_lsn
        };
        let mut held = self.held(named);
        if held == Held::Nothing {
            self.lazy
                .ensure_loaded(named.generation, named.hash, self.keyspace)?;
            held = self.held(named);
        }
        match held {
            Held::Live { lsn: base_lsn } if base_lsn == previous_lsn => {
                self.apply(lsn, named, record, 0).map(|()| true)
            }
            Held::Live { lsn: base_lsn } => {
                Err(misfit(lsn, record, &format!("the key has LSN {base_lsn}")))
            }
            Held::Tombstone => Err(misfit(lsn, record, "the key is deleted")),
            Held::Nothing if self.is_marked(named) => Ok(false),
            Held::Nothing => match self.cold_version(named)? {
                None => {
                    self.marks.insert((named.generation, named.key.into()));
                    Ok(false)
                }
                Some(cold) if cold.lsn >= lsn => Ok(false),
                Some(cold) if cold.lsn == previous_lsn => {
                    self.promote(named, cold);
                    self.apply(lsn, named, record, 0).map(|()| true)
                }
                Some(cold) => Err(misfit(
                    lsn,
                    record,
                    &format!("its cold record has LSN {}", cold.lsn),
                )),
            },
        }
    }

    fn held(&self, named: Named<'_>) -> Held {
        let shard = self.keyspace.lock(Keyspace::shard_of(named.hash));
        match shard.find(named.database, named.hash, named.key) {
            None => Held::Nothing,
            Some(place) => {
                let entry = shard.entry(named.database, place);
                if entry.is_tombstone() {
                    Held::Tombstone
                } else {
                    Held::Live { lsn: entry.lsn() }
                }
            }
        }
    }

    fn is_marked(&self, named: Named<'_>) -> bool {
        !self.marks.is_empty()
            && self
                .marks
                .contains(&(named.generation, Box::from(named.key)))
    }

    fn unmark(&mut self, named: Named<'_>) {
        if !self.marks.is_empty() {
            self.marks.remove(&(named.generation, Box::from(named.key)));
        }
    }

    fn cold_version(&self, named: Named<'_>) -> Result<Option<ColdVersion>, InternalError> {
        if !self
            .cold
            .may_contain(named.generation, named.hash, named.key)
        {
            return Ok(None);
        }
        self.cold.get(named.generation, named.hash, named.key)
    }

    /// The cold record of a key that is replaced or deleted, its snapshot entry unread. If it is the very version that goes,
    /// its deadline is counted no more.
    fn replaced_version(
        &self,
        named: Named<'_>,
        previous_lsn: u64,
    ) -> Result<Option<ColdVersion>, InternalError> {
        let cold = self.cold_version(named)?;
        let is_replaced = cold.as_ref().is_some_and(|cold| cold.lsn == previous_lsn);
        if is_replaced && cold.as_ref().is_some_and(|cold| cold.deadline_ms.is_some()) {
            let mut shard = self.keyspace.lock(Keyspace::shard_of(named.hash));
            shard.table_mut(named.database).deadline_balance -= 1;
        }
        self.lazy
            .settle(named.generation, named.hash, named.key, is_replaced);
        Ok(cold)
    }

    fn promote(&self, named: Named<'_>, cold: ColdVersion) {
        let mut entry = match cold.value.as_text() {
            Some(text) => Entry::new(named.key, NewBody::Text(text), cold.deadline_ms),
            None => Entry::new(named.key, NewBody::Boxed(cold.value), cold.deadline_ms),
        };
        entry.set_lsn(cold.lsn);
        entry.set_cold_record(true);
        entry.set_clean(true);
        let mut shard = self.keyspace.lock(Keyspace::shard_of(named.hash));
        self.insert(&mut shard, named, entry);
    }

    fn insert(&self, shard: &mut crate::keyspace::shard::Shard, named: Named<'_>, entry: Entry) {
        let placement = self.keyspace.placement();
        shard
            .table_mut(named.database)
            .insert(named.hash, entry, |key| placement.hash(key));
    }

    /// Runs the effect, and counts the key as the log says.
    fn apply(
        &mut self,
        lsn: u64,
        named: Named<'_>,
        record: &EffectRecord<'_>,
        keys: i64,
    ) -> Result<(), InternalError> {
        let mut locked = Keys::lock(
            self.keyspace,
            &[named.hash],
            &mut self.journal,
            &self.recorder,
            named.database,
            0,
        );
        let former_balance = locked
            .shard_mut(named.hash)
            .table_mut(named.database)
            .key_balance;
        let applied = locked
            .apply(named.key, record.effect)
            .map_err(|error| misfit(lsn, record, error.text()));
        locked.commit();
        locked
            .shard_mut(named.hash)
            .table_mut(named.database)
            .key_balance = former_balance + keys;
        applied.map(drop)
    }
}

fn misfit(lsn: u64, record: &EffectRecord<'_>, what: &str) -> InternalError {
    InternalError::Other(format!(
        "log record {lsn} does not fit: {} of {:?} builds on LSN {}, but {what}; run `larderctl check` on the data directory",
        record.effect.name(),
        record.key.escape_ascii().to_string(),
        record.previous_lsn
    ))
}
