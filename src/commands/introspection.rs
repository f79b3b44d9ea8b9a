//! COMMAND: the command table as clients may ask for it. How a row is written out is in [`super::command_info`].

use super::access::{KeyFlags, for_each_key_use};
use super::categories::{Categories, categories};
use super::client::write_help;
use super::command_docs::write_docs;
use super::command_info::{write_info, write_key_flags};
use super::context::Context;
use super::spec::{CommandSpec, Flags, Group, KeySpec, counted_keys};
use super::table::{self, Listed, Row};
use crate::error::{CommandError, CommandResult};
use crate::glob;
use crate::resp::Reply;

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Describes all commands: arity, flags, keys, categories.",
    "COUNT",
    "    Tells how many commands there are.",
    "DOCS [<command-name> ...]",
    "    Describes commands in words, and their arguments.",
    "GETKEYS <full-command>",
    "    Tells which arguments of a command line are keys.",
    "GETKEYSANDFLAGS <full-command>",
    "    Tells which arguments of a command line are keys, and what is done to each.",
    "INFO [<command-name> ...]",
    "    Describes some commands: arity, flags, keys, categories.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Lists the names of commands.",
];

/// The top-level commands, as listed.
fn top_level() -> impl Iterator<Item = &'static Listed> {
    table::listed().iter().filter(|row| row.container.is_none())
}

/// A command by the name that COMMAND DOCS and INFO take: `get` or `client|id`.
fn by_name(name: &[u8]) -> Option<&'static Listed> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let container = table::find(parts.next()?)?;
    let row = match parts.next() {
        None => Some(container),
        Some(subcommand) => table::find_subcommand(container, subcommand),
    };
    row.map(|row| &table::listed()[row.number])
}

fn write_all(reply: &mut Reply<'_>) {
    reply.array_header(top_level().count());
    top_level().for_each(|row| write_info(row, reply));
}

fn command(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    debug_assert_eq!(arguments.len(), 1, "with more, a subcommand runs");
    write_all(reply);
    Ok(())
}

fn count(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.count(top_level().count());
    Ok(())
}

