//! When two replies to one command agree: byte for byte, except where the order, the choice or the moment is nobody's promise,
//! and where Larder is known to differ.

use super::corners;
use super::grammar::Request;
use super::known::{self, Call};
use crate::wire::{Client, Reply};
use larder::resp::number::format_double;

/// How far two points in time may be apart, in milliseconds: the servers are asked one after the other.
const TIME_TOLERANCE_MS: i64 = 5000;

/// What stands for the reply of a server that hung up, or did not answer in time.
pub const NO_REPLY: &str = "(no reply";

/// What two replies say about two servers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are the same, as far as anybody may rely on it, or differ as they are known to.
    Agree,
    /// They differ as they are known to, and from here on so does the state.
    Part,
    /// One of them is wrong.
    Differ,
}

/// Compares replies with those of one reference.
#[derive(Clone, Copy)]
pub struct Judge {
    /// The reference is older than 7.2, whose replies Larder has.
    is_old: bool,
    /// Keys were on disk during this history.
    was_demoted: bool,
    /// SORT was called during this history.
    was_sorted: bool,
    /// XDEL was called during this history.
    was_deleted: bool,
    /// A number below the least normal one was sent.
    was_tiny: bool,
    /// Keys are watched.
    watches: bool,
    /// DEL was called meanwhile.
    lost_watched: bool,
}

impl Judge {
    /// Asks the reference for its version.
    pub fn of(redis: &mut Client) -> Judge {
        let version = redis.line("INFO server").text();
        Judge {
            is_old: version.contains("redis_version:7.0."),
            was_demoted: false,
            was_sorted: false,
            was_deleted: false,
            was_tiny: false,
            watches: false,
            lost_watched: false,
        }
    }

    /// True if nothing happened of which only the place in memory tells.
    pub fn is_exact(self) -> bool {
        !self.was_deleted
    }

    /// Notes what has an influence on later replies.
    pub fn note(&mut self, request: &Request) {
        let name = name_of(corners::effective(request));
        self.was_demoted |= name == "TIER";
        self.was_tiny |= request.iter().any(|argument| argument == b"5e-324");
        self.was_deleted |= name == "XDEL";
        self.was_sorted |= name == "SORT" || name == "SORT_RO";
        self.watches |= name == "WATCH";
        self.lost_watched |= self.watches && name == "DEL";
        if matches!(&*name, "EXEC" | "DISCARD" | "UNWATCH" | "RESET") {
            (self.watches, self.lost_watched) = (false, false);
        }
    }

    /// Compares Larder's reply with Redis's.
    pub fn judge(self, request: &Request, found: &Reply, expected: &Reply) -> Verdict {
        let request = corners::effective(request);
        let name = name_of(request);
        let call = Call {
            name: &name,
            request,
            found,
            expected,
            is_old: self.is_old,
            was_demoted: self.was_demoted,
            was_sorted: self.was_sorted,
            was_deleted: self.was_deleted,
            was_tiny: self.was_tiny,
            lost_watched: self.lost_watched,
        };
        let is_lost =
            |reply: &Reply| matches!(reply, Reply::Error(text) if text.starts_with(NO_REPLY));
        if is_lost(found) || is_lost(expected) {
            return Verdict::Differ;
        }
        let stripped = (self.is_old && name == "XINFO").then(|| without_new_fields(found));
        let found = stripped.as_ref().unwrap_or(found);
        if same_but_for_digits(found, expected)
            || follows_rule(&name, request, found, expected)
            || known::is_known(&call)
        {
            Verdict::Agree
        } else if known::is_parting(&call) {
            Verdict::Part
        } else {
            Verdict::Differ
        }
    }
}

/// Without the fields that 7.2 added to XINFO.
fn without_new_fields(reply: &Reply) -> Reply {
    let all = |items: &[Reply]| {
        let mut kept = Vec::new();
        let mut items = items.iter();
        while let Some(item) = items.next() {
            if *item == Reply::bulk("active-time") || *item == Reply::bulk("inactive") {
                items.next();
            } else {
                kept.push(without_new_fields(item));
            }
        }
        kept
    };
    match reply {
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Map(items) => Reply::Map(all(items)),
        other => other.clone(),
    }
}

