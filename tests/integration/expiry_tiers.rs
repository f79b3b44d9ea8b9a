//! Deadlines in every tier: what has expired is never seen, and it is reclaimed wherever it is.
//!
//! Deadlines are short because the real clock runs; nothing here asserts that something happened in time, only that it
//! did not happen too early and happens at last.

use crate::harness::{Server, wait_until};
use crate::wire::{Client, Reply};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where keys are when their time is over: options of the server, and whether they are demoted.
const PLACES: &[(&str, &str, bool)] = &[
    ("hot", "--maxmemory 64mb", false),
    ("warm", "--maxmemory 64mb", true),
    ("cold", "--maxmemory 64mb --warm-percent 0", true),
];

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as u64
}

fn sleep_until(deadline_ms: u64) {
    while now_ms() <= deadline_ms {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn scan(client: &mut Client) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let reply = client.call(&["SCAN", &cursor, "COUNT", "100"]);
        keys.extend(reply.items()[1].items().iter().map(Reply::text));
        cursor = reply.items()[0].text();
        if cursor == "0" {
            keys.sort();
            keys.dedup();
            return keys;
        }
    }
}

/// One key of each type; long values, so that a demoted one is kept warm where there is a warm tier.
fn make_keys(client: &mut Client, prefix: &str) -> Vec<String> {
    let long = "long value ".repeat(100);
    let make: [&[&str]; 5] = [
        &["SET", "text", &long],
        &["RPUSH", "list", &long, "b"],
        &["SADD", "set", &long, "b"],
        &["HSET", "hash", "field", &long],
        &["ZADD", "sorted", "1", &long],
    ];
    make.iter()
        .map(|words| {
            let key = format!("{prefix}:{}", words[1]);
            let mut words: Vec<&str> = words.to_vec();
            words[1] = &key;
            client.call(&words);
            key
        })
        .collect()
}

#[test]
fn what_has_expired_is_never_seen_in_any_tier() {
    for (place, options, is_demoted) in PLACES {
        let server = Server::start(options);
        let mut client = server.client();
        client.ok("DEBUG SET-ACTIVE-EXPIRE 0");
        let keys = make_keys(&mut client, "due");
        let stays = make_keys(&mut client, "stays");
        let deadline_ms = now_ms() + 1500;
        for key in &keys {
            assert_eq!(
                client.line(&format!("PEXPIREAT {key} {deadline_ms}")),
                Reply::Integer(1)
            );
        }
        if *is_demoted {
            assert_eq!(client.line("TIER DEMOTE ALL"), Reply::Integer(10));
            if *place == "warm" {
                // The first look at a cold text leaves a copy.
                client.line("GETRANGE due:text 0 0");
            }
            let expected = Reply::bulks([place]);
            assert_eq!(client.line("TIER WHERE due:text"), expected);
        }
        for key in &keys {
            let reply = client.line(&format!("PEXPIRETIME {key}"));
            assert!(
                reply == Reply::Integer(deadline_ms as i64) || now_ms() > deadline_ms,
                "{place}: {reply:?}"
            );
        }
        sleep_until(deadline_ms);
        let expected: Vec<String> = {
            let mut stays = stays.clone();
            stays.sort();
            stays
        };
        assert_eq!(scan(&mut client), expected, "{place}: SCAN");
        for key in &keys {
            for (command, expected) in [
                ("EXISTS", Reply::Integer(0)),
                ("TTL", Reply::Integer(-2)),
                ("TYPE", Reply::Simple("none".to_owned())),
                ("GET", Reply::Null),
                ("TIER WHERE", Reply::Array(vec![Reply::Null])),
                ("PERSIST", Reply::Integer(0)),
                ("DEL", Reply::Integer(0)),
            ] {
                assert_eq!(
                    client.line(&format!("{command} {key}")),
                    expected,
                    "{place}: {command} {key}"
                );
            }
        }
        for _ in 0..20 {
            assert!(stays.contains(&client.line("RANDOMKEY").text()), "{place}");
        }
        assert_eq!(
            client.line("RENAME due:list other").error(),
            "ERR no such key"
        );
        assert_eq!(
            client.line("RPUSH due:list fresh"),
            Reply::Integer(1),
            "{place}: nothing of the old list is left"
        );
        assert_eq!(client.line("TTL due:list"), Reply::Integer(-1));
    }
}

#[test]
fn keys_are_reclaimed_in_every_tier_without_being_touched() {
    const DUE: usize = 300;
    for (place, options, is_demoted) in PLACES {
        let mut server = Server::start(options);
        let mut client = server.client();
        for number in 0..DUE {
            client.line(&format!("SET due:{number} value PX {}", 500 + number));
        }
        for number in 0..100 {
            client.line(&format!("SET stays:{number} value EX 100000"));
        }
        if *is_demoted {
            client.line("TIER DEMOTE ALL");
        }
        wait_until(&format!("{place}: expired keys are reclaimed"), || {
            client.line("DBSIZE") == Reply::Integer(100)
        });
        wait_until(&format!("{place}: their records go"), || {
            let cold_records = server.tier_statistics()["cold_records"];
            cold_records <= 100
        });
        assert_eq!(server.info("expired_keys"), DUE.to_string(), "{place}");
        assert_eq!(
            server.info("db0"),
            "keys=100,expires=100,avg_ttl=0",
            "{place}"
        );
        assert_eq!(scan(&mut client).len(), 100, "{place}");
        server.kill_and_restart();
        assert_eq!(
            server.client().line("DBSIZE"),
            Reply::Integer(100),
            "{place}: after a kill"
        );
        assert_eq!(
            scan(&mut server.client()).len(),
            100,
            "{place}: after a kill"
        );
    }
}

