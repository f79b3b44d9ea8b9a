//! Taking snapshots without fork: cut, walk, publish (see [`crate::keyspace::walk`] for the walk).
//!
//! The cut holds all shard locks for microseconds: it fixes the LSN E, starts a new log segment, and marks the shards. Then the
//! walk writes what the keyspace held at E while commands go on. The snapshot counts once its file is synced, the cold tier
//! has applied the deletions that were pending at E and flushed its memtables, and the manifest names it. Only then are
//! older segments and snapshots removed. If anything fails, nothing that stood before is touched.
//!
//! Cost: one pass over the hot data, and the chunks that commands change meanwhile, twice.

use super::cold_store::ColdStore;
use super::data_directory::{DataDirectory, file_error};
use super::journaling::Journaling;
use super::lazy_snapshot::LazySnapshot;
use super::log::Rotation;
use crate::clock;
use crate::error::InternalError;
use crate::keyspace::walk::{self, Batch, Walk};
use crate::keyspace::{Keyspace, SHARDS};
use parking_lot::Mutex;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use storage_format::durable::{publish, temporary_path};
use storage_format::manifest::{DatabaseManifest, Manifest, SnapshotManifest};
use storage_format::snapshot::{
    SnapshotEntry, SnapshotForm, SnapshotHeader, SnapshotSummary, SnapshotWriter,
};

/// How often a cut is tried before a missing spare segment counts as an error.
const CUT_ATTEMPTS: usize = 100;

/// A snapshot that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The cut.
    pub cut_lsn: u64,
    /// Entries in the file.
    pub entries: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// How long it took.
    pub duration_ms: u64,
}

/// What INFO tells of snapshots.
#[derive(Clone, Debug, Default)]
pub struct SnapshotStatus {
    /// One is being taken.
    pub is_running: bool,
    /// How far it is, in 256ths of the keyspace.
    pub progress: usize,
    /// Entries written so far.
    pub entries_written: u64,
    /// The last one that was completed by this process.
    pub last: Option<SnapshotReport>,
    /// When that was, in Unix milliseconds; 0 = never.
    pub last_completed_ms: u64,
    /// Why the last attempt failed; `None` if it did not.
    pub last_error: Option<String>,
    /// How long the last attempt took.
    pub last_duration_ms: u64,
    /// Snapshots taken, and attempts that failed.
    pub taken: u64,
    /// Attempts that failed.
    pub failed: u64,
}

impl SnapshotStatus {
    /// As `rdb_last_bgsave_time_sec`: -1 if there was none.
    pub fn last_duration_seconds(&self) -> i64 {
        if self.taken + self.failed == 0 {
            -1
        } else {
            (self.last_duration_ms / 1000) as i64
        }
    }
}

/// Everything that a snapshot is made of.
pub struct SnapshotSources {
    /// The hot keys.
    pub keyspace: Arc<Keyspace>,
    /// The cold ones.
    pub cold: Arc<dyn ColdStore>,
    /// The log.
    pub journaling: Journaling,
    /// What of the former snapshot is not loaded yet.
    pub lazy: Arc<LazySnapshot>,
    /// Where it goes.
    pub directory: Arc<DataDirectory>,
}

/// Takes snapshots, one at a time.
pub struct Snapshotter {
    sources: SnapshotSources,
    keep: AtomicUsize,
    is_running: AtomicBool,
    shards_walked: AtomicUsize,
    entries_written: AtomicU64,
    status: Mutex<SnapshotStatus>,
}

/// What was fixed under all locks.
struct Cut {
    rotation: Rotation,
    databases: Vec<DatabaseManifest>,
    next_generation: u32,
    created_ms: u64,
}

/// Ends the walk however the snapshot ends.
struct CutGuard<'a>(&'a Keyspace);

impl Drop for CutGuard<'_> {
    fn drop(&mut self) {
        walk::end(self.0);
    }
}

impl Snapshotter {
    /// One that keeps the newest `keep` snapshots.
    pub fn new(sources: SnapshotSources, keep: usize) -> Snapshotter {
        Snapshotter {
            sources,
            keep: AtomicUsize::new(keep.max(1)),
            is_running: AtomicBool::new(false),
            shards_walked: AtomicUsize::new(0),
            entries_written: AtomicU64::new(0),
            status: Mutex::default(),
        }
    }

