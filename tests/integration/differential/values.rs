//! Values for arguments, by the name that COMMAND DOCS gives them: mostly ones that fit, now and then one on an edge.
//!
//! Three things are avoided because they could not be compared. Deadlines in the near future (they pass while the other
//! server is asked), IDs of streams made from the clock, and numbers that make a server allocate hundreds of megabytes:
//! what is beyond the limit of 512 MB is refused at once, what is just below it is not tried.

use super::random::Random;

/// The keys of all histories: five for all, two awkward ones, and two that are mostly left to streams, which need a long past.
pub const KEYS: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"",
    b"\x00\xff\r\n",
    b"x",
    b"y",
];
/// Of these, the ones for all.
const COMMON_KEYS: usize = 7;

const INTEGERS: &[&str] = &[
    "0", "1", "2", "3", "5", "10", "-1", "-2", "-5", "100", "-100",
];
const EDGES: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "2147483648",
    "-2147483649",
    "4294967296",
    "007",
    "+1",
    "-0",
    " 1",
    "1 ",
    "1.5",
    "1e3",
    "0x10",
    "",
    "abc",
    "\0",
];
const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "1.5",
    "-2.25",
    "0.1",
    "10",
    "100",
    "3.0000000000000004",
];
const FLOAT_EDGES: &[&str] = &[
    "inf",
    "-inf",
    "+inf",
    "Infinity",
    "nan",
    "-nan",
    "-0",
    "-0.0",
    "1e308",
    "-1e308",
    "1.7976931348623157e308",
    "1e400",
    "-1e400",
    "5e-324",
    "1e-400",
    "9007199254740993",
    "17179869184.5",
    "123456789012345678901234567890",
    "1e17",
    "1e21",
    "0x1p3",
    "1_0",
    "",
    " 1",
    "1 ",
    "1.5x",
    "abc",
];
const TEXTS: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "1",
    "2",
    "3",
    "10",
    "-5",
    "3.14",
    "",
    "hello world",
];
const PATTERNS: &[&str] = &[
    "*", "a*", "?", "[ab]", "[^a]", "h*llo*", "\\*", "[a-c]", "", "none", "*->a", "#", "w_*",
];
const STREAM_IDS: &[&str] = &[
    "0",
    "0-0",
    "0-1",
    "1",
    "1-1",
    "2-0",
    "3-3",
    "5",
    "5-5",
    "7-*",
    "10-1",
    "-",
    "+",
    "$",
    ">",
    "(1-1",
    "(5",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616-0",
    "1-x",
    "abc",
    "",
];

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn one_of(random: &mut Random, usual: &[&str], edges: &[&str], edge_percent: usize) -> Vec<u8> {
    let texts = if random.percent(edge_percent) {
        edges
    } else {
        usual
    };
    bytes(random.pick(texts))
}

/// A key; commands of one group meet on two keys more often than on the others.
pub fn key(random: &mut Random, group: &str) -> Vec<u8> {
    if group == "stream" && random.percent(85) {
        let second = usize::from(random.percent(25));
        return KEYS[COMMON_KEYS + second].to_vec();
    }
    let favourite = group.len() % 4;
    if random.percent(60) {
        let second = usize::from(random.percent(30));
        return KEYS[(favourite + second) % 5].to_vec();
    }
    let limit = if random.percent(90) {
        COMMON_KEYS
    } else {
        KEYS.len()
    };
    KEYS[random.below(limit)].to_vec()
}

/// Any text, now and then a long or a binary one.
pub fn text(random: &mut Random) -> Vec<u8> {
    match random.below(40) {
        0 => vec![b'x'; 70],
        1 => b"\x00\xff\x80\r\n".to_vec(),
        2 => vec![b'y'; 600],
        3 => one_of(random, FLOATS, FLOAT_EDGES, 50),
        4 => one_of(random, INTEGERS, EDGES, 70),
        _ => bytes(random.pick(TEXTS)),
    }
}

/// A number of elements. Huge ones are positive: below 0 they ask for so many repetitions.
fn count(random: &mut Random) -> Vec<u8> {
    const COUNT_EDGES: &[&str] = &[
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "abc",
        "",
        "1.5",
        "007",
        "-0",
    ];
    one_of(random, INTEGERS, COUNT_EDGES, 10)
}

/// An offset into a string, in bytes or bits: small, or beyond all limits (4294967296 bits).
fn offset(random: &mut Random) -> Vec<u8> {
    const BEYOND: &[&str] = &[
        "4294967296",
        "4294967295000",
        "9223372036854775807",
        "-1",
        "-9223372036854775808",
        "9223372036854775808",
        "abc",
        "",
        "#1",
        "#0",
        "#4294967296",
        "#-1",
        "#",
    ];
    if random.percent(15) {
        return bytes(random.pick(BEYOND));
    }
    let limit = random.pick(&[4, 20, 100]);
    random.below(limit).to_string().into_bytes()
}

/// A deadline that is far away, in the past, or none at all, in a unit of so many in a second.
fn deadline(random: &mut Random, now: u64, per_second: u64) -> Vec<u8> {
    const EDGE_TIMES: &[&str] = &[
        "0",
        "-1",
        "-9223372036854775808",
        "9223372036854775807",
        "9223372036854775",
        "9223372036854776",
        "9223372036854775808",
        "abc",
        "",
        "1.5",
    ];
    if random.percent(20) {
        return bytes(random.pick(EDGE_TIMES));
    }
    // Far apart from each other, so that GT and LT do not depend on a millisecond.
    let seconds = 1000 + random.below(1_000_000) as u64;
    (now + seconds * per_second).to_string().into_bytes()
}

