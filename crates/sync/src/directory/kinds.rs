//! Files of other programs that say how the secrets of a tree are used: named in a preview, with what they mean for the items.

use serde::Serialize;
use sidevault_sops::{Document, Format, Identities, Value, read};

/// A file that another program reads together with the secrets of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recognized {
    /// The file's path in the tree.
    pub file: String,
    /// What it is.
    pub kind: &'static str,
    /// What it means for the items.
    pub meaning: String,
}

/// What a plaintext file is for other programs, if it concerns secrets.
pub(super) fn recognize(file: &str, format: Format, bytes: &[u8]) -> Vec<Recognized> {
    if !matches!(format, Format::Yaml | Format::Json) {
        return Vec::new();
    }
    let Ok(Document::Tree(documents)) = read(format, bytes, &Identities::default()).map(|read| read.document) else {
        return Vec::new();
    };
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for document in &documents {
        found.extend(flux(document));
        found.extend(ksops(document));
        found.extend(generators(document));
        if holds(document, &|text| text.contains("secrets://")) {
            found.push((
                "helm-secrets",
                "helm-secrets decrypts the files behind secrets://; each of them is an item".to_owned(),
            ));
        }
        if holds(document, &|text| text.contains("<path:")) {
            found.push((
                "Argo CD Vault Plugin",
                "its placeholders <path:…> are filled in by Argo CD; this file has no secret".to_owned(),
            ));
        }
    }
    found.dedup();
    let recognized = |(kind, meaning)| Recognized {
        file: file.to_owned(),
        kind,
        meaning,
    };
    found.into_iter().map(recognized).collect()
}

fn text<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a str> {
    keys.iter().try_fold(value, |value, key| value.get(key))?.as_str()
}

/// A `Kustomization` of Flux with `spec.decryption`.
fn flux(document: &Value) -> Option<(&'static str, String)> {
    let version = text(document, &["apiVersion"])?;
    if !version.starts_with("kustomize.toolkit.fluxcd.io/")
        || text(document, &["spec", "decryption", "provider"]) != Some("sops")
    {
        return None;
    }
    let path = text(document, &["spec", "path"]).unwrap_or(".");
    let keys = match text(document, &["spec", "decryption", "secretRef", "name"]) {
        Some(name) => format!("the keys in the Secret {name}: sync needs one of them"),
        None => "the controller's own keys".to_owned(),
    };
    Some((
        "Flux Kustomization with decryption",
        format!("Flux decrypts the SOPS files below {path} with {keys}"),
    ))
}

/// The generator of ksops.
fn ksops(document: &Value) -> Option<(&'static str, String)> {
    if !text(document, &["apiVersion"])?.starts_with("viaduct.ai/") || text(document, &["kind"]) != Some("ksops") {
        return None;
    }
    let files = texts(document.get("files")).join(", ");
    Some((
        "ksops",
        format!("Kustomize makes Secrets of these files, which are items: {files}"),
    ))
}

/// `secretGenerator` of a kustomization.
fn generators(document: &Value) -> Vec<(&'static str, String)> {
    let listed = document
        .get("secretGenerator")
        .and_then(Value::as_sequence)
        .unwrap_or_default();
    let made = listed.iter().filter_map(|generator| {
        let name = text(generator, &["name"])?;
        let mut files = texts(generator.get("files"));
        files.extend(texts(generator.get("envs")));
        files.extend(text(generator, &["env"]));
        // `KEY=FILE` gives the file another key.
        let files: Vec<&str> = files
            .iter()
            .map(|file| file.rsplit('=').next().unwrap_or(file))
            .collect();
        let literals = texts(generator.get("literals")).len();
        let meaning = match (files.is_empty(), literals) {
            (false, _) => format!(
                "Kustomize makes the Secret {name} of {}; those that are served are items of their own",
                files.join(", ")
            ),
            (true, 0) => return None,
            (true, _) => format!("Kustomize makes the Secret {name} of literals in plaintext, which make no item"),
        };
        Some(("Kustomize secretGenerator", meaning))
    });
    made.collect()
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    let list = list.and_then(Value::as_sequence).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

/// Whether a text in a document passes the test.
fn holds(value: &Value, test: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Sequence(items) => items.iter().any(|item| holds(item, test)),
        Value::Mapping(entries) => entries.iter().any(|(_, entry)| holds(entry, test)),
        Value::Merge(merged) => holds(merged, test),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_programs_are_named_with_what_they_mean() {
        for (yaml, kind, words) in [
            (
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n\
                 spec: {path: ./apps, decryption: {provider: sops, secretRef: {name: sops-age}}}\n",
                "Flux Kustomization with decryption",
                "below ./apps with the keys in the Secret sops-age",
            ),
            (
                "apiVersion: viaduct.ai/v1\nkind: ksops\nmetadata: {name: g}\nfiles: [./a.enc.yaml]\n",
                "ksops",
                "these files, which are items: ./a.enc.yaml",
            ),
            (
                "secretGenerator: [{name: app, files: [token=secret.env], envs: [b.env]}]\n",
                "Kustomize secretGenerator",
                "the Secret app of secret.env, b.env",
            ),
            (
                "secretGenerator: [{name: app, literals: [a=b]}]\n",
                "Kustomize secretGenerator",
                "literals in plaintext",
            ),
            (
                "spec: {source: {helm: {valueFiles: ['secrets://secrets.yaml']}}}\n",
                "helm-secrets",
                "each of them is an item",
            ),
            (
                "kind: Secret\napiVersion: v1\nstringData: {a: '<path:kv/data/a#b>'}\n",
                "Argo CD Vault Plugin",
                "filled in by Argo CD",
            ),
        ] {
            let found = recognize("a.yaml", Format::Yaml, yaml.as_bytes());
            assert_eq!(found.len(), 1, "{yaml}: {found:?}");
            assert_eq!(found[0].kind, kind);
            assert!(found[0].meaning.contains(words), "{found:?}");
        }
        for yaml in [
            "resources: [a.yaml]\n",
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec: {path: .}\n",
            "secretGenerator: []\n",
            "a: [\n",
        ] {
            assert_eq!(recognize("a.yaml", Format::Yaml, yaml.as_bytes()), [], "{yaml}");
        }
    }
}
