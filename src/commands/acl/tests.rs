//! Rules, checks and the commands, as tables.

use super::check::{Denial, check};
use super::selector::RuleError;
use super::user::User;
use super::users::{Users, join_selectors};
use crate::commands::test_support::TestServer;
use crate::commands::transactions::resolve;

fn user(rules: &str) -> Result<User, RuleError> {
    let mut user = User::new(b"u", false);
    let words: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    for rule in join_selectors(&words).expect("parentheses") {
        user.apply(&rule, false)?;
    }
    Ok(user)
}

#[test]
fn rules_are_described_as_redis_does() {
    let cases = [
        ("on", "on sanitize-payload resetchannels -@all"),
        (
            "on nopass ~* &* +@all",
            "on nopass sanitize-payload ~* &* +@all",
        ),
        (
            "~a ~b %R~c %W~d %RW~e",
            "off sanitize-payload ~a ~b %R~c %W~d ~e resetchannels -@all",
        ),
        ("%R~a %W~a", "off sanitize-payload ~a resetchannels -@all"),
        ("&a* &b", "off sanitize-payload resetchannels &a* &b -@all"),
        (
            "+get +SET -get",
            "off sanitize-payload resetchannels -@all +set -get",
        ),
        (
            "+@all -@dangerous +config|get",
            "off sanitize-payload resetchannels +@all -@dangerous +config|get",
        ),
        (
            "+client|id +client|kill +client",
            "off sanitize-payload resetchannels -@all +client",
        ),
        (
            "+select|0",
            "off sanitize-payload resetchannels -@all +select|0",
        ),
        (
            "(+get ~a) +set",
            "off sanitize-payload resetchannels -@all +set (~a resetchannels -@all +get)",
        ),
        (
            "(+get ~a) clearselectors",
            "off sanitize-payload resetchannels -@all",
        ),
        (
            "on ~* +@all >p reset",
            "off sanitize-payload resetchannels -@all",
        ),
        (
            "skip-sanitize-payload",
            "off skip-sanitize-payload resetchannels -@all",
        ),
        (
            ">abc",
            "off sanitize-payload #ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad resetchannels -@all",
        ),
        (">abc <abc", "off sanitize-payload resetchannels -@all"),
    ];
    for (rules, expected) in cases {
        let described = user(rules).expect(rules).describe();
        assert_eq!(String::from_utf8_lossy(&described), expected, "{rules}");
        // What is described makes the same user again.
        let again = user(&format!("reset {expected}")).expect(expected);
        assert_eq!(again.describe(), described, "{rules}");
    }
}

#[test]
fn mistakes_have_their_texts() {
    let cases = [
        ("~* ~a", RuleError::AfterAllKeys),
        ("&* &a", RuleError::AfterAllChannels),
        ("+nothing", RuleError::Unknown),
        ("-client|nothing", RuleError::Unknown),
        ("+@nothing", RuleError::Unknown),
        ("+client|", RuleError::Syntax),
        ("+config|get|port", RuleError::FirstArgumentOfSubcommand),
        ("nonsense", RuleError::Syntax),
        ("%~a", RuleError::Syntax),
        ("%RR~a", RuleError::Syntax),
        ("<nothing", RuleError::NoSuchPassword),
        ("#123", RuleError::NotAHash),
    ];
    for (rules, expected) in cases {
        assert_eq!(user(rules).map(|_| ()), Err(expected), "{rules}");
    }
    assert_eq!(join_selectors(&[b"on", b"(+get", b"~a"]), Err(1));
}

