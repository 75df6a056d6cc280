use std::fs::File;
use std::io::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};
use sidevault_model::{Category, FieldType, Purpose};
use zeroize::Zeroizing;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::import::testing::{entries_of, file, item_of};
use crate::import::{AskPassword, Entry, Groups, ImportError, ImportedItem, Options, open};

const ID: &str = "0b6d1d7e-0000-4000-8000-000000000001";

/// An export that the code of Bitwarden's command line 2026.6.0 wrote, with the password `pässword 1`.
const PBKDF2: &str = r#"{
  "encrypted": true,
  "passwordProtected": true,
  "salt": "p+NLtsWpkW9CIBzeLrHDmA==",
  "kdfType": 0,
  "kdfIterations": 5000,
  "encKeyValidation_DO_NOT_EDIT": "2.3SOgDcYOctgIJEntxzHffg==|Q0Il4oyHw/XjplAF4JyLwDml/z2vadqJV1gON8IH9YuZow67hv/PR2IRaLDppTW2|0uX1b7QBEvoqY2fB4LfgdwbVVo7kR7v1h9WmuJJWtLc=",
  "data": "2.F2xxekxb8SUWm+T2J0mGGg==|Vvo2W7+6olWjrKfdkT9tUvxpD8UN7pqXPLS4WsC0VJHmTwYKQq7NQd6ps6JPqACY9NBK5fhAoMeryBw10UeWMz0LVbsHPy0HydePQ75P4s/ttaCkycyqBWHdhlHzmt5krj3jyFdEDm05LxqRAQjqJ/XJr0aihT4Tztwj6Zqv40Pjb//V6CbXyOcBEwgy+48J|ikCo5o4blK12CsUduLFXK5OmeOdoiyXmTBnt/iRnI+0="
}"#;

/// The same with Argon2id.
const ARGON2: &str = r#"{
  "encrypted": true,
  "passwordProtected": true,
  "salt": "K2Ah3SXbilMYv5fx75SZrg==",
  "kdfType": 1,
  "kdfIterations": 2,
  "encKeyValidation_DO_NOT_EDIT": "2.CfWghD2BKpXJ0O2vjhOK3g==|ANGGXBRdXbYm+/j9MD1XOm/EIWLT/sp19zSyMH85h2t515928LA4RsflHWLsOlfe|HBROuRgqyKFxJlNIth8IpTt1eBp/Wee0OlPcDjlFfS4=",
  "data": "2.A/Xy/XyuNcXpLueLV4b6FA==|8YqUCVnYrJi2VQPSLksDPwQvvBXxtSx5dUnkwIwCR8HJRl9Dv48s2X6+7trxMmXnsdzYK//p+JFc1bIRQXtLiXOeu2JS9h1B8xYFRhrneGDjlqSwKUkL5a049SWR5kyybZebjCI2lwyFLbrugvNKLtbjIpxCs0m0X7StXg75Nw/4oc1eTYnvHNv7AkM6y3QJ|qdUxJbDrw/axcRfC64DBpZMh3xOgcyGhHAINElCYFs4=",
  "kdfMemory": 16,
  "kdfParallelism": 2
}"#;

fn with_password<'a>(password: &'a AskPassword<'a>) -> Options<'a> {
    Options {
        password,
        ..Options::default()
    }
}

fn right(_: &str) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    Ok(Zeroizing::new("pässword 1".as_bytes().to_vec()))
}

fn error_of(text: &str, options: &Options<'_>) -> String {
    open(file(text.as_bytes()), options).err().unwrap().to_string()
}

fn items(items: Value) -> Vec<Entry> {
    let export = json!({ "encrypted": false, "folders": [], "items": items }).to_string();
    entries_of(&*open(file(export.as_bytes()), &Options::default()).unwrap())
}

fn item(value: Value) -> ImportedItem {
    item_of(items(json!([value])).remove(0))
}

/// Id, type and value of each field.
fn fields(item: &ImportedItem) -> Vec<(&str, FieldType, &str)> {
    item.fields
        .iter()
        .map(|field| (field.id.as_str(), field.field_type, field.value.as_str()))
        .collect()
}

