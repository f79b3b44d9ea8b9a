//! Ends and starts: by signal, by command, by `kill -9` in the middle of everything, with a log and without, with a disk
//! and without.

use crate::harness::{Server, wait_until};
use crate::wire::{Client, Reply, encode};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn count_by_scan(client: &mut Client) -> i64 {
    let (mut keys, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let reply = client.call(&["SCAN", &cursor, "COUNT", "500"]);
        keys.extend(reply.items()[1].items().iter().map(Reply::text));
        cursor = reply.items()[0].text();
        if cursor == "0" {
            return keys.len() as i64;
        }
    }
}

/// A way to end a server, and its name.
type End = (&'static str, fn(&mut Server));

/// Ways to end a server.
const ENDS: &[End] = &[
    ("SIGTERM", Server::terminate),
    ("SHUTDOWN", Server::shut_down),
    ("SHUTDOWN NOSAVE", |server| {
        server.shut_down_with("SHUTDOWN NOSAVE")
    }),
    ("SHUTDOWN SAVE", |server| {
        server.shut_down_with("SHUTDOWN SAVE")
    }),
    ("SIGKILL", Server::kill),
];

#[test]
fn whatever_the_end_everything_is_there_again() {
    let mut server = Server::start("--maxmemory 64mb");
    let mut expected = 0;
    for (name, end) in ENDS.iter().chain(ENDS) {
        let mut client = server.client();
        for number in 0..200 {
            client.ok(&format!(
                "SET {}:{expected} {number}",
                name.replace(' ', "-")
            ));
            expected += 1;
            if number == 100 {
                client.line("TIER DEMOTE ALL");
            }
        }
        end(&mut server);
        server.start_again();
        let mut client = server.client();
        assert_eq!(client.line("DBSIZE"), Reply::Integer(expected), "{name}");
        assert_eq!(count_by_scan(&mut client), expected, "{name}");
        assert_eq!(server.info("loading"), "0");
    }
}

#[test]
fn without_a_log_a_restart_goes_back_to_the_last_snapshot() {
    let mut server = Server::start("--maxmemory 64mb --appendonly no --save ''");
    let mut client = server.client();
    for number in 0..100 {
        client.ok(&format!("SET key:{number} first"));
    }
    client.ok("SAVE");
    for number in 0..200 {
        client.ok(&format!("SET key:{number} second"));
    }
    server.kill_and_restart();
    let mut client = server.client();
    assert_eq!(client.line("DBSIZE"), Reply::Integer(100));
    assert_eq!(count_by_scan(&mut client), 100);
    assert_eq!(client.line("GET key:7"), Reply::bulk("first"));
    client.ok("SET key:7 third");
    server.shut_down_with("SHUTDOWN SAVE");
    server.start_again();
    assert_eq!(server.client().line("GET key:7"), Reply::bulk("third"));
}

#[test]
fn without_a_log_counts_agree_even_if_newer_records_became_cold() {
    let mut server = Server::start("--maxmemory 64mb --appendonly no --save ''");
    for round in 0..3 {
        let mut client = server.client();
        for number in 0..100 {
            client.ok(&format!("SET key:{round}:{number} {round}"));
        }
        client.ok("SAVE");
        for number in 0..150 {
            client.ok(&format!("SET key:{round}:{number} later"));
        }
        client.line("TIER DEMOTE ALL");
        client.line(&format!("DEL key:{round}:3"));
        server.kill_and_restart();
        let mut client = server.client();
        let found = count_by_scan(&mut client);
        assert_eq!(
            client.line("DBSIZE"),
            Reply::Integer(found),
            "round {round}"
        );
        assert!(
            found >= 100 * (round + 1) - 3,
            "what the snapshot held is there: {found}"
        );
    }
}

#[test]
fn a_log_can_be_turned_off_and_on_again() {
    let mut server = Server::start("--maxmemory 64mb --save ''");
    server.client().ok("SET a 1");
    for (appendonly, key) in [("no", "b"), ("yes", "c"), ("no", "d"), ("yes", "e")] {
        server.shut_down_with("SHUTDOWN SAVE");
        server.set_options(&format!(
            "--maxmemory 64mb --save '' --appendonly {appendonly}"
        ));
        server.start_again();
        let mut client = server.client();
        client.ok(&format!("SET {key} 1"));
        client.line("TIER DEMOTE a");
        if appendonly == "yes" {
            server.kill_and_restart();
        }
    }
    let mut client = server.client();
    assert_eq!(client.line("MGET a b c d e"), Reply::bulks(["1"; 5]));
    assert_eq!(client.line("DBSIZE"), Reply::Integer(5));
}

#[test]
fn a_plain_cache_in_memory_evicts_by_its_policy() {
    let options =
        "--maxdisk 0 --maxmemory 24mb --save '' --appendonly no --maxmemory-policy allkeys-lru";
    let server = Server::start(options);
    let mut client = server.client();
    let value = "x".repeat(1000);
    for batch in 0..60 {
        let requests: Vec<Vec<String>> = (0..1000)
            .map(|number| {
                vec![
                    "SET".to_owned(),
                    format!("key:{batch}:{number}"),
                    value.clone(),
                ]
            })
            .collect();
        for reply in client.pipeline(&requests) {
            assert_eq!(reply, Reply::ok(), "allkeys-lru refuses nothing");
        }
    }
    // Eviction may still be going on.
    let mut evicted = 0;
    wait_until("no key goes without being counted", || {
        evicted = server.info("evicted_keys").parse().expect("a number");
        let count = count_by_scan(&mut client);
        count == 60_000 - evicted && client.line("DBSIZE") == Reply::Integer(count)
    });
    assert!(evicted > 10_000, "{evicted}");
    let mut survivors = |batch: usize| -> i64 {
        (0..1000)
            .map(|number| {
                client
                    .line(&format!("EXISTS key:{batch}:{number}"))
                    .integer()
            })
            .sum()
    };
    let (oldest, newest) = (survivors(0), survivors(59));
    assert!(
        oldest < newest,
        "{oldest} of the oldest and {newest} of the newest are left"
    );
    assert_eq!(server.tier_statistics()["cold_records"], 0);
}

#[test]
fn noeviction_refuses_what_would_grow_and_nothing_else() {
    let server = Server::start("--maxdisk 0 --maxmemory 24mb --save '' --appendonly no");
    let mut client = server.client();
    let value = "x".repeat(10_000);
    let refused = (0..10_000).find_map(|number| {
        match client.call(&["SET", &format!("key:{number}"), &value]) {
            Reply::Simple(_) => None,
            reply => Some((number, reply)),
        }
    });
    let (count, reply) = refused.expect("a hundred megabytes do not fit");
    assert!(
        reply.error().starts_with("OOM command not allowed"),
        "{reply:?}"
    );
    assert_eq!(client.line("DBSIZE"), Reply::Integer(count));
    assert_eq!(client.line("STRLEN key:0"), Reply::Integer(10_000));
    for number in 0..count / 2 {
        assert_eq!(client.line(&format!("DEL key:{number}")), Reply::Integer(1));
    }
    wait_until("there is room again", || {
        client.line("SET late value") == Reply::ok()
    });
}

/// Writers count upwards in keys of their own, each number acknowledged before the next.
fn count_upwards(mut client: Client, writer: usize, from: usize) -> usize {
    for number in from + 1.. {
        let key = format!("counter:{writer}:{}", number % 50);
        let bytes = [
            encode(&[
                "SET",
                &key,
                &format!("{number}:{}", "x".repeat(number % 700)),
            ]),
            encode(&["RPUSH", &format!("list:{writer}"), &number.to_string()]),
        ]
        .concat();
        let is_acknowledged = client.send_bytes(&bytes).is_ok()
            && client.try_read().is_ok()
            && client.try_read().is_ok();
        if !is_acknowledged {
            return number - 1;
        }
    }
    0
}

#[test]
fn kills_amid_writes_snapshots_and_demotions_lose_nothing() {
    const WRITERS: usize = 3;
    const ROUNDS: u64 = 6;
    let mut server = Server::start("--maxmemory 64mb --appendfsync no --save ''");
    let mut acknowledged = [0; WRITERS];
    for round in 0..ROUNDS {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (client, from) = (server.client(), acknowledged[writer]);
                    scope.spawn(move || count_upwards(client, writer, from))
                })
                .collect();
            for line in ["BGSAVE", "TIER DEMOTE ALL", "SAVE"] {
                let (mut client, is_over) = (server.client(), &is_over);
                scope.spawn(move || {
                    let request = encode(&line.split(' ').collect::<Vec<_>>());
                    while !is_over.load(Ordering::Relaxed)
                        && client.send_bytes(&request).is_ok()
                        && client.try_read().is_ok()
                    {
                        std::thread::sleep(Duration::from_millis(7));
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(150 + 130 * round));
            server.kill();
            is_over.store(true, Ordering::Relaxed);
            for (writer, thread) in writers.into_iter().enumerate() {
                acknowledged[writer] = thread.join().expect("the writer ends");
            }
        });
        server.start_again();
        let mut client = server.client();
        for (writer, acknowledged) in acknowledged.iter_mut().enumerate() {
            let length = client.line(&format!("LLEN list:{writer}")).integer() as usize;
            // The SET before a lost reply may have been carried out and the RPUSH behind it not.
            assert!(
                (*acknowledged..=*acknowledged + 1).contains(&length),
                "round {round}: {length} of {acknowledged}"
            );
            let list = client.line(&format!("LRANGE list:{writer} 0 -1"));
            let expected = (1..=length).map(|number| number.to_string());
            assert!(
                list == Reply::bulks(expected),
                "round {round}: the list of writer {writer} has a hole"
            );
            for number in length.saturating_sub(48)..=length {
                let value = client.line(&format!("GET counter:{writer}:{}", number % 50));
                if number > 0 {
                    let found: usize = value
                        .text()
                        .split(':')
                        .next()
                        .and_then(|text| text.parse().ok())
                        .expect("a number");
                    assert!(
                        found == number || found == number + 50 || found == length + 1,
                        "{found} for {number}"
                    );
                }
            }
            *acknowledged = length;
        }
        let count = count_by_scan(&mut client);
        assert_eq!(
            client.line("DBSIZE"),
            Reply::Integer(count),
            "round {round}"
        );
    }
    assert!(
        acknowledged.iter().all(|count| *count > 100),
        "{acknowledged:?}"
    );
}

