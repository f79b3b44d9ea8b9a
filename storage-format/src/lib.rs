//! Larder's on-disk formats: one place that knows how bytes are laid out, and nothing else.
//!
//! The server, the tools and the tests all read and write through this crate, so that no layout is described twice.
//! `FORMAT.md` beside this crate is the byte-level description; the constants here cite its sections. Nothing in this crate
//! takes the time, draws a random number, starts a thread or knows a command.
//!
//! Everything that is read is untrusted: decoding borrows from the input, checks every length against what is really
//! there, allocates nothing that a count in the input could inflate, and answers [`FormatError`] with an offset.

mod bytes;
pub mod durable;
pub mod effect;
mod envelope;
pub mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod items;
pub mod log;
pub mod manifest;
pub mod mapped;
pub mod placement;
pub mod rdb;
mod reader;
pub mod record;
pub mod snapshot;
pub mod stream;
pub mod value;
pub mod varint;

pub use effect::{Effect, EffectRecord, Items, SAME_RECORD_LSN, ScoredItems, Side};
pub use error::{FileError, FormatError};
pub use manifest::Manifest;
pub use placement::Placement;
pub use snapshot::{SnapshotEntry, SnapshotReader, SnapshotWriter};
pub use stream::{StreamEffect, StreamId};
pub use value::ValueKind;

/// The largest LSN that the formats can hold: LSNs use 48 of their 64 bits. [`SAME_RECORD_LSN`] has the same value, so a
/// record's own LSN must stay below it.
pub const LSN_LIMIT: u64 = (1 << 48) - 1;
