//! Rows for the commands that read secrets, each a process from start to exit.

use std::process::{Command, Stdio};
use std::time::Instant;

use sidevault_tests::pair::binary;

use crate::fixture::Fixture;
use crate::load::median;
use crate::row;
use crate::servers::Servers;

/// How much output is masked.
const MASKED_MIB: usize = 512;

pub(crate) async fn secrets(calls: usize) {
    let fixture = Fixture::seed(1000).await;
    let pair = Servers::start(&fixture, 1, 1).await;
    let host = format!("http://{}", pair.address(0));
    let references: Vec<String> = fixture
        .item_paths(100)
        .iter()
        .map(|path| {
            let ids: Vec<&str> = path.split('/').collect();
            format!("op://{}/{}/password", ids[3], ids[5])
        })
        .collect();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("OP_CONNECT_HOST", &host)
            .env("OP_CONNECT_TOKEN", &fixture.token);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let template = fixture.path("template");
    std::fs::write(&template, references.join("\n")).unwrap();
    let template = template.to_str().unwrap();

    let nothing = milliseconds(calls, || Command::new("true"));
    let read = milliseconds(calls, || command(&["read", &references[0]]));
    row(
        "read of one secret, from start to exit, more than `true`",
        format!("{:.1} ms", read - nothing),
        "<= 15 ms",
    );
    let read = milliseconds(calls, || command(&["op", "read", &references[0]]));
    row(
        "op read of one secret, more than `true`",
        format!("{:.1} ms", read - nothing),
        "<= 15 ms",
    );
    let injected = milliseconds(calls, || command(&["inject", "-i", template]));
    row(
        "inject of 100 references, more than `true`",
        format!("{:.1} ms", injected - nothing),
        "",
    );

    // Lines without a secret, and the same with one in each.
    for (what, line) in [
        ("", "0123456789 abcdefghijklmnopqrstuvwxyz"),
        (", a secret in each line", "0123456789 $SECRET"),
    ] {
        let script = format!("yes \"{line}\" | head -c {}", MASKED_MIB << 20);
        let run = |masking: &[&str]| {
            let mut command = command(&[&["run"], masking, &["--", "sh", "-c", &script]].concat());
            command.env("SECRET", &references[0]);
            command
        };
        let masked = milliseconds(3, || run(&[])) / 1000.0;
        let plain = milliseconds(3, || run(&["--no-masking"])) / 1000.0;
        row(
            &format!("run, masking {MASKED_MIB} MiB{what}"),
            format!("{:.0} MB/s", (MASKED_MIB << 20) as f64 / 1e6 / masked),
            ">= 200 MB/s",
        );
        row(
            &format!("run, without masking{what}"),
            format!("{:.0} MB/s", (MASKED_MIB << 20) as f64 / 1e6 / plain),
            "",
        );
    }
}

/// The median time of a process.
fn milliseconds(calls: usize, command: impl Fn() -> Command) -> f64 {
    let mut took: Vec<f64> = (0..calls)
        .map(|_| {
            let mut command = command();
            let started = Instant::now();
            let status = command.status().unwrap();
            assert!(status.success(), "{command:?}");
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    median(&mut took)
}
