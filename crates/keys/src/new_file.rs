//! Writes a new file that holds secrets.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::CredentialsError;

/// Creates the file `path` with mode 0600 and this content, and returns when the file is on disk.
///
/// # Errors
/// [`CredentialsError::AlreadyExists`] if anything has this name, even a dangling symbolic link: nothing is overwritten. If
/// writing fails, the file is removed.
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
            // An incomplete file would make the next try fail. If it can't be removed, the error below is still the one to
            // report.
            std::fs::remove_file(path).ok();
            CredentialsError::File {
                path: path.into(),
                source,
            }
        })
}

/// Creates several files as [`write_new`] does, or none.
///
/// # Errors
/// As [`write_new`]. The files that were created before the error are removed.
pub fn write_all_new<'a>(files: impl IntoIterator<Item = (&'a Path, &'a [u8])>) -> Result<(), CredentialsError> {
    let mut written = Vec::new();
    for (path, bytes) in files {
        write_new(path, bytes).inspect_err(|_| {
            // Best effort: files without the others would stop the next try.
            for path in &written {
                std::fs::remove_file(path).ok();
            }
        })?;
        written.push(path);
    }
    Ok(())
}

/// Syncs the directory of `path`: a new file's name is on disk only when its directory is.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_new_file_is_private_and_not_overwritten() {
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
    fn all_files_are_created_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["1", "2", "3"].map(|name| folder.path().join(name));
        std::fs::write(&paths[2], "old").unwrap();
        let files = || paths.iter().map(|path| (path.as_path(), &b"new"[..]));
        assert!(write_all_new(files()).is_err());
        assert_eq!(std::fs::read(&paths[2]).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::remove_file(&paths[2]).unwrap();
        write_all_new(files()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
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
