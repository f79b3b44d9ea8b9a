//! What a snapshot holds, by generation and type: counted by the writer, so that nobody has to read the blocks to know.

use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;
use crate::snapshot::SNAPSHOT_VERSION;
use crate::snapshot::block::SnapshotEntry;
use crate::value::ValueKind;

pub(crate) const STATISTICS_ENVELOPE: Envelope = Envelope {
    what: "snapshot statistics",
    magic: *b"LARDRSTA",
    version: SNAPSHOT_VERSION,
};

/// The statistics of a whole snapshot: one row for each generation that has entries, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// The generations.
    pub generations: Vec<GenerationStatistics>,
}

/// The statistics of one generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatistics {
    /// The generation.
    pub generation: u32,
    /// By type, in the order of [`ValueKind::ALL`].
    pub kinds: [KindStatistics; ValueKind::ALL.len()],
}

/// The statistics of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindStatistics {
    /// How many entries.
    pub count: u64,
    /// How many of them have a deadline.
    pub with_deadline: u64,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// Bytes of their encoded values.
    pub value_bytes: u64,
}

impl KindStatistics {
    fn add(&mut self, entry: &SnapshotEntry<'_>) {
        self.count += 1;
        self.with_deadline += u64::from(entry.deadline_ms != 0);
        self.key_bytes += entry.key.len() as u64;
        self.value_bytes += entry.value.len() as u64;
    }
}

impl Statistics {
    /// Counts an entry. Entries must come in ascending order of generation.
    pub fn add(&mut self, entry: &SnapshotEntry<'_>) {
        if self
            .generations
            .last()
            .is_none_or(|last| last.generation != entry.generation)
        {
            self.generations.push(GenerationStatistics {
                generation: entry.generation,
                ..GenerationStatistics::default()
            });
        }
        if let Some(last) = self.generations.last_mut() {
            last.kinds[entry.kind as usize - 1].add(entry);
        }
    }

    /// How many entries there are in all.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.generations.iter().fold(0, |sum, generation| {
            sum.saturating_add(generation.entry_count())
        })
    }
}

impl GenerationStatistics {
    /// How many entries the generation has.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.kinds
            .iter()
            .fold(0, |sum, kind| sum.saturating_add(kind.count))
    }

    /// The statistics of one type.
    #[must_use]
    pub fn of(&self, kind: ValueKind) -> &KindStatistics {
        &self.kinds[kind as usize - 1]
    }
}
