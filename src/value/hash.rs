//! Hashes: one packed allocation while small, then runs in hash order (see `hash_table`).
//!
//! Bytes for a pair beside its own: 4 while packed, about 15 when large (measured with a million of 16 + 10: 41 in all). Fields and values above 512 bytes are kept apart,
//! so that changing a shared hash does not copy them. A hash whose fields have deadlines is large, whatever its size (see
//! `field_deadlines`): one without pays nothing for them.

use super::compact::{Compact, Form, FormMut};
use super::field_deadlines::FieldDeadlines;
use super::hash_table::{
    Cursor, Duplicate, HashLayout, HashSlot, HashTable, NewElement, Place, RunElements, position,
};
use super::packed::{Entries, Packed, entry_at};
use super::peaks::{Peaks, random_rank};
use super::run::{Layout, Piece, memory_estimate_bytes};

/// Fields with values, with O(1) clone.
#[derive(Clone)]
pub struct Hash {
    pub(super) body: Compact<LargeHash>,
}

/// Two pieces: field and value.
#[derive(Clone)]
struct PairLayout;

impl Layout for PairLayout {
    type Slot = HashSlot;
    const PREFIX_BYTES: usize = 0;
    const PIECES: usize = 2;
    const INLINE_LIMIT: usize = 512;
}

impl HashLayout for PairLayout {}

#[derive(Clone)]
pub(super) struct LargeHash {
    table: HashTable<PairLayout>,
    payload_bytes: usize,
    peaks: Peaks,
    /// The fields that have a deadline; see `field_deadlines`.
    pub(super) deadlines: Option<FieldDeadlines>,
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

impl Hash {
    /// A hash without fields.
    pub fn new() -> Self {
        Self {
            body: Compact::packed(Packed::new()),
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.count(),
            Form::Large(large) => large.table.len(),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self.body.form() {
            Form::Packed(packed) => Pairs::of(packed)
                .find(|(candidate, _)| *candidate == field)
                .map(|(_, value)| value),
            Form::Large(large) => match large.table.find(position(field), field) {
                Place::Found { run, index, .. } => Some(run.second(index)),
                Place::Vacant { .. } => None,
            },
        }
    }

    /// Whether there is such a field.
    pub fn contains(&self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Gives a field its value and takes its deadline away; `true` if the field is new.
    pub fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        if let FormMut::Packed(packed) = self.body.form_mut() {
            if let Some(added) = insert_packed(packed, field, value) {
                return added;
            }
            self.body = Compact::large(LargeHash::from_packed(packed));
        }
        match self.body.form_mut() {
            FormMut::Large(large) => large.insert(field, value),
            FormMut::Packed(_) => unreachable!("just made large"),
        }
    }

    /// Takes a field out; `true` if it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self.body.form_mut() {
            FormMut::Packed(packed) => {
                let range = packed.find_range(2, field);
                if let Some((start, end)) = range {
                    packed.remove(start, end, 1);
                }
                range.is_some()
            }
            FormMut::Large(large) => large.remove(field),
        }
    }

    /// All fields with their values, in the order of [`Hash::nth`].
    pub fn iter(&self) -> HashIter<'_> {
        HashIter(match self.body.form() {
            Form::Packed(packed) => HashElements::Packed(Pairs::of(packed), packed.count()),
            Form::Large(large) => HashElements::Large(large.table.elements()),
        })
    }

    /// The pair of this rank in an order that stays the same while the set of fields does. O(log n).
    pub fn nth(&self, rank: usize) -> Option<(&[u8], &[u8])> {
        match self.body.form() {
            Form::Packed(packed) => Pairs::of(packed).nth(rank),
            Form::Large(large) => {
                let (run, index) = large.table.at_rank(rank)?;
                Some((run.first(index), run.second(index)))
            }
        }
    }

    /// A pair chosen by 64 uniformly random bits, each with the same chance.
    pub fn random(&self, random: u64) -> Option<(&[u8], &[u8])> {
        self.nth(random_rank(random, self.len())?)
    }

    /// Visits about `count` pairs from `cursor` (0 to begin) on and returns the next cursor (0 when done). A field that
    /// is there from the first call to the last is visited at least once.
    pub fn scan(
        &self,
        cursor: Cursor,
        count: usize,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Cursor {
        match self.body.form() {
            Form::Packed(packed) => {
                Pairs::of(packed).for_each(|(field, value)| visit(field, value));
                0
            }
            Form::Large(large) => large.table.scan(cursor, count, |run, index| {
                visit(run.first(index), run.second(index))
            }),
        }
    }

    /// Whether the hash never had more fields than `max_entries` nor a longer field or value than `max_element_bytes`.
    pub fn is_packed_like(&self, max_entries: usize, max_element_bytes: usize) -> bool {
        let peaks = match self.body.form() {
            Form::Packed(packed) => packed.peaks(),
            Form::Large(large) => large.peaks,
        };
        peaks.are_within(max_entries, max_element_bytes)
    }

    /// Estimate of the heap bytes, O(1).
    pub fn memory_bytes(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.memory_bytes(),
            Form::Large(large) => {
                size_of::<LargeHash>()
                    + large
                        .deadlines
                        .as_ref()
                        .map_or(0, FieldDeadlines::memory_bytes)
                    + memory_estimate_bytes::<PairLayout>(large.table.len(), large.payload_bytes)
            }
        }
    }

    /// Builds a hash of `count` pairs at once; `pairs` gives them as often as it is asked.
    pub(super) fn from_pairs<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
        count: usize,
        pairs: impl Fn() -> I,
    ) -> Result<Self, Duplicate> {
        let lengths = pairs().flat_map(|(field, value)| [field.len(), value.len()]);
        let Some(bytes) = Packed::bytes_for(count, lengths) else {
            return Ok(Self {
                body: Compact::large(LargeHash::from_pairs(pairs())?),
            });
        };
        let mut hash = Self {
            body: Compact::packed(Packed::with_capacity(bytes)),
        };
        for (field, value) in pairs() {
            if !hash.insert(field, value) {
                return Err(Duplicate);
            }
        }
        Ok(hash)
    }

    #[cfg(test)]
    pub(super) fn chunk_addresses(&self) -> Vec<*const ()> {
        match self.body.form() {
            Form::Packed(packed) => vec![packed.bytes().as_ptr().cast()],
            Form::Large(large) => large
                .table
                .tree()
                .chunk_addresses()
                .into_iter()
                .map(<*const _>::cast)
                .collect(),
        }
    }
}

