//! What an effect does to a stream.
//!
//! As for other collections: a stream goes in and comes out changed, by nothing but itself and the effect.

use crate::value::Stream;
use storage_format::StreamEffect;

/// Changes a stream as the effect says: how much was added or removed, and how much was updated.
pub(super) fn apply_to_stream(stream: &mut Stream, effect: &StreamEffect<'_>) -> (u64, u64) {
    match *effect {
        StreamEffect::Add {
            id,
            starts_chunk,
            pairs,
        } => (u64::from(stream.add(id, starts_chunk, pairs)), 0),
        StreamEffect::Delete { ids } => {
            let deleted = ids.iter().filter(|id| stream.delete(*id)).count();
            (deleted as u64, 0)
        }
        StreamEffect::Trim { count } => (stream.trim(count), 0),
        StreamEffect::SetId {
            last_id,
            entries_added,
            max_deleted_id,
        } => {
            let is_set = stream.set_id(last_id, entries_added, max_deleted_id);
            (0, u64::from(is_set))
        }
        StreamEffect::CreateGroup {
            group,
            last_delivered_id,
            entries_read,
        } => {
            let is_new = stream.create_group(group, last_delivered_id, entries_read);
            (u64::from(is_new), 0)
        }
        StreamEffect::DestroyGroup { group } => (u64::from(stream.destroy_group(group)), 0),
        StreamEffect::Deliver {
            group,
            consumer,
            now_ms,
            count,
            is_pending,
        } => (
            0,
            stream.deliver(group, consumer, now_ms, count, is_pending),
        ),
        _ => apply_to_group(stream, effect),
    }
}

fn apply_to_group(stream: &mut Stream, effect: &StreamEffect<'_>) -> (u64, u64) {
    let (Some(name), _) = effect.names() else {
        return (0, 0);
    };
    let changed = stream.change_group(name, |group| match *effect {
        StreamEffect::SetGroupId {
            last_delivered_id,
            entries_read,
            ..
        } => {
            group.set_position(last_delivered_id, entries_read);
            (0, 1)
        }
        StreamEffect::CreateConsumer {
            consumer, now_ms, ..
        } => (u64::from(group.create_consumer(consumer, now_ms)), 0),
        StreamEffect::TouchConsumer {
            consumer,
            now_ms,
            is_active,
            ..
        } => {
            let is_changed = group.touch_consumer(consumer, now_ms, is_active);
            (0, u64::from(is_changed))
        }
        StreamEffect::DeleteConsumer { consumer, .. } => {
            (u64::from(group.delete_consumer(consumer)), 0)
        }
        StreamEffect::Acknowledge { ids, .. } => {
            let settled = ids.iter().filter(|id| group.acknowledge(*id)).count();
            (settled as u64, 0)
        }
        StreamEffect::Claim {
            consumer,
            delivered_ms,
            entries,
            ..
        } => {
            let given = (entries.iter())
                .filter(|(id, deliveries)| group.give(*id, consumer, delivered_ms, *deliveries))
                .count();
            (0, given as u64)
        }
        _ => (0, 0),
    });
    changed.unwrap_or_default()
}
