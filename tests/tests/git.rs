//! A Git repository becomes vaults, and a push is seen. Tests with real Git servers on loopback.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use sidevault_tests::git::{HttpServer, Repository, Rules, Server, ssh_key, write_secret};
use sidevault_tests::pair::{Process, ServerPair, binary, free_port, wait_until};
use sidevault_tests::wire::{Request, Wire, exchange};

/// A pair with one Git source, `home`.
struct TestServer {
    pair: ServerPair,
    token: String,
    vault: String,
}

impl TestServer {
    /// Starts the pair. `git` has the keys under `git:`, each on a line of its own.
    fn start(git: &str) -> Self {
        let mut server = Self::prepare(git);
        server.run();
        server
    }

    fn prepare(git: &str) -> Self {
        let pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[]);
        let server = Self {
            pair,
            token: String::new(),
            vault: String::new(),
        };
        server.configure(git);
        server
    }

    fn configure(&self, git: &str) {
        let lines: String = git.lines().map(|line| format!("      {}\n", line.trim())).collect();
        fs::write(self.pair.path("sources.yaml"), format!("sources:\n  - git:\n{lines}")).unwrap();
    }

    fn run(&mut self) {
        self.pair.run(Process::Api);
        self.pair.run(Process::Sync);
        self.pair.wait_linked();
        self.token = self.pair.token("reader", &["home=read"]);
    }

    /// Waits until the item `db` has this password.
    fn wait_password(&mut self, wanted: &str) {
        if self.vault.is_empty() {
            self.vault = self.pair.vault(&self.token, "home");
        }
        let seen = wait_until(|| (self.password()? == wanted).then_some(()));
        assert!(
            seen.is_some(),
            "the password never was {wanted}\n{}",
            self.pair.log(Process::Sync)
        );
    }

    fn password(&self) -> Option<String> {
        let item = self.pair.item(&self.token, &self.vault, "db")?;
        let fields = item["fields"].as_array()?;
        let field = fields.iter().find(|field| field["label"] == "password")?;
        field["value"].as_str().map(str::to_owned)
    }

    /// Waits for a state of the source, and asserts that this password is served then.
    fn wait_degraded(&self, words: &str, password: &str) {
        self.pair.wait_source("home", "DEGRADED", words);
        assert_eq!(self.password().as_deref(), Some(password));
    }

    fn metric(&self, line: &str) -> bool {
        let metrics = exchange(self.pair.sync_address(), &Request::new("GET", "/metrics").bytes());
        metrics.unwrap().text().lines().any(|known| known == line)
    }
}

fn db(password: &str) -> String {
    format!("password: {password}\n")
}

#[test]
fn a_push_a_force_push_and_a_deleted_branch_are_seen() {
    let repository = Repository::new();
    let daemon = Server::daemon(&repository, free_port());
    let first = repository.push(&[("db.yaml", &db("first")), ("prod/api.yaml", "key: k\n")]);
    let mut server = TestServer::start(&format!("url: {}\nref: main\nintervalSeconds: 1", daemon.url()));
    server.wait_password("first");
    server
        .pair
        .wait_source("home", "ACTIVE", &format!("commit {first} of 20"));
    let tree = server.pair.path("data/.op/data/git/home/current");
    let on_disk = |name: &str| fs::metadata(tree.join(name)).unwrap().ino();
    let before = ["db.yaml", "prod/api.yaml"].map(on_disk);
    let second = repository.push(&[("db.yaml", &db("second"))]);
    server.wait_password("second");
    server
        .pair
        .wait_source("home", "ACTIVE", &format!("commit {second} of 20"));
    // Only the file that changed is written again.
    assert_ne!(on_disk("db.yaml"), before[0]);
    assert_eq!(on_disk("prod/api.yaml"), before[1]);
    let served = format!("sidevault_git_commit_info{{source=\"home\",commit=\"{second}\"}} 1");
    assert!(wait_until(|| server.metric(&served).then_some(())).is_some());
    assert!(!server.metric(&served.replace(&second, &first)));
    let log = server.pair.log(Process::Sync);
    assert!(log.contains(&second), "{log}");
    // The commit before is forgotten.
    repository.git(&["reset", "--quiet", "--hard", &first]);
    let forced = repository.push(&[("db.yaml", &db("forced"))]);
    server.wait_password("forced");
    repository.git(&["push", "--quiet", "origin", "HEAD:refs/heads/other"]);
    repository.git(&["push", "--quiet", "origin", ":main"]);
    server.wait_degraded("no branch or tag \"main\"", "forced");
    repository.git(&["push", "--quiet", "origin", "HEAD:main"]);
    server.pair.wait_source("home", "ACTIVE", &format!("commit {forced}"));
}

