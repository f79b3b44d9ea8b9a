//! What a start does with the log behind the snapshot: replays it, on several threads, or leaves it to be replayed later.
//!
//! The log comes as pieces ([`super::log::index`]): stretches, in which parts of the keyspace are independent of each other, and
//! barriers between them. A stretch is replayed by all threads together, each taking whole shards. The result is what
//! replaying record after record would give, down to the error: of all failures the first in the log's order counts.
//!
//! What is left for later is given to [`LazySnapshot`] at the end. Its keys are counted here, so that DBSIZE is right from
//! the first answer on.

use super::cold_store::ColdStore;
use super::lazy_snapshot::LazySnapshot;
use super::log::index::{Piece, Stretch, first_hash_of, records_of};
use super::parallel;
use super::rebuild::{Failure, Phase, Rebuild};
use super::recovery::RecoveryReport;
use crate::error::InternalError;
use crate::keyspace::Keyspace;

/// See the module's comment.
pub(super) struct Tail<'a> {
    keyspace: &'a Keyspace,
    lazy: &'a LazySnapshot,
    rebuild: Rebuild<'a>,
    workers: usize,
    pending: Vec<Stretch>,
    records: u64,
}

impl<'a> Tail<'a> {
    pub(super) fn new(
        keyspace: &'a Keyspace,
        cold: &'a dyn ColdStore,
        lazy: &'a LazySnapshot,
        workers: usize,
    ) -> Tail<'a> {
        Tail {
            keyspace,
            lazy,
            rebuild: Rebuild::new(keyspace, cold, lazy, Phase::Start),
            workers,
            pending: Vec::new(),
            records: 0,
        }
    }

    /// Takes the next pieces, and replays all of them up to the last barrier.
    ///
    /// # Errors
    /// Damage.
    pub(super) fn take(
        &mut self,
        pieces: Vec<Piece>,
        relieve_memory: &dyn Fn(),
    ) -> Result<(), InternalError> {
        for piece in pieces {
            match piece {
                Piece::Stretch(stretch) => {
                    self.records += stretch.records;
                    self.pending.push(stretch);
                }
                Piece::Barrier(barrier) => {
                    self.replay_all(relieve_memory)?;
                    self.records += 1;
                    if let Some(record) = barrier.record() {
                        self.rebuild
                            .replay_record(&record)
                            .map_err(|failure| failure.error)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Records that were taken and not replayed.
    pub(super) fn pending_records(&self) -> u64 {
        self.pending.iter().map(|stretch| stretch.records).sum()
    }

    /// Replays all that was taken.
    ///
    /// # Errors
    /// Damage.
    pub(super) fn replay_all(&mut self, relieve_memory: &dyn Fn()) -> Result<(), InternalError> {
        for stretch in std::mem::take(&mut self.pending) {
            relieve_memory();
            self.replay_stretch(&stretch)
                .map_err(|failure| failure.error)?;
        }
        Ok(())
    }

    fn replay_stretch(&self, stretch: &Stretch) -> Result<(), Failure> {
        let parts: Vec<usize> = stretch.parts().collect();
        let shard_of = |part: &usize| Keyspace::shard_of(first_hash_of(*part));
        let shards: Vec<&[usize]> = parts
            .chunk_by(|one, other| shard_of(one) == shard_of(other))
            .collect();
        let failures = parallel::map(shards.len(), self.workers, |number| {
            let parts = shards[number].iter();
            let replayed = parts.map(|part| {
                let records = records_of(std::slice::from_ref(stretch), *part);
                self.rebuild.replay_part(*part, records)
            });
            replayed
                .filter_map(Result::err)
                .min_by_key(|failure| failure.place)
        });
        let first = failures
            .into_iter()
            .flatten()
            .min_by_key(|failure| failure.place);
        first.map_or(Ok(()), Err)
    }

    /// Ends the reading of the log; what is pending stays so, as long as nothing about it is in doubt.
    ///
    /// # Errors
    /// Damage.
    pub(super) fn finish(
        mut self,
        report: &mut RecoveryReport,
        relieve_memory: &dyn Fn(),
    ) -> Result<(), InternalError> {
        let changes = self.pending.iter().flat_map(|stretch| &stretch.key_changes);
        let is_addressed =
            |(generation, _): &(u32, i64)| self.keyspace.database_of(*generation).is_some();
        if !self.rebuild.is_settled() || !changes.clone().all(is_addressed) {
            self.replay_all(relieve_memory)?;
        }
        for (generation, change) in self.pending.iter().flat_map(|stretch| &stretch.key_changes) {
            if let Some(database) = self.keyspace.database_of(*generation) {
                self.keyspace.add_base_keys(database, *change);
            }
        }
        report.records = self.records;
        report.records_pending = self.pending_records();
        (report.effects_applied, report.effects_skipped) = self.rebuild.counts();
        self.rebuild.finish()?;
        if !self.pending.is_empty() {
            self.lazy.set_pending_log(self.pending);
        }
        Ok(())
    }
}
