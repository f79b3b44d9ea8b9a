//! MULTI, EXEC, WATCH: atomic whatever tier the keys are in and whoever writes meanwhile.

use crate::harness::Server;
use crate::wire::{Client, Reply, encode};
use std::sync::atomic::{AtomicBool, Ordering};

const OPTIONS: &str = "--maxmemory 64mb";

fn queued() -> Reply {
    Reply::Simple("QUEUED".to_owned())
}

#[test]
fn exec_runs_the_queue_and_discard_forgets_it() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    client.ok("SET text value");
    client.ok("MULTI");
    for line in ["INCR counter", "LPUSH text item", "GET counter"] {
        assert_eq!(client.line(line), queued(), "{line}");
    }
    let wrong_type = Reply::Error(
        "WRONGTYPE Operation against a key holding the wrong kind of value".to_owned(),
    );
    let expected = Reply::Array(vec![Reply::Integer(1), wrong_type, Reply::bulk("1")]);
    assert_eq!(
        client.line("EXEC"),
        expected,
        "an error does not stop the others"
    );
    client.ok("MULTI");
    assert_eq!(client.line("INCR counter"), queued());
    client.ok("DISCARD");
    assert_eq!(client.line("GET counter"), Reply::bulk("1"));
    client.ok("MULTI");
    assert!(
        client
            .line("INCR")
            .error()
            .starts_with("ERR wrong number of arguments")
    );
    assert!(client.line("MULTI").error().contains("can not be nested"));
    assert!(client.line("EXEC").error().starts_with("EXECABORT"));
    assert!(client.line("EXEC").error().contains("EXEC without MULTI"));
    for line in ["MULTI", "UNWATCH"] {
        client.line(line);
        assert_eq!(
            client.line("EXEC now").error(),
            "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
        );
    }
    assert!(client.line("EXEC").error().contains("EXEC without MULTI"));
    assert!(
        client
            .line("DISCARD")
            .error()
            .contains("DISCARD without MULTI")
    );
}

#[test]
fn exec_is_refused_if_a_queued_command_would_be() {
    let server = Server::start(OPTIONS);
    let (mut client, mut other) = (server.client(), server.client());
    client.ok("SET text value");
    for (directive, set, usual, code) in [
        ("min-replicas-to-write", "2", "0", "NOREPLICAS"),
        ("maxmemory", "1", "64mb", "OOM"),
    ] {
        for (queue, is_refused) in [("GET text", false), ("SET text other", true)] {
            client.ok("MULTI");
            for line in [queue, "PING"] {
                assert_eq!(client.line(line), queued(), "{directive}: {line}");
            }
            other.ok(&format!("CONFIG SET {directive} {set}"));
            let reply = client.line("EXEC");
            other.ok(&format!("CONFIG SET {directive} {usual}"));
            if is_refused {
                let text = format!("EXECABORT Transaction discarded because of: {code} ");
                assert!(reply.error().starts_with(&text), "{reply:?}");
            } else {
                assert_eq!(reply.items()[0], Reply::bulk("value"), "{directive}");
            }
        }
    }
    assert_eq!(client.line("GET text"), Reply::bulk("value"));
    other.ok("CONFIG SET min-replicas-to-write 1");
    client.ok("MULTI");
    assert!(client.line("DEL text").error().starts_with("NOREPLICAS "));
    assert!(client.line("EXEC").error().starts_with("EXECABORT"));
    assert_eq!(server.info("min_slaves_good_slaves"), "0");
}

/// What is done to a watched key by somebody else, and whether EXEC has to fail then.
const MEANWHILE: &[(&str, bool)] = &[
    ("SET watched other", true),
    ("APPEND watched more", true),
    ("DEL watched", true),
    ("PEXPIREAT watched 4000000000000", true),
    ("RENAME watched elsewhere", true),
    ("COPY other watched REPLACE", true),
    ("FLUSHDB", true),
    ("FLUSHALL", true),
    ("SWAPDB 0 1", true),
    ("GET watched", false),
    ("SET unrelated value", false),
    ("TIER DEMOTE watched", false),
    ("TIER DEMOTE ALL", false),
    ("SAVE", false),
    ("GETEX watched", false),
    ("DEL nothing", false),
];

#[test]
fn watch_notices_changes_and_nothing_else_in_every_tier() {
    let server = Server::start(OPTIONS);
    let (mut client, mut other) = (server.client(), server.client());
    for is_cold in [false, true] {
        for (meanwhile, must_fail) in MEANWHILE {
            other.ok("FLUSHALL");
            other.ok("SET watched value");
            other.ok("SET other value");
            if is_cold {
                other.line("TIER DEMOTE ALL");
            }
            client.ok("WATCH watched");
            let reply = other.line(meanwhile);
            assert!(!matches!(reply, Reply::Error(_)), "{meanwhile}: {reply:?}");
            client.ok("MULTI");
            assert_eq!(client.line("SET done yes"), queued());
            let expected = if *must_fail {
                Reply::NullArray
            } else {
                Reply::Array(vec![Reply::ok()])
            };
            assert_eq!(
                client.line("EXEC"),
                expected,
                "{meanwhile}, cold: {is_cold}"
            );
        }
    }
}

#[test]
fn watch_notices_a_key_that_comes_into_being() {
    let server = Server::start(OPTIONS);
    let (mut client, mut other) = (server.client(), server.client());
    for (meanwhile, must_fail) in [
        ("SET absent now", true),
        ("GET absent", false),
        ("SETRANGE absent 0 ", false),
    ] {
        client.ok("WATCH absent");
        other.call(&meanwhile.split(' ').collect::<Vec<_>>());
        client.ok("MULTI");
        assert_eq!(client.line("PING"), queued());
        let failed = client.line("EXEC") == Reply::NullArray;
        assert_eq!(failed, must_fail, "{meanwhile}");
        other.line("DEL absent");
    }
    client.ok("WATCH absent");
    other.ok("SET absent now");
    client.ok("UNWATCH");
    client.ok("MULTI");
    assert_eq!(client.line("EXEC"), Reply::Array(Vec::new()));
}

