//! Tests of the deadlines of hash fields.

use crate::commands::test_support::{START_MS, TestServer};

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn deadlines_are_set_and_told() {
    TestServer::new().check_all(&[
        ("HEXPIRE h 10 FIELDS 1 a", "[:-2]"),
        ("HTTL h FIELDS 1 a", "[:-2]"),
        ("HPERSIST h FIELDS 1 a", "[:-2]"),
        ("HSET h a 1 b 2 c 3", ":3"),
        ("HEXPIRE h 10 FIELDS 3 a none b", "[:1 :-2 :1]"),
        ("HTTL h FIELDS 4 a b c none", "[:10 :10 :-1 :-2]"),
        ("HPTTL h FIELDS 1 a", "[:10000]"),
        (
            "HPEXPIRETIME h FIELDS 1 a",
            &format!("[:{}]", START_MS + 10_000),
        ),
        (
            "HEXPIRETIME h FIELDS 1 a",
            &format!("[:{}]", START_MS / 1000 + 10),
        ),
        ("HPEXPIRE h 1500 FIELDS 1 a", "[:1]"),
        ("HTTL h FIELDS 1 a", "[:2]"),
        (
            &format!("HEXPIREAT h {} FIELDS 1 a", START_MS / 1000 + 7),
            "[:1]",
        ),
        ("HTTL h FIELDS 1 a", "[:7]"),
        (
            &format!("HPEXPIREAT h {} FIELDS 1 a", START_MS + 900),
            "[:1]",
        ),
        ("HPTTL h FIELDS 1 a", "[:900]"),
        ("HPERSIST h FIELDS 4 a c none a", "[:1 :-1 :-2 :-1]"),
        ("HTTL h FIELDS 1 a", "[:-1]"),
    ]);
}

#[test]
fn conditions_hold_field_by_field() {
    TestServer::new().check_all(&[
        ("HSET h a 1 b 2", ":2"),
        ("HEXPIRE h 10 XX FIELDS 1 a", "[:0]"),
        ("HEXPIRE h 10 GT FIELDS 1 a", "[:0]"),
        ("HEXPIRE h 10 NX FIELDS 2 a a", "[:1 :0]"),
        ("HEXPIRE h 20 nx FIELDS 2 a b", "[:0 :1]"),
        ("HEXPIRE h 15 GT FIELDS 2 a b", "[:1 :0]"),
        ("HEXPIRE h 12 LT FIELDS 2 a b", "[:1 :1]"),
        ("HEXPIRE h 5 XX FIELDS 1 a", "[:1]"),
        ("HTTL h FIELDS 2 a b", "[:5 :12]"),
        ("HEXPIRE h 0 GT FIELDS 1 a", "[:0]"),
    ]);
}

#[test]
fn a_deadline_that_has_passed_deletes() {
    TestServer::new().check_all(&[
        ("HSET h a 1 b 2", ":2"),
        ("HEXPIRE h 0 FIELDS 2 a a", "[:2 :-2]"),
        ("HKEYS h", "[\"b\"]"),
        ("HPEXPIREAT h 1 FIELDS 1 b", "[:2]"),
        ("EXISTS h", ":0"),
    ]);
}

#[test]
fn expired_fields_are_never_seen() {
    for read in [
        ("HGET h a", "nil"),
        ("HMGET h a b", "[nil \"2\"]"),
        ("HGETALL h", "[\"b\" \"2\"]"),
        ("HKEYS h", "[\"b\"]"),
        ("HVALS h", "[\"2\"]"),
        ("HLEN h", ":1"),
        ("HEXISTS h a", ":0"),
        ("HSTRLEN h a", ":0"),
        ("HSCAN h 0", "[\"0\" [\"b\" \"2\"]]"),
        ("HRANDFIELD h 5", "[\"b\"]"),
        ("HSETNX h a 9", ":1"),
        ("HSET h a 9", ":1"),
        ("HINCRBY h a 5", ":5"),
        ("HDEL h a", ":0"),
        ("HTTL h FIELDS 2 a b", "[:-2 :-1]"),
        ("HPERSIST h FIELDS 1 a", "[:-2]"),
        ("HEXPIRE h 5 FIELDS 1 a", "[:-2]"),
        ("COPY h copy", ":1"),
        ("RENAME h other", "+OK"),
    ] {
        let mut server = TestServer::new();
        server.check("HSET h a 1 b 2", ":2");
        server.check("HPEXPIRE h 100 FIELDS 1 a", "[:1]");
        server.advance_ms(99);
        server.check("HEXISTS h a", ":1");
        server.advance_ms(1);
        server.check(read.0, read.1);
        for key in ["copy", "other"] {
            server.check(&format!("HEXISTS {key} a"), ":0");
        }
    }
}

