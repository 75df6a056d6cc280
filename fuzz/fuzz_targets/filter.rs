//! The `filter` parameter of lists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_model::Filter;
use sidevault_model::filter::{Attributes, Subject};

fuzz_target!(|text: &str| {
    for subject in [Subject::Vaults, Subject::Items] {
        let Ok(filter) = Filter::parse(text, subject) else { continue };
        let title = filter.exact_title().unwrap_or("database").to_owned();
        let matched = filter.matches(&Attributes {
            title: &title,
            ..Attributes::default()
        });
        assert!(matched || !filter.is_everything());
    }
});