#[test]
fn what_expires_while_the_server_is_down_does_not_come_back() {
    for (place, options, is_demoted) in PLACES {
        for is_orderly in [false, true] {
            let mut server = Server::start(options);
            let mut client = server.client();
            let keys = make_keys(&mut client, "due");
            make_keys(&mut client, "stays");
            let deadline_ms = now_ms() + 600;
            for key in &keys {
                client.line(&format!("PEXPIREAT {key} {deadline_ms}"));
            }
            if *is_demoted {
                client.line("TIER DEMOTE ALL");
            }
            if is_orderly {
                server.shut_down()
            } else {
                server.kill()
            }
            sleep_until(deadline_ms);
            server.start_again();
            let mut client = server.client();
            for key in &keys {
                assert_eq!(
                    client.line(&format!("EXISTS {key}")),
                    Reply::Integer(0),
                    "{place}: {key}, orderly: {is_orderly}"
                );
            }
            wait_until(
                &format!("{place}: they are not counted, orderly: {is_orderly}"),
                || client.line("DBSIZE") == Reply::Integer(5),
            );
            assert_eq!(scan(&mut client).len(), 5);
        }
    }
}

#[test]
fn a_deadline_that_was_changed_or_taken_away_counts_no_more() {
    for (place, options, is_demoted) in PLACES {
        let mut server = Server::start(options);
        let mut client = server.client();
        let deadline_ms = now_ms() + 1200;
        let keys = [
            "later",
            "persisted",
            "set",
            "renamed",
            "copied",
            "deleted",
            "appended",
            "keepttl",
        ];
        for key in keys {
            client.line(&format!(
                "SET {key} {} PXAT {deadline_ms}",
                "value".repeat(100)
            ));
        }
        let demote = |client: &mut Client| {
            if *is_demoted {
                client.line("TIER DEMOTE ALL");
            }
        };
        demote(&mut client);
        for line in [
            "EXPIRE later 100000",
            "PERSIST persisted",
            "SET set again",
            "RENAME renamed moved",
            "PERSIST moved",
            "COPY copied copy",
            "PERSIST copy",
            "DEL deleted",
            "SET deleted again",
            "APPEND appended more",
            "SET keepttl again KEEPTTL",
        ] {
            let reply = client.line(line);
            assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        }
        demote(&mut client);
        sleep_until(deadline_ms);
        let expected = ["copy", "deleted", "later", "moved", "persisted", "set"];
        wait_until(&format!("{place}: only these are left"), || {
            client.line("DBSIZE") == Reply::Integer(expected.len() as i64)
        });
        // A pass of the expiry that went by the old deadlines would have taken these by now.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(scan(&mut client), expected, "{place}");
        assert!(client.line("TTL later").integer() > 99_000, "{place}");
        server.kill_and_restart();
        assert_eq!(
            scan(&mut server.client()),
            expected,
            "{place}, after a kill"
        );
        assert_eq!(
            server.client().line("DBSIZE"),
            Reply::Integer(expected.len() as i64),
            "{place}, after a kill"
        );
    }
}

#[test]
fn counters_of_the_keyspace_do_not_depend_on_the_tier() {
    let mut server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    for database in 0..2 {
        client.ok(&format!("SELECT {database}"));
        for number in 0..60 + database {
            client.ok(&format!("SET key:{number} value"));
            if number % 3 == 0 {
                client.line(&format!("EXPIRE key:{number} 100000"));
            }
        }
    }
    let counts = [
        "keys=60,expires=20,avg_ttl=0",
        "keys=61,expires=21,avg_ttl=0",
    ];
    let assert_counts = |server: &Server, when: &str| {
        for (database, expected) in counts.iter().enumerate() {
            assert_eq!(server.info(&format!("db{database}")), *expected, "{when}");
        }
    };
    assert_counts(&server, "hot");
    client.line("TIER DEMOTE ALL");
    client.ok("SELECT 0");
    client.line("TIER DEMOTE ALL");
    assert_counts(&server, "demoted");
    for number in 0..60 {
        client.line(&format!("APPEND key:{number} more"));
    }
    assert_counts(&server, "partly promoted");
    server.kill_and_restart();
    assert_counts(&server, "after a kill");
    server.client().ok("SAVE");
    assert_counts(&server, "after a snapshot");
    server.shut_down();
    server.start_again();
    assert_counts(&server, "after an orderly end");
    let mut client = server.client();
    for number in 0..60 {
        client.line(&format!("DEL key:{number}"));
    }
    assert_eq!(client.line("DBSIZE"), Reply::Integer(0));
    assert_eq!(client.line("RANDOMKEY"), Reply::Null);
}
