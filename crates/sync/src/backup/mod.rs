//! Backups of the store as files: made beside their final place, encrypted to age recipients if wanted, and thinned out by age.

mod encryption;
mod retention;
pub(crate) mod schedule;
mod staging;

pub use encryption::{Recipient, decrypted, is_encrypted};
pub use retention::{ParseRetentionError, Retention};
pub use schedule::BackupSchedule;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use sidevault_model::Timestamp;
use sidevault_store::{Database, Manifest, StoreError};

use staging::Staging;

/// How the names of backups begin. The time of the backup and the number of its newest change follow.
const PREFIX: &str = "sidevault-";

/// How the names of backups end, without and with encryption.
const SUFFIXES: [&str; 2] = [".sqlite", ".sqlite.age"];

/// How a backup's name shows its time, in UTC.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store can't be read, or the copy can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file of the backup exists already.
    #[error("{0} exists already; a backup replaces no file")]
    Exists(PathBuf),
    /// A file can't be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// An encrypted backup can't be decrypted.
    #[error("{path} is encrypted with age and can't be decrypted: {cause}")]
    Decrypt {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: String,
    },
}

impl BackupError {
    fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            cause,
        }
    }
}

/// Where a backup is written to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A directory, in which the backup gets a name of its own. It is made if it is missing.
    Directory(PathBuf),
    /// A file, which must not exist.
    File(PathBuf),
}

/// A backup that was written.
#[derive(Debug)]
pub struct Backup {
    /// The file.
    pub path: PathBuf,
    /// The file's size in bytes.
    pub bytes: u64,
    /// What the backup holds.
    pub manifest: Manifest,
}

/// Backs up a store. The file appears under its name when it is complete and on disk. What an interrupted call has left is removed by
/// the next one with the same directory.
///
/// # Errors
/// [`BackupError::Exists`]; errors of the store, and of the file system.
pub async fn write(database: &Database, target: &Target, recipients: &[Recipient]) -> Result<Backup, BackupError> {
    let directory = match target {
        Target::Directory(directory) => directory.as_path(),
        Target::File(file) if file.exists() => return Err(BackupError::Exists(file.clone())),
        Target::File(file) => match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        },
    };
    let staging = Staging::new(directory)?;
    let mut file = staging.path("copy.sqlite");
    let manifest = sidevault_store::back_up(database, &file).await?;
    if !recipients.is_empty() {
        file = encryption::encrypted(&file, staging.path("copy.sqlite.age"), recipients).await?;
    }
    let path = match target {
        Target::Directory(directory) => directory.join(name(&manifest, !recipients.is_empty())),
        Target::File(path) => path.clone(),
    };
    let bytes = staging.publish(&file, &path)?;
    Ok(Backup { path, bytes, manifest })
}

fn name(manifest: &Manifest, is_encrypted: bool) -> String {
    let taken_at = jiff::Timestamp::from_millisecond(manifest.taken_at.as_millis()).unwrap_or_default();
    let suffix = SUFFIXES[usize::from(is_encrypted)];
    format!("{PREFIX}{}-{}{suffix}", taken_at.strftime(TIME), manifest.newest_change)
}

/// The backups in a directory that [`write()`] has named, oldest first, and when they were made.
///
/// # Errors
/// If the directory can't be read.
pub fn list(directory: &Path) -> Result<Vec<(PathBuf, Timestamp)>, BackupError> {
    let failed = |cause| BackupError::io(directory, cause);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(taken_at) = entry.file_name().to_str().and_then(time_of) {
            found.push((entry.path(), taken_at));
        }
    }
    found.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    Ok(found)
}

/// The time in a backup's name. None for a name that [`write()`] does not give.
fn time_of(name: &str) -> Option<Timestamp> {
    let rest = name.strip_prefix(PREFIX)?;
    let rest = SUFFIXES.iter().find_map(|suffix| rest.strip_suffix(suffix))?;
    let (time, change) = rest.split_once('-')?;
    change.parse::<u64>().ok()?;
    let time = jiff::civil::DateTime::strptime(TIME, time).ok()?;
    let moment = TimeZone::UTC.to_timestamp(time).ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

/// Deletes the backups of a directory that are not to be kept. The newest is always kept, and files with other names are not touched.
/// Returns what was deleted.
///
/// # Errors
/// If the directory can't be read, or a file can't be deleted.
pub fn thin_out(directory: &Path, retention: &Retention) -> Result<Vec<PathBuf>, BackupError> {
    let backups = list(directory)?;
    let times: Vec<Timestamp> = backups.iter().map(|(_, taken_at)| *taken_at).collect();
    let kept = retention.kept(&times);
    let mut deleted = Vec::new();
    for (n, (path, _)) in backups.into_iter().enumerate() {
        if !kept.contains(&n) {
            std::fs::remove_file(&path).map_err(|cause| BackupError::io(&path, cause))?;
            deleted.push(path);
        }
    }
    Ok(deleted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: 1,
            made_by: "1.2.3".to_owned(),
            taken_at: Timestamp::parse("2026-11-30T20:45:07Z").unwrap(),
            newest_change: 17,
            tables: Default::default(),
        }
    }

    #[test]
    fn a_backup_is_found_by_the_name_that_it_got() {
        assert_eq!(name(&manifest(), false), "sidevault-20261130T204507Z-17.sqlite");
        assert_eq!(name(&manifest(), true), "sidevault-20261130T204507Z-17.sqlite.age");
        for is_encrypted in [false, true] {
            assert_eq!(time_of(&name(&manifest(), is_encrypted)), Some(manifest().taken_at));
        }
        for other in [
            "sidevault-20261130T204507Z-17.sqlite-wal",
            "sidevault-20261130T204507Z.sqlite",
            "sidevault-yesterday-17.sqlite",
            "1password.sqlite",
        ] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }

    #[test]
    fn thinning_out_touches_no_other_files() {
        let directory = tempfile::tempdir().unwrap();
        let other = ["notes.txt", "1password.sqlite", "sidevault-old.sqlite"];
        let backups = [
            "sidevault-20261129T100000Z-1.sqlite",
            "sidevault-20261130T100000Z-2.sqlite",
            "sidevault-20261130T110000Z-3.sqlite.age",
        ];
        for name in other.iter().chain(&backups) {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let deleted = thin_out(directory.path(), &"1d".parse().unwrap()).unwrap();
        let deleted: Vec<_> = deleted
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(deleted, backups[..2]);
        for name in other {
            assert!(directory.path().join(name).exists(), "{name}");
        }
    }
}
