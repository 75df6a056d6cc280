//! Kubernetes Secrets, and ExternalSecrets that make the same Secrets. Each item is one Secret.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidevault_model::filter::fold;
use sidevault_model::{Field, File, Item, Vault, printable};

use super::base64_stream::Base64Stream;
use super::{FileOrder, Writer, free_name};

/// The most bytes of a Secret's values: `MaxSecretSize` of the API server.
const MAX_SECRET: u64 = 1024 * 1024;
/// The longest name of an object, and the longest key of a Secret.
const LONGEST: usize = 253;

/// The names of Secrets that are in use.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    /// A free name for an item. If it differs from the title, that is named.
    fn choose(&mut self, title: &str, losses: &mut Vec<String>) -> String {
        let wanted = object_name(title);
        let stem = &wanted[..wanted.len().min(LONGEST - 12)];
        let name = free_name(&mut self.0, &wanted, |number| format!("{stem}-{number}"));
        if name != title {
            losses.push(format!(
                "its title can't be a Secret's name: the Secret is named {name}"
            ));
        }
        name
    }
}

/// A title as the name of an object (RFC 1123 subdomain).
fn object_name(title: &str) -> String {
    let text: String = title
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '.' => c,
            _ => '-',
        })
        .take(LONGEST)
        .collect();
    // Each part between dots begins and ends with a letter or digit.
    let parts = text.split('.').map(|part| part.trim_matches('-'));
    let name = parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
    if name.is_empty() { "item".to_owned() } else { name }
}

/// A label as the key of a Secret, with `_` for characters that a key can't have, as External Secrets does it.
fn key(label: &str) -> String {
    label
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-._".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// Whether a text can be the key of a Secret.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= LONGEST && key != "." && !key.starts_with("..")
}

/// A text in double quotes. YAML reads all escapes of JSON; characters that YAML does not allow are escaped besides.
pub(crate) fn quoted(text: &str) -> String {
    let mut escaped = String::new();
    for c in serde_json::Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// The first lines of an object.
fn object_head(version: &str, kind: &str, name: &str, namespace: Option<&str>) -> String {
    let namespace = namespace.map(|namespace| format!("  namespace: {}\n", quoted(namespace)));
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {}\n{}",
        quoted(name),
        namespace.unwrap_or_default()
    )
}

/// An ExternalSecret up to the name of the Secret that it makes, which is its own.
pub(crate) fn external_secret_head(name: &str, namespace: Option<&str>, store: &Store) -> String {
    format!(
        "{}spec:\n  secretStoreRef:\n    name: {}\n    kind: {}\n  target:\n    name: {}\n",
        object_head("external-secrets.io/v1", "ExternalSecret", name, namespace),
        quoted(&store.name),
        store.kind,
        quoted(name)
    )
}

/// An entry of an ExternalSecret's `data`: the key of the Secret, and the item and its property with the value.
pub(crate) fn external_secret_entry(secret_key: &str, item: &str, property: &str) -> String {
    format!(
        "    - secretKey: {}\n      remoteRef:\n        key: {}\n        property: {}\n",
        quoted(secret_key),
        quoted(item),
        quoted(property)
    )
}

/// Writes Secrets. Files are keys like fields.
pub struct KubernetesSecrets<W> {
    out: W,
    namespace: Option<String>,
    names: Names,
    /// The keys of the present Secret. `None`: it is left out.
    keys: Option<HashSet<String>>,
    /// Whether a file's content is being written.
    in_content: bool,
    encoder: Base64Stream,
}

impl<W: Write> KubernetesSecrets<W> {
    /// Begins an export. Without a namespace, `kubectl apply -n` chooses it.
    pub fn new(out: W, namespace: Option<String>) -> Self {
        Self {
            out,
            namespace,
            names: Names::default(),
            keys: None,
            in_content: false,
            encoder: Base64Stream::default(),
        }
    }

