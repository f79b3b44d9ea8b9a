//! What reading and writing a stream have in common: the marks of its listpacks, IDs as 16 bytes, and how many entries a group has
//! read where that is not stored.

use crate::stream::StreamId;

/// In an entry's flags: it was deleted, and only its place is left.
pub(super) const DELETED: i64 = 1;
/// In an entry's flags: it has the fields of its listpack's first entry, and only values follow.
pub(super) const SHARES_FIELDS: i64 = 2;
/// Elements of an entry beside fields and values: flags, two differences of IDs, and their number itself, which is not counted.
pub(super) const ENTRY_NUMBERS: usize = 3;
/// Milliseconds are signed there.
pub(super) const TIME_MAX_MS: u64 = i64::MAX as u64;

/// An ID as a key of Redis's radix trees: sorted as bytes, sorted as an ID.
pub(super) fn id_bytes(id: StreamId) -> [u8; 16] {
    let both = u128::from(id.time_ms) << 64 | u128::from(id.sequence);
    both.to_be_bytes()
}

/// The reverse of [`id_bytes`].
pub(super) fn id_of_bytes(bytes: [u8; 16]) -> StreamId {
    let both = u128::from_be_bytes(bytes);
    StreamId::new((both >> 64) as u64, both as u64)
}

/// How many entries a group at `id` has read, in a stream of which nothing is known but its entries: as if none had ever been
/// deleted. `None` where only counting would tell, which no Redis does.
pub(super) fn entries_read_at(
    id: StreamId,
    entry_count: usize,
    first_id: StreamId,
    last_id: StreamId,
) -> Option<u64> {
    match entry_count {
        0 => Some(0),
        _ if id == last_id => Some(entry_count as u64),
        _ if id > last_id => None,
        _ if id < first_id => Some(0),
        _ if id == first_id => Some(1),
        _ => None,
    }
}
