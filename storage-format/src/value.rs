//! The value encoding (FORMAT.md section 2): one form of every value, for cold records, snapshots, whole-value effects and DUMP.
//!
//! A String is its raw bytes. A collection is a flags byte, its element count, its chunk count, then its chunks: chunk boundaries are
//! stored, so that one day a chunk of a huge collection can be cold while the rest is hot, and so that a value type can keep its
//! chunks in this very form and copy them in and out. How elements are divided into chunks is the writer's business.
//!
//! [`EncodedCollection::parse`] validates everything in one pass that only walks lengths; iterating afterwards cannot fail.

use crate::error::FormatError;
use crate::items::{Items, ItemsIter, ScoredItems, put_scored as append_scored};
use crate::reader::{ByteReader, put_bytes};
use crate::stream::EncodedStream;
use crate::varint::put_varint;

/// The type of a value, as stored. 0 is nobody's: it marks the absence of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ValueKind {
    /// Bytes.
    String = 1,
    /// Items in order.
    List = 2,
    /// Distinct members.
    Set = 3,
    /// Distinct members with scores, in (score, member) order.
    SortedSet = 4,
    /// Fields with values.
    Hash = 5,
    /// Entries by ID, and groups that read them: see [`crate::stream`].
    Stream = 6,
}

impl ValueKind {
    /// All kinds, in the order of their bytes.
    pub const ALL: [Self; 6] = [
        Self::String,
        Self::List,
        Self::Set,
        Self::SortedSet,
        Self::Hash,
        Self::Stream,
    ];

    /// The kind that `byte` stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::String),
            2 => Some(Self::List),
            3 => Some(Self::Set),
            4 => Some(Self::SortedSet),
            5 => Some(Self::Hash),
            6 => Some(Self::Stream),
            _ => None,
        }
    }

    /// The name that the `TYPE` command gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Self, FormatError> {
        let offset = reader.position();
        Self::from_byte(reader.u8("value type")?).ok_or(FormatError::damaged("value type", offset))
    }
}

/// The flags byte of a collection. No flag is defined yet; 0x01 is kept for a deadline behind each field (FORMAT.md section 2).
const COLLECTION_FLAGS: u8 = 0;

/// Appends an item of a list or a member of a set, as a chunk holds it.
#[inline]
pub fn put_item(out: &mut Vec<u8>, item: &[u8]) {
    put_bytes(out, item);
}

/// Appends a field of a hash with its value, as a chunk holds them.
#[inline]
pub fn put_pair(out: &mut Vec<u8>, field: &[u8], value: &[u8]) {
    put_bytes(out, field);
    put_bytes(out, value);
}

/// Appends a member of a sorted set with its score, as a chunk holds them. The score must not be NaN.
#[inline]
pub fn put_scored(out: &mut Vec<u8>, score: f64, member: &[u8]) {
    append_scored(out, score, member);
}

/// Writes a collection chunk by chunk. The announced counts must be kept: that is the caller's bug otherwise, caught in debug builds
/// here and by every reader.
#[derive(Debug)]
pub struct CollectionWriter<'a> {
    out: &'a mut Vec<u8>,
    elements_left: u64,
    chunks_left: u64,
}

impl<'a> CollectionWriter<'a> {
    /// Starts a collection of `element_count` elements (pairs count once) in `chunk_count` chunks, none of which is empty.
    #[must_use]
    pub fn begin(out: &'a mut Vec<u8>, element_count: u64, chunk_count: u64) -> Self {
        out.push(COLLECTION_FLAGS);
        put_varint(out, element_count);
        put_varint(out, chunk_count);
        Self {
            out,
            elements_left: element_count,
            chunks_left: chunk_count,
        }
    }

    /// Writes a chunk whose elements are already encoded ([`put_item`], [`put_pair`], [`put_scored`]): a copy.
    pub fn encoded_chunk(&mut self, element_count: u64, elements: &[u8]) {
        self.count_chunk(element_count);
        put_varint(self.out, element_count);
        put_bytes(self.out, elements);
    }

