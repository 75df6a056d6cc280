//! Reads an export on a thread of its own, because readers block.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::MemfdFlags;
use sha2::{Digest as _, Sha256};
use sidevault_exchange::import::{self, Entry, Format, ImportError, ImportedFile, ImportedVault, Options, Source};
use sidevault_sops::Identities;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::directory::Directory;
use super::password_store::{self, PasswordStore};
use crate::exit::Failure;
use crate::{cli, input};

/// The most bytes of an export on standard input. They stay in memory.
const MAX_PIPED: u64 = 256 << 20;

/// The longest password in bytes.
const MAX_PASSWORD: u64 = 1024;

/// The most bytes of KeePass's key file, which may be any file.
const MAX_KEY_FILE: u64 = 16 << 20;

/// How many entries are read ahead.
const AHEAD: usize = 32;

/// An export in a file.
pub(crate) struct Export {
    path: PathBuf,
    source: Arc<dyn Source>,
}

impl Export {
    /// Opens an export.
    pub(crate) fn open(reading: &cli::Reading) -> Result<Self, Failure> {
        let path = &reading.file;
        let said = reading.format.map(Format::from);
        let is = |format: Format| format.expect(said).map_err(|error| failure(path, &error));
        if password_store::is_store(path) {
            is(Format::Pass)?;
            let identities = identities(&reading.age_key_files)?;
            let store = PasswordStore::open(path, identities, reading.folders.into())?;
            return Ok(Self::of(path, Arc::new(store)));
        }
        if path.is_dir() {
            is(Format::Files)?;
            return Directory::open(path, &reading.age_key_files).map(|directory| Self::of(path, Arc::new(directory)));
        }
        let file = match input::is_stdin(path) {
            true => piped()?,
            false => File::open(path).map_err(|error| Failure::NotFound(format!("{}: {error}", path.display())))?,
        };
        let key_file = reading.key_file.as_deref().map(key_file).transpose()?;
        let name = stem(path);
        let options = Options {
            format: said.filter(|said| *said != Format::Files),
            name: &name,
            key_file: key_file.as_ref().map(|key| &key[..]),
            groups: reading.folders.into(),
            password: &|what| password(reading, what),
        };
        // Of a Secret's JSON, only the name tells what it is to be.
        if said == Some(Format::Files)
            && let Some(opened) = Directory::of_file(path, &reading.age_key_files)
        {
            return opened.map(|directory| Self::of(path, Arc::new(directory)));
        }
        match import::open(file, &options) {
            Ok(_) if said == Some(Format::Files) => Err(Failure::Usage(format!(
                "{}: a directory source would not read this file",
                path.display()
            ))),
            Ok(source) => Ok(Self::of(path, source.into())),
            // Formats that only the name tells.
            Err(ImportError::Unknown(_)) if let Some(opened) = Directory::of_file(path, &reading.age_key_files) => {
                is(Format::Files)?;
                opened.map(|directory| Self::of(path, Arc::new(directory)))
            }
            Err(error) => Err(failure(path, &error)),
        }
    }

    fn of(path: &Path, source: Arc<dyn Source>) -> Self {
        Self {
            path: path.to_owned(),
            source,
        }
    }

    /// The vaults of the export.
    pub(crate) fn vaults(&self) -> Result<Vec<ImportedVault>, Failure> {
        self.source.vaults().map_err(|error| failure(&self.path, &error))
    }

    /// Begins to read the entries, in their order.
    pub(crate) fn entries(&self) -> Reading<Entry> {
        self.read(AHEAD, |source, found| {
            source.items(&mut |entry| found.blocking_send(entry).map_err(|_| ImportError::Stopped))
        })
    }

    /// Begins to read the content of a file, in pieces of `size` bytes; the last one may be shorter.
    pub(crate) fn pieces(&self, file: &ImportedFile, size: usize) -> Reading<Vec<u8>> {
        let file = file.clone();
        self.read(2, move |source, found| {
            source.content(&file, &mut |content| {
                loop {
                    let mut piece = Vec::with_capacity(size);
                    content.take(size as u64).read_to_end(&mut piece)?;
                    if piece.is_empty() {
                        return Ok(());
                    }
                    found.blocking_send(piece).map_err(|_| ImportError::Stopped)?;
                }
            })
        })
    }

