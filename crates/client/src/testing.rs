//! A server for tests. It is written on TCP, so that it can send any invalid answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidevault_model::{FileId, ItemId, VaultId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{Client, ClientBuilder};

pub(crate) const TOKEN: &str = "header.hunter2.signature";
pub(crate) const VAULT: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvv";
pub(crate) const ITEM: &str = "iiiiiiiiiiiiiiiiiiiiiiiiii";
pub(crate) const FILE: &str = "ffffffffffffffffffffffffff";

pub(crate) fn vault_id() -> VaultId {
    VaultId::parse(VAULT).unwrap()
}

pub(crate) fn item_id() -> ItemId {
    ItemId::parse(ITEM).unwrap()
}

pub(crate) fn file_id() -> FileId {
    FileId::parse(FILE).unwrap()
}

/// A request that the server received.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceivedRequest {
    /// `GET /v1/vaults`
    pub(crate) line: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl ReceivedRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// The filter of a list request, decoded.
    pub(crate) fn filter(&self) -> Option<String> {
        let path = self.line.split(' ').nth(1)?;
        let url = reqwest::Url::parse(&format!("http://h{path}")).ok()?;
        let (_, value) = url.query_pairs().find(|(name, _)| name == "filter")?;
        Some(value.into_owned())
    }
}

/// The chunks of an answer, each sent after a wait. The server then closes the connection. No chunk at all means that
/// it closes the connection without an answer.
pub(crate) type Reply = Vec<(Duration, Vec<u8>)>;

pub(crate) fn raw(text: impl Into<Vec<u8>>) -> Reply {
    vec![(Duration::ZERO, text.into())]
}

pub(crate) fn answer(status: u16, kind: &str, body: &str) -> Reply {
    let length = body.len();
    raw(format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

pub(crate) fn json(body: &str) -> Reply {
    answer(200, "application/json", body)
}

pub(crate) fn refuse(status: u16, message: &str) -> Reply {
    let body = serde_json::json!({"status": status, "message": message});
    answer(status, "application/json", &body.to_string())
}

pub(crate) struct Server {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
}

impl Server {
    /// Starts a server. `reply` makes the answer from the request and the number of requests before it.
    pub(crate) async fn start(reply: impl Fn(&ReceivedRequest, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&seen), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&reply)));
            }
        });
        Self { host, seen }
    }

    /// Starts a server that sends the same answer to every request.
    pub(crate) async fn always(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone()).await
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        Client::builder(&self.host, TOKEN)
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<ReceivedRequest> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

/// Answers one request on a connection.
pub(crate) async fn serve<S, R>(mut stream: S, log: Arc<Mutex<Vec<ReceivedRequest>>>, reply: Arc<R>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    R: Fn(&ReceivedRequest, usize) -> Reply,
{
    let Some(seen) = read(&mut stream).await else { return };
    let before = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    for (wait, bytes) in reply(&seen, before) {
        tokio::time::sleep(wait).await;
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
    }
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<ReceivedRequest> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let seen = ReceivedRequest {
                line,
                headers,
                body: body.to_owned(),
            };
            let length = seen
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(seen);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// An item in Connect's JSON.
pub(crate) fn item_json(id: &str, title: &str, version: u32) -> String {
    serde_json::json!({
        "id": id, "title": title, "version": version, "vault": {"id": VAULT}, "category": "LOGIN",
        "createdAt": "2022-01-17T23:41:32Z", "updatedAt": "2022-01-17T23:41:32Z",
        "fields": [{"id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": "s3cret"}],
    })
    .to_string()
}

/// A vault in Connect's JSON.
pub(crate) fn vault_json(id: &str, name: &str) -> String {
    serde_json::json!({
        "id": id, "name": name, "attributeVersion": 1, "contentVersion": 2, "items": 3, "type": "USER_CREATED",
        "createdAt": "2022-01-17T23:41:32Z", "updatedAt": "2022-01-17T23:41:32Z",
    })
    .to_string()
}