    /// Sets `snapshot-keep`.
    pub fn set_keep(&self, keep: usize) {
        self.keep.store(keep.max(1), Ordering::Relaxed);
    }

    /// How things stand.
    pub fn status(&self) -> SnapshotStatus {
        SnapshotStatus {
            is_running: self.is_running.load(Ordering::Acquire),
            progress: self.shards_walked.load(Ordering::Relaxed),
            entries_written: self.entries_written.load(Ordering::Relaxed),
            ..self.status.lock().clone()
        }
    }

    /// Takes a snapshot. Blocks until it is complete; not under shard locks.
    ///
    /// # Errors
    /// One is being taken already; I/O; damage in what is not loaded yet. The former snapshots and the log then still stand.
    pub fn take(&self) -> Result<SnapshotReport, InternalError> {
        if self.is_running.swap(true, Ordering::AcqRel) {
            return Err(InternalError::Other(
                "a snapshot is being taken already".to_owned(),
            ));
        }
        let started = Instant::now();
        let result = self.run();
        let mut status = self.status.lock();
        status.last_duration_ms = started.elapsed().as_millis() as u64;
        match &result {
            Ok(report) => {
                status.last = Some(SnapshotReport {
                    duration_ms: status.last_duration_ms,
                    ..report.clone()
                });
                status.last_completed_ms = clock::now_ms();
                status.last_error = None;
                status.taken += 1;
            }
            Err(error) => {
                status.last_error = Some(error.to_string());
                status.failed += 1;
            }
        }
        drop(status);
        self.is_running.store(false, Ordering::Release);
        result
    }

    /// When a log is given up or taken up, puts what is there into a snapshot, on which either can build. Then this start has
    /// succeeded, and the directory says so. To be called once,
    /// after recovery, when the tiers run and before anything is served.
    ///
    /// # Errors
    /// As [`Snapshotter::take`].
    pub fn settle_journaling(&self) -> Result<(), InternalError> {
        let SnapshotSources {
            directory,
            journaling,
            ..
        } = &self.sources;
        let has_log = journaling.log().is_some();
        if directory.former_run().without_log == has_log {
            self.take()?;
        }
        directory.note_run(!has_log)
    }

    /// Marks the directory as closed in order: after the last snapshot and the log's end, with nothing changed since.
    ///
    /// # Errors
    /// I/O.
    pub fn note_clean_shutdown(&self) -> Result<(), InternalError> {
        let SnapshotSources {
            directory,
            journaling,
            cold,
            ..
        } = &self.sources;
        let (next_lsn, sequence) = (journaling.last_lsn() + 1, cold.latest_sequence());
        directory.change_manifest(|manifest| {
            let covers_all = manifest
                .snapshots
                .last()
                .is_some_and(|newest| newest.cut_lsn + 1 == next_lsn);
            manifest.clean_shutdown = covers_all;
            if covers_all {
                manifest.rocksdb_sequence = sequence;
            }
        })
    }

    /// Without a log, writes down which generation each database has: after FLUSHDB and SWAPDB. With a log there is nothing
    /// to do.
    ///
    /// # Errors
    /// I/O.
    pub fn note_generations(&self) -> Result<(), InternalError> {
        let SnapshotSources {
            keyspace,
            directory,
            journaling,
            ..
        } = &self.sources;
        if journaling.log().is_some() {
            return Ok(());
        }
        let shards = keyspace.lock_all();
        let databases = count_databases(keyspace, &shards);
        drop(shards);
        directory.change_manifest(|manifest| {
            manifest.databases = databases;
            manifest.next_generation = keyspace.next_generation();
        })
    }

