//! Directives of Redis that mean nothing here.
//!
//! A configuration file written for Redis must keep working, and CONFIG GET must go on answering the tools that ask. So
//! they are accepted, shown, and at start each one is answered with a warning that says why it has no effect. A few
//! are refused instead, unless they ask for nothing: whoever relies on them would be harmed by a server that looks as
//! if it obeyed.

use super::table::{Change, Directive};
use super::value::Kind;

const REPLICATION: &str = "Larder does not replicate.";
const CLUSTER: &str = "Larder is one server; it does not join a cluster.";
const SNAPSHOT_FILE: &str =
    "Larder has its own snapshot format, always compressed and checked, and its own file names.";
const LOG_FILE: &str = "Larder has its own log format, which is never rewritten: a snapshot replaces what is before it.";
const FREEING: &str = "Larder frees values in pieces by itself.";
const ALLOCATOR: &str = "Larder leaves fragmentation and background threads to its allocator, and never rehashes a whole table.";
const THREADS: &str =
    "Every thread of Larder reads, executes and writes; see the directive threads.";
const LIMITS: &str = "Larder has no such limit; memory is bounded by maxmemory as a whole.";
const LAYOUT: &str = "Larder lays values out in its own way.";
const PROCESS: &str = "Larder runs in the foreground; starting, naming and watching it is left to the service manager.";
const TESTS: &str = "Redis's own tests make loading and saving slow with it.";
const OBSOLETE: &str = "Redis itself ignores it.";
const TLS_DETAIL: &str = "Larder opens no TLS connections itself, and leaves such details of TLS to rustls, which has safe ones only.";

/// The heading under which these are documented.
pub const SECTION: &str = "Directives of Redis without effect";

const fn ignored(reason: &'static str, name: &'static str, default: &'static str) -> Directive {
    Directive {
        name,
        alias: None,
        section: SECTION,
        kind: Kind::WithoutEffect,
        default,
        unit: "",
        change: Change::Live,
        later: false,
        hidden: false,
        description: reason,
    }
}

/// An amount of memory or a percentage that nothing looks at.
const fn ignored_size(
    reason: &'static str,
    name: &'static str,
    default: &'static str,
) -> Directive {
    let mut directive = ignored(reason, name, default);
    directive.kind = Kind::SizeWithoutEffect;
    directive
}

/// A directive that is accepted only with its default.
const fn refused(reason: &'static str, name: &'static str, default: &'static str) -> Directive {
    let mut directive = ignored(reason, name, default).at_start();
    directive.kind = Kind::OnlyDefault;
    directive
}

/// All of them.
pub fn directives() -> impl Iterator<Item = &'static Directive> {
    IGNORED.iter().chain(REFUSED)
}

static REFUSED: &[Directive] = &[
    refused(
        "Larder does not replicate; it must not be taken for a replica.",
        "replicaof",
        "",
    )
    .alias("slaveof"),
    refused("Larder does not join a cluster.", "cluster-enabled", "no"),
    refused("Larder has no modules.", "loadmodule", "").hidden(),
];

