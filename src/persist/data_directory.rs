//! The data directory: who may use it, and what belongs to it.
//!
//! ```text
//! LOCK        held while a server runs; says which boot of the machine, and whether a log was kept
//! MANIFEST    hash seed, databases, snapshots: replaced as a whole
//! FUNCTIONS   libraries of functions: replaced as a whole
//! log/        segments of the log
//! snapshots/  snapshot files; only those that the manifest names count
//! cold/       RocksDB
//! ```

use crate::error::InternalError;
use parking_lot::Mutex;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use storage_format::FileError;
use storage_format::manifest::{DatabaseManifest, Manifest};

/// Where Linux tells one boot of the machine from another.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// What the server before this one left in the lock file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormerRun {
    /// The machine was started again since: what was not synced may be gone.
    pub before_reboot: bool,
    /// It kept no log (`appendonly no`).
    pub without_log: bool,
}

/// A locked data directory. Dropping it unlocks it.
pub struct DataDirectory {
    path: PathBuf,
    lock: Mutex<File>,
    former_run: FormerRun,
    manifest: Mutex<Manifest>,
}

impl DataDirectory {
    /// Opens a directory, creating it if it is not there, and locks it.
    ///
    /// # Errors
    /// It cannot be written; another server uses it; it is of a newer version; its manifest is missing or damaged.
    pub fn open(path: &Path) -> Result<DataDirectory, InternalError> {
        std::fs::create_dir_all(path).map_err(InternalError::io("create data directory", path))?;
        let mut lock = lock(&path.join("LOCK"))?;
        let manifest = match Manifest::read(&path.join("MANIFEST")) {
            Ok(manifest) => manifest,
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                create(path)?
            }
            Err(error) => return Err(file_error(error)),
        };
        for name in ["log", "snapshots", "cold"] {
            let part = path.join(name);
            std::fs::create_dir_all(&part).map_err(InternalError::io("create", part))?;
        }
        let former_run =
            read_former_run(&mut lock).map_err(InternalError::io("read", path.join("LOCK")))?;
        Ok(DataDirectory {
            path: path.to_path_buf(),
            lock: Mutex::new(lock),
            former_run,
            manifest: Mutex::new(manifest),
        })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log's segments are.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where the snapshots are.
    pub fn snapshot_path(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// Where RocksDB is.
    pub fn cold_path(&self) -> PathBuf {
        self.path.join("cold")
    }

    /// The seed of the placement hash.
    pub fn hash_seed(&self) -> u64 {
        self.manifest.lock().hash_seed
    }

    /// What the manifest says now.
    pub fn manifest(&self) -> Manifest {
        self.manifest.lock().clone()
    }

    /// What is known of the server before this one.
    pub fn former_run(&self) -> FormerRun {
        self.former_run
    }

    /// Changes the manifest, durably: on an error the former one stands.
    ///
    /// # Errors
    /// I/O.
    pub fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), InternalError> {
        let mut manifest = self.manifest.lock();
        let mut changed = manifest.clone();
        change(&mut changed);
        changed
            .write(&self.path.join("MANIFEST"))
            .map_err(file_error)?;
        *manifest = changed;
        Ok(())
    }

    /// Notes for the next start which boot this is, and whether a log is kept. Only once this start has succeeded: else a
    /// second try after a power failure would take a torn tail for damage.
    ///
    /// # Errors
    /// I/O.
    pub fn note_run(&self, without_log: bool) -> Result<(), InternalError> {
        let text = format!(
            "boot {}\nlog {}\n",
            boot_id(),
            if without_log { "no" } else { "yes" }
        );
        let mut lock = self.lock.lock();
        let mut write = || {
            lock.set_len(0)?;
            lock.rewind()?;
            lock.write_all(text.as_bytes())?;
            lock.sync_all()
        };
        write().map_err(InternalError::io("write", self.path.join("LOCK")))
    }
}

fn lock(path: &Path) -> Result<File, InternalError> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let file = opened.map_err(InternalError::io("write to data directory: open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(InternalError::Other(format!(
            "{}: the data directory is locked by another Larder that is running",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(InternalError::io("lock", path)(error)),
    }
}

