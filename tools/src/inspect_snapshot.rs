//! `larderctl inspect` on a snapshot or backup: what it says about itself, statistics, one key.
//!
//! Types are counted in the file's own statistics and cost nothing; how long entries have to live depends on the time of asking, so
//! that table reads every block.

use std::io::Write;
use std::path::Path;

use storage_format::snapshot::{SnapshotForm, SnapshotHeader, Statistics};
use storage_format::{FileError, Placement, SnapshotEntry, SnapshotReader, ValueKind};

use crate::error::ToolError;
use crate::render::{self, print_properties, table};
use crate::text::quoted;
use crate::{Breakdown, Outcome, check};

/// Classes of remaining life: the name and the time up to which an entry belongs there, in milliseconds.
const TTL_CLASSES: [(&str, u64); 6] = [
    ("none", 0),
    ("expired", 0),
    ("under 1 hour", 3_600_000),
    ("under 1 day", 86_400_000),
    ("under 7 days", 7 * 86_400_000),
    ("later", u64::MAX),
];

/// Prints the header and the statistics.
///
/// # Errors
/// [`ToolError::Output`].
pub fn show(
    file: &Path,
    reader: &SnapshotReader,
    generation: Option<u32>,
    by: &[Breakdown],
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    show_header(file, reader, out)?;
    let by = if by.is_empty() {
        &[Breakdown::Type, Breakdown::Ttl]
    } else {
        by
    };
    let mut outcome = Outcome::Fine;
    for breakdown in by {
        match breakdown {
            Breakdown::Type => show_types(reader, generation, out)?,
            Breakdown::Tier => show_tiers(reader, generation, out)?,
            Breakdown::Ttl => {
                if show_ttl(file, reader, generation, out)? == Outcome::Damaged {
                    outcome = Outcome::Damaged;
                }
            }
        }
    }
    Ok(outcome)
}

fn show_header(file: &Path, reader: &SnapshotReader, out: &mut dyn Write) -> Result<(), ToolError> {
    let header = reader.header();
    let databases = header.generations.iter().enumerate();
    let databases: Vec<String> = databases
        .map(|(index, generation)| format!("{index}: {generation}"))
        .collect();
    print_properties(
        out,
        &[
            (form_name(header.form), file.display().to_string()),
            ("state at LSN", header.cut_lsn.to_string()),
            ("taken", render::time(header.created_ms, render::now_ms())),
            ("log from segment", header.log_segment_number.to_string()),
            ("hash seed", format!("{:#018x}", header.hash_seed)),
            ("databases: generations", databases.join(", ")),
            ("entries", render::count(reader.entry_count())),
            ("blocks", render::count(reader.block_count() as u64)),
            ("file size", render::bytes(reader.file_bytes())),
        ],
    )?;
    Ok(())
}

fn form_name(form: SnapshotForm) -> &'static str {
    match form {
        SnapshotForm::Snapshot => "snapshot",
        SnapshotForm::Backup => "backup",
    }
}

/// The database that has a generation, if any still has.
fn database_of(header: &SnapshotHeader, generation: u32) -> String {
    match header
        .generations
        .iter()
        .position(|&current| current == generation)
    {
        Some(index) => index.to_string(),
        None => "flushed".to_owned(),
    }
}

fn show_types(
    reader: &SnapshotReader,
    only: Option<u32>,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let header = [
        "database",
        "generation",
        "type",
        "entries",
        "with TTL",
        "key bytes",
        "value bytes",
    ];
    let mut rows = table(&header, 3);
    for generation in wanted(reader.statistics(), only) {
        for kind in ValueKind::ALL {
            let counted = generation.of(kind);
            if counted.count > 0 {
                rows.add_row([
                    database_of(reader.header(), generation.generation),
                    generation.generation.to_string(),
                    kind.name().to_owned(),
                    render::count(counted.count),
                    render::count(counted.with_deadline),
                    render::bytes(counted.key_bytes),
                    render::bytes(counted.value_bytes),
                ]);
            }
        }
    }
    writeln!(out, "{rows}\n")?;
    Ok(())
}

fn wanted(
    statistics: &Statistics,
    only: Option<u32>,
) -> impl Iterator<Item = &storage_format::snapshot::GenerationStatistics> {
    statistics
        .generations
        .iter()
        .filter(move |row| only.is_none_or(|only| only == row.generation))
}

