//! COMMAND DOCS: the arguments of every command, compared with what Redis says of them.
//!
//! With the installed `redis-server`, which may be a 7.0, only what a client's completion needs is compared: types, words, flags and key
//! specifications. Names changed with 7.2, which is what Larder follows: `LARDER_COMMAND_JSON` names the directory
//! `src/commands` of a checkout of Redis 7.2, with which all is compared. Without either, nothing is.

use crate::harness::{Reference, Server};
use crate::wire::{Client, Reply};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What Larder has more than Redis 7.2 and marks with no newer version.
const OWN: &[(&str, &str)] = &[("lolwut", "a number of columns")];

/// Versions from which on an argument is one that Redis 7.2 does not have.
const NEWER_VERSIONS: [&str; 3] = ["7.4.", "8.", "9."];

/// What Redis 7.2 says otherwise than 7.0.
const NEWER: &[(&str, &str)] = &[
    ("bitop", "the operation was any text"),
    ("client|kill", "SKIPME was any text"),
    ("client|list", "a block of one"),
    ("client|pause", "another version"),
    ("command|getkeys", "had no arguments"),
    ("command|getkeysandflags", "had no arguments"),
    ("config|get", "a block of one"),
    ("geohash", "members may be left out"),
    ("geopos", "members may be left out"),
    ("georadius", "one of STORE and STOREDIST"),
    ("georadiusbymember", "one of STORE and STOREDIST"),
    ("migrate", "optional parts of an optional choice"),
    ("module|loadex", "a block of one"),
    ("pfmerge", "sources may be left out"),
    ("psetex", "deprecated"),
    ("psubscribe", "a block of one"),
    ("quit", "deprecated"),
    ("setex", "deprecated"),
    ("setnx", "deprecated"),
    ("xinfo|stream", "FULL was the token of a block"),
    ("zrank", "WITHSCORE"),
    ("zrevrank", "WITHSCORE"),
];

/// Commands that only several servers need.
const ABSENT: &[&str] = &["restore-asking"];

fn is_listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

/// The fields of a map as RESP2 writes it.
fn fields(map: &Reply) -> BTreeMap<String, &Reply> {
    let pairs = map.items().chunks_exact(2);
    pairs.map(|pair| (pair[0].text(), &pair[1])).collect()
}

/// COMMAND DOCS of all commands and subcommands.
fn all_docs(client: &mut Client) -> BTreeMap<String, Reply> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![client.line("COMMAND DOCS")];
    while let Some(map) = waiting.pop() {
        for (name, docs) in fields(&map) {
            waiting.extend(fields(docs).get("subcommands").map(|map| (*map).clone()));
            all.insert(name, docs.clone());
        }
    }
    all
}

/// The arguments that Redis 7.2 may have.
fn known(arguments: &Reply) -> impl Iterator<Item = &Reply> {
    let is_newer = |version: &str| {
        NEWER_VERSIONS
            .iter()
            .any(|newer| version.starts_with(newer))
    };
    let arguments = arguments.items().iter();
    arguments.filter(move |argument| {
        let since = fields(argument).get("since").map(|since| since.text());
        !since.is_some_and(|since| is_newer(&since))
    })
}

/// An argument on one line. Not what it is called: that changed between versions.
fn shape(argument: &Reply) -> String {
    let fields = fields(argument);
    let mut shape = fields["type"].text();
    if let Some(token) = fields.get("token") {
        shape.push_str(&format!(" {}", token.text()));
    }
    if let Some(flags) = fields.get("flags") {
        shape.push_str(&format!(" {:?}", flags.items()));
    }
    if let Some(index) = fields.get("key_spec_index") {
        shape.push_str(&format!(" keys {}", index.integer()));
    }
    if let Some(nested) = fields.get("arguments") {
        shape.push_str(&format!(" ({})", shapes(nested)));
    }
    shape
}

fn shapes(arguments: &Reply) -> String {
    let shapes: Vec<String> = known(arguments).map(shape).collect();
    shapes.join(", ")
}

/// What is compared of a command.
fn summed_up(docs: &Reply) -> String {
    let fields = fields(docs);
    let shown = ["since", "group", "doc_flags", "deprecated_since"];
    let shown: Vec<String> = shown
        .iter()
        .map(|name| format!("{name} {:?}", fields.get(*name)))
        .collect();
    let arguments = fields.get("arguments").map(|arguments| shapes(arguments));
    format!("{}; {}", shown.join(", "), arguments.unwrap_or_default())
}

