//! Random histories on Larder and on `redis-server`, reply by reply.
//!
//! A history is a few dozen command lines over few keys (see [`grammar`] and [`corners`]), some of them in transactions or run by a
//! script, in RESP2 or RESP3, and at its end the content of every key. Both servers get it as one pipeline; then each
//! restores what it has dumped itself and what the other has ([`restores`]). Subscribers have histories of their own ([`messages`]). A history in which
//! two replies do not agree ([`agreement`], [`known`]) is shortened as long as it fails, and printed as lines for `redis-cli`. At the
//! end of a run Larder has to have given back the memory that it took.
//!
//! The usual run takes the histories of fixed seeds, then those of a random seed for the rest of its time:
//! `LARDER_DIFFERENTIAL_SECONDS` (40). `LARDER_DIFFERENTIAL_SEED` runs one history only, the one that a failure names; with
//! `LARDER_DIFFERENTIAL_SECONDS` it begins there. `LARDER_DIFFERENTIAL_REDIS` names another `redis-server` to compare with.

mod agreement;
mod corners;
mod grammar;
mod history;
mod known;
mod leaks;
mod messages;
mod pair;
pub mod random;
mod restores;
mod values;

use crate::harness::{Reference, Server};
use agreement::Judge;
use grammar::{Grammar, Request};
use history::{History, history, inspection};
use pair::{Difference, Pair};
use random::seed_of_now;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

const USUAL_SECONDS: u64 = 40;
/// Histories that are the same in every run.
const FIXED_HISTORIES: u64 = 150;
/// A run stops after so many failures of different kinds.
const FAILURES_MAX: usize = 12;
/// What Larder may have allocated more at the end of a run than after its first histories: buffers, tables that grew once.
const LEFTOVER_BYTES_MAX: i64 = 8 << 20;

fn as_line(request: &Request) -> String {
    let quoted = request.iter().map(|argument| {
        let is_plain = !argument.is_empty()
            && argument
                .iter()
                .all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
        if is_plain {
            String::from_utf8_lossy(argument).into_owned()
        } else {
            format!("\"{}\"", argument.escape_ascii())
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn report(seed: u64, history: &History, difference: &Difference) -> String {
    let lines: String = history
        .settings
        .iter()
        .chain(&history.requests)
        .map(|request| format!("  {}\n", as_line(request)))
        .collect();
    format!(
        "LARDER_DIFFERENTIAL_SEED={seed}, redis-cli -{}:\n{lines}  then {}\n    Larder: {:?}\n    Redis:  {:?}\n",
        history.protocol,
        as_line(&difference.request),
        difference.found,
        difference.expected
    )
}

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number"))
    })
}

/// The seeds of a run, and when it is over. Variables whose names begin with `name` may say otherwise than usual.
fn seeds(
    name: &str,
    fixed_histories: u64,
    usual_seconds: u64,
) -> (Box<dyn Iterator<Item = u64>>, Instant) {
    let single = environment(&format!("{name}_SEED"));
    let seconds = environment(&format!("{name}_SECONDS"));
    let start = seed_of_now();
    println!("random histories begin with {name}_SEED={start}");
    let seeds: Box<dyn Iterator<Item = u64>> = match (single, seconds) {
        (Some(seed), None) => Box::new(std::iter::once(seed)),
        (Some(seed), Some(_)) => Box::new(seed..),
        _ => Box::new((0..fixed_histories).chain(start..)),
    };
    let duration = Duration::from_secs(seconds.unwrap_or(usual_seconds));
    (seeds, Instant::now() + duration)
}

/// Bytes allocated when there are no keys.
fn empty_bytes(server: &Server) -> i64 {
    let mut client = server.client();
    client.ok("FLUSHALL");
    client.line("SCRIPT FLUSH");
    server.info("used_memory").parse().expect("a number")
}

#[test]
fn replies_are_those_of_redis() {
    let server = Server::start("--save '' --appendonly no");
    let Some(reference) = Reference::start() else {
        return;
    };
    let (mut larder, mut redis) = (server.client(), reference.client());
    // So often it looks for clients whose time is over.
    redis.ok("CONFIG SET hz 500");
    let grammar = Grammar::read(&mut larder, &mut redis);
    assert!(grammar.forms() > 150, "{} commands", grammar.forms());
    let judge = Judge::of(&mut redis);
    let inspection = inspection(&grammar);
    let mut pair = Pair::new(server.port(), reference.port(), inspection, judge);
    let (seeds, end) = seeds("LARDER_DIFFERENTIAL", FIXED_HISTORIES, USUAL_SECONDS);
    let (mut failures, mut histories) = (BTreeMap::new(), 0);
    let mut bytes_at_first = None;
    for seed in seeds {
        let history = history(&grammar, seed);
        histories += 1;
        if let Some(difference) = pair.first_difference(&history)
            && let Entry::Vacant(vacant) = failures.entry(difference.kind())
        {
            let history = pair.shorten(history, vacant.key());
            let shortest = pair.first_difference(&history);
            let difference = shortest.unwrap_or(difference);
            vacant.insert(report(seed, &history, &difference));
        }
        if histories == FIXED_HISTORIES {
            bytes_at_first = Some(empty_bytes(&server));
        }
        let is_over = histories >= FIXED_HISTORIES && Instant::now() > end;
        if is_over || failures.len() >= FAILURES_MAX {
            break;
        }
    }
    println!(
        "{histories} histories, {} lines of {} commands",
        pair.lines,
        grammar.forms()
    );
    let texts: Vec<String> = failures.into_values().collect();
    assert!(texts.is_empty(), "replies differ\n{}", texts.join("\n"));
    if let Some(before) = bytes_at_first {
        let more = empty_bytes(&server) - before;
        println!("{before} bytes after the first histories, {more} more at the end");
        assert!(more < LEFTOVER_BYTES_MAX, "{more} bytes did not come back");
    }
}
