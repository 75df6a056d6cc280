use std::time::Duration;

use sidevault_keys::BusKeys;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::in_memory;

type End = (Peer, mpsc::Receiver<Incoming>);

fn pair() -> (End, End) {
    let (a, b) = in_memory();
    (start(a), start(b))
}

/// Two encrypted ends, and the task that copies bytes between them. If it is aborted, the connection breaks.
async fn wired() -> (End, End, tokio::task::JoinHandle<()>) {
    let key = BusKeys::from_bytes(&[[1; 32]]);
    let (a, mut a_wire) = duplex(64 * 1024);
    let (b, mut b_wire) = duplex(64 * 1024);
    let wire = tokio::spawn(async move {
        let _ = tokio::io::copy_bidirectional(&mut a_wire, &mut b_wire).await;
    });
    let (a, b) = tokio::join!(Connection::connect(a, &key), Connection::accept(b, &key));
    (start(a.unwrap()), start(b.unwrap()), wire)
}

/// Waits until all other tasks wait. Only for tests with a paused clock, which moves on when no task can run. It moves by less
/// than the interval of pings.
async fn until_idle() {
    sleep(Duration::from_secs(3)).await;
}

/// Answers every request with its own body.
fn echo(mut incoming: mpsc::Receiver<Incoming>) {
    tokio::spawn(async move {
        while let Some(message) = incoming.recv().await {
            if let Incoming::Request { body, reply } = message {
                reply.send(body);
            }
        }
    });
}

async fn next_request(incoming: &mut mpsc::Receiver<Incoming>) -> (Bytes, Reply) {
    match incoming.recv().await.unwrap() {
        Incoming::Request { body, reply } => (body, reply),
        Incoming::Notice(body) => panic!("a notice: {body:?}"),
    }
}

fn number(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

#[tokio::test]
async fn both_sides_may_call() {
    let ((a, from_b), (b, from_a), _wire) = wired().await;
    echo(from_a);
    echo(from_b);
    assert_eq!(a.call("one".into()).await.unwrap(), "one");
    assert_eq!(b.call("two".into()).await.unwrap(), "two");
    assert_eq!(a.call(Bytes::new()).await.unwrap(), "");
}

#[tokio::test]
async fn a_thousand_calls_are_answered_in_any_order() {
    let ((a, _from_b), (_b, mut from_a), _wire) = wired().await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while held.len() < 1000 {
            held.push(next_request(&mut from_a).await);
        }
        // The last request is answered first.
        for (body, reply) in held.into_iter().rev() {
            reply.send(body);
        }
        from_a.recv().await;
    });
    let mut calls = JoinSet::new();
    for n in 0..1000 {
        let a = a.clone();
        calls.spawn(async move { assert_eq!(a.call(number(n)).await.unwrap(), number(n)) });
    }
    assert_eq!(calls.join_all().await.len(), 1000);
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_limit_wait() {
    let ((a, _from_b), (_b, from_a)) = pair();
    let mut calls = JoinSet::new();
    for n in 0..5000 {
        let a = a.clone();
        calls.spawn(async move { assert_eq!(a.call(number(n)).await.unwrap(), number(n)) });
    }
    until_idle().await;
    assert_eq!(from_a.len(), MAX_IN_FLIGHT);
    echo(from_a);
    assert_eq!(calls.join_all().await.len(), 5000);
}

