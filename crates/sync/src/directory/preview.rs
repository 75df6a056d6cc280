//! Shows what a directory would become, without a store: the scanner's own listing, rules and parsers, and no writer.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::Serialize;
use sidevault_keys::IdKey;
use sidevault_model::{Category, Field, Section, filter};
use sidevault_sops::{Detector, Format, Identities};

use super::beneath::Root;
use super::draft::ItemDraft;
use super::identities::KeySources;
use super::kinds::{self, Recognized};
use super::once::{build, reason};
use super::read::{MAX_STRUCTURED_BYTES, is_note};
use super::sealed::SealedFiles;
use super::selection::{Encrypted, LeftOut};
use super::suspects::{self, Suspect};
use super::titles::TitleRule;
use super::tree::{FoundFile, list};
use crate::config::DirectorySource;

/// What a directory would become.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The items, ordered by the path of their files.
    pub items: Vec<PreviewItem>,
    /// The paths that can't be served, each with the reason.
    pub bad: BTreeMap<String, String>,
    /// The paths that the source's rules leave out.
    pub left_out: Vec<LeftOut>,
    /// The folders that the sources file names and the directory does not have.
    pub missing_folders: Vec<String>,
    /// Values of plaintext files that look like secrets, in a tree whose secrets are encrypted.
    pub suspects: Vec<Suspect>,
    /// Files of other programs that say how secrets of the tree are used.
    pub recognized: Vec<Recognized>,
    /// The titles that several items of one vault have. A client that looks one up gets an error.
    pub shared_titles: Vec<SharedTitle>,
}

/// An item, without values.
#[derive(Debug, Serialize)]
pub struct PreviewItem {
    /// The file's path in the tree.
    pub file: String,
    /// The vault's name.
    pub vault: String,
    /// The item's title.
    pub title: String,
    /// Its category.
    pub category: Category,
    /// Its tags.
    pub tags: Vec<String>,
    /// The labels of its fields; in a section, after the section's label and a dot.
    pub fields: Vec<String>,
    /// The names of its files.
    pub files: Vec<String>,
}

/// A title of several items.
#[derive(Debug, Serialize)]
pub struct SharedTitle {
    /// The vault's name.
    pub vault: String,
    /// The title.
    pub title: String,
    /// The file of each item; a file with several of them more than once.
    pub files: Vec<String>,
}

/// Reads a directory as a source of sync would, with the source's age keys and those that sops finds, and writes nothing.
///
/// # Errors
/// If the directory itself can't be listed.
pub fn preview(source: &DirectorySource, ids: &IdKey) -> Result<Preview, String> {
    let mut tree = list(source)?;
    let all = tree.files.clone();
    let mut sealed = SealedFiles::default();
    let is_plain_tree = sealed.choose(source, &mut tree) == Encrypted::Any;
    sealed.hand_over(&mut tree);
    let (mut suspects, mut recognized) = (Vec::new(), Vec::new());
    for found in &all {
        let Some(bytes) = plaintext(&tree.root, found) else {
            continue;
        };
        let format = Format::from_path(&found.path);
        recognized.extend(kinds::recognize(&found.relative, format, &bytes));
        if !is_plain_tree {
            suspects.extend(suspects::find(&found.relative, format, &bytes));
        }
    }
    let identities = KeySources::new(source.age_key_files.clone()).load(&source.name);
    let mut items = Vec::new();
    let refused = tree.refused.into_iter();
    let mut bad: BTreeMap<String, String> = refused.map(|(path, rejected)| (path, rejected.error)).collect();
    for found in &tree.files {
        match drafts(&tree.root, found, source.titles, &identities, ids) {
            Ok(drafts) => items.extend(drafts.into_iter().map(|draft| item(found, draft))),
            Err(error) => {
                bad.insert(found.relative.clone(), error);
            }
        }
    }
    let mut left_out = tree.left_out;
    left_out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Preview {
        shared_titles: shared_titles(&items),
        items,
        missing_folders: tree.missing_folders.into_iter().collect(),
        bad,
        left_out,
        suspects,
        recognized,
    })
}

fn drafts(
    root: &Root,
    found: &FoundFile,
    titles: TitleRule,
    identities: &Identities,
    ids: &IdKey,
) -> Result<Vec<ItemDraft>, String> {
    let read = || {
        let (loaded, opened) = found.read(root)?;
        build(found, &loaded.raw, opened, titles, identities, ids)
    };
    read().map(|built| built.drafts).map_err(reason)
}

