//! The one ordered path of a command, from its arguments to its reply.
//!
//! 1. find the row, check arity, authentication, memory;
//! 2. find the keys' shards, lock them in order;
//! 3. make the keys resident, or give up the locks and say what has to be fetched;
//! 4. run the function on live values;
//! 5. its effects become one log record under the same locks.
//!
//! Nothing in here waits. Whatever has to (a fetch, a job, memory) is an [`Outcome`] that the connection deals with,
//! after which it calls again. Cost for a command on one hot key: one lock, one look-up per access, no allocation.

mod admit;
mod bench;
pub mod blocked;
mod chill;
mod scripts;
mod serve;

pub use scripts::SuspendedScript;

use self::admit::{Admitted, is_for_subscribers};
use self::bench::{Bench, Blocked, Called, Locking, Obstacle};
use self::blocked::{DatabaseKey, Waiter};
use crate::clock;
use crate::commands::session::ReplyMode;
use crate::commands::table::{self, Row};
use crate::commands::{Flags, Group, Job, Services, Session, transactions};
use crate::config::Settings;
use crate::error::{CommandError, InternalError};
use crate::keyspace::{Journal, Keys, LookupCounts};
use crate::metrics::{WorkerMetrics, add};
use crate::resp::{Protocol, Reply, reply};
use crate::server::Server;
use crate::stopwatch::Stopwatch;
use crate::tier::{FetchTicket, Fetched};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What became of a command. A word, returned in a register: nearly every command is just done.
pub enum Outcome {
    /// Its reply, if it has one, is in the output.
    Done,
    /// It could not come to its end at once.
    Pending(Box<Pending>),
}

/// Why a command is not done yet, and what has to happen.
pub enum Pending {
    /// These keys have to be fetched first; then call again with what was found.
    Fetch(Vec<FetchTicket>),
    /// The reply comes from this job, to be run on the blocking pool.
    Job(Job),
    /// Memory is short and demotion is at work; call again in a moment.
    WaitForMemory,
    /// A script has run for so long that the thread has to do something else; to be resumed soon, until it is done.
    Suspended(SuspendedScript),
    /// A transaction that holds commands without locks: its commands are to be run one after the other.
    Sequential(Vec<Vec<Box<[u8]>>>),
    /// The client waits for its keys. Its session is in the waiter until then.
    Blocked(Arc<Waiter>),
    /// Only while serving a waiter: it goes on waiting.
    StillBlocked,
    /// CLIENT PAUSE is in force; call again when it is over.
    Paused,
}

impl From<Pending> for Outcome {
    fn from(pending: Pending) -> Outcome {
        Outcome::Pending(Box::new(pending))
    }
}

/// The waiter on whose behalf a command runs.
struct Serving {
    waiter: Arc<Waiter>,
    /// The key that was written.
    key: DatabaseKey,
    /// Set if it does not exist (any more).
    key_is_gone: bool,
}

/// What was found out about a command line ahead of its turn.
#[derive(Clone, Copy)]
pub struct Foresight {
    /// The row that its first word names; of a container, not yet of the subcommand.
    row: Option<Row>,
    /// The placement hash of the row's first key, if it has one at a fixed place.
    pub first_hash: Option<u64>,
}

/// A command line.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The command's name and its arguments.
    pub arguments: &'a [&'a [u8]],
    /// What is known of it.
    pub foresight: Foresight,
}

impl<'a> Request<'a> {
    /// A command line that was not looked at before.
    pub fn new(arguments: &'a [&'a [u8]]) -> Request<'a> {
        let row = arguments.first().and_then(|name| table::find(name));
        Request {
            arguments,
            foresight: Foresight {
                row,
                first_hash: None,
            },
        }
    }
}

/// A key that a command names.
struct NamedKey {
    database: u32,
    hash: u64,
    /// Index among the arguments, or of `owned` for the keys of a transaction.
    argument: usize,
}

/// What one worker thread needs to run commands.
pub struct Dispatcher {
    server: Arc<Server>,
    settings: Arc<Settings>,
    settings_version: u64,
    journal: Journal,
    metrics: Arc<WorkerMetrics>,
    keys: Vec<NamedKey>,
    owned_keys: Vec<Box<[u8]>>,
    /// LSN of the last record that this worker wrote, for `appendfsync always`.
    last_lsn: u64,
    last_command: usize,
    serving: Option<Serving>,
    /// Clients that waited were served since this was last asked.
    has_served: bool,
    /// The memory of the script that ran last.
    spare_script: Option<Box<scripts::ScriptRun>>,
    /// Unix time of the running batch, in milliseconds.
    now_ms: u64,
    stopwatch: Stopwatch,
}

