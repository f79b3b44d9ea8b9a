//! Figures for INFO and TIER STATS.

use super::Tier;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start, or since the last reset.
#[derive(Default)]
pub(super) struct Counters {
    pub warm_hits: AtomicU64,
    pub cold_hits: AtomicU64,
    pub fetches: AtomicU64,
    pub promotions: AtomicU64,
    pub demotions: AtomicU64,
    pub demotions_outrun: AtomicU64,
    pub records_written: AtomicU64,
    pub records_deleted: AtomicU64,
    pub expired: AtomicU64,
    pub expired_fields: AtomicU64,
    pub evicted: AtomicU64,
}

/// What the tiers tell of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct TierStatistics {
    /// Bytes handed out by the allocator.
    pub used_memory_bytes: u64,
    /// The most bytes ever handed out.
    pub peak_memory_bytes: u64,
    /// Bytes resident.
    pub resident_bytes: u64,
    /// Bytes of everything but the warm tier and RocksDB.
    pub hot_bytes: u64,
    /// Bytes of warm copies.
    pub warm_bytes: u64,
    /// Number of warm copies.
    pub warm_keys: u64,
    /// Bytes of RocksDB's memtables and block cache.
    pub cold_memory_bytes: u64,
    /// Bytes of the cold tier on disk.
    pub cold_disk_bytes: u64,
    /// About how many cold records there are.
    pub cold_records: u64,
    /// Reads served by a warm copy.
    pub warm_hits: u64,
    /// Reads served by RocksDB's block cache or memtables.
    pub cold_hits: u64,
    /// Reads that waited for the I/O pool.
    pub fetches: u64,
    /// Keys that came into the keyspace.
    pub promotions: u64,
    /// Keys that left it.
    pub demotions: u64,
    /// Keys that changed while they were being demoted, and stayed.
    pub demotions_outrun: u64,
    /// Records written.
    pub records_written: u64,
    /// Records deleted.
    pub records_deleted: u64,
    /// Keys that active expiry removed.
    pub expired_keys: u64,
    /// Fields of hashes that active expiry removed.
    pub expired_fields: u64,
    /// Keys that were evicted.
    pub evicted_keys: u64,
    /// True while cold records use more disk than `maxdisk` allows.
    pub is_disk_full: bool,
}

/// Memory, as INFO tells it.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryFigures {
    /// Bytes handed out by the allocator.
    pub used_bytes: u64,
    /// Bytes resident.
    pub resident_bytes: u64,
    /// Bytes of everything but the warm tier and RocksDB.
    pub hot_bytes: u64,
    /// Bytes of warm copies.
    pub warm_bytes: u64,
    /// Bytes that the process may use: the machine's memory, or what its control group allows.
    pub system_bytes: u64,
}

impl TierStatistics {
    /// Names and figures, for TIER STATS.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("hot_bytes", self.hot_bytes),
            ("warm_bytes", self.warm_bytes),
            ("warm_keys", self.warm_keys),
            ("cold_memory_bytes", self.cold_memory_bytes),
            ("cold_disk_bytes", self.cold_disk_bytes),
            ("cold_records", self.cold_records),
            ("warm_hits", self.warm_hits),
            ("cold_hits", self.cold_hits),
            ("fetches", self.fetches),
            ("promotions", self.promotions),
            ("demotions", self.demotions),
            ("demotions_outrun", self.demotions_outrun),
            ("records_written", self.records_written),
            ("records_deleted", self.records_deleted),
            ("expired_keys", self.expired_keys),
            ("expired_fields", self.expired_fields),
            ("evicted_keys", self.evicted_keys),
            ("disk_full", u64::from(self.is_disk_full)),
        ]
    }
}

impl Tier {
    /// Memory, measured now.
    pub fn memory(&self) -> MemoryFigures {
        self.budget.sample();
        let statistics = self.statistics();
        MemoryFigures {
            used_bytes: statistics.used_memory_bytes,
            resident_bytes: statistics.resident_bytes,
            hot_bytes: statistics.hot_bytes,
            warm_bytes: statistics.warm_bytes,
            system_bytes: crate::config::memory::available_bytes().unwrap_or(0),
        }
    }

    /// All figures. Asks RocksDB for properties: not for every request.
    pub fn statistics(&self) -> TierStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let (mut statistics, warm_bytes) = (TierStatistics::default(), self.warm.memory_bytes());
        if let Some(cold) = &self.cold {
            statistics.cold_memory_bytes = cold.memory_bytes();
            statistics.cold_disk_bytes = cold.disk_bytes();
            statistics.cold_records = cold.records_estimate();
        }
        let used_memory_bytes = self.budget.used_bytes();
        TierStatistics {
            used_memory_bytes,
            peak_memory_bytes: self.budget.peak_bytes(),
            resident_bytes: self.budget.resident_bytes(),
            hot_bytes: used_memory_bytes.saturating_sub(warm_bytes + statistics.cold_memory_bytes),
            warm_bytes,
            warm_keys: self.warm.copies(),
            warm_hits: read(&counters.warm_hits),
            cold_hits: read(&counters.cold_hits),
            fetches: read(&counters.fetches),
            promotions: read(&counters.promotions),
            demotions: read(&counters.demotions),
            demotions_outrun: read(&counters.demotions_outrun),
            records_written: read(&counters.records_written),
            records_deleted: read(&counters.records_deleted),
            expired_keys: read(&counters.expired),
            expired_fields: read(&counters.expired_fields),
            evicted_keys: read(&counters.evicted),
            is_disk_full: self.disk_is_full.load(Ordering::Relaxed),
            ..statistics
        }
    }

    /// Sets the counters to 0 (CONFIG RESETSTAT).
    pub fn reset_statistics(&self) {
        let Counters {
            warm_hits,
            cold_hits,
            fetches,
            promotions,
            demotions,
            demotions_outrun,
            records_written,
            records_deleted,
            expired,
            expired_fields,
            evicted,
        } = &self.counters;
        let lookups = [warm_hits, cold_hits, fetches, promotions];
        let moves = [
            demotions,
            demotions_outrun,
            records_written,
            records_deleted,
            expired,
            expired_fields,
            evicted,
        ];
        for counter in lookups.into_iter().chain(moves) {
            counter.store(0, Ordering::Relaxed);
        }
    }
}
