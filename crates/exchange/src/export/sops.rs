//! A tree of files that SOPS encrypts for age recipients, `VAULT/TITLE.sops.yaml` for each item, as a directory source reads them
//! (docs/directory.md).

use std::collections::HashSet;
use std::io;

use sidevault_model::{Category, Field, FieldType, File, Item, Vault, categorize, printable};
use sidevault_sops::{MAX_FILE_BYTES, SealTo, Value, seal};

use super::{FileOrder, Writer, free_name, section_name};

/// The longest name of a file in bytes, without the ending.
const MAX_NAME: usize = 200;

const ENDING: &str = ".sops.yaml";

/// Writes one file: its path below the directory, and its content.
pub type WriteFile<'a> = dyn FnMut(&str, &[u8]) -> io::Result<()> + 'a;

/// Writes a tree of SOPS files.
pub struct SopsTree<'a> {
    write: Box<WriteFile<'a>>,
    to: Vec<SealTo>,
    now: jiff::Timestamp,
    /// The directory of the vault.
    directory: String,
    directories: HashSet<String>,
    /// The names of the vault's files, without regard to case: some disks have none for them.
    names: HashSet<String>,
    item: Option<Document>,
}

/// An item whose files may follow.
struct Document {
    path: String,
    entries: Vec<(String, Value)>,
    keys: HashSet<String>,
    /// The name and the content of the file that is being written.
    file: Option<(String, Vec<u8>)>,
    size: u64,
}

impl<'a> SopsTree<'a> {
    /// Begins a tree. Each file is encrypted to all of `to`, with `now` as its time.
    pub fn new(write: Box<WriteFile<'a>>, to: Vec<SealTo>, now: jiff::Timestamp) -> Self {
        Self {
            write,
            to,
            now,
            directory: String::new(),
            directories: HashSet::new(),
            names: HashSet::new(),
            item: None,
        }
    }

    /// Encrypts and writes the item.
    fn flush(&mut self) -> io::Result<()> {
        let Some(mut document) = self.item.take() else {
            return Ok(());
        };
        document.end_file();
        if document.entries.is_empty() {
            return Ok(());
        }
        let sealed = seal(&Value::Mapping(document.entries), &self.to, self.now)
            .map_err(|error| io::Error::other(format!("{}: {error}", document.path)))?;
        (self.write)(&document.path, &sealed)
    }
}

impl Document {
    fn end_file(&mut self) {
        if let Some((name, bytes)) = self.file.take() {
            let value = match String::from_utf8(bytes) {
                Ok(text) => Value::String(text),
                Err(error) => Value::Bytes(error.into_bytes()),
            };
            self.entries.push((name, value));
        }
    }

    /// A key that the mapping does not have, without a meaning of its own at the top of a file.
    fn key(&mut self, wanted: &str) -> String {
        // `sops` is the metadata, `<<` merges, and a manifest has a `kind`.
        let wanted = match wanted {
            "sops" | "<<" | "kind" => format!("{wanted}-"),
            other => other.to_owned(),
        };
        free_name(&mut self.keys, &wanted, |number| format!("{wanted} {number}"))
    }
}

