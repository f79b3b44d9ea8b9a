//! XREAD and XREADGROUP: what came behind an ID, or what a group has not been given yet; waiting for it if wanted.
//!
//! XREADGROUP that is going to wait makes its consumers, as Redis does, but does not note that they were seen: a client that
//! is woken runs the command again, and that must not be a change that wakes others.

use super::access::KeyUse;
use super::context::{BlockRequest, Context, TimeoutReply};
use super::options::{Options, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::streams_groups::create_consumer;
use super::streams_ids::{id, reply_entries, reply_entry, reply_id};
use crate::error::{CommandError, CommandResult};
use crate::resp::number::parse_integer;
use crate::resp::{Protocol, Reply};
use crate::value::Stream;
use storage_format::{Effect, StreamEffect, StreamId, ValueKind};

const NOT_A_TIMEOUT: CommandError =
    CommandError::fixed("ERR timeout is not an integer or out of range");
const TIMEOUT_NEGATIVE: CommandError = CommandError::fixed("ERR timeout is negative");
const TIMEOUT_TOO_LARGE: CommandError = CommandError::fixed("ERR timeout is out of range");
const GROUP_ONLY_WITH_XREADGROUP: CommandError = CommandError::fixed(
    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
);
const NOACK_ONLY_WITH_XREADGROUP: CommandError = CommandError::fixed(
    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
);
const GROUP_MISSING: CommandError = CommandError::fixed("ERR Missing GROUP option for XREADGROUP");
const NEW_ONLY_WITH_GROUP: CommandError = CommandError::fixed(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);

/// The arguments of both commands.
struct ReadArguments<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// Most entries for each stream.
    limit: usize,
    /// How long to wait, 0 for ever; `None`: not at all.
    block_ms: Option<u64>,
    no_ack: bool,
    keys: &'a [&'a [u8]],
    /// The IDs as they were given, one for each key.
    ids: &'a [&'a [u8]],
}

impl<'a> ReadArguments<'a> {
    fn parse(
        arguments: &'a [&'a [u8]],
        with_group: bool,
        now_ms: u64,
    ) -> Result<Self, CommandError> {
        let mut read = Self {
            group: b"",
            consumer: b"",
            limit: usize::MAX,
            block_ms: None,
            no_ack: false,
            keys: &[],
            ids: &[],
        };
        let mut has_group = false;
        let mut options = Options::new(arguments, 1);
        while let Some(word) = options.next() {
            let more = options.rest().len();
            if is_keyword(word, "block") && more > 0 {
                read.block_ms = Some(timeout_ms(options.value()?, now_ms)?);
            } else if is_keyword(word, "count") && more > 0 {
                let count = integer(options.value()?)?;
                read.limit = match usize::try_from(count) {
                    Ok(count) if count > 0 => count,
                    _ => usize::MAX,
                };
            } else if is_keyword(word, "streams") && more > 0 {
                (read.keys, read.ids) = halves(options.rest(), with_group)?;
                break;
            } else if is_keyword(word, "group") && more >= 2 {
                if !with_group {
                    return Err(GROUP_ONLY_WITH_XREADGROUP);
                }
                has_group = true;
                (read.group, read.consumer) = (options.value()?, options.value()?);
            } else if is_keyword(word, "noack") {
                if !with_group {
                    return Err(NOACK_ONLY_WITH_XREADGROUP);
                }
                read.no_ack = true;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        match () {
            () if read.keys.is_empty() => Err(CommandError::SYNTAX),
            () if with_group && !has_group => Err(GROUP_MISSING),
            () => Ok(read),
        }
    }

    /// Scripts may not ask to wait at all, though they would not wait; in Valkey they may.
    fn may_be_said(&self, context: &Context<'_>, arguments: &[&[u8]]) -> CommandResult {
        if self.block_ms.is_none() || !context.by_script || context.ignores_block {
            return Ok(());
        }
        Err(CommandError::new(format!(
            "ERR {} command is not allowed with BLOCK option from scripts",
            String::from_utf8_lossy(arguments[0])
        )))
    }

    /// The request of a client that waits.
    fn block_request(&self, block_ms: u64, now_ms: u64, is_group: bool) -> BlockRequest {
        BlockRequest {
            kind: ValueKind::Stream,
            keys: self.keys.iter().map(|key| Box::from(*key)).collect(),
            deadline_ms: (block_ms > 0).then(|| now_ms.saturating_add(block_ms)),
            timeout_reply: TimeoutReply::NullArray,
            arguments: None,
            also_when_gone: is_group,
        }
    }
}

fn timeout_ms(argument: &[u8], now_ms: u64) -> Result<u64, CommandError> {
    let timeout = parse_integer(argument).ok_or(NOT_A_TIMEOUT)?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| TIMEOUT_NEGATIVE)?;
    match now_ms.checked_add(timeout_ms) {
        Some(deadline_ms) if deadline_ms <= i64::MAX as u64 => Ok(timeout_ms),
        _ => Err(TIMEOUT_TOO_LARGE),
    }
}

