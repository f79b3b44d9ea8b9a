//! What the tiers ask of the persistence around them, as traits, so that they name neither log nor snapshot.

use crate::error::InternalError;
use crate::keyspace::{EventClasses, KeyEvent, Recorder};
use std::sync::Arc;
use std::time::Duration;

/// The write-ahead rule: a cold write or delete happens only when the log is durable past what it reflects.
pub trait Durability: Send + Sync {
    /// Returns when every log record up to `lsn` would survive a power failure. May wait for the disk.
    ///
    /// # Errors
    /// The log cannot be synced. Nothing may be written to the cold tier then.
    fn ensure_durable(&self, lsn: u64) -> Result<(), InternalError>;
}

/// Snapshot blocks that a restart has not loaded yet hold keys that neither the keyspace nor the cold tier shows, and the log
/// may say more of keys than they show.
pub trait Loader: Send + Sync {
    /// Replays the log for `hash` and loads the block that covers it, if they are not in yet. Returns the last hash up to which, from `hash` on, every key
    /// is in the keyspace now; `u64::MAX` when nothing is left to load. Called without shard locks.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    fn load_at(&self, generation: u32, hash: u64) -> Result<u64, InternalError>;

    /// False if an entry of a hash from `first_hash` to `last_hash` may be older than the log says, because the restart has not
    /// replayed all of it yet. May be called under shard locks.
    fn is_replayed(&self, first_hash: u64, last_hash: u64) -> bool;

    /// Replays the log for these hashes. Called without shard locks.
    ///
    /// # Errors
    /// The log does not fit the snapshot or the cold records.
    fn replay(&self, first_hash: u64, last_hash: u64) -> Result<(), InternalError>;
}

/// Who hears of keys that expire or are evicted without a command.
pub trait EventSink: Send + Sync {
    /// The classes that somebody wants now.
    fn listens_to(&self) -> EventClasses;
    /// Publishes events, in order. Called without shard locks.
    fn publish(&self, events: Vec<KeyEvent>);
    /// True if somebody has to hear which keys are removed, without events.
    fn hears_writes(&self) -> bool;
    /// Tells them. Called without shard locks.
    fn written(&self, keys: Vec<(u32, Box<[u8]>)>);
    /// A round of background work took so long, under its name in the latency monitor.
    fn took(&self, event: &'static str, time: Duration);
}

/// Nobody listens.
impl EventSink for () {
    fn listens_to(&self) -> EventClasses {
        EventClasses::NONE
    }

    fn publish(&self, _events: Vec<KeyEvent>) {}

    fn hears_writes(&self) -> bool {
        false
    }

    fn written(&self, _keys: Vec<(u32, Box<[u8]>)>) {}

    fn took(&self, _event: &'static str, _time: Duration) {}
}

/// A server without a log: there is nothing to wait for.
impl Durability for () {
    fn ensure_durable(&self, _lsn: u64) -> Result<(), InternalError> {
        Ok(())
    }
}

/// A server without a snapshot: everything is in.
impl Loader for () {
    fn load_at(&self, _generation: u32, _hash: u64) -> Result<u64, InternalError> {
        Ok(u64::MAX)
    }

    fn is_replayed(&self, _first_hash: u64, _last_hash: u64) -> bool {
        true
    }

    fn replay(&self, _first_hash: u64, _last_hash: u64) -> Result<(), InternalError> {
        Ok(())
    }
}

/// All that the tiers need from outside.
#[derive(Clone)]
pub struct Ports {
    /// Where deletions by expiry and eviction are logged.
    pub recorder: Arc<dyn Recorder>,
    /// The write-ahead rule.
    pub durability: Arc<dyn Durability>,
    /// Blocks that are not loaded yet.
    pub loader: Arc<dyn Loader>,
    /// Where events of expiry and eviction go.
    pub events: Arc<dyn EventSink>,
}
