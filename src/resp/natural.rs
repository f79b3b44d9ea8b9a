//! Natural numbers of any size, with just the operations that reading and printing a long double exactly needs.
//!
//! Numbers are at most some 40,000 bits long here (5,120 digits times the highest power of ten), and mostly two words.

use std::cmp::Ordering;

/// A natural number: 64-bit words, the lowest first, the highest not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Natural(Vec<u64>);

/// The highest power of ten that fits in a word, and its number of zeros.
const TEN_TO_19: u64 = 10u64.pow(19);

impl From<u64> for Natural {
    fn from(value: u64) -> Natural {
        Natural(if value == 0 { Vec::new() } else { vec![value] })
    }
}

impl Natural {
    /// 0.
    pub fn zero() -> Natural {
        Natural(Vec::new())
    }

    /// Whether it is 0.
    pub fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// The number, if it fits in a word.
    pub fn to_word(&self) -> Option<u64> {
        match self.0.as_slice() {
            [] => Some(0),
            [word] => Some(*word),
            _ => None,
        }
    }

    /// Length in bits; 0 has none.
    pub fn bit_length(&self) -> usize {
        self.0
            .last()
            .map_or(0, |top| self.0.len() * 64 - top.leading_zeros() as usize)
    }

    /// `self * factor + addend`.
    pub fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = u128::from(addend);
        for word in &mut self.0 {
            let product = u128::from(*word) * u128::from(factor) + carry;
            *word = product as u64;
            carry = product >> 64;
        }
        if carry > 0 {
            self.0.push(carry as u64);
        }
    }

    /// `self * 5^power`.
    pub fn multiply_by_power_of_five(&mut self, power: u64) {
        /// The highest power of five that fits in a word.
        const STEP: u64 = 27;
        for _ in 0..power / STEP {
            self.multiply_add(5u64.pow(STEP as u32), 0);
        }
        self.multiply_add(5u64.pow((power % STEP) as u32), 0);
    }

    /// `self * 2^bits`.
    pub fn shift_left(&mut self, bits: usize) {
        if self.is_zero() {
            return;
        }
        self.multiply_add(1 << (bits % 64), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, bits / 64));
    }

    /// Divides by `divisor`, where the quotient has at most `quotient_bits` (up to 127): the quotient, and whether
    /// nothing remains.
    pub fn divide_small_quotient(
        mut self,
        mut divisor: Natural,
        quotient_bits: usize,
    ) -> (u128, bool) {
        divisor.shift_left(quotient_bits);
        let mut quotient = 0;
        for _ in 0..=quotient_bits {
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
            divisor.halve();
        }
        (quotient, self.is_zero())
    }

    /// Its decimal digits.
    pub fn into_decimal(mut self) -> Vec<u8> {
        let mut groups = Vec::new();
        while !self.is_zero() {
            groups.push(self.divide_by_ten_to_19());
        }
        let Some(top) = groups.pop() else {
            return b"0".to_vec();
        };
        let mut digits = top.to_string();
        for group in groups.iter().rev() {
            digits.push_str(&format!("{group:019}"));
        }
        digits.into_bytes()
    }

    fn compare(&self, other: &Natural) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `self - other`, which must not be larger.
    fn subtract(&mut self, other: &Natural) {
        let mut borrow = false;
        for (index, word) in self.0.iter_mut().enumerate() {
            let (difference, first) =
                word.overflowing_sub(other.0.get(index).copied().unwrap_or(0));
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *word = difference;
            borrow = first || second;
        }
        self.trim();
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for word in self.0.iter_mut().rev() {
            let lowest = *word << 63;
            *word = *word >> 1 | carry;
            carry = lowest;
        }
        self.trim();
    }

    /// Divides by 10^19 and returns the remainder.
    fn divide_by_ten_to_19(&mut self) -> u64 {
        let mut remainder = 0u128;
        for word in self.0.iter_mut().rev() {
            let value = remainder << 64 | u128::from(*word);
            *word = (value / u128::from(TEN_TO_19)) as u64;
            remainder = value % u128::from(TEN_TO_19);
        }
        self.trim();
        remainder as u64
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn natural(value: u128) -> Natural {
        let mut natural = Natural(vec![value as u64, (value >> 64) as u64]);
        natural.trim();
        natural
    }

    #[test]
    fn large_numbers_print() {
        let mut number = Natural::from(1);
        number.multiply_by_power_of_five(100);
        number.shift_left(100);
        assert_eq!(
            number.into_decimal(),
            format!("1{}", "0".repeat(100)).into_bytes()
        );
        assert_eq!(Natural::zero().into_decimal(), b"0");
    }

    proptest! {
        #[test]
        fn agrees_with_u128(left: u128, right: u64, shift in 0usize..60) {
            prop_assert_eq!(natural(left).into_decimal(), left.to_string().into_bytes());
            prop_assert_eq!(natural(left).bit_length(), 128 - left.leading_zeros() as usize);
            let half = left >> 64;
            let mut product = natural(half);
            product.multiply_add(right, 7);
            prop_assert_eq!(product, natural(half.saturating_mul(u128::from(right)) + 7));
            let mut shifted = natural(half);
            shifted.shift_left(shift);
            prop_assert_eq!(shifted, natural(half << shift));
        }

        #[test]
        fn quotients_agree_with_u128(number: u128, divisor in 1u64.., shift in 0u32..64) {
            let number = number >> shift >> 2;
            let divisor = u128::from(divisor) | 1 << 63;
            let (quotient, exact) = natural(number).divide_small_quotient(natural(divisor), 66);
            prop_assert_eq!((quotient, exact), (number / divisor, number.is_multiple_of(divisor)));
        }
    }
}
