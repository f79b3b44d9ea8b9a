//! Instant restart: a snapshot that is mapped at start-up and loaded block by block, while the server serves, and the log's
//! end likewise.
//!
//! A block is loaded when a key in its hash range is first touched, and by a background pass. Until then nobody may judge a
//! key of its range from keyspace and cold records alone: dispatch calls [`LazySnapshot::ensure_loaded`] before it locks
//! shards, and so does whatever acts on cold records by itself.
//!
//! The same holds for the end of the log where replaying it would take long ([`super::pending_log`]): a part of it is replayed when
//! a key of the part is first touched, before the snapshot's block of the key is loaded.
//!
//! What replay has settled (see [`super::rebuild`]) is remembered by block until the block is loaded, so that a whole-value
//! put or a deletion in the log needs no block. Loading changes no key count: the manifest has counted these keys.
//!
//! Cost: one atomic load once everything is in. A block takes about 0.2 ms; with cold records, one filter probe a key more,
//! and a read for those that pass it.

use super::cold_store::{ColdStore, ColdVersion};
use super::log::index::{Stretch, last_hash_of, part_of};
use super::pending_log::PendingLog;
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::entry::{Entry, NewBody};
use crate::keyspace::{Keyspace, lock_watch};
use crate::value::Value;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use storage_format::ValueKind;
use storage_format::snapshot::{DecodedBlock, SnapshotEntry, SnapshotReader};

/// Locks that keep two threads from loading the same block.
const BLOCK_LOCKS: usize = 64;
/// The access counter of a key that was just loaded, as of a new one.
const LOADED_FREQUENCY: u32 = 5;

/// Keys (generation and key) of a block that replay has settled, and whether their former deadline is accounted for.
type Settled = HashMap<(u32, Box<[u8]>), bool>;

/// The file, while some of it is not loaded.
struct Mapped {
    reader: SnapshotReader,
    path: PathBuf,
    loaded: Box<[AtomicU64]>,
    block_locks: Box<[Mutex<()>]>,
    settled: Mutex<HashMap<usize, Settled>>,
}

/// See the module's comment.
pub struct LazySnapshot {
    cold: Arc<dyn ColdStore>,
    /// Both of the next two.
    is_complete: AtomicBool,
    has_all_blocks: AtomicBool,
    has_all_of_log: AtomicBool,
    pending_log: RwLock<Option<PendingLog>>,
    blocks: usize,
    blocks_loaded: AtomicUsize,
    cursor: AtomicUsize,
    mapped: RwLock<Option<Mapped>>,
}

impl LazySnapshot {
    /// Nothing to load.
    pub fn nothing(cold: Arc<dyn ColdStore>) -> LazySnapshot {
        LazySnapshot {
            cold,
            is_complete: AtomicBool::new(true),
            has_all_blocks: AtomicBool::new(true),
            has_all_of_log: AtomicBool::new(true),
            pending_log: RwLock::new(None),
            blocks: 0,
            blocks_loaded: AtomicUsize::new(0),
            cursor: AtomicUsize::new(0),
            mapped: RwLock::new(None),
        }
    }

