//! SCAN over all tiers, at rest and in motion.

use super::super::{Loader, Ports, Tier, TierSettings};
use super::fixture::{Fixture, TestLog};
use crate::error::InternalError;
use crate::keyspace::{Deadline, Journal, Keys, Keyspace, Placement};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use storage_format::{Effect, Items, ValueKind};

/// Keys in all tiers: of every five, two cold, one promoted again, one deleted while cold, one hot.
fn fill(fixture: &Fixture, keys: u32) -> BTreeSet<Vec<u8>> {
    let key = |number: u32| number.to_be_bytes().to_vec();
    for number in (0..keys).filter(|number| number % 5 != 4) {
        fixture.set(&key(number), b"value", None);
    }
    fixture.tier.demote_all(0).expect("demoted");
    for number in 0..keys {
        match number % 5 {
            2 => drop(fixture.get(&key(number))),
            3 => assert!(fixture.delete(&key(number))),
            4 => fixture.set(&key(number), b"value", None),
            _ => {}
        }
    }
    (0..keys)
        .filter(|number| number % 5 != 3)
        .map(key)
        .collect()
}

#[test]
fn every_key_comes_once_whatever_the_count() {
    let fixture = Fixture::new();
    let expected = fill(&fixture, 2000);
    for count in [1, 7, 100, 10_000] {
        let found = fixture.scan(count);
        assert_eq!(found.len(), expected.len(), "COUNT {count}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn a_step_removes_what_has_expired_where_that_is_wanted() {
    let fixture = Fixture::new();
    fixture.tier.set_active_expire(false);
    let expired_ms = crate::clock::now_ms() + 20;
    for number in 0..40u32 {
        let deadline_ms = (number % 4 != 0).then_some(expired_ms);
        fixture.set(
            format!("{}:{number}", number % 2).as_bytes(),
            b"value",
            deadline_ms,
        );
    }
    let cold: Vec<Vec<u8>> = (0..20u32)
        .map(|number| format!("{}:{number}", number % 2).into_bytes())
        .collect();
    fixture.tier.demote_keys(0, &cold).expect("demoted");
    while crate::clock::now_ms() <= expired_ms {
        std::thread::yield_now();
    }
    assert_eq!(fixture.scan(7).len(), 10);
    assert_eq!(
        fixture.keyspace.key_counts(0),
        (40, 30),
        "scan removes nothing"
    );
    let accepts = |key: &[u8]| key.starts_with(b"1:");
    let scan = |kind| {
        let mut cursor = 0;
        loop {
            cursor = fixture
                .tier
                .scan_and_expire(0, cursor, 3, &accepts, kind, &mut |_| {
                    panic!("all keys that match have expired")
                })
                .expect("scanned");
            if cursor == 0 {
                break;
            }
        }
    };
    fixture.tier.hold_expiry_until(u64::MAX);
    scan(None);
    assert_eq!(
        fixture.keyspace.key_counts(0),
        (40, 30),
        "not during a pause"
    );
    fixture.tier.hold_expiry_until(0);
    scan(Some(ValueKind::Hash));
    assert_eq!(
        fixture.keyspace.key_counts(0),
        (20, 10),
        "those that match, of any type"
    );
    assert_eq!(fixture.tier.statistics().expired_keys, 20);
}

#[test]
fn a_step_returns_about_as_many_keys_as_asked_for() {
    let fixture = Fixture::new();
    fill(&fixture, 2000);
    let mut cursor = 0;
    loop {
        let mut keys = 0;
        cursor = fixture
            .tier
            .scan(0, cursor, 50, &|_| true, None, &mut |_| keys += 1)
            .expect("scanned");
        assert!(cursor < 1 << 48);
        if cursor == 0 {
            break;
        }
        assert!((50..150).contains(&keys), "{keys}");
    }
}

#[test]
fn types_and_patterns_are_respected_in_all_tiers() {
    let fixture = Fixture::new();
    let members: [&[u8]; 1] = [b"m"];
    for number in 0..100u8 {
        let key = [b's', number];
        let add = Effect::SetAdd {
            members: Items::from(&members[..]),
        };
        fixture
            .run(0, &key, false, |keys| keys.apply(&key, add))
            .expect("added");
        fixture.set(&[b't', number], b"value", None);
        if number == 50 {
            fixture.tier.demote_all(0).expect("demoted");
        }
    }
    let count = |prefix: u8, kind: Option<ValueKind>| {
        let mut keys = 0;
        let accepts = |key: &[u8]| key[0] == prefix;
        let cursor = fixture
            .tier
            .scan(0, 0, 10_000, &accepts, kind, &mut |_| keys += 1)
            .expect("scanned");
        assert_eq!(cursor, 0);
        keys
    };
    assert_eq!(
        [
            count(b's', None),
            count(b's', Some(ValueKind::Set)),
            count(b's', Some(ValueKind::String))
        ],
        [100, 100, 0]
    );
    assert_eq!(
        [count(b't', Some(ValueKind::String)), count(b'u', None)],
        [100, 0]
    );
}

#[test]
fn a_random_key_is_some_key() {
    let fixture = Fixture::new();
    assert_eq!(fixture.tier.random_key(0, 7).expect("chosen"), None);
    let expected = fill(&fixture, 500);
    let mut seen = HashMap::new();
    for number in 0..2000u64 {
        let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7);
        let key = fixture
            .tier
            .random_key(0, random)
            .expect("chosen")
            .expect("there are keys");
        assert!(expected.contains(&key));
        *seen.entry(key).or_insert(0) += 1;
    }
    assert!(seen.len() > expected.len() * 3 / 4, "{}", seen.len());
    assert_eq!(fixture.tier.random_key(1, 7).expect("chosen"), None);
}

#[test]
fn keys_that_change_tiers_during_a_scan_are_neither_missed_nor_doubled() {
    let fixture = Arc::new(Fixture::new());
    let expected = fill(&fixture, 1000);
    let over = Arc::new(AtomicBool::new(false));
    let mover = {
        let (fixture, over, keys) = (Arc::clone(&fixture), Arc::clone(&over), expected.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                keys.iter().for_each(|key| drop(fixture.get(key)));
                fixture.tier.demote_all(0).expect("demoted");
                fixture
                    .tier
                    .drain_deletions(fixture.cold())
                    .expect("drained");
            }
        })
    };
    for count in [3, 10, 64, 3, 10, 64] {
        let found = fixture.scan(count);
        assert_eq!(found.len(), expected.len(), "COUNT {count}");
        assert_eq!(
            found.into_iter().collect::<BTreeSet<_>>(),
            expected,
            "COUNT {count}"
        );
    }
    over.store(true, Ordering::Relaxed);
    mover.join().expect("the mover is well");
}

