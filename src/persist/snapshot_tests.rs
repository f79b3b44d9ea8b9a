//! Snapshots are the state at their cut, whatever happens meanwhile; and what start-up makes of damaged ones.

use super::mock_cold::MockCold;
use super::recovery_tests::{DATABASES, Small, key, options};
use super::*;
use crate::keyspace::walk::{self, Batch, Walk};
use crate::keyspace::{Deadline, Journal, Keys, Keyspace, Placement};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage_format::{Effect, ValueKind};

/// Encoded values by key.
type Contents = BTreeMap<Vec<u8>, (u64, Vec<u8>)>;

fn walk_all(keyspace: &Keyspace, generation: u32, mut between: impl FnMut()) -> Contents {
    let (mut walk, mut batch, mut contents) = (
        Walk::new(keyspace, generation),
        Batch::default(),
        Contents::new(),
    );
    let mut last = None;
    while walk.next_batch(&mut batch) {
        let done: Result<(), ()> = batch.for_each(|entry| {
            let order = (entry.hash, entry.key.to_vec());
            assert!(last.as_ref() < Some(&order), "in order, and every key once");
            last = Some(order);
            contents.insert(entry.key.to_vec(), (entry.lsn, entry.encoded.to_vec()));
            Ok(())
        });
        done.expect("nothing fails");
        between();
    }
    contents
}

struct Writer<'a> {
    keyspace: &'a Keyspace,
    recorder: NoLog,
    journal: Journal,
}

impl Writer<'_> {
    fn run(&mut self, number: u64) {
        let key = key((number * 7919 % 5000) as usize);
        let text = number.to_string().into_bytes();
        // Spread, so that every key sees every kind of change.
        let effect = match number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 {
            0 => Effect::Delete,
            1 => Effect::Append { bytes: &text },
            2 => Effect::SetDeadline {
                deadline_ms: 1 << 45,
            },
            _ => Effect::Put {
                kind: ValueKind::String,
                deadline_ms: 0,
                encoded: &text,
            },
        };
        let hashes = [self.keyspace.hash(&key)];
        let mut keys = Keys::lock(
            self.keyspace,
            &hashes,
            &mut self.journal,
            &self.recorder,
            0,
            1,
        );
        keys.apply(&key, effect).expect("all are texts");
        keys.commit();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Changes, splits of segments and new keys in the middle of the walk make no difference.
    #[test]
    fn a_walk_sees_the_state_at_the_cut(before in 0u64..20_000, per_segment in 0u64..200, seed in any::<u64>()) {
        let keyspace = Keyspace::new(1, Placement::new(seed));
        let mut writer = Writer { keyspace: &keyspace, recorder: NoLog::starting_at(1), journal: Journal::default() };
        (0..before).for_each(|number| writer.run(number));
        let expected = {
            walk::begin(&mut keyspace.lock_all(), writer.recorder.last_lsn(), &[0]);
            let expected = walk_all(&keyspace, 0, || {});
            walk::end(&keyspace);
            expected
        };
        prop_assert_eq!(expected.len() as u64, keyspace.key_counts(0).0);
        walk::begin(&mut keyspace.lock_all(), writer.recorder.last_lsn(), &[0]);
        let mut number = before;
        let seen = walk_all(&keyspace, 0, || {
            for _ in 0..per_segment {
                writer.run(number);
                number += 3;
            }
        });
        walk::end(&keyspace);
        prop_assert_eq!(seen, expected);
        for shard in keyspace.lock_all() {
            prop_assert!(shard.cut.is_none());
            for table in shard.tables.iter() {
                prop_assert!((0..table.segments()).all(|segment| table.segment_at(segment).pre_images.is_empty()));
            }
        }
    }
}

