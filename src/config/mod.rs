//! Configuration: what can be set, how it is read from a file and the command line, shown, changed and written back.
//!
//! `table` has one row for each directive, and everything else follows from the rows: parsing, CONFIG GET and SET,
//! CONFIG REWRITE, and `docs/configuration.md`. To add a directive, add a field to [`Settings`] and a row.
//!
//! The values live in the plain fields of [`Settings`]. Sharing between threads is left to the owner: a change is made
//! on a clone, which then replaces the shared one as a whole, so that readers never see half a change and never wait.

pub mod command_line;
pub mod document;
pub mod error;
pub mod file;
pub mod memory;
pub mod rewrite;
pub mod settings;
pub mod table;
pub mod value;
pub mod without_effect;

pub use command_line::{Invocation, parse_command_line};
pub use error::{ConfigError, SetError, Warning};
pub use rewrite::{RewriteError, replace_file};
pub use settings::{
    AppendFsync, Changed, DebugCommand, EvictionPolicy, LogLevel, OutputLimit, SaveRule, Settings,
    TlsClients,
};
