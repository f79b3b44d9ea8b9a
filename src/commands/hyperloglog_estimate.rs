//! From elements to registers, and from registers to an estimate.
//!
//! An element's hash (MurmurHash64A, with Redis's seed) gives a register by its lowest 14 bits, and a value by the number of zeros
//! behind them. The estimator is Otmar Ertl's ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), as in Redis
//! since 5.0; it needs only how often each value occurs. Standard error 0.81 %.

use super::hyperloglog_format::{REGISTERS, Registers};

const INDEX_BITS: u32 = REGISTERS.trailing_zeros();
/// The highest value that a hash of 64 bits can give, less one.
const VALUE_BITS: u32 = 64 - INDEX_BITS;
const SEED: u64 = 0xadc8_3b19;
/// 1 / (2 ln 2).
const ALPHA_INFINITY: f64 = 0.721_347_520_444_481_7;

/// Austin Appleby's MurmurHash64A, little endian.
fn murmur_hash(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mix = |word: u64| {
        let word = word.wrapping_mul(MULTIPLIER);
        (word ^ word >> SHIFT).wrapping_mul(MULTIPLIER)
    };
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks();
    for word in words {
        hash = (hash ^ mix(u64::from_le_bytes(*word))).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}

/// The register of an element, and the value it has to have at least.
pub fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur_hash(element);
    let rest = hash >> INDEX_BITS | 1 << VALUE_BITS;
    let index = (hash & (REGISTERS as u64 - 1)) as usize;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// About how many distinct elements made these registers.
pub fn estimate(registers: &Registers) -> u64 {
    let mut occurrences = [0u32; 64];
    for value in registers.values() {
        occurrences[usize::from(value & 63)] += 1;
    }
    let total = REGISTERS as f64;
    let highest = VALUE_BITS as usize + 1;
    let mut sum = total * tau((total - f64::from(occurrences[highest])) / total);
    for count in occurrences[1..highest].iter().rev() {
        sum = (sum + f64::from(*count)) * 0.5;
    }
    sum += total * sigma(f64::from(occurrences[0]) / total);
    (ALPHA_INFINITY * total * total / sum).round() as u64
}

/// The share of registers that are at their highest.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut sum) = (1.0, 1.0 - x);
    loop {
        let former = sum;
        x = x.sqrt();
        y *= 0.5;
        sum -= (1.0 - x).powi(2) * y;
        if sum == former {
            return sum / 3.0;
        }
    }
}

/// The share of registers that are zero.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut sum) = (1.0, x);
    loop {
        let former = sum;
        x *= x;
        sum += x * y;
        y += y;
        if sum == former {
            return sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_within_a_few_percent() {
        let mut registers = Registers::default();
        assert_eq!(estimate(&registers), 0);
        let mut added = 0u64;
        for wanted in [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
            while added < wanted {
                let (index, value) = register_of(&added.to_le_bytes());
                registers.raise(index, value);
                added += 1;
            }
            let error = (estimate(&registers) as f64 - wanted as f64).abs() / wanted as f64;
            assert!(error < 0.03, "{wanted}: {error}");
        }
    }
}
