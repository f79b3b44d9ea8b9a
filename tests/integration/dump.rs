//! DUMP and RESTORE against `redis-server`, in both directions and around the sizes where Redis changes its encodings; and what becomes
//! of the deadlines of hash fields when a server restarts, snapshots and demotes.

use crate::harness::{Reference, Server, wait_until};
use crate::wire::{Client, Reply};

/// The same "random" numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        self.0 ^ self.0 >> 32
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn integer(&mut self) -> Vec<u8> {
        let shift = self.below(64);
        (self.next() as i64 >> shift).to_string().into_bytes()
    }

    /// Integers, compressible texts, binary ones, around the lengths where forms change.
    fn item(&mut self) -> Vec<u8> {
        const LENGTHS: [usize; 8] = [0, 1, 63, 64, 65, 4095, 4096, 9000];
        match self.below(4) {
            0 => self.integer(),
            1 => vec![b'x'; LENGTHS[self.below(8) as usize]],
            2 => b"ab".repeat(self.below(50) as usize),
            _ => (0..self.below(40)).map(|_| self.next() as u8).collect(),
        }
    }
}

/// Commands that make one key of each type and form, with `count` elements.
fn makers(random: &mut Random, count: usize) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut command =
        |name: &str, key: &str, element: &mut dyn FnMut(&mut Random) -> Vec<Vec<u8>>| {
            let mut words = vec![name.as_bytes().to_vec(), key.as_bytes().to_vec()];
            for _ in 0..count {
                words.extend(element(random));
            }
            words
        };
    let mut scores = ["0", "1", "-1.5", "1e300", "inf", "-inf", "0.1"]
        .iter()
        .cycle();
    vec![
        (
            "list",
            command("RPUSH", "list", &mut |random| vec![random.item()]),
        ),
        (
            "set",
            command("SADD", "set", &mut |random| vec![random.item()]),
        ),
        (
            "integers",
            command("SADD", "integers", &mut |random| vec![random.integer()]),
        ),
        (
            "hash",
            command("HSET", "hash", &mut |random| {
                vec![random.item(), random.item()]
            }),
        ),
        (
            "sorted",
            command("ZADD", "sorted", &mut |random| {
                let score = scores.next().expect("a cycle").as_bytes().to_vec();
                vec![score, random.item()]
            }),
        ),
        (
            "text",
            vec![b"SET".to_vec(), b"text".to_vec(), random.item()],
        ),
    ]
}

/// What a key holds, in an order that does not depend on the server.
fn content(client: &mut Client, key: &str) -> Vec<Vec<u8>> {
    let bytes = |reply: Reply| -> Vec<Vec<u8>> {
        reply
            .items()
            .iter()
            .map(|item| item.bytes().to_vec())
            .collect()
    };
    match key {
        "text" => vec![client.call(&["GET", key]).bytes().to_vec()],
        "list" => bytes(client.call(&["LRANGE", key, "0", "-1"])),
        "hash" => {
            let flat = bytes(client.call(&["HGETALL", key]));
            let mut pairs: Vec<Vec<u8>> = flat.chunks(2).map(|pair| pair.join(&b'=')).collect();
            pairs.sort();
            pairs
        }
        "sorted" => bytes(client.call(&["ZRANGE", key, "0", "-1", "WITHSCORES"]))
            .chunks(2)
            .map(|pair| {
                let score: f64 = String::from_utf8_lossy(&pair[1]).parse().expect("a score");
                [&pair[0][..], format!(" {score:?}").as_bytes()].concat()
            })
            .collect(),
        _ => {
            let mut members = bytes(client.call(&["SMEMBERS", key]));
            members.sort();
            members
        }
    }
}

#[test]
fn redis_and_larder_restore_what_the_other_dumps() {
    let Some(reference) = Reference::start() else {
        return;
    };
    let server = Server::start("");
    let (mut larder, mut redis) = (server.client(), reference.client());
    let mut random = Random(1);
    for count in [1, 2, 127, 128, 129, 511, 512, 513, 1000] {
        for (key, command) in makers(&mut random, count) {
            for from_redis in [false, true] {
                let (from, to) = if from_redis {
                    (&mut redis, &mut larder)
                } else {
                    (&mut larder, &mut redis)
                };
                from.call(&["DEL", key]);
                from.call(&command);
                let payload = from.call(&["DUMP", key]).bytes().to_vec();
                let restored = to.call(&[b"RESTORE", key.as_bytes(), b"0", &payload, b"REPLACE"]);
                assert_eq!(
                    restored,
                    Reply::ok(),
                    "{key} of {count}, from Redis: {from_redis}"
                );
                assert_eq!(
                    content(to, key),
                    content(from, key),
                    "{key} of {count}, from Redis: {from_redis}"
                );
            }
        }
    }
}

