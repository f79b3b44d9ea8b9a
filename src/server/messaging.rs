//! Publishing and subscribing for commands ([`Messaging`]).

use super::Server;
use crate::commands::Session;
use crate::commands::messaging::Messaging;
use crate::pubsub::ChannelKind;

impl Messaging for Server {
    fn subscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]) {
        // A client that is not in the list any more is on its way out.
        if let Some(record) = self.clients.find(session.id) {
            self.pubsub.subscribe(kind, topic, &record);
            session.subscriptions[kind.index()].insert(topic.into());
        }
    }

    fn unsubscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]) {
        if session.subscriptions[kind.index()].remove(topic) {
            self.pubsub.unsubscribe(kind, topic, session.id);
        }
    }

    fn publish(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> usize {
        self.pubsub.publish(kind, channel, message)
    }

    fn topics(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<Vec<u8>> {
        self.pubsub.topics(kind, pattern)
    }

    fn subscribers(&self, kind: ChannelKind, topic: &[u8]) -> usize {
        self.pubsub.subscribers(kind, topic)
    }

    fn topic_count(&self, kind: ChannelKind) -> usize {
        self.pubsub.count(kind)
    }
}

impl Server {
    /// Ends all subscriptions of a client that goes.
    pub fn forget_subscriptions(&self, session: &mut Session) {
        for kind in ChannelKind::ALL {
            for topic in std::mem::take(&mut session.subscriptions[kind.index()]) {
                self.pubsub.unsubscribe(kind, &topic, session.id);
            }
        }
    }
}
