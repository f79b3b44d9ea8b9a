//! What all stream commands share: reading IDs, writing entries, and the errors about groups.

use super::context::Context;
use super::options::up_to_nul;
use crate::error::CommandError;
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use crate::value::{Group, Stream};
use storage_format::StreamId;
use storage_format::stream::StreamEntry;

/// Not an ID.
pub const INVALID_ID: CommandError =
    CommandError::fixed("ERR Invalid stream ID specified as stream command argument");
const INVALID_START: CommandError = CommandError::fixed("ERR invalid start ID for the interval");
const INVALID_END: CommandError = CommandError::fixed("ERR invalid end ID for the interval");

/// Longest text that may be an ID.
const ID_TEXT_BYTES_MAX: usize = 127;

/// The ID of a new entry, as XADD is asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewId {
    /// `*`: made of the time.
    Automatic,
    /// `5-*`: the next sequence of this time.
    OfTime(u64),
    /// This one.
    Exact(StreamId),
}

/// One half of an ID, as Redis reads it: an integer that is not negative; failing that, what C's `strtoull` takes, which passes over
/// blanks, and goes around for a minus.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(integer) = parse_integer(text) {
        return u64::try_from(integer).ok();
    }
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let blanks = text.iter().take_while(|byte| is_blank(byte)).count();
    let (is_negative, digits) = match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let is_decimal = digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_decimal)?;
    let number: u64 = text.parse().ok()?;
    Some(if is_negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// Time and, if there is one, the text of the sequence.
fn halves(argument: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    if argument.len() > ID_TEXT_BYTES_MAX {
        return None;
    }
    let argument = up_to_nul(argument);
    match argument.iter().position(|byte| *byte == b'-') {
        Some(dash) => Some((number(&argument[..dash])?, Some(&argument[dash + 1..]))),
        None => Some((number(argument)?, None)),
    }
}

/// An ID; a missing sequence is `missing_sequence`. `-` and `+` are not IDs.
///
/// # Errors
/// "Invalid stream ID".
pub fn id(argument: &[u8], missing_sequence: u64) -> Result<StreamId, CommandError> {
    let (time_ms, sequence) = halves(argument).ok_or(INVALID_ID)?;
    let sequence = match sequence {
        Some(text) => number(text).ok_or(INVALID_ID)?,
        None => missing_sequence,
    };
    Ok(StreamId::new(time_ms, sequence))
}

/// All arguments as IDs.
///
/// # Errors
/// "Invalid stream ID".
pub fn ids(arguments: &[&[u8]]) -> Result<Vec<StreamId>, CommandError> {
    arguments.iter().map(|argument| id(argument, 0)).collect()
}

/// An ID, or `-` for the first and `+` for the last possible one.
///
/// # Errors
/// "Invalid stream ID".
pub fn id_or_edge(argument: &[u8], missing_sequence: u64) -> Result<StreamId, CommandError> {
    match argument {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => id(argument, missing_sequence),
    }
}

/// The ID of a new entry.
///
/// # Errors
/// "Invalid stream ID".
pub fn new_id(argument: &[u8]) -> Result<NewId, CommandError> {
    match halves(argument) {
        _ if argument == b"*" => Ok(NewId::Automatic),
        Some((time_ms, Some(b"*"))) => Ok(NewId::OfTime(time_ms)),
        _ => id(argument, 0).map(NewId::Exact),
    }
}

/// The beginning of a range, included unless `(` stands in front.
///
/// # Errors
/// "Invalid stream ID", or that nothing lies behind it.
pub fn range_start(argument: &[u8]) -> Result<StreamId, CommandError> {
    match argument {
        [b'(', rest @ ..] if !rest.is_empty() => id(rest, 0)?.next().ok_or(INVALID_START),
        _ => id_or_edge(argument, 0),
    }
}

/// The end of a range, included unless `(` stands in front.
///
/// # Errors
/// "Invalid stream ID", or that nothing lies in front of it.
pub fn range_end(argument: &[u8]) -> Result<StreamId, CommandError> {
    match argument {
        [b'(', rest @ ..] if !rest.is_empty() => id(rest, u64::MAX)?.previous().ok_or(INVALID_END),
        _ => id_or_edge(argument, u64::MAX),
    }
}

/// A name as messages show it: up to the first NUL byte, where C ends a string.
pub fn shown(name: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(up_to_nul(name))
}

/// A group that does not exist, as XINFO and XGROUP say it.
pub fn no_group(group: &[u8], key: &[u8]) -> CommandError {
    CommandError::new(format!(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        shown(group),
        shown(key)
    ))
}

/// A key or group that does not exist, as the commands on pending entries say it.
pub fn no_key_or_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::new(format!(
        "NOGROUP No such key '{}' or consumer group '{}'",
        shown(key),
        shown(group)
    ))
}

