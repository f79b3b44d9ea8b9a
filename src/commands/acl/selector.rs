//! A selector: a set of commands together with the keys and channels that they may be used on.
//!
//! Commands are bits by the number of their row. The rules that led to the bits are kept as text, because ACL LIST and
//! the ACL file show rules and not bits; a rule that a later one overrides is forgotten.

use crate::commands::categories::{Categories, categories};
use crate::commands::table::{self, Row};
use crate::glob;

/// Why a rule was not understood; its text is the one that ACL SETUSER shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// No such command or category.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// Not a rule.
    #[error("Syntax error")]
    Syntax,
    /// A key pattern behind `~*`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AfterAllKeys,
    /// A channel pattern behind `&*`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try \
         'resetchannels' to start with an empty list of channels"
    )]
    AfterAllChannels,
    /// `<` or `!` of a password that the user has not.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `#` or `!` with something that is no SHA-256.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    NotAHash,
    /// `+container|subcommand|argument`.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgumentOfSubcommand,
}

/// A pattern of keys, and what may be done with those that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// A glob pattern.
    pub pattern: Vec<u8>,
    /// Their content may be read.
    pub reads: bool,
    /// They may be changed.
    pub writes: bool,
}

/// See the module's comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// A bit for each row.
    allowed: Vec<u64>,
    /// No command was taken away since `+@all`.
    pub all_commands: bool,
    /// The rules begin with `+@all`.
    begins_with_all: bool,
    /// `+get`, `-@read` ..., in the order in which they came.
    rules: Vec<String>,
    /// Commands that are allowed with this first argument only.
    first_arguments: Vec<(usize, String)>,
    /// `~*`.
    pub all_keys: bool,
    /// `~`, `%R~`, `%W~`.
    pub keys: Vec<KeyPattern>,
    /// `&*`.
    pub all_channels: bool,
    /// `&`.
    pub channels: Vec<Vec<u8>>,
}

fn has_blanks(text: &[u8]) -> bool {
    text.iter()
        .any(|byte| byte.is_ascii_whitespace() || *byte == 0 || *byte == 0x0b)
}

impl Selector {
    /// Nothing is allowed, except perhaps all channels.
    pub fn new(all_channels: bool) -> Selector {
        Selector {
            all_channels,
            ..Selector::default()
        }
    }

    /// True if nothing is forbidden.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// True if a command is allowed, whatever its arguments.
    fn allows_row(&self, number: usize) -> bool {
        let word = self.allowed.get(number / 64).copied().unwrap_or(0);
        word >> (number % 64) & 1 == 1
    }

    /// True if the command may be run with this first argument (the second one of a subcommand).
    pub fn allows_command(&self, row: Row, arguments: &[&[u8]]) -> bool {
        if self.all_commands || self.allows_row(row.number) {
            return true;
        }
        let is_subcommand = table::listed()[row.number].container.is_some();
        let first = arguments.get(if is_subcommand { 2 } else { 1 });
        first.is_some_and(|first| {
            self.first_arguments.iter().any(|(number, allowed)| {
                *number == row.number && allowed.as_bytes().eq_ignore_ascii_case(first)
            })
        })
    }

    /// True if a key may be used in this way.
    pub fn allows_key(&self, key: &[u8], reads: bool, writes: bool) -> bool {
        self.all_keys
            || self.keys.iter().any(|pattern| {
                (pattern.reads || !reads)
                    && (pattern.writes || !writes)
                    && glob::matches(&pattern.pattern, key)
            })
    }

    /// True if every key may be read, because a pattern says so and not by chance.
    pub fn reads_all_keys(&self) -> bool {
        let is_everything = |key: &KeyPattern| key.reads && key.pattern == b"*";
        self.all_keys || self.keys.iter().any(is_everything)
    }

