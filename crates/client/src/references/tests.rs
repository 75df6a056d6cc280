use sidevault_model::reference::{Reference, UnresolvedKind};

use crate::testing::*;

const OTHER: &str = "oooooooooooooooooooooooooo";

fn references(texts: &[&str]) -> Vec<Reference> {
    texts.iter().map(|text| Reference::parse(text).unwrap()).collect()
}

/// A Connect server: it has a vault `Homelab` with two items, and no `/v1/resolve`.
async fn connect() -> Server {
    Server::start(|seen, _| {
        let items = format!("/v1/vaults/{VAULT}/items");
        let path = seen
            .line
            .split(' ')
            .nth(1)
            .and_then(|path| path.split('?').next())
            .unwrap_or_default();
        let two = [item_json(ITEM, "Wi-Fi", 1), item_json(OTHER, "Router", 1)];
        match path {
            "/v1/vaults" => json(&format!(
                "[{},{}]",
                vault_json(VAULT, "Homelab"),
                vault_json(OTHER, "Other")
            )),
            path if path == items => json(&format!("[{}]", two.join(","))),
            path if path == format!("{items}/{ITEM}") => json(&two[0]),
            path if path == format!("{items}/{OTHER}") => json(&two[1]),
            path if path.contains(VAULT) || path == "/v1/resolve" => refuse(404, "not found"),
            _ => refuse(403, "vault is not in scope"),
        }
    })
    .await
}

async fn kinds(server: &Server, texts: &[&str]) -> Vec<Result<String, UnresolvedKind>> {
    let results = server.client().resolve_references(&references(texts)).await.unwrap();
    let kind = |result: super::ReferenceResult| match result {
        Ok(secret) => Ok(secret.as_str().unwrap().to_owned()),
        Err(error) => Err(error.error.kind),
    };
    results.into_iter().map(kind).collect()
}

#[tokio::test]
async fn sidevault_is_asked_once() {
    let answer = format!(
        r#"{{"results":[{{"value":"a","vault":"{VAULT}","item":"{ITEM}"}},
            {{"error":{{"kind":"fieldNotFound","message":"no"}},"vault":"{VAULT}"}},{{"error":{{"kind":"newKind","message":"x"}}}}]}}"#
    );
    let server = Server::always(json(&answer)).await;
    let texts = ["op://v/i/a", "op://v/i/b", "op://v/i/%28c%29"];
    assert_eq!(
        kinds(&server, &texts).await,
        [
            Ok("a".to_owned()),
            Err(UnresolvedKind::FieldNotFound),
            Err(UnresolvedKind::Other)
        ]
    );
    assert_eq!(server.lines(), ["POST /v1/resolve"]);
    assert_eq!(
        server.seen()[0].body,
        r#"{"references":["op://v/i/a","op://v/i/b","op://v/i/%28c%29"]}"#
    );
}

#[tokio::test]
async fn another_server_is_asked_for_one_vault_and_one_item() {
    let server = connect().await;
    let found = kinds(&server, &["op://homelab/wi-fi/password", "op://HOMELAB/Wi-Fi/nothing"]).await;
    assert_eq!(found, [Ok("s3cret".to_owned()), Err(UnresolvedKind::FieldNotFound)]);
    assert_eq!(server.seen().len(), 4, "{:?}", server.lines());
}

#[tokio::test]
async fn ids_need_one_request_each() {
    let server = connect().await;
    let upper = ITEM.to_uppercase();
    let found = kinds(
        &server,
        &[
            &format!("op://{VAULT}/{upper}/password"),
            &format!("op://{VAULT}/{OTHER}/password"),
        ],
    )
    .await;
    assert_eq!(found, [Ok("s3cret".to_owned()), Ok("s3cret".to_owned())]);
    assert_eq!(server.seen().len(), 3, "{:?}", server.lines());
}

#[tokio::test]
async fn many_names_need_one_list_of_vaults_and_one_of_items() {
    let server = connect().await;
    let texts = [
        "op://Homelab/Wi-Fi/password",
        "op://homelab/router/password",
        "op://none/x/y",
        "op://Homelab/none/x",
    ];
    assert_eq!(
        kinds(&server, &texts).await,
        [
            Ok("s3cret".to_owned()),
            Ok("s3cret".to_owned()),
            Err(UnresolvedKind::VaultNotFound),
            Err(UnresolvedKind::ItemNotFound)
        ]
    );
    // The refused resolve, the vaults, the items, and two items.
    assert_eq!(server.seen().len(), 5, "{:?}", server.lines());
}

#[tokio::test]
async fn a_vault_out_of_scope_is_not_found_and_other_errors_end_all() {
    let server = connect().await;
    let foreign = "ffffffffffffffffffffffffff";
    assert_eq!(
        kinds(&server, &[&format!("op://{foreign}/{ITEM}/password")]).await,
        [Err(UnresolvedKind::VaultNotFound)]
    );
    let server = Server::always(refuse(401, "Invalid bearer token")).await;
    let error = server
        .client()
        .resolve_references(&references(&["op://v/i/f"]))
        .await
        .unwrap_err();
    assert!(error.is_denied());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn debug_hides_the_value() {
    assert!(!format!("{:?}", super::Secret::from("hunter2".to_owned())).contains("hunter2"));
}
