//! Classes of keyspace events: what `notify-keyspace-events` turns on, in its own letters.
//!
//! A leaf of its own because both the settings and the keyspace need it. Shown as Redis 7.2 shows it, except that `n` stays
//! visible beside `A`, so that CONFIG REWRITE does not lose it.

use std::fmt;

/// A set of event classes (and of the two kinds of channels), as `notify-keyspace-events` spells them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventClasses(u32);

/// The letters of the classes, in the order in which CONFIG GET shows them.
const LETTERS: &[(char, EventClasses)] = &[
    ('g', EventClasses::GENERIC),
    ('$', EventClasses::STRING),
    ('l', EventClasses::LIST),
    ('s', EventClasses::SET),
    ('h', EventClasses::HASH),
    ('z', EventClasses::SORTED_SET),
    ('x', EventClasses::EXPIRED),
    ('e', EventClasses::EVICTED),
    ('t', EventClasses::STREAM),
    ('d', EventClasses::MODULE),
    ('n', EventClasses::NEW),
    ('K', EventClasses::KEYSPACE),
    ('E', EventClasses::KEYEVENT),
    ('m', EventClasses::KEY_MISS),
];

impl EventClasses {
    /// None.
    pub const NONE: EventClasses = EventClasses(0);
    /// `K`: events are published on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: EventClasses = EventClasses(1);
    /// `E`: events are published on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    /// `g`: DEL, EXPIRE, RENAME and other commands of no type.
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    /// `$`: string commands.
    pub const STRING: EventClasses = EventClasses(1 << 3);
    /// `l`: list commands.
    pub const LIST: EventClasses = EventClasses(1 << 4);
    /// `s`: set commands.
    pub const SET: EventClasses = EventClasses(1 << 5);
    /// `h`: hash commands.
    pub const HASH: EventClasses = EventClasses(1 << 6);
    /// `z`: sorted set commands.
    pub const SORTED_SET: EventClasses = EventClasses(1 << 7);
    /// `x`: a key expired.
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    /// `e`: a key was evicted.
    pub const EVICTED: EventClasses = EventClasses(1 << 9);
    /// `t`: stream commands.
    pub const STREAM: EventClasses = EventClasses(1 << 10);
    /// `m`: a key was looked for that does not exist; not part of `A`.
    pub const KEY_MISS: EventClasses = EventClasses(1 << 11);
    /// `d`: module types, of which there are none here.
    pub const MODULE: EventClasses = EventClasses(1 << 12);
    /// `n`: a key was made; not part of `A`.
    pub const NEW: EventClasses = EventClasses(1 << 13);
    /// `A`: `g$lshzxetd`.
    pub const ALL: EventClasses = EventClasses(0b1_0111_1111_1100);

    /// Both sets together.
    pub const fn and(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 | other.0)
    }

    /// This set less the other.
    pub const fn without(self, other: EventClasses) -> EventClasses {
        EventClasses(self.0 & !other.0)
    }

    /// True if all of `other` is in here.
    pub const fn has(self, other: EventClasses) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if no class is in here, or no kind of channel: then nothing is ever published.
    pub const fn publishes_nothing(self) -> bool {
        self.0 & 3 == 0 || self.0 & !3 == 0
    }

    /// This set, or none if it publishes nothing: what is worth listening to.
    pub const fn worth_keeping(self) -> EventClasses {
        if self.publishes_nothing() {
            EventClasses::NONE
        } else {
            self
        }
    }

    /// Reads letters; `None` if one is unknown.
    pub fn parse(letters: &str) -> Option<EventClasses> {
        letters.chars().try_fold(EventClasses::NONE, |sum, letter| {
            if letter == 'A' {
                return Some(sum.and(EventClasses::ALL));
            }
            let (_, class) = LETTERS.iter().find(|(known, _)| *known == letter)?;
            Some(sum.and(*class))
        })
    }
}

impl fmt::Display for EventClasses {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has(EventClasses::ALL) {
            write!(formatter, "A")?;
        }
        for (letter, class) in LETTERS {
            let is_shown_by_all = self.has(EventClasses::ALL) && EventClasses::ALL.has(*class);
            if self.has(*class) && !is_shown_by_all {
                write!(formatter, "{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read_and_shown_as_redis_does() {
        for (letters, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kg$lshzxetd", "AK"),
            ("El", "lE"),
            ("KEx$", "$xKE"),
            ("KEAmn", "AnKEm"),
            ("Exn", "xnE"),
        ] {
            let classes = EventClasses::parse(letters).expect("known letters");
            assert_eq!(classes.to_string(), shown, "{letters}");
            assert_eq!(EventClasses::parse(shown), Some(classes));
        }
        assert_eq!(EventClasses::parse("KEq"), None);
        assert!(EventClasses::parse("A").is_some_and(EventClasses::publishes_nothing));
        assert!(EventClasses::parse("KE").is_some_and(EventClasses::publishes_nothing));
        assert!(!EventClasses::parse("Kg").is_some_and(EventClasses::publishes_nothing));
    }
}
