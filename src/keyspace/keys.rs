//! The keyspace as one command sees it: the locked shards of its keys, in the session's database.
//!
//! Reads hide expired keys. All changes go through [`Keys::apply`] (in `apply.rs`), which is also what
//! recovery runs, so that a replayed state cannot differ from the live one. Keys are resident when a command runs:
//! what is not here does not exist, except for copies that [`Keys::lend`] was given for commands that only look.

use super::entry::{Body, Entry, EntryRef};
use super::field_expiry::has_due_fields;
use super::journal::{Journal, Recorder, is_pending, stamp};
use super::lock_watch::ShardGuard;
use super::shard::Shard;
use super::shards::{Keyspace, SHARDS};
use super::table::Place;
use crate::error::CommandError;
use crate::event_classes::EventClasses;
use crate::value::{Hash, List, Set, SortedSet, Stream, Value};
use storage_format::ValueKind;

/// Look-ups by commands that only read, for `keyspace_hits` and `keyspace_misses`.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct LookupCounts {
    /// Keys that were there.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
    /// Keys that were found to have expired.
    pub expired: u64,
    /// Fields of hashes that were found to have expired.
    pub expired_fields: u64,
}

/// What to do with the deadline when a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The key loses it, as with plain SET.
    None,
    /// It stays, as with KEEPTTL.
    Keep,
    /// The key expires then, in Unix milliseconds.
    At(u64),
}

/// What OBJECT, MEMORY and TIER tell of a key, without using it.
#[derive(Clone, Copy, Debug)]
pub struct EntryInfo {
    /// Type of the value.
    pub kind: ValueKind,
    /// LSN of the last change.
    pub lsn: u64,
    /// Seconds since the last use.
    pub idle_seconds: u32,
    /// The logarithmic counter that OBJECT FREQ shows.
    pub frequency: u8,
    /// True for a text that was changed in place (encoding `raw`).
    pub is_raw_text: bool,
    /// Bytes of entry, slot and value.
    pub memory_bytes: usize,
    /// True if the cold record is this very version.
    pub is_clean: bool,
}

/// The guards of the shards a command needs. One is the usual case and costs no allocation.
#[derive(Default)]
pub(super) struct Guards<'a> {
    first: Option<(usize, ShardGuard<'a>)>,
    more: Vec<(usize, ShardGuard<'a>)>,
}

impl<'a> Guards<'a> {
    /// Locks the shards of hashes, in order; false as soon as `lock` gives none.
    #[inline]
    fn lock(
        &mut self,
        mut hashes: impl ExactSizeIterator<Item = u64>,
        lock: impl Fn(usize) -> Option<ShardGuard<'a>>,
    ) -> bool {
        if hashes.len() > 1 {
            return self.lock_several(hashes, lock);
        }
        if let Some(hash) = hashes.next() {
            let shard = Keyspace::shard_of(hash);
            self.first = lock(shard).map(|guard| (shard, guard));
            return self.first.is_some();
        }
        true
    }

    #[inline(never)]
    fn lock_several(
        &mut self,
        hashes: impl Iterator<Item = u64>,
        lock: impl Fn(usize) -> Option<ShardGuard<'a>>,
    ) -> bool {
        let mut shards: Vec<usize> = hashes.map(Keyspace::shard_of).collect();
        shards.sort_unstable();
        shards.dedup();
        self.lock_more(shards, lock)
    }

    fn lock_more(
        &mut self,
        shards: impl IntoIterator<Item = usize>,
        lock: impl Fn(usize) -> Option<ShardGuard<'a>>,
    ) -> bool {
        let lock = |shard| Some((shard, lock(shard)?));
        let locked: Option<Vec<_>> = shards.into_iter().map(lock).collect();
        let is_locked = locked.is_some();
        self.more = locked.unwrap_or_default();
        is_locked
    }

    #[inline]
    pub(super) fn shard_mut(&mut self, hash: u64) -> &mut Shard {
        self.numbered_mut(Keyspace::shard_of(hash))
    }

    /// The locked shard of a number.
    #[inline]
    pub(super) fn numbered_mut(&mut self, wanted: usize) -> &mut Shard {
        match &mut self.first {
            Some((shard, guard)) if *shard == wanted => guard,
            _ => {
                let index = self.more.binary_search_by_key(&wanted, |(shard, _)| *shard);
                &mut self.more[index.expect("a key that the command's key specification names")].1
            }
        }
    }

    #[inline]
    pub(super) fn shard(&self, hash: u64) -> &Shard {
        let wanted = Keyspace::shard_of(hash);
        match &self.first {
            Some((shard, guard)) if *shard == wanted => guard,
            _ => {
                let index = self.more.binary_search_by_key(&wanted, |(shard, _)| *shard);
                &self.more[index.expect("a key that the command's key specification names")].1
            }
        }
    }
}

/// See the module's comment.
pub struct Keys<'a> {
    pub(super) keyspace: &'a Keyspace,
    pub(super) guards: Guards<'a>,
    pub(super) journal: &'a mut Journal,
    pub(super) recorder: &'a dyn Recorder,
    pub(super) database: u32,
    pub(super) now_ms: u64,
    /// Set while changes can be rolled back.
    pub(super) undo: Option<Box<super::undo::Undo>>,
    /// LSN of the last record that [`Keys::commit`] wrote.
    committed_lsn: Option<u64>,
    lent: Vec<(u32, Entry)>,
    /// Address and length of a key, and its hash.
    known_hash: (usize, usize, u64),
    /// Look-ups so far; counted only while [`Keys::counts_lookups`] is set.
    pub counts: LookupCounts,
    /// Set while look-ups are reads: for commands that only read, and for the reading part of some that write (GETDEL, the
    /// operands of SINTERSTORE). Such look-ups count, and a key that is not there is an event.
    pub counts_lookups: bool,
    /// Set for clients that do not want to disturb what was used when (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// Set while somebody has to hear which keys are written.
    pub notes_written: bool,
    /// Set while nothing may be written: what has expired is hidden, but not removed.
    pub keeps_expired: bool,
    /// Keys whose deadline has passed are found like others (DEBUG OBJECT).
    pub sees_expired: bool,
    /// The classes of events that somebody wants; [`Keys::notify`] keeps no others.
    pub listens_to: EventClasses,
    /// Set while the LFU policy is in force: the frequency counter is kept, with this log factor.
    pub frequency_log_factor: Option<u32>,
    /// For tests: after so many calls of [`Keys::try_hold`], every one fails, as if another thread had the lock.
    #[cfg(test)]
    pub refuses_after: Option<usize>,
}

