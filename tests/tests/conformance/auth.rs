//! Checks 18–43: tokens.

use super::{field, login, raw, refused, server, titles, value};
use serde_json::{Value, json};
use sidevault_tests::forge::{hs256, now};
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Request, Wire};

#[test]
fn c018_019_020_021_requests_without_a_valid_token_get_401() {
    let server = server();
    refused(
        &raw(&server, Request::new("GET", "/v1/vaults")),
        401,
        "Invalid bearer token",
    );
    let bare = Request::new("GET", "/v1/vaults").header("Authorization", &server.token);
    refused(&raw(&server, bare), 401, "");
    refused(
        &server.pair.get(&server.token[..83], "/v1/vaults"),
        401,
        "Invalid bearer token",
    );
    let at = server.token.len() - 20;
    let other = if &server.token[at..=at] == "A" { "B" } else { "A" };
    let changed = format!("{}{other}{}", &server.token[..at], &server.token[at + 1..]);
    refused(&server.pair.get(&changed, "/v1/vaults"), 401, "Invalid token signature");
}

#[test]
fn c022_023_024_025_026_027_028_token_header_and_claims_are_checked() {
    let server = server();
    let (forge, header) = (&server.forge, server.forge.header());
    let claims = forge.claims(&server.own);
    let ask = |token: &str| server.pair.get(token, "/v1/vaults");
    // A token without `exp` does not expire.
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
    let server = server();
    let claims = server.forge.claims(&server.own.to_uppercase());
    let token = server.forge.sign(&server.forge.header(), &claims);
    assert_eq!(
        server.pair.get(&token, &format!("/v1/vaults/{}", server.own)).status,
        200
    );
}

#[test]
fn c031_032_033_040_a_token_sees_only_its_vaults() {
    let server = server();
    let reply = server.pair.get(&server.reader, &format!("/v1/vaults/{}", server.other));
    refused(&reply, 403, "");
    assert!(reply.json()["message"].as_str().unwrap().starts_with("Authorization"));
    assert_eq!(
        titles(&server.pair.get(&server.reader, "/v1/vaults").json(), "name"),
        ["apps"]
    );
    let mut claims = server.forge.claims(&server.own);
    claims["1password.com/vts"] = json!([]);
    let token = server.forge.sign(&server.forge.header(), &claims);
    let none = server.pair.get(&token, "/v1/vaults");
    assert_eq!((none.status, none.json()), (200, json!([])));
    let absent = server.get("/v1/vaults/aaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(
        absent.status,
        server.get(&format!("/v1/vaults/{}", server.foreign)).status
    );
}

#[test]
fn c034_035_036_read_and_write_rights_are_enforced() {
    let server = server();
    let item = server.made(&login("rights"));
    let path = server.path(&item);
    let ask =
        |token: &str, method: &str, target: &str, body: &str| server.pair.ask(token, method, target, body).unwrap();
    let whole = login("changed").to_string();
    let patch = json!([{ "op": "replace", "path": "/title", "value": "x" }]).to_string();
    refused(&ask(&server.reader, "POST", &server.items(), &whole), 403, "");
    refused(&ask(&server.reader, "PUT", &path, &whole), 403, "");
    refused(&ask(&server.reader, "PATCH", &path, &patch), 403, "");
    refused(&ask(&server.reader, "DELETE", &path, ""), 403, "");
    refused(&ask(&server.writer, "GET", &path, ""), 403, "");
    let patched = ask(&server.writer, "PATCH", &path, &patch);
    refused(&patched, 403, "");
    assert!(!patched.text().contains("first"));
    assert_eq!(server.get(&path).json(), item);
}

#[test]
fn c037_a_write_only_token_gets_no_values() {
    let server = server();
    let ask = |method: &str, target: &str, body: &Value| {
        let reply = server
            .pair
            .ask(&server.writer, method, target, &body.to_string())
            .unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    };
    let mut item = login("by the writer");
    let generated = json!({ "id": "made", "type": "CONCEALED", "label": "made", "generate": true });
    let otp = json!({ "id": "otp", "type": "OTP", "label": "otp", "value": "JBSWY3DPEHPK3PXP" });
    item["fields"].as_array_mut().unwrap().extend([generated.clone(), otp]);
    let answer = ask("POST", &server.items(), &item);
    let path = server.path(&answer.json());
    let stored = server.get(&path).json();
    assert_eq!(value(&stored, "password"), "first");
    let made = value(&stored, "made");
    assert_eq!(made.len(), 32);
    assert!(!answer.text().contains(&made), "{}", answer.text());
    assert!(field(&answer.json(), "otp").unwrap().get("totp").is_none());
    for field in answer.json()["fields"].as_array().unwrap() {
        let sent = ["ada", "first", "JBSWY3DPEHPK3PXP", ""];
        assert!(sent.contains(&field["value"].as_str().unwrap()), "{field}");
    }
    // The response to a PUT contains neither the replaced values nor the generated ones.
    item["fields"] = json!([{ "id": "password", "purpose": "PASSWORD", "value": "second" }, generated]);
    let answer = ask("PUT", &path, &item);
    let stored = server.get(&path).json();
    assert_ne!(value(&stored, "made"), made);
    for secret in ["first", made.as_str(), value(&stored, "made").as_str()] {
        assert!(!answer.text().contains(secret), "{}", answer.text());
    }
    assert!(
        stored.to_string().contains("first"),
        "the history, for who may read: {stored}"
    );
}

#[test]
fn c039_041_malformed_vault_ids_and_probes_without_token() {
    let server = server();
    refused(&server.get("/v1/vaults/Demo"), 400, "Invalid Vault UUID");
    for target in ["/heartbeat", "/health", "/metrics"] {
        assert_eq!(raw(&server, Request::new("GET", target)).status, 200, "{target}");
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn c043_ten_thousand_requests_with_a_bad_token_use_no_memory_and_block_no_client() {
    const CLIENTS: usize = 4;
    let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[("OP_LOG_LEVEL", "error")]);
    let token = pair.token("t", &["apps=read"]);
    let other = if token.ends_with('A') { "B" } else { "A" };
    // The last character but one, because base64 decoders ignore the lowest bits of the last one.
    let at = token.len() - 2;
    let bad = format!("{}{other}{}", &token[..at], &token[at + 1..]);
    let request = Request::new("GET", "/v1/vaults").bearer(&bad).bytes();
    let send = |count: usize| {
        let mut wire = Wire::open(pair.address()).unwrap();
        for _ in 0..count {
            wire.send(&request).unwrap();
            assert_eq!(wire.reply(false).unwrap().status, 401);
        }
    };
    let flood = |count: usize| {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| send(count / CLIENTS))).collect();
            while clients.iter().any(|client| !client.is_finished()) {
                assert_eq!(pair.get(&token, "/v1/vaults").status, 200);
            }
            for client in clients {
                client.join().unwrap();
            }
        });
        pair.most_memory(Process::Api).unwrap()
    };
    let after_1_000 = flood(1_000);
    let after_10_000 = flood(9_000);
    println!("the most memory after 1,000: {after_1_000} bytes, after 10,000: {after_10_000} bytes");
    // If each request left half a kilobyte behind, there would be more.
    assert!(after_10_000 < after_1_000 + (4 << 20));
}
