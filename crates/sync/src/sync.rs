//! Starts and stops sync.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidevault_bus::Connection;
use sidevault_keys::{BusKey, Credentials, IdKey};
use sidevault_model::Timestamp;
use sidevault_store::{Command, CommandAnswer, LOCAL_SOURCE, StoreError, VaultInfo, Writer, WriterOptions};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::directory;
use crate::directory::SourceContext;
use crate::disk::disk_of;
use crate::error::SyncError;
use crate::link::LinkServer;
use crate::low_disk::LowDisk;
use crate::metrics::Metrics;
use crate::queue::{self, Queue, WriterContext};
use crate::status::{SourceState, Status};
use crate::vault_ids;

/// The name of the Unix socket in the data directory over which administrators' commands reach a running sync. It carries
/// the protocol of the bus, with the same key.
pub const ADMIN_SOCKET: &str = "sync.sock";

/// How many commands may be connected at once; others wait. One that does not prove that it has the bus key is disconnected
/// after 5 seconds.
const MAX_ADMIN_CONNECTIONS: usize = 256;

/// How long to wait for another writer to end: a command, or the sync process that this one replaces.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait between attempts to open the store, and after a connection could not be accepted.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What sync needs to run.
pub struct Options {
    /// The data directory.
    pub dir: PathBuf,
    /// The keys.
    pub credentials: Arc<Credentials>,
    /// The sources.
    pub config: Config,
    /// The limit of free space on the data directory's disk.
    pub low_disk: LowDisk,
    /// Connections to apis, as the bus makes them.
    pub links: mpsc::Receiver<Connection>,
}

/// A running sync.
pub struct Running {
    /// The writer's queue.
    pub queue: Queue,
    /// The state of sync, for `/health`.
    pub status: Arc<Status>,
    /// The metrics of sync.
    pub metrics: Arc<Metrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
    writer: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Stops the sources and connections, carries out the jobs in the queue, and closes the store.
    pub async fn stop(self) {
        let Self {
            queue,
            stop,
            tasks,
            writer,
            ..
        } = self;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        drop(queue);
        if let Err(error) = writer.await {
            tracing::error!(%error, "the writer's task panicked");
        }
    }
}

/// Opens the store for writing and starts every part of sync.
///
/// # Errors
/// If the store can't be opened or a configured vault can't be made.
pub async fn start(options: Options) -> Result<Running, SyncError> {
    let Options {
        dir,
        credentials,
        config,
        low_disk,
        mut links,
    } = options;
    let history = WriterOptions {
        history: config.history,
        ..WriterOptions::default()
    };
    let mut writer = open(&dir, &credentials, history).await?;
    let disk = disk_of(&dir);
    let metrics = Arc::new(Metrics::default());
    let has_local = prepare_vaults(&mut writer, &config, &disk, &credentials.id_key()).await?;
    if has_local && disk.is_ephemeral() {
        tracing::warn!(
            "local vaults are on {disk}: mount a persistent volume at {}",
            dir.display()
        );
    }
    let status = Arc::new(Status::new(&disk, has_local, metrics.clone()));
    let (committed, commits) = watch::channel(0);
    let context = WriterContext {
        ids: credentials.id_key(),
        disk,
        low_disk,
        metrics: metrics.clone(),
        status: status.clone(),
        committed,
    };
    let (queue, writer) = queue::start(writer, context);
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    for (n, source) in config.directories.iter().enumerate() {
        status.source(&source.name, SourceState::Starting);
        let context = SourceContext {
            queue: queue.clone(),
            ids: credentials.id_key(),
            status: status.clone(),
            metrics: metrics.clone(),
            earlier: config.directories[..n].to_vec(),
        };
        tasks.spawn(directory::run(source.clone(), context, stop.clone()));
    }
    let serving = LinkServer {
        queue: queue.clone(),
        status: status.clone(),
        metrics: metrics.clone(),
        committed: commits,
    };
    // Before apis are served: an administrator who sees that sync runs may send a command at once.
    match listen(&dir.join(ADMIN_SOCKET)) {
        Ok(socket) => {
            let admin = accept_admin_commands(
                socket,
                credentials.bus_key(),
                serving.clone(),
                stop.clone(),
                tasks.clone(),
            );
            tasks.spawn(admin);
        }
        Err(error) => {
            tracing::warn!(%error, "the admin socket can't be opened, so administrators' commands work only while sync is stopped")
        }
    }
    let (stopping, tracker, each) = (stop.clone(), tasks.clone(), serving);
    tasks.spawn(async move {
        while let Some(Some(link)) = stopping.run_until_cancelled(links.recv()).await {
            let (stop, links) = (stopping.clone(), each.clone());
            tracker.spawn(async move { stop.run_until_cancelled(links.serve(link)).await });
        }
    });
    Ok(Running {
        queue,
        status,
        metrics,
        stop,
        tasks,
        writer,
    })
}

