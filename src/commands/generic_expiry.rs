//! Deadlines of keys: EXPIRE and its relatives, TTL and its relatives, PERSIST.
//!
//! However a client puts it, a key has an absolute deadline in Unix milliseconds; that is what the log gets. A deadline that
//! has passed already deletes the key.

use super::context::Context;
use super::options::{Options, TimeForm, integer, is_keyword, up_to_nul};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;

const NX_EXCLUDES: CommandError =
    CommandError::fixed("ERR NX and XX, GT or LT options at the same time are not compatible");
const GT_EXCLUDES_LT: CommandError =
    CommandError::fixed("ERR GT and LT options at the same time are not compatible");

/// The conditions under which EXPIRE does anything; all that are set must hold.
#[derive(Clone, Copy, Default)]
pub(super) struct Conditions {
    /// NX: only if there is no deadline.
    absent: bool,
    /// XX: only if there is one.
    present: bool,
    /// GT: only if the new one is later.
    later: bool,
    /// LT: only if the new one is earlier.
    earlier: bool,
}

impl Conditions {
    fn read(options: Options<'_>) -> Result<Conditions, CommandError> {
        let mut found = Conditions::default();
        for word in options {
            let flag = if is_keyword(word, "nx") {
                &mut found.absent
            } else if is_keyword(word, "xx") {
                &mut found.present
            } else if is_keyword(word, "gt") {
                &mut found.later
            } else if is_keyword(word, "lt") {
                &mut found.earlier
            } else {
                return Err(CommandError::new(format!(
                    "ERR Unsupported option {}",
                    String::from_utf8_lossy(up_to_nul(word))
                )));
            };
            *flag = true;
        }
        if found.absent && (found.present || found.later || found.earlier) {
            return Err(NX_EXCLUDES);
        }
        if found.later && found.earlier {
            Err(GT_EXCLUDES_LT)
        } else {
            Ok(found)
        }
    }

    /// The condition that one word means.
    pub(super) fn of_word(word: &[u8]) -> Option<Conditions> {
        let conditions = Conditions::read(Options::new(&[word], 0)).ok()?;
        Some(conditions)
    }

    /// No deadline counts as an infinitely late one.
    pub(super) fn hold(self, current_ms: Option<u64>, new_ms: i64) -> bool {
        let current = current_ms.map_or(i128::MAX, i128::from);
        let new = i128::from(new_ms);
        !(self.absent && current_ms.is_some()
            || self.present && current_ms.is_none()
            || self.later && new <= current
            || self.earlier && new >= current)
    }
}

fn set_deadline(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    form: TimeForm,
    name: &str,
) -> CommandResult {
    let (key, now_ms) = (arguments[1], context.now_ms);
    let conditions = Conditions::read(Options::new(arguments, 3))?;
    let time = integer(arguments[2])?;
    let deadline_ms = form
        .to_unix_ms(time, now_ms)
        .ok_or_else(|| CommandError::invalid_expire(name))?;
    let changed = match context.keys.deadline_ms(key) {
        None => false,
        Some(current_ms) if !conditions.hold(current_ms, deadline_ms) => false,
        Some(_) => {
            match u64::try_from(deadline_ms)
                .ok()
                .filter(|deadline_ms| *deadline_ms > now_ms)
            {
                Some(deadline_ms) => {
                    context.keys.set_deadline(key, Some(deadline_ms))?;
                    context.keys.notify(EventClasses::GENERIC, "expire", key);
                }
                None => {
                    context.keys.delete_and_notify(key)?;
                }
            }
            true
        }
    };
    reply.integer(i64::from(changed));
    Ok(())
}

fn expire(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    set_deadline(context, arguments, reply, TimeForm::Seconds, "expire")
}

fn pexpire(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    set_deadline(context, arguments, reply, TimeForm::Milliseconds, "pexpire")
}

fn expireat(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    set_deadline(context, arguments, reply, TimeForm::SecondsAt, "expireat")
}

fn pexpireat(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    set_deadline(
        context,
        arguments,
        reply,
        TimeForm::MillisecondsAt,
        "pexpireat",
    )
}

/// Replies -2 for no key, -1 for no deadline, else what `of` makes of it.
fn reply_deadline(
    context: &mut Context<'_>,
    key: &[u8],
    reply: &mut Reply<'_>,
    of: impl FnOnce(u64) -> u64,
) -> CommandResult {
    reply.integer(match context.keys.deadline_ms(key) {
        None => -2,
        Some(None) => -1,
        Some(Some(deadline_ms)) => i64::try_from(of(deadline_ms)).unwrap_or(i64::MAX),
    });
    Ok(())
}

