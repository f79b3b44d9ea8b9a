//! Walks all records of a log segment, also those behind damage.

use storage_format::FormatError;
use storage_format::log::{LogRecord, Scanned, Scanner};

/// What a walk found besides the records.
#[derive(Debug)]
pub struct LogWalk {
    /// All damage, by ascending offset in the segment.
    pub damages: Vec<FormatError>,
    /// Where the records end.
    pub end_offset: u64,
    /// Whether the end is torn: the report of it, for people.
    pub torn: Option<String>,
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
    let mut damages = Vec::new();
    loop {
        match scanner.next_record() {
            Scanned::Record(record) => {
                let body_offset = record.offset + storage_format::log::FRAME_HEADER_LENGTH as u64;
                damages.extend(
                    each(&record)
                        .err()
                        .map(|error| error.shifted_by(body_offset)),
                );
            }
            Scanned::Damaged { offset, next_valid } => {
                let what = if offset == next_valid {
                    "log (records are missing)"
                } else {
                    "log record"
                };
                damages.push(FormatError::Damaged { what, offset });
                if !scanner.resume_at(next_valid) {
                    return Ok(LogWalk {
                        damages,
                        end_offset: offset,
                        torn: None,
                    });
                }
            }
            Scanned::End { offset } => {
                return Ok(LogWalk {
                    damages,
                    end_offset: offset,
                    torn: None,
                });
            }
            Scanned::Torn {
                offset,
                valid_behind,
            } => {
                let torn = Some(describe_torn(offset, valid_behind));
                return Ok(LogWalk {
                    damages,
                    end_offset: offset,
                    torn,
                });
            }
        }
    }
}

fn describe_torn(offset: u64, valid_behind: Option<u64>) -> String {
    let mut text = format!(
        "torn tail at offset {offset}: the last record was not completely written; a start cuts it off"
    );
    if let Some(behind) = valid_behind {
        text.push_str(&format!(
            ", with the records from offset {behind} on, which were never synced to the disk"
        ));
    }
    text
}
