//! Checks 160–174: files of directory vaults.

use std::fs;

use super::{TestServer, refused, server};
use base64::Engine as _;
use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, Wire};

pub(super) const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// A file name that has to be escaped in a header.
pub(super) const ODD_NAME: &str = "naïve \"q\"\r\n.bin";

pub(super) fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

/// The path of a document's files.
fn files(server: &TestServer, title: &str) -> String {
    let item = server.pair.item(&server.token, &server.files, title).unwrap();
    format!(
        "/v1/vaults/{}/items/{}/files",
        server.files,
        item["id"].as_str().unwrap()
    )
}

#[test]
fn c160_161_162_167_171_file_contents_and_headers() {
    let server = server();
    for (title, bytes) in [
        ("letters.bin", LETTERS.as_bytes().to_vec()),
        ("bytes.bin", every_byte()),
        (ODD_NAME, vec![0xff, 0]),
    ] {
        let list = server.get(&files(&server, title)).json();
        let file = &list[0];
        assert!(file["id"].is_string() && file["name"].is_string(), "{file}");
        assert_eq!(file["size"], bytes.len());
        assert!(file.get("content").is_none());
        let path = file["content_path"].as_str().unwrap();
        assert!(path.starts_with("/v1/"), "{path}");
        let content = server.get(path);
        assert_eq!((content.status, &content.body), (200, &bytes));
        assert_eq!(content.header("content-type"), Some("application/octet-stream"));
        assert_eq!(content.header("content-length"), Some(bytes.len().to_string().as_str()));
        // RFC 6266: `filename` is ASCII; `filename*` has the exact name, if that differs.
        let disposition = content.header("content-disposition").unwrap();
        let expected = match title {
            ODD_NAME => {
                "attachment; filename=\"na_ve _q___.bin\"; filename*=UTF-8''na%C3%AFve%20%22q%22%0D%0A.bin".to_owned()
            }
            plain => format!("attachment; filename=\"{plain}\""),
        };
        assert_eq!(disposition, expected);
    }
}

#[test]
fn c163_an_empty_file_has_empty_content() {
    let server = server();
    let list = server.get(&files(&server, "empty.bin")).json();
    assert_eq!(list[0]["size"], 0);
    let content = server.get(list[0]["content_path"].as_str().unwrap());
    assert_eq!((content.status, content.body.len()), (200, 0));
    assert_eq!(content.header("content-length"), Some("0"));
}

#[test]
fn c170_a_file_shared_by_two_vaults_is_read_through_each() {
    let server = server();
    let shared = server.pair.vault(&server.token, "shared");
    let mut paths = Vec::new();
    for vault in [&server.files, &shared] {
        let item = server.pair.item(&server.token, vault, "letters.bin").unwrap();
        let path = item["files"][0]["content_path"].as_str().unwrap().to_owned();
        assert!(path.contains(vault.as_str()), "{path}");
        let content = server.get(&path);
        assert_eq!((content.status, content.text().as_str()), (200, LETTERS));
        paths.push(path);
    }
    assert_ne!(paths[0], paths[1]);
}

#[test]
fn c172_a_file_request_waits_for_the_first_scan() {
    let mut pair = ServerPair::prepare(&["--dir", "{root}/secrets"], &[("OP_SYNC_TIMEOUT", "60s")]);
    fs::write(pair.path("secrets/late.bin"), LETTERS).unwrap();
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let token = pair.token("t", &["secrets=read"]);
    let vault = pair.vault(&token, "secrets");
    let item = pair.item(&token, &vault, "late.bin").unwrap();
    let path = item["files"][0]["content_path"].as_str().unwrap().to_owned();
    // The store is lost, and a client requests the path that it knows before sync has read the files.
    pair.kill(Process::Api);
    pair.kill(Process::Sync);
    fs::remove_dir_all(pair.path("data/.op")).unwrap();
    pair.run(Process::Api);
    assert!(wait_until(|| pair.health()["name"].as_str().map(|_| ())).is_some());
    let mut wire = Wire::open(pair.address()).unwrap();
    wire.send(&Request::new("GET", &path).bearer(&token).bytes()).unwrap();
    pair.run(Process::Sync);
    let content = wire.reply(false).unwrap();
    assert_eq!((content.status, content.text().as_str()), (200, LETTERS));
}

#[test]
fn c164_165_166_inline_file_contents() {
    let server = server();
    let list = server
        .get(&format!("{}?inline_files=true", files(&server, "letters.bin")))
        .json();
    let content = list[0]["content"].as_str().unwrap();
    assert_eq!(
        base64::engine::general_purpose::STANDARD.decode(content).unwrap(),
        LETTERS.as_bytes()
    );
    let large = files(&server, "large.bin");
    refused(
        &server.get(&format!("{large}?inline_files=true")),
        413,
        "File is too large to inline in request",
    );
    let id = server.get(&large).json()[0]["id"].as_str().unwrap().to_owned();
    let one = server.get(&format!("{large}/{id}?inline_files=true"));
    refused(&one, 413, "/content endpoint instead.");
    let odd = server.get(&format!("{large}?inline_files=banana"));
    assert!(matches!(odd.status, 200 | 400), "{}", odd.text());
}

#[test]
fn c168_169_174_unknown_files_and_files_of_other_items() {
    let server = server();
    let (letters, bytes) = (files(&server, "letters.bin"), files(&server, "bytes.bin"));
    let unknown = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    refused(
        &server.get(&format!("{letters}/{unknown}")),
        404,
        &format!("file {unknown} not found"),
    );
    let id = server.get(&bytes).json()[0]["id"].as_str().unwrap().to_owned();
    refused(&server.get(&format!("{letters}/{id}")), 404, "not found");
    let foreign = format!("/v1/vaults/{}/items/{unknown}/files", server.foreign);
    for path in [
        foreign.clone(),
        format!("{foreign}/{id}"),
        format!("{foreign}/{id}/content"),
    ] {
        refused(&server.get(&path), 403, "Authorization");
    }
}
