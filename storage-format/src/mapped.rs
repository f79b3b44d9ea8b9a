//! Memory maps of files that are only read: the one place of this crate with `unsafe`.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::error::FileError;

/// Maps a file for reading.
///
/// # Errors
/// [`FileError::Io`] if it cannot be opened or mapped.
pub fn map_file(path: &Path) -> Result<Mmap, FileError> {
    let file = File::open(path).map_err(FileError::io(path))?;
    // SAFETY: a map is only unsound if its bytes change while they are borrowed. A published snapshot is never written again, only
    // removed, and a removed file's pages stay while they are mapped. A log segment is written through the server's own map and only
    // behind the records that a reader has verified; all reads of it are bounds-checked, whatever they find. No file is shortened.
    unsafe { Mmap::map(&file) }.map_err(FileError::io(path))
}
