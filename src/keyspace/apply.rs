//! Effects: the only way a key changes, live and in recovery.
//!
//! A command reads, decides, and applies effects. Applying one changes the entry, leaves a pre-image for a running
//! snapshot, notes the effect in the journal, and tells how much changed; an effect that changes nothing is not
//! noted. An effect that empties a collection removes the key.

use super::apply_collection::{apply_to_value, collection_kind, is_gone_when_empty, payload_bytes};
use super::entry::{Body, Entry, INLINE_TEXT_MAX, NewBody, PENDING_LSN};
use super::field_expiry::{earliest_field_deadline_ms, has_due_fields, next_deadline_ms};
use super::keys::{Deadline, Keys};
use super::shard::PendingDeletion;
use super::table::Place;
use crate::error::CommandError;
use crate::event_classes::EventClasses;
use crate::value::{Hash, List, Set, SortedSet, Stream, Value};
use storage_format::{Effect, EffectRecord, SAME_RECORD_LSN, ValueKind};

/// What an effect did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Elements that were added (SetAdd, HashSet: new fields, SortedSetPut: new members, ListPush) or removed.
    pub added_or_removed: u64,
    /// Elements that were there and got another value or score.
    pub updated: u64,
    /// Length of the value afterwards: elements, or bytes of a text.
    pub length: u64,
}

impl Applied {
    fn changed(self) -> bool {
        self.added_or_removed + self.updated > 0
    }
}

/// A key as an effect finds it.
pub(super) struct Target<'k> {
    pub(super) key: &'k [u8],
    pub(super) hash: u64,
    /// Its entry, which may be a tombstone.
    pub(super) place: Option<Place>,
    /// It has one that is none.
    pub(super) is_live: bool,
    /// The LSN that the effect names as its base.
    pub(super) previous_lsn: u64,
}

impl Target<'_> {
    /// The place of its live entry.
    fn live(&self) -> Option<Place> {
        self.place.filter(|_| self.is_live)
    }
}

