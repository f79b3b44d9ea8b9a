//! XINFO: a stream, its groups and their consumers, for people and monitors.

use super::context::Context;
use super::options::{integer, is_keyword};
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use super::streams::RANDOM;
use super::streams_groups::wrong_subcommand;
use super::streams_ids::{no_group, reply_entries, reply_entry, reply_id};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::value::{Consumer, Group as ConsumerGroup, Stream};
use storage_format::StreamId;

fn stream<'c>(context: &'c mut Context<'_>, key: &[u8]) -> Result<&'c Stream, CommandError> {
    context.keys.stream(key)?.ok_or(CommandError::NO_SUCH_KEY)
}

fn consumers(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, group, now_ms) = (arguments[2], arguments[3], context.now_ms);
    let stream = stream(context, key)?;
    let group = stream.group(group).ok_or_else(|| no_group(group, key))?;
    reply.array_header(group.consumers().len());
    for (name, consumer) in group.consumers() {
        let inactive_ms = (consumer.active_ms).map_or(-1, |active_ms| {
            (now_ms as i64).wrapping_sub(active_ms as i64)
        });
        reply.map_header(4);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"pending");
        reply.count(consumer.pending_count());
        reply.bulk(b"idle");
        reply.integer(now_ms.saturating_sub(consumer.seen_ms) as i64);
        reply.bulk(b"inactive");
        reply.integer(inactive_ms);
    }
    Ok(())
}

fn groups(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let stream = stream(context, arguments[2])?;
    reply.array_header(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map_header(6);
        reply.bulk(b"name");
        reply.bulk(name);
        reply.bulk(b"consumers");
        reply.count(group.consumers().len());
        reply.bulk(b"pending");
        reply.count(group.pending_count());
        reply_progress(stream, group, reply);
    }
    Ok(())
}

/// Three pairs: how far a group has read.
fn reply_progress(stream: &Stream, group: &ConsumerGroup, reply: &mut Reply<'_>) {
    let number_or_null = |reply: &mut Reply<'_>, number: Option<i64>| match number {
        Some(number) => reply.integer(number),
        None => reply.null(),
    };
    reply.bulk(b"last-delivered-id");
    reply_id(reply, group.last_delivered_id);
    reply.bulk(b"entries-read");
    number_or_null(reply, group.entries_read.map(|read| read as i64));
    reply.bulk(b"lag");
    number_or_null(reply, stream.lag(group));
}

/// XINFO STREAM key \[FULL \[COUNT count\]\]: `None`, or the count (0: no limit).
fn full_count(arguments: &[&[u8]]) -> Result<Option<usize>, CommandError> {
    const COUNT_DEFAULT: usize = 10;
    let options = &arguments[3..];
    match options {
        [] => Ok(None),
        [full] if is_keyword(full, "full") => Ok(Some(COUNT_DEFAULT)),
        [full, count, number] if is_keyword(full, "full") && is_keyword(count, "count") => {
            let number = integer(number)?;
            Ok(Some(usize::try_from(number).unwrap_or(COUNT_DEFAULT)))
        }
        _ => Err(wrong_subcommand(arguments)),
    }
}

fn info_stream(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let stream = stream(context, arguments[2])?;
    let full_count = full_count(arguments)?;
    reply.map_header(if full_count.is_some() { 9 } else { 10 });
    reply.bulk(b"length");
    reply.count(stream.len());
    reply.bulk(b"radix-tree-keys");
    reply.count(stream.chunk_count());
    reply.bulk(b"radix-tree-nodes");
    reply.count(stream.chunk_count() + 1);
    reply.bulk(b"last-generated-id");
    reply_id(reply, stream.last_id());
    reply.bulk(b"max-deleted-entry-id");
    reply_id(reply, stream.max_deleted_id());
    reply.bulk(b"entries-added");
    reply.integer(stream.entries_added() as i64);
    reply.bulk(b"recorded-first-entry-id");
    reply_id(reply, stream.first_id());
    match full_count {
        Some(count) => reply_full(stream, count, reply),
        None => reply_ends(stream, reply),
    }
    Ok(())
}

/// Number of groups, first and last entry.
fn reply_ends(stream: &Stream, reply: &mut Reply<'_>) {
    reply.bulk(b"groups");
    reply.count(stream.groups().len());
    let first = stream.range(StreamId::MIN, StreamId::MAX).next();
    let last = stream.reverse(StreamId::MIN, StreamId::MAX).next();
    for (name, entry) in [(&b"first-entry"[..], first), (b"last-entry", last)] {
        reply.bulk(name);
        match entry {
            Some(entry) => reply_entry(reply, &entry),
            None => reply.null(),
        }
    }
}

