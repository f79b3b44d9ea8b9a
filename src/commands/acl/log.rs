//! ACL LOG: what was denied, newest first. The same denial again within a minute only counts up.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why something was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// Name or password were wrong.
    Auth,
}

impl Reason {
    /// The word in ACL LOG.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

/// From where a command came that was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogContext {
    /// The client itself.
    TopLevel,
    /// A transaction.
    Multi,
    /// A script.
    Script,
}

impl LogContext {
    /// The word in ACL LOG.
    pub const fn name(self) -> &'static str {
        match self {
            LogContext::TopLevel => "toplevel",
            LogContext::Multi => "multi",
            LogContext::Script => "lua",
        }
    }
}

/// One kind of denial.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How often.
    pub count: u64,
    /// Why.
    pub reason: Reason,
    /// Where.
    pub context: LogContext,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// Who.
    pub user: Vec<u8>,
    /// The client, as CLIENT LIST shows it.
    pub client: String,
    /// Ascending.
    pub id: u64,
    /// Unix milliseconds of the first time.
    pub created_ms: u64,
    /// Unix milliseconds of the last time.
    pub updated_ms: u64,
}

/// See the module's comment.
#[derive(Default)]
pub struct AclLog {
    entries: Mutex<VecDeque<Entry>>,
    next_id: AtomicU64,
    denied: [AtomicU64; 4],
}

/// Entries that are looked at for the same denial.
const COMPARED: usize = 10;
/// Denials further apart than this are different ones.
const TOGETHER_MS: u64 = 60_000;

impl AclLog {
    /// Notes a denial; keeps at most `limit` entries. The id and the count of `entry` are given here.
    pub fn note(&self, mut entry: Entry, limit: usize) {
        self.denied[entry.reason as usize].fetch_add(1, Relaxed);
        let mut entries = self.entries.lock();
        let same = entries.iter().take(COMPARED).position(|known| {
            known.reason == entry.reason
                && known.context == entry.context
                && known.object == entry.object
                && known.user == entry.user
                && entry.updated_ms.abs_diff(known.updated_ms) <= TOGETHER_MS
        });
        match same.and_then(|index| entries.remove(index)) {
            Some(mut known) => {
                known.count += 1;
                known.updated_ms = entry.updated_ms;
                known.client = entry.client;
                entries.push_front(known);
            }
            None => {
                entry.count = 1;
                entry.id = self.next_id.fetch_add(1, Relaxed);
                entries.push_front(entry);
                entries.truncate(limit);
            }
        }
    }

    /// The newest `count` entries.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    /// ACL LOG RESET.
    pub fn clear(&self) {
        self.entries.lock().clear();
    }

    /// How often each reason occurred, as INFO shows it.
    pub fn counts(&self) -> [(&'static str, u64); 4] {
        [
            (Reason::Auth, "acl_access_denied_auth"),
            (Reason::Command, "acl_access_denied_cmd"),
            (Reason::Key, "acl_access_denied_key"),
            (Reason::Channel, "acl_access_denied_channel"),
        ]
        .map(|(reason, name)| (name, self.denied[reason as usize].load(Relaxed)))
    }

    /// CONFIG RESETSTAT.
    pub fn reset_counts(&self) {
        self.denied.iter().for_each(|count| count.store(0, Relaxed));
    }
}
