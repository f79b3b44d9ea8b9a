//! Clients that are too many, too slow, idle or unwanted.

use crate::harness::{Server, wait_until};
use crate::wire::{Client, Reply, encode};
use std::io::Write as _;
use std::time::Duration;

const OPTIONS: &str = "--maxmemory 256mb";

#[test]
fn further_clients_than_maxclients_are_refused_with_an_error() {
    let server = Server::start("--maxmemory 64mb --maxclients 4");
    let mut first = server.client();
    wait_until("the harness's client is gone", || {
        first.line("CLIENT LIST").text().lines().count() == 1
    });
    let mut others: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut others {
        assert_eq!(client.line("PING"), Reply::Simple("PONG".to_owned()));
    }
    let mut refused = server.client();
    assert_eq!(refused.read().error(), "ERR max number of clients reached");
    assert!(refused.is_closed());
    assert_eq!(server_info(&mut first, "rejected_connections"), "1");
    others.clear();
    wait_until("there is room again", || {
        let mut client = server.client();
        client.send_bytes(b"PING\r\n").is_ok() && matches!(client.try_read(), Ok(Reply::Simple(_)))
    });
    first.ok("CONFIG SET maxclients 2");
    assert_eq!(
        first.line("CONFIG GET maxclients"),
        Reply::bulks(["maxclients", "2"])
    );
}

fn server_info(client: &mut Client, field: &str) -> String {
    let text = client.line("INFO everything").text();
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found
        .unwrap_or_else(|| panic!("no {field}"))
        .trim()
        .to_owned()
}

/// Fields of a client's line that are numbers.
fn fields<const COUNT: usize>(client: &mut Client, id: i64, names: [&str; COUNT]) -> [u64; COUNT] {
    let line = client.line(&format!("CLIENT LIST ID {id}")).text();
    names.map(|name| {
        let mut words = line.split_whitespace();
        let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).expect(name)
    })
}

/// `tot-net-in`, `tot-net-out` and `tot-cmds` of a client.
fn totals(client: &mut Client, id: i64) -> [u64; 3] {
    fields(client, id, ["tot-net-in", "tot-net-out", "tot-cmds"])
}

#[test]
fn client_list_counts_bytes_and_commands_of_each_client() {
    let server = Server::start(OPTIONS);
    let (mut watcher, mut client) = (server.client(), server.client());
    let id = client.line("CLIENT ID").integer();
    // A reply may be read before it is counted.
    let [input, output, commands] = [
        encode(&["CLIENT", "ID"]).len() as u64,
        format!(":{id}\r\n").len() as u64,
        1,
    ];
    wait_until("its first command is counted", || {
        totals(&mut watcher, id) == [input, output, commands]
    });
    let blpop = encode(&["BLPOP", "list", "0"]);
    client.send_bytes(&blpop).expect("it is connected");
    let waits = [input + blpop.len() as u64, output, commands];
    wait_until("it waits", || totals(&mut watcher, id) == waits);
    watcher.line("RPUSH list a");
    assert_eq!(client.read(), Reply::bulks(["list", "a"]));
    let reply_bytes = "*2\r\n$4\r\nlist\r\n$1\r\na\r\n".len() as u64;
    let served = [waits[0], output + reply_bytes, commands + 1];
    wait_until("it was served", || totals(&mut watcher, id) == served);
    client.call(&["EVAL", "redis.call('ping') return redis.call('ping')", "0"]);
    wait_until("the script's commands count", || {
        totals(&mut watcher, id)[2] == served[2] + 3
    });
    client.ok("MULTI");
    client.line("PING");
    client.line("EXEC");
    wait_until("those of a transaction too", || {
        totals(&mut watcher, id)[2] == served[2] + 6
    });
}

