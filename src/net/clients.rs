//! The connected clients, for CLIENT LIST, CLIENT KILL, `maxclients` and `timeout`.
//!
//! A connection writes into its own record with relaxed stores once a batch; whoever lists or kills goes through the
//! map. Ending a connection from outside is a `shutdown` of its socket: its task then reads the end of the stream.

use super::client_line;
use super::outbox::Outbox;
use crate::clock;
use crate::commands::services::ClientFilter;
use crate::config::Settings;
use crate::resp::Protocol;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What CLIENT LIST shows of one client.
pub struct ClientRecord {
    /// Unique, ascending.
    pub id: u64,
    /// Remote address.
    pub address: String,
    /// Local address.
    pub local_address: String,
    pub(super) descriptor: RawFd,
    pub(super) created_ms: u64,
    /// Unix milliseconds of the last batch.
    pub last_interaction_ms: AtomicU64,
    /// Selected database.
    pub database: AtomicU32,
    /// Number of the row of the last command.
    pub last_command: AtomicUsize,
    /// Its buffers.
    pub buffers: Buffers,
    /// Queued commands of MULTI; -1 (as u32) outside.
    pub queued: AtomicU32,
    /// Watched keys.
    pub watched: AtomicU32,
    /// 2 or 3.
    pub protocol: AtomicU32,
    /// Commands so far.
    pub commands: AtomicU64,
    /// Bytes that came from it so far.
    pub received_bytes: AtomicU64,
    /// Bytes that its socket took so far.
    pub sent_bytes: AtomicU64,
    /// CLIENT NO-EVICT.
    pub no_evict: AtomicBool,
    /// True while it waits in a blocking command.
    pub blocked: AtomicBool,
    pub(super) names: Mutex<Names>,
    /// Messages on their way to it.
    pub outbox: Outbox,
    /// CLIENT TRACKING: 0 off, else a sum of 1 (on), 2 (BCAST) and 4 (the redirection is broken).
    pub(super) tracking: AtomicU32,
    pub(super) redirect: AtomicU64,
    /// It has said goodbye: what is left of its replies is still sent, and nobody finds it by its id.
    pub is_leaving: AtomicBool,
    /// MONITOR.
    pub monitors: AtomicBool,
    /// Subscriptions by [`crate::pubsub::ChannelKind`].
    pub subscriptions: [AtomicU32; 3],
}

/// What a connection holds in memory, in bytes. Only the connection writes here.
#[derive(Default)]
pub struct Buffers {
    /// Input that was read and not used.
    pub input: AtomicUsize,
    /// What the connection's own input buffer takes; while a batch runs, input is in the thread's.
    pub input_capacity: AtomicUsize,
    /// Replies that are not sent.
    pub output: AtomicUsize,
    /// What the connection's own output buffer takes.
    pub output_capacity: AtomicUsize,
    /// The most replies at a time since `peak_since_ms`.
    output_peak: AtomicUsize,
    /// Unix milliseconds.
    peak_since_ms: AtomicU64,
    /// Arguments of a request that waits.
    pub arguments: AtomicUsize,
    /// Arguments in the queue of a transaction.
    pub queued: AtomicUsize,
}

impl Buffers {
    /// So long a peak of the output is remembered.
    const PEAK_MS: u64 = 5000;

    /// Notes how many bytes of replies there are now.
    pub fn note_output(&self, now_ms: u64, bytes: usize) {
        self.output.store(bytes, Relaxed);
        let is_over = now_ms.saturating_sub(self.peak_since_ms.load(Relaxed)) >= Buffers::PEAK_MS;
        if is_over {
            self.peak_since_ms.store(now_ms, Relaxed);
        }
        if is_over || bytes > self.output_peak.load(Relaxed) {
            self.output_peak.store(bytes, Relaxed);
        }
    }

    /// The most bytes of replies at a time within the last seconds.
    pub(super) fn output_peak(&self, now_ms: u64) -> usize {
        let is_over = now_ms.saturating_sub(self.peak_since_ms.load(Relaxed)) >= Buffers::PEAK_MS;
        let of = if is_over {
            &self.output
        } else {
            &self.output_peak
        };
        of.load(Relaxed)
    }
}

/// What a client says of itself.
#[derive(Default)]
pub(super) struct Names {
    user: String,
    pub(super) name: String,
    pub(super) library_name: String,
    pub(super) library_version: String,
}

impl Names {
    /// The user's name; a client is the default user's before it says anything.
    pub(super) fn user_name(&self) -> &str {
        if self.user.is_empty() {
            "default"
        } else {
            &self.user
        }
    }
}

