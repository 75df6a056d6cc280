//! What is said of the items of the files in and below a folder: by a `.sidevault.yaml` in it, or by `folders` of the source in the
//! sources file.

use std::collections::BTreeMap;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::Deserialize;
use sidevault_model::{Category, FieldType, Timestamp, totp};
use unicode_normalization::UnicodeNormalization;

use super::draft::ItemDraft;
use super::titles::TitleRule;

/// The name of the file.
pub(crate) const FOLDER_FILE: &str = ".sidevault.yaml";

/// What folders say of one file.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct FileSettings {
    /// The vault, and how many names of the file's path lead to the folder that says so.
    pub(crate) vault: Option<(String, usize)>,
    /// How its items are titled, in place of the source's rule.
    pub(crate) rule: Option<TitleRule>,
    /// The title of its first item.
    pub(crate) title: Option<String>,
    category: Option<Category>,
    tags: Vec<String>,
    /// The types of fields, by label.
    fields: BTreeMap<String, FieldType>,
}

impl FileSettings {
    /// Changes an item as the settings say.
    ///
    /// # Errors
    /// If a field can't have the type that the settings give it. Names the field.
    pub(crate) fn apply(&self, item: &mut ItemDraft) -> Result<(), String> {
        for tag in &self.tags {
            if !item.tags.contains(tag) {
                item.tags.push(tag.clone());
            }
        }
        item.category = self.category.unwrap_or(item.category);
        for field in &mut item.fields {
            let section = field.section.as_ref();
            let section = section.and_then(|own| item.sections.iter().find(|section| section.id == own.id));
            let dotted = section.map(|section| format!("{}.{}", section.label, field.label));
            let wanted = dotted
                .and_then(|name| self.fields.get(&name))
                .or_else(|| self.fields.get(&field.label));
            let Some(wanted) = wanted else { continue };
            if *wanted == FieldType::Otp && totp::code(&field.value, Timestamp::now()).is_none() {
                return Err(format!(
                    "{FOLDER_FILE} or `folders` gives the field {} the type OTP, and its value is neither an otpauth:// address nor a base32 seed",
                    field.label
                ));
            }
            field.field_type = *wanted;
        }
        Ok(())
    }
}

/// The text of a `.sidevault.yaml`, and of an entry of `folders`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FolderText {
    vault: Option<String>,
    title: Option<TitleRule>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(default)]
    files: BTreeMap<String, FilesText>,
}

/// What it says of the files that a pattern matches.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesText {
    title: Option<String>,
    category: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
}

/// What is said of the files in and below a folder.
#[derive(Debug)]
pub(crate) struct Folder {
    /// How many names its path has.
    depth: usize,
    vault: Option<String>,
    rule: Option<TitleRule>,
    tags: Vec<String>,
    ignore: Gitignore,
    files: Vec<(Gitignore, FileSettings)>,
}

/// What is said of the folders on the way from the root to a directory.
#[derive(Default)]
pub(crate) struct Folders {
    stack: Vec<Arc<Folder>>,
    /// The settings of files of which no folder says anything: shared, because there may be 100,000.
    none: Arc<FileSettings>,
}

impl FolderText {
    /// Reads the text of a `.sidevault.yaml`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // serde needs a mapping, and an empty file has none.
        let text = if text.trim().is_empty() { "{}" } else { text };
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    /// What the text says of the folder at a path. `one_vault` is whether the source has one vault for the whole tree.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn of_folder(self, directory: &[String], one_vault: bool) -> Result<Folder, String> {
        if one_vault && self.vault.is_some() {
            return Err("`vault` is set, and the sources file gives this source one vault".to_owned());
        }
        if self.vault.as_ref().is_some_and(|vault| vault.trim().is_empty()) {
            return Err("`vault` is empty".to_owned());
        }
        let place = directory.join("/");
        let compile = |patterns: &[String]| -> Result<Gitignore, String> {
            let mut builder = GitignoreBuilder::new(&place);
            for pattern in patterns {
                let pattern: String = pattern.nfc().collect();
                builder.add_line(None, &pattern).map_err(|error| error.to_string())?;
            }
            builder.build().map_err(|error| error.to_string())
        };
        let mut files = Vec::with_capacity(self.files.len());
        for (pattern, said) in self.files {
            let settings = said.settings().map_err(|error| format!("files: {pattern}: {error}"))?;
            files.push((compile(&[pattern])?, settings));
        }
        Ok(Folder {
            depth: directory.len(),
            vault: self.vault,
            rule: self.title,
            tags: self.tags,
            ignore: compile(&self.ignore)?,
            files,
        })
    }
}

