//! POST.

use sidevault_model::{Category, FieldType, Purpose};

use crate::fixture::{MADE, field, id, json, login, post, posted_field, vault};

fn refusal(body: &str) -> String {
    post(body).unwrap_err().to_string()
}

fn field_refusal(field: &str) -> String {
    posted_field(field).unwrap_err().to_string()
}

// Check 92.
#[test]
fn a_minimal_login_gets_version_1_and_the_servers_members() {
    let item = post(r#"{"category":"LOGIN"}"#).unwrap();
    assert_eq!((item.id, item.vault, item.version), (id(), vault(), 1));
    assert_eq!(
        (item.created_at, item.updated_at, item.last_edited_by.as_str()),
        (MADE, MADE, "MAKER")
    );
    assert_eq!((item.title.as_str(), item.favorite, item.state), ("", false, None));
}

// Check 93. The Go SDK sends all of these.
#[test]
fn ids_times_and_states_of_the_client_are_ignored() {
    let item = post(
        r#"{"id":"","title":"x","category":"LOGIN","version":9,"createdAt":"0001-01-01T00:00:00Z","trashed":true,
            "updatedAt":"0001-01-01T00:00:00Z","lastEditedBy":"ME","state":"ARCHIVED","vault":{"id":""},"files":null}"#,
    )
    .unwrap();
    assert_eq!(
        (item.id, item.version, item.created_at, item.state),
        (id(), 1, MADE, None)
    );
    // An id of another item, too: POST always makes a new one.
    assert_eq!(
        post(r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","category":"LOGIN"}"#)
            .unwrap()
            .id,
        id()
    );
}

// Check 94.
#[test]
fn a_field_without_an_id_gets_one_and_keeps_its_type() {
    let field = posted_field(r#"{"id":"","type":"EMAIL","label":"x","value":"y"}"#).unwrap();
    assert_eq!((field.id.len(), field.field_type), (26, FieldType::Email));
}

#[test]
fn a_field_with_a_purpose_and_no_id_gets_the_usual_id() {
    let item = post(r#"{"category":"LOGIN","fields":[{"purpose":"PASSWORD"},{"purpose":"NOTES"}]}"#).unwrap();
    assert_eq!(
        (item.fields[0].id.as_str(), item.fields[1].id.as_str()),
        ("password", "notesPlain")
    );
    // If the usual id is taken, the field gets a new one.
    let item = post(r#"{"category":"LOGIN","fields":[{"purpose":"PASSWORD"},{"id":"password"}]}"#).unwrap();
    assert_eq!((item.fields[0].id.len(), item.fields[1].id.as_str()), (26, "password"));
}

// Check 95.
#[test]
fn ids_of_fields_and_sections_are_kept() {
    for id in [
        "7f7e1a9b-0000-4000-8000-1c2d3e4f5a6b",
        "TOTP_0011",
        "linked items",
        "ü/~",
    ] {
        let body = format!(
            r#"{{"category":"SERVER","sections":[{{"id":"{id}"}}],"fields":[{{"id":"{id}","section":{{"id":"{id}"}}}}]}}"#
        );
        let item = post(&body).unwrap();
        assert_eq!((item.fields[0].id.as_str(), item.sections[0].id.as_str()), (id, id));
    }
}

// Check 96. Ansible.
#[test]
fn null_is_the_same_as_absent() {
    let item = post(
        r#"{"category":"LOGIN","title":null,"urls":null,"tags":null,"sections":null,"favorite":null,"vault":null,
            "fields":[{"id":null,"label":null,"value":null,"type":null,"purpose":null,"section":{"id":null},
                       "recipe":null,"generate":null}]}"#,
    )
    .unwrap();
    assert_eq!(
        (item.fields[0].section.as_ref(), item.fields[0].value.as_str()),
        (None, "")
    );
    for section in ["null", "{}", r#"{"id":""}"#, r#"{"id":null,"label":null}"#] {
        assert_eq!(
            posted_field(&format!(r#"{{"section":{section}}}"#)).unwrap().section,
            None
        );
    }
}

// Check 97. Terraform and ESO.
#[test]
fn a_section_that_only_a_field_names_is_created() {
    let item = post(
        r#"{"category":"DATABASE","fields":[{"id":"a","section":{"id":"s1","label":"Extra"}},{"id":"b","section":{"id":"s1"}}]}"#,
    )
    .unwrap();
    assert_eq!(
        json(&item.full_json())["sections"],
        serde_json::json!([{"id": "s1", "label": "Extra"}])
    );
    for field in &item.fields {
        assert_eq!(field.section.as_ref().unwrap().label.as_deref(), Some("Extra"));
    }
}

#[test]
fn a_section_named_by_label_is_found_or_created() {
    let item = post(
        r#"{"category":"SERVER","sections":[{"id":"s1","label":"Known"},{"label":"Fresh"},{"id":"","label":""}],
            "fields":[{"section":{"label":"Known"}},{"section":{"label":"New"}}]}"#,
    )
    .unwrap();
    // The section with neither id nor label is left out.
    let labels: Vec<_> = item.sections.iter().map(|section| section.label.as_str()).collect();
    assert_eq!(labels, ["Known", "Fresh", "New"]);
    assert_eq!(item.fields[0].section.as_ref().unwrap().id, "s1");
    assert_eq!(item.fields[1].section.as_ref().unwrap().id, item.sections[2].id);
    assert_eq!(item.sections[1].id.len(), 26);
}

// Check 98, and 90.
#[test]
fn fields_with_a_purpose_always_have_a_label() {
    for (purpose, label) in [
        ("USERNAME", "username"),
        ("PASSWORD", "password"),
        ("NOTES", "notesPlain"),
    ] {
        for sent in ["", r#","label":"""#, r#","label":null"#] {
            let field = posted_field(&format!(r#"{{"id":"x","purpose":"{purpose}"{sent}}}"#)).unwrap();
            assert_eq!(field.label, label);
        }
    }
    assert_eq!(
        posted_field(r#"{"purpose":"username","label":"Who"}"#).unwrap().label,
        "Who"
    );
    assert_eq!(posted_field(r#"{"purpose":"","value":"x"}"#).unwrap().label, "");
}

// Check 99.
#[test]
fn two_passwords_or_usernames_are_refused_in_connects_words() {
    let two = |purpose: &str| {
        refusal(&format!(
            r#"{{"category":"LOGIN","fields":[{{"purpose":"{purpose}"}},{{"purpose":"{purpose}"}}]}}"#
        ))
    };
    assert!(two("PASSWORD").contains(r#"You can only use one "password" field."#));
    assert!(two("USERNAME").contains(r#"You can only use one "username" field."#));
    assert!(two("PASSWORD").starts_with("fields[1]"));
}

// Check 100.
#[test]
fn generate_without_a_recipe_makes_32_characters() {
    for recipe in [
        "",
        r#","recipe":null"#,
        r#","recipe":{}"#,
        r#","recipe":{"length":32,"characterSets":[]}"#,
    ] {
        let field = posted_field(&format!(r#"{{"purpose":"PASSWORD","generate":true{recipe}}}"#)).unwrap();
        assert_eq!(field.value.len(), 32);
        assert!(field.value.bytes().any(|byte| byte.is_ascii_punctuation()));
        assert!(field.entropy.unwrap() > 200.0);
    }
}

// Checks 101 and 104.
#[test]
fn a_recipe_is_followed() {
    let field = posted_field(
        r#"{"generate":true,"value":"","recipe":{"length":64,"characterSets":["LETTERS","DIGITS"],"excludeCharacters":"Oo0Il1"}}"#,
    )
    .unwrap();
    assert_eq!(field.value.len(), 64);
    assert!(
        field
            .value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() && !"Oo0Il1".contains(c))
    );
    // Check 124: the spelling of Connect 1.5.
    let field =
        posted_field(r#"{"generate":true,"recipe":{"length":9,"character_sets":["DIGITS"],"exclude_characters":"0"}}"#)
            .unwrap();
    assert!(field.value.len() == 9 && field.value.bytes().all(|byte| (b'1'..=b'9').contains(&byte)));
}

// Checks 102, 103 and 105.
#[test]
fn an_impossible_recipe_is_refused() {
    for recipe in [
        r#"{"length":0}"#,
        r#"{"length":65}"#,
        r#"{"length":-1}"#,
        r#"{"length":"32"}"#,
        r#"{"length":1e99}"#,
        r#"{"characterSets":["RUNES"]}"#,
        r#"{"characterSets":["DIGITS"],"excludeCharacters":"0123456789"}"#,
        "[]",
    ] {
        let message = field_refusal(&format!(r#"{{"generate":true,"recipe":{recipe}}}"#));
        assert!(message.starts_with("fields[0].recipe"), "{message}");
    }
}

// Check 106.
#[test]
fn generate_keeps_an_existing_value() {
    assert_eq!(
        posted_field(r#"{"generate":true,"value":"mine"}"#).unwrap().value,
        "mine"
    );
}

// Check 107.
#[test]
fn any_field_of_any_category_can_be_generated() {
    let item = post(r#"{"category":"DATABASE","fields":[{"id":"a","section":{"id":"s"},"generate":true}]}"#).unwrap();
    assert_eq!(item.fields[0].value.len(), 32);
    assert_eq!(item.fields[0].entropy, None);
    let sent = String::from_utf8(item.full_json()).unwrap();
    assert!(!sent.contains("generate") && !sent.contains("recipe"));
}

// Check 108.
#[test]
fn totp_is_refused_as_a_type() {
    assert!(field_refusal(r#"{"type":"TOTP","value":"x"}"#).contains("fields[0] has unsupported field type: totp"));
    assert!(field_refusal(r#"{"type":"WAX_SEAL"}"#).contains("unsupported field type"));
}

// Check 109.
#[test]
fn types_are_read_in_any_case_and_default_to_string() {
    assert_eq!(
        posted_field(r#"{"type":"string"}"#).unwrap().field_type,
        FieldType::String
    );
    assert_eq!(
        posted_field(r#"{"type":"Month_Year"}"#).unwrap().field_type,
        FieldType::MonthYear
    );
    assert_eq!(posted_field(r#"{"type":""}"#).unwrap().field_type, FieldType::String);
    assert_eq!(
        posted_field(r#"{"purpose":"PASSWORD","type":"STRING"}"#)
            .unwrap()
            .field_type,
        FieldType::Concealed
    );
}

// Checks 110, 111 and 112.
#[test]
fn dates_are_converted_or_refused() {
    assert_eq!(
        posted_field(r#"{"type":"DATE","value":"2024-05-03"}"#).unwrap().value,
        "1714737660"
    );
    assert_eq!(posted_field(r#"{"type":"DATE"}"#).unwrap().value, "");
    assert!(field_refusal(r#"{"type":"DATE","value":"abc"}"#).starts_with("fields[0] must have a DATE value"));
    assert!(field_refusal(r#"{"type":"MONTH_YEAR","value":"202213"}"#).contains("YYYYMM"));
}

// Checks 113, 114 and 115.
#[test]
fn unknown_custom_and_document_categories_are_refused() {
    assert!(refusal("{}").starts_with("Invalid item category"));
    assert!(refusal(r#"{"category":""}"#).starts_with("Invalid item category"));
    assert_eq!(refusal(r#"{"category":"FOO"}"#), "Invalid item category");
    assert!(refusal(r#"{"category":"CUSTOM"}"#).contains("CUSTOM cannot be created"));
    assert!(refusal(r#"{"category":"DOCUMENT"}"#).contains("DOCUMENT cannot be created"));
    for category in Category::ALL {
        let possible = !matches!(category, Category::Custom | Category::Document);
        assert_eq!(
            post(&format!(r#"{{"category":"{}"}}"#, category.as_str().to_lowercase())).is_ok(),
            possible
        );
    }
}

// Check 116.
#[test]
fn another_vault_in_the_body_is_refused() {
    assert!(refusal(r#"{"category":"LOGIN","vault":{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}}"#).contains("vault.id"));
    assert!(post(&format!(r#"{{"category":"LOGIN","vault":{{"id":"{}"}}}}"#, vault())).is_ok());
}

// Check 117.
#[test]
fn bodies_that_are_no_object_are_refused() {
    for body in [
        "",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{",
        r#"{"category":"LOGIN""#,
        "category: LOGIN",
    ] {
        assert!(post(body).is_err(), "{body}");
    }
}

// Check 119.
#[test]
fn two_fields_with_one_id_are_refused() {
    let message = refusal(r#"{"category":"LOGIN","fields":[{"id":"a"},{"id":"b"},{"id":"a"}]}"#);
    assert_eq!(message, "fields[2] has the id of another field");
}

// Check 120.
#[test]
fn unknown_members_are_ignored() {
    let body = r#"{"category":"LOGIN","x":{"y":[1]},"fields":[{"id":"a","totp":"1","entropy":"?","passwordDetails":{"history":["x"]},"q":0}]}"#;
    let item = post(body).unwrap();
    assert_eq!(
        (item.fields[0].entropy, &item.fields[0].password_details),
        (None, &None)
    );
}

// Checks 121 and 122.
#[test]
fn values_are_kept_to_the_byte() {
    let odd = "a\u{0}b\r\n\u{1f511}\u{7f}\u{feff} end ";
    let body = serde_json::json!({"category": "LOGIN", "fields": [{"id": "a", "value": odd}, {"id": "b", "value": "x".repeat(1 << 20)}]});
    let item = post(&body.to_string()).unwrap();
    let read = json(&item.full_json());
    assert_eq!(read["fields"][0]["value"], odd);
    assert_eq!(read["fields"][1]["value"].as_str().unwrap().len(), 1 << 20);
}

// Check 123, 126.
#[test]
fn invalid_utf8_and_deep_nesting_are_refused() {
    let mut body = br#"{"category":"LOGIN","title":""#.to_vec();
    body.extend([0xff, b'"', b'}']);
    assert!(sidevault_model::ItemInput::from_json(&body).is_err());
    assert!(post(&format!(r#"{{"category":"LOGIN","x":{}"#, "[".repeat(10_000))).is_err());
    assert!(post(r#"{"category":"LOGIN","title":"\ud800"}"#).is_err());
}

#[test]
fn a_member_of_the_wrong_type_is_named_without_its_value() {
    for (body, place) in [
        (r#"{"fields":[{},{"value":98765}]}"#, "fields[1].value must be a string"),
        (
            r#"{"fields":[{"section":"hunter2"}]}"#,
            "fields[0].section must be a JSON object",
        ),
        (r#"{"fields":{"hunter2":1}}"#, "fields must be a list"),
        (r#"{"favorite":"hunter2"}"#, "favorite must be true or false"),
        (r#"{"tags":["a",["hunter2"]]}"#, "tags[1] must be a string"),
        (r#"{"urls":[{"url":"hunter2"}]}"#, "urls[0] must have an href"),
        (r#"{"vault":"hunter2"}"#, "vault must be a JSON object"),
    ] {
        assert_eq!(refusal(body), place);
    }
    assert!(!refusal(r#"{"category":"hunter2"}"#).contains("hunter2"));
    assert!(!field_refusal(r#"{"type":"hunter2"}"#).contains("hunter2"));
    assert!(!field_refusal(r#"{"purpose":"hunter2"}"#).contains("hunter2"));
    assert!(!field_refusal(r#"{"type":"DATE","value":"hunter2"}"#).contains("hunter2"));
}

#[test]
fn a_password_has_entropy_and_other_fields_have_none() {
    let item = login();
    assert!(field(&item, "password").entropy.unwrap() > 30.0);
    assert_eq!(field(&item, "username").entropy, None);
    assert_eq!(posted_field(r#"{"purpose":"PASSWORD"}"#).unwrap().entropy, None);
}

#[test]
fn the_first_url_is_primary_if_none_is() {
    let primaries = |urls: &str| -> Vec<bool> {
        let item = post(&format!(r#"{{"category":"LOGIN","urls":[{urls}]}}"#)).unwrap();
        item.urls.iter().map(|url| url.primary).collect()
    };
    assert_eq!(primaries(r#"{"href":"a"},{"href":"b"}"#), [true, false]);
    assert_eq!(primaries(r#"{"href":"a"},{"href":"b","primary":true}"#), [false, true]);
    assert_eq!(primaries(r#"{"href":"a","primary":false}"#), [true]);
}

#[test]
fn tags_keep_their_order_and_lose_duplicates() {
    let item = post(r#"{"category":"LOGIN","tags":["b","a","b","A",""]}"#).unwrap();
    assert_eq!(item.tags, ["b", "a", "A"]);
}

#[test]
fn notes_are_added_to_logins_and_secure_notes_only() {
    let ids = |category: &str| -> Vec<String> {
        let item = post(&format!(r#"{{"category":"{category}","fields":[{{"id":"x"}}]}}"#)).unwrap();
        item.fields.into_iter().map(|field| field.id).collect()
    };
    assert_eq!(ids("LOGIN"), ["x", "notesPlain"]);
    assert_eq!(ids("SECURE_NOTE"), ["x", "notesPlain"]);
    // External Secrets deletes a SERVER item when its last field is removed.
    assert_eq!(ids("SERVER"), ["x"]);
    let item = post(r#"{"category":"LOGIN","fields":[{"id":"n","purpose":"NOTES","value":"hi"}]}"#).unwrap();
    assert_eq!((item.fields.len(), item.fields[0].purpose), (1, Some(Purpose::Notes)));
}

#[test]
fn limits_are_enforced() {
    let long = "x".repeat(1_025);
    assert!(refusal(&format!(r#"{{"category":"LOGIN","title":"{long}"}}"#)).contains("1024"));
    assert!(field_refusal(&format!(r#"{{"label":"{long}"}}"#)).contains("1024"));
    assert!(field_refusal(&format!(r#"{{"id":"{long}"}}"#)).contains("256"));
    assert!(field_refusal(&format!(r#"{{"section":{{"id":"{long}"}}}}"#)).contains("256"));
    let fields = vec!["{}"; 10_001].join(",");
    assert!(refusal(&format!(r#"{{"category":"LOGIN","fields":[{fields}]}}"#)).contains("10000"));
    // Characters, not bytes.
    assert!(post(&format!(r#"{{"category":"LOGIN","title":"{}"}}"#, "ü".repeat(1_024))).is_ok());
}

#[test]
fn declared_and_named_sections_are_bounded() {
    let declared: Vec<String> = (0..1_001).map(|at| format!(r#"{{"id":"{at}"}}"#)).collect();
    assert!(
        refusal(&format!(
            r#"{{"category":"LOGIN","sections":[{}]}}"#,
            declared.join(",")
        ))
        .contains("1000")
    );
    let named: Vec<String> = declared
        .iter()
        .map(|section| format!(r#"{{"section":{section}}}"#))
        .collect();
    assert!(refusal(&format!(r#"{{"category":"LOGIN","fields":[{}]}}"#, named.join(","))).starts_with("fields[1000]"));
}
