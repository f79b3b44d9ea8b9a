//! Random histories on Larder and on `redis-server`, reply by reply.
//!
//! A history is a few dozen command lines over few keys (see [`grammar`]), some of them in transactions, in RESP2 or RESP3, and at its
//! end the content of every key. Both servers get it as one pipeline. A history in which two replies do not agree
//! ([`agreement`]) is shortened as long as it fails, and printed as lines for `redis-cli`.
//!
//! The usual run takes the histories of fixed seeds, then those of a random seed for the rest of its time:
//! `LARDER_DIFFERENTIAL_SECONDS` (20). `LARDER_DIFFERENTIAL_SEED` runs one history only, the one that a failure names.

mod agreement;
mod grammar;
mod random;
mod values;

use crate::harness::{Reference, Server};
use crate::wire::{Client, Reply, encode};
use agreement::{NO_REPLY, agree, name_of};
use grammar::{Grammar, Request};
use random::Random;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const USUAL_SECONDS: u64 = 20;
/// Histories that are the same in every run.
const FIXED_HISTORIES: u64 = 150;
const LINES: usize = 60;
/// A run stops after so many failures of different kinds.
const FAILURES_MAX: usize = 12;

/// The two servers' clients.
struct Pair {
    larder: Side,
    redis: Side,
    /// What shows the state at the end of a history.
    inspection: Vec<Request>,
}

/// A client that connects anew when its server hung up.
struct Side {
    client: Option<Client>,
    port: u16,
}

/// The first reply of a history that does not agree.
struct Difference {
    request: Request,
    found: Reply,
    expected: Reply,
}

impl Difference {
    /// Differences of one kind have one name.
    fn kind(&self) -> String {
        if matches!(&self.found, Reply::Error(text) if text.starts_with(NO_REPLY)) {
            return "Larder hung up".to_owned();
        }
        let start = |reply: &Reply| format!("{reply:?}").chars().take(40).collect::<String>();
        let (found, expected) = (start(&self.found), start(&self.expected));
        match (&self.found, &self.expected) {
            (Reply::Error(_), _) | (_, Reply::Error(_)) => {
                format!("{} {found} {expected}", name_of(&self.request))
            }
            _ => name_of(&self.request),
        }
    }
}

fn words(line: &str) -> Request {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// A history, and the dialect it is in.
fn history(grammar: &Grammar, seed: u64) -> (u8, Vec<Request>) {
    let mut random = Random::new(seed);
    let protocol = if random.percent(50) { 2 } else { 3 };
    let mut requests = Vec::new();
    let mut queued = 0;
    while requests.len() < LINES {
        if queued == 0 && random.percent(2) {
            queued = 1 + random.below(6);
            requests.push(words("MULTI"));
            continue;
        }
        let request = grammar.line(&mut random);
        // Each server pops members of its own choice; the rest of the key goes too.
        // So is what lies between two members whose scores are not the same.
        let is_by_member = request
            .iter()
            .any(|argument| argument.eq_ignore_ascii_case(b"bylex"));
        let is_free = match &*name_of(&request) {
            "SPOP" | "ZREMRANGEBYLEX" => true,
            "ZRANGESTORE" => is_by_member,
            _ => false,
        };
        let leftover = is_free.then(|| request.get(1).cloned()).flatten();
        requests.push(request);
        if let Some(key) = leftover {
            requests.push(vec![b"SET".to_vec(), key.clone(), b"gone".to_vec()]);
            requests.push(vec![b"DEL".to_vec(), key]);
        }
        if queued > 0 {
            queued -= 1;
            if queued == 0 {
                let end = if random.percent(90) {
                    "EXEC"
                } else {
                    "DISCARD"
                };
                requests.push(words(end));
            }
        }
    }
    if queued > 0 {
        requests.push(words("EXEC"));
    }
    // IDs from the clock are not the same on two servers.
    requests.retain(|request| name_of(request) != "XADD" || !request.contains(&b"*".to_vec()));
    (protocol, requests)
}

/// Lines that show everything there is.
fn inspection(grammar: &Grammar) -> Vec<Request> {
    let of_a_key = [
        "TYPE K",
        "PTTL K",
        "GET K",
        "LRANGE K 0 -1",
        "SMEMBERS K",
        "HGETALL K",
        "ZRANGE K 0 -1 WITHSCORES",
        "XRANGE K - +",
    ];
    let mut requests = vec![words("DISCARD"), words("DBSIZE")];
    for key in values::KEYS {
        for line in of_a_key {
            let mut request = words(line);
            if !grammar.has(&name_of(&request)) {
                continue;
            }
            request[1] = key.to_vec();
            requests.push(request);
        }
    }
    requests
}

impl Side {
    fn new(port: u16) -> Side {
        Side { client: None, port }
    }

    /// The replies to a pipeline. Where the connection ends there is an error in their place.
    fn replies(&mut self, requests: &[Request]) -> Vec<Reply> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.port).expect("the server accepts"),
        };
        let bytes: Vec<u8> = requests
            .iter()
            .flat_map(|request| encode(request))
            .collect();
        let mut outcome = client.send_bytes(&bytes);
        let mut replies = Vec::new();
        while outcome.is_ok() && replies.len() < requests.len() {
            outcome = client.try_read().map(|reply| replies.push(reply));
        }
        match outcome {
            Ok(()) => self.client = Some(client),
            Err(error) => {
                let lost = Reply::Error(format!("{NO_REPLY}: {error})"));
                replies.resize(requests.len(), lost);
            }
        }
        replies
    }
}

