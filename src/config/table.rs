//! The one table of directives.
//!
//! A row names a directive, its other name if it has one, the kind of its value with the field it is kept in, the
//! default as it would be written in a file, when it can be changed, and what it is for. Directives of Redis that mean
//! nothing here have their rows in [`super::without_effect`].

use super::settings::{AppendFsync, DebugCommand, EvictionPolicy, LogLevel, TlsClients};
use super::value::Kind;
use super::without_effect;

/// When a directive can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At any time, with CONFIG SET.
    Live,
    /// Only before the server starts.
    AtStart,
    /// Only before the server starts, because a client could do harm with it.
    Protected,
}

/// A row of the table.
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// Another name, accepted and shown as well.
    pub alias: Option<&'static str>,
    /// The heading under which it is documented.
    pub section: &'static str,
    /// Kind and place of its value.
    pub kind: Kind,
    /// Its default, as in a file.
    pub default: &'static str,
    /// The unit of a bare number.
    pub unit: &'static str,
    /// When it can be changed.
    pub change: Change,
    /// Accepted, kept and shown, but in force in a later version only.
    pub later: bool,
    /// Left out of documentation and of CONFIG GET with a pattern.
    pub hidden: bool,
    /// What it is for; for a directive without effect, why it has none.
    pub description: &'static str,
}

impl Directive {
    /// Its name and, if it has one, its alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }

    /// Whether a value is several words, rather than one text that may contain blanks.
    pub fn takes_several(&self) -> bool {
        matches!(
            self.kind,
            Kind::Words(_)
                | Kind::SaveRules
                | Kind::OutputLimits
                | Kind::Lines(_)
                | Kind::Percentiles
        )
    }

    pub(super) const fn at_start(mut self) -> Directive {
        self.change = Change::AtStart;
        self
    }

    pub(super) const fn protected(mut self) -> Directive {
        self.change = Change::Protected;
        self
    }

    const fn later(mut self) -> Directive {
        self.later = true;
        self
    }

    pub(super) const fn hidden(mut self) -> Directive {
        self.hidden = true;
        self
    }

    const fn unit(mut self, unit: &'static str) -> Directive {
        self.unit = unit;
        self
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Directive {
        self.alias = Some(alias);
        self
    }
}

/// A row that can be changed at any time.
const fn row(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Directive {
    Directive {
        name,
        alias: None,
        section,
        kind,
        default,
        unit: "",
        change: Change::Live,
        later: false,
        hidden: false,
        description,
    }
}

/// All directives, those with an effect first.
pub fn all() -> impl Iterator<Item = &'static Directive> {
    DIRECTIVES.iter().chain(without_effect::directives())
}

/// The directive with this name or alias, in any case.
pub fn find(name: &str) -> Option<&'static Directive> {
    all().find(|directive| {
        directive
            .names()
            .any(|known| known.eq_ignore_ascii_case(name))
    })
}

const INT_MAX: u64 = i32::MAX as u64;
const LONG_MAX: u64 = i64::MAX as u64;
const MEBIBYTE: u64 = 1 << 20;

const NETWORK: &str = "Network and clients";
const GENERAL: &str = "General";
const MEMORY: &str = "Memory and disk";
const PERSISTENCE: &str = "Persistence";
const ENCODINGS: &str = "Encodings of small values";
const OBSERVATION: &str = "Observation";

const FSYNC: [AppendFsync; 3] = [
    AppendFsync::Always,
    AppendFsync::EverySecond,
    AppendFsync::No,
];
const LEVELS: [LogLevel; 5] = [
    LogLevel::Debug,
    LogLevel::Verbose,
    LogLevel::Notice,
    LogLevel::Warning,
    LogLevel::Nothing,
];
const DEBUG: [DebugCommand; 3] = [DebugCommand::No, DebugCommand::Yes, DebugCommand::Local];
const TLS_CLIENTS: [TlsClients; 3] = [
    TlsClients::Ignored,
    TlsClients::Required,
    TlsClients::Optional,
];
const POLICIES: [EvictionPolicy; 8] = [
    EvictionPolicy::VolatileLru,
    EvictionPolicy::VolatileLfu,
    EvictionPolicy::VolatileRandom,
    EvictionPolicy::VolatileTtl,
    EvictionPolicy::AllkeysLru,
    EvictionPolicy::AllkeysLfu,
    EvictionPolicy::AllkeysRandom,
    EvictionPolicy::NoEviction,
];
const POLICY_NAMES: [&str; 8] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

