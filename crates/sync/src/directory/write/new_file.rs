//! The file of a new item.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::Mode;
use sidevault_keys::IdKey;
use sidevault_model::{FieldType, Item, Purpose, VaultId};
use sidevault_sops::{CreationRule, CreationRules, Document, Format, Identities, Value, plain_yaml, seal_by};

use super::super::beneath::{BeneathError, Directory, Entry, Root};
use super::super::draft::read_documents;
use super::super::folder::FOLDER_FILE;
use super::super::items::ItemBuilder;
use super::super::scanner::vault_id;
use super::super::selection::{Encrypted, MAX_RULES_BYTES};
use super::super::tree::{FoundFile, find};
use super::changes::{named_section, not_kept};
use super::file::HeldFile;
use super::refusal::FileError;
use super::replace;
use crate::config::DirectorySource;

/// Recipients of new files, if no `.sops.yaml` has a rule for them.
const RECIPIENTS: &str = "SOPS_AGE_RECIPIENTS";

/// The longest name of a new file, in bytes. Linux allows 255.
const MAX_NAME_BYTES: usize = 200;

/// What a new file is made of.
pub(super) struct NewFile {
    pub(super) source: Arc<DirectorySource>,
    pub(super) ids: IdKey,
    pub(super) vault: VaultId,
    pub(super) wanted: Item,
    /// The source's rule for plaintext.
    pub(super) encrypted: Encrypted,
    /// The folder whose `.sidevault.yaml` gives its files this vault, if there is one.
    pub(super) folder: Option<PathBuf>,
}

/// Where a new file goes, and how it is encrypted.
struct Place {
    /// The path in the tree.
    path: PathBuf,
    dir: Directory,
    name: OsString,
    /// `None` for plaintext.
    rule: Option<CreationRule>,
}

impl NewFile {
    /// Writes the file, and returns it as if it had been found.
    ///
    /// # Errors
    /// If a file can't hold the item, no rule says how to encrypt it, or it can't be written. Then there is no file.
    pub(super) fn create(&self) -> Result<HeldFile, FileError> {
        let (place, bytes, mode) = self.content()?;
        replace::create(place.dir.descriptor(), &place.name, Mode::from_raw_mode(mode), &bytes)?;
        let made = self.find(&place.path);
        if made.is_err() {
            replace::discard(place.dir.descriptor(), &place.name)?;
        }
        made
    }

    /// The path of the file, which does not exist, and its content, to be committed to a repository.
    ///
    /// # Errors
    /// As [`Self::create`]; [`FileError::Exists`] if there is a file of this name.
    pub(super) fn unwritten(&self) -> Result<(PathBuf, Vec<u8>), FileError> {
        let (place, bytes, _) = self.content()?;
        match place.dir.entry(&place.name) {
            Err(BeneathError::Missing) => Ok((place.path, bytes)),
            _ => Err(FileError::Exists),
        }
    }

    /// Checks that the source would find the file in the tree at `root`, and make the wanted item of it.
    pub(super) fn check_in(&self, root: &Path, path: &Path) -> Result<(), FileError> {
        let source = DirectorySource {
            path: root.to_owned(),
            ..(*self.source).clone()
        };
        self.find_of(&source, path).map(drop)
    }

    /// Where the file goes, its content, and its mode.
    fn content(&self) -> Result<(Place, Vec<u8>, u32), FileError> {
        self.refuse_what_follows_from_the_file()?;
        let document = self.document()?;
        let place = self.place()?;
        let (bytes, mode) = match &place.rule {
            Some(rule) => (seal_by(&document, rule, Timestamp::now())?, 0o644),
            None => (plain_yaml(&document)?, 0o600),
        };
        self.require_readable(&document)?;
        Ok((place, bytes, mode))
    }

    fn refuse_what_follows_from_the_file(&self) -> Result<(), FileError> {
        let wanted = &self.wanted;
        if !wanted.tags.is_empty() {
            return Err(not_kept("tags follow from the file's directory; leave them out"));
        }
        if !wanted.urls.is_empty() || wanted.favorite {
            return Err(not_kept("a file has no URLs and is no favourite; leave them out"));
        }
        let title = &wanted.title;
        let is_name = !title.is_empty() && title.len() <= MAX_NAME_BYTES && !title.starts_with('.');
        if is_name && !title.chars().any(|c| c == '/' || c.is_control()) {
            return Ok(());
        }
        Err(not_kept(format!(
            "the title becomes the file's name, so it needs 1 to {MAX_NAME_BYTES} bytes, no slash, no control characters, and no dot at \
             its start"
        )))
    }

