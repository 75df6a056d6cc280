//! Git over HTTP, with a client that needs no certificate bundle.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, BufRead, Cursor, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use sidevault_net::{Authorities, client_builder};

use crate::error::GitError;
use crate::session::{Session, count};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// Makes an HTTP client. It follows redirects on one host only, so that credentials go nowhere else.
pub(crate) fn client(authorities_file: Option<&Path>) -> Result<Client, GitError> {
    let mut authorities = Authorities::default();
    if let Some(file) = authorities_file {
        let problem = |what: &dyn std::fmt::Display| GitError::Setup(format!("{}: {what}", file.display()));
        let bundle = std::fs::read(file).map_err(|error| problem(&error))?;
        authorities.add(&bundle).map_err(|error| problem(&error))?;
    }
    let policy = Policy::custom(|attempt| {
        let allowed = attempt.previous().last().is_some_and(|from| {
            let to = attempt.url();
            let same_host =
                from.host_str() == to.host_str() && from.port_or_known_default() == to.port_or_known_default();
            same_host && from.scheme() == to.scheme()
        });
        if allowed && attempt.previous().len() <= MAX_REDIRECTS {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    let builder = client_builder(authorities).map_err(|error| GitError::Setup(error.to_string()))?;
    builder
        .redirect(policy)
        .connect_timeout(CONNECT)
        .build()
        .map_err(|error| GitError::Setup(error.to_string()))
}

/// The requests of one check.
pub(crate) struct Requests {
    pub(crate) session: Arc<Session>,
    pub(crate) client: Client,
    pub(crate) authorization: Option<HeaderValue>,
    /// What the credentials are, for an error.
    pub(crate) credentials: String,
    redirected: Option<String>,
}

impl Requests {
    pub(crate) fn new(
        session: Arc<Session>,
        client: Client,
        authorization: Option<HeaderValue>,
        credentials: String,
    ) -> Self {
        Self {
            session,
            client,
            authorization,
            credentials,
            redirected: None,
        }
    }

    fn exchange(&self, method: Method, url: &str, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Exchange {
        let mut headers = HeaderMap::new();
        for line in lines {
            let pair = line.as_ref().split_once(':');
            let parsed = pair.and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value.trim()).ok()?))
            });
            if let Some((name, value)) = parsed {
                headers.append(name, value);
            }
        }
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        Exchange {
            session: self.session.clone(),
            client: self.client.clone(),
            credentials: self.authorization.is_some().then(|| self.credentials.clone()),
            request: Some((method, url.to_owned(), headers)),
            body: Vec::new(),
            response: None,
        }
    }
}

