//! How things look on a terminal: tables, sizes, times, values, effects.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle, presets};
use indicatif::{HumanBytes, HumanCount, HumanDuration};
use storage_format::stream::EncodedStream;
use storage_format::value::EncodedCollection;
use storage_format::{Effect, FormatError, Manifest, Side, ValueKind};

use crate::Outcome;
use crate::error::ToolError;
use crate::render_stream::{print_stream, stream_effect};
use crate::text::quoted;

/// Tables have one line, below their header.
const STYLE: TableStyle =
    presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with these columns; those after the first `text_columns` hold numbers.
pub fn table(header: &[&str], text_columns: usize) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(text_columns) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Prints a table of properties.
///
/// # Errors
/// If the output cannot be written.
pub fn print_properties(out: &mut dyn Write, rows: &[(&str, String)]) -> io::Result<()> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows {
        writeln!(out, "{name:width$}  {value}")?;
    }
    writeln!(out)
}

/// A count with its thousands apart.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A size in bytes, for people.
pub fn bytes(number: u64) -> String {
    HumanBytes(number).to_string()
}

/// The time now in Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// A point in time, exactly and for people.
pub fn time(time_ms: u64, now_ms: u64) -> String {
    let distance = HumanDuration(Duration::from_millis(time_ms.abs_diff(now_ms)));
    if time_ms <= now_ms {
        format!("{time_ms} ({distance} ago)")
    } else {
        format!("{time_ms} (in {distance})")
    }
}

/// A deadline, for people.
pub fn deadline(deadline_ms: u64, now_ms: u64) -> String {
    match deadline_ms {
        0 => "none".to_owned(),
        passed if passed <= now_ms => format!("expired {}", time(passed, now_ms)),
        ahead => time(ahead, now_ms),
    }
}

/// Prints a value: a string quoted, a collection with one element on each line.
///
/// # Errors
/// The outer one if the output cannot be written, the inner one if the value is damaged; then nothing of it is printed.
pub fn print_value(
    out: &mut dyn Write,
    kind: ValueKind,
    encoded: &[u8],
) -> io::Result<Result<(), FormatError>> {
    if kind == ValueKind::String {
        writeln!(out, "{}", quoted(encoded))?;
        return Ok(Ok(()));
    }
    if kind == ValueKind::Stream {
        return match EncodedStream::parse(encoded) {
            Ok(stream) => print_stream(out, &stream).map(Ok),
            Err(error) => Ok(Err(error)),
        };
    }
    let collection = match EncodedCollection::parse(kind, encoded) {
        Ok(collection) => collection,
        Err(error) => return Ok(Err(error)),
    };
    match kind {
        ValueKind::List => {
            for (index, item) in collection.items().enumerate() {
                writeln!(out, "{index}: {}", quoted(item))?;
            }
        }
        ValueKind::Hash => {
            for (field, value, deadline_ms) in collection.fields() {
                write!(out, "{}: {}", quoted(field), quoted(value))?;
                match deadline_ms {
                    0 => writeln!(out)?,
                    _ => writeln!(out, " (until {deadline_ms})")?,
                }
            }
        }
        ValueKind::SortedSet => {
            for (score, member) in collection.scored() {
                writeln!(out, "{score}: {}", quoted(member))?;
            }
        }
        ValueKind::Set | ValueKind::String | ValueKind::Stream => {
            for member in collection.items() {
                writeln!(out, "{}", quoted(member))?;
            }
        }
    }
    Ok(Ok(()))
}

/// How many elements a value has, for a summary: bytes of a string.
pub fn value_size(kind: ValueKind, encoded: &[u8]) -> String {
    let elements = if kind == ValueKind::Stream {
        EncodedStream::parse(encoded).map(|stream| stream.head.entry_count)
    } else {
        EncodedCollection::parse(kind, encoded).map(|collection| collection.len())
    };
    match elements {
        Ok(elements) => format!(
            "{} elements, {}",
            count(elements as u64),
            bytes(encoded.len() as u64)
        ),
        Err(_) => bytes(encoded.len() as u64),
    }
}

