//! Sorted sets: one packed allocation in order while small, then a tree in (score, member) order and an index by hash.
//!
//! The index holds the members again: ZSCAN needs them in hash order, and a score is then found with one descent. A member
//! above 64 bytes is held once, shared by both. Bytes for a member beside its own: 10 while packed; when large its own once
//! more and about 37 (measured with a million members of 16 bytes: 69 in all).

use super::compact::{Compact, Form, FormMut};
use super::hash_table::{
    Cursor, Duplicate, HashLayout, HashSlot, HashTable, NewElement, Place, RunElements, position,
};
use super::order::{Bound, Order, OrderLayout};
use super::packed::{Entries, Packed};
use super::peaks::{Peaks, random_rank};
use super::run::{Layout, Piece, Run, memory_estimate_bytes};

/// Bytes of the score in front of a packed member.
const SCORE_BYTES: usize = 8;

/// Distinct members with scores, in order, with O(1) clone.
#[derive(Clone)]
pub struct SortedSet {
    body: Compact<LargeSortedSet>,
}

/// What [`SortedSet::insert`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The member is new.
    Added,
    /// The member was there and has another score now.
    Updated,
    /// The member had this score already.
    Unchanged,
}

/// An element of the index: the score in front, then one piece, the member.
#[derive(Clone)]
struct ScoreLayout;

impl Layout for ScoreLayout {
    type Slot = HashSlot;
    const PREFIX_BYTES: usize = SCORE_BYTES;
    const PIECES: usize = 1;
    const INLINE_LIMIT: usize = OrderLayout::INLINE_LIMIT;
}

impl HashLayout for ScoreLayout {}

#[derive(Clone)]
struct LargeSortedSet {
    order: Order,
    index: HashTable<ScoreLayout>,
    payload_bytes: usize,
    peaks: Peaks,
}

impl Default for SortedSet {
    fn default() -> Self {
        Self::new()
    }
}

impl SortedSet {
    /// An empty sorted set.
    pub fn new() -> Self {
        Self {
            body: Compact::packed(Packed::new()),
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match self.body.form() {
            Form::Packed(packed) => packed.count(),
            Form::Large(large) => large.index.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.body.form() {
            Form::Packed(packed) => Scored::of(packed)
                .find(|(entry, _)| *entry == member)
                .map(|(_, score)| score),
            Form::Large(large) => large.find(member).map(|(score, _)| score),
        }
    }

    /// Gives a member its score, which must not be NaN. Negative zero becomes zero.
    pub fn insert(&mut self, score: f64, member: &[u8]) -> Inserted {
        debug_assert!(!score.is_nan(), "a score is a number");
        let score = score + 0.0;
        if let Form::Packed(packed) = self.body.form() {
            let old = self.score(member);
            if old == Some(score) {
                return Inserted::Unchanged;
            }
            if old.is_none() && !packed.has_room(&[SCORE_BYTES + member.len()]) {
                self.body = Compact::large(LargeSortedSet::from_packed(packed));
            }
        }
        match self.body.form_mut() {
            FormMut::Packed(packed) => {
                let had_other = remove_packed(packed, member);
                insert_packed(packed, score, member);
                if had_other {
                    Inserted::Updated
                } else {
                    Inserted::Added
                }
            }
            FormMut::Large(large) => large.put(score, member),
        }
    }

    /// Takes a member out; `true` if it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self.body.form_mut() {
            FormMut::Packed(packed) => remove_packed(packed, member),
            FormMut::Large(large) => large.remove(member),
        }
    }