#[test]
fn a_login_keeps_all_its_parts() {
    let login = item(json!({
        "id": ID, "type": 1, "name": "Web shop", "notes": "line 1\nline 2", "favorite": true, "reprompt": 0, "collectionIds": null,
        "fields": [
            { "name": "pin", "value": "1234", "type": 1 }, { "name": "password", "value": "second", "type": 0 },
            { "name": "flag", "value": "true", "type": 2 }, { "name": "who", "value": null, "type": 3, "linkedId": 100 }
        ],
        "login": {
            "uris": [{ "uri": "https://shop.example", "match": null }, { "uri": "https://other.example", "match": 3 }],
            "username": "me", "password": "s3cret", "totp": "JBSWY3DPEHPK3PXP", "fido2Credentials": [{ "credentialId": "x" }]
        },
        "passwordHistory": [
            { "lastUsedDate": "2020-01-01T00:00:00.000Z", "password": "oldest" },
            { "lastUsedDate": "2021-01-01T00:00:00.000Z", "password": "older" }
        ],
        "creationDate": "2019-05-01T10:00:00.000Z", "revisionDate": "2022-05-01T10:00:00.123Z", "deletedDate": null
    }));
    assert_eq!(
        (login.title.as_str(), login.category, login.favorite),
        ("Web shop", Category::Login, true)
    );
    assert_eq!(login.created_at.unwrap().to_string(), "2019-05-01T10:00:00Z");
    assert_eq!(
        fields(&login),
        [
            ("username", FieldType::String, "me"),
            ("password", FieldType::Concealed, "s3cret"),
            ("one-time password", FieldType::Otp, "JBSWY3DPEHPK3PXP"),
            ("pin", FieldType::Concealed, "1234"),
            ("password-2", FieldType::String, "second"),
            ("flag", FieldType::String, "true"),
            ("notesPlain", FieldType::String, "line 1\nline 2"),
        ]
    );
    assert_eq!(login.fields[1].purpose, Some(Purpose::Password));
    assert_eq!(
        login.fields[1].password_details.as_ref().unwrap().history,
        ["older", "oldest"]
    );
    assert!(login.fields[4].section.is_some());
    let primary: Vec<bool> = login.urls.iter().map(|url| url.primary).collect();
    assert_eq!(primary, [true, false]);
    assert_eq!(login.losses.len(), 2, "{:?}", login.losses);
}

#[test]
fn every_type_becomes_its_category() {
    let all = items(json!([
        { "id": "1", "type": 2, "name": "note", "notes": null, "archivedDate": "2023-01-01T00:00:00Z" },
        { "id": "2", "type": 3, "name": "card", "card": { "cardholderName": "J", "brand": "Visa", "number": "4111111111111111",
            "expMonth": "4", "expYear": "2031", "code": "123" } },
        { "id": "3", "type": 3, "name": "card", "card": { "expMonth": "13", "expYear": "31" } },
        { "id": "4", "type": 4, "name": "me", "identity": { "firstName": "J", "email": "a@b.example", "username": "jdoe", "ssn": "1" } },
        { "id": "5", "type": 5, "name": "key", "sshKey": { "privateKey": "P", "publicKey": "ssh-ed25519 A", "keyFingerprint": "SHA256:x" } },
        { "id": "6", "type": 6, "name": "bank", "bankAccount": { "bankName": "Acme", "pin": "1234" } },
        { "id": "7", "type": 99, "name": "new" },
        { "id": "8", "type": 1, "name": "gone", "deletedDate": "2023-01-01T00:00:00Z" },
    ]));
    let Entry::Skipped(skipped) = &all[7] else {
        panic!("{:?}", all[7])
    };
    assert_eq!(skipped.reason, "it is in the trash");
    let all: Vec<ImportedItem> = all.into_iter().take(7).map(item_of).collect();
    let categories: Vec<Category> = all.iter().map(|item| item.category).collect();
    assert_eq!(
        categories,
        [
            Category::SecureNote,
            Category::CreditCard,
            Category::CreditCard,
            Category::Identity,
            Category::SshKey,
            Category::BankAccount,
            Category::SecureNote
        ]
    );
    assert!(all[0].archived && !all[1].archived);
    assert!(fields(&all[1]).contains(&("expiry", FieldType::MonthYear, "203104")));
    assert!(fields(&all[1]).contains(&("cvv", FieldType::Concealed, "123")));
    assert_eq!(
        fields(&all[2]),
        [
            ("expMonth", FieldType::String, "13"),
            ("expYear", FieldType::String, "31")
        ]
    );
    assert_eq!(all[3].fields[0].label, "first name");
    assert_eq!(all[3].fields[2].purpose, Some(Purpose::Username));
    assert_eq!(fields(&all[4])[0], ("private_key", FieldType::SshKey, "P"));
    assert_eq!(fields(&all[5])[1], ("pin", FieldType::Concealed, "1234"));
    assert!(all[6].losses[0].contains("type 99"), "{:?}", all[6].losses);
}

