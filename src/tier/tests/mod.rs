//! Tests of the tiers as a whole, on RocksDB in temporary directories.

mod cold_tests;
mod demote_tests;
mod evict_tests;
mod expire_tests;
mod fixture;
mod model_tests;
mod prefix_tests;
mod residency_tests;
mod scan_tests;
