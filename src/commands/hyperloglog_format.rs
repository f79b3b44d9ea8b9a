//! HyperLogLogs as bytes, in Redis's own format: a dump from Redis counts the same here.
//!
//! Header of 16 bytes: `HYLL`, encoding (0 dense, 1 sparse), three unused, the last count in 8 bytes, little endian; its highest bit
//! says that the count is out of date. Then 16,384 registers. *Dense*: 6 bits each, lowest bits first. *Sparse*: runs, as
//! `00nnnnnn` (up to 64 zeros), `01nnnnnn nnnnnnnn` (up to 16,384 zeros), `1vvvvvnn` (up to 4 registers of value 1 to 32).
//!
//! `hyperloglog_sparse` changes a sparse text.

use crate::error::CommandError;

/// Number of registers.
pub const REGISTERS: usize = 1 << 14;
/// Bytes in front of the registers.
pub const HEADER_BYTES: usize = 16;
/// Where the cached count is.
pub const COUNT_OFFSET: usize = 8;
/// The byte whose highest bit says that the cached count is out of date.
pub const STALE_OFFSET: usize = HEADER_BYTES - 1;
/// That bit.
pub const STALE: u8 = 0x80;

const MAGIC: &[u8] = b"HYLL";
const ENCODING_OFFSET: usize = 4;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u8 = (1 << REGISTER_BITS) - 1;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;
/// The longest run of zeros in one byte.
pub const ZEROS_MAX: usize = 64;
/// The highest value in a sparse text.
pub const SPARSE_VALUE_MAX: u8 = 32;
/// The longest run of another value than 0.
pub const SPARSE_RUN_MAX: usize = 4;

/// What is no HyperLogLog.
const NOT_VALID: CommandError =
    CommandError::fixed("WRONGTYPE Key is not a valid HyperLogLog string value.");
/// What begins like one and does not go on like one.
pub const CORRUPTED: CommandError = CommandError::fixed("INVALIDOBJ Corrupted HLL object detected");

/// How the registers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// All of them.
    Dense,
    /// As runs.
    Sparse,
}

/// A text that has the header of a HyperLogLog.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
}

/// One opcode of the sparse encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The value of each register.
    pub value: u8,
    /// How many registers.
    pub length: usize,
    /// True for zeros in the form of two bytes.
    pub is_long: bool,
}

impl<'a> Stored<'a> {
    /// Looks at the header.
    ///
    /// # Errors
    /// WRONGTYPE if it is not that of a HyperLogLog.
    pub fn new(bytes: &'a [u8]) -> Result<Stored<'a>, CommandError> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(NOT_VALID);
        }
        let encoding = match bytes[ENCODING_OFFSET] {
            0 if bytes.len() == DENSE_BYTES => Encoding::Dense,
            1 => Encoding::Sparse,
            _ => return Err(NOT_VALID),
        };
        Ok(Stored { bytes, encoding })
    }

    /// How the registers are stored.
    pub fn encoding(self) -> Encoding {
        self.encoding
    }

    /// The count that was made last, if nothing changed since.
    pub fn cached_count(self) -> Option<u64> {
        let bytes = self.bytes[COUNT_OFFSET..].first_chunk()?;
        (self.bytes[STALE_OFFSET] & STALE == 0).then(|| u64::from_le_bytes(*bytes))
    }

    /// The opcodes of a sparse text. A byte that is missing at the end counts as 0.
    pub fn runs(self) -> impl Iterator<Item = Run> + 'a {
        let mut rest = &self.bytes[HEADER_BYTES..];
        std::iter::from_fn(move || {
            let (first, behind) = rest.split_first()?;
            let low = usize::from(first & 0x3f);
            let zeros = |length, is_long| Run {
                value: 0,
                length,
                is_long,
            };
            let (run, behind) = match first >> 6 {
                0 => (zeros(low + 1, false), behind),
                1 => {
                    let second = usize::from(behind.first().copied().unwrap_or(0));
                    let behind = behind.get(1..).unwrap_or_default();
                    (zeros((low << 8 | second) + 1, true), behind)
                }
                _ => {
                    let run = Run {
                        value: (first >> 2 & 0x1f) + 1,
                        length: usize::from(first & 3) + 1,
                        is_long: false,
                    };
                    (run, behind)
                }
            };
            rest = behind;
            Some(run)
        })
    }

    /// Raises each register to what it is here, if that is more.
    ///
    /// # Errors
    /// INVALIDOBJ if there are not exactly as many registers as there must be.
    pub fn merge_into(self, registers: &mut Registers) -> Result<(), CommandError> {
        match self.encoding {
            Encoding::Dense => {
                let packed = &self.bytes[HEADER_BYTES..];
                for (three, four) in packed.chunks_exact(3).zip(registers.0.chunks_exact_mut(4)) {
                    let word = u32::from_le_bytes([three[0], three[1], three[2], 0]);
                    for (index, register) in four.iter_mut().enumerate() {
                        let value = (word >> (REGISTER_BITS * index)) as u8 & REGISTER_MAX;
                        *register = (*register).max(value);
                    }
                }
                Ok(())
            }
            Encoding::Sparse => self.merge_runs_into(registers),
        }
    }

    fn merge_runs_into(self, registers: &mut Registers) -> Result<(), CommandError> {
        let mut at = 0;
        for run in self.runs() {
            let affected = registers.0.get_mut(at..at + run.length).ok_or(CORRUPTED)?;
            if run.value > 0 {
                affected
                    .iter_mut()
                    .for_each(|register| *register = (*register).max(run.value));
            }
            at += run.length;
        }
        if at == REGISTERS {
            Ok(())
        } else {
            Err(CORRUPTED)
        }
    }
}

