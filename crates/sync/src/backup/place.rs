//! Where backups are kept: a directory, or a bucket.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sidevault_model::Timestamp;

#[cfg(feature = "s3")]
use super::S3;
use super::segments::{SegmentName, directory_of, stem_of};
use super::{BackupError, Retention, staging, time_of};

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

/// A segment that is kept in a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptSegment {
    pub(super) name: SegmentName,
    /// Its name in the place, with that of its directory.
    pub(super) path: String,
    /// The path, or the URL.
    pub(super) location: String,
}

/// A file from a [`Place`].
#[derive(Debug)]
pub enum Fetched {
    /// The file itself.
    AsItIs(PathBuf),
    /// A copy, which is deleted when the value is dropped.
    Temporary(tempfile::TempPath),
}

impl AsRef<Path> for Fetched {
    fn as_ref(&self) -> &Path {
        match self {
            Self::AsItIs(path) => path,
            Self::Temporary(path) => path,
        }
    }
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
    /// The segments that follow it, if they were looked for.
    pub followed: Option<Followed>,
}

/// The segments that follow a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// How many there are.
    pub segments: usize,
    /// The time of the newest change in them, if there is one.
    pub until: Option<Timestamp>,
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

    /// As [`Self::list`], with the segments that follow each backup.
    ///
    /// # Errors
    /// If the place can't be read.
    pub async fn list_with_segments(&self) -> Result<Vec<Kept>, BackupError> {
        let chains = self.chains().await?;
        let mut backups = self.list().await?;
        for backup in &mut backups {
            if !backup.stem().is_some_and(|stem| chains.contains(stem)) {
                continue;
            }
            let segments = self.segments(&backup.name).await?;
            backup.followed = Some(Followed {
                // The first one has no changes.
                segments: segments.len().saturating_sub(1),
                until: segments
                    .last()
                    .map(|last| last.name.last_at)
                    .filter(|at| at.as_millis() > 0),
            });
        }
        Ok(backups)
    }

    /// The newest backup.
    ///
    /// # Errors
    /// If the place can't be read.
    pub async fn newest(&self) -> Result<Option<Kept>, BackupError> {
        Ok(self.list().await?.pop())
    }

    /// The directory in which a file is made before it gets its name in the place.
    pub(super) fn staging(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory,
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.scratch(),
        }
    }

    /// The backups that are followed by segments, as names without their ends.
    pub(super) async fn chains(&self) -> Result<BTreeSet<String>, BackupError> {
        let names = match self {
            Self::Directory(directory) => names_in(directory).map_err(|cause| BackupError::io(directory, cause))?,
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.directories().await?,
        };
        Ok(names
            .iter()
            .filter_map(|name| stem_of(name))
            .map(str::to_owned)
            .collect())
    }

    /// The segments that follow a backup, by number.
    pub(super) async fn segments(&self, backup: &str) -> Result<Vec<KeptSegment>, BackupError> {
        let Some(below) = directory_of(backup) else {
            return Ok(Vec::new());
        };
        let names = match self {
            Self::Directory(directory) => {
                let directory = directory.join(&below);
                names_in(&directory).map_err(|cause| BackupError::io(&directory, cause))?
            }
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.names_below(&below).await?,
        };
        let mut found: Vec<KeptSegment> = names
            .into_iter()
            .filter_map(|name| {
                let path = format!("{below}/{name}");
                Some(KeptSegment {
                    name: name.parse().ok()?,
                    location: self.location(&path),
                    path,
                })
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The path, or the URL, of what has this name in the place.
    pub(super) fn location(&self, name: &str) -> String {
        match self {
            Self::Directory(directory) => directory.join(name).display().to_string(),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.url(name),
        }
    }

    /// Gives a file, which is on disk already, a name below a directory of the place, which is made if it is missing.
    pub(super) async fn put_below(&self, file: &Path, below: &str, name: &str) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.join(below);
                match DirBuilder::new().mode(0o700).create(&directory) {
                    Ok(()) => staging::sync_names(&directory).map_err(|cause| BackupError::io(&directory, cause))?,
                    Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
                    Err(cause) => return Err(BackupError::io(&directory, cause)),
                }
                staging::publish(file, &directory.join(name)).map(drop)
            }
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.send(file, &format!("{below}/{name}")).await.map(drop),
        }
    }

    /// The file that has this name in the place.
    ///
    /// # Errors
    /// If it is missing, or can't be read.
    pub(super) async fn fetch(&self, name: &str) -> Result<Fetched, BackupError> {
        match self {
            Self::Directory(directory) => Ok(Fetched::AsItIs(directory.join(name))),
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.fetch(name).await.map(Fetched::Temporary),
        }
    }

    /// Deletes the backups that are not to be kept. The newest is always kept, and files with other names are not touched. Segments stay for
    /// as many days as daily backups, with the backups that they follow. Returns what was deleted, but for the single segments.
    ///
    /// # Errors
    /// If the place can't be read, or a backup can't be deleted.
    pub async fn thin_out(&self, retention: &Retention) -> Result<Vec<Kept>, BackupError> {
        let backups = self.list().await?;
        let Some(newest) = backups.last() else {
            return Ok(Vec::new());
        };
        let chains = self.chains().await?;
        let since = retention.every_moment_since(newest.taken_at);
        // The segments of a backup lead up to the next backup that is followed by segments.
        let chained: Vec<usize> = (0..backups.len())
            .filter(|n| backups[*n].stem().is_some_and(|stem| chains.contains(stem)))
            .collect();
        let leads_to = |n: usize| {
            chained
                .iter()
                .find(|next| **next > n)
                .map(|next| backups[*next].taken_at)
        };
        let needed: BTreeSet<usize> = chained
            .iter()
            .copied()
            .filter(|n| leads_to(*n).is_none_or(|end| end >= since))
            .collect();
        let times: Vec<Timestamp> = backups.iter().map(|backup| backup.taken_at).collect();
        let kept = retention.kept(&times);
        let needed_stems: BTreeSet<String> = needed
            .iter()
            .filter_map(|n| backups[*n].stem().map(str::to_owned))
            .collect();
        let mut deleted = Vec::new();
        for (n, backup) in backups.into_iter().enumerate() {
            if kept.contains(&n) || needed.contains(&n) {
                continue;
            }
            self.delete(&backup.name).await?;
            deleted.push(backup);
        }
        // Also those whose backup was deleted by a process that was killed then.
        for stem in chains.difference(&needed_stems) {
            let backup = format!("{stem}{}", super::SUFFIXES[0]);
            for segment in self.segments(&backup).await? {
                self.delete(&segment.path).await?;
            }
            if let (Self::Directory(directory), Some(below)) = (self, directory_of(&backup)) {
                // It stays if it has files that are no segments.
                fs::remove_dir(directory.join(below)).ok();
            }
        }
        Ok(deleted)
    }

    async fn delete(&self, name: &str) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                fs::remove_file(&path).map_err(|cause| BackupError::io(&path, cause))
            }
            #[cfg(feature = "s3")]
            Self::S3(s3) => s3.delete(name).await,
        }
    }
}

