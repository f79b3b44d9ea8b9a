//! The server: what the parts share, and how they are put together.
//!
//! Nothing else knows all the rooms. `start` opens and recovers a data directory and starts the threads; `services`
//! is what commands ask for; `info` writes INFO; `cron` does what is due from time to time.

mod bridge;
mod cron;
#[cfg(test)]
mod durability_tests;
mod functions;
mod info;
mod key_events;
mod key_jobs;
mod lazy_free;
mod messaging;
mod monitor;
mod observation;
mod other_server;
mod pause;
mod services;
mod settings;
mod start;
mod users;

use crate::clock;
use crate::commands::acl::Users;
use crate::commands::latency::LatencyMonitor;
use crate::commands::slow_log::SlowLog;
use crate::config::{EvictionPolicy, Settings};
use crate::dispatch::blocked::BlockedClients;
use crate::keyspace::{Keyspace, Recorder};
use crate::metrics::{ErrorCounts, WorkerMetrics};
use crate::net::Clients;
use crate::persist::{Journaling, LazySnapshot, RecoveryReport, Snapshotter};
use crate::pubsub::PubSub;
use crate::tier::Tier;
use crate::tracking::Tracking;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use monitor::Monitors;
pub use pause::Pause;
pub use settings::SharedSettings;
pub use start::{Running, start};

/// What all threads share.
pub struct Server {
    /// The hot tier.
    pub keyspace: Arc<Keyspace>,
    /// The settings in force.
    pub settings: SharedSettings,
    /// Warm and cold tier, demotion, expiry, the memory budget.
    pub tier: Arc<Tier>,
    /// Where effects go.
    pub recorder: Arc<dyn Recorder>,
    /// Snapshot blocks that are not loaded yet.
    pub lazy: Arc<LazySnapshot>,
    /// The clients.
    pub clients: Arc<Clients>,
    /// Scripts and functions.
    pub scripts: crate::commands::script::store::ScriptStore,
    /// Users and what they may do.
    pub users: Users,
    /// What connections on `tls-port` are accepted with.
    pub tls: crate::net::tls::Tls,
    /// What took long.
    pub slow_log: SlowLog,
    /// Spikes.
    pub latency_monitor: LatencyMonitor,
    /// Error replies by code.
    pub error_counts: ErrorCounts,
    /// Counters of commands that ran inside others, on any thread.
    inside: Arc<WorkerMetrics>,
    /// Who waits in a blocking command.
    pub blocked: BlockedClients,
    /// MONITOR.
    pub monitors: Monitors,
    /// CLIENT TRACKING.
    pub tracking: Tracking,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Who listens to which channel.
    pub pubsub: PubSub,
    /// Frees large values.
    pub lazy_free: lazy_free::LazyFree,
    /// Errors that jobs replied with.
    pub job_errors: AtomicU64,
    /// Where the libraries of functions are kept.
    functions_path: std::path::PathBuf,
    journaling: Journaling,
    snapshotter: Arc<Snapshotter>,
    report: RecoveryReport,
    workers: Vec<Arc<WorkerMetrics>>,
    /// Counts what commands do that run on no worker's thread.
    background: Arc<WorkerMetrics>,
    /// Whose turn it is to serve waiting clients and count there. Held while shards are waited for, so that nobody may want it
    /// who has any.
    background_turn: Mutex<()>,
    started_ms: u64,
    run_id: String,
    /// Set once connections are accepted.
    listening: std::sync::OnceLock<crate::net::listener::Listening>,
    last_save: Mutex<LastSave>,
    background_save: AtomicBool,
    operations: Mutex<cron::Rates>,
    /// DEBUG PAUSE-CRON.
    cron_is_paused: AtomicBool,
    /// BGSAVE SCHEDULE while a snapshot was running: take another one after it.
    save_again: AtomicBool,
    /// This server, for threads that outlive a call.
    this: std::sync::Weak<Server>,
    /// Where `main` waits for the end.
    shutdown: tokio::sync::watch::Sender<bool>,
}

/// What `save` rules and INFO compare with.
#[derive(Clone, Copy, Debug)]
struct LastSave {
    /// Unix milliseconds of the last complete snapshot (or of the start).
    at_ms: u64,
    /// The changes that it holds.
    changes: u64,
    succeeded: bool,
    /// Unix milliseconds of the last try.
    tried_ms: u64,
}

impl Server {
    /// True if clients need no password.
    pub fn password_is_empty(&self) -> bool {
        self.users.default_needs_no_password()
    }

    /// Waits until the log is durable past `lsn`.
    ///
    /// # Errors
    /// The log cannot be synced: what was written must not be acknowledged.
    pub async fn wait_durable(&self, lsn: u64) -> Result<(), crate::error::InternalError> {
        self.journaling.wait_durable(lsn).await
    }

    /// The LFU log factor while an LFU policy is in force.
    pub fn frequency_log_factor(settings: &Settings) -> Option<u32> {
        let is_lfu = matches!(
            settings.maxmemory_policy,
            EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu
        );
        is_lfu.then_some(settings.lfu_log_factor as u32)
    }

    /// Changes of keys since the start.
    fn changes(&self) -> u64 {
        self.sum(|worker| &worker.changes)
    }

    fn sum(&self, counter: impl Fn(&WorkerMetrics) -> &AtomicU64) -> u64 {
        let workers = self.workers.iter().map(|worker| &**worker);
        let others = [&*self.inside, &*self.background];
        crate::metrics::sum(workers.chain(others), &counter)
    }

    /// Takes a snapshot on this thread and notes how it went.
    fn take_snapshot(&self) -> Result<(), crate::error::InternalError> {
        let changes = self.changes();
        let tried_ms = clock::now_ms();
        let result = self.snapshotter.take();
        let mut last = self.last_save.lock();
        last.tried_ms = tried_ms;
        last.succeeded = result.is_ok();
        if result.is_ok() {
            (last.at_ms, last.changes) = (clock::now_ms(), changes);
        }
        result.map(|_| ())
    }

    /// The snapshot at the end: waits for one that is being taken, then takes the last.
    fn final_snapshot(&self) -> Result<(), crate::error::InternalError> {
        while self.background_save.swap(true, Ordering::AcqRel) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let result = self.take_snapshot();
        self.background_save.store(false, Ordering::Release);
        result
    }

    /// Takes a snapshot on a thread of its own; false if one is being taken.
    fn start_background_save(self: &Arc<Server>) -> bool {
        if self.background_save.swap(true, Ordering::AcqRel) {
            return false;
        }
        let server = Arc::clone(self);
        let run = move || {
            if let Err(error) = server.take_snapshot() {
                tracing::error!(%error, "the snapshot failed");
            }
            server.background_save.store(false, Ordering::Release);
            if server.save_again.swap(false, Ordering::AcqRel) {
                server.start_background_save();
            }
        };
        match std::thread::Builder::new()
            .name("larder-snapshot".into())
            .spawn(run)
        {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "no thread for the snapshot");
                self.background_save.store(false, Ordering::Release);
                false
            }
        }
    }
}
