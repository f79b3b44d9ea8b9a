//! Runs the `larderctl` binary on files written by `storage-format`: what it prints, and its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use storage_format::log::{RecordBody, SegmentHeader, frame_record, write_end_mark};
use storage_format::manifest::{DatabaseManifest, Manifest, SnapshotManifest};
use storage_format::snapshot::{SnapshotForm, SnapshotHeader};
use storage_format::value::{CollectionWriter, put_item, put_pair, put_scored};
use storage_format::{
    Effect, EffectRecord, Items, Placement, SAME_RECORD_LSN, SnapshotEntry, SnapshotReader,
    SnapshotWriter, ValueKind,
};
use tempfile::TempDir;

const HASH_SEED: u64 = 77;
const HOUR_MS: u64 = 3_600_000;

fn larderctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larderctl"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// Runs it, checks the exit code, and returns what it printed with runs of blanks made one.
fn run(arguments: &[&str], exit_code: i32) -> String {
    let output = larderctl(arguments);
    let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(exit_code),
        "{arguments:?}\n{text}\n{complaint}"
    );
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|found| found == *line),
            "no line {line:?} in\n{text}"
        );
    }
}

fn text_of(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64
}

fn collection(count: u64, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = CollectionWriter::begin(&mut out, count, 1);
    writer.chunk(count, fill);
    writer.finish();
    out
}

/// Generation, key, deadline, type, value.
type Row = (u32, Vec<u8>, u64, ValueKind, Vec<u8>);

fn rows() -> Vec<Row> {
    let now_ms = now_ms();
    let list = collection(2, |out| {
        put_item(out, b"first");
        put_item(out, b"\xff\n");
    });
    let hash = collection(1, |out| put_pair(out, b"name", "Zo\u{eb}".as_bytes()));
    let sorted = collection(2, |out| {
        put_scored(out, -1.5, b"low");
        put_scored(out, f64::INFINITY, b"high");
    });
    let string = |key: &str, deadline_ms| {
        (
            1,
            key.into(),
            deadline_ms,
            ValueKind::String,
            b"some text".to_vec(),
        )
    };
    vec![
        string("text", 0),
        string("expired", 1000),
        string("minutes", now_ms + HOUR_MS / 2),
        string("hours", now_ms + 12 * HOUR_MS),
        string("days", now_ms + 3 * 24 * HOUR_MS),
        string("months", now_ms + 90 * 24 * HOUR_MS),
        (1, b"list".to_vec(), 0, ValueKind::List, list),
        (1, b"hash".to_vec(), 0, ValueKind::Hash, hash),
        (2, b"sorted".to_vec(), 0, ValueKind::SortedSet, sorted),
        (
            2,
            b"bin\xff".to_vec(),
            0,
            ValueKind::Set,
            collection(1, |out| put_item(out, b"member")),
        ),
        (
            2,
            b"text".to_vec(),
            0,
            ValueKind::String,
            b"the other database".to_vec(),
        ),
    ]
}

fn write_snapshot(path: &Path, form: SnapshotForm, rows: &[Row]) {
    let placement = Placement::new(HASH_SEED);
    let entry = |row: &'_ Row| (row.0, placement.hash(&row.1));
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| entry(row));
    let header = SnapshotHeader {
        form,
        hash_seed: HASH_SEED,
        cut_lsn: 4711,
        log_segment_number: 12,
        created_ms: now_ms() - HOUR_MS,
        generations: vec![1, 2],
    };
    let file = fs::File::create(path).expect("writable");
    let mut writer = SnapshotWriter::new(file, &header).expect("writable");
    for row in sorted {
        let (generation, hash) = entry(row);
        let (_, key, deadline_ms, kind, value) = row;
        let entry = SnapshotEntry {
            generation,
            hash,
            lsn: 9,
            deadline_ms: *deadline_ms,
            kind: *kind,
            key,
            value,
        };
        writer.push(&entry).expect("in order");
    }
    writer.finish().expect("writable");
}

fn snapshot() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("some.snapshot");
    write_snapshot(&path, SnapshotForm::Snapshot, &rows());
    (directory, path)
}

