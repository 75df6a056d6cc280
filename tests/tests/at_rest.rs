//! No secret is readable in the database, its write-ahead log or another file, in the log or in the metrics, while the server
//! runs and after it was killed.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidevault_tests::markers::{Marker, Search};
use sidevault_tests::pair::{Process, ServerPair, files_below, wait_until};
use sidevault_tests::postgres::{self, Postgres};
use sidevault_tests::wire::{Request, exchange};

/// Hands out a new marker for each place.
#[derive(Default)]
struct Markers(Vec<Marker>);

impl Markers {
    fn put(&mut self, name: &str) -> String {
        let marker = Marker::new(name, self.0.len() as u64 + 1);
        let text = marker.text.clone();
        self.0.push(marker);
        text
    }
}

/// Fails if any marker is in any of the named bytes.
fn assert_none(markers: &[Marker], places: &[(String, Vec<u8>)], when: &str) {
    let mut found = Vec::new();
    let search = Search::new(markers);
    for (place, bytes) in places {
        for (marker, form) in search.find(bytes) {
            found.push(format!("{}: in {place}, {form}", marker.name));
        }
    }
    let bytes: usize = places.iter().map(|(_, bytes)| bytes.len()).sum();
    println!(
        "{when}: {} markers, {} places, {bytes} bytes searched",
        markers.len(),
        places.len()
    );
    assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
}

/// Every file that the server wrote. `secrets` is its input, and left out.
fn traces(pair: &ServerPair) -> Vec<(String, Vec<u8>)> {
    let mut places = Vec::new();
    for directory in ["data", "tmp", "home", "logs", "keys"] {
        for (path, bytes) in files_below(&pair.path(directory)) {
            places.push((path.to_string_lossy().into_owned(), bytes));
        }
    }
    if postgres::is_chosen() {
        let server = Postgres::shared().expect("PostgreSQL");
        let files = files_below(&server.data()).into_iter();
        places.extend(files.map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes)));
        places.push(("a dump of all databases".to_owned(), server.dump_all()));
    }
    for (name, address) in [("api", pair.address()), ("sync", pair.sync_address())] {
        for path in ["/metrics", "/health", "/nowhere"] {
            let reply = exchange(address, &Request::new("GET", path).bytes());
            places.push((
                format!("{name} {path}"),
                reply.map(|reply| reply.body).unwrap_or_default(),
            ));
        }
    }
    for process in [Process::Api, Process::Sync] {
        let Some(pid) = pair.pid(process) else { continue };
        for file in ["cmdline", "environ", "comm"] {
            places.push((
                format!("{process:?} {file}"),
                fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default(),
            ));
        }
    }
    places
}

/// An item with a marker in each of its members.
fn marked_item(markers: &mut Markers, round: &str) -> Value {
    let mut put = |name: &str| markers.put(&format!("{round} {name}"));
    let section = json!({ "id": "s", "label": put("section label") });
    let mut fields = vec![
        json!({ "id": "username", "purpose": "USERNAME", "value": put("username") }),
        json!({ "id": "password", "purpose": "PASSWORD", "value": put("password") }),
        json!({ "id": "notesPlain", "purpose": "NOTES", "value": put("notes") }),
        json!({ "id": put("field id"), "value": "x" }),
        json!({ "id": "otp", "type": "OTP", "value": format!("otpauth://totp/{}?secret=JBSWY3DPEHPK3PXP", put("otp label")) }),
    ];
    for kind in [
        "STRING",
        "EMAIL",
        "CONCEALED",
        "URL",
        "PHONE",
        "ADDRESS",
        "GENDER",
        "MENU",
        "REFERENCE",
        "SSHKEY",
        "CREDIT_CARD_TYPE",
        "CREDIT_CARD_NUMBER",
    ] {
        let (label, value) = (put(&format!("{kind} label")), put(&format!("{kind} value")));
        fields.push(json!({ "type": kind, "label": label, "value": value, "section": { "id": "s" } }));
    }
    json!({
        "title": put("title"),
        "category": "LOGIN",
        "tags": [put("tag"), "b"],
        "urls": [{ "href": format!("https://{}.example/{}", put("url host"), put("url path")), "label": put("url label") }],
        "sections": [section],
        "fields": fields,
    })
}