/// `folders` of a source: the path of each folder, relative to the source's directory, with what is said of it. `.` and an empty path
/// mean the source's directory itself. The result has the paths in composed form (NFC).
///
/// # Errors
/// If a path is none of a folder in the tree, is there twice, or what is said of it can't be used. Names the path.
pub(crate) fn given_folders(
    entries: BTreeMap<String, FolderText>,
    one_vault: bool,
) -> Result<BTreeMap<String, Arc<Folder>>, String> {
    let mut folders = BTreeMap::new();
    for (path, text) in entries {
        let composed: String = path.nfc().collect();
        let names: Vec<String> = match composed.trim_end_matches('/') {
            "" | "." => Vec::new(),
            names => names.split('/').map(str::to_owned).collect(),
        };
        if names.iter().any(|name| name.is_empty() || name.starts_with('.')) {
            return Err(format!(
                "folders: \"{path}\" must be the path of a folder in the source's directory, without hidden names"
            ));
        }
        let folder = text.of_folder(&names, one_vault);
        let folder = folder.map_err(|error| format!("folders: {path}: {error}"))?;
        if folders.insert(names.join("/"), Arc::new(folder)).is_some() {
            return Err(format!("folders: \"{path}\" is there twice"));
        }
    }
    Ok(folders)
}

impl Folders {
    /// Adds what is said of a directory below the others.
    pub(crate) fn push(&mut self, folder: Arc<Folder>) {
        self.stack.push(folder);
    }

    /// How many were added.
    pub(crate) fn len(&self) -> usize {
        self.stack.len()
    }

    /// Removes those that were added last, until this many are left.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.stack.truncate(len);
    }

    /// The vault that the last one with a vault gives.
    pub(crate) fn vault(&self) -> Option<&str> {
        self.stack.iter().rev().find_map(|folder| folder.vault.as_deref())
    }

    /// Whether `ignore` leaves a path out: the last one that has a pattern for it decides.
    pub(crate) fn ignore(&self, path: &str, is_dir: bool) -> bool {
        let mut matches = self
            .stack
            .iter()
            .rev()
            .map(|folder| folder.ignore.matched(path, is_dir));
        matches
            .find(|found| !found.is_none())
            .is_some_and(|found| found.is_ignore())
    }

    /// What is said of a file. A lower folder is stronger than one above it; tags are added. Of several patterns of one text, the last
    /// in alphabetical order that sets something counts.
    pub(crate) fn settings(&self, path: &str) -> Arc<FileSettings> {
        if self.stack.is_empty() {
            return self.none.clone();
        }
        let mut settings = FileSettings::default();
        for folder in &self.stack {
            if let Some(vault) = &folder.vault {
                settings.vault = Some((vault.clone(), folder.depth));
            }
            settings.rule = folder.rule.or(settings.rule);
            settings.tags.extend(folder.tags.iter().cloned());
            for (pattern, said) in &folder.files {
                if !matches!(pattern.matched_path_or_any_parents(path, false), Match::Ignore(_)) {
                    continue;
                }
                settings.title = said.title.clone().or(settings.title);
                settings.category = said.category.or(settings.category);
                settings.tags.extend(said.tags.iter().cloned());
                settings
                    .fields
                    .extend(said.fields.iter().map(|(name, kind)| (name.clone(), *kind)));
            }
        }
        Arc::new(settings)
    }
}

