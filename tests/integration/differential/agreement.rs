//! When two replies to one command agree: byte for byte, except where the order, the choice or the moment is nobody's promise,
//! and where Larder is known to differ.

use super::grammar::Request;
use crate::wire::Reply;
use larder::resp::number::format_double;

/// How far two points in time may be apart, in milliseconds: the servers are asked one after the other.
const TIME_TOLERANCE_MS: i64 = 5000;

/// What stands for the reply of a server that hung up, or did not answer in time.
pub const NO_REPLY: &str = "(no reply";

/// Differences by design. Each is in docs/differences.md, or is one between Redis 7.0, which is asked, and 7.2, which is followed.
const KNOWN: &[(&str, Condition)] = &[
    (
        "7.2: a timeout that is too long is not called negative",
        |call| call.found == &Reply::Error("ERR timeout is out of range".to_owned()),
    ),
    (
        "OBJECT ENCODING does not remember that INCRBYFLOAT made a number",
        |call| {
            let looks_shared = call.found == &Reply::Integer(i32::MAX.into());
            call.name == "OBJECT" && (looks_shared || call.found == &Reply::bulk("int"))
        },
    ),
    ("7.2: LPOS refuses the least integer", |call| {
        let least = b"-9223372036854775808";
        call.name == "LPOS" && call.request.iter().any(|argument| argument == least)
    }),
    ("7.2: OBJECT HELP says Print", |call| {
        call.name == "OBJECT" && matches!(call.found, Reply::Array(lines) if lines.len() == 15)
    }),
    (
        "a cursor that the server did not give ends the iteration",
        |call| {
            let place = if call.name == "SCAN" { 1 } else { 2 };
            let cursor = call.request.get(place);
            call.name.ends_with("SCAN") && cursor.is_some_and(|cursor| cursor != b"0")
        },
    ),
    (
        "BITCOUNT and BITPOS check their other arguments before they look for the key",
        |call| matches!(call.name, "BITCOUNT" | "BITPOS") && is_error(call.found),
    ),
    ("7.2: the help of XGROUP and XINFO", |call| {
        matches!(call.name, "XGROUP" | "XINFO") && call.request[1].eq_ignore_ascii_case(b"help")
    }),
    ("7.2: XREADGROUP names itself", |call| {
        call.name == "XREADGROUP" && is_error(call.found)
    }),
    (
        "7.2: small lists and sets have the encoding listpack",
        |call| call.name == "OBJECT" && call.found == &Reply::bulk("listpack"),
    ),
];

/// Whether a difference is for the reason that stands beside it.
type Condition = fn(&Call<'_>) -> bool;

struct Call<'a> {
    name: &'a str,
    request: &'a Request,
    found: &'a Reply,
}

/// True if Larder's reply agrees with Redis's.
pub fn agree(request: &Request, found: &Reply, expected: &Reply) -> bool {
    let name = name_of(request);
    let call = Call {
        name: &name,
        request,
        found,
    };
    let is_lost = |reply: &Reply| matches!(reply, Reply::Error(text) if text.starts_with(NO_REPLY));
    if is_lost(found) || is_lost(expected) {
        return false;
    }
    same_but_for_digits(found, expected)
        || follows_rule(&name, request, found, expected)
        || KNOWN.iter().any(|(_, applies)| applies(&call))
}

/// The command's name, in capitals.
pub fn name_of(request: &Request) -> String {
    String::from_utf8_lossy(&request[0]).to_uppercase()
}

fn follows_rule(name: &str, request: &Request, found: &Reply, expected: &Reply) -> bool {
    let has_word = |word: &[u8]| {
        request
            .iter()
            .any(|argument| argument.eq_ignore_ascii_case(word))
    };
    match name {
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
        "TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" | "OBJECT" | "XPENDING" => {
            near(found, expected)
        }
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
        "SORT" | "SORT_RO" if has_word(b"by") => shape(found) == shape(expected),
        _ => false,
    }
}

fn is_error(reply: &Reply) -> bool {
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
fn shape(reply: &Reply) -> Reply {
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
        (true, true) => sorted(found, group) == sorted(expected, group),
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
