//! Reading segments: their records checked and indexed, several segments at a time.
//!
//! A segment says itself which LSN it begins with, so segments can be read in any order and joined afterwards. Reading costs
//! one pass of CRC over the records, at about the speed of memory.

use super::index::{Indexer, Piece};
use super::inventory::IdleFile;
use crate::error::InternalError;
use crate::persist::parallel;
use memmap2::{Advice, Mmap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use storage_format::log::{SEGMENT_HEADER_LENGTH, Scanned, Scanner, SegmentHeader};
use storage_format::{FormatError, Placement};

/// A segment that is part of the log.
pub(super) struct OpenSegment {
    pub(super) file: IdleFile,
    pub(super) map: Arc<Mmap>,
    pub(super) header: SegmentHeader,
    opened: File,
}

impl OpenSegment {
    fn sync(&self) -> Result<(), InternalError> {
        let synced = self.opened.sync_data();
        synced.map_err(InternalError::io("sync", &self.file.path))
    }
}

/// Maps a segment; `None` if it never became part of the log.
pub(super) fn open_segment(
    file: &IdleFile,
    hash_seed: u64,
) -> Result<Option<OpenSegment>, InternalError> {
    let path = &file.path;
    let opened = File::open(path).map_err(InternalError::io("open", path))?;
    if file.bytes == 0 {
        return Ok(None);
    }
    // SAFETY: the data directory is locked by this process. Of a mapped segment nothing is written in front of the log's end, which is
    // all that is read after recovery, and no file is shortened or used again while it is mapped.
    let map = unsafe { Mmap::map(&opened) }.map_err(InternalError::io("map", path))?;
    if map
        .iter()
        .take(SEGMENT_HEADER_LENGTH)
        .all(|byte| *byte == 0)
    {
        return Ok(None);
    }
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
        map: Arc::new(map),
        header,
        opened,
    }))
}

/// What the end of one segment's records looks like.
pub(super) enum SegmentEnd {
    InOrder,
    Torn { valid_behind: Option<u64> },
}

/// What was read of one segment.
pub(super) struct Read {
    /// The records that are wanted.
    pub(super) pieces: Vec<Piece>,
    /// Where the records end.
    pub(super) offset: u64,
    /// The LSN that would follow.
    pub(super) next_lsn: u64,
    /// How it ends, or the damage behind `pieces`.
    pub(super) ending: Result<SegmentEnd, InternalError>,
}

/// How segments are read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions<'a> {
    /// The hash by which effects belong to parts.
    pub placement: &'a Placement,
    /// How many threads read; at least 1.
    pub workers: usize,
    /// The most records of a [`super::index::Stretch`].
    pub stretch_records_max: u64,
}

/// Reads segments on `options.workers` threads; the results are in their order. What was written before a kill is only in the page
/// cache, and has to be on the disk before cold records build on it: another thread waits for that meanwhile.
///
/// # Errors
/// A segment cannot be synced.
pub(super) fn read_segments(
    segments: &[OpenSegment],
    first_lsn: u64,
    options: &ReadOptions<'_>,
) -> Result<Vec<Read>, InternalError> {
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| segments.iter().try_for_each(OpenSegment::sync));
        let read = parallel::map(segments.len(), options.workers, |index| {
            read_segment(&segments[index], first_lsn, options)
        });
        match syncing.join() {
            Ok(synced) => synced.map(|()| read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn read_segment(segment: &OpenSegment, first_lsn: u64, options: &ReadOptions<'_>) -> Read {
    // One system call instead of a page fault for every few pages. Where it cannot be done, the faults come.
    drop(segment.map.advise(Advice::PopulateRead));
    let path = &segment.file.path;
    let mut read = Read {
        pieces: Vec::new(),
        offset: 0,
        next_lsn: segment.header.first_lsn,
        ending: Ok(SegmentEnd::InOrder),
    };
    let mut scanner = match Scanner::new(&segment.map) {
        Ok(scanner) => scanner,
        Err(source) => {
            read.ending = Err(damage(path, source));
            return read;
        }
    };
    let mut indexer = Indexer::new(&segment.map, options.placement, options.stretch_records_max);
    (read.offset, read.ending) = loop {
        match scanner.next_record() {
            Scanned::Record(record) => {
                read.next_lsn = record.lsn + 1;
                if record.lsn >= first_lsn {
                    indexer.note(&record);
                }
            }
            Scanned::End { offset } => break (offset, Ok(SegmentEnd::InOrder)),
            Scanned::Torn {
                offset,
                valid_behind,
            } => break (offset, Ok(SegmentEnd::Torn { valid_behind })),
            Scanned::Damaged { offset, next_valid } => {
                let error = InternalError::Other(format!(
                    "{}: the log is damaged at offset {offset}: valid records follow at offset {next_valid}; \
                     run `larderctl check` on the data directory",
                    path.display()
                ));
                break (offset, Err(error));
            }
        }
    };
    read.pieces = indexer.finish();
    read
}

/// True if a record of this segment was written after everything in front of the segment had been synced.
pub(super) fn says_synced(segment: &OpenSegment) -> bool {
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

fn damage(path: &Path, source: FormatError) -> InternalError {
    InternalError::Format {
        path: path.to_path_buf(),
        source,
    }
}
