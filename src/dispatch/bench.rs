//! Where a command runs: its keys locked and resident, its effects logged under the same locks.

use super::blocked::{BlockedClients, Waiter};
use super::{NamedKey, Serving, internal};
use crate::commands::table::Row;
use crate::commands::{Context, Flags, Job, Retry, Services, Session, transactions};
use crate::config::Settings;
use crate::error::{CommandError, CommandResult, InternalError};
use crate::keyspace::{Journal, Keys, LookupCounts};
use crate::resp::Reply;
use crate::server::Server;
use crate::tier::{FetchTicket, Fetched, KeyRequest, Residency};
use std::sync::Arc;

/// What a command works with, apart from its client. It borrows from a worker's dispatcher, or from a script that owns its own.
pub struct Bench<'a> {
    pub server: &'a Server,
    pub settings: &'a Settings,
    pub journal: &'a mut Journal,
    pub keys: &'a [NamedKey],
    pub owned_keys: &'a [Box<[u8]>],
    pub now_ms: u64,
    /// The waiter on whose behalf the command runs.
    pub serving: Option<&'a mut Serving>,
    /// What the command's function left, once it has run. Filled in place: it is too large to be handed from function to function.
    pub called: &'a mut Called,
}

/// Which shards a command locks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// Those of the keys that it names.
    DeclaredKeys,
    /// All: a script that could not lock a key it had not declared, or one within a transaction.
    Everything,
}

/// What a command's function left.
pub struct Called {
    pub result: CommandResult,
    /// It failed, but wrote its reply itself.
    pub replied_error: bool,
    /// The LSN of the last record of its effects, if it had any.
    pub lsn: Option<u64>,
    pub counts: LookupCounts,
    pub job: Option<Job>,
    pub blocked: Blocked,
}

impl Default for Called {
    fn default() -> Called {
        Called {
            result: Ok(()),
            replied_error: false,
            lsn: None,
            counts: LookupCounts::default(),
            job: None,
            blocked: Blocked::No,
        }
    }
}

/// Whether the client waits now.
#[derive(Default)]
pub enum Blocked {
    #[default]
    No,
    /// The waiter on whose behalf the command ran goes on waiting.
    Still,
    /// As this new waiter.
    As(Arc<Waiter>),
}

/// Why a command did not run.
pub enum Obstacle {
    /// There is nothing for the waiter on whose behalf it would run.
    StillBlocked,
    /// These keys have to be fetched first.
    Fetch(Vec<FetchTicket>),
    /// It cannot.
    Failed(CommandError),
}

/// How an attempt to run a command ended before the command did.
enum Unfinished {
    /// What it did is rolled back, and it is to run again.
    StartOver(Retry),
    /// It did not run.
    Obstacle(Obstacle),
}

impl From<Obstacle> for Unfinished {
    fn from(obstacle: Obstacle) -> Unfinished {
        Unfinished::Obstacle(obstacle)
    }
}

impl Bench<'_> {
    /// Runs a command; one that has to start over does so. Its reply is appended to `output`.
    #[inline(always)]
    pub fn run(
        &mut self,
        row: Row,
        session: &mut Session,
        arguments: &[&[u8]],
        fetched: &[Fetched],
        locking: Locking,
        output: &mut Vec<u8>,
    ) -> Result<(), Obstacle> {
        let start = output.len();
        match self.attempt(row, session, arguments, fetched, locking, output) {
            Ok(()) => Ok(()),
            Err(Unfinished::Obstacle(obstacle)) => Err(obstacle),
            Err(Unfinished::StartOver(retry)) => {
                output.truncate(start);
                let locking = self.prepare(retry, locking)?;
                self.run_again(row, session, arguments, fetched, locking, output)
            }
        }
    }

    /// Apart from [`Bench::run`], so that what every command runs through is no loop: the compiler would prepare for its
    /// second round in the first.
    #[cold]
    fn run_again(
        &mut self,
        row: Row,
        session: &mut Session,
        arguments: &[&[u8]],
        fetched: &[Fetched],
        locking: Locking,
        output: &mut Vec<u8>,
    ) -> Result<(), Obstacle> {
        self.run(row, session, arguments, fetched, locking, output)
    }

    /// Gets what a command lacked, and says how it has to lock.
    fn prepare(&self, retry: Retry, locking: Locking) -> Result<Locking, Obstacle> {
        match retry {
            Retry::UnderAllLocks => Ok(Locking::Everything),
            Retry::WithBlock { database, hash } => {
                let loaded = self.server.load_block(database, hash);
                loaded.map(|()| locking).map_err(Obstacle::Failed)
            }
        }
    }

    #[inline(always)]
    fn attempt(
        &mut self,
        row: Row,
        session: &mut Session,
        arguments: &[&[u8]],
        fetched: &[Fetched],
        locking: Locking,
        output: &mut Vec<u8>,
    ) -> Result<(), Unfinished> {
        let server = self.server;
        let is_serving = self.serving.is_some();
        let mut context = Context {
            keys: Keys::without_locks(
                &server.keyspace,
                self.journal,
                &*server.recorder,
                session.database,
                self.now_ms,
            ),
            may_block: !session.must_not_block,
            session,
            settings: self.settings,
            services: server,
            now_ms: self.now_ms,
            replied_error: false,
            // A command that waited was shown when it began to.
            is_monitored: !is_serving && server.monitors.any(),
            by_script: false,
            ignores_block: false,
            blocked: None,
            job: None,
            retry: None,
        };
        let keys = &mut context.keys;
        if !hold(keys, self.keys, locking, server) {
            return Err(give_up(server, self.serving.as_deref()).into());
        }
        configure(keys, row, context.session, server, self.settings);
        if let [named] = self.keys
            && self.owned_keys.is_empty()
        {
            keys.know_hash(arguments[named.argument], named.hash);
        }
        if !server.tier.everything_is_hot() {
            let only_looks = row.spec.flags.has(Flags::PEEKS);
            let named = (self.keys, self.owned_keys);
            let reading = match is_serving {
                true => Reading::AtOnce,
                false => Reading::Fetched(fetched),
            };
            let missing = make_resident(server, keys, named, arguments, only_looks, reading)
                .map_err(|error| Obstacle::Failed(internal(&error)))?;
            if !missing.is_empty() {
                return Err(Obstacle::Fetch(missing).into());
            }
        }
        if let Some(serving) = &mut self.serving
            && !serving.may_be_ready(keys)
        {
            return Err(Obstacle::StillBlocked.into());
        }
        if row.spec.flags.has(Flags::RUNS_SCRIPT) {
            keys.keep_former();
        }
        let registry = (!is_serving).then_some(&server.blocked);
        let reply = Reply::new(output, context.session.protocol);
        call(row, &mut context, arguments, reply, registry, self.called)
    }
}

