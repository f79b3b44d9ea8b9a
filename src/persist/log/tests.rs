//! The log as its users see it: whatever is appended comes back, in order, after any restart.

use super::index::Piece;
use super::replay::ReplayStart;
use super::*;
use crate::error::InternalError;
use crate::keyspace::Recorder;
use proptest::prelude::*;
use std::path::Path;
use std::time::{Duration, Instant};
use storage_format::Placement;

pub(super) const SEED: u64 = 0xfeed_5eed_0bad_cafe;

pub(super) fn small(directory: &Path) -> LogOptions {
    LogOptions {
        segment_bytes: SEGMENT_BYTES_MIN,
        ..LogOptions::new(directory, SEED)
    }
}

pub(super) fn start() -> ReplayStart {
    ReplayStart {
        segment_number: 0,
        first_lsn: 1,
        hash_seed: SEED,
        after_reboot: false,
        follows_unlogged: false,
    }
}

/// LSNs and bodies.
type Records = Vec<(u64, Vec<u8>)>;

/// Reads all records from `start` on.
pub(super) fn read(
    directory: &Path,
    start: ReplayStart,
) -> Result<(Records, LogEnd), InternalError> {
    let options = ReadOptions {
        placement: &Placement::new(SEED),
        workers: 3,
        stretch_records_max: 10,
    };
    let mut records = Vec::new();
    let end = replay(directory, start, &options, &mut |pieces, _| {
        records.extend(pieces.iter().map(record_of));
        Ok(())
    })?;
    Ok((records, end))
}

/// The record of a piece. In these tests records are not made of effects, so each is a barrier.
fn record_of(piece: &Piece) -> (u64, Vec<u8>) {
    let record = match piece {
        Piece::Barrier(barrier) => barrier.record(),
        Piece::Stretch(_) => None,
    };
    let record = record.expect("a record where one was found");
    (record.lsn, record.body.to_vec())
}

pub(super) fn open(directory: &Path) -> Log {
    let (_, end) = read(directory, start()).expect("the log is in order");
    Log::open(small(directory), end).expect("the log opens")
}

/// What record `lsn` holds in these tests.
pub(super) fn body(lsn: u64, bytes: usize) -> Vec<u8> {
    (0..bytes.max(1))
        .map(|index| (lsn as usize * 31 + index * 7) as u8 | 1)
        .collect()
}

#[test]
fn records_come_back_in_order_across_segments() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    let mut expected = Vec::new();
    for lsn in 1..=2000u64 {
        let body = body(lsn, (lsn as usize * 13) % 300);
        assert!(log.has_room(body.len()));
        assert_eq!(log.append(&body), lsn);
        expected.push((lsn, body));
    }
    assert_eq!(log.last_lsn(), 2000);
    assert!(log.statistics().segments > 10);
    drop(log);
    let (records, end) = read(directory.path(), start()).expect("in order");
    assert_eq!(records, expected);
    assert_eq!((end.next_lsn, end.torn), (2001, None));
}

#[test]
fn a_record_larger_than_a_segment_gets_a_segment_of_its_own_size() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    let sizes = [
        10,
        3 * SEGMENT_BYTES_MIN,
        20,
        SEGMENT_BYTES_MIN,
        7000,
        9000,
        30,
    ];
    for (lsn, size) in (1..).zip(sizes) {
        assert!(log.has_room(size));
        assert_eq!(log.append(&body(lsn, size)), lsn);
    }
    drop(log);
    let (records, _) = read(directory.path(), start()).expect("in order");
    let expected: Records = (1..)
        .zip(sizes)
        .map(|(lsn, size)| (lsn, body(lsn, size)))
        .collect();
    assert_eq!(records, expected);
}

