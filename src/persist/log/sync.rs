//! Making records durable: one thread syncs, any number of waiters share each sync.
//!
//! A sync covers everything appended before it began: the finished segments first, then the active one, so that a synced
//! record never stands behind one that is not. Once a sync has failed the kernel may have dropped pages, and no later
//! success means anything: the log is failed for good, writes are refused, reads go on.

use super::SyncPolicy;
use super::append::Shared;
use super::segment::SegmentFile;
use crate::error::InternalError;
use crate::keyspace::lock_watch;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

const EVERY_SECOND: Duration = Duration::from_secs(1);

struct Requests {
    policy: SyncPolicy,
    /// Somebody waits for this LSN.
    wanted_lsn: u64,
    stopped: bool,
    failure: Option<String>,
}

/// See the module's comment.
pub struct Syncer {
    requests: Mutex<Requests>,
    requested: Condvar,
    /// Closed segments whose ends are not synced yet, with those ends.
    finished: Mutex<Vec<(Arc<SegmentFile>, usize)>>,
    /// The durable LSN; also says when the log has failed, by a wake-up.
    durable: watch::Sender<u64>,
    durable_lsn: AtomicU64,
    advanced: Condvar,
    has_failed: AtomicBool,
    syncs: AtomicU64,
    /// Hears how long a sync took that replies waited for.
    observer: OnceLock<SyncObserver>,
}

/// Is told how long a sync took.
pub type SyncObserver = Box<dyn Fn(Duration) + Send + Sync>;

impl Syncer {
    /// A syncer for a log of which everything up to `durable_lsn` is synced.
    pub fn new(policy: SyncPolicy, durable_lsn: u64) -> Syncer {
        Syncer {
            requests: Mutex::new(Requests {
                policy,
                wanted_lsn: 0,
                stopped: false,
                failure: None,
            }),
            requested: Condvar::new(),
            finished: Mutex::new(Vec::new()),
            durable: watch::Sender::new(durable_lsn),
            durable_lsn: AtomicU64::new(durable_lsn),
            advanced: Condvar::new(),
            has_failed: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            observer: OnceLock::new(),
        }
    }

    /// Everything up to this LSN is durable.
    pub fn durable_lsn(&self) -> u64 {
        self.durable_lsn.load(Ordering::Acquire)
    }

    /// Completed syncs.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// The policy in force.
    pub fn policy(&self) -> SyncPolicy {
        self.requests.lock().policy
    }

    /// Changes the policy.
    pub fn set_policy(&self, policy: SyncPolicy) {
        self.requests.lock().policy = policy;
        self.requested.notify_all();
    }

    /// Has `observer` told of each sync under the policy [`SyncPolicy::Always`]. The first one counts.
    pub fn observe(&self, observer: SyncObserver) {
        // A second observer of one log would be that of a second server.
        let _ = self.observer.set(observer);
    }

