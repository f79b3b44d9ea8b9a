//! Two servers that get the same lines, and the first reply in which they do not agree.

use super::agreement::{Judge, NO_REPLY, Verdict, name_of};
use super::corners;
use super::grammar::Request;
use super::history::{History, usual_settings, words};
use super::restores;
use crate::wire::{Client, Reply, encode};
use std::io;

/// The two servers' clients.
pub struct Pair {
    larder: Side,
    redis: Side,
    /// What shows the state at the end of a history.
    inspection: Vec<Request>,
    judge: Judge,
    /// What removes all that the last history left.
    cleaning: Vec<Request>,
    /// Lines that were compared.
    pub lines: u64,
}

/// A client that connects anew when its server hung up.
pub struct Side {
    client: Option<Client>,
    port: u16,
}

/// The first reply of a history that does not agree.
pub struct Difference {
    pub request: Request,
    pub found: Reply,
    pub expected: Reply,
}

impl Difference {
    /// Differences of one kind have one name.
    pub fn kind(&self) -> String {
        for reply in [&self.found, &self.expected] {
            if let Reply::Error(text) = reply
                && text.starts_with(NO_REPLY)
            {
                return text.clone();
            }
        }
        let start = |reply: &Reply| format!("{reply:?}").chars().take(40).collect::<String>();
        let (found, expected) = (start(&self.found), start(&self.expected));
        let name = name_of(corners::effective(&self.request));
        match (&self.found, &self.expected) {
            (Reply::Error(_), _) | (_, Reply::Error(_)) => format!("{name} {found} {expected}"),
            _ => name,
        }
    }
}

fn lost(error: &io::Error) -> Reply {
    Reply::Error(format!("{NO_REPLY}: {error})"))
}

impl Side {
    /// A client that connects when it is used.
    pub fn new(port: u16) -> Side {
        Side { client: None, port }
    }

    /// The replies to a pipeline. Where the connection ends, or where nothing comes in time, there is an error in their place.
    pub fn replies(&mut self, requests: &[Request]) -> Vec<Reply> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => match Client::connect(self.port) {
                Ok(client) => client,
                Err(error) => return vec![lost(&error); requests.len()],
            },
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
            Err(error) => replies.resize(requests.len(), lost(&error)),
        }
        replies
    }
}

impl Pair {
    /// Connects to the ports of Larder and Redis.
    pub fn new(larder: u16, redis: u16, inspection: Vec<Request>, judge: Judge) -> Pair {
        Pair {
            larder: Side::new(larder),
            redis: Side::new(redis),
            inspection,
            judge,
            cleaning: vec![words("FLUSHALL")],
            lines: 0,
        }
    }

    /// Runs a history from an empty start on both servers.
    pub fn first_difference(&mut self, history: &History) -> Option<Difference> {
        let protocol = history.protocol;
        let mut all = vec![words("RESET"), words(&format!("HELLO {protocol}"))];
        all.append(&mut self.cleaning);
        self.cleaning = cleaning(history);
        all.extend_from_slice(&history.settings);
        let start = all.len();
        for request in &history.requests {
            all.extend(before(request));
            all.push(request.clone());
            all.extend(behind(request));
        }
        all.extend_from_slice(&self.inspection);
        self.lines += all.len() as u64;
        let found = self.larder.replies(&all);
        let expected = self
            .redis
            .replies(&all.iter().map(for_redis).collect::<Vec<_>>());
        let mut judge = self.judge;
        let mut queue: Vec<&Request> = Vec::new();
        let replies = found.into_iter().zip(expected);
        for (request, (found, expected)) in all.iter().zip(replies).skip(start) {
            match verdict_on(judge, request, &queue, &found, &expected) {
                Verdict::Agree => {}
                Verdict::Part => return None,
                Verdict::Differ => {
                    return Some(Difference {
                        request: request.clone(),
                        found,
                        expected,
                    });
                }
            }
            judge.note(request);
            match (&*name_of(request), &found) {
                (_, Reply::Simple(text)) if text == "QUEUED" => queue.push(request),
                ("EXEC" | "DISCARD" | "RESET", _) => queue.clear(),
                _ => {}
            }
        }
        restores::first_difference(&mut self.larder, &mut self.redis, judge)
    }

