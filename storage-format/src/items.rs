//! Lists of byte strings, with or without scores: either borrowed from a command's arguments, or a region of a log record or of a
//! value's chunk that was validated when it was decoded. Both iterate alike, so `apply` never copies and never fails on them.

use std::fmt;

use crate::error::FormatError;
use crate::reader::{ByteReader, put_bytes};
use crate::varint::{put_varint, read_varint};

/// A list of byte strings.
#[derive(Clone, Copy)]
pub struct Items<'a>(ItemsForm<'a>);

#[derive(Clone, Copy)]
enum ItemsForm<'a> {
    Slice(&'a [&'a [u8]]),
    /// `region` holds exactly `count` items, each a varint length and its bytes: checked when it was made.
    Encoded {
        count: usize,
        region: &'a [u8],
    },
}

impl<'a> Items<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            ItemsForm::Slice(items) => items.len(),
            ItemsForm::Encoded { count, .. } => count,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items in order.
    #[must_use]
    pub fn iter(&self) -> ItemsIter<'a> {
        ItemsIter { form: self.0 }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        match self.0 {
            ItemsForm::Slice(items) => items.iter().for_each(|item| put_bytes(out, item)),
            ItemsForm::Encoded { region, .. } => out.extend_from_slice(region),
        }
    }

    pub(crate) fn read(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        let count = reader.count(1, "effect item count")?;
        let start = reader.position();
        for _ in 0..count {
            reader.bytes("effect item")?;
        }
        Ok(Self::of_region(count, reader.since(start)))
    }

    /// `region` must hold exactly `count` valid items.
    pub(crate) fn of_region(count: usize, region: &'a [u8]) -> Self {
        Self(ItemsForm::Encoded { count, region })
    }
}

impl<'a> From<&'a [&'a [u8]]> for Items<'a> {
    fn from(items: &'a [&'a [u8]]) -> Self {
        Self(ItemsForm::Slice(items))
    }
}

impl<'a, const N: usize> From<&'a [&'a [u8]; N]> for Items<'a> {
    fn from(items: &'a [&'a [u8]; N]) -> Self {
        Self(ItemsForm::Slice(items))
    }
}

impl<'a> IntoIterator for Items<'a> {
    type Item = &'a [u8];
    type IntoIter = ItemsIter<'a>;

    fn into_iter(self) -> ItemsIter<'a> {
        self.iter()
    }
}

impl PartialEq for Items<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Items<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.iter().map(|item| item.escape_ascii().to_string()))
            .finish()
    }
}

/// Iterates over [`Items`].
#[derive(Clone)]
pub struct ItemsIter<'a> {
    form: ItemsForm<'a>,
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.form {
            ItemsForm::Slice(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(first)
            }
            ItemsForm::Encoded { count, region } => {
                let (item, rest) = split_item(region)?;
                *region = rest;
                *count -= 1;
                Some(item)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = Items(self.form).len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for ItemsIter<'_> {}

impl fmt::Debug for ItemsIter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Items(self.form).fmt(formatter)
    }
}

/// The item (length and bytes) at the start of a validated region, and what is behind it. `None` at its end.
#[inline]
pub(crate) fn split_item(region: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, prefix) = read_varint(region)?;
    region
        .get(prefix..)?
        .split_at_checked(usize::try_from(length).ok()?)
}

/// A list of members with their scores.
#[derive(Clone, Copy)]
pub struct ScoredItems<'a>(ScoredForm<'a>);

#[derive(Clone, Copy)]
enum ScoredForm<'a> {
    Slice(&'a [(f64, &'a [u8])]),
    /// `region` holds exactly `count` members, each a varint length, its bytes and its score (8 bytes).
    Encoded {
        count: usize,
        region: &'a [u8],
    },
}

impl<'a> ScoredItems<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            ScoredForm::Slice(items) => items.len(),
            ScoredForm::Encoded { count, .. } => count,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Score and member of each, in order.
    #[must_use]
    pub fn iter(&self) -> ScoredItemsIter<'a> {
        ScoredItemsIter { form: self.0 }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        match self.0 {
            ScoredForm::Slice(items) => {
                for (score, member) in items {
                    put_scored(out, *score, member);
                }
            }
            ScoredForm::Encoded { region, .. } => out.extend_from_slice(region),
        }
    }

    pub(crate) fn read(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        let count = reader.count(9, "effect member count")?;
        let start = reader.position();
        for _ in 0..count {
            reader.bytes("effect member")?;
            reader.score("effect score")?;
        }
        Ok(Self::of_region(count, reader.since(start)))
    }

    /// `region` must hold exactly `count` valid members with their scores.
    pub(crate) fn of_region(count: usize, region: &'a [u8]) -> Self {
        Self(ScoredForm::Encoded { count, region })
    }
}

impl<'a> From<&'a [(f64, &'a [u8])]> for ScoredItems<'a> {
    fn from(items: &'a [(f64, &'a [u8])]) -> Self {
        Self(ScoredForm::Slice(items))
    }
}

impl<'a> IntoIterator for ScoredItems<'a> {
    type Item = (f64, &'a [u8]);
    type IntoIter = ScoredItemsIter<'a>;

    fn into_iter(self) -> ScoredItemsIter<'a> {
        self.iter()
    }
}

impl PartialEq for ScoredItems<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for ScoredItems<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self
            .iter()
            .map(|(score, member)| (score, member.escape_ascii().to_string()));
        formatter.debug_list().entries(entries).finish()
    }
}

/// Appends a member and its score, which must not be NaN: no reader accepts it.
#[inline]
pub(crate) fn put_scored(out: &mut Vec<u8>, score: f64, member: &[u8]) {
    debug_assert!(!score.is_nan(), "a score is a number");
    put_bytes(out, member);
    out.extend_from_slice(&score.to_le_bytes());
}

/// Iterates over [`ScoredItems`].
#[derive(Clone)]
pub struct ScoredItemsIter<'a> {
    form: ScoredForm<'a>,
}

impl<'a> Iterator for ScoredItemsIter<'a> {
    type Item = (f64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(f64, &'a [u8])> {
        match &mut self.form {
            ScoredForm::Slice(items) => {
                let (&first, rest) = items.split_first()?;
                *items = rest;
                Some(first)
            }
            ScoredForm::Encoded { count, region } => {
                let (member, rest) = split_item(region)?;
                let (score, rest) = rest.split_first_chunk::<8>()?;
                *region = rest;
                *count -= 1;
                Some((f64::from_le_bytes(*score), member))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = ScoredItems(self.form).len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for ScoredItemsIter<'_> {}

impl fmt::Debug for ScoredItemsIter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        ScoredItems(self.form).fmt(formatter)
    }
}
