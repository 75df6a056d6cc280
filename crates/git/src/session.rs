//! One connection's limits: how long it may last, how many bytes it may bring, and whether it was told to stop. The Git
//! library reads and writes on a thread for blocking calls; the connection itself belongs to tokio.

use std::fmt::Display;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::GitError;

/// How long a server may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long one check may take, with the download.
pub(crate) const TOTAL: Duration = Duration::from_secs(20 * 60);
/// How long to wait for the rest of a program's error text.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How many bytes of a server's error text are kept.
const MAX_SAID: usize = 1000;

pub(crate) struct Session {
    pub(crate) handle: Handle,
    stop: CancellationToken,
    deadline: Instant,
    /// How long it was until the deadline at the start.
    total: Duration,
    limit: u64,
    received: AtomicU64,
    /// The first thing that went wrong. The Git library wraps errors, so the cause is kept here.
    fault: Mutex<Option<GitError>>,
    /// What the server wrote to its standard error stream.
    said: Mutex<String>,
    /// Reads that stream.
    hearing: Mutex<Option<JoinHandle<()>>>,
}

impl Session {
    /// `limit` is the most bytes that may be received, `total` the longest time that all of it may take.
    pub(crate) fn new(stop: CancellationToken, limit: u64, total: Duration) -> Arc<Self> {
        Arc::new(Self {
            handle: Handle::current(),
            stop,
            deadline: Instant::now() + total,
            total,
            limit,
            received: AtomicU64::new(0),
            fault: Mutex::default(),
            said: Mutex::default(),
            hearing: Mutex::default(),
        })
    }

    /// Waits for something that the server does.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> io::Result<T> {
        self.wait_at_most(IDLE, work)
    }

    pub(crate) fn wait_at_most<T>(&self, idle: Duration, work: impl Future<Output = T>) -> io::Result<T> {
        let until = self.deadline.min(Instant::now() + idle);
        self.handle.block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => Err(self.blame(GitError::Stopped)),
                done = tokio::time::timeout_at(until, work) => done.map_err(|_| {
                    let took = if until == self.deadline { self.total } else { idle };
                    self.blame(GitError::Unreachable(format!("no answer for {} s", took.as_secs())))
                }),
            }
        })
    }

    /// Notes the cause of a failure, and returns an error for the Git library to pass on.
    pub(crate) fn blame(&self, cause: GitError) -> io::Error {
        let error = io::Error::other(cause.clone());
        self.fault.lock().get_or_insert(cause);
        error
    }

    fn spend(&self, bytes: usize) -> io::Result<()> {
        let bytes = bytes as u64;
        if self.received.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limit {
            return Err(self.blame(GitError::TooLarge(format!(
                "the Git server sent more than {} MiB for one commit",
                self.limit >> 20
            ))));
        }
        Ok(())
    }

    /// Keeps what the server wrote to its standard error stream.
    pub(crate) fn hear(&self, text: &[u8]) {
        let mut said = self.said.lock();
        let room = MAX_SAID.saturating_sub(said.len());
        said.push_str(&String::from_utf8_lossy(&text[..text.len().min(room)]));
    }

    /// What the server wrote there, on one line.
    pub(crate) fn said(&self) -> String {
        one_line(&self.said.lock())
    }

    /// Notes the task that reads the server's standard error stream.
    pub(crate) fn hears(&self, task: JoinHandle<()>) {
        *self.hearing.lock() = Some(task);
    }

    /// The cause that was noted, if one was.
    pub(crate) fn fault(&self) -> Option<GitError> {
        self.fault.lock().clone()
    }

    /// The cause that was noted; else what the server said; else the library's own error.
    pub(crate) fn explain(&self, error: &dyn Display) -> GitError {
        if let Some(fault) = self.fault() {
            return fault;
        }
        // The program's last words may come after the end of its output.
        if let Some(task) = self.hearing.lock().take() {
            self.handle.block_on(tokio::time::timeout(LAST_WORDS, task)).ok();
        }
        let said = self.said.lock();
        // The alternate form of the library's errors has the whole chain of causes.
        let text = match said.trim() {
            "" => format!("{error:#}"),
            said => said.to_owned(),
        };
        classify(one_line(&text))
    }
}

/// What a server's or program's words mean. Git's programs and `ssh` have no codes for it.
fn classify(text: String) -> GitError {
    let lower = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    if says(&[
        "host key verification failed",
        "host identification has changed",
        "host key is known",
    ]) {
        return GitError::HostKey(format!(
            "the SSH host key is not in the file of known hosts, or has changed: {text}"
        ));
    }
    if says(&["marked as read only", "not allowed to push", "write access"]) {
        return GitError::Credentials(format!("the Git server refuses these credentials: {text}"));
    }
    if says(&["permission denied", "load key"]) {
        return GitError::Credentials(format!("the Git server refuses the SSH key: {text}"));
    }
    if says(&[
        "connection refused",
        "timed out",
        "could not resolve",
        "no route to host",
        "network is unreachable",
        "connection closed",
        "connection reset",
    ]) {
        return GitError::Unreachable(text);
    }
    if says(&[
        "not exported",
        "does not appear to be a git repository",
        "repository not found",
        "no such file or directory",
    ]) {
        return GitError::NoRepository(text);
    }
    GitError::Protocol(text)
}

/// The text on one line, without control characters.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// What is read from a connection.
pub(crate) struct Incoming<R> {
    session: Arc<Session>,
    from: R,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub(crate) fn new(session: Arc<Session>, from: R) -> BufReader<Self> {
        BufReader::with_capacity(64 << 10, Self { session, from })
    }
}

impl<R: AsyncRead + Unpin> Read for Incoming<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.session.wait(self.from.read(buffer))??;
        self.session.spend(read)?;
        Ok(read)
    }
}

/// What is written to a connection.
pub(crate) struct Outgoing<W> {
    session: Arc<Session>,
    to: W,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    pub(crate) fn new(session: Arc<Session>, to: W) -> Self {
        Self { session, to }
    }
}

impl<W: AsyncWrite + Unpin> Write for Outgoing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.session.wait(self.to.write(bytes))?
    }

    fn flush(&mut self) -> io::Result<()> {
        self.session.wait(self.to.flush())?
    }
}

/// Counts the bytes of an HTTP response.
pub(crate) fn count(session: &Session, bytes: usize) -> io::Result<()> {
    session.spend(bytes)
}
