//! Checks 92–126: creating items.

use super::{field, login, refused, server, value, with_field};
use serde_json::json;

#[test]
fn c092_093_118_125_members_that_the_server_sets() {
    let server = server();
    let mut item = login("decided");
    for (member, sent) in [
        ("id", json!("")),
        ("createdAt", json!("0001-01-01T00:00:00Z")),
        ("trashed", json!(true)),
        ("state", json!("ARCHIVED")),
    ] {
        item[member] = sent;
    }
    let made = server.post(&item);
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(made["version"], 1);
    let id = made["id"].as_str().unwrap();
    assert!(
        id.len() == 26 && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')),
        "{id}"
    );
    let read = server.get(&server.path(&made)).json();
    assert_eq!(read["version"], 1);
    assert!(
        read.get("state").is_none() && read["createdAt"] != "0001-01-01T00:00:00Z",
        "{read}"
    );
    assert_ne!(server.made(&login("decided"))["id"], made["id"]);
}

#[test]
fn c094_095_096_097_098_fields_and_sections() {
    let server = server();
    let id = "8c1a2b6e-5b60-4a40-8d20-1f6a3d0c7a11";
    let item = server.made(&json!({ "title": "shapes", "category": "LOGIN", "fields": [
        { "type": "URL", "label": "bare", "value": "http://x" },
        { "id": id, "type": "STRING", "label": "uuid", "value": "v" },
        { "id": "nulls", "type": "STRING", "label": "n", "section": { "id": null }, "recipe": null, "value": null },
        { "id": "in", "type": "STRING", "label": "in", "value": "v", "section": { "id": "s1", "label": "Made" } },
        { "id": "username", "purpose": "USERNAME", "value": "ada" },
    ] }));
    let bare = item["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["label"] == "bare");
    let bare = bare.unwrap();
    assert!(
        bare["id"].as_str().is_some_and(|id| !id.is_empty()) && bare["type"] == "URL",
        "{bare}"
    );
    assert_eq!(value(&item, id), "v");
    assert!(field(&item, "nulls").unwrap().get("section").is_none());
    assert_eq!(field(&item, "username").unwrap()["label"], "username");
    let sections = item["sections"].as_array().unwrap();
    assert!(sections.iter().any(|section| section["label"] == "Made"), "{item}");
}

#[test]
fn c099_119_two_passwords_and_duplicate_field_ids() {
    let server = server();
    let two = json!({ "title": "two", "category": "LOGIN", "fields": [
        { "purpose": "PASSWORD", "value": "a" }, { "purpose": "PASSWORD", "value": "b" } ] });
    refused(&server.post(&two), 400, "You can only use one \"password\" field.");
    let twice = json!({ "title": "twice", "category": "LOGIN", "fields": [
        { "id": "x", "label": "a", "value": "a" }, { "id": "x", "label": "b", "value": "b" } ] });
    refused(&server.post(&twice), 400, "");
}

#[test]
fn c100_101_102_103_104_105_106_107_generated_values() {
    let server = server();
    let ask = |more: serde_json::Value, category: &str| {
        let mut made = json!({ "id": "g", "type": "CONCEALED", "label": "g", "generate": true });
        made.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post(&json!({ "title": "generated", "category": category, "fields": [made] }))
    };
    let given = |more: serde_json::Value| value(&ask(more, "LOGIN").json(), "g");
    assert_eq!(given(json!({})).chars().count(), 32);
    let long = given(json!({ "recipe": { "length": 64, "characterSets": ["LETTERS", "DIGITS"] } }));
    assert!(
        long.len() == 64 && long.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{long}"
    );
    let without = given(json!({ "recipe": { "characterSets": ["DIGITS"], "excludeCharacters": "01234" } }));
    assert!(!without.contains(['0', '1', '2', '3', '4']), "{without}");
    for recipe in [
        json!({ "length": 0 }),
        json!({ "length": 65 }),
        json!({ "characterSets": ["RUNES"] }),
        json!({ "characterSets": ["DIGITS"], "excludeCharacters": "0123456789" }),
    ] {
        refused(&ask(json!({ "recipe": recipe }), "LOGIN"), 400, "");
    }
    assert_eq!(given(json!({ "value": "mine" })), "mine");
    let database = ask(json!({ "section": { "id": "s", "label": "s" } }), "DATABASE").json();
    assert_eq!(value(&database, "g").chars().count(), 32);
}

#[test]
fn c108_109_110_111_112_field_types() {
    let server = server();
    let one = |kind: &str, value: &str| {
        with_field(
            "typed",
            &json!({ "id": "f", "type": kind, "label": "f", "value": value }),
        )
    };
    // Connect's documentation names the type TOTP. The server may refuse it, or take it for OTP.
    let totp = server.post(&one("TOTP", "JBSWY3DPEHPK3PXP"));
    assert!(
        totp.status == 400 || field(&totp.json(), "f").unwrap()["type"] == "OTP",
        "{}",
        totp.text()
    );
    assert_eq!(field(&server.made(&one("string", "v")), "f").unwrap()["type"], "STRING");
    let seconds: i64 = value(&server.made(&one("DATE", "2024-05-03")), "f").parse().unwrap();
    assert_eq!(seconds.div_euclid(86_400), 19_846);
    refused(&server.post(&one("DATE", "abc")), 400, "");
    refused(&server.post(&one("MONTH_YEAR", "202213")), 400, "");
}

#[test]
fn c113_114_115_116_categories_and_vaults() {
    let server = server();
    refused(&server.post(&json!({ "title": "x" })), 400, "");
    refused(
        &server.post(&json!({ "title": "x", "category": "FOO" })),
        400,
        "Invalid item category",
    );
    for category in ["CUSTOM", "DOCUMENT"] {
        refused(&server.post(&json!({ "title": "x", "category": category })), 400, "");
    }
    let mut astray = login("astray");
    astray["vault"] = json!({ "id": server.other });
    refused(&server.post(&astray), 400, "");
}

#[test]
fn c117_120_123_124_126_malformed_and_unusual_bodies() {
    let server = server();
    let post = |body: &[u8]| {
        let request = sidevault_tests::wire::Request::new("POST", server.items()).bearer(&server.token);
        super::raw(&server, request.body(body))
    };
    for body in ["nonsense", "{\"title\":\"x\"", "[]"] {
        refused(&post(body.as_bytes()), 400, "");
    }
    refused(&post(b"{\"title\":\"\xff\xfe\",\"category\":\"LOGIN\"}"), 400, "");
    let deep = format!("{{\"title\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    refused(&post(deep.as_bytes()), 400, "");
    let mut more = login("more");
    more["colour"] = json!("red");
    more["last_edited_by"] = json!("X");
    assert_eq!(server.post(&more).status, 200);
}

#[test]
fn c121_122_values_are_stored_byte_for_byte() {
    let server = server();
    let large = "x".repeat(1 << 20);
    for text in ["nul \0, crlf \r\n, key 🔑", &large] {
        let made = server.post(&with_field("exact", &json!({ "id": "f", "label": "f", "value": text })));
        if made.status != 413 {
            assert_eq!(made.status, 200, "{}", made.text());
            assert!(value(&server.get(&server.path(&made.json())).json(), "f") == text);
        }
    }
}
