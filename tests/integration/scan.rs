//! SCAN while keys move between tiers, and the parts of `redis-cli` that walk the keyspace.

use crate::harness::{Server, is_installed};
use crate::wire::{Client, Reply, encode};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const STABLE_KEYS: usize = 3000;

/// One complete SCAN, a request after the other.
fn scan(client: &mut Client, options: &str) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let reply = client.line(&format!("SCAN {cursor} {options}"));
        keys.extend(reply.items()[1].items().iter().map(Reply::text));
        cursor = reply.items()[0].text();
        let position: u64 = cursor.parse().expect("a cursor is a number");
        assert!(
            position < 1 << 53,
            "some clients hold a cursor in a double: {cursor}"
        );
        if position == 0 {
            return keys;
        }
    }
}

fn add_stable_keys(client: &mut Client) {
    let requests: Vec<Vec<String>> = (0..STABLE_KEYS)
        .map(|number| match number % 3 {
            0 => vec![
                "SET".to_owned(),
                format!("stable:{number}"),
                "value".repeat(number % 60),
            ],
            1 => vec![
                "RPUSH".to_owned(),
                format!("stable:{number}"),
                number.to_string(),
            ],
            _ => vec![
                "HSET".to_owned(),
                format!("stable:{number}"),
                "field".to_owned(),
                number.to_string(),
            ],
        })
        .collect();
    for reply in client.pipeline(&requests) {
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }
}

#[test]
fn every_stable_key_is_found_while_keys_move_come_and_go() {
    let mut server = Server::start("--maxmemory 64mb");
    add_stable_keys(&mut server.client());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let is_over = &is_over;
        let mut mover = server.client();
        scope.spawn(move || {
            for round in 0usize.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                if round % 5 == 0 {
                    mover.line("TIER DEMOTE ALL");
                }
                for number in (round % 7..STABLE_KEYS).step_by(31) {
                    // The wrong type for two of three: they are promoted all the same.
                    mover.line(&format!("APPEND stable:{number} x"));
                }
            }
        });
        let mut changer = server.client();
        scope.spawn(move || {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                changer.line(&format!("SET volatile:{number} value"));
                changer.line(&format!("DEL volatile:{}", number - 500));
            }
        });
        let mut scanner = server.client();
        let checked = std::thread::Builder::new().spawn_scoped(scope, move || {
            for count in [1, 10, 37, 100, 1000, 10, 5000, 20] {
                let found: BTreeSet<String> = scan(&mut scanner, &format!("COUNT {count}"))
                    .into_iter()
                    .collect();
                let missing = (0..STABLE_KEYS)
                    .filter(|number| !found.contains(&format!("stable:{number}")))
                    .count();
                assert_eq!(missing, 0, "with COUNT {count}");
            }
        });
        let result = checked.expect("a thread").join();
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    server.kill_and_restart();
    let found: BTreeSet<String> = scan(&mut server.client(), "COUNT 50 MATCH stable:*")
        .into_iter()
        .collect();
    assert_eq!(
        found.len(),
        STABLE_KEYS,
        "while the snapshot or the log comes back"
    );
}

#[test]
fn a_scan_of_a_keyspace_at_rest_returns_each_key_once_by_pattern_and_type() {
    let mut server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    add_stable_keys(&mut client);
    for step in ["hot", "demoted", "partly promoted", "restarted"] {
        match step {
            "demoted" => drop(client.line("TIER DEMOTE ALL")),
            "partly promoted" => (0..STABLE_KEYS)
                .step_by(2)
                .for_each(|number| drop(client.line(&format!("EXPIRE stable:{number} 100000")))),
            "restarted" => {
                client.ok("SAVE");
                server.kill_and_restart();
                client = server.client();
            }
            _ => {}
        }
        let mut found = scan(&mut client, "COUNT 100");
        found.sort();
        let mut once = found.clone();
        once.dedup();
        assert_eq!(found.len(), once.len(), "{step}: no key twice");
        assert_eq!(once.len(), STABLE_KEYS, "{step}");
        assert_eq!(
            scan(&mut client, "MATCH stable:*7 COUNT 100").len(),
            STABLE_KEYS / 10,
            "{step}"
        );
        for (kind, remainder) in [("string", 0), ("list", 1), ("hash", 2)] {
            let found = scan(&mut client, &format!("TYPE {kind} COUNT 500"));
            assert_eq!(found.len(), STABLE_KEYS / 3, "{step}: {kind}");
            let is_right = |key: &String| {
                key[7..]
                    .parse::<usize>()
                    .is_ok_and(|number| number % 3 == remainder)
            };
            assert!(found.iter().all(is_right), "{step}: {kind}");
        }
        assert!(scan(&mut client, "TYPE zset").is_empty(), "{step}");
    }
    assert_eq!(client.line("SCAN nonsense").error(), "ERR invalid cursor");
}

