//! Exports of other programs. What a reader makes of each value is tested in the crate `exchange`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use sidevault_tests::pair::{ServerPair, files_below};
use sidevault_tests::volume::Volume;
use sidevault_tests::{onepux, tools};

/// The exit status of a command, and what it printed. No secret is ever printed.
fn run(pair: &ServerPair, arguments: &[&str]) -> (i32, String) {
    shown(pair.ended(arguments))
}

fn shown(ended: std::process::Output) -> (i32, String) {
    let printed = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    assert!(!printed.contains("s3cret"), "{printed}");
    (ended.status.code().unwrap(), printed)
}

/// Imports twice. The second time must change nothing.
fn import_twice(pair: &ServerPair, export: &Path, arguments: &[&str]) {
    let export = export.to_string_lossy();
    let all = [&["import", &export, "--yes", "--allow-ephemeral"], arguments].concat();
    let (status, printed) = run(pair, &all);
    assert!(status == 0 && printed.contains(" new\n"), "{export}: {printed}");
    let (status, printed) = run(pair, &all);
    assert!(status == 0 && !printed.contains(" new\n"), "{export}: {printed}");
}

/// A password-protected export, which the code of Bitwarden's command line 2026.6.0 made of a note, with the password `pässword 1`.
fn bitwarden() -> Value {
    json!({
        "encrypted": true, "passwordProtected": true, "salt": "p+NLtsWpkW9CIBzeLrHDmA==", "kdfType": 0, "kdfIterations": 5000,
        "encKeyValidation_DO_NOT_EDIT": "2.3SOgDcYOctgIJEntxzHffg==|Q0Il4oyHw/XjplAF4JyLwDml/z2vadqJV1gON8IH9YuZow67hv/PR2IRaLDppTW2|\
            0uX1b7QBEvoqY2fB4LfgdwbVVo7kR7v1h9WmuJJWtLc=",
        "data": "2.F2xxekxb8SUWm+T2J0mGGg==|Vvo2W7+6olWjrKfdkT9tUvxpD8UN7pqXPLS4WsC0VJHmTwYKQq7NQd6ps6JPqACY9NBK5fhAoMeryBw10UeWMz0L\
            VbsHPy0HydePQ75P4s/ttaCkycyqBWHdhlHzmt5krj3jyFdEDm05LxqRAQjqJ/XJr0aihT4Tztwj6Zqv40Pjb//V6CbXyOcBEwgy+48J|\
            ikCo5o4blK12CsUduLFXK5OmeOdoiyXmTBnt/iRnI+0="
    })
}

