//! The slow log: what took longer than `slowlog-log-slower-than`, newest first; and SLOWLOG.

use super::client::write_help;
use super::context::Context;
use super::session::Session;
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Arguments of a command that are kept.
const ARGUMENTS_MAX: usize = 32;
/// Bytes of an argument that are kept.
const ARGUMENT_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Ascending.
    pub id: u64,
    /// Unix seconds at which it ended.
    pub at_seconds: u64,
    /// How long it took.
    pub microseconds: u64,
    /// The command line, shortened, secrets taken out.
    pub arguments: Vec<Vec<u8>>,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Vec<u8>,
}

/// See the module's comment.
#[derive(Default)]
pub struct SlowLog {
    entries: Mutex<VecDeque<Entry>>,
    next_id: AtomicU64,
}

impl SlowLog {
    /// Notes a command, keeping at most `limit` entries.
    pub fn note(&self, session: &Session, arguments: &[&[u8]], microseconds: u64, limit: usize) {
        let entry = Entry {
            id: self.next_id.fetch_add(1, Relaxed),
            at_seconds: crate::clock::now_ms() / 1000,
            microseconds,
            arguments: shortened(arguments),
            address: session.address.clone(),
            name: session.name.clone(),
        };
        let mut entries = self.entries.lock();
        entries.push_front(entry);
        entries.truncate(limit);
    }

    /// The newest entries, at most so many.
    fn newest(&self, count: usize) -> Vec<Entry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }
}

/// A command line without its secrets, and not longer than the log keeps.
fn shortened(arguments: &[&[u8]]) -> Vec<Vec<u8>> {
    let all = arguments.len();
    let kept = if all > ARGUMENTS_MAX {
        ARGUMENTS_MAX - 1
    } else {
        all
    };
    let mut short: Vec<Vec<u8>> = (0..kept)
        .map(|index| {
            let argument = arguments[index];
            if is_secret(arguments, index) {
                return b"(redacted)".to_vec();
            }
            if argument.len() <= ARGUMENT_BYTES_MAX {
                return argument.to_vec();
            }
            let rest = argument.len() - ARGUMENT_BYTES_MAX;
            let mut short = argument[..ARGUMENT_BYTES_MAX].to_vec();
            short.extend(format!("... ({rest} more bytes)").bytes());
            short
        })
        .collect();
    if kept < all {
        short.push(format!("... ({} more arguments)", all - kept).into_bytes());
    }
    short
}

/// True if the argument at `index` must not be shown: passwords, and what belongs to users.
pub fn is_secret(arguments: &[&[u8]], index: usize) -> bool {
    const SECRET_SETTINGS: [&[u8]; 5] = [
        b"requirepass",
        b"masterauth",
        b"masteruser",
        b"tls-key-file-pass",
        b"tls-client-key-file-pass",
    ];
    let is = |at: usize, word: &[u8]| {
        arguments
            .get(at)
            .is_some_and(|argument| argument.eq_ignore_ascii_case(word))
    };
    if is(0, b"auth") {
        return index > 0;
    }
    if is(0, b"acl") {
        return index > 1 && (is(1, b"setuser") || is(1, b"deluser") || is(1, b"getuser"));
    }
    if is(0, b"config") && is(1, b"set") && index > 2 && index % 2 == 1 {
        return SECRET_SETTINGS.iter().any(|name| is(index - 1, name));
    }
    if is(0, b"hello") || is(0, b"migrate") {
        let (one, two): (&[u8], &[u8]) = (b"auth", b"auth2");
        let first = if is(0, b"hello") { 2 } else { 6 };
        let behind =
            |distance: usize, word| index >= first + distance && is(index - distance, word);
        let takes_two = if is(0, b"hello") { one } else { two };
        return behind(1, one) || behind(1, takes_two) || behind(2, takes_two);
    }
    false
}

fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("slowlog"))
}

