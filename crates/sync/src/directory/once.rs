//! Reads a directory once, without a store: the scanner's own listing, rules and parsers, and no writer.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use sidevault_keys::IdKey;
use sidevault_model::{Category, Field, FileId, ItemId, Section, Timestamp};
use sidevault_sops::Identities;
use unicode_normalization::UnicodeNormalization as _;

use super::beneath::{BeneathError, Opened, Root};
use super::draft::ParsedDocument;
use super::identities::KeySources;
use super::items::{BuiltItems, ItemBuilder};
use super::read::{Contents, Loaded, RawFile, ReadError, parse};
use super::sealed::SealedFiles;
use super::selection::LeftOut;
use super::titles::TitleRule;
use super::tree::{FoundFile, Tree, list};
use crate::config::DirectorySource;

/// A directory as a source of sync would read it now, with the source's age keys and those that sops finds.
pub struct DirectoryOnce {
    source: DirectorySource,
    tree: Tree,
    /// The path, if it is one file only.
    named: Option<PathBuf>,
    identities: Identities,
    ids: IdKey,
}

/// An item of a file.
pub struct DirectoryItem {
    /// The id, which is computed from the vault's name and the file's path.
    pub id: ItemId,
    /// The title.
    pub title: String,
    /// The category.
    pub category: Category,
    /// The tags.
    pub tags: Vec<String>,
    /// The sections.
    pub sections: Vec<Section>,
    /// The fields.
    pub fields: Vec<Field>,
    /// The files, with their contents.
    pub files: Vec<DirectoryFile>,
}

/// A file of an item.
pub struct DirectoryFile {
    /// The id, which is computed from the item's and the file's name.
    pub id: FileId,
    /// The name.
    pub name: String,
    /// The length in bytes.
    pub size: u64,
    /// The content.
    pub content: Box<dyn Read + Send>,
}

impl DirectoryOnce {
    /// Lists a directory. Ids are computed with `ids`.
    ///
    /// # Errors
    /// If the directory itself can't be listed.
    pub fn open(source: DirectorySource, ids: IdKey) -> Result<Self, String> {
        let mut tree = list(&source)?;
        let mut sealed = SealedFiles::default();
        sealed.choose(&source, &mut tree);
        sealed.hand_over(&mut tree);
        let identities = KeySources::new(source.age_key_files.clone()).load(&source.name);
        Ok(Self {
            source,
            tree,
            named: None,
            identities,
            ids,
        })
    }

    /// Takes one file of the source's directory, which may be hidden, and no other.
    ///
    /// # Errors
    /// If the directory can't be opened, or has no such regular file.
    pub fn open_file(source: DirectorySource, name: &OsStr, ids: IdKey) -> Result<Self, String> {
        let named = source.path.join(name);
        let fail = |error: BeneathError| format!("{}: {error}", named.display());
        let root = Root::open(&source.path).map_err(|error| fail(error.into()))?;
        let found = FoundFile {
            path: PathBuf::from(name),
            relative: name.to_string_lossy().nfc().collect(),
            vault: source.name.clone(),
            directory: String::new(),
            stamp: Opened::named(&named).map_err(fail)?.stamp,
            settings: Arc::default(),
            loaded: None,
        };
        let identities = KeySources::new(source.age_key_files.clone()).load(&source.name);
        Ok(Self {
            tree: Tree::of_file(root, found),
            named: Some(named),
            source,
            identities,
            ids,
        })
    }

