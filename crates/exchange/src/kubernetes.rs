//! Kubernetes Secrets as items, and the ExternalSecrets that make the same Secrets of them again.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidevault_model::{Category, FieldInput, FieldType, Item, ItemInput};
use sidevault_sops::{Document, Value, scalar_text};

use crate::export::{Store, external_secret_entry, external_secret_head, quoted};

/// The most Secrets of one list.
pub const MAX_SECRETS: usize = 50_000;

/// Types of Secrets that Kubernetes or Helm make for themselves, and what to say of them.
const OWN_TYPES: [(&str, &str); 3] = [
    ("kubernetes.io/service-account-token", "Kubernetes makes it"),
    ("bootstrap.kubernetes.io/token", "it lets a node join the cluster"),
    ("helm.sh/release.v1", "Helm keeps a release in it"),
];

/// Labels and annotations that say who applied an object: they would be wrong on a Secret that an ExternalSecret makes. The
/// annotation of `kubectl apply` even has the values.
const APPLIED_BY: [&str; 7] = [
    "kubectl.kubernetes.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "argocd.argoproj.io/",
    "reconcile.external-secrets.io/",
    "app.kubernetes.io/managed-by",
];

/// A Secret. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name.
    pub name: String,
    /// The namespace, if the manifest names one.
    pub namespace: Option<String>,
    /// The type: `Opaque`, `kubernetes.io/tls` and so on.
    pub kind: String,
    /// Whether it can't be changed.
    pub immutable: bool,
    /// Labels, without those of the program that applied the Secret.
    pub labels: Vec<(String, String)>,
    /// Annotations, without those of the program that applied the Secret.
    pub annotations: Vec<(String, String)>,
    /// Keys and values, in the manifest's order.
    pub values: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("values", &self.values.len())
            .finish_non_exhaustive()
    }
}

/// What a file of manifests has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Manifests {
    /// The Secrets to migrate.
    pub secrets: Vec<Secret>,
    /// Other objects, as `KIND NAME: why it is left out`.
    pub skipped: Vec<String>,
}

/// Reads the Secrets in a file: YAML documents, or the JSON of `kubectl get secrets -o json`. Lists are opened.
///
/// # Errors
/// What is wrong, and in which Secret. No text has a value.
pub fn read(document: &Document) -> Result<Manifests, String> {
    let Document::Tree(documents) = document else {
        return Err("it is neither YAML nor JSON".to_owned());
    };
    let mut found = Manifests::default();
    for document in documents {
        object(document, &mut found, 0)?;
    }
    Ok(found)
}

fn object(object: &Value, found: &mut Manifests, depth: usize) -> Result<(), String> {
    let text = |name: &str| object.get(name).map(scalar_text).unwrap_or_default();
    let kind = text("kind");
    match (kind.as_str(), object.get("items").and_then(Value::as_sequence)) {
        // An empty document between two `---`.
        ("", _) if matches!(object, Value::Null) => Ok(()),
        // A list is never in a list.
        ("List" | "SecretList", Some(items)) if depth == 0 => {
            items.iter().try_for_each(|item| self::object(item, found, depth + 1))
        }
        ("Secret", _) if text("apiVersion") == "v1" => secret(object, found),
        _ => {
            let name = object.get("metadata").and_then(|metadata| metadata.get("name"));
            let name = name.map(scalar_text).unwrap_or_default();
            found.skipped.push(format!(
                "{} {}: it is no Secret",
                if kind.is_empty() {
                    "an object without a kind"
                } else {
                    &kind
                },
                name
            ));
            Ok(())
        }
    }
}

fn secret(object: &Value, found: &mut Manifests) -> Result<(), String> {
    if found.secrets.len() == MAX_SECRETS {
        return Err(format!("it has more than {MAX_SECRETS} Secrets"));
    }
    let none = Value::Null;
    let metadata = object.get("metadata").unwrap_or(&none);
    let text = |name: &str| metadata.get(name).map(scalar_text).filter(|text| !text.is_empty());
    let name = text("name").ok_or("a Secret has no metadata.name")?;
    let namespace = text("namespace");
    let full_name = match &namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.clone(),
    };
    let kind = object
        .get("type")
        .map(scalar_text)
        .filter(|kind| !kind.is_empty())
        .unwrap_or_else(|| "Opaque".to_owned());
    let owners = metadata
        .get("ownerReferences")
        .and_then(Value::as_sequence)
        .unwrap_or_default();
    let owner = owners
        .iter()
        .find_map(|owner| owner.get("kind").map(scalar_text))
        .filter(|owner| !owner.is_empty());
    let reason = match (OWN_TYPES.iter().find(|(own, _)| *own == kind), owner) {
        (Some((_, reason)), _) => Some((*reason).to_owned()),
        (None, Some(owner)) => Some(format!("an object of the kind {owner} owns it")),
        (None, None) => None,
    };
    if let Some(reason) = reason {
        found.skipped.push(format!("Secret {full_name}: {reason}"));
        return Ok(());
    }
    let mut secret = Secret {
        name,
        namespace,
        kind,
        immutable: matches!(object.get("immutable"), Some(Value::Bool(true))),
        labels: kept(metadata.get("labels")),
        annotations: kept(metadata.get("annotations")),
        values: Vec::new(),
    };
    for (key, value) in object.get("data").and_then(Value::as_mapping).unwrap_or_default() {
        let encoded: String = scalar_text(value).split_ascii_whitespace().collect();
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| format!("Secret {full_name}: data.{key} is not base64"))?;
        secret.values.push((key.clone(), bytes));
    }
    // As in Kubernetes, a key in `stringData` overrides the same key in `data`.
    for (key, value) in object.get("stringData").and_then(Value::as_mapping).unwrap_or_default() {
        secret.values.retain(|(other, _)| other != key);
        secret.values.push((key.clone(), scalar_text(value).into_bytes()));
    }
    match secret.values.is_empty() {
        true => found.skipped.push(format!("Secret {full_name}: it has no values")),
        false => found.secrets.push(secret),
    }
    Ok(())
}

