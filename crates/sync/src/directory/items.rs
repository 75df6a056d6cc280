//! Builds the items of a file: ids, titles, tags, and the contents that must be in the store before them.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{Cursor, Read, Seek};

use serde_json::json;
use sidevault_keys::IdKey;
use sidevault_model::{Category, ItemId, VaultId, categorize, tree_path};

use super::beneath::Opened;
use super::content::{self, Upload};
use super::draft::{FileDraft, ItemDraft, ParsedDocument, SecretName, content_id};
use super::folder::FileSettings;
use super::read::{Contents, RawFile, ReadError};
use super::scanner::vault_id;
use super::titles::TitleRule;
use super::tree::FoundFile;

/// The items of a file.
#[derive(Default)]
pub(crate) struct BuiltItems {
    pub(crate) drafts: Vec<ItemDraft>,
    /// The contents of the items' files.
    pub(crate) uploads: Vec<Upload>,
}

/// Builds the items of one file.
pub(crate) struct ItemBuilder<'a> {
    ids: &'a IdKey,
    vault: VaultId,
    /// The file's path in the tree.
    relative: &'a str,
    /// The path of the file's directory in its vault; empty at the top of the vault.
    directory: &'a str,
    settings: &'a FileSettings,
    titles: TitleRule,
}

impl<'a> ItemBuilder<'a> {
    /// The builder of a file's items.
    pub(crate) fn of(found: &'a FoundFile, ids: &'a IdKey, titles: TitleRule) -> Self {
        Self {
            ids,
            vault: vault_id(ids, &found.vault),
            relative: &found.relative,
            directory: &found.directory,
            settings: &found.settings,
            titles: found.settings.rule.unwrap_or(titles),
        }
    }

    /// The title of the `n`-th item, counted from 0, of a file with documents. `name` is what the document names itself.
    pub(crate) fn title(&self, name: Option<&SecretName>, n: usize) -> String {
        match &self.settings.title {
            Some(chosen) => TitleRule::chosen(chosen, n),
            None => self.titles.of_document(self.relative, self.directory, name, n),
        }
    }

    /// Builds the items. The bytes of a file that is a DOCUMENT and not encrypted are read later, from `opened`.
    pub(crate) fn build(
        &self,
        contents: Contents,
        raw: &RawFile,
        opened: Option<Opened>,
    ) -> Result<BuiltItems, ReadError> {
        let mut built = BuiltItems::default();
        match contents {
            Contents::Items(parsed) => {
                let names: Vec<Option<SecretName>> = parsed.iter().map(|document| document.name.clone()).collect();
                for (n, (document, before)) in parsed.into_iter().zip(occurrences(names)).enumerate() {
                    self.item(&mut built, n, before, document);
                }
            }
            Contents::Decrypted(bytes) => {
                let (digest, size) = (content::digest_of(&bytes), bytes.len() as u64);
                self.document(&mut built, digest, size, Box::new(Cursor::new(bytes)));
            }
            Contents::Plain { size } => {
                let mut opened = opened.ok_or(ReadError::Gone)?;
                opened.file.rewind()?;
                self.document(&mut built, raw.digest, size, Box::new(opened.file));
            }
        }
        for draft in &mut built.drafts {
            self.settings.apply(draft).map_err(ReadError::Bad)?;
        }
        Ok(built)
    }

    /// Builds the item of the `n`-th document. `before` is how many documents above it have the same name.
    fn item(&self, built: &mut BuiltItems, n: usize, before: usize, mut document: ParsedDocument) {
        let id = self.item_id(n, before, document.name.as_ref());
        let category = categorize(&mut document.fields);
        let title = self.title(document.name.as_ref(), n);
        let path = self.path(if document.name.is_some() { 0 } else { n });
        let tags = self.tags(document.name.and_then(|name| name.namespace));
        let files = document.binaries.into_iter().map(|binary| {
            let (digest, size) = (content::digest_of(&binary.bytes), binary.bytes.len() as u64);
            let content = content_id(self.ids, self.vault, id, &binary.id, &digest);
            built.uploads.push(Upload {
                content,
                digest,
                size,
                bytes: Box::new(Cursor::new(binary.bytes)),
            });
            FileDraft {
                id: self.ids.file(self.vault, id, &binary.id),
                name: binary.name,
                size,
                content,
            }
        });
        let files = files.collect();
        built.drafts.push(ItemDraft {
            id,
            title,
            path,
            category,
            tags,
            sections: document.sections,
            fields: document.fields,
            files,
        });
    }

    /// The path by which an item of this file is looked up. It has the number of a document that has no name, as the title does. It
    /// depends on no more than the item's id does, so it stays while the item exists.
    fn path(&self, n: usize) -> String {
        let path = tree_path::comparable(self.relative);
        if n == 0 { path } else { format!("{path}-{}", n + 1) }
    }

    /// Items of one title are told apart by their tag: the namespace of a Secret, or else the directory of the file.
    fn tags(&self, namespace: Option<String>) -> Vec<String> {
        let directory = || Some(self.directory.to_owned()).filter(|directory| !directory.is_empty());
        namespace.or_else(directory).into_iter().collect()
    }

