//! Turns decrypted documents into fields and sections, by the rules of docs/directory.md.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use sidevault_model::{Category, Field, FieldType, FileId, ItemId, Section, SectionRef, VaultId};
use sidevault_sops::{Format, Value, scalar_text};

use super::secret;

/// The most items of one file. All of them are written in one transaction, together with the deletion of the file's earlier
/// items, and all other writes wait for it.
pub(crate) const MAX_ITEMS: usize = 10_000;

/// The most bytes of the ids of one document's fields. An id has the names of all mappings around the field. Without a
/// bound, a mapping with a long name and many fields would need their product.
const MAX_NAME_BYTES: usize = 16 << 20;

/// An item of a file, without version, times and editor, which the writer adds.
#[derive(Clone)]
pub(crate) struct ItemDraft {
    pub(crate) id: ItemId,
    pub(crate) title: String,
    /// The path by which the item can be looked up, in comparable form.
    pub(crate) path: String,
    pub(crate) category: Category,
    pub(crate) tags: Vec<String>,
    pub(crate) sections: Vec<Section>,
    pub(crate) fields: Vec<Field>,
    pub(crate) files: Vec<FileDraft>,
}

/// A file of an [`ItemDraft`]. Its content is already in the store, under the id `content`.
#[derive(Clone)]
pub(crate) struct FileDraft {
    pub(crate) id: FileId,
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) content: FileId,
}

/// A document, before its item has an id, which is computed from the vault and the file's path.
#[derive(Default)]
pub(crate) struct ParsedDocument {
    /// The name of a Secret; `None` for other documents.
    pub(crate) name: Option<SecretName>,
    pub(crate) sections: Vec<Section>,
    pub(crate) fields: Vec<Field>,
    /// Values that are not UTF-8. They become files of the item.
    pub(crate) binaries: Vec<Binary>,
}

/// The namespace and name of a Kubernetes Secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SecretName {
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

/// A value that is not UTF-8.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Binary {
    /// The id that a field in its place would have.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Why the documents of a file can't become items. Names the document and the key, and never has a value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    /// In one of several documents, or of the items of a `List`. Counts from 1.
    #[error("document {0}: {1}")]
    InDocument(usize, Box<Self>),
    #[error("the top level must be a mapping of names to values")]
    NotMapping,
    #[error("the file makes more than {MAX_ITEMS} items, the limit for one file; split it")]
    TooManyItems,
    #[error(
        "the names of its fields, each with the names of the mappings around it, take more than {} MiB",
        MAX_NAME_BYTES >> 20
    )]
    NamesTooLong,
    #[error("a Secret must have metadata.name")]
    SecretWithoutName,
    #[error("{0} of a Secret must be a mapping")]
    SecretPartNotMapping(&'static str),
    #[error("data.{0} is not base64")]
    NotBase64(String),
    #[error(
        "data.{0} is a file that SOPS encrypted, in base64; encrypt the Secret itself with sops, or put that file into the \
         source's directory"
    )]
    EncryptedInside(String),
}

/// Parses the documents of one file. Kubernetes manifests other than Secrets are left out.
pub(crate) fn read_documents(documents: &[Value]) -> Result<Vec<ParsedDocument>, DocumentError> {
    let mut parsed = Vec::new();
    read_into(&mut parsed, documents)?;
    Ok(parsed)
}

fn read_into(parsed: &mut Vec<ParsedDocument>, documents: &[Value]) -> Result<(), DocumentError> {
    for (n, document) in documents.iter().enumerate() {
        let at = |error| {
            if documents.len() > 1 {
                DocumentError::InDocument(n + 1, Box::new(error))
            } else {
                error
            }
        };
        match document {
            Value::Null => {}
            Value::Mapping(entries) => match Shape::of(entries) {
                Shape::Secret => parsed.push(secret::read(entries).map_err(at)?),
                Shape::List(items) => read_into(parsed, items).map_err(at)?,
                Shape::OtherManifest => {}
                Shape::Mapping => parsed.push(read_mapping(entries).map_err(at)?),
            },
            _ => return Err(at(DocumentError::NotMapping)),
        }
        if parsed.len() > MAX_ITEMS {
            return Err(DocumentError::TooManyItems);
        }
    }
    Ok(())
}