/// Writes marked items by every kind of request. Field types that the server refuses are left out.
fn write_all(pair: &ServerPair, token: &str, vault: &str, markers: &mut Markers, round: &str) -> String {
    let items = format!("/v1/vaults/{vault}/items");
    let ask = |method: &str, target: &str, body: &Value| {
        let reply = pair.ask(token, method, target, &body.to_string()).unwrap();
        assert_eq!(reply.status, 200, "{method}: {}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let mut item = marked_item(markers, round);
    let known = |field: &Value| {
        let probe =
            json!({ "title": "probe", "category": "LOGIN", "fields": [{ "type": field["type"], "value": "" }] });
        let reply = pair.ask(token, "POST", &items, &probe.to_string()).unwrap();
        if reply.status == 200 {
            let id = reply.json()["id"].as_str().unwrap().to_owned();
            assert_eq!(
                pair.ask(token, "DELETE", &format!("{items}/{id}"), "").unwrap().status,
                204
            );
        }
        reply.status == 200
    };
    item["fields"]
        .as_array_mut()
        .unwrap()
        .retain(|field| field["type"].is_null() || known(field));
    let id = ask("POST", &items, &item);
    let target = format!("{items}/{id}");
    // A PUT, so that the history has the first values; then a PATCH, and a DELETE of another item.
    let again = marked_item(markers, &format!("{round} replaced"));
    let mut again = again;
    again["fields"]
        .as_array_mut()
        .unwrap()
        .retain(|field| field["type"].is_null() || known(field));
    ask("PUT", &target, &again);
    let patch = json!([
        { "op": "replace", "path": "/title", "value": markers.put(&format!("{round} patched title")) },
        { "op": "replace", "path": "/fields/password/value", "value": markers.put(&format!("{round} patched value")) },
        { "op": "add", "path": "/tags/-", "value": markers.put(&format!("{round} patched tag")) },
        { "op": "add", "path": "/fields", "value": { "label": markers.put(&format!("{round} added label")), "value": "x" } },
    ]);
    ask("PATCH", &target, &patch);
    let gone = ask(
        "POST",
        &items,
        &marked_item_of_known(markers, &format!("{round} deleted")),
    );
    assert_eq!(
        pair.ask(token, "DELETE", &format!("{items}/{gone}"), "")
            .unwrap()
            .status,
        204
    );
    // Refused writes and filters contain secrets, too.
    let bad = json!({ "title": markers.put(&format!("{round} refused title")), "category": markers.put(&format!("{round} refused category")) });
    assert_eq!(pair.ask(token, "POST", &items, &bad.to_string()).unwrap().status, 400);
    let cut = format!("{{\"title\":\"{}\",", markers.put(&format!("{round} cut body")));
    assert_eq!(pair.ask(token, "POST", &items, &cut).unwrap().status, 400);
    let title = markers.put(&format!("{round} filtered title"));
    assert_eq!(
        pair.get(token, &format!("{items}?filter=title+eq+%22{title}%22"))
            .status,
        200
    );
    assert_eq!(pair.get(token, &format!("{items}?filter={title}")).status, 400);
    assert_eq!(pair.get(token, &format!("{items}/{title}")).status, 400);
    let name = markers.put(&format!("{round} vault in a path"));
    assert_eq!(pair.get(token, &format!("/v1/vaults/{name}/items/{title}")).status, 400);
    assert_eq!(
        pair.get(&markers.put(&format!("{round} bad token")), "/v1/vaults")
            .status,
        401
    );
    let agent = Request::new("GET", target.as_str())
        .bearer(token)
        .header("User-Agent", markers.put(&format!("{round} user agent")));
    assert_eq!(exchange(pair.address(), &agent.bytes()).unwrap().status, 200);
    target
}

fn marked_item_of_known(markers: &mut Markers, round: &str) -> Value {
    let title = markers.put(&format!("{round} title"));
    let value = markers.put(&format!("{round} value"));
    json!({ "title": title, "category": "PASSWORD", "fields": [{ "purpose": "PASSWORD", "value": value }] })
}

#[test]
fn no_secret_is_stored_in_plain_text() {
    let mut markers = Markers::default();
    let local = markers.put("vault name");
    let mut pair = ServerPair::prepare(
        &[
            "--dir",
            "{root}/secrets",
            "--allow-ephemeral",
            "--config",
            "{root}/sources.yaml",
        ],
        &[("OP_LOG_LEVEL", "trace"), ("SIDEVAULT_LOG_FORMAT", "json")],
    );
    // The vault's name is in a file, because other users can read a process's command line.
    fs::write(
        pair.path("sources.yaml"),
        format!("sources:\n  - local:\n      vaults: [{local}]\n"),
    )
    .unwrap();
    let secrets = pair.path("secrets");
    let yaml = markers.put("directory yaml value");
    let label = markers.put("directory yaml label");
    let below = markers.put("directory nested value");
    let stem = markers.put("directory file name");
    fs::write(
        secrets.join(format!("{stem}.yaml")),
        format!("{label}: {yaml}\ndb:\n  host: {below}\n"),
    )
    .unwrap();
    let manifest_name = markers.put("manifest name");
    let manifest_value = markers.put("manifest value");
    let manifest = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {manifest_name}\nstringData:\n  k: {manifest_value}\n"
    );
    fs::write(secrets.join("manifest.yaml"), manifest).unwrap();
    fs::write(
        secrets.join("app.env"),
        format!("KEY={}\n", markers.put("directory env value")),
    )
    .unwrap();
    fs::write(
        secrets.join("other.ini"),
        format!("[s]\nk = {}\n", markers.put("directory ini value")),
    )
    .unwrap();
    let binary_name = markers.put("directory binary name");
    let content = markers.put("directory binary content");
    fs::write(secrets.join(format!("{binary_name}.bin")), content.repeat(10_000)).unwrap();
    let folder = markers.put("directory vault name");
    fs::create_dir(secrets.join(&folder)).unwrap();
    fs::write(
        secrets.join(&folder).join("a.yaml"),
        format!("k: {}\n", markers.put("directory vault value")),
    )
    .unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();

    let name = markers.put("token name");
    let token = pair.token(
        &name,
        &[
            &format!("{local}=read,write"),
            "secrets=read",
            &format!("{folder}=read"),
        ],
    );
    let vault = pair.vault(&token, &local);
    let directory = pair.vault(&token, "secrets");
    let document = pair
        .item(&token, &directory, &format!("{binary_name}.bin"))
        .expect("the binary file");
    let at = document["files"][0]["content_path"].as_str().unwrap();
    assert_eq!(pair.get(&token, at).body, content.repeat(10_000).as_bytes());
    let inlined = at.trim_end_matches("/content").to_owned() + "?inline_files=true";
    assert!([200, 413].contains(&pair.get(&token, &inlined).status));
    assert!(pair.item(&token, &directory, &stem).is_some() && pair.item(&token, &directory, &manifest_name).is_some());
    let description = markers.put("vault description");
    let described = markers.put("second vault name");
    // The command line shows the value, but this test is about the server.
    pair.command(&[
        "vault",
        "create",
        &described,
        "--description",
        &description,
        "--allow-ephemeral",
    ]);

    let target = write_all(&pair, &token, &vault, &mut markers, "first");
    let known = wait_until(|| pair.get(&token, "/v1/activity").text().contains(&name).then_some(()));
    assert!(
        known.is_some(),
        "the activity does not know the token's name: {}",
        pair.get(&token, "/v1/activity").text()
    );
    wait_for_activity(&pair, &token);
    assert_none(&markers.0, &traces(&pair), "while it runs");

    pair.kill(Process::Sync);
    pair.kill(Process::Api);
    assert_none(&markers.0, &traces(&pair), "after kill -9");

    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    assert_eq!(pair.get(&token, &target).status, 200);
    fs::write(
        secrets.join("app.env"),
        format!("KEY={}\n", markers.put("changed env value")),
    )
    .unwrap();
    let changed = markers.0.last().unwrap().text.clone();
    let seen = wait_until(|| {
        pair.item(&token, &directory, "app")
            .filter(|item| item.to_string().contains(&changed))
    });
    assert!(seen.is_some(), "the change did not arrive");
    write_all(&pair, &token, &vault, &mut markers, "second");
    wait_for_activity(&pair, &token);
    assert_none(&markers.0, &traces(&pair), "in a second run");
    pair.kill(Process::Api);
    pair.kill(Process::Sync);
    assert_none(&markers.0, &traces(&pair), "after a second kill -9");

    let log = format!("{}{}", pair.log(Process::Api), pair.log(Process::Sync));
    assert!(
        !log.contains(&token) && log.contains("\"trace\"") | log.contains("\"debug\""),
        "the log says too much, or nothing"
    );
    for (path, bytes) in files_below(&pair.path("data")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&token), "the token is in {}", path.display());
    }
}

