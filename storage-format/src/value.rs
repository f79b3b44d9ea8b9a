//! The value encoding (FORMAT.md section 2): one form of every value, for cold records, snapshots, whole-value effects and DUMP.
//!
//! A String is its raw bytes. A collection is a flags byte, its element count, its chunk count, then its chunks: chunk boundaries are
//! stored, so that one day a chunk of a huge collection can be cold while the rest is hot, and so that a value type can keep its
//! chunks in this very form and copy them in and out. How elements are divided into chunks is the writer's business.
//!
//! [`EncodedCollection::parse`] validates everything in one pass that only walks lengths; iterating afterwards cannot fail.

use crate::error::FormatError;
use crate::items::{Items, ScoredItems, put_scored as append_scored};
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

/// In the flags byte of a hash: each field is followed by its deadline (FORMAT.md section 2). No other flag is defined.
const FIELD_DEADLINES_FLAG: u8 = 0x01;

/// The latest deadline that a field can have, in Unix milliseconds: 48 bits, the year 10889.
pub const FIELD_DEADLINE_MAX_MS: u64 = (1 << 48) - 1;

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

/// Appends a field of a hash with its value and its deadline (Unix milliseconds, at most [`FIELD_DEADLINE_MAX_MS`]; 0: none), as a
/// chunk of a hash [with field deadlines](CollectionWriter::begin_with_field_deadlines) holds them.
#[inline]
pub fn put_field(out: &mut Vec<u8>, field: &[u8], value: &[u8], deadline_ms: u64) {
    debug_assert!(deadline_ms <= FIELD_DEADLINE_MAX_MS);
    put_pair(out, field, value);
    put_varint(out, deadline_ms);
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
        Self::begin_flagged(out, 0, element_count, chunk_count)
    }

    /// As [`CollectionWriter::begin`], for a hash whose fields are written with [`put_field`].
    #[must_use]
    pub fn begin_with_field_deadlines(
        out: &'a mut Vec<u8>,
        element_count: u64,
        chunk_count: u64,
    ) -> Self {
        Self::begin_flagged(out, FIELD_DEADLINES_FLAG, element_count, chunk_count)
    }

    fn begin_flagged(
        out: &'a mut Vec<u8>,
        flags: u8,
        element_count: u64,
        chunk_count: u64,
    ) -> Self {
        out.push(flags);
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

/// What an element consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ElementLayout {
    kind: ValueKind,
    /// Of a hash: each field is followed by its deadline.
    has_deadlines: bool,
}

impl ElementLayout {
    fn read(kind: ValueKind, reader: &mut ByteReader<'_>) -> Result<Self, FormatError> {
        let has_deadlines = match reader.u8("collection flags")? {
            0 => false,
            FIELD_DEADLINES_FLAG if kind == ValueKind::Hash => true,
            _ => return Err(FormatError::damaged("collection flags", 0)),
        };
        Ok(Self {
            kind,
            has_deadlines,
        })
    }
}

/// A validated collection, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedCollection<'a> {
    layout: ElementLayout,
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
        let layout = ElementLayout::read(kind, &mut reader)?;
        let element_count = reader.count(1, "element count")?;
        let chunk_count = reader.count(1, "chunk count")?;
        let start = reader.position();
        let mut elements_left = element_count;
        let mut order = OrderCheck::default();
        for _ in 0..chunk_count {
            let chunk_start = reader.position();
            let chunk = read_chunk(layout, &mut reader)?;
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
            layout,
            element_count,
            chunk_count,
            chunks: reader.since(start),
        })
    }

    /// The kind that it was parsed as.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        self.layout.kind
    }

    /// Whether it is a hash of the form that has a deadline behind each field.
    #[must_use]
    pub fn has_field_deadlines(&self) -> bool {
        self.layout.has_deadlines
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
            layout: self.layout,
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

    /// All fields of a hash, each with its value and its deadline (Unix milliseconds; 0: none).
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8], u64)> + use<'a> {
        self.chunks().flat_map(|chunk| chunk.fields())
    }

    /// All members of a sorted set, each behind its score, in (score, member) order.
    pub fn scored(&self) -> impl Iterator<Item = (f64, &'a [u8])> + use<'a> {
        self.chunks().flat_map(|chunk| chunk.scored().iter())
    }
}

