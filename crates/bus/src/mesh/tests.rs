use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata, span};

use super::*;
use crate::peer::{self, Incoming, Peer};

const PATIENCE: Duration = Duration::from_secs(20);

fn key(n: u8) -> BusKeys {
    BusKeys::from_bytes(&[[n; 32]])
}

fn listening(n: u8, port: u16) -> (mpsc::Receiver<Connection>, SocketAddr) {
    let listen = Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    let (connections, local) = connections(Options { listen, dial: vec![] }, key(n)).unwrap();
    (connections, local.unwrap())
}

fn dialling(n: u8, target: SocketAddr) -> mpsc::Receiver<Connection> {
    connections(
        Options {
            listen: None,
            dial: vec![target.to_string()],
        },
        key(n),
    )
    .unwrap()
    .0
}

async fn next(connections: &mut mpsc::Receiver<Connection>) -> Connection {
    timeout(PATIENCE, connections.recv()).await.unwrap().unwrap()
}

/// Starts both ends and makes one call.
async fn exchange(a: Connection, b: Connection) -> [(Peer, mpsc::Receiver<Incoming>); 2] {
    let ((a, from_b), (b, mut from_a)) = (peer::start(a), peer::start(b));
    let (answer, ()) = tokio::join!(a.call("ask".into()), async {
        match from_a.recv().await.unwrap() {
            Incoming::Request { reply, .. } => reply.send("answer".into()),
            Incoming::Notice(_) => panic!("a notice"),
        }
    });
    assert_eq!(answer.unwrap(), "answer");
    [(a, from_b), (b, from_a)]
}

/// Keeps the log lines written while it is the subscriber, each with its level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Level, String)>>>);

impl Log {
    /// The lines of a level that contain `words`.
    fn lines(&self, level: Level, words: &str) -> Vec<String> {
        let lines = self.0.lock();
        let matching = lines.iter().filter(|(own, line)| *own == level && line.contains(words));
        matching.map(|(_, line)| line.clone()).collect()
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sidevault")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().push((*event.metadata().level(), text.0));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Waits until a condition is met. The time limit is that of the machine's clock, so it works while tokio's clock is stopped.
async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition was never met");
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}

/// Stops tokio's clock until it is dropped, so that no time limit and no pause ends.
struct StoppedClock {
    _end: std::sync::mpsc::Sender<()>,
}

impl StoppedClock {
    async fn new() -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        let (start, started) = tokio::sync::oneshot::channel();
        // tokio does not move a paused clock while a blocking task runs.
        tokio::task::spawn_blocking(move || {
            start.send(()).ok();
            ended.recv().ok();
        });
        started.await.unwrap();
        tokio::time::pause();
        Self { _end: end }
    }
}

/// The address of a port that was free a moment ago.
async fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn either_side_may_start_first() {
    let log = Log::default();
    // The subscriber of this thread; the test's runtime has no other thread.
    let _guard = tracing::subscriber::set_default(log.clone());
    let (mut accepted, address) = listening(1, 0);
    let mut dialled = dialling(1, address);
    exchange(next(&mut dialled).await, next(&mut accepted).await).await;

    let address = free_port().await;
    let mut dialled = dialling(1, address);
    until(|| !log.lines(Level::WARN, "bus peer not connected").is_empty()).await;
    let (mut accepted, _) = listening(1, address.port());
    let connection = next(&mut dialled).await;
    assert_eq!(connection.remote(), address.to_string());
    exchange(connection, next(&mut accepted).await).await;
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let (mut accepted, address) = listening(1, 0);
    let dial = vec![format!("localhost:{}", address.port())];
    let (mut dialled, local) = connections(Options { listen: None, dial }, key(1)).unwrap();
    assert!(local.is_none());
    exchange(next(&mut dialled).await, next(&mut accepted).await).await;
}

#[tokio::test]
async fn a_lost_connection_is_dialled_again() {
    let (mut accepted, address) = listening(1, 0);
    let mut dialled = dialling(1, address);
    for _ in 0..3 {
        let [a, b] = exchange(next(&mut dialled).await, next(&mut accepted).await).await;
        // The accepting side drops the link; the dialling side notices it and dials again.
        drop(b);
        timeout(PATIENCE, a.0.closed()).await.unwrap();
    }
}

