//! Faults of Git servers. Each has a server and a source of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use sidevault_tests::git::{HttpServer, Repository, Rules, Server};
use sidevault_tests::pair::{Process, ServerPair, free_port, wait_until};

/// A fault, and how its server is made. Returns what must live as long as the test, and the URL.
type Make = fn() -> (Box<dyn std::any::Any>, String);

/// Each fault of a server from the beginning: its name, and the words that `/health` says it with.
const FAULTS: &[(&str, Make, &str)] = &[
    ("empty-repository", || of(Repository::new()), "no branch or tag"),
    (
        "no-repository",
        || (Box::new(()), "file:///nonexistent/home.git".to_owned()),
        "",
    ),
    (
        "nobody-listens",
        || (Box::new(()), format!("http://127.0.0.1:{}/home.git", free_port())),
        "can't be reached",
    ),
    (
        "no-git-server",
        || {
            answering(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
            )
        },
        "",
    ),
    ("garbage", || answering(b"\x00\xff\x17garbage\r\n\r\n\x00"), ""),
    (
        "server-error",
        || answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        "HTTP 500",
    ),
    ("closes-at-once", || answering(b""), ""),
    ("sha256-repository", sha256_repository, ""),
];

pub(super) fn names() -> Vec<&'static str> {
    FAULTS.iter().map(|(name, _, _)| *name).collect()
}

/// A Git daemon for a repository.
fn of(repository: Repository) -> (Box<dyn std::any::Any>, String) {
    let daemon = Server::daemon(&repository, free_port());
    let url = daemon.url().to_owned();
    (Box::new((daemon, repository)), url)
}

/// A server that answers each request with these bytes.
fn answering(bytes: &'static [u8]) -> (Box<dyn std::any::Any>, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                stream.write_all(bytes).ok();
            }
        }
    });
    (Box::new(()), format!("http://127.0.0.1:{port}/home.git"))
}

fn sha256_repository() -> (Box<dyn std::any::Any>, String) {
    let root = tempfile::tempdir().unwrap();
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(words).current_dir(root.path());
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        for name in [
            "GIT_AUTHOR_NAME",
            "GIT_COMMITTER_NAME",
            "GIT_AUTHOR_EMAIL",
            "GIT_COMMITTER_EMAIL",
        ] {
            command.env(name, "ada@example.com");
        }
        assert!(command.status().unwrap().success(), "{words:?}");
    };
    git(&["init", "--quiet", "--object-format=sha256", "--initial-branch=main"]);
    git(&["commit", "--quiet", "--allow-empty", "--message", "a commit"]);
    let url = format!("file://{}", root.path().display());
    (Box::new(root), url)
}

#[test]
fn a_fault_of_a_git_server_changes_nothing_that_is_served() {
    let mut pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[]);
    let good = Repository::new();
    good.push(&[("db.yaml", "k: first\n")]);
    let daemon = Server::daemon(&good, free_port());
    let mut sources = format!(
        "sources:\n  - git: {{ url: \"{}\", intervalSeconds: 1 }}\n    directory: {{ name: good }}\n",
        daemon.url()
    );
    let mut alive = Vec::new();
    for (name, make, _) in FAULTS {
        let (kept, url) = make();
        alive.push(kept);
        sources += &format!("  - git: {{ url: \"{url}\", intervalSeconds: 1 }}\n    directory: {{ name: {name} }}\n");
    }
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    let token = pair.token("reader", &["good=read"]);
    pair.wait_source("good", "ACTIVE", "commit");
    for (name, _, words) in FAULTS {
        let message = pair.wait_source(name, "FAILED", words);
        println!("{name}: {message}");
    }
    // The other source is served as if nothing were wrong, and follows its repository.
    good.push(&[("db.yaml", "k: second\n")]);
    let vault = pair.vault(&token, "good");
    let value = || {
        Some(
            pair.item(&token, &vault, "db")?["fields"][0]["value"]
                .as_str()?
                .to_owned(),
        )
    };
    let seen = wait_until(|| (value()? == "second").then_some(()));
    assert!(seen.is_some(), "{:?}\n{}", value(), pair.log(Process::Sync));
}

/// A server whose source `home` is a repository that can be read; a token for its vault, and the vault's id.
fn serve_home(url: &str) -> (ServerPair, String, String) {
    let mut pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[]);
    let sources =
        format!("sources:\n  - git: {{ url: \"{url}\", intervalSeconds: 1 }}\n    directory: {{ name: home }}\n");
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("reader", &["home=read"]);
    pair.wait_source("home", "ACTIVE", "commit");
    let vault = pair.vault(&token, "home");
    (pair, token, vault)
}

