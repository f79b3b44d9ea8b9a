//! LATENCY: spikes that the latency monitor saw, and the distribution of each command's time.

use super::client::write_help;
use super::context::Context;
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use super::table;
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Samples that are kept of an event.
const SAMPLES_MAX: usize = 160;

/// Spikes of one kind of event.
#[derive(Clone, Debug, Default)]
struct Series {
    /// Unix seconds and milliseconds, oldest first; the longest of each second.
    samples: Vec<(u64, u64)>,
    longest_ms: u64,
}

/// Spikes by event: `command`, `fast-command`, `expire-cycle`, `expire-del`, `eviction-cycle`, `eviction-del`, `aof-fsync-always`.
#[derive(Default)]
pub struct LatencyMonitor {
    events: Mutex<BTreeMap<&'static str, Series>>,
}

impl LatencyMonitor {
    /// Notes that `event` took so long.
    pub fn note(&self, event: &'static str, at_seconds: u64, milliseconds: u64) {
        let mut events = self.events.lock();
        let series = events.entry(event).or_default();
        series.longest_ms = series.longest_ms.max(milliseconds);
        match series.samples.last_mut() {
            Some((second, longest_ms)) if *second == at_seconds => {
                *longest_ms = milliseconds.max(*longest_ms);
            }
            _ => series.samples.push((at_seconds, milliseconds)),
        }
        if series.samples.len() > SAMPLES_MAX {
            series.samples.remove(0);
        }
    }

    fn series(&self, event: &[u8]) -> Option<Series> {
        let events = self.events.lock();
        events
            .iter()
            .find(|(name, _)| name.as_bytes() == event)
            .map(|(_, series)| series.clone())
    }
}

/// The distribution of one command's time.
pub struct CommandLatency {
    /// The number of its row.
    pub number: usize,
    /// Times that were counted.
    pub calls: u64,
    /// Microseconds, and how many calls took at most so long.
    pub by_microseconds: Vec<(u64, u64)>,
}

fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("latency"))
}

fn latest(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let events = context.services.latency_monitor().events.lock();
    reply.array_header(events.len());
    for (name, series) in &*events {
        let (at_seconds, milliseconds) = series.samples.last().copied().unwrap_or_default();
        reply.array_header(4);
        reply.bulk(name.as_bytes());
        reply.integer(at_seconds as i64);
        reply.integer(milliseconds as i64);
        reply.integer(series.longest_ms as i64);
    }
    Ok(())
}

fn history(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let series = context.services.latency_monitor().series(arguments[2]);
    let samples = series.unwrap_or_default().samples;
    reply.array_header(samples.len());
    for (at_seconds, milliseconds) in samples {
        reply.array_header(2);
        reply.integer(at_seconds as i64);
        reply.integer(milliseconds as i64);
    }
    Ok(())
}

fn reset(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let mut events = context.services.latency_monitor().events.lock();
    let before = events.len();
    let is_meant = |name: &str| {
        let names = &arguments[2..];
        names.is_empty()
            || names
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes()))
    };
    events.retain(|name, _| !is_meant(name));
    reply.count(before - events.len());
    Ok(())
}

/// How long ago, in its largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Columns of at most four characters' height, and the age of each below it, read downwards.
fn chart(samples: &[(u64, u64)], now_seconds: u64) -> String {
    const LEVELS: [&[u8]; 4] = [b"_", b"o", b"#", b"|"];
    let highest = samples.iter().map(|(_, value)| *value).max().unwrap_or(0);
    let lowest = samples.iter().map(|(_, value)| *value).min().unwrap_or(0);
    let height_of = |value: u64| {
        ((value - lowest) * 3)
            .checked_div(highest - lowest)
            .unwrap_or(0) as usize
    };
    let labels: Vec<String> = samples
        .iter()
        .map(|(at, _)| age(now_seconds.saturating_sub(*at)))
        .collect();
    let mut rows = Vec::new();
    for level in (0..LEVELS.len()).rev() {
        let cell = |(_, value): &(u64, u64)| match height_of(*value) {
            height if height == level => LEVELS[level][0] as char,
            height if height > level => '|',
            _ => ' ',
        };
        let row: String = samples.iter().map(cell).collect();
        if !row.trim().is_empty() {
            rows.push(row);
        }
    }
    rows.push(String::new());
    let longest = labels.iter().map(String::len).max().unwrap_or(0);
    for line in 0..longest {
        let letter = |label: &String| label.chars().nth(line).unwrap_or(' ');
        rows.push(labels.iter().map(letter).collect());
    }
    rows.join("\n") + "\n"
}

