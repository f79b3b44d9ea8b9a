//! The (score, member) order of a large sorted set: runs in a counted tree.
//!
//! An element is its member, and its score in the slot, so that a search inside a run stays in its slots but for ties;
//! members above 64 bytes are kept apart and shared with the member index. A branch knows the score and the first 8 bytes of the member that each child starts with, which decides nearly every
//! comparison of a descent without going there.

use super::run::{Layout, Piece, Run, Slot};
use super::tree::{Child, Chunk, CountedTree, Seek};

/// Score and offset in 10 bytes. Packed structs are read and written by value only.
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
pub(super) struct ScoreSlot {
    score: f64,
    offset: u16,
}

impl ScoreSlot {
    fn new(score: f64) -> Self {
        Self { score, offset: 0 }
    }

    pub(super) fn score(self) -> f64 {
        self.score
    }
}

impl Slot for ScoreSlot {
    fn offset(self) -> usize {
        usize::from(self.offset)
    }

    fn with_offset(self, offset: usize) -> Self {
        Self {
            score: self.score,
            offset: offset as u16,
        }
    }
}

/// One piece: the member.
#[derive(Clone)]
pub(super) struct OrderLayout;

impl Layout for OrderLayout {
    type Slot = ScoreSlot;
    const PREFIX_BYTES: usize = 0;
    const PIECES: usize = 1;
    const INLINE_LIMIT: usize = 64;
}

/// The score and the beginning of the member of a first element.
#[derive(Clone, Copy)]
pub(super) struct Fence {
    score: f64,
    member_start: u64,
}

/// The first 8 bytes as a number that compares as they do; shorter members are filled up with zeros.
fn member_start(member: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = member.len().min(8);
    bytes[..length].copy_from_slice(&member[..length]);
    u64::from_be_bytes(bytes)
}

impl Chunk for Run<OrderLayout> {
    type Fence = Fence;

    fn count(&self) -> usize {
        self.len()
    }

