//! ZPOPMIN, ZPOPMAX, ZMPOP and ZRANDMEMBER: members of a sorted set that the command chooses.

use super::access::KeyUse;
use super::collections::{CopiedItems, MultiplePop, RandomCount, element_count};
use super::context::Context;
use super::options::{integer, is_keyword};
use super::sorted_sets::write_members;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{EventClasses, Keys};
use crate::resp::Reply;
use crate::resp::reply::EMPTY_ARRAY;
use storage_format::Effect;

/// An end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScoreEnd {
    /// The members with the lowest scores.
    Least,
    /// The members with the highest scores.
    Greatest,
}

impl ScoreEnd {
    /// Reads MIN or MAX.
    pub(super) fn parse(word: &[u8]) -> Result<ScoreEnd, CommandError> {
        match word {
            word if is_keyword(word, "min") => Ok(ScoreEnd::Least),
            word if is_keyword(word, "max") => Ok(ScoreEnd::Greatest),
            _ => Err(CommandError::SYNTAX),
        }
    }
}

/// Removes up to `count` members at one end of the sorted set at `key` and returns them in the order of popping;
/// empty if there is none.
pub(super) fn pop_members(
    keys: &mut Keys<'_>,
    key: &[u8],
    end: ScoreEnd,
    count: usize,
) -> Result<(CopiedItems, Vec<f64>), CommandError> {
    let Some(members) = keys.sorted_set(key)? else {
        return Ok(Default::default());
    };
    let count = count.min(members.len());
    let found: Vec<(&[u8], f64)> = match end {
        ScoreEnd::Least => members.range(0, count).collect(),
        ScoreEnd::Greatest => {
            let found = members.range(members.len() - count, count);
            found.rev().collect()
        }
    };
    let popped: CopiedItems = found.iter().map(|(member, _)| *member).collect();
    let scores = found.iter().map(|(_, score)| *score).collect();
    let slices = popped.slices();
    if !slices.is_empty() {
        let members = slices[..].into();
        let applied = keys.apply(key, Effect::SortedSetRemove { members })?;
        let name = match end {
            ScoreEnd::Least => "zpopmin",
            ScoreEnd::Greatest => "zpopmax",
        };
        keys.notify_removal(EventClasses::SORTED_SET, name, key, applied);
    }
    Ok((popped, scores))
}

/// `ZPOPMIN key [count]`
fn zpopmin(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    pop(context, arguments, reply, ScoreEnd::Least)
}

/// `ZPOPMAX key [count]`
fn zpopmax(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    pop(context, arguments, reply, ScoreEnd::Greatest)
}

fn pop(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    end: ScoreEnd,
) -> CommandResult {
    let (key, count) = match arguments {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(element_count(count)?)),
        _ => return Err(CommandError::SYNTAX),
    };
    let (popped, scores) = pop_members(&mut context.keys, key, end, count.unwrap_or(1))?;
    let popped = popped.slices();
    if count.is_some() {
        write_members(reply, popped.into_iter().zip(scores), true);
        return Ok(());
    }
    // Without a count the reply is one flat pair, in RESP3 too.
    reply.array_header(popped.len() * 2);
    for (member, score) in popped.into_iter().zip(scores) {
        reply.bulk(member);
        reply.double(score);
    }
    Ok(())
}

