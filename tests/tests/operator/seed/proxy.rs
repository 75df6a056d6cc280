//! The Connect server by the names that the manifests have for it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The names.
pub(super) const NAMES: [&str; 2] = ["onepassword-connect:8080", "onepassword-connect.external-secrets:8080"];

/// An HTTP proxy that knows the Connect server's names, and nothing else.
pub(super) struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    pub(super) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            asked: Arc::default(),
        };
        let asked = proxy.asked.clone();
        // Ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let asked = asked.clone();
                thread::spawn(move || pass(client, server, &asked));
            }
        });
        proxy
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The hosts that were asked for.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes a connection on. A client asks for one host on it: proxies are asked by whole URLs, and servers take those.
fn pass(mut client: TcpStream, server: SocketAddr, asked: &Mutex<BTreeSet<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(2).any(|pair| pair == b"\r\n") {
        let mut block = [0; 4096];
        match client.read(&mut block)? {
            0 => return Ok(()),
            read => head.extend_from_slice(&block[..read]),
        }
    }
    let text = String::from_utf8_lossy(&head);
    let host = text
        .split(' ')
        .nth(1)
        .and_then(|url| url.strip_prefix("http://"))
        .and_then(|url| url.split('/').next());
    let host = host.unwrap_or_default().to_owned();
    if !NAMES.contains(&host.as_str()) {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    asked.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(&head)?;
    let (mut from_server, mut to_client) = (upstream.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut from_server, &mut to_client);
        // Whoever waits for more shall know that there is none.
        let _gone = to_client.shutdown(std::net::Shutdown::Both);
        copied
    });
    io::copy(&mut client, &mut upstream)?;
    upstream.shutdown(std::net::Shutdown::Write)?;
    let _ended = back.join();
    Ok(())
}