    /// The fields as a mapping, with a mapping for each section.
    fn document(&self) -> Result<Value, FileError> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        for field in &self.wanted.fields {
            if field.purpose == Some(Purpose::Notes) && field.value.is_empty() {
                // The model adds empty notes to some categories.
                continue;
            }
            if field.field_type == FieldType::Otp {
                return Err(not_kept(
                    "a field of a file has no type, so it can't be a one-time password; keep this item in a local vault",
                ));
            }
            if field.label.is_empty() {
                return Err(not_kept("each field needs a label: it becomes the key in the file"));
            }
            let target = match named_section(field, &self.wanted) {
                None => &mut entries,
                Some(section) => section_of(&mut entries, &section)?,
            };
            if target.iter().any(|(key, _)| *key == field.label) {
                return Err(not_kept(format!(
                    "two fields are for the key {:?} of the file",
                    field.label
                )));
            }
            target.push((field.label.clone(), Value::String(field.value.clone())));
        }
        if entries.is_empty() {
            return Err(not_kept("an item needs a field: a file without any says nothing"));
        }
        Ok(Value::Mapping(entries))
    }

    /// Chooses the file's path by the source's rule for new items, and how it is encrypted by the creation rules above it.
    fn place(&self) -> Result<Place, FileError> {
        let root = Root::open(&self.source.path).map_err(FileError::Write)?;
        let top = root.directory()?;
        let directory = self.vault_directory(&top)?;
        let template = self.source.new_items.as_deref();
        let (path, rule) = {
            let path = self.path_in(&directory, template.unwrap_or("{title}.sops.yaml"));
            let rule = self.rule_for(&top, &path)?;
            match rule {
                None if template.is_none() => (self.path_in(&directory, "{title}.yaml"), None),
                rule => (path, rule),
            }
        };
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (parent, name.to_owned()),
            _ => return Err(not_kept("the source's rule for new items gives no path")),
        };
        let dir = enter_all(&top, parent)?;
        Ok(Place { path, dir, name, rule })
    }

    fn path_in(&self, directory: &Path, template: &str) -> PathBuf {
        directory.join(template.replace("{title}", &self.wanted.title))
    }

    /// The directory of the vault. If several directories are one vault, the first.
    fn vault_directory(&self, top: &Directory) -> Result<PathBuf, FileError> {
        if self.source.vaults.single.is_some() || vault_id(&self.ids, &self.source.name) == self.vault {
            return Ok(PathBuf::new());
        }
        for name in top.names().map_err(FileError::Write)? {
            let Some(text) = name.to_str().filter(|text| !text.starts_with('.')) else {
                continue;
            };
            let is_vault = vault_id(&self.ids, self.source.vaults.name_for(text)) == self.vault;
            if is_vault && matches!(top.entry(&name), Ok(Entry::Directory)) {
                return Ok(PathBuf::from(name));
            }
        }
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        Err(not_kept(format!(
            "no directory at the top of the tree has the vault's name, and no {FOLDER_FILE} with files gives them this vault; make one"
        )))
    }

    /// The creation rule for a path: of the nearest `.sops.yaml`, or else of SOPS_AGE_RECIPIENTS.
    fn rule_for(&self, top: &Directory, path: &Path) -> Result<Option<CreationRule>, FileError> {
        let parents: Vec<&Path> = path.ancestors().skip(1).collect();
        for parent in parents {
            let Some(text) = enter_all(top, parent)?.rules(".sops.yaml", MAX_RULES_BYTES)? else {
                continue;
            };
            let rules = CreationRules::parse(text.as_bytes());
            let rules = rules.map_err(|error| FileError::Unreadable(format!(".sops.yaml: {error}")))?;
            if rules.is_empty() {
                continue;
            }
            let below = path.strip_prefix(parent).unwrap_or(path).to_string_lossy().into_owned();
            match rules.into_rule_for(&below) {
                Some(rule) if rule.has_keys() => return Ok(Some(rule)),
                Some(_) if env::var_os(RECIPIENTS).is_some() => break,
                Some(rule) => return Ok(Some(rule)),
                None => {
                    return Err(not_kept(format!(
                        "no creation rule of .sops.yaml matches {}; add one, or set `newItems` of the source to a path that one \
                         matches",
                        path.display()
                    )));
                }
            }
        }
        if let Some(recipients) = env::var(RECIPIENTS).ok().filter(|text| !text.trim().is_empty()) {
            let rule = CreationRule::to_recipients(&recipients);
            return rule.map(Some).map_err(|error| FileError::Unreadable(error.to_string()));
        }
        if self.encrypted == Encrypted::Only {
            return Err(not_kept(
                "nothing says to which keys a new file is encrypted; add a .sops.yaml with creation rules to the source's directory, \
                 or set SOPS_AGE_RECIPIENTS",
            ));
        }
        Ok(None)
    }

    /// Checks that the item has the title and the vault that the client wants.
    fn require_title(&self, found: &FoundFile) -> Result<(), FileError> {
        let title = ItemBuilder::of(found, &self.ids, self.source.titles).title(None, 0);
        let relative = &found.relative;
        if title != self.wanted.title {
            return Err(not_kept(format!(
                "an item of {relative} would have the title {title:?}, by the source's rules; choose another title"
            )));
        }
        if vault_id(&self.ids, &found.vault) != self.vault {
            return Err(not_kept(format!(
                "an item of {relative} would be in the vault {:?}, by a {FOLDER_FILE}",
                found.vault
            )));
        }
        Ok(())
    }

    /// Checks that the document is read as the item that the client wants: a mapping with `apiVersion` and `kind` is a manifest,
    /// for example.
    fn require_readable(&self, document: &Value) -> Result<(), FileError> {
        let plain = plain_yaml(document)?;
        let read = sidevault_sops::read(Format::Yaml, &plain, &Identities::default())?;
        let values = |item: &Item| -> BTreeMap<(Option<String>, String), String> {
            let kept = item
                .fields
                .iter()
                .filter(|field| field.purpose != Some(Purpose::Notes) || !field.value.is_empty());
            kept.map(|field| ((named_section(field, item), field.label.clone()), field.value.clone()))
                .collect()
        };
        let same = match &read.document {
            Document::Tree(documents) => match &read_documents(documents)?[..] {
                [one] if one.name.is_none() => {
                    let fields = one.fields.iter().map(|field| {
                        let section = field.section.as_ref().map(|section| section.id.clone());
                        ((section, field.label.clone()), field.value.clone())
                    });
                    fields.collect::<BTreeMap<_, _>>() == values(&self.wanted)
                }
                _ => false,
            },
            Document::Binary(_) => false,
        };
        if same {
            Ok(())
        } else {
            Err(not_kept(
                "a file with these names would not be read as this item; choose other labels",
            ))
        }
    }

    /// Finds the new file in the tree.
    pub(super) fn find(&self, path: &Path) -> Result<HeldFile, FileError> {
        self.find_of(&self.source, path)
    }

    fn find_of(&self, source: &DirectorySource, path: &Path) -> Result<HeldFile, FileError> {
        if let Some(found) = find(source, path).map_err(FileError::Fault)? {
            self.require_title(&found)?;
            HeldFile::open(source, found.path, found.settings)
        } else {
            Err(not_kept(format!(
                "the source's rules leave {} out; choose another title, or another path with `newItems`",
                path.display()
            )))
        }
    }
}

/// The entries of a section, which is made if it is new.
fn section_of<'a>(
    entries: &'a mut Vec<(String, Value)>,
    section: &str,
) -> Result<&'a mut Vec<(String, Value)>, FileError> {
    let at = match entries.iter().position(|(key, _)| key == section) {
        Some(at) => at,
        None => {
            entries.push((section.to_owned(), Value::Mapping(Vec::new())));
            entries.len() - 1
        }
    };
    match &mut entries[at].1 {
        Value::Mapping(inner) => Ok(inner),
        _ => Err(not_kept(format!("a field and a section are both named {section:?}"))),
    }
}

/// Opens a directory of the tree. Links are not followed.
fn enter_all(top: &Directory, path: &Path) -> Result<Directory, FileError> {
    let mut dir = top.enter(OsStr::new("."))?;
    for name in path.iter() {
        dir = match dir.enter(name) {
            Err(BeneathError::Missing) => {
                return Err(not_kept(format!(
                    "there is no directory {}; make it first",
                    path.display()
                )));
            }
            entered => entered?,
        };
    }
    Ok(dir)
}
