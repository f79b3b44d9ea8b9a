//! Requests that are wrong: each gets one clear error, and the server goes on.

use crate::harness::{Server, wait_until};
use crate::wire::{Client, Reply, encode};

const OPTIONS: &str = "--maxmemory 256mb";
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[track_caller]
fn assert_alive(server: &Server) {
    assert_eq!(
        server.client().line("PING"),
        Reply::Simple("PONG".to_owned())
    );
}

#[test]
fn every_command_checks_how_many_arguments_it_gets() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    let commands = client.line("COMMAND");
    assert!(
        commands.items().len() > 150,
        "{} commands",
        commands.items().len()
    );
    for command in commands.items() {
        let (name, arity) = (command.items()[0].text(), command.items()[1].integer());
        // One argument too few, or for those with a fixed number one too many. Ending the server is another test's.
        let too_few = arity.unsigned_abs() as usize - 1;
        let mut wrong = vec![];
        if too_few > 0 {
            wrong.push(too_few);
        }
        if arity > 0 {
            wrong.push(too_few + 2);
        }
        for count in wrong {
            let arguments: Vec<&str> = [&[name.as_str()][..], &vec!["x"; count - 1]].concat();
            let reply = client.call(&arguments);
            let expected = match name.as_str() {
                // It ends the transaction, whether there is one or not.
                "exec" => "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command".to_owned(),
                name => format!("ERR wrong number of arguments for '{name}' command"),
            };
            let is_container = reply
                == Reply::Error(format!(
                    "ERR unknown subcommand 'x'. Try {} HELP.",
                    name.to_uppercase()
                ));
            assert!(
                is_container || reply == Reply::Error(expected),
                "{arguments:?}: {reply:?}"
            );
        }
    }
    assert!(
        client
            .line("NOSUCHCOMMAND with arguments")
            .error()
            .starts_with(
                "ERR unknown command 'NOSUCHCOMMAND', with args beginning with: 'with' 'arguments'"
            )
    );
}

/// For each type, commands that want it.
const BY_TYPE: &[(&str, &[&str])] = &[
    (
        "string",
        &[
            "GET KEY",
            "APPEND KEY x",
            "INCR KEY",
            "INCRBYFLOAT KEY 1",
            "STRLEN KEY",
            "GETRANGE KEY 0 1",
            "SETRANGE KEY 0 x",
            "GETDEL KEY",
            "GETEX KEY",
            "GETSET KEY x",
            "SET KEY x GET",
            "GETBIT KEY 0",
            "SETBIT KEY 0 1",
            "BITCOUNT KEY",
        ],
    ),
    (
        "list",
        &[
            "LPUSH KEY x",
            "RPUSHX KEY x",
            "LPOP KEY",
            "RPOP KEY 2",
            "LLEN KEY",
            "LRANGE KEY 0 -1",
            "LINDEX KEY 0",
            "LSET KEY 0 x",
            "LINSERT KEY BEFORE x y",
            "LREM KEY 0 x",
            "LTRIM KEY 0 1",
            "LMOVE KEY other LEFT LEFT",
            "LPOS KEY x",
        ],
    ),
    (
        "set",
        &[
            "SADD KEY x",
            "SREM KEY x",
            "SCARD KEY",
            "SMEMBERS KEY",
            "SISMEMBER KEY x",
            "SPOP KEY",
            "SRANDMEMBER KEY",
            "SMOVE KEY other x",
            "SINTER KEY KEY",
            "SUNIONSTORE other KEY",
            "SSCAN KEY 0",
        ],
    ),
    (
        "hash",
        &[
            "HSET KEY a 1",
            "HGET KEY a",
            "HDEL KEY a",
            "HLEN KEY",
            "HGETALL KEY",
            "HINCRBY KEY a 1",
            "HINCRBYFLOAT KEY a 1",
            "HEXISTS KEY a",
            "HMGET KEY a b",
            "HSCAN KEY 0",
            "HRANDFIELD KEY",
        ],
    ),
    (
        "zset",
        &[
            "ZADD KEY 1 x",
            "ZINCRBY KEY 1 x",
            "ZREM KEY x",
            "ZCARD KEY",
            "ZSCORE KEY x",
            "ZRANGE KEY 0 -1",
            "ZRANK KEY x",
            "ZCOUNT KEY 0 1",
            "ZPOPMIN KEY",
            "ZREMRANGEBYRANK KEY 0 1",
            "ZRANGEBYSCORE KEY 0 1",
            "ZSCAN KEY 0",
        ],
    ),
];

