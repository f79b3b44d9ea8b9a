//! What makes the keyspace survive: the append-only log, forkless snapshots, and the start-up that puts them together.
//!
//! Durable state at a snapshot's cut = snapshot + cold records; from there on the log. `docs/ARCHITECTURE.md` has the rules;
//! the modules say how each of them is kept.
//!
//! - [`data_directory`]: who may use it, the manifest
//! - [`log`]: the append-only log
//! - [`snapshot`]: taking snapshots
//! - [`recovery`]: start-up; [`tail`]: the log behind the snapshot; [`rebuild`], [`bases`]: its effects onto their bases
//! - [`lazy_snapshot`]: blocks on first touch; [`pending_log`]: the log on first touch
//! - [`journaling`], [`cold_store`]: the log and the cold tier as the others here see them

mod bases;
pub mod cold_store;
pub mod data_directory;
pub mod journaling;
pub mod lazy_snapshot;
pub mod log;
mod parallel;
mod pending_log;
pub mod rebuild;
pub mod recovery;
pub mod snapshot;
mod tail;

#[cfg(test)]
mod mock_cold;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod tail_tests;

pub use cold_store::{ColdStore, ColdVersion, NoColdStore};
pub use data_directory::DataDirectory;
pub use journaling::Journaling;
pub use lazy_snapshot::LazySnapshot;
pub use log::{Log, LogStatistics, NoLog, SyncPolicy};
pub use recovery::{Recovered, RecoveryOptions, RecoveryReport, recover};
pub use snapshot::{SnapshotReport, SnapshotSources, SnapshotStatus, Snapshotter};
