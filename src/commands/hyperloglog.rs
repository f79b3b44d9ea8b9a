//! HyperLogLogs: PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST. They are texts: see `hyperloglog_format`.
//!
//! A register that grows in a dense text is logged as the two bytes it lies in; a sparse text is short and logged whole. PFCOUNT of
//! one key stores the count it made, as Redis does: a command that reads, and changes 8 bytes.

use super::access::{KeyFlags, KeyUse};
use super::context::Context;
use super::hyperloglog_estimate::{estimate, register_of};
use super::hyperloglog_format::{
    COUNT_OFFSET, Encoding, HEADER_BYTES, REGISTERS, Registers, STALE, STALE_OFFSET, Stored, empty,
    raise_in_dense,
};
use super::hyperloglog_sparse::{promote, raise, raise_all};
use super::options::is_keyword;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;
use storage_format::Effect;

/// `PFADD key [element ...]`
fn pfadd(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, elements) = (arguments[1], &arguments[2..]);
    let text = context.keys.text(key)?;
    let is_new = text.is_none();
    let bytes = text.map_or_else(empty, <[u8]>::to_vec);
    let changed = match Stored::new(&bytes)?.encoding() {
        Encoding::Dense => add_to_dense(context, key, bytes, elements),
        Encoding::Sparse => add_to_sparse(context, key, bytes, elements, is_new),
    };
    // Redis makes it a text that can be changed in place, even if nothing changes.
    context.keys.mark_raw_text(key);
    let changed = changed?;
    if changed {
        context.keys.notify(EventClasses::STRING, "pfadd", key);
    }
    reply.integer(i64::from(changed));
    Ok(())
}

fn add_to_sparse(
    context: &mut Context<'_>,
    key: &[u8],
    mut bytes: Vec<u8>,
    elements: &[&[u8]],
    is_new: bool,
) -> Result<bool, CommandError> {
    let mut changed = is_new;
    for element in elements {
        let (index, value) = register_of(element);
        match raise(&mut bytes, index, value, sparse_bytes_max(context)) {
            Ok(is_higher) => changed |= is_higher,
            Err(error) => {
                // What was added before the damage was met stays.
                if changed {
                    set_raw(context, key, &bytes)?;
                }
                return Err(error);
            }
        }
    }
    if changed {
        bytes[STALE_OFFSET] |= STALE;
        set_raw(context, key, &bytes)?;
    }
    Ok(changed)
}

fn add_to_dense(
    context: &mut Context<'_>,
    key: &[u8],
    mut bytes: Vec<u8>,
    elements: &[&[u8]],
) -> Result<bool, CommandError> {
    /// More changes than that are logged as one whole text.
    const SINGLE_EFFECTS_MAX: usize = 100;
    const EFFECT_BYTES_MAX: usize = 40;
    let mut places = Vec::new();
    for element in elements {
        let (index, value) = register_of(element);
        places.extend(raise_in_dense(&mut bytes, index, value));
    }
    if places.is_empty() {
        return Ok(false);
    }
    bytes[STALE_OFFSET] |= STALE;
    if places.len() > SINGLE_EFFECTS_MAX {
        set_raw(context, key, &bytes)?;
        return Ok(true);
    }
    let effects_bytes = (places.len() + 1) * (EFFECT_BYTES_MAX + key.len());
    context.keys.ensure_room(effects_bytes)?;
    let ranges = places
        .iter()
        .map(|place| *place..(place + 2).min(bytes.len()));
    for range in std::iter::once(STALE_OFFSET..HEADER_BYTES).chain(ranges) {
        let effect = Effect::SetRange {
            offset: range.start as u64,
            bytes: &bytes[range],
        };
        context.keys.apply(key, effect)?;
    }
    Ok(true)
}

fn sparse_bytes_max(context: &Context<'_>) -> usize {
    context.settings.encodings.hll_sparse_max_bytes as usize
}

/// Sets a key to the bytes; it keeps its deadline.
fn set_raw(context: &mut Context<'_>, key: &[u8], bytes: &[u8]) -> CommandResult {
    context.keys.set_text(key, bytes, Deadline::Keep)?;
    context.keys.mark_raw_text(key);
    Ok(())
}

