//! Consumer groups: XGROUP and XACK.

use super::access::KeyUse;
use super::context::Context;
use super::options::{Options, integer, is_keyword};
use super::spec::{CommandFunction, CommandSpec, Flags, Group, KeySpec};
use super::streams_ids::{id, id_or_edge, ids, no_group};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::EventClasses;
use crate::resp::Reply;
use crate::value::Stream;
use storage_format::{Effect, StreamEffect, StreamId};

const KEY_REQUIRED: CommandError = CommandError::fixed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to \
     create an empty stream automatically.",
);
const READ_NEGATIVE: CommandError =
    CommandError::fixed("ERR value for ENTRIESREAD must be positive or -1");
const BUSY_GROUP: CommandError =
    CommandError::fixed("BUSYGROUP Consumer Group name already exists");

/// A subcommand with options that it does not have.
pub fn wrong_subcommand(arguments: &[&[u8]]) -> CommandError {
    CommandError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try {} HELP.",
        String::from_utf8_lossy(arguments[1]),
        String::from_utf8_lossy(arguments[0]).to_uppercase()
    ))
}

/// Applies a stream effect and tells the keyspace event.
fn apply_and_notify(
    context: &mut Context<'_>,
    key: &[u8],
    effect: StreamEffect<'_>,
    event: &'static str,
) -> Result<bool, CommandError> {
    let applied = context.keys.apply(key, Effect::Stream(effect))?;
    let is_changed = applied.added_or_removed + applied.updated > 0;
    if is_changed {
        context.keys.notify(EventClasses::STREAM, event, key);
    }
    Ok(is_changed)
}

/// Makes a consumer if it does not exist; true if it is new.
pub fn create_consumer(
    context: &mut Context<'_>,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
) -> Result<bool, CommandError> {
    let create = StreamEffect::CreateConsumer {
        group,
        consumer,
        now_ms: context.now_ms,
    };
    apply_and_notify(context, key, create, "xgroup-createconsumer")
}

/// ENTRIESREAD and, for CREATE, MKSTREAM.
struct GroupOptions {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl GroupOptions {
    fn read(arguments: &[&[u8]], may_make_stream: bool) -> Result<Self, CommandError> {
        let mut read = Self {
            make_stream: false,
            entries_read: None,
        };
        let mut options = Options::new(arguments, 5);
        while let Some(word) = options.next() {
            if may_make_stream && is_keyword(word, "mkstream") {
                read.make_stream = true;
            } else if is_keyword(word, "entriesread") && !options.rest().is_empty() {
                let number = integer(options.value()?)?;
                if number < -1 {
                    return Err(READ_NEGATIVE);
                }
                read.entries_read = u64::try_from(number).ok();
            } else {
                return Err(wrong_subcommand(arguments));
            }
        }
        Ok(read)
    }
}

fn create(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const ARGUMENTS_MAX: usize = 8;
    let (key, group) = (arguments[2], arguments[3]);
    let options = GroupOptions::read(arguments, true)?;
    let stream = context.keys.stream(key)?;
    if stream.is_none() && !options.make_stream {
        return Err(KEY_REQUIRED);
    }
    if arguments.len() > ARGUMENTS_MAX {
        return Err(wrong_subcommand(arguments));
    }
    let last_delivered_id = match arguments[4] {
        b"$" => stream.map_or(StreamId::MIN, Stream::last_id),
        argument => id(argument, 0)?,
    };
    let create = StreamEffect::CreateGroup {
        group,
        last_delivered_id,
        entries_read: options.entries_read,
    };
    if !apply_and_notify(context, key, create, "xgroup-create")? {
        return Err(BUSY_GROUP);
    }
    reply.ok();
    Ok(())
}

/// Checks that key and group exist, as most subcommands demand.
fn require_group(context: &mut Context<'_>, arguments: &[&[u8]]) -> CommandResult {
    let (key, group) = (arguments[2], arguments[3]);
    let stream = context.keys.stream(key)?.ok_or(KEY_REQUIRED)?;
    stream.group(group).ok_or_else(|| no_group(group, key))?;
    Ok(())
}

fn setid(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, group) = (arguments[2], arguments[3]);
    let options = GroupOptions::read(arguments, false)?;
    require_group(context, arguments)?;
    if !matches!(arguments.len(), 5 | 7) {
        return Err(wrong_subcommand(arguments));
    }
    let last_id = context.keys.stream(key)?.map(Stream::last_id);
    let last_delivered_id = match (arguments[4], last_id) {
        (b"$", Some(last_id)) => last_id,
        (argument, _) => id_or_edge(argument, 0)?,
    };
    let set = StreamEffect::SetGroupId {
        group,
        last_delivered_id,
        entries_read: options.entries_read,
    };
    apply_and_notify(context, key, set, "xgroup-setid")?;
    reply.ok();
    Ok(())
}

fn destroy(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, group) = (arguments[2], arguments[3]);
    context.keys.stream(key)?.ok_or(KEY_REQUIRED)?;
    let destroy = StreamEffect::DestroyGroup { group };
    let is_gone = apply_and_notify(context, key, destroy, "xgroup-destroy")?;
    reply.integer(i64::from(is_gone));
    Ok(())
}

