//! Variable-length unsigned integers (LEB128, FORMAT.md section 1.1): seven bits a byte, least significant first, the high bit set on all but the last.
//!
//! There is exactly one encoding of each number: a longer one is refused, so that equal values have equal bytes.

/// The most bytes that one number takes.
pub const MAX_VARINT_LENGTH: usize = 10;

/// Appends `number` to `out`.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// How many bytes [`put_varint`] takes for `number`: 1 to 10.
#[inline]
#[must_use]
pub fn varint_length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// Reads the number at the start of `bytes`: the number and how many bytes it took. `None` if the bytes end too early, if the
/// number does not fit in 64 bits, or if it is not the shortest encoding.
#[inline]
#[must_use]
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    let mut number = u64::from(first & 0x7f);
    for (index, &byte) in bytes.iter().enumerate().take(MAX_VARINT_LENGTH).skip(1) {
        let bits = u64::from(byte & 0x7f);
        if index == MAX_VARINT_LENGTH - 1 && bits > 1 {
            return None;
        }
        number |= bits << (7 * index);
        if byte < 0x80 {
            return (byte != 0).then_some((number, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn boundaries_have_the_documented_bytes() {
        let cases: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 1]),
            (
                u64::MAX,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            ),
        ];
        for (number, expected) in cases {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out, expected);
            assert_eq!(read_varint(expected), Some((number, expected.len())));
            assert_eq!(varint_length(number), expected.len());
        }
    }

    #[test]
    fn refuses_what_put_varint_never_writes() {
        let cases: [&[u8]; 5] = [
            &[],
            &[0x80],
            &[0x80, 0],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0x80; 11],
        ];
        for bytes in cases {
            assert_eq!(read_varint(bytes), None, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(number: u64, behind: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            let length = out.len();
            prop_assert_eq!(length, varint_length(number));
            out.extend_from_slice(&behind);
            prop_assert_eq!(read_varint(&out), Some((number, length)));
        }
    }
}
