//! Tests of XGROUP, XREADGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM and XINFO of groups.

use super::test_support::{START_MS, TestServer};

/// A stream `s` with the entries 1-0 to 5-0, and a group `g` from the start.
fn grouped() -> TestServer {
    let mut server = TestServer::new();
    server.check("XGROUP CREATE s g $ MKSTREAM", "+OK");
    for number in 1..=5 {
        server.run(&format!("XADD s {number}-0 n {number}"));
    }
    server
}

const ONE: &str = "[\"1-0\" [\"n\" \"1\"]]";
const TWO: &str = "[\"2-0\" [\"n\" \"2\"]]";
const NO_GROUP: &str = "-NOGROUP No such key 's' or consumer group 'x'";

#[test]
fn groups_are_made_moved_and_removed() {
    let mut server = grouped();
    server.check_all(&[
        ("XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists"),
        (
            "XGROUP CREATE none g 0",
            "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create \
             an empty stream automatically.",
        ),
        ("XGROUP CREATE s h x", "-ERR Invalid stream ID specified as stream command argument"),
        ("XGROUP CREATE s h 0 ENTRIESREAD -2", "-ERR value for ENTRIESREAD must be positive or -1"),
        ("XGROUP CREATE s h 0 FOO", "-ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP."),
        ("XGROUP SETID s x 0", "-NOGROUP No such consumer group 'x' for key name 's'"),
        ("XGROUP CREATECONSUMER s g c", ":1"),
        ("XGROUP CREATECONSUMER s g c", ":0"),
        ("XREADGROUP GROUP g c COUNT 2 STREAMS s >", &format!("[[\"s\" [{ONE} {TWO}]]]")),
        ("XGROUP SETID s g 0", "+OK"),
        ("XREADGROUP GROUP g d COUNT 1 STREAMS s >", &format!("[[\"s\" [{ONE}]]]")),
        ("XPENDING s g", "[:2 \"1-0\" \"2-0\" [[\"c\" \"1\"] [\"d\" \"1\"]]]"),
        ("XGROUP DELCONSUMER s g c", ":1"),
        ("XGROUP DELCONSUMER s g c", ":0"),
        ("XPENDING s g", "[:1 \"1-0\" \"1-0\" [[\"d\" \"1\"]]]"),
        ("XGROUP DESTROY s g", ":1"),
        ("XGROUP DESTROY s g", ":0"),
        ("XGROUP FOO s", "-ERR unknown subcommand 'FOO'. Try XGROUP HELP."),
    ]);
}

#[test]
fn history_is_told_again_and_counted() {
    let mut server = grouped();
    server.check(
        "XREADGROUP GROUP g c COUNT 2 STREAMS s >",
        &format!("[[\"s\" [{ONE} {TWO}]]]"),
    );
    server.advance_ms(10);
    server.check_all(&[
        ("XDEL s 2-0", ":1"),
        (
            "XREADGROUP GROUP g c STREAMS s 0",
            &format!("[[\"s\" [{ONE} [\"2-0\" nil-array]]]]"),
        ),
        (
            "XREADGROUP GROUP g c COUNT 1 STREAMS s 1",
            "[[\"s\" [[\"2-0\" nil-array]]]]",
        ),
        ("XREADGROUP GROUP g new STREAMS s 0", "[[\"s\" []]]"),
        ("XGROUP CREATE empty g 0 MKSTREAM", "+OK"),
        (
            "XREADGROUP GROUP g new STREAMS empty 18446744073709551615-18446744073709551615",
            "nil-array",
        ),
        (
            "XPENDING s g - + 10",
            "[[\"1-0\" \"c\" :0 :2] [\"2-0\" \"c\" :10 :1]]",
        ),
        ("XACK s g 1-0 1-0 9-0", ":1"),
        ("XACK s x 1-0", ":0"),
        ("XACK none g 1-0", ":0"),
        (
            "XREADGROUP GROUP g c NOACK COUNT 1 STREAMS s >",
            "[[\"s\" [[\"3-0\" [\"n\" \"3\"]]]]]",
        ),
        ("XPENDING s g", "[:1 \"2-0\" \"2-0\" [[\"c\" \"1\"]]]"),
    ]);
}