/// The log may name files that can't be read, and must never show their content.
#[test]
fn the_log_names_bad_files_but_not_their_content() {
    let mut markers = Markers::default();
    let mut pair = ServerPair::prepare(&["--config", "{root}/sources.yaml"], &[("OP_LOG_LEVEL", "trace")]);
    let sources = "sources:\n  - directory: { path: secrets, encrypted: any }\n";
    fs::write(pair.path("sources.yaml"), sources).unwrap();
    let secrets = pair.path("secrets");
    let mut bad = |file: &str, before: &str, after: &str| {
        let marker = markers.put(file);
        fs::write(secrets.join(file), format!("{before}{marker}{after}")).unwrap();
    };
    bad("bad.yaml", "a: [", "\n");
    bad("tab.yaml", "a:\n\t- ", "\n");
    bad("key.yaml", "a: 1\na: ", "\n");
    bad("alias.yaml", "a: *", "\n");
    bad("tag.yaml", "a: !!binary ", "*\n");
    bad("scalar.yaml", "", "\n");
    bad("bad.json", "{\"a\": \"", "\n");
    bad("word.json", "{\"a\": ", "}\n");
    bad("bad.ini", "[", "\n");
    bad("bad.env", "", "\n");
    bad(
        "secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata:\n  k: \"***",
        "\"\n",
    );
    bad(
        "list.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: y}\nstringData: [",
        "]\n",
    );
    // Recipients are public, so the log may name them.
    let sealed = "sops:\n  mac: ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]\n  lastmodified: \"2026-01-01T00:00:00Z\"\n  version: 3.9.0\n  age:\n    - recipient: age1x\n      enc: ";
    bad(
        "sealed.yaml",
        &format!("a: ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]\n{sealed}"),
        "\n",
    );
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let health = wait_until(|| Some(pair.health()).filter(|health| health.to_string().contains("DEGRADED"))).unwrap();
    let message = health.to_string();
    let log = pair.log(Process::Sync);
    let named: BTreeMap<&str, bool> = [
        "bad.yaml",
        "key.yaml",
        "scalar.yaml",
        "bad.json",
        "secret.yaml",
        "sealed.yaml",
    ]
    .iter()
    .map(|file| (*file, log.contains(file)))
    .collect();
    assert!(
        named.values().all(|named| *named),
        "not all bad files are named in the log: {named:?}"
    );
    assert!(message.contains("bad.yaml"), "{message}");
    assert_none(&markers.0, &traces(&pair), "with bad files");
}

