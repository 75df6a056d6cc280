use axum::body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::*;
use crate::tls::TlsFiles;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A server that answers every request with a body of the same size, and at most 4 at once.
struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    closed: ClosedConnections,
}

impl Server {
    async fn start(tls: Tls, bytes: usize) -> Self {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let server = Self {
            address: listener.local_addr(),
            stop: CancellationToken::new(),
            closed: ClosedConnections::default(),
        };
        let answer = move |_, _| async move { Ok(Response::new(Body::from(vec![b'x'; bytes]))) };
        let connections = Connections::new(4, server.closed.clone());
        tokio::spawn(accept(listener, tls, server.stop.clone(), connections, answer));
        server
    }
}

/// A server's certificate, and a client that trusts it.
fn tls(stop: &CancellationToken) -> (Tls, tokio_rustls::TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        cert: directory.path().join("cert.pem"),
        key: directory.path().join("key.pem"),
    };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (files.start(stop.clone()).unwrap(), Arc::new(client).into())
}

/// How long it takes until the server closes the connection. The clock is paused: it skips time in which nothing happens.
async fn closed_after(stream: &mut (impl AsyncRead + Unpin)) -> Duration {
    let start = Instant::now();
    let mut sink = Vec::new();
    // The connection may end by a close or by a reset.
    let _ = timeout(limits::CLIENT_TIMEOUT * 10, stream.read_to_end(&mut sink))
        .await
        .unwrap();
    start.elapsed()
}

#[tokio::test]
async fn a_connection_without_a_whole_request_is_closed_after_a_minute() {
    let stop = CancellationToken::new();
    let (with_tls, connector) = tls(&stop);
    let (plain, secure) = (Server::start(Tls::Off, 1).await, Server::start(with_tls, 1).await);
    let whole_preface = [PREFACE, SETTINGS].concat();
    let first: [&[u8]; 6] = [
        b"",
        b"P",
        &PREFACE[..16],
        b"G",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        &whole_preface,
    ];
    for bytes in first {
        let mut stream = TcpStream::connect(plain.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        tokio::time::pause();
        let took = closed_after(&mut stream).await;
        assert!(
            took <= limits::CLIENT_TIMEOUT + limits::CLOSE_TIMEOUT * 2,
            "{bytes:?} {took:?}"
        );
        tokio::time::resume();

        let stream = TcpStream::connect(secure.address).await.unwrap();
        let mut stream = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::pause();
        let took = closed_after(&mut stream).await;
        assert!(
            took <= limits::CLIENT_TIMEOUT + limits::CLOSE_TIMEOUT * 2,
            "TLS {bytes:?} {took:?}"
        );
        tokio::time::resume();
    }
    // Before the TLS handshake.
    let mut stream = TcpStream::connect(secure.address).await.unwrap();
    tokio::time::pause();
    let took = closed_after(&mut stream).await;
    assert!(
        took <= limits::TLS_HANDSHAKE_TIMEOUT + limits::CLOSE_TIMEOUT,
        "{took:?}"
    );
    for (server, tls_timeouts) in [(plain, 0), (secure, 1)] {
        // An HTTP/2 client that does not answer pings is noticed by that.
        assert_eq!(server.closed.of(CloseReason::PingTimeout), 1);
        assert_eq!(server.closed.of(CloseReason::RequestTimeout), first.len() as u64 - 1);
        assert_eq!(server.closed.of(CloseReason::TlsTimeout), tls_timeouts);
    }
}

/// A connection in memory: on a paused clock a real socket may take bytes at any time, because the clock skips the time that the
/// operating system needs to send them.
#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_if_its_client_reads_nothing_of_an_answer_for_a_minute() {
    const BUFFER: usize = 64 << 10;
    const READ: usize = 1 << 20;
    let closed = ClosedConnections::default();
    let permit = Connections::new(1, closed.clone())
        .admit([127, 0, 0, 1].into())
        .unwrap();
    let (mut client, stream) = tokio::io::duplex(BUFFER);
    let serving = tokio::spawn(async move {
        let answer = |_, _| async { Ok(Response::new(Body::from(vec![b'x'; 64 << 20]))) };
        serve_stream(stream, &permit, &CancellationToken::new(), answer).await;
    });
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // The connection of a slow client stays open.
    for _ in 0..3 {
        client.read_exact(&mut vec![0; READ]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(50)).await;
    }
    assert_eq!(closed.of(CloseReason::ResponseTimeout), 0);
    client.read_exact(&mut vec![0; READ]).await.unwrap();
    let start = Instant::now();
    serving.await.unwrap();
    assert_eq!(start.elapsed(), limits::CLIENT_TIMEOUT + limits::CLOSE_TIMEOUT);
    assert_eq!(closed.of(CloseReason::ResponseTimeout), 1);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= BUFFER, "{}", rest.len());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections() {
    let server = Server::start(Tls::Off, 1).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET / HTT").await.unwrap();
    // Connections are accepted in order, so the other two are accepted when this one is served.
    let mut served = TcpStream::connect(server.address).await.unwrap();
    served.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    served.read_u8().await.unwrap();
    server.stop.cancel();
    tokio::time::pause();
    for stream in [&mut silent, &mut slow, &mut served] {
        assert!(closed_after(stream).await <= limits::CLOSE_TIMEOUT * 2);
    }
}