    /// Leaves out what is not needed for a difference of this kind.
    pub fn shorten(&mut self, history: History, kind: &str) -> History {
        history.shortened(|fewer| {
            let still = self.first_difference(fewer);
            still.is_some_and(|difference| difference.kind() == kind)
        })
    }
}

/// The lines that undo a history. Databases are emptied one by one if the history does not name others: that is much faster.
fn cleaning(history: &History) -> Vec<Request> {
    let is_other = |argument: &Vec<u8>| {
        let text = String::from_utf8_lossy(argument);
        text.parse().is_ok_and(|number: i64| number > 1)
    };
    let names_others = history.requests.iter().any(|request| {
        let request = corners::effective(request);
        matches!(&*name_of(request), "SELECT" | "MOVE" | "COPY") && request.iter().any(is_other)
    });
    let mut lines = vec![words("FUNCTION FLUSH")];
    lines.append(&mut match names_others {
        true => vec![words("FLUSHALL")],
        false => ["SELECT 1", "FLUSHDB", "SELECT 0", "FLUSHDB"]
            .map(words)
            .to_vec(),
    });
    if !history.settings.is_empty() {
        lines.extend(usual_settings());
    }
    lines
}

/// What makes Redis forget the error of an earlier command: SORT reads numbers with an `errno` that it does not reset.
fn before(request: &Request) -> Option<Request> {
    let name = name_of(corners::effective(request));
    (name == "SORT" || name == "SORT_RO").then(|| words("GEORADIUS_RO none 1 1 1 m"))
}

/// What makes the consumer in a 7.0 that was there before in a 7.2.
fn behind(request: &Request) -> Vec<Request> {
    let request = corners::effective(request);
    let line = |key: &Vec<u8>, group: &Vec<u8>, consumer: &Vec<u8>| {
        let mut line = words("XGROUP CREATECONSUMER");
        line.extend([key.clone(), group.clone(), consumer.clone()]);
        line
    };
    let place_of = |word: &[u8]| {
        let mut words = request.iter();
        words.position(|argument| argument.eq_ignore_ascii_case(word))
    };
    match (&*name_of(request), request) {
        ("XCLAIM" | "XAUTOCLAIM", [_, key, group, consumer, _, _, ..]) => {
            vec![line(key, group, consumer)]
        }
        ("XREADGROUP", _) => {
            let (Some(group), Some(streams)) = (place_of(b"group"), place_of(b"streams")) else {
                return Vec::new();
            };
            let [_, group, consumer, ..] = &request[group..] else {
                return Vec::new();
            };
            let keys = &request[streams + 1..];
            let keys = &keys[..keys.len() / 2];
            keys.iter().map(|key| line(key, group, consumer)).collect()
        }
        _ => Vec::new(),
    }
}

/// Sending keys to the cold tier is nothing for Redis.
fn for_redis(request: &Request) -> Request {
    if name_of(request) == "TIER" {
        return words("PING");
    }
    request.clone()
}

/// Judges one reply, or those of a transaction one by one.
fn verdict_on(
    judge: Judge,
    request: &Request,
    queue: &[&Request],
    found: &Reply,
    expected: &Reply,
) -> Verdict {
    match (found, expected) {
        (Reply::Array(found), Reply::Array(expected))
            if name_of(request) == "EXEC"
                && found.len() == queue.len()
                && expected.len() == queue.len() =>
        {
            let replies = found.iter().zip(expected);
            let verdicts = queue
                .iter()
                .zip(replies)
                .map(|(request, (found, expected))| judge.judge(request, found, expected));
            let other = |verdict: &Verdict| *verdict != Verdict::Agree;
            verdicts.into_iter().find(other).unwrap_or(Verdict::Agree)
        }
        _ => judge.judge(request, found, expected),
    }
}
