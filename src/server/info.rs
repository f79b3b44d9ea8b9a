//! INFO: Redis's sections and field names, with the values of this server, and a section `# Tiers`.

use super::Server;
use crate::clock;
use crate::commands::{Services, table};
use crate::pubsub::ChannelKind;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

/// Writes one section.
type Section = fn(&Server, &mut String);

/// The sections in order; the flag says whether plain INFO shows them.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("server", true, Server::info_server),
    ("clients", true, Server::info_clients),
    ("memory", true, Server::info_memory),
    ("persistence", true, Server::info_persistence),
    ("stats", true, Server::info_stats),
    ("replication", true, Server::info_replication),
    ("cpu", true, Server::info_cpu),
    ("modules", true, Server::info_modules),
    ("commandstats", false, Server::info_commandstats),
    ("errorstats", true, Server::info_errorstats),
    ("latencystats", false, Server::info_latencystats),
    ("cluster", true, Server::info_cluster),
    ("tiers", true, Server::info_tiers),
    ("keyspace", true, Server::info_keyspace),
];

fn field(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

/// A number of bytes as Redis shows it to people: `1.50M`.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "T"),
        (1 << 30, "G"),
        (1 << 20, "M"),
        (1 << 10, "K"),
    ];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, letter)) => format!("{:.2}{letter}", bytes as f64 / *unit as f64),
        None => format!("{bytes}B"),
    }
}

