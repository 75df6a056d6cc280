//! Tokens of vaults that are renamed, deleted and created again, and revocation lists.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, Wire, exchange};

/// The names of the vaults that a token may use.
fn opens(pair: &ServerPair, token: &str) -> Vec<String> {
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

/// Waits until a token opens these vaults: with the store in PostgreSQL, an api sees a change of another process a moment later.
fn assert_opens(pair: &ServerPair, token: &str, vaults: &[&str]) {
    let found = wait_until(|| (opens(pair, token) == vaults).then_some(()));
    assert!(found.is_some(), "{:?} instead of {vaults:?}", opens(pair, token));
}

/// The arguments of `token create` with the issuer file, on a machine without a store.
fn offline<'a>(pair: &ServerPair, name: &'a str, grant: &'a str) -> Vec<String> {
    let path = |below: &str| pair.path(below).to_string_lossy().into_owned();
    let words = ["token", "create", name, "--vault", grant, "--issuer"].map(str::to_owned);
    [
        &words[..],
        &[path("keys/issuer.json"), "--data".to_owned(), path("nowhere")],
    ]
    .concat()
}

fn made_offline(pair: &ServerPair, name: &str, grant: &str) -> String {
    let arguments = offline(pair, name, grant);
    pair.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Restarts sync with these arguments, and waits until it has created and removed vaults accordingly.
fn restart_sync(pair: &mut ServerPair, arguments: &[&str]) {
    pair.terminate(Process::Sync);
    pair.wait_ended(Process::Sync);
    pair.sync_arguments(arguments);
    pair.run(Process::Sync);
    let health = Request::new("GET", "/health").bytes();
    let answers = wait_until(|| exchange(pair.sync_address(), &health).ok());
    assert!(answers.is_some(), "{}", pair.log(Process::Sync));
}

#[test]
fn a_vault_of_the_sources_can_be_renamed_and_no_token_opens_the_next_one() {
    let mut pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let by_id = pair.token("by id", &["apps=read"]);
    let by_name = made_offline(&pair, "by name", "apps=read");
    assert_opens(&pair, &by_id, &["apps"]);
    assert_opens(&pair, &by_name, &["apps"]);
    let old = pair.vault(&by_id, "apps");

    pair.command(&["vault", "rename", "apps", "legacy"]);
    let after = made_offline(&pair, "after", "apps=read");
    // The new arguments configure `apps`, so sync creates it again.
    restart_sync(&mut pair, &["--vault", "apps", "--allow-ephemeral"]);
    let fresh = pair.token("fresh", &["apps=read"]);
    assert_opens(&pair, &fresh, &["apps"]);
    assert_ne!(pair.vault(&fresh, "apps"), old);

    // An id stays with its vault.
    assert_opens(&pair, &by_id, &["legacy"]);
    for token in [&by_name, &after] {
        // A name that was given up opens nothing.
        assert_opens(&pair, token, &[]);
        let refused = pair.get(token, &format!("/v1/vaults/{old}"));
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(pair.get(token, &format!("/v1/vaults/{old}/items")).status, 403);
    }
    // The tokens do not open the old vault either when it has its old name again.
    pair.command(&["vault", "delete", "apps", "--yes"]);
    pair.command(&["vault", "rename", "legacy", "apps"]);
    assert_opens(&pair, &after, &[]);
    // Its vault was deleted.
    assert_opens(&pair, &fresh, &[]);
    assert_opens(&pair, &by_id, &["apps"]);
}

#[test]
fn a_token_made_before_its_vault_opens_only_the_first_vault_of_the_name() {
    let mut pair = ServerPair::start(
        &["--dir", "{root}/secrets", "--vault", "other", "--allow-ephemeral"],
        &[],
    );
    let early = made_offline(&pair, "early", "apps=read,write");
    let from_git = made_offline(&pair, "git", "infra=read");
    let made = pair.command(&["vault", "create", "apps"]);
    assert_opens(&pair, &early, &["apps"]);
    let directory = pair.path("secrets/infra");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("db.yaml"), "username: orders\n").unwrap();
    pair.vault(&from_git, "infra");

    // `vault delete` names the vault's tokens. They never open a later vault.
    let refused = pair.errors(&["vault", "delete", "apps"]);
    assert!(refused.contains("\"early\"") && refused.contains("--yes"), "{refused}");
    assert!(pair.errors(&["vault", "delete", "apps", "--yes"]).contains("\"early\""));
    let again = pair.errors(&["vault", "create", "apps"]);
    assert!(again.contains("renamed or deleted before"), "{again}");
    assert_opens(&pair, &early, &[]);
    let fresh = pair.token("fresh", &["apps=read"]);
    assert_ne!(pair.vault(&fresh, "apps"), made.split(' ').nth(1).unwrap());

    // They do not open a directory vault of this name either, which would have the deleted vault's id.
    pair.command(&["vault", "delete", "apps", "--yes"]);
    let directory = pair.path("secrets/apps");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("db.yaml"), "password: not-for-early\n").unwrap();
    let health = wait_until(|| {
        let health = pair.health();
        let parts = health["dependencies"].as_array()?.clone();
        parts.into_iter().find(|part| {
            let message = part["message"].as_str().unwrap_or_default();
            message.contains("a local vault was named \"apps\"")
        })
    });
    assert!(health.is_some(), "{}", pair.health());
    assert_opens(&pair, &early, &[]);

    // `token create` refuses such a name if it can read the store.
    fs::remove_dir_all(&directory).unwrap();
    let issuer = pair.path("keys/issuer.json").to_string_lossy().into_owned();
    let named = ["token", "create", "late", "--vault", "apps=read", "--issuer", &issuer];
    assert!(pair.errors(&named).contains("renamed or deleted"));
    assert_eq!(pair.output(&named), "");

    // The id of a directory vault follows from its name, so the vault is the same after its source was removed and added.
    restart_sync(&mut pair, &["--vault", "other", "--allow-ephemeral"]);
    assert_opens(&pair, &from_git, &[]);
    restart_sync(&mut pair, &["--dir", "{root}/secrets", "--allow-ephemeral"]);
    pair.vault(&from_git, "infra");
}

