//! The event stream. Sidevault has one; 1Password's Connect does not.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use futures_util::stream::{self, BoxStream, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use sidevault_model::{ItemId, VaultId};

use crate::client::Client;
use crate::error::ClientError;
use crate::sse::{Frame, Parser};

/// The longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What [`Client::events`] returns.
pub type Events = BoxStream<'static, Result<Event, ClientError>>;

/// A change. The event names the item and not its new content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of the change, which grows and which [`Client::events`] can resume after. `None` if the server sent
    /// none.
    pub sequence: Option<u64>,
    /// What happened.
    pub kind: EventKind,
    /// The vault that the change is in.
    pub vault: Option<VaultId>,
    /// The item that was changed.
    pub item: Option<ItemId>,
    /// The version that the change gave to the item.
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
    /// `vault.changed`: a vault was created, renamed or deleted.
    VaultChanged,
    /// `reset`: there may be changes without an event, so everything must be read again. The server sends it if it no
    /// longer knows what changed since the given number. The client makes one if it connects without a number, and for
    /// an event that it can't parse.
    Reset,
    /// The stream is connected again after an error. Events of the meantime follow. Made by the client, never by a
    /// server.
    Resumed,
    /// Another word, of a newer server.
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
    /// An event that is about no vault and no item.
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
    /// Streams the changes after number `last_id`, and then each change when it happens. With `None` the first event is
    /// a [`Reset`](EventKind::Reset), once the stream is connected: a caller that then reads everything and follows the
    /// stream misses nothing.
    ///
    /// If the connection breaks or falls silent, the client connects again and continues after the last event. A failed
    /// attempt to connect is an `Err`, **and the stream continues**: the next poll waits (0.2 to 30 seconds, longer
    /// each time) and tries again. The stream ends, with `None`, only after an error that a retry can't cure: an
    /// invalid token, or a server without event stream (404). Dropping the stream closes the connection.
    pub fn events(&self, last_id: Option<u64>) -> Events {
        let backoff = backoff(self.inner().events.reconnect);
        let start = Subscription {
            client: self.clone(),
            connection: None,
            parser: Parser::after(last_id.map(|id| id.to_string())),
            ready: VecDeque::new(),
            waits: backoff.build(),
            backoff,
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

    /// Connects to the event stream. Returns `None` if the server answers 204, which forbids to reconnect.
    async fn open_events(&self, last_id: Option<&str>) -> Result<Option<Response>, ClientError> {
        let mut request = self.request(Method::GET, self.url(&["v1", "events"]))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        // The id may come from a server. An id that a header can't contain counts as none.
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
                status if status.is_success() => Err(ClientError::Unexpected("the answer is not an event stream")),
                _ => Err(self.refusal(response).await),
            }
        })
        .await
    }
}

/// The state of one stream of [`Client::events`].
struct Subscription {
    client: Client,
    connection: Option<Response>,
    parser: Parser,
    /// Events that were parsed and not returned yet.
    ready: VecDeque<Event>,
    backoff: ExponentialBuilder,
    /// The waits since the last success.
    waits: ExponentialBackoff,
    /// How long to wait before the next attempt to connect.
    wait: Duration,
    last_id: Option<String>,
    /// Whether the stream must not be connected again.
    over: bool,
    /// Whether the last item of the stream was an error.
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
                        // The stream ended, broke or fell silent. If that is an outage, the next attempt to connect
                        // fails.
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
        self.ready.extend(self.parser.push(bytes)?.iter().map(parse));
        self.last_id = self.parser.last_id().map(str::to_owned);
        if let Some(base) = self.parser.take_retry() {
            self.backoff = backoff(base);
        }
        self.waits = self.backoff.build();
        Ok(())
    }

    fn disconnected(&mut self) {
        self.connection = None;
        self.wait = self.waits.next().unwrap_or(LONGEST_WAIT);
    }
}

/// Waits that double from `first` to [`LONGEST_WAIT`]. Each is shortened by up to half at random, so that the clients of one
/// server do not all reconnect at the same moment.
fn backoff(first: Duration) -> ExponentialBuilder {
    // Jitter adds a random part of at most the delay itself.
    ExponentialBuilder::new()
        .with_min_delay(first.min(LONGEST_WAIT) / 2)
        .with_max_delay(LONGEST_WAIT / 2)
        .with_jitter()
        .without_max_times()
}

/// Whether a retry would fail in the same way.
fn is_final(error: &ClientError) -> bool {
    match error {
        ClientError::Status { status, .. } => *status < 500 && !matches!(status, 408 | 425 | 429),
        error => !error.is_unreachable(),
    }
}

/// Parses an event. An event that can't be parsed is a reset, because any item may have changed.
fn parse(frame: &Frame) -> Event {
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

/// Parses the data of an event: vault, item and version, each of which may be missing, `null` or empty. Returns `None`
/// for other data.
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