fn graph(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let name = String::from_utf8_lossy(arguments[2]).into_owned();
    let series = context.services.latency_monitor().series(arguments[2]);
    let series = series
        .ok_or_else(|| CommandError::new(format!("ERR No samples available for event '{name}'")))?;
    let highest = series.samples.iter().map(|(_, value)| *value).max();
    let lowest = series.samples.iter().map(|(_, value)| *value).min();
    let (highest, lowest) = (highest.unwrap_or(0), lowest.unwrap_or(0));
    let mut text = format!(
        "{name} - high {highest} ms, low {lowest} ms (all time high {} ms)\n",
        series.longest_ms
    );
    text.push_str(&"-".repeat(80));
    text.push('\n');
    text.push_str(&chart(&series.samples, context.now_ms / 1000));
    reply.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

fn doctor(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let events = context.services.latency_monitor().events.lock();
    let threshold_ms = context.settings.latency_monitor_threshold_ms;
    let mut text = String::new();
    if events.is_empty() && threshold_ms == 0 {
        text.push_str(
            "The latency monitor is off. CONFIG SET latency-monitor-threshold <milliseconds> switches it on.\n",
        );
    } else if events.is_empty() {
        text.push_str("There was no spike since the start or the last LATENCY RESET.\n");
    } else {
        text.push_str("What took long:\n\n");
    }
    for (index, (name, series)) in events.iter().enumerate() {
        let count = series.samples.len() as u64;
        let sum: u64 = series.samples.iter().map(|(_, value)| value).sum();
        text.push_str(&format!(
            "{}. {name}: {count} spikes of {} ms on average, the longest one {} ms.\n",
            index + 1,
            sum / count.max(1),
            series.longest_ms,
        ));
    }
    if !events.is_empty() {
        text.push_str(&format!(
            "\n- Events of {threshold_ms} milliseconds and more are noted.\n\
             - SLOWLOG GET shows which commands were slow, LATENCY HISTOGRAM how long each takes as a rule.\n\
             - INFO tiers shows whether reads wait for the cold tier, and whether memory is short.\n"
        ));
    }
    reply.verbatim(*b"txt", text.as_bytes());
    Ok(())
}

fn histogram(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let all = context.services.command_latencies();
    let wanted: Vec<usize> = if arguments.len() == 2 {
        (0..table::listed().len()).collect()
    } else {
        let names = arguments[2..].iter();
        let rows = names.filter_map(|name| table::by_full_name(name));
        rows.flat_map(|row| row.number..=row.number + row.spec.listed_subcommands().len())
            .collect()
    };
    let shown: Vec<&CommandLatency> = wanted
        .iter()
        .filter_map(|number| all.iter().find(|latency| latency.number == *number))
        .collect();
    reply.map_header(shown.len());
    for latency in shown {
        reply.bulk(table::listed()[latency.number].full_name().as_bytes());
        reply.map_header(2);
        reply.bulk(b"calls");
        reply.integer(latency.calls as i64);
        reply.bulk(b"histogram_usec");
        reply.map_header(latency.by_microseconds.len());
        for (microseconds, calls) in &latency.by_microseconds {
            reply.integer(*microseconds as i64);
            reply.integer(*calls as i64);
        }
    }
    Ok(())
}

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &[
        "DOCTOR",
        "    Says in a few lines what took long.",
        "GRAPH <event>",
        "    Draws the spikes of <event> one beside the other.",
        "HISTORY <event>",
        "    Lists the spikes of <event>: when, and how many milliseconds.",
        "LATEST",
        "    Shows for each event its last spike and its longest one.",
        "RESET [<event> ...]",
        "    Forgets the spikes of these events,",
        "    or of all, if none is named.",
        "HISTOGRAM [COMMAND ...]",
        "    Tells for each command how many calls took at most how many microseconds.",
        "    Without names it tells that of all commands.",
    ];
    write_help("LATENCY", HELP, reply);
    Ok(())
}

const ADMIN: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);

const fn row(
    name: &'static str,
    arity: i32,
    summary: &'static str,
    function: CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since: "2.8.13",
        summary,
        tips: &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        ..CommandSpec::new(name, arity, ADMIN, KeySpec::NONE, Group::Server, function)
    }
}

const SUBCOMMANDS: &[CommandSpec] = &[
    row("doctor", 2, "Says in a few lines what took long.", doctor).with_tips(&[
        "nondeterministic_output",
        "request_policy:all_nodes",
        "response_policy:special",
    ]),
    row(
        "graph",
        3,
        "Draws the spikes of an event one beside the other.",
        graph,
    )
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:all_nodes",
        "response_policy:special",
    ])
    .with_syntax("event"),
    row(
        "histogram",
        -2,
        "Tells how many calls of a command took at most how many microseconds.",
        histogram,
    )
    .with_since("7.0.0")
    .with_complexity("O(N) for N commands that were called")
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:all_nodes",
        "response_policy:special",
    ])
    .with_syntax("[command...]"),
    row(
        "history",
        3,
        "Lists when an event had its spikes, and how long they were.",
        history,
    )
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:all_nodes",
        "response_policy:special",
    ])
    .with_syntax("event"),
    row(
        "latest",
        2,
        "Shows for each event its last spike and its longest one.",
        latest,
    )
    .with_tips(&[
        "nondeterministic_output",
        "request_policy:all_nodes",
        "response_policy:special",
    ]),
    row(
        "reset",
        -2,
        "Forgets spikes, of some events or of all.",
        reset,
    )
    .with_tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
    .with_syntax("[event...]"),
    CommandSpec {
        flags: Flags::LOADING.and(Flags::STALE),
        tips: &[],
        ..row(
            "help",
            2,
            "Lists the subcommands and what each is for.",
            help,
        )
    },
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    subcommands: SUBCOMMANDS,
    flags: Flags::NONE,
    tips: &[],
    ..row("latency", -2, "Shows what took long, and when.", container)
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_each_second_is_kept() {
        let monitor = LatencyMonitor::default();
        for (at, value) in [(10, 5), (10, 9), (10, 7), (12, 3)] {
            monitor.note("command", at, value);
        }
        let series = monitor.series(b"command").expect("samples");
        assert_eq!(
            (series.samples, series.longest_ms),
            (vec![(10, 9), (12, 3)], 9)
        );
        assert!(monitor.series(b"other").is_none());
        for at in 0..200 {
            monitor.note("command", at * 2 + 100, 1);
        }
        let series = monitor.series(b"command").expect("samples");
        assert_eq!((series.samples.len(), series.longest_ms), (SAMPLES_MAX, 9));
    }

    #[test]
    fn a_chart_has_a_column_for_each_sample() {
        let drawn = chart(&[(100, 1), (130, 4), (158, 2)], 160);
        assert_eq!(drawn, " | \n | \n |o\n_||\n\n132\nm0s\n s \n");
    }
}
