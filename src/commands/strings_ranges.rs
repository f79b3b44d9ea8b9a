//! Parts of strings: APPEND, STRLEN, SETRANGE, GETRANGE.

use super::access::KeyUse;
use super::context::Context;
use super::options::integer;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;
use storage_format::Effect;

const OFFSET_OUT_OF_RANGE: CommandError = CommandError::fixed("ERR offset is out of range");

fn append(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, bytes) = (arguments[1], arguments[2]);
    let Some(former_bytes) = context.keys.text(key)?.map(<[u8]>::len) else {
        context.keys.set_text(key, bytes, Deadline::None)?;
        context.keys.notify(EventClasses::STRING, "append", key);
        reply.count(bytes.len());
        return Ok(());
    };
    check_length(context, former_bytes as u64, bytes)?;
    let applied = context.keys.apply(key, Effect::Append { bytes })?;
    context.keys.mark_raw_text(key);
    context.keys.notify(EventClasses::STRING, "append", key);
    reply.integer(applied.length as i64);
    Ok(())
}

/// Refuses a text that would grow past `proto-max-bulk-len`.
fn check_length(context: &Context<'_>, offset: u64, bytes: &[u8]) -> CommandResult {
    let length = offset.saturating_add(bytes.len() as u64);
    if length > context.settings.bulk_limit_bytes {
        Err(CommandError::TEXT_TOO_LONG)
    } else {
        Ok(())
    }
}

fn strlen(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.count(context.keys.text(arguments[1])?.map_or(0, <[u8]>::len));
    Ok(())
}

fn setrange(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, bytes) = (arguments[1], arguments[3]);
    let offset = u64::try_from(integer(arguments[2])?).map_err(|_| OFFSET_OUT_OF_RANGE)?;
    let length = context.keys.text(key)?.map_or(0, <[u8]>::len);
    if bytes.is_empty() {
        reply.count(length);
        return Ok(());
    }
    check_length(context, offset, bytes)?;
    let applied = context
        .keys
        .apply(key, Effect::SetRange { offset, bytes })?;
    context.keys.mark_raw_text(key);
    context.keys.notify(EventClasses::STRING, "setrange", key);
    reply.integer(applied.length as i64);
    Ok(())
}

fn getrange(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (start, end) = (integer(arguments[2])?, integer(arguments[3])?);
    let text = context.keys.text(arguments[1])?.unwrap_or_default();
    reply.bulk(slice(text, start, end));
    Ok(())
}

