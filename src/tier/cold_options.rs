//! How RocksDB is tuned: one place for every option and its reason.
//!
//! The memory budget is shared: memtables are charged to the block cache, so that RocksDB as a whole stays within one
//! number. It has to work from 24 MB for the whole server up, hence the small lower bounds.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, Options,
    WriteBufferManager,
};

/// Column family of the records.
pub const RECORDS: &str = "records";
/// Column family of the index of deadlines.
pub const DEADLINES: &str = "deadlines";

const MIB: u64 = 1 << 20;

/// Memory that RocksDB may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdBudget {
    /// Bytes for records that are not on disk yet.
    pub memtables_bytes: u64,
    /// Bytes for blocks that were read, filters and indexes included.
    pub block_cache_bytes: u64,
}

impl ColdBudget {
    /// The cold tier's share of `maxmemory` (0: no limit): a twelfth for memtables, a tenth for the cache.
    pub fn for_maxmemory(maxmemory_bytes: u64) -> ColdBudget {
        let maxmemory_bytes = if maxmemory_bytes == 0 {
            2048 * MIB
        } else {
            maxmemory_bytes
        };
        ColdBudget {
            memtables_bytes: (maxmemory_bytes / 12).clamp(2 * MIB, 192 * MIB),
            block_cache_bytes: (maxmemory_bytes / 10).max(2 * MIB),
        }
    }

    /// Both together.
    pub fn total_bytes(self) -> u64 {
        self.memtables_bytes + self.block_cache_bytes
    }

    fn write_buffer_bytes(self) -> u64 {
        // Two of them per family may exist at a time: one is filled while the other is written.
        self.memtables_bytes * 2 / 5
    }
}

/// Options of the whole database.
pub(super) fn database_options(budget: ColdBudget, cache: &Cache) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Without a RocksDB log, both families must reach the disk together: a record and its deadline are one write.
    options.set_atomic_flush(true);
    let manager = WriteBufferManager::new_write_buffer_manager_with_cache(
        budget.memtables_bytes as usize,
        false,
        cache.clone(),
    );
    options.set_write_buffer_manager(&manager);
    options.set_max_background_jobs(2);
    options.set_max_open_files(-1);
    options.set_bytes_per_sync(MIB);
    options.set_compaction_readahead_size(if budget.memtables_bytes < 16 * MIB {
        128 << 10
    } else {
        2 << 20
    });
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options
}

/// The two families with their options.
pub(super) fn families(budget: ColdBudget, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    vec![
        ColumnFamilyDescriptor::new(RECORDS, family_options(budget, cache, true)),
        ColumnFamilyDescriptor::new(DEADLINES, family_options(budget, cache, false)),
    ]
}

fn family_options(budget: ColdBudget, cache: &Cache, is_records: bool) -> Options {
    const FIRST_LEVEL_FILES_MAX: i32 = 24;
    const BLOOM_BITS_PER_KEY: f64 = 10.0;
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(16 << 10);
    blocks.set_format_version(5);
    // Filters and indexes are in the cache, so that they count, but its high-priority half is theirs: starving them
    // tripled the cost of a read.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if is_records {
        blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        blocks.set_whole_key_filtering(true);
        blocks.set_optimize_filters_for_memory(true);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_level_compaction_dynamic_level_bytes(true);
    let write_buffer_bytes = budget.write_buffer_bytes();
    options.set_write_buffer_size(write_buffer_bytes as usize);
    options.set_max_write_buffer_number(2);
    let file_bytes = (write_buffer_bytes * 2).clamp(4 * MIB, 64 * MIB);
    options.set_target_file_size_base(file_bytes);
    options.set_max_bytes_for_level_base(4 * file_bytes);
    // Writes are stopped or not, never slowed down: who writes does not let RocksDB wait (`Cold::write`), and asks again.
    options.set_level_zero_slowdown_writes_trigger(FIRST_LEVEL_FILES_MAX);
    options.set_level_zero_stop_writes_trigger(FIRST_LEVEL_FILES_MAX);
    options.set_soft_pending_compaction_bytes_limit(0);
    if is_records {
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.02);
    }
    options
}
