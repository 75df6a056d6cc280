//! HTTPS: certificates from files and from an ACME server, as clients see them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use reqwest::Version;
use sidevault_tests::authority::{Authority, Issued};
use sidevault_tests::https::Https;
use sidevault_tests::pair::{Process, ServerPair, files_below, free_port, wait_until};
use sidevault_tests::pebble::Pebble;

const NAME: &str = "vault.example.test";
const HTTP_2: &[&str] = &["h2", "http/1.1"];
const CERTIFICATE: &str = "{root}/secrets/tls.crt";
const KEY: &str = "{root}/secrets/tls.key";

/// A pair with HTTPS that is not started yet, and its HTTPS port.
fn pair(environment: &[(&str, &str)]) -> (ServerPair, u16) {
    let mut pair = ServerPair::prepare(&["--vault", "apps", "--allow-ephemeral"], environment);
    let port = free_port();
    pair.set("OP_HTTPS_PORT", &port.to_string());
    (pair, port)
}

fn with_files() -> (ServerPair, u16) {
    pair(&[("OP_TLS_CERT_FILE", CERTIFICATE), ("OP_TLS_KEY_FILE", KEY)])
}

fn install(pair: &ServerPair, certificate: &str, key: &str) {
    fs::write(pair.path("secrets/tls.crt"), certificate).unwrap();
    fs::write(pair.path("secrets/tls.key"), key).unwrap();
}

fn install_whole(pair: &ServerPair, issued: &Issued) {
    install(pair, &issued.chain, &issued.key);
}

/// Waits until the api is alive over HTTPS.
fn wait_alive(pair: &ServerPair, https: &Https) {
    let alive = wait_until(|| {
        https
            .get(HTTP_2, "", "/heartbeat")
            .ok()
            .filter(|answer| answer.status == 200)
    });
    assert!(alive.is_some(), "{}", pair.log(Process::Api));
}

fn leaf(https: &Https) -> Option<Vec<u8>> {
    https.look(HTTP_2).ok()?.chain.into_iter().next()
}

#[test]
fn https_sends_the_certificate_chain_with_http1_and_http2() {
    let authority = Authority::new();
    let (mut pair, port) = with_files();
    let issued = authority.issue(NAME);
    install_whole(&pair, &issued);
    pair.run(Process::Api);
    pair.run(Process::Sync);
    // The client trusts the root only, so handshakes fail if the server does not send the intermediate certificate.
    let https = Https::new(NAME, port, authority.root());
    wait_alive(&pair, &https);
    let token = pair.token("app", &["apps=read"]);
    let found = wait_until(|| {
        let answer = https.get(HTTP_2, &token, "/v1/vaults").ok()?;
        (answer.json[0]["name"] == "apps").then_some(answer.version)
    });
    assert_eq!(found, Some(Version::HTTP_2), "{}", pair.log(Process::Api));
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

    // The control: without the intermediate certificate the handshake fails.
    install(&pair, &issued.leaf, &issued.key);
    assert!(wait_until(|| https.look(HTTP_2).err()).is_some());
}

#[test]
fn a_replaced_certificate_is_used_and_an_invalid_one_is_not() {
    let authority = Authority::new();
    let (mut pair, port) = with_files();
    install_whole(&pair, &authority.issue(NAME));
    pair.run(Process::Api);
    let https = Https::new(NAME, port, authority.root());
    wait_alive(&pair, &https);
    let first = leaf(&https).unwrap();

    // The key belongs to another certificate.
    let (next, stray) = (authority.issue(NAME), authority.issue(NAME));
    install(&pair, &next.chain, &stray.key);
    let reported = wait_until(|| {
        pair.log(Process::Api)
            .contains("the old one is still served")
            .then_some(())
    });
    assert!(reported.is_some(), "{}", pair.log(Process::Api));
    assert_eq!(leaf(&https).as_ref(), Some(&first));

    install_whole(&pair, &next);
    let changed = wait_until(|| leaf(&https).filter(|leaf| *leaf != first));
    assert!(changed.is_some(), "{}", pair.log(Process::Api));
}

