//! Requests without a token, or with a write-only one, learn nothing about the stored items.

use std::fs;

use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, exchange};

#[test]
fn health_and_metrics_name_and_count_nothing_that_is_stored_unless_a_token_asks() {
    let mut pair = ServerPair::prepare(&["--dir", "{root}/secrets"], &[("SIDEVAULT_HEALTH_DETAILS", "false")]);
    fs::write(pair.path("secrets/good.yaml"), "password: p\n").unwrap();
    fs::create_dir(pair.path("secrets/payroll")).unwrap();
    let twice = "Hunter2SecretKey: a\nHunter2SecretKey: b\n";
    fs::write(pair.path("secrets/payroll/twice.yaml"), twice).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("t", &["secrets=read"]);
    let vault = pair.vault(&token, "secrets");
    let degraded = wait_until(|| pair.health().to_string().contains("DEGRADED").then_some(()));
    assert!(degraded.is_some(), "{}", pair.health());
    let ask = |address, path: &str, token: &str| {
        let request = Request::new("GET", path);
        let request = if token.is_empty() {
            request
        } else {
            request.bearer(token)
        };
        let reply = exchange(address, &request.bytes()).unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.text()
    };
    let known = pair.command(&["token", "inspect", &token, "--json"]);
    let known: serde_json::Value = serde_json::from_str(&known).unwrap_or_default();
    let jti = known["claims"]["jti"].as_str().unwrap_or_default().to_owned();
    assert!(!jti.is_empty(), "{known}");
    let secrets = [
        "twice.yaml",
        "payroll",
        "Hunter2",
        "good.yaml",
        "files\"",
        "2 of",
        "1 of",
        &vault,
        &jti,
    ];
    for (address, path, token) in [
        (pair.address(), "/health", ""),
        (pair.address(), "/v1/health", "no token at all"),
        (pair.address(), "/metrics", ""),
        (pair.sync_address(), "/health", ""),
        (pair.sync_address(), "/metrics", ""),
    ] {
        let text = ask(address, path, token);
        for secret in secrets {
            assert!(!text.contains(secret), "{path} says {secret:?}: {text}");
        }
    }
    // Monitoring without a token still shows that files have errors, and when the next token expires.
    assert!(ask(pair.address(), "/health", "").contains("the log of sync names them"));
    let metrics = ask(pair.address(), "/metrics", "");
    assert!(
        metrics.contains("\nsidevault_token_expiry_timestamp_seconds "),
        "{metrics}"
    );
    // With a token, the details are shown.
    let health = ask(pair.address(), "/health", &token);
    assert!(health.contains("payroll/twice.yaml"), "{health}");
    let metrics = ask(pair.address(), "/metrics", &token);
    assert!(
        metrics.contains(&format!("sidevault_items{{vault=\"{vault}\"}}")),
        "{metrics}"
    );
    let expiry = format!("sidevault_token_expiry_timestamp_seconds{{jti=\"{jti}\"}}");
    assert!(metrics.contains(&expiry), "{metrics}");
}

#[test]
fn a_write_only_token_does_not_learn_titles() {
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let owner = pair.token("owner", &["apps=read,write"]);
    let writer = pair.token("writer", &["apps=write"]);
    let item = r#"{"title":"there","category":"LOGIN"}"#;
    for title in ["there", "twice", "twice"] {
        let made = pair
            .ask(&owner, "POST", "/v1/vaults/apps/items", &item.replace("there", title))
            .unwrap();
        assert_eq!(made.status, 200, "{}", made.text());
    }
    for (method, body) in [("PUT", item), ("PUT", "{}"), ("PUT", "["), ("DELETE", "")] {
        let answers = ["there", "twice", "not-there"].map(|title| {
            let reply = pair
                .ask(&writer, method, &format!("/v1/vaults/apps/items/{title}"), body)
                .unwrap();
            (reply.status, reply.text())
        });
        assert!(
            answers.iter().all(|answer| *answer == answers[2]),
            "{method} {body}: {answers:?}"
        );
        assert_eq!(answers[2].0, 400, "{method} {body}");
    }
    let kept = pair.get(&owner, "/v1/vaults/apps/items").json();
    assert_eq!(kept.as_array().map(Vec::len), Some(3), "{kept}");
}
