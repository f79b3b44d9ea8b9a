//! A server without sockets, log or tiers, for the unit tests of commands.
//!
//! [`TestServer`] runs one command as dispatch does: row, arity, locks, function, commit, job. Then it replays what the command
//! put into its journal into a second keyspace and demands that both hold the same: that effects say all that happened
//! is the invariant on which recovery rests, so it is checked after every command of every test.
//!
//! Replies are compared in a notation with one spelling for each reply (see [`super::test_replies`]): `+OK`, `:1`, `"text"`,
//! `nil`, `["a" :1]`, `-ERR syntax error`.

use super::context::{BlockRequest, Context};
use super::session::Session;
use super::spec::{CommandSpec, Flags};
use super::test_replies::render;
use super::test_services::TestServices;
use super::transactions::{queue_has_script, queue_keys, resolve};
use crate::config::Settings;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{EventClasses, Journal, KeyEvent, Keys, Keyspace, Placement, Recorder};
use crate::resp::reply::QUEUED;
use crate::resp::{Protocol, Reply, quoting};
use crate::value::Value;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use storage_format::effect::EffectsIter;
use storage_format::{Effect, EffectRecord, SAME_RECORD_LSN};

/// Databases of a test server.
pub const DATABASES: u32 = 16;
/// The time at which a test begins, in Unix milliseconds.
pub const START_MS: u64 = 1_700_000_000_000;

/// A log that keeps its records in memory.
#[derive(Default)]
pub struct TestRecorder {
    last_lsn: AtomicU64,
    records: Mutex<Vec<(u64, Vec<u8>)>>,
    /// Set: there is no room for another record.
    pub is_full: AtomicBool,
}

impl TestRecorder {
    /// The records since the last call, each with its LSN.
    fn take(&self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut *self.records.lock())
    }
}

impl Recorder for TestRecorder {
    fn append(&self, effects: &[u8]) -> u64 {
        let lsn = self.last_lsn.fetch_add(1, Ordering::Relaxed) + 1;
        self.records.lock().push((lsn, effects.to_vec()));
        lsn
    }

    fn has_room(&self, _bytes: usize) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn keeps_effects(&self) -> bool {
        true
    }
}

/// The "log" of a replay: every record keeps the LSN it has.
struct ReplayRecorder(u64);

impl Recorder for ReplayRecorder {
    fn append(&self, _effects: &[u8]) -> u64 {
        self.0
    }

    fn has_room(&self, _bytes: usize) -> bool {
        true
    }

    fn keeps_effects(&self) -> bool {
        false
    }
}

/// Why a command did not come to its end.
enum Attempted {
    Failed(CommandError),
    GivenUp,
}

/// See the module's comment.
pub struct TestServer {
    /// What the commands change.
    pub keyspace: Arc<Keyspace>,
    /// The client's state; its `protocol` decides the dialect of the replies.
    pub session: Session,
    /// What the commands find as settings.
    pub settings: Settings,
    /// What the commands find around them.
    pub services: TestServices,
    /// The log.
    pub recorder: Arc<TestRecorder>,
    /// Unix milliseconds; only [`TestServer::advance_ms`] moves it.
    pub now_ms: u64,
    /// Set: as under an LFU policy.
    pub frequency_log_factor: Option<u32>,
    /// Set: after so many further locks, a script gets no more until it runs under all locks.
    pub refuse_locks_after: Option<usize>,
    /// What the last command waits for, if it does.
    pub blocked: Option<BlockRequest>,
    /// The classes of events to keep for [`TestServer::take_events`].
    pub listens_to: EventClasses,
    events: Vec<KeyEvent>,
    replica: Keyspace,
    keys: BTreeSet<Vec<u8>>,
    databases: BTreeSet<u32>,
}

impl Default for TestServer {
    fn default() -> TestServer {
        TestServer::new()
    }
}