/// Makes the manifest of a new directory.
fn create(path: &Path) -> Result<Manifest, InternalError> {
    for name in ["log", "snapshots", "cold"] {
        let is_used =
            std::fs::read_dir(path.join(name)).is_ok_and(|mut items| items.next().is_some());
        if is_used {
            return Err(InternalError::Other(format!(
                "{}: there is data in {name}/, but no MANIFEST that says what it is; nothing was changed",
                path.display()
            )));
        }
    }
    let manifest = Manifest {
        hash_seed: RandomState::new().build_hasher().finish(),
        next_lsn: 1,
        databases: Vec::new(),
        next_generation: 0,
        snapshots: Vec::new(),
        rocksdb_sequence: 0,
        clean_shutdown: true,
    };
    manifest.write(&path.join("MANIFEST")).map_err(file_error)?;
    Ok(manifest)
}

fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID_PATH)
        .map_or_else(|_| "unknown".to_owned(), |id| id.trim().to_owned())
}

fn read_former_run(lock: &mut File) -> std::io::Result<FormerRun> {
    let mut text = Vec::new();
    lock.rewind()?;
    lock.take(4096).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let current = boot_id();
    // What cannot be known counts as the same boot: then damage is not taken for a power failure.
    let before_reboot = value("boot")
        .is_some_and(|boot| boot != current && boot != "unknown" && current != "unknown");
    Ok(FormerRun {
        before_reboot,
        without_log: value("log") == Some("no"),
    })
}

/// The same error as one of ours.
pub fn file_error(error: FileError) -> InternalError {
    match error {
        FileError::Io { path, source } => InternalError::Io {
            operation: "read or write",
            path,
            source,
        },
        FileError::Format { path, source } => InternalError::Format { path, source },
    }
}

/// A database of the manifest that was never used.
pub fn unused_database(generation: u32) -> DatabaseManifest {
    DatabaseManifest {
        generation,
        key_count: 0,
        deadline_count: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_directory_gets_a_manifest_and_keeps_its_seed() {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = temporary.path().join("deep/data");
        let seed = DataDirectory::open(&path).expect("opens").hash_seed();
        let again = DataDirectory::open(&path).expect("opens again");
        assert_eq!(again.hash_seed(), seed);
        assert_eq!(again.former_run(), FormerRun::default());
    }

    #[test]
    fn a_second_server_is_told_that_the_directory_is_locked() {
        let temporary = tempfile::tempdir().expect("a directory");
        let first = DataDirectory::open(temporary.path()).expect("opens");
        let error = DataDirectory::open(temporary.path())
            .err()
            .expect("locked")
            .to_string();
        assert!(error.contains("locked by another Larder"), "{error}");
        drop(first);
        assert!(DataDirectory::open(temporary.path()).is_ok());
    }

    #[test]
    fn data_without_a_manifest_is_not_taken_for_an_empty_directory() {
        let temporary = tempfile::tempdir().expect("a directory");
        drop(DataDirectory::open(temporary.path()).expect("opens"));
        std::fs::write(
            temporary.path().join("snapshots/snapshot-1.larder"),
            b"data",
        )
        .expect("written");
        std::fs::remove_file(temporary.path().join("MANIFEST")).expect("removed");
        let error = DataDirectory::open(temporary.path())
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains("no MANIFEST"), "{error}");
    }

    #[test]
    fn a_damaged_manifest_is_refused_by_name() {
        let temporary = tempfile::tempdir().expect("a directory");
        drop(DataDirectory::open(temporary.path()).expect("opens"));
        std::fs::write(temporary.path().join("MANIFEST"), b"nonsense").expect("written");
        let error = DataDirectory::open(temporary.path())
            .err()
            .expect("refused")
            .to_string();
        assert!(error.contains("MANIFEST"), "{error}");
    }

    #[test]
    fn the_next_run_learns_of_a_reboot_and_of_a_missing_log() {
        let temporary = tempfile::tempdir().expect("a directory");
        let directory = DataDirectory::open(temporary.path()).expect("opens");
        directory.note_run(true).expect("written");
        drop(directory);
        let directory = DataDirectory::open(temporary.path()).expect("opens");
        assert_eq!(
            directory.former_run(),
            FormerRun {
                before_reboot: false,
                without_log: true
            }
        );
        drop(directory);
        std::fs::write(temporary.path().join("LOCK"), b"boot another\nlog yes\n").expect("written");
        // A start that does not get as far as noting its run leaves what it found to the next one.
        drop(DataDirectory::open(temporary.path()).expect("opens"));
        let directory = DataDirectory::open(temporary.path()).expect("opens");
        assert_eq!(
            directory.former_run(),
            FormerRun {
                before_reboot: true,
                without_log: false
            }
        );
    }
}