/// Labels or annotations, without those of the program that applied the object.
fn kept(map: Option<&Value>) -> Vec<(String, String)> {
    let entries = map.and_then(Value::as_mapping).unwrap_or_default();
    entries
        .iter()
        .filter(|(name, _)| !APPLIED_BY.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| (name.clone(), scalar_text(value)))
        .collect()
}

impl Secret {
    /// The text of a value, and whether it is base64, because the value is not UTF-8.
    fn text(value: &[u8]) -> (String, bool) {
        match std::str::from_utf8(value) {
            Ok(text) => (text.to_owned(), false),
            Err(_) => (STANDARD.encode(value), true),
        }
    }

    /// The keys whose values are not UTF-8. Their fields have the values in base64.
    pub fn binary_keys(&self) -> impl Iterator<Item = &str> {
        let is_binary = |value: &[u8]| std::str::from_utf8(value).is_err();
        self.values
            .iter()
            .filter(move |(_, value)| is_binary(value))
            .map(|(key, _)| key.as_str())
    }

    /// The item that holds the values: a concealed field for each key. The namespace is a tag, as in a directory source.
    pub fn item(&self) -> ItemInput {
        let field = |(key, value): &(String, Vec<u8>)| FieldInput {
            id: Some(key.clone()),
            field_type: Some(FieldType::Concealed),
            label: Some(key.clone()),
            value: Some(Self::text(value).0),
            ..FieldInput::default()
        };
        ItemInput {
            title: Some(self.name.clone()),
            category: Some(Category::ApiCredential.as_str().to_owned()),
            tags: self.namespace.iter().cloned().collect(),
            fields: self.values.iter().map(field).collect(),
            ..ItemInput::default()
        }
    }

    /// Whether an item has the Secret's values, and no others.
    pub fn is_in(&self, item: &Item) -> bool {
        let is_there = |(key, value): &(String, Vec<u8>)| {
            let mut same = item.fields.iter().filter(|field| field.label == *key);
            same.next().is_some_and(|field| field.value == Self::text(value).0) && same.next().is_none()
        };
        let filled = item.fields.iter().filter(|field| !field.value.is_empty()).count();
        self.values.iter().all(is_there) && filled <= self.values.len()
    }

