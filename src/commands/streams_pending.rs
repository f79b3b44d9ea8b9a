//! What was delivered and not acknowledged: XPENDING, XCLAIM, XAUTOCLAIM.

use super::access::KeyUse;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::streams::RANDOM;
use super::streams_groups::create_consumer;
use super::streams_ids::{id, range_end, range_start, reply_entry, reply_id, stream_and_group};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use crate::value::{Group as ConsumerGroup, Stream};
use storage_format::{Effect, StreamEffect, StreamId};

fn xpending(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, group) = (arguments[1], arguments[2]);
    match arguments.len() {
        3 => {
            let (_, group) = stream_and_group(context, key, group)?;
            summarise(group, reply);
            return Ok(());
        }
        6..=9 => {}
        _ => return Err(CommandError::SYNTAX),
    }
    let has_idle = is_keyword(arguments[3], "idle");
    let mut idle_ms = 0;
    if has_idle {
        idle_ms = u64::try_from(integer(arguments[4])?).unwrap_or(0);
        if arguments.len() < 8 {
            return Err(CommandError::SYNTAX);
        }
    }
    let first = if has_idle { 5 } else { 3 };
    let limit = usize::try_from(integer(arguments[first + 2])?).unwrap_or(0);
    let start = range_start(arguments[first])?;
    let end = range_end(arguments[first + 1])?;
    let consumer = arguments.get(first + 3).copied();
    let now_ms = context.now_ms;
    let (_, group) = stream_and_group(context, key, group)?;
    let listed = PendingRange {
        start,
        end,
        limit,
        idle_ms,
        now_ms,
    };
    listed.reply(group, consumer, reply);
    Ok(())
}

/// How many are pending, the first and the last of them, and how many each consumer has.
fn summarise(group: &ConsumerGroup, reply: &mut Reply<'_>) {
    reply.array_header(4);
    reply.count(group.pending_count());
    let mut pending = group.pending_from(StreamId::MIN).map(|(id, _)| id);
    let first = pending.next();
    let last = pending.next_back().or(first);
    let (Some(first), Some(last)) = (first, last) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first);
    reply_id(reply, last);
    let deferred = reply.begin_deferred();
    let mut consumers = 0;
    for (name, consumer) in group.consumers() {
        if consumer.pending_count() > 0 {
            reply.array_header(2);
            reply.bulk(name);
            reply.bulk_integer(consumer.pending_count() as i64);
            consumers += 1;
        }
    }
    reply.end_deferred_array(deferred, consumers);
}

/// Which pending entries XPENDING lists.
struct PendingRange {
    start: StreamId,
    end: StreamId,
    limit: usize,
    idle_ms: u64,
    now_ms: u64,
}

impl PendingRange {
    fn reply(&self, group: &ConsumerGroup, consumer: Option<&[u8]>, reply: &mut Reply<'_>) {
        let deferred = reply.begin_deferred();
        let count = match consumer {
            None => {
                let ids = group.pending_from(self.start).map(|(id, _)| id);
                self.reply_ids(group, ids, reply)
            }
            Some(name) => group.consumer(name).map_or(0, |consumer| {
                self.reply_ids(group, consumer.pending_ids(self.start), reply)
            }),
        };
        reply.end_deferred_array(deferred, count);
    }

    fn reply_ids(
        &self,
        group: &ConsumerGroup,
        ids: impl Iterator<Item = StreamId>,
        reply: &mut Reply<'_>,
    ) -> usize {
        let mut count = 0;
        for id in ids.take_while(|id| *id <= self.end) {
            if count == self.limit {
                break;
            }
            let Some(pending) = group.pending(id) else {
                continue;
            };
            let idle_ms = self.now_ms.saturating_sub(pending.delivered_ms);
            if idle_ms < self.idle_ms {
                continue;
            }
            reply.array_header(4);
            reply_id(reply, id);
            reply.bulk(pending.consumer());
            reply.integer(idle_ms as i64);
            reply.integer(pending.deliveries as i64);
            count += 1;
        }
        count
    }
}

/// The options of XCLAIM behind the IDs.
#[derive(Default)]
struct ClaimOptions {
    ids: Vec<StreamId>,
    is_forced: bool,
    just_ids: bool,
    delivered_ms: Option<i64>,
    deliveries: Option<u64>,
    last_id: StreamId,
}