fn createconsumer(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    require_group(context, arguments)?;
    let is_new = create_consumer(context, arguments[2], arguments[3], arguments[4])?;
    reply.integer(i64::from(is_new));
    Ok(())
}

fn delconsumer(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, group, consumer) = (arguments[2], arguments[3], arguments[4]);
    require_group(context, arguments)?;
    let pending = (context.keys.stream(key)?)
        .and_then(|stream| stream.group(group)?.consumer(consumer))
        .map_or(0, |consumer| consumer.pending_count());
    let delete = StreamEffect::DeleteConsumer { group, consumer };
    apply_and_notify(context, key, delete, "xgroup-delconsumer")?;
    reply.count(pending);
    Ok(())
}

fn xack(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let (key, group) = (arguments[1], arguments[2]);
    let stream = context.keys.stream(key)?;
    let Some(found) = stream.and_then(|stream| stream.group(group)) else {
        reply.integer(0);
        return Ok(());
    };
    let mut ids = ids(&arguments[3..])?;
    ids.retain(|id| found.pending(*id).is_some());
    let acknowledge = StreamEffect::Acknowledge {
        group,
        ids: ids[..].into(),
    };
    let mut settled = 0;
    if !ids.is_empty() {
        settled = context
            .keys
            .apply(key, Effect::Stream(acknowledge))?
            .added_or_removed;
    }
    reply.integer(settled as i64);
    Ok(())
}

const HELP: &[&str] = &[
    "CREATE <key> <groupname> <id|$> [option]",
    "    Makes a group that reads what comes after an ID, with $ only what is new.",
    "    * MKSTREAM",
    "      A missing stream is made, without entries.",
    "    * ENTRIESREAD entries_read",
    "      Says how many entries the group has read, from which its lag is told.",
    "CREATECONSUMER <key> <groupname> <consumer>",
    "    Adds a consumer that has read nothing yet.",
    "DELCONSUMER <key> <groupname> <consumer>",
    "    Removes a consumer; what was pending for it is pending no more.",
    "DESTROY <key> <groupname>",
    "    Removes a group with all its consumers.",
    "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
    "    Lets a group go on behind another ID.",
];

fn help(_: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    super::client::write_help("XGROUP", HELP, reply);
    Ok(())
}

/// XGROUP alone: its arity is never met without a subcommand.
fn xgroup(_: &mut Context<'_>, _: &[&[u8]], _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::wrong_arity("xgroup"))
}

const KEY: &[KeySpec] = &[KeySpec::Range {
    first: 2,
    last: 2,
    step: 1,
}];
const WRITE_MORE: Flags = Flags::WRITE.and(Flags::DENYOOM);

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    function: CommandFunction,
) -> CommandSpec {
    CommandSpec::new(name, arity, flags, KEY, Group::Stream, function).with_since("5.0.0")
}

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        summary: "Makes a group of consumers for a stream.",
        ..row("create", -5, WRITE_MORE, create).with_key_uses(&[KeyUse::INSERT])
    }
    .with_syntax(
        "key group id-selector<id | new-id='$'> [MKSTREAM] [ENTRIESREAD \
         entries-read:integer]",
    )
    .with_history(&[("7.0.0", "New: `ENTRIESREAD`.")]),
    CommandSpec {
        summary: "Lets a group go on behind another ID.",
        ..row("setid", -5, Flags::WRITE, setid)
    }
    .with_syntax(
        "key group id-selector<id | new-id='$'> [ENTRIESREAD \
         entriesread{entries-read}:integer]",
    )
    .with_history(&[("7.0.0", "New: `ENTRIESREAD`.")]),
    CommandSpec {
        complexity: "O(N) for N pending entries of the group",
        summary: "Removes a group with all its consumers.",
        ..row("destroy", 4, Flags::WRITE, destroy).with_key_uses(&[KeyUse::DELETE])
    }
    .with_syntax("key group"),
    CommandSpec {
        since: "6.2.0",
        summary: "Adds a consumer that has read nothing yet.",
        ..row("createconsumer", 5, WRITE_MORE, createconsumer).with_key_uses(&[KeyUse::INSERT])
    }
    .with_syntax("key group consumer"),
    CommandSpec {
        summary: "Removes a consumer and forgets what was pending for it.",
        ..row("delconsumer", 5, Flags::WRITE, delconsumer).with_key_uses(&[KeyUse::DELETE])
    }
    .with_syntax("key group consumer"),
    CommandSpec {
        keys: KeySpec::NONE,
        summary: "Lists the subcommands and what each is for.",
        ..row("help", 2, Flags::LOADING.and(Flags::STALE), help)
    },
];

/// The rows of XGROUP and XACK.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        keys: KeySpec::NONE,
        complexity: "That of the subcommand",
        summary: "Manages the groups of a stream.",
        subcommands: SUBCOMMANDS,
        ..row("xgroup", -2, Flags::NONE, xgroup)
    },
    CommandSpec {
        keys: KeySpec::FIRST,
        complexity: "O(1) for each entry",
        summary: "Says that a group has dealt with entries, so that they are pending no more.",
        ..row("xack", -4, Flags::WRITE.and(Flags::FAST), xack)
    }
    .with_syntax("key group id..."),
];
