//! An HTTP proxy that stands in for the Services of the cluster.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The Connect server's names in the manifests.
pub(super) const NAMES: [&str; 2] = ["onepassword-connect:8080", "onepassword-connect.external-secrets:8080"];

/// An HTTP proxy that forwards requests for [`NAMES`] to the Connect server, and answers others with 502.
pub(super) struct Proxy {
    address: SocketAddr,
    requested_hosts: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    pub(super) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            requested_hosts: Arc::default(),
        };
        let hosts = proxy.requested_hosts.clone();
        // The thread ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let hosts = hosts.clone();
                thread::spawn(move || forward(client, server, &hosts));
            }
        });
        proxy
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The hosts of the forwarded requests.
    pub(super) fn requested_hosts(&self) -> BTreeSet<String> {
        self.requested_hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Forwards a connection, whose requests are all for the host of the first one. The request line is forwarded unchanged,
/// because servers accept the absolute form that clients send to proxies (RFC 9112, 3.2.2).
fn forward(mut client: TcpStream, server: SocketAddr, hosts: &Mutex<BTreeSet<String>>) -> io::Result<()> {
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
    hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(host);
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(&head)?;
    let (mut from_server, mut to_client) = (upstream.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || {
        let copied = io::copy(&mut from_server, &mut to_client);
        // Tells the client that no more bytes come. This fails if the client has closed the connection.
        let _ = to_client.shutdown(std::net::Shutdown::Both);
        copied
    });
    io::copy(&mut client, &mut upstream)?;
    upstream.shutdown(std::net::Shutdown::Write)?;
    back.join().expect("no panic").map(drop)
}
