//! Histories: lines of two groups above all, or of all groups alike, some of them in transactions or run by a script; then what shows
//! the whole state.

use super::agreement::name_of;
use super::corners;
use super::grammar::{Grammar, Request};
use super::random::Random;
use super::values;

const LINES: usize = 60;

/// What is sent to both servers.
#[derive(Clone)]
pub struct History {
    /// The dialect.
    pub protocol: u8,
    /// CONFIG SET of thresholds that are not as usual.
    pub settings: Vec<Request>,
    /// The lines.
    pub requests: Vec<Request>,
}

impl History {
    /// Without the lines and settings that it does not need to fail.
    pub fn shortened(mut self, mut still_fails: impl FnMut(&History) -> bool) -> History {
        let mut size = self.requests.len() / 2;
        while size > 0 {
            let mut place = 0;
            while place < self.requests.len() {
                let mut fewer = self.clone();
                let end = (place + size).min(fewer.requests.len());
                fewer.requests.drain(place..end);
                if still_fails(&fewer) {
                    self = fewer;
                } else {
                    place += size;
                }
            }
            size /= 2;
        }
        for place in (0..self.settings.len()).rev() {
            let mut fewer = self.clone();
            fewer.settings.remove(place);
            if still_fails(&fewer) {
                self = fewer;
            }
        }
        self
    }
}

/// The words between the blanks of a line.
pub fn words(line: &str) -> Request {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// Draws lines.
struct Source<'a> {
    grammar: &'a Grammar,
    random: Random,
    /// All groups with their weights.
    groups: Vec<(&'a str, usize)>,
    /// Those that most lines come from.
    favourites: Vec<&'a str>,
}

impl Source<'_> {
    fn any_group(&mut self) -> usize {
        let total: usize = self.groups.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.random.below(total);
        let within = self.groups.iter().position(|(_, weight)| {
            let is_it = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_it
        });
        within.expect("the weights add up to their total")
    }

    fn line(&mut self) -> Request {
        if self.random.percent(5)
            && let Some(line) = corners::line(&mut self.random, "")
        {
            return line;
        }
        let group = if self.favourites.is_empty() || self.random.percent(15) {
            let index = self.any_group();
            self.groups[index].0
        } else {
            self.random.pick(&self.favourites)
        };
        let has_forms = self.grammar.weights().iter().any(|(name, _)| name == group);
        let wants_corner = !has_forms || self.random.percent(40);
        let corner = wants_corner.then(|| corners::line(&mut self.random, group));
        let line = corner
            .flatten()
            .unwrap_or_else(|| self.grammar.line(&mut self.random, group));
        let is_callable = !self.grammar.may_wait(&name_of(&line))
            && !matches!(&*name_of(&line), "EVAL" | "EVAL_RO" | "EVALSHA");
        if is_callable && self.random.percent(4) {
            return corners::called(&mut self.random, line);
        }
        if self.random.percent(1) {
            return [words("COMMAND GETKEYS"), line].concat();
        }
        line
    }
}

/// The history of a seed.
pub fn history(grammar: &Grammar, seed: u64) -> History {
    let mut random = Random::new(seed);
    let protocol = if random.percent(50) { 2 } else { 3 };
    let settings = settings(&mut random);
    let groups: Vec<(&str, usize)> = grammar
        .weights()
        .iter()
        .map(|(group, weight)| (&**group, *weight))
        .chain(corners::GROUPS.iter().copied())
        .collect();
    let mut source = Source {
        grammar,
        random,
        groups,
        favourites: Vec::new(),
    };
    if source.random.percent(70) {
        for _ in 0..2 {
            let index = source.any_group();
            source.favourites.push(source.groups[index].0);
        }
    }
    let mut requests = Vec::new();
    for group in source.favourites.clone() {
        if source.random.percent(80) {
            requests.extend(corners::prelude(&mut source.random, group));
        }
    }
    while requests.len() < LINES {
        if source.random.percent(2) {
            transaction(&mut source, &mut requests);
        } else {
            let line = source.line();
            push(&mut requests, line);
        }
    }
    requests.retain(is_repeatable);
    History {
        protocol,
        settings,
        requests,
    }
}

/// Adds a line, and what makes the state the same again if it leaves the servers a choice.
fn push(requests: &mut Vec<Request>, line: Request) {
    let was_deleted = || {
        let mut names = requests
            .iter()
            .map(|line| name_of(corners::effective(line)));
        names.any(|name| name == "XDEL")
    };
    let line_run = corners::effective(&line);
    let is_trim = matches!(&*name_of(line_run), "XADD" | "XTRIM");
    let chosen = if is_trim && line_run.contains(&b"~".to_vec()) && was_deleted() {
        // The places of deleted entries count in Redis.
        line_run.get(1).cloned().into_iter().collect()
    } else {
        keys_of_choice(line_run)
    };
    requests.push(line);
    for key in chosen {
        requests.push(vec![b"SET".to_vec(), key.clone(), b"gone".to_vec()]);
        requests.push(vec![b"DEL".to_vec(), key]);
    }
}

