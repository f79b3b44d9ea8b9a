//! The server around the commands of a test: whole-keyspace work is done for real, on the test's keyspace; everything else
//! notes that it was called and answers something recognisable.

use super::acl::{User, Users};
use super::context::Ran;
use super::latency::{CommandLatency, LatencyMonitor};
use super::memory::MemoryReport;
use super::messaging::Messaging;
use super::services::{
    ClientFilter, ScanRequest, Services, ShutdownSave, Temperature, ValueVisitor,
};
use super::session::Session;
use super::slow_log::SlowLog;
use super::test_support::START_MS;
use super::test_support::TestRecorder;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Journal, Keys, Keyspace, Recorder, SHARDS};
use crate::pubsub::ChannelKind;
use crate::tracking::{TrackingOptions, TrackingState};
use crate::value::Value;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage_format::Effect;

/// See the module's comment.
pub struct TestServices {
    keyspace: Arc<Keyspace>,
    recorder: Arc<TestRecorder>,
    calls: Mutex<Vec<String>>,
    scripts: super::script::store::ScriptStore,
    /// Set: commands that need memory are refused.
    pub out_of_memory: AtomicBool,
    /// Set: there is a log to reload from.
    pub has_log: AtomicBool,
    users: Users,
    slow_log: SlowLog,
    latency_monitor: LatencyMonitor,
    tracking: Mutex<Option<TrackingOptions>>,
}

impl TestServices {
    /// For this keyspace, logging what changes databases.
    pub fn new(keyspace: Arc<Keyspace>, recorder: Arc<TestRecorder>) -> TestServices {
        TestServices {
            keyspace,
            recorder,
            calls: Mutex::new(Vec::new()),
            scripts: Default::default(),
            out_of_memory: AtomicBool::default(),
            has_log: AtomicBool::default(),
            users: Users::default(),
            slow_log: SlowLog::default(),
            latency_monitor: LatencyMonitor::default(),
            tracking: Mutex::new(None),
        }
    }

    /// What was called since the last time, as `name(arguments)`.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock())
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().push(call.into());
    }

    /// Hash, key and type of every live entry of a database, in the order of the hashes.
    fn entries(&self, database: u32) -> Vec<(u64, Vec<u8>, storage_format::ValueKind)> {
        let mut found = Vec::new();
        for shard in 0..SHARDS {
            let shard = self.keyspace.lock(shard);
            let Some(table) = shard.table(database) else {
                continue;
            };
            for segment in 0..table.segments() {
                let entries = table.segment_at(segment).iter();
                found.extend(entries.filter_map(|entry| {
                    Some((
                        self.keyspace.hash(entry.key()),
                        entry.key().to_vec(),
                        entry.kind()?,
                    ))
                }));
            }
        }
        found.sort_unstable_by_key(|(hash, ..)| *hash);
        found
    }

    fn log(&self, generation: u32, effect: Effect<'_>) {
        let mut journal = Journal::default();
        journal.push_keyless(generation, effect, true);
        self.recorder.append(journal.effects());
    }
}

