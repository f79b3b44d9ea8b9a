//! Commands for operators: INFO, CONFIG, SAVE and its relatives, SHUTDOWN, TIME. DEBUG is in [`super::debug`].
//!
//! Whatever waits for the disk or walks the keyspace is a job.

use super::categories::Categories;
use super::client::write_help;
use super::context::Context;
use super::services::ShutdownSave;
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;

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
        "    Tells the values of the directives whose names fit <pattern>.",
        "SET <directive> <value>",
        "    Gives <directive> another value while the server runs.",
        "RESETSTAT",
        "    Lets the counters of INFO begin at 0 again.",
        "REWRITE",
        "    Writes the directives as they are now into the configuration file.",
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

/// TIME: within a script or a transaction the same each time, to the millisecond.
fn time(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let now_us = match context.may_block {
        true => crate::clock::now_us(),
        false => context.now_ms * 1000,
    };
    reply.array_header(2);
    reply.bulk((now_us / 1_000_000).to_string().as_bytes());
    reply.bulk((now_us % 1_000_000).to_string().as_bytes());
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

pub(super) const ADMIN: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);
pub(super) const ADMIN_JOB: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::OFFLOADED);

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

pub(super) const ALL_KEYS: &str = "O(N) for N hot keys in all databases";

const CONFIG: &[CommandSpec] = &[
    row(
        "get",
        -3,
        ADMIN,
        "Tells the values of the directives whose names fit a pattern.",
        config_get,
    )
    .with_since("2.0.0")
    .with_complexity("O(N) for N directives that there are")
    .with_syntax("parameter...")
    .with_history(&[("7.0.0", "Several patterns at once.")]),
    row(
        "set",
        -4,
        ADMIN.and(Flags::OFFLOADED),
        "Changes directives while the server runs.",
        config_set,
    )
    .with_since("2.0.0")
    .with_complexity("O(N) for N directives")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .with_syntax("data<parameter value>...")
    .with_history(&[("7.0.0", "Several parameters at once.")]),
    row(
        "rewrite",
        2,
        ADMIN_JOB,
        "Writes the directives as they are now into the configuration file.",
        config_rewrite,
    )
    .with_since("2.8.0")
    .with_flags(Flags::LOADING.and(Flags::STALE))
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    row(
        "resetstat",
        2,
        ADMIN,
        "Lets the counters of INFO begin at 0 again.",
        config_reset_statistics,
    )
    .with_since("2.0.0")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Lists the subcommands and what each is for.",
        config_help,
    )
    .with_since("5.0.0"),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    row(
        "info",
        -1,
        Flags::LOADING.and(Flags::STALE).and(Flags::OFFLOADED),
        "Tells how the server is doing, section by section.",
        info,
    )
    .with_categories(Categories::DANGEROUS)
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ])
    .with_syntax("[section...]")
    .with_history(&[("7.0.0", "Several sections at once.")]),
    family(
        "config",
        Flags::NONE,
        "Reads and changes directives.",
        CONFIG,
    )
    .with_since("2.0.0"),
    family(
        "debug",
        ADMIN,
        "Looks inside the server and disturbs it, for tests.",
        super::debug::SUBCOMMANDS,
    )
    .with_flags(Flags::ONE_COMMAND)
    .with_flags(Flags::SYSTEM),
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
    .with_flags(Flags::NO_ASYNC_LOADING)
    .with_syntax("[SCHEDULE]@3.2.2"),
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
    .with_complexity("O(N) for N hot keys, if they are saved")
    .with_flags(Flags::ALLOW_BUSY.and(Flags::LOADING).and(Flags::STALE))
    .with_syntax("save-selector[NOSAVE | SAVE] [NOW]@7.0.0 [FORCE]@7.0.0 [ABORT]@7.0.0"),
    row(
        "time",
        1,
        Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        "Tells what time it is by the server's clock.",
        time,
    )
    .with_since("2.6.0")
    .with_tips(&["nondeterministic_output"]),
];
