//! A password store that is encrypted with age (passage, and gopass with age), or not at all: a directory with a file for each entry.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sidevault_exchange::import::{
    Entry, Groups, ImportError, ImportedFile, ImportedItem, ImportedVault, Skipped, Source, pass_entry, pass_source_id,
};
use sidevault_model::{Category, printable};
use sidevault_sops::Identities;
use zeroize::Zeroizing;

use super::entries::stem;
use crate::exit::Failure;
use crate::input;

/// The most bytes of an entry. Stores keep larger files, too, but those of people's passwords are small.
const MAX_ENTRY: u64 = 16 << 20;

/// How deep directories may be nested.
const MAX_DEPTH: usize = 32;

const ENDING: &str = "age";

/// A store that is read.
pub(crate) struct PasswordStore {
    root: PathBuf,
    /// The paths of entries below the root, without their ending, in order.
    entries: Vec<String>,
    vaults: Vec<ImportedVault>,
    identities: Identities,
    groups: Groups,
}

/// Whether a directory is a password store, and in which way it is encrypted.
pub(crate) fn is_store(root: &Path) -> bool {
    [".age-recipients", ".age-ids", ".gpg-id"]
        .iter()
        .any(|name| root.join(name).exists())
}

impl PasswordStore {
    /// Lists a store.
    pub(crate) fn open(root: &Path, identities: Identities, groups: Groups) -> Result<Self, Failure> {
        if root.join(".gpg-id").exists() {
            return Err(Failure::Usage(format!(
                "{}: the entries of this store are encrypted with GnuPG, which this version can't read: re-encrypt the store with age \
                 (passage has a script for it), or import from a program that reads it",
                root.display()
            )));
        }
        if identities.is_empty() {
            return Err(Failure::Usage(format!(
                "{}: the entries are encrypted with age: name the file with your age key with --age-key-file",
                root.display()
            )));
        }
        let mut entries = Vec::new();
        let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", root.display()));
        list(root, "", 0, &mut entries).map_err(failed)?;
        entries.sort_unstable();
        let mut store = Self {
            root: root.to_owned(),
            entries,
            vaults: vec![named(&stem(root))],
            identities,
            groups,
        };
        for entry in store.entries.clone() {
            if let Some(name) = store.vault_name(&entry)
                && store.vaults.iter().all(|vault| vault.name != name)
            {
                store.vaults.push(named(name));
            }
        }
        Ok(store)
    }

    /// The directory at the top, which is a vault.
    fn vault_name<'a>(&self, entry: &'a str) -> Option<&'a str> {
        let (top, _) = entry.split_once('/')?;
        (self.groups == Groups::Vaults).then_some(top)
    }

    /// The vault of an entry, and what of its path becomes a tag.
    fn place<'a>(&self, entry: &'a str) -> (usize, &'a str) {
        let name = self.vault_name(entry);
        let vault = name.and_then(|name| self.vaults.iter().position(|vault| vault.name == name));
        let below = entry
            .strip_prefix(name.unwrap_or_default())
            .unwrap_or(entry)
            .trim_start_matches('/');
        (
            vault.unwrap_or_default(),
            below.rsplit_once('/').map_or("", |(folder, _)| folder),
        )
    }

    fn decrypted(&self, entry: &str) -> Result<Zeroizing<Vec<u8>>, String> {
        let bytes =
            input::file(&self.root.join(format!("{entry}.{ENDING}")), MAX_ENTRY).map_err(|error| error.to_string())?;
        self.identities
            .open_age(&bytes, MAX_ENTRY)
            .map_err(|error| error.to_string())
    }

    fn entry(&self, entry: &str) -> Entry {
        let (vault, folder) = self.place(entry);
        let text = match self.decrypted(entry) {
            Ok(text) => text,
            Err(error) => {
                return Entry::Skipped(Skipped {
                    source_id: entry.to_owned(),
                    vault,
                    reason: printable(&format!("{entry}: {error}")).into(),
                });
            }
        };
        if let Some(item) = pass_entry(entry, vault, folder, &text) {
            return Entry::Item(item);
        }
        let title = entry.rsplit('/').next().unwrap_or(entry);
        let mut item = ImportedItem::new(pass_source_id(entry), vault, title, Category::Document);
        item.tags
            .extend(Some(folder.to_owned()).filter(|folder| !folder.is_empty()));
        item.files.push(ImportedFile {
            source_id: pass_source_id(entry),
            name: title.to_owned(),
            size: text.len() as u64,
            section: None,
            place: entry.to_owned(),
        });
        Entry::Item(item)
    }
}

fn named(name: &str) -> ImportedVault {
    ImportedVault {
        source_id: name.to_owned(),
        name: name.to_owned(),
        description: None,
    }
}

/// Adds the entries below a directory. Hidden names and links are left out.
fn list(directory: &Path, below: &str, depth: usize, entries: &mut Vec<String>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!(
            "directories are nested more than {MAX_DEPTH} deep"
        )));
    }
    for found in fs::read_dir(directory)? {
        let found = found?;
        let name = found.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| io::Error::other("the name of a file is not UTF-8; rename it"))?;
        let path = format!("{below}{name}");
        let kind = found.file_type()?;
        if name.starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            list(&found.path(), &format!("{path}/"), depth + 1, entries)?;
        } else if let Some(entry) = path.strip_suffix(&format!(".{ENDING}")).filter(|_| kind.is_file()) {
            entries.push(entry.to_owned());
        }
    }
    Ok(())
}

impl Source for PasswordStore {
    fn vaults(&self) -> Result<Vec<ImportedVault>, ImportError> {
        Ok(self.vaults.clone())
    }

    fn items(&self, each: &mut dyn FnMut(Entry) -> Result<(), ImportError>) -> Result<(), ImportError> {
        self.entries.iter().try_for_each(|entry| each(self.entry(entry)))
    }

    fn content(
        &self,
        file: &ImportedFile,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let text = self
            .decrypted(&file.place)
            .map_err(|error| ImportError::malformed(printable(&file.place), error))?;
        if text.len() as u64 != file.size {
            return Err(ImportError::malformed(
                printable(&file.place),
                "it was changed since it was found",
            ));
        }
        read(&mut &text[..])
    }
}
