//! Keys on their way out, and what may happen to them meanwhile.

use super::super::victims::Choice;
use super::super::{Admission, Loader, TierSettings};
use super::fixture::{Fixture, TestLog, reopen, text_of};
use crate::error::InternalError;
use crate::keyspace::{Deadline, Journal, Keys, Keyspace, Temperature};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The key's cold version and deadline.
fn cold_version(fixture: &Fixture, key: &[u8]) -> Option<(u64, Option<u64>)> {
    let record = fixture
        .cold()
        .get(0, fixture.keyspace.hash(key), key)
        .expect("read");
    record.map(|record| (record.lsn, record.deadline_ms))
}

fn interrupt(fixture: &Arc<Fixture>, action: impl FnOnce(&Fixture) + Send + 'static) {
    let interrupted = Arc::clone(fixture);
    *fixture.log.interruption.lock() = Some(Box::new(move || action(&interrupted)));
}

#[test]
fn the_log_is_durable_before_the_record_is_written() {
    let fixture = Fixture::new();
    fixture.set(b"a", b"1", None);
    fixture.set(b"b", b"2", None);
    assert_eq!(
        fixture
            .tier
            .demote_keys(0, &[b"b".to_vec()])
            .expect("demoted"),
        1
    );
    assert_eq!(fixture.log.durable_lsn.load(Ordering::SeqCst), 2);
    assert_eq!(cold_version(&fixture, b"b"), Some((2, None)));
    assert_eq!(fixture.temperature(b"a"), Some(Temperature::Hot));
}

#[test]
fn a_clean_entry_is_dropped_without_writing() {
    let fixture = Fixture::new();
    fixture.set(b"key", b"value", None);
    fixture.tier.demote_all(0).expect("demoted");
    assert_eq!(fixture.get(b"key"), Some(b"value".to_vec()));
    let sequence = fixture.cold().sequence();
    assert_eq!(fixture.tier.demote_all(0).expect("demoted"), 1);
    assert_eq!(fixture.cold().sequence(), sequence);
    assert_eq!(fixture.get(b"key"), Some(b"value".to_vec()));
}

#[test]
fn a_key_that_changes_meanwhile_stays() {
    let fixture = Arc::new(Fixture::new());
    fixture.set(b"key", b"old", None);
    interrupt(&fixture, |fixture| {
        fixture.set(b"key", b"new", Some(u64::MAX >> 20))
    });
    assert_eq!(fixture.tier.demote_all(0).expect("demoted"), 0);
    assert_eq!(fixture.temperature(b"key"), Some(Temperature::Hot));
    assert_eq!(cold_version(&fixture, b"key"), Some((1, None)));
    fixture.tier.demote_all(0).expect("demoted");
    assert_eq!(
        cold_version(&fixture, b"key"),
        Some((2, Some(u64::MAX >> 20)))
    );
    fixture.check_index();
}

#[test]
fn a_key_that_is_deleted_meanwhile_does_not_come_back() {
    let fixture = Arc::new(Fixture::new());
    fixture.set(b"key", b"value", Some(u64::MAX >> 20));
    interrupt(&fixture, |fixture| assert!(fixture.delete(b"key")));
    fixture.tier.demote_all(0).expect("demoted");
    assert_eq!(fixture.get(b"key"), None);
    assert!(cold_version(&fixture, b"key").is_some());
    assert_eq!(
        fixture
            .tier
            .drain_deletions(fixture.cold())
            .expect("drained"),
        1
    );
    assert_eq!(cold_version(&fixture, b"key"), None);
    assert_eq!(fixture.get(b"key"), None);
    fixture.check_index();
    assert_eq!(fixture.keyspace.key_counts(0), (0, 0));
}

#[test]
fn a_database_that_is_flushed_meanwhile_stays_empty() {
    let fixture = Arc::new(Fixture::new());
    fixture.set(b"key", b"value", None);
    interrupt(&fixture, |fixture| {
        let generation = fixture.keyspace.take_generation();
        let mut shards = fixture.keyspace.lock_all();
        drop(fixture.keyspace.flush_database(&mut shards, 0, generation));
    });
    fixture.tier.demote_all(0).expect("demoted");
    fixture.tier.drop_generation(0).expect("dropped");
    assert_eq!(fixture.get(b"key"), None);
    assert!(fixture.tier.everything_is_hot());
}

