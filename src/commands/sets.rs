//! Sets: adding, removing, asking for members, walking.
//!
//! Choosing members at random is in `sets_random`, operations between sets are in `sets_algebra`.

use super::access::KeyUse;
use super::collections::{ensure_room_for, write_scan};
use super::context::Context;
use super::options::{Options, ScanOptions, cursor};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::CommandResult;
use crate::glob;
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::value::Set;
use storage_format::Effect;

/// `SADD key member [member ...]`
fn sadd(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let members = arguments[2..].into();
    let applied = context
        .keys
        .apply(arguments[1], Effect::SetAdd { members })?;
    if applied.added_or_removed > 0 {
        context.keys.notify(EventClasses::SET, "sadd", arguments[1]);
    }
    reply.count(applied.added_or_removed as usize);
    Ok(())
}

/// `SREM key member [member ...]`
fn srem(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let members = arguments[2..].into();
    let applied = context
        .keys
        .apply(arguments[1], Effect::SetRemove { members })?;
    context
        .keys
        .notify_removal(EventClasses::SET, "srem", arguments[1], applied);
    reply.count(applied.added_or_removed as usize);
    Ok(())
}

/// SISMEMBER key member
fn sismember(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let set = context.keys.set(arguments[1])?;
    let is_member = set.is_some_and(|set| set.contains(arguments[2]));
    reply.integer(is_member.into());
    Ok(())
}

/// `SMISMEMBER key member [member ...]`
fn smismember(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let set = context.keys.set(arguments[1])?;
    let members = &arguments[2..];
    reply.array_header(members.len());
    for member in members {
        let is_member = set.is_some_and(|set| set.contains(member));
        reply.integer(is_member.into());
    }
    Ok(())
}

/// SMEMBERS key
fn smembers(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    match context.keys.set(arguments[1])? {
        Some(set) => write_set(reply, set),
        None => reply.set_header(0),
    }
    Ok(())
}

/// Writes all members, as a set.
pub(super) fn write_set(reply: &mut Reply<'_>, set: &Set) {
    reply.set_header(set.len());
    set.iter().for_each(|member| reply.bulk(member));
}

/// SCARD key
fn scard(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let set = context.keys.set(arguments[1])?;
    reply.count(set.map_or(0, Set::len));
    Ok(())
}

/// SMOVE source destination member
fn smove(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (source, destination, member) = (arguments[1], arguments[2], arguments[3]);
    let Some(set) = context.keys.set(source)? else {
        reply.integer(0);
        return Ok(());
    };
    let is_member = set.contains(member);
    context.keys.set(destination)?;
    if is_member && source != destination {
        let key_bytes = source.len().max(destination.len());
        ensure_room_for(&context.keys, 2, key_bytes, member.len() * 2)?;
        let members = [member];
        let members = (&members).into();
        let keys = &mut context.keys;
        let removed = keys.apply(source, Effect::SetRemove { members })?;
        keys.notify_removal(EventClasses::SET, "srem", source, removed);
        let added = keys.apply(destination, Effect::SetAdd { members })?;
        if added.added_or_removed > 0 {
            keys.notify(EventClasses::SET, "sadd", destination);
        }
    }
    reply.integer(is_member.into());
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
fn sscan(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let cursor = cursor(arguments[2])?;
    let Some(set) = context.keys.set(arguments[1])? else {
        write_scan(reply, |_| (0, 0));
        return Ok(());
    };
    let options = ScanOptions::of_collection(Options::new(arguments, 3))?;
    write_scan(reply, |reply| {
        let mut written = 0;
        let next = set.scan(cursor, options.count, |member| {
            if options
                .pattern
                .is_none_or(|pattern| glob::selects(pattern, member))
            {
                reply.bulk(member);
                written += 1;
            }
        });
        (next, written)
    });
    Ok(())
}

const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: "O(N) for N members",
        summary: "Puts members into a set; a missing key counts as an empty one.",
        ..CommandSpec::new(
            "sadd",
            -3,
            WRITE_FAST.and(Flags::DENYOOM),
            KeySpec::FIRST,
            Group::Set,
            sadd,
        )
    }
    .with_key_uses(&[KeyUse::INSERT])
    .with_syntax("key member...")
    .with_history(&[("2.4.0", "Several members at once.")]),
    CommandSpec {
        complexity: "O(N) for N members",
        summary: "Removes members from a set.",
        ..CommandSpec::new("srem", -3, WRITE_FAST, KeySpec::FIRST, Group::Set, srem)
    }
    .with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key member...")
    .with_history(&[("2.4.0", "Several members at once.")]),
    CommandSpec {
        summary: "Tells whether a set has a member.",
        ..CommandSpec::new(
            "sismember",
            3,
            READ_FAST,
            KeySpec::FIRST,
            Group::Set,
            sismember,
        )
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key member"),
    CommandSpec {
        since: "6.2.0",
        complexity: "O(N) for N members",
        summary: "Tells of each given member whether a set has it.",
        ..CommandSpec::new(
            "smismember",
            -3,
            READ_FAST,
            KeySpec::FIRST,
            Group::Set,
            smismember,
        )
    }
    .with_syntax("key member..."),
    CommandSpec {
        complexity: "O(N) for N members in the set",
        summary: "Returns the whole set.",
        ..CommandSpec::new(
            "smembers",
            2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Set,
            smembers,
        )
    }
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("key"),
    CommandSpec {
        summary: "Tells how many members a set has.",
        ..CommandSpec::new("scard", 2, READ_FAST, KeySpec::FIRST, Group::Set, scard)
    }
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key"),
    CommandSpec {
        summary: "Takes a member out of one set and puts it into another.",
        ..CommandSpec::new(
            "smove",
            4,
            WRITE_FAST,
            KeySpec::FIRST_TWO,
            Group::Set,
            smove,
        )
    }
    .with_key_uses(&[KeyUse::TAKE.at(1, 1), KeyUse::INSERT.at(2, 2)])
    .with_syntax("source:key destination:key member"),
    CommandSpec {
        since: "2.8.0",
        complexity: "O(1) for a step, O(N) for a walk through N members",
        summary: "Walks through a set step by step.",
        ..CommandSpec::new(
            "sscan",
            -3,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Set,
            sscan,
        )
    }
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]"),
];
