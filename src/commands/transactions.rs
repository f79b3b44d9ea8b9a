//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.
//!
//! EXEC is a command like any other, except that its keys are those of the whole queue: dispatch locks and makes
//! resident what [`queue_keys`] names, so that everything in here runs under one set of locks and becomes one log
//! record. WATCH needs no registration: it notes the LSN of the key, and EXEC compares.

use super::access::KeyUse;
use super::acl::{self, Denial, LogContext};
use super::context::{Context, Ran};
use super::options::up_to_nul;
use super::session::{Remembers, Transaction, WatchedKey};
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use super::table::{self, Row};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;

const NESTED_MULTI: CommandError = CommandError::fixed("ERR MULTI calls can not be nested");
const WATCH_INSIDE_MULTI: CommandError =
    CommandError::fixed("ERR WATCH inside MULTI is not allowed");
const EXEC_WITHOUT_MULTI: CommandError = CommandError::fixed("ERR EXEC without MULTI");
const DISCARD_WITHOUT_MULTI: CommandError = CommandError::fixed("ERR DISCARD without MULTI");
const ABORTED: CommandError =
    CommandError::fixed("EXECABORT Transaction discarded because of previous errors.");

fn multi(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if context.session.transaction.is_some() {
        return Err(NESTED_MULTI);
    }
    context.session.transaction = Some(Transaction::default());
    reply.ok();
    Ok(())
}

fn discard(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if context.session.transaction.take().is_none() {
        return Err(DISCARD_WITHOUT_MULTI);
    }
    context.session.watched.clear();
    reply.ok();
    Ok(())
}

fn watch(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    if context.session.transaction.is_some() {
        return Err(WATCH_INSIDE_MULTI);
    }
    let database = context.keys.database();
    for key in &arguments[1..] {
        let is_watched =
            |watched: &WatchedKey| watched.database == database && *watched.key == **key;
        if !context.session.watched.iter().any(is_watched) {
            let lsn = context.keys.lsn(key);
            context.session.watched.push(WatchedKey {
                database,
                key: (*key).into(),
                lsn,
            });
        }
    }
    reply.ok();
    Ok(())
}

fn unwatch(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.session.watched.clear();
    reply.ok();
    Ok(())
}

/// True if no watched key has changed. Their shards are locked.
fn watched_keys_stand(context: &mut Context<'_>) -> bool {
    let selected = context.keys.database();
    let watched = std::mem::take(&mut context.session.watched);
    let stand = watched.iter().all(|watched| {
        context.keys.select(watched.database);
        context.keys.lsn(&watched.key) == watched.lsn
    });
    context.keys.select(selected);
    stand
}

fn exec(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let transaction = context
        .session
        .transaction
        .take()
        .ok_or(EXEC_WITHOUT_MULTI)?;
    let stand = watched_keys_stand(context);
    if transaction.aborted {
        return Err(ABORTED);
    }
    if !stand {
        reply.null_array();
        return Ok(());
    }
    context.may_block = false;
    reply.array_header(transaction.queue.len());
    for queued in &transaction.queue {
        let arguments: Vec<&[u8]> = queued.iter().map(|argument| &**argument).collect();
        run_queued(context, &arguments, reply);
    }
    Ok(())
}

/// Calls a command's function, and does what goes with a call wherever it comes from (a client, EXEC, a script): shows it to
/// MONITOR, remembers what it read for CLIENT TRACKING.
pub fn invoke(
    context: &mut Context<'_>,
    row: Row,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let flags = row.spec.flags;
    // A script is shown before what it calls, a transaction after it.
    let is_shown_first = flags.has(Flags::RUNS_SCRIPT);
    let is_shown = context.is_monitored
        && !flags.has(Flags::ADMIN)
        && (is_shown_first || !flags.has(Flags::SKIP_MONITOR));
    if is_shown && is_shown_first {
        show(context, arguments);
    }
    let result = (row.spec.function)(context, arguments, reply);
    if is_shown && !is_shown_first {
        show(context, arguments);
    }
    if context.session.remembers != Remembers::Nothing {
        remember(context, row, arguments);
    }
    result
}

fn show(context: &Context<'_>, arguments: &[&[u8]]) {
    context
        .services
        .show_command(context.session, arguments, context.by_script);
}