const MAKE: &[(&str, &str)] = &[
    ("string", "SET a:string text"),
    ("list", "RPUSH a:list x"),
    ("set", "SADD a:set x"),
    ("hash", "HSET a:hash a 1"),
    ("zset", "ZADD a:zset 1 x"),
];

#[test]
fn commands_refuse_the_wrong_type_in_every_tier_and_change_nothing() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    for (_, make) in MAKE {
        client.line(make);
    }
    for is_cold in [false, true] {
        for (wanted, commands) in BY_TYPE {
            for (kind, _) in MAKE.iter().filter(|(kind, _)| kind != wanted) {
                for command in *commands {
                    let key = format!("a:{kind}");
                    if is_cold {
                        client.line(&format!("TIER DEMOTE {key}"));
                    }
                    let line = command.replace("KEY", &key);
                    // A server may lack a command, but not answer it wrongly.
                    let reply = client.line(&line);
                    let is_unknown = matches!(&reply, Reply::Error(text) if text.starts_with("ERR unknown command"));
                    assert!(
                        is_unknown || reply.error() == WRONG_TYPE,
                        "{line}: {reply:?}"
                    );
                }
            }
        }
    }
    assert_eq!(client.line("DBSIZE"), Reply::Integer(MAKE.len() as i64));
    for (kind, _) in MAKE {
        assert_eq!(
            client.line(&format!("TYPE a:{kind}")),
            Reply::Simple((*kind).to_owned())
        );
    }
}

#[test]
fn bytes_that_are_no_request_end_only_their_connection() {
    let server = Server::start("--maxmemory 256mb --proto-max-bulk-len 1mb");
    let long_line = [b"GET ".to_vec(), vec![b'x'; 70 << 10]].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"*abc\r\n".to_vec(), "invalid multibulk length"),
        (b"*2147483648\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\n:5\r\n".to_vec(), "expected '$', got ':'"),
        (b"*1\r\n$-5\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$many\r\n".to_vec(), "invalid bulk length"),
        (
            b"*2\r\n$3\r\nGET\r\n$1048577\r\n".to_vec(),
            "invalid bulk length",
        ),
        (
            b"SET a \"unbalanced\r\n".to_vec(),
            "unbalanced quotes in request",
        ),
        (long_line, "too big inline request"),
        (
            [b"*".to_vec(), vec![b'1'; 70 << 10]].concat(),
            "too big mbulk count string",
        ),
        (
            [b"*1\r\n$".to_vec(), vec![b'1'; 70 << 10]].concat(),
            "too big bulk count string",
        ),
    ];
    for (bytes, expected) in cases {
        let mut client = server.client();
        client.ok("SET before 1");
        client.send_bytes(&bytes).expect("sent");
        let reply = client.read();
        assert_eq!(
            reply.error(),
            format!("ERR Protocol error: {expected}"),
            "{}",
            bytes[..bytes.len().min(40)].escape_ascii()
        );
        assert!(client.is_closed(), "{expected}");
        assert_alive(&server);
    }
    let mut client = server.client();
    assert!(
        client
            .line("SETRANGE long 1048576 x")
            .error()
            .contains("exceeds maximum allowed size")
    );
}

