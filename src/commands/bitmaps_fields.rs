//! BITFIELD: integers of 1 to 64 bits anywhere in a text.
//!
//! A field is read through a window of nine bytes as one 128-bit number, and written back the same way: the effect holds the bytes
//! that the field touches, nine at most.

use super::access::{KeyFlags, KeyUse};
use super::bitmaps::{bit_offset, grow_to};
use super::bitmaps_words::BYTE_BITS;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use storage_format::Effect;

/// Bytes that a field of 64 bits can touch.
const WINDOW_BYTES: usize = 9;

/// Width and sign: `i5`, `u63`.
#[derive(Clone, Copy)]
struct FieldType {
    is_signed: bool,
    bits: u32,
}

impl FieldType {
    fn parse(argument: &[u8]) -> Result<FieldType, CommandError> {
        const NOT_A_TYPE: CommandError = CommandError::fixed(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (is_signed, digits) = match argument {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(NOT_A_TYPE),
        };
        let bits_max = if is_signed { 64 } else { 63 };
        match parse_integer(digits) {
            Some(bits) if (1..=bits_max).contains(&bits) => Ok(FieldType {
                is_signed,
                bits: bits as u32,
            }),
            _ => Err(NOT_A_TYPE),
        }
    }

    fn least(self) -> i128 {
        if self.is_signed {
            -(1 << (self.bits - 1))
        } else {
            0
        }
    }

    fn greatest(self) -> i128 {
        let value_bits = self.bits - u32::from(self.is_signed);
        (1 << value_bits) - 1
    }

    /// The number that the lowest bits of `value` are in this type.
    fn wrap(self, value: i128) -> i128 {
        let unsigned = value & ((1 << self.bits) - 1);
        if self.is_signed && unsigned > self.greatest() {
            unsigned - (1 << self.bits)
        } else {
            unsigned
        }
    }
}

/// What becomes of a number that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(word: &[u8]) -> Result<Overflow, CommandError> {
        if is_keyword(word, "wrap") {
            Ok(Overflow::Wrap)
        } else if is_keyword(word, "sat") {
            Ok(Overflow::Saturate)
        } else if is_keyword(word, "fail") {
            Ok(Overflow::Fail)
        } else {
            Err(CommandError::fixed("ERR Invalid OVERFLOW type specified"))
        }
    }

    /// The number to be stored, `None` if the operation must not happen.
    fn fit(self, value: i128, field: FieldType) -> Option<i128> {
        let (least, greatest) = (field.least(), field.greatest());
        if (least..=greatest).contains(&value) {
            return Some(value);
        }
        match self {
            Overflow::Wrap => Some(field.wrap(value)),
            Overflow::Saturate => Some(value.clamp(least, greatest)),
            Overflow::Fail => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    IncrementBy(i64),
}

/// One subcommand.
struct Operation {
    field: FieldType,
    offset: u64,
    action: Action,
    overflow: Overflow,
}

impl Operation {
    /// True for numbers so far below a signed field's least that the distance to its greatest does not fit into 64 bits: that overflows
    /// in Redis, which then takes them for too large.
    fn saturates_upwards(&self, value: i64) -> bool {
        let distance = self.field.greatest() - i128::from(value);
        matches!(self.overflow, Overflow::Saturate)
            && self.field.bits < 64
            && distance > i128::from(i64::MAX)
    }

    /// Bytes that the text must have for this to be written.
    fn end_bytes(&self) -> u64 {
        (self.offset + u64::from(self.field.bits) - 1) / BYTE_BITS + 1
    }
}

fn parse(arguments: &[&[u8]], limit_bytes: u64) -> Result<Vec<Operation>, CommandError> {
    let (mut operations, mut overflow) = (Vec::new(), Overflow::Wrap);
    let mut options = Options::new(arguments, 2);
    while let Some(word) = options.next() {
        if is_keyword(word, "overflow") {
            overflow = Overflow::parse(options.value()?)?;
            continue;
        }
        let wants_value = !is_keyword(word, "get");
        let is_known = !wants_value || is_keyword(word, "set") || is_keyword(word, "incrby");
        if !is_known || options.rest().len() < 2 + usize::from(wants_value) {
            return Err(CommandError::SYNTAX);
        }
        let field = FieldType::parse(options.value()?)?;
        let offset = bit_offset(options.value()?, Some(field.bits), limit_bytes)?;
        let action = if !wants_value {
            Action::Get
        } else {
            let value = integer(options.value()?)?;
            if is_keyword(word, "set") {
                Action::Set(value)
            } else {
                Action::IncrementBy(value)
            }
        };
        operations.push(Operation {
            field,
            offset,
            action,
            overflow,
        });
    }
    Ok(operations)
}

/// The bytes of a text that a field lies in, as one number.
struct Window {
    bytes: [u8; WINDOW_BYTES],
    first_byte: usize,
    used_bytes: usize,
    /// Bits behind the field, within the window.
    shift: u32,
}

impl Window {
    fn new(text: &[u8], operation: &Operation) -> Window {
        let first_byte = (operation.offset / BYTE_BITS) as usize;
        let mut bytes = [0; WINDOW_BYTES];
        let rest = text.get(first_byte..).unwrap_or_default();
        let there = rest.len().min(WINDOW_BYTES);
        bytes[..there].copy_from_slice(&rest[..there]);
        let in_front = (operation.offset % BYTE_BITS) as u32;
        Window {
            bytes,
            first_byte,
            used_bytes: operation.end_bytes() as usize - first_byte,
            shift: WINDOW_BYTES as u32 * 8 - in_front - operation.field.bits,
        }
    }

    fn number(&self) -> i128 {
        self.bytes
            .iter()
            .fold(0, |number, byte| number << 8 | i128::from(*byte))
    }

    fn read(&self, field: FieldType) -> i128 {
        field.wrap(self.number() >> self.shift)
    }

    fn write(&mut self, field: FieldType, value: i128) -> &[u8] {
        let mask: i128 = ((1 << field.bits) - 1) << self.shift;
        let number = self.number() & !mask | (value << self.shift) & mask;
        let bytes = number.to_be_bytes();
        self.bytes.copy_from_slice(&bytes[16 - WINDOW_BYTES..]);
        &self.bytes[..self.used_bytes]
    }
}

/// Runs one subcommand. The reply is `None` where OVERFLOW FAIL forbids it; also tells whether the text changed.
fn run(
    context: &mut Context<'_>,
    key: &[u8],
    operation: &Operation,
) -> Result<(Option<i128>, bool), CommandError> {
    let field = operation.field;
    let text = context.keys.text(key)?.unwrap_or_default();
    let is_short = (text.len() as u64) < operation.end_bytes();
    let mut window = Window::new(text, operation);
    let former = window.read(field);
    let wanted = match operation.action {
        Action::Get => return Ok((Some(former), false)),
        // A negative number for an unsigned field is a large one.
        Action::Set(value) if !field.is_signed => i128::from(value as u64),
        Action::Set(value) if operation.saturates_upwards(value) => field.greatest(),
        Action::Set(value) => i128::from(value),
        Action::IncrementBy(increment) => former + i128::from(increment),
    };
    let Some(value) = operation.overflow.fit(wanted, field) else {
        return Ok((None, false));
    };
    let changes = value != former || is_short;
    if changes {
        let offset = window.first_byte as u64;
        let bytes = window.write(field, value);
        context
            .keys
            .apply(key, Effect::SetRange { offset, bytes })?;
    }
    let shown = match operation.action {
        Action::IncrementBy(_) => value,
        _ => former,
    };
    Ok((Some(shown), changes))
}

/// `BITFIELD key [GET type offset | [OVERFLOW WRAP|SAT|FAIL] SET type offset value | INCRBY type offset increment] ...`
fn bitfield(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let operations = parse(arguments, context.settings.bulk_limit_bytes)?;
    run_all(context, arguments[1], &operations, reply)
}

/// `BITFIELD_RO key [GET type offset ...]`
fn bitfield_ro(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let operations = parse(arguments, context.settings.bulk_limit_bytes)?;
    let only_reads = operations
        .iter()
        .all(|operation| matches!(operation.action, Action::Get));
    if !only_reads {
        return Err(CommandError::fixed(
            "ERR BITFIELD_RO only supports the GET subcommand",
        ));
    }
    run_all(context, arguments[1], &operations, reply)
}

fn run_all(
    context: &mut Context<'_>,
    key: &[u8],
    operations: &[Operation],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const EFFECT_BYTES_MAX: usize = 64;
    context.keys.text(key)?;
    let written = operations
        .iter()
        .filter(|operation| !matches!(operation.action, Action::Get));
    let end_bytes = written.map(Operation::end_bytes).max();
    let mut changes = false;
    if end_bytes.is_some() {
        let effects_bytes = (operations.len() + 1) * (EFFECT_BYTES_MAX + key.len());
        context.keys.ensure_room(effects_bytes)?;
    }
    reply.array_header(operations.len());
    for operation in operations {
        let (shown, changed) = run(context, key, operation)?;
        changes |= changed;
        match shown {
            Some(value) => reply.integer(value as i64),
            None => reply.null(),
        }
    }
    if let Some(end_bytes) = end_bytes {
        // What OVERFLOW FAIL forbade has room nevertheless.
        changes |= grow_to(&mut context.keys, key, end_bytes)?;
        context.keys.mark_raw_text(key);
    }
    if changes {
        context.keys.notify(EventClasses::STRING, "setbit", key);
    }
    Ok(())
}

/// BITFIELD only reads its key if all it does is GET, as far as the arguments can be told apart without checking them.
fn bitfield_key_flags(arguments: &[&[u8]]) -> KeyFlags {
    let mut rest = arguments.get(2..).unwrap_or_default();
    while let [word, _, _, after @ ..] = rest {
        if !is_keyword(word, "get") {
            return KeyUse::CHANGE.flags;
        }
        rest = after;
    }
    KeyUse::READ.flags
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "3.2.0",
        complexity: "O(1) for each operation",
        summary: "Reads, sets and increments integers of any width within a string.",
        ..CommandSpec::new(
            "bitfield",
            -2,
            Flags::WRITE.and(Flags::DENYOOM),
            KeySpec::FIRST,
            Group::Bitmap,
            bitfield,
        )
    }
    .with_key_uses(&[KeyUse::CHANGE
        .decided_by(bitfield_key_flags)
        .noted("GET reads, SET and INCRBY write.")])
    .with_syntax(
        "key \
         operation[get-block<GET encoding offset:integer> | write<overflow-block[OVERFLOW <WRAP \
         | SAT | FAIL>] write-operation<set-block<SET encoding offset:integer value:integer> \
         | incrby-block<INCRBY encoding offset:integer increment:integer>>>]...",
    ),
    CommandSpec {
        since: "6.0.0",
        complexity: "O(1) for each operation",
        summary: "Reads integers of any width within a string.",
        ..CommandSpec::new(
            "bitfield_ro",
            -2,
            Flags::READONLY.and(Flags::FAST).and(Flags::PEEKS),
            KeySpec::FIRST,
            Group::Bitmap,
            bitfield_ro,
        )
    }
    .with_syntax("key get-block[GET encoding offset:integer]..."),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn fields_are_read_and_written() {
        TestServer::new().check_all(&[
            ("BITFIELD a", "[]"),
            ("EXISTS a", ":0"),
            ("BITFIELD a GET u8 0", "[:0]"),
            ("EXISTS a", ":0"),
            ("BITFIELD a SET u8 0 255 GET u8 0 GET i8 0", "[:0 :255 :-1]"),
            (
                "BITFIELD a SET i5 #1 -3 GET i5 #1 GET i5 5",
                "[:-4 :-3 :-3]",
            ),
            ("BITFIELD a INCRBY u2 100 1 INCRBY u2 100 1", "[:1 :2]"),
            ("STRLEN a", ":13"),
            (
                "BITFIELD b SET i64 3 -9223372036854775808 GET i64 3",
                "[:0 :-9223372036854775808]",
            ),
            (
                "BITFIELD b SET u63 1 -1 GET u63 1",
                "[:1152921504606846976 :9223372036854775807]",
            ),
            ("BITFIELD_RO b GET u1 1", "[:1]"),
            (
                "BITFIELD_RO b GET u1 1 SET u1 1 0",
                "-ERR BITFIELD_RO only supports the GET subcommand",
            ),
        ]);
    }

    #[test]
    fn what_does_not_fit() {
        TestServer::new().check_all(&[
            ("BITFIELD a SET u8 0 250 INCRBY u8 0 10", "[:0 :4]"),
            ("BITFIELD a OVERFLOW SAT INCRBY u8 0 300 INCRBY u8 0 -300", "[:255 :0]"),
            ("BITFIELD a OVERFLOW FAIL INCRBY u8 0 -1 SET u8 0 256 SET u8 0 -1", "[nil nil nil]"),
            ("BITFIELD a OVERFLOW FAIL INCRBY i8 16 127 INCRBY i8 16 1 OVERFLOW WRAP INCRBY i8 16 1", "[:127 nil :-128]"),
            ("STRLEN a", ":3"),
            ("BITFIELD a OVERFLOW SAT SET i8 0 -200 GET i8 0", "[:0 :-128]"),
            ("BITFIELD a OVERFLOW SAT SET u8 0 -1 GET u8 0", "[:128 :255]"),
            ("BITFIELD c OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0", "[:0 :127]"),
            ("BITFIELD c OVERFLOW SAT SET i8 0 -9223372036854775000 GET i8 0", "[:127 :-128]"),
            ("BITFIELD c OVERFLOW SAT SET i64 0 -9223372036854775808 GET i8 0", "[:-9223372036854775808 :-128]"),
            ("BITFIELD f OVERFLOW FAIL SET u1 9 2", "[nil]"),
            ("STRLEN f", ":2"),
        ]);
    }

    #[test]
    fn errors() {
        let not_a_type = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        TestServer::new().check_all(&[
            ("BITFIELD a GET u64 0", not_a_type),
            ("BITFIELD a GET i0 0", not_a_type),
            ("BITFIELD a GET x8 0", not_a_type),
            ("BITFIELD a GET i65 0", not_a_type),
            (
                "BITFIELD a GET u8 -1",
                "-ERR bit offset is not an integer or out of range",
            ),
            (
                "BITFIELD a GET u8 #x",
                "-ERR bit offset is not an integer or out of range",
            ),
            (
                "BITFIELD a GET u8 4294967296",
                "-ERR bit offset is not an integer or out of range",
            ),
            (
                "BITFIELD a SET u8 0 x",
                "-ERR value is not an integer or out of range",
            ),
            ("BITFIELD a SET u8 0", "-ERR syntax error"),
            ("BITFIELD a PUT u8 0 1", "-ERR syntax error"),
            (
                "BITFIELD a OVERFLOW what",
                "-ERR Invalid OVERFLOW type specified",
            ),
            ("HSET h f v", ":1"),
            (
                "BITFIELD h GET u8 0",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("EXISTS a", ":0"),
        ]);
    }
}
