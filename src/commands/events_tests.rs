//! Which keyspace events each command raises: names, keys and order, as Redis 7.2 has them.

use super::test_support::TestServer;
use crate::keyspace::EventClasses;

fn all_classes() -> EventClasses {
    EventClasses::ALL
        .and(EventClasses::NEW)
        .and(EventClasses::KEY_MISS)
}

/// Runs the lines one after the other and compares each one's events.
#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let mut server = TestServer::new();
    server.listens_to = all_classes();
    for (line, expected) in cases {
        server.run(line);
        assert_eq!(server.take_events(), *expected, "{line}");
    }
}

#[test]
fn nothing_is_kept_that_nobody_wants() {
    let mut server = TestServer::new();
    server.run("SET a 1");
    assert_eq!(server.take_events(), "");
    server.listens_to = EventClasses::GENERIC;
    server.run("SET a 1 EX 10");
    assert_eq!(server.take_events(), "expire a");
}

#[test]
fn strings() {
    check(&[
        ("SET a 1", "new a, set a"),
        ("SET a 2 EX 10", "set a, expire a"),
        ("SET a 2 KEEPTTL", "set a"),
        ("SET a 3 XX GET", "set a"),
        ("SET b 3 XX", ""),
        ("SET b 3 XX GET", "keymiss b"),
        ("SET a 3 NX", ""),
        ("SETNX a 3", ""),
        ("SETNX n 3", "new n, set n"),
        ("SETEX a 10 x", "set a, expire a"),
        ("PSETEX c 10000 x", "new c, set c, expire c"),
        ("GET none", "keymiss none"),
        ("GET a", ""),
        ("MGET a none a", "keymiss none"),
        ("GETSET a 1", "set a"),
        ("GETSET g 1", "keymiss g, new g, set g"),
        ("GETDEL g", "del g"),
        ("GETDEL g", "keymiss g"),
        ("GETEX a", ""),
        ("GETEX none", "keymiss none"),
        ("GETEX a EX 10", "expire a"),
        ("GETEX a PERSIST", "persist a"),
        ("GETEX a PERSIST", ""),
        ("GETEX a PXAT 1", "del a"),
        ("MSET a 1 b 2 a 3", "new a, set a, new b, set b, set a"),
        ("MSETNX x 1 a 2", ""),
        ("MSETNX x 1 y 2", "new x, set x, new y, set y"),
        ("APPEND p 1", "new p, append p"),
        ("APPEND p 1", "append p"),
        ("SETRANGE p 1 xx", "setrange p"),
        ("SETRANGE p 1 \"\"", ""),
        ("SETRANGE q 1 \"\"", ""),
        ("SETRANGE q 1 x", "new q, setrange q"),
        ("INCR i", "new i, incrby i"),
        ("DECRBY i 5", "incrby i"),
        ("INCRBYFLOAT i 1.5", "incrbyfloat i"),
        ("INCR i", ""),
        ("STRLEN none", "keymiss none"),
        ("LCS none a", "keymiss none"),
    ]);
}

#[test]
fn keys_as_such() {
    check(&[
        ("MSET a 1 b 2", "new a, set a, new b, set b"),
        ("DEL a none b", "del a, del b"),
        ("SET a 1", "new a, set a"),
        ("UNLINK a", "del a"),
        ("SET a 1", "new a, set a"),
        ("EXPIRE a 10", "expire a"),
        ("EXPIRE a 10 NX", ""),
        ("PERSIST a", "persist a"),
        ("PERSIST a", ""),
        ("EXPIRE none 10", ""),
        ("EXPIRE a 5 GT", ""),
        ("EXPIRE a -1 GT", ""),
        ("EXPIRE a -1 LT", "del a"),
        ("SET a 1", "new a, set a"),
        ("PEXPIREAT a 1", "del a"),
        ("SET a 1", "new a, set a"),
        ("RENAME a b", "new b, rename_from a, rename_to b"),
        ("SET a 1", "new a, set a"),
        ("RENAME a b", "new b, rename_from a, rename_to b"),
        ("RENAME b b", ""),
        ("RENAME none b", ""),
        ("RENAMENX b c", "new c, rename_from b, rename_to c"),
        ("COPY c d", "new d, copy_to d"),
        ("COPY c d", ""),
        ("COPY c d REPLACE", "new d, copy_to d"),
        ("COPY none d", "keymiss none"),
        ("COPY c d DB 2", "new d@2, copy_to d@2"),
        ("MOVE c 2", "new c@2, move_from c, move_to c@2"),
        ("MOVE d 2", ""),
        ("EXISTS none d none", "keymiss none, keymiss none"),
        ("TYPE none", "keymiss none"),
        ("TOUCH none d", "keymiss none"),
        ("TTL none", "keymiss none"),
        ("OBJECT ENCODING none", ""),
        ("OBJECT REFCOUNT none", ""),
        ("FLUSHALL", ""),
    ]);
}

