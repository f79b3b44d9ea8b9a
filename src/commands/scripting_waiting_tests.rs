//! What scripts are refused, and what does not wait in them.

use super::scripting_tests::{check, eval};
use super::test_support::TestServer;

#[test]
fn a_script_that_writes_is_refused_while_replicas_are_asked_for() {
    let mut server = TestServer::new();
    server.settings.min_replicas_to_write = 1;
    server.settings.min_replicas_max_lag_seconds = 10;
    let refused = "-NOREPLICAS Not enough good replicas to write.";
    for (script, expected) in [
        ("return redis.call('set', 'k', 1)", refused),
        ("return redis.call('get', 'k')", "nil"),
        ("#!lua\nreturn redis.call('get', 'k')", refused),
        (
            "#!lua flags=no-writes\nreturn redis.call('get', 'k')",
            "nil",
        ),
    ] {
        let reply = eval(&mut server, script);
        assert!(reply.starts_with(expected), "{script}: {reply}");
    }
    server.settings.min_replicas_max_lag_seconds = 0;
    check(&mut server, &[("return redis.call('set', 'k', 1)", "+OK")]);
}

#[test]
fn time_stands_still_in_a_script() {
    let script = "local first = redis.call('time') local last for i = 1, 2000 do last = redis.call('time') end \
                  return first[1] == last[1] and first[2] == last[2]";
    check(&mut TestServer::new(), &[(script, ":1")]);
}

#[test]
fn what_would_wait_does_not_wait_in_a_script() {
    let mut server = TestServer::new();
    server.check("XGROUP CREATE s g $ MKSTREAM", "+OK");
    check(
        &mut server,
        &[
            ("return redis.call('waitaof', 0, 1, 0)", "[:0 :0]"),
            ("return server.call('waitaof', 0, 1, 0)", "[:0 :0]"),
            (
                "return server.call('xread', 'BLOCK', 0, 'STREAMS', 's', '$')",
                "nil",
            ),
            (
                "return server.call('xreadgroup', 'GROUP', 'g', 'c', 'BLOCK', 0, 'STREAMS', 's', '>')",
                "nil",
            ),
        ],
    );
    // By Redis's name it hears what Redis 7.2 says.
    let refused = eval(
        &mut server,
        "return redis.call('xread', 'BLOCK', 0, 'STREAMS', 's', '$')",
    );
    assert!(
        refused.starts_with("-ERR xread command is not allowed with BLOCK option from scripts"),
        "{refused}"
    );
}
