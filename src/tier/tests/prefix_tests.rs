//! DELPREFIX in all tiers.

use super::super::prefix::PrefixDeletion;
use super::fixture::Fixture;
use crate::clock;
use std::sync::atomic::Ordering;

fn delete(fixture: &Fixture, prefix: &[u8], last_lsn: u64) -> PrefixDeletion {
    fixture
        .tier
        .delete_prefix(0, prefix, last_lsn, &|| true)
        .expect("RocksDB works")
}

fn fill(fixture: &Fixture, keys: u32) {
    for number in 0..keys {
        let prefix = if number % 2 == 0 { "a:" } else { "b:" };
        let deadline_ms = (number % 5 == 0).then(|| clock::now_ms() + 10_000_000);
        let key = format!("{prefix}{number}");
        fixture.set(key.as_bytes(), b"value", deadline_ms);
    }
}

#[test]
fn hot_and_cold_keys_of_a_prefix_go_and_others_stay() {
    let fixture = Fixture::new();
    fill(&fixture, 3000);
    fixture.tier.demote_all(0).expect("demoted");
    for number in (0..900).step_by(2) {
        // Hot again, changed, and so newer than their records.
        fixture.set(format!("a:{number}").as_bytes(), b"other", None);
    }
    let before = fixture.log.last_lsn();
    assert_eq!(delete(&fixture, b"a:", before).deleted, 1500);
    let (keys, deadlines) = fixture.keyspace.key_counts(0);
    assert_eq!((keys, deadlines), (1500, 300));
    assert_eq!(fixture.get(b"a:2"), None);
    assert_eq!(fixture.get(b"a:2998"), None);
    assert_eq!(fixture.get(b"b:1").as_deref(), Some(&b"value"[..]));
    assert_eq!(delete(&fixture, b"a:", fixture.log.last_lsn()).deleted, 0);
    assert_eq!(fixture.scan(100).len(), 1500);
    fixture.tier.flush_for_snapshot().expect("applied");
    assert_eq!(fixture.keyspace.key_counts(0), (1500, 300));
    assert_eq!(fixture.get(b"a:2"), None);
    fixture.check_index();
}

#[test]
fn what_changed_since_stays_wherever_it_is() {
    let fixture = Fixture::new();
    fill(&fixture, 100);
    let last_lsn = fixture.log.last_lsn();
    fixture.set(b"a:hot", b"new", None);
    fixture.set(b"a:cold", b"new", None);
    fixture
        .tier
        .demote_keys(0, &[b"a:cold".to_vec(), b"a:0".to_vec()])
        .expect("demoted");
    assert_eq!(delete(&fixture, b"a:", last_lsn).deleted, 50);
    assert_eq!(fixture.get(b"a:hot").as_deref(), Some(&b"new"[..]));
    assert_eq!(fixture.get(b"a:cold").as_deref(), Some(&b"new"[..]));
    assert_eq!(fixture.get(b"a:0"), None);
}

#[test]
fn a_full_log_ends_it() {
    let fixture = Fixture::new();
    fill(&fixture, 100);
    fixture.tier.demote_all(0).expect("demoted");
    fixture.log.full.store(true, Ordering::SeqCst);
    let done = delete(&fixture, b"a:", fixture.log.last_lsn());
    assert_eq!((done.deleted, done.had_room), (0, false));
    fixture.log.full.store(false, Ordering::SeqCst);
    assert_eq!(fixture.keyspace.key_counts(0).0, 100);
}
