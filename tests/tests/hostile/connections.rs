//! Clients that hold connections without a request do not block other clients.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Request, Wire, exchange};

/// More connections than the server holds at once.
const IDLE_CONNECTIONS: usize = 4500;

/// The limit on this process's open files. The test needs one for each connection.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .unwrap_or(usize::MAX)
}

/// Kubernetes' probes use the same port, each with a new connection. Without an answer, Kubernetes restarts the Pod.
#[test]
fn probes_are_answered_while_idle_clients_hold_all_connections() {
    assert!(
        open_files() > IDLE_CONNECTIONS * 2,
        "this test needs more open files: ulimit -n"
    );
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let token = pair.token("t", &["apps=read"]);
    for (half, address) in [(Process::Api, pair.address()), (Process::Sync, pair.sync_address())] {
        let probe = |when: &str| {
            for path in ["/heartbeat", "/health"] {
                let reply = exchange(address, &Request::new("GET", path).bytes());
                let reply = reply.unwrap_or_else(|error| panic!("{half:?} {path} {when}: {error}"));
                assert_eq!(reply.status, 200, "{half:?} {path} {when}: {}", reply.text());
            }
        };
        let mut held = Vec::with_capacity(IDLE_CONNECTIONS);
        for n in 0..IDLE_CONNECTIONS {
            let from = Ipv4Addr::new(127, 0, 1, (n % 8) as u8 + 1);
            let mut stranger = Wire::open_from(from, address).unwrap();
            let first: &[u8] = [b"".as_slice(), b"P", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\n"][n % 4];
            stranger.send(first).unwrap();
            held.push(stranger);
            if n % 1500 == 0 {
                probe("while they come");
            }
        }
        probe("while all are there");
        if half == Process::Api {
            let reply = pair.get(&token, "/v1/vaults");
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let log = pair.log(half);
        assert!(log.contains("there are too many connections"), "{log}");
    }
}

/// The operating system's limit on open files may be lower than the server's limit on connections.
#[test]
fn probes_are_answered_at_the_limit_of_open_files() {
    let mut pair = ServerPair::prepare(&["--vault", "apps"], &[]);
    let binary = sidevault_tests::pair::binary();
    // `ulimit -n` sets the hard limit, too, so the server can't raise it.
    let limited = format!("ulimit -n 200; exec {} \"$@\"", binary.display());
    pair.run_by(&["sh", "-c", &limited, "sidevault"]);
    pair.run(Process::Api);
    pair.run(Process::Sync);
    pair.wait_linked();
    let held: Vec<_> = (0..600)
        .filter_map(|_| TcpStream::connect_timeout(&pair.address(), Duration::from_secs(60)).ok())
        .collect();
    for _ in 0..3 {
        let reply = exchange(pair.address(), &Request::new("GET", "/heartbeat").bytes()).unwrap();
        assert_eq!(reply.status, 200);
    }
    drop(held);
}
