//! Clients that wait for others: blocking commands, pauses, published messages, invalidations.

use crate::harness::{Server, wait_until};
use crate::wire::{Client, Reply, encode};

const OPTIONS: &str = "--maxmemory 64mb";

fn array(items: &[&str]) -> Reply {
    Reply::Array(items.iter().map(Reply::bulk).collect())
}

fn push(items: &[&str]) -> Reply {
    Reply::Push(items.iter().map(Reply::bulk).collect())
}

/// Sends a command and waits until its client is blocked.
fn block(server: &Server, client: &mut Client, line: &str) {
    let before: usize = server.info("blocked_clients").parse().expect("a number");
    client.send_line(line);
    wait_until(line, || {
        server.info("blocked_clients").parse() == Ok(before + 1)
    });
}

#[test]
fn clients_are_served_in_the_order_in_which_they_came_and_before_the_writer_goes_on() {
    let server = Server::start(OPTIONS);
    let mut writer = server.client();
    let mut waiting: Vec<Client> = (0..5).map(|_| server.client()).collect();
    for client in &mut waiting {
        block(&server, client, "BLPOP queue 0");
    }
    for (number, client) in waiting.iter_mut().enumerate() {
        // One pipeline: the item is gone when the second command runs.
        writer.send_line(&format!("RPUSH queue item{number}"));
        writer.send_line("LLEN queue");
        assert_eq!(writer.read(), Reply::Integer(1));
        assert_eq!(writer.read(), Reply::Integer(0));
        let item = format!("item{number}");
        assert_eq!(client.read(), array(&["queue", &item]));
    }
    assert_eq!(server.info("blocked_clients"), "0");
}

#[test]
fn who_waited_has_its_reply_before_the_writer_on_the_same_thread() {
    let server = Server::start(&format!("{OPTIONS} --threads 1"));
    let (mut writer, mut waiting) = (server.client(), server.client());
    for round in 0..50 {
        block(&server, &mut waiting, "BLPOP queue 0");
        let line: &[&str] = match round % 2 {
            0 => &["LPUSH", "queue", "item"],
            _ => &["EVAL", "return redis.call('lpush', 'queue', 'item')", "0"],
        };
        assert_eq!(writer.call(line), Reply::Integer(1));
        waiting.stream().set_nonblocking(true).expect("a socket");
        let there = waiting.stream().peek(&mut [0]).expect("it is there");
        assert_eq!(there, 1);
        waiting.stream().set_nonblocking(false).expect("a socket");
        assert_eq!(waiting.read(), array(&["queue", "item"]));
    }
}

#[test]
fn who_leaves_is_gone_before_it_hears_so() {
    let server = Server::start(&format!("{OPTIONS} --threads 2"));
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.line("HELLO 3");
    for _ in 0..200 {
        let mut target = server.client();
        let id = target.line("CLIENT ID").integer();
        reader.ok("CLIENT TRACKING off");
        reader.ok(&format!("CLIENT TRACKING on REDIRECT {id}"));
        target.line("SUBSCRIBE __redis__:invalidate");
        writer.ok("SET key value");
        assert_eq!(reader.line("GET key"), Reply::bulk("value"));
        target.ok("QUIT");
        writer.ok("SET key other");
        let broken = vec![Reply::bulk("tracking-redir-broken"), Reply::Integer(id)];
        assert_eq!(reader.read(), Reply::Push(broken));
        let subscribers = writer.line("PUBSUB NUMSUB __redis__:invalidate");
        assert_eq!(subscribers.items()[1], Reply::Integer(0));
    }
}

