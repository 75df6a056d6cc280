//! The body of a PATCH.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let _ = sidevault_model::patch::parse(body);
});
