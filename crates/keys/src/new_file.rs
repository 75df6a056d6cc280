//! Writing a file that holds secrets, exactly once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::CredentialsError;

/// Creates `path` with mode 0600 and this content, and returns once it is on disk.
///
/// # Errors
/// [`CredentialsError::AlreadyExists`] if anything, even a dangling symbolic link, has that name: nothing is ever
/// overwritten. If writing fails half-way, the file is removed again.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CredentialsError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => CredentialsError::AlreadyExists { path: path.into() },
            _ => CredentialsError::File {
                path: path.into(),
                source,
            },
        })?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder_of(path))
        .map_err(|source| {
            // Best effort: half a credentials file would only be in the way of the next try.
            let _ = std::fs::remove_file(path);
            CredentialsError::File {
                path: path.into(),
                source,
            }
        })
}

/// A new name is durable only once its folder is.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_new_file_is_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issuer.json");
        write_new(&path, b"first").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(matches!(
            write_new(&path, b"second"),
            Err(CredentialsError::AlreadyExists { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
    }

    #[test]
    fn a_dangling_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(
            write_new(&path, b"x"),
            Err(CredentialsError::AlreadyExists { .. })
        ));
    }
}
