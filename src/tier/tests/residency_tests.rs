//! From which tier a key is served, and what becomes of it.

use super::super::{FetchTicket, KeyRequest, Residency};
use super::fixture::{Fixture, text_of};
use crate::keyspace::{Keyspace, Temperature};
use storage_format::{Effect, Items, Side};

/// A read of "key" by a command that may change it, and the ticket to fetch it as things are now.
fn request_and_ticket(fixture: &Fixture) -> (KeyRequest<'static>, FetchTicket) {
    let hash = fixture.keyspace.hash(b"key");
    let request = KeyRequest {
        database: 0,
        generation: 0,
        hash,
        key: b"key",
        only_looks: false,
        now_ms: 0,
    };
    let departures = fixture.keyspace.lock(Keyspace::shard_of(hash)).departures;
    let ticket = FetchTicket::for_key(&request, departures);
    (request, ticket)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

#[test]
fn nothing_cold_means_no_look() {
    let fixture = Fixture::new();
    assert!(fixture.tier.everything_is_hot());
    assert_eq!(fixture.get(b"key"), None);
    fixture.set(b"key", b"value", None);
    assert_eq!(fixture.temperature(b"key"), Some(Temperature::Hot));
}

#[test]
fn a_text_is_lent_once_and_promoted_by_the_second_read() {
    let fixture = Fixture::new();
    let value = text_of(1, 1000);
    fixture.set(b"key", &value, None);
    assert_eq!(fixture.tier.demote_all(0).expect("demoted"), 1);
    assert_eq!(fixture.temperature(b"key"), Some(Temperature::Cold));
    assert_eq!(fixture.get(b"key"), Some(value.clone()));
    assert_eq!(fixture.temperature(b"key"), Some(Temperature::Warm));
    assert_eq!(fixture.get(b"key"), Some(value.clone()));
    assert_eq!(fixture.temperature(b"key"), Some(Temperature::Hot));
    assert_eq!(fixture.tier.statistics().warm_keys, 0, "a key has one home");
}

#[test]
fn small_texts_and_collections_are_promoted_at_once() {
    let fixture = Fixture::new();
    fixture.set(b"small", b"value", None);
    let items: [&[u8]; 3] = [b"a", b"b", b"c"];
    let push = Effect::ListPush {
        side: Side::Right,
        items: Items::from(&items[..]),
    };
    fixture
        .run(0, b"list", false, |keys| keys.apply(b"list", push))
        .expect("pushed");
    fixture.tier.demote_all(0).expect("demoted");
    assert_eq!(fixture.get(b"small"), Some(b"value".to_vec()));
    assert_eq!(fixture.temperature(b"small"), Some(Temperature::Hot));
    let length = fixture.run(0, b"list", false, |keys| {
        keys.list(b"list").expect("a list").map(|list| list.len())
    });
    assert_eq!(length, Some(3));
    assert_eq!(fixture.temperature(b"list"), Some(Temperature::Hot));
}

#[test]
fn large_values_are_decoded_by_the_pool() {
    let fixture = Fixture::new();
    let value = text_of(3, 1 << 20);
    fixture.set(b"key", &value, None);
    fixture.tier.demote_all(0).expect("demoted");
    for expected in [Temperature::Warm, Temperature::Hot] {
        assert_eq!(fixture.get(b"key").as_ref(), Some(&value));
        assert_eq!(fixture.temperature(b"key"), Some(expected));
    }
}

#[test]
fn a_write_promotes_and_keeps_version_and_deadline() {
    let fixture = Fixture::new();
    let deadline_ms = crate::clock::now_ms() + 1_000_000;
    fixture.set(b"key", b"value", Some(deadline_ms));
    let lsn = fixture.run(0, b"key", true, |keys| keys.lsn(b"key"));
    fixture.tier.demote_all(0).expect("demoted");
    let append = Effect::Append { bytes: b"!" };
    let (before, deadline) = fixture.run(0, b"key", false, |keys| {
        let seen = (keys.lsn(b"key"), keys.deadline_ms(b"key"));
        keys.apply(b"key", append).expect("appended");
        seen
    });
    assert_eq!((before, deadline), (lsn, Some(Some(deadline_ms))));
    assert_eq!(fixture.get(b"key"), Some(b"value!".to_vec()));
    assert_eq!(fixture.keyspace.key_counts(0), (1, 1));
}

#[test]
fn an_expired_record_is_promoted_to_be_deleted_by_the_command() {
    let fixture = Fixture::new();
    fixture.set(
        b"key",
        &text_of(4, 1000),
        Some(crate::clock::now_ms() + 1_000_000),
    );
    fixture.tier.demote_all(0).expect("demoted");
    let hash = fixture.keyspace.hash(b"key");
    let mut shard = fixture.keyspace.lock(Keyspace::shard_of(hash));
    let request = KeyRequest {
        database: 0,
        generation: 0,
        hash,
        key: b"key",
        only_looks: true,
        now_ms: crate::clock::now_ms() + 2_000_000,
    };
    let residency = fixture
        .tier
        .resolve_now(&mut shard, &request)
        .expect("resolved");
    assert!(matches!(residency, Residency::Present));
}

#[test]
fn a_fetch_is_void_after_a_departure() {
    let fixture = Fixture::new();
    fixture.set(b"key", b"old", None);
    fixture.tier.demote_all(0).expect("demoted");
    let (request, ticket) = request_and_ticket(&fixture);
    let hash = request.hash;
    let runtime = runtime();
    let fetched = runtime.block_on(fixture.tier.fetch(&ticket)).expect("read");
    fixture.set(b"key", b"new", None);
    fixture.tier.demote_all(0).expect("demoted");
    let mut shard = fixture.keyspace.lock(Keyspace::shard_of(hash));
    let residency = fixture
        .tier
        .resolve(&mut shard, &request, Some(&fetched))
        .expect("resolved");
    assert!(!matches!(residency, Residency::Absent));
    drop(shard);
    assert_eq!(fixture.get(b"key"), Some(b"new".to_vec()));
}

/// The key is deleted, lives again while its record is removed, and is deleted for good: no entry left for another tier, and yet
/// what was read before is no longer true. It would come back from the dead, and its expiry would count twice.
#[test]
fn a_fetch_is_void_after_its_record_was_deleted_below_a_live_key() {
    let fixture = Fixture::new();
    fixture.set(b"key", b"old", Some(crate::clock::now_ms() + 1_000_000));
    fixture.tier.demote_all(0).expect("demoted");
    let (request, ticket) = request_and_ticket(&fixture);
    let hash = request.hash;
    let runtime = runtime();
    let fetched = runtime.block_on(fixture.tier.fetch(&ticket)).expect("read");
    assert!(fixture.delete(b"key"));
    fixture.set(b"key", b"new", None);
    fixture
        .tier
        .drain_deletions(fixture.cold())
        .expect("drained");
    assert!(fixture.delete(b"key"));
    let mut shard = fixture.keyspace.lock(Keyspace::shard_of(hash));
    let residency = fixture
        .tier
        .resolve(&mut shard, &request, Some(&fetched))
        .expect("resolved");
    assert!(!matches!(residency, Residency::Present));
    drop(shard);
    assert_eq!(fixture.get(b"key"), None);
    assert_eq!(fixture.keyspace.key_counts(0), (0, 0));
}

#[test]
fn waiters_for_one_key_share_one_read() {
    let fixture = Fixture::new();
    fixture.set(b"key", b"value", None);
    fixture.tier.demote_all(0).expect("demoted");
    let (_, ticket) = request_and_ticket(&fixture);
    // Both threads of the pool are kept busy, so that the requests meet.
    let (release, wait) = crossbeam_channel::bounded::<()>(0);
    for _ in 0..2 {
        let wait = wait.clone();
        fixture.tier.run_in_background(move || {
            assert!(wait.recv().is_err(), "released by the other end's drop")
        });
    }
    let waiting: Vec<_> = (0..50).map(|_| fixture.tier.fetch(&ticket)).collect();
    drop(release);
    let runtime = runtime();
    let found: Vec<_> = waiting
        .into_iter()
        .map(|fetch| runtime.block_on(fetch).expect("read"))
        .collect();
    let first = found[0].record.as_ref().expect("there");
    assert!(
        found
            .iter()
            .all(|other| std::sync::Arc::ptr_eq(other.record.as_ref().expect("there"), first))
    );
}

#[test]
fn a_flushed_database_shows_nothing_of_its_past() {
    let fixture = Fixture::new();
    for number in 0..100u32 {
        fixture.set(
            &number.to_be_bytes(),
            &text_of(u64::from(number), 600),
            None,
        );
    }
    fixture.tier.demote_all(0).expect("demoted");
    assert!(fixture.get(&7u32.to_be_bytes()).is_some());
    fixture.flush(0);
    assert_eq!(fixture.scan(10), Vec::<Vec<u8>>::new());
    assert_eq!(fixture.get(&7u32.to_be_bytes()), None);
    assert_eq!(fixture.keyspace.key_counts(0), (0, 0));
    assert!(fixture.tier.everything_is_hot());
}

/// What a client asks for while the server ends is no failure, and not to be reported as one.
#[test]
fn a_fetch_that_comes_after_the_end_says_so() {
    let fixture = Fixture::new();
    fixture.set(b"key", b"value", None);
    fixture.tier.demote_all(0).expect("demoted");
    let (_, ticket) = request_and_ticket(&fixture);
    fixture.tier.stop();
    let runtime = runtime();
    let fetched = runtime.block_on(fixture.tier.fetch(&ticket));
    let error = fetched.err().expect("nobody reads any more");
    assert!(
        matches!(*error, crate::error::InternalError::Stopping),
        "{error}"
    );
}
