//! Checks 207–213. The programs themselves are not run: each test sends a program's requests in the program's order, and
//! asserts what the program needs in the responses.

use super::{TestServer, encoded, field, login, server, titles, value};
use serde_json::{Value, json};
use sidevault_tests::wire::{Reply, Request, exchange};

/// Sends requests as these programs do, with JSON's content type even if there is no body.
struct Client<'a> {
    server: &'a TestServer,
    agent: &'static str,
}

impl Client<'_> {
    fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Reply {
        let mut request = Request::new(method, target)
            .bearer(&self.server.token)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .header("User-Agent", self.agent);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        exchange(self.server.pair.address(), &request.bytes()).unwrap()
    }

    fn get(&self, target: &str) -> Value {
        let reply = self.ask("GET", target, None);
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply.json()
    }

    /// Looks up a vault or an item by name as the Go SDK does, with a filter on `title` and spaces as `+`.
    fn find_by_title(&self, path: &str, title: &str) -> Value {
        self.get(&format!(
            "{path}?filter=title+eq+%22{}%22",
            encoded(title).replace("%20", "+")
        ))
    }
}

/// The item as the Go SDK sends it, with id, vault and times even if they are empty.
fn as_go_sdk_sends(server: &TestServer, mut item: Value) -> Value {
    for (member, sent) in [
        ("id", json!("")),
        ("vault", json!({ "id": server.own })),
        ("createdAt", json!("0001-01-01T00:00:00Z")),
        ("updatedAt", json!("0001-01-01T00:00:00Z")),
    ] {
        let known = item.get(member).filter(|known| !known.is_null()).cloned();
        item[member] = known.unwrap_or(sent);
    }
    item
}

