//! Fields of a hash as numbers: HINCRBY, HINCRBYFLOAT.
//!
//! As with strings, the log gets the result and not the increment. The field keeps its deadline.

use super::access::KeyUse;
use super::context::Context;
use super::hash_deadlines::set_keeping_deadlines;
use super::options::integer;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::strings_numbers::{NOT_A_NUMBER, WOULD_OVERFLOW};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::resp::long_double::LongDouble;
use crate::resp::number::parse_integer;

const FIELD_NOT_INTEGER: CommandError = CommandError::fixed("ERR hash value is not an integer");
const FIELD_NOT_FLOAT: CommandError = CommandError::fixed("ERR hash value is not a float");
const INFINITE_INCREMENT: CommandError = CommandError::fixed("ERR value is NaN or Infinity");

fn field<'k>(
    context: &'k mut Context<'_>,
    key: &[u8],
    field: &[u8],
) -> Result<Option<&'k [u8]>, CommandError> {
    Ok(context.keys.hash(key)?.and_then(|hash| hash.get(field)))
}

/// Sets a field and tells of it as `event`.
fn set_field(
    context: &mut Context<'_>,
    event: &'static str,
    key: &[u8],
    pair: [&[u8]; 2],
) -> CommandResult {
    set_keeping_deadlines(context, key, &pair)?;
    context.keys.notify(EventClasses::HASH, event, key);
    Ok(())
}

fn hincrby(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let increment = integer(arguments[3])?;
    let current = match field(context, arguments[1], arguments[2])? {
        Some(value) => parse_integer(value).ok_or(FIELD_NOT_INTEGER)?,
        None => 0,
    };
    let sum = current.checked_add(increment).ok_or(WOULD_OVERFLOW)?;
    let mut buffer = itoa::Buffer::new();
    let pair = [arguments[2], buffer.format(sum).as_bytes()];
    set_field(context, "hincrby", arguments[1], pair)?;
    reply.integer(sum);
    Ok(())
}

fn hincrbyfloat(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let increment = LongDouble::parse(arguments[3]).ok_or(CommandError::NOT_FLOAT)?;
    if increment.is_infinite() {
        return Err(INFINITE_INCREMENT);
    }
    let current = field(context, arguments[1], arguments[2])?.unwrap_or(b"0");
    let current = LongDouble::parse(current).ok_or(FIELD_NOT_FLOAT)?;
    let mut sum = Vec::new();
    current
        .checked_add(increment)
        .ok_or(NOT_A_NUMBER)?
        .format(&mut sum);
    set_field(context, "hincrbyfloat", arguments[1], [arguments[2], &sum])?;
    reply.bulk(&sum);
    Ok(())
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.0.0",
        summary: "Adds a number to the integer in a field; a missing field counts as 0.",
        ..CommandSpec::new("hincrby", 4, WRITE, KeySpec::FIRST, Group::Hash, hincrby)
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key field increment:integer"),
    CommandSpec {
        since: "2.6.0",
        summary: "Adds a number that may have decimals to the one in a field; a missing field counts as 0.",
        ..CommandSpec::new(
            "hincrbyfloat",
            4,
            WRITE,
            KeySpec::FIRST,
            Group::Hash,
            hincrbyfloat,
        )
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key field increment:double"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn integers() {
        TestServer::new().check_all(&[
            ("HINCRBY h f 5", ":5"),
            ("HINCRBY h f -7", ":-2"),
            ("HGET h f", "\"-2\""),
            ("EXPIRE h 10", ":1"),
            ("HINCRBY h g 1", ":1"),
            ("TTL h", ":10"),
            (
                "HINCRBY h f x",
                "-ERR value is not an integer or out of range",
            ),
            ("HSET h text x", ":1"),
            ("HINCRBY h text 1", "-ERR hash value is not an integer"),
            ("HSET h most 9223372036854775807", ":1"),
            (
                "HINCRBY h most 1",
                "-ERR increment or decrement would overflow",
            ),
            ("SET s x", "+OK"),
            (
                "HINCRBY s f x",
                "-ERR value is not an integer or out of range",
            ),
            ("HINCRBY s f 1", WRONG_TYPE),
        ]);
    }

    #[test]
    fn floating_point() {
        TestServer::new().check_all(&[
            ("HINCRBYFLOAT h f 10.5", "\"10.5\""),
            ("HINCRBYFLOAT h f 0.1", "\"10.6\""),
            ("HGET h f", "\"10.6\""),
            ("HINCRBYFLOAT h f -5.6", "\"5\""),
            ("HINCRBYFLOAT h f x", "-ERR value is not a valid float"),
            ("HINCRBYFLOAT h f nan", "-ERR value is not a valid float"),
            ("HINCRBYFLOAT h f -inf", "-ERR value is NaN or Infinity"),
            ("HSET h text x", ":1"),
            ("HINCRBYFLOAT h text 1", "-ERR hash value is not a float"),
            ("SET s x", "+OK"),
            ("HINCRBYFLOAT s f 1", WRONG_TYPE),
        ]);
    }
}