#[test]
fn a_hash_whose_fields_have_all_expired_is_gone() {
    for (read, reply) in [
        ("EXISTS h", ":0"),
        ("HLEN h", ":0"),
        ("TYPE h", "+none"),
        ("SET h x NX", "+OK"),
        ("HSET h c 1", ":1"),
    ] {
        let mut server = TestServer::new();
        server.check("HSET h a 1 b 2", ":2");
        server.check("HPEXPIRE h 100 FIELDS 1 a", "[:1]");
        server.check("HPEXPIRE h 50 FIELDS 1 b", "[:1]");
        server.advance_ms(100);
        server.check(read, reply);
    }
}

#[test]
fn deadlines_go_where_the_hash_goes() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("HSET h a 1 b 2", ":2"),
        ("HEXPIRE h 10 FIELDS 1 a", "[:1]"),
        ("EXPIRE h 100", ":1"),
        ("COPY h copy", ":1"),
        ("RENAME h other", "+OK"),
        ("HTTL copy FIELDS 2 a b", "[:10 :-1]"),
        ("HTTL other FIELDS 2 a b", "[:10 :-1]"),
        ("TTL other", ":100"),
        ("HINCRBY other a 1", ":2"),
        ("HINCRBYFLOAT other a 0.5", "\"2.5\""),
        ("HTTL other FIELDS 1 a", "[:10]"),
        ("HSET other a 5", ":0"),
        ("HTTL other FIELDS 1 a", "[:-1]"),
        ("HDEL copy a", ":1"),
        ("HSET copy a 1", ":1"),
        ("HTTL copy FIELDS 1 a", "[:-1]"),
    ]);
}

#[test]
fn where_the_log_is_full_expired_fields_are_hidden_and_stay() {
    let mut server = TestServer::new();
    server.check("HSET h a 1 b 2", ":2");
    server.check("HPEXPIRE h 100 FIELDS 1 a", "[:1]");
    server.advance_ms(100);
    server
        .recorder
        .is_full
        .store(true, std::sync::atomic::Ordering::Relaxed);
    server.check("HGETALL h", "[\"b\" \"2\"]");
    server.check("HLEN h", ":1");
    server
        .recorder
        .is_full
        .store(false, std::sync::atomic::Ordering::Relaxed);
    server.check("HLEN h", ":1");
}

#[test]
fn many_fields_with_deadlines() {
    let mut server = TestServer::new();
    for number in 0..500 {
        server.check(&format!("HSET h f{number} {number}"), ":1");
        server.check(
            &format!("HPEXPIRE h {} FIELDS 1 f{number}", 1000 + number),
            "[:1]",
        );
    }
    server.advance_ms(1249);
    server.check("HLEN h", ":250");
    server.check("HPTTL h FIELDS 2 f249 f250", "[:-2 :1]");
    server.advance_ms(1000);
    server.check("EXISTS h", ":0");
}

#[test]
fn errors() {
    TestServer::new().check_all(&[
        (
            "HEXPIRE h 10 FIELDS 1",
            "-ERR wrong number of arguments for 'hexpire' command",
        ),
        (
            "HEXPIRE h x FIELDS 1 a",
            "-ERR value is not an integer or out of range",
        ),
        (
            "HEXPIRE h -1 FIELDS 1 a",
            "-ERR invalid expire time, must be >= 0",
        ),
        (
            "HEXPIRE h 70368744178 FIELDS 1 a",
            "-ERR invalid expire time in 'hexpire' command",
        ),
        (
            "HPEXPIRE h 70368744177664 FIELDS 1 a",
            "-ERR invalid expire time in 'hpexpire' command",
        ),
        ("HPEXPIREAT h 70368744177663 FIELDS 1 a", "[:-2]"),
        (
            "HEXPIRE h 10 FOO 1 a",
            "-ERR Mandatory argument FIELDS is missing or not at the right position",
        ),
        (
            "HEXPIRE h 10 NX FOO 1 a",
            "-ERR Mandatory argument FIELDS is missing or not at the right position",
        ),
        (
            "HEXPIRE h 10 FIELDS 0 a",
            "-ERR Parameter `numFields` should be greater than 0",
        ),
        (
            "HEXPIRE h 10 FIELDS 2 a",
            "-ERR The `numfields` parameter must match the number of arguments",
        ),
        (
            "HTTL h FIELDS x a",
            "-ERR Number of fields must be a positive integer",
        ),
        (
            "HTTL h FIELDS 2 a",
            "-ERR The `numfields` parameter must match the number of arguments",
        ),
        ("SET s x", "+OK"),
        ("HEXPIRE s 10 FIELDS 1 a", WRONG_TYPE),
        ("HTTL s FIELDS 1 a", WRONG_TYPE),
        ("HPERSIST s FIELDS 1 a", WRONG_TYPE),
    ]);
}
