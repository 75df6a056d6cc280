//! A disk that is full, nearly full or failing: what is still written, what `/health` says, and that no restart is needed.

use serde_json::Value;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::tools::skipped;
use sidevault_tests::volume::Volume;
use sidevault_tests::wire::{Request, exchange};

/// A server whose data directory is on a disk of 12 MB.
struct TestServer {
    // Declared after `pair`, so that it is unmounted after the processes have ended.
    pair: ServerPair,
    volume: Volume,
    token: String,
}

impl TestServer {
    fn start(environment: &[(&str, &str)]) -> Option<Self> {
        let mut pair = ServerPair::prepare(&["--vault", "apps", "--allow-ephemeral"], environment);
        let volume = Volume::mount(&pair.path("data"), 12)?;
        pair.run(Process::Sync);
        pair.run(Process::Api);
        pair.wait_linked();
        let token = pair.token("writer", &["apps=read,write"]);
        Some(Self { pair, volume, token })
    }

    /// A server whose disk is full and whose sync was killed, and a token that was made before.
    fn full_without_sync() -> Option<(Self, String)> {
        let mut server = Self::start(&[])?;
        let token = server.pair.token("thief", &["apps=read"]);
        server.volume.fill(12);
        while server.write("filler", 100_000).0 == 200 {}
        server.pair.kill(Process::Sync);
        Some((server, token))
    }

    fn write(&self, title: &str, bytes: usize) -> (u16, String) {
        let body = serde_json::json!({
            "title": title, "category": "LOGIN",
            "fields": [{ "id": "notes", "value": "x".repeat(bytes) }],
        });
        let reply = self
            .pair
            .ask(&self.token, "POST", "/v1/vaults/apps/items", &body.to_string());
        let reply = reply.expect("an answer");
        (reply.status, reply.text())
    }

    /// The state of the store and its reason, from a process's `/health`.
    fn store(&self, process: Process) -> (String, String) {
        let address = match process {
            Process::Api => self.pair.address(),
            Process::Sync => self.pair.sync_address(),
        };
        let health = exchange(address, &Request::new("GET", "/health").bytes())
            .expect("an answer")
            .json();
        let parts = health["dependencies"].as_array().expect("a list").clone();
        let part = parts
            .into_iter()
            .find(|part| part["service"] == "sqlite")
            .expect("the store");
        let text = |name: &str| part[name].as_str().unwrap_or_default().to_owned();
        (text("status"), text("message"))
    }

    fn wait_store(&self, status: &str) -> String {
        let both = wait_until(|| {
            let (api, sync) = (self.store(Process::Api), self.store(Process::Sync));
            (api.0 == status && sync.0 == status).then_some(api.1)
        });
        both.unwrap_or_else(|| panic!("{:?}\n{}", self.store(Process::Api), self.pair.log(Process::Sync)))
    }

