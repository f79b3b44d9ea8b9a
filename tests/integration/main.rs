//! The integration tests: the real binary, driven through sockets as a client would.
//!
//! One test binary, because each one links RocksDB. A test starts its own server in its own directory
//! ([`harness::Server`]) and fails if that server logs an error which the test did not announce.

mod bad_input;
mod bad_surroundings;
mod blocking;
mod catalogue;
mod clients;
mod command_docs;
mod command_info;
mod concurrency;
mod differential;
mod documented_lines;
mod dump;
mod dump_streams;
mod expiry_tiers;
mod families;
mod fuzz_smoke;
mod harness;
mod idle;
mod key_events;
mod migrate;
mod model;
mod model_collections;
mod model_operations;
mod model_state;
mod protocol;
mod redis_rs;
mod restarts;
mod scan;
mod scripts;
mod small_memory;
mod streams;
mod structure;
mod tls;
mod transactions;
mod wire;
