//! Tests of the table's rows, and of CONFIG GET and CONFIG SET.

use super::super::memory;
use super::super::value::Kind;
use super::*;

fn get(settings: &Settings, pattern: &str) -> Vec<(String, String)> {
    settings.get(&[pattern.as_bytes()])
}

fn get_one(settings: &Settings, name: &str) -> String {
    let found = get(settings, name);
    assert_eq!(found.len(), 1, "{name}: {found:?}");
    found[0].1.clone()
}

fn set(settings: &mut Settings, changes: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
    let changes: Vec<_> = changes
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let changed = settings.set(&changes).map_err(|error| error.to_string())?;
    Ok(changed.iter().map(|changed| changed.name).collect())
}

#[test]
fn names_are_unique_and_sorted_into_one_table() {
    let mut names: Vec<&str> = table::all().flat_map(Directive::names).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn every_default_is_valid_and_every_value_reads_back() {
    let settings = Settings::default();
    for directive in table::all() {
        let shown = value::read(&settings, directive);
        let arguments = if directive.takes_several() {
            value::words(&shown)
        } else {
            vec![shown.clone()]
        };
        let mut again = Settings::default();
        let outcome = value::write(&mut again, directive, &arguments);
        assert_eq!(outcome, Ok(()), "{} {shown}", directive.name);
        assert_eq!(value::read(&again, directive), shown, "{}", directive.name);
    }
}

#[test]
fn every_choice_leads_to_itself() {
    for directive in table::all() {
        if let Kind::Choice(names, current, choose) = &directive.kind {
            let mut settings = Settings::default();
            for index in 0..names.len() {
                choose(&mut settings, index);
                assert_eq!(current(&settings), index, "{}", directive.name);
            }
        }
    }
}

#[test]
fn each_row_has_its_own_field() {
    // Setting one directive must not show in another.
    let before = Settings::default();
    for directive in table::all().filter(|directive| !matches!(directive.kind, Kind::OnlyDefault)) {
        let other = match &directive.kind {
            Kind::Boolean(_) => {
                if value::read(&before, directive) == "yes" {
                    "no"
                } else {
                    "yes"
                }
            }
            Kind::Choice(names, current, _) => names[(current(&before) + 1) % names.len()],
            Kind::SaveRules => "7 7",
            Kind::OutputLimits => "pubsub 7 7 7",
            Kind::KeyspaceEvents => "Kx",
            Kind::Bytes(..) | Kind::BytesOrPercent(_) | Kind::BytesOrUnlimited(_) => "7777777",
            _ => "7",
        };
        let mut after = before.clone();
        let outcome = value::write(&mut after, directive, &value::words(other));
        assert_eq!(outcome, Ok(()), "{}", directive.name);
        for shown in table::all() {
            let same = value::read(&before, shown) == value::read(&after, shown);
            assert_eq!(
                same,
                shown.name != directive.name,
                "{} seen in {}",
                directive.name,
                shown.name
            );
        }
    }
}

#[test]
fn defaults_are_shown_as_redis_shows_them() {
    let settings = Settings::default();
    let cases = [
        ("port", "6379"),
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", "3600 1 300 100 60 10000"),
        ("proto-max-bulk-len", "536870912"),
        (
            "client-output-buffer-limit",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
        ("maxmemory-policy", "noeviction"),
        ("maxdisk", "unlimited"),
        ("notify-keyspace-events", ""),
        ("bind", "* -::*"),
        ("unixsocketperm", "0"),
        ("slowlog-log-slower-than", "10000"),
        ("rdbcompression", "yes"),
        ("REPLICAOF", ""),
        ("hash-max-ziplist-entries", "512"),
        ("active-expire", "yes"),
    ];
    for (name, expected) in cases {
        assert_eq!(get_one(&settings, name), expected, "{name}");
    }
    let expected = memory::available_bytes().map_or(0, |bytes| bytes / 100 * 60);
    assert_eq!(settings.maxmemory_bytes, expected);
    assert!(settings.dir.is_absolute() && settings.dir.ends_with("larder-data"));
    assert!(settings.thread_count() >= 1);
}

#[test]
fn patterns_find_names_and_aliases_once() {
    let settings = Settings::default();
    let names = |patterns: &[&[u8]]| -> Vec<String> {
        settings
            .get(patterns)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(
        names(&[b"HASH-max-*"]),
        [
            "hash-max-listpack-entries",
            "hash-max-ziplist-entries",
            "hash-max-listpack-value",
            "hash-max-ziplist-value"
        ]
    );
    assert_eq!(names(&[b"port", b"por*", b"timeout"]), ["port", "timeout"]);
    assert!(names(&[b"nothing-like-this"]).is_empty());
    let all = names(&[b"*"]);
    assert!(
        all.len() > 150
            && !all
                .iter()
                .any(|name| name == "active-expire" || name == "rename-command")
    );
}

#[test]
fn values_are_set_and_normalised() {
    let cases = [
        ("maxmemory", "100mb", "104857600"),
        ("maxmemory", "0", "0"),
        ("maxdisk", "1GB", "1073741824"),
        ("maxdisk", "0", "0"),
        ("maxdisk", "Unlimited", "unlimited"),
        ("APPENDFSYNC", "ALWAYS", "always"),
        ("maxmemory-policy", "allkeys-lru", "allkeys-lru"),
        ("save", "900 1  300 10", "900 1 300 10"),
        ("save", "", ""),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("timeout", "10", "10"),
        ("requirepass", "a b\"c", "a b\"c"),
        ("requirepass", "", ""),
        ("protected-mode", "No", "no"),
        ("lua-time-limit", "7", "7"),
        ("slowlog-log-slower-than", "-1", "-1"),
        ("list-max-listpack-size", "-5", "-5"),
        (
            "client-output-buffer-limit",
            "replica 1mb 2 3",
            "normal 0 0 0 slave 1048576 2 3 pubsub 33554432 8388608 60",
        ),
        ("activedefrag", "yes", "yes"),
        ("latency-tracking-info-percentiles", "50 99", "50 99"),
    ];
    for (name, text, expected) in cases {
        let mut settings = Settings::default();
        assert!(set(&mut settings, &[(name, text)]).is_ok(), "{name} {text}");
        assert_eq!(get_one(&settings, name), expected, "{name} {text}");
    }
}

#[test]
fn refusals_have_the_texts_of_redis() {
    let because = |name: &str, reason: &str| {
        format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    let cases = [
        ("maxmemory", "x", "argument must be a memory value"),
        ("maxmemory", "-1", "argument must be a memory value"),
        (
            "maxmemory",
            "101%",
            "argument must be a memory value or a percentage from 1% to 100%",
        ),
        (
            "appendfsync",
            "often",
            "argument(s) must be one of the following: always, everysec, no",
        ),
        ("protected-mode", "maybe", "argument must be 'yes' or 'no'"),
        (
            "timeout",
            "x",
            "argument couldn't be parsed into an integer",
        ),
        (
            "timeout",
            "-1",
            "argument must be between 0 and 2147483647 inclusive",
        ),
        (
            "timeout",
            "99999999999999999999",
            "argument couldn't be parsed into an integer",
        ),
        (
            "maxclients",
            "0",
            "argument must be between 1 and 4294967295 inclusive",
        ),
        (
            "proto-max-bulk-len",
            "1",
            "argument must be between 1048576 and 9223372036854775807 inclusive",
        ),
        (
            "slowlog-log-slower-than",
            "-2",
            "argument must be between -1 and 9223372036854775807 inclusive",
        ),
        ("save", "900", "Invalid save parameters"),
        ("save", "900 x", "Invalid save parameters"),
        ("save", "0 1", "Invalid save parameters"),
        (
            "client-output-buffer-limit",
            "normal 1 2",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "foo 1 2 3",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit",
            "normal x 2 3",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        (
            "notify-keyspace-events",
            "q",
            "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
        ),
        ("databases", "3", "can't set immutable config"),
        ("dir", "/tmp", "can't set protected config"),
        ("io-threads", "4", "can't set immutable config"),
    ];
    for (name, text, reason) in cases {
        let mut settings = Settings::default();
        assert_eq!(
            set(&mut settings, &[(name, text)]),
            Err(because(name, reason)),
            "{name} {text}"
        );
        assert_eq!(settings, Settings::default(), "{name} {text}");
    }
    let mut settings = Settings::default();
    let unknown = set(&mut settings, &[("timeout", "1"), ("foo", "bar")]);
    assert_eq!(
        unknown,
        Err("Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned())
    );
    let twice = set(
        &mut settings,
        &[
            ("hash-max-listpack-value", "1"),
            ("hash-max-ziplist-value", "2"),
        ],
    );
    assert_eq!(
        twice,
        Err(because("hash-max-listpack-value", "duplicate parameter"))
    );
    assert!(settings.set(&[(b"requirepass", b"\xff")]).is_err());
    assert_eq!(settings, Settings::default());
}

#[test]
fn several_are_set_together_or_not_at_all() {
    let mut settings = Settings::default();
    let changed = set(
        &mut settings,
        &[("timeout", "5"), ("maxclients", "10000"), ("save", "")],
    );
    assert_eq!(changed, Ok(vec!["timeout", "save"]));
    assert_eq!((settings.timeout_seconds, settings.save.len()), (5, 0));
    assert!(set(&mut settings, &[("timeout", "9"), ("maxclients", "x")]).is_err());
    assert_eq!(settings.timeout_seconds, 5);
}
