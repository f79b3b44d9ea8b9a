//! What lists, sets and sorted sets have in common: counts, ranges of positions, the arguments of LMPOP and ZMPOP,
//! elements chosen at random, and the reply of SSCAN and ZSCAN.
//!
//! Choosing `count` of `length` elements costs `count` steps whatever the length, so that SPOP and its relatives do not
//! walk a large collection for a few of its members.

use super::options::{integer_in, is_keyword};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses, Keys};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use crate::value::Value;
use hashbrown::HashSet;
use std::ops::{Range, RangeInclusive};

/// An integer within `range`; `error` for everything else, be it no number at all.
pub fn integer_or(
    argument: &[u8],
    range: RangeInclusive<i64>,
    error: CommandError,
) -> Result<i64, CommandError> {
    parse_integer(argument)
        .filter(|value| range.contains(value))
        .ok_or(error)
}

/// A number of elements, which may be 0.
///
/// # Errors
/// "value is out of range, must be positive".
pub fn element_count(argument: &[u8]) -> Result<usize, CommandError> {
    count_or(argument, 0, CommandError::OUT_OF_RANGE_POSITIVE)
}

/// A number of at least `least`, or else `error`.
pub fn count_or(argument: &[u8], least: i64, error: CommandError) -> Result<usize, CommandError> {
    integer_or(argument, least..=i64::MAX, error).map(|count| count as usize)
}

/// The positions that `start` and `end` mean in a sequence of `length` elements; both are inclusive, and below 0 they
/// count from its end. Empty if there are none.
pub fn positions(start: i64, end: i64, length: usize) -> Range<usize> {
    let from_end = |index: i64| {
        if index < 0 {
            index + length as i64
        } else {
            index
        }
    };
    let (start, end) = (from_end(start).max(0) as usize, from_end(end));
    if end < start as i64 || start >= length {
        return 0..0;
    }
    start..(end as usize).min(length - 1) + 1
}

/// The arguments of LMPOP and ZMPOP from the number of keys on.
#[derive(Debug, PartialEq, Eq)]
pub struct MultiplePop<'a, End> {
    /// The keys to try, in this order.
    pub keys: &'a [&'a [u8]],
    /// At which end of the first value that exists.
    pub end: End,
    /// At most so many elements.
    pub count: usize,
}

impl<'a, End> MultiplePop<'a, End> {
    /// Reads `numkeys key [key ...] end [COUNT count]` from index `first` on; `end_of` knows the words for the ends.
    ///
    /// # Errors
    /// As Redis reports them, from left to right.
    pub fn parse(
        arguments: &'a [&'a [u8]],
        first: usize,
        end_of: impl Fn(&[u8]) -> Result<End, CommandError>,
    ) -> Result<MultiplePop<'a, End>, CommandError> {
        const BAD_KEYS: CommandError = CommandError::fixed("ERR numkeys should be greater than 0");
        const BAD_COUNT: CommandError = CommandError::fixed("ERR count should be greater than 0");
        let (number, rest) = arguments
            .get(first..)
            .and_then(<[_]>::split_first)
            .ok_or(CommandError::SYNTAX)?;
        let key_count = count_or(number, 1, BAD_KEYS)?;
        let (keys, rest) = rest
            .split_at_checked(key_count)
            .ok_or(CommandError::SYNTAX)?;
        let (end, options) = rest.split_first().ok_or(CommandError::SYNTAX)?;
        let end = end_of(end)?;
        let count = match options {
            [] => 1,
            [word, count, rest @ ..] if is_keyword(word, "count") => {
                let count = count_or(count, 1, BAD_COUNT)?;
                if !rest.is_empty() {
                    return Err(CommandError::SYNTAX);
                }
                count
            }
            _ => return Err(CommandError::SYNTAX),
        };
        Ok(MultiplePop { keys, end, count })
    }
}

/// What SRANDMEMBER's and ZRANDMEMBER's count asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomCount {
    /// So many different elements, or all if there are fewer.
    Different(usize),
    /// Exactly so many, the same one perhaps several times.
    Repeating(usize),
}

impl RandomCount {
    /// The longest reply with repetitions: a client that asks for more would only exhaust the memory (Redis tries).
    pub const REPEATING_MAX: usize = 1 << 28;

    /// Reads a count; below 0 it asks for repetitions.
    ///
    /// # Errors
    /// "value is not an integer or out of range", or that it is out of range.
    pub fn parse(argument: &[u8]) -> Result<RandomCount, CommandError> {
        let count = integer_in(argument, -i64::MAX..=i64::MAX)?;
        let magnitude = count.unsigned_abs() as usize;
        match count {
            0.. => Ok(RandomCount::Different(magnitude)),
            _ if magnitude <= Self::REPEATING_MAX => Ok(RandomCount::Repeating(magnitude)),
            _ => Err(CommandError::OUT_OF_RANGE),
        }
    }

