//! Lists: pushing, popping, reading and changing by index.
//!
//! Moving items between lists is in `lists_move`, finding them by value in `lists_search`.

use super::access::KeyUse;
use super::collections::{element_count, ensure_room_for, positions};
use super::context::Context;
use super::options::{integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Applied, EventClasses, Keys};
use crate::resp::Reply;
use crate::resp::reply::EMPTY_ARRAY;
use crate::value::List;
use storage_format::{Effect, Side};

/// `LPUSH key element [element ...]`
fn lpush(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    push(context, arguments, reply, Side::Left)
}

/// `RPUSH key element [element ...]`
fn rpush(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    push(context, arguments, reply, Side::Right)
}

/// `LPUSHX key element [element ...]`
fn lpushx(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    push_if_exists(context, arguments, reply, Side::Left)
}

/// `RPUSHX key element [element ...]`
fn rpushx(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    push_if_exists(context, arguments, reply, Side::Right)
}

fn push_if_exists(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    side: Side,
) -> CommandResult {
    if context.keys.list(arguments[1])?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    push(context, arguments, reply, side)
}

fn push(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    side: Side,
) -> CommandResult {
    let items = arguments[2..].into();
    let applied = context
        .keys
        .apply(arguments[1], Effect::ListPush { side, items })?;
    notify_push(&mut context.keys, arguments[1], side);
    reply.count(applied.length as usize);
    Ok(())
}

/// Tells of items that were pushed.
pub(super) fn notify_push(keys: &mut Keys<'_>, key: &[u8], side: Side) {
    let name = match side {
        Side::Left => "lpush",
        Side::Right => "rpush",
    };
    keys.notify(EventClasses::LIST, name, key);
}

/// Tells of items that were popped, and of the list's end if they were the last ones.
pub(super) fn notify_pop(keys: &mut Keys<'_>, key: &[u8], side: Side, applied: Applied) {
    let name = match side {
        Side::Left => "lpop",
        Side::Right => "rpop",
    };
    keys.notify_removal(EventClasses::LIST, name, key, applied);
}

/// `LPOP key [count]`
fn lpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if arguments.len() > 3 {
        return Err(CommandError::wrong_arity("lpop"));
    }
    pop(context, arguments, reply, Side::Left)
}

/// `RPOP key [count]`
fn rpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if arguments.len() > 3 {
        return Err(CommandError::wrong_arity("rpop"));
    }
    pop(context, arguments, reply, Side::Right)
}

fn pop(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    side: Side,
) -> CommandResult {
    let key = arguments[1];
    let Some(count) = arguments.get(2) else {
        return pop_one(&mut context.keys, key, side, reply);
    };
    let count = element_count(count)?;
    match context.keys.list(key)? {
        None => reply.null_array(),
        Some(_) if count == 0 => reply.raw(EMPTY_ARRAY),
        Some(_) => pop_items(&mut context.keys, key, side, count, reply)?,
    }
    Ok(())
}

fn pop_one(keys: &mut Keys<'_>, key: &[u8], side: Side, reply: &mut Reply<'_>) -> CommandResult {
    let Some(list) = keys.list(key)? else {
        reply.null();
        return Ok(());
    };
    reply.bulk_or_null(end_item(list, side));
    let applied = keys.apply(key, Effect::ListPop { side, count: 1 })?;
    notify_pop(keys, key, side, applied);
    Ok(())
}

/// The item at one end.
pub(super) fn end_item(list: &List, side: Side) -> Option<&[u8]> {
    match side {
        Side::Left => list.get(0),
        Side::Right => list.get(list.len().checked_sub(1)?),
    }
}