    fn run(&self) -> Result<SnapshotReport, InternalError> {
        let SnapshotSources {
            keyspace,
            cold,
            journaling,
            lazy,
            directory,
        } = &self.sources;
        self.shards_walked.store(0, Ordering::Relaxed);
        self.entries_written.store(0, Ordering::Relaxed);
        // What the former snapshot still holds becomes part of this one.
        lazy.load_all(keyspace)?;
        let (cut, guard) = self.cut()?;
        let cut_lsn = cut.rotation.last_lsn;
        let path = free_path(&directory.snapshot_path(), cut_lsn);
        let summary = self
            .write_file(&path, &cut)
            .inspect_err(|_| drop(std::fs::remove_file(temporary_path(&path))))?;
        drop(guard);
        journaling.ensure_durable(cut_lsn)?;
        let sequence = cold.flush_for_snapshot(cut_lsn)?;
        self.publish(&path, &cut, &summary, sequence)
            .inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        if let Some(log) = journaling.log() {
            log.note_snapshot_bytes(summary.file_bytes);
        }
        self.remove_old()?;
        let report = SnapshotReport {
            cut_lsn,
            entries: summary.entry_count,
            file_bytes: summary.file_bytes,
            duration_ms: 0,
        };
        Ok(report)
    }

    fn cut(&self) -> Result<(Cut, CutGuard<'_>), InternalError> {
        let SnapshotSources {
            keyspace,
            journaling,
            ..
        } = &self.sources;
        for _ in 0..CUT_ATTEMPTS {
            journaling.prepare_rotation()?;
            let mut shards = keyspace.lock_all();
            let Some(rotation) = journaling.rotate() else {
                continue;
            };
            let databases = count_databases(keyspace, &shards);
            let generations: Vec<u32> = databases
                .iter()
                .map(|database| database.generation)
                .collect();
            walk::begin(&mut shards, rotation.last_lsn, &generations);
            let next_generation = keyspace.next_generation();
            let cut = Cut {
                rotation,
                databases,
                next_generation,
                created_ms: clock::now_ms(),
            };
            return Ok((cut, CutGuard(keyspace)));
        }
        Err(InternalError::Other(
            "the log had no segment ready for a snapshot's cut".to_owned(),
        ))
    }

    fn write_file(&self, path: &Path, cut: &Cut) -> Result<SnapshotSummary, InternalError> {
        let temporary = temporary_path(path);
        let io_error = |operation| InternalError::io(operation, &temporary);
        let header = SnapshotHeader {
            form: SnapshotForm::Snapshot,
            hash_seed: self.sources.directory.hash_seed(),
            cut_lsn: cut.rotation.last_lsn,
            log_segment_number: cut.rotation.segment_number,
            created_ms: cut.created_ms,
            generations: cut
                .databases
                .iter()
                .map(|database| database.generation)
                .collect(),
        };
        let file = File::create(&temporary).map_err(io_error("create"))?;
        let mut writer = SnapshotWriter::new(file, &header).map_err(io_error("write"))?;
        let mut generations = header.generations;
        generations.sort_unstable();
        for (index, generation) in generations.iter().enumerate() {
            let share = |done: usize| (index * SHARDS + done) / generations.len().max(1);
            self.walk_generation(*generation, &mut writer, share)
                .map_err(io_error("write"))?;
        }
        let (file, summary) = writer.finish().map_err(io_error("write"))?;
        file.sync_all().map_err(io_error("sync"))?;
        publish(&temporary, path).map_err(io_error("rename"))?;
        Ok(summary)
    }

