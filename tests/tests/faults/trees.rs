//! Faults of trees. Each has a source of its own, with the file `db.sops.yaml`, which is the item `db`, and another file, so that the
//! tree is never empty.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::sops::{Key, Sops};

/// What a client reads of `db` after a fault.
#[derive(Clone, Copy, PartialEq)]
enum Served {
    /// The value from before the fault. The source is DEGRADED, and `/health` says why with these words.
    Before(&'static str),
    /// The same, but the source as a whole is FAILED.
    Failed(&'static str),
    /// The new value: this is no fault. The source is ACTIVE.
    New,
    /// Nothing: the file is gone, or a rule leaves it out. The source is ACTIVE.
    Nothing,
}

use Served::{Before, Failed, New, Nothing};

/// Encrypted files with the values [`FIRST`] and [`SECOND`].
struct Files {
    sops: Sops,
    key: Key,
    first: String,
    second: String,
}

impl Files {
    fn seal(&self, key: &Key, plain: &str) -> String {
        String::from_utf8(self.sops.encrypt(key, "db.yaml", plain, &[])).unwrap()
    }
}

type Fault = fn(&Path, &Files);

const NOW_PLAIN: &str = "db.sops.yaml (the file was encrypted and is plaintext now";

/// Each fault: its name, how it is made in a tree, and what is served then.
const FAULTS: &[(&str, Fault, Served)] = &[
    (
        "link-out",
        |root, _| link(root, "/etc/hostname"),
        Before("a link that leads out of the tree is not followed"),
    ),
    (
        "link-hidden",
        |root, _| link(root, ".git/config"),
        Before("a link to a hidden file or directory is not followed"),
    ),
    (
        "link-loop",
        |root, _| {
            link(root, "db2.sops.yaml");
            symlink("db.sops.yaml", root.join("db2.sops.yaml")).unwrap();
        },
        Before("more than 40 symbolic links on the way"),
    ),
    (
        "link-nowhere",
        |root, _| link(root, "nowhere.yaml"),
        Before("No such file or directory"),
    ),
    (
        "link-within",
        |root, files| {
            write(root, "moved.txt", &files.second);
            link(root, "moved.txt");
        },
        New,
    ),
    (
        "fifo",
        |root, _| {
            let path = clear(root);
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        },
        Before("neither a file nor a directory"),
    ),
    (
        "socket",
        |root, _| drop(UnixListener::bind(clear(root)).unwrap()),
        Before("neither a file nor a directory"),
    ),
    (
        "file-becomes-directory",
        |root, _| {
            fs::create_dir(clear(root)).unwrap();
        },
        Nothing,
    ),
    (
        "renamed",
        |root, _| fs::rename(root.join(DB), root.join("other-name.sops.yaml")).unwrap(),
        Nothing,
    ),
    (
        "removed",
        |root, _| {
            clear(root);
        },
        Nothing,
    ),
    (
        "huge",
        |root, files| db(root, &format!("{}# {}\n", files.second, "x".repeat(16 << 20))),
        Before("the file is larger than 16 MiB"),
    ),
    (
        "alias-bomb",
        |root, files| {
            let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
            for n in 1..10 {
                let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
                text += &format!("a{n}: &a{n} [{aliases}]\n");
            }
            db(root, &(text + &files.second));
        },
        Before("db.sops.yaml ("),
    ),
    (
        "deep",
        |root, files| {
            db(
                root,
                &format!("a: {}{}\n{}", "[".repeat(5000), "]".repeat(5000), files.second),
            )
        },
        Before("db.sops.yaml ("),
    ),
    (
        "duplicate-key",
        |root, files| {
            let line = files.second.lines().next().unwrap();
            db(root, &format!("{line}\n{}", files.second));
        },
        Before("occurs twice"),
    ),
    (
        "changed-value",
        |root, files| db(root, &files.second.replacen("data:", "data:AA", 1)),
        Before("db.sops.yaml ("),
    ),
    (
        "plaintext-added",
        |root, files| db(root, &format!("added: by hand\n{}", files.second)),
        Before("db.sops.yaml ("),
    ),
    (
        "line-removed",
        |root, files| {
            let kept = files.second.lines().filter(|line| !line.starts_with("more:"));
            db(root, &kept.map(|line| format!("{line}\n")).collect::<String>());
        },
        Before("MAC"),
    ),
    (
        "truncated",
        |root, files| db(root, &files.second[..files.second.len() * 2 / 3]),
        Before("db.sops.yaml ("),
    ),
    (
        "without-metadata",
        |root, files| db(root, files.second.split("sops:").next().unwrap()),
        Before("db.sops.yaml ("),
    ),
    ("empty", |root, _| db(root, ""), Before(NOW_PLAIN)),
    (
        "decrypted-in-place",
        |root, _| db(root, &format!("k: {SECOND}\nmore: m\n")),
        Before(NOW_PLAIN),
    ),
    (
        "git-crypt",
        |root, _| db(root, "\0GITCRYPT\0\x01\x02\x03"),
        Before(NOW_PLAIN),
    ),
    (
        "lfs-pointer",
        |root, _| {
            db(
                root,
                "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
            )
        },
        Before(NOW_PLAIN),
    ),
    (
        "nul-bytes",
        |root, files| db(root, &format!("{}\0\0", files.second)),
        Before(NOW_PLAIN),
    ),
    (
        "conflict-markers",
        |root, files| {
            db(
                root,
                &format!("<<<<<<< HEAD\n{}=======\n{}>>>>>>> other\n", files.first, files.second),
            );
        },
        Before("not valid YAML"),
    ),
    (
        "not-utf-8",
        |root, files| {
            let bytes = [files.second.as_bytes(), b"# \xff\xfe\n"].concat();
            fs::write(root.join(".new"), bytes).unwrap();
            fs::rename(root.join(".new"), root.join(DB)).unwrap();
        },
        Before("UTF-8"),
    ),
    (
        "wrong-key",
        |root, files| db(root, &files.seal(&files.sops.key(), &format!("k: {SECOND}\n"))),
        Before("db.sops.yaml ("),
    ),
    (
        "one-bad-document",
        |root, files| db(root, &format!("{}---\nk: [\n", files.second)),
        Before("not valid YAML"),
    ),
    (
        "not-base64",
        |root, files| {
            let manifest = "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\ndata: {k: '***'}\n";
            db(root, &files.seal(&files.key, manifest));
        },
        Before("data.k is not base64"),
    ),
    (
        "byte-order-mark",
        |root, files| db(root, &format!("\u{feff}{}", files.second)),
        New,
    ),
    ("crlf", |root, files| db(root, &files.second.replace('\n', "\r\n")), New),
    (
        "clock-in-the-future",
        |root, files| set_time(root, files, SystemTime::now() + Duration::from_secs(1 << 30)),
        New,
    ),
    (
        "clock-in-the-past",
        |root, files| set_time(root, files, SystemTime::UNIX_EPOCH),
        New,
    ),
    (
        "new-plaintext",
        |root, _| write(root, "new.sops.yaml", "k: v\n"),
        Before("its name says that SOPS encrypted it, and it is plaintext"),
    ),
    (
        "bad-folder-file",
        |root, _| write(root, ".sidevault.yaml", "vaults: x\n"),
        Failed(".sidevault.yaml: "),
    ),
    (
        "ignored",
        |root, _| write(root, ".gitignore", "db.sops.yaml\n"),
        Nothing,
    ),
    (
        "large-gitignore",
        |root, _| write(root, ".gitignore", &"x\n".repeat(40_000)),
        Failed(".gitignore: larger than 64 KiB"),
    ),
    (
        "directory-removed",
        |root, _| fs::remove_dir_all(root).unwrap(),
        Failed("what was read before is still served"),
    ),
    (
        "mount-gone",
        |root, _| {
            clear(root);
            fs::remove_file(root.join("other.sops.yaml")).unwrap();
        },
        Before(""),
    ),
];

const DB: &str = "db.sops.yaml";
const FIRST: &str = "first-4711";
const SECOND: &str = "second-4711";

pub(super) fn names() -> Vec<&'static str> {
    FAULTS.iter().map(|(name, _, _)| *name).collect()
}

fn write(root: &Path, name: &str, text: &str) {
    fs::write(root.join(".new"), text).unwrap();
    fs::rename(root.join(".new"), root.join(name)).unwrap();
}

fn db(root: &Path, text: &str) {
    write(root, DB, text);
}

/// Removes the file, and returns its path.
fn clear(root: &Path) -> std::path::PathBuf {
    fs::remove_file(root.join(DB)).unwrap();
    root.join(DB)
}

fn link(root: &Path, to: &str) {
    symlink(to, clear(root)).unwrap();
}

fn set_time(root: &Path, files: &Files, time: SystemTime) {
    db(root, &files.second);
    let file = File::options().write(true).open(root.join(DB)).unwrap();
    file.set_modified(time).unwrap();
}

struct TestServer {
    pair: ServerPair,
    token: String,
}

impl TestServer {
    fn value(&self, source: &str) -> Option<String> {
        let vault = self.pair.vault(&self.token, source);
        let item = self.pair.item(&self.token, &vault, "db")?;
        let field = item["fields"].as_array()?.iter().find(|field| field["label"] == "k")?;
        Some(field["value"].as_str()?.to_owned())
    }

