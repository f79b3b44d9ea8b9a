//! The (score, member) order of a large sorted set: runs in a counted tree.
//!
//! An element is its score and its member; members above 64 bytes are kept apart and shared with the member index. A
//! branch knows the score and the first 8 bytes of the member that each child starts with, which decides nearly every
//! comparison of a descent without going there.

use super::run::{Layout, Piece, PlainSlot, Run};
use super::tree::{Child, Chunk, CountedTree, Seek};

/// Score in front, then one piece: the member.
#[derive(Clone)]
pub(super) struct OrderLayout;

impl Layout for OrderLayout {
    type Slot = PlainSlot;
    const PREFIX_BYTES: usize = 8;
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

/// Reads a score where one is in front of an element.
pub(super) fn read_score(bytes: &[u8]) -> f64 {
    let mut score = [0; 8];
    score.copy_from_slice(&bytes[..8]);
    f64::from_le_bytes(score)
}

impl Chunk for Run<OrderLayout> {
    type Fence = Fence;

    fn count(&self) -> usize {
        self.len()
    }

    fn fence(&self) -> Fence {
        Fence {
            score: read_score(self.prefix(0)),
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

    fn is_past_child(&self, child: &Child<Run<OrderLayout>>) -> bool {
        self.is_past_fence(child.fence())
            .unwrap_or_else(|| self.is_past_index(child.first_chunk(), 0))
    }

    fn is_past_index(&self, run: &Run<OrderLayout>, index: usize) -> bool {
        self.is_past(read_score(run.prefix(index)), run.first(index))
    }
}

struct ByBound<'a> {
    bound: Bound<'a>,
    skipped: usize,
}

impl Seek<Run<OrderLayout>> for ByBound<'_> {
    fn choose(&mut self, children: &[Child<Run<OrderLayout>>]) -> usize {
        let past = children.partition_point(|child| self.bound.is_past_child(child));
        let index = past.saturating_sub(1);
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
            let (prefix, pieces) = (score.to_le_bytes(), [piece]);
            if !run.push_if_room(PlainSlot::NEW, &prefix, &pieces) {
                runs.push(std::mem::replace(&mut run, Run::new()));
                run.push_if_room(PlainSlot::NEW, &prefix, &pieces);
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
        let (mut low, mut high) = (0, run.len());
        while low < high {
            let middle = (low + high) / 2;
            if bound.is_past_index(run, middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        seek.skipped + low
    }

    /// Puts a new element where it belongs.
    pub(super) fn insert(&mut self, score: f64, piece: &Piece<'_>) {
        let rank = self.rank_of(Bound::Element {
            score,
            member: piece.as_bytes(),
        });
        let at_edge = rank == 0 || rank == self.tree.len();
        let prefix = score.to_le_bytes();
        let inserted = self.tree.edit(rank, |run, index, added| {
            run.insert(index, PlainSlot::NEW, &prefix, std::slice::from_ref(piece));
            run.split_if_overfull(index, at_edge, added);
        });
        if inserted.is_none() {
            let mut run = Run::new();
            run.insert(0, PlainSlot::NEW, &prefix, std::slice::from_ref(piece));
            self.tree.push_chunk(run);
        }
    }

    /// Takes an element out that is there.
    pub(super) fn remove(&mut self, score: f64, member: &[u8]) {
        let rank = self.rank_of(Bound::Element { score, member });
        self.tree.edit(rank, |run, index, _| {
            debug_assert!(run.first(index) == member, "order and index disagree");
            run.remove(index);
        });
    }

    pub(super) fn tree(&self) -> &CountedTree<Run<OrderLayout>> {
        &self.tree
    }
}
