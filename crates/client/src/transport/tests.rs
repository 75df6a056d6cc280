//! Requests, and every way in which an answer can be wrong.

use super::*;
use crate::testing::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_get_has_path_token_and_user_agent_and_no_body() {
    let server = Server::always(json("[]")).await;
    server.client().vaults(None).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "GET /v1/vaults");
    assert_eq!(seen.header("authorization"), Some("Bearer header.hunter2.signature"));
    assert_eq!(seen.header("user-agent"), Some("sidevault-client/0.1.0"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!((seen.header("content-length"), seen.body.as_str()), (None, ""));
}

#[tokio::test]
async fn a_host_may_have_a_path_and_trailing_slashes() {
    let server = Server::always(json("[]")).await;
    for (path, expected) in [
        ("/", "GET /v1/vaults"),
        ("//", "GET /v1/vaults"),
        ("/connect", "GET /connect/v1/vaults"),
        ("/a%20b/c//", "GET /a%20b/c/v1/vaults"),
    ] {
        let client = Client::builder(format!("{}{path}", server.host), TOKEN).user_agent("op-test/1");
        client.build().unwrap().vaults(None).await.unwrap();
        assert_eq!(server.lines().pop().unwrap(), expected);
    }
    assert_eq!(server.seen()[0].header("user-agent"), Some("op-test/1"));
}

#[tokio::test]
async fn a_filter_is_percent_encoded() {
    let server = Server::always(json("[]")).await;
    for title in ["Wi-Fi", "a & b + c # d % e", "say \"hi\"", "Zürich 🔑", ""] {
        server
            .client()
            .items(vault_id(), Some(&Filter::title(title)))
            .await
            .unwrap();
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.filter().unwrap(), format!("title eq \"{title}\""));
    }
}