impl TestServer {
    /// An empty server.
    pub fn new() -> TestServer {
        let placement = Placement::new(1);
        let keyspace = Arc::new(Keyspace::new(DATABASES, placement.clone()));
        let recorder = Arc::new(TestRecorder::default());
        TestServer {
            session: Session::new(1, true, "127.0.0.1:50000".into(), "127.0.0.1:6379".into()),
            settings: Settings::default(),
            services: TestServices::new(Arc::clone(&keyspace), Arc::clone(&recorder)),
            keyspace,
            recorder,
            now_ms: START_MS,
            frequency_log_factor: None,
            refuse_locks_after: None,
            blocked: None,
            listens_to: EventClasses::NONE,
            events: Vec::new(),
            replica: Keyspace::new(DATABASES, placement),
            keys: BTreeSet::new(),
            databases: BTreeSet::new(),
        }
    }

    /// An empty server whose client speaks RESP3.
    pub fn resp3() -> TestServer {
        let mut server = TestServer::new();
        server.session.protocol = Protocol::Resp3;
        server
    }

    /// The events since the last call, as `set a, expire a`; those of another database than the first with its number.
    pub fn take_events(&mut self) -> String {
        let events = std::mem::take(&mut self.events).into_iter().map(|event| {
            let database = match event.database {
                0 => String::new(),
                other => format!("@{other}"),
            };
            format!("{} {}{database}", event.name, event.key.escape_ascii())
        });
        events.collect::<Vec<_>>().join(", ")
    }

    /// Lets time pass.
    pub fn advance_ms(&mut self, milliseconds: u64) {
        self.now_ms += milliseconds;
    }

    /// Runs a line of text, split as `redis-cli` splits it (double quotes with `\xHH` and so on), and checks the reply.
    #[track_caller]
    pub fn check(&mut self, line: &str, expected: &str) {
        assert_eq!(self.run(line), expected, "{line}");
    }

    /// Runs one line after the other.
    #[track_caller]
    pub fn check_all(&mut self, cases: &[(&str, &str)]) {
        for (line, expected) in cases {
            self.check(line, expected);
        }
    }

