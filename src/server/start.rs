//! Start and end: a data directory becomes a running server.
//!
//! The order matters: lock the directory, bind the ports (so that a port in use costs nothing), open the cold tier,
//! recover, and only then accept.

use super::bridge::{ColdBridge, LoaderBridge};
use super::key_events::ServerEvents;
use super::{LastSave, Monitors, Pause, Server, SharedSettings, cron, functions};
use crate::clock;
use crate::commands::acl::Users;
use crate::commands::latency::LatencyMonitor;
use crate::commands::slow_log::SlowLog;
use crate::commands::table;
use crate::config::Settings;
use crate::dispatch::blocked::BlockedClients;
use crate::error::InternalError;
use crate::keyspace::{Keyspace, Placement};
use crate::metrics::{ErrorCounts, WorkerMetrics};
use crate::net::Clients;
use crate::net::listener::Listeners;
use crate::net::tls::Tls;
use crate::net::worker;
use crate::persist::{
    self, ColdStore, DataDirectory, NoColdStore, Recovered, RecoveryOptions, RecoveryReport,
};
use crate::pubsub::PubSub;
use crate::tier::{Cold, ColdBudget, EventSink, Ports, Tier};
use crate::tracking::Tracking;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// A server that serves.
pub struct Running {
    server: Arc<Server>,
    shutdown: watch::Receiver<bool>,
}

/// Opens and recovers the data directory and starts to serve.
///
/// # Errors
/// A port in use, a directory that is locked, read-only or of a newer format, or damage.
pub fn start(settings: Settings) -> Result<Running, InternalError> {
    if !settings.renamed_commands.is_empty() {
        table::rename(renamed_commands(&settings)?).map_err(InternalError::Other)?;
    }
    let users = super::users::load(&settings)?;
    let tls = Tls::new(&settings)?;
    let listeners = Listeners::bind(&settings)?;
    let directory = DataDirectory::open(&settings.dir)?;
    let functions_path = directory.path().join(functions::FILE_NAME);
    let libraries = functions::read(&functions_path)?;
    let placement = Placement::new(directory.hash_seed());
    let keyspace = Arc::new(Keyspace::new(settings.databases as u32, placement));
    let cold = match settings.maxdisk_bytes {
        Some(0) => None,
        _ => Some(Arc::new(Cold::open(
            directory.cold_path(),
            ColdBudget::for_maxmemory(settings.maxmemory_bytes),
        )?)),
    };
    if cold.is_some() {
        warn_of_small_memory(settings.maxmemory_bytes);
    }
    if settings.asks_for_replicas() {
        tracing::warn!(
            "min-replicas-to-write is set and there are no replicas: all writes are refused"
        );
    }
    let bridge = cold
        .as_ref()
        .map(|cold| Arc::new(ColdBridge::new(Arc::clone(cold))));
    let recovered = recover(
        directory,
        &keyspace,
        bridge.clone(),
        cold.as_ref(),
        &settings,
    )?;
    let server = assemble(
        settings,
        (users, tls),
        keyspace,
        cold,
        recovered,
        functions_path,
    );
    server.scripts.set_libraries(libraries);
    if let Some(bridge) = bridge {
        bridge.set_tier(&server.tier);
    }
    let shutdown = server.shutdown.subscribe();
    server.snapshotter.settle_journaling()?;
    serve(&server, listeners)?;
    Ok(Running { server, shutdown })
}

fn warn_of_small_memory(maxmemory_bytes: u64) {
    const ENOUGH_BYTES: u64 = 24 << 20;
    if (1..ENOUGH_BYTES).contains(&maxmemory_bytes) {
        tracing::warn!(
            maxmemory_bytes,
            "maxmemory is less than the 24 MiB that the server itself and its cold tier work well with: hardly any key stays in memory, writes go at the disk's pace, and below 4 MiB they are refused"
        );
    }
}

/// Pairs of the former and the new name of commands.
fn renamed_commands(settings: &Settings) -> Result<Vec<(String, String)>, InternalError> {
    let pair = |line: &Vec<String>| match line.as_slice() {
        [from, to] => Ok((from.clone(), to.clone())),
        _ => Err(InternalError::Other(
            "rename-command takes a command and its new name".into(),
        )),
    };
    settings.renamed_commands.iter().map(pair).collect()
}

