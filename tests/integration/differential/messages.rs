//! Subscribers on Larder and on `redis-server`: random histories of three clients that subscribe, publish and leave, in both dialects.
//!
//! A subscription is confirmed by as many replies as it has channels, and messages come unasked, so replies cannot be counted.
//! Behind each step every client sends a PING with a text of its own, and all that comes before its answer belongs to the step.

use super::agreement::name_of;
use super::grammar::Request;
use super::history::words;
use super::random::Random;
use super::{as_line, environment};
use crate::harness::{Reference, Server};
use crate::wire::{Client, Reply};

const CLIENTS: usize = 3;
const STEPS: usize = 40;
const HISTORIES: u64 = 60;

const CHANNELS: &[&str] = &["a", "b", "ab", "", "x\u{ff}", "news.art"];
const PATTERNS: &[&str] = &["*", "a*", "[ab]", "news.*", "a", "?", "\\*", "[^a]", ""];

/// The lines of a step. One that ends in dots takes one to three of its last words.
const LINES: &[&str] = &[
    "SUBSCRIBE C...",
    "SUBSCRIBE C...",
    "PSUBSCRIBE P...",
    "PSUBSCRIBE P...",
    "SSUBSCRIBE C...",
    "UNSUBSCRIBE C...",
    "PUNSUBSCRIBE P...",
    "SUNSUBSCRIBE C...",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "PUBLISH C text",
    "PUBLISH C text",
    "PUBLISH C text",
    "PUBLISH C text",
    "SPUBLISH C text",
    "SPUBLISH C text",
    "PUBSUB CHANNELS",
    "PUBSUB CHANNELS P",
    "PUBSUB NUMSUB C...",
    "PUBSUB NUMSUB",
    "PUBSUB NUMPAT",
    "PUBSUB SHARDCHANNELS",
    "PUBSUB SHARDCHANNELS P",
    "PUBSUB SHARDNUMSUB C...",
    "SUBSCRIBE",
    "PUBLISH C",
    "GET key",
    "PING",
    "HELLO 2",
    "HELLO 3",
    "RESET",
    "QUIT",
    "MULTI|SUBSCRIBE C|EXEC",
    "MULTI|UNSUBSCRIBE C|GET key|EXEC",
    "MULTI|SSUBSCRIBE C|PSUBSCRIBE P|DISCARD",
];

/// What one client sends at a time.
struct Step {
    client: usize,
    requests: Vec<Request>,
}

fn steps(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut step = || {
        let line = random.pick(LINES);
        let requests = line.split('|').map(|line| fill(&mut random, line));
        let requests = requests.collect();
        Step {
            client: random.below(CLIENTS),
            requests,
        }
    };
    (0..STEPS).map(|_| step()).collect()
}

fn fill(random: &mut Random, line: &str) -> Request {
    let mut request = Request::new();
    for word in line.split(' ') {
        let (word, count) = match word.strip_suffix("...") {
            Some(word) => (word, 1 + random.below(3)),
            None => (word, 1),
        };
        for _ in 0..count {
            request.push(match word {
                "C" => random.pick(CHANNELS).as_bytes().to_vec(),
                "P" => random.pick(PATTERNS).as_bytes().to_vec(),
                word => word.as_bytes().to_vec(),
            });
        }
    }
    request
}

/// The clients of one server.
struct Side {
    port: u16,
    clients: Vec<Client>,
    markers: usize,
}

impl Side {
    fn new(port: u16) -> Side {
        let connect = |_| Client::connect(port).expect("the server accepts");
        Side {
            port,
            clients: (0..CLIENTS).map(connect).collect(),
            markers: 0,
        }
    }

    /// Runs a step, and tells what each client received.
    fn run(&mut self, step: &Step) -> Vec<Vec<Reply>> {
        let is_quit = step.requests.iter().any(|line| name_of(line) == "QUIT");
        for request in &step.requests {
            self.clients[step.client].send(request);
        }
        if is_quit {
            let replies = until_closed(&mut self.clients[step.client]);
            self.clients[step.client] = Client::connect(self.port).expect("the server accepts");
            return vec![replies];
        }
        // The one that sent comes first: what it published is on its way to the others when it has its answer.
        let others = (0..CLIENTS).filter(|client| *client != step.client);
        let order: Vec<usize> = std::iter::once(step.client).chain(others).collect();
        let mut received = vec![Vec::new(); CLIENTS];
        for client in order {
            received[client] = self.received(client);
        }
        received
    }