    /// Positions of the chosen ones among `length` elements. `random` gives 64 random bits at a time.
    pub fn choose(self, length: usize, random: impl FnMut() -> u64) -> Vec<usize> {
        let mut random = random;
        match self {
            _ if length == 0 => Vec::new(),
            RandomCount::Different(count) if count >= length => (0..length).collect(),
            RandomCount::Different(count) => choose_different(length, count, random),
            RandomCount::Repeating(count) => (0..count).map(|_| below(random(), length)).collect(),
        }
    }
}

/// A number below `limit` from 64 random bits.
fn below(random: u64, limit: usize) -> usize {
    ((u128::from(random) * limit as u128) >> 64) as usize
}

/// Floyd's way to choose `count` of `length` positions, each combination equally likely, in `count` steps.
fn choose_different(length: usize, count: usize, mut random: impl FnMut() -> u64) -> Vec<usize> {
    let mut seen = HashSet::with_capacity(count);
    let mut chosen = Vec::with_capacity(count);
    for last in length - count..length {
        let wanted = below(random(), last + 1);
        let position = if seen.contains(&wanted) { last } else { wanted };
        seen.insert(position);
        chosen.push(position);
    }
    chosen
}

/// Makes sure that `effects` effects find room in the log, so that a command with several is done wholly or not at
/// all. `key_bytes` is the length of the longest key, `payload_bytes` that of all items they carry.
///
/// # Errors
/// MISCONF if there is no room.
pub fn ensure_room_for(
    keys: &Keys<'_>,
    effects: usize,
    key_bytes: usize,
    payload_bytes: usize,
) -> CommandResult {
    const EFFECT_HEADER_BYTES_MAX: usize = 40;
    if effects == 0 {
        return Ok(());
    }
    keys.ensure_room(effects * (EFFECT_HEADER_BYTES_MAX + key_bytes) + payload_bytes)
}

/// Stores the result of an operation on collections and tells of it as `event`. An empty one removes the key.
pub fn store_result(
    keys: &mut Keys<'_>,
    key: &[u8],
    result: Value,
    (class, name): (EventClasses, &'static str),
) -> CommandResult {
    if result.is_empty() {
        keys.delete_and_notify(key)?;
    } else {
        keys.set_value(key, result, Deadline::None)?;
        keys.notify(class, name, key);
    }
    Ok(())
}

/// Elements copied out of a value, so that the value can be changed by an effect that names them.
#[derive(Default)]
pub struct CopiedItems {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl CopiedItems {
    /// Copies one more.
    pub fn push(&mut self, item: &[u8]) {
        self.bytes.extend_from_slice(item);
        self.ends.push(self.bytes.len());
    }

    /// All of them, in order.
    pub fn slices(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[*start..*end])
            .collect()
    }
}

impl<'a> FromIterator<&'a [u8]> for CopiedItems {
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(items: T) -> Self {
        let mut copied = CopiedItems::default();
        items.into_iter().for_each(|item| copied.push(item));
        copied
    }
}

/// Writes the reply of SSCAN or ZSCAN. `visit` writes the elements and returns the next cursor and how many it wrote.
/// They are written beside the reply first, because the cursor stands in front of them.
pub fn write_scan(reply: &mut Reply<'_>, visit: impl FnOnce(&mut Reply<'_>) -> (u64, usize)) {
    let mut elements = Vec::new();
    let (cursor, written) = visit(&mut Reply::new(&mut elements, reply.protocol()));
    reply.array_header(2);
    reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
    reply.array_header(written);
    reply.raw(&elements);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn positions_are_clamped() {
        let cases = [
            ((0, -1, 5), 0..5),
            ((-3, -2, 5), 2..4),
            ((-100, 100, 5), 0..5),
            ((3, 2, 5), 0..0),
            ((5, 9, 5), 0..0),
            ((0, -6, 5), 0..0),
            ((i64::MIN, i64::MAX, 5), 0..5),
            ((0, -1, 0), 0..0),
        ];
        for ((start, end, length), expected) in cases {
            assert_eq!(positions(start, end, length), expected, "{start} {end}");
        }
    }

    #[test]
    fn every_position_has_its_chance() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            state ^ state >> 32
        };
        let mut seen = [0; 5];
        for _ in 0..1000 {
            for position in RandomCount::Different(2).choose(5, &mut random) {
                seen[position] += 1;
            }
        }
        // 400 expected of each; 15 is the standard deviation.
        assert!(
            seen.iter().all(|count| (300..500).contains(count)),
            "{seen:?}"
        );
    }

    proptest! {
        #[test]
        fn different_ones_are_different(count in 0usize..40, length in 0usize..40, seeds: Vec<u64>) {
            let mut seeds = seeds.into_iter().chain(std::iter::repeat(u64::MAX));
            let chosen = RandomCount::Different(count).choose(length, || seeds.next().unwrap_or(0));
            prop_assert_eq!(chosen.len(), count.min(length));
            prop_assert!(chosen.iter().all(|position| *position < length));
            let different: HashSet<usize> = chosen.iter().copied().collect();
            prop_assert_eq!(different.len(), chosen.len());
        }

        #[test]
        fn copied_items_are_the_items(items: Vec<Vec<u8>>) {
            let copied: CopiedItems = items.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(copied.slices(), items);
        }
    }
}