fn remember(context: &mut Context<'_>, row: Row, arguments: &[&[u8]]) {
    let session = &mut *context.session;
    // A script's keys are those that its commands read, not those that it declares.
    let reads = row.spec.flags.has(Flags::READONLY) && !row.spec.flags.has(Flags::RUNS_SCRIPT);
    if reads && session.remembers_reads() {
        let untold = context.keys.untold();
        if !untold.is_empty() {
            context.services.tell_readers(session.id, untold);
        }
        row.spec.for_each_key(arguments, |index| {
            context.services.remember_read(session.id, arguments[index]);
        });
    }
    if row.spec.name != "caching" && session.transaction.is_none() {
        session.caching_given = false;
    }
}

fn run_queued(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) {
    let position = reply.position();
    let started = std::time::Instant::now();
    let resolved = resolve(arguments);
    let mut was_rejected = true;
    context.replied_error = false;
    let result = resolved.clone().and_then(|row| {
        still_allowed(context, row, arguments)?;
        was_rejected = false;
        context.keys.counts_lookups = row.spec.flags.has(Flags::READONLY);
        invoke(context, row, arguments, reply)
    });
    if let Err(error) = &result {
        reply.rewind(position);
        reply.error(error.text());
    }
    if let Ok(row) = resolved {
        let ran = Ran {
            row,
            arguments,
            settings: context.settings,
            nanoseconds: started.elapsed().as_nanos() as u64,
            error: result.as_ref().err().map(CommandError::text),
            has_failed: result.is_err() || std::mem::take(&mut context.replied_error),
            was_rejected,
        };
        context.services.ran_inside(context.session, &ran);
    }
    context.keys.select(context.session.database);
    reply.set_protocol(context.session.protocol);
}

/// Whether the user may run a queued command, now that it is its turn.
fn still_allowed(context: &Context<'_>, row: Row, arguments: &[&[u8]]) -> CommandResult {
    let (settings, services) = (context.settings, context.services);
    let multi = LogContext::Multi;
    acl::check_and_log(context.session, settings, services, row, arguments, multi).map_err(|denial| {
        let reason = match denial {
            Denial::Command => "no permission to execute the command or subcommand",
            Denial::Key(_) => "no permission to touch the specified keys",
            Denial::Channel(_) => "no permission to access one of the channels used as arguments",
        };
        CommandError::new(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is \
             no longer allowed for the following reason: {reason}"
        ))
    })
}

/// Calls `found` with database and key for every key that EXEC of this queue touches. A SELECT in the queue counts; whether it will
/// succeed is not known, so from then on each key is named in the database before it too. There are so many `databases`.
pub fn queue_keys(session: &super::Session, databases: u32, mut found: impl FnMut(u32, &[u8])) {
    for watched in &session.watched {
        found(watched.database, &watched.key);
    }
    let exists = |database: &u32| *database < databases;
    let mut selected = vec![session.database];
    for queued in session
        .transaction
        .iter()
        .flat_map(|transaction| &transaction.queue)
    {
        let arguments: Vec<&[u8]> = queued.iter().map(|argument| &**argument).collect();
        let Ok(row) = resolve(&arguments) else {
            continue;
        };
        if row.spec.name == "select" {
            let database = crate::resp::number::parse_integer(arguments[1])
                .and_then(|index| u32::try_from(index).ok())
                .filter(exists);
            selected.extend(database.filter(|database| !selected.contains(database)));
        }
        let other = row.spec.other_database.and_then(|other| other(&arguments));
        row.spec.for_each_key(&arguments, |index| {
            for database in selected.iter().copied().chain(other.filter(exists)) {
                found(database, arguments[index]);
            }
        });
    }
}

/// True if a queued command runs a script: which keys that will touch is not known.
pub fn queue_has_script(session: &super::Session) -> bool {
    let queue = session
        .transaction
        .iter()
        .flat_map(|transaction| &transaction.queue);
    queue.into_iter().any(|queued| {
        table::find(&queued[0]).is_some_and(|row| row.spec.flags.has(Flags::RUNS_SCRIPT))
    })
}

/// The row of a command line, subcommands included, its arity checked.
pub fn resolve(arguments: &[&[u8]]) -> Result<Row, CommandError> {
    let row = find_row(arguments)?;
    if row.spec.arity_allows(arguments.len()) {
        return Ok(row);
    }
    Err(wrong_arity(row))
}

/// The error of a command line that is too short or too long for its row.
pub fn wrong_arity(row: Row) -> CommandError {
    CommandError::wrong_arity(&table::listed()[row.number].full_name())
}

