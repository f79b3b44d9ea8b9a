//! What is known of a command besides its function: one row each, written beside the function.
//!
//! Everything that needs to know commands reads these rows: dispatch (arity, flags, keys), COMMAND, and the
//! generated `docs/commands.md`. A family file ends with its rows in a `COMMANDS` constant;
//! [`super::table`] joins the families.

use super::access::KeyUse;
use super::categories::Categories;
use super::context::Context;
use crate::error::CommandResult;
use crate::resp::Reply;
use std::ops::Range;

/// A command: plain synchronous code under the locks of its keys' shards. `arguments[0]` is the command's name.
/// If it returns an error, what it wrote into the reply is thrown away.
pub type CommandFunction = fn(&mut Context<'_>, &[&[u8]], &mut Reply<'_>) -> CommandResult;

/// Finds the number of a second database among the arguments.
pub type OtherDatabase = fn(&[&[u8]]) -> Option<u32>;

/// Tells from the arguments whether a command needs a job.
pub type TellsOffloaded = fn(&[&[u8]]) -> bool;

/// A set of properties, as COMMAND INFO names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u32);

impl Flags {
    /// None.
    pub const NONE: Flags = Flags(0);
    /// May change data.
    pub const WRITE: Flags = Flags(1);
    /// Never changes data.
    pub const READONLY: Flags = Flags(1 << 1);
    /// Refused when memory is short.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// For operators.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Publishes or subscribes.
    pub const PUBSUB: Flags = Flags(1 << 4);
    /// Not from scripts.
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    /// Constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 6);
    /// Allowed before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 7);
    /// Not inside MULTI.
    pub const NO_MULTI: Flags = Flags(1 << 8);
    /// Allowed while the server is still recovering.
    pub const LOADING: Flags = Flags(1 << 9);
    /// Allowed on stale replicas (always, here).
    pub const STALE: Flags = Flags(1 << 10);
    /// Not shown by MONITOR.
    pub const SKIP_MONITOR: Flags = Flags(1 << 11);
    /// Not counted by SLOWLOG.
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 12);
    /// May block.
    pub const BLOCKING: Flags = Flags(1 << 13);
    /// Key positions cannot be told from the row alone.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 14);
    /// Larder's own: may be answered from a copy of a key that is not hot, without making it hot.
    pub const PEEKS: Flags = Flags(1 << 15);
    /// Larder's own: runs at once inside MULTI instead of being queued (EXEC, DISCARD, WATCH ...).
    pub const NOT_QUEUED: Flags = Flags(1 << 16);
    /// Larder's own: walks the whole keyspace, or waits for the disk; runs on the blocking pool without shard locks.
    pub const OFFLOADED: Flags = Flags(1 << 17);

    /// Larder's own: runs a script, which may touch keys that it did not declare.
    pub const RUNS_SCRIPT: Flags = Flags(1 << 24);
    /// Not while a replica loads its master's data beside its own (never, here).
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 18);
    /// May be called without any key although it has key positions.
    pub const NO_MANDATORY_KEYS: Flags = Flags(1 << 19);
    /// Answered even while a script runs for too long.
    pub const ALLOW_BUSY: Flags = Flags(1 << 20);
    /// ASKING.
    pub const ASKING: Flags = Flags(1 << 21);
    /// Larder's own: for servers among themselves and for those who test them.
    pub const SYSTEM: Flags = Flags(1 << 26);
    /// Not shown to clients: changes nothing of its own, but reaches other clients or may run what does (PUBLISH, EVAL).
    pub const MAY_REPLICATE: Flags = Flags(1 << 22);

    /// Larder's own: runs the queue of a transaction (EXEC), whose keys are its own.
    pub const RUNS_QUEUE: Flags = Flags(1 << 25);

    /// Larder's own: what Redis has as one command that looks at its first argument. Its subcommands are none to anybody else.
    pub const ONE_COMMAND: Flags = Flags(1 << 23);

    /// Both sets together.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
    /// True if all of `other` is in here.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Where a command's keys are among its arguments.
#[derive(Clone, Copy, Debug)]
pub enum KeySpec {
    /// Arguments `first`, `first + step` ... up to `last`; a negative `last` counts from the end (-1 is the last).
    Range {
        /// Index of the first key; the name has index 0.
        first: usize,
        /// Index of the last key.
        last: i32,
        /// Distance between keys.
        step: usize,
    },
    /// Argument `count_index` says how many keys follow it.
    Counted {
        /// Index of the count.
        count_index: usize,
    },
    /// Options decide: the function gives the indices of the keys (SORT ... STORE, XREAD STREAMS ...). What it cannot make
    /// sense of has no keys: the command itself reports it.
    Found(fn(&[&[u8]]) -> Vec<usize>),
}

