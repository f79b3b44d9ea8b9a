//! ACL categories: the groups of commands that rules such as `+@read` name.
//!
//! As in Redis, some follow from a command's flags (`@write`, `@fast`, `@dangerous` ...). The others are those of its
//! family; a row that has others says so.

use super::spec::{CommandSpec, Flags, Group};

/// A set of categories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Categories(pub u32);

impl Categories {
    /// None.
    pub const NONE: Categories = Categories(0);
    /// Keys of any type.
    pub const KEYSPACE: Categories = Categories(1);
    /// Reads.
    pub const READ: Categories = Categories(1 << 1);
    /// Writes.
    pub const WRITE: Categories = Categories(1 << 2);
    /// Sets.
    pub const SET: Categories = Categories(1 << 3);
    /// Sorted sets.
    pub const SORTED_SET: Categories = Categories(1 << 4);
    /// Lists.
    pub const LIST: Categories = Categories(1 << 5);
    /// Hashes.
    pub const HASH: Categories = Categories(1 << 6);
    /// Strings.
    pub const STRING: Categories = Categories(1 << 7);
    /// Bitmaps.
    pub const BITMAP: Categories = Categories(1 << 8);
    /// HyperLogLogs.
    pub const HYPERLOGLOG: Categories = Categories(1 << 9);
    /// Geographic indexes.
    pub const GEO: Categories = Categories(1 << 10);
    /// Streams.
    pub const STREAM: Categories = Categories(1 << 11);
    /// Publish and subscribe.
    pub const PUBSUB: Categories = Categories(1 << 12);
    /// For operators.
    pub const ADMIN: Categories = Categories(1 << 13);
    /// Constant or logarithmic time.
    pub const FAST: Categories = Categories(1 << 14);
    /// All others.
    pub const SLOW: Categories = Categories(1 << 15);
    /// May block.
    pub const BLOCKING: Categories = Categories(1 << 16);
    /// Not for everybody.
    pub const DANGEROUS: Categories = Categories(1 << 17);
    /// About the connection.
    pub const CONNECTION: Categories = Categories(1 << 18);
    /// Transactions.
    pub const TRANSACTION: Categories = Categories(1 << 19);
    /// Scripts.
    pub const SCRIPTING: Categories = Categories(1 << 20);

    /// Both sets together.
    pub const fn and(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }
    /// True if all of `other` is in here.
    pub const fn has(self, other: Categories) -> bool {
        self.0 & other.0 == other.0
    }
    /// The names of all that are set, in Redis's order, without the `@`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .iter()
            .filter(move |(category, _)| self.has(*category))
            .map(|(_, name)| *name)
    }
    /// The category of this name, in any case, without the `@`.
    pub fn named(name: &[u8]) -> Option<Categories> {
        NAMES
            .iter()
            .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(category, _)| *category)
    }
}

/// All categories, in the order of ACL CAT.
pub const NAMES: &[(Categories, &str)] = &[
    (Categories::KEYSPACE, "keyspace"),
    (Categories::READ, "read"),
    (Categories::WRITE, "write"),
    (Categories::SET, "set"),
    (Categories::SORTED_SET, "sortedset"),
    (Categories::LIST, "list"),
    (Categories::HASH, "hash"),
    (Categories::STRING, "string"),
    (Categories::BITMAP, "bitmap"),
    (Categories::HYPERLOGLOG, "hyperloglog"),
    (Categories::GEO, "geo"),
    (Categories::STREAM, "stream"),
    (Categories::PUBSUB, "pubsub"),
    (Categories::ADMIN, "admin"),
    (Categories::FAST, "fast"),
    (Categories::SLOW, "slow"),
    (Categories::BLOCKING, "blocking"),
    (Categories::DANGEROUS, "dangerous"),
    (Categories::CONNECTION, "connection"),
    (Categories::TRANSACTION, "transaction"),
    (Categories::SCRIPTING, "scripting"),
];

/// The categories of a family.
const fn of_group(group: Group) -> Categories {
    match group {
        Group::Generic => Categories::KEYSPACE,
        Group::Connection => Categories::CONNECTION,
        Group::String => Categories::STRING,
        Group::Hash => Categories::HASH,
        Group::List => Categories::LIST,
        Group::Set => Categories::SET,
        Group::SortedSet => Categories::SORTED_SET,
        Group::Transactions => Categories::TRANSACTION,
        Group::Bitmap => Categories::BITMAP,
        Group::HyperLogLog => Categories::HYPERLOGLOG,
        Group::Geo => Categories::GEO,
        Group::Stream => Categories::STREAM,
        Group::Scripting => Categories::SCRIPTING,
        Group::PubSub | Group::Server | Group::Tier | Group::Cluster => Categories::NONE,
    }
}

/// The categories of a command. A container has none of its own but what its flags say: its subcommands have them.
pub fn categories(spec: &CommandSpec) -> Categories {
    let own = match spec.categories {
        Some(categories) => categories,
        None if spec.listed_subcommands().is_empty() => of_group(spec.group),
        None => Categories::NONE,
    };
    let by_flag = [
        (Flags::WRITE, Categories::WRITE),
        (Flags::ADMIN, Categories::ADMIN.and(Categories::DANGEROUS)),
        (Flags::PUBSUB, Categories::PUBSUB),
        (Flags::FAST, Categories::FAST),
        (Flags::BLOCKING, Categories::BLOCKING),
    ];
    let mut all = by_flag
        .iter()
        .filter(|(flag, _)| spec.flags.has(*flag))
        .fold(own, |sum, (_, categories)| sum.and(*categories));
    if spec.flags.has(Flags::READONLY) && !own.has(Categories::SCRIPTING) {
        all = all.and(Categories::READ);
    }
    if !all.has(Categories::FAST) {
        all = all.and(Categories::SLOW);
    }
    all
}
