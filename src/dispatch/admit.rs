//! Whether a command may run: it exists, its arity is right, the client is authenticated, its user may do this, there is
//! memory for it; and whether it runs now or is queued.

use super::{Dispatcher, Request};
use crate::commands::acl::{self, LogContext};
use crate::commands::script::declared_flags;
use crate::commands::script::shebang::ScriptFlags;
use crate::commands::table::Row;
use crate::commands::{Flags, Group, Session, transactions};
use crate::error::CommandError;
use crate::metrics::add;
use crate::tier::Admission;
use std::sync::Arc;

/// What is to be done with a command line.
pub(super) enum Admitted {
    Run(Row),
    Paused,
    Queue,
    Wait,
}

impl Dispatcher {
    /// Takes over what changed about the session's user. A user that is no more ends the session.
    pub(super) fn refresh_user(&self, session: &mut Session) {
        let (users, version) = self.server.users.current();
        match users.get(&session.user().name) {
            Some(user) => {
                let user = Arc::clone(user);
                let needs_none = user.is_enabled && user.needs_no_password;
                session.authenticated |= needs_none && user.name == b"default";
                session.set_user(user, version);
            }
            None => {
                session.authenticated = false;
                session.closing = true;
            }
        }
    }

    /// What is to be done with this command line.
    pub(super) fn admit(
        &self,
        session: &Session,
        request: &Request<'_>,
    ) -> Result<Admitted, CommandError> {
        let arguments = request.arguments;
        let row = transactions::find_row_below(request.foresight.row, arguments)?;
        let flags = row.spec.flags;
        let reject = |error: CommandError| {
            add(&self.metrics.by_command[row.number].rejected, 1);
            Err(error)
        };
        if !row.spec.arity_allows(arguments.len()) {
            return reject(transactions::wrong_arity(row));
        }
        if !session.authenticated && !flags.has(Flags::NO_AUTH) {
            return reject(CommandError::fixed("NOAUTH Authentication required."));
        }
        if !session.is_unrestricted() {
            let source = if session.transaction.is_some() {
                LogContext::Multi
            } else {
                LogContext::TopLevel
            };
            let (settings, services) = (&*self.settings, &*self.server);
            let checked = acl::check_and_log(session, settings, services, row, arguments, source);
            if let Err(denial) = checked {
                return reject(denial.error(session.user(), row, arguments));
            }
        }
        if session.only_listens() && !is_for_subscribers(row) {
            return reject(CommandError::new(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                transactions::full_name(arguments, row)
            )));
        }
        let slow = &self.server.scripts.slow;
        if slow.any() && !super::is_allowed_while_busy(row, arguments) {
            return reject(slow.refusal());
        }
        let of = (row, session, arguments);
        if flags.has(Flags::DENYOOM) || flags.has(Flags::RUNS_QUEUE) {
            let admission = self.server.tier.admission();
            if admission != Admission::Go && any(of, |row, _| row.spec.flags.has(Flags::DENYOOM)) {
                match admission {
                    Admission::Refuse => return reject(CommandError::OUT_OF_MEMORY),
                    _ => return Ok(Admitted::Wait),
                }
            }
        }
        if self.lacks_replicas(row, session, arguments) {
            return reject(CommandError::NO_REPLICAS);
        }
        let pause = &self.server.pause;
        if pause.is_active()
            && pause.holds(any(of, |row, arguments| self.may_change(row, arguments)))
        {
            return Ok(Admitted::Paused);
        }
        if session.transaction.is_some() && !flags.has(Flags::NOT_QUEUED) {
            if flags.has(Flags::NO_MULTI) {
                return reject(CommandError::fixed(
                    "ERR Command not allowed inside a transaction",
                ));
            }
            return Ok(Admitted::Queue);
        }
        Ok(Admitted::Run(row))
    }

    /// True for a write that `min-replicas-to-write` forbids: there are never any replicas.
    pub(super) fn lacks_replicas(&self, row: Row, session: &Session, arguments: &[&[u8]]) -> bool {
        self.settings.asks_for_replicas()
            && any((row, session, arguments), |row, arguments| {
                self.writes(row, arguments)
            })
    }

    /// True for what CLIENT PAUSE WRITE holds back: what may change data or reach other clients.
    fn may_change(&self, row: Row, arguments: &[&[u8]]) -> bool {
        let declared = self.declared_to_write(row, arguments);
        declared
            .unwrap_or(row.spec.flags.has(Flags::WRITE) || row.spec.flags.has(Flags::MAY_REPLICATE))
    }

    /// True for a command that changes data by its row, or a script that says it may. What a script does that says nothing
    /// of itself is judged command by command.
    fn writes(&self, row: Row, arguments: &[&[u8]]) -> bool {
        let declared = self.declared_to_write(row, arguments);
        declared.unwrap_or(row.spec.flags.has(Flags::WRITE))
    }

    /// What a script declares of itself; it counts more than its command's row.
    fn declared_to_write(&self, row: Row, arguments: &[&[u8]]) -> Option<bool> {
        if !row.spec.flags.has(Flags::RUNS_SCRIPT) {
            return None;
        }
        let declared = declared_flags(&self.server.scripts, row.spec.name, arguments)?;
        Some(!declared.has(ScriptFlags::NO_WRITES))
    }

    /// Puts a command into the queue of the transaction.
    pub(super) fn enqueue(&self, session: &mut Session, arguments: &[&[u8]]) {
        if let Some(transaction) = &mut session.transaction {
            transaction.push(arguments);
        }
    }
}

/// Whether something holds for a command line; for EXEC, whether it holds for one of the commands that it would run.
fn any(
    (row, session, arguments): (Row, &Session, &[&[u8]]),
    holds: impl Fn(Row, &[&[u8]]) -> bool,
) -> bool {
    if !row.spec.flags.has(Flags::RUNS_QUEUE) {
        return holds(row, arguments);
    }
    let mut queue = session.transaction.iter().flat_map(|open| &open.queue);
    queue.any(|queued| {
        let arguments: Vec<&[u8]> = queued.iter().map(|argument| &**argument).collect();
        transactions::resolve(&arguments).is_ok_and(|row| holds(row, &arguments))
    })
}

/// True for what a client in RESP2 may still say once it has subscribed.
pub(super) fn is_for_subscribers(row: Row) -> bool {
    let name = row.spec.name;
    matches!(name, "ping" | "quit" | "reset")
        || name.ends_with("subscribe") && row.spec.group == Group::PubSub
}