/// `PFCOUNT key [key ...]`
fn pfcount(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if let [_, key] = arguments {
        return count_one(context, key, reply);
    }
    let (registers, _) = union(context, &arguments[1..])?;
    reply.integer(estimate(&registers) as i64);
    Ok(())
}

fn count_one(context: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let Some(text) = context.keys.text(key)? else {
        reply.integer(0);
        return Ok(());
    };
    Stored::new(text)?;
    let count = current_count(context, key);
    // As PFADD does, for the count that may have been written.
    context.keys.mark_raw_text(key);
    reply.integer(count? as i64);
    Ok(())
}

/// The count in the header, after it was made if it was out of date.
fn current_count(context: &mut Context<'_>, key: &[u8]) -> Result<u64, CommandError> {
    const EFFECT_BYTES_MAX: usize = 64;
    let stored = stored(context, key)?;
    if let Some(count) = stored.cached_count() {
        return Ok(count);
    }
    let count = estimate(&Registers::of(stored)?);
    // A full log must not keep anybody from counting.
    if context
        .keys
        .ensure_room(EFFECT_BYTES_MAX + key.len())
        .is_ok()
    {
        let effect = Effect::SetRange {
            offset: COUNT_OFFSET as u64,
            bytes: &count.to_le_bytes(),
        };
        context.keys.apply(key, effect)?;
    }
    Ok(count)
}

/// The highest registers of all keys, and whether one of them is dense.
fn union(context: &mut Context<'_>, keys: &[&[u8]]) -> Result<(Registers, bool), CommandError> {
    let (mut registers, mut has_dense) = (Registers::default(), false);
    for key in keys {
        if let Some(text) = context.keys.text(key)? {
            let stored = Stored::new(text)?;
            has_dense |= stored.encoding() == Encoding::Dense;
            stored.merge_into(&mut registers)?;
        }
    }
    Ok((registers, has_dense))
}

/// `PFMERGE destkey [sourcekey ...]`
fn pfmerge(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let destination = arguments[1];
    let (registers, has_dense) = union(context, &arguments[1..])?;
    let text = context.keys.text(destination)?;
    let mut bytes = text.map_or_else(empty, <[u8]>::to_vec);
    if has_dense {
        promote(&mut bytes)?;
    }
    raise_all(&mut bytes, &registers, sparse_bytes_max(context))?;
    set_raw(context, destination, &bytes)?;
    context
        .keys
        .notify(EventClasses::STRING, "pfadd", destination);
    reply.ok();
    Ok(())
}

/// A subcommand of PFDEBUG, for the key.
type DebugFunction = fn(&mut Context<'_>, &[u8], &mut Reply<'_>) -> CommandResult;

/// PFDEBUG GETREG|DECODE|ENCODING|TODENSE key, and SIMD on|off, which has nothing to switch.
fn pfdebug(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (word, key) = (arguments[1], arguments[2]);
    if is_keyword(word, "simd") {
        reply.ok();
        return Ok(());
    }
    let Some(text) = context.keys.text(key)? else {
        return Err(CommandError::fixed("ERR The specified key does not exist"));
    };
    Stored::new(text)?;
    context.keys.mark_raw_text(key);
    let known: [(&str, DebugFunction); 4] = [
        ("getreg", write_registers),
        ("decode", write_runs),
        ("encoding", write_encoding),
        ("todense", convert),
    ];
    let found = known.iter().find(|(name, _)| is_keyword(word, name));
    let shown = String::from_utf8_lossy(word);
    match found {
        None => Err(CommandError::new(format!(
            "ERR Unknown PFDEBUG subcommand '{shown}'"
        ))),
        Some((_, run)) => run(context, key, reply),
    }
}

/// The text at a key that was found to be there.
fn stored<'c>(context: &'c mut Context<'_>, key: &[u8]) -> Result<Stored<'c>, CommandError> {
    Stored::new(context.keys.text(key)?.unwrap_or_default())
}