/// What a mapping at the top of a document is, or in the items of a `List`.
pub(super) enum Shape<'a> {
    /// A Kubernetes `Secret`: an item.
    Secret,
    /// A Kubernetes `List`, whose items are as many mappings.
    List(&'a [Value]),
    /// Another Kubernetes manifest, which makes no item.
    OtherManifest,
    /// Any other mapping: an item.
    Mapping,
}

impl<'a> Shape<'a> {
    pub(super) fn of(entries: &'a [(String, Value)]) -> Self {
        match kind_of(entries) {
            Some("Secret") => Self::Secret,
            Some("List" | "SecretList") => match get(entries, "items") {
                Some(Value::Sequence(items)) => Self::List(items),
                _ => Self::List(&[]),
            },
            Some(_) => Self::OtherManifest,
            None => Self::Mapping,
        }
    }
}

/// The kind of a Kubernetes manifest; `None` for any other mapping.
fn kind_of(entries: &[(String, Value)]) -> Option<&str> {
    get(entries, "apiVersion").and_then(text)?;
    get(entries, "kind").and_then(text)
}

pub(crate) fn get<'a>(entries: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Parses a mapping: each key becomes a field, a mapping in it a section, and a deeper value a field with a dotted label.
fn read_mapping(entries: &[(String, Value)]) -> Result<ParsedDocument, DocumentError> {
    let mut document = ParsedDocument::default();
    for (key, value) in entries {
        if matches!(value, Value::Mapping(inner) if !inner.is_empty()) {
            document.sections.push(Section {
                id: key.clone(),
                label: key.clone(),
            });
        }
    }
    for Leaf {
        section,
        id,
        label,
        value,
    } in leaves(entries)?
    {
        if let Value::Bytes(bytes) = value
            && std::str::from_utf8(bytes).is_err()
        {
            document.binaries.push(Binary {
                id,
                name: label,
                bytes: bytes.clone(),
            });
            continue;
        }
        let mut field = Field::new(id, FieldType::Concealed, label, value_text(value));
        field.section = section.map(|id| SectionRef {
            id: id.to_owned(),
            label: Some(id.to_owned()),
        });
        document.fields.push(field);
    }
    // Clients find files by name, regardless of sections, so names must differ in the whole document.
    let names = document.binaries.iter().map(|binary| binary.name.clone()).collect();
    let names = distinct(names, || {
        document.binaries.iter().map(|binary| binary.id.clone()).collect()
    });
    for (binary, name) in document.binaries.iter_mut().zip(names) {
        binary.name = name;
    }
    Ok(document)
}

/// A value of a document, with the id and label of its field.
pub(super) struct Leaf<'a> {
    pub(super) section: Option<&'a str>,
    /// Unique in the document.
    pub(super) id: String,
    /// Unique in its section.
    pub(super) label: String,
    pub(super) value: &'a Value,
}

/// The values of a document. An id consists of all keys from the top down to the value, joined with dots. A label is the
/// same without the section. A key may have dots, too, so `a.b: 1` beside `a: {b: 2}` would be two fields of one id. Only in
/// such a case, the dots in keys are written `\.`, and backslashes `\\`.
pub(super) fn leaves(entries: &[(String, Value)]) -> Result<Vec<Leaf<'_>>, DocumentError> {
    let plain = Join::all(entries, |name| Cow::Borrowed(name), MAX_NAME_BYTES)?;
    if is_distinct(plain.iter().map(|leaf| leaf.id.as_str())) {
        // Fields of one section with equal labels would have equal ids, so labels are distinct as well.
        return Ok(plain);
    }
    // An escaped key is at most twice as long.
    let escaped = Join::all(entries, escape, 2 * MAX_NAME_BYTES)?;
    let ids = plain.iter().map(|leaf| leaf.id.clone()).collect();
    let mut ids = distinct(ids, || escaped.iter().map(|leaf| leaf.id.clone()).collect()).into_iter();
    let mut leaves = Vec::with_capacity(plain.len());
    let mut escaped = escaped.into_iter();
    let mut plain = plain.into_iter().peekable();
    while let Some(first) = plain.next() {
        let section = first.section;
        let mut together = vec![first];
        while section.is_some()
            && let Some(next) = plain.next_if(|next| next.section == section)
        {
            together.push(next);
        }
        let labels = together.iter().map(|leaf| leaf.label.clone()).collect();
        let mut spare: Vec<String> = escaped.by_ref().take(together.len()).map(|leaf| leaf.label).collect();
        let labels = match section {
            Some(_) => distinct(labels, || std::mem::take(&mut spare)),
            // The labels at the top are the keys themselves, which are distinct.
            None => labels,
        };
        for ((leaf, label), id) in together.into_iter().zip(labels).zip(ids.by_ref()) {
            leaves.push(Leaf { id, label, ..leaf });
        }
    }
    Ok(leaves)
}