    /// Each file that may become items, by its path in the tree, and the name of its vault.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.tree.files.iter();
        files.map(|found| (found.relative.as_str(), found.vault.as_str()))
    }

    /// The paths that can't be read, each with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        let refused = self.tree.refused.iter();
        refused.map(|(path, rejected)| (path.as_str(), rejected.error.as_str()))
    }

    /// The paths that the source's rules leave out, in order.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let mut left_out = self.tree.left_out.clone();
        left_out.sort_by(|a, b| a.path.cmp(&b.path));
        left_out
    }

    /// When the file with this number in [`files`](Self::files) last changed.
    pub fn modified(&self, file: usize) -> Option<Timestamp> {
        let opened = self.open_found(self.tree.files.get(file)?).ok()?;
        let modified = opened.file.metadata().ok()?.modified().ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok().map(Timestamp::from_millis)
    }

    /// Reads the items of the file with this number in [`files`](Self::files).
    ///
    /// # Errors
    /// If the file can't be read, decrypted or parsed. The text has no value.
    pub fn items(&self, file: usize) -> Result<Vec<DirectoryItem>, String> {
        let Some(found) = self.tree.files.get(file) else {
            return Ok(Vec::new());
        };
        self.build(found).map(items).map_err(reason)
    }

    /// The item of the file with this number in [`files`](Self::files), with fields that the caller read from its
    /// [`plain_text`](Self::plain_text).
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn item_of_fields(&self, file: usize, fields: Vec<Field>) -> Result<Vec<DirectoryItem>, String> {
        let Some(found) = self.tree.files.get(file) else {
            return Ok(Vec::new());
        };
        let document = ParsedDocument {
            fields,
            ..ParsedDocument::default()
        };
        let read = || {
            let (loaded, opened) = self.read(found)?;
            let builder = ItemBuilder::of(found, &self.ids, self.source.titles);
            builder.build(Contents::Items(vec![document]), &loaded.raw, opened)
        };
        read().map(items).map_err(reason)
    }

    /// The bytes of a YAML, JSON, dotenv or INI file that is not encrypted. `None` for any other file.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn plain_text(&self, file: usize) -> Result<Option<Vec<u8>>, String> {
        let Some(found) = self.tree.files.get(file) else {
            return Ok(None);
        };
        let (loaded, _) = self.read(found).map_err(reason)?;
        Ok(loaded.raw.bytes.clone().filter(|_| !loaded.raw.sealed))
    }

    fn read(&self, found: &FoundFile) -> Result<(Arc<Loaded>, Option<Opened>), ReadError> {
        match &self.named {
            Some(path) => found.read_from(Opened::named(path)?),
            None => found.read(&self.tree.root),
        }
    }

    fn open_found(&self, found: &FoundFile) -> Result<Opened, BeneathError> {
        match &self.named {
            Some(path) => Opened::named(path),
            None => self.tree.root.file(&found.path),
        }
    }

    fn build(&self, found: &FoundFile) -> Result<BuiltItems, ReadError> {
        let (loaded, opened) = self.read(found)?;
        build(
            found,
            &loaded.raw,
            opened,
            self.source.titles,
            &self.identities,
            &self.ids,
        )
    }
}

/// Decrypts and parses a file, and builds its items.
pub(super) fn build(
    found: &FoundFile,
    raw: &RawFile,
    opened: Option<Opened>,
    titles: TitleRule,
    identities: &Identities,
    ids: &IdKey,
) -> Result<BuiltItems, ReadError> {
    let contents = parse(found, raw, identities)?;
    ItemBuilder::of(found, ids, titles).build(contents, raw, opened)
}

/// Why a file has no items, for people.
pub(super) fn reason(error: ReadError) -> String {
    match error {
        ReadError::Bad(error) | ReadError::NoAgeKey(error) => error,
        ReadError::Gone | ReadError::Closed(_) => "the file was removed while it was read".to_owned(),
    }
}

fn items(built: BuiltItems) -> Vec<DirectoryItem> {
    let mut uploads = built.uploads;
    let drafts = built.drafts.into_iter();
    drafts
        .map(|draft| DirectoryItem {
            id: draft.id,
            title: draft.title,
            category: draft.category,
            tags: draft.tags,
            sections: draft.sections,
            fields: draft.fields,
            files: draft
                .files
                .into_iter()
                .filter_map(|file| {
                    let at = uploads.iter().position(|upload| upload.content == file.content)?;
                    Some(DirectoryFile {
                        id: file.id,
                        name: file.name,
                        size: file.size,
                        content: uploads.swap_remove(at).bytes,
                    })
                })
                .collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use sidevault_keys::Credentials;

    use super::*;

    #[test]
    fn a_file_that_was_read_to_find_the_encrypted_ones_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "k: v\n").unwrap();
        let ids = Credentials::from_seed(&[1; 32]).id_key();
        let once = DirectoryOnce::open(DirectorySource::new(dir.path()), ids).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(once.items(0).unwrap()[0].fields[0].value, "v");
    }
}