#[test]
fn collections_are_scanned_in_every_tier() {
    let server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    for number in 0..2000 {
        client.line(&format!("HSET hash f{number} {number}"));
        client.line(&format!("SADD set m{number}"));
        client.line(&format!("ZADD sorted {number} m{number}"));
    }
    for round in 0..3 {
        for (command, per_element) in [("HSCAN hash", 2), ("SSCAN set", 1), ("ZSCAN sorted", 2)] {
            let (mut found, mut cursor) = (BTreeSet::new(), "0".to_owned());
            loop {
                if round > 0 {
                    // In between, the key is moved; a cursor does not mind.
                    client.line("TIER DEMOTE ALL");
                }
                let reply = client.line(&format!("{command} {cursor} COUNT 300"));
                found.extend(
                    reply.items()[1]
                        .items()
                        .chunks(per_element)
                        .map(|element| element[0].text()),
                );
                cursor = reply.items()[0].text();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(found.len(), 2000, "{command}");
        }
    }
}

fn redis_cli(server: &Server, arguments: &[&str]) -> Output {
    let port = server.port().to_string();
    let output = Command::new("timeout")
        .args(["60", "redis-cli", "-p", &port])
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    output.expect("redis-cli runs")
}

#[track_caller]
fn succeeds(server: &Server, arguments: &[&str]) -> String {
    let output = redis_cli(server, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "redis-cli {arguments:?}: {}\n{text}{complaint}",
        output.status
    );
    assert!(!text.contains("ERR "), "redis-cli {arguments:?}:\n{text}");
    text
}

#[test]
fn redis_cli_works_as_with_redis() {
    if !is_installed("redis-cli") {
        println!("skipped: redis-cli is not installed");
        return;
    }
    let server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    add_stable_keys(&mut client);
    client.call(&["SET", "the:largest", &"x".repeat(100_000)]);
    client.line("TIER DEMOTE ALL");
    assert_eq!(succeeds(&server, &["PING"]).trim(), "PONG");
    assert_eq!(
        succeeds(&server, &["--scan"]).lines().count(),
        STABLE_KEYS + 1
    );
    assert_eq!(
        succeeds(&server, &["--scan", "--pattern", "*largest"]).trim(),
        "the:largest"
    );
    let big = succeeds(&server, &["--bigkeys"]);
    assert!(
        big.contains("the:largest") && big.contains(&format!("Sampled {} keys", STABLE_KEYS + 1)),
        "{big}"
    );
    let memory = succeeds(&server, &["--memkeys"]);
    assert!(memory.contains("the:largest"), "{memory}");
    assert!(
        succeeds(&server, &["-i", "1", "--latency"])
            .split_whitespace()
            .count()
            >= 4
    );
    assert!(succeeds(&server, &["-3", "HGETALL", "stable:2"]).contains("field"));
    assert!(
        succeeds(&server, &["INFO", "keyspace"]).contains(&format!("keys={}", STABLE_KEYS + 1))
    );
    // It never ends by itself, and keeps what it prints to a pipe to itself if nobody tells it not to.
    let port = server.port().to_string();
    let stat = Command::new("timeout")
        .args([
            "2",
            "stdbuf",
            "-oL",
            "redis-cli",
            "-p",
            &port,
            "-i",
            "0.2",
            "--stat",
        ])
        .output();
    let stat = String::from_utf8_lossy(&stat.expect("redis-cli runs").stdout).into_owned();
    assert!(stat.contains(&format!("{}", STABLE_KEYS + 1)), "{stat}");
}

#[test]
fn redis_cli_pipe_loads_and_counts() {
    if !is_installed("redis-cli") {
        println!("skipped: redis-cli is not installed");
        return;
    }
    const REQUESTS: usize = 10_000;
    let server = Server::start("--maxmemory 64mb");
    let requests: Vec<u8> = (0..REQUESTS)
        .flat_map(|number| {
            encode(&[
                "SET".to_owned(),
                format!("key:{number}"),
                number.to_string(),
            ])
        })
        .collect();
    let mut command = Command::new("timeout");
    command.args([
        "60",
        "redis-cli",
        "-p",
        &server.port().to_string(),
        "--pipe",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-cli runs");
    let mut input = child.stdin.take().expect("its input");
    let writer = std::thread::spawn(move || input.write_all(&requests));
    let output = child.wait_with_output().expect("it ends");
    writer
        .join()
        .expect("no panic")
        .expect("it reads everything");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("errors: 0, replies: {REQUESTS}")),
        "{text}"
    );
    assert_eq!(
        server.client().line("DBSIZE"),
        Reply::Integer(REQUESTS as i64)
    );
}
