//! FCALL, FCALL_RO and FUNCTION.
//!
//! Libraries are changed by jobs: the change is on disk, synced, before it is acknowledged, and before any thread can
//! call what it brings.

use super::client::write_help;
use super::context::Context;
use super::script::dump;
use super::script::engine;
use super::script::libraries::{Library, LibrarySet};
use super::scripting::{ANY_READING, ANY_USE, RUN, SCRIPT_KEYS, split_keys};
use super::services::Services;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::{Reply, number};
use std::sync::Arc;

fn call(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    is_read_only: bool,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (library, index) = context
        .services
        .scripts()
        .function(arguments[1])
        .ok_or(CommandError::fixed("ERR Function not found"))?;
    let count = number::parse_integer(arguments[2])
        .ok_or(CommandError::fixed("ERR Bad number of keys provided"))?;
    let call = split_keys(arguments, count, is_read_only)?;
    engine::call_function(context, (&library, index), call, reply)
}

fn fcall(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    call(context, arguments, false, reply)
}

fn fcall_ro(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    call(context, arguments, true, reply)
}

/// FUNCTION without a known subcommand: `resolve` has refused it already.
fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::SYNTAX)
}

/// Changes the libraries for all threads, once the changed ones are on disk.
fn change(
    services: &dyn Services,
    change: impl FnOnce(&mut LibrarySet) -> CommandResult,
) -> CommandResult {
    let scripts = services.scripts();
    let _one_at_a_time = scripts.changing_libraries.lock();
    let former = scripts.libraries();
    let mut libraries = LibrarySet::clone(&former);
    change(&mut libraries)?;
    let encoded = dump::encode(&libraries);
    // A library that is loaded again as it is, as some clients do at every start, needs no sync.
    if encoded != dump::encode(&former) {
        services.store_functions(&encoded)?;
    }
    scripts.set_libraries(libraries);
    Ok(())
}

fn already_exists(name: &str) -> CommandError {
    CommandError::new(format!("ERR Library '{name}' already exists"))
}

fn function_exists(name: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(name);
    CommandError::new(format!("ERR Function {name} already exists"))
}

fn load(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let (options, text) = arguments[2..].split_at(arguments.len() - 3);
    for option in options {
        if !option.eq_ignore_ascii_case(b"replace") {
            let option = String::from_utf8_lossy(option);
            return Err(CommandError::new(format!(
                "ERR Unknown option given: {option}"
            )));
        }
    }
    let replaces = !options.is_empty();
    let (name, _) = super::script::shebang::of_library(text[0])?;
    if !replaces && context.services.scripts().libraries().get(&name).is_some() {
        return Err(already_exists(&name));
    }
    let library = Arc::new(engine::load_library(text[0])?);
    context.offload(move |services, reply| {
        let name = library.name.clone();
        change(services, |libraries| {
            if !replaces && libraries.get(&library.name).is_some() {
                return Err(already_exists(&library.name));
            }
            libraries
                .insert(library)
                .map_err(|function| function_exists(&function))
        })?;
        reply.bulk(name.as_bytes());
        Ok(())
    });
    Ok(())
}

