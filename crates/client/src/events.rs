//! The stream of changes: Sidevault's own, not part of Connect.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use sidevault_model::{ItemId, VaultId};

use crate::client::Client;
use crate::error::ClientError;
use crate::retry::Backoff;
use crate::sse::{Frame, Parser};

/// The longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What [`Client::events`] returns.
pub type Events = BoxStream<'static, Result<Event, ClientError>>;

/// A change. Says what changed, never to what: read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The change's number, which grows; what [`Client::events`] resumes after. Absent only if the server gave none.
    pub sequence: Option<u64>,
    /// What happened.
    pub kind: EventKind,
    /// The vault it happened in.
    pub vault: Option<VaultId>,
    /// The item it happened to.
    pub item: Option<ItemId>,
    /// The item's version since.
    pub version: Option<u32>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// `item.created`
    ItemCreated,
    /// `item.updated`
    ItemUpdated,
    /// `item.deleted`
    ItemDeleted,
    /// `vault.changed`: a vault is new, has another name, or is gone.
    VaultChanged,
    /// `reset`: there may be changes that no event tells of, so read everything. The server says so when it no longer
    /// knows what happened since; the client says so when it begins to listen without a number to go on from, and for
    /// an event it cannot read.
    Reset,
    /// The stream stands again after an outage that was told as an error; what happened meanwhile follows. From the
    /// client, never from a server.
    Resumed,
    /// A word of a newer server.
    Other(String),
}

impl EventKind {
    fn from_word(word: &str) -> Self {
        match word {
            "item.created" => Self::ItemCreated,
            "item.updated" => Self::ItemUpdated,
            "item.deleted" => Self::ItemDeleted,
            "vault.changed" => Self::VaultChanged,
            "reset" => Self::Reset,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Event {
    fn of_stream(kind: EventKind, sequence: Option<u64>) -> Self {
        Self {
            sequence,
            kind,
            vault: None,
            item: None,
            version: None,
        }
    }
}

impl Client {
    /// The changes after number `last_id`, then each as it happens. With `None`, first a [`Reset`](EventKind::Reset),
    /// once the connection stands: whoever reads everything then, and follows from there, misses nothing.
    ///
    /// A connection that breaks or falls silent is made anew, and goes on after the last event. An attempt that fails
    /// gives an `Err`, so that an outage is seen, **and the stream goes on**: poll again, and it waits (0.2 to 30
    /// seconds, longer each time) and tries once more. It ends, with `None`, only after a refusal that waiting does not
    /// cure: a bad token, or a server without events (404). Dropping it closes the connection.
    pub fn events(&self, last_id: Option<u64>) -> Events {
        let times = self.inner().events;
        let start = Subscription {
            client: self.clone(),
            connection: None,
            parser: Parser::after(last_id.map(|id| id.to_string())),
            ready: VecDeque::new(),
            backoff: Backoff::new(times.reconnect, LONGEST_WAIT),
            wait: Duration::ZERO,
            last_id: last_id.map(|id| id.to_string()),
            over: false,
            down: false,
        };
        stream::unfold(start, |mut subscription| async {
            let next = subscription.next().await?;
            Some((next, subscription))
        })
        .boxed()
    }

    /// Opens the stream. `None` when the server says that there is nothing to wait for (204: do not reconnect).
    async fn open_events(&self, last_id: Option<&str>) -> Result<Option<Response>, ClientError> {
        let mut request = self.request(Method::GET, self.url(&["v1", "events"]))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        // Ids come from servers: one that no header can hold is as good as none.
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok()) {
            headers.insert(HeaderName::from_static("last-event-id"), id);
        }
        self.in_time(async {
            let response = self.once(request).await?;
            let is_stream = response
                .headers()
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            match response.status() {
                StatusCode::NO_CONTENT => Ok(None),
                StatusCode::OK if is_stream => Ok(Some(response)),
                status if status.is_success() => Err(ClientError::Unexpected("no event stream")),
                _ => Err(self.refusal(response).await),
            }
        })
        .await
    }
}

struct Subscription {
    client: Client,
    connection: Option<Response>,
    parser: Parser,
    ready: VecDeque<Event>,
    backoff: Backoff,
    wait: Duration,
    last_id: Option<String>,
    over: bool,
    /// Whether an outage was told.
    down: bool,
}

impl Subscription {
    async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            let outcome = match &mut self.connection {
                None => self.connect().await,
                Some(connection) => {
                    let silence = self.client.inner().events.silence;
                    match tokio::time::timeout(silence, connection.chunk()).await {
                        Ok(Ok(Some(bytes))) => self.receive(&bytes),
                        // The end, a break, or silence: what comes after is what counts, and connecting finds out.
                        Ok(Ok(None) | Err(_)) | Err(_) => {
                            self.disconnected();
                            Ok(())
                        }
                    }
                }
            };
            if let Err(error) = outcome {
                self.disconnected();
                self.over = is_final(&error);
                self.down = true;
                return Some(Err(error));
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        tokio::time::sleep(self.wait).await;
        self.parser = Parser::after(self.last_id.clone());
        self.connection = self.client.open_events(self.last_id.as_deref()).await?;
        self.over = self.connection.is_none();
        let was_down = std::mem::take(&mut self.down);
        match self.last_id {
            _ if self.over => {}
            None => self.ready.push_back(Event::of_stream(EventKind::Reset, None)),
            Some(_) if was_down => self.ready.push_back(Event::of_stream(EventKind::Resumed, None)),
            Some(_) => {}
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.ready.extend(self.parser.push(bytes)?.iter().map(read));
        self.last_id = self.parser.last_id().map(str::to_owned);
        if let Some(base) = self.parser.take_retry() {
            self.backoff.set_base(base);
        }
        self.backoff.reset();
        Ok(())
    }

    fn disconnected(&mut self) {
        self.connection = None;
        self.wait = self.backoff.next();
    }
}

/// Whether another attempt would end the same way.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Status { status, .. } => *status < 500 && !matches!(status, 408 | 425 | 429),
        error => !error.is_unreachable(),
    }
}

/// An event. One that cannot be read is a reset, since nobody knows what it was about.
fn read(frame: &Frame) -> Event {
    let sequence = frame.last_id.as_deref().and_then(|id| id.parse().ok());
    let kind = EventKind::from_word(&frame.event);
    let of_item = matches!(
        kind,
        EventKind::ItemCreated | EventKind::ItemUpdated | EventKind::ItemDeleted
    );
    match subject(&frame.data) {
        Some((vault, item, version)) if !of_item || (vault.is_some() && item.is_some()) => Event {
            sequence,
            kind,
            vault,
            item,
            version,
        },
        _ => Event::of_stream(EventKind::Reset, sequence),
    }
}

/// Vault, item and version in an event's data; each may be missing, `null`, or empty. `None` when it is no such JSON.
fn subject(data: &str) -> Option<(Option<VaultId>, Option<ItemId>, Option<u32>)> {
    #[derive(Default, Deserialize)]
    struct Data {
        vault: Option<String>,
        item: Option<String>,
        version: Option<u32>,
    }
    let data: Data = match data.trim() {
        "" => Data::default(),
        json => serde_json::from_str(json).ok()?,
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Some((
        given(data.vault).map(|id| VaultId::parse(&id)).transpose().ok()?,
        given(data.item).map(|id| ItemId::parse(&id)).transpose().ok()?,
        data.version.filter(|version| *version > 0),
    ))
}
