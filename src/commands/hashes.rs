//! Hashes: everything but the commands that walk or draw fields (`hashes_walk`) and count in them (`hashes_numbers`).

use super::access::KeyUse;
use super::context::Context;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use storage_format::Effect;

/// Sets the fields of `arguments[2..]`; returns how many are new.
fn set_fields(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    name: &str,
) -> Result<u64, CommandError> {
    if !arguments.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(name));
    }
    let applied = context.keys.apply(
        arguments[1],
        Effect::HashSet {
            pairs: arguments[2..].into(),
        },
    )?;
    context
        .keys
        .notify(EventClasses::HASH, "hset", arguments[1]);
    Ok(applied.added_or_removed)
}

fn hset(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(set_fields(context, arguments, "hset")? as i64);
    Ok(())
}

fn hmset(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    set_fields(context, arguments, "hmset")?;
    reply.ok();
    Ok(())
}

fn hsetnx(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, field) = (arguments[1], arguments[2]);
    let is_new = !context
        .keys
        .hash(key)?
        .is_some_and(|hash| hash.contains(field));
    if is_new {
        context.keys.apply(
            key,
            Effect::HashSet {
                pairs: arguments[2..].into(),
            },
        )?;
        context.keys.notify(EventClasses::HASH, "hset", key);
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

fn hget(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_or_null(
        context
            .keys
            .hash(arguments[1])?
            .and_then(|hash| hash.get(arguments[2])),
    );
    Ok(())
}

fn hmget(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let hash = context.keys.hash(arguments[1])?;
    reply.array_header(arguments.len() - 2);
    for field in &arguments[2..] {
        reply.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

fn hdel(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let applied = context.keys.apply(
        arguments[1],
        Effect::HashDelete {
            fields: arguments[2..].into(),
        },
    )?;
    context
        .keys
        .notify_removal(EventClasses::HASH, "hdel", arguments[1], applied);
    reply.integer(applied.added_or_removed as i64);
    Ok(())
}

fn hlen(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.count(
        context
            .keys
            .hash(arguments[1])?
            .map_or(0, |hash| hash.len()),
    );
    Ok(())
}

fn hstrlen(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let value = context
        .keys
        .hash(arguments[1])?
        .and_then(|hash| hash.get(arguments[2]));
    reply.count(value.map_or(0, <[u8]>::len));
    Ok(())
}

fn hexists(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let exists = context
        .keys
        .hash(arguments[1])?
        .is_some_and(|hash| hash.contains(arguments[2]));
    reply.integer(i64::from(exists));
    Ok(())
}

fn hgetall(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let hash = context.keys.hash(arguments[1])?;
    reply.map_header(hash.map_or(0, |hash| hash.len()));
    for (field, value) in hash.into_iter().flat_map(|hash| hash.iter()) {
        reply.bulk(field);
        reply.bulk(value);
    }
    Ok(())
}

fn hkeys(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let hash = context.keys.hash(arguments[1])?;
    reply.array_header(hash.map_or(0, |hash| hash.len()));
    hash.into_iter()
        .flat_map(|hash| hash.iter())
        .for_each(|(field, _)| reply.bulk(field));
    Ok(())
}

fn hvals(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let hash = context.keys.hash(arguments[1])?;
    reply.array_header(hash.map_or(0, |hash| hash.len()));
    hash.into_iter()
        .flat_map(|hash| hash.iter())
        .for_each(|(_, value)| reply.bulk(value));
    Ok(())
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const READ: Flags = Flags::READONLY.and(Flags::FAST);
const WHOLE: &str = "O(N) for N fields in the hash";
const PER_FIELD: &str = "O(1) for each field";

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.0.0",
        complexity: PER_FIELD,
        summary: "Sets fields of a hash; a missing key counts as an empty one.",
        ..CommandSpec::new("hset", -4, WRITE, KeySpec::FIRST, Group::Hash, hset)
    }
    .with_syntax("key data<field value>...")
    .with_history(&[("4.0.0", "Several fields at once.")]),
    CommandSpec {
        since: "2.0.0",
        complexity: PER_FIELD,
        summary: "Does what HSET does, with another reply.",
        ..CommandSpec::new("hmset", -4, WRITE, KeySpec::FIRST, Group::Hash, hmset)
    }
    .with_syntax("key data<field value>...")
    .with_deprecated("4.0.0", "`HSET`"),
    CommandSpec {
        since: "2.0.0",
        summary: "Sets a field of a hash if there is none of this name.",
        ..CommandSpec::new("hsetnx", 4, WRITE, KeySpec::FIRST, Group::Hash, hsetnx)
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key field value"),
    CommandSpec {
        since: "2.0.0",
        summary: "Reads a field of a hash.",
        ..CommandSpec::new("hget", 3, READ, KeySpec::FIRST, Group::Hash, hget)
    }
    .with_syntax("key field"),
    CommandSpec {
        since: "2.0.0",
        complexity: PER_FIELD,
        summary: "Reads several fields of a hash.",
        ..CommandSpec::new("hmget", -3, READ, KeySpec::FIRST, Group::Hash, hmget)
    }
    .with_syntax("key field..."),
    CommandSpec {
        since: "2.0.0",
        complexity: PER_FIELD,
        summary: "Removes fields from a hash.",
        ..CommandSpec::new(
            "hdel",
            -3,
            Flags::WRITE.and(Flags::FAST),
            KeySpec::FIRST,
            Group::Hash,
            hdel,
        )
    }
    .with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key field...")
    .with_history(&[("2.4.0", "Several fields at once.")]),
    CommandSpec {
        since: "2.0.0",
        summary: "Tells how many fields a hash has.",
        ..CommandSpec::new("hlen", 2, READ, KeySpec::FIRST, Group::Hash, hlen)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key"),
    CommandSpec {
        since: "3.2.0",
        summary: "Tells how many bytes are in a field of a hash.",
        ..CommandSpec::new("hstrlen", 3, READ, KeySpec::FIRST, Group::Hash, hstrlen)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key field"),
    CommandSpec {
        since: "2.0.0",
        summary: "Tells whether a hash has a field.",
        ..CommandSpec::new("hexists", 3, READ, KeySpec::FIRST, Group::Hash, hexists)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key field"),
    CommandSpec {
        since: "2.0.0",
        complexity: WHOLE,
        summary: "Returns the whole hash, each field with its value.",
        ..CommandSpec::new(
            "hgetall",
            2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Hash,
            hgetall,
        )
    }
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("key"),
    CommandSpec {
        since: "2.0.0",
        complexity: WHOLE,
        summary: "Lists the names of the fields that a hash has.",
        ..CommandSpec::new(
            "hkeys",
            2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Hash,
            hkeys,
        )
    }
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("key"),
    CommandSpec {
        since: "2.0.0",
        complexity: WHOLE,
        summary: "Returns what is in the fields of a hash, without their names.",
        ..CommandSpec::new(
            "hvals",
            2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Hash,
            hvals,
        )
    }
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("key"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn fields_are_set_and_read() {
        TestServer::new().check_all(&[
            ("HSET h a 1 b 2 a 3", ":2"),
            ("HGET h a", "\"3\""),
            ("HSET h a 4 c 5", ":1"),
            ("HMSET h d 6", "+OK"),
            ("HMGET h a none d", "[\"4\" nil \"6\"]"),
            ("HGET h none", "nil"),
            ("HGET none a", "nil"),
            ("HMGET none a b", "[nil nil]"),
            ("HLEN h", ":4"),
            ("HLEN none", ":0"),
            ("HEXISTS h a", ":1"),
            ("HEXISTS h none", ":0"),
            ("HEXISTS none a", ":0"),
            ("HSTRLEN h a", ":1"),
            ("HSTRLEN h none", ":0"),
            ("HSTRLEN none a", ":0"),
            ("HSETNX h a 9", ":0"),
            ("HSETNX h new 9", ":1"),
            ("HSETNX h2 new 9", ":1"),
            ("HGET h2 new", "\"9\""),
            ("HSET h \"\" \"\"", ":1"),
            ("HGET h \"\"", "\"\""),
        ]);
    }

    #[test]
    fn a_hash_without_fields_is_gone() {
        TestServer::new().check_all(&[
            ("HSET h a 1 b 2", ":2"),
            ("HDEL h none", ":0"),
            ("HDEL h a a none", ":1"),
            ("HDEL h b", ":1"),
            ("EXISTS h", ":0"),
            ("HDEL h b", ":0"),
            ("HSET h a 1", ":1"),
        ]);
    }

    #[test]
    fn whole_hashes() {
        for (mut server, all, none) in [
            (TestServer::new(), "[\"a\" \"1\"]", "[]"),
            (TestServer::resp3(), "{\"a\" \"1\"}", "{}"),
        ] {
            server.check_all(&[
                ("HGETALL h", none),
                ("HKEYS h", "[]"),
                ("HVALS h", "[]"),
                ("HSET h a 1", ":1"),
                ("HGETALL h", all),
                ("HKEYS h", "[\"a\"]"),
                ("HVALS h", "[\"1\"]"),
            ]);
        }
    }

    #[test]
    fn large_hashes() {
        let mut server = TestServer::new();
        for number in 0..600 {
            server.check(&format!("HSET h field:{number} {number}"), ":1");
        }
        server.check("HLEN h", ":600");
        server.check("HGET h field:599", "\"599\"");
        for number in 0..600 {
            server.check(&format!("HDEL h field:{number}"), ":1");
        }
        server.check("EXISTS h", ":0");
    }

    #[test]
    fn errors() {
        const WRONG_TYPE: &str =
            "-WRONGTYPE Operation against a key holding the wrong kind of value";
        TestServer::new().check_all(&[
            (
                "HSET h a",
                "-ERR wrong number of arguments for 'hset' command",
            ),
            (
                "HSET h a 1 b",
                "-ERR wrong number of arguments for 'hset' command",
            ),
            (
                "HMSET h a 1 b",
                "-ERR wrong number of arguments for 'hmset' command",
            ),
            ("SET s x", "+OK"),
            ("HSET s a 1", WRONG_TYPE),
            ("HSETNX s a 1", WRONG_TYPE),
            ("HGET s a", WRONG_TYPE),
            ("HMGET s a", WRONG_TYPE),
            ("HDEL s a", WRONG_TYPE),
            ("HLEN s", WRONG_TYPE),
            ("HSTRLEN s a", WRONG_TYPE),
            ("HEXISTS s a", WRONG_TYPE),
            ("HGETALL s", WRONG_TYPE),
            ("HKEYS s", WRONG_TYPE),
            ("HVALS s", WRONG_TYPE),
        ]);
    }
}
