//! What a batch of effects builds on outside the keyspace, looked up before the shard's lock is taken, because that may wait
//! for the disk: snapshot blocks are loaded, cold records read, and keys settled (see [`super::lazy_snapshot`]).
//!
//! Between the look-up and the lock nobody changes these keys, because whoever wants to waits until their part is replayed.
//! Only demotion does not ask; it shows in the shard's count of departures, and then the look-up is repeated.
//!
//! Cost: nothing if there is neither a cold record nor a block that is not loaded; else a look-up for each key of the batch.

use super::cold_store::ColdVersion;
use super::rebuild::{Failure, Held, Named, Placed, Rebuild};
use crate::error::InternalError;
use crate::keyspace::Keyspace;
use hashbrown::HashMap;

/// Whether an effect needs to know what its key held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// It makes the key what it is, whatever it was.
    Settles,
    /// It changes what the key held.
    BuildsOn,
}

/// See the module's comment.
#[derive(Default)]
pub(super) struct Bases<'a> {
    /// The shard's count of departures before anything was looked up.
    pub(super) departures: u64,
    /// The cold records of keys that the keyspace does not hold.
    cold: HashMap<(u32, &'a [u8]), Option<ColdVersion>>,
}

impl<'a> Bases<'a> {
    /// Looks up what a batch on keys of one shard needs. With it, why that failed for an effect, if it did: those in front of
    /// that effect can be applied.
    pub(super) fn look_up(
        rebuild: &Rebuild<'_>,
        batch: &[Placed<'a>],
    ) -> (Bases<'a>, Option<Failure>) {
        let mut bases = Bases::default();
        let Some(first) = batch.first() else {
            return (bases, None);
        };
        let shard = Keyspace::shard_of(first.hash);
        bases.departures = rebuild.keyspace.lock(shard).departures;
        if rebuild.cold.is_empty() && rebuild.lazy.has_all_blocks() {
            return (bases, None);
        }
        for placed in batch {
            if let Err(error) = bases.look_up_one(rebuild, placed) {
                return (bases, Some(placed.failure(error)));
            }
        }
        (bases, None)
    }

    fn look_up_one(
        &mut self,
        rebuild: &Rebuild<'_>,
        placed: &Placed<'a>,
    ) -> Result<(), InternalError> {
        let Some(named) = rebuild.named(placed)? else {
            return Ok(());
        };
        let Named {
            generation,
            hash,
            key,
            ..
        } = named;
        if self.cold.contains_key(&(generation, key)) {
            return Ok(());
        }
        let held = || Held::of(&rebuild.keyspace.lock(Keyspace::shard_of(hash)), named);
        if held() != Held::Nothing {
            return Ok(());
        }
        let builds_on = placed.origin() == Origin::BuildsOn;
        if builds_on {
            rebuild
                .lazy
                .ensure_blocks_loaded(generation, hash, hash, rebuild.keyspace)?;
            if held() != Held::Nothing {
                return Ok(());
            }
        }
        let cold = match rebuild.cold.may_contain(generation, hash, key) {
            true => rebuild.cold.get(generation, hash, key)?,
            false => None,
        };
        if !builds_on {
            let is_replaced = cold
                .as_ref()
                .is_some_and(|cold| cold.lsn == placed.record.previous_lsn);
            rebuild.lazy.settle(generation, hash, key, is_replaced);
        }
        self.cold.insert((generation, key), cold);
        Ok(())
    }

    /// A key's cold record.
    pub(super) fn cold_version(&self, named: Named<'_>) -> Option<&ColdVersion> {
        let name = Name(named.generation, named.key);
        self.cold.get(&name)?.as_ref()
    }
}

/// Looks up `(u32, &[u8])`, whatever the lifetime.
#[derive(Hash)]
struct Name<'n>(u32, &'n [u8]);

impl hashbrown::Equivalent<(u32, &[u8])> for Name<'_> {
    fn equivalent(&self, key: &(u32, &[u8])) -> bool {
        (self.0, self.1) == *key
    }
}
