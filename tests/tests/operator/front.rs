//! What stands between the operator and a server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// A server that answers each request with what `answer` makes of it, one a connection; nothing leaves it hanging.
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
                    // Held open until the other side has had enough.
                    None => while stream.read(&mut buffer).is_ok_and(|read| read > 0) {},
                }
            });
        }
    });
    address
}

/// The whole answer of the real server, on a connection that ends with it.
pub(super) fn forward(upstream: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(request);
    let (line, rest) = text.split_once("\r\n")?;
    // Streams never end; the operator polls then.
    if line.contains("/v1/events") {
        return Some(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec());
    }
    let mut stream = TcpStream::connect(upstream).ok()?;
    write!(stream, "{line}\r\nConnection: close\r\n{rest}").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}
