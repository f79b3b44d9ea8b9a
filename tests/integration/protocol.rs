//! The protocol as clients see it: shapes of RESP2 and RESP3, inline requests, pipelines, values that come in pieces.

use crate::harness::{Server, wait_until};
use crate::wire::{Reply, encode};
use std::io::Write as _;
use std::time::Duration;

/// No keys are moved, and the figures are the server's own.
const OPTIONS: &str = "--maxmemory 256mb";

#[test]
fn replies_have_the_shapes_of_both_protocols() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    for line in [
        "HSET hash a 1",
        "SADD set m",
        "ZADD sorted 1.5 m",
        "SET text value",
    ] {
        client.line(line);
    }
    let array = |words: &[&str]| Reply::bulks(words);
    let resp2 = [
        ("GET nothing", Reply::Null),
        ("LPOP nothing 2", Reply::NullArray),
        ("HGETALL hash", array(&["a", "1"])),
        ("SMEMBERS set", array(&["m"])),
        ("ZSCORE sorted m", Reply::bulk("1.5")),
        ("ZRANGE sorted 0 -1 WITHSCORES", array(&["m", "1.5"])),
        ("HRANDFIELD hash 1 WITHVALUES", array(&["a", "1"])),
        (
            "CONFIG GET maxmemory-samples",
            array(&["maxmemory-samples", "5"]),
        ),
        ("INCRBYFLOAT float 0.5", Reply::bulk("0.5")),
        ("EXISTS text", Reply::Integer(1)),
    ];
    for (line, expected) in resp2 {
        assert_eq!(client.line(line), expected, "{line} in RESP2");
    }
    let hello = client.line("HELLO 3");
    assert!(matches!(hello, Reply::Map(_)), "{hello:?}");
    let scored = Reply::Array(vec![Reply::Array(vec![
        Reply::bulk("m"),
        Reply::Double("1.5".to_owned()),
    ])]);
    let resp3 = [
        ("GET nothing", Reply::Nothing),
        ("LPOP nothing 2", Reply::Nothing),
        (
            "HGETALL hash",
            Reply::Map(vec![Reply::bulk("a"), Reply::bulk("1")]),
        ),
        ("SMEMBERS set", Reply::Set(vec![Reply::bulk("m")])),
        ("ZSCORE sorted m", Reply::Double("1.5".to_owned())),
        ("ZRANGE sorted 0 -1 WITHSCORES", scored),
        (
            "HRANDFIELD hash 1 WITHVALUES",
            Reply::Array(vec![array(&["a", "1"])]),
        ),
        (
            "CONFIG GET maxmemory-samples",
            Reply::Map(vec![Reply::bulk("maxmemory-samples"), Reply::bulk("5")]),
        ),
        ("EXISTS text", Reply::Integer(1)),
    ];
    for (line, expected) in resp3 {
        assert_eq!(client.line(line), expected, "{line} in RESP3");
    }
    assert!(matches!(client.line("INFO server"), Reply::Verbatim(kind, _) if kind == "txt"));
    assert!(matches!(client.line("TIER STATS"), Reply::Map(_)));
}

#[test]
fn hello_says_who_answers() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    let reply = client.line("HELLO 2 SETNAME tester");
    let fields: Vec<String> = reply.items().iter().step_by(2).map(Reply::text).collect();
    assert_eq!(
        fields,
        [
            "server", "version", "proto", "id", "mode", "role", "modules"
        ]
    );
    assert_eq!(client.line("CLIENT GETNAME"), Reply::bulk("tester"));
    assert!(client.line("HELLO 4").error().starts_with("NOPROTO"));
    assert!(
        client
            .line("HELLO three")
            .error()
            .starts_with("ERR Protocol version is not an integer")
    );
    assert_eq!(
        client.line("PING"),
        Reply::Simple("PONG".to_owned()),
        "errors leave the connection as it was"
    );
}

#[test]
fn inline_requests_are_understood() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    let requests = b"SET  a  \"x y\\x41\\n\"\r\n\r\nGET a\nECHO 'it''s'\r\nGET a\r\n";
    client.send_bytes(requests).expect("sent");
    assert_eq!(client.read(), Reply::ok());
    assert_eq!(client.read(), Reply::bulk("x yA\n"));
    assert!(
        client.read().error().contains("unbalanced quotes"),
        "quotes have to end before the next word"
    );
    assert!(client.is_closed());
}

#[test]
fn a_pipeline_of_ten_thousand_commands_is_answered_in_order() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    let requests: Vec<Vec<String>> = (0..10_000)
        .map(|number| match number % 4 {
            0 => vec!["INCR".to_owned(), "counter".to_owned()],
            1 => vec![
                "SET".to_owned(),
                format!("key:{number}"),
                number.to_string(),
            ],
            2 => vec!["GET".to_owned(), format!("key:{}", number - 1)],
            _ => vec!["NOSUCHCOMMAND".to_owned()],
        })
        .collect();
    for (number, reply) in client.pipeline(&requests).into_iter().enumerate() {
        match number % 4 {
            0 => assert_eq!(reply, Reply::Integer(number as i64 / 4 + 1)),
            1 => assert_eq!(reply, Reply::ok()),
            2 => assert_eq!(reply, Reply::bulk((number - 1).to_string())),
            _ => assert!(
                reply
                    .error()
                    .starts_with("ERR unknown command 'NOSUCHCOMMAND'")
            ),
        }
    }
}

