//! What a command does to each of its keys: what COMMAND INFO shows as key specifications, and what ACL rules such as
//! `%R~` are checked against.
//!
//! [`KeySpec`] says where the keys are that dispatch must lock. A [`KeyUse`] adds what is done to them; most rows leave
//! it to the defaults. A use stands for the key specification of the same index, unless it names a place of its own,
//! as it must where a function finds the keys.

use super::spec::{CommandSpec, Flags, KeySpec};

/// A set of properties of a key argument, as COMMAND INFO names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyFlags(pub u16);

impl KeyFlags {
    /// Read only.
    pub const RO: KeyFlags = KeyFlags(1);
    /// Read and written.
    pub const RW: KeyFlags = KeyFlags(1 << 1);
    /// Overwritten, whatever it was.
    pub const OW: KeyFlags = KeyFlags(1 << 2);
    /// Removed.
    pub const RM: KeyFlags = KeyFlags(1 << 3);
    /// Something of its content gets out.
    pub const ACCESS: KeyFlags = KeyFlags(1 << 4);
    /// Content is replaced or changed.
    pub const UPDATE: KeyFlags = KeyFlags(1 << 5);
    /// Content is added.
    pub const INSERT: KeyFlags = KeyFlags(1 << 6);
    /// Content is removed.
    pub const DELETE: KeyFlags = KeyFlags(1 << 7);
    /// Looks like a key and is none: a shard channel.
    pub const NOT_KEY: KeyFlags = KeyFlags(1 << 8);
    /// There may be more keys than the place says.
    pub const INCOMPLETE: KeyFlags = KeyFlags(1 << 9);
    /// The arguments decide about the flags.
    pub const VARIABLE_FLAGS: KeyFlags = KeyFlags(1 << 10);

    /// Both sets together.
    pub const fn and(self, other: KeyFlags) -> KeyFlags {
        KeyFlags(self.0 | other.0)
    }
    /// This set less what is in `other`.
    pub const fn without(self, other: KeyFlags) -> KeyFlags {
        KeyFlags(self.0 & !other.0)
    }
    /// True if all of `other` is in here.
    pub const fn has(self, other: KeyFlags) -> bool {
        self.0 & other.0 == other.0
    }
    /// True if something of the key gets out, so that permission to read it is needed.
    pub const fn reads(self) -> bool {
        self.has(KeyFlags::ACCESS)
    }
    /// True if the key may be changed, so that permission to write it is needed.
    pub const fn writes(self) -> bool {
        self.0 & (KeyFlags::UPDATE.0 | KeyFlags::INSERT.0 | KeyFlags::DELETE.0) != 0
    }
    /// The names of all that are set, in Redis's order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(KeyFlags, &str); 11] = [
            (KeyFlags::RO, "RO"),
            (KeyFlags::RW, "RW"),
            (KeyFlags::OW, "OW"),
            (KeyFlags::RM, "RM"),
            (KeyFlags::ACCESS, "access"),
            (KeyFlags::UPDATE, "update"),
            (KeyFlags::INSERT, "insert"),
            (KeyFlags::DELETE, "delete"),
            (KeyFlags::NOT_KEY, "not_key"),
            (KeyFlags::INCOMPLETE, "incomplete"),
            (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
        ];
        NAMES
            .into_iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| name)
    }
}

/// Where the keys of a [`KeyUse`] are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Where the row's key specification of the same index says.
    AsSpecified,
    /// Arguments `first`, `first + step` ... up to `last`; a negative `last` counts from the end.
    Range {
        /// Index of the first key.
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
    /// Behind a keyword among the options.
    Keyword {
        /// The keyword.
        word: &'static str,
        /// From which argument on it is looked for; a negative number looks backwards from there.
        from: i32,
        /// Last key, counted from the first; negative: from the end.
        last: i32,
        /// 2: only the first half of what is left are keys; 0: no such limit.
        limit: usize,
    },
    /// Options decide, in a way that only a function knows.
    Unknown,
}

/// Tells from the arguments what is done to a key.
pub type DecideFlags = fn(&[&[u8]]) -> KeyFlags;

/// What a command does to some of its keys.
#[derive(Clone, Copy, Debug)]
pub struct KeyUse {
    /// What is done.
    pub flags: KeyFlags,
    /// To which keys.
    pub place: Place,
    /// Tells the flags from the arguments, where they depend on them.
    pub decide: Option<DecideFlags>,
    /// Why it is like this, where that is not plain.
    pub note: Option<&'static str>,
}

