//! Start-up: from a data directory to a keyspace that can serve.
//!
//! The newest snapshot is mapped, not loaded; the log behind its cut is replayed; then the server may accept. So the time to
//! the first answer depends on the log's tail and not on the size of the data. A damaged snapshot is set aside, and the one
//! before it serves with a longer log. Whatever is missing is an error: nothing is served that is only a part of what
//! was promised.
//!
//! Key counts come from the manifest and from what the log creates and deletes. They are counted anew, which reads everything,
//! only where the manifest's do not belong to the snapshot: after a fall-back, and after an unclean end without a log.

use super::cold_store::ColdStore;
use super::data_directory::{DataDirectory, unused_database};
use super::journaling::Journaling;
use super::lazy_snapshot::{LazySnapshot, set_aside};
use super::log::replay::ReplayStart;
use super::log::{
    Log, LogEnd, LogOptions, ReadOptions, SEGMENT_BYTES, SyncPolicy, TornTail, replay,
};
use super::snapshot::{SnapshotSources, Snapshotter, open_snapshot, remove_unnamed_snapshots};
use super::tail::Tail;
use crate::error::InternalError;
use crate::keyspace::{Keyspace, SHARDS};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use storage_format::manifest::{DatabaseManifest, Manifest, SnapshotManifest};
use storage_format::snapshot::SnapshotReader;

/// More threads than this do not read a log any faster.
const WORKERS_MAX: usize = 8;

/// How recovery goes about it.
#[derive(Clone, Debug)]
pub struct RecoveryOptions {
    /// Keep a log from now on: `appendonly`.
    pub append_only: bool,
    /// How many snapshots are kept: `snapshot-keep`.
    pub snapshot_keep: usize,
    /// When the log is synced: `appendfsync`.
    pub sync_policy: SyncPolicy,
    /// Bytes of a log segment.
    pub segment_bytes: usize,
    /// Removed segments that are kept for reuse.
    pub pool_segments: usize,
    /// What the log's files may take together, in bytes.
    pub log_quota_bytes: u64,
    /// A snapshot up to this size is read as a whole and verified before it is used; of a larger one each block is when it is
    /// loaded.
    pub verify_bytes_max: u64,
    /// After so many replayed records memory may be relieved.
    pub relieve_interval_records: u64,
    /// How many threads read and replay the log; at least 1.
    pub workers: usize,
    /// A log of fewer records is replayed before anything is served.
    pub pending_records_min: u64,
    /// So much of the log's end, in bytes of its files, may be replayed later; what is in front of it is replayed before anything is
    /// served. 0: everything is.
    pub pending_bytes_max: u64,
}

impl Default for RecoveryOptions {
    fn default() -> RecoveryOptions {
        RecoveryOptions {
            append_only: true,
            snapshot_keep: 2,
            sync_policy: SyncPolicy::EverySecond,
            segment_bytes: SEGMENT_BYTES,
            pool_segments: 2,
            log_quota_bytes: u64::MAX,
            verify_bytes_max: 128 << 20,
            relieve_interval_records: 16 << 10,
            workers: std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().min(WORKERS_MAX)),
            pending_records_min: 32 << 10,
            pending_bytes_max: 4 << 30,
        }
    }
}

/// What recovery found and did.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// The snapshot that was used.
    pub snapshot: Option<SnapshotManifest>,
    /// Snapshots that could not be used, and why.
    pub damaged_snapshots: Vec<String>,
    /// Records of the log behind the snapshot.
    pub records: u64,
    /// Those among them that are replayed when their keys are first touched.
    pub records_pending: u64,
    /// Effects of the others that were applied.
    pub effects_applied: u64,
    /// Their effects that cold records had already.
    pub effects_skipped: u64,
    /// The log did not end in order and was cut.
    pub torn: Option<TornTail>,
    /// The keys were counted anew.
    pub is_recounted: bool,
    /// A snapshot should be taken soon: the one in use is an older one, and every start counts the keys until then.
    pub snapshot_needed: bool,
    /// How long it took.
    pub duration_ms: u64,
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snapshot {
            Some(snapshot) => write!(
                formatter,
                "snapshot {} with {} entries at LSN {}",
                snapshot.file_name, snapshot.entry_count, snapshot.cut_lsn
            )?,
            None => write!(formatter, "no snapshot")?,
        }
        match self.records_pending {
            0 => write!(
                formatter,
                ", {} log records replayed in {} ms",
                self.records, self.duration_ms
            )?,
            pending => write!(
                formatter,
                ", {} log records read in {} ms, the last {pending} to be replayed on first touch",
                self.records, self.duration_ms
            )?,
        }
        if self.effects_skipped > 0 {
            write!(formatter, ", {} effects found done", self.effects_skipped)?;
        }
        if let Some(torn) = &self.torn {
            write!(
                formatter,
                ", a torn tail cut at offset {} of {}",
                torn.offset,
                torn.path.display()
            )?;
        }
        for damaged in &self.damaged_snapshots {
            write!(formatter, ", unusable: {damaged}")?;
        }
        Ok(())
    }
}

