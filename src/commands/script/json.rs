//! The `cjson` library: options, and encoding as lua-cjson 2.1 does it.
//!
//! Numbers have 14 significant digits, `/` is escaped, an empty table is `{}`, and a table whose keys are integers from 1
//! is an array, unless it is too sparse. The options belong to the Lua state and outlive a script, as in Redis.

use super::raised::located_error;
use mlua::{Error, Lua, Result, Table, Value, Variadic};
use std::cell::Cell;
use std::rc::Rc;

/// What to do with numbers that JSON does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InvalidNumbers {
    Refuse,
    Write,
    Null,
}

/// The options, shared by the functions of one Lua state.
struct Options {
    sparse_convert: Cell<bool>,
    sparse_ratio: Cell<u32>,
    sparse_safe: Cell<u32>,
    encode_depth_max: Cell<u32>,
    decode_depth_max: Cell<u32>,
    precision: Cell<u32>,
    keep_buffer: Cell<bool>,
    encode_invalid: Cell<InvalidNumbers>,
    decode_invalid: Cell<bool>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sparse_convert: Cell::new(false),
            sparse_ratio: Cell::new(2),
            sparse_safe: Cell::new(10),
            encode_depth_max: Cell::new(1000),
            decode_depth_max: Cell::new(1000),
            precision: Cell::new(14),
            keep_buffer: Cell::new(true),
            encode_invalid: Cell::new(InvalidNumbers::Refuse),
            decode_invalid: Cell::new(true),
        }
    }
}

struct Encoder<'a> {
    lua: &'a Lua,
    options: &'a Options,
    output: Vec<u8>,
}

