//! Connections: accepted, bounded, served over HTTP/1.1 or HTTP/2, plain or TLS, and drained.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::api::Api;
use crate::connections::{CloseReason, ClosedConnections, ConnectionPermit, Connections, Exchange};
use crate::limits;
use crate::middleware::{self, too_many_requests};
use crate::sending::Sending;
use crate::tls::{self, Tls};

/// How long to wait after a connection could not be accepted. Mostly the process has too many open files then.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A listening socket.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 means any free port.
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// Serves the api until `stop`. Then finishes the requests in progress, for at most 25 seconds.
pub async fn serve(api: Arc<Api>, listener: Listener, tls: Tls, stop: CancellationToken) {
    api.serving.store(true, Ordering::Relaxed);
    let stack = middleware::stack(api.clone());
    let answer = move |request: Request<Incoming>, exchange: Arc<Exchange>| {
        stack.clone().oneshot(request.map(|body| (body, exchange)))
    };
    let connections = Connections::new(limits::MAX_REQUESTS, api.metrics.connections_closed.clone());
    accept(listener, tls, stop, connections, answer).await;
    api.drained.cancel();
}

/// Serves a router without the middleware, for the status routes of sync.
pub(crate) async fn serve_router(router: Router, listener: Listener, stop: CancellationToken) {
    let answer = move |request: Request<Incoming>, exchange: Arc<Exchange>| {
        let router = router.clone();
        async move {
            match exchange.admit().await {
                Ok(()) => router.oneshot(request).await,
                Err(_busy) => Ok(too_many_requests().into_response()),
            }
        }
    };
    let connections = Connections::new(limits::MAX_STATUS_REQUESTS, ClosedConnections::default());
    accept(listener, Tls::Off, stop, connections, answer).await;
}

async fn accept<F, A>(listener: Listener, tls: Tls, stop: CancellationToken, connections: Arc<Connections>, answer: A)
where
    A: Fn(Request<Incoming>, Arc<Exchange>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let tasks = TaskTracker::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.socket.accept()).await {
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                connections.free_descriptors();
                tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                continue;
            }
        };
        let Some(permit) = connections.admit(remote.ip().to_canonical()) else {
            tracing::debug!(%remote, "a connection was refused: too many are open");
            continue;
        };
        tasks.spawn(serve_connection(
            stream,
            permit,
            tls.clone(),
            stop.clone(),
            answer.clone(),
        ));
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(limits::SHUTDOWN_TIMEOUT, tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not end in time, and their connections are closed");
    }
}

async fn serve_connection<F, A>(
    stream: TcpStream,
    permit: ConnectionPermit,
    tls: Tls,
    stop: CancellationToken,
    answer: A,
) where
    A: Fn(Request<Incoming>, Arc<Exchange>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    // Responses are written at once, so the kernel need not wait for more bytes. If that can't be set, they are only later.
    stream.set_nodelay(true).ok();
    let serving = async {
        match tls {
            Tls::Off => serve_stream(stream, &permit, &stop, answer).await,
            Tls::On(acceptor) => {
                let handshake = tokio::time::timeout(limits::TLS_HANDSHAKE_TIMEOUT, async {
                    let stream = acceptor.accept(stream).await?;
                    io::Result::Ok(tls::for_http(stream).await)
                });
                match stop.run_until_cancelled(handshake).await {
                    Some(Ok(Ok(Some(stream)))) => serve_stream(stream, &permit, &stop, answer).await,
                    Some(Ok(Ok(None))) | None => {}
                    Some(Ok(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
                    Some(Err(_)) => {
                        permit.count_closed(CloseReason::TlsTimeout);
                        tracing::debug!("a TLS handshake took too long");
                    }
                }
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = permit.closing() => tracing::debug!("a connection was closed to make room for others"),
    }
}

async fn serve_stream<S, F, A>(stream: S, permit: &ConnectionPermit, stop: &CancellationToken, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, Arc<Exchange>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(limits::MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::MAX_HTTP2_STREAMS)
        .max_header_list_size(limits::MAX_HEAD_BYTES as u32)
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT);
    let service = service_fn(move |request| {
        let exchange = permit.begin();
        let answering = answer(request, exchange.clone());
        async move {
            let response = answering.await?;
            Ok::<_, Infallible>(response.map(|body| Sending::new(body, exchange)))
        }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // hyper's own timers do not start before the first bytes, which show the HTTP version, and do not see a client that reads
    // nothing.
    let is_overdue = tokio::select! {
        outcome = connection.as_mut() => return ended(outcome, permit),
        () = permit.overdue(limits::CLIENT_TIMEOUT) => true,
        () = stop.cancelled() => false,
    };
    // Tells an HTTP/2 client that the connection ends. When the process stops, requests in progress are finished.
    connection.as_mut().graceful_shutdown();
    let cut = async {
        tokio::time::sleep(limits::CLOSE_TIMEOUT).await;
        while !is_overdue && !permit.is_idle() {
            tokio::time::sleep(limits::CLOSE_TIMEOUT).await;
        }
    };
    tokio::select! {
        outcome = connection => ended(outcome, permit),
        () = cut => tracing::debug!("a connection waited too long for its client, and is closed"),
    }
}

/// Logs why a connection ended early.
fn ended(outcome: Result<(), Box<dyn std::error::Error + Send + Sync>>, permit: &ConnectionPermit) {
    if let Err(error) = outcome {
        if error.downcast_ref().is_some_and(hyper::Error::is_timeout) {
            permit.count_closed(CloseReason::PingTimeout);
        }
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
