use super::*;

fn address(n: u32) -> IpAddr {
    IpAddr::V4(n.into())
}

/// For a listener with at most `requests` requests in progress.
fn connections(requests: usize) -> Arc<Connections> {
    Connections::new(requests, ClosedConnections::default())
}

/// Whether the connection has to be closed.
async fn is_closing(permit: &ConnectionPermit) -> bool {
    futures_util::poll!(pin!(permit.closing())).is_ready()
}

#[tokio::test(start_paused = true)]
async fn one_address_gets_half_of_the_connections_and_then_closes_its_own_idle_ones() {
    let connections = connections(1);
    let other = connections.admit(address(7)).unwrap();
    let mut permits = Vec::new();
    for _ in 0..limits::MAX_CONNECTIONS_PER_ADDRESS {
        permits.push(connections.admit(address(1)).unwrap());
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(
        connections.table.lock().open.len(),
        limits::MAX_CONNECTIONS_PER_ADDRESS + 1
    );
    let last = connections.admit(address(1)).unwrap();
    let newest = permits.pop().unwrap();
    assert!(
        is_closing(&permits[0]).await,
        "the one that has waited longest is closed first"
    );
    assert!(!is_closing(&newest).await && !is_closing(&last).await && !is_closing(&other).await);
    let count = connections.table.lock().count(address(1));
    assert_eq!(count, limits::MAX_CONNECTIONS_PER_ADDRESS - CLOSED_AT_ONCE + 1);
    assert_eq!(
        connections.closed.of(CloseReason::ConnectionLimit),
        CLOSED_AT_ONCE as u64
    );
    drop((permits, newest, last));
    assert_eq!(connections.table.lock().groups.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_the_connection_limit_idle_connections_of_the_largest_holders_are_closed() {
    let connections = connections(1);
    let honest = connections.admit(address(1)).unwrap();
    let busy: Vec<ConnectionPermit> = (0..100).map(|_| connections.admit(address(2)).unwrap()).collect();
    let at_work: Vec<_> = busy.iter().map(ConnectionPermit::begin).collect();
    let mut strangers = Vec::new();
    for n in 0..limits::MAX_CONNECTIONS - 101 {
        let stranger = address(1000 + n as u32 / 2);
        strangers.push(connections.admit(stranger).unwrap());
    }
    let probe = connections.admit(address(3)).unwrap();
    let mut closed = 0;
    for stranger in &strangers {
        closed += usize::from(is_closing(stranger).await);
    }
    assert_eq!(closed, CLOSED_AT_ONCE);
    for permit in busy.iter().chain([&honest, &probe]) {
        assert!(!is_closing(permit).await);
    }
    drop(at_work);
}

#[tokio::test]
async fn a_new_connection_is_refused_while_all_others_have_requests_in_progress() {
    let connections = connections(1);
    let permits: Vec<ConnectionPermit> = (0..limits::MAX_CONNECTIONS_PER_ADDRESS)
        .map(|_| connections.admit(address(1)).unwrap())
        .collect();
    let mut exchanges: Vec<_> = permits.iter().map(ConnectionPermit::begin).collect();
    assert!(connections.admit(address(1)).is_none());
    assert_eq!(connections.closed.of(CloseReason::Refused), 1);
    assert!(connections.admit(address(2)).is_some());
    exchanges.pop();
    assert!(connections.admit(address(1)).is_some());
}

#[test]
fn ipv6_addresses_count_by_their_64_bit_prefix() {
    let of = |text: &str| group(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::"));
    assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_overdue_a_minute_after_the_client_last_sent_or_read_something() {
    let minute = Duration::from_secs(60);
    let connections = connections(1);
    let permit = connections.admit(address(1)).unwrap();
    let start = Instant::now();
    permit.overdue(minute).await;
    assert_eq!(start.elapsed(), minute, "the client sent nothing");

    let exchange = permit.begin();
    let mut overdue = pin!(permit.overdue(minute));
    assert!(
        timeout(minute * 10, &mut overdue).await.is_err(),
        "the server has to act"
    );
    exchange.wait_for_client();
    let start = Instant::now();
    tokio::time::sleep(minute / 2).await;
    exchange.wait_for_server();
    exchange.wait_for_client();
    overdue.await;
    assert_eq!(
        start.elapsed(),
        minute * 3 / 2,
        "the client read something after half a minute"
    );
    assert_eq!(connections.closed.of(CloseReason::ResponseTimeout), 1);

    drop(exchange);
    let start = Instant::now();
    permit.overdue(minute).await;
    assert_eq!(start.elapsed(), minute, "the client sends no further request");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_response_loses_its_connection_when_others_need_the_memory() {
    let connections = connections(3);
    let half = limits::MAX_UNSENT_BYTES / 2;
    let [hog, slow, honest] = [1, 2, 3].map(|n| connections.admit(address(n)).unwrap());
    let (unread, at_work, asked) = (hog.begin(), slow.begin(), honest.begin());
    for exchange in [&unread, &at_work] {
        exchange.admit().await.unwrap();
        assert!(exchange.try_reserve(half));
    }
    asked.admit().await.unwrap();
    unread.wait_for_client();
    assert!(!asked.try_reserve(half));
    let mut reserved = pin!(asked.reserve(half * 3));
    // Every response is unread for a moment.
    assert!(timeout(limits::UNREAD_GRACE / 2, &mut reserved).await.is_err());
    assert!(!is_closing(&hog).await);
    assert!(timeout(limits::UNREAD_GRACE, &mut reserved).await.is_err());
    assert!(is_closing(&hog).await && !is_closing(&slow).await);
    assert_eq!(connections.closed.of(CloseReason::UnreadLimit), 1);
    drop(unread);
    reserved.await.unwrap();

    // No connection can be closed, so further requests are refused.
    let further = honest.begin();
    assert_eq!(further.admit().await, Ok(()));
    assert!(
        further.try_reserve(limits::SMALL_RESPONSE_BYTES),
        "small responses need no permits"
    );
    assert_eq!(further.reserve(limits::SMALL_RESPONSE_BYTES + 1).await, Err(Busy));
    assert_eq!(honest.begin().admit().await, Err(Busy));
}

#[tokio::test]
async fn one_address_gets_at_most_half_of_the_requests_and_of_the_memory() {
    let connections = connections(4);
    let [greedy, other] = [1, 2].map(|n| connections.admit(address(n)).unwrap());
    let half = limits::MAX_UNSENT_BYTES / 2;
    let exchanges: Vec<_> = (0..3).map(|_| greedy.begin()).collect();
    assert!(exchanges[0].try_acquire(|quota| &quota.requests, 1).is_some());
    let taken: Vec<_> = exchanges
        .iter()
        .filter_map(|exchange| exchange.try_acquire(|quota| &quota.requests, 1))
        .collect();
    assert_eq!(taken.len(), 2);
    assert!(exchanges[0].try_reserve(half) && !exchanges[1].try_reserve(limits::SMALL_RESPONSE_BYTES + 1));
    let asked = other.begin();
    assert!(asked.try_acquire(|quota| &quota.requests, 2).is_some() && asked.try_reserve(half));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_any_response_counts_as_reading() {
    let connections = connections(4);
    let permit = connections.admit(address(1)).unwrap();
    let exchanges = [permit.begin(), permit.begin()];
    let start = Instant::now();
    for exchange in &exchanges {
        exchange.wait_for_client();
    }
    let mut closed = None;
    while closed.is_none() {
        exchanges[1].client_has_read();
        tokio::time::sleep(limits::UNREAD_GRACE / 2).await;
        closed = permit.state.progress.lock().unread_since(Instant::now());
    }
    assert_eq!(closed, Some(start));
    assert!(
        start.elapsed() >= limits::LEFT_ASIDE_GRACE,
        "one response is left aside"
    );
}