/// `None`, and no change, if the result would be too large for the packed form; else whether the field is new.
fn insert_packed(packed: &mut Packed, field: &[u8], value: &[u8]) -> Option<bool> {
    let element_bytes = field.len().max(value.len());
    let Some((start, end)) = packed.find_range(2, field) else {
        if !packed.has_room(&[field.len(), value.len()]) {
            return None;
        }
        packed.replace_entries(packed.bytes().len(), packed.bytes().len(), &[field]);
        packed.insert(packed.bytes().len(), &[value], element_bytes);
        return Some(true);
    };
    if !packed.has_room_for_replacement(value.len()) {
        return None;
    }
    let (_, value_start) = entry_at(packed.bytes(), start);
    packed.replace_entries(value_start, end, &[value]);
    packed.note(0, element_bytes);
    Some(false)
}

impl LargeHash {
    fn from_pairs<'a>(
        pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, Duplicate> {
        let mut large = Self {
            table: HashTable::new(),
            payload_bytes: 0,
            peaks: Peaks::default(),
            deadlines: None,
        };
        let mut elements = Vec::new();
        for (field, value) in pairs {
            large.payload_bytes += field.len() + value.len();
            large
                .peaks
                .note(elements.len() + 1, field.len().max(value.len()));
            let member = Piece::new::<PairLayout>(field);
            elements.push(NewElement {
                position: position(field),
                prefix: [0; 8],
                member,
                value,
            });
        }
        large.table = HashTable::from_elements(elements)?;
        Ok(large)
    }

    pub(super) fn from_packed(packed: &Packed) -> Self {
        let pairs = Pairs::of(packed);
        let mut large =
            Self::from_pairs(pairs).unwrap_or_else(|Duplicate| unreachable!("fields differ"));
        large
            .peaks
            .note(packed.peaks().count, packed.peaks().element_bytes);
        large
    }

    fn insert(&mut self, field: &[u8], value: &[u8]) -> bool {
        let position = position(field);
        let piece = Piece::new::<PairLayout>(value);
        let added = match self.table.find(position, field) {
            Place::Found { run, index, rank } => {
                self.payload_bytes -= run.second(index).len();
                FieldDeadlines::forget(&mut self.deadlines, field);
                self.table
                    .change(rank, |run, index| run.set_second(index, piece));
                false
            }
            Place::Vacant { rank } => {
                self.payload_bytes += field.len();
                self.table.insert(
                    rank,
                    position,
                    &[],
                    &[Piece::new::<PairLayout>(field), piece],
                );
                true
            }
        };
        self.payload_bytes += value.len();
        self.peaks
            .note(self.table.len(), field.len().max(value.len()));
        added
    }

    fn remove(&mut self, field: &[u8]) -> bool {
        let Place::Found { run, index, rank } = self.table.find(position(field), field) else {
            return false;
        };
        self.payload_bytes -= field.len() + run.second(index).len();
        FieldDeadlines::forget(&mut self.deadlines, field);
        self.table.remove(rank);
        true
    }
}

/// The entries of a packed hash, two by two.
#[derive(Clone)]
struct Pairs<'a>(Entries<'a>);

impl<'a> Pairs<'a> {
    fn of(packed: &'a Packed) -> Self {
        Self(packed.entries())
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// Iterates over fields and values.
pub struct HashIter<'a>(HashElements<'a>);

enum HashElements<'a> {
    Packed(Pairs<'a>, usize),
    Large(RunElements<'a, PairLayout>),
}

impl<'a> Iterator for HashIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            HashElements::Packed(pairs, left) => {
                let pair = pairs.next()?;
                *left -= 1;
                Some(pair)
            }
            HashElements::Large(elements) => elements
                .next()
                .map(|(run, index)| (run.first(index), run.second(index))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            HashElements::Packed(_, left) => *left,
            HashElements::Large(elements) => elements.remaining(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for HashIter<'_> {}