fn bound_of_range(random: &mut Random, command: &str) -> Vec<u8> {
    const SCORES: &[&str] = &[
        "-inf", "+inf", "(1", "(2", "1", "2", "3", "0", "(inf", "( 1", "(", "nan", "1e400", "abc",
    ];
    const MEMBERS: &[&str] = &[
        "-", "+", "[a", "(a", "[c", "(b", "[", "(", "a", "", "[\u{ff}",
    ];
    let families: [&[&str]; 3] = [SCORES, MEMBERS, INTEGERS];
    let usual = if command.contains("LEX") {
        MEMBERS
    } else if command.contains("RANK") {
        INTEGERS
    } else if command.contains("SCORE") || command == "ZCOUNT" {
        SCORES
    } else {
        random.pick(&families)
    };
    if random.percent(5) {
        let other = random.pick(&families);
        return bytes(random.pick(other));
    }
    bytes(random.pick(usual))
}

/// A value for the argument `name` of `command` (upper case).
pub fn value(random: &mut Random, command: &str, name: &str, kind: &str) -> Vec<u8> {
    const LONG_AGO_AND_LONG: &[&str] = &["0", "100000000", "-1", "abc"];
    match (name, command) {
        ("seconds", "RESTORE") => bytes("5"),
        ("seconds", _) => deadline(random, 0, 1),
        ("milliseconds", "XREAD" | "XREADGROUP") => one_of(random, &["1", "2"], &["-1", "abc"], 10),
        ("milliseconds" | "ttl", _) => deadline(random, 0, 1000),
        ("unix-time-seconds", _) => deadline(random, 4_000_000_000, 1),
        ("unix-time-milliseconds", _) => deadline(random, 4_000_000_000_000, 1000),
        ("timeout", _) => one_of(
            random,
            &["0.001", "0.002"],
            &["-1", "abc", "nan", "inf", "1e30", ""],
            15,
        ),
        ("min-idle-time" | "ms", _) => bytes(random.pick(LONG_AGO_AND_LONG)),
        ("db" | "destination-db", _) => {
            one_of(random, &["0", "1"], &["16", "-1", "abc", "99999999999"], 20)
        }
        ("cursor", _) => one_of(
            random,
            &["0"],
            &["abc", "-1", "18446744073709551616", "", "00"],
            10,
        ),
        ("count", _) => count(random),
        ("offset", "SETRANGE" | "SETBIT" | "GETBIT" | "BITFIELD" | "BITFIELD_RO") => offset(random),
        ("value", "SETBIT") => one_of(random, &["0", "1"], &["2", "-1", "abc"], 10),
        ("bit", _) => one_of(random, &["0", "1"], &["2", "-1", "abc"], 10),
        ("encoding", _) => one_of(
            random,
            &["u8", "i8", "u1", "i5", "u63", "i64", "u16"],
            &["u64", "i65", "u0", "x8", "u", "", "i08"],
            10,
        ),
        ("operation", "BITOP") => one_of(random, &["AND", "or", "XOR", "NOT"], &["NAND", ""], 5),
        ("longitude", _) => one_of(
            random,
            &["13.361389", "15.087269", "2.35", "-74"],
            &["181", "-181", "nan", "inf", "abc", "180"],
            8,
        ),
        ("latitude", _) => one_of(
            random,
            &["38.115556", "37.502669", "48.85", "40.7"],
            &["85.06", "-86", "nan", "abc", "85"],
            8,
        ),
        ("radius" | "width" | "height", _) => one_of(
            random,
            &["100", "200", "1000", "1", "100000"],
            &["-1", "0", "nan", "abc", "inf"],
            8,
        ),
        ("id" | "last-id" | "max_deleted_entry_id", _) => bytes(random.pick(STREAM_IDS)),
        ("start" | "end", "XRANGE" | "XREVRANGE" | "XPENDING" | "XAUTOCLAIM") => {
            bytes(random.pick(STREAM_IDS))
        }
        ("threshold", _) => one_of(
            random,
            &["0", "1", "2", "3", "3-3"],
            &["-1", "abc", "9223372036854775807"],
            8,
        ),
        ("group" | "groupname", _) => one_of(random, &["g", "h"], &["none", ""], 10),
        ("consumer" | "consumername", _) => one_of(random, &["first", "second"], &[""], 5),
        ("type", _) => one_of(
            random,
            &["string", "list", "set", "zset", "hash", "stream"],
            &["none", ""],
            10,
        ),
        ("min" | "max", _) => bound_of_range(random, command),
        ("start" | "stop", "ZRANGE" | "ZRANGESTORE") => bound_of_range(random, command),
        (_, "ZADD" | "ZINCRBY") if matches!(name, "score" | "increment") => {
            one_of(random, FLOATS, FLOAT_EDGES, 12)
        }
        ("value", "INCRBYFLOAT") => one_of(random, FLOATS, FLOAT_EDGES, 20),
        _ => match kind {
            "integer" => one_of(random, INTEGERS, EDGES, 12),
            "double" => one_of(random, FLOATS, FLOAT_EDGES, 12),
            "pattern" => bytes(random.pick(PATTERNS)),
            _ => text(random),
        },
    }
}
