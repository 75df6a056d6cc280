//! Changes of files over the API: a name, a value, and a file that is not encrypted, or one that sops encrypted.
//!
//! A change is refused, or the file holds the value at the name, and all other values as before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidevault_sops::{Change, Document, Edit, Format, Identities, Step, Value, edit, edit_plaintext, read};

const KEYS: &[u8] = include_bytes!("../../crates/sops/tests/fixtures/identities.txt");
const SEALED: [(Format, &[u8]); 3] = [
    (Format::Yaml, include_bytes!("../../crates/sops/tests/fixtures/record.yaml")),
    (Format::Json, include_bytes!("../../crates/sops/tests/fixtures/record.json")),
    (Format::Dotenv, include_bytes!("../../crates/sops/tests/fixtures/record.env")),
];

fuzz_target!(|input: (u8, bool, &str, &str, &[u8])| {
    let (kind, removes, key, value, file) = input;
    let value = Value::String(value.to_owned());
    let change = if removes { Change::Remove } else { Change::Set(value.clone()) };
    let edits = [Edit {
        document: 0,
        path: vec![Step::Key(key.to_owned())],
        change,
    }];
    let identities = Identities::parse(KEYS, None).0;
    let (format, before, after) = match kind % 7 {
        kind @ 0..3 => {
            let (format, sealed) = SEALED[usize::from(kind)];
            (format, sealed, edit(format, sealed, &identities, &edits, "2030-01-01T00:00:00Z".parse().unwrap()))
        }
        kind => {
            let format = [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini][usize::from(kind - 3)];
            (format, file, edit_plaintext(format, file, &edits))
        }
    };
    let Ok(after) = after else { return };
    let tree = |bytes: &[u8]| match read(format, bytes, &identities).map(|read| read.document) {
        Ok(Document::Tree(documents)) => documents,
        _ => Vec::new(),
    };
    let (before, after) = (tree(before), tree(&after));
    // A file may be malformed in what only a reader of the whole looks at, such as merge keys.
    if before.is_empty() {
        return;
    }
    assert_eq!(before.len(), after.len());
    let others = |document: &Value| -> Vec<(String, Value)> {
        let entries = document.as_mapping().unwrap_or_default().iter();
        entries.filter(|(name, _)| name != key).cloned().collect()
    };
    assert!(before.iter().zip(&after).all(|(before, after)| others(before) == others(after)));
});
