//! WAIT and WAITAOF: how far what was written has come.
//!
//! There are no replicas, so whoever waits for one waits for the time-out, as with a Redis master that has none. WAITAOF has the log
//! synced at once instead of waiting for the next sync. Within a script neither waits.

use super::categories::Categories;
use super::collections::element_count;
use super::context::{BlockRequest, Context, TimeoutReply};
use super::options::integer;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::resp::Reply;
use crate::resp::number::parse_integer;
use storage_format::ValueKind;

/// Reads a time-out in milliseconds; 0 is for ever.
fn deadline_ms(timeout: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
    const NOT_A_NUMBER: CommandError =
        CommandError::fixed("ERR timeout is not an integer or out of range");
    const NEGATIVE: CommandError = CommandError::fixed("ERR timeout is negative");
    let timeout = parse_integer(timeout).ok_or(NOT_A_NUMBER)?;
    let timeout_ms = u64::try_from(timeout).map_err(|_| NEGATIVE)?;
    Ok((timeout_ms > 0).then(|| now_ms.saturating_add(timeout_ms)))
}

fn wait_for_replicas(
    context: &mut Context<'_>,
    deadline_ms: Option<u64>,
    timeout_reply: TimeoutReply,
    reply: &mut Reply<'_>,
) {
    // No key can be ready: it has none.
    let request = BlockRequest {
        timeout_reply,
        ..BlockRequest::for_one_of(ValueKind::String, &[], deadline_ms)
    };
    context.block(request, reply);
}

/// WAIT numreplicas timeout
fn wait(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let replicas = integer(arguments[1])?;
    let deadline_ms = deadline_ms(arguments[2], context.now_ms)?;
    if replicas <= 0 {
        reply.integer(0);
    } else {
        wait_for_replicas(context, deadline_ms, TimeoutReply::Integer(0), reply);
    }
    Ok(())
}

/// WAITAOF numlocal numreplicas timeout
fn waitaof(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    const NO_LOG: CommandError = CommandError::fixed(
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
    );
    let local = super::options::integer_in(arguments[1], 0..=1)?;
    let replicas = element_count(arguments[2])?;
    let deadline_ms = deadline_ms(arguments[3], context.now_ms)?;
    if local > 0 && !context.settings.appendonly {
        return Err(NO_LOG);
    }
    let keeps_log = context.settings.appendonly;
    if context.by_script {
        // What the script itself did is not in the log before it ends.
        TimeoutReply::Integers(0, 0).write(reply);
        return Ok(());
    }
    let synced = TimeoutReply::Integers(i64::from(keeps_log), 0);
    if replicas > 0 {
        if keeps_log {
            context.services.sync_log()?;
        }
        wait_for_replicas(context, deadline_ms, synced, reply);
        return Ok(());
    }
    context.offload(move |services, reply| {
        if keeps_log {
            services.sync_log()?;
        }
        synced.write(reply);
        Ok(())
    });
    Ok(())
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        since: "3.0.0",
        summary: "Waits for replicas to have what this connection wrote; there are none, so it waits for the timeout.",
        ..CommandSpec::new(
            "wait",
            3,
            Flags::NONE,
            KeySpec::NONE,
            Group::Generic,
            wait,
        )
    }.with_categories(Categories::CONNECTION).with_tips(&["request_policy:all_shards", "response_policy:agg_min"])
    .with_syntax("numreplicas:integer timeout:integer"),
    CommandSpec {
        since: "7.2.0",
        summary: "Waits until what this connection wrote is safe on disk, here or on replicas.",
        ..CommandSpec::new(
            "waitaof",
            4,
            Flags::OFFLOADED,
            KeySpec::NONE,
            Group::Generic,
            waitaof,
        )
    }.with_categories(Categories::CONNECTION).with_tips(&["request_policy:all_shards", "response_policy:agg_min"])
    .with_syntax("numlocal:integer numreplicas:integer timeout:integer"),
];
