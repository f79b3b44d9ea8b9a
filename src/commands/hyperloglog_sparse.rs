//! One register of a sparse HyperLogLog grows: its run is split in place, neighbours are joined, and what becomes too long becomes
//! dense.
//!
//! The bytes are those that Redis would have, also where a client changed the text by hand: a text that is damaged behind the register
//! keeps its damage. Costs a walk over the runs up to the register (at most `hll-sparse-max-bytes`) and a move of the bytes behind.

use super::hyperloglog_format::{
    CORRUPTED, Encoding, HEADER_BYTES, REGISTERS, Registers, SPARSE_RUN_MAX, SPARSE_VALUE_MAX,
    STALE, STALE_OFFSET, Stored, ZEROS_MAX, raise_in_dense,
};
use crate::error::CommandError;

/// A run, and where it is.
struct Place {
    /// Its first byte.
    at: usize,
    /// The run before it.
    before: Option<usize>,
    /// Its first register.
    first: usize,
    /// How many registers.
    length: usize,
    /// 0 for zeros.
    value: u8,
    is_long: bool,
}

impl Place {
    fn of(bytes: &[u8], index: usize) -> Option<Place> {
        let (mut at, mut before, mut first) = (HEADER_BYTES, None, 0);
        for run in Stored::new(bytes).ok()?.runs() {
            if index < first + run.length {
                return Some(Place {
                    at,
                    before,
                    first,
                    length: run.length,
                    value: run.value,
                    is_long: run.is_long,
                });
            }
            before = Some(at);
            first += run.length;
            at += width(run.is_long);
        }
        None
    }
}

/// Bytes of a run.
fn width(is_long: bool) -> usize {
    if is_long { 2 } else { 1 }
}

fn is_value(opcode: u8) -> bool {
    opcode & 0x80 != 0
}

fn value_opcode(value: u8, length: usize) -> u8 {
    0x80 | (value - 1) << 2 | (length as u8 - 1)
}

/// Appends a run, if there is anything in it.
fn push_run(bytes: &mut Vec<u8>, value: u8, length: usize) {
    match (value, length) {
        (_, 0) => {}
        (0, ..=ZEROS_MAX) => bytes.push(length as u8 - 1),
        (0, _) => {
            let rest = length - 1;
            bytes.extend_from_slice(&[0x40 | (rest >> 8) as u8, rest as u8]);
        }
        _ => bytes.push(value_opcode(value, length)),
    }
}

/// Raises a register of a text of either encoding; true if it was lower. A sparse text may become dense.
///
/// # Errors
/// INVALIDOBJ if a sparse text ends before the register, or has to become dense and cannot.
pub fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_bytes_max: usize,
) -> Result<bool, CommandError> {
    if Stored::new(bytes)?.encoding() == Encoding::Dense {
        return Ok(raise_in_dense(bytes, index, value).is_some());
    }
    if value > SPARSE_VALUE_MAX {
        return raise_promoted(bytes, index, value);
    }
    let place = Place::of(bytes, index).ok_or(CORRUPTED)?;
    if place.value >= value {
        return Ok(false);
    }
    let mut runs = Vec::with_capacity(5);
    push_run(&mut runs, place.value, index - place.first);
    push_run(&mut runs, value, 1);
    push_run(
        &mut runs,
        place.value,
        place.first + place.length - 1 - index,
    );
    let former_width = width(place.is_long);
    let length = bytes.len() + runs.len() - former_width;
    if length > bytes.len() && length > sparse_bytes_max {
        return raise_promoted(bytes, index, value);
    }
    let end = (place.at + former_width).min(bytes.len());
    bytes.splice(place.at..end, runs);
    // A run of two bytes of which the second was missing.
    bytes.truncate(length);
    join(bytes, place.before.unwrap_or(HEADER_BYTES));
    bytes[STALE_OFFSET] |= STALE;
    Ok(true)
}

fn raise_promoted(bytes: &mut Vec<u8>, index: usize, value: u8) -> Result<bool, CommandError> {
    promote(bytes)?;
    Ok(raise_in_dense(bytes, index, value).is_some())
}

