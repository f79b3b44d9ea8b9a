//! All users: one table that is replaced as a whole, and what changes it.

use super::log::AclLog;
use super::user::User;
use crate::resp::quoting;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Users by name.
pub type UserTable = BTreeMap<Vec<u8>, Arc<User>>;

/// See the module's comment.
pub struct Users {
    table: RwLock<Arc<UserTable>>,
    /// Grows with every new table.
    version: AtomicU64,
    /// Held by whoever makes a new table, so that two do not lose each other's changes.
    changing: Mutex<()>,
    /// What was denied.
    pub log: AclLog,
}

/// What a change of users means for clients that are connected.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// These users are no more: their clients go.
    pub gone: Vec<Vec<u8>>,
    /// These may not use some channels any more: those of their clients go that subscribe to one of them.
    pub lost_channels: Vec<Vec<u8>>,
}

impl Default for Users {
    fn default() -> Users {
        let default = User::default_user();
        Users {
            table: RwLock::new(Arc::new(BTreeMap::from([(default.name.clone(), default)]))),
            version: AtomicU64::new(1),
            changing: Mutex::new(()),
            log: AclLog::default(),
        }
    }
}

/// Joins the words of selectors that were split at blanks: `(+get`, `~a)` is one rule. The error is the index of a
/// parenthesis that is not closed.
pub fn join_selectors(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, usize> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (index, word) in words.iter().enumerate() {
        if let Some((from, mut selector)) = open.take() {
            selector.push(b' ');
            selector.extend(*word);
            if word.ends_with(b")") {
                rules.push(selector);
            } else {
                open = Some((from, selector));
            }
        } else if word.starts_with(b"(") && !word.ends_with(b")") {
            open = Some((index, word.to_vec()));
        } else {
            rules.push(word.to_vec());
        }
    }
    open.map_or(Ok(rules), |(from, _)| Err(from))
}