    /// The id of a Secret is computed from the file's path, its namespace and its name, so a Secret may move within its
    /// file. The id of another document is computed from the path and the document's number. These texts start with
    /// NUL, which no path does, so they never give the id of another file's item.
    fn item_id(&self, n: usize, before: usize, name: Option<&SecretName>) -> ItemId {
        let place = match name {
            Some(SecretName { namespace, name }) => json!([self.relative, namespace, name, before]),
            None if n == 0 => return self.ids.item(self.vault, self.relative),
            None => json!([self.relative, n]),
        };
        self.ids.item(self.vault, &format!("\0{place}"))
    }

    /// Builds the item of a binary file: a DOCUMENT.
    fn document(&self, built: &mut BuiltItems, digest: [u8; 32], size: u64, bytes: Box<dyn Read + Send>) {
        let id = self.ids.item(self.vault, self.relative);
        let name = self.relative.rsplit('/').next().unwrap_or(self.relative).to_owned();
        let content = content_id(self.ids, self.vault, id, &name, &digest);
        built.uploads.push(Upload {
            content,
            digest,
            size,
            bytes,
        });
        built.drafts.push(ItemDraft {
            id,
            title: match &self.settings.title {
                Some(chosen) => chosen.clone(),
                None => self.titles.of_binary(&name, self.directory),
            },
            path: self.path(0),
            category: Category::Document,
            tags: self.tags(None),
            sections: Vec::new(),
            fields: Vec::new(),
            files: vec![FileDraft {
                id: self.ids.file(self.vault, id, &name),
                name,
                size,
                content,
            }],
        });
    }
}

/// For each key, how many equal keys come before it.
fn occurrences<K: Eq + Hash>(keys: Vec<K>) -> Vec<usize> {
    let mut counts = HashMap::with_capacity(keys.len());
    keys.into_iter()
        .map(|key| {
            let count = counts.entry(key).or_insert(0);
            *count += 1;
            *count - 1
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::hash::Hasher;

    use sidevault_keys::Credentials;

    use super::*;

    /// A key that counts how often any key is compared or hashed.
    struct Counted<'a>(usize, &'a Cell<usize>);

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.1.set(self.1.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted<'_> {}

    impl Hash for Counted<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.1.set(self.1.get() + 1);
            self.0.hash(state);
        }
    }

    #[test]
    fn counting_equal_names_takes_linear_time() {
        let work = |names: &dyn Fn(usize) -> usize, n: usize| {
            let count = Cell::new(0);
            occurrences((0..n).map(|n| Counted(names(n), &count)).collect());
            count.get()
        };
        let (equal, different): (&dyn Fn(usize) -> usize, &dyn Fn(usize) -> usize) = (&|_| 0, &|n| n);
        for names in [equal, different] {
            let (once, twice) = (work(names, 4000), work(names, 8000));
            assert!(twice <= 2 * once + once / 4, "{once}, then {twice}");
        }
    }

    #[test]
    fn documents_have_distinct_ids_and_a_secrets_id_survives_a_move_within_its_file() {
        let ids = Credentials::from_seed(&[1; 32]).id_key();
        let settings = FileSettings::default();
        let builder = ItemBuilder {
            settings: &settings,
            ids: &ids,
            vault: ids.vault("v"),
            relative: "v/sub/a.yaml",
            directory: "sub",
            titles: TitleRule::default(),
        };
        let secret = |namespace: Option<&str>, name: &str| ParsedDocument {
            name: Some(SecretName {
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            }),
            ..ParsedDocument::default()
        };
        let build = |parsed: Vec<ParsedDocument>| {
            let names = parsed.iter().map(|document| document.name.clone()).collect();
            let mut built = BuiltItems::default();
            for (n, (document, before)) in parsed.into_iter().zip(occurrences(names)).enumerate() {
                builder.item(&mut built, n, before, document);
            }
            built.drafts
        };
        let drafts = build(vec![
            ParsedDocument::default(),
            secret(None, "1"),
            ParsedDocument::default(),
            secret(Some("n"), "1"),
            secret(Some("n"), "1"),
            secret(Some("m"), "1"),
            secret(Some("a"), "b,c"),
            secret(Some("a\",\"b"), "c"),
        ]);
        let all: HashSet<ItemId> = drafts.iter().map(|draft| draft.id).collect();
        assert_eq!(all.len(), drafts.len());
        let titles: Vec<&str> = drafts.iter().map(|draft| draft.title.as_str()).collect();
        assert_eq!(titles, ["a", "1", "a-3", "1", "1", "1", "b,c", "c"]);
        let tags: Vec<String> = drafts.iter().map(|draft| draft.tags.join(",")).collect();
        assert_eq!(tags, ["sub", "sub", "sub", "n", "n", "m", "a", "a\",\"b"]);
        let other_order = build(vec![secret(Some("m"), "1"), secret(Some("n"), "1")]);
        assert_eq!((other_order[0].id, other_order[1].id), (drafts[5].id, drafts[3].id));
    }
}
