//! Giving keys up, in memory and on disk.

use super::super::evict::EvictionHand;
use super::super::{Admission, MaxmemoryPolicy, TierSettings};
use super::fixture::{Fixture, text_of};
use std::sync::atomic::Ordering;

fn settings(policy: MaxmemoryPolicy, maxdisk_bytes: Option<u64>) -> TierSettings {
    // No sample is ever below this limit, so eviction goes on until nothing is left that may go.
    TierSettings {
        maxmemory_bytes: 1000,
        maxdisk_bytes,
        policy,
        ..TierSettings::default()
    }
}

#[test]
fn every_policy_evicts_what_it_may_and_nothing_else() {
    let cases = [
        (MaxmemoryPolicy::NoEviction, 100),
        (MaxmemoryPolicy::AllKeysLru, 0),
        (MaxmemoryPolicy::AllKeysLfu, 0),
        (MaxmemoryPolicy::AllKeysRandom, 0),
        (MaxmemoryPolicy::VolatileLru, 50),
        (MaxmemoryPolicy::VolatileLfu, 50),
        (MaxmemoryPolicy::VolatileRandom, 50),
        (MaxmemoryPolicy::VolatileTtl, 50),
    ];
    for (policy, left) in cases {
        let fixture = Fixture::with(settings(policy, None), false);
        fixture.log.listens.store(true, Ordering::SeqCst);
        for number in 0..100u32 {
            fixture.set(
                &number.to_be_bytes(),
                b"value",
                (number % 2 == 0).then_some(1 << 45),
            );
        }
        let mut hand = EvictionHand::default();
        while fixture.tier.admission() != Admission::Refuse {
            fixture.tier.budget().sample();
            fixture.tier.make_room(&mut hand).expect("evicted");
        }
        // Samples are random: a few rounds more find what the first ones missed.
        for _ in 0..20 {
            fixture.tier.make_room(&mut hand).expect("evicted");
        }
        let keys = fixture.scan(10);
        assert_eq!(keys.len(), left, "{policy:?}");
        if policy.is_volatile() {
            assert!(keys.iter().all(|key| key[3] % 2 == 1));
        }
        assert_eq!(fixture.tier.statistics().evicted_keys, 100 - left as u64);
        let events = fixture.log.events.lock();
        assert_eq!(events.len(), 100 - left, "{policy:?}");
        assert!(events.iter().all(|event| event.name == "evicted"));
        assert_eq!(fixture.keyspace.key_counts(0).0, left as u64);
        let rounds = fixture.log.rounds.lock();
        let told = |name: &str| rounds.iter().filter(|round| **round == name).count();
        assert!(told("eviction-cycle") > 0, "{policy:?}");
        assert_eq!(told("eviction-del"), 100 - left, "{policy:?}");
    }
}

#[test]
fn the_least_recently_used_goes_before_the_others() {
    let fixture = Fixture::with(settings(MaxmemoryPolicy::AllKeysLru, None), false);
    let mut hand = EvictionHand::default();
    for number in 0..64u32 {
        fixture.set(&number.to_be_bytes(), b"value", None);
    }
    let old = 7u32.to_be_bytes();
    let hash = fixture.keyspace.hash(&old);
    let mut shard = fixture
        .keyspace
        .lock(crate::keyspace::Keyspace::shard_of(hash));
    let place = shard.find(0, hash, &old).expect("there");
    shard
        .table_mut(0)
        .change(place, |entry| entry.set_access(1 << 8));
    drop(shard);
    let lru = TierSettings {
        samples: 64,
        ..settings(MaxmemoryPolicy::AllKeysLru, None)
    };
    let shard = fixture
        .keyspace
        .lock(crate::keyspace::Keyspace::shard_of(hash));
    let best = fixture
        .tier
        .best_of_segment(&mut hand, &shard, 0, hash, &lru)
        .expect("a candidate");
    assert_eq!(&*best.key, &old[..]);
}

#[test]
fn a_full_disk_gives_up_cold_keys_and_their_space() {
    let fixture = Fixture::with(settings(MaxmemoryPolicy::AllKeysLru, None), true);
    for number in 0..2000u32 {
        fixture.set(
            &number.to_be_bytes(),
            &text_of(u64::from(number), 1000),
            None,
        );
    }
    fixture.tier.demote_all(0).expect("demoted");
    fixture.cold().flush().expect("flushed");
    let disk_bytes = fixture.cold().disk_bytes();
    assert!(disk_bytes > 1_500_000, "{disk_bytes}");
    let mut hand = EvictionHand::default();
    fixture
        .tier
        .configure(settings(MaxmemoryPolicy::NoEviction, Some(disk_bytes / 2)));
    fixture
        .tier
        .evict_cold(fixture.cold(), &mut hand)
        .expect("looked");
    assert!(fixture.tier.statistics().is_disk_full && fixture.tier.statistics().evicted_keys == 0);
    fixture.log.listens.store(true, Ordering::SeqCst);
    fixture
        .tier
        .configure(settings(MaxmemoryPolicy::AllKeysLru, Some(disk_bytes / 2)));
    fixture
        .tier
        .evict_cold(fixture.cold(), &mut hand)
        .expect("evicted");
    assert!(fixture.cold().disk_bytes() <= disk_bytes / 2);
    assert!(!fixture.tier.statistics().is_disk_full);
    let evicted = fixture.tier.statistics().evicted_keys;
    assert_eq!(fixture.log.events.lock().len() as u64, evicted);
    let keys = fixture.scan(100);
    assert_eq!(keys.len() as u64, fixture.keyspace.key_counts(0).0);
    assert!(keys.len() > 500 && keys.len() < 1100, "{}", keys.len());
    fixture.check_index();
}
