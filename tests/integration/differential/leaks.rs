//! No command line leaves memory behind.
//!
//! Histories are run again and again, each time by clients that come and go, and everything is removed in between. Now and then a
//! table grows or a counter comes into being, once; a leak is what grows with every few rounds. The server's allocator runs
//! without its caches, so that its count is exact: the smallest object that is lost in each round is seen.
//!
//! The usual run takes the histories of fixed seeds, then those of a random seed for the rest of its time:
//! `LARDER_LEAK_SECONDS` (20). `LARDER_LEAK_SEED` runs one history only, the one that a failure names.

use super::grammar::{Grammar, Request};
use super::history::{History, history, usual_settings, words};
use super::pair::Side;
use super::{as_line, seeds};
use crate::harness::{Server, wait_until};
use crate::wire::Client;
use std::time::Instant;

const USUAL_SECONDS: u64 = 20;
const FIXED_HISTORIES: u64 = 12;
/// Rounds between two looks at the memory, and how often in a row it has to be more.
const ROUNDS: usize = 10;
const LOOKS: usize = 6;

/// What clients were at when they went away: one line for each client.
const UNFINISHED: &[&str] = &[
    "SUBSCRIBE news other",
    "PSUBSCRIBE n*",
    "SSUBSCRIBE shard",
    "MULTI|SET left behind|WATCH x|GET left",
    "WATCH one two|MULTI",
    "CLIENT TRACKING on|GET tracked",
    "HELLO 3|CLIENT TRACKING on BCAST PREFIX a PREFIX b",
    "CLIENT TRACKING on OPTIN|CLIENT CACHING yes|MGET one two",
    "MONITOR",
    "CLIENT SETNAME somebody|CLIENT NO-EVICT on|CLIENT REPLY skip|PING",
    "BLPOP nobody pushes here 0",
    "BZPOPMIN nobody 0",
    "XREAD BLOCK 0 STREAMS nobody $",
    "SUBSCRIBE half|PUBLISH half message",
    "GET unfinished|SET unfinished",
    "EVAL no|lua 0",
    "ACL WHOAMI|AUTH nobody password",
    "QUIT",
    "RESET|SUBSCRIBE again|RESET",
];

/// What removes all that a round leaves on purpose.
const CLEANING: &[&str] = &[
    "RESET",
    "FLUSHALL SYNC",
    "SCRIPT FLUSH SYNC",
    "FUNCTION FLUSH SYNC",
    "SLOWLOG RESET",
    "LATENCY RESET",
    "ACL LOG RESET",
    "CONFIG RESETSTAT",
];

/// What is in use without Lua's garbage, that of scripts and that of functions. There is one worker, and its collectors are
/// everybody's.
fn used_bytes(client: &mut Client) -> i64 {
    const COLLECTOR: &str = "#!lua name=collector\n\
        redis.register_function('collect', function() collectgarbage() collectgarbage() end)";
    client.call(&["EVAL", "collectgarbage() collectgarbage()", "0"]);
    client.call(&["FUNCTION", "LOAD", "REPLACE", COLLECTOR]);
    client.call(&["FCALL", "collect", "0"]);
    let info = client.line("INFO memory").text();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.expect("a field").parse().expect("a number")
}

/// Bytes in use, when they have been the same for a while: what a round gives back, other threads free a little later.
fn settled_bytes(client: &mut Client) -> i64 {
    let (mut last, mut times) = (0, 0);
    wait_until("the memory has settled", || {
        let now = used_bytes(client);
        times = if now == last { times + 1 } else { 0 };
        last = now;
        times > 12
    });
    last
}

fn clients(server: &Server) -> usize {
    server.info("connected_clients").parse().expect("a number")
}

/// One round: a history, clients that go away in the middle of something, then everything is removed.
fn round(server: &Server, history: &History, unfinished: bool) {
    let mut all: Vec<Request> = vec![words(&format!("HELLO {}", history.protocol))];
    all.extend(history.settings.iter().cloned());
    all.extend(history.requests.iter().cloned());
    let mut side = Side::new(server.port());
    side.replies(&all);
    for lines in UNFINISHED.iter().filter(|_| unfinished) {
        let mut client = server.client();
        lines.split('|').for_each(|line| client.send_line(line));
    }
    drop(side);
    wait_until("the clients are gone", || clients(server) <= 2);
    let mut side = Side::new(server.port());
    let cleaning = CLEANING.iter().map(|line| words(line));
    side.replies(&cleaning.chain(usual_settings()).collect::<Vec<_>>());
}

/// By how many bytes the memory grows in [`ROUNDS`] rounds, if it grows again and again, else 0.
fn growth(server: &Server, watcher: &mut Client, history: &History, unfinished: bool) -> i64 {
    let mut least = i64::MAX;
    let mut former = None;
    for _ in 0..=LOOKS {
        (0..ROUNDS).for_each(|_| round(server, history, unfinished));
        let now = settled_bytes(watcher);
        if let Some(former) = former.replace(now) {
            least = least.min(now - former);
        }
        if least <= 0 {
            return 0;
        }
    }
    least
}

#[test]
fn no_line_leaves_memory_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = "--save '' --appendonly no --threads 1";
    let mut server = Server::prepare(&directory.path().join("data"), options);
    server.set_environment("MALLOC_CONF", "tcache:false,background_thread:false");
    server.start_again();
    let (mut watcher, mut other) = (server.client(), server.client());
    let grammar = Grammar::read(&mut watcher, &mut other);
    drop(other);
    let (seeds, end) = seeds("LARDER_LEAK", FIXED_HISTORIES, USUAL_SECONDS);
    let mut count = 0;
    for seed in seeds {
        let mut history = history(&grammar, seed);
        // What is on disk takes memory of RocksDB's, up to a limit, until it writes a memtable out.
        let demotes = |request: &Request| request.iter().any(|word| word == b"TIER");
        history.requests.retain(|request| !demotes(request));
        let bytes = growth(&server, &mut watcher, &history, count == 0);
        if bytes > 0 {
            let mut shortest = bytes;
            let history = history.shortened(|fewer| {
                let still = growth(&server, &mut watcher, fewer, false);
                shortest = if still > 0 { still } else { shortest };
                still > 0
            });
            let lines: Vec<String> = history.requests.iter().map(as_line).collect();
            panic!(
                "LARDER_LEAK_SEED={seed}: each {ROUNDS} rounds left {bytes} bytes or more, and these lines {shortest}:\n  {}",
                lines.join("\n  ")
            );
        }
        count += 1;
        if count >= FIXED_HISTORIES && Instant::now() > end {
            break;
        }
    }
    println!("{count} histories of {} commands", grammar.forms());
}