    fn check(&self, source: &str, served: Served) {
        let wanted = match served {
            Before(_) | Failed(_) => Some(FIRST),
            New => Some(SECOND),
            Nothing => None,
        };
        match served {
            // An empty tree is no error: it is taken for a volume that is not mounted.
            Before("") => self.pair.wait_source(source, "ACTIVE", "0 files"),
            Failed(words) => self.pair.wait_source(source, "FAILED", words),
            Before(words) => {
                let message = self.pair.wait_source(source, "DEGRADED", words);
                println!("{source}: {message}");
                message
            }
            New | Nothing => self.pair.wait_source(source, "ACTIVE", ""),
        };
        let seen = wait_until(|| (self.value(source).as_deref() == wanted).then_some(()));
        assert!(
            seen.is_some(),
            "{source}: {:?} in place of {wanted:?}\n{}",
            self.value(source),
            self.pair.log(Process::Sync)
        );
    }
}

/// After each fault, sync is started again: what is served and shown must not depend on what a process remembers.
#[test]
fn a_fault_of_a_tree_changes_what_the_page_says() {
    let Some(sops) = Sops::find() else { return };
    let key = sops.key();
    let mut files = Files {
        first: String::new(),
        second: String::new(),
        sops,
        key,
    };
    files.first = files.seal(&files.key, &format!("k: {FIRST}\nmore: m\n"));
    files.second = files.seal(&files.key, &format!("k: {SECOND}\nmore: m\n"));
    let mut pair = ServerPair::prepare(
        &["--config", "{root}/sources.yaml"],
        &[("SOPS_AGE_KEY_FILE", "{root}/keys/age.txt")],
    );
    fs::write(pair.path("keys/age.txt"), &files.key.secret).unwrap();
    let mut sources = "sources:\n".to_owned();
    for name in names() {
        sources +=
            &format!("  - directory: {{ path: trees/{name}, vault: {name}, encrypted: only, fullCheckSeconds: 1 }}\n");
        let root = pair.path(&format!("trees/{name}"));
        fs::create_dir_all(root.join(".git")).unwrap();
        write(&root, ".git/config", "token");
        write(&root, DB, &files.first);
        write(&root, "other.sops.yaml", &files.first);
    }
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let grants: Vec<String> = names().iter().map(|name| format!("{name}=read")).collect();
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    let token = pair.token("reader", &grants);
    let mut server = TestServer { pair, token };
    for name in names() {
        server.pair.wait_source(name, "ACTIVE", "2 files");
    }
    for (name, make, _) in FAULTS {
        make(&server.pair.path(&format!("trees/{name}")), &files);
    }
    for (name, _, served) in FAULTS {
        server.check(name, *served);
    }
    // The log names each bad file, with the same words.
    let log = server.pair.log(Process::Sync);
    for (name, _, served) in FAULTS {
        if let Before(words) | Failed(words) = served {
            assert!(
                log.contains(words.trim_start_matches("db.sops.yaml (")),
                "{name}: {words}\n{log}"
            );
        }
    }
    assert!(!log.contains(SECOND) && !log.contains("by hand"), "{log}");
    server.pair.kill(Process::Sync);
    server.pair.run(Process::Sync);
    server.pair.wait_linked();
    for (name, _, served) in FAULTS {
        server.check(name, *served);
    }
    // The right file again.
    for (name, _, served) in FAULTS {
        let is_bad_file = matches!(served, Before(words) if words.starts_with("db.sops.yaml (") || words.contains("link") || words.contains("valid"));
        if is_bad_file {
            let root = server.pair.path(&format!("trees/{name}"));
            fs::remove_file(root.join("db2.sops.yaml")).ok();
            db(&root, &files.second);
            server.check(name, New);
        }
    }
}