fn info(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let names = &arguments[2..];
    if names.is_empty() {
        write_all(reply);
        return Ok(());
    }
    reply.array_header(names.len());
    for name in names {
        match by_name(name) {
            Some(row) => write_info(row, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

fn docs(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let wanted: Vec<&Listed> = if arguments.len() == 2 {
        top_level().collect()
    } else {
        let names = arguments[2..].iter();
        names.filter_map(|name| by_name(name)).collect()
    };
    reply.map_header(wanted.len());
    wanted.into_iter().for_each(|row| write_docs(row, reply));
    Ok(())
}

fn list(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let accepts: Box<dyn Fn(&Listed) -> bool> = match &arguments[2..] {
        [] => Box::new(|_| true),
        [by, kind, value] if by.eq_ignore_ascii_case(b"FILTERBY") => {
            if kind.eq_ignore_ascii_case(b"MODULE") {
                Box::new(|_| false)
            } else if kind.eq_ignore_ascii_case(b"ACLCAT") {
                let category = Categories::named(value);
                Box::new(move |row| category.is_some_and(|wanted| categories(row.spec).has(wanted)))
            } else if kind.eq_ignore_ascii_case(b"PATTERN") {
                let pattern = value.to_vec();
                Box::new(move |row| {
                    glob::matches_ignoring_case(&pattern, row.full_name().as_bytes())
                })
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let wanted = table::listed().iter().filter(|row| accepts(row));
    let names: Vec<String> = wanted.map(Listed::full_name).collect();
    reply.array_header(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// The command whose keys are asked for.
fn command_with_keys(line: &[&[u8]]) -> Result<&'static CommandSpec, CommandError> {
    const INVALID_COMMAND: CommandError = CommandError::fixed("ERR Invalid command specified");
    const INVALID_ARITY: CommandError =
        CommandError::fixed("ERR Invalid number of arguments specified for command");
    const NO_KEYS: CommandError = CommandError::fixed("ERR The command has no key arguments");
    let row = table::find(line[0]).ok_or(INVALID_COMMAND)?;
    let spec = match line.get(1) {
        Some(name) if !row.spec.subcommands.is_empty() => {
            let found: Option<Row> = table::find_subcommand(row, name);
            found.ok_or(INVALID_COMMAND)?.spec
        }
        _ => row.spec,
    };
    if spec.keys.is_empty() {
        return Err(NO_KEYS);
    }
    if !spec.arity_allows(line.len()) {
        return Err(INVALID_ARITY);
    }
    Ok(spec)
}

/// The keys of a command line, each with what is done to it.
fn keys_of<'a>(line: &[&'a [u8]]) -> Result<Vec<(&'a [u8], KeyFlags)>, CommandError> {
    let spec = command_with_keys(line)?;
    let mut keys = Vec::new();
    for_each_key_use(spec, line, |index, flags| keys.push((line[index], flags)));
    // One wrong number of keys makes all of them doubtful.
    let is_uncounted = |keys: &KeySpec| match *keys {
        KeySpec::Counted { count_index } => counted_keys(line, count_index).is_empty(),
        _ => false,
    };
    let is_invalid = keys.is_empty() || spec.keys.iter().any(is_uncounted);
    if is_invalid && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(CommandError::fixed(
            "ERR Invalid arguments specified for command",
        ));
    }
    Ok(keys)
}

fn get_keys(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let keys = keys_of(&arguments[2..])?;
    reply.array_header(keys.len());
    keys.iter().for_each(|(key, _)| reply.bulk(key));
    Ok(())
}

fn get_keys_and_flags(
    _: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let keys = keys_of(&arguments[2..])?;
    reply.array_header(keys.len());
    for (key, flags) in keys {
        reply.array_header(2);
        reply.bulk(key);
        write_key_flags(flags, reply);
    }
    Ok(())
}

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    write_help("COMMAND", HELP, reply);
    Ok(())
}

const FLAGS: Flags = Flags::LOADING.and(Flags::STALE);

const fn row(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    function: super::spec::CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since,
        summary,
        ..CommandSpec::new(name, arity, FLAGS, KeySpec::NONE, Group::Server, function)
    }
}

const COMMANDS_NAMED: &str = "O(N) for N commands";

const SUBCOMMANDS: &[CommandSpec] = &[
    row(
        "count",
        2,
        "2.8.13",
        "Tells how many commands there are.",
        count,
    )
    .with_categories(Categories::CONNECTION),
    row(
        "docs",
        -2,
        "7.0.0",
        "Describes commands in words, and their arguments.",
        docs,
    )
    .with_complexity(COMMANDS_NAMED)
    .with_categories(Categories::CONNECTION)
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("[command-name...]"),
    row(
        "getkeys",
        -3,
        "2.8.13",
        "Tells which arguments of a command line are keys.",
        get_keys,
    )
    .with_complexity("O(N) for N arguments")
    .with_categories(Categories::CONNECTION)
    .with_syntax("command [arg...]"),
    row(
        "getkeysandflags",
        -3,
        "7.0.0",
        "Tells which arguments of a command line are keys, and what is done to each.",
        get_keys_and_flags,
    )
    .with_complexity("O(N) for N arguments")
    .with_categories(Categories::CONNECTION)
    .with_syntax("command [arg...]"),
    row(
        "info",
        -2,
        "2.8.13",
        "Describes commands: arity, flags, keys, categories.",
        info,
    )
    .with_complexity(COMMANDS_NAMED)
    .with_categories(Categories::CONNECTION)
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("[command-name...]")
    .with_history(&[("7.0.0", "All commands, if none is named.")]),
    row(
        "list",
        -2,
        "7.0.0",
        "Lists the commands, all or some, by name only.",
        list,
    )
    .with_complexity("O(N) for N commands that there are")
    .with_categories(Categories::CONNECTION)
    .with_tips(&["nondeterministic_output_order"])
    .with_syntax("[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern:pattern>]"),
    row(
        "help",
        2,
        "5.0.0",
        "Lists the subcommands and what each is for.",
        help,
    )
    .with_categories(Categories::CONNECTION),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "2.8.13",
    complexity: "O(N) for N commands that there are",
    summary: "Describes all commands: arity, flags, keys, categories.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::new("command", -1, FLAGS, KeySpec::NONE, Group::Server, command)
}
.with_categories(Categories::CONNECTION)
.with_tips(&["nondeterministic_output_order"])];

#[cfg(test)]
mod tests {
    use crate::commands::test_support::TestServer;

    #[test]
    fn keys_of_command_lines() {
        const INVALID: &str = "-ERR Invalid arguments specified for command";
        TestServer::new().check_all(&[
            ("COMMAND GETKEYS MSET a 1 b 2", "[\"a\" \"b\"]"),
            ("COMMAND GETKEYS ZDIFFSTORE d 2 a b", "[\"d\" \"a\" \"b\"]"),
            ("COMMAND GETKEYS ZDIFFSTORE d -5 a b", INVALID),
            ("COMMAND GETKEYS ZDIFFSTORE d 3 a b", INVALID),
            ("COMMAND GETKEYS SINTERCARD x a", INVALID),
            ("COMMAND GETKEYS EVAL script 0", "[]"),
            ("COMMAND GETKEYS EVAL script 5 a", "[]"),
            (
                "COMMAND GETKEYS XREAD COUNT 2 STREAMS a b 0 0",
                "[\"a\" \"b\"]",
            ),
            ("COMMAND GETKEYS XREAD STREAMS a b 0", "[\"a\"]"),
            ("COMMAND GETKEYS XREAD FOO STREAMS a 0", "[\"a\"]"),
            ("COMMAND GETKEYS XREAD a b c", INVALID),
        ]);
    }
}
