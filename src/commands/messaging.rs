//! What commands ask of the server where clients meet clients: publishing and subscribing, blocking and pausing.

use super::session::Session;
use crate::pubsub::ChannelKind;
use crate::tracking::{TrackingOptions, TrackingState};

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
    /// True if there is a client with this id.
    fn has_client(&self, id: u64) -> bool;
    /// From now on the session's client sees every command.
    fn monitor(&self, session: &mut Session);
    /// Ends that.
    fn stop_monitoring(&self, session: &mut Session);
    /// Shows a command to those clients.
    fn show_command(&self, session: &Session, arguments: &[&[u8]], by_script: bool);
    /// Turns CLIENT TRACKING on for the session.
    fn track(&self, session: &mut Session, options: TrackingOptions);
    /// Turns it off.
    fn stop_tracking(&self, session: &mut Session);
    /// What a client has on; `None` if it does not track.
    fn tracking_state(&self, id: u64) -> Option<TrackingState>;
    /// Remembers that a tracking client has read a key, whose shard is locked.
    fn remember_read(&self, id: u64, key: &[u8]);
    /// Tells those who have read these keys that client `writer` changed them. Their shards are locked.
    fn tell_readers(&self, writer: u64, written: &[(u32, Box<[u8]>)]);
}
