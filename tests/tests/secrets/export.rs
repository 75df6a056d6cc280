//! `export`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::world::World;

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(world: &World, arguments: &[&str]) -> Ended {
    let output = world.command(arguments).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        code: output.status.code().expect("a status"),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Exports the vaults `apps` and `files`, and returns the file and what was said.
fn export(world: &World, format: &str, more: &[&str]) -> (PathBuf, Ended) {
    let out = format!("export-{}.{format}", more.len());
    let common = [
        "export",
        "--vault=apps",
        "--vault=files",
        "--to",
        format,
        "--yes",
        "-o",
        &out,
    ];
    let ended = run(world, &[&common[..], more].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let path = world.directory().join(out);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    (path, ended)
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).expect("a text")
}

#[test]
fn an_unencrypted_export_is_asked_for_and_appears_whole() {
    let world = World::start();
    let out = world.directory().join("out.json");
    let json = ["export", "--vault=apps", "--to=json", "-o", "out.json"];
    let ended = run(&world, &json);
    assert_eq!((ended.code, out.exists()), (2, false));
    assert!(ended.stderr.contains("--plaintext"), "{}", ended.stderr);
    let ended = run(&world, &[&json[..], &["--plaintext"]].concat());
    assert_eq!((ended.code, out.exists()), (2, false), "there is no terminal to ask on");
    assert!(ended.stderr.contains("--yes"), "{}", ended.stderr);
    let ended = run(
        &world,
        &[
            "export",
            "--vault=none",
            "--to=json",
            "--plaintext",
            "--yes",
            "-o",
            "out.json",
        ],
    );
    assert_eq!((ended.code, out.exists()), (3, false));
    std::fs::write(&out, "kept").unwrap();
    let whole = [&json[..], &["--plaintext", "--yes"]].concat();
    assert_eq!((run(&world, &whole).code, read(&out)), (5, "kept".to_owned()));
    assert_eq!(run(&world, &[&whole[..], &["--force"]].concat()).code, 0);
    assert!(read(&out).starts_with("{\"vaults\":["));
    // A disk that is full: nothing replaces the old file, and nothing is left.
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(world.directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = names();
    let limited = format!("ulimit -f 0; trap '' XFSZ; exec \"$0\" {} --force", whole.join(" "));
    let binary = sidevault_tests::pair::binary();
    let mut shell = world.command(&[]);
    let environment: Vec<_> = shell
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    shell = std::process::Command::new("bash");
    let ended = shell
        .args(["-c", &limited])
        .arg(binary.canonicalize().unwrap())
        .env_clear()
        .envs(environment)
        .current_dir(world.directory())
        .output()
        .unwrap();
    assert_eq!(
        ended.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert_eq!(names(), before);
    assert!(read(&out).starts_with("{\"vaults\":["));
}

#[test]
fn json_has_every_item_as_the_server_gives_it_and_every_file() {
    let world = World::start();
    let (path, ended) = export(&world, "json", &["--plaintext"]);
    assert_eq!(ended.stderr, "");
    assert!(
        ended.stdout.contains("items and 2 files of 2 vaults"),
        "{}",
        ended.stdout
    );
    let read: Value = serde_json::from_str(&read(&path)).unwrap();
    let items = read["vaults"][0]["items"].as_array().unwrap();
    assert_eq!(items.len(), 5);
    for item in items {
        let id = item["id"].as_str().unwrap();
        let served = run(&world, &["item", "get", id, "--vault=apps", "--json"]).stdout;
        let mut served: Value = serde_json::from_str(&served).unwrap();
        let mut item = item.clone();
        // An item without files has no such member in the API. The codes of one-time passwords change.
        item.as_object_mut().unwrap().remove("files");
        for field in served["fields"].as_array_mut().unwrap() {
            field.as_object_mut().unwrap().remove("totp");
        }
        assert_eq!(item, served);
    }
    let files = read["vaults"][1]["items"].as_array().unwrap();
    let contents: Vec<&str> = files
        .iter()
        .flat_map(|item| item["files"].as_array().unwrap())
        .map(|file| file["content"].as_str().unwrap())
        .collect();
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    use base64::Engine as _;
    let blob = base64::engine::general_purpose::STANDARD.encode(bytes);
    assert!(contents.contains(&blob.as_str()), "{contents:?}");
}

#[test]
fn an_env_file_gives_a_command_the_same_values() {
    let world = World::start();
    let (path, ended) = export(&world, "dotenv", &["--plaintext"]);
    assert!(ended.stderr.contains("file \"blob.bin\""), "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let shown = "printf %s \"$DATABASE_LINES|$DATABASE_REPLICA_PORT|$DATABASE_ODD_ONE|$TWIN_PASSWORD$TWIN_PASSWORD_2\"";
    let ended = run(
        &world,
        &[
            "run",
            "--no-masking",
            "--env-file",
            path.to_str().unwrap(),
            "--",
            "sh",
            "-c",
            shown,
        ],
    );
    let twins = ended.stdout.rsplit_once('|').expect(&ended.stderr);
    assert_eq!(twins.0, "one\ntwo|5432|a,b \"c\"");
    assert!(["12", "21"].contains(&twins.1), "{}", twins.1);
}

#[test]
fn kubernetes_objects_are_yaml_and_external_secrets_have_no_value() {
    let world = World::start();
    let (path, ended) = export(&world, "k8s", &["--plaintext", "-n", "apps"]);
    let text = read(&path);
    assert_eq!(text.matches("kind: Secret\n").count(), 7, "{text}");
    assert!(text.contains("\"password\": \"czNjcmV0\"\n"), "{text}");
    assert!(
        text.contains("name: \"web--prod\"") || text.contains("name: \"web--prod-\""),
        "{text}"
    );
    assert!(
        ended.stderr.contains("the Secret is named database"),
        "{}",
        ended.stderr
    );
    let (path, _) = export(&world, "k8s", &["--as=external-secrets", "-n", "apps", "--store=mine"]);
    let text = read(&path);
    assert_eq!(text.matches("kind: ExternalSecret\n").count(), 7, "{text}");
    assert!(text.contains("name: \"mine\"") && !text.contains("czNjcmV0") && !text.contains("s3cret"));
    // Two items are named Twin.
    let id = world.with_ids("key: \"{Twin}\"");
    assert!(text.contains(&id), "{text}");
}

#[test]
fn bitwarden_and_1pux_exports_have_every_item() {
    let world = World::start();
    let (path, ended) = export(&world, "bitwarden", &["--plaintext"]);
    let read: Value = serde_json::from_str(&read(&path)).unwrap();
    assert_eq!(read["items"].as_array().unwrap().len(), 7);
    assert_eq!(read["folders"].as_array().unwrap().len(), 2);
    assert!(ended.stderr.contains("file \"blob.bin\""), "{}", ended.stderr);
    let (path, ended) = export(&world, "1pux", &["--plaintext"]);
    assert_eq!(ended.stderr, "");
    // Python's zipfile is a reader of others.
    let script = "import json,sys,zipfile; z=zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; \
                  d=json.loads(z.read('export.data')); v=d['accounts'][0]['vaults']; \
                  f=[n for n in z.namelist() if n.startswith('files/')]; \
                  print(len(v), sum(len(x['items']) for x in v), len(f), sorted(len(z.read(n)) for n in f))";
    let python = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output()
        .expect("python3");
    assert_eq!(
        String::from_utf8_lossy(&python.stdout).trim(),
        "2 7 2 [28, 256]",
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
}