impl Pair {
    /// Runs a history from an empty start on both servers.
    fn first_difference(&mut self, protocol: u8, requests: &[Request]) -> Option<Difference> {
        let mut all = vec![
            words("RESET"),
            words(&format!("HELLO {protocol}")),
            words("FLUSHALL"),
        ];
        let start = all.len();
        all.extend_from_slice(requests);
        all.extend_from_slice(&self.inspection);
        let found = self.larder.replies(&all);
        let expected = self.redis.replies(&all);
        let mut queue: Vec<&Request> = Vec::new();
        let replies = found.into_iter().zip(expected);
        for (request, (found, expected)) in all.iter().zip(replies).skip(start) {
            let agrees = match (&found, &expected) {
                (Reply::Array(found), Reply::Array(expected))
                    if name_of(request) == "EXEC" && found.len() == queue.len() =>
                {
                    found.len() == expected.len()
                        && queue
                            .iter()
                            .zip(found.iter().zip(expected))
                            .all(|(request, (found, expected))| agree(request, found, expected))
                }
                _ => agree(request, &found, &expected),
            };
            if !agrees {
                return Some(Difference {
                    request: request.clone(),
                    found,
                    expected,
                });
            }
            match &found {
                Reply::Simple(text) if text == "QUEUED" => queue.push(request),
                _ if matches!(&*name_of(request), "EXEC" | "DISCARD" | "MULTI") => queue.clear(),
                _ => {}
            }
        }
        None
    }

    /// Leaves out what is not needed for a difference of this kind.
    fn shorten(&mut self, protocol: u8, mut requests: Vec<Request>, kind: &str) -> Vec<Request> {
        let mut size = requests.len() / 2;
        while size > 0 {
            let mut place = 0;
            while place < requests.len() {
                let mut fewer = requests.clone();
                fewer.drain(place..(place + size).min(requests.len()));
                let still = self.first_difference(protocol, &fewer);
                if still.is_some_and(|difference| difference.kind() == kind) {
                    requests = fewer;
                } else {
                    place += size;
                }
            }
            size /= 2;
        }
        requests
    }
}

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

fn report(seed: u64, protocol: u8, requests: &[Request], difference: &Difference) -> String {
    let lines: String = requests
        .iter()
        .map(|request| format!("  {}\n", as_line(request)))
        .collect();
    format!(
        "LARDER_DIFFERENTIAL_SEED={seed}, redis-cli -{protocol}:\n{lines}  then {}\n    Larder: {:?}\n    Redis:  {:?}\n",
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
    let mut pair = Pair {
        larder: Side::new(server.port()),
        redis: Side::new(reference.port()),
        inspection: inspection(&grammar),
    };
    assert!(grammar.forms() > 100, "{} commands", grammar.forms());
    let single = environment("LARDER_DIFFERENTIAL_SEED");
    let seconds = environment("LARDER_DIFFERENTIAL_SECONDS").unwrap_or(USUAL_SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let start = now.expect("a time after 1970").as_micros() as u64;
    println!("random histories begin with LARDER_DIFFERENTIAL_SEED={start}");
    let seeds: Box<dyn Iterator<Item = u64>> = match single {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new((0..FIXED_HISTORIES).chain(start..)),
    };
    let (mut failures, mut histories) = (BTreeMap::new(), 0);
    for seed in seeds {
        let (protocol, requests) = history(&grammar, seed);
        histories += 1;
        if let Some(difference) = pair.first_difference(protocol, &requests)
            && let Entry::Vacant(vacant) = failures.entry(difference.kind())
        {
            let requests = pair.shorten(protocol, requests, vacant.key());
            let shortest = pair.first_difference(protocol, &requests);
            let difference = shortest.unwrap_or(difference);
            vacant.insert(report(seed, protocol, &requests, &difference));
        }
        let is_over = seed >= FIXED_HISTORIES && Instant::now() > end;
        if is_over || failures.len() >= FAILURES_MAX {
            break;
        }
    }
    println!("{histories} histories of {} commands", grammar.forms());
    let texts: Vec<String> = failures.into_values().collect();
    assert!(texts.is_empty(), "replies differ\n{}", texts.join("\n"));
}
