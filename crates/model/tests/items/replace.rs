//! PUT, and restoring an old version.

use sidevault_model::{Category, FieldType, File, FileId, Item, Purpose, State};

use crate::fixture::{CHANGED, MADE, field, id, login, post, put, restored, vault};

fn with_file(item: Item) -> Item {
    let file = File::new(item.vault, item.id, FileId::from_digest(&[3; 32]), "a.txt", 3);
    Item {
        files: vec![file],
        ..item
    }
}

// Checks 127 and 128: the new version is one more, whatever changed. The api shows the old number in its answer.
#[test]
fn every_put_adds_one_to_the_version() {
    let item = login();
    let echo = String::from_utf8(item.full_json()).unwrap();
    let second = put(&item, &echo).unwrap();
    let third = put(&second, &echo).unwrap();
    assert_eq!((item.version, second.version, third.version), (1, 2, 3));
    assert_eq!(
        (third.created_at, third.updated_at, third.last_edited_by.as_str()),
        (MADE, CHANGED, "EDITOR")
    );
}

// Check 129. The Python SDK and Ansible leave files out.
#[test]
fn files_stay() {
    let item = with_file(login());
    assert_eq!(put(&item, r#"{"category":"LOGIN"}"#).unwrap().files, item.files);
    assert_eq!(
        put(&item, r#"{"category":"LOGIN","files":[]}"#).unwrap().files,
        item.files
    );
}

// Checks 131 and 141. The notes field that POST added is not added again.
#[test]
fn members_that_are_left_out_are_cleared() {
    let item = put(
        &login(),
        r#"{"category":"LOGIN","fields":[{"id":"username","value":"w"}]}"#,
    )
    .unwrap();
    assert_eq!(item.fields.len(), 1);
    assert!(!item.favorite && item.title.is_empty() && item.tags.is_empty() && item.urls.is_empty());
    assert!(item.sections.is_empty());
}

// Check 132, and 159.
#[test]
fn type_and_purpose_of_a_known_field_are_kept() {
    let old = login();
    let body = r#"{"category":"LOGIN","fields":[{"id":"password","value":"n"},{"id":"since","value":"2024-05-04"}]}"#;
    let item = put(&old, body).unwrap();
    let password = field(&item, "password");
    assert_eq!(
        (password.field_type, password.purpose),
        (FieldType::Concealed, Some(Purpose::Password))
    );
    assert_eq!(password.label, "password");
    assert_eq!(field(&item, "since").field_type, FieldType::Date);
    assert_eq!(field(&item, "since").value, "1714824060");

    let mut key =
        post(r#"{"category":"SSH_KEY","title":"k","fields":[{"id":"private_key","type":"SSHKEY","value":"pem"}]}"#)
            .unwrap();
    // The Go SDK sends UNKNOWN for a type that it does not know.
    for sent in ["", r#","type":"UNKNOWN""#, r#","type":"SSHKEY""#] {
        key = put(
            &key,
            &format!(r#"{{"category":"SSH_KEY","title":"k2","fields":[{{"id":"private_key","value":"pem"{sent}}}]}}"#),
        )
        .unwrap();
        assert_eq!(
            (key.fields[0].id.as_str(), key.fields[0].field_type),
            ("private_key", FieldType::SshKey)
        );
    }
}

#[test]
fn a_purpose_moves_to_the_field_that_claims_it() {
    let body = r#"{"category":"LOGIN","fields":[{"id":"password","value":"old"},{"id":"new","purpose":"PASSWORD","value":"n"}]}"#;
    let item = put(&login(), body).unwrap();
    assert_eq!(field(&item, "password").purpose, None);
    assert_eq!(field(&item, "new").purpose, Some(Purpose::Password));
    // The history moves, too.
    assert_eq!(
        field(&item, "new").password_details.as_ref().unwrap().history,
        ["hunter1"]
    );
    // An explicit "" clears the purpose.
    let item = put(
        &login(),
        r#"{"category":"LOGIN","fields":[{"id":"password","purpose":"","value":"x"}]}"#,
    )
    .unwrap();
    assert_eq!(item.fields[0].purpose, None);
}

#[test]
fn a_password_sent_without_its_id_is_the_same_field() {
    let mut old = login();
    old.fields[1].id = "pw".to_owned();
    let item = put(
        &old,
        r#"{"category":"LOGIN","fields":[{"purpose":"PASSWORD","value":"n"}]}"#,
    )
    .unwrap();
    assert_eq!(item.fields[0].id, "pw");
}

// Check 133.
#[test]
fn custom_keeps_the_category() {
    let item = post(r#"{"category":"MEDICAL_RECORD"}"#).unwrap();
    assert_eq!(
        put(&item, r#"{"category":"CUSTOM"}"#).unwrap().category,
        Category::MedicalRecord
    );
    assert_eq!(
        put(&item, r#"{"category":"SERVER"}"#).unwrap().category,
        Category::Server
    );
    assert!(
        put(&item, r#"{"category":"FOO"}"#)
            .unwrap_err()
            .to_string()
            .starts_with("Invalid item category")
    );
    assert!(
        put(&item, "{}")
            .unwrap_err()
            .to_string()
            .starts_with("Invalid item category")
    );
}

// Checks 134 and 135.
#[test]
fn id_and_vault_must_be_those_of_the_path_or_absent() {
    let item = login();
    let other = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert!(
        put(&item, &format!(r#"{{"category":"LOGIN","id":"{other}"}}"#))
            .unwrap_err()
            .to_string()
            .contains("id")
    );
    assert!(put(&item, &format!(r#"{{"category":"LOGIN","vault":{{"id":"{other}"}}}}"#)).is_err());
    let same = format!(
        r#"{{"category":"LOGIN","id":"{}","vault":{{"id":"{}"}}}}"#,
        id(),
        vault()
    );
    assert!(put(&item, &same).is_ok());
    assert!(put(&item, r#"{"category":"LOGIN","id":"","vault":{"id":""}}"#).is_ok());
}

// Check 137.
#[test]
fn a_document_can_be_updated_but_no_item_becomes_one() {
    let document = with_file(Item {
        category: Category::Document,
        ..login()
    });
    let item = put(&document, r#"{"category":"DOCUMENT","title":"new"}"#).unwrap();
    assert_eq!(
        (item.title.as_str(), item.category, item.files.len()),
        ("new", Category::Document, 1)
    );
    assert!(put(&login(), r#"{"category":"DOCUMENT"}"#).is_err());
}

// Check 139.
#[test]
fn a_changed_password_joins_the_history_newest_first_and_bounded() {
    let mut item = login();
    for round in 2..=13 {
        let body = format!(r#"{{"category":"LOGIN","fields":[{{"id":"password","value":"hunter{round}"}}]}}"#);
        item = put(&item, &body).unwrap();
        // The same value again adds nothing to the history.
        item = put(&item, &body).unwrap();
    }
    let history = &item.fields[0].password_details.as_ref().unwrap().history;
    assert_eq!(history.len(), 10);
    assert_eq!((history[0].as_str(), history[9].as_str()), ("hunter12", "hunter3"));
    // A client can't change the history.
    let body =
        r#"{"category":"LOGIN","fields":[{"id":"password","value":"hunter13","passwordDetails":{"history":[]}}]}"#;
    assert_eq!(
        put(&item, body).unwrap().fields[0].password_details,
        item.fields[0].password_details
    );
}

#[test]
fn generate_on_put_makes_a_new_password() {
    let item = put(
        &login(),
        r#"{"category":"LOGIN","fields":[{"id":"password","generate":true}]}"#,
    )
    .unwrap();
    assert_eq!(item.fields[0].value.len(), 32);
    assert_eq!(item.fields[0].password_details.as_ref().unwrap().history, ["hunter1"]);
}

// Check 140.
#[test]
fn tags_keep_their_order() {
    assert_eq!(
        put(&login(), r#"{"category":"LOGIN","tags":["b","a"]}"#).unwrap().tags,
        ["b", "a"]
    );
}

#[test]
fn a_url_keeps_its_label_unless_it_is_cleared() {
    let urls = |body: &str| put(&login(), body).unwrap().urls;
    let kept = urls(
        r#"{"category":"LOGIN","urls":[{"href":"https://b.example"},{"href":"https://a.example","primary":true}]}"#,
    );
    assert_eq!(
        (kept[0].label.as_deref(), kept[1].label.as_deref()),
        (None, Some("web"))
    );
    let cleared = urls(r#"{"category":"LOGIN","urls":[{"href":"https://a.example","label":""}]}"#);
    assert_eq!(cleared[0].label, None);
}

#[test]
fn a_section_that_only_fields_name_keeps_its_label() {
    let item = put(
        &login(),
        r#"{"category":"LOGIN","fields":[{"id":"otp","value":"x","section":{"id":"Section_1"}}]}"#,
    )
    .unwrap();
    assert_eq!(item.sections[0].label, "Extra");
}

#[test]
fn a_declared_section_without_a_label_loses_its_label() {
    // Terraform (Go) leaves the label out, others send it empty; the fields may still carry the old one.
    for declared in [
        r#"{"id":"Section_1"}"#,
        r#"{"id":"Section_1","label":""}"#,
        r#"{"id":"Section_1","label":null}"#,
    ] {
        for named in [
            r#"{"id":"Section_1"}"#,
            r#"{"id":"Section_1","label":""}"#,
            r#"{"id":"Section_1","label":"Extra"}"#,
        ] {
            let item = put(
                &login(),
                &format!(
                    r#"{{"category":"LOGIN","sections":[{declared}],"fields":[{{"id":"otp","value":"x","section":{named}}}]}}"#
                ),
            )
            .unwrap();
            assert_eq!(item.sections[0].label, "", "{declared} {named}");
            assert_eq!(
                item.fields[0].section.as_ref().unwrap().label,
                None,
                "{declared} {named}"
            );
            // A later echo does not bring it back.
            let echo = put(&item, &String::from_utf8(item.full_json()).unwrap()).unwrap();
            assert_eq!(echo.sections, item.sections);
        }
    }
}

#[test]
fn a_section_without_a_label_gets_the_label_that_a_field_sends() {
    let unlabelled = put(
        &login(),
        r#"{"category":"LOGIN","sections":[{"id":"Section_1"},{"id":"s2"}]}"#,
    )
    .unwrap();
    let item = put(
        &unlabelled,
        r#"{"category":"LOGIN","sections":[{"id":"Section_1"},{"id":"s2"},{"id":"s3"}],"fields":[
            {"id":"a","section":{"id":"Section_1","label":"A"}},{"id":"b","section":{"id":"s3","label":"B"}}]}"#,
    )
    .unwrap();
    let labels: Vec<&str> = item.sections.iter().map(|section| section.label.as_str()).collect();
    assert_eq!(labels, ["A", "", "B"]);
}

#[test]
fn everything_a_client_decides_can_be_cleared_by_an_empty_value() {
    let body = r#"{"category":"LOGIN","title":"","favorite":false,"tags":[],"urls":[{"href":"https://a.example","label":""}],
        "sections":[{"id":"Section_1","label":""}],"fields":[
            {"id":"username","purpose":"","label":"","value":""},
            {"id":"password","purpose":"","label":"","value":"","type":"STRING"},
            {"id":"notesPlain","purpose":"NOTES","value":""},
            {"id":"otp","type":"OTP","label":"","value":"","section":{"id":""}},
            {"id":"since","type":"DATE","label":"","value":"","section":null}]}"#;
    let item = put(&login(), body).unwrap();
    assert!(!item.favorite && item.title.is_empty() && item.tags.is_empty());
    assert_eq!((item.urls.len(), &item.urls[0].label), (1, &None));
    assert_eq!(item.sections[0].label, "");
    for field in &item.fields {
        assert_eq!((field.value.as_str(), &field.section), ("", &None), "{field:?}");
    }
    let played: Vec<_> = item
        .fields
        .iter()
        .map(|field| (field.purpose, field.label.as_str()))
        .collect();
    // Notes always have a label, as every field with a purpose (Connect 1.5.0).
    let notes = (Some(Purpose::Notes), "notesPlain");
    assert_eq!(played, [(None, ""), (None, ""), notes, (None, ""), (None, "")]);
    assert_eq!(item.fields[1].field_type, FieldType::String);
}

#[test]
fn state_stays() {
    let item = Item {
        state: Some(State::Archived),
        ..login()
    };
    assert_eq!(
        put(&item, r#"{"category":"LOGIN","state":"DELETED"}"#).unwrap().state,
        Some(State::Archived)
    );
}

#[test]
fn restoring_makes_a_new_version_with_old_content() {
    let old = login();
    let new = put(
        &with_file(old.clone()),
        r#"{"category":"SERVER","title":"x","fields":[{"id":"password","value":"hunter2"}]}"#,
    )
    .unwrap();
    let back = restored(
        &Item {
            state: Some(State::Deleted),
            ..new.clone()
        },
        &old,
    );
    assert_eq!((back.version, back.updated_at, back.state), (3, CHANGED, None));
    assert_eq!(
        (back.title.as_str(), back.category, back.tags.len()),
        ("Mail", Category::Login, 2)
    );
    assert_eq!((back.files, back.created_at), (new.files, MADE));
    let password = back.fields.iter().find(|field| field.id == "password").unwrap();
    assert_eq!(password.value, "hunter1");
    assert_eq!(
        password.password_details.as_ref().unwrap().history,
        ["hunter2", "hunter1"]
    );
}
