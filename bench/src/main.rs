//! Benchmarks of the release build, mostly as ratios to a bare axum handler in the same run: absolute numbers depend on the
//! machine.
//!
//! `cargo build --release -p sidevault && cargo run --release -p sidevault-bench`. Arguments name parts of the benchmark
//! ([`PARTS`]), all by default; `compare` runs two builds of the program in turn. `QUICK=1` makes the stores smaller and the
//! rounds shorter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that can't go on stops"
)]

mod commands;
mod compare;
mod fixture;
mod load;
mod postgres;
mod process;
mod servers;
mod single;
mod trees;

use std::time::Duration;

/// The number of connections for which BENCHMARKS.md states the goals.
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;

/// The parts, in the order in which they run. Those with `postgres` need PostgreSQL on this machine.
const PARTS: [&str; 14] = [
    "reads",
    "growth",
    "writes",
    "propagation",
    "tree",
    "large-tree",
    "webhook",
    "start",
    "commands",
    "postgres-reads",
    "postgres-writes",
    "postgres-failover",
    "postgres-lag",
    "postgres-growth",
];

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [bare, size] = &arguments[..]
        && bare == "bare"
    {
        return servers::bare(size.parse().unwrap()).await;
    }
    let quick = std::env::var_os("QUICK").is_some();
    let round = Duration::from_secs(if quick { 1 } else { 3 });
    println!("{:<66} {:>26} {:>10}", "what", "measured", "promised");
    if let [compare, first, second] = &arguments[..]
        && compare == "compare"
    {
        return compare::run([first.as_ref(), second.as_ref()], round).await;
    }
    if let Some(unknown) = arguments.iter().find(|part| !PARTS.contains(&part.as_str())) {
        eprintln!("no part {unknown}; there are: {}", PARTS.join(" "));
        std::process::exit(2);
    }
    let chosen = PARTS
        .into_iter()
        .filter(|part| arguments.is_empty() || arguments.iter().any(|chosen| chosen == part));
    let large = if quick { 100_000 } else { 1_000_000 };
    for part in chosen {
        match part {
            "reads" => single::reads(round).await,
            "growth" => single::growth(large, round).await,
            "writes" => single::writes(round).await,
            "propagation" => single::propagation(if quick { 50 } else { 200 }).await,
            "tree" => trees::sealed(10_000, if quick { 50 } else { 200 }).await,
            "large-tree" => trees::sealed(if quick { 20_000 } else { 100_000 }, if quick { 20 } else { 100 }).await,
            "webhook" => trees::webhook(1_000, if quick { 10 } else { 50 }).await,
            "start" => single::first_answer(100_000).await,
            "commands" => commands::secrets(if quick { 20 } else { 100 }).await,
            _ => {
                // A server for each part, so that each begins with an empty one.
                let Some(server) = postgres::server() else { continue };
                match part {
                    "postgres-reads" => postgres::reads(&server, round).await,
                    "postgres-writes" => postgres::writes(&server, round).await,
                    "postgres-failover" => postgres::failover(&server, quick).await,
                    "postgres-lag" => postgres::lag(&server, if quick { 50 } else { 1000 }).await,
                    _ => postgres::growth(&server, large, round).await,
                }
            }
        }
    }
}

fn row(what: &str, measured: String, promised: &str) {
    println!("{what:<66} {measured:>26} {promised:>10}");
}
