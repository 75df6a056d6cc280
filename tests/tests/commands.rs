//! The commands `quickstart`, `item`, `vault`, `token` and `doctor`: their output, errors and exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use sidevault_tests::git::Repository;
use sidevault_tests::pair::{binary, wait_until};

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
    command.env("XDG_DATA_HOME", home).current_dir(home);
    command
}

/// A finished command.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn run(home: &Path, arguments: &[&str]) -> Done {
    sidevault(home, arguments).output().expect("the binary runs").into()
}

/// A command that must succeed: its output.
fn succeed(home: &Path, arguments: &[&str]) -> String {
    let done = run(home, arguments);
    assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.err);
    done.out
}

/// A command that must fail with this exit status: its error.
fn fail(home: &Path, code: i32, arguments: &[&str]) -> String {
    let done = run(home, arguments);
    assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.out, done.err);
    done.err
}

fn with_input(home: &Path, arguments: &[&str], input: &str) -> Done {
    let mut command = sidevault(home, arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("input is read");
    drop(stdin);
    child.wait_with_output().expect("the binary ends").into()
}

impl Quickstart {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        Self::with_token(home, arguments).0
    }

    /// Starts it with `--json`; also returns the token.
    fn with_token(home: &Path, arguments: &[&str]) -> (Self, String) {
        let (mut server, line) = Self::spawn(home, &[&["--json"], arguments].concat(), |_| true);
        let ready: Value = serde_json::from_str(&line).expect("a line of JSON");
        server.url = ready["url"].as_str().expect("the address").to_owned();
        (server, ready["token"].as_str().expect("the token").to_owned())
    }

    /// Starts it, and reads what it prints for a person until it waits for Ctrl-C.
    fn words(home: &Path, arguments: &[&str]) -> (Self, String) {
        let (mut server, words) = Self::spawn(home, arguments, |line| line.contains("Ctrl-C"));
        let url = words.split_whitespace().find(|word| word.starts_with("http://"));
        server.url = url.expect("the address").to_owned();
        (server, words)
    }

    /// Starts it, and reads its output up to a line.
    fn spawn(home: &Path, arguments: &[&str], is_last: impl Fn(&str) -> bool) -> (Self, String) {
        let mut command = sidevault(home, &[&["quickstart", "--port=0"], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the binary runs");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let server = Self {
            child,
            url: String::new(),
        };
        let mut text = String::new();
        for line in stdout.lines() {
            let line = line.expect("text");
            text = text + &line + "\n";
            if is_last(&line) {
                break;
            }
        }
        (server, text)
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        // A process that has ended already can't be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory called `secrets` with a file.
fn secrets(below: &Path) -> String {
    let directory = below.join("secrets");
    fs::create_dir(&directory).expect("a directory");
    fs::write(directory.join("db.yaml"), "username: orders\n").expect("a file");
    directory.to_string_lossy().into_owned()
}

#[test]
fn quickstart_prints_commands_that_work_and_a_second_run_continues() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let (first, words) = Quickstart::words(home, &[]);
    let data = home.join("sidevault");
    for part in ["Made in", &*data.to_string_lossy(), "quickstart.token", "rm -r"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(!words.contains('\x1b'), "colours in a pipe: {words}");
    // The commands work as they are printed.
    let commands: Vec<&str> = words
        .lines()
        .map(str::trim)
        .filter(|line| line.contains(" item ") || line.starts_with("curl ") || line.starts_with("export "))
        .collect();
    assert_eq!(commands.len(), 4, "{words}");
    let script = format!("set -e\n{}\n", commands.join("\n"));
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(home).env("XDG_DATA_HOME", home);
    let done = Done::from(bash.output().expect("bash runs"));
    assert_eq!(done.code, Some(0), "{script}{}", done.err);
    assert_eq!(done.out.matches("postgres-database").count(), 3, "{}", done.out);
    let password = succeed(
        home,
        &[
            "item",
            "get",
            "postgres-database",
            "--vault=secrets",
            "--field=password",
        ],
    );
    drop(first);

    let (_second, words) = Quickstart::words(home, &[]);
    assert!(words.contains("Continues with"), "{words}");
    let again = succeed(
        home,
        &[
            "item",
            "get",
            "postgres-database",
            "--vault=secrets",
            "--field=password",
        ],
    );
    assert_eq!(again, password);
}

/// Otherwise the server would answer with another vault's items.
#[test]
fn a_directory_whose_vault_name_is_taken_is_refused_with_advice() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = secrets(home.path());
    drop(Quickstart::start(home.path(), &[]));

    let refused = run(home.path(), &["quickstart", "--port=0", "--dir", &directory]);
    let error = refused.err;
    assert_eq!(refused.code, Some(78), "{error}");
    let renamed = format!("secrets-files={directory}");
    assert!(
        error.contains("vault \"secrets\" is a local vault")
            && error.contains(&renamed)
            && error.contains("--data DIR"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(refused.out.is_empty(), "a token of a server that does not run");

    let other = home.path().join("other").to_string_lossy().into_owned();
    drop(Quickstart::start(home.path(), &["--data", &other, "--dir", &directory]));
    let _server = Quickstart::start(home.path(), &["--dir", &renamed]);
    let list = succeed(home.path(), &["item", "list", "--vault", "secrets-files"]);
    assert!(list.contains(" db "), "{list}");
    succeed(home.path(), &["item", "get", "postgres-database", "--vault", "secrets"]);
}

#[test]
fn json_conflicts_with_token_out_and_localhost_is_a_valid_bind_address() {
    let home = tempfile::tempdir().expect("a directory");
    let error = fail(
        home.path(),
        2,
        &["quickstart", "--json", "--token-out", "-", "--ephemeral"],
    );
    assert!(error.contains("--json") && error.contains("--token-out"), "{error}");
    let server = Quickstart::start(home.path(), &["--ephemeral", "--bind", "localhost"]);
    assert!(server.url.starts_with("http://localhost:"), "{}", server.url);
}

#[test]
fn the_sample_of_the_development_server_is_the_same_in_every_run() {
    let home = tempfile::tempdir().expect("a directory");
    let passwords: Vec<String> = (0..2)
        .map(|_| {
            let (server, token) = Quickstart::with_token(home.path(), &["--dev-token"]);
            let mut get = sidevault(
                home.path(),
                &[
                    "item",
                    "get",
                    "postgres-database",
                    "--vault=secrets",
                    "--field=password",
                ],
            );
            get.env("OP_CONNECT_HOST", &server.url).env("OP_CONNECT_TOKEN", token);
            let done = Done::from(get.output().expect("the binary runs"));
            assert_eq!(done.code, Some(0), "{}", done.err);
            done.out
        })
        .collect();
    assert_eq!(passwords[0], passwords[1]);
}

#[test]
fn a_vault_made_under_a_running_quickstart_is_readable_at_once() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let _server = Quickstart::start(home, &[]);
    let made = run(home, &["vault", "create", "apps"]);
    assert!(made.err.contains("quickstart.token has a new token"), "{}", made.err);
    succeed(
        home,
        &["item", "create", "--vault=apps", "--title=hello", "--field=word=world"],
    );
    assert_eq!(
        succeed(home, &["item", "get", "hello", "--vault=apps", "--field=word"]),
        "world\n"
    );
}

#[test]
fn a_vault_that_appears_in_a_directory_under_a_running_quickstart_is_readable() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let directory = secrets(home);
    let copy = home.join("token").to_string_lossy().into_owned();
    let server = Quickstart::start(home, &["--dir", &directory, "--token-out", &copy]);
    let apps = Path::new(&directory).join("apps");
    fs::create_dir(&apps).expect("a directory");
    fs::write(apps.join("db.yaml"), "password: s3cret\n").expect("a file");
    let get = ["item", "get", "db", "--vault=apps", "--field=password"];
    let value = wait_until(|| Some(run(home, &get)).filter(|done| done.code == Some(0)));
    assert_eq!(value.expect("the item is found").out, "s3cret\n");
    let renewed = wait_until(|| {
        let mut command = sidevault(home, &get);
        command.env("OP_CONNECT_HOST", &server.url);
        command.env("OP_CONNECT_TOKEN", fs::read_to_string(&copy).ok()?.trim());
        command
            .output()
            .expect("the binary runs")
            .status
            .success()
            .then_some(())
    });
    assert!(renewed.is_some(), "the file of --token-out has the old token");
}

#[test]
fn quickstart_pushes_changes_of_a_writable_git_source() {
    let repository = Repository::new();
    repository.push(&[("db.yaml", "password: first # a comment\n")]);
    let url = format!("file://{}", repository.bare().display());
    let home = tempfile::tempdir().unwrap();
    let refused = run(home.path(), &["quickstart", "--port=0", "--git", &url, "--writable"]);
    assert!(refused.err.contains("--git URL#BRANCH"), "{}", refused.err);
    let refused = run(home.path(), &["quickstart", "--port=0", "--writable"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    let _server = Quickstart::start(home.path(), &["--git", &format!("{url}#main"), "--writable"]);
    let edit = ["item", "edit", "db", "--vault", "home", "--field", "password=second"];
    succeed(home.path(), &edit);
    repository.pull();
    let pushed = fs::read_to_string(repository.path("work/db.yaml")).unwrap();
    assert_eq!(pushed, "password: second # a comment\n");
}

#[test]
fn quickstart_ends_in_order_on_a_signal() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = secrets(home.path());
    let mut server = Quickstart::start(home.path(), &["--dir", &directory, "--vault", "apps"]);
    let signal = format!("kill -INT {}", server.child.id());
    let sent = Command::new("sh").args(["-c", &signal]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    let status = wait_until(|| server.child.try_wait().expect("its status"));
    assert_eq!(status.expect("the process ends").code(), Some(0));
}

#[test]
fn an_item_is_made_changed_and_read_field_by_field() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let _server = Quickstart::start(home, &["--vault", "apps"]);
    fs::write(home.join("cert.pem"), "-----BEGIN-----\n").expect("a file");
    let create = [
        "item",
        "create",
        "--vault=apps",
        "--title=db",
        "--tag=prod",
        "--field=username=app",
        "--field=password=-",
        "--field=replica.host=db2",
        "--field=cert=@cert.pem",
    ];
    let made = with_input(home, &create, "s3cret\n");
    assert_eq!(made.code, Some(0), "{}", made.err);
    let field = |name: &str| succeed(home, &["item", "get", "db", "--vault=apps", "--field", name]);
    assert_eq!(field("password"), "s3cret\n");
    assert_eq!(field("replica.host"), "db2\n");
    assert_eq!(field("cert"), "-----BEGIN-----\n\n");

    let edit = [
        "item",
        "edit",
        "db",
        "--vault=apps",
        "--json",
        "--field=replica.host=db3",
        "--field=primary.host=db1",
        "--url=https://db.example.com",
        "--category=database",
    ];
    let edited: Value = serde_json::from_str(&succeed(home, &edit)).expect("JSON");
    assert_eq!(edited["version"], 2, "the version after the change");
    assert_eq!(edited["category"], "DATABASE");
    assert_eq!(edited["urls"][0]["href"], "https://db.example.com");
    assert_eq!(
        (field("replica.host"), field("primary.host")),
        ("db3\n".into(), "db1\n".into())
    );

    succeed(home, &["item", "create", "--vault=apps", "--title=other"]);
    let tagged = succeed(home, &["item", "list", "--vault=apps", "--tag=prod"]);
    assert!(tagged.contains(" db ") && !tagged.contains("other"), "{tagged}");
    let filtered = succeed(home, &["item", "list", "--vault=apps", "--filter", "title sw \"oth\""]);
    assert!(!filtered.contains(" db ") && filtered.contains("other"), "{filtered}");
    let shown = succeed(home, &["item", "get", "db", "--vault=apps"]);
    assert!(
        shown.contains("vault     apps (") && !shown.contains("s3cret"),
        "{shown}"
    );
}

#[test]
fn errors_name_the_item_and_the_server_and_no_secret() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let server = Quickstart::start(home, &["--vault", "apps"]);
    let error = fail(home, 3, &["item", "get", "nope", "--vault=apps"]);
    assert!(
        ["\"nope\"", "\"apps\"", &server.url]
            .iter()
            .all(|part| error.contains(part)),
        "{error}"
    );
    let error = fail(home, 3, &["item", "get", "x", "--vault=nowhere"]);
    assert!(error.contains("\"nowhere\"") && error.contains(&server.url), "{error}");
    let error = fail(
        home,
        2,
        &[
            "item",
            "create",
            "--vault=apps",
            "--title=x",
            "--field",
            "x[typo]=s3cret",
        ],
    );
    assert!(error.contains("x[typo]") && !error.contains("s3cret"), "{error}");

    // The second item of a title is made with a warning. After that the title is ambiguous.
    let ids: Vec<String> = (0..2)
        .map(|_| {
            let made = run(home, &["item", "create", "--vault=apps", "--title=twin"]);
            let id = made.out.split(' ').nth(1).expect("its id").to_owned();
            assert_eq!(made.code, Some(0), "{}", made.err);
            id
        })
        .collect();
    let third = run(home, &["item", "create", "--vault=apps", "--title=Twin"]);
    assert!(ids.iter().all(|id| third.err.contains(id)), "{}", third.err);
    let error = fail(home, 5, &["item", "get", "twin", "--vault=apps"]);
    assert!(ids.iter().all(|id| error.contains(id)), "{error}");

    let mut other = sidevault(home, &["item", "list", "--vault=apps"]);
    other.env("OP_CONNECT_TOKEN", "eyJhbGciOiJFUzI1NiJ9.e30.c2ln");
    let done = Done::from(other.output().expect("the binary runs"));
    assert_eq!(done.code, Some(4), "{}", done.err);
    assert!(
        done.err.contains("OP_CONNECT_TOKEN") && done.err.contains(&server.url),
        "{}",
        done.err
    );
}

#[test]
fn deleting_needs_yes_without_a_terminal() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let _server = Quickstart::start(home, &["--vault", "apps"]);
    succeed(home, &["item", "create", "--vault=apps", "--title=db"]);
    let item = ["item", "delete", "db", "--vault=apps"];
    let vault = ["vault", "delete", "apps"];
    for command in [&item[..], &vault] {
        let error = fail(home, 2, command);
        assert!(error.contains("for good") && error.contains("--yes"), "{error}");
        succeed(home, &[command, &["--yes"]].concat());
    }
}

#[test]
fn a_token_is_written_to_a_new_private_file() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    succeed(home, &["init", "--out", "keys"]);
    let create = [
        "token",
        "create",
        "ci",
        "--vault=apps=read",
        "--issuer=keys/issuer.json",
        "--out=keys/token",
    ];
    assert!(!succeed(home, &create).contains("eyJ"), "the token is not printed, too");
    let mode = fs::metadata(home.join("keys/token"))
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = fs::read_to_string(home.join("keys/token")).expect("the token");
    // A line end would become a part of a Kubernetes Secret that is made from the file.
    assert!(token.starts_with("eyJ") && !token.ends_with('\n'), "{token:?}");
    fail(home, 5, &create);
    assert_eq!(fs::read_to_string(home.join("keys/token")).expect("the token"), token);
    // What `init` wrote is not where the other commands look: they say what to type.
    let error = fail(home, 78, &["token", "list"]);
    assert!(error.contains("--session keys/1password-credentials.json"), "{error}");
}