impl Encoder<'_> {
    fn refuse(&self, value: &Value, reason: &str) -> Error {
        let kind = match value {
            Value::LightUserData(_) => "userdata",
            other => other.type_name(),
        };
        let kind = if kind == "integer" { "number" } else { kind };
        located_error(self.lua, format!("Cannot serialise {kind}: {reason}"))
    }

    fn value(&mut self, value: &Value, depth: u32) -> Result<()> {
        match value {
            Value::String(text) => self.text(&text.as_bytes()),
            Value::Integer(integer) => self.number(*integer as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::Boolean(true) => self.output.extend_from_slice(b"true"),
            Value::Boolean(false) => self.output.extend_from_slice(b"false"),
            Value::Table(table) => self.table(table, depth + 1)?,
            Value::Nil => self.output.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => {
                self.output.extend_from_slice(b"null")
            }
            other => return Err(self.refuse(other, "type not supported")),
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        self.output.reserve(text.len() + 2);
        self.output.push(b'"');
        for byte in text {
            let escaped = match byte {
                b'"' | b'\\' | b'/' => *byte,
                8 => b'b',
                b'\t' => b't',
                b'\n' => b'n',
                12 => b'f',
                b'\r' => b'r',
                0..32 | 127 => {
                    self.output
                        .extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                    continue;
                }
                _ => {
                    self.output.push(*byte);
                    continue;
                }
            };
            self.output.extend_from_slice(&[b'\\', escaped]);
        }
        self.output.push(b'"');
    }

    fn number(&mut self, number: f64) -> Result<()> {
        if !number.is_finite() {
            match self.options.encode_invalid.get() {
                InvalidNumbers::Refuse => {
                    return Err(self.refuse(&Value::Number(number), "must not be NaN or Inf"));
                }
                InvalidNumbers::Null => {
                    self.output.extend_from_slice(b"null");
                    return Ok(());
                }
                InvalidNumbers::Write => {}
            }
        }
        format_general(
            number,
            self.options.precision.get() as usize,
            &mut self.output,
        );
        Ok(())
    }

    /// Length of the table as an array; `None` if it is an object.
    fn array_length(&self, table: &Table) -> Result<Option<usize>> {
        let (mut largest, mut items, mut is_array) = (0f64, 0u64, true);
        table.for_each(|key: Value, _: Value| {
            let key = match key {
                Value::Integer(integer) => integer as f64,
                Value::Number(number) => number,
                _ => 0.0,
            };
            is_array &= key >= 1.0 && key.floor() == key;
            largest = largest.max(key);
            items += 1;
            Ok(())
        })?;
        if !is_array {
            return Ok(None);
        }
        let ratio = f64::from(self.options.sparse_ratio.get());
        let is_sparse = ratio > 0.0
            && largest > items as f64 * ratio
            && largest > f64::from(self.options.sparse_safe.get());
        if is_sparse && !self.options.sparse_convert.get() {
            let table = Value::Table(table.clone());
            return Err(self.refuse(&table, "excessively sparse array"));
        }
        Ok((!is_sparse).then_some(largest as usize))
    }

    fn table(&mut self, table: &Table, depth: u32) -> Result<()> {
        if depth > self.options.encode_depth_max.get() {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(located_error(self.lua, text));
        }
        match self.array_length(table)? {
            Some(length) if length > 0 => {
                self.output.push(b'[');
                for index in 1..=length {
                    if index > 1 {
                        self.output.push(b',');
                    }
                    self.value(&table.raw_get(index)?, depth)?;
                }
                self.output.push(b']');
                Ok(())
            }
            _ => self.object(table, depth),
        }
    }

    fn object(&mut self, table: &Table, depth: u32) -> Result<()> {
        self.output.push(b'{');
        let mut is_first = true;
        table.for_each(|key: Value, value: Value| {
            if !std::mem::take(&mut is_first) {
                self.output.push(b',');
            }
            match &key {
                Value::String(text) => self.text(&text.as_bytes()),
                Value::Integer(_) | Value::Number(_) => {
                    self.output.push(b'"');
                    self.value(&key, depth)?;
                    self.output.push(b'"');
                }
                other => return Err(self.refuse(other, "table key must be a number or string")),
            }
            self.output.push(b':');
            self.value(&value, depth)
        })?;
        self.output.push(b'}');
        Ok(())
    }
}

/// Appends a number as C's `%.*g` prints it.
pub fn format_general(number: f64, precision: usize, output: &mut Vec<u8>) {
    if !number.is_finite() {
        let text: &[u8] = match number {
            f64::INFINITY => b"inf",
            f64::NEG_INFINITY => b"-inf",
            _ => b"nan",
        };
        return output.extend_from_slice(text);
    }
    let precision = precision.max(1);
    let scientific = format!("{number:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if exponent < -4 || exponent >= precision as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        let text = format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
        return output.extend_from_slice(text.as_bytes());
    }
    let decimals = (precision as i32 - 1 - exponent).max(0) as usize;
    output.extend_from_slice(without_zeros(&format!("{number:.decimals$}")).as_bytes());
}

fn expect_one(lua: &Lua, arguments: &[Value], function: &str) -> Result<()> {
    if arguments.len() == 1 {
        return Ok(());
    }
    let text = format!("bad argument #1 to '{function}' (expected 1 argument)");
    Err(located_error(lua, text))
}

/// An integer option: set if an argument is given; gives back what is in force.
fn integer_option(
    lua: &Lua,
    setting: &Cell<u32>,
    value: Option<&Value>,
    (low, high): (u32, u32),
) -> Result<u32> {
    if let Some(value) = value.filter(|value| !value.is_nil()) {
        let number = lua
            .coerce_number(value.clone())?
            .map(|number| number as i64);
        let number = number.filter(|number| (i64::from(low)..=i64::from(high)).contains(number));
        let Some(number) = number else {
            let text = format!("bad argument #1 (expected integer between {low} and {high})");
            return Err(located_error(lua, text));
        };
        setting.set(number as u32);
    }
    Ok(setting.get())
}

/// A truth value given as such, or as "on" and "off".
fn truth(lua: &Lua, value: &Value) -> Result<bool> {
    match value {
        Value::Boolean(truth) => Ok(*truth),
        Value::String(text) if &*text.as_bytes() == b"on" => Ok(true),
        Value::String(text) if &*text.as_bytes() == b"off" => Ok(false),
        other => {
            let text = format!("bad argument #1 (invalid option '{}')", other.to_string()?);
            Err(located_error(lua, text))
        }
    }
}

fn truth_option(lua: &Lua, setting: &Cell<bool>, value: Option<&Value>) -> Result<bool> {
    if let Some(value) = value.filter(|value| !value.is_nil()) {
        setting.set(truth(lua, value)?);
    }
    Ok(setting.get())
}

fn invalid_numbers(lua: &Lua, options: &Options, value: Option<&Value>) -> Result<Value> {
    if let Some(value) = value.filter(|value| !value.is_nil()) {
        let chosen = match value {
            Value::String(text) if &*text.as_bytes() == b"null" => InvalidNumbers::Null,
            other if truth(lua, other)? => InvalidNumbers::Write,
            _ => InvalidNumbers::Refuse,
        };
        options.encode_invalid.set(chosen);
    }
    match options.encode_invalid.get() {
        InvalidNumbers::Refuse => Ok(Value::Boolean(false)),
        InvalidNumbers::Write => Ok(Value::Boolean(true)),
        InvalidNumbers::Null => lua.create_string("null").map(Value::String),
    }
}

fn add_options(lua: &Lua, library: &Table, options: &Rc<Options>) -> Result<()> {
    type Setter = fn(&Lua, &Options, &[Value]) -> Result<Variadic<Value>>;
    let setters: [(&str, Setter); 7] = [
        ("encode_sparse_array", |lua, options, given| {
            let convert = truth_option(lua, &options.sparse_convert, given.first())?;
            let any = (0, i32::MAX as u32);
            let ratio = integer_option(lua, &options.sparse_ratio, given.get(1), any)?;
            let safe = integer_option(lua, &options.sparse_safe, given.get(2), any)?;
            let numbers = [ratio, safe].map(|number| Value::Number(f64::from(number)));
            Ok(Variadic::from_iter(
                [Value::Boolean(convert)].into_iter().chain(numbers),
            ))
        }),
        ("encode_max_depth", |lua, options, given| {
            let range = (1, i32::MAX as u32);
            let depth = integer_option(lua, &options.encode_depth_max, given.first(), range)?;
            Ok(Variadic::from_iter([Value::Number(f64::from(depth))]))
        }),
        ("decode_max_depth", |lua, options, given| {
            let range = (1, i32::MAX as u32);
            let depth = integer_option(lua, &options.decode_depth_max, given.first(), range)?;
            Ok(Variadic::from_iter([Value::Number(f64::from(depth))]))
        }),
        ("encode_number_precision", |lua, options, given| {
            let digits = integer_option(lua, &options.precision, given.first(), (1, 14))?;
            Ok(Variadic::from_iter([Value::Number(f64::from(digits))]))
        }),
        ("encode_keep_buffer", |lua, options, given| {
            let keeps = truth_option(lua, &options.keep_buffer, given.first())?;
            Ok(Variadic::from_iter([Value::Boolean(keeps)]))
        }),
        ("encode_invalid_numbers", |lua, options, given| {
            Ok(Variadic::from_iter([invalid_numbers(
                lua,
                options,
                given.first(),
            )?]))
        }),
        ("decode_invalid_numbers", |lua, options, given| {
            let allows = truth_option(lua, &options.decode_invalid, given.first())?;
            Ok(Variadic::from_iter([Value::Boolean(allows)]))
        }),
    ];
    for (name, set) in setters {
        let options = Rc::clone(options);
        let function =
            lua.create_function(move |lua, given: Variadic<Value>| set(lua, &options, &given))?;
        library.raw_set(name, function)?;
    }
    Ok(())
}

/// The functions of `cjson`.
pub fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    let options = Rc::new(Options::default());
    add_options(lua, &library, &options)?;
    let of_encode = Rc::clone(&options);
    let encode = lua.create_function(move |lua, arguments: Variadic<Value>| {
        expect_one(lua, &arguments, "encode")?;
        let mut encoder = Encoder {
            lua,
            options: &of_encode,
            output: Vec::new(),
        };
        encoder.value(&arguments[0], 0)?;
        lua.create_string(encoder.output)
    })?;
    library.raw_set("encode", encode)?;
    let decode = lua.create_function(move |lua, arguments: Variadic<Value>| {
        expect_one(lua, &arguments, "decode")?;
        let Some(text) = lua.coerce_string(arguments[0].clone())? else {
            let kind = arguments[0].type_name();
            let text = format!("bad argument #1 to 'decode' (string expected, got {kind})");
            return Err(located_error(lua, text));
        };
        let (depth_max, lenient) = (options.decode_depth_max.get(), options.decode_invalid.get());
        super::json_decode::decode(lua, &text.as_bytes(), depth_max, lenient)
    })?;
    library.raw_set("decode", decode)?;
    library.raw_set("null", Value::NULL)?;
    library.raw_set("_NAME", "cjson")?;
    library.raw_set("_VERSION", "2.1.0")?;
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_c_prints_them() {
        for (number, precision, expected) in [
            (0.0, 14, "0"),
            (-0.0, 14, "-0"),
            (1.0, 14, "1"),
            (-1.5, 14, "-1.5"),
            (2.0 / 3.0, 14, "0.66666666666667"),
            (1e14, 14, "1e+14"),
            (12345678901234.0, 14, "12345678901234"),
            (0.0001, 14, "0.0001"),
            (0.00001, 14, "1e-05"),
            (1e300, 14, "1e+300"),
            (2.5, 1, "2"),
            (123456.0, 3, "1.23e+05"),
        ] {
            let mut output = Vec::new();
            format_general(number, precision, &mut output);
            assert_eq!(String::from_utf8_lossy(&output), expected);
        }
    }
}
