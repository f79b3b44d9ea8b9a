//! Strings as wholes: SET and GET, and what combines or repeats them.
//!
//! Parts of a string are in `strings_ranges`, numbers in `strings_numbers`. GET and plain SET are the paths that decide the
//! server's speed: neither allocates, and each finds its key once.

use super::access::{KeyFlags, KeyUse};
use super::context::Context;
use super::options::{Options, TimeForm, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::strings_conditions::Comparison;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;

fn get(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_or_null(context.keys.text(arguments[1])?);
    Ok(())
}

/// What SET requires of the key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// NX.
    Absent,
    /// XX.
    Present,
}

/// The options of SET.
#[derive(Default)]
struct SetOptions<'a> {
    condition: Option<Condition>,
    comparison: Option<Comparison<'a>>,
    wants_former: bool,
    keeps_deadline: bool,
    time: Option<(TimeForm, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    fn read(mut options: Options<'a>) -> Result<SetOptions<'a>, CommandError> {
        let mut found = SetOptions::default();
        while let Some(word) = options.next() {
            if is_keyword(word, "nx") && found.may_require(Condition::Absent) {
                found.condition = Some(Condition::Absent);
            } else if is_keyword(word, "xx") && found.may_require(Condition::Present) {
                found.condition = Some(Condition::Present);
            } else if found.condition.is_none()
                && found.comparison.is_none()
                && let Some(comparison) = Comparison::read(word, &mut options)?
            {
                found.comparison = Some(comparison);
            } else if is_keyword(word, "get") {
                found.wants_former = true;
            } else if is_keyword(word, "keepttl") && found.time.is_none() {
                found.keeps_deadline = true;
            } else {
                found.time = Some(read_time(
                    word,
                    &mut options,
                    found.time,
                    found.keeps_deadline,
                )?);
            }
        }
        Ok(found)
    }

    /// False if an earlier condition is another one.
    fn may_require(&self, condition: Condition) -> bool {
        self.comparison.is_none() && self.condition.is_none_or(|former| former == condition)
    }

    fn deadline(&self, now_ms: u64) -> Result<Deadline, CommandError> {
        match self.time {
            Some((form, time)) => form.deadline_ms(time, now_ms, "set").map(Deadline::At),
            None if self.keeps_deadline => Ok(Deadline::Keep),
            None => Ok(Deadline::None),
        }
    }
}

/// Reads EX, PX, EXAT or PXAT and its time. A second one is accepted only if it has the same form: the last one counts.
fn read_time<'a>(
    word: &[u8],
    options: &mut Options<'a>,
    former: Option<(TimeForm, &'a [u8])>,
    excluded: bool,
) -> Result<(TimeForm, &'a [u8]), CommandError> {
    let form = TimeForm::from_keyword(word).ok_or(CommandError::SYNTAX)?;
    if excluded || former.is_some_and(|(former, _)| former != form) {
        return Err(CommandError::SYNTAX);
    }
    Ok((form, options.value()?))
}

fn set(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if arguments.len() > 3 {
        return set_with_options(context, arguments, reply);
    }
    set_text(context, arguments[1], arguments[2], Deadline::None)?;
    reply.ok();
    Ok(())
}

/// Sets a key and tells of it.
fn set_text(
    context: &mut Context<'_>,
    key: &[u8],
    text: &[u8],
    deadline: Deadline,
) -> CommandResult {
    context.keys.set_text(key, text, deadline)?;
    context.keys.notify(EventClasses::STRING, "set", key);
    if let Deadline::At(_) = deadline {
        context.keys.notify(EventClasses::GENERIC, "expire", key);
    }
    Ok(())
}

fn set_with_options(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, text) = (arguments[1], arguments[2]);
    let options = SetOptions::read(Options::new(arguments, 3))?;
    let deadline = options.deadline(context.now_ms)?;
    let exists = if options.wants_former {
        context.keys.counts_lookups = true;
        let former = context.keys.text(key)?;
        reply.bulk_or_null(former);
        former.is_some()
    } else {
        options.condition.is_some() && context.keys.exists(key)
    };
    let allowed = match options.condition {
        None => match &options.comparison {
            Some(comparison) => comparison.holds(context.keys.text(key)?),
            None => true,
        },
        Some(Condition::Absent) => !exists,
        Some(Condition::Present) => exists,
    };
    if allowed {
        set_text(context, key, text, deadline)?;
    }
    match (options.wants_former, allowed) {
        (true, _) => {}
        (false, true) => reply.ok(),
        (false, false) => reply.null(),
    }
    Ok(())
}

