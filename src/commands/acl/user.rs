//! One user: whether it may log in and how, and its selectors.

use super::selector::{RuleError, Selector};
use crate::resp::quoting;
use ring::digest::{SHA256, digest};
use std::sync::{Arc, LazyLock};

/// Hexadecimal digits of a SHA-256.
const HASH_DIGITS: usize = 64;

/// See the module's comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name; no blanks.
    pub name: Vec<u8>,
    /// May log in.
    pub is_enabled: bool,
    /// Any password will do.
    pub needs_no_password: bool,
    /// RESTORE checks what it gets.
    pub sanitizes_payload: bool,
    /// SHA-256 of each password, in lower-case hexadecimal digits.
    pub passwords: Vec<String>,
    /// The root selector, then the others. At least one of them must allow a command.
    pub selectors: Vec<Selector>,
}

/// The SHA-256 of a password, in hexadecimal digits.
pub fn hash_password(password: &[u8]) -> String {
    let hash = digest(&SHA256, password);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Compares in a time that depends on the length only.
fn same_in_constant_time(left: &str, right: &str) -> bool {
    left.len() == right.len()
        && left
            .bytes()
            .zip(right.bytes())
            .fold(0, |differences, (left, right)| differences | left ^ right)
            == 0
}

fn checked_hash(text: &[u8]) -> Result<String, RuleError> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != HASH_DIGITS || !text.iter().all(is_digit) {
        return Err(RuleError::NotAHash);
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

impl User {
    /// A new user: off, no password, no permissions; all channels if `acl-pubsub-default` says so.
    pub fn new(name: &[u8], all_channels: bool) -> User {
        User {
            name: name.to_vec(),
            is_enabled: false,
            needs_no_password: false,
            sanitizes_payload: true,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
        }
    }

    /// The user `default` as it is before anybody changes it: everything, without a password.
    pub fn default_user() -> Arc<User> {
        static DEFAULT: LazyLock<Arc<User>> = LazyLock::new(|| {
            let mut user = User::new(b"default", true);
            user.is_enabled = true;
            user.needs_no_password = true;
            for rule in [&b"+@all"[..], b"~*"] {
                let outcome = user.selectors[0].apply(rule);
                debug_assert_eq!(outcome, Ok(()));
            }
            Arc::new(user)
        });
        Arc::clone(&DEFAULT)
    }

    /// True if nothing is forbidden, so that no command need be checked.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_unrestricted)
    }

    /// True if the user may log in with this password.
    pub fn accepts(&self, password: &[u8]) -> bool {
        if !self.is_enabled {
            return false;
        }
        if self.needs_no_password {
            return true;
        }
        let hash = hash_password(password);
        self.passwords.iter().fold(false, |found, known| {
            found | same_in_constant_time(known, &hash)
        })
    }

    /// Applies one rule.
    pub fn apply(&mut self, rule: &[u8], all_channels_by_default: bool) -> Result<(), RuleError> {
        let is = |name: &str| rule.eq_ignore_ascii_case(name.as_bytes());
        match rule {
            [] => return Ok(()),
            [b'>', password @ ..] => self.add_password(hash_password(password)),
            [b'#', hash @ ..] => self.add_password(checked_hash(hash)?),
            [b'<', password @ ..] => return self.remove_password(&hash_password(password)),
            [b'!', hash @ ..] => return self.remove_password(&checked_hash(hash)?),
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(all_channels_by_default);
                let rules = quoting::split(rules).map_err(|_| RuleError::Syntax)?;
                for rule in rules {
                    selector.apply(&rule)?;
                }
                self.selectors.push(selector);
            }
            _ if is("on") => self.is_enabled = true,
            _ if is("off") => self.is_enabled = false,
            _ if is("skip-sanitize-payload") => self.sanitizes_payload = false,
            _ if is("sanitize-payload") => self.sanitizes_payload = true,
            _ if is("nopass") => (self.needs_no_password, self.passwords) = (true, Vec::new()),
            _ if is("resetpass") => (self.needs_no_password, self.passwords) = (false, Vec::new()),
            _ if is("clearselectors") => self.selectors.truncate(1),
            _ if is("reset") => *self = User::new(&self.name, all_channels_by_default),
            _ => return self.selectors[0].apply(rule),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: String) {
        self.needs_no_password = false;
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
    }

    fn remove_password(&mut self, hash: &str) -> Result<(), RuleError> {
        let known = self.passwords.iter().position(|known| known == hash);
        self.passwords
            .remove(known.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// The names of its flags, as ACL GETUSER shows them.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_enabled { "on" } else { "off" }];
        if self.needs_no_password {
            flags.push("nopass");
        }
        flags.push(if self.sanitizes_payload {
            "sanitize-payload"
        } else {
            "skip-sanitize-payload"
        });
        flags
    }

    /// Rules that make this user, as ACL LIST and the ACL file show them, without `user` and the name.
    pub fn describe(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for flag in self.flags() {
            text.extend(flag.as_bytes());
            text.push(b' ');
        }
        for password in &self.passwords {
            text.push(b'#');
            text.extend(password.as_bytes());
            text.push(b' ');
        }
        text.extend(self.selectors[0].describe());
        for selector in &self.selectors[1..] {
            text.extend(b" (");
            text.extend(selector.describe());
            text.push(b')');
        }
        text
    }

    /// A whole line of an ACL file.
    pub fn line(&self) -> Vec<u8> {
        [b"user ", self.name.as_slice(), b" ", &self.describe()].concat()
    }

    /// True if somebody who was allowed a channel before may have lost it with this user in the place of `former`.
    pub fn takes_channels_from(&self, former: &User) -> bool {
        if self.selectors.iter().any(|selector| selector.all_channels) {
            return false;
        }
        let keeps = |channel: &Vec<u8>| {
            self.selectors
                .iter()
                .any(|selector| selector.channels.contains(channel))
        };
        former
            .selectors
            .iter()
            .any(|selector| selector.all_channels || !selector.channels.iter().all(keeps))
    }

    /// True if a channel, or a pattern of channels, may be subscribed to.
    pub fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors
            .iter()
            .any(|selector| selector.allows_channel(channel, is_pattern))
    }
}