#[test]
fn versions_and_events_name_the_commit_that_they_come_from() {
    let repository = Repository::new();
    let daemon = Server::daemon(&repository, free_port());
    let first = repository.push(&[("db.yaml", &db("first")), ("other.yaml", "key: k\n")]);
    let mut server = TestServer::start(&format!("url: {}\nref: main\nintervalSeconds: 1", daemon.url()));
    server.wait_password("first");
    let item = server.pair.item(&server.token, &server.vault, "db").unwrap();
    let id = item["id"].as_str().unwrap().to_owned();
    let mut events = Wire::open(server.pair.address()).unwrap();
    events
        .send(&Request::new("GET", "/v1/events").bearer(&server.token).bytes())
        .unwrap();
    assert_eq!(events.reply(false).unwrap().status, 200);
    // A commit that does not change the item makes no version of it.
    let between = repository.push(&[("other.yaml", "key: other\n")]);
    server.pair.wait_source("home", "ACTIVE", &between);
    let second = repository.push(&[("db.yaml", &db("second"))]);
    server.wait_password("second");
    let time = |commit: &str| {
        let date = "--date=format-local:%Y-%m-%dT%H:%M:%SZ";
        repository.git(&["show", "--no-patch", date, "--format=%cd", commit])
    };
    let versions = |server: &TestServer| {
        let path = format!("/v1/vaults/{}/items/{id}/versions", server.vault);
        server.pair.get(&server.token, &path).json()
    };
    let listed = versions(&server);
    assert_eq!(
        (&listed[0]["version"], &listed[0]["commit"]),
        (&json!(2), &json!({"id": second, "time": time(&second)}))
    );
    assert_eq!(
        (&listed[1]["version"], &listed[1]["commit"]),
        (&json!(1), &json!({"id": first, "time": time(&first)}))
    );
    let history = Command::new(binary())
        .args(["item", "history", "db", "--vault", "home"])
        .env("OP_CONNECT_HOST", format!("http://{}", server.pair.address()))
        .env("OP_CONNECT_TOKEN", &server.token)
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&history.stdout).into_owned();
    assert!(shown.contains(&first) && shown.contains(&second), "{shown}");
    repository.git(&["rm", "--quiet", "db.yaml"]);
    let third = repository.push(&[]);
    let seen = events.until(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        text.find("item.deleted").is_some_and(|at| text[at..].contains("\n\n"))
    });
    let seen = String::from_utf8_lossy(&seen.unwrap()).into_owned();
    for (kind, commit) in [("item.updated", &second), ("item.deleted", &third)] {
        let data = format!(r#""commit":{{"id":"{commit}","time":"{}"}}"#, time(commit));
        let named = seen.split("event:").any(|event| {
            let kind = event.trim_start().starts_with(kind);
            kind && event.contains(&data) && event.contains(&id)
        });
        assert!(named, "{kind} {data}\n{seen}");
    }
}