/// Iterates over the chunks of an [`EncodedCollection`].
#[derive(Debug, Clone)]
pub struct Chunks<'a> {
    layout: ElementLayout,
    left: usize,
    reader: ByteReader<'a>,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = EncodedChunk<'a>;

    fn next(&mut self) -> Option<EncodedChunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        read_chunk(self.layout, &mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Chunks<'_> {}

/// One validated chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedChunk<'a> {
    layout: ElementLayout,
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

    /// The byte strings of a list's or a set's chunk: items or members. None for the other types.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        match self.layout.kind {
            ValueKind::List | ValueKind::Set => Items::of_region(self.element_count, self.elements),
            ValueKind::String | ValueKind::SortedSet | ValueKind::Hash | ValueKind::Stream => {
                Items::of_region(0, &[])
            }
        }
    }

    /// The fields with their values. None unless it is a hash's chunk.
    #[must_use]
    pub fn pairs(&self) -> PairsIter<'a> {
        PairsIter(self.fields())
    }

    /// The fields with their values and deadlines (0: none). None unless it is a hash's chunk.
    #[must_use]
    pub fn fields(&self) -> FieldsIter<'a> {
        let is_hash = self.layout.kind == ValueKind::Hash;
        FieldsIter {
            left: if is_hash { self.element_count } else { 0 },
            has_deadlines: self.layout.has_deadlines,
            reader: ByteReader::new(self.elements),
        }
    }

    /// The members with their scores. None unless it is a sorted set's chunk.
    #[must_use]
    pub fn scored(&self) -> ScoredItems<'a> {
        if self.layout.kind == ValueKind::SortedSet {
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
            match self.layout.kind {
                ValueKind::Hash => {
                    reader.bytes("hash value")?;
                    if self.layout.has_deadlines {
                        field_deadline(&mut reader)?;
                    }
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

/// Iterates over the fields of a hash's chunk, with values and deadlines.
#[derive(Debug, Clone)]
pub struct FieldsIter<'a> {
    left: usize,
    has_deadlines: bool,
    reader: ByteReader<'a>,
}

impl<'a> Iterator for FieldsIter<'a> {
    type Item = (&'a [u8], &'a [u8], u64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let field = self.reader.bytes("element").ok()?;
        let value = self.reader.bytes("hash value").ok()?;
        let deadline_ms = if self.has_deadlines {
            field_deadline(&mut self.reader).ok()?
        } else {
            0
        };
        Some((field, value, deadline_ms))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for FieldsIter<'_> {}

/// Iterates over the fields of a hash's chunk, with values.
#[derive(Debug, Clone)]
pub struct PairsIter<'a>(FieldsIter<'a>);

impl<'a> Iterator for PairsIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(field, value, _)| (field, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for PairsIter<'_> {}

pub(crate) fn field_deadline(reader: &mut ByteReader<'_>) -> Result<u64, FormatError> {
    let start = reader.position();
    let deadline_ms = reader.varint("field deadline")?;
    if deadline_ms <= FIELD_DEADLINE_MAX_MS {
        Ok(deadline_ms)
    } else {
        Err(FormatError::damaged("field deadline", start))
    }
}

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
    layout: ElementLayout,
    reader: &mut ByteReader<'a>,
) -> Result<EncodedChunk<'a>, FormatError> {
    let element_count = reader.count(1, "chunk element count")?;
    let elements = reader.bytes("chunk length")?;
    Ok(EncodedChunk {
        layout,
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
