//! Bitmaps, HyperLogLogs, places and SORT against `redis-server`: the same commands with random arguments from fixed seeds, and the
//! same replies to the last byte. From time to time Larder's keys are sent to the cold tier. Nothing is tested where
//! `redis-server` is not installed.

use crate::harness::{Reference, Server};
use crate::wire::{Client, Reply};

/// A generator that is the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        self.0 >> 33
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of(&mut self, words: &[&str]) -> String {
        words[self.below(words.len() as u64) as usize].to_owned()
    }

    /// A number between `-limit` and `limit`, with six decimals.
    fn coordinate(&mut self, limit: f64) -> String {
        let part = self.below(2_000_001) as f64 / 1_000_000.0 - 1.0;
        format!("{:.6}", part * limit)
    }
}

/// Larder and what it has to agree with.
struct Pair {
    server: Server,
    client: Client,
    _reference: Reference,
    expected: Client,
    random: Random,
    done: u64,
}

impl Pair {
    fn start(seed: u64) -> Option<Pair> {
        let reference = Reference::start()?;
        let server = Server::start("--maxmemory 256mb");
        Some(Pair {
            client: server.client(),
            server,
            expected: reference.client(),
            _reference: reference,
            random: Random(seed),
            done: 0,
        })
    }

    /// Runs a command line (words between blanks) on both.
    #[track_caller]
    fn check(&mut self, line: &str) -> Reply {
        const COMMANDS_BETWEEN_DEMOTIONS: u64 = 97;
        self.done += 1;
        if self.done.is_multiple_of(COMMANDS_BETWEEN_DEMOTIONS) {
            self.client.line("TIER DEMOTE ALL");
        }
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let (found, expected) = (self.client.call(&words), self.expected.call(&words));
        assert_eq!(found, expected, "{line}");
        found
    }

    /// Compares a sorted set. Redis 7.0 prints other digits of the same number.
    #[track_caller]
    fn check_scores(&mut self, key: &str) {
        let line = ["ZRANGE", key, "0", "-1", "WITHSCORES"];
        let members = |reply: Reply| -> Vec<(String, f64)> {
            let pairs = reply.items().chunks(2);
            pairs
                .map(|pair| (pair[0].text(), pair[1].text().parse().expect("a score")))
                .collect()
        };
        let (found, expected) = (self.client.call(&line), self.expected.call(&line));
        assert_eq!(members(found), members(expected), "{key}");
    }

    fn key(&mut self) -> String {
        format!("key:{}", self.random.below(4))
    }
}

#[test]
fn bitmaps_are_those_of_redis() {
    let Some(mut pair) = Pair::start(1) else {
        return;
    };
    for _ in 0..3000 {
        let (key, other) = (pair.key(), pair.key());
        let random = &mut pair.random;
        let (offset, bit) = (random.below(3000), random.below(2));
        let (start, end) = (
            random.below(400) as i64 - 200,
            random.below(400) as i64 - 200,
        );
        let field = format!("{}{}", random.one_of(&["i", "u"]), 1 + random.below(63));
        let number = random.next() as i64 - (1 << 30);
        let overflow = random.one_of(&["WRAP", "SAT", "FAIL"]);
        let unit = random.one_of(&["BYTE", "BIT"]);
        let operation = random.one_of(&["AND", "OR", "XOR"]);
        let line = match random.below(12) {
            0..3 => format!("SETBIT {key} {offset} {bit}"),
            3 => format!("GETBIT {key} {offset}"),
            4 => format!("BITCOUNT {key} {start} {end} {unit}"),
            5 => format!("BITPOS {key} {bit} {start} {end} {unit}"),
            6 => format!("BITPOS {key} {bit} {start}"),
            7 => format!("BITOP {operation} {key} {other} {key} none"),
            8 => format!("BITOP NOT {key} {other}"),
            9 => format!(
                "BITFIELD {key} OVERFLOW {overflow} INCRBY {field} #{} {number} GET {field} {offset}",
                offset % 40
            ),
            10 => format!(
                "BITFIELD {key} OVERFLOW {overflow} SET {field} {offset} {number} INCRBY {field} {offset} {number}"
            ),
            _ => format!("BITCOUNT {key}"),
        };
        pair.check(&line);
        pair.check(&format!("GETRANGE {key} 0 -1"));
    }
}

