//! The items that a file makes: their ids and titles, and the contents that have to be in the store before them.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{Cursor, Read, Seek};

use serde_json::json;
use sidevault_keys::IdKey;
use sidevault_model::{Category, ItemId, VaultId};

use super::beneath::Opened;
use super::content::{self, Upload};
use super::draft::{ItemDraft, FileDraft, ParsedDocument, SecretName, categorize, content_id, stem};
use super::read::{Contents, RawFile, ReadError};

/// What a file makes.
#[derive(Default)]
pub(crate) struct BuiltItems {
    pub(crate) drafts: Vec<ItemDraft>,
    pub(crate) uploads: Vec<Upload>,
}

/// A file whose items are to be made.
pub(crate) struct ItemBuilder<'a> {
    pub(crate) ids: &'a IdKey,
    pub(crate) vault: VaultId,
    /// The file's path in the tree.
    pub(crate) relative: &'a str,
}

impl ItemBuilder<'_> {
    /// The items of a file. `opened` is where a plain document's bytes are read from later.
    pub(crate) fn make(&self, contents: Contents, raw: &RawFile, mut opened: Opened) -> Result<BuiltItems, ReadError> {
        let mut made = BuiltItems::default();
        match contents {
            Contents::Items(parsed) => {
                let names: Vec<Option<SecretName>> = parsed.iter().map(|document| document.name.clone()).collect();
                for (n, (document, before)) in parsed.into_iter().zip(occurrences(names)).enumerate() {
                    self.item(&mut made, n, before, document);
                }
            }
            Contents::Decrypted(bytes) => {
                let (digest, size) = (content::digest_of(&bytes), bytes.len() as u64);
                self.document(&mut made, digest, size, Box::new(Cursor::new(bytes)));
            }
            Contents::Plain { size } => {
                opened.file.rewind()?;
                self.document(&mut made, raw.digest, size, Box::new(opened.file));
            }
        }
        Ok(made)
    }

    /// The item of the `n`-th document; `before` are those of the same name in the file.
    fn item(&self, made: &mut BuiltItems, n: usize, before: usize, mut document: ParsedDocument) {
        let id = self.item_id(n, before, document.name.as_ref());
        let category = categorize(&mut document.fields);
        let (title, tags) = match document.name {
            Some(SecretName { namespace, name }) => (name, namespace.into_iter().collect()),
            None if n == 0 => (stem(self.relative).to_owned(), Vec::new()),
            None => (format!("{}-{}", stem(self.relative), n + 1), Vec::new()),
        };
        let files = document.binaries.into_iter().map(|binary| {
            let (digest, size) = (content::digest_of(&binary.bytes), binary.bytes.len() as u64);
            let content = content_id(self.ids, self.vault, id, &binary.id, &digest);
            made.uploads.push(Upload {
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
        made.drafts.push(ItemDraft {
            id,
            title,
            category,
            tags,
            sections: document.sections,
            fields: document.fields,
            files,
        });
    }

    /// A Secret's id follows from the file, its namespace and its name, so that it may move within its file; another
    /// document's from the file and its number. No path of a file begins with NUL, so neither is the id of another file.
    fn item_id(&self, n: usize, before: usize, name: Option<&SecretName>) -> ItemId {
        let place = match name {
            Some(SecretName { namespace, name }) => json!([self.relative, namespace, name, before]),
            None if n == 0 => return self.ids.item(self.vault, self.relative),
            None => json!([self.relative, n]),
        };
        self.ids.item(self.vault, &format!("\0{place}"))
    }

    /// A binary file: a DOCUMENT titled like it.
    fn document(&self, made: &mut BuiltItems, digest: [u8; 32], size: u64, bytes: Box<dyn Read + Send>) {
        let id = self.ids.item(self.vault, self.relative);
        let name = self.relative.rsplit('/').next().unwrap_or(self.relative).to_owned();
        let content = content_id(self.ids, self.vault, id, &name, &digest);
        made.uploads.push(Upload {
            content,
            digest,
            size,
            bytes,
        });
        made.drafts.push(ItemDraft {
            id,
            title: name.clone(),
            category: Category::Document,
            tags: Vec::new(),
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

/// How many equal ones stand before each.
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
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::hash::Hasher;

    use sidevault_keys::Credentials;

    use super::*;

    /// A key that counts how often it is compared or hashed.
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
    fn twice_as_many_documents_are_twice_the_work() {
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
    fn every_document_of_a_file_has_an_id_of_its_own_and_a_secrets_does_not_hang_on_its_place() {
        let ids = Credentials::from_seed(&[1; 32]).id_key();
        let builder = ItemBuilder {
            ids: &ids,
            vault: ids.vault("v"),
            relative: "a.yaml",
        };
        let secret = |namespace: Option<&str>, name: &str| ParsedDocument {
            name: Some(SecretName {
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            }),
            ..ParsedDocument::default()
        };
        let made = |parsed: Vec<ParsedDocument>| {
            let names = parsed.iter().map(|document| document.name.clone()).collect();
            let mut made = BuiltItems::default();
            for (n, (document, before)) in parsed.into_iter().zip(occurrences(names)).enumerate() {
                builder.item(&mut made, n, before, document);
            }
            made.drafts
        };
        let drafts = made(vec![
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
        assert_eq!(
            (&drafts[1].tags[..], &drafts[3].tags[..]),
            (&[][..], &["n".to_owned()][..])
        );
        let other_order = made(vec![secret(Some("m"), "1"), secret(Some("n"), "1")]);
        assert_eq!((other_order[0].id, other_order[1].id), (drafts[5].id, drafts[3].id));
    }
}
