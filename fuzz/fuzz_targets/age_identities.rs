//! Age key files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_sops::Identities;

fuzz_target!(|bytes: &[u8]| {
    let _ = Identities::parse(bytes, None);
});