/// Makes a sparse text dense. The count in its header stays.
///
/// # Errors
/// INVALIDOBJ.
pub fn promote(bytes: &mut Vec<u8>) -> Result<(), CommandError> {
    let stored = Stored::new(bytes)?;
    if stored.encoding() == Encoding::Sparse {
        let dense = Registers::of(stored)?.to_dense_after(bytes);
        *bytes = dense;
    }
    Ok(())
}

/// Joins runs of one value among the five from `at` on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    const RUNS: usize = 5;
    for _ in 0..RUNS {
        let Some(opcode) = bytes.get(at).copied() else {
            return;
        };
        let length = |opcode: u8| usize::from(opcode & 3) + 1;
        let same_value = |next: &u8| is_value(*next) && (next ^ opcode) & 0x7c == 0;
        let next = bytes.get(at + 1).copied().filter(same_value);
        match next.filter(|next| length(opcode) + length(*next) <= SPARSE_RUN_MAX) {
            Some(next) if is_value(opcode) => {
                let value = (opcode >> 2 & 0x1f) + 1;
                bytes.remove(at);
                bytes[at] = value_opcode(value, length(opcode) + length(next));
            }
            _ => at += width(opcode >> 6 == 1),
        }
    }
}

/// Raises all registers of a text to these.
///
/// # Errors
/// INVALIDOBJ.
pub fn raise_all(
    bytes: &mut Vec<u8>,
    wanted: &Registers,
    sparse_bytes_max: usize,
) -> Result<(), CommandError> {
    let present = Registers::of(Stored::new(bytes)?)?;
    for index in 0..REGISTERS {
        let value = wanted.values()[index];
        if present.values()[index] < value {
            raise(bytes, index, value, sparse_bytes_max)?;
        }
    }
    bytes[STALE_OFFSET] |= STALE;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::hyperloglog_format::empty;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn raising_in_a_sparse_text_is_raising(
            changes in prop::collection::vec((0..300usize, 1..=34u8), 0..300),
            sparse_bytes_max in 0..400usize,
        ) {
            let mut registers = Registers::default();
            let mut bytes = empty();
            // At the start, and at the end, where runs meet the limit.
            for (place, value) in changes {
                let index = if place < 150 { place } else { REGISTERS - 1 - (place - 150) };
                let is_higher = registers.raise(index, value);
                let raised = raise(&mut bytes, index, value, sparse_bytes_max).expect("no damage");
                prop_assert_eq!(raised, is_higher);
                let stored = Stored::new(&bytes).expect("a header");
                prop_assert!(Registers::of(stored).expect("all registers") == registers);
            }
            let mut other = empty();
            raise_all(&mut other, &registers, sparse_bytes_max).expect("no damage");
            prop_assert!(Registers::of(Stored::new(&other).expect("a header")).expect("all registers") == registers);
        }

        #[test]
        fn no_text_panics(
            tail in prop::collection::vec(any::<u8>(), 0..40), index in 0..REGISTERS, value in 1..=40u8,
        ) {
            let mut bytes = empty();
            bytes.truncate(HEADER_BYTES);
            bytes.extend_from_slice(&tail);
            // Whether it is an error depends on the bytes.
            let _ = raise(&mut bytes, index, value, 3000);
        }
    }

    #[test]
    fn runs_are_split_and_joined() {
        let mut bytes = empty();
        for (index, value, expected) in [
            (3, 2, &b"\x02\x84\x7f\xfb"[..]),
            (4, 2, b"\x02\x85\x7f\xfa"),
            (5, 7, b"\x02\x85\x98\x7f\xf9"),
            (5, 6, b"\x02\x85\x98\x7f\xf9"),
            (4, 7, b"\x02\x84\x99\x7f\xf9"),
            (16383, 1, b"\x02\x84\x99\x7f\xf8\x80"),
            (70, 1, b"\x02\x84\x99\x3f\x80\x7f\xb7\x80"),
        ] {
            raise(&mut bytes, index, value, 3000).expect("no damage");
            let shown = bytes[HEADER_BYTES..].escape_ascii().to_string();
            assert_eq!(
                shown,
                expected.escape_ascii().to_string(),
                "{index} {value}"
            );
        }
    }
}