/// All clients.
#[derive(Default)]
pub struct Clients {
    records: Mutex<BTreeMap<u64, Arc<ClientRecord>>>,
    next_id: AtomicU64,
    /// Connections refused because of `maxclients`.
    pub rejected: AtomicU64,
    /// What may wait in an outbox, in bytes: the hard limit of `client-output-buffer-limit pubsub`.
    pub message_limit_bytes: Arc<AtomicU64>,
}

/// Takes the record out of the map before the socket is closed, so that nobody shuts down a reused descriptor.
pub struct Registration {
    clients: Arc<Clients>,
    /// The record.
    pub record: Arc<ClientRecord>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.records.lock().remove(&self.record.id);
    }
}

impl Clients {
    /// Number of clients.
    pub fn count(&self) -> usize {
        self.records.lock().len()
    }

    /// Adds a client, unless there are `limit` already.
    pub fn register(
        self: &Arc<Clients>,
        descriptor: RawFd,
        address: String,
        local_address: String,
        limit: usize,
    ) -> Option<Registration> {
        let mut records = self.records.lock();
        if records.len() >= limit {
            self.rejected.fetch_add(1, Relaxed);
            return None;
        }
        let id = self.next_id.fetch_add(1, Relaxed) + 1;
        let now_ms = clock::now_ms();
        let record = Arc::new(ClientRecord {
            id,
            address,
            local_address,
            descriptor,
            created_ms: now_ms,
            last_interaction_ms: AtomicU64::new(now_ms),
            database: AtomicU32::new(0),
            last_command: AtomicUsize::new(usize::MAX),
            buffers: Buffers::default(),
            queued: AtomicU32::new(u32::MAX),
            watched: AtomicU32::new(0),
            protocol: AtomicU32::new(2),
            commands: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            no_evict: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            names: Mutex::default(),
            outbox: Outbox::new(Arc::clone(&self.message_limit_bytes)),
            tracking: AtomicU32::new(0),
            redirect: AtomicU64::new(0),
            is_leaving: AtomicBool::new(false),
            monitors: AtomicBool::new(false),
            subscriptions: Default::default(),
        });
        records.insert(id, Arc::clone(&record));
        Some(Registration {
            clients: Arc::clone(self),
            record,
        })
    }

    /// Takes over what the settings allow a client's outbox to hold.
    pub fn set_limits(&self, settings: &Settings) {
        let limit_bytes = settings.output_limit_pubsub.hard_bytes;
        self.message_limit_bytes.store(limit_bytes, Relaxed);
    }

    /// The record of a client that is not on its way out.
    pub fn find(&self, id: u64) -> Option<Arc<ClientRecord>> {
        let found = self.records.lock().get(&id).cloned();
        found.filter(|record| !record.is_leaving.load(Relaxed))
    }

