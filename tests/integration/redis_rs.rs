//! redis-rs, the library of Rust's back ends, in RESP2 and RESP3, with plenty of memory and with most keys on disk.
//!
//! The scenarios of the other languages' libraries are in `tests/clients`.

use crate::harness::{Server, wait_until};
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{Client, Commands as _, Connection, Direction, Script};
use std::collections::BTreeMap;
use std::time::Duration;

/// Enough to push everything else out of 24 MB.
const FILLERS: usize = 30_000;
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A server with so much memory and a way to connect to it.
struct Stage {
    server: Server,
    is_tiny: bool,
    protocol: &'static str,
}

impl Stage {
    fn connect(&self) -> Connection {
        let url = format!(
            "redis://127.0.0.1:{}/?protocol={}",
            self.server.port(),
            self.protocol
        );
        let client = Client::open(url).expect("a URL");
        let connection = client.get_connection().expect("the library connects");
        connection
            .set_read_timeout(Some(REPLY_TIMEOUT))
            .expect("a time-out");
        connection
    }

    /// With little memory: moves all keys to disk.
    fn chill(&self) {
        if self.is_tiny {
            let mut connection = self.connect();
            let _: i64 = redis::cmd("TIER")
                .arg("DEMOTE")
                .arg("ALL")
                .query(&mut connection)
                .expect("all is moved");
        }
    }

    /// Writes more than fits into memory.
    fn fill(&self) {
        let mut connection = self.connect();
        for first in (0..FILLERS).step_by(500) {
            let mut pipeline = redis::pipe();
            for number in first..first + 500 {
                let value = noise(number);
                pipeline.set(format!("filler:{number}"), value).ignore();
            }
            let _: () = pipeline.query(&mut connection).expect("all fits somewhere");
        }
        let demotions = self.server.tier_statistics()["demotions"];
        assert!(
            demotions > FILLERS as i64 / 2,
            "only {demotions} keys were moved to disk"
        );
    }
}

/// 1 kB that LZ4 cannot make smaller (xorshift).
fn noise(number: usize) -> Vec<u8> {
    let mut state = number as u64 * 2 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..128).flat_map(|_| next()).collect()
}

/// Runs a scenario with both protocols, each with plenty of memory and with little.
fn with_every_stage(scenario: impl Fn(&mut Stage)) {
    for protocol in ["resp2", "resp3"] {
        for is_tiny in [false, true] {
            let options = if is_tiny {
                "--maxmemory 24mb"
            } else {
                "--maxmemory 256mb"
            };
            let server = Server::start(options);
            let mut stage = Stage {
                server,
                is_tiny,
                protocol,
            };
            if is_tiny {
                stage.fill();
            }
            scenario(&mut stage);
        }
    }
}

#[test]
fn a_cache_and_queues_survive_a_kill() {
    with_every_stage(|stage| {
        let mut connection = stage.connect();
        let mut pipeline = redis::pipe();
        for number in 0..300 {
            pipeline.set_ex(format!("page:{number}"), format!("body {number}"), 3600);
            pipeline.lpush("jobs", number);
        }
        let replies: Vec<redis::Value> = pipeline.query(&mut connection).expect("all is written");
        assert_eq!(replies.len(), 600);
        let profile = [("name", "Ada"), ("visits", "3")];
        let _: () = connection
            .hset_multiple("profile", &profile)
            .expect("a hash");
        let scores = [(1.5, "a"), (2.0, "b")];
        let _: usize = connection
            .zadd_multiple("board", &scores)
            .expect("a sorted set");
        stage.chill();
        stage.server.kill_and_restart();
        let mut connection = stage.connect();
        let pages: Vec<String> = {
            let names: Vec<String> = (0..300).map(|number| format!("page:{number}")).collect();
            connection.mget(names).expect("all are there")
        };
        assert!((0..300).all(|number| pages[number] == format!("body {number}")));
        let left: i64 = connection.ttl("page:7").expect("a deadline");
        assert!((3500..=3600).contains(&left), "{left}");
        for number in 0..300 {
            let job: i64 = connection
                .blmove("jobs", "done", Direction::Right, Direction::Left, 5.0)
                .expect("a job");
            assert_eq!(job, number);
        }
        let hash: BTreeMap<String, String> = connection.hgetall("profile").expect("a hash");
        assert_eq!(hash["visits"], "3");
        let top: Vec<(String, f64)> = connection
            .zrange_withscores("board", 0, -1)
            .expect("scores");
        assert_eq!(top, [("a".to_owned(), 1.5), ("b".to_owned(), 2.0)]);
        let mut found: Vec<String> = connection
            .scan_match("page:*")
            .expect("a scan")
            .collect::<Result<_, _>>()
            .expect("keys");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 300);
    });
}

