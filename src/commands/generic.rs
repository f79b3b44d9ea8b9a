//! Keys as such, whatever they hold: existence, type, and moving whole values about.
//!
//! Values are cheap to clone, so COPY, RENAME and MOVE hand over a clone instead of copying elements; the log gets the
//! whole value, because the destination has to be rebuilt without the source.

use super::access::KeyUse;
use super::context::Context;
use super::generic_object::observe;
use super::options::{Options, integer_in, is_keyword};
use super::session::type_name;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses, Keys};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use crate::value::Value;

const SAME_OBJECT: CommandError =
    CommandError::fixed("ERR source and destination objects are the same");

/// Looks at keys without marking them as used.
pub(super) fn without_touch<R>(keys: &mut Keys<'_>, look: impl FnOnce(&mut Keys<'_>) -> R) -> R {
    let former = std::mem::replace(&mut keys.no_touch, true);
    let result = look(keys);
    keys.no_touch = former;
    result
}

/// From so many elements on, a value is freed in the background.
const LARGE_ELEMENTS: usize = 64;

fn del(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if context.settings.lazyfree_user_delete {
        return unlink(context, arguments, reply);
    }
    let mut deleted = 0;
    for key in &arguments[1..] {
        deleted += i64::from(context.keys.delete_and_notify(key)?);
    }
    reply.integer(deleted);
    Ok(())
}

/// As DEL, but a clone keeps large values alive until another thread drops it.
fn unlink(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let mut deleted = 0;
    for key in &arguments[1..] {
        let value = observe(&mut context.keys, key);
        deleted += i64::from(context.keys.delete_and_notify(key)?);
        let is_large =
            |value: &Value| !matches!(value, Value::Text(_)) && value.len() > LARGE_ELEMENTS;
        if let Some(value) = value.filter(is_large) {
            context.services.free_in_background(value);
        }
    }
    reply.integer(deleted);
    Ok(())
}

fn exists(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let found = without_touch(&mut context.keys, |keys| {
        arguments[1..].iter().filter(|key| keys.exists(key)).count()
    });
    reply.count(found);
    Ok(())
}

fn touch(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let found = arguments[1..]
        .iter()
        .filter(|key| context.keys.exists(key))
        .count();
    reply.count(found);
    Ok(())
}

fn kind(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let kind = without_touch(&mut context.keys, |keys| keys.kind(arguments[1]));
    reply.simple(kind.map_or("none", type_name));
    Ok(())
}

/// What a key has, on its way to another key.
struct Load {
    value: Value,
    deadline: Deadline,
    /// It was changed in place; its encoding is `raw` at the other key too.
    is_raw_text: bool,
}

fn take_along(keys: &mut Keys<'_>, key: &[u8]) -> Option<Load> {
    let value = keys.value(key)?;
    let deadline = keys
        .peek_deadline_ms(key)
        .map_or(Deadline::None, Deadline::At);
    let is_raw_text = keys.info(key).is_some_and(|info| info.is_raw_text);
    Some(Load {
        value,
        deadline,
        is_raw_text,
    })
}

/// Puts what another key had. It is a new value even where there was one before, and is told so.
fn put_down(keys: &mut Keys<'_>, key: &[u8], load: Load) -> CommandResult {
    let replaces = keys.lsn(key) != 0;
    keys.set_value(key, load.value, load.deadline)?;
    if load.is_raw_text {
        keys.mark_raw_text(key);
    }
    if replaces {
        keys.notify(EventClasses::NEW, "new", key);
    }
    Ok(())
}

/// Gives `destination` what `source` has, and removes the source.
fn rename_key(context: &mut Context<'_>, source: &[u8], destination: &[u8]) -> CommandResult {
    let keys = &mut context.keys;
    let taken = take_along(keys, source).ok_or(CommandError::NO_SUCH_KEY)?;
    if source != destination {
        put_down(keys, destination, taken)?;
        keys.delete(source)?;
        keys.count_as_one_change();
        keys.notify(EventClasses::GENERIC, "rename_from", source);
        keys.notify(EventClasses::GENERIC, "rename_to", destination);
    }
    Ok(())
}

