//! `larderctl inspect` on a log segment: what it says about itself, its effects by kind, the history of one key.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use storage_format::log::{LogRecord, SegmentHeader};
use storage_format::{EffectRecord, FileError, FormatError, SAME_RECORD_LSN};

use crate::error::ToolError;
use crate::log_walk::{LogWalk, walk_log};
use crate::render::{self, print_properties, table};
use crate::text::quoted;
use crate::{Breakdown, Outcome, check};

/// What is counted in a segment.
#[derive(Debug, Default)]
struct LogStatistics {
    records: u64,
    last_lsn: Option<u64>,
    first_lsn: Option<u64>,
    /// Count and encoded bytes of each kind of effect, by its name.
    effects: BTreeMap<&'static str, (u64, u64)>,
}

impl LogStatistics {
    fn add(&mut self, record: &LogRecord<'_>, only: Option<u32>) -> Result<(), FormatError> {
        self.records += 1;
        self.first_lsn.get_or_insert(record.lsn);
        self.last_lsn = Some(record.lsn);
        let mut rest = record.body;
        while !rest.is_empty() {
            let base = (record.body.len() - rest.len()) as u64;
            let (effect, length) =
                EffectRecord::decode(rest).map_err(|error| error.shifted_by(base))?;
            if only.is_none_or(|only| only == effect.generation) {
                let counted = self.effects.entry(effect.effect.name()).or_default();
                counted.0 += 1;
                counted.1 += length as u64;
            }
            rest = &rest[length..];
        }
        Ok(())
    }
}

/// Prints the header and the effects by kind.
///
/// # Errors
/// [`ToolError::Output`], or [`ToolError::File`] if the header is damaged.
pub fn show(
    file: &Path,
    segment: &[u8],
    generation: Option<u32>,
    by: &[Breakdown],
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    let header = SegmentHeader::decode(segment).map_err(FileError::format(file))?;
    let mut statistics = LogStatistics::default();
    let walk = walk_log(segment, |record| statistics.add(record, generation))
        .map_err(FileError::format(file))?;
    let lsns = match (statistics.first_lsn, statistics.last_lsn) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "none".to_owned(),
    };
    print_properties(
        out,
        &[
            ("log segment", file.display().to_string()),
            ("number", header.segment_number.to_string()),
            ("first LSN", header.first_lsn.to_string()),
            ("hash seed", format!("{:#018x}", header.hash_seed)),
            ("file size", render::bytes(segment.len() as u64)),
            ("filled", render::bytes(walk.end_offset)),
            ("records", render::count(statistics.records)),
            ("LSNs", lsns),
        ],
    )?;
    let mut rows = table(&["effect", "count", "bytes"], 1);
    for (name, (count, bytes)) in &statistics.effects {
        rows.add_row([
            (*name).to_owned(),
            render::count(*count),
            render::bytes(*bytes),
        ]);
    }
    writeln!(out, "{rows}\n")?;
    if by.iter().any(|by| *by != Breakdown::Type) {
        writeln!(
            out,
            "A log holds effects, not entries: it has no statistics by time to live or tier.\n"
        )?;
    }
    report_end(file, &walk, out)
}

/// Prints every effect on a key, in order.
///
/// # Errors
/// [`ToolError::Output`], or [`ToolError::File`] if the header is damaged.
pub fn show_key(
    file: &Path,
    segment: &[u8],
    key: &[u8],
    generation: Option<u32>,
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    let now_ms = render::now_ms();
    let mut rows = table(&["LSN", "previous LSN", "generation", "effect"], 4);
    let walk = walk_log(segment, |record| {
        for effect in record.effects() {
            let effect = effect?;
            let is_wanted = !effect.effect.is_keyless()
                && effect.key == key
                && generation.is_none_or(|only| only == effect.generation);
            if is_wanted {
                rows.add_row([
                    record.lsn.to_string(),
                    previous_lsn(&effect),
                    effect.generation.to_string(),
                    render::effect(&effect.effect, now_ms),
                ]);
            }
        }
        Ok(())
    })
    .map_err(FileError::format(file))?;
    let is_empty = rows.is_empty();
    if is_empty {
        writeln!(out, "{} has no history in {}", quoted(key), file.display())?;
    } else {
        writeln!(out, "{rows}")?;
    }
    let outcome = report_end(file, &walk, out)?;
    Ok(if outcome == Outcome::Fine && is_empty {
        Outcome::NoSuchKey
    } else {
        outcome
    })
}

fn previous_lsn(effect: &EffectRecord<'_>) -> String {
    match effect.previous_lsn {
        0 => "new".to_owned(),
        SAME_RECORD_LSN => "same record".to_owned(),
        lsn => lsn.to_string(),
    }
}

fn report_end(file: &Path, walk: &LogWalk, out: &mut dyn Write) -> Result<Outcome, ToolError> {
    if let Some(torn) = walk.torn() {
        writeln!(out, "{}: {torn}", file.display())?;
    }
    check::report_damages(file, &walk.damages(), out)
}
