//! `/v1/events`: which events a client gets when it resumes.

use std::fs;

use sidevault_tests::pair::{Process, ServerPair, wait_until};
use sidevault_tests::wire::{Request, Wire};

/// A pair on a directory of plain files.
struct TestServer {
    pair: ServerPair,
    token: String,
}

impl TestServer {
    fn start() -> Self {
        let mut pair = ServerPair::prepare(&["--dir", "{root}/secrets"], &[]);
        for name in ["a", "rotating", "z"] {
            write(&pair, name, "1");
        }
        let token = pair.token("reader", &["secrets=read"]);
        pair.run(Process::Sync);
        pair.run(Process::Api);
        pair.wait_linked();
        let server = Self { pair, token };
        server.wait_value("1");
        server
    }

    fn wait_value(&self, value: &str) {
        let there = wait_until(|| {
            let item = self.pair.item(&self.token, "secrets", "rotating")?;
            let mut fields = item["fields"].as_array()?.iter();
            fields.find(|field| field["value"] == value).map(drop)
        });
        assert!(there.is_some(), "{}", self.pair.log(Process::Sync));
    }

    /// The id of the item `rotating`, the same in every store.
    fn item(&self) -> String {
        let item = self.pair.item(&self.token, "secrets", "rotating").expect("the item");
        item["id"].as_str().expect("an id").to_owned()
    }

    fn listen(&self, last: Option<&str>) -> Wire {
        let mut request = Request::new("GET", "/v1/events").bearer(&self.token);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let mut wire = Wire::open(self.pair.address()).expect("a connection");
        wire.send(&request.bytes()).expect("a request");
        assert_eq!(wire.reply(false).expect("an answer").status, 200);
        wire
    }

    /// The number of the newest change.
    fn here(&self) -> String {
        let text = until(&mut self.listen(None), "id:");
        let id = text.lines().find_map(|line| line.strip_prefix("id:"));
        id.expect("a number").trim().to_owned()
    }
}

fn write(pair: &ServerPair, name: &str, value: &str) {
    fs::write(
        pair.path("secrets").join(format!("{name}.yaml")),
        format!("v: \"{value}\"\n"),
    )
    .expect("a file");
}

/// Reads a stream until these words and the end of their event, or until a keep-alive comment.
fn until(wire: &mut Wire, words: &str) -> String {
    let text = wire.until(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let said = text.find(words).is_some_and(|at| text[at..].contains("\n\n"));
        said || text.contains("\n:\n")
    });
    String::from_utf8_lossy(&text.expect("a stream")).into_owned()
}

#[test]
fn a_resuming_client_gets_the_events_it_missed() {
    let mut server = TestServer::start();
    let (last, item) = (server.here(), server.item());
    server.pair.kill(Process::Api);
    write(&server.pair, "rotating", "2");
    server.pair.run(Process::Api);
    server.wait_value("2");
    let events = until(&mut server.listen(Some(&last)), &item);
    assert!(events.contains("item.updated") && events.contains(&item), "{events}");
    assert!(!events.contains("reset"), "{events}");
}

/// When an emptyDir is lost, the store is lost with it. The new store may have as many changes as the old one, or more.
#[test]
fn a_client_gets_reset_after_the_store_was_lost() {
    let mut server = TestServer::start();
    let mut lasts = vec![server.here()];
    for round in 2..4 {
        server.pair.kill(Process::Api);
        server.pair.kill(Process::Sync);
        server.pair.empty_disk();
        write(&server.pair, "rotating", &round.to_string());
        if round == 3 {
            for number in 0..20 {
                write(&server.pair, &format!("z-{number}"), "1");
            }
        }
        server.pair.run(Process::Sync);
        server.pair.run(Process::Api);
        server.pair.wait_linked();
        server.wait_value(&round.to_string());
        for last in &lasts {
            let events = until(&mut server.listen(Some(last)), "reset");
            assert!(events.contains("reset"), "after {last}: {events}");
        }
        lasts.push(server.here());
    }

    // The stream goes on from there.
    let mut stream = server.listen(lasts.first().map(String::as_str));
    let events = until(&mut stream, "reset");
    assert!(events.contains("reset"), "{events}");
    write(&server.pair, "rotating", "again");
    let item = server.item();
    let events = until(&mut stream, &item);
    assert!(events.contains("item.updated") && events.contains(&item), "{events}");
}

/// Changes in other vaults do not delay a client that resumes. `until` ends at a keep-alive comment.
#[test]
fn a_resuming_client_is_not_delayed_by_changes_in_other_vaults() {
    let server = TestServer::start();
    let (last, item) = (server.here(), server.item());
    let theirs = server.pair.path("secrets/theirs");
    fs::create_dir(&theirs).expect("a directory");
    let many: String = (0..1600).map(|number| format!("---\nv: {number}\n")).collect();
    fs::write(theirs.join("many.yaml"), many).expect("a file");
    let admin = server.pair.token("admin", &["theirs=read"]);
    let vault = server.pair.vault(&admin, "theirs");
    let all = wait_until(|| {
        let vault = server.pair.get(&admin, &format!("/v1/vaults/{vault}")).json();
        (vault["items"] == 1600).then_some(())
    });
    assert!(all.is_some(), "{}", server.pair.log(Process::Sync));
    write(&server.pair, "rotating", "2");
    server.wait_value("2");
    let events = until(&mut server.listen(Some(&last)), &item);
    assert!(events.contains("item.updated") && events.contains(&item), "{events}");
}