fn recover(
    directory: DataDirectory,
    keyspace: &Arc<Keyspace>,
    bridge: Option<Arc<ColdBridge>>,
    cold: Option<&Arc<Cold>>,
    settings: &Settings,
) -> Result<Recovered, InternalError> {
    let store: Arc<dyn ColdStore> = match bridge {
        Some(bridge) => bridge,
        None => Arc::new(NoColdStore),
    };
    let mut options = RecoveryOptions {
        append_only: settings.appendonly,
        snapshot_keep: settings.snapshot_keep as usize,
        sync_policy: Server::sync_policy(settings),
        ..RecoveryOptions::default()
    };
    if settings.maxmemory_bytes > 0 {
        // What is replayed while the server serves has to find room beside what is there.
        const SHARE_OF_MEMORY: u64 = 4;
        options.pending_bytes_max = settings.maxmemory_bytes / SHARE_OF_MEMORY;
    }
    // Tiers of its own, without threads: what is replayed is durable, and nobody else is at work yet.
    let ports = Ports {
        recorder: Arc::new(persist::NoLog::starting_at(1)),
        durability: Arc::new(()),
        loader: Arc::new(()),
        events: Arc::new(()),
    };
    let tier = Tier::new(
        Arc::clone(keyspace),
        cold.cloned(),
        ports,
        Server::tier_settings(settings),
    );
    persist::recover(directory, keyspace, &store, options, &|| {
        relieve_memory(&tier, keyspace)
    })
}

/// Keeps the replay of a log that is larger than memory inside its limit: everything replayed so far goes cold.
fn relieve_memory(tier: &Tier, keyspace: &Keyspace) {
    tier.budget().sample();
    if tier.cold().is_none() || !tier.budget().is_high() {
        return;
    }
    for database in 0..keyspace.databases() {
        if let Err(error) = tier.demote_all(database) {
            tracing::error!(%error, "keys could not be demoted while the log was replayed");
        }
    }
}

/// What the tiers need of the rest.
fn ports(recovered: &Recovered, keyspace: &Arc<Keyspace>, events: Arc<ServerEvents>) -> Ports {
    let lazy = Arc::clone(&recovered.lazy);
    Ports {
        events,
        recorder: recovered.journaling.recorder(),
        durability: Arc::new(recovered.journaling.clone()),
        loader: Arc::new(LoaderBridge::new(lazy, Arc::clone(keyspace))),
    }
}

fn assemble(
    settings: Settings,
    (users, tls): (Users, Tls),
    keyspace: Arc<Keyspace>,
    cold: Option<Arc<Cold>>,
    recovered: Recovered,
    functions_path: PathBuf,
) -> Arc<Server> {
    let events = Arc::new(ServerEvents::default());
    let ports = ports(&recovered, &keyspace, Arc::clone(&events));
    let tier_settings = Server::tier_settings(&settings);
    let tier = Tier::new(Arc::clone(&keyspace), cold, ports, tier_settings);
    let metrics = || Arc::new(WorkerMetrics::new(table::listed().len()));
    let workers = (0..settings.thread_count()).map(|_| metrics()).collect();
    let started_ms = clock::now_ms();
    let last_save = LastSave {
        at_ms: started_ms,
        changes: 0,
        succeeded: true,
        tried_ms: 0,
    };
    let clients = Arc::new(Clients::default());
    clients.set_limits(&settings);
    let tracking = Tracking::default();
    tracking.set_keys_max(&clients, settings.tracking_keys_max);
    let server = Arc::new_cyclic(|this| Server {
        recorder: recovered.journaling.recorder(),
        lazy: recovered.lazy,
        clients,
        users,
        tls,
        slow_log: SlowLog::default(),
        latency_monitor: LatencyMonitor::default(),
        error_counts: ErrorCounts::default(),
        inside: metrics(),
        blocked: BlockedClients::default(),
        monitors: Monitors::default(),
        tracking,
        pause: Pause::default(),
        pubsub: PubSub::default(),
        scripts: Default::default(),
        functions_path,
        lazy_free: Default::default(),
        job_errors: AtomicU64::new(0),
        journaling: recovered.journaling,
        snapshotter: recovered.snapshotter,
        report: recovered.report,
        workers,
        background: metrics(),
        background_turn: Mutex::default(),
        started_ms,
        run_id: run_id(started_ms),
        listening: OnceLock::new(),
        last_save: Mutex::new(last_save),
        background_save: AtomicBool::new(false),
        save_again: AtomicBool::new(false),
        operations: Mutex::default(),
        cron_is_paused: AtomicBool::new(false),
        shutdown: watch::Sender::new(false),
        this: this.clone(),
        settings: SharedSettings::new(settings),
        keyspace,
        tier,
    });
    events.set_server(&server);
    if let Some(log) = server.journaling.log() {
        log.observe_syncs(Box::new(move |took| events.took("aof-fsync-always", took)));
    }
    server
}

