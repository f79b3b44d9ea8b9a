//! What holds for the source itself: which room may name which, how long a file may be, that every module says what it
//! is. A rule that only people enforce does not hold for long.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const LINES_MAX: usize = 700;

/// For each room of `src/`, the rooms that it may name. `main` and `lib` put the rooms together and may name all.
const PERMITTED: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("error", &[]),
    ("event_classes", &[]),
    ("glob", &[]),
    ("metrics", &[]),
    ("resp", &[]),
    ("value", &[]),
    ("config", &["event_classes", "glob", "resp"]),
    ("keyspace", &["error", "event_classes", "value"]),
    (
        "commands",
        &[
            "clock", "config", "error", "glob", "keyspace", "pubsub", "resp", "tracking", "value",
        ],
    ),
    ("pubsub", &["glob", "net", "resp"]),
    ("tracking", &["net", "resp"]),
    (
        "tier",
        &["clock", "config", "error", "glob", "keyspace", "value"],
    ),
    ("persist", &["clock", "error", "keyspace", "value"]),
    ("stopwatch", &["clock", "config", "metrics"]),
    (
        "dispatch",
        &[
            "clock",
            "commands",
            "config",
            "error",
            "keyspace",
            "metrics",
            "persist",
            "resp",
            "server",
            "stopwatch",
            "tier",
        ],
    ),
    (
        "net",
        &[
            "clock", "commands", "config", "dispatch", "error", "metrics", "resp", "server", "tier",
        ],
    ),
    (
        "server",
        &[
            "clock", "commands", "config", "dispatch", "error", "glob", "keyspace", "metrics",
            "net", "persist", "pubsub", "resp", "tier", "tracking", "value",
        ],
    ),
];

struct Source {
    /// Relative to the repository.
    path: PathBuf,
    text: String,
}

impl Source {
    /// The room of `src/` that it belongs to.
    fn room(&self) -> Option<String> {
        let first = self.path.strip_prefix("src").ok()?.components().next()?;
        let name = first.as_os_str().to_string_lossy().into_owned();
        Some(name.trim_end_matches(".rs").to_owned()).filter(|room| room != "main" && room != "lib")
    }

    fn is_test(&self) -> bool {
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
        name.contains("test")
            || self
                .path
                .components()
                .any(|part| part.as_os_str() == "tests")
    }

    /// Lines of code with their numbers: no comments, and nothing behind a module of tests at the end of the file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines
            .windows(2)
            .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
        let end = tests.unwrap_or(lines.len());
        let numbered = lines
            .into_iter()
            .enumerate()
            .take(end)
            .map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for place in [
        "src",
        "storage-format/src",
        "storage-format/tests",
        "tools/src",
        "tools/tests",
        "tests",
        "benches",
    ] {
        collect(root, &root.join(place), &mut sources);
    }
    assert!(sources.len() > 100, "the source is found");
    sources
}

fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    let Ok(items) = std::fs::read_dir(directory) else {
        return;
    };
    for path in items.filter_map(Result::ok).map(|item| item.path()) {
        if path.is_dir() && !path.ends_with("target") {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("source is UTF-8");
            let path = path.strip_prefix(root).expect("below the root").to_owned();
            sources.push(Source { path, text });
        }
    }
}

#[track_caller]
fn assert_none(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

/// The rooms that a line names as `crate::room`.
fn rooms_named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|character: char| !character.is_alphanumeric() && character != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let permitted: BTreeMap<&str, &[&str]> = PERMITTED.iter().copied().collect();
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let Some(room) = source.room() else { continue };
        let Some(allowed) = permitted.get(room.as_str()) else {
            offences.push(format!(
                "{}: the room {room} is not in the table of permitted edges",
                source.path.display()
            ));
            continue;
        };
        for (number, line) in source.code() {
            for named in
                rooms_named(line).filter(|named| *named != room && permitted.contains_key(named))
            {
                if !allowed.contains(&named) {
                    offences.push(format!(
                        "{}:{number}: {room} names {named}",
                        source.path.display()
                    ));
                }
            }
            if line.contains("use crate::{") {
                offences.push(format!(
                    "{}:{number}: one `use` for each room, so that edges are seen",
                    source.path.display()
                ));
            }
        }
    }
    assert_none("edges that the design does not permit", offences);
}

