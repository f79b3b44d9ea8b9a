//! What persistence asks of the cold tier, as a trait: recovery runs before the tiers do, and its tests run without RocksDB.

use crate::error::InternalError;
use crate::value::Value;

/// A key's cold record.
#[derive(Clone, Debug)]
pub struct ColdVersion {
    /// The LSN of the version that it holds.
    pub lsn: u64,
    /// Its deadline in Unix milliseconds.
    pub deadline_ms: Option<u64>,
    /// Its value.
    pub value: Value,
}

/// Takes one record of a scan: hash, key, LSN, deadline.
pub type ScanVisitor<'a> = dyn FnMut(u64, &[u8], u64, Option<u64>) + 'a;

/// See the module's comment. All methods may block.
pub trait ColdStore: Send + Sync {
    /// True if there is certainly no record of any key. Costs next to nothing.
    fn is_empty(&self) -> bool;

    /// False if there is certainly no record of this key. Cheap: filters only.
    fn may_contain(&self, generation: u32, hash: u64, key: &[u8]) -> bool;

    /// The newest record of a key.
    ///
    /// # Errors
    /// I/O or damage.
    fn get(
        &self,
        generation: u32,
        hash: u64,
        key: &[u8],
    ) -> Result<Option<ColdVersion>, InternalError>;

    /// Visits every record of a generation in (hash, key) order.
    ///
    /// # Errors
    /// I/O or damage.
    fn scan(&self, generation: u32, visit: &mut ScanVisitor<'_>) -> Result<(), InternalError>;

    /// Applies the deletions that were pending at the cut and makes everything durable; the log is durable up to the cut by
    /// then. Returns the sequence number that [`ColdStore::latest_sequence`] has now.
    ///
    /// # Errors
    /// I/O.
    fn flush_for_snapshot(&self, cut_lsn: u64) -> Result<u64, InternalError>;

    /// Grows with every write to the cold tier.
    fn latest_sequence(&self) -> u64;

    /// Removes all records of a generation that no database has any more.
    ///
    /// # Errors
    /// I/O.
    fn drop_generation(&self, generation: u32) -> Result<(), InternalError>;
}

/// `maxdisk 0`: there is no cold tier.
#[derive(Debug)]
pub struct NoColdStore;

impl ColdStore for NoColdStore {
    fn is_empty(&self) -> bool {
        true
    }

    fn may_contain(&self, _generation: u32, _hash: u64, _key: &[u8]) -> bool {
        false
    }

    fn get(
        &self,
        _generation: u32,
        _hash: u64,
        _key: &[u8],
    ) -> Result<Option<ColdVersion>, InternalError> {
        Ok(None)
    }

    fn scan(&self, _generation: u32, _visit: &mut ScanVisitor<'_>) -> Result<(), InternalError> {
        Ok(())
    }

    fn flush_for_snapshot(&self, _cut_lsn: u64) -> Result<u64, InternalError> {
        Ok(0)
    }

    fn latest_sequence(&self) -> u64 {
        0
    }

    fn drop_generation(&self, _generation: u32) -> Result<(), InternalError> {
        Ok(())
    }
}
