//! Deadlines of the fields of hashes: HEXPIRE and its relatives, HTTL and its relatives, HPERSIST.
//!
//! As with keys, a field's deadline is absolute, in Unix milliseconds; that is what the log gets. A deadline that has passed already
//! deletes the field. Fields that have expired are gone before a command sees the hash.

use super::access::KeyUse;
use super::collections::{CopiedItems, ensure_room_for};
use super::context::Context;
use super::generic_expiry::Conditions;
use super::options::{TimeForm, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use hashbrown::HashMap;
use storage_format::Effect;

const NO_FIELDS: CommandError =
    CommandError::fixed("ERR Mandatory argument FIELDS is missing or not at the right position");
const FIELD_COUNT_OF_EXPIRE: CommandError =
    CommandError::fixed("ERR Parameter `numFields` should be greater than 0");
const FIELD_COUNT: CommandError =
    CommandError::fixed("ERR Number of fields must be a positive integer");
const OTHER_FIELD_COUNT: CommandError =
    CommandError::fixed("ERR The `numfields` parameter must match the number of arguments");
const NEGATIVE_TIME: CommandError = CommandError::fixed("ERR invalid expire time, must be >= 0");

/// What the commands reply for a field that is not there.
const NO_FIELD: i64 = -2;
/// And for one that has no deadline.
const NO_DEADLINE: i64 = -1;

/// The latest deadline that a command can give a field, in Unix milliseconds (Redis's limit, the year 4199).
const DEADLINE_MAX_MS: i64 = (1 << 46) - 1;

/// The fields of `FIELDS count field ...`, which `arguments` must be from index `at` on; `bad_count` for a count that is none.
pub(super) fn fields_at<'a>(
    arguments: &'a [&'a [u8]],
    at: usize,
    bad_count: CommandError,
) -> Result<&'a [&'a [u8]], CommandError> {
    let [word, count, fields @ ..] = arguments.get(at..).unwrap_or_default() else {
        return Err(NO_FIELDS);
    };
    if !is_keyword(word, "fields") {
        return Err(NO_FIELDS);
    }
    let count = parse_integer(count).filter(|count| *count > 0);
    if count.ok_or(bad_count)? != fields.len() as i64 {
        return Err(OTHER_FIELD_COUNT);
    }
    Ok(fields)
}

/// As [`fields_at`], with the text that most of these commands have.
pub(super) fn fields_of<'a>(
    arguments: &'a [&'a [u8]],
    at: usize,
) -> Result<&'a [&'a [u8]], CommandError> {
    fields_at(arguments, at, FIELD_COUNT)
}

/// Reads the time of a field's deadline: Unix milliseconds.
///
/// # Errors
/// No integer, negative, or too late.
pub(super) fn field_deadline_ms(
    argument: &[u8],
    form: TimeForm,
    now_ms: u64,
    name: &str,
) -> Result<u64, CommandError> {
    let time = integer(argument)?;
    if time < 0 {
        return Err(NEGATIVE_TIME);
    }
    form.to_unix_ms(time, now_ms)
        .filter(|deadline_ms| *deadline_ms <= DEADLINE_MAX_MS)
        .map(i64::unsigned_abs)
        .ok_or_else(|| CommandError::invalid_expire(name))
}

/// Deletes fields of a hash, with its events.
pub(super) fn delete_fields(
    context: &mut Context<'_>,
    key: &[u8],
    fields: &[&[u8]],
) -> CommandResult {
    if fields.is_empty() {
        return Ok(());
    }
    let applied = context.keys.apply(
        key,
        Effect::HashDelete {
            fields: fields.into(),
        },
    )?;
    if applied.added_or_removed > 0 {
        context.keys.notify(EventClasses::HASH, "hdel", key);
        if applied.length == 0 {
            context.keys.notify(EventClasses::GENERIC, "del", key);
        }
    }
    Ok(())
}

/// What a command does to the fields it names.
#[derive(Default)]
struct Plan<'a> {
    replies: Vec<i64>,
    changed: Vec<&'a [u8]>,
}

/// Decides field by field whether the conditions hold. A field named twice is met the second time as the first time left it.
fn plan<'a>(
    context: &mut Context<'_>,
    key: &[u8],
    fields: &[&'a [u8]],
    conditions: Conditions,
    deadline_ms: u64,
) -> Result<Plan<'a>, CommandError> {
    const SET: i64 = 1;
    const DELETED: i64 = 2;
    let is_past = deadline_ms <= context.now_ms;
    let Some(hash) = context.keys.hash(key)? else {
        return Ok(Plan {
            replies: vec![NO_FIELD; fields.len()],
            ..Plan::default()
        });
    };
    let (mut plan, mut planned) = (Plan::default(), HashMap::new());
    for field in fields {
        let (exists, current_ms) = match planned.get(field) {
            Some(()) => (!is_past, Some(deadline_ms)),
            None => (hash.contains(field), hash.field_deadline_ms(field)),
        };
        plan.replies.push(if !exists {
            NO_FIELD
        } else if !conditions.hold(current_ms, deadline_ms as i64) {
            0
        } else {
            if planned.insert(*field, ()).is_none() {
                plan.changed.push(field);
            }
            if is_past { DELETED } else { SET }
        });
    }
    Ok(plan)
}

