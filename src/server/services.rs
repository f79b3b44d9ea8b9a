//! What commands ask of the server ([`Services`]): each call goes to the room that knows.

use super::Server;
use crate::commands::Session;
use crate::commands::acl::{User, Users};
use crate::commands::context::Ran;
use crate::commands::latency::{CommandLatency, LatencyMonitor};
use crate::commands::memory::MemoryReport;
use crate::commands::services::{
    ClientFilter, ScanRequest, Services, ShutdownSave, Temperature, ValueVisitor,
};
use crate::commands::slow_log::SlowLog;
use crate::config::{AppendFsync, SetError, Settings};
use crate::error::{CommandError, CommandResult, InternalError};
use crate::glob;
use crate::keyspace::{Journal, Keys};
use crate::persist::SyncPolicy;
use crate::pubsub::ChannelKind;
use crate::tier::{KeyRequest, MaxmemoryPolicy, TierSettings};
use crate::value::Value;
use std::sync::atomic::Ordering;
use storage_format::Effect;

/// An internal error as the client learns of it; the cause is logged here.
pub(super) fn failed(error: InternalError) -> CommandError {
    tracing::error!(%error, "a command failed");
    CommandError::new(format!("ERR {error}"))
}

impl Server {
    /// What the tiers need of the settings.
    pub(super) fn tier_settings(settings: &Settings) -> TierSettings {
        TierSettings {
            maxmemory_bytes: settings.maxmemory_bytes,
            maxdisk_bytes: settings.maxdisk_bytes,
            warm_percent: settings.warm_percent as u8,
            policy: MaxmemoryPolicy::from_name(settings.maxmemory_policy.name())
                .unwrap_or_default(),
            samples: settings.maxmemory_samples as u32,
        }
    }

    /// How the log is synced.
    pub(super) fn sync_policy(settings: &Settings) -> SyncPolicy {
        match settings.appendfsync {
            AppendFsync::Always => SyncPolicy::Always,
            AppendFsync::EverySecond => SyncPolicy::EverySecond,
            AppendFsync::No => SyncPolicy::Never,
        }
    }

    fn check_changeable(&self, former: &Settings, settings: &Settings) -> Result<(), CommandError> {
        // A log that runs may be switched off for the next start, and on again; one cannot begin in the middle.
        if former.appendonly == settings.appendonly || self.journaling.log().is_some() {
            return Ok(());
        }
        Err(CommandError::fixed(
            "ERR CONFIG SET failed (possibly related to argument 'appendonly') - the server was started without a log; restart it to keep one",
        ))
    }

    /// Listens on other sockets, if `port` or `bind` changed. Connections stay.
    fn listen_again(&self, former: &Settings, settings: &Settings) -> Result<(), CommandError> {
        let (name, reason) = if former.port != settings.port {
            ("port", "Unable to listen on this port. Check server logs.")
        } else if former.bind != settings.bind {
            ("bind", "Failed to bind to specified addresses.")
        } else {
            return Ok(());
        };
        let Some(listening) = self.listening.get() else {
            return Ok(());
        };
        listening.replace(former, settings).map_err(|error| {
            tracing::warn!(%error, "port and bind stay as they were");
            CommandError::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
            ))
        })
    }

    /// Reads keys and certificates anew, if one of these pairs is about TLS.
    fn configure_tls(
        &self,
        pairs: &[(&[u8], &[u8])],
        settings: &Settings,
    ) -> Result<(), CommandError> {
        let is_of_tls = |name: &[u8]| {
            name.get(..4)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"tls-"))
        };
        let Some((name, _)) = pairs.iter().find(|(name, _)| is_of_tls(name)) else {
            return Ok(());
        };
        self.tls.configure(settings).map_err(|error| {
            tracing::warn!(%error, "the TLS settings were refused");
            let name = String::from_utf8_lossy(name);
            CommandError::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration. \
                 Check server logs."
            ))
        })
    }

    /// Puts changed settings into force.
    fn apply_settings(&self, former: &Settings, settings: &Settings) {
        self.clients.set_limits(settings);
        self.tracking
            .set_keys_max(&self.clients, settings.tracking_keys_max);
        self.tier.configure(Server::tier_settings(settings));
        self.journaling
            .set_sync_policy(Server::sync_policy(settings));
        self.snapshotter.set_keep(settings.snapshot_keep as usize);
        if former.latency_tracking && !settings.latency_tracking {
            self.reset_latencies();
        }
        if former.requirepass != settings.requirepass {
            self.users.set_default_password(&settings.requirepass);
        }
    }

    /// One record under all locks; used by FLUSHALL, FLUSHDB and SWAPDB.
    fn change_databases(
        &self,
        generation: u32,
        effect: Effect<'_>,
    ) -> Result<Vec<crate::keyspace::table::Table>, CommandError> {
        const RECORD_BYTES: usize = 128;
        let mut shards = self.keyspace.lock_all();
        if !self.recorder.has_room(RECORD_BYTES) {
            return Err(CommandError::LOG_UNWRITABLE);
        }
        let mut journal = Journal::default();
        let former = match &effect {
            Effect::FlushDatabase { database } => {
                self.keyspace
                    .flush_database(&mut shards, *database, generation)
            }
            Effect::SwapDatabases { first, second } => {
                self.keyspace.swap_databases(&mut shards, *first, *second);
                Vec::new()
            }
            _ => Vec::new(),
        };
        journal.push_keyless(generation, effect, self.recorder.keeps_effects());
        self.recorder.append(journal.effects());
        Ok(former)
    }
}