/// Address space of a worker's stack. A script within a transaction runs on it, and may nest tables 1000 deep.
const WORKER_STACK_BYTES: usize = 16 << 20;

fn serve(server: &Arc<Server>, listeners: Listeners) -> Result<(), InternalError> {
    let no_thread = |error| InternalError::Other(format!("cannot start a thread: {error}"));
    Tier::start(&server.tier)?;
    let mut senders = Vec::new();
    for (number, metrics) in server.workers.iter().enumerate() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (server, metrics) = (Arc::clone(server), Arc::clone(metrics));
        let run = move || {
            if let Err(error) = worker::run(server, metrics, receiver) {
                tracing::error!(%error, "a worker could not start");
            }
        };
        std::thread::Builder::new()
            .name(format!("larder-{number}"))
            .stack_size(WORKER_STACK_BYTES)
            .spawn(run)
            .map_err(no_thread)?;
        senders.push(sender);
    }
    let listening = listeners.serve(senders).map_err(no_thread)?;
    server.listening.get_or_init(|| listening);
    let periodic = Arc::clone(server);
    std::thread::Builder::new()
        .name("larder-cron".into())
        .spawn(move || cron::run(&periodic))
        .map_err(no_thread)?;
    Ok(())
}

/// How long the end of the server waits for a script that does not end.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(1);

impl Running {
    /// For tests: the server itself.
    #[cfg(test)]
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The port that is listened on.
    pub fn port(&self) -> u16 {
        self.server.settings.current().0.port
    }

    /// What the start found in the directory.
    pub fn report(&self) -> &RecoveryReport {
        &self.server.report
    }

    /// Keys in all tiers of all databases.
    pub fn keys(&self) -> u64 {
        (0..self.server.keyspace.databases())
            .map(|database| self.server.keyspace.key_counts(database).0)
            .sum()
    }

    /// Waits for SHUTDOWN or a signal, then closes the log. A signal takes a snapshot first, as SHUTDOWN does.
    pub fn wait(mut self) -> Result<(), InternalError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime
            .map_err(|error| InternalError::Other(format!("cannot start a runtime: {error}")))?;
        let by_signal = runtime.block_on(async {
            tokio::select! {
                _ = self.shutdown.wait_for(|over| *over) => false,
                () = signal() => true,
            }
        });
        if by_signal {
            tracing::info!("a signal ends the server");
            if !self.scripts_end() {
                tracing::warn!(
                    "no snapshot at shutdown: a script that has written does not end; the log has what was acknowledged"
                );
            } else if let Err(error) = self.server.final_snapshot() {
                tracing::error!(%error, "the snapshot at shutdown failed");
            }
        }
        // Threads of the tiers may wait for what a script holds that does not end. They end with the process then.
        let (slow, asked) = (&self.server.scripts.slow, Instant::now());
        let is_stopped = self
            .server
            .tier
            .stop_unless(&|| slow.any() && asked.elapsed() > SCRIPT_PATIENCE);
        self.server.journaling.close();
        match is_stopped {
            true => self.server.snapshotter.note_clean_shutdown(),
            false => Ok(()),
        }
    }

    /// Ends the scripts that run for too long, or waits for them. False if one has written and goes on: it cannot be ended without
    /// leaving half of its work, and where there is a log nothing acknowledged is lost without it.
    fn scripts_end(&self) -> bool {
        const NEXT_LOOK: Duration = Duration::from_millis(10);
        let (slow, asked) = (&self.server.scripts.slow, Instant::now());
        let has_log = self.server.settings.current().0.appendonly;
        while slow.any() {
            slow.kill_what_can_be();
            if has_log && asked.elapsed() > SCRIPT_PATIENCE {
                return false;
            }
            std::thread::sleep(NEXT_LOOK);
        }
        true
    }
}

/// Waits for SIGTERM or SIGINT.
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

/// 40 hexadecimal digits that name this run.
fn run_id(started_ms: u64) -> String {
    let mut state = started_ms ^ u64::from(std::process::id()) << 40;
    let mut digits = String::new();
    while digits.len() < 40 {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        digits.push_str(&format!("{:08x}", state >> 32));
    }
    digits
}