/// A block's last hash, and its keys as long as it is not loaded.
type Block = (u64, Vec<(u64, Vec<u8>)>);

/// Keys that are not in the keyspace before their block is asked for.
struct Blocks {
    keyspace: Arc<Keyspace>,
    blocks: Mutex<Vec<Block>>,
}

impl Loader for Blocks {
    fn load_at(&self, _generation: u32, hash: u64) -> Result<u64, InternalError> {
        let mut blocks = self.blocks.lock();
        let Some((last_hash, keys)) = blocks.iter_mut().find(|(last_hash, _)| *last_hash >= hash)
        else {
            return Ok(u64::MAX);
        };
        let log = TestLog::default();
        for (hash, key) in std::mem::take(keys) {
            let mut journal = Journal::default();
            let mut keys = Keys::lock(&self.keyspace, &[hash], &mut journal, &log, 0, 0);
            keys.set_text(&key, b"value", Deadline::None).expect("set");
            keys.commit();
        }
        Ok(*last_hash)
    }

    fn is_replayed(&self, _first_hash: u64, _last_hash: u64) -> bool {
        true
    }

    fn replay(&self, _first_hash: u64, _last_hash: u64) -> Result<(), InternalError> {
        Ok(())
    }
}

#[test]
fn blocks_that_are_not_loaded_yet_are_loaded_on_the_way() {
    let keyspace = Arc::new(Keyspace::new(1, Placement::new(7)));
    let mut all: Vec<(u64, Vec<u8>)> = (0..1000u32)
        .map(|number| number.to_be_bytes().to_vec())
        .map(|key| (keyspace.hash(&key), key))
        .collect();
    all.sort();
    let blocks: Vec<_> = all
        .chunks(37)
        .map(|keys| (keys[keys.len() - 1].0, keys.to_vec()))
        .collect();
    let loader = Arc::new(Blocks {
        keyspace: Arc::clone(&keyspace),
        blocks: Mutex::new(blocks),
    });
    let log = Arc::new(TestLog::default());
    let ports = Ports {
        recorder: log.clone(),
        durability: log,
        loader: loader.clone(),
        events: Arc::new(()),
    };
    let tier = Tier::new(keyspace, None, ports, TierSettings::default());
    let (mut found, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = tier
            .scan(0, cursor, 10, &|_| true, None, &mut |key| {
                found.push(key.to_vec())
            })
            .expect("scanned");
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    let mut expected: Vec<Vec<u8>> = all.into_iter().map(|(_, key)| key).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert!(loader.blocks.lock().iter().all(|(_, keys)| keys.is_empty()));
}