/// `ZMPOP numkeys key [key ...] MIN|MAX [COUNT count]`
fn zmpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let wanted = MultiplePop::parse(arguments, 1, ScoreEnd::parse)?;
    if !pop_from_first(&mut context.keys, &wanted, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// Pops from the first of the sorted sets that exists, and writes its key and pairs of member and score (arrays in
/// both dialects). False, with nothing written, if none exists.
///
/// # Errors
/// WRONGTYPE if a key that comes before the first sorted set holds something else.
pub(super) fn pop_from_first(
    keys: &mut Keys<'_>,
    wanted: &MultiplePop<'_, ScoreEnd>,
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    for key in wanted.keys {
        let (popped, scores) = pop_members(keys, key, wanted.end, wanted.count)?;
        if scores.is_empty() {
            continue;
        }
        reply.array_header(2);
        reply.bulk(key);
        reply.array_header(scores.len());
        for (member, score) in popped.slices().into_iter().zip(scores) {
            reply.array_header(2);
            reply.bulk(member);
            reply.double(score);
        }
        return Ok(true);
    }
    Ok(false)
}

/// `ZRANDMEMBER key [count [WITHSCORES]]`
fn zrandmember(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, count, with_scores) = match arguments {
        [_, key] => (key, None, false),
        [_, key, count] => (key, Some(RandomCount::parse(count)?), false),
        [_, key, count, options @ ..] => {
            let count = parse_count_with_scores(count, options)?;
            (key, Some(count), true)
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let random = context.random();
    let members = context.keys.sorted_set(key)?;
    let Some(count) = count else {
        let chosen = members.and_then(|members| members.random(random));
        reply.bulk_or_null(chosen.map(|(member, _)| member));
        return Ok(());
    };
    let Some(members) = members else {
        reply.raw(EMPTY_ARRAY);
        return Ok(());
    };
    let session = &mut context.session;
    let ranks = count.choose(members.len(), || session.random());
    let chosen: Vec<(&[u8], f64)> = ranks
        .into_iter()
        .filter_map(|rank| members.get_by_rank(rank))
        .collect();
    write_members(reply, chosen.into_iter(), with_scores);
    Ok(())
}

/// The count when more arguments follow. It is looked at first, but its limit, half as high, only after them.
fn parse_count_with_scores(count: &[u8], options: &[&[u8]]) -> Result<RandomCount, CommandError> {
    const COUNT_MAX: u64 = i64::MAX as u64 / 2;
    let parsed = RandomCount::parse(count);
    if parsed.is_err() && parsed != Err(CommandError::OUT_OF_RANGE) {
        return parsed;
    }
    match options {
        [word] if is_keyword(word, "withscores") => {}
        _ => return Err(CommandError::SYNTAX),
    }
    if integer(count)?.unsigned_abs() > COUNT_MAX {
        return Err(CommandError::OUT_OF_RANGE);
    }
    parsed
}

const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const POP_COMPLEXITY: &str = "O(M*log(N)) for M members returned, N being those in the set";

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "5.0.0",
        complexity: POP_COMPLEXITY,
        summary: "Takes the members with the lowest scores from a sorted set.",
        ..CommandSpec::new(
            "zpopmin",
            -2,
            WRITE_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zpopmin,
        )
    }
    .with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key [count:integer]"),
    CommandSpec {
        since: "5.0.0",
        complexity: POP_COMPLEXITY,
        summary: "Takes the members with the highest scores from a sorted set.",
        ..CommandSpec::new(
            "zpopmax",
            -2,
            WRITE_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zpopmax,
        )
    }
    .with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key [count:integer]"),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(K)+O(M*log(N)) for K keys and M members returned, N being those in the set",
        summary: "Takes members from the low or the high end of the first sorted set that has any.",
        ..CommandSpec::new(
            "zmpop",
            -4,
            Flags::WRITE.and(Flags::MOVABLE_KEYS),
            &[KeySpec::Counted { count_index: 1 }],
            Group::SortedSet,
            zmpop,
        )
    }
    .with_key_uses(&[KeyUse::TAKE])
    .with_syntax("numkeys:integer key... where<MIN | MAX> [COUNT count:integer]"),
    CommandSpec {
        since: "6.2.0",
        complexity: "O(N) for N members returned",
        summary: "Picks members of a sorted set at random.",
        ..CommandSpec::new(
            "zrandmember",
            -2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::SortedSet,
            zrandmember,
        )
    }
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key options[count:integer [WITHSCORES]]"),
];
