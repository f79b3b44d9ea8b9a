//! CLIENT and its subcommands.

use super::context::Context;
use super::services::{Caller, ClientFilter};
use super::session::ReplyMode;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;

const HELP: &[&str] = &[
    "GETNAME",
    "    Tells the name that SETNAME gave to this connection.",
    "ID",
    "    Tells the number of this connection.",
    "INFO",
    "    Shows this connection's line of LIST.",
    "KILL <ip:port>",
    "    Closes the connection that comes from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Closes all connections that fit the options: ADDR, LADDR, TYPE, USER, SKIPME, ID, MAXAGE.",
    "LIST [options ...]",
    "    Shows a line for each connection, or for those that TYPE or ID name.",
    "NO-EVICT (ON|OFF)",
    "    Is remembered; clients are not evicted in any case.",
    "NO-TOUCH (ON|OFF)",
    "    With ON, what this connection does is no use of its keys.",
    "CAPA <option> [<option> ...]",
    "    Says what the client can do; nothing of it matters here.",
    "CACHING (YES|NO)",
    "    Says whether the keys of the next command are tracked, in the modes OPTIN and OPTOUT.",
    "GETREDIR",
    "    Tells the number of the connection that tracking tells of changes; 0 if it is this one.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Tells the client when keys change that it has read, so that it can keep copies.",
    "TRACKINGINFO",
    "    Shows how tracking is set up for this connection.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Lets all commands wait for so many milliseconds, or only those that write.",
    "UNPAUSE",
    "    Ends what PAUSE began.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Ends the wait of a client in a blocking command, as by its timeout or with an error.",
    "REPLY (ON|OFF|SKIP)",
    "    Switches replies off and on, or drops that to the next command.",
    "SETINFO <option> <value>",
    "    Notes what the client says of itself: LIB-NAME, LIB-VER.",
    "SETNAME <name>",
    "    Gives this connection a name, which LIST shows.",
];

/// A client's or library's name: printable ASCII without spaces.
pub(super) fn checked_name(name: &[u8]) -> Result<&[u8], CommandError> {
    const ERROR: CommandError = CommandError::fixed(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    );
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(name)
    } else {
        Err(ERROR)
    }
}

fn text(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("client"))
}

fn id(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(context.session.id as i64);
    Ok(())
}

fn get_name(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let name = &context.session.name;
    reply.bulk_or_null((!name.is_empty()).then_some(name));
    Ok(())
}

fn set_name(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    context.session.name = checked_name(arguments[2])?.to_vec();
    context.services.client_changed(context.session);
    reply.ok();
    Ok(())
}

fn set_info(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (option, value) = (arguments[2], arguments[3]);
    let (field, name) = if option.eq_ignore_ascii_case(b"LIB-NAME") {
        (&mut context.session.library_name, "lib-name")
    } else if option.eq_ignore_ascii_case(b"LIB-VER") {
        (&mut context.session.library_version, "lib-ver")
    } else {
        return Err(CommandError::new(format!(
            "ERR Unrecognized option '{}'",
            text(option)
        )));
    };
    if checked_name(value).is_err() {
        return Err(CommandError::new(format!(
            "ERR {name} cannot contain spaces, newlines or special characters."
        )));
    }
    *field = value.to_vec();
    context.services.client_changed(context.session);
    reply.ok();
    Ok(())
}

fn caller(context: &Context<'_>, command: &'static str, arguments: &[&[u8]]) -> Option<Caller> {
    Some(Caller {
        id: context.session.id,
        command,
        argument_bytes: arguments.iter().map(|argument| argument.len()).sum(),
    })
}

fn info(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let filter = ClientFilter {
        ids: vec![context.session.id],
        caller: caller(context, "client|info", arguments),
        ..ClientFilter::default()
    };
    reply.verbatim(*b"txt", context.services.client_list(&filter).as_bytes());
    Ok(())
}

