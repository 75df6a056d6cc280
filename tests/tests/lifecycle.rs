//! Revocations, the api without sync, and commands of administrators while sync starts or runs.

use serde_json::{Value, json};
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, Wire, exchange};

const ITEM: &str =
    r#"{"title":"kept","category":"LOGIN","fields":[{"id":"password","purpose":"PASSWORD","value":"p"}]}"#;

#[test]
fn a_revoked_token_is_refused_at_once_and_after_restarts() {
    let mut pair = ServerPair::start(&["--vault", "apps"], &[]);
    let token = pair.token("leaked", &["apps=read,write"]);
    let other = pair.token("kept", &["apps=read"]);
    assert_eq!(pair.get(&token, "/v1/vaults").status, 200);
    let inspect = || pair.output(&["token", "inspect", "--json", &token]);
    let valid: Value = serde_json::from_str(&inspect()).expect("JSON");
    assert_eq!((&valid["verdict"], &valid["reason"]), (&json!("valid"), &Value::Null));
    let jti = valid["claims"]["jti"].as_str().expect("its id");
    let expiry = || {
        pair.get("", "/metrics")
            .text()
            .contains(&format!("expiry_timestamp_seconds{{jti=\"{jti}\"}}"))
    };
    assert!(expiry());
    pair.output(&["token", "revoke", "leaked"]);
    // No waiting: once the command has ended, the next request is refused.
    assert_eq!(pair.get(&token, "/v1/vaults").status, 401);
    assert_eq!(pair.get(&other, "/v1/vaults").status, 200);
    let refused: Value = serde_json::from_str(&inspect()).expect("JSON");
    assert_eq!(
        (&refused["verdict"], &refused["reason"]),
        (&json!("refused"), &json!("it was revoked"))
    );
    assert!(!expiry(), "/metrics still has its expiry");
    pair.kill(Process::Api);
    pair.kill(Process::Sync);
    pair.run(Process::Sync);
    pair.run(Process::Api);
    pair.wait_linked();
    assert_eq!(pair.get(&token, "/v1/vaults").status, 401);
    assert_eq!(pair.get(&other, "/v1/vaults").status, 200);
}

#[test]
fn the_api_reads_without_sync_even_after_a_restart() {
    let mut pair = ServerPair::start(&["--vault", "apps"], &[]);
    let token = pair.token("app", &["apps=read,write"]);
    let posted = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", ITEM)
        .expect("an answer");
    assert_eq!(posted.status, 200);
    pair.kill(Process::Sync);
    pair.kill(Process::Api);
    pair.run(Process::Api);
    let read = wait_until(|| {
        let reply = pair.ask(&token, "GET", "/v1/vaults/apps/items/kept", "").ok()?;
        (reply.status == 200).then_some(())
    });
    assert!(read.is_some(), "without sync the api serves the stored items");
    let refused = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", ITEM)
        .expect("an answer");
    assert_eq!(refused.status, 503);
    pair.run(Process::Sync);
    pair.wait_linked();
    let posted = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", ITEM)
        .expect("an answer");
    assert_eq!(posted.status, 200);
}

#[test]
fn the_database_is_checked_while_sync_is_at_work() {
    let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let report: serde_json::Value = serde_json::from_str(&pair.output(&["doctor", "--json"])).expect("doctor's JSON");
    let findings = report.as_array().expect("a list");
    let integrity = findings.iter().find(|finding| finding["check"] == "integrity");
    let integrity = integrity.unwrap_or_else(|| panic!("no such check: {report}"));
    assert_eq!(
        (&integrity["level"], &integrity["cause"]),
        (&"ok".into(), &"SQLite finds nothing wrong".into())
    );
}

#[test]
fn a_command_given_while_sync_starts_is_carried_out_and_sync_runs() {
    let mut pair = ServerPair::prepare(&["--vault", "apps", "--allow-ephemeral"], &[]);
    for n in 0..10 {
        pair.run(Process::Sync);
        pair.command(&["vault", "create", &format!("vault-{n}")]);
        // If the command has the lock first, sync waits for it.
        let runs = wait_until(|| exchange(pair.sync_address(), &Request::new("GET", "/health").bytes()).ok());
        assert!(runs.is_some(), "{}", pair.log(Process::Sync));
        pair.kill(Process::Sync);
    }
    let vaults = pair.command(&["vault", "list"]);
    assert_eq!(vaults.matches("vault-").count(), 10, "{vaults}");
}