#[test]
fn who_is_killed_gets_nothing_any_more() {
    let server = Server::start(&format!("{OPTIONS} --threads 2"));
    let (mut killer, mut observer) = (server.client(), server.client());
    for round in 0..100 {
        let (mut waiting, mut subscriber) = (server.client(), server.client());
        let waiting_id = waiting.line("CLIENT ID").integer();
        block(&server, &mut waiting, "BLPOP queue 0");
        let subscriber_id = subscriber.line("CLIENT ID").integer();
        subscriber.line("SUBSCRIBE news");
        subscriber.line("PSUBSCRIBE n*");
        // One pipeline: nobody else runs between the lines.
        killer.send_line(&format!("CLIENT KILL ID {waiting_id}"));
        killer.send_line(&format!("LPUSH queue item{round}"));
        killer.send_line("LPOP queue");
        killer.send_line(&format!("CLIENT KILL ID {subscriber_id}"));
        killer.send_line("PUBLISH news message");
        killer.send_line("PUBSUB CHANNELS");
        assert_eq!(killer.read(), Reply::Integer(1));
        assert_eq!(killer.read(), Reply::Integer(1));
        assert_eq!(killer.read(), Reply::bulk(format!("item{round}")));
        assert_eq!(killer.read(), Reply::Integer(1));
        assert_eq!(killer.read(), Reply::Integer(0));
        assert_eq!(killer.read(), Reply::Array(Vec::new()));
        assert_eq!(observer.line("PUBSUB NUMPAT"), Reply::Integer(0));
        assert_eq!(server.info("blocked_clients"), "0");
    }
}

#[test]
fn a_transaction_that_ends_a_wait_and_a_writer_that_serves_it_do_not_wait_for_each_other() {
    let server = Server::start(&format!("{OPTIONS} --threads 2"));
    let (mut exec, mut writer, mut waiting) = (server.client(), server.client(), server.client());
    // On the other thread than the transaction's, whichever it is.
    let mut other_writer = server.client();
    let id = waiting.line("CLIENT ID").integer();
    for _ in 0..500 {
        block(&server, &mut waiting, "BLPOP queue 0");
        exec.send_line("MULTI");
        (0..20).for_each(|_| exec.send_line("LLEN queue"));
        exec.send_line(&format!("CLIENT UNBLOCK {id}"));
        exec.send_line("EXEC");
        writer.send_line("RPUSH queue item");
        other_writer.send_line("RPUSH queue item");
        (0..22).for_each(|_| drop(exec.read()));
        let unblocked = exec.read().items()[20].clone();
        writer.read();
        other_writer.read();
        let got = waiting.read();
        assert!(
            got == array(&["queue", "item"]) || unblocked == Reply::Integer(1),
            "{got:?}"
        );
        writer.line("DEL queue");
    }
}

#[test]
fn a_chain_of_moves_is_followed_to_its_end() {
    let server = Server::start(OPTIONS);
    let (mut first, mut second, mut last) = (server.client(), server.client(), server.client());
    block(&server, &mut first, "BLMOVE a b LEFT RIGHT 0");
    block(&server, &mut second, "BRPOPLPUSH b c 0");
    block(&server, &mut last, "BLMPOP 0 2 x c LEFT COUNT 5");
    let mut writer = server.client();
    assert_eq!(writer.line("LPUSH a item"), Reply::Integer(1));
    assert_eq!(first.read(), Reply::bulk("item"));
    assert_eq!(second.read(), Reply::bulk("item"));
    let expected = Reply::Array(vec![Reply::bulk("c"), array(&["item"])]);
    assert_eq!(last.read(), expected);
    assert_eq!(writer.line("EXISTS a b c"), Reply::Integer(0));
}

/// Everything that can make a list appear.
#[test]
fn every_way_to_make_a_key_wakes() {
    let server = Server::start(OPTIONS);
    let mut writer = server.client();
    let mut waiting = server.client();
    for lines in [
        &["LPUSH other item", "RENAME other key"][..],
        &["LPUSH other item", "COPY other key", "DEL other"],
        &["LPUSH other item", "LMOVE other key LEFT LEFT"],
        &["SELECT 1", "LPUSH key item", "MOVE key 0", "SELECT 0"],
        &["SELECT 1", "LPUSH key item", "SELECT 0", "SWAPDB 0 1"],
        &["MULTI", "LPUSH key item", "EXEC"],
        &["SET key text", "DEL key", "LPUSH key item"],
    ] {
        block(&server, &mut waiting, "BRPOP key 0");
        for line in lines {
            writer.line(line);
        }
        assert_eq!(waiting.read(), array(&["key", "item"]), "{lines:?}");
        writer.ok("FLUSHALL");
    }
}

