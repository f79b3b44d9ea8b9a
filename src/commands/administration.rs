//! Commands for operators: INFO, CONFIG, SAVE and its relatives, SHUTDOWN, TIME, MEMORY, DEBUG.
//!
//! Whatever waits for the disk or walks the keyspace is a job.

use super::categories::Categories;
use super::client::write_help;
use super::context::Context;
use super::debug_digest::{debug_digest, debug_digest_value};
use super::services::ShutdownSave;
use super::session::type_name;
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use crate::config::DebugCommand;
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::{parse_double, parse_integer};

fn text(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

fn info(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let _ = reply;
    let sections: Vec<String> = arguments[1..]
        .iter()
        .map(|name| text(name).to_lowercase())
        .collect();
    context.offload(move |services, reply| {
        reply.verbatim(*b"txt", services.info(&sections).as_bytes());
        Ok(())
    });
    Ok(())
}

fn config_get(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let settings = context.services.config_get(&arguments[2..]);
    reply.map_header(settings.len());
    for (name, value) in settings {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

fn config_set(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let _ = reply;
    let pairs = &arguments[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity("config|set"));
    }
    let pairs: Vec<(String, String)> = pairs
        .chunks(2)
        .map(|pair| (text(pair[0]), text(pair[1])))
        .collect();
    context.offload(move |services, reply| {
        services.config_set(&pairs)?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn config_rewrite(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        services.config_rewrite()?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn config_reset_statistics(
    context: &mut Context<'_>,
    _: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    context.services.reset_statistics();
    reply.ok();
    Ok(())
}

fn config_help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &[
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
    ];
    write_help("CONFIG", HELP, reply);
    Ok(())
}

fn save(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        services.save()?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn background_save(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    _: &mut Reply<'_>,
) -> CommandResult {
    let schedule = match &arguments[1..] {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"SCHEDULE") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    context.offload(move |services, reply| {
        reply.simple(services.background_save(schedule)?);
        Ok(())
    });
    Ok(())
}

fn rewrite_log(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        services.background_save(true)?;
        reply.simple("Background append only file rewriting started");
        Ok(())
    });
    Ok(())
}

fn last_save(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(context.services.last_save_seconds() as i64);
    Ok(())
}

fn shut_down(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let (mut save, mut now, mut force) = (ShutdownSave::Default, false, false);
    for option in &arguments[1..] {
        match option.to_ascii_uppercase().as_slice() {
            b"SAVE" if save != ShutdownSave::NoSave => save = ShutdownSave::Save,
            b"NOSAVE" if save != ShutdownSave::Save => save = ShutdownSave::NoSave,
            b"NOW" => now = true,
            b"FORCE" => force = true,
            b"ABORT" if arguments.len() == 2 => {
                return Err(CommandError::fixed("ERR No shutdown in progress."));
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
    context.offload(move |services, _| services.shut_down(save, now, force));
    Ok(())
}

fn time(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let now_us = crate::clock::now_us();
    reply.array_header(2);
    reply.bulk((now_us / 1_000_000).to_string().as_bytes());
    reply.bulk((now_us % 1_000_000).to_string().as_bytes());
    Ok(())
}

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

fn debug_sleep(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    let seconds = parse_double(arguments[2]).filter(|seconds| (0.0..=86_400.0).contains(seconds));
    let pause = std::time::Duration::from_secs_f64(seconds.ok_or(CommandError::NOT_FLOAT)?);
    context.offload(move |_, reply| {
        std::thread::sleep(pause);
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn debug_reload(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    context.offload(|services, reply| {
        services.reload()?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn debug_set_active_expire(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    allow_debug(context)?;
    context
        .services
        .set_active_expire(parse_integer(arguments[2]).ok_or(CommandError::NOT_INTEGER)? != 0);
    reply.ok();
    Ok(())
}

fn debug_object(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    allow_debug(context)?;
    let key = arguments[2];
    let info = context.keys.info(key).ok_or(CommandError::NO_SUCH_KEY)?;
    let mut encoded = Vec::new();
    context.keys.no_touch = true;
    if let Some(value) = context.keys.value(key) {
        value.encode(&mut encoded);
    }
    let encoding = super::generic_object::encoding_name(context, key).unwrap_or("unknown");
    reply.simple(format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{} lru:{} lru_seconds_idle:{} type:{} lsn:{}",
        encoded.len(),
        context.now_ms / 1000,
        info.idle_seconds,
        type_name(info.kind),
        info.lsn,
    ));
    Ok(())
}

/// Accepted for tests that were written for Redis's internals, and without effect here.
fn debug_nothing(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    allow_debug(context)?;
    reply.ok();
    Ok(())
}

fn debug_help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &[
        "DIGEST",
        "    Output a hex signature representing the current content of all databases. Not the one that Redis gives.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Output a hex signature of the values of all the specified keys.",
        "JMAP",
        "    Does nothing.",
        "OBJECT <key>",
        "    Show low level info about `key` and associated value.",
        "RELOAD",
        "    Take a snapshot and send every key to the cold tier, from where it comes back when it is used.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Setting it to 0 disables expiring keys in background when they are not accessed.",
        "SLEEP <seconds>",
        "    Keep this client waiting for <seconds>. Decimals allowed.",
    ];
    write_help("DEBUG", HELP, reply);
    Ok(())
}

pub(super) fn container(
    _: &mut Context<'_>,
    arguments: &[&[u8]],
    _: &mut Reply<'_>,
) -> CommandResult {
    if let Some(name) = arguments.get(1) {
        let container = text(arguments[0]).to_uppercase();
        return Err(CommandError::unknown_subcommand(&container, name));
    }
    Err(CommandError::wrong_arity(
        &text(arguments[0]).to_lowercase(),
    ))
}

const ADMIN: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);
const ADMIN_JOB: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::OFFLOADED);

pub(super) const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    function: CommandFunction,
) -> CommandSpec {
    CommandSpec {
        summary,
        ..CommandSpec::new(name, arity, flags, KeySpec::NONE, Group::Server, function)
    }
}

pub(super) const fn family(
    name: &'static str,
    flags: Flags,
    summary: &'static str,
    subcommands: &'static [CommandSpec],
) -> CommandSpec {
    CommandSpec {
        subcommands,
        ..row(name, -2, flags, summary, container)
    }
}

/// The third argument is a key.
pub(super) const KEY_AFTER_SUBCOMMAND: &[KeySpec] = &[KeySpec::Range {
    first: 2,
    last: 2,
    step: 1,
}];

const ALL_KEYS: &str = "O(N) where N is the number of hot keys in all databases";

const CONFIG: &[CommandSpec] = &[
    row(
        "get",
        -3,
        ADMIN,
        "Returns the effective values of configuration parameters.",
        config_get,
    )
    .with_since("2.0.0")
    .with_complexity("O(N) where N is the number of configuration parameters"),
    row(
        "set",
        -4,
        ADMIN.and(Flags::OFFLOADED),
        "Sets configuration parameters in-flight.",
        config_set,
    )
    .with_since("2.0.0")
    .with_complexity("O(N) where N is the number of configuration parameters provided")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    row(
        "rewrite",
        2,
        ADMIN_JOB,
        "Persists the effective configuration to file.",
        config_rewrite,
    )
    .with_since("2.8.0")
    .with_flags(Flags::LOADING.and(Flags::STALE))
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    row(
        "resetstat",
        2,
        ADMIN,
        "Resets the server's statistics.",
        config_reset_statistics,
    )
    .with_since("2.0.0")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Returns helpful text about the different subcommands.",
        config_help,
    )
    .with_since("5.0.0"),
];

const DEBUG: &[CommandSpec] = &[
    row(
        "sleep",
        3,
        ADMIN_JOB,
        "Keeps this client waiting.",
        debug_sleep,
    ),
    row(
        "reload",
        -2,
        ADMIN_JOB,
        "Takes a snapshot and sends every key to the cold tier.",
        debug_reload,
    )
    .with_complexity(ALL_KEYS),
    row(
        "set-active-expire",
        3,
        ADMIN,
        "Turns the active expiry on or off.",
        debug_set_active_expire,
    ),
    CommandSpec {
        keys: KEY_AFTER_SUBCOMMAND,
        ..row(
            "object",
            -3,
            ADMIN,
            "Shows what is known of a key.",
            debug_object,
        )
        .with_complexity("O(N) where N is the size of the value")
    },
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
        .with_complexity("O(N) where N is the size of the values")
    },
    row(
        "digest",
        2,
        ADMIN_JOB,
        "Returns a digest of all databases.",
        debug_digest,
    )
    .with_complexity("O(N) where N is the size of all values in all tiers"),
    row("jmap", -2, ADMIN, "Does nothing.", debug_nothing),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Returns helpful text about the different subcommands.",
        debug_help,
    ),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    row(
        "info",
        -1,
        Flags::LOADING.and(Flags::STALE).and(Flags::OFFLOADED),
        "Returns information and statistics about the server.",
        info,
    )
    .with_categories(Categories::DANGEROUS)
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
    family(
        "config",
        Flags::NONE,
        "A container for server configuration commands.",
        CONFIG,
    )
    .with_since("2.0.0"),
    family("debug", ADMIN, "A container for debugging commands.", DEBUG)
        .with_flags(Flags::ONE_COMMAND),
    row(
        "save",
        1,
        ADMIN_JOB.and(Flags::NO_MULTI),
        "Takes a snapshot and waits for it.",
        save,
    )
    .with_complexity(ALL_KEYS)
    .with_flags(Flags::NO_ASYNC_LOADING),
    row(
        "bgsave",
        -1,
        ADMIN_JOB,
        "Takes a snapshot in the background.",
        background_save,
    )
    .with_flags(Flags::NO_ASYNC_LOADING),
    row(
        "bgrewriteaof",
        1,
        ADMIN_JOB,
        "Takes a snapshot, after which the log before it is removed.",
        rewrite_log,
    )
    .with_flags(Flags::NO_ASYNC_LOADING),
    row(
        "lastsave",
        1,
        Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        "Returns the time of the last snapshot.",
        last_save,
    )
    .with_categories(Categories::ADMIN.and(Categories::DANGEROUS))
    .with_tips(&["nondeterministic_output"]),
    row(
        "shutdown",
        -1,
        ADMIN_JOB.and(Flags::NO_MULTI),
        "Takes a snapshot and ends the server.",
        shut_down,
    )
    .with_complexity("O(N) when saving, where N is the number of hot keys")
    .with_flags(Flags::ALLOW_BUSY.and(Flags::LOADING).and(Flags::STALE)),
    row(
        "time",
        1,
        Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        "Returns the server time.",
        time,
    )
    .with_since("2.6.0")
    .with_tips(&["nondeterministic_output"]),
];
