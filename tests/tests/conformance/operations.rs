//! Checks 175–203: activity, health, start and stop.

use std::collections::{BTreeMap, BTreeSet};

use super::{login, raw, refused, server};
use serde_json::Value;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, exchange};

#[test]
fn c175_179_180_activity_records() {
    let server = server();
    server.made(&login("recorded"));
    let refused = server
        .pair
        .ask(&server.reader, "POST", &server.items(), &login("denied").to_string());
    assert_eq!(refused.unwrap().status, 403);
    let list = |token: &str| server.pair.get(token, "/v1/activity?limit=200").json();
    let denied = wait_until(|| {
        let all = list(&server.token);
        all.as_array()?
            .iter()
            .any(|record| record["result"] == "DENY")
            .then_some(())
    });
    assert!(denied.is_some(), "no denial is shown");
    let elsewhere = format!("/v1/vaults/{}/items", server.other);
    assert_eq!(server.send("POST", &elsewhere, &login("elsewhere")).status, 200);
    let of_other = |record: &Value| record["resource"]["vault"]["id"] == server.other.as_str();
    let seen = wait_until(|| list(&server.token).as_array()?.iter().any(of_other).then_some(()));
    assert!(seen.is_some());
    for record in list(&server.reader).as_array().unwrap() {
        assert!(!of_other(record), "{record}");
        for member in ["requestId", "timestamp", "action", "result"] {
            assert!(record[member].is_string(), "{record}");
        }
        for member in ["id", "account", "jti", "userAgent", "requestIp"] {
            assert!(record["actor"][member].is_string(), "{record}");
        }
        assert!(
            ["ITEM", "VAULT"].contains(&record["resource"]["type"].as_str().unwrap()),
            "{record}"
        );
        assert_eq!(record["resource"]["vault"]["id"], server.own);
    }
}