fn to_seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}

fn ttl(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = context.now_ms;
    reply_deadline(context, arguments[1], reply, |deadline_ms| {
        to_seconds(deadline_ms.saturating_sub(now_ms))
    })
}

fn pttl(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = context.now_ms;
    reply_deadline(context, arguments[1], reply, |deadline_ms| {
        deadline_ms.saturating_sub(now_ms)
    })
}

fn expiretime(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply_deadline(context, arguments[1], reply, to_seconds)
}

fn pexpiretime(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply_deadline(context, arguments[1], reply, |deadline_ms| deadline_ms)
}

fn persist(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let changed = context.keys.set_deadline(arguments[1], None)?;
    if changed {
        context
            .keys
            .notify(EventClasses::GENERIC, "persist", arguments[1]);
    }
    reply.integer(i64::from(changed));
    Ok(())
}

const WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const READ: Flags = Flags::READONLY.and(Flags::FAST).and(Flags::PEEKS);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        summary: "Gives a key a time to live in seconds.",
        ..CommandSpec::new("expire", -3, WRITE, KeySpec::FIRST, Group::Generic, expire)
    }
    .with_syntax("key seconds:integer condition[NX | XX | GT | LT]@7.0.0"),
    CommandSpec {
        since: "2.6.0",
        summary: "Gives a key a time to live in milliseconds.",
        ..CommandSpec::new(
            "pexpire",
            -3,
            WRITE,
            KeySpec::FIRST,
            Group::Generic,
            pexpire,
        )
    }
    .with_syntax("key milliseconds:integer condition[NX | XX | GT | LT]@7.0.0"),
    CommandSpec {
        since: "1.2.0",
        summary: "Lets a key expire at a Unix time in seconds.",
        ..CommandSpec::new(
            "expireat",
            -3,
            WRITE,
            KeySpec::FIRST,
            Group::Generic,
            expireat,
        )
    }
    .with_syntax("key unix-time-seconds:unix-time condition[NX | XX | GT | LT]@7.0.0"),
    CommandSpec {
        since: "2.6.0",
        summary: "Lets a key expire at a Unix time in milliseconds.",
        ..CommandSpec::new(
            "pexpireat",
            -3,
            WRITE,
            KeySpec::FIRST,
            Group::Generic,
            pexpireat,
        )
    }
    .with_syntax("key unix-time-milliseconds:unix-time condition[NX | XX | GT | LT]@7.0.0"),
    CommandSpec {
        summary: "Tells how many seconds a key has left.",
        ..CommandSpec::new("ttl", 2, READ, KeySpec::FIRST, Group::Generic, ttl)
    }
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key")
    .with_history(&[("2.8.0", "-2 for a key that does not exist.")]),
    CommandSpec {
        since: "2.6.0",
        summary: "Tells how many milliseconds a key has left.",
        ..CommandSpec::new("pttl", 2, READ, KeySpec::FIRST, Group::Generic, pttl)
    }
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key")
    .with_history(&[("2.8.0", "-2 for a key that does not exist.")]),
    CommandSpec {
        since: "7.0.0",
        summary: "Tells at which Unix time in seconds a key expires.",
        ..CommandSpec::new(
            "expiretime",
            2,
            READ,
            KeySpec::FIRST,
            Group::Generic,
            expiretime,
        )
    }
    .with_syntax("key"),
    CommandSpec {
        since: "7.0.0",
        summary: "Tells at which Unix time in milliseconds a key expires.",
        ..CommandSpec::new(
            "pexpiretime",
            2,
            READ,
            KeySpec::FIRST,
            Group::Generic,
            pexpiretime,
        )
    }
    .with_syntax("key"),
    CommandSpec {
        since: "2.2.0",
        summary: "Takes the deadline from a key.",
        ..CommandSpec::new("persist", 2, WRITE, KeySpec::FIRST, Group::Generic, persist)
    }
    .with_syntax("key"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn deadlines_are_set_and_shown() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("EXPIRE a 10", ":0"),
            ("TTL a", ":-2"),
            ("PTTL a", ":-2"),
            ("EXPIRETIME a", ":-2"),
            ("PEXPIRETIME a", ":-2"),
            ("PERSIST a", ":0"),
            ("SET a 1", "+OK"),
            ("TTL a", ":-1"),
            ("EXPIRETIME a", ":-1"),
            ("EXPIRE a 10", ":1"),
            ("TTL a", ":10"),
            ("PTTL a", ":10000"),
            ("EXPIRETIME a", ":1700000010"),
            ("PEXPIRETIME a", ":1700000010000"),
            ("PERSIST a", ":1"),
            ("PERSIST a", ":0"),
            ("PEXPIRE a 1500", ":1"),
            ("TTL a", ":2"),
            ("PEXPIRE a 1499", ":1"),
            ("TTL a", ":1"),
            ("EXPIREAT a 1700000020", ":1"),
            ("PTTL a", ":20000"),
            ("PEXPIREAT a 1700000000007", ":1"),
            ("PTTL a", ":7"),
        ]);
        server.advance_ms(6);
        server.check("GET a", "\"1\"");
        server.advance_ms(1);
        server.check("GET a", "nil");
        server.check("PERSIST a", ":0");
    }

    #[test]
    fn deadlines_of_collections() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("HSET h f v", ":1"),
            ("EXPIRE h 10", ":1"),
            ("HSET h g w", ":1"),
            ("TTL h", ":10"),
            ("PERSIST h", ":1"),
            ("EXPIRE h 1", ":1"),
        ]);
        server.advance_ms(1000);
        server.check("HSET h new v", ":1");
        server.check("HGETALL h", "[\"new\" \"v\"]");
        server.check("TTL h", ":-1");
    }

    #[test]
    fn a_deadline_in_the_past_deletes() {
        for command in [
            "EXPIRE a 0",
            "EXPIRE a -1",
            "PEXPIRE a -1",
            "EXPIREAT a 1",
            "PEXPIREAT a -5",
            "PEXPIREAT a 1700000000000",
        ] {
            let mut server = TestServer::new();
            server.check("SET a 1", "+OK");
            server.check(command, ":1");
            server.check("EXISTS a", ":0");
            server.check(command, ":0");
        }
    }

    #[test]
    fn conditions() {
        TestServer::new().check_all(&[
            ("SET a 1", "+OK"),
            ("EXPIRE a 10 XX", ":0"),
            ("EXPIRE a 10 GT", ":0"),
            ("EXPIRE a 10 NX", ":1"),
            ("EXPIRE a 20 NX", ":0"),
            ("EXPIRE a 10 GT", ":0"),
            ("EXPIRE a 20 gt", ":1"),
            ("EXPIRE a 20 LT", ":0"),
            ("EXPIRE a 15 LT XX", ":1"),
            ("TTL a", ":15"),
            ("PERSIST a", ":1"),
            ("EXPIRE a 15 LT XX", ":0"),
            ("EXPIRE a 15 LT", ":1"),
            ("EXPIRE a -15 GT", ":0"),
            ("EXPIRE a -15 LT", ":1"),
            ("EXISTS a", ":0"),
        ]);
    }

    #[test]
    fn errors() {
        TestServer::new().check_all(&[
            ("EXPIRE a x", "-ERR value is not an integer or out of range"),
            ("EXPIRE a x FOO", "-ERR Unsupported option FOO"),
            ("EXPIRE a x \"F\\x00O\"", "-ERR Unsupported option F"),
            (
                "EXPIRE a 1 NX XX",
                "-ERR NX and XX, GT or LT options at the same time are not compatible",
            ),
            (
                "EXPIRE a 1 NX GT",
                "-ERR NX and XX, GT or LT options at the same time are not compatible",
            ),
            (
                "EXPIRE a 1 LT GT",
                "-ERR GT and LT options at the same time are not compatible",
            ),
            (
                "EXPIRE a 9223372036854775807",
                "-ERR invalid expire time in 'expire' command",
            ),
            (
                "EXPIRE a -9223372036854775808",
                "-ERR invalid expire time in 'expire' command",
            ),
            (
                "EXPIRE a 9223372036854775",
                "-ERR invalid expire time in 'expire' command",
            ),
            (
                "PEXPIRE a 9223372036854775807",
                "-ERR invalid expire time in 'pexpire' command",
            ),
            (
                "EXPIREAT a 9223372036854776",
                "-ERR invalid expire time in 'expireat' command",
            ),
            ("SET a 1", "+OK"),
            ("PEXPIREAT a 9223372036854775807", ":1"),
            ("PEXPIRETIME a", ":9223372036854775807"),
        ]);
    }
}
