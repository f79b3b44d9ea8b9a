//! Pub/sub: who listens to which channel, and sending messages to them.
//!
//! Three name spaces: channels, patterns, and sharded channels (which on one node are channels of their own). A message is
//! written once for each dialect that its receivers speak and appended to each receiver's outbox
//! ([`crate::net::Outbox`]); nothing is awaited, so publishing is allowed under shard locks.
//!
//! Subscriptions change rarely and messages are many: a reader-writer lock around each name space. A message on a channel costs
//! one look-up there and one match for each pattern that anybody is subscribed to.

#[cfg(test)]
mod tests;

use crate::glob;
use crate::net::ClientRecord;
use crate::resp::{Protocol, Reply};
use hashbrown::HashMap;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The name spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// SUBSCRIBE.
    Channel,
    /// PSUBSCRIBE.
    Pattern,
    /// SSUBSCRIBE.
    Shard,
}

impl ChannelKind {
    /// All of them, in the order of [`ChannelKind::index`].
    pub const ALL: [ChannelKind; 3] = [
        ChannelKind::Channel,
        ChannelKind::Pattern,
        ChannelKind::Shard,
    ];

    /// Position among the three.
    pub const fn index(self) -> usize {
        self as usize
    }
}

type Subscribers = Vec<Arc<ClientRecord>>;

/// Subscribers by channel or pattern.
#[derive(Default)]
struct Topics(RwLock<HashMap<Box<[u8]>, Subscribers>>);

/// See the module's comment.
#[derive(Default)]
pub struct PubSub {
    topics: [Topics; 3],
}

impl Topics {
    fn add(&self, topic: &[u8], client: &Arc<ClientRecord>) -> bool {
        let mut topics = self.0.write();
        let subscribers = topics.entry(topic.into()).or_default();
        let is_new = subscribers.iter().all(|known| known.id != client.id);
        if is_new {
            subscribers.push(Arc::clone(client));
        }
        is_new
    }

    fn remove(&self, topic: &[u8], client: u64) -> Option<Arc<ClientRecord>> {
        let mut topics = self.0.write();
        let subscribers = topics.get_mut(topic)?;
        let place = subscribers.iter().position(|known| known.id == client)?;
        let removed = subscribers.remove(place);
        if subscribers.is_empty() {
            topics.remove(topic);
        }
        Some(removed)
    }
}

/// One message in the dialects that were asked for so far.
struct Message<'a> {
    parts: &'a [&'a [u8]],
    encoded: [Option<Vec<u8>>; 2],
}

impl<'a> Message<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Message<'a> {
        Message {
            parts,
            encoded: [None, None],
        }
    }

    fn send(&mut self, client: &ClientRecord) {
        let protocol = client.protocol();
        let parts = self.parts;
        let encoded = self.encoded[usize::from(protocol == Protocol::Resp3)]
            .get_or_insert_with(|| encode(parts, protocol));
        client.push(encoded);
    }
}

fn encode(parts: &[&[u8]], protocol: Protocol) -> Vec<u8> {
    let mut encoded =
        Vec::with_capacity(32 + parts.iter().map(|part| part.len() + 16).sum::<usize>());
    let mut reply = Reply::new(&mut encoded, protocol);
    reply.push_header(parts.len());
    parts.iter().for_each(|part| reply.bulk(part));
    encoded
}

impl PubSub {
    /// Subscribes a client; false if it was subscribed already.
    pub fn subscribe(&self, kind: ChannelKind, topic: &[u8], client: &Arc<ClientRecord>) -> bool {
        let is_new = self.topics[kind.index()].add(topic, client);
        if is_new {
            client.subscriptions[kind.index()].fetch_add(1, Relaxed);
        }
        is_new
    }

    /// Ends a subscription; false if there was none.
    pub fn unsubscribe(&self, kind: ChannelKind, topic: &[u8], client: u64) -> bool {
        let removed = self.topics[kind.index()].remove(topic, client);
        if let Some(client) = &removed {
            client.subscriptions[kind.index()].fetch_sub(1, Relaxed);
        }
        removed.is_some()
    }

    /// Ends all subscriptions of these clients, whose ids ascend. Looks at every topic.
    pub fn forget(&self, clients: &[u64]) {
        for (topics, kind) in self.topics.iter().zip(ChannelKind::ALL) {
            topics.0.write().retain(|_, subscribers| {
                subscribers.retain(|client| {
                    let is_meant = clients.binary_search(&client.id).is_ok();
                    if is_meant {
                        client.subscriptions[kind.index()].fetch_sub(1, Relaxed);
                    }
                    !is_meant
                });
                !subscribers.is_empty()
            });
        }
    }

    /// Sends a message to the subscribers of a channel, and (for channels of [`ChannelKind::Channel`]) to those of every
    /// pattern that matches it. Returns how many got it; a client counts once for each of its subscriptions.
    pub fn publish(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> usize {
        let word: &[u8] = match kind {
            ChannelKind::Shard => b"smessage",
            ChannelKind::Channel | ChannelKind::Pattern => b"message",
        };
        let mut receivers = 0;
        let parts = [word, channel, message];
        if let Some(subscribers) = self.topics[kind.index()].0.read().get(channel) {
            let mut encoded = Message::new(&parts);
            subscribers.iter().for_each(|client| encoded.send(client));
            receivers += subscribers.len();
        }
        if kind == ChannelKind::Channel {
            receivers += self.publish_to_patterns(channel, message);
        }
        receivers
    }

    fn publish_to_patterns(&self, channel: &[u8], message: &[u8]) -> usize {
        let mut receivers = 0;
        for (pattern, subscribers) in &*self.topics[ChannelKind::Pattern.index()].0.read() {
            if glob::matches(pattern, channel) {
                let parts = [&b"pmessage"[..], pattern, channel, message];
                let mut encoded = Message::new(&parts);
                subscribers.iter().for_each(|client| encoded.send(client));
                receivers += subscribers.len();
            }
        }
        receivers
    }

    /// The channels with subscribers that match a glob pattern (all without one).
    pub fn topics(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<Vec<u8>> {
        self.topics[kind.index()]
            .0
            .read()
            .keys()
            .filter(|topic| pattern.is_none_or(|pattern| glob::matches(pattern, topic)))
            .map(|topic| topic.to_vec())
            .collect()
    }

    /// How many clients are subscribed to a channel.
    pub fn subscribers(&self, kind: ChannelKind, topic: &[u8]) -> usize {
        let topics = self.topics[kind.index()].0.read();
        topics.get(topic).map_or(0, Vec::len)
    }

    /// The clients that subscribe to a topic which `is_lost` says yes to, given kind and topic; each once.
    pub fn subscribers_of(
        &self,
        is_lost: impl Fn(ChannelKind, &[u8]) -> bool,
    ) -> Vec<Arc<ClientRecord>> {
        let mut found: Vec<Arc<ClientRecord>> = Vec::new();
        for kind in ChannelKind::ALL {
            for (topic, subscribers) in &*self.topics[kind.index()].0.read() {
                if is_lost(kind, topic) {
                    found.extend(subscribers.iter().cloned());
                }
            }
        }
        found.sort_by_key(|client| client.id);
        found.dedup_by_key(|client| client.id);
        found
    }

    /// How many channels or patterns have subscribers.
    pub fn count(&self, kind: ChannelKind) -> usize {
        self.topics[kind.index()].0.read().len()
    }
}