#[test]
fn a_token_for_another_server_is_made_only_with_offline() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    drop(Quickstart::start(home, &[]));
    succeed(home, &["init", "--out", "keys"]);
    let create = [
        "token",
        "create",
        "ci",
        "--vault=apps=read",
        "--issuer=keys/issuer.json",
    ];
    // The credentials beside the issuer are its server's.
    assert!(succeed(home, &create).starts_with("eyJ"));
    fs::remove_file(home.join("keys/1password-credentials.json")).expect("a file");
    let refused = run(home, &create);
    assert_eq!((refused.code, refused.out.as_str()), (Some(78), ""), "{}", refused.err);
    assert!(refused.err.contains("--offline"), "{}", refused.err);
    assert!(succeed(home, &[&create[..], &["--offline"]].concat()).starts_with("eyJ"));
}

#[test]
fn a_missing_passphrase_file_is_named() {
    let home = tempfile::tempdir().expect("a directory");
    let error = fail(home.path(), 78, &["init", "--passphrase-file", "/nonexist"]);
    assert!(
        error.contains("no passphrase file at /nonexist") && !error.contains("sidevault init"),
        "{error}"
    );
}

#[test]
fn doctor_checks_the_server_of_the_given_data_directory() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("second").to_string_lossy().into_owned();
    let first = Quickstart::start(home.path(), &[]);
    let second = Quickstart::start(home.path(), &["--data", &data]);
    for (arguments, url, other) in [
        (&["doctor", "--data", &data][..], &second.url, &first.url),
        (&["doctor"][..], &first.url, &second.url),
    ] {
        let report = run(home.path(), arguments).out;
        assert!(
            report.contains(url.as_str()) && !report.contains(other.as_str()),
            "{report}"
        );
        let of = |check: &str| {
            report
                .lines()
                .find(|line| line.contains(check))
                .unwrap_or_default()
                .to_owned()
        };
        assert!(of(" api ").starts_with("ok"), "{report}");
        assert!(of(" token ").starts_with("ok"), "{report}");
    }
}

