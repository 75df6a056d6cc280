//! Contents, ranges and broken downloads.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::*;

fn content_of(server: &Server, offset: u64) -> impl Future<Output = Result<FileContent, ClientError>> {
    let client = server.client();
    async move { client.file_content(vault_id(), item_id(), file_id(), offset).await }
}

fn sent(head: &str, content: &[u8]) -> Reply {
    let mut bytes = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(content);
    raw(bytes)
}

#[tokio::test]
async fn files_are_listed_and_shown() {
    let file = format!(r#"{{"id":"{FILE}","name":"tls.crt","size":4,"content_path":"/v1/x","content":null}}"#);
    let server = Server::start(move |seen, _| match seen.line.ends_with("/files") {
        true => json(&format!("[{file}]")),
        false => json(&file),
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
async fn content_comes_as_it_is_with_its_length() {
    let bytes: Vec<u8> = (0..=255).collect();
    let server = Server::always(sent("200 OK\r\nContent-Length: 256", &bytes)).await;
    let content = content_of(&server, 0).await.unwrap();
    assert_eq!(content.length(), Some(256));
    let chunks: Vec<Bytes> = content.try_collect().await.unwrap();
    assert_eq!(chunks.concat(), bytes);
    let seen = &server.seen()[0];
    assert!(seen.line.ends_with(&format!("/files/{FILE}/content")));
    assert_eq!(seen.header("range"), None);
    let error = content_of(&server, 0)
        .await
        .unwrap()
        .read_to_end(255)
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Unexpected(_)));
}

#[tokio::test]
async fn a_download_goes_on_at_an_offset() {
    let head = "206 X\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6";
    let server = Server::always(sent(head, b"456789")).await;
    let content = content_of(&server, 4).await.unwrap();
    assert_eq!(content.length(), Some(6));
    assert_eq!(content.read_to_end(6).await.unwrap(), b"456789");
    assert_eq!(server.seen()[0].header("range"), Some("bytes=4-"));
    // Another part than the one asked for would end up in the wrong place.
    let error = content_of(&server, 3).await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected(_)));
}

#[tokio::test]
async fn a_server_without_ranges_sends_everything_and_the_rest_is_kept() {
    for head in ["200 OK\r\nContent-Length: 10", "200 OK"] {
        let server = Server::always(sent(head, b"0123456789")).await;
        for offset in [4, 10] {
            let content = content_of(&server, offset)
                .await
                .unwrap()
                .read_to_end(10)
                .await
                .unwrap();
            assert_eq!(content, &b"0123456789"[offset as usize..]);
        }
        let beyond = match content_of(&server, 11).await {
            Ok(content) => content.read_to_end(10).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_eq!(beyond, Err(TOO_SHORT));
    }
}

#[tokio::test]
async fn at_the_very_end_there_is_nothing_and_beyond_it_a_refusal() {
    let server = Server::always(sent("416 X\r\nContent-Range: bytes */10\r\nContent-Length: 0", b"")).await;
    let content = content_of(&server, 10).await.unwrap();
    assert_eq!(
        (content.length(), content.read_to_end(0).await.unwrap()),
        (Some(0), vec![])
    );
    assert_eq!(content_of(&server, 11).await.unwrap_err().status(), Some(416));
}

#[tokio::test]
async fn a_broken_or_silent_download_ends_with_an_error_after_what_came() {
    let server = Server::always(sent("200 OK\r\nContent-Length: 10", b"0123")).await;
    let mut content = content_of(&server, 0).await.unwrap();
    assert_eq!(content.next().await.unwrap().unwrap(), "0123");
    assert!(matches!(content.next().await, Some(Err(ClientError::Interrupted(_)))));
    assert!(content.next().await.is_none());

    let mut reply = sent("200 OK\r\nContent-Length: 10", b"0123");
    reply.push((Duration::from_secs(60), b"456789".to_vec()));
    let server = Server::always(reply).await;
    let client = server.builder().timeout(Duration::from_millis(150)).build().unwrap();
    let content = client.file_content(vault_id(), item_id(), file_id(), 0).await.unwrap();
    let error = content.read_to_end(10).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_refusal_is_an_error_and_no_content() {
    let server = Server::always(refuse(404, "file not found")).await;
    assert!(content_of(&server, 0).await.unwrap_err().is_not_found());
    assert!(content_of(&server, 5).await.unwrap_err().is_not_found());
}
