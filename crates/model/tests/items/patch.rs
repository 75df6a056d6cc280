//! PATCH.

use sidevault_model::{FieldType, Item, Purpose, patch};

use crate::fixture::{CHANGED, field, login, patched};

fn good(body: &str) -> Item {
    patched(&login(), body).unwrap().unwrap()
}

fn refusal(body: &str) -> String {
    patched(&login(), body).unwrap_err().to_string()
}

// Check 142.
#[test]
fn no_operations_change_nothing() {
    assert_eq!(patched(&login(), "[]").unwrap(), None);
}

// Check 143.
#[test]
fn replacing_the_title_leaves_the_rest() {
    let item = good(r#"[{"op":"replace","path":"/title","value":"Post"}]"#);
    let old = login();
    assert_eq!(
        (item.title.as_str(), item.version, item.updated_at),
        ("Post", 2, CHANGED)
    );
    assert_eq!(
        Item {
            title: old.title.clone(),
            version: 1,
            updated_at: old.updated_at,
            last_edited_by: "MAKER".into(),
            ..item
        },
        old
    );
}

// Check 144.
#[test]
fn replacing_a_value_by_field_id() {
    let item = good(r#"[{"op":"replace","path":"/fields/password/value","value":"hunter2"}]"#);
    let password = field(&item, "password");
    assert_eq!(
        (password.value.as_str(), password.purpose),
        ("hunter2", Some(Purpose::Password))
    );
    assert_eq!(password.password_details.as_ref().unwrap().history, ["hunter1"]);
    assert_eq!(
        good(r#"[{"op":"replace","path":"/fields/notesPlain/value","value":"n"}]"#).fields[2].value,
        "n"
    );
}

// Check 145.
#[test]
fn adding_a_field_appends_it_with_an_id() {
    let item = good(r#"[{"op":"add","path":"/fields","value":{"type":"string","label":"pin","value":"1"}}]"#);
    let added = item.fields.last().unwrap();
    assert_eq!(
        (item.fields.len(), added.id.len(), added.label.as_str()),
        (6, 26, "pin")
    );
    assert_eq!(
        good(r#"[{"op":"add","path":"/fields/-","value":{"id":"z"}}]"#).fields[5].id,
        "z"
    );
    assert_eq!(
        good(r#"[{"op":"add","path":"/fields/z","value":{"value":"v"}}]"#).fields[5].id,
        "z"
    );
    assert_eq!(
        good(r#"[{"op":"add","path":"/fields","value":[{"id":"y"},{"id":"z"}]}]"#)
            .fields
            .len(),
        7
    );
}

// Check 146.
#[test]
fn removing_a_field() {
    let item = good(r#"[{"op":"remove","path":"/fields/otp"}]"#);
    assert!(item.fields.len() == 4 && item.fields.iter().all(|field| field.id != "otp"));
}

// Check 147.
#[test]
fn tags_by_index() {
    assert_eq!(good(r#"[{"op":"remove","path":"/tags/1"}]"#).tags, ["work"]);
    assert_eq!(
        good(r#"[{"op":"replace","path":"/tags/0","value":"home"}]"#).tags,
        ["home", "mail"]
    );
    assert_eq!(
        good(r#"[{"op":"add","path":"/tags/1","value":"x"}]"#).tags,
        ["work", "x", "mail"]
    );
    assert_eq!(
        good(r#"[{"op":"add","path":"/tags/-","value":"x"}]"#).tags,
        ["work", "mail", "x"]
    );
    assert_eq!(
        good(r#"[{"op":"add","path":"/tags","value":"x"}]"#).tags,
        ["work", "mail", "x"]
    );
    assert_eq!(good(r#"[{"op":"replace","path":"/tags","value":["x"]}]"#).tags, ["x"]);
    assert!(good(r#"[{"op":"remove","path":"/tags"}]"#).tags.is_empty());
    let behind_the_last = r#"[{"op":"add","path":"/tags/2","value":"x"}]"#;
    assert_eq!(good(behind_the_last).tags, ["work", "mail", "x"]);
    assert!(refusal(&behind_the_last.replace('2', "3")).contains("index"));
    for bad in ["2", "01", "+1", "-1", "x", "99999999999999999999", ""] {
        assert!(
            refusal(&format!(r#"[{{"op":"remove","path":"/tags/{bad}"}}]"#)).contains("index"),
            "{bad}"
        );
    }
}

#[test]
fn urls_by_index() {
    let item = good(r#"[{"op":"replace","path":"/urls/0/label","value":"site"},{"op":"remove","path":"/urls/1"}]"#);
    assert_eq!((item.urls.len(), item.urls[0].label.as_deref()), (1, Some("site")));
    assert_eq!(good(r#"[{"op":"remove","path":"/urls/0/label"}]"#).urls[0].label, None);
    assert_eq!(
        good(r#"[{"op":"add","path":"/urls","value":{"href":"c"}}]"#).urls[2].href,
        "c"
    );
    // If the primary URL is removed, another one becomes primary.
    assert!(good(r#"[{"op":"remove","path":"/urls/0"}]"#).urls[0].primary);
    assert!(refusal(r#"[{"op":"replace","path":"/urls/0/href","value":null}]"#).contains("href"));
}

#[test]
fn sections_by_id() {
    let item = good(r#"[{"op":"replace","path":"/sections/Section_1/label","value":"More"}]"#);
    assert_eq!(item.sections[0].label, "More");
    assert_eq!(
        field(&item, "otp").section.as_ref().unwrap().label.as_deref(),
        Some("More")
    );
    assert_eq!(
        good(r#"[{"op":"add","path":"/sections","value":{"id":"s2","label":"x"}}]"#)
            .sections
            .len(),
        2
    );
    // The section's fields stay.
    for path in ["/sections/Section_1", "/sections"] {
        let item = good(&format!(r#"[{{"op":"remove","path":"{path}"}}]"#));
        assert!(item.sections.is_empty() && item.fields.len() == 5 && field(&item, "otp").section.is_none());
    }
    assert!(refusal(r#"[{"op":"remove","path":"/sections/nope"}]"#).contains("no section with this id"));
}

#[test]
fn everything_an_operation_can_set_can_be_cleared() {
    for operation in [
        r#"{"op":"remove","path":"/sections/Section_1/label"}"#,
        r#"{"op":"replace","path":"/sections/Section_1/label","value":""}"#,
        r#"{"op":"replace","path":"/sections/Section_1/label","value":null}"#,
        r#"{"op":"replace","path":"/sections/Section_1","value":{"id":"Section_1"}}"#,
        r#"{"op":"replace","path":"/sections/Section_1","value":{"label":""}}"#,
        r#"{"op":"replace","path":"/sections","value":[{"id":"Section_1"}]}"#,
    ] {
        let item = good(&format!("[{operation}]"));
        assert_eq!(item.sections[0].label, "", "{operation}");
        assert_eq!(field(&item, "otp").section.as_ref().unwrap().label, None, "{operation}");
    }
    for operation in [
        r#"{"op":"remove","path":"/urls/0/label"}"#,
        r#"{"op":"replace","path":"/urls/0/label","value":""}"#,
        r#"{"op":"replace","path":"/urls/0","value":{"href":"https://a.example"}}"#,
        r#"{"op":"replace","path":"/urls","value":[{"href":"https://a.example"}]}"#,
    ] {
        assert_eq!(good(&format!("[{operation}]")).urls[0].label, None, "{operation}");
    }
    for (op, value) in [("remove", ""), ("replace", r#","value":null"#)] {
        let clear = |path: &str| good(&format!(r#"[{{"op":"{op}","path":"{path}"{value}}}]"#));
        assert!(clear("/tags").tags.is_empty() && clear("/urls").urls.is_empty());
        assert!(clear("/sections").sections.is_empty() && clear("/fields").fields.is_empty());
        assert!(!clear("/favorite").favorite && clear("/title").title.is_empty());
        assert_eq!(field(&clear("/fields/otp/value"), "otp").value, "");
        assert_eq!(field(&clear("/fields/otp/label"), "otp").label, "");
        assert_eq!(field(&clear("/fields/otp/section"), "otp").section, None);
        assert_eq!(field(&clear("/fields/username/purpose"), "username").purpose, None);
        assert_eq!(field(&clear("/fields/otp/type"), "otp").field_type, FieldType::String);
        // Connect 1.5.0: never empty.
        assert_eq!(field(&clear("/fields/username/label"), "username").label, "username");
    }
}

// Check 148.
#[test]
fn replacing_the_whole_is_a_put() {
    for path in ["/", ""] {
        let item = good(&format!(
            r#"[{{"op":"replace","path":"{path}","value":{{"category":"LOGIN","title":"n","fields":[{{"id":"password","value":"x"}}]}}}},
                {{"op":"replace","path":"/fields/password/label","value":"pw"}}]"#
        ));
        assert_eq!((item.title.as_str(), item.fields.len(), item.favorite), ("n", 1, false));
        assert_eq!(
            (item.fields[0].label.as_str(), item.fields[0].purpose),
            ("pw", Some(Purpose::Password))
        );
    }
    let foreign = r#"[{"op":"replace","path":"/","value":{"category":"LOGIN","id":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}}]"#;
    assert!(refusal(foreign).contains("operations[0] (replace /)"));
    assert!(refusal(r#"[{"op":"remove","path":"/"}]"#).contains("DELETE"));
}

// Checks 149, 150 and 151.
#[test]
fn bodies_that_are_no_operations_are_refused() {
    for body in [
        r#"{"op":"replace"}"#,
        "null",
        "1",
        "[1]",
        "[",
        "[{}]",
        r#"[{"op":"add"}]"#,
        r#"[{"path":"/title"}]"#,
    ] {
        assert!(patched(&login(), body).is_err(), "{body}");
    }
    for op in ["test", "move", "copy", "", "x"] {
        let message = refusal(&format!(r#"[{{"op":"{op}","path":"/title","from":"/x","value":"x"}}]"#));
        assert!(message.starts_with("operations[0] has an op other than"), "{message}");
    }
    let message = refusal(r#"[{"op":"replace","path":"title","value":"x"}]"#);
    assert_eq!(message, "operations[0] (replace title): the path must start with /");
    assert!(refusal(r#"[{"op":"replace","path":"/title"}]"#).contains("the value is missing"));
}

// Check 152.
#[test]
fn one_invalid_operation_fails_the_whole_patch() {
    let message = refusal(
        r#"[{"op":"replace","path":"/title","value":"x"},{"op":"replace","path":"/favorite","value":"hunter2"}]"#,
    );
    assert_eq!(
        message,
        "operations[1] (replace /favorite): the value must be true or false"
    );
}

// Check 153.
#[test]
fn members_that_the_server_sets_can_not_be_patched() {
    for path in [
        "id",
        "version",
        "vault",
        "vault/id",
        "createdAt",
        "updatedAt",
        "lastEditedBy",
        "state",
        "files/0",
        "created_at",
    ] {
        let message = refusal(&format!(r#"[{{"op":"replace","path":"/{path}","value":"x"}}]"#));
        assert!(message.contains("cannot be changed"), "{message}");
    }
    for path in [
        "nope",
        "/title",
        "title/x",
        "fields/otp/section/id",
        "fields/otp/nope",
        "fields/otp/id",
        "urls/0/x",
        "tags/0/x",
    ] {
        assert!(refusal(&format!(r#"[{{"op":"replace","path":"/{path}","value":"x"}}]"#)).starts_with("operations[0]"));
    }
}

// Check 154.
#[test]
fn escapes_in_paths_are_decoded() {
    let item = good(
        r#"[{"op":"add","path":"/fields","value":{"id":"a/b~c","value":"1"}},
            {"op":"replace","path":"/fields/a~1b~0c/value","value":"2"}]"#,
    );
    assert_eq!(field(&item, "a/b~c").value, "2");
}

// Check 155.
#[test]
fn an_unknown_field_is_a_400_that_names_the_path() {
    for body in [
        r#"[{"op":"replace","path":"/fields/nope/value","value":"hunter2"}]"#,
        r#"[{"op":"replace","path":"/fields/nope","value":{"value":"hunter2"}}]"#,
        r#"[{"op":"remove","path":"/fields/nope"}]"#,
    ] {
        let message = refusal(body);
        assert!(
            message.contains("/fields/nope") && message.contains("no field with this id"),
            "{message}"
        );
        // Terraform drops an item from its state if an error says "not found".
        assert!(!message.contains("hunter2") && !message.contains("not found"));
    }
}

#[test]
fn attributes_of_fields() {
    let item = good(
        r#"[{"op":"replace","path":"/fields/username/type","value":"email"},
            {"op":"remove","path":"/fields/password/purpose"},
            {"op":"remove","path":"/fields/otp/section"},
            {"op":"add","path":"/fields/since/section","value":{"id":"s2","label":"New"}},
            {"op":"replace","path":"/fields/since/label","value":null}]"#,
    );
    assert_eq!(field(&item, "username").field_type, FieldType::Email);
    assert_eq!(field(&item, "password").purpose, None);
    assert_eq!(field(&item, "otp").section, None);
    assert_eq!(
        (
            field(&item, "since").section.as_ref().unwrap().id.as_str(),
            field(&item, "since").label.as_str()
        ),
        ("s2", "")
    );
    assert_eq!(item.sections.len(), 2);
    for attribute in ["id", "entropy", "totp", "passwordDetails"] {
        assert!(
            refusal(&format!(
                r#"[{{"op":"replace","path":"/fields/otp/{attribute}","value":"x"}}]"#
            ))
            .contains("cannot be changed")
        );
    }
}

#[test]
fn generate_makes_a_new_value_by_the_recipe() {
    let item = good(
        r#"[{"op":"replace","path":"/fields/password/generate","value":true},
            {"op":"add","path":"/fields/password/recipe","value":{"length":12,"characterSets":["DIGITS"]}}]"#,
    );
    let password = field(&item, "password");
    assert!(password.value.len() == 12 && password.value.bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(password.password_details.as_ref().unwrap().history, ["hunter1"]);
}

#[test]
fn a_broken_rule_names_the_operation_that_broke_it() {
    let fine = r#"{"op":"replace","path":"/title","value":"x"}"#;
    for (operation, reason) in [
        (
            r#"{"op":"replace","path":"/fields/since/value","value":"hunter2"}"#,
            "(replace /fields/since/value): the field must have a DATE value",
        ),
        (
            r#"{"op":"replace","path":"/fields/otp/purpose","value":"PASSWORD"}"#,
            r#"You can only use one "password" field."#,
        ),
        (
            r#"{"op":"replace","path":"/fields/username/purpose","value":"PASSWORD"}"#,
            r#"(replace /fields/username/purpose): the field is a second one"#,
        ),
        (
            r#"{"op":"add","path":"/fields","value":{"id":"otp"}}"#,
            "(add /fields): the field has the id of another field",
        ),
        (
            r#"{"op":"replace","path":"/category","value":"FOO"}"#,
            "(replace /category): Invalid item category",
        ),
        (
            r#"{"op":"remove","path":"/category"}"#,
            "(remove /category): Invalid item category",
        ),
    ] {
        let message = refusal(&format!(
            "[{fine},{operation},{{\"op\":\"add\",\"path\":\"/tags\",\"value\":\"t\"}}]"
        ));
        assert!(message.contains(reason) && !message.contains("hunter"), "{message}");
        assert!(message.starts_with("operations[1]"), "{message}");
    }
}

#[test]
fn a_broken_rule_of_a_field_names_the_operation_on_this_field() {
    let message = refusal(
        r#"[{"op":"replace","path":"/fields/since/value","value":"x"},{"op":"replace","path":"/fields/otp/label","value":"y"}]"#,
    );
    assert!(
        message.starts_with("operations[0] (replace /fields/since/value)"),
        "{message}"
    );
}

#[test]
fn only_the_result_of_all_operations_must_keep_the_rules() {
    let item = good(
        r#"[{"op":"replace","path":"/fields/otp/purpose","value":"PASSWORD"},{"op":"remove","path":"/fields/password"}]"#,
    );
    assert_eq!(field(&item, "otp").purpose, Some(Purpose::Password));
}

#[test]
fn operations_are_read_back_from_their_json() {
    let body = r#"[{"op":"Replace","path":"/title","value":null},{"op":"remove","path":"/tags/0"}]"#;
    let operations = patch::parse(body.as_bytes()).unwrap();
    let sent = serde_json::to_vec(&operations).unwrap();
    assert_eq!(
        sent,
        br#"[{"op":"replace","path":"/title","value":null},{"op":"remove","path":"/tags/0"}]"#
    );
    assert_eq!(
        serde_json::from_slice::<Vec<patch::Operation>>(&sent).unwrap(),
        operations
    );
    let secret = patch::parse(br#"[{"op":"add","path":"/title","value":"hunter2"}]"#).unwrap();
    assert_eq!(format!("{secret:?}"), "[Operation(add /title)]");
}

#[test]
fn more_than_a_thousand_operations_are_refused() {
    let one = r#"{"op":"remove","path":"/tags"}"#;
    assert!(refusal(&format!("[{}]", vec![one; 1_001].join(","))).contains("1000"));
    assert!(patched(&login(), &format!("[{}]", vec![one; 1_000].join(","))).is_ok());
}