#[test]
fn hyperloglogs_count_as_in_redis() {
    let Some(mut pair) = Pair::start(2) else {
        return;
    };
    for round in 0..400u64 {
        let (key, other) = (pair.key(), pair.key());
        let elements: Vec<String> = (0..pair.random.below(1 + round % 60))
            .map(|_| pair.random.below(100_000).to_string())
            .collect();
        if !elements.is_empty() {
            pair.check(&format!("PFADD {key} {}", elements.join(" ")));
        }
        pair.check(&format!("PFCOUNT {key}"));
        pair.check(&format!("PFCOUNT {key} {other} none"));
        match pair.random.below(20) {
            0 => pair.check(&format!("PFMERGE {key} {other}")),
            1 => pair.check(&format!("DEL {key}")),
            _ => continue,
        };
    }
    // What Redis stored, sparse or dense, counts the same here, and takes the same elements.
    for number in 0..4 {
        let (key, copy) = (format!("key:{number}"), format!("copy:{number}"));
        let stored = pair.expected.call(&["GET", key.as_str()]);
        if matches!(stored, Reply::Null) {
            continue;
        }
        let set: [&[u8]; 3] = [b"SET", copy.as_bytes(), stored.bytes()];
        assert_eq!(pair.client.call(&set), pair.expected.call(&set));
        pair.check(&format!("PFCOUNT {copy}"));
        pair.check(&format!("PFADD {copy} new elements that were not there"));
        pair.check(&format!("PFCOUNT {copy} {key}"));
    }
}

/// A random GEOSEARCH or GEORADIUS.
fn search(random: &mut Random, key: &str) -> String {
    let (longitude, latitude) = (random.coordinate(180.0), random.coordinate(85.0));
    let unit = random.one_of(&["m", "km", "ft", "mi"]);
    let magnitude = 10u64.pow(random.below(8) as u32);
    let (width, height) = (random.below(magnitude) + 1, random.below(magnitude) + 1);
    let member = format!("member:{}", random.below(300));
    let order = random.one_of(&["ASC", "DESC"]);
    let shown = random.one_of(&[
        "WITHDIST",
        "WITHCOORD WITHHASH",
        "WITHCOORD WITHDIST WITHHASH",
    ]);
    let count = 1 + random.below(20);
    match random.below(7) {
        0 => format!("GEORADIUS {key} {longitude} {latitude} {width} {unit} {shown}"),
        1 => format!("GEORADIUS {key} {longitude} {latitude} {width} {unit} COUNT {count} {order}"),
        2 => format!("GEORADIUSBYMEMBER {key} {member} {width} {unit} {order} {shown}"),
        3 => format!(
            "GEOSEARCH {key} FROMLONLAT {longitude} {latitude} BYBOX {width} {height} {unit} {order} {shown}"
        ),
        4 => format!(
            "GEOSEARCH {key} FROMMEMBER {member} BYBOX {width} {height} {unit} COUNT {count} ANY"
        ),
        5 => format!(
            "GEOSEARCHSTORE found {key} FROMLONLAT {longitude} {latitude} BYRADIUS {width} {unit} STOREDIST"
        ),
        _ => format!("GEORADIUS {key} {longitude} {latitude} {width} {unit} STORE found"),
    }
}

#[test]
fn places_are_found_as_in_redis() {
    let Some(mut pair) = Pair::start(3) else {
        return;
    };
    for _ in 0..1500 {
        let key = pair.key();
        let random = &mut pair.random;
        let (longitude, latitude) = (random.coordinate(180.0), random.coordinate(85.05));
        let member = format!("member:{}", random.below(300));
        let other = format!("member:{}", random.below(300));
        match random.below(5) {
            0 => pair.check(&format!(
                "GEOADD {key} {longitude} {latitude} {member} {latitude} 1 {other}"
            )),
            1 => pair.check(&format!(
                "GEOADD {key} XX CH {longitude} {latitude} {member}"
            )),
            2 => pair.check(&format!("GEOPOS {key} {member} {other}")),
            3 => pair.check(&format!("GEOHASH {key} {member} {other}")),
            _ => pair.check(&format!("GEODIST {key} {member} {other} km")),
        };
        let line = search(&mut pair.random, &key);
        pair.check(&line);
        if line.ends_with("STOREDIST") || line.ends_with("found") {
            pair.check_scores("found");
        }
    }
    for number in 0..4 {
        pair.check_scores(&format!("key:{number}"));
    }
}