#[test]
fn whoever_waits_for_the_log_to_be_rewritten_may_save_then() {
    let server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    for round in 0..10 {
        client.ok(&format!("SET round {round}"));
        client.line("BGREWRITEAOF");
        wait_until("the log is rewritten", || {
            server.info("aof_rewrite_in_progress") == "0"
        });
        client.ok("SAVE");
    }
    assert_eq!(server.info("aof_last_bgrewrite_status"), "ok");
}

#[test]
fn a_reload_brings_back_what_was_there_with_or_without_a_snapshot() {
    let server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    let load = |client: &mut Client, name: &str| {
        let code = format!(
            "#!lua name={name}\nredis.register_function('{name}', function() return '{name}' end)"
        );
        assert_eq!(client.call(&["FUNCTION", "LOAD", &code]), Reply::bulk(name));
    };
    let snapshots = || -> BTreeSet<PathBuf> {
        let files = std::fs::read_dir(server.directory().join("snapshots")).expect("a directory");
        files.map(|file| file.expect("a file").path()).collect()
    };
    client.ok("SET a 1");
    load(&mut client, "first");
    client.ok("DEBUG RELOAD");
    let taken = snapshots();
    assert!(!taken.is_empty());
    client.ok("SET b 2");
    load(&mut client, "second");
    for line in [
        "DEBUG RELOAD NOSAVE",
        "DEBUG RELOAD NOSAVE NOFLUSH MERGE",
        "DEBUG LOADAOF",
    ] {
        client.ok(line);
        assert_eq!(
            client.line("TIER WHERE a b"),
            Reply::bulks(["cold"; 2]),
            "{line}"
        );
        assert_eq!(client.line("MGET a b"), Reply::bulks(["1", "2"]), "{line}");
        for name in ["first", "second"] {
            assert_eq!(
                client.line(&format!("FCALL {name} 0")),
                Reply::bulk(name),
                "{line}"
            );
        }
    }
    assert_eq!(snapshots(), taken, "the log had it all");
    let without_log = Server::start("--maxmemory 64mb --appendonly no");
    let mut client = without_log.client();
    client.ok("SET a 1");
    let refused = client.line("DEBUG RELOAD NOSAVE");
    assert_eq!(
        refused.error(),
        "ERR Error trying to load the RDB dump, check server logs."
    );
    let refused = client.line("DEBUG LOADAOF");
    assert_eq!(
        refused.error(),
        "ERR Error trying to load the AOF files, check server logs."
    );
    assert_eq!(client.line("GET a"), Reply::bulk("1"));
    client.ok("DEBUG RELOAD");
    assert_eq!(client.line("GET a"), Reply::bulk("1"));
}
