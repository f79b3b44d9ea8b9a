//! libFuzzer on [`storage_format::fuzzing::fuzz_rdb`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| storage_format::fuzzing::fuzz_rdb(data));
