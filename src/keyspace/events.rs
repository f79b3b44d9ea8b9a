//! Keyspace events: what happened to a key, in the words that `notify-keyspace-events` knows.
//!
//! A command tells [`Keys::notify`] what it did; nothing is kept unless somebody wants that class of events, so on a server
//! without subscribers the cost is one comparison. Events wait in the journal until the command's locks are gone.

use super::apply::Applied;
use super::keys::Keys;
use crate::error::CommandError;
use crate::event_classes::EventClasses;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// What it belongs to.
    pub class: EventClasses,
    /// Its name: `set`, `lpush`, `expired` ...
    pub name: &'static str,
    /// The key's database.
    pub database: u32,
    /// The key.
    pub key: Box<[u8]>,
}

impl Keys<'_> {
    /// Tells that `name` happened to `key` of the selected database. Published when the command has ended.
    pub fn notify(&mut self, class: EventClasses, name: &'static str, key: &[u8]) {
        if self.listens_to.has(class) {
            self.journal.push_event(KeyEvent {
                class,
                name,
                database: self.database,
                key: key.into(),
            });
        }
    }

    /// Tells that `name` removed elements of the collection at `key`, if it did, and that the key is gone, if those were the
    /// last ones.
    pub fn notify_removal(
        &mut self,
        class: EventClasses,
        name: &'static str,
        key: &[u8],
        applied: Applied,
    ) {
        if applied.added_or_removed == 0 {
            return;
        }
        self.notify(class, name, key);
        if applied.length == 0 {
            self.notify(EventClasses::GENERIC, "del", key);
        }
    }

    /// Deletes a key and tells of it; false if it did not exist.
    pub fn delete_and_notify(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        let deleted = self.delete(key)?;
        if deleted {
            self.notify(EventClasses::GENERIC, "del", key);
        }
        Ok(deleted)
    }
}
