//! Values on their way between commands and scripts.
//!
//! A nested command writes its reply in RESP into a scratch buffer; [`push_reply`] turns it into Lua values in one pass.
//! [`write_result`] turns what a script returns into a reply for the client. Both follow Redis's tables for RESP2 and RESP3.

use super::values::{Kept, Seen, Stack};
use crate::resp::{Protocol, Reply, number};

/// Nested deeper than this, a reply is cut: Lua's own stack is no longer, either.
const DEPTH_MAX: usize = 100;

/// Reads replies from a buffer that this server wrote: it is well formed.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.bytes).unwrap_or(self.bytes.len());
        let line = &self.bytes[..end];
        self.bytes = self.bytes.get(end + 2..).unwrap_or_default();
        line
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let taken = self.bytes.get(..length).unwrap_or_default();
        self.bytes = self.bytes.get(length + 2..).unwrap_or_default();
        taken
    }

    /// The mark of the next reply and the rest of its line.
    fn next(&mut self) -> (u8, &'a [u8]) {
        let line = self.line();
        match line.split_first() {
            Some((mark, rest)) => (*mark, rest),
            None => (b'_', line),
        }
    }
}

/// Pushes the value of the first reply in `bytes`.
pub fn push_reply(stack: &mut Stack, bytes: &[u8]) {
    push_next(stack, &mut Reader { bytes });
}

fn length_of(text: &[u8]) -> Option<usize> {
    number::parse_integer(text).and_then(|length| usize::try_from(length).ok())
}

fn push_next(stack: &mut Stack, reader: &mut Reader<'_>) {
    let (mark, text) = reader.next();
    match mark {
        b':' => stack.push_number(number::parse_integer(text).unwrap_or(0) as f64),
        b'$' => match length_of(text) {
            Some(length) => stack.push_text(reader.take(length)),
            None => stack.push_boolean(false),
        },
        b'*' | b'>' => match length_of(text) {
            Some(length) => push_array(stack, reader, length),
            None => stack.push_boolean(false),
        },
        b'+' => push_field(stack, b"ok", |stack| stack.push_text(text)),
        b'-' => {
            push_field(stack, b"err", |stack| stack.push_text(text));
            set_field(stack, super::raised::COUNTED_FIELD.as_bytes(), |stack| {
                stack.push_boolean(true);
            });
        }
        b'#' => stack.push_boolean(text == b"t"),
        b',' => {
            let double = number::parse_double(text).unwrap_or(f64::NAN);
            push_field(stack, b"double", |stack| stack.push_number(double));
        }
        b'(' => push_field(stack, b"big_number", |stack| stack.push_text(text)),
        b'=' => push_verbatim(stack, reader.take(length_of(text).unwrap_or(0))),
        b'%' => push_map(stack, reader, length_of(text).unwrap_or(0)),
        b'~' => push_set(stack, reader, length_of(text).unwrap_or(0)),
        b'|' => {
            // Attributes stand before a reply and are not shown to scripts.
            push_map(stack, reader, length_of(text).unwrap_or(0));
            stack.pop();
            push_next(stack, reader);
        }
        _ => stack.push_nil(),
    }
}

/// Pushes a table with this field.
fn push_field(stack: &mut Stack, name: &[u8], push_value: impl FnOnce(&mut Stack)) {
    stack.push_table(0, 1);
    set_field(stack, name, push_value);
}

fn set_field(stack: &mut Stack, name: &[u8], push_value: impl FnOnce(&mut Stack)) {
    stack.push_text(name);
    push_value(stack);
    stack.set_pair();
}

fn push_array(stack: &mut Stack, reader: &mut Reader<'_>, length: usize) {
    stack.push_table(length, 0);
    for index in 1..=length {
        push_next(stack, reader);
        stack.set_item(index);
    }
}

fn push_map(stack: &mut Stack, reader: &mut Reader<'_>, pairs: usize) {
    push_field(stack, b"map", |stack| {
        stack.push_table(0, pairs);
        for _ in 0..pairs {
            push_next(stack, reader);
            push_next(stack, reader);
            stack.set_pair();
        }
    });
}

fn push_set(stack: &mut Stack, reader: &mut Reader<'_>, length: usize) {
    push_field(stack, b"set", |stack| {
        stack.push_table(0, length);
        for _ in 0..length {
            push_next(stack, reader);
            stack.push_boolean(true);
            stack.set_pair();
        }
    });
}

fn push_verbatim(stack: &mut Stack, text: &[u8]) {
    let (format, text) = text.split_at(text.len().min(4));
    push_field(stack, b"verbatim_string", |stack| {
        push_field(stack, b"format", |stack| {
            stack.push_text(format.get(..3).unwrap_or(format));
        });
        set_field(stack, b"string", |stack| stack.push_text(text));
    });
}

/// Writes what a script returned, the value on top of the stack. `script_protocol` is the dialect that the script chose; it
/// decides about truth values.
pub fn write_result(stack: &mut Stack, script_protocol: Protocol, reply: &mut Reply<'_>) {
    let mut writer = Writer {
        script_protocol,
        depth: 0,
    };
    writer.write(stack, reply);
}