    /// How many members come before this one; `None` if it is not there. The reverse rank is `len - 1 - rank`.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match self.body.form() {
            Form::Packed(packed) => Scored::of(packed).position(|(entry, _)| entry == member),
            Form::Large(large) => {
                let (score, _) = large.find(member)?;
                Some(large.order.rank_of(Bound::Element { score, member }))
            }
        }
    }

    /// The member of this rank and its score.
    pub fn get_by_rank(&self, rank: usize) -> Option<(&[u8], f64)> {
        self.range(rank, 1).next()
    }

    /// All members with their scores, in order.
    pub fn iter(&self) -> SortedSetIter<'_> {
        self.range(0, usize::MAX)
    }

    /// Up to `count` members from rank `start` on. With `rev()` it works from the far end, at the same cost.
    pub fn range(&self, start: usize, count: usize) -> SortedSetIter<'_> {
        let start = start.min(self.len());
        let end = start.saturating_add(count).min(self.len());
        let elements = match self.body.form() {
            Form::Packed(packed) => Elements::Packed(Scored::of_range(packed, start, end)),
            Form::Large(large) => Elements::Large(RunElements::new(large.order.tree(), start, end)),
        };
        SortedSetIter {
            elements,
            left: end - start,
        }
    }

    /// How many members have a lower score than this, or, if `inclusive`, at most this: the rank at which a range of
    /// scores starts or, exclusive, ends.
    pub fn count_below_score(&self, score: f64, inclusive: bool) -> usize {
        self.rank_of(Bound::Score { score, inclusive })
    }

    /// How many members come before this one by their bytes, or, if `inclusive`, including it. Only meaningful where all
    /// scores are the same, as in Redis.
    pub fn count_below_member(&self, member: &[u8], inclusive: bool) -> usize {
        self.rank_of(Bound::Member { member, inclusive })
    }

    fn rank_of(&self, bound: Bound<'_>) -> usize {
        match self.body.form() {
            Form::Packed(packed) => Scored::of(packed)
                .take_while(|(member, score)| bound.is_past(*score, member))
                .count(),
            Form::Large(large) => large.order.rank_of(bound),
        }
    }

    /// A member chosen by 64 uniformly random bits, each with the same chance.
    pub fn random(&self, random: u64) -> Option<(&[u8], f64)> {
        self.get_by_rank(random_rank(random, self.len())?)
    }

    /// Visits about `count` members from `cursor` (0 to begin) on and returns the next cursor (0 when done). A member
    /// that is there from the first call to the last is visited at least once.
    pub fn scan(&self, cursor: Cursor, count: usize, mut visit: impl FnMut(&[u8], f64)) -> Cursor {
        match self.body.form() {
            Form::Packed(packed) => {
                Scored::of(packed).for_each(|(member, score)| visit(member, score));
                0
            }
            Form::Large(large) => large.index.scan(cursor, count, |run, index| {
                visit(run.first(index), read_score(run.prefix(index)))
            }),
        }
    }

    /// Whether there never were more members than `max_entries` nor a longer one than `max_element_bytes`.
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
                let (len, payload) = (large.index.len(), large.payload_bytes);
                let order = memory_estimate_bytes::<OrderLayout>(len, payload);
                size_of::<LargeSortedSet>()
                    + order
                    + memory_estimate_bytes::<ScoreLayout>(len, payload)
            }
        }
    }

    /// Builds a sorted set of `count` members at once; `members` gives them, in order, as often as it is asked.
    pub(super) fn from_sorted<'a, I: Iterator<Item = (f64, &'a [u8])>>(
        count: usize,
        members: impl Fn() -> I,
    ) -> Result<Self, Duplicate> {
        let lengths = members().map(|(_, member)| SCORE_BYTES + member.len());
        let Some(bytes) = Packed::bytes_for(count, lengths) else {
            let large = LargeSortedSet::from_sorted(
                members().map(|(score, member)| (score + 0.0, member)),
            )?;
            return Ok(Self {
                body: Compact::large(large),
            });
        };
        let mut packed = Packed::with_capacity(bytes);
        for (score, member) in members() {
            if Scored::of(&packed).any(|(entry, _)| entry == member) {
                return Err(Duplicate);
            }
            insert_packed_at(&mut packed, bytes, score + 0.0, member);
        }
        Ok(Self {
            body: Compact::packed(packed),
        })
    }

    #[cfg(test)]
    pub(super) fn order_chunk_addresses(&self) -> Vec<*const ()> {
        match self.body.form() {
            Form::Packed(packed) => vec![packed.bytes().as_ptr().cast()],
            Form::Large(large) => {
                let runs = large.order.tree().chunk_addresses();
                runs.into_iter().map(<*const _>::cast).collect()
            }
        }
    }

    #[cfg(test)]
    pub(super) fn chunk_addresses(&self) -> Vec<*const ()> {
        let mut addresses = self.order_chunk_addresses();
        if let Form::Large(large) = self.body.form() {
            let runs = large.index.tree().chunk_addresses();
            addresses.extend(runs.into_iter().map(<*const _>::cast::<()>));
        }
        addresses
    }
}

fn insert_packed(packed: &mut Packed, score: f64, member: &[u8]) {
    let bound = Bound::Element { score, member };
    let mut scored = Scored::of(packed);
    let mut at = 0;
    while scored
        .next()
        .is_some_and(|(entry, entry_score)| bound.is_past(entry_score, entry))
    {
        at = scored.entries.front;
    }
    insert_packed_at(packed, at, score, member);
}

fn insert_packed_at(packed: &mut Packed, at: usize, score: f64, member: &[u8]) {
    packed.insert(
        at.min(packed.bytes().len()),
        &[&score.to_le_bytes(), member],
        member.len(),
    );
}

fn remove_packed(packed: &mut Packed, member: &[u8]) -> bool {
    let mut scored = Scored::of(packed);
    loop {
        let start = scored.entries.front;
        match scored.next() {
            None => return false,
            Some((entry, _)) if entry == member => {
                let end = scored.entries.front;
                packed.remove(start, end, 1);
                return true;
            }
            Some(_) => {}
        }
    }
}