    fn end_content(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.in_content) {
            self.encoder.end(&mut self.out)?;
            self.out.write_all(b"\"\n")?;
        }
        Ok(())
    }
}

impl<W: Write> Writer for KubernetesSecrets<W> {
    fn vault(&mut self, _vault: &Vault, _summaries: &[Item]) -> io::Result<()> {
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<Vec<String>> {
        self.end_content()?;
        self.keys = None;
        let mut losses = Vec::new();
        let fields: Vec<&Field> = item.fields.iter().filter(|field| !field.value.is_empty()).collect();
        let size = fields.iter().map(|field| field.value.len() as u64).sum::<u64>()
            + item.files.iter().map(|file| file.size).sum::<u64>();
        if size > MAX_SECRET {
            losses.push("all of it: a Secret has at most 1 MiB".to_owned());
            return Ok(losses);
        }
        let name = self.names.choose(&item.title, &mut losses);
        let head = object_head("v1", "Secret", &name, self.namespace.as_deref());
        self.out.write_all(head.as_bytes())?;
        let is_empty = fields.is_empty() && item.files.is_empty();
        writeln!(self.out, "type: Opaque\ndata:{}", if is_empty { " {}" } else { "" })?;
        let mut keys = HashSet::new();
        for field in fields {
            let label = field.label_or_id();
            let wanted = key(label);
            let free = free_name(&mut keys, &wanted, |number| format!("{wanted}_{number}"));
            if !is_key(&free) {
                losses.push(format!("field \"{}\": its label can't be a key", printable(label)));
                continue;
            }
            if free != label {
                losses.push(format!("field \"{}\": its key is {free}", printable(label)));
            }
            // Without quotes, base64 such as `1234` or `true` would be no text in YAML.
            writeln!(self.out, "  {}: \"{}\"", quoted(&free), STANDARD.encode(&field.value))?;
        }
        // `file` leaves the same files out.
        let mut taken = keys.clone();
        for file in &item.files {
            let free = key(&file.name);
            if !is_key(&free) || !taken.insert(free.clone()) {
                losses.push(format!(
                    "file \"{}\": its name can't be a key, or is that of another value",
                    printable(&file.name)
                ));
            } else if free != file.name {
                losses.push(format!("file \"{}\": its key is {free}", printable(&file.name)));
            }
        }
        self.keys = Some(keys);
        Ok(losses)
    }

    fn file_order(&self) -> FileOrder {
        FileOrder::WithItem
    }

    fn file(&mut self, file: &File) -> io::Result<bool> {
        self.end_content()?;
        let Some(keys) = &mut self.keys else {
            return Ok(false);
        };
        let key = key(&file.name);
        if !is_key(&key) || !keys.insert(key.clone()) {
            return Ok(false);
        }
        write!(self.out, "  {}: \"", quoted(&key))?;
        self.in_content = true;
        Ok(true)
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.encoder.write(&mut self.out, bytes)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.end_content()?;
        self.out.flush()
    }
}

/// The store that ExternalSecrets refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The name.
    pub name: String,
    /// `SecretStore` or `ClusterSecretStore`.
    pub kind: String,
}

/// Writes ExternalSecrets, which hold no values. They make the Secrets that [`KubernetesSecrets`] writes, for the same items.
pub struct ExternalSecrets<W> {
    out: W,
    namespace: Option<String>,
    store: Store,
    names: Names,
    /// How many items of the present vault have each title.
    titles: HashMap<String, usize>,
}

impl<W: Write> ExternalSecrets<W> {
    /// Begins an export.
    pub fn new(out: W, namespace: Option<String>, store: Store) -> Self {
        Self {
            out,
            namespace,
            store,
            names: Names::default(),
            titles: HashMap::new(),
        }
    }
}