fn get(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const INVALID: CommandError =
        CommandError::fixed("ERR count should be greater than or equal to -1");
    let count = match &arguments[2..] {
        [] => 10,
        [count] => match parse_integer(count).ok_or(INVALID)? {
            -1 => usize::MAX,
            count => usize::try_from(count).map_err(|_| INVALID)?,
        },
        _ => return Err(CommandError::unknown_subcommand("SLOWLOG", arguments[1])),
    };
    let entries = context.services.slow_log().newest(count);
    reply.array_header(entries.len());
    for entry in entries {
        reply.array_header(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.at_seconds as i64);
        reply.integer(entry.microseconds as i64);
        reply.array_header(entry.arguments.len());
        entry
            .arguments
            .iter()
            .for_each(|argument| reply.bulk(argument));
        reply.bulk(entry.address.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(())
}

fn length(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.count(context.services.slow_log().entries.lock().len());
    Ok(())
}

fn reset(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.services.slow_log().entries.lock().clear();
    reply.ok();
    Ok(())
}

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const HELP: &[&str] = &[
        "GET [<count>]",
        "    Lists so many of the latest entries: 10 if nothing is said, with -1 all.",
        "    What is in each:",
        "    its number, when the command ended (Unix seconds), how many microseconds it took, its arguments,",
        "    the address of the client and its name.",
        "LEN",
        "    Tells how many entries there are.",
        "RESET",
        "    Removes all entries.",
    ];
    write_help("SLOWLOG", HELP, reply);
    Ok(())
}

const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    function: CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since: "2.2.12",
        summary,
        ..CommandSpec::new(name, arity, flags, KeySpec::NONE, Group::Server, function)
    }
}

const TIPS: &[&str] = &["request_policy:all_nodes", "nondeterministic_output"];

const SUBCOMMANDS: &[CommandSpec] = &[
    row(
        "get",
        -2,
        ADMIN,
        "Lists the latest commands that took long.",
        get,
    )
    .with_complexity("O(N) for N entries returned")
    .with_tips(TIPS)
    .with_syntax("[count:integer]")
    .with_history(&[("4.0.0", "Entries have the client's address and name.")]),
    row(
        "len",
        2,
        ADMIN,
        "Tells how many commands are in the slow log.",
        length,
    )
    .with_tips(&[
        "request_policy:all_nodes",
        "response_policy:agg_sum",
        "nondeterministic_output",
    ]),
    row("reset", 2, ADMIN, "Empties the slow log.", reset)
        .with_complexity("O(N) for N entries that there are")
        .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Lists the subcommands and what each is for.",
        help,
    )
    .with_since("6.2.0"),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    subcommands: SUBCOMMANDS,
    ..row(
        "slowlog",
        -2,
        Flags::NONE,
        "Shows which commands took long.",
        container,
    )
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_command_lines_are_shortened_and_secrets_taken_out() {
        let line = |text: &str| {
            let arguments: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            let short = shortened(&arguments);
            let short: Vec<String> = short
                .iter()
                .map(|argument| String::from_utf8_lossy(argument).into_owned())
                .collect();
            short.join(" ")
        };
        let cases = [
            ("GET a", "GET a"),
            ("AUTH secret", "AUTH (redacted)"),
            ("AUTH user secret", "AUTH (redacted) (redacted)"),
            ("ACL SETUSER a +get", "ACL SETUSER (redacted) (redacted)"),
            ("ACL LIST", "ACL LIST"),
            (
                "CONFIG SET port 1 requirepass x",
                "CONFIG SET port 1 requirepass (redacted)",
            ),
            (
                "HELLO 3 AUTH u p SETNAME n",
                "HELLO 3 AUTH (redacted) (redacted) SETNAME n",
            ),
            (
                "MIGRATE h p k 0 5 AUTH s",
                "MIGRATE h p k 0 5 AUTH (redacted)",
            ),
        ];
        for (full, expected) in cases {
            assert_eq!(line(full), expected);
        }
        let many = vec!["x"; 40].join(" ");
        assert!(line(&many).ends_with("x x ... (9 more arguments)"));
        let long = "y".repeat(130);
        assert!(line(&long).ends_with("y... (2 more bytes)"));
    }
}
