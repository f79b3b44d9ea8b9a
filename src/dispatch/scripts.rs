//! Scripts, which may run for long: each runs on a stack of its own, with all that it works with, so that its thread can
//! leave it in the middle and serve other connections. They hear BUSY then, and take no locks of shards: the script may hold
//! them.

use super::bench::{Bench, Called, Locking, Obstacle};
use super::{Dispatcher, NamedKey, Outcome, Pending, Request, apply_reply_mode};
use crate::commands::Session;
use crate::commands::script::stack::{self, Progress, Suspended};
use crate::commands::table::Row;
use crate::config::Settings;
use crate::error::CommandError;
use crate::keyspace::Journal;
use crate::server::Server;
use crate::tier::Fetched;
use std::sync::Arc;

/// Command lines of at most so many arguments are run without an allocation for the list of them.
const INLINE_ARGUMENTS: usize = 16;
/// Buffers that grew larger are not kept.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// All that one run of a script works with, owned. A thread uses it again for its next script: only what differs is copied.
pub(super) struct ScriptRun {
    server: Arc<Server>,
    settings: Arc<Settings>,
    journal: Journal,
    keys: Vec<NamedKey>,
    now_ms: u64,
    row: Row,
    /// A session of the script's own: what it changes there ends with it.
    session: Session,
    arguments: Arguments,
    fetched: Vec<Fetched>,
    output: Vec<u8>,
    called: Called,
    /// Set when it has come to its end.
    done: Option<Result<(), Obstacle>>,
}

/// A script that was left in the middle.
pub struct SuspendedScript(Suspended<Box<ScriptRun>>);

/// Arguments, one behind the other, and their ends.
#[derive(Default)]
struct Arguments {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arguments {
    fn copy_from(&mut self, arguments: &[&[u8]]) {
        self.bytes.clear();
        self.ends.clear();
        for argument in arguments {
            self.bytes.extend_from_slice(argument);
            self.ends.push(self.bytes.len());
        }
    }

    fn with_slices<R>(&self, work: impl FnOnce(&[&[u8]]) -> R) -> R {
        let mut start = 0;
        let slices = self
            .ends
            .iter()
            .map(|end| &self.bytes[std::mem::replace(&mut start, *end)..*end]);
        if self.ends.len() > INLINE_ARGUMENTS {
            return work(&slices.collect::<Vec<_>>());
        }
        let mut inline: [&[u8]; INLINE_ARGUMENTS] = [&[]; INLINE_ARGUMENTS];
        let places = inline.iter_mut().zip(slices);
        places.for_each(|(place, slice)| *place = slice);
        work(&inline[..self.ends.len()])
    }
}

impl ScriptRun {
    fn run(&mut self) {
        let mut bench = Bench {
            server: &self.server,
            settings: &self.settings,
            journal: &mut self.journal,
            keys: &self.keys,
            owned_keys: &[],
            now_ms: self.now_ms,
            serving: None,
            called: &mut self.called,
        };
        let (row, session, fetched) = (self.row, &mut self.session, &self.fetched);
        let (locking, output) = (Locking::DeclaredKeys, &mut self.output);
        let run =
            |arguments: &[&[u8]]| bench.run(row, session, arguments, fetched, locking, output);
        self.done = Some(self.arguments.with_slices(run));
    }

    /// Forgets the run, keeping the memory unless it became large.
    fn clear(&mut self) {
        self.fetched.clear();
        self.output.clear();
        self.output.shrink_to(KEPT_BYTES_MAX);
        self.arguments.bytes.clear();
        self.arguments.bytes.shrink_to(KEPT_BYTES_MAX);
        self.arguments.ends.shrink_to(KEPT_BYTES_MAX / 16);
    }
}

impl Dispatcher {
    /// A run for this command, with the memory of the one before.
    fn begin_script(&mut self, row: Row, session: &mut Session) -> Box<ScriptRun> {
        let mut run = self.spare_script.take().unwrap_or_else(|| {
            Box::new(ScriptRun {
                server: Arc::clone(&self.server),
                settings: Arc::clone(&self.settings),
                journal: Journal::default(),
                keys: Vec::new(),
                now_ms: 0,
                row,
                session: Session::new(session.id, false, String::new(), String::new()),
                arguments: Arguments::default(),
                fetched: Vec::new(),
                output: Vec::new(),
                called: Called::default(),
                done: None,
            })
        });
        if !Arc::ptr_eq(&run.settings, &self.settings) {
            run.settings = Arc::clone(&self.settings);
        }
        std::mem::swap(&mut run.journal, &mut self.journal);
        std::mem::swap(&mut run.keys, &mut self.keys);
        (run.now_ms, run.row) = (self.now_ms, row);
        run.session.become_script_of(session);
        session.caching_given &= session.transaction.is_some();
        run
    }

    /// Runs a script whose declared keys were collected.
    pub(super) fn run_script(
        &mut self,
        row: Row,
        session: &mut Session,
        request: Request<'_>,
        fetched: &[Fetched],
        output: &mut Vec<u8>,
    ) -> Outcome {
        let mut run = self.begin_script(row, session);
        run.arguments.copy_from(request.arguments);
        run.fetched.extend_from_slice(fetched);
        let work = move || {
            run.run();
            run
        };
        match stack::run(work) {
            Ok(Progress::Done(run)) => {
                self.end_script(run, session, Some(request.arguments), output)
            }
            Ok(Progress::Suspended(script)) => Pending::Suspended(SuspendedScript(script)).into(),
            Err(error) => {
                let error = CommandError::new(format!("ERR no stack for a script: {error}"));
                self.write_error(&error, session.protocol, output);
                Outcome::Done
            }
        }
    }

    /// Goes on with a script for a moment.
    pub fn resume_script(
        &mut self,
        session: &mut Session,
        script: SuspendedScript,
        output: &mut Vec<u8>,
    ) -> Outcome {
        let start = output.len();
        let outcome = match script.0.resume() {
            Progress::Done(run) => self.end_script(run, session, None, output),
            Progress::Suspended(script) => Pending::Suspended(SuspendedScript(script)).into(),
        };
        if matches!(outcome, Outcome::Done) {
            apply_reply_mode(session, start, output);
        }
        outcome
    }

    /// `arguments` are those of the run, where somebody still has them.
    fn end_script(
        &mut self,
        mut run: Box<ScriptRun>,
        session: &Session,
        arguments: Option<&[&[u8]]>,
        output: &mut Vec<u8>,
    ) -> Outcome {
        let start = output.len();
        output.extend_from_slice(&run.output);
        // Between commands a journal is empty: what other commands used meanwhile may go.
        std::mem::swap(&mut run.journal, &mut self.journal);
        std::mem::swap(&mut run.keys, &mut self.keys);
        let commands = session.commands.get() + run.session.commands.take();
        session.commands.set(commands);
        let mut called = std::mem::take(&mut run.called);
        let done = match run.done.take() {
            Some(Err(obstacle)) => Err(obstacle),
            Some(Ok(())) | None => Ok(&mut called),
        };
        let outcome = match arguments {
            Some(arguments) => self.finish(run.row, done, session, arguments, (start, output)),
            None => run.arguments.with_slices(|arguments| {
                self.finish(run.row, done, session, arguments, (start, output))
            }),
        };
        run.clear();
        self.spare_script = Some(run);
        outcome
    }
}
