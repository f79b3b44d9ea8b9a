//! SCAN over all tiers: one pass in hash order, hot and cold merged, each key once wherever it is.
//!
//! A cursor is a position: the top 48 bits of the hash. All keys of one position are returned together. A step reads a
//! part of one hot segment under its shard's lock, then, without it, the cold records of the same range, and then looks whether an
//! entry left the shard in between. If so it might be in neither reading, and the step is repeated; the third time
//! the disk is read under the lock. An entry that is promoted in between is found cold; one that is in both counts once.
//!
//! Called on blocking threads only.

use super::Tier;
use super::cold::Cold;
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::Keyspace;
use crate::keyspace::lock_watch;
use crate::keyspace::shard::Shard;
use crate::keyspace::table::SHARD_BITS;
use std::collections::HashSet;
use storage_format::ValueKind;

/// Bits of the hash below a position.
const POSITION_SHIFT: u32 = 16;
/// So often a step is repeated without the lock before it reads the disk under it.
const UNLOCKED_TRIES: u32 = 2;

/// A key that a step found.
pub(super) struct Found {
    pub(super) hash: u64,
    pub(super) key: Box<[u8]>,
    /// `None`: the key is deleted or has expired; a hot one hides its cold record.
    kind: Option<ValueKind>,
    is_expired: bool,
}

/// A key that a step came by whose deadline has passed.
pub(super) struct Expired {
    pub(super) generation: u32,
    pub(super) hash: u64,
    pub(super) key: Box<[u8]>,
    /// If it is only cold: the version and the deadline of its record.
    pub(super) record: Option<(u64, u64)>,
}

/// A range of hashes and what is in it, in hash order.
pub(super) struct Stretch {
    pub(super) found: Vec<Found>,
    expired: Vec<Expired>,
    pub(super) last_hash: u64,
}

impl Stretch {
    /// Tells of the keys that are wanted.
    fn report(
        &self,
        accepts: &dyn Fn(&[u8]) -> bool,
        kind: Option<ValueKind>,
        found: &mut dyn FnMut(&[u8]),
    ) {
        for item in &self.found {
            let fits = kind.is_none_or(|wanted| Some(wanted) == item.kind);
            if fits && accepts(&item.key) {
                found(&item.key);
            }
        }
    }
}

/// The last hash of a hash's position.
fn end_of_position(hash: u64) -> u64 {
    hash | ((1 << POSITION_SHIFT) - 1)
}

