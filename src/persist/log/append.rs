//! [`Log`]: appending under one short lock, and the promise that an append finds room.
//!
//! A command asks for room before it changes anything and appends when it is done, so the answer must hold whatever other
//! threads append in between. Small records are promised by slack: the active segment or the spare always has room for one such
//! record of every thread. Larger ones are counted, thread by thread, and make a larger spare if need be.

use super::inventory::Inventory;
use super::replay::LogEnd;
use super::segment::Segment;
use super::sync::{SyncObserver, Syncer};
use super::{LogOptions, SEGMENT_BYTES_MIN, SyncPolicy};
use crate::error::InternalError;
use crate::keyspace::{Recorder, lock_watch};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, ThreadId};
use storage_format::log::{
    FrameSeed, MAX_BODY_LENGTH, RecordBody, SEGMENT_HEADER_LENGTH, SegmentHeader, frame_length,
    frame_record, write_end_mark,
};

/// Threads that may have asked for room and not yet appended.
const THREADS_MAX: usize = 64;
/// The slack of a segment of the usual size: 64 records of 64 KiB.
const SLACK_BYTES_MAX: usize = 4 << 20;

/// The segment that is written, behind the log's lock.
struct Active {
    segment: Segment,
    seed: FrameSeed,
    /// Where the next record goes.
    position: usize,
    next_lsn: u64,
    first_lsn: u64,
}

/// Where a new segment began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Its number.
    pub segment_number: u64,
    /// The newest record in front of it.
    pub last_lsn: u64,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Bytes of records since the last rotation by a snapshot: `aof_current_size`.
    pub bytes_since_rotation: u64,
    /// Segments that a recovery would read.
    pub segments: usize,
    /// Completed syncs.
    pub syncs: u64,
    /// Bytes of the snapshot that the log builds on: `aof_base_size`.
    pub snapshot_bytes: u64,
}

/// What appenders, the syncing thread and the preparing thread share.
pub(super) struct Shared {
    pub(super) options: LogOptions,
    pub(super) inventory: Inventory,
    pub(super) syncer: Syncer,
    active: Mutex<Active>,
    last_lsn: AtomicU64,
    room_bytes: AtomicUsize,
    slack_bytes: usize,
    small_bytes_max: usize,
    /// Bytes of large records that were promised room.
    promised_bytes: AtomicUsize,
    promises: Mutex<HashMap<ThreadId, usize>>,
    /// Bytes of records in closed segments behind the snapshot.
    rotation_bytes: AtomicU64,
    snapshot_bytes: AtomicU64,
}

