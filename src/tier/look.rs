//! A value as it is, from whatever tier: nothing is promoted, used or counted.

use super::Tier;
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::{Keyspace, lock_watch};
use crate::value::Value;

/// A value with its key's deadline in Unix milliseconds.
pub type Looked = (Value, Option<u64>);

impl Tier {
    /// The value of a key; `None` if it does not exist or has expired. Fields that have expired are left out. Reads the disk
    /// under the lock of the key's shard, so that the key cannot change its tier meanwhile.
    ///
    /// # Errors
    /// The record or the snapshot cannot be read, or is damaged.
    pub fn value(&self, database: u32, key: &[u8]) -> Result<Option<Looked>, InternalError> {
        let hash = self.keyspace.hash(key);
        let loader = &self.ports.loader;
        loader.load_at(self.keyspace.generation(database), hash)?;
        let shard = self.keyspace.lock(Keyspace::shard_of(hash));
        let generation = self.keyspace.generation(database);
        let found = match shard.find(database, hash, key) {
            Some(place) => {
                let entry = shard.entry(database, place);
                entry.to_value().map(|value| (value, entry.deadline_ms()))
            }
            // For DEBUG and tests: rare, and the key must stay where it is.
            None => lock_watch::may_wait(|| self.cold_value(generation, hash, key))?,
        };
        let now_ms = clock::now_ms();
        Ok(found
            .filter(|(_, deadline_ms)| deadline_ms.is_none_or(|deadline_ms| deadline_ms > now_ms))
            .map(|(value, deadline_ms)| (without_due_fields(value, now_ms), deadline_ms))
            .filter(|(value, _)| !value.is_empty()))
    }

    fn cold_value(
        &self,
        generation: u32,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<Looked>, InternalError> {
        let Some(cold) = self.cold.as_deref() else {
            return Ok(None);
        };
        let Some(record) = cold.get(generation, hash, key)? else {
            return Ok(None);
        };
        let value =
            Value::decode(record.kind, &record.encoded).map_err(|source| cold.damaged(source))?;
        Ok(Some((value, record.deadline_ms)))
    }
}

fn without_due_fields(value: Value, now_ms: u64) -> Value {
    let Value::Hash(mut hash) = value else {
        return value;
    };
    let due: Vec<Vec<u8>> = hash.fields_due(now_ms).map(<[u8]>::to_vec).collect();
    for field in due {
        hash.remove(&field);
    }
    Value::Hash(hash)
}
