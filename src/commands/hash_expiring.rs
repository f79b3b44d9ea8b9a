//! Values of hash fields together with their deadlines: HGETEX, HSETEX, HGETDEL (Redis 8.0).

use super::access::KeyUse;
use super::collections::{CopiedItems, ensure_room_for};
use super::context::Context;
use super::hash_deadlines::{
    delete_fields, field_deadline_ms, fields_of, persist_fields, set_keeping_deadlines,
};
use super::options::{TimeForm, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use storage_format::Effect;

/// Replies the values of fields as HMGET does.
fn reply_values(
    context: &mut Context<'_>,
    key: &[u8],
    fields: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let hash = context.keys.hash(key)?;
    reply.array_header(fields.len());
    for field in fields {
        reply.bulk_or_null(hash.and_then(|hash| hash.get(field)));
    }
    Ok(())
}

/// The fields among these that are there.
fn present(
    context: &mut Context<'_>,
    key: &[u8],
    fields: &[&[u8]],
) -> Result<CopiedItems, CommandError> {
    let hash = context.keys.hash(key)?;
    let is_there = |field: &&&[u8]| hash.is_some_and(|hash| hash.contains(field));
    Ok(fields.iter().filter(is_there).copied().collect())
}

fn hgetdel(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    context.keys.hash(key)?;
    let fields = fields_of(arguments, 2)?;
    let start = reply.position();
    // A field named twice is gone the second time.
    let hash = context.keys.hash(key)?;
    let mut seen = hashbrown::HashSet::new();
    reply.array_header(fields.len());
    for field in fields {
        let value = hash.and_then(|hash| hash.get(field));
        reply.bulk_or_null(value.filter(|_| seen.insert(*field)));
    }
    let found = present(context, key, fields)?;
    delete_fields(context, key, &found.slices()).inspect_err(|_| reply.rewind(start))
}

/// What HGETEX and HSETEX do to the deadlines of their fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// HGETEX leaves them alone; HSETEX takes them away, as HSET does.
    None,
    /// EX, PX, EXAT, PXAT.
    At(u64),
    /// PERSIST.
    Persist,
    /// KEEPTTL.
    Keep,
}

impl Change {
    /// Reads EX and its relatives at index `at`: the change, and how many arguments it took. `None`: it is something else.
    fn read(
        context: &Context<'_>,
        arguments: &[&[u8]],
        at: usize,
        name: &str,
    ) -> Result<Option<(Change, usize)>, CommandError> {
        let word = arguments[at];
        if is_keyword(word, "persist") && name == "hgetex" {
            return Ok(Some((Change::Persist, 1)));
        }
        if is_keyword(word, "keepttl") && name == "hsetex" {
            return Ok(Some((Change::Keep, 1)));
        }
        let Some(form) = TimeForm::from_keyword(word) else {
            return Ok(None);
        };
        let time = arguments.get(at + 1).ok_or(CommandError::SYNTAX)?;
        let deadline_ms = field_deadline_ms(time, form, context.now_ms, name)?;
        Ok(Some((Change::At(deadline_ms), 2)))
    }
}

fn set_deadline(
    context: &mut Context<'_>,
    key: &[u8],
    fields: &[&[u8]],
    deadline_ms: u64,
) -> CommandResult {
    if deadline_ms <= context.now_ms {
        return delete_fields(context, key, fields);
    }
    let applied = context.keys.apply(
        key,
        Effect::HashSetDeadline {
            deadline_ms,
            fields: fields.into(),
        },
    )?;
    if applied.updated > 0 {
        context.keys.notify(EventClasses::HASH, "hexpire", key);
    }
    Ok(())
}

fn hgetex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const SEVERAL: CommandError = CommandError::fixed(
        "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified",
    );
    let key = arguments[1];
    context.keys.hash(key)?;
    let (mut change, mut at) = (Change::None, 2);
    while at < arguments.len()
        && let Some((read, taken)) = Change::read(context, arguments, at, "hgetex")?
    {
        if change != Change::None {
            return Err(SEVERAL);
        }
        (change, at) = (read, at + taken);
    }
    let fields = fields_of(arguments, at)?;
    let start = reply.position();
    reply_values(context, key, fields, reply)?;
    let found = present(context, key, fields)?;
    let found = found.slices();
    let changed = match change {
        _ if found.is_empty() => Ok(()),
        Change::At(deadline_ms) => set_deadline(context, key, &found, deadline_ms),
        Change::Persist => persist_fields(context, key, &found),
        Change::None | Change::Keep => Ok(()),
    };
    changed.inspect_err(|_| reply.rewind(start))
}

/// The arguments of HSETEX.
struct SetExpiring<'a> {
    /// FNX (`false`): only if none of the fields is there. FXX (`true`): only if all are.
    wants_all: Option<bool>,
    change: Change,
    pairs: &'a [&'a [u8]],
}