/// See the module's comment. Cheap to share by `Arc`; dropping it syncs and ends its threads.
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Log {
    /// Opens the log for writing behind its end, as [`super::replay()`] found it, or starts a new one whose first record gets
    /// `end.next_lsn`.
    ///
    /// # Errors
    /// Any I/O error; a segment size below [`SEGMENT_BYTES_MIN`].
    pub fn open(options: LogOptions, end: LogEnd) -> Result<Log, InternalError> {
        if options.segment_bytes < SEGMENT_BYTES_MIN {
            return Err(InternalError::Other(format!(
                "a log segment has at least {SEGMENT_BYTES_MIN} bytes"
            )));
        }
        let slack_bytes = SLACK_BYTES_MAX.min(options.segment_bytes / 2);
        let sync_policy = options.sync_policy;
        let (next_lsn, closed_bytes) = (end.next_lsn, end.closed_bytes);
        let (inventory, active) = open_active(&options, end)?;
        let shared = Arc::new(Shared {
            inventory,
            syncer: Syncer::new(sync_policy, next_lsn - 1),
            last_lsn: AtomicU64::new(next_lsn - 1),
            room_bytes: AtomicUsize::new(active.segment.capacity() - active.position),
            active: Mutex::new(active),
            slack_bytes,
            small_bytes_max: slack_bytes / THREADS_MAX,
            promised_bytes: AtomicUsize::new(0),
            promises: Mutex::new(HashMap::new()),
            rotation_bytes: AtomicU64::new(closed_bytes),
            snapshot_bytes: AtomicU64::new(0),
            options,
        });
        let log = Log {
            shared: shared.clone(),
            threads: Mutex::new(Vec::new()),
        };
        let preparer = shared.clone();
        log.start_thread("log-prepare", move || preparer.inventory.keep_prepared())?;
        log.start_thread("log-sync", move || shared.run_syncs())?;
        Ok(log)
    }

    fn start_thread(
        &self,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), InternalError> {
        let builder = std::thread::Builder::new().name(name.to_owned());
        let thread = builder.spawn(body).map_err(InternalError::io(
            "start thread for",
            &self.shared.options.directory,
        ))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// The LSN of the newest record; 0 before the first.
    pub fn last_lsn(&self) -> u64 {
        self.shared.last_lsn.load(Ordering::Acquire)
    }

    /// Everything up to this LSN survives a power failure.
    pub fn durable_lsn(&self) -> u64 {
        self.shared.syncer.durable_lsn()
    }

    /// Blocks until the record is durable, under every policy: the write-ahead rule.
    ///
    /// # Errors
    /// A sync failed; nothing can be made durable any more.
    pub fn ensure_durable(&self, lsn: u64) -> Result<(), InternalError> {
        self.shared.syncer.ensure_durable(lsn.min(self.last_lsn()))
    }

    /// Waits until the record is durable: what a reply does under `appendfsync always`. Any number of waiters share a sync.
    ///
    /// # Errors
    /// As [`Log::ensure_durable`].
    pub async fn wait_durable(&self, lsn: u64) -> Result<(), InternalError> {
        self.shared
            .syncer
            .wait_durable(lsn.min(self.last_lsn()))
            .await
    }

    /// Blocks until everything so far is durable.
    ///
    /// # Errors
    /// As [`Log::ensure_durable`].
    pub fn sync_now(&self) -> Result<(), InternalError> {
        self.ensure_durable(u64::MAX)
    }

    /// For tests: no sync ends before this is dropped.
    #[cfg(test)]
    pub fn hold_syncs(&self) -> impl Drop + '_ {
        self.shared.syncer.hold()
    }

    /// Has `observer` told how long each sync took that replies wait for (`appendfsync always`). The first one counts.
    pub fn observe_syncs(&self, observer: SyncObserver) {
        self.shared.syncer.observe(observer);
    }

    /// Sets `appendfsync`.
    pub fn set_sync_policy(&self, policy: SyncPolicy) {
        self.shared.syncer.set_policy(policy);
    }

    /// What `appendfsync` is.
    pub fn sync_policy(&self) -> SyncPolicy {
        self.shared.syncer.policy()
    }

    /// False while writes are refused: the disk is full, or failed.
    pub fn is_writable(&self) -> bool {
        self.shared.syncer.failure().is_none()
            && (!self.shared.inventory.is_full() || self.shared.has_promised_room())
    }

    /// Figures for INFO.
    pub fn statistics(&self) -> LogStatistics {
        let (closed, file_bytes) = self.shared.inventory.usage();
        let active = self.shared.active.lock();
        let since = self.shared.rotation_bytes.load(Ordering::Relaxed)
            + (active.position - SEGMENT_HEADER_LENGTH) as u64;
        LogStatistics {
            file_bytes,
            bytes_since_rotation: since,
            segments: closed.len() + 1,
            syncs: self.shared.syncer.syncs(),
            snapshot_bytes: self.shared.snapshot_bytes.load(Ordering::Relaxed),
        }
    }

    /// Notes the size of the snapshot that the log builds on.
    pub fn note_snapshot_bytes(&self, bytes: u64) {
        self.shared.snapshot_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Blocks until a segment is ready for [`Log::rotate`]. Without shard locks: a file may have to be written.
    ///
    /// # Errors
    /// The disk is full.
    pub fn prepare_rotation(&self) -> Result<(), InternalError> {
        self.shared
            .inventory
            .prepare(self.shared.options.segment_bytes)
    }

    /// Starts a new segment: a snapshot's cut. The caller holds all shard locks, so nobody is between asking for room and
    /// appending. `None` if there is no spare: let go of the locks, [`Log::prepare_rotation`], try again.
    pub fn rotate(&self) -> Option<Rotation> {
        let mut active = self.shared.active.lock();
        if active.next_lsn != active.first_lsn {
            self.shared.switch(&mut active).then_some(())?;
        }
        self.shared.rotation_bytes.store(0, Ordering::Relaxed);
        Some(Rotation {
            segment_number: active.segment.file.number,
            last_lsn: active.next_lsn - 1,
        })
    }

    /// Removes the segments with numbers below `segment_number`, as far as they are not written any more. Returns how
    /// many.
    pub fn remove_before(&self, segment_number: u64) -> usize {
        self.shared.inventory.remove_before(segment_number)
    }

    /// Syncs what is there and ends the threads. Appending afterwards still works, without anybody to sync it.
    ///
    /// # Errors
    /// The last sync failed.
    pub fn close(&self) -> Result<(), InternalError> {
        let threads: Vec<JoinHandle<()>> = std::mem::take(&mut *self.threads.lock());
        if threads.is_empty() {
            return Ok(());
        }
        let synced = self.sync_now();
        self.shared.syncer.stop();
        self.shared.inventory.stop();
        for thread in threads {
            drop(thread.join());
        }
        synced
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the log was not synced at its end");
        }
    }
}