    /// The SHA-256 of a file's content.
    pub(crate) async fn digest(&self, file: &ImportedFile) -> Result<[u8; 32], Failure> {
        let mut pieces = self.pieces(file, 1 << 20);
        let mut hash = Sha256::new();
        while let Some(piece) = pieces.next().await? {
            hash.update(&piece);
        }
        Ok(hash.finalize().into())
    }

    fn read<T: Send + 'static>(
        &self,
        ahead: usize,
        work: impl FnOnce(&dyn Source, &mpsc::Sender<T>) -> Result<(), ImportError> + Send + 'static,
    ) -> Reading<T> {
        let (found, received) = mpsc::channel(ahead);
        let source = self.source.clone();
        Reading {
            path: self.path.clone(),
            received,
            reader: tokio::task::spawn_blocking(move || work(source.as_ref(), &found)),
        }
    }
}

/// What a thread reads from an export.
pub(crate) struct Reading<T> {
    path: PathBuf,
    received: mpsc::Receiver<T>,
    reader: JoinHandle<Result<(), ImportError>>,
}

impl<T> Reading<T> {
    /// The next part. `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, Failure> {
        if let Some(part) = self.received.recv().await {
            return Ok(Some(part));
        }
        let outcome = (&mut self.reader).await;
        let outcome = outcome.unwrap_or_else(|error| Err(ImportError::Io(std::io::Error::other(error.to_string()))));
        outcome.map(|()| None).map_err(|error| failure(&self.path, &error))
    }
}

/// The name of a file without its ending: `shop` for `shop.sops.env` and `.shop`.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_start_matches(['.', '-']);
    let stem = name.split('.').next().unwrap_or_default();
    match stem.is_empty() {
        true => "import".to_owned(),
        false => stem.to_owned(),
    }
}

/// Standard input as a file in memory, because readers go back and forth.
fn piped() -> Result<File, Failure> {
    let file = rustix::fs::memfd_create("export", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let mut file = File::from(file);
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Reading the export from standard input; end it with Ctrl-D.");
    }
    let read = std::io::copy(&mut stdin.lock().take(MAX_PIPED + 1), &mut file)?;
    if read > MAX_PIPED {
        return Err(Failure::Failed(format!(
            "standard input has more than {MAX_PIPED} bytes, which is the limit: give the export as a file"
        )));
    }
    Ok(file)
}

/// The age keys of files.
fn identities(paths: &[PathBuf]) -> Result<Identities, Failure> {
    let mut all = Identities::default();
    for path in paths {
        let text = input::file(path, MAX_KEY_FILE)
            .map(Zeroizing::new)
            .map_err(|error| Failure::Config(format!("{}: {error}", path.display())))?;
        let (found, _) = Identities::parse(&text, None);
        if found.is_empty() {
            return Err(Failure::Config(format!(
                "{} has no age key that can be used",
                path.display()
            )));
        }
        all.extend(found);
    }
    Ok(all)
}

/// The content of a key file.
fn key_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    input::file(path, MAX_KEY_FILE)
        .map(Zeroizing::new)
        .map_err(|error| Failure::Config(format!("{}: {error}", path.display())))
}

/// The password of an encrypted export: from the file that holds it, or typed.
fn password(reading: &cli::Reading, what: &str) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    if let Some(path) = &reading.password_file {
        return input::secret_file(path, MAX_PASSWORD)
            .map(Zeroizing::new)
            .map_err(|error| ImportError::NoPassword(format!("{}: {error}", path.display())));
    }
    if !std::io::stdin().is_terminal() {
        return Err(ImportError::NoPassword(format!(
            "{what} is encrypted with a password, and there is no terminal to type it on: name a file that has it with --password-file"
        )));
    }
    Ok(Zeroizing::new(input::secret_from_stdin(
        &format!("Password of {what}"),
        MAX_PASSWORD,
    )?))
}

/// A reader's error, with the export's path.
fn failure(path: &Path, error: &ImportError) -> Failure {
    let message = format!("{}: {error}", path.display());
    match error {
        ImportError::Malformed { .. } | ImportError::TooLarge { .. } | ImportError::WrongPassword(_) => {
            Failure::Integrity(message)
        }
        ImportError::Unknown(_) | ImportError::Format(_) | ImportError::NoPassword(_) => Failure::Usage(message),
        _ => Failure::Failed(message),
    }
}