#[test]
fn exports_of_other_programs_are_imported_and_a_second_time_change_nothing() {
    let pair = ServerPair::start(&["--allow-ephemeral"], &[]);

    let export = pair.path("bitwarden.json");
    fs::write(&export, bitwarden().to_string()).unwrap();
    let password = pair.path("password");
    fs::write(&password, "pässword 1\n").unwrap();
    let password = password.to_string_lossy().into_owned();
    let (status, printed) = run(&pair, &["import", &export.to_string_lossy(), "--yes"]);
    assert!(status == 2 && printed.contains("--password-file"), "{printed}");
    fs::write(pair.path("wrong"), "password 1").unwrap();
    let wrong = pair.path("wrong").to_string_lossy().into_owned();
    let (status, printed) = run(
        &pair,
        &["import", &export.to_string_lossy(), "--yes", "--password-file", &wrong],
    );
    assert!(status == 8 && printed.contains("password is wrong"), "{printed}");
    import_twice(
        &pair,
        &export,
        &["--password-file", &password, "--vault-map", "Bitwarden=apps"],
    );

    // As `op item list | op item get -` prints items.
    let item = |id: &str, title: &str| {
        json!({ "id": id, "title": title, "category": "LOGIN", "vault": { "id": "ftz4pm2xxwmwrsd7rjqn7grzfz", "name": "apps" },
            "fields": [{ "id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": "s3cret" }] })
    };
    let [first, second] = [
        ("aaaaaaaaaaaaaaaaaaaaaaaaaa", "one"),
        ("bbbbbbbbbbbbbbbbbbbbbbbbbb", "two"),
    ]
    .map(|(id, title)| item(id, title));
    let export = pair.path("op.json");
    fs::write(&export, format!("{first:#}\n{second:#}\n")).unwrap();
    let piped = pair.ended_with(&export, &["import", "-", "--yes", "--allow-ephemeral"]);
    let (status, printed) = shown(piped);
    assert!(status == 0 && printed.contains("2 new"), "{printed}");

    let database =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/exchange/src/import/keepass/testdata/kdbx4.kdbx");
    import_twice(
        &pair,
        &database,
        &["--password-file", &password, "--vault-map", "Family=apps"],
    );
    let answer = json!({ "request_id": "x", "lease_duration": 0, "data": { "data": { "token": "s3cret" }, "metadata": { "version": 1 } } });
    let tree = json!({ "kv/": { "team/": { "deploy-key": { "token": "s3cret" } } } });
    let csv = "name,url,username,password,note\nbank,https://bank.example,me,s3cret,\n";
    for (name, vault, text) in [
        ("vault.json", "vault", answer.to_string()),
        ("tree.json", "kv", tree.to_string()),
        ("doppler.json", "doppler", json!({ "API_TOKEN": "s3cret" }).to_string()),
        ("chrome.csv", "chrome", csv.to_owned()),
    ] {
        fs::write(pair.path(name), text).unwrap();
        import_twice(&pair, &pair.path(name), &["--vault-map", &format!("{vault}=apps")]);
    }

    let token = pair.token("reader", &["apps=read"]);
    let apps = pair.vault(&token, "apps");
    for (title, field) in [
        ("a note", "notesPlain"),
        ("two", "password"),
        ("Router", "password"),
        ("vault", "token"),
        ("deploy-key", "token"),
        ("doppler", "API_TOKEN"),
        ("bank", "password"),
    ] {
        let item = pair.item(&token, &apps, title).unwrap();
        let fields = item["fields"].as_array().unwrap();
        let found = fields.iter().find(|of_item| of_item["id"] == field).unwrap();
        assert_eq!(found["value"], "s3cret", "{title}");
    }
}

#[test]
fn directories_and_single_files_are_imported() {
    let pair = ServerPair::start(&["--allow-ephemeral"], &[]);
    // Files that sops encrypted.
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let key = examples.join("age-key.txt").to_string_lossy().into_owned();
    import_twice(&pair, &examples.join("secrets"), &["--age-key-file", &key]);

    let tree = pair.path("tree");
    fs::create_dir_all(tree.join("apps")).unwrap();
    for (file, text) in [
        ("apps/shop.env", "# a comment\nexport TOKEN=\"s3cret\"\nPEM='a\nb'\n"),
        (
            "apps/db.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: prod}\ndata: {password: czNjcmV0, ca: AAECAw==}\n",
        ),
        ("apps/logo.png", "s3cret"),
        ("apps/broken.yaml", "a: [\n"),
        (".env", "TOKEN=s3cret\n"),
    ] {
        fs::write(tree.join(file), text).unwrap();
    }
    let (status, printed) = run(&pair, &["import", &tree.to_string_lossy(), "--plan"]);
    assert!(
        status == 0 && printed.contains("1 left out: apps/broken.yaml"),
        "{printed}"
    );
    import_twice(&pair, &tree, &[]);
    import_twice(&pair, &tree.join(".env"), &["--vault-map", "env=apps"]);

    let token = pair.token("reader", &["apps=read"]);
    let apps = pair.vault(&token, "apps");
    for (title, field) in [("shop", "TOKEN"), ("db", "password"), (".env", "TOKEN")] {
        let item = pair.item(&token, &apps, title).unwrap_or_else(|| panic!("no {title}"));
        let fields = item["fields"].as_array().unwrap();
        let found = fields.iter().find(|of_item| of_item["label"] == field).unwrap();
        assert_eq!(found["value"], "s3cret", "{title}");
    }
    let logo = pair.item(&token, &apps, "logo.png").unwrap();
    assert_eq!(logo["files"][0]["size"], 6);
    let content = pair.get(&token, logo["files"][0]["content_path"].as_str().unwrap());
    assert_eq!(content.body, b"s3cret");
}

