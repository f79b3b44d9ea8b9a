//! How streams look on a terminal: their entries and groups, and what happened to one.

use std::io::{self, Write};

use storage_format::StreamEffect;
use storage_format::effect::Items;
use storage_format::stream::EncodedStream;

use crate::text::quoted;

/// Prints a stream: its numbers, an entry on each line, then its groups with their consumers and pending entries.
///
/// # Errors
/// If the output cannot be written.
pub fn print_stream(out: &mut dyn Write, stream: &EncodedStream<'_>) -> io::Result<()> {
    let head = stream.head;
    writeln!(
        out,
        "last ID {}, greatest deleted ID {}, {} added",
        head.last_id, head.max_deleted_id, head.entries_added
    )?;
    for entry in stream.entries() {
        write!(out, "{}:", entry.id)?;
        for (field, value) in entry.fields() {
            write!(out, " {} {}", quoted(field), quoted(value))?;
        }
        writeln!(out)?;
    }
    for group in stream.groups() {
        let name = quoted(group.name);
        writeln!(
            out,
            "group {name} delivered up to {}",
            group.last_delivered_id
        )?;
        let consumers: Vec<String> = (group.consumers())
            .map(|consumer| quoted(consumer.name))
            .collect();
        for (consumer, encoded) in consumers.iter().zip(group.consumers()) {
            writeln!(out, "  consumer {consumer} seen at {}", encoded.seen_ms)?;
        }
        for pending in group.pending() {
            writeln!(
                out,
                "  pending {} with {} since {}, deliveries {}",
                pending.id, consumers[pending.consumer], pending.delivered_ms, pending.deliveries
            )?;
        }
    }
    Ok(())
}

/// What happened to a stream, with its operands, on one line.
pub fn stream_effect(effect: &StreamEffect<'_>) -> String {
    let (group, consumer) = effect.names();
    let mut words = vec![effect.name().to_owned()];
    words.extend(group.map(|group| format!("group {}", quoted(group))));
    words.extend(consumer.map(|consumer| format!("consumer {}", quoted(consumer))));
    words.extend(operands(effect));
    words.join(" ")
}

fn operands(effect: &StreamEffect<'_>) -> Option<String> {
    let list = |items: Items<'_>| items.iter().map(quoted).collect::<Vec<_>>().join(" ");
    match *effect {
        StreamEffect::Add { id, pairs, .. } => Some(format!("{id} {}", list(pairs))),
        StreamEffect::Delete { ids } | StreamEffect::Acknowledge { ids, .. } => {
            let ids: Vec<String> = ids.iter().map(|id| id.to_string()).collect();
            Some(ids.join(" "))
        }
        StreamEffect::Trim { count } => Some(count.to_string()),
        StreamEffect::SetId {
            last_id,
            entries_added,
            max_deleted_id,
        } => Some(format!(
            "{last_id} added {entries_added} greatest deleted {max_deleted_id}"
        )),
        StreamEffect::CreateGroup {
            last_delivered_id,
            entries_read,
            ..
        }
        | StreamEffect::SetGroupId {
            last_delivered_id,
            entries_read,
            ..
        } => {
            let read = entries_read.map(|read| format!(" read {read}"));
            Some(format!("{last_delivered_id}{}", read.unwrap_or_default()))
        }
        StreamEffect::DestroyGroup { .. } | StreamEffect::DeleteConsumer { .. } => None,
        StreamEffect::CreateConsumer { now_ms, .. } => Some(format!("at {now_ms}")),
        StreamEffect::TouchConsumer {
            now_ms, is_active, ..
        } => {
            let what = if is_active { "active" } else { "seen" };
            Some(format!("{what} at {now_ms}"))
        }
        StreamEffect::Deliver {
            now_ms,
            count,
            is_pending,
            ..
        } => {
            let what = if is_pending { "" } else { " without pending" };
            Some(format!("{count} at {now_ms}{what}"))
        }
        StreamEffect::Claim {
            delivered_ms,
            entries,
            ..
        } => {
            let entries: Vec<String> = (entries.iter())
                .map(|(id, deliveries)| format!("{id} delivery {deliveries}"))
                .collect();
            Some(format!("at {delivered_ms} {}", entries.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use storage_format::{Effect, StreamId};

    use super::*;

    #[test]
    fn effects_tell_what_happened() {
        let id = StreamId::new(5, 1);
        let pairs: [&[u8]; 2] = [b"f", b"v"];
        let claimed = [(id, 3)];
        let (group, consumer): (&[u8], &[u8]) = (b"g", b"c");
        let cases = [
            (
                StreamEffect::Add {
                    id,
                    starts_chunk: true,
                    pairs: (&pairs).into(),
                },
                "stream-add 5-1 f v",
            ),
            (StreamEffect::Trim { count: 3 }, "stream-trim 3"),
            (
                StreamEffect::DestroyGroup { group },
                "stream-destroy-group group g",
            ),
            (
                StreamEffect::Claim {
                    group,
                    consumer,
                    delivered_ms: 9,
                    entries: claimed[..].into(),
                },
                "stream-claim group g consumer c at 9 5-1 delivery 3",
            ),
        ];
        for (effect, expected) in cases {
            let line = crate::render::effect(&Effect::Stream(effect), 0);
            assert_eq!(line.replace('"', ""), expected);
        }
    }
}
