//! Classes of keyspace notifications: what `notify-keyspace-events` turns on.

/// A set of classes. 0 publishes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceEvents(u16);

/// Each class and its letter, in the order in which they are printed.
const LETTERS: [(char, KeyspaceEvents); 15] = [
    ('g', KeyspaceEvents::GENERIC),
    ('$', KeyspaceEvents::STRING),
    ('l', KeyspaceEvents::LIST),
    ('s', KeyspaceEvents::SET),
    ('h', KeyspaceEvents::HASH),
    ('z', KeyspaceEvents::SORTED_SET),
    ('x', KeyspaceEvents::EXPIRED),
    ('e', KeyspaceEvents::EVICTED),
    ('t', KeyspaceEvents::STREAM),
    ('d', KeyspaceEvents::MODULE),
    ('n', KeyspaceEvents::NEW),
    ('K', KeyspaceEvents::KEYSPACE),
    ('E', KeyspaceEvents::KEYEVENT),
    ('m', KeyspaceEvents::MISS),
    ('A', KeyspaceEvents::ALL),
];

impl KeyspaceEvents {
    /// Commands that work on any type: DEL, EXPIRE, RENAME.
    pub const GENERIC: KeyspaceEvents = KeyspaceEvents(1);
    /// String commands.
    pub const STRING: KeyspaceEvents = KeyspaceEvents(1 << 1);
    /// List commands.
    pub const LIST: KeyspaceEvents = KeyspaceEvents(1 << 2);
    /// Set commands.
    pub const SET: KeyspaceEvents = KeyspaceEvents(1 << 3);
    /// Hash commands.
    pub const HASH: KeyspaceEvents = KeyspaceEvents(1 << 4);
    /// Sorted set commands.
    pub const SORTED_SET: KeyspaceEvents = KeyspaceEvents(1 << 5);
    /// Keys that expired.
    pub const EXPIRED: KeyspaceEvents = KeyspaceEvents(1 << 6);
    /// Keys that were evicted.
    pub const EVICTED: KeyspaceEvents = KeyspaceEvents(1 << 7);
    /// Stream commands.
    pub const STREAM: KeyspaceEvents = KeyspaceEvents(1 << 8);
    /// Module types; nothing here raises them.
    pub const MODULE: KeyspaceEvents = KeyspaceEvents(1 << 9);
    /// Keys that were created; not part of [`ALL`](Self::ALL).
    pub const NEW: KeyspaceEvents = KeyspaceEvents(1 << 10);
    /// Reads of keys that do not exist; not part of [`ALL`](Self::ALL).
    pub const MISS: KeyspaceEvents = KeyspaceEvents(1 << 11);
    /// Publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: KeyspaceEvents = KeyspaceEvents(1 << 12);
    /// Publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: KeyspaceEvents = KeyspaceEvents(1 << 13);
    /// All classes of events, except those that must be named.
    pub const ALL: KeyspaceEvents = KeyspaceEvents((1 << 10) - 1);

    /// Reads the letters of the directive; None if one of them means nothing.
    pub fn parse(letters: &str) -> Option<KeyspaceEvents> {
        letters.chars().try_fold(KeyspaceEvents(0), |sum, letter| {
            let (_, class) = LETTERS.iter().find(|(known, _)| *known == letter)?;
            Some(KeyspaceEvents(sum.0 | class.0))
        })
    }

    /// Whether all of `classes` are on.
    #[inline]
    pub fn contains(self, classes: KeyspaceEvents) -> bool {
        self.0 & classes.0 == classes.0
    }

    /// Whether an event of `class` is to be published to any channel.
    #[inline]
    pub fn publishes(self, class: KeyspaceEvents) -> bool {
        self.contains(class) && self.0 & (Self::KEYSPACE.0 | Self::KEYEVENT.0) != 0
    }

    /// The letters in Redis's order, `A` in place of the classes it stands for.
    pub fn letters(self) -> String {
        let all = self.contains(Self::ALL);
        let covered = |class: KeyspaceEvents| all && Self::ALL.contains(class);
        let rest = LETTERS
            .iter()
            .filter(|(letter, class)| *letter != 'A' && self.contains(*class) && !covered(*class));
        let rest = rest.map(|(letter, _)| *letter);
        all.then_some('A').into_iter().chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_put_in_order() {
        let cases: &[(&str, Option<&str>)] = &[
            ("", Some("")),
            ("K", Some("K")),
            ("Kg$", Some("g$K")),
            ("KEA", Some("AKE")),
            ("mKEA", Some("AKEm")),
            ("g$lshzxetdK", Some("AK")),
            ("Exn", Some("xnE")),
            ("q", None),
            ("Kq", None),
        ];
        for (letters, expected) in cases {
            let printed = KeyspaceEvents::parse(letters).map(KeyspaceEvents::letters);
            assert_eq!(printed.as_deref(), *expected, "{letters}");
        }
    }

    #[test]
    fn publishing_needs_a_class_and_a_channel() {
        let cases = [
            ("Kx", true),
            ("EA", true),
            ("x", false),
            ("Kg", false),
            ("A", false),
            ("", false),
        ];
        for (letters, expected) in cases {
            let events = KeyspaceEvents::parse(letters).unwrap_or_default();
            assert_eq!(
                events.publishes(KeyspaceEvents::EXPIRED),
                expected,
                "{letters}"
            );
        }
    }
}
