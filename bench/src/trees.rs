//! Large trees of encrypted files, and Git repositories.

use std::fs;
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret as _;
use sidevault_sops::{SealTo, Value, seal};
use sidevault_tests::git::{HttpServer, Repository};

use crate::fixture::Fixture;
use crate::load::{self, percentile};
use crate::process::{bytes_read, most_resident_mib, spent};
use crate::row;
use crate::servers::Servers;

/// How many files a directory has.
const FILES: usize = 100;
/// The directory vault of all trees.
const VAULT: &str = "tree";

/// Writes a tree of encrypted files, and the key that opens them.
fn write_sealed(fixture: &Fixture, files: usize) {
    let key = age::x25519::Identity::generate();
    fs::write(fixture.path("age.txt"), key.to_string().expose_secret()).unwrap();
    let to: [SealTo; 1] = [key.to_public().to_string().parse().unwrap()];
    let threads = std::thread::available_parallelism().map_or(2, |cores| cores.get());
    std::thread::scope(|scope| {
        for first in 0..threads {
            let to = &to;
            scope.spawn(move || {
                for n in (first..files).step_by(threads) {
                    let directory = fixture.tree().join(format!("app-{}", n / FILES));
                    fs::create_dir_all(&directory).unwrap();
                    let text = |text: String| Value::String(text);
                    let document = Value::Mapping(vec![
                        ("username".to_owned(), text(format!("user-{n}"))),
                        ("password".to_owned(), text(format!("{n:032}"))),
                        ("host".to_owned(), text("db.example".to_owned())),
                    ]);
                    let sealed = seal(&document, to, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap();
                    fs::write(directory.join(format!("service-{n}.sops.yaml")), sealed).unwrap();
                }
            });
        }
    });
}

/// How many items the vault of the tree has.
async fn count(servers: &Servers<'_>, fixture: &Fixture) -> usize {
    let vault = load::get_once(servers.address(0), &fixture.token, "/v1/vaults/tree").await;
    let vault: serde_json::Value = serde_json::from_slice(&vault.unwrap_or_default()).unwrap_or_default();
    vault["items"]
        .as_u64()
        .unwrap_or_default()
        .try_into()
        .unwrap_or_default()
}

/// Waits until the API shows an item with this text, and says after how many milliseconds.
async fn readable(servers: &Servers<'_>, fixture: &Fixture, item: &str, text: &str, since: Instant) -> f64 {
    let path = format!("/v1/vaults/tree/items/{item}");
    loop {
        let answer = load::get_once(servers.address(0), &fixture.token, &path).await;
        if String::from_utf8_lossy(&answer.unwrap_or_default()).contains(text) {
            return since.elapsed().as_secs_f64() * 1000.0;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{text} was not served within a minute"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A tree of encrypted files: the first fill, checks of the unchanged tree, changes of one file, and memory.
pub(crate) async fn sealed(files: usize, changes: usize) {
    let fixture = Fixture::with_sources(&format!(
        "sources:\n  - directory: {{ path: tree, name: {VAULT}, vault: {VAULT}, ageKeyFile: age.txt, fullCheckSeconds: 1 }}\n"
    ));
    write_sealed(&fixture, files);
    let begun = Instant::now();
    let servers = Servers::start(&fixture, 1, 1).await;
    while count(&servers, &fixture).await < files {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let what = |what: &str| format!("{what}, {files} encrypted files");
    row(
        &what("start -> all items readable"),
        format!("{took:.1} s, {:.0} files/s", files as f64 / took),
        ">= 4000 files/s",
    );
    row(
        &what("sync's processor time for a file"),
        format!("{:.0} us", servers.sync_cpu().as_secs_f64() * 1e6 / files as f64),
        "",
    );
    row(
        &what("most memory of sync"),
        format!("{:.0} MiB", most_resident_mib(servers.sync_pid()).unwrap_or_default()),
        "",
    );

    // The files that were just written are read once more.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (cpu, read, period) = (servers.sync_cpu(), bytes_read(servers.sync_pid()), 20.0);
    tokio::time::sleep(Duration::from_secs_f64(period)).await;
    let busy = spent(cpu, servers.sync_cpu());
    // Between two checks, sync waits for a second.
    let checks = (period - busy).max(1.0);
    row(
        &what("processor time of a check of the unchanged tree"),
        format!("{:.2} s", busy / checks),
        "<= 1 s",
    );
    row(
        &what("bytes read in such a check, of a file"),
        format!(
            "{:.1}",
            (bytes_read(servers.sync_pid()) - read) as f64 / checks / files as f64
        ),
        "0",
    );

    let mut took = Vec::new();
    fs::write(
        fixture.tree().join("changing.sops.yaml"),
        sealed_text(&fixture, "first"),
    )
    .unwrap();
    readable(&servers, &fixture, "changing", "first", Instant::now()).await;
    for n in 0..changes {
        let (value, since) = (format!("value-{n}-end"), Instant::now());
        let text = sealed_text(&fixture, &value);
        fs::write(fixture.tree().join("changing.sops.yaml"), text).unwrap();
        took.push(readable(&servers, &fixture, "changing", &value, since).await);
    }
    row(
        &what("change -> readable, p50; p99"),
        format!(
            "{:.0} ms; {:.0} ms",
            percentile(&mut took, 50),
            percentile(&mut took, 99)
        ),
        "<= 50 ms",
    );
}

fn sealed_text(fixture: &Fixture, value: &str) -> Vec<u8> {
    let key: age::x25519::Identity = fs::read_to_string(fixture.path("age.txt")).unwrap().parse().unwrap();
    let document = Value::Mapping(vec![("key".to_owned(), Value::String(value.to_owned()))]);
    let to = [key.to_public().to_string().parse().unwrap()];
    seal(&document, &to, "2026-01-01T00:00:00Z".parse().unwrap()).unwrap()
}

/// The time from a webhook, after a push to a repository with so many files, until the API shows the new content.
pub(crate) async fn webhook(files: usize, changes: usize) {
    let repository = Repository::new();
    let tree: Vec<(String, String)> = (0..files)
        .map(|n| {
            (
                format!("app-{}/service-{n}.yaml", n / FILES),
                format!("password: \"{n:032}\"\n"),
            )
        })
        .collect();
    let tree: Vec<(&str, &str)> = tree.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    repository.push(&tree);
    repository.push(&[("changing.yaml", "key: first\n")]);
    let server = HttpServer::start(&repository);
    let fixture = Fixture::with_sources(&format!(
        "sources:\n  - git: {{ url: \"{}\", ref: main, intervalSeconds: 86400, webhookSecretFile: hook }}\n    directory: {{ name: {VAULT}, \
         vault: {VAULT} }}\n",
        server.url()
    ));
    fs::write(fixture.path("hook"), "secret\n").unwrap();
    let servers = Servers::start(&fixture, 1, 1).await;
    while count(&servers, &fixture).await < files + 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let hook = "POST /v1/hooks/tree HTTP/1.1\r\nhost: bench\r\nx-gitlab-token: secret\r\ncontent-length: 2\r\n\r\n{}";
    let mut took = Vec::new();
    for n in 0..changes {
        let value = format!("value-{n}-end");
        repository.push(&[("changing.yaml", &format!("key: {value}\n"))]);
        let since = Instant::now();
        let mut client = load::Client::connect(servers.sync_address()).await.unwrap();
        assert_eq!(client.ask(hook.as_bytes()).await.unwrap(), 202);
        took.push(readable(&servers, &fixture, "changing", &value, since).await);
    }
    row(
        &format!("webhook -> readable, {files} files, p50; p99"),
        format!(
            "{:.0} ms; {:.0} ms",
            percentile(&mut took, 50),
            percentile(&mut took, 99)
        ),
        "<= 2000 ms",
    );
}
