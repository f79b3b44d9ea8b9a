//! What commands ask of the server around them, as a trait, so that they name no tier, no log and no socket.
//!
//! The implementation is in `crate::server`. Calls that walk the whole keyspace or wait for the disk are made from
//! jobs ([`super::context::Job`]), never under shard locks.

use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keys;
use crate::value::Value;
use storage_format::ValueKind;

pub use crate::keyspace::Temperature;

/// One step of SCAN.
pub struct ScanRequest<'a> {
    /// Which database.
    pub database: u32,
    /// Position to go on from; 0 is the start.
    pub cursor: u64,
    /// About how many keys to look at.
    pub count: usize,
    /// Only keys that match this glob pattern.
    pub pattern: Option<&'a [u8]>,
    /// Only keys of this type.
    pub kind: Option<ValueKind>,
    /// Keys that match and whose deadline has passed are removed.
    pub expires: bool,
}

/// How SHUTDOWN ends the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownSave {
    /// As the `save` directive says.
    Default,
    /// With a snapshot.
    Save,
    /// Without.
    NoSave,
}

/// The client that asks for clients, and what its line shows of the command it asks with.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Its id.
    pub id: u64,
    /// The command's full name.
    pub command: &'static str,
    /// Bytes of its name and arguments.
    pub argument_bytes: usize,
}

/// Which clients CLIENT LIST or CLIENT KILL mean; all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    /// Ids; empty: any.
    pub ids: Vec<u64>,
    /// Remote address `ip:port`.
    pub address: Option<String>,
    /// Local address.
    pub local_address: Option<String>,
    /// `normal`, `master`, `replica` or `pubsub`.
    pub kind: Option<String>,
    /// User name.
    pub user: Option<String>,
    /// Leave out the caller (its id).
    pub skip_id: Option<u64>,
    /// Who asks, and how.
    pub caller: Option<Caller>,
    /// Older than so many seconds.
    pub older_than_seconds: Option<u64>,
}

/// Is told a key, its value and its deadline in Unix milliseconds.
pub type ValueVisitor<'v> = dyn FnMut(&[u8], &Value, Option<u64>) + 'v;

/// See the module's comment.
pub trait Services: super::messaging::Messaging {
    // Whole keyspace. From jobs only.