impl Kept {
    /// The name without its end.
    pub(super) fn stem(&self) -> Option<&str> {
        super::SUFFIXES.iter().find_map(|suffix| self.name.strip_suffix(suffix))
    }
}

/// The names in a directory; none if it is missing.
fn names_in(directory: &Path) -> std::io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
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
            followed: None,
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

    /// With daily backups for two days, every moment of the last two days can be restored.
    #[tokio::test]
    async fn segments_stay_for_as_many_days_as_daily_backups() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // The last one has lost its backup.
        let stems = [
            "sidevault-20261101T100000Z-1",
            "sidevault-20261127T100000Z-2",
            "sidevault-20261128T100000Z-3",
            "sidevault-20261128T220000Z-4",
            "sidevault-20261129T100000Z-5",
            "sidevault-20261130T100000Z-6",
            "sidevault-20261102T100000Z-7",
        ];
        for (n, stem) in stems.iter().enumerate() {
            if n < 6 {
                fs::write(path(&format!("{stem}.sqlite")), "").unwrap();
            }
            fs::create_dir(path(&format!("{stem}.segments"))).unwrap();
            let name = SegmentName {
                number: 0,
                through: 1,
                last_at: Timestamp::from_millis(0),
                is_encrypted: false,
            };
            fs::write(path(&format!("{stem}.segments/{name}")), "").unwrap();
        }
        let place = Place::Directory(directory.path().to_owned());
        let deleted = place.thin_out(&"2d,2m".parse().unwrap()).await.unwrap();
        let deleted: Vec<_> = deleted.iter().map(|backup| backup.name.as_str()).collect();
        assert_eq!(deleted, ["sidevault-20261101T100000Z-1.sqlite"]);
        let left = place.chains().await.unwrap();
        let wanted: BTreeSet<String> = stems[1..6].iter().map(|stem| (*stem).to_owned()).collect();
        assert_eq!(left, wanted);
    }
}
