//! Tests of XADD, XTRIM, XRANGE, XDEL, XREAD, XSETID, XINFO STREAM.

use super::test_support::{START_MS, TestServer};
use crate::commands::context::TimeoutReply;

/// A server whose stream `s` has the entries 1-0 to `count`-0, field `n`.
fn numbered(count: u64) -> TestServer {
    let mut server = TestServer::new();
    server.settings.encodings.stream_node_max_entries = 10;
    server.settings.encodings.stream_node_max_bytes = 4096;
    for number in 1..=count {
        server.check(
            &format!("XADD s {number}-0 n {number}"),
            &format!("\"{number}-0\""),
        );
    }
    server
}

#[test]
fn ids_are_made_and_checked() {
    let mut server = TestServer::new();
    server.check("XADD s * a 1", &format!("\"{START_MS}-0\""));
    server.check("XADD s * a 1", &format!("\"{START_MS}-1\""));
    server.advance_ms(5);
    server.check("XADD s * a 1", &format!("\"{}-0\"", START_MS + 5));
    server.check(
        &format!("XADD s {}-* a 1", START_MS + 5),
        &format!("\"{}-1\"", START_MS + 5),
    );
    const SMALL: &str =
        "-ERR The ID specified in XADD is equal or smaller than the target stream top item";
    const INVALID: &str = "-ERR Invalid stream ID specified as stream command argument";
    server.check_all(&[
        ("XADD s 5-* a 1", SMALL),
        ("XADD s 5-5 a 1", SMALL),
        (
            "XADD s 0-0 a 1",
            "-ERR The ID specified in XADD must be greater than 0-0",
        ),
        ("XADD s - a 1", INVALID),
        ("XADD s 5-x a 1", INVALID),
        ("XADD none NOMKSTREAM * a 1", "nil"),
        ("EXISTS none", ":0"),
        ("XADD z 0-* a 1", "\"0-1\""),
        (
            "XADD z 0-18446744073709551615 a 1",
            "\"0-18446744073709551615\"",
        ),
        ("XADD z 0-* a 1", SMALL),
        (
            "XADD z 18446744073709551615-18446744073709551615 a 1",
            "\"18446744073709551615-18446744073709551615\"",
        ),
        (
            "XADD z * a 1",
            "-ERR The stream has exhausted the last possible ID, unable to add more items",
        ),
        (
            "XADD s * a",
            "-ERR wrong number of arguments for 'xadd' command",
        ),
        (
            "XADD s * a 1 b",
            "-ERR wrong number of arguments for 'xadd' command",
        ),
        ("XLEN s", ":4"),
        ("TYPE s", "+stream"),
        ("OBJECT ENCODING s", "\"stream\""),
        ("SET text x", "+OK"),
        (
            "XADD text * a 1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (
            "XLEN text",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
    ]);
}

#[test]
fn ranges_go_both_ways_and_leave_ends_out() {
    let mut server = numbered(4);
    server.check_all(&[
        ("XADD s 4-1 m 1 k 2", "\"4-1\""),
        (
            "XRANGE s 2 3",
            "[[\"2-0\" [\"n\" \"2\"]] [\"3-0\" [\"n\" \"3\"]]]",
        ),
        ("XRANGE s (2 + COUNT 1", "[[\"3-0\" [\"n\" \"3\"]]]"),
        ("XRANGE s (4-0 +", "[[\"4-1\" [\"m\" \"1\" \"k\" \"2\"]]]"),
        (
            "XREVRANGE s + - COUNT 2",
            "[[\"4-1\" [\"m\" \"1\" \"k\" \"2\"]] [\"4-0\" [\"n\" \"4\"]]]",
        ),
        ("XREVRANGE s (2-0 -", "[[\"1-0\" [\"n\" \"1\"]]]"),
        ("XRANGE s 9 +", "[]"),
        ("XRANGE s - + COUNT 0", "nil-array"),
        ("XRANGE none - + COUNT 0", "[]"),
        ("XRANGE s - + COUNT", "-ERR syntax error"),
        (
            "XRANGE s (18446744073709551615-18446744073709551615 +",
            "-ERR invalid start ID for the interval",
        ),
        ("XRANGE s - (0-0", "-ERR invalid end ID for the interval"),
    ]);
}

#[test]
fn trimming_drops_the_oldest_and_with_a_tilde_whole_chunks() {
    let mut server = numbered(55);
    server.check_all(&[
        ("XTRIM s MAXLEN ~ 25", ":30"),
        ("XTRIM s MAXLEN ~ 25", ":0"),
        ("XTRIM s MAXLEN = 22", ":3"),
        ("XTRIM s MINID 36", ":2"),
        ("XTRIM s MINID ~ 45", ":5"),
        ("XTRIM s MINID ~ 60 LIMIT 12", ":10"),
        ("XLEN s", ":5"),
        ("XADD s MAXLEN 2 * n x", &format!("\"{START_MS}-0\"")),
        ("XLEN s", ":2"),
        ("XADD s MAXLEN 0 * n x", &format!("\"{START_MS}-1\"")),
        ("XLEN s", ":0"),
        ("EXISTS s", ":1"),
        ("XTRIM none MAXLEN 0", ":0"),
    ]);
}

#[test]
fn deleted_entries_are_gone_and_remembered() {
    let mut server = numbered(25);
    server.check_all(&[
        ("XDEL s 3-0 3-0 24-0 99", ":2"),
        ("XDEL none 1", ":0"),
        ("XDEL s 1 x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XLEN s", ":23"),
        ("XRANGE s 2 4", "[[\"2-0\" [\"n\" \"2\"]] [\"4-0\" [\"n\" \"4\"]]]"),
        ("XSETID s 10-0", "-ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"),
        ("XSETID s 24-1", "-ERR The ID specified in XSETID is smaller than the target stream top item"),
        ("XSETID s 30 ENTRIESADDED 5", "-ERR The entries_added specified in XSETID is smaller than the target stream length"),
        ("XSETID s 30 MAXDELETEDID 31", "-ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id"),
        ("XSETID s 30 ENTRIESADDED -1", "-ERR entries_added must be positive"),
        ("XSETID none 30", "-ERR no such key"),
        ("XSETID s 30-1 ENTRIESADDED 77 MAXDELETEDID 28", "+OK"),
        ("XADD s 30-1 n x", "-ERR The ID specified in XADD is equal or smaller than the target stream top item"),
        (
            "XINFO STREAM s",
            "[\"length\" :23 \"radix-tree-keys\" :3 \"radix-tree-nodes\" :4 \"last-generated-id\" \"30-1\" \"max-deleted-entry-id\" \"28-0\" \
             \"entries-added\" :77 \"recorded-first-entry-id\" \"1-0\" \"groups\" :0 \"first-entry\" [\"1-0\" [\"n\" \"1\"]] \
             \"last-entry\" [\"25-0\" [\"n\" \"25\"]]]",
        ),
        ("XTRIM s MAXLEN 0", ":23"),
        (
            "XINFO STREAM s",
            "[\"length\" :0 \"radix-tree-keys\" :0 \"radix-tree-nodes\" :1 \"last-generated-id\" \"30-1\" \"max-deleted-entry-id\" \"28-0\" \
             \"entries-added\" :77 \"recorded-first-entry-id\" \"0-0\" \"groups\" :0 \"first-entry\" nil \"last-entry\" nil]",
        ),
        ("XINFO STREAM none", "-ERR no such key"),
        ("XINFO STREAM s FOO", "-ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP."),
    ]);
}

#[test]
fn reading_what_came_behind_an_id() {
    let mut server = numbered(3);
    server.check_all(&[
        ("XADD t 7-0 a b", "\"7-0\""),
        (
            "XREAD COUNT 1 STREAMS s t none 1 0 0",
            "[[\"s\" [[\"2-0\" [\"n\" \"2\"]]]] [\"t\" [[\"7-0\" [\"a\" \"b\"]]]]]",
        ),
        ("XREAD STREAMS s t 3 7", "nil-array"),
        ("XREAD STREAMS s $", "nil-array"),
        ("XREAD STREAMS s +", "[[\"s\" [[\"3-0\" [\"n\" \"3\"]]]]]"),
        ("XREAD STREAMS none +", "nil-array"),
        ("XREAD STREAMS s t 0", "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified."),
        ("XREAD COUNT 1 s 0", "-ERR syntax error"),
        ("XREAD NOACK STREAMS s 0", "-ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD GROUP g c STREAMS s 0", "-ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."),
        ("XREAD STREAMS s >", "-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."),
        ("XREAD BLOCK x STREAMS s 0", "-ERR timeout is not an integer or out of range"),
        ("XREAD BLOCK -1 STREAMS s 0", "-ERR timeout is negative"),
    ]);
    server.session.protocol = crate::resp::Protocol::Resp3;
    server.check("XREAD STREAMS t 0", "{\"t\" [[\"7-0\" [\"a\" \"b\"]]]}");
}

#[test]
fn a_blocked_read_waits_for_what_comes_from_now_on() {
    let mut server = numbered(3);
    server.check(
        "XREAD COUNT 5 BLOCK 100 STREAMS s none 2 $",
        "[[\"s\" [[\"3-0\" [\"n\" \"3\"]]]]]",
    );
    assert!(server.blocked.is_none());
    server.check("XREAD BLOCK 100 STREAMS s none $ $", "");
    let request = server.blocked.take().expect("it waits");
    let words = |line: &str| -> Vec<Box<[u8]>> {
        line.split(' ').map(|word| word.as_bytes().into()).collect()
    };
    assert_eq!(request.keys, words("s none"));
    assert_eq!(request.deadline_ms, Some(START_MS + 100));
    assert_eq!(request.timeout_reply, TimeoutReply::NullArray);
    assert!(!request.also_when_gone);
    let again = words("XREAD BLOCK 100 STREAMS s none 3-0 0-0");
    assert_eq!(request.arguments, Some(again));
    server.check("XREAD BLOCK 0 STREAMS s 3-0", "");
    let request = server.blocked.take().expect("it waits");
    assert_eq!((request.deadline_ms, request.arguments), (None, None));
}

#[test]
fn streams_are_copied_renamed_and_kept_apart() {
    let mut server = numbered(30);
    server.check_all(&[
        ("XGROUP CREATE s g 0", "+OK"),
        ("COPY s copy", ":1"),
        ("XADD s 40-0 n x", "\"40-0\""),
        ("XLEN copy", ":30"),
        ("XGROUP DESTROY copy g", ":1"),
        ("RENAME s moved", "+OK"),
        ("XLEN moved", ":31"),
        ("XGROUP DESTROY moved g", ":1"),
        ("DEL moved copy", ":2"),
    ]);
}
