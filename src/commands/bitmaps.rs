//! Bitmaps: SETBIT, GETBIT, BITCOUNT, BITPOS. A bitmap is a text; absent bits are zeros.
//!
//! Operations between bitmaps are in `bitmaps_operations`, integers of any width in `bitmaps_fields`. A changed bit is logged as one
//! byte (`Effect::SetRange`), however long the bitmap is.

use super::access::KeyUse;
use super::bitmaps_words::{BYTE_BITS, count, find};
use super::context::Context;
use super::options::{integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{EventClasses, Keys};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use std::ops::RangeInclusive;
use storage_format::Effect;

const NOT_AN_OFFSET: CommandError =
    CommandError::fixed("ERR bit offset is not an integer or out of range");
const NOT_A_BIT: CommandError = CommandError::fixed("ERR bit is not an integer or out of range");

/// A bit's position. With `field_bits`, `#n` means the n-th field of that width. The byte must be below
/// `limit_bytes` (`proto-max-bulk-len`).
pub(super) fn bit_offset(
    argument: &[u8],
    field_bits: Option<u32>,
    limit_bytes: u64,
) -> Result<u64, CommandError> {
    let (digits, factor) = match (argument, field_bits) {
        ([b'#', digits @ ..], Some(bits)) => (digits, u64::from(bits)),
        _ => (argument, 1),
    };
    parse_integer(digits)
        .and_then(|number| u64::try_from(number).ok())
        .and_then(|number| number.checked_mul(factor))
        .filter(|offset| *offset <= i64::MAX as u64 && offset / BYTE_BITS < limit_bytes)
        .ok_or(NOT_AN_OFFSET)
}

/// Makes a text at least `bytes` long with zeros, creating it if need be; true if it was shorter.
pub(super) fn grow_to(keys: &mut Keys<'_>, key: &[u8], bytes: u64) -> Result<bool, CommandError> {
    let length = keys.text(key)?.map_or(0, <[u8]>::len) as u64;
    if length >= bytes {
        return Ok(false);
    }
    let effect = Effect::SetRange {
        offset: bytes - 1,
        bytes: &[0],
    };
    keys.apply(key, effect)?;
    Ok(true)
}

/// SETBIT key offset value
fn setbit(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    let offset = bit_offset(arguments[2], None, context.settings.bulk_limit_bytes)?;
    let bit = match parse_integer(arguments[3]) {
        Some(bit @ (0 | 1)) => bit as u8,
        _ => return Err(NOT_A_BIT),
    };
    let (index, shift) = (offset / BYTE_BITS, 7 - offset % BYTE_BITS);
    let text = context.keys.text(key)?.unwrap_or_default();
    let is_inside = index < text.len() as u64;
    let byte = text.get(index as usize).copied().unwrap_or(0);
    let former = byte >> shift & 1;
    if !is_inside || former != bit {
        let changed = byte & !(1 << shift) | bit << shift;
        let effect = Effect::SetRange {
            offset: index,
            bytes: &[changed],
        };
        context.keys.apply(key, effect)?;
        context.keys.notify(EventClasses::STRING, "setbit", key);
    }
    context.keys.mark_raw_text(key);
    reply.integer(i64::from(former));
    Ok(())
}

/// GETBIT key offset
fn getbit(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let offset = bit_offset(arguments[2], None, context.settings.bulk_limit_bytes)?;
    let text = context.keys.text(arguments[1])?.unwrap_or_default();
    let byte = text
        .get((offset / BYTE_BITS) as usize)
        .copied()
        .unwrap_or(0);
    reply.integer(i64::from(byte >> (7 - offset % BYTE_BITS) & 1));
    Ok(())
}

/// What the numbers of a range count.
#[derive(Clone, Copy)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(word: &[u8]) -> Result<Unit, CommandError> {
        if is_keyword(word, "bit") {
            Ok(Unit::Bit)
        } else if is_keyword(word, "byte") {
            Ok(Unit::Byte)
        } else {
            Err(CommandError::SYNTAX)
        }
    }

    /// The bits from `start` to `end`, of which negative ones count from the end; `None` if there are none.
    fn range(self, text: &[u8], start: i64, end: i64) -> Option<RangeInclusive<u64>> {
        let bits = text.len() as i64 * BYTE_BITS as i64;
        let length = match self {
            Unit::Byte => text.len() as i64,
            Unit::Bit => bits,
        };
        let from_front = |position: i64| {
            if position < 0 {
                position.saturating_add(length).max(0)
            } else {
                position
            }
        };
        let (start, end) = (from_front(start), from_front(end).min(length - 1));
        if start > end {
            return None;
        }
        let (start, end) = (start as u64, end as u64);
        Some(match self {
            Unit::Bit => start..=end,
            Unit::Byte => start * BYTE_BITS..=end * BYTE_BITS + 7,
        })
    }
}