#[test]
fn client_list_shows_what_each_client_holds() {
    const NAMES: [&str; 9] = [
        "qbuf",
        "qbuf-free",
        "argv-mem",
        "multi-mem",
        "rbs",
        "obl",
        "oll",
        "omem",
        "tot-mem",
    ];
    let server = Server::start(OPTIONS);
    let (mut watcher, mut client) = (server.client(), server.client());
    let id = client.line("CLIENT ID").integer();
    let mut idle = [0; NAMES.len()];
    wait_until("it holds nothing", || {
        idle = fields(&mut watcher, id, NAMES);
        idle[..8] == [0; 8]
    });
    let total = |held: u64| held + idle[8];
    assert!(idle[8] > 0);
    // Half a request.
    let request = encode(&["SET", "key", &"v".repeat(1000)]);
    let (half, rest) = request.split_at(500);
    client.send_bytes(half).expect("it is connected");
    wait_until("half a request is there", || {
        let [qbuf, free, .., all] = fields(&mut watcher, id, NAMES);
        qbuf == 500 && all == total(qbuf + free)
    });
    client.send_bytes(rest).expect("it is connected");
    assert_eq!(client.read(), Reply::ok());
    // The queue of a transaction.
    client.ok("MULTI");
    client.call(&["SET", "key", &"v".repeat(1000)]);
    client.line("GET key");
    wait_until("its queue is there", || {
        let [_, _, _, queued, .., all] = fields(&mut watcher, id, NAMES);
        queued == 1006 + 6 && all > total(queued)
    });
    client.line("EXEC");
    // The arguments of a command that waits.
    let key = "k".repeat(300);
    client.send(&["BLPOP", &key, "0"]);
    wait_until("it waits", || {
        let [_, _, arguments, queued, ..] = fields(&mut watcher, id, NAMES);
        arguments == 306 && queued == 0
    });
    watcher.call(&["RPUSH", &key, "item"]);
    assert_eq!(client.read(), Reply::bulks([key.as_str(), "item"]));
    // A reply that does not fit into the sockets' buffers.
    watcher.call(&["SET", "key", &"v".repeat(32 << 20)]);
    client.send_line("GET key");
    wait_until("there is a reply that it does not take", || {
        let [.., rbs, obl, oll, omem, all] = fields(&mut watcher, id, NAMES);
        obl > 0 && rbs >= obl && omem == rbs && oll == 0 && all == total(omem)
    });
    assert_eq!(client.read().bytes().len(), 32 << 20);
    wait_until("it holds nothing again", || {
        fields(&mut watcher, id, NAMES) == idle
    });
    let own = watcher.line("CLIENT LIST").text();
    assert!(own.contains(" argv-mem=10 "), "{own}");
}

#[test]
fn reset_forgets_the_name_and_keeps_the_library() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    client.ok("CLIENT SETNAME tester");
    client.ok("CLIENT SETINFO LIB-NAME library");
    assert_eq!(client.line("RESET"), Reply::Simple("RESET".to_owned()));
    let shown = client.line("CLIENT INFO").text();
    assert!(shown.contains(" name= "), "{shown}");
    assert!(shown.contains(" lib-name=library "), "{shown}");
}

#[test]
fn client_kill_ends_those_who_match() {
    let server = Server::start(OPTIONS);
    let (mut client, mut victim, mut bystander) =
        (server.client(), server.client(), server.client());
    let victim_id = victim.line("CLIENT ID").integer();
    bystander.line("PING");
    assert_eq!(
        client.line(&format!("CLIENT KILL ID {victim_id}")),
        Reply::Integer(1)
    );
    assert!(victim.is_closed());
    assert_eq!(
        client.line(&format!("CLIENT KILL ID {victim_id}")),
        Reply::Integer(0)
    );
    let address = bystander
        .stream()
        .local_addr()
        .expect("an address")
        .to_string();
    client.ok(&format!("CLIENT KILL {address}"));
    assert!(bystander.is_closed());
    assert!(
        client
            .line("CLIENT KILL 127.0.0.1:1")
            .error()
            .contains("No such client")
    );
    let own_id = client.line("CLIENT ID").integer();
    assert_eq!(
        client.line(&format!("CLIENT KILL ID {own_id} SKIPME no")),
        Reply::Integer(1)
    );
    assert!(client.is_closed(), "its own connection, after the reply");
}

#[test]
fn idle_clients_are_disconnected() {
    let server = Server::start("--maxmemory 64mb --timeout 1");
    let mut idle = server.client();
    let mut busy = server.client();
    idle.line("PING");
    wait_until("the idle client is disconnected", || {
        busy.line("CLIENT LIST").text().lines().count() == 1
    });
    assert!(idle.is_closed());
    assert_eq!(busy.line("PING"), Reply::Simple("PONG".to_owned()));
}

/// Sends GETs of a value and never reads, until the server stops taking them or ends the connection.
fn flood(client: &mut Client, key: &str) {
    let stream = client.stream();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a time-out");
    let requests = encode(&["GET", key]).repeat(1000);
    let mut stream = stream;
    for _ in 0..200 {
        if stream.write_all(&requests).is_err() {
            return;
        }
    }
}

