//! How much memory there is, how much is used, and who has to wait for it.
//!
//! What counts is what jemalloc has handed out: hot entries, warm copies, RocksDB's memtables and block cache (its C++
//! uses the same allocator), buffers of clients. So nothing is forgotten, and no tier keeps books of its own. The resident size
//! counts too, as far as it exceeds that by more than a sixteenth: then free pages are given back to the system
//! first, and what stays is fragmentation, which only holding less can undo.
//!
//! Some memory is beyond demotion: RocksDB's, the clients' buffers, the program's own. With a small limit that alone can be
//! more than the limit for a while. A cold tier with room on its disk then lets a little be written at a time (the
//! floor): it leaves again at once, so writers go at the disk's pace and are not refused.
//!
//! A sample costs some 20 µs (jemalloc sums up its arenas), so the demoter takes it every few milliseconds; in between
//! requests only read atomics.

use super::memory;
use crate::clock;
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
    /// Until then (Unix milliseconds) it is known that nothing can be demoted, because an attempt has just failed.
    stuck_until_ms: AtomicU64,
    /// Set from the moment that all is demoted to the next sample.
    at_floor: AtomicBool,
    /// How often something was demoted or evicted.
    steps: AtomicU64,
    room: Notify,
    wanted: Mutex<bool>,
    wake: Condvar,
}

