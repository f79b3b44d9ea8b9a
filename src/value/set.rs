//! Sets: one packed allocation while small, then runs in hash order (see `hash_table`).
//!
//! Bytes for a member beside its own: 2 while packed, about 13 when large (measured with a million of 16 bytes: 29 in all).

use super::compact::{Compact, Form, FormMut};
use super::hash_table::{
    Cursor, Duplicate, HashLayout, HashSlot, HashTable, NewElement, Place, RunElements, position,
};
use super::packed::{Entries, Packed};
use super::peaks::{Peaks, is_integer, random_rank};
use super::run::{Layout, Piece, memory_estimate_bytes};

/// Distinct byte strings with O(1) clone.
#[derive(Clone)]
pub struct Set {
    body: Compact<LargeSet>,
}

/// One piece: the member.
#[derive(Clone)]
struct MemberLayout;

impl Layout for MemberLayout {
    type Slot = HashSlot;
    const PREFIX_BYTES: usize = 0;
    const PIECES: usize = 1;
    const INLINE_LIMIT: usize = 512;
}

impl HashLayout for MemberLayout {}

#[derive(Clone)]
struct LargeSet {
    table: HashTable<MemberLayout>,
    payload_bytes: usize,
    peaks: Peaks,
    /// Whether there ever was a member that is no integer. A packed set keeps this in its flag.
    ever_other: bool,
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

impl Set {
    /// An empty set.
    pub fn new() -> Self {
        Self {
            body: Compact::packed(Packed::new()),
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.count(),
            Form::Large(large) => large.table.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.body.form() {
            Form::Packed(packed) => packed.entries().any(|entry| entry == member),
            Form::Large(large) => matches!(
                large.table.find(position(member), member),
                Place::Found { .. }
            ),
        }
    }

    /// Adds a member; `true` if it is new.
    pub fn insert(&mut self, member: &[u8]) -> bool {
        if let Form::Packed(packed) = self.body.form() {
            if packed.entries().any(|entry| entry == member) {
                return false;
            }
            if !packed.has_room(&[member.len()]) {
                self.body = Compact::large(LargeSet::from_packed(packed));
            }
        }
        match self.body.form_mut() {
            FormMut::Packed(packed) => {
                packed.insert(packed.bytes().len(), &[member], member.len());
                if !is_integer(member) {
                    packed.raise_flag();
                }
                true
            }
            FormMut::Large(large) => large.insert(member),
        }
    }

    /// Takes a member out; `true` if it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let place = match self.body.form() {
            Form::Packed(packed) => packed.find_range(1, member),
            Form::Large(large) => match large.table.find(position(member), member) {
                Place::Found { rank, .. } => Some((rank, rank + 1)),
                Place::Vacant { .. } => None,
            },
        };
        let Some((start, end)) = place else {
            return false;
        };
        match self.body.form_mut() {
            FormMut::Packed(packed) => packed.remove(start, end, 1),
            FormMut::Large(large) => {
                large.table.remove(start);
                large.payload_bytes -= member.len();
            }
        }
        true
    }

