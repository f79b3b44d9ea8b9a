//! What start-up makes of logs that did not end in order.

use super::replay::ReplayStart;
use super::tests::{SEED, body, open, read, small, start};
use super::*;
use crate::keyspace::Recorder;
use std::path::{Path, PathBuf};

/// A log of these many records in a directory, closed; `synced` of them synced before the others were written.
fn write(directory: &Path, records: u64, synced: u64) -> Vec<(u64, Vec<u8>)> {
    let log = open(directory);
    let mut written = Vec::new();
    for lsn in 1..=records {
        assert!(log.has_room(44));
        log.append(&body(lsn, 44));
        written.push((lsn, body(lsn, 44)));
        if lsn == synced {
            log.sync_now().expect("synced");
        }
    }
    written
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let listing = super::inventory::list(directory).expect("listed");
    let is_used = |path: &PathBuf| std::fs::read(path).expect("readable")[0] != 0;
    listing
        .segments
        .into_iter()
        .map(|file| file.path)
        .filter(is_used)
        .collect()
}

/// The offset behind the records of a log of one segment.
fn end_of(directory: &Path) -> usize {
    let (_, end) = read(directory, start()).expect("in order");
    end.last.expect("a segment").end as usize
}

#[test]
fn cut_or_zeroed_at_any_byte_the_complete_records_remain() {
    let original = tempfile::tempdir().expect("a directory");
    let written = write(original.path(), 5, 0);
    let segment = segments(original.path()).remove(0);
    let bytes = std::fs::read(&segment).expect("readable");
    let end = end_of(original.path());
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(segment.file_name().expect("a name"));
    for cut in storage_format::log::SEGMENT_HEADER_LENGTH..=end {
        for is_zeroed in [false, true] {
            let mut damaged = bytes[..cut].to_vec();
            damaged.resize(if is_zeroed { bytes.len() } else { cut }, 0);
            std::fs::write(&path, damaged).expect("written");
            let (records, log_end) =
                read(directory.path(), start()).expect("a torn tail is no damage");
            let complete = (cut - 64) / 64;
            assert_eq!(records, written[..complete.min(5)], "cut at {cut}");
            // Going on: the next record takes the torn one's place, and nothing comes back.
            let log = Log::open(small(directory.path()), log_end).expect("opens");
            let next = log.append(b"next");
            assert_eq!(next, records.len() as u64 + 1);
            drop(log);
            let (again, log_end) = read(directory.path(), start()).expect("in order");
            assert_eq!(
                (again.len(), log_end.torn),
                (records.len() + 1, None),
                "cut at {cut}"
            );
            assert_eq!(again.last(), Some(&(next, b"next".to_vec())));
            for file in super::inventory::list(directory.path())
                .expect("listed")
                .segments
            {
                std::fs::remove_file(file.path).expect("removed");
            }
        }
    }
}

#[test]
fn a_changed_byte_is_damage_if_records_follow_and_a_torn_tail_if_none_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let written = write(directory.path(), 4, 0);
    let segment = segments(directory.path()).remove(0);
    let bytes = std::fs::read(&segment).expect("readable");
    let end = end_of(directory.path());
    let last = end - 64;
    for offset in 0..end {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 0x10;
        std::fs::write(&segment, damaged).expect("written");
        match read(directory.path(), start()) {
            Ok((records, log_end)) => {
                assert!(offset >= last, "damage at {offset} went unnoticed");
                assert_eq!(records, written[..3]);
                assert_eq!(log_end.torn.map(|torn| torn.offset), Some(last as u64));
            }
            Err(error) => {
                assert!(offset < last, "damage at {offset}: {error}");
                let text = error.to_string();
                assert!(text.contains(&*segment.to_string_lossy()), "{text}");
                assert!(
                    offset < 64 || text.contains("larderctl check") && text.contains("offset"),
                    "{text}"
                );
            }
        }
    }
}

