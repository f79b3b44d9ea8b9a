//! `larderctl check` on a data directory: what a start of the server would find, without starting it.
//!
//! The verdict is the server's (`src/persist/recovery.rs`): the newest usable snapshot counts, and the log from its cut on has to be
//! without a gap. What a start would not look at is checked as well; damage there is reported, and said not to hinder a start.
//! What cannot be judged from here is the cold tier: its files are RocksDB's.

use std::io::Write;
use std::path::{Path, PathBuf};

use storage_format::manifest::SnapshotManifest;
use storage_format::{FileError, FormatError, Manifest, SnapshotReader};

use crate::Outcome;
use crate::check;
use crate::check_log_order::{self, LogStart};
use crate::data_directory::{self, files_in};
use crate::error::ToolError;
use crate::render;

/// The server verifies a snapshot up to this size before it uses it, and of a larger one each block when it is loaded.
const VERIFIED_BYTES_MAX: u64 = 128 << 20;

/// Writes one line about each file, and remembers how bad it was.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    /// Something is damaged.
    pub is_damaged: bool,
    /// It is something without which the server does not start.
    pub is_refused: bool,
}

impl Report<'_> {
    /// A line about a file that is in order.
    pub fn fine(&mut self, path: &Path, summary: &str) -> Result<(), ToolError> {
        Ok(writeln!(self.out, "{}: ok, {summary}", path.display())?)
    }

    /// A line about a file that does not count.
    pub fn skipped(&mut self, path: &Path, why: &str) -> Result<(), ToolError> {
        Ok(writeln!(self.out, "{}: skipped, {why}", path.display())?)
    }

    /// A line about damage that a start survives.
    pub fn damaged(&mut self, path: &Path, what: &str) -> Result<(), ToolError> {
        self.is_damaged = true;
        Ok(writeln!(self.out, "{}: damaged, {what}", path.display())?)
    }

    /// A line about damage; `is_needed`: the server does not start with it.
    pub fn damage(&mut self, path: &Path, what: &str, is_needed: bool) -> Result<(), ToolError> {
        self.is_refused |= is_needed;
        self.damaged(path, what)
    }
}

/// Checks a data directory.
///
/// # Errors
/// [`ToolError`] if it is none, if a file cannot be read or is of a newer version, or if the output cannot be written.
pub fn check_directory(directory: &Path, out: &mut dyn Write) -> Result<Outcome, ToolError> {
    let manifest_path = directory.join("MANIFEST");
    let manifest = match Manifest::read(&manifest_path) {
        Ok(manifest) => manifest,
        Err(error) if error.is_not_found() && !data_directory::holds_data(directory) => {
            return Err(ToolError::Usage(format!(
                "{}: this is no data directory, there is no MANIFEST in it",
                directory.display()
            )));
        }
        Err(error) if is_unusable(&error) => return check_remains(directory, &error, out),
        Err(error) => return Err(error.into()),
    };
    let mut report = Report {
        out,
        is_damaged: false,
        is_refused: false,
    };
    let named = render::count(manifest.snapshots.len() as u64);
    report.fine(&manifest_path, &format!("manifest, {named} snapshots"))?;
    let base = check_snapshots(directory, &manifest, &mut report)?;
    let former_run = data_directory::former_run(directory)?;
    let start = LogStart::new(&manifest, base, former_run);
    let last_lsn = check_log_order::check_log(&directory.join("log"), &start, &mut report)?;
    conclude(directory, base, last_lsn, &mut report)
}

/// Whether the server takes this for damage: in a data directory, a file that is missing or of another kind is that, too.
pub fn is_unusable(error: &FileError) -> bool {
    error.is_not_found()
        || matches!(
            error,
            FileError::Format {
                source: FormatError::Damaged { .. } | FormatError::NotThisFormat { .. },
                ..
            }
        )
}

/// Without a manifest nobody knows what belongs together: every file is checked by itself.
fn check_remains(
    directory: &Path,
    error: &FileError,
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    if error.is_not_found() {
        let name = directory.display();
        writeln!(
            out,
            "{name}: damaged, there is data but no MANIFEST that says what it is"
        )?;
    } else {
        writeln!(out, "{error}")?;
    }
    let mut files = files_in(&directory.join("snapshots"))?;
    files.extend(files_in(&directory.join("log"))?);
    match check::check_all(&files, out) {
        Err(error @ ToolError::Output(_)) => return Err(error),
        Err(error) => eprintln!("larderctl: {error}"),
        Ok(_) => {}
    }
    writeln!(
        out,
        "{}: damaged, the server refuses to start",
        directory.display()
    )?;
    Ok(Outcome::Damaged)
}

/// Checks all snapshots and returns the one that a start would use.
fn check_snapshots<'a>(
    directory: &Path,
    manifest: &'a Manifest,
    report: &mut Report<'_>,
) -> Result<Option<&'a SnapshotManifest>, ToolError> {
    let part = directory.join("snapshots");
    let mut base = None;
    for named in manifest.snapshots.iter().rev() {
        let path = part.join(&named.file_name);
        if check_snapshot(&path, named, manifest.hash_seed, report)? {
            base = base.or(Some(named));
        }
    }
    let path_of = |named: &SnapshotManifest| part.join(&named.file_name);
    let named: Vec<PathBuf> = manifest.snapshots.iter().map(path_of).collect();
    for path in files_in(&part)? {
        if !named.contains(&path) {
            report.skipped(&path, "the manifest does not name it")?;
        }
    }
    if base.is_none() && !named.is_empty() {
        report.damage(&part, "no snapshot can be used", true)?;
    }
    Ok(base)
}

/// Whether the server would use the snapshot.
fn check_snapshot(
    path: &Path,
    named: &SnapshotManifest,
    hash_seed: u64,
    report: &mut Report<'_>,
) -> Result<bool, ToolError> {
    let reader = match SnapshotReader::open(path) {
        Ok(reader) => reader,
        Err(FileError::Format { source, .. })
            if !matches!(source, FormatError::NewerVersion { .. }) =>
        {
            report.damaged(path, &source.to_string())?;
            return Ok(false);
        }
        Err(error) if error.is_not_found() => {
            report.damaged(path, "the manifest names it, but it is missing")?;
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    let header = reader.header();
    if header.hash_seed != hash_seed || header.cut_lsn != named.cut_lsn {
        report.damaged(path, "this is another snapshot than the manifest names")?;
        return Ok(false);
    }
    let found = check::check_snapshot(path, &reader);
    for damage in found.blocks.iter().chain(&found.entries) {
        report.damaged(path, &damage.to_string())?;
    }
    if found.blocks.is_empty() && found.entries.is_empty() {
        report.fine(path, &check::snapshot_summary(&reader))?;
    }
    Ok(found.blocks.is_empty() || reader.file_bytes() > VERIFIED_BYTES_MAX)
}

fn conclude(
    directory: &Path,
    base: Option<&SnapshotManifest>,
    last_lsn: u64,
    report: &mut Report<'_>,
) -> Result<Outcome, ToolError> {
    let name = directory.display();
    let snapshot = base.map_or("no snapshot", |base| base.file_name.as_str());
    let use_of = format!("a start uses {snapshot} and the log up to record {last_lsn}");
    match (report.is_damaged, report.is_refused) {
        (_, true) => writeln!(report.out, "{name}: damaged, the server refuses to start")?,
        (true, false) => writeln!(report.out, "{name}: damaged, but {use_of}")?,
        (false, false) => writeln!(report.out, "{name}: ok, {use_of}")?,
    }
    Ok(if report.is_damaged {
        Outcome::Damaged
    } else {
        Outcome::Fine
    })
}
