//! Tests of files and command lines.

use super::*;

fn arguments(list: &[&str]) -> Vec<String> {
    list.iter().map(|argument| (*argument).to_owned()).collect()
}

/// Loads a file of this content, with options behind it.
fn load_file(content: &str, options: &[&str]) -> Result<(Settings, Vec<Warning>), String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("larder.conf");
    std::fs::write(
        &path,
        content.replace("{dir}", &directory.path().to_string_lossy()),
    )
    .expect("a file");
    std::fs::write(directory.path().join("a1.inc"), "timeout 1\nport 1\n").expect("a file");
    std::fs::write(directory.path().join("a2.inc"), "timeout 2\n").expect("a file");
    std::fs::write(directory.path().join("bad.inc"), "\nbad line\n").expect("a file");
    std::fs::write(
        directory.path().join("loop.inc"),
        format!("include {}/loop.inc", directory.path().display()),
    )
    .expect("a file");
    let mut all = vec![path.to_string_lossy().into_owned()];
    all.extend(arguments(options));
    let loaded = load(&all).map_err(|error| {
        error
            .to_string()
            .replace(&*directory.path().to_string_lossy(), "{dir}")
    })?;
    assert_eq!(loaded.0.config_file.as_deref(), Some(path.as_path()));
    Ok(loaded)
}

#[test]
fn values_come_from_file_and_options() {
    type Case<'a> = (&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);
    let cases: &[Case] = &[
        (
            "# comment\n\n  port 7000  \r\n\tTIMEOUT 5\n",
            &[],
            &[("port", "7000"), ("timeout", "5")],
        ),
        ("port 7000\n", &["--port", "7001"], &[("port", "7001")]),
        (
            "requirepass \"a b\\x41\"\n",
            &[],
            &[("requirepass", "a bA")],
        ),
        ("requirepass 'a#b'\n", &[], &[("requirepass", "a#b")]),
        (
            "logfile \"\"\nbind 127.0.0.1 -::1\n",
            &[],
            &[("logfile", ""), ("bind", "127.0.0.1 -::1")],
        ),
        ("bind \"\"\n", &[], &[("bind", "")]),
        (
            "save 900 1\nsave 300 10\n",
            &[],
            &[("save", "900 1 300 10")],
        ),
        (
            "save 900 1 300 10\n",
            &["--save", "60", "5"],
            &[("save", "900 1 300 10 60 5")],
        ),
        ("save 900 1\nsave \"\"\nsave 5 5\n", &[], &[("save", "5 5")]),
        ("save \"900 1\"\n", &["--save", ""], &[("save", "")]),
        (
            "",
            &["--save", "--port", "7"],
            &[("save", ""), ("port", "7")],
        ),
        (
            "",
            &["--bind", "a", "b", "--maxmemory", "1gb"],
            &[("bind", "a b"), ("maxmemory", "1073741824")],
        ),
        (
            "",
            &["--list-max-listpack-size", "-1"],
            &[("list-max-listpack-size", "-1")],
        ),
        ("", &["--requirepass", "-x y"], &[("requirepass", "-x y")]),
        (
            "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6\n",
            &[],
            &[(
                "client-output-buffer-limit",
                "normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6",
            )],
        ),
        (
            "port 9\ninclude {dir}/a1.inc\n",
            &[],
            &[("port", "1"), ("timeout", "1")],
        ),
        (
            "include {dir}/a*.inc\nport 9\n",
            &[],
            &[("port", "9"), ("timeout", "2")],
        ),
        (
            "include {dir}/missing/*.inc\ninclude {dir}/z*.inc\n",
            &[],
            &[("port", "6379")],
        ),
        (
            "unixsocketperm 700\nhash-max-ziplist-value 3\n",
            &[],
            &[("unixsocketperm", "700"), ("hash-max-listpack-value", "3")],
        ),
        (
            "replicaof \"\"\ncluster-enabled no\ntls-port 0\n",
            &[],
            &[("cluster-enabled", "no")],
        ),
        ("maxdisk 0\n", &[], &[("maxdisk", "0")]),
    ];
    for (content, options, expected) in cases {
        let (settings, warnings) =
            load_file(content, options).unwrap_or_else(|error| panic!("{content:?}: {error}"));
        assert_eq!(warnings, [], "{content:?}");
        for (name, value) in *expected {
            let shown = settings.get(&[name.as_bytes()]);
            assert_eq!(
                shown,
                [(name.to_string(), value.to_string())],
                "{content:?} {options:?}"
            );
        }
    }
}

