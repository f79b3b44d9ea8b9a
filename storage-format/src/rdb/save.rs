//! Writing a value, for each type in the oldest form that can carry it, so that old servers can read what new ones need not:
//! integers as such, sets of integers as intsets, lists as quicklists of listpacks, the rest as plain strings behind their number. A
//! server that reads them makes its own compact forms of them.

use super::listpack::ListpackWriter;
use super::writer::{canonical_integer, put_length, put_raw_string, put_string};
use super::{intset, stream_save, value_type};
use crate::error::FormatError;
use crate::value::{EncodedCollection, ValueKind};

/// A listpack of a list is closed when it has so many bytes: what Redis does by default.
const NODE_BYTES: usize = 8 << 10;
/// More integers than this are not written as one intset (Redis's own limit is 512 by default).
const INTSET_MEMBERS_MAX: usize = 512;

/// Appends the type byte and the value; returns the RDB version that introduced this form.
///
/// # Errors
/// [`FormatError::Damaged`] if `encoded` is not a value of this kind in the value encoding. [`FormatError::TooLarge`] if an entry of a
/// stream is larger than RDB can hold.
pub fn write_value(out: &mut Vec<u8>, kind: ValueKind, encoded: &[u8]) -> Result<u16, FormatError> {
    if kind == ValueKind::String {
        out.push(value_type::STRING);
        put_string(out, encoded);
        return Ok(6);
    }
    if kind == ValueKind::Stream {
        return stream_save::write(out, encoded);
    }
    let collection = EncodedCollection::parse(kind, encoded)?;
    Ok(match kind {
        ValueKind::List => write_list(out, &collection),
        ValueKind::Set => write_set(out, &collection),
        ValueKind::SortedSet => write_sorted_set(out, &collection),
        _ => write_hash(out, &collection),
    })
}

fn write_list(out: &mut Vec<u8>, list: &EncodedCollection<'_>) -> u16 {
    const SINGLE_ITEM: u64 = 1;
    const PACKED: u64 = 2;
    let (mut nodes, mut node_count) = (Vec::new(), 0);
    let mut node = ListpackWriter::new();
    let mut close = |node: &mut ListpackWriter, nodes: &mut Vec<u8>| {
        if !node.is_empty() {
            put_length(nodes, PACKED);
            put_raw_string(nodes, &node.finish());
            node_count += 1;
        }
    };
    let mut single_items = 0;
    for item in list.items() {
        if item.len() >= ListpackWriter::ITEM_BYTES_MAX {
            close(&mut node, &mut nodes);
            put_length(&mut nodes, SINGLE_ITEM);
            put_raw_string(&mut nodes, item);
            single_items += 1;
            continue;
        }
        if node.len() + item.len() > NODE_BYTES {
            close(&mut node, &mut nodes);
        }
        node.push(item);
    }
    close(&mut node, &mut nodes);
    out.push(value_type::LIST_QUICKLIST_2);
    put_length(out, node_count + single_items);
    out.extend_from_slice(&nodes);
    10
}

fn write_set(out: &mut Vec<u8>, set: &EncodedCollection<'_>) -> u16 {
    let mut integers = if set.len() <= INTSET_MEMBERS_MAX {
        set.items().map(canonical_integer).collect()
    } else {
        None
    };
    if let Some(integers) = &mut integers {
        let integers: &mut Vec<i64> = integers;
        out.push(value_type::SET_INTSET);
        put_raw_string(out, &intset::write(integers));
        return 6;
    }
    out.push(value_type::SET);
    put_length(out, set.len() as u64);
    set.items().for_each(|member| put_string(out, member));
    6
}

fn write_sorted_set(out: &mut Vec<u8>, sorted_set: &EncodedCollection<'_>) -> u16 {
    out.push(value_type::SORTED_SET_2);
    put_length(out, sorted_set.len() as u64);
    for (score, member) in sorted_set.scored() {
        put_string(out, member);
        out.extend_from_slice(&score.to_le_bytes());
    }
    8
}

fn write_hash(out: &mut Vec<u8>, hash: &EncodedCollection<'_>) -> u16 {
    let deadlines = hash.fields().map(|(_, _, deadline_ms)| deadline_ms);
    let Some(earliest_ms) = deadlines.filter(|deadline_ms| *deadline_ms != 0).min() else {
        out.push(value_type::HASH);
        put_length(out, hash.len() as u64);
        for (field, value) in hash.pairs() {
            put_string(out, field);
            put_string(out, value);
        }
        return 6;
    };
    out.push(value_type::HASH_METADATA);
    out.extend_from_slice(&earliest_ms.to_le_bytes());
    put_length(out, hash.len() as u64);
    for (field, value, deadline_ms) in hash.fields() {
        put_length(out, (deadline_ms + 1).saturating_sub(earliest_ms));
        put_string(out, field);
        put_string(out, value);
    }
    12
}