#[test]
fn a_deleted_key_that_lives_again_loses_its_former_record_only() {
    let fixture = Fixture::new();
    fixture.set(b"key", b"old", Some(u64::MAX >> 20));
    fixture.tier.demote_all(0).expect("demoted");
    assert!(fixture.delete(b"key"));
    fixture.set(b"key", b"new", Some(u64::MAX >> 21));
    assert_eq!(
        fixture.tier.demote_all(0).expect("demoted"),
        0,
        "not before its deletion was applied"
    );
    fixture.tier.flush_for_snapshot().expect("flushed");
    assert_eq!(cold_version(&fixture, b"key"), None);
    fixture.check_index();
    assert_eq!(fixture.get(b"key"), Some(b"new".to_vec()));
    fixture.delete(b"key");
    let hash = fixture.keyspace.hash(b"key");
    let shard = fixture.keyspace.lock(Keyspace::shard_of(hash));
    assert!(
        shard.find(0, hash, b"key").is_none() && shard.deletions.is_empty(),
        "there is no record to follow it"
    );
    assert!(shard.cold_deadlines.is_empty());
}

#[test]
fn a_deletion_that_is_overtaken_by_another_one_is_applied_once_more() {
    let fixture = Arc::new(Fixture::new());
    fixture.set(b"key", b"old", None);
    fixture.tier.demote_all(0).expect("demoted");
    fixture.delete(b"key");
    interrupt(&fixture, |fixture| {
        fixture.set(b"key", b"new", None);
        fixture.delete(b"key");
    });
    for expected in [1, 1, 0] {
        assert_eq!(
            fixture
                .tier
                .drain_deletions(fixture.cold())
                .expect("drained"),
            expected
        );
        assert_eq!(fixture.get(b"key"), None);
    }
    assert_eq!(cold_version(&fixture, b"key"), None);
}

#[test]
fn deadlines_that_change_while_the_key_is_hot_leave_one_index_entry() {
    let fixture = Fixture::new();
    let far = |offset: u64| Some((1u64 << 46) - offset);
    for (value, deadline) in [
        (b"1", far(1)),
        (b"2", far(2)),
        (b"3", None),
        (b"4", far(4)),
        (b"5", far(4)),
    ] {
        fixture.set(b"key", value, deadline);
        fixture.set(b"key", value, deadline.map(|deadline| deadline - 100));
        fixture
            .run(0, b"key", false, |keys| keys.set_deadline(b"key", deadline))
            .expect("set");
        fixture.tier.demote_all(0).expect("demoted");
        assert_eq!(
            cold_version(&fixture, b"key").map(|(_, deadline)| deadline),
            Some(deadline)
        );
        fixture.check_index();
    }
}

#[test]
fn a_failed_write_changes_nothing() {
    let fixture = Fixture::new();
    fixture.set(b"old", b"1", Some(1 << 45));
    fixture.tier.demote_all(0).expect("demoted");
    fixture.set(b"old", b"2", Some(1 << 44));
    fixture.set(b"new", b"3", None);
    fixture.log.fails.store(true, Ordering::SeqCst);
    assert!(fixture.tier.demote_all(0).is_err());
    fixture.log.fails.store(false, Ordering::SeqCst);
    assert_eq!(fixture.get(b"old"), Some(b"2".to_vec()));
    assert_eq!(fixture.get(b"new"), Some(b"3".to_vec()));
    assert_eq!(cold_version(&fixture, b"old"), Some((1, Some(1 << 45))));
    fixture.tier.demote_all(0).expect("demoted");
    fixture.check_index();
    assert_eq!(cold_version(&fixture, b"old"), Some((2, Some(1 << 44))));
}