    /// Takes over what a session says of itself.
    pub fn changed(&self, session: &crate::commands::Session) {
        let Some(record) = self.records.lock().get(&session.id).cloned() else {
            return;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        *record.names.lock() = Names {
            user: text(&session.user().name),
            name: text(&session.name),
            library_name: text(&session.library_name),
            library_version: text(&session.library_version),
        };
        record.no_evict.store(session.no_evict, Relaxed);
        record.protocol.store(
            2 + u32::from(session.protocol == crate::resp::Protocol::Resp3),
            Relaxed,
        );
    }

    /// The lines of CLIENT LIST, each ended by a line feed.
    pub fn list(&self, filter: &ClientFilter) -> String {
        let mut lines = String::new();
        let now_ms = clock::now_ms();
        for record in self.matching(filter) {
            let running = filter.caller.filter(|caller| caller.id == record.id);
            client_line::write(&record, now_ms, running, &mut lines);
        }
        lines
    }

    /// Ends the connections that match; returns their clients' ids, ascending. They do not count as clients any more.
    pub fn kill(&self, filter: &ClientFilter) -> Vec<u64> {
        let mut records = self.records.lock();
        let now_ms = clock::now_ms();
        let mut killed = Vec::new();
        records.retain(|id, record| {
            let is_meant = record.matches(filter, now_ms);
            if is_meant {
                record.shut_down();
                killed.push(*id);
            }
            !is_meant
        });
        killed
    }

    /// Ends connections that have been idle for longer than so many milliseconds.
    pub fn kill_idle(&self, idle_ms: u64) {
        let now_ms = clock::now_ms();
        for record in self.records.lock().values() {
            if now_ms.saturating_sub(record.last_interaction_ms.load(Relaxed)) > idle_ms {
                record.shut_down();
            }
        }
    }

    /// Number of clients that are subscribed to something.
    pub fn subscribers(&self) -> usize {
        let records = self.records.lock();
        records
            .values()
            .filter(|record| record.is_subscriber())
            .count()
    }

    /// Number of clients that watch keys.
    pub fn watching(&self) -> usize {
        let records = self.records.lock();
        let watches = |record: &&Arc<ClientRecord>| record.watched.load(Relaxed) > 0;
        records.values().filter(watches).count()
    }

    /// Keys that are watched; one that several clients watch counts for each.
    pub fn watched_keys(&self) -> u64 {
        let records = self.records.lock();
        let watched = records.values().map(|record| record.watched.load(Relaxed));
        watched.map(u64::from).sum()
    }

    /// Unused input and unsent output of all clients, in bytes.
    pub fn buffer_bytes(&self) -> (usize, usize) {
        let records = self.records.lock();
        let sum = |of: fn(&ClientRecord) -> &AtomicUsize| {
            records
                .values()
                .map(|record| of(record).load(Relaxed))
                .sum()
        };
        (
            sum(|record| &record.buffers.input),
            sum(|record| &record.buffers.output),
        )
    }

    fn matching(&self, filter: &ClientFilter) -> Vec<Arc<ClientRecord>> {
        let now_ms = clock::now_ms();
        self.records
            .lock()
            .values()
            .filter(|record| record.matches(filter, now_ms))
            .cloned()
            .collect()
    }
}

impl ClientRecord {
    /// The dialect it speaks.
    pub fn protocol(&self) -> Protocol {
        if self.protocol.load(Relaxed) == 3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        }
    }

    /// What CLIENT LIST shows of tracking: `None`: off; else whom it redirects to, BCAST, and whether that client is gone.
    pub fn show_tracking(&self, shown: Option<(u64, bool, bool)>) {
        let (redirect, broadcast, is_broken) = shown.unwrap_or_default();
        let sum = u32::from(shown.is_some()) + 2 * u32::from(broadcast) + 4 * u32::from(is_broken);
        self.tracking.store(sum, Relaxed);
        self.redirect.store(redirect, Relaxed);
    }

    /// Sends it a finished message.
    pub fn push(&self, message: &[u8]) {
        self.outbox.push(message);
    }

    /// True if it has subscriptions of any kind.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions
            .iter()
            .any(|count| count.load(Relaxed) > 0)
    }

    fn shut_down(&self) {
        // SAFETY: the record is in the map, whose lock the caller holds, and a connection leaves the map before it
        // closes its socket: the descriptor is open.
        let socket = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
        // A socket that is not connected any more is as good as shut down.
        let _ = socket2::SockRef::from(&socket).shutdown(std::net::Shutdown::Both);
    }

    fn matches(&self, filter: &ClientFilter, now_ms: u64) -> bool {
        let same = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        (filter.ids.is_empty() || filter.ids.contains(&self.id))
            && same(&filter.address, &self.address)
            && same(&filter.local_address, &self.local_address)
            && same(
                &filter.kind,
                if self.is_subscriber() {
                    "pubsub"
                } else {
                    "normal"
                },
            )
            && filter.user.as_deref().is_none_or(|wanted| {
                let names = self.names.lock();
                wanted == names.user_name()
            })
            && filter.skip_id != Some(self.id)
            && filter
                .older_than_seconds
                .is_none_or(|seconds| now_ms - self.created_ms >= seconds * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_of_replies_is_remembered_for_some_seconds() {
        const START_MS: u64 = 1_700_000_000_000;
        let buffers = Buffers::default();
        buffers.note_output(START_MS, 100);
        buffers.note_output(START_MS + 1, 10);
        assert_eq!(buffers.output_peak(START_MS + 2), 100);
        buffers.note_output(START_MS + 3, 200);
        assert_eq!(buffers.output_peak(START_MS + Buffers::PEAK_MS - 1), 200);
        assert_eq!(
            buffers.output_peak(START_MS + Buffers::PEAK_MS),
            200,
            "that is still unsent"
        );
        buffers.note_output(START_MS + Buffers::PEAK_MS, 20);
        assert_eq!(buffers.output_peak(START_MS + Buffers::PEAK_MS + 1), 20);
        buffers.output.store(0, Relaxed);
        assert_eq!(buffers.output_peak(START_MS + 3 * Buffers::PEAK_MS), 0);
    }
}