    /// For tests: no sync ends before this is dropped.
    #[cfg(test)]
    pub(super) fn hold(&self) -> parking_lot::MutexGuard<'_, Vec<(Arc<SegmentFile>, usize)>> {
        self.finished.lock()
    }

    /// True once a sync has failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Why the log has failed.
    pub fn failure(&self) -> Option<String> {
        self.requests.lock().failure.clone()
    }

    /// The log cannot be trusted with anything more.
    pub fn fail(&self, reason: String) {
        let mut requests = self.requests.lock();
        if requests.failure.is_none() {
            tracing::error!(%reason, "the log has failed: writes are refused until the server is restarted");
            requests.failure = Some(reason);
        }
        self.has_failed.store(true, Ordering::Relaxed);
        self.advanced.notify_all();
        self.durable.send_modify(|_| ());
    }

    /// A segment was closed; the next sync covers it first.
    pub fn note_finished(&self, file: Arc<SegmentFile>, end: usize) {
        self.finished.lock().push((file, end));
    }

    fn request(&self, lsn: u64) {
        let mut requests = self.requests.lock();
        if requests.wanted_lsn < lsn {
            requests.wanted_lsn = lsn;
            self.requested.notify_one();
        }
    }

    fn failed_error(&self) -> InternalError {
        let reason = self
            .failure()
            .unwrap_or_else(|| "the log is closed".to_owned());
        InternalError::Other(format!("the log has failed: {reason}"))
    }

    /// Blocks until the LSN is durable.
    pub fn ensure_durable(&self, lsn: u64) -> Result<(), InternalError> {
        if self.durable_lsn() >= lsn {
            return Ok(());
        }
        lock_watch::waits("a sync of the log");
        self.request(lsn);
        let mut requests = self.requests.lock();
        while self.durable_lsn() < lsn && requests.failure.is_none() && !requests.stopped {
            self.advanced.wait(&mut requests);
        }
        drop(requests);
        if self.durable_lsn() >= lsn {
            Ok(())
        } else {
            Err(self.failed_error())
        }
    }

    /// Waits until the LSN is durable, on any runtime.
    pub async fn wait_durable(&self, lsn: u64) -> Result<(), InternalError> {
        if self.durable_lsn() >= lsn {
            return Ok(());
        }
        let mut durable = self.durable.subscribe();
        self.request(lsn);
        while self.durable_lsn() < lsn {
            let is_over = self.has_failed() || self.requests.lock().stopped;
            if is_over || durable.changed().await.is_err() {
                return Err(self.failed_error());
            }
        }
        Ok(())
    }

    /// Blocks until there is something to sync; false when it is time to end.
    fn wait_for_work(&self, last_sync: Instant) -> bool {
        let mut requests = self.requests.lock();
        loop {
            let failed = requests.failure.is_some();
            if requests.stopped {
                return false;
            }
            if !failed && requests.wanted_lsn > self.durable_lsn() {
                return true;
            }
            match requests.policy {
                SyncPolicy::Never => self.requested.wait(&mut requests),
                _ if failed => self.requested.wait(&mut requests),
                SyncPolicy::Always | SyncPolicy::EverySecond => {
                    let due = last_sync + EVERY_SECOND;
                    if Instant::now() >= due {
                        return true;
                    }
                    self.requested.wait_until(&mut requests, due);
                }
            }
        }
    }

    fn publish(&self, lsn: u64) {
        let requests = self.requests.lock();
        self.durable_lsn.fetch_max(lsn, Ordering::AcqRel);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        drop(requests);
        self.advanced.notify_all();
        self.durable.send_replace(lsn);
    }

    /// Ends [`Shared::run_syncs`] and wakes all who wait.
    pub fn stop(&self) {
        self.requests.lock().stopped = true;
        self.requested.notify_all();
        self.advanced.notify_all();
        self.durable.send_modify(|_| ());
    }
}

impl Shared {
    /// Syncs as the policy and the waiters want; the body of a thread.
    pub(super) fn run_syncs(&self) {
        let mut last_sync = Instant::now();
        while self.syncer.wait_for_work(last_sync) {
            last_sync = Instant::now();
            if let Err(error) = self.sync_once() {
                self.syncer.fail(error.to_string());
            }
        }
    }

    fn sync_once(&self) -> Result<(), InternalError> {
        let (active, position, lsn) = self.sync_target();
        if lsn <= self.syncer.durable_lsn() {
            return Ok(());
        }
        let finished = std::mem::take(&mut *self.syncer.finished.lock());
        let started = Instant::now();
        for (file, end) in &finished {
            file.sync(*end)?;
        }
        active.sync(position)?;
        let took = started.elapsed();
        self.syncer.publish(lsn);
        if let Some(observer) = self.syncer.observer.get()
            && self.syncer.policy() == SyncPolicy::Always
        {
            observer(took);
        }
        Ok(())
    }
}
