//! Sorted sets: replies and errors as Redis 7.2 has them.

use super::test_support::TestServer;
use std::collections::BTreeSet;

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_POSITIVE: &str = "-ERR value is out of range, must be positive";
const SYNTAX: &str = "-ERR syntax error";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// A server whose key `board` holds a, b, c, d with the scores 1 to 4.
fn with_board(mut server: TestServer) -> TestServer {
    server.check("zadd board 1 a 2 b 3 c 4 d", ":4");
    server
}

#[test]
fn adding() {
    const BOTH: &str = "-ERR XX and NX options at the same time are not compatible";
    const THREE: &str = "-ERR GT, LT, and/or NX options at the same time are not compatible";
    TestServer::new().check_all(&[
        ("zadd board xx 1 a", ":0"),
        ("zadd board xx incr 1 a", "nil"),
        ("zcard board", ":0"),
        ("zadd board 1 a 2 b", ":2"),
        ("zadd board 1 a 3 b 4 c", ":1"),
        ("zadd board ch 1 a 5 b 5 d", ":2"),
        ("zadd board nx 9 a 9 e", ":1"),
        ("zadd board XX CH 2 a 2 nobody", ":1"),
        ("zadd board gt ch 1 a 6 b 6 f", ":2"),
        ("zadd board lt ch 1 a 7 b", ":1"),
        ("zadd board gt xx ch 0 a 0 nobody", ":0"),
        ("zadd board ch 1 twice 2 twice", ":2"),
        ("zadd board nx ch 1 other 2 other", ":1"),
        (
            "zmscore board a b c d e f twice other x",
            r#"["1" "6" "4" "5" "9" "6" "2" "1" nil]"#,
        ),
        ("zadd board incr 0.5 a", r#""1.5""#),
        ("zadd board incr 0 a", r#""1.5""#),
        ("zadd board nx incr 1 a", "nil"),
        ("zadd board gt incr -1 a", "nil"),
        ("zadd board lt incr -1 a", r#""0.5""#),
        ("zadd board incr 7 new", r#""7""#),
        (
            "zadd board incr 1 a 2 b",
            "-ERR INCR option supports a single increment-element pair",
        ),
        ("zadd board nx xx 1 a", BOTH),
        ("zadd board nx gt 1 a", THREE),
        ("zadd board gt lt 1 a", THREE),
        ("zadd board nx lt 1 a", THREE),
        (
            "zadd board 1",
            "-ERR wrong number of arguments for 'zadd' command",
        ),
        ("zadd board 1 a 2", SYNTAX),
        ("zadd board nx ch", SYNTAX),
        ("zadd board x a", "-ERR value is not a valid float"),
        ("zadd board 1 z nan z", "-ERR value is not a valid float"),
        ("zscore board z", "nil"),
        ("zadd board inf z -inf y 1e3 x", ":3"),
        ("zmscore board z y x", r#"["inf" "-inf" "1000"]"#),
        (
            "zadd board incr -inf z",
            "-ERR resulting score is not a number (NaN)",
        ),
        (
            "zincrby board -inf z",
            "-ERR resulting score is not a number (NaN)",
        ),
    ]);
}

#[test]
fn incrementing_and_removing() {
    TestServer::new().check_all(&[
        ("zincrby board 1.5 a", r#""1.5""#),
        ("zincrby board -3 a", r#""-1.5""#),
        ("zincrby board x a", "-ERR value is not a valid float"),
        ("zincrby board nx a", SYNTAX),
        ("zrem board x", ":0"),
        ("zrem missing x", ":0"),
        ("zadd board 1 b 2 c", ":2"),
        ("zrem board a b b x", ":2"),
        ("zrem board c", ":1"),
        ("zcard board", ":0"),
    ]);
    TestServer::resp3().check_all(&[
        ("zincrby board 1.5 a", ",1.5"),
        ("zadd board incr 1 a", ",2.5"),
        ("zscore board a", ",2.5"),
        ("zscore board b", "null"),
        ("zmscore board a b", "[,2.5 null]"),
        ("zadd board nx incr 1 a", "null"),
    ]);
}

#[test]
fn single_members() {
    with_board(TestServer::new()).check_all(&[
        ("zcard board", ":4"),
        ("zcard missing", ":0"),
        ("zscore board b", r#""2""#),
        ("zscore board x", "nil"),
        ("zscore missing x", "nil"),
        ("zmscore missing x y", "[nil nil]"),
        ("zrank board a", ":0"),
        ("zrevrank board a", ":3"),
        ("zrank board x", "nil"),
        ("zrank missing x", "nil"),
        ("zrank board c withscore", r#"[:2 "3"]"#),
        ("zrevrank board c WITHSCORE", r#"[:1 "3"]"#),
        ("zrank board x withscore", "nil-array"),
        ("zrevrank missing x withscore", "nil-array"),
        ("zrank board a withscores", SYNTAX),
        (
            "zrank board a withscore 1",
            "-ERR wrong number of arguments for 'zrank' command",
        ),
        (
            "ZREVRANK board a withscore 1",
            "-ERR wrong number of arguments for 'zrevrank' command",
        ),
    ]);
    with_board(TestServer::resp3()).check_all(&[
        ("zrank board c withscore", "[:2 ,3]"),
        ("zrank board x withscore", "null"),
        ("zrank board x", "null"),
    ]);
}

#[test]
fn ranges() {
    const NOT_SCORES: &str = "-ERR min or max is not a float";
    const NOT_MEMBERS: &str = "-ERR min or max not valid string range item";
    const NO_LIMIT: &str =
        "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
    const NO_SCORES: &str = "-ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    with_board(TestServer::new()).check_all(&[
        ("zrange board 0 -1", r#"["a" "b" "c" "d"]"#),
        ("zrange board 1 2 withscores", r#"["b" "2" "c" "3"]"#),
        ("zrange board 0 1 rev", r#"["d" "c"]"#),
        ("zrange board -2 -1 REV", r#"["b" "a"]"#),
        ("zrange board 4 9", "[]"),
        ("zrange board 2 1", "[]"),
        ("zrange missing 0 -1", "[]"),
        ("zrange board (1 3 byscore", r#"["b" "c"]"#),
        ("zrange board 3 (1 byscore rev", r#"["c" "b"]"#),
        ("zrange board -inf +inf byscore limit 1 2", r#"["b" "c"]"#),
        (
            "zrange board inf -inf byscore rev limit 1 2 withscores",
            r#"["c" "3" "b" "2"]"#,
        ),
        ("zrange board -inf inf byscore limit 2 -1", r#"["c" "d"]"#),
        ("zrange board -inf inf byscore limit -1 2", "[]"),
        ("zrange board -inf inf byscore limit 0 0", "[]"),
        ("zrange board -inf inf byscore limit 9 9", "[]"),
        ("zrange board 3 1 byscore", "[]"),
        ("zrange board 0 1 limit 0 -1", r#"["a" "b"]"#),
        ("zrange board 0 1 limit 0 1", NO_LIMIT),
        ("zrange board - + bylex withscores", NO_SCORES),
        ("zrange board a b", NOT_INTEGER),
        ("zrange board a b byscore", NOT_SCORES),
        ("zrange board nan 1 byscore", NOT_SCORES),
        ("zrange board a b bylex", NOT_MEMBERS),
        ("zrange board - ++ bylex", NOT_MEMBERS),
        ("zrange board 0 1 limit 0", SYNTAX),
        ("zrange board 0 1 limit x 1", NOT_INTEGER),
        ("zrange board 0 1 byscore bylex", SYNTAX),
        ("zrange board 0 1 rev rev", SYNTAX),
        ("zrange missing x 1", NOT_INTEGER),
    ]);
    with_board(TestServer::resp3()).check_all(&[
        ("zrange board 1 2 withscores", r#"[["b" ,2] ["c" ,3]]"#),
        ("zrange board 1 2", r#"["b" "c"]"#),
        (
            "zrevrangebyscore board 2 1 withscores",
            r#"[["b" ,2] ["a" ,1]]"#,
        ),
    ]);
}

#[test]
fn ranges_under_their_older_names() {
    with_board(TestServer::new()).check_all(&[
        ("zrevrange board 0 1 withscores", r#"["d" "4" "c" "3"]"#),
        ("zrevrange board 0 1 rev", SYNTAX),
        ("zrangebyscore board 2 (4", r#"["b" "c"]"#),
        ("zrangebyscore board 2 4 limit 1 1", r#"["c"]"#),
        ("zrangebyscore board 2 4 rev", SYNTAX),
        (
            "zrevrangebyscore board 4 (2 limit 1 1 withscores",
            r#"["c" "3"]"#,
        ),
        ("zrangebyscore board x 1", "-ERR min or max is not a float"),
        ("zrangebyscore board \"\" (2", r#"["a"]"#),
        ("zrangebyscore board ( 1", r#"["a"]"#),
        ("zrangebyscore board \" 2\" 1e400", r#"["b" "c" "d"]"#),
        (
            "zrangebyscore board \" \" 2",
            "-ERR min or max is not a float",
        ),
        (
            "zrangebylex board - + withscores",
            "-ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("zcount board (1 3", ":2"),
        ("zcount board 3 1", ":0"),
        ("zcount missing 1 3", ":0"),
        ("zcount missing x 3", "-ERR min or max is not a float"),
        ("zadd lex 0 a 0 b 0 c 0 d 0 \"\"", ":5"),
        ("zrangebylex lex - [b", r#"["" "a" "b"]"#),
        ("zrangebylex lex (a (d", r#"["b" "c"]"#),
        ("zrangebylex lex [ (b", r#"["" "a"]"#),
        ("zrangebylex lex ( +", r#"["a" "b" "c" "d"]"#),
        ("zrangebylex lex + -", "[]"),
        ("zrangebylex lex - + limit 1 2", r#"["a" "b"]"#),
        ("zrevrangebylex lex [c (a", r#"["c" "b"]"#),
        ("zrevrangebylex lex + - limit 1 2", r#"["c" "b"]"#),
        ("zlexcount lex - +", ":5"),
        ("zlexcount lex [a (c", ":2"),
        (
            "zlexcount lex a c",
            "-ERR min or max not valid string range item",
        ),
    ]);
}

#[test]
fn storing_a_range() {
    with_board(TestServer::new()).check_all(&[
        ("zrangestore result board 0 1", ":2"),
        ("zrange result 0 -1 withscores", r#"["a" "1" "b" "2"]"#),
        (
            "zrangestore result board inf (1 byscore rev limit 0 2",
            ":2",
        ),
        ("zrange result 0 -1", r#"["c" "d"]"#),
        ("zrangestore board board 1 2", ":2"),
        ("zrange board 0 -1", r#"["b" "c"]"#),
        ("rpush list a", ":1"),
        ("zrangestore list missing 0 -1", ":0"),
        ("llen list", ":0"),
        ("zrangestore result board 5 9", ":0"),
        ("zcard result", ":0"),
        ("zrangestore result board 0 -1 withscores", SYNTAX),
    ]);
}

#[test]
fn removing_ranges() {
    with_board(TestServer::new()).check_all(&[
        ("zremrangebyrank missing 0 -1", ":0"),
        ("zremrangebyrank board 9 10", ":0"),
        ("zremrangebyrank board -1 -1", ":1"),
        ("zremrangebyscore board (1 2", ":1"),
        ("zrange board 0 -1", r#"["a" "c"]"#),
        ("zremrangebyscore board -inf inf", ":2"),
        ("zcard board", ":0"),
        ("zadd lex 0 a 0 b 0 c", ":3"),
        ("zremrangebylex lex (a +", ":2"),
        ("zremrangebylex lex + -", ":0"),
        ("zremrangebylex lex - +", ":1"),
        ("zremrangebyrank lex x 1", NOT_INTEGER),
        ("zremrangebyscore lex x 1", "-ERR min or max is not a float"),
        (
            "zremrangebylex lex x 1",
            "-ERR min or max not valid string range item",
        ),
    ]);
}

#[test]
fn popping() {
    with_board(TestServer::new()).check_all(&[
        ("zpopmin missing", "[]"),
        ("zpopmin missing 2", "[]"),
        ("zpopmin board", r#"["a" "1"]"#),
        ("zpopmax board 2", r#"["d" "4" "c" "3"]"#),
        ("zpopmin board 0", "[]"),
        ("zpopmax board 9", r#"["b" "2"]"#),
        ("zcard board", ":0"),
        ("zpopmin board -1", NOT_POSITIVE),
        ("zpopmin board x", NOT_POSITIVE),
        ("zpopmin board 1 2", SYNTAX),
    ]);
    with_board(TestServer::resp3()).check_all(&[
        ("zpopmin missing", "[]"),
        ("zpopmin board", r#"["a" ,1]"#),
        ("zpopmax board 1", r#"[["d" ,4]]"#),
        ("zpopmax board 0", "[]"),
        ("zmpop 1 missing min", "null"),
        ("zmpop 1 board max", r#"["board" [["c" ,3]]]"#),
    ]);
    with_board(TestServer::new()).check_all(&[
        ("zmpop 1 missing min", "nil-array"),
        ("zmpop 2 missing board min", r#"["board" [["a" "1"]]]"#),
        (
            "zmpop 1 board MAX COUNT 2",
            r#"["board" [["d" "4"] ["c" "3"]]]"#,
        ),
        ("zmpop 1 board min count 9", r#"["board" [["b" "2"]]]"#),
        ("zcard board", ":0"),
        ("zmpop 0 board min", "-ERR numkeys should be greater than 0"),
        ("zmpop 2 board min", SYNTAX),
        ("zmpop 1 board left", SYNTAX),
        (
            "zmpop 1 board min count 0",
            "-ERR count should be greater than 0",
        ),
        ("zmpop 1 board min count 1 2", SYNTAX),
    ]);
}

#[test]
fn choosing_random_members() {
    let mut server = with_board(TestServer::new());
    server.check_all(&[
        ("zrandmember missing", "nil"),
        ("zrandmember missing 2", "[]"),
        ("zrandmember missing 2 withscores", "[]"),
        ("zrandmember board 0", "[]"),
        (
            "zrandmember board 9 withscores",
            r#"["a" "1" "b" "2" "c" "3" "d" "4"]"#,
        ),
        ("zrandmember board x", NOT_INTEGER),
        ("zrandmember board x withscores", NOT_INTEGER),
        ("zrandmember board 1 scores", SYNTAX),
        ("zrandmember board 1 withscores 2", SYNTAX),
        (
            "zrandmember board -9223372036854775807 withscores",
            "-ERR value is out of range",
        ),
        (
            "zrandmember board 9223372036854775807 withscores",
            "-ERR value is out of range",
        ),
    ]);
    let chosen = server.run("zrandmember board 3");
    let different: BTreeSet<&str> = chosen.trim_matches(['[', ']']).split(' ').collect();
    assert_eq!(different.len(), 3, "{chosen}");
    assert_eq!(server.run("zrandmember board -10").split(' ').count(), 10);
    TestServer::resp3().check_all(&[
        ("zrandmember one", "null"),
        ("zadd one 1 a", ":1"),
        ("zrandmember one", r#""a""#),
        ("zrandmember one -2", r#"["a" "a"]"#),
        ("zrandmember one -2 withscores", r#"[["a" ,1] ["a" ,1]]"#),
    ]);
}

#[test]
fn walking() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("zscan board 0 count 0", r#"["0" []]"#),
        ("zadd board 1.5 a 2 b", ":2"),
        ("zscan board 0 match a", r#"["0" ["a" "1.5"]]"#),
        ("zscan board 0 match c", r#"["0" []]"#),
        ("zscan board x", "-ERR invalid cursor"),
        ("zscan board 0 count 0", SYNTAX),
        ("zscan board 0 match a noscores", r#"["0" ["a"]]"#),
        ("zscan board 0 novalues", SYNTAX),
    ]);
    let mut server = TestServer::resp3();
    server.check_all(&[
        ("zadd board 1.5 a", ":1"),
        ("zscan board 0", r#"["0" ["a" "1.5"]]"#),
    ]);
}

#[test]
fn other_types_are_refused() {
    let mut server = TestServer::new();
    server.check_all(&[("rpush list a", ":1"), ("zadd board 1 a", ":1")]);
    for line in [
        "zadd list 1 a",
        "zadd list xx 1 a",
        "zincrby list 1 a",
        "zrem list a",
        "zcard list",
        "zscore list a",
        "zmscore list a",
        "zrank list a",
        "zrevrank list a withscore",
        "zscan list 0",
        "zrange list 0 -1",
        "zrangestore board list 0 -1",
        "zcount list 0 1",
        "zlexcount list - +",
        "zremrangebyrank list 0 1",
        "zpopmin list",
        "zpopmax list 0",
        "zmpop 2 list board min",
        "zrandmember list",
        "zrandmember list 1",
        "zunion 2 board list",
        "zinterstore board 2 missing list",
        "zdiff 2 missing list",
        "zintercard 2 board list",
    ] {
        server.check(line, WRONG_TYPE);
    }
    server.check_all(&[("zcard board", ":1"), ("llen list", ":1")]);
}
