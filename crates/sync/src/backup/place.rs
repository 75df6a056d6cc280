//! Where backups are kept: a directory, or a bucket.

use std::fs;
use std::path::{Path, PathBuf};

use sidevault_model::Timestamp;

#[cfg(feature = "s3")]
use super::S3;
use super::{BackupError, Retention, time_of};

/// How the URL of a bucket begins.
const S3_SCHEME: &str = "s3://";

/// Where backups are kept, each under a name of its own.
#[derive(Clone, Debug)]
pub enum Place {
    /// A directory. It is made if it is missing.
    Directory(PathBuf),
    /// A bucket of S3, or of another server that has S3's API.
    #[cfg(feature = "s3")]
    S3(S3),
}

/// A backup that is kept in a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name in the place.
    pub name: String,
    /// The path, or the URL.
    pub location: String,
    /// When it was made.
    pub taken_at: Timestamp,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Place {
    /// The place that a path, or a URL `s3://BUCKET/PREFIX`, names. `variable` gives the environment variables that the AWS tools read.
    /// A backup that goes to a bucket, or comes from there, is a file in the directory `scratch` meanwhile.
    ///
    /// # Errors
    /// [`BackupError::Settings`] for a URL or variables that can't be used.
    pub fn of(path: &Path, scratch: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, BackupError> {
        match path.to_str().filter(|text| text.starts_with(S3_SCHEME)) {
            None => Ok(Self::Directory(path.to_owned())),
            #[cfg(feature = "s3")]
            Some(url) => Ok(Self::S3(S3::open(url, scratch, variable)?)),
            #[cfg(not(feature = "s3"))]
            Some(url) => {
                let _ = (scratch, variable);
                Err(BackupError::Settings(format!(
                    "{url}: this program was compiled without the feature s3"
                )))
            }
        }
    }

    /// Whether a path is the URL of a bucket.
    pub fn is_bucket(path: &Path) -> bool {
        path.to_str().is_some_and(|text| text.starts_with(S3_SCHEME))
    }

    /// The backups that [`write()`](super::write) has named, oldest first.
    ///
    /// # Errors
    /// If the place can't be read.
    pub async fn list(&self) -> Result<Vec<Kept>, BackupError> {
        let mut found = match self {
            Self::Directory(directory) => list_directory(directory)?,
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.list().await?,
        };
        found.sort_by(|a, b| (a.taken_at, &a.name).cmp(&(b.taken_at, &b.name)));
        Ok(found)
    }

    /// Deletes the backups that are not to be kept. The newest is always kept, and files with other names are not touched. Returns what
    /// was deleted.
    ///
    /// # Errors
    /// If the place can't be read, or a backup can't be deleted.
    pub async fn thin_out(&self, retention: &Retention) -> Result<Vec<Kept>, BackupError> {
        let backups = self.list().await?;
        let times: Vec<Timestamp> = backups.iter().map(|backup| backup.taken_at).collect();
        let kept = retention.kept(&times);
        let mut deleted = Vec::new();
        for (n, backup) in backups.into_iter().enumerate() {
            if kept.contains(&n) {
                continue;
            }
            match self {
                Self::Directory(directory) => {
                    let path = directory.join(&backup.name);
                    fs::remove_file(&path).map_err(|cause| BackupError::io(&path, cause))?;
                }
                #[cfg(feature = "s3")]
                Self::S3(s3) => s3.delete(&backup.name).await?,
            }
            deleted.push(backup);
        }
        Ok(deleted)
    }
}

fn list_directory(directory: &Path) -> Result<Vec<Kept>, BackupError> {
    let failed = |cause| BackupError::io(directory, cause);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let Some(taken_at) = time_of(&name) else { continue };
        // Another process may be deleting it.
        let Ok(metadata) = entry.metadata() else { continue };
        found.push(Kept {
            location: entry.path().display().to_string(),
            name,
            taken_at,
            bytes: metadata.len(),
        });
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn thinning_out_touches_no_other_files() {
        let directory = tempfile::tempdir().unwrap();
        let other = ["notes.txt", "1password.sqlite", "sidevault-old.sqlite"];
        let backups = [
            "sidevault-20261129T100000Z-1.sqlite",
            "sidevault-20261130T100000Z-2.sqlite",
            "sidevault-20261130T110000Z-3.sqlite.age",
        ];
        for name in other.iter().chain(&backups) {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let place = Place::Directory(directory.path().to_owned());
        let deleted = place.thin_out(&"1d".parse().unwrap()).await.unwrap();
        let deleted: Vec<_> = deleted.iter().map(|backup| backup.name.as_str()).collect();
        assert_eq!(deleted, backups[..2]);
        for name in other {
            assert!(directory.path().join(name).exists(), "{name}");
        }
    }
}
