//! Checks 79–91: reading items.

use super::{field, login, raw, refused, server, value, with_field};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sidevault_tests::forge::now;
use sidevault_tests::wire::Request;

#[test]
fn c079_080_081_an_item_has_all_its_members() {
    let server = server();
    let item = server.made(&login("whole"));
    for member in ["id", "title", "category", "createdAt", "updatedAt"] {
        assert!(item[member].is_string(), "{member}: {item}");
    }
    assert!(item["version"].is_u64() && item["fields"].is_array(), "{item}");
    assert_eq!(item["vault"]["id"], server.own);
    for field in item["fields"].as_array().unwrap() {
        for member in ["id", "type", "label", "value"] {
            assert!(field[member].is_string(), "{member}: {field}");
        }
        assert!(field.get("section").is_none(), "{field}");
    }
}

#[test]
fn c082_083_084_091_items_that_do_not_exist_get_404() {
    let server = server();
    let item = server.made(&login("gone"));
    let id = item["id"].as_str().unwrap();
    refused(
        &server.get(&format!("/v1/vaults/{}/items/{id}", server.other)),
        404,
        "not found",
    );
    refused(
        &server.get(&format!("{}/no-such-name", server.items())),
        400,
        "Invalid Item UUID",
    );
    let unknown = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let message = format!("item {unknown} not found");
    refused(&server.get(&format!("{}/{unknown}", server.items())), 404, &message);
    assert_eq!(server.delete(&server.path(&item)).status, 204);
    refused(&server.get(&server.path(&item)), 404, &format!("item {id} not found"));
}

#[test]
fn c085_086_087_one_time_passwords() {
    let server = server();
    let shown = |seed: &str| {
        let field = json!({ "id": "otp", "type": "OTP", "label": "otp", "value": seed });
        let path = server.path(&server.made(&with_field("otp", &field)));
        let before = now();
        let item = server.get(&path).json();
        (field_code(&item), before..=now())
    };
    // The code of RFC 6238 for the key `Hello!\xDE\xAD\xBE\xEF`, whose base32 form people write in groups.
    let secret = "JBSW Y3DP EHPK 3PXP".replace(' ', "");
    let key = b"Hello!\xde\xad\xbe\xef";
    let (code, times) = shown(&secret);
    let expected: Vec<_> = times.map(|at| totp::<Hmac<sha1::Sha1>>(key, at / 30, 6)).collect();
    assert!(expected.contains(&code.unwrap()));
    let uri = format!("otpauth://totp/x?secret={secret}&algorithm=SHA256&digits=8&period=60");
    let (code, times) = shown(&uri);
    let expected: Vec<_> = times.map(|at| totp::<Hmac<sha2::Sha256>>(key, at / 60, 8)).collect();
    assert!(expected.contains(&code.unwrap()));
    assert_eq!(shown("not a seed!").0, None);
}

fn field_code(item: &Value) -> Option<String> {
    Some(field(item, "otp")?.get("totp")?.as_str()?.to_owned())
}

/// The one-time password of RFC 4226, 5.3. `counter` is the number of time steps (RFC 6238).
fn totp<M: KeyInit + Mac>(key: &[u8], counter: u64, digits: u32) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
    mac.update(&counter.to_be_bytes());
    let mac = mac.finalize().into_bytes();
    let at = usize::from(mac[mac.len() - 1] & 0xf);
    let word = u32::from_be_bytes(mac[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:0width$}", word % 10u32.pow(digits), width = digits as usize)
}

#[test]
fn c088_089_090_dates_and_notes() {
    let server = server();
    let item = server.made(&json!({ "title": "dates", "category": "LOGIN", "fields": [
        { "id": "day", "type": "DATE", "label": "day", "value": "2024-05-03" },
        { "id": "month", "type": "MONTH_YEAR", "label": "month", "value": "202405" },
        { "id": "notesPlain", "type": "STRING", "purpose": "NOTES", "label": "notesPlain", "value": "" },
    ] }));
    assert!(value(&item, "day").parse::<i64>().is_ok(), "{item}");
    assert_eq!(value(&item, "month"), "202405");
    assert_eq!(field(&item, "notesPlain").unwrap()["label"], "notesPlain");
}

/// Connect has no ETags.
#[test]
fn a_known_version_is_not_sent_again() {
    let server = server();
    let path = server.path(&server.made(&login("tagged")));
    let ask = |tag: &str| {
        raw(
            &server,
            Request::new("GET", &path)
                .bearer(&server.token)
                .header("If-None-Match", tag),
        )
    };
    let first = server.get(&path).header("etag").unwrap().to_owned();
    let again = ask(&first);
    assert_eq!(
        (again.status, again.body.len(), again.header("etag")),
        (304, 0, Some(first.as_str()))
    );
    assert_eq!(ask("\"another\"").status, 200);
    assert_eq!(server.send("PUT", &path, &login("tagged")).status, 200);
    let changed = ask(&first);
    assert_eq!((changed.status, &changed.json()["version"]), (200, &json!(2)));
    assert_ne!(changed.header("etag"), Some(first.as_str()));
}

/// Connect has no conditional writes.
#[test]
fn a_write_with_if_match_changes_only_the_version_that_it_names() {
    let server = server();
    let path = server.path(&server.made(&login("conditional")));
    let write = |method: &str, tag: &str, body: Option<Value>| {
        let request = Request::new(method, &path)
            .bearer(&server.token)
            .header("If-Match", tag);
        raw(
            &server,
            match body {
                Some(body) => request.body(body.to_string()),
                None => request,
            },
        )
    };
    let outlined = || {
        server
            .get(&format!("{path}/outline"))
            .header("etag")
            .unwrap()
            .to_owned()
    };
    let first = server.get(&path).header("etag").unwrap().to_owned();
    assert_eq!(outlined(), first);
    assert_eq!(write("PUT", &first, Some(login("conditional"))).status, 200);
    let second = outlined();
    assert_ne!(second, first);
    let title = json!([{ "op": "replace", "path": "/title", "value": "changed" }]);
    for (method, body) in [
        ("PUT", Some(login("old"))),
        ("PATCH", Some(title.clone())),
        ("DELETE", None),
    ] {
        let refused = write(method, &first, body);
        assert_eq!(refused.status, 412, "{method}: {}", refused.text());
        assert!(refused.text().contains("version 2"), "{}", refused.text());
    }
    assert_eq!(outlined(), second);
    assert_eq!(write("PATCH", &second, Some(title)).status, 200);
    assert_eq!(write("DELETE", &format!("{first}, {}", outlined()), None).status, 204);
    assert_eq!(write("DELETE", "*", None).status, 404);
}