#[test]
fn what_a_user_may_run() {
    let denied_key = Err(Denial::Key(1));
    let cases = [
        ("+@all ~*", "GET a", Ok(())),
        ("+get ~*", "SET a 1", Err(Denial::Command)),
        ("+get ~a*", "GET abc", Ok(())),
        ("+get ~a*", "GET b", denied_key),
        ("+@all %R~a", "GET a", Ok(())),
        ("+@all %R~a", "SET a 1", denied_key),
        ("+@all %W~a", "SET a 1", Ok(())),
        ("+@all %W~a", "SET a 1 GET", denied_key),
        ("+@all %W~a", "APPEND a 1", Ok(())),
        ("+@all %R~s %W~d", "COPY s d", Ok(())),
        ("+@all %R~s %R~d", "COPY s d", Err(Denial::Key(2))),
        ("+@all %W~a", "EXISTS a", Ok(())),
        ("+@all ~a", "MGET a b", Err(Denial::Key(2))),
        ("+get", "AUTH x", Ok(())),
        ("+client|id", "CLIENT ID", Ok(())),
        ("+client|id", "CLIENT LIST", Err(Denial::Command)),
        (
            "+client -client|kill",
            "CLIENT KILL a",
            Err(Denial::Command),
        ),
        ("+select|0", "SELECT 0", Ok(())),
        ("+select|0", "SELECT 1", Err(Denial::Command)),
        ("+@read ~*", "GET a", Ok(())),
        ("+@read ~*", "SET a 1", Err(Denial::Command)),
        ("+@all -@write ~*", "SET a 1", Err(Denial::Command)),
        ("+get ~a (+set ~b)", "SET b 1", Ok(())),
        ("+get ~a (+set ~b)", "SET a 1", denied_key),
        ("+get ~a (+set ~b)", "DEL a", Err(Denial::Command)),
    ];
    for (rules, line, expected) in cases {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let row = resolve(&arguments).expect(line);
        assert_eq!(
            check(&user(rules).expect(rules), row, &arguments),
            expected,
            "{rules}: {line}"
        );
    }
}

#[test]
fn passwords() {
    let mut accepting = user("on >a >b").expect("rules");
    for (password, expected) in [("a", true), ("b", true), ("c", false), ("", false)] {
        assert_eq!(
            accepting.accepts(password.as_bytes()),
            expected,
            "{password}"
        );
    }
    accepting.apply(b"off", false).expect("a rule");
    assert!(!accepting.accepts(b"a"));
    assert!(user("on nopass").expect("rules").accepts(b"anything"));
    assert!(!user("on").expect("rules").accepts(b""));
}

#[test]
fn a_file_is_taken_as_a_whole_or_not_at_all() {
    let users = Users::default();
    users
        .load(
            b"user alice on >a ~* +@all\n\n user bob on nopass +get",
            "f",
            false,
        )
        .expect("a file");
    assert_eq!(users.current().0.len(), 3);
    let file = users.file();
    users.load(&file, "f", false).expect("what was saved");
    assert_eq!(users.file(), file);
    let error = users.load(
        b"user carol +get\nuser dave +nothing\nuser carol on\nnonsense",
        "f",
        false,
    );
    assert_eq!(
        error.expect_err("a mistake"),
        "f:2: Error in applying operation '+nothing': Unknown command or category name in ACL. WARNING: Duplicate user 'carol' \
         found on line 3. f:4 should start with user keyword followed by the username. WARNING: ACL errors detected, no change to \
         the previously active ACL rules was performed"
    );
    assert_eq!(users.file(), file);
    let aftermath = users
        .load(b"user alice on +get", "f", false)
        .expect("a file");
    assert_eq!(aftermath.gone, [b"alice".to_vec(), b"bob".to_vec()]);
}

#[test]
fn channels_that_are_lost() {
    let cases = [
        ("&*", "&*", false),
        ("&*", "&a", true),
        ("&a", "&a &b", false),
        ("&a &b", "&a", true),
        ("&a", "&*", false),
        ("&a", "resetchannels (&a +get)", false),
    ];
    for (former, now, expected) in cases {
        let (former, now) = (user(former).expect(former), user(now).expect(now));
        assert_eq!(
            now.takes_channels_from(&former),
            expected,
            "{former:?} {now:?}"
        );
    }
}

