//! SPOP and SRANDMEMBER: members of a set, chosen at random.
//!
//! What SPOP chose is what its effect names, so replaying needs no randomness.

use super::access::KeyUse;
use super::collections::{CopiedItems, RandomCount, element_count};
use super::context::Context;
use super::sets::write_set;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::resp::reply::EMPTY_ARRAY;
use storage_format::Effect;

/// `SPOP key [count]`
fn spop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    match arguments {
        [_, key] => spop_one(context, key, reply),
        [_, key, count] => spop_many(context, key, element_count(count)?, reply),
        _ => Err(CommandError::SYNTAX),
    }
}

fn spop_one(context: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let random = context.random();
    let chosen = context.keys.set(key)?.and_then(|set| set.random(random));
    let Some(member) = chosen.map(<[u8]>::to_vec) else {
        reply.null();
        return Ok(());
    };
    reply.bulk(&member);
    remove_popped(context, key, &[&*member])
}

fn remove_popped(context: &mut Context<'_>, key: &[u8], members: &[&[u8]]) -> CommandResult {
    let members = members.into();
    let applied = context.keys.apply(key, Effect::SetRemove { members })?;
    context
        .keys
        .notify_removal(EventClasses::SET, "spop", key, applied);
    Ok(())
}

fn spop_many(
    context: &mut Context<'_>,
    key: &[u8],
    count: usize,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let Some(set) = context.keys.set(key)? else {
        reply.set_header(0);
        return Ok(());
    };
    if count >= set.len() {
        write_set(reply, set);
        context.keys.notify(EventClasses::SET, "spop", key);
        context.keys.delete_and_notify(key)?;
        return Ok(());
    }
    let session = &mut context.session;
    let ranks = RandomCount::Different(count).choose(set.len(), || session.random());
    let chosen: CopiedItems = ranks.iter().filter_map(|rank| set.nth(*rank)).collect();
    let members = chosen.slices();
    reply.set_header(members.len());
    members.iter().for_each(|member| reply.bulk(member));
    if members.is_empty() {
        return Ok(());
    }
    remove_popped(context, key, &members)
}

/// `SRANDMEMBER key [count]`
fn srandmember(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, count) = match arguments {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(RandomCount::parse(count)?)),
        _ => return Err(CommandError::SYNTAX),
    };
    let random = context.random();
    let set = context.keys.set(key)?;
    let Some(count) = count else {
        reply.bulk_or_null(set.and_then(|set| set.random(random)));
        return Ok(());
    };
    let Some(set) = set else {
        reply.raw(EMPTY_ARRAY);
        return Ok(());
    };
    let session = &mut context.session;
    let ranks = count.choose(set.len(), || session.random());
    reply.array_header(ranks.len());
    for rank in ranks {
        reply.bulk_or_null(set.nth(rank));
    }
    Ok(())
}

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: "O(1), or O(N) with a count of N",
        summary: "Takes members out of a set at random.",
        ..CommandSpec::new(
            "spop",
            -2,
            Flags::WRITE.and(Flags::FAST),
            KeySpec::FIRST,
            Group::Set,
            spop,
        )
    }
    .with_key_uses(&[KeyUse::TAKE])
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key [count:integer]@3.2.0"),
    CommandSpec {
        complexity: "O(1), or O(N) with a count of N or -N",
        summary: "Returns one or several members of a set, chosen at random.",
        ..CommandSpec::new(
            "srandmember",
            -2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Set,
            srandmember,
        )
    }
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key [count:integer]@2.6.0"),
];
