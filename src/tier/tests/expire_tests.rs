//! Keys that expire by themselves, in all tiers.

use super::super::expire::{ExpiryHand, Round};
use super::fixture::Fixture;
use crate::clock;
use crate::keyspace::{EventClasses, Journal};
use std::sync::atomic::Ordering;
use std::time::Duration;
use storage_format::Effect;

fn expire_all(fixture: &Fixture) {
    let mut hand = ExpiryHand::default();
    // A round ends early when it has used its time.
    for _ in 0..1000 {
        fixture.tier.expire_round(&mut hand).expect("expired");
    }
}

/// Waits until a deadline is over.
fn pass(deadline_ms: u64) {
    while clock::now_ms() <= deadline_ms {
        std::thread::yield_now();
    }
}

fn fill(fixture: &Fixture, keys: u32) -> u64 {
    let soon_ms = clock::now_ms() + 1500;
    for number in 0..keys {
        let deadline_ms = match number % 3 {
            0 => Some(soon_ms),
            1 => Some(soon_ms + 10_000_000),
            _ => None,
        };
        fixture.set(&number.to_be_bytes(), b"value", deadline_ms);
    }
    soon_ms
}

#[test]
fn hot_keys_go_although_nobody_asks() {
    let fixture = Fixture::new();
    let soon_ms = fill(&fixture, 300);
    pass(soon_ms);
    expire_all(&fixture);
    assert_eq!(fixture.keyspace.key_counts(0), (200, 100));
    assert_eq!(fixture.tier.statistics().expired_keys, 100);
}

#[test]
fn a_key_that_expires_is_told_of_in_every_tier() {
    for is_cold in [false, true] {
        let fixture = Fixture::new();
        fixture.log.listens.store(true, Ordering::SeqCst);
        let soon_ms = fill(&fixture, 30);
        if is_cold {
            fixture.tier.demote_all(0).expect("demoted");
        }
        pass(soon_ms);
        expire_all(&fixture);
        let events = std::mem::take(&mut *fixture.log.events.lock());
        assert!(events.iter().all(|event| event.name == "expired"));
        assert!(
            events
                .iter()
                .all(|event| event.class == EventClasses::EXPIRED && event.database == 0)
        );
        let mut keys: Vec<_> = events.into_iter().map(|event| event.key).collect();
        keys.sort();
        let expected: Vec<Box<[u8]>> = (0..30u32)
            .step_by(3)
            .map(|number| number.to_be_bytes()[..].into())
            .collect();
        assert_eq!(keys, expected, "cold: {is_cold}");
    }
}

#[test]
fn cold_keys_go_without_being_read_and_their_records_follow() {
    let fixture = Fixture::new();
    let soon_ms = fill(&fixture, 300);
    fixture.tier.demote_all(0).expect("demoted");
    let moved: Vec<u32> = (0..30).collect();
    for number in &moved {
        // Promoted and changed meanwhile: these keys' fate is decided in the keyspace.
        fixture.set(&number.to_be_bytes(), b"other", None);
    }
    pass(soon_ms);
    expire_all(&fixture);
    assert_eq!(fixture.tier.statistics().expired_keys, 90);
    assert_eq!(fixture.keyspace.key_counts(0), (210, 90));
    assert_eq!(
        fixture
            .tier
            .drain_deletions(fixture.cold())
            .expect("drained"),
        90
    );
    fixture.tier.demote_all(0).expect("demoted");
    fixture.check_index();
    for number in 0..300u32 {
        let is_expected = number < 30 || number % 3 != 0;
        assert_eq!(
            fixture.get(&number.to_be_bytes()).is_some(),
            is_expected,
            "{number}"
        );
    }
}

#[test]
fn a_clean_key_that_leaves_the_keyspace_after_its_deadline_is_found_again() {
    let fixture = Fixture::new();
    let soon_ms = clock::now_ms() + 300;
    fixture.set(b"key", b"value", Some(soon_ms));
    fixture.tier.demote_all(0).expect("demoted");
    let lsn = fixture.run(0, b"key", false, |keys| keys.lsn(b"key"));
    pass(soon_ms);
    // The round sees the cold deadline while the key is hot, and leaves it alone.
    assert_eq!(
        fixture
            .cold()
            .due(clock::now_ms(), 10)
            .expect("read")
            .first()
            .map(|due| due.lsn),
        Some(1)
    );
    assert!(lsn <= 1);
    fixture.tier.demote_all(0).expect("demoted");
    expire_all(&fixture);
    assert_eq!(fixture.keyspace.key_counts(0), (0, 0));
}