#[test]
fn doctors_advice_fits_the_kind_of_server() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let nothing = run(home, &["doctor"]);
    assert_eq!(nothing.code, Some(7), "{}", nothing.out);
    assert!(
        nothing.out.contains("sidevault quickstart") && nothing.out.lines().count() == 2,
        "{}",
        nothing.out
    );

    drop(Quickstart::start(home, &[]));
    let stopped = run(home, &["doctor"]);
    assert_eq!(stopped.code, Some(7), "{}", stopped.out);
    assert!(stopped.out.contains("-> sidevault quickstart\n"), "{}", stopped.out);
    assert!(
        !stopped.out.contains("opuser") && !stopped.out.contains("sidevault api"),
        "{}",
        stopped.out
    );
}

#[test]
fn doctor_finds_a_source_with_files_that_no_key_opens() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = secrets(home.path());
    fs::write(
        Path::new(&directory).join("sealed.yaml"),
        "password: ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]\n",
    )
    .expect("a file");
    let _server = Quickstart::start(home.path(), &["--dir", &directory]);
    let report = wait_until(|| {
        let done = run(home.path(), &["doctor"]);
        (done.code == Some(7)).then_some(done.out)
    });
    let report = report.expect("a degraded source is a fault");
    assert!(
        report.contains("DEGRADED") && report.contains("SOPS_AGE_KEY_FILE"),
        "{report}"
    );
}

