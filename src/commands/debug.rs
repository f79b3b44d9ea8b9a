//! DEBUG: what tests and developers ask of the server's insides.
//!
//! Much of what Redis has there is about its own structures. What has a meaning here does it; a few switches of Redis's structures
//! that test suites set around otherwise ordinary tests are checked and have no effect; the rest does not exist (docs/differences.md).

use super::administration::{ADMIN, ADMIN_JOB, KEY_AFTER_SUBCOMMAND, row};
use super::client::write_help;
use super::context::Context;
use super::debug_digest::{debug_digest, debug_digest_value};
use super::generic::without_touch;
use super::generic_object::encoding_name;
use super::session::type_name;
use super::spec::{CommandSpec, Flags, KeySpec};
use crate::config::DebugCommand;
use crate::config::memory::parse_bytes;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Deadline;
use crate::resp::number::{parse_double, parse_integer};
use crate::resp::{Protocol, Reply};
use crate::value::Value;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// `enable-debug-command`: nobody, everybody, or clients of this machine.
pub(super) fn allow_debug(context: &Context<'_>) -> CommandResult {
    const NOT_ALLOWED: CommandError = CommandError::fixed(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
         connection, otherwise you need to set this option in the configuration file, and then restart the server.",
    );
    let address = &context.session.address;
    let ip = address
        .parse::<std::net::SocketAddr>()
        .map(|address| address.ip().to_canonical());
    let is_local = address.starts_with('/') || ip.is_ok_and(|ip| ip.is_loopback());
    match context.settings.debug_command {
        DebugCommand::Yes => Ok(()),
        DebugCommand::Local if is_local => Ok(()),
        _ => Err(NOT_ALLOWED),
    }
}

/// SLEEP: a job that only this client waits for; within a script or a transaction a part of it, so that others wait for the
/// locks as they would if it computed for so long.
fn sleep(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    let seconds = parse_double(arguments[2]).filter(|seconds| (0.0..=86_400.0).contains(seconds));
    let pause = Duration::from_secs_f64(seconds.ok_or(CommandError::NOT_FLOAT)?);
    if !context.may_block {
        std::thread::sleep(pause);
        reply.ok();
        return Ok(());
    }
    context.offload(move |_, reply| {
        std::thread::sleep(pause);
        reply.ok();
        Ok(())
    });
    Ok(())
}

/// `RELOAD [NOSAVE] [NOFLUSH] [MERGE]`: everything becomes durable, leaves the memory, and comes back when it is used. With NOSAVE
/// it is the log that has it, so what is loaded is never older than what was there; merging the two changes nothing, and
/// loading one on top of the other without MERGE fails.
fn reload(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    const UNKNOWN_OPTION: CommandError = CommandError::fixed(
        "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
    );
    const NOT_LOADED: CommandError =
        CommandError::fixed("ERR Error trying to load the RDB dump, check server logs.");
    allow_debug(context)?;
    let (mut saves, mut keeps, mut merges) = (true, false, false);
    for option in &arguments[2..] {
        match option.to_ascii_uppercase().as_slice() {
            b"NOSAVE" => saves = false,
            b"NOFLUSH" => keeps = true,
            b"MERGE" => merges = true,
            _ => return Err(UNKNOWN_OPTION),
        }
    }
    let databases = context.keys.databases();
    context.offload(move |services, reply| {
        let has_keys = (0..databases).any(|database| services.key_counts(database).0 > 0);
        let has_any = has_keys || services.scripts().libraries().iter().len() > 0;
        if keeps && !merges && has_any || !services.reload(saves)? {
            return Err(NOT_LOADED);
        }
        reply.ok();
        Ok(())
    });
    Ok(())
}

/// LOADAOF: as RELOAD, from the log.
fn load_log(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    const NOT_LOADED: CommandError =
        CommandError::fixed("ERR Error trying to load the AOF files, check server logs.");
    allow_debug(context)?;
    context.offload(|services, reply| {
        if !services.reload(false)? {
            return Err(NOT_LOADED);
        }
        reply.ok();
        Ok(())
    });
    Ok(())
}

/// The 0 or 1 of a switch, of a client that may use DEBUG.
fn switch(context: &Context<'_>, arguments: &[&[u8]]) -> Result<bool, CommandError> {
    allow_debug(context)?;
    let number = parse_integer(arguments[2]).ok_or(CommandError::NOT_INTEGER)?;
    Ok(number != 0)
}

