//! Tokens that are revoked, halves that are away: what the survivors still do.
#![allow(clippy::expect_used, missing_docs)]

use sidevault_tests::pair::{Half, Pair, wait_until};

const ITEM: &str =
    r#"{"title":"kept","category":"LOGIN","fields":[{"id":"password","purpose":"PASSWORD","value":"p"}]}"#;

#[test]
fn a_revoked_token_is_refused_at_once_and_after_restarts() {
    let mut pair = Pair::start(&["--vault", "apps"], &[]);
    let token = pair.token("leaked", &["apps=read,write"]);
    let other = pair.token("kept", &["apps=read"]);
    assert_eq!(pair.get(&token, "/v1/vaults").status, 200);
    pair.output(&["token", "revoke", "leaked"]);
    // The command has ended, so the next request is refused: no waiting here.
    assert_eq!(pair.get(&token, "/v1/vaults").status, 401);
    assert_eq!(pair.get(&other, "/v1/vaults").status, 200);
    pair.kill(Half::Api);
    pair.kill(Half::Sync);
    pair.run(Half::Sync);
    pair.run(Half::Api);
    pair.wait_linked();
    assert_eq!(pair.get(&token, "/v1/vaults").status, 401);
    assert_eq!(pair.get(&other, "/v1/vaults").status, 200);
}

#[test]
fn reads_survive_a_dead_sync_even_over_a_restart_and_writes_say_so() {
    let mut pair = Pair::start(&["--vault", "apps"], &[]);
    let token = pair.token("app", &["apps=read,write"]);
    let posted = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", ITEM)
        .expect("an answer");
    assert_eq!(posted.status, 200);
    pair.kill(Half::Sync);
    pair.kill(Half::Api);
    pair.run(Half::Api);
    let read = wait_until(|| {
        let reply = pair.ask(&token, "GET", "/v1/vaults/apps/items/kept", "").ok()?;
        (reply.status == 200).then_some(())
    });
    assert!(read.is_some(), "the api alone serves what is there");
    let refused = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", ITEM)
        .expect("an answer");
    assert_eq!(refused.status, 503);
    pair.run(Half::Sync);
    pair.wait_linked();
    let posted = pair
        .ask(&token, "POST", "/v1/vaults/apps/items", ITEM)
        .expect("an answer");
    assert_eq!(posted.status, 200);
}
