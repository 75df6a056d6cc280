//! `/v1/resolve`: what it answers, and what the activity log says about it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sidevault_tests::pair::wait_until;
use sidevault_tests::wire::{Reply, Request, exchange};

use crate::world::World;

fn ask(world: &World, request: Request) -> Reply {
    let port = world
        .url
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    exchange(address, &request.bearer(&world.token).bytes()).expect("an answer")
}

fn resolve(world: &World, references: &[&str]) -> Value {
    let body = json!({ "references": references }).to_string();
    let reply = ask(world, Request::new("POST", "/v1/resolve").body(world.with_ids(&body)));
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["results"].clone()
}

#[test]
fn each_reference_has_its_value_or_its_error_in_the_order_of_the_request() {
    let world = World::start();
    let results = resolve(
        &world,
        &[
            "op://apps/Database/password",
            "op://APPS/{Twin}/password",
            "op://apps/database/Replica/host",
            "op://files/ca.pem/ca.pem",
            "op://apps/Database/code?attribute=otp",
            "op://apps/none/x",
            "op://files/blob.bin/blob.bin",
            "op://apps/Twin/password",
            "nonsense",
            "op://none/x/y",
            "op://apps/Database/password",
        ],
    );
    let short = |result: &Value| match result["value"].as_str() {
        Some(value) => value.to_owned(),
        None => result["error"]["kind"].as_str().expect("a kind").to_owned(),
    };
    let mut shown: Vec<String> = results.as_array().expect("a list").iter().map(short).collect();
    let code = shown.remove(4);
    assert!(
        code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()),
        "{code}"
    );
    assert_eq!(
        shown,
        [
            "s3cret",
            "1",
            "db2",
            "-----BEGIN CERTIFICATE-----\n",
            "itemNotFound",
            "unsupportedFileFormat",
            "tooManyItems",
            "parsing",
            "vaultNotFound",
            "s3cret"
        ]
    );
    assert_eq!(results[0]["item"], world.with_ids("{Database}"));
    assert_eq!(results[5]["vault"], world.with_ids("{apps}"));
}

#[test]
fn the_activity_log_has_one_record_for_each_item() {
    let world = World::start();
    resolve(
        &world,
        &[
            "op://apps/Database/password",
            "op://apps/Database/username",
            "op://apps/deploy/private key",
            "op://apps/none/x",
        ],
    );
    // The api hands its records to sync once a second.
    let read = wait_until(|| {
        let records = ask(&world, Request::new("GET", "/v1/activity")).json();
        let records = records.as_array().expect("a list").iter();
        let reads = records.filter(|record| record["action"] == "READ" && !record["resource"]["item"].is_null());
        let read: Vec<String> = reads
            .map(|record| record["resource"]["item"]["id"].as_str().expect("an id").to_owned())
            .collect();
        (!read.is_empty()).then_some(read)
    });
    let mut read = read.expect("the records");
    read.sort();
    let mut expected = ["{Database}", "{deploy}"].map(|name| world.with_ids(name));
    expected.sort();
    assert_eq!(read, expected);
}

#[test]
fn a_file_that_is_no_text_is_read_by_its_content() {
    let world = World::start();
    let output = world
        .command(&["read", "-n", "op://files/blob.bin/blob.bin"])
        .output()
        .expect("it runs");
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    assert_eq!(output.stdout, bytes);
}
