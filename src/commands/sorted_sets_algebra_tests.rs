//! Unions, intersections and differences of sorted sets, against Redis's replies and against a naive model.

use super::test_support::TestServer;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SYNTAX: &str = "-ERR syntax error";

/// A server with the sorted sets `one` (a 1, b 2, c 3) and `two` (b 1, c 2, d 3), and the set `plain` (a, b).
fn with_operands(mut server: TestServer) -> TestServer {
    server.check_all(&[
        ("zadd one 1 a 2 b 3 c", ":3"),
        ("zadd two 1 b 2 c 3 d", ":3"),
        ("sadd plain a b", ":2"),
    ]);
    server
}

#[test]
fn results_as_replies() {
    with_operands(TestServer::new()).check_all(&[
        ("zunion 2 one two", r#"["a" "b" "d" "c"]"#),
        (
            "zunion 2 one two withscores",
            r#"["a" "1" "b" "3" "d" "3" "c" "5"]"#,
        ),
        (
            "zunion 2 one missing withscores",
            r#"["a" "1" "b" "2" "c" "3"]"#,
        ),
        (
            "zunion 2 one plain withscores",
            r#"["a" "2" "b" "3" "c" "3"]"#,
        ),
        (
            "zunion 2 one two weights 2 0.5 withscores",
            r#"["d" "1.5" "a" "2" "b" "4.5" "c" "7"]"#,
        ),
        (
            "zunion 2 one two aggregate min withscores",
            r#"["a" "1" "b" "1" "c" "2" "d" "3"]"#,
        ),
        (
            "zunion 2 one two withscores AGGREGATE MAX",
            r#"["a" "1" "b" "2" "c" "3" "d" "3"]"#,
        ),
        ("zinter 2 one two withscores", r#"["b" "3" "c" "5"]"#),
        (
            "zinter 2 one two weights 1 -1 withscores",
            r#"["b" "1" "c" "1"]"#,
        ),
        (
            "zinter 2 one two aggregate min withscores",
            r#"["b" "1" "c" "2"]"#,
        ),
        (
            "zinter 2 one one withscores",
            r#"["a" "2" "b" "4" "c" "6"]"#,
        ),
        ("zinter 3 one two plain", r#"["b"]"#),
        ("zinter 2 one missing", "[]"),
        ("zdiff 2 one two", r#"["a"]"#),
        ("zdiff 1 one withscores", r#"["a" "1" "b" "2" "c" "3"]"#),
        ("zdiff 2 one plain withscores", r#"["c" "3"]"#),
        ("zdiff 2 missing one", "[]"),
        ("zintercard 2 one two", ":2"),
        ("zintercard 2 one two limit 1", ":1"),
        ("zintercard 2 one two LIMIT 0", ":2"),
        ("zintercard 2 one missing", ":0"),
    ]);
    with_operands(TestServer::resp3()).check_all(&[
        (
            "zunion 2 one plain withscores",
            r#"[["a" ,2] ["b" ,3] ["c" ,3]]"#,
        ),
        ("zunion 1 plain", r#"["a" "b"]"#),
        ("zdiff 2 one two withscores", r#"[["a" ,1]]"#),
        ("zinter 1 missing withscores", "[]"),
    ]);
}

#[test]
fn results_stored() {
    with_operands(TestServer::new()).check_all(&[
        ("zunionstore result 2 one two weights 10 1", ":4"),
        (
            "zrange result 0 -1 withscores",
            r#"["d" "3" "a" "10" "b" "21" "c" "32"]"#,
        ),
        ("zinterstore result 2 one two aggregate max", ":2"),
        ("zrange result 0 -1 withscores", r#"["b" "2" "c" "3"]"#),
        ("zdiffstore one 2 one two", ":1"),
        ("zrange one 0 -1 withscores", r#"["a" "1"]"#),
        ("zinterstore result 2 one two", ":0"),
        ("zcard result", ":0"),
        ("rpush list a", ":1"),
        ("zunionstore list 1 plain", ":2"),
        ("zrange list 0 -1 withscores", r#"["a" "1" "b" "1"]"#),
        ("zdiffstore list 1 missing", ":0"),
        ("zcard list", ":0"),
    ]);
}

#[test]
fn infinities_that_cancel_out_are_zero() {
    TestServer::new().check_all(&[
        ("zadd one inf a inf b", ":2"),
        ("zadd two -inf a inf b", ":2"),
        ("zunion 2 one two withscores", r#"["a" "0" "b" "inf"]"#),
        ("zinter 2 one two withscores", r#"["a" "0" "b" "inf"]"#),
        ("zunion 1 one weights 0 withscores", r#"["a" "0" "b" "0"]"#),
    ]);
}

#[test]
fn errors_from_left_to_right() {
    with_operands(TestServer::new()).check_all(&[
        (
            "zunion 0 one",
            "-ERR at least 1 input key is needed for 'zunion' command",
        ),
        (
            "ZINTER -1 one",
            "-ERR at least 1 input key is needed for 'zinter' command",
        ),
        (
            "zdiffstore result 0 one",
            "-ERR at least 1 input key is needed for 'zdiffstore' command",
        ),
        (
            "zintercard 0 one",
            "-ERR at least 1 input key is needed for 'zintercard' command",
        ),
        (
            "zunion x one",
            "-ERR value is not an integer or out of range",
        ),
        ("zunion 3 one two", SYNTAX),
        ("zunion 9223372036854775807 one two", SYNTAX),
        ("zunion 2 one two weights 1", SYNTAX),
        (
            "zunion 2 one two weights 1 x",
            "-ERR weight value is not a float",
        ),
        ("zunion 2 one two aggregate", SYNTAX),
        ("zunion 2 one two aggregate median", SYNTAX),
        ("zunion 2 one two limit 1", SYNTAX),
        ("zunionstore result 2 one two withscores", SYNTAX),
        ("zdiff 2 one two weights 1 1", SYNTAX),
        ("zdiff 2 one two aggregate sum", SYNTAX),
        ("zdiffstore result 2 one two withscores", SYNTAX),
        ("zintercard 2 one two withscores", SYNTAX),
        ("zintercard 2 one two limit", SYNTAX),
        (
            "zintercard 2 one two limit -1",
            "-ERR LIMIT can't be negative",
        ),
        (
            "zintercard 2 one two limit x",
            "-ERR LIMIT can't be negative",
        ),
        ("rpush list a", ":1"),
        (
            "zunion 1 list nonsense",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
    ]);
}

/// An operand: scores by member. Whole numbers, so that the order of adding does not show.
type Model = BTreeMap<u8, i32>;

fn join(how: &str, first: i32, second: i32) -> i32 {
    match how {
        "sum" => first + second,
        "min" => first.min(second),
        _ => first.max(second),
    }
}

/// The notation for the elements of a result with their scores.
fn notation(result: &Model) -> String {
    let mut pairs: Vec<(i32, String)> = result
        .iter()
        .map(|(member, score)| (*score, member.to_string()))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(score, member)| format!("\"{member}\" \"{score}\""))
        .collect();
    format!("[{}]", pairs.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn operations_agree_with_maps(
        operands in prop::collection::vec((prop::collection::btree_map(0u8..20, -9i32..9, 1..15), -3i32..4), 1..4),
        how in prop::sample::select(vec!["sum", "min", "max"]),
    ) {
        let mut server = TestServer::new();
        let (mut names, mut weights) = (String::new(), String::new());
        for (index, (members, weight)) in operands.iter().enumerate() {
            let pairs: String = members.iter().map(|(member, score)| format!(" {score} {member}")).collect();
            server.run(&format!("zadd key{index}{pairs}"));
            names += &format!(" key{index}");
            weights += &format!(" {weight}");
        }
        let mut union = Model::new();
        for (members, weight) in &operands {
            for (member, score) in members {
                let score = score * weight;
                union.entry(*member).and_modify(|joined| *joined = join(how, *joined, score)).or_insert(score);
            }
        }
        let mut intersection = union.clone();
        intersection.retain(|member, _| operands.iter().all(|(members, _)| members.contains_key(member)));
        let mut difference = operands[0].0.clone();
        difference.retain(|member, _| operands[1..].iter().all(|(members, _)| !members.contains_key(member)));
        let count = operands.len();
        let options = format!("weights{weights} aggregate {how}");
        for (operation, options, expected) in
            [("zunion", &*options, &union), ("zinter", &*options, &intersection), ("zdiff", "", &difference)]
        {
            let reply = server.run(&format!("{operation} {count}{names} {options} withscores"));
            // Weights below 0 make minus zero of 0.
            prop_assert_eq!(reply.replace("\"-0\"", "\"0\""), notation(expected), "{}", operation);
            server.check(&format!("{operation}store result {count}{names} {options}"), &format!(":{}", expected.len()));
            prop_assert_eq!(server.run("zrange result 0 -1 withscores").replace("\"-0\"", "\"0\""), notation(expected));
        }
        prop_assert_eq!(server.run(&format!("zintercard {count}{names}")), format!(":{}", intersection.len()));
    }
}