#[test]
fn a_file_of_the_same_size_with_other_bytes_is_replaced() {
    let pair = ServerPair::start(&["--allow-ephemeral"], &[]);
    let export = pair.path("bitwarden.zip");
    let write = |content: &str| {
        let data = r#"{"encrypted":false,"items":[{"id":"1","type":2,"name":"key","notes":"n","revisionDate":"2020-01-01T00:00:00Z"}]}"#;
        let members = [("data.json", data), ("attachments/1/key.pem", content)];
        onepux::archive(
            &export,
            members.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())),
        );
    };
    write("s3cret 1");
    import_twice(&pair, &export, &["--vault-map", "Bitwarden=apps"]);
    write("s3cret 2");
    let import = |policy: &str| {
        let arguments = ["--yes", "--vault-map", "Bitwarden=apps", "--on-conflict", policy];
        run(
            &pair,
            &[&["import", &export.to_string_lossy()][..], &arguments].concat(),
        )
    };
    let (status, printed) = import("skip");
    assert!(
        status == 7 && printed.contains("content of file \"key.pem\""),
        "{printed}"
    );
    let (status, printed) = import("update");
    assert!(
        status == 0 && printed.contains("1 differ and are replaced"),
        "{printed}"
    );
    let token = pair.token("reader", &["apps=read"]);
    let item = pair.item(&token, &pair.vault(&token, "apps"), "key").unwrap();
    let content = pair.get(&token, item["files"][0]["content_path"].as_str().unwrap());
    assert_eq!(content.body, b"s3cret 2");
}

#[test]
fn a_password_store_is_imported_with_its_age_key() {
    let Some(tools) = tools::find(&["age"]) else { return };
    let pair = ServerPair::start(&["--allow-ephemeral"], &[]);
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/age-key.txt");
    let key = key.to_string_lossy().into_owned();
    let store = pair.path("store");
    fs::create_dir_all(store.join("apps/team")).unwrap();
    fs::write(store.join(".age-recipients"), "").unwrap();
    for (entry, content) in [
        ("apps/shop", &b"s3cret\nuser: me\nhost: db.example\n"[..]),
        ("apps/team/binary", b"\xff\0s3cret"),
    ] {
        let plain = pair.path("plain");
        fs::write(&plain, content).unwrap();
        let encrypted = store.join(format!("{entry}.age"));
        let status = Command::new(tools.join("age"))
            .args(["--encrypt", "-i", &key, "-o"])
            .args([&encrypted, &plain])
            .status();
        assert!(status.unwrap().success());
    }
    fs::write(store.join("apps/damaged.age"), "s3cret").unwrap();
    let path = store.to_string_lossy().into_owned();
    let (status, printed) = run(&pair, &["import", &path, "--plan"]);
    assert!(status == 2 && printed.contains("--age-key-file"), "{printed}");
    let (status, printed) = run(&pair, &["import", &path, "--plan", "--age-key-file", &key]);
    assert!(
        status == 0 && printed.contains("1 left out: apps/damaged: it is no age file"),
        "{printed}"
    );
    import_twice(&pair, &store, &["--age-key-file", &key]);
    let token = pair.token("reader", &["apps=read"]);
    let apps = pair.vault(&token, "apps");
    let shop = pair.item(&token, &apps, "shop").unwrap();
    assert_eq!((&shop["category"], values(&shop).len()), (&json!("LOGIN"), 3));
    let binary = pair.item(&token, &apps, "binary").unwrap();
    assert_eq!(
        (&binary["tags"], &binary["files"][0]["size"]),
        (&json!(["team"]), &json!(8))
    );
    fs::write(store.join(".gpg-id"), "").unwrap();
    let (status, printed) = run(&pair, &["import", &path, "--plan"]);
    assert!(status == 2 && printed.contains("GnuPG"), "{printed}");
}

