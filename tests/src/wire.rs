//! HTTP/1.1 byte for byte: a test's request is sent as the test wrote it, well-formed or not.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The deadline of each single read and write.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer, as it was received.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status; 0 if the connection was closed without an answer.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without the framing of chunks.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text, with replacement characters where it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Connects from another loopback address: every address of 127.0.0.0/8 is one.
    pub fn open_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            let stream = socket.connect(to).await?.into_std()?;
            stream.set_nonblocking(false)?;
            Self::over(stream)
        })
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends bytes as they are. A server may refuse a request and close the connection before all bytes are sent, so a failed write is
    /// no error: its answer counts.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.stream.write_all(bytes) {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
            other => other,
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) {
        // This fails if the server has closed the connection already.
        self.stream.shutdown(std::net::Shutdown::Write).ok();
    }

    /// Reads the next answer, and skips interim answers (1xx).
    pub fn reply(&mut self, bodiless: bool) -> io::Result<Reply> {
        loop {
            let Some(end) = self.until_head()? else {
                return Ok(Reply::default());
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            self.buffer.drain(..end + 4);
            let mut lines = head.split("\r\n");
            let status = lines
                .next()
                .and_then(|line| line.split(' ').nth(1))
                .and_then(|code| code.parse().ok());
            let status: u16 = status.ok_or_else(|| io::Error::other(format!("no status line: {head:?}")))?;
            let headers = lines
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let mut reply = Reply {
                status,
                headers,
                body: Vec::new(),
            };
            if (100..200).contains(&status) {
                continue;
            }
            // A stream of events never ends.
            let endless = reply
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/event-stream"));
            if !(bodiless || endless || status == 204 || status == 304) {
                reply.body = self.body(&reply)?;
            }
            return Ok(reply);
        }
    }

    fn body(&mut self, reply: &Reply) -> io::Result<Vec<u8>> {
        if reply
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            return self.chunks();
        }
        match reply
            .header("content-length")
            .and_then(|length| length.parse::<usize>().ok())
        {
            Some(length) => self.take(length),
            None => {
                while self.more()? {}
                Ok(std::mem::take(&mut self.buffer))
            }
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                    Some(at) => break at,
                    None if self.more()? => {}
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            };
            let size = String::from_utf8_lossy(&self.buffer[..line]).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            self.buffer.drain(..line + 2);
            body.extend(self.take(size)?);
            self.take(2)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn until_head(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(Some(at));
            }
            if !self.more()? {
                return Ok(None);
            }
        }
    }

    /// Reads until the server closes the connection.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads until `enough` returns true for the bytes, or the server closes the connection.
    pub fn until(&mut self, enough: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        while !enough(&self.buffer) && self.more()? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut block = [0; 64 << 10];
        match self.stream.read(&mut block) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.buffer.extend_from_slice(&block[..n]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Sends one request on a connection of its own and reads the answer.
pub fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Reply> {
    let mut wire = Wire::open(address)?;
    wire.send(request)?;
    wire.reply(request.starts_with(b"HEAD "))
}

/// A request. It is well-formed if its parts are.
pub struct Request {
    head: Vec<u8>,
    body: Option<Vec<u8>>,
    counted: bool,
}

impl Request {
    /// `method target HTTP/1.1`, with a Host.
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        let mut head = format!("{method} ").into_bytes();
        head.extend_from_slice(target.as_ref());
        head.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\n");
        Self {
            head,
            body: None,
            counted: true,
        }
    }

    /// Adds a header line as it is.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.head.extend_from_slice(name.as_bytes());
        self.head.extend_from_slice(b": ");
        self.head.extend_from_slice(value.as_ref());
        self.head.extend_from_slice(b"\r\n");
        self
    }

    /// Adds `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Adds a body and its true length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Adds a body and no header about its length, so that a test can add a wrong one.
    #[must_use]
    pub fn raw_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.counted = false;
        self.body(body)
    }

    /// The bytes to send.
    pub fn bytes(self) -> Vec<u8> {
        let mut bytes = self.head;
        if let (Some(body), true) = (&self.body, self.counted) {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend(self.body.unwrap_or_default());
        bytes
    }
}