impl KeyUse {
    /// Returns content.
    pub const READ: KeyUse = KeyUse::of(KeyFlags::RO.and(KeyFlags::ACCESS));
    /// Returns nothing but what the key is: its type, its size, its deadline.
    pub const LOOK: KeyUse = KeyUse::of(KeyFlags::RO);
    /// Replaces the value.
    pub const REPLACE: KeyUse = KeyUse::of(KeyFlags::OW.and(KeyFlags::UPDATE));
    /// Creates the key.
    pub const CREATE: KeyUse = KeyUse::of(KeyFlags::OW.and(KeyFlags::INSERT));
    /// Changes content.
    pub const UPDATE: KeyUse = KeyUse::of(KeyFlags::RW.and(KeyFlags::UPDATE));
    /// Changes content and returns some.
    pub const CHANGE: KeyUse = KeyUse::of(KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE));
    /// Adds content.
    pub const INSERT: KeyUse = KeyUse::of(KeyFlags::RW.and(KeyFlags::INSERT));
    /// Removes content.
    pub const DELETE: KeyUse = KeyUse::of(KeyFlags::RW.and(KeyFlags::DELETE));
    /// Removes content and returns it.
    pub const TAKE: KeyUse = KeyUse::of(KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE));
    /// Removes the key.
    pub const REMOVE: KeyUse = KeyUse::of(KeyFlags::RM.and(KeyFlags::DELETE));
    /// Reads and may change in any way (scripts).
    pub const ANY: KeyUse = KeyUse::of(KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE));

    /// These flags for the row's key specification of the same index.
    pub const fn of(flags: KeyFlags) -> KeyUse {
        KeyUse {
            flags,
            place: Place::AsSpecified,
            decide: None,
            note: None,
        }
    }
    /// The same with more flags.
    pub const fn and(mut self, flags: KeyFlags) -> KeyUse {
        self.flags = self.flags.and(flags);
        self
    }
    /// For arguments `first` to `last`.
    pub const fn at(mut self, first: usize, last: i32) -> KeyUse {
        self.place = Place::Range {
            first,
            last,
            step: 1,
        };
        self
    }
    /// For the keys that the number in argument `count_index` counts.
    pub const fn counted(mut self, count_index: usize) -> KeyUse {
        self.place = Place::Counted { count_index };
        self
    }
    /// For what follows a keyword.
    pub const fn after(mut self, word: &'static str, from: i32, last: i32, limit: usize) -> KeyUse {
        self.place = Place::Keyword {
            word,
            from,
            last,
            limit,
        };
        self
    }
    /// For keys that only a function finds.
    pub const fn somewhere(mut self) -> KeyUse {
        self.place = Place::Unknown;
        self
    }
    /// With a remark for people.
    pub const fn noted(mut self, note: &'static str) -> KeyUse {
        self.note = Some(note);
        self
    }
    /// With flags that depend on the arguments.
    pub const fn decided_by(mut self, decide: fn(&[&[u8]]) -> KeyFlags) -> KeyUse {
        self.decide = Some(decide);
        self.and(KeyFlags::VARIABLE_FLAGS)
    }
}

/// The uses of a row, each with its place; by default derived from its key specifications and flags: commands that only
/// read, read all; commands that write change all, and where there are several specifications, overwrite the first
/// and read the others.
pub fn key_uses(spec: &CommandSpec) -> Vec<KeyUse> {
    if spec.key_uses.is_empty() {
        return (0..spec.keys.len())
            .map(|index| {
                let use_of_all = if !spec.flags.has(Flags::WRITE) {
                    KeyUse::READ
                } else if spec.keys.len() == 1 {
                    KeyUse::UPDATE
                } else if index == 0 {
                    KeyUse::REPLACE
                } else {
                    KeyUse::READ
                };
                placed(spec, index, use_of_all)
            })
            .collect();
    }
    let uses = spec.key_uses.iter().enumerate();
    uses.map(|(index, key_use)| placed(spec, index, *key_use))
        .collect()
}

fn placed(spec: &CommandSpec, index: usize, mut key_use: KeyUse) -> KeyUse {
    if key_use.place == Place::AsSpecified {
        key_use.place = match spec.keys.get(index) {
            Some(KeySpec::Range { first, last, step }) => Place::Range {
                first: *first,
                last: *last,
                step: *step,
            },
            Some(KeySpec::Counted { count_index }) => Place::Counted {
                count_index: *count_index,
            },
            Some(KeySpec::Found(_)) | None => Place::Unknown,
        };
    }
    key_use
}