#[test]
fn a_command_that_ends_is_no_warning_in_syncs_log() {
    let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[("OP_LOG_LEVEL", "debug")]);
    const COMMANDS: usize = 10;
    for n in 0..COMMANDS {
        // Each command ends as soon as sync has executed it.
        pair.command(&["vault", "create", &format!("vault-{n}")]);
    }
    let ends = || pair.log(Process::Sync).matches("bus link ").count();
    assert!(
        wait_until(|| (ends() >= COMMANDS).then_some(())).is_some(),
        "{}",
        pair.log(Process::Sync)
    );
    for line in pair
        .log(Process::Sync)
        .lines()
        .filter(|line| line.contains("bus link "))
    {
        assert!(line.contains("\"level\":\"debug\""), "{line}");
    }
}

/// For clients that send head and body separately, as Python's do: they would find the connection closed.
#[test]
fn a_connection_stays_open_after_a_refusal_before_the_body() {
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let mut wire = Wire::open(pair.address()).expect("a connection");
    let head = "PUT /v1/vaults/apps/items/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer nonsense\r\n\
                Content-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    wire.send(head.as_bytes()).expect("sent");
    assert_eq!(wire.reply(false).expect("an answer").status, 401);
    wire.send(b"{}GET /heartbeat HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("sent");
    assert_eq!(wire.reply(false).expect("an answer on the same connection").status, 200);
}

/// A client that does not know it sends its next request into a connection that is being closed.
#[test]
fn a_response_before_a_long_body_says_that_the_connection_closes() {
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let token = pair.token("writer", &["apps=read,write"]);
    for (token, length, expected) in [
        ("nonsense", "Content-Length: 300000", (401, Some("close"))),
        ("nonsense", "Transfer-Encoding: chunked", (401, Some("close"))),
        (&token, "Content-Length: 5000000", (413, Some("close"))),
        ("nonsense", "Content-Length: 200000", (401, None)),
        ("nonsense", "Content-Length: 0", (401, None)),
    ] {
        let mut wire = Wire::open(pair.address()).expect("a connection");
        let head = format!(
            "POST /v1/vaults/apps/items HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{length}\r\n\r\n"
        );
        wire.send(head.as_bytes()).expect("sent");
        let reply = wire.reply(false).expect("an answer");
        assert_eq!((reply.status, reply.header("connection")), expected, "{length}");
    }
    let mut wire = Wire::open(pair.address()).expect("a connection");
    let item = format!(r#"{{"title": "{}", "category": "LOGIN"}}"#, "x".repeat(300_000));
    let head = format!(
        "POST /v1/vaults/apps/items HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        item.len()
    );
    wire.send((head + &item).as_bytes()).expect("sent");
    let reply = wire.reply(false).expect("an answer");
    assert_eq!(
        reply.header("connection"),
        None,
        "a long body that was read: {}",
        reply.text()
    );
}

#[test]
fn the_logs_of_api_and_sync_name_a_write_by_its_request_id() {
    let pair = ServerPair::start(&["--vault", "apps"], &[("OP_LOG_LEVEL", "debug")]);
    let token = pair.token("writer", &["apps=read,write"]);
    let request = Request::new("POST", "/v1/vaults/apps/items")
        .bearer(&token)
        .header("X-Request-Id", "deploy-42")
        .body(ITEM);
    let created = exchange(pair.address(), &request.bytes()).expect("a response");
    assert_eq!(
        (created.status, created.header("x-request-id")),
        (200, Some("deploy-42"))
    );
    for half in [Process::Api, Process::Sync] {
        let line = wait_until(|| {
            let log = pair.log(half);
            let line = log.lines().find(|line| line.contains("\"request_id\":\"deploy-42\""))?;
            serde_json::from_str::<Value>(line).ok()
        });
        assert!(line.is_some(), "{half:?}: {}", pair.log(half));
        assert!(
            !pair.log(half).contains("kept"),
            "the log of {half:?} has the item's title"
        );
    }
}