impl<'a> SetExpiring<'a> {
    fn read(context: &Context<'_>, arguments: &'a [&'a [u8]]) -> Result<Self, CommandError> {
        const SEVERAL_CONDITIONS: CommandError =
            CommandError::fixed("ERR Only one of FXX or FNX arguments can be specified");
        const SEVERAL: CommandError = CommandError::fixed(
            "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        );
        let (mut wants_all, mut change, mut at) = (None, Change::None, 2);
        while at < arguments.len() {
            let word = arguments[at];
            let is_fxx = is_keyword(word, "fxx");
            if is_keyword(word, "fields") {
                let pairs = Self::pairs(&arguments[at + 1..])?;
                return Ok(Self {
                    wants_all,
                    change,
                    pairs,
                });
            } else if is_fxx || is_keyword(word, "fnx") {
                if wants_all.replace(is_fxx).is_some() {
                    return Err(SEVERAL_CONDITIONS);
                }
                at += 1;
            } else if let Some((read, taken)) = Change::read(context, arguments, at, "hsetex")? {
                if change != Change::None {
                    return Err(SEVERAL);
                }
                (change, at) = (read, at + taken);
            } else {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::new(format!("ERR unknown argument: {word}")));
            }
        }
        Err(CommandError::fixed("ERR missing FIELDS argument"))
    }

    fn pairs(arguments: &'a [&'a [u8]]) -> Result<&'a [&'a [u8]], CommandError> {
        let (count, pairs) = arguments
            .split_first()
            .ok_or_else(|| CommandError::wrong_arity("hsetex"))?;
        let count = parse_integer(count)
            .filter(|count| (1..=i64::MAX / 2).contains(count))
            .ok_or(CommandError::fixed("ERR invalid number of fields"))?;
        if pairs.len() as i64 != count * 2 {
            return Err(CommandError::wrong_arity("hsetex"));
        }
        Ok(pairs)
    }
}