#[test]
fn arguments_have_the_shape_of_those_of_redis() {
    let Some(reference) = Reference::start() else {
        return;
    };
    let server = Server::start("");
    let found = all_docs(&mut server.client());
    let expected = all_docs(&mut reference.client());
    assert!(expected.len() > 300, "redis-server documents its commands");
    let mut differences = Vec::new();
    for (name, docs) in &expected {
        let Some(found) = found.get(name) else {
            if !ABSENT.contains(&&**name) {
                differences.push(format!("{name} is missing"));
            }
            continue;
        };
        let (found, expected) = (summed_up(found), summed_up(docs));
        let is_same = found == expected;
        if !is_same && !is_listed(OWN, name) && !is_listed(NEWER, name) {
            differences.push(format!("{name}:\n  {found}\n  instead of\n  {expected}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// An argument as a checkout describes it, in the form of COMMAND DOCS.
fn described(argument: &Value) -> String {
    let text = |name: &str| argument[name].as_str();
    let name = text("name").unwrap_or_default().to_lowercase();
    let kind = text("type").unwrap_or_default();
    let nested = argument["arguments"].as_array();
    let mut fields = vec![("name", name.clone()), ("type", kind.to_owned())];
    if nested.is_none() {
        let display = text("display").map(str::to_lowercase);
        fields.push(("display_text", display.unwrap_or(name)));
    }
    if let Some(index) = argument["key_spec_index"].as_i64() {
        fields.push(("key_spec_index", index.to_string()));
    }
    fields.extend(text("token").map(|token| ("token", token.to_uppercase())));
    for name in ["since", "deprecated_since"] {
        fields.extend(text(name).map(|version| (name, version.to_owned())));
    }
    let flags = ["optional", "multiple", "multiple_token"];
    let flags = flags
        .iter()
        .filter(|flag| argument[**flag] == Value::Bool(true));
    let flags: Vec<&str> = flags.copied().collect();
    if !flags.is_empty() {
        fields.push(("flags", flags.join(" ")));
    }
    if let Some(nested) = nested {
        fields.push(("arguments", described_all(nested)));
    }
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("[{}]", fields.join(", "))
}

fn described_all(arguments: &[Value]) -> String {
    arguments.iter().map(described).collect()
}

/// The same of a reply, field by field in the order in which they came.
fn replied(argument: &Reply) -> String {
    let fields = argument.items().chunks_exact(2).map(|pair| {
        let value = match (&*pair[0].text(), &pair[1]) {
            ("arguments", nested) => replied_all(nested),
            ("flags", flags) => {
                let flags: Vec<String> = flags.items().iter().map(Reply::text).collect();
                flags.join(" ")
            }
            (_, Reply::Integer(number)) => number.to_string(),
            (_, text) => text.text(),
        };
        format!("{}={value}", pair[0].text())
    });
    let fields: Vec<String> = fields.collect();
    format!("[{}]", fields.join(", "))
}

fn replied_all(arguments: &Reply) -> String {
    known(arguments).map(replied).collect()
}

/// All commands that a checkout describes.
fn described_commands(directory: &Path) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let files = std::fs::read_dir(directory).expect("LARDER_COMMAND_JSON is a directory");
    let paths = files.filter_map(Result::ok).map(|file| file.path());
    for path in paths.filter(|path| path.extension().is_some_and(|it| it == "json")) {
        let text = std::fs::read_to_string(&path).expect("a file");
        let commands: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
        for (name, command) in commands {
            let name = name.to_lowercase();
            let name = match command["container"].as_str() {
                Some(container) => format!("{}|{name}", container.to_lowercase()),
                None => name,
            };
            all.insert(name, command);
        }
    }
    all
}

#[test]
fn arguments_are_those_of_a_checkout() {
    let Some(directory) = std::env::var_os("LARDER_COMMAND_JSON") else {
        println!("LARDER_COMMAND_JSON is not set: nothing is compared with a checkout");
        return;
    };
    let described = described_commands(Path::new(&directory));
    let server = Server::start("");
    let mut differences = Vec::new();
    for (name, docs) in all_docs(&mut server.client()) {
        let Some(command) = described.get(&name) else {
            continue;
        };
        let fields = fields(&docs);
        let arguments = command["arguments"].as_array();
        let expected = arguments.map(|arguments| described_all(arguments));
        let found = fields.get("arguments").map(|found| replied_all(found));
        if found != expected && !is_listed(OWN, &name) {
            differences.push(format!(
                "{name}:\n  {found:?}\n  instead of\n  {expected:?}"
            ));
        }
        for field in ["since", "group", "deprecated_since"] {
            let expected = command[field].as_str().map(|text| text.replace('_', "-"));
            let found = fields.get(field).map(|found| found.text());
            if found != expected {
                differences.push(format!("{name}: {field} {found:?} instead of {expected:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