fn set_active_expire(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let on = switch(context, arguments)?;
    context.services.set_active_expire(on);
    reply.ok();
    Ok(())
}

fn pause_cron(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let paused = switch(context, arguments)?;
    context.services.pause_cron(paused);
    reply.ok();
    Ok(())
}

/// SET-DISABLE-DENY-SCRIPTS 0|1: whether scripts may call such commands for administrators as run at once.
fn set_disable_deny_scripts(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let on = switch(context, arguments)?;
    let scripts = context.services.scripts();
    scripts.allows_administration.store(on, Ordering::Relaxed);
    reply.ok();
    Ok(())
}

fn object(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    let key = arguments[2];
    context.keys.sees_expired = true;
    let info = context.keys.info(key).ok_or(CommandError::NO_SUCH_KEY)?;
    let mut encoded = Vec::new();
    if let Some(value) = without_touch(&mut context.keys, |keys| keys.value(key)) {
        value.encode(&mut encoded);
    }
    let encoding = encoding_name(context, key).unwrap_or("unknown");
    reply.simple(format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{} lru:{} lru_seconds_idle:{} type:{} lsn:{}",
        encoded.len(),
        context.now_ms / 1000 - u64::from(info.idle_seconds),
        info.idle_seconds,
        type_name(info.kind),
        info.lsn,
    ));
    Ok(())
}

/// The number of keys or elements that a switch or a size gives.
fn natural(argument: &[u8]) -> Result<usize, CommandError> {
    let number = parse_integer(argument).ok_or(CommandError::NOT_INTEGER)?;
    usize::try_from(number).map_err(|_| CommandError::OUT_OF_RANGE_POSITIVE)
}

/// `POPULATE count [prefix] [size]`: texts `prefix:N`, those that are there stay as they are.
fn populate(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    const KEYS_AT_A_TIME: usize = 256;
    allow_debug(context)?;
    let count = natural(arguments[2])?;
    let prefix = arguments.get(3).unwrap_or(&&b"key"[..]).to_vec();
    let size_bytes = arguments.get(4).map_or(Ok(0), |size| natural(size))?;
    if size_bytes > context.settings.bulk_limit_bytes as usize || arguments.len() > 5 {
        return Err(CommandError::SYNTAX);
    }
    let database = context.session.database;
    context.offload(move |services, reply| {
        for first in (0..count).step_by(KEYS_AT_A_TIME) {
            let numbers = first..count.min(first + KEYS_AT_A_TIME);
            let names: Vec<Vec<u8>> = numbers
                .clone()
                .map(|number| [&prefix[..], format!(":{number}").as_bytes()].concat())
                .collect();
            services.with_keys(database, &names, &mut |keys| {
                for (number, name) in numbers.clone().zip(&names) {
                    let mut text = format!("value:{number}").into_bytes();
                    if size_bytes > 0 {
                        text.resize(size_bytes, 0);
                    }
                    if keys.info(name).is_none() {
                        keys.set_text(name, &text, Deadline::None)?;
                    }
                }
                Ok(())
            })?;
        }
        reply.ok();
        Ok(())
    });
    Ok(())
}

