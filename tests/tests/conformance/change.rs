//! Checks 127–159: replacing, patching and deleting items.

use super::{field, login, refused, value, world};
use serde_json::{Value, json};

#[test]
fn c127_128_130_136_versions_of_a_replaced_item() {
    let world = world();
    let item = world.made(&login("replaced"));
    let path = world.path(&item);
    let mut echo = item.clone();
    echo["passwordDetails"] = json!({ "entropy": 1 });
    echo["createdAt"] = json!("0001-01-01T00:00:00Z");
    for before in 1..=2 {
        let reply = world.send("PUT", &path, &echo);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["version"], before);
        assert_eq!(world.get(&path).json()["version"], before + 1);
    }
    let missing = format!("{}/aaaaaaaaaaaaaaaaaaaaaaaaaa", world.items());
    refused(&world.send("PUT", &missing, &login("x")), 404, "not found");
}

#[test]
fn c131_132_134_135_140_141_what_a_replacement_says_counts() {
    let world = world();
    let mut said = login("said");
    said["favorite"] = json!(true);
    let item = world.made(&said);
    assert_eq!(item["favorite"], true);
    let path = world.path(&item);
    let mut next = json!({
        "title": "said", "category": "LOGIN", "tags": ["b", "a"],
        "fields": [{ "id": "password", "value": "second" }],
    });
    assert_eq!(world.send("PUT", &path, &next).status, 200);
    let read = world.get(&path).json();
    assert!(field(&read, "username").is_none(), "{read}");
    let password = field(&read, "password").unwrap();
    assert_eq!(
        (&password["type"], &password["purpose"]),
        (&json!("CONCEALED"), &json!("PASSWORD"))
    );
    assert_eq!(read["tags"], json!(["b", "a"]));
    assert_ne!(read["favorite"], true);
    next["id"] = json!("aaaaaaaaaaaaaaaaaaaaaaaaaa");
    refused(&world.send("PUT", &path, &next), 400, "");
}

#[test]
fn c138_replacing_at_once_is_never_a_fault() {
    let world = world();
    let item = world.made(&login("raced"));
    let path = world.path(&item);
    std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| world.send("PUT", &path, &login("raced"))))
            .collect();
        for racer in racers {
            let reply = racer.join().unwrap();
            assert!(matches!(reply.status, 200 | 409), "{}", reply.text());
        }
    });
}

#[test]
fn c142_143_144_145_146_147_148_154_patches() {
    let world = world();
    let mut item = login("patched");
    item["tags"] = json!(["a", "b", "c"]);
    item["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "id": "a/b~c", "label": "odd", "value": "1" }));
    let path = world.path(&world.made(&item));
    let patch = |operations: Value| {
        let reply = world.send("PATCH", &path, &operations);
        assert_eq!(reply.status, 200, "{operations}: {}", reply.text());
        world.get(&path).json()
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
fn c149_150_151_152_153_155_patches_that_are_refused() {
    let world = world();
    let item = world.made(&login("unpatched"));
    let path = world.path(&item);
    for body in [
        json!({ "op": "replace", "path": "/title", "value": "x" }),
        json!([{ "op": "replace", "path": "title", "value": "x" }]),
        json!([{ "op": "test", "path": "/title", "value": "x" }]),
        json!([{ "op": "move", "from": "/title", "path": "/tags/0" }]),
        json!([{ "op": "copy", "from": "/title", "path": "/tags/0" }]),
        json!([{ "op": "replace", "path": "/title", "value": "x" }, { "op": "replace", "path": "/nowhere", "value": 1 }]),
        json!([{ "op": "replace", "path": "/fields/unknown/value", "value": "x" }]),
    ] {
        refused(&world.send("PATCH", &path, &body), 400, "");
    }
    for member in ["id", "version", "vault", "createdAt"] {
        let body = json!([{ "op": "replace", "path": format!("/{member}"), "value": "x" }]);
        let status = world.send("PATCH", &path, &body).status;
        assert!(matches!(status, 200 | 400), "{member}: {status}");
        assert_eq!(world.get(&path).json()[member], item[member]);
    }
    assert_eq!(world.get(&path).json()["title"], "unpatched");
}

#[test]
fn c156_157_deleting() {
    let world = world();
    let path = world.path(&world.made(&login("deleted")));
    let reply = world.delete(&path);
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    refused(&world.get(&path), 404, "not found");
    refused(&world.delete(&path), 404, "not found");
}

#[test]
fn c159_a_key_survives_an_echo() {
    let world = world();
    let mut item = world.made(&json!({ "title": "key", "category": "SSH_KEY", "fields": [
        { "id": "private_key", "type": "SSHKEY", "label": "private key", "value": "k" } ] }));
    let before = field(&item, "private_key").unwrap().clone();
    item["title"] = json!("key, renamed");
    assert_eq!(world.send("PUT", &world.path(&item), &item).status, 200);
    let read = world.get(&world.path(&item)).json();
    assert_eq!(field(&read, "private_key").unwrap()["type"], before["type"]);
    assert_eq!(read["title"], "key, renamed");
}