#[test]
fn after_a_reboot_missing_pages_are_a_torn_tail_unless_they_were_synced() {
    for synced in [0, 300] {
        let directory = tempfile::tempdir().expect("a directory");
        // Records of 64 bytes; the gap is the page from 4096 on, and records follow behind it.
        let written = write(directory.path(), 200, synced.min(130));
        let segment = segments(directory.path()).remove(0);
        let mut bytes = std::fs::read(&segment).expect("readable");
        bytes[4096..8192].fill(0);
        std::fs::write(&segment, bytes).expect("written");
        let after_reboot = ReplayStart {
            after_reboot: true,
            ..start()
        };
        assert!(
            read(directory.path(), start()).is_err(),
            "without a reboot this is damage"
        );
        match read(directory.path(), after_reboot) {
            Ok((records, log_end)) => {
                assert_eq!(synced, 0);
                assert_eq!(records, written[..63]);
                assert!(log_end.torn.is_some());
                drop(Log::open(small(directory.path()), log_end).expect("opens"));
                assert_eq!(
                    read(directory.path(), start()).expect("cut for good").0,
                    written[..63]
                );
            }
            Err(error) => assert_eq!(synced, 300, "{error}"),
        }
    }
}

#[test]
fn after_a_reboot_segments_behind_a_gap_are_dropped_unless_they_were_synced() {
    for is_synced in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), 600, if is_synced { 400 } else { 0 });
        let files = segments(directory.path());
        assert_eq!(files.len(), 3);
        let mut bytes = std::fs::read(&files[0]).expect("readable");
        let length = bytes.len();
        bytes[length - 4096..].fill(0);
        std::fs::write(&files[0], bytes).expect("written");
        assert!(read(directory.path(), start()).is_err());
        match read(
            directory.path(),
            ReplayStart {
                after_reboot: true,
                ..start()
            },
        ) {
            Ok((records, log_end)) => {
                assert!(!is_synced);
                assert_eq!(log_end.next_lsn, records.len() as u64 + 1);
                let log = Log::open(small(directory.path()), log_end).expect("opens");
                log.append(b"next");
                drop(log);
                let (again, _) = read(directory.path(), start()).expect("in order");
                assert_eq!(again.len(), records.len() + 1);
            }
            Err(error) => assert!(is_synced, "{error}"),
        }
    }
}

#[test]
fn missing_and_foreign_segments_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), 600, 0);
    let files = segments(directory.path());
    let foreign = ReplayStart {
        hash_seed: SEED + 1,
        ..start()
    };
    assert!(read(directory.path(), foreign).is_err());
    let middle = std::fs::read(&files[1]).expect("readable");
    std::fs::remove_file(&files[1]).expect("removed");
    let error = read(directory.path(), start())
        .expect_err("a segment is missing")
        .to_string();
    assert!(error.contains("is missing"), "{error}");
    std::fs::write(&files[1], middle).expect("written");
    std::fs::remove_file(&files[0]).expect("removed");
    let error = read(directory.path(), start())
        .expect_err("the first segment is missing")
        .to_string();
    assert!(error.contains("begins with record"), "{error}");
}

#[test]
fn a_log_that_ends_before_the_cut_is_left_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), 10, 0);
    let behind = ReplayStart {
        first_lsn: 50,
        ..start()
    };
    let (records, end) = read(directory.path(), behind).expect("all of it is in the snapshot");
    assert_eq!((records.len(), end.next_lsn), (0, 50));
    let log = Log::open(small(directory.path()), end).expect("opens");
    assert_eq!(log.append(b"fifty"), 50);
    drop(log);
    let (records, _) = read(directory.path(), behind).expect("in order");
    assert_eq!(records, [(50, b"fifty".to_vec())]);
}

#[test]
fn skipped_numbers_begin_a_segment_and_are_a_gap_to_everybody_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut expected = write(directory.path(), 5, 0);
    let (_, mut end) = read(directory.path(), start()).expect("in order");
    end.skip_to(3);
    assert_eq!(end.next_lsn, 6, "nothing is given twice");
    end.skip_to(100);
    let log = Log::open(small(directory.path()), end).expect("opens");
    assert_eq!(log.append(b"hundred"), 100);
    expected.push((100, b"hundred".to_vec()));
    drop(log);
    assert!(read(directory.path(), start()).is_err());
    let unlogged = ReplayStart {
        follows_unlogged: true,
        ..start()
    };
    let (records, end) = read(directory.path(), unlogged).expect("the gap is expected");
    assert_eq!((records, end.next_lsn), (expected, 101));
}
