//! CLIENT TRACKING: which client has read which key, so that it can be told when the key changes.
//!
//! In the default mode the table remembers each key that a tracking client reads, under the locks of the read, so that no write
//! slips between; the first write of the key tells every reader and forgets them. In the broadcasting mode nothing is remembered:
//! clients hear of every write under their prefixes. Messages go through the outbox of the client, or of the one it redirects to.
//! As in Redis, databases are not told apart.
//!
//! Cost for a server on which nobody tracks: one relaxed load for each command.

mod message;
#[cfg(test)]
mod tests;

use crate::net::{ClientRecord, Clients};
use hashbrown::HashMap;
use message::Invalidation;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What CLIENT TRACKING ON was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackingOptions {
    /// The id of the client that gets the messages; 0: this one.
    pub redirect: u64,
    /// BCAST.
    pub broadcast: bool,
    /// Only reads after CLIENT CACHING YES are remembered.
    pub opt_in: bool,
    /// Reads after CLIENT CACHING NO are not remembered.
    pub opt_out: bool,
    /// Not of the client's own writes.
    pub no_loop: bool,
    /// The prefixes of the broadcasting mode; none: all keys.
    pub prefixes: BTreeSet<Box<[u8]>>,
}

/// The options of a client, and whether the client it redirects to is gone.
pub struct TrackingState {
    /// As given.
    pub options: TrackingOptions,
    /// A message could not be redirected.
    pub is_redirect_broken: bool,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackingFigures {
    /// Clients with tracking on.
    pub clients: usize,
    /// Keys that are remembered.
    pub keys: usize,
    /// Pairs of key and client.
    pub items: usize,
    /// Prefixes of the broadcasting mode.
    pub prefixes: usize,
}

/// See the module's comment.
pub struct Tracking {
    client_count: AtomicUsize,
    /// More keys than this are not remembered (`tracking-table-max-keys`); 0: no limit.
    keys_max: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    clients: HashMap<u64, TrackedClient>,
    readers: HashMap<Box<[u8]>, Vec<u64>>,
    items: usize,
    prefixes: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
}

struct TrackedClient {
    record: Arc<ClientRecord>,
    state: TrackingState,
}

impl Default for Tracking {
    fn default() -> Tracking {
        Tracking {
            client_count: AtomicUsize::new(0),
            keys_max: AtomicU64::new(1_000_000),
            inner: Mutex::default(),
        }
    }
}

impl Tracking {
    /// True if somebody tracks.
    pub fn any(&self) -> bool {
        self.client_count.load(Ordering::Relaxed) > 0
    }

    /// Sets `tracking-table-max-keys`.
    pub fn set_keys_max(&self, clients: &Clients, keys_max: u64) {
        self.keys_max.store(keys_max, Ordering::Relaxed);
        self.forget_surplus(clients, &mut self.inner.lock());
    }

    /// Forgets keys until there are no more than allowed; whoever read one is told that it changed.
    fn forget_surplus(&self, clients: &Clients, inner: &mut Inner) {
        let keys_max = self.keys_max.load(Ordering::Relaxed) as usize;
        while keys_max > 0 && inner.readers.len() > keys_max {
            let victim = inner.readers.keys().next().cloned();
            let Some(victim) = victim else { break };
            inner.tell_readers(clients, &victim, None);
        }
    }

    /// Turns tracking on for a client, or changes its options; prefixes add up.
    pub fn enable(&self, record: Arc<ClientRecord>, mut options: TrackingOptions) {
        let mut inner = self.inner.lock();
        let id = record.id;
        if options.broadcast && options.prefixes.is_empty() {
            options.prefixes.insert(Box::default());
        }
        for prefix in &options.prefixes {
            inner.prefixes.entry(prefix.clone()).or_default().insert(id);
        }
        if let Some(former) = inner.clients.remove(&id) {
            options.prefixes.extend(former.state.options.prefixes);
        }
        record.show_tracking(Some((options.redirect, options.broadcast, false)));
        let state = TrackingState {
            options,
            is_redirect_broken: false,
        };
        inner.clients.insert(id, TrackedClient { record, state });
        self.client_count
            .store(inner.clients.len(), Ordering::Relaxed);
    }

