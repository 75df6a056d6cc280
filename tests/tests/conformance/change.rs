//! Checks 127–159: replacing, patching and deleting items.

use super::{field, login, refused, server, value};
use serde_json::{Value, json};

#[test]
fn c127_128_130_136_versions_after_a_put() {
    let server = server();
    let item = server.made(&login("replaced"));
    let path = server.path(&item);
    let mut echo = item.clone();
    echo["passwordDetails"] = json!({ "entropy": 1 });
    echo["createdAt"] = json!("0001-01-01T00:00:00Z");
    for before in 1..=2 {
        let reply = server.send("PUT", &path, &echo);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["version"], before);
        assert_eq!(server.get(&path).json()["version"], before + 1);
    }
    let missing = format!("{}/aaaaaaaaaaaaaaaaaaaaaaaaaa", server.items());
    refused(&server.send("PUT", &missing, &login("x")), 404, "not found");
}

#[test]
fn c129_a_put_without_files_removes_no_file() {
    let server = server();
    let before = server.pair.item(&server.token, &server.files, "letters.bin").unwrap();
    let path = format!("/v1/vaults/{}/items/{}", server.files, before["id"].as_str().unwrap());
    let mut echo = before.clone();
    echo.as_object_mut().unwrap().remove("files");
    refused(&server.send("PUT", &path, &echo), 403, "");
    assert_eq!(server.get(&path).json(), before);
    // Items of local vaults have no files, and a request can't add any.
    let mut item = login("filed");
    item["files"] = before["files"].clone();
    let made = server.made(&item);
    assert!(
        made.get("files").is_none_or(|files| files == &serde_json::json!([])),
        "{made}"
    );
    assert_eq!(server.get(&format!("{}/files", server.path(&made))).text(), "[]");
}

#[test]
fn c131_132_134_135_140_141_members_of_a_put() {
    let server = server();
    let mut said = login("said");
    said["favorite"] = json!(true);
    let item = server.made(&said);
    assert_eq!(item["favorite"], true);
    let path = server.path(&item);
    let mut next = json!({
        "title": "said", "category": "LOGIN", "tags": ["b", "a"],
        "fields": [{ "id": "password", "value": "second" }],
    });
    assert_eq!(server.send("PUT", &path, &next).status, 200);
    let read = server.get(&path).json();
    assert!(field(&read, "username").is_none(), "{read}");
    let password = field(&read, "password").unwrap();
    assert_eq!(
        (&password["type"], &password["purpose"]),
        (&json!("CONCEALED"), &json!("PASSWORD"))
    );
    assert_eq!(read["tags"], json!(["b", "a"]));
    assert_ne!(read["favorite"], true);
    next["id"] = json!("aaaaaaaaaaaaaaaaaaaaaaaaaa");
    refused(&server.send("PUT", &path, &next), 400, "");
}

#[test]
fn c138_concurrent_puts_cause_no_server_error() {
    let server = server();
    let item = server.made(&login("raced"));
    let path = server.path(&item);
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| server.send("PUT", &path, &login("raced"))))
            .collect();
        for racer in racers {
            let reply = racer.join().unwrap();
            assert!(matches!(reply.status, 200 | 409), "{}", reply.text());
        }
    });
}

#[test]
fn c139_a_changed_password_leaves_the_old_one_in_the_history() {
    let server = server();
    let item = server.made(&login("history"));
    let path = server.path(&item);
    for next in ["second", "third"] {
        let mut echo = server.get(&path).json();
        echo["fields"][1]["value"] = json!(next);
        assert_eq!(echo["fields"][1]["id"], "password");
        assert_eq!(server.send("PUT", &path, &echo).status, 200);
    }
    let read = server.get(&path).json();
    assert_eq!(value(&read, "password"), "third");
    let details = &field(&read, "password").unwrap()["passwordDetails"];
    assert_eq!(details["history"], json!(["second", "first"]), "{read}");
    for (version, was) in [(1, "first"), (2, "second"), (3, "third")] {
        let then = server.get(&format!("{path}?version={version}")).json();
        assert_eq!(
            (value(&then, "password").as_str(), &then["version"]),
            (was, &json!(version))
        );
    }
}

