//! A line of CLIENT LIST.
//!
//! The fields are Redis's, in its order. What a connection holds is little: between two batches it has buffers of its own only
//! for half a request and for replies that the socket did not take; all else is in the buffers of its thread.

use super::clients::ClientRecord;
use super::connection::Connection;
use crate::commands::services::Caller;
use crate::commands::session::WatchedKey;
use crate::commands::table::{self, Listed};
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

/// Writes the line of a client, ended by a line feed. `running` is how it asks, if it is the one that does.
pub(super) fn write(
    record: &ClientRecord,
    now_ms: u64,
    running: Option<Caller>,
    lines: &mut String,
) {
    write_identity(record, now_ms, lines);
    write_memory(record, now_ms, running, lines);
    let names = record.names.lock();
    let is_tracking = record.tracking.load(Relaxed) != 0;
    let redirect = if is_tracking {
        record.redirect.load(Relaxed) as i64
    } else {
        -1
    };
    // A string takes all that is written to it.
    let _ = writeln!(
        lines,
        "events=r cmd={} user={} redir={redirect} resp={} lib-name={} lib-ver={} watch={} tot-net-in={} tot-net-out={} \
         tot-cmds={}",
        last_command(record, running),
        names.user_name(),
        record.protocol.load(Relaxed),
        names.library_name,
        names.library_version,
        record.watched.load(Relaxed),
        record.received_bytes.load(Relaxed),
        record.sent_bytes.load(Relaxed),
        record.commands.load(Relaxed),
    );
}

/// Who it is and what it does.
fn write_identity(record: &ClientRecord, now_ms: u64, lines: &mut String) {
    let [channels, patterns, shard_channels] =
        [0, 1, 2].map(|kind: usize| record.subscriptions[kind].load(Relaxed));
    let _ = write!(
        lines,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={channels} psub={patterns} \
         ssub={shard_channels} multi={} ",
        record.id,
        record.address,
        record.local_address,
        record.descriptor,
        record.names.lock().name,
        now_ms.saturating_sub(record.created_ms) / 1000,
        now_ms.saturating_sub(record.last_interaction_ms.load(Relaxed)) / 1000,
        flags(record),
        record.database.load(Relaxed),
        record.queued.load(Relaxed) as i32,
    );
}

/// What it costs.
fn write_memory(record: &ClientRecord, now_ms: u64, running: Option<Caller>, lines: &mut String) {
    let buffers = &record.buffers;
    let waiting_bytes = record.outbox.waiting_bytes();
    let (input, output) = (buffers.input.load(Relaxed), buffers.output.load(Relaxed));
    let output_capacity = buffers.output_capacity.load(Relaxed);
    let output_memory = output_capacity + record.outbox.held_bytes();
    let input_capacity = buffers.input_capacity.load(Relaxed);
    let arguments = running.map_or(buffers.arguments.load(Relaxed), |caller| {
        caller.argument_bytes
    });
    let queued = buffers.queued.load(Relaxed);
    let total = output_memory + input_capacity.max(input) + arguments + overhead_bytes(record);
    let _ = write!(
        lines,
        "qbuf={input} qbuf-free={} argv-mem={arguments} multi-mem={queued} rbs={output_capacity} rbp={} obl={output} oll={} \
         omem={output_memory} tot-mem={total} ",
        input_capacity.saturating_sub(input),
        buffers.output_peak(now_ms),
        u32::from(waiting_bytes > 0),
    );
}

/// What a client costs beside its buffers: itself, its transaction, its watched keys and its subscriptions.
fn overhead_bytes(record: &ClientRecord) -> usize {
    let commands = (record.queued.load(Relaxed) as i32).max(0) as usize;
    let subscriptions: u32 = record
        .subscriptions
        .iter()
        .map(|count| count.load(Relaxed))
        .sum();
    size_of::<ClientRecord>()
        + size_of::<Connection>()
        + record.buffers.queued.load(Relaxed)
        + commands * size_of::<Vec<Box<[u8]>>>()
        + record.watched.load(Relaxed) as usize * size_of::<WatchedKey>()
        + subscriptions as usize * size_of::<Box<[u8]>>()
}

fn last_command(record: &ClientRecord, running: Option<Caller>) -> String {
    if let Some(caller) = running {
        return caller.command.to_owned();
    }
    let row = table::listed().get(record.last_command.load(Relaxed));
    row.map_or_else(|| "NULL".to_owned(), Listed::full_name)
}

fn flags(record: &ClientRecord) -> String {
    let tracking = record.tracking.load(Relaxed);
    let letters = [
        (record.queued.load(Relaxed) as i32 >= 0, 'x'),
        (record.blocked.load(Relaxed), 'b'),
        (record.is_subscriber(), 'P'),
        (tracking & 1 != 0, 't'),
        (tracking & 4 != 0, 'R'),
        (tracking & 2 != 0, 'B'),
        (record.monitors.load(Relaxed), 'O'),
        (record.no_evict.load(Relaxed), 'e'),
        (record.address.starts_with('/'), 'U'),
    ];
    let set = letters.iter().filter(|(is_set, _)| *is_set);
    let flags: String = set.map(|(_, letter)| letter).collect();
    if flags.is_empty() {
        "N".to_owned()
    } else {
        flags
    }
}
