//! Backups in a bucket of S3, or of another server that has S3's API. The crate `object_store` signs, sends and repeats the requests.
//!
//! An object appears under its name when all of it is stored, so what a killed process has sent is never taken for a backup.

mod connection;
mod fault;
mod unfinished;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, path::Path as Key};
use sidevault_model::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{BackupError, Kept, time_of};
use fault::Fault;

/// A backup up to this size is sent with one request; a larger one in parts of this size, one after the other. So much of it is in memory.
const PART: u64 = 8 << 20;

/// The most parts that S3 joins into one object. Parts of a backup with more than 80 GiB are larger than [`PART`].
const MOST_PARTS: u64 = 10_000;

/// A bucket, and the beginning of the names of the backups in it.
#[derive(Clone)]
pub struct S3 {
    client: Arc<AmazonS3>,
    /// For what the crate has no request for.
    http: reqwest::Client,
    bucket: String,
    prefix: Key,
    /// The backup that the URL names.
    name: Option<String>,
    scratch: PathBuf,
    /// Whether a variable or a file says who asks. If not, the credentials are those of the machine or container.
    has_credentials: bool,
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3").field(&self.url("")).finish()
    }
}

impl S3 {
    /// Reads a URL `s3://BUCKET/PREFIX`, or that of one backup below it. No request is sent.
    pub(super) fn open(
        url: &str,
        scratch: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, BackupError> {
        let wrong = |why: &str| BackupError::Settings(format!("{url}: {why}"));
        let path = url.strip_prefix("s3://").unwrap_or(url);
        let (bucket, path) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty()
            || !bucket
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        {
            return Err(wrong("expected s3://BUCKET/PREFIX"));
        }
        let path = path.trim_matches('/');
        let (prefix, name) = match path.rsplit_once('/').unwrap_or(("", path)) {
            (prefix, name) if time_of(name).is_some() => (prefix, Some(name.to_owned())),
            _ => (path, None),
        };
        let prefix = Key::parse(prefix).map_err(|error| wrong(&error.to_string()))?;
        let connection = connection::open(bucket, variable).map_err(|error| wrong(&error))?;
        Ok(Self {
            client: Arc::new(connection.client),
            http: connection.http,
            bucket: bucket.to_owned(),
            prefix,
            name,
            scratch: scratch.to_owned(),
            has_credentials: connection.has_credentials,
        })
    }

    /// Where backups are made before they are sent.
    pub(super) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The URL of a backup or segment.
    pub(super) fn url(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(name))
    }

    fn key(&self, name: &str) -> Key {
        let below = name.split('/').filter(|part| !part.is_empty());
        below.fold(self.prefix.clone(), |key, part| key.join(part))
    }