impl Http for Requests {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix_error::Result<GetResponse<Headers, Body>> {
        let mut exchange = self.exchange(Method::GET, url, headers);
        exchange.send().map_err(gix_error::Error::from_error)?;
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        let reached = exchange.response.as_ref().map(|response| response.url().to_string());
        self.redirected = reached
            .filter(|reached| reached != url)
            .and_then(|reached| reached.strip_suffix(tail).map(str::to_owned));
        let (headers, body) = Exchange::parts(exchange);
        Ok(GetResponse { headers, body })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix_error::Result<PostResponse<Headers, Body, PostBody>> {
        let (headers, body) = Exchange::parts(self.exchange(Method::POST, url, headers));
        Ok(PostResponse {
            post_body: PostBody(body.exchange.clone()),
            headers,
            body,
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix_error::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

/// One request and its response. A POST is sent when its response is first read, because its body is complete then.
struct Exchange {
    session: Arc<Session>,
    client: Client,
    /// What the credentials are, if some are sent.
    credentials: Option<String>,
    request: Option<(Method, String, HeaderMap)>,
    body: Vec<u8>,
    response: Option<Response>,
}

impl Exchange {
    fn parts(exchange: Self) -> (Headers, Body) {
        let exchange = Rc::new(RefCell::new(exchange));
        let headers = Headers {
            exchange: exchange.clone(),
            text: None,
        };
        let body = Body {
            exchange,
            chunk: Bytes::new(),
        };
        (headers, body)
    }

    fn send(&mut self) -> io::Result<()> {
        let Some((method, url, headers)) = self.request.take() else {
            return Ok(());
        };
        let request = self.client.request(method, url).headers(headers);
        let request = request.body(std::mem::take(&mut self.body));
        let answered = self.session.wait(request.send())?;
        let response = answered.map_err(|error| self.session.blame(GitError::Unreachable(causes(&error))))?;
        match self.refusal(&response) {
            Some(error) => Err(self.session.blame(error)),
            None => {
                self.response = Some(response);
                Ok(())
            }
        }
    }

    fn refusal(&self, response: &Response) -> Option<GitError> {
        let status = response.status();
        let is_push = response.url().as_str().contains("git-receive-pack");
        let host = response.url().host_str().unwrap_or_default();
        Some(match status {
            status if status.is_success() => return None,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => GitError::Credentials(match &self.credentials {
                Some(used) => format!(
                    "the Git server {host} refuses {used} (HTTP {}): it has expired, was revoked, or may not {} this repository",
                    status.as_u16(),
                    if is_push { "write to" } else { "read" }
                ),
                None => format!(
                    "the Git server {host} asks for credentials (HTTP {}), and none are configured",
                    status.as_u16()
                ),
            }),
            StatusCode::NOT_FOUND => GitError::NoRepository(format!("{host} answers HTTP 404")),
            status if status.is_redirection() => {
                let to = response.headers().get(reqwest::header::LOCATION);
                let to = to
                    .and_then(|to| to.to_str().ok())
                    .and_then(|to| url::Url::parse(to).ok());
                let to = to.and_then(|to| to.host_str().map(str::to_owned)).unwrap_or_default();
                GitError::Protocol(format!(
                    "{host} redirects to another address ({to}), which is not followed: configure the new URL"
                ))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                GitError::Unreachable(format!("{host} answers HTTP {status}"))
            }
            status => GitError::Protocol(format!("{host} answers HTTP {status}")),
        })
    }

    fn next_chunk(&mut self) -> io::Result<Bytes> {
        self.send()?;
        let Some(response) = &mut self.response else {
            return Ok(Bytes::new());
        };
        let chunk = self.session.wait(response.chunk())?;
        let chunk = chunk.map_err(|error| self.session.blame(GitError::Unreachable(causes(&error))))?;
        let chunk = chunk.unwrap_or_default();
        count(&self.session, chunk.len())?;
        Ok(chunk)
    }
}

/// An error of the HTTP client with its causes. The URL is left out: its query may hold a credential.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = if text.is_empty() {
                words
            } else {
                format!("{text}: {words}")
            };
        }
        cause = error.source();
    }
    if text.is_empty() {
        "the request failed".to_owned()
    } else {
        text
    }
}

/// The headers of a response, as lines.
pub(crate) struct Headers {
    exchange: Rc<RefCell<Exchange>>,
    text: Option<Cursor<Vec<u8>>>,
}

impl Headers {
    fn text(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.text.is_none() {
            let mut exchange = self.exchange.borrow_mut();
            exchange.send()?;
            let mut text = Vec::new();
            for (name, value) in exchange.response.iter().flat_map(|response| response.headers()) {
                text.extend_from_slice(name.as_str().as_bytes());
                text.extend_from_slice(b": ");
                text.extend_from_slice(value.as_bytes());
                text.push(b'\n');
            }
            self.text = Some(Cursor::new(text));
        }
        Ok(self.text.get_or_insert_default())
    }
}

impl Read for Headers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text()?.read(buffer)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(text) = &mut self.text {
            text.consume(amount);
        }
    }
}

/// The body of a response.
pub(crate) struct Body {
    exchange: Rc<RefCell<Exchange>>,
    chunk: Bytes,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.chunk = self.exchange.borrow_mut().next_chunk()?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.chunk.split_to(amount.min(self.chunk.len()));
    }
}

/// The body of a request.
pub(crate) struct PostBody(Rc<RefCell<Exchange>>);

impl Write for PostBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
