//! An item that a client reads and sends back does not change.

use proptest::prelude::*;
use serde_json::{Value, json};
use sidevault_model::{Field, FieldType, File, FileId, Item, ItemInput, Purpose, SectionRef, Timestamp, patch, totp};

use crate::fixture::{self, field, login, patched, post, put};

/// The item without version, time and editor, which every change sets.
fn content(item: &Item) -> Item {
    Item {
        version: 0,
        updated_at: fixture::MADE,
        last_edited_by: String::new(),
        ..item.clone()
    }
}

/// An item with a password history and a file.
fn full() -> Item {
    let mut item = put(
        &login(),
        &String::from_utf8(login().full_json())
            .unwrap()
            .replace("hunter1", "hunter2"),
    )
    .unwrap();
    item.files = vec![File::new(item.vault, item.id, FileId::from_digest(&[9; 32]), "a", 0)];
    item
}

// Check 130.
#[test]
fn an_echoed_item_does_not_change() {
    let item = full();
    let mut answer = fixture::json(&totp::insert_codes(&item.full_json(), Timestamp::from_millis(0)));
    answer["createdAt"] = json!("0001-01-01T00:00:00Z");
    let back = put(&item, &answer.to_string()).unwrap();
    assert_eq!(content(&back), content(&item));
    assert_eq!(
        field(&back, "password").password_details.as_ref().unwrap().history,
        ["hunter1"]
    );
}

