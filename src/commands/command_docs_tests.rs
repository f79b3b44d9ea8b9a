//! What holds for the documentation of every row, and the reply of COMMAND DOCS.

use super::*;
use crate::commands::access::{KeyFlags, key_uses};
use crate::commands::table;
use crate::commands::test_support::TestServer;

/// Every row, also those that clients do not know as commands of their own, with its full name.
fn rows() -> Vec<(String, &'static CommandSpec, usize)> {
    let mut rows = Vec::new();
    for spec in table::all() {
        rows.push((spec.name.to_owned(), spec, 1));
        let subcommands = spec.subcommands.iter();
        rows.extend(subcommands.map(|subcommand| {
            let name = format!("{}|{}", spec.name, subcommand.name);
            (name, subcommand, 2)
        }));
    }
    rows
}

#[test]
fn every_row_says_what_it_is() {
    let is_version = |version: &str| {
        let parts: Vec<&str> = version.split('.').collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u8>().is_ok())
    };
    let mut offences = Vec::new();
    for (name, spec, _) in rows() {
        let versions = spec.history.iter().map(|(version, _)| *version);
        let is_newer = |version: &str| compare_versions(version, spec.since).is_gt();
        let deprecation = spec.deprecated.as_ref();
        let facts = [
            ("summary", spec.summary.ends_with('.')),
            ("since", is_version(spec.since)),
            ("complexity", !spec.complexity.is_empty()),
            ("versions", versions.clone().all(is_version)),
            ("newer versions", versions.clone().all(is_newer)),
            (
                "changes",
                spec.history.iter().all(|(_, change)| change.ends_with('.')),
            ),
            (
                "deprecation",
                deprecation.is_none_or(|it| is_version(it.since) && !it.replaced_by.is_empty()),
            ),
        ];
        let missing = facts.iter().filter(|(_, holds)| !holds);
        offences.extend(missing.map(|(fact, _)| format!("{name}: {fact}")));
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn every_syntax_can_be_read() {
    for (name, spec, _) in rows() {
        if let Err(error) = syntax::parse(spec.syntax) {
            panic!("{name}: {error}: {}", spec.syntax);
        }
    }
}

/// The fewest words that an argument takes, and whether it may take more.
fn words(argument: &Argument<'_>) -> (usize, bool) {
    let token = usize::from(argument.token.is_some());
    let (least, varies) = match &argument.kind {
        Kind::Value(_) => (1, false),
        Kind::PureToken => (0, false),
        Kind::Block(parts) => sum(parts),
        Kind::OneOf(choices) => {
            let counts: Vec<(usize, bool)> = choices.iter().map(words).collect();
            let least = counts.iter().map(|(least, _)| *least).min().unwrap_or(0);
            let is_same = |count: &(usize, bool)| *count == (least, false);
            (least, !counts.iter().all(is_same))
        }
    };
    match argument.optional {
        true => (0, true),
        false => (token + least, varies || argument.multiple),
    }
}

fn sum(arguments: &[Argument<'_>]) -> (usize, bool) {
    let add = |(all, any): (usize, bool), argument| {
        let (least, varies) = words(argument);
        (all + least, any || varies)
    };
    arguments.iter().fold((0, false), add)
}

/// Commands whose arity does not follow from their arguments, and why.
const OTHER_ARITY: &[(&str, &str)] = &[
    ("client|kill", "there has to be a filter"),
    ("psync", "what servers may say further is not documented"),
    ("replconf", "its arguments are not documented"),
    ("quit", "it ignores what follows"),
];

#[test]
fn a_syntax_agrees_with_the_arity() {
    let mut offences = Vec::new();
    for (name, spec, name_words) in rows() {
        let is_container = !spec.subcommands.is_empty();
        if is_container || OTHER_ARITY.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let (least, varies) = sum(&arguments(spec));
        let least = (name_words + least) as i32;
        let arity = if varies { -least } else { least };
        if arity != spec.arity {
            offences.push(format!(
                "{name} {}: {arity} instead of {}",
                spec.syntax, spec.arity
            ));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn a_syntax_names_the_keys_of_every_key_specification() {
    fn collect(arguments: &[Argument<'_>], found: &mut Vec<usize>) {
        for argument in arguments {
            found.extend(argument.key_spec_index);
            collect(argument.nested().unwrap_or_default(), found);
        }
    }
    for (name, spec, _) in rows() {
        let mut found = Vec::new();
        collect(&arguments(spec), &mut found);
        found.sort_unstable();
        found.dedup();
        let uses = key_uses(spec);
        let keys = uses
            .iter()
            .filter(|key_use| !key_use.flags.has(KeyFlags::NOT_KEY));
        assert_eq!(
            found,
            Vec::from_iter(0..keys.count()),
            "{name} {}",
            spec.syntax
        );
    }
}

#[test]
fn neighbours_have_different_names_and_versions_are_newer_than_what_they_are_in() {
    fn check(command: &str, since: &str, arguments: &[Argument<'_>]) {
        for (index, argument) in arguments.iter().enumerate() {
            let name = &argument.name;
            let is_known = arguments[..index].iter().any(|other| other.name == *name);
            assert!(!is_known, "{command}: two arguments with the name {name}");
            let own_since = argument.since.unwrap_or(since);
            assert!(
                argument.since.is_none() || compare_versions(own_since, since).is_ge(),
                "{command}: {name} is older than what it is in"
            );
            check(command, since, argument.nested().unwrap_or_default());
        }
    }
    for (name, spec, _) in rows() {
        check(&name, spec.since, &arguments(spec));
    }
}

#[test]
fn docs_have_the_fields_of_redis_in_its_order() {
    let mut server = TestServer::new();
    server.check_all(&[
        (
            "COMMAND DOCS getset",
            r#"["getset" ["summary" "Puts a string at a key and returns the one that was there before." "since" "1.0.0" "group" "string" "complexity" "O(1)" "doc_flags" [+deprecated] "deprecated_since" "6.2.0" "replaced_by" "`SET key value GET`" "arguments" [["name" "key" "type" "key" "display_text" "key" "key_spec_index" :0] ["name" "value" "type" "string" "display_text" "value"]]]]"#,
        ),
        ("COMMAND DOCS nosuch", "[]"),
    ]);
}

#[test]
fn history_is_what_arguments_are_marked_with_and_what_the_row_adds() {
    let cases = [
        ("get", ""),
        ("expire", "7.0.0 New: `NX`, `XX`, `GT`, `LT`."),
        ("auth", "6.0.0 New: `username`."),
        ("hdel", "2.4.0 Several fields at once."),
        (
            "set",
            "2.6.12 New: `NX`, `XX`, `EX`, `PX`.|6.0.0 New: `KEEPTTL`.|6.2.0 New: `GET`, `EXAT`, `PXAT`.|\
             7.0.0 `NX` and `GET` go together.|8.1.0 New: `IFEQ`.|8.4.0 New: `IFNE`, `IFDEQ`, `IFDNE`.",
        ),
    ];
    for (name, expected) in cases {
        let spec = table::find(name.as_bytes()).expect("a command").spec;
        let history = history(spec, &arguments(spec)).into_iter();
        let shown: Vec<String> = history
            .map(|(version, change)| format!("{version} {change}"))
            .collect();
        assert_eq!(shown.join("|"), expected, "{name}");
    }
}
