//! Checks 58–78: item lists and filters.

use super::{encoded, login, refused, world};

#[test]
fn c058_summaries_have_no_fields() {
    let world = world();
    world.made(&login("listed"));
    let list = world.get(&world.items()).json();
    for item in list.as_array().unwrap() {
        assert_eq!(item["vault"]["id"], world.own);
        assert!(item.get("fields").is_none() && item.get("sections").is_none(), "{item}");
    }
}

#[test]
fn c059_060_061_062_063_filters_find() {
    let world = world();
    let mut tagged = login("needle in hay");
    tagged["tags"] = serde_json::json!(["tagged-063"]);
    world.made(&tagged);
    assert_eq!(world.found("title eq \"needle in hay\"").len(), 1);
    assert_eq!(world.found("title co \"dle in h\""), ["needle in hay"]);
    assert_eq!(world.found("tag eq \"tagged-063\""), ["needle in hay"]);
    assert_eq!(world.found("title eq \"no such thing\"").len(), 0);
    let twins = [world.made(&login("twin")), world.made(&login("twin"))];
    for _ in 0..2 {
        let reply = world
            .get(&format!("{}?filter=title+eq+%22twin%22", world.items()))
            .json();
        let ids: Vec<_> = reply.as_array().unwrap().iter().map(|item| &item["id"]).collect();
        let mut made: Vec<_> = twins.iter().map(|item| (&item["createdAt"], &item["id"])).collect();
        made.sort_by_key(|(time, id)| (time.to_string(), id.to_string()));
        let made: Vec<_> = made.into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids.len(), made.len());
        assert!(made.iter().all(|id| ids.contains(id)));
        if twins[0]["createdAt"] != twins[1]["createdAt"] {
            assert_eq!(ids, made);
        }
    }
}

#[test]
fn c064_065_066_069_odd_titles_are_found() {
    let world = world();
    for title in [
        "say \"hi\" twice",
        "back\\slash",
        "it's",
        "R&D #1 + x",
        "🔑 Schlüssel",
        "u\u{308}ber",
    ] {
        world.made(&login(title));
        assert_eq!(world.found(&format!("title eq \"{title}\"")), [title]);
    }
}

#[test]
fn c067_068_072_073_074_075_odd_filters_are_answered() {
    let world = world();
    let ask = |query: &str| world.get(&format!("{}?{query}", world.items()));
    refused(&ask("filter=%22"), 400, "");
    refused(&ask("filter=title+eq+%22R"), 400, "");
    assert_eq!(ask("filter=").status, 200);
    assert!(ask("filter=title+eq+%22a%22&filter=title+eq+%22b%22").status < 500);
    world.made(&login("either one"));
    let hits = world.found("(title eq \"either one\" or title eq \"zzz\") and category eq \"LOGIN\"");
    assert_eq!(hits, ["either one"]);
    let long = encoded(&format!("title eq \"{}\"", "x".repeat(5000)));
    assert!(ask(&format!("filter={long}")).status < 500);
}

#[test]
fn c070_a_title_like_an_id_is_found_by_filter() {
    let world = world();
    let title = "zyxwvutsrqponmlkjihgfedcba";
    world.made(&login(title));
    refused(&world.get(&format!("{}/{title}", world.items())), 404, "not found");
    assert_eq!(world.found(&format!("title eq \"{title}\"")), [title]);
}

#[test]
fn c076_078_documents_show_files_and_foreign_lists_are_refused() {
    let world = world();
    let list = world.get(&format!("/v1/vaults/{}/items", world.files)).json();
    let list = list.as_array().unwrap();
    let document = list.iter().find(|item| item["title"] == "letters.bin").unwrap();
    assert!(
        document["files"][0]["content_path"]
            .as_str()
            .unwrap()
            .starts_with("/v1/")
    );
    refused(
        &world.get(&format!("/v1/vaults/{}/items", world.foreign)),
        403,
        "Authorization",
    );
}
