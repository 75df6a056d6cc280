//! Checks 38 and 188–203: how the processes start, wait and stop.

use std::cell::Cell;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use super::{login, refused};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::postgres;
use sidevault_tests::tools::skipped;
use sidevault_tests::wire::{Request, Wire, exchange};

const VAULT: [&str; 3] = ["--vault", "apps", "--allow-ephemeral"];

/// The uid of the processes in the images.
const UID: u32 = 999;

/// Changes the user and drops all capabilities, as a Pod of the Helm chart does.
const DROP: &str = "setpriv --reuid=999 --regid=999 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs";

/// Whether this command succeeds. If not, the test is skipped.
fn can(command: &str) -> bool {
    let can = Command::new("sh").args(["-c", command]).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        skipped(&format!("needs root, setpriv and unshare (util-linux): {command}"));
    }
    can
}

/// Makes the pair's directory, and a copy of the binary in it, accessible to other users. Returns the copy's path.
fn reachable(pair: &ServerPair) -> String {
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = pair.path("sidevault");
    // `cp` and not `fs::copy`: a process that another test starts would inherit the descriptor of the copy, and a file that
    // is open for writing can't be executed.
    let copied = Command::new("cp")
        .arg(sidevault_tests::pair::binary())
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    for path in [copy.clone(), pair.path(""), pair.path("keys")] {
        open(&path);
    }
    copy.to_string_lossy().into_owned()
}

fn give(path: &Path) {
    chown(path, Some(UID), Some(UID)).unwrap();
}

#[test]
fn c038_198_the_first_request_after_a_start_succeeds() {
    // On a busy machine it may take long to create the database.
    let mut pair = ServerPair::prepare(&VAULT, &[("OP_SYNC_TIMEOUT", "2m")]);
    let token = pair.token("t", &["apps=read"]);
    for _ in ["the first start", "a later start"] {
        pair.run(Process::Api);
        pair.run(Process::Sync);
        // Connections fail until the api listens; the first request that gets a response must succeed.
        let first = wait_until(|| pair.ask(&token, "GET", "/v1/vaults/apps", "").ok()).unwrap();
        let logs = || format!("{}\n{}", pair.log(Process::Api), pair.log(Process::Sync));
        assert_eq!(first.status, 200, "{}\n{}", first.text(), logs());
        assert_eq!(pair.get(&token, "/v1/vaults").json()[0]["name"], "apps");
        pair.kill(Process::Api);
        pair.kill(Process::Sync);
    }
}

#[test]
fn c188_189_op_session_is_a_path_or_encoded_content() {
    let mut pair = ServerPair::start(&VAULT, &[]);
    let token = pair.token("t", &["apps=read"]);
    let json = fs::read_to_string(pair.path("keys/1password-credentials.json")).unwrap();
    let once = STANDARD.encode(&json);
    let twice = STANDARD.encode(&once);
    for session in [json, once, twice] {
        pair.kill(Process::Api);
        pair.set("OP_SESSION", &session);
        pair.run(Process::Api);
        let read = wait_until(|| pair.ask(&token, "GET", "/v1/vaults/apps", "").ok());
        assert_eq!(read.map(|reply| reply.status), Some(200), "{}", pair.log(Process::Api));
    }
    // A value that is encoded three times is refused. The error says what OP_SESSION must be, and does not show its value.
    pair.kill(Process::Api);
    let thrice = STANDARD.encode(STANDARD.encode(STANDARD.encode("{\"format\":\"x\"}")));
    pair.set("OP_SESSION", &thrice);
    pair.run(Process::Api);
    assert_eq!(pair.wait_ended(Process::Api).code(), Some(78));
    let log = pair.log(Process::Api);
    assert!(log.contains("OP_SESSION") && !log.contains(&thrice[..12]), "{log}");
}

/// Runs the pair as uid 999 if the tests run as root, whom file modes do not restrict, and as the same user otherwise.
/// Returns the uid, or `None` if the user can't be changed.
fn without_rights(pair: &mut ServerPair) -> Option<u32> {
    let own = fs::metadata("/proc/self").unwrap().uid();
    if own != 0 {
        return Some(own);
    }
    if !can(&format!("{DROP} true")) {
        return None;
    }
    let binary = reachable(pair);
    let mut words: Vec<_> = DROP.split(' ').collect();
    words.push(&binary);
    pair.run_by(&words);
    Some(UID)
}