impl KeySpec {
    /// The one key is the first argument.
    pub const FIRST: &[KeySpec] = &[KeySpec::Range {
        first: 1,
        last: 1,
        step: 1,
    }];
    /// The first two arguments are keys.
    pub const FIRST_TWO: &[KeySpec] = &[KeySpec::Range {
        first: 1,
        last: 2,
        step: 1,
    }];
    /// All arguments are keys.
    pub const ALL: &[KeySpec] = &[KeySpec::Range {
        first: 1,
        last: -1,
        step: 1,
    }];
    /// No keys.
    pub const NONE: &[KeySpec] = &[];
}

/// The family a command belongs to, as COMMAND DOCS names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Group {
    Connection,
    Generic,
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Transactions,
    Server,
    Tier,
    Bitmap,
    HyperLogLog,
    Geo,
    Stream,
    Scripting,
    PubSub,
    Cluster,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::String => "string",
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Transactions => "transactions",
            Group::Server => "server",
            Group::Tier => "tier",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Scripting => "scripting",
            Group::PubSub => "pubsub",
            Group::Cluster => "cluster",
        }
    }
}

/// That a command should not be used any more.
#[derive(Clone, Copy, Debug)]
pub struct Deprecation {
    /// Since which Redis version.
    pub since: &'static str,
    /// What to use instead.
    pub replaced_by: &'static str,
}

/// One row of the command table.
#[derive(Clone, Copy)]
pub struct CommandSpec {
    /// Lower case.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    pub arity: i32,
    /// Properties.
    pub flags: Flags,
    /// Where the keys are.
    pub keys: &'static [KeySpec],
    /// A second database in which the keys are looked up too (COPY ... DB, MOVE).
    pub other_database: Option<OtherDatabase>,
    /// Tells from the arguments that this command needs a job, although its row is not [`Flags::OFFLOADED`] (SORT with
    /// patterns). A transaction with such a command is not run under one set of locks.
    pub offloaded_if: Option<TellsOffloaded>,
    /// Family.
    pub group: Group,
    /// What it does to its keys, where [`super::access::key_uses`] would not guess it.
    pub key_uses: &'static [KeyUse],
    /// ACL categories, where they are not those of the group.
    pub categories: Option<Categories>,
    /// Hints for clients and proxies, as COMMAND INFO shows them.
    pub tips: &'static [&'static str],
    /// First Redis version that has it.
    pub since: &'static str,
    /// Time complexity in words.
    pub complexity: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its arguments, in the notation of [`super::syntax`].
    pub syntax: &'static str,
    /// What changed in which Redis version, as far as `syntax` does not tell.
    pub history: &'static [(&'static str, &'static str)],
    /// Whether there is something better.
    pub deprecated: Option<Deprecation>,
    /// The code. For a container command it is used where no subcommand fits.
    pub function: CommandFunction,
    /// Subcommands, if this is a container such as CLIENT; their arity counts the container's name too.
    pub subcommands: &'static [CommandSpec],
}

impl CommandSpec {
    /// A row with defaults, to be completed with struct update syntax:
    /// `CommandSpec { summary: "...", ..CommandSpec::new("get", 2, flags, KeySpec::FIRST, Group::String, get) }`.
    pub const fn new(
        name: &'static str,
        arity: i32,
        flags: Flags,
        keys: &'static [KeySpec],
        group: Group,
        function: CommandFunction,
    ) -> CommandSpec {
        CommandSpec {
            name,
            arity,
            flags,
            keys,
            other_database: None,
            offloaded_if: None,
            group,
            key_uses: &[],
            categories: None,
            tips: &[],
            since: "1.0.0",
            complexity: "O(1)",
            summary: "",
            syntax: "",
            history: &[],
            deprecated: None,
            function,
            subcommands: &[],
        }
    }

    /// The same row, first seen in another version.
    pub const fn with_since(self, since: &'static str) -> CommandSpec {
        CommandSpec { since, ..self }
    }

    /// The same row with another time complexity than O(1).
    pub const fn with_complexity(self, complexity: &'static str) -> CommandSpec {
        CommandSpec { complexity, ..self }
    }

    /// The same row with arguments, in the notation of [`super::syntax`].
    pub const fn with_syntax(self, syntax: &'static str) -> CommandSpec {
        CommandSpec { syntax, ..self }
    }

