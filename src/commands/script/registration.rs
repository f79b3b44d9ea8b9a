//! `redis.register_function`, and what a library registers while it is loaded.

use super::libraries::FunctionInfo;
use super::raised::plain_error;
use super::shebang::{ScriptFlags, is_name};
use mlua::{Error, Function, Lua, Result, Table, Value, Variadic};
use std::time::Instant;

/// The functions that the library being loaded has registered so far; app data of its Lua state while it is loaded.
pub struct Registrations {
    /// In order.
    pub functions: Vec<(FunctionInfo, Function)>,
    /// When loading began.
    pub started: Instant,
}

/// A registration whose arguments are being read.
#[derive(Default)]
struct Draft {
    name: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    flags: ScriptFlags,
    callback: Option<Function>,
}

/// `redis.register_function`: a name and a function, or a table of named arguments.
pub fn register(lua: &Lua, arguments: Variadic<Value>) -> Result<()> {
    if lua.app_data_ref::<Registrations>().is_none() {
        return Err(plain_error(
            "redis.register_function can only be called on FUNCTION LOAD command",
        ));
    }
    let draft = match &arguments[..] {
        [Value::Table(named)] => read_named(lua, named)?,
        [_] => {
            return Err(plain_error(
                "calling redis.register_function with a single argument is only applicable to Lua table \
                 (representing named arguments).",
            ));
        }
        [name, callback] => read_positional(lua, name, callback)?,
        _ => {
            return Err(plain_error(
                "wrong number of arguments to redis.register_function",
            ));
        }
    };
    let name = draft
        .name
        .ok_or_else(|| plain_error("redis.register_function must get a function name argument"))?;
    let callback = draft
        .callback
        .ok_or_else(|| plain_error("redis.register_function must get a callback argument"))?;
    add(lua, name, draft.description, draft.flags, callback)
}

fn add(
    lua: &Lua,
    name: Vec<u8>,
    description: Option<Vec<u8>>,
    flags: ScriptFlags,
    callback: Function,
) -> Result<()> {
    if !is_name(&name) {
        return Err(plain_error(
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ));
    }
    let Some(mut registrations) = lua.app_data_mut::<Registrations>() else {
        return Ok(());
    };
    if registrations
        .functions
        .iter()
        .any(|(info, _)| info.name == name)
    {
        return Err(plain_error("Function already exists in the library"));
    }
    let info = FunctionInfo {
        name,
        description,
        flags,
    };
    registrations.functions.push((info, callback));
    Ok(())
}

/// The bytes of what Lua takes for a text: texts and numbers.
fn text_of(lua: &Lua, value: &Value) -> Option<Vec<u8>> {
    let text = lua.coerce_string(value.clone()).ok().flatten()?;
    Some(text.as_bytes().to_vec())
}

fn must_be(what: &str) -> impl FnOnce() -> Error {
    move || plain_error(what)
}

fn read_positional(lua: &Lua, name: &Value, callback: &Value) -> Result<Draft> {
    let name = text_of(lua, name).ok_or_else(must_be(
        "first argument to redis.register_function must be a string",
    ))?;
    let callback = callback.as_function().ok_or_else(must_be(
        "second argument to redis.register_function must be a function",
    ))?;
    Ok(Draft {
        name: Some(name),
        callback: Some(callback.clone()),
        ..Draft::default()
    })
}

fn read_named(lua: &Lua, named: &Table) -> Result<Draft> {
    let mut draft = Draft::default();
    named.for_each(|key: Value, value: Value| {
        let key = text_of(lua, &key).ok_or_else(must_be(
            "named argument key given to redis.register_function is not a string",
        ))?;
        match &*key.to_ascii_lowercase() {
            b"function_name" => {
                draft.name = Some(text_of(lua, &value).ok_or_else(must_be(
                    "function_name argument given to redis.register_function must be a string",
                ))?);
            }
            b"description" => {
                draft.description = Some(text_of(lua, &value).ok_or_else(must_be(
                    "description argument given to redis.register_function must be a string",
                ))?);
            }
            b"callback" => {
                draft.callback = Some(value.as_function().cloned().ok_or_else(must_be(
                    "callback argument given to redis.register_function must be a function",
                ))?);
            }
            b"flags" => {
                let flags = value.as_table().ok_or_else(must_be(
                    "flags argument to redis.register_function must be a table representing function flags",
                ))?;
                draft.flags = read_flags(lua, flags)?;
            }
            _ => {
                return Err(plain_error(
                    "unknown argument given to redis.register_function",
                ));
            }
        }
        Ok(())
    })?;
    Ok(draft)
}

fn read_flags(lua: &Lua, names: &Table) -> Result<ScriptFlags> {
    let mut flags = ScriptFlags::default();
    for value in names.sequence_values::<Value>() {
        let flag = text_of(lua, &value?)
            .and_then(|name| String::from_utf8(name.to_ascii_lowercase()).ok())
            .and_then(|name| ScriptFlags::named(&name))
            .ok_or_else(must_be("unknown flag given"))?;
        flags = flags.and(flag);
    }
    Ok(flags)
}