/// A limit below this is less than an empty server needs: no room can be made, so nobody waits for it.
const IMPOSSIBLE_BYTES: u64 = 1 << 20;
/// Above this part of the limit demotion begins ...
const HIGH_PERCENT: u64 = 95;
/// ... and below this one it ends.
const LOW_PERCENT: u64 = 90;
/// With a smaller limit than this nothing may be written on the floor.
const FLOOR_LIMIT_BYTES_MIN: u64 = 4 << 20;
/// Beyond the limit and a quarter of it, the floor may be so high: what the server itself needs when it holds no data.
/// More than that is a compaction's for a moment, or the clients': writers wait until it is over.
const FLOOR_OVERHEAD_BYTES: u64 = 16 << 20;

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
        self.exhausted.store(false, Ordering::Release);
        self.wake_demoter();
    }

    /// The limit in bytes; 0: none.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Acquire)
    }

    /// May a command that needs memory run? Reads a few atomics. It is refused only on the strength of a sample, or because
    /// demotion fails: what was written since is an estimate, and makes it wait for the next one.
    pub fn admission(&self) -> Admission {
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed);
        if limit_bytes == 0 || self.estimate_bytes() <= limit_bytes {
            Admission::Go
        } else if limit_bytes < IMPOSSIBLE_BYTES
            || self.is_stuck()
            || self.counted_bytes.load(Ordering::Relaxed) > limit_bytes
                && self.exhausted.load(Ordering::Relaxed)
        {
            Admission::Refuse
        } else if self.at_floor.load(Ordering::Relaxed)
            && self.written_bytes.load(Ordering::Relaxed) <= floor_allowance_bytes(limit_bytes)
        {
            Admission::Go
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

    /// Waits until a command that needs memory need not wait any more, or until nothing was demoted for `timeout`; three times
    /// as long at most, since a disk that is full takes a little now and then and yet makes no room.
    pub async fn wait_for_room(&self, timeout: Duration) -> Admission {
        const TIMEOUTS_MAX: usize = 3;
        let mut admission = Admission::Wait;
        for _ in 0..TIMEOUTS_MAX {
            let steps = self.steps.load(Ordering::Relaxed);
            admission = self.wait_at_most(timeout).await;
            if admission != Admission::Wait || self.steps.load(Ordering::Relaxed) == steps {
                break;
            }
        }
        admission
    }

    async fn wait_at_most(&self, timeout: Duration) -> Admission {
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
        self.at_floor.store(false, Ordering::Relaxed);
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

    /// Says that an attempt to demote failed, and that there is none for the next so many milliseconds. Until the one after that
    /// has ended, nobody waits in vain.
    pub fn note_failure(&self, pause: Duration) {
        const ATTEMPT_MS: u64 = 500;
        let until_ms = clock::now_ms() + pause.as_millis() as u64 + ATTEMPT_MS;
        self.stuck_until_ms.store(until_ms, Ordering::Release);
        self.set_exhausted(true);
    }

    /// Says that demotion works again.
    pub fn note_recovery(&self) {
        self.stuck_until_ms.store(0, Ordering::Release);
        self.room.notify_waiters();
    }

    fn is_stuck(&self) -> bool {
        let until_ms = self.stuck_until_ms.load(Ordering::Acquire);
        until_ms != 0 && clock::now_ms() < until_ms
    }

    /// Says that a cold tier with room on its disk has nothing left to take, although memory is short.
    pub fn note_floor(&self) {
        let limit_bytes = self.limit_bytes();
        let floor_bytes_max = limit_bytes + limit_bytes / 4 + FLOOR_OVERHEAD_BYTES;
        let is_low = self.counted_bytes.load(Ordering::Relaxed) <= floor_bytes_max;
        if limit_bytes < FLOOR_LIMIT_BYTES_MIN {
            return self.set_exhausted(true);
        }
        self.exhausted.store(false, Ordering::Release);
        self.at_floor.store(is_low, Ordering::Release);
        self.room.notify_waiters();
    }

    /// Notes that something was demoted or evicted.
    pub fn note_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was so.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
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

/// How much may be written until the next sample when all that can be demoted is demoted. Each such step costs a sync of the
/// log, so it must not be too small.
fn floor_allowance_bytes(limit_bytes: u64) -> u64 {
    (limit_bytes / 64).max(512 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn usage(allocated_bytes: u64) -> memory::Usage {
        memory::Usage {
            allocated_bytes,
            resident_bytes: allocated_bytes,
        }
    }

    #[test]
    fn marks_and_admission_follow_the_samples() {
        let cases = [
            (0, 1 << 20, Admission::Go, false, 0),
            (1000, 900, Admission::Go, false, 0),
            (1000, 951, Admission::Go, true, 51),
            (1000, 1001, Admission::Wait, true, 101),
        ];
        for (limit, counted, admission, is_high, excess) in cases {
            let (limit, counted, excess) = (limit * MIB, counted * MIB, excess * MIB);
            let budget = Budget::new(limit);
            budget.publish(counted, usage(counted));
            assert_eq!(budget.admission(), admission, "{limit} {counted}");
            assert_eq!(budget.is_high(), is_high, "{limit} {counted}");
            assert_eq!(budget.excess_bytes(), excess, "{limit} {counted}");
        }
    }

    #[test]
    fn exhaustion_refuses_until_there_is_room() {
        let budget = Budget::new(1000 * MIB);
        budget.publish(1500 * MIB, usage(1500 * MIB));
        budget.set_exhausted(true);
        assert!(budget.is_out_of_memory());
        budget.publish(999 * MIB, usage(999 * MIB));
        assert_eq!(budget.admission(), Admission::Go);
        budget.publish(1500 * MIB, usage(1500 * MIB));
        assert!(budget.writers_must_wait(), "room was made once: try again");
    }

    #[test]
    fn what_was_written_counts_until_the_next_sample() {
        let budget = Budget::new(1000 * MIB);
        budget.publish(900 * MIB, usage(900 * MIB));
        budget.note_written(200 << 20);
        assert!(budget.writers_must_wait());
    }

    #[test]
    fn an_estimate_makes_wait_and_only_a_sample_refuses() {
        let budget = Budget::new(1000 * MIB);
        budget.publish(900 * MIB, usage(900 * MIB));
        budget.set_exhausted(true);
        budget.note_written(200 << 20);
        assert_eq!(budget.admission(), Admission::Wait);
        budget.publish(1100 * MIB, usage(1100 * MIB));
        assert_eq!(budget.admission(), Admission::Refuse);
    }

    #[test]
    fn who_cannot_be_helped_is_refused_at_once() {
        let budget = Budget::new(1000 * MIB);
        budget.publish(999 * MIB, usage(999 * MIB));
        budget.note_failure(Duration::from_secs(3600));
        assert_eq!(
            budget.admission(),
            Admission::Go,
            "there is room for a little"
        );
        budget.note_written(2 << 20);
        assert_eq!(budget.admission(), Admission::Refuse);
        budget.sample();
        budget.publish(999 * MIB, usage(999 * MIB));
        assert_eq!(budget.admission(), Admission::Go);
        budget.note_written(2 << 20);
        budget.note_recovery();
        assert_eq!(
            budget.admission(),
            Admission::Wait,
            "demotion is worth waiting for"
        );
    }

    #[test]
    fn a_limit_that_nothing_fits_in_refuses_at_once() {
        let budget = Budget::new(1);
        budget.publish(MIB, usage(MIB));
        assert_eq!(budget.admission(), Admission::Refuse);
    }

    #[test]
    fn on_the_floor_a_little_is_written_between_two_samples() {
        const LIMIT: u64 = 8 << 20;
        let budget = Budget::new(LIMIT);
        budget.publish(LIMIT + 1, usage(LIMIT + 1));
        assert_eq!(budget.admission(), Admission::Wait);
        budget.note_floor();
        assert_eq!(budget.admission(), Admission::Go);
        budget.note_written(513 << 10);
        assert_eq!(budget.admission(), Admission::Wait);
        budget.sample();
        budget.publish(LIMIT + 1, usage(LIMIT + 1));
        assert_eq!(budget.admission(), Admission::Wait, "demote first");
        budget.note_floor();
        assert_eq!(budget.admission(), Admission::Go);
    }

    #[test]
    fn the_floor_has_limits() {
        const LIMIT: u64 = 8 << 20;
        for (limit, counted, expected) in [
            (LIMIT, 26 << 20, Admission::Go),
            (LIMIT, 27 << 20, Admission::Wait),
            (1 << 20, 3 << 20, Admission::Refuse),
        ] {
            let budget = Budget::new(limit);
            budget.publish(counted, usage(counted));
            budget.note_floor();
            assert_eq!(budget.admission(), expected, "{limit} {counted}");
        }
    }

    #[test]
    fn who_waits_is_not_given_up_while_keys_are_demoted() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        const LIMIT: u64 = 8 << 20;
        let budget = Budget::new(LIMIT);
        budget.publish(LIMIT + 1, usage(LIMIT + 1));
        let timeout = Duration::from_millis(10);
        runtime.block_on(async {
            let demotion = async {
                for _ in 0..8 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    budget.note_step();
                }
                budget.publish(LIMIT, usage(LIMIT));
            };
            // The demotion is polled first, so that a step is never noticed later than a timeout of that time.
            let ((), admission) = tokio::join!(biased; demotion, budget.wait_for_room(timeout));
            assert_eq!(admission, Admission::Go);
            budget.publish(LIMIT + 1, usage(LIMIT + 1));
            assert_eq!(budget.wait_for_room(timeout).await, Admission::Wait);
        });
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
