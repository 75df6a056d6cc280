//! Contents, ranges and broken downloads.

use std::time::Duration;

use super::*;
use crate::testing::*;

fn content_of(server: &Server) -> impl Future<Output = Result<FileContent, ClientError>> {
    resumed(server, None)
}

fn resumed(server: &Server, point: Option<ResumePoint>) -> impl Future<Output = Result<FileContent, ClientError>> {
    let client = server.client();
    async move {
        client
            .file_content(vault_id(), item_id(), file_id(), point.as_ref())
            .await
    }
}

/// The point after `offset` bytes of the version `"one"`.
fn point(offset: u64) -> Option<ResumePoint> {
    Some(ResumePoint {
        offset,
        etag: HeaderValue::from_static("\"one\""),
    })
}

fn sent(head: &str, content: &[u8]) -> Reply {
    let mut bytes = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(content);
    raw(bytes)
}

#[tokio::test]
async fn files_are_listed_and_read_by_id() {
    let file = format!(r#"{{"id":"{FILE}","name":"tls.crt","size":4,"content_path":"/v1/x","content":null}}"#);
    let server = Server::start(move |seen, _| {
        if seen.line.ends_with("/files") {
            json(&format!("[{file}]"))
        } else {
            json(&file)
        }
    })
    .await;
    let listed = server.client().files(vault_id(), item_id()).await.unwrap();
    let shown = server.client().file(vault_id(), item_id(), file_id()).await.unwrap();
    assert_eq!((&listed[0], shown.size), (&shown, 4));
    assert_eq!(
        server.lines()[1],
        format!("GET /v1/vaults/{VAULT}/items/{ITEM}/files/{FILE}")
    );
}

#[tokio::test]
async fn content_is_streamed_with_its_length() {
    let bytes: Vec<u8> = (0..=255).collect();
    let server = Server::always(sent("200 OK\r\nContent-Length: 256", &bytes)).await;
    let content = content_of(&server).await.unwrap();
    assert_eq!(content.length(), Some(256));
    let chunks: Vec<Bytes> = content.try_collect().await.unwrap();
    assert_eq!(chunks.concat(), bytes);
    let seen = &server.seen()[0];
    assert!(seen.line.ends_with(&format!("/files/{FILE}/content")));
    assert_eq!(seen.header("range"), None);
    let error = content_of(&server).await.unwrap().read_to_end(255).await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected(_)));
}

#[tokio::test]
async fn a_broken_download_is_resumed_with_if_range() {
    let server = Server::start(|_, before| match before {
        0 => sent("200 OK\r\nContent-Length: 10\r\nETag: \"one\"", b"0123"),
        _ => sent(
            "206 X\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\nETag: \"one\"",
            b"456789",
        ),
    })
    .await;
    let mut content = content_of(&server).await.unwrap();
    assert_eq!(content.next().await.unwrap().unwrap(), "0123");
    assert!(content.next().await.unwrap().is_err());
    let content = resumed(&server, content.resume_point()).await.unwrap();
    assert_eq!(content.length(), Some(6));
    assert_eq!(content.resume_point(), point(4));
    assert_eq!(content.read_to_end(6).await.unwrap(), b"456789");
    let seen = &server.seen()[1];
    assert_eq!(seen.header("range"), Some("bytes=4-"));
    assert_eq!(seen.header("if-range"), Some("\"one\""));
}

#[tokio::test]
async fn parts_of_two_versions_are_never_joined() {
    for head in [
        // What a server answers whose file was replaced.
        "200 OK\r\nContent-Length: 10\r\nETag: \"two\"",
        "200 OK\r\nContent-Length: 10",
        // A server that ignores `If-Range`.
        "206 X\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\nETag: \"two\"",
        "206 X\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6",
        "416 X\r\nContent-Range: bytes */3\r\nContent-Length: 0",
    ] {
        let server = Server::always(sent(head, b"")).await;
        let error = resumed(&server, point(4)).await.unwrap_err();
        assert_eq!(error, ClientError::FileChanged, "{head}");
    }
}

#[tokio::test]
async fn a_download_without_a_strong_etag_has_no_resume_point() {
    for head in ["200 OK", "200 OK\r\nETag: W/\"one\""] {
        let server = Server::always(sent(head, b"0123")).await;
        assert_eq!(content_of(&server).await.unwrap().resume_point(), None);
    }
}

#[tokio::test]
async fn another_range_than_the_requested_one_is_refused() {
    let head = "206 X\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\nETag: \"one\"";
    let server = Server::always(sent(head, b"456789")).await;
    for resume in [point(3), None] {
        let error = resumed(&server, resume).await.unwrap_err();
        assert!(matches!(error, ClientError::Unexpected(_)), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_ranges_sends_everything_and_the_first_bytes_are_skipped() {
    for head in [
        "200 OK\r\nContent-Length: 10\r\nETag: \"one\"",
        "200 OK\r\nETag: \"one\"",
    ] {
        let server = Server::always(sent(head, b"0123456789")).await;
        for offset in [4, 10] {
            let content = resumed(&server, point(offset)).await.unwrap();
            assert_eq!(content.resume_point(), point(offset));
            assert_eq!(
                content.read_to_end(10).await.unwrap(),
                &b"0123456789"[offset as usize..]
            );
        }
        let beyond = match resumed(&server, point(11)).await {
            Ok(content) => content.read_to_end(10).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_eq!(beyond, Err(TOO_SHORT));
    }
}

#[tokio::test]
async fn a_download_that_broke_after_the_last_byte_is_complete() {
    let server = Server::always(sent("416 X\r\nContent-Range: bytes */10\r\nContent-Length: 0", b"")).await;
    let content = resumed(&server, point(10)).await.unwrap();
    assert_eq!(
        (content.length(), content.read_to_end(0).await.unwrap()),
        (Some(0), vec![])
    );
    assert_eq!(content_of(&server).await.unwrap_err().status(), Some(416));
}

#[tokio::test]
async fn a_broken_or_silent_download_ends_with_an_error_after_what_came() {
    let server = Server::always(sent("200 OK\r\nContent-Length: 10", b"0123")).await;
    let mut content = content_of(&server).await.unwrap();
    assert_eq!(content.next().await.unwrap().unwrap(), "0123");
    assert!(matches!(content.next().await, Some(Err(ClientError::Interrupted(_)))));
    assert!(content.next().await.is_none());

    let mut reply = sent("200 OK\r\nContent-Length: 10", b"0123");
    reply.push((Duration::from_secs(60), b"456789".to_vec()));
    let server = Server::always(reply).await;
    let client = server.builder().timeout(Duration::from_millis(150)).build().unwrap();
    let content = client
        .file_content(vault_id(), item_id(), file_id(), None)
        .await
        .unwrap();
    let error = content.read_to_end(10).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_refused_download_is_an_error() {
    let server = Server::always(refuse(404, "file not found")).await;
    assert!(content_of(&server).await.unwrap_err().is_not_found());
    assert!(resumed(&server, point(5)).await.unwrap_err().is_not_found());
}
