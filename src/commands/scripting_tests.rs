//! Scripts: conversions, sandbox, libraries, flags; and that a run which is rolled back and run again leaves what one run leaves.

use super::test_replies::render;
use super::test_support::TestServer;
use crate::resp::Protocol;
use proptest::prelude::*;

pub fn eval(server: &mut TestServer, script: &str) -> String {
    eval_with(server, script, &[], &[])
}

fn eval_with(server: &mut TestServer, script: &str, keys: &[&str], arguments: &[&str]) -> String {
    let count = keys.len().to_string();
    let mut line: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), count.as_bytes()];
    line.extend(keys.iter().chain(arguments).map(|text| text.as_bytes()));
    render(&server.run_arguments(&line))
}

/// Evaluates scripts one after the other and compares the replies.
#[track_caller]
pub fn check(server: &mut TestServer, cases: &[(&str, &str)]) {
    for (script, expected) in cases {
        assert_eq!(eval(server, script), *expected, "{script}");
    }
}

/// The start of the reply, without what follows the message: digest, source and line.
#[track_caller]
pub fn check_errors(server: &mut TestServer, cases: &[(&str, &str)]) {
    for (script, expected) in cases {
        let reply = eval(server, script);
        let message = reply.split(" script: ").next().unwrap_or_default();
        assert_eq!(message, *expected, "{script}");
    }
}

