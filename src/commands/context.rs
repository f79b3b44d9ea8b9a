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
    /// Set by [`Context::offload`].
    pub job: Option<Job>,
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

    /// A random number, uniform in 64 bits; not for secrets.
    pub fn random(&mut self) -> u64 {
        self.session.random()
    }
}