    /// The backup that the URL names.
    pub(super) fn named(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn failed(&self, name: &str, error: &object_store::Error) -> BackupError {
        let mut fault = Fault::of(error);
        if !self.has_credentials && !fault.is_answer {
            fault.words.push_str(
                ". Neither AWS_ACCESS_KEY_ID nor a credentials file was found, so credentials were asked of this machine's metadata \
                 service, too",
            );
        }
        BackupError::Remote {
            url: self.url(name),
            kind: fault.kind,
            cause: fault.words,
        }
    }

    /// Sends a file. The object exists when this returns.
    pub(super) async fn upload(&self, file: &Path, name: &str) -> Result<(String, u64), BackupError> {
        if let Some(name) = &self.name {
            let why = format!(
                "{} is the URL of a backup: name the bucket and a prefix",
                self.url(name)
            );
            return Err(BackupError::Settings(why));
        }
        self.abort_abandoned().await;
        let key = self.key(name);
        // A client that may only write is not told whether the object exists.
        if self.client.head(&key).await.is_ok() {
            return Err(BackupError::Exists(self.url(name)));
        }
        self.send(file, name).await
    }

    /// Sends a file in one or more requests. The object exists when this returns.
    pub(super) async fn send(&self, file: &Path, name: &str) -> Result<(String, u64), BackupError> {
        let failed = |cause| BackupError::io(file, cause);
        let mut from = File::open(file).await.map_err(failed)?;
        let bytes = from.metadata().await.map_err(failed)?.len();
        if bytes <= PART {
            let whole = part(&mut from, PART).await.map_err(failed)?;
            let sent = self.client.put(&self.key(name), whole.into()).await;
            sent.map_err(|error| self.failed(name, &error))?;
        } else {
            self.upload_parts(&mut from, file, name, PART.max(bytes.div_ceil(MOST_PARTS)))
                .await?;
        }
        Ok((self.url(name), bytes))
    }

    async fn upload_parts(&self, from: &mut File, file: &Path, name: &str, size: u64) -> Result<(), BackupError> {
        let key = self.key(name);
        let failed = |error: object_store::Error| self.failed(name, &error);
        let id = self.client.create_multipart(&key).await.map_err(failed)?;
        let sent = async {
            let mut parts = Vec::new();
            loop {
                let bytes = part(from, size).await.map_err(|cause| BackupError::io(file, cause))?;
                if bytes.is_empty() {
                    break;
                }
                let sent = self.client.put_part(&key, &id, parts.len(), bytes.into()).await;
                parts.push(sent.map_err(failed)?);
            }
            self.client.complete_multipart(&key, &id, parts).await.map_err(failed)
        }
        .await;
        if let Err(error) = sent {
            // The server that failed may fail again. Then a later backup aborts the upload.
            let _ = self.client.abort_multipart(&key, &id).await;
            return Err(error);
        }
        Ok(())
    }

    /// The backups below the prefix.
    pub(super) async fn list(&self) -> Result<Vec<Kept>, BackupError> {
        let listed = self.client.list_with_delimiter(Some(&self.prefix)).await;
        let listed = listed.map_err(|error| self.failed("", &error))?;
        let mut found = Vec::new();
        for object in listed.objects {
            let Some(name) = object.location.filename() else {
                continue;
            };
            let Some(taken_at) = time_of(name) else { continue };
            found.push(Kept {
                name: name.to_owned(),
                location: self.url(name),
                taken_at,
                bytes: object.size,
                followed: None,
            });
        }
        Ok(found)
    }

    /// What stands for directories below the prefix.
    pub(super) async fn directories(&self) -> Result<Vec<String>, BackupError> {
        let listed = self.client.list_with_delimiter(Some(&self.prefix)).await;
        let listed = listed.map_err(|error| self.failed("", &error))?;
        let names = listed.common_prefixes.iter().filter_map(|key| key.filename());
        Ok(names.map(str::to_owned).collect())
    }

    /// The names of the objects below what stands for a directory.
    pub(super) async fn names_below(&self, directory: &str) -> Result<Vec<String>, BackupError> {
        let listed = self.client.list_with_delimiter(Some(&self.key(directory))).await;
        let listed = listed.map_err(|error| self.failed(directory, &error))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        Ok(names.map(str::to_owned).collect())
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        let deleted = self.client.delete(&self.key(name)).await;
        deleted.map_err(|error| self.failed(name, &error))
    }

    /// Brings an object into a temporary file, which is deleted when the result is dropped.
    ///
    /// # Errors
    /// [`BackupError::Remote`] if there is none, or the server refuses or can't be reached; [`BackupError::Io`].
    pub(super) async fn fetch(&self, name: &str) -> Result<tempfile::TempPath, BackupError> {
        let to =
            tempfile::NamedTempFile::new_in(&self.scratch).map_err(|cause| BackupError::io(&self.scratch, cause))?;
        let (to, path) = to.into_parts();
        let mut to = File::from_std(to);
        let found = self.client.get(&self.key(name)).await;
        let mut body = found.map_err(|error| self.failed(name, &error))?.into_stream();
        while let Some(bytes) = body.try_next().await.map_err(|error| self.failed(name, &error))? {
            to.write_all(&bytes)
                .await
                .map_err(|cause| BackupError::io(&path, cause))?;
        }
        to.flush().await.map_err(|cause| BackupError::io(&path, cause))?;
        Ok(path)
    }
}

/// The next bytes of a file, at most so many. Fewer only at its end.
async fn part(from: &mut File, size: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(size).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Whether an upload that began then may be taken for one whose process has ended.
fn is_abandoned(began: Timestamp, now: Timestamp) -> bool {
    const LONGEST_MILLIS: i64 = 24 * 3600 * 1000;
    now.as_millis() - began.as_millis() > LONGEST_MILLIS
}
