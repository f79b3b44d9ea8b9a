//! How long each command of a batch takes, exactly, without a look at the clock for each.
//!
//! A look at the clock costs a tenth of a pipelined GET. So the clock is looked at before and after a batch, and between
//! commands only the processor's tick counter is read ([`crate::clock::ticks`]), which costs a third of that. The two looks
//! say how long a tick of this batch was; nothing needs to be calibrated, and a tick of another processor's counter does
//! no harm. Only a command that may be over a threshold makes for another look, so that the slow log is exact.

use crate::clock::{TickMark, ticks};
use crate::config::Settings;
use crate::metrics::{WorkerMetrics, add};

/// See the module's comment.
pub struct Stopwatch {
    batch_started: TickMark,
    /// When the running command began.
    command_ticks: u64,
    /// How long the last command took, in ticks.
    last_ticks: u64,
    /// Row and ticks of each command of the batch.
    commands: Vec<(usize, u64)>,
    /// Commands of fewer ticks are certainly not slow.
    slow_ticks: u64,
}

impl Default for Stopwatch {
    /// A stopwatch at the beginning of a batch.
    fn default() -> Stopwatch {
        Stopwatch {
            batch_started: TickMark::now(),
            command_ticks: ticks(),
            last_ticks: 0,
            commands: Vec::new(),
            slow_ticks: 0,
        }
    }
}

impl Stopwatch {
    /// A batch begins.
    pub fn begin_batch(&mut self) {
        self.batch_started = TickMark::now();
        self.command_ticks = self.batch_started.ticks();
        self.commands.clear();
    }

    /// A command begins now.
    pub fn begin_command(&mut self) {
        self.command_ticks = ticks();
    }

    /// The running command, of this row, is over, and the next one begins. True if it may have been slow.
    pub fn end_command(&mut self, row: usize) -> bool {
        let now = ticks();
        self.last_ticks = now.saturating_sub(self.command_ticks);
        self.command_ticks = now;
        self.commands.push((row, self.last_ticks));
        self.last_ticks >= self.slow_ticks
    }

    /// The settings have changed: until the end of the batch any command may be slow.
    pub fn forget_threshold(&mut self) {
        self.slow_ticks = 0;
    }

    /// How long the last command took.
    pub fn last_command_nanoseconds(&self) -> u64 {
        (self.last_ticks as f64 * self.batch_started.tick_nanoseconds()) as u64
    }

    /// The batch is over: each command gets its time.
    pub fn end_batch(&mut self, settings: &Settings, metrics: &WorkerMetrics) {
        let tick_nanoseconds = self.batch_started.tick_nanoseconds();
        for (row, ticks) in self.commands.drain(..) {
            let nanoseconds = (ticks as f64 * tick_nanoseconds) as u64;
            let command = &metrics.by_command[row];
            add(&command.nanoseconds, nanoseconds);
            if settings.latency_tracking {
                command.times.record(nanoseconds);
            }
        }
        // Half, because the next batch's ticks may be a little longer.
        self.slow_ticks = match slow_nanoseconds(settings) {
            None => u64::MAX,
            Some(nanoseconds) => (nanoseconds as f64 / tick_nanoseconds.max(0.01) / 2.0) as u64,
        };
    }
}

/// From when on slow log or latency monitor want to know of a command.
fn slow_nanoseconds(settings: &Settings) -> Option<u64> {
    let logged = u64::try_from(settings.slowlog_log_slower_than_us)
        .ok()
        .map(|microseconds| microseconds.saturating_mul(1000));
    let threshold_ms = settings.latency_monitor_threshold_ms;
    let watched = (threshold_ms > 0).then(|| threshold_ms.saturating_mul(1_000_000));
    logged.into_iter().chain(watched).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_share_the_time_of_their_batch() {
        let metrics = WorkerMetrics::new(2);
        let settings = Settings::default();
        let mut stopwatch = Stopwatch::default();
        stopwatch.begin_batch();
        stopwatch.begin_command();
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert!(stopwatch.end_command(0), "nothing is known of ticks yet");
        let slow = stopwatch.last_command_nanoseconds();
        assert!(stopwatch.end_command(1));
        stopwatch.end_batch(&settings, &metrics);
        let time_of = |row: usize| {
            metrics.by_command[row]
                .nanoseconds
                .load(std::sync::atomic::Ordering::Relaxed)
        };
        assert!(slow >= 2_000_000 && time_of(0) >= 2_000_000);
        assert!(time_of(1) < time_of(0));
        assert!(
            stopwatch.slow_ticks > 0,
            "now it is known how long a tick is"
        );
    }

    #[test]
    fn changed_settings_hold_from_the_next_command_on() {
        let metrics = WorkerMetrics::new(1);
        let settings = Settings {
            slowlog_log_slower_than_us: -1,
            ..Settings::default()
        };
        let mut stopwatch = Stopwatch::default();
        stopwatch.end_batch(&settings, &metrics);
        assert!(!stopwatch.end_command(0), "nobody wants to know");
        stopwatch.forget_threshold();
        assert!(stopwatch.end_command(0));
    }

    #[test]
    fn the_lower_threshold_counts() {
        let cases = [
            (-1, 0, None),
            (0, 0, Some(0)),
            (10, 0, Some(10_000)),
            (-1, 3, Some(3_000_000)),
            (10_000, 3, Some(3_000_000)),
        ];
        for (slower_than_us, threshold_ms, expected) in cases {
            let settings = Settings {
                slowlog_log_slower_than_us: slower_than_us,
                latency_monitor_threshold_ms: threshold_ms,
                ..Settings::default()
            };
            assert_eq!(slow_nanoseconds(&settings), expected);
        }
    }
}
