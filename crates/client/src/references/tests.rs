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
    let found = kinds(&server, &["op://homelab/wi-fi/password", "op://homelab/wi-fi/nothing"]).await;
    assert_eq!(found, [Ok("s3cret".to_owned()), Err(UnresolvedKind::FieldNotFound)]);
    assert_eq!(server.seen().len(), 4, "{:?}", server.lines());
}

/// Two items, or vaults, may have names that differ only in case. Each is found by its exact name.
#[tokio::test]
async fn names_that_differ_only_in_case_are_not_confused() {
    let server = Server::start(|seen, _| {
        let path = seen.line.split(' ').nth(1).and_then(|path| path.split('?').next());
        let item = |id: &str, title: &str, vault: &str| item_json(id, title, 1).replace(VAULT, vault);
        let both = |vault: &str| json(&format!("[{},{}]", item(ITEM, "Dev", vault), item(OTHER, "dev", vault)));
        let of = |vault: &str| format!("/v1/vaults/{vault}/items");
        match path.unwrap_or_default() {
            "/v1/vaults" => json(&format!("[{},{}]", vault_json(VAULT, "V"), vault_json(OTHER, "v"))),
            path if path == of(VAULT) => both(VAULT),
            path if path == of(OTHER) => both(OTHER),
            path if path.starts_with(&of(VAULT)) || path.starts_with(&of(OTHER)) => {
                let vault = if path.starts_with(&of(VAULT)) { VAULT } else { OTHER };
                let id = if path.ends_with(ITEM) { ITEM } else { OTHER };
                json(&item(id, if id == ITEM { "Dev" } else { "dev" }, vault))
            }
            _ => refuse(404, "not found"),
        }
    })
    .await;
    let texts = [
        "op://V/Dev/password",
        "op://V/dev/password",
        "op://v/Dev/password",
        "op://V/DEV/password",
    ];
    let results = server.client().resolve_references(&references(&texts)).await.unwrap();
    assert!(results[..3].iter().all(Result::is_ok), "{results:?}");
    let kind = results[3].as_ref().unwrap_err().error.kind;
    assert_eq!(kind, UnresolvedKind::TooManyItems);
    for path in [[VAULT, ITEM], [VAULT, OTHER], [OTHER, ITEM]] {
        let line = format!("GET /v1/vaults/{}/items/{}", path[0], path[1]);
        assert!(server.lines().contains(&line), "{line}: {:?}", server.lines());
    }
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
