//! `larderctl check` on data directories: each test builds one, does something to it, and compares the verdict with the server's rules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use storage_format::log::{RecordBody, SegmentHeader, frame_record, write_end_mark};
use storage_format::manifest::{DatabaseManifest, SnapshotManifest};
use storage_format::snapshot::{SnapshotForm, SnapshotHeader};
use storage_format::{
    Effect, EffectRecord, Manifest, Placement, SnapshotEntry, SnapshotWriter, ValueKind,
};
use tempfile::TempDir;

const HASH_SEED: u64 = 77;
/// Bytes of a segment's header, and of each of the records that these tests write.
const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 64;

/// A directory with snapshots at LSN 10 and 20, of which the newer one needs the log from segment 3 on; records 11 to 20 are in
/// segment 2, 21 to 25 in segment 3, 26 to 30 in segment 4; 5 is a spare, and there is a file for reuse.
struct Directory(TempDir);

impl Directory {
    fn new() -> Directory {
        let directory = Directory(tempfile::tempdir().expect("a temporary directory"));
        for part in ["log", "snapshots", "cold"] {
            fs::create_dir(directory.path(part)).expect("writable");
        }
        let snapshots = vec![
            directory.write_snapshot(10, 2),
            directory.write_snapshot(20, 3),
        ];
        let manifest = Manifest {
            hash_seed: HASH_SEED,
            next_lsn: 21,
            databases: vec![DatabaseManifest {
                generation: 1,
                key_count: 1,
                deadline_count: 0,
            }],
            next_generation: 2,
            snapshots,
            rocksdb_sequence: 0,
            clean_shutdown: false,
        };
        manifest
            .write(&directory.path("MANIFEST"))
            .expect("writable");
        directory.write_segment(2, 11, 10, 0);
        directory.write_segment(3, 21, 5, 0);
        directory.write_segment(4, 26, 5, 0);
        fs::write(directory.segment(5), vec![0; 4096]).expect("writable");
        fs::write(directory.path("log/0000000001.pool"), vec![7; 4096]).expect("writable");
        directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.path(&format!("log/{number:010}.log"))
    }

    fn snapshot(&self, lsn: u64) -> PathBuf {
        self.path(&format!("snapshots/snapshot-{lsn}.larder"))
    }

    fn write_snapshot(&self, cut_lsn: u64, log_segment_number: u64) -> SnapshotManifest {
        let header = SnapshotHeader {
            form: SnapshotForm::Snapshot,
            hash_seed: HASH_SEED,
            cut_lsn,
            log_segment_number,
            created_ms: 1,
            generations: vec![1],
        };
        let file = fs::File::create(self.snapshot(cut_lsn)).expect("writable");
        let mut writer = SnapshotWriter::new(file, &header).expect("writable");
        let entry = SnapshotEntry {
            generation: 1,
            hash: Placement::new(HASH_SEED).hash(b"key"),
            lsn: 9,
            deadline_ms: 0,
            kind: ValueKind::String,
            key: b"key",
            value: b"value",
        };
        writer.push(&entry).expect("in order");
        writer.finish().expect("writable");
        SnapshotManifest {
            file_name: format!("snapshot-{cut_lsn}.larder"),
            cut_lsn,
            log_segment_number,
            entry_count: 1,
        }
    }

    fn write_segment(&self, number: u64, first_lsn: u64, records: u64, unsynced_bytes: u64) {
        let header = SegmentHeader {
            segment_number: number,
            first_lsn,
            hash_seed: HASH_SEED,
        };
        let effect = EffectRecord {
            generation: 1,
            key: b"key",
            previous_lsn: 1,
            effect: Effect::Put {
                kind: ValueKind::String,
                deadline_ms: 0,
                encoded: &[b'v'; 32],
            },
        };
        let mut body = Vec::new();
        effect.encode(&mut body);
        let body = RecordBody::new(&body).expect("small");
        assert_eq!(body.frame_length(), RECORD_BYTES);
        let mut bytes = header.encode().to_vec();
        for lsn in first_lsn..first_lsn + records {
            let offset = bytes.len();
            bytes.resize(offset + RECORD_BYTES, 0);
            let target = &mut bytes[offset..];
            frame_record(target, header.frame_seed(), lsn, unsynced_bytes, &body);
        }
        let end = bytes.len();
        bytes.resize(end + 200, 0x77);
        write_end_mark(&mut bytes[end..]);
        fs::write(self.segment(number), bytes).expect("writable");
    }

