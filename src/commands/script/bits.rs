//! The `bit` library: 32-bit arithmetic as in LuaJIT. Numbers are taken modulo 2^32 and given back as signed ones.

use super::raised::located_error;
use mlua::{Lua, Result, Table, Value, Variadic};

type Operation = fn(u32, u32) -> u32;
type Unary = fn(u32) -> u32;

/// Operations that fold any number of arguments.
const FOLDS: [(&str, Operation); 3] = [
    ("band", |left, right| left & right),
    ("bor", |left, right| left | right),
    ("bxor", |left, right| left ^ right),
];

/// Shifts, by the second argument modulo 32.
const SHIFTS: [(&str, Operation); 5] = [
    ("lshift", |value, by| value << (by & 31)),
    ("rshift", |value, by| value >> (by & 31)),
    ("arshift", |value, by| (value as i32 >> (by & 31)) as u32),
    ("rol", |value, by| value.rotate_left(by & 31)),
    ("ror", |value, by| value.rotate_right(by & 31)),
];

/// Argument number `index` (from 0) as 32 bits.
fn bits(lua: &Lua, arguments: &[Value], index: usize, function: &str) -> Result<u32> {
    let value = arguments.get(index).cloned().unwrap_or(Value::Nil);
    let kind = match arguments.get(index) {
        Some(value) => value.type_name(),
        None => "no value",
    };
    let Some(number) = lua.coerce_number(value)? else {
        let text = format!(
            "bad argument #{} to '{function}' (number expected, got {kind})",
            index + 1
        );
        return Err(located_error(lua, text));
    };
    /// Adding 2^52 + 2^51 leaves the integer, rounded to even, in the low bits: what the C library does.
    const ROUNDING: f64 = 6_755_399_441_055_744.0;
    Ok((number + ROUNDING).to_bits() as u32)
}

fn signed(value: u32) -> f64 {
    f64::from(value as i32)
}

/// `bit.tohex`: so many digits (default 8), capitals if the number is negative.
fn to_hex(lua: &Lua, arguments: Variadic<Value>) -> Result<String> {
    let value = bits(lua, &arguments, 0, "tohex")?;
    let digits = match arguments.len() {
        0 | 1 => 8,
        _ => bits(lua, &arguments, 1, "tohex")? as i32,
    };
    let text = match digits {
        ..0 => format!("{value:08X}"),
        _ => format!("{value:08x}"),
    };
    let shown = digits.unsigned_abs().min(8) as usize;
    Ok(text[8 - shown..].to_owned())
}

/// The functions of `bit`.
pub fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    for (name, operation) in FOLDS {
        let function = lua.create_function(move |lua, arguments: Variadic<Value>| {
            let mut result = bits(lua, &arguments, 0, name)?;
            for index in 1..arguments.len() {
                result = operation(result, bits(lua, &arguments, index, name)?);
            }
            Ok(signed(result))
        })?;
        library.raw_set(name, function)?;
    }
    for (name, operation) in SHIFTS {
        let function = lua.create_function(move |lua, arguments: Variadic<Value>| {
            let value = bits(lua, &arguments, 0, name)?;
            Ok(signed(operation(value, bits(lua, &arguments, 1, name)?)))
        })?;
        library.raw_set(name, function)?;
    }
    let unary: [(&str, Unary); 3] = [
        ("tobit", |value| value),
        ("bnot", |value| !value),
        ("bswap", u32::swap_bytes),
    ];
    for (name, operation) in unary {
        let function = lua.create_function(move |lua, arguments: Variadic<Value>| {
            Ok(signed(operation(bits(lua, &arguments, 0, name)?)))
        })?;
        library.raw_set(name, function)?;
    }
    library.raw_set("tohex", lua.create_function(to_hex)?)?;
    Ok(library)
}