#[test]
fn threads_that_asked_for_room_find_it_and_lsn_order_is_file_order() {
    const THREADS: u64 = 8;
    const RECORDS: u64 = 400;
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || {
                for record in 0..RECORDS {
                    // Every tenth record is larger than a segment's slack.
                    let bytes = if record % 10 == 0 { 5000 } else { 60 };
                    assert!(log.has_room(bytes));
                    log.append(
                        &[
                            &thread.to_le_bytes()[..],
                            &record.to_le_bytes(),
                            &vec![7; bytes - 16],
                        ]
                        .concat(),
                    );
                }
            });
        }
    });
    assert!(log.is_writable());
    assert_eq!(log.last_lsn(), THREADS * RECORDS);
    drop(log);
    let (records, _) = read(directory.path(), start()).expect("in order");
    let mut next = [0u64; THREADS as usize];
    for (index, (lsn, body)) in records.iter().enumerate() {
        assert_eq!(*lsn, index as u64 + 1);
        let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("8 bytes"));
        let thread = number(0) as usize;
        assert_eq!(
            number(8),
            next[thread],
            "each thread's records keep their order"
        );
        next[thread] += 1;
    }
    assert_eq!(next, [RECORDS; THREADS as usize]);
}

#[test]
fn waiting_for_durability_works_under_every_policy() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for policy in [
        SyncPolicy::Always,
        SyncPolicy::EverySecond,
        SyncPolicy::Never,
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let log = open(directory.path());
        log.set_sync_policy(policy);
        for lsn in 1..=300u64 {
            assert!(log.has_room(200));
            log.append(&body(lsn, 200));
        }
        runtime.block_on(log.wait_durable(100)).expect("synced");
        assert!(log.durable_lsn() >= 100);
        log.ensure_durable(u64::MAX).expect("synced");
        assert_eq!(log.durable_lsn(), 300);
        assert!(log.statistics().syncs > 0);
        assert_eq!(log.sync_policy(), policy);
    }
}

#[test]
fn after_closing_nobody_waits_for_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    log.append(b"one");
    log.close().expect("synced");
    assert_eq!(log.durable_lsn(), 1);
    log.append(b"two");
    assert!(log.ensure_durable(2).is_err());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    assert!(runtime.block_on(log.wait_durable(2)).is_err());
}

#[test]
fn rotation_cuts_the_log_at_a_record() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    let first = log.rotate().expect("an empty segment need not be rotated");
    assert_eq!(first.last_lsn, 0);
    for lsn in 1..=5 {
        log.append(&body(lsn, 50));
    }
    log.prepare_rotation().expect("there is space");
    let second = log.rotate().expect("a spare is there");
    assert_eq!(second.last_lsn, 5);
    assert!(second.segment_number > first.segment_number);
    assert_eq!(log.statistics().bytes_since_rotation, 0);
    log.append(&body(6, 50));
    assert_eq!(log.remove_before(second.segment_number), 1);
    drop(log);
    let from_cut = ReplayStart {
        segment_number: second.segment_number,
        first_lsn: 6,
        ..start()
    };
    let (records, end) = read(directory.path(), from_cut).expect("in order");
    assert_eq!(records, [(6, body(6, 50))]);
    assert_eq!(end.next_lsn, 7);
}

/// Waits for something that a background thread does about once a second.
fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_recovers() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, end) = read(directory.path(), start()).expect("empty");
    let options = LogOptions {
        quota_bytes: 3 * SEGMENT_BYTES_MIN as u64,
        pool_segments: 0,
        ..small(directory.path())
    };
    let log = Log::open(options, end).expect("opens");
    let mut lsn = 0;
    while log.has_room(100) {
        lsn += 1;
        assert_eq!(log.append(&body(lsn, 100)), lsn);
        assert!(lsn < 10_000, "the quota holds");
    }
    assert!(!log.is_writable());
    assert!(
        lsn as usize * 128 > 2 * SEGMENT_BYTES_MIN,
        "most of the space is used"
    );
    assert!(log.statistics().file_bytes <= 3 * SEGMENT_BYTES_MIN as u64);
    log.sync_now().expect("what was taken is made durable");
    assert!(!log.has_room(100), "still full");
    assert!(log.rotate().is_none(), "there is no segment to go on in");
    assert_eq!(log.remove_before(3), 2);
    assert!(eventually(|| log.has_room(100)), "space came back");
    assert!(log.is_writable());
    lsn += 1;
    assert_eq!(log.append(&body(lsn, 100)), lsn);
    drop(log);
    let (records, _) = read(
        directory.path(),
        ReplayStart {
            segment_number: 3,
            first_lsn: lsn - 1,
            ..start()
        },
    )
    .expect("in order");
    assert_eq!(
        records,
        [(lsn - 1, body(lsn - 1, 100)), (lsn, body(lsn, 100))]
    );
}

