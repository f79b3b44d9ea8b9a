//! Walking a hash (HSCAN), and fields chosen at random (HRANDFIELD).

use super::context::Context;
use super::options::{Options, ScanOptions, cursor, integer_in, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::{Protocol, Reply};
use crate::value::Hash;
use hashbrown::HashSet;

fn hscan(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let cursor = cursor(arguments[2])?;
    let (start, mut elements) = (reply.begin_deferred(), 0);
    let Some(hash) = context.keys.hash(arguments[1])? else {
        reply.end_deferred_scan(start, 0, 0);
        return Ok(());
    };
    let options = ScanOptions::of_pairs(Options::new(arguments, 3), "novalues")?;
    let next = hash.scan(cursor, options.count, |field, value| {
        if options
            .pattern
            .is_some_and(|pattern| !crate::glob::selects(pattern, field))
        {
            return;
        }
        reply.bulk(field);
        elements += 1;
        if !options.no_values {
            reply.bulk(value);
            elements += 1;
        }
    });
    reply.end_deferred_scan(start, next, elements);
    Ok(())
}

fn hrandfield(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    if arguments.len() > 2 {
        return several_fields(context, arguments, reply);
    }
    let random = context.random();
    let chosen = context
        .keys
        .hash(arguments[1])?
        .and_then(|hash| hash.random(random));
    reply.bulk_or_null(chosen.map(|(field, _)| field));
    Ok(())
}

fn several_fields(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let count = integer_in(arguments[2], -i64::MAX..=i64::MAX)?;
    let with_values = match arguments[3..] {
        [] => false,
        [word] if is_keyword(word, "withvalues") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OUT_OF_RANGE);
    }
    let Some(hash) = context.keys.hash(arguments[1])? else {
        reply.array_header(0);
        return Ok(());
    };
    let session = &mut context.session;
    if count < 0 {
        let chosen = (0..count.unsigned_abs()).filter_map(|_| hash.random(session.random()));
        reply_fields(reply, chosen, count.unsigned_abs() as usize, with_values);
    } else if count as usize >= hash.len() {
        reply_fields(reply, hash.iter(), hash.len(), with_values);
    } else {
        let ranks = distinct_ranks(count as usize, hash, || session.random());
        let chosen = ranks.iter().filter_map(|rank| hash.nth(*rank));
        reply_fields(reply, chosen, ranks.len(), with_values);
    }
    Ok(())
}

/// Different ranks of a hash with more than `count` fields, every set of them with the same chance (Floyd's method: as many
/// random numbers as ranks).
fn distinct_ranks(count: usize, hash: &Hash, mut random: impl FnMut() -> u64) -> Vec<usize> {
    let (mut seen, mut ranks) = (HashSet::with_capacity(count), Vec::with_capacity(count));
    for last in hash.len() - count..hash.len() {
        let rank = ((u128::from(random()) * (last as u128 + 1)) >> 64) as usize;
        let rank = if seen.insert(rank) { rank } else { last };
        seen.insert(rank);
        ranks.push(rank);
    }
    ranks
}