fn client_type(name: &[u8]) -> Result<String, CommandError> {
    let name = text(name).to_lowercase();
    match name.as_str() {
        "normal" | "master" | "replica" | "pubsub" => Ok(name),
        "slave" => Ok("replica".into()),
        _ => Err(CommandError::new(format!(
            "ERR Unknown client type '{name}'"
        ))),
    }
}

fn client_id(argument: &[u8]) -> Result<u64, CommandError> {
    const INVALID: CommandError = CommandError::fixed("ERR Invalid client ID");
    parse_integer(argument)
        .and_then(|id| u64::try_from(id).ok())
        .ok_or(INVALID)
}

fn list(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let mut filter = ClientFilter {
        caller: caller(context, "client|list", arguments),
        ..ClientFilter::default()
    };
    match &arguments[2..] {
        [] => {}
        [option, kind] if option.eq_ignore_ascii_case(b"TYPE") => {
            filter.kind = Some(client_type(kind)?)
        }
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            filter.ids = ids
                .iter()
                .map(|id| client_id(id))
                .collect::<Result<_, _>>()?;
        }
        _ => return Err(CommandError::SYNTAX),
    }
    reply.verbatim(*b"txt", context.services.client_list(&filter).as_bytes());
    Ok(())
}

fn kill_filter(context: &Context<'_>, options: &[&[u8]]) -> Result<ClientFilter, CommandError> {
    const NOT_AN_ID: CommandError = CommandError::fixed("ERR client-id should be greater than 0");
    const NOT_AN_AGE: CommandError =
        CommandError::fixed("ERR maxage is not an integer or out of range");
    const NO_AGE: CommandError = CommandError::fixed("ERR maxage should be greater than 0");
    let mut filter = ClientFilter {
        skip_id: Some(context.session.id),
        ..ClientFilter::default()
    };
    if !options.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    for pair in options.chunks(2) {
        let (option, value) = (pair[0].to_ascii_uppercase(), pair[1]);
        match option.as_slice() {
            b"ID" => {
                let id = parse_integer(value).filter(|id| *id > 0).ok_or(NOT_AN_ID)?;
                filter.ids.push(id as u64);
            }
            b"ADDR" => filter.address = Some(text(value)),
            b"LADDR" => filter.local_address = Some(text(value)),
            b"TYPE" => filter.kind = Some(client_type(value)?),
            b"USER" if context.services.users().get(value).is_some() => {
                filter.user = Some(text(value));
            }
            b"USER" => {
                return Err(CommandError::new(format!(
                    "ERR No such user '{}'",
                    text(value)
                )));
            }
            b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => {
                filter.skip_id = Some(context.session.id)
            }
            b"SKIPME" if value.eq_ignore_ascii_case(b"no") => filter.skip_id = None,
            b"MAXAGE" => {
                let age = parse_integer(value).ok_or(NOT_AN_AGE)?;
                let age = u64::try_from(age).ok().filter(|age| *age > 0);
                filter.older_than_seconds = Some(age.ok_or(NO_AGE)?);
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
    Ok(filter)
}

fn kill(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let kills_self = |filter: &ClientFilter, context: &Context<'_>| {
        filter.skip_id.is_none()
            && (filter.ids.is_empty() || filter.ids.contains(&context.session.id))
            && filter
                .address
                .as_deref()
                .is_none_or(|address| address == context.session.address)
            && filter
                .local_address
                .as_deref()
                .is_none_or(|address| address == context.session.local_address)
            && filter.kind.as_deref().is_none_or(|kind| kind == "normal")
            && filter
                .user
                .as_deref()
                .is_none_or(|user| user.as_bytes() == context.session.user().name)
            && filter.older_than_seconds.is_none()
    };
    if let [_, _, address] = arguments {
        let filter = ClientFilter {
            address: Some(text(address)),
            ..ClientFilter::default()
        };
        return kill_all(context, filter, kills_self, true, reply);
    }
    let filter = kill_filter(context, &arguments[2..])?;
    kill_all(context, filter, kills_self, false, reply)
}

/// Ends the connections that match. The caller's own ends after its reply.
fn kill_all(
    context: &mut Context<'_>,
    mut filter: ClientFilter,
    kills_self: impl Fn(&ClientFilter, &Context<'_>) -> bool,
    old_style: bool,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let own = u64::from(kills_self(&filter, context));
    if own == 1 {
        filter.skip_id = Some(context.session.id);
    }
    let killed = context.services.client_kill(&filter) + own;
    if old_style && killed == 0 {
        return Err(CommandError::fixed("ERR No such client"));
    }
    context.session.closing |= own == 1;
    if old_style {
        reply.ok()
    } else {
        reply.integer(killed as i64)
    }
    Ok(())
}

fn on_or_off(argument: &[u8]) -> Result<bool, CommandError> {
    if argument.eq_ignore_ascii_case(b"ON") {
        Ok(true)
    } else if argument.eq_ignore_ascii_case(b"OFF") {
        Ok(false)
    } else {
        Err(CommandError::SYNTAX)
    }
}

fn no_evict(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    context.session.no_evict = on_or_off(arguments[2])?;
    context.services.client_changed(context.session);
    reply.ok();
    Ok(())
}

fn no_touch(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    context.session.no_touch = on_or_off(arguments[2])?;
    reply.ok();
    Ok(())
}

/// What Valkey's clients say of themselves: that they can be sent to another server, which does not happen here. Options that
/// are not known are ignored.
fn capabilities(
    _context: &mut Context<'_>,
    _arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply.ok();
    Ok(())
}

fn reply_mode(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mode = arguments[2];
    context.session.reply_mode = if mode.eq_ignore_ascii_case(b"ON") {
        ReplyMode::On
    } else if mode.eq_ignore_ascii_case(b"OFF") {
        ReplyMode::Off
    } else if mode.eq_ignore_ascii_case(b"SKIP") {
        ReplyMode::SkipNext
    } else {
        return Err(CommandError::SYNTAX);
    };
    reply.ok();
    Ok(())
}

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    write_help("CLIENT", HELP, reply);
    Ok(())
}

/// The reply of a HELP subcommand.
pub(super) fn write_help(container: &str, lines: &[&str], reply: &mut Reply<'_>) {
    reply.array_header(lines.len() + 3);
    reply.simple(format!(
        "{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Shows these lines.");
}

const FLAGS: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);

const fn row(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    function: super::spec::CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since,
        summary,
        ..CommandSpec::new(
            name,
            arity,
            FLAGS,
            KeySpec::NONE,
            Group::Connection,
            function,
        )
    }
}

const CONNECTIONS: &str = "O(N) for N connections";

const SUBCOMMANDS: &[CommandSpec] = &[
    row(
        "id",
        2,
        "5.0.0",
        "Tells the number of this connection.",
        id,
    ),
    row(
        "getname",
        2,
        "2.6.9",
        "Tells the name that SETNAME gave to this connection.",
        get_name,
    ),
    row("setname", 3, "2.6.9", "Gives this connection a name, which CLIENT LIST shows.", set_name)
        .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .with_syntax("connection-name"),
    row(
        "setinfo",
        4,
        "7.2.0",
        "Notes the name and version of the client's library.",
        set_info,
    )
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .with_syntax("attr<LIB-NAME libname | LIB-VER libver>"),
    row(
        "info",
        2,
        "6.2.0",
        "Shows the line of CLIENT LIST for this connection.",
        info,
    )
    .with_complexity(CONNECTIONS)
    .with_tips(&["nondeterministic_output"]),
    row("list", -2, "2.4.0", "Shows a line for each connection.", list)
        .with_complexity(CONNECTIONS)
        .with_flags(Flags::ADMIN)
        .with_tips(&["nondeterministic_output"])
        .with_syntax(
            "client-type[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>]@5.0.0 \
             [ID client-id:integer...]@6.2.0",
        )
        .with_history(&[
            ("2.8.12", "Shows `id`."),
            ("6.0.0", "Shows `user`."),
            ("6.2.0", "Shows `argv-mem`, `tot-mem`, `laddr`, `redir`."),
            ("7.0.0", "Shows `resp`, `multi-mem`, `rbs`, `rbp`."),
            ("7.0.3", "Shows `ssub`."),
        ]),
    row("kill", -3, "2.4.0", "Hangs up on clients: by address, number, user, type or age.", kill)
        .with_complexity(CONNECTIONS)
        .with_flags(Flags::ADMIN)
        .with_syntax(
            "filter<old-format{ip:port}@-2.8.12 | new-format<[ID client-id:integer]@2.8.12 \
             | client-type[TYPE <NORMAL | MASTER@3.2.0 | SLAVE | REPLICA@5.0.0 | PUBSUB>]@2.8.12 \
             | [USER username] | [ADDR addr{ip:port}] | [LADDR laddr{ip:port}]@6.2.0 | [SKIPME <YES \
             | NO>] | [MAXAGE maxage:integer]@7.4.0>...>",
        ),
    row(
        "no-evict",
        3,
        "7.0.0",
        "Is remembered; clients are not evicted in any case.",
        no_evict,
    )
    .with_flags(Flags::ADMIN)
    .with_syntax("enabled<ON | OFF>"),
    row(
        "no-touch",
        3,
        "7.2.0",
        "Says whether what this connection does is a use of its keys.",
        no_touch,
    )
    .with_syntax("enabled<ON | OFF>"),
    row(
        "capa",
        -3,
        "8.0.0",
        "Is told what the client can do; nothing of it matters here. A command of Valkey.",
        capabilities,
    )
    .with_syntax("option..."),
    row(
        "reply",
        3,
        "3.2.0",
        "Switches replies off and on, or drops that to the next command.",
        reply_mode,
    )
    .with_syntax("action<ON | OFF | SKIP>"),
    row(
        "tracking",
        -3,
        "6.0.0",
        "Has the client told when keys change that it has read, so that it can keep copies.",
        super::client_tracking::tracking,
    )
    .with_syntax(
        "status<ON | OFF> [REDIRECT client-id:integer] [PREFIX prefix]... [BCAST] [OPTIN] \
         [OPTOUT] [NOLOOP]",
    ),
    row(
        "caching",
        3,
        "6.0.0",
        "Says whether the keys of the next command are tracked.",
        super::client_tracking::caching,
    )
    .with_syntax("mode<YES | NO>"),
    row(
        "getredir",
        2,
        "6.0.0",
        "Tells which connection hears of changed keys in place of this one.",
        super::client_tracking::getredir,
    ),
    row(
        "trackinginfo",
        2,
        "6.2.0",
        "Shows how tracking is set up for this connection.",
        super::client_tracking::trackinginfo,
    ),
    row(
        "pause",
        -3,
        "3.0.0",
        "Lets the commands of all clients wait for some time, or only those that write.",
        super::client_control::pause,
    )
    .with_flags(Flags::ADMIN)
    .with_syntax("timeout:integer mode[WRITE | ALL]@6.2.0"),
    row(
        "unpause",
        2,
        "6.2.0",
        "Ends what CLIENT PAUSE began.",
        super::client_control::unpause,
    )
    .with_flags(Flags::ADMIN),
    row(
        "unblock",
        -3,
        "5.0.0",
        "Ends the wait of another client, as by its timeout or with an error.",
        super::client_control::unblock,
    )
    .with_complexity("O(log(N)) for N connections")
    .with_flags(Flags::ADMIN)
    .with_syntax("client-id:integer unblock-type[TIMEOUT | ERROR]"),
    CommandSpec {
        flags: Flags::LOADING.and(Flags::STALE),
        ..row(
            "help",
            2,
            "5.0.0",
            "Lists the subcommands and what each is for.",
            help,
        )
    },
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "2.4.0",
    summary: "Looks after connections, this one and others.",
    subcommands: SUBCOMMANDS,
    ..CommandSpec::new(
        "client",
        -2,
        Flags::NONE,
        KeySpec::NONE,
        Group::Connection,
        container,
    )
}];
