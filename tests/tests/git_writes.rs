//! Writes over the API to a Git source: each becomes a commit that is pushed to a real Git server on loopback. The real `git` and
//! the real `sops` read what was pushed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use sidevault_tests::git::{HttpServer, Repository, Rules, Server, ssh_key, write_secret};
use sidevault_tests::pair::{Process, ServerPair, binary, free_port, wait_until};
use sidevault_tests::sops::{Key, Sops};
use sidevault_tests::wire::Reply;

/// "x-access-token:right-token"
const AUTHORIZATION: &str = "Basic eC1hY2Nlc3MtdG9rZW46cmlnaHQtdG9rZW4=";

/// A repository with files that SOPS encrypted.
struct Files {
    repository: Repository,
    sops: Sops,
    key: Key,
}

impl Files {
    /// A repository with the file `db.yaml`.
    fn new() -> Option<Self> {
        let files = Self::empty()?;
        files.push("db.yaml", "password: first\nuser: ada\n");
        Some(files)
    }

    fn empty() -> Option<Self> {
        let sops = Sops::find()?;
        let key = sops.key();
        let repository = Repository::new();
        Some(Self { repository, sops, key })
    }

    /// Pushes a file, as a second person does. Returns the commit's id.
    fn push(&self, name: &str, plain: &str) -> String {
        let sealed = self.sops.encrypt(&self.key, name, plain, &[]);
        self.repository.push(&[(name, &String::from_utf8(sealed).unwrap())])
    }

    /// What sops makes of a file of the newest commit.
    fn decrypted(&self, name: &str) -> String {
        self.repository.pull();
        let file = self.repository.path("work").join(name);
        self.sops.decrypt(&self.key, &file, &[])
    }

    fn head(&self) -> String {
        self.repository.pull()
    }
}

/// A pair with one writable Git source, `home`, that asks its remote once a day only.
struct TestServer {
    pair: ServerPair,
    token: String,
    vault: String,
}

impl TestServer {
    /// Starts the pair. `git` has keys under `git:`, each on a line of its own.
    fn start(files: &Files, url: &str, git: &str) -> Self {
        let mut server = Self::prepare(files, url, git);
        server.run();
        server
    }

    fn prepare(files: &Files, url: &str, git: &str) -> Self {
        let pair = ServerPair::prepare(
            &["--config", "{root}/sources.yaml"],
            &[("SOPS_AGE_KEY_FILE", "{root}/keys/age.txt")],
        );
        fs::write(pair.path("keys/age.txt"), &files.key.secret).unwrap();
        let server = Self {
            pair,
            token: String::new(),
            vault: String::new(),
        };
        server.configure(url, git);
        server
    }

    fn configure(&self, url: &str, git: &str) {
        let lines: String = git.lines().map(|line| format!("      {}\n", line.trim())).collect();
        let text = format!(
            "sources:\n  - git:\n      url: {url}\n      ref: main\n      intervalSeconds: 86400\n{lines}    directory: {{ \
             writable: true }}\n"
        );
        fs::write(self.pair.path("sources.yaml"), text).unwrap();
    }

    fn run(&mut self) {
        self.pair.run(Process::Api);
        self.pair.run(Process::Sync);
        self.pair.wait_linked();
        self.token = self.pair.token("writer", &["home=read,write"]);
        self.vault = self.pair.vault(&self.token, "home");
        self.pair.wait_source("home", "ACTIVE", "commit");
    }

    fn item(&self, title: &str) -> Value {
        self.pair.item(&self.token, &self.vault, title).unwrap()
    }

    fn password(&self) -> String {
        value(&self.item("db"), "password").to_owned()
    }

    fn ask(&self, method: &str, below: &str, body: &Value) -> Reply {
        let path = format!("/v1/vaults/{}/items{below}", self.vault);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.pair.ask(&self.token, method, &path, &body).unwrap()
    }