fn delete(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let name = String::from_utf8_lossy(arguments[2]).into_owned();
    context.offload(move |services, reply| {
        change(services, |libraries| {
            if libraries.remove(&name) {
                Ok(())
            } else {
                Err(CommandError::fixed("ERR Library not found"))
            }
        })?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn flush(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    match &arguments[2..] {
        [] => {}
        [mode] if mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async") => {}
        [_] => {
            return Err(CommandError::fixed(
                "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
            ));
        }
        _ => return Err(subcommand_syntax(arguments[1])),
    }
    context.offload(|services, reply| {
        change(services, |libraries| {
            *libraries = LibrarySet::default();
            Ok(())
        })?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn subcommand_syntax(name: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(name);
    CommandError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try FUNCTION HELP."
    ))
}

fn list(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = arguments[2..].iter();
    while let Some(option) = options.next() {
        if !with_code && option.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && option.eq_ignore_ascii_case(b"libraryname") {
            pattern = Some(*options.next().ok_or(CommandError::fixed(
                "ERR library name argument was not given",
            ))?);
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(CommandError::new(format!("ERR Unknown argument {option}")));
        }
    }
    let libraries = context.services.scripts().libraries();
    let is_wanted = |library: &&Arc<Library>| {
        pattern.is_none_or(|pattern| {
            crate::glob::matches_ignoring_case(pattern, library.name.as_bytes())
        })
    };
    let wanted: Vec<_> = libraries.iter().filter(is_wanted).collect();
    reply.array_header(wanted.len());
    for library in wanted {
        write_library(library, with_code, reply);
    }
    Ok(())
}

fn write_library(library: &Library, with_code: bool, reply: &mut Reply<'_>) {
    reply.map_header(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(library.name.as_bytes());
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array_header(library.functions.len());
    for function in &library.functions {
        reply.map_header(3);
        reply.bulk(b"name");
        reply.bulk(&function.name);
        reply.bulk(b"description");
        reply.bulk_or_null(function.description.as_deref());
        reply.bulk(b"flags");
        reply.set_header(function.flags.names().count());
        function.flags.names().for_each(|flag| reply.simple(flag));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.text);
    }
}

fn stats(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let scripts = context.services.scripts();
    let libraries = scripts.libraries();
    let running = scripts.slow.first();
    if running.as_ref().is_some_and(|script| !script.is_function) {
        return Err(scripts.slow.refusal());
    }
    reply.map_header(2);
    reply.bulk(b"running_script");
    match running {
        None => reply.null(),
        Some(script) => {
            reply.map_header(3);
            reply.bulk(b"name");
            reply.bulk(script.name.as_bytes());
            reply.bulk(b"command");
            reply.array_header(script.command.len());
            script
                .command
                .iter()
                .for_each(|argument| reply.bulk(argument));
            reply.bulk(b"duration_ms");
            reply.integer(script.started.elapsed().as_millis() as i64);
        }
    }
    reply.bulk(b"engines");
    reply.map_header(1);
    reply.bulk(b"LUA");
    reply.map_header(2);
    reply.bulk(b"libraries_count");
    reply.count(libraries.iter().len());
    reply.bulk(b"functions_count");
    reply.count(libraries.functions());
    Ok(())
}

fn kill(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.services.scripts().slow.kill(true)?;
    reply.ok();
    Ok(())
}

fn dump_all(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk(&dump::encode(&context.services.scripts().libraries()));
    Ok(())
}

/// What FUNCTION RESTORE does with the libraries that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RestorePolicy {
    Append,
    Replace,
    Flush,
}

fn restore(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let policy = match &arguments[3..] {
        [] => RestorePolicy::Append,
        [policy] if policy.eq_ignore_ascii_case(b"append") => RestorePolicy::Append,
        [policy] if policy.eq_ignore_ascii_case(b"replace") => RestorePolicy::Replace,
        [policy] if policy.eq_ignore_ascii_case(b"flush") => RestorePolicy::Flush,
        [_] => {
            return Err(CommandError::fixed(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
        _ => return Err(subcommand_syntax(arguments[1])),
    };
    let mut restored = Vec::new();
    for text in dump::decode(arguments[2])? {
        restored.push(Arc::new(engine::load_library(&text)?));
    }
    context.offload(move |services, reply| {
        change(services, |libraries| {
            restore_into(libraries, restored, policy)
        })?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn restore_into(
    libraries: &mut LibrarySet,
    restored: Vec<Arc<Library>>,
    policy: RestorePolicy,
) -> CommandResult {
    if policy == RestorePolicy::Flush {
        *libraries = LibrarySet::default();
    }
    for library in &restored {
        if libraries.get(&library.name).is_some() {
            if policy == RestorePolicy::Append {
                let name = &library.name;
                return Err(CommandError::new(format!(
                    "ERR Library {name} already exists"
                )));
            }
            libraries.remove(&library.name);
        }
    }
    for library in restored {
        libraries
            .insert(library)
            .map_err(|function| function_exists(&function))?;
    }
    Ok(())
}

const HELP: &[&str] = &[
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Adds a library; its first line names it.",
    "DELETE <LIBRARY NAME>",
    "    Removes a library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Tells the libraries and their functions, with their code if asked.",
    "STATS",
    "    Tells which function runs, and how many there are.",
    "KILL",
    "    Ends the function that runs, if it has written nothing.",
    "FLUSH [ASYNC|SYNC]",
    "    Removes all libraries.",
    "DUMP",
    "    Returns all libraries in a form that FUNCTION RESTORE takes.",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Adds dumped libraries: in place of all (FLUSH), of those of the same name (REPLACE), or of none (APPEND).",
];

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    write_help("FUNCTION", HELP, reply);
    Ok(())
}

const WRITES: Flags = Flags::NOSCRIPT.and(Flags::WRITE).and(Flags::OFFLOADED);

const fn subcommand(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    function: super::CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since: "7.0.0",
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
        "delete",
        3,
        WRITES,
        "Takes away a library with all its functions.",
        delete,
    )
    .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .with_syntax("library-name"),
    subcommand(
        "dump",
        2,
        Flags::NOSCRIPT,
        "Returns all libraries in a form that FUNCTION RESTORE takes.",
        dump_all,
    )
    .with_complexity("O(N) for N functions"),
    subcommand("flush", -2, WRITES, "Takes away all libraries.", flush)
        .with_complexity("O(N) for N functions")
        .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .with_syntax("flush-type[ASYNC | SYNC]"),
    subcommand(
        "kill",
        2,
        Flags::NOSCRIPT,
        "Ends the function that runs, if it has written nothing.",
        kill,
    )
    .with_flags(Flags::ALLOW_BUSY)
    .with_tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    subcommand(
        "list",
        -2,
        Flags::NOSCRIPT,
        "Tells the libraries and their functions, with their code if asked.",
        list,
    )
    .with_complexity("O(N) for N functions")
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("[LIBRARYNAME library-name-pattern] [WITHCODE]"),
    subcommand(
        "load",
        -3,
        WRITES.and(Flags::DENYOOM),
        "Adds a library, which is named by its first line.",
        load,
    )
    .with_complexity("O(1), and what compiling takes")
    .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .with_syntax("[REPLACE] function-code"),
    subcommand(
        "restore",
        -3,
        WRITES.and(Flags::DENYOOM),
        "Adds the libraries that FUNCTION DUMP returned.",
        restore,
    )
    .with_complexity("O(N) for N functions")
    .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .with_syntax("serialized-value policy[FLUSH | APPEND | REPLACE]"),
    subcommand(
        "stats",
        2,
        Flags::NOSCRIPT,
        "Tells which function runs, and how many there are.",
        stats,
    )
    .with_flags(Flags::ALLOW_BUSY)
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
    subcommand(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Lists the subcommands and what each is for.",
        help,
    ),
];

const fn caller(
    name: &'static str,
    flags: Flags,
    summary: &'static str,
    function: super::CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since: "7.0.0",
        summary,
        complexity: "That of the function",
        ..CommandSpec::new(name, -3, flags, SCRIPT_KEYS, Group::Scripting, function)
    }
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    caller(
        "fcall",
        RUN.and(Flags::MAY_REPLICATE),
        "Runs a function of a library.",
        fcall,
    )
    .with_key_uses(ANY_USE)
    .with_syntax("function numkeys:integer [key...] [arg...]"),
    caller(
        "fcall_ro",
        RUN.and(Flags::READONLY),
        "Runs a function of a library that may not write.",
        fcall_ro,
    )
    .with_key_uses(ANY_READING)
    .with_syntax("function numkeys:integer [key...] [arg...]"),
    CommandSpec {
        since: "7.0.0",
        summary: "Manages libraries of functions.",
        complexity: "That of the subcommand",
        subcommands: SUBCOMMANDS,
        ..CommandSpec::new(
            "function",
            -2,
            Flags::NONE,
            KeySpec::NONE,
            Group::Scripting,
            container,
        )
    },
];
