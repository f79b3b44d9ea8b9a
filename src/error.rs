//! The two kinds of error: what the client did wrong, and what went wrong here.
//!
//! [`CommandError`] is a reply: its text is the exact text that Redis sends, code word first. [`InternalError`]
//! is I/O or damage: it is logged once, where it is handled, and the client only learns that its command failed.

use std::borrow::Cow;
use std::path::PathBuf;

/// An error reply, without the leading `-` and the line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError(Cow<'static, str>);

/// What a command function returns.
pub type CommandResult = Result<(), CommandError>;

impl CommandError {
    /// Operation against a key that holds another type.
    pub const WRONG_TYPE: CommandError =
        CommandError::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// Options that the command does not have, or that exclude each other.
    pub const SYNTAX: CommandError = CommandError::fixed("ERR syntax error");
    /// Not an integer in 64 bits.
    pub const NOT_INTEGER: CommandError =
        CommandError::fixed("ERR value is not an integer or out of range");
    /// Not a floating-point number.
    pub const NOT_FLOAT: CommandError = CommandError::fixed("ERR value is not a valid float");
    /// The key has to exist.
    pub const NO_SUCH_KEY: CommandError = CommandError::fixed("ERR no such key");
    /// A list index past its ends.
    pub const INDEX_OUT_OF_RANGE: CommandError = CommandError::fixed("ERR index out of range");
    /// A count below zero, or the like.
    pub const OUT_OF_RANGE: CommandError = CommandError::fixed("ERR value is out of range");
    /// A count has to be positive.
    pub const OUT_OF_RANGE_POSITIVE: CommandError =
        CommandError::fixed("ERR value is out of range, must be positive");
    /// SCAN and its family got something that is not a cursor.
    pub const INVALID_CURSOR: CommandError = CommandError::fixed("ERR invalid cursor");
    /// A database number past `databases`.
    pub const DATABASE_OUT_OF_RANGE: CommandError =
        CommandError::fixed("ERR DB index is out of range");
    /// A text would grow past `proto-max-bulk-len`.
    pub const TEXT_TOO_LONG: CommandError =
        CommandError::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// `maxmemory` is reached and nothing may be evicted.
    pub const OUT_OF_MEMORY: CommandError =
        CommandError::fixed("OOM command not allowed when used memory > 'maxmemory'.");
    /// `min-replicas-to-write` asks for replicas, of which there are none.
    pub const NO_REPLICAS: CommandError =
        CommandError::fixed("NOREPLICAS Not enough good replicas to write.");
    /// The log cannot take more: the disk is full or failing.
    pub const LOG_UNWRITABLE: CommandError =
        CommandError::fixed("MISCONF Errors writing to the AOF file: No space left on device");

    /// A text known at compile time.
    pub const fn fixed(text: &'static str) -> CommandError {
        CommandError(Cow::Borrowed(text))
    }

    /// A text made at run time. Line ends inside become spaces when it is sent.
    pub fn new(text: impl Into<String>) -> CommandError {
        CommandError(Cow::Owned(text.into()))
    }

    /// Wrong number of arguments for `command` (lower case, `container|subcommand` for a subcommand).
    pub fn wrong_arity(command: &str) -> CommandError {
        CommandError::new(format!(
            "ERR wrong number of arguments for '{command}' command"
        ))
    }

    /// A subcommand of `container` that does not exist, or takes other arguments.
    pub fn unknown_subcommand(container: &str, name: &[u8]) -> CommandError {
        let name = String::from_utf8_lossy(name);
        CommandError::new(format!(
            "ERR unknown subcommand or wrong number of arguments for '{name:.128}'. Try {container} HELP."
        ))
    }

    /// An expiry time that is not positive, or too large, in `command`.
    pub fn invalid_expire(command: &str) -> CommandError {
        CommandError::new(format!("ERR invalid expire time in '{command}' command"))
    }

    /// The text of the reply.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// I/O that failed, or damage that was found.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// A file or directory operation failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "create", "sync" ...
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not say what it should.
    #[error("{}: {source}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        source: storage_format::FormatError,
    },
    /// RocksDB failed.
    #[error("cold tier: {0}")]
    Cold(#[from] rocksdb::Error),
    /// The server is ending: what this was for does not matter any more.
    #[error("the server is shutting down")]
    Stopping,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl InternalError {
    /// True if there is no space left on the disk.
    pub fn is_full_disk(&self) -> bool {
        match self {
            InternalError::Io { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
            // RocksDB tells nothing but a text.
            InternalError::Cold(error) => error.as_ref().contains("No space left on device"),
            _ => false,
        }
    }

    /// Wraps an I/O error with what was tried on which file.
    pub fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> InternalError {
        let path = path.into();
        move |source| InternalError::Io {
            operation,
            path,
            source,
        }
    }
}
