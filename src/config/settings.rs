//! The values of all directives, and the operations of CONFIG GET and CONFIG SET on them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{ConfigError, SetError, Warning};
use super::table::{self, Change, Directive};
use super::value;
use crate::event_classes::EventClasses;
use crate::glob;

/// Take a snapshot when so much has changed in so much time (`save`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRule {
    /// Time since the last snapshot.
    pub seconds: u64,
    /// Changes since the last snapshot.
    pub changes: u64,
}

/// When a client that does not read its replies is disconnected. 0 turns a limit off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Unsent bytes at which it is disconnected at once.
    pub hard_bytes: u64,
    /// Unsent bytes at which it is disconnected if it stays above them.
    pub soft_bytes: u64,
    /// How long it may stay above `soft_bytes`.
    pub soft_seconds: u64,
}

/// When the log is synced to the device (`appendfsync`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFsync {
    /// Before the reply.
    Always,
    /// Once a second.
    EverySecond,
    /// When the system likes.
    No,
}

/// What may be removed to make room (`maxmemory-policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Redis's and say all")]
pub enum EvictionPolicy {
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    NoEviction,
}

/// How much is logged (`loglevel`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are Redis's and say all")]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
    Nothing,
}

/// Who may use DEBUG (`enable-debug-command`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebugCommand {
    /// Nobody.
    No,
    /// Everybody.
    Yes,
    /// Clients of this machine.
    Local,
}

/// Whether clients have to show a certificate (`tls-auth-clients`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsClients {
    /// No, and what they show is not looked at.
    Ignored,
    /// Yes.
    Required,
    /// Only if they have one.
    Optional,
}

/// A directive that CONFIG SET changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its canonical name.
    pub name: &'static str,
}

/// From when on a collection is stored, or shown as if it were stored, in another way.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(
    missing_docs,
    reason = "each field has a row with its description in the table"
)]
pub struct EncodingLimits {
    pub list_max_listpack_size: i64,
    pub hash_max_listpack_entries: u64,
    pub hash_max_listpack_value_bytes: u64,
    pub set_max_intset_entries: u64,
    pub set_max_listpack_entries: u64,
    pub set_max_listpack_value_bytes: u64,
    pub zset_max_listpack_entries: u64,
    pub zset_max_listpack_value_bytes: u64,
    pub legacy_encoding_names: bool,
    pub stream_node_max_bytes: u64,
    pub stream_node_max_entries: u64,
    pub hll_sparse_max_bytes: u64,
}

/// All settings. Each field is described at its row in [`table`].
#[derive(Clone, Debug, PartialEq)]
#[allow(
    missing_docs,
    reason = "each field has a row with its description in the table"
)]
pub struct Settings {
    /// The file that CONFIG REWRITE writes: the one named at start, as an absolute path.
    pub config_file: Option<PathBuf>,

    pub bind: Vec<String>,
    pub port: u16,
    pub unixsocket: String,
    pub unixsocket_permissions: u64,
    pub protected_mode: bool,
    pub requirepass: String,
    /// Lines of a name and its rules.
    pub users: Vec<Vec<String>>,
    pub aclfile: String,
    /// New users may use all channels.
    pub acl_pubsub_default_all: bool,
    pub acllog_max_len: u64,
    /// Lines of a command and its new name.
    pub renamed_commands: Vec<Vec<String>>,
    pub tls_port: u16,
    pub tls_cert_file: String,
    pub tls_key_file: String,
    pub tls_ca_cert_file: String,
    pub tls_ca_cert_dir: String,
    pub tls_auth_clients: TlsClients,
    pub tls_protocols: String,
    pub maxclients: u64,
    pub timeout_seconds: u64,
    /// 0: no limit.
    pub tracking_keys_max: u64,
    pub tcp_backlog: u64,
    pub tcp_keepalive_seconds: u64,
    pub bulk_limit_bytes: u64,
    pub query_buffer_limit_bytes: u64,
    pub output_limit_normal: OutputLimit,
    pub output_limit_replica: OutputLimit,
    pub output_limit_pubsub: OutputLimit,