fn setnx(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let is_new = !context.keys.exists(arguments[1]);
    if is_new {
        set_text(context, arguments[1], arguments[2], Deadline::None)?;
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

fn setex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    set_for_a_time(context, arguments, reply, TimeForm::Seconds, "setex")
}

fn psetex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    set_for_a_time(context, arguments, reply, TimeForm::Milliseconds, "psetex")
}

fn set_for_a_time(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
    form: TimeForm,
    name: &str,
) -> CommandResult {
    let deadline_ms = form.deadline_ms(arguments[2], context.now_ms, name)?;
    set_text(
        context,
        arguments[1],
        arguments[3],
        Deadline::At(deadline_ms),
    )?;
    reply.ok();
    Ok(())
}

fn getset(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.keys.counts_lookups = true;
    reply.bulk_or_null(context.keys.text(arguments[1])?);
    set_text(context, arguments[1], arguments[2], Deadline::None)
}

fn getdel(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.keys.counts_lookups = true;
    reply.bulk_or_null(context.keys.text(arguments[1])?);
    context.keys.delete_and_notify(arguments[1])?;
    Ok(())
}

fn getex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms) = (arguments[1], context.now_ms);
    let (mut persist, mut time) = (false, None);
    let mut options = Options::new(arguments, 2);
    while let Some(word) = options.next() {
        if is_keyword(word, "persist") && time.is_none() {
            persist = true;
        } else {
            time = Some(read_time(word, &mut options, time, persist)?);
        }
    }
    context.keys.counts_lookups = true;
    let Some(text) = context.keys.text(key)? else {
        reply.null();
        return Ok(());
    };
    let deadline_ms = time
        .map(|(form, time)| form.deadline_ms(time, now_ms, "getex"))
        .transpose()?;
    reply.bulk(text);
    match deadline_ms {
        Some(deadline_ms) if deadline_ms <= now_ms => {
            context.keys.delete_and_notify(key)?;
        }
        Some(_) => {
            context.keys.set_deadline(key, deadline_ms)?;
            context.keys.notify(EventClasses::GENERIC, "expire", key);
        }
        None if persist && context.keys.set_deadline(key, None)? => {
            context.keys.notify(EventClasses::GENERIC, "persist", key);
        }
        None => {}
    }
    Ok(())
}

fn mget(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.array_header(arguments.len() - 1);
    for key in &arguments[1..] {
        reply.bulk_or_null(context.keys.text(key).unwrap_or(None));
    }
    Ok(())
}

fn mset(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    set_pairs(context, pairs(arguments, "mset")?)?;
    reply.ok();
    Ok(())
}

fn msetnx(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let pairs = pairs(arguments, "msetnx")?;
    let all_new = !pairs.iter().any(|[key, _]| context.keys.exists(key));
    if all_new {
        set_pairs(context, pairs)?;
    }
    reply.integer(i64::from(all_new));
    Ok(())
}