/// A directory that is ready to be served.
pub struct Recovered {
    /// The log, or what numbers changes without one.
    pub journaling: Journaling,
    /// What of the snapshot is not loaded yet.
    pub lazy: Arc<LazySnapshot>,
    /// Takes snapshots from now on.
    pub snapshotter: Arc<Snapshotter>,
    /// The directory.
    pub directory: Arc<DataDirectory>,
    /// What was found.
    pub report: RecoveryReport,
}

/// Recovers a directory into an empty keyspace. `relieve_memory` is called now and then, without locks, so that a log larger than
/// the memory can be replayed; everything that is in the keyspace then is durable.
///
/// # Errors
/// Damage that no fall-back covers; I/O. Nothing has been changed then, except that damaged snapshots are renamed.
pub fn recover(
    directory: DataDirectory,
    keyspace: &Arc<Keyspace>,
    cold: &Arc<dyn ColdStore>,
    options: RecoveryOptions,
    relieve_memory: &dyn Fn(),
) -> Result<Recovered, InternalError> {
    let started = Instant::now();
    let directory = Arc::new(directory);
    let manifest = directory.manifest();
    let mut report = RecoveryReport::default();
    let base = choose_snapshot(&directory, &manifest, &options, &mut report)?;
    restore_databases(keyspace, &manifest, base.as_ref())?;
    let counts_belong = base.as_ref().map_or(0, |base| base.named.cut_lsn) + 1 == manifest.next_lsn;
    report.snapshot = base.as_ref().map(|base| base.named.clone());
    let start = replay_start(&directory, &manifest, base.as_ref())?;
    let lazy = Arc::new(match base {
        Some(base) => LazySnapshot::new(
            base.reader,
            &directory.snapshot_path().join(&base.named.file_name),
            cold.clone(),
        ),
        None => LazySnapshot::nothing(cold.clone()),
    });

    let ground = Ground {
        keyspace,
        cold: &**cold,
        lazy: &lazy,
        relieve_memory,
    };
    let former = directory.former_run();
    let is_to_count = !counts_belong || former.without_log && !manifest.clean_shutdown;
    let mut end = ground.replay_log(
        &directory.log_path(),
        start,
        &options,
        !is_to_count,
        &mut report,
    )?;
    check_log_end(&directory, &end, &manifest)?;
    if is_to_count {
        end.skip_to(ground.recount()? + 1);
        report.is_recounted = true;
    }
    end.skip_to(manifest.next_lsn);
    report.torn = end.torn.clone();
    report.snapshot_needed = !counts_belong;
    let journaling = open_journaling(&directory, end, &options, report.snapshot.as_ref())?;
    tidy(&directory, keyspace, &report)?;
    let sources = SnapshotSources {
        keyspace: keyspace.clone(),
        cold: cold.clone(),
        journaling: journaling.clone(),
        lazy: lazy.clone(),
        directory: directory.clone(),
    };
    let snapshotter = Arc::new(Snapshotter::new(sources, options.snapshot_keep));
    report.duration_ms = started.elapsed().as_millis() as u64;
    Ok(Recovered {
        journaling,
        lazy,
        snapshotter,
        directory,
        report,
    })
}

/// A snapshot that can be used.
struct Base {
    named: SnapshotManifest,
    reader: SnapshotReader,
}

/// Opens the newest snapshot that is in order.
fn choose_snapshot(
    directory: &DataDirectory,
    manifest: &Manifest,
    options: &RecoveryOptions,
    report: &mut RecoveryReport,
) -> Result<Option<Base>, InternalError> {
    for named in manifest.snapshots.iter().rev() {
        let path = directory.snapshot_path().join(&named.file_name);
        match open_snapshot(&path, named, manifest.hash_seed, options.verify_bytes_max) {
            Ok(reader) => {
                return Ok(Some(Base {
                    named: named.clone(),
                    reader,
                }));
            }
            Err(
                error @ InternalError::Format {
                    source: storage_format::FormatError::NewerVersion { .. },
                    ..
                },
            ) => {
                return Err(error);
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot cannot be used");
                report.damaged_snapshots.push(error.to_string());
            }
        }
    }
    if manifest.snapshots.is_empty() {
        return Ok(None);
    }
    Err(InternalError::Other(format!(
        "{}: no snapshot can be used: {}; run `larderctl check` on the data directory",
        directory.path().display(),
        report.damaged_snapshots.join("; ")
    )))
}

