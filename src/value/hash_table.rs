//! Elements ordered by the placement hash of their member: what large sets and hashes are, and the index of a sorted set.
//!
//! The order is by *position*, the top 48 bits of the hash. A scan goes through the positions, so its cursor stays right
//! while elements come, go, and move between runs; elements of one position are handed out together. Nothing depends on
//! positions being unique: a run of equal ones may span chunks, and makes look-ups slower but never wrong.

use std::hash::{BuildHasher, Hasher};

use super::run::{Layout, Piece, Run, Slot};
use super::tree::{Child, Chunk, CountedTree, Seek};

/// Seed of the placement hash of elements. It need not be the one of the keys: positions are not stored.
const HASH_SEED: u64 = 0x1a7d_e51a_7de5_c0de;

/// A cursor that says "from here on", or 0: from the start, and at the end.
pub type Cursor = u64;

/// The place of a member in the order: 48 bits.
pub(super) fn position(member: &[u8]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(HASH_SEED).build_hasher();
    hasher.write(member);
    hasher.finish() >> 16
}

/// 48 bits of position and 16 of offset.
#[derive(Clone, Copy)]
pub(super) struct HashSlot(u64);

impl HashSlot {
    pub(super) fn new(position: u64) -> Self {
        Self(position << 16)
    }

    fn position(self) -> u64 {
        self.0 >> 16
    }
}

impl Slot for HashSlot {
    fn offset(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    fn with_offset(self, offset: usize) -> Self {
        Self(self.0 & !0xffff | offset as u64)
    }
}

/// A layout whose first piece is the member.
pub(super) trait HashLayout: Layout<Slot = HashSlot> {}

impl<L: HashLayout> Chunk for Run<L> {
    type Fence = u64;

    fn count(&self) -> usize {
        self.len()
    }

    fn fence(&self) -> u64 {
        self.slots()[0].position()
    }

    fn is_sparse(&self) -> bool {
        self.is_sparse_run()
    }

    fn fits(&self, right: &Self) -> bool {
        self.fits_run(right)
    }

    fn absorb(&mut self, right: &Self) {
        self.absorb_run(right);
    }
}

/// Goes to the chunk in which the first element at or past a position is, or at whose end it would be.
struct ByPosition {
    position: u64,
    skipped: usize,
    /// Where the chosen child starts and the next one starts.
    low: u64,
    high: u64,
}

impl ByPosition {
    fn new(position: u64) -> Self {
        Self {
            position,
            skipped: 0,
            low: 0,
            high: 1 << 48,
        }
    }

    /// The index of the first slot at or past the position. Positions are spread evenly, so the search begins where it
    /// should be between the two ends: one or two cache lines instead of the five of a binary search.
    fn index_in(&self, slots: &[HashSlot]) -> usize {
        let offset = self.position.saturating_sub(self.low);
        // A position from a client can be anything; what it guesses too far is walked back.
        let guess = offset.saturating_mul(slots.len() as u64) / (self.high - self.low).max(1);
        let mut index = (guess as usize).min(slots.len());
        while index < slots.len() && slots[index].position() < self.position {
            index += 1;
        }
        while index > 0 && slots[index - 1].position() >= self.position {
            index -= 1;
        }
        index
    }
}

impl<L: HashLayout> Seek<Run<L>> for ByPosition {
    fn choose(&mut self, children: &[Child<Run<L>>]) -> usize {
        let before = children.partition_point(|child| child.fence() < self.position);
        let index = before.saturating_sub(1);
        self.skipped += children[..index].iter().map(Child::count).sum::<usize>();
        self.low = children[index].fence();
        if let Some(next) = children.get(index + 1) {
            self.high = next.fence();
        }
        index
    }
}

/// The result of a search.
pub(super) enum Place<'a, L: HashLayout> {
    /// The element's run, its index there, and its rank.
    Found {
        run: &'a Run<L>,
        index: usize,
        rank: usize,
    },
    /// The rank that it would get.
    Vacant { rank: usize },
}

/// A persistent map by hash order.
#[derive(Clone)]
pub(super) struct HashTable<L: HashLayout> {
    tree: CountedTree<Run<L>>,
}

