//! The one place that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    now_us() / 1000
}

/// Unix time in microseconds.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

/// A counter that grows evenly with time, in a unit of its own: the processor's time stamp, which costs a third of a look at
/// the clock. How long a tick is follows from two looks at the clock around the ticks ([`crate::dispatch`] takes them
/// once a batch).
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and it touches no memory.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// A counter that grows evenly with time, here in nanoseconds.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START
        .get_or_init(std::time::Instant::now)
        .elapsed()
        .as_nanos() as u64
}

/// A moment, by the clock and in ticks: how long a tick is follows from two looks at both.
#[derive(Clone, Copy, Debug)]
pub struct TickMark {
    at: std::time::Instant,
    ticks: u64,
}

impl TickMark {
    /// Now.
    pub fn now() -> TickMark {
        TickMark {
            at: std::time::Instant::now(),
            ticks: ticks(),
        }
    }

    /// The ticks at that moment.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// How many nanoseconds a tick has taken since then, at an average.
    pub fn tick_nanoseconds(&self) -> f64 {
        let passed = ticks().saturating_sub(self.ticks).max(1);
        self.at.elapsed().as_nanos() as f64 / passed as f64
    }
}

/// Turns ticks into nanoseconds where no batch of commands does: within a script. How long a tick is follows from two looks at
/// the clock, which are taken seldom, and ever farther apart up to some tenths of a second.
pub struct TickLength {
    looked: TickMark,
    /// Ticks since then at which the clock is looked at again.
    next_ticks: u64,
    nanoseconds: f64,
}

impl Default for TickLength {
    fn default() -> TickLength {
        TickLength {
            looked: TickMark::now(),
            next_ticks: 0,
            nanoseconds: 1.0,
        }
    }
}

impl TickLength {
    /// The nanoseconds since [`ticks`] gave `start`.
    pub fn nanoseconds_since(&mut self, start: u64) -> u64 {
        const FAR_APART: u64 = 1 << 30;
        let now = ticks();
        let passed = now.saturating_sub(self.looked.ticks());
        if passed >= self.next_ticks {
            self.nanoseconds = self.looked.tick_nanoseconds();
            self.next_ticks = passed.saturating_mul(2).min(FAR_APART);
            if passed >= FAR_APART {
                self.looked = TickMark::now();
            }
        }
        (now.saturating_sub(start) as f64 * self.nanoseconds) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_the_time_that_passed() {
        let mut length = TickLength::default();
        for milliseconds in [1, 20, 3] {
            let (start, started) = (ticks(), std::time::Instant::now());
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            let nanoseconds = length.nanoseconds_since(start);
            let at_most = started.elapsed().as_nanos() as u64;
            assert!(nanoseconds >= milliseconds * 900_000, "{nanoseconds}");
            assert!(nanoseconds <= at_most + at_most / 10, "{nanoseconds}");
        }
    }
}
