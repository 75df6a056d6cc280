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
    addresses: Vec<SocketAddr>,
    requests: Arc<Vec<Vec<u8>>>,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, token: &str, paths: &[String]) -> Self {
        Self::spread(vec![address], token, paths)
    }

    /// The connections are spread evenly over these servers.
    pub(crate) fn spread(addresses: Vec<SocketAddr>, token: &str, paths: &[String]) -> Self {
        let requests = paths.iter().map(|path| get(token, path, "")).collect();
        Self {
            addresses,
            requests: Arc::new(requests),
        }
    }

    pub(crate) fn posting(address: SocketAddr, token: &str, vault: VaultId) -> Self {
        Self {
            addresses: vec![address],
            requests: Arc::new(vec![new_item(token, vault)]),
        }
    }

    pub(crate) async fn run(&self, connections: usize, time: Duration) -> Measured {
        let started = Instant::now();
        let workers: Vec<_> = (0..connections)
            .map(|n| {
                let address = self.addresses[n % self.addresses.len()];
                tokio::spawn(worker(address, self.requests.clone(), started + time))
            })
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
    let mut client = Client::connect(address).await.unwrap();
    let mut took = Vec::with_capacity(50_000);
    while Instant::now() < until {
        let request = &requests[rand::random_range(0..requests.len())];
        let started = Instant::now();
        assert_eq!(client.ask(request).await.unwrap(), 200);
        took.push(started.elapsed().as_nanos() as u64);
    }
    took
}

/// A connection that stays open, with the last response.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    body: usize,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
            body: 0,
        })
    }

    /// Sends a request, reads the response, and returns its status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> std::io::Result<u16> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            self.read_more().await?;
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            self.body = end + 4;
            let length = self
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            let status = self.head()[9..12].parse().unwrap();
            while self.buffer.len() < self.body + length {
                self.read_more().await?;
            }
            return Ok(status);
        }
    }

    async fn read_more(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn head(&self) -> &str {
        std::str::from_utf8(&self.buffer[..self.body]).unwrap()
    }

    /// A header of the last response, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head().lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body of the last response.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer[self.body..]
    }
}

/// A GET request. `headers` are further lines, each with its line break.
pub(crate) fn get(token: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n{headers}\r\n").into_bytes()
}

/// A POST request for a new item.
pub(crate) fn new_item(token: &str, vault: VaultId) -> Vec<u8> {
    let body = r#"{"title":"written","category":"LOGIN","fields":[{"id":"password","purpose":"PASSWORD","type":"CONCEALED","value":"0123456789abcdef"}]}"#;
    with_body("POST", token, &format!("/v1/vaults/{vault}/items"), body)
}

/// A PATCH request that changes an item's password.
pub(crate) fn new_password(token: &str, item: &str, password: &str) -> Vec<u8> {
    let body = format!(r#"[{{"op":"replace","path":"/fields/password/value","value":"{password}"}}]"#);
    with_body("PATCH", token, item, &body)
}

fn with_body(method: &str, token: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The body of a response on a new connection, if it is a 200.
pub(crate) async fn get_once(address: SocketAddr, token: &str, path: &str) -> Option<Vec<u8>> {
    let mut client = Client::connect(address).await.ok()?;
    let status = client.ask(&get(token, path, "")).await.ok()?;
    (status == 200).then(|| client.body().to_vec())
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

/// The value that `percent` of the values do not exceed.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
