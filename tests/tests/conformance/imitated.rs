//! Checks 207–213, with raw requests in place of programs that are not run here. Each test sends the client's requests in the
//! client's order, and asserts what the client needs in the answers.

use super::{TestServer, encoded, field, login, server, titles, value};
use serde_json::{Value, json};
use sidevault_tests::wire::{Reply, Request, exchange};

/// A client with its own ways: all of them send a JSON type, bodies or not.
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

    /// The Go SDK's way from a name to a vault or an item: a filter on `title`, spaces as `+`.
    fn titled(&self, path: &str, title: &str) -> Value {
        self.get(&format!(
            "{path}?filter=title+eq+%22{}%22",
            encoded(title).replace("%20", "+")
        ))
    }
}

/// What the Go SDK sends of an item: always an id, the vault and times, however empty.
fn go(server: &TestServer, mut item: Value) -> Value {
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
    let planned = go(
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
        // It polls until it sees version 1 exactly.
        assert_eq!(client.get(&server.path(&made))["version"], 1);
        made
    };
    let made = create();
    let path = server.path(&made);
    // State is written from the answer: all that was planned is in it, and what was made.
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
    // A date that is no integer fails the plan.
    assert_eq!(value(&made, "3d3a9f0a-7a3e-4c0e-8b3c-2f6f5a1d9b77"), "1714737660");
    // Update: it computes the answer's version + 1, and fails with `condition not met` if that never comes.
    for host in ["db-2", "db-2"] {
        let mut next = client.get(&path);
        next["fields"][2]["value"] = json!(host);
        let answer = client.ask("PUT", &path, Some(&go(&server, next)));
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
    // Taint: deleted, then polled until 404; made anew with another id and password.
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
    // item_info puts whatever it was given where ids belong. It goes on from 400 and 404 only.
    let by_name = client.ask("GET", &format!("/v1/vaults/apps/items/{}", encoded(title)), None);
    assert_eq!((by_name.status, &by_name.json()["id"]), (200, &made["id"]));
    let unknown = client.ask("GET", "/v1/vaults/no-such-vault/items/x", None);
    assert_eq!((unknown.status, &unknown.json()["status"]), (400, &json!(400)));
    let listed = client.ask("GET", "/v1/vaults/no-such-vault/items?filter=title+eq+%22x%22", None);
    assert_eq!((listed.status, &listed.json()["status"]), (400, &json!(400)));
    // Then it lists the vaults, compares their names itself, and filters by title.
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
    let hits = client.titled(&items, title);
    assert_eq!(titles(&hits, "id"), [made["id"].as_str().unwrap()]);
    let item = client.get(&format!("{items}/{}", hits[0]["id"].as_str().unwrap()));
    for field in item["fields"].as_array().unwrap() {
        // It indexes these, and dies of a section that is null.
        assert!(field["label"].is_string() && field["value"].is_string(), "{field}");
        assert!(field.get("section").is_none_or(Value::is_object), "{field}");
    }
    // generic_item: nulls where there is nothing, and 404 is "nothing to do" for a deletion.
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
    // By names of another case: the vault's title filter always comes first.
    let vaults = client.titled("/v1/vaults", "SECRETS");
    assert_eq!(titles(&vaults, "name"), ["secrets"]);
    let vault = vaults[0]["id"].as_str().unwrap().to_owned();
    let items = format!("/v1/vaults/{vault}/items");
    let hits = client.titled(&items, "Letters.BIN");
    assert_eq!(titles(&hits, "title"), ["letters.bin"]);
    let id = hits[0]["id"].as_str().unwrap().to_owned();
    let by_name = client.get(&format!("{items}/{id}"));
    // By ids: of what the filter finds it takes what has that name, which none has, so it is used as an id.
    assert!(!titles(&client.titled("/v1/vaults", &vault), "name").contains(&vault));
    assert_eq!(client.get(&format!("{items}/{id}")), by_name);
    // Updates are a matter of versions: nothing was written, so nothing may seem to have changed.
    assert_eq!(client.get(&format!("{items}/{id}"))["version"], by_name["version"]);
    // It builds the file's path itself, and retries only on 500.
    let file = &by_name["files"][0];
    assert_eq!(file["name"], "letters.bin");
    let content = client.ask(
        "GET",
        &format!("{items}/{id}/files/{}/content", file["id"].as_str().unwrap()),
        None,
    );
    assert_eq!((content.status, content.text().as_str()), (200, super::files::LETTERS));
    // The Secret's keys are labels, of fields that hold something.
    let item = server.made(&login("operator"));
    for (key, wanted) in [("username", "ada"), ("password", "first")] {
        assert!(titles(&item["fields"], "label").contains(&key.to_owned()), "{item}");
        assert_eq!(value(&item, key), wanted);
    }
    // Of twins it takes the oldest; which that is must not depend on the day.
    server.made(&login("operator"));
    let twins = client.titled(&server.items(), "operator");
    assert_eq!(twins.as_array().map(Vec::len), Some(2));
    for _ in 0..5 {
        assert_eq!(client.titled(&server.items(), "operator"), twins);
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
    let vaults = client.titled("/v1/vaults", "apps");
    let items = format!("/v1/vaults/{}/items", vaults[0]["id"].as_str().unwrap());
    let written = client.ask("POST", &items, Some(&go(&server, login("plugin"))));
    assert_eq!(written.status, 200, "{}", written.text());
    // List.
    let list = client.get(&items);
    assert!(titles(&list, "title").contains(&"plugin".to_owned()));
    // Read: the filter, then one request a hit.
    let hit = client.titled(&items, "plugin");
    assert_eq!(
        (hit.as_array().map(Vec::len), &hit[0]["vault"]["id"]),
        (Some(1), &json!(server.own))
    );
    let read = client.get(&format!("{items}/{}", hit[0]["id"].as_str().unwrap()));
    assert_eq!(value(&read, "password"), "first");
    // Write again, by the item's own ids.
    let mut next = read.clone();
    next["fields"][1]["value"] = json!("second");
    let path = format!(
        "/v1/vaults/{}/items/{}",
        read["vault"]["id"].as_str().unwrap(),
        read["id"].as_str().unwrap()
    );
    assert_eq!(client.ask("PUT", &path, Some(&go(&server, next))).status, 200);
    let read = client.get(&path);
    assert_eq!(value(&read, "password"), "second");
    assert_eq!(field(&read, "password").unwrap()["purpose"], "PASSWORD");
    // Delete.
    assert_eq!(client.ask("DELETE", &path, None).status, 204);
    assert_eq!(client.titled(&items, "plugin"), json!([]));
}
