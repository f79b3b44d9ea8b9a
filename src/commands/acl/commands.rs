//! ACL and its subcommands.

use super::check::check;
use super::selector::Selector;
use super::users::{Aftermath, is_bad_name};
use crate::commands::categories::{Categories, NAMES, categories};
use crate::commands::client::write_help;
use crate::commands::context::Context;
use crate::commands::services::ClientFilter;
use crate::commands::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use crate::commands::{Services, table, transactions};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use ring::rand::{SecureRandom, SystemRandom};

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    Lists the commands of <category>; without one,",
    "    the categories that there are.",
    "DELUSER <username> [<username> ...]",
    "    Removes users and hangs up on whoever is logged in as one of them.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Tells whether a user may run a command line, which is not run.",
    "GETUSER <username>",
    "    Shows what a user may do, and the hashes of the passwords.",
    "GENPASS [<bits>]",
    "    Makes up a password of 256 random bits,",
    "    or of so many.",
    "LIST",
    "    Shows each user as a line of an ACL file.",
    "LOAD",
    "    Reads the ACL file again and takes its users in place of those that there are.",
    "LOG [<count> | RESET]",
    "    Shows what was lately refused to whom, or forgets it.",
    "SAVE",
    "    Writes all users into the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Makes a user, or changes one, by rules that apply from left to right.",
    "USERS",
    "    Lists the names of all users.",
    "WHOAMI",
    "    Tells as whom this connection is logged in.",
];

fn container(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("acl"))
}

