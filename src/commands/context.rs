//! What a command function gets to work with.

use super::services::Services;
use super::session::Session;
use crate::config::Settings;
use crate::keyspace::Keys;

/// Work that walks the whole keyspace or waits for the disk. It runs on the blocking pool, without any shard lock,
/// while the connection waits, and writes the reply.
pub type Job = Box<
    dyn FnOnce(&dyn Services, &mut crate::resp::Reply<'_>) -> crate::error::CommandResult + Send,
>;

/// What a client that blocks waits for. The whole command is run again when one of its keys may be ready; it then
/// replies, or blocks again with its place in the queue kept.
#[derive(Clone, Debug)]
pub struct BlockRequest {
    /// The type a key must have for the client to wake.
    pub kind: storage_format::ValueKind,
    /// The keys; the first that is ready serves. Not necessarily all keys of the command (BLMOVE waits for its source).
    pub keys: Vec<Box<[u8]>>,
    /// When the client gets [`BlockRequest::timeout_reply`], in Unix milliseconds; `None`: never.
    pub deadline_ms: Option<u64>,
    /// What it gets then.
    pub timeout_reply: TimeoutReply,
    /// The command line to run when woken, where it differs from the one that blocked (XREAD: `$` became an ID).
    pub arguments: Option<Vec<Box<[u8]>>>,
    /// Also wakes when a key is deleted or becomes another type (XREADGROUP: its group is gone).
    pub also_when_gone: bool,
}

/// A command that ran inside another one.
pub struct Ran<'a> {
    /// Its row.
    pub row: super::table::Row,
    /// Its name and arguments.
    pub arguments: &'a [&'a [u8]],
    /// The settings of the command that it ran in.
    pub settings: &'a Settings,
    /// How long it took.
    pub nanoseconds: u64,
    /// The text of its error, if it failed with one that was not counted yet.
    pub error: Option<&'a str>,
    /// It failed.
    pub has_failed: bool,
    /// It did not run at all, because it was not allowed to.
    pub was_rejected: bool,
}

impl BlockRequest {
    /// Waits for one of these keys to hold this type; gets a null array if none does in time.
    pub fn for_one_of(
        kind: storage_format::ValueKind,
        keys: &[&[u8]],
        deadline_ms: Option<u64>,
    ) -> BlockRequest {
        BlockRequest {
            kind,
            keys: keys.iter().map(|key| Box::from(*key)).collect(),
            deadline_ms,
            timeout_reply: TimeoutReply::NullArray,
            arguments: None,
            also_when_gone: false,
        }
    }
}

/// The reply of a blocking command that nothing came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutReply {
    /// `*-1` in RESP2.
    NullArray,
    /// `$-1` in RESP2.
    Null,
    /// A number (WAIT).
    Integer(i64),
    /// An array of two numbers (WAITAOF).
    Integers(i64, i64),
}

impl TimeoutReply {
    /// Writes it.
    pub fn write(self, reply: &mut crate::resp::Reply<'_>) {
        match self {
            TimeoutReply::NullArray => reply.null_array(),
            TimeoutReply::Null => reply.null(),
            TimeoutReply::Integer(value) => reply.integer(value),
            TimeoutReply::Integers(first, second) => {
                reply.array_header(2);
                reply.integer(first);
                reply.integer(second);
            }
        }
    }
}

/// Everything a command may touch. It names no tier, no log and no socket.
pub struct Context<'a> {
    /// The locked keys of this command, in the session's database.
    pub keys: Keys<'a>,
    /// The client's own state.
    pub session: &'a mut Session,
    /// The settings as they were when the batch began.
    pub settings: &'a Settings,
    /// The server around: what commands ask of it that is not in the keyspace.
    pub services: &'a dyn Services,
    /// Unix time in milliseconds; the same for the whole command.
    pub now_ms: u64,
    /// True if clients watch by MONITOR.
    pub is_monitored: bool,
    /// Set by a script that replied with an error, which it has counted.
    pub replied_error: bool,
    /// True while a script runs: its commands are shown to those clients as the script's.
    pub by_script: bool,
    /// False inside EXEC and scripts: what would block replies at once.
    pub may_block: bool,
    /// Set while a script calls by Valkey's names (`server.call`): a command may ask to wait, and does not.
    pub ignores_block: bool,
    /// Set by [`Context::block`].
    pub blocked: Option<Box<BlockRequest>>,
    /// Set by [`Context::offload`].
    pub job: Option<Job>,
    /// Set by a script that cannot go on: what it did is rolled back, and the command runs again from the start.
    pub retry: Option<Retry>,
}

/// What a script needs to run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// All locks, because that of a key it did not declare was taken.
    UnderAllLocks,
    /// The snapshot block of a key, which cannot be loaded under locks.
    WithBlock {
        /// Database of the key.
        database: u32,
        /// Its placement hash.
        hash: u64,
    },
}

impl Context<'_> {
    /// Leaves the reply to `job`, which runs on the blocking pool after this function returned.
    pub fn offload(
        &mut self,
        job: impl FnOnce(&dyn Services, &mut crate::resp::Reply<'_>) -> crate::error::CommandResult
        + Send
        + 'static,
    ) {
        self.job = Some(Box::new(job));
    }

    /// Makes the client wait as `request` says; where it must not wait, it gets the reply of a timeout at once. The
    /// command's function returns `Ok` after this, having written and changed nothing.
    pub fn block(&mut self, request: BlockRequest, reply: &mut crate::resp::Reply<'_>) {
        if self.may_block {
            self.blocked = Some(Box::new(request));
            return;
        }
        request.timeout_reply.write(reply);
    }

    /// A random number, uniform in 64 bits; not for secrets.
    pub fn random(&mut self) -> u64 {
        self.session.random()
    }
}