/// Some arguments.
type Words<'a> = &'a [&'a [u8]];

/// Keys and IDs, as many of the one as of the other.
fn halves(rest: Words<'_>, with_group: bool) -> Result<(Words<'_>, Words<'_>), CommandError> {
    if rest.len().is_multiple_of(2) {
        return Ok(rest.split_at(rest.len() / 2));
    }
    let (name, symbol) = if with_group {
        ("xreadgroup", '>')
    } else {
        ("xread", '$')
    };
    Err(CommandError::new(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
    )))
}

/// The keys of both commands: the first half of what follows STREAMS.
fn find_keys(arguments: &[&[u8]]) -> Vec<usize> {
    let mut index = 1;
    while let Some(word) = arguments.get(index) {
        if is_keyword(word, "streams") {
            // If the numbers of keys and IDs differ, the command says so.
            let count = arguments.len() - index - 1;
            return (index + 1..=index + count / 2).collect();
        }
        index += match () {
            () if is_keyword(word, "block") || is_keyword(word, "count") => 2,
            () if is_keyword(word, "group") => 3,
            () => 1,
        };
    }
    Vec::new()
}

/// Closes the reply of a number of streams.
fn end_streams(reply: &mut Reply<'_>, deferred: crate::resp::reply::Deferred, streams: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.end_deferred_array(deferred, streams),
        Protocol::Resp3 => reply.end_deferred_map(deferred, streams),
    }
}

/// Begins the part of one stream.
fn begin_stream(reply: &mut Reply<'_>, key: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array_header(2);
    }
    reply.bulk(key);
}

/// The ID behind which XREAD reads.
fn position(argument: &[u8], stream: Option<&Stream>) -> Result<StreamId, CommandError> {
    match argument {
        b"$" => Ok(stream.map_or(StreamId::MIN, Stream::last_id)),
        b"+" => {
            let top = stream.and_then(Stream::top_id);
            Ok(top.and_then(StreamId::previous).unwrap_or(StreamId::MIN))
        }
        b">" => Err(NEW_ONLY_WITH_GROUP),
        _ => id(argument, 0),
    }
}

fn xread(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let read = ReadArguments::parse(arguments, false, context.now_ms)?;
    read.may_be_said(context, arguments)?;
    let mut positions = Vec::with_capacity(read.keys.len());
    for (key, argument) in read.keys.iter().zip(read.ids) {
        positions.push(position(argument, context.keys.stream(key)?)?);
    }
    let deferred = reply.begin_deferred();
    let mut streams = 0;
    for (key, position) in read.keys.iter().zip(&positions) {
        let stream = context.keys.stream(key)?;
        let newer = stream.filter(|stream| stream.last_id() > *position);
        let (Some(stream), Some(start)) = (newer, position.next()) else {
            continue;
        };
        let mut entries = stream
            .range(start, StreamId::MAX)
            .take(read.limit)
            .peekable();
        if entries.peek().is_some() {
            begin_stream(reply, key);
            reply_entries(reply, entries);
            streams += 1;
        }
    }
    if streams > 0 {
        end_streams(reply, deferred, streams);
        return Ok(());
    }
    let Some(block_ms) = read.block_ms else {
        reply.null_array();
        return Ok(());
    };
    let mut request = read.block_request(block_ms, context.now_ms, false);
    if read.ids.iter().any(|id| matches!(*id, b"$" | b"+")) {
        let ids_start = arguments.len() - positions.len();
        let given = arguments[..ids_start].iter().map(|word| Box::from(*word));
        let ids = positions
            .iter()
            .map(|position| Box::from(position.to_string().as_bytes()));
        request.arguments = Some(given.chain(ids).collect());
    }
    context.block(request, reply);
    Ok(())
}