static IGNORED: &[Directive] = &[
    ignored(REPLICATION, "replica-serve-stale-data", "yes").alias("slave-serve-stale-data"),
    ignored(REPLICATION, "replica-read-only", "yes").alias("slave-read-only"),
    ignored(REPLICATION, "replica-priority", "100").alias("slave-priority"),
    ignored(REPLICATION, "replica-announced", "yes"),
    ignored(REPLICATION, "replica-announce-ip", "").alias("slave-announce-ip"),
    ignored(REPLICATION, "replica-announce-port", "0").alias("slave-announce-port"),
    ignored(REPLICATION, "replica-ignore-maxmemory", "yes").alias("slave-ignore-maxmemory"),
    ignored(REPLICATION, "replica-lazy-flush", "no").alias("slave-lazy-flush"),
    ignored(REPLICATION, "replica-ignore-disk-write-errors", "no"),
    ignored(REPLICATION, "repl-ping-replica-period", "10").alias("repl-ping-slave-period"),
    ignored(REPLICATION, "repl-timeout", "60"),
    ignored(REPLICATION, "repl-diskless-sync", "yes"),
    ignored(REPLICATION, "repl-diskless-sync-delay", "5"),
    ignored(REPLICATION, "repl-diskless-sync-max-replicas", "0"),
    ignored(REPLICATION, "repl-diskless-load", "disabled"),
    ignored(REPLICATION, "repl-disable-tcp-nodelay", "no"),
    ignored(REPLICATION, "repl-backlog-size", "1048576"),
    ignored(REPLICATION, "repl-backlog-ttl", "3600"),
    ignored(REPLICATION, "masterauth", ""),
    ignored(REPLICATION, "masteruser", ""),
    ignored(REPLICATION, "propagation-error-behavior", "ignore"),
    ignored(CLUSTER, "cluster-config-file", "nodes.conf").at_start(),
    ignored(CLUSTER, "cluster-node-timeout", "15000"),
    ignored(CLUSTER, "cluster-port", "0").at_start(),
    ignored(CLUSTER, "cluster-replica-validity-factor", "10")
        .alias("cluster-slave-validity-factor"),
    ignored(CLUSTER, "cluster-migration-barrier", "1"),
    ignored(CLUSTER, "cluster-allow-replica-migration", "yes"),
    ignored(CLUSTER, "cluster-require-full-coverage", "yes"),
    ignored(CLUSTER, "cluster-replica-no-failover", "no").alias("cluster-slave-no-failover"),
    ignored(CLUSTER, "cluster-allow-reads-when-down", "no"),
    ignored(CLUSTER, "cluster-allow-pubsubshard-when-down", "yes"),
    ignored(CLUSTER, "cluster-link-sendbuf-limit", "0"),
    ignored(CLUSTER, "cluster-announce-ip", ""),
    ignored(CLUSTER, "cluster-announce-port", "0"),
    ignored(CLUSTER, "cluster-announce-tls-port", "0"),
    ignored(CLUSTER, "cluster-announce-bus-port", "0"),
    ignored(CLUSTER, "cluster-announce-hostname", ""),
    ignored(CLUSTER, "cluster-announce-human-nodename", ""),
    ignored(CLUSTER, "cluster-preferred-endpoint-type", "ip"),
    ignored(SNAPSHOT_FILE, "dbfilename", "dump.rdb").protected(),
    ignored(SNAPSHOT_FILE, "rdbcompression", "yes"),
    ignored(SNAPSHOT_FILE, "rdbchecksum", "yes").at_start(),
    ignored(SNAPSHOT_FILE, "rdb-del-sync-files", "no"),
    ignored(SNAPSHOT_FILE, "rdb-save-incremental-fsync", "yes"),
    ignored(SNAPSHOT_FILE, "sanitize-dump-payload", "no"),
    ignored(SNAPSHOT_FILE, "stop-writes-on-bgsave-error", "yes"),
    ignored(LOG_FILE, "appendfilename", "appendonly.aof").at_start(),
    ignored(LOG_FILE, "appenddirname", "appendonlydir").at_start(),
    ignored(LOG_FILE, "no-appendfsync-on-rewrite", "no"),
    ignored(LOG_FILE, "aof-load-truncated", "yes"),
    ignored(LOG_FILE, "aof-use-rdb-preamble", "yes"),
    ignored(LOG_FILE, "aof-timestamp-enabled", "no"),
    ignored(LOG_FILE, "aof-rewrite-incremental-fsync", "yes"),
    ignored(LOG_FILE, "aof-disable-auto-gc", "no").at_start(),
    ignored(FREEING, "lazyfree-lazy-eviction", "no"),
    ignored(FREEING, "lazyfree-lazy-expire", "no"),
    ignored(FREEING, "lazyfree-lazy-server-del", "no"),
    ignored(ALLOCATOR, "activedefrag", "no"),
    ignored(ALLOCATOR, "active-defrag-ignore-bytes", "104857600"),
    ignored(ALLOCATOR, "active-defrag-threshold-lower", "10"),
    ignored(ALLOCATOR, "active-defrag-threshold-upper", "100"),
    ignored(ALLOCATOR, "active-defrag-cycle-min", "1"),
    ignored(ALLOCATOR, "active-defrag-cycle-max", "25"),
    ignored(ALLOCATOR, "active-defrag-max-scan-fields", "1000"),
    ignored(ALLOCATOR, "jemalloc-bg-thread", "yes"),
    ignored(ALLOCATOR, "activerehashing", "yes"),
    ignored(ALLOCATOR, "disable-thp", "yes").at_start(),
    ignored(THREADS, "io-threads", "1").at_start(),
    ignored(THREADS, "io-threads-do-reads", "no").at_start(),
    ignored(THREADS, "server_cpulist", "")
        .alias("server-cpulist")
        .at_start(),
    ignored(THREADS, "bio_cpulist", "")
        .alias("bio-cpulist")
        .at_start(),
    ignored(THREADS, "aof_rewrite_cpulist", "")
        .alias("aof-rewrite-cpulist")
        .at_start(),
    ignored(THREADS, "bgsave_cpulist", "")
        .alias("bgsave-cpulist")
        .at_start(),
    ignored_size(LIMITS, "maxmemory-clients", "0"),
    ignored(LIMITS, "maxmemory-eviction-tenacity", "10"),
    ignored(LIMITS, "active-expire-effort", "1"),
    ignored(LIMITS, "dynamic-hz", "yes"),
    ignored(LIMITS, "max-new-connections-per-cycle", "10"),
    ignored(LIMITS, "max-new-tls-connections-per-cycle", "1"),
    ignored(LAYOUT, "list-compress-depth", "0"),
    ignored(TESTS, "key-load-delay", "0").hidden(),
    ignored(TESTS, "rdb-key-save-delay", "0").hidden(),
    ignored(PROCESS, "daemonize", "no").at_start(),
    ignored(PROCESS, "pidfile", "").at_start(),
    ignored(PROCESS, "supervised", "no").at_start(),
    ignored(PROCESS, "set-proc-title", "yes").at_start(),
    ignored(
        PROCESS,
        "proc-title-template",
        "{title} {listen-addr} {server-mode}",
    ),
    ignored(PROCESS, "always-show-logo", "no").at_start(),
    ignored(PROCESS, "oom-score-adj", "no"),
    ignored(PROCESS, "oom-score-adj-values", "0 200 800"),
    ignored(PROCESS, "crash-log-enabled", "yes"),
    ignored(PROCESS, "crash-memcheck-enabled", "yes"),
    ignored(PROCESS, "shutdown-timeout", "10"),
    ignored(PROCESS, "shutdown-on-sigint", "default"),
    ignored(PROCESS, "shutdown-on-sigterm", "default"),
    ignored(PROCESS, "syslog-enabled", "no").at_start(),
    ignored(PROCESS, "syslog-ident", "redis").at_start(),
    ignored(PROCESS, "syslog-facility", "local0").at_start(),
    ignored(PROCESS, "ignore-warnings", "").at_start(),
    ignored(PROCESS, "socket-mark-id", "0").at_start(),
    ignored(PROCESS, "bind-source-addr", ""),
    ignored(PROCESS, "locale-collate", ""),
    ignored(PROCESS, "enable-protected-configs", "no").at_start(),
    ignored(PROCESS, "enable-module-command", "no").at_start(),
    ignored(OBSOLETE, "list-max-ziplist-entries", ""),
    ignored(OBSOLETE, "list-max-ziplist-value", ""),
    ignored(OBSOLETE, "lua-replicate-commands", "yes"),
    ignored(TLS_DETAIL, "tls-key-file-pass", ""),
    ignored(TLS_DETAIL, "tls-client-cert-file", ""),
    ignored(TLS_DETAIL, "tls-client-key-file", ""),
    ignored(TLS_DETAIL, "tls-client-key-file-pass", ""),
    ignored(TLS_DETAIL, "tls-dh-params-file", ""),
    ignored(TLS_DETAIL, "tls-replication", "no"),
    ignored(TLS_DETAIL, "tls-cluster", "no"),
    ignored(TLS_DETAIL, "tls-ciphers", ""),
    ignored(TLS_DETAIL, "tls-ciphersuites", ""),
    ignored(TLS_DETAIL, "tls-prefer-server-ciphers", "no"),
    ignored(TLS_DETAIL, "tls-session-caching", "yes"),
    ignored(TLS_DETAIL, "tls-session-cache-size", "20480"),
    ignored(TLS_DETAIL, "tls-session-cache-timeout", "300"),
];