#[test]
fn a_failed_write_under_which_the_key_was_deleted_keeps_the_index_true() {
    let fixture = Arc::new(Fixture::new());
    fixture.set(b"key", b"1", Some(1 << 45));
    fixture.tier.demote_all(0).expect("demoted");
    fixture.set(b"key", b"2", Some(1 << 44));
    interrupt(&fixture, |fixture| {
        fixture.delete(b"key");
        fixture.log.fails.store(true, Ordering::SeqCst);
    });
    assert!(fixture.tier.demote_all(0).is_err());
    fixture.log.fails.store(false, Ordering::SeqCst);
    fixture.tier.flush_for_snapshot().expect("flushed");
    fixture.check_index();
    assert_eq!(cold_version(&fixture, b"key"), None);
}

#[test]
fn the_hand_spares_what_was_used_and_takes_it_the_next_time() {
    let fixture = Fixture::new();
    for number in 0..1000u32 {
        fixture.set(&number.to_be_bytes(), b"value", None);
    }
    let lap = |bytes| {
        let mut hand = fixture.tier.lock_writer();
        let mut entries = 0;
        loop {
            let choice = Choice {
                bytes,
                ignores_marks: false,
            };
            match fixture
                .tier
                .sweep(fixture.cold(), &mut hand, choice)
                .expect("swept")
                .entries
            {
                0 => return entries,
                some => entries += some,
            }
        }
    };
    assert_eq!(lap(1 << 10), 0, "everything was just written");
    assert!(fixture.get(&5u32.to_be_bytes()).is_some());
    assert_eq!(lap(1 << 10), 999);
    assert_eq!(
        fixture.temperature(&5u32.to_be_bytes()),
        Some(Temperature::Hot)
    );
    assert_eq!(fixture.keyspace.key_counts(0).0, 1000);
}

#[test]
fn demotion_by_pressure_leaves_warm_copies_of_larger_values() {
    let fixture = Fixture::new();
    fixture.set(b"large", &[b'x'; 2000], None);
    fixture.set(b"small", b"value", None);
    let choice = Choice {
        bytes: 1 << 20,
        ignores_marks: true,
    };
    let mut hand = fixture.tier.lock_writer();
    while fixture
        .tier
        .sweep(fixture.cold(), &mut hand, choice)
        .expect("swept")
        .entries
        > 0
    {}
    drop(hand);
    assert_eq!(fixture.temperature(b"large"), Some(Temperature::Warm));
    assert_eq!(fixture.temperature(b"small"), Some(Temperature::Cold));
}

#[test]
fn cold_records_survive_a_restart() {
    let fixture = Fixture::new();
    for number in 0..500u32 {
        fixture.set(
            &number.to_be_bytes(),
            &text_of(u64::from(number), 100),
            None,
        );
    }
    fixture.tier.demote_all(0).expect("demoted");
    fixture.tier.flush_for_snapshot().expect("flushed");
    let Fixture {
        keyspace,
        tier,
        directory,
        ..
    } = fixture;
    tier.stop();
    drop(tier);
    let cold = reopen(directory.path());
    for number in 0..500u32 {
        let key = number.to_be_bytes();
        let record = cold
            .get(0, keyspace.hash(&key), &key)
            .expect("read")
            .expect("there");
        assert_eq!(record.encoded, text_of(u64::from(number), 100));
    }
}

/// A limit that nothing can meet: all keys leave, then writers are refused instead of waiting for ever.
#[test]
fn the_background_thread_demotes_all_it_can_and_says_when_that_is_not_enough() {
    let fixture = Fixture::new();
    for number in 0..3000u32 {
        fixture.set(
            &number.to_be_bytes(),
            &text_of(u64::from(number), 300),
            None,
        );
    }
    fixture.tier.configure(TierSettings {
        maxmemory_bytes: 1 << 20,
        ..TierSettings::default()
    });
    fixture.tier.start().expect("threads");
    while fixture.tier.admission() != Admission::Refuse {
        std::thread::yield_now();
    }
    assert_eq!(fixture.tier.statistics().demotions, 3000);
    fixture.tier.stop();
    let entries: usize = (0..256)
        .map(|shard| {
            fixture
                .keyspace
                .lock(shard)
                .table(0)
                .map_or(0, |table| table.entries())
        })
        .sum();
    assert_eq!(entries, 0);
}

/// True if a debug assertion stops this.
fn is_stopped(work: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err()
}