/// PROTOCOL type: a reply of that type, the same each time.
fn protocol(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    allow_debug(context)?;
    let is_resp3 = reply.protocol() == Protocol::Resp3;
    match arguments[2].to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        // What Redis sends here: not quite pi.
        b"double" => reply.double(3141.0 / 1000.0),
        b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array_header(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set_header(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map_header(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if is_resp3 {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !is_resp3 => {
            return Err(CommandError::fixed(
                "ERR RESP2 is not supported by this command",
            ));
        }
        b"push" => {
            reply.push_header(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim(*b"txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(CommandError::fixed(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

fn log(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(arguments[2]));
    reply.ok();
    Ok(())
}

/// ERROR text: that text as an error; line ends become spaces.
fn error(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    let text = String::from_utf8_lossy(arguments[2]).replace(['\r', '\n'], " ");
    reply.error(text);
    Ok(())
}

/// HTSTATS database: how many keys the database has and how many of them a deadline.
fn table_statistics(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    _: &mut Reply<'_>,
) -> CommandResult {
    allow_debug(context)?;
    let database = parse_integer(arguments[2]).ok_or(CommandError::NOT_INTEGER)?;
    let database = u32::try_from(database)
        .ok()
        .filter(|number| *number < context.keys.databases())
        .ok_or(CommandError::fixed("ERR Out of range database"))?;
    context.offload(move |services, reply| {
        let (keys, with_deadline) = services.key_counts(database);
        let text = format!(
            "[Dictionary HT]\n number of elements: {keys}\n[Expires HT]\n number of elements: {with_deadline}\n"
        );
        reply.verbatim(*b"txt", text.as_bytes());
        Ok(())
    });
    Ok(())
}

/// HTSTATS-KEY key: how many elements a collection has that Redis would keep in a hash table.
fn table_statistics_of_key(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    allow_debug(context)?;
    let key = arguments[2];
    let value = without_touch(&mut context.keys, |keys| keys.value(key));
    let elements = match value.ok_or(CommandError::NO_SUCH_KEY)? {
        Value::Set(set) => set.len(),
        Value::Hash(hash) => hash.len(),
        Value::SortedSet(members) => members.len(),
        _ => 0,
    };
    if !matches!(encoding_name(context, key), Some("hashtable" | "skiplist")) {
        return Err(CommandError::fixed(
            "ERR The value stored at the specified key is not represented using an hash table",
        ));
    }
    let text = format!(" number of elements: {elements}\n");
    reply.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

/// STRINGMATCH-LEN length pattern: whether the pattern matches a text of so many zero bytes.
fn match_long_text(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const LENGTH_MAX: usize = 1 << 30;
    allow_debug(context)?;
    let length = natural(arguments[2])?;
    if length > LENGTH_MAX {
        return Err(CommandError::OUT_OF_RANGE);
    }
    let matches = crate::glob::matches(arguments[3], &vec![0; length]);
    reply.integer(i64::from(matches));
    Ok(())
}

/// QUICKLIST-PACKED-THRESHOLD size: from which size on Redis gives an element a node of its own. Checked; no effect.
fn packed_threshold(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    allow_debug(context)?;
    let size_bytes = std::str::from_utf8(arguments[2]).ok().and_then(parse_bytes);
    if size_bytes.is_none_or(|bytes| bytes > u64::from(u32::MAX)) {
        return Err(CommandError::fixed(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        ));
    }
    reply.ok();
    Ok(())
}

/// Accepted for tests that were written for Redis's internals, and without effect here.
fn nothing(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    reply.ok();
    Ok(())
}

fn help(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &[
        "DIGEST",
        "    Returns a digest of all databases, in hexadecimal digits. Not the one that Redis gives.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Returns a digest of each key's value. Not the one that Redis gives.",
        "ERROR <string>",
        "    Replies with <string> as an error.",
        "HTSTATS <dbid> [FULL]",
        "    Tells how many keys a database has, and how many of them have a deadline.",
        "HTSTATS-KEY <key> [FULL]",
        "    The same for the elements of a large collection.",
        "JMAP",
        "    Does nothing.",
        "LOADAOF",
        "    As RELOAD: there is one state, and the log is part of it.",
        "LOG <message>",
        "    Writes a line to the server's log.",
        "OBJECT <key>",
        "    Shows what is known of a key: encoding, size, last use, LSN.",
        "PAUSE-CRON <0|1>",
        "    With 1, what is done from time to time stops: save rules, the timeout of idle clients, rates.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Makes <count> keys with the names <prefix>:<number>; without a prefix it is 'key'.",
        "PROTOCOL <type>",
        "    Replies with some value of a type of the protocol. Types: string, integer, double, bignum,",
        "    null, array, set, map, attrib, push, verbatim, true or false.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    Does nothing.",
        "RELOAD [NOSAVE] [NOFLUSH [MERGE]]",
        "    Takes a snapshot and sends every key to the cold tier, from where it comes back when it is used. NOSAVE trusts",
        "    the log instead of a snapshot. NOFLUSH without MERGE fails if there is anything, as loading it twice would.",
        "REPLYBUFFER <subcommand> <value>",
        "    Does nothing.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    With 0, keys past their deadline stay until a command comes upon them.",
        "SET-DISABLE-DENY-SCRIPTS <0|1>",
        "    With 1, scripts may call commands for administrators that run at once.",
        "SLEEP <seconds>",
        "    Keeps this client waiting for so many seconds, which may have decimals.",
        "STRINGMATCH-LEN <length> <pattern>",
        "    Tells whether <pattern> fits <length> zero bytes.",
    ];
    allow_debug(context)?;
    write_help("DEBUG", HELP, reply);
    Ok(())
}

/// The rows of DEBUG's subcommands.
pub(super) const SUBCOMMANDS: &[CommandSpec] = &[
    row("sleep", 3, ADMIN, "Keeps this client waiting.", sleep).with_syntax("seconds:double"),
    row(
        "reload",
        -2,
        ADMIN_JOB,
        "Takes a snapshot and sends every key to the cold tier.",
        reload,
    )
    .with_complexity(super::administration::ALL_KEYS)
    .with_syntax("[NOSAVE] [NOFLUSH] [MERGE]"),
    row(
        "loadaof",
        2,
        ADMIN_JOB,
        "As DEBUG RELOAD, from the log.",
        load_log,
    )
    .with_complexity(super::administration::ALL_KEYS),
    row(
        "set-active-expire",
        3,
        ADMIN,
        "Turns the active expiry on or off.",
        set_active_expire,
    )
    .with_syntax("enabled:integer"),
    row(
        "pause-cron",
        3,
        ADMIN,
        "Stops what is done from time to time.",
        pause_cron,
    )
    .with_syntax("paused:integer"),
    row(
        "set-disable-deny-scripts",
        3,
        ADMIN,
        "Lets scripts call commands for administrators.",
        set_disable_deny_scripts,
    )
    .with_syntax("disabled:integer"),
    CommandSpec {
        keys: KEY_AFTER_SUBCOMMAND,
        ..row("object", -3, ADMIN, "Shows what is known of a key.", object)
            .with_complexity("O(N) for a value of size N")
    }
    .with_syntax("key [FAST]"),
    CommandSpec {
        keys: &[KeySpec::Range {
            first: 2,
            last: -1,
            step: 1,
        }],
        ..row(
            "digest-value",
            -3,
            ADMIN,
            "Returns a digest of each key's value.",
            debug_digest_value,
        )
        .with_complexity("O(N) for values of size N together")
    }
    .with_syntax("key..."),
    row(
        "digest",
        2,
        ADMIN_JOB,
        "Returns a digest of all databases.",
        debug_digest,
    )
    .with_complexity("O(N) for values of size N in all tiers"),
    row(
        "populate",
        -3,
        ADMIN_JOB.and(Flags::WRITE).and(Flags::DENYOOM),
        "Creates keys for tests.",
        populate,
    )
    .with_complexity("O(N) for N keys")
    .with_syntax("count:integer [prefix] [size:integer]"),
    row(
        "protocol",
        3,
        ADMIN,
        "Replies with a value of each type of the protocol.",
        protocol,
    )
    .with_syntax("type"),
    row("log", 3, ADMIN, "Writes a line to the server's log.", log).with_syntax("message"),
    row("error", 3, ADMIN, "Replies with an error.", error).with_syntax("message"),
    row(
        "htstats",
        -3,
        ADMIN_JOB,
        "Returns how many keys a database has.",
        table_statistics,
    )
    .with_syntax("dbid:integer [FULL]"),
    CommandSpec {
        keys: KEY_AFTER_SUBCOMMAND,
        ..row(
            "htstats-key",
            -3,
            ADMIN,
            "Returns how many elements a large collection has.",
            table_statistics_of_key,
        )
    }
    .with_syntax("key [FULL]"),
    row(
        "stringmatch-len",
        4,
        ADMIN,
        "Matches a pattern against a long text.",
        match_long_text,
    )
    .with_complexity("O(N) for a string of N bytes")
    .with_syntax("length:integer pattern:pattern"),
    row(
        "quicklist-packed-threshold",
        3,
        ADMIN,
        "Does nothing.",
        packed_threshold,
    )
    .with_syntax("size"),
    row("replybuffer", 4, ADMIN, "Does nothing.", nothing).with_syntax("setting value"),
    row("jmap", -2, ADMIN, "Does nothing.", nothing).with_syntax("[file]"),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Lists the subcommands and what each is for.",
        help,
    ),
];