impl Serving {
    /// True if the key that was written is what the waiter waits for. Its shard is locked.
    fn may_be_ready(&mut self, keys: &Keys<'_>) -> bool {
        let kind = keys.kind_now(&self.key.1);
        self.key_is_gone = kind.is_none();
        self.waiter.may_be_ready(kind)
    }
}

impl Dispatcher {
    /// A dispatcher for one worker of `server`.
    pub fn new(server: Arc<Server>, metrics: Arc<WorkerMetrics>) -> Dispatcher {
        let (settings, settings_version) = server.settings.current();
        Dispatcher {
            server,
            settings,
            settings_version,
            journal: Journal::default(),
            metrics,
            keys: Vec::new(),
            owned_keys: Vec::new(),
            last_lsn: 0,
            last_command: usize::MAX,
            serving: None,
            has_served: false,
            spare_script: None,
            now_ms: clock::now_ms(),
            stopwatch: Stopwatch::default(),
        }
    }

    /// The settings, as fresh as the last call of [`Dispatcher::begin_batch`].
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// The server this worker belongs to.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The worker's counters.
    pub fn metrics(&self) -> &WorkerMetrics {
        &self.metrics
    }

    /// Takes over changed settings and looks at the clock. Called before every batch: its commands share one time.
    pub fn begin_batch(&mut self) {
        self.now_ms = clock::now_ms();
        // Unset, unless a command panicked that ran on a waiter's behalf.
        self.serving = None;
        self.stopwatch.begin_batch();
        if self.server.settings.version() != self.settings_version {
            (self.settings, self.settings_version) = self.server.settings.current();
            self.stopwatch.forget_threshold();
        }
    }

    /// The batch was decoded: what follows is the first command's time.
    pub fn begin_commands(&mut self) {
        self.stopwatch.begin_command();
    }

    /// Charges each command that ran since [`Dispatcher::begin_batch`] its time.
    pub fn end_batch(&mut self) {
        self.stopwatch.end_batch(&self.settings, &self.metrics);
    }

    /// Charges a command the time that it took outside of a batch, on another thread.
    pub fn charge(&self, session: &Session, arguments: &[&[u8]], took: std::time::Duration) {
        let Ok(row) = transactions::find_row(arguments) else {
            return;
        };
        let nanoseconds = took.as_nanos() as u64;
        let command = &self.metrics.by_command[row.number];
        add(&command.nanoseconds, nanoseconds);
        if self.settings.latency_tracking {
            command.times.record(nanoseconds);
        }
        self.server.note_slow(session, row, arguments, nanoseconds);
    }

    /// Unix time at the beginning of the batch, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// True if clients that waited were served.
    pub fn has_served(&self) -> bool {
        self.has_served
    }

    /// As [`Dispatcher::has_served`], which is false from here on.
    pub fn take_has_served(&mut self) -> bool {
        std::mem::take(&mut self.has_served)
    }

    /// The LSN of the last record this worker wrote; what a reply has to wait for under `appendfsync always`.
    pub fn last_lsn(&self) -> u64 {
        self.last_lsn
    }

    /// Runs one command. `fetched` holds what an earlier [`Pending::Fetch`] asked for.
    pub fn execute(
        &mut self,
        session: &mut Session,
        request: Request<'_>,
        fetched: &[Fetched],
        output: &mut Vec<u8>,
    ) -> Outcome {
        let start = output.len();
        let arguments = request.arguments;
        if session.users_version != self.server.users.version() {
            self.refresh_user(session);
        }
        let outcome = match self.admit(session, &request) {
            Ok(Admitted::Queue) => {
                self.enqueue(session, arguments);
                output.extend_from_slice(reply::QUEUED);
                Outcome::Done
            }
            Ok(Admitted::Wait) => return Pending::WaitForMemory.into(),
            Ok(Admitted::Paused) => return Pending::Paused.into(),
            Ok(Admitted::Run(row))
                if row.spec.group == Group::PubSub && is_for_subscribers(row) =>
            {
                // Confirmations are messages: CLIENT REPLY does not silence them.
                let outcome = self.run(row, session, request, fetched, output);
                apply_reply_mode(session, output.len(), output);
                return outcome;
            }
            Ok(Admitted::Run(row)) => self.run(row, session, request, fetched, output),
            Err(error) => {
                self.refuse(session, arguments, error, output);
                Outcome::Done
            }
        };
        if matches!(outcome, Outcome::Done) {
            apply_reply_mode(session, start, output);
            if self.settings.demote_every_command {
                self.chill(session, arguments);
            }
        }
        outcome
    }

