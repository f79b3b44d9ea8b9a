//! Messages in both dialects, and the counts.

use super::*;
use crate::net::Clients;

fn client(clients: &Arc<Clients>, resp3: bool) -> Arc<ClientRecord> {
    let registration = clients
        .register(-1, "127.0.0.1:1".into(), "127.0.0.1:2".into(), 100)
        .expect("room for a client");
    registration
        .record
        .protocol
        .store(if resp3 { 3 } else { 2 }, Relaxed);
    Arc::clone(&registration.record)
}

fn received(client: &ClientRecord) -> String {
    let mut bytes = Vec::new();
    client.outbox.take_into(&mut bytes);
    String::from_utf8(bytes).expect("text")
}

#[test]
fn messages_reach_channels_and_patterns_in_the_dialect_of_each_client() {
    let (pubsub, clients) = (PubSub::default(), Arc::new(Clients::default()));
    let (old, new) = (client(&clients, false), client(&clients, true));
    assert!(pubsub.subscribe(ChannelKind::Channel, b"news", &old));
    assert!(!pubsub.subscribe(ChannelKind::Channel, b"news", &old));
    assert!(pubsub.subscribe(ChannelKind::Pattern, b"n*", &new));
    assert_eq!(pubsub.publish(ChannelKind::Channel, b"news", b"hi"), 2);
    assert_eq!(
        received(&old),
        "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n"
    );
    assert_eq!(
        received(&new),
        ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\nhi\r\n"
    );
    assert_eq!(pubsub.publish(ChannelKind::Channel, b"other", b"hi"), 0);
    assert_eq!(pubsub.publish(ChannelKind::Shard, b"news", b"hi"), 0);
    assert!(received(&old).is_empty() && received(&new).is_empty());
}

#[test]
fn counts_follow_subscriptions() {
    let (pubsub, clients) = (PubSub::default(), Arc::new(Clients::default()));
    let (first, second) = (client(&clients, false), client(&clients, false));
    for (number, kind) in ChannelKind::ALL.into_iter().enumerate() {
        assert!(pubsub.subscribe(kind, b"a", &first));
        assert!(pubsub.subscribe(kind, b"a", &second));
        assert!(pubsub.subscribe(kind, b"b", &first));
        assert_eq!(first.subscriptions[number].load(Relaxed), 2);
        assert_eq!(pubsub.subscribers(kind, b"a"), 2);
        assert_eq!(pubsub.count(kind), 2);
        assert_eq!(pubsub.topics(kind, Some(b"b*")), [b"b"]);
        assert!(pubsub.unsubscribe(kind, b"b", first.id));
        assert!(!pubsub.unsubscribe(kind, b"b", first.id));
        assert!(!pubsub.unsubscribe(kind, b"c", first.id));
        assert_eq!(pubsub.count(kind), 1);
        assert_eq!(first.subscriptions[number].load(Relaxed), 1);
    }
}
