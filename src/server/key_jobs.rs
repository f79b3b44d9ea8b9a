//! Jobs that need keys which no key specification names: SORT with patterns, DELPREFIX.
//!
//! They run on blocking threads and do what dispatch does for a command: lock, make resident, run, log, and tell those who wait.

use super::Server;
use super::services::failed;
use crate::clock;
use crate::config::AppendFsync;
use crate::error::{CommandError, CommandResult, InternalError};
use crate::keyspace::{Journal, Keys};
use crate::tier::{FetchTicket, Fetched, KeyRequest, Residency};
use std::sync::atomic::Ordering;

/// So often missing keys are read without locks. After that they are read under them.
const UNLOCKED_ROUNDS: usize = 3;

/// Keys of a job, with their hashes.
struct Names<'a> {
    database: u32,
    names: &'a [Vec<u8>],
    hashes: Vec<u64>,
}

impl Server {
    /// Locks keys, makes them resident and runs `work` on them. See [`crate::commands::Services::with_keys`].
    pub(super) fn run_on_keys(
        &self,
        database: u32,
        names: &[Vec<u8>],
        work: &mut dyn FnMut(&mut Keys<'_>) -> CommandResult,
    ) -> CommandResult {
        let hashes = names.iter().map(|name| self.keyspace.hash(name)).collect();
        let names = Names {
            database,
            names,
            hashes,
        };
        let mut fetched: Vec<Option<Fetched>> = names.names.iter().map(|_| None).collect();
        let mut journal = Journal::default();
        for round in 0.. {
            self.load_blocks_of(&names).map_err(failed)?;
            let mut keys = self.lock_names(&names, &mut journal);
            let reads_now = round >= UNLOCKED_ROUNDS;
            let missing = self
                .make_names_resident(&mut keys, &names, &fetched, reads_now)
                .map_err(failed)?;
            if missing.is_empty() {
                let result = work(&mut keys);
                let lsn = keys.commit();
                drop(keys);
                self.finish_job(journal, lsn)?;
                return result;
            }
            drop(keys);
            for (index, ticket) in missing {
                fetched[index] = Some(self.tier.fetch_now(ticket).map_err(failed)?);
            }
        }
        Ok(())
    }

    fn load_blocks_of(&self, names: &Names<'_>) -> Result<(), InternalError> {
        if !self.lazy.is_complete() {
            let generation = self.keyspace.generation(names.database);
            for hash in &names.hashes {
                self.lazy.ensure_loaded(generation, *hash, &self.keyspace)?;
            }
        }
        Ok(())
    }

    fn lock_names<'k>(&'k self, names: &Names<'_>, journal: &'k mut Journal) -> Keys<'k> {
        let mut keys = Keys::lock(
            &self.keyspace,
            &names.hashes,
            journal,
            &*self.recorder,
            names.database,
            clock::now_ms(),
        );
        keys.notes_written = self.hears_writes();
        let settings = self.settings.current().0;
        keys.frequency_log_factor = Server::frequency_log_factor(&settings);
        keys.listens_to = settings.notify_keyspace_events.worth_keeping();
        keys.keeps_expired = self.pause.is_active();
        keys
    }

    /// What has to be read first, each with the index of its key.
    fn make_names_resident(
        &self,
        keys: &mut Keys<'_>,
        names: &Names<'_>,
        fetched: &[Option<Fetched>],
        reads_now: bool,
    ) -> Result<Vec<(usize, FetchTicket)>, InternalError> {
        let mut missing = Vec::new();
        if self.tier.everything_is_hot() {
            return Ok(missing);
        }
        let generation = self.keyspace.generation(names.database);
        for (index, (name, hash)) in names.names.iter().zip(&names.hashes).enumerate() {
            let request = KeyRequest {
                database: names.database,
                generation,
                hash: *hash,
                key: name,
                only_looks: false,
                now_ms: keys.now_ms(),
            };
            let shard = keys.shard_mut(*hash);
            let residency = if reads_now {
                self.tier.resolve_now(shard, &request)?
            } else {
                let found = fetched[index].as_ref();
                self.tier.resolve(shard, &request, found)?
            };
            match residency {
                Residency::Present | Residency::Absent => {}
                Residency::Lent(entry) => keys.lend(names.database, entry),
                Residency::Fetch(ticket) => missing.push((index, ticket)),
            }
        }
        Ok(missing)
    }

    /// Counts what a job changed, wakes who waits for it, and waits for the disk if replies have to.
    fn finish_job(&self, mut journal: Journal, lsn: Option<u64>) -> CommandResult {
        self.tier.note_activity(0);
        self.background
            .changes
            .fetch_add(std::mem::take(&mut journal.changes), Ordering::Relaxed);
        if journal.has_events() {
            self.publish_events(&self.settings.current().0, journal.take_events());
        }
        if journal.has_written() {
            let written = journal.take_written();
            self.invalidate(&written, 0, None);
            self.serve_blocked(written);
        }
        lsn.map_or(Ok(()), |lsn| self.wait_before_reply(lsn))
    }

    /// Waits until the log is durable up to this LSN, if replies have to: for what a job wrote.
    pub(super) fn wait_before_reply(&self, lsn: u64) -> CommandResult {
        if self.settings.current().0.appendfsync == AppendFsync::Always {
            self.journaling.ensure_durable(lsn).map_err(failed)?;
        }
        Ok(())
    }

    /// Deletes the keys that begin with `prefix` and were not changed since this began.
    pub(super) fn delete_keys_with_prefix(
        &self,
        database: u32,
        prefix: &[u8],
    ) -> Result<u64, CommandError> {
        let last_lsn = self.journaling.last_lsn();
        let goes_on = || !*self.shutdown.borrow();
        let deletion = self
            .tier
            .delete_prefix(database, prefix, last_lsn, &goes_on)
            .map_err(failed)?;
        let changes = &self.background.changes;
        changes.fetch_add(deletion.deleted, Ordering::Relaxed);
        if !deletion.had_room {
            return Err(CommandError::LOG_UNWRITABLE);
        }
        self.wait_before_reply(self.journaling.last_lsn())?;
        Ok(deletion.deleted)
    }

    /// Deletes them on another blocking thread. The runtime waits for it at the end, and the end stops it.
    pub(super) fn start_prefix_deletion(
        &self,
        database: u32,
        prefix: Vec<u8>,
    ) -> Result<(), CommandError> {
        const ENDING: CommandError = CommandError::fixed("ERR the server is shutting down");
        let server = self.this.upgrade().ok_or(ENDING)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ENDING)?;
        runtime.spawn_blocking(move || {
            let shown = prefix.escape_ascii();
            match server.delete_keys_with_prefix(database, &prefix) {
                Ok(deleted) => tracing::info!(prefix = %shown, deleted, "keys of a prefix deleted"),
                Err(error) => {
                    tracing::error!(prefix = %shown, error = error.text(), "deleting a prefix failed");
                }
            }
        });
        Ok(())
    }
}