#[test]
fn sorting_is_that_of_redis() {
    let Some(mut pair) = Pair::start(4) else {
        return;
    };
    for number in 0..60 {
        let weight = pair.random.below(40);
        pair.check(&format!("SET weight_{number} {weight}"));
        let weight = pair.random.below(40);
        pair.check(&format!(
            "HSET hash_{number} weight {weight}.5 name name-{weight}"
        ));
    }
    for _ in 0..600 {
        let key = pair.key();
        let random = &mut pair.random;
        let (element, score) = (random.below(70), random.below(1000));
        let line = match (&*key, random.below(6)) {
            ("key:0" | "key:1", 0..4) => format!("RPUSH {key} {element}"),
            ("key:2", 0..4) => format!("SADD {key} {element}"),
            (_, 0..4) => format!("ZADD key:3 {score} {element}"),
            (_, 4) => format!("DEL weight_{element}"),
            _ => format!("SET weight_{element} {score}"),
        };
        pair.check(&line);
        let random = &mut pair.random;
        // Equal elements and equal texts are in no order that Redis promises, so texts are compared with all shown alike.
        let by = random.one_of(&[
            "BY weight_*",
            "BY hash_*->weight",
            "ALPHA",
            "ASC",
            "BY missing_*",
        ]);
        let order = random.one_of(&["ASC", "DESC"]);
        let get = random.one_of(&[
            "GET #",
            "GET # GET weight_* GET hash_*->name",
            "GET hash_*->none GET fixed",
            "ASC",
        ]);
        let order = if get == "ASC" {
            order
        } else {
            format!("{order} {get}")
        };
        let limit = format!("LIMIT {} {}", random.below(20), random.below(20));
        let store = random.one_of(&["", " STORE sorted"]);
        pair.check(&format!("SORT {key} {by} {order} {limit}{store}"));
        pair.check("LRANGE sorted 0 -1");
        pair.check(&format!("SORT key:3 BY nosort {limit} GET # DESC"));
        pair.check(&format!("SORT_RO key:0 BY nosort {limit} GET weight_*"));
    }
}

#[test]
fn sort_with_patterns_runs_inside_a_transaction() {
    let Some(mut pair) = Pair::start(5) else {
        return;
    };
    for line in [
        "RPUSH list 1 2 3",
        "MSET w1 3 w2 2 w3 1",
        "MULTI",
        "SORT list BY w* GET w* STORE sorted",
        "RPUSH sorted last",
        "SORT list BY w*",
        "EXEC",
        "LRANGE sorted 0 -1",
    ] {
        pair.check(line);
    }
    let before = pair.server.tier_statistics();
    assert!(!before.is_empty());
}

#[test]
fn a_prefix_goes_in_all_tiers() {
    const KEYS: usize = 3000;
    let mut server = Server::start("--maxmemory 256mb");
    let mut client = server.client();
    for number in 0..KEYS {
        client.ok(&format!("SET doomed:{number} value"));
        client.ok(&format!("SET kept:{number} value"));
    }
    client.line("TIER DEMOTE ALL");
    for number in 0..KEYS / 3 {
        client.ok(&format!("SET doomed:{number} value-again EX 1000"));
    }
    assert_eq!(
        client.line("DELPREFIX doomed: SYNC"),
        Reply::Integer(KEYS as i64)
    );
    assert_eq!(client.line("DBSIZE"), Reply::Integer(KEYS as i64));
    assert_eq!(client.line("GET doomed:1"), Reply::Null);
    assert_eq!(client.line("DELPREFIX doomed: SYNC"), Reply::Integer(0));
    client.ok("SET doomed:1 new");
    drop(client);
    server.kill_and_restart();
    let mut client = server.client();
    assert_eq!(client.line("DBSIZE"), Reply::Integer(KEYS as i64 + 1));
    assert_eq!(client.line("GET doomed:1"), Reply::bulk("new"));
    client.ok("DELPREFIX kept:");
    crate::harness::wait_until("the keys are gone", || {
        client.line("DBSIZE") == Reply::Integer(1)
    });
}
