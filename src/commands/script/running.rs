//! One run of a script: the commands that it calls, and what they may do.
//!
//! A nested command is looked up, checked and called like any other, on the same [`Context`] and under the same locks. A key
//! that the script did not declare is locked when it is first named, without waiting, because other threads may wait for what
//! this one holds. If that fails the run is given up: whatever the script does from then on raises an error, dispatch rolls its
//! changes back, and runs it again under all locks. See `docs/decisions/0014-scripts.md`.

use super::convert;
use super::raised::{counted_error, plain_error, reply_error};
use super::raw::Failure;
use super::shebang::ScriptFlags;
use super::slow::SlowScript;
use super::stack;
use super::values::{Seen, Stack};
use crate::clock::{TickLength, ticks};
use crate::commands::acl::{self, LogContext};
use crate::commands::context::{Context, Ran, Retry};
use crate::commands::spec::Flags;
use crate::commands::table::{self, Row};
use crate::commands::transactions;
use crate::error::CommandError;
use crate::resp::{Protocol, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Commands of at most so many arguments are called without an allocation for the list of them.
const INLINE_ARGUMENTS: usize = 12;

/// Why a nested command did not run.
enum Refusal {
    /// The script gets this error.
    Error(CommandError),
    /// The run was given up.
    GivenUp,
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Refusal {
        Refusal::Error(error)
    }
}

/// Buffers that runs on one thread share.
#[derive(Default)]
pub struct Buffers {
    /// The numbers among a command's arguments as texts, one behind the other; which arguments they are, and where they end.
    numbers: Vec<u8>,
    ends: Vec<(usize, usize)>,
    reply: Vec<u8>,
}

/// What a run is called, and how long it may take before others are told.
pub struct Watch<'a> {
    /// Digest, or name of the function.
    pub name: &'a str,
    /// A function, not a script of EVAL.
    pub is_function: bool,
    /// The command line.
    pub command: &'a [&'a [u8]],
    /// `busy-reply-threshold`; 0: never.
    pub limit_ms: u64,
}

/// What a run that looked at the clock has to do.
pub enum Tick {
    /// Go on.
    Continue,
    /// Let the thread do something else.
    Pause,
    /// End.
    End,
}

/// See the module's comment.
pub struct Running<'r, 'c> {
    watch: &'r Watch<'r>,
    /// In ticks of the processor.
    started: u64,
    slow: Option<Arc<SlowScript>>,
    /// It was told to end.
    pub is_killed: bool,
    /// What the script's own command was given.
    pub context: &'r mut Context<'c>,
    /// The dialect that the script chose with `redis.setresp`.
    pub protocol: Protocol,
    /// Write commands are refused.
    is_read_only: bool,
    /// Commands that need memory are not refused.
    allows_oom: bool,
    /// A command that writes was called.
    has_written: bool,
    /// The locks were gone in between: what was changed before cannot be rolled back.
    is_loose: bool,
    tick_length: &'r mut TickLength,
    buffers: Buffers,
}

