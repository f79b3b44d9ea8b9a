//! Streams: XADD, XLEN, XRANGE, XREVRANGE, XDEL, XTRIM, XSETID.

use super::access::KeyUse;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::streams_ids::{NewId, id, ids, range_end, range_start, reply_entries, reply_id};
use super::streams_trim::{read_add_options, read_trim};
use crate::config::Settings;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::value::Stream;
use storage_format::{Effect, StreamEffect, StreamId};

const ZERO_ID: CommandError =
    CommandError::fixed("ERR The ID specified in XADD must be greater than 0-0");
const EXHAUSTED: CommandError = CommandError::fixed(
    "ERR The stream has exhausted the last possible ID, unable to add more items",
);
const ID_TOO_SMALL: CommandError = CommandError::fixed(
    "ERR The ID specified in XADD is equal or smaller than the target stream top item",
);
const TOO_LARGE: CommandError = CommandError::fixed("ERR Elements are too large to be stored");

/// Most bytes of fields and values of an entry.
const ENTRY_BYTES_MAX: usize = 1 << 30;
/// A chunk never grows beyond this, whatever `stream-node-max-bytes` says: a change may have to copy it.
const CHUNK_BYTES_MAX: u64 = 1 << 20;

fn xadd(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    let options = read_add_options(arguments, context.settings)?;
    if options.pairs.is_empty() || !options.pairs.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity("xadd"));
    }
    if options.id == NewId::Exact(StreamId::MIN) {
        return Err(ZERO_ID);
    }
    let (now_ms, settings) = (context.now_ms, context.settings);
    let stream = context.keys.stream(key)?;
    if stream.is_none() && options.no_make_stream {
        reply.null();
        return Ok(());
    }
    let last_id = stream.map_or(StreamId::MIN, Stream::last_id);
    let id = next_id(options.id, last_id, now_ms)?;
    let payload_bytes: usize = options.pairs.iter().map(|item| item.len()).sum();
    if payload_bytes > ENTRY_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let starts_chunk = stream.is_some_and(|stream| is_full(stream, settings, payload_bytes));
    let add = StreamEffect::Add {
        id,
        starts_chunk,
        pairs: options.pairs.into(),
    };
    let trim_bytes_max = StreamEffect::Trim { count: 0 }.bytes_max();
    (context.keys).ensure_room(2 * key.len() + add.bytes_max() + trim_bytes_max)?;
    context.keys.apply(key, Effect::Stream(add))?;
    context.keys.notify(EventClasses::STREAM, "xadd", key);
    if let Some(trim) = options.trim {
        let count = (context.keys.stream(key)?).map_or(0, |stream| trim.entries_to_drop(stream));
        drop_oldest(context, key, count)?;
    }
    reply_id(reply, id);
    Ok(())
}

/// The ID that an entry gets.
fn next_id(asked: NewId, last_id: StreamId, now_ms: u64) -> Result<StreamId, CommandError> {
    let next = last_id.next().ok_or(EXHAUSTED)?;
    let id = match asked {
        NewId::Automatic => next.max(StreamId::new(now_ms, 0)),
        NewId::OfTime(time_ms) if time_ms == last_id.time_ms => next,
        NewId::OfTime(time_ms) => StreamId::new(time_ms, 0),
        NewId::Exact(id) => id,
    };
    let is_of_time = !matches!(asked, NewId::OfTime(time_ms) if time_ms != id.time_ms);
    if id > last_id && is_of_time {
        Ok(id)
    } else {
        Err(ID_TOO_SMALL)
    }
}

/// Whether another entry begins a chunk.
fn is_full(stream: &Stream, settings: &Settings, payload_bytes: usize) -> bool {
    let Some(last) = stream.last_chunk() else {
        return false;
    };
    let bytes_max = match settings.encodings.stream_node_max_bytes {
        0 => CHUNK_BYTES_MAX,
        bytes => bytes.min(CHUNK_BYTES_MAX),
    };
    let entries_max = settings.encodings.stream_node_max_entries;
    (last.bytes + payload_bytes) as u64 >= bytes_max
        || (entries_max > 0 && last.entries >= entries_max)
}