fn set_deadlines(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    form: TimeForm,
    name: &str,
) -> CommandResult {
    let key = arguments[1];
    context.keys.hash(key)?;
    let deadline_ms = field_deadline_ms(arguments[2], form, context.now_ms, name)?;
    let (conditions, at) = match Conditions::of_word(arguments[3]) {
        Some(conditions) => (conditions, 4),
        None => (Conditions::default(), 3),
    };
    let fields = fields_at(arguments, at, FIELD_COUNT_OF_EXPIRE)?;
    let plan = plan(context, key, fields, conditions, deadline_ms)?;
    if deadline_ms <= context.now_ms {
        delete_fields(context, key, &plan.changed)?;
    } else if !plan.changed.is_empty() {
        context.keys.apply(
            key,
            Effect::HashSetDeadline {
                deadline_ms,
                fields: plan.changed.as_slice().into(),
            },
        )?;
        context.keys.notify(EventClasses::HASH, "hexpire", key);
    }
    reply.array_header(plan.replies.len());
    plan.replies
        .into_iter()
        .for_each(|code| reply.integer(code));
    Ok(())
}

fn hexpire(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    set_deadlines(context, arguments, reply, TimeForm::Seconds, "hexpire")
}

fn hpexpire(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    set_deadlines(
        context,
        arguments,
        reply,
        TimeForm::Milliseconds,
        "hpexpire",
    )
}

fn hexpireat(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    set_deadlines(context, arguments, reply, TimeForm::SecondsAt, "hexpireat")
}

fn hpexpireat(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    set_deadlines(
        context,
        arguments,
        reply,
        TimeForm::MillisecondsAt,
        "hpexpireat",
    )
}

/// Replies what `of` makes of each field's deadline.
fn reply_deadlines(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    of: impl Fn(u64) -> u64,
) -> CommandResult {
    let hash = context.keys.hash(arguments[1])?;
    let fields = fields_of(arguments, 2)?;
    reply.array_header(fields.len());
    for field in fields {
        reply.integer(match hash {
            Some(hash) if hash.contains(field) => hash
                .field_deadline_ms(field)
                .map_or(NO_DEADLINE, |deadline_ms| of(deadline_ms) as i64),
            _ => NO_FIELD,
        });
    }
    Ok(())
}

fn httl(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = context.now_ms;
    reply_deadlines(context, arguments, reply, |deadline_ms| {
        deadline_ms.saturating_sub(now_ms).div_ceil(1000)
    })
}

fn hpttl(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = context.now_ms;
    reply_deadlines(context, arguments, reply, |deadline_ms| {
        deadline_ms.saturating_sub(now_ms)
    })
}

fn hexpiretime(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply_deadlines(context, arguments, reply, |deadline_ms| {
        deadline_ms.div_ceil(1000)
    })
}

fn hpexpiretime(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply_deadlines(context, arguments, reply, |deadline_ms| deadline_ms)
}

/// Takes the deadlines of fields away, with the event; fields without one are passed over.
pub(super) fn persist_fields(
    context: &mut Context<'_>,
    key: &[u8],
    fields: &[&[u8]],
) -> CommandResult {
    let effect = Effect::HashSetDeadline {
        deadline_ms: 0,
        fields: fields.into(),
    };
    if context.keys.hash(key)?.is_some() && context.keys.apply(key, effect)?.updated > 0 {
        context.keys.notify(EventClasses::HASH, "hpersist", key);
    }
    Ok(())
}

fn hpersist(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const PERSISTED: i64 = 1;
    let key = arguments[1];
    context.keys.hash(key)?;
    let fields = fields_of(arguments, 2)?;
    let start = reply.position();
    let mut seen = HashMap::new();
    let hash = context.keys.hash(key)?;
    reply.array_header(fields.len());
    for field in fields {
        reply.integer(match hash {
            Some(hash) if hash.contains(field) => {
                let has_deadline = hash.field_deadline_ms(field).is_some();
                let is_first = seen.insert(*field, ()).is_none();
                if has_deadline && is_first {
                    PERSISTED
                } else {
                    NO_DEADLINE
                }
            }
            _ => NO_FIELD,
        });
    }
    persist_fields(context, key, fields).inspect_err(|_| reply.rewind(start))
}