impl Recorder for Log {
    fn append(&self, effects: &[u8]) -> u64 {
        self.shared.append(effects)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.shared.has_room(bytes)
    }

    fn keeps_effects(&self) -> bool {
        true
    }
}

fn open_active(options: &LogOptions, end: LogEnd) -> Result<(Inventory, Active), InternalError> {
    let LogEnd {
        next_lsn,
        last,
        closed,
        unused,
        pool,
        next_number,
        torn: _,
        closed_bytes: _,
    } = end;
    let inventory = Inventory::new(options.clone(), next_number, closed, pool);
    // What lies behind the end goes before anything is written, so that nothing of it can come back.
    inventory.discard(unused);
    storage_format::durable::sync_directory(&options.directory)
        .map_err(InternalError::io("sync", &options.directory))?;
    let active = match last {
        Some(last) => {
            let segment = Segment::reopen(
                &last.path,
                last.number,
                options.segment_bytes,
                last.end,
                last.clear,
            )?;
            let seed = last.header.frame_seed();
            Active {
                segment,
                seed,
                position: last.end as usize,
                next_lsn,
                first_lsn: last.header.first_lsn,
            }
        }
        None => {
            let segment = Segment::create(
                &options.directory,
                inventory.take_number(),
                options.segment_bytes,
            )?;
            begin(options, segment, next_lsn)
        }
    };
    inventory.note_active(&active.segment);
    Ok((inventory, active))
}

fn begin(options: &LogOptions, mut segment: Segment, first_lsn: u64) -> Active {
    let header = SegmentHeader {
        segment_number: segment.file.number,
        first_lsn,
        hash_seed: options.hash_seed,
    };
    segment.begin(&header);
    Active {
        segment,
        seed: header.frame_seed(),
        position: SEGMENT_HEADER_LENGTH,
        next_lsn: first_lsn,
        first_lsn,
    }
}

impl Shared {
    fn append(&self, effects: &[u8]) -> u64 {
        let body = RecordBody::new(effects);
        let length = frame_length(effects.len());
        let mut active = self.active.lock();
        let lsn = active.next_lsn;
        active.next_lsn += 1;
        match body {
            Ok(body) if self.make_fit(&mut active, length, lsn) => {
                let Active {
                    segment,
                    seed,
                    position,
                    ..
                } = &mut *active;
                let unsynced_bytes = (*position as u64).saturating_sub(segment.file.synced_to());
                let written = frame_record(
                    segment.bytes_from(*position),
                    *seed,
                    lsn,
                    unsynced_bytes,
                    &body,
                );
                *position += written;
                write_end_mark(segment.bytes_from(*position));
                self.room_bytes
                    .store(segment.capacity() - *position, Ordering::Relaxed);
            }
            _ => self.syncer.fail(format!(
                "record {lsn} of {length} bytes found no room in the log"
            )),
        }
        self.last_lsn.store(lsn, Ordering::Release);
        drop(active);
        if self.promised_bytes.load(Ordering::Relaxed) != 0 {
            self.promise(0);
        }
        lsn
    }

