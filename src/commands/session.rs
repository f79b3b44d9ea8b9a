//! One client's state, as far as commands see it.

use super::acl::User;
use crate::pubsub::ChannelKind;
use crate::resp::Protocol;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
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
    /// Bytes of all names and arguments in the queue.
    pub queued_bytes: usize,
    /// Set when a command was refused while queueing: EXEC fails.
    pub aborted: bool,
}

impl Transaction {
    /// Puts a command into the queue.
    pub fn push(&mut self, arguments: &[&[u8]]) {
        self.queued_bytes += arguments
            .iter()
            .map(|argument| argument.len())
            .sum::<usize>();
        let owned = arguments.iter().map(|argument| Box::from(*argument));
        self.queue.push(owned.collect());
    }
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

/// Which keys that it reads a client wants to hear of when they change (CLIENT TRACKING).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Remembers {
    /// None.
    #[default]
    Nothing,
    /// All.
    Everything,
    /// Those of the command after CLIENT CACHING YES.
    IfGiven,
    /// All but those of the command after CLIENT CACHING NO.
    UnlessGiven,
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
    /// The version of the table of users that `user` was taken from.
    pub users_version: u64,
    user: Arc<User>,
    is_unrestricted: bool,
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
    /// Set while the commands of a transaction run one after the other: none of them may block.
    pub must_not_block: bool,
    /// QUIT, or an error after which the connection ends.
    pub closing: bool,
    /// Remote address, `ip:port` or the unix socket's path.
    pub address: String,
    /// Local address.
    pub local_address: String,
    /// What it is subscribed to, by [`ChannelKind`].
    pub subscriptions: [BTreeSet<Box<[u8]>>; 3],
    /// Which reads are remembered for CLIENT TRACKING.
    pub remembers: Remembers,
    /// CLIENT CACHING was the command before.
    pub caching_given: bool,
    /// MONITOR.
    pub monitors: bool,
    /// Commands that ran for it, those within transactions and scripts included.
    pub commands: Cell<u64>,
    random_state: u64,
}

impl Session {
    /// A fresh session; `id` also seeds its random numbers.
    pub fn new(id: u64, authenticated: bool, address: String, local_address: String) -> Session {
        let random_state = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ crate::clock::now_ms();
        let addresses = (address, local_address);
        Session::of_user(
            id,
            authenticated,
            addresses,
            User::default_user(),
            random_state,
        )
    }

    fn of_user(
        id: u64,
        authenticated: bool,
        (address, local_address): (String, String),
        user: Arc<User>,
        random_state: u64,
    ) -> Session {
        Session {
            id,
            database: 0,
            protocol: Protocol::Resp2,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            authenticated,
            users_version: 0,
            user,
            is_unrestricted: true,
            transaction: None,
            watched: Vec::new(),
            no_evict: false,
            no_touch: false,
            reply_mode: ReplyMode::On,
            must_not_block: false,
            closing: false,
            address,
            local_address,
            subscriptions: Default::default(),
            remembers: Remembers::Nothing,
            caching_given: false,
            monitors: false,
            commands: Cell::new(0),
            random_state,
        }
    }

    /// Makes this the session of a script that `client` runs: what the script changes in it ends with the script. MONITOR and
    /// the slow log show the client's name and addresses. A session that was one before keeps its memory.
    pub fn become_script_of(&mut self, client: &mut Session) {
        let random = client.random();
        // All fields, so that a new one is thought of here.
        let Session {
            id,
            database,
            protocol,
            name,
            library_name,
            library_version,
            authenticated,
            users_version,
            user,
            is_unrestricted,
            transaction,
            watched,
            no_evict,
            no_touch,
            reply_mode,
            must_not_block,
            closing,
            address,
            local_address,
            subscriptions,
            remembers,
            caching_given,
            monitors,
            commands,
            random_state,
        } = self;
        (*id, *database, *protocol) = (client.id, client.database, client.protocol);
        name.clone_from(&client.name);
        (*authenticated, *users_version) = (client.authenticated, client.users_version);
        if !Arc::ptr_eq(user, &client.user) {
            *user = Arc::clone(&client.user);
        }
        (*is_unrestricted, *no_touch) = (client.is_unrestricted, client.no_touch);
        (*remembers, *caching_given) = (client.remembers, client.caching_given);
        address.clone_from(&client.address);
        local_address.clone_from(&client.local_address);
        *random_state = random;
        commands.set(0);
        *transaction = None;
        watched.clear();
        library_name.clear();
        library_version.clear();
        subscriptions.iter_mut().for_each(BTreeSet::clear);
        *reply_mode = ReplyMode::On;
        (*no_evict, *must_not_block, *closing, *monitors) = (false, false, false, false);
    }

    /// The user that commands run as.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// Commands run as this user from now on, taken from the table of this version.
    pub fn set_user(&mut self, user: Arc<User>, users_version: u64) {
        self.is_unrestricted = user.is_unrestricted();
        (self.user, self.users_version) = (user, users_version);
    }

    /// True if the user may do everything, so that nothing needs to be checked.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    /// The next number of a splitmix64 sequence.
    pub fn random(&mut self) -> u64 {
        self.random_state = self.random_state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random_state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Number of subscriptions of this kind, as the replies of SUBSCRIBE count them: channels and patterns together.
    pub fn subscription_count(&self, kind: ChannelKind) -> usize {
        let of = |kind: ChannelKind| self.subscriptions[kind.index()].len();
        match kind {
            ChannelKind::Shard => of(ChannelKind::Shard),
            _ => of(ChannelKind::Channel) + of(ChannelKind::Pattern),
        }
    }

    /// True if it has subscriptions of any kind.
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.iter().any(|topics| !topics.is_empty())
    }

    /// True if the keys of the command that runs now are to be remembered.
    pub fn remembers_reads(&self) -> bool {
        match self.remembers {
            Remembers::Nothing => false,
            Remembers::Everything => true,
            Remembers::IfGiven => self.caching_given,
            Remembers::UnlessGiven => !self.caching_given,
        }
    }

    /// True for a subscriber in RESP2, where replies and messages could not be told apart: it may do little else.
    pub fn only_listens(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.is_subscriber()
    }

    /// Stands in for this session while it is elsewhere.
    pub fn leave_placeholder(&mut self) -> Session {
        let mut placeholder = Session::of_user(
            self.id,
            false,
            Default::default(),
            Arc::clone(&self.user),
            0,
        );
        placeholder.database = self.database;
        placeholder.commands = self.commands.clone();
        std::mem::replace(self, placeholder)
    }

    /// RESET: as after connecting, but for what its library is. Subscriptions have to be ended before.
    pub fn reset(&mut self, authenticated: bool) {
        let (id, address, local_address) = (
            self.id,
            std::mem::take(&mut self.address),
            std::mem::take(&mut self.local_address),
        );
        let former = std::mem::replace(
            self,
            Session::new(id, authenticated, address, local_address),
        );
        self.commands = former.commands;
        self.library_name = former.library_name;
        self.library_version = former.library_version;
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