#[test]
fn commands() {
    let mut server = TestServer::new();
    server.check_all(&[
        ("ACL WHOAMI", r#""default""#),
        ("ACL USERS", r#"["default"]"#),
        ("ACL SETUSER alice on >p ~a* +get", "+OK"),
        ("ACL USERS", r#"["alice" "default"]"#),
        (r#"ACL SETUSER "a b""#, "-ERR Usernames can't contain spaces or null characters"),
        ("ACL SETUSER alice +nothing", "-ERR Error in ACL SETUSER modifier '+nothing': Unknown command or category name in ACL"),
        ("ACL DRYRUN alice GET abc", "+OK"),
        ("ACL DRYRUN alice GET b", r#""User alice has no permissions to access the 'b' key""#),
        ("ACL DRYRUN alice SET a 1", r#""User alice has no permissions to run the 'set' command""#),
        ("ACL DRYRUN nobody GET a", "-ERR User 'nobody' not found"),
        ("ACL DRYRUN alice NOTHING", "-ERR Command 'NOTHING' not found"),
        ("AUTH alice wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH alice p", "+OK"),
        ("ACL WHOAMI", r#""alice""#),
        ("ACL CAT nothing", "-ERR Unknown category 'nothing'"),
        ("ACL DELUSER default", "-ERR The 'default' user cannot be removed"),
        ("ACL DELUSER alice nobody", ":1"),
        ("ACL GETUSER alice", "nil"),
        ("ACL GENPASS 5000", "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"),
        ("ACL LOG RESET", "+OK"),
        ("ACL LOG", "[]"),
    ]);
    assert!(server.session.closing, "the caller's own user was deleted");
}

#[test]
fn sort_follows_patterns_only_for_those_who_may_read_every_key() {
    const BY: &str = "-ERR BY option of SORT denied due to insufficient ACL permissions.";
    const GET: &str = "-ERR GET option of SORT denied due to insufficient ACL permissions.";
    let sorted = r#"["2" "1"]"#;
    let users = [
        ("+@all ~*", true),
        ("+@all %R~* %W~l", true),
        ("+@all %W~* %R~l", false),
        ("+@all ~l ~w*", false),
        // One selector has to allow all of it.
        ("+@all ~l (+get ~*)", false),
        ("+@all ~l (+sort +sort_ro ~*)", true),
    ];
    for (rules, may_follow) in users {
        let mut server = TestServer::new();
        server.check_all(&[
            ("RPUSH l 1 2", ":2"),
            ("MSET w1 20 w2 10", "+OK"),
            (&format!("ACL SETUSER alice on nopass {rules}"), "+OK"),
            ("AUTH alice p", "+OK"),
        ]);
        let or = |expected: &'static str, error| if may_follow { expected } else { error };
        server.check_all(&[
            ("SORT l BY w*", or(sorted, BY)),
            ("SORT_RO l BY w*", or(sorted, BY)),
            ("SORT l GET w*", or(r#"["20" "10"]"#, GET)),
            ("SORT_RO l GET #", or(r#"["1" "2"]"#, GET)),
            ("SORT l BY constant", r#"["1" "2"]"#),
            ("SORT l DESC", sorted),
            // The first mistake counts.
            ("SORT l GET # BY w* nonsense", or("-ERR syntax error", GET)),
            ("SORT l nonsense BY w*", "-ERR syntax error"),
            ("MULTI", "+OK"),
            ("SORT l BY constant GET #", "+QUEUED"),
        ]);
        let within = format!("[{}]", or(r#"["1" "2"]"#, GET));
        server.check("EXEC", &within);
        let script = r#"EVAL "return redis.call('sort', KEYS[1], 'by', 'w*')" 1 l"#;
        let outcome = server.run(script);
        assert!(outcome.starts_with(or(sorted, BY)), "{rules}: {outcome}");
    }
}