/// Where XREADGROUP reads: new entries, or the consumer's own ones behind an ID.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GroupPosition {
    New,
    HistoryAfter(StreamId),
}

fn group_position(argument: &[u8]) -> Result<GroupPosition, CommandError> {
    match argument {
        b">" => Ok(GroupPosition::New),
        b"$" | b"+" => {
            let symbol = char::from(argument[0]);
            Err(CommandError::new(format!(
                "ERR The {symbol} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
                 specifying a proper ID, or use the > ID to get new messages. The {symbol} ID would just return an empty result set."
            )))
        }
        // Nothing can be behind the greatest ID; Redis takes it for >.
        _ => Ok(match id(argument, 0)? {
            StreamId::MAX => GroupPosition::New,
            id => GroupPosition::HistoryAfter(id),
        }),
    }
}

fn xreadgroup(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let read = ReadArguments::parse(arguments, true, context.now_ms)?;
    read.may_be_said(context, arguments)?;
    let mut positions = Vec::with_capacity(read.keys.len());
    let mut bytes_max = 0;
    for (key, argument) in read.keys.iter().zip(read.ids) {
        let group = context
            .keys
            .stream(key)?
            .and_then(|stream| stream.group(read.group));
        let Some(group) = group else {
            return Err(CommandError::new(format!(
                "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                super::streams_ids::shown(key),
                super::streams_ids::shown(read.group)
            )));
        };
        let position = group_position(argument)?;
        let own = group
            .consumer(read.consumer)
            .filter(|_| position != GroupPosition::New);
        let listed = own.map_or(0, |consumer| consumer.pending_count().min(read.limit));
        bytes_max += room_bytes(&read, key, listed);
        positions.push(position);
    }
    context.keys.ensure_room(bytes_max)?;
    let deferred = reply.begin_deferred();
    let mut streams = 0;
    let mut idle_keys = Vec::new();
    for (key, position) in read.keys.iter().zip(positions) {
        let is_new = create_consumer(context, key, read.group, read.consumer)?;
        let is_served = match position {
            GroupPosition::New => serve_new(context, &read, key, reply)?,
            GroupPosition::HistoryAfter(after) => {
                serve_history(context, &read, key, after, reply)?;
                true
            }
        };
        streams += usize::from(is_served);
        if !is_served && !is_new {
            idle_keys.push(*key);
        }
    }
    if let Some(block_ms) = read.block_ms.filter(|_| streams == 0 && context.may_block) {
        let request = read.block_request(block_ms, context.now_ms, true);
        context.block(request, reply);
        return Ok(());
    }
    for key in idle_keys {
        touch(context, &read, key)?;
    }
    if streams > 0 {
        end_streams(reply, deferred, streams);
    } else {
        reply.null_array();
    }
    Ok(())
}

/// At most so many bytes that reading one stream adds to the log, with `listed` entries of the consumer's history.
fn room_bytes(read: &ReadArguments<'_>, key: &[u8], listed: usize) -> usize {
    const EFFECTS_MAX: usize = 3;
    const NUMBERS_BYTES_MAX: usize = 200;
    const LISTED_BYTES_MAX: usize = 30;
    let names = key.len() + read.group.len() + read.consumer.len();
    EFFECTS_MAX * (names + NUMBERS_BYTES_MAX) + listed * LISTED_BYTES_MAX
}

/// Notes that the consumer asked.
fn touch(context: &mut Context<'_>, read: &ReadArguments<'_>, key: &[u8]) -> CommandResult {
    let touch = StreamEffect::TouchConsumer {
        group: read.group,
        consumer: read.consumer,
        now_ms: context.now_ms,
        is_active: false,
    };
    context.keys.apply(key, Effect::Stream(touch))?;
    Ok(())
}

