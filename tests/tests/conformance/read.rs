//! Checks 79–91: reading items.

use super::{field, login, refused, value, with_field, world};
use serde_json::json;

#[test]
fn c079_080_081_an_item_has_all_its_members() {
    let world = world();
    let item = world.made(&login("whole"));
    for member in ["id", "title", "category", "createdAt", "updatedAt"] {
        assert!(item[member].is_string(), "{member}: {item}");
    }
    assert!(item["version"].is_u64() && item["fields"].is_array(), "{item}");
    assert_eq!(item["vault"]["id"], world.own);
    for field in item["fields"].as_array().unwrap() {
        for member in ["id", "type", "label", "value"] {
            assert!(field[member].is_string(), "{member}: {field}");
        }
        assert!(field.get("section").is_none(), "{field}");
    }
}

#[test]
fn c082_083_084_091_what_is_not_there() {
    let world = world();
    let item = world.made(&login("gone"));
    let id = item["id"].as_str().unwrap();
    refused(
        &world.get(&format!("/v1/vaults/{}/items/{id}", world.other)),
        404,
        "not found",
    );
    refused(
        &world.get(&format!("{}/no-such-name", world.items())),
        400,
        "Invalid Item UUID",
    );
    let unknown = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let message = format!("item {unknown} not found");
    refused(&world.get(&format!("{}/{unknown}", world.items())), 404, &message);
    assert_eq!(world.delete(&world.path(&item)).status, 204);
    refused(&world.get(&world.path(&item)), 404, &format!("item {id} not found"));
}

#[test]
fn c085_086_087_codes_of_otp_fields() {
    let world = world();
    let code = |seed: &str| {
        let item = world.made(&with_field(
            "otp",
            &json!({ "id": "otp", "type": "OTP", "label": "otp", "value": seed }),
        ));
        field(&item, "otp").unwrap().get("totp").cloned()
    };
    let digits = |seed: &str| code(seed).unwrap().as_str().unwrap().len();
    assert_eq!(digits("JBSWY3DPEHPK3PXP"), 6);
    assert_eq!(
        digits("otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&algorithm=SHA256&digits=8&period=60"),
        8
    );
    assert!(code("not a seed!").is_none());
}

#[test]
fn c088_089_090_dates_and_notes() {
    let world = world();
    let item = world.made(&json!({ "title": "dates", "category": "LOGIN", "fields": [
        { "id": "day", "type": "DATE", "label": "day", "value": "2024-05-03" },
        { "id": "month", "type": "MONTH_YEAR", "label": "month", "value": "202405" },
        { "id": "notesPlain", "type": "STRING", "purpose": "NOTES", "label": "notesPlain", "value": "" },
    ] }));
    assert!(value(&item, "day").parse::<i64>().is_ok(), "{item}");
    assert_eq!(value(&item, "month"), "202405");
    assert_eq!(field(&item, "notesPlain").unwrap()["label"], "notesPlain");
}