    /// Runs a line of text; the reply in the notation of [`super::test_replies`].
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        let arguments = quoting::split(line.as_bytes()).expect("balanced quotes");
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        render(&self.run_arguments(&arguments))
    }

    /// Runs a command; the bytes of the reply.
    #[track_caller]
    pub fn run_arguments(&mut self, arguments: &[&[u8]]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut reply = Reply::new(&mut buffer, self.session.protocol);
        if let Err(error) = self.dispatch(arguments, &mut reply) {
            reply.rewind(0);
            reply.error(error.text());
        }
        self.replay_and_compare(arguments);
        buffer
    }

    fn dispatch(&mut self, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
        let spec = resolve(arguments)?.spec;
        if let Some(transaction) = self
            .session
            .transaction
            .as_mut()
            .filter(|_| !spec.flags.has(Flags::NOT_QUEUED))
        {
            transaction.push(arguments);
            reply.raw(QUEUED);
            return Ok(());
        }
        let mut everything = spec.name == "exec" && queue_has_script(&self.session);
        loop {
            match self.attempt(spec, arguments, everything, reply) {
                Ok(()) => return Ok(()),
                Err(Attempted::Failed(error)) => return Err(error),
                Err(Attempted::GivenUp) => {
                    everything = true;
                    reply.rewind(0);
                }
            }
        }
    }

    /// Locks, runs and commits a command, as dispatch does; what a script did that cannot go on is rolled back.
    fn attempt(
        &mut self,
        spec: &CommandSpec,
        arguments: &[&[u8]],
        everything: bool,
        reply: &mut Reply<'_>,
    ) -> Result<(), Attempted> {
        let mut hashes = Vec::new();
        if spec.name == "exec" {
            queue_keys(&self.session, self.keyspace.databases(), |_, key| {
                hashes.push(self.keyspace.hash(key))
            });
        }
        spec.for_each_key(arguments, |index| {
            hashes.push(self.keyspace.hash(arguments[index]))
        });
        let mut journal = Journal::default();
        let (database, now_ms) = (self.session.database, self.now_ms);
        let (keyspace, recorder) = (&*self.keyspace, &*self.recorder);
        let mut keys = match everything {
            true => Keys::lock_all(keyspace, &mut journal, recorder, database, now_ms),
            false => Keys::lock(keyspace, &hashes, &mut journal, recorder, database, now_ms),
        };
        if spec.flags.has(Flags::RUNS_SCRIPT) {
            keys.keep_former();
        }
        keys.refuses_after = self.refuse_locks_after.filter(|_| !everything);
        keys.counts_lookups = spec.flags.has(Flags::READONLY);
        keys.no_touch = self.session.no_touch;
        keys.frequency_log_factor = self.frequency_log_factor;
        keys.listens_to = self.listens_to;
        let mut context = Context {
            keys,
            session: &mut self.session,
            settings: &self.settings,
            services: &self.services,
            now_ms,
            is_monitored: false,
            replied_error: false,
            by_script: false,
            may_block: true,
            ignores_block: false,
            blocked: None,
            job: None,
            retry: None,
        };
        let result = (spec.function)(&mut context, arguments, reply);
        if context.retry.is_some() {
            context.keys.roll_back();
            return Err(Attempted::GivenUp);
        }
        let selected = context.session.database;
        assert!(
            [database, selected].contains(&context.keys.database()),
            "a command leaves its own database selected"
        );
        let lsn = context.keys.commit();
        let may_write =
            may_write(spec) || context.keys.counts.expired + context.keys.counts.expired_fields > 0;
        assert!(lsn.is_none() || may_write, "read-only, but wrote");
        let job = context.job.take();
        self.blocked = context.blocked.take().map(|request| *request);
        drop(context);
        self.events.extend(journal.take_events());
        result.map_err(Attempted::Failed)?;
        match job {
            Some(job) => job(&self.services, reply).map_err(Attempted::Failed),
            None => Ok(()),
        }
    }

    /// Changes keys as a command does, and panics; what is left has to be in the log, and in the way of nobody.
    pub fn run_and_panic(
        &mut self,
        names: &[&[u8]],
        is_script: bool,
        work: impl FnOnce(&mut Keys<'_>),
    ) {
        let hashes: Vec<u64> = names.iter().map(|name| self.keyspace.hash(name)).collect();
        let mut journal = Journal::default();
        let (keyspace, recorder) = (&*self.keyspace, &*self.recorder);
        let run = std::panic::AssertUnwindSafe(|| {
            let mut keys = Keys::lock(keyspace, &hashes, &mut journal, recorder, 0, self.now_ms);
            if is_script {
                keys.keep_former();
            }
            work(&mut keys);
            std::panic::resume_unwind(Box::new("wanted"));
        });
        assert!(std::panic::catch_unwind(run).is_err());
        assert!(journal.is_empty());
        self.replay_and_compare(&[&[&b"PANIC"[..]], names].concat());
    }

    /// Applies what the last command logged to the replica, and compares. While there are few keys, all that were ever seen are
    /// compared: a command may have changed one that it did not name.
    #[track_caller]
    fn replay_and_compare(&mut self, arguments: &[&[u8]]) {
        const KEYS_COMPARED_MAX: usize = 50;
        let mut keys: BTreeSet<Vec<u8>> = arguments
            .iter()
            .skip(1)
            .map(|argument| argument.to_vec())
            .collect();
        self.databases.insert(self.session.database);
        for (lsn, body) in self.recorder.take() {
            for record in EffectsIter::new(&body) {
                let record = record.expect("an effect decodes as it was encoded");
                keys.insert(record.key.to_vec());
                self.databases.extend(replay(&self.replica, lsn, &record));
            }
        }
        self.keys.extend(keys.iter().cloned());
        let compared = if self.keys.len() <= KEYS_COMPARED_MAX {
            &self.keys
        } else {
            &keys
        };
        for database in self.databases.iter().copied() {
            assert_eq!(
                self.keyspace.generation(database),
                self.replica.generation(database)
            );
            for key in compared {
                let (live, replayed) = (
                    state_of(&self.keyspace, database, key),
                    state_of(&self.replica, database, key),
                );
                assert_eq!(
                    live,
                    replayed,
                    "live and replayed {} after {}",
                    key.escape_ascii(),
                    show(arguments)
                );
            }
            assert_eq!(
                self.keyspace.key_counts(database),
                self.replica.key_counts(database),
                "keys after {}",
                show(arguments)
            );
        }
    }
}

