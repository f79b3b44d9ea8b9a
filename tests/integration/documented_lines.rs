//! What COMMAND DOCS says that a command takes, it takes: command lines are made from the documentation, and none of them is a
//! syntax error.
//!
//! Of each command there is a line with nothing but what it needs, and then one for each option and for each choice. So an
//! option that a syntax names wrongly, or at the wrong place, is found, and one that a command does not know.

use crate::harness::Server;
use crate::wire::{Client, Reply};
use std::collections::BTreeMap;

/// Commands that are not tried, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("client|kill", "ends the connection"),
    ("client|reply", "there would be none"),
    ("debug", "its arguments depend on the first one"),
    ("failover", "refuses combinations; there are no replicas"),
    ("hello", "changes the protocol"),
    ("migrate", "talks to another server"),
    ("monitor", "the connection is of no other use then"),
    ("psubscribe", "the connection is of no other use then"),
    ("psync", "there is no replication"),
    ("quit", "ends the connection"),
    ("shutdown", "ends the server"),
    ("ssubscribe", "the connection is of no other use then"),
    ("subscribe", "the connection is of no other use then"),
    ("sync", "there is no replication"),
];

/// Words at the beginning of what a command says to arguments that it cannot make sense of.
const REFUSALS: &[&str] = &[
    "ERR syntax error",
    "ERR wrong number of arguments",
    "ERR unknown",
    "ERR Unknown",
    "ERR Unrecognized",
    "ERR Unsupported",
    "ERR Mandatory argument",
    "ERR value is not",
    "ERR The `numfields` parameter",
    "ERR timeout",
    "ERR Invalid",
    "ERR invalid",
];

/// Beginnings of lines that are refused for another reason than their form.
const REFUSED: &[(&str, &str)] = &[
    ("COMMAND GETKEYS", "what follows is no command"),
    ("XADD k MAXLEN 1 LIMIT", "goes with ~ only"),
    ("XTRIM k MAXLEN 1 LIMIT", "goes with ~ only"),
    ("ZRANGE k 1 1 LIMIT", "goes with BYSCORE and BYLEX only"),
    (
        "ZRANGESTORE k k 1 1 LIMIT",
        "goes with BYSCORE and BYLEX only",
    ),
];

type Line = Vec<String>;

fn fields(map: &Reply) -> BTreeMap<String, &Reply> {
    let pairs = map.items().chunks_exact(2);
    pairs.map(|pair| (pair[0].text(), &pair[1])).collect()
}

/// Texts that must not be a number.
const TEXTS: &[&str] = &["username", "function-code", "prefix", "type"];

/// A value that suits a name and a type.
fn value(name: &str, kind: &str) -> &'static str {
    match (name, kind) {
        ("timeout", "double") => "0.01",
        ("ttl", _) => "100",
        ("encoding", _) => "u8",
        ("cursor", _) => "0",
        ("unix-time-seconds", _) => "4000000000",
        ("unix-time-milliseconds", _) => "4000000000000",
        ("ifdeq-digest" | "ifdne-digest", _) => "0123456789abcdef",
        ("script", _) => "return 1",
        ("category", _) => "string",
        ("parameter", _) => "maxmemory-samples",
        (_, "key") => "k",
        (_, "pattern") => "a*",
        (_, "string") if TEXTS.contains(&name) => "a",
        _ => "1",
    }
}

/// All lines of a list of arguments: the shortest one, and for each argument the variants that it has, with the shortest
/// forms of the others.
fn lines(arguments: &[&Reply]) -> Vec<Line> {
    let variants: Vec<Vec<Line>> = arguments.iter().map(|argument| forms(argument)).collect();
    let shortest: Vec<&Line> = variants.iter().map(|forms| &forms[0]).collect();
    let joined =
        |parts: &[&Line]| -> Line { parts.iter().flat_map(|part| (*part).clone()).collect() };
    let mut all = vec![joined(&shortest)];
    for (index, forms) in variants.iter().enumerate() {
        for form in &forms[1..] {
            let mut parts = shortest.clone();
            parts[index] = form;
            all.push(joined(&parts));
        }
    }
    all
}

/// The forms of one argument. The first one is the shortest: nothing, if it may be left out.
fn forms(argument: &Reply) -> Vec<Line> {
    let fields = fields(argument);
    let text = |name: &str| fields.get(name).map(|field| field.text());
    let (name, kind) = (
        text("name").unwrap_or_default(),
        text("type").unwrap_or_default(),
    );
    let nested: Vec<&Reply> = fields
        .get("arguments")
        .map_or(Vec::new(), |nested| nested.items().iter().collect());
    let bodies = match &*kind {
        "pure-token" => vec![Line::new()],
        "oneof" => nested.iter().flat_map(|choice| forms(choice)).collect(),
        "block" => lines(&nested),
        _ => vec![vec![value(&name, &kind).to_owned()]],
    };
    let token = text("token").map(|token| token.replace("\"\"", ""));
    let with_token = bodies.into_iter().map(|body| {
        let token = token.clone().into_iter();
        token.chain(body).collect()
    });
    let is_optional = fields
        .get("flags")
        .is_some_and(|flags| flags.items().iter().any(|flag| flag.text() == "optional"));
    let nothing = is_optional.then(Line::new);
    nothing.into_iter().chain(with_token).collect()
}

/// Every command and subcommand, with the lines to try.
fn documented(client: &mut Client) -> Vec<(String, Vec<Line>)> {
    let mut all = Vec::new();
    let mut waiting = vec![client.line("COMMAND DOCS")];
    while let Some(map) = waiting.pop() {
        for (name, docs) in fields(&map) {
            let docs = fields(docs);
            if let Some(subcommands) = docs.get("subcommands") {
                waiting.push((*subcommands).clone());
                continue;
            }
            let arguments = docs.get("arguments").map_or(&[][..], |list| list.items());
            let arguments: Vec<&Reply> = arguments.iter().collect();
            let words: Line = name.split('|').map(str::to_uppercase).collect();
            let lines = lines(&arguments).into_iter();
            let lines = lines.map(|line| words.iter().cloned().chain(line).collect());
            all.push((name, lines.collect()));
        }
    }
    all
}

#[test]
fn what_is_documented_is_accepted() {
    let server = Server::start("");
    let mut client = server.client();
    let mut offences = Vec::new();
    let mut tried = 0;
    for (name, lines) in documented(&mut client) {
        if LEFT_OUT.iter().any(|(left_out, _)| *left_out == name) {
            continue;
        }
        for line in lines {
            client.line("DEL k");
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let reply = client.call(&line);
            tried += 1;
            let Reply::Error(text) = reply else { continue };
            let shown = line.join(" ");
            let is_refused = REFUSALS.iter().any(|refusal| text.starts_with(refusal));
            let is_known = REFUSED.iter().any(|(start, _)| shown.starts_with(start));
            if is_refused && !is_known {
                offences.push(format!("{shown}: {text}"));
            }
        }
    }
    assert!(tried > 700, "{tried} lines are not what is documented");
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}