struct Writer {
    script_protocol: Protocol,
    depth: usize,
}

impl Writer {
    /// Writes the value on top and leaves it there.
    fn write(&mut self, stack: &mut Stack, reply: &mut Reply<'_>) {
        if self.depth > DEPTH_MAX {
            return reply.error("ERR reached lua stack limit");
        }
        match stack.top() {
            Seen::Text(text) => reply.bulk(text),
            Seen::Boolean(truth) if self.script_protocol == Protocol::Resp3 => reply.boolean(truth),
            Seen::Boolean(true) => reply.integer(1),
            Seen::Number(number) => reply.integer(truncated(number)),
            Seen::Table => {
                self.depth += 1;
                if !self.write_marked(stack, reply) {
                    self.write_array(stack, reply);
                }
                self.depth -= 1;
            }
            _ => reply.null(),
        }
    }

    /// Writes the table on top if one of its fields marks it as something other than an array; false if there is none.
    fn write_marked(&mut self, stack: &mut Stack, reply: &mut Reply<'_>) -> bool {
        const MARKS: [Kept; 7] = [
            Kept::Err,
            Kept::Ok,
            Kept::Double,
            Kept::BigNumber,
            Kept::Verbatim,
            Kept::Map,
            Kept::Set,
        ];
        MARKS.into_iter().any(|mark| {
            stack.push_field(mark);
            let is_written = self.write_field(mark, stack, reply);
            stack.pop();
            is_written
        })
    }

    /// Writes a table whose field `mark` is on top, if that has the type that it must have.
    fn write_field(&mut self, mark: Kept, stack: &mut Stack, reply: &mut Reply<'_>) -> bool {
        match (mark, stack.top()) {
            (Kept::Err, Seen::Text(text)) => reply.error(text),
            (Kept::Ok, Seen::Text(text)) => reply.simple(text),
            (Kept::Double, Seen::Number(double)) => reply.double(double),
            (Kept::BigNumber, Seen::Text(digits)) => {
                // A line end would end the reply.
                let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
                let shown = |byte: &u8| if is_end(byte) { b' ' } else { *byte };
                let digits: Vec<u8> = digits.iter().map(shown).collect();
                reply.big_number(&digits);
            }
            (Kept::Verbatim, Seen::Table) => return write_verbatim(stack, reply),
            (Kept::Map, Seen::Table) => self.write_map(stack, reply),
            (Kept::Set, Seen::Table) => self.write_set(stack, reply),
            _ => return false,
        }
        true
    }

    fn write_map(&mut self, stack: &mut Stack, reply: &mut Reply<'_>) {
        let header = reply.begin_deferred();
        let mut pairs = 0;
        stack.for_each_pair(|stack| {
            pairs += 1;
            stack.push_below();
            self.write(stack, reply);
            stack.pop();
            self.write(stack, reply);
        });
        reply.end_deferred_map(header, pairs);
    }

    fn write_set(&mut self, stack: &mut Stack, reply: &mut Reply<'_>) {
        let header = reply.begin_deferred();
        let mut members = 0;
        stack.for_each_pair(|stack| {
            members += 1;
            stack.push_below();
            self.write(stack, reply);
            stack.pop();
        });
        reply.end_deferred_set(header, members);
    }

    fn write_array(&mut self, stack: &mut Stack, reply: &mut Reply<'_>) {
        let header = reply.begin_deferred();
        let mut length = 0;
        loop {
            stack.push_item(length + 1);
            let is_end = stack.top() == Seen::Nil;
            if !is_end {
                self.write(stack, reply);
                length += 1;
            }
            stack.pop();
            if is_end {
                break;
            }
        }
        reply.end_deferred_array(header, length);
    }
}

/// The table on top holds format and text; false if it does not.
fn write_verbatim(stack: &mut Stack, reply: &mut Reply<'_>) -> bool {
    let mut letters = [b' '; 3];
    stack.push_field(Kept::Format);
    let has_format = match stack.top() {
        Seen::Text(format) => {
            let length = format.len().min(3);
            letters[..length].copy_from_slice(&format[..length]);
            true
        }
        _ => false,
    };
    stack.pop();
    stack.push_field(Kept::String);
    let is_written = match stack.top() {
        Seen::Text(text) if has_format => {
            reply.verbatim(letters, text);
            true
        }
        _ => false,
    };
    stack.pop();
    is_written
}

/// As a C cast does it where it is defined; out of range gives the smallest integer, as on x86.
fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.is_nan() || !(-LIMIT..LIMIT).contains(&number) {
        return i64::MIN;
    }
    number as i64
}

/// Appends a number as a command's argument: an integer without exponent where it is one, else the shortest digits.
pub fn push_number(value: f64, output: &mut Vec<u8>) {
    let integer = truncated(value);
    if integer as f64 == value && integer != i64::MIN && integer != i64::MAX {
        output.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    } else {
        number::format_double(value, output);
    }
}