/// The command's name, in capitals.
pub fn name_of(request: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&request[0]).to_uppercase()
}

fn follows_rule(name: &str, request: &[Vec<u8>], found: &Reply, expected: &Reply) -> bool {
    let has_word = |word: &[u8]| {
        request
            .iter()
            .any(|argument| argument.eq_ignore_ascii_case(word))
    };
    match name {
        // A text of its own, under the same head.
        _ if request.len() == 2 && has_word(b"help") => is_help(found, expected),
        "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "HKEYS" | "HVALS" | "KEYS" => {
            sorted(found, 1) == sorted(expected, 1)
        }
        "HGETALL" => sorted(found, 2) == sorted(expected, 2),
        "SPOP" | "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER" | "RANDOMKEY" => {
            shape(found) == shape(expected)
        }
        // The result for members of different scores is not defined.
        "ZRANGE" | "ZRANGESTORE" if has_word(b"bylex") => !is_error(found) && !is_error(expected),
        name if name.contains("BYLEX") || name == "ZLEXCOUNT" => {
            !is_error(found) && !is_error(expected)
        }
        "SCAN" | "SSCAN" => same_step(found, expected, 1),
        "HSCAN" | "ZSCAN" => same_step(found, expected, 2),
        "TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" | "XPENDING" => near(found, expected),
        "OBJECT" if has_word(b"idletime") => near(found, expected),
        "XINFO" => near_streams(found, expected),
        "HELLO" | "TIER" => true,
        "GEOSEARCH"
        | "GEORADIUS"
        | "GEORADIUS_RO"
        | "GEORADIUSBYMEMBER"
        | "GEORADIUSBYMEMBER_RO"
            if !has_word(b"asc") && !has_word(b"desc") =>
        {
            if has_word(b"any") {
                shape(found) == shape(expected)
            } else {
                sorted(found, 1) == sorted(expected, 1)
            }
        }
        // Elements whose texts to sort by are the same come in any order, and so do those of a set that is not sorted.
        "SORT" | "SORT_RO" if has_word(b"by") && (has_word(b"alpha") || is_unsorted(request)) => {
            let is_get = |word: &&Vec<u8>| word.eq_ignore_ascii_case(b"get");
            let shown = request.iter().filter(is_get).count().max(1);
            match (found, expected) {
                (Reply::Array(found), Reply::Array(expected)) if has_word(b"limit") => {
                    found.len() == expected.len()
                }
                _ => sorted(found, shown) == sorted(expected, shown),
            }
        }
        _ => false,
    }
}

/// Two texts about a command, line by line, whose first lines are the same.
fn is_help(found: &Reply, expected: &Reply) -> bool {
    let is_text = |lines: &[Reply]| lines.iter().all(|line| matches!(line, Reply::Simple(_)));
    match (found, expected) {
        (Reply::Array(found), Reply::Array(expected)) => {
            found[0] == expected[0] && is_text(found) && is_text(expected)
        }
        _ => false,
    }
}

/// Whether a SORT has a BY without a place for the element.
fn is_unsorted(request: &[Vec<u8>]) -> bool {
    let mut pairs = request.windows(2);
    pairs.any(|pair| pair[0].eq_ignore_ascii_case(b"by") && !pair[1].contains(&b'*'))
}

/// Whether it is an error.
pub fn is_error(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(_))
}

/// The same bytes; but where 7.0 writes a score in 17 digits, what 7.2 writes for the same number.
fn same_but_for_digits(found: &Reply, expected: &Reply) -> bool {
    let rewritten = |found: &[u8], expected: &[u8]| {
        let mut text = Vec::new();
        if let Ok(number) = String::from_utf8_lossy(expected).parse() {
            format_double(number, &mut text);
        }
        // Redis keeps a score of minus zero as long as the sorted set is large.
        found == text || found == b"0" && expected == b"-0"
    };
    match (found, expected) {
        (Reply::Double(found), Reply::Double(expected)) => {
            found == expected || rewritten(found.as_bytes(), expected.as_bytes())
        }
        (Reply::Bulk(found), Reply::Bulk(expected)) => {
            found == expected || rewritten(found, expected)
        }
        (Reply::Array(found), Reply::Array(expected))
        | (Reply::Map(found), Reply::Map(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| same_but_for_digits(found, expected))
        }
        _ => found == expected,
    }
}

