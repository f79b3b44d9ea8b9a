//! Sets: replies and errors as Redis 7.2 has them. Members come in no particular order, so the tests that list several
//! sort what they get.

use super::test_support::TestServer;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// The bulk strings of a reply's notation, sorted.
fn sorted(notation: &str) -> Vec<String> {
    let mut members: Vec<String> = notation
        .trim_start_matches('~')
        .trim_matches(['[', ']'])
        .split_whitespace()
        .map(|member| member.trim_matches('"').to_owned())
        .collect();
    members.sort();
    members
}

#[track_caller]
fn check_members(server: &mut TestServer, line: &str, expected: &str) {
    let reply = server.run(line);
    assert_eq!(sorted(&reply).join(" "), expected, "{line}: {reply}");
}

const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn members() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("scard set", ":0"),
        ("smembers set", "[]"),
        ("sismember set a", ":0"),
        ("smismember set a b", "[:0 :0]"),
        ("srem set a", ":0"),
        ("sadd set a b a", ":2"),
        ("sadd set b c", ":1"),
        ("scard set", ":3"),
        ("sismember set a", ":1"),
        ("smismember set a x c", "[:1 :0 :1]"),
        ("srem set a x", ":1"),
        ("srem set b c b", ":2"),
        ("scard set", ":0"),
        (
            "sadd set",
            "-ERR wrong number of arguments for 'sadd' command",
        ),
        ("sadd set 1 2 3", ":3"),
    ]);
    check_members(&mut server, "smembers set", "1 2 3");
    let mut server = TestServer::resp3();
    server.check_all(&[
        ("smembers set", "~[]"),
        ("sadd set a", ":1"),
        ("smembers set", r#"~["a"]"#),
    ]);
}

#[test]
fn moving() {
    TestServer::new().check_all(&[
        ("smove from to a", ":0"),
        ("sadd from a b", ":2"),
        ("smove from to x", ":0"),
        ("smove from to a", ":1"),
        ("smove from from b", ":1"),
        ("smove from from x", ":0"),
        ("sadd to b", ":1"),
        ("smove from to b", ":1"),
        ("scard from", ":0"),
        ("scard to", ":2"),
    ]);
}

#[test]
fn popping_random_members() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("spop set", "nil"),
        ("spop set 3", "[]"),
        ("sadd set a", ":1"),
        ("spop set 0", "[]"),
        ("spop set", r#""a""#),
        ("scard set", ":0"),
        ("spop set -1", NOT_POSITIVE),
        ("spop set x", NOT_POSITIVE),
        ("spop set 1 2", "-ERR syntax error"),
        ("sadd set a b c d e f g h", ":8"),
    ]);
    let popped = sorted(&server.run("spop set 5"));
    let left = sorted(&server.run("smembers set"));
    assert_eq!((popped.len(), left.len()), (5, 3));
    let all: BTreeSet<String> = popped.into_iter().chain(left).collect();
    assert_eq!(all.len(), 8);
    assert_eq!(sorted(&server.run("spop set 100")).len(), 3);
    server.check("scard set", ":0");
    TestServer::resp3().check_all(&[
        ("spop set", "null"),
        ("spop set 1", "~[]"),
        ("sadd set a", ":1"),
        ("spop set 1", r#"~["a"]"#),
    ]);
}

#[test]
fn choosing_random_members() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("srandmember set", "nil"),
        ("srandmember set 3", "[]"),
        ("srandmember set -3", "[]"),
        ("sadd set a b c", ":3"),
        ("srandmember set 0", "[]"),
        ("srandmember set x", NOT_INTEGER),
        (
            "srandmember set -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        ("srandmember set -9223372036854775807", "-ERR value is out of range"),
        ("srandmember set 1 2", "-ERR syntax error"),
    ]);
    check_members(&mut server, "srandmember set 10", "a b c");
    let two: BTreeSet<String> = sorted(&server.run("srandmember set 2"))
        .into_iter()
        .collect();
    assert_eq!(two.len(), 2);
    assert_eq!(sorted(&server.run("srandmember set -20")).len(), 20);
    server.check("scard set", ":3");
    let mut server = TestServer::resp3();
    server.check_all(&[
        ("srandmember set", "null"),
        ("sadd set a", ":1"),
        ("srandmember set -2", r#"["a" "a"]"#),
    ]);
}

