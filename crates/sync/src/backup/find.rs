//! Finding the backup to restore, with the segments that follow it, and making one file of them.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use sidevault_model::Timestamp;
use sidevault_sops::Identities;
use sidevault_store::{Assembly, Link, SegmentFault};

use super::encryption::{decrypted, is_encrypted};
use super::place::{Fetched, KeptSegment};
use super::{BackupError, Kept, Place, change_of, time_of};

/// A backup, and the segments that are to be replayed over it.
#[derive(Debug)]
pub struct Found {
    place: Place,
    /// The backup.
    pub backup: Kept,
    segments: Vec<KeptSegment>,
}

/// A backup in one file, with the segments that were replayed over it.
#[derive(Debug)]
pub struct Assembled {
    /// The file.
    pub file: Fetched,
    /// How many segments were replayed.
    pub segments: usize,
    /// The first segment that could not be used. It and those after it are left out.
    pub left_out: Option<BackupError>,
}

impl Found {
    /// Finds the backup that a path or URL names. Of a place, that is the newest backup with all its segments; with `at`, the one
    /// that leads nearest to this time, and no further. Of a single backup, it is followed by segments only with `at`.
    ///
    /// # Errors
    /// [`BackupError::None`] if there is none, or all are of a later time; if the place can't be read.
    pub async fn find(place: Place, path: &Path, at: Option<Timestamp>) -> Result<Self, BackupError> {
        let (place, name) = single(place);
        let until = at.unwrap_or(Timestamp::from_millis(i64::MAX));
        match name {
            Some(name) => Self::single(place, name, at).await,
            None => {
                let found = Self::nearest(&place, until).await?;
                found.ok_or_else(|| BackupError::None(format!("{}: no backup is there{}", path.display(), before(at))))
            }
        }
    }

    async fn single(place: Place, name: String, at: Option<Timestamp>) -> Result<Self, BackupError> {
        let backup = Kept {
            location: place.location(&name),
            taken_at: time_of(&name).unwrap_or_default(),
            bytes: 0,
            followed: None,
            name,
        };
        let segments = match at {
            Some(at) if !is_before(&backup, at) => {
                return Err(BackupError::None(format!("{} was made after {at}", backup.location)));
            }
            Some(at) => segments_until(&place, &backup, at).await?,
            None => Vec::new(),
        };
        Ok(Self {
            place,
            backup,
            segments,
        })
    }

    /// While a new backup is made, the segments of the one before go on, so one of the last two that are followed by segments leads
    /// nearest to a time, or a backup that is not.
    async fn nearest(place: &Place, until: Timestamp) -> Result<Option<Self>, BackupError> {
        let chains = place.chains().await?;
        let (mut best, mut looked_at): (Option<(i64, Self)>, u32) = (None, 0);
        for backup in place.list().await?.into_iter().rev() {
            if !is_before(&backup, until) {
                continue;
            }
            let is_followed = backup.stem().is_some_and(|stem| chains.contains(stem));
            if !is_followed && best.is_some() {
                continue;
            }
            let segments = match is_followed {
                true => segments_until(place, &backup, until).await?,
                false => Vec::new(),
            };
            let last = segments.last().map(|segment| segment.name.through);
            let through = last.or(change_of(&backup.name)).unwrap_or_default();
            if best.as_ref().is_none_or(|(most, _)| through > *most) {
                let place = place.clone();
                best = Some((
                    through,
                    Self {
                        place,
                        backup,
                        segments,
                    },
                ));
            }
            looked_at += u32::from(is_followed);
            if looked_at == 2 {
                break;
            }
        }
        Ok(best.map(|(_, found)| found))
    }