#[test]
fn lists() {
    check(&[
        ("RPUSH l a b c a", "new l, rpush l"),
        ("LPUSH l x", "lpush l"),
        ("LPUSHX none x", ""),
        ("RPUSHX l y", "rpush l"),
        ("LSET l 0 z", "lset l"),
        ("LSET l 0 z", "lset l"),
        ("LINSERT l BEFORE a i", "linsert l"),
        ("LINSERT l BEFORE none i", ""),
        ("LREM l 0 a", "lrem l"),
        ("LREM l 0 a", ""),
        ("LTRIM l 0 -1", "ltrim l"),
        ("LTRIM none 0 -1", ""),
        ("LPOP l 0", ""),
        ("LPOP l", "lpop l"),
        ("RPOP l 2", "rpop l"),
        ("RPOP l 9", "rpop l, del l"),
        ("RPOP l", ""),
        ("RPUSH l a b", "new l, rpush l"),
        ("LTRIM l 5 9", "ltrim l, del l"),
        ("RPUSH l a a", "new l, rpush l"),
        ("LREM l -5 a", "lrem l, del l"),
        ("RPUSH l a b", "new l, rpush l"),
        ("LMOVE l m LEFT RIGHT", "new m, rpush m, lpop l"),
        ("RPOPLPUSH l m", "lpush m, rpop l, del l"),
        ("RPOPLPUSH m m", "lpush m, rpop m"),
        ("LPOP m", "lpop m"),
        ("LMOVE m m LEFT LEFT", "lpush m, lpop m"),
        ("LMOVE none m LEFT LEFT", ""),
        ("LMPOP 2 none m RIGHT", "rpop m, del m"),
        ("RPUSH l a b", "new l, rpush l"),
        ("BLPOP none l 1", "lpop l"),
        ("BRPOP l 1", "rpop l, del l"),
        ("RPUSH l a b", "new l, rpush l"),
        ("BLMOVE l m LEFT LEFT 1", "new m, lpush m, lpop l"),
        ("BRPOPLPUSH l m 1", "lpush m, rpop l, del l"),
        ("BLMPOP 1 1 m LEFT COUNT 9", "lpop m, del m"),
        ("LRANGE none 0 -1", "keymiss none"),
        ("LLEN none", "keymiss none"),
        ("LINDEX none 0", "keymiss none"),
        ("LPOS none x", "keymiss none"),
    ]);
}

#[test]
fn sets() {
    check(&[
        ("SADD s a b c", "new s, sadd s"),
        ("SADD s a b", ""),
        ("SREM s x", ""),
        ("SREM s a", "srem s"),
        ("SREM s b c", "srem s, del s"),
        ("SADD s a b", "new s, sadd s"),
        ("SMOVE s t a", "srem s, new t, sadd t"),
        ("SMOVE s t x", ""),
        ("SMOVE s s b", ""),
        ("SADD t b", "sadd t"),
        ("SMOVE s t b", "srem s, del s"),
        ("SPOP t 0", ""),
        ("SPOP t 1", "spop t"),
        ("SPOP t", "spop t, del t"),
        ("SPOP t", ""),
        ("SADD s a b c", "new s, sadd s"),
        ("SPOP s 5", "spop s, del s"),
        ("SADD s a b", "new s, sadd s"),
        ("SINTERSTORE d s none", "keymiss none"),
        ("SUNIONSTORE d s none", "keymiss none, new d, sunionstore d"),
        ("SDIFFSTORE d s none", "keymiss none, sdiffstore d"),
        ("SINTERSTORE d s s", "sinterstore d"),
        ("SDIFFSTORE d s s", "del d"),
        ("SUNION none s", "keymiss none"),
        ("SISMEMBER none a", "keymiss none"),
    ]);
}

#[test]
fn hashes() {
    check(&[
        ("HSET h a 1 b 2", "new h, hset h"),
        ("HSET h a 1", "hset h"),
        ("HMSET h a 1", "hset h"),
        ("HSETNX h a 1", ""),
        ("HSETNX h c 1", "hset h"),
        ("HINCRBY h a 1", "hincrby h"),
        ("HINCRBYFLOAT h a 1.5", "hincrbyfloat h"),
        ("HINCRBY h a x", ""),
        ("HDEL h none", ""),
        ("HDEL h a", "hdel h"),
        ("HDEL h b c", "hdel h, del h"),
        ("HGET h a", "keymiss h"),
        ("HGETALL h", "keymiss h"),
    ]);
}