impl ClaimOptions {
    /// Reads IDs until something is not one, then options.
    fn read(arguments: &[&[u8]], now_ms: u64) -> Result<Self, CommandError> {
        let mut read = Self::default();
        let mut options = Options::new(arguments, 5);
        while let Some(next) = options.rest().first().and_then(|word| id(word, 0).ok()) {
            read.ids.push(next);
            options.value()?;
        }
        while let Some(word) = options.next() {
            let has_value = !options.rest().is_empty();
            if is_keyword(word, "force") {
                read.is_forced = true;
            } else if is_keyword(word, "justid") {
                read.just_ids = true;
            } else if is_keyword(word, "idle") && has_value {
                let idle_ms = claim_number(options.value()?, "IDLE option")?;
                read.delivered_ms = Some((now_ms as i64).wrapping_sub(idle_ms));
            } else if is_keyword(word, "time") && has_value {
                read.delivered_ms = Some(claim_number(options.value()?, "TIME option")?);
            } else if is_keyword(word, "retrycount") && has_value {
                let deliveries = claim_number(options.value()?, "RETRYCOUNT option")?;
                read.deliveries = u64::try_from(deliveries).ok();
            } else if is_keyword(word, "lastid") && has_value {
                read.last_id = id(options.value()?, 0)?;
            } else {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::new(format!(
                    "ERR Unrecognized XCLAIM option '{word}'"
                )));
            }
        }
        Ok(read)
    }

    /// When the entries count as delivered. What is no sensible time means now.
    fn delivered_ms(&self, now_ms: u64) -> u64 {
        self.delivered_ms
            .and_then(|delivered_ms| u64::try_from(delivered_ms).ok())
            .map_or(now_ms, |delivered_ms| delivered_ms.min(now_ms))
    }
}

fn claim_number(argument: &[u8], what: &str) -> Result<i64, CommandError> {
    parse_integer(argument)
        .ok_or_else(|| CommandError::new(format!("ERR Invalid {what} argument for XCLAIM")))
}

/// What a claim does to a group.
#[derive(Default)]
struct Claimed {
    /// Entries for the consumer, with the number of their deliveries.
    entries: Vec<(StreamId, u64)>,
    /// Pending entries that the stream has no longer.
    deleted: Vec<StreamId>,
}

impl Claimed {
    /// Applies it; the consumer is made if need be, and counts as seen.
    fn apply(
        &self,
        context: &mut Context<'_>,
        names: &ClaimNames<'_>,
        delivered_ms: u64,
    ) -> CommandResult {
        let ClaimNames {
            key,
            group,
            consumer,
        } = *names;
        let claim = StreamEffect::Claim {
            group,
            consumer,
            delivered_ms,
            entries: self.entries[..].into(),
        };
        let acknowledge = StreamEffect::Acknowledge {
            group,
            ids: self.deleted[..].into(),
        };
        let touch = StreamEffect::TouchConsumer {
            group,
            consumer,
            now_ms: context.now_ms,
            is_active: !self.entries.is_empty(),
        };
        let bytes_max = claim.bytes_max() + acknowledge.bytes_max() + 2 * touch.bytes_max();
        context.keys.ensure_room(4 * key.len() + bytes_max)?;
        create_consumer(context, key, group, consumer)?;
        context.keys.apply(key, Effect::Stream(touch))?;
        if !self.deleted.is_empty() {
            context.keys.apply(key, Effect::Stream(acknowledge))?;
        }
        if !self.entries.is_empty() {
            context.keys.apply(key, Effect::Stream(claim))?;
        }
        Ok(())
    }

    /// Writes the entries, or their IDs only.
    fn reply(&self, stream: &Stream, just_ids: bool, reply: &mut Reply<'_>) {
        reply.array_header(self.entries.len());
        for (id, _) in &self.entries {
            match stream.get(*id) {
                Some(entry) if !just_ids => reply_entry(reply, &entry),
                _ => reply_id(reply, *id),
            }
        }
    }
}

/// Whose entries are claimed, and for whom.
struct ClaimNames<'a> {
    key: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
}

