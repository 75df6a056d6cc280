//! Files with secrets in them, which nobody sees half written.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::exit::Failure;

/// Where to write, and how.
#[derive(Clone, Debug)]
pub(crate) struct OutputFile {
    pub(crate) path: PathBuf,
    /// The permissions of the file.
    pub(crate) mode: u32,
    /// Whether an existing file is replaced.
    pub(crate) force: bool,
}

impl OutputFile {
    /// Writes the file, or replaces it, at once: a reader sees the old content or the new one. A device or a pipe is written to.
    ///
    /// # Errors
    /// [`Failure::Conflict`] if the file exists and may not be replaced.
    pub(crate) fn write(&self, content: &[u8]) -> Result<(), Failure> {
        // A symbolic link stays, and the file that it names is replaced.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let written = match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => Err(io::Error::other("it is a directory")),
            Ok(found) if !found.is_file() => OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|mut device| device.write_all(content)),
            Ok(_) if !self.force => return Err(self.exists()),
            _ => self.replace(&path, content),
        };
        written.map_err(|error| self.failure(&error))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut temporary = self.temporary(path)?;
        temporary.write_all(content)?;
        self.persist(temporary, path)
    }

    /// Begins a file that is written in parts, under another name.
    ///
    /// # Errors
    /// [`Failure::Conflict`] if the file exists and may not be replaced, [`Failure::Usage`] if it is no file.
    #[cfg(feature = "exchange")]
    pub(crate) fn begin(self) -> Result<Unfinished, Failure> {
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        match std::fs::metadata(&path) {
            Ok(found) if !found.is_file() => {
                return Err(Failure::Usage(format!("{} is not a file", self.path.display())));
            }
            Ok(_) if !self.force => return Err(self.exists()),
            _ => {}
        }
        let temporary = self.temporary(&path).map_err(|error| self.failure(&error))?;
        Ok(Unfinished {
            output: self,
            path,
            temporary,
        })
    }

    fn temporary(&self, path: &Path) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(".sidevault-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(directory(path))
    }

    fn persist(&self, temporary: NamedTempFile, path: &Path) -> io::Result<()> {
        temporary.as_file().set_permissions(Permissions::from_mode(self.mode))?;
        temporary.as_file().sync_all()?;
        if self.force {
            temporary.persist(path).map_err(|error| error.error)?;
        } else {
            temporary.persist_noclobber(path).map_err(|error| error.error)?;
        }
        // The name is on the disk when its directory is. Some file systems can't do that, and the content is safe anyway.
        let _ = File::open(directory(path)).and_then(|directory| directory.sync_all());
        Ok(())
    }

    fn exists(&self) -> Failure {
        Failure::Conflict(format!("{} exists already: --force replaces it", self.path.display()))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::Failed(format!("{}: {error}", self.path.display()))
    }
}

fn directory(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

/// A file that is being written. If it is dropped, nothing is left of it.
#[cfg(feature = "exchange")]
pub(crate) struct Unfinished {
    output: OutputFile,
    /// Where it will be.
    path: PathBuf,
    temporary: NamedTempFile,
}

#[cfg(feature = "exchange")]
impl Unfinished {
    /// What to write to.
    pub(crate) fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Gives the file its name, at once.
    ///
    /// # Errors
    /// If another file has the name by now, or the disk fails.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let persisted = self.output.persist(self.temporary, &self.path);
        persisted.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => self.output.exists(),
            _ => self.output.failure(&error),
        })
    }
}

/// Permissions as `chmod` takes them: `0600`, `644`.
pub(crate) fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text.trim_start_matches("0o"), 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "permissions are three octal digits, such as 0600".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(path: &Path, mode: u32, force: bool) -> OutputFile {
        OutputFile {
            path: path.to_owned(),
            mode,
            force,
        }
    }

    #[test]
    fn a_file_is_new_unless_force_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        output(&path, 0o600, false).write(b"a").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"a".to_vec(), 0o600));
        let refused = output(&path, 0o600, false).write(b"b").unwrap_err();
        assert_eq!(refused.code(), 5);
        output(&path, 0o640, true).write(b"c").unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"c".to_vec(), 0o640));
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_file_in_parts_appears_when_it_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut first = output(&path, 0o600, false).begin().unwrap();
        let second = output(&path, 0o600, false).begin().unwrap();
        first.temporary.write_all(b"a").unwrap();
        assert!(!path.exists());
        first.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a");
        assert_eq!(second.finish().unwrap_err().code(), 5);
        assert_eq!(output(&path, 0o600, false).begin().err().unwrap().code(), 5);
        drop(output(&path, 0o600, true).begin().unwrap());
        assert_eq!(output(dir.path(), 0o600, true).begin().err().unwrap().code(), 2);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_a_device_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        output(&link, 0o600, true).write(b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        output(Path::new("/dev/null"), 0o600, false).write(b"x").unwrap();
        assert!(output(dir.path(), 0o600, true).write(b"x").is_err());
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(parse_mode("0600"), Ok(0o600));
        assert_eq!(parse_mode("644"), Ok(0o644));
        assert!(parse_mode("9").is_err() && parse_mode("1777").is_err() && parse_mode("").is_err());
    }
}
