//! BLPOP, BRPOP, BLMOVE, BRPOPLPUSH and BLMPOP: as their namesakes without B, but they wait where those reply null.
//!
//! Being woken is being run again from the start, so there is one function for both cases.

use super::access::KeyUse;
use super::collections::MultiplePop;
use super::context::{BlockRequest, Context};
use super::lists::{end_item, notify_pop};
use super::lists_move::{move_item, pop_from_first, side};
use super::options::timeout_deadline_ms;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::CommandResult;
use crate::resp::Reply;
use storage_format::{Effect, Side, ValueKind};

/// Waits for one of these lists.
fn wait_for(
    context: &mut Context<'_>,
    keys: &[&[u8]],
    deadline_ms: Option<u64>,
    reply: &mut Reply<'_>,
) {
    let request = BlockRequest::for_one_of(ValueKind::List, keys, deadline_ms);
    context.block(request, reply);
}

fn blocking_pop(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    from: Side,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (timeout, keys) = (
        arguments[arguments.len() - 1],
        &arguments[1..arguments.len() - 1],
    );
    let deadline_ms = timeout_deadline_ms(timeout, context.now_ms)?;
    for key in keys {
        if let Some(list) = context.keys.list(key)? {
            reply.array_header(2);
            reply.bulk(key);
            reply.bulk_or_null(end_item(list, from));
            let popped = Effect::ListPop {
                side: from,
                count: 1,
            };
            let applied = context.keys.apply(key, popped)?;
            notify_pop(&mut context.keys, key, from, applied);
            return Ok(());
        }
    }
    wait_for(context, keys, deadline_ms, reply);
    Ok(())
}

/// `BLPOP key [key ...] timeout`
fn blpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    blocking_pop(context, arguments, Side::Left, reply)
}

/// `BRPOP key [key ...] timeout`
fn brpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    blocking_pop(context, arguments, Side::Right, reply)
}

fn blocking_move(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    (from, to): (Side, Side),
    reply: &mut Reply<'_>,
) -> CommandResult {
    let timeout = arguments[arguments.len() - 1];
    let deadline_ms = timeout_deadline_ms(timeout, context.now_ms)?;
    let (source, destination) = (arguments[1], arguments[2]);
    if move_item(&mut context.keys, (source, from), (destination, to), reply)? {
        return Ok(());
    }
    if context.may_block {
        wait_for(context, &[source], deadline_ms, reply);
    } else {
        // Unlike on a timeout, where it is a null array.
        reply.null();
    }
    Ok(())
}

/// BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout
fn blmove(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let ends = (side(arguments[3])?, side(arguments[4])?);
    blocking_move(context, arguments, ends, reply)
}

/// BRPOPLPUSH source destination timeout
fn brpoplpush(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    blocking_move(context, arguments, (Side::Right, Side::Left), reply)
}

/// `BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]`
fn blmpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let wanted = MultiplePop::parse(arguments, 2, side)?;
    let deadline_ms = timeout_deadline_ms(arguments[1], context.now_ms)?;
    if !pop_from_first(&mut context.keys, &wanted, reply)? {
        wait_for(context, wanted.keys, deadline_ms, reply);
    }
    Ok(())
}

const POPPING: Flags = Flags::WRITE.and(Flags::BLOCKING);
const MOVING: Flags = POPPING.and(Flags::DENYOOM);
/// All arguments but the last, which is the timeout.
const ALL_BUT_LAST: &[KeySpec] = &[KeySpec::Range {
    first: 1,
    last: -2,
    step: 1,
}];

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N) for N keys",
        summary: "Takes an element from the front of the first list that has one, and waits if none has.",
        ..CommandSpec::new("blpop", -3, POPPING, ALL_BUT_LAST, Group::List, blpop)
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key... timeout:double")
    .with_history(&[("6.0.0", "The timeout may have decimals.")]),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N) for N keys",
        summary: "Takes an element from the end of the first list that has one, and waits if none has.",
        ..CommandSpec::new("brpop", -3, POPPING, ALL_BUT_LAST, Group::List, brpop)
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key... timeout:double")
    .with_history(&[("6.0.0", "The timeout may have decimals.")]),
    CommandSpec {
        since: "6.2.0",
        summary: "Moves an element between two lists, at the ends that are asked for, and waits if there is none.",
        ..CommandSpec::new("blmove", 6, MOVING, KeySpec::FIRST_TWO, Group::List, blmove)
    }.with_key_uses(&[KeyUse::TAKE.at(1, 1), KeyUse::INSERT.at(2, 2)])
    .with_syntax(
        "source:key destination:key wherefrom<LEFT | RIGHT> whereto<LEFT | RIGHT> \
         timeout:double",
    ),
    CommandSpec {
        since: "2.2.0",
        summary: "Moves an element from the end of one list to the front of another, and waits if there is none.",
        ..CommandSpec::new(
            "brpoplpush",
            4,
            MOVING,
            KeySpec::FIRST_TWO,
            Group::List,
            brpoplpush,
        )
    }.with_key_uses(&[KeyUse::TAKE.at(1, 1), KeyUse::INSERT.at(2, 2)])
    .with_syntax("source:key destination:key timeout:double")
    .with_deprecated("6.2.0", "`BLMOVE source destination RIGHT LEFT timeout`")
    .with_history(&[("6.0.0", "The timeout may have decimals.")]),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(N+M) for N keys and M elements returned",
        summary: "Takes elements from the first list that has any, and waits if none has.",
        ..CommandSpec::new(
            "blmpop",
            -5,
            POPPING.and(Flags::MOVABLE_KEYS),
            &[KeySpec::Counted { count_index: 2 }],
            Group::List,
            blmpop,
        )
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax(
        "timeout:double numkeys:integer key... where<LEFT | RIGHT> [COUNT count:integer]",
    ),
];
