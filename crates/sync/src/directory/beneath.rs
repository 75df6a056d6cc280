//! Opens files beneath the root of a tree, and nowhere else.
//!
//! Someone who may write to a tree must not make sync read a file outside of it, or a hidden file such as `.git/config`:
//! neither with a symbolic link, nor with a file that is replaced by a link between two system calls. So the kernel never
//! gets a path of several names. Each name is opened relative to the descriptor of its parent directory, with
//! `O_NOFOLLOW`, and the target of a link is walked in the same way. A file is then checked and read through its descriptor
//! only.
//!
//! `openat2` with `RESOLVE_BENEATH` would confine a path to the tree in one call, but it follows links to hidden names.
//! Kernels before 5.6 and some seccomp profiles refuse it, so this walk would still be needed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat, stat, statat};
use rustix::io::Errno;

/// The most symbolic links on the way to one file. Linux has the same limit.
const MAX_LINKS: u32 = 40;

/// Flags to open a file. Opening never blocks: a FIFO without a writer opens at once. A terminal does not become the
/// controlling terminal.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Why a name in a tree can't be opened or may not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeneathError {
    /// The tree changed while the path was walked. The next scan tries again.
    #[error("the file was replaced while it was opened")]
    Changed,
    /// The name or the target of a link does not exist.
    #[error("No such file or directory")]
    Missing,
    /// A link leads out of the tree, or is absolute: that leads elsewhere when the tree is mounted at another place.
    #[error("a link that leads out of the tree is not followed; a link within it must be relative")]
    Outside,
    /// A link leads to or through a hidden name.
    #[error("a link to a hidden file or directory is not followed")]
    Hidden,
    /// Links lead in a circle, or there are too many.
    #[error("more than {MAX_LINKS} symbolic links on the way")]
    TooManyLinks,
    /// A FIFO, a socket or a device.
    #[error("neither a file nor a directory")]
    Special,
    /// Another error of the operating system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for BeneathError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing,
            errno => Self::Io(errno.into()),
        }
    }
}

/// The metadata that shows whether a file changed. A program can set `mtime` back, but not `ctime`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileStamp {
    device: i128,
    inode: i128,
    pub(crate) size: u64,
    /// Seconds and nanoseconds since 1970.
    mtime: (i128, i128),
    /// `None` if the file is never written to, but may get more names, which changes this time.
    pub(crate) ctime: Option<(i128, i128)>,
}

impl FileStamp {
    // The fields have different integer types on different platforms; `i128` holds all of them.
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev.into(),
            inode: stat.st_ino.into(),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: (stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            ctime: Some((stat.st_ctime.into(), stat.st_ctime_nsec.into())),
        }
    }

    /// The stamp of a file that is never written to.
    pub(crate) fn of_unwritten(self) -> Self {
        Self { ctime: None, ..self }
    }

    /// This stamp, so that it can be compared with `other`.
    pub(crate) fn comparable_with(self, other: &Self) -> Self {
        match other.ctime {
            Some(_) => self,
            None => self.of_unwritten(),
        }
    }
}

/// A file that was opened beneath a root. Its metadata and content are read through this descriptor only.
pub(crate) struct Opened {
    pub(crate) file: File,
    /// The metadata of the file when it was opened.
    pub(crate) stamp: FileStamp,
}

impl Opened {
    /// Opens a regular file that a person named. Links are followed, and it may be hidden.
    pub(crate) fn named(path: &Path) -> Result<Self, BeneathError> {
        Self::of(File::from(open(path, FILE, Mode::empty())?))
    }

    fn of(file: File) -> Result<Self, BeneathError> {
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(BeneathError::Special);
        }
        let stamp = FileStamp::of(&stat);
        Ok(Self { file, stamp })
    }

    /// Whether somebody wrote to the file since it was opened.
    pub(crate) fn has_changed(&self) -> io::Result<bool> {
        Ok(FileStamp::of(&fstat(&self.file)?).comparable_with(&self.stamp) != self.stamp)
    }
}