#[test]
fn the_last_commit_is_served_while_the_server_is_down_also_after_a_restart() {
    let repository = Repository::new();
    let daemon = Server::daemon(&repository, free_port());
    let port = daemon.port();
    repository.push(&[("db.yaml", &db("first"))]);
    let mut server = TestServer::start(&format!("url: {}\nintervalSeconds: 1", daemon.url()));
    server.wait_password("first");
    drop(daemon);
    server.wait_degraded("can't be reached", "first");
    server.pair.kill(Process::Sync);
    server.pair.kill(Process::Api);
    // A new store is filled from the tree on disk.
    for file in ["1password.sqlite", "1password.sqlite-wal", "1password.sqlite-shm"] {
        fs::remove_file(server.pair.path("data/.op/data").join(file)).ok();
    }
    server.run();
    server.pair.wait_source("home", "DEGRADED", "can't be reached");
    server.wait_password("first");
    repository.push(&[("db.yaml", &db("second"))]);
    let _daemon = Server::daemon(&repository, port);
    server.wait_password("second");
    server.pair.wait_source("home", "ACTIVE", "commit");
}

#[test]
fn a_wrong_token_is_named_and_never_shown_and_a_new_one_needs_no_restart() {
    let repository = Repository::new();
    let http = HttpServer::start(&repository);
    repository.push(&[("db.yaml", &db("first"))]);
    // "x-access-token:right-token"
    http.set(Rules {
        authorization: Some("Basic eC1hY2Nlc3MtdG9rZW46cmlnaHQtdG9rZW4=".to_owned()),
        ..Rules::default()
    });
    let mut server = TestServer::prepare(&format!(
        "url: {}\nintervalSeconds: 1\nauth: {{ tokenFile: token }}",
        http.url()
    ));
    write_secret(&server.pair.path("token"), "wrong-token\n");
    server.run();
    server.pair.wait_source("home", "FAILED", "HTTP 401");
    write_secret(&server.pair.path("token"), "right-token\n");
    server.wait_password("first");
    // An unchanged branch costs two small requests: the greeting, and the list of refs.
    let mut seen = Vec::new();
    let checks = wait_until(|| {
        seen.extend(http.requests());
        (seen.len() > 10).then_some(())
    });
    assert!(checks.is_some(), "{seen:?}");
    let last = &seen[seen.len() - 5..];
    let posts = last.iter().filter(|line| line.starts_with("POST")).count();
    assert!((2..=3).contains(&posts), "{seen:?}");
    http.set(Rules {
        authorization: Some("Basic expired".to_owned()),
        ..Rules::default()
    });
    server.wait_degraded("HTTP 401", "first");
    http.set(Rules {
        status: Some(503),
        ..Rules::default()
    });
    server.wait_degraded("HTTP 503", "first");
    // Another host would get the token.
    http.set(Rules {
        redirect: Some("http://localhost:9/home.git".to_owned()),
        ..Rules::default()
    });
    server.wait_degraded("redirects to another address (localhost)", "first");
    let log = server.pair.log(Process::Sync);
    for secret in ["wrong-token", "right-token", "eC1hY2Nlc3M"] {
        assert!(!log.contains(secret) && !server.pair.health().to_string().contains(secret));
    }
}

#[test]
fn a_changed_host_key_is_refused() {
    let repository = Repository::new();
    repository.push(&[("db.yaml", &db("first"))]);
    let user = ssh_key(&repository.path("user"));
    let (old, new) = (repository.path("old_host"), repository.path("new_host"));
    let old_public = ssh_key(&old);
    let new_public = ssh_key(&new);
    let port = free_port();
    let Some(sshd) = Server::ssh(&repository, port, &old, &user) else {
        return;
    };
    let known_hosts = repository.path("known_hosts");
    let trust = |key: &str| fs::write(&known_hosts, format!("[127.0.0.1]:{port} {key}\n")).unwrap();
    trust(&old_public);
    let key_file = repository.path("user");
    // As kubelet mounts a Secret.
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o440)).unwrap();
    let mut server = TestServer::start(&format!(
        "url: {}\nintervalSeconds: 1\nauth: {{ sshKeyFile: {}, knownHostsFile: {} }}",
        sshd.url(),
        key_file.display(),
        known_hosts.display()
    ));
    server.wait_password("first");
    drop(sshd);
    server.wait_degraded("can't be reached", "first");
    repository.push(&[("db.yaml", &db("second"))]);
    let _sshd = Server::ssh(&repository, port, &new, &user);
    server.wait_degraded("SSH host key", "first");
    trust(&new_public);
    server.wait_password("second");
    fs::write(repository.path("authorized_keys"), "").unwrap();
    server.wait_degraded("refuses the SSH key", "second");
}

