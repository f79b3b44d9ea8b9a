//! DELPREFIX: the keys of a database that begin alike, deleted in all tiers.
//!
//! A walk in hash order, as SCAN makes it; the keys are anywhere in it. Each stretch finds its candidates without keeping the lock, then
//! locks their shard and decides for each by its LSN: whatever was changed after the command began stays. A cold key leaves a
//! tombstone, as when it expires; of its record only the header is looked at. The deletions of a stretch are one record.

use super::Tier;
use super::scan::Found;
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::lock_watch;
use crate::keyspace::{EventClasses, Journal, Keys};
use storage_format::record::ColdKey;

/// Keys looked at between two looks at whether to go on.
const STRETCH_KEYS: usize = 1024;

/// What a deletion by prefix did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixDeletion {
    /// Keys that are gone.
    pub deleted: u64,
    /// False if it ended early because the log has no room.
    pub had_room: bool,
}

/// Which keys go.
struct Doomed {
    database: u32,
    generation: u32,
    /// The last change that they may have.
    last_lsn: u64,
}

impl Tier {
    /// Deletes the keys that begin with `prefix` and whose last change is not after `last_lsn`. Ends early when
    /// `goes_on` says so, or when the database was flushed or exchanged meanwhile. Waits for the disk.
    ///
    /// # Errors
    /// RocksDB or the snapshot failed. What was deleted until then is deleted.
    pub fn delete_prefix(
        &self,
        database: u32,
        prefix: &[u8],
        last_lsn: u64,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<PrefixDeletion, InternalError> {
        let doomed = Doomed {
            database,
            generation: self.keyspace.generation(database),
            last_lsn,
        };
        let mut done = PrefixDeletion {
            deleted: 0,
            had_room: true,
        };
        let (mut next_hash, mut journal) = (Some(0), Journal::default());
        while let Some(hash) = next_hash.filter(|_| done.had_room && goes_on()) {
            let mut stretch = self.stretch(database, hash, STRETCH_KEYS)?;
            stretch.found.retain(|item| item.key.starts_with(prefix));
            if !stretch.found.is_empty() {
                self.delete_found(&doomed, &stretch.found, &mut journal, &mut done)?;
            }
            next_hash = stretch.last_hash.checked_add(1);
        }
        Ok(done)
    }

    /// Decides about keys of one shard.
    fn delete_found(
        &self,
        doomed: &Doomed,
        found: &[Found],
        journal: &mut Journal,
        done: &mut PrefixDeletion,
    ) -> Result<(), InternalError> {
        let mut keys = Keys::lock(
            &self.keyspace,
            &[found[0].hash],
            journal,
            &*self.ports.recorder,
            doomed.database,
            clock::now_ms(),
        );
        keys.listens_to = self.ports.events.listens_to();
        keys.notes_written = self.ports.events.hears_writes();
        if self.keyspace.generation(doomed.database) != doomed.generation {
            return Ok(());
        }
        for item in found {
            let (hash, key) = (item.hash, &*item.key);
            let is_here = keys.shard_mut(hash).find(doomed.database, hash, key);
            let deleted = if is_here.is_some() {
                let lsn = keys.lsn(key);
                if lsn == 0 || lsn > doomed.last_lsn {
                    continue;
                }
                keys.delete(key).is_ok()
            } else {
                match self.delete_cold_only(doomed, &mut keys, item)? {
                    None => continue,
                    Some(deleted) => deleted,
                }
            };
            if !deleted {
                done.had_room = false;
                break;
            }
            done.deleted += 1;
            keys.notify(EventClasses::GENERIC, "del", key);
        }
        keys.commit();
        drop(keys);
        self.publish_events(journal);
        Ok(())
    }

    /// Deletes a key that the keyspace does not hold: `None` if it is to stay, or is not there; false if the log has no room.
    fn delete_cold_only(
        &self,
        doomed: &Doomed,
        keys: &mut Keys<'_>,
        item: &Found,
    ) -> Result<Option<bool>, InternalError> {
        let Some(cold) = self.cold.as_deref() else {
            return Ok(None);
        };
        let cold_key = ColdKey {
            generation: doomed.generation,
            hash: item.hash,
            key: &item.key,
        }
        .to_vec();
        // The walk that found it has just read it, so it comes from the block cache.
        let Some(record) = lock_watch::may_wait(|| cold.read(&cold_key))? else {
            return Ok(None);
        };
        let (header, _) = cold.split(&record)?;
        let deadline_ms = (header.deadline_ms != 0).then_some(header.deadline_ms);
        let is_expired = deadline_ms.is_some_and(|deadline_ms| deadline_ms <= keys.now_ms());
        if header.lsn > doomed.last_lsn || is_expired {
            return Ok(None);
        }
        let deleted = keys.delete_cold(&item.key, header.lsn, deadline_ms);
        if deleted {
            self.warm.remove(&cold_key);
        }
        Ok(Some(deleted))
    }
}
