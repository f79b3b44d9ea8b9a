//! Lists: replies and errors as Redis 7.2 has them, and a model for what is decided by position.

use super::test_replies::render;
use super::test_support::TestServer;
use proptest::prelude::*;
use std::sync::atomic::Ordering;

#[test]
fn pushing_and_reading() {
    TestServer::new().check_all(&[
        ("lpushx list a", ":0"),
        ("rpushx list a", ":0"),
        ("llen list", ":0"),
        ("rpush list a b c", ":3"),
        ("lpush list z y", ":5"),
        ("lpushx list x", ":6"),
        ("rpushx list d e", ":8"),
        ("llen list", ":8"),
        ("lrange list 0 -1", r#"["x" "y" "z" "a" "b" "c" "d" "e"]"#),
        ("lrange list -3 -2", r#"["c" "d"]"#),
        ("lrange list 6 100", r#"["d" "e"]"#),
        ("lrange list 8 9", "[]"),
        ("lrange list 3 2", "[]"),
        ("lrange list -100 0", r#"["x"]"#),
        ("lrange missing 0 -1", "[]"),
        (
            "lrange missing 0 x",
            "-ERR value is not an integer or out of range",
        ),
        ("lindex list 0", r#""x""#),
        ("lindex list -1", r#""e""#),
        ("lindex list 8", "nil"),
        ("lindex list -9", "nil"),
        (
            "lindex list x",
            "-ERR value is not an integer or out of range",
        ),
        ("lindex missing x", "nil"),
        (
            "lpush list",
            "-ERR wrong number of arguments for 'lpush' command",
        ),
    ]);
}

#[test]
fn changing_by_index() {
    TestServer::new().check_all(&[
        ("lset list 0 a", "-ERR no such key"),
        ("rpush list a b c", ":3"),
        ("lset list 1 B", "+OK"),
        ("lset list -1 C", "+OK"),
        ("lset list 3 D", "-ERR index out of range"),
        ("lset list -4 D", "-ERR index out of range"),
        (
            "lset list x D",
            "-ERR value is not an integer or out of range",
        ),
        ("linsert list before a 0", ":4"),
        ("linsert list AFTER C 4", ":5"),
        ("linsert list after a 1.5", ":6"),
        ("linsert list after nobody 1", ":-1"),
        ("linsert missing after a 1", ":0"),
        ("linsert list beside a 1", "-ERR syntax error"),
        ("lrange list 0 -1", r#"["0" "a" "1.5" "B" "C" "4"]"#),
        ("ltrim list 1 -2", "+OK"),
        ("lrange list 0 -1", r#"["a" "1.5" "B" "C"]"#),
        ("ltrim list -100 100", "+OK"),
        ("llen list", ":4"),
        ("ltrim list 3 2", "+OK"),
        ("llen list", ":0"),
        (
            "ltrim list 0 x",
            "-ERR value is not an integer or out of range",
        ),
        ("ltrim list 0 1", "+OK"),
    ]);
}

#[test]
fn popping() {
    const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
    TestServer::new().check_all(&[
        ("lpop list", "nil"),
        ("lpop list 1", "nil-array"),
        ("lpop list 0", "nil-array"),
        ("rpush list a b c d e", ":5"),
        ("lpop list", r#""a""#),
        ("rpop list", r#""e""#),
        ("lpop list 0", "[]"),
        ("rpop list 2", r#"["d" "c"]"#),
        ("lpop list 5", r#"["b"]"#),
        ("llen list", ":0"),
        ("rpush list a b c", ":3"),
        ("lpop list 2", r#"["a" "b"]"#),
        ("lpop list -1", NOT_POSITIVE),
        ("rpop list x", NOT_POSITIVE),
        (
            "lpop list 1 2",
            "-ERR wrong number of arguments for 'lpop' command",
        ),
        (
            "rpop list 1 2",
            "-ERR wrong number of arguments for 'rpop' command",
        ),
    ]);
    let mut server = TestServer::resp3();
    server.check_all(&[
        ("lpop list", "null"),
        ("lpop list 1", "null"),
        ("lmpop 1 list left", "null"),
    ]);
}

#[test]
fn searching() {
    const BAD_RANK: &str = "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                            or use negative to start from the end of the list";
    TestServer::new().check_all(&[
        ("lpos list a", "nil"),
        ("lpos list a count 0", "[]"),
        ("rpush list a b c 1 2 3 c c", ":8"),
        ("lpos list c", ":2"),
        ("lpos list nobody", "nil"),
        ("lpos list nobody count 1", "[]"),
        ("lpos list c rank 2", ":6"),
        ("lpos list c RANK -1", ":7"),
        ("lpos list c rank 4", "nil"),
        ("lpos list c count 2", "[:2 :6]"),
        ("lpos list c count 0 rank -2", "[:6 :2]"),
        ("lpos list c count 0 maxlen 7", "[:2 :6]"),
        ("lpos list c count 0 maxlen 7 rank -1", "[:7 :6 :2]"),
        ("lpos list c maxlen 2", "nil"),
        ("lpos list c maxlen 0 rank 3", ":7"),
        ("lpos list c rank 0", BAD_RANK),
        (
            "lpos list c rank -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        ("lpos list c count -1", "-ERR COUNT can't be negative"),
        ("lpos list c maxlen x", "-ERR MAXLEN can't be negative"),
        ("lpos list c rank", "-ERR syntax error"),
        ("lpos list c skip 1", "-ERR syntax error"),
    ]);
}

#[test]
fn removing_by_value() {
    TestServer::new().check_all(&[
        ("lrem list 0 a", ":0"),
        ("rpush list a x a a y a", ":6"),
        ("lrem list 1 a", ":1"),
        ("lrem list -1 a", ":1"),
        ("lrange list 0 -1", r#"["x" "a" "a" "y"]"#),
        ("lrem list 5 nobody", ":0"),
        ("lrem list 0 a", ":2"),
        (
            "lrem list x a",
            "-ERR value is not an integer or out of range",
        ),
        ("lrem list 0 x", ":1"),
        ("lrem list 0 y", ":1"),
        ("llen list", ":0"),
    ]);
}

#[test]
fn moving() {
    TestServer::new().check_all(&[
        ("lmove from to left right", "nil"),
        ("rpoplpush from to", "nil"),
        ("rpush from a b c d", ":4"),
        ("lmove from to left right", r#""a""#),
        ("lmove from to RIGHT LEFT", r#""d""#),
        ("rpoplpush from to", r#""c""#),
        ("lrange to 0 -1", r#"["c" "d" "a"]"#),
        ("lmove to to left right", r#""c""#),
        ("rpoplpush to to", r#""c""#),
        ("lrange to 0 -1", r#"["c" "d" "a"]"#),
        ("lmove from from left left", r#""b""#),
        ("lrange from 0 -1", r#"["b"]"#),
        ("lmove from to up down", "-ERR syntax error"),
        ("lmove from to left right", r#""b""#),
        ("llen from", ":0"),
    ]);
}

#[test]
fn the_only_item_of_a_list_moves_within_it_without_the_key_going() {
    TestServer::new().check_all(&[
        ("rpush list a", ":1"),
        ("expire list 100", ":1"),
        ("rpoplpush list list", r#""a""#),
        ("lmove list list left left", r#""a""#),
        ("ttl list", ":100"),
        ("rpush list b", ":2"),
        ("lmove list list left right", r#""a""#),
        ("ttl list", ":100"),
    ]);
}

#[test]
fn popping_from_the_first_list_that_exists() {
    TestServer::new().check_all(&[
        ("lmpop 2 one two left", "nil-array"),
        ("rpush two a b c d", ":4"),
        ("lmpop 2 one two left", r#"["two" ["a"]]"#),
        ("lmpop 2 one two RIGHT count 2", r#"["two" ["d" "c"]]"#),
        ("lmpop 1 two left count 10", r#"["two" ["b"]]"#),
        ("llen two", ":0"),
        ("lmpop 0 one left", "-ERR numkeys should be greater than 0"),
        ("lmpop x one left", "-ERR numkeys should be greater than 0"),
        ("lmpop 2 one left", "-ERR syntax error"),
        ("lmpop 9223372036854775807 one left", "-ERR syntax error"),
        ("lmpop 1 one up", "-ERR syntax error"),
        (
            "lmpop 1 one left count 0",
            "-ERR count should be greater than 0",
        ),
        (
            "lmpop 1 one left count x",
            "-ERR count should be greater than 0",
        ),
        ("lmpop 1 one left count", "-ERR syntax error"),
        ("lmpop 1 one left count 1 count 1", "-ERR syntax error"),
    ]);
}

#[test]
fn other_types_are_refused() {
    let mut server = TestServer::new();
    server.check_all(&[("sadd set a", ":1"), ("rpush list a", ":1")]);
    for line in [
        "lpush set a",
        "rpushx set a",
        "lpop set",
        "lpop set 0",
        "llen set",
        "lindex set 0",
        "lset set 0 a",
        "linsert set before a b",
        "lrange set 0 1",
        "ltrim set 0 1",
        "lpos set a",
        "lrem set 0 a",
        "lmove set list left left",
        "lmove list set left left",
        "rpoplpush list set",
        "lmpop 2 set list left",
    ] {
        server.check(
            line,
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        );
    }
    server.check("lrange list 0 -1", r#"["a"]"#);
    // A destination is looked at only if there is something to move.
    server.check("lmove missing set left left", "nil");
}

#[test]
fn a_full_log_refuses_what_would_change_something() {
    let mut server = TestServer::new();
    server.check("rpush list a b a", ":3");
    server.recorder.is_full.store(true, Ordering::Relaxed);
    for line in [
        "lrem list 0 a",
        "ltrim list 1 1",
        "lmove list other left left",
        "lpush list x",
    ] {
        let reply = server.run(line);
        assert!(reply.starts_with("-MISCONF"), "{line}: {reply}");
    }
    server.check_all(&[
        ("lrem list 0 x", ":0"),
        ("ltrim list 0 -1", "+OK"),
        ("lmove missing other left left", "nil"),
        ("lrange list 0 -1", r#"["a" "b" "a"]"#),
    ]);
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<u8>),
    Trim(i64, i64),
    Remove(i64, u8),
    Position {
        value: u8,
        rank: i64,
        count: usize,
        compared: usize,
    },
    Range(i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let value = b'a'..b'd';
    prop_oneof![
        3 => prop::collection::vec(value.clone(), 1..20).prop_map(Step::Push),
        1 => (-20i64..20, -20i64..20).prop_map(|(start, end)| Step::Trim(start, end)),
        2 => (-4i64..5, value.clone()).prop_map(|(count, value)| Step::Remove(count, value)),
        2 => (value, prop_oneof![-4i64..0, 1i64..5], 0usize..4, 0usize..20)
            .prop_map(|(value, rank, count, compared)| Step::Position { value, rank, count, compared }),
        1 => (-20i64..20, -20i64..20).prop_map(|(start, end)| Step::Range(start, end)),
    ]
}

/// The items from `start` to `end` as the manual describes them.
fn slice(model: &[u8], start: i64, end: i64) -> Vec<u8> {
    let length = model.len() as i64;
    let from_end = |index: i64| {
        if index < 0 {
            (length + index).max(-1)
        } else {
            index
        }
    };
    let (start, end) = (from_end(start).max(0), from_end(end));
    let inside = |index: &i64| (start..=end).contains(index);
    (0..length)
        .filter(inside)
        .map(|index| model[index as usize])
        .collect()
}

/// Matching positions in the order of searching.
fn matches(model: &[u8], value: u8, backwards: bool, compared: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..model.len()).collect();
    if backwards {
        order.reverse();
    }
    order.truncate(if compared == 0 { usize::MAX } else { compared });
    order.retain(|index| model[*index] == value);
    order
}

fn integers(values: &[usize]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!(":{value}")).collect();
    format!("[{}]", values.join(" "))
}

fn items(values: &[u8]) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|value| format!("\"{}\"", *value as char))
        .collect();
    format!("[{}]", values.join(" "))
}

/// Runs one step on both; the command, its reply and what the model says.
fn run(server: &mut TestServer, model: &mut Vec<u8>, step: &Step) -> (String, String, String) {
    let (line, expected) = match step {
        Step::Push(values) => {
            model.extend(values);
            let values: Vec<String> = values
                .iter()
                .map(|value| (*value as char).to_string())
                .collect();
            (
                format!("rpush list {}", values.join(" ")),
                format!(":{}", model.len()),
            )
        }
        Step::Trim(start, end) => {
            *model = slice(model, *start, *end);
            (format!("ltrim list {start} {end}"), "+OK".into())
        }
        Step::Remove(count, value) => {
            let mut found = matches(model, *value, *count < 0, 0);
            found.truncate(if *count == 0 {
                usize::MAX
            } else {
                count.unsigned_abs() as usize
            });
            let mut index = 0;
            model.retain(|_| {
                index += 1;
                !found.contains(&(index - 1))
            });
            (
                format!("lrem list {count} {}", *value as char),
                format!(":{}", found.len()),
            )
        }
        Step::Position {
            value,
            rank,
            count,
            compared,
        } => {
            let mut found = matches(model, *value, *rank < 0, *compared);
            found.drain(..(rank.unsigned_abs() as usize - 1).min(found.len()));
            found.truncate(if *count == 0 { usize::MAX } else { *count });
            let line = format!(
                "lpos list {} rank {rank} count {count} maxlen {compared}",
                *value as char
            );
            (line, integers(&found))
        }
        Step::Range(start, end) => (
            format!("lrange list {start} {end}"),
            items(&slice(model, *start, *end)),
        ),
    };
    let reply = server.run(&line);
    (line, reply, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn lists_behave_as_vectors(steps in prop::collection::vec(step(), 1..30)) {
        let (mut server, mut model) = (TestServer::new(), Vec::new());
        for step in &steps {
            let (line, reply, expected) = run(&mut server, &mut model, step);
            prop_assert_eq!(reply, expected, "{}", line);
            let whole = server.run_arguments(&[b"lrange", b"list", b"0", b"-1"]);
            prop_assert_eq!(render(&whole), items(&model), "{}", line);
        }
    }
}
