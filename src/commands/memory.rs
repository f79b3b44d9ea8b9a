//! MEMORY: what the memory is used for.

use super::access::KeyUse;
use super::administration::{KEY_AFTER_SUBCOMMAND, family, row};
use super::client::write_help;
use super::context::Context;
use super::spec::{CommandSpec, Flags};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;

/// Figures in bytes, where nothing else is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryReport {
    /// The most that was ever handed out by the allocator.
    pub peak: u64,
    /// Handed out by the allocator now.
    pub allocated: u64,
    /// Resident.
    pub resident: u64,
    /// Buffers of clients.
    pub clients: u64,
    /// Values in the hot and the warm tier.
    pub values: u64,
    /// Number of keys in all tiers.
    pub keys: u64,
}

fn memory_usage(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    match &arguments[3..] {
        [] => {}
        [option, count] if option.eq_ignore_ascii_case(b"SAMPLES") => {
            let count = parse_integer(count).ok_or(CommandError::NOT_INTEGER)?;
            if count < 0 {
                return Err(CommandError::SYNTAX);
            }
        }
        _ => return Err(CommandError::SYNTAX),
    }
    match context.keys.info(arguments[2]) {
        Some(info) => reply.count(info.memory_bytes),
        None => reply.null(),
    }
    Ok(())
}

fn doctor(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        let text = diagnosis(&services.memory_report());
        reply.verbatim(*b"txt", text.as_bytes());
        Ok(())
    });
    Ok(())
}

/// What is worth knowing about the figures.
fn diagnosis(report: &MemoryReport) -> String {
    const SMALL_BYTES: u64 = 5 << 20;
    const MUCH_BYTES: u64 = 10 << 20;
    if report.allocated < SMALL_BYTES {
        return "This server uses hardly any memory, so there is nothing to say about it yet.\n"
            .to_owned();
    }
    let mut findings = Vec::new();
    if report.peak * 2 > report.allocated * 3 {
        findings.push(
            "* Peak: there was a time at which more than half as much again was used as now.",
        );
    }
    if report.resident * 5 > report.allocated * 7 && report.resident > report.allocated + MUCH_BYTES
    {
        findings.push(
            "* Fragmentation: far more is resident than was handed out. MEMORY PURGE gives free pages back to the system.",
        );
    }
    if report.clients > MUCH_BYTES {
        findings.push("* Clients: their buffers are large. CLIENT LIST shows whose (qbuf, omem).");
    }
    if findings.is_empty() {
        return "Nothing unusual was found in this server's memory.\n".to_owned();
    }
    format!(
        "What was found in this server's memory:\n\n{}\n",
        findings.join("\n")
    )
}

fn stats(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        write_stats(&services.memory_report(), reply);
        Ok(())
    });
    Ok(())
}

fn write_stats(report: &MemoryReport, reply: &mut Reply<'_>) {
    let overhead = report.allocated.saturating_sub(report.values);
    let extra = report.resident.saturating_sub(report.allocated);
    let integers = [
        ("peak.allocated", report.peak),
        ("total.allocated", report.allocated),
        ("startup.allocated", 0),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", report.clients),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.total", overhead),
        ("keys.count", report.keys),
        (
            "keys.bytes-per-key",
            report.values.checked_div(report.keys).unwrap_or(0),
        ),
        ("dataset.bytes", report.values),
        ("allocator.allocated", report.allocated),
        ("allocator.active", report.allocated),
        ("allocator.resident", report.resident),
        ("allocator-fragmentation.bytes", 0),
        ("allocator-rss.bytes", extra),
        ("rss-overhead.bytes", 0),
        ("fragmentation.bytes", extra),
    ];
    let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let resident = ratio(report.resident, report.allocated);
    let ratios = [
        (
            "dataset.percentage",
            100.0 * ratio(report.values, report.allocated),
        ),
        (
            "peak.percentage",
            100.0 * ratio(report.allocated, report.peak),
        ),
        ("allocator-fragmentation.ratio", 1.0),
        ("allocator-rss.ratio", resident),
        ("rss-overhead.ratio", 1.0),
        ("fragmentation", resident),
    ];
    reply.map_header(integers.len() + ratios.len());
    for (name, value) in integers {
        reply.bulk(name.as_bytes());
        reply.integer(value as i64);
    }
    for (name, value) in ratios {
        reply.bulk(name.as_bytes());
        reply.double(value);
    }
}

