//! Where a command runs: its keys locked and resident, its effects logged under the same locks.

use super::{NamedKey, internal};
use crate::commands::table::Row;
use crate::commands::{Context, Flags, Job, Retry, Services, Session};
use crate::config::Settings;
use crate::error::{CommandError, CommandResult, InternalError};
use crate::keyspace::{Journal, Keys, LookupCounts};
use crate::resp::Reply;
use crate::server::Server;
use crate::tier::{FetchTicket, Fetched, KeyRequest, Residency};

/// What a command works with, apart from its client. It borrows from a worker's dispatcher, or from a script that owns its own.
pub struct Bench<'a> {
    pub server: &'a Server,
    pub settings: &'a Settings,
    pub journal: &'a mut Journal,
    pub keys: &'a [NamedKey],
    pub owned_keys: &'a [Box<[u8]>],
    pub hashes: &'a [u64],
    pub now_ms: u64,
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
    /// The LSN of the last record of its effects, if it had any.
    pub lsn: Option<u64>,
    pub counts: LookupCounts,
    pub job: Option<Job>,
    /// Set: the command did not come to its end, what it did is rolled back, and it is to run again.
    retry: Option<Retry>,
}

/// Why a command did not run.
pub enum Obstacle {
    /// These keys have to be fetched first.
    Fetch(Vec<FetchTicket>),
    /// It cannot.
    Failed(CommandError),
}

impl Bench<'_> {
    /// Runs a command; one that has to start over does so. Its reply is appended to `output`.
    pub fn run(
        &mut self,
        row: Row,
        session: &mut Session,
        arguments: &[&[u8]],
        fetched: &[Fetched],
        mut locking: Locking,
        output: &mut Vec<u8>,
    ) -> Result<Called, Obstacle> {
        let start = output.len();
        loop {
            let called = self.attempt(row, session, arguments, fetched, locking, output)?;
            match called.retry {
                None => return Ok(called),
                Some(Retry::UnderAllLocks) => locking = Locking::Everything,
                Some(Retry::WithBlock { database, hash }) => {
                    let loaded = self.server.load_block(database, hash);
                    loaded.map_err(Obstacle::Failed)?;
                }
            }
            output.truncate(start);
        }
    }

    fn attempt(
        &mut self,
        row: Row,
        session: &mut Session,
        arguments: &[&[u8]],
        fetched: &[Fetched],
        locking: Locking,
        output: &mut Vec<u8>,
    ) -> Result<Called, Obstacle> {
        let server = self.server;
        let slow = &server.scripts.slow;
        let hashes = (locking == Locking::DeclaredKeys).then_some(self.hashes);
        let keys = Keys::lock_unless(
            &server.keyspace,
            hashes,
            self.journal,
            &*server.recorder,
            (session.database, self.now_ms),
            &|| slow.any(),
        );
        let mut keys = keys.ok_or_else(|| Obstacle::Failed(slow.refusal()))?;
        configure(
            &mut keys,
            row,
            session,
            server.frequency_log_factor(self.settings),
        );
        if let [named] = self.keys
            && self.owned_keys.is_empty()
        {
            keys.know_hash(arguments[named.argument], named.hash);
        }
        if !server.tier.everything_is_hot() {
            let only_looks = row.spec.flags.has(Flags::PEEKS);
            let named = (self.keys, self.owned_keys);
            let missing = make_resident(server, &mut keys, named, arguments, only_looks, fetched)
                .map_err(|error| Obstacle::Failed(internal(&error)))?;
            if !missing.is_empty() {
                return Err(Obstacle::Fetch(missing));
            }
        }
        if row.spec.flags.has(Flags::RUNS_SCRIPT) {
            keys.keep_former();
        }
        let context = Context {
            keys,
            session,
            settings: self.settings,
            services: server,
            now_ms: self.now_ms,
            may_block: true,
            blocked: None,
            job: None,
            retry: None,
        };
        let protocol = context.session.protocol;
        Ok(call(row, context, arguments, Reply::new(output, protocol)))
    }
}

/// Runs the function of a command on its locked, resident keys and logs its effects. The locks go when this returns.
fn call(row: Row, mut context: Context<'_>, arguments: &[&[u8]], mut reply: Reply<'_>) -> Called {
    let result = (row.spec.function)(&mut context, arguments, &mut reply);
    if context.retry.is_some() {
        context.keys.roll_back();
    } else {
        context.keys.commit();
    }
    Called {
        result,
        lsn: context.keys.committed_lsn(),
        counts: context.keys.counts,
        job: context.job.take(),
        retry: context.retry,
    }
}

/// How look-ups of this command count and leave traces.
fn configure(keys: &mut Keys<'_>, row: Row, session: &Session, frequency_log_factor: Option<u32>) {
    keys.counts_lookups = row.spec.flags.has(Flags::READONLY);
    keys.no_touch = session.no_touch;
    keys.frequency_log_factor = frequency_log_factor;
}

/// Makes the keys of a command resident: hot, or lent to a command that only looks. Gives back what has to be fetched.
fn make_resident(
    server: &Server,
    keys: &mut Keys<'_>,
    (named_keys, owned_keys): (&[NamedKey], &[Box<[u8]>]),
    arguments: &[&[u8]],
    only_looks: bool,
    fetched: &[Fetched],
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
        let found = fetched.iter().find(|fetched| fetched.is_for(&request));
        match server
            .tier
            .resolve(keys.shard_mut(named.hash), &request, found)?
        {
            Residency::Present | Residency::Absent => {}
            Residency::Lent(entry) => keys.lend(named.database, entry),
            Residency::Fetch(ticket) => missing.push(ticket),
        }
    }
    Ok(missing)
}