fn pairs<'a>(arguments: &'a [&'a [u8]], name: &str) -> Result<&'a [[&'a [u8]; 2]], CommandError> {
    match arguments[1..].as_chunks() {
        (pairs, []) => Ok(pairs),
        _ => Err(CommandError::wrong_arity(name)),
    }
}

/// Sets all pairs, or none.
fn set_pairs(context: &mut Context<'_>, pairs: &[[&[u8]; 2]]) -> CommandResult {
    const EFFECT_HEADER_BYTES_MAX: usize = 40;
    let bytes = pairs
        .as_flattened()
        .iter()
        .map(|bytes| bytes.len() + EFFECT_HEADER_BYTES_MAX);
    context.keys.ensure_room(bytes.sum())?;
    pairs
        .iter()
        .try_for_each(|[key, text]| set_text(context, key, text, Deadline::None))
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const FAST_WRITE: Flags = WRITE.and(Flags::FAST);
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST).and(Flags::PEEKS);
const PAIRS: &[KeySpec] = &[KeySpec::Range {
    first: 1,
    last: -1,
    step: 2,
}];

/// SET only reads its key with GET.
fn set_key_flags(arguments: &[&[u8]]) -> KeyFlags {
    let returns_former = arguments
        .iter()
        .skip(3)
        .any(|argument| argument.eq_ignore_ascii_case(b"GET"));
    if returns_former {
        KeyUse::CHANGE.flags
    } else {
        KeyUse::REPLACE.flags
    }
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        summary: "Reads the string at a key.",
        ..CommandSpec::new("get", 2, FAST_READ, KeySpec::FIRST, Group::String, get)
    }
    .with_syntax("key"),
    CommandSpec {
        summary: "Puts a string at a key, in place of whatever was there.",
        ..CommandSpec::new("set", -3, WRITE, KeySpec::FIRST, Group::String, set)
    }.with_key_uses(&[KeyUse::CHANGE.decided_by(set_key_flags).noted("Read only with GET.")])
    .with_syntax(
        "key value \
         condition[NX | XX | IFEQ ifeq-value@8.1.0 | IFNE ifne-value@8.4.0 \
         | IFDEQ ifdeq-digest@8.4.0 | IFDNE ifdne-digest@8.4.0]@2.6.12 [GET]@6.2.0 \
         expiration[EX seconds:integer@2.6.12 | PX milliseconds:integer@2.6.12 \
         | EXAT unix-time-seconds:unix-time@6.2.0 | PXAT unix-time-milliseconds:unix-time@6.2.0 \
         | KEEPTTL@6.0.0]",
    )
    .with_history(&[("7.0.0", "`NX` and `GET` go together.")]),
    CommandSpec {
        summary: "Puts a string at a key if nothing is there yet.",
        ..CommandSpec::new("setnx", 3, FAST_WRITE, KeySpec::FIRST, Group::String, setnx)
    }.with_key_uses(&[KeyUse::CREATE])
    .with_syntax("key value")
    .with_deprecated("2.6.12", "`SET key value NX`"),
    CommandSpec {
        since: "2.0.0",
        summary: "Puts a string at a key, with a time to live in seconds.",
        ..CommandSpec::new("setex", 4, WRITE, KeySpec::FIRST, Group::String, setex)
    }.with_key_uses(&[KeyUse::REPLACE])
    .with_syntax("key seconds:integer value")
    .with_deprecated("2.6.12", "`SET key value EX seconds`"),
    CommandSpec {
        since: "2.6.0",
        summary: "Puts a string at a key, with a time to live in milliseconds.",
        ..CommandSpec::new("psetex", 4, WRITE, KeySpec::FIRST, Group::String, psetex)
    }.with_key_uses(&[KeyUse::REPLACE])
    .with_syntax("key milliseconds:integer value")
    .with_deprecated("2.6.12", "`SET key value PX milliseconds`"),
    CommandSpec {
        summary: "Puts a string at a key and returns the one that was there before.",
        ..CommandSpec::new(
            "getset",
            3,
            FAST_WRITE,
            KeySpec::FIRST,
            Group::String,
            getset,
        )
    }.with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("key value")
    .with_deprecated("6.2.0", "`SET key value GET`"),
    CommandSpec {
        since: "6.2.0",
        summary: "Reads the string at a key and removes the key.",
        ..CommandSpec::new(
            "getdel",
            2,
            Flags::WRITE.and(Flags::FAST),
            KeySpec::FIRST,
            Group::String,
            getdel,
        )
    }.with_key_uses(&[KeyUse::TAKE])
    .with_syntax("key"),
    CommandSpec {
        since: "6.2.0",
        summary: "Reads the string at a key; may also set the key's deadline or take it away.",
        ..CommandSpec::new(
            "getex",
            -2,
            Flags::WRITE.and(Flags::FAST),
            KeySpec::FIRST,
            Group::String,
            getex,
        )
    }.with_key_uses(&[KeyUse::CHANGE.noted("Written because its deadline may change.")])
    .with_syntax(
        "key \
         expiration[EX seconds:integer | PX milliseconds:integer \
         | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | PERSIST]",
    ),
    CommandSpec {
        complexity: "O(N) for N keys",
        summary: "Reads the strings at several keys, all at the same moment.",
        ..CommandSpec::new("mget", -2, FAST_READ, KeySpec::ALL, Group::String, mget)
    }.with_tips(&["request_policy:multi_shard"])
    .with_syntax("key..."),
    CommandSpec {
        since: "1.0.1",
        complexity: "O(N) for N keys",
        summary: "Puts strings at several keys in one step.",
        ..CommandSpec::new("mset", -3, WRITE, PAIRS, Group::String, mset)
    }.with_key_uses(&[KeyUse::REPLACE]).with_tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
    .with_syntax("data<key value>..."),
    CommandSpec {
        since: "1.0.1",
        complexity: "O(N) for N keys",
        summary: "Puts strings at several keys in one step, unless any of the keys is there already.",
        ..CommandSpec::new("msetnx", -3, WRITE, PAIRS, Group::String, msetnx)
    }.with_key_uses(&[KeyUse::CREATE])
    .with_syntax("data<key value>..."),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::{START_MS, TestServer};

    #[test]
    fn set_and_get() {
        TestServer::new().check_all(&[
            ("GET a", "nil"),
            ("SET a 1", "+OK"),
            ("get a", "\"1\""),
            ("SET a \"\"", "+OK"),
            ("GET a", "\"\""),
            ("SET a \"\\x00\\r\\n\"", "+OK"),
            ("GET a", "\"\\x00\\r\\n\""),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("SET a", "-ERR wrong number of arguments for 'set' command"),
            ("HSET h f v", ":1"),
            (
                "GET h",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("SET h now-a-string", "+OK"),
            ("TYPE h", "+string"),
        ]);
    }

    #[test]
    fn a_text_of_any_length_is_set_and_read() {
        let mut server = TestServer::new();
        for length in [0, 1, 44, 45, 100, 255, 256, 4096, 4097, 100_000] {
            let text = "x".repeat(length);
            server.check(&format!("SET a \"{text}\""), "+OK");
            server.check("GET a", &format!("\"{text}\""));
            server.check("SET a short PX 5", "+OK");
            server.check("GET a", "\"short\"");
        }
    }

    #[test]
    fn set_conditions() {
        TestServer::new().check_all(&[
            ("SET a 1 XX", "nil"),
            ("EXISTS a", ":0"),
            ("SET a 1 NX", "+OK"),
            ("SET a 2 nx", "nil"),
            ("SET a 2 xx NX", "-ERR syntax error"),
            ("SET a 2 XX", "+OK"),
            ("SET a 3 GET", "\"2\""),
            ("SET a 4 XX GET", "\"3\""),
            ("SET a 5 NX GET", "\"4\""),
            ("GET a", "\"4\""),
            ("SET b 1 XX GET", "nil"),
            ("EXISTS b", ":0"),
            ("SET b 1 NX GET", "nil"),
            ("GET b", "\"1\""),
            ("HSET h f v", ":1"),
            (
                "SET h 1 GET",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("SET h 1 NX", "nil"),
            ("TYPE h", "+hash"),
            ("SET h 1 XX", "+OK"),
            ("SET a 1 FOO", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn set_deadlines() {
        let mut server = TestServer::new();
        server.check_all(&[
            ("SET a 1 EX 10", "+OK"),
            ("PTTL a", ":10000"),
            ("SET a 2 KEEPTTL", "+OK"),
            ("PTTL a", ":10000"),
            ("SET a 3", "+OK"),
            ("PTTL a", ":-1"),
            ("SET a 3 px 1500", "+OK"),
            ("PTTL a", ":1500"),
            ("SET a 3 EXAT 1700000007", "+OK"),
            ("PTTL a", ":7000"),
            ("SET a 3 PXAT 1700000000005", "+OK"),
            ("PTTL a", ":5"),
            ("SET a 1 EX 10 EX 20", "+OK"),
            ("TTL a", ":20"),
            ("SET a 1 EX 10 PX 20", "-ERR syntax error"),
            ("SET a 1 EX 10 KEEPTTL", "-ERR syntax error"),
            ("SET a 1 KEEPTTL EX 10", "-ERR syntax error"),
            ("SET a 1 PERSIST", "-ERR syntax error"),
            ("SET a 1 EX", "-ERR syntax error"),
            (
                "SET a 1 EX x",
                "-ERR value is not an integer or out of range",
            ),
            ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command"),
            ("SET a 1 EX -5", "-ERR invalid expire time in 'set' command"),
            (
                "SET a 1 EX 9223372036854775807",
                "-ERR invalid expire time in 'set' command",
            ),
            (
                "SET a 1 PX 9223372036854775807",
                "-ERR invalid expire time in 'set' command",
            ),
            (
                "SET a 1 EX 0 NX",
                "-ERR invalid expire time in 'set' command",
            ),
            ("SET past 1 PXAT 1", "+OK"),
            ("GET past", "nil"),
            ("SETEX s 10 v", "+OK"),
            ("TTL s", ":10"),
            ("PSETEX s 10 v", "+OK"),
            ("PTTL s", ":10"),
            ("SETEX s 0 v", "-ERR invalid expire time in 'setex' command"),
            (
                "PSETEX s -1 v",
                "-ERR invalid expire time in 'psetex' command",
            ),
        ]);
        server.advance_ms(10);
        server.check("GET s", "nil");
        assert_eq!(server.now_ms, START_MS + 10);
    }

    #[test]
    fn reading_and_changing_at_once() {
        TestServer::new().check_all(&[
            ("SETNX a 1", ":1"),
            ("SETNX a 2", ":0"),
            ("EXPIRE a 10", ":1"),
            ("GETSET a 2", "\"1\""),
            ("TTL a", ":-1"),
            ("GETSET b 2", "nil"),
            ("GETDEL a", "\"2\""),
            ("GETDEL a", "nil"),
            ("HSET h f v", ":1"),
            (
                "GETDEL h",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            (
                "GETSET h x",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("SETNX h x", ":0"),
            (
                "GETEX h",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }

    #[test]
    fn getex_changes_the_deadline() {
        TestServer::new().check_all(&[
            ("GETEX a EX 10", "nil"),
            ("GETEX a EX 0", "nil"),
            ("GETEX a FOO", "-ERR syntax error"),
            ("SET a 1", "+OK"),
            ("GETEX a", "\"1\""),
            ("TTL a", ":-1"),
            ("GETEX a EX 10", "\"1\""),
            ("TTL a", ":10"),
            ("GETEX a", "\"1\""),
            ("TTL a", ":10"),
            ("GETEX a PXAT 1700000000100", "\"1\""),
            ("PTTL a", ":100"),
            ("GETEX a PERSIST", "\"1\""),
            ("TTL a", ":-1"),
            (
                "GETEX a EX 0",
                "-ERR invalid expire time in 'getex' command",
            ),
            ("GETEX a PERSIST EX 10", "-ERR syntax error"),
            ("GETEX a EX 10 PERSIST", "-ERR syntax error"),
            ("GETEX a KEEPTTL", "-ERR syntax error"),
            ("GETEX a EXAT 1", "\"1\""),
            ("EXISTS a", ":0"),
        ]);
    }

    #[test]
    fn many_at_once() {
        TestServer::new().check_all(&[
            ("MSET a 1 b 2 a 3", "+OK"),
            ("HSET h f v", ":1"),
            ("MGET a b c h a", "[\"3\" \"2\" nil nil \"3\"]"),
            (
                "MSET a 1 b",
                "-ERR wrong number of arguments for 'mset' command",
            ),
            ("MSETNX c 1 a 9", ":0"),
            ("EXISTS c", ":0"),
            ("MSETNX c 1 d 2 c 3", ":1"),
            ("MGET c d", "[\"3\" \"2\"]"),
            (
                "MSETNX a",
                "-ERR wrong number of arguments for 'msetnx' command",
            ),
            (
                "MSETNX a 1 b",
                "-ERR wrong number of arguments for 'msetnx' command",
            ),
        ]);
        TestServer::resp3().check("MGET a", "[null]");
    }

    #[test]
    fn a_full_log_refuses_writes_and_changes_nothing() {
        let mut server = TestServer::new();
        server.check("SET a 1", "+OK");
        server
            .recorder
            .is_full
            .store(true, std::sync::atomic::Ordering::Relaxed);
        server.check(
            "SET a 2 GET",
            "-MISCONF Errors writing to the AOF file: No space left on device",
        );
        server.check("GET a", "\"1\"");
    }
}