#[test]
fn folders_and_collections_become_vaults_or_tags() {
    let export = json!({ "encrypted": false,
        "folders": [{ "id": "f", "name": "Work/Ops" }], "collections": [{ "id": "c", "name": "Team" }, { "id": "d", "name": "All" }],
        "items": [
            { "id": "1", "type": 2, "name": "a", "folderId": "f" },
            { "id": "2", "type": 2, "name": "b", "collectionIds": ["c", "d", "unknown"] },
            { "id": "3", "type": 2, "name": "c", "folderId": null },
        ] })
    .to_string();
    let placed = |groups| {
        let options = Options {
            groups,
            ..Options::default()
        };
        let source = open(file(export.as_bytes()), &options).unwrap();
        let vaults = source.vaults().unwrap();
        let items = entries_of(&*source).into_iter().map(item_of);
        items
            .map(|item| (vaults[item.vault].name.clone(), item.tags.join(",")))
            .collect::<Vec<_>>()
    };
    let pair = |vault: &str, tags: &str| (vault.to_owned(), tags.to_owned());
    assert_eq!(
        placed(Groups::Vaults),
        [pair("Work/Ops", ""), pair("Team", "All"), pair("Bitwarden", "")]
    );
    assert_eq!(
        placed(Groups::Tags),
        [
            pair("Bitwarden", "Work/Ops"),
            pair("Bitwarden", "Team,All"),
            pair("Bitwarden", "")
        ]
    );
}

#[test]
fn a_protected_export_opens_with_its_password_only() {
    for export in [PBKDF2, ARGON2] {
        let source = open(file(export.as_bytes()), &with_password(&right)).unwrap();
        let note = item_of(entries_of(&*source).remove(0));
        assert_eq!(
            (note.title.as_str(), note.fields[0].value.as_str()),
            ("a note", "s3cret")
        );
        let wrong = error_of(export, &with_password(&|_| Ok(Zeroizing::new(b"password 1".to_vec()))));
        assert!(wrong.contains("the password is wrong"), "{wrong}");
        let none = error_of(export, &Options::default());
        assert!(none.contains("encrypted with a password"), "{none}");
    }
}

