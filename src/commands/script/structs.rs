//! The `struct` library: texts of fixed layout, described by a format string.
//!
//! `>` and `<` set the byte order, `!n` the alignment; `b B h H l L T i I` (with a size) are integers, `f d` floats, `x` a
//! padding byte, `s` a text that ends with a zero, `cn` a text of n bytes.

use super::raised::located_error;
use mlua::{Error, Lua, Result, Table, Value, Variadic};

const INTEGER_BYTES_MAX: usize = 32;
const ALIGNMENT_MAX: usize = 8;

/// One item of a format, with the bytes of padding in front of it.
struct Item {
    option: u8,
    size: usize,
    padding: usize,
}

/// Reads a format item by item.
struct Format<'a> {
    lua: &'a Lua,
    function: &'static str,
    text: &'a [u8],
    is_big_endian: bool,
    alignment: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, function: &'static str, text: &'a [u8]) -> Format<'a> {
        Format {
            lua,
            function,
            text,
            is_big_endian: cfg!(target_endian = "big"),
            alignment: 1,
        }
    }

    fn bad_argument(&self, number: usize, what: &str) -> Error {
        let text = format!("bad argument #{number} to '{}' ({what})", self.function);
        located_error(self.lua, text)
    }

    /// A decimal number in the format, or `otherwise`.
    fn number(&mut self, otherwise: usize) -> Result<usize> {
        let digits = self
            .text
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return Ok(otherwise);
        }
        let (digits, rest) = self.text.split_at(digits);
        self.text = rest;
        let number: Option<i32> = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse().ok());
        number
            .map(|number| number as usize)
            .ok_or_else(|| located_error(self.lua, "integral size overflow"))
    }

    fn size_of(&mut self, option: u8) -> Result<usize> {
        Ok(match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_BYTES_MAX {
                    let text =
                        format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
                    return Err(located_error(self.lua, text));
                }
                size
            }
            _ => 0,
        })
    }

    /// The next item at this position; options that only change the layout are dealt with here.
    fn next(&mut self, position: usize) -> Result<Option<Item>> {
        while let Some((option, rest)) = self.text.split_first() {
            self.text = rest;
            let size = self.size_of(*option)?;
            match option {
                b' ' => {}
                b'>' => self.is_big_endian = true,
                b'<' => self.is_big_endian = false,
                b'!' => {
                    let alignment = self.number(ALIGNMENT_MAX)?;
                    if !alignment.is_power_of_two() {
                        let text = format!("alignment {alignment} is not a power of 2");
                        return Err(located_error(self.lua, text));
                    }
                    self.alignment = alignment;
                }
                b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' | b'f' | b'd'
                | b'x' | b'c' | b's' => {
                    let unit = size.min(self.alignment);
                    let padding = match option {
                        b'c' => 0,
                        _ if size == 0 => 0,
                        _ => unit.wrapping_sub(position & (unit.wrapping_sub(1))) & (unit - 1),
                    };
                    return Ok(Some(Item {
                        option: *option,
                        size,
                        padding,
                    }));
                }
                other => {
                    let text = format!("invalid format option '{}'", char::from(*other));
                    return Err(self.bad_argument(1, &text));
                }
            }
        }
        Ok(None)
    }

    fn ordered(&self, mut little_endian: Vec<u8>) -> Vec<u8> {
        if self.is_big_endian {
            little_endian.reverse();
        }
        little_endian
    }
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Integer(_)) => "number",
        Some(value) => value.type_name(),
    }
}

fn text_argument(
    lua: &Lua,
    arguments: &[Value],
    index: usize,
    function: &str,
) -> Result<mlua::String> {
    let value = arguments.get(index);
    match lua.coerce_string(value.cloned().unwrap_or(Value::Nil))? {
        Some(text) => Ok(text),
        None => Err(located_error(
            lua,
            format!(
                "bad argument #{} to '{function}' (string expected, got {})",
                index + 1,
                kind(value)
            ),
        )),
    }
}

fn number_argument(lua: &Lua, arguments: &[Value], index: usize) -> Result<f64> {
    let value = arguments.get(index);
    match lua.coerce_number(value.cloned().unwrap_or(Value::Nil))? {
        Some(number) => Ok(number),
        None => Err(located_error(
            lua,
            format!(
                "bad argument #{} to 'pack' (number expected, got {})",
                index + 1,
                kind(value)
            ),
        )),
    }
}

/// A number as 64 bits, as a C cast does it.
fn integer_bits(number: f64) -> u64 {
    if number < 0.0 {
        number as i64 as u64
    } else {
        number as u64
    }
}

