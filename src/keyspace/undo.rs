//! Taking back what a command has done so far: for scripts that have to start over (see `commands/script/running.rs`).
//!
//! While [`Keys::keep_former`] is on, the first change of each key leaves what the key was; values are cheap to clone, so
//! that costs one small allocation for each changed key. [`Keys::roll_back`] puts it all back under the same locks, so
//! nobody has seen anything: entries with their LSNs and flags, counts, pending deletions, the pre-images of a
//! running snapshot. Nothing of it reaches the log.

use super::entry::{Body, Entry, EntryRef, NewBody};
use super::keys::Keys;
use hashbrown::HashTable;

/// What a key was.
struct Former {
    database: u32,
    hash: u64,
    was: Was,
    /// What the shard knew of its cold record's deadline.
    cold_deadline: Option<u64>,
    /// How many deletions were pending in the shard: at the first change of one of its keys, none of them was the command's.
    deletions: usize,
}

/// The entry of a key (a tombstone, perhaps), or the name of a key that had none.
enum Was {
    Entry(Entry),
    Absent(Box<[u8]>),
}

impl Former {
    fn key(&self) -> &[u8] {
        match &self.was {
            Was::Entry(entry) => entry.key(),
            Was::Absent(key) => key,
        }
    }
}

/// The former states of the keys that were changed.
#[derive(Default)]
pub(super) struct Undo {
    keys: HashTable<Former>,
    /// The journal's count of changes.
    changes: u64,
}

fn copy_of(entry: &EntryRef<'_>) -> Entry {
    let body = match entry.body() {
        Body::Tombstone => NewBody::Tombstone,
        Body::Text(text) => NewBody::Text(text),
        Body::Boxed(value) => NewBody::Boxed(value.clone()),
    };
    let mut copy = Entry::new(entry.key(), body, entry.deadline_ms());
    copy.set_lsn(entry.lsn());
    copy.set_access(entry.access());
    copy.set_referenced(entry.is_referenced());
    copy.set_cold_record(entry.has_cold_record());
    copy.set_clean(entry.is_clean());
    copy.set_raw_text(entry.is_raw_text());
    copy
}

fn counts(entry: Option<&EntryRef<'_>>) -> (i64, i64) {
    match entry.filter(|entry| !entry.is_tombstone()) {
        Some(entry) => (1, i64::from(entry.deadline_ms().is_some())),
        None => (0, 0),
    }
}

impl Keys<'_> {
    /// From here on, changes can be rolled back.
    pub fn keep_former(&mut self) {
        let mut undo = self.journal.spare_undo.take().unwrap_or_default();
        undo.changes = self.journal.changes;
        self.undo = Some(undo);
    }

    /// From here on, what was changed so far cannot be rolled back.
    #[inline]
    pub fn forget_former(&mut self) {
        const KEPT_KEYS_MAX: usize = 1000;
        if let Some(mut undo) = self.undo.take()
            && undo.keys.capacity() <= KEPT_KEYS_MAX
        {
            undo.keys.clear();
            self.journal.spare_undo = Some(undo);
        }
    }

    /// Notes what a key is before it is changed for the first time. Its shard is locked.
    #[inline]
    pub(super) fn note_former(&mut self, hash: u64, key: &[u8]) {
        if self.undo.is_some() {
            self.note_former_of_undo(hash, key);
        }
    }

    #[cold]
    fn note_former_of_undo(&mut self, hash: u64, key: &[u8]) {
        let Some(undo) = &mut self.undo else { return };
        let database = self.database;
        let is_this = |former: &Former| former.database == database && former.key() == key;
        if undo.keys.find(hash, is_this).is_some() {
            return;
        }
        let shard = self.guards.shard_mut(hash);
        let cold_deadline = if shard.cold_deadlines.is_empty() {
            None
        } else {
            let generation = self.keyspace.generation(database);
            shard
                .cold_deadlines
                .get(&(generation, Box::from(key)))
                .copied()
        };
        let was = match shard.find(database, hash, key) {
            Some(place) => Was::Entry(copy_of(&shard.entry(database, place))),
            None => Was::Absent(key.into()),
        };
        let former = Former {
            database,
            hash,
            was,
            cold_deadline,
            deletions: shard.deletions.len(),
        };
        undo.keys.insert_unique(hash, former, |known| known.hash);
    }

    /// Puts back all that was changed since [`Keys::keep_former`]; the journal forgets it.
    pub fn roll_back(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        for former in undo.keys {
            self.restore(former);
        }
        self.journal.clear();
        drop((self.journal.take_events(), self.journal.take_written()));
        self.journal.changes = undo.changes;
        self.counts = super::keys::LookupCounts::default();
    }

    fn restore(&mut self, former: Former) {
        let (database, hash) = (former.database, former.hash);
        let (key, entry) = match former.was {
            Was::Entry(entry) => (Box::from(entry.key()), Some(entry)),
            Was::Absent(key) => (key, None),
        };
        let generation = self.keyspace.generation(database);
        let placement = self.keyspace.placement();
        let shard = self.guards.shard_mut(hash);
        // Of several keys of a shard, the one that was changed first knows how many there were.
        shard.deletions.truncate(former.deletions);
        let place = shard.find(database, hash, &key);
        let now = place.map(|place| shard.entry(database, place));
        let (keys_now, deadlines_now) = counts(now.as_ref());
        let (keys, deadlines) = counts(entry.as_ref().map(Entry::view).as_ref());
        let cold_key = (generation, key.clone());
        match former.cold_deadline {
            Some(deadline_ms) => shard.cold_deadlines.insert(cold_key, deadline_ms),
            None if shard.cold_deadlines.is_empty() => None,
            None => shard.cold_deadlines.remove(&cold_key),
        };
        let table = shard.table_mut(database);
        if let Some(entry) = &entry {
            let lsn = entry.lsn();
            let images = &mut table.segment_mut(hash).pre_images;
            images.retain(|image| image.lsn != lsn || image.key != key);
        }
        match (place, entry) {
            (Some(place), Some(entry)) => table.change(place, |now| *now = entry),
            (Some(place), None) => drop(table.remove(place)),
            (None, Some(entry)) => {
                table.insert(hash, entry, |key| placement.hash(key));
            }
            (None, None) => {}
        }
        table.key_balance += keys - keys_now;
        table.deadline_balance += deadlines - deadlines_now;
    }
}
