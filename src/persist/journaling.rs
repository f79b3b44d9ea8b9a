//! The log, or the lack of one, as the rest of the server uses it.

use super::log::{Log, LogStatistics, NoLog, Rotation, SyncPolicy};
use crate::error::InternalError;
use crate::keyspace::Recorder;
use std::sync::Arc;

/// What numbers the changes, and perhaps keeps them. Cheap to clone.
#[derive(Clone)]
pub enum Journaling {
    /// `appendonly yes`.
    Log(Arc<Log>),
    /// `appendonly no`.
    None(Arc<Unlogged>),
}

/// A server without a log.
pub struct Unlogged {
    /// Hands out LSNs.
    pub counter: Arc<NoLog>,
    /// The number that a log's first segment would get; snapshots name it, so that older segments do not count.
    pub segment_number: u64,
}

impl Journaling {
    /// A server without a log, whose next change gets `next_lsn`.
    pub fn without_log(next_lsn: u64, segment_number: u64) -> Journaling {
        let counter = Arc::new(NoLog::starting_at(next_lsn));
        Journaling::None(Arc::new(Unlogged {
            counter,
            segment_number,
        }))
    }

    /// What commands append to.
    pub fn recorder(&self) -> Arc<dyn Recorder> {
        match self {
            Journaling::Log(log) => log.clone(),
            Journaling::None(unlogged) => unlogged.counter.clone(),
        }
    }

    /// The log, if there is one.
    pub fn log(&self) -> Option<&Arc<Log>> {
        match self {
            Journaling::Log(log) => Some(log),
            Journaling::None(_) => None,
        }
    }

    /// The newest LSN; 0 before the first.
    pub fn last_lsn(&self) -> u64 {
        match self {
            Journaling::Log(log) => log.last_lsn(),
            Journaling::None(unlogged) => unlogged.counter.last_lsn(),
        }
    }

    /// Blocks until the log is durable up to this LSN: the write-ahead rule. Without a log there is nothing to wait for.
    ///
    /// # Errors
    /// The log has failed.
    pub fn ensure_durable(&self, lsn: u64) -> Result<(), InternalError> {
        self.log().map_or(Ok(()), |log| log.ensure_durable(lsn))
    }

    /// Waits until the log is durable up to this LSN.
    ///
    /// # Errors
    /// The log has failed.
    pub async fn wait_durable(&self, lsn: u64) -> Result<(), InternalError> {
        match self {
            Journaling::Log(log) => log.wait_durable(lsn).await,
            Journaling::None(_) => Ok(()),
        }
    }

    /// Sets `appendfsync`.
    pub fn set_sync_policy(&self, policy: SyncPolicy) {
        if let Some(log) = self.log() {
            log.set_sync_policy(policy);
        }
    }

    /// False while writes are refused because of the log.
    pub fn is_writable(&self) -> bool {
        self.log().is_none_or(|log| log.is_writable())
    }

    /// Figures for INFO; zeros without a log.
    pub fn statistics(&self) -> LogStatistics {
        self.log().map(|log| log.statistics()).unwrap_or_default()
    }

    /// True if the log behind the newest snapshot has more than `minimum_bytes`, and more than `percent` of the snapshot's
    /// size: then a new one shortens the next start. With `percent` 0 it never is.
    pub fn log_outgrew(&self, percent: u64, minimum_bytes: u64) -> bool {
        let Some(log) = self.log() else { return false };
        let statistics = log.statistics();
        let limit = minimum_bytes.max(statistics.snapshot_bytes / 100 * percent);
        percent > 0 && statistics.bytes_since_rotation > limit
    }

    /// Makes a file ready for [`Journaling::rotate`], without shard locks.
    ///
    /// # Errors
    /// The disk is full.
    pub fn prepare_rotation(&self) -> Result<(), InternalError> {
        self.log().map_or(Ok(()), |log| log.prepare_rotation())
    }

    /// A snapshot's cut, under all shard locks; `None`: prepare again.
    pub fn rotate(&self) -> Option<Rotation> {
        match self {
            Journaling::Log(log) => log.rotate(),
            Journaling::None(unlogged) => {
                let (segment_number, last_lsn) =
                    (unlogged.segment_number, unlogged.counter.last_lsn());
                Some(Rotation {
                    segment_number,
                    last_lsn,
                })
            }
        }
    }

    /// Syncs and ends the log's threads.
    pub fn close(&self) {
        if let Some(log) = self.log()
            && let Err(error) = log.close()
        {
            tracing::error!(%error, "the log was not synced at its end");
        }
    }
}
