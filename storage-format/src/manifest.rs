//! The manifest: the one small file that says what belongs to a data directory (FORMAT.md section 8). It is replaced as a whole,
//! atomically; whatever it does not name is left over and may be removed.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable::replace_file;
use crate::envelope::Envelope;
use crate::error::{FileError, FormatError};

/// The version of the manifest that this build writes, and the newest that it reads.
pub const MANIFEST_VERSION: u32 = 1;

pub(crate) const ENVELOPE: Envelope = Envelope {
    what: "manifest",
    magic: *b"LARDRMAN",
    version: MANIFEST_VERSION,
};

/// What belongs to a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Seed of the placement hash. Never changes; also identifies the data directory.
    pub hash_seed: u64,
    /// The LSN that the next record gets at least: no record before it is newer than this manifest's snapshots.
    pub next_lsn: u64,
    /// The logical databases, by index.
    pub databases: Vec<DatabaseManifest>,
    /// The generation that the next flushed database gets.
    pub next_generation: u32,
    /// Complete snapshots, the oldest first.
    pub snapshots: Vec<SnapshotManifest>,
    /// RocksDB's sequence number when this was written: if it still stands, no cold record is newer than the newest snapshot.
    pub rocksdb_sequence: u64,
    /// Whether the server ended in order: the newest snapshot is all there is.
    pub clean_shutdown: bool,
}

/// A logical database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseManifest {
    /// Its generation.
    pub generation: u32,
    /// How many keys it held, hot and cold.
    pub key_count: u64,
    /// How many of them had a deadline.
    pub deadline_count: u64,
}

/// A complete snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotManifest {
    /// Name of its file in the snapshot directory, without a path.
    pub file_name: String,
    /// The cut: the snapshot is the state at this LSN exactly.
    pub cut_lsn: u64,
    /// Number of the first log segment to replay on it.
    pub log_segment_number: u64,
    /// How many entries it holds.
    pub entry_count: u64,
}

impl Manifest {
    /// The manifest's bytes.
    ///
    /// # Errors
    /// If it is larger than a reader would accept (64 MiB).
    pub fn encode(&self) -> std::io::Result<Vec<u8>> {
        ENVELOPE.seal(self)
    }

    /// Reads a manifest's bytes.
    ///
    /// # Errors
    /// [`FormatError::NewerVersion`] if a newer Larder wrote it, [`FormatError::NotThisFormat`] or [`FormatError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (manifest, length) = ENVELOPE.open(bytes)?;
        if length == bytes.len() {
            Ok(manifest)
        } else {
            Err(FormatError::damaged("manifest end", length))
        }
    }

    /// Reads the manifest at `path`.
    ///
    /// # Errors
    /// [`FileError::Io`] (see [`FileError::is_not_found`] for a new data directory), or [`FileError::Format`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = fs::read(path).map_err(FileError::io(path))?;
        Self::decode(&bytes).map_err(FileError::format(path))
    }

    /// Replaces the manifest at `path`, atomically and durably.
    ///
    /// # Errors
    /// [`FileError::Io`]; the old manifest then still stands.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        self.encode()
            .and_then(|bytes| replace_file(path, &bytes))
            .map_err(FileError::io(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            hash_seed: u64::MAX - 5,
            next_lsn: 1 << 40,
            databases: vec![
                DatabaseManifest {
                    generation: 3,
                    key_count: 1000,
                    deadline_count: 10,
                },
                DatabaseManifest {
                    generation: 1,
                    key_count: 0,
                    deadline_count: 0,
                },
            ],
            next_generation: 4,
            snapshots: vec![SnapshotManifest {
                file_name: "snapshot-12.larder".to_owned(),
                cut_lsn: 77,
                log_segment_number: 12,
                entry_count: 999,
            }],
            rocksdb_sequence: 123_456,
            clean_shutdown: true,
        }
    }

    #[test]
    fn any_cut_or_changed_byte_is_noticed() {
        let good = manifest().encode().expect("small");
        assert_eq!(Manifest::decode(&good), Ok(manifest()));
        for offset in 0..good.len() {
            assert!(
                Manifest::decode(&good[..offset]).is_err(),
                "cut at {offset}"
            );
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[offset] ^= 1 << bit;
                assert!(
                    Manifest::decode(&bad).is_err(),
                    "bit {bit} of byte {offset}"
                );
            }
        }
        let longer = [&good[..], &[0]].concat();
        assert!(Manifest::decode(&longer).is_err());
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let newer = Envelope {
            version: MANIFEST_VERSION + 1,
            ..ENVELOPE
        };
        let bytes = newer.seal(&("something", 5u8)).expect("small");
        let expected = FormatError::NewerVersion {
            what: "manifest",
            found: 2,
            supported: 1,
        };
        assert_eq!(Manifest::decode(&bytes), Err(expected));
        assert_eq!(
            Manifest::decode(b"some other file"),
            Err(FormatError::NotThisFormat { what: "manifest" })
        );
    }

    #[test]
    fn writing_replaces_the_file_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("MANIFEST");
        let missing = Manifest::read(&path).expect_err("nothing there yet");
        assert!(missing.is_not_found());
        for next_lsn in [1, 2] {
            let manifest = Manifest {
                next_lsn,
                ..manifest()
            };
            manifest.write(&path).expect("written");
            assert_eq!(Manifest::read(&path).expect("readable"), manifest);
        }
        assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 1);
        fs::write(&path, b"LARDRMAN").expect("written");
        let error = Manifest::read(&path).expect_err("damaged");
        assert!(matches!(error, FileError::Format { .. }), "{error}");
        assert!(error.to_string().contains("MANIFEST"), "{error}");
    }
}
