//! libFuzzer on the decoder of requests: `cargo +nightly fuzz run --fuzz-dir tests/fuzz requests`.
#![no_main]

#[path = "../resp_target.rs"]
mod resp_target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| resp_target::fuzz_requests(data));