#[test]
fn an_append_that_never_asked_for_room_fails_the_log_and_not_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, end) = read(directory.path(), start()).expect("empty");
    let options = LogOptions {
        quota_bytes: SEGMENT_BYTES_MIN as u64,
        ..small(directory.path())
    };
    let log = Log::open(options, end).expect("opens");
    assert_eq!(log.append(&body(1, 100)), 1);
    assert!(!log.has_room(4 * SEGMENT_BYTES_MIN));
    assert!(log.is_writable(), "a large record alone was refused");
    assert_eq!(log.append(&body(2, 4 * SEGMENT_BYTES_MIN)), 2);
    assert!(!log.is_writable());
    assert!(!log.has_room(1));
    assert!(log.ensure_durable(2).is_err());
    drop(log);
    let (records, end) = read(directory.path(), start()).expect("in order");
    assert_eq!((records.len(), end.next_lsn), (1, 2));
}

#[derive(Clone, Debug)]
enum Operation {
    Append(usize),
    Sync,
    Rotate,
    RemoveOld,
    Reopen,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        20 => (1usize..900).prop_map(Operation::Append),
        1 => (2000usize..40_000).prop_map(Operation::Append),
        1 => Just(Operation::Sync),
        1 => Just(Operation::Rotate),
        1 => Just(Operation::RemoveOld),
        2 => Just(Operation::Reopen),
    ];
    proptest::collection::vec(operation, 1..120)
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    records: Records,
    /// Segment and LSN in front of the last cut that removed what was older.
    cut: (u64, u64),
}

impl Model {
    fn next_lsn(&self) -> u64 {
        self.records.last().map_or(self.cut.1, |(lsn, _)| *lsn) + 1
    }

    fn reopen(&self, directory: &Path) -> Log {
        let start = ReplayStart {
            segment_number: self.cut.0,
            first_lsn: self.cut.1 + 1,
            ..start()
        };
        let (records, end) = read(directory, start).expect("the log is in order");
        assert_eq!(records, self.records);
        assert_eq!((end.next_lsn, end.torn.clone()), (self.next_lsn(), None));
        Log::open(small(directory), end).expect("opens")
    }

    fn run(&mut self, log: Log, operation: &Operation, directory: &Path) -> Log {
        match operation {
            Operation::Append(bytes) => {
                let lsn = self.next_lsn();
                let body = body(lsn, *bytes);
                assert!(log.has_room(body.len()));
                assert_eq!(log.append(&body), lsn);
                self.records.push((lsn, body));
            }
            Operation::Sync => log.sync_now().expect("synced"),
            Operation::Rotate | Operation::RemoveOld => {
                log.prepare_rotation().expect("there is space");
                let rotation = log.rotate().expect("a spare is there");
                assert_eq!(rotation.last_lsn, self.next_lsn() - 1);
                if matches!(operation, Operation::RemoveOld) {
                    log.remove_before(rotation.segment_number);
                    self.cut = (rotation.segment_number, rotation.last_lsn);
                    self.records.clear();
                }
            }
            Operation::Reopen => {
                drop(log);
                return self.reopen(directory);
            }
        }
        log
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Recycled files are part of this: `RemoveOld` fills the pool, later segments come from it.
    #[test]
    fn whatever_is_done_the_log_holds_what_the_model_holds(operations in operations()) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut model = Model::default();
        let mut log = model.reopen(directory.path());
        for operation in &operations {
            log = model.run(log, operation, directory.path());
        }
        drop(log);
        drop(model.reopen(directory.path()));
    }
}

#[test]
fn syncs_that_replies_wait_for_are_observed() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    let observed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = observed.clone();
    log.observe_syncs(Box::new(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }));
    let append_and_sync = || {
        assert!(log.has_room(10));
        log.append(&body(1, 10));
        log.sync_now().expect("synced");
    };
    append_and_sync();
    assert_eq!(observed.load(std::sync::atomic::Ordering::SeqCst), 0);
    log.set_sync_policy(SyncPolicy::Always);
    append_and_sync();
    // The observer is told after those who wait.
    log.close().expect("closed");
    assert!(observed.load(std::sync::atomic::Ordering::SeqCst) > 0);
}