/// Threads that write keys of their own while snapshots are taken and keys are demoted; then the process is killed.
#[test]
fn snapshots_under_load_recover_exactly() {
    const THREADS: usize = 3;
    let temporary = tempfile::tempdir().expect("a directory");
    let mut cold = Arc::new(MockCold::default());
    let mut believed: Vec<BTreeMap<Vec<u8>, Option<Vec<u8>>>> = vec![BTreeMap::new(); THREADS];
    for round in 0..3u64 {
        let server = Small::start(temporary.path(), cold.clone());
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (thread, believed) in believed.iter_mut().enumerate() {
                let (server, is_over) = (&server, &is_over);
                scope.spawn(move || write_until(server, thread, round, believed, is_over));
            }
            scope.spawn(|| demote_until(&server, THREADS, &is_over));
            for _ in 0..4 {
                server.recovered.snapshotter.take().expect("taken");
            }
            is_over.store(true, Ordering::Relaxed);
        });
        cold = server.crash(round as usize * 40);
    }
    let mut server = Small::start(temporary.path(), cold);
    let expected_count = believed
        .iter()
        .flat_map(|keys| keys.values())
        .filter(|value| value.is_some())
        .count();
    assert_eq!(server.keyspace.key_counts(0).0, expected_count as u64);
    assert!(expected_count > 100);
    for (key, value) in believed.into_iter().flatten() {
        assert_eq!(
            server.get(0, &key).map(|(_, value, _)| value),
            value,
            "{:?}",
            String::from_utf8_lossy(&key)
        );
    }
}

fn load_key(thread: usize, number: u64) -> Vec<u8> {
    format!("{thread}:{number}").into_bytes()
}

fn write_until(
    server: &Small,
    thread: usize,
    round: u64,
    believed: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    is_over: &AtomicBool,
) {
    let recorder = server.recovered.journaling.recorder();
    let mut journal = Journal::default();
    let mut number = round;
    while !is_over.load(Ordering::Relaxed) {
        number += 1;
        let key = load_key(thread, number * 7919 % 400);
        let hash = server.keyspace.hash(&key);
        server
            .recovered
            .lazy
            .ensure_loaded(0, hash, &server.keyspace)
            .expect("in order");
        // Only this thread writes the key, so once it is resident or absent it may only leave: then try again.
        let departures = server.keyspace.lock(Keyspace::shard_of(hash)).departures;
        server.cold.promote(&server.keyspace, 0, &key);
        let mut keys = Keys::lock(&server.keyspace, &[hash], &mut journal, &*recorder, 0, 1);
        if keys.shard_mut(hash).departures != departures {
            continue;
        }
        if number.is_multiple_of(5) {
            keys.delete(&key).expect("there is room");
        } else if number.is_multiple_of(3) {
            let text = vec![b'x'; (number % 3000) as usize];
            keys.set_text(&key, &text, Deadline::None)
                .expect("there is room");
        } else {
            keys.apply(
                &key,
                Effect::Append {
                    bytes: number.to_string().as_bytes(),
                },
            )
            .expect("a text");
        }
        keys.commit();
        believed.insert(
            key.clone(),
            keys.text(&key).expect("a text").map(<[u8]>::to_vec),
        );
    }
}

fn demote_until(server: &Small, threads: usize, is_over: &AtomicBool) {
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        number += 1;
        let key = load_key(number as usize % threads, number * 31 % 400);
        // As the demoter does: durable first, and only what was durable then.
        server
            .recovered
            .journaling
            .ensure_durable(u64::MAX)
            .expect("synced");
        let durable_lsn = server
            .recovered
            .journaling
            .log()
            .map_or(0, |log| log.durable_lsn());
        server.cold.demote(&server.keyspace, 0, &key, durable_lsn);
    }
}

fn write_keys(server: &mut Small, keys: usize) {
    for number in 0..keys {
        let text = format!("value {number}").repeat(20).into_bytes();
        server.with_key(0, &key(number), |keys| {
            keys.set_text(&key(number), &text, Deadline::None)
                .expect("there is room")
        });
    }
}

fn snapshot_files(path: &std::path::Path) -> Vec<PathBuf> {
    let items = std::fs::read_dir(path.join("snapshots")).expect("listed");
    let mut files: Vec<PathBuf> = items.map(|item| item.expect("listed").path()).collect();
    files.sort();
    files
}

