//! Checks 175–203: activity, health, start and stop.

use super::{login, raw, world};
use serde_json::Value;
use sidevault_tests::pair::{Half, Pair, wait_until};
use sidevault_tests::wire::Request;

#[test]
fn c175_179_180_activity() {
    let world = world();
    world.made(&login("recorded"));
    let refused = world
        .pair
        .ask(&world.reader, "POST", &world.items(), &login("denied").to_string());
    assert_eq!(refused.unwrap().status, 403);
    let list = |token: &str| world.pair.get(token, "/v1/activity?limit=200").json();
    let denied = wait_until(|| {
        let all = list(&world.token);
        all.as_array()?
            .iter()
            .any(|record| record["result"] == "DENY")
            .then_some(())
    });
    assert!(denied.is_some(), "no denial is shown");
    let elsewhere = format!("/v1/vaults/{}/items", world.other);
    assert_eq!(world.send("POST", &elsewhere, &login("elsewhere")).status, 200);
    let of_other = |record: &Value| record["resource"]["vault"]["id"] == world.other.as_str();
    let seen = wait_until(|| list(&world.token).as_array()?.iter().any(of_other).then_some(()));
    assert!(seen.is_some());
    for record in list(&world.reader).as_array().unwrap() {
        assert!(!of_other(record), "{record}");
        for member in ["requestId", "timestamp", "action", "result"] {
            assert!(record[member].is_string(), "{record}");
        }
    }
}

#[test]
fn c176_177_178_pages_of_activity() {
    let world = world();
    for _ in 0..5 {
        world.made(&login("paged"));
    }
    let some = wait_until(|| (world.get("/v1/activity").json().as_array()?.len() >= 5).then_some(()));
    assert!(some.is_some());
    let page = world.get("/v1/activity?limit=2&offset=2");
    let range = page.header("content-range").unwrap();
    assert!(range.starts_with("3-4/"), "{range}");
    for query in ["limit=0", "limit=-1", "limit=abc", "limit=1000000000", "offset=-1"] {
        assert!(world.get(&format!("/v1/activity?{query}")).status < 500, "{query}");
    }
    let beyond = world.get("/v1/activity?offset=1000000");
    assert_eq!((beyond.status, beyond.json()), (200, Value::Array(Vec::new())));
    assert!(beyond.header("content-range").is_some());
}

#[test]
fn c181_182_184_probes() {
    let world = world();
    let beat = raw(&world, Request::new("GET", "/heartbeat"));
    assert_eq!((beat.status, beat.text().as_str()), (200, "."));
    assert!(beat.header("content-type").unwrap().starts_with("text/plain"));
    let health = world.pair.health();
    assert!(
        health["name"] == "1Password Connect API" && health["version"].is_string(),
        "{health}"
    );
    world.made(&login("no-title-in-metrics"));
    let metrics = raw(&world, Request::new("GET", "/metrics"));
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    assert!(metrics.text().contains("# TYPE ") && !metrics.text().contains("no-title-in-metrics"));
}

#[test]
fn c183_193_195_196_the_api_reads_without_sync() {
    let mut pair = Pair::prepare(&["--vault", "apps", "--allow-ephemeral"], &[]);
    // Sync first, then the api; the other order is the shared pair's.
    pair.run(Half::Sync);
    pair.run(Half::Api);
    pair.wait_linked();
    let token = pair.token("t", &["apps=read,write"]);
    let vault = pair.vault(&token, "apps");
    let items = format!("/v1/vaults/{vault}/items");
    let made = pair.ask(&token, "POST", &items, &login("kept").to_string()).unwrap();
    let path = format!("{items}/{}", made.json()["id"].as_str().unwrap());
    pair.kill(Half::Sync);
    assert_eq!(pair.get(&token, &path).status, 200);
    let health = pair.get(&token, "/health");
    assert!(matches!(health.status, 200 | 503) && health.json()["name"].is_string());
    pair.kill(Half::Api);
    pair.run(Half::Api);
    let again = wait_until(|| {
        pair.ask(&token, "GET", &path, "")
            .ok()
            .filter(|reply| reply.status == 200)
    });
    assert!(again.is_some(), "{}", pair.log(Half::Api));
}

#[test]
fn c201_the_log_is_json_without_secrets() {
    let world = world();
    world.made(&login("logged"));
    for line in world.pair.log(Half::Api).lines().filter(|line| !line.is_empty()) {
        assert!(
            serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()),
            "{line}"
        );
        assert!(!line.contains(&world.token) && !line.contains(&world.reader));
    }
}