#[test]
fn transactions_and_scripts_are_atomic() {
    with_every_stage(|stage| {
        let mut connection = stage.connect();
        let _: () = connection.set("balance", 100).expect("set");
        stage.chill();
        let mut attempts = 0;
        // The library tries again when a watched key was changed.
        let (balance,): (i64,) =
            redis::transaction(&mut connection, &["balance"], |connection, pipeline| {
                attempts += 1;
                let balance: i64 = connection.get("balance")?;
                if attempts == 1 {
                    let _: i64 = stage.connect().decr("balance", 1)?;
                }
                pipeline
                    .set("balance", balance - 10)
                    .ignore()
                    .get("balance")
                    .query(connection)
            })
            .expect("the second attempt");
        assert_eq!((balance, attempts), (89, 2));
        stage.chill();
        let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        let mut invocation = script.prepare_invoke();
        invocation.key("balance").arg(11);
        assert_eq!(invocation.invoke(&mut connection), Ok(100));
        let _: () = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query(&mut connection)
            .expect("flushed");
        // The library loads it again when it is told NOSCRIPT.
        assert_eq!(invocation.invoke(&mut connection), Ok(111));
    });
}

#[test]
fn messages_and_blocking_calls_arrive() {
    with_every_stage(|stage| {
        let (mut teller, mut listener) = (stage.connect(), stage.connect());
        let mut subscription = listener.as_pubsub();
        subscription.subscribe("news").expect("subscribed");
        subscription.psubscribe("sport.*").expect("subscribed");
        subscription
            .set_read_timeout(Some(REPLY_TIMEOUT))
            .expect("a time-out");
        assert_eq!(teller.publish("news", "one"), Ok(1));
        assert_eq!(teller.publish("sport.golf", "two"), Ok(1));
        for (channel, text) in [("news", "one"), ("sport.golf", "two")] {
            let message = subscription.get_message().expect("a message");
            assert_eq!(message.get_channel_name(), channel);
            assert_eq!(message.get_payload::<String>().expect("text"), text);
        }
        let mut waiting = stage.connect();
        let waiter =
            std::thread::spawn(move || waiting.blpop::<_, (String, String)>("inbox", 20.0));
        wait_until("it waits", || stage.server.info("blocked_clients") == "1");
        assert_eq!(teller.rpush("inbox", "letter"), Ok(1));
        let popped = waiter.join().expect("no panic").expect("a reply");
        assert_eq!(popped, ("inbox".to_owned(), "letter".to_owned()));
    });
}

#[test]
fn a_group_reads_a_stream_to_its_end() {
    with_every_stage(|stage| {
        let mut connection = stage.connect();
        let _: () = connection
            .xgroup_create_mkstream("events", "workers", "0")
            .expect("a group");
        for number in 0..100 {
            let _: String = connection
                .xadd("events", "*", &[("number", number)])
                .expect("an id");
        }
        stage.chill();
        stage.server.kill_and_restart();
        let mut connection = stage.connect();
        let options = StreamReadOptions::default()
            .group("workers", "one")
            .count(30)
            .block(1000);
        let mut seen = 0;
        while seen < 100 {
            let reply: StreamReadReply = connection
                .xread_options(&["events"], &[">"], &options)
                .expect("entries");
            for entry in &reply.keys[0].ids {
                assert_eq!(entry.get::<i64>("number"), Some(seen));
                assert_eq!(connection.xack("events", "workers", &[&entry.id]), Ok(1));
                seen += 1;
            }
        }
        assert_eq!(connection.xlen("events"), Ok(100));
    });
}