fn may_write(spec: &CommandSpec) -> bool {
    !spec.flags.has(Flags::READONLY) || spec.flags.has(Flags::MAY_REPLICATE)
}

fn show(arguments: &[&[u8]]) -> String {
    arguments
        .iter()
        .map(|argument| format!("{} ", argument.escape_ascii()))
        .collect()
}

/// Applies one effect of a record as recovery does: no clock, and only on the base that the effect names. Returns the
/// databases that it concerns.
fn replay(replica: &Keyspace, lsn: u64, record: &EffectRecord<'_>) -> Vec<u32> {
    let (recorder, mut journal) = (ReplayRecorder(lsn), Journal::default());
    match record.effect {
        Effect::FlushDatabase { database } => {
            replica.flush_database(&mut replica.lock_all(), database, record.generation);
            vec![database]
        }
        Effect::SwapDatabases { first, second } => {
            replica.swap_databases(&mut replica.lock_all(), first, second);
            vec![first, second]
        }
        effect => {
            let database = replica
                .database_of(record.generation)
                .expect("a current generation");
            let mut keys = Keys::lock(
                replica,
                &[replica.hash(record.key)],
                &mut journal,
                &recorder,
                database,
                0,
            );
            let base = if record.previous_lsn == SAME_RECORD_LSN {
                lsn
            } else {
                record.previous_lsn
            };
            let found = keys.lsn(record.key);
            assert!(
                found == base || found == 0 && base == lsn,
                "{record:?} is for another base: {found}"
            );
            keys.apply(record.key, effect)
                .expect("an effect fits the value it was made for");
            assert_eq!(keys.commit(), Some(lsn), "{record:?} changes nothing");
            vec![database]
        }
    }
}

/// LSN, deadline and content of a key, expired or not; `None` if it is not there.
fn state_of(
    keyspace: &Keyspace,
    database: u32,
    key: &[u8],
) -> Option<(u64, Option<u64>, Vec<String>)> {
    let (recorder, mut journal) = (ReplayRecorder(0), Journal::default());
    let mut keys = Keys::lock(
        keyspace,
        &[keyspace.hash(key)],
        &mut journal,
        &recorder,
        database,
        0,
    );
    keys.no_touch = true;
    let (deadline_ms, value) = (keys.deadline_ms(key)?, keys.value(key)?);
    Some((keys.lsn(key), deadline_ms, content(&value)))
}

/// A value's type and elements, in an order that does not depend on its history.
fn content(value: &Value) -> Vec<String> {
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut elements: Vec<String> = match value {
        Value::Text(text) => vec![show(text.as_bytes())],
        Value::List(list) => list.iter().map(show).collect(),
        Value::Set(set) => set.iter().map(show).collect(),
        Value::Hash(hash) => hash
            .iter()
            .map(|(field, value)| {
                let deadline_ms = hash.field_deadline_ms(field);
                format!("{} = {} until {deadline_ms:?}", show(field), show(value))
            })
            .collect(),
        Value::SortedSet(members) => members
            .iter()
            .map(|(member, score)| format!("{} {score:?}", show(member)))
            .collect(),
        Value::Stream(_) => {
            let mut encoded = Vec::new();
            value.encode(&mut encoded);
            vec![show(&encoded)]
        }
    };
    if matches!(value, Value::Set(_) | Value::Hash(_)) {
        elements.sort();
    }
    elements.insert(0, format!("{:?}", value.kind()));
    elements
}