#[test]
fn values_become_replies() {
    let cases = [
        ("return 3.99", ":3", ":3"),
        ("return -3.99", ":-3", ":-3"),
        ("return 'a\\0b'", r#""a\x00b""#, r#""a\x00b""#),
        ("return true", ":1", ":1"),
        ("return false", "nil", "null"),
        ("return nil", "nil", "null"),
        ("return {}", "[]", "[]"),
        (
            "return {1, 'a', {2}, nil, 5}",
            r#"[:1 "a" [:2]]"#,
            r#"[:1 "a" [:2]]"#,
        ),
        ("return {ok = 'fine'}", "+fine", "+fine"),
        ("return {err = 'MY error'}", "-MY error", "-MY error"),
        ("return {double = 1.5}", r#""1.5""#, ",1.5"),
        ("return {big_number = '123'}", r#""123""#, "(123"),
        ("return {map = {a = 1}}", r#"["a" :1]"#, r#"{"a" :1}"#),
        ("return {set = {a = true}}", r#"["a"]"#, r#"~["a"]"#),
        (
            "return {verbatim_string = {format = 'txt', string = 'a'}}",
            r#""a""#,
            r#"=txt "a""#,
        ),
        ("redis.setresp(3) return true", ":1", "#t"),
        ("redis.setresp(3) return false", ":0", "#f"),
        ("return redis.error_reply('no')", "-ERR no", "-ERR no"),
        ("return redis.error_reply('-A no')", "-A no", "-A no"),
        ("return redis.error_reply('A no')", "-A no", "-A no"),
        ("return redis.status_reply('x')", "+x", "+x"),
    ];
    for (script, resp2, resp3) in cases {
        assert_eq!(eval(&mut TestServer::new(), script), resp2, "{script}");
        assert_eq!(eval(&mut TestServer::resp3(), script), resp3, "{script}");
    }
}

#[test]
fn replies_become_values() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("SET text abc", "+OK"),
        ("HSET hash f v", ":1"),
        ("SADD set m", ":1"),
    ]);
    server.check("ZADD zset 1.5 m", ":1");
    check(
        &mut server,
        &[
            ("return redis.call('set', 'k', 'v').ok", r#""OK""#),
            ("return type(redis.call('incr', 'n'))", r#""number""#),
            ("return redis.call('get', 'absent') == false", ":1"),
            ("return redis.call('get', 'text')", r#""abc""#),
            ("return redis.call('hgetall', 'hash')", r#"["f" "v"]"#),
            (
                "redis.setresp(3) return redis.call('hgetall', 'hash').map.f",
                r#""v""#,
            ),
            (
                "redis.setresp(3) return redis.call('smembers', 'set').set.m",
                ":1",
            ),
            (
                "redis.setresp(3) return redis.call('zscore', 'zset', 'm').double * 2",
                ":3",
            ),
            (
                "redis.setresp(3) return redis.call('get', 'absent') == nil",
                ":1",
            ),
            (
                "return redis.pcall('incr', 'text').err",
                r#""ERR value is not an integer or out of range""#,
            ),
            (
                "redis.call('set', 'n', 12345678901234) return redis.call('get', 'n')",
                r#""12345678901234""#,
            ),
            (
                "redis.call('set', 'n', 0.1) return redis.call('get', 'n')",
                r#""0.1""#,
            ),
        ],
    );
}

#[test]
fn commands_take_and_give_as_much_as_lua_has_room_for() {
    let mut server = TestServer::new();
    check(
        &mut server,
        &[
            (
                "local t = {'rpush', 'list'} for n = 1, 7000 do t[#t + 1] = n end return redis.call(unpack(t))",
                ":7000",
            ),
            (
                "local t = redis.call('lrange', 'list', 0, -1) return {#t, t[1], t[7000]}",
                r#"[:7000 "1" "7000"]"#,
            ),
            (
                "local t = {'lpos', 'list', 7000.5, 1e15, 12, 'x'} for n = 1, 7980 do t[#t + 1] = n / 2 end \
                 return redis.pcall(unpack(t)).err",
                r#""ERR syntax error""#,
            ),
            (
                "redis.setresp(3) local t = {'command', 'docs'} for n = 1, 7980 do t[#t + 1] = 'set' end \
                 return redis.call(unpack(t)).map.set.map.group",
                r#""string""#,
            ),
            (
                "local t = {'zadd', 'zset'} for n = 1, 20 do t[#t + 1] = n / 8 t[#t + 1] = 'm' .. n end \
                 return {redis.call(unpack(t)), redis.call('zscore', 'zset', 'm9')}",
                r#"[:20 "1.125"]"#,
            ),
            (
                "return coroutine.wrap(function(...) return redis.call(...) end)('llen', 'list')",
                ":7000",
            ),
        ],
    );
}

#[test]
fn keys_and_arguments_are_tables() {
    let mut server = TestServer::new();
    let script = "return {KEYS[1], KEYS[2], ARGV[1], #KEYS, #ARGV}";
    assert_eq!(
        eval_with(&mut server, script, &["a", "b"], &["x"]),
        r#"["a" "b" "x" :2 :1]"#
    );
    server.check(
        "EVAL 'return 1' -1",
        "-ERR Number of keys can't be negative",
    );
    server.check(
        "EVAL 'return 1' 2 a",
        "-ERR Number of keys can't be greater than number of args",
    );
    server.check(
        "EVAL 'return 1' x",
        "-ERR value is not an integer or out of range",
    );
}

#[test]
fn errors_say_what_and_where() {
    let mut server = TestServer::new();
    server.check("SET text abc", "+OK");
    let digest = super::script::store::show_digest(&super::script::store::ScriptStore::digest(
        b"return redis.call('incr', 'text')",
    ));
    assert_eq!(
        eval(&mut server, "return redis.call('incr', 'text')"),
        format!(
            "-ERR value is not an integer or out of range script: {digest}, on @user_script:1."
        )
    );
    check_errors(
        &mut server,
        &[
            ("error('boom')", "-ERR user_script:1: boom"),
            ("\n\nerror({err = 'MINE boom'})", "-MINE boom"),
            (
                "return x",
                "-ERR user_script:1: Script attempted to access nonexistent global variable 'x'",
            ),
            (
                "return print('a')",
                "-ERR user_script:1: Script attempted to access nonexistent global variable 'print'",
            ),
            (
                "x = 1",
                "-ERR user_script:1: Attempt to modify a readonly table",
            ),
            (
                "redis.call = 1",
                "-ERR user_script:1: Attempt to modify a readonly table",
            ),
            (
                "rawset(_G, 'x', 1)",
                "-ERR user_script:1: Attempt to modify a readonly table",
            ),
            (
                "setmetatable(_G, {})",
                "-ERR user_script:1: Attempt to modify a readonly table",
            ),
            (
                "getmetatable(_G).__index = nil",
                "-ERR user_script:1: Attempt to modify a readonly table",
            ),
            (
                "getmetatable('').__index = nil",
                "-ERR user_script:1: Attempt to modify a readonly table",
            ),
            (
                "for k in pairs(cjson) do cjson[k] = nil end",
                "-ERR user_script:1: Attempt to modify a readonly table",
            ),
            (
                "return redis.call('nosuch')",
                "-ERR Unknown Redis command called from script",
            ),
            (
                "return redis.call('get')",
                "-ERR Wrong number of args calling Redis command from script",
            ),
            (
                "return redis.call('multi')",
                "-ERR This Redis command is not allowed from script",
            ),
            (
                "return redis.call()",
                "-ERR Please specify at least one argument for this redis lib call",
            ),
            (
                "return redis.call('get', {})",
                "-ERR Lua redis lib command arguments must be strings or integers",
            ),
            (
                "return redis.setresp(4)",
                "-ERR RESP version must be 2 or 3.",
            ),
            (
                "return redis.set_repl(9)",
                "-ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            ),
            (
                "return 1 +",
                "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
            ),
        ],
    );
}

#[test]
fn errors_can_be_caught() {
    let mut server = TestServer::new();
    server.check("SET text abc", "+OK");
    check(
        &mut server,
        &[
            (
                "return {pcall(redis.call, 'incr', 'text')}",
                "[nil \"ERR value is not an integer or out of range\"]",
            ),
            (
                "local ok, e = pcall(function() return x end) return {ok, type(e)}",
                r#"[nil "string"]"#,
            ),
            (
                "local ok, e = pcall(error, {err = 'A b'}) return e",
                r#""A b""#,
            ),
            (
                "local ok, e = pcall(cjson.decode, '{') return type(e)",
                r#""string""#,
            ),
            (
                "return {xpcall(function() redis.call('x') end, function(e) return e.err end)}",
                "[nil \"ERR Unknown Redis command called from script\"]",
            ),
            (
                "return coroutine.wrap(function() return redis.call('get', 'text') end)()",
                r#""abc""#,
            ),
        ],
    );
}

#[test]
fn nothing_leads_out_of_the_sandbox() {
    let mut server = TestServer::new();
    for name in [
        "print", "dofile", "loadfile", "require", "module", "package", "io", "debug", "newproxy",
    ] {
        for script in [
            format!("return pcall(function() return {name} end)"),
            format!("return rawget(_G, '{name}') ~= nil"),
            format!("return rawget(getfenv(pcall), '{name}') ~= nil"),
            format!("return rawget(getfenv(string.sub), '{name}') ~= nil"),
            format!("return rawget(getfenv(redis.call), '{name}') ~= nil"),
            format!("return string.gsub == nil or rawget(getfenv(0), '{name}') ~= nil"),
        ] {
            assert_eq!(eval(&mut server, &script), "nil", "{script}");
        }
    }
    check(
        &mut server,
        &[
            (
                "return os.time == nil and os.execute == nil and os.clock() >= 0",
                ":1",
            ),
            ("return loadstring('return 1 + 1')()", ":2"),
            (
                "return loadstring(string.dump(function() return 1 end)) == nil",
                ":1",
            ),
            (
                "local f = function() return x end setfenv(f, {x = 5}) return f()",
                ":5",
            ),
            (
                "local n = 0 for _ in pairs(redis) do n = n + 1 end return n > 20",
                ":1",
            ),
            ("return next(bit) ~= nil", ":1"),
            ("return getmetatable(redis) == nil", ":1"),
        ],
    );
}

#[test]
fn random_numbers_follow_their_seed() {
    let mut server = TestServer::new();
    let draw = "math.randomseed(10) return {math.random(1000), math.random(5, 9), tostring(math.random())}";
    let first = eval(&mut server, draw);
    assert_eq!(eval(&mut server, draw), first);
    check_errors(
        &mut server,
        &[(
            "math.random(0)",
            "-ERR user_script:1: bad argument #1 to 'random' (interval is empty)",
        )],
    );
}

#[test]
fn scripts_are_found_by_their_digest() {
    let mut server = TestServer::new();
    const DIGEST: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let evalsha = format!("EVALSHA {DIGEST} 0");
    const ABSENT: &str = "-NOSCRIPT No matching script. Please use EVAL.";
    server.check(&evalsha, ABSENT);
    server.check("EVALSHA e0e1 0", ABSENT);
    server.check("SCRIPT LOAD 'return 1'", &format!("\"{DIGEST}\""));
    server.check(&evalsha, ":1");
    server.check(&evalsha.to_uppercase(), ":1");
    server.check(&format!("SCRIPT EXISTS {DIGEST} x"), "[:1 :0]");
    server.check("SCRIPT FLUSH", "+OK");
    server.check(&evalsha, ABSENT);
    server.check(
        "SCRIPT FLUSH NOW",
        "-ERR SCRIPT FLUSH only support SYNC|ASYNC option",
    );
    server.check("SCRIPT KILL", "-NOTBUSY No scripts in execution right now.");
}

#[test]
fn read_only_scripts_do_not_write() {
    let mut server = TestServer::new();
    let refusal = "-ERR Write commands are not allowed from read-only scripts.";
    for line in [
        r#"EVAL_RO "return redis.call('set', 'k', 1)" 0"#,
        r##"EVAL "#!lua flags=no-writes\nreturn redis.call('set', 'k', 1)" 0"##,
    ] {
        assert!(server.run(line).starts_with(refusal), "{line}");
    }
    server.check(
        r##"EVAL_RO "#!lua\nreturn 1" 0"##,
        "-ERR Can not execute a script with write flag using *_ro command.",
    );
    server.check(r#"EVAL_RO "return redis.call('get', 'k')" 0"#, "nil");
}

#[test]
fn a_script_that_needs_memory_is_refused_when_there_is_none() {
    let mut server = TestServer::new();
    let short = std::sync::atomic::Ordering::Relaxed;
    server.services.out_of_memory.store(true, short);
    let set = "return redis.call('set', 'k', 1)";
    assert!(
        eval(&mut server, set)
            .starts_with("-OOM command not allowed when used memory > 'maxmemory'.")
    );
    assert_eq!(
        eval(&mut server, &format!("#!lua flags=allow-oom\n{set}")),
        "+OK"
    );
    assert_eq!(
        eval(&mut server, &format!("#!lua\n{set}")),
        "-OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
    );
    // Once it has written, it goes on.
    assert_eq!(
        eval(&mut server, &format!("redis.call('del', 'k') {set}")),
        "+OK"
    );
}

#[test]
fn a_script_selects_for_itself_only() {
    let mut server = TestServer::new();
    assert_eq!(
        eval(
            &mut server,
            "redis.call('select', 3) return redis.call('set', 'k', 'v')"
        ),
        "+OK"
    );
    server.check("GET k", "nil");
    server.check("SELECT 3", "+OK");
    server.check("GET k", "\"v\"");
    assert_eq!(server.session.protocol, Protocol::Resp2);
}

#[test]
fn commands_that_walk_the_keyspace_work_inside() {
    let mut server = TestServer::new();
    check(
        &mut server,
        &[
            (
                "redis.call('mset', 'a', 1, 'b', 2) return redis.call('dbsize')",
                ":2",
            ),
            (
                "local k = redis.call('keys', '*') table.sort(k) return k",
                r#"["a" "b"]"#,
            ),
            ("return #redis.call('scan', 0)[2]", ":2"),
            (
                "redis.call('set', 'c', 1) redis.call('flushall') return redis.call('set', 'd', 1)",
                "+OK",
            ),
            ("return redis.call('keys', '*')", r#"["d"]"#),
        ],
    );
}

#[test]
fn scripts_work_inside_transactions() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("MULTI", "+OK"),
        (
            r#"EVAL "return redis.call('incr', 'undeclared')" 0"#,
            "+QUEUED",
        ),
        ("INCR undeclared", "+QUEUED"),
        (
            r#"EVAL "return redis.call('incr', KEYS[1])" 1 undeclared"#,
            "+QUEUED",
        ),
        ("EXEC", "[:1 :2 :3]"),
    ]);
}

const LIBRARY: &str = "#!lua name=lib\nlocal n = 0\n\
    redis.register_function('count', function(keys, args) n = n + 1 return redis.call('incrby', keys[1], args[1]) end)\n\
    redis.register_function{function_name = 'look', callback = function() return redis.call('get', 'k') end, \
    flags = {'no-writes'}, description = 'looks'}";

#[test]
fn functions_are_loaded_called_and_listed() {
    let mut server = TestServer::new();
    let load = |server: &mut TestServer, text: &str| {
        render(&server.run_arguments(&[b"FUNCTION", b"LOAD", text.as_bytes()]))
    };
    assert_eq!(load(&mut server, LIBRARY), "\"lib\"");
    assert_eq!(
        load(&mut server, LIBRARY),
        "-ERR Library 'lib' already exists"
    );
    server.check("FCALL count 1 k 5", ":5");
    server.check("FCALL LOOK 0", "\"5\"");
    server.check("FCALL_RO look 0", "\"5\"");
    server.check(
        "FCALL_RO count 1 k 5",
        "-ERR Can not execute a script with write flag using *_ro command.",
    );
    server.check("FCALL nosuch 0", "-ERR Function not found");
    server.check("FCALL look x", "-ERR Bad number of keys provided");
    server.check(
        "FUNCTION LIST LIBRARYNAME LI*",
        r#"[["library_name" "lib" "engine" "LUA" "functions" [["name" "count" "description" nil "flags" []] ["name" "look" "description" "looks" "flags" [+no-writes]]]]]"#,
    );
    server.check("FUNCTION LIST LIBRARYNAME x", "[]");
    let payload = server.run_arguments(&[b"FUNCTION", b"DUMP"]);
    let start = memchr::memchr(b'\n', &payload).expect("a bulk string") + 1;
    let payload = payload[start..payload.len() - 2].to_vec();
    let restore = |server: &mut TestServer, policy: &[u8]| {
        render(&server.run_arguments(&[b"FUNCTION", b"RESTORE", &payload, policy]))
    };
    assert_eq!(
        restore(&mut server, b"APPEND"),
        "-ERR Library lib already exists"
    );
    assert_eq!(restore(&mut server, b"REPLACE"), "+OK");
    server.check("FUNCTION DELETE lib", "+OK");
    server.check("FUNCTION DELETE lib", "-ERR Library not found");
    server.check("FCALL look 0", "-ERR Function not found");
    assert_eq!(restore(&mut server, b"APPEND"), "+OK");
    server.check("FCALL look 0", "\"5\"");
    server.check("FUNCTION FLUSH", "+OK");
    server.check(
        "FUNCTION STATS",
        r#"["running_script" nil "engines" ["LUA" ["libraries_count" :0 "functions_count" :0]]]"#,
    );
    assert!(
        server.services.take_calls().len() >= 4,
        "every change is stored"
    );
}

#[test]
fn libraries_that_do_not_load_are_refused() {
    let mut server = TestServer::new();
    for (code, expected) in [
        ("return 1", "-ERR No functions registered"),
        (
            "return 1 +",
            "-ERR Error compiling function: user_function:2: unexpected symbol near '<eof>'",
        ),
        (
            "redis.call('ping')",
            "-ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'call'",
        ),
        (
            "math.random()",
            "-ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'math'",
        ),
        (
            "redis.register_function('f')",
            "-ERR Error registering functions: ERR calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        (
            "redis.register_function{function_name = 'f'}",
            "-ERR Error registering functions: ERR redis.register_function must get a callback argument",
        ),
        (
            "a = 1",
            "-ERR Error registering functions: ERR user_function:2: Attempt to modify a readonly table",
        ),
    ] {
        let text = format!("#!lua name=bad\n{code}");
        let reply = render(&server.run_arguments(&[b"FUNCTION", b"LOAD", text.as_bytes()]));
        assert_eq!(reply, expected, "{code}");
    }
    server.check("FUNCTION LIST", "[]");
}

/// A nested command of a random script, as Lua source.
fn step() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let command = prop::sample::select(vec![
        "'set', K, 'text'",
        "'set', K, 'text', 'px', 50",
        "'append', K, 'more'",
        "'del', K",
        "'incr', K",
        "'lpush', K, 1, 2, 3",
        "'lpop', K",
        "'hset', K, 'f', 1",
        "'hdel', K, 'f'",
        "'zadd', K, 1, 'm'",
        "'pexpire', K, 70",
        "'persist', K",
        "'rename', K, 'a'",
        "'copy', K, 'b', 'replace'",
        "'get', K",
    ]);
    (key, command).prop_map(|(key, command)| {
        let command = command.replace('K', &format!("'{key}'"));
        format!("redis.pcall({command})")
    })
}

/// All that can be seen of a server's keys.
fn state(server: &mut TestServer) -> Vec<String> {
    let mut seen = vec![server.run("DBSIZE")];
    for key in ["a", "b", "c", "d", "e"] {
        for command in [
            "TYPE",
            "PTTL",
            "OBJECT ENCODING",
            "GET",
            "LRANGE",
            "HGETALL",
            "ZRANGE",
        ] {
            let rest = if command.ends_with("RANGE") {
                " 0 -1"
            } else {
                ""
            };
            seen.push(server.run(&format!("{command} {key}{rest}")));
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A script that is given up after so many accesses, rolled back, and run again under all locks leaves what it leaves
    /// when it runs at once. The test server compares the counts of keys and replays the log after every command.
    #[test]
    fn rolled_back_and_run_again_is_as_good_as_run_at_once(
        before in prop::collection::vec(step(), 0..8),
        script in prop::collection::vec(step(), 1..12),
        accesses in 0usize..12,
        pause_ms in prop::sample::select(vec![0u64, 60]),
    ) {
        let run = |refuse: Option<usize>| {
            let mut server = TestServer::new();
            for step in &before {
                eval(&mut server, step);
            }
            server.advance_ms(pause_ms);
            server.refuse_locks_after = refuse;
            let reply = eval_with(&mut server, &script.join(" "), &["a"], &[]);
            server.refuse_locks_after = None;
            (reply, state(&mut server))
        };
        prop_assert_eq!(run(Some(accesses)), run(None));
    }
}
