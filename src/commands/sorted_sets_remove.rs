//! ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.
//!
//! The effect names the members: what a range meant is decided once, not again in every replay.

use super::access::KeyUse;
use super::collections::CopiedItems;
use super::context::Context;
use super::sorted_sets_bounds::{Bounds, By};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::CommandResult;
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use storage_format::Effect;

/// ZREMRANGEBYRANK key start stop
fn zremrangebyrank(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    remove_range(context, arguments, reply, By::Rank)
}

/// ZREMRANGEBYSCORE key min max
fn zremrangebyscore(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    remove_range(context, arguments, reply, By::Score)
}

/// ZREMRANGEBYLEX key min max
fn zremrangebylex(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    remove_range(context, arguments, reply, By::Member)
}

fn remove_range(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    by: By,
) -> CommandResult {
    let key = arguments[1];
    let bounds = Bounds::parse(by, arguments[2], arguments[3])?;
    let Some(members) = context.keys.sorted_set(key)? else {
        reply.integer(0);
        return Ok(());
    };
    let name = match by {
        By::Rank => "zremrangebyrank",
        By::Score => "zremrangebyscore",
        By::Member => "zremrangebylex",
    };
    let ranks = bounds.ranks(members, false);
    reply.count(ranks.len());
    if ranks.len() == members.len() {
        context.keys.notify(EventClasses::SORTED_SET, name, key);
        context.keys.delete_and_notify(key)?;
        return Ok(());
    }
    let found = members.range(ranks.start, ranks.len());
    let found: CopiedItems = found.map(|(member, _)| member).collect();
    let members = found.slices();
    if !members.is_empty() {
        let members = members[..].into();
        let keys = &mut context.keys;
        let applied = keys.apply(key, Effect::SortedSetRemove { members })?;
        keys.notify_removal(EventClasses::SORTED_SET, name, key, applied);
    }
    Ok(())
}

const REMOVAL_COMPLEXITY: &str = "O(log(N)+M) for M members that go, N being those in the set";

const fn row(name: &'static str, function: super::spec::CommandFunction) -> CommandSpec {
    CommandSpec::new(
        name,
        4,
        Flags::WRITE,
        KeySpec::FIRST,
        Group::SortedSet,
        function,
    )
}

/// The rows of this file.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.0.0",
        complexity: REMOVAL_COMPLEXITY,
        summary: "Removes the members between two places.",
        ..row("zremrangebyrank", zremrangebyrank)
    }
    .with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key start:integer stop:integer"),
    CommandSpec {
        since: "1.2.0",
        complexity: REMOVAL_COMPLEXITY,
        summary: "Removes the members between two scores.",
        ..row("zremrangebyscore", zremrangebyscore)
    }
    .with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key min:double max:double"),
    CommandSpec {
        since: "2.8.9",
        complexity: REMOVAL_COMPLEXITY,
        summary: "Removes the members between two texts, in the order of their bytes.",
        ..row("zremrangebylex", zremrangebylex)
    }
    .with_key_uses(&[KeyUse::DELETE])
    .with_syntax("key min max"),
];