    fn fence(&self) -> Fence {
        Fence {
            score: self.slots()[0].score(),
            member_start: member_start(self.first(0)),
        }
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

/// A place between elements: everything for which `is_past` holds lies in front of it.
#[derive(Clone, Copy)]
pub(super) enum Bound<'a> {
    /// In front of this element, there or not.
    Element { score: f64, member: &'a [u8] },
    /// In front of (or, inclusive, behind) all elements of this score.
    Score { score: f64, inclusive: bool },
    /// In front of (or, inclusive, behind) this member, where all scores are the same.
    Member { member: &'a [u8], inclusive: bool },
}

impl Bound<'_> {
    /// Whether the bound is past this element.
    pub(super) fn is_past(&self, score: f64, member: &[u8]) -> bool {
        match *self {
            Bound::Element {
                score: own,
                member: own_member,
            } => score < own || (score == own && member < own_member),
            Bound::Score {
                score: own,
                inclusive,
            } => score < own || (inclusive && score == own),
            Bound::Member {
                member: own,
                inclusive,
            } => member < own || (inclusive && member == own),
        }
    }

    /// The same from the fence of an element, if that is enough.
    fn is_past_fence(&self, fence: Fence) -> Option<bool> {
        let starts_before = |own: &[u8]| {
            let start = member_start(own);
            (fence.member_start != start).then_some(fence.member_start < start)
        };
        match *self {
            Bound::Element { score, member } if fence.score == score => starts_before(member),
            Bound::Element { score, .. } => Some(fence.score < score),
            Bound::Score { .. } => Some(self.is_past(fence.score, &[])),
            Bound::Member { member, .. } => starts_before(member),
        }
    }

    /// Whether a search goes into this child rather than one before it: it starts in front of the bound, or at the
    /// very element.
    fn reaches(&self, child: &Child<Run<OrderLayout>>) -> bool {
        self.is_past_fence(child.fence()).unwrap_or_else(|| {
            let run = child.first_chunk();
            let (first_score, first_member) = (run.slots()[0].score(), run.first(0));
            match *self {
                Bound::Element { score, member } => score == first_score && first_member <= member,
                _ => self.is_past(first_score, first_member),
            }
        })
    }

    /// How many elements of the run the bound is past.
    fn offset_in(&self, run: &Run<OrderLayout>) -> usize {
        let (mut low, mut high) = (0, run.len());
        while low < high {
            let middle = (low + high) / 2;
            let score = run.slots()[middle].score();
            // The member is only looked at where it matters: it is a cache miss.
            let is_past = match *self {
                Bound::Element { score: own, .. } if score != own => score < own,
                Bound::Score { .. } => self.is_past(score, &[]),
                _ => self.is_past(score, run.first(middle)),
            };
            if is_past {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Goes to the chunk in which the bound lies, or at whose end.
struct ByBound<'a> {
    bound: Bound<'a>,
    skipped: usize,
}

impl Seek<Run<OrderLayout>> for ByBound<'_> {
    fn choose(&mut self, children: &[Child<Run<OrderLayout>>]) -> usize {
        let index = children
            .partition_point(|child| self.bound.reaches(child))
            .saturating_sub(1);
        self.skipped += children[..index].iter().map(Child::count).sum::<usize>();
        index
    }
}

/// Elements in (score, member) order.
#[derive(Clone)]
pub(super) struct Order {
    tree: CountedTree<Run<OrderLayout>>,
}

impl Order {
    /// Builds the tree run by run from elements in order.
    pub(super) fn from_sorted<'a>(elements: impl Iterator<Item = (f64, Piece<'a>)>) -> Self {
        let mut runs = Vec::new();
        let mut run = Run::new();
        for (score, piece) in elements {
            let (slot, pieces) = (ScoreSlot::new(score), [piece]);
            if !run.push_if_room(slot, &[], &pieces) {
                runs.push(std::mem::replace(&mut run, Run::new()));
                run.push_if_room(slot, &[], &pieces);
            }
        }
        if run.len() > 0 {
            runs.push(run);
        }
        Self {
            tree: CountedTree::from_chunks(runs),
        }
    }

    /// How many elements `bound` is past: the rank of the first one behind it.
    pub(super) fn rank_of(&self, bound: Bound<'_>) -> usize {
        let mut seek = ByBound { bound, skipped: 0 };
        let Some(run) = self.tree.find(&mut seek) else {
            return 0;
        };
        seek.skipped + bound.offset_in(run)
    }

    /// Puts a new element where it belongs.
    pub(super) fn insert(&mut self, score: f64, piece: &Piece<'_>) {
        let bound = Bound::Element {
            score,
            member: piece.as_bytes(),
        };
        let (slot, pieces) = (ScoreSlot::new(score), std::slice::from_ref(piece));
        let len = self.tree.len();
        let inserted = self
            .tree
            .edit_found(ByBound { bound, skipped: 0 }, |run, seek, added| {
                let index = bound.offset_in(run);
                let rank = seek.skipped + index;
                run.insert(index, slot, &[], pieces);
                run.split_if_overfull(index, rank == 0 || rank == len, added);
            });
        if inserted.is_none() {
            let mut run = Run::new();
            run.insert(0, slot, &[], pieces);
            self.tree.push_chunk(run);
        }
    }

    /// Takes an element out that is there.
    pub(super) fn remove(&mut self, score: f64, member: &[u8]) {
        let bound = Bound::Element { score, member };
        self.tree
            .edit_found(ByBound { bound, skipped: 0 }, |run, _, _| {
                let index = bound.offset_in(run);
                debug_assert!(run.first(index) == member, "order and index disagree");
                run.remove(index);
            });
    }

    pub(super) fn tree(&self) -> &CountedTree<Run<OrderLayout>> {
        &self.tree
    }
}
