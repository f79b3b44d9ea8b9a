//! The `redis` table of scripts, and the other functions that the sandbox takes from the server.

use super::raised::{describe, error_table, handle, located_error, plain_error};
use super::raw::Failure;
use super::store::{ScriptStore, show_digest};
use super::values::Stack;
use super::{current, raw, running};
use crate::commands::acl;
use crate::commands::options::up_to_nul;
use crate::error::CommandError;
use crate::resp::Protocol;
use mlua::{Error, Lua, Result, Table, Value, Variadic};
use std::cell::Cell;

/// The version that scripts are told; they test it to decide what they may use.
const REDIS_VERSION: &str = "7.2.4";
const REDIS_VERSION_NUMBER: u32 = 0x0007_0204;

const LOG_LEVELS: [&str; 4] = ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"];
const REPLICATION_FLAGS: [(&str, u32); 5] = [
    ("REPL_NONE", 0),
    ("REPL_AOF", 1),
    ("REPL_SLAVE", 2),
    ("REPL_REPLICA", 2),
    ("REPL_ALL", 3),
];

fn outside() -> Error {
    plain_error("no script is running")
}

fn call(stack: &mut Stack, raises: bool, ignores_block: bool) -> std::result::Result<(), Failure> {
    let called = current::with(|running| {
        running.context.ignores_block = ignores_block;
        running.call(stack, raises)
    });
    called.unwrap_or_else(|| Err(Failure::Raise(outside())))
}

/// The number that Lua's `tonumber` sees in a value; 0 if it is none, as in C.
fn number_of(lua: &Lua, value: &Value) -> f64 {
    lua.coerce_number(value.clone())
        .ok()
        .flatten()
        .unwrap_or(0.0)
}

fn sha1hex(lua: &Lua, arguments: Variadic<Value>) -> Result<String> {
    let [text] = &arguments[..] else {
        return Err(plain_error("wrong number of arguments"));
    };
    let text = lua.coerce_string(text.clone())?;
    let text = text
        .map(|text| text.as_bytes().to_vec())
        .unwrap_or_default();
    Ok(show_digest(&ScriptStore::digest(&text)))
}

/// `text`, given as the only argument.
fn only_text(arguments: &[Value]) -> Option<&mlua::String> {
    match arguments {
        [Value::String(text)] => Some(text),
        _ => None,
    }
}

fn error_reply(lua: &Lua, arguments: Variadic<Value>) -> Result<Table> {
    let Some(text) = only_text(&arguments) else {
        return error_table(lua, b"ERR wrong number or type of arguments");
    };
    let text = text.as_bytes();
    let text = up_to_nul(&text);
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (code, message) = match memchr::memchr(b' ', text) {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (&b"ERR"[..], text),
    };
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let first = message
        .iter()
        .position(|byte| !is_line_end(byte))
        .unwrap_or(message.len());
    let last = message
        .iter()
        .rposition(|byte| !is_line_end(byte))
        .map_or(first, |last| last + 1);
    error_table(lua, &[code, b" ", &message[first..last]].concat())
}

fn status_reply(lua: &Lua, arguments: Variadic<Value>) -> Result<Table> {
    let Some(text) = only_text(&arguments) else {
        return error_table(lua, b"ERR wrong number or type of arguments");
    };
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set("ok", text)?;
    Ok(table)
}

fn set_protocol(lua: &Lua, arguments: Variadic<Value>) -> Result<()> {
    let [version] = &arguments[..] else {
        return Err(plain_error("redis.setresp() requires one argument."));
    };
    let protocol = match number_of(lua, version) as i32 {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(plain_error("RESP version must be 2 or 3.")),
    };
    current::with(|running| {
        running.protocol = protocol;
        running.context.session.protocol = protocol;
    })
    .ok_or_else(outside)
}

