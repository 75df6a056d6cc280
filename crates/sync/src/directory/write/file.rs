//! A file of the tree that a client writes to: reads it, changes it in memory, checks the result, and replaces it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use sidevault_model::Item;
use sidevault_sops::{Document, Format, Identities, Value};
use unicode_normalization::UnicodeNormalization as _;

use super::super::beneath::{FileStamp, Root};
use super::super::draft::read_documents;
use super::super::folder::FileSettings;
use super::super::read::{RawFile, ReadError, load};
use super::super::tree::{FoundFile, open_root};
use super::changes::Changes;
use super::places::ItemPlace;
use super::refusal::FileError;
use super::replace;
use crate::config::DirectorySource;
use crate::git::ServedTree;

/// Which of a file's items is meant.
#[derive(Clone, Copy)]
pub(super) struct ItemOfFile {
    /// Its number, counted from 0.
    pub(super) n: usize,
    /// How many items the file has.
    pub(super) of: usize,
}

/// A file, as it was when the write began.
pub(super) struct HeldFile {
    pub(super) found: FoundFile,
    pub(super) root: Arc<Root>,
    pub(super) digest: [u8; 32],
    /// The tree that the file is of, if the source is a Git repository.
    pub(super) tree: Option<ServedTree>,
}

/// What a file is to become.
pub(super) struct Edited {
    pub(super) bytes: Vec<u8>,
    /// Of the file that this was made of.
    stamp: FileStamp,
}

impl HeldFile {
    /// Opens a file of which `.sidevault.yaml` files say `settings`.
    pub(super) fn open(
        source: &DirectorySource,
        path: PathBuf,
        settings: Arc<FileSettings>,
    ) -> Result<Self, FileError> {
        // If another commit takes this one's place meanwhile, the write begins anew.
        let (root, tree) = open_root(source).map_err(FileError::Write)?;
        let mut opened = root.file(&path)?;
        let names = path.iter().map(|name| name.to_string_lossy().nfc().collect());
        let names: Vec<String> = names.collect();
        let found = FoundFile::at(source, path, &names, opened.stamp, settings);
        let digest = load(&found, &mut opened)?.digest;
        Ok(Self {
            found,
            root: Arc::new(root),
            digest,
            tree,
        })
    }

    /// What the file must become for one of its items to be `wanted`; `None` if it is that already.
    ///
    /// # Errors
    /// If the file can't hold `wanted`, or is not as it was when the write began.
    pub(super) fn edited(
        &self,
        place: ItemOfFile,
        old: &Item,
        wanted: &Item,
        identities: &Identities,
    ) -> Result<Option<Edited>, FileError> {
        let (raw, stamp) = self.load()?;
        let format = Format::from_path(&self.found.path);
        let not_a_tree = || {
            FileError::NotKept(
                "this item is a file whose bytes are its content, and the API has no way to upload files; change the file itself"
                    .to_owned(),
            )
        };
        let bytes = raw.bytes.as_deref().ok_or_else(not_a_tree)?;
        let before = tree(format, bytes, identities)?.ok_or_else(not_a_tree)?;
        let item = ItemPlace::find(&before, place.n).ok_or(FileError::Changed)?;
        let changes = Changes::between(&item, old, wanted)?;
        let new = if raw.sealed {
            sidevault_sops::edit(format, bytes, identities, &changes.edits, Timestamp::now())?
        } else {
            sidevault_sops::edit_plaintext(format, bytes, &changes.edits)?
        };
        if new == bytes {
            return Ok(None);
        }
        let after = tree(format, &new, identities)?.ok_or_else(not_a_tree)?;
        changes.verify(place.n, &read_documents(&before)?, &read_documents(&after)?)?;
        Ok(Some(Edited { bytes: new, stamp }))
    }

    /// Writes the file. If that fails, it is as it was.
    pub(super) fn replace(&self, edited: &Edited) -> Result<(), FileError> {
        replace::replace(&self.root, &self.found.path, &edited.stamp, &edited.bytes)
    }

    /// Refuses to remove the file of an item that is not all of it.
    pub(super) fn require_whole(place: ItemOfFile) -> Result<(), FileError> {
        if place.of > 1 {
            return Err(FileError::NotKept(format!(
                "the file has {} items, and a whole file only can be deleted; remove this document with `sops edit`",
                place.of
            )));
        }
        Ok(())
    }

    /// Removes the file.
    pub(super) fn remove(&self) -> Result<(), FileError> {
        let (_, stamp) = self.load()?;
        replace::remove(&self.root, &self.found.path, &stamp)
    }

    /// Reads the file once more. The stamp is of what was read.
    fn load(&self) -> Result<(RawFile, FileStamp), FileError> {
        let mut opened = self.root.file(&self.found.path)?;
        let raw = load(&self.found, &mut opened)?;
        if raw.digest == self.digest {
            Ok((raw, opened.stamp))
        } else {
            Err(FileError::Changed)
        }
    }
}

/// The documents of a file; `None` for a binary file.
fn tree(format: Format, bytes: &[u8], identities: &Identities) -> Result<Option<Vec<Value>>, FileError> {
    Ok(match sidevault_sops::read(format, bytes, identities)?.document {
        Document::Tree(documents) => Some(documents),
        Document::Binary(_) => None,
    })
}

impl From<ReadError> for FileError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone => Self::Changed,
            ReadError::Bad(error) | ReadError::NoAgeKey(error) => Self::Unreadable(error),
            ReadError::Closed(closed) => Self::Fault(closed.to_string()),
        }
    }
}
