//! `sidevault import` and `sidevault verify`.

mod formats;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt as _;
use serde_json::{Value, json};
use sidevault_tests::onepux::{self, APPS, PRIVATE, item_id};
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::volume::Volume;

struct Server {
    pair: ServerPair,
    export: String,
}

impl Server {
    /// A server without vaults, and an export.
    fn start(items: usize, every: usize) -> Self {
        let pair = ServerPair::start(&["--allow-ephemeral"], &[]);
        Self::with(pair, items, every)
    }

    fn with(pair: ServerPair, items: usize, every: usize) -> Self {
        let export = pair.path("export.1pux");
        onepux::write(&export, items, every);
        let export = export.to_string_lossy().into_owned();
        Self { pair, export }
    }

    /// The exit status of a command, and what it printed. No secret of the export is ever printed.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let ended = self.pair.ended(arguments);
        let printed = [ended.stdout, ended.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(!printed.contains("s3cret"), "{printed}");
        (ended.status.code().unwrap(), printed)
    }

    fn import(&self, arguments: &[&str]) -> (i32, String) {
        let all = [&["import", &self.export, "--yes", "--allow-ephemeral"], arguments].concat();
        self.run(&all)
    }

    /// A token for both vaults, which exist.
    fn token(&self) -> String {
        self.pair.token("reader", &["Apps=read,write", "Private=read,write"])
    }

    fn verify(&self, token: &str, arguments: &[&str]) -> (i32, String) {
        let file = self.pair.path("token");
        fs::write(&file, token).unwrap();
        let host = format!("http://{}", self.pair.address());
        let file = file.to_string_lossy().into_owned();
        let all = [
            &["verify", &self.export, "--host", &host, "--token-file", &file],
            arguments,
        ]
        .concat();
        self.run(&all)
    }

    fn get(&self, token: &str, path: &str) -> Value {
        let reply = self.pair.get(token, path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    fn item(&self, token: &str, vault: &str, n: usize) -> Value {
        self.get(token, &format!("/v1/vaults/{vault}/items/{}", item_id(n)))
    }
}

fn field<'a>(item: &'a Value, id: &str) -> &'a Value {
    let fields = item["fields"].as_array().unwrap();
    fields
        .iter()
        .find(|field| field["id"] == id)
        .unwrap_or_else(|| panic!("no {id} in {item}"))
}

