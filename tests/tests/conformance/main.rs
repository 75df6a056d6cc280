//! The behaviour of Connect on which its clients rely. `tests/CONFORMANCE.md` lists the checks by number; the name of a test
//! begins with the numbers of its checks.

mod auth;
mod change;
mod create;
mod files;
mod imitated;
mod lists;
mod operations;
mod read;
mod starts;
mod table;
mod transport;
mod vaults;

use std::fs;
use std::sync::{Arc, Mutex, Weak};

use serde_json::{Value, json};
use sidevault_tests::forge::Forge;
use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Reply, Request, exchange};

/// A running pair with a few vaults, and tokens for them.
struct TestServer {
    pair: ServerPair,
    /// A token with rights to all vaults but `foreign`.
    token: String,
    reader: String,
    writer: String,
    forge: Forge,
    own: String,
    other: String,
    foreign: String,
    /// The id of the directory vault.
    files: String,
}

/// The server that all running tests share. It is not in a static itself, because statics are never dropped, and the
/// processes would outlive the tests.
fn server() -> Arc<TestServer> {
    static SHARED: Mutex<Weak<TestServer>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(TestServer::start());
    *shared = Arc::downgrade(&server);
    server
}

impl TestServer {
    fn start() -> Self {
        let names = ["apps", "others", "foreign", "Homelab"];
        let mut arguments = vec!["--dir", "{root}/secrets", "--allow-ephemeral"];
        for name in names {
            arguments.extend(["--vault", name]);
        }
        let mut pair = ServerPair::prepare(
            &arguments,
            &[("OP_LOG_LEVEL", "debug"), ("OP_MAX_INLINE_FILE_SIZE_KB", "1")],
        );
        let secrets = pair.path("secrets");
        fs::write(secrets.join("letters.bin"), files::LETTERS).unwrap();
        fs::write(secrets.join("bytes.bin"), files::every_byte()).unwrap();
        fs::write(secrets.join("large.bin"), vec![0xff; 5000]).unwrap();
        fs::write(secrets.join(files::ODD_NAME), [0xff, 0]).unwrap();
        fs::write(secrets.join("empty.bin"), "").unwrap();
        fs::create_dir(secrets.join("shared")).unwrap();
        std::os::unix::fs::symlink("../letters.bin", secrets.join("shared/letters.bin")).unwrap();
        pair.run(Process::Api);
        pair.run(Process::Sync);
        pair.wait_linked();
        let all = pair.token(
            "all",
            &["foreign=read,write", "apps=read", "others=read", "secrets=read"],
        );
        let token = pair.token(
            "owner",
            &[
                "apps=read,write",
                "others=read,write",
                "Homelab=read",
                "secrets=read,write",
                "shared=read",
            ],
        );
        Self {
            reader: pair.token("reader", &["apps=read"]),
            writer: pair.token("writer", &["apps=write"]),
            forge: Forge::new(&fs::read(pair.path("keys/issuer.json")).unwrap()),
            own: pair.vault(&all, "apps"),
            other: pair.vault(&all, "others"),
            foreign: pair.vault(&all, "foreign"),
            files: pair.vault(&all, "secrets"),
            token,
            pair,
        }
    }

    /// `/v1/vaults/{own}/items`.
    fn items(&self) -> String {
        format!("/v1/vaults/{}/items", self.own)
    }

    fn path(&self, item: &Value) -> String {
        format!("{}/{}", self.items(), item["id"].as_str().unwrap())
    }

    fn get(&self, target: &str) -> Reply {
        self.pair.get(&self.token, target)
    }

    fn send(&self, method: &str, target: &str, body: &Value) -> Reply {
        self.pair.ask(&self.token, method, target, &body.to_string()).unwrap()
    }

    fn delete(&self, target: &str) -> Reply {
        self.pair.ask(&self.token, "DELETE", target, "").unwrap()
    }

    fn post(&self, item: &Value) -> Reply {
        self.send("POST", &self.items(), item)
    }

    /// Creates an item, and returns it as a GET shows it.
    fn made(&self, item: &Value) -> Value {
        let reply = self.post(item);
        assert_eq!(reply.status, 200, "{item}: {}", reply.text());
        self.get(&self.path(&reply.json())).json()
    }

    /// The titles of the items that a filter finds. The filter is sent percent-encoded.
    fn found(&self, filter: &str) -> Vec<String> {
        let reply = self.get(&format!("{}?filter={}", self.items(), encoded(filter)));
        assert_eq!(reply.status, 200, "{filter}: {}", reply.text());
        titles(&reply.json(), "title")
    }
}

fn titles(list: &Value, member: &str) -> Vec<String> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|entry| entry[member].as_str().unwrap().to_owned())
        .collect()
}

/// Percent-encodes every byte that is not a letter or digit.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A LOGIN with a user name and a password.
fn login(title: &str) -> Value {
    json!({
        "title": title,
        "category": "LOGIN",
        "fields": [
            { "id": "username", "purpose": "USERNAME", "type": "STRING", "value": "ada" },
            { "id": "password", "purpose": "PASSWORD", "type": "CONCEALED", "value": "first" },
        ],
    })
}

/// A LOGIN with this one field.
fn with_field(title: &str, field: &Value) -> Value {
    json!({ "title": title, "category": "LOGIN", "fields": [field] })
}

fn field<'a>(item: &'a Value, id: &str) -> Option<&'a Value> {
    item["fields"].as_array()?.iter().find(|field| field["id"] == id)
}

fn value(item: &Value, id: &str) -> String {
    let field = field(item, id).unwrap_or_else(|| panic!("no {id}: {item}"));
    field["value"].as_str().unwrap().to_owned()
}

/// Asserts that the response is an error in Connect's form, with this status and a message that contains `message`.
fn refused(reply: &Reply, status: u16, message: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.json()["status"], status, "{}", reply.text());
    let text = reply.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(text.contains(message), "{text:?} lacks {message:?}");
    if matches!(status, 401 | 403 | 500..) {
        let text = text.to_lowercase();
        for misread in ["404", "not found", "409", "conflict", "rate limit"] {
            assert!(!text.contains(misread), "{text}");
        }
    }
}

/// Sends a request as it is, without adding a token.
fn raw(server: &TestServer, request: Request) -> Reply {
    exchange(server.pair.address(), &request.bytes()).unwrap()
}
