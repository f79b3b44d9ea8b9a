//! OBJECT: what a client may know of a value besides its content.
//!
//! Larder stores values in its own way; clients and test suites know Redis's names for encodings, and the thresholds in the
//! configuration that decide them. So ENCODING says what Redis would have chosen for such a value.

use super::access::KeyUse;
use super::context::Context;
use super::generic::without_touch;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::config::Settings;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{EventClasses, Keys};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use crate::value::{List, Value};

const NO_IDLE_TIME: CommandError = CommandError::fixed(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at \
     runtime LRU and LFU data will take some time to adjust.",
);
const NO_FREQUENCY: CommandError = CommandError::fixed(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);
/// Redis shares the objects of the integers below this, and gives them no reference count.
const SHARED_INTEGERS: i64 = 10_000;

/// A value that is only looked at: no use of the key, and no event if there is none.
pub(super) fn observe(keys: &mut Keys<'_>, key: &[u8]) -> Option<Value> {
    let listens_to = keys.listens_to;
    keys.listens_to = listens_to.without(EventClasses::KEY_MISS);
    let value = without_touch(keys, |keys| keys.value(key));
    keys.listens_to = listens_to;
    value
}

/// The name that Redis gives the encoding of such a value; `None` if the key does not exist. Not a use of the key.
pub fn encoding_name(context: &mut Context<'_>, key: &[u8]) -> Option<&'static str> {
    let is_raw_text = context.keys.info(key).is_some_and(|info| info.is_raw_text);
    observe(&mut context.keys, key).map(|value| match &value {
        Value::Text(text) => text_encoding(text.as_bytes(), is_raw_text),
        collection => collection_encoding(collection, context.settings),
    })
}

fn encoding(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply.bulk_or_null(encoding_name(context, arguments[2]).map(str::as_bytes));
    Ok(())
}

fn text_encoding(text: &[u8], is_raw: bool) -> &'static str {
    const EMBEDDED_BYTES_MAX: usize = 44;
    if is_raw {
        "raw"
    } else if parse_integer(text).is_some() {
        "int"
    } else if text.len() <= EMBEDDED_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

fn collection_encoding(value: &Value, settings: &Settings) -> &'static str {
    let packed = |is_packed: bool, otherwise| if is_packed { "listpack" } else { otherwise };
    match value {
        Value::Text(text) => text_encoding(text.as_bytes(), false),
        Value::Stream(_) => "stream",
        Value::List(_) if settings.encodings.legacy_encoding_names => "quicklist",
        Value::List(list) => packed(
            is_one_listpack(list, settings.encodings.list_max_listpack_size),
            "quicklist",
        ),
        Value::Set(set)
            if set.is_intset_like(settings.encodings.set_max_intset_entries as usize) =>
        {
            "intset"
        }
        Value::Set(_) if settings.encodings.legacy_encoding_names => "hashtable",
        Value::Set(set) => {
            let (entries, bytes) = (
                settings.encodings.set_max_listpack_entries,
                settings.encodings.set_max_listpack_value_bytes,
            );
            packed(
                set.is_packed_like(entries as usize, bytes as usize),
                "hashtable",
            )
        }
        Value::Hash(hash) => {
            let (entries, bytes) = (
                settings.encodings.hash_max_listpack_entries,
                settings.encodings.hash_max_listpack_value_bytes,
            );
            match hash.is_packed_like(entries as usize, bytes as usize) {
                true if hash.has_field_deadlines() => "listpackex",
                is_packed => packed(is_packed, "hashtable"),
            }
        }
        Value::SortedSet(members) => {
            let (entries, bytes) = (
                settings.encodings.zset_max_listpack_entries,
                settings.encodings.zset_max_listpack_value_bytes,
            );
            packed(
                members.is_packed_like(entries as usize, bytes as usize),
                "skiplist",
            )
        }
    }
}

/// `list-max-listpack-size`: a number of items, or -1 to -5 for 4 kB to 64 kB.
fn is_one_listpack(list: &List, limit: i64) -> bool {
    const BYTES_MAX_WITH_COUNT: usize = 8192;
    const ITEM_OVERHEAD_BYTES: usize = 2;
    let bytes = list.payload_bytes() + ITEM_OVERHEAD_BYTES * list.len();
    match usize::try_from(limit) {
        Ok(items_max) => list.len() <= items_max.max(1) && bytes <= BYTES_MAX_WITH_COUNT,
        Err(_) => bytes <= 2048 << limit.unsigned_abs().clamp(1, 5),
    }
}

