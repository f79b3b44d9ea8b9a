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
use crate::keyspace::entry::{Entry, NewBody};
use crate::keyspace::lock_watch;
use crate::keyspace::shard::Shard;
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
}

/// A key, as [`Tier::resolve`] looks it up.
#[derive(Clone, Copy)]
pub struct KeyRequest<'a> {
    /// Number of the database.
    pub database: u32,
    /// Its generation, read under the lock of the key's shard.
    pub generation: u32,
    /// Placement hash of the key.
    pub hash: u64,
    /// The key.
    pub key: &'a [u8],
    /// The command reads a text, or asks for type, length or existence, and changes nothing: a copy will do.
    pub only_looks: bool,
    /// The time of the command, in Unix milliseconds.
    pub now_ms: u64,
}

impl KeyRequest<'_> {
    fn cold_key(&self) -> ColdKey<'_> {
        ColdKey {
            generation: self.generation,
            hash: self.hash,
            key: self.key,
        }
    }
}

impl FetchTicket {
    /// A ticket for a key that was not in the keyspace when its shard counted so many departures.
    pub(super) fn for_key(request: &KeyRequest<'_>, departures: u64) -> FetchTicket {
        let cold_key = request.cold_key().to_vec().into_boxed_slice();
        FetchTicket {
            cold_key,
            departures,
            warm: None,
            wants_copy: request.only_looks,
        }
    }
}

impl Fetched {
    /// True if this is what was fetched for that key.
    pub fn is_for(&self, request: &KeyRequest<'_>) -> bool {
        ColdKey::decode(&self.cold_key).is_ok_and(|cold_key| cold_key == request.cold_key())
    }
}

/// A request with its encoded cold key.
struct Wanted<'a> {
    request: &'a KeyRequest<'a>,
    cold_key: Box<[u8]>,
}

/// A version of a value on its way into the keyspace.
#[derive(Clone, Copy)]
struct Version {
    lsn: u64,
    deadline_ms: Option<u64>,
    kind: ValueKind,
}

impl Tier {
    /// Makes a key resident or says what that takes. `shard` is the key's, locked; `fetched`: what an earlier
    /// [`Residency::Fetch`] of this key has found.
    ///
    /// # Errors
    /// The record cannot be read, or is damaged.
    pub fn resolve(
        &self,
        shard: &mut Shard,
        request: &KeyRequest<'_>,
        fetched: Option<&Fetched>,
    ) -> Result<Residency, InternalError> {
        if shard
            .find(request.database, request.hash, request.key)
            .is_some()
        {
            return Ok(Residency::Present);
        }
        let Some(cold) = self.cold.as_deref().filter(|cold| !cold.is_empty()) else {
            return Ok(Residency::Absent);
        };
        let wanted = Wanted {
            request,
            cold_key: request.cold_key().to_vec().into_boxed_slice(),
        };
        let is_valid = |fetched: &&Fetched| {
            fetched.departures == shard.departures && fetched.cold_key == wanted.cold_key
        };
        match fetched.filter(is_valid).map(|fetched| &fetched.record) {
            Some(None) => Ok(Residency::Absent),
            Some(Some(record)) => Ok(self.admit_fetched(shard, &wanted, record)),
            None => self.resolve_from_memory(cold, shard, &wanted),
        }
    }

    /// As [`Tier::resolve`], but reads the disk under the lock instead of asking for a fetch: for scripts that touch a
    /// key they did not declare.
    ///
    /// # Errors
    /// As there.
    pub fn resolve_now(
        &self,
        shard: &mut Shard,
        request: &KeyRequest<'_>,
    ) -> Result<Residency, InternalError> {
        match self.resolve(shard, request, None)? {
            Residency::Fetch(ticket) => {
                // Whoever asks for this must not give up its locks: a script, the expiry of a hash's fields.
                let fetched = lock_watch::may_wait(|| self.fetch_now(ticket))?;
                self.resolve(shard, request, Some(&fetched))
            }
            other => Ok(other),
        }
    }

    /// Reads what a ticket names on the calling thread, which waits for the disk.
    ///
    /// # Errors
    /// The record cannot be read, or is damaged.
    pub fn fetch_now(&self, ticket: FetchTicket) -> Result<Fetched, InternalError> {
        let record = read(self.cold.as_deref(), &ticket)?;
        Ok(Fetched {
            cold_key: ticket.cold_key,
            departures: ticket.departures,
            record,
        })
    }

    /// Reads what a ticket names; the read is under way when this returns. One read runs however many requests wait for a key.
    pub fn fetch(
        &self,
        ticket: &FetchTicket,
    ) -> impl Future<Output = Result<Fetched, Arc<InternalError>>> + Send + use<> {
        self.counters.fetches.fetch_add(1, Ordering::Relaxed);
        self.pool.fetch(ticket.clone())
    }

