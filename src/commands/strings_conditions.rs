//! Strings compared before they are changed: the conditions of SET and DELEX, DELIFEQ, DIGEST, and MSETEX.
//!
//! These are newer than Redis 7.2: IFEQ came with Valkey 8.1, DELIFEQ with Valkey 9, the rest with Redis 8.4.

use super::access::{KeyFlags, KeyUse};
use super::context::Context;
use super::options::{Options, TimeForm, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use xxhash_rust::xxh3::xxh3_64;

/// What the value has to be for a command to change it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Comparison<'a> {
    wants_equal: bool,
    of_digest: bool,
    with: &'a [u8],
}

impl<'a> Comparison<'a> {
    /// The condition that a keyword begins, if it does; its value comes from `options`.
    ///
    /// # Errors
    /// There is no value, or a digest has the wrong length.
    pub(super) fn read(
        word: &[u8],
        options: &mut Options<'a>,
    ) -> Result<Option<Comparison<'a>>, CommandError> {
        const NOT_A_DIGEST: CommandError =
            CommandError::fixed("ERR must be exactly 16 hexadecimal characters");
        const KEYWORDS: [(&str, bool, bool); 4] = [
            ("ifeq", true, false),
            ("ifne", false, false),
            ("ifdeq", true, true),
            ("ifdne", false, true),
        ];
        let known = KEYWORDS.iter().find(|(name, ..)| is_keyword(word, name));
        let Some((_, wants_equal, of_digest)) = known else {
            return Ok(None);
        };
        let with = options.value()?;
        if *of_digest && with.len() != DIGEST_CHARACTERS {
            return Err(NOT_A_DIGEST);
        }
        Ok(Some(Comparison {
            wants_equal: *wants_equal,
            of_digest: *of_digest,
            with,
        }))
    }

    /// True if the condition holds for a value. A key that does not exist differs from everything.
    pub(super) fn holds(&self, value: Option<&[u8]>) -> bool {
        let is_equal = value.is_some_and(|value| {
            if self.of_digest {
                digest(value).as_bytes().eq_ignore_ascii_case(self.with)
            } else {
                value == self.with
            }
        });
        is_equal == self.wants_equal
    }
}

const DIGEST_CHARACTERS: usize = 16;

/// XXH3 of a value in 64 bits, in hexadecimal digits.
fn digest(value: &[u8]) -> String {
    format!("{:016x}", xxh3_64(value))
}

/// DIGEST key
fn digest_command(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let digest = context.keys.text(arguments[1])?.map(digest);
    reply.bulk_or_null(digest.as_deref().map(str::as_bytes));
    Ok(())
}

fn delete(context: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let deleted = context.keys.delete(key)?;
    if deleted {
        context.keys.notify(EventClasses::GENERIC, "del", key);
    }
    reply.integer(i64::from(deleted));
    Ok(())
}

/// DELIFEQ key value
fn delifeq(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let key = arguments[1];
    if context.keys.text(key)? == Some(arguments[2]) {
        return delete(context, key, reply);
    }
    reply.integer(0);
    Ok(())
}

/// `DELEX key [IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]`
fn delex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const NOT_A_CONDITION: CommandError =
        CommandError::fixed("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");
    const NOT_A_STRING: CommandError =
        CommandError::fixed("ERR Key should be of string type if conditions are specified");
    let key = arguments[1];
    let word = match arguments[2..] {
        [] => return delete(context, key, reply),
        [word, _] => word,
        _ => return Err(CommandError::wrong_arity("delex")),
    };
    let Some(value) = context.keys.text(key).map_err(|_| NOT_A_STRING)? else {
        reply.integer(0);
        return Ok(());
    };
    let mut options = Options::new(arguments, 3);
    let comparison = Comparison::read(word, &mut options)?.ok_or(NOT_A_CONDITION)?;
    if comparison.holds(Some(value)) {
        return delete(context, key, reply);
    }
    reply.integer(0);
    Ok(())
}

/// The options of MSETEX.
#[derive(Default)]
struct PairsOptions<'a> {
    /// NX: false; XX: true.
    wants_existing: Option<bool>,
    keeps_deadline: bool,
    time: Option<(TimeForm, &'a [u8])>,
}

