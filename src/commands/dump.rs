//! DUMP and RESTORE: values in Redis's own serialisation, which any Redis or Valkey of the same age or younger understands.
//!
//! The form is `storage_format::rdb`; a value passes through the value encoding on its way. Cost: two copies of the value and, for
//! RESTORE, a look at every byte of it.

use super::access::KeyUse;
use super::categories::Categories;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;
use crate::value::Value;
use storage_format::rdb::payload::{self, PayloadError};

const BUSY_KEY: CommandError = CommandError::fixed("BUSYKEY Target key name already exists.");
const BAD_FOOTER: CommandError =
    CommandError::fixed("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: CommandError = CommandError::fixed("ERR Bad data format");

fn dump(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let Some(value) = context.keys.value(arguments[1]) else {
        reply.null();
        return Ok(());
    };
    let mut encoded = Vec::new();
    value.encode(&mut encoded);
    let payload = payload::encode(value.kind(), &encoded).map_err(|error| {
        CommandError::new(format!(
            "ERR DUMP cannot serialize this {}: {error}",
            value.kind().name()
        ))
    })?;
    reply.bulk(&payload);
    Ok(())
}

/// The options of RESTORE.
#[derive(Default)]
struct RestoreOptions {
    replaces: bool,
    /// ABSTTL: the time to live is a Unix time.
    is_absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl RestoreOptions {
    fn read(mut options: Options<'_>) -> Result<RestoreOptions, CommandError> {
        const BAD_IDLE_TIME: CommandError =
            CommandError::fixed("ERR Invalid IDLETIME value, must be >= 0");
        const BAD_FREQUENCY: CommandError =
            CommandError::fixed("ERR Invalid FREQ value, must be >= 0 and <= 255");
        let mut found = RestoreOptions::default();
        while let Some(word) = options.next() {
            if is_keyword(word, "replace") {
                found.replaces = true;
            } else if is_keyword(word, "absttl") {
                found.is_absolute = true;
            } else if is_keyword(word, "idletime") && found.frequency.is_none() {
                let idle_seconds = integer(options.value()?)?;
                found.idle_seconds = Some(u64::try_from(idle_seconds).map_err(|_| BAD_IDLE_TIME)?);
            } else if is_keyword(word, "freq") && found.idle_seconds.is_none() {
                let frequency = integer(options.value()?)?;
                found.frequency = Some(u8::try_from(frequency).map_err(|_| BAD_FREQUENCY)?);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(found)
    }

    fn deadline_ms(&self, argument: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
        const BAD_TIME: CommandError = CommandError::fixed("ERR Invalid TTL value, must be >= 0");
        let time_ms = u64::try_from(integer(argument)?).map_err(|_| BAD_TIME)?;
        Ok(match time_ms {
            0 => None,
            _ if self.is_absolute => Some(time_ms),
            _ => Some(time_ms.saturating_add(now_ms)),
        })
    }
}

fn read_payload(payload: &[u8]) -> Result<Value, CommandError> {
    let loaded = payload::decode(payload).map_err(|error| match error {
        PayloadError::Footer => BAD_FOOTER,
        PayloadError::Value(_) => BAD_FORMAT,
    })?;
    Value::decode(loaded.kind, &loaded.encoded).map_err(|_| BAD_FORMAT)
}

fn restore(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms) = (arguments[1], context.now_ms);
    let options = RestoreOptions::read(Options::new(arguments, 4))?;
    if !options.replaces && context.keys.exists(key) {
        return Err(BUSY_KEY);
    }
    let deadline_ms = options.deadline_ms(arguments[2], now_ms)?;
    let value = read_payload(arguments[3])?;
    if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
        if context.keys.delete(key)? {
            context.keys.notify(EventClasses::GENERIC, "del", key);
        }
        reply.ok();
        return Ok(());
    }
    let deadline = deadline_ms.map_or(Deadline::None, Deadline::At);
    context.keys.set_value(key, value, deadline)?;
    context
        .keys
        .set_use(key, options.idle_seconds, options.frequency);
    context.keys.notify(EventClasses::GENERIC, "restore", key);
    reply.ok();
    Ok(())
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "2.6.0",
        complexity: "O(N) for a value of size N",
        summary: "Returns a value as bytes that RESTORE takes, here or on another server.",
        ..CommandSpec::new(
            "dump",
            2,
            Flags::READONLY,
            KeySpec::FIRST,
            Group::Generic,
            dump,
        )
    }
    .with_key_uses(&[KeyUse::READ])
    .with_tips(&["nondeterministic_output"])
    .with_syntax("key"),
    CommandSpec {
        since: "2.6.0",
        complexity: "O(N*log(N)) for a value of size N",
        summary: "Makes a key of the bytes that DUMP returned.",
        ..CommandSpec::new(
            "restore",
            -4,
            Flags::WRITE.and(Flags::DENYOOM),
            KeySpec::FIRST,
            Group::Generic,
            restore,
        )
    }
    .with_key_uses(&[KeyUse::REPLACE])
    .with_categories(Categories::KEYSPACE.and(Categories::DANGEROUS))
    .with_syntax(
        "key ttl:integer serialized-value [REPLACE]@3.0.0 [ABSTTL]@5.0.0 \
         [IDLETIME seconds:integer]@5.0.0 [FREQ frequency:integer]@5.0.0",
    ),
];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::{START_MS, TestServer};

    /// What DUMP replies, as an argument.
    fn dump(server: &mut TestServer, key: &str) -> String {
        let payload = server.run_arguments(&[b"DUMP", key.as_bytes()]);
        let start = payload
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a bulk")
            + 1;
        let bytes = payload[start..payload.len() - 2].iter();
        let escaped: String = bytes.map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{escaped}\"")
    }

    #[test]
    fn every_type_comes_back() {
        for (make, read, reply) in [
            ("SET k text", "GET k", "\"text\""),
            ("SET k -70000", "GET k", "\"-70000\""),
            ("RPUSH k a 1 c", "LRANGE k 0 -1", "[\"a\" \"1\" \"c\"]"),
            ("SADD k 3 1 2", "SCARD k", ":3"),
            ("SADD k a", "SMEMBERS k", "[\"a\"]"),
            ("HSET k f v", "HGETALL k", "[\"f\" \"v\"]"),
            (
                "XADD k 7-1 f v",
                "XRANGE k - +",
                "[[\"7-1\" [\"f\" \"v\"]]]",
            ),
            (
                "ZADD k 1.5 a inf b",
                "ZRANGE k 0 -1 WITHSCORES",
                "[\"a\" \"1.5\" \"b\" \"inf\"]",
            ),
        ] {
            let mut server = TestServer::new();
            server.run(make);
            let payload = dump(&mut server, "k");
            let before = server.run("OBJECT ENCODING k");
            server.check("DEL k", ":1");
            server.check(&format!("RESTORE k 0 {payload}"), "+OK");
            server.check(read, reply);
            server.check("TTL k", ":-1");
            server.check("OBJECT ENCODING k", &before);
        }
    }

    #[test]
    fn deadlines_of_key_and_fields() {
        let mut server = TestServer::new();
        server.check("HSET k f v g w", ":2");
        server.check("HPEXPIRE k 500 FIELDS 1 f", "[:1]");
        let payload = dump(&mut server, "k");
        server.check_all(&[
            (
                &format!("RESTORE k 0 {payload}"),
                "-BUSYKEY Target key name already exists.",
            ),
            (&format!("RESTORE k 1000 {payload} REPLACE"), "+OK"),
            ("PTTL k", ":1000"),
            ("HPTTL k FIELDS 2 f g", "[:500 :-1]"),
            (
                &format!("RESTORE k {} {payload} REPLACE ABSTTL", START_MS + 7),
                "+OK",
            ),
            ("PTTL k", ":7"),
            (&format!("RESTORE k 1 {payload} ABSTTL REPLACE"), "+OK"),
            ("EXISTS k", ":0"),
            (&format!("RESTORE k 0 {payload}"), "+OK"),
        ]);
        server.advance_ms(500);
        server.check(&format!("RESTORE other 0 {payload}"), "+OK");
        server.check("HGETALL k", "[\"g\" \"w\"]");
        server.check("HGETALL other", "[\"g\" \"w\"]");
    }

    #[test]
    fn idle_time_and_frequency() {
        let mut server = TestServer::new();
        server.check("SET k v", "+OK");
        let payload = dump(&mut server, "k");
        server.check(
            &format!("RESTORE k 0 {payload} REPLACE IDLETIME 1000"),
            "+OK",
        );
        server.check("OBJECT IDLETIME k", ":1000");
        server.frequency_log_factor = Some(10);
        server.check(&format!("RESTORE k 0 {payload} REPLACE FREQ 100"), "+OK");
        server.check("OBJECT FREQ k", ":100");
    }

    #[test]
    fn errors() {
        let mut server = TestServer::new();
        server.check("SET s v", "+OK");
        let payload = dump(&mut server, "s");
        server.check_all(&[
            ("DUMP none", "nil"),
            (
                "RESTORE k 0 abc",
                "-ERR DUMP payload version or checksum are wrong",
            ),
            (
                &format!("RESTORE k -1 {payload}"),
                "-ERR Invalid TTL value, must be >= 0",
            ),
            (
                &format!("RESTORE k x {payload}"),
                "-ERR value is not an integer or out of range",
            ),
            (&format!("RESTORE k 0 {payload} FOO"), "-ERR syntax error"),
            (
                &format!("RESTORE k 0 {payload} IDLETIME"),
                "-ERR syntax error",
            ),
            (
                &format!("RESTORE k 0 {payload} IDLETIME -1"),
                "-ERR Invalid IDLETIME value, must be >= 0",
            ),
            (
                &format!("RESTORE k 0 {payload} FREQ 256"),
                "-ERR Invalid FREQ value, must be >= 0 and <= 255",
            ),
            (
                &format!("RESTORE k 0 {payload} FREQ 1 IDLETIME 1"),
                "-ERR syntax error",
            ),
        ]);
        // A right footer behind a value that is none.
        let mut bad = vec![200, 6, 0];
        let crc = storage_format::rdb::payload::crc64(&bad);
        bad.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(
            server.run_arguments(&[b"RESTORE", b"k", b"0", &bad]),
            b"-ERR Bad data format\r\n"
        );
    }
}
