//! Servers between the operator and a Connect server or the API server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
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
