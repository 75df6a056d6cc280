//! Rows for api and sync on one data directory.

use std::time::{Duration, Instant};

use crate::fixture::Fixture;
use crate::load::{self, Load, median, percentile};
use crate::process::spent;
use crate::servers::{Bare, Servers};
use crate::{CONNECTIONS, ROUNDS, row};

pub(crate) async fn reads(round: Duration) {
    let fixture = Fixture::seed(10_000).await;
    let pair = Servers::start(&fixture, 1, 1).await;
    let by_id = fixture.item_paths(1000);
    let by_title = fixture.title_paths(1000);
    let answer = load::get_once(pair.address(0), &fixture.token, &by_id[0])
        .await
        .unwrap();
    let listed = load::get_once(pair.address(0), &fixture.token, &by_title[0])
        .await
        .unwrap();
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
        let ours = Load::new(pair.address(0), &fixture.token, &by_id)
            .run(CONNECTIONS, round)
            .await;
        let bare_cost = spent(bare_before, bare.cpu()) / peer.count as f64;
        let api_cost = spent(api_before, pair.api_cpu()) / ours.count as f64;
        costs.push(api_cost / bare_cost);
        ids.push(ours.rate / peer.rate);
        rates.push(ours.rate);
        let api_before = pair.api_cpu();
        let by_router = Load::new(pair.address(0), &fixture.token, &routed)
            .run(CONNECTIONS, round)
            .await;
        let routed_cost = spent(api_before, pair.api_cpu()) / by_router.count as f64;
        routed_rates.push(ours.rate / by_router.rate);
        routed_costs.push(api_cost / routed_cost);
        let peer = Load::new(bare_list.address, &fixture.token, &by_title)
            .run(CONNECTIONS, round)
            .await;
        let ours = Load::new(pair.address(0), &fixture.token, &by_title)
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
    Load::new(pair.address(0), &fixture.token, &everything)
        .run(CONNECTIONS, round)
        .await;
    let memory = pair.api_memory() + pair.sync_memory();
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

pub(crate) async fn growth(large: usize, round: Duration) {
    let small = Fixture::seed(1000).await;
    let big = Fixture::seed(large).await;
    let (one, two) = (Servers::start(&small, 1, 1).await, Servers::start(&big, 1, 1).await);
    for (what, paths) in [
        ("item by id", Fixture::item_paths as fn(&Fixture, usize) -> _),
        ("by title", Fixture::title_paths),
    ] {
        for (kind, count) in [("reading 1,000 of them", 1000), ("reading all of them", large)] {
            let (few, many) = (paths(&small, 1000), paths(&big, count));
            let mut ratios = Vec::new();
            for _ in 0..ROUNDS {
                let a = Load::new(one.address(0), &small.token, &few)
                    .run(CONNECTIONS, round)
                    .await;
                let b = Load::new(two.address(0), &big.token, &many)
                    .run(CONNECTIONS, round)
                    .await;
                ratios.push(b.p50.as_secs_f64() / a.p50.as_secs_f64());
            }
            let what = format!("p50 {what}, {large} items / 1,000, {kind}");
            row(&what, format!("{:.2}", median(&mut ratios)), "<= 1.20");
        }
    }
}

pub(crate) async fn writes(round: Duration) {
    let fixture = Fixture::seed(1000).await;
    let pair = Servers::start(&fixture, 1, 1).await;
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let one = Load::posting(pair.address(0), &fixture.token, fixture.vault)
            .run(1, round)
            .await;
        let many = Load::posting(pair.address(0), &fixture.token, fixture.vault)
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
pub(crate) async fn propagation(changes: usize) {
    let fixture = Fixture::with_directory().await;
    let pair = Servers::start(&fixture, 1, 1).await;
    let path = "/v1/vaults/tree/items/changing".to_owned();
    let mut took = Vec::new();
    for n in 0..changes {
        let text = format!("value-{n}-end");
        let started = Instant::now();
        std::fs::write(fixture.tree().join("changing.yaml"), format!("key: {text}\n")).unwrap();
        loop {
            let answer = load::get_once(pair.address(0), &fixture.token, &path)
                .await
                .unwrap_or_default();
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
    let p99 = percentile(&mut took, 99);
    row(
        "change in a directory -> readable, p99",
        format!("{p99:.0} ms"),
        "< 250 ms",
    );
}

pub(crate) async fn first_answer(items: usize) {
    let fixture = Fixture::seed(items).await;
    let mut pair = Servers::start(&fixture, 1, 1).await;
    let path = &fixture.item_paths(1)[0];
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        pair.kill_api().await;
        let started = Instant::now();
        pair.run_api();
        while load::get_once(pair.address(0), &fixture.token, path).await.is_none() {
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