impl Keys<'_> {
    /// Applies an effect to a key of the selected database.
    ///
    /// # Errors
    /// WRONGTYPE if the key holds another type than the effect is for; MISCONF if the log has no room.
    pub fn apply(&mut self, key: &[u8], effect: Effect<'_>) -> Result<Applied, CommandError> {
        self.ensure_room(key.len() + payload_bytes(&effect))?;
        let target = self.target(key);
        self.apply_to(&target, effect)
    }

    /// As [`Keys::apply`], to a key that was just found. Whoever calls this has made sure of room in the log.
    pub(super) fn apply_to(
        &mut self,
        target: &Target<'_>,
        effect: Effect<'_>,
    ) -> Result<Applied, CommandError> {
        self.journal.begin_effect(self.database, target.hash);
        let applied = self.change_and_note(target, effect);
        self.journal.end_effect();
        applied
    }

    fn change_and_note(
        &mut self,
        target: &Target<'_>,
        effect: Effect<'_>,
    ) -> Result<Applied, CommandError> {
        let applied = match &effect {
            Effect::Put {
                kind: ValueKind::String,
                deadline_ms,
                encoded,
            } => self.put_text(target, encoded, (*deadline_ms != 0).then_some(*deadline_ms)),
            Effect::Put {
                kind,
                deadline_ms,
                encoded,
            } => {
                let value = Value::decode(*kind, encoded)
                    .map_err(|error| CommandError::new(format!("ERR {error}")))?;
                self.put_value(target, value, (*deadline_ms != 0).then_some(*deadline_ms))
            }
            Effect::Delete => self.delete_entry(target),
            Effect::SetDeadline { deadline_ms } => {
                self.change_deadline(target, (*deadline_ms != 0).then_some(*deadline_ms))
            }
            Effect::Append { bytes } => self.change_text(target, |text| text.append(bytes))?,
            Effect::SetRange { offset, bytes } => {
                self.change_text(target, |text| text.set_range(*offset as usize, bytes))?
            }
            _ => self.change_collection(target, &effect)?,
        };
        if applied.changed() {
            // A collection that became empty is a deletion in the log: replay must know, even where it has not got the
            // collection, that its cold record may be gone.
            let is_emptied =
                applied.length == 0 && collection_kind(&effect).is_some_and(is_gone_when_empty);
            self.note(target, if is_emptied { Effect::Delete } else { effect });
            // Each element counts as a change, as in Redis; the effect itself was counted.
            self.journal.changes += (applied.added_or_removed + applied.updated).saturating_sub(1);
        }
        Ok(applied)
    }

    /// The last two effects are one change to those who count: a move from one key to another.
    pub fn count_as_one_change(&mut self) {
        self.journal.changes = self.journal.changes.saturating_sub(1);
    }

    /// Sets a key to a text.
    pub fn set_text(
        &mut self,
        key: &[u8],
        text: &[u8],
        deadline: Deadline,
    ) -> Result<(), CommandError> {
        let deadline_ms = self.resolve(key, deadline);
        self.put(key, ValueKind::String, text, deadline_ms, |keys, target| {
            keys.put_text(target, text, deadline_ms)
        })
    }

    /// Sets a key to a value of any type (RENAME, COPY, the results of set operations). An empty collection removes
    /// the key.
    pub fn set_value(
        &mut self,
        key: &[u8],
        value: Value,
        deadline: Deadline,
    ) -> Result<(), CommandError> {
        if value.is_empty() {
            self.delete(key)?;
            return Ok(());
        }
        let deadline_ms = self.resolve(key, deadline);
        let mut encoded = Vec::new();
        if self.recorder.keeps_effects() {
            value.encode(&mut encoded);
        }
        let kind = value.kind();
        self.put(key, kind, &encoded, deadline_ms, |keys, target| {
            keys.put_value(target, value, deadline_ms)
        })
    }

    /// Puts a value in the place of whatever a key had, and notes it.
    fn put(
        &mut self,
        key: &[u8],
        kind: ValueKind,
        encoded: &[u8],
        deadline_ms: Option<u64>,
        put: impl FnOnce(&mut Self, &Target<'_>) -> Applied,
    ) -> Result<(), CommandError> {
        self.ensure_room(key.len() + encoded.len())?;
        let target = self.target(key);
        self.journal.begin_effect(self.database, target.hash);
        put(self, &target);
        let deadline_ms = deadline_ms.unwrap_or(0);
        let effect = Effect::Put {
            kind,
            deadline_ms,
            encoded,
        };
        self.note(&target, effect);
        self.journal.end_effect();
        Ok(())
    }

    /// Deletes a key; false if it did not exist.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        self.apply(key, Effect::Delete).map(Applied::changed)
    }

    /// Gives an existing key a deadline (absolute, Unix milliseconds) or takes it away; false if nothing changed.
    pub fn set_deadline(
        &mut self,
        key: &[u8],
        deadline_ms: Option<u64>,
    ) -> Result<bool, CommandError> {
        self.apply(
            key,
            Effect::SetDeadline {
                deadline_ms: deadline_ms.unwrap_or(0),
            },
        )
        .map(Applied::changed)
    }

    /// Marks a text as one that can be changed in place: OBJECT ENCODING says `raw`. No change of the key: nothing is logged.
    pub fn mark_raw_text(&mut self, key: &[u8]) {
        let target = self.target(key);
        if let Some(place) = target.place {
            let database = self.database as usize;
            let shard = self.guards.shard_mut(target.hash);
            shard.tables[database].change(place, |entry| entry.set_raw_text(true));
        }
    }

    fn resolve(&mut self, key: &[u8], deadline: Deadline) -> Option<u64> {
        match deadline {
            Deadline::None => None,
            Deadline::At(deadline_ms) => Some(deadline_ms),
            Deadline::Keep => self.peek_deadline_ms(key),
        }
    }

    /// Makes sure that effects of so many bytes more find room in the log: for commands whose effects go together.
    ///
    /// # Errors
    /// MISCONF if there is none.
    pub fn ensure_room(&self, bytes: usize) -> Result<(), CommandError> {
        const FRAME_BYTES_MAX: usize = 64;
        let bytes = self.journal.bytes() + bytes + FRAME_BYTES_MAX;
        if self.recorder.has_room(bytes) {
            Ok(())
        } else {
            Err(CommandError::LOG_UNWRITABLE)
        }
    }

    /// Removes an expired entry. Its deletion is an effect like any other.
    pub(super) fn expire(&mut self, hash: u64, place: Place, key: &[u8]) {
        if self.ensure_room(key.len()).is_err() {
            return;
        }
        self.note_former(hash, key);
        let previous_lsn = self.previous_lsn(hash, place);
        let target = Target {
            key,
            hash,
            place: Some(place),
            is_live: true,
            previous_lsn,
        };
        self.journal.begin_effect(self.database, hash);
        self.remove(&target, place);
        self.note(&target, Effect::Delete);
        self.journal.end_effect();
        self.notify(EventClasses::EXPIRED, "expired", key);
        self.counts.expired += 1;
    }

    /// Deletes a key that is only cold: `lsn` and `deadline_ms` are what its record says. Leaves a tombstone, which
    /// the record's removal follows. The key is not in the keyspace. False, and nothing is changed, if the log has no room.
    pub fn delete_cold(&mut self, key: &[u8], lsn: u64, deadline_ms: Option<u64>) -> bool {
        if self.ensure_room(key.len()).is_err() {
            return false;
        }
        let (hash, database) = (self.hash_of(key), self.database);
        let generation = self.keyspace.generation(database);
        let mut tombstone = Entry::new(key, NewBody::Tombstone, deadline_ms);
        tombstone.set_cold_record(true);
        tombstone.set_lsn(PENDING_LSN);
        let placement = self.keyspace.placement();
        let shard = self.guards.shard_mut(hash);
        shard.deletions.push(PendingDeletion {
            generation,
            hash,
            key: key.into(),
        });
        let table = shard.table_mut(database);
        table.insert(hash, tombstone, |key| placement.hash(key));
        table.key_balance -= 1;
        table.deadline_balance -= i64::from(deadline_ms.is_some());
        self.note(
            &Target {
                key,
                hash,
                place: None,
                is_live: false,
                previous_lsn: lsn,
            },
            Effect::Delete,
        );
        true
    }

    pub(super) fn previous_lsn(&mut self, hash: u64, place: Place) -> u64 {
        let database = self.database;
        base_lsn(&self.guards.shard_mut(hash).entry(database, place))
    }

    /// Finds the entry that an effect changes, after removing it if it has expired.
    fn target<'k>(&mut self, key: &'k [u8]) -> Target<'k> {
        let hash = self.hash_of(key);
        self.note_former(hash, key);
        let database = self.database;
        let shard = self.guards.shard_mut(hash);
        let mut place = shard.find(database, hash, key);
        if let Some(found) = place
            && !shard.entry(database, found).has_no_deadline()
            && self.expire_what_is_due(hash, found, key)
        {
            place = self.guards.shard(hash).find(database, hash, key);
        }
        let shard = self.guards.shard_mut(hash);
        let entry = place.map(|place| shard.entry(database, place));
        Target {
            key,
            hash,
            place,
            is_live: entry.as_ref().is_some_and(|entry| !entry.is_tombstone()),
            previous_lsn: entry.as_deref().map_or(0, base_lsn),
        }
    }

    /// Removes an entry that has expired, or its fields that have; false if there is nothing of the kind.
    fn expire_what_is_due(&mut self, hash: u64, place: Place, key: &[u8]) -> bool {
        let entry = self.guards.shard(hash).entry(self.database, place);
        if !entry.is_tombstone() && self.is_expired(&entry) {
            self.expire(hash, place, key);
        } else if has_due_fields(&entry, self.now_ms) {
            self.expire_fields(hash, place, key);
        } else {
            return false;
        }
        true
    }

    #[inline]
    fn note(&mut self, target: &Target<'_>, effect: Effect<'_>) {
        if self.recorder.keeps_effects() {
            let record = EffectRecord {
                generation: self.keyspace.generation(self.database),
                key: target.key,
                previous_lsn: target.previous_lsn,
                effect,
            };
            self.journal.encode(&record);
        }
        let first_touch = target.previous_lsn != SAME_RECORD_LSN;
        self.journal
            .count(first_touch.then_some((self.database, target.hash)));
        if self.notes_written {
            self.journal.push_written(self.database, target.key);
        }
    }

    /// Changes an entry in place and marks it dirty and pending.
    fn change_entry<R>(
        &mut self,
        target: &Target<'_>,
        place: Place,
        change: impl FnOnce(&mut Entry) -> R,
    ) -> R {
        let database = self.database;
        let seconds = (self.now_ms / 1000) as u32;
        let generation = self.keyspace.generation(database);
        let shard = self.guards.shard_mut(target.hash);
        shard.keep_pre_image(database, generation, place, target.hash);
        shard.tables[database as usize].change(place, |entry| {
            let result = change(entry);
            mark_changed(entry, seconds);
            result
        })
    }

    /// Puts a new entry in the place of whatever the key had.
    fn put_entry(&mut self, target: &Target<'_>, mut new: Entry) {
        const NEW_KEY_FREQUENCY: u32 = 5;
        let generation = self.keyspace.generation(self.database);
        let database = self.database;
        let (deadline_ms, next_ms) = (new.deadline_ms(), next_deadline_ms(&new));
        let was_live = target.is_live;
        new.set_access(((self.now_ms / 1000) as u32) << 8 | NEW_KEY_FREQUENCY);
        new.set_lsn(PENDING_LSN);
        new.set_referenced(true);
        let placement = self.keyspace.placement();
        let shard = self.guards.shard_mut(target.hash);
        let mut former_deadline = false;
        match target.place {
            Some(place) => {
                shard.keep_pre_image(database, generation, place, target.hash);
                shard.note_cold_deadline(database, generation, place, deadline_ms);
                let table = shard.table_mut(database);
                former_deadline = was_live && table.entry(place).deadline_ms().is_some();
                table.change(place, |entry| {
                    new.set_cold_record(entry.has_cold_record());
                    *entry = new;
                });
                if let Some(next_ms) = next_ms {
                    table
                        .segment_mut(target.hash)
                        .note_deadline(target.hash, next_ms);
                }
            }
            None => {
                shard
                    .table_mut(database)
                    .insert(target.hash, new, |key| placement.hash(key));
            }
        }
        let table = shard.table_mut(database);
        table.key_balance += i64::from(!was_live);
        table.deadline_balance += i64::from(deadline_ms.is_some()) - i64::from(former_deadline);
        if !was_live {
            self.notify(EventClasses::NEW, "new", target.key);
        }
    }

    fn put_text(&mut self, target: &Target<'_>, text: &[u8], deadline_ms: Option<u64>) -> Applied {
        let applied = Applied {
            added_or_removed: 1,
            updated: 0,
            length: text.len() as u64,
        };
        if let Some(place) = target.live() {
            let (database, hash) = (self.database, target.hash);
            let shard = self.guards.shard_mut(hash);
            let entry = shard.entry(database, place);
            let former_ms = entry.deadline_ms();
            if former_ms.is_some() == deadline_ms.is_some() {
                let generation = self.keyspace.generation(database);
                shard.note_cold_deadline(database, generation, place, deadline_ms);
                let done = self.change_text_in_place(target, place, text, deadline_ms);
                if done {
                    if let Some(deadline_ms) = deadline_ms.filter(|_| former_ms != deadline_ms) {
                        let table = self.guards.shard_mut(hash).table_mut(database);
                        table.segment_mut(hash).note_deadline(hash, deadline_ms);
                    }
                    return applied;
                }
            }
        }
        self.put_entry(
            target,
            Entry::new(target.key, NewBody::Text(text), deadline_ms),
        );
        applied
    }

    /// Tries to overwrite an inline text where it is. A pre-image is kept first, so nothing else may have changed.
    fn change_text_in_place(
        &mut self,
        target: &Target<'_>,
        place: Place,
        text: &[u8],
        deadline_ms: Option<u64>,
    ) -> bool {
        let database = self.database;
        let seconds = (self.now_ms / 1000) as u32;
        let shard = self.guards.shard_mut(target.hash);
        if shard.cut.is_some() {
            if !shard
                .entry(database, place)
                .can_overwrite_text(text.len(), deadline_ms)
            {
                return false;
            }
            let generation = self.keyspace.generation(database);
            shard.keep_pre_image(database, generation, place, target.hash);
        }
        shard.tables[database as usize].change(place, |entry| {
            let is_done = entry.overwrite_text(text, deadline_ms);
            if is_done {
                entry.set_raw_text(false);
                mark_changed(entry, seconds);
            }
            is_done
        })
    }

    fn put_value(
        &mut self,
        target: &Target<'_>,
        value: Value,
        deadline_ms: Option<u64>,
    ) -> Applied {
        if let Some(text) = value.as_text().filter(|text| text.len() <= INLINE_TEXT_MAX) {
            return self.put_text(target, text, deadline_ms);
        }
        let applied = Applied {
            added_or_removed: 1,
            updated: 0,
            length: 0,
        };
        self.put_entry(
            target,
            Entry::new(target.key, NewBody::Boxed(value), deadline_ms),
        );
        applied
    }

    fn remove(&mut self, target: &Target<'_>, place: Place) {
        let generation = self.keyspace.generation(self.database);
        let database = self.database;
        self.guards
            .shard_mut(target.hash)
            .remove_live(database, generation, place, target.hash);
    }

    fn delete_entry(&mut self, target: &Target<'_>) -> Applied {
        let Some(place) = target.live() else {
            return Applied::default();
        };
        self.remove(target, place);
        Applied {
            added_or_removed: 1,
            updated: 0,
            length: 0,
        }
    }

    fn change_deadline(&mut self, target: &Target<'_>, deadline_ms: Option<u64>) -> Applied {
        let Some(place) = target.live() else {
            return Applied::default();
        };
        let (database, hash) = (self.database, target.hash);
        let generation = self.keyspace.generation(database);
        let former_ms = self
            .guards
            .shard_mut(hash)
            .entry(database, place)
            .deadline_ms();
        if former_ms == deadline_ms && deadline_ms.is_none() {
            return Applied::default();
        }
        self.guards
            .shard_mut(hash)
            .note_cold_deadline(database, generation, place, deadline_ms);
        self.change_entry(target, place, |entry| {
            let in_place =
                deadline_ms.is_some_and(|deadline_ms| entry.overwrite_deadline(deadline_ms));
            if !in_place {
                let placeholder = Entry::new(b"", NewBody::Tombstone, None);
                let former = std::mem::replace(entry, placeholder);
                *entry = former.with_deadline(deadline_ms);
            }
        });
        let table = self.guards.shard_mut(hash).table_mut(database);
        if let Some(deadline_ms) = deadline_ms {
            table.segment_mut(hash).note_deadline(hash, deadline_ms);
        }
        table.deadline_balance += i64::from(deadline_ms.is_some()) - i64::from(former_ms.is_some());
        Applied {
            added_or_removed: 0,
            updated: 1,
            length: 0,
        }
    }

    /// APPEND and SETRANGE: the text moves into a shared text when it outgrows its entry.
    fn change_text(
        &mut self,
        target: &Target<'_>,
        change: impl FnOnce(&mut crate::value::SharedText),
    ) -> Result<Applied, CommandError> {
        let Some(place) = target.live() else {
            let mut text = crate::value::SharedText::new(b"");
            change(&mut text);
            let length = text.as_bytes().len() as u64;
            self.put_value(target, Value::Text(text), None);
            return Ok(Applied {
                added_or_removed: 1,
                updated: 0,
                length,
            });
        };
        let database = self.database;
        let entry = self.guards.shard_mut(target.hash).entry(database, place);
        let deadline_ms = entry.deadline_ms();
        match entry.body() {
            Body::Boxed(Value::Text(_)) => {
                let length = self.change_entry(target, place, |entry| match entry.value_mut() {
                    Some(Value::Text(text)) => {
                        change(text);
                        text.as_bytes().len() as u64
                    }
                    _ => 0,
                });
                Ok(Applied {
                    added_or_removed: 0,
                    updated: 1,
                    length,
                })
            }
            Body::Text(inline) => {
                let mut text = crate::value::SharedText::new(inline);
                change(&mut text);
                let length = text.as_bytes().len() as u64;
                self.put_value(target, Value::Text(text), deadline_ms);
                Ok(Applied {
                    added_or_removed: 0,
                    updated: 1,
                    length,
                })
            }
            _ => Err(CommandError::WRONG_TYPE),
        }
    }

    fn change_collection(
        &mut self,
        target: &Target<'_>,
        effect: &Effect<'_>,
    ) -> Result<Applied, CommandError> {
        let kind = collection_kind(effect).ok_or(CommandError::SYNTAX)?;
        let Some(place) = target.live() else {
            let mut value = match kind {
                ValueKind::List => Value::List(List::default()),
                ValueKind::Set => Value::Set(Set::default()),
                ValueKind::Hash => Value::Hash(Hash::default()),
                ValueKind::Stream => Value::Stream(Stream::default()),
                _ => Value::SortedSet(SortedSet::default()),
            };
            let applied = apply_to_value(&mut value, effect);
            if applied.changed() && !value.is_empty() {
                self.put_value(target, value, None);
            }
            return Ok(applied);
        };
        let database = self.database;
        let entry = self.guards.shard_mut(target.hash).entry(database, place);
        if entry.kind() != Some(kind) {
            return Err(CommandError::WRONG_TYPE);
        }
        let (former_lsn, was_clean) = (entry.lsn(), entry.is_clean());
        let (applied, earlier, earliest) =
            self.change_entry(target, place, |entry| match entry.value_mut() {
                Some(value) => {
                    let earlier = earliest_field_deadline_ms(value);
                    let applied = apply_to_value(value, effect);
                    (applied, earlier, earliest_field_deadline_ms(value))
                }
                None => (Applied::default(), None, None),
            });
        if let Some(earliest_ms) = earliest.filter(|_| earliest != earlier) {
            let table = self.guards.shard_mut(target.hash).table_mut(database);
            table
                .segment_mut(target.hash)
                .note_deadline(target.hash, earliest_ms);
        }
        if applied.length == 0 && is_gone_when_empty(kind) {
            self.remove(target, place);
        } else if !applied.changed() {
            self.guards.shard_mut(target.hash).tables[database as usize].change(place, |entry| {
                entry.set_lsn(former_lsn);
                entry.set_clean(was_clean);
            });
        }
        Ok(applied)
    }
}

/// Marks a changed entry: dirty, pending, used now.
#[inline]
fn mark_changed(entry: &mut Entry, seconds: u32) {
    entry.set_lsn(PENDING_LSN);
    entry.set_clean(false);
    entry.set_access(seconds << 8 | entry.access() & 0xff);
    entry.set_referenced(true);
}

/// The LSN that an effect on this entry names as its base.
fn base_lsn(entry: &Entry) -> u64 {
    match entry.lsn() {
        _ if entry.is_tombstone() => 0,
        PENDING_LSN => SAME_RECORD_LSN,
        lsn => lsn,
    }
}
