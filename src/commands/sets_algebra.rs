//! Intersections, unions and differences of sets.
//!
//! The operands are O(1) clones, so that nothing stays borrowed from the keyspace while a result is stored. An
//! intersection looks at the members of the smallest set only, a union adds the smaller sets to the largest, a
//! difference removes from the first set or asks the others, whichever is less work: none ever walks a large set for
//! the sake of a small one, but for replies that list it.

use super::access::KeyUse;
use super::collections::{count_or, store_result};
use super::context::Context;
use super::options::{Options, is_keyword};
use super::sets::write_set;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{EventClasses, Keys};
use crate::resp::Reply;
use crate::value::{Set, Value};

/// The sets at `keys`; those that do not exist are empty. Looking for them is reading, whatever becomes of the result.
///
/// # Errors
/// WRONGTYPE if any is no set.
fn operands(keys: &mut Keys<'_>, names: &[&[u8]]) -> Result<Vec<Set>, CommandError> {
    keys.counts_lookups = true;
    names
        .iter()
        .map(|name| Ok(keys.set(name)?.cloned().unwrap_or_default()))
        .collect()
}

/// The members that all sets have, in the order of the smallest set.
fn common(sets: &mut [Set]) -> impl Iterator<Item = &[u8]> {
    sets.sort_by_key(Set::len);
    let (smallest, others) = match &*sets {
        [smallest, others @ ..] => (Some(smallest), others),
        [] => (None, &[][..]),
    };
    smallest
        .into_iter()
        .flat_map(Set::iter)
        .filter(move |member| others.iter().all(|other| other.contains(member)))
}

fn union(mut sets: Vec<Set>) -> Set {
    sets.sort_by_key(Set::len);
    let mut result = sets.pop().unwrap_or_default();
    for member in sets.iter().flat_map(Set::iter) {
        result.insert(member);
    }
    result
}

/// What the first set has and no other.
fn difference(sets: &[Set]) -> Set {
    let Some((first, others)) = sets.split_first() else {
        return Set::default();
    };
    let mut result = first.clone();
    // Asking stops at the first set that has the member, so on average it costs half of the product.
    let asking = first.len().saturating_mul(others.len()) / 2;
    let removing: usize = others.iter().map(Set::len).sum();
    if removing < asking {
        for member in others.iter().flat_map(Set::iter) {
            result.remove(member);
        }
    } else {
        for member in first.iter() {
            if others.iter().any(|other| other.contains(member)) {
                result.remove(member);
            }
        }
    }
    result
}

