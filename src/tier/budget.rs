//! How much memory there is, how much is used, and who has to wait for it.
//!
//! What counts is what jemalloc has handed out: hot entries, warm copies, RocksDB's memtables and block cache (its C++
//! uses the same allocator), buffers of clients. So nothing is forgotten, and no tier keeps books of its own. The resident size
//! counts too, as far as it exceeds that by more than a sixteenth: then free pages are given back to the system
//! first, and what stays is fragmentation, which only holding less can undo.
//!
//! A sample costs some 20 µs (jemalloc sums up its arenas), so the demoter takes it every few milliseconds; in between
//! requests only read atomics.

use super::memory;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// May a command that needs memory run?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Go,
    /// In a moment: room is being made.
    Wait,
    /// No: there is nothing left that could be moved or evicted.
    Refuse,
}

/// See the module's comment.
#[derive(Default)]
pub struct Budget {
    limit_bytes: AtomicU64,
    counted_bytes: AtomicU64,
    allocated_bytes: AtomicU64,
    resident_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    written_bytes: AtomicU64,
    /// Set while nothing can make room.
    exhausted: AtomicBool,
    room: Notify,
    wanted: Mutex<bool>,
    wake: Condvar,
}

/// Above this part of the limit demotion begins ...
const HIGH_PERCENT: u64 = 95;
/// ... and below this one it ends.
const LOW_PERCENT: u64 = 90;
/// With a smaller limit than this a server without any key is above it.
const HOPELESS_LIMIT_BYTES: u64 = 4 << 20;

impl Budget {
    /// A budget of so many bytes (0: no limit).
    pub fn new(limit_bytes: u64) -> Budget {
        let budget = Budget::default();
        budget.limit_bytes.store(limit_bytes, Ordering::Release);
        budget
    }

    /// Changes the limit.
    pub fn set_limit_bytes(&self, limit_bytes: u64) {
        self.limit_bytes.store(limit_bytes, Ordering::Release);
        // What no server fits into need not be tried first.
        let is_hopeless = limit_bytes != 0 && limit_bytes < HOPELESS_LIMIT_BYTES;
        self.exhausted.store(is_hopeless, Ordering::Release);
        self.wake_demoter();
    }