/// A path below the manifests of tests.
fn manifests(path: &str) -> String {
    format!("{}/tests/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// What `doctor -f --json` finds: `LEVEL FILE:LINE CAUSE`.
fn findings(command: &mut Command) -> (Option<i32>, Vec<String>) {
    let done = Done::from(command.output().expect("the binary runs"));
    let list: Vec<Value> = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("JSON: {}{}", done.out, done.err));
    let show = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let file = text("file").rsplit('/').next().unwrap_or_default().to_owned();
        format!("{} {file}:{} {}", text("level"), finding["line"], text("cause"))
    };
    (done.code, list.iter().map(show).collect())
}

fn assert_has(found: &[String], parts: &[&str]) {
    for part in parts {
        assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:#?}");
    }
}

#[test]
fn doctor_says_what_antons_manifests_lack_and_corrects_what_it_can() {
    let home = tempfile::tempdir().expect("a directory");
    let anton = manifests("operator/anton");
    let usage = manifests("manifests/usage.yaml");
    let check = |paths: &[&str]| {
        findings(&mut sidevault(
            home.path(),
            &[&["doctor", "--json", "-f"], paths].concat(),
        ))
    };
    let (code, found) = check(&[&anton, &usage]);
    assert_eq!(code, Some(7), "{found:#?}");
    let spelling = "SecretStore external-secrets/onepassword-secret-store: the definitions of External Secrets refuse connectToken";
    let corrected = [
        spelling,
        "fail 20-external-secrets.yaml:68 ExternalSecret network/custom-tls-certificates: the definitions of External Secrets refuse \
         target.type",
        "NetworkPolicy external-secrets/onepassword-connect-access: it lets in namespaces with the label name=external-secrets",
        "usage.yaml:12 Deployment database/web-application: its selector does not select its own Pods",
    ];
    let remaining = [
        "connectHost names the Service onepassword-connect, which is not in these files",
        "fail 30-connect.yaml:",
        "warn 30-connect.yaml:",
        "ExternalSecret rotating-api-key: it names no store",
        "makes the Secret postgres-secret without the key database-url; it has username, password, database",
        "the Secret monitoring-secrets is made by ExternalSecret monitoring/monitoring-api-keys, which is in another namespace",
    ];
    assert_has(&found, &corrected);
    assert_has(&found, &remaining);
    assert!(!found.concat().contains("YOUR_1PASSWORD"), "{found:#?}");

    let made = home.path().join("corrected");
    let fix = ["doctor", "-f", &anton, &usage, "--fix", "corrected"];
    fail(home.path(), 7, &fix);
    assert!(
        fail(home.path(), 1, &fix).contains("File exists"),
        "an existing file is not replaced"
    );
    let text = |name: &str| fs::read_to_string(made.join(name)).expect("a corrected file");
    assert!(
        text("10-stores.yaml").starts_with("# The stores of the home cluster"),
        "comments stay"
    );
    assert!(text("40-access.yaml").contains("kubernetes.io/metadata.name: external-secrets"));
    assert!(
        !made.join("30-connect.yaml").exists(),
        "what has no correction is not written"
    );
    fs::copy(format!("{anton}/30-connect.yaml"), made.join("30-connect.yaml")).expect("a copy");
    let (code, found) = check(&[&made.display().to_string()]);
    assert_eq!(code, Some(7));
    assert_has(&found, &remaining);
    for gone in corrected {
        assert!(!found.iter().any(|line| line.contains(gone)), "{gone}: {found:#?}");
    }
}