#[test]
fn errors_name_the_line() {
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "port 1\nfoo bar\n",
            &[],
            "configuration file, at line 2\n>>> 'foo bar'\nBad directive or wrong number of arguments",
        ),
        (
            "# c\n\nport\n",
            &[],
            "configuration file, at line 3\n>>> 'port'\nBad directive or wrong number of arguments",
        ),
        (
            "port 1 2\n",
            &[],
            "configuration file, at line 1\n>>> 'port 1 2'\nwrong number of arguments",
        ),
        (
            "port x\n",
            &[],
            "configuration file, at line 1\n>>> 'port x'\nargument couldn't be parsed into an integer",
        ),
        (
            "port 65536\n",
            &[],
            "configuration file, at line 1\n>>> 'port 65536'\nargument must be between 0 and 65535 inclusive",
        ),
        (
            "appendonly maybe\n",
            &[],
            "configuration file, at line 1\n>>> 'appendonly maybe'\nargument must be 'yes' or 'no'",
        ),
        (
            "save \"a\n",
            &[],
            "configuration file, at line 1\n>>> 'save \"a'\nUnbalanced quotes in configuration line",
        ),
        (
            "include\n",
            &[],
            "configuration file, at line 1\n>>> 'include'\nwrong number of arguments",
        ),
        (
            "include {dir}/bad.inc\n",
            &[],
            "configuration file '{dir}/bad.inc', at line 2\n>>> 'bad line'\nBad directive or wrong number of arguments",
        ),
        (
            "unixsocketperm 8\n",
            &[],
            "configuration file, at line 1\n>>> 'unixsocketperm 8'\nargument couldn't be parsed as an octal number",
        ),
        (
            "replicaof host 1\n",
            &[],
            "configuration file, at line 1\n>>> 'replicaof host 1'\nLarder does not replicate; it must not be taken for a replica.",
        ),
        (
            "loadmodule x\n",
            &[],
            "configuration file, at line 1\n>>> 'loadmodule x'\nLarder has no modules.",
        ),
        (
            "",
            &["--foo", "bar"],
            "command line\n>>> '--foo bar'\nBad directive or wrong number of arguments",
        ),
        (
            "",
            &["--port"],
            "command line\n>>> '--port'\nBad directive or wrong number of arguments",
        ),
    ];
    for (content, options, expected) in cases {
        let expected = format!("\n*** FATAL CONFIG FILE ERROR ***\nReading the {expected}");
        assert_eq!(
            load_file(content, options).err(),
            Some(expected),
            "{content:?}"
        );
    }
    let looped = load_file("include {dir}/loop.inc\n", &[])
        .err()
        .unwrap_or_default();
    assert!(looped.contains("included too deeply"), "{looped}");
    let missing = load(&arguments(&["/no/such/file"]))
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        missing.contains("can't open config file '/no/such/file'"),
        "{missing}"
    );
    let stray = load_file("", &["stray"]).err().unwrap_or_default();
    assert!(stray.contains("unexpected argument 'stray'"), "{stray}");
}