impl FilesText {
    fn settings(self) -> Result<FileSettings, String> {
        if self.title.as_ref().is_some_and(|title| title.trim().is_empty()) {
            return Err("`title` is empty".to_owned());
        }
        let category = match self.category {
            None => None,
            Some(word) => {
                let found = Category::from_word(&word);
                let found = found.filter(|category| !matches!(category, Category::Custom | Category::Document));
                Some(found.ok_or_else(|| format!("no item can have the category {word}"))?)
            }
        };
        let mut fields = BTreeMap::new();
        for (name, word) in self.fields {
            let found = FieldType::from_word(&word);
            // Other types have rules for their values, which a file of secrets does not keep.
            let found = found.filter(|kind| {
                matches!(
                    kind,
                    FieldType::String
                        | FieldType::Concealed
                        | FieldType::Email
                        | FieldType::Url
                        | FieldType::Otp
                        | FieldType::Phone
                )
            });
            let kind = found.ok_or_else(|| {
                format!("fields: {name}: {word} is none of STRING, CONCEALED, EMAIL, URL, OTP and PHONE")
            })?;
            fields.insert(name, kind);
        }
        Ok(FileSettings {
            title: self.title,
            category,
            tags: self.tags,
            fields,
            ..FileSettings::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Vec<String> {
        path.split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    fn push(folders: &mut Folders, directory: &[String], text: &str) {
        let folder = FolderText::parse(text).unwrap().of_folder(directory, false);
        folders.push(Arc::new(folder.unwrap()));
    }

    #[test]
    fn lower_folders_are_stronger_and_tags_are_added() {
        let mut folders = Folders::default();
        let top = "vault: home\ntitle: path\ntags: [home]\nignore: ['*.bak', 'tmp/']\n\
                   files:\n  '*.env': {category: API_CREDENTIAL, fields: {url: URL}}\n";
        push(&mut folders, &[], top);
        let below = "vault: media\ntags: [media]\nignore: ['!keep.bak']\nfiles:\n  /plex/secret.yaml: {title: plex}\n";
        push(&mut folders, &parts("apps/media"), below);
        push(&mut folders, &parts("apps/media/plex"), "");
        let settings = folders.settings("apps/media/plex/secret.yaml");
        assert_eq!(settings.vault, Some(("media".to_owned(), 2)));
        assert_eq!(
            (settings.rule, settings.title.as_deref()),
            (Some(TitleRule::Path), Some("plex"))
        );
        assert_eq!(settings.tags, ["home", "media"]);
        let settings = folders.settings("apps/media/plex/a.env");
        assert_eq!(
            (settings.category, &settings.title),
            (Some(Category::ApiCredential), &None)
        );
        for (path, is_dir, ignored) in [
            ("apps/media/a.bak", false, true),
            ("apps/media/keep.bak", false, false),
            ("apps/media/tmp", true, true),
            ("apps/media/tmp", false, false),
        ] {
            assert_eq!(folders.ignore(path, is_dir), ignored, "{path}");
        }
        folders.truncate(1);
        assert_eq!(folders.settings("apps/a.yaml").vault, Some(("home".to_owned(), 0)));
    }

    #[test]
    fn a_file_that_can_not_be_used_says_what_is_wrong() {
        for (text, wanted) in [
            ("vaults: x\n", "vaults"),
            ("vault: ''\n", "`vault` is empty"),
            ("title: best\n", "best"),
            (
                "files: {a: {category: DOCUMENT}}\n",
                "files: a: no item can have the category DOCUMENT",
            ),
            (
                "files: {a: {fields: {b: DATE}}}\n",
                "files: a: fields: b: DATE is none of",
            ),
            ("files: {a: {title: ''}}\n", "files: a: `title` is empty"),
            ("ignore: ['{a']\n", "{a"),
            ("- a\n", ""),
        ] {
            let error = FolderText::parse(text).and_then(|text| text.of_folder(&[], false));
            let error = error.unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let error = FolderText::parse("vault: x\n")
            .unwrap()
            .of_folder(&[], true)
            .unwrap_err();
        assert!(error.contains("one vault"), "{error}");
    }
}