/// Makes a sparse text dense; false if it was.
fn make_dense(context: &mut Context<'_>, key: &[u8]) -> Result<bool, CommandError> {
    let stored = stored(context, key)?;
    if stored.encoding() == Encoding::Dense {
        return Ok(false);
    }
    let mut bytes = context.keys.text(key)?.unwrap_or_default().to_vec();
    promote(&mut bytes)?;
    set_raw(context, key, &bytes)?;
    Ok(true)
}

fn write_registers(context: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    make_dense(context, key)?;
    let registers = Registers::of(stored(context, key)?)?;
    reply.array_header(REGISTERS);
    for value in registers.values() {
        reply.integer(i64::from(*value));
    }
    Ok(())
}

fn write_runs(context: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let stored = stored(context, key)?;
    if stored.encoding() != Encoding::Sparse {
        return Err(CommandError::fixed("ERR HLL encoding is not sparse"));
    }
    let words: Vec<String> = stored
        .runs()
        .map(|run| match (run.value, run.is_long) {
            (0, false) => format!("z:{}", run.length),
            (0, true) => format!("Z:{}", run.length),
            (value, _) => format!("v:{value},{}", run.length),
        })
        .collect();
    reply.bulk(words.join(" ").as_bytes());
    Ok(())
}

fn write_encoding(context: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let encoding = stored(context, key)?.encoding();
    reply.simple(match encoding {
        Encoding::Dense => "dense",
        Encoding::Sparse => "sparse",
    });
    Ok(())
}

fn convert(context: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let converted = make_dense(context, key)?;
    reply.integer(i64::from(converted));
    Ok(())
}

