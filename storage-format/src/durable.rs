//! Files that are either there completely or not at all, also after a power failure: written beside, synced, renamed, and the
//! directory synced too, because a rename is an entry of the directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` by `bytes`. When this returns, the new contents are on the disk; until then the old ones are.
///
/// # Errors
/// Any I/O error; the old file is then untouched, and a left-over [`temporary_path`] is overwritten by the next attempt.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_path(path);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    publish(&temporary, path)
}

/// Gives a file that was written and synced under its temporary name the name `path`, durably.
///
/// # Errors
/// Any I/O error of the rename or of syncing the directory.
pub fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    sync_directory(
        path.parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )
}

/// The name under which a file is written before it gets its own: the same with `.new` behind it.
#[must_use]
pub fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Makes the creation, renaming and removal of files in `directory` durable.
///
/// # Errors
/// Any I/O error.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