#[test]
fn with_verify_an_unsigned_or_foreign_commit_is_not_served_and_named() {
    let repository = Repository::new();
    let daemon = Server::daemon(&repository, free_port());
    let allowed = ssh_key(&repository.path("allowed"));
    ssh_key(&repository.path("foreign"));
    let signers = repository.path("allowed_signers");
    fs::write(&signers, format!("ada@example.com namespaces=\"git\" {allowed}\n")).unwrap();
    repository.git(&["config", "gpg.format", "ssh"]);
    let sign_with = |key: &str| {
        let key = repository.path(key).display().to_string();
        repository.git(&["config", "user.signingKey", &key]);
    };
    sign_with("allowed");
    repository.push_with(&[("db.yaml", &db("signed"))], &["--gpg-sign"]);
    let mut server = TestServer::start(&format!(
        "url: {}\nintervalSeconds: 1\nverify: {{ allowedSignersFile: {} }}",
        daemon.url(),
        signers.display()
    ));
    server.wait_password("signed");
    assert!(server.pair.log(Process::Sync).contains("ada@example.com"));
    let unsigned = repository.push(&[("db.yaml", &db("unsigned"))]);
    server.wait_degraded(&format!("commit {unsigned} is not served: it is not signed"), "signed");
    sign_with("foreign");
    let foreign = repository.push_with(&[("db.yaml", &db("foreign"))], &["--gpg-sign"]);
    server.wait_degraded(
        &format!("commit {foreign} is not served: its key ssh-ed25519 SHA256:"),
        "signed",
    );
    sign_with("allowed");
    repository.push_with(&[("db.yaml", &db("again"))], &["--gpg-sign"]);
    server.wait_password("again");
    // A signature that was made for another commit.
    let raw = repository.git(&["cat-file", "commit", "HEAD"]);
    fs::write(repository.path("raw"), raw.replace("a change", "another")).unwrap();
    let raw = repository.path("raw").display().to_string();
    let forged = repository.git(&["hash-object", "-t", "commit", "-w", &raw]);
    repository.git(&["push", "--quiet", "origin", &format!("+{forged}:refs/heads/main")]);
    server.wait_degraded(&format!("commit {forged} is not served: its signature"), "again");
    // A key that is no longer allowed.
    repository.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    server.pair.wait_source("home", "ACTIVE", "commit");
    fs::write(&signers, "# nobody\n").unwrap();
    server.wait_degraded("is not an allowed signer", "again");
}

#[test]
fn a_webhook_with_a_right_signature_brings_the_push_at_once() {
    let repository = Repository::new();
    let daemon = Server::daemon(&repository, free_port());
    repository.push(&[("db.yaml", &db("first"))]);
    let mut server = TestServer::prepare(&format!(
        "url: {}\nintervalSeconds: 86400\nwebhookSecretFile: hook",
        daemon.url()
    ));
    write_secret(&server.pair.path("hook"), "s3cret\n");
    server.run();
    server.wait_password("first");
    let sync = server.pair.sync_address();
    let post = |target: &str, header: &str, value: &str| {
        let request = Request::new("POST", target)
            .header(header, value)
            .body("{\"ref\":\"refs/heads/main\"}");
        exchange(sync, &request.bytes()).unwrap().status
    };
    let signature = |body: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
        mac.update(body.as_bytes());
        let bytes = mac.finalize().into_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let right = signature("{\"ref\":\"refs/heads/main\"}");
    let hook = "/v1/hooks/home";
    repository.push(&[("db.yaml", &db("github"))]);
    assert_eq!(
        post(hook, "X-Hub-Signature-256", &format!("sha256={}", signature("other"))),
        403
    );
    assert_eq!(post(hook, "X-Gitlab-Token", "wrong"), 403);
    assert_eq!(post(hook, "X-Other", "s3cret"), 403);
    assert_eq!(post("/v1/hooks/other", "X-Gitlab-Token", "s3cret"), 404);
    assert_eq!(server.password().as_deref(), Some("first"));
    assert_eq!(post(hook, "X-Hub-Signature-256", &format!("sha256={right}")), 202);
    server.wait_password("github");
    repository.push(&[("db.yaml", &db("gitea"))]);
    assert_eq!(post(hook, "X-Gitea-Signature", &right), 202);
    server.wait_password("gitea");
    repository.push(&[("db.yaml", &db("gitlab"))]);
    assert_eq!(post(hook, "X-Gitlab-Token", "s3cret"), 202);
    server.wait_password("gitlab");
    let large = Request::new("POST", hook)
        .header("X-Gitlab-Token", "s3cret")
        .body("x".repeat(6 << 20));
    assert_eq!(exchange(sync, &large.bytes()).map_or(413, |reply| reply.status), 413);
}

