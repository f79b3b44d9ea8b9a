//! Reading the log at start-up: every record behind the snapshot, in order, and where the log ends.
//!
//! What can be found behind the last good record, and what is done about it:
//!
//! | found | done |
//! |---|---|
//! | the end mark, or unused segments | nothing: that is the end |
//! | zeros or an incomplete record, nothing valid behind it | cut there, reported |
//! | valid records behind it, same boot of the machine | refused: a kill cannot do that, so the file was damaged |
//! | the same after a reboot, and no record says that the gap had been synced | cut there, reported: a power failure |
//! | the same after a reboot, but the gap had been synced | refused |
//!
//! Cost: one pass over the records behind the cut; the segments are mapped, never copied.

use super::inventory::{IdleFile, list};
use crate::error::InternalError;
use memmap2::Mmap;
use std::fs::File;
use std::path::{Path, PathBuf};
use storage_format::FormatError;
use storage_format::log::{LogRecord, SEGMENT_HEADER_LENGTH, Scanned, Scanner, SegmentHeader};

/// Where to begin, and how strict to be.
#[derive(Clone, Copy, Debug)]
pub struct ReplayStart {
    /// The first segment that counts; what is numbered below is left over.
    pub segment_number: u64,
    /// The first record that is wanted: the one behind the snapshot's cut.
    pub first_lsn: u64,
    /// Tells this data directory's segments from others'.
    pub hash_seed: u64,
    /// The machine was started again since the log was written, so pages that were not synced may be missing.
    pub after_reboot: bool,
    /// The run before kept no log, so LSNs may be missing in front of the first record.
    pub follows_unlogged: bool,
}

/// A torn end that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// In which segment.
    pub path: PathBuf,
    /// From which offset on.
    pub offset: u64,
}

/// The segment to write on in.
#[derive(Clone, Debug)]
pub struct LastSegment {
    /// Its number.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// What it says about itself.
    pub header: SegmentHeader,
    /// Where the next record goes.
    pub end: u64,
    /// What follows has to be zeroed first.
    pub clear: bool,
}

/// The end of a log: what [`super::Log::open`] goes on from.
#[derive(Clone, Debug, Default)]
pub struct LogEnd {
    /// The LSN of the next record.
    pub next_lsn: u64,
    /// The segment to write on in; `None` for a new log.
    pub last: Option<LastSegment>,
    /// Segments in front of it.
    pub closed: Vec<IdleFile>,
    /// Bytes of the records in those.
    pub closed_bytes: u64,
    /// Segments that hold nothing that counts.
    pub unused: Vec<IdleFile>,
    /// Files for reuse.
    pub pool: Vec<IdleFile>,
    /// The lowest segment number that was never used.
    pub next_number: u64,
    /// The end was not in order and was cut.
    pub torn: Option<TornTail>,
}

impl LogEnd {
    /// The next record gets at least this LSN. Numbers that are skipped cannot be in the middle of a segment, so a new one
    /// begins if need be.
    pub fn skip_to(&mut self, next_lsn: u64) {
        if next_lsn <= self.next_lsn {
            return;
        }
        self.next_lsn = next_lsn;
        if let Some(last) = self.last.take() {
            self.closed.push(IdleFile {
                number: last.number,
                path: last.path,
                bytes: 0,
            });
        }
    }
}

