//! Bearer tokens. No input may be accepted: the fuzzer has no signing key.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sidevault_keys::{Credentials, Verifier};
use sidevault_model::Timestamp;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Credentials::from_seed(&[7; 32]).verifier());

fuzz_target!(|token: &str| {
    assert!(VERIFIER.verify(token, Timestamp::now()).is_err());
});
