//! Streams on their way through the disk, the log and a snapshot, and clients that wait for their entries.

use crate::harness::{Server, wait_until};
use crate::wire::{Client, Reply};

/// All that can be asked about a stream and does not depend on the time.
fn state(client: &mut Client) -> Vec<Reply> {
    [
        "XINFO STREAM s FULL COUNT 0",
        "XINFO GROUPS s",
        "XPENDING s readers",
    ]
    .iter()
    .map(|line| client.line(line))
    .collect()
}

/// Makes a stream of several chunks with a group, pending and deleted entries.
fn fill(client: &mut Client) {
    for number in 1..=350 {
        client.line(&format!("XADD s {number}-1 number {number} text some-text"));
    }
    client.ok("XGROUP CREATE s readers 0");
    client.line("XREADGROUP GROUP readers ann COUNT 120 STREAMS s >");
    client.line("XREADGROUP GROUP readers bob COUNT 3 STREAMS s >");
    client.line("XACK s readers 1-1 2-1 121-1");
    client.line("XCLAIM s readers bob 0 7-1 8-1");
    client.line("XDEL s 9-1 200-1 350-1");
    client.line("XTRIM s MAXLEN ~ 240");
    client.ok("XSETID s 400-0");
}

#[test]
fn a_stream_is_the_same_after_the_disk_a_kill_and_a_snapshot() {
    let mut server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    fill(&mut client);
    let before = state(&mut client);
    client.line("TIER DEMOTE ALL");
    assert_eq!(state(&mut client), before, "from the disk");
    server.kill_and_restart();
    let mut client = server.client();
    assert_eq!(state(&mut client), before, "from the log");
    client.ok("SAVE");
    server.kill_and_restart();
    let mut client = server.client();
    assert_eq!(state(&mut client), before, "from a snapshot");
    let id = client.line("XADD s 400-* number 351");
    assert_eq!(id, Reply::bulk("400-1"), "the last ID is kept");
}

#[test]
fn readers_that_wait_get_what_is_added_or_learn_that_their_group_is_gone() {
    let server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    client.ok("XGROUP CREATE s readers $ MKSTREAM");
    let waiting = [
        "XREAD BLOCK 0 STREAMS s $",
        "XREADGROUP GROUP readers ann BLOCK 0 STREAMS s >",
        "XREADGROUP GROUP readers bob BLOCK 0 STREAMS s >",
    ];
    let readers: Vec<std::thread::JoinHandle<Reply>> = waiting
        .into_iter()
        .enumerate()
        .map(|(index, line)| {
            let mut reader = server.client();
            let reading = std::thread::spawn(move || reader.line(line));
            wait_until("the reader waits", || {
                server.info("blocked_clients") == (index + 1).to_string()
            });
            reading
        })
        .collect();
    client.line("XADD s 5-1 f v");
    wait_until("two of them have it", || {
        server.info("blocked_clients") == "1"
    });
    client.line("XGROUP DESTROY s readers");
    let replies: Vec<Reply> = readers
        .into_iter()
        .map(|reading| reading.join().expect("the reader ends"))
        .collect();
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0].items()[0].items()[0], Reply::bulk("s"));
    let refused = format!("{:?}", replies[2]);
    assert!(refused.contains("NOGROUP"), "{refused}");
}