fn flip_byte(path: &std::path::Path, offset: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[offset] ^= 0x40;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_damaged_snapshot_falls_back_to_the_one_before() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    write_keys(&mut server, 2000);
    server.recovered.snapshotter.take().expect("taken");
    server.with_key(0, b"between", |keys| {
        keys.set_text(b"between", b"1", Deadline::None)
            .expect("there is room")
    });
    server.with_key(0, &key(5), |keys| {
        keys.delete(&key(5)).expect("there is room")
    });
    server.recovered.snapshotter.take().expect("taken");
    server.with_key(0, b"behind", |keys| {
        keys.set_text(b"behind", b"2", Deadline::None)
            .expect("there is room")
    });
    let files = snapshot_files(temporary.path());
    assert_eq!(files.len(), 2);
    let cold = server.crash(0);
    flip_byte(&files[1], 5000);
    for _ in 0..2 {
        let mut server = Small::start(temporary.path(), cold.clone());
        assert_eq!(
            server
                .recovered
                .report
                .snapshot
                .as_ref()
                .map(|used| used.cut_lsn),
            Some(2000)
        );
        assert!(server.recovered.report.is_recounted);
        assert_eq!(server.keyspace.key_counts(0).0, 2001);
        assert!(server.get(0, b"between").is_some() && server.get(0, b"behind").is_some());
        assert!(server.get(0, &key(5)).is_none() && server.get(0, &key(6)).is_some());
    }
    let server = Small::start(temporary.path(), cold.clone());
    server.recovered.snapshotter.take().expect("taken");
    drop(server);
    let server = Small::start(temporary.path(), cold);
    assert!(
        !server.recovered.report.is_recounted
            && server.recovered.report.damaged_snapshots.is_empty()
    );
    assert_eq!(server.keyspace.key_counts(0).0, 2001);
}

#[test]
fn without_a_usable_snapshot_nothing_is_served() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    write_keys(&mut server, 100);
    server.recovered.snapshotter.take().expect("taken");
    let cold = server.crash(0);
    let file = snapshot_files(temporary.path()).remove(0);
    flip_byte(&file, 100);
    let error = Small::try_start(temporary.path(), cold.clone(), options(true))
        .err()
        .expect("refused")
        .to_string();
    assert!(
        error.contains("no snapshot can be used") && error.contains("larderctl check"),
        "{error}"
    );
    flip_byte(&file, 100);
    assert_eq!(
        Small::start(temporary.path(), cold)
            .keyspace
            .key_counts(0)
            .0,
        100,
        "the refusal changed nothing"
    );
}

#[test]
fn a_missing_log_is_not_taken_for_an_empty_one() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    write_keys(&mut server, 10);
    server.recovered.snapshotter.take().expect("taken");
    write_keys(&mut server, 10);
    let cold = server.crash(0);
    for item in std::fs::read_dir(temporary.path().join("log")).expect("listed") {
        std::fs::remove_file(item.expect("listed").path()).expect("removed");
    }
    let error = Small::try_start(temporary.path(), cold, options(true))
        .err()
        .expect("refused")
        .to_string();
    assert!(error.contains("is missing"), "{error}");
}

#[test]
fn serving_begins_before_the_snapshot_is_loaded() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    write_keys(&mut server, 5000);
    server.recovered.snapshotter.take().expect("taken");
    let cold = server.crash(0);
    let mut server = Small::start(temporary.path(), cold);
    let (loaded, blocks) = server.recovered.lazy.progress();
    assert!(loaded == 0 && blocks > 5, "{loaded} of {blocks}");
    assert_eq!(server.keyspace.key_counts(0).0, 5000);
    assert!(server.get(0, &key(1234)).is_some());
    assert!(server.get(0, b"absent").is_none());
    assert!((1..=2).contains(&server.recovered.lazy.progress().0));
    while server
        .recovered
        .lazy
        .load_next(&server.keyspace)
        .expect("in order")
    {}
    assert!(server.recovered.lazy.is_complete());
    assert_eq!(server.recovered.lazy.progress(), (blocks, blocks));
    assert_eq!(server.keyspace.key_counts(0).0, 5000);
}