/// The kind of a name in a directory.
pub(crate) enum Entry {
    Directory,
    File(FileStamp),
    Link,
    /// A FIFO, a socket or a device.
    Special,
}

/// An open directory of the tree.
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// The names in the directory, in byte order.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The kind of a name in the directory. Links are not followed.
    pub(crate) fn entry(&self, name: &OsStr) -> Result<Entry, BeneathError> {
        let stat = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Entry::Directory,
            FileType::RegularFile => Entry::File(FileStamp::of(&stat)),
            FileType::Symlink => Entry::Link,
            _ => Entry::Special,
        })
    }

    /// The text of a small hidden file with rules, such as `.gitignore`. A link is not followed, as in git. `None` if there
    /// is no such regular file.
    ///
    /// # Errors
    /// If it can't be read, or is larger than `limit` bytes.
    pub(crate) fn rules(&self, name: &str, limit: u64) -> Result<Option<String>, BeneathError> {
        let file = match openat(&self.0, name, FILE, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(errno) => return Err(io::Error::other(format!("{name}: {}", io::Error::from(errno))).into()),
        };
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        if file.take(limit + 1).read_to_end(&mut bytes)? as u64 > limit {
            return Err(io::Error::other(format!("{name}: larger than {} KiB", limit >> 10)).into());
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The open directory.
    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Opens a sub-directory.
    pub(crate) fn enter(&self, name: &OsStr) -> Result<Self, BeneathError> {
        enter(self.0.as_fd(), name).map(Self)
    }

    /// Opens the directory that a Kubernetes volume has under `name`. kubelet makes `name` a link to `..data/name`, and
    /// `..data` a link to the directory of the current revision, whose name starts with `..`, too.
    ///
    /// No other link to a directory is followed, because it could lead in a circle. These can't: the targets of both links
    /// are checked, and neither the revision nor the directory in it may be a link.
    ///
    /// Returns `None` if `name` is not such a link, or is one that leads to a file or to nothing.
    ///
    /// # Errors
    /// If `name` is such a link and the directory can't be opened, for example because kubelet replaces the revision.
    pub(crate) fn enter_volume(&self, name: &OsStr) -> Option<Result<Self, BeneathError>> {
        let text = readlinkat(&self.0, name, Vec::new()).ok()?;
        if text.to_bytes().strip_prefix(b"..data/") != Some(name.as_bytes()) {
            return None;
        }
        let revision = match readlinkat(&self.0, "..data", Vec::new()) {
            Ok(revision) => revision,
            Err(Errno::NOENT | Errno::INVAL) => return None,
            Err(errno) => return Some(Err(errno.into())),
        };
        let revision = OsStr::from_bytes(revision.to_bytes());
        if !is_kubelets(revision) || revision.as_bytes().contains(&b'/') {
            return None;
        }
        let revision = match self.enter(revision) {
            Ok(revision) => revision,
            Err(error) => return Some(Err(error)),
        };
        match revision.entry(name) {
            Ok(Entry::Directory) => Some(revision.enter(name)),
            Ok(_) | Err(BeneathError::Missing) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// The root of a tree, held open. After a link on the path to it was replaced, this is still the old tree.
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Opens the root. Links on the path to it are followed, because the administrator chose the path.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, DIRECTORY, Mode::empty())?))
    }

    /// Whether `path` still leads to this root.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let identity = |stat: Stat| (stat.st_dev, stat.st_ino);
        matches!((fstat(&self.0), stat(path)), (Ok(held), Ok(there)) if identity(held) == identity(there))
    }

    /// Opens the root as a directory that can be listed.
    pub(crate) fn directory(&self) -> Result<Directory, BeneathError> {
        enter(self.0.as_fd(), OsStr::new(".")).map(Directory)
    }

    /// Opens a regular file. Links are followed if they stay in the tree and lead to no hidden name.
    pub(crate) fn file(&self, place: &Path) -> Result<Opened, BeneathError> {
        let walked = self.walk(place)?;
        let name = walked.name.as_ref().ok_or(BeneathError::Changed)?;
        Opened::of(File::from(
            openat(walked.dir(self), name, FILE, Mode::empty()).map_err(swapped)?,
        ))
    }

    /// The directory that holds a regular file, and the file's name in it, after links as in [`Root::file`].
    pub(crate) fn holder(&self, place: &Path) -> Result<(OwnedFd, OsString), BeneathError> {
        let walked = self.walk(place)?;
        let dir = walked.dir(self).try_clone_to_owned()?;
        Ok((dir, walked.name.ok_or(BeneathError::Changed)?))
    }

    /// The metadata of the regular file that a link leads to; `None` for a link to a directory.
    pub(crate) fn follow(&self, place: &Path) -> Result<Option<FileStamp>, BeneathError> {
        let walked = self.walk(place)?;
        let Some(name) = &walked.name else { return Ok(None) };
        let stat = statat(walked.dir(self), name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some(FileStamp::of(&stat))),
            FileType::Directory | FileType::Symlink => Err(BeneathError::Changed),
            _ => Err(BeneathError::Special),
        }
    }

    /// Walks `place` name by name, starting at the root.
    fn walk(&self, place: &Path) -> Result<Walked, BeneathError> {
        let mut walked = Walked {
            below: Vec::new(),
            name: None,
        };
        // The remaining names, in reverse order.
        let mut names = Vec::new();
        push_names(&mut names, place)?;
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == ".." {
                walked.below.pop().ok_or(BeneathError::Outside)?;
                continue;
            }
            if is_hidden(&name) {
                return Err(BeneathError::Hidden);
            }
            let dir = walked.dir(self);
            let stat = statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let entered = enter(dir, &name)?;
                    walked.below.push(entered);
                }
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(BeneathError::TooManyLinks);
                    }
                    let text = readlinkat(dir, &name, Vec::new()).map_err(|errno| match errno {
                        Errno::INVAL => BeneathError::Changed,
                        errno => errno.into(),
                    })?;
                    push_names(&mut names, Path::new(OsStr::from_bytes(text.to_bytes())))?;
                }
                _ if !names.is_empty() => return Err(BeneathError::Io(Errno::NOTDIR.into())),
                // kubelet's hidden names are allowed as directories on the way to a file, not as files.
                _ if is_kubelets(&name) => return Err(BeneathError::Hidden),
                FileType::RegularFile => walked.name = Some(name),
                _ => return Err(BeneathError::Special),
            }
        }
        Ok(walked)
    }
}

