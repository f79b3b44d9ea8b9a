//! `appendonly no`: changes are numbered, because entries, cold records and snapshots carry LSNs, but nothing is kept.

use crate::keyspace::Recorder;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts LSNs.
#[derive(Debug)]
pub struct NoLog {
    last_lsn: AtomicU64,
}

impl NoLog {
    /// A counter whose next record gets `next_lsn`.
    pub fn starting_at(next_lsn: u64) -> NoLog {
        NoLog {
            last_lsn: AtomicU64::new(next_lsn.saturating_sub(1)),
        }
    }

    /// The LSN of the newest record; 0 before the first.
    pub fn last_lsn(&self) -> u64 {
        self.last_lsn.load(Ordering::Acquire)
    }
}

impl Recorder for NoLog {
    fn append(&self, _effects: &[u8]) -> u64 {
        self.last_lsn.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn has_room(&self, _bytes: usize) -> bool {
        true
    }

    fn keeps_effects(&self) -> bool {
        false
    }
}