#[test]
fn the_formats_and_the_tools_know_no_server() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (package, forbidden) in [
        ("storage-format", &["tokio", "rocksdb", "larder"][..]),
        ("tools", &["tokio", "rocksdb", "larder"]),
    ] {
        let text =
            std::fs::read_to_string(root.join(package).join("Cargo.toml")).expect("a package");
        let dependencies = text
            .split("[dependencies]")
            .nth(1)
            .expect("dependencies")
            .split("\n[")
            .next()
            .unwrap_or("");
        for name in forbidden {
            let is_named = dependencies
                .lines()
                .any(|line| line.split(['.', ' ', '=']).next() == Some(name));
            assert!(!is_named, "{package} depends on {name}");
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut offences = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            offences.push(format!(
                "{}: {lines} lines, at most {LINES_MAX}",
                source.path.display()
            ));
        }
        if !source.text.starts_with("//! ") {
            offences.push(format!(
                "{}: no comment at the top that says what it is",
                source.path.display()
            ));
        }
    }
    assert_none(
        "files that are too long or do not introduce themselves",
        offences,
    );
}

#[test]
fn nothing_is_left_undone() {
    // Put together here, so that this file does not find itself.
    let marks = ["to", "unimple", "FIX", "XX", "#[ign", "allow(dead"]
        .into_iter()
        .zip(["do!(", "mented!(", "ME", "X", "ore", "_code)"]);
    let marks: Vec<String> = marks.map(|(start, end)| format!("{start}{end}")).collect();
    let mut offences = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
                offences.push(format!("{}:{}: {mark}", source.path.display(), index + 1));
            }
        }
    }
    assert_none("marks of unfinished work", offences);
}

#[test]
fn no_input_or_output_error_panics() {
    let mut offences = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| !source.is_test() && source.path.starts_with("src"))
    {
        for (number, line) in source.code() {
            if line.contains(".unwrap()") {
                offences.push(format!(
                    "{}:{number}: {}",
                    source.path.display(),
                    line.trim()
                ));
            }
        }
    }
    assert_none("unwrap() hides why it cannot fail", offences);
}

/// Where `unsafe` may stand, each time with its invariant beside it.
const UNSAFE_FILES: &[&str] = &[
    "src/clock.rs",
    "src/commands/script/current.rs",
    "src/commands/script/raw.rs",
    "src/commands/script/stack.rs",
    "src/commands/script/values.rs",
    "src/keyspace/entry.rs",
    "src/keyspace/segment.rs",
    "src/keyspace/shards.rs",
    "src/main.rs",
    "src/net/clients.rs",
    "src/net/stream.rs",
    "src/persist/log/scan.rs",
    "src/persist/log/segment.rs",
    "src/server/info.rs",
    "src/tier/huge_pages.rs",
    "src/tier/memory.rs",
    "src/value/compact.rs",
    "src/value/thin.rs",
    "storage-format/src/mapped.rs",
];

#[test]
fn unsafe_code_is_where_it_is_expected_and_says_why_it_is_sound() {
    /// How far above its code a reason may begin, in lines.
    const REASON_LINES_MAX: usize = 12;
    let mut offences = Vec::new();
    let mut files = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let path = source.path.to_string_lossy().into_owned();
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            let words =
                line.split(|character: char| !character.is_alphanumeric() && character != '_');
            if !words.into_iter().any(|word| word == "unsafe") {
                continue;
            }
            files.push(path.clone());
            if !UNSAFE_FILES.contains(&path.as_str()) {
                offences.push(format!(
                    "{path}:{number}: unsafe code in a file that is not listed"
                ));
            }
            let above = &lines[number.saturating_sub(REASON_LINES_MAX)..number];
            if !above
                .iter()
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"))
            {
                offences.push(format!("{path}:{number}: no reason beside it"));
            }
        }
    }
    let is_idle = |file: &&&str| !files.iter().any(|found| found == *file);
    let idle = UNSAFE_FILES.iter().filter(is_idle);
    offences.extend(idle.map(|file| format!("{file} is listed and has no unsafe code")));
    assert_none("unsafe code", offences);
}
