//! Values on their way between commands and scripts.
//!
//! A nested command writes its reply in RESP into a scratch buffer; [`to_lua`] turns it into Lua values in one pass.
//! [`Replier::write`] turns what a script returns into a reply for the client. Both follow Redis's tables for RESP2 and RESP3.

use crate::commands::options::up_to_nul;
use crate::resp::number::truncated;
use crate::resp::{Protocol, Reply, number};
use mlua::{Lua, String as LuaString, Table, Value};

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

/// The value of the first reply in `bytes`.
pub fn to_lua(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    read(lua, &mut Reader { bytes })
}

fn length_of(text: &[u8]) -> Option<usize> {
    number::parse_integer(text).and_then(|length| usize::try_from(length).ok())
}

fn read(lua: &Lua, reader: &mut Reader<'_>) -> mlua::Result<Value> {
    let (mark, text) = reader.next();
    match mark {
        b':' => Ok(Value::Number(
            number::parse_integer(text).unwrap_or(0) as f64
        )),
        b'$' => match length_of(text) {
            Some(length) => lua.create_string(reader.take(length)).map(Value::String),
            None => Ok(Value::Boolean(false)),
        },
        b'*' | b'>' => match length_of(text) {
            Some(length) => read_array(lua, reader, length),
            None => Ok(Value::Boolean(false)),
        },
        b'+' => field(lua, "ok", Value::String(lua.create_string(text)?)),
        b'-' => super::raised::counted_table(lua, text).map(Value::Table),
        b'#' => Ok(Value::Boolean(text == b"t")),
        b',' => {
            let double = number::parse_double(text).unwrap_or(f64::NAN);
            field(lua, "double", Value::Number(double))
        }
        b'(' => field(lua, "big_number", Value::String(lua.create_string(text)?)),
        b'=' => read_verbatim(lua, reader.take(length_of(text).unwrap_or(0))),
        b'%' => read_map(lua, reader, length_of(text).unwrap_or(0)),
        b'~' => read_set(lua, reader, length_of(text).unwrap_or(0)),
        b'|' => {
            // Attributes stand before a reply and are not shown to scripts.
            read_map(lua, reader, length_of(text).unwrap_or(0))?;
            read(lua, reader)
        }
        _ => Ok(Value::Nil),
    }
}