/// True if a user cannot have this name.
pub fn is_bad_name(name: &[u8]) -> bool {
    name.iter()
        .any(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

impl Users {
    /// All users now, and the version of the table.
    pub fn current(&self) -> (Arc<UserTable>, u64) {
        let table = self.table.read();
        (Arc::clone(&table), self.version())
    }

    /// Grows with every change.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A user by name.
    pub fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.table.read().get(name).cloned()
    }

    /// True if clients are let in as `default` without a password.
    pub fn default_needs_no_password(&self) -> bool {
        self.get(b"default")
            .is_some_and(|user| user.is_enabled && user.needs_no_password)
    }

    /// The user, if name and password are right.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        self.get(name).filter(|user| user.accepts(password))
    }

    fn publish(&self, table: UserTable) {
        let mut current = self.table.write();
        *current = Arc::new(table);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// ACL SETUSER: applies all rules to a user that exists or is made, or none of them. The error is its text.
    pub fn set(
        &self,
        name: &[u8],
        words: &[&[u8]],
        all_channels: bool,
    ) -> Result<Aftermath, String> {
        let rules = join_selectors(words).map_err(|from| {
            let word = String::from_utf8_lossy(words[from]);
            format!("Unmatched parenthesis in acl selector starting at '{word}'.")
        })?;
        let _changing = self.changing.lock();
        let mut table = UserTable::clone(&self.current().0);
        let former = table.get(name);
        let mut user = former.map_or_else(
            || User::new(name, all_channels),
            |former| User::clone(former),
        );
        for rule in &rules {
            user.apply(rule, all_channels).map_err(|error| {
                let rule = String::from_utf8_lossy(rule);
                format!("Error in ACL SETUSER modifier '{rule}': {error}")
            })?;
        }
        let mut aftermath = Aftermath::default();
        if former.is_some_and(|former| user.takes_channels_from(former)) {
            aftermath.lost_channels.push(name.to_vec());
        }
        table.insert(name.to_vec(), Arc::new(user));
        self.publish(table);
        Ok(aftermath)
    }

    /// `requirepass`: the only password of the user `default`; none if empty.
    pub fn set_default_password(&self, password: &str) {
        let _changing = self.changing.lock();
        let mut table = UserTable::clone(&self.current().0);
        let mut user = table
            .get(b"default".as_slice())
            .map_or_else(User::default_user, Arc::clone);
        let changed = Arc::make_mut(&mut user);
        changed.passwords.clear();
        changed.needs_no_password = password.is_empty();
        if !password.is_empty() {
            changed
                .passwords
                .push(super::user::hash_password(password.as_bytes()));
        }
        table.insert(user.name.clone(), user);
        self.publish(table);
    }

    /// ACL DELUSER; the names that there were.
    pub fn delete(&self, names: &[&[u8]]) -> Aftermath {
        let _changing = self.changing.lock();
        let mut table = UserTable::clone(&self.current().0);
        let gone: Vec<Vec<u8>> = names
            .iter()
            .filter(|name| table.remove(**name).is_some())
            .map(|name| name.to_vec())
            .collect();
        if !gone.is_empty() {
            self.publish(table);
        }
        Aftermath {
            gone,
            ..Aftermath::default()
        }
    }

    /// Users as an ACL file holds them.
    pub fn file(&self) -> Vec<u8> {
        let table = self.current().0;
        let lines = table
            .values()
            .map(|user| [&user.line()[..], b"\n"].concat());
        lines.collect::<Vec<_>>().concat()
    }

    /// Takes users from the text of an ACL file, all or none. The error lists what is wrong with it.
    pub fn load(
        &self,
        text: &[u8],
        file_name: &str,
        all_channels: bool,
    ) -> Result<Aftermath, String> {
        let mut table = UserTable::new();
        let mut errors = String::new();
        for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let outcome = load_line(&mut table, line, all_channels);
            for error in outcome.err().into_iter().flatten() {
                errors.push_str(&match error {
                    LineError::Numbered(text) => format!("{file_name}:{number}{text}"),
                    LineError::Duplicate(name) => {
                        format!("WARNING: Duplicate user '{name}' found on line {number}. ")
                    }
                });
            }
        }
        if !errors.is_empty() {
            errors.push_str(
                "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
            );
            return Err(errors);
        }
        table
            .entry(b"default".to_vec())
            .or_insert_with(User::default_user);
        let _changing = self.changing.lock();
        let former = self.current().0;
        let mut aftermath = Aftermath::default();
        for (name, user) in former.iter().filter(|(name, _)| *name != b"default") {
            if table.get(name) != Some(user) {
                aftermath.gone.push(name.clone());
            }
        }
        self.publish(table);
        Ok(aftermath)
    }
}

/// What is wrong with a line of an ACL file.
enum LineError {
    /// A text that follows the name of the file and the number of the line.
    Numbered(String),
    /// This user was on an earlier line.
    Duplicate(String),
}

fn load_line(table: &mut UserTable, line: &[u8], all_channels: bool) -> Result<(), Vec<LineError>> {
    let one = |text: &str| vec![LineError::Numbered(text.to_owned())];
    let words = quoting::split(line).map_err(|_| one(": unbalanced quotes in acl line. "))?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let [b"user", name, rules @ ..] = words.as_slice() else {
        return Err(one(
            " should start with user keyword followed by the username. ",
        ));
    };
    let shown = String::from_utf8_lossy(name).into_owned();
    if is_bad_name(name) {
        return Err(one(&format!(
            ": username '{shown}' contains invalid characters. "
        )));
    }
    if table.contains_key(*name) {
        return Err(vec![LineError::Duplicate(shown)]);
    }
    let rules = join_selectors(rules)
        .map_err(|_| one(": Unmatched parenthesis in selector definition."))?;
    let mut user = User::new(name, all_channels);
    let mut errors = Vec::new();
    let mut said = false;
    for rule in &rules {
        let Err(error) = user.apply(rule, all_channels) else {
            continue;
        };
        if error == super::selector::RuleError::Unknown {
            let rule = String::from_utf8_lossy(rule);
            let text = format!(": Error in applying operation '{rule}': {error}. ");
            errors.push(LineError::Numbered(text));
        } else if !std::mem::replace(&mut said, true) {
            errors.push(LineError::Numbered(format!(": {error}. ")));
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    table.insert(name.to_vec(), Arc::new(user));
    Ok(())
}
