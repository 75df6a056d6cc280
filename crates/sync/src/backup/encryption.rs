//! Backups that are encrypted to age recipients (<https://age-encryption.org/v1>). The rows in them are sealed anyway; encryption also
//! hides ids, times and sizes.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sidevault_sops::Identities;

use super::BackupError;

/// How an age file begins.
const HEADER: &[u8] = b"age-encryption.org/v1\n";

/// Who can decrypt a backup: an X25519 recipient, `age1…`.
#[derive(Clone, Debug)]
pub struct Recipient(age::x25519::Recipient);

impl FromStr for Recipient {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        text.parse().map(Self)
    }
}

/// Encrypts a file into a new one, which is on disk when this returns.
pub(super) async fn encrypted(from: &Path, to: PathBuf, recipients: &[Recipient]) -> Result<PathBuf, BackupError> {
    let (from, recipients) = (from.to_owned(), recipients.to_vec());
    blocking(move || {
        let failed = |cause| BackupError::io(&to, cause);
        let mut input = File::open(&from).map_err(|cause| BackupError::io(&from, cause))?;
        let recipients = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients)
            .map_err(|cause| failed(std::io::Error::other(cause.to_string())))?;
        let output = BufWriter::new(File::create(&to).map_err(failed)?);
        let mut output = encryptor.wrap_output(output).map_err(failed)?;
        std::io::copy(&mut input, &mut output).map_err(failed)?;
        let mut output = output.finish().map_err(failed)?;
        output.flush().map_err(failed)?;
        output.get_ref().sync_all().map_err(failed)?;
        Ok(to)
    })
    .await
}

/// Whether a file is encrypted with age.
///
/// # Errors
/// If it can't be read.
pub fn is_encrypted(path: &Path) -> Result<bool, BackupError> {
    let failed = |cause| BackupError::io(path, cause);
    let mut start = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(HEADER.len() as u64).read_to_end(&mut start).map_err(failed)?;
    Ok(start == HEADER)
}

/// Decrypts a file into a temporary one in `directory`, which is deleted when the result is dropped.
///
/// # Errors
/// [`BackupError::Decrypt`] if none of the identities opens the file, or it was changed.
pub async fn decrypted(
    path: &Path,
    identities: &Arc<Identities>,
    directory: &Path,
) -> Result<tempfile::TempPath, BackupError> {
    let (path, directory, identities) = (path.to_owned(), directory.to_owned(), identities.clone());
    blocking(move || {
        let fault = |cause: String| BackupError::Decrypt {
            path: path.clone(),
            cause,
        };
        let input = BufReader::new(File::open(&path).map_err(|cause| BackupError::io(&path, cause))?);
        let decryptor = age::Decryptor::new_buffered(input).map_err(|error| fault(error.to_string()))?;
        let mut input = decryptor
            .decrypt(identities.iter())
            .map_err(|error| fault(error.to_string()))?;
        let file = tempfile::NamedTempFile::new_in(&directory).map_err(|cause| BackupError::io(&directory, cause))?;
        let mut output = BufWriter::new(file);
        std::io::copy(&mut input, &mut output).map_err(|error| fault(error.to_string()))?;
        let file = output
            .into_inner()
            .map_err(|error| BackupError::io(&directory, error.into_error()))?;
        Ok(file.into_temp_path())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(stopped) => Err(BackupError::io(Path::new("."), std::io::Error::other(stopped))),
    }
}
