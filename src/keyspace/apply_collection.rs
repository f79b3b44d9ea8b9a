//! What an effect does to the inside of a collection, and what it costs in the log.
//!
//! (Streams are in `apply_stream`.) No keys, no locks, no journal: a value goes in and comes out changed. Snapshots and replay rely on this being a
//! function of the value and the effect alone.

use super::apply::Applied;
use super::apply_stream::apply_to_stream;
use crate::value::{Hash, Inserted, List, Set, SortedSet, Value};
use storage_format::{Effect, Items, Side, ValueKind};

/// At most so many bytes that an effect adds to its record, besides its key.
pub(super) fn payload_bytes(effect: &Effect<'_>) -> usize {
    const LENGTH_BYTES_MAX: usize = 10;
    const SCORE_BYTES: usize = 8;
    let items = |items: &Items<'_>| {
        items
            .iter()
            .map(|item| item.len() + LENGTH_BYTES_MAX)
            .sum::<usize>()
    };
    let payload = match effect {
        Effect::Put { encoded, .. } => encoded.len(),
        Effect::Stream(effect) => effect.bytes_max(),
        Effect::Append { bytes } | Effect::SetRange { bytes, .. } => bytes.len(),
        Effect::ListPush { items: pushed, .. } => items(pushed),
        Effect::ListSet { item, .. } | Effect::ListInsert { item, .. } => item.len(),
        Effect::SetAdd { members }
        | Effect::SetRemove { members }
        | Effect::SortedSetRemove { members } => items(members),
        Effect::HashSet { pairs } => items(pairs),
        Effect::HashDelete { fields } | Effect::HashSetDeadline { fields, .. } => items(fields),
        Effect::SortedSetPut { members } => members
            .iter()
            .map(|(_, member)| member.len() + LENGTH_BYTES_MAX + SCORE_BYTES)
            .sum(),
        _ => 0,
    };
    payload + 3 * LENGTH_BYTES_MAX
}

/// The type that an effect on a part of a collection is for.
pub(super) fn collection_kind(effect: &Effect<'_>) -> Option<ValueKind> {
    match effect {
        Effect::ListPush { .. }
        | Effect::ListPop { .. }
        | Effect::ListSet { .. }
        | Effect::ListInsert { .. }
        | Effect::ListRemove { .. } => Some(ValueKind::List),
        Effect::SetAdd { .. } | Effect::SetRemove { .. } => Some(ValueKind::Set),
        Effect::HashSet { .. } | Effect::HashDelete { .. } | Effect::HashSetDeadline { .. } => {
            Some(ValueKind::Hash)
        }
        Effect::SortedSetPut { .. } | Effect::SortedSetRemove { .. } => Some(ValueKind::SortedSet),
        Effect::Stream(_) => Some(ValueKind::Stream),
        _ => None,
    }
}

/// Whether a collection that an effect left without elements is gone. An empty stream stays.
pub(super) fn is_gone_when_empty(kind: ValueKind) -> bool {
    kind != ValueKind::Stream
}

/// Changes a collection as the effect says.
pub(super) fn apply_to_value(value: &mut Value, effect: &Effect<'_>) -> Applied {
    let (added_or_removed, updated) = match (&mut *value, effect) {
        (Value::Stream(stream), Effect::Stream(effect)) => apply_to_stream(stream, effect),
        (Value::List(list), _) => apply_to_list(list, effect),
        (Value::Set(set), _) => apply_to_set(set, effect),
        (Value::Hash(hash), _) => apply_to_hash(hash, effect),
        (Value::SortedSet(sorted_set), _) => apply_to_sorted_set(sorted_set, effect),
        _ => (0, 0),
    };
    Applied {
        added_or_removed,
        updated,
        length: value.len() as u64,
    }
}

/// Does something to each item, and counts those that it did something to.
fn count<'a>(items: &Items<'a>, mut change: impl FnMut(&'a [u8]) -> bool) -> u64 {
    items.iter().map(|item| u64::from(change(item))).sum()
}

fn apply_to_set(set: &mut Set, effect: &Effect<'_>) -> (u64, u64) {
    match effect {
        Effect::SetAdd { members } => (count(members, |member| set.insert(member)), 0),
        Effect::SetRemove { members } => (count(members, |member| set.remove(member)), 0),
        _ => (0, 0),
    }
}

fn apply_to_hash(hash: &mut Hash, effect: &Effect<'_>) -> (u64, u64) {
    match effect {
        Effect::HashSet { pairs } => {
            let (mut added, mut updated) = (0, 0);
            let mut items = pairs.iter();
            while let (Some(field), Some(value)) = (items.next(), items.next()) {
                let is_new = hash.insert(field, value);
                *(if is_new { &mut added } else { &mut updated }) += 1;
            }
            (added, updated)
        }
        Effect::HashDelete { fields } => (count(fields, |field| hash.remove(field)), 0),
        Effect::HashSetDeadline {
            deadline_ms,
            fields,
        } => {
            let deadline_ms = (*deadline_ms != 0).then_some(*deadline_ms);
            let change = |field| hash.set_field_deadline(field, deadline_ms);
            (0, count(fields, change))
        }
        _ => (0, 0),
    }
}

fn apply_to_sorted_set(sorted_set: &mut SortedSet, effect: &Effect<'_>) -> (u64, u64) {
    match effect {
        Effect::SortedSetPut { members } => {
            let (mut added, mut updated) = (0, 0);
            for (score, member) in members.iter() {
                match sorted_set.insert(score, member) {
                    Inserted::Added => added += 1,
                    Inserted::Updated => updated += 1,
                    Inserted::Unchanged => {}
                }
            }
            (added, updated)
        }
        Effect::SortedSetRemove { members } => {
            (count(members, |member| sorted_set.remove(member)), 0)
        }
        _ => (0, 0),
    }
}

fn apply_to_list(list: &mut List, effect: &Effect<'_>) -> (u64, u64) {
    let before = list.len() as u64;
    match effect {
        Effect::ListPush { side, items } => items.iter().for_each(|item| list.push(*side, item)),
        Effect::ListPop { side, count } => {
            let count = (*count).min(before) as usize;
            let start = if *side == Side::Left {
                0
            } else {
                before as usize - count
            };
            list.remove_range(start, count);
        }
        Effect::ListSet { index, item } if *index < before => {
            list.set(*index as usize, item);
            return (0, 1);
        }
        Effect::ListInsert { index, item } => {
            list.insert((*index).min(before) as usize, item);
        }
        Effect::ListRemove { index, count } => {
            let start = (*index).min(before);
            list.remove_range(start as usize, (*count).min(before - start) as usize);
        }
        _ => {}
    }
    ((list.len() as u64).abs_diff(before), 0)
}
