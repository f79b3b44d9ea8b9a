//! Command lines, made from what `redis-server` says of its commands' arguments in COMMAND DOCS.
//!
//! So a command that both servers know is part of every history from the day it is there. What the documentation does not
//! say is in [`super::values`]: which values an argument takes. Most lines are valid; in some an argument is missing, doubled,
//! out of place or of the wrong kind.

use super::random::Random;
use super::values;
use crate::wire::{Client, Reply};
use std::collections::BTreeMap;

/// A command line.
pub type Request = Vec<Vec<u8>>;

/// Groups whose commands are compared, and how often each is drawn.
const GROUPS: &[(&str, usize)] = &[
    ("string", 5),
    ("list", 5),
    ("set", 5),
    ("sorted-set", 8),
    ("hash", 5),
    ("generic", 5),
    ("bitmap", 4),
    ("hyperloglog", 3),
    ("geo", 4),
    ("stream", 6),
];

/// Commands that are not made from their documentation, and why. Of some there are lines in [`super::corners`].
const LEFT_OUT: &[(&str, &str)] = &[
    ("MIGRATE", "talks to another server"),
    ("WAIT", "waits for replicas"),
    ("PFDEBUG", "its documentation is empty; in the corners"),
    ("PFSELFTEST", "tests Redis"),
    ("DUMP", "its bytes carry the version of the format"),
    (
        "RESTORE",
        "needs what DUMP gave; with other texts in the corners",
    ),
];

/// What may stand at a place of a command line.
enum Shape {
    /// A value of this kind.
    Value(String),
    /// Only its token.
    Token,
    OneOf(Vec<Argument>),
    Block(Vec<Argument>),
}

struct Argument {
    name: String,
    token: Option<String>,
    shape: Shape,
    optional: bool,
    multiple: bool,
    multiple_token: bool,
}

/// A command, or a subcommand with its container.
struct Form {
    words: Vec<String>,
    arguments: Vec<Argument>,
}

impl Form {
    fn may_wait(&self) -> bool {
        let is_stream_read = matches!(&*self.words[0], "XREAD" | "XREADGROUP");
        is_stream_read
            || self
                .arguments
                .iter()
                .any(|argument| argument.name == "timeout")
    }
}

/// All commands that both servers know.
pub struct Grammar {
    groups: BTreeMap<String, Vec<Form>>,
    weights: Vec<(String, usize)>,
}

/// The fields of a map as RESP2 writes it.
fn fields(map: &Reply) -> BTreeMap<String, &Reply> {
    map.items()
        .chunks(2)
        .map(|pair| (pair[0].text(), &pair[1]))
        .collect()
}

impl Argument {
    fn read(described: &Reply) -> Argument {
        let described = fields(described);
        let text = |name: &str| described.get(name).map(|field| field.text());
        let flags: Vec<String> = described
            .get("flags")
            .map(|flags| flags.items().iter().map(Reply::text).collect())
            .unwrap_or_default();
        let has = |flag: &str| flags.iter().any(|known| known == flag);
        let nested = || read_arguments(described.get("arguments").copied());
        let kind = text("type").unwrap_or_default();
        Argument {
            name: text("name").unwrap_or_default(),
            token: text("token"),
            shape: match &*kind {
                "pure-token" => Shape::Token,
                "oneof" => Shape::OneOf(nested()),
                "block" => Shape::Block(nested()),
                _ => Shape::Value(kind),
            },
            optional: has("optional"),
            multiple: has("multiple"),
            multiple_token: has("multiple_token"),
        }
    }
}

fn read_arguments(described: Option<&Reply>) -> Vec<Argument> {
    described
        .map(|list| list.items().iter().map(Argument::read).collect())
        .unwrap_or_default()
}

/// A line in the making.
struct Line<'a> {
    random: &'a mut Random,
    group: &'a str,
    command: &'a str,
    request: Request,
    /// Where the number of the keys that follow has to go.
    key_count_at: Option<usize>,
    key_count: usize,
}

