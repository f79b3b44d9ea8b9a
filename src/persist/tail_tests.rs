//! However the log is replayed, by one thread or several, before serving or when keys are touched: the result is the same.

use super::log::TornTail;
use super::mock_cold::MockCold;
use super::recovery_tests::{
    Change, Checked, DATABASES, KEYS, Mode, Model, Operation, Small, key, operations,
};
use crate::keyspace::Deadline;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage_format::log::{Scanned, Scanner};

/// What happens to the files before they are recovered.
#[derive(Clone, Debug)]
enum Harm {
    None,
    /// A byte of a record's frame is changed: of the one so far into the last segment's, of 1000.
    FlippedByte(usize),
    /// The log ends there.
    Cut(usize),
    /// The cold tier is lost.
    NoCold,
    /// The cold tier is one that lost more of its writes.
    OlderCold(usize),
}

fn harms() -> impl Strategy<Value = Harm> {
    prop_oneof![
        3 => Just(Harm::None),
        2 => (0usize..1000).prop_map(Harm::FlippedByte),
        2 => (0usize..1000).prop_map(Harm::Cut),
        2 => Just(Harm::NoCold),
        2 => (0usize..12).prop_map(Harm::OlderCold),
    ]
}

/// Keys are demoted, a snapshot cuts the log, and what is in the log then builds on cold records.
fn endings() -> impl Strategy<Value = Vec<Operation>> {
    let demoted = (0..KEYS).map(|key| Operation::Demote { database: 0, key });
    let change = prop_oneof![
        4 => Just(Change::Append),
        2 => Just(Change::SetDeadline(1 << 44)),
        1 => Just(Change::Delete),
        1 => Just(Change::SetAdd(1)),
    ];
    let of_key = |(key, change)| Operation::Change {
        database: 0,
        key,
        change,
    };
    let changes = proptest::collection::vec((0..KEYS, change).prop_map(of_key), 0..30);
    let front: Vec<Operation> = demoted.chain([Operation::Snapshot]).collect();
    prop_oneof![
        Just(Vec::new()),
        changes.prop_map(move |changes| [front.clone(), changes].concat()),
    ]
}