fn store(
    context: &mut Context<'_>,
    (name, key): (&'static str, &[u8]),
    result: Set,
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply.count(result.len());
    let result = Value::Set(result);
    store_result(&mut context.keys, key, result, (EventClasses::SET, name))
}

/// `SINTER key [key ...]`
fn sinter(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let mut sets = operands(&mut context.keys, &arguments[1..])?;
    let result = reply.begin_deferred();
    let mut count = 0;
    for member in common(&mut sets) {
        reply.bulk(member);
        count += 1;
    }
    reply.end_deferred_set(result, count);
    Ok(())
}

/// `SINTERSTORE destination key [key ...]`
fn sinterstore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut sets = operands(&mut context.keys, &arguments[2..])?;
    let mut result = Set::default();
    for member in common(&mut sets) {
        result.insert(member);
    }
    store(context, ("sinterstore", arguments[1]), result, reply)
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`
fn sintercard(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const NO_KEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
    const TOO_MANY_KEYS: CommandError =
        CommandError::fixed("ERR Number of keys can't be greater than number of args");
    const BAD_LIMIT: CommandError = CommandError::fixed("ERR LIMIT can't be negative");
    let key_count = count_or(arguments[1], 1, NO_KEYS)?;
    let (names, options) = arguments[2..]
        .split_at_checked(key_count)
        .ok_or(TOO_MANY_KEYS)?;
    let mut limit = 0;
    let mut options = Options::new(options, 0);
    while let Some(word) = options.next() {
        if !is_keyword(word, "limit") {
            return Err(CommandError::SYNTAX);
        }
        limit = count_or(options.value()?, 0, BAD_LIMIT)?;
    }
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut sets = operands(&mut context.keys, names)?;
    reply.count(common(&mut sets).take(limit).count());
    Ok(())
}

/// `SUNION key [key ...]`
fn sunion(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let sets = operands(&mut context.keys, &arguments[1..])?;
    write_set(reply, &union(sets));
    Ok(())
}

/// `SUNIONSTORE destination key [key ...]`
fn sunionstore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let result = union(operands(&mut context.keys, &arguments[2..])?);
    store(context, ("sunionstore", arguments[1]), result, reply)
}

/// `SDIFF key [key ...]`
fn sdiff(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let sets = operands(&mut context.keys, &arguments[1..])?;
    write_set(reply, &difference(&sets));
    Ok(())
}

/// `SDIFFSTORE destination key [key ...]`
fn sdiffstore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let sets = operands(&mut context.keys, &arguments[2..])?;
    let result = difference(&sets);
    store(context, ("sdiffstore", arguments[1]), result, reply)
}

const STORING: Flags = Flags::WRITE.and(Flags::DENYOOM);

const INTERSECTION_COMPLEXITY: &str = "O(N*M) at worst, N being the size of the smallest of M sets";
const TOTAL_COMPLEXITY: &str = "O(N) for N members in all sets together";

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: INTERSECTION_COMPLEXITY,
        summary: "Returns the members that all of several sets have.",
        ..CommandSpec::new(
            "sinter",
            -2,
            Flags::READONLY,
            KeySpec::ALL,
            Group::Set,
            sinter,
        )
    }
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("key..."),
    CommandSpec {
        complexity: INTERSECTION_COMPLEXITY,
        summary: "Stores the members that all of several sets have.",
        ..CommandSpec::new(
            "sinterstore",
            -3,
            STORING,
            KeySpec::ALL,
            Group::Set,
            sinterstore,
        )
    }
    .with_key_uses(&[KeyUse::UPDATE.at(1, 1), KeyUse::READ.at(2, -1)])
    .with_syntax("destination:key key..."),
    CommandSpec {
        since: "7.0.0",
        complexity: INTERSECTION_COMPLEXITY,
        summary: "Tells how many members all of several sets have.",
        ..CommandSpec::new(
            "sintercard",
            -3,
            Flags::READONLY.and(Flags::MOVABLE_KEYS),
            &[KeySpec::Counted { count_index: 1 }],
            Group::Set,
            sintercard,
        )
    }
    .with_syntax("numkeys:integer key... [LIMIT limit:integer]"),
    CommandSpec {
        complexity: TOTAL_COMPLEXITY,
        summary: "Returns the members that any of several sets has.",
        ..CommandSpec::new(
            "sunion",
            -2,
            Flags::READONLY,
            KeySpec::ALL,
            Group::Set,
            sunion,
        )
    }
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("key..."),
    CommandSpec {
        complexity: TOTAL_COMPLEXITY,
        summary: "Stores the members that any of several sets has.",
        ..CommandSpec::new(
            "sunionstore",
            -3,
            STORING,
            KeySpec::ALL,
            Group::Set,
            sunionstore,
        )
    }
    .with_key_uses(&[KeyUse::REPLACE.at(1, 1), KeyUse::READ.at(2, -1)])
    .with_syntax("destination:key key..."),
    CommandSpec {
        complexity: TOTAL_COMPLEXITY,
        summary: "Returns the members of the first set that no other one has.",
        ..CommandSpec::new(
            "sdiff",
            -2,
            Flags::READONLY,
            KeySpec::ALL,
            Group::Set,
            sdiff,
        )
    }
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("key..."),
    CommandSpec {
        complexity: TOTAL_COMPLEXITY,
        summary: "Stores the members of the first set that no other one has.",
        ..CommandSpec::new(
            "sdiffstore",
            -3,
            STORING,
            KeySpec::ALL,
            Group::Set,
            sdiffstore,
        )
    }
    .with_key_uses(&[KeyUse::REPLACE.at(1, 1), KeyUse::READ.at(2, -1)])
    .with_syntax("destination:key key..."),
];
