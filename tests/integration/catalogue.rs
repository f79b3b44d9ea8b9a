//! The whole path with real data: a catalogue of software packages, several times larger than the memory allowed.
//!
//! `apt-cache dumpavail` describes tens of thousands of packages with about 1.4 kB each; where it has nothing to say, a
//! catalogue of the same shape is made up. It is loaded with the client library, read back and compared entirely, then
//! once more after `kill -9`, offline in a snapshot, and after an orderly restart.

use crate::harness::Server;
use redis::{Connection, Pipeline};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use storage_format::{Manifest, SnapshotReader, ValueKind};

/// So many packages are used: enough to exceed `maxmemory` three times.
const PACKAGES_MAX: usize = 15_000;
/// If there are fewer real ones, a catalogue is made up.
const PACKAGES_MIN: usize = 5_000;
const BATCH: usize = 500;
/// Every so many packages, the JSON text has a deadline.
const TTL_EVERY: usize = 10;
const TTL_SECONDS: i64 = 30 * 24 * 3600;

/// What the server should hold.
struct Catalogue {
    /// JSON text by package.
    texts: BTreeMap<String, String>,
    fields: BTreeMap<String, BTreeMap<String, String>>,
    sections: BTreeMap<String, BTreeSet<String>>,
    sizes: BTreeMap<String, i64>,
    queue: Vec<String>,
    with_ttl: BTreeSet<String>,
}

fn real_packages() -> Vec<BTreeMap<String, String>> {
    let Ok(output) = Command::new("apt-cache").arg("dumpavail").output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split("\n\n")
        .take(PACKAGES_MAX)
        .map(parse_package)
        .filter(|fields| fields.contains_key("Package"))
        .collect()
}

