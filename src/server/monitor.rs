//! MONITOR: every command, as text, to the clients that asked for it.
//!
//! Lines are made only while somebody watches; a server without watchers pays one relaxed load for each command.

use crate::commands::Session;
use crate::commands::slow_log::is_secret;
use crate::net::ClientRecord;
use crate::resp::quoting;
use parking_lot::RwLock;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// See the module's comment.
#[derive(Default)]
pub struct Monitors {
    count: AtomicUsize,
    watchers: RwLock<Vec<Arc<ClientRecord>>>,
}

impl Monitors {
    /// True if somebody watches.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Adds a watcher; harmless if it is one.
    pub fn add(&self, client: Arc<ClientRecord>) {
        let mut watchers = self.watchers.write();
        if watchers.iter().all(|known| known.id != client.id) {
            watchers.push(client);
        }
        self.count.store(watchers.len(), Ordering::Relaxed);
    }

    /// Takes a watcher away; harmless if it is none.
    pub fn remove(&self, id: u64) {
        let mut watchers = self.watchers.write();
        watchers.retain(|known| known.id != id);
        self.count.store(watchers.len(), Ordering::Relaxed);
    }

    /// Shows a command to all watchers. `by_script` hides the client behind the word `lua`.
    pub fn show(&self, session: &Session, arguments: &[&[u8]], by_script: bool) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let client = match () {
            () if by_script => "lua".to_owned(),
            () if session.address.starts_with('/') => {
                let path = session.address.rsplit_once(':');
                format!("unix:{}", path.map_or(&*session.address, |(path, _)| path))
            }
            () => session.address.clone(),
        };
        let mut line = Vec::new();
        // Writing into memory cannot fail.
        let _ = write!(
            line,
            "+{}.{:06} [{} {client}]",
            now.as_secs(),
            now.subsec_micros(),
            session.database
        );
        for (index, argument) in arguments.iter().enumerate() {
            line.push(b' ');
            let shown = match is_secret(arguments, index) {
                true => &b"(redacted)"[..],
                false => argument,
            };
            line.extend_from_slice(quoting::quote(shown).as_bytes());
        }
        line.extend_from_slice(b"\r\n");
        for watcher in &*self.watchers.read() {
            watcher.push(&line);
        }
    }
}
