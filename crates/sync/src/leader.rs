//! Leading: the one process that holds the store's writer also reads the sources and carries out commands.
//!
//! With a store in a data directory, a sync leads from its start to its end. With PostgreSQL there may be several: one leads, and
//! the others are standbys, which take over when the leader ends or can't renew its lease.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sidevault_keys::{Credentials, IdKey};
use sidevault_model::Timestamp;
use sidevault_store::{Database, LOCAL_SOURCE, StoreError, VaultInfo, Writer, WriterOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backup::{BackupRecord, BackupSchedule, schedule};
use crate::config::{Config, DirectorySource};
use crate::directory::{self, SharedSealedFiles, SourceContext};
use crate::disk::{Disk, disk_of};
use crate::error::SyncError;
#[cfg(feature = "git")]
use crate::git;
use crate::git::Hooks;
use crate::low_disk::LowDisk;
use crate::metrics::Metrics;
use crate::queue::{self, Queue, WriterContext};
use crate::status::{SourceState, Status, WriterState};
use crate::vault_ids;

/// How long to wait for another writer of the data directory to end: a command, or the sync process that this one replaces.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait between these attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// How often a standby looks whether it can lead.
const STANDBY_PAUSE: Duration = Duration::from_millis(500);

/// What a sync needs to lead, kept while it is a standby.
pub(crate) struct Candidate {
    pub(crate) database: Database,
    pub(crate) dir: PathBuf,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) config: Config,
    pub(crate) low_disk: LowDisk,
    pub(crate) backup: Option<BackupSchedule>,
    pub(crate) status: Arc<Status>,
    pub(crate) metrics: Arc<Metrics>,
    /// Gets the number of the newest change after each commit.
    pub(crate) committed: watch::Sender<i64>,
    /// Gets the writer's queue while this process leads.
    pub(crate) leading: watch::Sender<Option<Queue>>,
    /// The sources that take webhooks.
    #[cfg_attr(not(feature = "git"), expect(dead_code, reason = "only Git sources take some"))]
    pub(crate) hooks: Arc<Hooks>,
}

/// A process that leads.
pub(crate) struct Leader {
    writer: tokio::task::JoinHandle<()>,
    /// Becomes true when another process has taken over.
    lost: watch::Receiver<bool>,
    stop: CancellationToken,
    sources: TaskTracker,
}