/// Sets fields, each keeping the deadline that it has. `pairs` is field, value, field, value ...
pub(super) fn set_keeping_deadlines(
    context: &mut Context<'_>,
    key: &[u8],
    pairs: &[&[u8]],
) -> Result<u64, CommandError> {
    let mut by_deadline: HashMap<u64, CopiedItems> = HashMap::new();
    if let Some(hash) = context
        .keys
        .hash(key)?
        .filter(|hash| hash.has_field_deadlines())
    {
        for field in pairs.iter().step_by(2) {
            if let Some(deadline_ms) = hash.field_deadline_ms(field) {
                by_deadline.entry(deadline_ms).or_default().push(field);
            }
        }
    }
    let payload_bytes = pairs.iter().map(|item| 2 * (item.len() + 10)).sum();
    ensure_room_for(
        &context.keys,
        1 + by_deadline.len(),
        key.len(),
        payload_bytes,
    )?;
    let applied = context.keys.apply(
        key,
        Effect::HashSet {
            pairs: pairs.into(),
        },
    )?;
    let mut by_deadline: Vec<(u64, CopiedItems)> = by_deadline.into_iter().collect();
    by_deadline.sort_unstable_by_key(|(deadline_ms, _)| *deadline_ms);
    for (deadline_ms, fields) in by_deadline {
        let fields = fields.slices();
        context.keys.apply(
            key,
            Effect::HashSetDeadline {
                deadline_ms,
                fields: fields.as_slice().into(),
            },
        )?;
    }
    Ok(applied.added_or_removed)
}

const UPDATES: &[KeyUse] = &[KeyUse::UPDATE];
const READS: &[KeyUse] = &[KeyUse::READ];
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const READ: Flags = Flags::READONLY.and(Flags::FAST);
const PER_FIELD: &str = "O(N) for N fields";

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    uses: &'static [KeyUse],
    function: super::spec::CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since: "7.4.0",
        complexity: PER_FIELD,
        summary,
        ..CommandSpec::new(name, arity, flags, KeySpec::FIRST, Group::Hash, function)
    }
    .with_key_uses(uses)
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    row(
        "hexpire",
        -6,
        WRITE,
        "Gives fields of a hash a time to live in seconds.",
        UPDATES,
        hexpire,
    )
    .with_syntax(
        "key seconds:integer condition[NX | XX | GT | LT] <FIELDS numfields:integer \
         field...>",
    ),
    row(
        "hpexpire",
        -6,
        WRITE,
        "Gives fields of a hash a time to live in milliseconds.",
        UPDATES,
        hpexpire,
    )
    .with_syntax(
        "key milliseconds:integer condition[NX | XX | GT | LT] \
         <FIELDS numfields:integer field...>",
    ),
    row(
        "hexpireat",
        -6,
        WRITE,
        "Lets fields of a hash expire at a Unix time in seconds.",
        UPDATES,
        hexpireat,
    )
    .with_syntax(
        "key unix-time-seconds:unix-time condition[NX | XX | GT | LT] \
         <FIELDS numfields:integer field...>",
    ),
    row(
        "hpexpireat",
        -6,
        WRITE,
        "Lets fields of a hash expire at a Unix time in milliseconds.",
        UPDATES,
        hpexpireat,
    )
    .with_syntax(
        "key unix-time-milliseconds:unix-time condition[NX | XX | GT | LT] \
         <FIELDS numfields:integer field...>",
    ),
    row(
        "httl",
        -5,
        READ,
        "Tells how many seconds fields of a hash have left.",
        READS,
        httl,
    )
    .with_syntax("key <FIELDS numfields:integer field...>"),
    row(
        "hpttl",
        -5,
        READ,
        "Tells how many milliseconds fields of a hash have left.",
        READS,
        hpttl,
    )
    .with_syntax("key <FIELDS numfields:integer field...>"),
    row(
        "hexpiretime",
        -5,
        READ,
        "Tells at which Unix time in seconds fields of a hash expire.",
        READS,
        hexpiretime,
    )
    .with_syntax("key <FIELDS numfields:integer field...>"),
    row(
        "hpexpiretime",
        -5,
        READ,
        "Tells at which Unix time in milliseconds fields of a hash expire.",
        READS,
        hpexpiretime,
    )
    .with_syntax("key <FIELDS numfields:integer field...>"),
    row(
        "hpersist",
        -5,
        Flags::WRITE.and(Flags::FAST),
        "Takes the deadlines from fields of a hash.",
        UPDATES,
        hpersist,
    )
    .with_syntax("key <FIELDS numfields:integer field...>"),
];

#[cfg(test)]
#[path = "hash_deadlines_tests.rs"]
mod tests;
