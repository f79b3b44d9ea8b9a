//! Memory maps of files that are only read: the one place of this crate with `unsafe`.

use std::fs::File;
use std::path::Path;

pub use memmap2::Mmap;

use crate::error::FileError;

/// Maps a file for reading.
///
/// # Errors
/// [`FileError::Io`] if it cannot be opened or mapped.
pub fn map_file(path: &Path) -> Result<Mmap, FileError> {
    let file = File::open(path).map_err(FileError::io(path))?;
    // SAFETY: a map must not change while its bytes are borrowed. A published snapshot is never written again, only removed, and a
    // removed file's pages stay while they are mapped. A log segment of a running server may be written or recycled meanwhile: it
    // is only ever read as plain bytes by bounds-checked code, so the worst is a report of damage. No file is ever shortened.
    unsafe { Mmap::map(&file) }.map_err(FileError::io(path))
}