    /// All of an open snapshot is still to be loaded.
    pub fn new(reader: SnapshotReader, path: &Path, cold: Arc<dyn ColdStore>) -> LazySnapshot {
        let blocks = reader.block_count();
        if blocks == 0 {
            return LazySnapshot::nothing(cold);
        }
        let mapped = Mapped {
            reader,
            path: path.to_path_buf(),
            loaded: (0..blocks.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
            block_locks: (0..BLOCK_LOCKS).map(|_| Mutex::new(())).collect(),
            settled: Mutex::new(HashMap::new()),
        };
        LazySnapshot {
            is_complete: AtomicBool::new(false),
            has_all_blocks: AtomicBool::new(false),
            blocks,
            mapped: RwLock::new(Some(mapped)),
            ..LazySnapshot::nothing(cold)
        }
    }

    /// The end of the log is to be replayed part by part from now on. Its keys are counted already. Before anything is served.
    pub(super) fn set_pending_log(&self, stretches: Vec<Stretch>) {
        *self.pending_log.write() = Some(PendingLog::new(stretches));
        self.has_all_of_log.store(false, Ordering::SeqCst);
        self.is_complete.store(false, Ordering::Release);
    }

    /// True if nothing is left to load: one atomic load.
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Blocks that are loaded, and all blocks.
    pub fn progress(&self) -> (usize, usize) {
        (self.blocks_loaded.load(Ordering::Relaxed), self.blocks)
    }

    /// True if all blocks of the snapshot are loaded.
    pub(super) fn has_all_blocks(&self) -> bool {
        self.has_all_blocks.load(Ordering::Acquire)
    }

    /// Parts of the log that are not replayed yet.
    pub fn log_parts_left(&self) -> usize {
        let pending = self.pending_log.read();
        pending.as_ref().map_or(0, PendingLog::parts_left)
    }

    /// True if the keyspace has what the snapshot and the log say of this hash.
    pub fn is_loaded(&self, generation: u32, hash: u64) -> bool {
        self.is_complete()
            || self.is_replayed(part_of(hash))
                && self
                    .with_mapped(|mapped| mapped.block_of(generation, hash).is_none())
                    .unwrap_or(true)
    }

    fn is_replayed(&self, part: usize) -> bool {
        let pending = self.pending_log.read();
        pending
            .as_ref()
            .is_none_or(|pending| pending.is_replayed(part))
    }

    /// Whether the log is replayed for all hashes from `first_hash` to `last_hash`.
    pub fn is_range_replayed(&self, first_hash: u64, last_hash: u64) -> bool {
        self.is_complete()
            || (part_of(first_hash)..=part_of(last_hash)).all(|part| self.is_replayed(part))
    }

    /// Replays the log for all hashes from `first_hash` to `last_hash`, as far as that is still to be done; loads no block for its
    /// own sake. Not under shard locks.
    ///
    /// # Errors
    /// As [`LazySnapshot::ensure_loaded`].
    pub fn ensure_range_replayed(
        &self,
        first_hash: u64,
        last_hash: u64,
        keyspace: &Keyspace,
    ) -> Result<(), InternalError> {
        if self.is_complete() {
            return Ok(());
        }
        (part_of(first_hash)..=part_of(last_hash))
            .try_for_each(|part| self.ensure_replayed(part, keyspace))
    }

    /// Replays a part of the log, if that is still to be done.
    fn ensure_replayed(&self, part: usize, keyspace: &Keyspace) -> Result<(), InternalError> {
        lock_watch::waits("a part of the log");
        let was_last = match self.pending_log.read().as_ref() {
            Some(pending) => pending.ensure_replayed(part, keyspace, &*self.cold, self)?,
            None => false,
        };
        if was_last {
            *self.pending_log.write() = None;
            self.note_completion(&self.has_all_of_log);
        }
        Ok(())
    }

    /// One of the two halves is complete. Of two threads that say so at the same time, one at least sees both.
    fn note_completion(&self, half: &AtomicBool) {
        half.store(true, Ordering::SeqCst);
        if self.has_all_blocks.load(Ordering::SeqCst) && self.has_all_of_log.load(Ordering::SeqCst)
        {
            self.is_complete.store(true, Ordering::Release);
        }
    }

    /// Loads the block that this hash is in, if it is not yet. Not under shard locks.
    ///
    /// # Errors
    /// The block is damaged (the file is then set aside, so that the next start uses the snapshot before it), or a cold
    /// record cannot be read.
    pub fn ensure_loaded(
        &self,
        generation: u32,
        hash: u64,
        keyspace: &Keyspace,
    ) -> Result<(), InternalError> {
        self.ensure_range_loaded(generation, hash, hash, keyspace)
    }

    /// Loads all blocks that the hashes from `first_hash` to `last_hash` are in. Not under shard locks.
    ///
    /// # Errors
    /// As [`LazySnapshot::ensure_loaded`].
    pub fn ensure_range_loaded(
        &self,
        generation: u32,
        first_hash: u64,
        last_hash: u64,
        keyspace: &Keyspace,
    ) -> Result<(), InternalError> {
        if self.is_complete() {
            return Ok(());
        }
        self.ensure_range_replayed(first_hash, last_hash, keyspace)?;
        self.ensure_blocks_loaded(generation, first_hash, last_hash, keyspace)
    }

    /// As [`LazySnapshot::ensure_range_loaded`], without what the log says: for replay itself.
    pub(super) fn ensure_blocks_loaded(
        &self,
        generation: u32,
        first_hash: u64,
        last_hash: u64,
        keyspace: &Keyspace,
    ) -> Result<(), InternalError> {
        if self.has_all_blocks() {
            return Ok(());
        }
        let blocks = self.with_mapped(|mapped| {
            mapped
                .reader
                .index()
                .blocks_of_range(generation, first_hash..=last_hash)
        });
        blocks
            .unwrap_or_default()
            .try_for_each(|block| self.load(block, keyspace))
    }

    /// Loads the block that `hash` is in, if it is not yet. Returns the last hash up to which, from `hash` on, every key of the
    /// generation is in the keyspace now. Not under shard locks.
    ///
    /// # Errors
    /// As [`LazySnapshot::ensure_loaded`].
    pub fn load_at(
        &self,
        generation: u32,
        hash: u64,
        keyspace: &Keyspace,
    ) -> Result<u64, InternalError> {
        if self.is_complete() {
            return Ok(u64::MAX);
        }
        self.ensure_range_loaded(generation, hash, hash, keyspace)?;
        let next = self.with_mapped(|mapped| {
            let index = mapped.reader.index();
            let next = index.blocks_of_range(generation, hash..=hash).end;
            index
                .get(next)
                .filter(|row| row.first_generation == generation)
                .map(|row| row.first_hash)
        });
        let last_of_block = next.flatten().map_or(u64::MAX, |next| next - 1);
        Ok(last_of_block.min(last_hash_of(part_of(hash))))
    }

    /// One step of the background pass: replays one part of the log or loads one block. False when everything is in.
    ///
    /// # Errors
    /// As [`LazySnapshot::ensure_loaded`]; the next call goes on with the next part or block.
    pub fn load_next(&self, keyspace: &Keyspace) -> Result<bool, InternalError> {
        let part = self
            .pending_log
            .read()
            .as_ref()
            .and_then(PendingLog::next_part);
        if let Some(part) = part {
            return self.ensure_replayed(part, keyspace).map(|()| true);
        }
        while !self.has_all_blocks() {
            let block = self.cursor.fetch_add(1, Ordering::Relaxed);
            if block >= self.blocks {
                return Ok(false);
            }
            if self
                .with_mapped(|mapped| !mapped.is_loaded(block))
                .unwrap_or(false)
            {
                return self.load(block, keyspace).map(|()| true);
            }
        }
        Ok(false)
    }

    /// Loads all that is left.
    ///
    /// # Errors
    /// As [`LazySnapshot::ensure_loaded`].
    pub fn load_all(&self, keyspace: &Keyspace) -> Result<(), InternalError> {
        self.ensure_range_replayed(0, u64::MAX, keyspace)?;
        (0..self.blocks).try_for_each(|block| {
            if self.has_all_blocks() {
                Ok(())
            } else {
                self.load(block, keyspace)
            }
        })
    }

    /// Remembers that the log says what this key is, so that the snapshot does not. Only during replay.
    /// `former_deadline_counted`: the count of deadlines already knows that the snapshot's version is gone.
    pub fn settle(&self, generation: u32, hash: u64, key: &[u8], former_deadline_counted: bool) {
        self.with_mapped(|mapped| {
            let Some(block) = mapped.block_of(generation, hash) else {
                return;
            };
            // Not while the block is being loaded, which takes the settled keys out before.
            lock_watch::waits("a block of the snapshot");
            let _not_meanwhile = mapped.block_locks[block % BLOCK_LOCKS].lock();
            if !mapped.is_loaded(block) {
                let mut settled = mapped.settled.lock();
                settled
                    .entry(block)
                    .or_default()
                    .entry((generation, key.into()))
                    .or_insert(former_deadline_counted);
            }
        });
    }

    fn with_mapped<R>(&self, work: impl FnOnce(&Mapped) -> R) -> Option<R> {
        self.mapped.read().as_ref().map(work)
    }

    fn load(&self, block: usize, keyspace: &Keyspace) -> Result<(), InternalError> {
        lock_watch::waits("a block of the snapshot");
        let loaded = self.with_mapped(|mapped| -> Result<bool, InternalError> {
            let _one_at_a_time = mapped.block_locks[block % BLOCK_LOCKS].lock();
            if mapped.is_loaded(block) {
                return Ok(false);
            }
            let decoded = mapped.decode(block)?;
            let settled = mapped.settled.lock().remove(&block).unwrap_or_default();
            let result = self.install(&decoded, &settled, keyspace);
            if result.is_err() {
                mapped.settled.lock().insert(block, settled);
            }
            result?;
            mapped.loaded[block / 64].fetch_or(1 << (block % 64), Ordering::AcqRel);
            Ok(true)
        });
        let is_new = loaded.unwrap_or(Ok(false))?;
        if is_new && self.blocks_loaded.fetch_add(1, Ordering::AcqRel) + 1 == self.blocks {
            *self.mapped.write() = None;
            self.note_completion(&self.has_all_blocks);
        }
        Ok(())
    }

    fn install(
        &self,
        block: &DecodedBlock,
        settled: &Settled,
        keyspace: &Keyspace,
    ) -> Result<(), InternalError> {
        let mut candidates = Vec::with_capacity(block.entry_count() as usize);
        for entry in block.entries() {
            let Some(database) = keyspace.database_of(entry.generation) else {
                continue;
            };
            let is_settled = match settled.is_empty() {
                true => None,
                false => settled.get(&(entry.generation, Box::from(entry.key))),
            };
            let work = match is_settled {
                Some(true) => continue,
                Some(false) => Install::OnlyUncountDeadline,
                None => Install::Entry(self.cold_version(&entry)?),
            };
            candidates.push((database, entry, work));
        }
        let shard_of =
            |(_, entry, _): &(u32, SnapshotEntry<'_>, Install)| Keyspace::shard_of(entry.hash);
        let seconds = (clock::now_ms() / 1000) as u32;
        for run in runs(&candidates, shard_of) {
            let mut shard = keyspace.lock(shard_of(&candidates[run.start]));
            for (database, entry, work) in &candidates[run] {
                // A flush may have come in between; under the lock this stands.
                if keyspace.generation(*database) != entry.generation {
                    continue;
                }
                match work {
                    Install::OnlyUncountDeadline => {
                        shard.table_mut(*database).deadline_balance -=
                            i64::from(entry.deadline_ms != 0);
                    }
                    Install::Entry(cold) => install_entry(
                        &mut shard,
                        keyspace,
                        *database,
                        entry,
                        cold.as_ref(),
                        seconds,
                    )?,
                }
            }
        }
        Ok(())
    }

    fn cold_version(
        &self,
        entry: &SnapshotEntry<'_>,
    ) -> Result<Option<ColdVersion>, InternalError> {
        if !self
            .cold
            .may_contain(entry.generation, entry.hash, entry.key)
        {
            return Ok(None);
        }
        self.cold.get(entry.generation, entry.hash, entry.key)
    }
}

/// What to do about one entry of a block.
enum Install {
    /// Replay settled the key without knowing what it was before.
    OnlyUncountDeadline,
    /// It is loaded; its cold record, if there is one.
    Entry(Option<ColdVersion>),
}

impl Mapped {
    /// The block of this hash, if it is not loaded.
    fn block_of(&self, generation: u32, hash: u64) -> Option<usize> {
        self.reader
            .index()
            .block_of(generation, hash)
            .filter(|block| !self.is_loaded(*block))
    }

    fn is_loaded(&self, block: usize) -> bool {
        self.loaded[block / 64].load(Ordering::Acquire) >> (block % 64) & 1 == 1
    }

    fn decode(&self, block: usize) -> Result<DecodedBlock, InternalError> {
        self.reader.decode_block(block).map_err(|source| {
            set_aside(&self.path);
            InternalError::Format {
                path: self.path.clone(),
                source,
            }
        })
    }
}

/// Renames a damaged snapshot, so that the next start does not use it.
pub(super) fn set_aside(path: &Path) {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    match std::fs::rename(path, &name) {
        Ok(()) => {
            tracing::error!(path = %path.display(), "a snapshot is damaged and was renamed; the next start uses the one before it");
        }
        // Somebody did so before, or it cannot be done: the damage itself is reported either way.
        Err(error) => {
            tracing::debug!(%error, path = %path.display(), "a damaged snapshot was not renamed")
        }
    }
}

/// Neighbours for which `class` is the same, as ranges.
fn runs<T>(items: &[T], class: impl Fn(&T) -> usize) -> Vec<Range<usize>> {
    let mut start = 0;
    let ends = items
        .chunk_by(|one, other| class(one) == class(other))
        .map(<[T]>::len);
    ends.map(|length| {
        start += length;
        start - length..start
    })
    .collect()
}

/// Puts a snapshot's entry into its shard, unless the key is there or its cold record is newer.
fn install_entry(
    shard: &mut crate::keyspace::shard::Shard,
    keyspace: &Keyspace,
    database: u32,
    from: &SnapshotEntry<'_>,
    cold: Option<&ColdVersion>,
    seconds: u32,
) -> Result<(), InternalError> {
    let is_outdated = cold.is_some_and(|cold| cold.lsn > from.lsn);
    if is_outdated || shard.find(database, from.hash, from.key).is_some() {
        return Ok(());
    }
    let deadline_ms = (from.deadline_ms != 0).then_some(from.deadline_ms);
    let body = match from.kind {
        ValueKind::String => NewBody::Text(from.value),
        kind => NewBody::Boxed(Value::decode(kind, from.value).map_err(|error| {
            InternalError::Other(format!(
                "a value in the snapshot cannot be read (key {:?}): {error}",
                from.key.escape_ascii().to_string()
            ))
        })?),
    };
    let mut entry = Entry::new(from.key, body, deadline_ms);
    entry.set_lsn(from.lsn);
    entry.set_access(seconds << 8 | LOADED_FREQUENCY);
    if let Some(cold) = cold {
        entry.set_cold_record(true);
        entry.set_clean(cold.lsn == from.lsn);
        if cold.deadline_ms != deadline_ms {
            let key = (from.generation, Box::from(from.key));
            shard
                .cold_deadlines
                .insert(key, cold.deadline_ms.unwrap_or(0));
        }
    }
    let placement = keyspace.placement();
    shard
        .table_mut(database)
        .insert(from.hash, entry, |key| placement.hash(key));
    Ok(())
}
