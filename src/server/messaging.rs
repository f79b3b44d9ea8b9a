//! Publishing, subscribing, unblocking and pausing for commands ([`Messaging`]).

use super::Server;
use crate::commands::Session;
use crate::commands::messaging::Messaging;
use crate::dispatch::Dispatcher;
use crate::dispatch::blocked::DatabaseKey;
use crate::pubsub::ChannelKind;
use std::sync::Arc;

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

    fn unblock(&self, client: u64, with_error: bool) -> bool {
        let Some(waiter) = self.blocked.of_client(client) else {
            return false;
        };
        let error = || b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n".to_vec();
        let done = waiter.finish(with_error.then(error));
        self.blocked.forget(&waiter);
        done
    }

    fn pause(&self, until_ms: u64, pauses_reads: bool) {
        self.tier.hold_expiry_until(until_ms);
        self.pause.begin(until_ms, pauses_reads);
    }

    fn unpause(&self) {
        self.pause.end();
        self.tier.hold_expiry_until(0);
    }
}

impl Server {
    /// Serves the clients that wait for these keys: for writers that are not commands of a connection.
    pub fn serve_blocked(&self, written: Vec<DatabaseKey>) {
        if let Some(server) = self.this.upgrade().filter(|_| !written.is_empty()) {
            let metrics = self.background.lock();
            Dispatcher::new(server, Arc::clone(&metrics)).serve_blocked(written);
        }
    }

    /// Ends all subscriptions of a client that goes.
    pub fn forget_subscriptions(&self, session: &mut Session) {
        for kind in ChannelKind::ALL {
            for topic in std::mem::take(&mut session.subscriptions[kind.index()]) {
                self.pubsub.unsubscribe(kind, &topic, session.id);
            }
        }
    }
}
