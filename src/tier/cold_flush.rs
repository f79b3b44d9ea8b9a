//! Bringing the cold tier's memtables to the disk, without waiting for ever where that cannot be done.
//!
//! RocksDB's own waiting flush waits on a full disk until there is space, however long that takes. So it is told to begin, and its
//! figures are watched: what makes no headway for a while has failed. While RocksDB has stopped writes, because compaction
//! does not keep up, it refuses to begin; that passes, and is no failure.
//!
//! Cost: a look at a few figures each millisecond, while somebody waits for a snapshot or the end of the server.

use super::cold::Cold;
use crate::error::InternalError;
use crate::keyspace::lock_watch;
use rocksdb::{ErrorKind, FlushOptions};
use std::time::{Duration, Instant};

/// How long a flush may take without anything being done.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

impl Cold {
    /// Brings both families to the disk, together.
    ///
    /// # Errors
    /// RocksDB cannot write, or makes no headway for [`PATIENCE`].
    pub fn flush(&self) -> Result<(), InternalError> {
        lock_watch::waits("a flush of the cold tier");
        let mut options = FlushOptions::default();
        options.set_wait(false);
        let (records, deadlines) = (self.records(), self.deadlines());
        let mut headway = Headway::of(self);
        loop {
            let begun = self
                .database
                .flush_cfs_opt(&[&records, &deadlines], &options);
            match begun {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::TryAgain => headway.wait()?,
                Err(error) => return Err(error.into()),
            }
        }
        while self.property("rocksdb.num-immutable-mem-table") > 0 {
            headway.wait()?;
        }
        Ok(())
    }
}

struct Headway<'a> {
    cold: &'a Cold,
    /// What changes when something was done, and how many errors there were.
    last: ([u64; 3], u64),
    since: Instant,
}

impl Headway<'_> {
    fn of(cold: &Cold) -> Headway<'_> {
        Headway {
            cold,
            last: figures(cold),
            since: Instant::now(),
        }
    }

    /// Waits for a moment.
    ///
    /// # Errors
    /// Nothing was done for [`PATIENCE`], and nothing is being done that goes well.
    fn wait(&mut self) -> Result<(), InternalError> {
        std::thread::sleep(LOOK_INTERVAL);
        let (done, errors) = figures(self.cold);
        let (done_before, errors_before) = std::mem::replace(&mut self.last, (done, errors));
        let is_compacting = self.cold.property("rocksdb.num-running-compactions") > 0;
        if done != done_before || is_compacting && errors == errors_before {
            self.since = Instant::now();
        }
        if self.since.elapsed() < PATIENCE {
            return Ok(());
        }
        Err(InternalError::Other(format!(
            "{}: the records in memory could not be brought to the disk; is there space?",
            self.cold.path().display()
        )))
    }
}

fn figures(cold: &Cold) -> ([u64; 3], u64) {
    let done = [
        cold.property("rocksdb.num-immutable-mem-table"),
        cold.property("rocksdb.estimate-pending-compaction-bytes"),
        cold.disk_bytes(),
    ];
    (done, cold.property("rocksdb.background-errors"))
}