    /// Replaces the last two records of a segment, or all behind the first so many, by zeros.
    fn tear(&self, number: u64, kept_records: usize) {
        let mut bytes = fs::read(self.segment(number)).expect("readable");
        let from = offset_of(kept_records);
        bytes[from + 8..].fill(0);
        fs::write(self.segment(number), bytes).expect("writable");
    }

    fn flip(&self, path: &Path, offset: usize) {
        let mut bytes = fs::read(path).expect("readable");
        bytes[offset] ^= 1;
        fs::write(path, bytes).expect("writable");
    }

    fn note(&self, text: &str) {
        fs::write(self.path("LOCK"), text).expect("writable");
    }

    /// Checks the directory and returns what was printed.
    #[track_caller]
    fn check(&self, exit_code: i32) -> String {
        check(self.0.path(), exit_code)
    }
}

fn offset_of(record: usize) -> usize {
    HEADER_BYTES + record * RECORD_BYTES
}

#[track_caller]
fn check(path: &Path, exit_code: i32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_larderctl"))
        .arg("check")
        .arg(path)
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit_code), "{text}");
    text
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

const OTHER_BOOT: &str = "boot another\nlog yes\n";

#[test]
fn a_sound_directory_is_ok_and_what_does_not_count_is_named() {
    let directory = Directory::new();
    fs::write(directory.path("snapshots/old.damaged"), b"x").expect("writable");
    fs::write(directory.path("log/0000000006.new"), b"x").expect("writable");
    let text = directory.check(0);
    assert_has(
        &text,
        &[
            "MANIFEST: ok, manifest, 2 snapshots",
            "snapshot-20.larder: ok, 1 entries in 1 blocks",
            "snapshot-10.larder: ok",
            "old.damaged: skipped, the manifest does not name it",
            "0000000001.pool: skipped, kept for reuse",
            "0000000002.log: ok, 10 records, all in the snapshot",
            "0000000003.log: ok, 5 records\n",
            "0000000004.log: ok, 5 records\n",
            "0000000005.log: skipped, a spare",
            "0000000006.new: skipped, it was being prepared",
            ": ok, a start uses snapshot-20.larder and the log up to record 30\n",
        ],
    );
}

#[test]
fn spares_and_files_for_reuse_are_no_error_by_themselves() {
    let directory = Directory::new();
    assert_has(&check(&directory.segment(5), 0), &["skipped, a spare"]);
    let pool = directory.path("log/0000000001.pool");
    assert_has(&check(&pool, 0), &["skipped, kept for reuse"]);
    fs::write(directory.segment(5), b"").expect("writable");
    directory.check(0);
    check(&directory.segment(5), 0);
}

#[test]
fn a_torn_tail_is_ok_at_the_end_only() {
    let directory = Directory::new();
    directory.tear(4, 3);
    let text = directory.check(0);
    assert_has(
        &text,
        &[
            "0000000004.log: ok, 3 records, torn tail at offset 256",
            "the log up to record 28\n",
        ],
    );
    directory.tear(3, 3);
    let text = directory.check(1);
    assert_has(
        &text,
        &[
            "at offset 256 record 24 is missing, but valid records follow at",
            "0000000004.log (it begins with record 26)",
            "the server refuses to start",
        ],
    );
}

#[test]
fn a_gap_is_damage_unless_a_power_failure_can_have_made_it() {
    // How much in front of a record was not synced, the note of the former run, whether the server starts.
    for (unsynced_bytes, note, starts) in [
        (u64::MAX, "", false),
        (u64::MAX, OTHER_BOOT, true),
        (0, OTHER_BOOT, false),
    ] {
        let directory = Directory::new();
        directory.write_segment(4, 26, 5, unsynced_bytes);
        directory.flip(&directory.segment(4), offset_of(2) + 30);
        directory.note(note);
        check(&directory.segment(4), 1);
        let text = directory.check(i32::from(!starts));
        if starts {
            assert_has(
                &text,
                &[
                    "torn tail at offset 192",
                    "a start cuts the log there",
                    "the log up to record 27\n",
                ],
            );
        } else {
            assert_has(&text, &["offset 192", "the server refuses to start"]);
        }
    }
}

