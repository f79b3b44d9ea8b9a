//! The `cmsgpack` library: MessagePack, with lua-cmsgpack's choices: the shortest form of a number, floats of 32 bits where
//! they lose nothing, arrays for tables whose keys are 1 to n, nil for what is nested too deep.

use super::raised::located_error;
use super::raw::{self, Failure};
use super::values::{Seen, Stack};
use mlua::{Lua, Result, Table, Value, Variadic};

/// Tables nested deeper are written as nil.
const DEPTH_MAX: usize = 16;

fn put_length(
    output: &mut Vec<u8>,
    length: usize,
    (fixed, fixed_max): (u8, usize),
    marks: [u8; 3],
) {
    if length <= fixed_max {
        output.push(fixed | length as u8);
    } else if length <= 0xff && marks[0] != 0 {
        output.extend_from_slice(&[marks[0], length as u8]);
    } else if length <= 0xffff {
        output.push(marks[1]);
        output.extend_from_slice(&(length as u16).to_be_bytes());
    } else {
        output.push(marks[2]);
        output.extend_from_slice(&(length as u32).to_be_bytes());
    }
}

fn put_integer(output: &mut Vec<u8>, integer: i64) {
    /// Marks for 1, 2, 4 and 8 bytes.
    const UNSIGNED: [u8; 4] = [0xcc, 0xcd, 0xce, 0xcf];
    const SIGNED: [u8; 4] = [0xd0, 0xd1, 0xd2, 0xd3];
    if (-32..=127).contains(&integer) {
        return output.push(integer as u8);
    }
    let (marks, width) = if integer >= 0 {
        let width = match integer {
            0x1_0000_0000.. => 3,
            0x1_0000.. => 2,
            0x100.. => 1,
            _ => 0,
        };
        (UNSIGNED, width)
    } else {
        let width = match integer {
            ..-0x8000_0000 => 3,
            -0x8000_0000..-0x8000 => 2,
            -0x8000..-0x80 => 1,
            _ => 0,
        };
        (SIGNED, width)
    };
    output.push(marks[width]);
    output.extend_from_slice(&integer.to_be_bytes()[8 - (1 << width)..]);
}

fn put_number(output: &mut Vec<u8>, number: f64) {
    if number as i64 as f64 == number && number.abs() < 9.2e18 {
        put_integer(output, number as i64);
    } else if f64::from(number as f32) == number {
        output.push(0xca);
        output.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        output.push(0xcb);
        output.extend_from_slice(&number.to_be_bytes());
    }
}

/// Number of elements if the keys are exactly 1 to n.
fn array_length(table: &Table) -> Result<(Option<usize>, usize)> {
    let (mut count, mut largest, mut is_array) = (0usize, 0f64, true);
    table.for_each(|key: Value, _: Value| {
        count += 1;
        let key = match key {
            Value::Integer(integer) => integer as f64,
            Value::Number(number) => number,
            _ => -1.0,
        };
        is_array &= key > 0.0 && key.floor() == key;
        largest = largest.max(key);
        Ok(())
    })?;
    let is_array = is_array && largest == count as f64;
    Ok((is_array.then_some(count), count))
}

fn put_value(output: &mut Vec<u8>, value: &Value, depth: usize) -> Result<()> {
    match value {
        Value::String(text) => {
            let text = text.as_bytes();
            put_length(output, text.len(), (0xa0, 31), [0xd9, 0xda, 0xdb]);
            output.extend_from_slice(&text);
        }
        Value::Boolean(truth) => output.push(0xc2 + u8::from(*truth)),
        Value::Integer(integer) => put_integer(output, *integer),
        Value::Number(number) => put_number(output, *number),
        Value::Table(table) if depth < DEPTH_MAX => match array_length(table)? {
            (Some(length), _) => {
                put_length(output, length, (0x90, 15), [0, 0xdc, 0xdd]);
                for index in 1..=length {
                    put_value(output, &table.raw_get(index)?, depth + 1)?;
                }
            }
            (None, pairs) => {
                put_length(output, pairs, (0x80, 15), [0, 0xde, 0xdf]);
                table.for_each(|key: Value, value: Value| {
                    put_value(output, &key, depth + 1)?;
                    put_value(output, &value, depth + 1)
                })?;
            }
        },
        _ => output.push(0xc0),
    }
    Ok(())
}

