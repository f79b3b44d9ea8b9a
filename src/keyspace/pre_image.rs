//! What a key held at a snapshot's cut, left behind by whoever changed or removed it before the walk came by.

use crate::value::Value;

/// A former state of one key; see [`super::walk`].
pub struct PreImage {
    /// Placement hash of the key.
    pub hash: u64,
    /// The key.
    pub key: Box<[u8]>,
    /// Its value at the cut, an O(1) clone (a short text: a copy).
    pub value: Value,
    /// Its deadline at the cut.
    pub deadline_ms: Option<u64>,
    /// The LSN of that state.
    pub lsn: u64,
}