#[test]
fn a_key_that_goes_in_the_same_transaction_wakes_nobody() {
    let server = Server::start(OPTIONS);
    let (mut waiting, mut writer) = (server.client(), server.client());
    block(&server, &mut waiting, "BZPOPMIN scores 0");
    for line in ["MULTI", "ZADD scores 1 a", "DEL scores", "EXEC"] {
        writer.line(line);
    }
    assert_eq!(server.info("blocked_clients"), "1");
    // Another type leaves it blocked, and so does an item that an earlier waiter took.
    writer.line("LPUSH scores item");
    assert_eq!(server.info("blocked_clients"), "1");
    writer.line("DEL scores");
    writer.line("ZADD scores 2 b 1 a");
    let expected = array(&["scores", "a", "1"]);
    assert_eq!(waiting.read(), expected);
}

#[test]
fn cold_keys_serve_and_are_served() {
    let server = Server::start(OPTIONS);
    let (mut waiting, mut writer) = (server.client(), server.client());
    writer.line("RPUSH target x y");
    writer.line("TIER DEMOTE target");
    block(&server, &mut waiting, "BLMOVE source target LEFT RIGHT 0");
    writer.line("RPUSH source z");
    assert_eq!(waiting.read(), Reply::bulk("z"));
    assert_eq!(writer.line("LRANGE target 0 -1"), array(&["x", "y", "z"]));
    writer.line("TIER DEMOTE target");
    assert_eq!(waiting.line("BLPOP target 0"), array(&["target", "x"]));
}

#[test]
fn timeouts_and_other_ends_of_waiting() {
    let server = Server::start(OPTIONS);
    let (mut waiting, mut other) = (server.client(), server.client());
    assert_eq!(waiting.line("BLPOP none 0.01"), Reply::NullArray);
    assert_eq!(waiting.line("BZMPOP 0.01 1 none MIN"), Reply::NullArray);
    assert_eq!(waiting.line("WAIT 1 10"), Reply::Integer(0));
    let Reply::Integer(id) = waiting.line("CLIENT ID") else {
        panic!("no id");
    };
    block(&server, &mut waiting, "BLPOP none 0");
    assert_eq!(
        other.line(&format!("CLIENT UNBLOCK {id}")),
        Reply::Integer(1)
    );
    assert_eq!(waiting.read(), Reply::NullArray);
    assert_eq!(
        other.line(&format!("CLIENT UNBLOCK {id}")),
        Reply::Integer(0)
    );
    block(&server, &mut waiting, "BLPOP none 0");
    other.line(&format!("CLIENT UNBLOCK {id} ERROR"));
    assert!(waiting.read().error().starts_with("UNBLOCKED"));
    // Whoever ends a wait finds it counted.
    for (reason, failed) in [("TIMEOUT", 0), ("ERROR", 1)] {
        other.ok("CONFIG RESETSTAT");
        block(&server, &mut waiting, "BLPOP none 0");
        other.line(&format!("CLIENT UNBLOCK {id} {reason}"));
        let statistics = other.line("INFO commandstats").text();
        let line = statistics
            .lines()
            .find(|line| line.starts_with("cmdstat_blpop:"));
        let line = line.unwrap_or_else(|| panic!("{reason}: {statistics}"));
        assert!(
            line.starts_with("cmdstat_blpop:calls=1,"),
            "{reason}: {line}"
        );
        assert!(
            line.trim().ends_with(&format!("failed_calls={failed}")),
            "{reason}: {line}"
        );
        let errors = other.line("INFO errorstats").text();
        assert_eq!(
            errors.contains("errorstat_UNBLOCKED:count=1"),
            failed == 1,
            "{errors}"
        );
        waiting.read();
    }
    // What a blocked client sends meanwhile is answered afterwards.
    block(&server, &mut waiting, "BLPOP late 0");
    waiting.send_line("PING");
    other.line("LPUSH late item");
    assert_eq!(waiting.read(), array(&["late", "item"]));
    assert_eq!(waiting.read(), Reply::Simple("PONG".into()));
    // One that goes takes nothing with it.
    block(&server, &mut waiting, "BLPOP late 0");
    drop(waiting);
    wait_until("the client is gone", || {
        server.info("blocked_clients") == "0"
    });
    other.line("LPUSH late item");
    assert_eq!(other.line("LLEN late"), Reply::Integer(1));
}

