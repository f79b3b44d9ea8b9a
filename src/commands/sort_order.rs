//! The sorting of SORT: which elements of a key, in which order, and what is shown of them.
//!
//! Everything is read from locked keys. Patterns name keys that are known only while this runs; where such a key is not among the
//! locked ones, it is noted and the run ends without a result (see `sort`). Elements of a large collection are not copied: the value
//! is cloned in O(1) and they are borrowed from it.

use super::sort::{Pattern, Request, Shown};
use crate::error::CommandError;
use crate::keyspace::Keys;
use crate::resp::number::parse_double;
use crate::value::{List, Value};
use hashbrown::HashSet;
use std::cmp::Ordering;
use std::ops::Range;

/// What a run made: one text, or nothing, for each place of the reply.
pub(super) type Output = Vec<Option<Vec<u8>>>;

/// Keys that a run found to be needed beside those that are locked.
pub(super) type Missing = HashSet<Vec<u8>>;

/// Reads what patterns name.
struct Others<'k, 'a> {
    keys: &'k mut Keys<'a>,
    locked: &'k HashSet<Vec<u8>>,
    missing: Missing,
}

impl Others<'_, '_> {
    /// The text, or the hash's field, that a pattern names for an element.
    fn read(&mut self, pattern: &Pattern, element: &[u8]) -> Option<Vec<u8>> {
        let key = pattern.key_of(element);
        if !self.locked.contains(&key) {
            self.missing.insert(key);
            return None;
        }
        // A key of another type counts as missing.
        match &pattern.field {
            Some(field) => {
                let hash = self.keys.hash(&key).ok().flatten()?;
                hash.get(field).map(<[u8]>::to_vec)
            }
            None => self.keys.text(&key).ok().flatten().map(<[u8]>::to_vec),
        }
    }
}

/// Runs a request on locked keys, of which `locked` are those that patterns may name.
///
/// # Errors
/// WRONGTYPE, or an element that is no number where numbers are sorted. `Ok(Err(missing))`: more keys are needed.
pub(super) fn run(
    keys: &mut Keys<'_>,
    request: &Request,
    locked: &HashSet<Vec<u8>>,
) -> Result<Result<Output, Missing>, CommandError> {
    let source = match keys.value(&request.key) {
        None => Value::List(List::new()),
        Some(value @ (Value::List(_) | Value::Set(_) | Value::SortedSet(_))) => value,
        Some(_) => return Err(CommandError::WRONG_TYPE),
    };
    let mut others = Others {
        keys,
        locked,
        missing: Missing::new(),
    };
    let range = request.range(source.len());
    // An order that depends on nothing but the set's own is no order to be stored: Redis sorts it.
    let is_set = matches!(source, Value::Set(_));
    let forces_alpha = !request.sorts && is_set && request.wants_determinism();
    let elements = if request.sorts || forces_alpha {
        let by = request.by.as_ref().filter(|_| request.sorts);
        let elements = elements_of(&source).collect();
        let sorted = if request.alpha || forces_alpha {
            sort_texts(elements, by, &mut others)
        } else {
            sort_numbers(elements, by, &mut others)
        };
        if !others.missing.is_empty() {
            return Ok(Err(others.missing));
        }
        let mut sorted = sorted?;
        if request.descending {
            sorted.reverse();
        }
        sorted[range].to_vec()
    } else {
        unsorted(&source, range, request.descending)
    };
    let output = show(&elements, &request.shown, &mut others);
    if others.missing.is_empty() {
        Ok(Ok(output))
    } else {
        Ok(Err(others.missing))
    }
}

fn elements_of(source: &Value) -> Box<dyn Iterator<Item = &[u8]> + '_> {
    match source {
        Value::List(list) => Box::new(list.iter()),
        Value::Set(set) => Box::new(set.iter()),
        Value::SortedSet(members) => Box::new(members.iter().map(|(member, _)| member)),
        _ => Box::new(std::iter::empty()),
    }
}

/// A part of the source in its own order, or in the opposite one.
fn unsorted(source: &Value, range: Range<usize>, descending: bool) -> Vec<&[u8]> {
    let count = range.len();
    let start = if descending {
        source.len() - range.end
    } else {
        range.start
    };
    let mut elements: Vec<&[u8]> = match source {
        Value::List(list) => list.range(start, count).collect(),
        Value::SortedSet(members) => members
            .range(start, count)
            .map(|(member, _)| member)
            .collect(),
        // A set has no order to be turned around.
        _ => {
            return elements_of(source).skip(range.start).take(count).collect();
        }
    };
    if descending {
        elements.reverse();
    }
    elements
}

/// The elements in the order of their texts, or of the texts that a pattern names for them; what it does not find comes first.
fn sort_texts<'v>(
    mut elements: Vec<&'v [u8]>,
    by: Option<&Pattern>,
    others: &mut Others<'_, '_>,
) -> Result<Vec<&'v [u8]>, CommandError> {
    let Some(pattern) = by else {
        elements.sort_unstable();
        return Ok(elements);
    };
    let mut weighted: Vec<(Option<Vec<u8>>, &[u8])> = elements
        .into_iter()
        .map(|element| (others.read(pattern, element), element))
        .collect();
    weighted.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(weighted.into_iter().map(|(_, element)| element).collect())
}

/// The elements in the order of the numbers that they are, or that a pattern names for them (0 where it finds nothing). Equal ones
/// are in the order of their texts.
fn sort_numbers<'v>(
    elements: Vec<&'v [u8]>,
    by: Option<&Pattern>,
    others: &mut Others<'_, '_>,
) -> Result<Vec<&'v [u8]>, CommandError> {
    const NOT_A_NUMBER: CommandError =
        CommandError::fixed("ERR One or more scores can't be converted into double");
    let weight = |element: &[u8]| match by {
        None => number(element),
        Some(pattern) => match others.read(pattern, element) {
            None => Some(0.0),
            Some(text) => number(&text),
        },
    };
    let weights: Vec<Option<f64>> = elements.iter().copied().map(weight).collect();
    let weights: Option<Vec<f64>> = weights.into_iter().collect();
    let weights = weights.ok_or(NOT_A_NUMBER)?;
    let mut weighted: Vec<(f64, &[u8])> = weights.into_iter().zip(elements).collect();
    weighted.sort_unstable_by(|left, right| {
        let by_weight = left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal);
        by_weight.then_with(|| left.1.cmp(right.1))
    });
    Ok(weighted.into_iter().map(|(_, element)| element).collect())
}

/// A number as `strtod` reads it: no digits at all are 0, blanks in front do not matter, a NUL byte is the end.
fn number(text: &[u8]) -> Option<f64> {
    let text = super::options::up_to_nul(text);
    match text.trim_ascii_start() {
        [] if text.is_empty() => Some(0.0),
        digits => parse_double(digits),
    }
}

fn show(elements: &[&[u8]], shown: &[Shown], others: &mut Others<'_, '_>) -> Output {
    if shown.is_empty() {
        return elements
            .iter()
            .map(|element| Some(element.to_vec()))
            .collect();
    }
    let mut output = Vec::with_capacity(elements.len() * shown.len());
    for element in elements {
        for part in shown {
            output.push(match part {
                Shown::Element => Some(element.to_vec()),
                Shown::Named(pattern) => others.read(pattern, element),
                Shown::Nothing => None,
            });
        }
    }
    output
}