#[test]
fn c175_activity_is_listed_newest_first() {
    let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let token = pair.token("t", &["apps=read,write"]);
    let items = format!("/v1/vaults/{}/items", pair.vault(&token, "apps"));
    let ask = |method: &str, target: &str, body: &str| pair.ask(&token, method, target, body).unwrap();
    let body = login("watched").to_string();
    let item = ask("POST", &items, &body).json()["id"].as_str().unwrap().to_owned();
    let path = format!("{items}/{item}");
    ask("GET", &path, "");
    ask("PUT", &path, &body);
    // A record of another batch: the api sends its records to sync once a second.
    let records = || {
        pair.get(&token, "/v1/activity")
            .json()
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let of_item = |action: &str| {
        let find = |record: &Value| record["action"] == action && record["resource"]["item"]["id"] == item.as_str();
        wait_until(|| records().iter().any(find).then_some(()))
    };
    assert!(of_item("UPDATE").is_some());
    assert_eq!(ask("DELETE", &path, "").status, 204);
    assert!(of_item("DELETE").is_some());
    let records = records();
    let listed: Vec<_> = records
        .iter()
        .filter(|record| record["resource"]["item"]["id"] == item.as_str())
        .map(|record| {
            (
                record["action"].as_str().unwrap(),
                record["resource"]["itemVersion"].as_u64(),
            )
        })
        .collect();
    let actions: Vec<_> = listed.iter().map(|(action, _)| *action).collect();
    assert_eq!(actions, ["DELETE", "UPDATE", "READ", "CREATE"]);
    assert_eq!((listed[2].1, listed[3].1), (Some(1), Some(1)));
    let times = super::titles(&Value::Array(records), "timestamp");
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:#?}");
}

#[test]
fn c176_177_178_pages_of_activity() {
    let server = server();
    for _ in 0..5 {
        server.made(&login("paged"));
    }
    let some = wait_until(|| (server.get("/v1/activity").json().as_array()?.len() >= 5).then_some(()));
    assert!(some.is_some());
    let page = server.get("/v1/activity?limit=2&offset=2");
    assert_eq!(page.json().as_array().map(Vec::len), Some(2));
    let range = page.header("content-range").unwrap();
    let total = range.strip_prefix("3-4/").and_then(|total| total.parse::<u64>().ok());
    assert!(total.is_some_and(|total| total >= 5), "{range}");
    for query in ["limit=0", "limit=-1", "limit=abc", "limit=1000000000", "offset=-1"] {
        assert!(server.get(&format!("/v1/activity?{query}")).status < 500, "{query}");
    }
    let beyond = server.get("/v1/activity?offset=1000000");
    assert_eq!((beyond.status, beyond.json()), (200, Value::Array(Vec::new())));
    assert!(beyond.header("content-range").is_some());
}

#[test]
fn c181_heartbeat() {
    // Only the api runs; there is no store and no token.
    let mut pair = ServerPair::prepare(&[], &[]);
    pair.run(Process::Api);
    let ask = |target: &str| exchange(pair.address(), &Request::new("GET", target).bytes());
    let beat = wait_until(|| ask("/heartbeat").ok()).unwrap();
    assert_eq!((beat.status, beat.text().as_str()), (200, "."));
    assert!(beat.header("content-type").unwrap().starts_with("text/plain"));
}

#[test]
fn c042_182_health_before_the_first_token() {
    let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let health = || exchange(pair.address(), &Request::new("GET", "/health").bytes()).unwrap();
    let sync = |health: &Value| {
        let parts = health["dependencies"].as_array().unwrap();
        parts.iter().find(|part| part["service"] == "sync").unwrap()["status"].clone()
    };
    assert_eq!(health().status, 200);
    let before = health().json();
    assert_eq!(before["name"], "1Password Connect API");
    assert!(
        before["version"].as_str().is_some_and(|version| !version.is_empty()),
        "{before}"
    );
    assert_eq!(sync(&before), "TOKEN_NEEDED");
    // An invalid token does not count as the first token.
    assert_eq!(pair.get("bad", "/health").status, 200);
    assert_eq!(sync(&health().json()), "TOKEN_NEEDED");
    let token = pair.token("t", &["apps=read"]);
    // The api checks tokens as soon as it has opened the store.
    let unlocked = wait_until(|| {
        let answer = pair.get(&token, "/health");
        assert_eq!(answer.status, 200);
        (sync(&answer.json()) == "ACTIVE").then_some(())
    });
    assert!(unlocked.is_some(), "{}", pair.health());
    assert_eq!(sync(&health().json()), "ACTIVE");
}

/// Checks that a text is in Prometheus' format, with each family's type before its samples. Returns the number of samples.
fn checked_metrics(text: &str) -> usize {
    let mut types = BTreeMap::new();
    let mut series = BTreeSet::new();
    let name_like = |name: &str| {
        let (first, rest) = name.split_at(1);
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
        first.chars().all(letter) && rest.chars().all(|c| letter(c) || c.is_ascii_digit())
    };
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            if let Some((name, kind)) = comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' ')) {
                assert!(types.insert(name, kind).is_none(), "twice: {line}");
            }
            continue;
        }
        let (head, number) = line.rsplit_once(' ').unwrap();
        assert!(number == "+Inf" || number.parse::<f64>().is_ok(), "{line}");
        assert!(series.insert(head), "twice: {line}");
        let name = head.split('{').next().unwrap();
        assert!(name_like(name), "{line}");
        assert!(head.len() == name.len() || head.ends_with('}'), "{line}");
        let family = ["_total", "_bucket", "_sum", "_count", "_info"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix).filter(|family| types.contains_key(family)));
        assert!(family.is_some() || types.contains_key(name), "no TYPE: {line}");
    }
    series.len()
}

