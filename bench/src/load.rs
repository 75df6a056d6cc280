//! A cheap load generator: prepared requests on connections that stay open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidevault_model::VaultId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The result of a run.
pub(crate) struct Measured {
    /// Requests per second.
    pub(crate) rate: f64,
    /// The median time of a request.
    pub(crate) p50: Duration,
    /// The number of requests.
    pub(crate) count: usize,
}

/// Requests to send, in random order, again and again.
pub(crate) struct Load {
    address: SocketAddr,
    requests: Arc<Vec<Vec<u8>>>,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, token: &str, paths: &[String]) -> Self {
        let requests = paths.iter().map(|path| get(token, path)).collect();
        Self {
            address,
            requests: Arc::new(requests),
        }
    }

    pub(crate) fn posting(address: SocketAddr, token: &str, vault: VaultId) -> Self {
        let body = r#"{"title":"written","category":"LOGIN","fields":[{"id":"password","purpose":"PASSWORD","type":"CONCEALED","value":"0123456789abcdef"}]}"#;
        let request = format!(
            "POST /v1/vaults/{vault}/items HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            address,
            requests: Arc::new(vec![request.into_bytes()]),
        }
    }

    pub(crate) async fn run(&self, connections: usize, time: Duration) -> Measured {
        let started = Instant::now();
        let workers: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(worker(self.address, self.requests.clone(), started + time)))
            .collect();
        let mut took = Vec::new();
        for worker in workers {
            took.extend(worker.await.unwrap());
        }
        let elapsed = started.elapsed().as_secs_f64();
        let middle = took.len() / 2;
        let p50 = *took.select_nth_unstable(middle).1;
        Measured {
            rate: took.len() as f64 / elapsed,
            p50: Duration::from_nanos(p50),
            count: took.len(),
        }
    }
}

async fn worker(address: SocketAddr, requests: Arc<Vec<Vec<u8>>>, until: Instant) -> Vec<u64> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut took = Vec::with_capacity(50_000);
    let mut buffer = Vec::with_capacity(64 * 1024);
    while Instant::now() < until {
        let request = &requests[rand::random_range(0..requests.len())];
        let started = Instant::now();
        stream.write_all(request).await.unwrap();
        let (status, _) = answer(&mut stream, &mut buffer).await;
        assert_eq!(status, 200);
        took.push(started.elapsed().as_nanos() as u64);
    }
    took
}

fn get(token: &str, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}

/// Reads one response. Returns its status, and the offset of its body in the buffer.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (u16, usize) {
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the connection was closed");
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let status = head[9..12].parse().unwrap();
        while buffer.len() < end + 4 + length {
            assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the connection was closed");
        }
        return (status, end + 4);
    }
}

/// The body of a response; empty if it is not a 200.
pub(crate) async fn get_once(address: SocketAddr, token: &str, path: &str) -> Vec<u8> {
    try_get(address, token, path).await.unwrap_or_default()
}

/// The body of a response, if it is a 200.
pub(crate) async fn try_get(address: SocketAddr, token: &str, path: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&get(token, path)).await.ok()?;
    let mut buffer = Vec::new();
    let (status, body) = answer(&mut stream, &mut buffer).await;
    (status == 200).then(|| buffer.split_off(body))
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