impl Services for Server {
    fn scan(
        &self,
        request: ScanRequest<'_>,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, CommandError> {
        let accepts = |key: &[u8]| {
            request
                .pattern
                .is_none_or(|pattern| glob::selects(pattern, key))
        };
        let (database, cursor, count) = (request.database, request.cursor, request.count);
        let (tier, kind) = (&self.tier, request.kind);
        let next = if request.expires {
            tier.scan_and_expire(database, cursor, count, &accepts, kind, found)
        } else {
            tier.scan(database, cursor, count, &accepts, kind, found)
        };
        next.map_err(failed)
    }

    fn each_value(&self, database: u32, each: &mut ValueVisitor<'_>) -> Result<(), CommandError> {
        const KEYS_AT_A_TIME: usize = 256;
        let mut cursor = 0;
        loop {
            let mut keys = Vec::new();
            let mut found = |key: &[u8]| keys.push(key.to_vec());
            cursor = self
                .tier
                .scan(
                    database,
                    cursor,
                    KEYS_AT_A_TIME,
                    &|_| true,
                    None,
                    &mut found,
                )
                .map_err(failed)?;
            for key in keys {
                if let Some((value, deadline_ms)) =
                    self.tier.value(database, &key).map_err(failed)?
                {
                    each(&key, &value, deadline_ms);
                }
            }
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    fn random_key(&self, database: u32, random: u64) -> Result<Option<Vec<u8>>, CommandError> {
        self.tier.random_key(database, random).map_err(failed)
    }

    fn key_counts(&self, database: u32) -> (u64, u64) {
        self.keyspace.key_counts(database)
    }

    fn flush(&self, database: Option<u32>, wait: bool) -> Result<(), CommandError> {
        let databases = database.map_or(0..self.keyspace.databases(), |database| {
            database..database + 1
        });
        for database in databases {
            let (keys, _) = self.keyspace.key_counts(database);
            if keys == 0 && self.keyspace.databases() > 1 && !wait {
                continue;
            }
            let former_generation = self.keyspace.generation(database);
            let generation = self.keyspace.take_generation();
            let former = self.change_databases(generation, Effect::FlushDatabase { database })?;
            self.workers[0].changes.fetch_add(1, Ordering::Relaxed);
            if wait {
                drop(former);
            } else {
                self.lazy_free.free(keys, former);
            }
            // The write-ahead rule holds for this deletion too.
            self.journaling
                .ensure_durable(self.journaling.last_lsn())
                .map_err(failed)?;
            self.tier
                .drop_generation(former_generation)
                .map_err(failed)?;
        }
        if self.tracking.any() {
            self.tracking.invalidate_everything(&self.clients);
        }
        let databases: Vec<u32> = database.into_iter().collect();
        self.serve_blocked(self.blocked.keys_of(&databases));
        self.snapshotter.note_generations().map_err(failed)
    }

    fn free_in_background(&self, value: Value) {
        self.lazy_free.free(1, value);
    }

    fn swap_databases(&self, first: u32, second: u32) -> Result<(), CommandError> {
        self.change_databases(0, Effect::SwapDatabases { first, second })?;
        self.serve_blocked(self.blocked.keys_of(&[first, second]));
        self.wait_before_reply(self.journaling.last_lsn())?;
        self.snapshotter.note_generations().map_err(failed)
    }

    fn with_keys(
        &self,
        database: u32,
        names: &[Vec<u8>],
        work: &mut dyn FnMut(&mut Keys<'_>) -> CommandResult,
    ) -> CommandResult {
        self.run_on_keys(database, names, work)
    }

    fn ask_other(
        &self,
        target: &crate::commands::OtherServer,
        request: &[u8],
        reply_count: usize,
        replies: &mut Vec<Vec<u8>>,
    ) -> CommandResult {
        super::other_server::ask(target, request, reply_count, replies)
    }

    fn delete_prefix(&self, database: u32, prefix: &[u8]) -> Result<u64, CommandError> {
        self.delete_keys_with_prefix(database, prefix)
    }

    fn delete_prefix_in_background(
        &self,
        database: u32,
        prefix: Vec<u8>,
    ) -> Result<(), CommandError> {
        self.start_prefix_deletion(database, prefix)
    }

    fn save(&self) -> Result<(), CommandError> {
        if self.background_save.swap(true, Ordering::AcqRel) {
            return Err(CommandError::fixed(
                "ERR Background save already in progress",
            ));
        }
        let result = self.take_snapshot().map_err(failed);
        self.background_save.store(false, Ordering::Release);
        result
    }

    fn background_save(&self, schedule: bool) -> Result<&'static str, CommandError> {
        let Some(server) = self.this.upgrade() else {
            return Err(CommandError::fixed("ERR the server is shutting down"));
        };
        if server.start_background_save() {
            return Ok("Background saving started");
        }
        if schedule {
            self.save_again.store(true, Ordering::Release);
            return Ok("Background saving scheduled");
        }
        Err(CommandError::fixed(
            "ERR Background save already in progress",
        ))
    }

    fn sync_log(&self) -> Result<(), CommandError> {
        self.journaling
            .ensure_durable(self.journaling.last_lsn())
            .map_err(failed)
    }

    fn last_save_seconds(&self) -> u64 {
        self.last_save.lock().at_ms / 1000
    }

    fn reload(&self, takes_snapshot: bool) -> Result<bool, CommandError> {
        const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
        if takes_snapshot {
            while self.background_save.swap(true, Ordering::AcqRel) {
                std::thread::sleep(PAUSE);
            }
            let result = self.take_snapshot().map_err(failed);
            self.background_save.store(false, Ordering::Release);
            result?;
        } else if let Some(log) = self.journaling.log() {
            log.sync_now().map_err(failed)?;
        } else {
            tracing::warn!(
                "nothing is reloaded: the last snapshot is older than what is in memory, and there is no log"
            );
            return Ok(false);
        }
        for database in 0..self.keyspace.databases() {
            self.tier.demote_all(database).map_err(failed)?;
        }
        Ok(true)
    }

    fn shut_down(&self, save: ShutdownSave, _now: bool, force: bool) -> Result<(), CommandError> {
        let wants_save = match save {
            ShutdownSave::Default => {
                !self.settings.current().0.save.is_empty() || self.settings.current().0.appendonly
            }
            ShutdownSave::Save => true,
            ShutdownSave::NoSave => false,
        };
        if wants_save && let Err(error) = self.final_snapshot() {
            tracing::error!(%error, "the snapshot at shutdown failed");
            if !force {
                return Err(CommandError::fixed(
                    "ERR Errors trying to SHUTDOWN. Check logs.",
                ));
            }
        }
        self.shutdown.send_replace(true);
        // `main` ends the process once the log is closed; this client must not get a reply.
        loop {
            std::thread::park();
        }
    }

    fn temperature(&self, database: u32, key: &[u8]) -> Result<Option<Temperature>, CommandError> {
        self.tier.temperature(database, key).map_err(failed)
    }

    fn demote(&self, database: u32, keys: Option<Vec<Vec<u8>>>) -> Result<u64, CommandError> {
        match keys {
            Some(keys) => self.tier.demote_keys(database, &keys),
            None => self.tier.demote_all(database),
        }
        .map_err(failed)
    }

    fn tier_statistics(&self) -> Vec<(&'static str, u64)> {
        self.tier.statistics().named()
    }

    fn info(&self, sections: &[String]) -> String {
        self.info_text(sections)
    }

    fn config_get(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        self.settings.current().0.get(patterns)
    }

    fn config_set(&self, pairs: &[(String, String)]) -> Result<(), CommandError> {
        let pairs: Vec<(&[u8], &[u8])> = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        self.settings.change(&pairs, |former, settings| {
            self.check_changeable(former, settings)?;
            self.listen_again(former, settings)?;
            if let Err(error) = self.configure_tls(&pairs, settings) {
                self.listen_again(settings, former)?;
                return Err(error);
            }
            self.apply_settings(former, settings);
            Ok(())
        })
    }

    fn config_rewrite(&self) -> Result<(), CommandError> {
        let mut settings = Settings::clone(&self.settings.current().0);
        if settings.aclfile.is_empty() {
            settings.users = self.changed_users(&settings);
        }
        let Some(path) = &settings.config_file else {
            return Err(CommandError::fixed(
                "ERR The server is running without a config file",
            ));
        };
        settings
            .rewrite(path)
            .map_err(|error| CommandError::new(format!("ERR Rewriting config file: {error}")))
    }

    fn reset_statistics(&self) {
        self.workers.iter().for_each(|worker| worker.reset());
        self.background.reset();
        self.tier.reset_statistics();
        self.job_errors.store(0, Ordering::Relaxed);
        self.lazy_free.reset();
        self.reset_observations();
        self.clients.rejected.store(0, Ordering::Relaxed);
    }

    fn set_active_expire(&self, on: bool) {
        self.tier.set_active_expire(on);
    }

    fn pause_cron(&self, paused: bool) {
        self.cron_is_paused.store(paused, Ordering::Relaxed);
    }

    fn memory_report(&self) -> MemoryReport {
        let memory = self.tier.memory();
        let (input_bytes, output_bytes) = self.clients.buffer_bytes();
        let keys =
            (0..self.keyspace.databases()).map(|database| self.keyspace.key_counts(database).0);
        MemoryReport {
            peak: self.tier.budget().peak_bytes(),
            allocated: memory.used_bytes,
            resident: memory.resident_bytes,
            clients: (input_bytes + output_bytes) as u64,
            values: memory.hot_bytes + memory.warm_bytes,
            keys: keys.sum(),
        }
    }

    fn purge_memory(&self) {
        crate::tier::purge_memory();
    }

    fn slow_log(&self) -> &SlowLog {
        &self.slow_log
    }

    fn latency_monitor(&self) -> &LatencyMonitor {
        &self.latency_monitor
    }

    fn command_latencies(&self) -> Vec<CommandLatency> {
        self.latencies()
    }

    fn ran_inside(&self, session: &Session, ran: &Ran<'_>) {
        self.note_inside(session, ran);
    }

    fn note_error(&self, text: &str) {
        self.note_error_inside(text);
    }

    fn users(&self) -> &Users {
        &self.users
    }

    fn check_channels(&self, user: &User) {
        let lost = self.pubsub.subscribers_of(|kind, topic| {
            !user.may_use_channel(topic, kind == ChannelKind::Pattern)
        });
        let ids: Vec<u64> = lost.iter().map(|client| client.id).collect();
        if !ids.is_empty() {
            self.kill_clients(&ClientFilter {
                ids,
                user: Some(String::from_utf8_lossy(&user.name).into_owned()),
                ..ClientFilter::default()
            });
        }
    }

    fn client_list(&self, filter: &ClientFilter) -> String {
        self.clients.list(filter)
    }

    fn client_kill(&self, filter: &ClientFilter) -> u64 {
        self.kill_clients(filter)
    }

    fn client_changed(&self, session: &Session) {
        self.clients.changed(session);
    }

    fn scripts(&self) -> &crate::commands::script::store::ScriptStore {
        &self.scripts
    }

    fn is_out_of_memory(&self) -> bool {
        matches!(self.tier.admission(), crate::tier::Admission::Refuse)
    }

    fn make_resident(
        &self,
        keys: &mut Keys<'_>,
        database: u32,
        hash: u64,
        key: &[u8],
    ) -> Result<bool, CommandError> {
        let generation = self.keyspace.generation(database);
        if !self.lazy.is_loaded(generation, hash) {
            return Ok(false);
        }
        if self.tier.everything_is_hot() {
            return Ok(true);
        }
        let request = KeyRequest {
            database,
            generation,
            hash,
            key,
            only_looks: false,
            now_ms: keys.now_ms(),
        };
        self.tier
            .resolve_now(keys.shard_mut(hash), &request)
            .map_err(failed)?;
        Ok(true)
    }

    fn load_block(&self, database: u32, hash: u64) -> Result<(), CommandError> {
        let generation = self.keyspace.generation(database);
        self.lazy
            .ensure_loaded(generation, hash, &self.keyspace)
            .map_err(failed)
    }

    fn store_functions(&self, encoded: &[u8]) -> Result<(), CommandError> {
        super::functions::write(&self.functions_path, encoded).map_err(failed)
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

impl From<SetError> for CommandError {
    fn from(error: SetError) -> CommandError {
        CommandError::new(format!("ERR {error}"))
    }
}
