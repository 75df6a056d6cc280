//! Commands that people type: `quickstart`, and `doctor`, which must ask the server that is meant.
#![allow(clippy::expect_used, missing_docs)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use sidevault_tests::pair::binary;

/// `quickstart` on a free port, until this is dropped.
struct Quickstart {
    child: Child,
    url: String,
}

/// The binary with a home of its own.
fn sidevault(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.args(arguments).env_clear().env("PATH", path);
    command.env("XDG_DATA_HOME", home);
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    sidevault(home, arguments).output().expect("the binary runs")
}

impl Quickstart {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let always = ["quickstart", "--json", "--port=0"];
        let mut command = sidevault(home, &[&always, arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("a line of JSON");
        let url = ready["url"].as_str().expect("the address").to_owned();
        Self { child, url }
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A directory called `secrets` with a file.
fn secrets(below: &Path) -> String {
    let directory = below.join("secrets");
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("db.yaml"), "username: orders\n").expect("a file");
    directory.to_string_lossy().into_owned()
}

/// Otherwise the server would answer with another vault's items.
#[test]
fn a_directory_whose_vault_is_taken_is_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = secrets(home.path());
    drop(Quickstart::start(home.path(), &[]));

    let refused = run(home.path(), &["quickstart", "--port=0", "--dir", &directory]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(
        said.contains("vault \"secrets\" belongs to \"local\"") && said.contains("--data DIR"),
        "{said}"
    );
    assert!(refused.stdout.is_empty(), "a token of a server that does not run");

    let other = home.path().join("other").to_string_lossy().into_owned();
    Quickstart::start(home.path(), &["--data", &other, "--dir", &directory]);
}

#[test]
fn doctor_looks_at_the_server_of_the_data_directory_that_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("second").to_string_lossy().into_owned();
    let first = Quickstart::start(home.path(), &[]);
    let second = Quickstart::start(home.path(), &["--data", &data]);
    for (arguments, url, other) in [
        (&["doctor", "--data", &data][..], &second.url, &first.url),
        (&["doctor"][..], &first.url, &second.url),
    ] {
        let output = run(home.path(), arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(url.as_str()) && !said.contains(other.as_str()), "{said}");
        let of = |check: &str| {
            said.lines()
                .find(|line| line.contains(check))
                .unwrap_or_default()
                .to_owned()
        };
        assert!(of(" api ").starts_with("ok"), "{said}");
        assert!(of(" token ").starts_with("ok"), "{said}");
    }
}