/// `Name: value` lines; a line that begins with a blank goes on with the value before it.
fn parse_package(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(value) = fields.get_mut(&last).filter(|_| line.starts_with(' ')) {
            value.push('\n');
            value.push_str(line.trim_start());
        } else if let Some((name, value)) = line.split_once(':') {
            last = name.to_owned();
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    fields
}

fn made_up_packages() -> Vec<BTreeMap<String, String>> {
    let package = |number: usize| {
        let words = [
            "library", "server", "fonts", "editor", "plugin", "daemon", "headers", "tools",
        ];
        let word = |shift: usize| words[(number >> shift) % words.len()];
        let depends: Vec<String> = (0..20)
            .map(|other| {
                format!(
                    "{}-{} (>= 1.{other})",
                    word(other % 9),
                    number / (other + 2)
                )
            })
            .collect();
        let pairs = [
            ("Package", format!("{}-{}-{number}", word(0), word(3))),
            (
                "Version",
                format!("{}.{}-{}", number % 9, number % 31, number % 3),
            ),
            ("Installed-Size", (number * 7919 % 100_000).to_string()),
            ("Section", word(5).to_owned()),
            ("Depends", depends.join(", ")),
            (
                "Description",
                format!("{} for the {} of every {}", word(1), word(2), word(4)).repeat(8),
            ),
            (
                "SHA256",
                format!("{:064x}", number as u128 * 0x9e37_79b9_7f4a_7c15_f39c),
            ),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    };
    (0..PACKAGES_MAX).map(package).collect()
}

fn json(fields: &BTreeMap<String, String>) -> String {
    let mut text = String::from("{");
    for (name, value) in fields {
        let comma = if text.len() > 1 { "," } else { "" };
        let _ = write!(text, "{comma}\"{name}\":\"");
        for character in value.chars() {
            match character {
                '"' | '\\' => text.extend(['\\', character]),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}

impl Catalogue {
    fn read() -> Catalogue {
        let mut packages = real_packages();
        if packages.len() < PACKAGES_MIN {
            println!(
                "apt-cache knows {} packages: a catalogue is made up",
                packages.len()
            );
            packages = made_up_packages();
        }
        let mut catalogue = Catalogue {
            texts: BTreeMap::new(),
            fields: BTreeMap::new(),
            sections: BTreeMap::new(),
            sizes: BTreeMap::new(),
            queue: Vec::new(),
            with_ttl: BTreeSet::new(),
        };
        for fields in packages {
            let name = fields["Package"].clone();
            let section = fields.get("Section").cloned().unwrap_or_default();
            let size = fields
                .get("Installed-Size")
                .and_then(|size| size.parse().ok())
                .unwrap_or(0);
            if catalogue
                .texts
                .insert(name.clone(), json(&fields))
                .is_some()
            {
                catalogue.fields.insert(name, fields);
                continue;
            }
            catalogue
                .sections
                .entry(section)
                .or_default()
                .insert(name.clone());
            catalogue.sizes.insert(name.clone(), size);
            catalogue.queue.push(name.clone());
            catalogue.fields.insert(name, fields);
        }
        // A package that is listed twice changes neither section nor size.
        catalogue.with_ttl = catalogue.texts.keys().step_by(TTL_EVERY).cloned().collect();
        catalogue
    }

    fn load(&self, connection: &mut Connection) {
        for names in self.queue.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for name in names {
                let text = pipeline
                    .cmd("SET")
                    .arg(text_key(name))
                    .arg(&self.texts[name]);
                if self.with_ttl.contains(name) {
                    text.arg("EX").arg(TTL_SECONDS);
                }
                pipeline.ignore();
                pipeline
                    .hset_multiple(
                        fields_key(name),
                        &self.fields[name].iter().collect::<Vec<_>>(),
                    )
                    .ignore();
                pipeline.zadd("by-size", name, self.sizes[name]).ignore();
                pipeline.rpush("queue", name).ignore();
            }
            run(pipeline, connection);
        }
        let mut pipeline = redis::pipe();
        for (section, names) in &self.sections {
            pipeline
                .sadd(section_key(section), names.iter().collect::<Vec<_>>())
                .ignore();
        }
        run(pipeline, connection);
    }

    /// Writes of all kinds to keys that are hot, warm or cold, in the server and here.
    fn change(&mut self, connection: &mut Connection) {
        let names: Vec<String> = self.texts.keys().step_by(37).cloned().collect();
        for names in names.chunks(BATCH) {
            let mut pipeline = redis::pipe();
            for (number, name) in names.iter().enumerate() {
                match number % 4 {
                    0 => {
                        pipeline.append(text_key(name), "\n").ignore();
                        self.texts
                            .entry(name.clone())
                            .and_modify(|text| text.push('\n'));
                    }
                    1 => {
                        pipeline.hset(fields_key(name), "Seen", number).ignore();
                        let fields = self.fields.get_mut(name);
                        fields.and_then(|fields| {
                            fields.insert("Seen".to_owned(), number.to_string())
                        });
                    }
                    2 => {
                        pipeline.zincr("by-size", name, 5).ignore();
                        self.sizes.entry(name.clone()).and_modify(|size| *size += 5);
                    }
                    _ => {
                        pipeline.del(text_key(name)).ignore();
                        self.texts.remove(name);
                        self.with_ttl.remove(name);
                    }
                }
            }
            run(pipeline, connection);
        }
        let mut pipeline = redis::pipe();
        pipeline
            .lpop("queue", std::num::NonZeroUsize::new(100))
            .ignore();
        run(pipeline, connection);
        self.queue.drain(..100);
    }

    fn compare(&self, connection: &mut Connection) {
        self.compare_texts_and_fields(connection);
        for (section, names) in &self.sections {
            let found: BTreeSet<String> = ask(connection, &["SMEMBERS", &section_key(section)]);
            assert!(found == *names, "section {section}");
        }
        self.compare_sizes(connection);
        let found: Vec<String> = ask(connection, &["LRANGE", "queue", "0", "-1"]);
        assert!(
            found == self.queue,
            "the queue has {} of {} items",
            found.len(),
            self.queue.len()
        );
        let expected = self.texts.len() + self.fields.len() + self.sections.len() + 2;
        assert_eq!(ask::<usize>(connection, &["DBSIZE"]), expected);
    }

    fn compare_texts_and_fields(&self, connection: &mut Connection) {
        let names: Vec<&String> = self.fields.keys().collect();
        for names in names.chunks(BATCH) {
            let keys: Vec<String> = names.iter().map(|name| text_key(name)).collect();
            let texts: Vec<Option<String>> = redis::cmd("MGET")
                .arg(keys)
                .query(connection)
                .expect("MGET");
            for (name, found) in names.iter().zip(texts) {
                assert_eq!(found.as_ref(), self.texts.get(*name), "text of {name}");
            }
            let mut pipeline = redis::pipe();
            for name in names {
                pipeline.hgetall(fields_key(name)).ttl(text_key(name));
            }
            let found: Vec<(BTreeMap<String, String>, i64)> =
                pipeline.query(connection).expect("a pipeline");
            for (name, (fields, ttl_seconds)) in names.iter().zip(found) {
                assert!(fields == self.fields[*name], "fields of {name}: {fields:?}");
                match (
                    self.with_ttl.contains(*name),
                    self.texts.contains_key(*name),
                ) {
                    (true, _) => assert!(
                        (1..=TTL_SECONDS).contains(&ttl_seconds),
                        "{name}: {ttl_seconds}"
                    ),
                    (false, exists) => {
                        assert_eq!(ttl_seconds, if exists { -1 } else { -2 }, "{name}")
                    }
                }
            }
        }
    }

    fn compare_sizes(&self, connection: &mut Connection) {
        let mut ordered: Vec<(i64, &String)> = self
            .sizes
            .iter()
            .map(|(name, size)| (*size, name))
            .collect();
        ordered.sort();
        let found: Vec<(String, i64)> =
            ask(connection, &["ZRANGE", "by-size", "0", "-1", "WITHSCORES"]);
        let expected = ordered.iter().map(|(size, name)| ((*name).clone(), *size));
        assert!(found.into_iter().eq(expected), "members by size");
        for (rank, (size, name)) in ordered.iter().enumerate().step_by(997) {
            assert_eq!(
                ask::<usize>(connection, &["ZRANK", "by-size", name]),
                rank,
                "{name}"
            );
            let upper = size + 1000;
            let expected = ordered
                .iter()
                .filter(|(other, _)| (*size..=upper).contains(other))
                .count();
            assert_eq!(
                ask::<usize>(
                    connection,
                    &["ZCOUNT", "by-size", &size.to_string(), &upper.to_string()]
                ),
                expected
            );
        }
        let top: Vec<String> = ask(connection, &["ZREVRANGE", "by-size", "0", "99"]);
        assert!(
            top.iter()
                .eq(ordered.iter().rev().take(100).map(|(_, name)| *name)),
            "the hundred largest"
        );
    }

    /// Every text and hash of a snapshot is what it should be; returns how many there are.
    fn compare_snapshot(&self, reader: &SnapshotReader) -> usize {
        let mut compared = 0;
        for block in 0..reader.block_count() {
            let block = reader.decode_block(block).expect("an intact block");
            for entry in block.entries() {
                let key = std::str::from_utf8(entry.key).expect("our keys are text");
                if let Some(name) = key.strip_prefix("package:") {
                    assert_eq!(entry.kind, ValueKind::String, "{key}");
                    assert_eq!(
                        Some(entry.value),
                        self.texts.get(name).map(|text| text.as_bytes()),
                        "{key}"
                    );
                    assert_eq!(entry.deadline_ms > 0, self.with_ttl.contains(name), "{key}");
                    compared += 1;
                } else if let Some(name) = key.strip_prefix("fields:") {
                    let collection =
                        storage_format::value::EncodedCollection::parse(entry.kind, entry.value);
                    let collection = collection.expect("a valid value");
                    let pairs = collection.pairs().map(|(field, value)| {
                        [field, value].map(|text| String::from_utf8_lossy(text).into_owned())
                    });
                    let found: BTreeMap<String, String> =
                        pairs.map(|[field, value]| (field, value)).collect();
                    assert!(found == self.fields[name], "{key}");
                    compared += 1;
                }
            }
        }
        compared
    }
}

fn text_key(name: &str) -> String {
    format!("package:{name}")
}

fn fields_key(name: &str) -> String {
    format!("fields:{name}")
}

fn section_key(section: &str) -> String {
    format!("section:{section}")
}

fn run(pipeline: Pipeline, connection: &mut Connection) {
    if let Err(error) = pipeline.query::<()>(connection) {
        let figures: String = redis::cmd("INFO")
            .arg("memory")
            .arg("tiers")
            .query(connection)
            .unwrap_or_default();
        let text = error.to_string();
        panic!(
            "a pipeline failed: {}\n{figures}",
            &text[..text.len().min(300)]
        );
    }
}

fn ask<T: redis::FromRedisValue>(connection: &mut Connection, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
        .query(connection)
        .unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// `larderctl` as cargo builds it beside the server; it is built first if it is not there.
fn larderctl() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_larder")).with_file_name("larderctl");
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--package", "larder-tools"])
            .status();
        println!("larderctl was not built yet: {built:?}");
    }
    path.exists().then_some(path)
}

fn check_offline(directory: &Path, snapshot: &Path) {
    let Some(larderctl) = larderctl() else {
        println!("no larderctl: the snapshot is only read with storage-format");
        return;
    };
    let run = |arguments: &[&Path]| {
        let output = Command::new(&larderctl)
            .args(arguments)
            .output()
            .expect("larderctl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "larderctl {arguments:?}\n{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    };
    let report = run(&[Path::new("check"), snapshot, &directory.join("MANIFEST")]);
    println!("larderctl check:\n{report}");
    assert!(
        run(&[Path::new("inspect"), snapshot]).contains("string"),
        "the types are shown"
    );
    run(&[Path::new("inspect"), &directory.join("MANIFEST")]);
}

fn print_tiers(when: &str, server: &Server) {
    let figures = server.tier_statistics();
    let hot_bytes = figures["hot_bytes"];
    let (warm_keys, warm_bytes, cold_records) = (
        figures["warm_keys"],
        figures["warm_bytes"],
        figures["cold_records"],
    );
    println!(
        "{when}: hot {} kB, warm {warm_keys} keys in {} kB, cold {cold_records} records; resident {} MB",
        hot_bytes / 1000,
        warm_bytes / 1000,
        server.resident_bytes() / 1_000_000
    );
}

#[test]
fn a_catalogue_larger_than_memory() {
    let mut server = Server::start("--maxmemory 24mb --save ''");
    let mut catalogue = Catalogue::read();
    println!(
        "{} packages, {} sections",
        catalogue.fields.len(),
        catalogue.sections.len()
    );
    catalogue.load(&mut server.library());
    print_tiers("loaded", &server);
    assert!(
        server.tier_statistics()["cold_records"] > 0,
        "not everything fits into memory"
    );
    catalogue.compare(&mut server.library());
    print_tiers("read", &server);

    catalogue.change(&mut server.library());
    server.kill_and_restart();
    print_tiers("killed and started", &server);
    catalogue.compare(&mut server.library());

    // What was just written is hot, so that there is something to compare in the snapshot.
    catalogue.change(&mut server.library());
    // A snapshot holds what is hot: with room enough, what is read twice is.
    assert_eq!(
        ask::<String>(
            &mut server.library(),
            &["CONFIG", "SET", "maxmemory", "1gb"]
        ),
        "OK"
    );
    catalogue.compare(&mut server.library());
    assert_eq!(ask::<String>(&mut server.library(), &["SAVE"]), "OK");
    let manifest = Manifest::read(&server.directory().join("MANIFEST")).expect("a manifest");
    let snapshot = manifest.snapshots.last().expect("a snapshot");
    let path = server
        .directory()
        .join("snapshots")
        .join(&snapshot.file_name);
    let reader = SnapshotReader::open(&path).expect("a snapshot");
    assert_eq!(reader.entry_count(), snapshot.entry_count);
    let compared = catalogue.compare_snapshot(&reader);
    println!("{compared} texts and hashes of the snapshot are as they should be");
    assert!(compared > 0, "some packages are hot");
    check_offline(server.directory(), &path);

    server.shut_down();
    server.start_again();
    catalogue.compare(&mut server.library());
    print_tiers("ended, started and read", &server);
}
