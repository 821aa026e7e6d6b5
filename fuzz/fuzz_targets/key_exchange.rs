#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| telepool::fuzzing::key_exchange(data));
