//! A cold tier for tests: a sorted map whose writes are lost in a crash unless they were flushed, newest first.

use super::cold_store::{ColdStore, ColdVersion, ScanVisitor};
use crate::error::InternalError;
use crate::keyspace::{Keyspace, SHARDS};
use crate::value::Value;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

type ColdKey = (u32, u64, Vec<u8>);
type Records = BTreeMap<ColdKey, ColdVersion>;

#[derive(Clone)]
enum Write {
    Put(ColdKey, ColdVersion),
    Delete(ColdKey),
    DropGeneration(u32),
}

#[derive(Clone, Default)]
struct State {
    current: Records,
    flushed: Records,
    unflushed: Vec<Write>,
    sequence: u64,
}

/// See the module's comment.
#[derive(Default)]
pub struct MockCold {
    state: Mutex<State>,
    keyspace: Mutex<Weak<Keyspace>>,
}

fn write(records: &mut Records, write: &Write) {
    match write {
        Write::Put(key, version) => drop(records.insert(key.clone(), version.clone())),
        Write::Delete(key) => drop(records.remove(key)),
        Write::DropGeneration(generation) => records.retain(|(of, _, _), _| of != generation),
    }
}

impl MockCold {
    /// Another one with the same records, whose tombstones are applied by nobody yet.
    pub fn copy(&self) -> MockCold {
        MockCold {
            state: Mutex::new(self.state.lock().clone()),
            keyspace: Mutex::default(),
        }
    }

    /// The keyspace whose tombstones are applied from now on.
    pub fn attach(&self, keyspace: &Arc<Keyspace>) {
        *self.keyspace.lock() = Arc::downgrade(keyspace);
    }

    fn write(&self, change: Write) {
        let mut state = self.state.lock();
        write(&mut state.current, &change);
        state.sequence += 1;
        state.unflushed.push(change);
    }

    /// Loses what was written last, all but `kept` of the writes since the last flush.
    pub fn crash(&self, kept: usize) {
        let mut state = self.state.lock();
        let mut records = std::mem::take(&mut state.flushed);
        let writes = std::mem::take(&mut state.unflushed);
        writes
            .iter()
            .take(kept)
            .for_each(|change| write(&mut records, change));
        state.flushed = records.clone();
        state.current = records;
    }

    /// Moves a key out of the keyspace, as demotion does, unless it is newer than `durable_lsn`.
    pub fn demote(&self, keyspace: &Keyspace, database: u32, key: &[u8], durable_lsn: u64) {
        let hash = keyspace.hash(key);
        let mut shard = keyspace.lock(Keyspace::shard_of(hash));
        let generation = keyspace.generation(database);
        let Some(place) = shard.find(database, hash, key) else {
            return;
        };
        let entry = shard.entry(database, place);
        let Some(value) = entry.to_value().filter(|_| entry.lsn() <= durable_lsn) else {
            return;
        };
        let version = ColdVersion {
            lsn: entry.lsn(),
            deadline_ms: entry.deadline_ms(),
            value,
        };
        self.write(Write::Put((generation, hash, key.to_vec()), version));
        shard.cold_deadlines.remove(&(generation, key.into()));
        shard.departures += 1;
        drop(shard.table_mut(database).remove(place));
    }

    /// Brings a cold key back into the keyspace, as a fetch does.
    pub fn promote(&self, keyspace: &Keyspace, database: u32, key: &[u8]) {
        use crate::keyspace::entry::{Entry, NewBody};
        let hash = keyspace.hash(key);
        let mut shard = keyspace.lock(Keyspace::shard_of(hash));
        let generation = keyspace.generation(database);
        if shard.find(database, hash, key).is_some() {
            return;
        }
        let Some(version) = self
            .state
            .lock()
            .current
            .get(&(generation, hash, key.to_vec()))
            .cloned()
        else {
            return;
        };
        let mut entry = match version.value.as_text() {
            Some(text) => Entry::new(key, NewBody::Text(text), version.deadline_ms),
            None => Entry::new(
                key,
                NewBody::Boxed(version.value.clone()),
                version.deadline_ms,
            ),
        };
        entry.set_lsn(version.lsn);
        entry.set_cold_record(true);
        entry.set_clean(true);
        let placement = keyspace.placement();
        shard
            .table_mut(database)
            .insert(hash, entry, |key| placement.hash(key));
    }

    /// Applies the pending deletions up to an LSN: the cold records go, then the tombstones.
    pub fn apply_deletions(&self, keyspace: &Keyspace, durable_lsn: u64) {
        for number in 0..SHARDS {
            let mut shard = keyspace.lock(number);
            for deletion in std::mem::take(&mut shard.deletions) {
                let Some(database) = keyspace.database_of(deletion.generation) else {
                    continue;
                };
                let Some(place) = shard.find(database, deletion.hash, &deletion.key) else {
                    continue;
                };
                let entry = shard.entry(database, place);
                if entry.is_tombstone() && entry.lsn() > durable_lsn {
                    shard.deletions.push(deletion);
                } else if entry.is_tombstone() {
                    self.write(Write::Delete((
                        deletion.generation,
                        deletion.hash,
                        deletion.key.to_vec(),
                    )));
                    drop(shard.table_mut(database).remove(place));
                }
            }
        }
    }
}

impl ColdStore for MockCold {
    fn is_empty(&self) -> bool {
        self.state.lock().current.is_empty()
    }

    fn may_contain(&self, generation: u32, hash: u64, key: &[u8]) -> bool {
        // Every eighth key passes the filter though it is not there.
        hash & 7 == 0
            || self
                .state
                .lock()
                .current
                .contains_key(&(generation, hash, key.to_vec()))
    }

    fn get(
        &self,
        generation: u32,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<ColdVersion>, InternalError> {
        let state = self.state.lock();
        let found = state.current.get(&(generation, hash, key.to_vec()));
        // Through the encoding, so that nothing is shared.
        found
            .map(|version| {
                Ok(ColdVersion {
                    value: reencoded(&version.value)?,
                    ..version.clone()
                })
            })
            .transpose()
    }

    fn scan(&self, generation: u32, visit: &mut ScanVisitor<'_>) -> Result<(), InternalError> {
        let records = self.state.lock().current.clone();
        for ((_, hash, key), version) in records.iter().filter(|((of, _, _), _)| *of == generation)
        {
            visit(*hash, key, version.lsn, version.deadline_ms);
        }
        Ok(())
    }

    fn flush_for_snapshot(&self, cut_lsn: u64) -> Result<u64, InternalError> {
        if let Some(keyspace) = self.keyspace.lock().upgrade() {
            self.apply_deletions(&keyspace, cut_lsn);
        }
        let mut state = self.state.lock();
        state.flushed = state.current.clone();
        state.unflushed.clear();
        Ok(state.sequence)
    }

    fn latest_sequence(&self) -> u64 {
        self.state.lock().sequence
    }

    fn drop_generation(&self, generation: u32) -> Result<(), InternalError> {
        self.write(Write::DropGeneration(generation));
        Ok(())
    }
}

fn reencoded(value: &Value) -> Result<Value, InternalError> {
    let mut encoded = Vec::new();
    value.encode(&mut encoded);
    Value::decode(value.kind(), &encoded).map_err(|error| InternalError::Other(error.to_string()))
}