#[test]
fn c190_credentials_of_another_user_are_named_with_their_owner() {
    let mut pair = ServerPair::prepare(&VAULT, &[]);
    let Some(uid) = without_rights(&mut pair) else { return };
    let file = pair.path("keys/1password-credentials.json");
    let made = fs::metadata(&file).unwrap();
    assert_eq!(made.mode() & 0o7777, 0o600);
    if made.uid() == uid {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let (owner, mode) = (made.uid(), fs::metadata(&file).unwrap().mode() & 0o7777);
    for process in [Process::Api, Process::Sync] {
        pair.run(process);
        assert_eq!(pair.wait_ended(process).code(), Some(78));
        let log = pair.log(process);
        let file = file.display();
        for words in [
            format!("{file} cannot be read: it belongs to uid {owner} with mode {mode:04o}"),
            format!("runs as uid {uid}"),
            format!("`chown {uid} {file}`"),
        ] {
            assert!(log.contains(&words), "{words}: {log}");
        }
    }
}

#[test]
fn c191_an_unwritable_data_directory_is_named_with_the_uid_it_needs() {
    if postgres::is_chosen() {
        return; // The store is not in the data directory.
    }
    let mut pair = ServerPair::prepare(&VAULT, &[]);
    let Some(uid) = without_rights(&mut pair) else { return };
    let data = pair.path("data/.op/data");
    fs::create_dir_all(&data).unwrap();
    if uid == UID {
        give(&pair.path("keys/1password-credentials.json"));
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).unwrap();
    pair.run(Process::Sync);
    assert_ne!(pair.wait_ended(Process::Sync).code(), Some(0));
    let log = pair.log(Process::Sync);
    assert!(
        log.contains(&data.display().to_string()) && log.contains(&format!("must be writable by uid {uid}")),
        "{log}"
    );
}

#[test]
fn c192_212_a_pod_as_the_helm_chart_makes_it_becomes_ready_and_works() {
    let locked = "mount --make-rprivate / && mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro /";
    if !can(&format!(
        "cd /tmp && unshare --mount sh -c '{locked}' /tmp && {DROP} true"
    )) {
        return;
    }
    let mut pair = ServerPair::prepare(&VAULT, &[]);
    let token = pair.token("t", &["apps=read,write"]);
    let binary = reachable(&pair);
    give(&pair.path("keys/1password-credentials.json"));
    give(&pair.path("data"));
    let data = pair.path("data").to_string_lossy().into_owned();
    // All file systems but the data directory are read-only; the user is 999, without capabilities.
    let script = format!("{locked} && ! touch \"$1\"/x 2>/dev/null && shift && exec {DROP} \"$@\"");
    let root = pair.path("").to_string_lossy().into_owned();
    pair.run_by(&["unshare", "--mount", "sh", "-c", &script, &data, &root, &binary]);
    pair.run(Process::Api);
    pair.run(Process::Sync);
    // The chart's probes of both containers, and the request of `helm test`. No client has sent a token yet.
    for address in [pair.address(), pair.sync_address()] {
        for probe in ["/heartbeat", "/health"] {
            let ready = wait_until(|| exchange(address, &Request::new("GET", probe).bytes()).ok());
            let ready = ready.unwrap_or_else(|| panic!("{}\n{}", pair.log(Process::Api), pair.log(Process::Sync)));
            assert_eq!(ready.status, 200, "{probe}: {}", ready.text());
        }
    }
    pair.wait_linked();
    pair.vault(&token, "apps");
    let made = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", &login("kept").to_string())
        .unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(pair.get(&token, "/v1/vaults/apps/items/kept").json()["title"], "kept");
}

#[test]
fn c194_without_bus_settings_api_and_sync_connect() {
    const API: u16 = 11220;
    // Another test program that runs at the same time may listen there for a while.
    if wait_until(|| TcpListener::bind(("::", API)).ok()).is_none() {
        skipped(&format!("something else listens on port {API}"));
        return;
    }
    let mut pair = ServerPair::prepare(&VAULT, &[]);
    pair.forget_bus();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("t", &["apps=read,write"]);
    let made = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", &login("x").to_string())
        .unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
}

#[test]
fn c197_without_sync_and_store_a_request_fails_with_connects_error() {
    let mut pair = ServerPair::prepare(&VAULT, &[("OP_SYNC_TIMEOUT", "1s")]);
    let token = pair.token("t", &["apps=read"]);
    pair.run(Process::Api);
    for target in ["/v1/vaults", "/v1/vaults/apps", "/v1/vaults/apps/items", "/v1/activity"] {
        let reply = wait_until(|| pair.ask(&token, "GET", target, "").ok()).unwrap();
        refused(&reply, 500, "failed to initiate, review service logs for details");
    }
}

#[test]
fn c200_a_request_in_progress_is_finished_on_sigterm() {
    let mut pair = ServerPair::start(&VAULT, &[]);
    let token = pair.token("t", &["apps=read,write"]);
    let body = login("in work").to_string();
    let head = Request::new("POST", "/v1/vaults/apps/items")
        .bearer(&token)
        .header("Content-Length", body.len().to_string())
        .header("Expect", "100-continue");
    let mut wire = Wire::open(pair.address()).unwrap();
    wire.send(&head.bytes()).unwrap();
    // The server waits for the body, so the request is in progress.
    let seen = wire.until(|bytes| bytes.ends_with(b"\r\n\r\n")).unwrap();
    assert!(seen.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&seen));
    pair.terminate(Process::Api);
    // The api has stopped listening, so it has received the signal.
    let refused = wait_until(|| std::net::TcpStream::connect(pair.address()).is_err().then_some(()));
    assert!(refused.is_some(), "the api still takes connections");
    wire.send(body.as_bytes()).unwrap();
    let made = wire.reply(false).unwrap();
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(
        pair.wait_ended(Process::Api).code(),
        Some(0),
        "{}",
        pair.log(Process::Api)
    );
    pair.terminate(Process::Sync);
    assert_eq!(
        pair.wait_ended(Process::Sync).code(),
        Some(0),
        "{}",
        pair.log(Process::Sync)
    );
    pair.run(Process::Api);
    pair.run(Process::Sync);
    let kept = wait_until(|| pair.ask(&token, "GET", "/v1/vaults/apps/items/in%20work", "").ok());
    assert_eq!(kept.map(|reply| reply.status), Some(200));
}