/// The row of a command line, subcommands included.
pub fn find_row(arguments: &[&[u8]]) -> Result<Row, CommandError> {
    find_row_below(table::find(arguments[0]), arguments)
}

/// As [`find_row`], where the name was looked up before.
#[inline]
pub fn find_row_below(named: Option<Row>, arguments: &[&[u8]]) -> Result<Row, CommandError> {
    match named {
        Some(row) if row.spec.subcommands.is_empty() || arguments.len() < 2 => Ok(row),
        Some(row) => find_subcommand(row, arguments),
        None => Err(unknown_command(arguments)),
    }
}

fn find_subcommand(row: Row, arguments: &[&[u8]]) -> Result<Row, CommandError> {
    let found = table::find_subcommand(row, arguments[1]);
    // To ACL rules it is the command itself, with an argument that it does not know.
    let found = found.or_else(|| row.spec.flags.has(Flags::ONE_COMMAND).then_some(row));
    found.ok_or_else(|| {
        let name = String::from_utf8_lossy(up_to_nul(arguments[1]));
        CommandError::new(format!(
            "ERR unknown subcommand '{name:.128}'. Try {} HELP.",
            row.spec.name.to_uppercase()
        ))
    })
}

/// The name of a resolved command line as messages show it: `get`, `client|id`.
pub fn full_name(arguments: &[&[u8]], row: Row) -> String {
    match table::find(arguments[0]) {
        Some(container) if !std::ptr::eq(container.spec, row.spec) => {
            format!("{}|{}", container.spec.name, row.spec.name)
        }
        _ => row.spec.name.to_owned(),
    }
}

fn unknown_command(arguments: &[&[u8]]) -> CommandError {
    const SHOWN_BYTES_MAX: usize = 128;
    let name = up_to_nul(arguments[0]);
    let name = String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES_MAX)]);
    let mut shown = String::new();
    for argument in &arguments[1..] {
        if shown.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let rest = SHOWN_BYTES_MAX - shown.len();
        let text = up_to_nul(argument);
        let text = String::from_utf8_lossy(&text[..text.len().min(rest)]);
        shown.push_str(&format!("'{text}' "));
    }
    CommandError::new(format!(
        "ERR unknown command '{name}', with args beginning with: {shown}"
    ))
}

const IN_PLACE: Flags = Flags::NOSCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::FAST)
    .and(Flags::NOT_QUEUED);

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "1.2.0",
        summary: "Has the commands that follow queued until EXEC.",
        ..CommandSpec::new(
            "multi",
            1,
            IN_PLACE,
            KeySpec::NONE,
            Group::Transactions,
            multi,
        )
    }
    .with_flags(Flags::ALLOW_BUSY),
    CommandSpec {
        since: "1.2.0",
        complexity: "That of the queued commands",
        summary: "Runs the queued commands as one step.",
        ..CommandSpec::new(
            "exec",
            1,
            Flags::NOSCRIPT
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::NOT_QUEUED)
                .and(Flags::RUNS_QUEUE),
            KeySpec::NONE,
            Group::Transactions,
            exec,
        )
    }
    .with_flags(Flags::SKIP_SLOWLOG),
    CommandSpec {
        since: "2.0.0",
        complexity: "O(N) for N queued commands",
        summary: "Forgets the queued commands.",
        ..CommandSpec::new(
            "discard",
            1,
            IN_PLACE,
            KeySpec::NONE,
            Group::Transactions,
            discard,
        )
    }
    .with_flags(Flags::ALLOW_BUSY),
    CommandSpec {
        since: "2.2.0",
        complexity: "O(N) for N keys",
        summary: "Has the next EXEC do nothing if one of these keys changes before it.",
        ..CommandSpec::new(
            "watch",
            -2,
            IN_PLACE,
            KeySpec::ALL,
            Group::Transactions,
            watch,
        )
    }
    .with_flags(Flags::ALLOW_BUSY)
    .with_key_uses(&[KeyUse::LOOK])
    .with_syntax("key..."),
    CommandSpec {
        since: "2.2.0",
        summary: "Ends what WATCH began, for all keys.",
        ..CommandSpec::new(
            "unwatch",
            1,
            Flags::NOSCRIPT
                .and(Flags::LOADING)
                .and(Flags::STALE)
                .and(Flags::FAST),
            KeySpec::NONE,
            Group::Transactions,
            unwatch,
        )
    }
    .with_flags(Flags::ALLOW_BUSY),
];
