//! The operator beside the real External Secrets controller: the same API server, server and ExternalSecrets, one after
//! the other, in one run.
//!
//! `cargo build --release -p sidevault && SIDEVAULT_BIN=target/release/sidevault cargo bench -p sidevault-tests --bench
//! operator`. Needs the programs of `tests/cluster/build.sh`. `SIDEVAULT_HERD` is how many ExternalSecrets (2,000); a
//! word after `--` runs only the rounds whose name has it.
#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that can't go on should stop"
)]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/operator/fixture.rs"]
mod fixture;

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sidevault_tests::cluster::{Cluster, Running, controllers, definitions};
use sidevault_tests::wire::{Request, exchange};

use fixture::{TestServer, VERSION};

/// ExternalSecrets for each item.
const SHARE: usize = 10;
/// How often the one whose latency is measured reads again: as short as a sane user of External Secrets goes.
const INTERVAL: &str = "10s";
const CHANGES: usize = 7;

struct Figures {
    ready: Duration,
    requests: u64,
    memory: u64,
    most_memory: u64,
    median: Duration,
    slowest: Duration,
}

fn main() {
    let Some(controllers) = controllers() else { return };
    let herd: usize = std::env::var("SIDEVAULT_HERD")
        .ok()
        .and_then(|herd| herd.parse().ok())
        .unwrap_or(2000);
    println!(
        "{herd} ExternalSecrets on {} items; latency with refreshInterval {INTERVAL}",
        herd / SHARE
    );
    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
        "who", "ready", "requests", "memory", "most", "median", "slowest"
    );
    let controller = &controllers[0];
    let start = |arguments: &'static [&'static str]| {
        move |cluster: &Cluster| (cluster.run_external_secrets(controller, arguments), 8080)
    };
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = |who: &str| only.as_ref().is_none_or(|only| who.contains(only.as_str()));
    let rounds = [
        ("External Secrets, as its chart has it", &["--concurrent=1"][..]),
        (
            "External Secrets, --concurrent=16",
            &["--concurrent=16", "--client-qps=1000", "--client-burst=1000"],
        ),
    ];
    let theirs =
        rounds.map(|(who, arguments)| wanted(who).then(|| (who, round(who, herd, controller, start(arguments)))));
    let who = "Sidevault";
    let ours = |cluster: &Cluster| (fixture::operator(cluster, &[]), 8090);
    let Some(ours) = wanted(who).then(|| round(who, herd, controller, ours)) else {
        return;
    };
    for (whom, theirs) in theirs.into_iter().flatten() {
        println!(
            "beside {whom}: ready {:.1}x faster, {:.2} of the memory, {:.2} of the requests, latency {:.0}x shorter",
            theirs.ready.as_secs_f64() / ours.ready.as_secs_f64(),
            ours.memory as f64 / theirs.memory as f64,
            ours.requests as f64 / theirs.requests as f64,
            theirs.median.as_secs_f64() / ours.median.as_secs_f64(),
        );
    }
}

fn round(who: &str, herd: usize, controller: &std::path::Path, start: impl Fn(&Cluster) -> (Running, u16)) -> Figures {
    let cluster = Cluster::start().expect("the cluster's programs");
    cluster.install_definitions(&definitions(controller));
    let server = TestServer::start();
    server.prepare(&cluster, VERSION, "apps");
    for number in 0..herd / SHARE {
        let item =
            format!(r#"{{"title":"item-{number}","category":"LOGIN","fields":[{{"label":"v","value":"{number}"}}]}}"#);
        server
            .pair
            .ask(&server.token, "POST", "/v1/vaults/apps/items", &item)
            .expect("an answer");
    }
    let manifest = |name: &str, item: &str, interval: &str| {
        json!({"apiVersion": VERSION, "kind": "ExternalSecret", "metadata": {"name": name, "namespace": "apps"},
            "spec": {"refreshInterval": interval, "secretStoreRef": {"name": "store"},
                "data": [{"secretKey": "v", "remoteRef": {"key": item, "property": "v"}}]}})
    };
    let list = fixture::path("apps", "externalsecrets", "", VERSION);
    thread::scope(|scope| {
        for lane in 0..4 {
            let (cluster, list) = (&cluster, &list);
            scope.spawn(move || {
                for number in (lane..herd).step_by(4) {
                    let item = format!("item-{}", number % (herd / SHARE));
                    cluster.post(list, &manifest(&format!("es-{number}"), &item, "1h"));
                }
            });
        }
    });

    let before = requests(&server);
    let began = Instant::now();
    let (running, port) = start(&cluster);
    let metrics = SocketAddr::new(cluster.address(), port);
    while ready(metrics) < herd {
        assert!(
            began.elapsed() < Duration::from_secs(900),
            "not ready in time\n{}",
            running.log()
        );
        thread::sleep(Duration::from_millis(100));
    }
    let ready = began.elapsed();
    let requests = requests(&server) - before;

    cluster.post(&list, &manifest("watched", "item-0", INTERVAL));
    let secret = "/api/v1/namespaces/apps/secrets/watched";
    let value = |value: &str| {
        use base64::Engine as _;
        json!(base64::engine::general_purpose::STANDARD.encode(value))
    };
    cluster.wait_for(secret, |secret| (secret["data"]["v"] == value("0")).then_some(()));
    let item = server.pair.item(&server.token, "apps", "item-0").expect("the item");
    let (id, field) = (
        item["id"].as_str().expect("an id"),
        item["fields"][0]["id"].as_str().expect("an id"),
    );
    let mut latencies: Vec<Duration> = (0..CHANGES)
        .map(|number| {
            let new = format!("new-{number}");
            let patch = json!([{"op": "replace", "path": format!("/fields/{field}/value"), "value": new}]);
            let target = format!("/v1/vaults/apps/items/{id}");
            server
                .pair
                .ask(&server.token, "PATCH", &target, &patch.to_string())
                .expect("an answer");
            let changed = Instant::now();
            while cluster
                .get(secret)
                .is_none_or(|secret| secret["data"]["v"] != value(&new))
            {
                thread::sleep(Duration::from_millis(5));
            }
            changed.elapsed()
        })
        .collect();
    latencies.sort_unstable();
    let figures = Figures {
        ready,
        requests,
        memory: memory(&running, "VmRSS"),
        most_memory: memory(&running, "VmHWM"),
        median: latencies[CHANGES / 2],
        slowest: latencies[CHANGES - 1],
    };
    println!(
        "{who:<34} {:>7.1} s {:>9} {:>5} MiB {:>5} MiB {:>8.3} s {:>8.3} s",
        figures.ready.as_secs_f64(),
        figures.requests,
        figures.memory >> 20,
        figures.most_memory >> 20,
        figures.median.as_secs_f64(),
        figures.slowest.as_secs_f64()
    );
    figures
}

/// How many ExternalSecrets are ready, by the metric that both have.
fn ready(metrics: SocketAddr) -> usize {
    let Ok(reply) = exchange(metrics, &Request::new("GET", "/metrics").bytes()) else {
        return 0;
    };
    let text = reply.text();
    let ready = text.lines().filter(|line| {
        line.starts_with("externalsecret_status_condition") && line.contains("status=\"True\"") && line.ends_with(" 1")
    });
    ready.count()
}

/// How many requests the server answered.
fn requests(server: &TestServer) -> u64 {
    let metrics = server.pair.get("", "/metrics").text();
    let of_api = metrics
        .lines()
        .filter(|line| line.starts_with("sidevault_http_requests_total") && line.contains("/v1/vaults"));
    of_api
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>() as u64
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(running: &Running, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
        .unwrap_or_default()
        << 10
}