#[test]
fn files_that_git_only_points_to_and_large_ones_are_not_taken_for_secrets() {
    let repository = Repository::new();
    let large = "x".repeat((64 << 20) + 1);
    repository.push(&[
        ("db.yaml", "k: first\n"),
        ("large.bin", &large),
        (".gitattributes", "*.dat filter=lfs diff=lfs merge=lfs\n"),
        (
            "big.dat",
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
        ),
    ]);
    let daemon = Server::daemon(&repository, free_port());
    let (pair, token, vault) = serve_home(daemon.url());
    assert!(pair.item(&token, &vault, "db").is_some());
    // The pointer is a file like any other: it is served with the text that is in the repository.
    assert!(pair.item(&token, &vault, "big.dat").is_some());
    assert!(pair.item(&token, &vault, "large.bin").is_none());
    let log = pair.log(Process::Sync);
    assert!(log.contains("large.bin (it is larger than 64 MiB)"), "{log}");
}

#[test]
fn a_repository_without_its_history_is_followed() {
    let repository = Repository::new();
    repository.push(&[("db.yaml", "k: first\n")]);
    repository.push(&[("db.yaml", "k: second\n")]);
    let (from, shallow) = (repository.bare(), repository.path("shallow.git"));
    let from = format!("file://{}", from.display());
    repository.git(&[
        "clone",
        "--quiet",
        "--bare",
        "--depth",
        "1",
        &from,
        &shallow.display().to_string(),
    ]);
    let daemon = Server::daemon(&repository, free_port());
    let (pair, token, vault) = serve_home(&daemon.url().replace("home.git", "shallow.git"));
    assert_eq!(pair.item(&token, &vault, "db").unwrap()["fields"][0]["value"], "second");
}

#[test]
fn a_server_that_falls_silent_within_a_pack_is_given_up() {
    let repository = Repository::new();
    repository.push(&[("db.yaml", "k: first\n")]);
    let http = HttpServer::start(&repository);
    let (pair, token, vault) = serve_home(&http.url());
    http.set(Rules {
        silent_after: Some(1000),
        ..Rules::default()
    });
    // Text that can't be compressed, so that the pack is long.
    let noise: String = (0..400u32)
        .map(|n| format!("{:08x}\n", n.wrapping_mul(2_654_435_761) ^ 0x5bd1_e995))
        .collect();
    repository.push(&[("db.yaml", "k: second\n"), ("noise.txt", &noise)]);
    let message = pair.wait_source("home", "DEGRADED", "no answer for 30 s");
    println!("{message}");
    assert_eq!(pair.item(&token, &vault, "db").unwrap()["fields"][0]["value"], "first");
    http.set(Rules::default());
    let seen = wait_until(|| (pair.item(&token, &vault, "db")?["fields"][0]["value"] == "second").then_some(()));
    assert!(seen.is_some(), "{}", pair.log(Process::Sync));
    // What had come of the pack is not kept.
    let packs = pair.path("data/.op/data/git/home/objects/pack");
    let names = fs::read_dir(packs).unwrap().map(|entry| entry.unwrap().file_name());
    let other: Vec<_> = names
        .filter(|name| !name.to_string_lossy().starts_with("pack-"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn a_tree_that_is_too_large_is_refused_before_it_is_written() {
    let repository = Repository::new();
    repository.push(&[("db.yaml", "k: first\n")]);
    let daemon = Server::daemon(&repository, free_port());
    let (pair, token, vault) = serve_home(daemon.url());
    let trees = || fs::read_dir(pair.path("data/.op/data/git/home/trees")).unwrap().count();
    let before = trees();
    // A million files, and ten gigabytes.
    for (levels, content, words) in [
        (5, "k: v\n".to_owned(), "has more than 250000 files and directories"),
        (3, "x".repeat(1 << 20), "has more than 2048 MiB of files"),
    ] {
        repository.push_bomb(levels, content.as_bytes());
        let message = pair.wait_source("home", "DEGRADED", words);
        println!("{message}");
        assert_eq!(pair.item(&token, &vault, "db").unwrap()["fields"][0]["value"], "first");
        assert_eq!(trees(), before);
    }
    repository.push(&[("db.yaml", "k: second\n")]);
    let seen = wait_until(|| (pair.item(&token, &vault, "db")?["fields"][0]["value"] == "second").then_some(()));
    assert!(seen.is_some(), "{}", pair.log(Process::Sync));
}
