//! A run: the chunk of the ordered structures, some neighbouring elements behind one another in one byte buffer.
//!
//! An element is a prefix of fixed size (a score, or nothing) and one or two pieces (member; or field and value). A piece
//! is a variable integer and its bytes, or, above the layout's inline limit, the number of a separately counted byte
//! string, so that copying a run stays cheap whatever it holds. Elements lie in order and a slot for each tells where it
//! starts, so a binary search reads the slots and few elements. Inserting moves at most 8 KiB.
//!
//! Overhead for an element: its slot (8 bytes with 48 bits of hash, 10 with a score), one or two bytes for each piece's length,
//! about 1.5 bytes of run and tree, and on average an eighth of room to grow.

use std::sync::Arc;

use super::packed::{VarInt, read_varint};
use super::thin::{good_size, reserve_tight};

/// Most elements of a run.
pub(super) const MAX_ELEMENTS: usize = 128;
/// Most bytes of a run's buffer, unless a single element has more.
const MAX_BYTES: usize = 8192;
/// A run below both of these is merged with a neighbour if the result is not nearly full.
const SPARSE_ELEMENTS: usize = 32;
const SPARSE_BYTES: usize = 2048;

/// About what a run costs beside its two buffers: itself, its reference counts, its entry in the tree.
const RUN_OVERHEAD_BYTES: usize = 128;

/// Where an element starts, and possibly what it is ordered by.
pub(super) trait Slot: Copy {
    fn offset(self) -> usize;
    fn with_offset(self, offset: usize) -> Self;
}

/// What the elements of a run look like.
pub(super) trait Layout: Sized + Clone + 'static {
    type Slot: Slot;
    /// Bytes of fixed size in front of the pieces.
    const PREFIX_BYTES: usize;
    /// Pieces of an element.
    const PIECES: usize;
    /// Pieces longer than this are kept apart. With it, an element has at most about 1 KiB.
    const INLINE_LIMIT: usize;
}

/// A piece on its way into a run: a long one is already shared, so that two runs can hold the same.
#[derive(Clone)]
pub(super) enum Piece<'a> {
    Inline(&'a [u8]),
    Apart(Arc<[u8]>),
}

impl<'a> Piece<'a> {
    pub(super) fn new<L: Layout>(bytes: &'a [u8]) -> Self {
        if bytes.len() <= L::INLINE_LIMIT {
            Self::Inline(bytes)
        } else {
            Self::Apart(Arc::from(bytes))
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Apart(bytes) => bytes,
        }
    }
}

/// Estimate of the heap bytes of runs and tree: `payload_bytes` in the pieces of `elements` elements.
pub(super) fn memory_estimate_bytes<L: Layout>(elements: usize, payload_bytes: usize) -> usize {
    let element_overhead = size_of::<L::Slot>() + L::PREFIX_BYTES + L::PIECES;
    let filled = payload_bytes + elements * element_overhead;
    let runs = elements.div_ceil(MAX_ELEMENTS * 3 / 4);
    filled + filled / 8 + runs * RUN_OVERHEAD_BYTES
}

/// See the module's comment.
#[derive(Clone)]
pub(super) struct Run<L: Layout> {
    slots: Vec<L::Slot>,
    bytes: Vec<u8>,
    apart: Vec<Option<Arc<[u8]>>>,
}

