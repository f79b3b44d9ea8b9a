//! What can be wrong with stored bytes, as two types: [`FormatError`] for bytes at hand, [`FileError`] for a file.
//!
//! Both are internal errors: they name the thing and the offset for the operator and are never a client's reply.

use std::io;
use std::path::{Path, PathBuf};

/// Bytes that do not follow the format. Offsets count from the first byte of what the failing function was given; for whole
/// files (log segments, snapshots, manifests) that is the offset in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are truncated, altered, or were never valid.
    #[error("{what} is damaged at offset {offset}")]
    Damaged {
        /// The part of the format that was being read.
        what: &'static str,
        /// Where it stands, in bytes.
        offset: u64,
    },
    /// The bytes do not start with the magic number of the format: another kind of file.
    #[error("this is not a {what}")]
    NotThisFormat {
        /// The format that was expected.
        what: &'static str,
    },
    /// Written by a newer Larder: nothing is damaged, but this version cannot read it.
    #[error("{what} has format version {found}; this version of Larder reads up to {supported}")]
    NewerVersion {
        /// The format.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The newest version that this build understands.
        supported: u32,
    },
    /// Something to be written is larger than the format can hold.
    #[error("{what} of {size} bytes is larger than the format holds ({limit})")]
    TooLarge {
        /// What was to be written.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The most that the format holds, in bytes.
        limit: u64,
    },
}

impl FormatError {
    /// Damage to `what`, found at `offset` bytes.
    #[must_use]
    pub fn damaged(what: &'static str, offset: usize) -> Self {
        Self::Damaged {
            what,
            offset: offset as u64,
        }
    }

    /// The same error for a caller that had cut its input out of something larger, `base` bytes behind its start.
    #[must_use]
    pub fn shifted_by(self, base: u64) -> Self {
        match self {
            Self::Damaged { what, offset } => Self::Damaged {
                what,
                offset: offset + base,
            },
            other => other,
        }
    }
}

/// A file that could not be read or written, with its path.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read, and is not what it should be.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FormatError,
    },
}

impl FileError {
    /// Whether the file does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// An adapter for `map_err`: an I/O error of this file.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    /// An adapter for `map_err`: this file's contents are wrong.
    pub fn format(path: &Path) -> impl FnOnce(FormatError) -> Self + '_ {
        move |source| Self::Format {
            path: path.to_path_buf(),
            source,
        }
    }
}
