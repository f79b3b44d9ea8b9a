//! Reading the log at start-up: every record behind the snapshot, and where the log ends.
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
//! Segments are read ([`super::scan`]) on several threads and joined here, in order. Cost: one pass over the records behind the
//! cut; the segments are mapped, never copied.

use super::index::Piece;
use super::inventory::{IdleFile, list};
use super::scan::{
    OpenSegment, Read, ReadOptions, SegmentEnd, open_segment, read_segments, says_synced,
};
use crate::error::InternalError;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use storage_format::log::{SEGMENT_HEADER_LENGTH, SegmentHeader};

/// So many segments are read before what they hold is handed on: 1 GiB of the usual ones.
const SEGMENTS_AT_ONCE: usize = 16;

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

/// Hands what the log holds from `start.first_lsn` on to `take`, segment by segment, in order, each with the bytes of the
/// segments that are still to come; and finds the end. All that is handed out is on the disk by then. Nothing is changed; cutting is
/// left to [`super::Log::open`].
///
/// # Errors
/// Damage, with file and offset, after all in front of it was handed out; missing segments or records; I/O errors; what `take`
/// returns.
pub fn replay(
    directory: &Path,
    start: ReplayStart,
    options: &ReadOptions<'_>,
    take: &mut dyn FnMut(Vec<Piece>, u64) -> Result<(), InternalError>,
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
    .run(options, take)
}

struct Reading {
    start: ReplayStart,
    segments: Vec<OpenSegment>,
    end: LogEnd,
}

impl Reading {
    fn run(
        mut self,
        options: &ReadOptions<'_>,
        take: &mut dyn FnMut(Vec<Piece>, u64) -> Result<(), InternalError>,
    ) -> Result<LogEnd, InternalError> {
        let mut ahead = VecDeque::new();
        for index in 0..self.segments.len() {
            if ahead.is_empty() {
                ahead = self.read_some(index, options)?;
            }
            let Some(read) = ahead.pop_front() else {
                break;
            };
            let bytes_to_come = self.segments[index + 1..]
                .iter()
                .map(|segment| segment.file.bytes as u64);
            take(read.pieces, bytes_to_come.sum())?;
            let (offset, next_lsn, ending) = (read.offset, read.next_lsn, read.ending?);
            let segment = &self.segments[index];
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
            return self.end_at(index, offset, next_lsn, &ending);
        }
        Ok(self.end)
    }

    /// The log ends in a segment.
    fn end_at(
        mut self,
        index: usize,
        offset: u64,
        next_lsn: u64,
        ending: &SegmentEnd,
    ) -> Result<LogEnd, InternalError> {
        self.check_cut(index, offset, next_lsn, ending)?;
        let segment = &self.segments[index];
        let is_last = index + 1 == self.segments.len();
        let torn = !is_last || matches!(ending, SegmentEnd::Torn { .. });
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
        let behind = self.segments.drain(index + 1..);
        self.end.unused.extend(behind.map(|segment| segment.file));
        Ok(self.end)
    }

    fn read_some(
        &self,
        from: usize,
        options: &ReadOptions<'_>,
    ) -> Result<VecDeque<Read>, InternalError> {
        let until = self.segments.len().min(from + SEGMENTS_AT_ONCE);
        let segments = &self.segments[from..until];
        read_segments(segments, self.start.first_lsn, options).map(Into::into)
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

fn missing_records(path: &Path, wanted_lsn: u64, first_lsn: u64) -> InternalError {
    InternalError::Other(format!(
        "{}: the log begins with record {first_lsn}, but the snapshot needs it from record {wanted_lsn} on",
        path.display()
    ))
}