fn pack(lua: &Lua, arguments: Variadic<Value>) -> Result<mlua::String> {
    let text = text_argument(lua, &arguments, 0, "pack")?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, "pack", &text);
    let mut output = Vec::new();
    let mut argument = 1;
    while let Some(item) = format.next(output.len())? {
        output.resize(output.len() + item.padding, 0);
        match item.option {
            b'x' => {
                output.push(0);
                continue;
            }
            b'f' => {
                let float = number_argument(lua, &arguments, argument)? as f32;
                output.extend(format.ordered(float.to_le_bytes().to_vec()));
            }
            b'd' => {
                let double = number_argument(lua, &arguments, argument)?;
                output.extend(format.ordered(double.to_le_bytes().to_vec()));
            }
            b's' | b'c' => {
                let text = text_argument(lua, &arguments, argument, "pack")?;
                let text = text.as_bytes();
                let size = if item.size == 0 {
                    text.len()
                } else {
                    item.size
                };
                let Some(text) = text.get(..size) else {
                    return Err(format.bad_argument(argument + 2, "string too short"));
                };
                output.extend_from_slice(text);
                if item.option == b's' {
                    output.push(0);
                }
            }
            _ => {
                let bits = integer_bits(number_argument(lua, &arguments, argument)?);
                let mut bytes = bits.to_le_bytes().to_vec();
                bytes.resize(item.size, 0);
                output.extend(format.ordered(bytes));
            }
        }
        argument += 1;
    }
    lua.create_string(output)
}

/// An integer of any size: what does not fit into 64 bits is lost, as in C.
fn read_integer(bytes: &[u8], is_big_endian: bool, is_signed: bool) -> f64 {
    let push = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    let mut bits = if is_big_endian {
        bytes.iter().fold(0, push)
    } else {
        bytes.iter().rev().fold(0, push)
    };
    if !is_signed {
        return bits as f64;
    }
    if (1..8).contains(&bytes.len()) {
        let unused = 64 - 8 * bytes.len() as u32;
        bits = ((bits << unused) as i64 >> unused) as u64;
    }
    bits as i64 as f64
}

fn read_array<const N: usize>(bytes: &[u8], is_big_endian: bool) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    if is_big_endian {
        array.reverse();
    }
    array
}

fn unpack(lua: &Lua, arguments: Variadic<Value>) -> Result<Variadic<Value>> {
    let text = text_argument(lua, &arguments, 0, "unpack")?;
    let text = text.as_bytes();
    let data = text_argument(lua, &arguments, 1, "unpack")?;
    let data = data.as_bytes();
    let mut format = Format::new(lua, "unpack", &text);
    let start = match arguments.get(2) {
        None | Some(Value::Nil) => 1.0,
        Some(value) => lua.coerce_number(value.clone())?.unwrap_or(0.0),
    };
    if start < 1.0 {
        return Err(format.bad_argument(3, "offset must be 1 or greater"));
    }
    let mut position = start as usize - 1;
    let mut values = Vec::new();
    while let Some(item) = format.next(position)? {
        position += item.padding;
        let too_short = || format.bad_argument(2, "data string too short");
        let field = |size: usize| data.get(position..position.checked_add(size)?);
        let bytes = field(item.size).ok_or_else(too_short)?;
        let mut size = item.size;
        match item.option {
            b'x' => {}
            b'f' => {
                let float = f32::from_le_bytes(read_array(bytes, format.is_big_endian));
                values.push(Value::Number(f64::from(float)));
            }
            b'd' => {
                let double = f64::from_le_bytes(read_array(bytes, format.is_big_endian));
                values.push(Value::Number(double));
            }
            b'c' if size == 0 => {
                let Some(Value::Number(length)) = values.pop() else {
                    return Err(located_error(lua, "format 'c0' needs a previous size"));
                };
                size = length as usize;
                let bytes = field(size).ok_or_else(too_short)?;
                values.push(Value::String(lua.create_string(bytes)?));
            }
            b'c' => values.push(Value::String(lua.create_string(bytes)?)),
            b's' => {
                let rest = &data[position..];
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(located_error(lua, "unfinished string in data"));
                };
                values.push(Value::String(lua.create_string(&rest[..end])?));
                size = end + 1;
            }
            option => {
                let is_signed = option.is_ascii_lowercase();
                let number = read_integer(bytes, format.is_big_endian, is_signed);
                values.push(Value::Number(number));
            }
        }
        position += size;
    }
    values.push(Value::Number((position + 1) as f64));
    Ok(Variadic::from_iter(values))
}

fn size(lua: &Lua, arguments: Variadic<Value>) -> Result<f64> {
    let text = text_argument(lua, &arguments, 0, "size")?;
    let text = text.as_bytes();
    let mut format = Format::new(lua, "size", &text);
    let mut position = 0usize;
    while let Some(item) = format.next(position)? {
        match item.option {
            b's' => return Err(format.bad_argument(1, "option 's' has no fixed size")),
            b'c' if item.size == 0 => {
                return Err(format.bad_argument(1, "option 'c0' has no fixed size"));
            }
            _ => position = position.saturating_add(item.padding + item.size),
        }
    }
    Ok(position as f64)
}

/// The functions of `struct`.
pub fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", lua.create_function(pack)?)?;
    library.raw_set("unpack", lua.create_function(unpack)?)?;
    library.raw_set("size", lua.create_function(size)?)?;
    Ok(library)
}
