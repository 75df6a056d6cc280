//! The event stream, its reconnects and its errors.

use super::*;
use crate::testing::*;
use futures_util::TryStreamExt;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n";

fn event(id: u64, kind: &str) -> String {
    format!("id: {id}\nevent: {kind}\ndata: {{\"vault\":\"{VAULT}\",\"item\":\"{ITEM}\",\"version\":{id}}}\n\n")
}

fn stream_of(text: &str) -> Reply {
    raw(format!("{HEAD}{text}"))
}

/// A client with short waits.
fn quick(server: &Server) -> Client {
    let mut builder = server.builder();
    builder.events.reconnect = Duration::from_millis(5);
    builder.events.silence = Duration::from_millis(150);
    builder.build().unwrap()
}

async fn sequences(events: Events, count: usize) -> Vec<u64> {
    let events: Vec<Event> = events.take(count).try_collect().await.unwrap();
    events.into_iter().filter_map(|event| event.sequence).collect()
}

#[test]
fn waits_between_attempts_double_up_to_the_limit_also_if_the_server_asks_for_longer_ones() {
    let waits = |first| backoff(Duration::from_millis(first)).build();
    for (wait, full) in waits(10_000).zip([10_000, 20_000, 30_000, 30_000]) {
        let full = Duration::from_millis(full);
        assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
    }
    assert!(waits(3_600_000).take(9).all(|wait| wait <= LONGEST_WAIT));
}

#[tokio::test]
async fn an_event_names_the_changed_item() {
    let server = Server::always(stream_of(&event(7, "item.updated"))).await;
    let event = quick(&server).events(Some(6)).next().await.unwrap().unwrap();
    assert_eq!(
        event,
        Event {
            sequence: Some(7),
            kind: EventKind::ItemUpdated,
            vault: Some(vault_id()),
            item: Some(item_id()),
            version: Some(7),
        }
    );
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.line.as_str(), seen.header("accept")),
        ("GET /v1/events", Some("text/event-stream"))
    );
    assert_eq!(seen.header("last-event-id"), Some("6"));
}

#[tokio::test]
async fn a_broken_stream_is_resumed_after_the_last_complete_event() {
    let server = Server::start(|_, before| match before {
        // The second event is cut, so it does not count.
        0 => stream_of(&format!(
            "{}{}",
            event(7, "item.updated"),
            event(8, "item.deleted").trim_end()
        )),
        1 => stream_of(&format!("{}: still here\n\nid: 9\n\n", event(8, "item.deleted"))),
        _ => stream_of(&event(10, "vault.changed")),
    })
    .await;
    assert_eq!(sequences(quick(&server).events(Some(6)), 3).await, [7, 8, 10]);
    let seen = server.seen();
    let resumed: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(resumed, [Some("6"), Some("7"), Some("9")]);
}

#[tokio::test]
async fn a_silent_stream_is_reconnected_and_comments_keep_it() {
    let server = Server::start(|_, before| match before {
        0 => {
            let mut reply = stream_of("");
            reply.extend((0..4).map(|_| (Duration::from_millis(80), b":\n".to_vec())));
            reply.push((Duration::ZERO, event(7, "item.updated").into_bytes()));
            reply.push((Duration::from_secs(60), vec![]));
            reply
        }
        _ => stream_of(&event(8, "item.updated")),
    })
    .await;
    assert_eq!(sequences(quick(&server).events(Some(6)), 2).await, [7, 8]);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn without_a_last_id_the_first_event_is_a_reset() {
    let server = Server::start(|_, before| match before {
        0 => stream_of(": nothing yet\n\n"),
        _ => stream_of(&event(8, "item.created")),
    })
    .await;
    let events: Vec<Event> = quick(&server).events(None).take(3).try_collect().await.unwrap();
    // Also after the reconnect, because changes may have been made between the two connections.
    assert_eq!(events[0], Event::of_stream(EventKind::Reset, None));
    assert_eq!(events[1], Event::of_stream(EventKind::Reset, None));
    assert_eq!(events[2].kind, EventKind::ItemCreated);
    assert_eq!(server.seen()[1].header("last-event-id"), None);
}

#[tokio::test]
async fn failed_reconnects_are_errors_and_the_stream_continues() {
    let server = Server::start(|_, before| match before {
        0 => refuse(503, "sync is not there"),
        1 => Reply::new(),
        2 => refuse(429, "slow down"),
        _ => stream_of(&event(7, "item.updated")),
    })
    .await;
    let mut events = quick(&server).events(Some(6));
    assert_eq!(events.next().await.unwrap().unwrap_err().status(), Some(503));
    assert!(events.next().await.unwrap().unwrap_err().is_unreachable());
    assert_eq!(events.next().await.unwrap().unwrap_err().status(), Some(429));
    assert_eq!(events.next().await.unwrap().unwrap().kind, EventKind::Resumed);
    assert_eq!(events.next().await.unwrap().unwrap().sequence, Some(7));
}

#[tokio::test]
async fn a_permanent_error_ends_the_stream() {
    for reply in [
        refuse(401, "Invalid bearer token"),
        refuse(404, "not found"),
        answer(200, "text/html", "<html>"),
    ] {
        let server = Server::always(reply).await;
        let mut events = quick(&server).events(None);
        assert!(events.next().await.unwrap().is_err());
        assert!(events.next().await.is_none());
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::always(raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")).await;
    assert!(quick(&server).events(None).next().await.is_none());
}

#[test]
fn invalid_events_are_resets_and_unknown_kinds_are_kept() {
    let frame = |event: &str, data: &str| Frame {
        event: event.into(),
        data: data.into(),
        last_id: Some("7".into()),
    };
    for (event, data) in [
        ("reset", ""),
        ("item.updated", "{"),
        ("item.updated", ""),
        ("item.deleted", r#"{"vault":"","item":""}"#),
        ("item.updated", r#"{"vault":"Homelab","item":"x"}"#),
        ("", "[]"),
    ] {
        assert_eq!(
            parse(&frame(event, data)),
            Event::of_stream(EventKind::Reset, Some(7)),
            "{event} {data}"
        );
    }
    let new = parse(&frame(
        "token.changed",
        r#"{"vault":"","item":null,"version":0,"more":1}"#,
    ));
    assert_eq!(new.kind, EventKind::Other("token.changed".into()));
    assert_eq!((new.vault, new.item, new.version), (None, None, None));
}
