//! Servers and proxies between the operator and a Connect server or the API server.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Starts a server that answers the one request of each connection with the result of `answer`. With `None` it does not
/// answer and keeps the connection open.
pub(super) fn serve(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            thread::spawn(move || {
                let Ok(mut stream) = stream else { return };
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => return,
                        Ok(read) => request.extend_from_slice(&buffer[..read]),
                    }
                }
                match answer(&request) {
                    Some(bytes) => drop(stream.write_all(&bytes)),
                    // Kept open until the client closes it.
                    None => while stream.read(&mut buffer).is_ok_and(|read| read > 0) {},
                }
            });
        }
    });
    address
}

/// The whole response of the real server to a request.
pub(super) fn forward(upstream: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(request);
    let (line, rest) = text.split_once("\r\n")?;
    // An event stream never ends, so it is refused. The operator then polls.
    if line.contains("/v1/events") {
        return Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec());
    }
    let mut stream = TcpStream::connect(upstream).ok()?;
    write!(stream, "{line}\r\nConnection: close\r\n{rest}").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

/// A TCP proxy that can cut all its connections at once.
pub(super) struct Gate {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    shut: bool,
    open: Vec<TcpStream>,
}

impl Gate {
    /// Starts a proxy on an address, in front of a server.
    pub(super) fn before(server: SocketAddr, address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let gate = Self {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
        };
        let state = gate.state.clone();
        // The thread ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = state.clone();
                thread::spawn(move || pass(&client, server, &state));
            }
        });
        gate
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections and returns how many there were. New connections are cut at once until [`Self::open`].
    pub(super) fn shut(&self) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.shut = true;
        state
            .open
            .drain(..)
            .map(|stream| drop(stream.shutdown(Shutdown::Both)))
            .count()
    }

    /// Accepts new connections again.
    pub(super) fn open(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).shut = false;
    }
}

fn pass(client: &TcpStream, server: SocketAddr, state: &Mutex<State>) -> io::Result<()> {
    let upstream = TcpStream::connect(server)?;
    {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.shut {
            return Ok(());
        }
        state.open.push(client.try_clone()?);
    }
    let (mut from_client, mut to_server) = (client.try_clone()?, upstream.try_clone()?);
    let (mut from_server, mut to_client) = (upstream, client.try_clone()?);
    let forth = thread::spawn(move || {
        let copied = io::copy(&mut from_client, &mut to_server);
        let _gone = to_server.shutdown(Shutdown::Both);
        copied
    });
    let copied = io::copy(&mut from_server, &mut to_client);
    let _gone = to_client.shutdown(Shutdown::Both);
    let _ended = forth.join();
    copied.map(drop)
}
