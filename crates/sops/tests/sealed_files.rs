//! Files that the real sops encrypted (`fixtures/make.sh`), read unchanged and damaged in many ways.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use proptest::prelude::*;
use sidevault_sops::{Document, Format, Identities, SopsError, read, scalar_text};

/// Each file with its format and its content as text.
const FILES: &[(Format, &[u8], &str)] = &[
    (
        Format::Yaml,
        include_bytes!("fixtures/record.yaml"),
        r#"{"user":"admin","pass":"hunter2","port":5432,"ratio":0.25,"active":true,"since":"2024-01-31T00:00:00Z","hosts":["one",{"two":"three"}]}"#,
    ),
    (
        Format::Json,
        include_bytes!("fixtures/record.json"),
        r#"{"user":"admin","port":5432,"hosts":["one",{"two":0.25}],"active":false}"#,
    ),
    (
        Format::Dotenv,
        include_bytes!("fixtures/record.env"),
        r#"{"USER":"admin","PASS":"a\nb"}"#,
    ),
    (
        Format::Ini,
        include_bytes!("fixtures/record.ini"),
        r#"{"db":{"user":"admin","pass":"a b"}}"#,
    ),
    (Format::Binary, include_bytes!("fixtures/record.bin"), "any\0bytes"),
    (
        Format::Yaml,
        include_bytes!("fixtures/groups.yaml"),
        r#"{"user":"admin","pass":"hunter2"}"#,
    ),
];

fn identities() -> Identities {
    Identities::parse(include_bytes!("fixtures/identities.txt"), None).0
}

/// The content of a file as text.
fn content(format: Format, bytes: &[u8]) -> Result<String, SopsError> {
    let file = read(format, bytes, &identities())?;
    // A damaged binary file may look like one that is not encrypted; other files may not.
    assert!(file.encrypted && file.lastmodified.is_some());
    Ok(match &file.document {
        Document::Tree(documents) => documents.iter().map(scalar_text).collect(),
        Document::Binary(bytes) => String::from_utf8(bytes.clone()).unwrap(),
    })
}

#[test]
fn every_fixture_is_decrypted() {
    for (format, bytes, expected) in FILES {
        assert_eq!(content(*format, bytes).unwrap(), *expected);
    }
}

#[test]
fn without_identities_the_recipient_and_the_variable_to_set_are_named() {
    for (format, bytes, _) in FILES {
        let error = read(*format, bytes, &Identities::default()).unwrap_err();
        assert!(matches!(error, SopsError::NoIdentity { .. }), "{error}");
        assert!(error.to_string().contains("age1"), "{error}");
    }
}

#[test]
fn one_group_of_two_is_too_few() {
    let first = include_str!("fixtures/identities.txt").lines().next().unwrap();
    let error = read(Format::Yaml, FILES[5].1, &Identities::parse(first.as_bytes(), None).0).unwrap_err();
    assert!(
        matches!(
            error,
            SopsError::KeyGroups {
                opened: 1,
                needed: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_flipped_bit_in_any_value_or_the_mac_is_refused() {
    for (format, bytes, _) in FILES {
        let text = std::str::from_utf8(bytes).unwrap();
        for (start, _) in text.match_indices("ENC[AES256_GCM,") {
            let end = start + text[start..].find(",type:").unwrap();
            // Comments are not values: sops does not authenticate them, and they are dropped.
            if text[end..].starts_with(",type:comment") {
                continue;
            }
            for index in (start..end).step_by(3) {
                let mut flipped = bytes.to_vec();
                flipped[index] ^= 1;
                let error = read(*format, &flipped, &identities()).unwrap_err();
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// All values of the fixtures are encrypted, so a file that can still be decrypted must have its original content.
    #[test]
    fn a_damaged_file_never_reads_as_something_else(
        file in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        cut in 0..3_usize,
        put in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let (format, bytes, expected) = FILES[file];
        let start = at.index(bytes.len());
        let mut damaged = bytes.to_vec();
        damaged.splice(start..(start + cut).min(bytes.len()), put);
        if let Ok(file) = read(format, &damaged, &identities())
            && file.encrypted
        {
            prop_assert_eq!(content(format, &damaged).unwrap(), expected);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        for format in [Format::Yaml, Format::Json, Format::Dotenv, Format::Ini, Format::Binary] {
            let _ = read(format, &bytes, &identities());
        }
    }

    #[test]
    fn lines_of_a_sealed_file_in_any_order_never_read_as_something_else(
        file in 0..FILES.len(),
        first in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
    ) {
        let (format, bytes, expected) = FILES[file];
        let mut lines: Vec<&str> = std::str::from_utf8(bytes).unwrap().lines().collect();
        let (first, second) = (first.index(lines.len()), second.index(lines.len()));
        lines.swap(first, second);
        if let Ok(file) = read(format, lines.join("\n").as_bytes(), &identities())
            && file.encrypted
        {
            prop_assert_eq!(content(format, lines.join("\n").as_bytes()).unwrap(), expected);
        }
    }
}