    pub threads: u64,
    pub databases: u64,
    pub hz: u64,
    pub loglevel: LogLevel,
    pub logfile: String,
    pub debug_command: DebugCommand,
    pub active_expire: bool,
    pub demote_every_command: bool,
    pub lazyfree_user_delete: bool,
    pub lazyfree_user_flush: bool,
    pub busy_reply_threshold_ms: u64,
    pub min_replicas_to_write: u64,
    pub min_replicas_max_lag_seconds: u64,

    /// 0: no limit.
    pub maxmemory_bytes: u64,
    pub maxmemory_policy: EvictionPolicy,
    pub maxmemory_samples: u64,
    /// None: no limit. Some(0): nothing is kept on disk but log and snapshots.
    pub maxdisk_bytes: Option<u64>,
    pub warm_percent: u64,
    pub lfu_log_factor: u64,
    pub lfu_decay_time_minutes: u64,

    pub dir: PathBuf,
    pub appendonly: bool,
    pub appendfsync: AppendFsync,
    pub save: Vec<SaveRule>,
    pub log_growth_percent: u64,
    pub log_growth_minimum_bytes: u64,
    pub snapshot_keep: u64,

    pub encodings: EncodingLimits,

    pub notify_keyspace_events: EventClasses,
    /// -1: log nothing.
    pub slowlog_log_slower_than_us: i64,
    pub slowlog_max_len: u64,
    pub latency_monitor_threshold_ms: u64,
    pub latency_tracking: bool,
    pub latency_percentiles: Vec<String>,

    /// Directives of Redis that have no effect here, as far as they were set.
    pub without_effect: BTreeMap<&'static str, String>,
}

impl Default for Settings {
    /// The defaults of the table.
    fn default() -> Settings {
        let mut settings = Settings::blank();
        for directive in table::all() {
            let arguments = value::words(directive.default);
            let outcome = value::write(&mut settings, directive, &arguments);
            debug_assert_eq!(outcome, Ok(()), "default of {}", directive.name);
        }
        settings.without_effect.clear();
        settings
    }
}

impl Settings {
    /// Reads the command line (without the program's name) and the files it names.
    pub fn from_arguments(arguments: &[String]) -> Result<(Settings, Vec<Warning>), ConfigError> {
        super::command_line::load(arguments)
    }

    /// True if writes are only allowed while there are enough replicas (`min-replicas-to-write`). There are none here, so that
    /// refuses all of them.
    pub fn asks_for_replicas(&self) -> bool {
        self.min_replicas_to_write > 0 && self.min_replicas_max_lag_seconds > 0
    }