    /// Turns it off; harmless if it was off.
    pub fn disable(&self, id: u64) {
        let mut inner = self.inner.lock();
        let Some(former) = inner.clients.remove(&id) else {
            return;
        };
        former.record.show_tracking(None);
        for prefix in &former.state.options.prefixes {
            if let Some(clients) = inner.prefixes.get_mut(prefix) {
                clients.remove(&id);
                if clients.is_empty() {
                    inner.prefixes.remove(prefix);
                }
            }
        }
        self.client_count
            .store(inner.clients.len(), Ordering::Relaxed);
        if inner.clients.is_empty() {
            (inner.readers, inner.items) = (HashMap::new(), 0);
        }
    }

    /// What a client has on; `None` if it does not track.
    pub fn state_of(&self, id: u64) -> Option<TrackingState> {
        let inner = self.inner.lock();
        let state = &inner.clients.get(&id)?.state;
        Some(TrackingState {
            options: state.options.clone(),
            is_redirect_broken: state.is_redirect_broken,
        })
    }

    /// Figures for INFO.
    pub fn figures(&self) -> TrackingFigures {
        let inner = self.inner.lock();
        TrackingFigures {
            clients: inner.clients.len(),
            keys: inner.readers.len(),
            items: inner.items,
            prefixes: inner.prefixes.len(),
        }
    }

    /// Remembers that a client has read a key, whose shard is locked.
    pub fn remember(&self, clients: &Clients, id: u64, key: &[u8]) {
        let mut inner = self.inner.lock();
        let readers = inner.readers.entry(key.into()).or_default();
        if !readers.contains(&id) {
            readers.push(id);
            inner.items += 1;
        }
        self.forget_surplus(clients, &mut inner);
    }

    /// Tells those who have read these keys that client `writer` changed them.
    pub fn tell_readers<'k>(
        &self,
        clients: &Clients,
        keys: impl Iterator<Item = &'k [u8]>,
        writer: u64,
    ) {
        let mut inner = self.inner.lock();
        keys.for_each(|key| inner.tell_readers(clients, key, Some(writer)));
    }

    /// Tells everybody who has to know that these keys changed; those who have read one of the first `told` know it.
    /// `writer` is the client that changed them; `None`: none did.
    pub fn invalidate<'k>(
        &self,
        clients: &Clients,
        keys: impl Iterator<Item = &'k [u8]>,
        told: usize,
        writer: Option<u64>,
    ) {
        let mut inner = self.inner.lock();
        let mut broadcast: BTreeMap<Box<[u8]>, BTreeSet<&[u8]>> = BTreeMap::new();
        for (position, key) in keys.enumerate() {
            if position >= told {
                inner.tell_readers(clients, key, writer);
            }
            for prefix in inner.prefixes.keys() {
                if key.starts_with(prefix) {
                    broadcast.entry(prefix.clone()).or_default().insert(key);
                }
            }
        }
        for (prefix, keys) in broadcast {
            let receivers = inner.prefixes.get(&prefix).cloned().unwrap_or_default();
            let keys: Vec<&[u8]> = keys.into_iter().collect();
            let message = Invalidation::Keys(&keys);
            for id in receivers {
                inner.tell(clients, id, &message, writer);
            }
        }
    }

    /// Tells everybody that nothing is as it was: a database was flushed.
    pub fn invalidate_everything(&self, clients: &Clients) {
        let mut inner = self.inner.lock();
        (inner.readers, inner.items) = (HashMap::new(), 0);
        let ids: Vec<u64> = inner.clients.keys().copied().collect();
        for id in ids {
            inner.tell(clients, id, &Invalidation::Everything, None);
        }
    }
}

impl Inner {
    /// Tells the clients that have read a key, and forgets them.
    fn tell_readers(&mut self, clients: &Clients, key: &[u8], writer: Option<u64>) {
        let Some(readers) = self.readers.remove(key) else {
            return;
        };
        self.items -= readers.len();
        let keys = [key];
        let message = Invalidation::Keys(&keys);
        for id in readers {
            let is_reader = self
                .clients
                .get(&id)
                .is_some_and(|client| !client.state.options.broadcast);
            if is_reader {
                self.tell(clients, id, &message, writer);
            }
        }
    }

    fn tell(
        &mut self,
        clients: &Clients,
        id: u64,
        message: &Invalidation<'_>,
        writer: Option<u64>,
    ) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let options = &client.state.options;
        if options.no_loop && writer == Some(id) {
            return;
        }
        if options.redirect == 0 {
            message.send(&client.record, false);
            return;
        }
        match clients.find(options.redirect) {
            Some(target) => message.send(&target, true),
            None => {
                client.state.is_redirect_broken = true;
                client
                    .record
                    .show_tracking(Some((options.redirect, options.broadcast, true)));
                message::send_broken_redirect(&client.record, options.redirect);
            }
        }
    }
}