    /// Whether an age key is needed.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn is_encrypted(&self) -> Result<bool, BackupError> {
        let is_named =
            self.backup.name.ends_with(".age") || self.segments.iter().any(|segment| segment.name.is_encrypted);
        match &self.place {
            Place::Directory(directory) if !is_named => is_encrypted(&directory.join(&self.backup.name)),
            _ => Ok(is_named),
        }
    }

    /// Makes one file of the backup and its segments, in the directory `scratch` unless it is there already. The chain of digests is
    /// checked. If a segment is missing or can't be used, this fails, or with `last_good` leaves it out and those after it.
    ///
    /// # Errors
    /// [`BackupError::SegmentMissing`], [`BackupError::Segment`]; as [`sidevault_store::check_backup`]; if a file can't be read or written.
    pub async fn assemble(
        &self,
        identities: Option<&Arc<Identities>>,
        scratch: &Path,
        last_good: bool,
    ) -> Result<Assembled, BackupError> {
        let file = opened(self.place.fetch(&self.backup.name).await?, identities, scratch).await?;
        if self.segments.is_empty() {
            return Ok(Assembled {
                file,
                segments: 0,
                left_out: None,
            });
        }
        let whole = tempfile::NamedTempFile::new_in(scratch).map_err(|cause| BackupError::io(scratch, cause))?;
        let whole = whole.into_temp_path();
        let mut assembly = Assembly::begin(file.as_ref(), &whole).await?;
        drop(file);
        let mut link = Link {
            backup: self.backup.name.clone(),
            number: 0,
            previous: assembly.manifest_sha256().to_owned(),
        };
        let (mut segments, mut left_out) = (0, None);
        for segment in &self.segments {
            match self.apply(&mut assembly, segment, &link, identities, scratch).await {
                Ok(sha256) => {
                    segments += usize::from(link.number > 0);
                    link.number += 1;
                    link.previous = sha256;
                }
                Err(
                    error @ (BackupError::Segment { .. }
                    | BackupError::SegmentMissing { .. }
                    | BackupError::Decrypt { .. }),
                ) if last_good => {
                    left_out = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        assembly.finish().await?;
        Ok(Assembled {
            file: Fetched::Temporary(whole),
            segments,
            left_out,
        })
    }

    /// Replays a segment, and returns the digest of its file.
    async fn apply(
        &self,
        assembly: &mut Assembly,
        segment: &KeptSegment,
        link: &Link,
        identities: Option<&Arc<Identities>>,
        scratch: &Path,
    ) -> Result<String, BackupError> {
        if segment.name.number > link.number {
            return Err(BackupError::SegmentMissing {
                backup: self.backup.location.clone(),
                number: link.number,
            });
        }
        let stored = self.place.fetch(&segment.path).await?;
        let sha256 = sha256_of(stored.as_ref())?;
        let file = opened(stored, identities, scratch).await?;
        match assembly.apply(file.as_ref(), link).await {
            Ok(()) => Ok(sha256),
            Err(SegmentFault::Store(error)) => Err(error.into()),
            Err(fault) => Err(BackupError::Segment {
                location: segment.location.clone(),
                fault,
            }),
        }
    }
}

/// The place of a single backup, and its name there.
fn single(place: Place) -> (Place, Option<String>) {
    match &place {
        Place::Directory(path) if !path.is_dir() => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let directory = path.parent().map(Path::to_owned).unwrap_or_default();
            let directory = if directory.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                directory
            };
            (Place::Directory(directory), name)
        }
        Place::Directory(_) => (place, None),
        #[cfg(feature = "s3")]
        Place::S3(s3) => {
            let name = s3.named().map(str::to_owned);
            (place, name)
        }
    }
}

/// Whether all of a backup is of this time or an earlier one. Names have whole seconds.
fn is_before(backup: &Kept, time: Timestamp) -> bool {
    backup.taken_at.as_millis().saturating_add(1000) <= time.as_millis()
}

fn before(at: Option<Timestamp>) -> String {
    at.map(|at| format!(" from before {at}")).unwrap_or_default()
}

/// The segments that follow a backup and have no change after this time.
async fn segments_until(place: &Place, backup: &Kept, time: Timestamp) -> Result<Vec<KeptSegment>, BackupError> {
    let mut segments = place.segments(&backup.name).await?;
    let first_later = segments.iter().position(|segment| segment.name.last_at > time);
    segments.truncate(first_later.unwrap_or(segments.len()));
    Ok(segments)
}

/// The file, or a decrypted copy of it.
async fn opened(file: Fetched, identities: Option<&Arc<Identities>>, scratch: &Path) -> Result<Fetched, BackupError> {
    match identities {
        Some(identities) if is_encrypted(file.as_ref())? => {
            Ok(Fetched::Temporary(decrypted(file.as_ref(), identities, scratch).await?))
        }
        _ => Ok(file),
    }
}

/// SHA-256 of a file, in hexadecimal.
pub(super) fn sha256_of(path: &Path) -> Result<String, BackupError> {
    let failed = |cause| BackupError::io(path, cause);
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut sha256, mut bytes) = (Sha256::new(), [0; 64 * 1024]);
    loop {
        match file.read(&mut bytes).map_err(failed)? {
            0 => break,
            n => sha256.update(&bytes[..n]),
        }
    }
    Ok(HEXLOWER.encode(&sha256.finalize()))
}
