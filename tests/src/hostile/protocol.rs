//! Malformed HTTP. What the HTTP library itself refuses is answered without the API's JSON body.

use super::{Case, HostileFixture, any, case};
use crate::wire::Request;

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    [lengths(fixture), lines(fixture), methods(fixture), targets(fixture)]
        .into_iter()
        .flatten()
        .collect()
}

fn lengths(fixture: &HostileFixture) -> Vec<Case> {
    let post = || fixture.ask("POST", fixture.items());
    let mut cases = Vec::new();
    for length in [
        "abc",
        "-1",
        "+2",
        "0x10",
        "1e3",
        "5, 6",
        "99999999999999999999999",
        "",
        "2 ",
        "\u{661}",
    ] {
        // Blanks around the number may be trimmed, and nothing else.
        let statuses: &[u16] = if length == "2 " { &[400] } else { &[400, 413] };
        cases.push(any(
            format!("Content-Length {length:?}"),
            post().header("Content-Length", length).raw_body("[]"),
            statuses,
            "",
        ));
    }
    let chunked = |body: &str| post().header("Transfer-Encoding", "chunked").raw_body(body);
    cases.extend([
        any(
            "two lengths",
            post()
                .header("Content-Length", "2")
                .header("Content-Length", "3")
                .raw_body("[]"),
            &[400],
            "",
        ),
        any(
            "a length and chunks",
            post()
                .header("Content-Length", "3")
                .header("Transfer-Encoding", "chunked")
                .raw_body("2\r\n[]\r\n0\r\n\r\n"),
            &[400],
            "",
        ),
        any(
            "an unknown coding",
            post().header("Transfer-Encoding", "gzip").raw_body("[]"),
            &[400, 501],
            "",
        ),
        any(
            "chunked not last",
            post().header("Transfer-Encoding", "chunked, gzip").raw_body("[]"),
            &[400, 501],
            "",
        ),
        any(
            "chunked with a tab",
            post()
                .header("Transfer-Encoding", "\tchunked\t")
                .raw_body("2\r\n[]\r\n0\r\n\r\n"),
            &[400],
            "",
        ),
        any(
            "chunked, oddly written",
            post()
                .header("Transfer-Encoding", "xchunked")
                .raw_body("2\r\n[]\r\n0\r\n\r\n"),
            &[400, 501],
            "",
        ),
        any("a chunk size of letters", chunked("zz\r\n[]\r\n0\r\n\r\n"), &[400], ""),
        any(
            "a chunk size beyond all",
            chunked("fffffffffffffffff\r\n[]\r\n0\r\n\r\n"),
            &[400],
            "",
        ),
        any("a negative chunk size", chunked("-2\r\n[]\r\n0\r\n\r\n"), &[400], ""),
        any("a chunk without its end", chunked("2\r\n[]x\r\n0\r\n\r\n"), &[400], ""),
        any("a chunk of bare line feeds", chunked("2\n[]\n0\n\n"), &[400], ""),
        any(
            "a long chunk extension",
            chunked(&format!("2;{}\r\n[]\r\n0\r\n\r\n", "x".repeat(100_000))),
            &[400],
            "",
        ),
        any(
            "a body for GET",
            fixture.ask("GET", "/v1/vaults").body("{\"x\":"),
            &[200],
            "[",
        ),
        any(
            "a body for DELETE",
            fixture
                .ask("DELETE", format!("{}/{}", fixture.items(), "n".repeat(26)))
                .body("["),
            &[404],
            "not found",
        ),
    ]);
    cases
}

