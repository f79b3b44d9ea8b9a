//! What can be wrong with a configuration, in the words that Redis uses where it has any.

use std::fmt;

/// Where a directive was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration file that was named, or standard input.
    File,
    /// A file named by an `include`.
    Included(String),
    /// An argument of the command line.
    CommandLine,
}

/// A configuration that the server refuses to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A line that cannot be accepted.
    #[error("\n*** FATAL CONFIG FILE ERROR ***\n{}\n>>> '{text}'\n{reason}", place(source_of, *line))]
    Line {
        /// Where the line stands.
        source_of: Source,
        /// Its number, from 1.
        line: usize,
        /// The line itself.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("Fatal error, can't open config file '{path}': {cause}")]
    Read {
        /// The file as it was named.
        path: String,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// Includes that include each other.
    #[error(
        "Fatal error, config file '{path}' is included too deeply: do files include each other?"
    )]
    TooManyIncludes {
        /// The file at which reading stopped.
        path: String,
    },
    /// The command line is not `[FILE] [--directive value ...]`.
    #[error("{0}")]
    CommandLine(String),
}

fn place(source: &Source, line: usize) -> String {
    match source {
        Source::File => format!("Reading the configuration file, at line {line}"),
        Source::Included(path) => {
            format!("Reading the configuration file '{path}', at line {line}")
        }
        Source::CommandLine => "Reading the command line".to_owned(),
    }
}

/// A directive that was accepted and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The directive as it was written.
    pub directive: String,
    /// Why it has no effect.
    pub reason: &'static str,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "The directive '{}' has no effect: {}",
            self.directive, self.reason
        )
    }
}

/// The reason of a [`Warning`] about a directive that is in force in a later version only.
pub const LATER: &str = "it is accepted and shown, and will be in force in a later version.";

/// Why CONFIG SET changed nothing. `Display` gives Redis's text without the `ERR` code in front.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// There is no such directive.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The value was refused, or the directive cannot be changed while the server runs.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Refused {
        /// The directive.
        name: String,
        /// Why.
        reason: String,
    },
}
