use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio::time::Instant;

use super::*;

fn key(n: u8) -> BusKeys {
    BusKeys::from_bytes(&[[n; 32]])
}

async fn both(a: BusKeys, b: BusKeys) -> (Result<Connection, HandshakeError>, Result<Connection, HandshakeError>) {
    let (dialled, accepted) = duplex(64 * 1024);
    tokio::join!(Connection::connect(dialled, &a), Connection::accept(accepted, &b))
}

/// Sends `bytes` to an accepting side, keeps the stream open, and returns the result of the handshake.
async fn accept_of(bytes: &[u8]) -> Result<Connection, HandshakeError> {
    let (mut stranger, accepted) = duplex(64 * 1024);
    stranger.write_all(bytes).await.unwrap();
    Connection::accept(accepted, &key(1)).await
}

/// A stream that records what is written to it, like an eavesdropper.
struct Tap {
    stream: DuplexStream,
    written: std::sync::Arc<parking_lot::Mutex<Vec<u8>>>,
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = written {
            self.written.lock().extend_from_slice(&bytes[..length]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn equal_keys_make_a_link_in_both_directions() {
    let (a, b) = both(key(1), key(1)).await;
    let (mut a, mut b) = (a.unwrap(), b.unwrap());
    for (from, to) in [(&mut a.writer, &mut b.reader), (&mut b.writer, &mut a.reader)] {
        from.write(b"", b"hello").await.unwrap();
        from.flush().await.unwrap();
        assert_eq!(to.read().await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_wrong_key_is_reported_on_both_sides() {
    let (dialling, accepting) = both(key(1), key(2)).await;
    let (dialling, accepting) = (dialling.unwrap_err(), accepting.unwrap_err());
    assert!(matches!(dialling, HandshakeError::Refused), "{dialling}");
    assert!(matches!(accepting, HandshakeError::WrongKey), "{accepting}");
    for error in [dialling, accepting] {
        assert!(
            error.is_wrong_key() && error.to_string().contains("another credentials file"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn sides_with_one_key_in_common_connect() {
    let keys = |numbers: &[u8]| BusKeys::from_bytes(&numbers.iter().map(|n| [*n; 32]).collect::<Vec<_>>());
    for (a, b) in [
        ([2, 1].as_slice(), [1].as_slice()),
        (&[1], &[2, 1]),
        (&[2, 1], &[2]),
        (&[2], &[2, 1]),
        (&[2, 1], &[2, 1]),
    ] {
        let (dialling, accepting) = both(keys(a), keys(b)).await;
        assert!(dialling.is_ok() && accepting.is_ok(), "{a:?} {b:?}");
    }
    let (dialling, accepting) = both(keys(&[2, 1]), keys(&[4, 3])).await;
    assert!(matches!(dialling, Err(HandshakeError::Refused)));
    assert!(matches!(accepting, Err(HandshakeError::WrongKey)));
}

#[tokio::test]
async fn other_protocols_and_garbage_are_refused() {
    for garbage in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x02\x00\x01",
        &[0xFF; 2000],
    ] {
        assert!(matches!(accept_of(garbage).await, Err(HandshakeError::NotBus)));
    }
    // After as many attempts as a side may have keys.
    let record = [&[0, 48], [0x5A; 48].as_slice()].concat();
    for attempt in [record, vec![0, 0]] {
        let refused = accept_of(&attempt.repeat(BusKeys::MAX)).await;
        assert!(matches!(refused, Err(HandshakeError::WrongKey)));
    }

    // The dialling side may reach another service, too.
    let (dialled, mut other) = duplex(64 * 1024);
    other.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
    assert!(matches!(
        Connection::connect(dialled, &key(1)).await,
        Err(HandshakeError::NotBus)
    ));
}

#[tokio::test]
async fn a_closed_connection_is_not_reported_as_a_wrong_key() {
    let (dialled, other) = duplex(64 * 1024);
    drop(other);
    let error = Connection::connect(dialled, &key(1)).await.unwrap_err();
    assert!(
        matches!(error, HandshakeError::Closed | HandshakeError::Io(_)) && !error.is_wrong_key(),
        "{error}"
    );
    let (other, accepted) = duplex(64 * 1024);
    drop(other);
    assert!(matches!(
        Connection::accept(accepted, &key(1)).await,
        Err(HandshakeError::Closed)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_ends_after_five_seconds() {
    // A silent peer, and one that sends a byte each second.
    for every in [Duration::from_secs(3600), Duration::from_secs(1)] {
        let (mut slow, accepted) = duplex(64 * 1024);
        let dribble = tokio::spawn(async move {
            for byte in [0, 48].into_iter().chain([0x5A; 48]) {
                tokio::time::sleep(every).await;
                if slow.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        });
        let start = Instant::now();
        assert!(matches!(
            Connection::accept(accepted, &key(1)).await,
            Err(HandshakeError::TimedOut)
        ));
        assert_eq!(start.elapsed().as_secs(), 5);
        dribble.abort();
    }
    let (dialled, _silent) = duplex(64 * 1024);
    assert!(matches!(
        Connection::connect(dialled, &key(1)).await,
        Err(HandshakeError::TimedOut)
    ));
}

#[tokio::test]
async fn a_replayed_handshake_is_refused() {
    let written = std::sync::Arc::default();
    let (stream, accepted) = duplex(64 * 1024);
    let tap = Tap {
        stream,
        written: std::sync::Arc::clone(&written),
    };
    let (dialling_key, accepting_key) = (key(1), key(1));
    let (a, b) = tokio::join!(
        Connection::connect(tap, &dialling_key),
        Connection::accept(accepted, &accepting_key)
    );
    assert!(a.is_ok() && b.is_ok());
    let recording = written.lock().clone();
    assert!(recording.len() > 50);
    assert!(accept_of(&recording).await.is_err());
}

#[tokio::test]
async fn no_plaintext_is_sent() {
    let written = std::sync::Arc::default();
    let (stream, accepted) = duplex(64 * 1024);
    let tap = Tap {
        stream,
        written: std::sync::Arc::clone(&written),
    };
    let (dialling_key, accepting_key) = (key(1), key(1));
    let (a, _b) = tokio::join!(
        Connection::connect(tap, &dialling_key),
        Connection::accept(accepted, &accepting_key)
    );
    let mut a = a.unwrap();
    a.writer.write(b"", b"correct horse battery staple").await.unwrap();
    a.writer.flush().await.unwrap();
    let wire = written.lock().clone();
    assert!(!wire.windows(5).any(|window| window == b"horse"));
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_work_too() {
    let (dialled, accepted) = tokio::net::UnixStream::pair().unwrap();
    let (dialling_key, accepting_key) = (key(1), key(1));
    let (a, b) = tokio::join!(
        Connection::connect(dialled, &dialling_key),
        Connection::accept(accepted, &accepting_key)
    );
    assert!(a.is_ok() && b.is_ok());
}

#[tokio::test]
async fn a_handshake_reads_a_bounded_number_of_bytes() {
    let (mut stranger, accepted) = duplex(64);
    let accepting = tokio::spawn(async move { Connection::accept(accepted, &key(1)).await.is_err() });
    let mut sent = 0;
    while stranger.write_all(&[0x03; 64]).await.is_ok() {
        sent += 64;
        assert!(sent < 4096 + 1024, "the accepting side reads on and on");
    }
    assert!(accepting.await.unwrap());
    let mut answer = Vec::new();
    let _ = stranger.read_to_end(&mut answer).await;
    assert!(answer.len() <= 2 * BusKeys::MAX, "a stranger learns nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_without_the_key_complete_a_handshake(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        prop_assert!(runtime.block_on(accept_of(&bytes)).is_err());
    }
}