/// A truncated or altered value behind a right CRC: refused, or restored as something else, but the server lives. The CRC is made
/// right by `storage_format`, as somebody with bad intentions would.
#[test]
fn altered_payloads_do_no_harm() {
    let server = Server::start("");
    let mut client = server.client();
    let mut random = Random(7);
    for (key, command) in makers(&mut random, 20) {
        client.call(&command);
        let payload = client.call(&["DUMP", key]).bytes().to_vec();
        let body = &payload[..payload.len() - 10];
        for _ in 0..300 {
            let mut altered = body.to_vec();
            if random.below(2) == 0 {
                altered.truncate(random.below(body.len() as u64) as usize);
            } else {
                let bit = random.below(body.len() as u64 * 8) as usize;
                altered[bit / 8] ^= 1 << (bit % 8);
            }
            altered.extend_from_slice(&payload[payload.len() - 10..payload.len() - 8]);
            let crc = storage_format::rdb::payload::crc64(&altered);
            altered.extend_from_slice(&crc.to_le_bytes());
            match client.call(&[b"RESTORE", &b"altered"[..], b"0", &altered, b"REPLACE"]) {
                Reply::Error(text) => assert_eq!(text, "ERR Bad data format"),
                reply => {
                    assert_eq!(reply, Reply::ok());
                    assert!(!client.call(&["DUMP", "altered"]).bytes().is_empty());
                }
            }
        }
    }
}

/// Two hashes, one of which loses all of its fields, and what is left of both when the deadline is over.
fn fill_hashes(client: &mut Client) {
    client.ok("HMSET kept soon 1 late 2 never 3");
    client.ok("HMSET lost soon 1");
    for (line, reply) in [
        ("HPEXPIRE kept 1500 FIELDS 1 soon", 1),
        ("HEXPIRE kept 5000 FIELDS 1 late", 1),
        ("HPEXPIRE lost 1500 FIELDS 1 soon", 1),
    ] {
        assert_eq!(client.line(line).items()[0].integer(), reply, "{line}");
    }
}

fn check_hashes(client: &mut Client) {
    wait_until("the field is over", || {
        client.line("HPTTL kept FIELDS 1 soon").items()[0].integer() == -2
    });
    assert_eq!(client.line("HLEN kept").integer(), 2);
    let deadlines = client.line("HTTL kept FIELDS 2 late never");
    assert!(
        (4000..=5000).contains(&deadlines.items()[0].integer()),
        "{deadlines:?}"
    );
    assert_eq!(deadlines.items()[1].integer(), -1);
    wait_until("the hash without fields is gone", || {
        client.line("DBSIZE").integer() == 1
    });
    assert_eq!(client.line("EXISTS lost").integer(), 0);
}

#[test]
fn deadlines_of_fields_survive_a_kill() {
    let mut server = Server::start("--appendonly yes");
    fill_hashes(&mut server.client());
    server.kill_and_restart();
    check_hashes(&mut server.client());
}

#[test]
fn deadlines_of_fields_survive_a_snapshot() {
    let mut server = Server::start("");
    let mut client = server.client();
    fill_hashes(&mut client);
    client.ok("SAVE");
    server.kill_and_restart();
    check_hashes(&mut server.client());
}

#[test]
fn cold_hashes_lose_their_fields_without_being_asked_for() {
    let mut server = Server::start("");
    let mut client = server.client();
    fill_hashes(&mut client);
    client.call(&["TIER", "DEMOTE", "kept", "lost"]);
    wait_until("the hash without fields is gone", || {
        client.line("DBSIZE").integer() == 1
    });
    check_hashes(&mut client);
    drop(client);
    server.kill_and_restart();
    check_hashes(&mut server.client());
}