#[test]
fn doctor_reads_a_manifest_that_lost_its_indentation() {
    let home = tempfile::tempdir().expect("a directory");
    let done = run(home.path(), &["doctor", "-f", &manifests("manifests/pasted.yaml")]);
    assert_eq!(done.code, Some(7));
    assert!(
        done.out.contains("pasted.yaml:4: the file has lost its indentation"),
        "{}",
        done.out
    );
    assert!(
        done.out.contains("-> indent what belongs below metadata"),
        "{}",
        done.out
    );
    assert_eq!(run(home.path(), &["doctor", "-f", "nothing.yaml"]).code, Some(1));
    assert_eq!(run(home.path(), &["doctor", "--fix", "x"]).code, Some(2));
}

#[test]
fn doctor_looks_up_vaults_items_and_fields_of_manifests() {
    let home = tempfile::tempdir().expect("a directory");
    let (server, token) = Quickstart::with_token(home.path(), &[]);
    succeed(home.path(), &["vault", "create", "infrastructure"]);
    let (server, token) = {
        drop((server, token));
        Quickstart::with_token(home.path(), &[])
    };
    let item = [
        "item",
        "create",
        "--vault",
        "infrastructure",
        "--title",
        "postgres-database",
    ];
    succeed(
        home.path(),
        &[&item[..], &["--field", "username=a", "--field", "password=s3cret"]].concat(),
    );
    let arguments = ["doctor", "--json", "-f", &manifests("operator/anton")];
    let mut command = sidevault(home.path(), &arguments);
    command
        .env("OP_CONNECT_HOST", &server.url)
        .env("OP_CONNECT_TOKEN", &token);
    let (code, found) = findings(&mut command);
    assert_eq!(code, Some(7));
    assert_has(
        &found,
        &[
            "the server has no vault applications, or the token may not read it",
            "ExternalSecret database/postgres-credentials: the item postgres-database has no field database; it has",
            "no vault of its store has the item cloudflare-credentials",
        ],
    );
    assert!(!found.concat().contains("s3cret"), "{found:#?}");
}