impl<L: HashLayout> HashTable<L> {
    pub(super) fn new() -> Self {
        Self {
            tree: CountedTree::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    /// The rank of the first element at or past `position`.
    fn lower_bound(&self, position: u64) -> usize {
        let mut seek = ByPosition::new(position);
        let Some(run) = self.tree.find(&mut seek) else {
            return 0;
        };
        seek.skipped + seek.index_in(run.slots())
    }

    /// Looks a member up.
    pub(super) fn find(&self, position: u64, member: &[u8]) -> Place<'_, L> {
        let mut seek = ByPosition::new(position);
        let Some(mut run) = self.tree.find(&mut seek) else {
            return Place::Vacant { rank: 0 };
        };
        let mut index = seek.index_in(run.slots());
        let mut base = seek.skipped;
        loop {
            if index == run.len() {
                base += run.len();
                if base == self.len() {
                    return Place::Vacant { rank: base };
                }
                let Some((next, _)) = self.tree.chunk_at(base) else {
                    return Place::Vacant { rank: base };
                };
                (run, index) = (next, 0);
            }
            if run.slots()[index].position() != position {
                return Place::Vacant { rank: base + index };
            }
            if run.first(index) == member {
                return Place::Found {
                    run,
                    index,
                    rank: base + index,
                };
            }
            index += 1;
        }
    }

    /// Puts a new element at the rank that `find` gave.
    pub(super) fn insert(
        &mut self,
        rank: usize,
        position: u64,
        prefix: &[u8],
        pieces: &[Piece<'_>],
    ) {
        let slot = HashSlot::new(position);
        let inserted = self.tree.edit(rank, |run, index, added| {
            run.insert(index, slot, prefix, pieces);
            run.split_if_overfull(index, false, added);
        });
        if inserted.is_none() {
            let mut run = Run::new();
            run.insert(0, slot, prefix, pieces);
            self.tree.push_chunk(run);
        }
    }

    /// Changes the element at `rank` inside its run; `change` must leave its member alone.
    pub(super) fn change(&mut self, rank: usize, change: impl FnOnce(&mut Run<L>, usize)) {
        self.tree.edit(rank, |run, index, added| {
            change(run, index);
            run.split_if_overfull(index, false, added);
        });
    }

    /// Takes the element at `rank` out.
    pub(super) fn remove(&mut self, rank: usize) {
        self.tree.edit(rank, |run, index, _| run.remove(index));
    }

    /// The run of the element at `rank`, and its index there.
    pub(super) fn at_rank(&self, rank: usize) -> Option<(&Run<L>, usize)> {
        if rank >= self.len() {
            return None;
        }
        self.tree.chunk_at(rank)
    }

    /// Visits elements from `cursor` on, about `count` of them but all of one position; returns where to go on.
    pub(super) fn scan(
        &self,
        cursor: Cursor,
        count: usize,
        mut visit: impl FnMut(&Run<L>, usize),
    ) -> Cursor {
        let mut last_position = None;
        let elements = RunElements::new(&self.tree, self.lower_bound(cursor), self.len());
        for (visited, (run, index)) in elements.enumerate() {
            let position = run.slots()[index].position();
            if visited >= count.max(1) && last_position != Some(position) {
                return position;
            }
            visit(run, index);
            last_position = Some(position);
        }
        0
    }

    /// All elements.
    pub(super) fn elements(&self) -> RunElements<'_, L> {
        RunElements::new(&self.tree, 0, self.len())
    }

    #[cfg(test)]
    pub(super) fn tree(&self) -> &CountedTree<Run<L>> {
        &self.tree
    }
}

/// An element on its way into a table that is built at once.
pub(super) struct NewElement<'a> {
    pub(super) position: u64,
    /// As many bytes as the layout has are taken.
    pub(super) prefix: [u8; 8],
    pub(super) member: Piece<'a>,
    /// The second piece, if the layout has one.
    pub(super) value: &'a [u8],
}

/// A member came twice where each may come once.
pub(super) struct Duplicate;

impl<L: HashLayout> HashTable<L> {
    /// Builds the table run by run.
    pub(super) fn from_elements(mut elements: Vec<NewElement<'_>>) -> Result<Self, Duplicate> {
        elements.sort_unstable_by(|left, right| {
            left.position
                .cmp(&right.position)
                .then_with(|| left.member.as_bytes().cmp(right.member.as_bytes()))
        });
        let same = |pair: &[NewElement<'_>]| {
            pair[0].position == pair[1].position
                && pair[0].member.as_bytes() == pair[1].member.as_bytes()
        };
        if elements.windows(2).any(same) {
            return Err(Duplicate);
        }
        let mut runs = Vec::new();
        let mut run = Run::new();
        for element in elements {
            let slot = HashSlot::new(element.position);
            let pieces = [element.member, Piece::new::<L>(element.value)];
            let (prefix, pieces) = (&element.prefix[..L::PREFIX_BYTES], &pieces[..L::PIECES]);
            if !run.push_if_room(slot, prefix, pieces) {
                runs.push(std::mem::replace(&mut run, Run::new()));
                run.push_if_room(slot, prefix, pieces);
            }
        }
        if run.len() > 0 {
            runs.push(run);
        }
        Ok(Self {
            tree: CountedTree::from_chunks(runs),
        })
    }
}