/// Calls `found` with index and flags of every key among `arguments`. Of several uses without a place the last one counts:
/// SORT's destination; what BY and GET read is not among its arguments.
pub fn for_each_key_use(
    spec: &CommandSpec,
    arguments: &[&[u8]],
    mut found: impl FnMut(usize, KeyFlags),
) {
    let uses = key_uses(spec);
    spec.for_each_key(arguments, |index| {
        let its_use = uses
            .iter()
            .find(|key_use| covers(key_use.place, arguments, index))
            .or_else(|| uses.iter().rfind(|key_use| key_use.place == Place::Unknown))
            .or(uses.first());
        let flags = its_use.map_or(KeyUse::READ.flags, |key_use| {
            key_use
                .decide
                .map_or(key_use.flags, |decide| decide(arguments))
        });
        // That more keys might follow says nothing of this one.
        found(index, flags.without(KeyFlags::INCOMPLETE));
    });
}

/// True if the key at `index` is one of this place.
fn covers(place: Place, arguments: &[&[u8]], index: usize) -> bool {
    let end = |last: i32| {
        if last < 0 {
            (arguments.len() as i64 + i64::from(last)).max(0) as usize
        } else {
            last as usize
        }
    };
    match place {
        Place::Range { first, last, step } => {
            index >= first && index <= end(last) && (index - first).is_multiple_of(step)
        }
        Place::Counted { count_index } => index > count_index,
        Place::Keyword { word, last, .. } => {
            let is_word = |at: usize| arguments[at].eq_ignore_ascii_case(word.as_bytes());
            if last == 0 {
                index > 0 && is_word(index - 1)
            } else {
                (1..index).any(is_word)
            }
        }
        Place::AsSpecified | Place::Unknown => false,
    }
}

/// First key, last key and step as the older fields of COMMAND INFO show them, and whether they do not say all.
pub fn legacy_range(spec: &CommandSpec) -> ((i64, i64, i64), bool) {
    let uses = key_uses(spec);
    if let [key_use] = &*uses
        && let Place::Range { first, last, step } = key_use.place
    {
        let is_incomplete = key_use.flags.has(KeyFlags::INCOMPLETE);
        return ((first as i64, i64::from(last), step as i64), is_incomplete);
    }
    let (mut range, mut incomplete): (Option<(i64, i64)>, bool) = (None, false);
    for key_use in &uses {
        incomplete |= key_use.flags.has(KeyFlags::INCOMPLETE);
        match (key_use.place, range) {
            (
                Place::Range {
                    first,
                    last,
                    step: 1,
                },
                None,
            ) => {
                range = Some((first as i64, i64::from(last)));
            }
            (
                Place::Range {
                    first,
                    last,
                    step: 1,
                },
                Some((from, to)),
            ) if to + 1 == first as i64 => {
                range = Some((from, i64::from(last)));
            }
            _ => incomplete = true,
        }
    }
    let shown = range.map_or((0, 0, 0), |(first, last)| (first, last, 1));
    (shown, incomplete || !uses.is_empty() && range.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::transactions::resolve;

    fn uses_of(line: &str) -> Vec<(String, String)> {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let spec = resolve(&arguments).expect("a command").spec;
        let mut found = Vec::new();
        for_each_key_use(spec, &arguments, |index, flags| {
            let key = String::from_utf8_lossy(arguments[index]).into_owned();
            found.push((key, flags.names().collect::<Vec<_>>().join(" ")));
        });
        found
    }

    #[test]
    fn keys_are_found_with_what_is_done_to_them() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("GET a", &[("a", "RO access")]),
            ("EXISTS a b", &[("a", "RO"), ("b", "RO")]),
            ("DEL a b", &[("a", "RM delete"), ("b", "RM delete")]),
            ("SET a 1", &[("a", "OW update")]),
            ("SET a 1 EX 5 GET", &[("a", "RW access update")]),
            ("LPOP a", &[("a", "RW access delete")]),
            (
                "LMOVE a b LEFT LEFT",
                &[("a", "RW access delete"), ("b", "RW insert")],
            ),
            ("COPY a b", &[("a", "RO access"), ("b", "OW update")]),
            ("MSET a 1 b 2", &[("a", "OW update"), ("b", "OW update")]),
            (
                "SINTERSTORE d a b",
                &[("d", "RW update"), ("a", "RO access"), ("b", "RO access")],
            ),
            (
                "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
                &[("d", "OW update"), ("a", "RO access"), ("b", "RO access")],
            ),
            ("PING", &[]),
        ];
        for (line, expected) in cases {
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(key, flags)| ((*key).into(), (*flags).into()))
                .collect();
            assert_eq!(uses_of(line), expected, "{line}");
        }
    }
}
