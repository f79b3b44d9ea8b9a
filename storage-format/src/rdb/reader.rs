//! Reading what all of RDB is made of: lengths, and strings in their four forms.

use std::borrow::Cow;

use super::lzf;
use crate::error::FormatError;
use crate::reader::ByteReader;

/// What stands where a length may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LengthOrForm {
    /// A number: of elements, or of bytes that follow.
    Length(u64),
    /// A string in a special form: integers of 1, 2 and 4 bytes, or LZF.
    Form(u8),
}

/// A cursor over RDB bytes. Strings are borrowed from the input unless they have to be unpacked.
#[derive(Debug, Clone)]
pub struct RdbReader<'a>(ByteReader<'a>);

impl<'a> RdbReader<'a> {
    /// From the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(ByteReader::new(bytes))
    }

    /// How many bytes were read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.0.position()
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.0.remaining()
    }

    /// One byte.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] at the end of the input.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, FormatError> {
        self.0.u8(what)
    }

    /// Bytes of a fixed number.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there are fewer.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FormatError> {
        self.0.array(what)
    }

    /// So many bytes.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there are fewer.
    pub fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], FormatError> {
        self.0.take(length, what)
    }

    /// Damage at the present position.
    #[must_use]
    pub fn damaged(&self, what: &'static str) -> FormatError {
        self.0.damaged(what)
    }

    /// A number that is stored as a length is, but counts nothing here: any 64 bits.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is cut off or a string's special form.
    pub fn number(&mut self, what: &'static str) -> Result<u64, FormatError> {
        let start = self.position();
        match self.length_or_form(what)? {
            LengthOrForm::Length(number) => Ok(number),
            LengthOrForm::Form(_) => Err(FormatError::damaged(what, start)),
        }
    }

    /// A number of things that take at least `least_bytes` each. An aggregate without elements is refused: Redis never has one.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is 0 or more than the bytes left can hold.
    pub fn count(&mut self, least_bytes: usize, what: &'static str) -> Result<usize, FormatError> {
        let start = self.position();
        match self.count_or_none(least_bytes, what)? {
            0 => Err(FormatError::damaged(what, start)),
            count => Ok(count),
        }
    }

    /// The same where there may be none.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is more than the bytes left can hold.
    pub fn count_or_none(
        &mut self,
        least_bytes: usize,
        what: &'static str,
    ) -> Result<usize, FormatError> {
        let start = self.position();
        let number = self.number(what)?;
        usize::try_from(number)
            .ok()
            .filter(|&count| count <= self.remaining() / least_bytes)
            .ok_or(FormatError::damaged(what, start))
    }

    /// A string in whatever form.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if it is cut off or cannot be unpacked.
    pub fn string(&mut self, what: &'static str) -> Result<Cow<'a, [u8]>, FormatError> {
        let start = self.position();
        let form = match self.length_or_form(what)? {
            LengthOrForm::Length(length) => {
                let length = usize::try_from(length).map_err(|_| self.damaged(what))?;
                return self.take(length, what).map(Cow::Borrowed);
            }
            LengthOrForm::Form(form) => form,
        };
        let integer = match form {
            0 => i64::from(i8::from_le_bytes(self.array(what)?)),
            1 => i64::from(i16::from_le_bytes(self.array(what)?)),
            2 => i64::from(i32::from_le_bytes(self.array(what)?)),
            3 => return self.compressed(what),
            _ => return Err(FormatError::damaged(what, start)),
        };
        Ok(Cow::Owned(integer.to_string().into_bytes()))
    }

    fn compressed(&mut self, what: &'static str) -> Result<Cow<'a, [u8]>, FormatError> {
        let packed_length = self.number(what)?;
        let length = self.number(what)?;
        let start = self.position();
        let (Ok(packed_length), Ok(length)) =
            (usize::try_from(packed_length), usize::try_from(length))
        else {
            return Err(self.damaged(what));
        };
        let packed = self.take(packed_length, what)?;
        lzf::unpack(packed, length)
            .map(Cow::Owned)
            .map_err(|error| error.shifted_by(start as u64))
    }

    fn length_or_form(&mut self, what: &'static str) -> Result<LengthOrForm, FormatError> {
        let start = self.position();
        let first = self.u8(what)?;
        let low = u64::from(first & 0x3f);
        Ok(match first {
            0..0x40 => LengthOrForm::Length(low),
            0x40..0x80 => LengthOrForm::Length(low << 8 | u64::from(self.u8(what)?)),
            0x80 => LengthOrForm::Length(u64::from(u32::from_be_bytes(self.array(what)?))),
            0x81 => LengthOrForm::Length(u64::from_be_bytes(self.array(what)?)),
            0xc0.. => LengthOrForm::Form(low as u8),
            _ => return Err(FormatError::damaged(what, start)),
        })
    }
}