/// Collects the values of a document, each with the joined keys that lead to it.
struct Join<'a> {
    /// Writes a key into an id: as it is, or with its dots escaped.
    write: fn(&str) -> Cow<'_, str>,
    leaves: Vec<Leaf<'a>>,
    /// How many more bytes the ids may take.
    room: usize,
}

impl<'a> Join<'a> {
    fn all(
        entries: &'a [(String, Value)],
        write: fn(&str) -> Cow<'_, str>,
        room: usize,
    ) -> Result<Vec<Leaf<'a>>, DocumentError> {
        let mut join = Self {
            write,
            leaves: Vec::new(),
            room,
        };
        for (key, value) in entries {
            match value {
                Value::Mapping(inner) if !inner.is_empty() => join.descend(key, None, inner)?,
                _ => join.add(None, write(key).into_owned(), key.clone(), value)?,
            }
        }
        Ok(join.leaves)
    }

    fn descend(
        &mut self,
        section: &'a str,
        prefix: Option<&str>,
        entries: &'a [(String, Value)],
    ) -> Result<(), DocumentError> {
        for (key, value) in entries {
            let name = (self.write)(key);
            let label = match prefix {
                None => name.into_owned(),
                Some(prefix) => format!("{prefix}.{name}"),
            };
            match value {
                Value::Mapping(inner) if !inner.is_empty() => self.descend(section, Some(&label), inner)?,
                _ => {
                    let id = format!("{}.{label}", (self.write)(section));
                    self.add(Some(section), id, label, value)?;
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        section: Option<&'a str>,
        id: String,
        label: String,
        value: &'a Value,
    ) -> Result<(), DocumentError> {
        self.room = self.room.checked_sub(id.len()).ok_or(DocumentError::NamesTooLong)?;
        self.leaves.push(Leaf {
            section,
            id,
            label,
            value,
        });
        Ok(())
    }
}

fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['.', '\\']) {
        Cow::Owned(name.replace('\\', r"\\").replace('.', r"\."))
    } else {
        Cow::Borrowed(name)
    }
}

/// Makes names distinct. A name that occurs once stays as it is; one that occurs several times is replaced by its escaped
/// form. If that gives equal names again, all escaped forms are used, which are always distinct.
fn distinct(plain: Vec<String>, escaped: impl FnOnce() -> Vec<String>) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::with_capacity(plain.len());
    for name in &plain {
        *counts.entry(name).or_default() += 1;
    }
    if counts.len() == plain.len() {
        return plain;
    }
    let escaped = escaped();
    let choose = |(plain, escaped): (&String, &String)| {
        if counts.get(plain.as_str()) == Some(&1) {
            plain.clone()
        } else {
            escaped.clone()
        }
    };
    let mixed: Vec<String> = plain.iter().zip(&escaped).map(choose).collect();
    if is_distinct(mixed.iter().map(String::as_str)) {
        mixed
    } else {
        escaped
    }
}

fn is_distinct<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = HashSet::new();
    names.all(|name| seen.insert(name))
}

/// The text of a field: a scalar as it is written, a list or an empty mapping as JSON.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Sequence(_) | Value::Mapping(_) => to_json(value).to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        scalar => scalar_text(scalar),
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(_) | Value::Float(_) => {
            let text = scalar_text(value);
            serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
        }
        Value::Sequence(values) => values.iter().map(to_json).collect(),
        Value::Mapping(entries) => serde_json::Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), to_json(value)))
                .collect(),
        ),
        other => value_text(other).into(),
    }
}

/// The title for a file: its name without the ending of its format, and without `.sops` or `.enc` before or after that.
/// `db.sops.yaml` and `db.yaml.enc` both give `db`.
pub(crate) fn stem(relative: &str) -> &str {
    let name = last_name(relative);
    let name = without_sealed_ending(name).unwrap_or(name);
    let stem = match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    };
    let without = stem
        .strip_suffix(".sops")
        .or_else(|| stem.strip_suffix(".enc"))
        .or_else(|| stem.strip_suffix(".dec"));
    without.filter(|rest| !rest.is_empty()).unwrap_or(stem)
}

