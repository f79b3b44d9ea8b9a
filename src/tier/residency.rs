//! Is the key here? What dispatch asks for every key of a command, with the key's shard locked.
//!
//! A key that the keyspace does not hold is looked up in warm, then cold, as far as memory can tell; what only the disk
//! knows is fetched without the lock and shown to the next call. In between the key may have been here, changed, and left
//! again: then the shard's count of departures differs and what was fetched is worth nothing.
//!
//! A text that is only looked at is served from its copy; everything else promotes, and a promotion leaves the
//! cold record where it is.

use super::Tier;
use super::cold::{Cold, Probe};
use super::pool::{FetchTicket, Fetched, FetchedRecord, read};
use super::warm::WarmCopy;
use crate::error::InternalError;
use crate::keyspace::Keys;
use crate::keyspace::entry::{Entry, NewBody};
use crate::value::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use storage_format::ValueKind;
use storage_format::record::ColdKey;

/// Larger encodings are unpacked and decoded on the I/O pool, not under a shard's lock.
const DECODED_UNDER_LOCK_MAX: usize = 32 << 10;
const NEW_KEY_FREQUENCY: u32 = 5;

/// Where a key is, for the command that is about to run.
pub enum Residency {
    /// In the keyspace: alive, deleted, or expired (which the command will find out).
    Present,
    /// Nowhere.
    Absent,
    /// A copy for this command only.
    Lent(Entry),
    /// To be fetched first, without locks.
    Fetch(FetchTicket),
    /// It cannot be told, because a read failed.
    Failed(Arc<InternalError>),
}

/// A key, as [`Tier::resolve`] looks it up.
struct Wanted<'a> {
    database: u32,
    hash: u64,
    key: &'a [u8],
    cold_key: Box<[u8]>,
    /// The command only looks at a text.
    only_looks: bool,
}

/// A version of a value on its way into the keyspace.
struct Version {
    lsn: u64,
    deadline_ms: Option<u64>,
    kind: ValueKind,
}

impl Tier {
    /// Makes a key resident or says what that takes. `only_looks`: the command reads a text (or asks for type, length
    /// or existence) and changes nothing. `fetched`: what earlier [`Residency::Fetch`]es of this command have found.
    pub fn resolve(
        &self,
        keys: &mut Keys<'_>,
        database: u32,
        hash: u64,
        key: &[u8],
        only_looks: bool,
        fetched: &[Fetched],
    ) -> Residency {
        let Some(cold) = self.cold.as_deref().filter(|cold| !cold.is_empty()) else { return Residency::Absent };
        let shard = keys.shard_mut(hash);
        if shard.find(database, hash, key).is_some() {
            return Residency::Present;
        }
        let departures = shard.departures;
        let generation = self.keyspace.generation(database);
        let cold_key = ColdKey { generation, hash, key }.to_vec().into_boxed_slice();
        let wanted = Wanted { database, hash, key, cold_key, only_looks };
        let done = fetched.iter().find(|fetched| fetched.departures == departures && fetched.cold_key == wanted.cold_key);
        let resolved = match done.map(|fetched| &fetched.outcome) {
            Some(Err(error)) => return Residency::Failed(Arc::clone(error)),
            Some(Ok(None)) => Ok(Residency::Absent),
            Some(Ok(Some(record))) => Ok(self.admit_fetched(keys, &wanted, record)),
            None => self.resolve_from_memory(cold, keys, &wanted, departures),
        };
        resolved.unwrap_or_else(|error| {
            tracing::error!(%error, "a key could not be looked up");
            Residency::Failed(Arc::new(error))
        })
    }

    /// As [`Tier::resolve`], but reads the disk under the lock instead of asking for a fetch: for scripts that touch a
    /// key they did not declare.
    pub fn resolve_now(&self, keys: &mut Keys<'_>, database: u32, hash: u64, key: &[u8]) -> Residency {
        match self.resolve(keys, database, hash, key, false, &[]) {
            Residency::Fetch(ticket) => {
                let outcome = read(self.cold.as_deref(), &ticket).map_err(Arc::new);
                let fetched = Fetched { cold_key: ticket.cold_key, departures: ticket.departures, outcome };
                self.resolve(keys, database, hash, key, false, &[fetched])
            }
            other => other,
        }
    }

    /// Reads what all these tickets name, side by side.
    pub async fn fetch_all(&self, tickets: Vec<FetchTicket>) -> Vec<Fetched> {
        self.counters.fetches.fetch_add(tickets.len() as u64, Ordering::Relaxed);
        let running: Vec<_> = tickets.into_iter().map(|ticket| self.pool.fetch(ticket)).collect();
        let mut fetched = Vec::with_capacity(running.len());
        for fetch in running {
            fetched.push(fetch.await);
        }
        fetched
    }

    fn resolve_from_memory(
        &self,
        cold: &Cold,
        keys: &mut Keys<'_>,
        wanted: &Wanted<'_>,
        departures: u64,
    ) -> Result<Residency, InternalError> {
        let ticket = |warm| {
            let (cold_key, wants_copy) = (wanted.cold_key.clone(), wanted.only_looks);
            Residency::Fetch(FetchTicket { cold_key, departures, warm, wants_copy })
        };
        if let Some(copy) = self.warm.get(&wanted.cold_key) {
            if copy.plain_bytes() > DECODED_UNDER_LOCK_MAX {
                return Ok(ticket(Some(copy)));
            }
            self.counters.warm_hits.fetch_add(1, Ordering::Relaxed);
            return self.admit_warm(keys, wanted, &copy);
        }
        let bytes = match cold.probe(&wanted.cold_key)? {
            Probe::Absent => return Ok(Residency::Absent),
            Probe::Unknown => return Ok(ticket(None)),
            Probe::Found(bytes) if bytes.len() > DECODED_UNDER_LOCK_MAX => return Ok(ticket(None)),
            Probe::Found(bytes) => bytes,
        };
        self.counters.cold_hits.fetch_add(1, Ordering::Relaxed);
        let (header, encoded) = cold.split(&bytes)?;
        let deadline_ms = (header.deadline_ms != 0).then_some(header.deadline_ms);
        let version = Version { lsn: header.lsn, deadline_ms, kind: header.kind };
        if self.may_lend(keys, wanted, &version) && self.warm.takes(encoded.len()) {
            self.warm_first_read(wanted, &version, encoded);
            return Ok(Residency::Lent(entry_of_text(wanted, &version, encoded)));
        }
        let entry = self.decode_entry(cold, wanted, &version, encoded)?;
        self.promote(keys, wanted, entry);
        Ok(Residency::Present)
    }

