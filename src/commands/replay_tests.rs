//! Random histories: whatever clients send, in whatever order, replaying the effects gives the same state.
//!
//! The comparison itself is in [`super::test_support::TestServer`], after every command. Here come the histories: few keys, so
//! that types clash, keys expire and are overwritten, and effects of one record build on each other.

use super::test_support::TestServer;
use crate::keyspace::Deadline;
use proptest::prelude::*;

/// Commands; `K` stands for a key, `F` for a field or member, `N` for a small number (`N-1`: an ID), `T` for a text.
const TEMPLATES: &[&str] = &[
    "SET K T",
    "SET K N",
    "SET K T PX N",
    "SET K T KEEPTTL",
    "SET K T NX GET",
    "GETSET K T",
    "GETDEL K",
    "GETEX K PX N",
    "GETEX K PERSIST",
    "GETEX K PXAT 1",
    "MSET K T K T K N",
    "MSETNX K T K T",
    "APPEND K T",
    "SETRANGE K N T",
    "INCR K",
    "DECRBY K N",
    "INCRBYFLOAT K 0.1",
    "DEL K K",
    "PEXPIRE K N",
    "PEXPIRE K N GT",
    "PEXPIREAT K 1",
    "PERSIST K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K REPLACE",
    "COPY K K DB 1",
    "MOVE K 1",
    "HSET K F T",
    "HSET K F T F N F T",
    "HSETNX K F T",
    "HDEL K F F",
    "HINCRBY K F N",
    "HINCRBYFLOAT K F 1.5",
    "HPEXPIRE K N FIELDS 2 F F",
    "HPEXPIRE K N GT FIELDS 1 F",
    "HPEXPIREAT K 1 FIELDS 1 F",
    "HPERSIST K FIELDS 2 F F",
    "HSETEX K PX N FIELDS 2 F T F T",
    "HSETEX K KEEPTTL FIELDS 2 F T F T",
    "HGETEX K PX N FIELDS 1 F",
    "HGETDEL K FIELDS 2 F F",
    "HGETALL K",
    "LPUSH K T N F",
    "RPUSH K F N T",
    "LPOP K 2",
    "RPOP K",
    "LSET K 1 T",
    "LINSERT K BEFORE F T",
    "LREM K -1 F",
    "LTRIM K 1 3",
    "LMOVE K K LEFT RIGHT",
    "LMPOP 2 K K RIGHT COUNT N",
    "SADD K F N T",
    "SREM K F N",
    "SPOP K 2",
    "SMOVE K K F",
    "SUNIONSTORE K K K",
    "SDIFFSTORE K K K",
    "ZADD K N F 1.5 T",
    "ZADD K GT CH N F",
    "ZINCRBY K N F",
    "ZREM K F",
    "ZPOPMIN K",
    "ZMPOP 1 K MAX COUNT 2",
    "ZREMRANGEBYRANK K 1 1",
    "ZUNIONSTORE K 2 K K",
    "ZRANGESTORE K K 0 2",
    "XADD K * F T F N",
    "XADD K * F T",
    "XADD K MAXLEN ~ 2 * F T",
    "XADD K MAXLEN 3 N-1 F N",
    "XADD K MINID N * F N",
    "XDEL K N-1 N-1",
    "XTRIM K MAXLEN 2",
    "XSETID K 1800000000000 ENTRIESADDED N",
    "XGROUP CREATE K g 0 MKSTREAM",
    "XGROUP CREATE K g $ ENTRIESREAD N",
    "XGROUP SETID K g N",
    "XGROUP DESTROY K g",
    "XGROUP CREATECONSUMER K g F",
    "XGROUP DELCONSUMER K g F",
    "XREADGROUP GROUP g F COUNT 2 STREAMS K >",
    "XREADGROUP GROUP g F STREAMS K >",
    "XREADGROUP GROUP g F NOACK COUNT 1 STREAMS K >",
    "XREADGROUP GROUP g F BLOCK 0 STREAMS K K > >",
    "XREADGROUP GROUP g F COUNT 3 STREAMS K N",
    "XACK K g N-1 N-1",
    "XCLAIM K g F 0 N-1 N-1 FORCE LASTID N",
    "XAUTOCLAIM K g F N 0 COUNT 2",
    "XAUTOCLAIM K g F 0 - JUSTID",
    "SETBIT K N 1",
    "BITOP XOR K K K",
    "BITFIELD K INCRBY u5 N 3 SET i9 #2 N OVERFLOW FAIL INCRBY u3 N 7",
    "PFADD K F T N",
    "PFCOUNT K",
    "PFMERGE K K K",
    "PFDEBUG TODENSE K",
    "GEOADD K 13.3 38.1 F 15.0 N T",
    "GEORADIUS K 13 38 900 km STORE K",
    "GEOSEARCHSTORE K K FROMMEMBER F BYBOX 99 99 km STOREDIST",
    "SORT K ALPHA STORE K",
    "SORT K BY K* GET # GET K*->F STORE K",
    "SET K T IFEQ T",
    "DELIFEQ K T",
    "DELEX K IFNE N",
    "MSETEX 2 K T K N PX N",
    "DELPREFIX K SYNC",
    "GET K",
    "TOUCH K",
    "MULTI",
    "EXEC",
    "WATCH K",
    "SWAPDB 0 1",
    "FLUSHDB",
];