#[test]
fn a_protected_export_that_was_changed_is_refused() {
    let change = |from: &str, to: &str| {
        let text = PBKDF2.replace(from, to);
        assert_ne!(text, PBKDF2);
        error_of(&text, &with_password(&right))
    };
    let data = change("Vvo2W7+6", "Vvo2W7+7");
    assert!(data.contains("changed or cut off"), "{data}");
    assert!(change("|ikCo5o4b", "|jkCo5o4b").contains("changed or cut off"));
    assert!(change("\"2.F2xx", "\"1.F2xx").contains("data: it is missing"));
    for (from, to, words) in [
        (
            "\"kdfIterations\": 5000",
            "\"kdfIterations\": 2000001",
            "kdfIterations: it is 2000001",
        ),
        ("\"kdfIterations\": 5000", "\"kdfIterations\": 0", "kdfIterations"),
        ("\"kdfType\": 0", "\"kdfType\": 2", "kdfType"),
        (
            "\"kdfType\": 0",
            "\"kdfType\": 1, \"kdfMemory\": 9000",
            "kdfIterations: it is 5000",
        ),
    ] {
        let error = change(from, to);
        assert!(error.contains(words), "{error}");
    }
    for (name, value) in [("kdfMemory", "1025"), ("kdfParallelism", "17"), ("kdfIterations", "11")] {
        let mut export: Value = serde_json::from_str(ARGON2).unwrap();
        export[name] = value.parse::<u32>().unwrap().into();
        let error = error_of(&export.to_string(), &with_password(&right));
        assert!(error.contains(&format!("{name}: it is {value}")), "{error}");
    }
}

#[test]
fn an_export_for_one_account_is_refused_with_the_way_out() {
    let export =
        json!({ "encrypted": true, "encKeyValidation_DO_NOT_EDIT": "2.a|b|c", "folders": [], "items": [] }).to_string();
    let error = error_of(&export, &with_password(&right));
    assert!(
        error.contains("password protected") && error.contains("bw export"),
        "{error}"
    );
}

fn archive(data: &str, files: &[(&str, &[u8])]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    let mut zip = ZipWriter::new(&mut file);
    let members = [("data.json", data.as_bytes())];
    for (name, content) in members.iter().chain(files) {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
    file
}

#[test]
fn attachments_are_files_of_their_items() {
    let data = json!({ "encrypted": false, "folders": [], "items": [
        { "id": ID, "type": 2, "name": "with" }, { "id": "2", "type": 2, "name": "without" } ] });
    let place = format!("attachments/{ID}/key file.pem");
    let archive = archive(&data.to_string(), &[(&place, b"s3cret"), ("attachments/other/x", b"")]);
    let source = open(archive, &Options::default()).unwrap();
    let entries: Vec<ImportedItem> = entries_of(&*source).into_iter().map(item_of).collect();
    let found = &entries[0].files[0];
    assert_eq!((found.name.as_str(), found.size), ("key file.pem", 6));
    assert!(entries[1].files.is_empty());
    let mut content = Vec::new();
    source
        .content(found, &mut |from| Ok(from.read_to_end(&mut content).map(drop)?))
        .unwrap();
    assert_eq!(content, b"s3cret");
}

#[test]
fn broken_exports_are_refused_without_their_values() {
    for (text, words) in [
        (
            r#"{"encrypted":false,"items":[{"id":"1","name":"s3cret","login":"s3cret"}]}"#,
            "a member has not the form",
        ),
        (
            r#"{"encrypted":false,"items":[{"id":"1"},{"id":"1"}]}"#,
            "item 1: the export has it twice",
        ),
        (r#"{"encrypted":["s3cret"]}"#, "in no format"),
    ] {
        let error = error_of(text, &Options::default());
        assert!(error.contains(words) && !error.contains("s3cret"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_strings_come_out_as_they_went_in(name in ".{0,20}", value in ".{0,40}", username in ".{1,20}", notes in ".{1,40}") {
        let item = item(json!({ "id": ID, "type": 1, "name": name, "notes": notes,
            "fields": [{ "name": name, "value": value, "type": 1 }], "login": { "username": username } }));
        prop_assert_eq!(&item.title, &name);
        let value_of = |purpose| item.fields.iter().find(|field| field.purpose == Some(purpose)).map(|field| field.value.clone());
        prop_assert_eq!(value_of(Purpose::Username), Some(username));
        prop_assert_eq!(value_of(Purpose::Notes), Some(notes));
        let custom = item.fields.iter().find(|field| field.purpose.is_none()).unwrap();
        prop_assert_eq!((&custom.label, &custom.value), (&name, &value));
        let ids: std::collections::HashSet<&String> = item.fields.iter().map(|field| &field.id).collect();
        prop_assert_eq!(ids.len(), item.fields.len());
    }
}