#[test]
fn an_echoed_item_of_another_server_does_not_change() {
    let mut item = full();
    // Values that this server does not accept in a changed field.
    item.fields
        .push(Field::new("odd", FieldType::Date, "odd", "last summer"));
    item.fields.push(Field::new("kind", FieldType::Unknown, "kind", "x"));
    item.title = "x".repeat(5_000);
    let back = put(&item, &String::from_utf8(item.full_json()).unwrap()).unwrap();
    assert_eq!(content(&back), content(&item));
    let back = patched(&item, r#"[{"op":"replace","path":"/favorite","value":true}]"#)
        .unwrap()
        .unwrap();
    assert_eq!(content(&back), content(&item));
}

// Checks 79, 80, 81 and 88.
#[test]
fn full_json_has_connects_shape() {
    let answer = fixture::json(&full().full_json());
    for member in [
        "id",
        "title",
        "version",
        "category",
        "createdAt",
        "updatedAt",
        "lastEditedBy",
    ] {
        assert!(!answer[member].is_null(), "{member}");
    }
    assert_eq!(answer["vault"], json!({"id": fixture::vault().to_string()}));
    assert_eq!(answer["createdAt"], "2023-11-14T22:13:20Z");
    assert_eq!(
        answer["urls"],
        json!([{"primary": true, "label": "web", "href": "https://a.example"}, {"href": "https://b.example"}])
    );
    assert_eq!(
        answer["fields"][4],
        json!({
            "id": "since", "type": "DATE", "label": "since", "value": "1714737660",
            "section": {"id": "Section_1", "label": "Extra"}
        })
    );
    // Check 90.
    assert_eq!(
        answer["fields"][2],
        json!({"id": "notesPlain", "type": "STRING", "purpose": "NOTES", "label": "notesPlain", "value": ""})
    );
    for field in answer["fields"].as_array().unwrap() {
        assert!(
            ["id", "type", "label", "value"]
                .iter()
                .all(|member| field[*member].is_string())
        );
        assert!(!field.as_object().unwrap().values().any(Value::is_null));
    }
}

#[test]
fn empty_members_are_left_out_except_favorite_fields_and_sections() {
    let answer = fixture::json(&post(r#"{"category":"SERVER"}"#).unwrap().full_json());
    let members: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "id",
            "title",
            "version",
            "vault",
            "category",
            "favorite",
            "createdAt",
            "updatedAt",
            "lastEditedBy",
            "sections",
            "fields"
        ]
    );
    assert_eq!(
        (&answer["favorite"], &answer["fields"], &answer["sections"]),
        (&json!(false), &json!([]), &json!([]))
    );
}

// Checks 58 and 76.
#[test]
fn a_summary_has_files_but_no_fields_or_sections() {
    let answer = fixture::json(&full().summary_json());
    assert!(answer.get("fields").is_none() && answer.get("sections").is_none());
    assert!(answer["files"][0]["content_path"].as_str().unwrap().starts_with("/v1/"));
    assert!(answer["vault"]["id"].is_string());
    let mut whole = fixture::json(&full().full_json());
    for member in ["fields", "sections"] {
        whole.as_object_mut().unwrap().remove(member);
    }
    assert_eq!(answer, whole);
}

#[test]
fn from_json_reads_items_and_summaries_and_quotes_nothing() {
    let item = full();
    assert_eq!(Item::from_json(&item.full_json()).unwrap(), item);
    let summary = Item::from_json(&item.summary_json()).unwrap();
    assert_eq!(
        summary,
        Item {
            fields: Vec::new(),
            sections: Vec::new(),
            ..item
        }
    );
    let error = Item::from_json(br#"{"id":"hunter2","title":3}"#)
        .unwrap_err()
        .to_string();
    assert!(error.contains("line 1") && !error.contains("hunter2"), "{error}");
}

#[test]
fn null_lists_and_unknown_words_are_read() {
    let body = json!({
        "id": fixture::id().to_string(), "title": "t", "vault": {"id": fixture::vault().to_string(), "name": "x"},
        "category": "CRYPTO_WALLET", "urls": null, "tags": null, "files": null, "sections": null, "fields": null,
        "state": "ACTIVE", "createdAt": "2021-03-04T05:06:07.123456+01:00", "updatedAt": null,
    });
    let item = Item::from_json(body.to_string().as_bytes()).unwrap();
    assert_eq!((item.category.as_str(), item.state, item.version), ("CUSTOM", None, 0));
}

#[test]
fn debug_shows_nothing_secret() {
    let item = full();
    let input = ItemInput::from(&item);
    for shown in [format!("{item:?}"), format!("{input:?}"), format!("{:?}", input.fields)] {
        for secret in ["hunter", "wendy", "Mail", "GEZDG"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn only_items_with_a_one_time_password_need_codes() {
    assert!(full().has_otp());
    assert!(
        !post(r#"{"category":"LOGIN","fields":[{"type":"OTP","value":""}]}"#)
            .unwrap()
            .has_otp()
    );
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-c]{1,3}", ".{0,8}"]
}

fn any_field() -> impl Strategy<Value = Value> {
    let types = prop_oneof![
        Just(json!(null)),
        Just(json!("STRING")),
        Just(json!("concealed")),
        Just(json!("OTP")),
        Just(json!("DATE"))
    ];
    let purposes = prop_oneof![4 => Just(json!(null)), 2 => Just(json!("")), 1 => Just(json!("PASSWORD")), 1 => Just(json!("notes"))];
    let sections = prop_oneof![
        Just(json!(null)),
        text().prop_map(|id| json!({"id": id})),
        (text(), text()).prop_map(|(id, label)| json!({"id": id, "label": label}))
    ];
    (text(), types, purposes, text(), sections, any::<bool>()).prop_map(
        |(id, field_type, purpose, value, section, generate)| {
            json!({"id": id, "type": field_type, "purpose": purpose, "label": value, "value": value, "section": section,
               "generate": generate, "recipe": {"length": 9}})
        },
    )
}

fn any_body() -> impl Strategy<Value = Value> {
    let lists = (
        prop::collection::vec(any_field(), 0..5),
        prop::collection::vec(
            (text(), text()).prop_map(|(id, label)| json!({"id": id, "label": label})),
            0..3,
        ),
        prop::collection::vec(
            (text(), any::<bool>()).prop_map(|(href, primary)| json!({"href": href, "primary": primary})),
            0..3,
        ),
        prop::collection::vec(text(), 0..3),
    );
    (text(), any::<bool>(), lists).prop_map(|(title, favorite, (fields, sections, urls, tags))| {
        json!({"title": title, "category": "LOGIN", "favorite": favorite, "fields": fields, "sections": sections, "urls": urls, "tags": tags})
    })
}

fn any_operation() -> impl Strategy<Value = Value> {
    let op = prop_oneof![Just("add"), Just("remove"), Just("replace")];
    let path = prop_oneof![
        Just("/title".to_owned()),
        Just("/tags".to_owned()),
        Just("/tags/0".to_owned()),
        Just("/urls/-".to_owned()),
        Just("/sections/Section_1".to_owned()),
        Just("/sections".to_owned()),
        Just("/fields".to_owned()),
        Just("/".to_owned()),
        "/fields/(password|otp|new)(/(label|value|type|purpose|section|generate|recipe))?",
        ".{0,12}",
    ];
    let value = prop_oneof![
        Just(json!(null)),
        text().prop_map(Value::from),
        any_field(),
        any_body(),
        Just(json!([])),
        Just(json!(true))
    ];
    (op, path, value).prop_map(|(op, path, value)| json!({"op": op, "path": path, "value": value}))
}

proptest! {
    #[test]
    fn an_input_is_read_back_from_its_json(body in any_body()) {
        let input = ItemInput::from_json(body.to_string().as_bytes()).unwrap();
        let sent = serde_json::to_vec(&input).unwrap();
        prop_assert!(ItemInput::from_json(&sent).unwrap() == input);
        prop_assert!(serde_json::from_slice::<ItemInput>(&sent).unwrap() == input);
    }

    #[test]
    fn an_accepted_item_reads_back_and_echoes(body in any_body()) {
        if let Ok(item) = post(&body.to_string()) {
            let sent = item.full_json();
            prop_assert!(Item::from_json(&sent).unwrap() == item);
            let echoed = put(&item, &String::from_utf8(sent).unwrap()).unwrap();
            prop_assert!(content(&echoed) == content(&item));
            let patched = patched(&item, r#"[{"op":"add","path":"/tags","value":[]}]"#).unwrap().unwrap();
            prop_assert!(content(&patched) == content(&item));
        }
    }

    #[test]
    fn changed_items_keep_the_rules(body in any_body(), operations in prop::collection::vec(any_operation(), 1..5)) {
        let Ok(item) = put(&login(), &body.to_string()) else { return Ok(()) };
        let Ok(Some(item)) = patched(&item, &Value::from(operations).to_string()) else { return Ok(()) };
        let ids: std::collections::HashSet<_> = item.fields.iter().map(|field| &field.id).collect();
        prop_assert_eq!(ids.len(), item.fields.len());
        prop_assert!(item.fields.iter().filter(|field| field.purpose == Some(Purpose::Password)).count() <= 1);
        let declared = |section: &SectionRef| item.sections.iter().any(|known| known.id == section.id);
        prop_assert!(item.fields.iter().filter_map(|field| field.section.as_ref()).all(declared));
        prop_assert!(item.urls.is_empty() || item.urls.iter().any(|url| url.primary));
        prop_assert_eq!(item.version, 3);
    }

    #[test]
    fn parsers_never_panic(bytes: Vec<u8>, text in ".*") {
        let _ = ItemInput::from_json(&bytes);
        let _ = patch::parse(&bytes);
        let _ = Item::from_json(text.as_bytes());
    }
}