#[test]
fn c202_log_levels_are_accepted_and_an_unknown_one_is_reported() {
    for level in ["trace", "debug", "info", "warn", "error", "ERROR", "junk"] {
        let mut pair = ServerPair::prepare(&[], &[("OP_LOG_LEVEL", level)]);
        pair.run(Process::Api);
        assert!(wait_until(|| pair.health()["name"].as_str().map(|_| ())).is_some());
        // The log line of a 401 has the level `info`.
        assert_eq!(pair.get("bad", "/v1/vaults").status, 401);
        let logged = |text: &str| pair.log(Process::Api).contains(text);
        let logged_info = || wait_until(|| logged("\"level\":\"info\"").then_some(())).is_some();
        match level {
            "trace" | "debug" | "info" => assert!(logged_info() && !logged("OP_LOG_LEVEL")),
            "junk" => assert!(logged_info() && logged("\"level\":\"warn\"") && logged("OP_LOG_LEVEL")),
            _ => assert!(!logged("\"level\":\"info\"") && !logged("OP_LOG_LEVEL")),
        }
        assert_eq!(
            logged("\"level\":\"debug\""),
            matches!(level, "trace" | "debug"),
            "{level}"
        );
    }
}

#[test]
fn c125_203_a_write_is_visible_through_another_api_at_once() {
    let mut pair = ServerPair::prepare(&VAULT, &[]);
    pair.run(Process::Api);
    let replica = pair.run_replica();
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("t", &["apps=read,write"]);
    let items = "/v1/vaults/apps/items";
    // With the store in PostgreSQL a write is visible at once only to a request that names its sequence.
    let sequence = Cell::new(None);
    let ask = |address, method: &str, target: &str, body: &str| {
        let mut request = Request::new(method, target).bearer(&token);
        if let Some(sequence) = sequence.take().filter(|_| postgres::is_chosen()) {
            request = request.header("Sidevault-Sequence", sequence);
        }
        let request = if body.is_empty() { request } else { request.body(body) };
        let reply = exchange(address, &request.bytes()).unwrap();
        sequence.set(reply.header("sidevault-sequence").map(str::to_owned));
        reply
    };
    // `wait_linked` waits for the first api only.
    let linked = wait_until(|| {
        let metrics = exchange(replica, &Request::new("GET", "/metrics").bytes()).ok()?.text();
        metrics
            .lines()
            .any(|line| line == "sidevault_bus_connected 1")
            .then_some(())
    });
    assert!(linked.is_some());
    for (writer, reader) in [(pair.address(), replica), (replica, pair.address())] {
        // No waiting: an acknowledged write must be visible through every api at once.
        let made = ask(writer, "POST", items, &login("first").to_string());
        assert_eq!(made.status, 200, "{}", made.text());
        let path = format!("{items}/{}", made.json()["id"].as_str().unwrap());
        let read = ask(reader, "GET", &path, "");
        assert_eq!((read.status, &read.json()["version"]), (200, &1.into()));
        assert_eq!(ask(writer, "PUT", &path, &login("second").to_string()).status, 200);
        let read = ask(reader, "GET", &path, "").json();
        assert_eq!((&read["title"], &read["version"]), (&"second".into(), &2.into()));
        assert_eq!(ask(writer, "DELETE", &path, "").status, 204);
        assert_eq!(ask(reader, "GET", &path, "").status, 404);
    }
}