fn pack(lua: &Lua, arguments: Variadic<Value>) -> Result<mlua::String> {
    if arguments.is_empty() {
        let text = "bad argument #0 to 'pack' (MessagePack pack needs input.)";
        return Err(located_error(lua, text));
    }
    let mut output = Vec::new();
    for value in arguments.iter() {
        put_value(&mut output, value, 0)?;
    }
    lua.create_string(output)
}

/// Why a text cannot be read.
enum Unreadable {
    /// It ends too early.
    Short,
    /// It holds what Lua has no value for.
    Bad,
    /// It holds more values than Lua's stack.
    TooMany,
}

/// Pushes the values of a text. What a message holds comes straight onto Lua's stack: queues pack their jobs' options, so this
/// is what their scripts do most.
struct Reader<'a> {
    text: &'a [u8],
    position: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> std::result::Result<&'a [u8], Unreadable> {
        let end = self.position.checked_add(length).ok_or(Unreadable::Short)?;
        let bytes = self.text.get(self.position..end).ok_or(Unreadable::Short)?;
        self.position = end;
        Ok(bytes)
    }

    /// A big-endian number of 1, 2, 4 or 8 bytes.
    fn unsigned(&mut self, bytes: usize) -> std::result::Result<u64, Unreadable> {
        let bytes = self.take(bytes)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn length(&mut self, bytes: usize) -> std::result::Result<usize, Unreadable> {
        Ok(self.unsigned(bytes)? as usize)
    }

    fn push_text(
        &mut self,
        stack: &mut Stack,
        length: usize,
    ) -> std::result::Result<(), Unreadable> {
        stack.push_text(self.take(length)?);
        Ok(())
    }

    fn push_value(&mut self, stack: &mut Stack) -> std::result::Result<(), Unreadable> {
        if !stack.has_room() {
            return Err(Unreadable::TooMany);
        }
        let mark = self.take(1)?[0];
        match mark {
            0xc0 => stack.push_nil(),
            0xc2 | 0xc3 => stack.push_boolean(mark == 0xc3),
            0xca => {
                let bits = self.unsigned(4)? as u32;
                stack.push_number(f64::from(f32::from_bits(bits)));
            }
            0xcb => stack.push_number(f64::from_bits(self.unsigned(8)?)),
            0xcc..=0xcf => {
                let unsigned = self.unsigned(1 << (mark - 0xcc))?;
                stack.push_number(unsigned as f64);
            }
            0xd0..=0xd3 => {
                let bytes = 1 << (mark - 0xd0);
                let unused = 64 - 8 * bytes as u32;
                let signed = (self.unsigned(bytes)? << unused) as i64 >> unused;
                stack.push_number(signed as f64);
            }
            0xd9..=0xdb => {
                let length = self.length(1 << (mark - 0xd9))?;
                self.push_text(stack, length)?;
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (mark - 0xdc))?;
                self.push_array(stack, length)?;
            }
            0xde | 0xdf => {
                let pairs = self.length(2 << (mark - 0xde))?;
                self.push_map(stack, pairs)?;
            }
            0x00..=0x7f => stack.push_number(f64::from(mark)),
            0xe0..=0xff => stack.push_number(f64::from(mark as i8)),
            0x80..=0x8f => self.push_map(stack, usize::from(mark & 15))?,
            0x90..=0x9f => self.push_array(stack, usize::from(mark & 15))?,
            0xa0..=0xbf => self.push_text(stack, usize::from(mark & 31))?,
            _ => return Err(Unreadable::Bad),
        }
        Ok(())
    }

    /// Containers in containers use the thread's stack: no deeper than Lua itself would go.
    fn descend(&mut self) -> std::result::Result<(), Unreadable> {
        const NESTING_MAX: usize = 1000;
        self.depth += 1;
        if self.depth > NESTING_MAX {
            Err(Unreadable::Bad)
        } else {
            Ok(())
        }
    }

    fn push_array(
        &mut self,
        stack: &mut Stack,
        length: usize,
    ) -> std::result::Result<(), Unreadable> {
        self.descend()?;
        // Each item is a byte at least: a length that is not true makes no room.
        stack.push_table(length.min(self.text.len() - self.position), 0);
        for index in 1..=length {
            self.push_value(stack)?;
            stack.set_item(index);
        }
        self.depth -= 1;
        Ok(())
    }

    fn push_map(&mut self, stack: &mut Stack, pairs: usize) -> std::result::Result<(), Unreadable> {
        self.descend()?;
        stack.push_table(0, pairs.min(self.text.len() - self.position));
        for _ in 0..pairs {
            self.push_value(stack)?;
            self.push_value(stack)?;
            if !stack.set_pair() {
                return Err(Unreadable::Bad);
            }
        }
        self.depth -= 1;
        Ok(())
    }
}