#[test]
fn doctor_looks_up_what_a_find_and_a_push_secret_mean() {
    let home = tempfile::tempdir().expect("a directory");
    let (server, token) = Quickstart::with_token(home.path(), &[]);
    for (title, fields) in [
        ("twin", &["a=1"][..]),
        ("twin", &["a=2"]),
        ("doubled", &["x=1", "x=2"]),
        ("tagged", &["user=1"]),
    ] {
        let mut item = vec!["item", "create", "--vault=secrets", "--title", title, "--tag", title];
        for field in fields {
            item.extend(["--field", field]);
        }
        succeed(home.path(), &item);
    }
    fs::write(
        home.path().join("m.yaml"),
        "apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {name: s}
spec: {provider: {onepassword: {connectHost: 'http://localhost:8080', vaults: {secrets: 1}, auth: {secretRef:
  {connectTokenSecretRef: {name: t, namespace: a, key: token}}}}}}
---
apiVersion: external-secrets.io/v1
kind: ClusterExternalSecret
metadata: {name: e}
spec:
  namespaces: [a]
  externalSecretSpec:
    secretStoreRef: {name: s, kind: ClusterSecretStore}
    data: [{secretKey: k, remoteRef: {key: twin, property: a}}]
    dataFrom:
      - find: {tags: {nobody: x}}
      - find: {path: doubled}
      - find: {path: tagged, name: {regexp: ^nothing$}}
      - find: {path: tagged, name: {regexp: ^us}}
      - extract: {key: tagged, property: file/}
---
apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata: {name: p, namespace: a}
spec:
  secretStoreRefs: [{name: s, kind: ClusterSecretStore}]
  selector: {secret: {name: e}}
  data:
    - match: {secretKey: k, remoteRef: {remoteKey: twin}}
    - match: {secretKey: k, remoteRef: {remoteKey: doubled, property: x}}
    - match: {secretKey: k, remoteRef: {remoteKey: aaaaaaaaaaaaaaaaaaaaaaaaaa}}
    - match: {secretKey: k, remoteRef: {remoteKey: new}}
",
    )
    .expect("a file");
    let mut command = sidevault(home.path(), &["doctor", "--json", "-f", "m.yaml"]);
    command
        .env("OP_CONNECT_HOST", &server.url)
        .env("OP_CONNECT_TOKEN", &token);
    let (code, found) = findings(&mut command);
    assert_eq!(code, Some(7));
    assert_eq!(
        found,
        [
            "warn m.yaml:5 ClusterSecretStore s: the Secret t with its token is not in these files",
            "fail m.yaml:14 ClusterExternalSecret e: several items of the vault secrets have the title twin",
            "warn m.yaml:16 ClusterExternalSecret e: no item of its store has these tags or this path",
            "fail m.yaml:17 ClusterExternalSecret e: the item doubled, which it finds, has 2 fields x",
            "warn m.yaml:18 ClusterExternalSecret e: of the 1 items that it selects, no field and no file matches its pattern",
            "fail m.yaml:20 ClusterExternalSecret e: the item tagged has no file ",
            "fail m.yaml:29 PushSecret p: several items of the vault secrets have the title twin",
            "fail m.yaml:30 PushSecret p: the item doubled has 2 fields x",
            "fail m.yaml:31 PushSecret p: there is no item with the id aaaaaaaaaaaaaaaaaaaaaaaaaa, and none is made",
        ]
        .map(|line| line.replace("PushSecret p", "PushSecret a/p"))
    );
}

