//! `larderctl`: looks into Larder's files without a server.
//!
//! It reads by memory map, never writes, and knows nothing of the server: all knowledge of the formats is in `storage-format`. Results go
//! to standard output, progress and complaints to standard error. Exit codes: 0 all is well, 1 damage, 2 wrong usage or an I/O error,
//! 3 the key that was asked for is not in the file.

mod check;
mod check_directory;
mod check_log_order;
mod data_directory;
mod error;
mod inspect_log;
mod inspect_snapshot;
mod log_walk;
mod render;
mod render_stream;
mod stored_file;
mod text;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::error::ToolError;
use crate::stored_file::StoredFile;

/// Looks into Larder's files without a server.
#[derive(Debug, Parser)]
#[command(name = "larderctl", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a snapshot, a backup, a log segment or a manifest holds, or one key in it
    Inspect {
        /// The file
        file: PathBuf,
        /// Show only this key: its value (snapshot) or its history (log segment)
        key: Option<OsString>,
        /// KEY is written with escapes, as this tool prints keys: \n, \xff, \\
        #[arg(long, requires = "key")]
        escaped: bool,
        /// Only this database generation
        #[arg(long, value_name = "N")]
        generation: Option<u32>,
        /// Which statistics to show; type and ttl if not given
        #[arg(long, value_name = "WHAT")]
        by: Vec<Breakdown>,
    },
    /// Verify every checksum and every value; say what is damaged, and where; of a data directory, whether the server would start
    Check {
        /// Files, or data directories whose server is stopped
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// What statistics are broken down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Breakdown {
    /// By the values' types
    Type,
    /// By how long the entries have to live
    Ttl,
    /// By where the entries are kept: hot, warm, cold
    Tier,
}

/// How a command that could be carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Fine,
    /// There is damage; it was reported.
    Damaged,
    /// The key is not in the file; that was reported.
    NoSuchKey,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let result = run(arguments, &mut out)
        .and_then(|outcome| out.flush().map(|()| outcome).map_err(ToolError::Output));
    match result {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::from(1),
        Ok(Outcome::NoSuchKey) => ExitCode::from(3),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larderctl: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Arguments, out: &mut dyn Write) -> Result<Outcome, ToolError> {
    match arguments.command {
        Command::Inspect {
            file,
            key,
            escaped,
            generation,
            by,
        } => {
            let key = key.map(|key| text::key_bytes(&key, escaped)).transpose()?;
            match (StoredFile::open(&file)?, key) {
                (StoredFile::Snapshot(reader), Some(key)) => {
                    inspect_snapshot::show_key(&file, &reader, &key, generation, out)
                }
                (StoredFile::Snapshot(reader), None) => {
                    inspect_snapshot::show(&file, &reader, generation, &by, out)
                }
                (StoredFile::Log(map), Some(key)) => {
                    inspect_log::show_key(&file, &map, &key, generation, out)
                }
                (StoredFile::Log(map), None) => {
                    inspect_log::show(&file, &map, generation, &by, out)
                }
                (StoredFile::Spare, _) => {
                    writeln!(out, "{}: {}", file.display(), check::SPARE)?;
                    Ok(Outcome::Fine)
                }
                (StoredFile::Manifest(manifest), _) => render::show_manifest(&file, &manifest, out),
            }
        }
        Command::Check { files } => check::check_all(&files, out),
    }
}
