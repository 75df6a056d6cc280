//! Requests and answers: where URL, token, time limits, further tries and errors are dealt with, once for all calls.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::error::ClientError;
use crate::filter::Filter;
use crate::retry::Backoff;

/// Further tries of a GET when there was no connection.
const FURTHER_TRIES: u32 = 2;
/// The wait before the first of them; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Bytes of an answer that are kept at most: a million item summaries are about a quarter of it.
const ANSWER_BYTES: usize = 1 << 30;
/// Bytes of an error's body that are read at most.
const ERROR_BYTES: usize = 64 * 1024;
/// Bytes of an error's message that are kept at most.
const MESSAGE_BYTES: usize = 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Client {
    /// The URL of a path. Each segment is percent-encoded.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.inner().base.clone();
        // Fails only for URLs that cannot have a path, which an http one can.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The URL of a list.
    pub(crate) fn list_url(&self, segments: &[&str], filter: Option<&Filter>) -> Url {
        let mut url = self.url(segments);
        if let Some(filter) = filter {
            url.query_pairs_mut().append_pair("filter", filter.as_str());
        }
        url
    }

    /// A request with the token on it.
    pub(crate) fn request(&self, method: Method, url: Url) -> Result<Request, ClientError> {
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.inner().token.bearer()?);
        headers.insert(ACCEPT, JSON);
        Ok(request)
    }

    /// GETs JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url, what: &'static str) -> Result<T, ClientError> {
        let request = self.request(Method::GET, url)?;
        let body = self
            .in_time(async { body(self.accepted(request).await?).await })
            .await?;
        decode(&body, what)
    }

    /// GETs a list; `null` is an empty one.
    pub(crate) async fn get_list<T: DeserializeOwned>(
        &self,
        url: Url,
        what: &'static str,
    ) -> Result<Vec<T>, ClientError> {
        let list: Option<Vec<T>> = self.get(url, what).await?;
        Ok(list.unwrap_or_default())
    }

    /// Sends a change and returns the body of the answer. Never sent twice.
    pub(crate) async fn change<B: Serialize>(
        &self,
        method: Method,
        url: Url,
        content: Option<&B>,
    ) -> Result<Vec<u8>, ClientError> {
        let mut request = self.request(method, url)?;
        if let Some(content) = content {
            // What is sent are structs and JSON values with text keys, which always serialise.
            let json = serde_json::to_vec(content)
                .map_err(|_| ClientError::Config("the content cannot be written as JSON".into()))?;
            *request.body_mut() = Some(json.into());
            request.headers_mut().insert(CONTENT_TYPE, JSON);
        } else if *request.method() == Method::POST {
            // RFC 9110, 8.6: a POST without content says so, or some proxies ask for the length (411).
            request
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.in_time(async { body(self.accepted(request).await?).await }).await
    }

    /// Sends a request and returns the answer if it is a 2xx, its body unread.
    pub(crate) async fn accepted(&self, request: Request) -> Result<Response, ClientError> {
        let response = self.answered(request).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.refusal(response).await),
        }
    }

    /// Sends a request and returns whatever the answer is. A GET that could not connect is tried again.
    pub(crate) async fn answered(&self, request: Request) -> Result<Response, ClientError> {
        let mut backoff = Backoff::new(FIRST_WAIT, Duration::MAX);
        let mut request = request;
        for _ in 0..FURTHER_TRIES {
            let again = match *request.method() {
                Method::GET => request.try_clone(),
                _ => None,
            };
            match (self.once(request).await, again) {
                (Err(ClientError::Unreachable(_)), Some(again)) => {
                    tokio::time::sleep(backoff.next()).await;
                    request = again;
                }
                (outcome, _) => return outcome,
            }
        }
        self.once(request).await
    }

    /// Sends a request once.
    pub(crate) async fn once(&self, request: Request) -> Result<Response, ClientError> {
        let sent = self.inner().http.execute(request).await;
        sent.map_err(ClientError::transport)
    }

    /// Gives up after the client's time-out.
    pub(crate) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(self.inner().timeout, call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::TimedOut),
        }
    }

    /// The error that a refusal is.
    pub(crate) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let body = read(response, ERROR_BYTES).await;
        self.refused_with(status, &body.unwrap_or_default())
    }

    /// Connect's error body, or the status alone when a proxy answered in its own way.
    pub(crate) fn refused_with(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let message = match message(body) {
            Some(message) => one_line(&self.inner().token.redact(&message)),
            None if status.is_redirection() => {
                "the server redirects elsewhere; use its final address as the host".into()
            }
            None => usual_text(status),
        };
        ClientError::Status {
            status: status.as_u16(),
            message,
        }
    }
}

/// Reads JSON.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::decode(what, &error))
}

/// The whole body of an answer.
pub(crate) async fn body(response: Response) -> Result<Vec<u8>, ClientError> {
    read(response, ANSWER_BYTES).await
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ClientError::transport)? {
        if body.len() + chunk.len() > limit {
            return Err(ClientError::Unexpected("the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The `message` of Connect's error body: an object with a number `status`, a text `message`, and nothing else.
///
/// Many services answer with a `message` of some form. Someone who chooses the host that a client asks (in Kubernetes: the
/// author of a SecretStore) must not get to read such a service's texts in the client's log and events.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Refusal {
        #[serde(rename = "status")]
        _status: u16,
        message: String,
    }
    let Refusal { message, .. } = serde_json::from_slice(body).ok()?;
    Some(message).filter(|message| !message.trim().is_empty())
}

/// Without what could play tricks in a log or on a terminal, and not too long.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > MESSAGE_BYTES {
        line.truncate(line.floor_char_boundary(MESSAGE_BYTES));
        line.push('…');
    }
    line
}

fn usual_text(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("no reason given").to_owned()
}
