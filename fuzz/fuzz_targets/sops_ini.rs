//! INI files of a source, sealed by sops or not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_sops::{Format, Identities};

fuzz_target!(|bytes: &[u8]| {
    let _ = sidevault_sops::read(Format::Ini, bytes, &Identities::default());
});
