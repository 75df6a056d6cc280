//! Bitwarden and Vaultwarden: JSON, a ZIP archive of the JSON and the attachments, and JSON that is encrypted with a password.
//! The forms are those of `libs/tools/export` and `libs/importer` in bitwarden/clients.

mod convert;
mod protected;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::value::RawValue;

use self::protected::Envelope;
use super::archive::Archive;
use super::json::Members;
use super::lenient::json_error;
use super::whole::{self, Contents, Whole};
use super::{Entry, Groups, ImportError, ImportedFile, ImportedVault, Options};

const DATA: &str = "data.json";
const ATTACHMENTS: &str = "attachments/";
const FORM: &str = "a member has not the form that Bitwarden gives it";

/// The vault of items that are in no folder and no collection.
const NO_GROUP: &str = "Bitwarden";

/// Whether the archive is of this format.
pub(super) fn recognises(archive: &Archive) -> bool {
    archive.size(DATA).is_some()
}

/// Whether the JSON is of this format.
pub(super) fn recognises_json(members: &Members<'_>) -> bool {
    let is_flag = |value: &RawValue| matches!(value.get(), "true" | "false");
    members.get("encrypted").is_some_and(|value| is_flag(value))
}

/// Reads an archive.
pub(super) fn open_archive(archive: Archive, options: &Options<'_>) -> Result<Whole, ImportError> {
    if archive.size(DATA).is_some_and(|size| size > whole::MAX_BYTES) {
        return Err(ImportError::TooLarge {
            what: DATA.to_owned(),
            limit: whole::MAX_BYTES,
        });
    }
    let mut data = zeroize::Zeroizing::new(Vec::new());
    archive.read(DATA, &mut |content| {
        content.read_to_end(&mut data)?;
        Ok(())
    })?;
    let mut attachments: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut names: Vec<&str> = archive.names().filter(|name| !name.ends_with('/')).collect();
    names.sort_unstable();
    for place in names {
        if let Some((item, _)) = place.strip_prefix(ATTACHMENTS).and_then(|rest| rest.split_once('/')) {
            attachments.entry(item).or_default().push(place);
        }
    }
    let mut whole = read(&data, options)?;
    for entry in &mut whole.entries {
        let Entry::Item(item) = entry else { continue };
        for place in attachments.remove(item.source_id.as_str()).unwrap_or_default() {
            let name = &place[ATTACHMENTS.len() + item.source_id.len() + 1..];
            item.files.push(ImportedFile {
                source_id: name.to_owned(),
                name: name.to_owned(),
                size: archive.size(place).unwrap_or_default(),
                section: None,
                place: place.to_owned(),
            });
        }
    }
    whole.contents = Contents::Archive(archive);
    Ok(whole)
}

/// Reads JSON, encrypted or not.
pub(super) fn read(data: &[u8], options: &Options<'_>) -> Result<Whole, ImportError> {
    let envelope: Envelope = serde_json::from_slice(data).map_err(|error| json_error("the export", error, FORM))?;
    if !envelope.encrypted {
        return convert(data, options);
    }
    if !envelope.password_protected {
        return Err(ImportError::Format(
            "the export is encrypted with the key of a Bitwarden account, so that only this account can read it. Export again: choose \
             \"password protected\" in place of \"account restricted\", or the file type .json or .zip. With Bitwarden's command line: \
             bw export --format encrypted_json --password PASSWORD"
                .to_owned(),
        ));
    }
    let opened = envelope.open(&(options.password)("the export")?)?;
    convert(&opened, options)
}

fn convert(data: &[u8], options: &Options<'_>) -> Result<Whole, ImportError> {
    let export: raw::Export = serde_json::from_slice(data).map_err(|error| json_error("the export", error, FORM))?;
    if export.encrypted {
        return Err(ImportError::malformed("the export", "it is encrypted twice"));
    }
    let groups = Placement::of(&export, options.groups);
    let mut entries = Vec::with_capacity(export.items.len());
    let mut known = HashSet::new();
    for item in export.items {
        if !known.insert(item.id.clone()) && !item.id.is_empty() {
            return Err(ImportError::malformed(
                format!("item {}", sidevault_model::printable(&item.id)),
                "the export has it twice",
            ));
        }
        let (vault, tags) = groups.of_item(&item);
        entries.push(convert::entry(vault, item, &tags));
    }
    Ok(Whole {
        vaults: groups.vaults,
        entries,
        contents: Contents::Memory(HashMap::new()),
    })
}

/// Which vault and tags the folders and collections become.
struct Placement {
    vaults: Vec<ImportedVault>,
    /// By the id of a folder or collection: its vault, if it has one, and its name.
    groups: HashMap<String, (Option<usize>, String)>,
    /// The vault for items without a folder.
    others: usize,
}

impl Placement {
    fn of(export: &raw::Export, as_what: Groups) -> Self {
        let mut placement = Self {
            vaults: Vec::new(),
            groups: HashMap::new(),
            others: 0,
        };
        for group in export.folders.iter().chain(&export.collections) {
            let vault = (as_what == Groups::Vaults).then(|| placement.vault(&group.id, &group.name));
            placement.groups.insert(group.id.clone(), (vault, group.name.clone()));
        }
        placement.others = placement.vaults.len();
        if export.items.iter().any(|item| placement.vault_of(item).is_none()) {
            placement.vault(NO_GROUP, NO_GROUP);
        }
        placement
    }

    fn vault(&mut self, id: &str, name: &str) -> usize {
        self.vaults.push(ImportedVault {
            source_id: id.to_owned(),
            name: name.to_owned(),
            description: None,
        });
        self.vaults.len() - 1
    }

    fn groups_of<'a>(&'a self, item: &'a raw::Item) -> impl Iterator<Item = &'a (Option<usize>, String)> {
        let ids = std::iter::once(&item.folder_id).chain(&item.collection_ids);
        ids.filter_map(|id| self.groups.get(id))
    }

    fn vault_of(&self, item: &raw::Item) -> Option<usize> {
        self.groups_of(item).find_map(|(vault, _)| *vault)
    }

    /// The vault, and the names that become tags: those of the groups that are not its vault.
    fn of_item(&self, item: &raw::Item) -> (usize, Vec<String>) {
        let vault = self.vault_of(item).unwrap_or(self.others);
        let others = self.groups_of(item).filter(|(of_group, _)| *of_group != Some(vault));
        (vault, others.map(|(_, name)| name.clone()).collect())
    }
}