fn text(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

/// Ends the clients that a change of users leaves without a right to be here. Says whether the caller is one of them.
fn settle(context: &mut Context<'_>, aftermath: &Aftermath) {
    for name in &aftermath.gone {
        let filter = ClientFilter {
            user: Some(text(name)),
            skip_id: Some(context.session.id),
            ..ClientFilter::default()
        };
        context.services.client_kill(&filter);
        context.session.closing |= context.session.user().name == *name;
    }
    for name in &aftermath.lost_channels {
        if let Some(user) = context.services.users().get(name) {
            context.services.check_channels(&user);
        }
    }
}

fn set_user(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    if is_bad_name(arguments[2]) {
        return Err(CommandError::fixed(
            "ERR Usernames can't contain spaces or null characters",
        ));
    }
    let all_channels = context.settings.acl_pubsub_default_all;
    let changed = context
        .services
        .users()
        .set(arguments[2], &arguments[3..], all_channels);
    let aftermath = changed.map_err(|error| CommandError::new(format!("ERR {error}")))?;
    settle(context, &aftermath);
    reply.ok();
    Ok(())
}

fn delete_users(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let names = &arguments[2..];
    if names.contains(&b"default".as_slice()) {
        return Err(CommandError::fixed(
            "ERR The 'default' user cannot be removed",
        ));
    }
    let aftermath = context.services.users().delete(names);
    settle(context, &aftermath);
    reply.count(aftermath.gone.len());
    Ok(())
}

fn write_selector(selector: &Selector, reply: &mut Reply<'_>) {
    reply.bulk(b"commands");
    reply.bulk(selector.command_rules().as_bytes());
    reply.bulk(b"keys");
    reply.bulk(&selector.key_rules());
    reply.bulk(b"channels");
    reply.bulk(&selector.channel_rules());
}

fn get_user(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let Some(user) = context.services.users().get(arguments[2]) else {
        reply.null();
        return Ok(());
    };
    reply.map_header(6);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set_header(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array_header(user.passwords.len());
    user.passwords
        .iter()
        .for_each(|password| reply.bulk(password.as_bytes()));
    write_selector(&user.selectors[0], reply);
    reply.bulk(b"selectors");
    reply.array_header(user.selectors.len() - 1);
    for selector in &user.selectors[1..] {
        reply.map_header(3);
        write_selector(selector, reply);
    }
    Ok(())
}

fn list(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let users = context.services.users().current().0;
    reply.array_header(users.len());
    users.values().for_each(|user| reply.bulk(&user.line()));
    Ok(())
}

fn users(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let users = context.services.users().current().0;
    reply.array_header(users.len());
    users.keys().for_each(|name| reply.bulk(name));
    Ok(())
}

fn who_am_i(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk(&context.session.user().name);
    Ok(())
}

fn cat(_: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    match &arguments[2..] {
        [] => {
            reply.array_header(NAMES.len());
            NAMES
                .iter()
                .for_each(|(_, name)| reply.bulk(name.as_bytes()));
        }
        [name] => {
            let category = Categories::named(name).ok_or_else(|| {
                CommandError::new(format!("ERR Unknown category '{:.128}'", text(name)))
            })?;
            let members = table::listed()
                .iter()
                .filter(|row| categories(row.spec).has(category));
            let members: Vec<String> = members.map(table::Listed::full_name).collect();
            reply.array_header(members.len());
            members.iter().for_each(|name| reply.bulk(name.as_bytes()));
        }
        _ => return Err(CommandError::unknown_subcommand("ACL", arguments[1])),
    }
    Ok(())
}

fn generate_password(
    _: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const INVALID: CommandError = CommandError::fixed(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    );
    let bits = match &arguments[2..] {
        [] => 256,
        [bits] => parse_integer(bits).ok_or(CommandError::NOT_INTEGER)?,
        _ => return Err(CommandError::unknown_subcommand("ACL", arguments[1])),
    };
    if !(1..=4096).contains(&bits) {
        return Err(INVALID);
    }
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| CommandError::fixed("ERR no random numbers to be had"))?;
    let mut password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    reply.bulk(password.as_bytes());
    Ok(())
}

fn log(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let log = &context.services.users().log;
    let count = match &arguments[2..] {
        [] => 10,
        [option] if option.eq_ignore_ascii_case(b"RESET") => {
            log.clear();
            reply.ok();
            return Ok(());
        }
        [count] => parse_integer(count).ok_or(CommandError::NOT_INTEGER)?,
        _ => return Err(CommandError::unknown_subcommand("ACL", arguments[1])),
    };
    let entries = log.newest(count.max(0) as usize);
    let now_ms = crate::clock::now_ms();
    reply.array_header(entries.len());
    for entry in entries {
        reply.map_header(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        let texts: [(&str, &[u8]); 5] = [
            ("reason", entry.reason.name().as_bytes()),
            ("context", entry.context.name().as_bytes()),
            ("object", &entry.object),
            ("username", &entry.user),
            ("client-info", entry.client.as_bytes()),
        ];
        for (name, value) in &texts[..4] {
            reply.bulk(name.as_bytes());
            reply.bulk(value);
        }
        reply.bulk(b"age-seconds");
        reply.double(now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0);
        reply.bulk(texts[4].0.as_bytes());
        reply.bulk(texts[4].1);
        for (name, value) in [
            ("entry-id", entry.id),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ] {
            reply.bulk(name.as_bytes());
            reply.integer(value as i64);
        }
    }
    Ok(())
}

fn dry_run(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let user =
        context.services.users().get(arguments[2]).ok_or_else(|| {
            CommandError::new(format!("ERR User '{}' not found", text(arguments[2])))
        })?;
    let line = &arguments[3..];
    let unknown = || CommandError::new(format!("ERR Command '{}' not found", text(line[0])));
    let found = table::find(line[0]).ok_or_else(unknown)?;
    if let Some(name) = line.get(1).filter(|_| !found.spec.subcommands.is_empty()) {
        table::find_subcommand(found, name).ok_or_else(unknown)?;
    }
    let row = transactions::resolve(line)?;
    match check(&user, row, line) {
        Ok(()) => reply.ok(),
        Err(denial) => reply.bulk(denial.message(&user, row, line, true).as_bytes()),
    }
    Ok(())
}

const NO_FILE: CommandError = CommandError::fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command \
     and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis \
     configuration.",
);

fn load(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let file = context.settings.aclfile_path().ok_or(NO_FILE)?;
    let path = &context.settings.aclfile;
    let content = std::fs::read(file).map_err(|error| {
        CommandError::new(format!(
            "ERR Error loading ACLs, opening file '{path}': {error}"
        ))
    })?;
    let all_channels = context.settings.acl_pubsub_default_all;
    let users = context.services.users();
    let aftermath = users
        .load(&content, path, all_channels)
        .map_err(|error| CommandError::new(format!("ERR {error}")))?;
    settle(context, &aftermath);
    reply.ok();
    Ok(())
}

fn save(context: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    let path = context.settings.aclfile_path().ok_or(NO_FILE)?;
    context.offload(move |services: &dyn Services, reply| {
        let content = services.users().file();
        crate::config::replace_file(&path, &content).map_err(|error| {
            tracing::warn!(%error, path = %path.display(), "the ACL file could not be written");
            CommandError::fixed(
                "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
            )
        })?;
        reply.ok();
        Ok(())
    });
    Ok(())
}

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    write_help("ACL", HELP, reply);
    Ok(())
}

