//! MIGRATE between servers: to another Larder, and to `redis-server` and back by what it can restore.

use crate::harness::{Reference, Server};
use crate::wire::{Client, Reply};

/// A key of each type.
fn fill(client: &mut Client) {
    for line in [
        "SET text value",
        "RPUSH list a b c",
        "SADD set 1 2 3",
        "HSET hash f v g w",
        "ZADD sorted 1.5 a 2 b",
        "XADD stream 5-1 f v",
    ] {
        client.line(line);
    }
}

const NAMES: [&str; 7] = ["text", "list", "nothing", "set", "hash", "sorted", "stream"];

fn content(client: &mut Client) -> Vec<Reply> {
    [
        "GET text",
        "LRANGE list 0 -1",
        "SINTERCARD 1 set",
        "HGET hash g",
        "ZRANGE sorted 0 -1 WITHSCORES",
        "XRANGE stream - +",
    ]
    .map(|line| client.line(line))
    .to_vec()
}

/// Moves all types there, some that are on disk, and looks at both servers.
fn move_all(port: u16, there: &mut Client) {
    let server = Server::start("");
    let mut here = server.client();
    fill(&mut here);
    let expected = content(&mut here);
    here.line("PEXPIRE text 100000");
    here.line("TIER DEMOTE list hash stream");
    there.ok("SELECT 3");
    here.ok(&format!("MIGRATE 127.0.0.1 {port} text 3 5000 COPY"));
    assert_eq!(here.line("DBSIZE").integer(), 6);
    assert!(there.line("PTTL text").integer() > 50_000);
    let port_text = port.to_string();
    let mut words = vec!["MIGRATE", "127.0.0.1", &port_text, "", "3", "5000", "KEYS"];
    words.extend(NAMES);
    let busy = here.call(&words);
    assert_eq!(
        busy.error(),
        "ERR Target instance replied with error: BUSYKEY Target key name already exists."
    );
    assert_eq!(here.line("DBSIZE").integer(), 1, "what arrived is gone");
    here.ok(&format!("MIGRATE 127.0.0.1 {port} text 3 5000 REPLACE"));
    assert_eq!(here.line("DBSIZE").integer(), 0);
    assert_eq!(content(there), expected);
    let none = here.line(&format!("MIGRATE 127.0.0.1 {port} text 3 5000"));
    assert_eq!(none, Reply::Simple("NOKEY".to_owned()));
}

#[test]
fn keys_move_to_another_larder() {
    let other = Server::start("");
    move_all(other.port(), &mut other.client());
}

#[test]
fn keys_move_to_redis() {
    let Some(reference) = Reference::start() else {
        return;
    };
    move_all(reference.port(), &mut reference.client());
}

#[test]
fn a_server_that_refuses_or_is_silent_gets_nothing() {
    let other = Server::start("--requirepass secret");
    let server = Server::start("");
    let mut client = server.client();
    client.ok("SET key value");
    let port = other.port();
    let refused = client.line(&format!("MIGRATE 127.0.0.1 {port} key 0 5000 AUTH wrong"));
    assert!(refused.error().contains("WRONGPASS"), "{refused:?}");
    let refused = client.line(&format!("MIGRATE 127.0.0.1 {port} key 0 5000"));
    assert!(refused.error().contains("NOAUTH"), "{refused:?}");
    // It accepts, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_port = silent.local_addr().expect("bound").port();
    let late = client.line(&format!("MIGRATE 127.0.0.1 {silent_port} key 0 50"));
    assert_eq!(
        late.error(),
        "IOERR error or timeout reading to target instance"
    );
    drop(silent);
    let closed = client.line(&format!("MIGRATE 127.0.0.1 {silent_port} key 0 50"));
    assert_eq!(
        closed.error(),
        "IOERR error or timeout connecting to the client"
    );
    assert_eq!(client.line("GET key"), Reply::bulk("value"));
    client.ok(&format!("MIGRATE 127.0.0.1 {port} key 0 5000 AUTH secret"));
    assert_eq!(client.line("GET key"), Reply::Null);
}