/// All registers, a byte each.
#[derive(Clone, PartialEq, Eq)]
pub struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Registers {
        Registers(Box::new([0; REGISTERS]))
    }
}

impl Registers {
    /// The registers of a text.
    ///
    /// # Errors
    /// INVALIDOBJ.
    pub fn of(stored: Stored<'_>) -> Result<Registers, CommandError> {
        let mut registers = Registers::default();
        stored.merge_into(&mut registers)?;
        Ok(registers)
    }

    /// One byte for each register.
    pub fn values(&self) -> &[u8; REGISTERS] {
        &self.0
    }

    /// Raises a register; true if it was lower.
    pub fn raise(&mut self, index: usize, value: u8) -> bool {
        let is_higher = self.0[index] < value;
        if is_higher {
            self.0[index] = value;
        }
        is_higher
    }

    /// As a whole dense text with another text's header: its count stays.
    pub fn to_dense_after(&self, header: &[u8]) -> Vec<u8> {
        let mut bytes = header[..HEADER_BYTES].to_vec();
        bytes[ENCODING_OFFSET] = 0;
        bytes.reserve(DENSE_BYTES - HEADER_BYTES);
        for four in self.0.chunks_exact(4) {
            let word = four.iter().rev().fold(0u32, |word, value| {
                word << REGISTER_BITS | u32::from(*value)
            });
            bytes.extend_from_slice(&word.to_le_bytes()[..3]);
        }
        bytes
    }
}

/// A text without any element, as Redis makes it: sparse.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_OFFSET] = 1;
    let longest = (REGISTERS - 1).to_be_bytes();
    bytes.extend_from_slice(&[0x40 | longest[6], longest[7]]);
    bytes
}

/// Raises a register in a dense text; gives the two bytes' place if it was lower.
pub fn raise_in_dense(bytes: &mut [u8], index: usize, value: u8) -> Option<usize> {
    let (byte, shift) = (index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
    let at = HEADER_BYTES + byte;
    let second = bytes.get(at + 1).copied().unwrap_or(0);
    let word = u16::from_le_bytes([bytes[at], second]);
    let mask = u16::from(REGISTER_MAX) << shift;
    if (word & mask) >> shift >= u16::from(value) {
        return None;
    }
    let [low, high] = (word & !mask | u16::from(value) << shift).to_le_bytes();
    bytes[at] = low;
    if let Some(place) = bytes.get_mut(at + 1) {
        *place = high;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn raising_in_a_dense_text_is_raising(changes in prop::collection::vec((0..REGISTERS, 1..=63u8), 0..200)) {
            let mut registers = Registers::default();
            let mut bytes = registers.to_dense_after(&empty());
            prop_assert_eq!(bytes.len(), DENSE_BYTES);
            for (index, value) in changes.into_iter().chain([(REGISTERS - 1, 51)]) {
                let is_higher = registers.raise(index, value);
                prop_assert_eq!(raise_in_dense(&mut bytes, index, value).is_some(), is_higher);
            }
            let stored = Stored::new(&bytes).expect("a header");
            prop_assert!(Registers::of(stored).expect("all registers") == registers);
            prop_assert_eq!(bytes, registers.to_dense_after(&empty()));
        }

        #[test]
        fn no_text_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..60), encoding in 0..3u8) {
            if bytes.len() >= 5 {
                bytes[..4].copy_from_slice(MAGIC);
                bytes[4] = encoding;
            }
            if let Ok(stored) = Stored::new(&bytes) {
                let covered: usize = stored.runs().map(|run| run.length).sum();
                prop_assert_eq!(Registers::of(stored).is_ok(), covered == REGISTERS);
            }
        }
    }

    #[test]
    fn an_empty_one_is_a_run_of_zeros() {
        let bytes = empty();
        let stored = Stored::new(&bytes).expect("a header");
        assert_eq!(stored.cached_count(), Some(0));
        assert!(Registers::of(stored).expect("all registers") == Registers::default());
        assert_eq!(bytes.len(), 18);
    }
}
