//! ZIP archives that others made.
//!
//! Nothing of an archive is unpacked to a disk, so no name in it can lead anywhere. Names that try to are refused all the same: an
//! archive with such a name was made to attack its reader.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use zip::ZipArchive;
use zip::result::ZipError;

use super::ImportError;

/// The most members of an archive.
const MAX_MEMBERS: usize = 200_000;

/// An archive whose directory is read.
#[derive(Clone)]
pub(crate) struct Archive {
    zip: ZipArchive<SharedFile>,
    /// The size of each member by its name, as the directory has it.
    sizes: Arc<HashMap<String, u64>>,
}

impl Archive {
    /// Reads the directory of an archive.
    pub(crate) fn open(file: File) -> Result<Self, ImportError> {
        let file = SharedFile::new(file)?;
        let mut zip = ZipArchive::new(file).map_err(|error| malformed("the archive", error))?;
        if zip.len() > MAX_MEMBERS {
            return Err(ImportError::malformed(
                "the archive",
                format!("it has more than {MAX_MEMBERS} members"),
            ));
        }
        let mut sizes = HashMap::with_capacity(zip.len());
        for index in 0..zip.len() {
            let member = zip
                .by_index_raw(index)
                .map_err(|error| malformed(&format!("member {index} of the archive"), error))?;
            let name = member
                .name()
                .map_err(|error| malformed(&format!("member {index} of the archive"), error))?
                .into_owned();
            if let Some(reason) = refusal(&name, member.unix_mode(), member.encrypted()) {
                let place = format!("member \"{}\" of the archive", sidevault_model::printable(&name));
                return Err(ImportError::malformed(place, reason));
            }
            if sizes.insert(name.clone(), member.size()).is_some() {
                let place = format!("member \"{}\" of the archive", sidevault_model::printable(&name));
                return Err(ImportError::malformed(place, "the archive has it twice"));
            }
        }
        Ok(Self {
            zip,
            sizes: Arc::new(sizes),
        })
    }

    /// The names of all members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.sizes.keys().map(String::as_str)
    }

    /// The length of a member in bytes, as the directory has it.
    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        self.sizes.get(name).copied()
    }

    /// Hands the content of a member to `read`. The content fails if it has not exactly the bytes that the directory says.
    pub(crate) fn read(
        &self,
        name: &str,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let place = format!("member \"{}\" of the archive", sidevault_model::printable(name));
        let missing = || ImportError::malformed(place.clone(), "the archive lacks it");
        let size = self.size(name).ok_or_else(missing)?;
        // A clone shares the directory, and has a position of its own in the file.
        let mut zip = self.zip.clone();
        let content = zip.by_name(name).map_err(|error| malformed(&place, error))?;
        read(&mut Exactly {
            content,
            left: size,
            place: &place,
        })
    }
}

/// Why a member is refused.
fn refusal(name: &str, mode: Option<u32>, encrypted: bool) -> Option<&'static str> {
    // The type of the file in a mode of Unix: stat(2).
    const TYPE: u32 = 0o170_000;
    let kinds = [0, 0o100_000, 0o040_000];
    if encrypted {
        Some("it is encrypted, which this format does not allow")
    } else if name.contains('\0') {
        Some("its name has a NUL character")
    } else if name.starts_with(['/', '\\']) || name.get(1..3) == Some(":\\") {
        Some("its name is an absolute path")
    } else if name.split(['/', '\\']).any(|part| part == "..") {
        Some("its name leads out of the archive")
    } else if mode.is_some_and(|mode| !kinds.contains(&(mode & TYPE))) {
        Some("it is a link or a device")
    } else {
        None
    }
}

/// The errors of the zip crate name no content.
fn malformed(place: &str, error: ZipError) -> ImportError {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => ImportError::Io(error),
        error => ImportError::malformed(place, error.to_string()),
    }
}

/// A content that has to have a number of bytes.
struct Exactly<'a, R> {
    content: R,
    left: u64,
    place: &'a str,
}