impl Line<'_> {
    fn all(&mut self, arguments: &[Argument]) {
        for argument in arguments {
            if !argument.optional || self.random.percent(30) {
                self.one(argument);
            }
        }
    }

    fn one(&mut self, argument: &Argument) {
        if argument.name == "numkeys" {
            self.key_count_at = Some(self.request.len());
        }
        let is_key = matches!(&argument.shape, Shape::Value(kind) if kind == "key");
        let goes_with_keys = matches!(&*argument.name, "weight" | "id") && self.key_count > 0;
        let times = match argument.multiple {
            false => 1,
            true if goes_with_keys && self.random.percent(90) => self.key_count,
            true => 1 + self.random.below(3),
        };
        for time in 0..times {
            if let Some(token) = argument
                .token
                .as_ref()
                .filter(|_| time == 0 || argument.multiple_token)
            {
                self.word(token);
            }
            match &argument.shape {
                Shape::Token => {}
                Shape::OneOf(choices) => {
                    let choice = self.random.below(choices.len());
                    self.one(&choices[choice]);
                }
                Shape::Block(arguments) => self.all(arguments),
                Shape::Value(_) if is_key => {
                    let key = values::key(self.random, self.group);
                    self.request.push(key);
                }
                Shape::Value(kind) => {
                    let value = values::value(self.random, self.command, &argument.name, kind);
                    self.request.push(value);
                }
            }
        }
        if is_key && argument.multiple {
            self.key_count = times;
            if let Some(place) = self.key_count_at.take()
                && self.random.percent(95)
            {
                self.request[place] = times.to_string().into_bytes();
            }
        }
    }

    fn word(&mut self, token: &str) {
        let word = if self.random.percent(10) {
            token.to_lowercase()
        } else {
            token.to_owned()
        };
        self.request.push(word.into_bytes());
    }

    /// Makes the line wrong in some way.
    fn spoil(&mut self) {
        let place = self.random.below(self.request.len());
        // In a command with a deadline an accidental one could be near.
        let has_deadline = matches!(
            self.command,
            "SET" | "SETEX" | "PSETEX" | "GETEX" | "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT"
        );
        let ways = if has_deadline { 3 } else { 5 };
        match self.random.below(ways) {
            0 if place > 0 => {
                self.request.remove(place);
            }
            1 if place > 0 => {
                let copy = self.request[place].clone();
                self.request.insert(place, copy);
            }
            3 if place > 0 => {
                let kind = self.random.pick(&["integer", "double", "string"]);
                self.request[place] = values::value(self.random, "", "", kind);
            }
            4 if place > 1 => self.request.swap(place, place - 1),
            _ => {
                let extra = values::text(self.random);
                self.request.push(extra);
            }
        }
    }
}

impl Grammar {
    /// Asks both servers.
    pub fn read(larder: &mut Client, redis: &mut Client) -> Grammar {
        let docs = redis.line("COMMAND DOCS");
        let mut groups: BTreeMap<String, Vec<Form>> = BTreeMap::new();
        for (name, described) in fields(&docs) {
            let command = name.to_uppercase();
            let described = fields(described);
            let group = described["group"].text();
            let is_wanted = GROUPS.iter().any(|(known, _)| *known == group)
                && LEFT_OUT.iter().all(|(left_out, _)| *left_out != command);
            if !is_wanted || !knows(larder, &command) {
                continue;
            }
            let forms = groups.entry(group).or_default();
            match described.get("subcommands") {
                None => forms.push(Form {
                    words: vec![command],
                    arguments: read_arguments(described.get("arguments").copied()),
                }),
                Some(subcommands) => {
                    for (name, described) in fields(subcommands) {
                        forms.push(Form {
                            words: name.to_uppercase().split('|').map(str::to_owned).collect(),
                            arguments: read_arguments(fields(described).get("arguments").copied()),
                        });
                    }
                }
            }
        }
        let weights = GROUPS
            .iter()
            .filter(|(group, _)| groups.contains_key(*group))
            .map(|(group, weight)| ((*group).to_owned(), *weight))
            .collect();
        Grammar { groups, weights }
    }

    /// True if both servers know the command.
    pub fn has(&self, command: &str) -> bool {
        let mut forms = self.groups.values().flatten();
        forms.any(|form| form.words[0] == command)
    }

    /// Number of commands and subcommands.
    pub fn forms(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }

    /// Whether it is a command that waits.
    pub fn may_wait(&self, command: &str) -> bool {
        let mut forms = self.groups.values().flatten();
        forms.any(|form| form.words[0] == command && form.may_wait())
    }

    /// The groups that there are, and how often each is drawn.
    pub fn weights(&self) -> &[(String, usize)] {
        &self.weights
    }

    /// A random command line of a group.
    pub fn line(&self, random: &mut Random, group: &str) -> Request {
        let forms = &self.groups[group];
        let form = loop {
            let form = &forms[random.below(forms.len())];
            // What waits takes its time.
            if !form.may_wait() || random.percent(10) {
                break form;
            }
        };
        let mut line = Line {
            random,
            group,
            command: &form.words[0],
            request: Vec::new(),
            key_count_at: None,
            key_count: 0,
        };
        for word in &form.words {
            line.word(word);
        }
        line.all(&form.arguments);
        // A spoilt time to wait could be for ever.
        if !form.may_wait() && line.random.percent(8) {
            line.spoil();
        }
        line.request
    }
}

fn knows(client: &mut Client, command: &str) -> bool {
    let reply = client.call(&["COMMAND", "INFO", command]);
    matches!(reply.items(), [Reply::Array(row)] if !row.is_empty())
}
