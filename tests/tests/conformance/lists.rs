//! Checks 58–78: item lists and filters.

use std::collections::BTreeSet;
use std::fs;

use super::{encoded, login, refused, server, titles};
use serde_json::Value;
use sidevault_tests::pair::{Process, ServerPair, wait_until};

#[test]
fn c058_summaries_have_no_fields() {
    let server = server();
    server.made(&login("listed"));
    let list = server.get(&server.items()).json();
    for item in list.as_array().unwrap() {
        assert_eq!(item["vault"]["id"], server.own);
        assert!(item.get("fields").is_none() && item.get("sections").is_none(), "{item}");
    }
}

#[test]
fn c059_061_062_063_item_filters() {
    let server = server();
    let mut tagged = login("needle in hay");
    tagged["tags"] = serde_json::json!(["tagged-063"]);
    server.made(&tagged);
    assert_eq!(server.found("title eq \"needle in hay\"").len(), 1);
    assert_eq!(server.found("title co \"dle in h\""), ["needle in hay"]);
    assert_eq!(server.found("tag eq \"tagged-063\""), ["needle in hay"]);
    assert_eq!(server.found("title eq \"no such thing\"").len(), 0);
}

#[test]
fn c060_items_with_equal_titles_are_listed_oldest_first() {
    let server = server();
    let first = server.made(&login("twin"));
    let mut made = vec![first["id"].clone()];
    // Times are in seconds, so items are created until one is younger than the first.
    let last = wait_until(|| {
        let twin = server.made(&login("twin"));
        made.push(twin["id"].clone());
        (twin["createdAt"] != first["createdAt"]).then_some(twin)
    });
    let last = last.unwrap();
    let ids = |list: &Value| {
        list.as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].clone())
            .collect::<Vec<_>>()
    };
    let twins = || {
        server
            .get(&format!("{}?filter=title+eq+%22twin%22", server.items()))
            .json()
    };
    let found = twins();
    assert!(titles(&found, "createdAt").is_sorted(), "{found}");
    let found = ids(&found);
    assert_eq!(found.last(), Some(&last["id"]));
    assert!(found.len() == made.len() && made.iter().all(|id| found.contains(id)));
    assert_eq!(ids(&twins()), found);
    // The list without a filter has the same order.
    assert!(titles(&server.get(&server.items()).json(), "createdAt").is_sorted());
}

#[test]
fn c064_065_066_069_titles_with_special_characters_are_found() {
    let server = server();
    for title in [
        "say \"hi\" twice",
        "back\\slash",
        "it's",
        "R&D #1 + x",
        "🔑 Schlüssel",
        "u\u{308}ber",
    ] {
        server.made(&login(title));
        assert_eq!(server.found(&format!("title eq \"{title}\"")), [title]);
    }
}

#[test]
fn c067_068_072_073_074_075_malformed_empty_and_long_filters() {
    let server = server();
    let ask = |query: &str| server.get(&format!("{}?{query}", server.items()));
    refused(&ask("filter=%22"), 400, "");
    refused(&ask("filter=title+eq+%22R"), 400, "");
    assert_eq!(ask("filter=").status, 200);
    assert!(ask("filter=title+eq+%22a%22&filter=title+eq+%22b%22").status < 500);
    server.made(&login("either one"));
    let hits = server.found("(title eq \"either one\" or title eq \"zzz\") and category eq \"LOGIN\"");
    assert_eq!(hits, ["either one"]);
    let long = encoded(&format!("title eq \"{}\"", "x".repeat(5000)));
    assert!(ask(&format!("filter={long}")).status < 500);
}

#[test]
fn c070_a_title_in_the_form_of_an_id_is_found_by_filter() {
    let server = server();
    let title = "zyxwvutsrqponmlkjihgfedcba";
    server.made(&login(title));
    refused(&server.get(&format!("{}/{title}", server.items())), 404, "not found");
    assert_eq!(server.found(&format!("title eq \"{title}\"")), [title]);
}

#[test]
fn c071_nothing_archives_an_item_and_lists_hold_no_archived_ones() {
    let server = server();
    let mut item = login("archived?");
    item["state"] = serde_json::json!("ARCHIVED");
    let made = server.made(&item);
    assert_eq!(server.send("PUT", &server.path(&made), &item).status, 200);
    let patch = serde_json::json!([{ "op": "add", "path": "/state", "value": "ARCHIVED" }]);
    refused(&server.send("PATCH", &server.path(&made), &patch), 400, "");
    assert!(server.get(&server.path(&made)).json().get("state").is_none());
    assert_eq!(server.found("title eq \"archived?\""), ["archived?"]);
    assert_eq!(server.found("state eq \"ARCHIVED\"").len(), 0);
    assert_eq!(
        server.found("title eq \"archived?\" and state eq \"ACTIVE\""),
        ["archived?"]
    );
}

#[test]
fn c077_a_vault_of_10_000_items_is_listed_completely() {
    const FILES: usize = 10;
    const EACH: usize = 1000;
    let mut pair = ServerPair::prepare(&["--dir", "{root}/secrets"], &[]);
    let title = |n: usize| format!("item-{n:05}");
    for file in 0..FILES {
        let documents = (file * EACH..(file + 1) * EACH).map(|n| {
            let title = title(n);
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {title}}}\nstringData: {{password: p{n}}}\n")
        });
        let text = documents.collect::<Vec<_>>().join("---\n");
        fs::write(pair.path("secrets").join(format!("{file}.yaml")), text).unwrap();
    }
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("t", &["secrets=read"]);
    let vault = pair.vault(&token, "secrets");
    let items = format!("/v1/vaults/{vault}/items");
    let list = || {
        let reply = pair.get(&token, &items);
        assert_eq!(reply.status, 200);
        reply.json()
    };
    // On a busy machine sync may need longer for the files than a request waits for it (OP_SYNC_TIMEOUT).
    let whole = wait_until(|| {
        let list = list();
        (list.as_array()?.len() == FILES * EACH).then_some(list)
    });
    let whole = whole.expect("a list of all items");
    let mut found = titles(&whole, "title");
    found.sort();
    assert!(
        found == (0..FILES * EACH).map(title).collect::<Vec<_>>(),
        "{} items",
        found.len()
    );
    assert!(
        whole
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["vault"]["id"] == vault.as_str())
    );
    let ids: BTreeSet<_> = titles(&whole, "id").into_iter().collect();
    assert_eq!(ids.len(), FILES * EACH);
    assert!(list() == whole, "another order");
    let some = pair
        .get(&token, &format!("{items}?filter=title+co+%22item-0777%22"))
        .json();
    assert_eq!(titles(&some, "title").len(), 10);
}

#[test]
fn c076_078_documents_show_files_and_foreign_lists_are_refused() {
    let server = server();
    let list = server.get(&format!("/v1/vaults/{}/items", server.files)).json();
    let list = list.as_array().unwrap();
    let document = list.iter().find(|item| item["title"] == "letters.bin").unwrap();
    assert!(
        document["files"][0]["content_path"]
            .as_str()
            .unwrap()
            .starts_with("/v1/")
    );
    refused(
        &server.get(&format!("/v1/vaults/{}/items", server.foreign)),
        403,
        "Authorization",
    );
}