/// Gives the keyspace's databases the generations and counts of the directory.
fn restore_databases(
    keyspace: &Keyspace,
    manifest: &Manifest,
    base: Option<&Base>,
) -> Result<(), InternalError> {
    let of_manifest = || manifest.databases.clone();
    let is_newest = |base: &Base| base.named.cut_lsn + 1 == manifest.next_lsn;
    let databases: Vec<DatabaseManifest> = match base {
        // Another cut than the manifest's: the databases as they were then. Their keys are counted later.
        Some(base) if !is_newest(base) && !manifest.databases.is_empty() => base
            .reader
            .header()
            .generations
            .iter()
            .copied()
            .map(unused_database)
            .collect(),
        _ => of_manifest(),
    };
    let supported = keyspace.databases();
    if let Some(extra) = databases.get(supported as usize..)
        && extra.iter().any(|database| database.key_count > 0)
    {
        return Err(InternalError::Other(format!(
            "the data directory has keys in {} databases; `databases` is {supported}",
            databases.len()
        )));
    }
    let highest = databases
        .iter()
        .map(|database| database.generation + 1)
        .max()
        .unwrap_or(0);
    keyspace.reserve_generations(manifest.next_generation.max(highest));
    for (number, database) in (0..supported).zip(databases.iter()) {
        keyspace.restore_database(
            number,
            database.generation,
            database.key_count,
            database.deadline_count,
        );
    }
    if !databases.is_empty() {
        for number in databases.len() as u32..supported {
            keyspace.restore_database(number, keyspace.take_generation(), 0, 0);
        }
    }
    Ok(())
}

/// Where the log's tail begins. The segment that began at the snapshot's cut has to be there.
fn replay_start(
    directory: &DataDirectory,
    manifest: &Manifest,
    base: Option<&Base>,
) -> Result<ReplayStart, InternalError> {
    let former = directory.former_run();
    let (segment_number, cut_lsn) = base.map_or((0, 0), |base| {
        (base.named.log_segment_number, base.named.cut_lsn)
    });
    if base.is_some()
        && !former.without_log
        && !super::log::has_segment(&directory.log_path(), segment_number)
    {
        return Err(InternalError::Other(format!(
            "{}: segment {segment_number}, with which the log behind the snapshot begins, is missing",
            directory.log_path().display()
        )));
    }
    Ok(ReplayStart {
        segment_number,
        first_lsn: cut_lsn + 1,
        hash_seed: manifest.hash_seed,
        after_reboot: former.before_reboot,
        follows_unlogged: former.without_log,
    })
}

/// Whether the log reaches as far as the manifest says that it was durable.
fn check_log_end(
    directory: &DataDirectory,
    end: &LogEnd,
    manifest: &Manifest,
) -> Result<(), InternalError> {
    if directory.former_run().without_log || end.next_lsn >= manifest.next_lsn {
        return Ok(());
    }
    Err(InternalError::Other(format!(
        "{}: the log ends at record {}, but records up to {} were durable; run `larderctl check` on the data directory",
        directory.log_path().display(),
        end.next_lsn - 1,
        manifest.next_lsn - 1
    )))
}

/// What is recovered into.
struct Ground<'a> {
    keyspace: &'a Keyspace,
    cold: &'a dyn ColdStore,
    lazy: &'a LazySnapshot,
    relieve_memory: &'a dyn Fn(),
}