impl<W: Write> Writer for ExternalSecrets<W> {
    fn vault(&mut self, _vault: &Vault, summaries: &[Item]) -> io::Result<()> {
        self.titles.clear();
        for item in summaries {
            *self.titles.entry(fold(&item.title)).or_default() += 1;
        }
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<Vec<String>> {
        let mut losses = Vec::new();
        let properties = properties(item, &mut losses);
        if properties.is_empty() {
            losses.push("all of it: it has no value that an ExternalSecret could name".to_owned());
            return Ok(losses);
        }
        let name = self.names.choose(&item.title, &mut losses);
        // A title that several items have names none of them.
        let is_only = self.titles.get(&fold(&item.title)).is_none_or(|count| *count == 1);
        let item_key = if is_only && !item.title.is_empty() {
            item.title.as_str()
        } else {
            item.id.as_str()
        };
        let head = external_secret_head(&name, self.namespace.as_deref(), &self.store);
        writeln!(self.out, "{head}  data:")?;
        for (key, property) in properties {
            let entry = external_secret_entry(&key, item_key, &property);
            self.out.write_all(entry.as_bytes())?;
        }
        Ok(losses)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// The keys of an item's Secret, and the property that External Secrets' provider finds each value by. It takes a field by its label,
/// which no other field may have.
fn properties(item: &Item, losses: &mut Vec<String>) -> Vec<(String, String)> {
    let mut labels: HashMap<&str, usize> = HashMap::new();
    for field in &item.fields {
        *labels.entry(&field.label).or_default() += 1;
    }
    let mut names: HashMap<&str, usize> = HashMap::new();
    for file in &item.files {
        *names.entry(&file.name).or_default() += 1;
    }
    let (mut keys, mut properties) = (HashSet::new(), Vec::new());
    let mut add = |what: &str, prefix: &str, name: &str, is_only: bool| {
        let key = key(name);
        if !is_only || !is_key(&key) || !keys.insert(key.clone()) {
            losses.push(format!(
                "{what} \"{}\": External Secrets can't name it, because it has no name, or shares it with another",
                printable(name)
            ));
        } else {
            if key != name {
                losses.push(format!("{what} \"{}\": its key is {key}", printable(name)));
            }
            properties.push((key, format!("{prefix}{name}")));
        }
    };
    for field in item.fields.iter().filter(|field| !field.value.is_empty()) {
        // Without a prefix, a document's property is the name of a file.
        let is_ambiguous = field.label.starts_with("file/") || field.label.starts_with("field/");
        let is_document = item.category == sidevault_model::Category::Document;
        let prefix = if is_ambiguous || is_document { "field/" } else { "" };
        add("field", prefix, &field.label, labels[field.label.as_str()] == 1);
    }
    for file in &item.files {
        add("file", "file/", &file.name, names[file.name.as_str()] == 1);
    }
    properties
}

#[cfg(test)]
mod tests {
    use sidevault_model::{Category, FieldType};

    use super::super::testing::{full_item, plain_item, vault, written};
    use super::*;

    fn secrets(items: Vec<Item>) -> (String, Vec<String>) {
        let (text, losses) = written(
            |out| Box::new(KubernetesSecrets::new(out, Some("apps".into()))),
            &[(vault("a"), items)],
        );
        (String::from_utf8(text).unwrap(), losses)
    }

    fn external(items: Vec<Item>) -> (String, Vec<String>) {
        let store = Store {
            name: "onepassword".into(),
            kind: "ClusterSecretStore".into(),
        };
        let (text, losses) = written(
            |out| Box::new(ExternalSecrets::new(out, None, store)),
            &[(vault("a"), items)],
        );
        (String::from_utf8(text).unwrap(), losses)
    }

    fn token() -> Item {
        let mut item = plain_item("api-token");
        item.fields = vec![
            Field::new("a", FieldType::Concealed, "token", "s3cret"),
            Field::new("b", FieldType::String, "no value", ""),
        ];
        item
    }

    #[test]
    fn an_item_is_a_secret_with_its_values_and_files() {
        let (text, losses) = secrets(vec![token()]);
        assert_eq!(
            text,
            "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: \"api-token\"\n  namespace: \"apps\"\ntype: Opaque\ndata:\n  \"token\": \
             \"czNjcmV0\"\n"
        );
        assert_eq!(losses, [] as [String; 0]);
        let (text, losses) = secrets(vec![full_item(), token()]);
        assert!(text.contains("\n  name: \"shop---co\"\n"), "{text}");
        assert!(text.contains("\n  \"one-time_password\": "), "{text}");
        assert!(text.contains("\n  \"ca.pem\": \"AAECAw==\"\n---\n"), "{text}");
        assert!(!text.contains("etc_pass"), "a key must not begin with two dots: {text}");
        let named = |what: &str| losses.iter().any(|loss| loss.contains(what));
        assert!(
            named("shop---co") && named("one-time_password") && named("pass wd"),
            "{losses:?}"
        );
    }

    #[test]
    fn an_item_that_is_too_large_for_a_secret_is_left_out_and_named() {
        let mut large = token();
        large.fields[0].value = "x".repeat(1024 * 1024 + 1);
        let (text, losses) = secrets(vec![large, token()]);
        assert_eq!(text.matches("kind: Secret").count(), 1);
        assert!(losses[0].contains("1 MiB"), "{losses:?}");
    }

    #[test]
    fn names_and_keys_are_used_once() {
        let mut item = token();
        item.fields.push(Field::new("c", FieldType::String, "token", "two"));
        item.fields.push(Field::new("d", FieldType::String, "ümlaut", "three"));
        let (text, losses) = secrets(vec![item.clone(), token()]);
        assert!(
            text.contains("\"token_2\": \"dHdv\"\n") && text.contains("\"_mlaut\": "),
            "{text}"
        );
        assert!(text.contains("name: \"api-token-2\""), "{text}");
        assert_eq!(losses.len(), 3, "{losses:?}");
        let (text, losses) = external(vec![item]);
        assert!(!text.contains("property: \"token\""), "{text}");
        assert_eq!(losses.len(), 3, "{losses:?}");
    }

    #[test]
    fn an_external_secret_names_every_value_and_has_none() {
        let (text, losses) = external(vec![token()]);
        assert_eq!(
            text,
            "---\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata:\n  name: \"api-token\"\nspec:\n  secretStoreRef:\n    \
             name: \"onepassword\"\n    kind: ClusterSecretStore\n  target:\n    name: \"api-token\"\n  data:\n    - secretKey: \"token\"\n      \
             remoteRef:\n        key: \"api-token\"\n        property: \"token\"\n"
        );
        assert_eq!(losses, [] as [String; 0]);
        let mut document = full_item();
        document.category = Category::Document;
        let (text, _) = external(vec![document]);
        assert!(
            text.contains("property: \"file/ca.pem\"") && text.contains("property: \"field/pin\""),
            "{text}"
        );
        assert!(!text.contains("s3cret"));
    }

    #[test]
    fn items_of_the_same_title_are_named_by_id() {
        let mut other = token();
        other.title = "API-token".into();
        let (text, _) = external(vec![token(), other.clone()]);
        assert_eq!(text.matches(&format!("key: \"{}\"", other.id)).count(), 2, "{text}");
        assert!(!text.contains("key: \"api-token\""), "{text}");
    }

    #[test]
    fn any_title_is_a_name() {
        for (title, name) in [
            ("a", "a"),
            ("My Wi-Fi!", "my-wi-fi"),
            ("..", "item"),
            ("", "item"),
            ("a.-b", "a.b"),
            ("Ü", "item"),
        ] {
            assert_eq!(object_name(title), name, "{title}");
        }
        assert_eq!(object_name(&"x".repeat(500)).len(), 253);
    }

    #[test]
    fn yaml_has_no_character_that_it_does_not_allow() {
        assert_eq!(quoted("a\"\u{85}\u{2028}\n"), "\"a\\\"\\u0085\\u2028\\n\"");
    }
}