/// Removes up to `count` items at one end and writes them as an array, in the order of popping. For BLPOP's and
/// BLMPOP's sake it does not care which command asks.
pub(super) fn pop_items(
    keys: &mut Keys<'_>,
    key: &[u8],
    side: Side,
    count: usize,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let Some(list) = keys.list(key)? else {
        reply.raw(EMPTY_ARRAY);
        return Ok(());
    };
    let count = count.min(list.len());
    reply.array_header(count);
    match side {
        Side::Left => list.range(0, count).for_each(|item| reply.bulk(item)),
        Side::Right => {
            let items = list.range(list.len() - count, count);
            items.rev().for_each(|item| reply.bulk(item));
        }
    }
    let count = count as u64;
    let applied = keys.apply(key, Effect::ListPop { side, count })?;
    notify_pop(keys, key, side, applied);
    Ok(())
}

/// LLEN key
fn llen(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let list = context.keys.list(arguments[1])?;
    reply.count(list.map_or(0, List::len));
    Ok(())
}

/// The position that an index means: below 0 it counts from the end.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 {
        index + length as i64
    } else {
        index
    };
    usize::try_from(index)
        .ok()
        .filter(|position| *position < length)
}

/// LINDEX key index
fn lindex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let Some(list) = context.keys.list(arguments[1])? else {
        reply.null();
        return Ok(());
    };
    let position = position(integer(arguments[2])?, list.len());
    reply.bulk_or_null(position.and_then(|position| list.get(position)));
    Ok(())
}

/// LSET key index element
fn lset(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, item) = (arguments[1], arguments[3]);
    let list = context.keys.list(key)?.ok_or(CommandError::NO_SUCH_KEY)?;
    let index = position(integer(arguments[2])?, list.len())
        .ok_or(CommandError::INDEX_OUT_OF_RANGE)? as u64;
    context.keys.apply(key, Effect::ListSet { index, item })?;
    context.keys.notify(EventClasses::LIST, "lset", key);
    reply.ok();
    Ok(())
}

/// LINSERT key BEFORE|AFTER pivot element
fn linsert(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, pivot, item) = (arguments[1], arguments[3], arguments[4]);
    let behind = match arguments[2] {
        word if is_keyword(word, "before") => 0,
        word if is_keyword(word, "after") => 1,
        _ => return Err(CommandError::SYNTAX),
    };
    let Some(list) = context.keys.list(key)? else {
        reply.integer(0);
        return Ok(());
    };
    let Some(found) = list.iter().position(|item| item == pivot) else {
        reply.integer(-1);
        return Ok(());
    };
    let index = found as u64 + behind;
    let applied = context
        .keys
        .apply(key, Effect::ListInsert { index, item })?;
    context.keys.notify(EventClasses::LIST, "linsert", key);
    reply.count(applied.length as usize);
    Ok(())
}

/// LRANGE key start stop
fn lrange(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (start, end) = (integer(arguments[2])?, integer(arguments[3])?);
    let Some(list) = context.keys.list(arguments[1])? else {
        reply.raw(EMPTY_ARRAY);
        return Ok(());
    };
    let range = positions(start, end, list.len());
    reply.array_header(range.len());
    list.range(range.start, range.len())
        .for_each(|item| reply.bulk(item));
    Ok(())
}

/// LTRIM key start stop
fn ltrim(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    let (start, end) = (integer(arguments[2])?, integer(arguments[3])?);
    if let Some(list) = context.keys.list(key)? {
        let length = list.len();
        let kept = positions(start, end, length);
        let tail = Effect::ListRemove {
            index: kept.end as u64,
            count: (length - kept.end) as u64,
        };
        let head = Effect::ListRemove {
            index: 0,
            count: kept.start as u64,
        };
        let effects = usize::from(kept.end < length) + usize::from(kept.start > 0);
        ensure_room_for(&context.keys, effects, key.len(), 0)?;
        if kept.end < length {
            context.keys.apply(key, tail)?;
        }
        if kept.start > 0 {
            context.keys.apply(key, head)?;
        }
        context.keys.notify(EventClasses::LIST, "ltrim", key);
        if kept.is_empty() {
            context.keys.notify(EventClasses::GENERIC, "del", key);
        }
    }
    reply.ok();
    Ok(())
}

const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROWING: Flags = Flags::WRITE.and(Flags::DENYOOM);
const GROWING_FAST: Flags = GROWING.and(Flags::FAST);
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);

