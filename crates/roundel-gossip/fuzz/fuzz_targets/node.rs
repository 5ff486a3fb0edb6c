#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roundel_gossip_fuzz::node::run(data));
