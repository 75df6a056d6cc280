//! HTTPS: certificates from files and from an ACME server, as clients see them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Version;
use sidevault_tests::authority::{Authority, Issued};
use sidevault_tests::https::Https;
use sidevault_tests::pair::{Half, Pair, files_below, free_port, wait_until};
use sidevault_tests::pebble::Pebble;

const NAME: &str = "vault.example.test";
const HTTP_2: &[&str] = &["h2", "http/1.1"];
const CERTIFICATE: &str = "{root}/secrets/tls.crt";
const KEY: &str = "{root}/secrets/tls.key";

/// A pair that is to serve HTTPS, and its port.
fn pair(environment: &[(&str, &str)]) -> (Pair, u16) {
    let mut pair = Pair::prepare(&["--vault", "apps", "--allow-ephemeral"], environment);
    let port = free_port();
    pair.set("OP_HTTPS_PORT", &port.to_string());
    (pair, port)
}

fn with_files() -> (Pair, u16) {
    pair(&[("OP_TLS_CERT_FILE", CERTIFICATE), ("OP_TLS_KEY_FILE", KEY)])
}

fn install(pair: &Pair, certificate: &str, key: &str) {
    fs::write(pair.path("secrets/tls.crt"), certificate).unwrap();
    fs::write(pair.path("secrets/tls.key"), key).unwrap();
}

fn install_whole(pair: &Pair, issued: &Issued) {
    install(pair, &issued.chain, &issued.key);
}

/// Waits until the api is alive over HTTPS.
fn wait_alive(pair: &Pair, https: &Https) {
    let alive = wait_until(|| {
        https
            .get(HTTP_2, "", "/heartbeat")
            .ok()
            .filter(|answer| answer.status == 200)
    });
    assert!(alive.is_some(), "{}", pair.log(Half::Api));
}

fn leaf(https: &Https) -> Option<Vec<u8>> {
    https.look(HTTP_2).ok()?.chain.into_iter().next()
}

#[test]
fn https_serves_the_whole_chain_in_both_versions_of_http() {
    let authority = Authority::new();
    let (mut pair, port) = with_files();
    let issued = authority.issue(NAME);
    install_whole(&pair, &issued);
    pair.run(Half::Api);
    pair.run(Half::Sync);
    // Trusts the root alone: without the intermediate in the chain every handshake would fail.
    let https = Https::new(NAME, port, authority.root());
    wait_alive(&pair, &https);
    let token = pair.token("app", &["apps=read"]);
    let found = wait_until(|| {
        let answer = https.get(HTTP_2, &token, "/v1/vaults").ok()?;
        (answer.json[0]["name"] == "apps").then_some(answer.version)
    });
    assert_eq!(found, Some(Version::HTTP_2), "{}", pair.log(Half::Api));
    for protocols in [&[][..], &["http/1.1"]] {
        let answer = https.get(protocols, &token, "/v1/vaults").unwrap();
        assert_eq!(
            (answer.version, answer.status),
            (Version::HTTP_11, 200),
            "{protocols:?}"
        );
    }
    assert_eq!(https.look(HTTP_2).unwrap().chain.len(), 2);
    assert!(pair.health().is_null(), "plain HTTP is not served beside HTTPS");
    assert!(https.look(&["acme-tls/1"]).is_err(), "no ACME server is expected");

    // The control: without the intermediate this client is lost.
    install(&pair, &issued.leaf, &issued.key);
    assert!(wait_until(|| https.look(HTTP_2).err()).is_some());
}

#[test]
fn a_certificate_that_changes_is_taken_up_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let (mut pair, port) = with_files();
    install_whole(&pair, &authority.issue(NAME));
    pair.run(Half::Api);
    let https = Https::new(NAME, port, authority.root());
    wait_alive(&pair, &https);
    let first = leaf(&https).unwrap();

    // The key of another certificate.
    let (next, stray) = (authority.issue(NAME), authority.issue(NAME));
    install(&pair, &next.chain, &stray.key);
    let complained = wait_until(|| pair.log(Half::Api).contains("the old one stays").then_some(()));
    assert!(complained.is_some(), "{}", pair.log(Half::Api));
    assert_eq!(leaf(&https).as_ref(), Some(&first));

    install_whole(&pair, &next);
    let changed = wait_until(|| leaf(&https).filter(|leaf| *leaf != first));
    assert!(changed.is_some(), "{}", pair.log(Half::Api));
}

