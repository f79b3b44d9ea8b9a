//! Handing what was written to the clients that wait for it.
//!
//! Called by whoever wrote, after its locks are gone and before it gets its own reply. For each key that was written, the clients that wait for
//! it are tried in the order of their arrival: the command is run again with the client's session; if it blocks again the
//! client stays where it is. What such a command writes (BLMOVE) is dealt with in the same way, after it.

use super::blocked::{DatabaseKey, Waiter, WaiterState, Wake};
use super::{Dispatcher, Outcome, Request, Serving};
use crate::clock;
use crate::commands::acl::{self, LogContext};
use crate::commands::table::Row;
use crate::commands::{Flags, Session, transactions};
use crate::error::CommandError;
use crate::metrics::add;
use crate::tier::Admission;
use std::collections::VecDeque;
use std::sync::Arc;

/// Room for a reply, in bytes: most are an item or two.
const REPLY_BYTES: usize = 256;

/// What became of a try to serve a waiter.
enum Tried {
    /// It has its reply, or somebody else was faster.
    Over,
    /// The key is not there.
    KeyIsGone,
    /// There is nothing in it for this client.
    NotReady,
}

impl Dispatcher {
    /// Serves the clients that wait for these keys, and for those that are written on their behalf.
    pub fn serve_blocked(&mut self, written: Vec<DatabaseKey>) {
        let mut queue = VecDeque::from(written);
        loop {
            let Some(key) = queue.pop_front() else {
                if self.server.has_deferred_keys() {
                    queue.extend(self.server.blocked.take_deferred());
                    continue;
                }
                return;
            };
            let mut is_gone = false;
            for waiter in self.server.blocked.waiting_for(&key) {
                if is_gone && !waiter.request.also_when_gone {
                    continue;
                }
                is_gone = matches!(self.serve_one(&waiter, &key), Tried::KeyIsGone);
                if self.journal.has_written() {
                    let told = self.journal.told();
                    let written = self.journal.take_written();
                    self.server.invalidate(&written, told, Some(waiter.client));
                    queue.extend(written);
                }
            }
        }
    }

    fn serve_one(&mut self, waiter: &Arc<Waiter>, key: &DatabaseKey) -> Tried {
        let tried = self.try_to_serve(waiter, key);
        self.server.end_wait_if_told(waiter);
        tried
    }

    fn try_to_serve(&mut self, waiter: &Arc<Waiter>, key: &DatabaseKey) -> Tried {
        // A transaction may have taken so long that what it wrote has expired.
        self.now_ms = clock::now_ms();
        let mut state = waiter.state.lock();
        let WaiterState::Waiting(session) = &mut *state else {
            return Tried::Over;
        };
        if waiter.is_to_end() {
            return Tried::Over;
        }
        let arguments: Vec<&[u8]> = waiter
            .arguments
            .iter()
            .map(|argument| &**argument)
            .collect();
        let Ok(row) = transactions::resolve(&arguments) else {
            return Tried::NotReady;
        };
        let mut reply = Vec::with_capacity(REPLY_BYTES);
        let former_lsn = std::mem::take(&mut self.last_lsn);
        self.serving = Some(Serving {
            waiter: Arc::clone(waiter),
            key: key.clone(),
            key_is_gone: false,
        });
        let outcome = match self.still_allowed(row, session, &arguments) {
            Ok(()) => self.run(row, session, Request::new(&arguments), &[], &mut reply),
            Err(error) => {
                self.write_error(&error, session.protocol, &mut reply);
                Outcome::Done
            }
        };
        let serving = self.serving.take();
        let lsn = std::mem::replace(&mut self.last_lsn, former_lsn);
        self.last_lsn = self.last_lsn.max(lsn);
        if !matches!(outcome, Outcome::Done) {
            let is_gone = serving.is_some_and(|serving| serving.key_is_gone);
            return if is_gone {
                Tried::KeyIsGone
            } else {
                Tried::NotReady
            };
        }
        if let WaiterState::Waiting(session) = std::mem::replace(&mut *state, WaiterState::Over) {
            let reply = Some(reply);
            *state = WaiterState::Done(Wake {
                session,
                reply,
                lsn,
            });
        }
        drop(state);
        self.has_served = true;
        self.server.blocked.forget(waiter);
        waiter.woken.notify_one();
        Tried::Over
    }

    /// Whether a client that waited may still run its command: its user, the settings and the memory may have changed meanwhile.
    fn still_allowed(
        &self,
        row: Row,
        session: &mut Session,
        arguments: &[&[u8]],
    ) -> Result<(), CommandError> {
        if session.users_version != self.server.users.version() {
            self.refresh_user(session);
        }
        let (settings, services) = (&*self.settings, &*self.server);
        let source = LogContext::TopLevel;
        let checked = acl::check_and_log(session, settings, services, row, arguments, source);
        let needs_memory = row.spec.flags.has(Flags::DENYOOM);
        let refusal = if let Err(denial) = checked {
            denial.error(session.user(), row, arguments)
        } else if needs_memory && self.server.tier.admission() == Admission::Refuse {
            CommandError::OUT_OF_MEMORY
        } else if self.lacks_replicas(row, session, arguments) {
            CommandError::NO_REPLICAS
        } else {
            return Ok(());
        };
        add(&self.metrics.by_command[row.number].rejected, 1);
        Err(refusal)
    }
}