#[test]
fn nothing_handed_over_is_lost_or_doubled() {
    const ITEMS: usize = 2000;
    let server = Server::start(OPTIONS);
    let takers: Vec<_> = (0..6)
        .map(|_| {
            let mut client = server.client();
            std::thread::spawn(move || {
                let mut taken = Vec::new();
                loop {
                    match client.line("BLPOP queue 0") {
                        Reply::Array(items) if items[1] == Reply::bulk("end") => return taken,
                        Reply::Array(mut items) => taken.extend(items.pop()),
                        other => panic!("{other:?}"),
                    }
                }
            })
        })
        .collect();
    let givers: Vec<_> = (0..3)
        .map(|giver| {
            let mut client = server.client();
            std::thread::spawn(move || {
                for number in 0..ITEMS {
                    client.line(&format!("RPUSH queue {giver}:{number}"));
                }
            })
        })
        .collect();
    givers
        .into_iter()
        .for_each(|giver| giver.join().expect("gave"));
    let mut client = server.client();
    for _ in 0..6 {
        client.line("RPUSH queue end");
    }
    let mut taken: Vec<Reply> = takers
        .into_iter()
        .flat_map(|taker| taker.join().expect("took"))
        .collect();
    taken.sort();
    assert_eq!(taken.len(), 3 * ITEMS);
    taken.dedup();
    assert_eq!(taken.len(), 3 * ITEMS);
}

#[test]
fn a_pause_holds_writes_back() {
    let server = Server::start(OPTIONS);
    let (mut writer, mut other) = (server.client(), server.client());
    other.ok("CLIENT PAUSE 100000 WRITE");
    block(&server, &mut writer, "SET key value");
    assert_eq!(other.line("GET key"), Reply::Null);
    other.ok("CLIENT UNPAUSE");
    assert_eq!(writer.read(), Reply::ok());
    assert_eq!(other.line("GET key"), Reply::bulk("value"));
}