impl Messaging for TestServices {
    fn subscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]) {
        session.subscriptions[kind.index()].insert(topic.into());
    }

    fn unsubscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]) {
        session.subscriptions[kind.index()].remove(topic);
    }

    fn publish(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> usize {
        let (channel, message) = (
            String::from_utf8_lossy(channel),
            String::from_utf8_lossy(message),
        );
        self.note(format!("publish({kind:?}, {channel}, {message})"));
        1
    }

    fn topics(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<Vec<u8>> {
        vec![
            format!("{kind:?}").into_bytes(),
            pattern.unwrap_or(b"*").to_vec(),
        ]
    }

    fn subscribers(&self, _kind: ChannelKind, topic: &[u8]) -> usize {
        topic.len()
    }

    fn topic_count(&self, kind: ChannelKind) -> usize {
        kind.index()
    }

    fn unblock(&self, client: u64, with_error: bool) -> bool {
        self.note(format!("unblock({client}, {with_error})"));
        true
    }

    fn pause(&self, until_ms: u64, pauses_reads: bool) {
        self.note(format!("pause({until_ms}, {pauses_reads})"));
    }

    fn has_client(&self, id: u64) -> bool {
        id < 100
    }

    fn monitor(&self, session: &mut Session) {
        self.note(format!("monitor({})", session.id));
    }

    fn stop_monitoring(&self, session: &mut Session) {
        self.note(format!("stop_monitoring({})", session.id));
    }

    fn show_command(&self, _session: &Session, arguments: &[&[u8]], by_script: bool) {
        self.note(format!("show_command({}, {by_script})", arguments.len()));
    }

    fn track(&self, _session: &mut Session, options: TrackingOptions) {
        *self.tracking.lock() = Some(options);
    }

    fn stop_tracking(&self, _session: &mut Session) {
        *self.tracking.lock() = None;
    }

    fn tracking_state(&self, _id: u64) -> Option<TrackingState> {
        let options = self.tracking.lock().clone()?;
        Some(TrackingState {
            options,
            is_redirect_broken: false,
        })
    }

    fn remember_read(&self, id: u64, key: &[u8]) {
        self.note(format!("remember_read({id}, {})", key.len()));
    }

    fn tell_readers(&self, writer: u64, written: &[(u32, Box<[u8]>)]) {
        self.note(format!("tell_readers({writer}, {})", written.len()));
    }

    fn unpause(&self) {
        self.note("unpause()");
    }
}

impl Services for TestServices {
    fn scan(
        &self,
        request: ScanRequest<'_>,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, CommandError> {
        let position = |hash: u64| hash >> 16;
        let mut seen = 0;
        let mut last = None;
        for (hash, key, kind) in self.entries(request.database) {
            if position(hash) < request.cursor || position(hash) == 0 && request.cursor != 0 {
                continue;
            }
            if seen >= request.count && last != Some(position(hash)) {
                return Ok(position(hash));
            }
            (seen, last) = (seen + 1, Some(position(hash)));
            let wanted = request
                .pattern
                .is_none_or(|pattern| crate::glob::selects(pattern, &key));
            if wanted && request.kind.is_none_or(|wanted| wanted == kind) {
                found(&key);
            }
        }
        Ok(0)
    }

    fn each_value(&self, database: u32, each: &mut ValueVisitor<'_>) -> Result<(), CommandError> {
        for (hash, key, _) in self.entries(database) {
            let shard = self.keyspace.lock(Keyspace::shard_of(hash));
            let place = shard.find(database, hash, &key).expect("just found");
            let entry = shard.entry(database, place);
            let value = entry.to_value().expect("a live entry");
            each(&key, &value, entry.deadline_ms());
        }
        Ok(())
    }

    fn random_key(&self, database: u32, random: u64) -> Result<Option<Vec<u8>>, CommandError> {
        let mut entries = self.entries(database);
        if entries.is_empty() {
            return Ok(None);
        }
        let index = (random % entries.len() as u64) as usize;
        Ok(Some(entries.swap_remove(index).1))
    }

    fn key_counts(&self, database: u32) -> (u64, u64) {
        self.keyspace.key_counts(database)
    }

    fn free_in_background(&self, value: Value) {
        self.note(format!("free_in_background({} elements)", value.len()));
    }

    fn flush(&self, database: Option<u32>, wait: bool) -> Result<(), CommandError> {
        self.note(format!("flush({database:?}, wait: {wait})"));
        let mut shards = self.keyspace.lock_all();
        let databases = database.map_or(0..self.keyspace.databases(), |database| {
            database..database + 1
        });
        for database in databases {
            let generation = self.keyspace.take_generation();
            self.keyspace
                .flush_database(&mut shards, database, generation);
            self.log(generation, Effect::FlushDatabase { database });
        }
        Ok(())
    }

    fn swap_databases(&self, first: u32, second: u32) -> Result<(), CommandError> {
        self.keyspace
            .swap_databases(&mut self.keyspace.lock_all(), first, second);
        self.log(0, Effect::SwapDatabases { first, second });
        Ok(())
    }

    fn with_keys(
        &self,
        database: u32,
        names: &[Vec<u8>],
        work: &mut dyn FnMut(&mut Keys<'_>) -> CommandResult,
    ) -> CommandResult {
        let hashes: Vec<u64> = names.iter().map(|name| self.keyspace.hash(name)).collect();
        let mut journal = Journal::default();
        let recorder = &*self.recorder;
        let mut keys = Keys::lock(
            &self.keyspace,
            &hashes,
            &mut journal,
            recorder,
            database,
            START_MS,
        );
        let result = work(&mut keys);
        keys.commit();
        result
    }

    /// The other server takes everything.
    fn ask_other(
        &self,
        target: &crate::commands::OtherServer,
        request: &[u8],
        reply_count: usize,
        replies: &mut Vec<Vec<u8>>,
    ) -> CommandResult {
        let request = request.escape_ascii();
        self.note(format!(
            "ask_other({}:{}, {request})",
            target.host, target.port
        ));
        replies.resize(reply_count, b"+OK".to_vec());
        Ok(())
    }

    fn delete_prefix(&self, database: u32, prefix: &[u8]) -> Result<u64, CommandError> {
        let names = self.entries(database).into_iter().map(|(_, key, _)| key);
        let names: Vec<Vec<u8>> = names.filter(|key| key.starts_with(prefix)).collect();
        let mut deleted = 0;
        self.with_keys(database, &names, &mut |keys| {
            for name in &names {
                deleted += u64::from(keys.delete(name)?);
            }
            Ok(())
        })?;
        Ok(deleted)
    }

    fn delete_prefix_in_background(
        &self,
        database: u32,
        prefix: Vec<u8>,
    ) -> Result<(), CommandError> {
        self.note("delete_prefix_in_background()");
        self.delete_prefix(database, &prefix).map(drop)
    }

    fn save(&self) -> Result<(), CommandError> {
        self.note("save()");
        Ok(())
    }

    fn background_save(&self, schedule: bool) -> Result<&'static str, CommandError> {
        self.note(format!("background_save({schedule})"));
        Ok("Background saving started")
    }

    fn sync_log(&self) -> Result<(), CommandError> {
        self.note("sync_log()");
        Ok(())
    }

    fn last_save_seconds(&self) -> u64 {
        1_700_000_000
    }

    fn reload(&self, takes_snapshot: bool) -> Result<bool, CommandError> {
        self.note(format!("reload({takes_snapshot})"));
        Ok(takes_snapshot || self.has_log.load(Ordering::Relaxed))
    }

    fn shut_down(&self, save: ShutdownSave, now: bool, force: bool) -> Result<(), CommandError> {
        self.note(format!("shut_down({save:?}, now: {now}, force: {force})"));
        Ok(())
    }

    fn temperature(&self, database: u32, key: &[u8]) -> Result<Option<Temperature>, CommandError> {
        Ok(self
            .entries(database)
            .iter()
            .any(|(_, found, _)| found == key)
            .then_some(Temperature::Hot))
    }

    fn demote(&self, database: u32, keys: Option<Vec<Vec<u8>>>) -> Result<u64, CommandError> {
        self.note(format!(
            "demote({database}, {:?})",
            keys.as_ref().map(Vec::len)
        ));
        Ok(keys.map_or(0, |keys| keys.len() as u64))
    }

    fn tier_statistics(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("hot_keys", self.keyspace.key_counts(0).0),
            ("cold_keys", 0),
        ]
    }

    fn info(&self, sections: &[String]) -> String {
        format!("# Sections\r\nasked:{}\r\n", sections.join(","))
    }

    fn config_get(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        let matches = |name: &str| {
            patterns
                .iter()
                .any(|pattern| crate::glob::matches(pattern, name.as_bytes()))
        };
        let all = [("maxmemory", "0"), ("port", "6379")];
        all.iter()
            .filter(|(name, _)| matches(name))
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    fn config_set(&self, pairs: &[(String, String)]) -> Result<(), CommandError> {
        self.note(format!("config_set({pairs:?})"));
        Ok(())
    }

    fn config_rewrite(&self) -> Result<(), CommandError> {
        self.note("config_rewrite()");
        Ok(())
    }

    fn reset_statistics(&self) {
        self.note("reset_statistics()");
    }

    fn set_active_expire(&self, on: bool) {
        self.note(format!("set_active_expire({on})"));
    }

    fn pause_cron(&self, paused: bool) {
        self.note(format!("pause_cron({paused})"));
    }

    fn memory_report(&self) -> MemoryReport {
        MemoryReport::default()
    }

    fn purge_memory(&self) {
        self.note("purge_memory()");
    }

    fn slow_log(&self) -> &SlowLog {
        &self.slow_log
    }

    fn latency_monitor(&self) -> &LatencyMonitor {
        &self.latency_monitor
    }

    fn command_latencies(&self) -> Vec<CommandLatency> {
        Vec::new()
    }

    fn ran_inside(&self, _session: &Session, _ran: &Ran<'_>) {}

    fn note_error(&self, _text: &str) {}

    fn users(&self) -> &Users {
        &self.users
    }

    fn check_channels(&self, user: &User) {
        self.note(format!("check_channels({})", user.name.escape_ascii()));
    }

    fn client_list(&self, filter: &ClientFilter) -> String {
        format!("filter={filter:?}\n")
    }

    fn client_kill(&self, filter: &ClientFilter) -> u64 {
        self.note(format!("client_kill({filter:?})"));
        1
    }

    fn client_changed(&self, session: &Session) {
        self.note(format!("client_changed({})", session.id));
    }

    fn scripts(&self) -> &super::script::store::ScriptStore {
        &self.scripts
    }

    fn is_out_of_memory(&self) -> bool {
        self.out_of_memory.load(Ordering::Relaxed)
    }

    fn make_resident(
        &self,
        _: &mut crate::keyspace::Keys<'_>,
        _: u32,
        _: u64,
        _: &[u8],
    ) -> Result<bool, CommandError> {
        Ok(true)
    }

    fn load_block(&self, _: u32, _: u64) -> Result<(), CommandError> {
        Ok(())
    }

    fn store_functions(&self, encoded: &[u8]) -> Result<(), CommandError> {
        self.note(format!("store_functions({} bytes)", encoded.len()));
        Ok(())
    }

    fn version(&self) -> &'static str {
        "0.0.0-test"
    }
}
