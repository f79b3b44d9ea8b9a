//! Deadlines of the fields of hashes: whoever uses a hash first removes the fields whose deadlines have passed, as a logged
//! `HashDelete`. So no command ever sees them, and none has to ask.
//!
//! Cost: for a key that is no hash, one comparison of its type; for a hash without deadlines, a look at a pointer.
//! Removing is linear in the fields that are due; the active expiry does it soon after they are.

use super::apply::Target;
use super::apply_collection::payload_bytes;
use super::entry::{Body, Entry, NewBody};
use super::keys::Keys;
use super::table::Place;
use crate::event_classes::EventClasses;
use crate::value::{Hash, Value};
use storage_format::{Effect, ValueKind};

fn hash_of(entry: &Entry) -> Option<&Hash> {
    if entry.kind() != Some(ValueKind::Hash) {
        return None;
    }
    match entry.body() {
        Body::Boxed(Value::Hash(hash)) => Some(hash),
        _ => None,
    }
}

/// The earliest deadline of the fields of a value, in Unix milliseconds.
pub fn earliest_field_deadline_ms(value: &Value) -> Option<u64> {
    value.as_hash()?.earliest_field_deadline_ms()
}

/// When an entry has to be looked at next, in Unix milliseconds: its deadline, or the earliest one of its fields.
pub(super) fn next_deadline_ms(entry: &Entry) -> Option<u64> {
    let of_field = hash_of(entry).and_then(Hash::earliest_field_deadline_ms);
    match (entry.deadline_ms(), of_field) {
        (Some(of_key), Some(of_field)) => Some(of_key.min(of_field)),
        (of_key, of_field) => of_key.or(of_field),
    }
}

/// True if fields of this entry have expired.
pub(super) fn has_due_fields(entry: &Entry, now_ms: u64) -> bool {
    hash_of(entry)
        .and_then(Hash::earliest_field_deadline_ms)
        .is_some_and(|deadline_ms| deadline_ms <= now_ms)
}

impl Keys<'_> {
    /// Removes the expired fields of the hash at a place that was just found, and the key with the last of them. Where the log
    /// has no room for that, or while nothing may expire, they stay, and a copy without them is lent to this command.
    pub(super) fn expire_fields(&mut self, hash: u64, place: Place, key: &[u8]) {
        let (database, now_ms) = (self.database, self.now_ms);
        let entry = self.guards.shard_mut(hash).entry(database, place);
        let due: Vec<Vec<u8>> = hash_of(&entry)
            .into_iter()
            .flat_map(|hash| hash.fields_due(now_ms))
            .map(<[u8]>::to_vec)
            .collect();
        let fields: Vec<&[u8]> = due.iter().map(Vec::as_slice).collect();
        let effect = Effect::HashDelete {
            fields: fields.as_slice().into(),
        };
        let bytes = key.len() + payload_bytes(&effect);
        if self.keeps_expired || self.ensure_room(bytes).is_err() {
            self.lend_without(hash, place, key, &fields);
            return;
        }
        let target = Target {
            key,
            hash,
            place: Some(place),
            is_live: true,
            previous_lsn: self.previous_lsn(hash, place),
        };
        let Ok(applied) = self.apply_to(&target, effect) else {
            return;
        };
        self.counts.expired_fields += applied.added_or_removed;
        self.notify(EventClasses::HASH, "hexpired", key);
        if applied.length == 0 {
            self.notify(EventClasses::GENERIC, "del", key);
        }
    }

    /// Lends a copy of a hash without these fields; nothing if no other is left.
    fn lend_without(&mut self, hash: u64, place: Place, key: &[u8], fields: &[&[u8]]) {
        let database = self.database;
        let entry = self.guards.shard_mut(hash).entry(database, place);
        let (deadline_ms, Some(Value::Hash(mut rest))) = (entry.deadline_ms(), entry.to_value())
        else {
            return;
        };
        for field in fields {
            rest.remove(field);
        }
        if !rest.is_empty() {
            let body = NewBody::Boxed(Value::Hash(rest));
            self.lend(database, Entry::new(key, body, deadline_ms));
        }
    }
}
