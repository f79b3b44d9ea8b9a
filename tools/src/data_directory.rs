//! Where things are in a data directory, and what its last user noted there.
//!
//! The server's side of it is `src/persist/data_directory.rs` and `src/persist/log/segment.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use storage_format::FileError;
use storage_format::log::SEGMENT_HEADER_LENGTH;

/// Where Linux tells one boot of the machine from another.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// What the server that used the directory last noted in `LOCK`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormerRun {
    /// The machine was started again since: what was not synced may be gone.
    pub before_reboot: bool,
    /// It kept no log (`appendonly no`).
    pub without_log: bool,
}

/// Reads `LOCK`. What cannot be known counts as the same boot and a kept log, as it does for the server.
///
/// # Errors
/// [`FileError::Io`].
pub fn former_run(directory: &Path) -> Result<FormerRun, FileError> {
    let path = directory.join("LOCK");
    let note = match fs::read(&path) {
        Ok(note) => String::from_utf8_lossy(&note).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(FileError::io(&path)(error)),
    };
    let boot = fs::read_to_string(BOOT_ID_PATH).unwrap_or_default();
    Ok(read_note(&note, boot.trim()))
}

fn read_note(note: &str, current_boot: &str) -> FormerRun {
    let value = |name: &str| {
        note.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let is_known = |boot: &str| !boot.is_empty() && boot != "unknown";
    let before_reboot = value("boot")
        .is_some_and(|boot| boot != current_boot && is_known(boot) && is_known(current_boot));
    FormerRun {
        before_reboot,
        without_log: value("log") == Some("no"),
    }
}

/// Whether there is anything in one of the directory's parts.
pub fn holds_data(directory: &Path) -> bool {
    ["log", "snapshots", "cold"].iter().any(|part| {
        fs::read_dir(directory.join(part)).is_ok_and(|mut items| items.next().is_some())
    })
}

/// The files in a part of a data directory, by name; none if the part does not exist.
///
/// # Errors
/// [`FileError::Io`].
pub fn files_in(part: &Path) -> Result<Vec<PathBuf>, FileError> {
    let items = match fs::read_dir(part) {
        Ok(items) => items,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::io(part)(error)),
    };
    let mut files = Vec::new();
    for item in items {
        files.push(item.map_err(FileError::io(part))?.path());
    }
    files.sort();
    Ok(files)
}

/// The path of a log segment.
pub fn segment_path(log: &Path, number: u64) -> PathBuf {
    log.join(format!("{number:010}.log"))
}

/// The number in the name of a log segment; `None` if it is no such name.
pub fn segment_number(path: &Path) -> Option<u64> {
    has_extension(path, "log").then_some(())?;
    path.file_stem()?.to_str()?.parse().ok()
}

/// Why a file of the log directory is none that counts, as its name tells.
pub fn reserve_by_name(path: &Path) -> Option<&'static str> {
    if has_extension(path, "pool") {
        Some("kept for reuse, nothing in it counts")
    } else if has_extension(path, "new") {
        Some("it was being prepared for use")
    } else {
        None
    }
}

/// Whether a file of the log was never written to: a spare.
pub fn is_spare(path: &Path, bytes: &[u8]) -> bool {
    let mut header = bytes.iter().take(SEGMENT_HEADER_LENGTH);
    (has_extension(path, "log") || has_extension(path, "pool")) && header.all(|&byte| byte == 0)
}

fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|found| found == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_of_the_former_run_is_read_as_the_server_reads_it() {
        for (note, current_boot, before_reboot, without_log) in [
            ("boot a\nlog yes\n", "a", false, false),
            ("boot a\nlog yes\n", "b", true, false),
            ("boot a\nlog no\n", "a", false, true),
            ("boot unknown\nlog yes\n", "b", false, false),
            ("boot a\nlog yes\n", "", false, false),
            ("", "b", false, false),
        ] {
            let expected = FormerRun {
                before_reboot,
                without_log,
            };
            assert_eq!(
                read_note(note, current_boot),
                expected,
                "{note:?} {current_boot:?}"
            );
        }
    }
}
