use proptest::prelude::*;

use super::*;
use crate::field::{Field, FieldType, Purpose};
use crate::file::File;
use crate::ids::{FileId, ItemId, VaultId};
use crate::item::Item;
use crate::section::{Section, SectionRef};
use crate::time::Timestamp;

fn parse(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

#[test]
fn three_or_four_names_are_a_reference() {
    let plain = parse("op://apps/Data Base_1.2/pass-word");
    assert_eq!((plain.vault.as_str(), plain.item.as_str()), ("apps", "Data Base_1.2"));
    assert_eq!((plain.section.as_deref(), plain.field.as_str()), (None, "pass-word"));
    assert_eq!(parse("OP://v/i/s/f").section.as_deref(), Some("s"));
    assert_eq!(parse("op://v/i/caf%C3%A9%2f%28").field, "café/(");
}

#[test]
fn a_query_chooses_an_attribute_and_a_format() {
    assert_eq!(parse("op://v/i/f?attribute=otp").attribute, Some(Attribute::Otp));
    assert_eq!(parse("op://v/i/f?attr=TYPE").attribute, Some(Attribute::Type));
    let both = parse("op://v/i/f?attr=value&ssh-format=openssh");
    assert!(both.openssh && both.attribute == Some(Attribute::Value));
}

#[test]
fn other_texts_are_refused_with_the_reason() {
    use InvalidReference as E;
    let long = format!("op://v/i/{}", "f".repeat(REFERENCE_BYTES));
    for (text, error) in [
        ("", E::Scheme),
        ("op:/v/i/f", E::Scheme),
        ("https://v/i/f", E::Scheme),
        ("op://", E::TooFew),
        ("op://v/i", E::TooFew),
        ("op://v/i/s/f/x", E::TooMany),
        ("op:///i/f", E::Empty("vault")),
        ("op://v//f", E::Empty("item")),
        ("op://v/i//f", E::Empty("section")),
        ("op://v/i/", E::Empty("field")),
        ("op://v/a(b)/f", E::Character('(')),
        ("op://v/i/ü", E::Character('ü')),
        ("op://v/i/f%2", E::Encoding),
        ("op://v/i/f%zz", E::Encoding),
        ("op://v/i/f%ff", E::Encoding),
        ("op://v/i/f%é", E::Encoding),
        ("op://v/i/f?", E::Parameter),
        ("op://v/i/f?attribute", E::Parameter),
        ("op://v/i/f?attr=otp&attribute=otp", E::Parameter),
        ("op://v/i/f?ssh-format=openssh&ssh-format=openssh", E::Parameter),
        ("op://v/i/f?x=y", E::Parameter),
        ("op://v/i/f?attr=nonsense", E::Attribute),
        ("op://v/i/f?ssh-format=pem", E::Format),
        (&long, E::TooLong),
    ] {
        assert_eq!(Reference::parse(text), Err(error), "{text}");
    }
}

#[test]
fn debug_shows_no_name() {
    assert!(!format!("{:?}", parse("op://hunter2/hunter2/hunter2")).contains("hunter2"));
}

proptest! {
    #[test]
    fn any_names_survive_writing_and_reading(
        vault in "\\PC{1,20}", item in ".{1,20}", section in proptest::option::of("[^/]{1,9}"), field in ".{1,20}",
        attribute in proptest::option::of(proptest::sample::select(Attribute::ALL)), openssh: bool,
    ) {
        let reference = Reference { vault, item, section, field, attribute, openssh };
        prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".*|op://.*|[a-zA-Z0-9:/?&=%. -]*|op://[a-z%/?=&0-9]*") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
        }
    }

    #[test]
    fn case_never_matters(text in "[A-Za-z]{1,8}") {
        let item = item();
        let resolved = |field: &str| resolve(&parse(&format!("op://v/i/{field}")), &item, now()).map(|_| ()).map_err(|e| e.kind);
        prop_assert_eq!(resolved(&text.to_lowercase()), resolved(&text.to_uppercase()));
    }

    #[test]
    fn any_private_key_is_converted_or_refused(text in ".*", body in "[A-Za-z0-9+/=\n]{0,80}") {
        let _ = ssh::to_openssh(&text);
        let _ = ssh::to_openssh(&format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----"));
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(59_000)
}

fn in_section(mut field: Field, id: &str) -> Field {
    field.section = Some(SectionRef {
        id: id.to_owned(),
        label: None,
    });
    field
}

/// An item with fields inside and outside sections, a one-time password and two files.
fn item() -> Item {
    let (vault, id) = (VaultId::from_digest(&[1; 32]), ItemId::from_digest(&[2; 32]));
    let json =
        format!(r#"{{"id":"{id}","title":"Database","version":1,"vault":{{"id":"{vault}"}},"category":"LOGIN"}}"#);
    let mut item = Item::from_json(json.as_bytes()).unwrap();
    let section = |id: &str, label: &str| Section {
        id: id.to_owned(),
        label: label.to_owned(),
    };
    item.sections = vec![
        section("sec1", "Replica"),
        section("sec2", "Standby"),
        section("sec3", "Empty"),
    ];
    let mut password = Field::new("password", FieldType::Concealed, "password", "s3cret");
    password.purpose = Some(Purpose::Password);
    item.fields = vec![
        password,
        Field::new("f1", FieldType::String, "Host", "db1"),
        in_section(Field::new("f2", FieldType::String, "host", "db2"), "sec1"),
        in_section(Field::new("f3", FieldType::String, "host", "db3"), "sec2"),
        in_section(Field::new("f4", FieldType::String, "port", "1"), "sec1"),
        in_section(Field::new("f5", FieldType::String, "port", "2"), "sec2"),
        in_section(Field::new("f6", FieldType::String, "only", "there"), "sec2"),
        Field::new("f7", FieldType::Otp, "code", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"),
    ];
    let file = |n: u8, name: &str| File::new(vault, id, FileId::from_digest(&[n; 32]), name, 12);
    item.files = vec![file(1, "tls.crt"), file(2, "tls.key")];
    item.files[1].section = Some(SectionRef {
        id: "sec1".to_owned(),
        label: None,
    });
    item
}

/// The text, or the kind of the error.
fn resolved(path: &str) -> Result<String, UnresolvedKind> {
    let item = item();
    let found = resolve(&parse(&format!("op://v/Database/{path}")), &item, now());
    match found {
        Ok(Found::Text(text)) => Ok(text),
        Ok(Found::Content(file)) => Ok(format!("content of {}", file.name)),
        Err(error) => Err(error.kind),
    }
}

#[test]
fn a_field_is_found_by_label_or_id_with_and_without_its_section() {
    for (path, value) in [
        ("password", "s3cret"),
        ("PASSWORD", "s3cret"),
        ("F1", "db1"),
        // Outside any section comes first.
        ("host", "db1"),
        ("replica/host", "db2"),
        ("SEC2/Host", "db3"),
        ("only", "there"),
        ("standby/f5", "2"),
        ("tls.crt", "content of tls.crt"),
        ("replica/TLS.key", "content of tls.key"),
        ("tls.key", "content of tls.key"),
    ] {
        assert_eq!(resolved(path).as_deref(), Ok(value), "{path}");
    }
}

#[test]
fn attributes_of_fields_and_files() {
    for (path, value) in [
        ("password?attribute=type", "CONCEALED"),
        ("password?attribute=purpose", "PASSWORD"),
        ("f1?attribute=title", "Host"),
        ("host?attribute=id", "f1"),
        ("host?attribute=purpose", ""),
        ("code?attribute=otp", "287082"),
        ("tls.crt?attribute=size", "12"),
        ("tls.crt?attribute=name", "tls.crt"),
        ("tls.crt?attribute=type", "FILE"),
        ("tls.crt?attribute=content", "content of tls.crt"),
    ] {
        assert_eq!(resolved(path).as_deref(), Ok(value), "{path}");
    }
}

#[test]
fn what_is_missing_or_ambiguous_is_an_error_of_its_own_kind() {
    use UnresolvedKind as K;
    for (path, kind) in [
        ("nothing", K::FieldNotFound),
        ("replica/only", K::FieldNotFound),
        ("empty/host", K::FieldNotFound),
        ("nowhere/host", K::NoMatchingSections),
        ("port", K::TooManyMatchingFields),
        ("password?attribute=otp", K::UnableToGenerateTotpCode),
        ("password?attribute=size", K::AttributeNotFound),
        ("tls.crt?attribute=otp", K::AttributeNotFound),
        ("password?ssh-format=openssh", K::UnsupportedKeyFormat),
    ] {
        assert_eq!(resolved(path), Err(kind), "{path}");
    }
}

#[test]
fn an_error_names_what_was_looked_for_and_what_is_there_but_no_value() {
    let item = item();
    let message = |path: &str| {
        let reference = parse(&format!("op://v/Database/{path}"));
        resolve(&reference, &item, now()).unwrap_err().message
    };
    assert_eq!(
        message("nothing"),
        "item 'v/Database' does not have a field 'nothing'; it has password, Host, host, host, port, port, only, code, \
         tls.crt, tls.key"
    );
    assert_eq!(
        message("nowhere/host"),
        "item 'v/Database' does not have a section 'nowhere'; it has Replica, Standby, Empty"
    );
    assert!(
        message("port").ends_with("the id of one of them: f4, f5"),
        "{}",
        message("port")
    );
    for path in [
        "nothing",
        "port",
        "password?ssh-format=openssh",
        "password?attribute=otp",
    ] {
        assert!(!message(path).contains("s3cret"), "{path}");
    }
}

/// The key pair of RFC 8410, section 10.3.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";

#[test]
fn an_ed25519_key_is_written_as_openssh_does() {
    let key = ssh::to_openssh(ED25519).unwrap();
    let lines: Vec<&str> = key.lines().collect();
    assert_eq!(lines.first(), Some(&"-----BEGIN OPENSSH PRIVATE KEY-----"));
    assert_eq!(lines.last(), Some(&"-----END OPENSSH PRIVATE KEY-----"));
    let bytes = data_encoding::BASE64
        .decode(lines[1..lines.len() - 1].concat().as_bytes())
        .unwrap();
    // The public key in RFC 8410, section 10.1.
    let public = data_encoding::BASE64
        .decode(b"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=")
        .unwrap();
    assert_eq!(bytes.windows(32).filter(|window| *window == public).count(), 3);
    assert_eq!(ssh::to_openssh(&key).as_deref(), Ok(key.as_str()), "it stays as it is");
}
