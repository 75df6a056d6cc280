//! The Unix socket over which administrators' commands reach a running sync.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sidevault_bus::Connection;
use sidevault_keys::BusKeys;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::LinkServer;

/// The name of the Unix socket in the data directory over which administrators' commands reach a running sync. It carries
/// the protocol of the bus, with the same key.
pub const ADMIN_SOCKET: &str = "sync.sock";

/// How many commands may be connected at once; others wait. One that does not prove that it has the bus key is disconnected
/// after 5 seconds.
const MAX_ADMIN_CONNECTIONS: usize = 256;

/// The pause after a connection could not be accepted.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Opens the admin socket. A socket file of an earlier sync is replaced: this process is the directory's only sync.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    // The writer of a store in the data directory has made the directory. A store in PostgreSQL needs it for this socket only.
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

/// Serves connections until `stop` is cancelled.
pub(crate) async fn serve(
    socket: UnixListener,
    key: BusKeys,
    links: LinkServer,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let key = Arc::new(key);
    let permits = Arc::new(Semaphore::new(MAX_ADMIN_CONNECTIONS));
    let next = async || (permits.clone().acquire_owned().await, socket.accept().await);
    while let Some((permit, accepted)) = stop.run_until_cancelled(next()).await {
        let Ok((stream, _)) = accepted else {
            // The usual reason is that too many files are open, which passes.
            tokio::time::sleep(RETRY_PAUSE).await;
            continue;
        };
        let (key, links, stop) = (key.clone(), links.clone(), stop.clone());
        tasks.spawn(async move {
            let _permit = permit;
            stop.run_until_cancelled(async {
                match Connection::accept(stream, &key).await {
                    // A command disconnects as soon as it has its answer.
                    Ok(connection) => links.serve(connection.short_lived()).await,
                    Err(error) => tracing::warn!(%error, "a connection to the admin socket was refused"),
                }
            })
            .await
        });
    }
}