impl Server {
    /// The text for these sections; none: the default ones.
    pub(super) fn info_text(&self, wanted: &[String]) -> String {
        let everything = wanted
            .iter()
            .any(|name| name == "all" || name == "everything");
        let default = wanted.is_empty() || wanted.iter().any(|name| name == "default");
        let mut text = String::new();
        for (name, shown, write_section) in SECTIONS {
            if everything || default && *shown || wanted.iter().any(|wanted| wanted == name) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                let title = name[..1].to_uppercase() + &name[1..];
                let _ = write!(
                    text,
                    "# {}\r\n",
                    if *name == "cpu" { "CPU" } else { &title }
                );
                write_section(self, &mut text);
            }
        }
        text
    }

    fn info_server(&self, text: &mut String) {
        let uptime_seconds = (clock::now_ms() - self.started_ms) / 1000;
        let settings = self.settings.current().0;
        field(text, "redis_version", "7.2.4");
        // As a Redis that was not built from a checkout.
        field(text, "redis_git_sha1", "00000000");
        field(text, "redis_git_dirty", 0);
        field(text, "larder_version", env!("CARGO_PKG_VERSION"));
        field(text, "redis_mode", "standalone");
        field(
            text,
            "os",
            format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        );
        field(text, "arch_bits", usize::BITS);
        field(text, "multiplexing_api", "epoll");
        field(text, "process_id", std::process::id());
        field(text, "run_id", &self.run_id);
        field(text, "tcp_port", settings.port);
        field(text, "server_time_usec", clock::now_us());
        field(text, "uptime_in_seconds", uptime_seconds);
        field(text, "uptime_in_days", uptime_seconds / 86_400);
        field(text, "hz", settings.hz);
        field(text, "configured_hz", settings.hz);
        let config_file = settings
            .config_file
            .as_ref()
            .map_or_else(String::new, |path| path.display().to_string());
        field(text, "config_file", config_file);
        field(text, "io_threads_active", u8::from(self.workers.len() > 1));
    }

    fn info_clients(&self, text: &mut String) {
        field(text, "connected_clients", self.clients.count());
        field(text, "cluster_connections", 0);
        field(text, "maxclients", self.settings.current().0.maxclients);
        field(
            text,
            "client_recent_max_input_buffer",
            self.clients.buffer_bytes().0,
        );
        field(
            text,
            "client_recent_max_output_buffer",
            self.clients.buffer_bytes().1,
        );
        field(
            text,
            "blocked_clients",
            self.blocked.count() + self.pause.waiting(),
        );
        field(text, "tracking_clients", self.tracking.figures().clients);
        let (keys, keys_that_may_go) = self.blocked.key_counts();
        field(text, "total_blocking_keys", keys);
        field(text, "total_blocking_keys_on_nokey", keys_that_may_go);
        field(text, "pubsub_clients", self.clients.subscribers());
        field(text, "watching_clients", self.clients.watching());
        field(text, "total_watched_keys", self.clients.watched_keys());
    }

    fn info_memory(&self, text: &mut String) {
        let settings = self.settings.current().0;
        let memory = self.tier.memory();
        let peak = self.tier.budget().peak_bytes();
        field(text, "used_memory", memory.used_bytes);
        field(text, "used_memory_human", human_bytes(memory.used_bytes));
        field(text, "used_memory_rss", memory.resident_bytes);
        field(
            text,
            "used_memory_rss_human",
            human_bytes(memory.resident_bytes),
        );
        field(text, "used_memory_peak", peak);
        field(text, "used_memory_peak_human", human_bytes(peak));
        field(
            text,
            "used_memory_peak_perc",
            format_args!(
                "{:.2}%",
                memory.used_bytes as f64 * 100.0 / peak.max(1) as f64
            ),
        );
        field(
            text,
            "used_memory_dataset",
            memory.hot_bytes + memory.warm_bytes,
        );
        field(text, "total_system_memory", memory.system_bytes);
        field(
            text,
            "total_system_memory_human",
            human_bytes(memory.system_bytes),
        );
        field(text, "maxmemory", settings.maxmemory_bytes);
        field(
            text,
            "maxmemory_human",
            human_bytes(settings.maxmemory_bytes),
        );
        let policy = settings.get(&[b"maxmemory-policy"]);
        field(
            text,
            "maxmemory_policy",
            policy.first().map_or("", |(_, policy)| policy),
        );
        let ratio = memory.resident_bytes as f64 / memory.used_bytes.max(1) as f64;
        field(text, "mem_fragmentation_ratio", format_args!("{ratio:.2}"));
        field(
            text,
            "mem_fragmentation_bytes",
            memory.resident_bytes.saturating_sub(memory.used_bytes),
        );
        let (input_bytes, output_bytes) = self.clients.buffer_bytes();
        field(text, "mem_clients_normal", input_bytes + output_bytes);
        field(text, "mem_aof_buffer", 0);
        // Everything counts for the limit.
        field(text, "mem_not_counted_for_evict", 0);
        field(text, "mem_allocator", "jemalloc");
        let (scripts, script_bytes) = self.scripts.usage();
        let libraries = self.scripts.libraries();
        field(text, "used_memory_scripts", script_bytes);
        field(text, "number_of_cached_scripts", scripts);
        field(text, "number_of_functions", libraries.functions());
        field(text, "number_of_libraries", libraries.iter().len());
        field(text, "active_defrag_running", 0);
        field(text, "lazyfree_pending_objects", self.lazy_free.pending());
        field(text, "lazyfreed_objects", self.lazy_free.freed());
    }

    fn info_persistence(&self, text: &mut String) {
        let last = *self.last_save.lock();
        let saving = u8::from(self.background_save.load(Relaxed));
        let log = self.journaling.statistics();
        let (loaded, blocks) = self.lazy.progress();
        field(text, "loading", 0);
        field(text, "async_loading", u8::from(!self.lazy.is_complete()));
        field(text, "snapshot_blocks_loaded", loaded);
        field(text, "snapshot_blocks", blocks);
        field(text, "log_parts_pending", self.lazy.log_parts_left());
        field(text, "current_cow_size", 0);
        field(
            text,
            "rdb_changes_since_last_save",
            self.changes().saturating_sub(last.changes),
        );
        field(text, "rdb_bgsave_in_progress", saving);
        field(text, "rdb_last_save_time", last.at_ms / 1000);
        let status = if last.succeeded { "ok" } else { "err" };
        field(text, "rdb_last_bgsave_status", status);
        field(
            text,
            "rdb_last_bgsave_time_sec",
            self.snapshotter.status().last_duration_seconds(),
        );
        field(
            text,
            "aof_enabled",
            u8::from(self.journaling.log().is_some()),
        );
        // A snapshot stands in for rewriting the log, whoever asked for it.
        let has_log = self.journaling.log().is_some();
        let (rewriting, scheduled) = (saving != 0, self.save_again.load(Relaxed));
        field(
            text,
            "aof_rewrite_in_progress",
            u8::from(has_log && rewriting),
        );
        field(
            text,
            "aof_rewrite_scheduled",
            u8::from(has_log && scheduled),
        );
        field(text, "aof_last_bgrewrite_status", status);
        field(
            text,
            "aof_last_write_status",
            if self.journaling.is_writable() {
                "ok"
            } else {
                "err"
            },
        );
        if self.journaling.log().is_some() {
            field(text, "aof_current_size", log.bytes_since_rotation);
            field(text, "aof_base_size", log.snapshot_bytes);
            field(text, "aof_pending_bio_fsync", 0);
            field(text, "aof_delayed_fsync", 0);
        }
    }

    fn info_stats(&self, text: &mut String) {
        self.info_traffic(text);
        let tiers = self.tier.statistics();
        field(text, "sync_full", 0);
        field(text, "sync_partial_ok", 0);
        field(text, "sync_partial_err", 0);
        field(
            text,
            "expired_keys",
            self.sum(|worker| &worker.expired) + tiers.expired_keys,
        );
        field(
            text,
            "expired_subkeys",
            self.sum(|worker| &worker.expired_fields) + tiers.expired_fields,
        );
        field(text, "evicted_keys", tiers.evicted_keys);
        field(text, "keyspace_hits", self.sum(|worker| &worker.hits));
        field(text, "keyspace_misses", self.sum(|worker| &worker.misses));
        // MIGRATE opens a connection each time.
        field(text, "migrate_cached_sockets", 0);
        for (name, kind) in [
            ("pubsub_channels", ChannelKind::Channel),
            ("pubsub_patterns", ChannelKind::Pattern),
            ("pubsubshard_channels", ChannelKind::Shard),
        ] {
            field(text, name, self.pubsub.count(kind));
        }
        field(text, "latest_fork_usec", 0);
        field(text, "total_forks", 0);
        field(
            text,
            "total_error_replies",
            self.sum(|worker| &worker.errors) + self.job_errors.load(Relaxed),
        );
        for (name, count) in self.users.log.counts() {
            field(text, name, count);
        }
        let tracking = self.tracking.figures();
        field(text, "tracking_total_keys", tracking.keys);
        field(text, "tracking_total_items", tracking.items);
        field(text, "tracking_total_prefixes", tracking.prefixes);
        field(
            text,
            "total_reads_processed",
            self.sum(|worker| &worker.commands),
        );
    }

    /// What came and what went.
    fn info_traffic(&self, text: &mut String) {
        let [commands, input, output] = self.operations.lock().per_second();
        field(
            text,
            "total_connections_received",
            self.sum(|worker| &worker.connections),
        );
        field(
            text,
            "total_commands_processed",
            self.sum(|worker| &worker.commands),
        );
        field(text, "instantaneous_ops_per_sec", commands);
        field(
            text,
            "total_net_input_bytes",
            self.sum(|worker| &worker.input_bytes),
        );
        field(
            text,
            "total_net_output_bytes",
            self.sum(|worker| &worker.output_bytes),
        );
        field(
            text,
            "instantaneous_input_kbps",
            format_args!("{:.2}", input as f64 / 1024.0),
        );
        field(
            text,
            "instantaneous_output_kbps",
            format_args!("{:.2}", output as f64 / 1024.0),
        );
        field(
            text,
            "rejected_connections",
            self.clients.rejected.load(Relaxed),
        );
    }

    fn info_replication(&self, text: &mut String) {
        field(text, "role", "master");
        field(text, "connected_slaves", 0);
        if self.settings.current().0.asks_for_replicas() {
            field(text, "min_slaves_good_slaves", 0);
        }
        field(text, "master_failover_state", "no-failover");
        field(text, "master_replid", &self.run_id);
        field(text, "master_repl_offset", 0);
        field(text, "repl_backlog_active", 0);
    }

    fn info_cpu(&self, text: &mut String) {
        let (user, system) = processor_seconds();
        field(text, "used_cpu_sys", format_args!("{system:.6}"));
        field(text, "used_cpu_user", format_args!("{user:.6}"));
    }

    fn info_commandstats(&self, text: &mut String) {
        for (number, row) in table::listed().iter().enumerate() {
            let sum = |of: fn(&crate::metrics::CommandMetrics) -> &std::sync::atomic::AtomicU64| {
                let counters = self.of_command(number).map(of);
                counters.map(|counter| counter.load(Relaxed)).sum::<u64>()
            };
            let calls = sum(|command| &command.calls);
            let (rejected, failed) = (
                sum(|command| &command.rejected),
                sum(|command| &command.failed),
            );
            if calls + rejected + failed > 0 {
                let microseconds = sum(|command| &command.nanoseconds) / 1000;
                let per_call = microseconds as f64 / calls.max(1) as f64;
                let value = format!(
                    "calls={calls},usec={microseconds},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
                );
                field(text, &format!("cmdstat_{}", row.full_name()), value);
            }
        }
    }

    fn info_modules(&self, _text: &mut String) {}

    fn info_errorstats(&self, text: &mut String) {
        for (code, count) in self.error_counts.all() {
            field(
                text,
                &format!("errorstat_{code}"),
                format_args!("count={count}"),
            );
        }
    }

    fn info_latencystats(&self, text: &mut String) {
        let percentiles = &self.settings.current().0.latency_percentiles;
        for (number, row) in table::listed().iter().enumerate() {
            let Some(distribution) = self.distribution(number) else {
                continue;
            };
            let shown = percentiles.iter().map(|percentile| {
                let nanoseconds = distribution.percentile(percentile.parse().unwrap_or(100.0));
                format!("p{percentile}={:.3}", nanoseconds as f64 / 1000.0)
            });
            let value = shown.collect::<Vec<_>>().join(",");
            let name = format!("latency_percentiles_usec_{}", row.full_name());
            field(text, &name, value);
        }
    }

    fn info_cluster(&self, text: &mut String) {
        field(text, "cluster_enabled", 0);
    }

    fn info_tiers(&self, text: &mut String) {
        for (name, value) in self.tier_statistics() {
            field(text, name, value);
        }
        field(text, "cold_fetches", self.sum(|worker| &worker.fetches));
    }

    fn info_keyspace(&self, text: &mut String) {
        for database in 0..self.keyspace.databases() {
            let (keys, expires) = self.keyspace.key_counts(database);
            if keys > 0 {
                field(
                    text,
                    &format!("db{database}"),
                    format_args!("keys={keys},expires={expires},avg_ttl=0"),
                );
            }
        }
    }
}

/// Processor time of this process in seconds, user and system.
fn processor_seconds() -> (f64, f64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `getrusage` fills the structure that it is given.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}
