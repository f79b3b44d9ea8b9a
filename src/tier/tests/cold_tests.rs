//! The store by itself.

use super::super::cold::{Cold, Probe};
use super::super::cold_write::ColdWrite;
use super::super::{ColdBudget, ColdRecord};
use super::fixture::{check_index, reopen};
use storage_format::ValueKind;
use storage_format::record::{ColdHeader, ColdKey};

fn put(
    cold: &Cold,
    key: ColdKey<'_>,
    lsn: u64,
    deadline_ms: Option<u64>,
    former_ms: Option<u64>,
    value: &[u8],
) {
    let header = ColdHeader {
        lsn,
        deadline_ms: deadline_ms.unwrap_or(0),
        kind: ValueKind::String,
    };
    let mut record = header.encode().to_vec();
    record.extend_from_slice(value);
    let mut batch = ColdWrite::new(cold);
    batch.put(key, &record, lsn, deadline_ms, former_ms);
    batch.commit().expect("written");
}

#[test]
fn a_store_is_empty_until_something_is_written_and_keeps_it_over_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = reopen(directory.path());
    let key = ColdKey {
        generation: 3,
        hash: 9,
        key: b"key",
    };
    assert!(cold.is_empty());
    assert!(matches!(cold.probe(&key.to_vec()), Ok(Probe::Absent)));
    put(&cold, key, 5, Some(77), None, b"value");
    assert!(!cold.is_empty() && cold.may_contain(3, 9, b"key"));
    let expected = ColdRecord {
        lsn: 5,
        deadline_ms: Some(77),
        kind: ValueKind::String,
        encoded: b"value".to_vec(),
    };
    assert_eq!(
        cold.get(3, 9, b"key").expect("read"),
        Some(expected.clone())
    );
    cold.flush().expect("flushed");
    let sequence = cold.sequence();
    drop(cold);
    let cold = reopen(directory.path());
    assert!(!cold.is_empty());
    assert_eq!(cold.sequence(), sequence);
    assert_eq!(cold.get(3, 9, b"key").expect("read"), Some(expected));
    assert!(!cold.may_contain(3, 9, b"other") && !cold.may_contain(2, 9, b"key"));
}

#[test]
fn flushes_and_writes_wait_while_rocksdb_has_stopped_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = reopen(directory.path());
    let write = |hash: u64| {
        let key = ColdKey {
            generation: 0,
            hash,
            key: b"key",
        };
        put(&cold, key, hash, None, None, b"value");
    };
    // One file of the first level is too many; nothing is compacted before there are a thousand.
    let stops = [
        ("level0_file_num_compaction_trigger", "1000"),
        ("level0_slowdown_writes_trigger", "1"),
        ("level0_stop_writes_trigger", "1"),
    ];
    let goes_on = [
        ("level0_slowdown_writes_trigger", "1000"),
        ("level0_stop_writes_trigger", "1000"),
    ];
    let set = |options: &[(&str, &str)]| {
        let set = cold.database.set_options_cf(&cold.records(), options);
        set.expect("options that RocksDB knows");
    };
    write(1);
    cold.flush().expect("flushed");
    write(2);
    set(&stops);
    assert!(cold.property("rocksdb.is-write-stopped") > 0);
    std::thread::scope(|scope| {
        let flushed = scope.spawn(|| cold.flush());
        let written = scope.spawn(|| write(3));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!flushed.is_finished() && !written.is_finished());
        set(&goes_on);
        flushed.join().expect("no panic").expect("flushed");
        written.join().expect("written");
    });
    assert!(cold.get(0, 3, b"key").expect("read").is_some());
    assert_eq!(cold.property("rocksdb.num-immutable-mem-table"), 0);
}

#[test]
fn what_was_not_flushed_is_gone_together_with_its_deadline() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = reopen(directory.path());
    put(
        &cold,
        ColdKey {
            generation: 0,
            hash: 1,
            key: b"kept",
        },
        1,
        Some(50),
        None,
        b"1",
    );
    cold.flush().expect("flushed");
    put(
        &cold,
        ColdKey {
            generation: 0,
            hash: 2,
            key: b"lost",
        },
        2,
        Some(60),
        None,
        b"2",
    );
    // What a crash leaves: the files as they are, copied while the store is open.
    let crashed = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(crashed.path().join("cold")).expect("made");
    for file in std::fs::read_dir(directory.path().join("cold")).expect("listed") {
        let file = file.expect("an entry");
        if file.file_name() != "LOCK" {
            let copied = std::fs::copy(
                file.path(),
                crashed.path().join("cold").join(file.file_name()),
            );
            // A file that RocksDB has just removed is not needed.
            assert!(copied.is_ok() || !file.path().exists());
        }
    }
    let cold = reopen(crashed.path());
    assert!(cold.get(0, 1, b"kept").expect("read").is_some());
    assert!(cold.get(0, 2, b"lost").expect("read").is_none());
    check_index(&cold);
}

