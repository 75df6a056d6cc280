//! Continuous backup: while sync leads, each second's changes go as a segment into the place of the backups.
//!
//! The place itself is the record of what is there: after a restart, and after an error, the numbering goes on after the last segment in
//! it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sidevault_model::Timestamp;
use sidevault_store::{Database, Link, Segment, SegmentWriter, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::find::sha256_of;
use super::segments::{SegmentName, directory_of};
use super::staging::Staging;
use super::{BackupError, BackupRecord, BackupSchedule, encryption};
use crate::metrics::Metrics;
use crate::status::{ShippingState, Status};

/// The time from one segment to the next, while there are changes.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long sync waits after a segment that could not be sent.
const RETRY: Duration = Duration::from_secs(5);

/// How long the last changes may take when sync ends. What is not sent then is sent at the next start.
const LAST: Duration = Duration::from_secs(5);

/// How often the record in the data directory is written.
const NOTE: Duration = Duration::from_secs(60);

/// A backup that segments can follow.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) name: String,
    pub(super) taken_at: Timestamp,
    pub(super) newest_change: i64,
    pub(super) manifest_sha256: String,
}

/// What the tasks that make backups and send segments tell each other.
pub(super) struct Exchange {
    /// The newest backup that this process has made.
    pub(super) newest: watch::Sender<Option<Base>>,
    /// Whether segments can't go on without a new backup, or should not.
    pub(super) is_wanted: watch::Sender<bool>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            newest: watch::Sender::new(None),
            is_wanted: watch::Sender::new(false),
        }
    }
}

/// Sends segments until `stop` is cancelled, and then once more. `committed` has the number of the newest change.
pub(super) async fn run(
    mut shipping: Shipping<'_>,
    exchange: &Exchange,
    mut committed: watch::Receiver<i64>,
    stop: &CancellationToken,
) {
    let mut newest = exchange.newest.subscribe();
    loop {
        let (begun, is_last) = (Instant::now(), stop.is_cancelled());
        shipping.note_commits(*committed.borrow_and_update());
        let base = newest.borrow_and_update().clone();
        if is_last {
            if tokio::time::timeout(LAST, shipping.round(base)).await.is_err() {
                tracing::warn!(
                    "the last changes are not in the place of the backups; they will be sent at the next start"
                );
            }
            shipping.metrics.ships_nothing();
            return;
        }
        let pause = match shipping.round(base).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                shipping.failed(&error);
                RETRY
            }
        };
        if std::mem::take(&mut shipping.wants_backup) {
            exchange.is_wanted.send_replace(true);
        }
        let is_idle = shipping.unshipped_since.is_none();
        let next = async {
            tokio::time::sleep_until(begun + pause).await;
            if is_idle {
                tokio::select! {
                    Ok(()) = committed.changed() => {}
                    Ok(()) = newest.changed() => {}
                    else => std::future::pending().await,
                }
            }
        };
        stop.run_until_cancelled(next).await;
    }
}

/// The segments that follow a backup, and how they go on.
struct Chain {
    backup: String,
    directory: String,
    /// The number of the next segment.
    number: u64,
    /// SHA-256 of the last segment's file, or of the backup's manifest.
    previous: String,
    writer: SegmentWriter,
}

impl Chain {
    fn link(&self) -> Link {
        Link {
            backup: self.backup.clone(),
            number: self.number,
            previous: self.previous.clone(),
        }
    }
}

/// The task's state.
pub(super) struct Shipping<'a> {
    schedule: &'a BackupSchedule,
    database: &'a Database,
    data: &'a Path,
    status: &'a Arc<Status>,
    metrics: &'a Arc<Metrics>,
    staging: Option<Staging>,
    chain: Option<Chain>,
    /// The name of the newest backup of this process that segments follow.
    begun: Option<String>,
    /// Whether the place was looked at for a backup that segments can go on to follow.
    is_resumed: bool,
    wants_backup: bool,
    /// Since when there are changes that are not in the place.
    unshipped_since: Option<Timestamp>,
    noted_at: Option<Instant>,
}

impl<'a> Shipping<'a> {
    pub(super) fn new(
        schedule: &'a BackupSchedule,
        database: &'a Database,
        data: &'a Path,
        status: &'a Arc<Status>,
        metrics: &'a Arc<Metrics>,
    ) -> Self {
        Self {
            schedule,
            database,
            data,
            status,
            metrics,
            staging: None,
            chain: None,
            begun: None,
            is_resumed: false,
            wants_backup: false,
            unshipped_since: None,
            noted_at: None,
        }
    }

    /// Notes that this is the newest change.
    fn note_commits(&mut self, newest: i64) {
        let is_behind = self.chain.as_ref().is_none_or(|chain| chain.writer.through() < newest);
        if is_behind {
            self.unshipped_since.get_or_insert_with(Timestamp::now);
        }
        self.metrics.unshipped_since(self.unshipped_since);
    }

    async fn round(&mut self, base: Option<Base>) -> Result<(), BackupError> {
        match base.filter(|base| self.begun.as_ref() != Some(&base.name)) {
            Some(base) => self.begin(base).await?,
            None if self.chain.is_none() && !self.is_resumed => self.resume().await?,
            None => {}
        }
        if self.chain.is_some() {
            self.ship().await?;
            self.done();
        }
        Ok(())
    }

