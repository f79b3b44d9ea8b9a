//! Strings as numbers: INCR and its relatives, INCRBYFLOAT.
//!
//! The log gets the result, not the increment, so replay does no arithmetic. Integers are 64 bits; INCRBYFLOAT computes in the
//! 80-bit format that Redis uses ([`crate::resp::long_double`]).

use super::access::KeyUse;
use super::context::Context;
use super::options::integer;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;
use crate::resp::long_double::LongDouble;

pub(super) const WOULD_OVERFLOW: CommandError =
    CommandError::fixed("ERR increment or decrement would overflow");
pub(super) const NOT_A_NUMBER: CommandError =
    CommandError::fixed("ERR increment would produce NaN or Infinity");
const DECREMENT_OVERFLOWS: CommandError = CommandError::fixed("ERR decrement would overflow");

fn add(
    context: &mut Context<'_>,
    key: &[u8],
    increment: i64,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let current = context.keys.text(key)?.map_or(Ok(0), integer)?;
    let sum = current.checked_add(increment).ok_or(WOULD_OVERFLOW)?;
    context.keys.set_text(
        key,
        itoa::Buffer::new().format(sum).as_bytes(),
        Deadline::Keep,
    )?;
    context.keys.notify(EventClasses::STRING, "incrby", key);
    reply.integer(sum);
    Ok(())
}

fn incr(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    add(context, arguments[1], 1, reply)
}

fn decr(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    add(context, arguments[1], -1, reply)
}

fn incrby(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    add(context, arguments[1], integer(arguments[2])?, reply)
}

fn decrby(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let decrement = integer(arguments[2])?;
    add(
        context,
        arguments[1],
        decrement.checked_neg().ok_or(DECREMENT_OVERFLOWS)?,
        reply,
    )
}

fn incrbyfloat(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let key = arguments[1];
    let current = LongDouble::parse(context.keys.text(key)?.unwrap_or(b"0"))
        .ok_or(CommandError::NOT_FLOAT)?;
    let increment = LongDouble::parse(arguments[2]).ok_or(CommandError::NOT_FLOAT)?;
    let mut sum = Vec::new();
    current
        .checked_add(increment)
        .ok_or(NOT_A_NUMBER)?
        .format(&mut sum);
    context.keys.set_text(key, &sum, Deadline::Keep)?;
    context
        .keys
        .notify(EventClasses::STRING, "incrbyfloat", key);
    reply.bulk(&sum);
    Ok(())
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        summary: "Adds one to the integer at a key; a missing key counts as 0.",
        ..CommandSpec::new("incr", 2, WRITE, KeySpec::FIRST, Group::String, incr)
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key"),
    CommandSpec {
        summary: "Takes one from the integer at a key; a missing key counts as 0.",
        ..CommandSpec::new("decr", 2, WRITE, KeySpec::FIRST, Group::String, decr)
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key"),
    CommandSpec {
        summary: "Adds a number to the integer at a key; a missing key counts as 0.",
        ..CommandSpec::new("incrby", 3, WRITE, KeySpec::FIRST, Group::String, incrby)
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key increment:integer"),
    CommandSpec {
        summary: "Takes a number from the integer at a key; a missing key counts as 0.",
        ..CommandSpec::new("decrby", 3, WRITE, KeySpec::FIRST, Group::String, decrby)
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key decrement:integer"),
    CommandSpec {
        since: "2.6.0",
        summary: "Adds a number that may have decimals to the one at a key; a missing key counts as 0.",
        ..CommandSpec::new(
            "incrbyfloat",
            3,
            WRITE,
            KeySpec::FIRST,
            Group::String,
            incrbyfloat,
        )
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key increment:double"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn integers() {
        TestServer::new().check_all(&[
            ("INCR a", ":1"),
            ("INCR a", ":2"),
            ("DECR a", ":1"),
            ("INCRBY a 41", ":42"),
            ("DECRBY a 50", ":-8"),
            ("GET a", "\"-8\""),
            ("EXPIRE a 10", ":1"),
            ("INCR a", ":-7"),
            ("TTL a", ":10"),
            ("DECR new", ":-1"),
            ("SET a 9223372036854775807", "+OK"),
            ("INCR a", "-ERR increment or decrement would overflow"),
            ("SET a -9223372036854775808", "+OK"),
            ("DECR a", "-ERR increment or decrement would overflow"),
            (
                "DECRBY a -9223372036854775808",
                "-ERR decrement would overflow",
            ),
            ("INCRBY a x", "-ERR value is not an integer or out of range"),
            (
                "INCRBY a 1.5",
                "-ERR value is not an integer or out of range",
            ),
            ("HSET h f v", ":1"),
            (
                "INCR h",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
        let mut server = TestServer::new();
        for text in ["x", "1.0", " 1", "1 ", "01", "", "9223372036854775808"] {
            server.check(&format!("SET a \"{text}\""), "+OK");
            server.check("INCR a", "-ERR value is not an integer or out of range");
        }
    }

    #[test]
    fn floating_point() {
        TestServer::new().check_all(&[
            ("INCRBYFLOAT a 10.5", "\"10.5\""),
            ("INCRBYFLOAT a 0.1", "\"10.6\""),
            ("GET a", "\"10.6\""),
            ("EXPIRE a 10", ":1"),
            ("INCRBYFLOAT a -5", "\"5.6\""),
            ("TTL a", ":10"),
            ("SET a 5.0e3", "+OK"),
            ("INCRBYFLOAT a 2.0e2", "\"5200\""),
            ("SET a 3.0", "+OK"),
            ("INCRBYFLOAT a 0", "\"3\""),
            (
                "INCRBYFLOAT a inf",
                "-ERR increment would produce NaN or Infinity",
            ),
            ("INCRBYFLOAT a nan", "-ERR value is not a valid float"),
            ("INCRBYFLOAT a x", "-ERR value is not a valid float"),
            ("SET a x", "+OK"),
            ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
            ("HSET h f v", ":1"),
            (
                "INCRBYFLOAT h x",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }
}
