//! Choosing what is demoted: the clock hand's look at one segment, under its shard's lock.
//!
//! The hand goes in hash order, so that what it takes reaches RocksDB as sorted runs. An entry that was used since
//! the hand last passed loses its mark and stays. What is taken is cloned (O(1); short texts are copied) and encoded
//! later, without the lock.
//!
//! A taken entry is marked as having a cold record before the record is written. If it is deleted in between, it
//! leaves a tombstone, and the record follows it; without the mark it would come back from the dead.

use crate::keyspace::entry::{Body, PENDING_LSN};
use crate::keyspace::shard::Shard;
use crate::value::Value;
use std::collections::HashSet;

/// Most entries of one batch.
const BATCH_ENTRIES_MAX: usize = 1024;

/// An entry that is to leave the keyspace.
pub(super) struct Victim {
    pub hash: u64,
    pub key: Box<[u8]>,
    pub lsn: u64,
    pub deadline_ms: Option<u64>,
    /// The deadline in the cold record that there was before.
    pub former_deadline_ms: Option<u64>,
    /// Whether there was a cold record before.
    pub had_record: bool,
    /// Whether the cold record has to be written.
    pub is_dirty: bool,
    pub value: Value,
    /// Bytes of memory that it takes, about.
    pub bytes: usize,
}

/// How the hand chooses.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    /// Stop when about so many bytes were taken.
    pub bytes: u64,
    /// Take what was used, too.
    pub ignores_marks: bool,
}

/// What one look at a segment gave.
#[derive(Default)]
pub(super) struct Taken {
    pub victims: Vec<Victim>,
    pub bytes: u64,
    /// Where to go on; `None` after the last hash of all.
    pub next_hash: Option<u64>,
}

/// Takes idle entries from the segment that owns `from_hash`, in hash order from there on.
pub(super) fn take_from_segment(
    shard: &mut Shard,
    database: u32,
    generation: u32,
    from_hash: u64,
    choice: Choice,
    hash_of: impl Fn(&[u8]) -> u64,
) -> Taken {
    let Some(table) = shard.table(database) else {
        // The shard never held a key of this database.
        let last = from_hash | u64::MAX >> crate::keyspace::table::SHARD_BITS;
        return Taken {
            next_hash: last.checked_add(1),
            ..Taken::default()
        };
    };
    let (_, last) = table.segment_bounds(from_hash);
    let segment = table.segment(from_hash);
    let mut order: Vec<(u64, usize)> = segment
        .occupied()
        .map(|slot| (hash_of(segment.entry(slot).key()), slot))
        .filter(|(hash, _)| *hash >= from_hash)
        .collect();
    order.sort_unstable();
    let doomed = keys_with_deletions(shard, generation);
    let mut taken = Taken {
        next_hash: last.checked_add(1),
        ..Taken::default()
    };
    for (hash, slot) in order {
        if taken.bytes >= choice.bytes || taken.victims.len() >= BATCH_ENTRIES_MAX {
            taken.next_hash = Some(hash);
            break;
        }
        if let Some(victim) = take_slot(
            shard,
            database,
            generation,
            (hash, slot),
            choice.ignores_marks,
            &doomed,
        ) {
            taken.bytes += victim.bytes as u64;
            taken.victims.push(victim);
        }
    }
    taken
}

/// Takes one entry, if it is in the keyspace and may go.
pub(super) fn take_key(
    shard: &mut Shard,
    database: u32,
    generation: u32,
    hash: u64,
    key: &[u8],
) -> Option<Victim> {
    let slot = shard.table(database)?.segment(hash).find(hash, key)?;
    let doomed = keys_with_deletions(shard, generation);
    take_slot(shard, database, generation, (hash, slot), true, &doomed)
}

/// Keys whose cold record is about to be removed. They stay until it is: a pending deletion means that no record was
/// written since.
fn keys_with_deletions(shard: &Shard, generation: u32) -> HashSet<Box<[u8]>> {
    let of_generation = shard
        .deletions
        .iter()
        .filter(|deletion| deletion.generation == generation);
    of_generation.map(|deletion| deletion.key.clone()).collect()
}

fn take_slot(
    shard: &mut Shard,
    database: u32,
    generation: u32,
    (hash, slot): (u64, usize),
    ignores_marks: bool,
    doomed: &HashSet<Box<[u8]>>,
) -> Option<Victim> {
    let entry = shard.table(database)?.segment(hash).entry(slot);
    if entry.is_tombstone()
        || entry.lsn() == PENDING_LSN
        || !doomed.is_empty() && doomed.contains(entry.key())
    {
        return None;
    }
    if entry.is_referenced() && !ignores_marks {
        shard
            .table_mut(database)
            .segment_mut(hash)
            .change(slot, |entry| entry.set_referenced(false));
        return None;
    }
    let boxed_bytes = match entry.body() {
        Body::Boxed(value) => value.memory_bytes(),
        _ => 0,
    };
    let (had_record, is_dirty) = (
        entry.has_cold_record(),
        !(entry.is_clean() && entry.has_cold_record()),
    );
    let victim = Victim {
        hash,
        key: entry.key().into(),
        lsn: entry.lsn(),
        deadline_ms: entry.deadline_ms(),
        former_deadline_ms: if had_record {
            shard.cold_deadline_ms(generation, &entry)
        } else {
            None
        },
        had_record,
        is_dirty,
        value: entry.to_value()?,
        bytes: entry.allocated_bytes() + 8 + boxed_bytes,
    };
    if is_dirty {
        // From here on the record's deadline is the entry's: that is what is about to be written.
        if !shard.cold_deadlines.is_empty() {
            shard
                .cold_deadlines
                .remove(&(generation, victim.key.clone()));
        }
        shard
            .table_mut(database)
            .segment_mut(hash)
            .change(slot, |entry| entry.set_cold_record(true));
    }
    Some(victim)
}