#[test]
fn between_sets() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("sadd one a b c d", ":4"),
        ("sadd two b c x", ":3"),
        ("sadd three c b y z q", ":5"),
        ("sinter one missing", "[]"),
        ("sinter missing", "[]"),
        ("sdiff missing one", "[]"),
        ("sintercard 3 one two three", ":2"),
        ("sintercard 2 one missing", ":0"),
        ("sintercard 2 one two limit 1", ":1"),
        ("sintercard 2 one two limit 0", ":2"),
        ("sintercard 1 one LIMIT 3 limit 2", ":2"),
        ("sintercard 0 one", "-ERR numkeys should be greater than 0"),
        ("sintercard x one", "-ERR numkeys should be greater than 0"),
        (
            "sintercard 2 one",
            "-ERR Number of keys can't be greater than number of args",
        ),
        ("sintercard 1 one limit -1", "-ERR LIMIT can't be negative"),
        ("sintercard 1 one limit x", "-ERR LIMIT can't be negative"),
        ("sintercard 1 one limit", "-ERR syntax error"),
        ("sintercard 1 one two", "-ERR syntax error"),
    ]);
    check_members(&mut server, "sinter one two three", "b c");
    check_members(&mut server, "sunion one two missing", "a b c d x");
    check_members(&mut server, "sdiff one two missing", "a d");
    check_members(&mut server, "sdiff three one two", "q y z");
    server.check_all(&[
        ("sinterstore result one two", ":2"),
        ("rpush list a", ":1"),
        ("sunionstore list one two", ":5"),
        ("scard list", ":5"),
        ("sdiffstore one one two", ":2"),
        ("smismember one a b c d", "[:1 :0 :0 :1]"),
        ("sinterstore result one two", ":0"),
        ("scard result", ":0"),
        ("sdiffstore list missing one", ":0"),
        ("llen list", ":0"),
    ]);
    let mut server = TestServer::resp3();
    server.check_all(&[
        ("sadd one a", ":1"),
        ("sinter one one", r#"~["a"]"#),
        ("sunion one", r#"~["a"]"#),
        ("sdiff one", r#"~["a"]"#),
        ("sinter missing", "~[]"),
    ]);
}

#[test]
fn walking() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("sscan set 0 count 0", r#"["0" []]"#),
        ("sscan set x", "-ERR invalid cursor"),
        ("sadd set a", ":1"),
        ("sscan set 0", r#"["0" ["a"]]"#),
        ("sscan set 0 match b*", r#"["0" []]"#),
        ("sscan set 0 MATCH a* COUNT 5", r#"["0" ["a"]]"#),
        ("sscan set 0 count 0", "-ERR syntax error"),
        ("sscan set 0 count x", NOT_INTEGER),
        ("sscan set 0 type x", "-ERR syntax error"),
    ]);
    let members: String = (0..500).map(|number| format!(" member:{number}")).collect();
    server.check(&format!("sadd large{members}"), ":500");
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let reply = server.run(&format!("sscan large {cursor} count 20"));
        let (next, members) = reply
            .trim_start_matches('[')
            .split_once(' ')
            .expect("cursor and members");
        seen.extend(sorted(members));
        cursor = next.trim_matches('"').to_owned();
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 500);
    assert!(calls > 5, "{calls} calls");
}

#[test]
fn other_types_are_refused() {
    let mut server = TestServer::new();
    server.check_all(&[("rpush list a", ":1"), ("sadd set a", ":1")]);
    for line in [
        "sadd list a",
        "srem list a",
        "sismember list a",
        "smismember list a",
        "smembers list",
        "scard list",
        "smove list set a",
        "smove set list a",
        "smove set list x",
        "spop list",
        "spop list 0",
        "srandmember list",
        "srandmember list 0",
        "sinter missing list",
        "sinterstore set missing list",
        "sintercard 2 missing list",
        "sunion set list",
        "sdiff missing list",
        "sdiffstore set set list",
        "sscan list 0",
    ] {
        server.check(line, WRONG_TYPE);
    }
    server.check_all(&[
        ("smove missing list a", ":0"),
        ("llen list", ":1"),
        ("scard set", ":1"),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn operations_agree_with_ordered_sets(sets in prop::collection::vec(prop::collection::btree_set(0u8..20, 1..15), 1..5)) {
        let mut server = TestServer::new();
        let mut names = String::new();
        for (index, set) in sets.iter().enumerate() {
            names += &format!(" set{index}");
            let members: String = set.iter().map(|member| format!(" {member}")).collect();
            server.run(&format!("sadd set{index}{members}"));
        }
        let (first, others) = sets.split_first().expect("at least one");
        let intersection: BTreeSet<u8> = first.iter().copied().filter(|member| others.iter().all(|set| set.contains(member))).collect();
        let union: BTreeSet<u8> = sets.iter().flatten().copied().collect();
        let difference: BTreeSet<u8> = first.iter().copied().filter(|member| others.iter().all(|set| !set.contains(member))).collect();
        let count = sets.len();
        for (operation, expected) in [("sinter", intersection.clone()), ("sunion", union), ("sdiff", difference)] {
            let mut texts: Vec<String> = expected.iter().map(u8::to_string).collect();
            texts.sort();
            prop_assert_eq!(sorted(&server.run(&format!("{operation}{names}"))), texts.clone());
            prop_assert_eq!(server.run(&format!("{operation}store result{names}")), format!(":{}", texts.len()));
            prop_assert_eq!(sorted(&server.run("smembers result")), texts);
        }
        prop_assert_eq!(server.run(&format!("sintercard {count}{names}")), format!(":{}", intersection.len()));
    }
}
