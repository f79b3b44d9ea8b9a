//! A server without load sleeps: background threads look less often while no client says anything.
//!
//! A thread says when its round begins ([`Lull::begin`]); the next batch of commands ends the lull for all. A thread whose lull still
//! lasts after its usual pause has nothing to do, because nothing has happened, and sleeps on until something does
//! ([`Lull::wait`]). The mark is set before the round looks at anything, so that what happens meanwhile is not missed.
//!
//! Cost for a batch of commands: one relaxed load, and some ten times a second a lock.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The longest sleep of a thread that has nothing to do.
pub const SLEEP_MAX: Duration = Duration::from_secs(1);

/// A thread that sleeps while there is nothing to do.
#[derive(Clone, Copy, Debug)]
pub enum Sleeper {
    /// Samples memory.
    Demoter = 1,
    /// Lets keys expire.
    Expiry = 2,
    /// Save rules, idle clients, rates.
    Cron = 4,
}

/// See the module's comment.
#[derive(Default)]
pub struct Lull {
    /// Whose lull lasts.
    lasting: AtomicU32,
    lock: Mutex<()>,
    ended: Condvar,
}

impl Lull {
    /// A round of this thread begins.
    pub fn begin(&self, sleeper: Sleeper) {
        self.lasting.fetch_or(sleeper as u32, Ordering::SeqCst);
    }

    /// True if nothing has happened since.
    pub fn lasts(&self, sleeper: Sleeper) -> bool {
        self.lasting.load(Ordering::SeqCst) & sleeper as u32 != 0
    }

    /// Something happens: a batch of commands, a job.
    #[inline]
    pub fn end(&self) {
        if self.lasting.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        self.lasting.store(0, Ordering::SeqCst);
        // Whoever has seen its lull last and does not sleep yet holds the lock.
        drop(self.lock.lock());
        self.ended.notify_all();
    }

    /// Sleeps until the lull ends, for `longest` at most and never for longer than [`SLEEP_MAX`].
    pub fn wait(&self, sleeper: Sleeper, longest: Duration) {
        let mut guard = self.lock.lock();
        if self.lasts(sleeper) {
            self.ended.wait_for(&mut guard, longest.min(SLEEP_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_lull_lasts_until_something_happens() {
        let lull = Lull::default();
        lull.end();
        lull.begin(Sleeper::Expiry);
        assert!(lull.lasts(Sleeper::Expiry) && !lull.lasts(Sleeper::Cron));
        lull.begin(Sleeper::Cron);
        lull.end();
        assert!(!lull.lasts(Sleeper::Expiry) && !lull.lasts(Sleeper::Cron));
        // It is over: this returns.
        lull.wait(Sleeper::Expiry, Duration::MAX);
    }

    #[test]
    fn sleepers_are_woken() {
        let lull = Arc::new(Lull::default());
        for _ in 0..200 {
            lull.begin(Sleeper::Demoter);
            let sleeping = Arc::clone(&lull);
            let sleeper = std::thread::spawn(move || {
                while sleeping.lasts(Sleeper::Demoter) {
                    sleeping.wait(Sleeper::Demoter, Duration::MAX);
                }
            });
            lull.end();
            sleeper.join().expect("woken");
        }
    }
}