impl<'a> ClaimNames<'a> {
    fn new(arguments: &[&'a [u8]]) -> Self {
        Self {
            key: arguments[1],
            group: arguments[2],
            consumer: arguments[3],
        }
    }
}

fn xclaim(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let names = ClaimNames::new(arguments);
    let now_ms = context.now_ms;
    let (stream, group) = stream_and_group(context, names.key, names.group)?;
    let idle_ms = claim_number(arguments[4], "min-idle-time")?;
    let idle_ms = u64::try_from(idle_ms).unwrap_or(0);
    let options = ClaimOptions::read(arguments, now_ms)?;
    let position = (options.last_id, group.entries_read);
    let moves_group = options.last_id > group.last_delivered_id;
    let mut claimed = Claimed::default();
    for id in &options.ids {
        let claimed_before = claimed.entries.iter().rfind(|(before, _)| before == id);
        let pending = (group.pending(*id)).filter(|_| !claimed.deleted.contains(id));
        if stream.get(*id).is_none() {
            claimed.deleted.extend(pending.map(|_| *id));
            continue;
        }
        let (before, delivered_ms) = match (claimed_before, pending) {
            (Some((_, deliveries)), _) => (*deliveries, Some(options.delivered_ms(now_ms))),
            (None, Some(pending)) => (pending.deliveries, Some(pending.delivered_ms)),
            (None, None) if options.is_forced => (1, None),
            (None, None) => continue,
        };
        if delivered_ms.is_some_and(|delivered_ms| now_ms.saturating_sub(delivered_ms) < idle_ms) {
            continue;
        }
        let counted = before.saturating_add(u64::from(!options.just_ids));
        let deliveries = options.deliveries.unwrap_or(counted);
        claimed.entries.push((*id, deliveries));
    }
    claimed.reply(stream, options.just_ids, reply);
    if moves_group {
        let set = StreamEffect::SetGroupId {
            group: names.group,
            last_delivered_id: position.0,
            entries_read: position.1,
        };
        context.keys.apply(names.key, Effect::Stream(set))?;
    }
    claimed.apply(context, &names, options.delivered_ms(now_ms))
}

/// The options of XAUTOCLAIM.
struct AutoclaimOptions {
    idle_ms: u64,
    start: StreamId,
    count: usize,
    just_ids: bool,
}

impl AutoclaimOptions {
    fn read(arguments: &[&[u8]]) -> Result<Self, CommandError> {
        const NOT_IDLE: CommandError =
            CommandError::fixed("ERR Invalid min-idle-time argument for XAUTOCLAIM");
        const NOT_COUNT: CommandError = CommandError::fixed("ERR COUNT must be > 0");
        const COUNT_MAX: i64 = i64::MAX / 16;
        const COUNT_DEFAULT: usize = 100;
        let idle_ms = parse_integer(arguments[4]).ok_or(NOT_IDLE)?;
        let mut read = Self {
            idle_ms: u64::try_from(idle_ms).unwrap_or(0),
            start: range_start(arguments[5])?,
            count: COUNT_DEFAULT,
            just_ids: false,
        };
        let mut options = Options::new(arguments, 6);
        while let Some(word) = options.next() {
            if is_keyword(word, "count") && !options.rest().is_empty() {
                let count =
                    parse_integer(options.value()?).filter(|count| (1..=COUNT_MAX).contains(count));
                read.count = count.ok_or(NOT_COUNT)? as usize;
            } else if is_keyword(word, "justid") {
                read.just_ids = true;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(read)
    }
}

fn xautoclaim(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const ATTEMPTS_FACTOR: usize = 10;
    let names = ClaimNames::new(arguments);
    let options = AutoclaimOptions::read(arguments)?;
    let now_ms = context.now_ms;
    let (stream, group) = stream_and_group(context, names.key, names.group)?;
    let mut claimed = Claimed::default();
    let mut pending = group.pending_from(options.start);
    for (id, pending) in (pending.by_ref()).take(options.count.saturating_mul(ATTEMPTS_FACTOR)) {
        let idle_ms = now_ms.saturating_sub(pending.delivered_ms);
        if stream.get(id).is_none() {
            claimed.deleted.push(id);
        } else if idle_ms >= options.idle_ms {
            let deliveries = (pending.deliveries).saturating_add(u64::from(!options.just_ids));
            claimed.entries.push((id, deliveries));
        }
        if claimed.deleted.len() + claimed.entries.len() == options.count {
            break;
        }
    }
    let next = pending.next().map_or(StreamId::MIN, |(id, _)| id);
    drop(pending);
    reply.array_header(3);
    reply_id(reply, next);
    claimed.reply(stream, options.just_ids, reply);
    reply.array_header(claimed.deleted.len());
    claimed.deleted.iter().for_each(|id| reply_id(reply, *id));
    claimed.apply(context, &names, now_ms)
}

const CLAIM: Flags = Flags::WRITE.and(Flags::FAST);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "5.0.0",
        complexity: "O(N) for N entries returned; with IDLE O(M) for M entries looked at",
        summary: "Lists what consumers were given and have not acknowledged, or sums it up.",
        ..CommandSpec::new(
            "xpending",
            -3,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Stream,
            xpending,
        )
        .with_tips(RANDOM)
    }
    .with_syntax(
        "key group \
         filters[[IDLE min-idle-time:integer]@6.2.0 start end count:integer [consumer]]",
    )
    .with_history(&[("6.2.0", "Ends of the range may be exclusive.")]),
    CommandSpec {
        since: "5.0.0",
        complexity: "O(log(N)) for each entry, N being those that are pending in the group",
        summary: "Hands pending entries over to another consumer.",
        ..CommandSpec::new("xclaim", -6, CLAIM, KeySpec::FIRST, Group::Stream, xclaim)
            .with_tips(RANDOM)
    }
    .with_syntax(
        "key group consumer min-idle-time id... [IDLE ms:integer] \
         [TIME unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID] \
         [LASTID lastid]",
    ),
    CommandSpec {
        since: "6.2.0",
        complexity: "O(1) with a small COUNT",
        summary: "Hands over to another consumer what has been pending for too long.",
        ..CommandSpec::new(
            "xautoclaim",
            -6,
            CLAIM,
            KeySpec::FIRST,
            Group::Stream,
            xautoclaim,
        )
        .with_key_uses(&[KeyUse::DELETE])
        .with_tips(RANDOM)
    }
    .with_syntax("key group consumer min-idle-time start [COUNT count:integer] [JUSTID]")
    .with_history(&[("7.0.0", "The reply names entries that are deleted.")]),
];
