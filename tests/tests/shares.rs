//! One token can't take the resources of others: activity records, space of the activity log, and event streams.

use serde_json::Value;
use sidevault_tests::pair::{ServerPair, files_below, wait_until};
use sidevault_tests::wire::{Request, Wire};

/// A `User-Agent` longer than any real one, of a character that JSON escapes with two bytes.
fn fat_agent() -> String {
    "\"".repeat(40_000)
}

/// The size of the database and its write-ahead log, in bytes.
fn bytes_on_disk(pair: &ServerPair) -> usize {
    let files = files_below(&pair.path("data/.op/data"));
    files.iter().map(|(_, bytes)| bytes.len()).sum()
}

fn activity(pair: &ServerPair, token: &str) -> Vec<Value> {
    let list = pair.get(token, "/v1/activity?limit=1000").json();
    list.as_array().cloned().unwrap_or_default()
}

#[test]
fn the_activity_log_keeps_at_most_256_bytes_of_a_user_agent() {
    let pair = ServerPair::start(&["--vault", "own", "--vault", "other", "--allow-ephemeral"], &[]);
    let attacker = pair.token("attacker", &["own=read"]);
    let watcher = pair.token("watcher", &["own=read", "other=read"]);
    let (own, other) = (pair.vault(&watcher, "own"), pair.vault(&watcher, "other"));
    let before = bytes_on_disk(&pair);
    let mut wire = Wire::open(pair.address()).expect("a connection");
    let agent = fat_agent();
    for vault in std::iter::repeat_n(&own, 99).chain([&other]) {
        let request = Request::new("GET", format!("/v1/vaults/{vault}/items"))
            .bearer(&attacker)
            .header("User-Agent", &agent);
        wire.send(&request.bytes()).expect("a request");
        wire.reply(false).expect("an answer");
    }
    let records = wait_until(|| {
        let records = activity(&pair, &watcher);
        let its = records.iter().filter(|record| record["actor"]["account"] == "attacker");
        (its.count() == 100).then_some(records)
    });
    let records = records.expect("the attacker's requests in the log");
    for record in records.iter().filter(|record| record["actor"]["account"] == "attacker") {
        let agent = record["actor"]["userAgent"].as_str().expect("a user agent");
        let foreign = record["resource"]["vault"]["id"] == other.as_str();
        assert_eq!(agent.len(), if foreign { 0 } else { 256 }, "{record}");
    }
    let grown = bytes_on_disk(&pair) - before;
    assert!(grown < 1 << 20, "100 requests took {grown} bytes of disk");
}

/// A token opens event streams until the server refuses one.
#[test]
fn a_token_with_many_event_streams_leaves_others_their_share() {
    let pair = ServerPair::start(&["--vault", "own", "--allow-ephemeral"], &[]);
    let greedy = pair.token("greedy", &["own=read"]);
    let quiet = pair.token("quiet", &["own=read,write"]);
    let own = pair.vault(&quiet, "own");
    let open = |token: &str| {
        let mut wire = Wire::open(pair.address()).expect("a connection");
        let request = Request::new("GET", "/v1/events").bearer(token);
        wire.send(&request.bytes()).expect("a request");
        let status = wire.reply(false).expect("an answer").status;
        (status, wire)
    };
    let mut streams = Vec::new();
    let refused = loop {
        match open(&greedy) {
            (200, wire) => streams.push(wire),
            (status, _) => break status,
        }
        assert!(streams.len() < 10_000, "no bound");
    };
    assert_eq!(refused, 503);
    let (status, mut stream) = open(&quiet);
    assert_eq!(status, 200);
    let item = r#"{"title":"t","category":"LOGIN"}"#;
    let reply = pair.ask(&quiet, "POST", &format!("/v1/vaults/{own}/items"), item);
    assert_eq!(reply.expect("an answer").status, 200);
    // The streams of the greedy token still deliver events, too.
    for stream in [&mut stream, &mut streams[0]] {
        let created = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("item.created");
        assert!(created(&stream.until(created).expect("a stream")));
    }
    assert_eq!(open(&greedy).0, 503);
}