/// The group of this name of the stream at a key, with the stream.
///
/// # Errors
/// WRONGTYPE, or NOGROUP if one of them does not exist.
pub fn stream_and_group<'c>(
    context: &'c mut Context<'_>,
    key: &[u8],
    group: &[u8],
) -> Result<(&'c Stream, &'c Group), CommandError> {
    let stream = context.keys.stream(key)?;
    stream
        .and_then(|stream| Some((stream, stream.group(group)?)))
        .ok_or_else(|| no_key_or_group(key, group))
}

/// An ID as a string.
pub fn reply_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(id.to_string().as_bytes());
}

/// An entry: its ID, and an array of its fields and values.
pub fn reply_entry(reply: &mut Reply<'_>, entry: &StreamEntry<'_>) {
    reply.array_header(2);
    reply_id(reply, entry.id);
    reply.array_header(entry.field_count * 2);
    for (field, value) in entry.fields() {
        reply.bulk(field);
        reply.bulk(value);
    }
}

/// An array of entries; how many.
pub fn reply_entries<'e>(
    reply: &mut Reply<'_>,
    entries: impl Iterator<Item = StreamEntry<'e>>,
) -> usize {
    let deferred = reply.begin_deferred();
    let mut count = 0;
    for entry in entries {
        reply_entry(reply, &entry);
        count += 1;
    }
    reply.end_deferred_array(deferred, count);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let new = StreamId::new;
        let cases: &[(&str, Option<StreamId>)] = &[
            ("5-3", Some(new(5, 3))),
            ("5", Some(new(5, 9))),
            ("005-+3", Some(new(5, 3))),
            ("18446744073709551615-0", Some(new(u64::MAX, 0))),
            ("18446744073709551616-0", None),
            (" 5", Some(new(5, 9))),
            ("5-\t3", Some(new(5, 3))),
            ("5--0", Some(new(5, 0))),
            ("5--03", Some(new(5, u64::MAX - 2))),
            ("5\0x", Some(new(5, 9))),
            ("5--3", None),
            ("5 ", None),
            (" ", None),
            ("5-", None),
            ("-5", None),
            ("-", None),
            ("+", None),
            ("5-*", None),
            ("5-3-1", None),
            ("", None),
            ("x", None),
        ];
        for (text, expected) in cases {
            assert_eq!(id(text.as_bytes(), 9).ok(), *expected, "{text}");
        }
        assert!(id(&[b'0'; 128], 0).is_err());
        assert_eq!(new_id(b"*"), Ok(NewId::Automatic));
        assert_eq!(new_id(b"7-*"), Ok(NewId::OfTime(7)));
        assert_eq!(new_id(b"7"), Ok(NewId::Exact(new(7, 0))));
        assert_eq!(new_id(b"*-1"), Err(INVALID_ID));
    }

    #[test]
    fn ranges_may_leave_their_ends_out() {
        let new = StreamId::new;
        let last = format!("({}-{}", u64::MAX, u64::MAX);
        assert_eq!(range_start(b"-"), Ok(StreamId::MIN));
        assert_eq!(range_start(b"(5-1"), Ok(new(5, 2)));
        assert_eq!(range_start(b"(5"), Ok(new(5, 1)));
        assert_eq!(range_start(last.as_bytes()), Err(INVALID_START));
        assert_eq!(range_start(b"(+"), Err(INVALID_ID));
        assert_eq!(range_start(b"("), Err(INVALID_ID));
        assert_eq!(range_end(b"5"), Ok(new(5, u64::MAX)));
        assert_eq!(range_end(b"(5-0"), Ok(new(4, u64::MAX)));
        assert_eq!(range_end(b"(0-0"), Err(INVALID_END));
    }
}
