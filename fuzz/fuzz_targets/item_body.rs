//! The body of a POST or PUT of an item.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_model::ItemInput;

fuzz_target!(|body: &[u8]| {
    let _ = ItemInput::from_json(body);
});