/// An effect and its operands on one line.
pub fn effect(effect: &Effect<'_>, now_ms: u64) -> String {
    let name = effect.name();
    let side = |side: Side| if side == Side::Left { "left" } else { "right" };
    let list =
        |items: storage_format::Items<'_>| items.iter().map(quoted).collect::<Vec<_>>().join(" ");
    match *effect {
        Effect::Put {
            kind: ValueKind::String,
            deadline_ms,
            encoded,
        } => {
            format!(
                "{name} string {} deadline {}",
                quoted(encoded),
                deadline(deadline_ms, now_ms)
            )
        }
        Effect::Put {
            kind,
            deadline_ms,
            encoded,
        } => {
            format!(
                "{name} {} ({}) deadline {}",
                kind.name(),
                value_size(kind, encoded),
                deadline(deadline_ms, now_ms)
            )
        }
        Effect::Delete => name.to_owned(),
        Effect::SetDeadline { deadline_ms } => format!("{name} {}", deadline(deadline_ms, now_ms)),
        Effect::Append { bytes } => format!("{name} {}", quoted(bytes)),
        Effect::SetRange { offset, bytes } => format!("{name} at {offset} {}", quoted(bytes)),
        Effect::ListPush { side: end, items } => format!("{name} {} {}", side(end), list(items)),
        Effect::ListPop { side: end, count } => format!("{name} {} {count}", side(end)),
        Effect::ListSet { index, item } | Effect::ListInsert { index, item } => {
            format!("{name} at {index} {}", quoted(item))
        }
        Effect::ListRemove { index, count } => format!("{name} at {index} {count}"),
        Effect::SetAdd { members }
        | Effect::SetRemove { members }
        | Effect::SortedSetRemove { members } => {
            format!("{name} {}", list(members))
        }
        Effect::HashSet { pairs } => format!("{name} {}", list(pairs)),
        Effect::HashDelete { fields } => format!("{name} {}", list(fields)),
        Effect::HashSetDeadline {
            deadline_ms,
            fields,
        } => format!("{name} {deadline_ms} {}", list(fields)),
        Effect::SortedSetPut { members } => {
            let members = members
                .iter()
                .map(|(score, member)| format!("{score} {}", quoted(member)));
            format!("{name} {}", members.collect::<Vec<_>>().join(" "))
        }
        Effect::Stream(effect) => stream_effect(&effect),
        Effect::FlushDatabase { database } => format!("{name} {database}"),
        Effect::SwapDatabases { first, second } => format!("{name} {first} {second}"),
    }
}

/// Prints a manifest.
///
/// # Errors
/// If the output cannot be written.
pub fn show_manifest(
    file: &Path,
    manifest: &Manifest,
    out: &mut dyn Write,
) -> Result<Outcome, ToolError> {
    print_properties(
        out,
        &[
            ("manifest", file.display().to_string()),
            ("hash seed", format!("{:#018x}", manifest.hash_seed)),
            ("next LSN", manifest.next_lsn.to_string()),
            ("next generation", manifest.next_generation.to_string()),
            (
                "RocksDB sequence number",
                manifest.rocksdb_sequence.to_string(),
            ),
            (
                "clean shutdown",
                if manifest.clean_shutdown { "yes" } else { "no" }.to_owned(),
            ),
        ],
    )?;
    let mut databases = table(&["database", "generation", "keys"], 0);
    for (index, database) in manifest.databases.iter().enumerate() {
        databases.add_row([
            index.to_string(),
            database.generation.to_string(),
            count(database.key_count),
        ]);
    }
    writeln!(out, "{databases}\n")?;
    let mut snapshots = table(&["snapshot", "cut LSN", "log from segment", "entries"], 1);
    for snapshot in &manifest.snapshots {
        snapshots.add_row([
            snapshot.file_name.clone(),
            snapshot.cut_lsn.to_string(),
            snapshot.log_segment_number.to_string(),
            count(snapshot.entry_count),
        ]);
    }
    writeln!(out, "{snapshots}")?;
    Ok(Outcome::Fine)
}
