//! What an encrypted file tells without its keys: to whom it is encrypted, and whether all values are that should be.

use std::collections::BTreeSet;

use crate::cipher::looks_sealed;
use crate::decrypt::Path;
use crate::documents::holds_sealed;
use crate::metadata::Metadata;
use crate::rule::{Rule, RuleText};
use crate::{Format, SopsError, Value, parse, recognize, take_blocks};

/// The most values that are named for one file.
const MAX_NAMED: usize = 20;

/// The keys of one group, as sops names them: age recipients as they are, others after the name of their service.
pub type Keys = BTreeSet<String>;

/// An encrypted file.
#[derive(Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The groups of keys, of which one must open each part of the data key.
    pub groups: Vec<Keys>,
    /// The rule that chooses the values to encrypt.
    pub rule: RuleText,
    /// Some paths of values that should be encrypted and are not: someone wrote them without sops.
    pub plaintext: Vec<String>,
}

/// Reads the `sops` block of a file. Returns `None` if the file has none, so that it is not encrypted. Nothing is decrypted, and no
/// MAC is checked.
///
/// # Errors
/// [`SopsError`] if the file is malformed, its `sops` block is not usable, or it has encrypted values without such a block.
pub fn inspect(format: Format, bytes: &[u8]) -> Result<Option<Inspected>, SopsError> {
    let read_as = match recognize::format(format, bytes)? {
        Format::Binary => return Ok(None),
        read_as => read_as,
    };
    let mut documents = match parse(read_as, bytes) {
        // A binary file is encrypted as a JSON envelope. Other JSON in it is its content.
        Err(_) if format == Format::Binary => return Err(SopsError::MissingMetadata),
        parsed => parsed?,
    };
    let blocks = take_blocks(read_as, &mut documents)?;
    let mut found: Option<Inspected> = None;
    for (document, block) in documents.iter().zip(&blocks) {
        let Some(block) = block else { continue };
        let metadata = Metadata::parse(block)?;
        let inspected = found.get_or_insert_with(|| Inspected {
            groups: keys_of_block(block),
            rule: RuleText::of(block),
            plaintext: Vec::new(),
        });
        Search::by(&metadata.rule, looks_sealed).search(document, &mut inspected.plaintext);
    }
    if found.is_none() && documents.iter().any(holds_sealed) {
        return Err(SopsError::MissingMetadata);
    }
    Ok(found)
}

/// A search for values that a rule would encrypt and that are not encrypted.
pub(crate) struct Search<'a, F> {
    rule: &'a Rule,
    /// Which texts need no encryption.
    passes: F,
}

impl<'a, F: Fn(&str) -> bool> Search<'a, F> {
    pub(crate) fn by(rule: &'a Rule, passes: F) -> Self {
        Self { rule, passes }
    }

    /// Adds the paths of the values that were found.
    pub(crate) fn search(&self, document: &Value, found: &mut Vec<String>) {
        self.walk(document, false, &Path::Root, found);
    }

    fn walk(&self, value: &Value, matched: bool, path: &Path<'_>, found: &mut Vec<String>) {
        if found.len() >= MAX_NAMED {
            return;
        }
        match value {
            // sops encrypts neither nulls nor empty texts.
            Value::Null => {}
            Value::String(text) if text.is_empty() || (self.passes)(text) => {}
            Value::Merge(merged) => self.walk(merged, matched, path, found),
            Value::Mapping(entries) => {
                for (key, entry) in entries {
                    let matched = matched || self.rule.matches(key);
                    self.walk(entry, matched, &Path::Key(path, key), found);
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, matched, &Path::Index(path, index), found);
                }
            }
            _ if self.rule.seals(matched, false) => found.push(path.to_string()),
            _ => {}
        }
    }
}

/// Makes the name of a key from its entry in a `sops` block.
type KeyName = fn(&Value) -> String;