impl EvictionPolicy {
    /// The name in the configuration and in INFO.
    pub fn name(self) -> &'static str {
        POLICY_NAMES[self as usize]
    }
}

/// The directives that have an effect, now or in a later version, in the order in which they are documented.
pub static DIRECTIVES: &[Directive] = &[
    row(NETWORK, "bind", Kind::Words(|settings| &mut settings.bind), "* -::*",
        "Addresses to listen on. `*` is every IPv4 address, `::*` every IPv6 address; a `-` in front: do not mind if it is missing."),
    row(NETWORK, "port", Kind::Port(|settings| &mut settings.port), "6379",
        "TCP port; 0 listens on no TCP port."),
    row(NETWORK, "unixsocket", Kind::Text(|settings| &mut settings.unixsocket), "",
        "Path of a unix socket to listen on as well.").at_start(),
    row(NETWORK, "unixsocketperm", Kind::Octal(|settings| &mut settings.unixsocket_permissions), "0",
        "Permissions of the unix socket, octal; 0 leaves them to the umask.").at_start(),
    row(NETWORK, "protected-mode", Kind::Boolean(|settings| &mut settings.protected_mode), "yes",
        "Without a password, serve only clients of this machine."),
    row(NETWORK, "requirepass", Kind::Text(|settings| &mut settings.requirepass), "",
        "Password that clients must give with AUTH or HELLO; empty for none."),
    row(NETWORK, "user", Kind::Lines(|settings| &mut settings.users), "",
        "A user and its rules, as in ACL SETUSER; one line for each user.").at_start().hidden(),
    row(NETWORK, "aclfile", Kind::Text(|settings| &mut settings.aclfile), "",
        "File with users, one `user` line each, for ACL LOAD and ACL SAVE; a relative path is relative to `dir`.").at_start(),
    row(NETWORK, "acl-pubsub-default", Kind::Choice(&["resetchannels", "allchannels"],
        |settings| usize::from(settings.acl_pubsub_default_all), |settings, index| settings.acl_pubsub_default_all = index == 1), "resetchannels",
        "Whether new users may use all channels (allchannels) or none."),
    row(NETWORK, "acllog-max-len", Kind::Number(|settings| &mut settings.acllog_max_len, 0, LONG_MAX), "128",
        "Entries that ACL LOG keeps.").unit("entries"),
    row(NETWORK, "rename-command", Kind::Lines(|settings| &mut settings.renamed_commands), "",
        "A command and the name it has instead; `\"\"` makes it unavailable.").at_start().hidden(),
    row(NETWORK, "tls-port", Kind::Port(|settings| &mut settings.tls_port), "0",
        "TCP port for TLS; 0 is none.").at_start(),
    row(NETWORK, "tls-cert-file", Kind::Text(|settings| &mut settings.tls_cert_file), "",
        "The server's certificate and those between it and its authority, PEM. Setting it again reads it again."),
    row(NETWORK, "tls-key-file", Kind::Text(|settings| &mut settings.tls_key_file), "",
        "The certificate's private key, PEM, without a passphrase."),
    row(NETWORK, "tls-ca-cert-file", Kind::Text(|settings| &mut settings.tls_ca_cert_file), "",
        "Certificates of the authorities that clients' certificates are checked against, PEM."),
    row(NETWORK, "tls-ca-cert-dir", Kind::Text(|settings| &mut settings.tls_ca_cert_dir), "",
        "Directory of such certificates, each in a file of its own."),
    row(NETWORK, "tls-auth-clients", Kind::Choice(&["no", "yes", "optional"],
        |settings| settings.tls_auth_clients as usize, |settings, index| settings.tls_auth_clients = TLS_CLIENTS[index]), "yes",
        "Whether TLS clients must show a certificate: no, yes, or only if they have one (optional)."),
    row(NETWORK, "tls-protocols", Kind::Text(|settings| &mut settings.tls_protocols), "",
        "Versions of TLS to speak, of TLSv1.2 and TLSv1.3; empty is both."),
    row(NETWORK, "maxclients", Kind::Number(|settings| &mut settings.maxclients, 1, u32::MAX as u64), "10000",
        "Most clients at a time; further ones are refused with an error.").unit("connections"),
    row(NETWORK, "timeout", Kind::Number(|settings| &mut settings.timeout_seconds, 0, INT_MAX), "0",
        "Disconnect a client that has been idle for so long; 0 never does.").unit("seconds"),
    row(NETWORK, "tracking-table-max-keys", Kind::Number(|settings| &mut settings.tracking_keys_max, 0, LONG_MAX), "1000000",
        "Keys that are remembered for CLIENT TRACKING; beyond that, clients are told that one changed and it is forgotten. 0: no limit.").unit("keys"),
    row(NETWORK, "tcp-backlog", Kind::Number(|settings| &mut settings.tcp_backlog, 0, INT_MAX), "511",
        "Connections that may wait to be accepted; the system may allow fewer.").unit("connections").at_start(),
    row(NETWORK, "tcp-keepalive", Kind::Number(|settings| &mut settings.tcp_keepalive_seconds, 0, INT_MAX), "300",
        "Probe idle connections after so long, to notice dead clients; 0 never does.").unit("seconds"),
    row(NETWORK, "proto-max-bulk-len", Kind::Bytes(|settings| &mut settings.bulk_limit_bytes, MEBIBYTE), "512mb",
        "Longest single argument of a request.").unit("bytes"),
    row(NETWORK, "client-query-buffer-limit", Kind::Bytes(|settings| &mut settings.query_buffer_limit_bytes, MEBIBYTE), "1gb",
        "Disconnect a client whose unfinished request is larger than this.").unit("bytes"),
    row(NETWORK, "client-output-buffer-limit", Kind::OutputLimits, "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60",
        "Disconnect clients that do not read their replies. For each class (normal, replica, pubsub): the unsent bytes at which it happens at once, the unsent bytes at which it happens after a time, and that time in seconds. 0 is no limit. There are only normal clients so far."),

    row(GENERAL, "threads", Kind::Number(|settings| &mut settings.threads, 0, 1024), "0",
        "Threads that serve clients; 0 is one for each core.").at_start(),
    row(GENERAL, "databases", Kind::Number(|settings| &mut settings.databases, 1, 16384), "16",
        "Logical databases that SELECT can choose from.").at_start(),
    row(GENERAL, "hz", Kind::Number(|settings| &mut settings.hz, 1, 500), "10",
        "How often a second background work such as expiry looks for something to do.").later(),
    row(GENERAL, "loglevel", Kind::Choice(&["debug", "verbose", "notice", "warning", "nothing"],
        |settings| settings.loglevel as usize, |settings, index| settings.loglevel = LEVELS[index]), "notice",
        "How much is logged: debug, verbose, notice, warning or nothing."),
    row(GENERAL, "logfile", Kind::Text(|settings| &mut settings.logfile), "",
        "File to log to; empty is standard error.").at_start(),
    row(GENERAL, "enable-debug-command", Kind::Choice(&["no", "yes", "local"],
        |settings| settings.debug_command as usize, |settings, index| settings.debug_command = DEBUG[index]), "no",
        "Whether DEBUG can be used: no, yes, or by clients of this machine (local).").at_start(),
    row(GENERAL, "busy-reply-threshold", Kind::Number(|settings| &mut settings.busy_reply_threshold_ms, 0, LONG_MAX), "5000",
        "A script that runs longer than this lets other clients know: they get BUSY, and SCRIPT KILL works; 0 never does.").unit("milliseconds").alias("lua-time-limit"),
    row(GENERAL, "min-replicas-to-write", Kind::Number(|settings| &mut settings.min_replicas_to_write, 0, INT_MAX), "0",
        "Refuse writes with NOREPLICAS while there are fewer replicas than this. Larder does not replicate, so anything but 0 makes it read-only.").alias("min-slaves-to-write"),
    row(GENERAL, "min-replicas-max-lag", Kind::Number(|settings| &mut settings.min_replicas_max_lag_seconds, 0, INT_MAX), "10",
        "How recently a replica must have been heard of to count for min-replicas-to-write; 0 turns that directive off.").unit("seconds").alias("min-slaves-max-lag"),
    row(GENERAL, "lazyfree-lazy-user-del", Kind::Boolean(|settings| &mut settings.lazyfree_user_delete), "no",
        "Whether DEL leaves the freeing of large values to the background, as UNLINK does."),
    row(GENERAL, "lazyfree-lazy-user-flush", Kind::Boolean(|settings| &mut settings.lazyfree_user_flush), "no",
        "Whether FLUSHDB and FLUSHALL without SYNC or ASYNC free in the background."),
    row(GENERAL, "active-expire", Kind::Boolean(|settings| &mut settings.active_expire), "yes",
        "Whether expired keys are removed in the background; tests turn it off.").hidden(),
    row(GENERAL, "demote-every-command", Kind::Boolean(|settings| &mut settings.demote_every_command), "no",
        "Whether the keys of each command are moved to disk as soon as it ends; for tests.").hidden(),

    row(MEMORY, "maxmemory", Kind::BytesOrPercent(|settings| &mut settings.maxmemory_bytes), "60%",
        "Memory for hot and warm values, RocksDB's tables and cache together. A percentage is of the memory that the process may use, the limit of its container included. 0 is no limit.").unit("bytes"),
    row(MEMORY, "maxdisk", Kind::BytesOrUnlimited(|settings| &mut settings.maxdisk_bytes), "unlimited",
        "Disk space for cold records. 0 makes Larder a plain in-memory cache: nothing is moved to disk, and maxmemory-policy decides when memory is full.").unit("bytes"),
    row(MEMORY, "maxmemory-policy", Kind::Choice(&POLICY_NAMES,
        |settings| settings.maxmemory_policy as usize, |settings, index| settings.maxmemory_policy = POLICIES[index]), "noeviction",
        "What is removed when memory is full and the disk budget is too (or is 0): keys with a deadline (volatile-) or all (allkeys-), the least recently used (lru), least often used (lfu), nearest to their deadline (ttl) or any (random). noeviction removes nothing and refuses writes."),
    row(MEMORY, "maxmemory-samples", Kind::Number(|settings| &mut settings.maxmemory_samples, 1, 64), "5",
        "Candidates compared for each eviction; more is closer to the exact order and slower."),
    row(MEMORY, "warm-percent", Kind::Number(|settings| &mut settings.warm_percent, 0, 90), "25",
        "Share of maxmemory for compressed copies of values that were moved to disk.").unit("percent"),
    row(MEMORY, "lfu-log-factor", Kind::Number(|settings| &mut settings.lfu_log_factor, 0, INT_MAX), "10",
        "How many accesses it takes to raise a key's frequency counter; more tells busier keys apart."),
    row(MEMORY, "lfu-decay-time", Kind::Number(|settings| &mut settings.lfu_decay_time_minutes, 0, INT_MAX), "1",
        "How long until an unused key's frequency counter falls by one; 0 never does.").unit("minutes").later(),

    row(PERSISTENCE, "dir", Kind::Path(|settings| &mut settings.dir), "./larder-data",
        "The data directory: log, snapshots, cold records. It is created if it does not exist.").protected(),
    row(PERSISTENCE, "appendonly", Kind::Boolean(|settings| &mut settings.appendonly), "yes",
        "Whether every write goes into the log. Without it, a restart goes back to the last snapshot. A server that was started with a log goes on writing it until it ends, whatever CONFIG SET says; one that was started without cannot begin one."),
    row(PERSISTENCE, "appendfsync", Kind::Choice(&["always", "everysec", "no"],
        |settings| settings.appendfsync as usize, |settings, index| settings.appendfsync = FSYNC[index]), "everysec",
        "When the log is synced to the device: before each reply (always), once a second (everysec), or when the system likes (no). This decides about a loss of power; an acknowledged write survives the end of the process under all three."),
    row(PERSISTENCE, "save", Kind::SaveRules, "3600 1 300 100 60 10000",
        "Take a snapshot if within so many seconds there were so many changes; several pairs may be given, and several lines. `\"\"` takes none by time."),
    row(PERSISTENCE, "auto-aof-rewrite-percentage", Kind::Number(|settings| &mut settings.log_growth_percent, 0, INT_MAX), "100",
        "Take a snapshot, and drop the log before it, when the log has grown by so much relative to the last snapshot; 0 never does.").unit("percent"),
    row(PERSISTENCE, "auto-aof-rewrite-min-size", Kind::Bytes(|settings| &mut settings.log_growth_minimum_bytes, 0), "64mb",
        "A log smaller than this is no reason for a snapshot.").unit("bytes"),
    row(PERSISTENCE, "snapshot-keep", Kind::Number(|settings| &mut settings.snapshot_keep, 1, 1000), "2",
        "Snapshots to keep; if the newest is damaged, the one before it and a longer log are used.").unit("snapshots"),

    row(ENCODINGS, "list-max-listpack-size", Kind::Signed(|settings| &mut settings.encodings.list_max_listpack_size, -(1 << 31), INT_MAX as i64), "-2",
        "Size up to which OBJECT ENCODING calls a list a listpack: elements, or with -1 to -5 a size of 4, 8, 16, 32 or 64 kB.").alias("list-max-ziplist-size"),
    row(ENCODINGS, "hash-max-listpack-entries", Kind::Number(|settings| &mut settings.encodings.hash_max_listpack_entries, 0, LONG_MAX), "512",
        "Fields up to which a hash is kept packed.").alias("hash-max-ziplist-entries"),
    row(ENCODINGS, "hash-max-listpack-value", Kind::Number(|settings| &mut settings.encodings.hash_max_listpack_value_bytes, 0, LONG_MAX), "64",
        "Longest field or value of a packed hash.").unit("bytes").alias("hash-max-ziplist-value"),
    row(ENCODINGS, "set-max-intset-entries", Kind::Number(|settings| &mut settings.encodings.set_max_intset_entries, 0, LONG_MAX), "512",
        "Members up to which a set of integers is kept packed."),
    row(ENCODINGS, "set-max-listpack-entries", Kind::Number(|settings| &mut settings.encodings.set_max_listpack_entries, 0, LONG_MAX), "128",
        "Members up to which a set is kept packed."),
    row(ENCODINGS, "set-max-listpack-value", Kind::Number(|settings| &mut settings.encodings.set_max_listpack_value_bytes, 0, LONG_MAX), "64",
        "Longest member of a packed set.").unit("bytes"),
    row(ENCODINGS, "zset-max-listpack-entries", Kind::Number(|settings| &mut settings.encodings.zset_max_listpack_entries, 0, LONG_MAX), "128",
        "Members up to which a sorted set is kept packed.").alias("zset-max-ziplist-entries"),
    row(ENCODINGS, "zset-max-listpack-value", Kind::Number(|settings| &mut settings.encodings.zset_max_listpack_value_bytes, 0, LONG_MAX), "64",
        "Longest member of a packed sorted set.").unit("bytes").alias("zset-max-ziplist-value"),
    row(ENCODINGS, "legacy-encoding-names", Kind::Boolean(|settings| &mut settings.encodings.legacy_encoding_names), "no",
        "Whether OBJECT ENCODING uses the names of Redis 7.0: `quicklist` for every list, `hashtable` for every set that is no intset. For tools that were written for it."),
    row(ENCODINGS, "stream-node-max-bytes", Kind::Bytes(|settings| &mut settings.encodings.stream_node_max_bytes, 0), "4096",
        "Size of a stream's chunk from which on a new entry begins another; 0 is no limit. Trimming with `~` drops whole chunks.").unit("bytes"),
    row(ENCODINGS, "stream-node-max-entries", Kind::Number(|settings| &mut settings.encodings.stream_node_max_entries, 0, LONG_MAX), "100",
        "Entries of a stream's chunk from which on a new entry begins another; 0 is no limit.").unit("entries"),
    row(ENCODINGS, "hll-sparse-max-bytes", Kind::Number(|settings| &mut settings.encodings.hll_sparse_max_bytes, 0, LONG_MAX), "3000",
        "Size up to which a HyperLogLog is kept as runs of registers, without its header of 16 bytes.").unit("bytes"),

    row(OBSERVATION, "notify-keyspace-events", Kind::KeyspaceEvents, "",
        "Events to publish: K (by key) and E (by event) for the channels; g $ l s h z x e t n m for generic, string, list, set, hash, sorted set, expired, evicted, stream, new and missed; A for all but n and m. Empty publishes nothing."),
    row(OBSERVATION, "slowlog-log-slower-than", Kind::Signed(|settings| &mut settings.slowlog_log_slower_than_us, -1, i64::MAX), "10000",
        "Commands that take longer go into the slow log; -1 logs none, 0 all.").unit("microseconds"),
    row(OBSERVATION, "slowlog-max-len", Kind::Number(|settings| &mut settings.slowlog_max_len, 0, LONG_MAX), "128",
        "Entries that the slow log keeps.").unit("entries"),
    row(OBSERVATION, "latency-monitor-threshold", Kind::Number(|settings| &mut settings.latency_monitor_threshold_ms, 0, LONG_MAX), "0",
        "Events that take at least so long are remembered for LATENCY; 0 remembers none.").unit("milliseconds"),
    row(OBSERVATION, "latency-tracking", Kind::Boolean(|settings| &mut settings.latency_tracking), "yes",
        "Whether the distribution of each command's time is kept, for LATENCY HISTOGRAM and INFO."),
    row(OBSERVATION, "latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9",
        "Percentiles that INFO latencystats shows."),
];