/// What is replicated is no choice here: effects are logged. The argument is checked all the same.
fn set_replication(lua: &Lua, arguments: Variadic<Value>) -> Result<()> {
    let [flags] = &arguments[..] else {
        return Err(plain_error("redis.set_repl() requires one argument."));
    };
    if !(0..=3).contains(&(number_of(lua, flags) as i64)) {
        return Err(plain_error(
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    Ok(())
}

fn log(lua: &Lua, arguments: Variadic<Value>) -> Result<()> {
    let [level, texts @ ..] = &arguments[..] else {
        return Err(plain_error("redis.log() requires two arguments or more."));
    };
    if texts.is_empty() {
        return Err(plain_error("redis.log() requires two arguments or more."));
    }
    let Some(level) = lua.coerce_number(level.clone())? else {
        return Err(plain_error("First argument must be a number (log level)."));
    };
    let mut line = String::new();
    for text in texts {
        if let Some(text) = lua.coerce_string(text.clone())? {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&text.to_string_lossy());
        }
    }
    match level as i64 {
        0 => tracing::trace!(script = true, "{line}"),
        1 => tracing::debug!(script = true, "{line}"),
        2 => tracing::info!(script = true, "{line}"),
        3 => tracing::warn!(script = true, "{line}"),
        _ => return Err(plain_error("Invalid debug level.")),
    }
    Ok(())
}

/// `redis.acl_check_cmd`: whether the user may run a command.
fn may_run(_: &Lua, arguments: Variadic<Value>) -> Result<bool> {
    if arguments.is_empty() {
        return Err(plain_error(
            "Please specify at least one argument for this redis lib call",
        ));
    }
    let mut texts = Vec::with_capacity(arguments.len());
    for argument in arguments.iter() {
        let mut text = Vec::new();
        match argument {
            Value::String(argument) => text.extend_from_slice(&argument.as_bytes()),
            Value::Integer(integer) => super::convert::push_number(*integer as f64, &mut text),
            Value::Number(number) => super::convert::push_number(*number, &mut text),
            _ => {
                return Err(plain_error(
                    "Lua redis lib command arguments must be strings or integers",
                ));
            }
        }
        texts.push(text);
    }
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    let is_unknown = |error: &CommandError| error.text().starts_with("ERR Unknown");
    let row = match running::look_up(&texts) {
        Err(error) if is_unknown(&error) => {
            let text = "Invalid command passed to redis.acl_check_cmd()";
            return Err(plain_error(text));
        }
        // Who may run it does not depend on how many arguments it has.
        Err(_) => return Ok(true),
        Ok(row) => row,
    };
    let may_run = |running: &mut running::Running<'_, '_>| {
        acl::check(running.context.session.user(), row, &texts).is_ok()
    };
    current::with(may_run).ok_or_else(outside)
}

/// Whose words a table's functions use in their errors, and whose rules hold where they differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The table `redis`.
    Redis,
    /// The table `server`, for scripts written for Valkey.
    Valkey,
}

impl Dialect {
    /// An error of ours in these words.
    fn words(self, error: Error) -> Error {
        match self {
            Dialect::Redis => error,
            Dialect::Valkey => in_words_of_valkey(error),
        }
    }
}

fn in_words_of_valkey(error: Error) -> Error {
    const PAIRS: [(&str, &str); 4] = [
        ("redis.", "server."),
        ("Lua redis lib command arguments", "Command arguments"),
        ("Unknown Redis command", "Unknown command"),
        ("calling Redis command", "calling command"),
    ];
    super::raised::reworded(error, |text| {
        let is_own = PAIRS[1..].iter().any(|(from, _)| text.contains(from))
            || OWN_NAMES.iter().any(|name| text.contains(name));
        match is_own {
            true => PAIRS
                .iter()
                .fold(text.to_owned(), |text, (from, to)| text.replace(from, to)),
            false => text.to_owned(),
        }
    })
}

/// What errors of the functions below call themselves.
const OWN_NAMES: [&str; 4] = [
    "redis.register_function",
    "redis.acl_check_cmd()",
    "redis.setresp()",
    "redis.set_repl()",
];

/// What `redis` has while a library is loaded, beside `register_function`: logging and the version.
fn fill_common(lua: &Lua, redis: &Table) -> Result<()> {
    redis.raw_set("log", lua.create_function(log)?)?;
    for (level, name) in LOG_LEVELS.iter().enumerate() {
        redis.raw_set(*name, level)?;
    }
    redis.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    redis.raw_set("REDIS_VERSION_NUM", REDIS_VERSION_NUMBER)
}

/// What scripts of both kinds have.
fn fill_redis(lua: &Lua, redis: &Table, dialect: Dialect) -> Result<()> {
    fill_common(lua, redis)?;
    let words = move |error| dialect.words(error);
    let (raising, catching): (raw::Body, raw::Body) = match dialect {
        Dialect::Redis => (
            |stack| call(stack, true, false),
            |stack| call(stack, false, false),
        ),
        Dialect::Valkey => (
            |stack| call(stack, true, true),
            |stack| call(stack, false, true),
        ),
    };
    redis.raw_set("call", raw::function(lua, raising, words)?)?;
    redis.raw_set("pcall", raw::function(lua, catching, words)?)?;
    redis.raw_set(
        "setresp",
        lua.create_function(move |lua, arguments| set_protocol(lua, arguments).map_err(words))?,
    )?;
    redis.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    redis.raw_set("error_reply", lua.create_function(error_reply)?)?;
    redis.raw_set("status_reply", lua.create_function(status_reply)?)?;
    redis.raw_set(
        "set_repl",
        lua.create_function(move |lua, arguments| set_replication(lua, arguments).map_err(words))?,
    )?;
    redis.raw_set(
        "acl_check_cmd",
        lua.create_function(move |lua, arguments| may_run(lua, arguments).map_err(words))?,
    )?;
    for (name, flags) in REPLICATION_FLAGS {
        redis.raw_set(name, flags)?;
    }
    Ok(())
}

/// The `redis` table of EVAL.
pub fn redis_of_scripts(lua: &Lua, dialect: Dialect) -> Result<Table> {
    let redis = lua.create_table()?;
    fill_redis(lua, &redis, dialect)?;
    redis.raw_set("replicate_commands", lua.create_function(|_, ()| Ok(true))?)?;
    // There is no debugger: no breakpoint is ever hit.
    redis.raw_set(
        "breakpoint",
        lua.create_function(|_, _: Variadic<Value>| Ok(false))?,
    )?;
    redis.raw_set(
        "debug",
        lua.create_function(|_, _: Variadic<Value>| Ok(()))?,
    )?;
    Ok(redis)
}

/// The `redis` table of functions, and the one of libraries that are being loaded.
pub fn redis_of_functions(lua: &Lua, dialect: Dialect) -> Result<(Table, Table)> {
    let (redis, load) = (lua.create_table()?, lua.create_table()?);
    fill_redis(lua, &redis, dialect)?;
    fill_common(lua, &load)?;
    let register = lua.create_function(move |lua, arguments| {
        super::registration::register(lua, arguments).map_err(|error| dialect.words(error))
    })?;
    load.raw_set("register_function", register)?;
    Ok((redis, load))
}

/// Redis's own generator (that of `lrand48`), so that a seed gives the same numbers everywhere.
struct Generator(Cell<u64>);

impl Generator {
    const MASK: u64 = (1 << 48) - 1;

    fn seed(&self, seed: i32) {
        self.0.set(u64::from(seed as u32) << 16 | 0x330e);
    }

    /// Uniform in [0, 1).
    fn fraction(&self) -> f64 {
        let state = self.0.get().wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & Self::MASK;
        self.0.set(state);
        let drawn = (state >> 17) as i32;
        f64::from(drawn % i32::MAX) / f64::from(i32::MAX)
    }
}

thread_local! {
    static GENERATOR: Generator = Generator(Cell::new(crate::clock::now_ms() << 16 | 0x330e));
}

fn bound(lua: &Lua, arguments: &[Value], index: usize) -> Result<f64> {
    let value = arguments.get(index).cloned().unwrap_or(Value::Nil);
    let kind = value.type_name();
    match lua.coerce_number(value)? {
        Some(number) => Ok(f64::from(number as i64 as i32)),
        None => Err(located_error(
            lua,
            format!(
                "bad argument #{} to 'random' (number expected, got {kind})",
                index + 1
            ),
        )),
    }
}

fn random(lua: &Lua, arguments: Variadic<Value>) -> Result<f64> {
    let fraction = GENERATOR.with(Generator::fraction);
    let (low, high) = match arguments.len() {
        0 => return Ok(fraction),
        1 => (1.0, bound(lua, &arguments, 0)?),
        2 => (bound(lua, &arguments, 0)?, bound(lua, &arguments, 1)?),
        _ => return Err(located_error(lua, "wrong number of arguments")),
    };
    if low > high {
        let text = format!(
            "bad argument #{} to 'random' (interval is empty)",
            arguments.len()
        );
        return Err(located_error(lua, text));
    }
    Ok((fraction * (high - low + 1.0)).floor() + low)
}

fn random_seed(lua: &Lua, arguments: Variadic<Value>) -> Result<()> {
    let seed = bound(lua, &arguments, 0)?;
    GENERATOR.with(|generator| generator.seed(seed as i32));
    Ok(())
}

/// A table as `redis` and as `server`.
pub type Twice = (Table, Table);

/// The argument of the prelude: all that it needs of the server.
pub fn natives(lua: &Lua, (redis, server): Twice, load: Twice) -> Result<Table> {
    let native = lua.create_table()?;
    native.raw_set("describe", lua.create_function(describe)?)?;
    native.raw_set("handler", lua.create_function(handle)?)?;
    let refuse_write = |lua: &Lua, _: Variadic<Value>| -> Result<()> {
        Err(located_error(lua, "Attempt to modify a readonly table"))
    };
    native.raw_set("refuse_write", lua.create_function(refuse_write)?)?;
    let refuse_access = |lua: &Lua, (_, name): (Value, Value)| -> Result<()> {
        let name = lua.coerce_string(name)?;
        let name = name.map(|name| name.to_string_lossy()).unwrap_or_default();
        let text = format!("Script attempted to access nonexistent global variable '{name}'");
        Err(located_error(lua, text))
    };
    native.raw_set("refuse_access", lua.create_function(refuse_access)?)?;
    native.raw_set("random", lua.create_function(random)?)?;
    native.raw_set("randomseed", lua.create_function(random_seed)?)?;
    native.raw_set("load_redis", load.0)?;
    native.raw_set("load_server", load.1)?;
    let libraries = lua.create_table()?;
    libraries.raw_set("redis", redis)?;
    libraries.raw_set("server", server)?;
    libraries.raw_set("cjson", super::json::library(lua)?)?;
    libraries.raw_set("cmsgpack", super::message_pack::library(lua)?)?;
    libraries.raw_set("bit", super::bits::library(lua)?)?;
    libraries.raw_set("struct", super::structs::library(lua)?)?;
    native.raw_set("libraries", libraries)?;
    Ok(native)
}
