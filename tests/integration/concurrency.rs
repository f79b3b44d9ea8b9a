//! Everything at once: administration, transactions, scripts, clients that wait, on few keys and several threads.
//!
//! What is looked for is a server that hangs: two threads that wait for each other's locks, or a thread that waits for itself. In builds
//! with debug assertions each lock is checked as well (`keyspace/lock_watch.rs`). The lines are drawn from the clock's seed.

use crate::differential::random::{Random, seed_of_now};
use crate::harness::Server;
use crate::wire::{Client, Reply, encode};
use std::time::{Duration, Instant};

const THREADS: u64 = 10;
const SECONDS: u64 = 10;

/// Arguments are parted by blanks; `%` is a small number.
const LINES: &[&str] = &[
    "SET k %",
    "GET k",
    "MGET k x y",
    "DEL k",
    "EXPIRE k 1",
    "RENAME q r",
    "COPY q r",
    "APPEND x %",
    "LPUSH q %",
    "RPUSH r %",
    "LPUSH q %",
    "BLPOP q 0.05",
    "BLMOVE q r LEFT RIGHT 0.05",
    "BLMPOP 0.05 2 q r LEFT",
    "BZPOPMIN z 0.05",
    "ZADD z 1 %",
    "XADD s * f %",
    "XREAD BLOCK 50 STREAMS s $",
    "SORT q STORE r",
    "SORT_RO r",
    "ZUNIONSTORE z 1 z",
    "SADD w %",
    "WATCH k q",
    "CLIENT UNBLOCK %",
    "CLIENT UNBLOCK % ERROR",
    "CLIENT KILL TYPE pubsub",
    "CLIENT LIST",
    "CLIENT TRACKING on BCAST",
    "CLIENT TRACKING off",
    "CLIENT PAUSE 5 WRITE",
    "CLIENT UNPAUSE",
    "CLIENT INFO",
    "PUBLISH news %",
    "PUBSUB CHANNELS",
    "CONFIG SET maxmemory 24mb",
    "CONFIG SET appendfsync always",
    "CONFIG SET appendfsync everysec",
    "CONFIG RESETSTAT",
    "CONFIG SET notify-keyspace-events KEA",
    "INFO",
    "INFO everything",
    "MEMORY STATS",
    "MEMORY DOCTOR",
    "MEMORY PURGE",
    "LATENCY RESET",
    "SLOWLOG GET",
    "ACL SETUSER bob on nopass +@all ~*",
    "ACL DELUSER bob",
    "ACL LIST",
    "ACL LOG RESET",
    "FUNCTION FLUSH",
    "FUNCTION LIST",
    "FUNCTION STATS",
    "SCRIPT FLUSH",
    "COMMAND DOCS get",
    "DEBUG DIGEST",
    "DEBUG OBJECT k",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "LASTSAVE",
    "FLUSHALL",
    "FLUSHDB ASYNC",
    "SWAPDB 0 1",
    "MOVE k 1",
    "KEYS *",
    "SCAN 0",
    "DBSIZE",
    "RANDOMKEY",
    "WAIT 0 10",
    "WAITAOF 1 0 20",
    "DELPREFIX x",
    "TIER DEMOTE ALL",
    "TIER DEMOTE k q",
    "TIER STATS",
    "OBJECT FREQ k",
    "DUMP q",
];

/// Scripts, with the keys that they declare.
const SCRIPTS: &[&[&str]] = &[
    &["return redis.call('lpush', 'q', '1')", "0"],
    &[
        "redis.call('set', KEYS[1], '1') return redis.call('lrange', 'r', 0, -1)",
        "1",
        "k",
    ],
    &[
        "redis.call('set', 'x', '1') return redis.call('rename', 'q', KEYS[1])",
        "1",
        "r",
    ],
    &["return redis.call('flushall')", "0"],
    &[
        "redis.call('set', 'k', '1') return redis.call('dbsize')",
        "0",
    ],
    &["return redis.call('blpop', 'q', 0)", "0"],
];

const LIBRARY: &str = "#!lua name=library\nredis.register_function('push', function(keys) return redis.call('lpush', keys[1], 'item') end)";

fn line(random: &mut Random) -> Vec<String> {
    if random.percent(10) {
        let script = random.pick(SCRIPTS);
        return std::iter::once("EVAL")
            .chain(script.iter().copied())
            .map(str::to_owned)
            .collect();
    }
    if random.percent(4) {
        let line: &[&str] = match random.percent(50) {
            true => &["FUNCTION", "LOAD", "REPLACE", LIBRARY],
            false => &["FCALL", "push", "1", "q"],
        };
        return line.iter().map(|word| (*word).to_owned()).collect();
    }
    let number = random.below(30).to_string();
    random
        .pick(LINES)
        .split(' ')
        .map(|word| word.replace('%', &number))
        .collect()
}

/// Sends a few lines, half of the time as a transaction, and waits for all replies. False if the connection was ended: somebody
/// kills clients.
fn send_some(client: &mut Client, random: &mut Random) -> bool {
    let mut lines: Vec<Vec<String>> = (0..1 + random.below(5)).map(|_| line(random)).collect();
    if random.percent(50) {
        lines.insert(0, vec!["MULTI".to_owned()]);
        lines.push(vec!["EXEC".to_owned()]);
    }
    let end = format!("end of {}", random.bits());
    lines.push(vec!["ECHO".to_owned(), end.clone()]);
    let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(line)).collect();
    if client.send_bytes(&bytes).is_err() {
        return false;
    }
    loop {
        match client.try_read() {
            Ok(reply) if reply == Reply::bulk(&end) => return true,
            Ok(_) => {}
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                let hangs = matches!(error.kind(), TimedOut | WouldBlock);
                assert!(!hangs, "no reply to {lines:?}");
                return false;
            }
        }
    }
}

#[test]
fn whatever_runs_beside_each_other_comes_to_its_end() {
    let server = Server::start("--maxmemory 24mb --threads 4 --appendonly yes");
    let seed = seed_of_now();
    println!("seed {seed}");
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let work = |number: u64| {
        let mut random = Random::new(seed + number);
        let mut client = server.client();
        let mut rounds = 0;
        while Instant::now() < end {
            rounds += 1;
            if !send_some(&mut client, &mut random) {
                client = server.client();
            }
        }
        rounds
    };
    let rounds: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("nothing hangs"))
            .sum()
    });
    println!("{rounds} rounds");
    assert!(rounds >= THREADS);
    assert_eq!(
        server.client().line("PING"),
        Reply::Simple("PONG".to_owned())
    );
}