impl Ground<'_> {
    /// Reads the log, and replays it or leaves it to be replayed.
    fn replay_log(
        &self,
        log_path: &Path,
        start: ReplayStart,
        options: &RecoveryOptions,
        may_wait: bool,
        report: &mut RecoveryReport,
    ) -> Result<LogEnd, InternalError> {
        let reading = ReadOptions {
            placement: self.keyspace.placement(),
            workers: options.workers,
            stretch_records_max: options.relieve_interval_records,
        };
        let mut tail = Tail::new(self.keyspace, self.cold, self.lazy, options.workers);
        let pending_bytes_max = if may_wait {
            options.pending_bytes_max
        } else {
            0
        };
        let read = replay(log_path, start, &reading, &mut |pieces, bytes_to_come| {
            tail.take(pieces, self.relieve_memory)?;
            if bytes_to_come >= pending_bytes_max {
                tail.replay_all(self.relieve_memory)?;
            }
            Ok(())
        });
        if read.is_err() || !may_wait || tail.pending_records() < options.pending_records_min {
            // Of all that is wrong, the first in the log's order is told.
            tail.replay_all(self.relieve_memory)?;
        }
        let end = read?;
        tail.finish(report, self.relieve_memory)?;
        Ok(end)
    }

    /// Counts the keys of all databases by looking at all of them, and returns the newest LSN among them.
    fn recount(&self) -> Result<u64, InternalError> {
        tracing::warn!("the keys have to be counted anew: all of them are read");
        while self.lazy.load_next(self.keyspace)? {
            (self.relieve_memory)();
        }
        let mut newest_lsn = 0;
        for database in 0..self.keyspace.databases() {
            newest_lsn = newest_lsn.max(self.recount_database(database)?);
        }
        Ok(newest_lsn)
    }

    fn recount_database(&self, database: u32) -> Result<u64, InternalError> {
        let generation = self.keyspace.generation(database);
        let (mut keys, mut deadlines, mut newest_lsn) = (0, 0, 0);
        let mut count = |lsn: u64, deadline_ms: Option<u64>| {
            newest_lsn = newest_lsn.max(lsn);
            keys += 1;
            deadlines += u64::from(deadline_ms.is_some());
        };
        for number in 0..SHARDS {
            let mut shard = self.keyspace.lock(number);
            let Some(table) = shard.tables.get_mut(database as usize) else {
                continue;
            };
            (table.key_balance, table.deadline_balance) = (0, 0);
            let entries =
                (0..table.segments()).flat_map(|segment| table.segment_at(segment).iter());
            for entry in entries.filter(|entry| !entry.is_tombstone()) {
                count(entry.lsn(), entry.deadline_ms());
            }
        }
        self.cold
            .scan(generation, &mut |hash, key, lsn, deadline_ms| {
                if self
                    .keyspace
                    .lock(Keyspace::shard_of(hash))
                    .find(database, hash, key)
                    .is_none()
                {
                    count(lsn, deadline_ms);
                }
            })?;
        self.keyspace
            .restore_database(database, generation, keys, deadlines);
        Ok(newest_lsn)
    }
}

fn open_journaling(
    directory: &DataDirectory,
    end: LogEnd,
    options: &RecoveryOptions,
    snapshot: Option<&SnapshotManifest>,
) -> Result<Journaling, InternalError> {
    if !options.append_only {
        return Ok(Journaling::without_log(end.next_lsn, end.next_number));
    }
    let log_options = LogOptions {
        segment_bytes: options.segment_bytes,
        pool_segments: options.pool_segments,
        sync_policy: options.sync_policy,
        quota_bytes: options.log_quota_bytes,
        ..LogOptions::new(directory.log_path(), directory.hash_seed())
    };
    let log = Log::open(log_options, end)?;
    let path = snapshot.map(|snapshot| directory.snapshot_path().join(&snapshot.file_name));
    if let Some(metadata) = path.and_then(|path| std::fs::metadata(path).ok()) {
        log.note_snapshot_bytes(metadata.len());
    }
    Ok(Journaling::Log(Arc::new(log)))
}

/// Brings the directory up to date: the databases that there are now, no snapshots that are of no use, not closed in order.
fn tidy(
    directory: &DataDirectory,
    keyspace: &Keyspace,
    report: &RecoveryReport,
) -> Result<(), InternalError> {
    let used = report.snapshot.as_ref().map(|snapshot| snapshot.cut_lsn);
    let manifest = directory.manifest();
    let is_newer =
        |snapshot: &&SnapshotManifest| used.is_some_and(|cut_lsn| snapshot.cut_lsn > cut_lsn);
    for damaged in manifest.snapshots.iter().filter(is_newer) {
        set_aside(&directory.snapshot_path().join(&damaged.file_name));
    }
    directory.change_manifest(|manifest| {
        manifest
            .snapshots
            .retain(|snapshot| used.is_some_and(|cut_lsn| snapshot.cut_lsn <= cut_lsn));
        let known = manifest.databases.len() as u32;
        let added = known..keyspace.databases();
        manifest
            .databases
            .extend(added.map(|database| unused_database(keyspace.generation(database))));
        manifest.next_generation = manifest.next_generation.max(keyspace.next_generation());
        manifest.clean_shutdown = false;
    })?;
    remove_unnamed_snapshots(&directory.snapshot_path(), &directory.manifest())
}
