//! What one command (or one EXEC) changed, on its way into the log.
//!
//! While a command runs, its effects are encoded here and the entries they touched carry [`PENDING_LSN`]. When it ends,
//! still under its locks, the whole becomes one log record, and the entries get the record's LSN.

use super::entry::PENDING_LSN;
use super::events::KeyEvent;
use super::shard::Shard;
use storage_format::{Effect, EffectRecord};

/// Where records go. The log implements it; a server without a log counts LSNs only.
pub trait Recorder: Send + Sync {
    /// Appends one record and returns its LSN. Space was claimed before (see [`Recorder::has_room`]).
    fn append(&self, effects: &[u8]) -> u64;
    /// True if a record of so many bytes can be appended whatever other threads append meanwhile.
    fn has_room(&self, bytes: usize) -> bool;
    /// False if effects need not be encoded, because nothing keeps them.
    fn keeps_effects(&self) -> bool;
}

/// A reusable buffer for the effects of one record.
#[derive(Default)]
pub struct Journal {
    effects: Vec<u8>,
    touched: Vec<(u32, u64)>,
    events: Vec<KeyEvent>,
    written: Vec<(u32, Box<[u8]>)>,
    /// So many of `written` are known already to those who had read them.
    told: usize,
    /// Database and hash of the entry that is being changed while its effect is not noted yet.
    applying: Option<(u32, u64)>,
    /// The memory of a command that could have been rolled back, for the next one.
    pub(super) spare_undo: Option<Box<super::undo::Undo>>,
    /// Number of changes since the journal was made; what `rdb_changes_since_last_save` counts.
    pub changes: u64,
}

impl Journal {
    /// True if the command changed nothing so far.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.effects.is_empty()
    }

    /// An effect on this entry begins.
    pub fn begin_effect(&mut self, database: u32, hash: u64) {
        self.applying = Some((database, hash));
    }

    /// The effect is noted, or changed nothing.
    pub fn end_effect(&mut self) {
        self.applying = None;
    }

    /// For a command that panicked: true if it did so in the middle of an effect. Its entry counts as touched.
    pub fn was_interrupted(&mut self) -> bool {
        let applying = self.applying.take();
        self.touched.extend(applying);
        applying.is_some()
    }

    /// Bytes of effects so far.
    pub fn bytes(&self) -> usize {
        self.effects.len()
    }

    /// Adds an effect to the record; [`Journal::count`] is to follow.
    pub fn encode(&mut self, record: &EffectRecord<'_>) {
        record.encode(&mut self.effects);
    }

    /// Counts an effect. `touched` names database and hash of the entry that carries [`PENDING_LSN`] now.
    #[inline]
    pub fn count(&mut self, touched: Option<(u32, u64)>) {
        self.changes += 1;
        if let Some(touched) = touched {
            self.touched.push(touched);
        }
    }

    /// Notes an effect that names no key (FLUSHDB, SWAPDB).
    pub fn push_keyless(&mut self, generation: u32, effect: Effect<'_>, encode: bool) {
        let record = EffectRecord {
            generation,
            key: b"",
            previous_lsn: 0,
            effect,
        };
        if encode {
            self.encode(&record);
        }
        self.count(None);
    }

    /// Keeps an event for when the command has ended.
    pub fn push_event(&mut self, event: KeyEvent) {
        self.events.push(event);
    }

    /// True if there are events to take.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The events since the last call, in order.
    pub fn take_events(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.events)
    }

    /// Notes that a key was written, for those who wait for it.
    pub fn push_written(&mut self, database: u32, key: &[u8]) {
        let is_noted = self.written[self.told..]
            .last()
            .is_some_and(|(noted, last)| *noted == database && **last == *key);
        if !is_noted {
            self.written.push((database, key.into()));
        }
    }

    /// True if keys were noted since the last [`Journal::take_written`].
    pub fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Databases and keys that were written since the last call, in order.
    pub fn take_written(&mut self) -> Vec<(u32, Box<[u8]>)> {
        self.told = 0;
        std::mem::take(&mut self.written)
    }

    /// What was written since the last call, for those who have read it. They are told before one of them reads again, or
    /// it would hear of changes that it has seen.
    pub fn untold(&mut self) -> &[(u32, Box<[u8]>)] {
        let first = std::mem::replace(&mut self.told, self.written.len());
        &self.written[first..]
    }

    /// How many of what was written [`Journal::untold`] has given out.
    pub fn told(&self) -> usize {
        self.told
    }

    /// The encoded effects.
    pub fn effects(&self) -> &[u8] {
        &self.effects
    }

    /// Database and hash of every touched entry.
    pub fn touched(&self) -> &[(u32, u64)] {
        &self.touched
    }

    /// Forgets the record, keeping the memory unless it became large.
    pub fn clear(&mut self) {
        const KEPT_BYTES_MAX: usize = 1 << 20;
        self.effects.clear();
        self.touched.clear();
        self.applying = None;
        self.effects.shrink_to(KEPT_BYTES_MAX);
        self.touched.shrink_to(KEPT_BYTES_MAX / 16);
    }
}

/// Gives the record's LSN to an entry of this hash that waits for one. Each entry that waits was touched once, so every one
/// gets it, whichever of several with the same tag comes first.
pub fn stamp(shard: &mut Shard, database: u32, hash: u64, lsn: u64) {
    let Some(table) = shard.tables.get_mut(database as usize) else {
        return;
    };
    table.segment_mut(hash).stamp(hash, lsn);
}

/// True if an entry of this hash still waits for an LSN: never once every touched entry was stamped.
pub fn is_pending(shard: &Shard, database: u32, hash: u64) -> bool {
    let segment = shard.table(database).map(|table| table.segment(hash));
    segment.is_some_and(|segment| segment.has_tagged(hash, |entry| entry.lsn() == PENDING_LSN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_again_after_it_was_told_is_noted_again() {
        let key = |name: &str| (0, Box::from(name.as_bytes()));
        let mut journal = Journal::default();
        journal.push_written(0, b"a");
        journal.push_written(0, b"a");
        assert_eq!(journal.untold(), [key("a")]);
        assert_eq!((journal.untold().len(), journal.told()), (0, 1));
        journal.push_written(0, b"a");
        assert_eq!(journal.untold(), [key("a")]);
        assert_eq!(journal.take_written(), [key("a"), key("a")]);
        assert_eq!(journal.told(), 0);
    }

    #[test]
    fn an_interrupted_effect_is_known_and_its_entry_touched() {
        let mut journal = Journal::default();
        journal.begin_effect(3, 7);
        journal.end_effect();
        assert!(!journal.was_interrupted() && journal.is_empty());
        journal.begin_effect(3, 7);
        assert!(journal.was_interrupted());
        assert_eq!(journal.touched(), [(3, 7)]);
        journal.clear();
        assert!(journal.is_empty() && !journal.was_interrupted());
    }
}