/// Writes the vaults of a server in a format, and returns the path.
fn export(pair: &ServerPair, token: &str, format: &str, arguments: &[&str]) -> PathBuf {
    let path = pair.path(&format!("out-{format}"));
    let token_file = pair.path("exporter");
    fs::write(&token_file, token).unwrap();
    let host = format!("http://{}", pair.address());
    let (out, token_file) = (path.to_string_lossy(), token_file.to_string_lossy());
    let all = [
        "export",
        "--vault",
        "Apps",
        "--vault",
        "Private",
        "--to",
        format,
        "-o",
        &out,
        "--host",
        &host,
        "--token-file",
        &token_file,
    ];
    let (status, printed) = run(pair, &[&all[..], arguments].concat());
    assert_eq!(status, 0, "{printed}");
    path
}

/// Each import ends with a comparison of every item and file.
#[test]
fn exports_are_imported_elsewhere() {
    let grants = ["Apps=read", "Private=read"];
    let first = ServerPair::start(&["--allow-ephemeral"], &[]);
    let source = first.path("export.1pux");
    onepux::write(&source, 44, 11);
    import_twice(&first, &source, &[]);
    let first_token = first.token("reader", &grants);
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/age-key.txt");
    let text = fs::read_to_string(&key).unwrap();
    let recipient = text.split_whitespace().find(|word| word.starts_with("age1")).unwrap();
    let key = key.to_string_lossy().into_owned();
    let plaintext = &["--plaintext", "--yes"][..];
    let elsewhere: [(&str, &[&str], &[&str]); 4] = [
        ("json", plaintext, &[]),
        ("1pux", plaintext, &[]),
        ("bitwarden", plaintext, &[]),
        ("sops", &["--age-recipient", recipient], &["--age-key-file", &key]),
    ];
    for (format, written, read) in elsewhere {
        let path = export(&first, &first_token, format, written);
        if format == "sops" {
            decrypts(&path, &key);
        }
        let second = ServerPair::start(&["--allow-ephemeral"], &[]);
        import_twice(&second, &path, read);
        let token = second.token("reader", &grants);
        for n in (0..44).filter(|n| n % 7 != 3) {
            let vault = if n < 22 { "Apps" } else { "Private" };
            let title = format!("item {n} ü🔑");
            let [before, after] = [(&first, &first_token), (&second, &token)].map(|(pair, token)| {
                let vault = pair.vault(token, vault);
                pair.item(token, &vault, &title)
                    .unwrap_or_else(|| panic!("{format}: no {title}"))
            });
            // Files of text become fields in a tree of SOPS files.
            let (before_values, mut after_values) = (values(&before), values(&after));
            after_values.retain(|value| format != "sops" || before_values.contains(value));
            assert_eq!(before_values, after_values, "{format}: {title}");
            if format == "json" {
                for member in [
                    "id",
                    "category",
                    "tags",
                    "urls",
                    "createdAt",
                    "updatedAt",
                    "fields",
                    "files",
                ] {
                    assert_eq!(
                        without_codes(&before[member]),
                        without_codes(&after[member]),
                        "{title}: {member}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_export_in_another_format_than_was_said_is_refused() {
    let pair = ServerPair::start(&["--allow-ephemeral"], &[]);
    let path = |name: &str, content: &str| {
        let path = pair.path(name);
        fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    };
    let source = pair.path("export.1pux");
    onepux::write(&source, 3, 1);
    let exports = [
        ("1pux", source.to_string_lossy().into_owned()),
        (
            "bitwarden",
            path("b.json", r#"{"encrypted":false,"folders":[],"items":[]}"#),
        ),
        (
            "csv",
            path("c.csv", "name,url,username,password\na,https://a.example,u,p\n"),
        ),
        ("secrets", path("s.json", r#"{"A_KEY":"1","B":"2"}"#)),
        ("files", path("f.env", "A=1\n")),
    ];
    for (format, export) in &exports {
        for (said, _) in &exports {
            // A directory source reads most files in one way or another.
            if *said == "files" && *format != "files" {
                continue;
            }
            let (status, printed) = run(&pair, &["import", export, "--from", said, "--plan"]);
            let is_right = said == format;
            assert_eq!(status == 0, is_right, "{format} as {said}: {status} {printed}");
            if !is_right {
                assert!(
                    status == 2 && printed.contains("expected "),
                    "{format} as {said}: {printed}"
                );
            }
        }
    }
}

/// An env file and Secrets of Kubernetes hold titles, labels and values. What they hold comes back, in one item for the file or for each
/// Secret, and exporting that again gives the same.
#[test]
fn env_files_and_secrets_come_back_as_far_as_they_hold_it() {
    let first = ServerPair::start(&["--vault", "Apps", "--vault", "Private", "--allow-ephemeral"], &[]);
    let grants = ["Apps=read,write", "Private=read"];
    let token = first.token("reader", &grants);
    let texts = [
        "plain",
        "two words # no comment",
        "line 1\nline 2\n",
        "it's \"quoted\" \\ $HOME ${X} `date`",
        "tab\there",
        "ü🔑",
        " spaces ",
        "true",
        "0123",
        "- [a, b]: {c}",
        "\r\n",
    ];
    for n in 0..3 {
        let fields: Vec<Value> = texts
            .iter()
            .enumerate()
            .map(|(m, text)| json!({ "id": format!("KEY_{m}"), "label": format!("KEY_{m}"), "type": "CONCEALED", "value": format!("{text}{n}") }))
            .collect();
        let body = json!({ "title": format!("app{n}"), "category": "API_CREDENTIAL", "fields": fields }).to_string();
        let reply = first.ask(&token, "POST", "/v1/vaults/Apps/items", &body).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for (format, name) in [("dotenv", "all.env"), ("k8s", "secrets.yaml")] {
        let written = export(&first, &token, format, &["--plaintext", "--yes"]);
        let tree = first.path(&format!("tree-{format}/Apps"));
        fs::create_dir_all(&tree).unwrap();
        fs::copy(&written, tree.join(name)).unwrap();
        let second = ServerPair::start(&["--allow-ephemeral"], &[]);
        let tree = tree.parent().unwrap().to_owned();
        import_twice(&second, &tree, &[]);
        let reader = second.token("reader", &["Apps=read", "Private=read"]);
        let vault = second.vault(&reader, "Apps");
        let list = second.get(&reader, &format!("/v1/vaults/{vault}/items")).json();
        let mut found: Vec<(String, String)> = Vec::new();
        for item in list.as_array().unwrap() {
            let title = item["title"].as_str().unwrap();
            let item = second.item(&reader, &vault, title).unwrap();
            for field in item["fields"].as_array().unwrap() {
                let label = field["label"].as_str().unwrap();
                let label = if format == "k8s" {
                    format!("{title}/{label}")
                } else {
                    label.to_owned()
                };
                let value = field["value"].as_str().unwrap_or_default();
                found.extend((!value.is_empty()).then(|| (label, value.to_owned())));
            }
        }
        found.sort();
        let named = |n: usize, m: usize| match format {
            "k8s" => format!("app{n}/KEY_{m}"),
            _ => format!("APP{n}_KEY_{m}"),
        };
        let mut wanted: Vec<(String, String)> = (0..3)
            .flat_map(|n| {
                texts
                    .iter()
                    .enumerate()
                    .map(move |(m, text)| (n, m, format!("{text}{n}")))
            })
            .map(|(n, m, value)| (named(n, m), value))
            .collect();
        wanted.sort();
        assert_eq!(found, wanted, "{format}");
    }
}

/// The arguments of an export of both vaults to a file.
fn exporting<'a>(format: &'a str, out: &'a str, host: &'a str, token_file: &'a str) -> Vec<&'a str> {
    let vaults = ["export", "--vault", "Apps", "--vault", "Private", "--to", format];
    let rest = [
        "-o",
        out,
        "--force",
        "--plaintext",
        "--yes",
        "--host",
        host,
        "--token-file",
        token_file,
    ];
    [&vaults[..], &rest].concat()
}

/// SIDEVAULT_IMPORT_KILLS kills of each export and import; 4 without it.
#[test]
fn kills_leave_no_half_export_and_no_half_import() {
    let kills = std::env::var("SIDEVAULT_IMPORT_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    let kills: u32 = kills.unwrap_or(4);
    let (items, files) = (200, 10);
    let first = ServerPair::start(&["--allow-ephemeral"], &[]);
    let source = first.path("export.1pux");
    onepux::write(&source, items, files);
    let (status, printed) = run(
        &first,
        &["import", source.to_str().unwrap(), "--yes", "--allow-ephemeral"],
    );
    assert_eq!(status, 0, "{printed}");
    let token = first.token("reader", &["Apps=read", "Private=read"]);
    for format in ["json", "1pux", "bitwarden", "dotenv", "k8s"] {
        let began = Instant::now();
        let whole = export(&first, &token, format, &["--plaintext", "--yes"]);
        let took = began.elapsed() * 5 / 4;
        let size = whole.metadata().unwrap().len();
        let directory = first.path(&format!("killed-{format}"));
        fs::create_dir(&directory).unwrap();
        let out = directory.join("out");
        let (out_text, host) = (out.to_string_lossy(), format!("http://{}", first.address()));
        let token_file = first.path("exporter");
        let arguments = exporting(format, &out_text, &host, token_file.to_str().unwrap());
        for n in 0..kills {
            let mut child = first.begin(&arguments);
            std::thread::sleep(took * n / kills);
            child.kill().unwrap();
            child.wait().unwrap();
            if let Ok(metadata) = out.metadata() {
                // The time of the export is in a 1PUX, compressed.
                if format == "1pux" {
                    let (status, printed) = run(&first, &["import", &out_text, "--plan"]);
                    assert_eq!(status, 0, "{printed}");
                } else {
                    assert_eq!(metadata.len(), size, "{format}");
                }
                fs::remove_file(&out).unwrap();
            }
        }
        if !["json", "bitwarden"].contains(&format) {
            continue;
        }
        let second = ServerPair::start(&["--allow-ephemeral"], &[]);
        let whole = whole.to_string_lossy().into_owned();
        let importing = ["import", &whole, "--yes", "--allow-ephemeral"];
        for n in 0..kills {
            let mut child = second.begin(&importing);
            std::thread::sleep(took * n / kills);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let (status, printed) = run(&second, &importing);
        assert_eq!(status, 0, "{format}: {printed}");
        let reader = second.token("reader", &["Apps=read", "Private=read"]);
        let listed = ["Apps", "Private"].map(|vault| {
            let items = format!("/v1/vaults/{}/items", second.vault(&reader, vault));
            let items = second.get(&reader, &items).json();
            // No item is there twice, and none changed after it was made.
            assert!(
                items.as_array().unwrap().iter().all(|item| item["version"] == 1),
                "{format}"
            );
            items.as_array().unwrap().len()
        });
        let wanted = (0..items).filter(|n| n % 7 != 3).count();
        assert_eq!(listed.iter().sum::<usize>(), wanted, "{format}");
    }
}

#[test]
fn a_full_disk_ends_an_export_without_a_file() {
    let pair = ServerPair::start(&["--allow-ephemeral"], &[]);
    let source = pair.path("export.1pux");
    onepux::write(&source, 2_000, 0);
    let (status, printed) = run(
        &pair,
        &["import", source.to_str().unwrap(), "--yes", "--allow-ephemeral"],
    );
    assert_eq!(status, 0, "{printed}");
    let token = pair.token("reader", &["Apps=read", "Private=read"]);
    let (at, token_file) = (pair.path("volume"), pair.path("exporter"));
    fs::write(&token_file, token).unwrap();
    fs::create_dir(&at).unwrap();
    let Some(volume) = Volume::mount(&at, 1) else { return };
    volume.fill(1);
    let host = format!("http://{}", pair.address());
    for format in ["json", "1pux", "bitwarden", "dotenv", "k8s"] {
        let out = at.join(format);
        let arguments = exporting(format, out.to_str().unwrap(), &host, token_file.to_str().unwrap());
        let (status, printed) = run(&pair, &arguments);
        assert!(status != 0 && printed.contains("space"), "{format}: {status} {printed}");
        let left: Vec<_> = fs::read_dir(&at)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["ballast"], "{format}");
    }
}

/// The real sops opens each file of a tree.
fn decrypts(tree: &Path, key: &str) {
    let Some(tools) = tools::find(&["sops"]) else { return };
    let files = files_below(tree);
    assert!(files.len() > 30, "{} files", files.len());
    for (path, _) in files.iter().take(5) {
        let mut sops = Command::new(tools.join("sops"));
        let output = sops
            .args(["decrypt", "--output-type", "json"])
            .arg(path)
            .env("SOPS_AGE_KEY_FILE", key)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        let values: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(values.to_string().contains("s3cret concealed"), "{}", path.display());
    }
}

/// The values of an item's fields, in any order. Formats may leave out empty ones.
fn values(item: &Value) -> Vec<&str> {
    let fields = item["fields"].as_array().into_iter().flatten();
    let mut values: Vec<&str> = fields
        .filter_map(|field| field["value"].as_str())
        .filter(|value| !value.is_empty())
        .collect();
    values.sort_unstable();
    values
}

/// Fields without what differs between servers: codes of one-time passwords, and paths with a vault's id.
fn without_codes(value: &Value) -> Value {
    let mut value = value.clone();
    for part in value.as_array_mut().into_iter().flatten() {
        if let Some(part) = part.as_object_mut() {
            part.remove("totp");
        }
    }
    value
}

/// A database that KeePassXC's command line makes now, in place of the ones from its past version in the crate `exchange`.
#[test]
fn a_database_of_keepassxc_is_imported() {
    let run_keepassxc = |arguments: &[&str], input: &str| {
        let mut child = Command::new("keepassxc-cli")
            .args(arguments)
            .env("QT_QPA_PLATFORM", "offscreen")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(input.as_bytes()).ok()?;
        child
            .wait()
            .ok()
            .map(|status| assert!(status.success(), "keepassxc-cli {arguments:?}"))
    };
    let pair = ServerPair::start(&["--allow-ephemeral"], &[]);
    let path = |name: &str| pair.path(name).to_string_lossy().into_owned();
    let database = path("database.kdbx");
    let created = run_keepassxc(&["db-create", "--set-password", &database], "right\nright\n");
    if created.is_none() {
        let reason = "no keepassxc-cli; install the package keepassxc";
        // Only the nightly tests install it: it needs Qt, and the databases in the crate `exchange` are KeePassXC's, too.
        if std::env::var_os("SIDEVAULT_KEEPASSXC").is_some() {
            tools::skipped(reason);
        } else {
            writeln!(std::io::stderr(), "SKIPPED: {reason}").unwrap();
        }
        return;
    }
    run_keepassxc(&["mkdir", &database, "Work"], "right\n");
    run_keepassxc(
        &[
            "add",
            "--username",
            "me",
            "--url",
            "https://shop.example",
            "--password-prompt",
            &database,
            "Work/shop",
        ],
        "right\ns3cret\n",
    );
    fs::write(path("notes.txt"), "s3cret").unwrap();
    run_keepassxc(
        &[
            "attachment-import",
            &database,
            "Work/shop",
            "notes.txt",
            &path("notes.txt"),
        ],
        "right\n",
    );
    fs::write(path("password"), "right").unwrap();
    import_twice(&pair, Path::new(&database), &["--password-file", &path("password")]);
    let token = pair.token("reader", &["Work=read"]);
    let work = pair.vault(&token, "Work");
    let shop = pair.item(&token, &work, "shop").unwrap();
    assert_eq!(
        (&shop["fields"][1]["value"], &shop["files"][0]["name"]),
        (&json!("s3cret"), &json!("notes.txt"))
    );
}
