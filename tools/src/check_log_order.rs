//! Whether the segments of a log, taken together, are what the server demands: every record from the snapshot's cut on, without a gap.
//!
//! The rules are those of `src/persist/log/replay.rs` (decision 0011): only the very end may be torn. A gap with valid records behind it
//! is damage, except after a restart of the machine, and then only if no later record says that the gap had been synced.

use std::path::{Path, PathBuf};

use storage_format::log::{LogRecord, SegmentHeader};
use storage_format::manifest::SnapshotManifest;
use storage_format::mapped::map_file;
use storage_format::{FileError, Manifest};

use crate::check;
use crate::check_directory::{Report, is_unusable};
use crate::data_directory::{self, FormerRun, files_in, segment_number, segment_path};
use crate::error::ToolError;
use crate::log_walk::{LogWalk, walk_log};
use crate::render;

/// From where on the log is needed, and what is known about its end.
pub struct LogStart {
    hash_seed: u64,
    /// The first segment that counts.
    segment_number: u64,
    /// The snapshot's cut.
    cut_lsn: u64,
    /// There is a snapshot, so its first segment has to be there.
    has_base: bool,
    /// No snapshot can be used although there should be one: nobody knows where the log has to begin.
    is_unknown: bool,
    /// The last record that is known to have been durable.
    durable_lsn: u64,
    former_run: FormerRun,
}

impl LogStart {
    /// The log behind `base`.
    pub fn new(
        manifest: &Manifest,
        base: Option<&SnapshotManifest>,
        former_run: FormerRun,
    ) -> LogStart {
        LogStart {
            hash_seed: manifest.hash_seed,
            segment_number: base.map_or(0, |base| base.log_segment_number),
            cut_lsn: base.map_or(0, |base| base.cut_lsn),
            has_base: base.is_some(),
            is_unknown: base.is_none() && !manifest.snapshots.is_empty(),
            durable_lsn: manifest.next_lsn.saturating_sub(1),
            former_run,
        }
    }
}

/// A segment that became part of the log.
struct Segment {
    path: PathBuf,
    number: u64,
    header: SegmentHeader,
    walk: LogWalk,
    records: u64,
}

impl Segment {
    fn summary(&self) -> String {
        format!("{} records", render::count(self.records))
    }
}

/// Checks the whole log and returns the LSN of its last record.
///
/// # Errors
/// As [`crate::check_directory::check_directory`].
pub fn check_log(log: &Path, start: &LogStart, report: &mut Report<'_>) -> Result<u64, ToolError> {
    let mut segments = Vec::new();
    for path in files_in(log)? {
        segments.extend(open_segment(&path, start, report)?);
    }
    segments.sort_by_key(|segment| segment.number);
    let needed = segments.partition_point(|segment| segment.number < start.segment_number);
    for segment in &segments[..needed] {
        check_former(segment, report)?;
    }
    let segments = &segments[needed..];
    check_beginning(log, start, segments, report)?;
    check_rest(log, start, segments, report)
}

