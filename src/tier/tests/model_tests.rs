//! Several threads change keys while others move them between all tiers; every thread knows what its own keys hold.

use super::super::expire::ExpiryHand;
use super::super::victims::Choice;
use super::fixture::{Fixture, check_index, reopen, text_of};
use crate::clock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const WRITERS: u64 = 3;
const KEYS_EACH: u64 = 12;
const STEPS: u64 = 4000;

/// What a key should hold: value and deadline.
type Model = HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Compares one key with the model. Around its deadline both answers are right.
fn check(fixture: &Fixture, model: &mut Model, key: &[u8]) {
    let before_ms = clock::now_ms();
    let found = fixture.get(key);
    let after_ms = clock::now_ms();
    match (model.get(key), &found) {
        (Some((value, _)), Some(found)) => assert_eq!(found, value),
        (None, None) => {}
        (Some((_, Some(deadline_ms))), None) => {
            assert!(*deadline_ms <= after_ms, "gone before its deadline");
            model.remove(key);
        }
        (expected, _) => panic!("{key:?}: {found:?} instead of {expected:?}"),
    }
    if let (Some((_, Some(deadline_ms))), true) = (model.get(key), found.is_some()) {
        assert!(*deadline_ms > before_ms, "there after its deadline");
    }
}

fn write(fixture: &Fixture, writer: u64) -> Model {
    let mut state = 0x1234_5678_9abc_def1 ^ writer << 32;
    let mut model = Model::new();
    for step in 0..STEPS {
        let key = format!("{writer}:{}", random(&mut state) % KEYS_EACH).into_bytes();
        check(fixture, &mut model, &key);
        let deadline_ms = match random(&mut state) % 4 {
            0 => Some(clock::now_ms() + random(&mut state) % 40 + 1),
            1 => Some(clock::now_ms() + 100_000_000),
            _ => None,
        };
        match random(&mut state) % 6 {
            0 => {
                let existed = fixture.delete(&key);
                let expected = model.remove(&key);
                assert!(!existed || expected.is_some());
            }
            1 => {
                let changed = fixture
                    .run(0, &key, false, |keys| keys.set_deadline(&key, deadline_ms))
                    .expect("set");
                if let (true, Some((_, deadline))) = (changed, model.get_mut(&key)) {
                    *deadline = deadline_ms;
                }
            }
            2 | 3 => {
                let length = if random(&mut state).is_multiple_of(8) {
                    50_000
                } else {
                    random(&mut state) % 1200
                } as usize;
                let value = text_of(step, length);
                fixture.set(&key, &value, deadline_ms);
                model.insert(key, (value, deadline_ms));
            }
            _ => check(fixture, &mut model, &key),
        }
    }
    model
}

/// Moves whatever it finds, in all ways there are.
fn disturb(fixture: &Fixture, over: &AtomicBool) {
    let (mut state, mut hand) = (99, ExpiryHand::default());
    while !over.load(Ordering::Relaxed) {
        match random(&mut state) % 6 {
            0 => assert!(fixture.tier.demote_all(0).is_ok()),
            1 => assert!(fixture.tier.drain_deletions(fixture.cold()).is_ok()),
            2 => assert!(fixture.tier.expire_round(&mut hand).is_ok()),
            3 => assert!(fixture.tier.flush_for_snapshot().is_ok()),
            4 => {
                let key = format!(
                    "{}:{}",
                    random(&mut state) % WRITERS,
                    random(&mut state) % KEYS_EACH
                );
                assert!(fixture.tier.demote_keys(0, &[key.into_bytes()]).is_ok());
            }
            _ => {
                let mut writer = fixture.tier.lock_writer();
                let choice = Choice {
                    bytes: 5000,
                    ignores_marks: false,
                };
                assert!(
                    fixture
                        .tier
                        .sweep(fixture.cold(), &mut writer, choice)
                        .is_ok()
                );
            }
        }
    }
}

/// Reads keys of all writers, so that they come back from every tier at any time.
fn promote(fixture: &Fixture, over: &AtomicBool) {
    let mut state = 77;
    while !over.load(Ordering::Relaxed) {
        let key = format!(
            "{}:{}",
            random(&mut state) % WRITERS,
            random(&mut state) % KEYS_EACH
        )
        .into_bytes();
        let only_looks = random(&mut state).is_multiple_of(2);
        fixture.run(0, &key, only_looks, |keys| keys.exists(&key));
    }
}

#[test]
fn keys_hold_what_was_written_wherever_they_are() {
    let fixture = Arc::new(Fixture::new());
    let over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = [disturb, promote]
        .map(|body| {
            let (fixture, over) = (Arc::clone(&fixture), Arc::clone(&over));
            std::thread::spawn(move || body(&fixture, &over))
        })
        .into();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let fixture = Arc::clone(&fixture);
            std::thread::spawn(move || write(&fixture, writer))
        })
        .collect();
    let mut model = Model::new();
    let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
    over.store(true, Ordering::Relaxed);
    for other in others {
        other.join().expect("moved without a crash");
    }
    written
        .into_iter()
        .for_each(|writer| model.extend(writer.expect("the model holds")));
    check_end(&fixture, &mut model);
    check_files(
        Arc::into_inner(fixture).expect("the threads are gone"),
        &model,
    );
}

fn check_end(fixture: &Fixture, model: &mut Model) {
    let keys: Vec<Vec<u8>> = model.keys().cloned().collect();
    // Short deadlines are over after this, so that counting is exact.
    let end_ms = clock::now_ms() + 50;
    while clock::now_ms() <= end_ms {
        std::thread::yield_now();
    }
    keys.iter().for_each(|key| check(fixture, model, key));
    let mut hand = ExpiryHand::default();
    for _ in 0..100 {
        fixture.tier.expire_round(&mut hand).expect("expired");
    }
    fixture.tier.demote_all(0).expect("demoted");
    fixture.tier.flush_for_snapshot().expect("flushed");
    fixture.tier.demote_all(0).expect("demoted");
    fixture.check_index();
    let mut found = fixture.scan(5);
    found.sort();
    let mut expected: Vec<Vec<u8>> = model.keys().cloned().collect();
    expected.sort();
    assert_eq!(found, expected);
    let with_deadline = model
        .values()
        .filter(|(_, deadline)| deadline.is_some())
        .count();
    assert_eq!(
        fixture.keyspace.key_counts(0),
        (expected.len() as u64, with_deadline as u64)
    );
    for shard in 0..256 {
        let shard = fixture.keyspace.lock(shard);
        assert!(shard.deletions.is_empty() && shard.cold_deadlines.is_empty());
        assert_eq!(shard.table(0).map_or(0, |table| table.entries()), 0);
    }
    fixture.cold().flush().expect("flushed");
}

/// What is on disk is what the model says.
fn check_files(fixture: Fixture, model: &Model) {
    let Fixture {
        keyspace,
        tier,
        directory,
        ..
    } = fixture;
    tier.stop();
    drop(tier);
    let cold = reopen(directory.path());
    check_index(&cold);
    for (key, (value, deadline_ms)) in model {
        let record = cold
            .get(0, keyspace.hash(key), key)
            .expect("read")
            .expect("there");
        assert_eq!((&record.encoded, record.deadline_ms), (value, *deadline_ms));
    }
}
