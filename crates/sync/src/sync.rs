//! Starts and stops sync.

use std::path::PathBuf;
use std::sync::Arc;

use sidevault_bus::Connection;
use sidevault_keys::Credentials;
use sidevault_store::Database;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin_socket::{self, ADMIN_SOCKET};
use crate::backup::BackupSchedule;
use crate::config::Config;
use crate::error::SyncError;
use crate::git::Hooks;
use crate::leader::Candidate;
use crate::link::LinkServer;
use crate::low_disk::LowDisk;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::status::Status;

/// What sync needs to run.
pub struct Options {
    /// The data directory.
    pub dir: PathBuf,
    /// The store.
    pub database: Database,
    /// The keys.
    pub credentials: Arc<Credentials>,
    /// The sources.
    pub config: Config,
    /// The limit of free space on the data directory's disk.
    pub low_disk: LowDisk,
    /// The backups that sync makes by itself.
    pub backup: Option<BackupSchedule>,
    /// Connections to apis, as the bus makes them.
    pub links: mpsc::Receiver<Connection>,
}

/// A running sync.
pub struct Running {
    /// The state of sync, for `/health`.
    pub status: Arc<Status>,
    /// The metrics of sync.
    pub metrics: Arc<Metrics>,
    /// The sources that take webhooks.
    pub hooks: Arc<Hooks>,
    leading: watch::Receiver<Option<Queue>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Running {
    /// The writer's queue. None while another process leads.
    pub fn queue(&self) -> Option<Queue> {
        self.leading.borrow().clone()
    }

    /// Says whether this process leads.
    pub fn leads(&self) -> Box<dyn Fn() -> bool + Send + Sync> {
        let leading = self.leading.clone();
        Box::new(move || leading.borrow().is_some())
    }

    /// Stops the sources and connections, carries out the jobs in the queue, and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Opens the store for writing and starts every part of sync. If another process leads, only the parts of a standby start.
///
/// # Errors
/// If the store can't be opened or a configured vault can't be made.
pub async fn start(options: Options) -> Result<Running, SyncError> {
    let Options {
        dir,
        database,
        credentials,
        mut config,
        low_disk,
        backup,
        mut links,
    } = options;
    config.place_repositories(&dir);
    let hooks = Arc::new(Hooks::of(&config));
    let metrics = Arc::new(Metrics::default());
    let status = Arc::new(Status::new(&database, metrics.clone()));
    let (committed, commits) = watch::channel(0);
    let (leading, queues) = watch::channel(None);
    let candidate = Arc::new(Candidate {
        database,
        dir: dir.clone(),
        credentials: credentials.clone(),
        config,
        low_disk,
        backup,
        status: status.clone(),
        metrics: metrics.clone(),
        committed,
        leading,
        hooks: hooks.clone(),
    });
    let leader = candidate.start().await?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(candidate.run(leader, stop.clone()));
    let serving = LinkServer {
        leading: queues.clone(),
        status: status.clone(),
        metrics: metrics.clone(),
        committed: commits,
    };
    // Before apis are served: an administrator who sees that sync runs may send a command at once.
    match admin_socket::listen(&dir.join(ADMIN_SOCKET)) {
        Ok(socket) => {
            let (key, stop) = (credentials.bus_keys(), stop.clone());
            tasks.spawn(admin_socket::serve(socket, key, serving.clone(), stop, tasks.clone()));
        }
        Err(error) => {
            tracing::warn!(%error, "the admin socket can't be opened, so administrators' commands work only while sync is stopped")
        }
    }
    let (stopping, tracker) = (stop.clone(), tasks.clone());
    tasks.spawn(async move {
        while let Some(Some(link)) = stopping.run_until_cancelled(links.recv()).await {
            let (stop, serving) = (stopping.clone(), serving.clone());
            tracker.spawn(async move { stop.run_until_cancelled(serving.serve(link)).await });
        }
    });
    Ok(Running {
        status,
        metrics,
        hooks,
        leading: queues,
        stop,
        tasks,
    })
}
