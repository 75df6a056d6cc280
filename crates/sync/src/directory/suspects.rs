//! Plaintext that looks like a secret, in a tree whose secrets are encrypted.
//!
//! A false alarm costs more than a miss here: the check runs before every commit of a tree with hundreds of manifests. So a value counts
//! if it has the form of a known kind of key, if its name says that it is a secret and it does not look like a word or a reference, or if
//! it is in a Kubernetes Secret. Random text under any other name counts for nothing: charts and manifests are full of digests.

use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder};
use serde::Serialize;
use sidevault_sops::{Document, Format, Identities, Value, read, scalar_text};

/// The most bytes of a file that is not structured which are searched.
const MAX_SEARCHED_BYTES: usize = 1 << 20;

/// A value of a plaintext file that looks like a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Suspect {
    /// The file's path in the tree.
    pub file: String,
    /// The path of the value, such as `spec.values.adminPassword`; empty for a file that has no values.
    pub value: String,
    /// Why it looks like a secret.
    pub why: &'static str,
}

/// Forms of keys that nothing else has, each with its name. The prefixes are those that the services document.
const FORMS: [(&str, &str); 12] = [
    (r"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY( BLOCK)?-----\s", "a private key"),
    (r"\bAGE-SECRET-KEY-(PQ-)?1[0-9A-Z]{40,}", "an age key"),
    (r"\b(ghp|gho|ghu|ghs|ghr)_[0-9A-Za-z]{36}\b", "a GitHub token"),
    (r"\bgithub_pat_[0-9A-Za-z_]{50,}", "a GitHub token"),
    (r"\bglpat-[0-9A-Za-z_-]{20,}", "a GitLab token"),
    (r"\bAKIA[0-9A-Z]{16}\b", "an AWS access key"),
    (r"\bxox[abeoprs]-[0-9A-Za-z-]{20,}", "a Slack token"),
    (r"\b(sk|rk)_live_[0-9A-Za-z]{20,}", "a Stripe key"),
    (
        r"\bhttps://(discord(app)?\.com/api/webhooks/\d+/|hooks\.slack\.com/services/T)[0-9A-Za-z_/-]{20,}",
        "a webhook",
    ),
    (r"\btskey-[a-z]+-[0-9A-Za-z]+-[0-9A-Za-z]{20,}", "a Tailscale key"),
    (r"\bops_eyJ[0-9A-Za-z_-]{100,}", "a 1Password token"),
    (
        r"\b[a-z][a-z0-9+]*://[^\s:/@$<{]+:[^\s:/@$<{]{8,}@[0-9A-Za-z]",
        "a password in a URL",
    ),
];

static KNOWN: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    let forms = FORMS.map(|(form, _)| form);
    RegexSetBuilder::new(forms).unicode(false).build().ok()
});

/// Parts of names that say that a value is a secret.
const SECRET_NAMES: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "secretkey",
    "accesskey",
    "encryptionkey",
    "clientsecret",
    "credential",
    "pskkey",
];

/// Ends of names that say that a value tells something about a secret and is none: `existingSecret`, `tokenUrl`.
const OTHER_ENDS: [&str; 26] = [
    "name",
    "ref",
    "refs",
    "path",
    "file",
    "url",
    "uri",
    "key",
    "keys",
    "type",
    "kind",
    "class",
    "policy",
    "ttl",
    "id",
    "store",
    "enabled",
    "namespace",
    "mount",
    "dir",
    "length",
    "hash",
    "hashed",
    "template",
    "expiry",
    "s",
];

/// Texts that only stand for a secret.
const STAND_INS: [&str; 9] = [
    "changeme",
    "change-me",
    "password",
    "example",
    "replace",
    "redacted",
    "placeholder",
    "xxxx",
    "dummy",
];

