//! Where in the log the effects of each part of the keyspace are: what replay goes by instead of the log's own order.
//!
//! Effects on different keys do not depend on each other, so the log need not be replayed in its order, as long as each key's
//! effects are. The range of the placement hash is cut into [`PARTS`] parts of equal size, 16 for each shard. Reading a
//! segment notes for every record which parts its effects are in; after that each part can be replayed by itself: on any
//! thread, or when one of its keys is first touched.
//!
//! A record that concerns whole databases, or that cannot be read, is a *barrier*: all that is in front of it is replayed
//! before, all behind it after.
//!
//! Cost: 8 bytes for each record and part, and a binary search in every stretch for whoever replays a part.

use crate::keyspace::prefetch_line;
use memmap2::Mmap;
use std::sync::Arc;
use storage_format::log::LogRecord;
use storage_format::{Effect, EffectRecord, Placement};

/// Bits of the hash that choose the part.
const PART_BITS: u32 = 12;
/// Number of parts.
pub const PARTS: usize = 1 << PART_BITS;
/// Bits of a place that say where its record begins.
const OFFSET_BITS: u32 = 48;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const LINE_BYTES: usize = 64;

/// The part that a hash is in.
pub fn part_of(hash: u64) -> usize {
    (hash >> (64 - PART_BITS)) as usize
}

/// The first hash of a part.
pub fn first_hash_of(part: usize) -> u64 {
    (part as u64) << (64 - PART_BITS)
}

/// The last hash of a part.
pub fn last_hash_of(part: usize) -> u64 {
    first_hash_of(part) | u64::MAX >> PART_BITS
}

/// A run of records of one segment.
pub struct Stretch {
    segment: Arc<Mmap>,
    /// Part and offset of each record, sorted.
    places: Box<[u64]>,
    /// Number of records.
    pub records: u64,
    /// How the number of keys changes, for each generation that has effects.
    pub key_changes: Vec<(u32, i64)>,
}

impl Stretch {
    /// Where the records with effects in a part are.
    fn places_of(&self, part: usize) -> &[u64] {
        let first = (part as u64) << OFFSET_BITS;
        let from = self.places.partition_point(|place| *place < first);
        let rest = &self.places[from..];
        let of_part = |place: &&u64| **place >> OFFSET_BITS == part as u64;
        &rest[..rest.iter().take_while(of_part).count()]
    }

    /// The parts that there are effects in, in order.
    pub fn parts(&self) -> impl Iterator<Item = usize> {
        let runs = self
            .places
            .chunk_by(|one, other| one >> OFFSET_BITS == other >> OFFSET_BITS);
        runs.map(|run| (run[0] >> OFFSET_BITS) as usize)
    }

    fn record_at(&self, place: u64) -> Option<LogRecord<'_>> {
        LogRecord::found_at(&self.segment, place & OFFSET_MASK)
    }

    fn prefetch(&self, place: u64) {
        if let Some(frame) = self.segment.get((place & OFFSET_MASK) as usize..) {
            prefetch_line(frame.as_ptr());
            prefetch_line(frame.as_ptr().wrapping_add(LINE_BYTES));
        }
    }
}

/// The records of several stretches that have effects in a part, in order. Those of several effects may have some in other
/// parts, too. They lie far apart, so each is asked for some records ahead: else replay would mostly wait for memory.
pub fn records_of(stretches: &[Stretch], part: usize) -> impl Iterator<Item = LogRecord<'_>> {
    const RECORDS_AHEAD: usize = 16;
    let places_of = |stretch| {
        Stretch::places_of(stretch, part)
            .iter()
            .map(move |place| (stretch, *place))
    };
    let places: Vec<(&Stretch, u64)> = stretches.iter().flat_map(places_of).collect();
    let prefetch = |(stretch, place): &(&Stretch, u64)| stretch.prefetch(*place);
    places.iter().take(RECORDS_AHEAD).for_each(prefetch);
    (0..places.len()).filter_map(move |number| {
        places
            .get(number + RECORDS_AHEAD)
            .into_iter()
            .for_each(prefetch);
        let (stretch, place) = places[number];
        stretch.record_at(place)
    })
}