/// The bytes from `start` to `end`, both included; negative positions count from the end.
fn slice(text: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let length = text.len() as i64;
    let from_front = |position: i64| {
        if position < 0 {
            (position + length).max(0)
        } else {
            position
        }
    };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if start > end {
        &[]
    } else {
        &text[start as usize..=end as usize]
    }
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const READ: Flags = Flags::READONLY.and(Flags::PEEKS);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.0.0",
        summary: "Adds bytes to the end of a string; a missing key counts as an empty one.",
        ..CommandSpec::new(
            "append",
            3,
            WRITE.and(Flags::FAST),
            KeySpec::FIRST,
            Group::String,
            append,
        )
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key value"),
    CommandSpec {
        since: "2.2.0",
        summary: "Tells how many bytes a string has.",
        ..CommandSpec::new(
            "strlen",
            2,
            READ.and(Flags::FAST),
            KeySpec::FIRST,
            Group::String,
            strlen,
        )
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key"),
    CommandSpec {
        since: "2.2.0",
        complexity: "O(1) for small strings; O(M) for one of M bytes that a snapshot shares",
        summary: "Writes bytes into a string at an offset; a gap before them is filled with zeros.",
        ..CommandSpec::new(
            "setrange",
            4,
            WRITE,
            KeySpec::FIRST,
            Group::String,
            setrange,
        )
    }
    .with_syntax("key offset:integer value"),
    CommandSpec {
        since: "2.4.0",
        complexity: "O(N) for N bytes returned",
        summary: "Returns the bytes of a string between two offsets.",
        ..CommandSpec::new("getrange", 4, READ, KeySpec::FIRST, Group::String, getrange)
    }
    .with_syntax("key start:integer end:integer"),
    CommandSpec {
        complexity: "O(N) for N bytes returned",
        summary: "The older name of GETRANGE.",
        ..CommandSpec::new("substr", 4, READ, KeySpec::FIRST, Group::String, getrange)
    }
    .with_syntax("key start:integer end:integer")
    .with_deprecated("2.0.0", "`GETRANGE`"),
];

#[cfg(test)]
mod tests {
    use super::slice;
    use crate::commands::test_support::TestServer;

    #[test]
    fn append_and_strlen() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("APPEND a hello", ":5"),
            ("APPEND a \" world\"", ":11"),
            ("GET a", "\"hello world\""),
            ("STRLEN a", ":11"),
            ("STRLEN b", ":0"),
            ("APPEND b \"\"", ":0"),
            ("EXISTS b", ":1"),
            ("EXPIRE a 10", ":1"),
            ("APPEND a !", ":12"),
            ("TTL a", ":10"),
            ("HSET h f v", ":1"),
            (
                "APPEND h x",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            (
                "STRLEN h",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
        let long = "x".repeat(5000);
        server.check(&format!("APPEND long {long}"), ":5000");
        server.check(&format!("APPEND long {long}"), ":10000");
        server.check("GETRANGE long 9990 -1", "\"xxxxxxxxxx\"");
        server.check("APPEND b x", ":1");
        server.check(&format!("APPEND b {long}"), ":5001");
    }

    #[test]
    fn setrange_fills_with_zeros() {
        TestServer::new().check_all(&[
            ("SETRANGE a 3 abc", ":6"),
            ("GET a", "\"\\x00\\x00\\x00abc\""),
            ("SETRANGE a 1 xy", ":6"),
            ("GET a", "\"\\x00xyabc\""),
            ("SETRANGE a 9 \"\"", ":6"),
            ("SETRANGE a 5 long", ":9"),
            ("GET a", "\"\\x00xyablong\""),
            ("SETRANGE none 5 \"\"", ":0"),
            ("EXISTS none", ":0"),
            ("SETRANGE a -1 x", "-ERR offset is out of range"),
            (
                "SETRANGE a x x",
                "-ERR value is not an integer or out of range",
            ),
            (
                "SETRANGE a 536870911 xx",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
            (
                "SETRANGE a 9223372036854775807 xx",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
            ("HSET h f v", ":1"),
            (
                "SETRANGE h 0 x",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            (
                "SETRANGE h 0 \"\"",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }

    #[test]
    fn ranges_are_cut_to_the_text() {
        let cases: &[(i64, i64, &str)] = &[
            (0, -1, "Hello"),
            (0, 0, "H"),
            (1, 3, "ell"),
            (-3, -1, "llo"),
            (-3, -4, ""),
            (-100, 1, "He"),
            (-100, -99, "H"),
            (3, 1, ""),
            (4, 100, "o"),
            (5, 100, ""),
            (i64::MIN, i64::MAX, "Hello"),
            (i64::MAX, i64::MAX, ""),
        ];
        for (start, end, expected) in cases {
            assert_eq!(
                slice(b"Hello", *start, *end),
                expected.as_bytes(),
                "{start} {end}"
            );
            assert_eq!(slice(b"", *start, *end), b"", "{start} {end}");
        }
        TestServer::new().check_all(&[
            ("GETRANGE a 0 -1", "\"\""),
            ("SET a Hello", "+OK"),
            ("GETRANGE a 1 -2", "\"ell\""),
            ("SUBSTR a 1 -2", "\"ell\""),
            (
                "GETRANGE a x 1",
                "-ERR value is not an integer or out of range",
            ),
            (
                "GETRANGE a 1 x",
                "-ERR value is not an integer or out of range",
            ),
            ("HSET h f v", ":1"),
            (
                "GETRANGE h 0 1",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }
}