#[tokio::test]
async fn a_call_and_its_answer_may_have_20_mib() {
    let ((a, _from_b), (_b, from_a), _wire) = wired().await;
    echo(from_a);
    let body: Bytes = (0..20 * 1024 * 1024_u32).map(|n| (n >> 8) as u8).collect();
    assert_eq!(a.call(body.clone()).await.unwrap(), body);
    assert_eq!(a.call("small".into()).await.unwrap(), "small");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_and_the_link_lives() {
    let ((a, _from_b), (b, mut from_a)) = pair();
    let huge = Bytes::from(vec![0; MAX_MESSAGE + 1]);
    assert_eq!(a.call(huge.clone()).await, Err(CallError::TooLarge));
    assert_eq!(a.notify(huge.clone()).await, Err(CallError::TooLarge));
    let call = tokio::spawn({
        let a = a.clone();
        async move { a.call("ask".into()).await }
    });
    next_request(&mut from_a).await.1.send(huge);
    assert_eq!(call.await.unwrap(), Err(CallError::Unanswered));
    assert!(!a.is_closed() && !b.is_closed());
}

#[tokio::test(start_paused = true)]
async fn notices_arrive_in_order_and_a_full_receiver_makes_the_sender_wait() {
    let ((a, _from_b), (_b, mut from_a)) = pair();
    let total = 4 * INCOMING as u32;
    let body = |n: u32| Bytes::from([number(n).as_ref(), &[0; 1000]].concat());
    let sender = tokio::spawn(async move {
        for n in 0..total {
            a.notify(body(n)).await.unwrap();
        }
        a
    });
    until_idle().await;
    assert!(
        !sender.is_finished(),
        "{total} notices fit into queues that should be bounded"
    );
    for n in 0..total {
        let Incoming::Notice(got) = from_a.recv().await.unwrap() else {
            panic!("a request")
        };
        assert_eq!(got, body(n));
    }
    sender.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_forgotten_and_the_link_lives() {
    let ((a, _from_b), (_b, mut from_a)) = pair();
    assert!(timeout(Duration::from_secs(1), a.call("slow".into())).await.is_err());
    let (body, reply) = next_request(&mut from_a).await;
    assert_eq!(body, "slow");
    reply.send("too late".into());
    echo(from_a);
    assert_eq!(a.call("next".into()).await.unwrap(), "next");
}

#[tokio::test]
async fn a_call_that_is_dropped_before_it_was_sent_is_never_sent() {
    let ((a, _from_b), (_b, mut from_a)) = pair();
    // The call is polled once, so that it is queued, and dropped before the link's task can run.
    {
        let call = a.call("never".into());
        tokio::pin!(call);
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_pending())).await);
    }
    a.notify("after".into()).await.unwrap();
    assert!(matches!(from_a.recv().await.unwrap(), Incoming::Notice(body) if body == "after"));
}

#[tokio::test]
async fn a_dropped_reply_fails_the_call() {
    let ((a, _from_b), (_b, mut from_a)) = pair();
    let call = tokio::spawn(async move { a.call("ask".into()).await });
    drop(next_request(&mut from_a).await);
    assert_eq!(call.await.unwrap(), Err(CallError::Unanswered));
}

#[tokio::test]
async fn calls_to_a_side_without_a_receiver_fail() {
    let ((a, _from_b), (b, from_a)) = pair();
    drop(from_a);
    assert_eq!(a.call("ask".into()).await, Err(CallError::Unanswered));
    // It can still make calls.
    drop(b);
}

