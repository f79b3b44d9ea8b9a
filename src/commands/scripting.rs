//! EVAL, EVALSHA, their read-only forms, and SCRIPT.
//!
//! The work is in [`super::script`]; here are arguments and rows. A script runs as one command: dispatch locks the keys it
//! declares, and what it changes becomes one log record.

use super::access::KeyUse;
use super::client::write_help;
use super::context::Context;
use super::script::engine::{self, Call, Source};
use super::script::store::{parse_digest, show_digest};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::{Reply, number};

/// The parts of `command script numkeys key ... argument ...`.
pub(super) fn split_keys<'a>(
    command: &'a [&'a [u8]],
    count: i64,
    is_read_only: bool,
) -> Result<Call<'a>, CommandError> {
    let Ok(count) = usize::try_from(count) else {
        return Err(CommandError::fixed("ERR Number of keys can't be negative"));
    };
    let split = command[3..].split_at_checked(count);
    let (keys, arguments) = split.ok_or(CommandError::fixed(
        "ERR Number of keys can't be greater than number of args",
    ))?;
    Ok(Call {
        command,
        keys,
        arguments,
        is_read_only,
    })
}

fn evaluate(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    is_read_only: bool,
    source: &Source<'_>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let count = number::parse_integer(arguments[2]).ok_or(CommandError::NOT_INTEGER)?;
    let call = split_keys(arguments, count, is_read_only)?;
    engine::eval(context, source, call, reply)
}

fn eval(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    evaluate(
        context,
        arguments,
        false,
        &Source::Text(arguments[1]),
        reply,
    )
}

fn eval_ro(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    evaluate(context, arguments, true, &Source::Text(arguments[1]), reply)
}

fn evalsha(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    evaluate(
        context,
        arguments,
        false,
        &Source::Digest(arguments[1]),
        reply,
    )
}

fn evalsha_ro(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    evaluate(
        context,
        arguments,
        true,
        &Source::Digest(arguments[1]),
        reply,
    )
}

/// SCRIPT without a known subcommand: `resolve` has refused it already.
fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::SYNTAX)
}

fn load(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let digest = engine::load_script(context.services.scripts(), arguments[2])?;
    reply.bulk(show_digest(&digest).as_bytes());
    Ok(())
}

fn exists(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let scripts = context.services.scripts();
    reply.array_header(arguments.len() - 2);
    for digest in &arguments[2..] {
        let text = parse_digest(digest).and_then(|digest| scripts.script(&digest));
        reply.integer(i64::from(text.is_some()));
    }
    Ok(())
}

fn flush(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let is_known =
        |mode: &&[u8]| mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async");
    if arguments.len() > 3 || !arguments[2..].iter().all(is_known) {
        return Err(CommandError::fixed(
            "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        ));
    }
    context.services.scripts().flush();
    reply.ok();
    Ok(())
}

fn kill(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.services.scripts().slow.kill(false)?;
    reply.ok();
    Ok(())
}

/// Valkey's: the text of a script.
fn show(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const NO_SCRIPT: CommandError = CommandError::fixed("NOSCRIPT No matching script.");
    let scripts = context.services.scripts();
    let script = parse_digest(arguments[2]).and_then(|digest| scripts.script(&digest));
    reply.bulk(&script.ok_or(NO_SCRIPT)?.text);
    Ok(())
}

fn debug(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::fixed("ERR SCRIPT DEBUG is not supported"))
}

const HELP: &[&str] = &[
    "DEBUG (YES|SYNC|NO)",
    "    Not supported.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Tells which of these scripts are known.",
    "FLUSH [ASYNC|SYNC]",
    "    Forgets all scripts.",
    "KILL",
    "    Ends the script that runs, if it has written nothing.",
    "LOAD <script>",
    "    Keeps a script for EVALSHA without running it.",
    "SHOW <sha1>",
    "    Shows the text of a script.",
];

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    write_help("SCRIPT", HELP, reply);
    Ok(())
}

/// Flags of what runs scripts.
pub(super) const RUN: Flags = Flags::NOSCRIPT
    .and(Flags::SKIP_MONITOR)
    .and(Flags::STALE)
    .and(Flags::MOVABLE_KEYS)
    .and(Flags::NO_MANDATORY_KEYS)
    .and(Flags::RUNS_SCRIPT);

