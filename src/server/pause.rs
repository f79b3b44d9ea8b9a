//! CLIENT PAUSE: for a while, clients (or those that want to write) get no answers.
//!
//! The end of a pause is a time; nothing runs while it lasts but the timers of those who wait. Expired keys are hidden but not
//! removed meanwhile, because a removal is a write.

use crate::clock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;

/// See the module's comment.
#[derive(Default)]
pub struct Pause {
    /// Unix milliseconds; 0: there is none.
    until_ms: AtomicU64,
    pauses_reads: AtomicBool,
    over: Notify,
    waiting: AtomicUsize,
}

impl Pause {
    /// Pauses writes, or everything, until then. A running pause is extended, never shortened, and stays as strict as it is.
    pub fn begin(&self, until_ms: u64, pauses_reads: bool) {
        let running = self.is_active();
        let both = running && self.pauses_reads.load(Relaxed);
        self.pauses_reads.store(pauses_reads || both, Relaxed);
        if running {
            self.until_ms.fetch_max(until_ms, Relaxed);
        } else {
            self.until_ms.store(until_ms, Relaxed);
        }
    }

    /// Ends it.
    pub fn end(&self) {
        self.until_ms.store(0, Relaxed);
        self.over.notify_waiters();
    }

    /// True while commands that write have to wait.
    pub fn is_active(&self) -> bool {
        let until_ms = self.until_ms.load(Relaxed);
        until_ms != 0 && clock::now_ms() < until_ms
    }

    /// True while a command has to wait.
    pub fn holds(&self, writes: bool) -> bool {
        self.is_active() && (writes || self.pauses_reads.load(Relaxed))
    }

    /// Number of clients that wait for the end.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Waits for the end.
    pub async fn wait(&self) {
        self.waiting.fetch_add(1, Relaxed);
        while self.is_active() {
            let notified = self.over.notified();
            let left_ms = self.until_ms.load(Relaxed).saturating_sub(clock::now_ms());
            // Its end, or a look at whether it was extended.
            let _ = tokio::time::timeout(Duration::from_millis(left_ms + 1), notified).await;
        }
        self.waiting.fetch_sub(1, Relaxed);
    }
}