    /// Writes the error of a command that may not run. A transaction that it would have been part of is spoilt.
    pub fn refuse(
        &self,
        session: &mut Session,
        arguments: &[&[u8]],
        error: CommandError,
        output: &mut Vec<u8>,
    ) {
        let error = refuse_in_transaction(session, arguments, error);
        self.write_error(&error, session.protocol, output);
    }

    /// Writes an error reply and counts it.
    pub fn write_error(&self, error: &CommandError, protocol: Protocol, output: &mut Vec<u8>) {
        add(&self.metrics.errors, 1);
        self.server.error_counts.note(error.text());
        Reply::new(output, protocol).error(error.text());
    }

    /// Collects the keys of a command into `self.keys`.
    #[inline(always)]
    fn collect_keys(&mut self, row: Row, session: &Session, request: Request<'_>) {
        let arguments = request.arguments;
        self.keys.clear();
        self.owned_keys.clear();
        let (keys, keyspace) = (&mut self.keys, &self.server.keyspace);
        let first_hash = request.foresight.first_hash;
        if let Some(argument) = row.spec.only_key()
            && let Some(key) = arguments.get(argument)
        {
            keys.push(NamedKey {
                database: session.database,
                hash: first_hash.unwrap_or_else(|| keyspace.hash(key)),
                argument,
            });
            return;
        }
        if row.spec.flags.has(Flags::RUNS_QUEUE) {
            let owned = &mut self.owned_keys;
            transactions::queue_keys(session, keyspace.databases(), |database, key| {
                keys.push(NamedKey {
                    database,
                    hash: keyspace.hash(key),
                    argument: owned.len(),
                });
                owned.push(key.into());
            });
            return;
        }
        let other = row.spec.other_database.and_then(|other| other(arguments));
        let first = row.spec.first_key();
        row.spec.for_each_key(arguments, |argument| {
            let hash = match first_hash {
                Some(hash) if Some(argument) == first => hash,
                _ => keyspace.hash(arguments[argument]),
            };
            keys.push(NamedKey {
                database: session.database,
                hash,
                argument,
            });
            if let Some(database) = other.filter(|other| *other < keyspace.databases()) {
                keys.push(NamedKey {
                    database,
                    hash,
                    argument,
                });
            }
        });
    }

    fn run(
        &mut self,
        row: Row,
        session: &mut Session,
        request: Request<'_>,
        fetched: &[Fetched],
        output: &mut Vec<u8>,
    ) -> Outcome {
        let mut locking = Locking::DeclaredKeys;
        if row.spec.flags.has(Flags::RUNS_QUEUE) {
            if let Some(queue) = sequential_queue(session) {
                return Pending::Sequential(queue).into();
            }
            if transactions::queue_has_script(session) {
                if let Err(error) = self.server.lazy.load_all(&self.server.keyspace) {
                    return self.fail(&error, session, output);
                }
                locking = Locking::Everything;
            }
        }
        self.collect_keys(row, session, request);
        if !self.server.lazy.is_complete()
            && let Err(error) = self.load_blocks()
        {
            return self.fail(&error, session, output);
        }
        if row.spec.flags.has(Flags::RUNS_SCRIPT) {
            return self.run_script(row, session, request, fetched, output);
        }
        let mut called = Called::default();
        let mut bench = Bench {
            server: &self.server,
            settings: &self.settings,
            journal: &mut self.journal,
            keys: &self.keys,
            owned_keys: &self.owned_keys,
            now_ms: self.now_ms,
            serving: self.serving.as_mut(),
            called: &mut called,
        };
        let start = output.len();
        let ran = bench.run(row, session, request.arguments, fetched, locking, output);
        let done = ran.map(|()| &mut called);
        self.finish(row, done, session, request.arguments, (start, output))
    }