#[test]
fn old_snapshots_and_segments_go_when_a_new_one_is_complete() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    for _ in 0..5 {
        write_keys(&mut server, 3000);
        server.recovered.snapshotter.take().expect("taken");
        assert!(snapshot_files(temporary.path()).len() <= 2);
    }
    assert!(server.recovered.journaling.statistics().segments <= 4);
    let status = server.recovered.snapshotter.status();
    assert_eq!(
        (status.taken, status.failed, status.is_running),
        (5, 0, false)
    );
    assert_eq!(status.last.map(|report| report.entries), Some(3000));
    assert!(!server.recovered.journaling.log_outgrew(100, 0));
}

#[test]
fn without_a_log_an_orderly_end_keeps_everything_and_a_crash_what_was_saved() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::try_start(
        temporary.path(),
        Arc::new(MockCold::default()),
        options(false),
    )
    .expect("a new directory");
    write_keys(&mut server, 50);
    server.recovered.snapshotter.take().expect("taken");
    server
        .recovered
        .snapshotter
        .note_clean_shutdown()
        .expect("written");
    let cold = server.crash(0);
    let mut server = Small::try_start(temporary.path(), cold, options(false)).expect("in order");
    assert_eq!(
        (
            server.keyspace.key_counts(0).0,
            server.recovered.report.is_recounted
        ),
        (50, false)
    );
    // Not saved, but in the cold tier; and one that is lost.
    server.with_key(0, b"cold", |keys| {
        keys.set_text(b"cold", b"1", Deadline::None)
            .expect("there is room")
    });
    server.cold.demote(&server.keyspace, 0, b"cold", u64::MAX);
    server.with_key(0, &key(7), |keys| {
        keys.set_text(&key(7), b"newer", Deadline::None)
            .expect("there is room")
    });
    server.cold.demote(&server.keyspace, 0, &key(7), u64::MAX);
    server.with_key(0, b"lost", |keys| {
        keys.set_text(b"lost", b"1", Deadline::None)
            .expect("there is room")
    });
    server.flush(1);
    let newest_generation = server.keyspace.generation(1);
    let cold = server.crash(usize::MAX);
    let mut server = Small::try_start(temporary.path(), cold, options(false)).expect("in order");
    assert!(server.recovered.report.is_recounted);
    assert_eq!(server.keyspace.key_counts(0).0, 51);
    assert!(server.get(0, b"cold").is_some() && server.get(0, b"lost").is_none());
    let newest = server.get(0, &key(7)).map(|(_, value, _)| value);
    assert_eq!(
        newest,
        Some(b"newer".to_vec()),
        "the newest version wins, wherever it is"
    );
    assert_eq!(server.keyspace.generation(1), newest_generation);
    assert!(
        server.recovered.journaling.last_lsn() >= 51,
        "no LSN is given twice"
    );
    assert_eq!(DATABASES, server.keyspace.databases());
}

#[test]
fn the_log_can_be_given_up_and_taken_up_again() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut server = Small::start(temporary.path(), Arc::new(MockCold::default()));
    write_keys(&mut server, 20);
    let cold = server.crash(0);
    let server = Small::try_start(temporary.path(), cold, options(false)).expect("in order");
    assert_eq!(
        snapshot_files(temporary.path()).len(),
        1,
        "what the log held is in a snapshot before it is given up"
    );
    let cold = server.crash(0);
    let log_files = std::fs::read_dir(temporary.path().join("log"))
        .expect("listed")
        .count();
    assert_eq!(log_files, 0);
    let mut server = Small::start(temporary.path(), cold);
    assert_eq!(server.keyspace.key_counts(0).0, 20);
    server.with_key(0, b"logged", |keys| {
        keys.set_text(b"logged", b"1", Deadline::None)
            .expect("there is room")
    });
    let cold = server.crash(0);
    let server = Small::start(temporary.path(), cold);
    assert_eq!(server.keyspace.key_counts(0).0, 21);
}
