//! What arrives on the bus once a peer is authenticated: records, frames and messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sidevault_bus::fuzz::read_all(bytes));