/// Accounts whose sum never changes, if transfers are atomic and isolated.
const ACCOUNTS: usize = 12;
const START: i64 = 1000;
const TRANSFERS: usize = 300;

fn transfer(client: &mut Client, from: usize, to: usize) {
    let names = [format!("account:{from}"), format!("account:{to}")];
    let requests = [
        vec!["MULTI".to_owned()],
        vec!["DECRBY".to_owned(), names[0].clone(), "7".to_owned()],
        vec!["INCRBY".to_owned(), names[1].clone(), "7".to_owned()],
        vec![
            "HINCRBY".to_owned(),
            format!("ledger:{}", from % 3),
            names[0].clone(),
            "1".to_owned(),
        ],
        vec!["EXEC".to_owned()],
    ];
    let replies = client.pipeline(&requests);
    assert_eq!(replies[4].items().len(), 3, "{replies:?}");
}

/// The sum of all accounts, read in one transaction, or in one command.
fn sum(client: &mut Client, in_transaction: bool) -> i64 {
    let names: Vec<String> = (0..ACCOUNTS)
        .map(|account| format!("account:{account}"))
        .collect();
    let balances = if in_transaction {
        client.ok("MULTI");
        for name in &names {
            assert_eq!(client.call(&["GET", name]), queued());
        }
        client.line("EXEC")
    } else {
        client.call(&[&["MGET".to_owned()][..], &names].concat())
    };
    balances
        .items()
        .iter()
        .map(|balance| balance.text().parse::<i64>().expect("a number"))
        .sum()
}

#[test]
fn transfers_are_atomic_while_keys_change_tiers_and_across_a_kill() {
    let mut server = Server::start("--maxmemory 64mb --appendfsync no");
    let mut client = server.client();
    for account in 0..ACCOUNTS {
        client.ok(&format!("SET account:{account} {START}"));
    }
    let total = START * ACCOUNTS as i64;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let mut client = server.client();
                scope.spawn(move || {
                    for round in 0..TRANSFERS {
                        let from = (round * 5 + writer) % ACCOUNTS;
                        transfer(&mut client, from, (from + 1 + round % 7) % ACCOUNTS);
                    }
                })
            })
            .collect();
        let mut demoter = server.client();
        let is_over = &is_over;
        scope.spawn(move || {
            for account in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let line = if account % 9 == 8 {
                    "TIER DEMOTE ALL".to_owned()
                } else {
                    format!("TIER DEMOTE account:{account}")
                };
                demoter.line(&line);
            }
        });
        let mut reader = server.client();
        scope.spawn(move || {
            for round in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                assert_eq!(sum(&mut reader, round % 2 == 0), total, "round {round}");
            }
        });
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(
            results.iter().all(Result::is_ok),
            "all writers come to their end"
        );
    });
    server.kill_and_restart();
    let mut client = server.client();
    assert_eq!(sum(&mut client, true), total);
    let counts = (0..3).flat_map(|ledger| {
        client
            .line(&format!("HVALS ledger:{ledger}"))
            .items()
            .to_vec()
    });
    let transfers: i64 = counts
        .map(|count| count.text().parse::<i64>().expect("a number"))
        .sum();
    assert_eq!(transfers, 3 * TRANSFERS as i64);
}

#[test]
fn a_transaction_is_replayed_entirely_or_not_at_all() {
    let mut server = Server::start("--maxmemory 64mb --appendfsync no");
    let port = server.port();
    let writer = std::thread::spawn(move || {
        let mut client = Client::connect(port).expect("connects");
        let lines = [
            "MULTI",
            "INCR first",
            "RPUSH second item",
            "HINCRBY third field 1",
            "EXEC",
        ];
        let request: Vec<u8> = lines
            .iter()
            .flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>()))
            .collect();
        let mut acknowledged = 0;
        while client.send_bytes(&request).is_ok() && (0..5).all(|_| client.try_read().is_ok()) {
            acknowledged += 1;
        }
        acknowledged
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.kill();
    let acknowledged: i64 = writer.join().expect("the writer ends");
    server.start_again();
    let mut client = server.client();
    let count = client.line("LLEN second").integer();
    assert!(
        count >= acknowledged && count <= acknowledged + 1,
        "{count} of {acknowledged}"
    );
    assert_eq!(client.line("GET first"), Reply::bulk(count.to_string()));
    assert_eq!(
        client.line("HGET third field"),
        Reply::bulk(count.to_string())
    );
}

#[test]
fn what_follows_a_select_that_fails_runs_in_the_database_before_it() {
    let server = Server::start("--save '' --appendonly no");
    let mut client = server.client();
    assert_eq!(
        client.line("SELECT abc").error(),
        "ERR value is not an integer or out of range"
    );
    assert_eq!(
        client.line("SELECT 2147483648").error(),
        "ERR value is out of range, value must between -2147483648 and 2147483647"
    );
    let line = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let replies = client.pipeline(&[
        line("MULTI"),
        line("SELECT 99"),
        line("INCR a"),
        line("SELECT 1"),
        line("COPY a b DB 99"),
        line("INCR a"),
        line("EXEC"),
    ]);
    let out_of_range = Reply::Error("ERR DB index is out of range".to_owned());
    assert_eq!(
        replies[6].items(),
        [
            out_of_range.clone(),
            Reply::Integer(1),
            Reply::ok(),
            out_of_range,
            Reply::Integer(1)
        ]
    );
}
