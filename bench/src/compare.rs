//! Two builds of the program in turn, to see what a change gains: `sidevault-bench compare PROGRAM PROGRAM`. A program may also
//! be a script that sets a variable and starts the other one.

use std::path::Path;
use std::time::Duration;

use crate::fixture::Fixture;
use crate::load::{Load, median};
use crate::process::spent;
use crate::servers::Servers;
use crate::{CONNECTIONS, row};

const ROUNDS: usize = 15;

/// What a round showed of one program.
struct Round {
    rate: f64,
    api: f64,
    sync: f64,
}

pub(crate) async fn run(programs: [&Path; 2], round: Duration) {
    let fixtures = [Fixture::seed(10_000).await, Fixture::seed(10_000).await];
    let pairs = [
        Servers::start_program(programs[0], &fixtures[0], 1, 1).await,
        Servers::start_program(programs[1], &fixtures[1], 1, 1).await,
    ];
    for what in ["GET item by id", "write, 1 writer", "write, 64 writers"] {
        let mut rounds: [Vec<Round>; 2] = Default::default();
        for _ in 0..ROUNDS {
            for n in 0..2 {
                let (fixture, pair) = (&fixtures[n], &pairs[n]);
                let load = match what {
                    "GET item by id" => Load::new(pair.address(0), &fixture.token, &fixture.item_paths(1000)),
                    _ => Load::posting(pair.address(0), &fixture.token, fixture.vault),
                };
                let connections = if what == "write, 1 writer" { 1 } else { CONNECTIONS };
                let before = (pair.api_cpu(), pair.sync_cpu());
                let measured = load.run(connections, round).await;
                let each = 1e6 / measured.count as f64;
                rounds[n].push(Round {
                    rate: measured.rate,
                    api: spent(before.0, pair.api_cpu()) * each,
                    sync: spent(before.1, pair.sync_cpu()) * each,
                });
            }
        }
        let compare = |what: &str, value: fn(&Round) -> f64| {
            let of = |n: usize| median(&mut rounds[n].iter().map(value).collect::<Vec<_>>());
            let pairs = rounds[0].iter().zip(&rounds[1]);
            let mut ratios: Vec<_> = pairs.map(|(first, second)| value(second) / value(first)).collect();
            row(
                what,
                format!("{:.1}, {:.1}: {:.3}", of(0), of(1), median(&mut ratios)),
                "",
            );
        };
        compare(&format!("{what}: requests/s, second / first"), |round| round.rate);
        compare("  µs of the api's processor time", |round| round.api);
        if what != "GET item by id" {
            compare("  µs of sync's processor time", |round| round.sync);
        }
    }
    row(
        "resident memory, MiB: api and sync of the first, of the second",
        format!(
            "{:.1} {:.1}, {:.1} {:.1}",
            pairs[0].api_memory(),
            pairs[0].sync_memory(),
            pairs[1].api_memory(),
            pairs[1].sync_memory()
        ),
        "",
    );
}
