//! Connection commands: PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET.

use super::acl::{self, LogContext, Reason};
use super::context::Context;
use super::options::integer_in;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::pubsub::ChannelKind;
use crate::resp::number::parse_integer;
use crate::resp::{Protocol, Reply};

const WRONG_PASSWORD: CommandError =
    CommandError::fixed("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: CommandError = CommandError::fixed(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);

fn ping(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    match arguments {
        [_, message @ ..] if message.len() < 2 && context.session.only_listens() => {
            reply.array_header(2);
            reply.bulk(b"pong");
            reply.bulk(message.first().copied().unwrap_or_default());
        }
        [_] => reply.raw(crate::resp::reply::PONG),
        [_, message] => reply.bulk(message),
        _ => return Err(CommandError::wrong_arity("ping")),
    }
    Ok(())
}

fn echo(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk(arguments[1]);
    Ok(())
}

/// Checks name and password, and makes the session that user's.
fn authenticate(
    context: &mut Context<'_>,
    command: &[u8],
    name: &[u8],
    password: &[u8],
) -> CommandResult {
    let users = context.services.users();
    let version = users.version();
    let Some(user) = users.authenticate(name, password) else {
        let source = if context.may_block {
            LogContext::TopLevel
        } else {
            LogContext::Multi
        };
        let denied = (Reason::Auth, command.to_vec(), name.to_vec());
        acl::check::note(
            context.session,
            context.settings,
            context.services,
            denied,
            source,
        );
        return Err(WRONG_PASSWORD);
    };
    context.session.authenticated = true;
    context.session.set_user(user, version);
    context.services.client_changed(context.session);
    Ok(())
}

fn auth(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    match arguments {
        [_, password] => {
            let default = context.services.users().get(b"default");
            if default.is_some_and(|user| user.needs_no_password) {
                return Err(NO_PASSWORD_SET);
            }
            authenticate(context, arguments[0], b"default", password)?;
        }
        [_, user, password] => authenticate(context, arguments[0], user, password)?,
        _ => return Err(CommandError::SYNTAX),
    }
    reply.ok();
    Ok(())
}

fn hello(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const NO_PROTOCOL: CommandError = CommandError::fixed("NOPROTO unsupported protocol version");
    const NOT_A_VERSION: CommandError =
        CommandError::fixed("ERR Protocol version is not an integer or out of range");
    const NO_AUTH: CommandError = CommandError::fixed(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option \
         can be used to authenticate the client and select the RESP protocol version at the same time",
    );
    let mut protocol = context.session.protocol;
    if let Some(version) = arguments.get(1) {
        protocol = match parse_integer(version).ok_or(NOT_A_VERSION)? {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(NO_PROTOCOL),
        };
    }
    let (mut name, mut credentials) = (None, None);
    let mut index = 2;
    while index < arguments.len() {
        let more = arguments.len() - index - 1;
        if arguments[index].eq_ignore_ascii_case(b"AUTH") && more >= 2 {
            credentials = Some((arguments[index + 1], arguments[index + 2]));
            index += 3;
        } else if arguments[index].eq_ignore_ascii_case(b"SETNAME") && more >= 1 {
            name = Some(super::client::checked_name(arguments[index + 1])?);
            index += 2;
        } else {
            let option = String::from_utf8_lossy(arguments[index]);
            return Err(CommandError::new(format!(
                "ERR Syntax error in HELLO option '{option}'"
            )));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(context, arguments[0], user, password)?;
    }
    if !context.session.authenticated {
        return Err(NO_AUTH);
    }
    if let Some(name) = name {
        context.session.name = name.to_vec();
    }
    context.session.protocol = protocol;
    context.services.client_changed(context.session);
    reply.set_protocol(protocol);
    write_hello(context, reply);
    Ok(())
}

fn write_hello(context: &Context<'_>, reply: &mut Reply<'_>) {
    reply.map_header(7);
    for (name, value) in [("server", "redis"), ("version", "7.2.4")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if context.session.protocol == Protocol::Resp3 {
        3
    } else {
        2
    });
    reply.bulk(b"id");
    reply.integer(context.session.id as i64);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array_header(0);
}

fn select(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let index = integer_in(arguments[1], i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    let database = u32::try_from(index)
        .ok()
        .filter(|database| *database < context.keys.databases());
    context.session.database = database.ok_or(CommandError::DATABASE_OUT_OF_RANGE)?;
    reply.ok();
    Ok(())
}

fn quit(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.session.closing = true;
    reply.ok();
    Ok(())
}

fn reset(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.services.stop_tracking(context.session);
    context.services.stop_monitoring(context.session);
    for kind in ChannelKind::ALL {
        for topic in context.session.subscriptions[kind.index()].clone() {
            context.services.unsubscribe(context.session, kind, &topic);
        }
    }
    let users = context.services.users();
    context.session.reset(users.default_needs_no_password());
    context.services.client_changed(context.session);
    reply.set_protocol(Protocol::Resp2);
    reply.simple("RESET");
    Ok(())
}

const ALWAYS: Flags = Flags::FAST.and(Flags::LOADING).and(Flags::STALE);
const BEFORE_AUTH: Flags = ALWAYS.and(Flags::NOSCRIPT).and(Flags::NO_AUTH);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        summary: "Answers PONG, or what it is given.",
        ..CommandSpec::new(
            "ping",
            -1,
            Flags::FAST,
            KeySpec::NONE,
            Group::Connection,
            ping,
        )
    }
    .with_tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
    .with_syntax("[message]"),
    CommandSpec {
        summary: "Answers what it is given.",
        ..CommandSpec::new("echo", 2, ALWAYS, KeySpec::NONE, Group::Connection, echo)
    }
    .with_syntax("message"),
    CommandSpec {
        complexity: "O(N) for N passwords of the user",
        summary: "Logs in as a user.",
        ..CommandSpec::new(
            "auth",
            -2,
            BEFORE_AUTH,
            KeySpec::NONE,
            Group::Connection,
            auth,
        )
    }
    .with_flags(Flags::ALLOW_BUSY)
    .with_syntax("[username]@6.0.0 password"),
    CommandSpec {
        since: "6.0.0",
        summary: "Chooses the version of the protocol; may log in and name the connection as well.",
        ..CommandSpec::new(
            "hello",
            -1,
            BEFORE_AUTH,
            KeySpec::NONE,
            Group::Connection,
            hello,
        )
    }
    .with_flags(Flags::ALLOW_BUSY)
    .with_syntax("arguments[protover:integer [AUTH username password] [SETNAME clientname]]")
    .with_history(&[(
        "6.2.0",
        "Without a version it only tells about the connection.",
    )]),
    CommandSpec {
        summary: "Goes to another database.",
        ..CommandSpec::new(
            "select",
            2,
            ALWAYS,
            KeySpec::NONE,
            Group::Connection,
            select,
        )
    }
    .with_syntax("index:integer"),
    CommandSpec {
        summary: "Has the server hang up.",
        ..CommandSpec::new(
            "quit",
            -1,
            BEFORE_AUTH.and(Flags::NOT_QUEUED),
            KeySpec::NONE,
            Group::Connection,
            quit,
        )
    }
    .with_flags(Flags::ALLOW_BUSY)
    .with_deprecated("7.2.0", "hanging up"),
    CommandSpec {
        since: "6.2.0",
        summary: "Puts the connection back into the state that it began with.",
        ..CommandSpec::new(
            "reset",
            1,
            BEFORE_AUTH.and(Flags::NOT_QUEUED),
            KeySpec::NONE,
            Group::Connection,
            reset,
        )
    }
    .with_flags(Flags::ALLOW_BUSY),
];