    /// Writes a chunk whose elements `fill` appends with [`put_item`], [`put_pair`] or [`put_scored`], and with nothing else. Costs one
    /// move of the chunk's bytes, because their length stands in front of them.
    pub fn chunk(&mut self, element_count: u64, fill: impl FnOnce(&mut Vec<u8>)) {
        self.count_chunk(element_count);
        let start = self.out.len();
        fill(self.out);
        let length = self.out.len() - start;
        put_varint(self.out, element_count);
        put_varint(self.out, length as u64);
        let prefix_length = self.out.len() - start - length;
        self.out[start..].rotate_right(prefix_length);
    }

    /// Ends the collection.
    pub fn finish(self) {
        debug_assert_eq!(
            (self.elements_left, self.chunks_left),
            (0, 0),
            "the announced counts were kept"
        );
    }

    fn count_chunk(&mut self, element_count: u64) {
        debug_assert!(element_count > 0, "no chunk is empty");
        debug_assert!(
            element_count <= self.elements_left && self.chunks_left > 0,
            "the announced counts are kept"
        );
        self.elements_left = self.elements_left.wrapping_sub(element_count);
        self.chunks_left = self.chunks_left.wrapping_sub(1);
    }
}

/// A validated collection, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedCollection<'a> {
    kind: ValueKind,
    element_count: usize,
    chunk_count: usize,
    chunks: &'a [u8],
}

impl<'a> EncodedCollection<'a> {
    /// Validates all of `bytes` as a collection of this kind: flags, counts, lengths, nothing behind it; for a sorted set also that no
    /// score is NaN and that members come in (score, member) order without repetition. That the members of a set and the fields
    /// of a hash are distinct is left to whoever puts them into one.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] with the offset in `bytes`; also for the kinds `String` and `Stream`, which are no collections here.
    pub fn parse(kind: ValueKind, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = ByteReader::new(bytes);
        if matches!(kind, ValueKind::String | ValueKind::Stream) {
            return Err(reader.damaged("collection type"));
        }
        if reader.u8("collection flags")? != COLLECTION_FLAGS {
            return Err(FormatError::damaged("collection flags", 0));
        }
        let element_count = reader.count(1, "element count")?;
        let chunk_count = reader.count(1, "chunk count")?;
        let start = reader.position();
        let mut elements_left = element_count;
        let mut order = OrderCheck::default();
        for _ in 0..chunk_count {
            let chunk_start = reader.position();
            let chunk = read_chunk(kind, &mut reader)?;
            if chunk.element_count == 0 || chunk.element_count > elements_left {
                return Err(FormatError::damaged("chunk element count", chunk_start));
            }
            elements_left -= chunk.element_count;
            let elements_start = reader.position() - chunk.elements.len();
            chunk
                .validate(&mut order)
                .map_err(|error| error.shifted_by(elements_start as u64))?;
        }
        reader.finish("collection end")?;
        if elements_left > 0 {
            return Err(FormatError::damaged("element count", 1));
        }
        Ok(Self {
            kind,
            element_count,
            chunk_count,
            chunks: reader.since(start),
        })
    }

    /// The kind that it was parsed as.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// How many elements: items, members, or fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.element_count
    }

    /// Whether there is none. The server never stores an empty collection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.element_count == 0
    }

    /// How many chunks.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.chunk_count
    }

    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'a> {
        Chunks {
            kind: self.kind,
            left: self.chunk_count,
            reader: ByteReader::new(self.chunks),
        }
    }

    /// All items of a list or members of a set.
    pub fn items(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.chunks().flat_map(|chunk| chunk.items().iter())
    }

    /// All fields of a hash with their values.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.chunks().flat_map(|chunk| chunk.pairs())
    }

    /// All members of a sorted set, each behind its score, in (score, member) order.
    pub fn scored(&self) -> impl Iterator<Item = (f64, &'a [u8])> + use<'a> {
        self.chunks().flat_map(|chunk| chunk.scored().iter())
    }
}

/// Iterates over the chunks of an [`EncodedCollection`].
#[derive(Debug, Clone)]
pub struct Chunks<'a> {
    kind: ValueKind,
    left: usize,
    reader: ByteReader<'a>,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = EncodedChunk<'a>;

    fn next(&mut self) -> Option<EncodedChunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        read_chunk(self.kind, &mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Chunks<'_> {}

/// One validated chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedChunk<'a> {
    kind: ValueKind,
    element_count: usize,
    elements: &'a [u8],
}