fn drop_oldest(context: &mut Context<'_>, key: &[u8], count: u64) -> CommandResult {
    if count > 0 {
        let trim = StreamEffect::Trim { count };
        context.keys.apply(key, Effect::Stream(trim))?;
        context.keys.notify(EventClasses::STREAM, "xtrim", key);
    }
    Ok(())
}

fn xtrim(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let trim = read_trim(arguments, context.settings)?;
    let stream = context.keys.stream(arguments[1])?;
    let count = stream.map_or(0, |stream| trim.entries_to_drop(stream));
    drop_oldest(context, arguments[1], count)?;
    reply.integer(count as i64);
    Ok(())
}

fn xlen(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.count(context.keys.stream(arguments[1])?.map_or(0, Stream::len));
    Ok(())
}

fn xdel(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    let Some(stream) = context.keys.stream(key)? else {
        reply.integer(0);
        return Ok(());
    };
    let mut ids = ids(&arguments[2..])?;
    ids.retain(|id| stream.get(*id).is_some());
    let delete = StreamEffect::Delete {
        ids: ids[..].into(),
    };
    let mut deleted = 0;
    if !ids.is_empty() {
        deleted = context
            .keys
            .apply(key, Effect::Stream(delete))?
            .added_or_removed;
        context.keys.notify(EventClasses::STREAM, "xdel", key);
    }
    reply.integer(deleted as i64);
    Ok(())
}

fn xrange(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (start, end) = (range_start(arguments[2])?, range_end(arguments[3])?);
    range(context, arguments, (start, end), false, reply)
}

fn xrevrange(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (start, end) = (range_start(arguments[3])?, range_end(arguments[2])?);
    range(context, arguments, (start, end), true, reply)
}

fn range(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    (start, end): (StreamId, StreamId),
    is_reverse: bool,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut limit = None;
    let mut options = Options::new(arguments, 4);
    while let Some(word) = options.next() {
        if !is_keyword(word, "count") {
            return Err(CommandError::SYNTAX);
        }
        let count = integer(options.value()?)?;
        limit = Some(usize::try_from(count).unwrap_or(0));
    }
    let Some(stream) = context.keys.stream(arguments[1])? else {
        reply.array_header(0);
        return Ok(());
    };
    let limit = limit.unwrap_or(usize::MAX);
    if limit == 0 {
        reply.null_array();
    } else if is_reverse {
        reply_entries(reply, stream.reverse(start, end).take(limit));
    } else {
        reply_entries(reply, stream.range(start, end).take(limit));
    }
    Ok(())
}

const BELOW_DELETED_GIVEN: CommandError = CommandError::fixed(
    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
);
const BELOW_DELETED: CommandError = CommandError::fixed(
    "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
);
const BELOW_TOP: CommandError = CommandError::fixed(
    "ERR The ID specified in XSETID is smaller than the target stream top item",
);
const ADDED_BELOW_LENGTH: CommandError = CommandError::fixed(
    "ERR The entries_added specified in XSETID is smaller than the target stream length",
);
const ADDED_NEGATIVE: CommandError = CommandError::fixed("ERR entries_added must be positive");

