//! Templates of ExternalSecrets: parsed and filled within a budget.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use sidevault_template::{Budget, Template, Values};

fuzz_target!(|source: &str| {
    let Ok(template) = Template::parse("fuzz", source) else { return };
    let values = Values::from([("password".to_owned(), "s3cret".into()), ("user".to_owned(), "ann".into())]);
    let mut budget = Budget::new(100_000, Duration::from_secs(1));
    let _ = template.render_with(&values, SystemTime::UNIX_EPOCH, &mut budget);
});
