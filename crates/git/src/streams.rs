//! Connections that are a stream of bytes each way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::git::ConnectMode;
use gix_transport::client::git::blocking_io::Connection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::GitError;
use crate::session::{Incoming, Outgoing, Session};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Speaks with a program at the other end, which was started for one repository.
pub(crate) fn with_program(
    session: &Arc<Session>,
    from: impl AsyncRead + Unpin + 'static,
    to: impl AsyncWrite + Unpin + 'static,
    path: &str,
) -> Box<dyn Transport> {
    let (from, to) = (Incoming::new(session.clone(), from), Outgoing::new(session.clone(), to));
    let none = None::<(String, Option<u16>)>;
    Box::new(Connection::new(
        from,
        to,
        Protocol::V2,
        path,
        none,
        ConnectMode::Process,
        false,
    ))
}

/// Connects to a Git daemon.
pub(crate) fn daemon(
    session: &Arc<Session>,
    host: &str,
    port: u16,
    path: &str,
) -> Result<Box<dyn Transport>, GitError> {
    let stream = dial(session, host, port)?;
    let (from, to) = stream.into_split();
    let (from, to) = (Incoming::new(session.clone(), from), Outgoing::new(session.clone(), to));
    let host = Some((host.to_owned(), Some(port)));
    Ok(Box::new(Connection::new(
        from,
        to,
        Protocol::V2,
        path,
        host,
        ConnectMode::Daemon,
        false,
    )))
}

/// Opens a TCP connection.
pub(crate) fn dial(session: &Session, host: &str, port: u16) -> Result<TcpStream, GitError> {
    let dialled = session.wait_at_most(CONNECT, async {
        let addresses = sidevault_net::lookup(host).await?;
        let mut failed = io::Error::other("it has no address");
        for address in addresses {
            match TcpStream::connect((address, port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    });
    match dialled {
        Ok(Ok(stream)) => {
            stream.set_nodelay(true).ok();
            Ok(stream)
        }
        Ok(Err(error)) => Err(GitError::Unreachable(format!("{host} port {port}: {error}"))),
        Err(error) => Err(session.explain(&error)),
    }
}
