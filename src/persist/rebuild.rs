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
//!
//! Effects come in batches of one part of the keyspace ([`super::log::index`]), which any thread may replay while others
//! replay other parts. What a batch needs of snapshot and cold tier is looked up before ([`super::bases`]); then all of it is
//! applied under the one lock of its shard.

use super::bases::{Bases, Origin};
use super::cold_store::{ColdStore, ColdVersion};
use super::lazy_snapshot::LazySnapshot;
use super::log::index::{key_change, part_of};
use crate::error::InternalError;
use crate::keyspace::entry::{Entry, NewBody};
use crate::keyspace::shard::{PendingDeletion, Shard};
use crate::keyspace::{Journal, Keys, Keyspace, Recorder};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use storage_format::log::LogRecord;
use storage_format::{Effect, EffectRecord, SAME_RECORD_LSN};

/// The most effects that are applied under one lock.
const BATCH_EFFECTS_MAX: usize = 4096;

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
pub(super) enum Held {
    Live { lsn: u64 },
    Tombstone,
    Nothing,
}

impl Held {
    pub(super) fn of(shard: &Shard, named: Named<'_>) -> Held {
        let Some(place) = shard.find(named.database, named.hash, named.key) else {
            return Held::Nothing;
        };
        let entry = shard.entry(named.database, place);
        if entry.is_tombstone() {
            Held::Tombstone
        } else {
            Held::Live { lsn: entry.lsn() }
        }
    }
}

/// A key that an effect names.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) database: u32,
    pub(super) generation: u32,
    pub(super) hash: u64,
    pub(super) key: &'a [u8],
}

/// An effect with its place in the log.
#[derive(Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) lsn: u64,
    /// The how manieth of its record it is.
    pub(super) number: u32,
    pub(super) hash: u64,
    pub(super) record: EffectRecord<'a>,
}

/// Why replay cannot go on, and where: of several, the first in the log's order counts.
#[derive(Debug)]
pub struct Failure {
    /// LSN and number of the effect.
    pub place: (u64, u32),
    /// What is wrong.
    pub error: InternalError,
}

/// Keys whose base is missing; see the module's table.
#[derive(Default)]
struct Marks {
    keys: Mutex<BTreeSet<(u32, Box<[u8]>)>>,
    count: AtomicUsize,
}

impl Marks {
    fn change<R>(&self, change: impl FnOnce(&mut BTreeSet<(u32, Box<[u8]>)>) -> R) -> R {
        let mut keys = self.keys.lock();
        let result = change(&mut keys);
        self.count.store(keys.len(), Ordering::Relaxed);
        result
    }

    /// No marks at all is the usual case, and costs no look-up. A part's marks are only changed by whoever replays the part.
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn contain(&self, named: Named<'_>) -> bool {
        let key = (named.generation, Box::from(named.key));
        !self.is_empty() && self.keys.lock().contains(&key)
    }

    fn insert(&self, named: Named<'_>) {
        self.change(|keys| keys.insert((named.generation, named.key.into())));
    }

    fn remove(&self, named: Named<'_>) {
        if !self.is_empty() {
            self.change(|keys| keys.remove(&(named.generation, named.key.into())));
        }
    }
}

/// When replay happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before anything is served.
    Start,
    /// While the server serves: the keys were counted before, and a database may have been flushed since.
    Serving,
}

/// A keyspace on its way back; see the module's comment.
pub struct Rebuild<'a> {
    pub(super) keyspace: &'a Keyspace,
    pub(super) cold: &'a dyn ColdStore,
    pub(super) lazy: &'a LazySnapshot,
    phase: Phase,
    marks: Marks,
    effects_applied: AtomicU64,
    effects_skipped: AtomicU64,
}

