//! Small adapters between rooms that do not know each other: the tiers ask for durability and for snapshot blocks,
//! persistence asks for cold records.

use crate::error::InternalError;
use crate::keyspace::Keyspace;
use crate::persist::cold_store::{ColdStore, ColdVersion, ScanVisitor};
use crate::persist::{Journaling, LazySnapshot};
use crate::tier::{Cold, Durability, Loader, Tier};
use crate::value::Value;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};

impl Durability for Journaling {
    fn ensure_durable(&self, lsn: u64) -> Result<(), InternalError> {
        Journaling::ensure_durable(self, lsn)
    }
}

/// Snapshot blocks for the tiers.
pub(super) struct LoaderBridge {
    lazy: Arc<LazySnapshot>,
    keyspace: Arc<Keyspace>,
}

impl LoaderBridge {
    pub(super) fn new(lazy: Arc<LazySnapshot>, keyspace: Arc<Keyspace>) -> LoaderBridge {
        LoaderBridge { lazy, keyspace }
    }
}

impl Loader for LoaderBridge {
    fn load_at(&self, generation: u32, hash: u64) -> Result<u64, InternalError> {
        self.lazy.load_at(generation, hash, &self.keyspace)
    }

    fn is_replayed(&self, first_hash: u64, last_hash: u64) -> bool {
        self.lazy.is_range_replayed(first_hash, last_hash)
    }

    fn replay(&self, first_hash: u64, last_hash: u64) -> Result<(), InternalError> {
        self.lazy
            .ensure_range_replayed(first_hash, last_hash, &self.keyspace)
    }
}

/// Cold records for recovery and snapshots. Recovery runs before the tiers exist; a snapshot needs them, because the
/// deletions that are pending at its cut are theirs to apply.
pub(super) struct ColdBridge {
    cold: Arc<Cold>,
    tier: OnceLock<Weak<Tier>>,
}

impl ColdBridge {
    pub(super) fn new(cold: Arc<Cold>) -> ColdBridge {
        ColdBridge {
            cold,
            tier: OnceLock::new(),
        }
    }

    /// Tells who applies deletions. Called once, before the first snapshot.
    pub(super) fn set_tier(&self, tier: &Arc<Tier>) {
        // A second call would find the same tiers.
        let _ = self.tier.set(Arc::downgrade(tier));
    }

    fn format_error(&self, source: storage_format::FormatError) -> InternalError {
        InternalError::Format {
            path: PathBuf::from(self.cold.path()),
            source,
        }
    }
}

impl ColdStore for ColdBridge {
    fn is_empty(&self) -> bool {
        self.cold.is_empty()
    }

    fn may_contain(&self, generation: u32, hash: u64, key: &[u8]) -> bool {
        !self.cold.is_empty() && self.cold.may_contain(generation, hash, key)
    }

    fn get(
        &self,
        generation: u32,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<ColdVersion>, InternalError> {
        let Some(record) = self.cold.get(generation, hash, key)? else {
            return Ok(None);
        };
        let value = Value::decode(record.kind, &record.encoded)
            .map_err(|source| self.format_error(source))?;
        Ok(Some(ColdVersion {
            lsn: record.lsn,
            deadline_ms: record.deadline_ms,
            value,
        }))
    }

    fn scan(&self, generation: u32, visit: &mut ScanVisitor<'_>) -> Result<(), InternalError> {
        let mut cursor = self.cold.cursor(generation, 0);
        while let Some((key, header, _)) = cursor.current()? {
            visit(
                key.hash,
                key.key,
                header.lsn,
                (header.deadline_ms != 0).then_some(header.deadline_ms),
            );
            cursor.advance();
        }
        Ok(())
    }

    fn flush_for_snapshot(&self, _cut_lsn: u64) -> Result<u64, InternalError> {
        if let Some(tier) = self.tier.get().and_then(Weak::upgrade) {
            return tier.flush_for_snapshot();
        }
        self.cold.flush()?;
        Ok(self.cold.sequence())
    }

    fn latest_sequence(&self) -> u64 {
        self.cold.sequence()
    }

    fn drop_generation(&self, generation: u32) -> Result<(), InternalError> {
        self.cold.drop_generation(generation)
    }
}