#[test]
fn token_inspect_shows_the_names_of_the_vaults() {
    let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
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
        ServerPair::prepare(&["--vault", "apps"], &[]),
        ServerPair::prepare(&["--vault", "apps"], &[]),
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

/// The status and message of the revocation list in `/health`.
fn list_health(pair: &ServerPair) -> Option<(String, String)> {
    let health = pair.health();
    let parts = health["dependencies"].as_array()?;
    let part = parts.iter().find(|part| part["service"] == "revocation list")?;
    Some((
        part["status"].as_str()?.to_owned(),
        part["message"].as_str()?.to_owned(),
    ))
}

fn wait_for(pair: &ServerPair, token: &str, status: u16) {
    let came = wait_until(|| (pair.get(token, "/v1/vaults").status == status).then_some(()));
    assert!(
        came.is_some(),
        "never {status}: {}\n{}",
        pair.health(),
        pair.log(Process::Api)
    );
}

fn jti(pair: &ServerPair, token: &str) -> String {
    let shown: Value = serde_json::from_str(&pair.output(&["token", "inspect", "--json", token])).unwrap();
    shown["claims"]["jti"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_on_the_revocation_list_is_refused_without_sync_and_without_a_store() {
    let mut pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let list = pair.path("keys/revoked-tokens").to_string_lossy().into_owned();
    let [thief, late, good] = ["thief", "late", "good"].map(|name| pair.token(name, &["apps=read"]));
    assert_eq!(list_health(&pair), None);
    let mut stream = Wire::open(pair.address()).unwrap();
    stream
        .send(&Request::new("GET", "/v1/events").bearer(&thief).bytes())
        .unwrap();
    stream
        .until(|bytes| bytes.windows(3).any(|part| part == b"id:"))
        .expect("an open stream");

    // The list is created in the directory of the credentials while the api runs.
    pair.command(&["token", "revoke", "thief", "--file", &list]);
    wait_for(&pair, &thief, 401);
    let ended = stream.until(|bytes| bytes.ends_with(b"0\r\n\r\n"));
    ended.expect("the stream of a revoked token ends");
    assert_eq!(list_health(&pair).unwrap().0, "ACTIVE");
    assert!(pair.output(&["token", "inspect", &thief]).contains(&list));
    assert!(pair.command(&["token", "list"]).contains("on the revocation list"));

    pair.kill(Process::Sync);
    pair.command(&["token", "revoke", &jti(&pair, &late).to_uppercase(), "--file", &list]);
    wait_for(&pair, &late, 401);
    assert_eq!(pair.get(&good, "/v1/vaults").status, 200);

    // A new Pod has an empty store. The list is in force before sync has created the store, and after that.
    pair.kill(Process::Api);
    pair.empty_disk();
    pair.set("OP_SYNC_TIMEOUT", "1s");
    pair.run(Process::Api);
    assert!(wait_until(|| (!pair.health().is_null()).then_some(())).is_some());
    assert_eq!(pair.get(&thief, "/v1/vaults").status, 401);
    assert_eq!(pair.get(&good, "/v1/vaults").status, 500, "no store");
    pair.run(Process::Sync);
    pair.wait_linked();
    assert_eq!(pair.get(&thief, "/v1/vaults").status, 401);
    assert_eq!(pair.get(&late, "/v1/vaults").status, 401);
    assert_eq!(pair.get(&good, "/v1/vaults").status, 200);
}

#[test]
fn a_mounted_revocation_list_is_followed_and_an_invalid_one_changes_nothing() {
    let mut pair = ServerPair::prepare(
        &["--vault", "apps", "--allow-ephemeral"],
        &[("SIDEVAULT_REVOKED_FILE", "{root}/mounted/revoked-tokens")],
    );
    let mounted = pair.path("mounted");
    // As the kubelet's AtomicWriter does: the file is a link into `..data`, a link that is replaced atomically.
    let mount = |n: u32, content: &str| {
        fs::create_dir_all(mounted.join(format!("..v{n}"))).unwrap();
        fs::write(mounted.join(format!("..v{n}/revoked-tokens")), content).unwrap();
        symlink(format!("..v{n}"), mounted.join("..data_tmp")).unwrap();
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    };
    pair.run(Process::Sync);

    // A list that the variable names must exist and be valid; otherwise the api would accept revoked tokens.
    pair.run(Process::Api);
    assert_eq!(pair.wait_ended(Process::Api).code(), Some(78));
    assert!(
        pair.log(Process::Api)
            .contains("mounted/revoked-tokens: it does not exist"),
        "{}",
        pair.log(Process::Api)
    );
    mount(1, "# nothing\nwhat is this\n");
    symlink("..data/revoked-tokens", mounted.join("revoked-tokens")).unwrap();
    pair.run(Process::Api);
    assert_eq!(pair.wait_ended(Process::Api).code(), Some(78));
    assert!(
        pair.log(Process::Api).contains("line 2 is not a token id"),
        "{}",
        pair.log(Process::Api)
    );

    mount(2, "");
    pair.run(Process::Api);
    pair.wait_linked();
    let [a, b] = ["a", "b"].map(|name| pair.token(name, &["apps=read"]));
    let (id_a, id_b) = (jti(&pair, &a), jti(&pair, &b));
    assert_eq!(pair.get(&a, "/v1/vaults").status, 200);
    mount(3, &format!("{id_a}  # stolen\n"));
    wait_for(&pair, &a, 401);

    mount(4, &format!("{id_b}\nwhat is this\n"));
    wait_for(&pair, &b, 401);
    let degraded = wait_until(|| list_health(&pair).filter(|(status, _)| status == "DEGRADED"));
    let (_, message) = degraded.expect("the fault in /health");
    assert!(message.contains("line 2") && message.contains("2 tokens"), "{message}");
    fs::remove_file(mounted.join("revoked-tokens")).unwrap();
    assert!(wait_until(|| list_health(&pair).filter(|(_, said)| said.contains("does not exist"))).is_some());
    assert_eq!([&a, &b].map(|token| pair.get(token, "/v1/vaults").status), [401, 401]);

    // A token that is taken off the list is accepted again.
    mount(5, &format!("{id_b}\n"));
    symlink("..data/revoked-tokens", mounted.join("revoked-tokens")).unwrap();
    wait_for(&pair, &a, 200);
    assert_eq!(pair.get(&b, "/v1/vaults").status, 401);
    assert_eq!(list_health(&pair).unwrap().0, "ACTIVE");
}

#[test]
fn revoking_an_unknown_token_says_what_to_do() {
    let pair = ServerPair::start(&["--vault", "apps", "--allow-ephemeral"], &[]);
    let list = pair.path("list").to_string_lossy().into_owned();
    let stranger = made_offline(&pair, "stranger", "apps=read");
    let id = jti(&pair, &stranger);
    // The token was not used yet, so the store does not have its name.
    let error = pair.errors(&["token", "revoke", "stranger"]);
    assert!(
        error.contains("by its jti") && error.contains("token inspect"),
        "{error}"
    );
    let error = pair.errors(&["token", "revoke", &stranger]);
    assert!(error.contains(&id) && !error.contains(&stranger[..40]), "{error}");
    let nowhere = pair.path("nowhere").to_string_lossy().into_owned();
    let said = pair.errors(&["token", "revoke", "stranger", "--file", &list, "--data", &nowhere]);
    assert!(said.contains("no store here") && !pair.path("list").exists(), "{said}");

    // If one of several names is unknown, no token is revoked.
    let known = pair.token("known", &["apps=read"]);
    pair.errors(&["token", "revoke", "known", "stranger"]);
    assert_eq!(pair.get(&known, "/v1/vaults").status, 200);
    pair.command(&["token", "revoke", "known", &id]);
    wait_for(&pair, &known, 401);
    wait_for(&pair, &stranger, 401);

    // `token revoked` writes the store's revocations as a revocation list.
    let printed = pair.command(&["token", "revoked", "--out", &list]);
    let written = fs::read_to_string(&list).unwrap();
    assert_eq!(printed, written.trim_end());
    assert!(
        written.contains(&format!("{id}  # ")) && written.contains("# known, revoked 2"),
        "{written}"
    );
    pair.command(&["token", "revoked", "--out", &list]);
    assert_eq!(fs::read_to_string(&list).unwrap(), written);
}
