//! Connections: accepted, bounded, served over HTTP/1.1 or HTTP/2, plain or TLS, and drained.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::api::Api;
use crate::edge::Edge;
use crate::head_timer::HeadTimer;
use crate::limits;
use crate::tls::{self, Tls};

/// How long to wait when no connection can be accepted: mostly, too many files are open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// An address that is listened on.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// Serves the api until `stop`; then finishes what is in work, for 25 seconds at the most.
pub async fn serve(api: Arc<Api>, listener: Listener, tls: Tls, stop: CancellationToken) {
    api.serving.store(true, Ordering::Relaxed);
    let edge = Edge::new(api.clone());
    let answer = move |request, remote| edge.clone().answer(request, remote);
    accept(listener, tls, stop, answer).await;
    api.drained.cancel();
}

/// Serves a router without the api's edge, plain: for sync's three status routes.
pub(crate) async fn serve_router(router: Router, listener: Listener, stop: CancellationToken) {
    let answer = move |request: Request<Incoming>, _| router.clone().oneshot(request);
    accept(listener, Tls::Off, stop, answer).await;
}

async fn accept<F, A>(listener: Listener, tls: Tls, stop: CancellationToken, answer: A)
where
    A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(limits::CONNECTIONS));
    loop {
        let next = async {
            let place = connections.clone().acquire_owned().await;
            (place, listener.socket.accept().await)
        };
        let (place, accepted) = match stop.run_until_cancelled(next).await {
            Some(next) => next,
            None => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let (tls, answer, watcher) = (tls.clone(), answer.clone(), graceful.watcher());
        tokio::spawn(async move {
            serve_connection(stream, remote, tls, watcher, answer).await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits::DRAIN_TIME, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests were not finished in time and are cut off");
    }
}

async fn serve_connection<F, A>(stream: TcpStream, remote: SocketAddr, tls: Tls, watcher: Watcher, answer: A)
where
    A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    // Answers are written whole: waiting for more to send only delays them.
    let _best_effort = stream.set_nodelay(true);
    let remote = remote.ip().to_canonical();
    match tls {
        Tls::Off => serve_stream(stream, remote, watcher, answer).await,
        Tls::On(acceptor) => match tokio::time::timeout(limits::TLS_TIME, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                if let Some(stream) = tls::for_http(stream).await {
                    serve_stream(stream, remote, watcher, answer).await;
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        },
    }
}

async fn serve_stream<S, F, A>(stream: S, remote: IpAddr, watcher: Watcher, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, Option<IpAddr>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(HeadTimer::default())
        .header_read_timeout(limits::HEAD_TIME)
        .max_buf_size(limits::HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS)
        .max_header_list_size(limits::HEAD_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let service = service_fn(move |request| answer(request, Some(remote)));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