fn show_tiers(
    reader: &SnapshotReader,
    only: Option<u32>,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let (mut entries, mut bytes) = (0, 0);
    for kind in wanted(reader.statistics(), only).flat_map(|generation| &generation.kinds) {
        entries += kind.count;
        bytes += kind.key_bytes + kind.value_bytes;
    }
    let (tier, note) = match reader.header().form {
        SnapshotForm::Snapshot => (
            "hot",
            "A snapshot holds the hot entries only. Warm copies and cold records stay in the data directory's cold store \
             and are not in this file.",
        ),
        SnapshotForm::Backup => (
            "hot and cold",
            "A backup merges hot and cold entries and does not say where each was kept.",
        ),
    };
    let mut rows = table(&["tier", "entries", "bytes"], 1);
    rows.add_row([
        tier.to_owned(),
        render::count(entries),
        render::bytes(bytes),
    ]);
    writeln!(out, "{rows}\n{note}\n")?;
    Ok(())
}

/// The index in [`TTL_CLASSES`] of an entry.
fn ttl_class(deadline_ms: u64, now_ms: u64) -> usize {
    match deadline_ms {
        0 => 0,
        passed if passed <= now_ms => 1,
        ahead => (2..5)
            .find(|&class| ahead - now_ms < TTL_CLASSES[class].1)
            .unwrap_or(5),
    }
}

fn show_ttl(
    file: &Path,
    reader: &SnapshotReader,
    only: Option<u32>,
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    let now_ms = render::now_ms();
    let mut classes = [(0u64, 0u64); TTL_CLASSES.len()];
    let progress = check::progress_bar(file, reader.block_count() as u64);
    let damages = reader.damages(|_, block| {
        for entry in block
            .entries()
            .filter(|entry| only.is_none_or(|only| only == entry.generation))
        {
            let class = &mut classes[ttl_class(entry.deadline_ms, now_ms)];
            class.0 += 1;
            class.1 += (entry.key.len() + entry.value.len()) as u64;
        }
        progress.inc(1);
        Ok(())
    });
    progress.finish_and_clear();
    let mut rows = table(&["time to live", "entries", "bytes"], 1);
    for ((name, _), (entries, bytes)) in TTL_CLASSES.iter().zip(classes) {
        rows.add_row([
            (*name).to_owned(),
            render::count(entries),
            render::bytes(bytes),
        ]);
    }
    writeln!(out, "{rows}\n")?;
    check::report_damages(file, &damages, out)
}

/// Prints the value of a key in every generation that has it, or in the one that was asked for.
///
/// # Errors
/// [`ToolError::Output`], or [`ToolError::File`] if the key's block is damaged.
pub fn show_key(
    file: &Path,
    reader: &SnapshotReader,
    key: &[u8],
    generation: Option<u32>,
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    let hash = Placement::new(reader.header().hash_seed).hash(key);
    let mut outcome = Outcome::NoSuchKey;
    for row in wanted(reader.statistics(), generation) {
        let found = reader
            .find(row.generation, hash, key, |entry| {
                show_entry(reader.header(), &entry, out)
            })
            .map_err(FileError::format(file))?;
        if let Some(shown) = found {
            if let Err(damage) = shown? {
                return check::report_damages(file, &[damage], out);
            }
            outcome = Outcome::Fine;
        }
    }
    if outcome == Outcome::NoSuchKey {
        writeln!(out, "{} is not in {}", quoted(key), file.display())?;
        if reader.header().form == SnapshotForm::Snapshot {
            writeln!(
                out,
                "(a snapshot holds the hot entries only: the key may be cold)"
            )?;
        }
    }
    Ok(outcome)
}

fn show_entry(
    header: &SnapshotHeader,
    entry: &SnapshotEntry<'_>,
    out: &mut dyn Write,
) -> std::io::Result<Result<(), storage_format::FormatError>> {
    print_properties(
        out,
        &[
            ("key", quoted(entry.key)),
            ("database", database_of(header, entry.generation)),
            ("generation", entry.generation.to_string()),
            ("type", entry.kind.name().to_owned()),
            ("size", render::value_size(entry.kind, entry.value)),
            ("LSN", entry.lsn.to_string()),
            (
                "deadline",
                render::deadline(entry.deadline_ms, render::now_ms()),
            ),
        ],
    )?;
    render::print_value(out, entry.kind, entry.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_remaining_life_have_their_bounds() {
        const NOW_MS: u64 = 1_000_000_000_000;
        const HOUR_MS: u64 = 3_600_000;
        let cases = [
            (0, "none"),
            (1, "expired"),
            (NOW_MS, "expired"),
            (NOW_MS + 1, "under 1 hour"),
            (NOW_MS + HOUR_MS - 1, "under 1 hour"),
            (NOW_MS + HOUR_MS, "under 1 day"),
            (NOW_MS + 24 * HOUR_MS, "under 7 days"),
            (NOW_MS + 7 * 24 * HOUR_MS, "later"),
            (u64::MAX, "later"),
        ];
        for (deadline_ms, class) in cases {
            assert_eq!(
                TTL_CLASSES[ttl_class(deadline_ms, NOW_MS)].0,
                class,
                "{deadline_ms}"
            );
        }
    }
}