#[test]
fn each_directive_without_effect_warns_once() {
    let content = "rdbcompression no\nio-threads 4\nrdbcompression yes\nslave-priority 10\n\
        proc-title-template \"{title} {x}\"\noom-score-adj-values 0 1 2\n";
    let (settings, warnings) = load_file(content, &[]).expect("a valid file");
    let warned: Vec<&str> = warnings
        .iter()
        .map(|warning| warning.directive.as_str())
        .collect();
    assert_eq!(
        warned,
        [
            "rdbcompression",
            "io-threads",
            "slave-priority",
            "proc-title-template",
            "oom-score-adj-values"
        ]
    );
    assert_eq!(
        warnings[1].to_string(),
        "The directive 'io-threads' has no effect: Every thread of Larder reads, executes and writes; see the directive threads."
    );
    let cases = [
        ("rdbcompression", "yes"),
        ("replica-priority", "10"),
        ("proc-title-template", "{title} {x}"),
        ("oom-score-adj-values", "0 1 2"),
    ];
    for (name, value) in cases {
        assert_eq!(
            settings.get(&[name.as_bytes()]),
            [(name.to_owned(), value.to_owned())]
        );
    }
}

#[test]
fn a_directive_of_a_later_version_warns_unless_it_is_left_at_its_default() {
    let warned = |content| {
        let (_, warnings) = load_file(content, &[]).expect("a valid file");
        let texts = warnings.iter().map(|warning| warning.to_string());
        texts.collect::<Vec<_>>()
    };
    let expected = |name| {
        format!(
            "The directive '{name}' has no effect: it is accepted and shown, and will be in force in a later version."
        )
    };
    for (content, name) in [
        ("hz 10\nhz 50\nhz 20\n", Some("hz")),
        (
            "slowlog-max-len 1
",
            None,
        ),
        (
            "hz 10\nslowlog-max-len 128\nnotify-keyspace-events Kx\n",
            None,
        ),
        (
            "lazyfree-lazy-user-del no\nlazyfree-lazy-user-flush yes\n",
            None,
        ),
        ("enable-debug-command yes\nprotected-mode no\n", None),
    ] {
        let expected: Vec<String> = name.map(expected).into_iter().collect();
        assert_eq!(warned(content), expected, "{content}");
    }
}

#[test]
fn help_and_version_are_printed() {
    let printed = |list: &[&str]| match parse_command_line(&arguments(list)) {
        Ok(Invocation::Print(text)) => text,
        other => panic!("{list:?}: {other:?}"),
    };
    for list in [["--help"], ["-h"]] {
        let help = printed(&list);
        for expected in [
            "larder [FILE] [--directive value ...]",
            "--maxmemory",
            "docs/configuration.md",
            "Examples",
        ] {
            assert!(help.contains(expected), "{help}");
        }
    }
    for list in [["--version"], ["-V"], ["-v"]] {
        assert_eq!(
            printed(&list),
            format!("larder {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}

#[test]
fn options_reach_the_server() {
    let lists: [&[&str]; 4] = [
        &[],
        &["--port", "7000"],
        &["--port", "7000", "--save", ""],
        &["--maxdisk", "0", "--port", "7000"],
    ];
    for list in lists {
        let Ok(Invocation::Serve { settings, warnings }) = parse_command_line(&arguments(list))
        else {
            panic!("{list:?}");
        };
        assert_eq!(settings.port, if list.is_empty() { 6379 } else { 7000 });
        assert_eq!((warnings.len(), &settings.config_file), (0, &None));
    }
}

#[test]
fn the_directives_named_in_the_help_exist_with_these_defaults() {
    let named = HELP.lines().filter_map(|line| line.strip_prefix("  --"));
    let mut count = 0;
    for line in named {
        let line = line.split("  ").next().unwrap_or_default();
        let (name, default) = line.split_once(' ').expect("a directive and its default");
        let directive = table::find(name).unwrap_or_else(|| panic!("{name}"));
        let placeholder = default.bytes().all(|byte| byte.is_ascii_uppercase());
        assert!(
            directive.default == default || (placeholder && directive.default.is_empty()),
            "{name} {default}"
        );
        count += 1;
    }
    assert!(count > 10);
}
