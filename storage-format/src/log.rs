//! Log segments: a header, then records, each one atomic unit with an LSN (FORMAT.md section 4).
//!
//! A segment is a recycled file, written through a memory map. So what lies behind the last record is whatever the file held
//! before, and three things keep it from passing for new: a frame's CRC is seeded with the segment's number and the data directory's
//! hash seed, LSNs within a segment are consecutive, and writers put an end mark behind the last record.
//!
//! After a power failure, pages that were never synced may be missing in front of pages that reached the disk. To tell that apart from
//! damage, each record says how much in front of it was not yet synced when it was written: see [`Scanned`].
//!
//! A body's CRC is computed when the body is made, before the log's lock; framing under the lock costs one copy of the body and the
//! CRC of 20 bytes.

use crate::bytes::{u32_at, u64_at};
use crate::effect::EffectsIter;
use crate::error::FormatError;

/// The first bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"LARDRLOG";
/// The version of the segment format that this build writes, and the newest that it reads.
pub const SEGMENT_VERSION: u32 = 1;
/// Bytes of the segment header; the first record begins here (FORMAT.md section 4, as all constants of this module).
pub const SEGMENT_HEADER_LENGTH: usize = 64;
/// Bytes of a frame in front of a record's body.
pub const FRAME_HEADER_LENGTH: usize = 20;
/// Records begin at multiples of this.
pub const FRAME_ALIGNMENT: usize = 8;
/// The most bytes that a record's body may have.
pub const MAX_BODY_LENGTH: usize = u32::MAX as usize - 64;

/// The unit in which a frame states what was not yet synced in front of it.
const UNSYNCED_UNIT_BYTES: u64 = 4096;
/// The statement "nothing in front of this record is known to be synced".
const UNSYNCED_UNKNOWN: u16 = u16::MAX;

/// What the CRC of every frame in a segment starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSeed(u32);

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number: never given to two segments of one data directory.
    pub segment_number: u64,
    /// The LSN of the segment's first record.
    pub first_lsn: u64,
    /// The data directory's hash seed, which identifies it.
    pub hash_seed: u64,
}

impl SegmentHeader {
    /// The header's bytes: magic, version, number, first LSN, hash seed, reserved zeros, CRC.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_LENGTH] {
        let mut bytes = [0; SEGMENT_HEADER_LENGTH];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment_number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_lsn.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.hash_seed.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of a segment.
    ///
    /// # Errors
    /// [`FormatError::NotThisFormat`] without the magic number, [`FormatError::NewerVersion`], or [`FormatError::Damaged`].
    pub fn decode(segment: &[u8]) -> Result<Self, FormatError> {
        if !segment.starts_with(&SEGMENT_MAGIC) {
            return Err(FormatError::NotThisFormat {
                what: "log segment",
            });
        }
        let header = segment
            .first_chunk::<SEGMENT_HEADER_LENGTH>()
            .ok_or(FormatError::damaged("log segment header", segment.len()))?;
        if crc32fast::hash(&header[..60]) != u32_at(header, 60) {
            return Err(FormatError::damaged("log segment header", 0));
        }
        let found = u32_at(header, 8);
        if found > SEGMENT_VERSION {
            return Err(FormatError::NewerVersion {
                what: "log segment",
                found,
                supported: SEGMENT_VERSION,
            });
        }
        Ok(Self {
            segment_number: u64_at(header, 16),
            first_lsn: u64_at(header, 24),
            hash_seed: u64_at(header, 32),
        })
    }

    /// What the CRCs of this segment's frames start from. Distinct for any two of 2^32 successive segments of a data directory.
    #[must_use]
    pub fn frame_seed(&self) -> FrameSeed {
        let fold = |number: u64| (number ^ (number >> 32)) as u32;
        FrameSeed(fold(self.segment_number) ^ fold(self.hash_seed))
    }
}

/// A record's body with its CRC: made before the log's lock is taken.
#[derive(Debug, Clone, Copy)]
pub struct RecordBody<'a> {
    bytes: &'a [u8],
    crc: u32,
}

impl<'a> RecordBody<'a> {
    /// A body of encoded effects ([`crate::EffectRecord::encode`], one behind the other; at least one).
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] above [`MAX_BODY_LENGTH`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, FormatError> {
        debug_assert!(!bytes.is_empty(), "a record has at least one effect");
        if bytes.len() > MAX_BODY_LENGTH {
            let (size, limit) = (bytes.len() as u64, MAX_BODY_LENGTH as u64);
            return Err(FormatError::TooLarge {
                what: "log record",
                size,
                limit,
            });
        }
        Ok(Self {
            bytes,
            crc: crc32fast::hash(bytes),
        })
    }

    /// Bytes that the framed record takes in a segment, padding included: a multiple of [`FRAME_ALIGNMENT`].
    #[must_use]
    pub fn frame_length(&self) -> usize {
        frame_length(self.bytes.len())
    }
}