impl<'r, 'c> Running<'r, 'c> {
    /// A run with these flags (`None`: none were declared).
    pub fn new(
        context: &'r mut Context<'c>,
        flags: Option<ScriptFlags>,
        is_read_only: bool,
        (watch, tick_length, buffers): (&'r Watch<'r>, &'r mut TickLength, Buffers),
    ) -> Running<'r, 'c> {
        let declared = flags.unwrap_or_default();
        Running {
            watch,
            started: ticks(),
            slow: None,
            is_killed: false,
            context,
            protocol: Protocol::Resp2,
            is_read_only: is_read_only || declared.has(ScriptFlags::NO_WRITES),
            allows_oom: declared.has(ScriptFlags::ALLOW_OOM),
            has_written: false,
            is_loose: false,
            tick_length,
            buffers,
        }
    }

    /// Looks at the clock: called from time to time while Lua code runs.
    pub fn tick(&mut self) -> Tick {
        let limit = Duration::from_millis(self.watch.limit_ms);
        if limit.is_zero() || self.started().elapsed() < limit {
            return Tick::Continue;
        }
        let slow = self.enter_slow();
        if self.has_written {
            slow.has_written.store(true, Ordering::Release);
        } else if slow.is_killed.load(Ordering::Acquire) {
            tracing::info!(name = self.watch.name, "a script was killed by a client");
            self.is_killed = true;
            return Tick::End;
        }
        Tick::Pause
    }

    /// When the run began.
    fn started(&mut self) -> Instant {
        let nanoseconds = self.tick_length.nanoseconds_since(self.started);
        let now = Instant::now();
        now.checked_sub(Duration::from_nanos(nanoseconds))
            .unwrap_or(now)
    }

    /// This run among those that run for too long.
    fn enter_slow(&mut self) -> Arc<SlowScript> {
        if let Some(slow) = &self.slow {
            return Arc::clone(slow);
        }
        let slow = self.watch.enter(self.started(), self.context);
        self.slow = Some(Arc::clone(&slow));
        slow
    }

    /// Ends the run: others are let in again. Gives back the buffers, for the next run.
    pub fn end(mut self) -> Buffers {
        const KEPT_BYTES_MAX: usize = 1 << 20;
        let mut buffers = std::mem::take(&mut self.buffers);
        buffers.reply.shrink_to(KEPT_BYTES_MAX);
        buffers
    }

    /// `redis.call`, or without `raises` `redis.pcall`: runs the command that is on the stack and pushes what it replied.
    ///
    /// # Errors
    /// There is no reply; what the script gets instead.
    pub fn call(&mut self, stack: &mut Stack, raises: bool) -> Result<(), Failure> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let performed = self.perform(stack, &mut buffers, raises);
        if performed.is_ok() {
            stack.drop_arguments();
            convert::push_reply(stack, &buffers.reply);
        }
        self.buffers = buffers;
        performed
    }

