//! Secret references, as `/v1/resolve` and templates hold them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_model::reference::resolve;
use sidevault_model::{Item, Reference, Timestamp};

const ITEM: &str = r#"{"id":"iiiiiiiiiiiiiiiiiiiiiiiiii","title":"i","version":1,"vault":{"id":"vvvvvvvvvvvvvvvvvvvvvvvvvv"},
    "category":"LOGIN","sections":[{"id":"s","label":"S 1"}],"fields":[
    {"id":"a","type":"OTP","label":"f","value":"GEZDGNBV"},{"id":"b","type":"SSHKEY","label":"F","value":"k","section":{"id":"s"}}],
    "files":[{"id":"ffffffffffffffffffffffffff","name":"tls.crt","size":3}]}"#;

fuzz_target!(|text: &str| {
    let Ok(reference) = Reference::parse(text) else { return };
    // A reference that is written means what it meant.
    assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(&reference));
    if let Ok(item) = Item::from_json(ITEM.as_bytes()) {
        let _ = resolve(&reference, &item, Timestamp::from_millis(0));
    }
});
