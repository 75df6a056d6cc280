//! What a token opens, whatever becomes of the vaults.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

use std::fs;

use serde_json::Value;
use sidevault_tests::pair::{Half, Pair, wait_until};
use sidevault_tests::wire::{Request, exchange};

/// The names of the vaults that a token opens.
fn opens(pair: &Pair, token: &str) -> Vec<String> {
    let reply = pair.get(token, "/v1/vaults");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let vaults = reply.json();
    let names = vaults
        .as_array()
        .unwrap()
        .iter()
        .map(|vault| vault["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// The arguments of `token create` for somebody who has the issuer's file and no store.
fn offline<'a>(pair: &Pair, name: &'a str, grant: &'a str) -> Vec<String> {
    let path = |below: &str| pair.path(below).to_string_lossy().into_owned();
    let words = ["token", "create", name, "--vault", grant, "--issuer"].map(str::to_owned);
    [
        &words[..],
        &[path("keys/issuer.json"), "--data".to_owned(), path("nowhere")],
    ]
    .concat()
}

fn made_offline(pair: &Pair, name: &str, grant: &str) -> String {
    let arguments = offline(pair, name, grant);
    pair.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Stops sync and starts it with these arguments; returns once it has made and removed vaults as they say.
fn restart_sync(pair: &mut Pair, arguments: &[&str]) {
    pair.terminate(Half::Sync);
    pair.wait_ended(Half::Sync);
    pair.sync_arguments(arguments);
    pair.run(Half::Sync);
    let health = Request::new("GET", "/health").bytes();
    let answers = wait_until(|| exchange(pair.sync_address(), &health).ok());
    assert!(answers.is_some(), "{}", pair.log(Half::Sync));
}

#[test]
fn a_vault_of_the_sources_can_be_renamed_and_no_token_opens_the_next_one() {
    let mut pair = Pair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let by_id = pair.token("by id", &["apps=read"]);
    let by_name = made_offline(&pair, "by name", "apps=read");
    assert_eq!(opens(&pair, &by_id), ["apps"]);
    assert_eq!(opens(&pair, &by_name), ["apps"]);
    let old = pair.vault(&by_id, "apps");

    pair.command(&["vault", "rename", "apps", "legacy"]);
    let after = made_offline(&pair, "after", "apps=read");
    // `apps` is configured, so it is made again. Sync did not start here before.
    restart_sync(&mut pair, &["--vault", "apps", "--allow-ephemeral"]);
    let fresh = pair.token("fresh", &["apps=read"]);
    assert_eq!(opens(&pair, &fresh), ["apps"]);
    assert_ne!(pair.vault(&fresh, "apps"), old);

    assert_eq!(opens(&pair, &by_id), ["legacy"], "an id stays with its vault");
    for token in [&by_name, &after] {
        assert_eq!(
            opens(&pair, token),
            Vec::<String>::new(),
            "a name that was given up opens nothing"
        );
        let refused = pair.get(token, &format!("/v1/vaults/{old}"));
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(pair.get(token, &format!("/v1/vaults/{old}/items")).status, 403);
    }
    // Nor when the old vault has its old name again.
    pair.command(&["vault", "delete", "apps", "--yes"]);
    pair.command(&["vault", "rename", "legacy", "apps"]);
    assert_eq!(opens(&pair, &after), Vec::<String>::new());
    assert_eq!(opens(&pair, &fresh), Vec::<String>::new(), "its vault was deleted");
    assert_eq!(opens(&pair, &by_id), ["apps"]);
}

#[test]
fn a_token_made_before_its_vault_opens_the_first_of_the_name_and_no_other() {
    let mut pair = Pair::start(
        &["--dir", "{root}/secrets", "--vault", "other", "--allow-ephemeral"],
        &[],
    );
    let early = made_offline(&pair, "early", "apps=read,write");
    let from_git = made_offline(&pair, "git", "infra=read");
    let made = pair.command(&["vault", "create", "apps"]);
    assert_eq!(opens(&pair, &early), ["apps"]);
    let directory = pair.path("secrets/infra");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("db.yaml"), "username: orders\n").unwrap();
    pair.vault(&from_git, "infra");

    // Who deletes a vault is told of its tokens; they never open a later one.
    let refused = pair.errors(&["vault", "delete", "apps"]);
    assert!(refused.contains("\"early\"") && refused.contains("--yes"), "{refused}");
    assert!(pair.errors(&["vault", "delete", "apps", "--yes"]).contains("\"early\""));
    let again = pair.errors(&["vault", "create", "apps"]);
    assert!(again.contains("renamed or deleted before"), "{again}");
    assert_eq!(opens(&pair, &early), Vec::<String>::new());
    let fresh = pair.token("fresh", &["apps=read"]);
    assert_ne!(pair.vault(&fresh, "apps"), made.split(' ').nth(1).unwrap());

    // Nor a directory of this name, which would have the deleted vault's id.
    pair.command(&["vault", "delete", "apps", "--yes"]);
    let directory = pair.path("secrets/apps");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("db.yaml"), "password: not-for-early\n").unwrap();
    let told = wait_until(|| {
        let health = pair.health();
        let parts = health["dependencies"].as_array()?.clone();
        parts.into_iter().find(|part| {
            let message = part["message"].as_str().unwrap_or_default();
            message.contains("a local vault was named \"apps\"")
        })
    });
    assert!(told.is_some(), "{}", pair.health());
    assert_eq!(opens(&pair, &early), Vec::<String>::new());

    // Beside the store, such a name is refused at once.
    fs::remove_dir_all(&directory).unwrap();
    let issuer = pair.path("keys/issuer.json").to_string_lossy().into_owned();
    let named = ["token", "create", "late", "--vault", "apps=read", "--issuer", &issuer];
    assert!(pair.errors(&named).contains("renamed or deleted"));
    assert_eq!(pair.output(&named), "");

    // The vault of a directory is its name: without the source it is gone, and with it as it was.
    restart_sync(&mut pair, &["--vault", "other", "--allow-ephemeral"]);
    assert_eq!(opens(&pair, &from_git), Vec::<String>::new());
    restart_sync(&mut pair, &["--dir", "{root}/secrets", "--allow-ephemeral"]);
    pair.vault(&from_git, "infra");
}

#[test]
fn who_looks_at_a_token_sees_the_names_of_its_vaults() {
    let pair = Pair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let issuer = pair.path("keys/issuer.json").to_string_lossy().into_owned();
    let made = pair.errors(&["token", "create", "ci", "--vault", "APPS=read", "--issuer", &issuer]);
    assert!(made.contains("vault \"apps\" ("), "{made}");
    let token = pair.token("ci", &["apps=read"]);
    let shown = pair.command(&["token", "inspect", &token]);
    assert!(shown.contains("vault    \"apps\" ("), "{shown}");
    let json: Value = serde_json::from_str(&pair.command(&["token", "inspect", "--json", &token])).unwrap();
    assert_eq!(json["vaults"][0]["name"], "apps");

    let by_name = made_offline(&pair, "by name", "apps=write");
    assert!(pair.command(&["token", "inspect", &by_name]).contains("write, by name"));
    pair.command(&["vault", "rename", "apps", "legacy"]);
    let shown = pair.command(&["token", "inspect", &by_name]);
    assert!(shown.contains("opens nothing") && !shown.contains("legacy"), "{shown}");
    assert!(pair.command(&["token", "inspect", &token]).contains("\"legacy\""));
}

#[test]
fn a_token_is_not_made_with_the_issuer_of_another_server() {
    let (pair, other) = (
        Pair::prepare(&["--vault", "apps"], &[]),
        Pair::prepare(&["--vault", "apps"], &[]),
    );
    let issuer = other.path("keys/issuer.json").to_string_lossy().into_owned();
    let arguments = ["token", "create", "ci", "--vault", "apps=read", "--issuer", &issuer];
    let said = pair.errors(&arguments);
    let session = pair
        .path("keys/1password-credentials.json")
        .to_string_lossy()
        .into_owned();
    assert!(said.contains(&session) && said.contains("--issuer"), "{said}");
    assert_eq!(pair.output(&arguments), "", "no token that its server refuses");
}