/// BITCOUNT key [start end [BYTE|BIT]]
fn bitcount(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (start, end, unit) = match arguments[2..] {
        [] => (0, -1, Unit::Byte),
        [start, end] => (integer(start)?, integer(end)?, Unit::Byte),
        [start, end, unit] => (integer(start)?, integer(end)?, Unit::parse(unit)?),
        _ => return Err(CommandError::SYNTAX),
    };
    let text = context.keys.text(arguments[1])?.unwrap_or_default();
    let is_backwards = start < 0 && end < 0 && start > end;
    let range = unit.range(text, start, end).filter(|_| !is_backwards);
    reply.integer(range.map_or(0, |range| count(text, range)) as i64);
    Ok(())
}

/// BITPOS key bit [start [end [BYTE|BIT]]]
fn bitpos(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const NOT_ZERO_OR_ONE: CommandError =
        CommandError::fixed("ERR The bit argument must be 1 or 0.");
    let wanted = match integer(arguments[2])? {
        0 => false,
        1 => true,
        _ => return Err(NOT_ZERO_OR_ONE),
    };
    let (start, end, unit) = match arguments[3..] {
        [] => (0, None, Unit::Byte),
        [start] => (integer(start)?, None, Unit::Byte),
        [start, end] => (integer(start)?, Some(integer(end)?), Unit::Byte),
        [start, end, unit] => {
            let (start, unit) = (integer(start)?, Unit::parse(unit)?);
            (start, Some(integer(end)?), unit)
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let Some(text) = context.keys.text(arguments[1])? else {
        reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let range = unit.range(text, start, end.unwrap_or(-1));
    let bits = text.len() as i64 * BYTE_BITS as i64;
    let found = range.map(|range| find(text, range, wanted));
    reply.integer(match found {
        Some(Some(position)) => position as i64,
        // Behind the text everything is zero, unless the client named an end.
        Some(None) if !wanted && end.is_none() => bits,
        _ => -1,
    });
    Ok(())
}

const READ: Flags = Flags::READONLY.and(Flags::PEEKS);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.2.0",
        key_uses: &[KeyUse::CHANGE],
        summary: "Makes one bit of a string 1 or 0; the string grows as needed.",
        ..CommandSpec::new(
            "setbit",
            4,
            Flags::WRITE.and(Flags::DENYOOM),
            KeySpec::FIRST,
            Group::Bitmap,
            setbit,
        )
    }
    .with_syntax("key offset:integer value:integer"),
    CommandSpec {
        since: "2.2.0",
        summary: "Tells what one bit of a string is; past its end all are 0.",
        ..CommandSpec::new(
            "getbit",
            3,
            READ.and(Flags::FAST),
            KeySpec::FIRST,
            Group::Bitmap,
            getbit,
        )
    }
    .with_syntax("key offset:integer"),
    CommandSpec {
        since: "2.6.0",
        complexity: "O(N)",
        summary: "Tells how many bits are 1 in a string or in a part of it.",
        ..CommandSpec::new(
            "bitcount",
            -2,
            READ,
            KeySpec::FIRST,
            Group::Bitmap,
            bitcount,
        )
    }
    .with_syntax("key range[start:integer end:integer unit[BYTE | BIT]@7.0.0]"),
    CommandSpec {
        since: "2.8.7",
        complexity: "O(N)",
        summary: "Tells where the first 1, or the first 0, is among the bits of a string.",
        ..CommandSpec::new("bitpos", -3, READ, KeySpec::FIRST, Group::Bitmap, bitpos)
    }
    .with_syntax(
        "key bit:integer \
         range[start:integer end-unit-block[end:integer unit[BYTE | BIT]@7.0.0]]",
    ),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    const NOT_AN_OFFSET: &str = "-ERR bit offset is not an integer or out of range";

    #[test]
    fn single_bits() {
        TestServer::new().check_all(&[
            ("SETBIT a 1 1", ":0"),
            ("GET a", "\"@\""),
            ("SETBIT a 1 1", ":1"),
            ("SETBIT a 1 0", ":1"),
            ("GETBIT a 1", ":0"),
            ("SETBIT a 17 0", ":0"),
            ("STRLEN a", ":3"),
            ("SETBIT b 0 0", ":0"),
            ("GET b", "\"\\x00\""),
            ("GETBIT a 100000", ":0"),
            ("GETBIT none 1", ":0"),
            ("SETBIT a -1 1", NOT_AN_OFFSET),
            ("SETBIT a 4294967296 1", NOT_AN_OFFSET),
            ("SETBIT a #1 1", NOT_AN_OFFSET),
            ("GETBIT a x", NOT_AN_OFFSET),
            ("SETBIT a 1 2", "-ERR bit is not an integer or out of range"),
            ("HSET h f v", ":1"),
            ("SETBIT h 1 1", WRONG_TYPE),
            ("GETBIT h 1", WRONG_TYPE),
            ("SET n 12", "+OK"),
            ("EXPIRE n 10", ":1"),
            ("SETBIT n 7 0", ":1"),
            ("GET n", "\"02\""),
            ("TTL n", ":10"),
        ]);
    }

    #[test]
    fn counts() {
        TestServer::new().check_all(&[
            ("SET a foobar", "+OK"),
            ("BITCOUNT a", ":26"),
            ("BITCOUNT a 0 0", ":4"),
            ("BITCOUNT a 1 1 byte", ":6"),
            ("BITCOUNT a 5 30 BIT", ":17"),
            ("BITCOUNT a -8 -1 bit", ":4"),
            ("BITCOUNT a -2 -3", ":0"),
            ("BITCOUNT a 1 1 nonsense", "-ERR syntax error"),
            ("BITCOUNT a 1", "-ERR syntax error"),
            (
                "BITCOUNT a x 1",
                "-ERR value is not an integer or out of range",
            ),
            ("BITCOUNT none x", "-ERR syntax error"),
            ("BITCOUNT none 1 2", ":0"),
            ("BITCOUNT none 1 2 nonsense", "-ERR syntax error"),
            ("SET empty \"\"", "+OK"),
            ("BITCOUNT empty", ":0"),
            ("BITCOUNT empty 0 -1 BIT", ":0"),
            ("HSET h f v", ":1"),
            ("BITCOUNT h", WRONG_TYPE),
        ]);
    }

    #[test]
    fn positions() {
        TestServer::new().check_all(&[
            ("BITPOS none 0", ":0"),
            ("BITPOS none 1", ":-1"),
            ("SET a \"\\xff\\xf0\\x00\"", "+OK"),
            ("BITPOS a 0", ":12"),
            ("BITPOS a 1 2", ":-1"),
            ("BITPOS a 0 2", ":16"),
            ("SET ones \"\\xff\\xff\"", "+OK"),
            ("BITPOS ones 0", ":16"),
            ("BITPOS ones 0 1", ":16"),
            ("BITPOS ones 0 0 -1", ":-1"),
            ("BITPOS ones 0 3 9 BIT", ":-1"),
            ("BITPOS ones 1 3 9 BIT", ":3"),
            ("BITPOS ones 1 5 9", ":-1"),
            ("BITPOS ones 2", "-ERR The bit argument must be 1 or 0."),
            (
                "BITPOS ones x",
                "-ERR value is not an integer or out of range",
            ),
            ("BITPOS ones 1 0 1 word", "-ERR syntax error"),
            ("SET empty \"\"", "+OK"),
            ("BITPOS empty 0", ":-1"),
            ("HSET h f v", ":1"),
            ("BITPOS h 1", WRONG_TYPE),
        ]);
    }
}