/// PFSELFTEST: both encodings keep registers, and the estimate stays within four standard errors.
fn pfselftest(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const ELEMENTS: u64 = 200_000;
    const ERROR_MAX: f64 = 4.0 * 0.0081;
    let seed = context.random();
    let mut registers = Registers::default();
    let mut dense = registers.to_dense_after(&empty());
    let mut sparse = empty();
    for added in 1..=ELEMENTS {
        let (index, value) = register_of(&(seed ^ added).to_le_bytes());
        let is_higher = registers.raise(index, value);
        if raise_in_dense(&mut dense, index, value).is_some() != is_higher
            || raise(&mut sparse, index, value, sparse_bytes_max(context))? != is_higher
        {
            return Err(CommandError::new(format!(
                "ERR TESTFAILED Register {index} differs"
            )));
        }
        if added.is_power_of_two() && added >= 1024 || added == ELEMENTS {
            let error = (estimate(&registers) as f64 / added as f64 - 1.0).abs();
            if error > ERROR_MAX {
                return Err(CommandError::new(format!(
                    "ERR TESTFAILED Too big error. card:{added} error:{error}"
                )));
            }
            for bytes in [&sparse, &dense] {
                if Registers::of(Stored::new(bytes)?)? != registers {
                    return Err(CommandError::fixed("ERR TESTFAILED dense/sparse disagree"));
                }
            }
        }
    }
    reply.ok();
    Ok(())
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.8.9",
        complexity: "O(1) for each element",
        key_uses: &[KeyUse::INSERT],
        summary: "Has a HyperLogLog count elements; a missing key counts as an empty one.",
        ..CommandSpec::new(
            "pfadd",
            -2,
            WRITE.and(Flags::FAST),
            KeySpec::FIRST,
            Group::HyperLogLog,
            pfadd,
        )
    }
    .with_syntax("key [element...]"),
    CommandSpec {
        since: "2.8.9",
        complexity: "O(1) for one key, whose estimate is mostly known; O(N) for N keys",
        key_uses: &[KeyUse::of(KeyFlags::RW.and(KeyFlags::ACCESS))
            .noted("Written because the estimate is kept with it.")],
        summary: "Estimates how many different elements were counted, by all given keys together.",
        ..CommandSpec::new(
            "pfcount",
            -2,
            Flags::READONLY.and(Flags::MAY_REPLICATE),
            KeySpec::ALL,
            Group::HyperLogLog,
            pfcount,
        )
    }
    .with_syntax("key..."),
    CommandSpec {
        since: "2.8.9",
        complexity: "O(N) for N keys, of 16,384 registers each",
        key_uses: &[
            KeyUse::INSERT.and(KeyFlags::ACCESS).at(1, 1),
            KeyUse::READ.at(2, -1),
        ],
        summary: "Makes one HyperLogLog of several, which has counted what any of them has.",
        ..CommandSpec::new(
            "pfmerge",
            -2,
            WRITE,
            KeySpec::ALL,
            Group::HyperLogLog,
            pfmerge,
        )
    }
    .with_syntax("destkey:key [sourcekey:key...]"),
    CommandSpec {
        since: "2.8.9",
        key_uses: &[KeyUse::of(KeyFlags::RW.and(KeyFlags::ACCESS))],
        summary: "Shows what is inside a HyperLogLog, or makes it a dense one; for tests.",
        ..CommandSpec::new(
            "pfdebug",
            3,
            WRITE.and(Flags::ADMIN),
            &[KeySpec::Range {
                first: 2,
                last: 2,
                step: 1,
            }],
            Group::HyperLogLog,
            pfdebug,
        )
    }
    .with_syntax("subcommand key")
    .with_flags(Flags::SYSTEM),
    CommandSpec {
        since: "2.8.9",
        summary: "Checks that the server's HyperLogLogs count right; for tests.",
        ..CommandSpec::new(
            "pfselftest",
            1,
            Flags::ADMIN,
            KeySpec::NONE,
            Group::HyperLogLog,
            pfselftest,
        )
    }
    .with_flags(Flags::SYSTEM),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    const NOT_VALID: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";

    #[test]
    fn adding_counting_and_merging() {
        TestServer::new().check_all(&[
            ("PFCOUNT a", ":0"),
            ("PFADD a", ":1"),
            ("PFADD a", ":0"),
            ("PFADD a 1 2 3", ":1"),
            ("PFADD a 2 3", ":0"),
            ("PFCOUNT a", ":3"),
            (
                "GETRANGE a 8 15",
                "\"\\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"",
            ),
            ("PFADD a 4", ":1"),
            ("GETRANGE a 15 15", "\"\\x80\""),
            ("PFADD b 4 5", ":1"),
            ("PFCOUNT a b none", ":5"),
            ("EXPIRE c 10", ":0"),
            ("PFMERGE c a b none", "+OK"),
            ("PFCOUNT c", ":5"),
            ("PFDEBUG ENCODING c", "+sparse"),
            ("EXPIRE c 10", ":1"),
            ("PFDEBUG TODENSE c", ":1"),
            ("PFDEBUG TODENSE c", ":0"),
            ("TTL c", ":10"),
            ("STRLEN c", ":12304"),
            ("PFCOUNT c", ":5"),
            ("PFADD c 6 7 1", ":1"),
            ("PFCOUNT c", ":7"),
            ("PFMERGE b c", "+OK"),
            ("PFDEBUG ENCODING b", "+dense"),
            ("PFCOUNT b", ":7"),
            ("PFSELFTEST", "+OK"),
        ]);
    }

    #[test]
    fn a_sparse_one_becomes_dense() {
        let mut server = TestServer::new();
        server.settings.encodings.hll_sparse_max_bytes = 100;
        let mut encodings = Vec::new();
        for element in 0..100 {
            server.run(&format!("PFADD a {element}"));
            encodings.push(server.run("PFDEBUG ENCODING a"));
            let length: usize = server.run("STRLEN a")[1..].parse().expect("a number");
            assert_eq!(encodings[element] == "+sparse", length <= 100, "{length}");
        }
        assert!(encodings.is_sorted_by_key(|encoding| encoding == "+dense"));
        assert_eq!(encodings.last().map(String::as_str), Some("+dense"));
    }

    #[test]
    fn debugging() {
        TestServer::new().check_all(&[
            ("PFDEBUG DECODE a", "-ERR The specified key does not exist"),
            ("PFADD a", ":1"),
            ("PFDEBUG DECODE a", "\"Z:16384\""),
            ("PFDEBUG NONE a", "-ERR Unknown PFDEBUG subcommand 'NONE'"),
            (
                "PFDEBUG DECODE a b",
                "-ERR wrong number of arguments for 'pfdebug' command",
            ),
            ("PFDEBUG TODENSE a", ":1"),
            ("PFDEBUG DECODE a", "-ERR HLL encoding is not sparse"),
            ("PFDEBUG SIMD off", "+OK"),
        ]);
    }

    #[test]
    fn what_is_no_hyperloglog() {
        TestServer::new().check_all(&[
            ("SET a text", "+OK"),
            ("PFADD a 1", NOT_VALID),
            ("PFCOUNT a", NOT_VALID),
            ("PFMERGE b a", NOT_VALID),
            ("EXISTS b", ":0"),
            ("PFADD c 1", ":1"),
            ("APPEND c x", ":22"),
            ("PFCOUNT c", "-INVALIDOBJ Corrupted HLL object detected"),
            ("PFCOUNT c b", "-INVALIDOBJ Corrupted HLL object detected"),
            ("PFMERGE d c", "-INVALIDOBJ Corrupted HLL object detected"),
            ("SETRANGE c 4 \"\\x00\"", ":22"),
            ("PFCOUNT c", NOT_VALID),
            ("SETRANGE c 4 \"\\x02\"", ":22"),
            ("PFCOUNT c", NOT_VALID),
            ("HSET h f v", ":1"),
            (
                "PFADD h 1",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ]);
    }

    const CORRUPTED: &str = "-INVALIDOBJ Corrupted HLL object detected";

    #[test]
    fn what_was_changed_by_hand_is_changed_in_place() {
        let damaged = "SET h \"HYLL\\x01\\x00\\x00\\x00\\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x7f\\xff\\xff\"";
        let without_registers =
            "SET s \"HYLL\\x01\\x00\\x00\\x00\\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"";
        let mut server = TestServer::new();
        server.check_all(&[
            // A run behind the last register is only found by who looks at all of them.
            (damaged, "+OK"),
            ("PFADD h", ":0"),
            ("PFADD h a", ":1"),
            (
                "GETRANGE h 8 -1",
                "\"\\x05\\x00\\x00\\x00\\x00\\x00\\x00\\x80q\\xa6\\x84NW\\xff\"",
            ),
            ("PFCOUNT h", CORRUPTED),
            (damaged, "+OK"),
            ("PFDEBUG TODENSE h", CORRUPTED),
            ("OBJECT ENCODING h", "\"raw\""),
            ("PFMERGE m h", CORRUPTED),
            // The count in the header stays where it is, and is believed while its mark says so.
            ("PFADD n a b", ":1"),
            ("PFCOUNT n", ":2"),
            ("SETRANGE n 8 \"\\x07\"", ":24"),
            ("PFCOUNT n", ":7"),
            ("PFMERGE n n", "+OK"),
            (
                "GETRANGE n 8 -1",
                "\"\\x07\\x00\\x00\\x00\\x00\\x00\\x00\\x80q\\xa6\\x84K\\xfb\\x80BZ\"",
            ),
            ("PFDEBUG TODENSE n", ":1"),
            (
                "GETRANGE n 8 15",
                "\"\\x07\\x00\\x00\\x00\\x00\\x00\\x00\\x80\"",
            ),
            (without_registers, "+OK"),
            ("OBJECT ENCODING s", "\"embstr\""),
            ("PFCOUNT s", ":5"),
            ("OBJECT ENCODING s", "\"raw\""),
            ("PFADD s a", CORRUPTED),
            ("SETRANGE s 15 \"\\x80\"", ":17"),
            ("PFCOUNT s", CORRUPTED),
        ]);
        server.settings.encodings.hll_sparse_max_bytes = 18;
        server.check_all(&[
            (damaged, "+OK"),
            ("PFADD h a", CORRUPTED),
            ("PFADD g a", ":1"),
            ("PFDEBUG ENCODING g", "+dense"),
        ]);
    }
}
