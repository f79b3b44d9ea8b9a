//! Errors that the server's own functions raise inside a script.
//!
//! Redis raises two kinds: a table with a field `err` (what a command replied) and, from the libraries, a plain text that
//! begins with the place in the script. A Rust function cannot raise either; it raises a value that Lua code cannot look
//! into, and every place where a script can catch an error asks [`describe`] what Redis would have raised.

use mlua::{Error, Lua, Value};
use std::fmt;

/// The name of the sandbox's own chunk; its functions are not part of a script.
pub const PRELUDE_NAME: &str = "=prelude";

/// The field of an error's table that says that statistics know of it.
pub const COUNTED_FIELD: &str = "ignore_error_stats_update";

/// See the module's comment.
#[derive(Debug, Clone)]
pub enum Raised {
    /// A table whose field `err` holds this.
    Reply(Vec<u8>),
    /// The same, of an error that was counted where it arose.
    Counted(Vec<u8>),
    /// A text.
    Text(String),
}

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raised::Reply(text) | Raised::Counted(text) => {
                write!(formatter, "{}", String::from_utf8_lossy(text))
            }
            Raised::Text(text) => formatter.write_str(text),
        }
    }
}

impl std::error::Error for Raised {}

/// Raises a table `{err = text}`; `text` begins with its code.
pub fn reply_error(text: impl Into<Vec<u8>>) -> Error {
    Error::external(Raised::Reply(text.into()))
}

/// As [`reply_error`], for what a command replied.
pub fn counted_error(text: impl Into<Vec<u8>>) -> Error {
    Error::external(Raised::Counted(text.into()))
}

/// Raises a table `{err = 'ERR ' .. text}`.
pub fn plain_error(text: impl fmt::Display) -> Error {
    reply_error(format!("ERR {text}"))
}

/// Raises a text that begins with the place in the script that called the running function.
pub fn located_error(lua: &Lua, text: impl fmt::Display) -> Error {
    Error::external(Raised::Text(format!("{}{text}", place(lua, 1))))
}

/// The same, for a function that lets another one, which runs now, raise its error.
pub fn located_error_of_caller(lua: &Lua, text: impl fmt::Display) -> Error {
    Error::external(Raised::Text(format!("{}{text}", place(lua, 2))))
}

/// The same error in other words.
pub fn reworded(error: Error, words: impl Fn(&str) -> String) -> Error {
    let Some(raised) = raised_in(&error) else {
        return error;
    };
    let of_bytes = |text: &[u8]| match std::str::from_utf8(text) {
        Ok(text) => words(text).into_bytes(),
        Err(_) => text.to_vec(),
    };
    Error::external(match raised {
        Raised::Reply(text) => Raised::Reply(of_bytes(text)),
        Raised::Counted(text) => Raised::Counted(of_bytes(text)),
        Raised::Text(text) => Raised::Text(words(text)),
    })
}

/// `user_script:3: `, or nothing where no line is known.
fn place(lua: &Lua, first_level: usize) -> String {
    for level in first_level.. {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            if source.source.as_deref() == Some(PRELUDE_NAME) {
                return None;
            }
            let name = source.short_src.as_deref().unwrap_or("?").to_owned();
            Some(debug.current_line().map(|line| format!("{name}:{line}: ")))
        });
        match found {
            None => break,
            Some(None) => {}
            Some(Some(place)) => return place.unwrap_or_default(),
        }
    }
    String::new()
}

/// What Redis would have raised in place of `failure`.
pub fn describe(lua: &Lua, failure: Value) -> mlua::Result<Value> {
    let Value::Error(error) = failure else {
        return Ok(failure);
    };
    match raised_in(&error) {
        Some(Raised::Reply(text)) => error_table(lua, text).map(Value::Table),
        Some(Raised::Counted(text)) => counted_table(lua, text).map(Value::Table),
        Some(Raised::Text(text)) => lua.create_string(text).map(Value::String),
        None => lua.create_string(error.to_string()).map(Value::String),
    }
}

fn raised_in(error: &Error) -> Option<&Raised> {
    match error {
        Error::CallbackError { cause, .. } => raised_in(cause),
        other => other.downcast_ref::<Raised>(),
    }
}

/// `{err = text}`.
pub fn error_table(lua: &Lua, text: &[u8]) -> mlua::Result<mlua::Table> {
    let table = lua.create_table_with_capacity(0, 3)?;
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(table)
}

/// The same for an error that was counted; scripts see the field that says so, as in Redis.
pub fn counted_table(lua: &Lua, text: &[u8]) -> mlua::Result<mlua::Table> {
    let table = error_table(lua, text)?;
    table.raw_set(COUNTED_FIELD, true)?;
    Ok(table)
}

/// The message handler of every script: turns an error into a table with text, source and line.
pub fn handle(lua: &Lua, failure: Value) -> mlua::Result<Value> {
    let table = match describe(lua, failure)? {
        Value::Table(table) => table,
        other => {
            let text = lua.coerce_string(other.clone())?;
            let text = match text {
                Some(text) => text.as_bytes().to_vec(),
                None => other.to_string()?.into_bytes(),
            };
            error_table(lua, &[b"ERR ", &*text].concat())?
        }
    };
    for level in 1.. {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let name = source.source.as_deref().unwrap_or_default();
            let is_script =
                source.what != "C" && name != PRELUDE_NAME && !name.starts_with("=(tail");
            is_script.then(|| (name.to_owned(), debug.current_line()))
        });
        match found {
            None => break,
            Some(None) => {}
            Some(Some((source, line))) => {
                if let Some(line) = line {
                    table.raw_set("source", source)?;
                    table.raw_set("line", line)?;
                }
                break;
            }
        }
    }
    Ok(Value::Table(table))
}
