//! A cursor over untrusted bytes: every read is checked, every failure says what was being read and where.

use crate::LSN_LIMIT;
use crate::error::FormatError;
use crate::varint::read_varint;

/// The cursor. It borrows; what it hands out lives as long as the input.
#[derive(Debug, Clone)]
pub(crate) struct ByteReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> ByteReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// What has been read since the cursor stood at `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.position]
    }

    pub(crate) fn damaged(&self, what: &'static str) -> FormatError {
        FormatError::damaged(what, self.position)
    }

    pub(crate) fn take(
        &mut self,
        length: usize,
        what: &'static str,
    ) -> Result<&'a [u8], FormatError> {
        let rest = &self.bytes[self.position..];
        let taken = rest.get(..length).ok_or_else(|| self.damaged(what))?;
        self.position += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], FormatError> {
        let rest = &self.bytes[self.position..];
        let taken = *rest.first_chunk::<N>().ok_or_else(|| self.damaged(what))?;
        self.position += N;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, FormatError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, FormatError> {
        let (number, length) =
            read_varint(&self.bytes[self.position..]).ok_or_else(|| self.damaged(what))?;
        self.position += length;
        Ok(number)
    }

    /// A number that must fit in 32 bits.
    pub(crate) fn varint_u32(&mut self, what: &'static str) -> Result<u32, FormatError> {
        let start = self.position;
        let number = self.varint(what)?;
        u32::try_from(number).map_err(|_| FormatError::damaged(what, start))
    }

    /// An LSN: below [`LSN_LIMIT`].
    pub(crate) fn lsn(&mut self, what: &'static str) -> Result<u64, FormatError> {
        let start = self.position;
        let lsn = self.varint(what)?;
        if lsn < LSN_LIMIT {
            Ok(lsn)
        } else {
            Err(FormatError::damaged(what, start))
        }
    }

    /// A count of things that take at least `least_bytes` each: refused if that many cannot be in what is left.
    pub(crate) fn count(
        &mut self,
        least_bytes: usize,
        what: &'static str,
    ) -> Result<usize, FormatError> {
        let start = self.position;
        let number = self.varint(what)?;
        usize::try_from(number)
            .ok()
            .filter(|&count| count <= self.remaining() / least_bytes)
            .ok_or_else(|| FormatError::damaged(what, start))
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], FormatError> {
        let length = self.count(1, what)?;
        self.take(length, what)
    }

    pub(crate) fn score(&mut self, what: &'static str) -> Result<f64, FormatError> {
        let start = self.position;
        let score = f64::from_le_bytes(self.array(what)?);
        if score.is_nan() {
            Err(FormatError::damaged(what, start))
        } else {
            Ok(score)
        }
    }

    pub(crate) fn finish(&self, what: &'static str) -> Result<(), FormatError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(self.damaged(what))
        }
    }
}

/// Appends `bytes` behind their length: what [`ByteReader::bytes`] reads.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    crate::varint::put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