#[test]
fn c207_terraform() {
    let server = server();
    let client = Client {
        server: &server,
        agent: "terraform-provider-onepassword/3.3.1",
    };
    let items = server.items();
    let planned = as_go_sdk_sends(
        &server,
        json!({
            "title": "terraform", "category": "DATABASE", "tags": ["b", "a"],
            "urls": [{ "href": "https://db.example", "primary": true }],
            "sections": [{ "id": "6a0e7c3e-9c0b-4a55-8a9e-1d1f2f0d8a10", "label": "Rotation" }],
            "fields": [
                { "id": "username", "label": "username", "purpose": "USERNAME", "type": "STRING", "value": "ada" },
                { "id": "password", "label": "password", "purpose": "PASSWORD", "type": "CONCEALED", "generate": true,
                  "recipe": { "length": 40, "characterSets": ["LETTERS", "DIGITS"] } },
                { "id": "hostname", "label": "hostname", "type": "STRING", "value": "db" },
                { "id": "3d3a9f0a-7a3e-4c0e-8b3c-2f6f5a1d9b77", "label": "due", "type": "DATE", "value": "1714737660",
                  "section": { "id": "6a0e7c3e-9c0b-4a55-8a9e-1d1f2f0d8a10", "label": "Rotation" } },
            ],
        }),
    );
    let create = || {
        let made = client.ask("POST", &items, Some(&planned));
        assert_eq!(made.status, 200, "{}", made.text());
        let made = made.json();
        // The provider polls until the version is 1.
        assert_eq!(client.get(&server.path(&made))["version"], 1);
        made
    };
    let made = create();
    let path = server.path(&made);
    // The provider writes its state from the response, so it must contain the planned and the generated values.
    let password = value(&made, "password");
    assert!(
        password.len() == 40 && password.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{password}"
    );
    for member in ["title", "category", "tags", "urls"] {
        assert_eq!(made[member], planned[member]);
    }
    for (sent, kept) in planned["fields"]
        .as_array()
        .unwrap()
        .iter()
        .zip(made["fields"].as_array().unwrap())
    {
        for member in ["id", "label", "type"] {
            assert_eq!(kept[member], sent[member]);
        }
        assert_eq!(kept["section"]["id"], sent["section"]["id"]);
    }
    // The provider fails if a date is no integer.
    assert_eq!(value(&made, "3d3a9f0a-7a3e-4c0e-8b3c-2f6f5a1d9b77"), "1714737660");
    // Update: the provider polls until the version is that of PUT's response plus 1, else it fails with `condition not met`.
    for host in ["db-2", "db-2"] {
        let mut next = client.get(&path);
        next["fields"][2]["value"] = json!(host);
        let answer = client.ask("PUT", &path, Some(&as_go_sdk_sends(&server, next)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let read = client.get(&path);
        assert_eq!(
            read["version"].as_u64().unwrap(),
            answer.json()["version"].as_u64().unwrap() + 1
        );
        assert_eq!(
            (value(&read, "hostname").as_str(), value(&read, "password")),
            (host, password.clone())
        );
    }
    // Taint: the provider deletes the item, polls until 404, and creates another one.
    assert_eq!(client.ask("DELETE", &path, None).status, 204);
    let gone = client.ask("GET", &path, None);
    assert_eq!(gone.status, 404);
    assert!(gone.text().contains("not found"));
    let again = create();
    assert_ne!(again["id"], made["id"]);
    assert_ne!(value(&again, "password"), password);
    assert_eq!(client.ask("DELETE", &server.path(&again), None).status, 204);
}

#[test]
fn c208_ansible() {
    let server = server();
    let client = Client {
        server: &server,
        agent: "op-connect-ansible/2.4.0 Python/3.12 Ansible/2.17",
    };
    let title = "ansible, by name";
    let made = server.made(&login(title));
    // item_info first uses names as if they were ids, and goes on only after 400 or 404.
    let by_name = client.ask("GET", &format!("/v1/vaults/apps/items/{}", encoded(title)), None);
    assert_eq!((by_name.status, &by_name.json()["id"]), (200, &made["id"]));
    let unknown = client.ask("GET", "/v1/vaults/no-such-vault/items/x", None);
    assert_eq!((unknown.status, &unknown.json()["status"]), (400, &json!(400)));
    let listed = client.ask("GET", "/v1/vaults/no-such-vault/items?filter=title+eq+%22x%22", None);
    assert_eq!((listed.status, &listed.json()["status"]), (400, &json!(400)));
    // Then it lists the vaults, compares their names, and filters items by title.
    let vaults = client.get("/v1/vaults");
    let vault = vaults
        .as_array()
        .unwrap()
        .iter()
        .find(|vault| vault["name"] == "apps")
        .unwrap();
    let items = format!("/v1/vaults/{}/items", vault["id"].as_str().unwrap());
    let unknown = client.ask("GET", &format!("{items}/no-such-title"), None);
    assert!(matches!(unknown.json()["status"].as_u64(), Some(400 | 404)));
    let hits = client.find_by_title(&items, title);
    assert_eq!(titles(&hits, "id"), [made["id"].as_str().unwrap()]);
    let item = client.get(&format!("{items}/{}", hits[0]["id"].as_str().unwrap()));
    for field in item["fields"].as_array().unwrap() {
        // It reads these members without a check, and fails if `section` is null.
        assert!(field["label"].is_string() && field["value"].is_string(), "{field}");
        assert!(field.get("section").is_none_or(Value::is_object), "{field}");
    }
    // generic_item sends null for missing members, and takes 404 on a deletion for success.
    let sent = json!({ "title": "ansible, made", "category": "PASSWORD", "vault": { "id": server.own }, "fields": [
        { "label": "pw", "type": "CONCEALED", "purpose": "PASSWORD", "value": null, "generate": true,
          "recipe": { "length": 20, "characterSets": ["DIGITS"] }, "section": { "id": null } } ] });
    let made = client.ask("POST", &items, Some(&sent));
    assert_eq!(made.status, 200, "{}", made.text());
    let path = server.path(&made.json());
    assert_eq!(made.json()["fields"][0]["value"].as_str().map(str::len), Some(20));
    assert_eq!(client.ask("DELETE", &path, None).status, 204);
    assert_eq!(client.ask("DELETE", &path, None).json()["status"], 404);
}

#[test]
fn c209_operator() {
    let server = server();
    let client = Client {
        server: &server,
        agent: "onepassword-operator/1.12.0",
    };
    // Vault and item are named, in another case. The operator filters vaults by title first.
    let vaults = client.find_by_title("/v1/vaults", "SECRETS");
    assert_eq!(titles(&vaults, "name"), ["secrets"]);
    let vault = vaults[0]["id"].as_str().unwrap().to_owned();
    let items = format!("/v1/vaults/{vault}/items");
    let hits = client.find_by_title(&items, "Letters.BIN");
    assert_eq!(titles(&hits, "title"), ["letters.bin"]);
    let id = hits[0]["id"].as_str().unwrap().to_owned();
    let by_name = client.get(&format!("{items}/{id}"));
    // Vault and item are given by id. The operator filters by title all the same; as no vault has this name, it takes the
    // value for an id.
    assert!(!titles(&client.find_by_title("/v1/vaults", &vault), "name").contains(&vault));
    assert_eq!(client.get(&format!("{items}/{id}")), by_name);
    // The operator updates its Secret when the version changes, so reads must not change it.
    assert_eq!(client.get(&format!("{items}/{id}"))["version"], by_name["version"]);
    // It builds the path of the file's content itself.
    let file = &by_name["files"][0];
    assert_eq!(file["name"], "letters.bin");
    let content = client.ask(
        "GET",
        &format!("{items}/{id}/files/{}/content", file["id"].as_str().unwrap()),
        None,
    );
    assert_eq!((content.status, content.text().as_str()), (200, super::files::LETTERS));
    // The keys of its Secret are the labels of fields with a value.
    let item = server.made(&login("operator"));
    for (key, wanted) in [("username", "ada"), ("password", "first")] {
        assert!(titles(&item["fields"], "label").contains(&key.to_owned()), "{item}");
        assert_eq!(value(&item, key), wanted);
    }
    // Of items with equal titles it takes the oldest, so the order must not change.
    server.made(&login("operator"));
    let twins = client.find_by_title(&server.items(), "operator");
    assert_eq!(twins.as_array().map(Vec::len), Some(2));
    for _ in 0..5 {
        assert_eq!(client.find_by_title(&server.items(), "operator"), twins);
    }
    let times = titles(&twins, "createdAt");
    assert!(times[0] <= times[1], "{times:?}");
}

#[test]
fn c213_vault_plugin() {
    let server = server();
    let client = Client {
        server: &server,
        agent: "connect-sdk-go/1.5.3",
    };
    let vaults = client.find_by_title("/v1/vaults", "apps");
    let items = format!("/v1/vaults/{}/items", vaults[0]["id"].as_str().unwrap());
    let written = client.ask("POST", &items, Some(&as_go_sdk_sends(&server, login("plugin"))));
    assert_eq!(written.status, 200, "{}", written.text());
    // List.
    let list = client.get(&items);
    assert!(titles(&list, "title").contains(&"plugin".to_owned()));
    // Read: the filter, then one request a hit.
    let hit = client.find_by_title(&items, "plugin");
    assert_eq!(
        (hit.as_array().map(Vec::len), &hit[0]["vault"]["id"]),
        (Some(1), &json!(server.own))
    );
    let read = client.get(&format!("{items}/{}", hit[0]["id"].as_str().unwrap()));
    assert_eq!(value(&read, "password"), "first");
    // Write again, with the ids of the item.
    let mut next = read.clone();
    next["fields"][1]["value"] = json!("second");
    let path = format!(
        "/v1/vaults/{}/items/{}",
        read["vault"]["id"].as_str().unwrap(),
        read["id"].as_str().unwrap()
    );
    assert_eq!(
        client.ask("PUT", &path, Some(&as_go_sdk_sends(&server, next))).status,
        200
    );
    let read = client.get(&path);
    assert_eq!(value(&read, "password"), "second");
    assert_eq!(field(&read, "password").unwrap()["purpose"], "PASSWORD");
    // Delete.
    assert_eq!(client.ask("DELETE", &path, None).status, 204);
    assert_eq!(client.find_by_title(&items, "plugin"), json!([]));
}