#[test]
fn requests_may_come_byte_by_byte() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    let mut bytes = encode(&["SET", "slow", "value"]);
    bytes.extend(encode(&["GET", "slow"]));
    for byte in bytes {
        client.send_bytes(&[byte]).expect("sent");
        std::thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(client.read(), Reply::ok());
    assert_eq!(client.read(), Reply::bulk("value"));
}

#[test]
fn client_reply_decides_what_is_answered() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    client
        .send_bytes(b"CLIENT REPLY OFF\r\nSET a 1\r\nPING\r\nCLIENT REPLY ON\r\n")
        .expect("sent");
    assert_eq!(client.read(), Reply::ok());
    client
        .send_bytes(b"CLIENT REPLY SKIP\r\nINCR a\r\nGET a\r\n")
        .expect("sent");
    assert_eq!(client.read(), Reply::bulk("2"));
    client
        .send_bytes(b"CLIENT REPLY SKIP\r\nDBSIZE\r\nTIER STATS\r\nPING\r\n")
        .expect("sent");
    assert!(
        matches!(client.read(), Reply::Array(_)),
        "only one reply is skipped"
    );
    assert_eq!(client.read(), Reply::Simple("PONG".to_owned()));
    // A job's reply, too, is nobody's business while replies are off.
    client
        .send_bytes(b"CLIENT REPLY OFF\r\nINFO\r\nSCAN 0\r\nCLIENT REPLY ON\r\n")
        .expect("sent");
    assert_eq!(client.read(), Reply::ok());
    client
        .send_bytes(b"CLIENT REPLY SKIP\r\nINFO\r\nPING\r\n")
        .expect("sent");
    assert_eq!(
        client.read(),
        Reply::Simple("PONG".to_owned()),
        "the skipped reply was a job's"
    );
}

#[test]
fn a_large_value_comes_and_goes_in_pieces() {
    const BYTES: usize = 64 << 20;
    let server = Server::start("--maxmemory 512mb");
    let mut client = server.client();
    let value: Vec<u8> = (0..BYTES)
        .map(|index| ((index * 2_654_435_761) >> 13) as u8)
        .collect();
    let header = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${BYTES}\r\n");
    client.send_bytes(header.as_bytes()).expect("sent");
    for piece in value.chunks(3_000_017) {
        client.send_bytes(piece).expect("sent");
    }
    client.send_bytes(b"\r\nSTRLEN large\r\n").expect("sent");
    assert_eq!(client.read(), Reply::ok());
    assert_eq!(client.read(), Reply::Integer(BYTES as i64));
    assert!(
        client.line("GET large").bytes() == value,
        "the value is the same"
    );
    assert_eq!(client.line("TIER DEMOTE large"), Reply::Integer(1));
    let piece = client.line("GETRANGE large 5000000 5000099");
    assert_eq!(piece.bytes(), &value[5_000_000..5_000_100]);
    assert_eq!(client.line("DEL large"), Reply::Integer(1));
}

#[test]
fn half_a_request_is_forgotten_with_its_connection() {
    let server = Server::start(OPTIONS);
    let request = encode(&["SET", "half", "value"]);
    for length in [1, 5, 14, request.len() - 1] {
        let mut client = server.client();
        client.send_bytes(&request[..length]).expect("sent");
        client.stream().flush().expect("flushed");
        drop(client);
    }
    let mut client = server.client();
    wait_until("the clients are gone", || {
        client.line("CLIENT LIST").text().lines().count() == 1
    });
    assert_eq!(client.line("EXISTS half"), Reply::Integer(0));
}

#[test]
fn no_acknowledged_write_is_lost_under_always() {
    let mut server = Server::start("--maxmemory 256mb --appendfsync always");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                for number in 0..100 {
                    assert_eq!(
                        client.line(&format!("RPUSH list:{writer} {number}")),
                        Reply::Integer(number + 1)
                    );
                }
            });
        }
    });
    server.kill_and_restart();
    let mut client = server.client();
    for writer in 0..4 {
        let expected = Reply::bulks((0..100).map(|number| number.to_string()));
        assert_eq!(client.line(&format!("LRANGE list:{writer} 0 -1")), expected);
    }
}

#[test]
fn a_kill_in_the_middle_loses_nothing_acknowledged() {
    for options in [
        "--appendfsync everysec",
        "--appendfsync no",
        "--appendfsync always",
    ] {
        let mut server = Server::start(&format!("--maxmemory 64mb {options}"));
        let (port, mut acknowledged) = (server.port(), 0);
        let writer = std::thread::spawn(move || {
            let mut client = crate::wire::Client::connect(port).expect("connects");
            for number in 1.. {
                let bytes = encode(&[
                    "RPUSH".to_owned(),
                    "list".to_owned(),
                    format!("{number}:{}", "x".repeat(200)),
                ]);
                if client.send_bytes(&bytes).is_err() || client.try_read().is_err() {
                    break;
                }
                acknowledged = number;
            }
            acknowledged
        });
        std::thread::sleep(Duration::from_millis(300));
        server.kill();
        let acknowledged = writer.join().expect("the writer ends");
        server.start_again();
        let found = server.client().line("LLEN list").integer();
        // One more may have been written whose reply was lost.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&found),
            "{options}: {found} of {acknowledged}"
        );
        assert!(acknowledged > 0);
    }
}
