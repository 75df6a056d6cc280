//! How a reader notices commits, and a database that was replaced, without asking the database.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};

use super::{beside, is_read_only};
use crate::StoreError;

/// Tells whether anything was committed since the last look, by one `pread` and one `fstat`.
///
/// In WAL mode each commit rewrites the header of the `-shm` file, the WAL index
/// (<https://www.sqlite.org/walformat.html#the_wal_index_header>). The header holds a counter of transactions and the
/// checksum of the last frame. SQLite itself compares these 48 bytes to answer `PRAGMA data_version`; comparing them here
/// saves the way to the connection's thread and back.
pub(crate) struct WalIndexWatcher {
    database: PathBuf,
    files: RwLock<OpenFiles>,
}

/// The files that are open for reading. After a restore the paths may name other files.
#[derive(Clone, Copy)]
struct OpenFiles {
    database: Inode,
    /// The WAL index. None on a read-only volume that has none.
    index: Option<(Inode, &'static File)>,
}

/// A file's device and inode.
type Inode = (u64, u64);

/// The header of the WAL index. If two are equal, nothing was committed between the two reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalStamp([u8; 48]);

impl WalStamp {
    /// Equal to no header: a header starts with the number of its format, which is not 0.
    pub(crate) const NEVER: Self = Self([0; 48]);
    /// The stamp of a database that nobody can write to.
    const UNCHANGING: Self = Self([0xff; 48]);
}

/// The `-shm` files that this process has opened here, never closed: if a process closes any descriptor of a file, it loses
/// all its POSIX locks on the file, and with them SQLite's (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
static OPENED: Mutex<BTreeMap<Inode, &'static File>> = Mutex::new(BTreeMap::new());

impl WalIndexWatcher {
    /// A connection to the database must be open already, and stay open for as long as the watcher lives.
    pub(crate) fn open(database: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            database: database.to_owned(),
            files: RwLock::new(OpenFiles::open(database)?),
        })
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// Whether the paths name other files than those that are open, and a writer has opened the new ones already. Before a
    /// writer has, a restore may still be copying them.
    pub(crate) fn has_other_files(&self) -> bool {
        let files = self.files();
        let index = inode(&beside(&self.database, "-shm")).ok();
        let Ok(database) = inode(&self.database) else {
            return false;
        };
        let is_opened = index.is_some() || files.index.is_none();
        is_opened && (database, index) != (files.database, files.index.map(|(inode, _)| inode))
    }

    /// Opens the files that the paths name now. A connection to them must be open already.
    pub(crate) fn reopen(&self) -> Result<(), StoreError> {
        let files = OpenFiles::open(&self.database)?;
        *self.files.write() = files;
        Ok(())
    }

    pub(crate) fn read(&self) -> Result<WalStamp, StoreError> {
        let Some((_, file)) = self.files().index else {
            return Ok(WalStamp::UNCHANGING);
        };
        let mut stamp = WalStamp([0; 48]);
        let read = file.read_exact_at(&mut stamp.0, 0).and_then(|()| file.metadata());
        match read {
            // The file was deleted: another one has its name, or soon will.
            Ok(metadata) if metadata.nlink() == 0 => Ok(WalStamp::NEVER),
            Ok(_) => Ok(stamp),
            Err(cause) => Err(StoreError::Io {
                path: beside(&self.database, "-shm"),
                cause,
            }),
        }
    }

    fn files(&self) -> OpenFiles {
        *self.files.read()
    }
}

impl OpenFiles {
    fn open(database: &Path) -> Result<Self, StoreError> {
        let index = beside(database, "-shm");
        let failed = |path: &Path, cause| StoreError::Io {
            path: path.to_owned(),
            cause,
        };
        Ok(Self {
            database: inode(database).map_err(|cause| failed(database, cause))?,
            index: match opened_once(&index) {
                Ok(opened) => Some(opened),
                Err(cause) if cause.kind() == ErrorKind::NotFound && is_read_only(database) => None,
                Err(cause) => return Err(failed(&index, cause)),
            },
        })
    }
}

fn inode(path: &Path) -> std::io::Result<Inode> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The file at `path`, which is opened only if this process has not opened it before.
fn opened_once(path: &Path) -> std::io::Result<(Inode, &'static File)> {
    let mut opened = OPENED.lock();
    let inode = inode(path)?;
    let file = match opened.entry(inode) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(entry) => *entry.insert(Box::leak(Box::new(File::open(path)?))),
    };
    Ok((inode, file))
}