#[tokio::test]
async fn a_restarted_listener_is_found_again() {
    let (mut accepted, address) = listening(1, 0);
    let mut dialled = dialling(1, address);
    let [a, b] = exchange(next(&mut dialled).await, next(&mut accepted).await).await;
    drop((accepted, b));
    timeout(PATIENCE, a.0.closed()).await.unwrap();
    let mut accepted = loop {
        // The port is in use until the old listener's task has ended.
        let listen = Some(address);
        match connections(Options { listen, dial: vec![] }, key(1)) {
            Ok((accepted, _)) => break accepted,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    };
    exchange(next(&mut dialled).await, next(&mut accepted).await).await;
}

#[tokio::test]
async fn a_peer_with_another_key_is_refused_with_one_warning_on_each_side() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (mut accepted, address) = listening(1, 0);
    let mut dialled = dialling(2, address);
    // Both sides log each attempt after the first at debug.
    until(|| log.lines(Level::DEBUG, "bus peer still not connected").len() >= 2).await;
    until(|| log.lines(Level::DEBUG, "bus connection refused").len() >= 2).await;
    assert!(accepted.try_recv().is_err() && dialled.try_recv().is_err());
    // One warning on each side, which names the peer and the cause.
    let warnings = log.lines(Level::WARN, "");
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(
        warnings
            .iter()
            .all(|line| line.contains("127.0.0.1") && line.contains("another credentials file")),
        "{warnings:#?}"
    );
    // A peer with the right key still gets in.
    let mut right = dialling(1, address);
    exchange(next(&mut right).await, next(&mut accepted).await).await;
}

#[tokio::test]
async fn a_flood_of_idle_connections_keeps_nobody_out() {
    let (mut accepted, address) = listening(1, 0);
    // No handshake of the flood can time out, so the only way in is that a new handshake ends the oldest one.
    let _clock = StoppedClock::new().await;
    let ended = Arc::new(AtomicUsize::new(0));
    let mut flood = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ended = Arc::clone(&ended);
        flood.push(tokio::spawn(async move {
            // The listener closes the connection, or resets it.
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
            ended.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let mut dialled = dialling(1, address);
    let (mut ours, mut theirs) = (None, None);
    until(|| {
        ours = ours.take().or_else(|| dialled.try_recv().ok());
        theirs = theirs.take().or_else(|| accepted.try_recv().ok());
        ours.is_some() && theirs.is_some()
    })
    .await;
    exchange(ours.unwrap(), theirs.unwrap()).await;
    // At most 64 handshakes run at a time, so the others of the flood have ended.
    until(|| ended.load(Ordering::Relaxed) >= 300 - 64).await;
}

#[tokio::test]
async fn garbage_is_refused_and_harms_no_other_connection() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let (mut accepted, address) = listening(1, 0);
    let mut dialled = dialling(1, address);
    let links = exchange(next(&mut dialled).await, next(&mut accepted).await).await;
    for garbage in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        &[0; 100],
        &[0, 48, 1, 2],
        &[0xFF; 5000],
    ] {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        let _ = stranger.write_all(garbage).await;
    }
    until(|| log.lines(Level::DEBUG, "bus connection refused").len() + log.lines(Level::WARN, "refused").len() >= 4)
        .await;
    assert!(links.iter().all(|(peer, _)| !peer.is_closed()));
    assert!(accepted.try_recv().is_err());
}

#[tokio::test]
async fn dropping_the_receiver_ends_listening_and_dialling_but_no_link() {
    let (mut accepted, address) = listening(1, 0);
    let mut dialled = dialling(1, address);
    let links = exchange(next(&mut dialled).await, next(&mut accepted).await).await;
    drop((accepted, dialled));
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
    assert!(links.iter().all(|(peer, _)| !peer.is_closed()));
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let (_accepted, address) = listening(1, 0);
    let error = connections(
        Options {
            listen: Some(address),
            dial: vec![],
        },
        key(1),
    )
    .unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn all_addresses_include_ipv4() {
    let listen = Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0));
    let (mut accepted, local) = connections(Options { listen, dial: vec![] }, key(1)).unwrap();
    let target = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), local.unwrap().port());
    let mut dialled = dialling(1, target);
    exchange(next(&mut dialled).await, next(&mut accepted).await).await;
}

#[tokio::test]
async fn many_peers_may_dial_one() {
    let (mut accepted, address) = listening(1, 0);
    let mut dialled: VecDeque<_> = (0..20).map(|_| dialling(1, address)).collect();
    let mut links = Vec::new();
    while let Some(mut one) = dialled.pop_front() {
        links.push((peer::start(next(&mut one).await), one));
    }
    let mut ends = Vec::new();
    for _ in 0..20 {
        ends.push(peer::start(next(&mut accepted).await));
    }
    assert!(ends.iter().all(|(peer, _)| !peer.is_closed()));
}