/// A template with numbers that choose what its letters stand for.
fn fill(template: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().cycle();
    let mut fill_word = |word: &str| {
        let choice = usize::from(*choices.next().unwrap_or(&0));
        match word {
            "K" => format!("key:{}", choice % 4),
            "F" => format!("field:{}", choice % 3),
            "N" => (choice % 40).to_string(),
            "N-1" => format!("{}-1", choice % 40),
            "T" => "t".repeat([1, 7, 60, 300, 5000][choice % 5]),
            other => other.to_owned(),
        }
    };
    template
        .split(' ')
        .map(&mut fill_word)
        .collect::<Vec<_>>()
        .join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn replay_gives_the_same_state(
        history in prop::collection::vec((0..TEMPLATES.len(), prop::array::uniform8(any::<u8>())), 1..120)
    ) {
        let mut server = TestServer::new();
        for (template, choices) in history {
            let line = fill(TEMPLATES[template], &choices);
            let in_transaction = server.session.transaction.is_some();
            // Jobs: a transaction that holds one is run by the connection, of which there is none here.
            let is_job = ["FLUSHDB", "SWAPDB", "DELPREFIX"]
                .iter()
                .any(|name| line.starts_with(name))
                || line.starts_with("SORT") && line.contains(" BY ");
            if in_transaction && is_job {
                continue;
            }
            server.run(&line);
            server.advance_ms(u64::from(choices[7] % 8));
        }
    }
}

#[test]
fn every_template_is_a_command() {
    for template in TEMPLATES {
        let reply = TestServer::new().run(&fill(template, &[1, 2, 3]));
        let is_wrong = ["syntax", "wrong number", "unknown", "not a", "not an"]
            .iter()
            .any(|word| reply.contains(word));
        assert!(!is_wrong, "{template}: {reply}");
    }
}

#[test]
fn a_command_that_panics_leaves_what_the_log_says() {
    let names: [&[u8]; 2] = [b"one", b"other"];
    for (is_script, expected) in [(false, ["\"changed\"", "nil"]), (true, ["\"1\"", "\"2\""])] {
        let mut server = TestServer::new();
        server.check("MSET one 1 other 2", "+OK");
        server.run_and_panic(&names, is_script, |keys| {
            keys.set_text(b"one", b"changed", Deadline::None)
                .expect("room");
            assert!(keys.delete(b"other").expect("room"));
        });
        server.check("GET one", expected[0]);
        server.check("GET other", expected[1]);
        server.check("APPEND one x", if is_script { ":2" } else { ":8" });
        server.check("SET other again", "+OK");
    }
}
