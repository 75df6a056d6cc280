//! A TCP proxy that a test can point at another server, cut, or make wait.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A proxy in front of a server. Its threads end with the test process.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when forwarding goes on.
    resumed: Condvar,
}

struct State {
    server: SocketAddr,
    /// Whether new connections are cut at once.
    is_shut: bool,
    /// Whether nothing is forwarded.
    is_stalled: bool,
    /// The texts that make the proxy lose an answer: see [`Proxy::lose_answer`].
    question: Vec<&'static [u8]>,
    /// How many answers were lost.
    lost: u64,
    /// The clients' connections, each by a number of its own.
    open: BTreeMap<u64, TcpStream>,
    accepted: u64,
}

impl Proxy {
    /// Starts a proxy on an address, in front of a server.
    ///
    /// # Panics
    /// If the address has no free port.
    pub fn before(server: SocketAddr, address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let proxy = Self {
            address: listener.local_addr().expect("an address"),
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    server,
                    is_shut: false,
                    is_stalled: false,
                    question: Vec::new(),
                    lost: 0,
                    open: BTreeMap::new(),
                    accepted: 0,
                }),
                resumed: Condvar::new(),
            }),
        };
        let shared = proxy.shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.pass(&client));
            }
        });
        proxy
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to another server. Connections that are open stay where they are.
    pub fn turn_to(&self, server: SocketAddr) {
        self.shared.state().server = server;
    }

    /// Cuts all connections, and returns how many there were.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut self.shared.state().open);
        // An error means that the client has closed the connection already.
        open.values().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        open.len()
    }

    /// Cuts all connections, and new ones at once, until [`Self::open`]. Returns how many were cut.
    pub fn shut(&self) -> usize {
        self.shared.state().is_shut = true;
        self.cut()
    }

    /// Accepts new connections again.
    pub fn open(&self) {
        self.shared.state().is_shut = false;
    }

    /// Forwards nothing in either direction until [`Self::resume`], and keeps the connections.
    pub fn stall(&self) {
        self.shared.state().is_stalled = true;
    }

    /// Forwards again what has waited.
    pub fn resume(&self) {
        self.shared.state().is_stalled = false;
        self.shared.resumed.notify_all();
    }

    /// Waits until a client sends these texts in this order on one connection. Drops the server's answer to the last one, and cuts
    /// the connection. So the server has done what the client asked, and the client can't know it. This happens once.
    pub fn lose_answer(&self, question: &[&'static [u8]]) {
        self.shared.state().question = question.to_vec();
    }

    /// How many answers were lost.
    pub fn lost_answers(&self) -> u64 {
        self.shared.state().lost
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something may be forwarded.
    fn wait(&self) -> MutexGuard<'_, State> {
        let waited = self.resumed.wait_while(self.state(), |state| state.is_stalled);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(self: &Arc<Self>, client: &TcpStream) -> io::Result<()> {
        let (server, number) = {
            let mut state = self.wait();
            if state.is_shut {
                return Ok(());
            }
            state.accepted += 1;
            let number = state.accepted;
            state.open.insert(number, client.try_clone()?);
            (state.server, number)
        };
        let passed = self.connect(client, server);
        self.state().open.remove(&number);
        passed
    }

    fn connect(self: &Arc<Self>, client: &TcpStream, server: SocketAddr) -> io::Result<()> {
        // If the server can't be reached, the client's connection is closed, as when the port were the server's own.
        let upstream = match TcpStream::connect(server) {
            Ok(upstream) => upstream,
            Err(error) => {
                client.shutdown(Shutdown::Both)?;
                return Err(error);
            }
        };
        let asked = Arc::new(Mutex::new(Asked::default()));
        let forth = thread::spawn({
            let (shared, asked) = (self.clone(), asked.clone());
            let (client, upstream) = (client.try_clone()?, upstream.try_clone()?);
            move || {
                shared.copy(&client, &upstream, |bytes| {
                    let question = shared.state().question.clone();
                    asked_of(&asked).note(bytes, &question);
                    true
                })
            }
        });
        let copied = self.copy(&upstream, client, |_| {
            let texts = asked_of(&asked).texts;
            let mut state = self.state();
            let lost = !state.question.is_empty() && texts == state.question.len();
            if lost {
                state.question.clear();
                state.lost += 1;
            }
            !lost
        });
        let _ended = forth.join();
        copied
    }

    /// Copies bytes until one side closes the connection, or `forward` is false for them; then closes both sides.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, mut forward: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        let copied = loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => &buffer[..read],
                Err(error) => break Err(error),
            };
            drop(self.wait());
            if !forward(read) {
                break Ok(());
            }
            if let Err(error) = to.write_all(read) {
                break Err(error);
            }
        };
        // An error means that the side is closed already.
        for side in [from, to] {
            side.shutdown(Shutdown::Both).ok();
        }
        copied
    }
}

/// How far a client has come in the texts of [`Proxy::lose_answer`].
#[derive(Default)]
struct Asked {
    texts: usize,
    /// What the client has sent since the last of the texts.
    sent: Vec<u8>,
}

impl Asked {
    fn note(&mut self, bytes: &[u8], question: &[&[u8]]) {
        if question.is_empty() {
            *self = Self::default();
            return;
        }
        self.sent.extend_from_slice(bytes);
        while let Some(text) = question.get(self.texts)
            && let Some(at) = self.sent.windows(text.len()).position(|window| window == *text)
        {
            self.sent.drain(..at + text.len());
            self.texts += 1;
        }
    }
}

fn asked_of(asked: &Mutex<Asked>) -> MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}