/// Bytes that a record with a body of `body_length` bytes takes in a segment: a multiple of [`FRAME_ALIGNMENT`].
#[must_use]
pub fn frame_length(body_length: usize) -> usize {
    (FRAME_HEADER_LENGTH + body_length).next_multiple_of(FRAME_ALIGNMENT)
}

/// Writes a framed record at the start of `target` and returns its length ([`RecordBody::frame_length`]).
///
/// `lsn` must be the previous record's plus one (the header's `first_lsn` for the first): readers take anything else for
/// damage. `unsynced_bytes` is how many bytes directly in front of this record have not been synced to the disk (0: all have;
/// `u64::MAX`: unknown). It may be too high, never too low: damage further up than that is then known to be damage and not the trace
/// of a power failure.
///
/// # Panics
/// If `target` is shorter than the frame: the caller reserves [`RecordBody::frame_length`] bytes first.
pub fn frame_record(
    target: &mut [u8],
    seed: FrameSeed,
    lsn: u64,
    unsynced_bytes: u64,
    body: &RecordBody<'_>,
) -> usize {
    debug_assert!(lsn < crate::LSN_LIMIT, "an LSN has 48 bits");
    let body_end = FRAME_HEADER_LENGTH + body.bytes.len();
    let length = body.frame_length();
    let unsynced_units =
        u16::try_from(unsynced_bytes.div_ceil(UNSYNCED_UNIT_BYTES)).unwrap_or(UNSYNCED_UNKNOWN);
    let mut header = [0; FRAME_HEADER_LENGTH];
    header[..4].copy_from_slice(&(body.bytes.len() as u32).to_le_bytes());
    header[8..16].copy_from_slice(&(lsn | u64::from(unsynced_units) << 48).to_le_bytes());
    header[16..].copy_from_slice(&body.crc.to_le_bytes());
    let crc = header_crc(seed, &header);
    header[4..8].copy_from_slice(&crc.to_le_bytes());

    let target = &mut target[..length];
    target[..FRAME_HEADER_LENGTH].copy_from_slice(&header);
    target[FRAME_HEADER_LENGTH..body_end].copy_from_slice(body.bytes);
    target[body_end..].fill(0);
    length
}

/// Writes the end mark at the start of `rest`, the part of the segment behind the last record: so that a reader need not take what
/// a recycled file held before for a torn record. The next record overwrites it.
pub fn write_end_mark(rest: &mut [u8]) {
    let length = rest.len().min(FRAME_HEADER_LENGTH);
    rest[..length].fill(0);
}

/// The CRC of a frame's header, its own place counting as zero.
fn header_crc(seed: FrameSeed, header: &[u8; FRAME_HEADER_LENGTH]) -> u32 {
    // In one piece: one step of 16 bytes instead of two that are shorter and slower.
    let mut covered = [0; FRAME_HEADER_LENGTH - 4];
    covered[..4].copy_from_slice(&header[..4]);
    covered[4..].copy_from_slice(&header[8..]);
    let mut hasher = crc32fast::Hasher::new_with_initial(seed.0);
    hasher.update(&covered);
    hasher.finalize()
}

/// A record as it stands in a segment, its CRCs verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// Its LSN.
    pub lsn: u64,
    /// Where its frame begins in the segment, in bytes.
    pub offset: u64,
    /// Where the next frame begins.
    pub next_offset: u64,
    /// The encoded effects.
    pub body: &'a [u8],
    /// Everything in front of this offset was on the disk when the record was written.
    pub synced_before: u64,
}

impl<'a> LogRecord<'a> {
    /// The record whose frame begins at `offset` of a segment: for whoever comes back to where a [`Scanner`] has found it. Its CRCs are
    /// not computed again. `None` where no frame can begin.
    #[must_use]
    pub fn found_at(segment: &'a [u8], offset: u64) -> Option<Self> {
        let start = usize::try_from(offset).ok()?;
        let rest = segment.get(start..)?;
        let header = rest.first_chunk::<FRAME_HEADER_LENGTH>()?;
        let body_length = u32_at(header, 0) as usize;
        let body = rest.get(FRAME_HEADER_LENGTH..FRAME_HEADER_LENGTH + body_length)?;
        let stamp = u64_at(header, 8);
        let synced_before = match (stamp >> 48) as u16 {
            UNSYNCED_UNKNOWN => 0,
            units => offset.saturating_sub(u64::from(units) * UNSYNCED_UNIT_BYTES),
        };
        (body_length > 0).then_some(Self {
            lsn: stamp & crate::LSN_LIMIT,
            offset,
            next_offset: offset + frame_length(body_length) as u64,
            body,
            synced_before,
        })
    }

    /// The record's effects. An error's offset counts from the start of the body.
    #[must_use]
    pub fn effects(&self) -> EffectsIter<'a> {
        EffectsIter::new(self.body)
    }
}