#[test]
fn sorted_sets() {
    check(&[
        ("ZADD z 1 a 2 b 3 c", "new z, zadd z"),
        ("ZADD z 1 a", ""),
        ("ZADD z CH 5 a", "zadd z"),
        ("ZADD z XX 9 none", ""),
        ("ZADD none XX 9 none", ""),
        ("ZADD z NX 9 d", "zadd z"),
        ("ZADD z INCR 1 a", "zincr z"),
        ("ZINCRBY z 1 a", "zincr z"),
        ("ZINCRBY z 0 a", ""),
        ("ZREM z none", ""),
        ("ZREM z a", "zrem z"),
        ("ZREM z b c d", "zrem z, del z"),
        ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f", "new z, zadd z"),
        ("ZREMRANGEBYRANK z 0 0", "zremrangebyrank z"),
        ("ZREMRANGEBYRANK z 50 60", ""),
        ("ZREMRANGEBYSCORE z 2 2", "zremrangebyscore z"),
        ("ZREMRANGEBYLEX z [x [x", ""),
        ("ZPOPMIN z", "zpopmin z"),
        ("ZPOPMAX z 1", "zpopmax z"),
        ("ZPOPMAX z 0", ""),
        ("ZMPOP 2 none z MIN COUNT 9", "zpopmin z, del z"),
        ("ZADD z 1 a 1 b", "new z, zadd z"),
        ("ZREMRANGEBYLEX z [a [a", "zremrangebylex z"),
        ("ZREMRANGEBYSCORE z 0 9", "zremrangebyscore z, del z"),
        ("ZADD z 1 a 1 b", "new z, zadd z"),
        ("ZRANGESTORE d z 0 -1", "new d, zrangestore d"),
        ("ZRANGESTORE d none 0 -1", "keymiss none, del d"),
        ("ZUNIONSTORE d 1 z", "new d, zunionstore d"),
        ("ZINTERSTORE d 2 z z", "zinterstore d"),
        ("ZDIFFSTORE d 2 z z", "del d"),
        ("ZDIFFSTORE d 2 z none", "keymiss none, new d, zdiffstore d"),
        ("BZPOPMIN d 1", "zpopmin d"),
        ("BZPOPMAX none d 1", "zpopmax d, del d"),
        ("BZMPOP 1 1 z MAX COUNT 9", "zpopmax z, del z"),
        ("ZSCORE none a", "keymiss none"),
        ("ZRANGE none 0 -1", "keymiss none"),
    ]);
}

#[test]
fn expiry() {
    let mut server = TestServer::new();
    server.listens_to = all_classes();
    for (line, expected) in [
        ("GET k", "expired k, keymiss k"),
        ("SET k 1", "expired k, new k, set k"),
        ("APPEND k 1", "expired k, new k, append k"),
        ("DEL k", "expired k"),
        ("LPUSH k 1", "expired k, new k, lpush k"),
        (
            "RENAME other k",
            "expired k, new k, rename_from other, rename_to k",
        ),
    ] {
        server.run("FLUSHALL");
        server.run("SET other 1");
        server.run("SET k 1 PX 1000");
        server.advance_ms(1001);
        server.take_events();
        server.run(line);
        assert_eq!(server.take_events(), expected, "{line}");
    }
}

#[test]
fn a_transaction_raises_the_events_of_its_commands_in_order() {
    check(&[
        ("MULTI", ""),
        ("SET a 1", ""),
        ("GETDEL a", ""),
        ("GET a", ""),
        ("LPUSH b 1", ""),
        ("EXEC", "new a, set a, del a, keymiss a, new b, lpush b"),
    ]);
}

#[test]
fn streams() {
    check(&[
        ("XADD s 1-0 f v", "new s, xadd s"),
        ("XADD s MAXLEN 1 2-0 f v", "xadd s, xtrim s"),
        ("XADD s MAXLEN 5 3-0 f v", "xadd s"),
        ("XADD s 1-0 f v", ""),
        ("XTRIM s MAXLEN 2", ""),
        ("XDEL s 2-0 2-0", "xdel s"),
        ("XSETID s 9-0", "xsetid s"),
        (
            "XGROUP CREATE made g 0 MKSTREAM",
            "new made, xgroup-create made",
        ),
        ("XGROUP CREATE s g 9-0", "xgroup-create s"),
        ("XGROUP CREATE s g 0", ""),
        (
            "XREADGROUP GROUP g c STREAMS s >",
            "xgroup-createconsumer s",
        ),
        ("XREADGROUP GROUP g c STREAMS s >", ""),
        ("XGROUP SETID s g 0", "xgroup-setid s"),
        ("XREADGROUP GROUP g c STREAMS s >", ""),
        ("XCLAIM s g d 0 3-0", "xgroup-createconsumer s"),
        ("XACK s g 3-0", ""),
        ("XGROUP DELCONSUMER s g c", "xgroup-delconsumer s"),
        ("XGROUP DELCONSUMER s g c", ""),
        ("XGROUP DESTROY s g", "xgroup-destroy s"),
        ("XTRIM s MAXLEN 0", "xtrim s"),
        ("DEL s", "del s"),
    ]);
}