/// Entries and groups, at most `count` of each list.
fn reply_full(stream: &Stream, count: usize, reply: &mut Reply<'_>) {
    let count = if count == 0 { usize::MAX } else { count };
    reply.bulk(b"entries");
    reply_entries(
        reply,
        stream.range(StreamId::MIN, StreamId::MAX).take(count),
    );
    reply.bulk(b"groups");
    reply.array_header(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map_header(7);
        reply.bulk(b"name");
        reply.bulk(name);
        reply_progress(stream, group, reply);
        reply.bulk(b"pel-count");
        reply.count(group.pending_count());
        reply.bulk(b"pending");
        reply.array_header(group.pending_count().min(count));
        for (id, pending) in group.pending_from(StreamId::MIN).take(count) {
            reply.array_header(4);
            reply_id(reply, id);
            reply.bulk(pending.consumer());
            reply.integer(pending.delivered_ms as i64);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array_header(group.consumers().len());
        for (name, consumer) in group.consumers() {
            reply_consumer(group, name, consumer, count, reply);
        }
    }
}

fn reply_consumer(
    group: &ConsumerGroup,
    name: &[u8],
    consumer: &Consumer,
    count: usize,
    reply: &mut Reply<'_>,
) {
    reply.map_header(5);
    reply.bulk(b"name");
    reply.bulk(name);
    reply.bulk(b"seen-time");
    reply.integer(consumer.seen_ms as i64);
    reply.bulk(b"active-time");
    reply.integer(consumer.active_ms.map_or(-1, |active_ms| active_ms as i64));
    reply.bulk(b"pel-count");
    reply.count(consumer.pending_count());
    reply.bulk(b"pending");
    reply.array_header(consumer.pending_count().min(count));
    for id in consumer.pending_ids(StreamId::MIN).take(count) {
        let pending = group.pending(id);
        reply.array_header(3);
        reply_id(reply, id);
        reply.integer(pending.map_or(0, |pending| pending.delivered_ms as i64));
        reply.integer(pending.map_or(0, |pending| pending.deliveries as i64));
    }
}

const HELP: &[&str] = &[
    "CONSUMERS <key> <groupname>",
    "    Lists the consumers of a group, with what is pending for each.",
    "GROUPS <key>",
    "    Lists the groups of a stream, with how far each has read.",
    "STREAM <key> [FULL [COUNT <count>]",
    "    Tells about a stream; with FULL also its entries, groups and consumers.",
];

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    super::client::write_help("XINFO", HELP, reply);
    Ok(())
}

/// XINFO alone: its arity is never met without a subcommand.
fn xinfo(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("xinfo"))
}

const KEY: &[KeySpec] = &[KeySpec::Range {
    first: 2,
    last: 2,
    step: 1,
}];

const fn row(name: &'static str, arity: i32, function: CommandFunction) -> CommandSpec {
    CommandSpec::new(name, arity, Flags::READONLY, KEY, Group::Stream, function).with_since("5.0.0")
}

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        summary: "Lists the consumers of a group, with what is pending for each.",
        ..row("consumers", 4, consumers).with_tips(RANDOM)
    }
    .with_syntax("key group")
    .with_history(&[("7.2.0", "Shows `inactive`; `idle` begins with the last attempt.")]),
    CommandSpec {
        summary: "Lists the groups of a stream, with how far each has read.",
        ..row("groups", 3, groups)
    }
    .with_syntax("key")
    .with_history(&[("7.0.0", "Shows `entries-read` and `lag`.")]),
    CommandSpec {
        summary: "Tells how long a stream is, where it begins and ends, and more.",
        ..row("stream", -3, info_stream)
    }
    .with_syntax("key full-block[<FULL> [COUNT count:integer]]")
    .with_history(&[("6.0.0", "New: `FULL`."), ("7.0.0", "Shows `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, `entries-read`, `lag`."), ("7.2.0", "Shows `active-time`; `seen-time` is that of the last attempt.")]),
    CommandSpec {
        flags: Flags::LOADING.and(Flags::STALE),
        keys: KeySpec::NONE,
        summary: "Lists the subcommands and what each is for.",
        ..row("help", 2, help)
    },
];

/// The row of XINFO.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    flags: Flags::NONE,
    keys: KeySpec::NONE,
    complexity: "That of the subcommand",
    summary: "Tells about streams, their groups and consumers.",
    subcommands: SUBCOMMANDS,
    ..row("xinfo", -2, xinfo)
}];