fn xsetid(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    let last_id = id(arguments[2], 0)?;
    let (mut added, mut max_deleted_id) = (None, StreamId::MIN);
    let mut options = Options::new(arguments, 3);
    while let Some(word) = options.next() {
        if is_keyword(word, "entriesadded") {
            let number = integer(options.value()?)?;
            added = Some(u64::try_from(number).map_err(|_| ADDED_NEGATIVE)?);
        } else if is_keyword(word, "maxdeletedid") {
            max_deleted_id = id(options.value()?, 0)?;
            if last_id < max_deleted_id {
                return Err(BELOW_DELETED_GIVEN);
            }
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let stream = context.keys.stream(key)?.ok_or(CommandError::NO_SUCH_KEY)?;
    if last_id < stream.max_deleted_id() {
        return Err(BELOW_DELETED);
    }
    if let Some(top_id) = stream.top_id() {
        if last_id < top_id {
            return Err(BELOW_TOP);
        }
        if added.is_some_and(|added| added < stream.len() as u64) {
            return Err(ADDED_BELOW_LENGTH);
        }
    }
    let set = StreamEffect::SetId {
        last_id,
        entries_added: added.unwrap_or(stream.entries_added()),
        max_deleted_id: if max_deleted_id == StreamId::MIN {
            stream.max_deleted_id()
        } else {
            max_deleted_id
        },
    };
    context.keys.apply(key, Effect::Stream(set))?;
    context.keys.notify(EventClasses::STREAM, "xsetid", key);
    reply.ok();
    Ok(())
}

/// Hint: the same call need not give the same reply.
pub const RANDOM: &[&str] = &["nondeterministic_output"];
const WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const WRITE_MORE: Flags = WRITE.and(Flags::DENYOOM);
const RANGE: &str = "O(N) for N entries returned, so O(1) with a fixed COUNT";

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    function: super::spec::CommandFunction,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, KeySpec::FIRST, Group::Stream, function)
        .with_since("5.0.0")
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        complexity: "O(1), and O(N) for N entries that trimming removes",
        summary: "Adds an entry at the end of a stream; may remove old ones at the same time.",
        ..row("xadd", -5, WRITE_MORE, xadd)
            .with_tips(RANDOM)
            .with_key_uses(&[KeyUse::UPDATE.noted("Not only added to: it may be trimmed.")])
    }
    .with_syntax(
        "key [NOMKSTREAM]@6.2.0 \
         trim[strategy<MAXLEN | MINID@6.2.0> operator[equal='=' \
         | approximately='~'] threshold [LIMIT count:integer]@6.2.0] \
         id-selector<auto-id='*' | id> data<field value>...",
    )
    .with_history(&[("7.0.0", "The ID may be `<ms>-*`.")]),
    CommandSpec {
        summary: "Tells how many entries a stream has.",
        ..row("xlen", 2, Flags::READONLY.and(Flags::FAST), xlen).with_key_uses(&[KeyUse::LOOK])
    }
    .with_syntax("key"),
    CommandSpec {
        complexity: "O(1) for each entry, however long the stream is",
        summary: "Removes entries from a stream by their IDs.",
        ..row("xdel", -3, WRITE, xdel).with_key_uses(&[KeyUse::DELETE])
    }
    .with_syntax("key id..."),
    CommandSpec {
        complexity: "O(N) for N entries that go",
        summary: "Removes the oldest entries of a stream: all but so many, or those before an ID.",
        ..row("xtrim", -4, Flags::WRITE, xtrim)
            .with_key_uses(&[KeyUse::DELETE])
            .with_tips(RANDOM)
    }
    .with_syntax(
        "key \
         trim<strategy<MAXLEN | MINID@6.2.0> operator[equal='=' \
         | approximately='~'] threshold [LIMIT count:integer]@6.2.0>",
    ),
    CommandSpec {
        complexity: RANGE,
        summary: "Returns the entries between two IDs.",
        ..row("xrange", -4, Flags::READONLY, xrange)
    }
    .with_syntax("key start end [COUNT count:integer]")
    .with_history(&[("6.2.0", "Ends of the range may be exclusive.")]),
    CommandSpec {
        complexity: RANGE,
        summary: "Returns the entries between two IDs, newest first.",
        ..row("xrevrange", -4, Flags::READONLY, xrevrange)
    }
    .with_syntax("key end start [COUNT count:integer]")
    .with_history(&[("6.2.0", "Ends of the range may be exclusive.")]),
    CommandSpec {
        summary: "Sets the last ID of a stream and its counters, as a copy of another stream needs them.",
        ..row("xsetid", -3, WRITE_MORE, xsetid)
    }
    .with_syntax(
        "key last-id [ENTRIESADDED entries-added:integer]@7.0.0 \
         [MAXDELETEDID max-deleted-id]@7.0.0",
    ),
];