#[test]
fn pending_entries_are_listed_by_range_idle_time_and_consumer() {
    let mut server = grouped();
    server.run("XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    server.advance_ms(50);
    server.run("XREADGROUP GROUP g d COUNT 1 STREAMS s >");
    server.check_all(&[
        (
            "XPENDING s g - + 10",
            "[[\"1-0\" \"c\" :50 :1] [\"2-0\" \"c\" :50 :1] [\"3-0\" \"d\" :0 :1]]",
        ),
        ("XPENDING s g (1 + 1", "[[\"2-0\" \"c\" :50 :1]]"),
        ("XPENDING s g - + 10 d", "[[\"3-0\" \"d\" :0 :1]]"),
        ("XPENDING s g - + 10 nobody", "[]"),
        (
            "XPENDING s g IDLE 50 - + 10",
            "[[\"1-0\" \"c\" :50 :1] [\"2-0\" \"c\" :50 :1]]",
        ),
        ("XPENDING s g IDLE 51 - + 10 c", "[]"),
        ("XPENDING s g - + -1", "[]"),
        ("XPENDING s g - +", "-ERR syntax error"),
        ("XPENDING s g IDLE 5 - +", "-ERR syntax error"),
        ("XPENDING s x", NO_GROUP),
        ("XGROUP CREATE s empty 0", "+OK"),
        ("XPENDING s empty", "[:0 nil nil nil-array]"),
    ]);
}

#[test]
fn entries_are_claimed() {
    let mut server = grouped();
    server.run("XREADGROUP GROUP g c COUNT 3 STREAMS s >");
    server.advance_ms(100);
    server.check_all(&[
        ("XCLAIM s g d 101 1", "[]"),
        ("XCLAIM s g d 100 1", &format!("[{ONE}]")),
        ("XCLAIM s g d 100 1 2 JUSTID", "[\"2-0\"]"),
        ("XCLAIM s g d 0 5", "[]"),
        ("XCLAIM s g d 0 5 FORCE RETRYCOUNT 7 JUSTID", "[\"5-0\"]"),
        ("XDEL s 3", ":1"),
        ("XCLAIM s g d 0 3", "[]"),
        (
            "XPENDING s g - + 10",
            "[[\"1-0\" \"d\" :0 :2] [\"2-0\" \"d\" :0 :1] [\"5-0\" \"d\" :0 :7]]",
        ),
        ("XCLAIM s g e 0 1 IDLE 40 LASTID 9", &format!("[{ONE}]")),
        ("XPENDING s g - + 10 e", "[[\"1-0\" \"e\" :40 :3]]"),
        ("XREADGROUP GROUP g c STREAMS s >", "nil-array"),
        (
            "XCLAIM s g e x 1",
            "-ERR Invalid min-idle-time argument for XCLAIM",
        ),
        (
            "XCLAIM s g e 0 1 IDLE x",
            "-ERR Invalid IDLE option argument for XCLAIM",
        ),
        (
            "XCLAIM s g e 0 1 FOO",
            "-ERR Unrecognized XCLAIM option 'FOO'",
        ),
        ("XCLAIM s x e 0 1", NO_GROUP),
    ]);
}

#[test]
fn claiming_goes_on_where_it_stopped() {
    let mut server = grouped();
    server.run("XREADGROUP GROUP g c STREAMS s >");
    server.advance_ms(20);
    server.check_all(&[
        ("XAUTOCLAIM s g d 21 0", "[\"0-0\" [] []]"),
        (
            "XAUTOCLAIM s g d 20 0 COUNT 2",
            &format!("[\"3-0\" [{ONE} {TWO}] []]"),
        ),
        ("XDEL s 3", ":1"),
        (
            "XAUTOCLAIM s g d 20 3 COUNT 2 JUSTID",
            "[\"5-0\" [\"4-0\"] [\"3-0\"]]",
        ),
        (
            "XAUTOCLAIM s g d 20 (4 COUNT 2",
            "[\"0-0\" [[\"5-0\" [\"n\" \"5\"]]] []]",
        ),
        ("XAUTOCLAIM s g d 20 - COUNT 0", "-ERR COUNT must be > 0"),
        (
            "XAUTOCLAIM s g d x -",
            "-ERR Invalid min-idle-time argument for XAUTOCLAIM",
        ),
        ("XAUTOCLAIM s x d 0 -", NO_GROUP),
        ("XPENDING s g", "[:4 \"1-0\" \"5-0\" [[\"d\" \"4\"]]]"),
    ]);
}

#[test]
fn times_and_progress_are_told() {
    let mut server = grouped();
    server.run("XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    server.advance_ms(7);
    let late = START_MS + 7;
    server.check_all(&[
        ("XGROUP CREATECONSUMER s g d", ":1"),
        (
            "XINFO CONSUMERS s g",
            "[[\"name\" \"c\" \"pending\" :2 \"idle\" :7 \"inactive\" :7] [\"name\" \"d\" \"pending\" :0 \"idle\" :0 \"inactive\" :-1]]",
        ),
        ("XREADGROUP GROUP g c STREAMS s 9", "[[\"s\" []]]"),
        ("XGROUP DELCONSUMER s g d", ":0"),
        ("XINFO CONSUMERS s g", "[[\"name\" \"c\" \"pending\" :2 \"idle\" :0 \"inactive\" :7]]"),
        (
            "XINFO GROUPS s",
            "[[\"name\" \"g\" \"consumers\" :1 \"pending\" :2 \"last-delivered-id\" \"2-0\" \"entries-read\" :2 \"lag\" :3]]",
        ),
        (
            "XINFO STREAM s FULL COUNT 1",
            &format!(
                "[\"length\" :5 \"radix-tree-keys\" :1 \"radix-tree-nodes\" :2 \"last-generated-id\" \"5-0\" \"max-deleted-entry-id\" \"0-0\" \
                 \"entries-added\" :5 \"recorded-first-entry-id\" \"1-0\" \"entries\" [{ONE}] \"groups\" [[\"name\" \"g\" \
                 \"last-delivered-id\" \"2-0\" \"entries-read\" :2 \"lag\" :3 \"pel-count\" :2 \"pending\" [[\"1-0\" \"c\" :{START_MS} :1]] \
                 \"consumers\" [[\"name\" \"c\" \"seen-time\" :{late} \"active-time\" :{START_MS} \"pel-count\" :2 \
                 \"pending\" [[\"1-0\" :{START_MS} :1]]]]]]]"
            ),
        ),
        ("XDEL s 4", ":1"),
        (
            "XINFO GROUPS s",
            "[[\"name\" \"g\" \"consumers\" :1 \"pending\" :2 \"last-delivered-id\" \"2-0\" \"entries-read\" :2 \"lag\" nil]]",
        ),
        ("XINFO CONSUMERS s x", "-NOGROUP No such consumer group 'x' for key name 's'"),
    ]);
}

#[test]
fn a_group_read_that_waits_makes_its_consumer_and_changes_nothing_when_run_again() {
    let mut server = grouped();
    server.run("XREADGROUP GROUP g c STREAMS s >");
    server.advance_ms(5);
    server.check("XREADGROUP GROUP g d BLOCK 0 STREAMS s >", "");
    let request = server.blocked.take().expect("it waits");
    assert!(request.also_when_gone && request.arguments.is_none());
    server.advance_ms(5);
    server.check("XREADGROUP GROUP g d BLOCK 0 STREAMS s >", "");
    assert!(server.blocked.is_some());
    server.check_all(&[
        (
            "XINFO CONSUMERS s g",
            "[[\"name\" \"c\" \"pending\" :5 \"idle\" :10 \"inactive\" :10] [\"name\" \"d\" \"pending\" :0 \"idle\" :5 \"inactive\" :-1]]",
        ),
        ("XGROUP DESTROY s g", ":1"),
        (
            "XREADGROUP GROUP g d BLOCK 0 STREAMS s >",
            "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        ("DEL s", ":1"),
        ("SET s x", "+OK"),
        (
            "XREADGROUP GROUP g d BLOCK 0 STREAMS s >",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("XREADGROUP GROUP g d STREAMS s $", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("XREADGROUP STREAMS s s s > > >", "-ERR Missing GROUP option for XREADGROUP"),
    ]);
}
