//! What is due from time to time: save rules, idle clients, rates for INFO, the rest of the snapshot to load.

use super::Server;
use crate::clock;
use crate::tier::{HugePages, Sleeper};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);
/// After a failed snapshot, the next try by a rule waits so long.
const RETRY_AFTER_MS: u64 = 5_000;
/// Samples that the rates average over.
const RATE_SAMPLES: usize = 16;

/// Rates per second over the last samples, as INFO's `instantaneous_*` fields.
#[derive(Default)]
pub(super) struct Rates {
    samples: Vec<(u64, [u64; 3])>,
}

impl Rates {
    /// Notes the counters now: commands, input bytes, output bytes.
    fn note(&mut self, now_ms: u64, counters: [u64; 3]) {
        if self.samples.len() == RATE_SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push((now_ms, counters));
    }

    /// Forgets all samples.
    fn forget(&mut self) {
        self.samples.clear();
    }

    /// Each counter's rate per second.
    pub(super) fn per_second(&self) -> [u64; 3] {
        let (Some((from_ms, from)), Some((to_ms, to))) =
            (self.samples.first(), self.samples.last())
        else {
            return [0; 3];
        };
        let elapsed_ms = (to_ms - from_ms).max(1);
        std::array::from_fn(|index| to[index].saturating_sub(from[index]) * 1000 / elapsed_ms)
    }
}

/// Runs until the server shuts down.
pub(super) fn run(server: &Arc<Server>) {
    let mut lazy_is_complete = false;
    let mut huge_pages = HugePages::default();
    if server.report.snapshot_needed {
        server.start_background_save();
    }
    let lull = server.tier.lull();
    while !*server.shutdown.borrow() {
        std::thread::sleep(TICK);
        if lazy_is_complete && !huge_pages.is_walking() && lull.lasts(Sleeper::Cron) {
            // Nobody did anything for a tick: all rates are zero.
            server.operations.lock().forget();
            lull.wait(Sleeper::Cron, Duration::MAX);
        }
        lull.begin(Sleeper::Cron);
        if !server.cron_is_paused.load(Relaxed) {
            tick(server);
        }
        huge_pages.step();
        if !lazy_is_complete {
            lazy_is_complete = load_some(server);
        }
    }
}

fn tick(server: &Arc<Server>) {
    let settings = server.settings.current().0;
    let now_ms = clock::now_ms();
    let counters = [
        server.sum(|worker| &worker.commands),
        server.sum(|worker| &worker.input_bytes),
        server.sum(|worker| &worker.output_bytes),
    ];
    server.operations.lock().note(now_ms, counters);
    if settings.timeout_seconds > 0 {
        server.clients.kill_idle(settings.timeout_seconds * 1000);
    }
    let last = *server.last_save.lock();
    let changes = server.changes() - last.changes;
    let rule_holds = settings
        .save
        .iter()
        .any(|rule| changes >= rule.changes && now_ms >= last.at_ms + rule.seconds * 1000);
    let log_has_grown = server.journaling.log_outgrew(
        settings.log_growth_percent,
        settings.log_growth_minimum_bytes,
    );
    let may_try = last.succeeded || now_ms >= last.tried_ms + RETRY_AFTER_MS;
    if (rule_holds && changes > 0 || log_has_grown) && may_try && server.start_background_save() {
        tracing::info!(changes, log_has_grown, "a snapshot is due");
    }
}

/// Loads snapshot blocks for one tick's time; true when all are in.
fn load_some(server: &Arc<Server>) -> bool {
    let end_ms = clock::now_ms() + TICK.as_millis() as u64;
    while clock::now_ms() < end_ms {
        match server.lazy.load_next(&server.keyspace) {
            Ok(true) => server.tier.note_activity(0),
            Ok(false) => return true,
            Err(error) => {
                tracing::error!(%error, "a block of the snapshot could not be loaded");
                return true;
            }
        }
    }
    false
}