    /// Makes an outcome of what became of a command.
    #[inline(always)]
    fn finish(
        &mut self,
        row: Row,
        done: Result<&mut Called, Obstacle>,
        session: &Session,
        arguments: &[&[u8]],
        (start, output): (usize, &mut Vec<u8>),
    ) -> Outcome {
        match done {
            Ok(called) => self.conclude(row, called, session, arguments, start, output),
            Err(Obstacle::Fetch(missing)) => {
                add(&self.metrics.fetches, missing.len() as u64);
                Pending::Fetch(missing).into()
            }
            Err(Obstacle::StillBlocked) => Pending::StillBlocked.into(),
            Err(Obstacle::Failed(error)) => {
                output.truncate(start);
                self.write_error(&error, session.protocol, output);
                Outcome::Done
            }
        }
    }

    /// What follows a command's function, without its locks.
    #[inline(always)]
    fn conclude(
        &mut self,
        row: Row,
        called: &mut Called,
        session: &Session,
        arguments: &[&[u8]],
        start: usize,
        output: &mut Vec<u8>,
    ) -> Outcome {
        self.last_lsn = called.lsn.unwrap_or(self.last_lsn);
        if self.journal.has_events() {
            let events = self.journal.take_events();
            self.server.publish_events(&self.settings, events);
        }
        match std::mem::take(&mut called.blocked) {
            Blocked::No => {}
            Blocked::Still => return Pending::StillBlocked.into(),
            Blocked::As(waiter) => return Pending::Blocked(waiter).into(),
        }
        let has_failed = called.result.is_err() || called.replied_error;
        self.count(row, session, called.counts, has_failed);
        // A job's time is charged when it is done.
        if called.job.is_none() && self.stopwatch.end_command(row.number) {
            let nanoseconds = self.stopwatch.last_command_nanoseconds();
            self.server.note_slow(session, row, arguments, nanoseconds);
        }
        if let Err(error) = &called.result {
            output.truncate(start);
            self.write_error(error, session.protocol, output);
        }
        if self.serving.is_none() && self.journal.has_written() {
            let told = self.journal.told();
            let written = self.journal.take_written();
            self.server.invalidate(&written, told, Some(session.id));
            self.serve_blocked(written);
        } else if self.serving.is_none() && self.server.has_deferred_keys() {
            self.serve_blocked(Vec::new());
        }
        match called.job.take() {
            None => Outcome::Done,
            Some(job) => Pending::Job(job).into(),
        }
    }

    /// Loads the snapshot blocks of keys that have not been touched since the start, before any lock is taken.
    fn load_blocks(&self) -> Result<(), InternalError> {
        let lazy = &self.server.lazy;
        for named in &self.keys {
            let generation = self.server.keyspace.generation(named.database);
            lazy.ensure_loaded(generation, named.hash, &self.server.keyspace)?;
        }
        Ok(())
    }

    /// A command that could not run because of us: the cause is logged, the client learns that it failed.
    fn fail(&self, error: &InternalError, session: &Session, output: &mut Vec<u8>) -> Outcome {
        self.write_error(&internal(error), session.protocol, output);
        Outcome::Done
    }

    #[inline(always)]
    fn count(&mut self, row: Row, session: &Session, counts: LookupCounts, failed: bool) {
        let metrics = &*self.metrics;
        add(&metrics.commands, 1);
        session.commands.set(session.commands.get() + 1);
        self.last_command = row.number;
        let command = &metrics.by_command[row.number];
        add(&command.calls, 1);
        if failed {
            add(&command.failed, 1);
        }
        if counts != LookupCounts::default() {
            add(&metrics.hits, counts.hits);
            add(&metrics.misses, counts.misses);
            add(&metrics.expired, counts.expired);
            add(&metrics.expired_fields, counts.expired_fields);
        }
        let changes = std::mem::take(&mut self.journal.changes);
        if changes > 0 {
            add(&metrics.changes, changes);
        }
    }

    /// Counts a blocking command that ended without being run again: on a timeout, or by CLIENT UNBLOCK.
    pub fn count_unserved(&mut self, session: &Session, arguments: &[Box<[u8]>]) {
        let arguments: Vec<&[u8]> = arguments.iter().map(|argument| &**argument).collect();
        if let Ok(row) = transactions::resolve(&arguments) {
            self.count(row, session, LookupCounts::default(), false);
        }
    }

