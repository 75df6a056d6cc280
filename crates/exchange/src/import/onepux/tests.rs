use std::fs::File;
use std::io::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};
use sidevault_model::{Category, FieldType, Purpose};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::value::{Converted, convert};
use crate::import::{Entry, ImportError, ImportedItem, Options, Source, open};

const UUID: &str = "fx4kbvhwq3ydpw6ptk7wzgzhpm";

fn archive(data: &str, files: &[(&str, &[u8])]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    let mut zip = ZipWriter::new(&mut file);
    let attributes: &[u8] = br#"{"version":3,"description":"1Password Unencrypted Export"}"#;
    let members = [("export.attributes", attributes), ("export.data", data.as_bytes())];
    for (name, content) in members.iter().chain(files) {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
    file
}

fn entries_of(source: &dyn Source) -> Result<Vec<Entry>, ImportError> {
    let mut entries = Vec::new();
    source.items(&mut |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

fn export(items: Value) -> Value {
    json!({ "accounts": [{ "attrs": { "name": "me" }, "vaults": [{
        "attrs": { "uuid": "ftz4pm2xxwmwrsd7rjqn7grzfz", "name": "apps", "desc": "", "type": "U" }, "items": items
    }] }] })
}

fn entry(item: Value) -> Entry {
    let source = open(archive(&export(json!([item])).to_string(), &[]), &Options::default()).unwrap();
    entries_of(&*source).unwrap().remove(0)
}

fn item(item: Value) -> ImportedItem {
    match entry(item) {
        Entry::Item(item) => item,
        skipped => panic!("{skipped:?}"),
    }
}

/// Id, label and value of each field.
fn fields(item: &ImportedItem) -> Vec<(&str, &str, &str)> {
    item.fields
        .iter()
        .map(|field| (field.id.as_str(), field.label.as_str(), field.value.as_str()))
        .collect()
}

#[test]
fn a_login_gets_the_ids_that_connect_shows() {
    let item = item(json!({
        "uuid": UUID, "favIndex": 1, "createdAt": 1614298956, "updatedAt": 1614298960, "state": "active", "categoryUuid": "001",
        "details": {
            "loginFields": [
                { "value": "me", "id": "user_login", "name": "login", "fieldType": "T", "designation": "username" },
                { "value": "s3cret", "id": "", "name": "pw", "fieldType": "P", "designation": "password" },
                { "value": "again", "id": "confirm", "name": "password", "fieldType": "P", "designation": "" },
                { "value": "", "id": "send", "name": "Send", "fieldType": "B" },
                { "value": { "email_address": "a@b.c", "provider": null }, "id": "mail", "name": "mail", "fieldType": "E" }
            ],
            "notesPlain": "note\n", "sections": [{ "title": "", "name": "add more", "fields": [
                { "title": "code", "id": "TOTP_1", "value": { "totp": "JBSWY3DPEHPK3PXP" }, "guarded": false }
            ] }],
            "passwordHistory": [{ "value": "oldest", "time": 1 }, { "value": "older", "time": 2 }],
            "passkey": { "type": "webauthn" }
        },
        "overview": { "title": "Web", "url": "https://b.example", "tags": ["x", "", "x"], "urls": [
            { "label": "a", "url": "https://a.example" }, { "label": "", "url": "https://b.example" }
        ] }
    }));
    assert_eq!(
        (item.source_id.as_str(), item.title.as_str(), item.favorite),
        (UUID, "Web", true)
    );
    assert_eq!(item.created_at.unwrap().as_seconds(), 1_614_298_956);
    assert_eq!(item.tags, ["x"]);
    assert_eq!(
        fields(&item),
        [
            ("username", "username", "me"),
            ("password", "password", "s3cret"),
            ("web-form.confirm", "password", "again"),
            ("web-form.mail", "mail", "a@b.c"),
            ("TOTP_1", "code", "JBSWY3DPEHPK3PXP"),
            ("notesPlain", "notesPlain", "note\n"),
        ]
    );
    let password = &item.fields[1];
    assert_eq!(password.purpose, Some(Purpose::Password));
    assert_eq!(password.password_details.as_ref().unwrap().history, ["older", "oldest"]);
    assert_eq!(item.fields[4].field_type, FieldType::Otp);
    assert_eq!(item.fields[4].section.as_ref().unwrap().id, "add more");
    let primary: Vec<bool> = item.urls.iter().map(|url| url.primary).collect();
    assert_eq!(primary, [false, true]);
    assert_eq!(item.losses.len(), 1, "{:?}", item.losses);
}

#[test]
fn every_kind_of_value_has_its_type() {
    let kinds = [
        (json!({ "string": "a" }), FieldType::String, "a"),
        (json!({ "concealed": "a" }), FieldType::Concealed, "a"),
        (json!({ "totp": "JBSWY3DP" }), FieldType::Otp, "JBSWY3DP"),
        (json!({ "date": 1714737660 }), FieldType::Date, "1714737660"),
        (
            json!({ "email": { "email_address": "a@b", "provider": null } }),
            FieldType::Email,
            "a@b",
        ),
        (json!({ "email": "a@b" }), FieldType::Email, "a@b"),
        (json!({ "phone": "+1" }), FieldType::Phone, "+1"),
        (json!({ "menu": "IMAP" }), FieldType::Menu, "IMAP"),
        (json!({ "gender": "f" }), FieldType::Gender, "f"),
        (json!({ "monthYear": 202401 }), FieldType::MonthYear, "202401"),
        (json!({ "url": "https://a" }), FieldType::Url, "https://a"),
        (
            json!({ "address": { "street": "1 St", "city": "C", "country": "ca", "zip": "Z", "state": "" } }),
            FieldType::Address,
            "1 St, C, Z, ca",
        ),
        (json!({ "creditCardType": "mc" }), FieldType::CreditCardType, "mc"),
        (
            json!({ "creditCardNumber": "4111" }),
            FieldType::CreditCardNumber,
            "4111",
        ),
        (json!({ "reference": UUID }), FieldType::Reference, UUID),
        (json!({ "string": null }), FieldType::String, ""),
        (json!({ "date": null }), FieldType::Date, ""),
        (json!("bare"), FieldType::String, "bare"),
        (json!(null), FieldType::String, ""),
        (json!({}), FieldType::String, ""),
    ];
    for (value, field_type, text) in kinds {
        let conversion = convert(&value);
        assert_eq!(
            conversion.value,
            Converted::Text(field_type, text.to_owned()),
            "{value}"
        );
        assert_eq!(conversion.loss, None, "{value}");
    }
    let changed = [
        (json!({ "date": "soon" }), FieldType::String, "soon"),
        (json!({ "monthYear": 202413 }), FieldType::String, "202413"),
        (json!({ "wax": "a" }), FieldType::String, "a"),
        (json!({ "wax": { "b": 1 } }), FieldType::Concealed, r#"{"b":1}"#),
    ];
    for (value, field_type, text) in changed {
        let conversion = convert(&value);
        assert_eq!(
            conversion.value,
            Converted::Text(field_type, text.to_owned()),
            "{value}"
        );
        assert!(conversion.loss.is_some(), "{value}");
    }
}

#[test]
fn an_ssh_key_has_the_fields_that_op_shows() {
    let key = json!({ "sshKey": { "privateKey": "-----BEGIN", "metadata": {
        "privateKey": "-----BEGIN", "publicKey": "ssh-ed25519 AAAA", "fingerprint": "SHA256:x", "keyType": { "t": "rsa", "c": { "rsaLength": 4096 } }
    } } });
    let item = item(
        json!({ "uuid": UUID, "categoryUuid": "114", "details": { "sections": [{ "title": "", "name": "", "fields": [
        { "title": "private key", "id": "private_key", "value": key }
    ] }] } }),
    );
    assert_eq!(
        fields(&item)[..4],
        [
            ("private_key", "private key", "-----BEGIN"),
            ("public_key", "public key", "ssh-ed25519 AAAA"),
            ("fingerprint", "fingerprint", "SHA256:x"),
            ("key_type", "key type", "rsa-4096"),
        ]
    );
    assert_eq!(
        (item.category, item.fields[0].field_type),
        (Category::SshKey, FieldType::SshKey)
    );
    assert_eq!(item.fields[0].section, None);
}

#[test]
fn files_are_found_by_the_documents_id() {
    let document = json!({ "fileName": "a.txt", "documentId": "d1", "decryptedSize": 5 });
    let data = export(json!([{ "uuid": UUID, "categoryUuid": "006", "details": {
        "documentAttributes": document,
        "sections": [{ "title": "Files", "name": "files", "fields": [
            { "title": "b.txt", "id": "f", "value": { "file": { "fileName": "b.txt", "documentId": "d2" } } },
            { "title": "gone.txt", "id": "g", "value": { "file": { "fileName": "gone.txt", "documentId": "d3" } } }
        ] }]
    } }]));
    let files: [(&str, &[u8]); 2] = [("files/d1__a.txt", b"hello"), ("files/d2___b.txt", b"")];
    let source = open(archive(&data.to_string(), &files), &Options::default()).unwrap();
    let Entry::Item(item) = entries_of(&*source).unwrap().remove(0) else {
        panic!();
    };
    let found: Vec<(&str, u64)> = item.files.iter().map(|file| (file.name.as_str(), file.size)).collect();
    assert_eq!(found, [("b.txt", 0), ("a.txt", 5)]);
    assert_eq!(item.files[0].section.as_ref().unwrap().label.as_deref(), Some("Files"));
    assert!(item.losses[0].contains("gone.txt"), "{:?}", item.losses);
    let mut bytes = Vec::new();
    let read = source.content(&item.files[1], &mut |content| {
        content.read_to_end(&mut bytes)?;
        Ok(())
    });
    read.unwrap();
    assert_eq!(bytes, b"hello");
}

#[test]
fn every_category_is_known_and_others_become_notes() {
    let numbers = (1..=6).chain(100..=114).map(|number| format!("{number:03}"));
    let mut seen = std::collections::BTreeSet::new();
    for number in numbers {
        let item = item(json!({ "uuid": UUID, "categoryUuid": number }));
        assert!(item.losses.is_empty(), "{number}");
        seen.insert(item.category);
    }
    assert_eq!(seen.len(), 21);
    let other = item(json!({ "uuid": UUID, "categoryUuid": "115" }));
    assert_eq!((other.category, other.losses.len()), (Category::SecureNote, 1));
}

#[test]
fn deleted_items_are_left_out_and_archived_ones_are_not() {
    for gone in [
        json!({ "uuid": UUID, "categoryUuid": "099" }),
        json!({ "uuid": UUID, "categoryUuid": "001", "state": "trashed" }),
        json!({ "uuid": UUID, "categoryUuid": "001", "trashed": true }),
    ] {
        assert!(matches!(entry(gone.clone()), Entry::Skipped(_)), "{gone}");
    }
    let archived = json!({ "item": { "uuid": UUID, "categoryUuid": "001", "state": "archived" }, "file": null });
    assert!(item(archived).archived);
}

#[test]
fn fields_with_the_same_id_get_different_ids() {
    let field = |title: &str| json!({ "title": title, "id": "same", "value": { "string": title } });
    let item = item(
        json!({ "uuid": UUID, "categoryUuid": "100", "details": { "password": "p", "sections": [
        { "title": "A", "name": "s", "fields": [field("one"), field("two")] },
        { "title": "B", "name": "s", "fields": [{ "title": "", "id": "", "value": { "string": "" } }, field("three")] },
        { "title": "C", "name": "", "fields": [{ "title": "x", "id": "password", "value": { "concealed": "q" } }] }
    ] } }),
    );
    let ids: Vec<&str> = item.fields.iter().map(|field| field.id.as_str()).collect();
    assert_eq!(
        ids,
        ["password", "same", "same-2", "-2", "same-3", "password-2", "notesPlain"]
    );
    assert_eq!(item.sections.len(), 2);
    assert_eq!(item.losses.len(), 3);
}

#[test]
fn items_may_come_before_the_attributes_of_their_vault() {
    let data = r#"{"accounts":[{"vaults":[
        {"items":[{"uuid":"a","categoryUuid":"001"}],"attrs":{"uuid":"v1","name":"one"}},
        {"attrs":{"uuid":"v2","name":"two"},"items":null},
        {"attrs":{"uuid":"v3","name":"three"},"items":[{"uuid":"c","categoryUuid":"001"}]}]},
        {"vaults":[{"attrs":{"uuid":"v4","name":"four","desc":"d"},"items":[{"uuid":"d","categoryUuid":"001"}]}]}]}"#;
    let source = open(archive(data, &[]), &Options::default()).unwrap();
    let names: Vec<String> = source.vaults().unwrap().into_iter().map(|vault| vault.name).collect();
    assert_eq!(names, ["one", "two", "three", "four"]);
    let places: Vec<(usize, String)> = entries_of(&*source)
        .unwrap()
        .into_iter()
        .map(|entry| match entry {
            Entry::Item(item) => (item.vault, item.source_id),
            Entry::Skipped(skipped) => panic!("{skipped:?}"),
        })
        .collect();
    assert_eq!(places, [(0, "a".to_owned()), (2, "c".to_owned()), (3, "d".to_owned())]);
}