    fn metric(&self, name: &str) -> f64 {
        let text = exchange(self.pair.sync_address(), &Request::new("GET", "/metrics").bytes())
            .expect("an answer")
            .text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("sidevault_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse()
            .expect("a number")
    }

    fn doctor(&self, check: &str) -> Value {
        let report: Value = serde_json::from_str(&self.pair.output(&["doctor", "--json"])).expect("doctor's JSON");
        let mut findings = report.as_array().expect("a list").iter();
        findings
            .find(|finding| finding["check"] == check)
            .expect("such a check")
            .clone()
    }
}

#[test]
fn a_full_disk_is_reported_and_revocations_are_still_written() {
    let Some(server) = TestServer::start(&[]) else { return };
    let pair = &server.pair;
    let thieves: Vec<String> = (0..5)
        .map(|n| pair.token(&format!("thief-{n}"), &["apps=read"]))
        .collect();
    assert_eq!(server.write("before", 10).0, 200);
    assert_eq!(
        (
            server.metric("store_writable"),
            server.metric("store_unwritable_since_timestamp_seconds")
        ),
        (1., 0.)
    );

    server.volume.fill(12);
    let mut kept = 0;
    let full = loop {
        match server.write(&format!("filler {kept}"), 100_000) {
            (200, _) => kept += 1,
            failed => break failed,
        }
        assert!(kept < 200, "the disk does not fill");
    };
    for _ in 0..20 {
        let (status, text) = server.write("too much", 100_000);
        assert!(
            status == 503 && text.contains("the disk of the data directory is full"),
            "{status} {text}"
        );
    }
    assert_eq!(full.0, 503, "{}", full.1);

    let message = server.wait_store("FAILED");
    assert!(
        message.contains("nothing can be written since 20") && message.contains("is full"),
        "{message}"
    );
    assert_eq!(server.metric("store_writable"), 0.);
    assert!(server.metric("store_unwritable_since_timestamp_seconds") > 1e9);
    let finding = server.doctor("sync");
    assert!(
        finding["level"] == "fail" && finding["cause"].to_string().contains("is full"),
        "{finding}"
    );
    assert_eq!(server.doctor("space")["level"], "warn");
    let errors = |line: &&str| line.contains("the store can't be written");
    assert_eq!(
        pair.log(Process::Sync).lines().filter(errors).count(),
        1,
        "{}",
        pair.log(Process::Sync)
    );

    assert_eq!(pair.get(&server.token, "/v1/vaults/apps/items/before").status, 200);
    for (n, thief) in thieves.iter().enumerate() {
        assert_eq!(pair.get(thief, "/v1/vaults/apps").status, 200);
        pair.command(&["token", "revoke", &format!("thief-{n}")]);
        assert_eq!(pair.get(thief, "/v1/vaults/apps").status, 401);
    }
    // The reserved room is for revocations only.
    assert_eq!(server.write("too much", 10_000).0, 503);

    server.volume.free();
    let (status, text) = server.write("after", 100_000);
    assert_eq!(status, 200, "{text}");
    server.wait_store("ACTIVE");
    assert_eq!(
        (
            server.metric("store_writable"),
            server.metric("store_unwritable_since_timestamp_seconds")
        ),
        (1., 0.)
    );
    assert_eq!(server.doctor("sync")["level"], "ok");
    let items = pair.get(&server.token, "/v1/vaults/apps/items").json();
    assert_eq!(items.as_array().map(Vec::len), Some(kept + 2));
}

#[test]
fn health_recovers_although_nobody_writes_and_sync_starts_on_a_full_disk() {
    let Some((mut server, thief)) = TestServer::full_without_sync() else {
        return;
    };
    server.pair.run(Process::Sync);
    let linked = wait_until(|| (server.write("x", 100_000).1.contains("is full")).then_some(()));
    assert!(linked.is_some(), "{}", server.pair.log(Process::Sync));
    server.pair.command(&["token", "revoke", "thief"]);
    assert_eq!(server.pair.get(&thief, "/v1/vaults/apps").status, 401);
    server.wait_store("FAILED");
    server.volume.free();
    server.wait_store("ACTIVE");
}

/// `token revoke` writes to the store itself if sync does not run.
#[test]
fn a_token_is_revoked_on_a_full_disk_while_sync_does_not_run() {
    let Some((server, thief)) = TestServer::full_without_sync() else {
        return;
    };
    server.pair.command(&["token", "revoke", "thief"]);
    assert_eq!(server.pair.get(&thief, "/v1/vaults/apps").status, 401);
}

#[test]
fn a_low_disk_is_reported_and_items_come_before_activity_and_history() {
    let Some(server) = TestServer::start(&[("SIDEVAULT_LOW_DISK_MB", "6")]) else {
        return;
    };
    let pair = &server.pair;
    assert_eq!(server.write("app", 10).0, 200);
    server.volume.fill(5);
    let message = server.wait_store("DEGRADED");
    assert!(
        message.contains("little disk is left") && message.contains("SIDEVAULT_LOW_DISK_MB"),
        "{message}"
    );
    assert_eq!(server.doctor("space")["level"], "warn");
    assert_eq!(server.metric("store_writable"), 1.);
    let dropped = wait_until(|| {
        pair.get(&server.token, "/v1/vaults/apps/items/app");
        (server.metric("store_activity_not_kept_total") > 0.).then_some(())
    });
    assert!(dropped.is_some());
    let rename = |title: &str| {
        let body = format!(r#"[{{"op":"replace","path":"/tags","value":["{title}"]}}]"#);
        let reply = pair
            .ask(&server.token, "PATCH", "/v1/vaults/apps/items/app", &body)
            .expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.text());
        pair.get(&server.token, "/v1/vaults/apps/items/app/versions")
            .json()
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(rename("low"), Some(1));
    server.volume.free();
    server.wait_store("ACTIVE");
    assert_eq!(rename("enough"), Some(2));
}

/// For example, a snapshot of a volume.
#[test]
fn an_api_serves_a_read_only_volume_and_notices_a_later_writer() {
    let Some(mut server) = TestServer::start(&[]) else {
        return;
    };
    assert_eq!(server.write("app", 10).0, 200);
    for process in [Process::Api, Process::Sync] {
        server.pair.terminate(process);
        server.pair.wait_ended(process);
    }
    server.volume.set_read_only(true);
    server.pair.run(Process::Api);
    let read = |title: &str| {
        let reply = server
            .pair
            .ask(&server.token, "GET", &format!("/v1/vaults/apps/items/{title}"), "");
        reply.map(|reply| reply.status).unwrap_or_default()
    };
    assert!(
        wait_until(|| (read("app") == 200).then_some(())).is_some(),
        "{}",
        server.pair.log(Process::Api)
    );
    server.volume.set_read_only(false);
    server.pair.run(Process::Sync);
    server.pair.wait_linked();
    assert_eq!(server.write("second", 10).0, 200);
    let read = |title: &str| {
        server
            .pair
            .get(&server.token, &format!("/v1/vaults/apps/items/{title}"))
            .status
    };
    // An api that was started without a write-ahead log notices a writer after a fraction of a second, not at once.
    assert!(wait_until(|| (read("second") == 200).then_some(())).is_some());
}

#[test]
fn a_read_only_volume_without_wal_index_is_reported() {
    let Some(mut server) = TestServer::start(&[]) else {
        return;
    };
    assert_eq!(server.write("app", 10).0, 200);
    server.pair.kill(Process::Api);
    server.pair.kill(Process::Sync);
    std::fs::remove_file(server.pair.path("data/.op/data/1password.sqlite-shm")).unwrap();
    server.volume.set_read_only(true);
    server.pair.run(Process::Api);
    let reported = wait_until(|| {
        let health = server.pair.health().to_string();
        (health.contains("its directory is read-only") && health.contains("start `sidevault sync` once")).then_some(())
    });
    assert!(
        reported.is_some(),
        "{}\n{}",
        server.pair.health(),
        server.pair.log(Process::Api)
    );
}

/// A limit on the size of files stands in for a failing disk: SQLite reports it as an I/O error, and it needs no root.
#[test]
fn writes_work_again_after_a_disk_error() {
    let mut pair = ServerPair::prepare(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let program = sidevault_tests::pair::binary();
    // SIGXFSZ, which comes with the error, would end the process.
    pair.run_by(&[
        "sh",
        "-c",
        "trap '' XFSZ; exec \"$@\"",
        "sh",
        &program.to_string_lossy(),
    ]);
    pair.run(Process::Sync);
    pair.run(Process::Api);
    pair.wait_linked();
    let limit = |bytes: &str| {
        let pid = pair.pid(Process::Sync).expect("sync runs").to_string();
        let limit = format!("--fsize={bytes}:unlimited");
        let done = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .output();
        done.is_ok_and(|output| output.status.success())
    };
    if !limit("1500000") {
        skipped("no prlimit here");
        return;
    }
    let token = pair.token("writer", &["apps=read,write"]);
    let write = |title: &str| {
        let body = serde_json::json!({
            "title": title, "category": "LOGIN",
            "fields": [{ "id": "notes", "value": "x".repeat(100_000) }],
        });
        pair.ask(&token, "POST", "/v1/vaults/apps/items", &body.to_string())
            .expect("an answer")
    };
    let failed = wait_until(|| Some(write("x")).filter(|reply| reply.status != 200)).expect("an error");
    assert!(
        failed.status == 503 && failed.text().contains("can't be written"),
        "{}",
        failed.text()
    );
    let sick = wait_until(|| Some(pair.health().to_string()).filter(|health| health.contains("disk I/O error")));
    assert!(sick.is_some(), "{}", pair.health());
    assert!(limit("unlimited"));
    assert_eq!(write("after").status, 200);
    pair.wait_linked();
}