#[test]
fn c142_143_144_145_146_147_148_154_patches() {
    let server = server();
    let mut item = login("patched");
    item["tags"] = json!(["a", "b", "c"]);
    item["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "id": "a/b~c", "label": "odd", "value": "1" }));
    let path = server.path(&server.made(&item));
    let patch = |operations: Value| {
        let reply = server.send("PATCH", &path, &operations);
        assert_eq!(reply.status, 200, "{operations}: {}", reply.text());
        server.get(&path).json()
    };
    let one = |op: &str, path: &str, value: Value| json!([{ "op": op, "path": path, "value": value }]);
    assert_eq!(patch(json!([]))["version"], 1);
    let read = patch(one("replace", "/title", json!("patched twice")));
    assert_eq!(
        (read["title"].as_str(), value(&read, "password")),
        (Some("patched twice"), "first".to_owned())
    );
    assert_eq!(
        value(
            &patch(one("replace", "/fields/password/value", json!("new"))),
            "password"
        ),
        "new"
    );
    let read = patch(one(
        "add",
        "/fields",
        json!({ "label": "added", "type": "STRING", "value": "v" }),
    ));
    let added = read["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["label"] == "added")
        .unwrap();
    assert!(added["id"].as_str().is_some_and(|id| !id.is_empty()));
    assert!(
        field(
            &patch(json!([{ "op": "remove", "path": "/fields/username" }])),
            "username"
        )
        .is_none()
    );
    assert_eq!(
        patch(json!([{ "op": "remove", "path": "/tags/1" }]))["tags"],
        json!(["a", "c"])
    );
    assert_eq!(
        value(&patch(one("replace", "/fields/a~1b~0c/value", json!("2"))), "a/b~c"),
        "2"
    );
    assert_eq!(patch(one("replace", "/", login("as put")))["title"], "as put");
}

#[test]
fn c214_members_that_a_client_can_set_can_be_cleared() {
    let server = server();
    let mut full = login("cleared");
    full["tags"] = json!(["a"]);
    full["urls"] = json!([{ "href": "https://a.example", "label": "web" }]);
    full["sections"] = json!([{ "id": "s", "label": "Extra" }]);
    let fields = full["fields"].as_array_mut().unwrap();
    fields.push(json!({ "id": "pin", "label": "PIN", "value": "1", "section": { "id": "s" } }));
    let path = server.path(&server.made(&full));
    let write = |method: &str, body: &Value| {
        let reply = server.send(method, &path, body);
        assert_eq!(reply.status, 200, "{method} {body}: {}", reply.text());
        server.get(&path).json()
    };
    let labels = |item: &Value| {
        let pin = field(item, "pin").unwrap();
        (item["sections"][0]["label"].clone(), pin["section"]["label"].clone())
    };
    let (none, extra) = ((json!(""), Value::Null), (json!("Extra"), json!("Extra")));

    // To clear a label, Terraform 3.3.1 leaves it out of `sections`. The label may still be in the field's `section`.
    let mut put = full.clone();
    for declared in [json!({ "id": "s" }), json!({ "id": "s", "label": "" })] {
        assert_eq!(labels(&write("PUT", &full)), extra);
        put["sections"] = json!([declared]);
        for named in [json!({ "id": "s" }), json!({ "id": "s", "label": "Extra" })] {
            put["fields"].as_array_mut().unwrap().last_mut().unwrap()["section"] = named;
            assert_eq!(labels(&write("PUT", &put)), none, "{put}");
            assert_eq!(labels(&write("PUT", &full)), extra);
        }
    }
    for operation in [
        json!({ "op": "remove", "path": "/sections/s/label" }),
        json!({ "op": "replace", "path": "/sections/s/label", "value": "" }),
        json!({ "op": "replace", "path": "/sections/s", "value": { "id": "s" } }),
    ] {
        assert_eq!(labels(&write("PATCH", &json!([operation]))), none, "{operation}");
        assert_eq!(labels(&write("PUT", &full)), extra);
    }
    let item = write(
        "PATCH",
        &json!([
            { "op": "replace", "path": "/tags", "value": null },
            { "op": "replace", "path": "/urls/0", "value": { "href": "https://a.example" } },
            { "op": "remove", "path": "/fields/pin/label" },
            { "op": "replace", "path": "/fields/pin/value", "value": "" },
            { "op": "remove", "path": "/fields/pin/section" },
        ]),
    );
    let pin = field(&item, "pin").unwrap();
    assert_eq!(
        (&pin["label"], &pin["value"], &pin["section"]),
        (&json!(""), &json!(""), &Value::Null)
    );
    assert_eq!((&item["tags"], &item["urls"][0]["label"]), (&Value::Null, &Value::Null));
}

#[test]
fn c149_150_151_152_153_155_patches_that_are_refused() {
    let server = server();
    let item = server.made(&login("unpatched"));
    let path = server.path(&item);
    for body in [
        json!({ "op": "replace", "path": "/title", "value": "x" }),
        json!([{ "op": "replace", "path": "title", "value": "x" }]),
        json!([{ "op": "test", "path": "/title", "value": "x" }]),
        json!([{ "op": "move", "from": "/title", "path": "/tags/0" }]),
        json!([{ "op": "copy", "from": "/title", "path": "/tags/0" }]),
        json!([{ "op": "replace", "path": "/title", "value": "x" }, { "op": "replace", "path": "/nowhere", "value": 1 }]),
        json!([{ "op": "replace", "path": "/fields/unknown/value", "value": "x" }]),
    ] {
        refused(&server.send("PATCH", &path, &body), 400, "");
    }
    for member in [
        "id",
        "version",
        "vault",
        "vault/id",
        "createdAt",
        "updatedAt",
        "lastEditedBy",
        "state",
        "files",
    ] {
        for op in ["add", "replace", "remove"] {
            let body = json!([{ "op": op, "path": format!("/{member}"), "value": "x" }]);
            refused(&server.send("PATCH", &path, &body), 400, "");
        }
    }
    // No operation of a refused PATCH was executed.
    assert_eq!(server.get(&path).json(), item);
}

#[test]
fn c156_157_deleting() {
    let server = server();
    let path = server.path(&server.made(&login("deleted")));
    let reply = server.delete(&path);
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    refused(&server.get(&path), 404, "not found");
    refused(&server.delete(&path), 404, "not found");
}

#[test]
fn c158_concurrent_deletes_and_writes_cause_no_server_error() {
    let server = server();
    let path = server.path(&server.made(&login("contested")));
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..12)
            .map(|n| {
                let (server, path) = (&server, &path);
                scope.spawn(move || match n % 3 {
                    0 => ("DELETE", server.delete(path)),
                    1 => ("PUT", server.send("PUT", path, &login("contested"))),
                    _ => (
                        "PATCH",
                        server.send(
                            "PATCH",
                            path,
                            &json!([{ "op": "replace", "path": "/title", "value": "c" }]),
                        ),
                    ),
                })
            })
            .collect();
        let replies: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
        for (method, reply) in &replies {
            match (*method, reply.status) {
                ("DELETE", 204) | ("PUT" | "PATCH", 200) => {}
                (_, status) => {
                    assert!(matches!(status, 404 | 409), "{method}: {}", reply.text());
                    refused(reply, status, "");
                }
            }
        }
        let deleted = replies.iter().filter(|(_, reply)| reply.status == 204).count();
        assert_eq!(deleted, 1, "a deletion is done once");
    });
    refused(&server.get(&path), 404, "not found");
}