    /// PATCHes the password of the item `db`.
    fn set(&self, password: &str) -> Reply {
        let id = self.item("db")["id"].as_str().unwrap().to_owned();
        let operations = json!([{"op": "replace", "path": "/fields/password/value", "value": password}]);
        self.ask("PATCH", &format!("/{id}"), &operations)
    }

    fn assert_set(&self, files: &Files, password: &str) {
        let reply = self.set(password);
        assert_eq!(
            reply.status,
            200,
            "{}\n{}",
            message(&reply),
            self.pair.log(Process::Sync)
        );
        assert_eq!(self.password(), password);
        assert_eq!(files.decrypted("db.yaml"), format!("password: {password}\nuser: ada\n"));
        assert_eq!(self.commit_of(&self.item("db")), files.head());
    }

    /// The commit that the present version of an item comes from.
    fn commit_of(&self, item: &Value) -> String {
        let below = format!("/{}/versions", item["id"].as_str().unwrap());
        let versions = self.ask("GET", &below, &Value::Null).json();
        versions[0]["commit"]["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts that a PATCH is refused, and that neither the repository nor what is served has changed.
    fn assert_refused(&self, files: &Files, status: u16, words: &[&str]) {
        let (before, head) = (self.password(), files.head());
        let reply = self.set("refused");
        let text = message(&reply);
        assert_eq!(reply.status, status, "{text}");
        for word in words {
            assert!(text.contains(word), "{text}");
        }
        assert_eq!((self.password(), files.head()), (before, head));
    }
}

fn message(reply: &Reply) -> String {
    reply.json()["message"].as_str().unwrap_or_default().to_owned()
}

fn value<'a>(item: &'a Value, label: &str) -> &'a str {
    let fields = item["fields"].as_array().unwrap();
    let field = fields.iter().find(|field| field["label"] == label).unwrap();
    field["value"].as_str().unwrap()
}