impl LargeSortedSet {
    fn from_sorted<'a>(members: impl Iterator<Item = (f64, &'a [u8])>) -> Result<Self, Duplicate> {
        let (mut payload_bytes, mut peaks) = (0, Peaks::default());
        let mut elements = Vec::new();
        for (score, member) in members {
            payload_bytes += member.len();
            peaks.note(elements.len() + 1, member.len());
            let piece = Piece::new::<ScoreLayout>(member);
            let prefix = score.to_le_bytes();
            elements.push(NewElement {
                position: position(member),
                prefix,
                member: piece,
                value: &[],
            });
        }
        let order = Order::from_sorted(
            elements
                .iter()
                .map(|e| (f64::from_le_bytes(e.prefix), e.member.clone())),
        );
        let index = HashTable::from_elements(elements)?;
        Ok(Self {
            order,
            index,
            payload_bytes,
            peaks,
        })
    }

    fn from_packed(packed: &Packed) -> Self {
        let members = Scored::of(packed).map(|(member, score)| (score, member));
        let mut large =
            Self::from_sorted(members).unwrap_or_else(|Duplicate| unreachable!("members differ"));
        large
            .peaks
            .note(packed.peaks().count, packed.peaks().element_bytes);
        large
    }

    /// The score of a member and its rank in the index.
    fn find(&self, member: &[u8]) -> Option<(f64, usize)> {
        match self.index.find(position(member), member) {
            Place::Found { run, index, rank } => Some((read_score(run.prefix(index)), rank)),
            Place::Vacant { .. } => None,
        }
    }

    fn put(&mut self, score: f64, member: &[u8]) -> Inserted {
        let position = position(member);
        let prefix = score.to_le_bytes();
        match self.index.find(position, member) {
            Place::Found { run, index, rank } => {
                let old = read_score(run.prefix(index));
                if old == score {
                    return Inserted::Unchanged;
                }
                self.order.remove(old, member);
                self.order.insert(score, &run.first_piece(index));
                let set_score = |run: &mut Run<ScoreLayout>, index| run.set_prefix(index, &prefix);
                self.index.change(rank, set_score);
                Inserted::Updated
            }
            Place::Vacant { rank } => {
                let piece = Piece::new::<ScoreLayout>(member);
                self.order.insert(score, &piece);
                self.index.insert(rank, position, &prefix, &[piece]);
                self.payload_bytes += member.len();
                self.peaks.note(self.index.len(), member.len());
                Inserted::Added
            }
        }
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        let Some((score, rank)) = self.find(member) else {
            return false;
        };
        self.order.remove(score, member);
        self.index.remove(rank);
        self.payload_bytes -= member.len();
        true
    }
}

/// The entries of a packed sorted set: each a score and a member.
struct Scored<'a> {
    entries: Entries<'a>,
}

impl<'a> Scored<'a> {
    fn of(packed: &'a Packed) -> Self {
        Self {
            entries: packed.entries(),
        }
    }

    /// The entries of the ranks from `start` up to but without `end`.
    fn of_range(packed: &'a Packed, start: usize, end: usize) -> Self {
        let mut entries = packed.entries();
        entries.by_ref().take(start).for_each(drop);
        entries
            .by_ref()
            .rev()
            .take(packed.count() - end)
            .for_each(drop);
        Self { entries }
    }
}

/// Reads the score in front of a packed member or an element of the index.
fn read_score(bytes: &[u8]) -> f64 {
    let mut score = [0; SCORE_BYTES];
    score.copy_from_slice(&bytes[..SCORE_BYTES]);
    f64::from_le_bytes(score)
}

fn split_entry(entry: &[u8]) -> (&[u8], f64) {
    (&entry[SCORE_BYTES..], read_score(entry))
}

impl<'a> Iterator for Scored<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(split_entry)
    }
}

/// Iterates over members and scores from both ends.
pub struct SortedSetIter<'a> {
    elements: Elements<'a>,
    left: usize,
}

enum Elements<'a> {
    Packed(Scored<'a>),
    Large(RunElements<'a, OrderLayout>),
}

impl<'a> Iterator for SortedSetIter<'a> {
    type Item = (&'a [u8], f64);

    fn next(&mut self) -> Option<Self::Item> {
        let element = match &mut self.elements {
            Elements::Packed(scored) => scored.next()?,
            Elements::Large(elements) => {
                let (run, index) = elements.next()?;
                (run.first(index), run.slots()[index].score())
            }
        };
        self.left -= 1;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for SortedSetIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let element = match &mut self.elements {
            Elements::Packed(scored) => split_entry(scored.entries.next_back()?),
            Elements::Large(elements) => {
                let (run, index) = elements.next_back()?;
                (run.first(index), run.slots()[index].score())
            }
        };
        self.left -= 1;
        Some(element)
    }
}

impl ExactSizeIterator for SortedSetIter<'_> {}