/// With their values, fields are pairs in RESP3, and a flat list in RESP2.
fn reply_fields<'h>(
    reply: &mut Reply<'_>,
    fields: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    count: usize,
    with_values: bool,
) {
    let as_pairs = with_values && reply.protocol() == Protocol::Resp3;
    reply.array_header(if with_values && !as_pairs {
        count * 2
    } else {
        count
    });
    for (field, value) in fields {
        if as_pairs {
            reply.array_header(2);
        }
        reply.bulk(field);
        if with_values {
            reply.bulk(value);
        }
    }
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.8.0",
        complexity: "O(1) for a step, O(N) for a walk through N fields",
        summary: "Walks through a hash step by step.",
        ..CommandSpec::new(
            "hscan",
            -3,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Hash,
            hscan,
        )
    }
    .with_tips(&["nondeterministic_output"])
    .with_syntax(
        "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOVALUES]@7.4.0",
    ),
    CommandSpec {
        since: "6.2.0",
        complexity: "O(N) for N fields returned",
        summary: "Picks fields of a hash at random.",
        ..CommandSpec::new(
            "hrandfield",
            -2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Hash,
            hrandfield,
        )
    }
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key options[count:integer [WITHVALUES]]"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;
    use std::collections::BTreeSet;

    #[test]
    fn scan_of_a_small_hash() {
        TestServer::new().check_all(&[
            ("HSCAN h 0", "[\"0\" []]"),
            ("HSCAN h 0 FOO", "[\"0\" []]"),
            ("HSCAN h x", "-ERR invalid cursor"),
            ("HSET h f 1", ":1"),
            ("HSCAN h 0", "[\"0\" [\"f\" \"1\"]]"),
            ("HSCAN h 0 NOVALUES", "[\"0\" [\"f\"]]"),
            ("HSCAN h 0 MATCH g*", "[\"0\" []]"),
            ("HSCAN h 0 MATCH f* COUNT 100", "[\"0\" [\"f\" \"1\"]]"),
            ("HSCAN h 0 FOO", "-ERR syntax error"),
            ("HSCAN h 0 TYPE hash", "-ERR syntax error"),
            ("HSCAN h 0 COUNT 0", "-ERR syntax error"),
            ("SET s x", "+OK"),
            (
                "HSCAN s 0",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }

    #[test]
    fn scan_of_a_large_hash_finds_every_field() {
        let mut server = TestServer::new();
        for number in 0..1000 {
            server.check(&format!("HSET h field:{number} {number}"), ":1");
        }
        let (mut cursor, mut found, mut steps) = (String::from("0"), BTreeSet::new(), 0);
        loop {
            let reply = server.run(&format!("HSCAN h {cursor} COUNT 50 NOVALUES"));
            let mut words = reply
                .split(['[', ']', ' ', '"'])
                .filter(|word| !word.is_empty());
            cursor = words.next().expect("a cursor").to_owned();
            found.extend(words.map(str::to_owned));
            steps += 1;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 1000);
        assert!(steps > 5, "{steps}");
    }

    #[test]
    fn random_fields_of_a_hash_of_one() {
        for (mut server, nothing, pairs) in [
            (TestServer::new(), "nil", "[\"f\" \"1\" \"f\" \"1\"]"),
            (TestServer::resp3(), "null", "[[\"f\" \"1\"] [\"f\" \"1\"]]"),
        ] {
            server.check_all(&[
                ("HRANDFIELD h", nothing),
                ("HRANDFIELD h 5", "[]"),
                ("HSET h f 1", ":1"),
                ("HRANDFIELD h", "\"f\""),
                ("HRANDFIELD h 0", "[]"),
                ("HRANDFIELD h 5", "[\"f\"]"),
                ("HRANDFIELD h -3", "[\"f\" \"f\" \"f\"]"),
                ("HRANDFIELD h -2 WITHVALUES", pairs),
            ]);
        }
    }

    #[test]
    fn random_fields_differ() {
        let mut server = TestServer::new();
        server.check("HSET h a 1 b 2 c 3 d 4", ":4");
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let reply = server.run("HRANDFIELD h 3");
            let fields: BTreeSet<&str> = reply.trim_matches(['[', ']']).split(' ').collect();
            assert_eq!(fields.len(), 3, "{reply}");
            seen.insert(fields.into_iter().map(str::to_owned).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 4, "every set of three");
        let all = server.run("HRANDFIELD h 4 withvalues");
        assert_eq!(all.split(' ').count(), 8);
    }

    #[test]
    fn random_field_errors() {
        TestServer::new().check_all(&[
            ("HRANDFIELD h x", "-ERR value is not an integer or out of range"),
            ("HRANDFIELD h 1 FOO", "-ERR syntax error"),
            ("HRANDFIELD h 1 WITHVALUES x", "-ERR syntax error"),
            ("HRANDFIELD h 9223372036854775807 WITHVALUES", "-ERR value is out of range"),
            (
                "HRANDFIELD h -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
            ),
            ("SET s x", "+OK"),
            ("HRANDFIELD s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("HRANDFIELD s 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}
