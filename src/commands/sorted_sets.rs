//! Sorted sets: changing members and scores, and asking for single members.
//!
//! Ranges are in `sorted_sets_range` and `sorted_sets_remove`, what pops or chooses members in `sorted_sets_pop`,
//! operations between sorted sets in `sorted_sets_algebra`.
//!
//! Effects name the resulting scores, never an increment or a condition.

use super::access::KeyUse;
use super::collections::write_scan;
use super::context::Context;
use super::options::{Options, ScanOptions, cursor, double, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::glob;
use crate::keyspace::EventClasses;
use crate::resp::number::format_double;
use crate::resp::{Protocol, Reply};
use crate::value::SortedSet;
use hashbrown::HashMap;
use storage_format::Effect;

/// Writes members as WITHSCORES does: in RESP2 one flat array, in RESP3 an array of pairs. Without scores, just the
/// members.
pub(super) fn write_members<'a>(
    reply: &mut Reply<'_>,
    members: impl ExactSizeIterator<Item = (&'a [u8], f64)>,
    with_scores: bool,
) {
    let nested = with_scores && reply.protocol() == Protocol::Resp3;
    let flat_scores = with_scores && !nested;
    reply.array_header(members.len() * if flat_scores { 2 } else { 1 });
    for (member, score) in members {
        if nested {
            reply.array_header(2);
        }
        reply.bulk(member);
        if with_scores {
            reply.double(score);
        }
    }
}

/// What ZADD's options allow.
#[derive(Clone, Copy, Default, Debug)]
struct AddOptions {
    only_new: bool,
    only_existing: bool,
    only_greater: bool,
    only_less: bool,
    counts_changed: bool,
    increments: bool,
}

impl AddOptions {
    /// Reads the options from index 2 on; returns the index of the first score too.
    fn parse(arguments: &[&[u8]]) -> (AddOptions, usize) {
        let mut options = AddOptions::default();
        for (index, word) in arguments.iter().enumerate().skip(2) {
            let option = match word {
                word if is_keyword(word, "nx") => &mut options.only_new,
                word if is_keyword(word, "xx") => &mut options.only_existing,
                word if is_keyword(word, "gt") => &mut options.only_greater,
                word if is_keyword(word, "lt") => &mut options.only_less,
                word if is_keyword(word, "ch") => &mut options.counts_changed,
                word if is_keyword(word, "incr") => &mut options.increments,
                _ => return (options, index),
            };
            *option = true;
        }
        (options, arguments.len())
    }

    /// True if every pair simply gets its score.
    fn is_unconditional(self) -> bool {
        let conditional =
            self.only_new || self.only_existing || self.only_greater || self.only_less;
        !conditional && !self.increments
    }

    /// Refuses what excludes each other.
    fn check(self, pairs: usize) -> CommandResult {
        let message = if self.only_new && self.only_existing {
            "ERR XX and NX options at the same time are not compatible"
        } else if [self.only_new, self.only_greater, self.only_less]
            .iter()
            .filter(|set| **set)
            .count()
            > 1
        {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.increments && pairs > 1 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(CommandError::fixed(message))
    }

    /// The score that a member gets which has `current` now; `None` if the options forbid to touch it.
    fn resulting_score(
        self,
        current: Option<f64>,
        score: f64,
    ) -> Result<Option<f64>, CommandError> {
        const NOT_A_NUMBER: CommandError =
            CommandError::fixed("ERR resulting score is not a number (NaN)");
        let Some(current) = current else {
            return Ok((!self.only_existing).then_some(score));
        };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increments {
            current + score
        } else {
            score
        };
        if score.is_nan() {
            return Err(NOT_A_NUMBER);
        }
        let forbidden = self.only_less && score >= current || self.only_greater && score <= current;
        Ok((!forbidden).then_some(score))
    }
}

/// What ZADD with conditions or an increment is going to do.
#[derive(Default)]
struct Plan<'a> {
    changes: Vec<(f64, &'a [u8])>,
    added: usize,
    updated: usize,
    /// The score of the last member that the options let through, changed or not.
    last_score: Option<f64>,
}

impl<'a> Plan<'a> {
    /// Decides for one pair after the other; a member that comes twice meets its first score the second time.
    fn new(
        existing: Option<&SortedSet>,
        options: AddOptions,
        pairs: &[(f64, &'a [u8])],
    ) -> Result<Plan<'a>, CommandError> {
        let mut plan = Plan::default();
        let mut pending: HashMap<&[u8], f64> = HashMap::new();
        for &(score, member) in pairs {
            let earlier = pending.get(member).copied();
            let current = earlier.or_else(|| existing?.score(member));
            let Some(result) = options.resulting_score(current, score)? else {
                continue;
            };
            plan.last_score = Some(result);
            match current {
                None => plan.added += 1,
                Some(current) if current != result => plan.updated += 1,
                Some(_) => continue,
            }
            plan.changes.push((result, member));
            if pairs.len() > 1 {
                pending.insert(member, result);
            }
        }
        Ok(plan)
    }
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]`
pub(super) fn zadd(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    add(context, arguments, reply, false)
}

/// ZINCRBY key increment member
fn zincrby(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    add(context, arguments, reply, true)
}

fn add(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    increments: bool,
) -> CommandResult {
    let key = arguments[1];
    let (mut options, first) = AddOptions::parse(arguments);
    options.increments |= increments;
    let (pairs, rest) = arguments[first..].as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    options.check(pairs.len())?;
    let pairs: Vec<(f64, &[u8])> = pairs
        .iter()
        .map(|[score, member]| Ok((double(score)?, *member)))
        .collect::<Result<_, CommandError>>()?;
    if options.is_unconditional() {
        let members = pairs[..].into();
        let applied = context.keys.apply(key, Effect::SortedSetPut { members })?;
        if applied.added_or_removed + applied.updated > 0 {
            context.keys.notify(EventClasses::SORTED_SET, "zadd", key);
        }
        let updated = if options.counts_changed {
            applied.updated
        } else {
            0
        };
        reply.count((applied.added_or_removed + updated) as usize);
        return Ok(());
    }
    add_conditionally(context, key, options, &pairs, reply)
}

/// Decides about each pair first; the effect has those that change something.
fn add_conditionally(
    context: &mut Context<'_>,
    key: &[u8],
    options: AddOptions,
    pairs: &[(f64, &[u8])],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let plan = Plan::new(context.keys.sorted_set(key)?, options, pairs)?;
    match plan.last_score {
        Some(score) if options.increments => reply.double(score),
        None if options.increments => reply.null(),
        _ if options.counts_changed => reply.count(plan.added + plan.updated),
        _ => reply.count(plan.added),
    }
    if !plan.changes.is_empty() {
        let members = plan.changes[..].into();
        context.keys.apply(key, Effect::SortedSetPut { members })?;
        let name = if options.increments { "zincr" } else { "zadd" };
        context.keys.notify(EventClasses::SORTED_SET, name, key);
    }
    Ok(())
}

/// `ZREM key member [member ...]`
fn zrem(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let members = arguments[2..].into();
    let effect = Effect::SortedSetRemove { members };
    let applied = context.keys.apply(arguments[1], effect)?;
    context
        .keys
        .notify_removal(EventClasses::SORTED_SET, "zrem", arguments[1], applied);
    reply.count(applied.added_or_removed as usize);
    Ok(())
}

/// ZCARD key
fn zcard(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let sorted_set = context.keys.sorted_set(arguments[1])?;
    reply.count(sorted_set.map_or(0, SortedSet::len));
    Ok(())
}

fn double_or_null(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

/// ZSCORE key member
fn zscore(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let sorted_set = context.keys.sorted_set(arguments[1])?;
    let score = sorted_set.and_then(|sorted_set| sorted_set.score(arguments[2]));
    double_or_null(reply, score);
    Ok(())
}

/// `ZMSCORE key member [member ...]`
fn zmscore(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let sorted_set = context.keys.sorted_set(arguments[1])?;
    let members = &arguments[2..];
    reply.array_header(members.len());
    for member in members {
        let score = sorted_set.and_then(|sorted_set| sorted_set.score(member));
        double_or_null(reply, score);
    }
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`
fn zrank(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    rank(context, arguments, reply, |rank, _| rank)
}

/// `ZREVRANK key member [WITHSCORE]`
fn zrevrank(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    rank(context, arguments, reply, |rank, length| length - 1 - rank)
}

fn rank(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    counted: fn(usize, usize) -> usize,
) -> CommandResult {
    let with_score = match &arguments[3..] {
        [] => false,
        [word] if is_keyword(word, "withscore") => true,
        [_] => return Err(CommandError::SYNTAX),
        _ => {
            let name = String::from_utf8_lossy(arguments[0]).to_ascii_lowercase();
            return Err(CommandError::wrong_arity(&name));
        }
    };
    let member = arguments[2];
    let found = context.keys.sorted_set(arguments[1])?.and_then(|members| {
        let rank = members.rank(member)?;
        Some((counted(rank, members.len()), members.score(member)?))
    });
    match found {
        Some((rank, score)) if with_score => {
            reply.array_header(2);
            reply.count(rank);
            reply.double(score);
        }
        Some((rank, _)) => reply.count(rank),
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]`
fn zscan(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let cursor = cursor(arguments[2])?;
    let Some(members) = context.keys.sorted_set(arguments[1])? else {
        write_scan(reply, |_| (0, 0));
        return Ok(());
    };
    let options = ScanOptions::of_pairs(Options::new(arguments, 3), "noscores")?;
    write_scan(reply, |reply| {
        let mut written = 0;
        let mut score_text = Vec::new();
        let next = members.scan(cursor, options.count, |member, score| {
            if options
                .pattern
                .is_none_or(|pattern| glob::selects(pattern, member))
            {
                reply.bulk(member);
                written += 1;
                if options.no_values {
                    return;
                }
                // A string in RESP3 too, unlike all other scores.
                score_text.clear();
                format_double(score, &mut score_text);
                reply.bulk(&score_text);
                written += 1;
            }
        });
        (next, written)
    });
    Ok(())
}

const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROWING_FAST: Flags = WRITE_FAST.and(Flags::DENYOOM);
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "1.2.0",
        complexity: "O(log(N)) for each member, N being those in the set",
        summary: "Puts members with their scores into a sorted set; those that are there get new scores.",
        ..CommandSpec::new(
            "zadd",
            -4,
            GROWING_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zadd,
        )
    }
    .with_syntax(
        "key condition[NX | XX]@3.0.2 comparison[GT | LT]@6.2.0 [change=CH]@3.0.2 \
         [increment=INCR]@3.0.2 data<score:double member>...",
    )
    .with_history(&[("2.4.0", "Several members at once.")]),
    CommandSpec {
        since: "1.2.0",
        complexity: "O(log(N)) for N members in the set",
        summary: "Adds a number to the score of a member; a missing member counts as 0.",
        ..CommandSpec::new(
            "zincrby",
            4,
            GROWING_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zincrby,
        )
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key increment:integer member"),
    CommandSpec {
        since: "1.2.0",
        complexity: "O(M*log(N)) for M members, N being those in the set",
        summary: "Removes members from a sorted set.",
        ..CommandSpec::new(
            "zrem",
            -3,
            WRITE_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zrem,
        )
    }.with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key member...")
    .with_history(&[("2.4.0", "Several members at once.")]),
    CommandSpec {
        since: "1.2.0",
        summary: "Tells how many members a sorted set has.",
        ..CommandSpec::new(
            "zcard",
            2,
            READ_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zcard,
        )
    }.with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key"),
    CommandSpec {
        since: "1.2.0",
        summary: "Tells the score of one member.",
        ..CommandSpec::new(
            "zscore",
            3,
            READ_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zscore,
        )
    }
    .with_syntax("key member"),
    CommandSpec {
        since: "6.2.0",
        complexity: "O(N) for N members",
        summary: "Tells the scores of several members.",
        ..CommandSpec::new(
            "zmscore",
            -3,
            READ_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zmscore,
        )
    }
    .with_syntax("key member..."),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Tells the place of a member, counted from the lowest score.",
        ..CommandSpec::new(
            "zrank",
            -3,
            READ_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zrank,
        )
    }
    .with_syntax("key member [WITHSCORE]")
    .with_history(&[("7.2.0", "New: `WITHSCORE`.")]),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Tells the place of a member, counted from the highest score.",
        ..CommandSpec::new(
            "zrevrank",
            -3,
            READ_FAST,
            KeySpec::FIRST,
            Group::SortedSet,
            zrevrank,
        )
    }
    .with_syntax("key member [WITHSCORE]")
    .with_history(&[("7.2.0", "New: `WITHSCORE`.")]),
    CommandSpec {
        since: "2.8.0",
        complexity: "O(1) for a step, O(N) for a walk through N members",
        summary: "Walks through a sorted set step by step.",
        ..CommandSpec::new(
            "zscan",
            -3,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::SortedSet,
            zscan,
        )
    }.with_tips(&["nondeterministic_output"])
    .with_syntax(
        "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOSCORES]@8.0.0",
    ),
];