fn idletime(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let tracks_frequency = context.keys.frequency_log_factor.is_some();
    match context.keys.info(arguments[2]) {
        None => reply.null(),
        Some(_) if tracks_frequency => return Err(NO_IDLE_TIME),
        Some(info) => reply.integer(i64::from(info.idle_seconds)),
    }
    Ok(())
}

fn freq(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let tracks_frequency = context.keys.frequency_log_factor.is_some();
    match context.keys.info(arguments[2]) {
        None => reply.null(),
        Some(_) if !tracks_frequency => return Err(NO_FREQUENCY),
        Some(info) => reply.integer(i64::from(info.frequency)),
    }
    Ok(())
}

fn refcount(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    match observe(&mut context.keys, arguments[2]) {
        None => reply.null(),
        Some(Value::Text(text))
            if parse_integer(text.as_bytes())
                .is_some_and(|number| (0..SHARED_INTEGERS).contains(&number)) =>
        {
            reply.integer(i64::from(i32::MAX));
        }
        Some(_) => reply.integer(1),
    }
    Ok(())
}

const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Tells which encoding Redis would choose for the value of a key, by its type",
    "    and size.",
    "FREQ <key>",
    "    Tells how often a key was used of late: a counter that grows more slowly the",
    "    larger it is. Only under an LFU policy.",
    "IDLETIME <key>",
    "    Tells how many seconds ago a key was last used. Not under an LFU",
    "    policy.",
    "REFCOUNT <key>",
    "    Tells how many references there are to a value: 1, except for small",
    "    integers.",
    "HELP",
    "    Shows these lines.",
];

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.array_header(HELP.len());
    HELP.iter().for_each(|line| reply.simple(line));
    Ok(())
}

/// OBJECT alone: its arity is never met without a subcommand.
fn object(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("object"))
}