#[test]
fn c159_an_ssh_key_survives_being_sent_back() {
    let server = server();
    let made = server.made(&json!({
        "title": "key",
        "category": "SSH_KEY",
        "sections": [{ "id": "s", "label": "Keys" }],
        "fields": [
            { "id": "private_key", "type": "SSHKEY", "label": "private key", "value": "-----BEGIN-----\nk\n", "section": { "id": "s" } },
            { "id": "public_key", "type": "STRING", "label": "public key", "value": "ssh-ed25519 AAAA" },
        ],
    }));
    let key = field(&made, "private_key").unwrap();
    assert_eq!(key["type"], "SSHKEY");
    // The item is sent back completely, and with nothing but ids, labels and values in its fields.
    let mut poor = made.clone();
    for field in poor["fields"].as_array_mut().unwrap() {
        field
            .as_object_mut()
            .unwrap()
            .retain(|member, _| ["id", "label", "value", "section"].contains(&member.as_str()));
    }
    for (n, mut echo) in [made.clone(), poor].into_iter().enumerate() {
        let title = format!("key, renamed {n}");
        echo["title"] = json!(title);
        assert_eq!(server.send("PUT", &server.path(&made), &echo).status, 200);
        let read = server.get(&server.path(&made)).json();
        assert_eq!((&read["title"], &read["category"]), (&json!(title), &json!("SSH_KEY")));
        assert_eq!(read["fields"], made["fields"]);
        assert_eq!(read["sections"], made["sections"]);
    }
}