/// Opens and walks a segment; `None` if the file is none, or damaged so that nothing of it can be read.
fn open_segment(
    path: &Path,
    start: &LogStart,
    report: &mut Report<'_>,
) -> Result<Option<Segment>, ToolError> {
    let Some(number) = segment_number(path) else {
        let why = data_directory::reserve_by_name(path).unwrap_or("this is no file of the log");
        report.skipped(path, why)?;
        return Ok(None);
    };
    let map = map_file(path)?;
    if data_directory::is_spare(path, &map) {
        report.skipped(path, check::SPARE)?;
        return Ok(None);
    }
    let is_needed = number >= start.segment_number;
    let mut records = 0;
    let progress = check::progress_bar(path, map.len() as u64);
    let walk = walk_log(&map, |record: &LogRecord<'_>| {
        records += 1;
        progress.set_position(record.next_offset);
        check::check_record(record)
    });
    progress.finish_and_clear();
    let opened = walk.and_then(|walk| Ok((walk, SegmentHeader::decode(&map)?)));
    let (walk, header) = match opened.map_err(FileError::format(path)) {
        Ok(opened) => opened,
        Err(FileError::Format { path, source })
            if is_unusable(&FileError::format(&path)(source.clone())) =>
        {
            report.damage(&path, &source.to_string(), is_needed)?;
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    if header.segment_number != number || header.hash_seed != start.hash_seed {
        let what = format!(
            "the header is that of another segment (number {}) or of another data directory",
            header.segment_number
        );
        report.damage(path, &what, is_needed)?;
        return Ok(None);
    }
    Ok(Some(Segment {
        path: path.to_path_buf(),
        number,
        header,
        walk,
        records,
    }))
}

/// A segment in front of the snapshot: needed only if a later start has to fall back on an older one.
fn check_former(segment: &Segment, report: &mut Report<'_>) -> Result<(), ToolError> {
    if segment.walk.gaps.is_empty() && segment.walk.record_damages.is_empty() {
        let summary = format!("{}, all in the snapshot", segment.summary());
        return report.fine(&segment.path, &summary);
    }
    report_walk(segment, false, report)
}

fn report_walk(
    segment: &Segment,
    is_needed: bool,
    report: &mut Report<'_>,
) -> Result<(), ToolError> {
    for damage in segment.walk.damages() {
        report.damage(&segment.path, &damage.to_string(), is_needed)?;
    }
    Ok(())
}

/// Whether the log begins where the snapshot ends.
fn check_beginning(
    log: &Path,
    start: &LogStart,
    segments: &[Segment],
    report: &mut Report<'_>,
) -> Result<(), ToolError> {
    if start.former_run.without_log || start.is_unknown {
        return Ok(());
    }
    if start.has_base && !segment_path(log, start.segment_number).exists() {
        let what = format!(
            "segment {}, with which the log behind the snapshot begins, is missing",
            start.segment_number
        );
        return report.damage(log, &what, true);
    }
    match segments.first() {
        Some(first) if first.header.first_lsn > start.cut_lsn + 1 => {
            let what = format!(
                "the log begins with record {}, but is needed from record {} on",
                first.header.first_lsn,
                start.cut_lsn + 1
            );
            report.damage(&first.path, &what, true)
        }
        _ => Ok(()),
    }
}

/// What follows the records of a segment.
enum Ending {
    /// The next segment goes on with the next record.
    Continued,
    /// The log ends here.
    Last,
    /// A start cuts the log here and drops what follows.
    Cut,
    /// Records are missing that must not be.
    Gap(String),
    /// The segment itself is damaged.
    Damaged,
}

/// Goes through the segments behind the cut; returns the LSN of the last record.
fn check_rest(
    log: &Path,
    start: &LogStart,
    segments: &[Segment],
    report: &mut Report<'_>,
) -> Result<u64, ToolError> {
    let mut last_lsn = start.cut_lsn;
    let mut was_refused = report.is_refused;
    for (index, segment) in segments.iter().enumerate() {
        let followers = &segments[index + 1..];
        match ending(segment, followers, start.former_run) {
            Ending::Continued => report.fine(&segment.path, &segment.summary())?,
            Ending::Last => {
                let torn = segment.walk.torn().map(|torn| format!(", {torn}"));
                let summary = segment.summary() + &torn.unwrap_or_default();
                report.fine(&segment.path, &summary)?;
            }
            Ending::Cut => {
                last_lsn = last_lsn.max(segment.walk.next_lsn.saturating_sub(1));
                report_cut(segment, followers, report)?;
                break;
            }
            Ending::Gap(what) => {
                was_refused = true;
                report.damage(&segment.path, &what, true)?;
            }
            Ending::Damaged => {
                was_refused = true;
                report_walk(segment, true, report)?;
            }
        }
        last_lsn = last_lsn.max(segment.walk.next_lsn.saturating_sub(1));
    }
    if !was_refused && !start.former_run.without_log && last_lsn < start.durable_lsn {
        let what = format!(
            "the log ends at record {last_lsn}, but records up to {} were durable",
            start.durable_lsn
        );
        report.damage(log, &what, true)?;
    }
    Ok(last_lsn)
}

fn ending(segment: &Segment, followers: &[Segment], former_run: FormerRun) -> Ending {
    let walk = &segment.walk;
    let gap = walk.gaps.first();
    if !walk.record_damages.is_empty() || gap.is_some_and(|gap| gap.was_synced) {
        return Ending::Damaged;
    }
    let next = followers.first();
    let is_continued = next.is_some_and(|next| {
        let first_lsn = next.header.first_lsn;
        first_lsn == walk.next_lsn || former_run.without_log && first_lsn > walk.next_lsn
    });
    let (offset, behind) = match (gap, next) {
        (None, None) => return Ending::Last,
        (None, Some(_)) if is_continued => return Ending::Continued,
        (Some(gap), _) => (gap.offset, format!("offset {}", gap.next_valid)),
        (None, Some(next)) => {
            let (name, first_lsn) = (next.path.display(), next.header.first_lsn);
            let behind = format!("{name} (it begins with record {first_lsn})");
            (walk.end_offset, behind)
        }
    };
    if former_run.before_reboot && !followers.iter().any(|later| later.walk.says_synced) {
        return Ending::Cut;
    }
    Ending::Gap(format!(
        "at offset {offset} record {} is missing, but valid records follow at {behind}",
        walk.next_lsn
    ))
}

fn report_cut(
    segment: &Segment,
    followers: &[Segment],
    report: &mut Report<'_>,
) -> Result<(), ToolError> {
    let gap = segment.walk.gaps.first();
    let offset = gap.map_or(segment.walk.end_offset, |gap| gap.offset);
    let summary = format!(
        "torn tail at offset {offset}: the machine was restarted, and record {} never reached the disk; a start cuts the log there",
        segment.walk.next_lsn
    );
    report.fine(&segment.path, &summary)?;
    for dropped in followers {
        report.skipped(
            &dropped.path,
            "it is behind the torn tail and was never synced",
        )?;
    }
    Ok(())
}
