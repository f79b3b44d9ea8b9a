//! The reply of COMMAND DOCS: what a row says of its command to people and to programs that help them.
//!
//! Summary, versions and complexity stand in the row; the arguments come from its syntax ([`super::syntax`]), and so does most of the
//! history: a version that an argument is marked with is an entry. Redis shows such things in this order, and leaves out what
//! a command does not have. All commands together take 0.5 to 1 ms.

use super::spec::{CommandSpec, Flags};
use super::syntax::{self, Argument, Kind};
use super::table::Listed;
use crate::resp::Reply;
use std::cmp::Ordering;

/// One entry, with its name.
pub(super) fn write_docs(row: &Listed, reply: &mut Reply<'_>) {
    let spec = row.spec;
    let arguments = arguments(spec);
    let history = history(spec, &arguments);
    reply.bulk(row.full_name().as_bytes());
    let (start, mut fields) = (reply.begin_deferred(), 0);
    let mut name_field = |name: &str, reply: &mut Reply<'_>| {
        fields += 1;
        reply.bulk(name.as_bytes());
    };
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    for (name, text) in texts {
        name_field(name, reply);
        reply.bulk(text.as_bytes());
    }
    let flags = documentation_flags(spec);
    if !flags.is_empty() {
        name_field("doc_flags", reply);
        write_names(&flags, reply);
    }
    if let Some(deprecation) = &spec.deprecated {
        name_field("deprecated_since", reply);
        reply.bulk(deprecation.since.as_bytes());
        name_field("replaced_by", reply);
        reply.bulk(deprecation.replaced_by.as_bytes());
    }
    if !history.is_empty() {
        name_field("history", reply);
        write_history(&history, reply);
    }
    if !arguments.is_empty() {
        name_field("arguments", reply);
        write_arguments(&arguments, reply);
    }
    if !spec.listed_subcommands().is_empty() {
        name_field("subcommands", reply);
        reply.map_header(spec.listed_subcommands().len());
        row.subcommands()
            .for_each(|subcommand| write_docs(&subcommand, reply));
    }
    reply.end_deferred_map(start, fields);
}

/// The arguments of a command.
pub(super) fn arguments(spec: &CommandSpec) -> Vec<Argument<'static>> {
    let parsed = syntax::parse(spec.syntax);
    debug_assert!(parsed.is_ok(), "{}: {parsed:?}", spec.name);
    parsed.unwrap_or_default()
}

fn documentation_flags(spec: &CommandSpec) -> Vec<&'static str> {
    let flags = [
        ("deprecated", spec.deprecated.is_some()),
        ("syscmd", spec.flags.has(Flags::SYSTEM)),
    ];
    let set = flags.into_iter().filter(|(_, is_set)| *is_set);
    set.map(|(name, _)| name).collect()
}

fn write_names(names: &[&str], reply: &mut Reply<'_>) {
    reply.set_header(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

fn write_arguments(arguments: &[Argument<'_>], reply: &mut Reply<'_>) {
    reply.array_header(arguments.len());
    for argument in arguments {
        write_argument(argument, reply);
    }
}

fn write_argument(argument: &Argument<'_>, reply: &mut Reply<'_>) {
    let nested = argument.nested();
    let display = argument.display.unwrap_or(&argument.name);
    let first = [
        ("name", Some(&*argument.name)),
        ("type", Some(argument.type_name())),
        ("display_text", Some(display).filter(|_| nested.is_none())),
    ];
    let last = [
        ("token", argument.token),
        ("since", argument.since),
        ("deprecated_since", argument.deprecated_since),
    ];
    let flags = argument_flags(argument);
    let texts = first.iter().chain(&last);
    let fields = texts.filter(|(_, text)| text.is_some()).count()
        + usize::from(argument.key_spec_index.is_some())
        + usize::from(!flags.is_empty())
        + usize::from(nested.is_some());
    reply.map_header(fields);
    write_texts(&first, reply);
    if let Some(index) = argument.key_spec_index {
        reply.bulk(b"key_spec_index");
        reply.count(index);
    }
    write_texts(&last, reply);
    if !flags.is_empty() {
        reply.bulk(b"flags");
        write_names(&flags, reply);
    }
    if let Some(nested) = nested {
        reply.bulk(b"arguments");
        write_arguments(nested, reply);
    }
}

fn write_texts(fields: &[(&str, Option<&str>)], reply: &mut Reply<'_>) {
    for (name, text) in fields {
        if let Some(text) = text {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
    }
}

fn argument_flags(argument: &Argument<'_>) -> Vec<&'static str> {
    let flags = [
        ("optional", argument.optional),
        ("multiple", argument.multiple),
        ("multiple_token", argument.multiple_token),
    ];
    let set = flags.into_iter().filter(|(_, is_set)| *is_set);
    set.map(|(name, _)| name).collect()
}

/// A version, and what it brought.
type Change = (&'static str, String);

fn write_history(history: &[Change], reply: &mut Reply<'_>) {
    reply.set_header(history.len());
    for (version, change) in history {
        reply.array_header(2);
        reply.bulk(version.as_bytes());
        reply.bulk(change.as_bytes());
    }
}

/// What changed since the command is there, oldest first: the arguments that are marked with a version, and what the row adds.
fn history(spec: &CommandSpec, arguments: &[Argument<'static>]) -> Vec<Change> {
    let mut added: Vec<(&'static str, Vec<String>)> = Vec::new();
    collect_added(arguments, &mut added);
    let added = added
        .into_iter()
        .filter(|(version, _)| compare_versions(version, spec.since).is_gt());
    let added = added.map(|(version, labels)| (version, format!("New: {}.", labels.join(", "))));
    let told = spec.history.iter();
    let told = told.map(|(version, change)| (*version, (*change).to_owned()));
    let mut history: Vec<Change> = added.chain(told).collect();
    history.sort_by(|(one, _), (other, _)| compare_versions(one, other));
    history
}

/// Gathers the labels of arguments by the version that they came with.
fn collect_added(arguments: &[Argument<'static>], added: &mut Vec<(&'static str, Vec<String>)>) {
    for argument in arguments {
        if let Some(since) = argument.since {
            let position = added.iter().position(|(version, _)| *version == since);
            let position = position.unwrap_or_else(|| {
                added.push((since, Vec::new()));
                added.len() - 1
            });
            collect_labels(argument, &mut added[position].1);
        }
        if let Some(nested) = argument.nested() {
            collect_added(nested, added);
        }
    }
}

/// What people call an argument: its token, or what it is shown as; of several to choose from, all that came together.
fn collect_labels(argument: &Argument<'_>, labels: &mut Vec<String>) {
    match (&argument.kind, argument.token) {
        (_, Some(token)) => labels.push(format!("`{token}`")),
        (Kind::OneOf(choices), None) => {
            let together = choices.iter().filter(|choice| choice.since.is_none());
            together.for_each(|choice| collect_labels(choice, labels));
        }
        (Kind::Block(parts), None) => parts
            .iter()
            .take(1)
            .for_each(|part| collect_labels(part, labels)),
        (Kind::Value(_) | Kind::PureToken, None) => {
            labels.push(format!("`{}`", argument.display.unwrap_or(&argument.name)));
        }
    }
}

fn compare_versions(one: &str, other: &str) -> Ordering {
    let numbers = |version: &str| -> Vec<u32> {
        let parts = version.split('.');
        parts.map(|part| part.parse().unwrap_or(0)).collect()
    };
    numbers(one).cmp(&numbers(other))
}

#[cfg(test)]
#[path = "command_docs_tests.rs"]
mod tests;
