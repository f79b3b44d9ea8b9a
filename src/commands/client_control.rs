//! CLIENT PAUSE, UNPAUSE and UNBLOCK, and MONITOR: one client deciding about others, or watching them.

use super::context::Context;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;

/// `CLIENT PAUSE timeout [WRITE|ALL]`
pub fn pause(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const NOT_A_NUMBER: CommandError =
        CommandError::fixed("ERR timeout is not an integer or out of range");
    const NEGATIVE: CommandError = CommandError::fixed("ERR timeout is negative");
    const BAD_MODE: CommandError =
        CommandError::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL");
    let pauses_reads = match arguments.get(3..) {
        None | Some([]) => true,
        Some([mode]) if mode.eq_ignore_ascii_case(b"ALL") => true,
        Some([mode]) if mode.eq_ignore_ascii_case(b"WRITE") => false,
        Some([_]) => return Err(BAD_MODE),
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let timeout = parse_integer(arguments[2]).ok_or(NOT_A_NUMBER)?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| NEGATIVE)?;
    let until_ms = context.now_ms.saturating_add(timeout_ms);
    context.services.pause(until_ms, pauses_reads);
    reply.ok();
    Ok(())
}

/// CLIENT UNPAUSE
pub fn unpause(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    context.services.unpause();
    reply.ok();
    Ok(())
}

/// `CLIENT UNBLOCK client-id [TIMEOUT|ERROR]`
pub fn unblock(
    context: &mut Context<'_>,
    arguments: &[&[u8]],
    reply: &mut Reply<'_>,
) -> CommandResult {
    const BAD_REASON: CommandError =
        CommandError::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    let with_error = match arguments.get(3..) {
        None | Some([]) => false,
        Some([reason]) if reason.eq_ignore_ascii_case(b"TIMEOUT") => false,
        Some([reason]) if reason.eq_ignore_ascii_case(b"ERROR") => true,
        Some([_]) => return Err(BAD_REASON),
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let id = parse_integer(arguments[2]).ok_or(CommandError::NOT_INTEGER)?;
    let done = u64::try_from(id).is_ok_and(|id| context.services.unblock(id, with_error));
    reply.integer(i64::from(done));
    Ok(())
}

/// MONITOR
fn monitor(context: &mut Context<'_>, _: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const IN_TRANSACTION: CommandError =
        CommandError::fixed("ERR MONITOR isn't allowed for DENY BLOCKING client");
    if !context.may_block {
        return Err(IN_TRANSACTION);
    }
    context.services.monitor(context.session);
    reply.ok();
    Ok(())
}

/// The rows of this file; the subcommands of CLIENT stand with the others.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "1.0.0",
    summary: "Shows the commands of all clients as they come.",
    ..CommandSpec::new(
        "monitor",
        1,
        Flags::ADMIN
            .and(Flags::NOSCRIPT)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        KeySpec::NONE,
        Group::Server,
        monitor,
    )
}];
