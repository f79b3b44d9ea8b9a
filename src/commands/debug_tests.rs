//! DEBUG, as tables.

use crate::commands::test_support::TestServer;
use crate::config::DebugCommand;
use std::sync::atomic::Ordering;

fn server() -> TestServer {
    let mut server = TestServer::new();
    server.settings.debug_command = DebugCommand::Yes;
    server.settings.bulk_limit_bytes = 1 << 20;
    server
}

#[test]
fn debug_has_to_be_allowed() {
    let refused = TestServer::new().run("DEBUG PROTOCOL string");
    assert!(
        refused.starts_with("-ERR DEBUG command not allowed."),
        "{refused}"
    );
}

#[test]
fn populate_leaves_what_is_there() {
    let mut server = server();
    server.check_all(&[
        ("SET p:1 mine", "+OK"),
        ("DEBUG POPULATE 3 p", "+OK"),
        (
            "MGET p:0 p:1 p:2 p:3",
            "[\"value:0\" \"mine\" \"value:2\" nil]",
        ),
        ("DEBUG POPULATE 1 q 3", "+OK"),
        ("GET q:0", "\"val\""),
        ("DEBUG POPULATE 1 q 20", "+OK"),
        ("STRLEN q:0", ":3"),
        (
            "DEBUG POPULATE x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "DEBUG POPULATE -1",
            "-ERR value is out of range, must be positive",
        ),
    ]);
}

#[test]
fn replies_of_all_types_and_errors() {
    server().check_all(&[
        ("DEBUG PROTOCOL integer", ":12345"),
        ("DEBUG PROTOCOL true", ":1"),
        ("DEBUG PROTOCOL array", "[:0 :1 :2]"),
        (
            "DEBUG PROTOCOL push",
            "-ERR RESP2 is not supported by this command",
        ),
        ("DEBUG ERROR boo", "-boo"),
        ("DEBUG QUICKLIST-PACKED-THRESHOLD 1b", "+OK"),
        (
            "DEBUG QUICKLIST-PACKED-THRESHOLD 4gb",
            "-ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        ),
        ("DEBUG STRINGMATCH-LEN 10 *a", ":0"),
        ("DEBUG STRINGMATCH-LEN 10 *?", ":1"),
    ]);
}

#[test]
fn object_shows_a_key_that_has_expired_and_is_still_there() {
    let mut server = server();
    server.check("SET k value PX 10", "+OK");
    server.advance_ms(11);
    let shown = server.run("DEBUG OBJECT k");
    assert!(shown.contains("encoding:embstr"), "{shown}");
    server.check_all(&[("EXISTS k", ":0"), ("DEBUG OBJECT k", "-ERR no such key")]);
}

#[test]
fn object_shows_when_a_key_was_used() {
    let mut server = server();
    let used = |server: &mut TestServer| {
        let shown = server.run("DEBUG OBJECT k");
        let lru = shown.split_once("lru:").expect("a field").1;
        lru.split(' ').next().map(str::to_owned)
    };
    server.check("SET k value", "+OK");
    let created = used(&mut server);
    server.advance_ms(1100);
    assert_eq!(used(&mut server), created, "showing is no use");
    server.check("GET k", "\"value\"");
    assert_ne!(used(&mut server), created);
}

#[test]
fn what_is_reloaded_and_when_not() {
    const NOT_LOADED: &str = "-ERR Error trying to load the RDB dump, check server logs.";
    const NO_LOG: &str = "-ERR Error trying to load the AOF files, check server logs.";
    let cases = [
        (true, "DEBUG RELOAD", "+OK", Some(true)),
        (true, "DEBUG RELOAD NOFLUSH MERGE", "+OK", Some(true)),
        (true, "DEBUG RELOAD NOSAVE", "+OK", Some(false)),
        (
            true,
            "DEBUG RELOAD nosave noflush merge",
            "+OK",
            Some(false),
        ),
        (true, "DEBUG RELOAD NOSAVE NOFLUSH", NOT_LOADED, None),
        (true, "DEBUG LOADAOF", "+OK", Some(false)),
        (false, "DEBUG RELOAD", "+OK", Some(true)),
        (false, "DEBUG RELOAD NOSAVE", NOT_LOADED, Some(false)),
        (false, "DEBUG LOADAOF", NO_LOG, Some(false)),
        (
            true,
            "DEBUG RELOAD NOSAVE AGAIN",
            "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            None,
        ),
    ];
    for (has_log, line, expected, asked) in cases {
        let mut server = server();
        server.services.has_log.store(has_log, Ordering::Relaxed);
        server.check_all(&[("SET k v", "+OK"), (line, expected)]);
        let calls = asked.map(|takes_snapshot| format!("reload({takes_snapshot})"));
        assert_eq!(server.services.take_calls(), calls.as_slice(), "{line}");
    }
}

#[test]
fn switches_reach_the_server() {
    let mut server = server();
    server.check_all(&[
        ("DEBUG PAUSE-CRON 1", "+OK"),
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
        (
            "DEBUG PAUSE-CRON x",
            "-ERR value is not an integer or out of range",
        ),
    ]);
    let calls = server.services.take_calls();
    assert_eq!(calls, ["pause_cron(true)", "set_active_expire(false)"]);
}

#[test]
fn sleep_in_a_script_is_part_of_it() {
    let mut server = server();
    server.check_all(&[
        ("DEBUG SET-DISABLE-DENY-SCRIPTS 1", "+OK"),
        (
            r#"EVAL "redis.call('set', 'k', 'v', 'px', 1) redis.call('debug', 'sleep', 0.01) return redis.call('exists', 'k')" 0"#,
            ":1",
        ),
    ]);
}

#[test]
fn tables_have_figures_only_where_redis_has_tables() {
    let mut server = server();
    server.settings.encodings.set_max_intset_entries = 1;
    server.settings.encodings.set_max_listpack_entries = 1;
    server.check_all(&[
        ("SADD s 1 2 3", ":3"),
        ("DEBUG HTSTATS-KEY s", "\" number of elements: 3\\n\""),
        ("SET t 1", "+OK"),
        (
            "DEBUG HTSTATS-KEY t",
            "-ERR The value stored at the specified key is not represented using an hash table",
        ),
        ("DEBUG HTSTATS-KEY none", "-ERR no such key"),
        ("DEBUG HTSTATS 99", "-ERR Out of range database"),
    ]);
}