impl<'a> Rebuild<'a> {
    /// Begins on what the snapshot and the cold tier hold.
    pub fn new(
        keyspace: &'a Keyspace,
        cold: &'a dyn ColdStore,
        lazy: &'a LazySnapshot,
        phase: Phase,
    ) -> Rebuild<'a> {
        Rebuild {
            keyspace,
            cold,
            lazy,
            phase,
            marks: Marks::default(),
            effects_applied: AtomicU64::new(0),
            effects_skipped: AtomicU64::new(0),
        }
    }

    /// Effects that were applied, and those that were skipped, because a cold record has them or their base is gone.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.effects_applied.load(Ordering::Relaxed),
            self.effects_skipped.load(Ordering::Relaxed),
        )
    }

    /// True if every mark is settled.
    pub fn is_settled(&self) -> bool {
        self.marks.is_empty()
    }

    /// Replays the effects on one part's keys of records that have some. No other thread replays this part.
    ///
    /// # Errors
    /// Damage: an effect that does not fit what is there.
    pub fn replay_part<'r>(
        &self,
        part: usize,
        records: impl Iterator<Item = LogRecord<'r>>,
    ) -> Result<(), Failure> {
        let mut batch = Vec::new();
        for record in records {
            for (number, effect) in record.effects().enumerate() {
                let placed = self.place(&record, number as u32, effect)?;
                if part_of(placed.hash) == part {
                    batch.push(placed);
                }
            }
            if batch.len() >= BATCH_EFFECTS_MAX {
                self.replay_batch(&batch)?;
                batch.clear();
            }
        }
        self.replay_batch(&batch)
    }

    /// Replays one record by itself, effect by effect. Nobody else replays anything.
    ///
    /// # Errors
    /// Damage: an effect that cannot be read, or that does not fit what is there.
    pub fn replay_record(&self, record: &LogRecord<'_>) -> Result<(), Failure> {
        for (number, effect) in record.effects().enumerate() {
            let placed = self.place(record, number as u32, effect)?;
            let fail = |error| placed.failure(error);
            match placed.record.effect {
                Effect::FlushDatabase { database } => self
                    .flush(record.lsn, placed.record.generation, database)
                    .map_err(fail)?,
                Effect::SwapDatabases { first, second } => {
                    self.swap(record.lsn, first, second).map_err(fail)?;
                }
                _ => {
                    self.replay_batch(&[placed])?;
                    continue;
                }
            }
            self.effects_applied.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn place<'r>(
        &self,
        record: &LogRecord<'r>,
        number: u32,
        effect: Result<EffectRecord<'r>, storage_format::FormatError>,
    ) -> Result<Placed<'r>, Failure> {
        let lsn = record.lsn;
        match effect {
            Ok(record) => Ok(Placed {
                lsn,
                number,
                hash: self.keyspace.hash(record.key),
                record,
            }),
            Err(error) => Err(Failure {
                place: (lsn, number),
                error: InternalError::Other(format!("log record {lsn}: {error}")),
            }),
        }
    }

    /// Ends the replay.
    ///
    /// # Errors
    /// A mark was not settled: a cold record is missing.
    pub fn finish(self) -> Result<(), InternalError> {
        let marks = self.marks.keys.into_inner();
        let Some((generation, key)) = marks.first() else {
            return Ok(());
        };
        Err(InternalError::Other(format!(
            "the cold tier is damaged: the log changes {} keys whose records are missing, the first is {:?} of generation {generation}; \
             run `larderctl check` on the data directory",
            marks.len(),
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

    fn flush(&self, lsn: u64, generation: u32, database: u32) -> Result<(), InternalError> {
        self.check_database(lsn, database)?;
        let former = self.keyspace.generation(database);
        drop(
            self.keyspace
                .flush_database(&mut self.keyspace.lock_all(), database, generation),
        );
        self.marks
            .change(|keys| keys.retain(|(of, _)| *of != former));
        self.cold.drop_generation(former)
    }

    fn swap(&self, lsn: u64, first: u32, second: u32) -> Result<(), InternalError> {
        self.check_database(lsn, first.max(second))?;
        self.keyspace
            .swap_databases(&mut self.keyspace.lock_all(), first, second);
        Ok(())
    }

    /// Applies effects on keys of one part.
    fn replay_batch(&self, batch: &[Placed<'_>]) -> Result<(), Failure> {
        let Some(first) = batch.first() else {
            return Ok(());
        };
        let mut journal = Journal::default();
        let recorder = ReplayRecorder::default();
        loop {
            let (bases, failure) = Bases::look_up(self, batch);
            let mut keys = Keys::lock(self.keyspace, &[first.hash], &mut journal, &recorder, 0, 0);
            if keys.shard_mut(first.hash).departures != bases.departures {
                // An entry left for the cold tier meanwhile. Only while the server serves, and not again and again.
                continue;
            }
            let mut replay = Replay {
                rebuild: self,
                recorder: &recorder,
                keys: &mut keys,
                bases,
            };
            let mut applied = 0;
            let place = failure.as_ref().map(|failure| failure.place);
            for placed in batch
                .iter()
                .take_while(|placed| Some(placed.place()) != place)
            {
                let is_applied = replay
                    .effect(placed)
                    .map_err(|error| placed.failure(error))?;
                applied += u64::from(is_applied);
            }
            self.effects_applied.fetch_add(applied, Ordering::Relaxed);
            self.effects_skipped
                .fetch_add(batch.len() as u64 - applied, Ordering::Relaxed);
            return failure.map_or(Ok(()), Err);
        }
    }

    /// The key that an effect names; `None` if its database was flushed since the start.
    pub(super) fn named<'r>(
        &self,
        placed: &Placed<'r>,
    ) -> Result<Option<Named<'r>>, InternalError> {
        let generation = placed.record.generation;
        match self.keyspace.database_of(generation) {
            Some(database) => Ok(Some(Named {
                database,
                generation,
                hash: placed.hash,
                key: placed.record.key,
            })),
            None if self.phase == Phase::Serving => Ok(None),
            None => Err(InternalError::Other(format!(
                "log record {}: no database has generation {generation}",
                placed.lsn
            ))),
        }
    }
}

impl Placed<'_> {
    fn place(&self) -> (u64, u32) {
        (self.lsn, self.number)
    }

    pub(super) fn failure(&self, error: InternalError) -> Failure {
        Failure {
            place: self.place(),
            error,
        }
    }

    /// What the effect does without knowing what the key holds.
    pub(super) fn origin(&self) -> Origin {
        match self.record.effect {
            Effect::Put { .. } | Effect::Delete => Origin::Settles,
            _ if self.record.previous_lsn == 0 => Origin::Settles,
            _ => Origin::BuildsOn,
        }
    }

    fn misfit(&self, what: &str) -> InternalError {
        let record = &self.record;
        InternalError::Other(format!(
            "log record {} does not fit: {} of {:?} builds on LSN {}, but {what}; run `larderctl check` on the data directory",
            self.lsn,
            record.effect.name(),
            record.key.escape_ascii().to_string(),
            record.previous_lsn
        ))
    }
}

/// A batch on its way into its shard, which is locked.
struct Replay<'b, 'k> {
    rebuild: &'b Rebuild<'b>,
    recorder: &'b ReplayRecorder,
    keys: &'b mut Keys<'k>,
    bases: Bases<'b>,
}

impl<'k> Replay<'_, 'k> {
    /// True if the effect was applied, false if it was skipped.
    fn effect(&mut self, placed: &Placed<'_>) -> Result<bool, InternalError> {
        let Some(named) = self.rebuild.named(placed)? else {
            return Ok(false);
        };
        self.keys.select(named.database);
        self.recorder.lsn.store(placed.lsn, Ordering::Relaxed);
        if placed.origin() == Origin::BuildsOn {
            return self.change(named, placed);
        }
        self.rebuild.marks.remove(named);
        match placed.record.effect {
            Effect::Delete => self.delete(named, placed)?,
            _ => self.put(named, placed)?,
        }
        Ok(true)
    }

    fn shard(&mut self, named: Named<'_>) -> &mut Shard {
        self.keys.shard_mut(named.hash)
    }

    /// A whole value, or an effect that creates the key.
    fn put(&mut self, named: Named<'_>, placed: &Placed<'_>) -> Result<(), InternalError> {
        let previous_lsn = placed.record.previous_lsn;
        let held = Held::of(self.shard(named), named);
        if previous_lsn == 0 && matches!(held, Held::Live { .. }) {
            return Err(placed.misfit("the key exists"));
        }
        let replaced = match held {
            Held::Nothing => self.replaced_version(named, previous_lsn),
            _ => None,
        };
        self.apply(named, placed)?;
        let Some(cold_deadline_ms) = replaced else {
            return Ok(());
        };
        let shard = self.shard(named);
        if let Some(place) = shard.find(named.database, named.hash, named.key) {
            let deadline_ms = shard.entry(named.database, place).deadline_ms();
            shard
                .table_mut(named.database)
                .change(place, |entry| entry.set_cold_record(true));
            if cold_deadline_ms != deadline_ms {
                let key = (named.generation, Box::from(named.key));
                shard
                    .cold_deadlines
                    .insert(key, cold_deadline_ms.unwrap_or(0));
            }
        }
        Ok(())
    }

    fn delete(&mut self, named: Named<'_>, placed: &Placed<'_>) -> Result<(), InternalError> {
        match Held::of(self.shard(named), named) {
            Held::Live { .. } => return self.apply(named, placed),
            Held::Tombstone => return Err(placed.misfit("the key is deleted already")),
            Held::Nothing => {}
        }
        let replaced = self.replaced_version(named, placed.record.previous_lsn);
        let change = self.counted(placed);
        let keyspace = self.rebuild.keyspace;
        let shard = self.shard(named);
        shard.table_mut(named.database).key_balance += change;
        if let Some(cold_deadline_ms) = replaced {
            let mut tombstone = Entry::new(named.key, NewBody::Tombstone, cold_deadline_ms);
            tombstone.set_cold_record(true);
            tombstone.set_lsn(placed.lsn);
            insert(keyspace, shard, named, tombstone);
            let (generation, hash, key) = (named.generation, named.hash, named.key.into());
            shard.deletions.push(PendingDeletion {
                generation,
                hash,
                key,
            });
        }
        Ok(())
    }

    /// An effect that builds on what the key held.
    fn change(&mut self, named: Named<'_>, placed: &Placed<'_>) -> Result<bool, InternalError> {
        let previous_lsn = match placed.record.previous_lsn {
            SAME_RECORD_LSN => placed.lsn,
            lsn => lsn,
        };
        match Held::of(self.shard(named), named) {
            Held::Live { lsn } if lsn == previous_lsn => {
                return self.apply(named, placed).map(|()| true);
            }
            Held::Live { lsn } => return Err(placed.misfit(&format!("the key has LSN {lsn}"))),
            Held::Tombstone => return Err(placed.misfit("the key is deleted")),
            Held::Nothing if self.rebuild.marks.contain(named) => return Ok(false),
            Held::Nothing => {}
        }
        match self.bases.cold_version(named) {
            None => {
                self.rebuild.marks.insert(named);
                Ok(false)
            }
            Some(cold) if cold.lsn >= placed.lsn => Ok(false),
            Some(cold) if cold.lsn == previous_lsn => {
                let entry = promoted(named, cold.clone());
                insert(self.rebuild.keyspace, self.shard(named), named, entry);
                self.apply(named, placed).map(|()| true)
            }
            Some(cold) => Err(placed.misfit(&format!("its cold record has LSN {}", cold.lsn))),
        }
    }

    /// The deadline of the cold record of a key that is replaced or deleted, if there is one. If it is the very version
    /// that goes, its deadline is counted no more.
    fn replaced_version(&mut self, named: Named<'_>, previous_lsn: u64) -> Option<Option<u64>> {
        let cold = self.bases.cold_version(named)?;
        let (lsn, deadline_ms) = (cold.lsn, cold.deadline_ms);
        if lsn == previous_lsn && deadline_ms.is_some() {
            self.shard(named).table_mut(named.database).deadline_balance -= 1;
        }
        Some(deadline_ms)
    }

    /// By how much the effect changes the number of keys, as far as that was not counted at the start.
    fn counted(&self, placed: &Placed<'_>) -> i64 {
        match self.rebuild.phase {
            Phase::Start => key_change(&placed.record),
            Phase::Serving => 0,
        }
    }

    /// Runs the effect, and counts the key as the log says.
    fn apply(&mut self, named: Named<'_>, placed: &Placed<'_>) -> Result<(), InternalError> {
        let former_balance = self.shard(named).table_mut(named.database).key_balance;
        let applied = self
            .keys
            .apply(named.key, placed.record.effect)
            .map_err(|error| placed.misfit(error.text()));
        self.keys.commit();
        let change = self.counted(placed);
        self.shard(named).table_mut(named.database).key_balance = former_balance + change;
        applied.map(drop)
    }
}

/// A key's entry as its cold record has it.
fn promoted(named: Named<'_>, cold: ColdVersion) -> Entry {
    let mut entry = match cold.value.as_text() {
        Some(text) => Entry::new(named.key, NewBody::Text(text), cold.deadline_ms),
        None => Entry::new(named.key, NewBody::Boxed(cold.value), cold.deadline_ms),
    };
    entry.set_lsn(cold.lsn);
    entry.set_cold_record(true);
    entry.set_clean(true);
    entry
}

fn insert(keyspace: &Keyspace, shard: &mut Shard, named: Named<'_>, entry: Entry) {
    let placement = keyspace.placement();
    shard
        .table_mut(named.database)
        .insert(named.hash, entry, |key| placement.hash(key));
}
