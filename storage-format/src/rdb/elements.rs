//! What was read of a collection, before it is written in the value encoding: all byte strings in one arena, with scores or deadlines
//! beside them.

use std::collections::HashSet;

use crate::error::FormatError;
use crate::value::{
    CollectionWriter, FIELD_DEADLINE_MAX_MS, put_field, put_item, put_pair, put_scored,
};

/// Elements of a chunk, about what the server keeps in one.
const CHUNK_ELEMENTS: usize = 128;

/// The arena.
#[derive(Default)]
pub(super) struct Elements {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Elements {
    /// Adds a byte string.
    pub(super) fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push(self.bytes.len());
    }

    /// Adds an integer's text.
    pub(super) fn push_integer(&mut self, integer: i64) {
        use std::io::Write;
        let _infallible = write!(self.bytes, "{integer}");
        self.ends.push(self.bytes.len());
    }

    /// How many byte strings.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The byte string number `index`, from 0.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |former| self.ends[former]);
        &self.bytes[start..self.ends[index]]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// A list of all.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there is none.
    pub(super) fn into_list(self) -> Result<Vec<u8>, FormatError> {
        let count = not_empty(self.len())?;
        Ok(encode(0..count, false, |out, index| {
            put_item(out, self.get(index))
        }))
    }

    /// A set of all.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there is none, or one twice.
    pub(super) fn into_set(self) -> Result<Vec<u8>, FormatError> {
        all_distinct(self.iter())?;
        self.into_list()
    }

    /// A hash of field, value, field, value …, with the deadlines of the fields if there is any but 0.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there is none, one field twice, a field without a value, or a deadline out of range.
    pub(super) fn into_hash(self, deadlines_ms: &[u64]) -> Result<Vec<u8>, FormatError> {
        if !self.len().is_multiple_of(2) {
            return Err(FormatError::damaged("pairs", 0));
        }
        let count = not_empty(self.len() / 2)?;
        all_distinct(self.iter().step_by(2))?;
        let pair = |index: usize| (self.get(index * 2), self.get(index * 2 + 1));
        if deadlines_ms.iter().all(|deadline_ms| *deadline_ms == 0) {
            return Ok(encode(0..count, false, |out, index| {
                let (field, value) = pair(index);
                put_pair(out, field, value);
            }));
        }
        let is_valid = |deadline_ms: &u64| *deadline_ms <= FIELD_DEADLINE_MAX_MS;
        if deadlines_ms.len() != count || !deadlines_ms.iter().all(is_valid) {
            return Err(FormatError::damaged("field deadline", 0));
        }
        Ok(encode(0..count, true, |out, index| {
            let (field, value) = pair(index);
            put_field(out, field, value, deadlines_ms[index]);
        }))
    }

    /// A sorted set of all, the scores being in the same order.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there is none, one twice, or a score that is not a number.
    pub(super) fn into_sorted_set(self, scores: &[f64]) -> Result<Vec<u8>, FormatError> {
        let count = not_empty(self.len())?;
        if scores.len() != count || scores.iter().any(|score| score.is_nan()) {
            return Err(FormatError::damaged("score", 0));
        }
        all_distinct(self.iter())?;
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_unstable_by(|&left, &right| {
            let by_score = scores[left].partial_cmp(&scores[right]);
            by_score
                .unwrap_or(std::cmp::Ordering::Equal)
                .then_with(|| self.get(left).cmp(self.get(right)))
        });
        let order = order.into_iter();
        Ok(encode(order, false, |out, index| {
            put_scored(out, scores[index], self.get(index))
        }))
    }
}

fn not_empty(count: usize) -> Result<usize, FormatError> {
    if count > 0 {
        Ok(count)
    } else {
        Err(FormatError::damaged("empty collection", 0))
    }
}

/// The set's hash is seeded at random, so that nobody can choose members that collide.
fn all_distinct<'a>(members: impl Iterator<Item = &'a [u8]>) -> Result<(), FormatError> {
    let mut seen = HashSet::new();
    for member in members {
        if !seen.insert(member) {
            return Err(FormatError::damaged("distinct members", 0));
        }
    }
    Ok(())
}

/// Writes the elements of these numbers, which are not none, in this order.
fn encode(
    mut order: impl ExactSizeIterator<Item = usize>,
    with_deadlines: bool,
    put: impl Fn(&mut Vec<u8>, usize),
) -> Vec<u8> {
    let mut out = Vec::new();
    let chunks = order.len().div_ceil(CHUNK_ELEMENTS);
    let begin = if with_deadlines {
        CollectionWriter::begin_with_field_deadlines
    } else {
        CollectionWriter::begin
    };
    let mut writer = begin(&mut out, order.len() as u64, chunks as u64);
    while order.len() > 0 {
        let count = order.len().min(CHUNK_ELEMENTS);
        writer.chunk(count as u64, |out| {
            order.by_ref().take(count).for_each(|index| put(out, index))
        });
    }
    writer.finish();
    out
}