    /// Begins to follow a new backup.
    async fn begin(&mut self, base: Base) -> Result<(), BackupError> {
        let Some(directory) = directory_of(&base.name) else {
            return Ok(());
        };
        let mut chain = Chain {
            backup: base.name.clone(),
            directory,
            number: 0,
            previous: base.manifest_sha256,
            writer: SegmentWriter::new(self.database, base.newest_change),
        };
        let file = self.file()?;
        let first = chain.writer.write_first(&chain.link(), &file).await?;
        let put = Self::put(self.schedule, &chain.directory, 0, &file, first).await;
        if let Err(BackupError::Exists(_)) = put {
            // An error came after it had its name.
            self.begun = Some(base.name.clone());
            self.look_again();
        }
        chain.previous = put?;
        chain.number = 1;
        self.chain = Some(chain);
        self.begun = Some(base.name);
        Ok(())
    }

    /// Goes on to follow the newest backup in the place, if it is followed by segments. Else a new one is wanted.
    async fn resume(&mut self) -> Result<(), BackupError> {
        // Makes the directory of the backups, if it is missing.
        self.file()?;
        let place = &self.schedule.place;
        let newest = place.newest().await?;
        let segments = match &newest {
            Some(newest) => place.segments(&newest.name).await?,
            None => Vec::new(),
        };
        let is_whole = (0..).zip(&segments).all(|(n, segment)| segment.name.number == n);
        if let (Some(newest), Some(last)) = (newest, segments.last().filter(|_| is_whole))
            && let Some(directory) = directory_of(&newest.name)
        {
            let stored = place.fetch(&last.path).await?;
            self.chain = Some(Chain {
                backup: newest.name,
                directory,
                number: last.name.number + 1,
                previous: sha256_of(stored.as_ref())?,
                writer: SegmentWriter::new(self.database, last.name.through),
            });
        } else {
            self.wants_backup = true;
        }
        self.is_resumed = true;
        Ok(())
    }

    /// Sends what has changed.
    async fn ship(&mut self) -> Result<(), BackupError> {
        let file = self.file()?;
        let Some(mut chain) = self.chain.take() else {
            return Ok(());
        };
        match chain.writer.write(&chain.link(), &file).await {
            Ok(None) => {}
            Ok(Some(segment)) => {
                match Self::put(self.schedule, &chain.directory, chain.number, &file, segment).await {
                    Ok(sha256) => chain.previous = sha256,
                    Err(error) => {
                        // It may be there nevertheless.
                        self.look_again();
                        return Err(error);
                    }
                }
                chain.writer.kept();
                chain.number += 1;
                self.wants_backup |= segment.has_resealed;
            }
            Err(error @ StoreError::ChangeUnknown(_)) => {
                self.wants_backup = true;
                return Err(error.into());
            }
            Err(error) => {
                self.chain = Some(chain);
                return Err(error.into());
            }
        }
        self.chain = Some(chain);
        Ok(())
    }

    /// Gives a segment its name in the place. Returns the digest of its file.
    async fn put(
        schedule: &BackupSchedule,
        directory: &str,
        number: u64,
        file: &Path,
        segment: Segment,
    ) -> Result<String, BackupError> {
        let recipients = &schedule.recipients;
        let is_encrypted = !recipients.is_empty();
        let encrypted;
        let mut file = file;
        if is_encrypted {
            encrypted = encryption::encrypted(file, file.with_extension("age"), recipients).await?;
            file = &encrypted;
        }
        let sha256 = sha256_of(file)?;
        let name = SegmentName {
            number,
            through: segment.through,
            last_at: segment.last_at,
            is_encrypted,
        };
        schedule.place.put_below(file, directory, &name.to_string()).await?;
        Ok(sha256)
    }

    /// The path at which a segment is made.
    fn file(&mut self) -> Result<PathBuf, BackupError> {
        let staging = match self.staging.take() {
            // Someone may have emptied the directory.
            Some(staging) if staging.exists() => staging,
            _ => Staging::new(self.schedule.place.staging())?,
        };
        Ok(self.staging.insert(staging).path("segment"))
    }

    /// What is in the place has to be looked at before the next segment.
    fn look_again(&mut self) {
        self.chain = None;
        self.is_resumed = false;
    }

    /// Notes that the place has every change that was committed before this round.
    fn done(&mut self) {
        let Some(chain) = &self.chain else { return };
        let through = chain.writer.through();
        self.unshipped_since = None;
        self.metrics.shipped(through);
        self.status.shipping(ShippingState::Good { through });
        if self.noted_at.is_none_or(|noted| noted.elapsed() >= NOTE) {
            BackupRecord::shipped(self.data, through);
            self.noted_at = Some(Instant::now());
        }
    }

    fn failed(&mut self, error: &BackupError) {
        self.status.shipping(ShippingState::Failed {
            since: self.unshipped_since.unwrap_or_else(Timestamp::now),
            error: error.to_string(),
        });
        BackupRecord::not_shipped(self.data, error);
        self.noted_at = None;
    }
}
