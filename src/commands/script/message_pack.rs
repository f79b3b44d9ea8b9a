//! The `cmsgpack` library: MessagePack, with lua-cmsgpack's choices: the shortest form of a number, floats of 32 bits where
//! they lose nothing, arrays for tables whose keys are 1 to n, nil for what is nested too deep.

use super::raised::located_error;
use mlua::{Error, Lua, Result, Table, Value, Variadic};

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
enum Failure {
    /// It ends too early.
    Short,
    /// It holds what Lua has no value for.
    Bad,
    /// Lua failed.
    Lua(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Lua(error)
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    position: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> std::result::Result<&'a [u8], Failure> {
        let end = self.position.checked_add(length).ok_or(Failure::Short)?;
        let bytes = self.text.get(self.position..end).ok_or(Failure::Short)?;
        self.position = end;
        Ok(bytes)
    }

    /// A big-endian number of 1, 2, 4 or 8 bytes.
    fn unsigned(&mut self, bytes: usize) -> std::result::Result<u64, Failure> {
        let bytes = self.take(bytes)?;
        Ok(bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn length(&mut self, bytes: usize) -> std::result::Result<usize, Failure> {
        Ok(self.unsigned(bytes)? as usize)
    }

    fn string(&mut self, length: usize) -> std::result::Result<Value, Failure> {
        let bytes = self.take(length)?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn value(&mut self) -> std::result::Result<Value, Failure> {
        let mark = self.take(1)?[0];
        match mark {
            0xc0 => Ok(Value::Nil),
            0xc2 | 0xc3 => Ok(Value::Boolean(mark == 0xc3)),
            0xca => {
                let bits = self.unsigned(4)? as u32;
                Ok(Value::Number(f64::from(f32::from_bits(bits))))
            }
            0xcb => Ok(Value::Number(f64::from_bits(self.unsigned(8)?))),
            0xcc..=0xcf => {
                let unsigned = self.unsigned(1 << (mark - 0xcc))?;
                Ok(Value::Number(unsigned as f64))
            }
            0xd0..=0xd3 => {
                let bytes = 1 << (mark - 0xd0);
                let unused = 64 - 8 * bytes as u32;
                let signed = (self.unsigned(bytes)? << unused) as i64 >> unused;
                Ok(Value::Number(signed as f64))
            }
            0xd9..=0xdb => {
                let length = self.length(1 << (mark - 0xd9))?;
                self.string(length)
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (mark - 0xdc))?;
                self.array(length)
            }
            0xde | 0xdf => {
                let pairs = self.length(2 << (mark - 0xde))?;
                self.map(pairs)
            }
            0x00..=0x7f => Ok(Value::Number(f64::from(mark))),
            0xe0..=0xff => Ok(Value::Number(f64::from(mark as i8))),
            0x80..=0x8f => self.map(usize::from(mark & 15)),
            0x90..=0x9f => self.array(usize::from(mark & 15)),
            0xa0..=0xbf => self.string(usize::from(mark & 31)),
            _ => Err(Failure::Bad),
        }
    }

    /// Containers in containers use the thread's stack: no deeper than Lua itself would go.
    fn descend(&mut self) -> std::result::Result<(), Failure> {
        const NESTING_MAX: usize = 1000;
        self.depth += 1;
        if self.depth > NESTING_MAX {
            Err(Failure::Bad)
        } else {
            Ok(())
        }
    }

    fn array(&mut self, length: usize) -> std::result::Result<Value, Failure> {
        self.descend()?;
        let table = self.lua.create_table()?;
        for index in 1..=length {
            let value = self.value()?;
            if !value.is_nil() {
                table.raw_set(index, value)?;
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn map(&mut self, pairs: usize) -> std::result::Result<Value, Failure> {
        self.descend()?;
        let table = self.lua.create_table()?;
        for _ in 0..pairs {
            let key = self.value()?;
            let value = self.value()?;
            table.raw_set(key, value)?;
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

/// Reads up to `limit` values (0: all) from `offset` on. With a limit, where to go on is the first of the results, -1 at
/// the end.
fn unpack(lua: &Lua, text: &Value, limit: i64, offset: i64, full: bool) -> Result<Variadic<Value>> {
    let Some(text) = lua.coerce_string(text.clone())? else {
        let kind = text.type_name();
        let text = format!("bad argument #1 to 'unpack' (string expected, got {kind})");
        return Err(located_error(lua, text));
    };
    let text = text.as_bytes();
    if offset < 0 || limit < 0 {
        let text = format!(
            "Invalid request to unpack with offset of {offset} and limit of {}.",
            text.len()
        );
        return Err(located_error(lua, text));
    }
    if offset as usize > text.len() {
        let text = format!(
            "Start offset {offset} greater than input length {}.",
            text.len()
        );
        return Err(located_error(lua, text));
    }
    let mut reader = Reader {
        lua,
        text: &text,
        position: offset as usize,
        depth: 0,
    };
    let mut values = Vec::new();
    while reader.position < text.len() && (full || (values.len() as i64) < limit) {
        match reader.value() {
            Ok(value) => values.push(value),
            Err(Failure::Short) => return Err(located_error(lua, "Missing bytes in input.")),
            Err(Failure::Bad) => return Err(located_error(lua, "Bad data format in input.")),
            Err(Failure::Lua(error)) => return Err(error),
        }
    }
    if !full {
        let is_done = reader.position >= text.len();
        let next = if is_done {
            -1.0
        } else {
            reader.position as f64
        };
        values.insert(0, Value::Number(next));
    }
    Ok(Variadic::from_iter(values))
}

fn integer(lua: &Lua, arguments: &[Value], index: usize, otherwise: Option<i64>) -> Result<i64> {
    let value = arguments.get(index).cloned().unwrap_or(Value::Nil);
    if value.is_nil()
        && let Some(otherwise) = otherwise
    {
        return Ok(otherwise);
    }
    match lua.coerce_number(value)? {
        Some(number) => Ok(number as i64),
        None => Err(located_error(
            lua,
            format!("bad argument #{} (number expected)", index + 1),
        )),
    }
}

/// The functions of `cmsgpack`.
pub fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", lua.create_function(pack)?)?;
    let first = |arguments: &[Value]| arguments.first().cloned().unwrap_or(Value::Nil);
    let all =
        move |lua: &Lua, arguments: Variadic<Value>| unpack(lua, &first(&arguments), 0, 0, true);
    library.raw_set("unpack", lua.create_function(all)?)?;
    let one = move |lua: &Lua, arguments: Variadic<Value>| {
        let offset = integer(lua, &arguments, 1, Some(0))?;
        unpack(lua, &first(&arguments), 1, offset, false)
    };
    library.raw_set("unpack_one", lua.create_function(one)?)?;
    let some = move |lua: &Lua, arguments: Variadic<Value>| {
        let limit = integer(lua, &arguments, 1, None)?;
        let offset = integer(lua, &arguments, 2, Some(0))?;
        unpack(lua, &first(&arguments), limit, offset, false)
    };
    library.raw_set("unpack_limit", lua.create_function(some)?)?;
    library.raw_set("_NAME", "cmsgpack")?;
    library.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    Ok(library)
}
