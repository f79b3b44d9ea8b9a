//! A `maxmemory` that hardly holds the server itself: with room on the disk, writers wait for demotion and are not refused.
//! From 12 MB on: with less, what RocksDB and the input need can be all there is.

use crate::harness::Server;
use crate::wire::{Client, Reply};

const VALUE_BYTES: usize = 1000;
const BATCH: usize = 500;
/// 20 MB, more than fits under any of the limits with what the server itself needs.
const KEYS: usize = 20_000;

/// A value that does not compress.
fn value(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    (0..VALUE_BYTES)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

fn key(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn fill(client: &mut Client) {
    for first in (0..KEYS).step_by(BATCH) {
        let requests: Vec<Vec<Vec<u8>>> = (first..first + BATCH)
            .map(|number| vec![b"SET".to_vec(), key(number), value(number)])
            .collect();
        for reply in client.pipeline(&requests) {
            assert_eq!(reply, Reply::ok(), "in the batch from {first} on");
        }
    }
}

fn pipelined_writes_are_not_refused(limit: &str) {
    let server = Server::start(&format!("--maxmemory {limit} --save ''"));
    let mut client = server.client();
    fill(&mut client);
    // Small writes, transactions and scripts go on, too.
    assert_eq!(client.line("LPUSH list a b c"), Reply::Integer(3));
    client.ok("MULTI");
    client.line("INCR counter");
    assert_eq!(client.line("EXEC").items(), [Reply::Integer(1)]);
    assert_eq!(
        client.call(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", "counter"]),
        Reply::Integer(2)
    );
    assert!(server.tier_statistics()["demotions"] > 0);
    for number in (0..KEYS).step_by(97) {
        let reply = client.call(&[b"GET".to_vec(), key(number)]);
        assert_eq!(reply, Reply::bulk(value(number)), "key {number}");
    }
}

#[test]
fn twelve_megabytes() {
    pipelined_writes_are_not_refused("12mb");
}

#[test]
fn sixteen_megabytes() {
    pipelined_writes_are_not_refused("16mb");
}

#[test]
fn twenty_four_megabytes() {
    pipelined_writes_are_not_refused("24mb");
}

#[test]
fn a_text_that_is_lent_by_the_cold_tier_was_used_just_now() {
    let server = Server::start("--save '' --appendonly no");
    let mut client = server.client();
    client.ok(&format!("SET key {}", "text".repeat(3000)));
    client.line("TIER DEMOTE ALL");
    let idle_seconds = client.line("OBJECT IDLETIME key").integer();
    assert!((0..100).contains(&idle_seconds), "{idle_seconds}");
}