#[tokio::test]
async fn when_the_link_breaks_every_call_fails_and_tells_whether_it_may_have_been_executed() {
    let ((a, _from_b), (_b, mut from_a), wire) = wired().await;
    let sent = tokio::spawn({
        let a = a.clone();
        async move { a.call("sent".into()).await }
    });
    let (_, reply) = next_request(&mut from_a).await;
    wire.abort();
    assert_eq!(
        sent.await.unwrap(),
        Err(CallError::Disconnected { maybe_executed: true })
    );
    a.closed().await;
    assert!(a.is_closed());
    let not_sent = Err(CallError::Disconnected { maybe_executed: false });
    assert_eq!(a.call("late".into()).await, not_sent);
    assert_eq!(a.notify("late".into()).await, not_sent.map(|_: Bytes| ()));
    // An answer after the end of the link is ignored.
    reply.send("answer".into());
    assert!(from_a.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_room_fail_with_the_link_and_were_not_executed() {
    let ((a, _from_b), (_b, from_a), wire) = wired().await;
    let mut calls = JoinSet::new();
    for n in 0..MAX_IN_FLIGHT as u32 + 10 {
        let a = a.clone();
        calls.spawn(async move { a.call(number(n)).await });
    }
    until_idle().await;
    assert_eq!(from_a.len(), MAX_IN_FLIGHT);
    wire.abort();
    let outcomes = calls.join_all().await;
    let certainly_not = Err(CallError::Disconnected { maybe_executed: false });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == certainly_not).count(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_silent_link_is_kept_alive_by_pings() {
    let ((a, _from_b), (b, from_a), _wire) = wired().await;
    sleep(Duration::from_secs(3600)).await;
    assert!(!a.is_closed() && !b.is_closed());
    echo(from_a);
    assert_eq!(a.call("still there?".into()).await.unwrap(), "still there?");
}

#[tokio::test(start_paused = true)]
async fn a_link_to_a_silent_side_ends_after_fifteen_seconds() {
    let key = BusKeys::from_bytes(&[[1; 32]]);
    let (a, mut a_wire) = duplex(64 * 1024);
    let (b, mut b_wire) = duplex(64 * 1024);
    // After the handshake, everything is swallowed while the streams stay open, as with a pulled cable.
    let wire = tokio::spawn(async move {
        let passing = tokio::io::copy_bidirectional(&mut a_wire, &mut b_wire);
        let _ = timeout(Duration::from_secs(1), passing).await;
        let mut sink = vec![0; 1024];
        while a_wire.read(&mut sink).await.is_ok_and(|length| length > 0) {}
        drop(b_wire);
    });
    let (a, b) = tokio::join!(Connection::connect(a, &key), Connection::accept(b, &key));
    let ((a, _from_b), _b) = (start(a.unwrap()), start(b.unwrap()));
    let begin = Instant::now();
    assert_eq!(
        a.call("hello?".into()).await,
        Err(CallError::Disconnected { maybe_executed: true })
    );
    let waited = begin.elapsed().as_secs();
    assert!((14..=16).contains(&waited), "{waited}");
    wire.abort();
}

#[tokio::test(start_paused = true)]
async fn a_link_in_memory_survives_any_silence() {
    let ((a, _from_b), (_b, from_a)) = pair();
    echo(from_a);
    tokio::time::advance(Duration::from_secs(100_000)).await;
    assert_eq!(a.call("ask".into()).await.unwrap(), "ask");
}

#[tokio::test]
async fn an_unused_link_ends_after_its_last_message_arrived() {
    let ((a, from_b), (b, mut from_a), _wire) = wired().await;
    a.notify("last words".into()).await.unwrap();
    drop((a, from_b));
    assert!(matches!(from_a.recv().await.unwrap(), Incoming::Notice(body) if body == "last words"));
    assert!(from_a.recv().await.is_none());
    timeout(Duration::from_secs(5), b.closed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_keeps_the_link() {
    let ((a, _from_b), (b, mut from_a), _wire) = wired().await;
    let call = tokio::spawn({
        let a = a.clone();
        async move { a.call("ask".into()).await }
    });
    let (_, reply) = next_request(&mut from_a).await;
    drop((b, from_a));
    until_idle().await;
    assert!(!a.is_closed());
    reply.send("answer".into());
    assert_eq!(call.await.unwrap().unwrap(), "answer");
    // The other side now has nothing left that keeps the link.
    a.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_of_requests_keeps_the_link_without_its_peer() {
    let ((a, _from_b), (b, from_a), _wire) = wired().await;
    drop(b);
    until_idle().await;
    assert!(!a.is_closed());
    echo(from_a);
    assert_eq!(a.call("ask".into()).await.unwrap(), "ask");
}

#[tokio::test]
async fn an_altered_record_ends_only_its_own_link() {
    let key = BusKeys::from_bytes(&[[1; 32]]);
    let (other, (_other_peer, from_other)) = {
        let (a, b) = pair();
        (a, b)
    };
    echo(from_other);
    let (a, a_wire) = duplex(64 * 1024);
    let (b, b_wire) = duplex(64 * 1024);
    let (mut from_a, mut to_a) = tokio::io::split(a_wire);
    let (mut from_b, mut to_b) = tokio::io::split(b_wire);
    tokio::spawn(async move { tokio::io::copy(&mut from_b, &mut to_a).await });
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        let mut passed = 0;
        while let Ok(length @ 1..) = from_a.read(&mut buffer).await {
            // The handshake and the first frame have 50 + 28 bytes; after those, every chunk is altered.
            if passed >= 78 {
                buffer[length - 1] ^= 1;
            }
            passed += length;
            if to_b.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    });
    let (a, b) = tokio::join!(Connection::connect(a, &key), Connection::accept(b, &key));
    let ((a, _from_b), (b, mut from_a)) = (start(a.unwrap()), start(b.unwrap()));
    assert_eq!(
        a.call("pay 1".into()).await,
        Err(CallError::Disconnected { maybe_executed: true })
    );
    assert!(from_a.recv().await.is_none(), "an altered request was handed out");
    b.closed().await;
    assert_eq!(other.0.call("ask".into()).await.unwrap(), "ask");
}

#[tokio::test]
async fn a_peer_that_violates_the_protocol_is_disconnected() {
    use crate::message::Kind;
    let heads = [
        Kind::Answer(1).head().to_vec(),
        Kind::NoAnswer(7).head().to_vec(),
        vec![9; 9],
        vec![1, 2],
    ];
    for head in heads {
        let (a, mut b) = in_memory();
        let (a, _from_b) = start(a);
        b.writer.write(&head, b"").await.unwrap();
        b.writer.flush().await.unwrap();
        timeout(Duration::from_secs(5), a.closed()).await.unwrap();
    }
}