/// The kinds of keys in a `sops` block, each with the name of its service and the fields that sops makes the key's name of.
const KINDS: [(&str, &str, KeyName); 7] = [
    ("age", "", |key| field(key, "recipient")),
    ("pgp", "PGP ", |key| field(key, "fp")),
    ("kms", "AWS KMS ", |key| {
        let role = field(key, "role");
        let plus = if role.is_empty() { "" } else { "+" };
        format!("{}{plus}{role}", field(key, "arn"))
    }),
    ("gcp_kms", "GCP KMS ", |key| field(key, "resource_id")),
    ("hckms", "HuaweiCloud KMS ", |key| field(key, "key_id")),
    ("azure_kv", "Azure Key Vault ", |key| {
        let url = field(key, "vault_url");
        format!("{url}/keys/{}/{}", field(key, "name"), field(key, "version"))
    }),
    ("hc_vault", "HashiCorp Vault ", |key| {
        let [address, engine, name] = ["vault_address", "engine_path", "key_name"].map(|name| field(key, name));
        format!("{address}/v1/{engine}/keys/{name}")
    }),
];

/// The groups of a block that [`Metadata::parse`] has accepted.
fn keys_of_block(block: &Value) -> Vec<Keys> {
    let own = keys(block);
    if !own.is_empty() {
        return vec![own];
    }
    let groups = block.get("key_groups").and_then(Value::as_sequence).unwrap_or_default();
    groups.iter().map(keys).collect()
}

fn keys(group: &Value) -> Keys {
    let entries = |kind| group.get(kind).and_then(Value::as_sequence).unwrap_or_default();
    let all = KINDS
        .iter()
        .flat_map(|(kind, title, name)| entries(kind).iter().map(move |key| format!("{title}{}", name(key))));
    all.collect()
}

fn field(key: &Value, name: &str) -> String {
    key.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "sops: {mac: m, lastmodified: t, encrypted_regex: '^(data|stringData)$', \
                         age: [{recipient: age1a, enc: x}, {recipient: age1b, enc: x}]}\n";

    fn yaml(text: &str) -> Result<Option<Inspected>, SopsError> {
        inspect(Format::Yaml, text.as_bytes())
    }

    #[test]
    fn a_file_tells_its_keys_its_rule_and_values_that_someone_added() {
        let sealed = "'ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]'";
        let text = format!(
            "kind: Secret\ndata: {{a: {sealed}, b: '', c: null}}\nstringData: {{new: [1, {sealed}], on: true}}\n{BLOCK}"
        );
        let found = yaml(&text).unwrap().unwrap();
        assert_eq!(found.groups, [Keys::from(["age1a".to_owned(), "age1b".to_owned()])]);
        assert_eq!(found.rule.to_string(), "encrypted_regex: ^(data|stringData)$");
        assert_eq!(found.plaintext, ["stringData.new[0]", "stringData.on"]);
    }

    #[test]
    fn key_groups_and_other_services_are_named_as_sops_does() {
        let text = "k: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\n\
            sops:\n  mac: m\n  lastmodified: t\n  key_groups:\n    \
            - {pgp: [{fp: AB, enc: x}], kms: [{arn: 'arn:a', role: 'arn:r', enc: x}]}\n    \
            - {hc_vault: [{vault_address: 'https://v', engine_path: transit, key_name: k, enc: x}], \
               azure_kv: [{vault_url: 'https://a', name: n, version: v, enc: x}]}\n";
        let found = yaml(text).unwrap().unwrap();
        let groups: Vec<Vec<&str>> = found
            .groups
            .iter()
            .map(|group| group.iter().map(String::as_str).collect())
            .collect();
        assert_eq!(groups[0], ["AWS KMS arn:a+arn:r", "PGP AB"]);
        assert_eq!(
            groups[1],
            [
                "Azure Key Vault https://a/keys/n/v",
                "HashiCorp Vault https://v/v1/transit/keys/k"
            ]
        );
        assert_eq!(found.rule.to_string(), "unencrypted_suffix: _unencrypted");
    }

    #[test]
    fn plaintext_has_no_keys_and_ciphertext_without_a_block_is_an_error() {
        assert_eq!(yaml("k: v\n"), Ok(None));
        assert_eq!(inspect(Format::Binary, b"\x00\x01"), Ok(None));
        let cut = b"k: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\n";
        for format in [Format::Binary, Format::Yaml] {
            assert_eq!(inspect(format, cut), Err(SopsError::MissingMetadata));
        }
    }
}
