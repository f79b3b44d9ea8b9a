//! COMMAND INFO of every command that `redis-server` has, field by field.
//!
//! The installed redis-server may be a 7.0, while Larder says what 7.2 says: [`NEWER`] names what changed in between. Nothing is
//! compared where redis-server is not installed.

use crate::harness::{Reference, Server};
use crate::wire::{Client, Reply};
use std::collections::{BTreeMap, BTreeSet};

/// The fields of an entry, in order.
const FIELDS: [&str; 9] = [
    "name",
    "arity",
    "flags",
    "first key",
    "last key",
    "step",
    "categories",
    "tips",
    "key specifications",
];

/// What Redis 7.2 says otherwise than 7.0: the command and the field.
const NEWER: &[(&str, &str)] = &[
    ("acl|deluser", "tips"),
    ("acl|save", "tips"),
    ("acl|setuser", "tips"),
    ("blmove", "flags"),
    ("blpop", "flags"),
    ("brpop", "flags"),
    ("brpoplpush", "flags"),
    ("bzpopmax", "flags"),
    ("bzpopmin", "flags"),
    ("client|setname", "tips"),
    ("cluster|shards", "flags"),
    ("cluster|slots", "flags"),
    ("command|getkeys", "arity"),
    ("command|getkeysandflags", "arity"),
    ("config|resetstat", "tips"),
    ("config|rewrite", "tips"),
    ("latency|reset", "tips"),
    ("msetnx", "tips"),
    ("randomkey", "tips"),
    ("scan", "tips"),
    ("wait", "flags"),
    ("zrank", "arity"),
    ("zrevrank", "arity"),
];

/// Commands that only several servers need.
const ABSENT: &[&str] = &["restore-asking"];

/// Every field of every command, as text. Sets are sorted; of remarks for people it only counts that there are some.
fn entries(client: &mut Client) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    let mut waiting = client.line("COMMAND").items().to_vec();
    while let Some(entry) = waiting.pop() {
        let items = entry.items();
        waiting.extend_from_slice(items[9].items());
        let fields = (0..FIELDS.len()).map(|index| shown(&items[index], index));
        all.insert(items[0].text(), fields.collect());
    }
    all
}

fn shown(field: &Reply, index: usize) -> String {
    match FIELDS[index] {
        "flags" | "categories" | "tips" => format!("{:?}", texts(field)),
        "key specifications" => field.items().iter().map(shown_keys).collect(),
        _ => format!("{field:?}"),
    }
}

/// Names in order.
fn texts(field: &Reply) -> BTreeSet<String> {
    field.items().iter().map(Reply::text).collect()
}

fn shown_keys(specification: &Reply) -> String {
    let pairs = specification.items().chunks_exact(2);
    let shown = pairs.map(|pair| match pair[0].text().as_str() {
        // Each in its own words.
        "notes" => "noted ".to_owned(),
        "flags" => format!("{:?} ", texts(&pair[1])),
        name => format!("{name} {:?} ", pair[1]),
    });
    shown.collect()
}

#[test]
fn commands_say_of_themselves_what_those_of_redis_say() {
    let Some(reference) = Reference::start() else {
        return;
    };
    let server = Server::start("");
    let found = entries(&mut server.client());
    let expected = entries(&mut reference.client());
    let mut differences = Vec::new();
    for (name, fields) in expected {
        let Some(found) = found.get(&name) else {
            if !ABSENT.contains(&&*name) {
                differences.push(format!("{name} is missing"));
            }
            continue;
        };
        for (index, field) in FIELDS.iter().enumerate() {
            if found[index] != fields[index] && !NEWER.contains(&(&name, field)) {
                let (found, expected) = (&found[index], &fields[index]);
                differences.push(format!("{name}, {field}: {found} instead of {expected}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