#[test]
fn a_client_that_never_reads_is_disconnected_and_costs_little() {
    // More than the buffers of two sockets take.
    const VALUE_BYTES: usize = 32 << 20;
    let server = Server::start("--maxmemory 256mb --client-output-buffer-limit normal 1mb 0 0");
    let mut client = server.client();
    assert_eq!(
        client.call(&["SET", "large", &"x".repeat(VALUE_BYTES)]),
        Reply::ok()
    );
    client.ok("SET small xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    let before = server.resident_bytes();
    let mut greedy: Vec<Client> = (0..2).map(|_| server.client()).collect();
    for greedy in &mut greedy {
        flood(greedy, "large");
    }
    wait_until("those who do not take large replies are gone", || {
        client.line("CLIENT LIST").text().lines().count() == 1
    });
    // Small replies never reach the limit: while they are unsent, no further request is read.
    let mut slow: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for slow in &mut slow {
        flood(slow, "small");
    }
    let unsent: usize = server_info(&mut client, "mem_clients_normal")
        .parse()
        .expect("a number");
    assert!(
        unsent < 16 << 20,
        "{unsent} bytes of unsent replies and unread requests"
    );
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 64 << 20,
        "{grown} bytes more for clients that do not read"
    );
    assert_eq!(client.line("PING"), Reply::Simple("PONG".to_owned()));
}

#[test]
fn a_soft_limit_gives_time() {
    let server = Server::start("--maxmemory 256mb --client-output-buffer-limit normal 0 100kb 1");
    let mut client = server.client();
    assert_eq!(
        client.call(&["SET", "large", &"x".repeat(16 << 20)]),
        Reply::ok()
    );
    // A reply above the limit that is read at once arrives.
    assert_eq!(client.line("GET large").bytes().len(), 16 << 20);
    let mut greedy = server.client();
    greedy.send(&["GET", "large"]);
    wait_until("the client that does not read is gone", || {
        client.line("CLIENT LIST").text().lines().count() == 1
    });
}

#[test]
fn a_password_is_asked_for() {
    let server = Server::start("--maxmemory 64mb --requirepass secret");
    let mut client = server.client();
    assert_eq!(
        client.line("GET key").error(),
        "NOAUTH Authentication required."
    );
    assert!(client.line("AUTH wrong").error().starts_with("WRONGPASS"));
    client.ok("AUTH secret");
    client.ok("SET key value");
    let mut other = server.client();
    assert!(matches!(
        other.line("HELLO 3 AUTH default secret"),
        Reply::Map(_)
    ));
    assert_eq!(other.line("GET key"), Reply::bulk("value"));
    let mut unknown = server.client();
    unknown.send_bytes(b"*11\r\n").expect("sent");
    assert!(
        unknown
            .read()
            .error()
            .contains("unauthenticated multibulk length")
    );
    assert!(unknown.is_closed());
}

/// Found by the suites of Redis: the worker lost its read buffer, and refused everybody from then on.
#[test]
fn clients_that_go_while_they_are_answered_do_no_harm() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    client.call(&["SET", "key", &"x".repeat(2000)]);
    let requests = encode(&["GET", "key"]).repeat(10_000);
    for _ in 0..20 {
        // Closing it with unread replies resets the connection under the server's hands.
        let rude = server.client();
        let mut stream = rude.stream();
        stream
            .set_write_timeout(Some(Duration::from_millis(50)))
            .expect("a time-out");
        // The server may stop reading or be done before all is sent; both are fine.
        let _ = stream.write_all(&requests);
    }
    for number in 0..20 {
        let mut polite = server.client();
        assert_eq!(
            polite.call(&["ECHO", &number.to_string()]),
            Reply::bulk(number.to_string())
        );
    }
    assert_eq!(client.line("PING"), Reply::Simple("PONG".to_owned()));
}

#[test]
fn a_changed_slow_log_threshold_holds_for_the_next_command() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    client.ok("CONFIG SET slowlog-log-slower-than 0");
    client.ok("SET slow value");
    client.ok("CONFIG SET slowlog-log-slower-than 1000000000");
    let entries = client.line("SLOWLOG GET 10");
    let commands: Vec<&Reply> = entries
        .items()
        .iter()
        .map(|entry| &entry.items()[3])
        .collect();
    assert!(
        commands.contains(&&Reply::bulks(["SET", "slow", "value"])),
        "{commands:?}"
    );
}