/// Whether the name of a YAML, JSON, dotenv or INI file says that SOPS encrypted it: `db.sops.yaml`, `db.enc.yaml`, `db.yaml.enc`.
pub(crate) fn says_sealed(relative: &str) -> bool {
    let name = last_name(relative);
    let before_format = || match name.rsplit_once('.') {
        Some((stem, _)) if Format::from_path(Path::new(name)) != Format::Binary => {
            stem.ends_with(".sops") || stem.ends_with(".enc")
        }
        _ => false,
    };
    without_sealed_ending(name).is_some() || before_format()
}

fn last_name(relative: &str) -> &str {
    relative.rsplit('/').next().unwrap_or(relative)
}

/// A name without the ending that says that the file is encrypted, if that follows the ending of a format.
fn without_sealed_ending(name: &str) -> Option<&str> {
    [".enc", ".encrypted", ".sops"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .filter(|inner| Format::from_path(Path::new(inner)) != Format::Binary)
}

/// The id of a content. It is computed from the content's digest, so content that is read again is not stored again.
pub(crate) fn content_id(
    ids: &sidevault_keys::IdKey,
    vault: VaultId,
    item: ItemId,
    name: &str,
    sha256: &[u8; 32],
) -> FileId {
    ids.file(
        vault,
        item,
        &format!("content\0{name}\0{}", data_encoding::HEXLOWER.encode(sha256)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: Vec<(&str, Value)>) -> Value {
        Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn nested_mappings_become_sections_with_dotted_labels() {
        let document = map(vec![
            ("user", string("u")),
            (
                "db",
                map(vec![("host", string("h")), ("tls", map(vec![("ca", string("c"))]))]),
            ),
        ]);
        let parsed = read_documents(&[document]).unwrap();
        let fields: Vec<_> = parsed[0]
            .fields
            .iter()
            .map(|f| {
                (
                    f.id.as_str(),
                    f.label.as_str(),
                    f.section.as_ref().map(|s| s.id.as_str()),
                    f.value.as_str(),
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                ("user", "user", None, "u"),
                ("db.host", "host", Some("db"), "h"),
                ("db.tls.ca", "tls.ca", Some("db"), "c")
            ]
        );
        assert_eq!(parsed[0].sections[0].label, "db");
    }

    #[test]
    fn a_list_becomes_json() {
        let document = map(vec![(
            "hosts",
            Value::Sequence(vec![string("a"), Value::Bool(true), Value::Null]),
        )]);
        assert_eq!(
            read_documents(&[document]).unwrap()[0].fields[0].value,
            r#"["a",true,null]"#
        );
    }

    #[test]
    fn manifests_other_than_secrets_are_left_out() {
        let manifest = map(vec![("apiVersion", string("v1")), ("kind", string("ConfigMap"))]);
        assert!(read_documents(&[manifest]).unwrap().is_empty());
    }

    #[test]
    fn a_document_that_is_a_scalar_is_refused() {
        assert!(read_documents(&[string("x")]).is_err());
    }

    #[test]
    fn a_title_has_neither_the_ending_of_the_format_nor_that_of_sops() {
        for (path, title) in [
            ("a/db.yaml", "db"),
            ("db.sops.yaml", "db"),
            ("db.enc.json", "db"),
            ("db.yaml.enc", "db"),
            ("config.env.encrypted", "config"),
            ("values.sops.yml.sops", "values"),
            ("db.enc", "db"),
            ("v1.2.yaml", "v1.2"),
            ("Makefile", "Makefile"),
            ("x/.sops.yaml", ".sops"),
        ] {
            assert_eq!(stem(path), title, "{path}");
        }
    }

    fn names(document: Value) -> Vec<(String, Option<String>, String, String)> {
        let parsed = read_documents(&[document]).unwrap();
        parsed[0]
            .fields
            .iter()
            .map(|f| {
                (
                    f.id.clone(),
                    f.section.as_ref().map(|s| s.id.clone()),
                    f.label.clone(),
                    f.value.clone(),
                )
            })
            .collect()
    }

    fn name(id: &str, section: Option<&str>, label: &str, value: &str) -> (String, Option<String>, String, String) {
        (id.into(), section.map(str::to_owned), label.into(), value.into())
    }

    #[test]
    fn keys_with_dots_get_other_ids_than_nested_keys() {
        // A dot in a key is escaped only where it is needed.
        assert_eq!(
            names(map(vec![("tls.crt", string("x"))])),
            [name("tls.crt", None, "tls.crt", "x")]
        );
        assert_eq!(
            names(map(vec![("a.b", string("x")), ("a", map(vec![("b", string("y"))]))])),
            [name(r"a\.b", None, "a.b", "x"), name("a.b", Some("a"), "b", "y")]
        );
        let both = map(vec![("y.z", string("1")), ("y", map(vec![("z", string("2"))]))]);
        assert_eq!(
            names(map(vec![("x", both)])),
            [
                name(r"x.y\.z", Some("x"), r"y\.z", "1"),
                name("x.y.z", Some("x"), "y.z", "2")
            ]
        );
        // The escaped form of one key is another key.
        assert_eq!(
            names(map(vec![
                ("a.b", string("1")),
                ("a", map(vec![("b", string("2"))])),
                (r"a\.b", string("3"))
            ])),
            [
                name(r"a\.b", None, "a.b", "1"),
                name("a.b", Some("a"), "b", "2"),
                name(r"a\\\.b", None, r"a\.b", "3")
            ]
        );
        // A key may be empty.
        let empty = map(vec![("", map(vec![("b", string("1"))])), ("b", string("2"))]);
        assert_eq!(
            names(map(vec![("a", empty)])),
            [name("a..b", Some("a"), ".b", "1"), name("a.b", Some("a"), "b", "2")]
        );
    }

    proptest::proptest! {
        #[test]
        fn ids_are_unique_and_labels_are_within_their_section(document in mapping(4)) {
            let document = &read_documents(&[document]).unwrap()[0];
            let ids: HashSet<&str> = document.fields.iter().map(|field| field.id.as_str()).collect();
            let labels: HashSet<_> = document
                .fields
                .iter()
                .map(|field| (field.section.as_ref().map(|section| &section.id), &field.label))
                .collect();
            proptest::prop_assert_eq!(ids.len(), document.fields.len());
            proptest::prop_assert_eq!(labels.len(), document.fields.len());
        }
    }

    /// Mappings whose keys consist of dots, backslashes and one letter, so that nearly all ids collide.
    fn mapping(depth: u32) -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = Just(Value::Bool(true)).boxed();
        let entries = |inner: BoxedStrategy<Value>| {
            proptest::collection::btree_map(r"[a.\\]{0,3}", inner, 1..5)
                .prop_map(|entries| Value::Mapping(entries.into_iter().collect()))
                .boxed()
        };
        let nested = (0..depth).fold(leaf.clone(), |inner, _| {
            prop_oneof![leaf.clone(), entries(inner)].boxed()
        });
        entries(nested)
    }

    #[test]
    fn binary_values_of_one_key_in_two_sections_become_files_with_different_names() {
        let binary = || Value::Bytes(vec![0xff]);
        let document = map(vec![
            ("a", map(vec![("ca", binary())])),
            ("b", map(vec![("ca", binary())])),
            ("key", binary()),
        ]);
        let parsed = read_documents(&[document]).unwrap();
        let names: Vec<&str> = parsed[0].binaries.iter().map(|binary| binary.name.as_str()).collect();
        assert_eq!(names, ["a.ca", "b.ca", "key"]);
    }

    #[test]
    fn a_file_makes_a_bounded_number_of_items() {
        let documents = |n| vec![map(vec![("a", string("1"))]); n];
        assert_eq!(read_documents(&documents(MAX_ITEMS)).unwrap().len(), MAX_ITEMS);
        let error = read_documents(&documents(MAX_ITEMS + 1)).err().unwrap().to_string();
        assert!(error.contains("more than 10000 items"), "{error}");
        // The items of a `kind: List` count, too.
        let list = map(vec![
            ("apiVersion", string("v1")),
            ("kind", string("List")),
            ("items", Value::Sequence(documents(MAX_ITEMS + 1))),
        ]);
        assert!(read_documents(&[list]).is_err());
    }

    #[test]
    fn the_total_length_of_ids_is_bounded() {
        let long = "n".repeat(1 << 20);
        let inner = |n: usize| Value::Mapping((0..n).map(|n| (n.to_string(), Value::Null)).collect());
        let document = |n| Value::Mapping(vec![("s".into(), Value::Mapping(vec![(long.clone(), inner(n))]))]);
        assert!(read_documents(&[document(15)]).is_ok());
        let error = read_documents(&[document(17)]).err().unwrap().to_string();
        assert!(error.contains("16 MiB") && !error.contains("nnn"), "{error}");
    }
}