/// Some lines between MULTI and EXEC, now and then with a key that is watched and perhaps changed.
fn transaction(source: &mut Source<'_>, requests: &mut Vec<Request>) {
    if source.random.percent(30) {
        requests.push(words("WATCH watched"));
        if source.random.percent(40) {
            requests.push(words("INCR watched"));
        }
    }
    requests.push(words("MULTI"));
    for _ in 0..=source.random.below(6) {
        if source.random.percent(3) {
            let line = source.random.pick(&["MULTI", "WATCH a", "UNWATCH"]);
            requests.push(words(line));
        }
        let line = source.line();
        if name_of(&line) != "TIER" {
            push(requests, line);
        }
    }
    let end = if source.random.percent(90) {
        "EXEC"
    } else {
        "DISCARD"
    };
    requests.push(words(end));
}

/// Directives that decide how values are stored, with their usual values and one that is soon reached.
const THRESHOLDS: &[(&str, &str, &[&str])] = &[
    ("hll-sparse-max-bytes", "3000", &["100", "30", "0"]),
    ("stream-node-max-entries", "100", &["3", "1"]),
    ("list-max-listpack-size", "-2", &["3"]),
    ("hash-max-listpack-entries", "128", &["3"]),
    ("set-max-intset-entries", "512", &["3"]),
    ("zset-max-listpack-entries", "128", &["3"]),
];

fn settings(random: &mut Random) -> Vec<Request> {
    let mut lines = Vec::new();
    for (name, _, values) in THRESHOLDS {
        if random.percent(30) {
            lines.push(words(&format!("CONFIG SET {name} {}", random.pick(values))));
        }
    }
    lines
}

/// Lines that set everything to what is usual.
pub fn usual_settings() -> Vec<Request> {
    let lines = THRESHOLDS
        .iter()
        .map(|(name, usual, _)| words(&format!("CONFIG SET {name} {usual}")));
    lines.collect()
}

/// The keys whose content a server may choose, after this command.
fn keys_of_choice(request: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let place_of = |word: &[u8]| {
        request
            .iter()
            .position(|argument| argument.eq_ignore_ascii_case(word))
    };
    let has = |word: &[u8]| place_of(word).is_some();
    let first = || request.get(1).cloned().into_iter().collect();
    let stored = || {
        let behind = [b"store".as_slice(), b"storedist"]
            .into_iter()
            .filter_map(|word| request.get(place_of(word)? + 1).cloned());
        behind.collect()
    };
    match &*name_of(request) {
        // Each server pops members of its own choice. And what lies between two members of different scores is not defined.
        "SPOP" | "ZREMRANGEBYLEX" => first(),
        "ZRANGESTORE" if has(b"bylex") => first(),
        "GEOSEARCHSTORE" if has(b"count") => first(),
        "GEORADIUS" | "GEORADIUSBYMEMBER" if has(b"count") => stored(),
        // Elements whose texts to sort by are the same come in any order.
        "SORT" if has(b"by") && has(b"alpha") => stored(),
        _ => Vec::new(),
    }
}

/// False for IDs from the clock, which are not the same on two servers, and for what 7.2 takes and 7.0 calls a wrong number of
/// arguments: that would spoil a transaction.
fn is_repeatable(request: &Request) -> bool {
    let request = corners::effective(request);
    let (request, is_asked) = match request {
        [command, subcommand, asked @ ..]
            if command == b"COMMAND" && subcommand == b"GETKEYS" && !asked.is_empty() =>
        {
            (asked, true)
        }
        _ => (request, false),
    };
    if is_asked && request.len() == 1 {
        return false;
    }
    match &*name_of(request) {
        "XADD" => !request.contains(&b"*".to_vec()),
        "ZRANK" | "ZREVRANK" => request.len() == 3,
        // Redis would make a reply of gigabytes.
        "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER" => !request
            .iter()
            .any(|argument| asks_for_many_repetitions(argument)),
        _ => true,
    }
}

fn asks_for_many_repetitions(argument: &[u8]) -> bool {
    let text = String::from_utf8_lossy(argument);
    text.parse()
        .is_ok_and(|count: i64| (-i64::MAX..-1000).contains(&count))
}

/// Lines that show everything there is.
pub fn inspection(grammar: &Grammar) -> Vec<Request> {
    const OF_A_KEY: &[&str] = &[
        "TYPE K",
        "PTTL K",
        "GET K",
        "LRANGE K 0 -1",
        "SMEMBERS K",
        "HGETALL K",
        "ZRANGE K 0 -1 WITHSCORES",
        "XRANGE K - +",
        "XINFO STREAM K FULL",
    ];
    let mut requests = vec![words("DISCARD"), words("UNWATCH")];
    for (database, lines) in [("SELECT 0", OF_A_KEY), ("SELECT 1", &OF_A_KEY[..3])] {
        requests.extend([words(database), words("DBSIZE")]);
        for key in values::KEYS {
            for line in lines.iter().map(|line| words(line)) {
                if grammar.has(&name_of(&line)) {
                    let place = line.iter().position(|word| word == b"K").unwrap_or(1);
                    let mut line = line;
                    line[place] = key.to_vec();
                    requests.push(line);
                }
            }
        }
    }
    requests
}