/// The items of an aggregate in an order of their own, in groups of so many.
fn sorted(reply: &Reply, group: usize) -> Reply {
    let in_order = |items: &[Reply]| {
        let mut groups: Vec<&[Reply]> = items.chunks(group).collect();
        groups.sort();
        groups.concat()
    };
    match reply {
        Reply::Array(items) => Reply::Array(in_order(items)),
        Reply::Set(items) => Reply::Set(in_order(items)),
        Reply::Map(items) => Reply::Map(in_order(items)),
        other => other.clone(),
    }
}

/// What remains of a reply without the content of its strings.
pub fn shape(reply: &Reply) -> Reply {
    let all = |items: &[Reply]| items.iter().map(shape).collect();
    match reply {
        Reply::Bulk(_) => Reply::bulk(""),
        Reply::Double(_) => Reply::Double(String::new()),
        Reply::Array(items) => Reply::Array(all(items)),
        Reply::Set(items) => Reply::Set(all(items)),
        Reply::Map(items) => Reply::Map(all(items)),
        other => other.clone(),
    }
}

/// Two steps of an iteration. They are comparable if both were the last: else each server has its own order.
fn same_step(found: &Reply, expected: &Reply, group: usize) -> bool {
    let (Reply::Array(found), Reply::Array(expected)) = (found, expected) else {
        return false;
    };
    let ([found_cursor, found], [expected_cursor, expected]) = (&**found, &**expected) else {
        return false;
    };
    let end = Reply::bulk("0");
    match (found_cursor == &end, expected_cursor == &end) {
        (true, true) => same_but_for_digits(&sorted(found, group), &sorted(expected, group)),
        _ => matches!((found, expected), (Reply::Array(_), Reply::Array(_))),
    }
}

/// The same, with points in time and spans of it nearly the same.
fn near(found: &Reply, expected: &Reply) -> bool {
    match (found, expected) {
        (Reply::Integer(found), Reply::Integer(expected)) => {
            found == expected
                || *found >= 0
                    && *expected >= 0
                    && found.abs_diff(*expected) <= TIME_TOLERANCE_MS as u64
        }
        (Reply::Array(found), Reply::Array(expected)) => {
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| near(found, expected))
        }
        _ => found == expected,
    }
}

/// The same, but for points in time, spans of it, and the inner nodes of a tree that Larder does not have.
fn near_streams(found: &Reply, expected: &Reply) -> bool {
    const A_TIME_MS: i64 = 1_000_000_000_000;
    let ((Reply::Array(found), Reply::Array(expected)) | (Reply::Map(found), Reply::Map(expected))) =
        (found, expected)
    else {
        let (Reply::Integer(found_ms), Reply::Integer(expected_ms)) = (found, expected) else {
            return found == expected;
        };
        let are_times = *found_ms > A_TIME_MS && *expected_ms > A_TIME_MS;
        return found == expected || are_times && near(found, expected);
    };
    let is_span = |name: &Reply| *name == Reply::bulk("idle") || *name == Reply::bulk("inactive");
    // A trim to an ID leaves a node of deleted entries behind in Redis.
    let has_no_entries =
        matches!(&found[..], [name, Reply::Integer(0), ..] if *name == Reply::bulk("length"));
    let is_free = |name: &Reply| {
        *name == Reply::bulk("radix-tree-nodes")
            || has_no_entries && *name == Reply::bulk("radix-tree-keys")
    };
    found.len() == expected.len()
        && (0..found.len()).all(|place| {
            let (found, name) = (
                &found[place],
                place.checked_sub(1).map(|before| &found[before]),
            );
            near_streams(found, &expected[place])
                || name.is_some_and(is_free)
                || name.is_some_and(is_span) && near(found, &expected[place])
        })
}