#[test]
fn deadlines_come_due_in_order_once_and_again_when_noted() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = reopen(directory.path());
    for number in 0..20u8 {
        let key = [number];
        put(
            &cold,
            ColdKey {
                generation: 0,
                hash: u64::from(number),
                key: &key,
            },
            1,
            Some(100 - u64::from(number)),
            None,
            b"",
        );
    }
    let deadlines = |now_ms, limit| -> Vec<u64> {
        cold.due(now_ms, limit)
            .expect("read")
            .iter()
            .map(|due| due.deadline_ms)
            .collect()
    };
    assert_eq!(deadlines(80, 10), []);
    assert_eq!(deadlines(85, 3), [81, 82, 83]);
    assert_eq!(deadlines(85, 3), [84, 85]);
    assert_eq!(deadlines(85, 3), []);
    cold.note_deadline(84);
    assert_eq!(deadlines(85, 3), [84, 85]);
    put(
        &cold,
        ColdKey {
            generation: 0,
            hash: 99,
            key: b"late",
        },
        2,
        Some(10),
        None,
        b"",
    );
    assert_eq!(
        deadlines(85, 1),
        [10],
        "an earlier deadline that was written later"
    );
}

#[test]
fn a_replaced_record_leaves_no_index_entry_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = reopen(directory.path());
    let key = ColdKey {
        generation: 0,
        hash: 1,
        key: b"key",
    };
    for (lsn, deadline_ms, former_ms) in [
        (1, Some(10), None),
        (2, Some(20), Some(10)),
        (3, Some(20), Some(20)),
        (4, None, Some(20)),
        (5, Some(5), None),
    ] {
        put(&cold, key, lsn, deadline_ms, former_ms, b"");
        check_index(&cold);
    }
    let mut batch = ColdWrite::new(&cold);
    batch.delete(key, Some(5));
    batch.commit().expect("written");
    check_index(&cold);
    assert!(cold.get(0, 1, b"key").expect("read").is_none());
}

#[test]
fn a_dropped_generation_is_gone_and_the_others_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = reopen(directory.path());
    for generation in [0, 1, 2, u32::MAX] {
        put(
            &cold,
            ColdKey {
                generation,
                hash: 1,
                key: b"key",
            },
            1,
            Some(10),
            None,
            b"",
        );
    }
    cold.drop_generation(1).expect("dropped");
    let left = |generation| cold.get(generation, 1, b"key").expect("read").is_some();
    assert_eq!([0, 1, 2, u32::MAX].map(left), [true, false, true, true]);
    check_index(&cold);
    for generation in [0, 2, u32::MAX] {
        cold.drop_generation(generation).expect("dropped");
    }
    assert!(cold.is_empty());
    assert_eq!(cold.due(100, 10).expect("read"), []);
}

#[test]
fn a_snapshot_shows_what_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = reopen(directory.path());
    put(
        &cold,
        ColdKey {
            generation: 0,
            hash: 1,
            key: b"a",
        },
        1,
        None,
        None,
        b"old",
    );
    let snapshot = cold.snapshot();
    put(
        &cold,
        ColdKey {
            generation: 0,
            hash: 1,
            key: b"a",
        },
        2,
        None,
        None,
        b"new",
    );
    put(
        &cold,
        ColdKey {
            generation: 0,
            hash: 2,
            key: b"b",
        },
        3,
        None,
        None,
        b"new",
    );
    let mut cursor = snapshot.cursor(0, 0);
    let (key, header, value) = cursor.current().expect("read").expect("a record");
    assert_eq!((key.key, header.lsn, value), (&b"a"[..], 1, &b"old"[..]));
    cursor.advance();
    assert!(cursor.current().expect("read").is_none());
}

#[test]
fn the_smallest_budget_takes_many_records() {
    let directory = tempfile::tempdir().expect("a directory");
    let cold = Cold::open(
        directory.path().join("cold"),
        ColdBudget::for_maxmemory(24 << 20),
    )
    .expect("opens");
    for number in 0..20_000u64 {
        let key = number.to_be_bytes();
        put(
            &cold,
            ColdKey {
                generation: 0,
                hash: number,
                key: &key,
            },
            number + 1,
            None,
            None,
            &[b'x'; 500],
        );
    }
    assert!(
        cold.memory_bytes() <= cold.budget().total_bytes() * 3 / 2,
        "{}",
        cold.memory_bytes()
    );
    for number in (0..20_000u64).step_by(997) {
        assert!(
            cold.get(0, number, &number.to_be_bytes())
                .expect("read")
                .is_some()
        );
    }
}