impl<'a> PairsOptions<'a> {
    fn read(mut options: Options<'a>) -> Result<PairsOptions<'a>, CommandError> {
        let mut found = PairsOptions::default();
        while let Some(word) = options.next() {
            let has_time = found.keeps_deadline || found.time.is_some();
            if is_keyword(word, "nx") && found.wants_existing.is_none() {
                found.wants_existing = Some(false);
            } else if is_keyword(word, "xx") && found.wants_existing.is_none() {
                found.wants_existing = Some(true);
            } else if is_keyword(word, "keepttl") && !has_time {
                found.keeps_deadline = true;
            } else {
                let form = TimeForm::from_keyword(word).filter(|_| !has_time);
                found.time = Some((form.ok_or(CommandError::SYNTAX)?, options.value()?));
            }
        }
        Ok(found)
    }

    fn deadline(&self, now_ms: u64) -> Result<Deadline, CommandError> {
        match self.time {
            Some((form, time)) => form.deadline_ms(time, now_ms, "msetex").map(Deadline::At),
            None if self.keeps_deadline => Ok(Deadline::Keep),
            None => Ok(Deadline::None),
        }
    }
}

/// The number of pairs.
fn pair_count(argument: &[u8]) -> Option<usize> {
    let count = parse_integer(argument).and_then(|count| i32::try_from(count).ok())?;
    usize::try_from(count).ok().filter(|count| *count > 0)
}

/// `MSETEX numkeys key value [key value ...] [NX|XX] [EX seconds|PX milliseconds|EXAT seconds|PXAT milliseconds|KEEPTTL]`
fn msetex(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const EFFECT_HEADER_BYTES_MAX: usize = 40;
    const NOT_A_COUNT: CommandError = CommandError::fixed("ERR invalid numkeys value");
    const NOT_PAIRS: CommandError = CommandError::fixed("ERR wrong number of key-value pairs");
    let count = pair_count(arguments[1]).ok_or(NOT_A_COUNT)?;
    let (flat, _) = arguments[2..]
        .split_at_checked(count * 2)
        .ok_or(NOT_PAIRS)?;
    let options = PairsOptions::read(Options::new(arguments, 2 + flat.len()))?;
    let deadline = options.deadline(context.now_ms)?;
    let (pairs, _) = flat.as_chunks::<2>();
    if let Some(wants_existing) = options.wants_existing {
        let mut names = pairs.iter().map(|[key, _]| key);
        if !names.all(|key| context.keys.exists(key) == wants_existing) {
            reply.integer(0);
            return Ok(());
        }
    }
    let bytes = flat
        .iter()
        .map(|bytes| bytes.len() + EFFECT_HEADER_BYTES_MAX);
    context.keys.ensure_room(bytes.sum())?;
    for [key, text] in pairs {
        context.keys.set_text(key, text, deadline)?;
        context.keys.notify(EventClasses::STRING, "set", key);
        if let Deadline::At(_) = deadline {
            context.keys.notify(EventClasses::GENERIC, "expire", key);
        }
    }
    reply.integer(1);
    Ok(())
}

/// Every other argument behind the number of pairs.
fn msetex_keys(arguments: &[&[u8]]) -> Vec<usize> {
    let count = arguments.get(1).and_then(|count| pair_count(count));
    let keys = 2..2 + 2 * count.unwrap_or(0);
    if keys.end > arguments.len() {
        return Vec::new();
    }
    keys.step_by(2).collect()
}

const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "8.4.0",
        complexity: "O(N) for a string of N bytes",
        summary: "Tells the XXH3 hash of the string at a key, in hexadecimal digits.",
        ..CommandSpec::new(
            "digest",
            2,
            Flags::READONLY.and(Flags::FAST).and(Flags::PEEKS),
            KeySpec::FIRST,
            Group::String,
            digest_command,
        )
    }
    .with_syntax("key"),
    CommandSpec {
        since: "9.0.0",
        key_uses: &[KeyUse::REMOVE.and(KeyFlags::ACCESS)],
        summary: "Deletes a key if its string value is the given one. A command of Valkey.",
        ..CommandSpec::new(
            "delifeq",
            3,
            FAST_WRITE,
            KeySpec::FIRST,
            Group::String,
            delifeq,
        )
    }
    .with_syntax("key value"),
    CommandSpec {
        since: "8.4.0",
        complexity: "O(1) with a value to compare; with a digest O(N) for a string of N bytes",
        key_uses: &[KeyUse::REMOVE.and(KeyFlags::ACCESS)],
        summary: "Removes a key if its string, or the digest of it, is a given one or is not.",
        ..CommandSpec::new(
            "delex",
            -2,
            FAST_WRITE,
            KeySpec::FIRST,
            Group::String,
            delex,
        )
    }
    .with_syntax(
        "key \
         condition[IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest]",
    ),
    CommandSpec {
        since: "8.4.0",
        complexity: "O(N) for N keys",
        key_uses: &[KeyUse::REPLACE],
        summary: "Puts strings at several keys with one deadline for all; by a condition all of them or none.",
        ..CommandSpec::new(
            "msetex",
            -4,
            Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
            &[KeySpec::Found(msetex_keys)],
            Group::String,
            msetex,
        )
    }
    .with_syntax(
        "numkeys:integer data<key value>... condition[NX | XX] \
         expiration[EX seconds:integer | PX milliseconds:integer \
         | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | KEEPTTL]",
    ),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn set_compares() {
        TestServer::new().check_all(&[
            ("SET a 1 IFEQ 0", "nil"),
            ("EXISTS a", ":0"),
            ("SET a 1 IFNE 0", "+OK"),
            ("SET a 2 IFEQ 0", "nil"),
            ("SET a 2 ifeq 1 EX 10", "+OK"),
            ("TTL a", ":10"),
            ("SET a 3 IFNE 2", "nil"),
            ("SET a 3 IFNE 2 GET", "\"2\""),
            ("SET a 3 IFEQ 2 GET KEEPTTL", "\"2\""),
            ("GET a", "\"3\""),
            ("TTL a", ":10"),
            ("SET none x IFEQ y GET", "nil"),
            ("EXISTS none", ":0"),
            ("SET a 1 IFEQ 3 NX", "-ERR syntax error"),
            ("SET a 1 XX IFEQ 3", "-ERR syntax error"),
            ("SET a 1 IFEQ 3 IFNE 3", "-ERR syntax error"),
            ("SET a 1 IFEQ", "-ERR syntax error"),
            ("HSET h f v", ":1"),
            ("SET h 1 IFEQ v", WRONG_TYPE),
            ("SET h 1 IFNE v", WRONG_TYPE),
        ]);
    }

    #[test]
    fn digests() {
        let not_a_digest = "-ERR must be exactly 16 hexadecimal characters";
        TestServer::new().check_all(&[
            ("DIGEST a", "nil"),
            ("SET a \"\"", "+OK"),
            ("DIGEST a", "\"2d06800538d394c2\""),
            ("SET a b IFDEQ 2D06800538D394C2", "+OK"),
            ("SET a c IFDEQ 2d06800538d394c2", "nil"),
            ("SET a c IFDNE 2d06800538d394c2", "+OK"),
            ("SET none c IFDEQ 2d06800538d394c2", "nil"),
            ("SET a c IFDEQ 2d06", not_a_digest),
            ("DELEX a IFDEQ 2d06", not_a_digest),
            ("DELEX a IFDEQ 2d06800538d394c2", ":0"),
            ("DELEX a IFDNE 2d06800538d394c2", ":1"),
            ("HSET h f v", ":1"),
            ("DIGEST h", WRONG_TYPE),
        ]);
    }

    #[test]
    fn conditional_deletion() {
        let not_a_string = "-ERR Key should be of string type if conditions are specified";
        TestServer::new().check_all(&[
            ("SET a 1", "+OK"),
            ("DELIFEQ a 2", ":0"),
            ("DELIFEQ none 2", ":0"),
            ("DELIFEQ a 1", ":1"),
            ("EXISTS a", ":0"),
            ("SET a 1", "+OK"),
            ("DELEX a IFEQ 2", ":0"),
            ("DELEX a IFNE 1", ":0"),
            ("DELEX a IFNE 2", ":1"),
            ("DELEX a IFNE 2", ":0"),
            ("SET a 1", "+OK"),
            (
                "DELEX a WHEN 1",
                "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
            ),
            (
                "DELEX a IFEQ",
                "-ERR wrong number of arguments for 'delex' command",
            ),
            (
                "DELEX none IFEQ 1 2",
                "-ERR wrong number of arguments for 'delex' command",
            ),
            ("RPUSH l x", ":1"),
            ("DELIFEQ l x", WRONG_TYPE),
            ("DELEX l IFEQ x", not_a_string),
            ("DELEX l WHEN x", not_a_string),
            ("DELEX l", ":1"),
        ]);
    }

    #[test]
    fn several_keys_with_one_deadline() {
        TestServer::new().check_all(&[
            ("MSETEX 2 a 1 b 2 EX 10", ":1"),
            ("MGET a b", "[\"1\" \"2\"]"),
            ("TTL b", ":10"),
            ("MSETEX 2 b 3 c 3 NX", ":0"),
            ("MSETEX 2 b 3 c 3 XX", ":0"),
            ("EXISTS c", ":0"),
            ("MSETEX 2 a 3 b 3 XX KEEPTTL", ":1"),
            ("TTL a", ":10"),
            ("MSETEX 1 a 4", ":1"),
            ("TTL a", ":-1"),
            ("MSETEX 1 a 4 px 5 nx", ":0"),
            ("MSETEX key1 val1 ex 10", "-ERR invalid numkeys value"),
            ("MSETEX 0 a 1", "-ERR invalid numkeys value"),
            ("MSETEX 2147483648 a 1", "-ERR invalid numkeys value"),
            (
                "MSETEX 2147483647 a 1",
                "-ERR wrong number of key-value pairs",
            ),
            ("MSETEX 2 a 1 b", "-ERR wrong number of key-value pairs"),
            ("MSETEX 1 a 1 what", "-ERR syntax error"),
            ("MSETEX 1 a 1 EX 1 PX 1", "-ERR syntax error"),
            ("MSETEX 1 a 1 NX XX", "-ERR syntax error"),
            (
                "MSETEX 1 a 1 EX 0",
                "-ERR invalid expire time in 'msetex' command",
            ),
        ]);
    }
}
