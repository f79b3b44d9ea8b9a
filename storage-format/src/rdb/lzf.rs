//! LZF, the compression of strings in RDB: only the unpacking.
//!
//! A control byte below 32 is followed by that many bytes and one more; another one is a copy of 3 to 264 bytes from up to 8 KiB
//! before. So a packed byte becomes at most 88.

use crate::error::FormatError;
use crate::reader::ByteReader;

/// The most that a packed byte can become.
const GROWTH_MAX: usize = 88;

/// Unpacks `packed` into exactly `length` bytes.
///
/// # Errors
/// [`FormatError::Damaged`] if it is not LZF or becomes anything but `length` bytes.
pub(super) fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, FormatError> {
    const WHAT: &str = "compressed string";
    if length > packed.len().saturating_mul(GROWTH_MAX) {
        return Err(FormatError::damaged(WHAT, 0));
    }
    let mut out = Vec::with_capacity(length);
    let mut reader = ByteReader::new(packed);
    while reader.remaining() > 0 {
        let control = usize::from(reader.u8(WHAT)?);
        if control < 32 {
            out.extend_from_slice(reader.take(control + 1, WHAT)?);
        } else {
            let mut copied = (control >> 5) + 2;
            if copied == 9 {
                copied += usize::from(reader.u8(WHAT)?);
            }
            let distance = ((control & 0x1f) << 8 | usize::from(reader.u8(WHAT)?)) + 1;
            let start = out
                .len()
                .checked_sub(distance)
                .ok_or_else(|| reader.damaged(WHAT))?;
            // Byte by byte where the copy overlaps what it makes: that is how runs are packed.
            if distance >= copied {
                out.extend_from_within(start..start + copied);
            } else {
                (start..start + copied).for_each(|from| out.push(out[from]));
            }
        }
        if out.len() > length {
            return Err(reader.damaged(WHAT));
        }
    }
    if out.len() == length {
        Ok(out)
    } else {
        Err(reader.damaged(WHAT))
    }
}

#[cfg(test)]
mod tests {
    use super::unpack;

    #[test]
    fn literals_copies_and_runs() {
        assert_eq!(unpack(b"\x02abc", 3).expect("literals"), b"abc");
        assert_eq!(unpack(b"\x02abc\x20\x02", 6).expect("a copy"), b"abcabc");
        assert_eq!(
            unpack(b"\x00a\xe0\x01\x00", 11).expect("a run"),
            b"aaaaaaaaaaa"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (packed, length) in [
            (&b"\x02ab"[..], 3),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"\x20\x00", 3),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\xe0", 11),
            (b"\x00a", usize::MAX),
            (b"", 1),
        ] {
            assert!(unpack(packed, length).is_err(), "{packed:?} {length}");
        }
        assert_eq!(unpack(b"", 0), Ok(Vec::new()));
    }
}