    fn walk_generation(
        &self,
        generation: u32,
        writer: &mut SnapshotWriter<File>,
        share: impl Fn(usize) -> usize,
    ) -> std::io::Result<()> {
        let mut walk = Walk::new(&self.sources.keyspace, generation);
        let mut batch = Batch::default();
        while walk.next_batch(&mut batch) {
            batch.for_each(|entry| {
                writer.push(&SnapshotEntry {
                    generation,
                    hash: entry.hash,
                    lsn: entry.lsn,
                    deadline_ms: entry.deadline_ms.unwrap_or(0),
                    kind: entry.kind,
                    key: entry.key,
                    value: entry.encoded,
                })
            })?;
            self.entries_written
                .fetch_add(batch.len() as u64, Ordering::Relaxed);
            self.shards_walked
                .store(share(walk.shards_done()), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Names the snapshot in the manifest: from here on it counts.
    fn publish(
        &self,
        path: &Path,
        cut: &Cut,
        summary: &SnapshotSummary,
        sequence: u64,
    ) -> Result<(), InternalError> {
        let SnapshotSources {
            directory,
            journaling,
            ..
        } = &self.sources;
        let snapshot = SnapshotManifest {
            file_name: path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            cut_lsn: cut.rotation.last_lsn,
            log_segment_number: cut.rotation.segment_number,
            entry_count: summary.entry_count,
        };
        directory.change_manifest(|manifest| {
            manifest.next_lsn = cut.rotation.last_lsn + 1;
            manifest.databases = cut.databases.clone();
            manifest.next_generation = cut.next_generation;
            manifest.rocksdb_sequence = sequence;
            manifest.clean_shutdown = false;
            manifest.snapshots.push(snapshot);
        })?;
        // The segments of an earlier log are behind the cut; from now on no start must expect one.
        if journaling.log().is_none() {
            directory.note_run(true)
        } else {
            Ok(())
        }
    }

    /// Removes what no kept snapshot needs.
    fn remove_old(&self) -> Result<(), InternalError> {
        let SnapshotSources {
            directory,
            journaling,
            ..
        } = &self.sources;
        // Without a log, what an older snapshot lacks cannot be replayed: it is worth nothing beside a newer one, except as a
        // copy to fall back to.
        let keep = self.keep.load(Ordering::Relaxed);
        let surplus = directory.manifest().snapshots.len().saturating_sub(keep);
        if surplus > 0 {
            directory.change_manifest(|manifest| drop(manifest.snapshots.drain(..surplus)))?;
        }
        let manifest = directory.manifest();
        remove_unnamed_snapshots(&directory.snapshot_path(), &manifest)?;
        let first_needed = manifest
            .snapshots
            .iter()
            .map(|snapshot| snapshot.log_segment_number)
            .min()
            .unwrap_or(0);
        match journaling.log() {
            Some(log) => drop(log.remove_before(first_needed)),
            None => super::log::remove_files_before(&directory.log_path(), first_needed)?,
        }
        Ok(())
    }
}

fn count_databases(
    keyspace: &Keyspace,
    shards: &[crate::keyspace::ShardGuard<'_>],
) -> Vec<DatabaseManifest> {
    (0..keyspace.databases())
        .map(|database| {
            let (key_count, deadline_count) = keyspace.key_counts_locked(shards, database);
            DatabaseManifest {
                generation: keyspace.generation(database),
                key_count,
                deadline_count,
            }
        })
        .collect()
}

/// A name for the snapshot of this cut that no file has.
fn free_path(directory: &Path, cut_lsn: u64) -> PathBuf {
    let plain = directory.join(format!("snapshot-{cut_lsn}.larder"));
    let numbered =
        (2..).map(|number: u64| directory.join(format!("snapshot-{cut_lsn}-{number}.larder")));
    std::iter::once(plain.clone())
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or(plain)
}

/// Removes the snapshot files that the manifest does not name: replaced ones, and what an interrupted snapshot left. Damaged
/// ones that were set aside stay for inspection.
///
/// # Errors
/// I/O.
pub(super) fn remove_unnamed_snapshots(
    directory: &Path,
    manifest: &Manifest,
) -> Result<(), InternalError> {
    for item in std::fs::read_dir(directory).map_err(InternalError::io("list", directory))? {
        let path = item.map_err(InternalError::io("list", directory))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let is_ours = name.starts_with("snapshot-")
            && (name.ends_with(".larder") || name.ends_with(".larder.new"));
        let is_named = manifest
            .snapshots
            .iter()
            .any(|snapshot| snapshot.file_name == name);
        if is_ours && !is_named {
            std::fs::remove_file(&path).map_err(InternalError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Opens a snapshot and checks that it is the one that the manifest means. `verify_bytes_max`: a file up to this size is read
/// as a whole and checked.
///
/// # Errors
/// Damage, or I/O.
pub(super) fn open_snapshot(
    path: &Path,
    named: &SnapshotManifest,
    hash_seed: u64,
    verify_bytes_max: u64,
) -> Result<storage_format::snapshot::SnapshotReader, InternalError> {
    let reader = storage_format::snapshot::SnapshotReader::open(path).map_err(file_error)?;
    let header = reader.header();
    if header.hash_seed != hash_seed || header.cut_lsn != named.cut_lsn {
        return Err(InternalError::Other(format!(
            "{}: this is another snapshot than the manifest names",
            path.display()
        )));
    }
    if reader.file_bytes() <= verify_bytes_max {
        let format = |source| InternalError::Format {
            path: path.to_path_buf(),
            source,
        };
        reader.verify_all(|_| ()).map_err(format)?;
    }
    Ok(reader)
}