#[test]
fn each_write_is_a_signed_commit_that_git_and_sops_accept() {
    let Some(files) = Files::empty() else { return };
    let repository = &files.repository;
    let http = HttpServer::start(repository);
    http.set(Rules {
        authorization: Some(AUTHORIZATION.to_owned()),
        ..Rules::default()
    });
    let (ada, own) = (ssh_key(&repository.path("ada")), ssh_key(&repository.path("own")));
    let signers = repository.path("allowed_signers").display().to_string();
    let lines = format!("ada@example.com namespaces=\"git\" {ada}\nvault@example.com namespaces=\"git\" {own}\n");
    fs::write(&signers, lines).unwrap();
    for (name, value) in [
        ("gpg.format", "ssh"),
        ("user.signingKey", &repository.path("ada").display().to_string()),
        ("commit.gpgSign", "true"),
        ("gpg.ssh.allowedSignersFile", &signers),
    ] {
        repository.git(&["config", name, value]);
    }
    let rules = format!("creation_rules:\n  - age: {}\n", files.key.recipient);
    repository.push(&[("prod/.sops.yaml", &rules), (".sops.yaml", &rules)]);
    files.push("db.yaml", "password: first\nuser: ada\n");
    let words = r#""secrets: {action} {file}\n\nSidevault-Token: {token}""#;
    let git = format!(
        "auth: {{ tokenFile: token }}\nverify: {{ allowedSignersFile: {signers} }}\ncommits: {{ author: \"Vault <vault@example.com>\", \
         message: {words}, signingKeyFile: {} }}",
        repository.path("own").display()
    );
    let mut server = TestServer::prepare(&files, &http.url(), &git);
    write_secret(&server.pair.path("token"), "right-token\n");
    server.run();

    server.assert_set(&files, "patched");
    let mut item = server.item("db");
    let id = item["id"].as_str().unwrap().to_owned();
    let fields = item["fields"].as_array_mut().unwrap();
    fields.iter_mut().find(|field| field["label"] == "password").unwrap()["value"] = json!("put");
    assert_eq!(server.ask("PUT", &format!("/{id}"), &item).status, 200);
    assert_eq!(files.decrypted("db.yaml"), "password: put\nuser: ada\n");
    let restored = server.ask("POST", &format!("/{id}/versions/1/restore"), &Value::Null);
    assert_eq!(restored.status, 200, "{}", message(&restored));
    assert_eq!(
        (server.password(), files.decrypted("db.yaml")),
        ("first".to_owned(), "password: first\nuser: ada\n".to_owned())
    );
    let new = json!({"title": "mail", "category": "LOGIN", "fields": [{"label": "pin", "value": "0123"}]});
    let made = server.ask("POST", "", &new);
    assert_eq!(made.status, 200, "{}", message(&made));
    assert_eq!(files.decrypted("mail.sops.yaml"), "pin: \"0123\"\n");
    assert_eq!(server.commit_of(&made.json()), files.head());
    let taken = server.ask("POST", "", &new);
    assert_eq!(taken.status, 409, "{}", message(&taken));
    let edited = Command::new(binary())
        .args(["item", "edit", "db", "--vault", "home", "--field", "password=edited"])
        .env("OP_CONNECT_HOST", format!("http://{}", server.pair.address()))
        .env("OP_CONNECT_TOKEN", &server.token)
        .output()
        .unwrap();
    assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
    assert_eq!(files.decrypted("db.yaml"), "password: edited\nuser: ada\n");
    let mail = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(server.ask("DELETE", &format!("/{mail}"), &Value::Null).status, 204);
    let head = files.head();
    assert!(!repository.path("work").join("mail.sops.yaml").exists());
    assert!(server.pair.item(&server.token, &server.vault, "mail").is_none());
    server.pair.wait_source("home", "ACTIVE", &format!("commit {head}"));

    let log = repository.git(&["log", "--format=%an <%ae> %cn: %s", "-6"]);
    let by = "Vault <vault@example.com> Vault: secrets:";
    let made = [
        "Remove mail.sops.yaml",
        "Change db.yaml",
        "Add mail.sops.yaml",
        "Restore db.yaml",
        "Change db.yaml",
        "Change db.yaml",
    ];
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        made.map(|action| format!("{by} {action}"))
    );
    let token = repository.git(&[
        "log",
        "--format=%(trailers:key=Sidevault-Token,valueonly,separator=)",
        "-6",
    ]);
    assert!(
        token.lines().all(|line| line.len() == 26) && token.lines().count() == 6,
        "{token}"
    );
    for number in 0..6 {
        repository.git(&["verify-commit", &format!("HEAD~{number}")]);
    }
    assert_eq!(repository.git(&["fsck", "--strict"]), "");
}

#[test]
fn a_write_is_pushed_over_ssh_git_and_to_a_directory() {
    let Some(files) = Files::new() else { return };
    let repository = &files.repository;
    let daemon = Server::daemon(repository, free_port());
    let server = TestServer::start(&files, daemon.url(), "");
    server.assert_set(&files, "by daemon");
    drop(daemon);
    server.assert_refused(&files, 503, &["can't be reached", "Nothing was changed"]);
    let server = TestServer::start(&files, &format!("file://{}", repository.bare().display()), "");
    server.assert_set(&files, "by file");

    let (host, user) = (repository.path("host"), repository.path("user"));
    let (host_key, user_key) = (ssh_key(&host), ssh_key(&user));
    let port = free_port();
    let Some(sshd) = Server::ssh(repository, port, &host, &user_key) else {
        return;
    };
    let known_hosts = repository.path("known_hosts");
    fs::write(&known_hosts, format!("[127.0.0.1]:{port} {host_key}\n")).unwrap();
    let auth = format!(
        "auth: {{ sshKeyFile: {}, knownHostsFile: {} }}",
        user.display(),
        known_hosts.display()
    );
    let server = TestServer::start(&files, sshd.url(), &auth);
    server.assert_set(&files, "by ssh");
    fs::write(repository.path("authorized_keys"), "").unwrap();
    server.assert_refused(&files, 403, &["refuses the SSH key"]);
}