/// A segment with three records, the bytes of its file, and where each record begins.
fn segment_bytes() -> (Vec<u8>, Vec<usize>) {
    let header = SegmentHeader {
        segment_number: 3,
        first_lsn: 50,
        hash_seed: HASH_SEED,
    };
    let members: [&[u8]; 2] = [b"red", b"blue"];
    let effect = |key, previous_lsn, effect| EffectRecord {
        generation: 1,
        key,
        previous_lsn,
        effect,
    };
    let put = Effect::Put {
        kind: ValueKind::String,
        deadline_ms: 0,
        encoded: b"value",
    };
    let records = [
        vec![effect(
            &b"colours"[..],
            0,
            Effect::SetAdd {
                members: Items::from(&members),
            },
        )],
        vec![
            effect(b"other", 0, put),
            effect(
                b"colours",
                50,
                Effect::SetRemove {
                    members: Items::from(&members[..1]),
                },
            ),
            effect(
                b"colours",
                SAME_RECORD_LSN,
                Effect::SetDeadline { deadline_ms: 1000 },
            ),
        ],
        vec![effect(b"colours", 51, Effect::Delete)],
    ];
    let mut bytes = header.encode().to_vec();
    let mut offsets = Vec::new();
    for (lsn, effects) in (50..).zip(&records) {
        let mut body = Vec::new();
        effects.iter().for_each(|effect| effect.encode(&mut body));
        let body = RecordBody::new(&body).expect("small");
        offsets.push(bytes.len());
        bytes.resize(bytes.len() + body.frame_length(), 0);
        let start = offsets[offsets.len() - 1];
        frame_record(&mut bytes[start..], header.frame_seed(), lsn, 0, &body);
    }
    let end = bytes.len();
    bytes.resize(end + 200, 0x77);
    write_end_mark(&mut bytes[end..]);
    (bytes, offsets)
}

fn segment_file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("some.log");
    fs::write(&path, bytes).expect("writable");
    (directory, path)
}

#[test]
fn inspect_counts_a_snapshot_by_type_and_time_to_live() {
    let (_directory, path) = snapshot();
    let text = run(&["inspect", text_of(&path)], 0);
    assert_lines(
        &text,
        &[
            "state at LSN 4711",
            "log from segment 12",
            "databases: generations 0: 1, 1: 2",
            "entries 11",
            "0 1 string 6 5 33 B 54 B",
            "0 1 hash 1 0 4 B 15 B",
            "1 2 zset 1 0 6 B 30 B",
            "under 1 hour 1 16 B",
            "under 1 day 1 14 B",
            "under 7 days 1 13 B",
            "later 1 15 B",
            "expired 1 16 B",
        ],
    );
    let only = run(
        &[
            "inspect",
            text_of(&path),
            "--generation",
            "2",
            "--by",
            "type",
        ],
        0,
    );
    assert!(
        only.contains("zset") && !only.contains("hash 1") && !only.contains("expired"),
        "{only}"
    );
}

#[test]
fn inspect_by_tier_says_what_the_file_cannot_know() {
    let (directory, path) = snapshot();
    let text = run(&["inspect", text_of(&path), "--by", "tier"], 0);
    assert!(
        text.contains("A snapshot holds the hot entries only."),
        "{text}"
    );
    assert!(
        text.lines().any(|line| line.starts_with("hot 11 ")),
        "{text}"
    );

    let backup = directory.path().join("some.backup");
    write_snapshot(&backup, SnapshotForm::Backup, &rows());
    let text = run(&["inspect", text_of(&backup), "--by", "tier"], 0);
    assert!(
        text.contains("A backup merges hot and cold entries"),
        "{text}"
    );
}

#[test]
fn inspect_shows_a_key_of_each_type() {
    let (_directory, path) = snapshot();
    let show = |arguments: &[&str]| run(&[&["inspect", text_of(&path)], arguments].concat(), 0);
    assert_lines(
        &show(&["list"]),
        &[
            "key \"list\"",
            "type list",
            "deadline none",
            "0: \"first\"",
            "1: \"\\xff\\n\"",
        ],
    );
    assert_lines(&show(&["hash"]), &["type hash", "\"name\": \"Zo\u{eb}\""]);
    assert_lines(
        &show(&["sorted"]),
        &["database 1", "-1.5: \"low\"", "inf: \"high\""],
    );
    assert_lines(
        &show(&["--escaped", "bin\\xff"]),
        &["key \"bin\\xff\"", "\"member\""],
    );
    assert_lines(
        &show(&["text"]),
        &[
            "generation 1",
            "\"some text\"",
            "generation 2",
            "\"the other database\"",
        ],
    );
    let second = show(&["text", "--generation", "2"]);
    assert!(!second.contains("generation 1"), "{second}");
    let missing = run(&["inspect", text_of(&path), "no such key"], 3);
    assert!(
        missing.contains("\"no such key\" is not in") && missing.contains("hot entries only"),
        "{missing}"
    );
}

#[test]
fn inspect_counts_a_log_and_shows_the_history_of_a_key() {
    let (_directory, path) = segment_file(&segment_bytes().0);
    let text = run(&["inspect", text_of(&path)], 0);
    assert_lines(
        &text,
        &[
            "number 3",
            "records 3",
            "LSNs 50 to 52",
            "hash seed 0x000000000000004d",
        ],
    );
    assert!(
        text.lines().any(|line| line.starts_with("set-add 1 ")),
        "{text}"
    );
    let history = run(&["inspect", text_of(&path), "colours"], 0);
    let rows: Vec<&str> = history
        .lines()
        .filter(|line| line.starts_with('5'))
        .collect();
    assert_eq!(rows[0], "50 new 1 set-add \"red\" \"blue\"");
    assert_eq!(rows[1], "51 50 1 set-remove \"red\"");
    assert!(
        rows[2].starts_with("51 same record 1 set-deadline expired 1000"),
        "{history}"
    );
    assert_eq!(rows[3..], ["52 51 1 delete"]);
    run(&["inspect", text_of(&path), "unknown"], 3);
    run(
        &["inspect", text_of(&path), "colours", "--generation", "2"],
        3,
    );
}

