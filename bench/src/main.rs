//! Benchmarks of the release build, mostly as ratios to a bare axum handler in the same run: absolute numbers depend on the
//! machine.
//!
//! `cargo build --release -p sidevault && cargo run --release -p sidevault-bench`. `QUICK=1` makes the stores smaller and the
//! rounds shorter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that can't go on stops"
)]

mod load;
mod server;

use std::time::{Duration, Instant};

use load::{Load, median};
use server::{Bare, Fixture, Pair};

/// The number of connections for which BENCHMARKS.md states the goals.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    if let Some(size) = std::env::args().skip_while(|arg| arg != "bare").nth(1) {
        return server::bare(size.parse().unwrap()).await;
    }
    let quick = std::env::var_os("QUICK").is_some();
    let round = Duration::from_secs(if quick { 1 } else { 3 });
    println!("{:<58} {:>12} {:>10}", "what", "measured", "promised");
    reads(round).await;
    growth(if quick { 100_000 } else { 1_000_000 }, round).await;
    writes(round).await;
    propagation(if quick { 50 } else { 200 }).await;
    first_answer(100_000).await;
}

fn row(what: &str, measured: String, promised: &str) {
    println!("{what:<58} {measured:>12} {promised:>10}");
}

async fn reads(round: Duration) {
    let fixture = Fixture::seed(10_000).await;
    let pair = Pair::start(&fixture).await;
    let by_id = fixture.item_paths(1000);
    let by_title = fixture.title_paths(1000);
    let answer = load::get_once(pair.address, &fixture.token, &by_id[0]).await;
    let listed = load::get_once(pair.address, &fixture.token, &by_title[0]).await;
    let bare = Bare::start(answer.len()).await;
    let bare_list = Bare::start(listed.len()).await;
    let routed = through_router(&by_id);
    let (mut ids, mut titles, mut rates, mut costs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut routed_rates, mut routed_costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (bare_before, api_before) = (bare.cpu(), pair.api_cpu());
        let peer = Load::new(bare.address, &fixture.token, &by_id)
            .run(CONNECTIONS, round)
            .await;
        let ours = Load::new(pair.address, &fixture.token, &by_id)
            .run(CONNECTIONS, round)
            .await;
        let bare_cost = (bare.cpu() - bare_before).as_secs_f64() / peer.count as f64;
        let api_cost = (pair.api_cpu() - api_before).as_secs_f64() / ours.count as f64;
        costs.push(api_cost / bare_cost);
        ids.push(ours.rate / peer.rate);
        rates.push(ours.rate);
        let api_before = pair.api_cpu();
        let by_router = Load::new(pair.address, &fixture.token, &routed)
            .run(CONNECTIONS, round)
            .await;
        let routed_cost = (pair.api_cpu() - api_before).as_secs_f64() / by_router.count as f64;
        routed_rates.push(ours.rate / by_router.rate);
        routed_costs.push(api_cost / routed_cost);
        let peer = Load::new(bare_list.address, &fixture.token, &by_title)
            .run(CONNECTIONS, round)
            .await;
        let ours = Load::new(pair.address, &fixture.token, &by_title)
            .run(CONNECTIONS, round)
            .await;
        titles.push(ours.rate / peer.rate);
    }
    row(
        "GET item by id / bare handler, requests/s",
        format!("{:.2}", median(&mut ids)),
        ">= 0.80",
    );
    row(
        "GET items by title filter / bare handler",
        format!("{:.2}", median(&mut titles)),
        ">= 0.60",
    );
    row(
        "  (GET item by id, requests/s here)",
        format!("{:.0}", median(&mut rates)),
        "",
    );
    row(
        "  (processor time of GET item by id / bare handler's)",
        format!("{:.2}", median(&mut costs)),
        "",
    );
    row(
        "GET item by id without / with axum's router, requests/s",
        format!("{:.2}", median(&mut routed_rates)),
        "",
    );
    row(
        "  (processor time without / with axum's router)",
        format!("{:.2}", median(&mut routed_costs)),
        "",
    );
    let everything = fixture.item_paths(10_000);
    Load::new(pair.address, &fixture.token, &everything)
        .run(CONNECTIONS, round)
        .await;
    let memory = pair.memory_mib();
    row(
        "resident memory, api + sync, 10,000 items, after load",
        format!("{memory:.0} MiB"),
        "<= 60 MiB",
    );
}