impl Tier {
    /// One step of SCAN from `cursor` over about `count` keys. Calls `found` for each key that `accepts` likes and that
    /// has the type, and returns the next cursor; 0 at the end.
    ///
    /// # Errors
    /// RocksDB or the snapshot failed.
    pub fn scan(
        &self,
        database: u32,
        cursor: u64,
        count: usize,
        accepts: &dyn Fn(&[u8]) -> bool,
        kind: Option<ValueKind>,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, InternalError> {
        let mut report = |stretch: Stretch| stretch.report(accepts, kind, found);
        self.step(database, cursor, count, &mut report)
    }

    /// The same; then removes the keys that `accepts` likes, of whatever type, whose deadline has passed.
    ///
    /// # Errors
    /// As [`Tier::scan`].
    pub fn scan_and_expire(
        &self,
        database: u32,
        cursor: u64,
        count: usize,
        accepts: &dyn Fn(&[u8]) -> bool,
        kind: Option<ValueKind>,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, InternalError> {
        let mut expired = Vec::new();
        let mut report = |stretch: Stretch| {
            stretch.report(accepts, kind, found);
            let gone = stretch.expired.into_iter();
            expired.extend(gone.filter(|item| accepts(&item.key)));
        };
        let next = self.step(database, cursor, count, &mut report)?;
        if !expired.is_empty() {
            self.expire_found(database, expired)?;
        }
        Ok(next)
    }

    /// Hands over one stretch after the other, until they have about `count` keys; returns the next cursor.
    fn step(
        &self,
        database: u32,
        cursor: u64,
        count: usize,
        each: &mut dyn FnMut(Stretch),
    ) -> Result<u64, InternalError> {
        if cursor >> (64 - POSITION_SHIFT) != 0 {
            return Ok(0);
        }
        let (mut hash, mut seen) = (cursor << POSITION_SHIFT, 0);
        loop {
            let stretch = self.stretch(database, hash, count.max(1) - seen)?;
            seen += stretch.found.len();
            let end = stretch.last_hash;
            each(stretch);
            let Some(next) = end.checked_add(1) else {
                return Ok(0);
            };
            if seen >= count {
                return Ok(next >> POSITION_SHIFT);
            }
            hash = next;
        }
    }

    /// What is in the keyspace and the cold tier from a hash on: about `limit` keys, at most a segment's range.
    pub(super) fn stretch(
        &self,
        database: u32,
        from_hash: u64,
        limit: usize,
    ) -> Result<Stretch, InternalError> {
        let mut tries = 0;
        loop {
            let generation = self.keyspace.generation(database);
            let loaded_to = self.load_positions(generation, from_hash)?;
            let now_ms = clock::now_ms();
            let number = Keyspace::shard_of(from_hash);
            let shard = self.keyspace.lock(number);
            if self.keyspace.generation(database) != generation {
                continue;
            }
            let (hot, last_hash) = self.hot_part(&shard, database, from_hash, limit, now_ms);
            let last_hash = last_hash.min(loaded_to);
            let Some(cold) = self.cold.as_deref().filter(|cold| !cold.is_empty()) else {
                return Ok(merge(generation, hot, Vec::new(), last_hash));
            };
            if tries >= UNLOCKED_TRIES {
                // Else a busy shard might keep this step from ever ending.
                let (cold, last_hash) = lock_watch::may_wait(|| {
                    cold_part(cold, generation, (from_hash, last_hash), limit, now_ms)
                })?;
                return Ok(merge(generation, hot, cold, last_hash));
            }
            let departures = shard.departures;
            drop(shard);
            let (cold, last_hash) =
                cold_part(cold, generation, (from_hash, last_hash), limit, now_ms)?;
            if self.keyspace.lock(number).departures == departures
                && self.keyspace.generation(database) == generation
            {
                return Ok(merge(generation, hot, cold, last_hash));
            }
            tries += 1;
        }
    }

    /// Loads snapshot blocks from a hash on until at least its position is complete. Returns the end of the last position that is.
    fn load_positions(&self, generation: u32, from_hash: u64) -> Result<u64, InternalError> {
        let mut loaded_to = self.ports.loader.load_at(generation, from_hash)?;
        while loaded_to < end_of_position(from_hash) {
            loaded_to = self.ports.loader.load_at(generation, loaded_to + 1)?;
        }
        let is_complete = loaded_to == end_of_position(loaded_to);
        Ok(if is_complete {
            loaded_to
        } else {
            (loaded_to >> POSITION_SHIFT << POSITION_SHIFT) - 1
        })
    }

    /// The hot keys of a segment from a hash on, in hash order, and the last hash that is covered.
    fn hot_part(
        &self,
        shard: &Shard,
        database: u32,
        from_hash: u64,
        limit: usize,
        now_ms: u64,
    ) -> (Vec<Found>, u64) {
        let Some(table) = shard.table(database) else {
            return (Vec::new(), from_hash | u64::MAX >> SHARD_BITS);
        };
        let (_, mut last_hash) = table.segment_bounds(from_hash);
        let mut order: Vec<(u64, usize)> = table
            .segment(from_hash)
            .occupied()
            .map(|slot| {
                (
                    self.keyspace
                        .hash(table.segment(from_hash).entry(slot).key()),
                    slot,
                )
            })
            .filter(|(hash, _)| *hash >= from_hash)
            .collect();
        order.sort_unstable();
        if let Some((hash, _)) = order.get(limit - 1) {
            last_hash = last_hash.min(end_of_position(*hash));
        }
        let mut found = Vec::new();
        for (hash, slot) in order.into_iter().take_while(|(hash, _)| *hash <= last_hash) {
            let entry = table.segment(from_hash).entry(slot);
            let is_expired = entry
                .deadline_ms()
                .is_some_and(|deadline_ms| deadline_ms <= now_ms);
            let kind = entry.kind();
            found.push(Found {
                hash,
                key: entry.key().into(),
                kind: kind.filter(|_| !is_expired),
                is_expired: is_expired && kind.is_some(),
            });
        }
        (found, last_hash)
    }

    /// A key chosen at random from all tiers. The choice is the 1st to 16th key from a random position on, so a key after a
    /// wide gap is somewhat likelier than its neighbours.
    ///
    /// # Errors
    /// As [`Tier::scan`].
    pub fn random_key(&self, database: u32, random: u64) -> Result<Option<Vec<u8>>, InternalError> {
        const CANDIDATES: usize = 16;
        for start in [random >> POSITION_SHIFT, 0] {
            let (mut cursor, mut candidates) = (start, Vec::new());
            while candidates.is_empty() {
                let mut collect = |key: &[u8]| candidates.push(key.to_vec());
                cursor = self.scan(database, cursor, CANDIDATES, &|_| true, None, &mut collect)?;
                if cursor == 0 {
                    break;
                }
            }
            if !candidates.is_empty() {
                let choice = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let choice = choice as usize % candidates.len();
                return Ok(Some(candidates.swap_remove(choice)));
            }
        }
        Ok(None)
    }
}

/// A cold key, and the version and deadline of its record.
type ColdFound = (Found, (u64, u64));

/// About `limit` cold keys of a range, and the last hash that is covered.
fn cold_part(
    cold: &Cold,
    generation: u32,
    (from_hash, last_hash): (u64, u64),
    limit: usize,
    now_ms: u64,
) -> Result<(Vec<ColdFound>, u64), InternalError> {
    let (mut found, mut last_hash, mut live) = (Vec::new(), last_hash, 0);
    let mut cursor = cold.cursor(generation, from_hash);
    while let Some((key, header, _)) = cursor.current()? {
        if key.hash > last_hash {
            break;
        }
        let is_expired = header.deadline_ms != 0 && header.deadline_ms <= now_ms;
        let item = Found {
            hash: key.hash,
            key: key.key.into(),
            kind: (!is_expired).then_some(header.kind),
            is_expired,
        };
        found.push((item, (header.lsn, header.deadline_ms)));
        live += usize::from(!is_expired);
        if live == limit {
            last_hash = last_hash.min(end_of_position(key.hash));
        }
        cursor.advance();
    }
    Ok((found, last_hash))
}

/// What the keyspace holds hides its cold records.
fn merge(generation: u32, hot: Vec<Found>, cold: Vec<ColdFound>, last_hash: u64) -> Stretch {
    let known: HashSet<&[u8]> = hot.iter().map(|item| &*item.key).collect();
    let cold: Vec<ColdFound> = cold
        .into_iter()
        .filter(|(item, _)| !known.contains(&*item.key))
        .collect();
    drop(known);
    let hot = hot.into_iter().filter(|item| item.hash <= last_hash);
    let cold = cold.into_iter().map(|(item, record)| (item, Some(record)));
    let mut stretch = Stretch {
        found: Vec::new(),
        expired: Vec::new(),
        last_hash,
    };
    for (item, record) in cold.chain(hot.map(|item| (item, None))) {
        if item.kind.is_some() {
            stretch.found.push(item);
        } else if item.is_expired {
            let Found { hash, key, .. } = item;
            stretch.expired.push(Expired {
                generation,
                hash,
                key,
                record,
            });
        }
    }
    stretch
}