const PUSH_COMPLEXITY: &str = "O(1) for each element";

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: PUSH_COMPLEXITY,
        summary: "Puts elements in front of a list; a missing key counts as an empty one.",
        ..CommandSpec::new(
            "lpush",
            -3,
            GROWING_FAST,
            KeySpec::FIRST,
            Group::List,
            lpush,
        )
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key element...")
    .with_history(&[("2.4.0", "Several elements at once.")]),
    CommandSpec {
        complexity: PUSH_COMPLEXITY,
        summary: "Puts elements at the end of a list; a missing key counts as an empty one.",
        ..CommandSpec::new(
            "rpush",
            -3,
            GROWING_FAST,
            KeySpec::FIRST,
            Group::List,
            rpush,
        )
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key element...")
    .with_history(&[("2.4.0", "Several elements at once.")]),
    CommandSpec {
        since: "2.2.0",
        complexity: PUSH_COMPLEXITY,
        summary: "Puts elements in front of a list if there is one.",
        ..CommandSpec::new(
            "lpushx",
            -3,
            GROWING_FAST,
            KeySpec::FIRST,
            Group::List,
            lpushx,
        )
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key element...")
    .with_history(&[("4.0.0", "Several elements at once.")]),
    CommandSpec {
        since: "2.2.0",
        complexity: PUSH_COMPLEXITY,
        summary: "Puts elements at the end of a list if there is one.",
        ..CommandSpec::new(
            "rpushx",
            -3,
            GROWING_FAST,
            KeySpec::FIRST,
            Group::List,
            rpushx,
        )
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key element...")
    .with_history(&[("4.0.0", "Several elements at once.")]),
    CommandSpec {
        complexity: "O(N) for N elements returned",
        summary: "Takes elements from the front of a list.",
        ..CommandSpec::new("lpop", -2, WRITE_FAST, KeySpec::FIRST, Group::List, lpop)
    }
    .with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key [count:integer]@6.2.0"),
    CommandSpec {
        complexity: "O(N) for N elements returned",
        summary: "Takes elements from the end of a list.",
        ..CommandSpec::new("rpop", -2, WRITE_FAST, KeySpec::FIRST, Group::List, rpop)
    }
    .with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key [count:integer]@6.2.0"),
    CommandSpec {
        summary: "Tells how many elements a list has.",
        ..CommandSpec::new("llen", 2, READ_FAST, KeySpec::FIRST, Group::List, llen)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key"),
    CommandSpec {
        complexity: "O(log(N)) for N elements in the list",
        summary: "Returns the element at one place of a list.",
        ..CommandSpec::new(
            "lindex",
            3,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::List,
            lindex,
        )
    }
    .with_syntax("key index:integer"),
    CommandSpec {
        complexity: "O(log(N)) for N elements in the list",
        summary: "Replaces the element at one place of a list.",
        ..CommandSpec::new("lset", 4, GROWING, KeySpec::FIRST, Group::List, lset)
    }
    .with_syntax("key index:integer element"),
    CommandSpec {
        since: "2.2.0",
        complexity: "O(N) for N elements on the way to the given one",
        summary: "Puts an element next to a given one, on the side that is asked for.",
        ..CommandSpec::new("linsert", 5, GROWING, KeySpec::FIRST, Group::List, linsert)
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key where<BEFORE | AFTER> pivot element"),
    CommandSpec {
        complexity: "O(log(N)+M) for M elements returned, N being those in the list",
        summary: "Returns the elements between two places of a list.",
        ..CommandSpec::new(
            "lrange",
            4,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::List,
            lrange,
        )
    }
    .with_syntax("key start:integer stop:integer"),
    CommandSpec {
        complexity: "O(N) for N elements that go",
        summary: "Keeps what is between two places of a list; the rest goes.",
        ..CommandSpec::new("ltrim", 4, Flags::WRITE, KeySpec::FIRST, Group::List, ltrim)
    }
    .with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key start:integer stop:integer"),
];