/// Writes what the group has not been given and gives it to the consumer; false if there is nothing.
fn serve_new(
    context: &mut Context<'_>,
    read: &ReadArguments<'_>,
    key: &[u8],
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    let Some(stream) = context.keys.stream(key)? else {
        return Ok(false);
    };
    let group = stream.group(read.group);
    let Some(start) = group.and_then(|group| group.last_delivered_id.next()) else {
        return Ok(false);
    };
    let mut entries = stream
        .range(start, StreamId::MAX)
        .take(read.limit)
        .peekable();
    if entries.peek().is_none() {
        return Ok(false);
    }
    begin_stream(reply, key);
    let count = reply_entries(reply, entries);
    let deliver = StreamEffect::Deliver {
        group: read.group,
        consumer: read.consumer,
        now_ms: context.now_ms,
        count: count as u64,
        is_pending: !read.no_ack,
    };
    context.keys.apply(key, Effect::Stream(deliver))?;
    Ok(true)
}

/// Writes what the consumer was given and has not acknowledged; that counts as another delivery. Entries that are gone are told as
/// null.
fn serve_history(
    context: &mut Context<'_>,
    read: &ReadArguments<'_>,
    key: &[u8],
    after: StreamId,
    reply: &mut Reply<'_>,
) -> CommandResult {
    begin_stream(reply, key);
    let mut delivered: Vec<(StreamId, u64)> = Vec::new();
    let deferred = reply.begin_deferred();
    let mut listed = 0;
    let found = (context.keys.stream(key)?)
        .and_then(|stream| Some((stream, stream.group(read.group)?)))
        .and_then(|(stream, group)| Some((stream, group, group.consumer(read.consumer)?)));
    if let (Some((stream, group, consumer)), Some(start)) = (found, after.next()) {
        for id in consumer.pending_ids(start).take(read.limit) {
            listed += 1;
            if let Some(entry) = stream.get(id) {
                reply_entry(reply, &entry);
                let deliveries = group.pending(id).map_or(0, |pending| pending.deliveries);
                delivered.push((id, deliveries.saturating_add(1)));
            } else {
                reply.array_header(2);
                reply_id(reply, id);
                reply.null_array();
            }
        }
    }
    reply.end_deferred_array(deferred, listed);
    touch(context, read, key)?;
    if !delivered.is_empty() {
        let claim = StreamEffect::Claim {
            group: read.group,
            consumer: read.consumer,
            delivered_ms: context.now_ms,
            entries: delivered[..].into(),
        };
        context.keys.apply(key, Effect::Stream(claim))?;
    }
    Ok(())
}

const KEYS: &[KeySpec] = &[KeySpec::Found(find_keys)];
const BLOCKING: Flags = Flags::BLOCKING.and(Flags::MOVABLE_KEYS);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "5.0.0",
        complexity: "O(M) for each stream of which M entries are returned",
        summary: "Returns what comes after given IDs in several streams, and may wait for it.",
        ..CommandSpec::new(
            "xread",
            -4,
            BLOCKING.and(Flags::READONLY),
            KEYS,
            Group::Stream,
            xread,
        )
        .with_key_uses(&[KeyUse::READ.after("STREAMS", 1, -1, 2)])
    }
    .with_syntax("[COUNT count:integer] [BLOCK milliseconds:integer] <STREAMS key... id...>"),
    CommandSpec {
        since: "5.0.0",
        complexity: "O(M) for each stream of which M entries are returned",
        summary: "Gives a consumer what its group has not been given yet, or what is pending for it; may wait for it.",
        ..CommandSpec::new(
            "xreadgroup",
            -7,
            BLOCKING.and(Flags::WRITE),
            KEYS,
            Group::Stream,
            xreadgroup,
        )
        .with_key_uses(&[KeyUse::READ.after("STREAMS", 4, -1, 2)])
    }
    .with_syntax(
        "group-block<GROUP group consumer> [COUNT count:integer] [BLOCK milliseconds:integer] \
         [NOACK] <STREAMS key... id...>",
    ),
];