/// Iterates over the elements of some ranks, as runs and indexes in them, from both ends.
pub(super) struct RunElements<'a, L: Layout>
where
    Run<L>: Chunk,
{
    tree: &'a CountedTree<Run<L>>,
    front_rank: usize,
    back_rank: usize,
    front: Option<(&'a Run<L>, usize)>,
    back: Option<(&'a Run<L>, usize)>,
}

impl<'a, L: Layout> RunElements<'a, L>
where
    Run<L>: Chunk,
{
    /// The elements from rank `start` up to but without `end`.
    pub(super) fn new(tree: &'a CountedTree<Run<L>>, start: usize, end: usize) -> Self {
        Self {
            tree,
            front_rank: start,
            back_rank: end,
            front: None,
            back: None,
        }
    }

    pub(super) fn remaining(&self) -> usize {
        self.back_rank.saturating_sub(self.front_rank)
    }
}

impl<'a, L: Layout> Iterator for RunElements<'a, L>
where
    Run<L>: Chunk,
{
    type Item = (&'a Run<L>, usize);

    fn next(&mut self) -> Option<Self::Item> {
        if self.front_rank >= self.back_rank {
            return None;
        }
        let (run, index) = match self.front {
            Some((run, index)) if index < run.len() => (run, index),
            _ => self.tree.chunk_at(self.front_rank)?,
        };
        self.front = Some((run, index + 1));
        self.front_rank += 1;
        Some((run, index))
    }
}

impl<L: Layout> DoubleEndedIterator for RunElements<'_, L>
where
    Run<L>: Chunk,
{
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front_rank >= self.back_rank {
            return None;
        }
        self.back_rank -= 1;
        let (run, index) = match self.back {
            Some((run, index)) if index > 0 => (run, index - 1),
            _ => self.tree.chunk_at(self.back_rank)?,
        };
        self.back = Some((run, index));
        Some((run, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Members;

    impl Layout for Members {
        type Slot = HashSlot;
        const PREFIX_BYTES: usize = 0;
        const PIECES: usize = 1;
        const INLINE_LIMIT: usize = 64;
    }

    impl HashLayout for Members {}

    /// A thousand members in each of three positions, far more than a run holds.
    fn colliding_members() -> impl Iterator<Item = (u64, [u8; 4])> {
        (0..3000_u32).map(|number| (u64::from(number % 3) + 7, number.to_le_bytes()))
    }

    fn elements(members: &[(u64, [u8; 4])]) -> Vec<NewElement<'_>> {
        members
            .iter()
            .map(|(position, member)| NewElement {
                position: *position,
                prefix: [0; 8],
                member: Piece::Inline(member),
                value: &[],
            })
            .collect()
    }

    fn colliding_table() -> HashTable<Members> {
        let mut table = HashTable::new();
        for (position, member) in colliding_members() {
            let Place::Vacant { rank } = table.find(position, &member) else {
                panic!("{member:?} twice")
            };
            table.insert(rank, position, &[], &[Piece::Inline(&member)]);
        }
        table
    }

    #[test]
    fn members_of_one_position_are_found_across_runs() {
        let mut table = colliding_table();
        assert!(table.tree().chunk_addresses().len() > 20);
        for (position, member) in colliding_members().step_by(2) {
            let Place::Found { run, index, rank } = table.find(position, &member) else {
                panic!("{member:?} lost")
            };
            assert_eq!(run.first(index), member);
            table.remove(rank);
        }
        for (number, (position, member)) in colliding_members().enumerate() {
            let found = matches!(table.find(position, &member), Place::Found { .. });
            assert_eq!(found, number % 2 == 1);
        }
    }

    #[test]
    fn a_scan_hands_out_whole_positions() {
        let table = colliding_table();
        let (mut cursor, mut calls) = (0, Vec::new());
        loop {
            let mut positions = Vec::new();
            cursor = table.scan(cursor, 10, |run, index| {
                positions.push(run.slots()[index].position());
            });
            calls.push((positions.len(), positions[0], cursor));
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(calls, [(1000, 7, 8), (1000, 8, 9), (1000, 9, 0)]);
    }

    #[test]
    fn building_at_once_gives_the_same_and_refuses_repetition() {
        let members: Vec<(u64, [u8; 4])> = colliding_members().collect();
        let Ok(table) = HashTable::<Members>::from_elements(elements(&members)) else {
            panic!("all are distinct")
        };
        assert_eq!(table.len(), 3000);
        assert!(members.iter().all(|(position, member)| matches!(
            table.find(*position, member),
            Place::Found { .. }
        )));
        let twice = [&members[..], &members[5..6]].concat();
        assert!(HashTable::<Members>::from_elements(elements(&twice)).is_err());
    }
}