    /// The manifest of the ExternalSecret that makes this Secret from the item with this title or id. It has no value.
    pub fn external_secret(&self, item: &str, store: &Store) -> String {
        let mut text = external_secret_head(&self.name, self.namespace.as_deref(), store);
        let mut lines = Vec::new();
        if self.immutable {
            lines.push("    immutable: true".to_owned());
        }
        let has_metadata = !self.labels.is_empty() || !self.annotations.is_empty();
        if has_metadata || self.kind != "Opaque" {
            lines.push("    template:".to_owned());
            lines.push(format!("      type: {}", quoted(&self.kind)));
        }
        if has_metadata {
            lines.push("      metadata:".to_owned());
        }
        for (what, entries) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !entries.is_empty() {
                lines.push(format!("        {what}:"));
            }
            // External Secrets runs these values as templates.
            lines.extend(entries.iter().map(|(name, value)| {
                let literal = value.replace("{{", "{{ \"{{\" }}");
                format!("          {}: {}", quoted(name), quoted(&literal))
            }));
        }
        lines.push("  data:".to_owned());
        text.push_str(&lines.join("\n"));
        text.push('\n');
        for (key, value) in &self.values {
            text.push_str(&external_secret_entry(key, item, key));
            if Self::text(value).1 {
                text.push_str("        decodingStrategy: Base64\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sidevault_sops::{Format, Identities};

    use super::*;

    fn manifests(text: &str) -> Result<Manifests, String> {
        let file = sidevault_sops::read(Format::Yaml, text.as_bytes(), &Identities::default()).unwrap();
        read(&file.document)
    }

    const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: db
  namespace: apps
  labels: {app: db, app.kubernetes.io/managed-by: Helm}
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{\"data\": \"s3cret\"}'
    note: 'a {{ b }}'
type: kubernetes.io/basic-auth
immutable: true
data:
  password: czNjcmV0
  jks: /+8=
  user: b2xk
stringData:
  user: app
";

    #[test]
    fn a_secret_becomes_an_item_and_an_external_secret() {
        let found = manifests(SECRET).unwrap();
        let secret = &found.secrets[0];
        let item = secret.item();
        assert_eq!(
            (item.title.as_deref(), item.tags.as_slice()),
            (Some("db"), &["apps".to_owned()][..])
        );
        let fields: Vec<_> = item
            .fields
            .iter()
            .map(|field| (field.label.as_deref().unwrap(), field.value.as_deref().unwrap()))
            .collect();
        assert_eq!(fields, [("password", "s3cret"), ("jks", "/+8="), ("user", "app")]);
        assert_eq!(secret.binary_keys().collect::<Vec<_>>(), ["jks"]);
        let store = Store {
            name: "store".into(),
            kind: "SecretStore".into(),
        };
        let text = secret.external_secret("db", &store);
        assert_eq!(
            text,
            "\
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: \"db\"
  namespace: \"apps\"
spec:
  secretStoreRef:
    name: \"store\"
    kind: SecretStore
  target:
    name: \"db\"
    immutable: true
    template:
      type: \"kubernetes.io/basic-auth\"
      metadata:
        labels:
          \"app\": \"db\"
        annotations:
          \"note\": \"a {{ \\\"{{\\\" }} b }}\"
  data:
    - secretKey: \"password\"
      remoteRef:
        key: \"db\"
        property: \"password\"
    - secretKey: \"jks\"
      remoteRef:
        key: \"db\"
        property: \"jks\"
        decodingStrategy: Base64
    - secretKey: \"user\"
      remoteRef:
        key: \"db\"
        property: \"user\"
"
        );
    }

    #[test]
    fn lists_are_opened_and_what_is_no_ones_secret_is_left_out() {
        let found = manifests(
            "\
kind: List
items:
  - {apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {k: v}}
  - {apiVersion: v1, kind: Secret, type: helm.sh/release.v1, metadata: {name: h}, data: {k: eA==}}
  - {apiVersion: v1, kind: Secret, metadata: {name: o, ownerReferences: [{kind: ExternalSecret}]}, data: {k: eA==}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
  - {apiVersion: v1, kind: Secret, metadata: {name: empty}}
---
---
apiVersion: v1
kind: Secret
metadata: {name: b}
data: {k: eA==}
",
        )
        .unwrap();
        let names: Vec<&str> = found.secrets.iter().map(|secret| secret.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(found.skipped.len(), 4, "{:?}", found.skipped);
        assert!(
            found.skipped[1].contains("ExternalSecret owns it"),
            "{:?}",
            found.skipped
        );
    }

    #[test]
    fn an_error_names_the_key_and_no_value() {
        let error =
            manifests("{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: n}, data: {k: '*s3cret*'}}");
        assert_eq!(error.unwrap_err(), "Secret n/a: data.k is not base64");
        let error = manifests("{apiVersion: v1, kind: Secret, data: {k: eA==}}").unwrap_err();
        assert!(error.contains("metadata.name"), "{error}");
    }

    proptest! {
        #[test]
        fn a_value_is_found_again_in_its_item(values in prop::collection::btree_map("[-._a-z0-9]{1,9}", any::<Vec<u8>>(), 1..5)) {
            let secret = Secret {
                name: "a".into(),
                namespace: None,
                kind: "Opaque".into(),
                immutable: false,
                labels: Vec::new(),
                annotations: Vec::new(),
                values: values.into_iter().collect(),
            };
            for (field, (_, value)) in secret.item().fields.iter().zip(&secret.values) {
                let text = field.value.as_deref().unwrap();
                let bytes = match secret.binary_keys().any(|key| Some(key) == field.label.as_deref()) {
                    true => STANDARD.decode(text).unwrap(),
                    false => text.as_bytes().to_vec(),
                };
                prop_assert_eq!(&bytes, value);
            }
        }

        #[test]
        fn any_yaml_is_read_without_a_panic(text in "(kind: (Secret|List)|apiVersion: v1|items:|data:|metadata:|name: a|---|  |- |\n|[a-z: ]){0,30}") {
            if let Ok(file) = sidevault_sops::read(Format::Yaml, text.as_bytes(), &Identities::default()) {
                let _ = read(&file.document);
            }
        }
    }
}