#[test]
fn a_deadline_that_was_read_from_the_index_and_changed_since_deletes_nothing() {
    let fixture = Fixture::new();
    let mut journal = Journal::default();
    let past_ms = clock::now_ms() + 50;
    for (key, later_ms) in [(b"a", None), (b"b", Some(1 << 45)), (b"c", Some(past_ms))] {
        fixture.set(key, b"old", Some(past_ms));
        fixture.tier.demote_all(0).expect("demoted");
        let due = fixture.cold().due(past_ms, 10).expect("read");
        let due = due
            .iter()
            .find(|due| &*due.key == key)
            .expect("in the index");
        fixture.set(key, b"new", later_ms);
        fixture.tier.demote_all(0).expect("demoted");
        let hash = fixture.keyspace.hash(key);
        let newest = fixture.cold().get(0, hash, key).expect("read");
        let mut round = Round {
            journal: &mut journal,
            now_ms: past_ms,
            listens_to: EventClasses::NONE,
        };
        assert!(
            fixture
                .tier
                .expire_cold_key(fixture.cold(), &mut round, 0, due)
                .expect("looked")
        );
        assert_eq!(fixture.cold().get(0, hash, key).expect("read"), newest);
        assert_eq!(
            fixture
                .tier
                .drain_deletions(fixture.cold())
                .expect("drained"),
            0
        );
    }
}

/// A key in memory and one on disk that expire together.
fn set_hot_and_cold(fixture: &Fixture, deadline_ms: u64) {
    fixture.set(b"hot", b"value", Some(deadline_ms));
    fixture.set(b"cold", b"value", Some(deadline_ms));
    fixture
        .tier
        .demote_keys(0, &[b"cold".to_vec()])
        .expect("demoted");
}

#[test]
fn a_full_log_and_the_switch_both_keep_keys_where_they_are() {
    let fixture = Fixture::new();
    let soon_ms = clock::now_ms() + 300;
    set_hot_and_cold(&fixture, soon_ms);
    pass(soon_ms);
    fixture.tier.set_active_expire(false);
    expire_all(&fixture);
    assert_eq!(fixture.keyspace.key_counts(0), (2, 2));
    fixture.tier.set_active_expire(true);
    fixture.log.full.store(true, Ordering::SeqCst);
    expire_all(&fixture);
    assert_eq!(fixture.keyspace.key_counts(0), (2, 2));
    fixture.log.full.store(false, Ordering::SeqCst);
    expire_all(&fixture);
    assert_eq!(fixture.keyspace.key_counts(0), (0, 0));
}

#[test]
fn the_latency_monitor_hears_of_each_round_and_each_key_that_goes() {
    let fixture = Fixture::new();
    expire_all(&fixture);
    let rounds = std::mem::take(&mut *fixture.log.rounds.lock());
    assert!(!rounds.is_empty());
    assert!(rounds.iter().all(|round| *round == "expire-cycle"));
    let soon_ms = clock::now_ms() + 20;
    set_hot_and_cold(&fixture, soon_ms);
    pass(soon_ms);
    expire_all(&fixture);
    let rounds = fixture.log.rounds.lock();
    let deletions = rounds.iter().filter(|round| **round == "expire-del");
    assert_eq!(deletions.count(), 2);
}

#[test]
fn deadlines_of_a_flushed_database_are_forgotten_when_they_come_due() {
    let fixture = Fixture::new();
    let soon_ms = clock::now_ms() + 300;
    fixture.set(b"key", b"value", Some(soon_ms));
    fixture
        .run(1, b"other", false, |keys| {
            keys.set_text(b"other", b"value", crate::keyspace::Deadline::None)
        })
        .expect("set");
    fixture.tier.demote_all(0).expect("demoted");
    fixture.tier.demote_all(1).expect("demoted");
    fixture.flush(0);
    pass(soon_ms);
    expire_all(&fixture);
    fixture.cold().note_deadline(0);
    assert_eq!(fixture.cold().due(u64::MAX - 1, 10).expect("read"), []);
    assert_eq!(fixture.keyspace.key_counts(1), (1, 0));
}

