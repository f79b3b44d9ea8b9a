//! `larderctl check`: verifies every CRC and every value of any number of files, and goes on behind damage to report all of it.
//!
//! A file is judged by itself here, so that a gap in a log segment is damage. Only its directory tells whether a power failure may
//! have made it: that is [`crate::check_directory`].

use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use storage_format::log::LogRecord;
use storage_format::snapshot::DecodedBlock;
use storage_format::{Effect, FileError, FormatError, Placement, SnapshotReader, value};

use crate::Outcome;
use crate::check_directory::check_directory;
use crate::data_directory::reserve_by_name;
use crate::error::{ToolError, is_damage};
use crate::log_walk::walk_log;
use crate::render;
use crate::stored_file::StoredFile;

/// What is said of a log file without content.
pub const SPARE: &str = "a spare, nothing was written into it yet";

/// Checks files and data directories one after the other; each file gets at least one line of output.
///
/// # Errors
/// [`ToolError`] at the end if a file could not be read, once all others were checked; at once if the output cannot be written.
pub fn check_all(files: &[PathBuf], out: &mut dyn Write) -> Result<Outcome, ToolError> {
    let mut outcome = Outcome::Fine;
    let mut unreadable = None;
    for file in files {
        match check_file(file, out) {
            Ok(Outcome::Fine | Outcome::NoSuchKey) => {}
            Ok(Outcome::Damaged) => outcome = Outcome::Damaged,
            Err(ToolError::File(error)) if is_damage(&error) => {
                writeln!(out, "{error}")?;
                outcome = Outcome::Damaged;
            }
            Err(error @ (ToolError::File(_) | ToolError::Usage(_))) => {
                // The first error is returned, and so printed by `main`.
                if let Some(former) = unreadable.replace(error) {
                    eprintln!("larderctl: {former}");
                }
            }
            Err(error) => return Err(error),
        }
    }
    match unreadable {
        Some(error) if outcome == Outcome::Fine => Err(error),
        Some(error) => {
            eprintln!("larderctl: {error}");
            Ok(outcome)
        }
        None => Ok(outcome),
    }
}

fn check_file(file: &Path, out: &mut dyn Write) -> Result<Outcome, ToolError> {
    if file.is_dir() {
        return check_directory(file, out);
    }
    if let Some(why) = reserve_by_name(file).filter(|_| file.exists()) {
        writeln!(out, "{}: skipped, {why}", file.display())?;
        return Ok(Outcome::Fine);
    }
    let (damages, summary) = match StoredFile::open(file)? {
        StoredFile::Snapshot(reader) => {
            let found = check_snapshot(file, &reader);
            let damages = [found.blocks, found.entries].concat();
            (damages, snapshot_summary(&reader))
        }
        StoredFile::Spare => {
            writeln!(out, "{}: skipped, {SPARE}", file.display())?;
            return Ok(Outcome::Fine);
        }
        StoredFile::Log(map) => check_log(file, &map).map_err(FileError::format(file))?,
        StoredFile::Manifest(manifest) => (
            Vec::new(),
            format!("manifest, {} snapshots", manifest.snapshots.len()),
        ),
    };
    let verdict = if damages.is_empty() { "ok" } else { "damaged" };
    writeln!(out, "{}: {verdict}, {summary}", file.display())?;
    report_damages(file, &damages, out)
}

/// What is wrong with a snapshot, by ascending offset.
pub struct SnapshotDamages {
    /// Blocks, their order, and the statistics: what the server verifies before it uses a snapshot.
    pub blocks: Vec<FormatError>,
    /// Entries of sound blocks: what it would notice when it loads them.
    pub entries: Vec<FormatError>,
}

/// Reads all of a snapshot.
pub fn check_snapshot(file: &Path, reader: &SnapshotReader) -> SnapshotDamages {
    let progress = progress_bar(file, reader.block_count() as u64);
    let placement = Placement::new(reader.header().hash_seed);
    let mut entries = Vec::new();
    let blocks = reader.damages(|number, block| {
        progress.inc(1);
        let offset = reader.index().get(number).map_or(0, |row| row.offset);
        entries.extend(check_entries(block, &placement, offset).err());
        Ok(())
    });
    progress.finish_and_clear();
    SnapshotDamages { blocks, entries }
}

/// What a snapshot holds, in a few words.
pub fn snapshot_summary(reader: &SnapshotReader) -> String {
    let entries = render::count(reader.entry_count());
    format!("{entries} entries in {} blocks", reader.block_count())
}

fn check_entries(
    block: &DecodedBlock,
    placement: &Placement,
    offset: u64,
) -> Result<(), FormatError> {
    for entry in block.entries() {
        if placement.hash(entry.key) != entry.hash {
            return Err(FormatError::Damaged {
                what: "hash of a snapshot entry in the block",
                offset,
            });
        }
        if value::validate(entry.kind, entry.value).is_err() {
            return Err(FormatError::Damaged {
                what: "value of a snapshot entry in the block",
                offset,
            });
        }
    }
    Ok(())
}

fn check_log(file: &Path, segment: &[u8]) -> Result<(Vec<FormatError>, String), FormatError> {
    let progress = progress_bar(file, segment.len() as u64);
    let mut records = 0;
    let walk = walk_log(segment, |record| {
        records += 1;
        progress.set_position(record.next_offset);
        check_record(record)
    })?;
    progress.finish_and_clear();
    let mut summary = format!("{} records", render::count(records));
    if let Some(torn) = walk.torn() {
        summary = format!("{summary}, {torn}");
    }
    Ok((walk.damages(), summary))
}

/// Decodes a record's effects and the values in them.
///
/// # Errors
/// The first damage, its offset counted from the start of the body.
pub fn check_record(record: &LogRecord<'_>) -> Result<(), FormatError> {
    for effect in record.effects() {
        if let Effect::Put { kind, encoded, .. } = effect?.effect
            && value::validate(kind, encoded).is_err()
        {
            return Err(FormatError::damaged("value in the log record's body", 0));
        }
    }
    Ok(())
}

/// Prints each damage on a line of its own.
///
/// # Errors
/// [`ToolError::Output`].
pub fn report_damages(
    file: &Path,
    damages: &[FormatError],
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    for damage in damages {
        writeln!(out, "{}: {damage}", file.display())?;
    }
    Ok(if damages.is_empty() {
        Outcome::Fine
    } else {
        Outcome::Damaged
    })
}

/// A bar on standard error; hidden if that is no terminal.
pub fn progress_bar(file: &Path, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}") {
        bar.set_style(style);
    }
    let name = file.file_name().unwrap_or(file.as_os_str());
    bar.set_message(name.to_string_lossy().into_owned());
    bar
}
