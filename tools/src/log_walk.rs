//! Walks all records of a log segment, also those behind damage.

use storage_format::FormatError;
use storage_format::log::{FRAME_HEADER_LENGTH, LogRecord, Scanned, Scanner};

/// A place where a record should be and is not, with valid records behind it.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// Where the missing record should begin.
    pub offset: u64,
    /// Where the next valid record begins; `offset` itself if that one's LSN is too high.
    pub next_valid: u64,
    /// A record behind it says that the gap was on the disk once. If none does, a power failure can have made it; a killed process
    /// cannot.
    pub was_synced: bool,
}

impl Gap {
    fn damage(&self) -> FormatError {
        let what = if self.offset == self.next_valid {
            "log (records are missing)"
        } else if self.was_synced {
            "log record"
        } else {
            "log record (valid records follow)"
        };
        FormatError::Damaged {
            what,
            offset: self.offset,
        }
    }
}

/// What a walk found besides the records.
#[derive(Debug, Default)]
pub struct LogWalk {
    /// Places where records are missing, by ascending offset in the segment.
    pub gaps: Vec<Gap>,
    /// What `each` found in valid records, by ascending offset in the segment.
    pub record_damages: Vec<FormatError>,
    /// Where the records end.
    pub end_offset: u64,
    /// The last record was not completely written; it begins at `end_offset`.
    pub is_torn: bool,
    /// The LSN that the record at the first gap, or else at the end, would have.
    pub next_lsn: u64,
    /// A record in front of the first gap was written after all segments in front of this one had been synced.
    pub says_synced: bool,
}

impl LogWalk {
    /// All damage, taking every gap for one, by ascending offset in the segment.
    pub fn damages(&self) -> Vec<FormatError> {
        let gaps = self.gaps.iter().map(Gap::damage);
        let mut damages: Vec<_> = gaps.chain(self.record_damages.iter().cloned()).collect();
        damages.sort_by_key(|damage| match damage {
            FormatError::Damaged { offset, .. } => *offset,
            _ => 0,
        });
        damages
    }

    /// The report of a torn end, for people.
    pub fn torn(&self) -> Option<String> {
        self.is_torn.then(|| {
            format!(
                "torn tail at offset {}: the last record was not completely written; a start cuts it off",
                self.end_offset
            )
        })
    }
}

/// Calls `each` with every valid record in order; what it answers is more damage, its offset counted from the start of the record's body.
///
/// # Errors
/// If the segment's header cannot be read.
pub fn walk_log<'a>(
    segment: &'a [u8],
    mut each: impl FnMut(&LogRecord<'a>) -> Result<(), FormatError>,
) -> Result<LogWalk, FormatError> {
    let mut scanner = Scanner::new(segment)?;
    let mut walk = LogWalk {
        next_lsn: scanner.header().first_lsn,
        ..LogWalk::default()
    };
    loop {
        let gap = match scanner.next_record() {
            Scanned::Record(record) => {
                let body_offset = record.offset + FRAME_HEADER_LENGTH as u64;
                let damage = each(&record).err();
                walk.record_damages
                    .extend(damage.map(|error| error.shifted_by(body_offset)));
                if walk.gaps.is_empty() {
                    walk.next_lsn = record.lsn + 1;
                    walk.says_synced |= record.synced_before > 0;
                }
                continue;
            }
            Scanned::End { offset } => {
                walk.end_offset = offset;
                return Ok(walk);
            }
            Scanned::Torn {
                offset,
                valid_behind: None,
            } => {
                walk.end_offset = offset;
                walk.is_torn = true;
                return Ok(walk);
            }
            Scanned::Torn {
                offset,
                valid_behind: Some(next_valid),
            } => Gap {
                offset,
                next_valid,
                was_synced: false,
            },
            Scanned::Damaged { offset, next_valid } => Gap {
                offset,
                next_valid,
                was_synced: true,
            },
        };
        walk.gaps.push(gap);
        if !scanner.resume_at(gap.next_valid) {
            walk.end_offset = gap.offset;
            return Ok(walk);
        }
    }
}
