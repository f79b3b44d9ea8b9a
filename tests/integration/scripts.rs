//! Scripts and functions on a real server: several threads, keys in every tier, restarts, and scripts that do not end.

use crate::harness::{Server, wait_until};
use crate::wire::{Client, Reply, encode};

const OPTIONS: &str = "--maxmemory 64mb --threads 2";
const ENDLESS: &str = "while true do end";

fn eval(client: &mut Client, script: &str, arguments: &[&str]) -> Reply {
    client.call(&[&["EVAL", script, "0"], arguments].concat())
}

#[test]
fn functions_survive_every_end() {
    let mut server = Server::start(OPTIONS);
    for (name, end) in [
        ("first", Server::kill as fn(&mut Server)),
        ("second", Server::terminate),
        ("third", |server| server.shut_down_with("SHUTDOWN NOSAVE")),
    ] {
        let mut client = server.client();
        let code = format!(
            "#!lua name={name}\nredis.register_function('{name}', function(keys) return redis.call('incr', keys[1]) end)"
        );
        assert_eq!(client.call(&["FUNCTION", "LOAD", &code]), Reply::bulk(name));
        end(&mut server);
        server.start_again();
        for _ in 0..4 {
            // Each connection may be on another thread.
            let reply = server.client().call(&["FCALL", name, "1", name]);
            assert!(reply.integer() > 0, "{name}");
        }
    }
    let listed = server.client().line("FUNCTION LIST");
    assert_eq!(listed.items().len(), 3);
    server.client().ok("FUNCTION FLUSH");
    server.kill_and_restart();
    assert_eq!(server.client().line("FUNCTION LIST").items().len(), 0);
}

#[test]
fn clients_whose_scripts_take_turns_on_a_thread_keep_to_themselves() {
    let server = Server::start("--maxmemory 64mb --threads 1");
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.ok(&format!("SELECT {number}"));
        client.ok(&format!("SET own {number}"));
    }
    let own = "local v = redis.call('get', 'own') redis.call('select', 9 - v) redis.setresp(3) \
               redis.call('set', 'other', v .. #ARGV .. string.rep('x', ARGV[1])) return v";
    for round in 0..20usize {
        for (number, client) in clients.iter_mut().enumerate() {
            let length = (round * 7 + number * 13).to_string();
            let more = vec!["y"; round];
            let arguments = [&[length.as_str()], more.as_slice()].concat();
            let reply = eval(client, own, &arguments);
            assert_eq!(reply, Reply::bulk(number.to_string()));
            assert_eq!(client.line("GET own"), Reply::bulk(number.to_string()));
        }
    }
    for number in 0..3usize {
        let mut client = server.client();
        client.ok(&format!("SELECT {}", 9 - number));
        let expected = format!("{number}20{}", "x".repeat(19 * 7 + number * 13));
        assert_eq!(client.line("GET other"), Reply::bulk(&expected));
    }
}

#[test]
fn undeclared_keys_in_any_tier_are_found_and_changed_as_one() {
    let mut server = Server::start(OPTIONS);
    let mut client = server.client();
    for number in 0..300 {
        client.ok(&format!("SET key:{number} {number}"));
    }
    client.line("TIER DEMOTE ALL");
    let sum = "local sum = 0 for n = 0, 299 do sum = sum + redis.call('incr', 'key:' .. n) end return sum";
    assert_eq!(eval(&mut client, sum, &[]).integer(), 299 * 300 / 2 + 300);
    assert_eq!(
        eval(&mut client, "return #redis.call('keys', 'key:*')", &[]).integer(),
        300
    );
    server.kill_and_restart();
    assert_eq!(
        eval(&mut server.client(), sum, &[]).integer(),
        299 * 300 / 2 + 600
    );
}