/// Opens the store, once no other process writes to it.
async fn open(dir: &Path, credentials: &Credentials, options: WriterOptions) -> Result<Writer, StoreError> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    let mut logged = false;
    loop {
        match Writer::open(dir, credentials.kek(), options.clone()).await {
            Err(StoreError::Locked(path)) if Instant::now() < deadline => {
                if !std::mem::replace(&mut logged, true) {
                    tracing::info!(path = %path.display(), "another process writes to the store; waiting for it to end");
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Makes the configured local vaults, and deletes the vaults of sources that are no longer configured. Returns whether
/// there are local vaults.
async fn prepare_vaults(
    writer: &mut Writer,
    config: &Config,
    disk: &crate::disk::Disk,
    ids: &IdKey,
) -> Result<bool, SyncError> {
    let now = Timestamp::now();
    let mut batch = writer.begin().await?;
    let orphans: Vec<VaultInfo> = batch
        .vaults()
        .filter(|vault| vault.source != LOCAL_SOURCE && config.directories.iter().all(|d| d.name != vault.source))
        .cloned()
        .collect();
    for vault in orphans {
        tracing::warn!(vault = %vault.id, source = vault.source, "the vault is deleted, because its source is no longer configured");
        vault_ids::delete(&mut batch, ids, &vault).await?;
    }
    for name in &config.local_vaults {
        match vault_ids::named(&batch, name) {
            Some(vault) if vault.source == LOCAL_SOURCE => continue,
            Some(vault) => {
                return Err(SyncError::VaultTaken {
                    vault: name.clone(),
                    owner: vault.source.clone(),
                    claimant: LOCAL_SOURCE.to_owned(),
                });
            }
            None => {}
        }
        if disk.is_ephemeral() && !config.allow_ephemeral {
            return Err(SyncError::Ephemeral {
                vault: name.clone(),
                disk: disk.to_string(),
            });
        }
        vault_ids::create_local(&mut batch, ids, name, None, now).await?;
    }
    batch.drop_orphaned_contents().await?;
    let has_local = batch.vaults().any(|vault| vault.source == LOCAL_SOURCE);
    batch.commit().await?;
    Ok(has_local)
}

/// Opens the admin socket. A socket file of an earlier sync is replaced: this process holds the writer's lock, so no other
/// sync listens on it.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(socket)
}

async fn accept_admin_commands(
    socket: UnixListener,
    key: BusKey,
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

/// Opens the store without sync, for one administrator's command.
pub struct Offline {
    queue: Queue,
    writer: tokio::task::JoinHandle<()>,
}

impl Offline {
    /// Opens the store for writing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if sync runs; other errors if the store can't be opened.
    pub async fn open(dir: &Path, credentials: &Credentials) -> Result<Self, StoreError> {
        let writer = Writer::open(dir, credentials.kek(), WriterOptions::default()).await?;
        let metrics = Arc::new(Metrics::default());
        let disk = disk_of(dir);
        let context = WriterContext {
            ids: credentials.id_key(),
            low_disk: LowDisk::default(),
            status: Arc::new(Status::new(&disk, false, metrics.clone())),
            disk,
            metrics,
            committed: watch::Sender::new(0),
        };
        let (queue, writer) = queue::start(writer, context);
        Ok(Self { queue, writer })
    }

    /// Carries out the command and closes the store.
    ///
    /// # Errors
    /// [`SyncError::Stopped`] if the writer ended before it answered.
    pub async fn command(self, command: Command) -> Result<CommandAnswer, SyncError> {
        let answer = self.queue.command(command).await;
        drop(self.queue);
        // A panic of the writer shows as the missing answer.
        self.writer.await.ok();
        answer.map_err(|_| SyncError::Stopped)
    }
}