/// Locks the shards of these keys, or all. False if a script that does not end has one of them.
fn hold(keys: &mut Keys<'_>, named: &[NamedKey], locking: Locking, server: &Server) -> bool {
    let gives_up = || server.scripts.slow.any();
    match locking {
        Locking::DeclaredKeys => keys.hold_unless(named.iter().map(|key| key.hash), &gives_up),
        Locking::Everything => keys.hold_all_unless(&gives_up),
    }
}

/// A script that does not end has the locks. Who waits for a key in a blocking command is tried again after it.
fn give_up(server: &Server, serving: Option<&Serving>) -> Obstacle {
    match serving {
        Some(serving) => {
            server.blocked.defer(serving.key.clone());
            Obstacle::StillBlocked
        }
        None => Obstacle::Failed(server.scripts.slow.refusal()),
    }
}

/// Runs the function of a command on its locked, resident keys and logs its effects. The locks go after this returns;
/// a client that has to wait is in the registry by then.
#[inline(always)]
fn call(
    row: Row,
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    mut reply: Reply<'_>,
    registry: Option<&BlockedClients>,
    called: &mut Called,
) -> Result<(), Unfinished> {
    called.result = transactions::invoke(context, row, arguments, &mut reply);
    if let Some(retry) = context.retry.take() {
        context.keys.roll_back();
        return Err(Unfinished::StartOver(retry));
    }
    context.keys.commit();
    called.blocked = match (context.blocked.take(), registry) {
        (None, _) => Blocked::No,
        (Some(_), None) => Blocked::Still,
        (Some(request), Some(registry)) => {
            let session = context.session.leave_placeholder();
            Blocked::As(registry.block(session, arguments, *request))
        }
    };
    called.replied_error = context.replied_error;
    called.lsn = context.keys.committed_lsn();
    called.counts = context.keys.counts;
    called.job = context.job.take();
    Ok(())
}

/// How look-ups of this command count and leave traces, and who has to hear of its changes.
#[inline(always)]
fn configure(
    keys: &mut Keys<'_>,
    row: Row,
    session: &Session,
    server: &Server,
    settings: &Settings,
) {
    keys.counts_lookups = row.spec.flags.has(Flags::READONLY);
    keys.no_touch = session.no_touch;
    keys.frequency_log_factor = Server::frequency_log_factor(settings);
    keys.listens_to = settings.notify_keyspace_events.worth_keeping();
    keys.notes_written = server.hears_writes();
    keys.keeps_expired = server.pause.is_active();
}

/// How keys that are not in memory are read.
#[derive(Clone, Copy)]
enum Reading<'a> {
    /// By the connection, which waits without a lock; this is what it brought.
    Fetched(&'a [Fetched]),
    /// Here and now, because there is no connection that could wait.
    AtOnce,
}

/// Makes the keys of a command resident: hot, or lent to a command that only looks. Gives back what has to be fetched.
#[inline(never)]
fn make_resident(
    server: &Server,
    keys: &mut Keys<'_>,
    (named_keys, owned_keys): (&[NamedKey], &[Box<[u8]>]),
    arguments: &[&[u8]],
    only_looks: bool,
    reading: Reading<'_>,
) -> Result<Vec<FetchTicket>, InternalError> {
    let mut missing = Vec::new();
    for named in named_keys {
        let key: &[u8] = if owned_keys.is_empty() {
            arguments[named.argument]
        } else {
            &owned_keys[named.argument]
        };
        let generation = server.keyspace.generation(named.database);
        let request = KeyRequest {
            database: named.database,
            generation,
            hash: named.hash,
            key,
            only_looks,
            now_ms: keys.now_ms(),
        };
        let shard = keys.shard_mut(named.hash);
        let residency = match reading {
            Reading::AtOnce => server.tier.resolve_now(shard, &request)?,
            Reading::Fetched(fetched) => {
                let found = fetched.iter().find(|fetched| fetched.is_for(&request));
                server.tier.resolve(shard, &request, found)?
            }
        };
        match residency {
            Residency::Present | Residency::Absent => {}
            Residency::Lent(entry) => keys.lend(named.database, entry),
            Residency::Fetch(ticket) => missing.push(ticket),
        }
    }
    Ok(missing)
}