/// Scripts that touch the same undeclared keys in different orders, from many connections: each has to be one step.
#[test]
fn scripts_that_meet_are_atomic() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 300;
    let server = Server::start(OPTIONS);
    let script = "local n = tonumber(ARGV[1]) for i = 1, 8 do local k = 'k' .. ((i * n) % 17) \
                  redis.call('incr', k) redis.call('decr', k) end redis.call('incr', 'a' .. n % 3) \
                  return redis.call('incr', 'total')";
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.client();
                for round in 0..ROUNDS {
                    let number = (client * 31 + round * 7 + 1).to_string();
                    assert!(eval(&mut connection, script, &[&number]).integer() > 0);
                }
            });
        }
    });
    let mut client = server.client();
    let expected = (CLIENTS * ROUNDS).to_string();
    assert_eq!(client.line("GET total"), Reply::bulk(&expected));
    let sum = "return redis.call('get', 'a0') + redis.call('get', 'a1') + redis.call('get', 'a2')";
    assert_eq!(
        eval(&mut client, sum, &[]).integer(),
        (CLIENTS * ROUNDS) as i64
    );
    let rest =
        "for n = 0, 16 do if redis.call('get', 'k' .. n) ~= '0' then return n end end return -1";
    assert_eq!(eval(&mut client, rest, &[]).integer(), -1);
}

#[test]
fn what_is_nested_deeply_is_refused_and_nothing_breaks() {
    let server = Server::start(OPTIONS);
    let mut client = server.client();
    let script = "local t = {} t.t = t return cjson.encode(t)";
    let is_refused = |reply: &Reply| reply.error().contains("excessive nesting (1001)");
    assert!(is_refused(&eval(&mut client, script, &[])));
    client.ok("MULTI");
    client.call(&["EVAL", script, "0"]);
    assert!(is_refused(&client.line("EXEC").items()[0]));
    let decode = "return cjson.decode(string.rep('[', 100000))";
    assert!(
        eval(&mut client, decode, &[])
            .error()
            .contains("too many nested data structures")
    );
    let unpack = "return cmsgpack.unpack(string.rep('\\145', 100000))";
    assert!(
        eval(&mut client, unpack, &[])
            .error()
            .contains("Bad data format")
    );
}

fn is_busy(client: &mut Client) -> bool {
    matches!(client.line("GET key"), Reply::Error(text) if text.starts_with("BUSY"))
}

#[test]
fn a_script_without_end_leaves_others_an_answer_and_can_be_killed() {
    let server = Server::start(&format!("{OPTIONS} --busy-reply-threshold 50"));
    // Some of these are on the thread that the script keeps.
    let mut others: Vec<Client> = (0..4).map(|_| server.client()).collect();
    for (script, has_written) in [
        (ENDLESS.to_owned(), false),
        (format!("redis.call('set', KEYS[1], 1) {ENDLESS}"), true),
    ] {
        let mut victim = server.client();
        victim
            .send_bytes(&encode(&["EVAL", &script, "1", "key"]))
            .expect("it is sent");
        for other in &mut others {
            wait_until("BUSY", || is_busy(other));
            other.ok("MULTI");
            assert!(other.line("SET a 1").error().starts_with("BUSY"));
            assert!(other.line("EXEC").error().starts_with("EXECABORT"));
            assert!(other.line("FUNCTION KILL").error().starts_with("BUSY") || has_written);
        }
        if has_written {
            for other in &mut others {
                assert!(other.line("SCRIPT KILL").error().starts_with("UNKILLABLE"));
            }
            continue;
        }
        others[0].ok("SCRIPT KILL");
        let reply = victim.read();
        assert!(
            reply
                .error()
                .contains("Script killed by user with SCRIPT KILL"),
            "{reply:?}"
        );
        for other in &mut others {
            wait_until("an answer", || !is_busy(other));
        }
        assert!(others[0].line("SCRIPT KILL").error().starts_with("NOTBUSY"));
        assert_eq!(eval(&mut victim, "return 1", &[]), Reply::Integer(1));
    }
    let mut server = server;
    server.shut_down_with("SHUTDOWN NOSAVE");
}

#[test]
fn a_script_that_catches_its_end_ends_all_the_same() {
    let server = Server::start(&format!("{OPTIONS} --busy-reply-threshold 20"));
    let mut victim = server.client();
    let script = "while true do pcall(function() while true do end end) end";
    victim
        .send_bytes(&encode(&["EVAL", script, "0"]))
        .expect("it is sent");
    let mut other = server.client();
    wait_until("BUSY", || is_busy(&mut other));
    other.ok("SCRIPT KILL");
    assert!(victim.read().error().contains("Script killed by user"));
}