    /// What the words of a command line tell ahead of its turn.
    #[inline]
    pub fn foresee<'a>(&self, word: impl Fn(usize) -> Option<&'a [u8]>) -> Foresight {
        let row = word(0).and_then(table::find);
        // Of a container, the subcommand decides where the keys are.
        let first_key = row
            .filter(|row| row.spec.subcommands.is_empty())
            .and_then(|row| row.spec.first_key());
        let first_hash = first_key
            .and_then(word)
            .map(|key| self.server.keyspace.hash(key));
        Foresight { row, first_hash }
    }

    /// Prefetches the slot of a key that a command will soon look up. Never waits for a lock.
    pub fn prefetch_slot(&self, session: &Session, hash: u64) {
        self.server.keyspace.prefetch_slot(session.database, hash);
    }

    /// Prefetches the entry of such a key, once its slot has arrived.
    pub fn prefetch_entry(&self, session: &Session, hash: u64) {
        self.server.keyspace.prefetch_entry(session.database, hash);
    }

    /// The number of the row that ran last.
    pub fn last_command(&self) -> usize {
        self.last_command
    }

    /// Runs a job's reply with this worker's server: what the blocking pool calls.
    pub fn run_job(server: &Server, job: Job, protocol: Protocol) -> Vec<u8> {
        let mut output = Vec::new();
        let mut reply = Reply::new(&mut output, protocol);
        let services: &dyn Services = server;
        if let Err(error) = job(services, &mut reply) {
            reply.rewind(0);
            reply.error(error.text());
            server.error_counts.note(error.text());
            server.job_errors.fetch_add(1, Ordering::Relaxed);
        }
        output
    }
}

/// An error of ours as the client learns of it; the cause is logged here.
fn internal(error: &InternalError) -> CommandError {
    tracing::error!(%error, "a command failed");
    CommandError::new(format!("ERR internal error: {error}"))
}

/// True for what runs while a script runs for too long: it takes no shard's lock, and among it is what ends the script.
fn is_allowed_while_busy(row: Row, arguments: &[&[u8]]) -> bool {
    const ALLOWED: &[&str] = &[
        "auth", "hello", "multi", "discard", "unwatch", "quit", "reset",
    ];
    let is = |index: usize, name: &str| {
        arguments
            .get(index)
            .is_some_and(|argument| argument.eq_ignore_ascii_case(name.as_bytes()))
    };
    ALLOWED.contains(&row.spec.name)
        || row.spec.group == Group::PubSub && row.spec.name.ends_with("subscribe")
        || is(0, "script") && is(1, "kill")
        || is(0, "function") && (is(1, "kill") || is(1, "stats"))
        || is(0, "shutdown") && (1..arguments.len()).any(|index| is(index, "nosave"))
}

/// A refused command spoils its transaction; a refused EXEC ends it, and says so even if there is none.
fn refuse_in_transaction(
    session: &mut Session,
    arguments: &[&[u8]],
    error: CommandError,
) -> CommandError {
    let row = transactions::find_row(arguments);
    if !row.is_ok_and(|row| row.spec.flags.has(Flags::RUNS_QUEUE)) {
        if let Some(transaction) = &mut session.transaction {
            transaction.aborted = true;
        }
        return error;
    }
    session.transaction = None;
    session.watched.clear();
    let text = error.text();
    let cause = text.strip_prefix("ERR ").unwrap_or(text);
    CommandError::new(format!(
        "EXECABORT Transaction discarded because of: {cause}"
    ))
}

/// The queue of a transaction that cannot run under one set of locks, because it holds a command that walks the
/// keyspace or waits for the disk. The session leaves the transaction.
fn sequential_queue(session: &mut Session) -> Option<Vec<Vec<Box<[u8]>>>> {
    let transaction = session.transaction.as_ref()?;
    let is_offloaded = |queued: &Vec<Box<[u8]>>| {
        let arguments: Vec<&[u8]> = queued.iter().map(|argument| &**argument).collect();
        transactions::resolve(&arguments).is_ok_and(|row| row.spec.is_offloaded(&arguments))
    };
    if transaction.aborted || !transaction.queue.iter().any(is_offloaded) {
        return None;
    }
    session
        .transaction
        .take()
        .map(|transaction| transaction.queue)
}

/// CLIENT REPLY: takes away the reply that begins at `start`, if the client wants none.
pub fn apply_reply_mode(session: &mut Session, start: usize, output: &mut Vec<u8>) {
    match session.reply_mode {
        ReplyMode::On => {}
        ReplyMode::Off => output.truncate(start),
        ReplyMode::SkipNext => {
            output.truncate(start);
            session.reply_mode = ReplyMode::Skip;
        }
        ReplyMode::Skip => {
            output.truncate(start);
            session.reply_mode = ReplyMode::On;
        }
    }
}
