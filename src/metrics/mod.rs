//! Counters that INFO shows.
//!
//! Each worker thread has a set of its own, so that counting is an uncontended add; INFO sums them.

mod errors;
mod histogram;

pub use errors::ErrorCounts;
pub use histogram::{Distribution, Histogram};

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one command was called for.
#[derive(Default)]
pub struct CommandMetrics {
    /// Times it ran.
    pub calls: AtomicU64,
    /// Time it took, in nanoseconds.
    pub nanoseconds: AtomicU64,
    /// Times it was refused before it ran (arity, memory, authentication).
    pub rejected: AtomicU64,
    /// Times it ran and failed.
    pub failed: AtomicU64,
    /// How the time is distributed, while `latency-tracking` is on.
    pub times: Histogram,
}

/// The counters of one worker.
#[repr(align(128))]
#[derive(Default)]
pub struct WorkerMetrics {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Commands run.
    pub commands: AtomicU64,
    /// Error replies.
    pub errors: AtomicU64,
    /// Look-ups that found a key.
    pub hits: AtomicU64,
    /// Look-ups that did not.
    pub misses: AtomicU64,
    /// Keys that expired.
    pub expired: AtomicU64,
    /// Fields of hashes that expired.
    pub expired_fields: AtomicU64,
    /// Bytes read from clients.
    pub input_bytes: AtomicU64,
    /// Bytes sent to clients.
    pub output_bytes: AtomicU64,
    /// Changes of keys; `rdb_changes_since_last_save` is the sum less what the last snapshot had.
    pub changes: AtomicU64,
    /// Requests that waited for the cold tier.
    pub fetches: AtomicU64,
    /// By number of the command's row.
    pub by_command: Box<[CommandMetrics]>,
}

impl WorkerMetrics {
    /// Counters for `commands` rows.
    pub fn new(commands: usize) -> WorkerMetrics {
        WorkerMetrics {
            by_command: (0..commands).map(|_| CommandMetrics::default()).collect(),
            ..WorkerMetrics::default()
        }
    }

    /// Sets all to zero (CONFIG RESETSTAT), except `changes`, which is no statistic.
    pub fn reset(&self) {
        let counters = [
            &self.connections,
            &self.commands,
            &self.errors,
            &self.hits,
            &self.misses,
            &self.expired,
            &self.expired_fields,
            &self.input_bytes,
            &self.output_bytes,
            &self.fetches,
        ];
        counters
            .into_iter()
            .for_each(|counter| counter.store(0, Relaxed));
        for command in &self.by_command {
            command.times.reset();
            let counters = [
                &command.calls,
                &command.nanoseconds,
                &command.rejected,
                &command.failed,
            ];
            counters
                .into_iter()
                .for_each(|counter| counter.store(0, Relaxed));
        }
    }
}

/// Adds to a counter that only its own thread adds to: a load and a store, no locked instruction.
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(amount), Relaxed);
}

/// The sum of one counter over all workers.
pub fn sum<'a>(
    workers: impl IntoIterator<Item = &'a WorkerMetrics>,
    counter: impl Fn(&WorkerMetrics) -> &AtomicU64,
) -> u64 {
    workers
        .into_iter()
        .map(|worker| counter(worker).load(Relaxed))
        .sum()
}