    /// The limit in bytes; 0: none.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Acquire)
    }

    /// May a command that needs memory run? Reads a few atomics. It is refused only on the strength of a sample: what was
    /// written since is an estimate, and makes it wait for the next one.
    pub fn admission(&self) -> Admission {
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed);
        if limit_bytes == 0 || self.estimate_bytes() <= limit_bytes {
            Admission::Go
        } else if self.counted_bytes.load(Ordering::Relaxed) > limit_bytes
            && self.exhausted.load(Ordering::Relaxed)
        {
            Admission::Refuse
        } else {
            Admission::Wait
        }
    }

    /// True if a command that needs memory has to wait.
    pub fn writers_must_wait(&self) -> bool {
        self.admission() == Admission::Wait
    }

    /// True if a command that needs memory has to be refused.
    pub fn is_out_of_memory(&self) -> bool {
        self.admission() == Admission::Refuse
    }

    /// Waits until a command that needs memory need not wait any more, or for `timeout`.
    pub async fn wait_for_room(&self, timeout: Duration) -> Admission {
        let room = async {
            loop {
                let notified = self.room.notified();
                if self.admission() != Admission::Wait {
                    return;
                }
                self.wake_demoter();
                notified.await;
            }
        };
        // Whether it ended or ran out of time: the admission tells.
        let _ = tokio::time::timeout(timeout, room).await;
        self.admission()
    }

    /// Notes about how many bytes a batch of commands has brought, for the time until the next sample.
    pub fn note_written(&self, bytes: usize) {
        let written = self
            .written_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed)
            + bytes as u64;
        if self.limit_bytes() != 0 && written > self.limit_bytes() / 64 && self.is_high() {
            self.wake_demoter();
        }
    }

    fn estimate_bytes(&self) -> u64 {
        self.counted_bytes.load(Ordering::Relaxed) + self.written_bytes.load(Ordering::Relaxed)
    }

    /// Measures, and tells who waits.
    pub fn sample(&self) {
        self.written_bytes.store(0, Ordering::Relaxed);
        let mut usage = memory::usage();
        let limit_bytes = self.limit_bytes();
        let slack_bytes = usage.allocated_bytes / 16 + limit_bytes / 64;
        if limit_bytes != 0
            && usage.resident_bytes > usage.allocated_bytes + slack_bytes
            && usage.resident_bytes > limit_bytes / 100 * HIGH_PERCENT
        {
            memory::purge();
            usage = memory::usage();
        }
        let excess_bytes = usage
            .resident_bytes
            .saturating_sub(usage.allocated_bytes + slack_bytes);
        // Fragmentation counts, but never so much that demoting everything would be the answer.
        self.publish(
            usage.allocated_bytes + excess_bytes.min(limit_bytes / 4),
            usage,
        );
    }

    fn publish(&self, counted_bytes: u64, usage: memory::Usage) {
        self.allocated_bytes
            .store(usage.allocated_bytes, Ordering::Relaxed);
        self.resident_bytes
            .store(usage.resident_bytes, Ordering::Relaxed);
        self.peak_bytes
            .fetch_max(usage.allocated_bytes, Ordering::Relaxed);
        self.counted_bytes.store(counted_bytes, Ordering::Release);
        if counted_bytes <= self.limit_bytes() {
            self.exhausted.store(false, Ordering::Release);
        }
        self.room.notify_waiters();
    }

    /// Says whether there is nothing left to demote or evict although memory is short.
    pub fn set_exhausted(&self, exhausted: bool) {
        self.exhausted.store(exhausted, Ordering::Release);
        self.room.notify_waiters();
    }

    /// True if demotion should begin.
    pub fn is_high(&self) -> bool {
        let limit_bytes = self.limit_bytes();
        limit_bytes != 0 && self.estimate_bytes() > limit_bytes / 100 * HIGH_PERCENT
    }

    /// How many bytes are to go until demotion may end; 0: it may.
    pub fn excess_bytes(&self) -> u64 {
        match self.limit_bytes() {
            0 => 0,
            limit_bytes => self
                .counted_bytes
                .load(Ordering::Acquire)
                .saturating_sub(limit_bytes / 100 * LOW_PERCENT),
        }
    }

    /// Bytes handed out by the allocator at the last sample.
    pub fn used_bytes(&self) -> u64 {
        self.allocated_bytes.load(Ordering::Relaxed)
    }

    /// Bytes resident at the last sample.
    pub fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    /// The most bytes that any sample found handed out.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// How long until the next sample is due.
    pub(super) fn sample_interval(&self) -> Duration {
        let limit_bytes = self.limit_bytes();
        let is_near = limit_bytes != 0 && self.estimate_bytes() > limit_bytes / 100 * 60;
        Duration::from_millis(if is_near { 10 } else { 50 })
    }

    /// Has the demoter look at once.
    pub fn wake_demoter(&self) {
        let mut wanted = self.wanted.lock();
        if !*wanted {
            *wanted = true;
            self.wake.notify_one();
        }
    }

    /// The demoter's sleep: until woken, or for `interval`.
    pub(super) fn sleep(&self, interval: Duration) {
        let mut wanted = self.wanted.lock();
        if !*wanted {
            self.wake.wait_for(&mut wanted, interval);
        }
        *wanted = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(allocated_bytes: u64) -> memory::Usage {
        memory::Usage {
            allocated_bytes,
            resident_bytes: allocated_bytes,
        }
    }

    #[test]
    fn marks_and_admission_follow_the_samples() {
        let cases = [
            (0, 1 << 40, Admission::Go, false, 0),
            (1000, 900, Admission::Go, false, 0),
            (1000, 951, Admission::Go, true, 51),
            (1000, 1001, Admission::Wait, true, 101),
        ];
        for (limit, counted, admission, is_high, excess) in cases {
            let budget = Budget::new(limit);
            budget.publish(counted, usage(counted));
            assert_eq!(budget.admission(), admission, "{limit} {counted}");
            assert_eq!(budget.is_high(), is_high, "{limit} {counted}");
            assert_eq!(budget.excess_bytes(), excess, "{limit} {counted}");
        }
    }

    #[test]
    fn exhaustion_refuses_until_there_is_room() {
        let budget = Budget::new(1000);
        budget.publish(1500, usage(1500));
        budget.set_exhausted(true);
        assert!(budget.is_out_of_memory());
        budget.publish(999, usage(999));
        assert_eq!(budget.admission(), Admission::Go);
        budget.publish(1500, usage(1500));
        assert!(budget.writers_must_wait(), "room was made once: try again");
    }

    #[test]
    fn what_was_written_counts_until_the_next_sample() {
        let budget = Budget::new(1000);
        budget.publish(900, usage(900));
        budget.note_written(200);
        assert!(budget.writers_must_wait());
    }

    #[test]
    fn an_estimate_makes_wait_and_only_a_sample_refuses() {
        let budget = Budget::new(1000);
        budget.publish(900, usage(900));
        budget.set_exhausted(true);
        budget.note_written(200);
        assert_eq!(budget.admission(), Admission::Wait);
        budget.publish(1100, usage(1100));
        assert_eq!(budget.admission(), Admission::Refuse);
    }

    #[test]
    fn the_allocator_is_measured() {
        let budget = Budget::new(1 << 40);
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        budget.sample();
        assert!(budget.used_bytes() > 32 << 20);
        assert!(budget.resident_bytes() > 32 << 20);
        assert!(budget.peak_bytes() >= budget.used_bytes());
        drop(block);
    }
}