#[test]
fn a_push_of_somebody_else_is_kept_and_refuses_a_write_to_the_same_file() {
    let Some(files) = Files::new() else { return };
    let http = HttpServer::start(&files.repository);
    let server = TestServer::start(&files, &http.url(), "");
    let mut item = server.item("db");
    let theirs = files.push("db.yaml", "password: theirs\nuser: ada\n");
    let id = item["id"].as_str().unwrap().to_owned();
    item["fields"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|field| field["label"] == "password")
        .unwrap()["value"] = json!("ours");
    let reply = server.ask("PUT", &format!("/{id}"), &item);
    assert_eq!(reply.status, 409, "{}", message(&reply));
    assert!(message(&reply).contains("read the item again"), "{}", message(&reply));
    assert_eq!((server.password(), files.head()), ("theirs".to_owned(), theirs));
    let second = files.push("db.yaml", "password: theirs again\nuser: ada\n");
    assert_eq!(server.set("ours").status, 409);
    assert_eq!((server.password(), files.head()), ("theirs again".to_owned(), second));
    let third = files.push("db.yaml", "password: third\nuser: ada\n");
    assert_eq!(server.ask("DELETE", &format!("/{id}"), &Value::Null).status, 409);
    assert_eq!((server.password(), files.head()), ("third".to_owned(), third));
    // Another file.
    let other = files.push("other.yaml", "key: other\n");
    server.assert_set(&files, "ours");
    assert_eq!(files.repository.git(&["rev-parse", "HEAD~1"]), other);
    assert_eq!(files.decrypted("other.yaml"), "key: other\n");
    let seen = wait_until(|| server.pair.item(&server.token, &server.vault, "other"));
    assert_eq!(value(&seen.unwrap(), "key"), "other");
    // The branch moves while the server looks at the commit.
    let other = files.sops.encrypt(&files.key, "late.yaml", "key: late\n", &[]);
    let late = files.repository.path("late.yaml");
    fs::write(&late, other).unwrap();
    let script = format!(
        "[ -e {0}.done ] && exit 0; touch {0}.done; unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n\
         export GIT_INDEX_FILE=$PWD/late.index GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x\n\
         git read-tree main && git update-index --add --cacheinfo 100644,$(git hash-object -w {0}),late.yaml\n\
         git update-ref refs/heads/main $(git commit-tree -p main -m late $(git write-tree))",
        late.display()
    );
    files.repository.hook("pre-receive", &script);
    server.assert_set(&files, "after the late one");
    assert_eq!(files.decrypted("late.yaml"), "key: late\n");
}

#[test]
fn a_refused_push_changes_nothing_and_says_why() {
    let Some(files) = Files::new() else { return };
    let repository = &files.repository;
    let http = HttpServer::start(repository);
    let mut server = TestServer::prepare(&files, &http.url(), "auth: { tokenFile: token }");
    write_secret(&server.pair.path("token"), "right-token\n");
    server.run();
    repository.hook(
        "pre-receive",
        "echo 'main is protected: open a merge request' >&2; exit 1",
    );
    server.assert_refused(
        &files,
        409,
        &[
            "main is protected: open a merge request",
            "hook declined",
            "Nothing was changed",
        ],
    );
    repository.unhook("pre-receive");
    http.set(Rules {
        status: Some(503),
        ..Rules::default()
    });
    server.assert_refused(&files, 503, &["HTTP 503", "Nothing was changed"]);
    http.set(Rules {
        authorization: Some("Basic other".to_owned()),
        ..Rules::default()
    });
    server.assert_refused(&files, 403, &["HTTP 401", "may not write to"]);
    http.set(Rules::default());
    Command::new("git")
        .args(["config", "http.receivepack", "false"])
        .current_dir(repository.bare())
        .status()
        .unwrap();
    server.assert_refused(&files, 403, &["HTTP 403", "may not write to"]);
    Command::new("git")
        .args(["config", "http.receivepack", "true"])
        .current_dir(repository.bare())
        .status()
        .unwrap();
    // The answer is lost, and the branch says that the commit has arrived.
    http.set(Rules {
        pushes_without_answer: true,
        ..Rules::default()
    });
    server.assert_set(&files, "arrived");
    let log = server.pair.log(Process::Sync);
    assert!(!log.contains("right-token") && !log.contains("arrived\""), "{log}");
    // More commits than a mirror keeps packs for.
    http.set(Rules::default());
    for number in 0..35 {
        let reply = server.set(&format!("p{number}"));
        assert_eq!(reply.status, 200, "{}", message(&reply));
    }
    assert_eq!(files.decrypted("db.yaml"), "password: p34\nuser: ada\n");
    let packs = server.pair.path("data/.op/data/git/home/objects/pack");
    assert!(fs::read_dir(packs).unwrap().count() <= 64);
}