fn rename(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    rename_key(context, arguments[1], arguments[2])?;
    reply.ok();
    Ok(())
}

fn renamenx(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    if !context.keys.exists(arguments[1]) {
        return Err(CommandError::NO_SUCH_KEY);
    }
    let is_new = !context.keys.exists(arguments[2]);
    if is_new {
        rename_key(context, arguments[1], arguments[2])?;
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

/// Reads the number of a database, which has to exist.
fn database(context: &Context<'_>, argument: &[u8]) -> Result<u32, CommandError> {
    let index = integer_in(argument, i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    let index = u32::try_from(index).map_err(|_| CommandError::DATABASE_OUT_OF_RANGE)?;
    if index < context.keys.databases() {
        Ok(index)
    } else {
        Err(CommandError::DATABASE_OUT_OF_RANGE)
    }
}

/// Runs `work` on another database's keys. The shards are locked already: they do not depend on the database.
fn in_database<R>(keys: &mut Keys<'_>, database: u32, work: impl FnOnce(&mut Keys<'_>) -> R) -> R {
    let selected = keys.database();
    keys.select(database);
    let result = work(keys);
    keys.select(selected);
    result
}

fn copy(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (source, destination) = (arguments[1], arguments[2]);
    let (mut target, mut replace) = (context.keys.database(), false);
    let mut options = Options::new(arguments, 3);
    while let Some(word) = options.next() {
        if is_keyword(word, "replace") {
            replace = true;
        } else if is_keyword(word, "db") {
            target = database(context, options.value()?)?;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    if target == context.keys.database() && source == destination {
        return Err(SAME_OBJECT);
    }
    context.keys.counts_lookups = true;
    let taken = take_along(&mut context.keys, source);
    context.keys.counts_lookups = false;
    let Some(taken) = taken else {
        reply.integer(0);
        return Ok(());
    };
    let copied = in_database(&mut context.keys, target, |keys| {
        if !replace && keys.exists(destination) {
            return Ok(false);
        }
        put_down(keys, destination, taken)?;
        keys.notify(EventClasses::GENERIC, "copy_to", destination);
        Ok::<_, CommandError>(true)
    })?;
    reply.integer(i64::from(copied));
    Ok(())
}

/// The database that COPY names.
fn copy_database(arguments: &[&[u8]]) -> Option<u32> {
    let option = arguments
        .iter()
        .skip(3)
        .rposition(|word| is_keyword(word, "db"))?;
    database_number(arguments.get(option + 4)?)
}

/// The database that MOVE names.
fn move_database(arguments: &[&[u8]]) -> Option<u32> {
    database_number(arguments.get(2)?)
}

fn database_number(argument: &[u8]) -> Option<u32> {
    parse_integer(argument).and_then(|index| u32::try_from(index).ok())
}

fn move_key(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let key = arguments[1];
    let target = database(context, arguments[2])?;
    if target == context.keys.database() {
        return Err(SAME_OBJECT);
    }
    let Some(taken) = take_along(&mut context.keys, key) else {
        reply.integer(0);
        return Ok(());
    };
    let moved = in_database(&mut context.keys, target, |keys| {
        if keys.exists(key) {
            return Ok(false);
        }
        put_down(keys, key, taken).map(|()| true)
    })?;
    if moved {
        context.keys.delete(key)?;
        context.keys.count_as_one_change();
        context.keys.notify(EventClasses::GENERIC, "move_from", key);
        in_database(&mut context.keys, target, |keys| {
            keys.notify(EventClasses::GENERIC, "move_to", key);
        });
    }
    reply.integer(i64::from(moved));
    Ok(())
}

const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: "O(N) for N keys",
        summary: "Removes keys.",
        ..CommandSpec::new("del", -2, Flags::WRITE, KeySpec::ALL, Group::Generic, del)
    }
    .with_key_uses(&[KeyUse::REMOVE])
    .with_tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .with_syntax("key..."),
    CommandSpec {
        since: "4.0.0",
        complexity: "O(1) for each key, however large its value",
        summary: "Removes keys; large values are freed on another thread.",
        ..CommandSpec::new(
            "unlink",
            -2,
            FAST_WRITE,
            KeySpec::ALL,
            Group::Generic,
            unlink,
        )
    }
    .with_key_uses(&[KeyUse::REMOVE])
    .with_tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .with_syntax("key..."),
    CommandSpec {
        complexity: "O(N) for N keys",
        summary: "Tells how many of the given keys are there.",
        ..CommandSpec::new(
            "exists",
            -2,
            FAST_READ.and(Flags::PEEKS),
            KeySpec::ALL,
            Group::Generic,
            exists,
        )
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .with_syntax("key...")
    .with_history(&[("3.0.3", "Several keys at once.")]),
    CommandSpec {
        since: "3.2.1",
        complexity: "O(N) for N keys",
        summary: "Counts as a use of the given keys, and tells how many of them are there.",
        ..CommandSpec::new("touch", -2, FAST_READ, KeySpec::ALL, Group::Generic, touch)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
    .with_syntax("key..."),
    CommandSpec {
        summary: "Tells which type of value a key has.",
        ..CommandSpec::new(
            "type",
            2,
            FAST_READ.and(Flags::PEEKS),
            KeySpec::FIRST,
            Group::Generic,
            kind,
        )
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key"),
    CommandSpec {
        complexity: "O(1), and O(N) for the log, N being the size of the value",
        summary: "Gives a key another name, in place of what has that name.",
        ..CommandSpec::new(
            "rename",
            3,
            Flags::WRITE,
            KeySpec::FIRST_TWO,
            Group::Generic,
            rename,
        )
    }
    .with_key_uses(&[KeyUse::TAKE.at(1, 1), KeyUse::REPLACE.at(2, 2)])
    .with_syntax("key newkey:key"),
    CommandSpec {
        complexity: "O(1), and O(N) for the log, N being the size of the value",
        summary: "Gives a key another name, unless that is taken.",
        ..CommandSpec::new(
            "renamenx",
            3,
            FAST_WRITE,
            KeySpec::FIRST_TWO,
            Group::Generic,
            renamenx,
        )
    }
    .with_key_uses(&[KeyUse::TAKE.at(1, 1), KeyUse::CREATE.at(2, 2)])
    .with_syntax("key newkey:key")
    .with_history(&[("3.2.0", "Both names may be the same.")]),
    CommandSpec {
        since: "6.2.0",
        complexity: "O(1), and O(N) for the log, N being the size of the value",
        summary: "Copies a value to another key, in this database or in another.",
        other_database: Some(copy_database),
        ..CommandSpec::new(
            "copy",
            -3,
            Flags::WRITE.and(Flags::DENYOOM),
            KeySpec::FIRST_TWO,
            Group::Generic,
            copy,
        )
    }
    .with_key_uses(&[KeyUse::READ.at(1, 1), KeyUse::REPLACE.at(2, 2)])
    .with_syntax("source:key destination:key [DB destination-db:integer] [REPLACE]"),
    CommandSpec {
        complexity: "O(1), and O(N) for the log, N being the size of the value",
        summary: "Takes a key out of this database and puts it into another.",
        other_database: Some(move_database),
        ..CommandSpec::new(
            "move",
            3,
            FAST_WRITE,
            KeySpec::FIRST,
            Group::Generic,
            move_key,
        )
    }
    .with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key db:integer"),
];

#[cfg(test)]
mod tests {
    use super::{copy_database, move_database};
    use crate::commands::test_support::TestServer;

    #[test]
    fn existence() {
        TestServer::new().check_all(&[
            ("MSET a 1 b 2 c 3", "+OK"),
            ("EXISTS a a none b", ":3"),
            ("TOUCH a a none b", ":3"),
            ("DEL a a none", ":1"),
            ("UNLINK b c c", ":2"),
            ("EXISTS a b c", ":0"),
            ("TYPE a", "+none"),
            ("SET a 1", "+OK"),
            ("TYPE a", "+string"),
            ("DEL", "-ERR wrong number of arguments for 'del' command"),
        ]);
    }

    #[test]
    fn rename_takes_value_and_deadline_along() {
        TestServer::new().check_all(&[
            ("RENAME a b", "-ERR no such key"),
            ("RENAMENX a b", "-ERR no such key"),
            ("SET a 1 EX 10", "+OK"),
            ("SET b 2", "+OK"),
            ("RENAMENX a b", ":0"),
            ("RENAMENX a a", ":0"),
            ("RENAME a a", "+OK"),
            ("RENAME a b", "+OK"),
            ("EXISTS a", ":0"),
            ("GET b", "\"1\""),
            ("TTL b", ":10"),
            ("HSET h f 1 g 2", ":2"),
            ("RENAMENX h k", ":1"),
            ("HGETALL k", "[\"f\" \"1\" \"g\" \"2\"]"),
            ("EXISTS h", ":0"),
            ("RENAME k b", "+OK"),
            ("TYPE b", "+hash"),
            ("TTL b", ":-1"),
        ]);
    }

    #[test]
    fn copy_within_and_between_databases() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("COPY a b", ":0"),
            (
                "COPY a a",
                "-ERR source and destination objects are the same",
            ),
            ("SET a 1 EX 10", "+OK"),
            ("COPY a b", ":1"),
            ("GET b", "\"1\""),
            ("TTL b", ":10"),
            ("SET a 2", "+OK"),
            ("COPY a b", ":0"),
            ("COPY a b replace", ":1"),
            ("GET b", "\"2\""),
            ("TTL b", ":-1"),
            ("COPY a a DB 3", ":1"),
            ("COPY a b DB 3 REPLACE", ":1"),
            ("COPY a b DB 16", "-ERR DB index is out of range"),
            ("COPY a b DB -1", "-ERR DB index is out of range"),
            (
                "COPY a b DB x",
                "-ERR value is not an integer or out of range",
            ),
            ("COPY a b DB", "-ERR syntax error"),
            ("COPY a b FOO", "-ERR syntax error"),
            ("HSET h f 1", ":1"),
            ("COPY h k", ":1"),
            ("HSET k f 2", ":0"),
            ("HGET h f", "\"1\""),
            ("HSET h f 3", ":0"),
            ("HGET k f", "\"2\""),
        ]);
        server.session.database = 3;
        server.check("MGET a b", "[\"2\" \"2\"]");
    }

    #[test]
    fn move_between_databases() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("MOVE a 1", ":0"),
            ("SET a 1 EX 10", "+OK"),
            (
                "MOVE a 0",
                "-ERR source and destination objects are the same",
            ),
            ("MOVE a 16", "-ERR DB index is out of range"),
            ("MOVE a x", "-ERR value is not an integer or out of range"),
            (
                "MOVE a 99999999999",
                "-ERR value is out of range, value must between -2147483648 and 2147483647",
            ),
            ("MOVE a 1", ":1"),
            ("EXISTS a", ":0"),
            ("SET a 2", "+OK"),
            ("MOVE a 1", ":0"),
            ("GET a", "\"2\""),
        ]);
        server.session.database = 1;
        server.check("GET a", "\"1\"");
        server.check("TTL a", ":10");
    }

    #[test]
    fn other_databases_are_found_among_the_arguments() {
        let words = |line: &'static str| line.split(' ').map(str::as_bytes).collect::<Vec<_>>();
        assert_eq!(copy_database(&words("copy db db")), None);
        assert_eq!(copy_database(&words("copy a b replace DB 7")), Some(7));
        assert_eq!(copy_database(&words("copy a b db 1 db 2")), Some(2));
        assert_eq!(copy_database(&words("copy a b db")), None);
        assert_eq!(move_database(&words("move a 4")), Some(4));
        assert_eq!(move_database(&words("move a -4")), None);
    }
}