    fn resolve_from_memory(
        &self,
        cold: &Cold,
        shard: &mut Shard,
        wanted: &Wanted<'_>,
    ) -> Result<Residency, InternalError> {
        let departures = shard.departures;
        let ticket = |warm| {
            Residency::Fetch(FetchTicket {
                warm,
                ..FetchTicket::for_key(wanted.request, departures)
            })
        };
        if let Some(copy) = self.warm.get(&wanted.cold_key) {
            if copy.plain_bytes() > DECODED_UNDER_LOCK_MAX {
                return Ok(ticket(Some(copy)));
            }
            self.counters.warm_hits.fetch_add(1, Ordering::Relaxed);
            return self.admit_warm(shard, wanted, &copy);
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
        let version = Version {
            lsn: header.lsn,
            deadline_ms,
            kind: header.kind,
        };
        if self.may_lend(wanted, &version) && self.warm.takes(encoded.len()) {
            self.warm_first_read(wanted, &version, encoded);
            return Ok(Residency::Lent(entry_of_text(wanted, &version, encoded)));
        }
        let entry = self.decode_entry(cold, wanted, &version, encoded)?;
        self.promote(shard, wanted, entry);
        Ok(Residency::Present)
    }

    /// True if a copy is enough for this command.
    fn may_lend(&self, wanted: &Wanted<'_>, version: &Version) -> bool {
        let is_expired = version
            .deadline_ms
            .is_some_and(|deadline_ms| deadline_ms <= wanted.request.now_ms);
        wanted.request.only_looks && version.kind == ValueKind::String && !is_expired
    }

    fn admit_warm(
        &self,
        shard: &mut Shard,
        wanted: &Wanted<'_>,
        copy: &WarmCopy,
    ) -> Result<Residency, InternalError> {
        let version = Version {
            lsn: copy.lsn,
            deadline_ms: copy.deadline_ms,
            kind: copy.kind,
        };
        let encoded = copy.unpack()?;
        if self.may_lend(wanted, &version) && !copy.read_once.swap(true, Ordering::Relaxed) {
            return Ok(Residency::Lent(entry_of_text(wanted, &version, &encoded)));
        }
        let cold = self
            .cold
            .as_deref()
            .ok_or_else(|| InternalError::Other("a warm copy without a cold tier".into()))?;
        let entry = self.decode_entry(cold, wanted, &version, &encoded)?;
        self.promote(shard, wanted, entry);
        Ok(Residency::Present)
    }

    fn admit_fetched(
        &self,
        shard: &mut Shard,
        wanted: &Wanted<'_>,
        record: &FetchedRecord,
    ) -> Residency {
        let version = Version {
            lsn: record.lsn,
            deadline_ms: record.deadline_ms,
            kind: record.kind,
        };
        if self.may_lend(wanted, &version) && self.lends_fetched(wanted, record) {
            let entry = Entry::new(
                wanted.request.key,
                NewBody::Boxed(record.value.clone()),
                version.deadline_ms,
            );
            return Residency::Lent(clean(entry, &version, wanted.request.now_ms));
        }
        let body = match &record.value {
            Value::Text(text) => NewBody::Text(text.as_bytes()),
            value => NewBody::Boxed(value.clone()),
        };
        let entry = Entry::new(wanted.request.key, body, version.deadline_ms);
        self.promote(shard, wanted, entry_of_version(entry, &version));
        Residency::Present
    }

    /// True if a fetched text is to be lent: its copy is warm (again), and this is the first read since.
    fn lends_fetched(&self, wanted: &Wanted<'_>, record: &FetchedRecord) -> bool {
        if let Some(copy) = self.warm.get(&wanted.cold_key) {
            return !copy.read_once.swap(true, Ordering::Relaxed);
        }
        let Some(copy) = record
            .copy
            .as_ref()
            .filter(|copy| self.warm.takes(copy.plain_bytes()))
        else {
            return false;
        };
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
        Ok(entry_of_version(
            Entry::new(
                wanted.request.key,
                NewBody::Boxed(value),
                version.deadline_ms,
            ),
            version,
        ))
    }

    /// Puts a clean entry into the keyspace. The key's existence does not change, only its place.
    fn promote(&self, shard: &mut Shard, wanted: &Wanted<'_>, mut entry: Entry) {
        let seconds = (wanted.request.now_ms / 1000) as u32;
        entry.set_access(seconds << 8 | NEW_KEY_FREQUENCY);
        self.warm.remove(&wanted.cold_key);
        let KeyRequest { database, hash, .. } = *wanted.request;
        shard
            .table_mut(database)
            .insert(hash, entry, |key| self.keyspace.hash(key));
        self.counters.promotions.fetch_add(1, Ordering::Relaxed);
    }
}

fn entry_of_text(wanted: &Wanted<'_>, version: &Version, text: &[u8]) -> Entry {
    let entry = Entry::new(wanted.request.key, NewBody::Text(text), version.deadline_ms);
    // A text that is only lent for one command has been used just now, too.
    clean(entry, version, wanted.request.now_ms)
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