#[test]
fn a_certificate_without_its_key_is_a_configuration_error() {
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
        pair.run(Process::Api);
        assert_eq!(pair.wait_ended(Process::Api).code(), Some(78), "{name}");
        let log = pair.log(Process::Api);
        assert!(log.contains(name) && log.contains(missing), "{log}");
    }
    // At the start, the api ends if the files can't be used.
    let (mut pair, _) = with_files();
    install(&pair, &issued.chain, &authority.issue(NAME).key);
    pair.run(Process::Api);
    assert_eq!(pair.wait_ended(Process::Api).code(), Some(78));
    let log = pair.log(Process::Api);
    assert!(log.contains("OP_TLS_KEY_FILE") && log.contains("tls.key"), "{log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

/// An ACME server, and a pair that gets its certificate there. `None` if the programs are missing.
fn with_acme() -> Option<(Pebble, ServerPair, Https)> {
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

/// The certificate chain that the api has stored, PEM, leaf first.
fn kept(pair: &ServerPair) -> String {
    let files = files_below(&pair.path("data/.op/data/acme"));
    let (_, bytes) = files
        .iter()
        .find(|(path, _)| path.ends_with(format!("{NAME}.pem")))
        .unwrap();
    let text = String::from_utf8_lossy(bytes);
    text[text.find("-----BEGIN CERTIFICATE").unwrap()..].to_owned()
}

#[test]
fn a_certificate_from_acme_is_kept_and_renewed() {
    let Some((pebble, mut pair, https)) = with_acme() else {
        return;
    };
    pair.run(Process::Api);
    wait_alive(&pair, &https);
    let seen = https.look(HTTP_2).unwrap();
    assert_eq!(seen.chain.len(), 3, "the leaf and both intermediates");
    assert_eq!(seen.protocol.as_deref(), Some("h2"));
    assert_eq!(pebble.orders(), 1);

    // Only the server's user can read the private keys.
    let folder = pair.path("data/.op/data/acme");
    assert_eq!(mode(&folder), 0o700);
    let files = files_below(&folder);
    assert_eq!(files.len(), 2, "an account and a certificate");
    for (path, _) in &files {
        assert_eq!(mode(path), 0o600, "{}", path.display());
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
    // Without a pending challenge, a handshake with only `acme-tls/1` fails; with another protocol that one is selected.
    assert!(https.look(&["acme-tls/1"]).is_err());
    assert_eq!(
        https.look(&["acme-tls/1", "h2"]).unwrap().protocol.as_deref(),
        Some("h2")
    );

    pair.kill(Process::Api);
    pair.run(Process::Api);
    wait_alive(&pair, &https);
    assert_eq!(https.look(HTTP_2).unwrap().chain, seen.chain);
    assert_eq!(pebble.orders(), 1, "a restart asks for nothing");

    pair.kill(Process::Api);
    pebble.want_renewed(&kept(&pair));
    pair.run(Process::Api);
    let renewed = wait_until(|| leaf(&https).filter(|leaf| *leaf != seen.chain[0]));
    assert!(renewed.is_some(), "{}\n{}", pair.log(Process::Api), pebble.log());
    assert_eq!(pebble.orders(), 2);
}

#[test]
fn a_failed_acme_validation_is_logged_and_retried() {
    let Some((pebble, mut pair, https)) = with_acme() else {
        return;
    };
    pebble.lead_names_here(false);
    pair.run(Process::Api);
    let reported = wait_until(|| {
        pair.log(Process::Api)
            .contains("did not find this server at the domain")
            .then_some(())
    });
    let log = pair.log(Process::Api);
    assert!(reported.is_some(), "{log}\n{}", pebble.log());
    assert!(log.contains(NAME) && log.contains("next_attempt_seconds"), "{log}");
    assert!(https.look(HTTP_2).is_err(), "there is no certificate to show");
    let hinted = wait_until(|| {
        pair.log(Process::Api)
            .contains("there is no certificate yet")
            .then_some(())
    });
    assert!(hinted.is_some(), "{}", pair.log(Process::Api));

    pebble.lead_names_here(true);
    let issued = wait_until(|| leaf(&https));
    assert!(issued.is_some(), "{}\n{}", pair.log(Process::Api), pebble.log());
    assert_eq!(pebble.orders(), 2);
}

/// A ClientHello (RFC 5246, 7.4.1.2) in its record, for [`NAME`].
fn client_hello(version: u16, suites: &[u16], groups: &[u16]) -> Vec<u8> {
    let list = |values: &[u16]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
    };
    let extension = |kind: u16, body: &[u8]| {
        let length = (body.len() as u16).to_be_bytes();
        [&kind.to_be_bytes()[..], &length, body].concat()
    };
    let name = [&[0][..], &(NAME.len() as u16).to_be_bytes(), NAME.as_bytes()].concat();
    let names = [&(name.len() as u16).to_be_bytes()[..], &name].concat();
    // ECDSA and RSA with SHA-256, SHA-384 and SHA-512, RSA-PSS; points are not compressed; an extended master secret.
    let schemes = list(&[0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601]);
    let extensions = [
        extension(0, &names),
        extension(10, &list(groups)),
        extension(11, &[1, 0]),
        extension(13, &schemes),
        extension(23, &[]),
    ]
    .concat();
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        &[0],
        &list(suites),
        &[1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    let handshake = [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    [&[22, 3, 1][..], &(handshake.len() as u16).to_be_bytes(), &handshake].concat()
}

/// The suite in the ServerHello that the server sends for a ClientHello; `None` if it sends an alert.
fn agreed(port: u16, hello: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(hello).unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut body).unwrap();
    match head[0] {
        // Type and length, version, random, and the session's id with its length come before the suite.
        22 => {
            let at = 4 + 2 + 32;
            let at = at + 1 + usize::from(body[at]);
            Some(u16::from_be_bytes([body[at], body[at + 1]]))
        }
        21 => None,
        other => panic!("a record of type {other}"),
    }
}

/// The server accepts what Mozilla's "intermediate" profile allows (Server Side TLS 5.7): of TLS 1.2 the six suites with
/// ephemeral keys and authenticated encryption, on three curves, and no older version. rustls' TLS 1.3 suites are those of
/// the profile.
#[test]
fn tls_offers_mozillas_intermediate_profile_only() {
    let (mut pair, port) = with_files();
    let authority = Authority::new();
    install_whole(&pair, &authority.issue(NAME));
    pair.run(Process::Api);
    wait_alive(&pair, &Https::new(NAME, port, authority.root()));
    // Suites for the certificate's ECDSA key, and for an RSA key.
    let (ecdsa, rsa) = ([0xc02b, 0xc02c, 0xcca9], [0xc02f, 0xc030, 0xcca8]);
    let curves = [29, 23, 24];
    for suite in ecdsa {
        for curve in curves {
            let hello = client_hello(0x0303, &[suite], &[curve]);
            assert_eq!(agreed(port, &hello), Some(suite), "{suite:#x} {curve}");
        }
    }
    let known = (0..=0x00ff)
        .chain(0x1301..=0x1305)
        .chain(0xc000..=0xc0ff)
        .chain(0xcca8..=0xccae);
    let others: Vec<u16> = known
        .filter(|suite| !ecdsa.contains(suite) && !rsa.contains(suite))
        .collect();
    assert_eq!(agreed(port, &client_hello(0x0303, &others, &curves)), None);
    for version in [0x0300, 0x0301, 0x0302] {
        let all: Vec<u16> = ecdsa.iter().chain(&rsa).chain(&others).copied().collect();
        assert_eq!(
            agreed(port, &client_hello(version, &all, &curves)),
            None,
            "{version:#x}"
        );
    }
    // sect571r1, secp192r1, secp256k1, secp521r1, brainpool, x448, ffdhe2048.
    let weak = [14, 19, 22, 25, 26, 27, 28, 30, 256];
    assert_eq!(agreed(port, &client_hello(0x0303, &ecdsa, &weak)), None);
}
