//! Files as an export: a directory with `.env` files, files of SOPS, manifests of Secrets and any other files, or one such file. The items
//! are those that a directory source of sync would make of them.

use std::io::Read;
use std::path::{Path, PathBuf};

use sidevault_exchange::import::{Entry, ImportError, ImportedFile, ImportedItem, ImportedVault, Skipped, Source};
use sidevault_keys::{Credentials, IdKey};
use sidevault_model::{Field, FieldType, Timestamp, printable};
use sidevault_sops::Format;
use sidevault_sync::{DirectoryFile, DirectoryItem, DirectoryOnce, DirectorySource, LeftOutBy};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::secrets::dotenv;

/// A directory that is read.
pub(crate) struct Directory {
    once: DirectoryOnce,
    vaults: Vec<ImportedVault>,
}

/// Ids that only tell the items of a directory apart, the same at every reading. The ids in the server are computed from them with the
/// server's keys.
fn names() -> IdKey {
    Credentials::from_seed(&[0; 32]).id_key()
}

impl Directory {
    /// Lists a directory.
    pub(crate) fn open(path: &Path, age_key_files: &[PathBuf]) -> Result<Self, Failure> {
        let mut source = DirectorySource::new(path);
        source.age_key_files = age_key_files.to_vec();
        DirectoryOnce::open(source, names())
            .map(Self::of)
            .map_err(Failure::Failed)
    }

    /// Opens one file, if its name is that of a format of SOPS, encrypted or not.
    pub(crate) fn of_file(path: &Path, age_key_files: &[PathBuf]) -> Option<Result<Self, Failure>> {
        let name = path.file_name().filter(|_| Format::from_path(path) != Format::Binary)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut source = DirectorySource::new(parent.unwrap_or(Path::new(".")));
        source.name = super::entries::stem(path);
        source.age_key_files = age_key_files.to_vec();
        let once = DirectoryOnce::open_file(source, name, names());
        Some(once.map(Self::of).map_err(Failure::Failed))
    }

    fn of(once: DirectoryOnce) -> Self {
        let mut vaults: Vec<ImportedVault> = Vec::new();
        for (_, name) in once.files() {
            if vaults.iter().all(|vault| vault.name != name) {
                vaults.push(ImportedVault {
                    source_id: name.to_owned(),
                    name: name.to_owned(),
                    description: None,
                });
            }
        }
        Self { once, vaults }
    }

    fn vault(&self, name: &str) -> usize {
        self.vaults
            .iter()
            .position(|vault| vault.name == name)
            .unwrap_or_default()
    }

    /// The items of a file.
    fn read(&self, number: usize, path: &str) -> Result<Vec<DirectoryItem>, String> {
        if Format::from_path(Path::new(path)) == Format::Dotenv
            && let Some(text) = self.once.plain_text(number)?.map(Zeroizing::new)
        {
            // A directory source takes every value as sops does, with its quotes. People write such files for shells and for docker
            // compose, which remove them.
            return self.once.item_of_fields(number, variables(&text)?);
        }
        self.once.items(number)
    }

    fn skipped(&self, vault: usize, path: &str, reason: &str) -> Entry {
        Entry::Skipped(Skipped {
            source_id: path.to_owned(),
            vault,
            reason: printable(&format!("{path}: {reason}")).into(),
        })
    }
}

impl Source for Directory {
    fn vaults(&self) -> Result<Vec<ImportedVault>, ImportError> {
        Ok(self.vaults.clone())
    }

    fn items(&self, each: &mut dyn FnMut(Entry) -> Result<(), ImportError>) -> Result<(), ImportError> {
        for (path, reason) in self.once.refused() {
            each(self.skipped(0, path, reason))?;
        }
        for left_out in self.once.left_out() {
            let reason = match left_out.by {
                LeftOutBy::Excluded => "the rules of the source leave it out",
                LeftOutBy::Ignored => "a .gitignore file leaves it out",
                LeftOutBy::Folder => "`ignore` of a folder leaves it out",
                LeftOutBy::Plaintext => "it is not encrypted, in a tree with encrypted files",
            };
            each(self.skipped(0, &left_out.path, reason))?;
        }
        for (number, (path, vault)) in self.once.files().enumerate() {
            let vault = self.vault(vault);
            match self.read(number, path) {
                Ok(items) => {
                    let modified = self.once.modified(number);
                    for item in items {
                        each(Entry::Item(imported(vault, number, modified, item)))?;
                    }
                }
                Err(error) => each(self.skipped(vault, path, &error))?,
            }
        }
        Ok(())
    }

    fn content(
        &self,
        file: &ImportedFile,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let gone = || {
            ImportError::malformed(
                printable(&file.name),
                "the file was changed or removed since it was found",
            )
        };
        let number = file.place.parse().map_err(|_| gone())?;
        let items = self
            .once
            .items(number)
            .map_err(|error| ImportError::malformed(printable(&file.name), error))?;
        let mut files = items.into_iter().flat_map(|item| item.files);
        let found = files.find(|other| source_id(other) == file.source_id && other.size == file.size);
        let mut content = found.ok_or_else(gone)?.content.take(file.size);
        read(&mut content)?;
        match content.limit() {
            0 => Ok(()),
            _ => Err(gone()),
        }
    }
}

/// The variables of an env file as fields, as `sidevault run --env-file` reads them.
fn variables(text: &[u8]) -> Result<Vec<Field>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let parsed = dotenv::parse(text).map_err(|flaw| flaw.to_string())?;
    let mut fields: Vec<Field> = Vec::with_capacity(parsed.len());
    for (name, value) in parsed {
        match fields.iter_mut().find(|field| field.id == name) {
            // The last one counts.
            Some(field) => field.value = value,
            None => fields.push(Field::new(&name, FieldType::Concealed, &name, value)),
        }
    }
    Ok(fields)
}

fn imported(vault: usize, number: usize, modified: Option<Timestamp>, item: DirectoryItem) -> ImportedItem {
    // Not in the form of an id, so that the server computes the item's id with its own keys.
    let mut imported = ImportedItem::new(format!("directory {}", item.id), vault, item.title, item.category);
    imported.updated_at = modified;
    imported.tags = item.tags;
    imported.sections = item.sections;
    imported.fields = item.fields;
    imported.files = item
        .files
        .iter()
        .map(|file| ImportedFile {
            source_id: source_id(file),
            name: file.name.clone(),
            size: file.size,
            section: None,
            place: number.to_string(),
        })
        .collect();
    imported
}

fn source_id(file: &DirectoryFile) -> String {
    format!("directory {}", file.id)
}
