//! Checks 160–174: files, as a directory gives them.

use super::{World, refused, world};
use base64::Engine as _;

pub(super) const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

pub(super) fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

/// The path of a document's files.
fn files(world: &World, title: &str) -> String {
    let item = world.pair.item(&world.token, &world.files, title).unwrap();
    format!(
        "/v1/vaults/{}/items/{}/files",
        world.files,
        item["id"].as_str().unwrap()
    )
}

#[test]
fn c160_161_162_167_171_contents() {
    let world = world();
    for (title, bytes) in [
        ("letters.bin", LETTERS.as_bytes().to_vec()),
        ("bytes.bin", every_byte()),
        ("naïve \"q\".bin", vec![0xff, 0]),
    ] {
        let list = world.get(&files(&world, title)).json();
        let file = &list[0];
        assert!(file["id"].is_string() && file["name"].is_string(), "{file}");
        assert_eq!(file["size"], bytes.len());
        assert!(file.get("content").is_none());
        let path = file["content_path"].as_str().unwrap();
        assert!(path.starts_with("/v1/"), "{path}");
        let content = world.get(path);
        assert_eq!((content.status, &content.body), (200, &bytes));
        assert_eq!(content.header("content-type"), Some("application/octet-stream"));
        assert_eq!(content.header("content-length"), Some(bytes.len().to_string().as_str()));
        let disposition = content.header("content-disposition").unwrap();
        assert!(
            disposition.starts_with("attachment") && disposition.is_ascii(),
            "{disposition}"
        );
    }
}

#[test]
fn c164_165_166_inline_contents() {
    let world = world();
    let list = world
        .get(&format!("{}?inline_files=true", files(&world, "letters.bin")))
        .json();
    let content = list[0]["content"].as_str().unwrap();
    assert_eq!(
        base64::engine::general_purpose::STANDARD.decode(content).unwrap(),
        LETTERS.as_bytes()
    );
    let large = files(&world, "large.bin");
    refused(
        &world.get(&format!("{large}?inline_files=true")),
        413,
        "File is too large to inline in request",
    );
    let id = world.get(&large).json()[0]["id"].as_str().unwrap().to_owned();
    let one = world.get(&format!("{large}/{id}?inline_files=true"));
    refused(&one, 413, "/content endpoint instead.");
    let odd = world.get(&format!("{large}?inline_files=banana"));
    assert!(matches!(odd.status, 200 | 400), "{}", odd.text());
}

#[test]
fn c168_169_174_files_elsewhere() {
    let world = world();
    let (letters, bytes) = (files(&world, "letters.bin"), files(&world, "bytes.bin"));
    let unknown = "aaaaaaaaaaaaaaaaaaaaaaaaaa";
    refused(
        &world.get(&format!("{letters}/{unknown}")),
        404,
        &format!("file {unknown} not found"),
    );
    let id = world.get(&bytes).json()[0]["id"].as_str().unwrap().to_owned();
    refused(&world.get(&format!("{letters}/{id}")), 404, "not found");
    let foreign = format!("/v1/vaults/{}/items/{unknown}/files", world.foreign);
    for path in [
        foreign.clone(),
        format!("{foreign}/{id}"),
        format!("{foreign}/{id}/content"),
    ] {
        refused(&world.get(&path), 403, "Authorization");
    }
}