impl<R: Read> Read for Exactly<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let lying = |how| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: it is {how} than the archive says", self.place),
            )
        };
        let n = self
            .content
            .read(buffer)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.place)))?;
        match self.left.checked_sub(n as u64) {
            None => Err(lying("longer")),
            Some(left) if n == 0 && left > 0 && !buffer.is_empty() => Err(lying("shorter")),
            Some(left) => {
                self.left = left;
                Ok(n)
            }
        }
    }
}

/// A file that several readers read, each from a position of its own.
#[derive(Clone)]
struct SharedFile {
    file: Arc<File>,
    length: u64,
    at: u64,
}

impl SharedFile {
    fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            length,
            at: 0,
        })
    }
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(fill: impl FnOnce(&mut ZipWriter<&mut File>)) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut zip = ZipWriter::new(&mut file);
        fill(&mut zip);
        zip.finish().unwrap();
        file
    }

    fn all_of(archive: &Archive, name: &str) -> Result<Vec<u8>, ImportError> {
        let mut bytes = Vec::new();
        archive.read(name, &mut |content| {
            content.read_to_end(&mut bytes)?;
            Ok(())
        })?;
        Ok(bytes)
    }

    #[test]
    fn members_are_read_in_any_order() {
        let file = archive(|zip| {
            for name in ["a", "files/b"] {
                zip.start_file(name, SimpleFileOptions::default()).unwrap();
                zip.write_all(name.repeat(1000).as_bytes()).unwrap();
            }
        });
        let archive = Archive::open(file).unwrap();
        assert_eq!(archive.size("files/b"), Some(7000));
        assert_eq!(all_of(&archive, "files/b").unwrap(), "files/b".repeat(1000).as_bytes());
        assert_eq!(all_of(&archive, "a").unwrap(), "a".repeat(1000).as_bytes());
        assert!(all_of(&archive, "c").unwrap_err().to_string().contains("lacks it"));
    }

    #[test]
    fn names_that_lead_elsewhere_and_links_are_refused() {
        for name in [
            "../a",
            "files/../../a",
            "/etc/passwd",
            "\\\\host\\a",
            "C:\\a",
            "a\\..\\b",
        ] {
            assert!(refusal(name, None, false).is_some(), "{name}");
        }
        assert!(refusal("a\0b", None, false).is_some());
        assert!(refusal("a", Some(0o120_777), false).is_some());
        assert!(refusal("a", None, true).is_some());
        for name in ["export.data", "files/a..b", "files/x___..txt"] {
            assert_eq!(refusal(name, Some(0o100_644), false), None, "{name}");
        }
        let file = archive(|zip| {
            zip.add_symlink("files/x", "/etc/passwd", SimpleFileOptions::default())
                .unwrap();
        });
        let error = Archive::open(file).err().unwrap().to_string();
        assert!(error.contains("files/x") && error.contains("link"), "{error}");
    }

    #[test]
    fn a_member_that_lies_about_its_size_fails() {
        let mut file = archive(|zip| {
            zip.start_file("bomb", SimpleFileOptions::default()).unwrap();
            zip.write_all(&vec![0; 1 << 20]).unwrap();
        });
        // The length before compression is at byte 24 of the member's entry in the directory (APPNOTE.TXT, 4.3.12).
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let entry = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        for lie in [10_u32, 1 << 21] {
            bytes[entry + 24..entry + 28].copy_from_slice(&lie.to_le_bytes());
            let mut lying = tempfile::tempfile().unwrap();
            lying.write_all(&bytes).unwrap();
            let error = all_of(&Archive::open(lying).unwrap(), "bomb").unwrap_err().to_string();
            assert!(error.contains("bomb") && error.contains("than"), "{error}");
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"PK\x03\x04 and nothing else").unwrap();
        assert!(matches!(Archive::open(file), Err(ImportError::Malformed { .. })));
    }
}