/// Hands every record from `start.first_lsn` on to `apply`, in order, and finds the end. All that is handed out is on the disk
/// by then. Nothing is changed; cutting is left to [`super::Log::open`].
///
/// # Errors
/// Damage, with file and offset; missing segments or records; I/O errors; what `apply` returns.
pub fn replay(
    directory: &Path,
    start: ReplayStart,
    apply: &mut dyn FnMut(&LogRecord<'_>) -> Result<(), InternalError>,
) -> Result<LogEnd, InternalError> {
    let listing = list(directory)?;
    let numbers = listing
        .segments
        .iter()
        .chain(&listing.pool)
        .map(|file| file.number);
    let next_number = numbers
        .max()
        .map_or(1, |highest| highest + 1)
        .max(start.segment_number);
    let (former, candidates) = listing
        .segments
        .into_iter()
        .partition(|file| file.number < start.segment_number);
    let candidates: Vec<IdleFile> = candidates;
    let mut segments = Vec::new();
    let mut end = LogEnd {
        next_lsn: start.first_lsn,
        unused: former,
        pool: listing.pool,
        next_number,
        ..LogEnd::default()
    };
    for file in candidates {
        match open_segment(&file, start.hash_seed)? {
            Some(segment) => segments.push(segment),
            None => end.unused.push(file),
        }
    }
    if let Some(first) = segments.first()
        && first.header.first_lsn > start.first_lsn
        && !start.follows_unlogged
    {
        return Err(missing_records(
            &first.file.path,
            start.first_lsn,
            first.header.first_lsn,
        ));
    }
    Reading {
        start,
        segments,
        end,
    }
    .run(apply)
}

struct OpenSegment {
    file: IdleFile,
    map: Mmap,
    header: SegmentHeader,
}

/// Maps a segment; `None` if it never became part of the log.
fn open_segment(file: &IdleFile, hash_seed: u64) -> Result<Option<OpenSegment>, InternalError> {
    let path = &file.path;
    let opened = File::open(path).map_err(InternalError::io("open", path))?;
    if file.bytes == 0 {
        return Ok(None);
    }
    // SAFETY: the data directory is locked by this process, and nothing is written to segments while they are replayed.
    let map = unsafe { Mmap::map(&opened) }.map_err(InternalError::io("map", path))?;
    if map
        .iter()
        .take(SEGMENT_HEADER_LENGTH)
        .all(|byte| *byte == 0)
    {
        return Ok(None);
    }
    // What was written before a kill is only in the page cache. It has to be on the disk before cold records build on it.
    opened
        .sync_data()
        .map_err(InternalError::io("sync", path))?;
    let header = SegmentHeader::decode(&map).map_err(|source| damage(path, source))?;
    if header.segment_number != file.number || header.hash_seed != hash_seed {
        return Err(InternalError::Other(format!(
            "{}: the header is that of another segment (number {}) or of another data directory",
            path.display(),
            header.segment_number
        )));
    }
    Ok(Some(OpenSegment {
        file: file.clone(),
        map,
        header,
    }))
}

/// What the end of one segment's records looks like.
enum SegmentEnd {
    InOrder,
    Torn { valid_behind: Option<u64> },
}

struct Reading {
    start: ReplayStart,
    segments: Vec<OpenSegment>,
    end: LogEnd,
}

impl Reading {
    fn run(
        mut self,
        apply: &mut dyn FnMut(&LogRecord<'_>) -> Result<(), InternalError>,
    ) -> Result<LogEnd, InternalError> {
        for index in 0..self.segments.len() {
            let segment = &self.segments[index];
            let (offset, next_lsn, ending) = read_segment(segment, self.start.first_lsn, apply)?;
            let follower = self.segments.get(index + 1);
            let may_skip = self.start.follows_unlogged;
            let is_continued = follower.is_some_and(|next| {
                next.header.first_lsn == next_lsn || may_skip && next.header.first_lsn > next_lsn
            });
            if is_continued
                && !matches!(
                    ending,
                    SegmentEnd::Torn {
                        valid_behind: Some(_)
                    }
                )
            {
                self.end.closed.push(segment.file.clone());
                self.end.closed_bytes += offset - SEGMENT_HEADER_LENGTH as u64;
                continue;
            }
            self.check_cut(index, offset, next_lsn, &ending)?;
            let torn = follower.is_some() || matches!(ending, SegmentEnd::Torn { .. });
            let path = segment.file.path.clone();
            self.end.torn = torn.then(|| TornTail {
                path: path.clone(),
                offset,
            });
            self.end.next_lsn = next_lsn.max(self.start.first_lsn);
            if next_lsn >= self.start.first_lsn {
                let (number, header) = (segment.file.number, segment.header);
                self.end.last = Some(LastSegment {
                    number,
                    path,
                    header,
                    end: offset,
                    clear: torn,
                });
            } else {
                // The log ends before the snapshot's cut: what is in it is in the snapshot, and a new segment begins.
                self.end.unused.push(segment.file.clone());
            }
            self.end
                .unused
                .extend(self.segments.drain(index + 1..).map(|segment| segment.file));
            return Ok(self.end);
        }
        Ok(self.end)
    }

    /// Whether the log may be cut at `offset` of a segment, as the module's table says.
    fn check_cut(
        &self,
        index: usize,
        offset: u64,
        next_lsn: u64,
        ending: &SegmentEnd,
    ) -> Result<(), InternalError> {
        let path = &self.segments[index].file.path;
        let behind = match (ending, self.segments.get(index + 1)) {
            (
                SegmentEnd::Torn {
                    valid_behind: Some(valid),
                },
                _,
            ) => format!("offset {valid}"),
            (_, Some(next)) => format!(
                "{} (it begins with record {})",
                next.file.path.display(),
                next.header.first_lsn
            ),
            _ => return Ok(()),
        };
        let was_synced = || self.segments[index + 1..].iter().any(says_synced);
        if self.start.after_reboot && !was_synced() {
            return Ok(());
        }
        Err(InternalError::Other(format!(
            "{}: the log is damaged at offset {offset}: record {next_lsn} is missing, but valid records follow at {behind}; \
             run `larderctl check` on the data directory",
            path.display()
        )))
    }
}

/// True if a record of this segment was written after everything in front of the segment had been synced.
fn says_synced(segment: &OpenSegment) -> bool {
    let Ok(mut scanner) = Scanner::new(&segment.map) else {
        return false;
    };
    while let Scanned::Record(record) = scanner.next_record() {
        if record.synced_before > 0 {
            return true;
        }
    }
    false
}

/// Reads one segment: where its records end, the LSN that would follow, and how it ends.
fn read_segment(
    segment: &OpenSegment,
    first_lsn: u64,
    apply: &mut dyn FnMut(&LogRecord<'_>) -> Result<(), InternalError>,
) -> Result<(u64, u64, SegmentEnd), InternalError> {
    let path = &segment.file.path;
    let mut scanner = Scanner::new(&segment.map).map_err(|source| damage(path, source))?;
    let mut next_lsn = segment.header.first_lsn;
    loop {
        match scanner.next_record() {
            Scanned::Record(record) => {
                next_lsn = record.lsn + 1;
                if record.lsn >= first_lsn {
                    apply(&record)?;
                }
            }
            Scanned::End { offset } => return Ok((offset, next_lsn, SegmentEnd::InOrder)),
            Scanned::Torn {
                offset,
                valid_behind,
            } => return Ok((offset, next_lsn, SegmentEnd::Torn { valid_behind })),
            Scanned::Damaged { offset, next_valid } => {
                return Err(InternalError::Other(format!(
                    "{}: the log is damaged at offset {offset}: valid records follow at offset {next_valid}; \
                     run `larderctl check` on the data directory",
                    path.display()
                )));
            }
        }
    }
}

fn damage(path: &Path, source: FormatError) -> InternalError {
    InternalError::Format {
        path: path.to_path_buf(),
        source,
    }
}

fn missing_records(path: &Path, wanted_lsn: u64, first_lsn: u64) -> InternalError {
    InternalError::Other(format!(
        "{}: the log begins with record {first_lsn}, but the snapshot needs it from record {wanted_lsn} on",
        path.display()
    ))
}
