//! Age key files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_sops::Identities;

fuzz_target!(|text: &str| {
    let _ = Identities::parse(text);
});