/// The same paths with the last character percent-encoded: only axum's router decodes paths, so the api answers these through
/// it.
fn through_router(paths: &[String]) -> Vec<String> {
    let encode = |path: &String| {
        let (rest, last) = path.split_at(path.len() - 1);
        format!("{rest}%{:02X}", last.as_bytes()[0])
    };
    paths.iter().map(encode).collect()
}

async fn growth(large: usize, round: Duration) {
    let small = Fixture::seed(1000).await;
    let big = Fixture::seed(large).await;
    let (one, two) = (Pair::start(&small).await, Pair::start(&big).await);
    for (what, paths) in [
        ("item by id", Fixture::item_paths as fn(&Fixture, usize) -> _),
        ("by title", Fixture::title_paths),
    ] {
        for (kind, count) in [("reading 1,000 of them", 1000), ("reading all of them", large)] {
            let (few, many) = (paths(&small, 1000), paths(&big, count));
            let mut ratios = Vec::new();
            for _ in 0..ROUNDS {
                let a = Load::new(one.address, &small.token, &few).run(CONNECTIONS, round).await;
                let b = Load::new(two.address, &big.token, &many).run(CONNECTIONS, round).await;
                ratios.push(b.p50.as_secs_f64() / a.p50.as_secs_f64());
            }
            let what = format!("p50 {what}, {large} items / 1,000, {kind}");
            row(&what, format!("{:.2}", median(&mut ratios)), "<= 1.20");
        }
    }
}

async fn writes(round: Duration) {
    let fixture = Fixture::seed(1000).await;
    let pair = Pair::start(&fixture).await;
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let one = Load::posting(pair.address, &fixture.token, fixture.vault)
            .run(1, round)
            .await;
        let many = Load::posting(pair.address, &fixture.token, fixture.vault)
            .run(CONNECTIONS, round)
            .await;
        ratios.push(many.rate / one.rate);
        rates.push(many.rate);
    }
    row(
        "durable writes, 64 writers / 1 writer",
        format!("{:.1}", median(&mut ratios)),
        ">= 20",
    );
    row(
        "  (durable writes/s of 64 writers here)",
        format!("{:.0}", median(&mut rates)),
        "",
    );
}

/// The time from a file's change until the API shows the new content.
async fn propagation(changes: usize) {
    let fixture = Fixture::with_directory().await;
    let pair = Pair::start(&fixture).await;
    let path = "/v1/vaults/tree/items/changing".to_owned();
    let mut took = Vec::new();
    for n in 0..changes {
        let text = format!("value-{n}-end");
        let started = Instant::now();
        std::fs::write(fixture.tree().join("changing.yaml"), format!("key: {text}\n")).unwrap();
        loop {
            let answer = load::get_once(pair.address, &fixture.token, &path).await;
            if String::from_utf8_lossy(&answer).contains(&text) {
                break;
            }
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "change {n} was not served within 10 seconds"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let p99 = took[(took.len() * 99 / 100).min(took.len() - 1)];
    row(
        "change in a directory -> readable, p99",
        format!("{p99:.0} ms"),
        "< 250 ms",
    );
}

async fn first_answer(items: usize) {
    let fixture = Fixture::seed(items).await;
    let mut pair = Pair::start(&fixture).await;
    let path = &fixture.item_paths(1)[0];
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        pair.kill_api().await;
        let started = Instant::now();
        pair.spawn_api(&fixture);
        while load::try_get(pair.address, &fixture.token, path).await.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    row(
        &format!("start -> first answer, {items} items"),
        format!("{:.0} ms", median(&mut took)),
        "<= 150 ms",
    );
}
