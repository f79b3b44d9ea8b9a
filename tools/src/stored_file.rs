//! Opens a file as what its first bytes say that it is.

use std::path::Path;

use storage_format::log::{SEGMENT_MAGIC, SegmentHeader};
use storage_format::mapped::{Mmap, map_file};
use storage_format::snapshot::SNAPSHOT_MAGIC;
use storage_format::{FileError, FormatError, Manifest, SnapshotReader};

use crate::data_directory;

/// A file of a kind that the tools know, its header verified.
#[derive(Debug)]
pub enum StoredFile {
    /// A snapshot or backup.
    Snapshot(SnapshotReader),
    /// A log segment.
    Log(Mmap),
    /// A manifest.
    Manifest(Manifest),
    /// A file of the log that was never written to.
    Spare,
}

impl StoredFile {
    /// Opens the file.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, is of no known kind, is of a newer version, or if its header is damaged.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let map = map_file(path)?;
        let opened = if map.starts_with(&SNAPSHOT_MAGIC) {
            SnapshotReader::from_bytes(map).map(Self::Snapshot)
        } else if map.starts_with(&SEGMENT_MAGIC) {
            SegmentHeader::decode(&map).map(|_| Self::Log(map))
        } else if data_directory::is_spare(path, &map) {
            Ok(Self::Spare)
        } else {
            Manifest::decode(&map)
                .map(Self::Manifest)
                .map_err(|error| match error {
                    FormatError::NotThisFormat { .. } => FormatError::NotThisFormat {
                        what: "snapshot, backup, log segment or manifest of Larder",
                    },
                    other => other,
                })
        };
        opened.map_err(FileError::format(path))
    }
}
