//! Keyspace events on their way to subscribers: from dispatch, and from the threads that expire and evict.
//!
//! Each event is published on up to two channels, by key and by event, as `notify-keyspace-events` says. Called without
//! shard locks; what it costs is two short allocations for each message.

use super::Server;
use crate::config::Settings;
use crate::keyspace::{EventClasses, KeyEvent};
use crate::pubsub::ChannelKind;
use crate::tier::EventSink;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// The channels and messages of an event.
fn messages(event: &KeyEvent, wanted: EventClasses) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
    let KeyEvent {
        name,
        database,
        key,
        ..
    } = event;
    let by_key = wanted.has(EventClasses::KEYSPACE).then(|| {
        let mut channel = format!("__keyspace@{database}__:").into_bytes();
        channel.extend_from_slice(key);
        (channel, name.as_bytes())
    });
    let by_event = wanted.has(EventClasses::KEYEVENT).then(|| {
        let channel = format!("__keyevent@{database}__:{name}").into_bytes();
        (channel, &**key)
    });
    by_key.into_iter().chain(by_event)
}

impl Server {
    /// Publishes events, in order.
    pub fn publish_events(&self, settings: &Settings, events: Vec<KeyEvent>) {
        for event in &events {
            for (channel, message) in messages(event, settings.notify_keyspace_events) {
                self.pubsub.publish(ChannelKind::Channel, &channel, message);
            }
        }
    }
}

/// The server as the tiers see it, which it owns.
#[derive(Default)]
pub(super) struct ServerEvents(OnceLock<Weak<Server>>);

impl ServerEvents {
    /// Tells who publishes. Called once, before the tiers start.
    pub(super) fn set_server(&self, server: &Arc<Server>) {
        // A second call would find the same server.
        let _ = self.0.set(Arc::downgrade(server));
    }

    fn server(&self) -> Option<Arc<Server>> {
        self.0.get()?.upgrade()
    }
}

impl EventSink for ServerEvents {
    fn listens_to(&self) -> EventClasses {
        let Some(server) = self.server() else {
            return EventClasses::NONE;
        };
        let settings = server.settings.current().0;
        settings.notify_keyspace_events.worth_keeping()
    }

    fn publish(&self, events: Vec<KeyEvent>) {
        if let Some(server) = self.server() {
            server.publish_events(&server.settings.current().0, events);
        }
    }

    fn hears_writes(&self) -> bool {
        self.server().is_some_and(|server| server.hears_writes())
    }

    fn written(&self, keys: Vec<(u32, Box<[u8]>)>) {
        if let Some(server) = self.server() {
            server.written(keys, None);
        }
    }

    fn took(&self, event: &'static str, time: Duration) {
        if let Some(server) = self.server() {
            let settings = server.settings.current().0;
            server.note_latency(&settings, event, time.as_millis() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_to_the_channels_that_are_on() {
        let event = KeyEvent {
            class: EventClasses::STRING,
            name: "set",
            database: 3,
            key: b"k\xff"[..].into(),
        };
        let (by_key, by_event) = (
            (b"__keyspace@3__:k\xff".to_vec(), &b"set"[..]),
            (b"__keyevent@3__:set".to_vec(), &b"k\xff"[..]),
        );
        for (letters, expected) in [
            ("K$", vec![by_key.clone()]),
            ("E$", vec![by_event.clone()]),
            ("KE$", vec![by_key, by_event]),
            ("A", vec![]),
        ] {
            let wanted = EventClasses::parse(letters).expect("known letters");
            let found: Vec<_> = messages(&event, wanted).collect();
            assert_eq!(found, expected, "{letters}");
        }
    }
}