/// The position of a walk.
struct Walked {
    /// The directories below the root, each held open: `..` goes back to the one before it, even if that was moved.
    below: Vec<OwnedFd>,
    /// The name of the file in the last of these directories; `None` if the walk ended at a directory.
    name: Option<OsString>,
}

impl Walked {
    fn dir<'a>(&'a self, root: &'a Root) -> BorrowedFd<'a> {
        self.below.last().unwrap_or(&root.0).as_fd()
    }
}

/// Whether a name is left out of listings: `.git`, `.sops.yaml`, and kubelet's `..data`.
pub(crate) fn is_unlisted(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Whether links through a name are refused. Links through kubelet's names are followed: the keys of a volume are links to
/// `..data/KEY`.
fn is_hidden(name: &OsStr) -> bool {
    is_unlisted(name) && !is_kubelets(name)
}

/// Whether kubelet reserves a name in a volume: it starts with `..`.
fn is_kubelets(name: &OsStr) -> bool {
    name.len() > 2 && name.as_bytes().starts_with(b"..")
}

fn push_names(names: &mut Vec<OsString>, path: &Path) -> Result<(), BeneathError> {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => names.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(BeneathError::Outside),
        }
    }
    Ok(())
}

fn enter(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, BeneathError> {
    openat(dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(swapped)
}

/// The error of an `openat` that failed because the name was replaced by a link or another kind of file.
fn swapped(errno: Errno) -> BeneathError {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO => BeneathError::Changed,
        errno => errno.into(),
    }
}