/// Pushes up to `limit` values (`None`: all) from `offset` on. With a limit, where to go on is the first of the results, -1 at
/// the end.
fn unpack(stack: &mut Stack, limit: Option<i64>, offset: i64) -> std::result::Result<(), Failure> {
    let kind = match stack.optional_argument(1) {
        Seen::Nil => "nil",
        Seen::Boolean(_) => "boolean",
        Seen::Table => "table",
        _ => "function",
    };
    if stack.arguments() == 0 {
        return fail(format!(
            "bad argument #1 to 'unpack' (string expected, got {kind})"
        ));
    }
    stack
        .with_text_argument(1, |text, stack| unpack_text(text, stack, limit, offset))
        .unwrap_or_else(|| {
            fail(format!(
                "bad argument #1 to 'unpack' (string expected, got {kind})"
            ))
        })
}

fn fail(text: impl Into<String>) -> std::result::Result<(), Failure> {
    Err(Failure::RaiseWithPlace(text.into()))
}

fn unpack_text(
    text: &[u8],
    stack: &mut Stack,
    limit: Option<i64>,
    offset: i64,
) -> std::result::Result<(), Failure> {
    let length = text.len();
    if offset < 0 || limit.is_some_and(|limit| limit < 0) {
        return fail(format!(
            "Invalid request to unpack with offset of {offset} and limit of {length}."
        ));
    }
    if offset as usize > length {
        return fail(format!(
            "Start offset {offset} greater than input length {length}."
        ));
    }
    let mut reader = Reader {
        text,
        position: offset as usize,
        depth: 0,
    };
    if limit.is_some() {
        stack.push_nil();
    }
    let mut values = 0;
    while reader.position < length && limit.is_none_or(|limit| values < limit) {
        let read = reader.push_value(stack);
        values += 1;
        // Where to go on needs room, too.
        match read.and(stack.has_room().then_some(()).ok_or(Unreadable::TooMany)) {
            Ok(()) => {}
            Err(Unreadable::Short) => return fail("Missing bytes in input."),
            Err(Unreadable::Bad) => return fail("Bad data format in input."),
            Err(Unreadable::TooMany) => {
                let text =
                    "too many return values at once; use unpack_one or unpack_limit instead.";
                return fail(text);
            }
        }
    }
    if limit.is_some() {
        let is_done = reader.position >= length;
        stack.set_first(if is_done {
            -1.0
        } else {
            reader.position as f64
        });
    }
    Ok(())
}

/// An argument that is to be an integer, counted from 1.
fn integer(
    stack: &Stack,
    number: usize,
    otherwise: Option<i64>,
) -> std::result::Result<i64, Failure> {
    if stack.optional_argument(number) == Seen::Nil
        && let Some(otherwise) = otherwise
    {
        return Ok(otherwise);
    }
    let found = (number <= stack.arguments()).then(|| stack.number_argument(number));
    found
        .flatten()
        .map(|found| found as i64)
        .ok_or_else(|| Failure::RaiseWithPlace(format!("bad argument #{number} (number expected)")))
}

fn unpack_one(stack: &mut Stack) -> std::result::Result<(), Failure> {
    let offset = integer(stack, 2, Some(0))?;
    unpack(stack, Some(1), offset)
}

fn unpack_limit(stack: &mut Stack) -> std::result::Result<(), Failure> {
    let limit = integer(stack, 2, None)?;
    let offset = integer(stack, 3, Some(0))?;
    let is_all = limit == 0 && offset == 0;
    unpack(stack, (!is_all).then_some(limit), offset)
}

/// The functions of `cmsgpack`.
pub fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", lua.create_function(pack)?)?;
    let functions: [(&str, raw::Body); 3] = [
        ("unpack", |stack| unpack(stack, None, 0)),
        ("unpack_one", unpack_one),
        ("unpack_limit", unpack_limit),
    ];
    for (name, body) in functions {
        library.raw_set(name, raw::function(lua, body, std::convert::identity)?)?;
    }
    library.raw_set("_NAME", "cmsgpack")?;
    library.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    Ok(library)
}