    /// True if a copy is enough for this command.
    fn may_lend(&self, keys: &Keys<'_>, wanted: &Wanted<'_>, version: &Version) -> bool {
        let is_expired = version.deadline_ms.is_some_and(|deadline_ms| deadline_ms <= keys.now_ms());
        wanted.only_looks && version.kind == ValueKind::String && !is_expired
    }

    fn admit_warm(&self, keys: &mut Keys<'_>, wanted: &Wanted<'_>, copy: &WarmCopy) -> Result<Residency, InternalError> {
        let version = Version { lsn: copy.lsn, deadline_ms: copy.deadline_ms, kind: copy.kind };
        let encoded = copy.unpack()?;
        if self.may_lend(keys, wanted, &version) && !copy.read_once.swap(true, Ordering::Relaxed) {
            return Ok(Residency::Lent(entry_of_text(wanted, &version, &encoded)));
        }
        let cold = self.cold.as_deref().ok_or_else(|| InternalError::Other("a warm copy without a cold tier".into()))?;
        let entry = self.decode_entry(cold, wanted, &version, &encoded)?;
        self.promote(keys, wanted, entry);
        Ok(Residency::Present)
    }

    fn admit_fetched(&self, keys: &mut Keys<'_>, wanted: &Wanted<'_>, record: &FetchedRecord) -> Residency {
        let version = Version { lsn: record.lsn, deadline_ms: record.deadline_ms, kind: record.kind };
        if self.may_lend(keys, wanted, &version) && self.lends_fetched(wanted, record) {
            let entry = Entry::new(wanted.key, NewBody::Boxed(record.value.clone()), version.deadline_ms);
            return Residency::Lent(clean(entry, &version, keys.now_ms()));
        }
        let body = match &record.value {
            Value::Text(text) => NewBody::Text(text.as_bytes()),
            value => NewBody::Boxed(value.clone()),
        };
        let entry = Entry::new(wanted.key, body, version.deadline_ms);
        self.promote(keys, wanted, entry_of_version(entry, &version));
        Residency::Present
    }

    /// True if a fetched text is to be lent: its copy is warm (again), and this is the first read since.
    fn lends_fetched(&self, wanted: &Wanted<'_>, record: &FetchedRecord) -> bool {
        if let Some(copy) = self.warm.get(&wanted.cold_key) {
            return !copy.read_once.swap(true, Ordering::Relaxed);
        }
        let Some(copy) = record.copy.as_ref().filter(|copy| self.warm.takes(copy.plain_bytes())) else { return false };
        copy.read_once.store(true, Ordering::Relaxed);
        self.warm.insert(wanted.cold_key.clone(), Arc::clone(copy));
        true
    }

    fn warm_first_read(&self, wanted: &Wanted<'_>, version: &Version, encoded: &[u8]) {
        let copy = WarmCopy::new(version.lsn, version.deadline_ms, version.kind, encoded);
        copy.read_once.store(true, Ordering::Relaxed);
        self.warm.insert(wanted.cold_key.clone(), Arc::new(copy));
    }

    fn decode_entry(
        &self,
        cold: &Cold,
        wanted: &Wanted<'_>,
        version: &Version,
        encoded: &[u8],
    ) -> Result<Entry, InternalError> {
        if version.kind == ValueKind::String {
            return Ok(entry_of_text(wanted, version, encoded));
        }
        let value = Value::decode(version.kind, encoded).map_err(|source| cold.damaged(source))?;
        Ok(entry_of_version(Entry::new(wanted.key, NewBody::Boxed(value), version.deadline_ms), version))
    }

    /// Puts a clean entry into the keyspace. The key's existence does not change, only its place.
    fn promote(&self, keys: &mut Keys<'_>, wanted: &Wanted<'_>, mut entry: Entry) {
        let seconds = (keys.now_ms() / 1000) as u32;
        entry.set_access(seconds << 8 | NEW_KEY_FREQUENCY);
        self.warm.remove(&wanted.cold_key);
        let shard = keys.shard_mut(wanted.hash);
        shard.table_mut(wanted.database).insert(wanted.hash, entry, |key| self.keyspace.hash(key));
        self.counters.promotions.fetch_add(1, Ordering::Relaxed);
    }
}

fn entry_of_text(wanted: &Wanted<'_>, version: &Version, text: &[u8]) -> Entry {
    entry_of_version(Entry::new(wanted.key, NewBody::Text(text), version.deadline_ms), version)
}

fn entry_of_version(mut entry: Entry, version: &Version) -> Entry {
    entry.set_lsn(version.lsn);
    entry.set_cold_record(true);
    entry.set_clean(true);
    entry
}

fn clean(entry: Entry, version: &Version, now_ms: u64) -> Entry {
    let mut entry = entry_of_version(entry, version);
    entry.set_access(((now_ms / 1000) as u32) << 8 | NEW_KEY_FREQUENCY);
    entry
}