/// The values of a plaintext file that look like secrets.
pub(super) fn find(file: &str, format: Format, bytes: &[u8]) -> Vec<Suspect> {
    let mut found = Vec::new();
    let documents = match read(format, bytes, &Identities::default()).map(|read| read.document) {
        Ok(Document::Tree(documents)) => documents,
        // Templates are not valid in the format of their names.
        _ => {
            let searched = &bytes[..bytes.len().min(MAX_SEARCHED_BYTES)];
            found.extend(known_form(searched).map(|why| (String::new(), why)));
            Vec::new()
        }
    };
    for document in &documents {
        let is_secret = document.get("kind").and_then(Value::as_str) == Some("Secret");
        for (key, value) in document.as_mapping().unwrap_or_default() {
            let in_secret = is_secret && (key == "data" || key == "stringData");
            walk(value, key, key, in_secret, &mut found);
        }
    }
    let suspect = |(value, why)| Suspect {
        file: file.to_owned(),
        value,
        why,
    };
    found.into_iter().map(suspect).collect()
}

fn walk(value: &Value, name: &str, path: &str, in_secret: bool, found: &mut Vec<(String, &'static str)>) {
    match value {
        Value::Mapping(entries) => {
            // The environment of a container: the name is beside the value.
            let env = value.get("name").and_then(Value::as_str).filter(|_| entries.len() == 2);
            for (key, entry) in entries {
                let name = env.filter(|_| key == "value").unwrap_or(key);
                walk(entry, name, &format!("{path}.{key}"), in_secret, found);
            }
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, name, &format!("{path}[{index}]"), in_secret, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Merge(_) => {}
        scalar => {
            let text = scalar_text(scalar);
            let why = if is_reference(&text) {
                None
            } else if in_secret {
                Some("a value of a Kubernetes Secret")
            } else {
                known_form(text.as_bytes()).or_else(|| {
                    (is_secret_name(name) && matches!(scalar, Value::String(_)) && looks_random(&text))
                        .then_some("its name says that it is a secret")
                })
            };
            found.extend(why.map(|why| (path.to_owned(), why)));
        }
    }
}

fn known_form(text: &[u8]) -> Option<&'static str> {
    let first = KNOWN.as_ref()?.matches(text).into_iter().next()?;
    Some(FORMS[first].1)
}

/// Whether a text is empty, or stands for a value that another program puts in its place: `${TOKEN}`, `<path:…>`, `ref+…`, `op://…`,
/// `{{ … }}`, `$(…)`.
fn is_reference(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || ["${", "$(", "{{", "<", "ref+", "op://", "vault:", "env:", "file:", "$__"]
            .iter()
            .any(|start| text.starts_with(start))
        || text.contains("${")
        || text.contains("{{")
}

fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    let Some(part) = SECRET_NAMES
        .iter()
        .filter(|part| plain.contains(**part))
        .max_by_key(|part| part.len())
    else {
        return false;
    };
    let rest = plain.rsplit(part).next().unwrap_or_default();
    !OTHER_ENDS.contains(&rest) && !plain.starts_with("existing") && !plain.contains("public")
}

/// Whether a text is one word that a person would not write: without spaces, long enough, of mixed characters, and no address, path,
/// host, version or name of an object.
fn looks_random(text: &str) -> bool {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let has = |test: fn(&u8) -> bool| text.bytes().any(|byte| test(&byte));
    let classes = [
        has(u8::is_ascii_lowercase),
        has(u8::is_ascii_uppercase),
        has(u8::is_ascii_digit),
        has(u8::is_ascii_punctuation),
    ];
    let classes = classes.iter().filter(|has| **has).count();
    (10..=4096).contains(&text.len())
        && !text.contains(char::is_whitespace)
        && !text.contains("://")
        && !text.starts_with(['/', '.', '~', '$'])
        && !STAND_INS.iter().any(|word| lower.contains(word))
        && !is_object_name(&lower)
        && classes >= 2
        && bits_per_character(text) >= 3.0
}

/// Whether a text is words with dashes, dots, slashes or underscores between them, such as `plex-secret` or `secrets.plex.svc`.
fn is_object_name(lower: &str) -> bool {
    lower.split(['-', '.', '_', '/', ':', '@']).all(|word| {
        word.chars().all(|c| c.is_ascii_lowercase()) || (word.len() <= 3 && word.chars().all(|c| c.is_ascii_digit()))
    })
}

