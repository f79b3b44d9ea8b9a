//! COMMAND: the command table as clients may ask for it.

use super::client::write_help;
use super::context::Context;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::{table, transactions};
use crate::error::{CommandError, CommandResult};
use crate::glob;
use crate::resp::Reply;

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Return a list of all commands.",
];

/// Flags by the names of COMMAND INFO.
pub(super) const FLAG_NAMES: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::MAY_REPLICATE, "may_replicate"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLE_KEYS, "movablekeys"),
];

/// ACL categories of a command: those of its group and of its flags.
pub fn categories(spec: &CommandSpec) -> Vec<&'static str> {
    let mut categories = vec![match spec.group {
        Group::Generic => "@keyspace",
        Group::SortedSet => "@sortedset",
        Group::Connection => "@connection",
        Group::String => "@string",
        Group::Hash => "@hash",
        Group::List => "@list",
        Group::Set => "@set",
        Group::Transactions => "@transaction",
        Group::Bitmap => "@bitmap",
        Group::HyperLogLog => "@hyperloglog",
        Group::Geo => "@geo",
        Group::Stream => "@stream",
        Group::Scripting => "@scripting",
        Group::PubSub => "@pubsub",
        Group::Server | Group::Tier | Group::Cluster => "@admin",
    }];
    let by_flag = [
        (Flags::WRITE, "@write"),
        (Flags::READONLY, "@read"),
        (Flags::ADMIN, "@dangerous"),
        (Flags::PUBSUB, "@pubsub"),
        (Flags::BLOCKING, "@blocking"),
    ];
    categories.extend(
        by_flag
            .iter()
            .filter(|(flag, _)| spec.flags.has(*flag))
            .map(|(_, name)| *name),
    );
    categories.push(if spec.flags.has(Flags::FAST) {
        "@fast"
    } else {
        "@slow"
    });
    categories
}

/// First key, last key and step of the first key range, as COMMAND INFO shows them.
fn key_range(spec: &CommandSpec) -> (i64, i64, i64) {
    match spec.keys.first() {
        Some(KeySpec::Range { first, last, step }) => {
            (*first as i64, i64::from(*last), *step as i64)
        }
        _ => (0, 0, 0),
    }
}

fn full_name(container: Option<&CommandSpec>, spec: &CommandSpec) -> String {
    container.map_or_else(
        || spec.name.to_owned(),
        |container| format!("{}|{}", container.name, spec.name),
    )
}