fn field(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn read_array(lua: &Lua, reader: &mut Reader<'_>, length: usize) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(length, 0)?;
    for index in 1..=length {
        let value = read(lua, reader)?;
        if !value.is_nil() {
            table.raw_set(index, value)?;
        }
    }
    Ok(Value::Table(table))
}

fn read_map(lua: &Lua, reader: &mut Reader<'_>, pairs: usize) -> mlua::Result<Value> {
    let map = lua.create_table_with_capacity(0, pairs)?;
    for _ in 0..pairs {
        let key = read(lua, reader)?;
        map.raw_set(key, read(lua, reader)?)?;
    }
    field(lua, "map", Value::Table(map))
}

fn read_set(lua: &Lua, reader: &mut Reader<'_>, length: usize) -> mlua::Result<Value> {
    let set = lua.create_table_with_capacity(0, length)?;
    for _ in 0..length {
        set.raw_set(read(lua, reader)?, true)?;
    }
    field(lua, "set", Value::Table(set))
}

fn read_verbatim(lua: &Lua, text: &[u8]) -> mlua::Result<Value> {
    let (format, text) = text.split_at(text.len().min(4));
    let verbatim = lua.create_table_with_capacity(0, 2)?;
    verbatim.raw_set(
        "format",
        lua.create_string(format.get(..3).unwrap_or(format))?,
    )?;
    verbatim.raw_set("string", lua.create_string(text)?)?;
    field(lua, "verbatim_string", Value::Table(verbatim))
}

/// Writes what scripts return. Holds the names of the fields it looks for as Lua strings, so that looking costs no new string.
pub struct Replier {
    err: LuaString,
    ok: LuaString,
    double: LuaString,
    big_number: LuaString,
    verbatim: LuaString,
    format: LuaString,
    string: LuaString,
    map: LuaString,
    set: LuaString,
}

impl Replier {
    /// For one Lua state.
    pub fn new(lua: &Lua) -> mlua::Result<Replier> {
        Ok(Replier {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            double: lua.create_string("double")?,
            big_number: lua.create_string("big_number")?,
            verbatim: lua.create_string("verbatim_string")?,
            format: lua.create_string("format")?,
            string: lua.create_string("string")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
        })
    }

    /// Writes a value. `script_protocol` is the dialect that the script chose; it decides about truth values.
    pub fn write(
        &self,
        value: &Value,
        script_protocol: Protocol,
        reply: &mut Reply<'_>,
    ) -> mlua::Result<()> {
        self.write_nested(value, script_protocol, reply, 0)
    }

    fn write_nested(
        &self,
        value: &Value,
        script_protocol: Protocol,
        reply: &mut Reply<'_>,
        depth: usize,
    ) -> mlua::Result<()> {
        if depth > DEPTH_MAX {
            reply.error("ERR reached lua stack limit");
            return Ok(());
        }
        match value {
            Value::String(text) => reply.bulk(&text.as_bytes()),
            Value::Boolean(truth) if script_protocol == Protocol::Resp3 => reply.boolean(*truth),
            Value::Boolean(true) => reply.integer(1),
            Value::Integer(integer) => reply.integer(*integer),
            Value::Number(number) => reply.integer(truncated(*number)),
            Value::Table(table) => {
                if !self.write_marked(table, script_protocol, reply, depth)? {
                    self.write_array(table, script_protocol, reply, depth)?;
                }
            }
            _ => reply.null(),
        }
        Ok(())
    }

    /// Writes a table that one of its fields marks as something other than an array; false if there is none.
    fn write_marked(
        &self,
        table: &Table,
        script_protocol: Protocol,
        reply: &mut Reply<'_>,
        depth: usize,
    ) -> mlua::Result<bool> {
        if let Value::String(text) = table.raw_get(&self.err)? {
            reply.error(up_to_nul(&text.as_bytes()));
            return Ok(true);
        }
        if let Value::String(text) = table.raw_get(&self.ok)? {
            reply.simple(up_to_nul(&text.as_bytes()));
            return Ok(true);
        }
        match table.raw_get(&self.double)? {
            Value::Number(double) => {
                reply.double(double);
                return Ok(true);
            }
            Value::Integer(integer) => {
                reply.double(integer as f64);
                return Ok(true);
            }
            _ => {}
        }
        if let Value::String(digits) = table.raw_get(&self.big_number)? {
            // A line end would end the reply.
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            let digits: Vec<u8> = digits
                .as_bytes()
                .iter()
                .map(|byte| if is_end(byte) { b' ' } else { *byte })
                .collect();
            reply.big_number(&digits);
            return Ok(true);
        }
        if let Value::Table(verbatim) = table.raw_get(&self.verbatim)?
            && let Value::String(format) = verbatim.raw_get(&self.format)?
            && let Value::String(text) = verbatim.raw_get(&self.string)?
        {
            let mut letters = [b' '; 3];
            let format = format.as_bytes();
            let length = format.len().min(3);
            letters[..length].copy_from_slice(&format[..length]);
            reply.verbatim(letters, &text.as_bytes());
            return Ok(true);
        }
        if let Value::Table(map) = table.raw_get(&self.map)? {
            let header = reply.begin_deferred();
            let mut pairs = 0;
            map.for_each(|key: Value, value: Value| {
                pairs += 1;
                self.write_nested(&key, script_protocol, reply, depth + 1)?;
                self.write_nested(&value, script_protocol, reply, depth + 1)
            })?;
            reply.end_deferred_map(header, pairs);
            return Ok(true);
        }
        if let Value::Table(set) = table.raw_get(&self.set)? {
            let header = reply.begin_deferred();
            let mut members = 0;
            set.for_each(|member: Value, _: Value| {
                members += 1;
                self.write_nested(&member, script_protocol, reply, depth + 1)
            })?;
            reply.end_deferred_set(header, members);
            return Ok(true);
        }
        Ok(false)
    }

    fn write_array(
        &self,
        table: &Table,
        script_protocol: Protocol,
        reply: &mut Reply<'_>,
        depth: usize,
    ) -> mlua::Result<()> {
        let header = reply.begin_deferred();
        let mut length = 0;
        loop {
            let value: Value = table.raw_get(length + 1)?;
            if value.is_nil() {
                break;
            }
            self.write_nested(&value, script_protocol, reply, depth + 1)?;
            length += 1;
        }
        reply.end_deferred_array(header, length);
        Ok(())
    }
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
