//! Whether a user may run a command line. One function for dispatch, EXEC and scripts.

use super::log::{Entry, LogContext, Reason};
use super::selector::Selector;
use super::user::User;
use crate::commands::access::{KeyFlags, for_each_key_use};
use crate::commands::session::Session;
use crate::commands::spec::{CommandSpec, Flags};
use crate::commands::table::{self, Row};
use crate::commands::{Services, access};
use crate::config::Settings;
use crate::error::CommandError;

/// What is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    /// The command itself.
    Command,
    /// The key in this argument.
    Key(usize),
    /// The channel in this argument.
    Channel(usize),
}

impl Denial {
    /// As ACL LOG names it.
    pub const fn reason(self) -> Reason {
        match self {
            Denial::Command => Reason::Command,
            Denial::Key(_) => Reason::Key,
            Denial::Channel(_) => Reason::Channel,
        }
    }

    /// What was denied: the command's full name, the key or the channel.
    pub fn object(self, row: Row, arguments: &[&[u8]]) -> Vec<u8> {
        match self {
            Denial::Command => table::listed()[row.number].full_name().into_bytes(),
            Denial::Key(index) | Denial::Channel(index) => arguments[index].to_vec(),
        }
    }

    /// The text of the error, without its code; `verbose` names the key or channel (ACL DRYRUN).
    pub fn message(self, user: &User, row: Row, arguments: &[&[u8]], verbose: bool) -> String {
        let name = String::from_utf8_lossy(&user.name).into_owned();
        let object = self.object(row, arguments);
        let object = String::from_utf8_lossy(&object);
        match self {
            Denial::Command => {
                format!("User {name} has no permissions to run the '{object}' command")
            }
            Denial::Key(_) if verbose => {
                format!("User {name} has no permissions to access the '{object}' key")
            }
            Denial::Key(_) => "No permissions to access a key".to_owned(),
            Denial::Channel(_) if verbose => {
                format!("User {name} has no permissions to access the '{object}' channel")
            }
            Denial::Channel(_) => "No permissions to access a channel".to_owned(),
        }
    }

    /// The error reply.
    pub fn error(self, user: &User, row: Row, arguments: &[&[u8]]) -> CommandError {
        CommandError::new(format!(
            "NOPERM {}",
            self.message(user, row, arguments, false)
        ))
    }
}

/// Where the channels of a command are, and whether they are patterns. What unsubscribes needs no permission.
fn channels(spec: &CommandSpec) -> Option<(bool, bool)> {
    match spec.name {
        "publish" | "spublish" => Some((true, false)),
        "subscribe" | "ssubscribe" => Some((false, false)),
        "psubscribe" => Some((false, true)),
        _ => None,
    }
}

/// True if this selector allows the command line.
fn check_selector(
    selector: &Selector,
    row: Row,
    arguments: &[&[u8]],
    keys: &[(usize, KeyFlags)],
) -> Result<(), Denial> {
    if !row.spec.flags.has(Flags::NO_AUTH) && !selector.allows_command(row, arguments) {
        return Err(Denial::Command);
    }
    for (index, flags) in keys {
        if !selector.allows_key(arguments[*index], flags.reads(), flags.writes()) {
            return Err(Denial::Key(*index));
        }
    }
    if let Some((only_first, is_pattern)) = channels(row.spec) {
        let end = if only_first { 2 } else { arguments.len() };
        for (index, channel) in arguments.iter().enumerate().take(end).skip(1) {
            if !selector.allows_channel(channel, is_pattern) {
                return Err(Denial::Channel(index));
            }
        }
    }
    Ok(())
}

/// Whether `user` may run this command line. Of several selectors one must allow all of it; if none does, the denial
/// is that of the selector that came furthest.
pub fn check(user: &User, row: Row, arguments: &[&[u8]]) -> Result<(), Denial> {
    let mut keys = Vec::new();
    if !user.selectors.iter().any(|selector| selector.all_keys) || user.selectors.len() > 1 {
        for_each_key_use(row.spec, arguments, |index, flags| {
            if !flags.has(access::KeyFlags::NOT_KEY) {
                keys.push((index, flags));
            }
        });
    }
    let mut furthest = Denial::Command;
    for selector in &user.selectors {
        match check_selector(selector, row, arguments, &keys) {
            Ok(()) => return Ok(()),
            Err(denial) => furthest = furthest.max(denial),
        }
    }
    Err(furthest)
}

/// True if a selector allows this command line and, beside it, to read any key: for commands that learn only while they run
/// which keys they read.
pub fn may_read_all_keys(user: &User, row: Row, arguments: &[&[u8]]) -> bool {
    let mut keys = Vec::new();
    for_each_key_use(row.spec, arguments, |index, flags| {
        keys.push((index, flags))
    });
    user.selectors.iter().any(|selector| {
        selector.reads_all_keys() && check_selector(selector, row, arguments, &keys).is_ok()
    })
}

/// Checks a command line of a session and notes a denial in the log. Free for a user without restrictions.
pub fn check_and_log(
    session: &Session,
    settings: &Settings,
    services: &dyn Services,
    row: Row,
    arguments: &[&[u8]],
    context: LogContext,
) -> Result<(), Denial> {
    if session.is_unrestricted() {
        return Ok(());
    }
    let outcome = check(session.user(), row, arguments);
    if let Err(denial) = outcome {
        let object = denial.object(row, arguments);
        let user = session.user().name.clone();
        note(
            session,
            settings,
            services,
            (denial.reason(), object, user),
            context,
        );
    }
    outcome
}

/// Notes a denial of this session in ACL LOG: the reason, what was denied, and to which user.
pub fn note(
    session: &Session,
    settings: &Settings,
    services: &dyn Services,
    (reason, object, user): (Reason, Vec<u8>, Vec<u8>),
    context: LogContext,
) {
    let own = crate::commands::services::ClientFilter {
        ids: vec![session.id],
        ..Default::default()
    };
    let now_ms = crate::clock::now_ms();
    let entry = Entry {
        count: 0,
        reason,
        context,
        object,
        user,
        client: services.client_list(&own).trim_end().to_owned(),
        id: 0,
        created_ms: now_ms,
        updated_ms: now_ms,
    };
    services
        .users()
        .log
        .note(entry, settings.acllog_max_len as usize);
}