#[test]
fn a_hostile_tree_is_refused_and_leaves_no_file_elsewhere() {
    let repository = Repository::new();
    let daemon = Server::daemon(&repository, free_port());
    repository.push(&[("db.yaml", &db("first"))]);
    let mut server = TestServer::start(&format!("url: {}\nintervalSeconds: 1", daemon.url()));
    server.wait_password("first");
    let outside = server.pair.path("data/.op/data/git/home/planted");
    for (entries, words) in [
        (&[("100644", "../planted", "x")][..], "name is not allowed"),
        (&[("100644", "..", "x")], "name is not allowed"),
        (&[("100644", ".GIT", "x")], "name is not allowed"),
        (
            &[("120000", "a", "../../.."), ("100644", "a", "x")],
            "two entries have this name",
        ),
    ] {
        let commit = repository.push_entries(entries);
        server.wait_degraded(&commit, "first");
        server.wait_degraded(words, "first");
        assert!(!outside.exists());
    }
    // Links that lead out of the tree are not followed, and a submodule is left out; the rest is served.
    let commit = repository.push_entries(&[
        ("100644", "db.yaml", "password: second\n"),
        ("120000", "passwd.yaml", "/etc/passwd"),
        ("160000", "sub", ""),
    ]);
    server.wait_password("second");
    server.pair.wait_source("home", "DEGRADED", &commit);
    let log = server.pair.log(Process::Sync);
    assert!(log.contains("sub (it is a submodule)"), "{log}");
    assert!(server.pair.item(&server.token, &server.vault, "passwd").is_none());
}

#[test]
fn a_directory_of_a_tag_is_served_under_another_name() {
    let repository = Repository::new();
    let http = HttpServer::start(&repository);
    repository.push(&[("clusters/home/db.yaml", &db("tagged")), ("README.md", "no secret\n")]);
    repository.git(&["tag", "-m", "a release", "v1"]);
    repository.git(&["push", "--quiet", "origin", "v1"]);
    repository.push(&[("clusters/home/db.yaml", &db("later"))]);
    let server = TestServer::prepare("url: x");
    let text = format!(
        "sources:\n  - git: {{ url: \"{}\", ref: v1, path: clusters/home, intervalSeconds: 1 }}\n    directory: {{ name: \
         home, vault: home }}\n",
        http.url()
    );
    fs::write(server.pair.path("sources.yaml"), &text).unwrap();
    let mut server = server;
    server.run();
    server.wait_password("tagged");
    assert!(!Path::new(&server.pair.path("data/.op/data/git/home/current/README.md")).exists());
    server.pair.kill(Process::Sync);
    // Another directory of the repository: what was checked out before is not served as that.
    fs::write(
        server.pair.path("sources.yaml"),
        text.replace("clusters/home", "clusters/nowhere"),
    )
    .unwrap();
    server.pair.run(Process::Sync);
    server
        .pair
        .wait_source("home", "FAILED", "has no directory \"clusters/nowhere\"");
    assert_eq!(server.password().as_deref(), Some("tagged"));
}