#[test]
fn a_command_may_have_a_million_arguments() {
    const COUNT: usize = 1_000_000;
    let server = Server::start("--maxmemory 512mb");
    let mut client = server.client();
    let mut arguments = vec!["RPUSH".to_owned(), "list".to_owned()];
    arguments.extend((0..COUNT).map(|number| number.to_string()));
    assert_eq!(client.call(&arguments), Reply::Integer(COUNT as i64));
    assert_eq!(client.line("LINDEX list 765432"), Reply::bulk("765432"));
    arguments[0] = "SADD".to_owned();
    arguments[1] = "set".to_owned();
    assert_eq!(client.call(&arguments), Reply::Integer(COUNT as i64));
    let keys = [&["DEL".to_owned()][..], &arguments[2..200_000]].concat();
    assert_eq!(client.call(&keys), Reply::Integer(0));
    assert_eq!(client.line("TIER DEMOTE ALL"), Reply::Integer(2));
    assert_eq!(
        client.line("LRANGE list 999998 -1"),
        Reply::bulks(["999998", "999999"])
    );
    assert_eq!(client.line("SISMEMBER set 31415"), Reply::Integer(1));
}

/// Invariant 38: what a client asked for and does not read waits in its own requests, not in the server's memory.
#[test]
fn a_client_that_does_not_read_costs_one_batch_of_replies() {
    const VALUE_BYTES: usize = 64 * 1024;
    /// A batch stops at 256 KiB of replies; one more reply may be behind that, and what is being sent.
    const UNSENT_MAX: i64 = 512 * 1024;
    const REQUESTS: usize = 4_000;
    let server = Server::start("--maxmemory 256mb");
    let mut client = server.client();
    let value = "v".repeat(VALUE_BYTES);
    assert_eq!(client.call(&["SET", "key", &value]), Reply::ok());
    let mut lazy = server.client();
    assert_eq!(lazy.line("CLIENT SETNAME lazy"), Reply::ok());
    lazy.send_bytes(&encode(&["GET", "key"]).repeat(REQUESTS))
        .expect("requests are small enough for the socket's buffers");
    let mut unsent = 0;
    wait_until("replies that nobody reads", || {
        let list = client.line("CLIENT LIST").text();
        let line = list.lines().find(|line| line.contains("name=lazy"));
        let line = line.expect("it is connected");
        let field = line
            .split(' ')
            .find_map(|field| field.strip_prefix("omem="));
        let former = unsent;
        unsent = field
            .and_then(|bytes| bytes.parse().ok())
            .expect("a number");
        assert!(
            unsent <= UNSENT_MAX,
            "{unsent} bytes wait for a client that does not read"
        );
        unsent > 0 && unsent == former
    });
    for _ in 0..REQUESTS {
        assert_eq!(lazy.read(), Reply::bulk(&value));
    }
}

/// A generator of bytes that is the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn damaged_requests_never_stop_the_server() {
    let server = Server::start("--maxmemory 256mb --proto-max-bulk-len 1mb");
    let requests: Vec<Vec<u8>> = [
        "SET key value",
        "GET key",
        "MSET a 1 b 2",
        "HSET hash a 1 b 2",
        "ZADD sorted 1 a 2 b",
        "MULTI",
        "EXEC",
        "SCAN 0",
        "LRANGE list 0 -1",
        "INFO",
        "CLIENT LIST",
        "TIER WHERE key",
        "OBJECT ENCODING key",
        "CONFIG GET *",
        "COMMAND DOCS get",
    ]
    .iter()
    .map(|line| encode(&line.split(' ').collect::<Vec<_>>()))
    .collect();
    let mut random = Random(7);
    for _ in 0..400 {
        let mut bytes: Vec<u8> = (0..1 + random.below(6))
            .flat_map(|_| requests[random.below(requests.len())].clone())
            .collect();
        for _ in 0..random.below(4) {
            let place = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[place] ^= 1 << random.below(8),
                1 => bytes[place] = b"*$\r\n-0x"[random.below(7)],
                2 => drop(bytes.drain(place..)),
                _ => bytes.insert(place, b'9'),
            }
            if bytes.is_empty() {
                bytes.push(b'*');
            }
        }
        send_and_forget(&server, &bytes);
    }
    assert_alive(&server);
}

/// Sends bytes, then ends its side; reads what comes until the server ends the other.
fn send_and_forget(server: &Server, bytes: &[u8]) {
    let mut client: Client = server.client();
    if client.send_bytes(bytes).is_ok() {
        client
            .stream()
            .shutdown(std::net::Shutdown::Write)
            .expect("half closed");
        assert!(client.is_closed(), "{}", bytes.escape_ascii());
    }
}