fn lines(fixture: &HostileFixture) -> Vec<Case> {
    let token = &fixture.token;
    let raw = |name: &str, text: &str, statuses: &[u16]| any(name, text.replace("{token}", token), statuses, "");
    vec![
        raw("nonsense", "hello\r\n\r\n", &[400]),
        raw("HTTP/0.9", "GET /v1/vaults\r\n\r\n", &[400, 0]),
        raw("HTTP/1.0 without anything", "GET /v1/vaults HTTP/1.0\r\n\r\n", &[401]),
        raw("HTTP/1.2", "GET /v1/vaults HTTP/1.2\r\nHost: x\r\n\r\n", &[400, 505]),
        raw("HTTP/3.0", "GET /v1/vaults HTTP/3.0\r\nHost: x\r\n\r\n", &[400, 505]),
        raw("HTTP/9", "GET /v1/vaults HTTP/9\r\n\r\n", &[400, 505]),
        raw("http in small letters", "GET /v1/vaults http/1.1\r\n\r\n", &[400]),
        raw("no version", "GET /v1/vaults \r\n\r\n", &[400, 0]),
        raw("two blanks", "GET  /v1/vaults HTTP/1.1\r\nHost: x\r\n\r\n", &[400]),
        raw(
            "a tab for a blank",
            "GET\t/v1/vaults\tHTTP/1.1\r\nHost: x\r\n\r\n",
            &[400],
        ),
        raw("no Host", "GET /v1/vaults HTTP/1.1\r\n\r\n", &[400, 401]),
        raw(
            "two Hosts",
            "GET /v1/vaults HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            &[400, 401],
        ),
        raw(
            "a Host of nonsense",
            "GET /v1/vaults HTTP/1.1\r\nHost: a b@c:99999/\r\n\r\n",
            &[400, 401],
        ),
        raw(
            "a header without a colon",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
            &[400],
        ),
        raw(
            "a blank before the colon",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {token}\r\n\r\n",
            &[400],
        ),
        raw(
            "a folded header",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n {token}\r\n\r\n",
            &[400],
        ),
        raw("an empty header name", "GET /v1/vaults HTTP/1.1\r\n: x\r\n\r\n", &[400]),
        raw(
            "a header with a NUL",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
            &[400],
        ),
        raw(
            "a bare carriage return",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
            &[400],
        ),
        raw(
            "a header name with a umlaut",
            "GET /v1/vaults HTTP/1.1\r\nHöst: x\r\n\r\n",
            &[400],
        ),
        raw(
            "Expect nonsense",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nExpect: the-unexpected\r\n\r\n",
            &[401, 417],
        ),
        raw(
            "an upgrade to websocket",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            &[401],
        ),
        raw(
            "an upgrade to h2c",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            &[401],
        ),
        raw(
            "Connection names Authorization",
            "GET /v1/vaults HTTP/1.1\r\nHost: x\r\nConnection: close, Authorization\r\nAuthorization: Bearer x\r\n\r\n",
            &[401],
        ),
        any(
            "a TLS hello",
            b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n".to_vec(),
            &[400, 0],
            "",
        ),
        any("an SSH hello", b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(), &[400, 0], ""),
        any(
            "a PROXY line",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n".to_vec(),
            &[400],
            "",
        ),
        any("zeros", vec![0; 4096], &[400, 0], ""),
    ]
}

fn methods(fixture: &HostileFixture) -> Vec<Case> {
    let mut cases = Vec::new();
    for method in [
        "TRACE", "OPTIONS", "PROPFIND", "BREW", "get", "G-E-T", "POST", "DELETE", "PUT",
    ] {
        cases.push(case(
            format!("{method} of the vaults"),
            fixture.ask(method, "/v1/vaults"),
            405,
            "is not allowed",
        ));
    }
    for method in ["POST", "TRACE", "DELETE"] {
        cases.push(case(
            format!("{method} /heartbeat"),
            Request::new(method, "/heartbeat"),
            405,
            "is not allowed",
        ));
        cases.push(case(
            format!("{method} /metrics"),
            Request::new(method, "/metrics"),
            405,
            "is not allowed",
        ));
    }
    cases.extend([
        case(
            "POST of an item",
            fixture.ask("POST", fixture.item_path()).body("{}"),
            405,
            "is not allowed on this path",
        ),
        case(
            "PUT of the items",
            fixture.ask("PUT", fixture.items()).body("{}"),
            405,
            "is not allowed on this path",
        ),
        case(
            "GET of a restore",
            fixture.ask("GET", format!("{}/versions/1/restore", fixture.item_path())),
            405,
            "is not allowed on this path",
        ),
        case(
            "DELETE of a vault",
            fixture.ask("DELETE", format!("/v1/vaults/{}", fixture.own)),
            405,
            "is not allowed",
        ),
        case(
            "PUT of a content",
            fixture.ask("PUT", fixture.content()).body("x"),
            405,
            "is not allowed",
        ),
        any(
            "CONNECT to elsewhere",
            Request::new("CONNECT", "example.com:443"),
            &[400, 404, 405],
            "",
        ),
        any(
            "OPTIONS of everything",
            Request::new("OPTIONS", "*"),
            &[400, 404, 405],
            "",
        ),
        any("GET of everything", Request::new("GET", "*"), &[400, 404], ""),
        any(
            "an empty method",
            b" / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            &[400],
            "",
        ),
        any("a method with a quote", Request::new("GE\"T", "/"), &[400], ""),
    ]);
    cases
}

fn targets(fixture: &HostileFixture) -> Vec<Case> {
    vec![
        case(
            "an absolute form",
            fixture.ask("GET", "http://evil.example/v1/vaults"),
            200,
            &fixture.own,
        ),
        case(
            "an absolute form without a token",
            Request::new("GET", "http://evil.example/v1/vaults"),
            401,
            "Invalid",
        ),
        case(
            "an absolute form of a foreign vault",
            fixture.ask("GET", format!("http://localhost//v1//vaults/{}/", fixture.foreign)),
            403,
            "scope",
        ),
        any("a file URL", fixture.ask("GET", "file:///etc/passwd"), &[400, 404], ""),
        any("an authority", fixture.ask("GET", "localhost:8080"), &[400, 404], ""),
        any("no slash", fixture.ask("GET", "v1/vaults"), &[400, 404], ""),
        any(
            "an absolute form with a user",
            fixture.ask("GET", "http://a:b@localhost/v1/vaults"),
            &[200, 400],
            "",
        ),
        any("a query and no path", fixture.ask("GET", "?filter=x"), &[400, 404], ""),
    ]
}
