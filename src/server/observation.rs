//! What is noted of commands beside their results: slow log, latency monitor, statistics of nested commands.

use super::Server;
use crate::commands::context::Ran;
use crate::commands::latency::CommandLatency;
use crate::commands::table::{self, Row};
use crate::commands::{Flags, Session, transactions};
use crate::config::Settings;
use crate::error::CommandError;
use crate::metrics::{CommandMetrics, Distribution, Histogram};
use std::sync::atomic::Ordering::Relaxed;

impl Server {
    /// Notes a command, if it was slow by the settings in force now.
    pub fn note_slow(&self, session: &Session, row: Row, arguments: &[&[u8]], nanoseconds: u64) {
        let settings = self.settings.current().0;
        self.note_slow_by(&settings, session, row, arguments, nanoseconds);
    }

    fn note_slow_by(
        &self,
        settings: &Settings,
        session: &Session,
        row: Row,
        arguments: &[&[u8]],
        nanoseconds: u64,
    ) {
        let microseconds = nanoseconds / 1000;
        let is_slow = u64::try_from(settings.slowlog_log_slower_than_us)
            .is_ok_and(|limit_us| microseconds >= limit_us);
        if is_slow && !row.spec.flags.has(Flags::SKIP_SLOWLOG) {
            let limit = usize::try_from(settings.slowlog_max_len).unwrap_or(usize::MAX);
            self.slow_log.note(session, arguments, microseconds, limit);
        }
        let event = if row.spec.flags.has(Flags::FAST) {
            "fast-command"
        } else {
            "command"
        };
        self.note_latency(settings, event, microseconds / 1000);
    }

    /// Shows the latency monitor what took so long, if that is as long as it asks for.
    pub(super) fn note_latency(&self, settings: &Settings, event: &'static str, milliseconds: u64) {
        let threshold_ms = settings.latency_monitor_threshold_ms;
        if threshold_ms > 0 && milliseconds >= threshold_ms {
            let at_seconds = crate::clock::now_ms() / 1000;
            self.latency_monitor.note(event, at_seconds, milliseconds);
        }
    }

    /// Counts an error that a script met or made.
    pub(super) fn note_error_inside(&self, error: &str) {
        self.error_counts.note(error);
        self.inside.errors.fetch_add(1, Relaxed);
    }

    /// Counts a command that ran inside another one, on whatever thread.
    pub(super) fn note_inside(&self, session: &Session, ran: &Ran<'_>) {
        let command = &self.inside.by_command[ran.row.number];
        if let Some(error) = ran.error {
            self.note_error_inside(error);
        }
        if ran.was_rejected {
            command.rejected.fetch_add(1, Relaxed);
            return;
        }
        self.inside.commands.fetch_add(1, Relaxed);
        session.commands.set(session.commands.get() + 1);
        command.calls.fetch_add(1, Relaxed);
        command.nanoseconds.fetch_add(ran.nanoseconds, Relaxed);
        if ran.has_failed {
            command.failed.fetch_add(1, Relaxed);
        }
        if ran.settings.latency_tracking {
            command.times.record_shared(ran.nanoseconds);
        }
        self.note_slow_by(
            ran.settings,
            session,
            ran.row,
            ran.arguments,
            ran.nanoseconds,
        );
    }

    /// Counts a command that waited and was ended by another client.
    pub(super) fn count_unblocked(&self, arguments: &[Box<[u8]>], error: Option<&CommandError>) {
        let arguments: Vec<&[u8]> = arguments.iter().map(|argument| &**argument).collect();
        let Ok(row) = transactions::resolve(&arguments) else {
            return;
        };
        let command = &self.inside.by_command[row.number];
        self.inside.commands.fetch_add(1, Relaxed);
        command.calls.fetch_add(1, Relaxed);
        if let Some(error) = error {
            command.failed.fetch_add(1, Relaxed);
            self.note_error_inside(error.text());
        }
    }

    /// The counters of one row, of all workers and of what ran inside others.
    pub(super) fn of_command(&self, number: usize) -> impl Iterator<Item = &CommandMetrics> {
        let all = self.workers.iter().chain([&self.inside]);
        all.map(move |worker| &worker.by_command[number])
    }

    /// How the time of a row is distributed, if it ran while `latency-tracking` was on.
    pub(super) fn distribution(&self, number: usize) -> Option<Distribution> {
        let histograms = self.of_command(number).map(|command| &command.times);
        Distribution::of(histograms)
    }

    /// The distributions of all rows that ran.
    pub(super) fn latencies(&self) -> Vec<CommandLatency> {
        let of_row = |number: usize| {
            let distribution = self.distribution(number)?;
            Some(CommandLatency {
                number,
                calls: distribution.total(),
                by_microseconds: distribution.by_microseconds(),
            })
        };
        (0..table::listed().len()).filter_map(of_row).collect()
    }

    /// CONFIG RESETSTAT.
    pub(super) fn reset_observations(&self) {
        self.inside.reset();
        self.error_counts.reset();
        self.users.log.reset_counts();
    }

    /// Forgets how times were distributed: `latency-tracking` was turned off.
    pub(super) fn reset_latencies(&self) {
        for number in 0..table::listed().len() {
            let histograms = self.of_command(number).map(|command| &command.times);
            histograms.for_each(Histogram::reset);
        }
    }
}
