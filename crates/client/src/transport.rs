//! Sends requests and reads answers, for all calls: URLs, the token, time-outs, retries and errors.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sidevault_model::printable;

use crate::client::Client;
use crate::error::ClientError;
use crate::filter::Filter;
use crate::unreachable::origin;

/// How often a GET is sent again if the client could not connect.
const RETRIES: usize = 2;
/// The least wait before the first retry, which doubles. A random part of up to the same length is added.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The largest answer that is read, in bytes. A million item summaries need about a quarter of it.
const ANSWER_BYTES: usize = 1 << 30;
/// The largest error body that is read, in bytes.
const ERROR_BYTES: usize = 64 * 1024;
/// How many bytes of an error's message are kept.
const MESSAGE_BYTES: usize = 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Client {
    /// The URL of a path below the base URL. Each segment is percent-encoded.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.inner().base.clone();
        // Fails only for URLs without a path, such as `mailto:`. The base URL is an http or https URL.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The URL of a list, with the filter as a query parameter.
    pub(crate) fn list_url(&self, segments: &[&str], filter: Option<&Filter>) -> Url {
        let mut url = self.url(segments);
        if let Some(filter) = filter {
            url.query_pairs_mut().append_pair("filter", filter.as_str());
        }
        url
    }

    /// A request that carries the token.
    pub(crate) fn request(&self, method: Method, url: Url) -> Result<Request, ClientError> {
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.inner().token.bearer()?);
        headers.insert(ACCEPT, JSON);
        Ok(request)
    }

    /// Sends a GET and parses the answer's JSON. `what` names the answer in errors.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url, what: &'static str) -> Result<T, ClientError> {
        let request = self.request(Method::GET, url)?;
        let body = self
            .in_time(async { body(self.accepted(request).await?).await })
            .await?;
        decode(&body, what)
    }

    /// Sends a GET for a list. `null` counts as an empty list.
    pub(crate) async fn get_list<T: DeserializeOwned>(
        &self,
        url: Url,
        what: &'static str,
    ) -> Result<Vec<T>, ClientError> {
        let list: Option<Vec<T>> = self.get(url, what).await?;
        Ok(list.unwrap_or_default())
    }

    /// Sends a request that changes something, once, and returns the body of the answer.
    pub(crate) async fn change<B: Serialize>(
        &self,
        method: Method,
        url: Url,
        content: Option<&B>,
    ) -> Result<Vec<u8>, ClientError> {
        let mut request = self.request(method, url)?;
        if let Some(content) = content {
            // The contents are structs and JSON values with string keys, which can always be serialised.
            let json = serde_json::to_vec(content)
                .map_err(|_| ClientError::Config("the content cannot be written as JSON".into()))?;
            *request.body_mut() = Some(json.into());
            request.headers_mut().insert(CONTENT_TYPE, JSON);
        } else if *request.method() == Method::POST {
            // RFC 9110, 8.6: some proxies refuse a POST without a length (411).
            request
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.in_time(async { body(self.accepted(request).await?).await }).await
    }

    /// Sends a request and returns the answer, without its body, if the status is 2xx.
    pub(crate) async fn accepted(&self, request: Request) -> Result<Response, ClientError> {
        let response = self.answered(request).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// Sends a request and returns the answer, whatever its status. Sends a GET again if the client could not connect.
    pub(crate) async fn answered(&self, request: Request) -> Result<Response, ClientError> {
        let waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT)
            .with_max_times(RETRIES)
            .with_jitter();
        let mut request = request;
        for wait in waits.build() {
            let again = match *request.method() {
                Method::GET => request.try_clone(),
                _ => None,
            };
            match (self.once(request).await, again) {
                (Err(ClientError::Unreachable(_)), Some(again)) => {
                    tokio::time::sleep(wait).await;
                    request = again;
                }
                (result, _) => return result,
            }
        }
        self.once(request).await
    }

    /// Sends a request once.
    pub(crate) async fn once(&self, request: Request) -> Result<Response, ClientError> {
        let sent = self.inner().http.execute(request).await;
        sent.map_err(|error| ClientError::transport(&self.inner().base, &error))
    }

    /// Cancels a call after the client's time-out.
    pub(crate) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        match tokio::time::timeout(self.inner().timeout, call).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out()),
        }
    }

    pub(crate) fn timed_out(&self) -> ClientError {
        ClientError::TimedOut {
            server: origin(&self.inner().base),
            after: self.inner().timeout,
        }
    }

    /// The error for an answer whose status is not 2xx.
    pub(crate) async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let body = read(response, ERROR_BYTES).await;
        self.refused_with(status, &body.unwrap_or_default())
    }

    /// The error for a status and a body: with the message of Connect's error body, or with the status's usual text if
    /// the body is in another form, such as a proxy's.
    pub(crate) fn refused_with(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let message = match message(body) {
            Some(message) => one_line(&self.inner().token.redact(&message)),
            None if status.is_redirection() => "the server redirects to another URL; use that URL as the host".into(),
            None => usual_text(status),
        };
        let message = if status == StatusCode::UNAUTHORIZED {
            self.explain_unauthorized(&message)
        } else {
            message
        };
        ClientError::Status {
            status: status.as_u16(),
            message,
        }
    }

    /// The message of a 401, and which server refused the token.
    fn explain_unauthorized(&self, message: &str) -> String {
        let server = origin(&self.inner().base);
        // Connect's and Sidevault's message for a token that was signed with the key of other credentials.
        let why = if message.contains("signature") {
            ", because it was made for other credentials than this server's"
        } else {
            ""
        };
        format!("{message}: {server} does not accept the token{why}")
    }
}

/// Parses JSON.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::decode(what, &error))
}

/// Reads the whole body of an answer.
pub(crate) async fn body(response: Response) -> Result<Vec<u8>, ClientError> {
    read(response, ANSWER_BYTES).await
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    let url = response.url().clone();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| ClientError::transport(&url, &error))?
    {
        if body.len() + chunk.len() > limit {
            return Err(ClientError::Unexpected("the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The `message` of Connect's error body: an object with a number `status`, a string `message`, and nothing else.
///
/// Many services send error bodies with a `message`. A user who chooses the server that a client asks (in Kubernetes,
/// the author of a SecretStore) must not be able to read the messages of such a service in the client's log and events.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct ErrorBody {
        #[serde(rename = "status")]
        _status: u16,
        message: String,
    }
    let ErrorBody { message, .. } = serde_json::from_slice(body).ok()?;
    Some(message).filter(|message| !message.trim().is_empty())
}

/// A text in one line, without control characters, cut to [`MESSAGE_BYTES`].
fn one_line(text: &str) -> String {
    let mut line = printable(text);
    if line.len() > MESSAGE_BYTES {
        line.truncate(line.floor_char_boundary(MESSAGE_BYTES));
        line.push('…');
    }
    line
}

fn usual_text(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("no reason given").to_owned()
}
