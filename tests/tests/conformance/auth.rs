//! Checks 18–43: tokens.

use super::{login, raw, refused, titles, value, world};
use serde_json::json;
use sidevault_tests::forge::{hs256, now};
use sidevault_tests::wire::Request;

#[test]
fn c018_019_020_021_who_does_not_show_a_token_is_refused() {
    let world = world();
    refused(
        &raw(&world, Request::new("GET", "/v1/vaults")),
        401,
        "Invalid bearer token",
    );
    let bare = Request::new("GET", "/v1/vaults").header("Authorization", &world.token);
    refused(&raw(&world, bare), 401, "");
    refused(
        &world.pair.get(&world.token[..83], "/v1/vaults"),
        401,
        "Invalid bearer token",
    );
    let at = world.token.len() - 20;
    let other = if &world.token[at..=at] == "A" { "B" } else { "A" };
    let changed = format!("{}{other}{}", &world.token[..at], &world.token[at + 1..]);
    refused(&world.pair.get(&changed, "/v1/vaults"), 401, "Invalid token signature");
}

#[test]
fn c022_023_024_025_026_027_028_claims_count() {
    let world = world();
    let (forge, header) = (&world.forge, world.forge.header());
    let claims = forge.claims(&world.own);
    let ask = |token: &str| world.pair.get(token, "/v1/vaults");
    // A token without exp is good for ever.
    assert_eq!(ask(&forge.sign(&header, &claims)).status, 200);
    let none = json!({ "alg": "none", "typ": "JWT" });
    refused(&ask(&forge.sign(&none, &claims)), 401, "");
    for key in forge.public_forms() {
        let hmac = json!({ "alg": "HS256", "kid": header["kid"], "typ": "JWT" });
        refused(&ask(&hs256(&hmac, &claims, &key)), 401, "");
    }
    let unknown = json!({ "alg": "ES256", "kid": "nobody", "typ": "JWT" });
    refused(&ask(&forge.sign(&unknown, &claims)), 401, "");
    for (claim, bad) in [
        ("exp", json!(now() - 3600)),
        ("nbf", json!(now() + 3600)),
        ("aud", json!(["else"])),
    ] {
        let mut claims = claims.clone();
        claims[claim] = bad;
        refused(&ask(&forge.sign(&header, &claims)), 401, "");
    }
}

#[test]
fn c030_ids_in_tokens_may_be_upper_case() {
    let world = world();
    let claims = world.forge.claims(&world.own.to_uppercase());
    let token = world.forge.sign(&world.forge.header(), &claims);
    assert_eq!(world.pair.get(&token, &format!("/v1/vaults/{}", world.own)).status, 200);
}

#[test]
fn c031_032_033_040_a_token_sees_its_vaults_alone() {
    let world = world();
    let reply = world.pair.get(&world.reader, &format!("/v1/vaults/{}", world.other));
    refused(&reply, 403, "");
    assert!(reply.json()["message"].as_str().unwrap().starts_with("Authorization"));
    assert_eq!(
        titles(&world.pair.get(&world.reader, "/v1/vaults").json(), "name"),
        ["apps"]
    );
    let mut claims = world.forge.claims(&world.own);
    claims["1password.com/vts"] = json!([]);
    let token = world.forge.sign(&world.forge.header(), &claims);
    let none = world.pair.get(&token, "/v1/vaults");
    assert_eq!((none.status, none.json()), (200, json!([])));
    let absent = world.get("/v1/vaults/aaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(
        absent.status,
        world.get(&format!("/v1/vaults/{}", world.foreign)).status
    );
}

#[test]
fn c034_035_036_037_rights_are_kept() {
    let world = world();
    let item = world.made(&login("rights"));
    let path = world.path(&item);
    let ask =
        |token: &str, method: &str, target: &str, body: &str| world.pair.ask(token, method, target, body).unwrap();
    let whole = login("changed").to_string();
    let patch = json!([{ "op": "replace", "path": "/title", "value": "x" }]).to_string();
    refused(&ask(&world.reader, "POST", &world.items(), &whole), 403, "");
    refused(&ask(&world.reader, "PUT", &path, &whole), 403, "");
    refused(&ask(&world.reader, "PATCH", &path, &patch), 403, "");
    refused(&ask(&world.reader, "DELETE", &path, ""), 403, "");
    refused(&ask(&world.writer, "GET", &path, ""), 403, "");
    let patched = ask(&world.writer, "PATCH", &path, &patch);
    refused(&patched, 403, "");
    assert!(!patched.text().contains("first"));
    assert_eq!(world.get(&path).json(), item);
    let made = ask(
        &world.writer,
        "POST",
        &world.items(),
        &login("by the writer").to_string(),
    );
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(value(&world.get(&world.path(&made.json())).json(), "password"), "first");
}

#[test]
fn c039_041_042_what_needs_no_scope() {
    let world = world();
    refused(&world.get("/v1/vaults/Demo"), 400, "Invalid Vault UUID");
    for target in ["/heartbeat", "/health", "/metrics"] {
        assert_eq!(raw(&world, Request::new("GET", target)).status, 200, "{target}");
    }
    assert_eq!(world.get("/health").status, 200);
}