/// All that can be seen of a recovered server: counts, what was found, and every key.
#[derive(Debug, PartialEq)]
struct Seen {
    counts: Vec<(u64, u64)>,
    records: u64,
    effects: Option<(u64, u64)>,
    torn: Option<TornTail>,
    next_lsn: u64,
    keys: Model,
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for item in std::fs::read_dir(from).expect("listed") {
        let path = item.expect("listed").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_directory(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}

/// The last segment that has records, and where these begin.
fn last_segment(path: &Path) -> Option<(PathBuf, Vec<u8>, Vec<u64>)> {
    let items = std::fs::read_dir(path.join("log")).expect("listed");
    let mut files: Vec<_> = items.map(|item| item.expect("listed").path()).collect();
    files.sort();
    files.into_iter().rev().find_map(|file| {
        let bytes = std::fs::read(&file).expect("readable");
        let mut offsets = Vec::new();
        let mut scanner = Scanner::new(&bytes).ok()?;
        while let Scanned::Record(record) = scanner.next_record() {
            offsets.push(record.offset);
        }
        (!offsets.is_empty()).then_some((file, bytes, offsets))
    })
}

fn harm(path: &Path, cold: &Arc<MockCold>, harm: &Harm) -> Arc<MockCold> {
    let (share, is_cut) = match harm {
        Harm::None => return Arc::clone(cold),
        Harm::NoCold => return Arc::default(),
        Harm::OlderCold(kept) => {
            cold.crash(*kept);
            return Arc::clone(cold);
        }
        Harm::FlippedByte(share) => (*share, false),
        Harm::Cut(share) => (*share, true),
    };
    let Some((file, mut bytes, offsets)) = last_segment(path) else {
        return Arc::clone(cold);
    };
    let offset = offsets[offsets.len() * share / 1000] as usize + share % 20;
    match is_cut {
        true => bytes[offset..].fill(0),
        false => bytes[offset] ^= 0x10,
    }
    std::fs::write(&file, bytes).expect("written");
    Arc::clone(cold)
}

/// Recovers a copy of a directory and looks at all of it; or what is wrong with it, and whether the start said so.
fn recover_copy(original: &Path, cold: &MockCold, mode: Mode) -> Result<Seen, (String, bool)> {
    let at = original.with_extension("copy");
    drop(std::fs::remove_dir_all(&at));
    copy_directory(original, &at);
    let cold = Arc::new(cold.copy());
    let mut server =
        Small::try_start(&at, cold, mode.options()).map_err(|error| (error.to_string(), true))?;
    let report = server.recovered.report.clone();
    let counts = |server: &Small| -> Vec<(u64, u64)> {
        (0..DATABASES)
            .map(|database| server.keyspace.key_counts(database))
            .collect()
    };
    let first_counts = counts(&server);
    server
        .recovered
        .lazy
        .load_all(&server.keyspace)
        .map_err(|error| (error.to_string(), false))?;
    assert!(server.recovered.lazy.is_complete());
    let last_counts = counts(&server);
    let keys_of = |counts: &[(u64, u64)]| -> Vec<u64> { counts.iter().map(|of| of.0).collect() };
    assert_eq!(
        keys_of(&first_counts),
        keys_of(&last_counts),
        "the keys are counted at once"
    );
    let mut keys = Model::new();
    for database in 0..DATABASES {
        for number in 0..KEYS {
            if let Some(state) = server.get(database, &key(number)) {
                keys.insert((database, key(number)), state);
            }
        }
    }
    Ok(Seen {
        counts: last_counts,
        records: report.records,
        effects: (report.records_pending == 0)
            .then_some((report.effects_applied, report.effects_skipped)),
        torn: report.torn,
        next_lsn: server
            .recovered
            .journaling
            .log()
            .map_or(0, |log| log.last_lsn() + 1),
        keys,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_way_of_replaying_gives_what_one_thread_gives(
        operations in operations(),
        ending in endings(),
        kept in 0usize..12,
        damage in harms(),
    ) {
        let temporary = tempfile::tempdir().expect("a directory");
        let path = temporary.path().join("data");
        let server = Small::start(&path, Arc::new(MockCold::default()));
        let mut checked = Checked { path: &path, server: Some(server), model: Model::new() };
        let written = operations.iter().chain(&ending).filter(|operation| !matches!(operation, Operation::Crash { .. }));
        for (number, operation) in written.enumerate() {
            checked.run(number, operation);
        }
        let cold = checked.server.take().expect("it runs").crash(kept);
        let cold = harm(&path, &cold, &damage);
        let expected = recover_copy(&path, &cold, Mode { workers: 1, at_a_time: 1, waits: false });
        for (workers, at_a_time) in [(2, 1000), (3, 3), (8, 1000)] {
            let seen = recover_copy(&path, &cold, Mode { workers, at_a_time, waits: false });
            prop_assert_eq!(&seen, &expected, "{} threads", workers);
        }
        for (workers, at_a_time) in [(1, 1000), (8, 3)] {
            let seen = recover_copy(&path, &cold, Mode { workers, at_a_time, waits: true });
            match (seen, &expected) {
                (Ok(mut seen), Ok(expected)) => {
                    // What was replayed later is not in the report.
                    seen.effects = seen.effects.or(expected.effects);
                    prop_assert_eq!(&seen, expected);
                }
                // What is wrong in the log itself is told at the start, what does not fit its base later, too.
                (Err((_, true)), Err(_)) => {}
                (Err((error, false)), Err((expected, _))) => {
                    let is_misfit = |text: &str| text.contains("does not fit") || text.contains("the cold tier is damaged");
                    prop_assert!(is_misfit(&error) && is_misfit(expected), "{error}; {expected}");
                }
                (seen, expected) => prop_assert!(false, "{seen:?} instead of {expected:?}"),
            }
        }
    }
}

/// Threads that read and write keys of their own while the log is replayed part by part.
#[test]
fn keys_are_what_the_log_says_while_it_is_replayed() {
    const THREADS: usize = 3;
    const KEYS_OF_EACH: usize = 1500;
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    for number in 0..THREADS * KEYS_OF_EACH {
        let name = key(number);
        server.with_key(0, &name, |keys| {
            keys.set_text(&name, b"begin", Deadline::None)
                .expect("room");
        });
        if number.is_multiple_of(3) {
            server.with_key(0, &name, |keys| {
                let effect = storage_format::Effect::Append { bytes: b"-end" };
                keys.apply(&name, effect).expect("a text");
            });
        } else if number.is_multiple_of(5) {
            server.with_key(0, &name, |keys| keys.delete(&name).expect("room"));
        }
    }
    let expected = |number: usize| match number {
        _ if number.is_multiple_of(3) => Some(&b"begin-end"[..]),
        _ if number.is_multiple_of(5) => None,
        _ => Some(&b"begin"[..]),
    };
    let counts = server.keyspace.key_counts(0);
    let mode = Mode {
        workers: 2,
        at_a_time: 100,
        waits: true,
    };
    let cold = server.crash(0);
    let server = Small::try_start(temporary.path(), cold, mode.options()).expect("in order");
    let lazy = &server.recovered.lazy;
    assert!(server.recovered.report.records_pending > 0 && !lazy.is_complete());
    assert_eq!(server.keyspace.key_counts(0), counts);
    let recorder = server.recovered.journaling.recorder();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (server, recorder) = (&server, &recorder);
            scope.spawn(move || {
                let mut journal = crate::keyspace::Journal::default();
                for step in 0..KEYS_OF_EACH {
                    let number = (step * 7 % KEYS_OF_EACH) * THREADS + thread;
                    let name = key(number);
                    let hash = server.keyspace.hash(&name);
                    let lazy = &server.recovered.lazy;
                    lazy.ensure_loaded(server.keyspace.generation(0), hash, &server.keyspace)
                        .expect("in order");
                    let mut keys = crate::keyspace::Keys::lock(
                        &server.keyspace,
                        &[hash],
                        &mut journal,
                        &**recorder,
                        0,
                        1,
                    );
                    assert_eq!(keys.text(&name).expect("a text"), expected(number));
                    let effect = storage_format::Effect::Append { bytes: b"!" };
                    keys.apply(&name, effect).expect("a text");
                    keys.commit();
                }
            });
        }
        scope.spawn(|| while lazy.load_next(&server.keyspace).expect("in order") {});
    });
    assert!(lazy.is_complete());
    assert_eq!(lazy.log_parts_left(), 0);
    // Once more: what was written meanwhile stands behind what was replayed.
    let cold = server.crash(0);
    let mut server = Small::try_start(temporary.path(), cold, mode.options()).expect("in order");
    let mut found = BTreeMap::new();
    for number in 0..THREADS * KEYS_OF_EACH {
        found.insert(number, server.get(0, &key(number)).map(|(_, text, _)| text));
    }
    for (number, text) in found {
        let text = text.expect("each was appended to");
        assert_eq!(
            text.strip_suffix(b"!"),
            Some(expected(number).unwrap_or_default())
        );
    }
}

#[test]
fn a_flushed_database_is_not_replayed_and_a_swapped_one_goes_along() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    for number in 0..500 {
        for database in 0..DATABASES {
            let (name, text) = (key(number), database.to_string());
            server.with_key(database, &name, |keys| {
                keys.set_text(&name, text.as_bytes(), Deadline::None)
                    .expect("room");
            });
        }
    }
    let mode = Mode {
        workers: 2,
        at_a_time: 100,
        waits: true,
    };
    let cold = server.crash(0);
    let mut server = Small::try_start(temporary.path(), cold, mode.options()).expect("in order");
    server.flush(0);
    server.swap();
    let counts = |server: &Small| {
        (0..DATABASES)
            .map(|of| server.keyspace.key_counts(of).0)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts(&server), [500, 0]);
    for number in 0..500 {
        assert_eq!(
            server.get(0, &key(number)).map(|of| of.1),
            Some(b"1".to_vec())
        );
        assert_eq!(server.get(1, &key(number)), None);
    }
    let lazy = &server.recovered.lazy;
    lazy.load_all(&server.keyspace).expect("in order");
    assert_eq!(counts(&server), [500, 0]);
    let cold = server.crash(0);
    let server = Small::try_start(temporary.path(), cold, mode.options()).expect("in order");
    assert_eq!(counts(&server), [500, 0]);
}