#[test]
fn errors_say_where_and_quote_nothing() {
    let broken = [
        (r#"{"accounts":[{"vaults":[{"items":[{"uuid":"s3cret""#, "cut short"),
        (
            r#"{"accounts":[{"vaults":[{"items":[{"details":"s3cret"}]}]}]}"#,
            "has not the form",
        ),
        (r#"{"accounts":"s3cret"}"#, "has not the form"),
        (r#"{"accounts":[s3cret]}"#, "not valid JSON"),
        (r#"{"accounts":[]} s3cret"#, "not valid JSON"),
    ];
    for (data, words) in broken {
        let source = open(archive(data, &[]), &Options::default()).unwrap();
        let error = entries_of(&*source).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("line 1"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn other_archives_and_files_are_not_taken_for_1pux() {
    let mut other = tempfile::tempfile().unwrap();
    let mut zip = ZipWriter::new(&mut other);
    zip.start_file("export.json", SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap();
    let mut text = tempfile::tempfile().unwrap();
    text.write_all(b"export.data").unwrap();
    for file in [other, text, tempfile::tempfile().unwrap()] {
        assert!(matches!(open(file, &Options::default()), Err(ImportError::Unknown(_))));
    }
}

#[test]
fn the_callers_error_ends_the_reading() {
    let items: Vec<Value> = (0..10)
        .map(|n| json!({ "uuid": format!("{n}"), "categoryUuid": "001" }))
        .collect();
    let source = open(archive(&export(json!(items)).to_string(), &[]), &Options::default()).unwrap();
    let mut seen = 0;
    let outcome = source.items(&mut |_| {
        seen += 1;
        if seen == 3 { Err(ImportError::Stopped) } else { Ok(()) }
    });
    assert!(matches!(outcome, Err(ImportError::Stopped)));
    assert_eq!(seen, 3);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let kind = prop_oneof![
        Just("string"),
        Just("concealed"),
        Just("totp"),
        Just("date"),
        Just("monthYear"),
        Just("email"),
        Just("address"),
        Just("sshKey"),
        Just("file"),
        Just("menu"),
        Just("wax"),
    ];
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(kind.clone(), inner, 0..3)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    /// No text of a value is lost, whatever the union looks like.
    #[test]
    fn a_value_is_always_kept(kind in "string|concealed|totp|phone|url|menu|gender|reference|creditCardType|email|date|monthYear|wax", text in ".{1,30}") {
        let conversion = convert(&json!({ kind.as_str(): text.as_str() }));
        match conversion.value {
            Converted::Text(_, kept) => prop_assert_eq!(kept, text),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Any JSON in the place of values, texts and numbers is read, and the item has unique field ids.
    #[test]
    fn odd_items_are_read(value in any_value(), other in any_value()) {
        let item = item(json!({ "uuid": UUID, "categoryUuid": "001", "createdAt": other, "details": {
            "notesPlain": other, "loginFields": [{ "value": value, "designation": "password" }, { "value": other, "designation": "password", "id": "x" }],
            "sections": [{ "name": "s", "fields": [{ "id": "a", "value": value }, { "id": "a", "value": other }] }] } }));
        let ids: std::collections::HashSet<&str> = item.fields.iter().map(|field| field.id.as_str()).collect();
        prop_assert_eq!(ids.len(), item.fields.len());
    }
}
