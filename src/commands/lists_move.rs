//! LMOVE, RPOPLPUSH and LMPOP: taking items from the first list that has some, and moving them.
//!
//! The two functions that do the work tell whether there was anything to take, so that the blocking variants can use
//! them: they wait where these reply null.

use super::access::KeyUse;
use super::collections::{MultiplePop, ensure_room_for};
use super::context::Context;
use super::lists::{end_item, notify_pop, notify_push, pop_items};
use super::options::is_keyword;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Applied, Keys};
use crate::resp::Reply;
use storage_format::{Effect, Side};

/// Reads LEFT or RIGHT.
pub(super) fn side(word: &[u8]) -> Result<Side, CommandError> {
    match word {
        word if is_keyword(word, "left") => Ok(Side::Left),
        word if is_keyword(word, "right") => Ok(Side::Right),
        _ => Err(CommandError::SYNTAX),
    }
}

/// LMOVE source destination LEFT|RIGHT LEFT|RIGHT
fn lmove(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (side(arguments[3])?, side(arguments[4])?);
    move_or_null(context, arguments, from, to, reply)
}

/// RPOPLPUSH source destination
fn rpoplpush(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    move_or_null(context, arguments, Side::Right, Side::Left, reply)
}

fn move_or_null(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    from: Side,
    to: Side,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let keys = &mut context.keys;
    if !move_item(keys, (arguments[1], from), (arguments[2], to), reply)? {
        reply.null();
    }
    Ok(())
}

/// Moves one item from an end of a list to an end of the same or another one, and writes it. False, with nothing
/// written, if the source does not exist.
///
/// # Errors
/// WRONGTYPE if the source, or when that exists the destination, is no list.
pub(super) fn move_item(
    keys: &mut Keys<'_>,
    (source, from): (&[u8], Side),
    (destination, to): (&[u8], Side),
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    let Some(list) = keys.list(source)? else {
        return Ok(false);
    };
    let length = list.len();
    let item = end_item(list, from).unwrap_or_default().to_vec();
    keys.list(destination)?;
    let key_bytes = source.len().max(destination.len());
    ensure_room_for(keys, 2, key_bytes, item.len())?;
    reply.bulk(&item);
    if source == destination && length == 1 {
        // Popping would remove the key, and with it the deadline that it keeps in Redis.
        let item = &item;
        keys.apply(source, Effect::ListSet { index: 0, item })?;
        notify_push(keys, source, to);
        let one_left = Applied {
            added_or_removed: 1,
            updated: 0,
            length: 1,
        };
        notify_pop(keys, source, from, one_left);
        return Ok(true);
    }
    let count = 1;
    let popped = keys.apply(source, Effect::ListPop { side: from, count })?;
    let items = [&*item];
    let items = (&items).into();
    keys.apply(destination, Effect::ListPush { side: to, items })?;
    keys.count_as_one_change();
    // In this order, though the item is popped first.
    notify_push(keys, destination, to);
    notify_pop(keys, source, from, popped);
    Ok(true)
}

/// `LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count]`
fn lmpop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let wanted = MultiplePop::parse(arguments, 1, side)?;
    if !pop_from_first(&mut context.keys, &wanted, reply)? {
        reply.null_array();
    }
    Ok(())
}

/// Pops from the first of the lists that exists, and writes its key and the items. False, with nothing written, if
/// none exists.
///
/// # Errors
/// WRONGTYPE if a key that comes before the first list holds something else.
pub(super) fn pop_from_first(
    keys: &mut Keys<'_>,
    wanted: &MultiplePop<'_, Side>,
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    for key in wanted.keys {
        if keys.list(key)?.is_some() {
            reply.array_header(2);
            reply.bulk(key);
            pop_items(keys, key, wanted.end, wanted.count, reply)?;
            return Ok(true);
        }
    }
    Ok(false)
}

const GROWING: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "6.2.0",
        summary: "Moves an element between two lists, at the ends that are asked for, and returns it.",
        ..CommandSpec::new("lmove", 5, GROWING, KeySpec::FIRST_TWO, Group::List, lmove)
    }.with_key_uses(&[KeyUse::TAKE.at(1, 1), KeyUse::INSERT.at(2, 2)])
    .with_syntax("source:key destination:key wherefrom<LEFT | RIGHT> whereto<LEFT | RIGHT>"),
    CommandSpec {
        since: "1.2.0",
        summary: "Moves an element from the end of one list to the front of another, and returns it.",
        ..CommandSpec::new(
            "rpoplpush",
            3,
            GROWING,
            KeySpec::FIRST_TWO,
            Group::List,
            rpoplpush,
        )
    }.with_key_uses(&[KeyUse::TAKE.at(1, 1), KeyUse::INSERT.at(2, 2)])
    .with_syntax("source:key destination:key")
    .with_deprecated("6.2.0", "`LMOVE source destination RIGHT LEFT`"),
    CommandSpec {
        since: "7.0.0",
        complexity: "O(N+M) for N keys and M elements returned",
        summary: "Takes elements from the first list that has any.",
        ..CommandSpec::new(
            "lmpop",
            -4,
            Flags::WRITE.and(Flags::MOVABLE_KEYS),
            &[KeySpec::Counted { count_index: 1 }],
            Group::List,
            lmpop,
        )
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax("numkeys:integer key... where<LEFT | RIGHT> [COUNT count:integer]"),
];