    /// The reply is in the buffer for replies then.
    fn perform(
        &mut self,
        stack: &Stack,
        buffers: &mut Buffers,
        raises: bool,
    ) -> Result<(), Failure> {
        match self.call_with(stack, buffers) {
            Err(text) if raises => Err(Failure::Raise(reply_error(text))),
            Err(text) => Err(Failure::Table(text.into(), false)),
            Ok(Ok(())) if raises && buffers.reply.first() == Some(&b'-') => {
                let reply = &buffers.reply[1..];
                let text = reply.strip_suffix(b"\r\n").unwrap_or(reply);
                Err(Failure::Raise(counted_error(text)))
            }
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refusal::Error(error))) if raises => {
                Err(Failure::Raise(counted_error(error.text())))
            }
            Ok(Err(Refusal::Error(error))) => Err(Failure::Table(error.text().into(), true)),
            Ok(Err(Refusal::GivenUp)) => {
                Err(Failure::Raise(plain_error("the script is run again")))
            }
        }
    }

    /// Texts are taken from where Lua keeps them: nothing of Lua's runs meanwhile. Numbers become texts.
    ///
    /// # Errors
    /// The arguments are none of a command.
    fn call_with(
        &mut self,
        stack: &Stack,
        buffers: &mut Buffers,
    ) -> Result<Result<(), Refusal>, &'static str> {
        buffers.numbers.clear();
        buffers.ends.clear();
        buffers.reply.clear();
        let count = stack.arguments();
        let mut inline: [&[u8]; INLINE_ARGUMENTS] = [&[]; INLINE_ARGUMENTS];
        let mut many: Vec<&[u8]>;
        let arguments = if count <= INLINE_ARGUMENTS {
            &mut inline[..count]
        } else {
            many = vec![&[]; count];
            &mut many[..]
        };
        if arguments.is_empty() {
            return Err("ERR Please specify at least one argument for this redis lib call");
        }
        for (index, place) in arguments.iter_mut().enumerate() {
            match stack.argument(index + 1) {
                Seen::Text(text) => *place = text,
                Seen::Number(number) => {
                    convert::push_number(number, &mut buffers.numbers);
                    buffers.ends.push((index, buffers.numbers.len()));
                }
                _ => return Err("ERR Lua redis lib command arguments must be strings or integers"),
            }
        }
        let mut start = 0;
        for (index, end) in &buffers.ends {
            arguments[*index] = &buffers.numbers[std::mem::replace(&mut start, *end)..*end];
        }
        Ok(self.execute(arguments, &mut buffers.reply))
    }

    fn execute(&mut self, arguments: &[&[u8]], output: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.context.retry.is_some() {
            return Err(Refusal::GivenUp);
        }
        let services = self.context.services;
        let row = look_up(arguments).inspect_err(|error| services.note_error(error.text()))?;
        let may_run = self
            .check(row, arguments)
            .and_then(|()| self.hold_keys(row, arguments));
        if let Err(refusal) = may_run {
            if let Refusal::Error(error) = &refusal {
                self.note_rejected(row, arguments, error);
            }
            return Err(refusal);
        }
        let context = &mut *self.context;
        context.keys.counts_lookups = row.spec.flags.has(Flags::READONLY);
        let mut reply = Reply::new(output, self.protocol);
        let started = ticks();
        let result = transactions::invoke(context, row, arguments, &mut reply);
        let job = context.job.take();
        let result = match (result, job) {
            (Ok(()), Some(job)) => self.run_outside(job, &mut reply),
            (result, _) => result,
        };
        if let Err(error) = &result {
            reply.rewind(0);
            reply.error(error.text());
        }
        let ran = Ran {
            row,
            arguments,
            settings: self.context.settings,
            nanoseconds: self.tick_length.nanoseconds_since(started),
            error: result.as_ref().err().map(CommandError::text),
            has_failed: result.is_err(),
            was_rejected: false,
        };
        self.context.services.ran_inside(self.context.session, &ran);
        self.context.keys.select(self.context.session.database);
        Ok(())
    }

    fn is_allowed_for_tests(&self, flags: Flags) -> bool {
        let runs_at_once = flags.has(Flags::ADMIN) && !flags.has(Flags::OFFLOADED);
        let scripts = self.context.services.scripts();
        runs_at_once && scripts.allows_administration.load(Ordering::Relaxed)
    }

    fn note_rejected(&self, row: Row, arguments: &[&[u8]], error: &CommandError) {
        let ran = Ran {
            row,
            arguments,
            settings: self.context.settings,
            nanoseconds: 0,
            error: Some(error.text()),
            has_failed: true,
            was_rejected: true,
        };
        self.context.services.ran_inside(self.context.session, &ran);
    }

    /// Checks what a script may call, in Redis's order.
    fn check(&mut self, row: Row, arguments: &[&[u8]]) -> Result<(), Refusal> {
        let flags = row.spec.flags;
        if flags.has(Flags::NOSCRIPT) && !self.is_allowed_for_tests(flags) {
            return Err(
                CommandError::fixed("ERR This Redis command is not allowed from script").into(),
            );
        }
        let context = &*self.context;
        let checked = acl::check_and_log(
            context.session,
            context.settings,
            context.services,
            row,
            arguments,
            LogContext::Script,
        );
        if let Err(denial) = checked {
            let denial = denial.error(context.session.user(), row, arguments);
            let text = denial.text().trim_start_matches("NOPERM ");
            return Err(CommandError::new(format!("ERR ACL failure in script: {text}")).into());
        }
        let writes = flags.has(Flags::WRITE);
        if self.is_read_only && (writes || flags.has(Flags::MAY_REPLICATE)) {
            return Err(CommandError::fixed(
                "ERR Write commands are not allowed from read-only scripts.",
            )
            .into());
        }
        if writes && !self.has_written && context.settings.asks_for_replicas() {
            return Err(CommandError::NO_REPLICAS.into());
        }
        let may_be_refused = flags.has(Flags::DENYOOM) && !self.allows_oom && !self.has_written;
        if may_be_refused && self.context.services.is_out_of_memory() {
            return Err(CommandError::OUT_OF_MEMORY.into());
        }
        self.has_written |= writes;
        Ok(())
    }

    /// Locks the shards of a command's keys and makes the keys resident.
    fn hold_keys(&mut self, row: Row, arguments: &[&[u8]]) -> Result<(), Refusal> {
        let mut indices = [0; INLINE_ARGUMENTS];
        let mut more = Vec::new();
        let mut count = 0;
        row.spec.for_each_key(arguments, |index| {
            match indices.get_mut(count) {
                Some(place) => *place = index,
                None => more.push(index),
            }
            count += 1;
        });
        let selected = self.context.keys.database();
        let other = row.spec.other_database.and_then(|other| other(arguments));
        let other = other.filter(|other| *other < self.context.keys.databases());
        for index in indices[..count.min(INLINE_ARGUMENTS)].iter().chain(&more) {
            self.hold_key(selected, arguments[*index])?;
            if let Some(other) = other {
                self.hold_key(other, arguments[*index])?;
            }
        }
        Ok(())
    }

    fn hold_key(&mut self, database: u32, key: &[u8]) -> Result<(), Refusal> {
        let mut context = &mut *self.context;
        let hash = context.keys.hash_of(key);
        if !context.keys.try_hold(hash) {
            context.retry = Some(Retry::UnderAllLocks);
            return Err(Refusal::GivenUp);
        }
        while !context
            .services
            .make_resident(&mut context.keys, database, hash, key)?
        {
            if !self.is_loose {
                context.retry = Some(Retry::WithBlock { database, hash });
                return Err(Refusal::GivenUp);
            }
            context.keys.release();
            let loaded = context.services.load_block(database, hash);
            self.hold_everything();
            loaded?;
            context = &mut *self.context;
        }
        Ok(())
    }

    /// Runs what walks the whole keyspace or waits for the disk. It takes locks itself, so the script's go meanwhile: what
    /// the script did so far becomes a record, and from here on it holds all locks, so that nothing can make it start over.
    fn run_outside(
        &mut self,
        job: crate::commands::Job,
        reply: &mut Reply<'_>,
    ) -> Result<(), CommandError> {
        let context = &mut *self.context;
        context.keys.commit();
        context.keys.forget_former();
        context.keys.release();
        self.is_loose = true;
        while self.others_hold_locks() {
            self.pause_without_locks();
        }
        let result = job(self.context.services, reply);
        self.hold_everything();
        result
    }

    fn others_hold_locks(&self) -> bool {
        let slow = &self.context.services.scripts().slow;
        slow.another_holds_locks(self.slow.as_ref())
    }

    /// Locks all shards. While another script, which may never end, has some of them, this one holds none, and its thread serves
    /// others.
    fn hold_everything(&mut self) {
        loop {
            let slow = &self.context.services.scripts().slow;
            let own = self.slow.as_ref();
            let gives_up = || slow.another_holds_locks(own);
            if self.context.keys.hold_all_unless(&gives_up) {
                break;
            }
            self.pause_without_locks();
        }
        if let Some(slow) = &self.slow {
            slow.holds_locks.store(true, Ordering::Release);
        }
    }

    /// Leaves the thread to others, who hear BUSY. Within MULTI there is no stack to leave: the thread waits.
    fn pause_without_locks(&mut self) {
        const NEXT_TRY: Duration = Duration::from_millis(1);
        let slow = self.enter_slow();
        slow.has_written.store(self.has_written, Ordering::Release);
        slow.holds_locks.store(false, Ordering::Release);
        if !stack::suspend() {
            std::thread::sleep(NEXT_TRY);
        }
    }
}