/// The bytes of a file, if it is plaintext. A file that can't be read is named elsewhere.
fn plaintext(root: &Root, found: &FoundFile) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = root.file(&found.path).ok()?.file;
    file.take(MAX_STRUCTURED_BYTES).read_to_end(&mut bytes).ok()?;
    let mut detector = Detector::default();
    detector.feed(&bytes);
    (!detector.is_sealed() || is_note(found)).then_some(bytes)
}

fn item(found: &FoundFile, draft: ItemDraft) -> PreviewItem {
    let labels = draft.fields.iter().map(|field| label(field, &draft.sections));
    PreviewItem {
        file: found.relative.clone(),
        vault: found.vault.clone(),
        fields: labels.collect(),
        title: draft.title,
        category: draft.category,
        tags: draft.tags,
        files: draft.files.into_iter().map(|file| file.name).collect(),
    }
}

fn label(field: &Field, sections: &[Section]) -> String {
    let of_field = field.section.as_ref();
    let section = of_field.and_then(|own| sections.iter().find(|section| section.id == own.id));
    section.map_or_else(
        || field.label.clone(),
        |section| format!("{}.{}", section.label, field.label),
    )
}

/// The titles of several items. Titles and the names of vaults are compared as look-ups do, without regard to case.
fn shared_titles(items: &[PreviewItem]) -> Vec<SharedTitle> {
    let mut by_title: BTreeMap<_, Vec<&PreviewItem>> = BTreeMap::new();
    for item in items {
        let key = (filter::fold(&item.vault), filter::fold(&item.title));
        by_title.entry(key).or_default().push(item);
    }
    let several = by_title.into_values().filter(|items| items.len() > 1);
    several
        .map(|items| SharedTitle {
            vault: items[0].vault.clone(),
            title: items[0].title.clone(),
            files: items.iter().map(|item| item.file.clone()).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sidevault_keys::Credentials;

    use super::*;

    #[test]
    fn a_preview_has_labels_and_no_values_and_names_shared_titles_and_bad_files() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("media/plex/db.yaml", "token: hidden\ndb: {host: hidden}\n"),
            ("media/radarr/DB.yaml", "token: hidden\n"),
            ("media/bad.yaml", "a: [\n"),
            ("media/old.bak", "hidden\n"),
            (".gitignore", "*.bak\n"),
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let ids = Credentials::from_seed(&[1; 32]).id_key();
        let preview = preview(&DirectorySource::new(dir.path()), &ids).unwrap();
        let plex = &preview.items[0];
        let shown = [
            plex.vault.as_str(),
            &plex.title,
            &plex.fields.join(" "),
            &plex.tags.join(" "),
        ];
        assert_eq!(shown, ["media", "db", "token db.host", "plex"]);
        assert_eq!(preview.bad.keys().collect::<Vec<_>>(), ["media/bad.yaml"]);
        assert_eq!(preview.left_out[0].path, "media/old.bak");
        let shared = &preview.shared_titles[0];
        assert_eq!(shared.files, ["media/plex/db.yaml", "media/radarr/DB.yaml"]);
        assert!(!serde_json::to_string(&preview).unwrap().contains("hidden"));
        assert_eq!(preview.suspects, []);
    }

    #[test]
    fn plaintext_that_looks_like_a_secret_is_named_in_a_tree_with_encrypted_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("apps")).unwrap();
        fs::write(
            root.join("apps/values.yaml"),
            "grafana: {adminPassword: hidden-4Xq7Lz}\n",
        )
        .unwrap();
        fs::write(root.join("apps/notes.md"), "password: hidden-4Xq7Lz\n").unwrap();
        let ids = Credentials::from_seed(&[1; 32]).id_key();
        let suspects = || preview(&DirectorySource::new(root), &ids).unwrap().suspects;
        // The tree has nothing encrypted, so its plaintext is meant to be served.
        assert_eq!(suspects(), []);
        fs::write(root.join(".sops.yaml"), "creation_rules: []\n").unwrap();
        let found = suspects();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].file.as_str(), found[0].value.as_str()),
            ("apps/values.yaml", "grafana.adminPassword")
        );
        assert!(!serde_json::to_string(&found).unwrap().contains("hidden"));
    }
}