    /// The same row with changes that `syntax` does not tell of: the Redis version and what it brought.
    pub const fn with_history(
        self,
        history: &'static [(&'static str, &'static str)],
    ) -> CommandSpec {
        CommandSpec { history, ..self }
    }

    /// The same row, not to be used any more since a version, and what to use instead.
    pub const fn with_deprecated(
        self,
        since: &'static str,
        replaced_by: &'static str,
    ) -> CommandSpec {
        CommandSpec {
            deprecated: Some(Deprecation { since, replaced_by }),
            ..self
        }
    }

    /// True if this command line is run by a job, without shard locks.
    pub fn is_offloaded(&self, arguments: &[&[u8]]) -> bool {
        self.flags.has(Flags::OFFLOADED) || self.offloaded_if.is_some_and(|tells| tells(arguments))
    }

    /// The same row with this use of its keys.
    pub const fn with_key_uses(self, key_uses: &'static [KeyUse]) -> CommandSpec {
        CommandSpec { key_uses, ..self }
    }

    /// The same row with these ACL categories instead of the group's.
    pub const fn with_categories(self, categories: Categories) -> CommandSpec {
        CommandSpec {
            categories: Some(categories),
            ..self
        }
    }

    /// The same row with hints for clients.
    pub const fn with_tips(self, tips: &'static [&'static str]) -> CommandSpec {
        CommandSpec { tips, ..self }
    }

    /// The same row with more flags.
    pub const fn with_flags(self, flags: Flags) -> CommandSpec {
        CommandSpec {
            flags: self.flags.and(flags),
            ..self
        }
    }

    /// The subcommands that clients, statistics and ACL rules know of.
    pub const fn listed_subcommands(&self) -> &'static [CommandSpec] {
        if self.flags.has(Flags::ONE_COMMAND) {
            &[]
        } else {
            self.subcommands
        }
    }

    /// The argument that is the first key, if that does not depend on the others: what can be prefetched ahead.
    #[inline]
    pub const fn first_key(&self) -> Option<usize> {
        match self.keys {
            [KeySpec::Range { first, .. }, ..] => Some(*first),
            [KeySpec::Counted { count_index }, ..] => Some(*count_index + 1),
            _ => None,
        }
    }

    /// The argument that is the only key, in the session's database; `None` if there may be none or several.
    #[inline]
    pub const fn only_key(&self) -> Option<usize> {
        match self.keys {
            [KeySpec::Range { first, last, .. }]
                if *last == *first as i32 && self.other_database.is_none() =>
            {
                Some(*first)
            }
            _ => None,
        }
    }

    /// True if `count` arguments (with the name) are right.
    #[inline]
    pub fn arity_allows(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }

    /// Calls `found` with the index of every key among `arguments`. Counts that are not numbers or point past the
    /// end give no keys: the command itself reports them.
    pub fn for_each_key(&self, arguments: &[&[u8]], mut found: impl FnMut(usize)) {
        for keys in self.keys {
            match *keys {
                KeySpec::Range { first, last, step } => {
                    let last = if last < 0 {
                        arguments.len() as i64 + i64::from(last)
                    } else {
                        i64::from(last)
                    };
                    let last = last.min(arguments.len() as i64 - 1);
                    let mut index = first;
                    while (index as i64) <= last {
                        found(index);
                        index += step;
                    }
                }
                KeySpec::Found(find) => find(arguments).into_iter().for_each(&mut found),
                KeySpec::Counted { count_index } => {
                    counted_keys(arguments, count_index).for_each(&mut found);
                }
            }
        }
    }
}

/// The keys behind their number; none if that is no number or points past the end.
pub(super) fn counted_keys(arguments: &[&[u8]], count_index: usize) -> Range<usize> {
    let count = arguments
        .get(count_index)
        .and_then(|text| crate::resp::number::parse_integer(text))
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count <= arguments.len().saturating_sub(count_index + 1));
    let first = count_index + 1;
    first..first + count.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_flag_has_a_bit_of_its_own() {
        // Two people who add a flag at the same time take the same bit, and nothing else would tell.
        let flags = include_str!("spec.rs").lines().filter_map(|line| {
            let (name, value) = line
                .trim()
                .strip_prefix("pub const ")?
                .split_once(": Flags = ")?;
            Some((name, value.strip_prefix("Flags(")?.strip_suffix(");")?))
        });
        let flags: Vec<(&str, &str)> = flags.collect();
        assert!(flags.len() > 20, "the flags are found: {flags:?}");
        for (index, (name, bit)) in flags.iter().enumerate() {
            let same = flags[..index].iter().find(|(_, other)| other == bit);
            assert_eq!(same, None, "{name} has the bit of another flag");
        }
    }
}
