//! What an effect does to the inside of a collection, and what it costs in the log.
//!
//! (Streams are in `apply_stream`.) No keys, no locks, no journal: a value goes in and comes out changed. Snapshots and replay rely on this being a
//! function of the value and the effect alone.

use super::apply::Applied;
use super::apply_stream::apply_to_stream;
use crate::value::{List, Value};
use storage_format::{Effect, Side, ValueKind};

/// At most so many bytes that an effect adds to its record, besides its key.
pub(super) fn payload_bytes(effect: &Effect<'_>) -> usize {
    const LENGTH_BYTES_MAX: usize = 10;
    const SCORE_BYTES: usize = 8;
    let items = |items: &storage_format::Items<'_>| {
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
    let (mut added_or_removed, mut updated) = (0, 0);
    match (&mut *value, effect) {
        (Value::Stream(stream), Effect::Stream(effect)) => {
            (added_or_removed, updated) = apply_to_stream(stream, effect);
        }
        (Value::List(list), _) => (added_or_removed, updated) = apply_to_list(list, effect),
        (Value::Set(set), Effect::SetAdd { members }) => {
            added_or_removed = members
                .iter()
                .map(|member| u64::from(set.insert(member)))
                .sum();
        }
        (Value::Set(set), Effect::SetRemove { members }) => {
            added_or_removed = members
                .iter()
                .map(|member| u64::from(set.remove(member)))
                .sum();
        }
        (Value::Hash(hash), Effect::HashSet { pairs }) => {
            let mut items = pairs.iter();
            while let (Some(field), Some(value)) = (items.next(), items.next()) {
                let counter = if hash.insert(field, value) {
                    &mut added_or_removed
                } else {
                    &mut updated
                };
                *counter += 1;
            }
        }
        (Value::Hash(hash), Effect::HashDelete { fields }) => {
            added_or_removed = fields
                .iter()
                .map(|field| u64::from(hash.remove(field)))
                .sum();
        }
        (
            Value::Hash(hash),
            Effect::HashSetDeadline {
                deadline_ms,
                fields,
            },
        ) => {
            let deadline_ms = (*deadline_ms != 0).then_some(*deadline_ms);
            updated = fields
                .iter()
                .map(|field| u64::from(hash.set_field_deadline(field, deadline_ms)))
                .sum();
        }
        (Value::SortedSet(sorted_set), Effect::SortedSetPut { members }) => {
            use crate::value::Inserted;
            for (score, member) in members.iter() {
                match sorted_set.insert(score, member) {
                    Inserted::Added => added_or_removed += 1,
                    Inserted::Updated => updated += 1,
                    Inserted::Unchanged => {}
                }
            }
        }
        (Value::SortedSet(sorted_set), Effect::SortedSetRemove { members }) => {
            added_or_removed = members
                .iter()
                .map(|member| u64::from(sorted_set.remove(member)))
                .sum();
        }
        _ => {}
    }
    Applied {
        added_or_removed,
        updated,
        length: value.len() as u64,
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