#[test]
fn messages_come_between_replies_never_inside_them() {
    let server = Server::start(OPTIONS);
    let (mut listener, mut publisher) = (server.client(), server.client());
    assert!(matches!(listener.line("HELLO 3"), Reply::Map(_)));
    listener.line("SUBSCRIBE news");
    let large = "x".repeat(200_000);
    publisher.ok(&format!("SET large {large}"));
    for number in 0..50 {
        listener.send_line("GET large");
        publisher.line(&format!("PUBLISH news {number}"));
    }
    let (mut replies, mut messages) = (0, 0);
    while replies < 50 || messages < 50 {
        match listener.read() {
            Reply::Bulk(bytes) => {
                assert_eq!(bytes.len(), large.len());
                replies += 1;
            }
            message => {
                assert_eq!(message, push(&["message", "news", &messages.to_string()]));
                messages += 1;
            }
        }
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_sent_away() {
    let server = Server::start("--client-output-buffer-limit pubsub 1mb 0 0");
    let (mut listener, mut publisher) = (server.client(), server.client());
    listener.line("SUBSCRIBE news");
    let message = "x".repeat(100_000);
    wait_until("the subscriber is gone", || {
        publisher.line(&format!("PUBLISH news {message}")) == Reply::Integer(0)
    });
}

#[test]
fn readers_hear_of_writes_expiry_and_flushes() {
    let server = Server::start(OPTIONS);
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.line("HELLO 3");
    reader.ok("CLIENT TRACKING ON");
    let told = |key: &str| Reply::Push(vec![Reply::bulk("invalidate"), array(&[key])]);
    writer.ok("SET key 1");
    writer.line("TIER DEMOTE ALL");
    assert_eq!(reader.line("GET key"), Reply::bulk("1"));
    writer.ok("SET key 2");
    assert_eq!(reader.read(), told("key"));
    writer.ok("SET key 3 PX 50");
    assert_eq!(reader.line("GET key"), Reply::bulk("3"));
    assert_eq!(reader.read(), told("key"), "it expires");
    reader.line("GET key");
    writer.ok("FLUSHALL");
    let expected = Reply::Push(vec![Reply::bulk("invalidate"), Reply::Nothing]);
    assert_eq!(reader.read(), expected);
}

/// In a transaction and in a script: what was written before it was read is known, what is written after it is news.
#[test]
fn who_reads_what_it_has_just_written_does_not_hear_of_it() {
    let server = Server::start(OPTIONS);
    let (mut client, mut other) = (server.client(), server.client());
    for client in [&mut client, &mut other] {
        client.line("HELLO 3");
        client.ok("CLIENT TRACKING ON");
    }
    let told = |key: &str| Reply::Push(vec![Reply::bulk("invalidate"), array(&[key])]);
    let pong = Reply::Simple("PONG".to_owned());
    for (key, queue, is_news) in [
        ("a", &["SET a 1", "GET a"][..], false),
        ("b", &["SET b 1", "GET b", "SET b 2"], true),
    ] {
        let script: String = queue
            .iter()
            .map(|line| format!("redis.call('{}') ", line.replace(' ', "', '")))
            .collect();
        for kind in ["transaction", "script"] {
            for client in [&mut client, &mut other] {
                client.line(&format!("GET {key}"));
            }
            if kind == "script" {
                client.call(&["EVAL", &script, "1", key]);
            } else {
                client.ok("MULTI");
                queue.iter().for_each(|line| drop(client.line(line)));
                client.line("EXEC");
            }
            // Both had read the key before.
            assert_eq!(client.read(), told(key), "{kind} {queue:?}");
            assert_eq!(other.read(), told(key), "{kind} {queue:?}");
            if is_news {
                assert_eq!(client.read(), told(key), "{kind} {queue:?}");
            }
            assert_eq!(client.line("PING"), pong, "{kind} {queue:?}");
            assert_eq!(other.line("PING"), pong, "{kind} {queue:?}");
        }
    }
}

/// What a transaction wrote may have expired before it ended: who waits for it goes on waiting.
#[test]
fn what_has_expired_within_its_transaction_serves_nobody() {
    let server = Server::start(OPTIONS);
    let (mut waiter, mut writer) = (server.client(), server.client());
    writer.ok("DEBUG SET-ACTIVE-EXPIRE 0");
    waiter
        .send_bytes(&encode(&["BLPOP", "list", "1"]))
        .expect("it is connected");
    wait_until("it waits", || server.info("blocked_clients") == "1");
    writer.ok("MULTI");
    for line in ["RPUSH list a", "PEXPIRE list 20", "DEBUG SLEEP 0.05"] {
        writer.line(line);
    }
    assert_eq!(writer.line("EXEC").items().len(), 3);
    assert_eq!(waiter.read(), Reply::NullArray);
}

#[test]
fn a_waiting_client_is_refused_what_may_not_be_written_any_more() {
    let server = Server::start(OPTIONS);
    let (mut reader, mut client) = (server.client(), server.client());
    client.ok("XGROUP CREATE s readers $ MKSTREAM");
    block(
        &server,
        &mut reader,
        "XREADGROUP GROUP readers ann BLOCK 0 STREAMS s >",
    );
    assert_eq!(client.line("PEXPIRE s 300"), Reply::Integer(1));
    // From here on nobody can write; but a key can still expire.
    client.ok("CONFIG SET min-replicas-to-write 1");
    let refusal = reader.read();
    assert_eq!(
        refusal.error(),
        "NOREPLICAS Not enough good replicas to write."
    );
    client.ok("CONFIG SET min-replicas-to-write 0");
    // Giving a key another name takes no memory, moving an item does.
    assert_eq!(client.line("RPUSH c item"), Reply::Integer(1));
    block(&server, &mut reader, "BLMOVE a b LEFT RIGHT 0");
    client.ok("CONFIG SET maxmemory 1");
    client.ok("RENAME c a");
    assert!(reader.read().error().starts_with("OOM "));
    client.ok("CONFIG SET maxmemory 64mb");
    assert_eq!(client.line("LRANGE a 0 -1"), array(&["item"]));
}
