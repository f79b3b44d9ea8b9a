//! Why a command could not be carried out, and the exit code of each reason.

use std::io;

use storage_format::FileError;

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The file cannot be read, or is damaged so that nothing of it can be shown.
    #[error(transparent)]
    File(#[from] FileError),
    /// Standard output does not take what is written to it.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl ToolError {
    /// 1 for damage, else 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File(error) if is_damage(error) => 1,
            Self::File(_) | Self::Output(_) | Self::Usage(_) => 2,
        }
    }

    /// Whether the reader of our output has gone away, as `head` does: no error.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Whether the file is one of ours, and damaged: not another kind of file, nor a newer version, nor unreadable.
pub fn is_damage(error: &FileError) -> bool {
    matches!(
        error,
        FileError::Format {
            source: storage_format::FormatError::Damaged { .. },
            ..
        }
    )
}