#[test]
fn the_writers_lock_is_never_taken_under_a_shards() {
    let fixture = Fixture::new();
    let shard = fixture.keyspace.lock(1);
    assert!(is_stopped(|| drop(fixture.tier.lock_writer())));
    drop(shard);
    let hand = fixture.tier.lock_writer();
    drop((fixture.keyspace.lock(1), hand));
}

#[test]
fn the_cold_tier_is_not_asked_under_a_lock() {
    let fixture = Fixture::new();
    fixture.set(b"key", b"value", None);
    fixture.tier.demote_all(0).expect("demoted");
    let hash = fixture.keyspace.hash(b"key");
    type Ask = fn(&Fixture, u64);
    let asks: [(&str, Ask); 4] = [
        ("get", |fixture, hash| {
            fixture.cold().get(0, hash, b"key").expect("read");
        }),
        ("cursor", |fixture, hash| {
            drop(fixture.cold().cursor(0, hash))
        }),
        ("flush", |fixture, _| {
            fixture.cold().flush().expect("flushed")
        }),
        ("drop", |fixture, _| {
            fixture.cold().drop_generation(7).expect("dropped");
        }),
    ];
    for (name, ask) in asks {
        ask(&fixture, hash);
        let shard = fixture.keyspace.lock(1);
        assert!(is_stopped(|| ask(&fixture, hash)), "{name}");
        // A probe never waits.
        assert!(fixture.cold().may_contain(0, hash, b"key"));
        drop(shard);
    }
}

/// The rest of a log: it says that `key` is `new`.
struct RestOfLog {
    keyspace: Arc<Keyspace>,
    is_replayed: AtomicBool,
    is_damaged: bool,
}

impl Loader for RestOfLog {
    fn load_at(&self, _generation: u32, _hash: u64) -> Result<u64, InternalError> {
        Ok(u64::MAX)
    }

    fn is_replayed(&self, first_hash: u64, last_hash: u64) -> bool {
        let hash = self.keyspace.hash(b"key");
        !(first_hash..=last_hash).contains(&hash) || self.is_replayed.load(Ordering::SeqCst)
    }

    fn replay(&self, first_hash: u64, last_hash: u64) -> Result<(), InternalError> {
        let hash = self.keyspace.hash(b"key");
        assert!((first_hash..=last_hash).contains(&hash));
        if self.is_damaged {
            return Err(InternalError::Other("it does not fit".into()));
        }
        if !self.is_replayed.swap(true, Ordering::SeqCst) {
            let (mut journal, log) = (Journal::default(), TestLog::default());
            let mut keys = Keys::lock(&self.keyspace, &[hash], &mut journal, &log, 0, 0);
            keys.set_text(b"key", b"new", Deadline::None).expect("set");
            keys.commit();
        }
        Ok(())
    }
}

fn with_rest_of_log(is_damaged: bool) -> Fixture {
    let settings = TierSettings {
        maxmemory_bytes: 0,
        ..TierSettings::default()
    };
    let fixture = Fixture::with_loader(settings, true, |keyspace| {
        Arc::new(RestOfLog {
            keyspace: Arc::clone(keyspace),
            is_replayed: AtomicBool::new(false),
            is_damaged,
        })
    });
    fixture.set(b"key", b"old", None);
    fixture
}

#[test]
fn an_entry_is_demoted_only_as_the_log_has_it() {
    for by_name in [false, true] {
        let fixture = with_rest_of_log(false);
        let demoted = match by_name {
            true => fixture.tier.demote_keys(0, &[b"key".to_vec()]),
            false => fixture.tier.demote_all(0),
        };
        assert_eq!(demoted.expect("demoted"), 1);
        assert_eq!(fixture.get(b"key"), Some(b"new".to_vec()));
    }
}

#[test]
fn what_cannot_be_replayed_stays_and_the_hand_goes_on() {
    let fixture = with_rest_of_log(true);
    assert_eq!(fixture.tier.demote_all(0).expect("passed over"), 0);
    assert_eq!(fixture.temperature(b"key"), Some(Temperature::Hot));
    assert!(fixture.tier.demote_keys(0, &[b"key".to_vec()]).is_err());
}