/// Shannon's entropy of the characters of a text.
fn bits_per_character(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let share = |count: &u32| f64::from(*count) / length;
    -counts
        .iter()
        .filter(|count| **count > 0)
        .map(share)
        .map(|share| share * share.log2())
        .sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspects(text: &str) -> Vec<(String, &'static str)> {
        let found = find("a.yaml", Format::Yaml, text.as_bytes());
        found.into_iter().map(|suspect| (suspect.value, suspect.why)).collect()
    }

    #[test]
    fn ordinary_manifests_have_no_suspects() {
        for text in [
            "apiVersion: v1\nkind: Secret\nstringData: {a: '${TOKEN}', b: '', c: '<path:kv/data/x#y>'}\n",
            "spec: {values: {existingSecret: plex-secret, auth: {existingSecretPasswordKey: postgres-password}}}\n",
            "env:\n- {name: TOKEN, valueFrom: {secretKeyRef: {name: plex-secret, key: token}}}\n- {name: TOKEN_URL, value: 'https://a/B2c3d4E5f6'}\n",
            "image: {repository: ghcr.io/a/b, tag: v1.2.3@sha256:0d5f5a015e5d65973cce1dbef5dcbe8c9dfd1b8b7f4e8f0f7b3c0f6b6c1d2e3f}\n",
            "password: changeme-Please1\nsecretName: Plex-Tls2-Abc\ntokenTTL: 3600s-Xyz12\npasswordPolicy: Min8Upper1Lower1\n",
            "secretStoreRef: {name: onepassword-connect, kind: ClusterSecretStore}\n",
            "remoteRef: {key: media/plex/secret, property: PLEX_TOKEN}\n",
            "secret: plex-secret\ntoken: true\npassword: 12345678901\ncredentials: [a-b, c-d]\n",
            "data: {token: '{{ .PLEX_TOKEN }}', password: '{{ .x }}-A1b2C3d4E5'}\n",
            "publicKey: AAAAC3NzaC1lZDI1NTE5AAAAIJb9\nsops_age_recipients: age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq\n",
            "database: {url: 'postgres://user@host/db', other: 'postgres://user:${PASSWORD}@host/db'}\n",
            "tokenPath: /var/run/secrets/kubernetes.io/serviceaccount/token\n",
        ] {
            assert_eq!(suspects(text), [], "{text}");
        }
    }

    #[test]
    fn secrets_are_found_by_name_form_and_kind() {
        let pem = "-----BEGIN OPENSSH PRIVATE KEY-----\n    b3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n";
        for (text, path, why) in [
            ("adminPassword: kX9!vq2Lm#Pz\n", "adminPassword", "its name"),
            (
                "spec: {env: [{name: PLEX_TOKEN, value: xY7zQ2mN4kL8}]}\n",
                "spec.env[0].value",
                "its name",
            ),
            (
                "spec: {api_key: 9f86d081884c7d659a2feaa0c55ad015}\n",
                "spec.api_key",
                "its name",
            ),
            (
                "a: {b: ghp_0123456789abcdefghijklmnopqrstuvwxyz}\n",
                "a.b",
                "a GitHub token",
            ),
            (
                "url: postgres://app:Tr0ub4dor3@db:5432/app\n",
                "url",
                "a password in a URL",
            ),
            (
                "kind: Secret\napiVersion: v1\ndata: {k: aHVudGVyMg==}\n",
                "data.k",
                "a Kubernetes Secret",
            ),
            (&format!("files:\n  id: |-\n    {pem}"), "files.id", "a private key"),
        ] {
            let found = suspects(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(found[0].0, path, "{text}");
            assert!(found[0].1.contains(why), "{found:?}");
        }
        let key = "# public key: age1x\nAGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQ\n";
        assert_eq!(find("age.key", Format::Binary, key.as_bytes())[0].why, "an age key");
        assert!(find("a.bin", Format::Binary, b"\0\x01").is_empty());
    }

    #[test]
    fn the_forms_are_valid() {
        assert!(KNOWN.is_some());
    }
}
