//! Where Larder is known to differ: the only exceptions, each as narrow as it can be told, with its reason.
//!
//! A row is a difference by design, which is in docs/differences.md, or one between Redis 7.0 and 7.2, whose replies Larder has. The
//! second kind does not count when the reference is a 7.2.

use super::agreement::{is_error, shape};
use crate::wire::Reply;

/// One reply to judge.
pub struct Call<'a> {
    /// The command, in capitals.
    pub name: &'a str,
    pub request: &'a [Vec<u8>],
    pub found: &'a Reply,
    pub expected: &'a Reply,
    /// The reference is a 7.0.
    pub is_old: bool,
    /// Keys were on disk during this history.
    pub was_demoted: bool,
    /// SORT was called during this history.
    pub was_sorted: bool,
    /// XDEL was called during this history.
    pub was_deleted: bool,
    /// A number below the least normal one was sent.
    pub was_tiny: bool,
    /// DEL was called since WATCH.
    pub lost_watched: bool,
}

impl Call<'_> {
    fn has(&self, word: &str) -> bool {
        let mut words = self.request.iter();
        words.any(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Whether the replies are these errors.
    fn are_errors(&self, found: &str, expected: &str) -> bool {
        let is = |reply: &Reply, text: &str| matches!(reply, Reply::Error(error) if error == text);
        is(self.found, found) && is(self.expected, expected)
    }

    /// Whether the replies are these texts.
    fn are_texts(&self, found: &[&str], expected: &[&str]) -> bool {
        let is_one = |reply: &Reply, texts: &[&str]| matches!(reply, Reply::Bulk(bytes) if texts.iter().any(|text| text.as_bytes() == bytes));
        is_one(self.found, found) && is_one(self.expected, expected)
    }
}

/// Whether a difference is for the reason that stands beside it.
type Condition = fn(&Call<'_>) -> bool;

const SMALLER_THAN_DELETED: &str =
    "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";

/// By design: see docs/differences.md.
const BY_DESIGN: &[(&str, Condition)] = &[
    (
        "COMMAND GETKEYS tells of each key that GEORADIUS names as a destination",
        |call| {
            let is_more = matches!((call.found, call.expected), (Reply::Array(found), Reply::Array(expected))
                if found.len() > expected.len() && expected.iter().all(|key| found.contains(key)));
            call.name == "COMMAND"
                && (call.has("georadius") || call.has("georadiusbymember"))
                && is_more
        },
    ),
    (
        "OBJECT ENCODING does not remember that INCRBYFLOAT made a number",
        |call| {
            let looks_shared = call.found == &Reply::Integer(i32::MAX.into())
                && matches!(call.expected, Reply::Integer(1..=9));
            let is_number = call.are_texts(&["int"], &["embstr", "raw"]);
            call.name == "OBJECT" && (looks_shared || is_number)
        },
    ),
    (
        "OBJECT REFCOUNT does not count who else refers to a value",
        |call| {
            let is_more = matches!(call.expected, Reply::Integer(2..=9));
            call.name == "OBJECT"
                && call.has("refcount")
                && call.found == &Reply::Integer(1)
                && is_more
        },
    ),
    (
        "the encoding of what was on disk is that of a new value",
        |call| {
            let are_names = matches!(
                (call.found, call.expected),
                (Reply::Bulk(_), Reply::Bulk(_))
            );
            call.name == "OBJECT" && call.was_demoted && are_names
        },
    ),
    ("SORT makes a small sorted set a skiplist", |call| {
        call.name == "OBJECT" && call.was_sorted && call.are_texts(&["listpack"], &["skiplist"])
    }),
    (
        "SORT with ALPHA compares all bytes, also if nothing is stored",
        |call| {
            let has_nul = |reply: &Reply| matches!(reply, Reply::Array(items) if items.iter().any(|item| matches!(item, Reply::Bulk(text) if text.contains(&0))));
            matches!(call.name, "SORT" | "SORT_RO")
                && call.has("alpha")
                && !call.has("store")
                && (has_nul(call.found) || has_nul(call.expected) || call.has("get"))
                && shape(call.found) == shape(call.expected)
        },
    ),
    (
        "a cursor that the server did not give ends the iteration",
        |call| {
            let place = if call.name == "SCAN" { 1 } else { 2 };
            let cursor = call.request.get(place);
            let are_steps = matches!(
                (call.found, call.expected),
                (Reply::Array(_), Reply::Array(_))
            );
            call.name.ends_with("SCAN") && cursor.is_some_and(|cursor| cursor != b"0") && are_steps
        },
    ),
    (
        "BITCOUNT and BITPOS check their other arguments before they look at the key",
        |call| {
            let is_missing = matches!(call.expected, Reply::Integer(-1..=0));
            let is_other =
                matches!(call.expected, Reply::Error(text) if text.starts_with("WRONGTYPE"));
            matches!(call.name, "BITCOUNT" | "BITPOS")
                && is_error(call.found)
                && (is_missing || is_other)
        },
    ),
    (
        "COMMAND GETKEYS finds no keys behind a number that the command would refuse",
        |call| {
            let text = "ERR Invalid arguments specified for command";
            let is_refused = |argument: &Vec<u8>| {
                let text = String::from_utf8_lossy(argument);
                let digits = text.trim_start().trim_start_matches('+');
                let is_number_in_c = digits.starts_with(|first: char| first.is_ascii_digit());
                is_number_in_c && larder::resp::number::parse_integer(argument).is_none()
            };
            call.has("getkeys")
                && call.found == &Reply::Error(text.to_owned())
                && matches!(call.expected, Reply::Array(_))
                && call.request.iter().any(is_refused)
        },
    ),
    ("COMMAND GETKEYS of PFMERGE without sources", |call| {
        let text = "ERR Invalid arguments specified for command";
        let is_pfmerge = call.request.len() == 4 && call.has("pfmerge");
        call.has("getkeys") && is_pfmerge && call.expected == &Reply::Error(text.to_owned())
    }),
    ("XREADGROUP refuses the ID + in words of its own", |call| {
        let text = "ERR Invalid stream ID specified as stream command argument";
        let starts =
            |error: &String| error.starts_with("ERR The + ID is meaningless in the context");
        matches!(call.found, Reply::Error(error) if starts(error))
            && call.expected == &Reply::Error(text.to_owned())
    }),
    (
        "XTRIM with ~ does not count deleted entries as part of a node",
        |call| {
            let are_counts = matches!(
                (call.found, call.expected),
                (Reply::Integer(_), Reply::Integer(_))
            );
            call.name == "XTRIM" && call.has("~") && call.was_deleted && are_counts
        },
    ),
    ("XREAD knows the ID +, as Redis does from 7.4 on", |call| {
        let text = "ERR Invalid stream ID specified as stream command argument";
        call.name == "XREAD" && call.has("+") && call.expected == &Reply::Error(text.to_owned())
    }),
];

/// Of 7.2, and not yet of 7.0.
const SINCE_7_2: &[(&str, Condition)] = &[
    (
        "a timeout that is too long is not called negative",
        |call| call.are_errors("ERR timeout is out of range", "ERR timeout is negative"),
    ),
    ("LPOS refuses the least integer", |call| {
        call.name == "LPOS" && call.has("-9223372036854775808") && is_error(call.found)
    }),
    (
        "XREADGROUP, XCLAIM and XAUTOCLAIM make their consumer in any case",
        |call| {
            let (found, expected) = (&Reply::Integer(0), &Reply::Integer(1));
            call.name == "XGROUP"
                && call.has("createconsumer")
                && (call.found, call.expected) == (found, expected)
        },
    ),
    (
        "XADD says what is wrong when all IDs of a millisecond are used up",
        |call| {
            call.are_errors(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
                "ERR Elements are too large to be stored",
            )
        },
    ),
    ("XSETID first looks at the greatest deleted ID", |call| {
        call.found == &Reply::Error(SMALLER_THAN_DELETED.to_owned()) && is_error(call.expected)
    }),
    ("XREAD and XREADGROUP name themselves", |call| {
        let text = |command, what| {
            format!(
                "ERR Unbalanced {command} list of streams: for each stream key an ID or '{what}' must be specified."
            )
        };
        call.are_errors(&text("'xread'", "$"), &text("XREAD", "$"))
            || call.are_errors(&text("'xreadgroup'", ">"), &text("XREAD", "$"))
    }),
    ("small lists and sets have the encoding listpack", |call| {
        let (list, set) = (["quicklist"], ["hashtable"]);
        call.name == "OBJECT"
            && (call.are_texts(&["listpack"], &list) || call.are_texts(&["listpack"], &set))
    }),
];

/// By design, with another state in consequence.
const PARTING_BY_DESIGN: &[(&str, Condition)] = &[
    (
        "SORT does not stumble over a score below the least normal number, which leaves Redis an errno",
        |call| {
            let text = "ERR One or more scores can't be converted into double";
            matches!(call.name, "SORT" | "SORT_RO")
                && call.was_tiny
                && !is_error(call.found)
                && call.expected == &Reply::Error(text.to_owned())
        },
    ),
    ("XAUTOCLAIM needs no memory for its COUNT", |call| {
        let is_refused = matches!(call.expected, Reply::Error(text) if text.starts_with("ERR Insufficient memory"));
        call.name == "XAUTOCLAIM" && is_refused && !is_error(call.found)
    }),
    (
        "a watched key that was missing, was created and deleted again is as it was",
        |call| {
            call.name == "EXEC"
                && call.lost_watched
                && matches!(call.found, Reply::Array(_))
                && matches!(call.expected, Reply::Nothing | Reply::NullArray)
        },
    ),
];

/// Of 7.2, and not yet of 7.0, with another state in consequence.
const PARTING_SINCE_7_2: &[(&str, Condition)] = &[(
    "XSETID checks the ID against the greatest one that was deleted",
    |call| {
        call.found == &Reply::Error(SMALLER_THAN_DELETED.to_owned())
            && call.expected == &Reply::ok()
    },
)];

/// True if a difference is known, and is one of the state too.
pub fn is_parting(call: &Call<'_>) -> bool {
    let old: &[_] = if call.is_old { PARTING_SINCE_7_2 } else { &[] };
    let mut rows = PARTING_BY_DESIGN.iter().chain(old);
    rows.any(|(_, applies)| applies(call))
}

/// True if a difference is known.
pub fn is_known(call: &Call<'_>) -> bool {
    let old: &[_] = if call.is_old { SINCE_7_2 } else { &[] };
    BY_DESIGN
        .iter()
        .chain(old)
        .any(|(_, applies)| applies(call))
}
