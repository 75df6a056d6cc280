//! The age file in the `sops` block of a file, opened with a key of each kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_sops::{Format, Identities};

const KEYS: &[u8] = include_bytes!("../../crates/sops/tests/fixtures/identities.txt");

fuzz_target!(|enc: &[u8]| {
    let text: String = enc.iter().map(|byte| format!("\\u{byte:04x}")).collect();
    let file = format!(
        "{{\"a\": \"ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\", \"sops\": {{\"mac\": \"x\", \"lastmodified\": \"y\", \
         \"age\": [{{\"recipient\": \"age1x\", \"enc\": \"{text}\"}}]}}}}"
    );
    assert!(sidevault_sops::read(Format::Json, file.as_bytes(), &Identities::parse(KEYS, None).0).is_err());
});
