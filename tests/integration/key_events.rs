//! Keyspace notifications as subscribers get them, compared with `redis-server`.
//!
//! Both servers run the same lines with `notify-keyspace-events KEA`; a subscriber to all channels reads what each line
//! raised, up to a message of the test itself that marks its end. `n` and `m` are left to the unit tests of the commands:
//! the installed redis-server does not know `n`. Nor does it, being a 7.0, make the consumer of an XREADGROUP that finds nothing.

use crate::harness::{Reference, Server, wait_until};
use crate::wire::{Client, Reply};

/// Lines after which both servers must have published the same. A line `--` empties the database.
const LINES: &str = r#"
SET a 1
SET a 2 EX 100
SET a 2 PX 100000 GET
SET a 3 KEEPTTL
SET a 3 XX
SET a 3 NX
SET b 3 XX
SETNX a 1
SETNX b 1
SETEX a 100 x
PSETEX a 100000 x
GETSET a 1
GETSET fresh 1
GETEX a
GETEX a EX 100
GETEX a PERSIST
GETEX a PERSIST
GETEX a EXAT 1
GETEX a EX 100
GETDEL b
GETDEL b
MSET a 1 b 2 a 3
MSETNX a 1 x 2
MSETNX y 1 x 2
APPEND a 1
APPEND new 1
APPEND new ""
SETRANGE a 5 x
SETRANGE a 5 ""
SETRANGE gap 5 x
SETRANGE none 5 ""
INCR i
DECR i
INCRBY i 5
DECRBY i 5
INCRBYFLOAT i 1.5
INCR i
--
SET a 1
EXPIRE a 100
EXPIRE a 100 NX
EXPIRE a 50 GT
EXPIRE a 150 GT
EXPIRE a 50 LT
PEXPIRE a 100000
EXPIREAT a 9999999999
PEXPIREAT a 9999999999000
PERSIST a
PERSIST a
PERSIST none
EXPIRE none 1
EXPIRE a -1 GT
EXPIRE a -1
EXPIRE a -1
SET a 1
EXPIREAT a 1
SET a 1
PEXPIREAT a 1
SET a 1
SET b 2
DEL a none b
SET a 1
UNLINK a none
SET a 1
RENAME a b
SET a 1
RENAME a b
RENAME b b
RENAME none b
RENAMENX b c
SET b 1
RENAMENX b c
COPY b d
COPY b d
COPY b d REPLACE
COPY none d
COPY b d DB 3
MOVE b 3
SET b 1
MOVE b 3
MOVE none 3
TOUCH b
--
LPUSH l a b c
RPUSH l a b c
LPUSHX none a
LPUSHX l x
RPUSHX l x
LSET l 0 z
LSET l 0 z
LSET l 100 z
LINSERT l BEFORE a i
LINSERT l AFTER none i
LREM l 0 a
LREM l 0 a
LTRIM l 0 -1
LTRIM none 0 -1
LPOP l
RPOP l
LPOP l 0
RPOP l 2
LPOP l 100
LPOP l
RPUSH l a b
LTRIM l 5 9
RPUSH l a a
LREM l -5 a
RPUSH l a b
LMOVE l m LEFT RIGHT
RPOPLPUSH l m
RPOPLPUSH m m
LPOP m
LMOVE m m LEFT LEFT
LMOVE none m LEFT LEFT
LMPOP 2 none m RIGHT COUNT 5
LMPOP 2 none m RIGHT
--
SADD s a b c
SADD s a b
SREM s x
SREM s a
SREM s b c
SADD s a b
SMOVE s t a
SMOVE s t x
SMOVE s s b
SADD t b
SMOVE s t b
SPOP t 0
SPOP t 1
SPOP t
SPOP t
SADD s a b c
SPOP s 5
SADD s a b
SADD i 1 2 3
SINTERSTORE d s none
SUNIONSTORE d s none
SDIFFSTORE d s none
SINTERSTORE d s s
SINTERSTORE d s i
SDIFFSTORE d s s
SUNIONSTORE d s i
SINTERSTORE d none s
SDIFFSTORE d none s
SUNIONSTORE d none none
--
HSET h a 1 b 2
HSET h a 1
HMSET h a 1
HSETNX h a 1
HSETNX h c 1
HINCRBY h a 1
HINCRBY h a x
HINCRBYFLOAT h a 1.5
HDEL h none
HDEL h a
HDEL h b c
HDEL h b c
--
ZADD z 1 a 2 b 3 c
ZADD z 1 a
ZADD z CH 5 a
ZADD z 7 a
ZADD z XX 9 none
ZADD none XX 9 none
ZADD z NX 9 d
ZADD z GT 1 d
ZADD z LT 1 d
ZADD z INCR 1 a
ZADD z NX INCR 1 a
ZINCRBY z 1 a
ZINCRBY z 0 a
ZINCRBY fresh 1 a
ZREM z none
ZREM z a
ZREM z b c d
ZADD z 1 a 2 b 3 c 4 d 5 e 6 f
ZREMRANGEBYRANK z 0 0
ZREMRANGEBYRANK z 50 60
ZREMRANGEBYSCORE z 2 2
ZREMRANGEBYSCORE z 50 60
ZPOPMIN z
ZPOPMAX z
ZPOPMAX z 0
ZPOPMIN z 2
ZPOPMIN z
ZADD z 1 a
ZPOPMAX z 5
ZADD z 1 a
ZMPOP 2 none z MIN COUNT 9
ZADD z 1 a 1 b
ZREMRANGEBYLEX z [a [a
ZREMRANGEBYLEX z - +
ZADD z 1 a 1 b
ZRANGESTORE d z 0 -1
ZRANGESTORE d z 0 0
ZRANGESTORE d none 0 -1
ZRANGESTORE d none 0 -1
ZUNIONSTORE d 1 z
ZINTERSTORE d 2 z z
ZINTERSTORE d 2 z none
ZDIFFSTORE d 2 z none
ZDIFFSTORE d 2 z z
--
SET a 1
MULTI
SET a 2
LPUSH q 1
DEL a
EXEC
SELECT 5
SET elsewhere 1
DEL elsewhere
SELECT 0
FLUSHALL
SETBIT bits 7 1
SETBIT bits 7 1
BITOP NOT other bits
BITOP AND other none
BITFIELD bits SET u8 0 5
BITFIELD bits GET u8 0
PFADD p a b
PFADD p a
PFMERGE q p
GEOADD g 1 1 x
GEOADD g 1 1 x
GEOSEARCHSTORE g2 g FROMLONLAT 1 1 BYRADIUS 1 km
GEOSEARCHSTORE g2 none FROMLONLAT 1 1 BYRADIUS 1 km
XADD x 1-1 a b
XADD x MAXLEN 1 2-1 a b
XADD x NOMKSTREAM 3-1 a b
XADD none NOMKSTREAM 3-1 a b
XDEL x 1-1
XDEL x 2-1
XTRIM x MAXLEN 0
XTRIM x MAXLEN 0
XSETID x 9-9
XGROUP CREATE x g 0
XGROUP CREATECONSUMER x g c
XGROUP CREATECONSUMER x g c
XADD x 10-1 a b
XREADGROUP GROUP g other STREAMS x >
XCLAIM x g third 0 10-1
XAUTOCLAIM x g fourth 0 0
XACK x g 10-1
XGROUP DELCONSUMER x g c
XGROUP SETID x g 0
XGROUP DESTROY x g
RPUSH list 3 1 2
SORT list STORE sorted
SORT none STORE sorted
SORT none STORE sorted
"#;

const MARK: &str = "the-test-marks-the-end-of-a-line";

/// A server's client and its subscriber, and a connection for the test's own questions.
struct Side {
    client: Client,
    helper: Client,
    subscriber: Client,
}

impl Side {
    fn new(connect: impl Fn() -> Client) -> Side {
        let (mut client, mut subscriber) = (connect(), connect());
        client.ok("CONFIG SET notify-keyspace-events KEA");
        subscriber.line("PSUBSCRIBE __key*");
        subscriber.line(&format!("SUBSCRIBE {MARK}"));
        Side {
            client,
            helper: connect(),
            subscriber,
        }
    }

    /// Runs a line; its reply and the messages that it caused, as `channel message`.
    fn run(&mut self, line: &str) -> (Reply, Vec<String>) {
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| if word == "\"\"" { "" } else { word })
            .collect();
        let reply = self.client.call(&words);
        (reply, self.messages())
    }

    fn messages(&mut self) -> Vec<String> {
        self.helper.line(&format!("PUBLISH {MARK} end"));
        let mut messages = Vec::new();
        loop {
            let message = self.subscriber.read();
            match message.items() {
                [kind, _, channel, text] if kind.bytes() == b"pmessage" => {
                    messages.push(format!("{} {}", channel.text(), text.text()));
                }
                _ => return messages,
            }
        }
    }

    fn knows(&mut self, command: &str) -> bool {
        let reply = self.helper.call(&["COMMAND", "INFO", command]);
        matches!(reply.items(), [Reply::Array(row)] if !row.is_empty())
    }
}

#[test]
fn every_command_publishes_what_redis_publishes() {
    let server = Server::start("--save '' --appendonly no");
    let Some(reference) = Reference::start() else {
        return;
    };
    let mut larder = Side::new(|| server.client());
    let mut redis = Side::new(|| reference.client());
    let mut compared = 0;
    for line in LINES.lines().filter(|line| !line.is_empty()) {
        let line = if line == "--" { "FLUSHALL" } else { line };
        let command = line.split(' ').next().unwrap_or_default();
        if !larder.knows(command) || !redis.knows(command) {
            continue;
        }
        let (found, expected) = (larder.run(line), redis.run(line));
        assert_eq!(found.1, expected.1, "{line}");
        if !line.starts_with("SPOP") {
            assert_eq!(found.0, expected.0, "{line}");
        }
        compared += expected.1.len();
    }
    assert!(compared > 300, "{compared} messages were compared");
}

#[test]
fn keys_that_expire_or_are_evicted_are_told_of() {
    let server = Server::start("--save '' --appendonly no");
    let mut side = Side::new(|| server.client());
    side.run("SET hot 1 PX 30");
    let expired: Vec<String> = ["__keyspace@0__:hot expired", "__keyevent@0__:expired hot"]
        .map(str::to_owned)
        .to_vec();
    let mut messages = Vec::new();
    wait_until("the hot key expires by itself", || {
        messages.extend(side.messages());
        !messages.is_empty()
    });
    assert_eq!(messages, expired);

    side.client.ok("SET cold 1 PX 300");
    assert_eq!(side.client.line("TIER DEMOTE cold"), Reply::Integer(1));
    let mut messages = side.messages();
    messages.clear();
    wait_until("the cold key expires by itself", || {
        messages.extend(side.messages());
        !messages.is_empty()
    });
    let expired = ["__keyspace@0__:cold expired", "__keyevent@0__:expired cold"];
    assert_eq!(messages, expired);

    let server = Server::start(
        "--save '' --appendonly no --maxdisk 0 --maxmemory 24mb --maxmemory-policy allkeys-lru",
    );
    let mut side = Side::new(|| server.client());
    side.client.ok("CONFIG SET notify-keyspace-events Ee");
    let value = "x".repeat(10_000);
    let mut evicted = 0;
    for number in 0..10_000 {
        side.client
            .call(&["SET".to_owned(), format!("key:{number}"), value.clone()]);
        if number % 100 == 0 {
            let messages = side.messages();
            let prefix = "__keyevent@0__:evicted key:";
            assert!(
                messages.iter().all(|message| message.starts_with(prefix)),
                "{messages:?}"
            );
            evicted += messages.len();
        }
        if evicted > 0 {
            break;
        }
    }
    assert!(evicted > 0, "100 MB do not fit into 24");
}
