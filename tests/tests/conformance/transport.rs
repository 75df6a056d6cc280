//! Checks 1–17: transport and routing.

use super::{login, raw, refused, server};
use sidevault_tests::wire::{Request, Wire};

#[test]
fn c001_the_version_header_is_three_integers() {
    let server = server();
    for target in ["/v1/vaults", "/v1/nothing", "/v1/vaults/x"] {
        let reply = server.get(target);
        let version = reply.header("1password-connect-version").unwrap();
        assert_eq!(version.split('.').count(), 3, "{version}");
        assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
    }
}

#[test]
fn c002_003_004_005_slashes() {
    let server = server();
    let plain = server.get("/v1/vaults");
    assert_eq!(plain.status, 200);
    for target in ["/v1/vaults/", "//v1/vaults"] {
        let reply = server.get(target);
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.json().as_array().map(Vec::len),
            plain.json().as_array().map(Vec::len)
        );
    }
    let made = server.send("POST", &format!("{}/", server.items()), &login("slash"));
    assert_eq!(made.status, 200, "{}", made.text());
    let files = format!("{}/files", server.path(&made.json()));
    assert_eq!(server.get(&files).body, server.get(&format!("{files}/")).body);
}

#[test]
fn c006_007_012_013_content_types() {
    let server = server();
    let typed = |method: &str, target: &str| {
        Request::new(method, target)
            .bearer(&server.token)
            .header("Content-Type", "application/json")
    };
    let reply = raw(&server, typed("GET", "/v1/vaults").header("Accept", "application/json"));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let post = Request::new("POST", server.items())
        .bearer(&server.token)
        .header("Content-Type", "text/plain");
    let made = raw(&server, post.body(login("plain type").to_string()));
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(raw(&server, typed("DELETE", &server.path(&made.json()))).status, 204);
}

#[test]
fn c008_009_015_errors_are_connects() {
    let server = server();
    refused(&server.get("/v1/nothing"), 404, "");
    refused(&server.get("/nothing"), 404, "");
    let wrong = server.delete("/v1/vaults");
    refused(&wrong, 405, "");
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("GET")));
    refused(&server.get(&format!("/v1/vaults/{}", server.foreign)), 403, "");
    refused(&server.pair.get("x", "/v1/vaults"), 401, "");
}

#[test]
fn c016_error_messages_lack_words_that_clients_misread() {
    let server = server();
    let unknown = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    let item = server.path(&server.made(&login("guarded")));
    let document = server.pair.item(&server.token, &server.files, "letters.bin").unwrap();
    let document = format!("/v1/vaults/{}/items/{}", server.files, document["id"].as_str().unwrap());
    let foreign = format!("/v1/vaults/{}", server.foreign);
    let body = login("x").to_string();
    let patch = r#"[{"op":"replace","path":"/title","value":"x"}]"#;
    let mut asked = Vec::new();
    for target in [
        "/v1/activity".to_owned(),
        "/v1/vaults".to_owned(),
        server.items(),
        format!("{item}/files/{unknown}/content"),
        format!("{item}/versions"),
        "/v1/events".to_owned(),
    ] {
        asked.push((401, "", "GET", target, ""));
    }
    for path in [
        foreign.clone(),
        format!("{foreign}/items"),
        format!("{foreign}/items/{unknown}"),
        format!("{foreign}/items/{unknown}/files"),
        format!("/v1/vaults/{unknown}"),
        format!("/v1/vaults/{unknown}/items?filter=title+eq+%22x%22"),
    ] {
        asked.push((403, &server.token, "GET", path, ""));
    }
    for (method, target, body) in [
        ("POST", &server.items(), body.as_str()),
        ("PUT", &item, &body),
        ("PATCH", &item, patch),
        ("DELETE", &item, ""),
    ] {
        asked.push((403, &server.reader, method, target.clone(), body));
    }
    // Writes to a directory vault, which are refused.
    for (method, target, body) in [
        ("POST", &format!("/v1/vaults/{}/items", server.files), body.as_str()),
        ("PUT", &document, &body),
        ("PATCH", &document, patch),
        ("DELETE", &document, ""),
    ] {
        asked.push((403, &server.token, method, target.clone(), body));
    }
    for (status, token, method, target, body) in asked {
        let reply = server.pair.ask(token, method, &target, body).unwrap();
        assert_eq!(reply.status, status, "{method} {target}: {}", reply.text());
        refused(&reply, status, "");
    }
}

#[test]
fn c010_tracing_headers_are_ignored() {
    let server = server();
    let request = Request::new("GET", "/v1/vaults")
        .bearer(&server.token)
        .header("X-B3-TraceId", "80f198ee56343ba864fe8b2a57d3eff7")
        .header("X-B3-SpanId", "e457b5a2e4d86bd1")
        .header("X-B3-Sampled", "1");
    assert_eq!(raw(&server, request).status, 200);
}

#[test]
fn c014_a_hundred_connections_are_kept() {
    let server = server();
    let mut wires: Vec<_> = (0..100).map(|_| Wire::open(server.pair.address()).unwrap()).collect();
    let request = Request::new("GET", "/v1/vaults").bearer(&server.token).bytes();
    for _ in 0..2 {
        for wire in &mut wires {
            wire.send(&request).unwrap();
        }
        for wire in &mut wires {
            assert_eq!(wire.reply(false).unwrap().status, 200);
        }
    }
}