#[test]
fn check_accepts_sound_files_and_a_torn_tail() {
    let (_snapshot_directory, snapshot) = snapshot();
    let (mut bytes, offsets) = segment_bytes();
    let (_log_directory, log) = segment_file(&bytes);
    let text = run(&["check", text_of(&snapshot), text_of(&log)], 0);
    assert!(
        text.contains("ok, 11 entries in 1 blocks") && text.contains("ok, 3 records"),
        "{text}"
    );

    bytes.truncate(offsets[2] + 30);
    let (_torn_directory, torn) = segment_file(&bytes);
    let text = run(&["check", text_of(&torn)], 0);
    let expected = format!("ok, 2 records, torn tail at offset {}", offsets[2]);
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn check_names_every_damaged_record_of_a_log() {
    let (mut bytes, offsets) = segment_bytes();
    bytes[offsets[1] + 25] ^= 1;
    let (_directory, path) = segment_file(&bytes);
    let text = run(&["check", text_of(&path)], 1);
    assert!(text.contains("damaged, 2 records"), "{text}");
    assert!(
        text.contains(&format!("log record is damaged at offset {}", offsets[1])),
        "{text}"
    );
    let text = run(&["inspect", text_of(&path)], 1);
    assert!(
        text.contains("LSNs 50 to 52"),
        "what is behind the damage is shown too: {text}"
    );
}

#[test]
fn check_names_damaged_blocks_values_and_hashes_of_a_snapshot() {
    let (directory, path) = snapshot();
    let good = fs::read(&path).expect("readable");
    let row = SnapshotReader::from_bytes(&good[..])
        .expect("valid")
        .index()
        .get(0)
        .expect("a block");
    let mut bad = good.clone();
    bad[row.offset as usize + 40] ^= 1;
    fs::write(&path, &bad).expect("writable");
    let text = run(&["check", text_of(&path)], 1);
    assert!(
        text.contains(&format!(
            "snapshot block is damaged at offset {}",
            row.offset
        )),
        "{text}"
    );
    run(&["inspect", text_of(&path), "text"], 1);

    let mut rows = rows();
    rows[6].4.pop();
    write_snapshot(&path, SnapshotForm::Snapshot, &rows);
    let text = run(&["check", text_of(&path)], 1);
    assert!(
        text.contains("value of a snapshot entry in the block is damaged"),
        "{text}"
    );
    run(&["inspect", text_of(&path), "list"], 1);

    fs::write(&path, &good[..good.len() - 1]).expect("writable");
    let sound = directory.path().join("sound");
    fs::write(&sound, &good).expect("writable");
    let text = run(&["check", text_of(&path), text_of(&sound)], 1);
    assert!(
        text.contains("snapshot footer is damaged") && text.contains("sound: ok"),
        "{text}"
    );
}

#[test]
fn a_manifest_is_shown_and_checked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("MANIFEST");
    let snapshot = SnapshotManifest {
        file_name: "snapshot-7".to_owned(),
        cut_lsn: 70,
        log_segment_number: 8,
        entry_count: 1234,
    };
    let manifest = Manifest {
        hash_seed: HASH_SEED,
        next_lsn: 71,
        databases: vec![DatabaseManifest {
            generation: 5,
            key_count: 2345,
            deadline_count: 17,
        }],
        next_generation: 6,
        snapshots: vec![snapshot],
        rocksdb_sequence: 99,
        clean_shutdown: true,
    };
    manifest.write(&path).expect("writable");
    let text = run(&["inspect", text_of(&path)], 0);
    assert_lines(
        &text,
        &[
            "next LSN 71",
            "clean shutdown yes",
            "0 5 2,345",
            "snapshot-7 70 8 1,234",
        ],
    );
    run(&["check", text_of(&path)], 0);
    let mut bytes = fs::read(&path).expect("readable");
    bytes[25] ^= 1;
    fs::write(&path, bytes).expect("writable");
    run(&["check", text_of(&path)], 1);
}

#[test]
fn wrong_usage_and_unreadable_files_are_not_damage() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let other = directory.path().join("other");
    fs::write(&other, "something else").expect("writable");
    let missing = directory.path().join("missing");
    for arguments in [
        vec!["check"],
        vec!["unknown"],
        vec!["check", text_of(&other)],
        vec!["check", text_of(&missing)],
        vec!["inspect", text_of(&missing)],
        vec!["inspect", text_of(&other), "--escaped", r"\q"],
    ] {
        run(&arguments, 2);
    }
    let output = larderctl(&["check", text_of(&other)]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("this is not a snapshot, backup, log segment or manifest"),
        "{complaint}"
    );
}
