//! Malformed, forbidden and oversized requests. Each gets the right error in Connect's form, and the server goes on working.

mod connections;
mod h2spec;
mod smuggling;
mod unknown;
mod unread;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sidevault_tests::forge::Forge;
use sidevault_tests::hostile::{Case, HostileFixture, cases};
use sidevault_tests::http2::{PREFACE, frame};
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Reply, Request, Wire, exchange};

const CONTENT: &str = "abcdefghijklmnopqrstuvwxyz";

/// A server with two local vaults and two directory vaults. The token may use one of each.
fn fixture() -> (ServerPair, HostileFixture) {
    let mut pair = ServerPair::prepare(
        &[
            "--vault",
            "apps",
            "--vault",
            "others",
            "--dir",
            "{root}/secrets",
            "--allow-ephemeral",
        ],
        &[("OP_LOG_LEVEL", "debug")],
    );
    let theirs = pair.path("secrets/theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(pair.path("secrets/letters.bin"), CONTENT).unwrap();
    fs::write(theirs.join("private.bin"), "private").unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let everything = pair.token(
        "everything",
        &["apps=read,write", "others=read,write", "secrets=read", "theirs=read"],
    );
    let vault = |name| pair.vault(&everything, name);
    let create = |vault: &str, item: serde_json::Value| {
        let reply = pair
            .ask(
                &everything,
                "POST",
                &format!("/v1/vaults/{vault}/items"),
                &item.to_string(),
            )
            .unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let document = |vault: &str, title| {
        let item = pair.item(&everything, vault, title).expect("the directory's item");
        let file = item["files"][0]["id"].as_str().unwrap().to_owned();
        (item["id"].as_str().unwrap().to_owned(), file)
    };
    let (own, foreign, own_files, foreign_files) = (vault("apps"), vault("others"), vault("secrets"), vault("theirs"));
    let fields = json!([{ "id": "username", "label": "username", "purpose": "USERNAME", "value": "u" }]);
    let item = create(
        &own,
        json!({ "title": "whole", "category": "LOGIN", "tags": ["a", "b"], "urls": [{ "href": "http://x" }], "fields": fields }),
    );
    let foreign_item = create(
        &foreign,
        json!({ "title": "theirs", "category": "LOGIN", "fields": fields }),
    );
    let (document_id, file) = document(&own_files, "letters.bin");
    let (foreign_document, foreign_file) = document(&foreign_files, "private.bin");
    let fixture = HostileFixture {
        address: pair.address(),
        token: pair.token("owner", &["apps=read,write", "secrets=read"]),
        reader: pair.token("reader", &["apps=read"]),
        writer: pair.token("writer", &["apps=write"]),
        forge: Forge::new(&fs::read(pair.path("keys/issuer.json")).unwrap()),
        own,
        foreign,
        foreign_name: "others".to_owned(),
        item,
        foreign_item,
        own_files,
        document: document_id,
        file,
        foreign_files,
        foreign_document,
        foreign_file,
    };
    (pair, fixture)
}

fn heartbeat(address: SocketAddr) -> Result<(), String> {
    let reply = exchange(address, &Request::new("GET", "/heartbeat").bytes()).map_err(|error| error.to_string())?;
    match (reply.status, &reply.body[..]) {
        (200, b".") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// The differences between a response and the expectation, for the report.
fn faults(case: &Case, reply: &Reply, fixture: &HostileFixture) -> Vec<String> {
    let mut faults = Vec::new();
    if !case.statuses.contains(&reply.status) {
        faults.push(format!("status {} is not one of {:?}", reply.status, case.statuses));
    }
    let text = reply.text();
    if !text.contains(&case.message) {
        faults.push(format!("{:?} is not in the body", case.message));
    }
    // Responses that the HTTP library makes by itself lack the API's headers.
    let ours = reply.header("1password-connect-version").is_some();
    if ours && reply.status >= 400 && !case.request.starts_with(b"HEAD ") {
        let body = reply.json();
        if body["status"] != reply.status || !body["message"].is_string() {
            faults.push("the body is not {status, message}".to_owned());
        }
        if reply.header("content-type") != Some("application/json") {
            faults.push(format!("content type {:?}", reply.header("content-type")));
        }
    }
    if ours
        && reply
            .header("x-request-id")
            .is_none_or(|id| id.contains("evil") || id.len() > 64)
    {
        faults.push(format!("request id {:?}", reply.header("x-request-id")));
    }
    if ours && reply.status == 405 {
        let method = case.request.split(|byte| *byte == b' ').next().unwrap_or_default();
        let allow = reply.header("allow").unwrap_or_default();
        if allow.is_empty() || allow.split(',').any(|allowed| allowed.trim().as_bytes() == method) {
            faults.push(format!("the header Allow is {allow:?}"));
        }
    }
    if reply
        .headers
        .iter()
        .any(|(name, _)| name == "set-cookie" || name == "x-evil" || name == "server")
    {
        faults.push("a header that was smuggled in".to_owned());
    }
    if !reply.status.to_string().starts_with('2') {
        for secret in [&fixture.token, &fixture.foreign_name, &"theirs".to_owned()] {
            if text.contains(secret.as_str()) {
                faults.push(format!("the error says {secret:?}"));
            }
        }
    }
    faults
}

#[test]
fn every_hostile_request_gets_the_expected_error() {
    let (pair, fixture) = fixture();
    let cases = cases(&fixture);
    assert!(cases.len() >= 150, "{}", cases.len());
    let before = pair.get(&fixture.token, &ground_item(&fixture)).body;
    let mut failed = Vec::new();
    for case in &cases {
        let started = Instant::now();
        let found = match exchange(fixture.address, &case.request) {
            Ok(reply) => {
                let mut found = faults(case, &reply, &fixture);
                if !found.is_empty() {
                    found.push(format!(
                        "it was {} {}",
                        reply.status,
                        reply.text().chars().take(200).collect::<String>()
                    ));
                }
                found
            }
            Err(error) => vec![error.to_string()],
        };
        if started.elapsed() > Duration::from_secs(20) {
            failed.push(format!("{}: took {:?}", case.name, started.elapsed()));
        }
        if !found.is_empty() {
            failed.push(format!("{}: {}", case.name, found.join("; ")));
        }
        if let Err(error) = heartbeat(fixture.address) {
            panic!("no heartbeat after {}: {error}\n{}", case.name, pair.log(Process::Api));
        }
    }
    println!(
        "{} hostile requests, {} not answered as they should be",
        cases.len(),
        failed.len()
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(
        pair.get(&fixture.token, &ground_item(&fixture)).body,
        before,
        "the item was changed"
    );
    let items = pair
        .get(&fixture.token, &format!("/v1/vaults/{}/items", fixture.own))
        .json();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{items}");
    for half in [Process::Api, Process::Sync] {
        let log = pair.log(half);
        for bad in ["panicked", "evil", &fixture.token] {
            assert!(!log.contains(bad), "{bad:?} in the log of {half:?}");
        }
    }
}

fn ground_item(fixture: &HostileFixture) -> String {
    format!("/v1/vaults/{}/items/{}", fixture.own, fixture.item)
}

#[test]
fn values_of_any_text_are_unchanged() {
    let (pair, fixture) = fixture();
    let path = format!("/v1/vaults/{}/items", fixture.own);
    for value in [
        "\u{0}",
        "a\r\nb\tc",
        "\u{1f511}\u{10ffff}\u{fffe}",
        "\u{202e}evil",
        "e\u{301}",
        "\"\\\u{2028}</script>",
        "' OR 1=1; --",
        "{{.Values.x}}${HOME}%s%n",
    ] {
        let item =
            json!({ "title": value, "category": "LOGIN", "fields": [{ "id": "f", "label": value, "value": value }] });
        let created = pair.ask(&fixture.token, "POST", &path, &item.to_string()).unwrap();
        assert_eq!(created.status, 200, "{value:?}: {}", created.text());
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let read = pair.get(&fixture.token, &format!("{path}/{id}")).json();
        let field = read["fields"]
            .as_array()
            .unwrap()
            .iter()
            .find(|field| field["id"] == "f")
            .unwrap()
            .clone();
        assert_eq!(
            (&read["title"], &field["label"], &field["value"]),
            (&json!(value), &json!(value), &json!(value))
        );
        assert_eq!(
            pair.ask(&fixture.token, "DELETE", &format!("{path}/{id}"), "")
                .unwrap()
                .status,
            204
        );
    }
}

#[test]
fn slow_clients_do_not_delay_others() {
    let (_pair, fixture) = fixture();
    let head = Request::new("GET", "/v1/vaults").bearer(&fixture.token).bytes();
    let post = Request::new("POST", format!("/v1/vaults/{}/items", fixture.own)).bearer(&fixture.token);
    let post = post.header("Content-Length", "1000").raw_body("{\"title\":").bytes();
    let mut slow = Vec::new();
    for n in 0..200 {
        let mut wire = Wire::open(fixture.address).unwrap();
        match n % 3 {
            0 => wire.send(&head[..head.len() / 2]).unwrap(),
            1 => wire.send(&post).unwrap(),
            _ => {}
        }
        slow.push(wire);
    }
    for _ in 0..20 {
        heartbeat(fixture.address).unwrap();
        let reply = exchange(fixture.address, &head).unwrap();
        assert_eq!(reply.status, 200);
    }
    // The first client completes its request.
    slow[0].send(&head[head.len() / 2..]).unwrap();
    assert_eq!(slow[0].reply(false).unwrap().status, 200);
    // The second client closes its side after half a body. The server may close the connection without a response.
    slow[1].finish();
    let _ = slow[1].reply(false);
    drop(slow);
    heartbeat(fixture.address).unwrap();
}

/// Only a few large bodies are held in memory at once, and small writes do not wait for them.
#[test]
fn large_bodies_wait_for_each_other_and_small_ones_do_not() {
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let token = pair.token("t", &["apps=read,write"]);
    let item = |title: &str, length: usize| {
        let value = "x".repeat(length);
        json!({"title": title, "category": "LOGIN", "fields": [{"label": "v", "value": value}]}).to_string()
    };
    let post = || Request::new("POST", "/v1/vaults/apps/items").bearer(&token);
    let create = |body: &str| exchange(pair.address(), &post().body(body).bytes()).unwrap();
    let large = item("large", 100_000);
    // The server sends 100 once the body may be sent.
    let start = || {
        let head = post().header("Expect", "100-continue");
        let head = head.header("Content-Length", large.len().to_string());
        let mut wire = Wire::open(pair.address()).unwrap();
        wire.send(&head.bytes()).unwrap();
        let interim = wire.until(|seen| seen.ends_with(b"\r\n\r\n")).unwrap();
        assert!(
            interim.starts_with(b"HTTP/1.1 100"),
            "{}",
            String::from_utf8_lossy(&interim)
        );
        wire
    };
    let mut slow: Vec<Wire> = (0..8).map(|_| start()).collect();
    let mut last = Wire::open(pair.address()).unwrap();
    last.send(&post().body(large.as_str()).bytes()).unwrap();
    for _ in 0..30 {
        let small = create(&item("small", 60_000));
        assert_eq!(small.status, 200, "{}", small.text());
    }
    // The ninth large body still waits for one of eight permits, although thirty later small writes are done.
    assert!(pair.item(&token, "apps", "large").is_none());

    slow[0].send(large.as_bytes()).unwrap();
    assert_eq!(slow[0].reply(false).unwrap().status, 200);
    assert_eq!(last.reply(false).unwrap().status, 200);
    // The permit of a client that disconnects is released.
    drop(slow);
    for _ in 0..9 {
        let reply = create(&large);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// The right to write is checked before the body is read, so clients with a read-only token can't take all permits.
#[test]
fn a_token_that_may_not_write_holds_no_permit_for_a_large_body() {
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let writer = pair.token("writer", &["apps=read,write"]);
    let reader = pair.token("reader", &["apps=read"]);
    let value = "x".repeat(100_000);
    let large = json!({"title": "large", "category": "LOGIN", "fields": [{"label": "v", "value": value}]}).to_string();
    let items = "/v1/vaults/apps/items";
    let created = pair.ask(&writer, "POST", items, &large).unwrap();
    assert_eq!(created.status, 200, "{}", created.text());
    let item = format!("{items}/{}", created.json()["id"].as_str().unwrap());
    for (method, path) in [("POST", items), ("PUT", &item), ("PATCH", &item)] {
        // As many requests as there are permits. Their bodies are never sent.
        let waiting: Vec<Wire> = (0..8)
            .map(|_| {
                let head = Request::new(method, path).bearer(&reader);
                let head = head.header("Expect", "100-continue");
                let head = head.header("Content-Length", large.len().to_string());
                let mut wire = Wire::open(pair.address()).unwrap();
                wire.send(&head.bytes()).unwrap();
                let answer = wire
                    .until(|seen| seen.ends_with(b"\r\n\r\n") || seen.ends_with(b"}"))
                    .unwrap();
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(answer.starts_with("HTTP/1.1 403"), "{method}: {answer}");
                wire
            })
            .collect();
        let created = pair.ask(&writer, "POST", items, &large).unwrap();
        assert_eq!(created.status, 200, "{method}: {}", created.text());
        drop(waiting);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_pair, fixture) = fixture();
    let mut all = Request::new("GET", "/v1/vaults").bearer(&fixture.token).bytes();
    all.extend(Request::new("GET", "/v1/vaults").bytes());
    all.extend(Request::new("GET", "/nowhere").bytes());
    all.extend(
        Request::new("POST", format!("/v1/vaults/{}/items", fixture.own))
            .bearer(&fixture.token)
            .body("[]")
            .bytes(),
    );
    all.extend(Request::new("GET", "/heartbeat").bytes());
    let mut wire = Wire::open(fixture.address).unwrap();
    wire.send(&all).unwrap();
    let statuses: Vec<u16> = (0..5).map(|_| wire.reply(false).unwrap().status).collect();
    assert_eq!(statuses, [200, 401, 404, 400, 200]);
}

/// A refused body must not be read as the next request.
#[test]
fn a_refused_body_is_not_read_as_the_next_request() {
    let (_pair, fixture) = fixture();
    let inner = String::from_utf8(
        Request::new("DELETE", ground_item(&fixture))
            .bearer(&fixture.token)
            .bytes(),
    )
    .unwrap();
    for target in ["/nowhere", "/v1/vaults", "/heartbeat"] {
        let mut wire = Wire::open(fixture.address).unwrap();
        wire.send(&Request::new("POST", target).body(inner.clone()).bytes())
            .unwrap();
        assert!([401, 404, 405].contains(&wire.reply(false).unwrap().status), "{target}");
        wire.send(&Request::new("GET", "/heartbeat").bytes()).unwrap();
        // The server either answers the next request or closes the connection.
        assert!([0, 200].contains(&wire.reply(false).unwrap().status), "{target}");
        let item = Request::new("GET", ground_item(&fixture))
            .bearer(&fixture.token)
            .bytes();
        assert_eq!(exchange(fixture.address, &item).unwrap().status, 200, "{target}");
    }
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let (_pair, fixture) = fixture();
    let body = br#"{"title":"x","category":"FOO"}"#;
    let head = Request::new("POST", format!("/v1/vaults/{}/items", fixture.own))
        .bearer(&fixture.token)
        .header("Expect", "100-continue")
        .header("Content-Length", body.len().to_string());
    let mut wire = Wire::open(fixture.address).unwrap();
    wire.send(&head.bytes()).unwrap();
    wire.send(body).unwrap();
    let reply = wire.reply(false).unwrap();
    assert_eq!(reply.status, 400, "{}", reply.text());
}

/// The header block of `GET /heartbeat`, without Huffman codes.
fn heartbeat_headers() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x44, 10];
    block.extend_from_slice(b"/heartbeat");
    block.extend_from_slice(&[0x41, 9]);
    block.extend_from_slice(b"localhost");
    block
}

#[test]
fn http2_with_prior_knowledge_is_served_and_floods_are_refused() {
    let (_pair, fixture) = fixture();
    let mut wire = Wire::open(fixture.address).unwrap();
    let mut request = PREFACE.to_vec();
    request.extend(frame(4, 0, 0, &[]));
    request.extend(frame(1, 5, 1, &heartbeat_headers()));
    wire.send(&request).unwrap();
    // One byte of DATA that ends the stream.
    let data = frame(0, 1, 1, b".");
    let answered = |bytes: &[u8]| bytes.windows(data.len()).any(|part| part == data);
    let split = frame(0, 0, 1, b".");
    let answered = |bytes: &[u8]| answered(bytes) || bytes.windows(split.len()).any(|part| part == split);
    let bytes = wire.until(answered).unwrap();
    assert!(answered(&bytes), "{bytes:?}");

    let floods: Vec<(&str, Vec<u8>)> = vec![
        ("a frame larger than allowed", frame(0, 0, 1, &[0; 100_000])),
        ("headers on stream 0", frame(1, 5, 0, &heartbeat_headers())),
        ("an even stream", frame(1, 5, 2, &heartbeat_headers())),
        ("nonsense in HPACK", frame(1, 5, 1, &[0xff; 100])),
        ("continuations without headers", frame(9, 4, 1, &heartbeat_headers())),
        ("a window beyond all", frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("settings of odd length", frame(4, 0, 0, &[0; 5])),
        ("a ping of odd length", frame(6, 0, 0, &[0; 3])),
        ("an endless header block", {
            let mut flood = frame(1, 0, 1, &heartbeat_headers());
            for _ in 0..2000 {
                flood.extend(frame(9, 0, 1, &[0x40, 1, b'a', 1, b'b']));
            }
            flood
        }),
        ("streams opened and reset", {
            let mut flood = Vec::new();
            for stream in (1..4001).step_by(2) {
                flood.extend(frame(1, 5, stream, &heartbeat_headers()));
                flood.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
            }
            flood
        }),
        ("10,000 pings", frame(6, 0, 0, &[0; 8]).repeat(10_000)),
        ("10,000 settings", frame(4, 0, 0, &[]).repeat(10_000)),
    ];
    for (name, bytes) in floods {
        let mut wire = Wire::open(fixture.address).unwrap();
        let mut flood = PREFACE.to_vec();
        flood.extend(frame(4, 0, 0, &[]));
        flood.extend(bytes);
        // The send fails if the server has closed the connection. Whether it answered before does not matter.
        let _ = wire.send(&flood);
        wire.finish();
        let _ = wire.rest();
        heartbeat(fixture.address).unwrap_or_else(|error| panic!("after {name}: {error}"));
    }
}
