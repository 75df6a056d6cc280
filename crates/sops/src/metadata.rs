//! The `sops` block of a file: its recipients, its MAC, and the rule that tells which values are encrypted.

use std::collections::HashSet;

use crate::cipher::boolean;
use crate::rule::Rule;
use crate::{Recipient, SopsError, Value, flatten, scalar_text};

/// The key or section that has the metadata.
pub(crate) const KEY: &str = "sops";
/// The prefix of the metadata's names in dotenv.
pub(crate) const FLAT_PREFIX: &str = "sops_";

/// The most age recipients of a file. Each costs public-key operations.
const MAX_RECIPIENTS: usize = 1000;

#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) groups: Vec<KeyGroup>,
    /// How many groups must be decrypted, if there are several.
    pub(crate) threshold: usize,
    pub(crate) rule: Rule,
    pub(crate) mac: String,
    pub(crate) mac_only_encrypted: bool,
    pub(crate) lastmodified: String,
}

/// Recipients that can each decrypt the same part of the data key.
#[derive(Debug, Default)]
pub(crate) struct KeyGroup {
    pub(crate) age: Vec<AgeRecipient>,
    /// PGP keys and keys in key management services, none of which Sidevault can use.
    pub(crate) others: Vec<Recipient>,
}

#[derive(Debug)]
pub(crate) struct AgeRecipient {
    pub(crate) recipient: Recipient,
    /// The encrypted part, as an armored age file.
    pub(crate) enc: String,
}

impl Metadata {
    pub(crate) fn parse(block: &Value) -> Result<Self, SopsError> {
        if block.as_mapping().is_none() {
            return Err(unusable("it is not a mapping"));
        }
        let mut groups = Vec::new();
        let own = KeyGroup::parse(block);
        // As in sops, key groups are ignored if the block has recipients outside of them.
        if !own.is_empty() {
            groups.push(own);
        } else if let Some(listed) = block.get("key_groups").and_then(Value::as_sequence) {
            groups.extend(listed.iter().map(KeyGroup::parse));
        }
        if groups.iter().all(KeyGroup::is_empty) {
            return Err(unusable("it names no recipients"));
        }
        if groups.iter().map(|group| group.age.len()).sum::<usize>() > MAX_RECIPIENTS {
            return Err(SopsError::Limit {
                what: "recipients",
                limit: MAX_RECIPIENTS,
            });
        }
        let threshold = match text(block, "shamir_threshold") {
            None => 0,
            Some(text) => text.parse().map_err(|_| unusable("shamir_threshold is not a number"))?,
        };
        let mac_only_encrypted = match text(block, "mac_only_encrypted") {
            None => false,
            Some(text) => boolean(&text).ok_or_else(|| unusable("mac_only_encrypted is neither true nor false"))?,
        };
        Ok(Self {
            // Shamir's scheme needs two shares at least. Without a threshold, sops needs all groups.
            threshold: if threshold == 0 { groups.len() } else { threshold.max(2) },
            groups,
            rule: Rule::from_metadata(|name| text(block, name))?,
            mac: text(block, "mac")
                .filter(|mac| !mac.is_empty())
                .ok_or(SopsError::MissingMac)?,
            mac_only_encrypted,
            lastmodified: text(block, "lastmodified").ok_or_else(|| unusable("lastmodified is missing"))?,
        })
    }

    /// Everything the file is encrypted to, without repetitions.
    pub(crate) fn recipients(&self) -> Vec<Recipient> {
        let names = |group: &KeyGroup| {
            let age = group.age.iter().map(|entry| entry.recipient.clone());
            age.chain(group.others.iter().cloned()).collect::<Vec<_>>()
        };
        let mut seen = HashSet::new();
        let all = self.groups.iter().flat_map(names);
        all.filter(|recipient| seen.insert(recipient.clone())).collect()
    }
}

impl KeyGroup {
    fn parse(block: &Value) -> Self {
        let entries = |kind: &str| block.get(kind).and_then(Value::as_sequence).unwrap_or_default();
        let age = entries("age").iter().map(|entry| AgeRecipient {
            recipient: Recipient::age(&text(entry, "recipient").unwrap_or_default()),
            enc: text(entry, "enc").unwrap_or_default(),
        });
        let others = [
            ("pgp", "PGP", &["fp"][..]),
            ("kms", "AWS KMS", &["arn"]),
            ("gcp_kms", "GCP KMS", &["resource_id"]),
            ("hckms", "HuaweiCloud KMS", &["key_id"]),
            ("azure_kv", "Azure Key Vault", &["vault_url", "name"]),
            (
                "hc_vault",
                "HashiCorp Vault",
                &["vault_address", "engine_path", "key_name"],
            ),
        ];
        let others = others.iter().flat_map(|(kind, title, fields)| {
            entries(kind).iter().map(move |entry| {
                let parts: Vec<_> = fields.iter().filter_map(|field| text(entry, field)).collect();
                Recipient::service(title, &parts.join(" "))
            })
        });
        Self {
            age: age.collect(),
            others: others.collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.age.is_empty() && self.others.is_empty()
    }
}

/// Removes the `sops` key from a document and returns its value; `None` if the document has none.
pub(crate) fn take_nested(document: &mut Value) -> Result<Option<Value>, SopsError> {
    let Value::Mapping(entries) = document else {
        return Ok(None);
    };
    let mut places = (0..entries.len()).filter(|at| entries[*at].0 == KEY);
    let Some(at) = places.next() else {
        return Ok(None);
    };
    if places.next().is_some() {
        return Err(unusable("it occurs twice"));
    }
    Ok(Some(entries.remove(at).1))
}

/// Like [`take_nested`], for INI: the names of the section are flat, and `\n` in its values is a line break.
pub(crate) fn take_ini(document: &mut Value) -> Result<Option<Value>, SopsError> {
    let Some(mut section) = take_nested(document)? else {
        return Ok(None);
    };
    let Value::Mapping(entries) = &mut section else {
        return Err(unusable("it is not a section"));
    };
    for (_, value) in entries.iter_mut() {
        if let Value::String(text) = value {
            *text = text.replace("\\n", "\n");
        }
    }
    flatten::unflatten(std::mem::take(entries)).map(Some)
}

/// Like [`take_nested`], for the `sops_…` names of a dotenv file.
pub(crate) fn take_dotenv(document: &mut Value) -> Result<Option<Value>, SopsError> {
    let Value::Mapping(entries) = document else {
        return Ok(None);
    };
    let mut flat = Vec::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (key, value) in std::mem::take(entries) {
        match key.strip_prefix(FLAT_PREFIX) {
            Some(name) => flat.push((name.to_owned(), value)),
            None => kept.push((key, value)),
        }
    }
    *entries = kept;
    if flat.is_empty() {
        Ok(None)
    } else {
        flatten::unflatten(flat).map(Some)
    }
}

/// A scalar of the block as text. Like sops, this makes no difference between `"true"` and `true`, or `"2"` and `2`.
fn text(block: &Value, key: &str) -> Option<String> {
    match block.get(key)? {
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Merge(_) => None,
        scalar => Some(scalar_text(scalar)),
    }
}

fn unusable(problem: &str) -> SopsError {
    SopsError::Metadata {
        problem: problem.to_owned(),
    }
}
