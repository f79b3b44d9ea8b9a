//! Lists of IDs in effects: either borrowed from a command, or a region of a log record that was validated when it was decoded.

use std::fmt;

use super::StreamId;
use crate::error::FormatError;
use crate::reader::ByteReader;
use crate::varint::put_varint;

/// What an [`IdList`] lists: IDs, or IDs with the number of their deliveries.
pub trait IdItem: Copy + PartialEq + fmt::Debug {
    /// Fewest bytes of an encoded one.
    const LEAST_BYTES: usize;
    /// Most bytes of an encoded one.
    const MOST_BYTES: usize;
    /// Appends it.
    fn put(self, out: &mut Vec<u8>);
    /// Reads it from the start of `region`; also tells how many bytes it took.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there is not one.
    fn read(region: &[u8]) -> Result<(Self, usize), FormatError>;
}

impl IdItem for StreamId {
    const LEAST_BYTES: usize = 2;
    const MOST_BYTES: usize = 20;

    fn put(self, out: &mut Vec<u8>) {
        StreamId::put(self, out);
    }

    fn read(region: &[u8]) -> Result<(Self, usize), FormatError> {
        let mut reader = ByteReader::new(region);
        let id = StreamId::read(&mut reader)?;
        Ok((id, reader.position()))
    }
}

impl IdItem for (StreamId, u64) {
    const LEAST_BYTES: usize = 3;
    const MOST_BYTES: usize = 30;

    fn put(self, out: &mut Vec<u8>) {
        self.0.put(out);
        put_varint(out, self.1);
    }

    fn read(region: &[u8]) -> Result<(Self, usize), FormatError> {
        let mut reader = ByteReader::new(region);
        let id = StreamId::read(&mut reader)?;
        let deliveries = reader.varint("stream deliveries")?;
        Ok(((id, deliveries), reader.position()))
    }
}

/// A list of IDs.
#[derive(Clone, Copy)]
pub struct IdList<'a, T>(Form<'a, T>);

#[derive(Clone, Copy)]
enum Form<'a, T> {
    Slice(&'a [T]),
    /// `region` holds exactly `count` items: checked when it was made.
    Encoded {
        count: usize,
        region: &'a [u8],
    },
}

impl<'a, T: IdItem> IdList<'a, T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Form::Slice(items) => items.len(),
            Form::Encoded { count, .. } => count,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items in order.
    #[must_use]
    pub fn iter(&self) -> IdListIter<'a, T> {
        IdListIter(self.0)
    }

    /// At most so many bytes when encoded.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        crate::varint::MAX_VARINT_LENGTH + self.len() * T::MOST_BYTES
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        match self.0 {
            Form::Slice(items) => items.iter().for_each(|item| item.put(out)),
            Form::Encoded { region, .. } => out.extend_from_slice(region),
        }
    }

    pub(crate) fn read(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        let count = reader.count(T::LEAST_BYTES, "effect ID count")?;
        let start = reader.position();
        for _ in 0..count {
            let at = reader.position();
            let (_, length) =
                T::read(reader.rest()).map_err(|error| error.shifted_by(at as u64))?;
            reader.take(length, "effect ID")?;
        }
        let region = reader.since(start);
        Ok(Self(Form::Encoded { count, region }))
    }
}

impl<'a, T> From<&'a [T]> for IdList<'a, T> {
    fn from(items: &'a [T]) -> Self {
        Self(Form::Slice(items))
    }
}

impl<T: IdItem> PartialEq for IdList<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: IdItem> fmt::Debug for IdList<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

/// Iterates over an [`IdList`].
#[derive(Clone, Copy)]
pub struct IdListIter<'a, T>(Form<'a, T>);

impl<T: IdItem> Iterator for IdListIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Form::Slice(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(*first)
            }
            Form::Encoded { count, region } => {
                *count = count.checked_sub(1)?;
                let (item, length) = T::read(region).ok()?;
                *region = &region[length..];
                Some(item)
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = IdList(self.0).len();
        (left, Some(left))
    }
}

impl<T: IdItem> ExactSizeIterator for IdListIter<'_, T> {}

impl<T: IdItem> fmt::Debug for IdListIter<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        IdList(self.0).fmt(formatter)
    }
}