impl<'a> Keys<'a> {
    /// Locks the shards of `hashes`. `now_ms` decides what has expired: 0 for recovery, which has no clock.
    pub fn lock(
        keyspace: &'a Keyspace,
        hashes: &[u64],
        journal: &'a mut Journal,
        recorder: &'a dyn Recorder,
        database: u32,
        now_ms: u64,
    ) -> Keys<'a> {
        let mut keys = Keys::without_locks(keyspace, journal, recorder, database, now_ms);
        keys.guards
            .lock(hashes.iter().copied(), |shard| Some(keyspace.lock(shard)));
        keys
    }

    /// Locks all shards.
    pub fn lock_all(
        keyspace: &'a Keyspace,
        journal: &'a mut Journal,
        recorder: &'a dyn Recorder,
        database: u32,
        now_ms: u64,
    ) -> Keys<'a> {
        let mut keys = Keys::without_locks(keyspace, journal, recorder, database, now_ms);
        keys.guards.more = keyspace.lock_all().into_iter().enumerate().collect();
        keys
    }

    /// Nothing yet; [`Keys::hold_unless`] is to follow. Inlined, so that a command's `Keys` are made where they stay: they are
    /// too large to be moved for every command.
    #[inline(always)]
    pub fn without_locks(
        keyspace: &'a Keyspace,
        journal: &'a mut Journal,
        recorder: &'a dyn Recorder,
        database: u32,
        now_ms: u64,
    ) -> Keys<'a> {
        Keys {
            keyspace,
            guards: Guards::default(),
            journal,
            recorder,
            database,
            now_ms,
            undo: None,
            committed_lsn: None,
            lent: Vec::new(),
            known_hash: (0, usize::MAX, 0),
            counts: LookupCounts::default(),
            counts_lookups: false,
            no_touch: false,
            notes_written: false,
            keeps_expired: false,
            sees_expired: false,
            listens_to: EventClasses::NONE,
            frequency_log_factor: None,
            #[cfg(test)]
            refuses_after: None,
        }
    }

    /// Locks the shard of a hash too, if that is possible at once; true if it is locked now. Never waits: other threads may
    /// wait for what is locked already.
    pub fn try_hold(&mut self, hash: u64) -> bool {
        #[cfg(test)]
        if let Some(left) = &mut self.refuses_after {
            let Some(rest) = left.checked_sub(1) else {
                return false;
            };
            *left = rest;
        }
        let wanted = Keyspace::shard_of(hash);
        if matches!(&self.guards.first, Some((shard, _)) if *shard == wanted) {
            return true;
        }
        let more = &mut self.guards.more;
        let Err(index) = more.binary_search_by_key(&wanted, |(shard, _)| *shard) else {
            return true;
        };
        let Some(guard) = self.keyspace.try_lock(wanted) else {
            return false;
        };
        more.insert(index, (wanted, guard));
        true
    }

    /// Gives up all locks, for work that takes locks itself; [`Keys::hold_unless`] is to follow. Nothing may be
    /// uncommitted.
    pub fn release(&mut self) {
        self.guards.first = None;
        self.guards.more.clear();
    }

    /// Locks the shards of `hashes`, where none is locked. If `gives_up` says so while a lock is waited for: false, and none is
    /// locked.
    #[inline]
    pub fn hold_unless(
        &mut self,
        hashes: impl ExactSizeIterator<Item = u64>,
        gives_up: &dyn Fn() -> bool,
    ) -> bool {
        let keyspace = self.keyspace;
        let lock = |shard| keyspace.lock_unless(shard, gives_up);
        self.guards.lock(hashes, lock)
    }

    /// As [`Keys::hold_unless`], for all shards.
    pub fn hold_all_unless(&mut self, gives_up: &dyn Fn() -> bool) -> bool {
        let keyspace = self.keyspace;
        let lock = |shard| keyspace.lock_unless(shard, gives_up);
        self.guards.lock_more(0..SHARDS, lock)
    }

    /// The database that look-ups go to.
    pub fn database(&self) -> u32 {
        self.database
    }

    /// Looks into another database from now on. The shards stay locked: a key's shard does not depend on the
    /// database.
    pub fn select(&mut self, database: u32) {
        self.database = database;
    }

    /// The time that decides what has expired, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Number of databases.
    pub fn databases(&self) -> u32 {
        self.keyspace.databases()
    }

    /// The placement hash of a key.
    #[inline]
    pub fn hash_of(&self, key: &[u8]) -> u64 {
        let (address, length, hash) = self.known_hash;
        if key.as_ptr().addr() == address && key.len() == length {
            hash
        } else {
            self.keyspace.hash(key)
        }
    }

    /// Tells the hash of a key that was computed before, so that it is not computed again. `key` must stay where it is
    /// as long as these `Keys` live.
    pub fn know_hash(&mut self, key: &'a [u8], hash: u64) {
        self.known_hash = (key.as_ptr().addr(), key.len(), hash);
    }

    /// The locked shard of a hash.
    pub fn shard_mut(&mut self, hash: u64) -> &mut Shard {
        self.guards.shard_mut(hash)
    }

    /// Lends a copy of a key that is not hot, for this command only.
    pub fn lend(&mut self, database: u32, entry: Entry) {
        self.lent.push((database, entry));
    }

    pub(super) fn is_expired(&self, entry: &Entry) -> bool {
        !self.sees_expired
            && entry
                .deadline_ms()
                .is_some_and(|deadline_ms| deadline_ms <= self.now_ms)
    }

    /// Finds a live, unexpired entry without counting or touching.
    fn peek(&self, key: &[u8]) -> Option<EntryRef<'_>> {
        let hash = self.hash_of(key);
        let shard = self.guards.shard(hash);
        if let Some(place) = shard.find(self.database, hash, key) {
            let entry = shard.entry(self.database, place);
            return (!entry.is_tombstone() && !self.is_expired(&entry)).then_some(entry);
        }
        self.lent_entry(key)
    }

    fn lent_entry(&self, key: &[u8]) -> Option<EntryRef<'_>> {
        let (_, entry) = self
            .lent
            .iter()
            .find(|(database, entry)| *database == self.database && entry.key() == key)?;
        (!self.is_expired(entry)).then(|| entry.view())
    }

    /// Removes the expired fields of a hash; its place afterwards, if it still has any and they could be removed.
    fn without_due_fields(&mut self, hash: u64, place: Place, key: &[u8]) -> Option<Place> {
        self.expire_fields(hash, place, key);
        let database = self.database;
        let place = self.guards.shard(hash).find(database, hash, key)?;
        let entry = self.guards.shard(hash).entry(database, place);
        (!entry.is_tombstone() && !has_due_fields(&entry, self.now_ms)).then_some(place)
    }

    /// Finds a key as a command does that uses it: removes it if it has expired, counts, and notes the use.
    fn look_up(&mut self, key: &[u8]) -> Option<EntryRef<'_>> {
        let hash = self.hash_of(key);
        let database = self.database;
        let shard = self.guards.shard_mut(hash);
        let hit = match shard.find(database, hash, key) {
            None => None,
            Some(place) if shard.entry(database, place).has_no_deadline() => Some(place),
            Some(place) => self.unless_expired(hash, place, key),
        };
        if let Some(place) = hit
            && !self.no_touch
        {
            self.touch(hash, place);
        }
        let is_lent = hit.is_none() && !self.lent.is_empty() && self.lent_entry(key).is_some();
        if self.counts_lookups {
            *if hit.is_some() || is_lent {
                &mut self.counts.hits
            } else {
                &mut self.counts.misses
            } += 1;
            if hit.is_none() && !is_lent {
                self.notify(EventClasses::KEY_MISS, "keymiss", key);
            }
        }
        match hit {
            Some(place) => Some(self.guards.shard(hash).entry(database, place)),
            None if is_lent => self.lent_entry(key),
            None => None,
        }
    }

    /// The place of a key that may have a deadline, or no value: what has expired is removed.
    fn unless_expired(&mut self, hash: u64, place: Place, key: &[u8]) -> Option<Place> {
        let entry = self.guards.shard(hash).entry(self.database, place);
        if entry.is_tombstone() {
            return None;
        }
        if self.is_expired(&entry) {
            if !self.keeps_expired {
                self.expire(hash, place, key);
            }
            return None;
        }
        if has_due_fields(&entry, self.now_ms) {
            return self.without_due_fields(hash, place, key);
        }
        Some(place)
    }

    #[inline]
    fn touch(&mut self, hash: u64, place: Place) {
        let seconds = (self.now_ms / 1000) as u32;
        let frequency_log_factor = self.frequency_log_factor;
        let database = self.database as usize;
        let used = |former: u32| {
            let access = seconds << 8 | former & 0xff;
            match frequency_log_factor {
                None => access,
                Some(log_factor) => {
                    super::entry::count_use(access, former, log_factor, hash ^ u64::from(former))
                }
            }
        };
        self.guards.shard_mut(hash).tables[database].note_use(place, used);
    }

    fn wrong_type<T>(found: Option<T>) -> Result<T, CommandError> {
        found.ok_or(CommandError::WRONG_TYPE)
    }

    /// The text at `key`.
    pub fn text(&mut self, key: &[u8]) -> Result<Option<&[u8]>, CommandError> {
        match self.look_up(key).map(|entry| entry.body()) {
            None => Ok(None),
            Some(Body::Text(text)) => Ok(Some(text)),
            Some(Body::Boxed(value)) => Self::wrong_type(value.as_text()).map(Some),
            Some(Body::Tombstone) => Ok(None),
        }
    }

    fn boxed(&mut self, key: &[u8]) -> Result<Option<&Value>, CommandError> {
        match self.look_up(key).map(|entry| entry.body()) {
            None | Some(Body::Tombstone) => Ok(None),
            Some(Body::Boxed(value)) => Ok(Some(value)),
            Some(Body::Text(_)) => Err(CommandError::WRONG_TYPE),
        }
    }

    /// The hash at `key`.
    pub fn hash(&mut self, key: &[u8]) -> Result<Option<&Hash>, CommandError> {
        self.boxed(key)?
            .map(|value| Self::wrong_type(value.as_hash()))
            .transpose()
    }

    /// The list at `key`.
    pub fn list(&mut self, key: &[u8]) -> Result<Option<&List>, CommandError> {
        self.boxed(key)?
            .map(|value| Self::wrong_type(value.as_list()))
            .transpose()
    }

    /// The set at `key`.
    pub fn set(&mut self, key: &[u8]) -> Result<Option<&Set>, CommandError> {
        self.boxed(key)?
            .map(|value| Self::wrong_type(value.as_set()))
            .transpose()
    }

    /// The sorted set at `key`.
    pub fn sorted_set(&mut self, key: &[u8]) -> Result<Option<&SortedSet>, CommandError> {
        self.boxed(key)?
            .map(|value| Self::wrong_type(value.as_sorted_set()))
            .transpose()
    }

    /// The stream at a key.
    ///
    /// # Errors
    /// WRONGTYPE if it holds something else.
    pub fn stream(&mut self, key: &[u8]) -> Result<Option<&Stream>, CommandError> {
        self.boxed(key)?
            .map(|value| Self::wrong_type(value.as_stream()))
            .transpose()
    }

    /// An O(1) clone of the value at `key`, whatever its type (a short text is copied).
    pub fn value(&mut self, key: &[u8]) -> Option<Value> {
        self.look_up(key).and_then(|entry| entry.to_value())
    }

    /// The type at `key`, counted as a use.
    pub fn kind(&mut self, key: &[u8]) -> Option<ValueKind> {
        self.look_up(key).and_then(|entry| entry.kind())
    }

    /// The type at `key`, without using it.
    pub fn kind_now(&self, key: &[u8]) -> Option<ValueKind> {
        self.peek(key).and_then(|entry| entry.kind())
    }

    /// True if the key exists; counted as a use.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.look_up(key).is_some()
    }

    /// `None` if the key does not exist, `Some(None)` if it has no deadline, else the deadline in Unix milliseconds.
    /// Not a use of the key.
    pub fn deadline_ms(&mut self, key: &[u8]) -> Option<Option<u64>> {
        let no_touch = std::mem::replace(&mut self.no_touch, true);
        let found = self.look_up(key).map(|entry| entry.deadline_ms());
        self.no_touch = no_touch;
        found
    }

    /// When the key expires, without counting or touching.
    pub fn peek_deadline_ms(&self, key: &[u8]) -> Option<u64> {
        self.peek(key)?.deadline_ms()
    }

    /// The LSN of the key's last change, 0 if it does not exist: what WATCH compares.
    pub fn lsn(&self, key: &[u8]) -> u64 {
        self.peek(key).map_or(0, |entry| entry.lsn())
    }

    /// Makes a hot key look as if it had last been used so long ago, or as often. Not a change: nothing is logged.
    pub fn set_use(&mut self, key: &[u8], idle_seconds: Option<u64>, frequency: Option<u8>) {
        let hash = self.hash_of(key);
        let database = self.database;
        let shard = self.guards.shard_mut(hash);
        let Some(place) = shard.find(database, hash, key) else {
            return;
        };
        let last_use = (self.now_ms / 1000).saturating_sub(idle_seconds.unwrap_or(0));
        shard.tables[database as usize].change(place, |entry| {
            let frequency = frequency.map_or(entry.access() & 0xff, u32::from);
            entry.set_access((last_use as u32) << 8 | frequency);
        });
    }

    /// What is known of a key, without using it.
    pub fn info(&self, key: &[u8]) -> Option<EntryInfo> {
        let entry = self.peek(key)?;
        let now_seconds = (self.now_ms / 1000) as u32 & 0x00ff_ffff;
        let boxed_bytes = match entry.body() {
            Body::Boxed(value) => value.memory_bytes(),
            _ => 0,
        };
        Some(EntryInfo {
            kind: entry.kind()?,
            lsn: entry.lsn(),
            idle_seconds: now_seconds.wrapping_sub(entry.access() >> 8) & 0x00ff_ffff,
            frequency: (entry.access() & 0xff) as u8,
            is_raw_text: entry.is_raw_text(),
            memory_bytes: entry.allocated_bytes() + 8 + boxed_bytes,
            is_clean: entry.is_clean(),
        })
    }

    /// What the command has written so far and nobody was told of; see [`Journal::untold`].
    pub fn untold(&mut self) -> &[(u32, Box<[u8]>)] {
        self.journal.untold()
    }

    /// Ends the command: what it changed becomes one log record. Returns its LSN, or `None` if nothing changed.
    #[inline]
    pub fn commit(&mut self) -> Option<u64> {
        if self.journal.is_empty() {
            return None;
        }
        Some(self.commit_changes())
    }

    fn commit_changes(&mut self) -> u64 {
        let lsn = self.recorder.append(self.journal.effects());
        for (database, hash) in self.journal.touched() {
            stamp(self.guards.shard_mut(*hash), *database, *hash, lsn);
        }
        let is_stamped =
            |(database, hash): &(u32, u64)| !is_pending(self.guards.shard(*hash), *database, *hash);
        debug_assert!(self.journal.touched().iter().all(is_stamped));
        self.journal.clear();
        self.committed_lsn = Some(lsn);
        lsn
    }

    /// A command panicked. What it had changed by then stays, and becomes a record, so that memory and log agree; a script's
    /// changes are taken back. See `docs/decisions/0015-panics.md`.
    fn settle_after_panic(&mut self) {
        if self.undo.is_some() {
            return self.roll_back();
        }
        if self.journal.was_interrupted() && self.recorder.keeps_effects() {
            tracing::error!(
                "a panic left a value half changed: the process ends, the log has what was acknowledged"
            );
            std::process::abort();
        }
        self.commit();
    }

    /// LSN of the last record of this command, if it wrote one.
    pub fn committed_lsn(&self) -> Option<u64> {
        self.committed_lsn
    }
}

impl Drop for Keys<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.settle_after_panic();
        }
        self.forget_former();
    }
}