impl<'a> EncodedChunk<'a> {
    /// How many elements: at least one.
    #[must_use]
    pub fn element_count(&self) -> usize {
        self.element_count
    }

    /// The encoded elements without the counts: what [`CollectionWriter::encoded_chunk`] takes.
    #[must_use]
    pub fn elements(&self) -> &'a [u8] {
        self.elements
    }

    /// The byte strings of the chunk: items, members, or field, value, field, value …. None for a sorted set's.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        match self.kind {
            ValueKind::Hash => Items::of_region(self.element_count * 2, self.elements),
            ValueKind::List | ValueKind::Set => Items::of_region(self.element_count, self.elements),
            ValueKind::String | ValueKind::SortedSet | ValueKind::Stream => {
                Items::of_region(0, &[])
            }
        }
    }

    /// The fields with their values. None unless it is a hash's chunk.
    #[must_use]
    pub fn pairs(&self) -> PairsIter<'a> {
        let is_hash = self.kind == ValueKind::Hash;
        PairsIter {
            items: if is_hash {
                self.items()
            } else {
                Items::of_region(0, &[])
            }
            .iter(),
        }
    }

    /// The members with their scores. None unless it is a sorted set's chunk.
    #[must_use]
    pub fn scored(&self) -> ScoredItems<'a> {
        if self.kind == ValueKind::SortedSet {
            ScoredItems::of_region(self.element_count, self.elements)
        } else {
            ScoredItems::of_region(0, &[])
        }
    }

    fn validate(&self, order: &mut OrderCheck<'a>) -> Result<(), FormatError> {
        let mut reader = ByteReader::new(self.elements);
        for _ in 0..self.element_count {
            let start = reader.position();
            let bytes = reader.bytes("element")?;
            match self.kind {
                ValueKind::Hash => {
                    reader.bytes("hash value")?;
                }
                ValueKind::SortedSet => {
                    let score = reader.score("score")?;
                    if !order.accepts(score, bytes) {
                        return Err(FormatError::damaged("sorted set order", start));
                    }
                }
                ValueKind::String | ValueKind::List | ValueKind::Set | ValueKind::Stream => {}
            }
        }
        reader.finish("chunk end")
    }
}

/// Iterates over the fields of a hash's chunk.
#[derive(Debug, Clone)]
pub struct PairsIter<'a> {
    items: ItemsIter<'a>,
}

impl<'a> Iterator for PairsIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.items.next()?, self.items.next()?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.items.len() / 2;
        (left, Some(left))
    }
}

impl ExactSizeIterator for PairsIter<'_> {}

/// Remembers the last member seen, to prove that the next one belongs behind it.
#[derive(Default)]
struct OrderCheck<'a> {
    last: Option<(f64, &'a [u8])>,
}

impl<'a> OrderCheck<'a> {
    fn accepts(&mut self, score: f64, member: &'a [u8]) -> bool {
        let follows = self.last.is_none_or(|(last_score, last_member)| {
            last_score < score || (last_score == score && last_member < member)
        });
        self.last = Some((score, member));
        follows
    }
}

fn read_chunk<'a>(
    kind: ValueKind,
    reader: &mut ByteReader<'a>,
) -> Result<EncodedChunk<'a>, FormatError> {
    let element_count = reader.count(1, "chunk element count")?;
    let elements = reader.bytes("chunk length")?;
    Ok(EncodedChunk {
        kind,
        element_count,
        elements,
    })
}

/// Checks that `bytes` are a value of this kind in the value encoding.
///
/// # Errors
/// [`FormatError::Damaged`] with the offset in `bytes`.
pub fn validate(kind: ValueKind, bytes: &[u8]) -> Result<(), FormatError> {
    match kind {
        ValueKind::String => Ok(()),
        ValueKind::Stream => EncodedStream::parse(bytes).map(|_| ()),
        _ => EncodedCollection::parse(kind, bytes).map(|_| ()),
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
