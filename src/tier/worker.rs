//! The two background threads: one watches memory and moves keys, one lets keys expire.

use super::evict::EvictionHand;
use super::expire::{ExpiryHand, ROUND_INTERVAL};
use super::lull::{SLEEP_MAX, Sleeper};
use super::{Tier, memory};
use crate::error::InternalError;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// After a failure nothing is tried for this long: a full disk does not become empty by the millisecond.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often disk use and the block cache's size are looked at.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);
/// Memory that changes by less than this between two samples stands still.
const STEADY_BYTES: u64 = 256 << 10;
/// How often pending deletions are applied.
const DRAIN_INTERVAL: Duration = Duration::from_millis(100);

impl Tier {
    /// Starts all threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self: &Arc<Self>) -> Result<(), InternalError> {
        const IO_THREADS: usize = 3;
        self.pool.start(
            if self.cold.is_some() { IO_THREADS } else { 1 },
            self.cold.as_ref(),
        )?;
        type Body = fn(&Weak<Tier>);
        let bodies: [(&str, Body); 2] = [
            ("larder-demote", watch_memory),
            ("larder-expire", watch_deadlines),
        ];
        for (name, body) in bodies {
            let tier = Arc::downgrade(self);
            let thread = std::thread::Builder::new()
                .name(name.into())
                .spawn(move || body(&tier))
                .map_err(|error| InternalError::Other(format!("cannot start {name}: {error}")))?;
            self.threads.lock().push(thread);
        }
        Ok(())
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Ends all threads and waits for them. Pending deletions stay pending: the log has them.
    pub fn stop(&self) {
        self.stop_unless(&|| false);
    }

    /// The same; but a thread that has not ended when `gives_up` says so ends with the process. False if there is one.
    pub fn stop_unless(&self, gives_up: &dyn Fn() -> bool) -> bool {
        const NEXT_LOOK: Duration = Duration::from_millis(1);
        self.stopping.store(true, Ordering::Relaxed);
        self.budget.wake_demoter();
        self.lull.end();
        let own = std::thread::current().id();
        for thread in self
            .threads
            .lock()
            .drain(..)
            .filter(|thread| thread.thread().id() != own)
        {
            while !thread.is_finished() {
                if gives_up() {
                    return false;
                }
                std::thread::sleep(NEXT_LOOK);
            }
            if thread.join().is_err() {
                tracing::error!("a background thread of the tiers panicked");
            }
        }
        self.pool.stop();
        true
    }

    /// Makes room if memory is short.
    pub(super) fn make_room(&self, hand: &mut EvictionHand) -> Result<(), InternalError> {
        if !self.budget.is_high() {
            return Ok(());
        }
        match self.cold.as_deref() {
            None => self.timed("eviction-cycle", || self.evict_hot(hand)),
            Some(_) if self.disk_is_full.load(Ordering::Acquire) => {
                self.budget.set_exhausted(true);
                Ok(())
            }
            Some(cold) => self.relieve(cold),
        }
    }

    /// Logs why keys cannot be moved.
    fn report_failure(&self, error: &InternalError) {
        if let Some(cold) = self.cold.as_deref().filter(|_| error.is_full_disk()) {
            let directory = cold.path().display();
            tracing::error!(%error, %directory, "the disk of the cold tier is full: what needs memory is refused until there is space");
        } else {
            tracing::error!(%error, "keys cannot be moved to the cold tier");
        }
    }

    fn keep_house(&self, hand: &mut EvictionHand) -> Result<(), InternalError> {
        self.warm.maintain();
        let Some(cold) = self.cold.as_deref() else {
            return Ok(());
        };
        cold.adapt_block_cache(self.budget.limit_bytes());
        self.evict_cold(cold, hand)
    }
}

/// When something is done next.
struct Timer {
    next: Instant,
    interval: Duration,
}

impl Timer {
    fn new(interval: Duration) -> Timer {
        Timer {
            next: Instant::now() + interval,
            interval,
        }
    }

    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = now >= self.next;
        if is_due {
            self.next = now + self.interval;
        }
        is_due
    }
}

fn watch_memory(tier: &Weak<Tier>) {
    let mut hand = EvictionHand::default();
    let (mut drain, mut housekeeping) = (
        Timer::new(DRAIN_INTERVAL),
        Timer::new(HOUSEKEEPING_INTERVAL),
    );
    // When the last attempt failed, and why.
    let mut failure: Option<(Instant, String)> = None;
    memory::decay_quickly();
    loop {
        let Some(tier) = tier.upgrade().filter(|tier| !tier.is_stopping()) else {
            return;
        };
        let budget = Arc::clone(&tier.budget);
        tier.lull.begin(Sleeper::Demoter);
        let used_before = budget.used_bytes();
        budget.sample();
        let is_steady = budget.used_bytes().abs_diff(used_before) < STEADY_BYTES;
        let is_pausing = |(at, _): &(Instant, String)| at.elapsed() <= PAUSE_AFTER_FAILURE;
        if !failure.as_ref().is_some_and(is_pausing) {
            let mut step = || -> Result<(), InternalError> {
                if drain.is_due()
                    && let Some(cold) = tier.cold.as_deref()
                {
                    tier.drain_deletions(cold)?;
                }
                tier.make_room(&mut hand)?;
                if housekeeping.is_due() {
                    tier.keep_house(&mut hand)
                } else {
                    Ok(())
                }
            };
            let steps = budget.steps();
            match step() {
                // Not merely because nothing was tried.
                Ok(()) if failure.is_some() && budget.steps() != steps => {
                    tracing::info!("keys can be moved to the cold tier again");
                    budget.note_recovery();
                    failure = None;
                }
                Ok(()) => {}
                Err(error) => {
                    let text = error.to_string();
                    if failure.as_ref().is_none_or(|(_, former)| *former != text) {
                        tier.report_failure(&error);
                    }
                    budget.note_failure(PAUSE_AFTER_FAILURE);
                    failure = Some((Instant::now(), text));
                }
            }
        }
        let weak = Arc::downgrade(&tier);
        drop(tier);
        budget.sleep(budget.sample_interval());
        if is_steady
            && !budget.is_high()
            && let Some(tier) = weak.upgrade()
        {
            tier.lull.wait(Sleeper::Demoter, SLEEP_MAX);
        }
    }
}

fn watch_deadlines(tier: &Weak<Tier>) {
    let mut hand = ExpiryHand::default();
    loop {
        std::thread::sleep(ROUND_INTERVAL);
        let Some(tier) = tier.upgrade().filter(|tier| !tier.is_stopping()) else {
            return;
        };
        if tier.lull.lasts(Sleeper::Expiry) {
            let next_due = tier.time_to_next_deadline(&hand);
            tier.lull.wait(Sleeper::Expiry, next_due);
        }
        tier.lull.begin(Sleeper::Expiry);
        if let Err(error) = tier.expire_round(&mut hand) {
            tracing::error!(%error, "keys cannot be expired");
            std::thread::sleep(PAUSE_AFTER_FAILURE);
        }
    }
}
