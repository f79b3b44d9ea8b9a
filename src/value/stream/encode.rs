//! Streams to and from the value encoding.

use std::collections::BTreeMap;
use std::sync::Arc;

use storage_format::FormatError;
use storage_format::stream::{
    EncodedConsumer, EncodedGroup, EncodedPending, EncodedStream, StreamHead, put_consumer,
    put_group_head, put_pending,
};
use storage_format::varint::put_varint;

use super::super::ordered_map::OrderedMap;
use super::super::tree::CountedTree;
use super::chunk::EntryChunk;
use super::group::{Consumer, Group, Name, Pending};
use super::{Content, GROUP_BYTES, Stream};

impl Stream {
    /// Appends the value encoding: the chunks are copied as they are.
    pub(in crate::value) fn encode(&self, out: &mut Vec<u8>) {
        StreamHead {
            last_id: self.last_id(),
            max_deleted_id: self.max_deleted_id(),
            entries_added: self.entries_added(),
            entry_count: self.len(),
            chunk_count: self.chunk_count(),
        }
        .encode(out);
        let mut rank = 0;
        while let Some((chunk, _)) = (self.0.entries.chunk_at(rank)).filter(|_| rank < self.len()) {
            chunk.view().encode(out);
            rank += chunk.view().entry_count;
        }
        put_varint(out, self.groups().len() as u64);
        for (name, group) in self.groups() {
            encode_group(name, group, out);
        }
    }

    /// Builds a stream from its encoding.
    pub(in crate::value) fn decode(encoded: &[u8]) -> Result<Self, FormatError> {
        let encoded = EncodedStream::parse(encoded)?;
        let chunks: Vec<EntryChunk> = encoded
            .chunks()
            .map(|chunk| EntryChunk::from_encoded(&chunk))
            .collect();
        let groups = OrderedMap::from_sorted(
            (encoded.groups()).map(|group| (Arc::from(group.name), decode_group(&group))),
        );
        let group_bytes = |(_, group): (&Name, &Group)| GROUP_BYTES + group.memory_bytes();
        let payload_bytes = chunks.iter().map(EntryChunk::bytes).sum::<usize>()
            + groups.iter().map(group_bytes).sum::<usize>();
        Ok(Self(Arc::new(Content {
            groups,
            last_id: encoded.head.last_id,
            max_deleted_id: encoded.head.max_deleted_id,
            entries_added: encoded.head.entries_added,
            chunk_count: chunks.len(),
            payload_bytes,
            entries: CountedTree::from_chunks(chunks),
        })))
    }
}

fn encode_group(name: &[u8], group: &Group, out: &mut Vec<u8>) {
    put_group_head(out, name, group.last_delivered_id, group.entries_read);
    put_varint(out, group.consumers.len() as u64);
    let mut numbers = BTreeMap::new();
    for (number, (name, consumer)) in group.consumers().enumerate() {
        numbers.insert(name, number);
        let consumer = EncodedConsumer {
            name,
            seen_ms: consumer.seen_ms,
            active_ms: consumer.active_ms,
        };
        put_consumer(out, &consumer);
    }
    put_varint(out, group.pending.len() as u64);
    for (id, pending) in group.pending.iter() {
        let pending = EncodedPending {
            id: *id,
            consumer: numbers.get(pending.consumer()).copied().unwrap_or_default(),
            delivered_ms: pending.delivered_ms,
            deliveries: pending.deliveries,
        };
        put_pending(out, &pending);
    }
}

fn decode_group(encoded: &EncodedGroup<'_>) -> Group {
    let names: Vec<Name> = encoded
        .consumers()
        .map(|consumer| Arc::from(consumer.name))
        .collect();
    let mut owned = vec![Vec::new(); names.len()];
    for pending in encoded.pending() {
        owned[pending.consumer].push((pending.id, ()));
    }
    let consumers = (encoded.consumers().zip(owned)).map(|(consumer, owned)| Consumer {
        seen_ms: consumer.seen_ms,
        active_ms: consumer.active_ms,
        pending: OrderedMap::from_sorted(owned.into_iter()),
    });
    let pending = encoded.pending().map(|pending| {
        let kept = Pending {
            consumer: Arc::clone(&names[pending.consumer]),
            delivered_ms: pending.delivered_ms,
            deliveries: pending.deliveries,
        };
        (pending.id, kept)
    });
    Group {
        last_delivered_id: encoded.last_delivered_id,
        entries_read: encoded.entries_read,
        pending: OrderedMap::from_sorted(pending),
        consumers: OrderedMap::from_sorted(names.iter().cloned().zip(consumers)),
    }
}