    /// The directives whose names match one of `patterns`, as CONFIG GET shows them; aliases count as names.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for directive in table::all() {
            for name in directive.names() {
                let matches = |pattern: &&[u8]| {
                    let asked_by_name = pattern.eq_ignore_ascii_case(name.as_bytes());
                    asked_by_name
                        || (!directive.hidden
                            && glob::matches_ignoring_case(pattern, name.as_bytes()))
                };
                if patterns.iter().any(matches) {
                    found.push((name.to_owned(), value::read(self, directive)));
                }
            }
        }
        found
    }

    /// Changes all of `changes`, or nothing. Tells which values are different now.
    pub fn set(&mut self, changes: &[(&[u8], &[u8])]) -> Result<Vec<Changed>, SetError> {
        let directives = changes
            .iter()
            .map(|(name, _)| known(name))
            .collect::<Result<Vec<_>, _>>()?;
        let mut after = self.clone();
        for (index, (directive, (_, text))) in directives.iter().zip(changes).enumerate() {
            let duplicate = directives[..index]
                .iter()
                .any(|earlier| earlier.name == directive.name);
            set_one(&mut after, directive, text, duplicate).map_err(|reason| {
                SetError::Refused {
                    name: directive.name.to_owned(),
                    reason,
                }
            })?;
        }
        let changed = directives
            .iter()
            .filter(|directive| value::read(self, directive) != value::read(&after, directive));
        let changed = changed
            .map(|directive| Changed {
                name: directive.name,
            })
            .collect();
        *self = after;
        Ok(changed)
    }

    /// The ACL file, if there is one; a relative path is relative to `dir`, as in Redis.
    pub fn aclfile_path(&self) -> Option<PathBuf> {
        (!self.aclfile.is_empty()).then(|| self.dir.join(&self.aclfile))
    }

    /// Worker threads to start: `threads`, or one for each core.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count as usize,
        }
    }

    /// Zeros and empty texts everywhere; the table's defaults are written over them.
    fn blank() -> Settings {
        Settings {
            config_file: None,
            bind: Vec::new(),
            port: 0,
            unixsocket: String::new(),
            unixsocket_permissions: 0,
            protected_mode: false,
            requirepass: String::new(),
            users: Vec::new(),
            aclfile: String::new(),
            acl_pubsub_default_all: false,
            acllog_max_len: 0,
            renamed_commands: Vec::new(),
            tls_port: 0,
            tls_cert_file: String::new(),
            tls_key_file: String::new(),
            tls_ca_cert_file: String::new(),
            tls_ca_cert_dir: String::new(),
            tls_auth_clients: TlsClients::Required,
            tls_protocols: String::new(),
            maxclients: 0,
            timeout_seconds: 0,
            tracking_keys_max: 0,
            tcp_backlog: 0,
            tcp_keepalive_seconds: 0,
            bulk_limit_bytes: 0,
            query_buffer_limit_bytes: 0,
            output_limit_normal: OutputLimit::default(),
            output_limit_replica: OutputLimit::default(),
            output_limit_pubsub: OutputLimit::default(),
            threads: 0,
            databases: 0,
            hz: 0,
            loglevel: LogLevel::Notice,
            logfile: String::new(),
            debug_command: DebugCommand::No,
            active_expire: false,
            demote_every_command: false,
            lazyfree_user_delete: false,
            lazyfree_user_flush: false,
            busy_reply_threshold_ms: 0,
            min_replicas_to_write: 0,
            min_replicas_max_lag_seconds: 0,
            maxmemory_bytes: 0,
            maxmemory_policy: EvictionPolicy::NoEviction,
            maxmemory_samples: 0,
            maxdisk_bytes: None,
            warm_percent: 0,
            lfu_log_factor: 0,
            lfu_decay_time_minutes: 0,
            dir: PathBuf::new(),
            appendonly: false,
            appendfsync: AppendFsync::EverySecond,
            save: Vec::new(),
            log_growth_percent: 0,
            log_growth_minimum_bytes: 0,
            snapshot_keep: 0,
            encodings: EncodingLimits::default(),
            notify_keyspace_events: EventClasses::NONE,
            slowlog_log_slower_than_us: 0,
            slowlog_max_len: 0,
            latency_monitor_threshold_ms: 0,
            latency_tracking: false,
            latency_percentiles: Vec::new(),
            without_effect: BTreeMap::new(),
        }
    }
}

fn known(name: &[u8]) -> Result<&'static Directive, SetError> {
    let name = String::from_utf8_lossy(name);
    table::find(&name).ok_or_else(|| SetError::Unknown(name.into_owned()))
}

fn set_one(
    settings: &mut Settings,
    directive: &'static Directive,
    text: &[u8],
    duplicate: bool,
) -> Result<(), String> {
    if duplicate {
        return Err("duplicate parameter".to_owned());
    }
    match directive.change {
        Change::Live => {}
        Change::AtStart => {
            // Writing back what CONFIG GET showed must not fail.
            let mut after = settings.clone();
            let unchanged = std::str::from_utf8(text).is_ok_and(|text| {
                write_text(&mut after, directive, text).is_ok()
                    && value::read(&after, directive) == value::read(settings, directive)
            });
            return match unchanged {
                true => Ok(()),
                false => Err("can't set immutable config".to_owned()),
            };
        }
        Change::Protected => return Err("can't set protected config".to_owned()),
    }
    let text = std::str::from_utf8(text).map_err(|_| "argument must be UTF-8 text".to_owned())?;
    write_text(settings, directive, text)
}

/// Writes a value that CONFIG SET gives as one text.
fn write_text(
    settings: &mut Settings,
    directive: &'static Directive,
    text: &str,
) -> Result<(), String> {
    let arguments = if directive.takes_several() {
        value::words(text)
    } else {
        vec![text.to_owned()]
    };
    value::write(settings, directive, &arguments)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