const PLAIN: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = PLAIN.and(Flags::ADMIN);

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    function: CommandFunction,
) -> CommandSpec {
    CommandSpec {
        since: "6.0.0",
        summary,
        ..CommandSpec::new(name, arity, flags, KeySpec::NONE, Group::Server, function)
    }
}

const PER_USER: &str = "O(N) for N users";

const SUBCOMMANDS: &[CommandSpec] = &[
    row(
        "cat",
        -2,
        PLAIN,
        "Lists the categories, or the commands of one of them.",
        cat,
    )
    .with_complexity("O(1) for the categories; for one of them O(N), N being all commands")
    .with_syntax("[category]"),
    row(
        "deluser",
        -3,
        ADMIN,
        "Removes users and hangs up on whoever is logged in as one of them.",
        delete_users,
    )
    .with_complexity("O(1) for each user, if it has few rules")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .with_syntax("username..."),
    row(
        "dryrun",
        -4,
        ADMIN,
        "Tells whether a user may run a command line, which is not run.",
        dry_run,
    )
    .with_since("7.0.0")
    .with_syntax("username command [arg...]"),
    row(
        "genpass",
        -2,
        PLAIN,
        "Makes up a random password.",
        generate_password,
    )
    .with_syntax("[bits:integer]"),
    row("getuser", 3, ADMIN, "Shows what a user may do.", get_user)
        .with_complexity("O(N) for N passwords and rules of the user")
        .with_syntax("username")
        .with_history(&[
            ("6.2.0", "Shows patterns of channels."),
            (
                "7.0.0",
                "Shows selectors; patterns of keys and channels look like the rules.",
            ),
        ]),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        "Lists the subcommands and what each is for.",
        help,
    ),
    row(
        "list",
        2,
        ADMIN,
        "Shows each user as a line of an ACL file.",
        list,
    )
    .with_complexity(PER_USER),
    row(
        "load",
        2,
        ADMIN,
        "Takes the users of the ACL file in place of those that there are.",
        load,
    )
    .with_complexity(PER_USER),
    row(
        "log",
        -2,
        ADMIN,
        "Shows what was lately refused, and to whom.",
        log,
    )
    .with_complexity("O(N) for N entries returned")
    .with_syntax("operation[count:integer | RESET]")
    .with_history(&[(
        "7.2.0",
        "Entries have an ID and two times: when they were made and last changed.",
    )]),
    row(
        "save",
        2,
        ADMIN.and(Flags::OFFLOADED),
        "Writes all users into the ACL file.",
        save,
    )
    .with_complexity(PER_USER)
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    row(
        "setuser",
        -3,
        ADMIN,
        "Makes a user, or changes what one may do.",
        set_user,
    )
    .with_complexity("O(N) for N rules")
    .with_tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
    .with_syntax("username [rule...]")
    .with_history(&[
        ("6.2.0", "Rules about channels."),
        ("7.0.0", "Selectors; rules about what may be done to keys."),
    ]),
    row("users", 2, ADMIN, "Lists the names of the users.", users).with_complexity(PER_USER),
    row(
        "whoami",
        2,
        PLAIN,
        "Tells as whom this connection is logged in.",
        who_am_i,
    ),
];

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    subcommands: SUBCOMMANDS,
    ..row(
        "acl",
        -2,
        Flags::NONE,
        "Manages users and what they may do.",
        container,
    )
}];