/// The keys that a script declares.
pub(super) const SCRIPT_KEYS: &[KeySpec] = &[KeySpec::Counted { count_index: 2 }];

const fn runner(
    name: &'static str,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    function: super::CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since,
        summary,
        complexity: "That of the script",
        ..CommandSpec::new(name, -3, flags, SCRIPT_KEYS, Group::Scripting, function)
    }
}

const fn subcommand(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    function: super::CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since,
        summary,
        ..CommandSpec::new(
            name,
            arity,
            flags,
            KeySpec::NONE,
            Group::Scripting,
            function,
        )
    }
}

const SUBCOMMANDS: &[CommandSpec] = &[
    subcommand(
        "debug",
        3,
        Flags::NOSCRIPT,
        "3.2.0",
        "Is refused: there is no debugger.",
        debug,
    )
    .with_syntax("mode<YES | SYNC | NO>"),
    subcommand(
        "exists",
        -3,
        Flags::NOSCRIPT,
        "2.6.0",
        "Tells which of these scripts are known.",
        exists,
    )
    .with_complexity("O(N) for N scripts")
    .with_tips(&[
        "request_policy:all_shards",
        "response_policy:agg_logical_and",
    ])
    .with_syntax("sha1..."),
    subcommand(
        "flush",
        -2,
        Flags::NOSCRIPT,
        "2.6.0",
        "Forgets all scripts.",
        flush,
    )
    .with_complexity("O(N) for N scripts that are known")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .with_syntax("flush-type[ASYNC | SYNC]@6.2.0"),
    subcommand(
        "kill",
        2,
        Flags::NOSCRIPT,
        "2.6.0",
        "Ends the script that runs, if it has written nothing.",
        kill,
    )
    .with_flags(Flags::ALLOW_BUSY)
    .with_tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    subcommand(
        "load",
        3,
        Flags::NOSCRIPT.and(Flags::STALE),
        "2.6.0",
        "Keeps a script for EVALSHA without running it.",
        load,
    )
    .with_complexity("O(N) for a script of N bytes")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .with_syntax("script"),
    subcommand(
        "show",
        3,
        Flags::NONE,
        "8.0.0",
        "Shows the text of a script.",
        show,
    )
    .with_syntax("sha1"),
    subcommand(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "5.0.0",
        "Lists the subcommands and what each is for.",
        help,
    ),
];

/// What a script may do to its keys.
pub(super) const ANY_USE: &[KeyUse] =
    &[KeyUse::CHANGE.noted("Nobody knows what the script does to them.")];
/// The same if it may not write.
pub(super) const ANY_READING: &[KeyUse] =
    &[KeyUse::READ.noted("Nobody knows what the script reads of them.")];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    runner(
        "eval",
        RUN.and(Flags::MAY_REPLICATE),
        "2.6.0",
        "Runs a script.",
        eval,
    )
    .with_key_uses(ANY_USE)
    .with_syntax("script numkeys:integer [key...] [arg...]"),
    runner(
        "eval_ro",
        RUN.and(Flags::READONLY),
        "7.0.0",
        "Runs a script that may not write.",
        eval_ro,
    )
    .with_key_uses(ANY_READING)
    .with_syntax("script numkeys:integer [key...] [arg...]"),
    runner(
        "evalsha",
        RUN.and(Flags::MAY_REPLICATE),
        "2.6.0",
        "Runs a script that the server knows already, by the SHA1 of its text.",
        evalsha,
    )
    .with_key_uses(&[KeyUse::CHANGE])
    .with_syntax("sha1 numkeys:integer [key...] [arg...]"),
    runner(
        "evalsha_ro",
        RUN.and(Flags::READONLY),
        "7.0.0",
        "Runs a script that the server knows already and that may not write, by the SHA1 of its text.",
        evalsha_ro,
    )
    .with_syntax("sha1 numkeys:integer [key...] [arg...]"),
    CommandSpec {
        since: "2.6.0",
        summary: "Keeps scripts, tells about them and ends them.",
        complexity: "That of the subcommand",
        subcommands: SUBCOMMANDS,
        ..CommandSpec::new(
            "script",
            -2,
            Flags::NONE,
            KeySpec::NONE,
            Group::Scripting,
            container,
        )
    },
];
