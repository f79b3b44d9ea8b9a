//! The reply of COMMAND INFO: what a row says of its command to clients and proxies. What it says to people is in
//! [`super::command_docs`].

use super::access::{KeyFlags, KeyUse, Place, key_uses, legacy_range};
use super::categories::categories;
use super::spec::{CommandSpec, Flags};
use super::table::Listed;
use crate::resp::Reply;

/// Flags by the names of COMMAND INFO.
pub(super) const FLAG_NAMES: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ASKING, "asking"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::MOVABLE_KEYS, "movablekeys"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

/// The flags that clients see: those of the row, and whether the first-last-step fields leave out keys.
fn shown_flags(spec: &CommandSpec) -> Flags {
    let own = Flags(spec.flags.0 & !Flags::MOVABLE_KEYS.0);
    if legacy_range(spec).1 {
        own.and(Flags::MOVABLE_KEYS)
    } else {
        own
    }
}

/// One entry of COMMAND INFO.
pub(super) fn write_info(row: &Listed, reply: &mut Reply<'_>) {
    let spec = row.spec;
    reply.array_header(10);
    reply.bulk(row.full_name().as_bytes());
    reply.integer(i64::from(spec.arity));
    let flags = shown_flags(spec);
    let flags = FLAG_NAMES.iter().filter(|(flag, _)| flags.has(*flag));
    write_set(flags.map(|(_, name)| *name), reply);
    let ((first, last, step), _) = legacy_range(spec);
    [first, last, step]
        .into_iter()
        .for_each(|number| reply.integer(number));
    let categories: Vec<String> = categories(spec)
        .names()
        .map(|name| format!("@{name}"))
        .collect();
    write_set(categories.iter().map(String::as_str), reply);
    reply.set_header(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    let uses = key_uses(spec);
    reply.set_header(uses.len());
    uses.iter()
        .for_each(|key_use| write_key_use(key_use, reply));
    reply.array_header(spec.listed_subcommands().len());
    row.subcommands()
        .for_each(|subcommand| write_info(&subcommand, reply));
}

fn write_set<'a>(names: impl Iterator<Item = &'a str>, reply: &mut Reply<'_>) {
    let names: Vec<&str> = names.collect();
    reply.set_header(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

/// The flags of a key.
pub(super) fn write_key_flags(flags: KeyFlags, reply: &mut Reply<'_>) {
    write_set(flags.names(), reply);
}

fn write_key_use(key_use: &KeyUse, reply: &mut Reply<'_>) {
    reply.map_header(3 + usize::from(key_use.note.is_some()));
    if let Some(note) = key_use.note {
        reply.bulk(b"notes");
        reply.bulk(note.as_bytes());
    }
    reply.bulk(b"flags");
    write_key_flags(key_use.flags, reply);
    let range = |last: i64, step: i64, limit: i64| {
        let fields = [("lastkey", last), ("keystep", step), ("limit", limit)];
        ("range", fields.to_vec())
    };
    // As Redis shows it, a last key that is not counted from the end is relative to the first one.
    let relative = |last: i32, first: usize| {
        let last = i64::from(last);
        if last < 0 { last } else { last - first as i64 }
    };
    let (begin, find) = match key_use.place {
        Place::Range { first, last, step } => (
            Begin::Index(first),
            range(relative(last, first), step as i64, 0),
        ),
        Place::Counted { count_index } => {
            let fields = [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)];
            (Begin::Index(count_index), ("keynum", fields.to_vec()))
        }
        Place::Keyword {
            word,
            from,
            last,
            limit,
        } => (
            Begin::Keyword(word, from),
            range(i64::from(last), 1, limit as i64),
        ),
        Place::AsSpecified | Place::Unknown => (Begin::Unknown, ("unknown", Vec::new())),
    };
    reply.bulk(b"begin_search");
    write_begin(&begin, reply);
    reply.bulk(b"find_keys");
    reply.map_header(2);
    reply.bulk(b"type");
    reply.bulk(find.0.as_bytes());
    reply.bulk(b"spec");
    reply.map_header(find.1.len());
    for (name, value) in find.1 {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
}

/// Where the search for keys begins.
enum Begin {
    Index(usize),
    Keyword(&'static str, i32),
    Unknown,
}

fn write_begin(begin: &Begin, reply: &mut Reply<'_>) {
    reply.map_header(2);
    reply.bulk(b"type");
    let kind: &[u8] = match begin {
        Begin::Index(_) => b"index",
        Begin::Keyword(..) => b"keyword",
        Begin::Unknown => b"unknown",
    };
    reply.bulk(kind);
    reply.bulk(b"spec");
    match begin {
        Begin::Index(index) => {
            reply.map_header(1);
            reply.bulk(b"index");
            reply.integer(*index as i64);
        }
        Begin::Keyword(word, from) => {
            reply.map_header(2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(i64::from(*from));
        }
        Begin::Unknown => reply.map_header(0),
    }
}
