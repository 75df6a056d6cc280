//! Answers that nobody takes are few in memory, whoever asked for them and however.

use std::net::Ipv4Addr;

use serde_json::json;
use sidevault_tests::http2::{self, frames, kind};
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Request, Wire, exchange};

/// The most memory the api may ever have had, without the pages of its program file: with those of a release build, about
/// 20 MiB, that is 100 MiB. The chart's limit is 128 MiB.
const MOST: u64 = 80 << 20;

/// Where those come from that take nothing.
const HOGS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);

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

    /// The path of a new item with a value of so many bytes.
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

    /// The api anew: what it needed of memory until now does not count.
    fn fresh(mut self) -> Self {
        self.pair.kill(Process::Api);
        self.pair.run(Process::Api);
        self.pair.wait_linked();
        self
    }

    /// Connections from another address that ask for a path so many times each, and take nothing.
    fn hogs(&self, connections: usize, streams: u32, path: &str) -> Vec<Wire> {
        let hog = |_| {
            let mut wire = Wire::open_from(HOGS, self.pair.address()).unwrap();
            http2::ask(&mut wire, path, &self.token, streams, 0).unwrap();
            wire
        };
        let mut hogs: Vec<Wire> = (0..connections).map(hog).collect();
        for hog in &mut hogs {
            hog.until(|seen| frames(seen).iter().any(|(known, _)| *known == kind::PING))
                .unwrap();
        }
        hogs
    }

    /// The same over HTTP/1.1, each with one request.
    fn hogs_of_http_1(&self, connections: usize, request: &[u8]) -> Vec<Wire> {
        let hog = |_| {
            let mut wire = Wire::open_from(HOGS, self.pair.address()).unwrap();
            wire.send(request).unwrap();
            wire
        };
        (0..connections).map(hog).collect()
    }

    /// Others are served, and the api never had more memory than it may.
    fn is_well(&self, path: &str) {
        for path in ["/heartbeat", "/health"] {
            let reply = exchange(self.pair.address(), &Request::new("GET", path).bytes()).unwrap();
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
        let reply = self.pair.get(&self.token, path);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let most = self.pair.most_memory(Process::Api).unwrap();
        println!("{} MiB at most", most >> 20);
        assert!(most <= MOST, "{} MiB", most >> 20);
    }
}

#[test]
fn one_connection_with_many_streams_that_take_nothing() {
    let server = TestServer::new();
    let path = server.item(1_000_000);
    let server = server.fresh();
    let hogs = server.hogs(1, 100, &path);
    server.is_well(&path);
    drop(hogs);
}

#[test]
fn few_connections_with_the_largest_items() {
    let server = TestServer::new();
    let path = server.item(3_900_000);
    let server = server.fresh();
    let hogs = server.hogs(3, 100, &path);
    server.is_well(&path);
    drop(hogs);
}

#[test]
fn many_connections_with_a_long_list() {
    let server = TestServer::new();
    for _ in 0..60 {
        server.item(1);
    }
    let server = server.fresh();
    let path = "/v1/vaults/apps/items";
    assert!(server.pair.get(&server.token, path).body.len() > 8 << 10, "it counts");
    // More than may be in work at once.
    let hogs = server.hogs(30, 100, path);
    server.is_well(path);
    drop(hogs);
}

#[test]
fn clients_of_http_1_that_read_nothing() {
    let server = TestServer::new();
    let path = server.item(3_900_000);
    let server = server.fresh();
    let request = Request::new("GET", &path).bearer(&server.token).bytes();
    let hogs = server.hogs_of_http_1(60, &request);
    server.is_well(&path);
    drop(hogs);
}

/// What is written is shown once, and can't be asked for again.
#[test]
fn writers_that_take_nothing() {
    let server = TestServer::new();
    let path = server.item(3_000_000);
    let server = server.fresh();
    let patch = r#"[{"op":"replace","path":"/favorite","value":true}]"#;
    let request = Request::new("PATCH", &path).bearer(&server.token).body(patch).bytes();
    let hogs = server.hogs_of_http_1(30, &request);
    server.is_well(&path);
    drop(hogs);
}

/// Whoever takes what it asked for gets all of it, however much that is at once.
#[test]
fn readers_that_read_get_everything() {
    let server = TestServer::new();
    let path = server.item(1_000_000);
    let server = server.fresh();
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
    server.is_well(&path);
}
