//! Consumer groups: how far a group has read, its consumers, and what they have not acknowledged.
//!
//! A pending entry is in two maps: the group's, which knows its consumer and deliveries, and the consumer's, so that one
//! consumer's history is found without walking the others'. Together about 75 bytes for each.

use std::sync::Arc;

use storage_format::StreamId;

use super::super::ordered_map::OrderedMap;

/// A consumer's name, shared by the pending entries that it has.
pub(super) type Name = Arc<[u8]>;

/// Estimate of the heap bytes of a pending entry, in both maps.
const PENDING_BYTES: usize = 75;
/// Estimate of the heap bytes of a consumer, beside its name and what is pending.
const CONSUMER_BYTES: usize = 128;

/// A consumer group.
#[derive(Clone, Default)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_delivered_id: StreamId,
    /// How many of all entries ever added were delivered, where that is known.
    pub entries_read: Option<u64>,
    pub(super) pending: OrderedMap<StreamId, Pending>,
    pub(super) consumers: OrderedMap<Name, Consumer>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone)]
pub struct Pending {
    pub(super) consumer: Name,
    /// When it was last delivered, in Unix milliseconds.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

impl Pending {
    /// The consumer that has it.
    pub fn consumer(&self) -> &[u8] {
        &self.consumer
    }
}

/// A member of a group.
#[derive(Clone, Default)]
pub struct Consumer {
    /// When it last asked for entries, in Unix milliseconds.
    pub seen_ms: u64,
    /// When it last got some, in Unix milliseconds.
    pub active_ms: Option<u64>,
    pub(super) pending: OrderedMap<StreamId, ()>,
}

impl Consumer {
    /// How many entries it has not acknowledged.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The IDs from `start` on that it has not acknowledged.
    pub fn pending_ids(
        &self,
        start: StreamId,
    ) -> impl DoubleEndedIterator<Item = StreamId> + use<'_> {
        self.pending.iter_from(&start).map(|(id, ())| *id)
    }
}

impl Group {
    /// The consumer of this name.
    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name).map(|(_, consumer)| consumer)
    }

    /// The consumers by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (&[u8], &Consumer)> {
        (self.consumers.iter()).map(|(name, consumer)| (&**name, consumer))
    }

    /// How many entries are not acknowledged.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The entry of this ID, if it is not acknowledged.
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(&id).map(|(_, pending)| pending)
    }

    /// The entries from `start` on that are not acknowledged.
    pub fn pending_from(
        &self,
        start: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Pending)> {
        (self.pending.iter_from(&start)).map(|(id, pending)| (*id, pending))
    }

    /// Estimate of the heap bytes, O(1).
    pub(super) fn memory_bytes(&self) -> usize {
        self.pending.len() * PENDING_BYTES + self.consumers.len() * CONSUMER_BYTES
    }

    /// False if it exists.
    pub(super) fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> bool {
        if self.consumer(name).is_some() {
            return false;
        }
        let consumer = Consumer {
            seen_ms: now_ms,
            ..Consumer::default()
        };
        self.consumers.insert(Arc::from(name), consumer);
        true
    }

    /// False if it does not exist, or was seen and active then already.
    pub(super) fn touch_consumer(&mut self, name: &[u8], now_ms: u64, is_active: bool) -> bool {
        let touched = self.consumers.change(name, |consumer| {
            let former = (consumer.seen_ms, consumer.active_ms);
            consumer.seen_ms = now_ms;
            if is_active {
                consumer.active_ms = Some(now_ms);
            }
            former != (consumer.seen_ms, consumer.active_ms)
        });
        touched == Some(true)
    }

    /// False if it does not exist.
    pub(super) fn delete_consumer(&mut self, name: &[u8]) -> bool {
        let Some(consumer) = self.consumers.remove(name) else {
            return false;
        };
        for (id, ()) in consumer.pending.iter() {
            self.pending.remove(id);
        }
        true
    }

    /// Makes an entry pending for a consumer; takes it from the one that has it. False if there is no such consumer.
    pub(super) fn give(
        &mut self,
        id: StreamId,
        consumer: &[u8],
        delivered_ms: u64,
        deliveries: u64,
    ) -> bool {
        let Some((name, _)) = self.consumers.get(consumer) else {
            return false;
        };
        let pending = Pending {
            consumer: Arc::clone(name),
            delivered_ms,
            deliveries,
        };
        let former = self.pending.insert(id, pending);
        let stays = (former.as_ref()).is_some_and(|former| *former.consumer == *consumer);
        if !stays {
            if let Some(former) = former {
                (self.consumers).change(&former.consumer, |consumer| consumer.pending.remove(&id));
            }
            (self.consumers).change(consumer, |consumer| consumer.pending.insert(id, ()));
        }
        true
    }

    /// False if it is not pending.
    pub(super) fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        (self.consumers).change(&pending.consumer, |consumer| consumer.pending.remove(&id));
        true
    }
}