/// Of several effects that do not fit, the first in the log's order is told by a start that replays them. Where they are
/// replayed later, their keys cannot be used, others can, and the log stays.
#[test]
fn what_does_not_fit_is_told_or_keeps_its_keys_from_being_used() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("data");
    let mut server = Small::start(&path, Arc::new(MockCold::default()));
    for number in 0..300 {
        server.with_key(0, &key(number), |keys| {
            keys.set_text(&key(number), b"text", Deadline::None)
                .expect("room");
        });
    }
    let generation = server.keyspace.generation(0);
    let recorder = server.recovered.journaling.recorder();
    for number in [200, 7, 100] {
        let mut effects = Vec::new();
        let record = storage_format::EffectRecord {
            generation,
            key: &key(number),
            previous_lsn: 999,
            effect: storage_format::Effect::Append { bytes: b"more" },
        };
        record.encode(&mut effects);
        recorder.append(&effects);
    }
    drop(recorder);
    let cold = server.crash(0);
    for (workers, at_a_time) in [(1, 1), (1, 1000), (2, 100), (8, 1000)] {
        let mode = Mode {
            workers,
            at_a_time,
            waits: false,
        };
        let (error, _) = recover_copy(&path, &cold, mode).expect_err("it does not fit");
        assert!(
            error.contains("log record 301 does not fit: append of \"key:200\""),
            "{error}"
        );
    }
    let mode = Mode {
        workers: 2,
        at_a_time: 100,
        waits: true,
    };
    let mut server = Small::try_start(&path, cold, mode.options()).expect("the log is in order");
    let lazy = Arc::clone(&server.recovered.lazy);
    for _ in 0..2 {
        for number in [7, 100, 200] {
            let hash = server.keyspace.hash(&key(number));
            let error = lazy
                .ensure_loaded(generation, hash, &server.keyspace)
                .expect_err("it does not fit");
            assert!(error.to_string().contains("does not fit"), "{error}");
        }
    }
    let is_usable = |number: &usize| {
        let hash = server.keyspace.hash(&key(*number));
        lazy.ensure_loaded(generation, hash, &server.keyspace)
            .is_ok()
    };
    let usable: Vec<usize> = (0..300).filter(is_usable).collect();
    assert!(usable.len() > 200, "{}", usable.len());
    for number in usable {
        assert_eq!(
            server.get(0, &key(number)).map(|of| of.1),
            Some(b"text".to_vec())
        );
    }
    assert!(
        server.recovered.snapshotter.take().is_err(),
        "the log is still needed"
    );
}