impl Candidate {
    /// The first attempt to lead. None if this process has to be a standby, because another one leads, or PostgreSQL can't be
    /// reached yet.
    ///
    /// # Errors
    /// If the store can't be opened, or a configured vault can't be made.
    pub(crate) async fn start(&self) -> Result<Option<Leader>, SyncError> {
        let is_shared = !self.database.is_in_directory();
        match self.lead().await {
            Ok(leader) => Ok(Some(leader)),
            Err(SyncError::Store(error @ (StoreError::Locked(_) | StoreError::Unusable(_)))) if is_shared => {
                self.stands_by(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Leads whenever no other process does, until `stop` is cancelled.
    pub(crate) async fn run(self: Arc<Self>, mut leader: Option<Leader>, stop: CancellationToken) {
        loop {
            if let Some(leader) = leader.take() {
                leader.wait(&stop).await;
                self.leading.send_replace(None);
                self.metrics.stands_by();
                leader.end().await;
            }
            if stop
                .run_until_cancelled(tokio::time::sleep(STANDBY_PAUSE))
                .await
                .is_none()
            {
                return;
            }
            match self.lead().await {
                Ok(new) => {
                    tracing::info!("this process leads now");
                    leader = Some(new);
                }
                Err(SyncError::Store(error)) => self.stands_by(&error),
                Err(error) => self.status.writer(WriterState::failed(&error, &self.status)),
            }
        }
    }

    /// Opens the store for writing, and starts the writer's queue and the sources.
    async fn lead(&self) -> Result<Leader, SyncError> {
        let mut writer = self.open_writer().await?;
        let disk = disk_of(&self.database, &self.dir);
        let has_local = prepare_vaults(&mut writer, &self.config, &disk, &self.credentials.id_key()).await?;
        if has_local && disk.is_ephemeral() {
            tracing::warn!(
                "local vaults are on {disk}: mount a persistent volume at {}",
                self.dir.display()
            );
        }
        self.status.leads(&disk, has_local);
        self.remove_old_repositories();
        self.metrics.leads(writer.term().unwrap_or_default());
        let lost = writer.lost();
        let writable = self.config.directories.iter().filter(|source| source.writable);
        let context = WriterContext {
            ids: self.credentials.id_key(),
            writable_sources: writable.map(|source| source.name.clone()).collect(),
            disk,
            low_disk: self.low_disk,
            metrics: self.metrics.clone(),
            status: self.status.clone(),
            committed: self.committed.clone(),
        };
        let (queue, writer) = queue::start(writer, context);
        let (stop, sources) = (CancellationToken::new(), TaskTracker::new());
        let mut earlier: Vec<(DirectorySource, SharedSealedFiles)> = Vec::new();
        for source in &self.config.directories {
            self.status.source(&source.name, SourceState::Starting);
            let sealed = SharedSealedFiles::default();
            let context = SourceContext {
                queue: queue.clone(),
                ids: self.credentials.id_key(),
                status: self.status.clone(),
                metrics: self.metrics.clone(),
                sealed: sealed.clone(),
                earlier: earlier.clone(),
                publisher: None,
            };
            earlier.push((source.clone(), sealed));
            #[cfg(feature = "git")]
            if let Some(git) = source.git.clone() {
                let dir = git::directory_of(&self.dir, &source.name);
                let pushed = self.hooks.of_source(&source.name);
                sources.spawn(git::run(source.clone(), git, dir, context, pushed, stop.clone()));
                continue;
            }
            sources.spawn(directory::run(source.clone(), context, stop.clone()));
        }
        let every = self.backup.as_ref().map(|schedule| schedule.every.as_secs());
        let is_continuous = self.backup.as_ref().is_some_and(|schedule| schedule.is_continuous);
        BackupRecord::scheduled(&self.dir, every, is_continuous);
        if let Some(schedule) = self.backup.clone() {
            let (status, metrics) = (self.status.clone(), self.metrics.clone());
            sources.spawn(schedule::run(
                schedule,
                self.database.clone(),
                self.dir.clone(),
                status,
                metrics,
                self.committed.subscribe(),
                stop.clone(),
            ));
        }
        sources.close();
        self.leading.send_replace(Some(queue));
        Ok(Leader {
            writer,
            lost,
            stop,
            sources,
        })
    }

    /// Removes the copies of repositories that no source follows any more.
    fn remove_old_repositories(&self) {
        let configured: Vec<PathBuf> = self
            .config
            .directories
            .iter()
            .filter_map(|source| source.git.is_some().then(|| source.path.parent().map(Path::to_owned))?)
            .collect();
        for entry in std::fs::read_dir(self.dir.join("git")).into_iter().flatten().flatten() {
            let path = entry.path();
            if configured.contains(&path) {
                continue;
            }
            match std::fs::remove_dir_all(&path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "the copy of a repository that no source follows any more is removed")
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the copy of a repository that no source follows any more can't be removed")
                }
            }
        }
    }

    async fn open_writer(&self) -> Result<Writer, StoreError> {
        let options = WriterOptions {
            history: self.config.history,
            ..WriterOptions::default()
        };
        let deadline = Instant::now() + LOCK_TIMEOUT;
        let mut logged = false;
        loop {
            match Writer::open(&self.database, self.credentials.kek(), options.clone()).await {
                Err(StoreError::Locked(path)) if self.database.is_in_directory() && Instant::now() < deadline => {
                    if !std::mem::replace(&mut logged, true) {
                        tracing::info!(path, "another process writes to the store; waiting for it to end");
                    }
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    fn stands_by(&self, error: &StoreError) {
        self.status.writer(match error {
            StoreError::Locked(leader) => WriterState::Standby { leader: leader.clone() },
            error => WriterState::failed(error, &self.status),
        });
    }
}

impl Leader {
    /// Waits until another process has taken over, or `stop` is cancelled.
    async fn wait(&self, stop: &CancellationToken) {
        let mut lost = self.lost.clone();
        stop.run_until_cancelled(async {
            if lost.wait_for(|lost| *lost).await.is_err() {
                // The writer's task has ended, which it does only when it is told to.
                std::future::pending::<()>().await;
            }
        })
        .await;
    }

    /// Stops the sources, carries out the jobs in the queue, and closes the store.
    async fn end(self) {
        self.stop.cancel();
        self.sources.wait().await;
        if let Err(error) = self.writer.await {
            tracing::error!(%error, "the writer's task panicked");
        }
    }
}

/// Makes the configured local vaults, and deletes the vaults of sources that are no longer configured. Returns whether
/// there are local vaults.
async fn prepare_vaults(writer: &mut Writer, config: &Config, disk: &Disk, ids: &IdKey) -> Result<bool, SyncError> {
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