/// A record that is replayed by itself.
pub struct Barrier {
    segment: Arc<Mmap>,
    offset: u64,
}

impl Barrier {
    /// The record.
    pub fn record(&self) -> Option<LogRecord<'_>> {
        LogRecord::found_at(&self.segment, self.offset)
    }
}

/// What the log consists of, in order.
pub enum Piece {
    /// Records whose parts do not depend on each other.
    Stretch(Stretch),
    /// A record that depends on all before it.
    Barrier(Barrier),
}

/// Makes the pieces of one segment.
pub struct Indexer<'a> {
    segment: &'a Arc<Mmap>,
    placement: &'a Placement,
    stretch_records_max: u64,
    pieces: Vec<Piece>,
    places: Vec<u64>,
    records: u64,
    key_changes: Vec<(u32, i64)>,
}

impl<'a> Indexer<'a> {
    /// Begins; a stretch has no more than `stretch_records_max` records.
    pub fn new(
        segment: &'a Arc<Mmap>,
        placement: &'a Placement,
        stretch_records_max: u64,
    ) -> Indexer<'a> {
        Indexer {
            segment,
            placement,
            stretch_records_max,
            pieces: Vec::new(),
            places: Vec::new(),
            records: 0,
            key_changes: Vec::new(),
        }
    }

    /// The next record.
    pub fn note(&mut self, record: &LogRecord<'_>) {
        let first = self.places.len();
        for effect in record.effects() {
            match effect {
                Ok(effect) if !effect.effect.is_keyless() => {
                    self.count(&effect, 1);
                    let part = part_of(self.placement.hash(effect.key)) as u64;
                    let place = part << OFFSET_BITS | record.offset;
                    self.places.push(place);
                }
                _ => return self.note_barrier(record, first),
            }
        }
        self.records += 1;
        if self.records >= self.stretch_records_max {
            self.end_stretch();
        }
    }

    /// The record of which `places` from `first` on are turns out to be a barrier.
    fn note_barrier(&mut self, record: &LogRecord<'_>, first: usize) {
        self.places.truncate(first);
        let counted = record
            .effects()
            .map_while(|effect| effect.ok().filter(|effect| !effect.effect.is_keyless()));
        counted.for_each(|effect| self.count(&effect, -1));
        self.end_stretch();
        self.pieces.push(Piece::Barrier(Barrier {
            segment: Arc::clone(self.segment),
            offset: record.offset,
        }));
    }

    fn count(&mut self, effect: &EffectRecord<'_>, factor: i64) {
        let change = factor * key_change(effect);
        let generation = effect.generation;
        match self
            .key_changes
            .iter_mut()
            .find(|(of, _)| *of == generation)
        {
            Some((_, changes)) => *changes += change,
            None => self.key_changes.push((generation, change)),
        }
    }

    fn end_stretch(&mut self) {
        if self.records == 0 {
            return;
        }
        let mut places = std::mem::take(&mut self.places);
        // Offsets grow, so within a part this keeps the order of the log.
        places.sort_unstable();
        // A record may have several effects in a part.
        places.dedup();
        self.pieces.push(Piece::Stretch(Stretch {
            segment: Arc::clone(self.segment),
            places: places.into_boxed_slice(),
            records: std::mem::take(&mut self.records),
            key_changes: std::mem::take(&mut self.key_changes),
        }));
    }

    /// All pieces.
    pub fn finish(mut self) -> Vec<Piece> {
        self.end_stretch();
        self.pieces
    }
}

/// How the number of its database's keys changes with an effect: whether it can be applied or a cold record has it already, what names
/// no previous version creates the key, and a deletion removes it.
pub fn key_change(effect: &EffectRecord<'_>) -> i64 {
    match effect.effect {
        Effect::Delete => -1,
        _ => i64::from(effect.previous_lsn == 0),
    }
}