impl<L: Layout> Run<L> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            bytes: Vec::new(),
            apart: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn slots(&self) -> &[L::Slot] {
        &self.slots
    }

    /// The fixed part of an element.
    pub(super) fn prefix(&self, index: usize) -> &[u8] {
        let start = self.slots[index].offset();
        &self.bytes[start..start + L::PREFIX_BYTES]
    }

    /// The first piece of an element.
    pub(super) fn first(&self, index: usize) -> &[u8] {
        self.piece_at(self.slots[index].offset() + L::PREFIX_BYTES)
            .0
    }

    /// The second piece of an element; only for layouts with two.
    pub(super) fn second(&self, index: usize) -> &[u8] {
        let (_, second) = self.piece_at(self.slots[index].offset() + L::PREFIX_BYTES);
        self.piece_at(second).0
    }

    /// An element's first piece as it is kept, to be put into another run without copying a long one.
    pub(super) fn first_piece(&self, index: usize) -> Piece<'_> {
        self.kept_piece_at(self.slots[index].offset() + L::PREFIX_BYTES)
            .0
    }

    fn piece_at(&self, at: usize) -> (&[u8], usize) {
        let (header, start) = read_varint(&self.bytes, at);
        if header & 1 == 0 {
            let end = start + (header >> 1);
            return (&self.bytes[start..end], end);
        }
        (
            self.apart[header >> 1].as_deref().unwrap_or_default(),
            start,
        )
    }

    fn kept_piece_at(&self, at: usize) -> (Piece<'_>, usize) {
        let (header, start) = read_varint(&self.bytes, at);
        match self.apart.get(header >> 1) {
            Some(Some(bytes)) if header & 1 == 1 => (Piece::Apart(bytes.clone()), start),
            _ => {
                let (bytes, next) = self.piece_at(at);
                (Piece::Inline(bytes), next)
            }
        }
    }

    /// Where an element starts; for the count, where the last one ends.
    fn start(&self, index: usize) -> usize {
        self.slots
            .get(index)
            .map_or(self.bytes.len(), |slot| slot.offset())
    }

    /// Puts an element at `index`; the offset in `slot` is filled in.
    pub(super) fn insert(
        &mut self,
        index: usize,
        slot: L::Slot,
        prefix: &[u8],
        pieces: &[Piece<'_>],
    ) {
        debug_assert!(prefix.len() == L::PREFIX_BYTES && pieces.len() == L::PIECES);
        let at = self.start(index);
        let heads = self.heads(pieces);
        let size = prefix.len()
            + heads
                .iter()
                .zip(pieces)
                .map(|(head, piece)| encoded_bytes(*head, piece))
                .sum::<usize>();
        self.open_gap(at, size);
        write_element(&mut self.bytes[at..at + size], prefix, &heads, pieces);
        reserve_tight(&mut self.slots, 1);
        self.slots.insert(index, slot.with_offset(at));
        for later in &mut self.slots[index + 1..] {
            *later = later.with_offset(later.offset() + size);
        }
    }

    /// Gives the pieces their headers, and those to be kept apart their places.
    fn heads(&mut self, pieces: &[Piece<'_>]) -> [usize; 2] {
        let mut heads = [0; 2];
        for (head, piece) in heads.iter_mut().zip(pieces) {
            *head = match piece {
                Piece::Inline(bytes) => bytes.len() << 1,
                Piece::Apart(bytes) => self.keep_apart(bytes.clone()) << 1 | 1,
            };
        }
        heads
    }

    fn keep_apart(&mut self, bytes: Arc<[u8]>) -> usize {
        if let Some(free) = self.apart.iter().position(Option::is_none) {
            self.apart[free] = Some(bytes);
            return free;
        }
        reserve_tight(&mut self.apart, 1);
        self.apart.push(Some(bytes));
        self.apart.len() - 1
    }

    fn open_gap(&mut self, at: usize, size: usize) {
        let old = self.bytes.len();
        reserve_tight(&mut self.bytes, size);
        self.bytes.resize(old + size, 0);
        self.bytes.copy_within(at..old, at + size);
    }

    /// Takes an element out.
    pub(super) fn remove(&mut self, index: usize) {
        let (start, end) = (self.start(index), self.start(index + 1));
        self.release_apart(start + L::PREFIX_BYTES, end);
        self.bytes.drain(start..end);
        self.slots.remove(index);
        for later in &mut self.slots[index..] {
            *later = later.with_offset(later.offset() - (end - start));
        }
    }

    fn release_apart(&mut self, mut at: usize, end: usize) {
        while at < end && !self.apart.is_empty() {
            let (header, start) = read_varint(&self.bytes, at);
            at = start;
            if header & 1 == 1 {
                self.apart[header >> 1] = None;
            } else {
                at += header >> 1;
            }
        }
        while self.apart.last().is_some_and(Option::is_none) {
            self.apart.pop();
        }
    }

    /// Overwrites the fixed part of an element.
    pub(super) fn set_prefix(&mut self, index: usize, prefix: &[u8]) {
        let start = self.start(index);
        self.bytes[start..start + L::PREFIX_BYTES].copy_from_slice(prefix);
    }

    /// Replaces the second of an element's two pieces; nothing moves if the length stays the same.
    pub(super) fn set_second(&mut self, index: usize, piece: Piece<'_>) {
        let (_, at) = self.piece_at(self.start(index) + L::PREFIX_BYTES);
        let end = self.start(index + 1);
        self.release_apart(at, end);
        let pieces = [piece];
        let heads = self.heads(&pieces);
        let size = encoded_bytes(heads[0], &pieces[0]);
        if size > end - at {
            self.open_gap(end, size - (end - at));
        } else {
            self.bytes.drain(at + size..end);
        }
        write_element(&mut self.bytes[at..at + size], &[], &heads, &pieces);
        for later in &mut self.slots[index + 1..] {
            *later = later.with_offset(later.offset() + at + size - end);
        }
    }

    /// Whether the run must be split.
    fn is_overfull(&self) -> bool {
        self.len() > MAX_ELEMENTS || (self.bytes.len() > MAX_BYTES && self.len() > 1)
    }

    /// Cuts the run if it is overfull, after the element at `index` came or grew. `at_edge` says that it became the
    /// first or last of the whole structure: then it alone goes into a run, so that elements coming in order leave
    /// full runs behind.
    pub(super) fn split_if_overfull(&mut self, index: usize, at_edge: bool, added: &mut Vec<Self>) {
        if !self.is_overfull() {
            return;
        }
        let last = self.len() - 1;
        let at = match index {
            0 if at_edge => 1,
            _ if at_edge && index == last => last,
            _ if self.len() > MAX_ELEMENTS => self.len() / 2,
            _ => self
                .slots
                .partition_point(|slot| slot.offset() < self.bytes.len() / 2)
                .clamp(1, last),
        };
        added.push(self.split_off(at));
    }

    fn split_off(&mut self, at: usize) -> Self {
        let mut right = Self::new();
        right.append(self, at);
        let cut = self.start(at);
        self.release_apart_from(at);
        self.bytes.truncate(cut);
        self.slots.truncate(at);
        // Half of both buffers is free now, and in a random order it takes long until it is needed.
        self.bytes.shrink_to(good_size(cut));
        self.slots.shrink_to(at);
        right
    }

    fn release_apart_from(&mut self, at: usize) {
        for index in at..self.len() {
            self.release_apart(self.start(index) + L::PREFIX_BYTES, self.start(index + 1));
        }
    }

    /// Adds `source`'s elements from `from` on behind the own ones.
    fn append(&mut self, source: &Self, from: usize) {
        let (start, base) = (source.start(from), self.bytes.len());
        reserve_tight(&mut self.slots, source.len() - from);
        reserve_tight(&mut self.bytes, source.bytes.len() - start);
        if source.apart.is_empty() {
            self.bytes.extend_from_slice(&source.bytes[start..]);
            let moved = source.slots[from..]
                .iter()
                .map(|slot| slot.with_offset(slot.offset() - start + base));
            self.slots.extend(moved);
            return;
        }
        for index in from..source.len() {
            let (first, next) = source.kept_piece_at(source.start(index) + L::PREFIX_BYTES);
            let (slot, prefix) = (source.slots[index], source.prefix(index));
            if L::PIECES == 1 {
                self.insert(self.len(), slot, prefix, &[first]);
            } else {
                let (second, _) = source.kept_piece_at(next);
                self.insert(self.len(), slot, prefix, &[first, second]);
            }
        }
    }

    /// Adds an element at the end while it has room; for building from sorted elements. Leaves an eighth free.
    pub(super) fn push_if_room(
        &mut self,
        slot: L::Slot,
        prefix: &[u8],
        pieces: &[Piece<'_>],
    ) -> bool {
        let inline: usize = pieces
            .iter()
            .map(|piece| encoded_bytes(piece.as_bytes().len() << 1, piece))
            .sum();
        let full =
            self.len() >= MAX_ELEMENTS * 7 / 8 || self.bytes.len() + inline > MAX_BYTES * 7 / 8;
        if full && self.len() > 0 {
            return false;
        }
        self.insert(self.len(), slot, prefix, pieces);
        true
    }

    // The parts of `Chunk` that do not depend on the order.

    pub(super) fn is_sparse_run(&self) -> bool {
        self.len() < SPARSE_ELEMENTS && self.bytes.len() < SPARSE_BYTES
    }

    pub(super) fn fits_run(&self, right: &Self) -> bool {
        self.len() + right.len() <= MAX_ELEMENTS * 3 / 4
            && self.bytes.len() + right.bytes.len() <= MAX_BYTES * 3 / 4
    }

    pub(super) fn absorb_run(&mut self, right: &Self) {
        self.append(right, 0);
    }
}

fn encoded_bytes(head: usize, piece: &Piece<'_>) -> usize {
    let content = if let Piece::Inline(bytes) = piece {
        bytes.len()
    } else {
        0
    };
    VarInt::new(head).as_slice().len() + content
}

fn write_element(mut target: &mut [u8], prefix: &[u8], heads: &[usize; 2], pieces: &[Piece<'_>]) {
    let mut put = |bytes: &[u8]| {
        let (place, rest) = std::mem::take(&mut target).split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        target = rest;
    };
    put(prefix);
    for (head, piece) in heads.iter().zip(pieces) {
        put(VarInt::new(*head).as_slice());
        if let Piece::Inline(bytes) = piece {
            put(bytes);
        }
    }
}