    /// All members, in the order of [`Set::nth`].
    pub fn iter(&self) -> SetIter<'_> {
        SetIter(match self.body.form() {
            Form::Packed(packed) => SetElements::Packed(packed.entries(), packed.count()),
            Form::Large(large) => SetElements::Large(large.table.elements()),
        })
    }

    /// The member of this rank in an order that stays the same while the set does. O(log n).
    pub fn nth(&self, rank: usize) -> Option<&[u8]> {
        match self.body.form() {
            Form::Packed(packed) => packed.entries().nth(rank),
            Form::Large(large) => large
                .table
                .at_rank(rank)
                .map(|(run, index)| run.first(index)),
        }
    }

    /// A member chosen by 64 uniformly random bits, each with the same chance.
    pub fn random(&self, random: u64) -> Option<&[u8]> {
        self.nth(random_rank(random, self.len())?)
    }

    /// Visits about `count` members from `cursor` (0 to begin) on and returns the next cursor (0 when done). A member
    /// that is there from the first call to the last is visited at least once.
    pub fn scan(&self, cursor: Cursor, count: usize, mut visit: impl FnMut(&[u8])) -> Cursor {
        match self.body.form() {
            Form::Packed(packed) => {
                packed.entries().for_each(visit);
                0
            }
            Form::Large(large) => large
                .table
                .scan(cursor, count, |run, index| visit(run.first(index))),
        }
    }

    /// Whether the set was always only integers and never more than `max_entries` of them.
    pub fn is_intset_like(&self, max_entries: usize) -> bool {
        let ever_other = match self.body.form() {
            Form::Packed(packed) => packed.flag(),
            Form::Large(large) => large.ever_other,
        };
        !ever_other && self.peaks().are_within(max_entries, usize::MAX)
    }

    /// Whether the set never had more members than `max_entries` nor a longer one than `max_element_bytes`.
    pub fn is_packed_like(&self, max_entries: usize, max_element_bytes: usize) -> bool {
        self.peaks().are_within(max_entries, max_element_bytes)
    }

    fn peaks(&self) -> Peaks {
        match self.body.form() {
            Form::Packed(packed) => packed.peaks(),
            Form::Large(large) => large.peaks,
        }
    }

    /// Estimate of the heap bytes, O(1).
    pub fn memory_bytes(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.memory_bytes(),
            Form::Large(large) => {
                size_of::<LargeSet>()
                    + memory_estimate_bytes::<MemberLayout>(large.table.len(), large.payload_bytes)
            }
        }
    }

    /// Builds a set of `count` members at once; `members` gives them as often as it is asked.
    pub(super) fn from_members<'a, I: Iterator<Item = &'a [u8]>>(
        count: usize,
        members: impl Fn() -> I,
    ) -> Result<Self, Duplicate> {
        let Some(bytes) = Packed::bytes_for(count, members().map(<[u8]>::len)) else {
            return Ok(Self {
                body: Compact::large(LargeSet::from_members(members())?),
            });
        };
        let mut set = Self {
            body: Compact::packed(Packed::with_capacity(bytes)),
        };
        for member in members() {
            if !set.insert(member) {
                return Err(Duplicate);
            }
        }
        Ok(set)
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

impl LargeSet {
    fn from_members<'a>(members: impl Iterator<Item = &'a [u8]>) -> Result<Self, Duplicate> {
        let mut large = Self {
            table: HashTable::new(),
            payload_bytes: 0,
            peaks: Peaks::default(),
            ever_other: false,
        };
        let mut elements = Vec::new();
        for member in members {
            large.payload_bytes += member.len();
            large.ever_other |= !is_integer(member);
            large.peaks.note(elements.len() + 1, member.len());
            let piece = Piece::new::<MemberLayout>(member);
            elements.push(NewElement {
                position: position(member),
                prefix: [0; 8],
                member: piece,
                value: &[],
            });
        }
        large.table = HashTable::from_elements(elements)?;
        Ok(large)
    }

    fn from_packed(packed: &Packed) -> Self {
        let mut large = Self::from_members(packed.entries())
            .unwrap_or_else(|Duplicate| unreachable!("members differ"));
        large.ever_other |= packed.flag();
        large
            .peaks
            .note(packed.peaks().count, packed.peaks().element_bytes);
        large
    }

    fn insert(&mut self, member: &[u8]) -> bool {
        let position = position(member);
        let Place::Vacant { rank } = self.table.find(position, member) else {
            return false;
        };
        self.table
            .insert(rank, position, &[], &[Piece::new::<MemberLayout>(member)]);
        self.payload_bytes += member.len();
        self.peaks.note(self.table.len(), member.len());
        self.ever_other = self.ever_other || !is_integer(member);
        true
    }
}

/// Iterates over members from both ends.
pub struct SetIter<'a>(SetElements<'a>);

enum SetElements<'a> {
    Packed(Entries<'a>, usize),
    Large(RunElements<'a, MemberLayout>),
}

impl<'a> Iterator for SetIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            SetElements::Packed(entries, left) => {
                let member = entries.next()?;
                *left -= 1;
                Some(member)
            }
            SetElements::Large(elements) => elements.next().map(|(run, index)| run.first(index)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            SetElements::Packed(_, left) => *left,
            SetElements::Large(elements) => elements.remaining(),
        };
        (left, Some(left))
    }
}

impl DoubleEndedIterator for SetIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            SetElements::Packed(entries, left) => {
                let member = entries.next_back()?;
                *left -= 1;
                Some(member)
            }
            SetElements::Large(elements) => {
                elements.next_back().map(|(run, index)| run.first(index))
            }
        }
    }
}

impl ExactSizeIterator for SetIter<'_> {}
