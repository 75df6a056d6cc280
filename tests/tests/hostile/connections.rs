//! Clients that hold connections without a request don't keep others out.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use sidevault_tests::pair::{Process, ServerPair};
use sidevault_tests::wire::{Request, Wire, exchange};

/// As many as the server has places, and some.
const STRANGERS: usize = 4500;

/// How many files this process may have open, which the test needs for its side of the connections.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
        .unwrap_or(usize::MAX)
}

/// Probes come over the same port, on connections of their own. If they are not answered, Kubernetes restarts the Pod.
#[test]
fn probes_are_answered_while_strangers_hold_all_connections_there_are() {
    assert!(
        open_files() > STRANGERS * 2,
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
        let mut held = Vec::with_capacity(STRANGERS);
        for n in 0..STRANGERS {
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

/// The operating system's limit is often lower than ours.
#[test]
fn running_out_of_open_files_keeps_nobody_out_either() {
    let mut pair = ServerPair::prepare(&["--vault", "apps"], &[]);
    let binary = sidevault_tests::pair::binary();
    // Hard, so that the server can't raise it.
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