    /// One step of SCAN over all tiers: calls `found` for every key, returns the next cursor (0 at the end).
    fn scan(
        &self,
        request: ScanRequest<'_>,
        found: &mut dyn FnMut(&[u8]),
    ) -> Result<u64, CommandError>;
    /// Calls `each` with every key of a database in all tiers, its value and its deadline. Moves and uses nothing; what changes
    /// meanwhile is told as it was before or after, or not at all.
    fn each_value(&self, database: u32, each: &mut ValueVisitor<'_>) -> Result<(), CommandError>;
    /// A key chosen at random from all tiers.
    fn random_key(&self, database: u32, random: u64) -> Result<Option<Vec<u8>>, CommandError>;
    /// Keys of a database in all tiers, and how many have a deadline. May be called anywhere but under shard locks.
    fn key_counts(&self, database: u32) -> (u64, u64);
    /// Empties one database, or all.
    fn flush(&self, database: Option<u32>, wait: bool) -> Result<(), CommandError>;
    /// Gives the memory of a value back that is in no database any more, on another thread.
    fn free_in_background(&self, value: Value);
    /// Exchanges two databases.
    fn swap_databases(&self, first: u32, second: u32) -> Result<(), CommandError>;
    /// Locks these keys, makes them resident, and runs `work` on them: for commands that find out only while they run which
    /// keys they need (SORT ... BY). What `work` changes is one record.
    fn with_keys(
        &self,
        database: u32,
        names: &[Vec<u8>],
        work: &mut dyn FnMut(&mut Keys<'_>) -> CommandResult,
    ) -> CommandResult;
    /// Sends commands to another server and reads as many reply lines; those that came before an error are there too. From jobs only.
    fn ask_other(
        &self,
        target: &super::migrate::OtherServer,
        request: &[u8],
        reply_count: usize,
        replies: &mut Vec<Vec<u8>>,
    ) -> CommandResult;
    /// Deletes every key that begins with `prefix` and was last changed before this call. Returns how many.
    fn delete_prefix(&self, database: u32, prefix: &[u8]) -> Result<u64, CommandError>;
    /// The same, while the caller goes on.
    fn delete_prefix_in_background(
        &self,
        database: u32,
        prefix: Vec<u8>,
    ) -> Result<(), CommandError>;

    // Persistence. From jobs only.

    /// Takes a snapshot and waits for it.
    fn save(&self) -> Result<(), CommandError>;
    /// Starts a snapshot in the background; `schedule` allows it to wait for a running one.
    fn background_save(&self, schedule: bool) -> Result<&'static str, CommandError>;
    /// Makes everything durable that was logged before.
    fn sync_log(&self) -> Result<(), CommandError>;
    /// Unix time in seconds of the last complete snapshot.
    fn last_save_seconds(&self) -> u64;
    /// Makes what is in memory durable, throws it away, and loads it again (DEBUG RELOAD). Without a snapshot it is the log that
    /// makes it durable; false: there is none, and nothing was done.
    fn reload(&self, takes_snapshot: bool) -> Result<bool, CommandError>;
    /// Ends the server. Returns only if that fails.
    fn shut_down(&self, save: ShutdownSave, now: bool, force: bool) -> Result<(), CommandError>;

    // Tiers. From jobs only.

    /// Where a key is, `None` if it does not exist.
    fn temperature(&self, database: u32, key: &[u8]) -> Result<Option<Temperature>, CommandError>;
    /// Moves keys (or, with `None`, all of the database) to the cold tier, and waits until they are there. Returns how many moved.
    fn demote(&self, database: u32, keys: Option<Vec<Vec<u8>>>) -> Result<u64, CommandError>;
    /// Names and figures for TIER STATS, in a fixed order.
    fn tier_statistics(&self) -> Vec<(&'static str, u64)>;

    // Server.

    /// The text of INFO for these sections (lower case; empty: the default ones).
    fn info(&self, sections: &[String]) -> String;
    /// CONFIG GET.
    fn config_get(&self, patterns: &[&[u8]]) -> Vec<(String, String)>;
    /// CONFIG SET, all or nothing.
    fn config_set(&self, pairs: &[(String, String)]) -> Result<(), CommandError>;
    /// CONFIG REWRITE. From jobs only.
    fn config_rewrite(&self) -> Result<(), CommandError>;
    /// CONFIG RESETSTAT.
    fn reset_statistics(&self);
    /// Turns the active expiry on or off (DEBUG SET-ACTIVE-EXPIRE).
    fn set_active_expire(&self, on: bool);
    /// Stops what is due from time to time, or lets it go on (DEBUG PAUSE-CRON).
    fn pause_cron(&self, paused: bool);
    /// What the memory is used for. From jobs only.
    fn memory_report(&self) -> super::memory::MemoryReport;
    /// Gives free pages back to the system. From jobs only.
    fn purge_memory(&self);
    /// What took long.
    fn slow_log(&self) -> &super::slow_log::SlowLog;
    /// Spikes.
    fn latency_monitor(&self) -> &super::latency::LatencyMonitor;
    /// The distribution of each command's time, of those that ran.
    fn command_latencies(&self) -> Vec<super::latency::CommandLatency>;
    /// A command ran inside another one (EXEC, a script): statistics and slow log learn of it.
    fn ran_inside(&self, session: &super::session::Session, ran: &super::context::Ran<'_>);
    /// A script made an error that is none of a command's: statistics learn of it.
    fn note_error(&self, text: &str);
    /// Users and what they may do.
    fn users(&self) -> &super::acl::Users;
    /// Ends the clients of a user that subscribe to what it may not use any more.
    fn check_channels(&self, user: &super::acl::User);

    // Clients.

    /// Lines of CLIENT LIST.
    fn client_list(&self, filter: &ClientFilter) -> String;
    /// Ends connections; returns how many.
    fn client_kill(&self, filter: &ClientFilter) -> u64;
    /// The session's name and the like changed: CLIENT LIST must show them.
    fn client_changed(&self, session: &super::session::Session);
    // Scripts. Called under shard locks, except where it says so.

    /// The scripts and functions.
    fn scripts(&self) -> &super::script::store::ScriptStore;
    /// True if commands that need memory are refused.
    fn is_out_of_memory(&self) -> bool;
    /// Makes a key resident whose shard `keys` has locked, reading the disk if need be. False if its snapshot block has to be
    /// loaded first, without locks.
    fn make_resident(
        &self,
        keys: &mut crate::keyspace::Keys<'_>,
        database: u32,
        hash: u64,
        key: &[u8],
    ) -> Result<bool, CommandError>;
    /// Loads the snapshot block of a key. Without locks.
    fn load_block(&self, database: u32, hash: u64) -> Result<(), CommandError>;
    /// Makes the libraries of functions durable, given their encoding. From jobs only.
    fn store_functions(&self, encoded: &[u8]) -> Result<(), CommandError>;

    /// The version of this build, as `larder_version` in INFO.
    fn version(&self) -> &'static str;
}