#[test]
fn c184_metrics_are_prometheus_text_without_secrets() {
    let server = server();
    let mut item = login("no-title-in-metrics");
    item["fields"][1]["value"] = "no-value-in-metrics".into();
    let item = server.made(&item);
    server.found("title eq \"no-title-in-metrics\"");
    for address in [server.pair.address(), server.pair.sync_address()] {
        let metrics = exchange(address, &Request::new("GET", "/metrics").bytes()).unwrap();
        assert_eq!(metrics.status, 200);
        assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
        let text = metrics.text();
        assert!(checked_metrics(&text) > 0);
        let id = item["id"].as_str().unwrap();
        for secret in [
            "no-title-in-metrics",
            "no-value-in-metrics",
            id,
            &server.token,
            &server.reader,
            "letters.bin",
        ] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
}

#[test]
fn c183_193_195_196_the_api_reads_without_sync() {
    let mut pair = ServerPair::prepare(&["--vault", "apps", "--allow-ephemeral"], &[]);
    // Sync is started first. `ServerPair::start` starts the api first.
    pair.run(Process::Sync);
    pair.run(Process::Api);
    pair.wait_linked();
    let token = pair.token("t", &["apps=read,write"]);
    let vault = pair.vault(&token, "apps");
    let items = format!("/v1/vaults/{vault}/items");
    let made = pair.ask(&token, "POST", &items, &login("kept").to_string()).unwrap();
    let path = format!("{items}/{}", made.json()["id"].as_str().unwrap());
    pair.kill(Process::Sync);
    assert_eq!(pair.get(&token, &path).status, 200);
    let health = pair.get(&token, "/health");
    assert!(matches!(health.status, 200 | 503) && health.json()["name"].is_string());
    refused(
        &pair.ask(&token, "POST", &items, &login("x").to_string()).unwrap(),
        503,
        "",
    );
    pair.kill(Process::Api);
    pair.run(Process::Api);
    let again = wait_until(|| {
        pair.ask(&token, "GET", &path, "")
            .ok()
            .filter(|reply| reply.status == 200)
    });
    assert!(again.is_some(), "{}", pair.log(Process::Api));
}

#[test]
fn c201_the_log_is_json_without_secrets() {
    let server = server();
    let mut item = login("title-that-is-logged-nowhere");
    item["fields"][1]["value"] = "value-that-is-logged-nowhere".into();
    let made = server.made(&item);
    server.found("title eq \"title-that-is-logged-nowhere\"");
    item["fields"][1]["purpose"] = "value-that-is-logged-nowhere".into();
    refused(&server.post(&item), 400, "");
    assert_eq!(server.delete(&server.path(&made)).status, 204);
    let mark = "c201-marked-request";
    let request = Request::new("GET", "/v1/vaults")
        .bearer(&server.token)
        .header("X-Request-Id", mark);
    assert_eq!(raw(&server, request).status, 200);
    let inspected: Value =
        serde_json::from_str(&server.pair.output(&["token", "inspect", "--json", &server.token])).unwrap();
    let marked = wait_until(|| {
        let log = server.pair.log(Process::Api);
        let line = log.lines().find(|line| line.contains(mark))?;
        serde_json::from_str::<Value>(line).ok()
    });
    let marked = marked.expect("the request is logged");
    assert_eq!(
        (&marked["request_id"], &marked["level"]),
        (&mark.into(), &"debug".into())
    );
    assert_eq!(marked["jti"], inspected["claims"]["jti"], "{marked}");
    assert_eq!((&marked["method"], &marked["status"]), (&"GET".into(), &200.into()));
    assert!(marked["route"].is_string() && marked["dur_ms"].is_number(), "{marked}");
    for process in [Process::Api, Process::Sync] {
        let log = server.pair.log(process);
        // The last line may be incomplete.
        let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
        assert!(!whole.is_empty());
        for line in whole.lines() {
            let parsed: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for member in ["ts", "level", "msg", "target"] {
                assert!(parsed[member].is_string(), "{line}");
            }
            if parsed["msg"] == "request" {
                assert!(parsed["request_id"].is_string(), "{line}");
            }
            for secret in [&server.token, &server.reader, &server.writer, "logged-nowhere"] {
                assert!(!line.contains(secret), "{line}");
            }
        }
    }
}