    /// All that came for a client until now.
    fn received(&mut self, client: usize) -> Vec<Reply> {
        self.markers += 1;
        let marker = format!("marker {}", self.markers);
        let answers = [
            Reply::bulk(&marker),
            Reply::bulks(["pong", marker.as_str()]),
        ];
        let client = &mut self.clients[client];
        client.send(&["PING", &marker]);
        let mut replies = Vec::new();
        loop {
            let reply = client.read();
            if answers.contains(&reply) {
                return replies;
            }
            replies.push(reply);
        }
    }
}

fn until_closed(client: &mut Client) -> Vec<Reply> {
    std::iter::from_fn(|| client.try_read().ok()).collect()
}

/// The pattern that a message came by.
fn pattern_of(reply: &Reply) -> Option<Reply> {
    match reply {
        Reply::Push(items) | Reply::Array(items) if items.len() == 4 => items.get(1).cloned(),
        _ => None,
    }
}

/// What remains of a client's replies once everything that is nobody's promise is made the same: the order in which subscriptions end
/// that were not named, that of a list of channels, that of the patterns by which one message comes, and whether what a client
/// hears of itself comes before its reply or after it.
fn comparable(step: &Step, replies: &[Reply]) -> Vec<Reply> {
    let names: Vec<String> = step.requests.iter().map(|line| name_of(line)).collect();
    let publishes = names.iter().any(|name| name.ends_with("PUBLISH"));
    let ends_all = step.requests[0].len() == 1 && names[0].ends_with("UNSUBSCRIBE");
    let mut replies: Vec<Reply> = replies.iter().map(|reply| sorted(step, reply)).collect();
    if publishes {
        replies.sort_by_key(|reply| (matches!(reply, Reply::Push(_)), pattern_of(reply)));
    }
    if ends_all {
        // Each channel, and each count.
        let part = |reply: &Reply, index: usize| match reply {
            Reply::Push(items) | Reply::Array(items) if items.len() == 3 => items[index].clone(),
            other => other.clone(),
        };
        let mut channels: Vec<Reply> = replies.iter().map(|reply| part(reply, 1)).collect();
        channels.sort();
        let counts = replies.iter().map(|reply| part(reply, 2));
        replies = channels.into_iter().chain(counts).collect();
    }
    replies
}

fn sorted(step: &Step, reply: &Reply) -> Reply {
    let is_list = |line: &Request| line.len() > 1 && line[1].ends_with(b"CHANNELS");
    match reply {
        Reply::Array(items) if step.requests.iter().any(is_list) => {
            let mut items = items.clone();
            items.sort();
            Reply::Array(items)
        }
        // It names the server.
        Reply::Map(_) => Reply::Map(Vec::new()),
        Reply::Array(items) if items.first() == Some(&Reply::bulk("server")) => Reply::NullArray,
        other => other.clone(),
    }
}

/// Runs a history; if a step differs, what was sent until then and what came.
fn first_difference(larder: &mut Side, redis: &mut Side, seed: u64) -> Option<String> {
    let mut sent = String::new();
    for step in steps(seed) {
        for request in &step.requests {
            sent += &format!("  client {}: {}\n", step.client, as_line(request));
        }
        let (found, expected) = (larder.run(&step), redis.run(&step));
        for (client, (found, expected)) in found.iter().zip(&expected).enumerate() {
            if comparable(&step, found) != comparable(&step, expected) {
                return Some(format!(
                    "LARDER_DIFFERENTIAL_SEED={seed}\n{sent}  to client {client}\n    Larder: {found:?}\n    Redis:  {expected:?}\n"
                ));
            }
        }
    }
    None
}

#[test]
fn subscribers_hear_what_those_of_redis_hear() {
    let server = Server::start("--save '' --appendonly no");
    let Some(reference) = Reference::start() else {
        return;
    };
    let seeds = match environment("LARDER_DIFFERENTIAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..HISTORIES,
    };
    for seed in seeds {
        // Clients of their own, so that no subscription is left.
        let mut larder = Side::new(server.port());
        let mut redis = Side::new(reference.port());
        if let Some(difference) = first_difference(&mut larder, &mut redis, seed) {
            panic!("{difference}");
        }
        for side in [&mut larder, &mut redis] {
            for client in &mut side.clients {
                client.send(&words("QUIT"));
                until_closed(client);
            }
        }
    }
}