fn wait_for_activity(pair: &ServerPair, token: &str) {
    // Activity is written after the answers, and must be on the disk before the search.
    let mut last = None;
    let settled = wait_until(|| {
        let reply = pair.ask(token, "GET", "/v1/activity?limit=1", "").ok()?;
        let total = reply.header("content-range")?.split('/').nth(1)?.to_owned();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let same = last.as_ref() == Some(&total);
        last = Some(total);
        same.then_some(())
    });
    assert!(settled.is_some(), "the activity never settles");
}

/// Proves that the search of the other tests works.
#[test]
fn a_marker_is_found_in_every_form() {
    let markers = [Marker::new("a title", 7), Marker::new("a title", 8)];
    let search = Search::new(&markers);
    let form = |bytes: &[u8]| search.find(bytes).first().map(|(_, form)| *form);
    for before in ["", "x", "xy", "xyz"] {
        let text = format!("{before}{} and more", markers[0].text);
        assert_eq!(form(text.as_bytes()), Some("plain"));
        assert_eq!(form(STANDARD.encode(&text).as_bytes()), Some("base64"), "{before}");
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(form(&utf16).is_some());
        let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(form(hex.as_bytes()), Some("hex"));
    }
    assert_eq!(form(Marker::new("a title", 9).text.as_bytes()), None);
    let both = format!("{} {}", markers[1].text, markers[0].text);
    assert_eq!(search.find(both.as_bytes()).len(), 2);
}