const READ: Flags = Flags::READONLY.and(Flags::PEEKS);
const KEY: &[KeySpec] = &[KeySpec::Range {
    first: 2,
    last: 2,
    step: 1,
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.2.3",
        summary: "Tells which encoding Redis would choose for a value.",
        ..CommandSpec::new("encoding", 3, READ, KEY, Group::Generic, encoding)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key"),
    CommandSpec {
        since: "4.0.0",
        summary: "Tells how often a key was used of late, on a scale that grows ever more slowly.",
        ..CommandSpec::new("freq", 3, READ, KEY, Group::Generic, freq)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key"),
    CommandSpec {
        since: "2.2.3",
        summary: "Tells how many seconds ago a key was last used.",
        ..CommandSpec::new("idletime", 3, READ, KEY, Group::Generic, idletime)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key"),
    CommandSpec {
        since: "2.2.3",
        summary: "Tells how many references there are to a value: 1, except for small integers.",
        ..CommandSpec::new("refcount", 3, READ, KEY, Group::Generic, refcount)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key"),
    CommandSpec {
        since: "6.2.0",
        summary: "Lists the subcommands and what each is for.",
        ..CommandSpec::new(
            "help",
            2,
            Flags::LOADING.and(Flags::STALE),
            KeySpec::NONE,
            Group::Generic,
            help,
        )
    },
];

/// The row of OBJECT.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "2.2.3",
    complexity: "That of the subcommand",
    summary: "Tells how a value is kept and when it was used.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::new(
        "object",
        -2,
        Flags::NONE,
        KeySpec::NONE,
        Group::Generic,
        object,
    )
}];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn encodings_of_texts() {
        let mut server = TestServer::new();
        let (embedded, raw) = ("x".repeat(44), "x".repeat(45));
        server.check("OBJECT ENCODING none", "nil");
        for (text, expected) in [
            ("0", "int"),
            ("-5", "int"),
            ("9223372036854775807", "int"),
            ("9223372036854775808", "embstr"),
            ("007", "embstr"),
            ("1.5", "embstr"),
            (&embedded, "embstr"),
            (&raw, "raw"),
        ] {
            server.check(&format!("SET a {text}"), "+OK");
            server.check("OBJECT ENCODING a", &format!("\"{expected}\""));
        }
        server.check_all(&[
            ("SET a 1", "+OK"),
            ("INCR a", ":2"),
            ("object encoding a", "\"int\""),
            ("APPEND a 3", ":2"),
            ("OBJECT ENCODING a", "\"raw\""),
            ("SET a x", "+OK"),
            ("SETRANGE a 0 y", ":1"),
            ("OBJECT ENCODING a", "\"raw\""),
            ("APPEND new 5", ":1"),
            ("OBJECT ENCODING new", "\"int\""),
            ("COPY a b", ":1"),
            ("OBJECT ENCODING b", "\"raw\""),
            ("RENAME a c", "+OK"),
            ("OBJECT ENCODING c", "\"raw\""),
        ]);
    }

    #[test]
    fn encodings_of_hashes() {
        let mut server = TestServer::new();
        server.settings.encodings.hash_max_listpack_entries = 2;
        server.settings.encodings.hash_max_listpack_value_bytes = 4;
        server.check_all(&[
            ("HSET h a 1 b 2", ":2"),
            ("OBJECT ENCODING h", "\"listpack\""),
            ("HSET h c 3", ":1"),
            ("OBJECT ENCODING h", "\"hashtable\""),
            ("HDEL h c", ":1"),
            ("OBJECT ENCODING h", "\"hashtable\""),
            ("HSET g a 12345", ":1"),
            ("OBJECT ENCODING g", "\"hashtable\""),
        ]);
    }

    #[test]
    fn encodings_as_redis_7_0_names_them() {
        let mut server = TestServer::new();
        server.settings.encodings.set_max_intset_entries = 10;
        server.check_all(&[("RPUSH l a", ":1"), ("SADD s a", ":1"), ("SADD i 1", ":1")]);
        for (legacy, list, set) in [
            (false, "listpack", "listpack"),
            (true, "quicklist", "hashtable"),
        ] {
            server.settings.encodings.legacy_encoding_names = legacy;
            server.settings.encodings.list_max_listpack_size = -2;
            server.settings.encodings.set_max_listpack_entries = 128;
            server.settings.encodings.set_max_listpack_value_bytes = 64;
            server.check("OBJECT ENCODING l", &format!("\"{list}\""));
            server.check("OBJECT ENCODING s", &format!("\"{set}\""));
            server.check("OBJECT ENCODING i", "\"intset\"");
        }
    }

    #[test]
    fn idle_time_frequency_and_references() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("SET a 1", "+OK"),
            ("OBJECT IDLETIME a", ":0"),
            ("OBJECT IDLETIME none", "nil"),
        ]);
        server.advance_ms(7_000);
        server.check_all(&[
            ("OBJECT ENCODING a", "\"int\""),
            ("TYPE a", "+string"),
            ("EXISTS a", ":1"),
            ("TTL a", ":-1"),
            ("OBJECT IDLETIME a", ":7"),
            ("TOUCH a", ":1"),
            ("OBJECT IDLETIME a", ":0"),
            ("OBJECT FREQ none", "nil"),
            ("OBJECT REFCOUNT a", ":2147483647"),
            ("SET a text", "+OK"),
            ("OBJECT REFCOUNT a", ":1"),
            ("OBJECT REFCOUNT none", "nil"),
        ]);
        let refused = server.run("OBJECT FREQ a");
        assert!(
            refused.starts_with(
                "-ERR An LFU maxmemory policy is not selected, access frequency not tracked."
            ),
            "{refused}"
        );
        server.frequency_log_factor = Some(10);
        assert!(server.run("OBJECT FREQ a").starts_with(':'));
        let refused = server.run("OBJECT IDLETIME a");
        assert!(
            refused.starts_with("-ERR An LFU maxmemory policy is selected, idle time not tracked."),
            "{refused}"
        );
    }

    #[test]
    fn subcommands() {
        let mut server = TestServer::new();
        server.check_all(&[
            (
                "OBJECT",
                "-ERR wrong number of arguments for 'object' command",
            ),
            (
                "OBJECT FOO",
                "-ERR unknown subcommand 'FOO'. Try OBJECT HELP.",
            ),
            (
                "OBJECT ENCODING",
                "-ERR wrong number of arguments for 'object|encoding' command",
            ),
        ]);
        let help = server.run("OBJECT HELP");
        assert!(
            help.starts_with("[+OBJECT <subcommand> ") && help.ends_with("Shows these lines.]"),
            "{help}"
        );
    }
}