impl Drop for Running<'_, '_> {
    /// Others are let in again, also after a panic.
    fn drop(&mut self) {
        if let Some(slow) = self.slow.take() {
            self.context.services.scripts().slow.leave(&slow);
        }
    }
}

impl Watch<'_> {
    fn enter(&self, started: Instant, context: &Context<'_>) -> Arc<SlowScript> {
        tracing::warn!(
            name = self.name,
            limit_ms = self.limit_ms,
            "a slow script still runs; other clients get BUSY"
        );
        let slow = Arc::new(SlowScript {
            is_function: self.is_function,
            name: self.name.to_owned(),
            command: self
                .command
                .iter()
                .map(|argument| argument.to_vec())
                .collect(),
            started,
            has_written: AtomicBool::new(false),
            is_killed: AtomicBool::new(false),
            holds_locks: AtomicBool::new(true),
        });
        context.services.scripts().slow.enter(Arc::clone(&slow));
        slow
    }
}

/// The row of a command line, in the words that scripts get to hear.
pub fn look_up(arguments: &[&[u8]]) -> Result<Row, CommandError> {
    const UNKNOWN: CommandError =
        CommandError::fixed("ERR Unknown Redis command called from script");
    let mut row = table::find(arguments[0]).ok_or(UNKNOWN)?;
    if !row.spec.subcommands.is_empty() && arguments.len() > 1 {
        row = table::find_subcommand(row, arguments[1]).ok_or(UNKNOWN)?;
    }
    if row.spec.arity_allows(arguments.len()) {
        Ok(row)
    } else {
        Err(CommandError::fixed(
            "ERR Wrong number of args calling Redis command from script",
        ))
    }
}