async fn refusal_of(reply: Reply) -> (u16, String) {
    match Server::always(reply).await.client().vault(vault_id()).await {
        Err(ClientError::Status { status, message }) => (status, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_message_of_connects_error_body_is_shown() {
    let (status, message) = refusal_of(refuse(404, "vault vvv not found")).await;
    assert_eq!((status, message.as_str()), (404, "vault vvv not found"));
    // The HTTP status is what counts.
    let body = r#"{"status":200,"message":"x"}"#;
    assert_eq!(
        refusal_of(answer(403, "application/json", body)).await,
        (403, "x".to_owned())
    );
}

#[tokio::test]
async fn other_error_bodies_are_not_shown() {
    for body in [
        "<html>hunter2</html>",
        "",
        "[]",
        "{}",
        r#"{"message":7}"#,
        r#"{"status":502,"message":" "}"#,
        // Kubernetes, an API gateway, Spring, Vault.
        r#"{"kind":"Status","status":"Failure","message":"hunter2","code":502}"#,
        r#"{"message":"hunter2"}"#,
        r#"{"timestamp":"x","status":502,"error":"Bad Gateway","message":"hunter2","path":"/"}"#,
        r#"{"errors":["hunter2"]}"#,
        "\"x\"",
    ] {
        let (status, message) = refusal_of(answer(502, "text/html", body)).await;
        assert_eq!((status, message.as_str()), (502, "Bad Gateway"), "{body}");
    }
    assert_eq!(refusal_of(answer(599, "text/html", "")).await.1, "no reason given");
    // Cut short, or longer than anyone reads.
    let cut = raw("HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\n{\"message\"");
    assert_eq!(refusal_of(cut).await, (503, "Service Unavailable".into()));
    let long = format!("{{\"status\":400,\"message\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(refusal_of(answer(400, "application/json", &long)).await.0, 400);
}

#[tokio::test]
async fn an_error_message_is_shown_without_token_and_control_characters() {
    let message = format!("bad\u{1b}[2J\n{TOKEN} {}{TOKEN}", "ü".repeat(505));
    let (_, shown) = refusal_of(refuse(400, &message)).await;
    assert!(shown.starts_with("bad\u{fffd}[2J [token] ü"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("header"), "{shown}");
    assert!(shown.len() <= MESSAGE_BYTES + '…'.len_utf8());
    let client = Server::always(json("")).await.client();
    assert!(!format!("{client:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::always(json("[]")).await;
    let head = format!(
        "HTTP/1.1 302 X\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n",
        elsewhere.host
    );
    let (status, message) = refusal_of(raw(head)).await;
    assert_eq!(status, 302);
    assert!(message.contains("redirects"));
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn a_truncated_answer_is_an_error() {
    for reply in [
        raw("HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n[{\"id\""),
        raw("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"id\r\n"),
        raw("HTTP/1.0 200 X\r\n\r\n[{\"id\""),
        raw("HTTP/1.1 200 X\r\nContent-Le"),
        Reply::new(),
    ] {
        let server = Server::always(reply).await;
        let error = server.client().vaults(None).await.unwrap_err();
        assert!(matches!(error, ClientError::Interrupted(_)), "{error:?}");
        assert!(error.is_unreachable());
        // It was connected, so it is not tried again.
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_in_another_form_is_not_quoted() {
    let server = Server::always(json("{\"id\":\n\"hunter2\"}")).await;
    let error = server.client().vault(vault_id()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Decode {
                what: "vault",
                line: 2,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let server = Server::always(answer(200, "text/html", "<html>")).await;
    let error = server.client().vaults(None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the answer is not a valid list of vaults: line 1, column 1"
    );
}

#[tokio::test]
async fn a_slow_server_times_out_before_or_within_the_body() {
    let long = Duration::from_secs(60);
    let head = b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n[".to_vec();
    for reply in [
        vec![(long, b"HTTP/1.1 200 X\r\n\r\n[]".to_vec())],
        vec![(Duration::ZERO, head), (long, b"]".to_vec())],
    ] {
        let server = Server::always(reply).await;
        let client = server.builder().timeout(Duration::from_millis(150)).build().unwrap();
        let errors = [
            client.vaults(None).await.unwrap_err(),
            client.delete_item(vault_id(), item_id()).await.unwrap_err(),
            client.health().await.unwrap_err(),
        ];
        let text = format!("{} did not answer within 150ms", server.host);
        assert!(errors.iter().all(|error| error.to_string() == text), "{errors:?}");
    }
}

/// An address where nobody listens.
async fn closed() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_get_is_retried_until_the_server_listens_and_a_change_is_not() {
    let address = closed().await;
    let client = Client::builder(format!("http://{address}"), TOKEN).build().unwrap();
    let error = client.delete_item(vault_id(), item_id()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(_)), "{error:?}");
    let starting = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let listener = TcpListener::bind(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        serve(
            stream,
            std::sync::Arc::default(),
            std::sync::Arc::new(|_: &ReceivedRequest, _| json("[]")),
        )
        .await;
    });
    assert_eq!(client.vaults(None).await.unwrap(), []);
    starting.await.unwrap();
}

/// What `Display` and `Debug` of the error show, for a path and a title that they must not show.
async fn unreachable(host: &str) -> String {
    let client = Client::builder(format!("{host}/hunter2"), TOKEN).build().unwrap();
    let filter = Filter::title("hunter2");
    let error = client.items(vault_id(), Some(&filter)).await.unwrap_err();
    assert!(error.is_unreachable());
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_the_reason() {
    let address = closed().await;
    assert_eq!(
        unreachable(&format!("http://{address}")).await,
        format!("http://{address} can't be reached: connection refused; no server listens on this port")
    );
    // No name server is needed to see that a label of 64 characters is no host name.
    let name = "x".repeat(64);
    assert_eq!(
        unreachable(&format!("http://{name}")).await,
        format!(
            "http://{name} can't be reached: the host name {name:?} was not found: neither DNS nor /etc/hosts has an \
             address for it"
        )
    );
}

#[tokio::test]
async fn https_to_a_server_without_tls_names_the_http_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Unread bytes would make the kernel reset the connection.
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    assert_eq!(
        unreachable(&format!("https://{address}")).await,
        format!("https://{address} can't be reached: the server does not speak TLS on this port; use http://{address}")
    );
}

#[tokio::test]
async fn a_refused_token_is_explained_with_the_server() {
    let server = Server::always(refuse(401, "Invalid token signature")).await;
    let error = server.client().vaults(None).await.unwrap_err();
    assert!(error.is_denied());
    assert_eq!(
        error.to_string(),
        format!(
            "status 401: Invalid token signature: {} does not accept the token, because it was made for other \
             credentials than this server's",
            server.host
        )
    );
    let server = Server::always(refuse(401, "Invalid bearer token")).await;
    let error = server.client().vaults(None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "status 401: Invalid bearer token: {} does not accept the token",
            server.host
        )
    );
}

#[tokio::test]
async fn localhost_is_resolved_without_the_c_library() {
    let server = Server::always(json("[]")).await;
    let host = server.host.replace("127.0.0.1", "localhost");
    let client = Client::builder(host, TOKEN).build().unwrap();
    assert_eq!(client.vaults(None).await.unwrap(), []);
}