/// What stands next in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned<'a> {
    /// A valid record.
    Record(LogRecord<'a>),
    /// The end of the log: the end mark or the end of the segment. Nothing is missing.
    End {
        /// Where the next record would go.
        offset: u64,
    },
    /// The last record was not written completely, or, after a power failure, unsynced pages are missing. Cut here. Before the segment is
    /// written on, everything behind `offset` must be zeroed, or records behind it could pass for new.
    Torn {
        /// Where the incomplete record begins.
        offset: u64,
        /// The first valid record behind it, if any. It and all behind it were never known to be synced, and the cut drops them.
        valid_behind: Option<u64>,
    },
    /// Bytes that were once synced are wrong: valid records follow which say so.
    Damaged {
        /// Where the damaged record begins.
        offset: u64,
        /// Where the next valid record begins: `offset` itself if what stands there is valid but its LSN is not the next, so that
        /// records are missing.
        next_valid: u64,
    },
}

/// Reads a segment record by record. Costs one CRC pass over the records; memory-mapped segments are never copied.
#[derive(Debug, Clone)]
pub struct Scanner<'a> {
    segment: &'a [u8],
    header: SegmentHeader,
    seed: FrameSeed,
    position: usize,
    expected_lsn: u64,
}

impl<'a> Scanner<'a> {
    /// A scanner over a whole segment, its header included.
    ///
    /// # Errors
    /// As [`SegmentHeader::decode`].
    pub fn new(segment: &'a [u8]) -> Result<Self, FormatError> {
        let header = SegmentHeader::decode(segment)?;
        let seed = header.frame_seed();
        Ok(Self {
            segment,
            header,
            seed,
            position: SEGMENT_HEADER_LENGTH,
            expected_lsn: header.first_lsn,
        })
    }

    /// The segment's header.
    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The next record, or why there is none. After anything but a record, asking again gives the same answer.
    pub fn next_record(&mut self) -> Scanned<'a> {
        match self.record_at(self.position) {
            Some(record) if record.lsn == self.expected_lsn => {
                self.position = record.next_offset as usize;
                self.expected_lsn += 1;
                Scanned::Record(record)
            }
            Some(record) => Scanned::Damaged {
                offset: record.offset,
                next_valid: record.offset,
            },
            None => self.explain_end(),
        }
    }

    /// Goes on at a valid record behind damage (`next_valid` of [`Scanned::Damaged`]): for tools that report all there is to see. Returns
    /// whether there is a valid record.
    pub fn resume_at(&mut self, offset: u64) -> bool {
        let record = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.record_at(offset));
        if let Some(record) = record {
            self.position = record.offset as usize;
            self.expected_lsn = record.lsn;
        }
        record.is_some()
    }

    /// The record framed at `offset`, if its CRCs hold.
    fn record_at(&self, offset: usize) -> Option<LogRecord<'a>> {
        let rest = self.segment.get(offset..)?;
        let header = rest.first_chunk::<FRAME_HEADER_LENGTH>()?;
        let body_length = u32_at(header, 0) as usize;
        if body_length == 0 || header_crc(self.seed, header) != u32_at(header, 4) {
            return None;
        }
        let record = LogRecord::found_at(self.segment, offset as u64)?;
        let padding = rest.get(FRAME_HEADER_LENGTH + body_length..frame_length(body_length))?;
        let is_intact = padding.iter().all(|&byte| byte == 0)
            && crc32fast::hash(record.body) == u32_at(header, 16);
        is_intact.then_some(record)
    }

    /// What it means that there is no next record here: looks at all that follows.
    fn explain_end(&self) -> Scanned<'a> {
        let offset = self.position as u64;
        let mut first_valid = None;
        let mut from = self.position + FRAME_ALIGNMENT;
        while let Some(record) = self.find_record(from) {
            let next_valid = *first_valid.get_or_insert(record.offset);
            if record.synced_before > offset {
                return Scanned::Damaged { offset, next_valid };
            }
            from = record.next_offset as usize;
        }
        let rest = self.segment.get(self.position..).unwrap_or_default();
        let mark = &rest[..rest.len().min(FRAME_HEADER_LENGTH)];
        if first_valid.is_none() && mark.iter().all(|&byte| byte == 0) {
            Scanned::End { offset }
        } else {
            Scanned::Torn {
                offset,
                valid_behind: first_valid,
            }
        }
    }

    /// The first valid record at or behind `from` that can be one of this segment's next: LSNs are consecutive, so between here and there
    /// they cannot have grown by more than the records that fit. That test is cheap and refuses nearly everything else.
    fn find_record(&self, from: usize) -> Option<LogRecord<'a>> {
        let mut offset = from;
        while let Some(header) = self
            .segment
            .get(offset..)
            .and_then(|rest| rest.first_chunk::<FRAME_HEADER_LENGTH>())
        {
            let lsn = u64_at(header, 8) & crate::LSN_LIMIT;
            let records_between = ((offset - self.position) / frame_length(1)) as u64;
            if lsn >= self.expected_lsn
                && lsn - self.expected_lsn <= records_between
                && let Some(record) = self.record_at(offset)
            {
                return Some(record);
            }
            offset += FRAME_ALIGNMENT;
        }
        None
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