#[test]
fn after_a_power_failure_segments_behind_a_hole_are_dropped_only_if_none_was_synced() {
    for (unsynced_bytes, exit_code) in [(u64::MAX, 0), (0, 1)] {
        let directory = Directory::new();
        directory.tear(3, 3);
        directory.write_segment(4, 26, 5, unsynced_bytes);
        directory.note(OTHER_BOOT);
        let text = directory.check(exit_code);
        if exit_code == 0 {
            assert_has(
                &text,
                &[
                    "0000000004.log: skipped, it is behind the torn tail",
                    "the log up to record 23\n",
                ],
            );
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    let directory = Directory::new();
    fs::remove_file(directory.segment(3)).expect("removable");
    let text = directory.check(1);
    assert_has(
        &text,
        &[
            "segment 3, with which the log behind the snapshot begins, is missing",
            "the server refuses to start",
        ],
    );

    let directory = Directory::new();
    directory.write_segment(3, 22, 4, 0);
    assert_has(
        &directory.check(1),
        &["the log begins with record 22, but is needed from record 21 on"],
    );
}

#[test]
fn a_log_that_ends_before_what_was_durable_is_damage() {
    let directory = Directory::new();
    let path = directory.path("MANIFEST");
    let mut manifest = Manifest::read(&path).expect("readable");
    manifest.next_lsn = 40;
    manifest.write(&path).expect("writable");
    assert_has(
        &directory.check(1),
        &["the log ends at record 30, but records up to 39 were durable"],
    );
    directory.note("boot unknown\nlog no\n");
    directory.check(0);
}

#[test]
fn segments_of_another_log_are_damage() {
    let directory = Directory::new();
    fs::copy(directory.segment(3), directory.segment(4)).expect("writable");
    assert_has(
        &directory.check(1),
        &["the header is that of another segment (number 3)"],
    );
    fs::write(directory.segment(4), b"something else").expect("writable");
    assert_has(&directory.check(1), &["this is not a log segment"]);
}

#[test]
fn what_a_start_does_not_need_is_reported_and_does_not_hinder_it() {
    let directory = Directory::new();
    directory.flip(&directory.segment(2), offset_of(4) + 30);
    assert_has(
        &directory.check(1),
        &[
            "0000000002.log: damaged, log record is damaged at offset 320",
            "damaged, but a start uses snapshot-20.larder",
        ],
    );
}

#[test]
fn a_damaged_snapshot_makes_a_start_fall_back_with_a_longer_log() {
    let directory = Directory::new();
    let length = fs::metadata(directory.snapshot(20)).expect("there").len();
    directory.flip(&directory.snapshot(20), length as usize - 1);
    assert_has(
        &directory.check(1),
        &[
            "snapshot-20.larder: damaged",
            "0000000002.log: ok, 10 records\n",
            "damaged, but a start uses snapshot-10.larder and the log up to record 30",
        ],
    );
    fs::remove_file(directory.segment(2)).expect("removable");
    assert_has(&directory.check(1), &["segment 2", "refuses to start"]);
    fs::remove_file(directory.snapshot(10)).expect("removable");
    assert_has(
        &directory.check(1),
        &[
            "snapshot-10.larder: damaged, the manifest names it, but it is missing",
            "no snapshot can be used",
        ],
    );
}

#[test]
fn a_directory_without_a_usable_manifest() {
    let directory = Directory::new();
    directory.flip(&directory.path("MANIFEST"), 25);
    let text = directory.check(1);
    assert_has(
        &text,
        &[
            "manifest",
            "0000000003.log: ok",
            "the server refuses to start",
        ],
    );
    fs::remove_file(directory.path("MANIFEST")).expect("removable");
    assert_has(
        &directory.check(1),
        &["there is data but no MANIFEST", "snapshot-20.larder: ok"],
    );
    let empty = tempfile::tempdir().expect("a temporary directory");
    assert_has(&check(empty.path(), 2), &["this is no data directory"]);
}
