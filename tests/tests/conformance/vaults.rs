//! Checks 44–57: vaults.

use super::{encoded, login, refused, server, titles};
use serde_json::json;
use sidevault_tests::pair::ServerPair;

#[test]
fn c044_045_a_vault_has_all_its_members() {
    let server = server();
    let vault = server.get(&format!("/v1/vaults/{}", server.own)).json();
    for member in ["id", "name", "type", "createdAt", "updatedAt"] {
        assert!(vault[member].is_string(), "{member}: {vault}");
    }
    for member in ["attributeVersion", "contentVersion", "items"] {
        assert!(vault[member].is_u64(), "{member}: {vault}");
    }
    for vault in server.get("/v1/vaults").json().as_array().unwrap() {
        let kind = vault["type"].as_str().unwrap();
        assert!(
            ["USER_CREATED", "PERSONAL", "EVERYONE", "TRANSFER"].contains(&kind),
            "{kind}"
        );
    }
}

#[test]
fn c046_047_048_050_052_vault_filters() {
    let server = server();
    let found = |filter: &str| {
        let reply = server.get(&format!("/v1/vaults?filter={filter}"));
        assert_eq!(reply.status, 200, "{filter}: {}", reply.text());
        titles(&reply.json(), "name")
    };
    assert_eq!(found("title+eq+%22apps%22"), ["apps"]);
    assert_eq!(found("name%20eq%20%22apps%22"), ["apps"]);
    assert_eq!(found("title%20eq%20%22apps%22"), ["apps"]);
    for spelling in ["Homelab", "homelab", "HOMELAB"] {
        assert_eq!(found(&format!("title+eq+%22{spelling}%22")), ["Homelab"]);
        assert_eq!(found(&format!("name+eq+%22{spelling}%22")), ["Homelab"]);
    }
    assert_eq!(found("name+eq+%22nowhere%22").len(), 0);
}

#[test]
fn c051_a_vault_name_in_the_form_of_an_id_is_found() {
    const NAME: &str = "abcdefghijklmnopqrstuvwxyz";
    let pair = ServerPair::start(&["--vault", NAME, "--allow-ephemeral"], &[]);
    // A token that is made for this name opens the vault, too.
    let token = pair.token("t", &[&format!("{NAME}=read")]);
    let reply = pair.get(&token, &format!("/v1/vaults?filter=title+eq+%22{NAME}%22"));
    assert_eq!(titles(&reply.json(), "name"), [NAME]);
    let id = reply.json()[0]["id"].as_str().unwrap().to_owned();
    assert_ne!(id, NAME);
    for segment in [id.as_str(), NAME] {
        let vault = pair.get(&token, &format!("/v1/vaults/{segment}"));
        assert_eq!((vault.status, &vault.json()["id"]), (200, &json!(id)));
    }
}

#[test]
fn c053_054_content_version_and_item_count_change_with_writes() {
    let server = server();
    let vault = || server.get(&format!("/v1/vaults/{}", server.other)).json();
    let items = format!("/v1/vaults/{}/items", server.other);
    let number = |member: &str| vault()[member].as_u64().unwrap();
    let (version, count) = (number("contentVersion"), number("items"));
    let made = server.send("POST", &items, &login("counted")).json();
    assert!(number("contentVersion") > version);
    assert_eq!(number("items"), count + 1);
    assert_eq!(
        server
            .delete(&format!("{items}/{}", made["id"].as_str().unwrap()))
            .status,
        204
    );
    assert_eq!(number("items"), count);
}

#[test]
fn c055_056_057_bad_filters_and_order() {
    let server = server();
    for (filter, fault) in [
        ("\"", "expected an attribute"),
        ("name eq", "expected a value in double quotes"),
        ("name eq \"x", "no closing quote for the value"),
        ("colour eq \"red\"", "unknown attribute"),
    ] {
        refused(
            &server.get(&format!("/v1/vaults?filter={}", encoded(filter))),
            400,
            fault,
        );
    }
    // Vaults are listed oldest first. Times are in seconds, so only the newest vault has a certain position.
    server.pair.command(&["vault", "create", "newest"]);
    let grants = ["apps", "others", "secrets", "shared", "newest"].map(|name| format!("{name}=read"));
    let token = server.pair.token("all-vaults", &grants.each_ref().map(String::as_str));
    let vaults = server.pair.get(&token, "/v1/vaults").json();
    let created = titles(&vaults, "createdAt");
    assert!(created.is_sorted(), "{vaults}");
    assert_eq!(
        titles(&vaults, "name").last().map(String::as_str),
        Some("newest"),
        "{vaults}"
    );
}