/// Gives `key` a hash with the fields `soon`, which expires then, and `late`.
fn put_hash(fixture: &Fixture, key: &[u8], soon_ms: u64, with_late: bool) {
    let pairs: [&[u8]; 4] = [b"soon", b"1", b"late", b"2"];
    let pairs = if with_late { &pairs[..] } else { &pairs[..2] };
    fixture.run(0, key, false, |keys| {
        keys.apply(
            key,
            Effect::HashSet {
                pairs: pairs.into(),
            },
        )
        .expect("room");
        let effect = Effect::HashSetDeadline {
            deadline_ms: soon_ms,
            fields: pairs[..1].into(),
        };
        keys.apply(key, effect).expect("room");
        keys.commit();
    });
}

fn fields_left(fixture: &Fixture, key: &[u8]) -> usize {
    fixture.run(0, key, false, |keys| {
        keys.hash(key).expect("a hash").map_or(0, |hash| hash.len())
    })
}

#[test]
fn fields_go_although_nobody_asks_in_all_tiers() {
    let fixture = Fixture::new();
    let soon_ms = clock::now_ms() + 1000;
    let names = [
        "cold",
        "cold and alone",
        "promoted",
        "changed",
        "hot",
        "hot and alone",
    ];
    for name in names {
        put_hash(&fixture, name.as_bytes(), soon_ms, !name.ends_with("alone"));
    }
    let cold: Vec<Vec<u8>> = names[..4]
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    assert_eq!(fixture.tier.demote_keys(0, &cold).expect("demoted"), 4);
    assert_eq!(fields_left(&fixture, b"promoted"), 2);
    put_hash(&fixture, b"changed", soon_ms + 10_000_000, true);
    pass(soon_ms);
    expire_all(&fixture);
    // Nobody looked at a key until here.
    assert_eq!(fixture.keyspace.key_counts(0), (4, 0));
    for (name, left) in [
        ("cold", 1),
        ("cold and alone", 0),
        ("promoted", 1),
        ("changed", 2),
        ("hot", 1),
        ("hot and alone", 0),
    ] {
        assert_eq!(fields_left(&fixture, name.as_bytes()), left, "{name}");
    }
    // What was a hint about a former version is gone, or stays a hint.
    fixture
        .tier
        .drain_deletions(fixture.cold())
        .expect("drained");
    fixture.tier.demote_all(0).expect("demoted");
    expire_all(&fixture);
    fixture.check_index();
    assert_eq!(fields_left(&fixture, b"changed"), 2);
    assert_eq!(fields_left(&fixture, b"cold and alone"), 0);
}

#[test]
fn the_expiry_knows_how_long_nothing_is_due() {
    let fixture = Fixture::new();
    let mut hand = ExpiryHand::default();
    let wait = |hand: &mut ExpiryHand| {
        fixture.tier.expire_round(hand).expect("expired");
        fixture.tier.time_to_next_deadline(hand)
    };
    const HOUR: Duration = Duration::from_secs(3600);
    assert!(wait(&mut hand) > 1000 * HOUR, "no deadline at all");
    let now_ms = clock::now_ms();
    fixture.set(b"late", b"value", Some(now_ms + 7_200_000));
    assert!((HOUR..=2 * HOUR).contains(&wait(&mut hand)));
    fixture.set(b"cold", b"value", Some(now_ms + 1_800_000));
    assert!(wait(&mut hand) <= HOUR / 2, "while it is hot");
    fixture
        .tier
        .demote_keys(0, &[b"cold".to_vec()])
        .expect("demoted");
    assert!(wait(&mut hand) <= HOUR / 2, "and when it is cold");
    let hot_ms = clock::now_ms() + 30;
    fixture.set(b"soon", b"value", Some(hot_ms));
    assert!(wait(&mut hand) <= Duration::from_millis(30));
    pass(hot_ms);
    assert!(
        wait(&mut hand) <= HOUR / 2,
        "it is gone, the others are not"
    );
    assert_eq!(fixture.keyspace.key_counts(0), (2, 2));
}