/// A number from a variable, for the long runs of `tests/run nightly`.
fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn a_1pux_is_imported_whole_and_a_second_time_changes_nothing() {
    let (items, files) = (
        setting("SIDEVAULT_IMPORT_ITEMS", 220),
        setting("SIDEVAULT_IMPORT_FILES", 20),
    );
    let server = Server::start(items, items / files);
    let (status, plan) = server.run(&["import", &server.export, "--plan"]);
    assert_eq!(status, 0, "{plan}");
    assert!(
        plan.contains("vault \"Apps\" (new)") && plan.contains("1 left out: it was deleted"),
        "{plan}"
    );
    assert!(plan.contains("the category 299 is not known"), "{plan}");
    assert!(!server.pair.command(&["vault", "list"]).contains("Apps"));

    let (status, printed) = server.import(&[]);
    assert_eq!(status, 0, "{printed}");
    assert!(
        printed.contains(&format!("verified: {items} items")) && printed.ends_with("equal\n"),
        "{printed}"
    );

    // What a client sees: ids, times, state, values, files.
    let token = server.token();
    let vaults = server.get(&token, "/v1/vaults");
    let ids: Vec<&str> = vaults
        .as_array()
        .unwrap()
        .iter()
        .map(|vault| vault["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&APPS) && ids.contains(&PRIVATE), "{vaults}");
    let login = server.item(&token, APPS, 22);
    assert_eq!(login["title"], "item 22 ü🔑");
    assert_eq!(
        (&login["createdAt"], &login["updatedAt"]),
        (&json!("2017-07-14T02:40:22Z"), &json!("2020-09-13T12:27:02Z"))
    );
    assert_eq!((&login["version"], &login["category"]), (&json!(1), &json!("LOGIN")));
    assert_eq!(login["tags"], json!(["tag1", "all"]));
    assert_eq!(field(&login, "password")["value"], "s3cret 22");
    assert_eq!(
        field(&login, "password")["passwordDetails"]["history"][0],
        "s3cret older 0"
    );
    assert_eq!(field(&login, "f2")["totp"].as_str().unwrap().len(), 6);
    assert_eq!(field(&login, "f10")["value"], "22 Main Street, Ulm, 89073, de");
    let files = server.get(&token, &format!("/v1/vaults/{APPS}/items/{}/files", item_id(22)));
    let reply = server.pair.get(&token, files[0]["content_path"].as_str().unwrap());
    assert!(reply.body == onepux::content(22), "{files}");
    assert_eq!(server.item(&token, APPS, 3)["state"], "ARCHIVED");
    let list = server.get(&token, &format!("/v1/vaults/{APPS}/items"));
    assert!(list.as_array().unwrap().iter().all(|item| item["id"] != item_id(3)));
    let (status, printed) = server.verify(&token, &[]);
    assert!(status == 0 && printed.contains("equal"), "{printed}");

    let (status, printed) = server.import(&["--on-conflict", "update"]);
    assert_eq!(status, 0, "{printed}");
    assert!(
        printed.contains("there already, equal") && !printed.contains(" new\n"),
        "{printed}"
    );
    assert_eq!(server.item(&token, APPS, 22)["version"], 1);
    assert_eq!(
        server.get(&token, &format!("/v1/vaults/{APPS}"))["items"],
        list.as_array().unwrap().len()
    );
}

#[test]
fn what_differs_is_found_and_treated_as_the_policy_says() {
    let server = Server::start(44, 11);
    let (status, printed) = server.import(&["--tag", "moved"]);
    assert_eq!(status, 0, "{printed}");
    let token = server.token();
    let path = |n: usize| format!("/v1/vaults/{APPS}/items/{}", item_id(n));
    let patch = json!([{ "op": "replace", "path": "/fields/f1/value", "value": "s3cret changed" },
        { "op": "replace", "path": "/tags/0", "value": "other" }]);
    let reply = server.pair.ask(&token, "PATCH", &path(0), &patch.to_string()).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(server.pair.ask(&token, "DELETE", &path(1), "").unwrap().status, 204);

    let (status, printed) = server.verify(&token, &["--tag", "moved", "--vault", "apps"]);
    assert_eq!(status, 7, "{printed}");
    assert!(printed.contains("20 items equal, 1 different, 1 missing"), "{printed}");
    assert!(
        printed.contains("value of field \"field 1\"") && printed.contains("tags"),
        "{printed}"
    );
    let (status, printed) = server.verify(&token, &["--tag", "moved", "--vault", PRIVATE]);
    assert!(status == 0, "{printed}");

    // The deleted item comes back, and the changed one stays.
    let (status, printed) = server.import(&["--tag", "moved"]);
    assert_eq!(status, 0, "{printed}");
    assert!(
        printed.contains("1 differ and stay as the server has them") && printed.contains("  1 new"),
        "{printed}"
    );
    assert_eq!(field(&server.item(&token, APPS, 0), "f1")["value"], "s3cret changed");

    // A copy is made once.
    for _ in 0..2 {
        let (status, printed) = server.import(&["--tag", "moved", "--on-conflict", "copy"]);
        assert_eq!(status, 0, "{printed}");
    }
    let list = server.get(&token, &format!("/v1/vaults/{APPS}/items"));
    let same = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["title"] == "item 0 ü🔑");
    assert_eq!(same.count(), 2);

    let (status, printed) = server.import(&["--tag", "moved", "--on-conflict", "update"]);
    assert_eq!(status, 0, "{printed}");
    let item = server.item(&token, APPS, 0);
    assert_eq!(
        (&item["version"], &field(&item, "f1")["value"]),
        (&json!(3), &json!("s3cret concealed 0"))
    );
    let old = server.get(&token, &format!("{}?version=2", path(0)));
    assert_eq!(field(&old, "f1")["value"], "s3cret changed");
    let (status, printed) = server.verify(&token, &["--tag", "moved"]);
    assert!(status == 0, "{printed}");
}

#[test]
fn an_import_without_sync_and_into_other_vaults() {
    let mut server = Server::start(22, 11);
    server.pair.terminate(Process::Sync);
    server.pair.wait_ended(Process::Sync);
    let maps = [
        "--vault-map",
        "apps=Machines",
        "--vault-map",
        &format!("{PRIVATE}=Machines"),
    ];
    let (status, printed) = server.import(&maps[..2]);
    assert_eq!(status, 0, "{printed}");
    let vaults = server.pair.command(&["vault", "list"]);
    assert!(
        vaults.contains("Machines") && vaults.contains("Private") && !vaults.contains("Apps"),
        "{vaults}"
    );
    // Both vaults into one that exists.
    let (status, printed) = server.import(&maps);
    assert_eq!(status, 0, "{printed}");
    assert!(printed.contains("vault \"Machines\" (there already)"), "{printed}");
    let (status, printed) = server.import(&["--vault-map", "Nothing=x"]);
    assert!(status == 2 && printed.contains("it has Apps, Private"), "{printed}");
}

#[test]
fn a_hostile_archive_is_refused_and_nothing_is_changed() {
    let server = Server::start(2, 1);
    let parts = |data: &str, name: &str| {
        let members = [("export.attributes", "{}"), ("export.data", data), (name, "content")];
        members.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    };
    let export = PathBuf::from(&server.export);
    for (data, name, words) in [
        (r#"{"accounts":[]}"#, "../../evil", "leads out of the archive"),
        (r#"{"accounts":[]}"#, "/etc/evil", "absolute path"),
        (r#"{"accounts":[{"vaults":[{"attrs":{"name":"s3cret""#, "a", "cut short"),
        (r#"{"accounts":[{"vaults":[{"attrs":7}]}]}"#, "a", "has not the form"),
    ] {
        onepux::archive(&export, parts(data, name));
        let (status, printed) = server.import(&[]);
        assert!(status == 8 && printed.contains(words), "{printed}");
    }
    fs::write(&export, "s3cret").unwrap();
    let (status, printed) = server.import(&[]);
    assert!(status == 2 && printed.contains("1PUX"), "{printed}");
    assert_eq!(server.pair.command(&["vault", "list"]).lines().count(), 1);
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_ended() {
    let kills = setting("SIDEVAULT_IMPORT_KILLS", 20);
    let mut server = Server::start(1_000, 20);
    let mut rng = rand::rng();
    for n in 0..kills {
        let mut import = server
            .pair
            .begin(&["import", &server.export, "--yes", "--allow-ephemeral"]);
        // The pause chooses the moment; nothing waits for it to be long enough.
        std::thread::sleep(Duration::from_millis(rng.random_range(20..600)));
        import.kill().unwrap();
        import.wait().unwrap();
        if n % 5 == 4 {
            server.pair.kill(Process::Sync);
            server.pair.run(Process::Sync);
            server.pair.wait_linked();
        }
    }
    let (status, printed) = server.import(&[]);
    assert_eq!(status, 0, "{printed}");
    let token = server.token();
    // No item is there twice, and none changed after it was made.
    for (vault, range) in [(APPS, 0..500), (PRIVATE, 500..1_000)] {
        let list = server.get(&token, &format!("/v1/vaults/{vault}/items"));
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), range.filter(|n| n % 7 != 3).count());
        assert!(list.iter().all(|item| item["version"] == 1));
    }
    let (status, printed) = server.verify(&token, &[]);
    assert!(status == 0, "{printed}");
}

#[test]
fn a_full_disk_ends_an_import_with_a_clear_error() {
    let mut pair = ServerPair::prepare(&["--allow-ephemeral"], &[]);
    let Some(volume) = Volume::mount(&pair.path("data"), 16) else {
        return;
    };
    pair.run(Process::Sync);
    pair.run(Process::Api);
    pair.wait_linked();
    let server = Server::with(pair, 2_000, 20);
    let (status, printed) = server.import(&[]);
    assert_eq!(status, 6, "{printed}");
    assert!(printed.contains("disk") && printed.contains("full"), "{printed}");
    // Each item is there as a whole or not at all.
    let (status, printed) = server.verify(&server.token(), &[]);
    assert!(
        status == 7 && printed.contains("0 different"),
        "{}",
        printed.lines().last().unwrap_or_default()
    );
    drop(server);
    drop(volume);
}
