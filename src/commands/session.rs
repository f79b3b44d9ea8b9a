//! One client's state, as far as commands see it.

use crate::resp::Protocol;
use storage_format::ValueKind;

/// A key that WATCH remembers.
#[derive(Clone, Debug)]
pub struct WatchedKey {
    /// Its database.
    pub database: u32,
    /// The key.
    pub key: Box<[u8]>,
    /// The LSN it had; 0 if it did not exist.
    pub lsn: u64,
}

/// What MULTI collects.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The commands, with their names.
    pub queue: Vec<Vec<Box<[u8]>>>,
    /// Set when a command was refused while queueing: EXEC fails.
    pub aborted: bool,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Replies are sent.
    #[default]
    On,
    /// No replies until ON.
    Off,
    /// No reply to the next command.
    SkipNext,
    /// No reply to this command (the one after SKIP).
    Skip,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Session {
    /// Unique, ascending.
    pub id: u64,
    /// Selected database.
    pub database: u32,
    /// The dialect that HELLO chose.
    pub protocol: Protocol,
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
    /// True if no password is required, or it was given.
    pub authenticated: bool,
    /// Set between MULTI and EXEC.
    pub transaction: Option<Transaction>,
    /// WATCH.
    pub watched: Vec<WatchedKey>,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// QUIT, or an error after which the connection ends.
    pub closing: bool,
    /// Remote address, `ip:port` or the unix socket's path.
    pub address: String,
    /// Local address.
    pub local_address: String,
    random_state: u64,
}

impl Session {
    /// A fresh session; `id` also seeds its random numbers.
    pub fn new(id: u64, authenticated: bool, address: String, local_address: String) -> Session {
        Session {
            id,
            database: 0,
            protocol: Protocol::Resp2,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            authenticated,
            transaction: None,
            watched: Vec::new(),
            no_evict: false,
            no_touch: false,
            reply_mode: ReplyMode::On,
            closing: false,
            address,
            local_address,
            random_state: id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ crate::clock::now_ms(),
        }
    }

    /// The session of a script that this client runs: what the script changes in it ends with the script.
    pub fn for_script(&mut self) -> Session {
        Session {
            database: self.database,
            protocol: self.protocol,
            no_touch: self.no_touch,
            random_state: self.random(),
            ..Session::new(self.id, self.authenticated, String::new(), String::new())
        }
    }

    /// The next number of a splitmix64 sequence.
    pub fn random(&mut self) -> u64 {
        self.random_state = self.random_state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random_state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// RESET: as after connecting.
    pub fn reset(&mut self, authenticated: bool) {
        let (id, address, local_address) = (
            self.id,
            std::mem::take(&mut self.address),
            std::mem::take(&mut self.local_address),
        );
        *self = Session::new(id, authenticated, address, local_address);
    }
}

/// The name that TYPE gives a kind of value.
pub fn type_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::String => "string",
        ValueKind::List => "list",
        ValueKind::Set => "set",
        ValueKind::SortedSet => "zset",
        ValueKind::Hash => "hash",
        ValueKind::Stream => "stream",
    }
}
