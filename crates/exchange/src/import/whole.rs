//! Exports that a reader converts at once, because their formats can be read in no other way: they are encrypted as a whole, or name
//! folders behind the items.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;

use zeroize::Zeroizing;

use super::archive::Archive;
use super::{Entry, ImportError, ImportedFile, ImportedVault, Source};

/// The most bytes of an export that is read at once.
pub(crate) const MAX_BYTES: u64 = 256 << 20;

/// How many bytes are read in one call.
const PIECE: usize = 1 << 16;

/// All of a file, which has at most [`MAX_BYTES`].
pub(crate) fn read(file: &File) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let length = file.metadata()?.len();
    let too_large = || ImportError::TooLarge {
        what: "an export of this format".to_owned(),
        limit: MAX_BYTES,
    };
    if length > MAX_BYTES {
        return Err(too_large());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1));
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    loop {
        let n = file.read_at(&mut piece, bytes.len() as u64)?;
        if n == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&piece[..n]);
        if bytes.len() as u64 > MAX_BYTES {
            return Err(too_large());
        }
    }
}

/// Where the contents of files are.
pub(crate) enum Contents {
    /// In members of an archive.
    Archive(Archive),
    /// In memory.
    Memory(HashMap<String, Zeroizing<Vec<u8>>>),
}

/// An export that is in memory.
pub(crate) struct Whole {
    pub(crate) vaults: Vec<ImportedVault>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) contents: Contents,
}

impl Source for Whole {
    fn vaults(&self) -> Result<Vec<ImportedVault>, ImportError> {
        Ok(self.vaults.clone())
    }

    fn items(&self, each: &mut dyn FnMut(Entry) -> Result<(), ImportError>) -> Result<(), ImportError> {
        self.entries.iter().cloned().try_for_each(each)
    }

    fn content(
        &self,
        file: &ImportedFile,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        match &self.contents {
            Contents::Archive(archive) => archive.read(&file.place, read),
            Contents::Memory(contents) => match contents.get(&file.place) {
                Some(content) => read(&mut &content[..]),
                None => Err(ImportError::malformed(&file.place, "the export lacks this file")),
            },
        }
    }
}
