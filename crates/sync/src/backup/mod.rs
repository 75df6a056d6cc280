//! Backups of the store as files: made beside their final place, encrypted to age recipients if wanted, sent to a bucket if that is
//! their place, and thinned out by age.

pub(crate) mod continuous;
mod encryption;
mod find;
mod place;
mod record;
mod retention;
#[cfg(feature = "s3")]
mod s3;
pub(crate) mod schedule;
mod segments;
mod staging;

pub use encryption::{Recipient, decrypted, is_encrypted};
pub use find::{Assembled, Found};
pub use place::{Fetched, Followed, Kept, Place};
pub use record::{BackupRecord, FailedBackup, Shipped};
pub use retention::{ParseRetentionError, Retention};
#[cfg(feature = "s3")]
pub use s3::S3;
pub use schedule::BackupSchedule;

use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use sidevault_model::Timestamp;
use sidevault_store::{Database, Manifest, SegmentFault, StoreError};

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
    /// The backup exists already: its path or URL.
    #[error("{0} exists already; a backup replaces nothing")]
    Exists(String),
    /// The place can't be used as it is named, or with these environment variables.
    #[error("{0}")]
    Settings(String),
    /// A server with backups failed, or refused a request.
    #[error("{url}: {cause}")]
    Remote {
        /// The backup, or what all of them have in common.
        url: String,
        /// What went wrong.
        kind: RemoteFault,
        /// The same in words.
        cause: String,
    },
    /// A file can't be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// There is no backup to restore from.
    #[error("{0}")]
    None(String),
    /// A segment is missing, although later ones are there.
    #[error("segment {number} of the backup {backup} is missing")]
    SegmentMissing {
        /// The backup that the segments follow.
        backup: String,
        /// The segment's number.
        number: u64,
    },
    /// A segment does not continue what comes before it.
    #[error("the segment {location} can't be used: {fault}")]
    Segment {
        /// Its path or URL.
        location: String,
        /// What is wrong with it.
        fault: SegmentFault,
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

/// What a server with backups did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteFault {
    /// It has no such backup, or no such bucket.
    Missing,
    /// It refuses this client.
    Denied,
    /// It gave no answer.
    Unreachable,
    /// It failed, or refused for another reason.
    Other,
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
    /// A place in which the backup gets a name of its own.
    In(Place),
    /// A file, which must not exist.
    File(PathBuf),
}

/// A backup that was written.
#[derive(Debug)]
pub struct Backup {
    /// Its name in the place.
    pub name: String,
    /// The path, or the URL.
    pub location: String,
    /// The size in bytes.
    pub bytes: u64,
    /// What the backup holds.
    pub manifest: Manifest,
}

/// Backs up a store. The backup appears under its name when it is complete, and on disk or stored by the server. What an interrupted call
/// has left is removed by the next one with the same directory; in a bucket, when it is a day old.
///
/// # Errors
/// [`BackupError::Exists`]; errors of the store, of the file system, and of the server.
pub async fn write(database: &Database, target: &Target, recipients: &[Recipient]) -> Result<Backup, BackupError> {
    let directory = match target {
        Target::In(place) => place.staging(),
        Target::File(file) if file.exists() => return Err(BackupError::Exists(file.display().to_string())),
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
    let name = name(&manifest, !recipients.is_empty());
    let (location, bytes) = match target {
        Target::In(Place::Directory(directory)) => staging::publish(&file, &directory.join(&name))?,
        #[cfg(feature = "s3")]
        Target::In(Place::S3(s3)) => s3.upload(&file, &name).await?,
        Target::File(path) => staging::publish(&file, path)?,
    };
    Ok(Backup {
        name,
        location,
        bytes,
        manifest,
    })
}

fn name(manifest: &Manifest, is_encrypted: bool) -> String {
    let taken_at = jiff::Timestamp::from_millisecond(manifest.taken_at.as_millis()).unwrap_or_default();
    let suffix = SUFFIXES[usize::from(is_encrypted)];
    format!("{PREFIX}{}-{}{suffix}", taken_at.strftime(TIME), manifest.newest_change)
}

/// The number of the newest change in a backup's name.
fn change_of(name: &str) -> Option<i64> {
    let rest = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix))?;
    rest.rsplit_once('-')?.1.parse().ok()
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
            sha256: String::new(),
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
}
