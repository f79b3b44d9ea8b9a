//! Whole databases: KEYS, SCAN, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB.
//!
//! These concern keys in all tiers, so none runs under shard locks: each leaves a job for the blocking pool, which asks
//! [`super::services::Services`].

use super::categories::Categories;
use super::context::Context;
use super::options::{Options, ScanOptions, cursor, is_keyword};
use super::services::{ScanRequest, Services};
use super::session::type_name;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use storage_format::ValueKind;

const ALL_KINDS: [ValueKind; 6] = [
    ValueKind::String,
    ValueKind::List,
    ValueKind::Set,
    ValueKind::SortedSet,
    ValueKind::Hash,
    ValueKind::Stream,
];

fn keys(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let (database, pattern) = (context.keys.database(), arguments[1].to_vec());
    context.offload(move |services, reply| reply_keys(services, database, &pattern, reply));
    Ok(())
}

fn reply_keys(
    services: &dyn Services,
    database: u32,
    pattern: &[u8],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const KEYS_IN_A_STEP: usize = 4096;
    let pattern = (pattern != b"*").then_some(pattern);
    let (header, mut found, mut cursor) = (reply.begin_deferred(), 0, 0);
    loop {
        let request = ScanRequest {
            database,
            cursor,
            count: KEYS_IN_A_STEP,
            pattern,
            kind: None,
            expires: false,
        };
        cursor = services.scan(request, &mut |key| {
            reply.bulk(key);
            found += 1;
        })?;
        if cursor == 0 {
            break;
        }
    }
    reply.end_deferred_array(header, found);
    Ok(())
}

/// What SCAN looks for, owned by its job.
struct Scan {
    database: u32,
    cursor: u64,
    count: usize,
    pattern: Option<Vec<u8>>,
    kind: Option<ValueKind>,
    /// TYPE names no type that there is: nothing is found, but the cursor moves on.
    finds_nothing: bool,
}

fn scan(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let cursor = cursor(arguments[1])?;
    let options = ScanOptions::of_keys(Options::new(arguments, 2))?;
    let kind_named = |name: &[u8]| {
        ALL_KINDS
            .into_iter()
            .find(|kind| is_keyword(name, type_name(*kind)))
    };
    let kind = options.kind_name.and_then(kind_named);
    let scan = Scan {
        database: context.keys.database(),
        cursor,
        count: options.count,
        pattern: options.pattern.map(<[u8]>::to_vec),
        kind,
        finds_nothing: options.kind_name.is_some() && kind.is_none(),
    };
    context.offload(move |services, reply| reply_scan(services, &scan, reply));
    Ok(())
}

fn reply_scan(services: &dyn Services, scan: &Scan, reply: &mut Reply<'_>) -> CommandResult {
    let request = ScanRequest {
        database: scan.database,
        cursor: scan.cursor,
        count: scan.count,
        pattern: scan.pattern.as_deref(),
        kind: scan.kind,
        expires: true,
    };
    let (start, mut found) = (reply.begin_deferred(), 0);
    let next = services.scan(request, &mut |key| {
        if !scan.finds_nothing {
            reply.bulk(key);
            found += 1;
        }
    })?;
    reply.end_deferred_scan(start, next, found);
    Ok(())
}

fn randomkey(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let (database, random) = (context.keys.database(), context.random());
    context.offload(move |services, reply| {
        reply.bulk_or_null(services.random_key(database, random)?.as_deref());
        Ok(())
    });
    Ok(())
}

fn dbsize(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let database = context.keys.database();
    context.offload(move |services, reply| {
        reply.integer(i64::try_from(services.key_counts(database).0).unwrap_or(i64::MAX));
        Ok(())
    });
    Ok(())
}

fn flushdb(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let database = context.keys.database();
    flush(context, arguments, Some(database))
}

fn flushall(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    flush(context, arguments, None)
}