fn hsetex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    context.keys.hash(key)?;
    let SetExpiring {
        wants_all,
        change,
        pairs,
    } = SetExpiring::read(context, arguments)?;
    if let Some(wanted) = wants_all {
        let hash = context.keys.hash(key)?;
        let mut fields = pairs.iter().step_by(2);
        if !fields.all(|field| hash.is_some_and(|hash| hash.contains(field)) == wanted) {
            reply.integer(0);
            return Ok(());
        }
    }
    let fields: Vec<&[u8]> = pairs.iter().step_by(2).copied().collect();
    match change {
        Change::At(deadline_ms) if deadline_ms <= context.now_ms => {
            delete_fields(context, key, &fields)?;
        }
        Change::Keep => {
            set_keeping_deadlines(context, key, pairs)?;
            context.keys.notify(EventClasses::HASH, "hset", key);
        }
        Change::At(deadline_ms) => {
            let payload_bytes = pairs.iter().map(|item| 2 * (item.len() + 10)).sum();
            ensure_room_for(&context.keys, 2, key.len(), payload_bytes)?;
            let pairs = pairs.into();
            context.keys.apply(key, Effect::HashSet { pairs })?;
            context.keys.notify(EventClasses::HASH, "hset", key);
            set_deadline(context, key, &fields, deadline_ms)?;
        }
        Change::None | Change::Persist => {
            let pairs = pairs.into();
            context.keys.apply(key, Effect::HashSet { pairs })?;
            context.keys.notify(EventClasses::HASH, "hset", key);
        }
    }
    reply.integer(1);
    Ok(())
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
const PER_FIELD: &str = "O(N) for N fields";

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "8.0.0",
        complexity: PER_FIELD,
        summary: "Reads fields of a hash; may also set their deadlines or take them away.",
        ..CommandSpec::new("hgetex", -5, WRITE, KeySpec::FIRST, Group::Hash, hgetex)
    }
    .with_key_uses(&[KeyUse::CHANGE])
    .with_syntax(
        "key \
         expiration[EX seconds:integer | PX milliseconds:integer \
         | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | PERSIST] \
         <FIELDS numfields:integer field...>",
    ),
    CommandSpec {
        since: "8.0.0",
        complexity: PER_FIELD,
        summary: "Sets fields of a hash; may also give them a deadline.",
        ..CommandSpec::new("hsetex", -6, WRITE, KeySpec::FIRST, Group::Hash, hsetex)
    }
    .with_key_uses(&[KeyUse::UPDATE])
    .with_syntax(
        "key condition[FNX | FXX] \
         expiration[EX seconds:integer | PX milliseconds:integer \
         | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | KEEPTTL] \
         <FIELDS numfields:integer data<field value>...>",
    ),
    CommandSpec {
        since: "8.0.0",
        complexity: PER_FIELD,
        summary: "Reads fields of a hash and removes them.",
        ..CommandSpec::new(
            "hgetdel",
            -5,
            Flags::WRITE.and(Flags::FAST),
            KeySpec::FIRST,
            Group::Hash,
            hgetdel,
        )
    }
    .with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key <FIELDS numfields:integer field...>"),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::{START_MS, TestServer};

    #[test]
    fn get_and_delete() {
        TestServer::new().check_all(&[
            ("HGETDEL h FIELDS 1 a", "[nil]"),
            ("HSET h a 1 b 2 c 3", ":3"),
            ("HGETDEL h FIELDS 3 a none a", "[\"1\" nil nil]"),
            ("HGETDEL h FIELDS 2 b c", "[\"2\" \"3\"]"),
            ("EXISTS h", ":0"),
            (
                "HGETDEL h FOO 1 a",
                "-ERR Mandatory argument FIELDS is missing or not at the right position",
            ),
            (
                "HGETDEL h FIELDS 0 a",
                "-ERR Number of fields must be a positive integer",
            ),
            (
                "HGETDEL h FIELDS 2 a",
                "-ERR The `numfields` parameter must match the number of arguments",
            ),
            ("SET s x", "+OK"),
            (
                "HGETDEL s FIELDS 1 a",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }

    #[test]
    fn get_and_expire() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("HGETEX h EX 10 FIELDS 1 a", "[nil]"),
            ("HSET h a 1 b 2", ":2"),
            ("HGETEX h FIELDS 2 a none", "[\"1\" nil]"),
            ("HGETEX h EX 10 FIELDS 2 a none", "[\"1\" nil]"),
            ("HTTL h FIELDS 2 a b", "[:10 :-1]"),
            ("HGETEX h PERSIST FIELDS 1 a", "[\"1\"]"),
            ("HTTL h FIELDS 1 a", "[:-1]"),
            (
                &format!("HGETEX h PXAT {} FIELDS 1 a", START_MS + 5),
                "[\"1\"]",
            ),
            ("HPTTL h FIELDS 1 a", "[:5]"),
            (
                "HGETEX h EX 1 PERSIST FIELDS 1 a",
                "-ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified",
            ),
            (
                "HGETEX h EX -1 FIELDS 1 a",
                "-ERR invalid expire time, must be >= 0",
            ),
            (
                "HGETEX h EX 9223372036854775807 FIELDS 1 a",
                "-ERR invalid expire time in 'hgetex' command",
            ),
            ("HGETEX h EXAT 1 FIELDS 1 b", "[\"2\"]"),
            ("HLEN h", ":1"),
        ]);
        server.advance_ms(5);
        server.check("HGETEX h FIELDS 1 a", "[nil]");
        server.check("EXISTS h", ":0");
    }

    #[test]
    fn set_and_expire() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("HSETEX h EX 10 FIELDS 2 a 1 b 2", ":1"),
            ("HTTL h FIELDS 2 a b", "[:10 :10]"),
            ("HSETEX h KEEPTTL FIELDS 2 a 3 c 4", ":1"),
            ("HMGET h a b c", "[\"3\" \"2\" \"4\"]"),
            ("HTTL h FIELDS 3 a b c", "[:10 :10 :-1]"),
            ("HSETEX h FIELDS 1 a 5", ":1"),
            ("HTTL h FIELDS 1 a", "[:-1]"),
            ("HSETEX h FNX EX 1 FIELDS 2 new 1 a 1", ":0"),
            ("HSETEX h FXX EX 1 FIELDS 2 new 1 a 1", ":0"),
            ("HSETEX h FXX EX 5 FIELDS 2 a 6 b 7", ":1"),
            ("HTTL h FIELDS 3 a b c", "[:5 :5 :-1]"),
            ("HSETEX h FNX FIELDS 1 new 1", ":1"),
            ("HSETEX h EXAT 1 FIELDS 2 a 1 gone 1", ":1"),
            ("HMGET h a gone", "[nil nil]"),
            (
                "HSETEX h FNX FXX FIELDS 1 a 1",
                "-ERR Only one of FXX or FNX arguments can be specified",
            ),
            (
                "HSETEX h EX 1 PX 1 FIELDS 1 a 1",
                "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
            ),
            (
                "HSETEX h EX 1 FIELDS 0 a 1",
                "-ERR invalid number of fields",
            ),
            (
                "HSETEX h EX 1 FIELDS 2 a 1",
                "-ERR wrong number of arguments for 'hsetex' command",
            ),
            ("HSETEX h EX 1 FOO 1 a 1", "-ERR unknown argument: FOO"),
        ]);
    }
}
