//! Writes to the cold tier: batches in which a record and its deadline are one.
//!
//! Only whoever holds the demoter's lock writes, so a write and a delete of one key never race.

use super::cold::{Cold, DueRecord};
use super::cold_options::ColdBudget;
use crate::error::InternalError;
use crate::keyspace::lock_watch;
use rocksdb::{ErrorKind, WriteBatch, WriteOptions};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use storage_format::record::{
    ColdKey, DeadlineKey, OF_A_FIELD_FLAG, encode_deadline_value, generation_prefix,
};

/// A batch that is being put together.
pub struct ColdWrite<'a> {
    cold: &'a Cold,
    batch: WriteBatch,
    buffer: Vec<u8>,
    earliest_deadline_ms: u64,
    puts: usize,
}

impl<'a> ColdWrite<'a> {
    /// An empty batch.
    pub fn new(cold: &'a Cold) -> ColdWrite<'a> {
        ColdWrite {
            cold,
            batch: WriteBatch::default(),
            buffer: Vec::new(),
            earliest_deadline_ms: u64::MAX,
            puts: 0,
        }
    }

    fn index_key(&mut self, cold_key: ColdKey<'_>, deadline_ms: u64) -> &[u8] {
        self.buffer.clear();
        DeadlineKey {
            deadline_ms,
            cold_key,
        }
        .encode(&mut self.buffer);
        &self.buffer
    }

    /// Writes a record (`record`: header and value, of version `lsn` and with `deadline_ms`) over one that had
    /// `former_deadline_ms`, or over none.
    pub fn put(
        &mut self,
        key: ColdKey<'_>,
        record: &[u8],
        lsn: u64,
        deadline_ms: Option<u64>,
        former_deadline_ms: Option<u64>,
    ) {
        self.puts += 1;
        let cold = self.cold;
        self.batch.put_cf(&cold.records(), key.to_vec(), record);
        if let Some(former_ms) =
            former_deadline_ms.filter(|former_ms| Some(*former_ms) != deadline_ms)
        {
            self.delete_index(key, former_ms);
        }
        if let Some(deadline_ms) = deadline_ms {
            self.index_key(key, deadline_ms);
            self.batch
                .put_cf(&cold.deadlines(), &self.buffer, encode_deadline_value(lsn));
            self.earliest_deadline_ms = self.earliest_deadline_ms.min(deadline_ms);
        }
    }

    /// Indexes the earliest deadline of the fields of a hash that was just put. It must not be the key's own deadline too.
    pub fn index_fields(&mut self, key: ColdKey<'_>, lsn: u64, deadline_ms: u64) {
        self.index_key(key, deadline_ms);
        let version = encode_deadline_value(lsn | OF_A_FIELD_FLAG);
        self.batch
            .put_cf(&self.cold.deadlines(), &self.buffer, version);
        self.earliest_deadline_ms = self.earliest_deadline_ms.min(deadline_ms);
    }

    fn delete_index(&mut self, key: ColdKey<'_>, deadline_ms: u64) {
        self.index_key(key, deadline_ms);
        self.batch.delete_cf(&self.cold.deadlines(), &self.buffer);
    }

    /// Deletes a record that has this deadline.
    pub fn delete(&mut self, key: ColdKey<'_>, deadline_ms: Option<u64>) {
        self.batch.delete_cf(&self.cold.records(), key.to_vec());
        if let Some(deadline_ms) = deadline_ms {
            self.delete_index(key, deadline_ms);
        }
    }

    /// Deletes an index entry whose record went with its generation, or that was only a hint.
    pub fn forget_due(&mut self, due: &DueRecord) {
        self.delete_index(due.index_key().cold_key, due.deadline_ms);
    }

    /// Writes it all, or nothing. Not durable before the next flush: the log is.
    ///
    /// # Errors
    /// RocksDB cannot write.
    pub fn commit(self) -> Result<(), InternalError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        lock_watch::waits("a write to the cold tier");
        if self.puts > 0 {
            self.cold.written.store(true, Ordering::Release);
        }
        self.cold.write(self.batch)?;
        if self.earliest_deadline_ms != u64::MAX {
            self.cold.note_deadline(self.earliest_deadline_ms);
        }
        Ok(())
    }
}

/// How long RocksDB may hold up a write when it has met an error before.
const STALL_PATIENCE: Duration = Duration::from_secs(1);
const STALL_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Without a log of RocksDB's, and without waiting.
fn write_options() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options.set_no_slowdown(true);
    options
}

impl Cold {
    /// Writes a batch. Where RocksDB has stopped writes it would wait, on a full disk until there is space, however long that takes. So
    /// it is told not to, and asked again. It takes the batch with it when it refuses; hence the copy, which costs little beside
    /// the write.
    ///
    /// # Errors
    /// RocksDB cannot write.
    fn write(&self, batch: WriteBatch) -> Result<(), InternalError> {
        let options = write_options();
        let copy = batch.data().to_vec();
        let started = Instant::now();
        let mut written = self.database.write_opt(batch, &options);
        while let Err(error) = written {
            if error.kind() != ErrorKind::Incomplete {
                return Err(error.into());
            }
            let has_failed = self.property("rocksdb.background-errors") > 0;
            if has_failed && started.elapsed() > STALL_PATIENCE {
                let full = std::io::ErrorKind::StorageFull.into();
                return Err(InternalError::io("write to", self.path())(full));
            }
            std::thread::sleep(STALL_LOOK_INTERVAL);
            written = self
                .database
                .write_opt(WriteBatch::from_data(&copy), &options);
        }
        Ok(())
    }

    /// Removes all records of a generation whose database was flushed. Their disk space comes back with [`Cold::compact`].
    /// Index entries of deadlines still to come stay until they are due, and are dropped then, unless no record is
    /// left at all.
    ///
    /// # Errors
    /// RocksDB cannot write.
    pub fn drop_generation(&self, generation: u32) -> Result<(), InternalError> {
        if self.is_empty() {
            return Ok(());
        }
        lock_watch::waits("a write to the cold tier");
        let end = generation
            .checked_add(1)
            .map_or([0xff; 12].to_vec(), |next| generation_prefix(next).to_vec());
        let start = generation_prefix(generation).to_vec();
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(&self.records(), &start, &end);
        self.write(batch)?;
        if !self.first_record()? {
            let mut batch = WriteBatch::default();
            batch.delete_range_cf(&self.deadlines(), &[0u8; 1][..], &[0xff; 21][..]);
            self.write(batch)?;
            self.written.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Gives the disk space of deleted records in a range of hashes back. Takes as long as rewriting what is left there.
    pub fn compact(&self, generation: u32, first_hash: u64, last_hash: u64) {
        use storage_format::record::position_prefix;
        let (first, last) = (
            position_prefix(generation, first_hash),
            position_prefix(generation, last_hash),
        );
        self.database
            .compact_range_cf(&self.records(), Some(first), Some(last));
    }

    /// The block cache's size that keeps the filters of all records in it: 10 bits a key and as much again for what is
    /// read, but never less than the budget and never more than a third of `maxmemory`.
    pub fn adapt_block_cache(&self, maxmemory_bytes: u64) {
        if maxmemory_bytes == 0 {
            return;
        }
        let base = ColdBudget::for_maxmemory(maxmemory_bytes).block_cache_bytes;
        let wanted = self.records_estimate() * 5 / 2;
        // Steps of an eighth, so that the cache is not resized all the time.
        let wanted = wanted.next_multiple_of((base / 8).max(1));
        self.set_block_cache_bytes(wanted.clamp(base, (maxmemory_bytes / 3).max(base)));
    }
}