impl Writer for SopsTree<'_> {
    fn vault(&mut self, vault: &Vault, _summaries: &[Item]) -> io::Result<()> {
        self.flush()?;
        let wanted = file_name(&vault.name);
        self.directory = free_name(&mut self.directories, &wanted, |number| format!("{wanted}-{number}"));
        self.names.clear();
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<Vec<String>> {
        self.flush()?;
        let mut losses = Vec::new();
        let wanted = file_name(&item.title);
        let mut folded = HashSet::new();
        std::mem::swap(&mut folded, &mut self.names);
        let mut name = wanted.clone();
        let mut number = 1;
        while !folded.insert(name.to_lowercase()) {
            number += 1;
            name = format!("{wanted}-{number}");
        }
        self.names = folded;
        if name != item.title {
            losses.push(format!(
                "its title becomes \"{}\", the name of its file",
                printable(&name)
            ));
        }
        let mut document = Document {
            path: format!("{}/{name}{ENDING}", self.directory),
            entries: Vec::new(),
            keys: HashSet::new(),
            file: None,
            size: 0,
        };
        fields(&mut document, item, &mut losses);
        name_losses(item, &mut losses);
        if document.entries.is_empty() && item.files.is_empty() {
            losses.push("the item: it has no fields and no files".to_owned());
        }
        self.item = Some(document);
        Ok(losses)
    }

    fn file_order(&self) -> FileOrder {
        FileOrder::WithItem
    }

    fn file(&mut self, file: &File) -> io::Result<bool> {
        let Some(document) = &mut self.item else {
            return Ok(false);
        };
        document.end_file();
        if !fits(document.size, file) {
            return Ok(false);
        }
        document.size += file.size;
        let name = document.key(&file.name);
        document.file = Some((name, Vec::new()));
        Ok(true)
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some((_, content)) = self.item.as_mut().and_then(|document| document.file.as_mut()) {
            content.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

/// Whether another file fits into a document, in base64.
fn fits(size: u64, file: &File) -> bool {
    (size + file.size).saturating_mul(3) / 2 < MAX_FILE_BYTES as u64 / 2
}

/// Notes a label that can't be the key.
fn note_renamed(losses: &mut Vec<String>, what: &str, label: &str, key: &str) {
    if key != label {
        losses.push(format!(
            "{what} \"{}\" becomes \"{}\"",
            printable(label),
            printable(key)
        ));
    }
}

/// Adds the fields: those outside sections as entries, those of a section as a mapping under its label.
fn fields(document: &mut Document, item: &Item, losses: &mut Vec<String>) {
    let (top, inner): (Vec<&Field>, Vec<&Field>) = item.fields.iter().partition(|field| field.section.is_none());
    for field in top {
        let label = field.label_or_id();
        let key = document.key(label);
        note_renamed(losses, "field", label, &key);
        document.entries.push((key, Value::String(field.value.clone())));
    }
    let mut sections: Vec<(&str, Vec<&Field>)> = Vec::new();
    for field in inner {
        let id = field.section.as_ref().map_or("", |section| section.id.as_str());
        match sections.iter_mut().find(|(known, _)| *known == id) {
            Some((_, fields)) => fields.push(field),
            None => sections.push((id, vec![field])),
        }
    }
    for (_, fields) in sections {
        let label = fields.first().map_or("", |field| section_name(item, field));
        let key = document.key(label);
        note_renamed(losses, "section", label, &key);
        let mut taken = HashSet::new();
        let mut entries = Vec::new();
        for field in fields {
            let label = field.label_or_id();
            let key = free_name(&mut taken, label, |number| format!("{label} {number}"));
            note_renamed(losses, "field", label, &key);
            entries.push((key, Value::String(field.value.clone())));
        }
        document.entries.push((key, Value::Mapping(entries)));
    }
}

fn name_losses(item: &Item, losses: &mut Vec<String>) {
    let mut size = 0;
    for file in &item.files {
        match fits(size, file) {
            true => {
                size += file.size;
                losses.push(format!(
                    "file \"{}\": if it is text, a directory source serves it as a field",
                    printable(&file.name)
                ));
            }
            false => losses.push(format!(
                "file \"{}\": it is too large for a file of SOPS",
                printable(&file.name)
            )),
        }
    }
    if !item.tags.is_empty() {
        losses.push("tags: a directory source takes them from the path".to_owned());
    }
    if !item.urls.is_empty() {
        losses.push("web addresses".to_owned());
    }
    if item
        .fields
        .iter()
        .any(|field| field.field_type == FieldType::Otp && !field.value.is_empty())
    {
        losses.push("one-time passwords: a directory source serves their secret, and no codes".to_owned());
    }
    if item.fields.iter().any(|field| {
        field
            .password_details
            .as_ref()
            .is_some_and(|details| !details.history.is_empty())
    }) {
        losses.push("earlier passwords".to_owned());
    }
    let category = categorize(&mut item.fields.clone());
    if item.category != category && item.category != Category::Custom {
        losses.push(format!("category {}: it becomes {category}", item.category));
    }
}

/// A name that a file can have, and that a directory source does not leave out.
fn file_name(name: &str) -> String {
    let mut made: String = name
        .chars()
        .map(|c| {
            if c == '/' || c == '\\' || c.is_control() {
                '-'
            } else {
                c
            }
        })
        .collect();
    if made.is_empty() || made.starts_with('.') {
        made.insert(0, '_');
    }
    let end = (0..=MAX_NAME.min(made.len()))
        .rev()
        .find(|at| made.is_char_boundary(*at));
    made.truncate(end.unwrap_or_default());
    made
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use sidevault_sops::{Document as Sops, Format, Identities, read};

    use super::super::testing::{full_item, plain_item, vault};
    use super::*;

    /// A key of the examples, with its recipient in a comment.
    const KEY: &str = include_str!("../../../../examples/age-key.txt");

    fn recipient() -> SealTo {
        let mut words = KEY.split_whitespace();
        words.find(|word| word.starts_with("age1")).unwrap().parse().unwrap()
    }

    fn tree(items: Vec<Item>) -> (BTreeMap<String, Value>, Vec<String>) {
        let files = RefCell::new(BTreeMap::new());
        let mut losses = Vec::new();
        let write = |path: &str, content: &[u8]| {
            files.borrow_mut().insert(path.to_owned(), content.to_vec());
            Ok(())
        };
        let mut writer = Box::new(SopsTree::new(
            Box::new(write),
            vec![recipient()],
            jiff::Timestamp::UNIX_EPOCH,
        ));
        writer.vault(&vault("my/vault"), &items).unwrap();
        for item in &items {
            losses.extend(writer.item(item).unwrap());
            for file in &item.files {
                if writer.file(file).unwrap() {
                    writer.content(&[0, 255]).unwrap();
                    writer.content(b"s3cret").unwrap();
                }
            }
        }
        writer.finish().unwrap();
        let (identities, _) = Identities::parse(KEY.as_bytes(), None);
        let opened = files.into_inner().into_iter().map(|(path, bytes)| {
            assert!(!String::from_utf8_lossy(&bytes).contains("s3cret"), "{path}");
            let read = read(Format::Yaml, &bytes, &identities).unwrap();
            let Sops::Tree(mut documents) = read.document else {
                panic!()
            };
            (path, documents.remove(0))
        });
        (opened.collect(), losses)
    }

    fn text(value: &Value, path: [&str; 2]) -> String {
        let found = match path {
            ["", key] => value.get(key),
            [section, key] => value.get(section).and_then(|section| section.get(key)),
        };
        found
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{path:?}"))
            .to_owned()
    }

    #[test]
    fn an_item_is_a_file_with_its_fields_and_files() {
        let (files, losses) = tree(vec![full_item()]);
        let file = &files["my-vault/Shop & Co.sops.yaml"];
        assert_eq!(text(file, ["", "password"]), "s3cret");
        assert_eq!(text(file, ["", "notesPlain"]), "line 1\nit's \"2\"");
        assert_eq!(text(file, ["Replica", "pin"]), "1234");
        assert_eq!(file.get("ca.pem"), Some(&Value::Bytes(b"\0\xffs3cret".to_vec())));
        let named = |what: &str| losses.iter().any(|loss| loss.contains(what));
        assert!(
            named("ca.pem") && named("tags") && named("one-time") && named("earlier"),
            "{losses:?}"
        );
    }

    #[test]
    fn names_that_no_file_can_have_are_changed_and_said() {
        let mut odd = plain_item("../a/b");
        for (id, label) in [
            ("a", "sops"),
            ("b", "kind"),
            ("c", "x"),
            ("d", "x"),
            ("e", "y_unencrypted"),
        ] {
            odd.fields.push(Field::new(id, FieldType::String, label, "s3cret"));
        }
        let mut same = plain_item("_..-A-b");
        same.fields = odd.fields.clone();
        let (files, losses) = tree(vec![odd, same]);
        let names: Vec<&String> = files.keys().collect();
        assert_eq!(names, ["my-vault/_..-A-b-2.sops.yaml", "my-vault/_..-a-b.sops.yaml"]);
        let file = &files["my-vault/_..-a-b.sops.yaml"];
        for key in ["sops-", "kind-", "x", "x 2", "y_unencrypted"] {
            assert_eq!(text(file, ["", key]), "s3cret", "{key}");
        }
        assert!(losses[0].contains("its title becomes"), "{losses:?}");
    }
}