/// A directory with a kubectl that runs these lines of shell.
fn stand_in_kubectl(home: &Path, lines: &str) -> String {
    let directory = home.join("bin");
    fs::create_dir_all(&directory).expect("a directory");
    let kubectl = directory.join("kubectl");
    fs::write(&kubectl, format!("#!/bin/sh\n{lines}\n")).expect("a file");
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).expect("a mode");
    directory.to_string_lossy().into_owned()
}

#[test]
fn item_uses_names_readers_and_files_and_says_what_it_did_not_look_at() {
    let home = tempfile::tempdir().expect("a directory");
    let home = home.path();
    let directory = secrets(home);
    let _server = Quickstart::start(home, &["--dir", &directory]);
    let uses = |arguments: &[&str]| run(home, &[&["item", "uses", "secrets/DB"], arguments].concat());
    let first = uses(&["--no-cluster"]);
    assert_eq!((first.code, first.err.as_str()), (Some(0), ""));
    assert!(
        first.out.contains("Tokens that read it") && first.out.contains("\n  none\n"),
        "nobody has read it: {}",
        first.out
    );
    assert!(
        first
            .out
            .contains("Secrets, workloads, PushSecrets\n  not looked at: --no-cluster was given")
    );
    assert!(
        first
            .out
            .ends_with("Files\n  not looked at: name a source's directory with --dir\n")
    );

    succeed(home, &["read", "op://secrets/db/username"]);
    // Records reach the log within a second or two.
    let json = || -> Value {
        let done = uses(&["--no-cluster", "--json", "--dir", &directory]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        serde_json::from_str(&done.out).expect("JSON")
    };
    let report = wait_until(|| {
        let report = json();
        (report["readers"] != Value::Array(Vec::new())).then_some(report)
    });
    let report = report.expect("a reader");
    assert_eq!(report["readers"][0]["name"], "quickstart", "{report}");
    assert_eq!(
        report["readers"][0]["reads"], 1,
        "looking at uses reads nothing: {report}"
    );
    assert_eq!(report["files"][0]["file"], "db.yaml", "{report}");
    assert_eq!(report["notLookedAt"][0]["part"], "cluster");
    assert!(!report.to_string().contains("orders"), "{report}");

    // A part that fails decides the exit status, and the others are still printed.
    for (said, code) in [
        ("Error from server (Forbidden): pods is forbidden", 4),
        ("The connection to the server 127.0.0.1:6443 was refused", 6),
    ] {
        let bin = stand_in_kubectl(home, &format!("echo '{said}' >&2; exit 1"));
        let mut command = sidevault(home, &["item", "uses", "secrets/db"]);
        let done = Done::from(command.env("PATH", bin).output().expect("the binary runs"));
        assert_eq!(done.code, Some(code), "{}", done.err);
        assert!(
            done.err.contains(said) && done.out.contains("quickstart ("),
            "{}{}",
            done.out,
            done.err
        );
    }
    let mut command = sidevault(home, &["item", "uses", "secrets/db"]);
    let done = Done::from(command.env("PATH", "/nowhere").output().expect("the binary runs"));
    assert_eq!(done.code, Some(1));
    assert!(
        done.err.contains("kubectl can't be started") && done.err.contains("--no-cluster"),
        "{}",
        done.err
    );
    assert!(fail(home, 2, &["item", "uses", "db"]).contains("VAULT/ITEM"));
    assert!(fail(home, 3, &["item", "uses", "secrets/nothing"]).contains("\"nothing\" not found"));
    assert!(fail(home, 3, &["item", "uses", "nothing/db"]).contains("vault \"nothing\" not found"));
}

#[test]
fn the_help_names_each_variable_that_the_documentation_says_a_command_reads() {
    let home = tempfile::tempdir().expect("a directory");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = fs::read_to_string(page).expect("the page");
    let mut checked = 0;
    for command in ["api", "sync"] {
        let help = succeed(home.path(), &[command, "--help"]);
        for row in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            if !cells[2].split(", ").any(|reader| reader == command || reader == "all") {
                continue;
            }
            for name in cells[1].split(", ").map(|name| name.trim_matches('`')) {
                let is_named = help
                    .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
                    .any(|word| word == name);
                assert!(is_named || name == "NO_COLOR", "{command} --help lacks {name}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked} variables were found in the page");
}