#[test]
fn half_a_certificate_is_a_setting_to_be_mended() {
    let authority = Authority::new();
    let issued = authority.issue(NAME);
    for (name, value, missing) in [
        ("OP_TLS_CERT_FILE", CERTIFICATE, "OP_TLS_KEY_FILE"),
        ("OP_TLS_KEY_FILE", KEY, "OP_TLS_CERT_FILE"),
        ("OP_TLS_USE_LETSENCRYPT", "yes", "OP_TLS_DOMAIN"),
        ("OP_TLS_DOMAIN", "*.example.test", "OP_TLS_DOMAIN"),
    ] {
        let (mut pair, _) = pair(&[(name, value)]);
        install_whole(&pair, &issued);
        pair.run(Half::Api);
        assert_eq!(pair.wait_ended(Half::Api).code(), Some(78), "{name}");
        let log = pair.log(Half::Api);
        assert!(log.contains(name) && log.contains(missing), "{log}");
    }
    // Files that can't be used are told of at the start too.
    let (mut pair, _) = with_files();
    install(&pair, &issued.chain, &authority.issue(NAME).key);
    pair.run(Half::Api);
    assert_eq!(pair.wait_ended(Half::Api).code(), Some(78));
    let log = pair.log(Half::Api);
    assert!(log.contains("OP_TLS_KEY_FILE") && log.contains("tls.key"), "{log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

/// An ACME server and a pair that asks it; `None` if the programs are missing.
fn with_acme() -> Option<(Pebble, Pair, Https)> {
    let (mut pair, port) = pair(&[("OP_TLS_USE_LETSENCRYPT", "yes"), ("OP_TLS_DOMAIN", NAME)]);
    let pebble = Pebble::start(port)?;
    pair.set("SIDEVAULT_ACME_DIRECTORY", &pebble.directory());
    pair.set("SIDEVAULT_ACME_CA_FILE", &pebble.authority_file());
    let https = Https::new(NAME, port, &pebble.root());
    Some((pebble, pair, https))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// The certificate that is kept, PEM: leaf first, without the key.
fn kept(pair: &Pair) -> String {
    let files = files_below(&pair.path("data/.op/data/acme"));
    let (_, bytes) = files
        .iter()
        .find(|(path, _)| path.ends_with(format!("{NAME}.pem")))
        .unwrap();
    let text = String::from_utf8_lossy(bytes);
    text[text.find("-----BEGIN CERTIFICATE").unwrap()..].to_owned()
}

#[test]
fn a_certificate_is_fetched_kept_over_a_restart_and_renewed_when_the_server_wants_it() {
    let Some((pebble, mut pair, https)) = with_acme() else {
        return;
    };
    pair.run(Half::Api);
    wait_alive(&pair, &https);
    let seen = https.look(HTTP_2).unwrap();
    assert_eq!(seen.chain.len(), 3, "the leaf and both intermediates");
    assert_eq!(seen.protocol.as_deref(), Some("h2"));
    assert_eq!(pebble.orders(), 1);

    // Private keys are for nobody else.
    let folder = pair.path("data/.op/data/acme");
    assert_eq!(mode(&folder), 0o700);
    let files = files_below(&folder);
    assert_eq!(files.len(), 2, "an account and a certificate");
    for (path, _) in &files {
        assert_eq!(mode(path), 0o600, "{}", path.display());
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
    // When no challenge is on, its protocol leads nowhere; beside another it changes nothing.
    assert!(https.look(&["acme-tls/1"]).is_err());
    assert_eq!(
        https.look(&["acme-tls/1", "h2"]).unwrap().protocol.as_deref(),
        Some("h2")
    );

    pair.kill(Half::Api);
    pair.run(Half::Api);
    wait_alive(&pair, &https);
    assert_eq!(https.look(HTTP_2).unwrap().chain, seen.chain);
    assert_eq!(pebble.orders(), 1, "a restart asks for nothing");

    pair.kill(Half::Api);
    pebble.want_renewed(&kept(&pair));
    pair.run(Half::Api);
    let renewed = wait_until(|| leaf(&https).filter(|leaf| *leaf != seen.chain[0]));
    assert!(renewed.is_some(), "{}\n{}", pair.log(Half::Api), pebble.log());
    assert_eq!(pebble.orders(), 2);
}

#[test]
fn a_name_that_leads_elsewhere_is_logged_and_tried_again_until_it_leads_here() {
    let Some((pebble, mut pair, https)) = with_acme() else {
        return;
    };
    pebble.lead_names_here(false);
    pair.run(Half::Api);
    let complained = wait_until(|| {
        pair.log(Half::Api)
            .contains("did not find this server at the domain")
            .then_some(())
    });
    let log = pair.log(Half::Api);
    assert!(complained.is_some(), "{log}\n{}", pebble.log());
    assert!(log.contains(NAME) && log.contains("next_attempt_seconds"), "{log}");
    assert!(https.look(HTTP_2).is_err(), "there is no certificate to show");
    let hinted = wait_until(|| {
        pair.log(Half::Api)
            .contains("there is no certificate yet")
            .then_some(())
    });
    assert!(hinted.is_some(), "{}", pair.log(Half::Api));

    pebble.lead_names_here(true);
    // The next attempt comes after a minute and a half at the latest.
    let started = Instant::now();
    while leaf(&https).is_none() {
        assert!(
            started.elapsed() < Duration::from_secs(180),
            "{}\n{}",
            pair.log(Half::Api),
            pebble.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(pebble.orders(), 2);
}
