//! TIER: where keys are, and moving them to the cold tier by hand. And LOLWUT, which paints the tiers.

use super::client::write_help;
use super::context::Context;
use super::services::Temperature;
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use std::fmt::Write as _;

fn owned(keys: &[&[u8]]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.to_vec()).collect()
}

fn place(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let (database, keys) = (context.keys.database(), owned(&arguments[2..]));
    context.offload(move |services, reply| {
        let places: Vec<_> = keys
            .iter()
            .map(|key| services.temperature(database, key))
            .collect::<Result<_, _>>()?;
        reply.array_header(places.len());
        for place in places {
            match place {
                Some(Temperature::Hot) => reply.bulk(b"hot"),
                Some(Temperature::Warm) => reply.bulk(b"warm"),
                Some(Temperature::Cold) => reply.bulk(b"cold"),
                None => reply.null(),
            }
        }
        Ok(())
    });
    Ok(())
}

fn demote(context: &mut Context<'_>, arguments: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let database = context.keys.database();
    let all = arguments.len() == 3 && arguments[2].eq_ignore_ascii_case(b"ALL");
    let keys = (!all).then(|| owned(&arguments[2..]));
    context.offload(move |services, reply| {
        reply.integer(services.demote(database, keys)? as i64);
        Ok(())
    });
    Ok(())
}

fn statistics(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        let statistics = services.tier_statistics();
        reply.map_header(statistics.len());
        for (name, value) in statistics {
            reply.bulk(name.as_bytes());
            reply.integer(value as i64);
        }
        Ok(())
    });
    Ok(())
}

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &[
        "WHERE <key> [<key> ...]",
        "    Tells for each key whether it is hot, warm or cold, or nil if it does not exist.",
        "DEMOTE <key> [<key> ...]",
        "    Moves keys to the cold tier; returns how many were moved when they are there.",
        "DEMOTE ALL",
        "    Moves every key of this database to the cold tier.",
        "STATS",
        "    Returns figures about the tiers.",
    ];
    write_help("TIER", HELP, reply);
    Ok(())
}

fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("tier"))
}

/// A shelf of jars, as many and as full as chance has it, the version below: hot on top, cold at the bottom.
fn lolwut(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const COLUMNS_MAX: i64 = 16;
    let mut options = &arguments[1..];
    if let [version, number, rest @ ..] = options
        && version.eq_ignore_ascii_case(b"VERSION")
    {
        parse_integer(number).ok_or(CommandError::NOT_INTEGER)?;
        options = rest;
    }
    let columns = match options.first() {
        Some(columns) => parse_integer(columns)
            .ok_or(CommandError::NOT_INTEGER)?
            .clamp(1, COLUMNS_MAX),
        None => 8,
    };
    let mut picture = String::new();
    for (shelf, fill) in [
        ("hot", ['#', '*', '+']),
        ("warm", ['=', '-', '~']),
        ("cold", ['.', ':', ' ']),
    ] {
        let levels: Vec<(u64, char)> = (0..columns)
            .map(|_| {
                let random = context.random();
                (random % 4, fill[(random >> 8) as usize % fill.len()])
            })
            .collect();
        picture.push_str(&"  .___. ".repeat(columns as usize));
        picture.push('\n');
        for row in (0..3).rev() {
            for (level, fill) in &levels {
                let content = if row < *level { *fill } else { ' ' };
                let _ = write!(picture, "  |{content}{content}{content}| ");
            }
            picture.push('\n');
        }
        let _ = writeln!(picture, "{}  {shelf}", "==|___|=".repeat(columns as usize));
    }
    let _ = write!(picture, "\nLarder ver. {}\n", context.services.version());
    reply.verbatim(*b"txt", picture.as_bytes());
    Ok(())
}

const FLAGS: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::OFFLOADED);

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    function: CommandFunction,
) -> CommandSpec {
    CommandSpec {
        summary,
        since: "0.1.0",
        ..CommandSpec::new(name, arity, flags, KeySpec::NONE, Group::Tier, function)
    }
}

const SUBCOMMANDS: &[CommandSpec] = &[
    row(
        "where",
        -3,
        FLAGS,
        "Tells whether keys are hot, warm or cold.",
        place,
    )
    .with_complexity("O(N) for N keys")
    .with_syntax("key:string..."),
    row("demote", -3, FLAGS, "Moves keys to the cold tier.", demote)
        .with_complexity("O(N) for N keys, and the size of those that changed")
        .with_syntax("keys<ALL | key:string...>"),
    row(
        "stats",
        2,
        FLAGS,
        "Returns figures about the tiers.",
        statistics,
    ),
    row(
        "help",
        2,
        Flags::FAST,
        "Lists the subcommands and what each is for.",
        help,
    ),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        subcommands: SUBCOMMANDS,
        ..row(
            "tier",
            -2,
            Flags::NONE,
            "Tells where keys are and moves them between the tiers.",
            container,
        )
    },
    CommandSpec {
        since: "5.0.0",
        group: Group::Server,
        ..row(
            "lolwut",
            -1,
            Flags::READONLY.and(Flags::FAST),
            "Draws how full the tiers are, and tells the version.",
            lolwut,
        )
    }
    .with_syntax("[VERSION version:integer] [columns:integer]"),
];
