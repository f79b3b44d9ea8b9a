//! What commands ask of the server where clients meet clients: publishing and subscribing, blocking and pausing.

use super::session::Session;
use crate::pubsub::ChannelKind;

/// Part of [`super::Services`]. Nothing in here waits; all of it may be called under shard locks.
pub trait Messaging: Send + Sync {
    /// Subscribes the session's client and notes it in the session.
    fn subscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]);
    /// Ends a subscription, if there is one.
    fn unsubscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]);
    /// Sends a message to all subscribers; returns how many got it.
    fn publish(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> usize;
    /// Channels with subscribers.
    fn topics(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<Vec<u8>>;
    /// Subscribers of a channel.
    fn subscribers(&self, kind: ChannelKind, topic: &[u8]) -> usize;
    /// Number of channels or patterns with subscribers.
    fn topic_count(&self, kind: ChannelKind) -> usize;
    /// Ends the wait of a blocked client, as on a timeout or with an error; false if it is not blocked.
    fn unblock(&self, client: u64, with_error: bool) -> bool;
    /// Holds back commands that write, or all, until then (Unix milliseconds).
    fn pause(&self, until_ms: u64, pauses_reads: bool);
    /// Ends that.
    fn unpause(&self);
}
