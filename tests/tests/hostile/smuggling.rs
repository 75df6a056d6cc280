//! Request smuggling (RFC 9112, 11.2): requests about whose end a proxy and the server could disagree. Each is followed by
//! bytes that a proxy would take for a part of its body. The server must either refuse the request and close the connection,
//! or take these bytes for the body, too. It must not take them for another request.

use sidevault_tests::pair::ServerPair;
use sidevault_tests::wire::{Request, Wire, exchange};

/// The expected outcome.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    /// A 400 (or another 4xx for its size), and the connection is closed.
    Refused,
    /// The request is answered, and so is the request that follows it (`NEXT`).
    Next,
    /// Either. RFC 9112 leaves it open.
    Either,
}

/// The case's name, the bytes from the headers on, and the expected outcome. `SMUGGLED` stands for a request that deletes the
/// item, `NEXT` for a harmless one.
const CASES: &[(&str, &str, Then)] = &[
    // Contradictory lengths (RFC 9112, 6.1 and 6.3).
    (
        "CL and TE",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Either,
    ),
    (
        "TE and CL",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Either,
    ),
    (
        "two lengths",
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a list of lengths",
        "Content-Length: 0, 5\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a length with a sign",
        "Content-Length: +0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    ("a negative length", "Content-Length: -1\r\n\r\nSMUGGLED", Then::Refused),
    (
        "a length in hexadecimal",
        "Content-Length: 0x0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a length that overflows",
        "Content-Length: 18446744073709551616\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    ("no length", "Content-Length:\r\n\r\nSMUGGLED", Then::Refused),
    (
        "a length of blanks within",
        "Content-Length: 1 0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    // Transfer codings (6.1, 7.1).
    (
        "an unknown coding",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    ("identity", "Transfer-Encoding: identity\r\n\r\nSMUGGLED", Then::Refused),
    (
        "chunked is not the last",
        "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "chunked in quotes",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a vertical tab before chunked",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a blank before the colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "an underscore",
        "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nNEXT",
        Then::Next,
    ),
    // Malformed lines (2.2, 5.1, 5.2).
    (
        "a folded header",
        "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a folded coding",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a bare CR",
        "X-A: b\rTransfer-Encoding: chunked\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    ("a bare LF", "X-A: b\nContent-Length: 5\n\n12345NEXT", Then::Either),
    ("a NUL", "X-A: b\0\r\n\r\nSMUGGLED", Then::Refused),
    ("a header without a name", ": b\r\n\r\nSMUGGLED", Then::Refused),
    (
        "a header without a colon",
        "Content-Length 0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    // Chunks (7.1).
    (
        "an extension",
        "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n12345\r\n0\r\n\r\nNEXT",
        Then::Next,
    ),
    (
        "an extension with a line end",
        "Transfer-Encoding: chunked\r\n\r\n5;a=\"\n\"\r\n12345\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a size with a sign",
        "Transfer-Encoding: chunked\r\n\r\n+5\r\n12345\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a size with a prefix",
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\n12345\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a size that overflows",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\n12345\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a chunk that is too long",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n1234567\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a chunk ended by LF",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a size ended by LF",
        "Transfer-Encoding: chunked\r\n\r\n5\n12345\r\n0\r\n\r\nSMUGGLED",
        Then::Refused,
    ),
    (
        "a trailer",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\r\nNEXT",
        Then::Next,
    ),
    (
        "a trailer with a length",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\nNEXT",
        Then::Next,
    ),
    // Host (3.2).
    ("two hosts", "Host: other\r\n\r\nNEXT", Then::Either),
];

struct Server {
    pair: ServerPair,
    token: String,
    item: String,
}

impl Server {
    /// Sends bytes, and returns the statuses of all responses until the server closes the connection.
    fn send(&self, bytes: &[u8]) -> Vec<u16> {
        let mut wire = Wire::open(self.pair.address()).unwrap();
        wire.send(bytes).unwrap();
        let mut statuses = Vec::new();
        while let Ok(reply) = wire.reply(false) {
            if reply.status == 0 {
                break;
            }
            statuses.push(reply.status);
        }
        statuses
    }

    fn has_item(&self) -> bool {
        self.pair.get(&self.token, &self.item).status == 200
    }
}

#[test]
fn no_body_is_read_as_a_request() {
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let token = pair.token("t", &["apps=read,write"]);
    let made = pair
        .ask(
            &token,
            "POST",
            "/v1/vaults/apps/items",
            r#"{"title":"a","category":"LOGIN"}"#,
        )
        .unwrap();
    let item = format!("/v1/vaults/apps/items/{}", made.json()["id"].as_str().unwrap());
    let server = Server { pair, token, item };
    let text = |request: Request| String::from_utf8(request.bytes()).unwrap();
    let smuggled = text(Request::new("DELETE", &server.item).bearer(&server.token));
    let next = text(Request::new("GET", "/heartbeat").header("Connection", "close"));
    let mut wrong = Vec::new();
    for (name, rest, then) in CASES {
        let rest = rest.replace("SMUGGLED", &smuggled).replace("NEXT", &next);
        // With a valid token, because without one the server does not read the body.
        let request = format!(
            "POST /v1/vaults/apps/items HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{rest}",
            server.token
        );
        let statuses = server.send(request.as_bytes());
        let is_refused = matches!(statuses[..], [400..=499]) || statuses.is_empty();
        let goes_on = matches!(statuses[..], [400..=499, 200]);
        let is_right = match then {
            Then::Refused => is_refused,
            Then::Next => goes_on,
            Then::Either => is_refused || goes_on,
        };
        if !is_right {
            wrong.push(format!("{name}: {statuses:?} is not {then:?}"));
        }
        if !server.has_item() {
            panic!("{name}: the item is gone");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Trailers are limited, although they do not count as a part of the body.
    let trailers = "X-A: b\r\n".repeat(50_000);
    let huge = format!(
        "POST /v1/vaults/apps/items HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: \
         chunked\r\n\r\n0\r\n{trailers}\r\n",
        server.token
    );
    let statuses = server.send(huge.as_bytes());
    assert!(statuses.iter().all(|status| *status >= 400), "{statuses:?}");
    // The server ignores the host, in the target and in the header.
    for (target, host, status) in [
        ("http://evil.example/heartbeat", "localhost", 200),
        ("/heartbeat", "evil.example", 200),
        ("/heartbeat", "", 200),
        ("/heartbeat", "a b", 200),
        ("http:///heartbeat", "localhost", 400),
        ("//heartbeat", "localhost", 200),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let statuses = server.send(request.as_bytes());
        assert!(
            statuses == [status] || statuses == [400],
            "{target} {host:?}: {statuses:?}"
        );
    }
    let alive = exchange(server.pair.address(), &Request::new("GET", "/heartbeat").bytes()).unwrap();
    assert_eq!(alive.status, 200);
    assert!(server.has_item());
}
