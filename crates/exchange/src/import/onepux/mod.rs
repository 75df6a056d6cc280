//! 1PUX, the format that 1Password's desktop programs export: a ZIP archive with `export.attributes`, `export.data` (JSON), and
//! `files/<document id>__<file name>`. <https://support.1password.com/1pux-format/> describes it.

mod convert;
mod raw;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use std::collections::HashMap;
use std::io::Read;

use self::convert::Converter;
use self::walk::{Sink, walk};
use super::archive::Archive;
use super::{Entry, ImportError, ImportedFile, ImportedVault, Source};

const DATA: &str = "export.data";
const ATTRIBUTES: &str = "export.attributes";
const FILES: &str = "files/";

/// An export that is open.
pub(crate) struct OnePux {
    archive: Archive,
    /// The member with the content of each document, by the document's id.
    documents: HashMap<String, String>,
}

impl OnePux {
    /// Whether the archive is of this format.
    pub(crate) fn recognises(archive: &Archive) -> bool {
        archive.size(DATA).is_some() && archive.size(ATTRIBUTES).is_some()
    }

    pub(crate) fn open(archive: Archive) -> Result<Self, ImportError> {
        let mut documents = HashMap::new();
        for name in archive.names() {
            let Some((id, _)) = name.strip_prefix(FILES).and_then(|rest| rest.split_once("__")) else {
                continue;
            };
            if documents.insert(id.to_owned(), name.to_owned()).is_some() {
                let place = format!("document {} of the archive", sidevault_model::printable(id));
                return Err(ImportError::malformed(place, "the archive has it twice"));
            }
        }
        Ok(Self { archive, documents })
    }

    fn walk(&self, sink: &mut dyn Sink) -> Result<(), ImportError> {
        self.archive.read(DATA, &mut |data| walk(data, sink))
    }
}

impl Source for OnePux {
    fn vaults(&self) -> Result<Vec<ImportedVault>, ImportError> {
        struct Vaults(Vec<ImportedVault>);
        impl Sink for Vaults {
            fn wants_items(&self) -> bool {
                false
            }

            fn vault(&mut self, vault: raw::VaultAttributes) {
                self.0.push(ImportedVault {
                    source_id: vault.uuid,
                    name: vault.name,
                    description: Some(vault.desc).filter(|text| !text.is_empty()),
                });
            }

            fn item(&mut self, _: usize, _: raw::Item) -> Result<(), ImportError> {
                Ok(())
            }
        }
        let mut vaults = Vaults(Vec::new());
        self.walk(&mut vaults)?;
        Ok(vaults.0)
    }

    fn items(&self, each: &mut dyn FnMut(Entry) -> Result<(), ImportError>) -> Result<(), ImportError> {
        struct Items<'a> {
            converter: Converter<'a>,
            each: &'a mut dyn FnMut(Entry) -> Result<(), ImportError>,
        }
        impl Sink for Items<'_> {
            fn wants_items(&self) -> bool {
                true
            }

            fn vault(&mut self, _: raw::VaultAttributes) {}

            fn item(&mut self, vault: usize, item: raw::Item) -> Result<(), ImportError> {
                (self.each)(self.converter.entry(vault, item))
            }
        }
        let size_of = |document: &str| {
            let place = self.documents.get(document)?;
            Some((place.clone(), self.archive.size(place)?))
        };
        self.walk(&mut Items {
            converter: Converter { document: &size_of },
            each,
        })
    }

    fn content(
        &self,
        file: &ImportedFile,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        self.archive.read(&file.place, read)
    }
}
