//! Scripts, which may run for long: each runs on a stack of its own, with all that it works with, so that its thread can
//! leave it in the middle and serve other connections. They hear BUSY then, and take no locks of shards: the script may hold
//! them.

use super::bench::{Bench, Called, Locking, Obstacle};
use super::{Dispatcher, NamedKey, Outcome, Request, apply_reply_mode};
use crate::commands::Session;
use crate::commands::script::stack::{self, Progress, Suspended};
use crate::commands::table::Row;
use crate::config::Settings;
use crate::error::CommandError;
use crate::keyspace::Journal;
use crate::server::Server;
use crate::tier::Fetched;
use std::sync::Arc;

/// Room for a usual reply.
const REPLY_BYTES: usize = 64;

/// All that one run of a script works with, owned.
struct ScriptRun {
    server: Arc<Server>,
    settings: Arc<Settings>,
    journal: Journal,
    keys: Vec<NamedKey>,
    hashes: Vec<u64>,
    now_ms: u64,
    row: Row,
    /// A session of the script's own: what it changes there ends with it.
    session: Session,
    /// The arguments, one behind the other, and their ends.
    arguments: (Vec<u8>, Vec<usize>),
    fetched: Vec<Fetched>,
}

/// A run that has come to its end.
struct FinishedRun {
    run: ScriptRun,
    done: Result<Called, Obstacle>,
    output: Vec<u8>,
}

/// A script that was left in the middle.
pub struct SuspendedScript(Suspended<FinishedRun>);

/// Arguments that stand one behind the other.
fn slices<'a>(bytes: &'a [u8], ends: &[usize]) -> Vec<&'a [u8]> {
    let mut start = 0;
    ends.iter()
        .map(|end| &bytes[std::mem::replace(&mut start, *end)..*end])
        .collect()
}

impl ScriptRun {
    fn run(mut self) -> FinishedRun {
        let mut output = Vec::with_capacity(REPLY_BYTES);
        let (bytes, ends) = &self.arguments;
        let arguments = slices(bytes, ends);
        let mut bench = Bench {
            server: &self.server,
            settings: &self.settings,
            journal: &mut self.journal,
            keys: &self.keys,
            owned_keys: &[],
            hashes: &self.hashes,
            now_ms: self.now_ms,
            serving: None,
        };
        let (row, fetched) = (self.row, &self.fetched);
        let locking = Locking::DeclaredKeys;
        let done = bench.run(
            row,
            &mut self.session,
            &arguments,
            fetched,
            locking,
            &mut output,
        );
        FinishedRun {
            run: self,
            done,
            output,
        }
    }
}

impl Dispatcher {
    /// Runs a script whose declared keys were collected.
    pub(super) fn run_script(
        &mut self,
        row: Row,
        session: &mut Session,
        request: Request<'_>,
        fetched: &[Fetched],
        output: &mut Vec<u8>,
    ) -> Outcome {
        let bytes = request
            .arguments
            .iter()
            .map(|argument| argument.len())
            .sum();
        let mut arguments = (
            Vec::with_capacity(bytes),
            Vec::with_capacity(request.arguments.len()),
        );
        for argument in request.arguments {
            arguments.0.extend_from_slice(argument);
            arguments.1.push(arguments.0.len());
        }
        let run = ScriptRun {
            server: Arc::clone(&self.server),
            settings: Arc::clone(&self.settings),
            journal: std::mem::take(&mut self.journal),
            keys: std::mem::take(&mut self.keys),
            hashes: std::mem::take(&mut self.hashes),
            now_ms: self.now_ms,
            row,
            session: session.for_script(),
            arguments,
            fetched: fetched.to_vec(),
        };
        session.caching_given &= session.transaction.is_some();
        match stack::run(move || run.run()) {
            Ok(progress) => self.take_progress(progress, session, output),
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
        let outcome = self.take_progress(script.0.resume(), session, output);
        if matches!(outcome, Outcome::Done) {
            apply_reply_mode(session, start, output);
        }
        outcome
    }

    fn take_progress(
        &mut self,
        progress: Progress<FinishedRun>,
        session: &Session,
        output: &mut Vec<u8>,
    ) -> Outcome {
        let finished = match progress {
            Progress::Done(finished) => finished,
            Progress::Suspended(suspended) => {
                return Outcome::Suspended(SuspendedScript(suspended));
            }
        };
        let start = output.len();
        output.extend_from_slice(&finished.output);
        let run = finished.run;
        // Between commands a journal is empty: what other commands used meanwhile may go.
        self.journal = run.journal;
        self.keys = run.keys;
        self.hashes = run.hashes;
        let commands = session.commands.get() + run.session.commands.get();
        session.commands.set(commands);
        let (bytes, ends) = &run.arguments;
        let arguments = slices(bytes, ends);
        let output = (start, output);
        self.finish(run.row, finished.done, session, &arguments, output)
    }
}
