//! A server that nobody talks to sleeps, and wakes when there is something to do.

use crate::harness::{Server, wait_until};
use crate::wire::Reply;
use std::time::Duration;

/// How often the threads of the server have gone to sleep so far.
fn sleeps(server: &Server) -> u64 {
    let tasks = format!("/proc/{}/task", server.process_id());
    let tasks = std::fs::read_dir(tasks).expect("Linux tells");
    let of_task = |path: std::path::PathBuf| -> u64 {
        // A thread may have ended meanwhile.
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        let mut lines = status.lines();
        let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.map_or(0, |count| count.trim().parse().expect("a number"))
    };
    tasks
        .map(|task| of_task(task.expect("a task").path()))
        .sum()
}

#[test]
fn nobody_wakes_a_server_without_load() {
    const SECONDS: u64 = 4;
    /// The demoter, the expiry and the save rules look twice a second, the log's sync once.
    const SLEEPS_PER_SECOND_MAX: u64 = 14;
    let server = Server::start("--maxmemory 64mb");
    let mut client = server.client();
    for number in 0..100 {
        client.ok(&format!("SET key:{number} value EX 10000"));
    }
    assert_eq!(client.line("TIER DEMOTE key:1 key:2"), Reply::Integer(2));
    let mut found = 0;
    // What follows a start and a load takes a moment.
    wait_until("the server sleeps", || {
        let before = sleeps(&server);
        std::thread::sleep(Duration::from_secs(SECONDS));
        found = (sleeps(&server) - before) / SECONDS;
        found <= SLEEPS_PER_SECOND_MAX
    });
    println!("{found} sleeps a second");
}

#[test]
fn what_is_due_wakes_a_server_that_sleeps() {
    let server = Server::start("--maxmemory 64mb --notify-keyspace-events Ex");
    let (mut client, mut listener) = (server.client(), server.client());
    listener.line("SUBSCRIBE __keyevent@0__:expired");
    for (key, tier) in [("hot", ""), ("cold", "TIER DEMOTE cold")] {
        client.ok(&format!("SET {key} value PX 2500"));
        if !tier.is_empty() {
            assert_eq!(client.line(tier), Reply::Integer(1));
        }
        let expired = ["message", "__keyevent@0__:expired", key];
        assert_eq!(listener.read(), Reply::bulks(expired));
    }
    // Memory too: what is written after a sleep is demoted.
    std::thread::sleep(Duration::from_secs(2));
    let value = "v".repeat(100_000);
    for number in 0..1000 {
        let key = format!("key:{number}");
        assert_eq!(client.call(&["SET", &key, &value]), Reply::ok());
    }
    assert!(server.tier_statistics()["demotions"] > 0);
}