    /// Switches to the spare if the record does not fit. False only if its appender did not ask for room.
    fn make_fit(&self, active: &mut MutexGuard<'_, Active>, length: usize, lsn: u64) -> bool {
        let fits = |active: &Active| active.segment.capacity() - active.position >= length;
        if fits(active) {
            return true;
        }
        // The record that is waiting is the new segment's first.
        active.next_lsn = lsn;
        // Only for an appender that did not ask for room.
        let prepare = || self.inventory.prepare(length + SEGMENT_HEADER_LENGTH);
        let switched =
            self.switch(active) || lock_watch::may_wait(prepare).is_ok() && self.switch(active);
        active.next_lsn = lsn + 1;
        switched && fits(active)
    }

    /// The spare becomes active. False if there is none.
    fn switch(&self, active: &mut Active) -> bool {
        let Some(spare) = self.inventory.take_spare() else {
            return false;
        };
        let next = begin(&self.options, spare, active.next_lsn);
        let former = std::mem::replace(active, next);
        self.rotation_bytes.fetch_add(
            (former.position - SEGMENT_HEADER_LENGTH) as u64,
            Ordering::Relaxed,
        );
        self.syncer
            .note_finished(former.segment.file.clone(), former.position);
        self.inventory.retire(former.segment);
        self.room_bytes.store(
            active.segment.capacity() - active.position,
            Ordering::Relaxed,
        );
        true
    }

    /// True if all that is promised fits into the active segment, or into the spare.
    fn has_promised_room(&self) -> bool {
        let needed = self.promised_room_bytes();
        self.room_bytes.load(Ordering::Relaxed) >= needed
            || self.inventory.spare_bytes() >= needed + SEGMENT_HEADER_LENGTH
    }

    fn promised_room_bytes(&self) -> usize {
        self.slack_bytes + self.promised_bytes.load(Ordering::Relaxed)
    }

    fn has_room(&self, bytes: usize) -> bool {
        let length = frame_length(bytes);
        if self.syncer.has_failed() || bytes > MAX_BODY_LENGTH {
            return false;
        }
        if length <= self.small_bytes_max {
            self.find_room()
        } else {
            self.promise_large(length)
        }
    }

    /// Counts a large record of this thread, in place of the one it asked for before.
    fn promise_large(&self, length: usize) -> bool {
        let former = self.promise(length);
        if former >= length {
            self.promise(former);
            return true;
        }
        // Through the lock, so that whoever appends from now on sees the promise.
        drop(self.active.lock());
        let found = self.find_room();
        if !found {
            self.promise(former);
        }
        found
    }

    /// Sets what this thread is promised, and returns what it was before.
    fn promise(&self, length: usize) -> usize {
        let mut promises = self.promises.lock();
        let thread = std::thread::current().id();
        let former = if length == 0 {
            promises.remove(&thread)
        } else {
            promises.insert(thread, length)
        }
        .unwrap_or(0);
        self.promised_bytes.fetch_add(length, Ordering::Relaxed);
        self.promised_bytes.fetch_sub(former, Ordering::Relaxed);
        former
    }

    /// Waits for a spare that is large enough, or makes it. While the disk is full, only the preparing thread tries.
    fn find_room(&self) -> bool {
        while !self.has_promised_room() {
            let disk_is_full = self.inventory.is_full() && self.inventory.spare_bytes() == 0;
            let bytes = self.promised_room_bytes() + SEGMENT_HEADER_LENGTH;
            // A command asks for room under its locks. It waits here only if a whole segment was filled faster than the next
            // one could be prepared.
            let prepare = || self.inventory.prepare(bytes).is_err();
            if disk_is_full || lock_watch::may_wait(prepare) {
                return false;
            }
        }
        true
    }

    /// What has to be synced for everything so far to be durable: the active segment, its end, and the last LSN.
    pub(super) fn sync_target(&self) -> (Arc<super::segment::SegmentFile>, usize, u64) {
        let active = self.active.lock();
        (
            active.segment.file.clone(),
            active.position,
            active.next_lsn - 1,
        )
    }
}