fn flush(context: &mut Context<'_>, arguments: &[&[u8]], database: Option<u32>) -> CommandResult {
    let wait = match arguments[1..] {
        [] => !context.settings.lazyfree_user_flush,
        [word] if is_keyword(word, "sync") => true,
        [word] if is_keyword(word, "async") => false,
        _ => return Err(CommandError::SYNTAX),
    };
    context.offload(move |services, reply| {
        services.flush(database, wait)?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn swapdb(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let index = |argument: &[u8], error| {
        parse_integer(argument)
            .and_then(|index| i32::try_from(index).ok())
            .ok_or(error)
    };
    let first = index(
        arguments[1],
        CommandError::fixed("ERR invalid first DB index"),
    )?;
    let second = index(
        arguments[2],
        CommandError::fixed("ERR invalid second DB index"),
    )?;
    let databases = context.keys.databases();
    let existing = |index| u32::try_from(index).ok().filter(|index| *index < databases);
    let (Some(first), Some(second)) = (existing(first), existing(second)) else {
        return Err(CommandError::DATABASE_OUT_OF_RANGE);
    };
    context.offload(move |services, reply| {
        services.swap_databases(first, second)?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

const READ: Flags = Flags::READONLY.and(Flags::OFFLOADED);
const WRITE: Flags = Flags::WRITE.and(Flags::OFFLOADED);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: "O(N) for N keys in the database",
        summary: "Lists the keys whose names fit a pattern.",
        ..CommandSpec::new("keys", 2, READ, KeySpec::NONE, Group::Generic, keys)
    }
    .with_categories(Categories::DANGEROUS.and(Categories::KEYSPACE))
    .with_tips(&["request_policy:all_shards", "nondeterministic_output_order"])
    .with_syntax("pattern:pattern"),
    CommandSpec {
        since: "2.8.0",
        complexity: "O(1) for a step, O(N) for a walk through N keys",
        summary: "Walks through the keys of the database step by step.",
        ..CommandSpec::new("scan", -2, READ, KeySpec::NONE, Group::Generic, scan)
    }
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:special",
        "response_policy:special",
    ])
    .with_syntax("cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type]@6.0.0"),
    CommandSpec {
        summary: "Names one key of the database, picked at random.",
        ..CommandSpec::new(
            "randomkey",
            1,
            READ,
            KeySpec::NONE,
            Group::Generic,
            randomkey,
        )
    }
    .with_tips(&[
        "request_policy:all_shards",
        "response_policy:special",
        "nondeterministic_output",
    ]),
    CommandSpec {
        summary: "Tells how many keys the database has.",
        ..CommandSpec::new(
            "dbsize",
            1,
            READ.and(Flags::FAST),
            KeySpec::NONE,
            Group::Server,
            dbsize,
        )
    }
    .with_categories(Categories::KEYSPACE)
    .with_tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    CommandSpec {
        complexity: "O(1), and O(N) in the background for N keys in the database",
        summary: "Empties the database of the connection.",
        ..CommandSpec::new("flushdb", -1, WRITE, KeySpec::NONE, Group::Server, flushdb)
    }
    .with_categories(Categories::DANGEROUS.and(Categories::KEYSPACE))
    .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .with_syntax("flush-type[ASYNC@4.0.0 | SYNC@6.2.0]"),
    CommandSpec {
        complexity: "O(1), and O(N) in the background for N keys in all databases",
        summary: "Empties all databases.",
        ..CommandSpec::new(
            "flushall",
            -1,
            WRITE,
            KeySpec::NONE,
            Group::Server,
            flushall,
        )
    }
    .with_categories(Categories::DANGEROUS.and(Categories::KEYSPACE))
    .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .with_syntax("flush-type[ASYNC@4.0.0 | SYNC@6.2.0]"),
    CommandSpec {
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Exchanges what is in two databases.",
        ..CommandSpec::new(
            "swapdb",
            3,
            WRITE.and(Flags::FAST),
            KeySpec::NONE,
            Group::Server,
            swapdb,
        )
    }
    .with_categories(Categories::DANGEROUS.and(Categories::KEYSPACE))
    .with_syntax("index1:integer index2:integer"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn keys_and_random_key() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("KEYS *", "[]"),
            ("RANDOMKEY", "nil"),
            ("DBSIZE", ":0"),
            ("SET user:1 a", "+OK"),
            ("RANDOMKEY", "\"user:1\""),
            ("KEYS *", "[\"user:1\"]"),
            ("HSET other f v", ":1"),
            ("KEYS user:?", "[\"user:1\"]"),
            ("KEYS none*", "[]"),
            ("DBSIZE", ":2"),
        ]);
    }

    #[test]
    fn scan_finds_every_key_once() {
        let mut server = TestServer::new();
        for number in 0..100 {
            server.check(&format!("SET key:{number} x"), "+OK");
        }
        let mut found = 0;
        let mut cursor = String::from("0");
        loop {
            let reply = server.run(&format!("SCAN {cursor} COUNT 7"));
            let mut words = reply.trim_matches(['[', ']']).split(' ');
            cursor = words
                .next()
                .map(|word| word.trim_matches('"').to_owned())
                .expect("a cursor");
            found += words.filter(|word| word.contains("key:")).count();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found, 100);
    }

    #[test]
    fn scan_filters_and_errors() {
        TestServer::new().check_all(&[
            ("SET a 1", "+OK"),
            ("HSET h f v", ":1"),
            ("SCAN 0 TYPE hash", "[\"0\" [\"h\"]]"),
            ("SCAN 0 TYPE String COUNT 100", "[\"0\" [\"a\"]]"),
            ("SCAN 0 TYPE nonsense", "[\"0\" []]"),
            ("SCAN 0 MATCH [a-b]", "[\"0\" [\"a\"]]"),
            ("SCAN x", "-ERR invalid cursor"),
            ("SCAN 0 COUNT 0", "-ERR syntax error"),
            (
                "SCAN 0 COUNT x",
                "-ERR value is not an integer or out of range",
            ),
            ("SCAN 0 MATCH", "-ERR syntax error"),
            ("SCAN 0 NOVALUES", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn flush() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("SET a 1", "+OK"),
            ("FLUSHDB", "+OK"),
            ("EXISTS a", ":0"),
            ("SET a 2", "+OK"),
            ("FLUSHDB ASYNC", "+OK"),
            ("FLUSHDB FOO", "-ERR syntax error"),
            ("FLUSHDB SYNC ASYNC", "-ERR syntax error"),
            ("FLUSHALL sync", "+OK"),
        ]);
        assert_eq!(
            server.services.take_calls(),
            [
                "flush(Some(0), wait: true)",
                "flush(Some(0), wait: false)",
                "flush(None, wait: true)"
            ]
        );
        server.settings.lazyfree_user_flush = true;
        server.check("FLUSHALL", "+OK");
        assert_eq!(server.services.take_calls(), ["flush(None, wait: false)"]);
    }

    #[test]
    fn swap() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("SET a zero", "+OK"),
            ("SWAPDB 0 1", "+OK"),
            ("EXISTS a", ":0"),
            ("SWAPDB 1 1", "+OK"),
            ("SWAPDB 0 16", "-ERR DB index is out of range"),
            ("SWAPDB -1 0", "-ERR DB index is out of range"),
            ("SWAPDB x 0", "-ERR invalid first DB index"),
            ("SWAPDB 0 99999999999", "-ERR invalid second DB index"),
        ]);
        server.session.database = 1;
        server.check("GET a", "\"zero\"");
        server.check("SET a one", "+OK");
    }
}
