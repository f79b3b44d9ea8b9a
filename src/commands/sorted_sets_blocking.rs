//! BZPOPMIN, BZPOPMAX and BZMPOP: as their namesakes without B, but they wait where those find nothing.

use super::access::KeyUse;
use super::collections::MultiplePop;
use super::context::{BlockRequest, Context};
use super::options::timeout_deadline_ms;
use super::sorted_sets_pop::{ScoreEnd, pop_from_first, pop_members};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::CommandResult;
use crate::resp::Reply;
use storage_format::ValueKind;

fn wait_for(
    context: &mut Context<'_>,
    keys: &[&[u8]],
    deadline_ms: Option<u64>,
    reply: &mut Reply<'_>,
) {
    let request = BlockRequest::for_one_of(ValueKind::SortedSet, keys, deadline_ms);
    context.block(request, reply);
}

fn blocking_pop(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    end: ScoreEnd,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (timeout, keys) = (
        arguments[arguments.len() - 1],
        &arguments[1..arguments.len() - 1],
    );
    let deadline_ms = timeout_deadline_ms(timeout, context.now_ms)?;
    for key in keys {
        let (popped, scores) = pop_members(&mut context.keys, key, end, 1)?;
        if let ([member], [score]) = (&popped.slices()[..], &scores[..]) {
            reply.array_header(3);
            reply.bulk(key);
            reply.bulk(member);
            reply.double(*score);
            return Ok(());
        }
    }
    wait_for(context, keys, deadline_ms, reply);
    Ok(())
}

/// `BZPOPMIN key [key ...] timeout`
fn bzpopmin(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    blocking_pop(context, arguments, ScoreEnd::Least, reply)
}

/// `BZPOPMAX key [key ...] timeout`
fn bzpopmax(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    blocking_pop(context, arguments, ScoreEnd::Greatest, reply)
}

/// `BZMPOP timeout numkeys key [key ...] MIN|MAX [COUNT count]`
fn bzmpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let wanted = MultiplePop::parse(arguments, 2, ScoreEnd::parse)?;
    let deadline_ms = timeout_deadline_ms(arguments[1], context.now_ms)?;
    if !pop_from_first(&mut context.keys, &wanted, reply)? {
        wait_for(context, wanted.keys, deadline_ms, reply);
    }
    Ok(())
}

const POPPING: Flags = Flags::WRITE.and(Flags::BLOCKING);
/// All arguments but the last, which is the timeout.
const ALL_BUT_LAST: &[KeySpec] = &[KeySpec::Range {
    first: 1,
    last: -2,
    step: 1,
}];

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "5.0.0",
        complexity: "O(log(N)) for N members in the set",
        summary: "Takes the member with the lowest score from the first sorted set that has any, and waits if none has.",
        ..CommandSpec::new(
            "bzpopmin",
            -3,
            POPPING.and(Flags::FAST),
            ALL_BUT_LAST,
            Group::SortedSet,
            bzpopmin,
        )
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key... timeout:double")
    .with_history(&[("6.0.0", "The timeout may have decimals.")]),
    CommandSpec {
        since: "5.0.0",
        complexity: "O(log(N)) for N members in the set",
        summary: "Takes the member with the highest score from the first sorted set that has any, and waits if none has.",
        ..CommandSpec::new(
            "bzpopmax",
            -3,
            POPPING.and(Flags::FAST),
            ALL_BUT_LAST,
            Group::SortedSet,
            bzpopmax,
        )
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key... timeout:double")
    .with_history(&[("6.0.0", "The timeout may have decimals.")]),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(K)+O(M*log(N)) for K keys and M members returned, N being those in the set",
        summary: "Takes members from the low or the high end of the first sorted set that has any, and waits if none has.",
        ..CommandSpec::new(
            "bzmpop",
            -5,
            POPPING.and(Flags::MOVABLE_KEYS),
            &[KeySpec::Counted { count_index: 2 }],
            Group::SortedSet,
            bzmpop,
        )
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax("timeout:double numkeys:integer key... where<MIN | MAX> [COUNT count:integer]"),
];