fn write_info(container: Option<&CommandSpec>, spec: &CommandSpec, reply: &mut Reply<'_>) {
    reply.array_header(10);
    reply.bulk(full_name(container, spec).as_bytes());
    reply.integer(i64::from(spec.arity));
    let has_counted = spec
        .keys
        .iter()
        .any(|keys| matches!(keys, KeySpec::Counted { .. } | KeySpec::Found(_)));
    let flags = if has_counted {
        spec.flags.and(Flags::MOVABLE_KEYS)
    } else {
        spec.flags
    };
    let flags: Vec<&str> = FLAG_NAMES
        .iter()
        .filter(|(flag, _)| flags.has(*flag))
        .map(|(_, name)| *name)
        .collect();
    reply.set_header(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    let (first, last, step) = key_range(spec);
    [first, last, step]
        .into_iter()
        .for_each(|number| reply.integer(number));
    let categories = categories(spec);
    reply.set_header(categories.len());
    categories
        .iter()
        .for_each(|category| reply.simple(category));
    reply.array_header(0);
    reply.array_header(spec.keys.len());
    spec.keys
        .iter()
        .for_each(|keys| write_key_spec(spec, keys, reply));
    reply.array_header(spec.subcommands.len());
    spec.subcommands
        .iter()
        .for_each(|subcommand| write_info(Some(spec), subcommand, reply));
}

fn write_key_spec(spec: &CommandSpec, keys: &KeySpec, reply: &mut Reply<'_>) {
    reply.map_header(3);
    reply.bulk(b"flags");
    let flags: &[&str] = if spec.flags.has(Flags::WRITE) {
        &["RW", "UPDATE"]
    } else {
        &["RO", "ACCESS"]
    };
    reply.set_header(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    let (index, kind, fields) = match *keys {
        KeySpec::Range { first, last, step } => {
            let last = if last < 0 {
                i64::from(last)
            } else {
                i64::from(last) - first as i64
            };
            (
                first,
                "range",
                [("lastkey", last), ("keystep", step as i64), ("limit", 0)],
            )
        }
        KeySpec::Found(_) => (0, "unknown", [("lastkey", 0), ("keystep", 0), ("limit", 0)]),
        KeySpec::Counted { count_index } => (
            count_index,
            "keynum",
            [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)],
        ),
    };
    reply.bulk(b"begin_search");
    reply.map_header(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map_header(1);
    reply.bulk(b"index");
    reply.integer(index as i64);
    reply.bulk(b"find_keys");
    reply.map_header(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map_header(fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
}

fn write_docs(container: Option<&CommandSpec>, spec: &CommandSpec, reply: &mut Reply<'_>) {
    reply.bulk(full_name(container, spec).as_bytes());
    let fields = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    reply.map_header(fields.len() + usize::from(!spec.subcommands.is_empty()));
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map_header(spec.subcommands.len());
        spec.subcommands
            .iter()
            .for_each(|subcommand| write_docs(Some(spec), subcommand, reply));
    }
}

/// A command by the name that COMMAND DOCS and INFO take: `get` or `client|id`.
fn by_name(name: &[u8]) -> Option<(Option<&'static CommandSpec>, &'static CommandSpec)> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let container = table::find(parts.next()?)?.spec;
    match parts.next() {
        None => Some((None, container)),
        Some(subcommand) => {
            table::find_subcommand(container, subcommand).map(|spec| (Some(container), spec))
        }
    }
}

fn command(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    debug_assert_eq!(arguments.len(), 1, "with more, a subcommand runs");
    reply.array_header(table::all().count());
    table::all().for_each(|spec| write_info(None, spec, reply));
    Ok(())
}

fn count(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.count(table::all().count());
    Ok(())
}

fn info(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let names = &arguments[2..];
    if names.is_empty() {
        reply.array_header(table::all().count());
        table::all().for_each(|spec| write_info(None, spec, reply));
        return Ok(());
    }
    reply.array_header(names.len());
    for name in names {
        match by_name(name) {
            Some((container, spec)) => write_info(container, spec, reply),
            None => reply.null_array(),
        }
    }
    Ok(())
}

fn docs(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let wanted: Vec<_> = if arguments.len() == 2 {
        table::all().map(|spec| (None, spec)).collect()
    } else {
        arguments[2..]
            .iter()
            .filter_map(|name| by_name(name))
            .collect()
    };
    reply.map_header(wanted.len());
    wanted
        .into_iter()
        .for_each(|(container, spec)| write_docs(container, spec, reply));
    Ok(())
}

fn list(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let accepts: Box<dyn Fn(&CommandSpec) -> bool> = match &arguments[2..] {
        [] => Box::new(|_| true),
        [by, kind, value] if by.eq_ignore_ascii_case(b"FILTERBY") => {
            let value = value.to_ascii_lowercase();
            if kind.eq_ignore_ascii_case(b"MODULE") {
                Box::new(|_| false)
            } else if kind.eq_ignore_ascii_case(b"ACLCAT") {
                Box::new(move |spec| {
                    categories(spec)
                        .iter()
                        .any(|category| category.as_bytes()[1..] == value)
                })
            } else if kind.eq_ignore_ascii_case(b"PATTERN") {
                Box::new(move |spec| glob::matches_ignoring_case(&value, spec.name.as_bytes()))
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let names: Vec<&str> = table::all()
        .filter(|spec| accepts(spec))
        .map(|spec| spec.name)
        .collect();
    reply.array_header(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

fn get_keys(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const INVALID_COMMAND: CommandError = CommandError::fixed("ERR Invalid command specified");
    const INVALID_ARITY: CommandError =
        CommandError::fixed("ERR Invalid number of arguments specified for command");
    const NO_KEYS: CommandError = CommandError::fixed("ERR The command has no key arguments");
    let line = &arguments[2..];
    table::find(line[0]).ok_or(INVALID_COMMAND)?;
    let spec = transactions::resolve(line).map_err(|_| INVALID_ARITY)?.spec;
    if spec.keys.is_empty() {
        return Err(NO_KEYS);
    }
    let mut keys = Vec::new();
    spec.for_each_key(line, |index| keys.push(line[index]));
    if keys.is_empty() {
        return Err(CommandError::fixed(
            "ERR Invalid arguments specified for command",
        ));
    }
    reply.array_header(keys.len());
    keys.iter().for_each(|key| reply.bulk(key));
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

const COMMANDS_NAMED: &str = "O(N) where N is the number of commands to look up";

const SUBCOMMANDS: &[CommandSpec] = &[
    row("count", 2, "2.8.13", "Returns a count of commands.", count),
    row(
        "docs",
        -2,
        "7.0.0",
        "Returns documentary information about one, multiple or all commands.",
        docs,
    )
    .with_complexity(COMMANDS_NAMED),
    row(
        "getkeys",
        -3,
        "2.8.13",
        "Extracts the key names from an arbitrary command.",
        get_keys,
    )
    .with_complexity("O(N) where N is the number of arguments to the command"),
    row(
        "info",
        -2,
        "2.8.13",
        "Returns information about one, multiple or all commands.",
        info,
    )
    .with_complexity(COMMANDS_NAMED),
    row(
        "list",
        -2,
        "7.0.0",
        "Returns a list of command names.",
        list,
    )
    .with_complexity("O(N) where N is the total number of commands"),
    row(
        "help",
        2,
        "5.0.0",
        "Returns helpful text about the different subcommands.",
        help,
    ),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "2.8.13",
    complexity: "O(N) where N is the total number of commands",
    summary: "Returns detailed information about all commands.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::new("command", -1, FLAGS, KeySpec::NONE, Group::Server, command)
}];
