//! Under `appendfsync always` no reply leaves before its record is durable, seen from the client's end of a real connection: while
//! no sync ends, nothing comes; when one does, everything.

use super::Server;
use super::start::{Running, start};
use crate::config::{AppendFsync, Settings};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How long a reply is waited for that must not come. A reply that leaves too early is there after a fraction of it.
const SILENCE: Duration = Duration::from_millis(300);

/// A server in this process, which ends with the test.
struct Serving {
    server: Arc<Server>,
    running: Option<Running>,
    port: u16,
    _directory: TempDir,
}

impl Serving {
    fn start(policy: AppendFsync) -> Serving {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let settings = Settings {
            port,
            bind: vec!["127.0.0.1".to_owned()],
            dir: directory.path().join("data"),
            threads: 1,
            appendonly: true,
            appendfsync: policy,
            ..Settings::default()
        };
        let running = start(settings).expect("the server starts");
        Serving {
            server: Arc::clone(running.server()),
            running: Some(running),
            port,
            _directory: directory,
        }
    }

    fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        stream
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.server.shutdown.send_replace(true);
        if let Some(running) = self.running.take() {
            running.wait().expect("an orderly end");
        }
    }
}

fn send(client: &mut TcpStream, lines: &str) {
    client.write_all(lines.as_bytes()).expect("it reads");
}

/// Reads just these bytes.
#[track_caller]
fn expect(client: &mut TcpStream, expected: &str) {
    client
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a time-out");
    let mut found = vec![0; expected.len()];
    client.read_exact(&mut found).expect("a reply");
    assert_eq!(String::from_utf8_lossy(&found), expected);
}

#[track_caller]
fn expect_silence_after(lines: &str, client: &mut TcpStream) {
    client.set_read_timeout(Some(SILENCE)).expect("a time-out");
    let read = client.read(&mut [0; 64]);
    let is_silent = read
        .as_ref()
        .is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(
        is_silent,
        "a reply to {lines:?} came before its record was durable: {read:?}"
    );
}

#[test]
fn no_reply_leaves_before_its_record_is_durable() {
    let cases = [
        ("SET a 1\r\n", "+OK\r\n"),
        (
            "GET a\r\nSET b 2\r\nGET b\r\n",
            "$1\r\n1\r\n+OK\r\n$1\r\n2\r\n",
        ),
        (
            "MULTI\r\nINCR n\r\nEXEC\r\n",
            "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n",
        ),
        ("EVAL \"return redis.call('incr', 'n')\" 0\r\n", ":2\r\n"),
        ("RPUSH l 2 1\r\n", ":2\r\n"),
        // Jobs, on other threads.
        ("SORT l BY x* STORE m\r\n", ":2\r\n"),
        ("EXEC\r\n", "*1\r\n:2\r\n"),
        ("DELPREFIX l SYNC\r\n", ":1\r\n"),
        ("SWAPDB 0 1\r\n", "+OK\r\n"),
        ("FLUSHALL\r\n", "+OK\r\n"),
    ];
    let serving = Serving::start(AppendFsync::Always);
    let log = serving.server.journaling.log().expect("there is a log");
    let (mut client, mut reader) = (serving.client(), serving.client());
    for (lines, replies) in cases {
        if lines.starts_with("EXEC") {
            send(&mut client, "MULTI\r\nSORT l BY x* STORE o\r\n");
            expect(&mut client, "+OK\r\n+QUEUED\r\n");
        }
        let held = log.hold_syncs();
        send(&mut client, lines);
        expect_silence_after(lines, &mut client);
        // Others go on, also with what was just written.
        send(&mut reader, "PING\r\nEXISTS none\r\n");
        expect(&mut reader, "+PONG\r\n:0\r\n");
        drop(held);
        expect(&mut client, replies);
    }
}

#[test]
fn a_client_that_is_served_waits_for_what_was_written_on_its_behalf() {
    let serving = Serving::start(AppendFsync::Always);
    let log = serving.server.journaling.log().expect("there is a log");
    let (mut waiting, mut writer) = (serving.client(), serving.client());
    send(&mut waiting, "BLPOP queue 0\r\n");
    while serving.server.blocked.count() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let held = log.hold_syncs();
    send(&mut writer, "RPUSH queue item\r\n");
    expect_silence_after("RPUSH", &mut writer);
    expect_silence_after("BLPOP", &mut waiting);
    drop(held);
    expect(&mut writer, ":1\r\n");
    expect(&mut waiting, "*2\r\n$5\r\nqueue\r\n$4\r\nitem\r\n");
}

/// What makes the two tests above mean something: it is the policy that the replies waited for.
#[test]
fn under_another_policy_nobody_waits() {
    let serving = Serving::start(AppendFsync::EverySecond);
    let log = serving.server.journaling.log().expect("there is a log");
    let held = log.hold_syncs();
    let mut client = serving.client();
    send(&mut client, "SET a 1\r\n");
    expect(&mut client, "+OK\r\n");
    drop(held);
}
