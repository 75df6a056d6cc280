//! What is known of a store's backups, in a file of the data directory, for `sidevault doctor`.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sidevault_model::Timestamp;

/// The file's name.
const FILE: &str = "backups.json";

/// The longest error that is kept, in characters.
const LONGEST_ERROR: usize = 500;

/// What is known of the backups of the store in a data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupRecord {
    /// When the newest backup was made.
    pub last: Option<Timestamp>,
    /// Its path or URL.
    pub location: Option<String>,
    /// The seconds from one backup to the next, if the last sync was to make backups.
    pub every: Option<u64>,
    /// The failure after the newest backup.
    pub failed: Option<FailedBackup>,
    /// What the last sync that was to back up continuously has sent. None if the last sync was not to.
    pub shipped: Option<Shipped>,
}

/// How far a continuous backup is. It is noted once a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shipped {
    /// The newest change that is in the place of the backups.
    pub through: i64,
    /// When that was noted.
    pub at: Timestamp,
    /// Why later changes are not there.
    pub failed: Option<FailedBackup>,
}

/// A backup that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedBackup {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub error: String,
}

impl FailedBackup {
    fn now(error: &impl ToString) -> Self {
        Self {
            at: Timestamp::now(),
            error: error.to_string().chars().take(LONGEST_ERROR).collect(),
        }
    }
}

impl BackupRecord {
    /// Reads the file of a data directory. Nothing is known if it is missing or can't be read.
    pub fn read(data: &Path) -> Self {
        let text = fs::read(data.join(FILE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Notes a backup that was made: when, and its path or URL.
    pub fn made(data: &Path, at: Timestamp, location: &str) {
        Self::change(data, |record| {
            record.last = Some(at);
            record.location = Some(location.to_owned());
            record.failed = None;
        });
    }

    /// Notes a backup that failed.
    pub fn failed(data: &Path, error: &impl ToString) {
        Self::change(data, |record| record.failed = Some(FailedBackup::now(error)));
    }

    /// Notes the seconds from one backup to the next, or that sync makes none, and whether sync backs up continuously.
    pub(crate) fn scheduled(data: &Path, every: Option<u64>, is_continuous: bool) {
        Self::change(data, |record| {
            record.every = every;
            record.shipped = is_continuous.then(|| record.shipped.take().unwrap_or_default());
        });
    }

    /// Notes that all changes up to this one are in the place of the backups.
    pub(super) fn shipped(data: &Path, through: i64) {
        Self::change(data, |record| {
            record.shipped = Some(Shipped {
                through,
                at: Timestamp::now(),
                failed: None,
            });
        });
    }

    /// Notes that changes can't be sent to the place of the backups.
    pub(super) fn not_shipped(data: &Path, error: &impl ToString) {
        Self::change(data, |record| {
            record.shipped.get_or_insert_default().failed = Some(FailedBackup::now(error));
        });
    }

    /// Changes the file, if the change makes a difference. A record that can't be written is no reason to fail a backup.
    fn change(data: &Path, change: impl FnOnce(&mut Self)) {
        let old = Self::read(data);
        let mut new = old.clone();
        change(&mut new);
        if new == old || !data.is_dir() {
            return;
        }
        let written = || {
            let mut file = tempfile::NamedTempFile::new_in(data)?;
            file.write_all(&serde_json::to_vec(&new)?)?;
            file.persist(data.join(FILE)).map_err(|error| error.error)
        };
        if let Err(error) = written() {
            tracing::debug!(%error, "the record of backups can't be written");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_a_failure_and_a_broken_file_is_nothing_known() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(BackupRecord::read(data.path()), BackupRecord::default());
        BackupRecord::scheduled(data.path(), Some(3600), false);
        BackupRecord::failed(data.path(), &"x".repeat(10_000));
        let record = BackupRecord::read(data.path());
        assert_eq!((record.every, record.last), (Some(3600), None));
        assert_eq!(record.failed.unwrap().error.len(), LONGEST_ERROR);
        let at = Timestamp::parse("2026-11-30T20:45:07Z").unwrap();
        BackupRecord::made(data.path(), at, "s3://bucket/one");
        let record = BackupRecord::read(data.path());
        assert_eq!((record.every, record.last, record.failed), (Some(3600), Some(at), None));
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
        fs::write(data.path().join(FILE), "{").unwrap();
        assert_eq!(BackupRecord::read(data.path()), BackupRecord::default());
        BackupRecord::failed(&data.path().join("missing"), &"no directory");
    }
}
