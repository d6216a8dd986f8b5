//! The target `engine` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qos_fuzz::engine(data));