fn malloc_stats(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        let report = services.memory_report();
        let text = format!(
            "jemalloc: {} bytes handed out, {} bytes resident\n",
            report.allocated, report.resident
        );
        reply.verbatim(*b"txt", text.as_bytes());
        Ok(())
    });
    Ok(())
}

fn purge(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    context.offload(|services, reply| {
        services.purge_memory();
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &[
        "DOCTOR",
        "    Says in a few lines what is unusual about the memory.",
        "MALLOC-STATS",
        "    Shows how much the allocator has handed out, and how much is resident.",
        "PURGE",
        "    Has the allocator give free pages back to the system.",
        "STATS",
        "    Tells what the memory is used for, in bytes.",
        "USAGE <key> [SAMPLES <count>]",
        "    Tells how many bytes a key takes, its value included. SAMPLES is accepted",
        "    for Redis's sake: nothing has to be estimated.",
    ];
    write_help("MEMORY", HELP, reply);
    Ok(())
}

const REPORT_TIPS: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];

const SUBCOMMANDS: &[CommandSpec] = &[
    row(
        "doctor",
        2,
        Flags::OFFLOADED,
        "Says in a few lines what is unusual about the memory.",
        doctor,
    )
    .with_since("4.0.0")
    .with_tips(REPORT_TIPS),
    row(
        "malloc-stats",
        2,
        Flags::OFFLOADED,
        "Shows how much the allocator has handed out, and how much is resident.",
        malloc_stats,
    )
    .with_since("4.0.0")
    .with_tips(REPORT_TIPS),
    row(
        "purge",
        2,
        Flags::OFFLOADED,
        "Has free pages given back to the system.",
        purge,
    )
    .with_since("4.0.0")
    .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    row(
        "stats",
        2,
        Flags::OFFLOADED,
        "Tells what the memory is used for, in bytes.",
        stats,
    )
    .with_since("4.0.0")
    .with_tips(REPORT_TIPS),
    CommandSpec {
        keys: KEY_AFTER_SUBCOMMAND,
        ..row(
            "usage",
            -3,
            Flags::READONLY,
            "Tells how many bytes a key takes, its value included.",
            memory_usage,
        )
        .with_since("4.0.0")
        .with_key_uses(&[KeyUse::LOOK])
    }
    .with_syntax("key [SAMPLES count:integer]"),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Lists the subcommands and what each is for.",
        help,
    )
    .with_since("4.0.0"),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[family(
    "memory",
    Flags::NONE,
    "Tells what the memory is used for.",
    SUBCOMMANDS,
)
.with_since("4.0.0")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_looks_at_the_figures() {
        let healthy = MemoryReport {
            peak: 100 << 20,
            allocated: 90 << 20,
            resident: 95 << 20,
            ..MemoryReport::default()
        };
        let cases = [
            (MemoryReport::default(), "hardly any memory"),
            (healthy, "Nothing unusual"),
            (
                MemoryReport {
                    peak: 200 << 20,
                    ..healthy
                },
                "* Peak",
            ),
            (
                MemoryReport {
                    resident: 200 << 20,
                    ..healthy
                },
                "* Fragmentation",
            ),
            (
                MemoryReport {
                    clients: 20 << 20,
                    ..healthy
                },
                "* Clients",
            ),
        ];
        for (report, expected) in cases {
            assert!(diagnosis(&report).contains(expected), "{report:?}");
        }
    }
}
