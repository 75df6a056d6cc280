//! Responses that clients do not read take a limited amount of memory.

use std::net::Ipv4Addr;

use serde_json::json;
use sidevault_tests::http2::{self, frames, kind};
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Request, Wire, exchange};

/// Limit of the api's peak memory, without the pages of its program file. A release build has about 20 MiB of these, and
/// the chart's limit is 128 MiB.
const MEMORY_LIMIT: u64 = 80 << 20;

/// The address of the clients that do not read.
const STALLED_CLIENTS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

struct TestServer {
    pair: ServerPair,
    token: String,
}

impl TestServer {
    fn new() -> Self {
        let pair = ServerPair::start(&["--vault", "apps"], &[]);
        let token = pair.token("t", &["apps=read,write"]);
        Self { pair, token }
    }

    /// Creates an item with a value of this many bytes, and returns the item's path.
    fn item(&self, bytes: usize) -> String {
        let fields = json!([{ "label": "v", "value": "x".repeat(bytes) }]);
        let item = json!({ "title": "large", "category": "LOGIN", "fields": fields }).to_string();
        let made = self
            .pair
            .ask(&self.token, "POST", "/v1/vaults/apps/items", &item)
            .unwrap();
        assert_eq!(made.status, 200, "{}", made.text());
        format!("/v1/vaults/apps/items/{}", made.json()["id"].as_str().unwrap())
    }

    /// Restarts the api, so that its peak memory does not include what the preparation needed.
    fn restart_api(mut self) -> Self {
        self.pair.kill(Process::Api);
        self.pair.run(Process::Api);
        self.pair.wait_linked();
        self
    }

    /// Opens HTTP/2 connections that request a path on this many streams each, with a window of 0.
    fn stalled_http2(&self, connections: usize, streams: u32, path: &str) -> Vec<Wire> {
        let connect = |_| {
            let mut wire = Wire::open_from(STALLED_CLIENTS, self.pair.address()).unwrap();
            http2::ask(&mut wire, path, &self.token, streams, 0).unwrap();
            wire
        };
        let mut clients: Vec<Wire> = (0..connections).map(connect).collect();
        for client in &mut clients {
            client
                .until(|received| frames(received).iter().any(|(known, _)| *known == kind::PING))
                .unwrap();
        }
        clients
    }

    /// Opens HTTP/1.1 connections that send one request each and do not read.
    fn stalled_http1(&self, connections: usize, request: &[u8]) -> Vec<Wire> {
        let connect = |_| {
            let mut wire = Wire::open_from(STALLED_CLIENTS, self.pair.address()).unwrap();
            wire.send(request).unwrap();
            wire
        };
        (0..connections).map(connect).collect()
    }

    /// Asserts that other clients are served, and that the api's peak memory is below the limit.
    fn assert_serves_within_limit(&self, path: &str) {
        for path in ["/heartbeat", "/health"] {
            let reply = exchange(self.pair.address(), &Request::new("GET", path).bytes()).unwrap();
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
        let reply = self.pair.get(&self.token, path);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let peak = self.pair.most_memory(Process::Api).unwrap();
        println!("peak memory: {} MiB", peak >> 20);
        assert!(peak <= MEMORY_LIMIT, "{} MiB", peak >> 20);
    }
}

#[test]
fn one_stalled_connection_with_many_streams() {
    let server = TestServer::new();
    let path = server.item(1_000_000);
    let server = server.restart_api();
    let clients = server.stalled_http2(1, 100, &path);
    server.assert_serves_within_limit(&path);
    drop(clients);
}

#[test]
fn few_stalled_connections_with_the_largest_items() {
    let server = TestServer::new();
    let path = server.item(3_900_000);
    let server = server.restart_api();
    let clients = server.stalled_http2(3, 100, &path);
    server.assert_serves_within_limit(&path);
    drop(clients);
}

#[test]
fn many_stalled_connections_with_a_long_list() {
    let server = TestServer::new();
    for _ in 0..60 {
        server.item(1);
    }
    let server = server.restart_api();
    let path = "/v1/vaults/apps/items";
    let length = server.pair.get(&server.token, path).body.len();
    assert!(length > 8 << 10, "the list is too short to count as a large response");
    // More requests than may be in progress at once.
    let clients = server.stalled_http2(30, 100, path);
    server.assert_serves_within_limit(path);
    drop(clients);
}

#[test]
fn stalled_http1_connections_with_large_items() {
    let server = TestServer::new();
    let path = server.item(3_900_000);
    let server = server.restart_api();
    let request = Request::new("GET", &path).bearer(&server.token).bytes();
    let clients = server.stalled_http1(60, &request);
    server.assert_serves_within_limit(&path);
    drop(clients);
}

/// The response to a write can't be produced again, so the server has to keep it.
#[test]
fn stalled_writers() {
    let server = TestServer::new();
    let path = server.item(3_000_000);
    let server = server.restart_api();
    let patch = r#"[{"op":"replace","path":"/favorite","value":true}]"#;
    let request = Request::new("PATCH", &path).bearer(&server.token).body(patch).bytes();
    let clients = server.stalled_http1(30, &request);
    server.assert_serves_within_limit(&path);
    drop(clients);
}

/// 100 large responses on one connection.
#[test]
fn a_reader_gets_many_large_responses_at_once() {
    let server = TestServer::new();
    let path = server.item(1_000_000);
    let server = server.restart_api();
    let whole = server.pair.get(&server.token, &path).body.len();
    let mut reader = Wire::open(server.pair.address()).unwrap();
    let window = i32::MAX.cast_unsigned();
    http2::ask(&mut reader, &path, &server.token, 100, window).unwrap();
    let bytes = reader.until(|seen| seen.len() > whole * 100).unwrap();
    let heads = frames(&bytes)
        .iter()
        .filter(|(known, _)| *known == kind::HEADERS)
        .count();
    assert_eq!(heads, 100);
    assert!(!frames(&bytes).iter().any(|(known, _)| *known == kind::RST_STREAM));
    server.assert_serves_within_limit(&path);
}