#[test]
fn after_kill_9_during_a_push_what_the_remote_has_is_served() {
    let Some(files) = Files::new() else { return };
    let repository = &files.repository;
    let http = HttpServer::start(repository);
    let mut server = TestServer::start(&files, &http.url(), "");
    let reads = |server: &TestServer| server.pair.log(Process::Sync).matches("the source was read").count();
    for (taken, wanted) in [(false, "first"), (true, "killed")] {
        let (begun, go) = (repository.path("begun"), repository.path("go"));
        for file in [&begun, &go] {
            fs::remove_file(file).ok();
        }
        let script = format!(
            "touch {}; while [ ! -e {} ]; do sleep 0.05; done; {}",
            begun.display(),
            go.display(),
            if taken { "exit 0" } else { "exit 1" }
        );
        repository.hook("pre-receive", &script);
        let served = |server: &TestServer| fs::read_link(server.pair.path("data/.op/data/git/home/current")).unwrap();
        let before: PathBuf = served(&server);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| server.set("killed").status);
            assert!(wait_until(|| begun.exists().then_some(())).is_some());
            let pid = server.pair.pid(Process::Sync).unwrap();
            ServerPair::signal(pid, "KILL");
            assert_eq!(asking.join().unwrap(), 503);
        });
        assert_eq!((served(&server), server.password()), (before, "first".to_owned()));
        server.pair.kill(Process::Sync);
        fs::write(&go, "").unwrap();
        let head = wait_until(|| {
            let log = repository.git(&["ls-remote", "origin", "refs/heads/main"]);
            (log.starts_with(&repository.git(&["rev-parse", "HEAD"])) != taken).then_some(())
        });
        assert!(head.is_some());
        let before_start = reads(&server);
        server.pair.run(Process::Sync);
        server.pair.wait_linked();
        // Before its first scan, sync refuses writes to the files.
        assert!(wait_until(|| (reads(&server) > before_start).then_some(())).is_some());
        assert!(wait_until(|| (server.password() == wanted).then_some(())).is_some());
    }
    repository.unhook("pre-receive");
    server.assert_set(&files, "again");
}

#[test]
fn commits_that_would_not_be_served_are_refused_at_the_start() {
    let Some(files) = Files::new() else { return };
    let repository = &files.repository;
    let allowed = ssh_key(&repository.path("allowed"));
    ssh_key(&repository.path("foreign"));
    let signers = repository.path("signers").display().to_string();
    fs::write(&signers, format!("ada@example.com {allowed}\n")).unwrap();
    let verify = format!("verify: {{ allowedSignersFile: {signers} }}");
    let signed = |key: &str| {
        format!(
            "{verify}\ncommits: {{ signingKeyFile: {} }}",
            repository.path(key).display()
        )
    };
    let url = format!("file://{}", repository.bare().display());
    let server = TestServer::prepare(&files, &url, "");
    for (git, words) in [
        (verify.clone(), "`signingKeyFile` is needed"),
        (signed("foreign"), "is not an allowed signer"),
        (signed("signers"), "no private key"),
        ("commits: { author: nobody }".to_owned(), "write a name and an address"),
    ] {
        server.configure(&url, &git);
        let sources = server.pair.path("sources.yaml").display().to_string();
        let errors = server.pair.errors(&["sync", "--config", &sources]);
        assert!(errors.contains(words), "{errors}");
    }
}
