//! The end of the log that a start has read, checked and indexed, but not replayed: that is done part by part, when a key of the
//! part is first touched, and by a background pass.
//!
//! Until then nobody may judge a key of the part: [`super::lazy_snapshot`] is where everybody asks. A part's effects are replayed
//! once, by one thread; whoever else wants one of its keys waits for that (a part of a million records of 1 kB: half a
//! millisecond).
//!
//! What is damaged in the log itself was found when it was read. An effect that does not fit its base is found here only: the
//! part then stays as it is, and commands on its keys fail.

use super::cold_store::ColdStore;
use super::lazy_snapshot::LazySnapshot;
use super::log::index::{PARTS, Stretch, records_of};
use super::rebuild::{Phase, Rebuild};
use crate::error::InternalError;
use crate::keyspace::Keyspace;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Locks that keep two threads from replaying the same part.
const PART_LOCKS: usize = 64;

/// See the module's comment.
pub(super) struct PendingLog {
    stretches: Vec<Stretch>,
    /// A bit for each part.
    replayed: Box<[AtomicU64]>,
    locks: Box<[Mutex<()>]>,
    left: AtomicUsize,
    cursor: AtomicUsize,
    /// Parts that cannot be replayed, and why.
    failed: Mutex<HashMap<usize, String>>,
}

impl PendingLog {
    pub(super) fn new(stretches: Vec<Stretch>) -> PendingLog {
        PendingLog {
            stretches,
            replayed: (0..PARTS / 64).map(|_| AtomicU64::new(0)).collect(),
            locks: (0..PART_LOCKS).map(|_| Mutex::new(())).collect(),
            left: AtomicUsize::new(PARTS),
            cursor: AtomicUsize::new(0),
            failed: Mutex::default(),
        }
    }

    pub(super) fn is_replayed(&self, part: usize) -> bool {
        self.replayed[part / 64].load(Ordering::Acquire) >> (part % 64) & 1 == 1
    }

    /// How many parts are not replayed.
    pub(super) fn parts_left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// The part that the background pass takes next; `None` when it has been through all.
    pub(super) fn next_part(&self) -> Option<usize> {
        loop {
            let part = self.cursor.fetch_add(1, Ordering::Relaxed);
            if part >= PARTS {
                return None;
            }
            if !self.is_replayed(part) {
                return Some(part);
            }
        }
    }

    /// Replays a part, if that is not done yet. True if it was the last one. Not under shard locks.
    pub(super) fn ensure_replayed(
        &self,
        part: usize,
        keyspace: &Keyspace,
        cold: &dyn ColdStore,
        lazy: &LazySnapshot,
    ) -> Result<bool, InternalError> {
        if self.is_replayed(part) {
            return Ok(false);
        }
        let _one_at_a_time = self.locks[part % PART_LOCKS].lock();
        if self.is_replayed(part) {
            return Ok(false);
        }
        if let Some(why) = self.failed.lock().get(&part) {
            return Err(InternalError::Other(why.clone()));
        }
        let rebuild = Rebuild::new(keyspace, cold, lazy, Phase::Serving);
        let replayed = rebuild.replay_part(part, records_of(&self.stretches, part));
        let replayed = replayed.map_err(|failure| failure.error);
        if let Err(error) = replayed.and_then(|()| rebuild.finish()) {
            tracing::error!(%error, "a part of the log cannot be replayed: commands on its keys fail");
            self.failed.lock().insert(part, error.to_string());
            return Err(error);
        }
        self.replayed[part / 64].fetch_or(1 << (part % 64), Ordering::AcqRel);
        Ok(self.left.fetch_sub(1, Ordering::AcqRel) == 1)
    }
}
