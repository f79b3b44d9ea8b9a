//! Bits of a text, taken 64 at a time. Bit 0 is the highest bit of the first byte, as in Redis.
//!
//! A range is cut into a first byte, whole words and a last byte; what is outside the range is masked. Counting and searching
//! thus cost a word operation for eight bytes, whatever the range's ends.

use std::ops::RangeInclusive;

/// Bits in a byte, as positions count.
pub const BYTE_BITS: u64 = 8;

/// How many bits are set in the bits of `range`, which lies within the text.
pub fn count(text: &[u8], range: RangeInclusive<u64>) -> u64 {
    let (first, last) = (*range.start(), *range.end());
    let (first_byte, last_byte) = ((first / BYTE_BITS) as usize, (last / BYTE_BITS) as usize);
    let before = text[first_byte] & !(0xff >> (first % BYTE_BITS));
    let behind = text[last_byte] & !end_mask(last);
    let outside = before.count_ones() + behind.count_ones();
    count_bytes(&text[first_byte..=last_byte]) - u64::from(outside)
}

fn count_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words
        .iter()
        .map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()))
        .sum();
    in_words
        + rest
            .iter()
            .map(|byte| u64::from(byte.count_ones()))
            .sum::<u64>()
}

/// The bits of a byte up to and including that of `position`.
fn end_mask(position: u64) -> u8 {
    0xff << (BYTE_BITS - 1 - position % BYTE_BITS)
}

/// The position of the first bit in `range` that is set, or, if `wanted` is false, clear.
pub fn find(text: &[u8], range: RangeInclusive<u64>, wanted: bool) -> Option<u64> {
    let (first, last) = (*range.start(), *range.end());
    let (first_byte, last_byte) = ((first / BYTE_BITS) as usize, (last / BYTE_BITS) as usize);
    // Seen through `flip` every wanted bit is a one.
    let flip = if wanted { 0 } else { 0xff };
    let masked = |index: usize| {
        let mut byte = text[index] ^ flip;
        if index == first_byte {
            byte &= 0xff >> (first % BYTE_BITS);
        }
        if index == last_byte {
            byte &= end_mask(last);
        }
        byte
    };
    let position = |index: usize| {
        let byte = masked(index);
        let in_byte = u64::from(byte.leading_zeros());
        (byte != 0).then_some(index as u64 * BYTE_BITS + in_byte)
    };
    position(first_byte)
        .or_else(|| {
            let inner = text.get(first_byte + 1..last_byte)?;
            // A byte that equals `flip` has no wanted bit.
            let index = first_byte + 1 + first_other_byte(inner, flip)?;
            position(index)
        })
        .or_else(|| position(last_byte))
}

/// The index of the first byte that is not `byte`.
fn first_other_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words = words.iter().position(|word| *word != [byte; 8]);
    let from = in_words.unwrap_or(words.len()) * 8;
    let tail = if in_words.is_some() {
        &bytes[from..]
    } else {
        rest
    };
    let in_tail = tail.iter().position(|other| *other != byte)?;
    Some(from + in_tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(text: &[u8], position: u64) -> bool {
        text[(position / 8) as usize] >> (7 - position % 8) & 1 == 1
    }

    proptest! {
        #[test]
        fn counting_and_searching_are_those_of_single_bits(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(255u8), any::<u8>()], 1..40),
            ends: (u64, u64),
            wanted: bool,
        ) {
            let bits = bytes.len() as u64 * 8;
            let (first, last) = (ends.0 % bits, ends.1 % bits);
            let (first, last) = (first.min(last), first.max(last));
            let counted = (first..=last).filter(|position| bit(&bytes, *position)).count() as u64;
            prop_assert_eq!(count(&bytes, first..=last), counted);
            let found = (first..=last).find(|position| bit(&bytes, *position) == wanted);
            prop_assert_eq!(find(&bytes, first..=last, wanted), found);
        }
    }
}