    /// True if a channel, or a pattern of channels, may be used. A pattern must be allowed literally.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| {
                if is_pattern {
                    allowed == channel
                } else {
                    glob::matches(allowed, channel)
                }
            })
    }

    /// Applies one rule about commands, keys or channels.
    pub fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let is = |name: &str| rule.eq_ignore_ascii_case(name.as_bytes());
        if is("allkeys") || is("~*") {
            (self.all_keys, self.keys) = (true, Vec::new());
        } else if is("resetkeys") {
            (self.all_keys, self.keys) = (false, Vec::new());
        } else if is("allchannels") || is("&*") {
            (self.all_channels, self.channels) = (true, Vec::new());
        } else if is("resetchannels") {
            (self.all_channels, self.channels) = (false, Vec::new());
        } else if is("allcommands") || is("+@all") {
            self.set_all_commands(true);
        } else if is("nocommands") || is("-@all") {
            self.set_all_commands(false);
        } else {
            return match rule {
                [b'~' | b'%', ..] => self.add_keys(rule),
                [b'&', channel @ ..] => self.add_channel(channel),
                [b'+' | b'-', b'@', name @ ..] => self.set_category(rule[0] == b'+', name),
                [b'+', name @ ..] => self.allow(name),
                [b'-', name @ ..] => self.forbid(name),
                _ => Err(RuleError::Syntax),
            };
        }
        Ok(())
    }

    fn set_all_commands(&mut self, allowed: bool) {
        let words = table::listed().len().div_ceil(64);
        self.allowed = vec![if allowed { u64::MAX } else { 0 }; words];
        (self.all_commands, self.begins_with_all) = (allowed, allowed);
        self.rules.clear();
        self.first_arguments.clear();
    }

    fn set_row(&mut self, number: usize, allowed: bool) {
        if self.allowed.len() <= number / 64 {
            self.allowed.resize(table::listed().len().div_ceil(64), 0);
        }
        let bit = 1 << (number % 64);
        if allowed {
            self.allowed[number / 64] |= bit;
        } else {
            self.allowed[number / 64] &= !bit;
            self.all_commands = false;
        }
    }

    /// A command with all its subcommands.
    fn set_command(&mut self, row: Row, allowed: bool) {
        self.first_arguments
            .retain(|(number, _)| *number != row.number);
        for number in row.number..=row.number + row.spec.listed_subcommands().len() {
            self.set_row(number, allowed);
        }
    }

    fn note_rule(&mut self, allowed: bool, name: &str) {
        let name = name.to_ascii_lowercase();
        // What the new rule overrides is forgotten: the same name, and for a container its subcommands.
        self.rules.retain(|rule| {
            rule[1..]
                .strip_prefix(&name)
                .is_none_or(|rest| !rest.is_empty() && !rest.starts_with('|'))
        });
        self.rules
            .push(format!("{}{name}", if allowed { '+' } else { '-' }));
    }

    fn set_category(&mut self, allowed: bool, name: &[u8]) -> Result<(), RuleError> {
        let category: Categories = Categories::named(name).ok_or(RuleError::Unknown)?;
        self.note_rule(allowed, &format!("@{}", String::from_utf8_lossy(name)));
        for (number, row) in table::listed().iter().enumerate() {
            if categories(row.spec).has(category) {
                let spec = row.spec;
                self.set_command(Row { number, spec }, allowed);
            }
        }
        Ok(())
    }

    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let text = String::from_utf8_lossy(name).into_owned();
        let Some((command, argument)) = text.rsplit_once('|') else {
            let row = table::by_full_name(name).ok_or(RuleError::Unknown)?;
            self.set_command(row, true);
            self.note_rule(true, &text);
            return Ok(());
        };
        let row = table::by_full_name(command.as_bytes()).ok_or(RuleError::Unknown)?;
        if command.contains('|') {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        match table::by_full_name(name) {
            Some(subcommand) => self.set_command(subcommand, true),
            None if row.spec.listed_subcommands().is_empty() => {
                self.first_arguments
                    .push((row.number, argument.to_ascii_lowercase()));
            }
            None => return Err(RuleError::Unknown),
        }
        self.note_rule(true, &text);
        Ok(())
    }

    fn forbid(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let row = table::by_full_name(name).ok_or(RuleError::Unknown)?;
        self.set_command(row, false);
        self.note_rule(false, &String::from_utf8_lossy(name));
        Ok(())
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let (mut reads, mut writes) = (rule[0] == b'~', rule[0] == b'~');
        let mut pattern = &rule[1..];
        if rule[0] == b'%' {
            loop {
                match pattern {
                    [b'r' | b'R', rest @ ..] if !reads => (reads, pattern) = (true, rest),
                    [b'w' | b'W', rest @ ..] if !writes => (writes, pattern) = (true, rest),
                    [b'~', rest @ ..] if reads || writes => {
                        pattern = rest;
                        break;
                    }
                    _ => return Err(RuleError::Syntax),
                }
            }
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.reads |= reads;
                known.writes |= writes;
            }
            None => self.keys.push(KeyPattern {
                pattern: pattern.to_vec(),
                reads,
                writes,
            }),
        }
        Ok(())
    }

    fn add_channel(&mut self, channel: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if has_blanks(channel) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == channel) {
            self.channels.push(channel.to_vec());
        }
        Ok(())
    }

    /// The rules about commands: `+@all -debug`.
    pub fn command_rules(&self) -> String {
        let first = if self.begins_with_all {
            "+@all"
        } else {
            "-@all"
        };
        let rules = self.rules.iter().map(String::as_str);
        std::iter::once(first)
            .chain(rules)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The patterns of keys: `~a* %R~b*`.
    pub fn key_rules(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules = self.keys.iter().map(|key| {
            let mark: &[u8] = match (key.reads, key.writes) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [mark, &key.pattern].concat()
        });
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels: `&a &b*`.
    pub fn channel_rules(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules = self
            .channels
            .iter()
            .map(|channel| [b"&", channel.as_slice()].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// Everything, as in an ACL file.
    pub fn describe(&self) -> Vec<u8> {
        let mut text = self.key_rules();
        if !text.is_empty() {
            text.push(b' ');
        }
        if !self.all_channels {
            text.extend(b"resetchannels ");
        }
        let channels = self.channel_rules();
        text.extend(&channels);
        if !channels.is_empty() {
            text.push(b' ');
        }
        text.extend(self.command_rules().as_bytes());
        text
    }
}
