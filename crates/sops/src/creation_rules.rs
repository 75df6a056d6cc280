//! The creation rules of a `.sops.yaml`: which files sops encrypts to which keys.

use sidevault_go::regex::Regex;

use crate::inspect::{Keys, Search};
use crate::rule::{Rule, RuleText};
use crate::{SopsError, Value, merge, yaml};

/// The creation rules of a `.sops.yaml`.
#[derive(Debug)]
pub struct CreationRules(Vec<CreationRule>);

/// One rule.
#[derive(Debug)]
pub struct CreationRule {
    /// The rule's place in the file, from 1.
    pub number: usize,
    path: Option<Regex>,
    /// The groups of keys. All are empty if the rule has none, and sops takes them from its command line.
    pub groups: Vec<Keys>,
    /// The rule that chooses the values to encrypt.
    pub text: RuleText,
    pub(crate) rule: Rule,
    pub(crate) mac_only_encrypted: bool,
}

/// Why a `.sops.yaml` can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// It is not YAML.
    #[error("{0}")]
    Yaml(#[from] SopsError),
    /// A rule is not valid.
    #[error("creation rule {number}: {problem}")]
    Rule {
        /// The rule's place in the file, from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
}

impl CreationRules {
    /// Reads a `.sops.yaml`. Fields other than `creation_rules` are ignored.
    ///
    /// # Errors
    /// If it is not YAML, or a rule is not valid.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRules> {
        let mut documents = yaml::parse(bytes)?;
        documents.iter_mut().for_each(merge::resolve);
        let listed = documents.first().and_then(|config| config.get("creation_rules"));
        let listed = listed.and_then(Value::as_sequence).unwrap_or_default();
        let rules = listed.iter().zip(1..).map(|(entry, number)| {
            CreationRule::parse(entry, number).map_err(|problem| BadRules::Rule { number, problem })
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no rule. sops takes such a file for none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same rule as [`CreationRules::for_path`], taken out of the others.
    pub fn into_rule_for(self, path: &str) -> Option<CreationRule> {
        self.0.into_iter().find(|rule| rule.is_for(path))
    }

    /// The rule for a file: the first that has no `path_regex`, or whose `path_regex` matches. `path` is relative to the directory of
    /// the `.sops.yaml`.
    pub fn for_path(&self, path: &str) -> Option<&CreationRule> {
        self.0.iter().find(|rule| rule.is_for(path))
    }
}

impl CreationRule {
    fn is_for(&self, path: &str) -> bool {
        self.path.as_ref().is_none_or(|regex| regex.is_match(path))
    }

    /// A rule that encrypts every value to these age recipients, which are separated by commas as in `SOPS_AGE_RECIPIENTS`.
    ///
    /// # Errors
    /// [`BadRules`] if sops' own rule for values can't be made, which does not happen.
    pub fn to_recipients(recipients: &str) -> Result<Self, BadRules> {
        let recipients = Value::String(recipients.to_owned());
        let entry = Value::Mapping(vec![("age".to_owned(), recipients)]);
        Self::parse(&entry, 1).map_err(|problem| BadRules::Rule { number: 1, problem })
    }

    fn parse(entry: &Value, number: usize) -> Result<Self, String> {
        let path = match text(entry, "path_regex") {
            "" => None,
            pattern => {
                let regex = Regex::new(pattern).map_err(|error| format!("path_regex: {}", error.quoting(pattern)))?;
                Some(regex)
            }
        };
        let groups = match entry.get("key_groups").and_then(Value::as_sequence) {
            Some(groups) if !groups.is_empty() => {
                let mut all = Vec::with_capacity(groups.len());
                for group in groups {
                    let mut keys = Keys::new();
                    add_group(group, &mut keys)?;
                    all.push(keys);
                }
                all
            }
            _ => vec![own_keys(entry)?],
        };
        Ok(Self {
            number,
            path,
            groups,
            mac_only_encrypted: matches!(entry.get("mac_only_encrypted"), Some(Value::Bool(true))),
            text: RuleText::of(entry),
            rule: Rule::from_metadata(|name| Some(text(entry, name).to_owned())).map_err(|error| match error {
                SopsError::Metadata { problem } => problem,
                error => error.to_string(),
            })?,
        })
    }

    /// Whether the rule tells files that are meant to be encrypted from others. A rule for all files, or for all of one format, does
    /// not: sops uses it for whatever file a person gives it.
    pub fn is_selective(&self) -> bool {
        let any_file = ["a", "a/b.yaml", "a/b.yml", "a/b.json", "a/b.env", "a/b.ini", "a/b.txt"];
        self.path
            .as_ref()
            .is_some_and(|path| !any_file.iter().any(|file| path.is_match(file)))
    }

    /// Whether the rule says to which keys a file is encrypted.
    pub fn has_keys(&self) -> bool {
        self.groups.iter().any(|group| !group.is_empty())
    }

    /// Some paths of values in a plaintext document that sops would encrypt by this rule. Placeholders that another program replaces
    /// are not among them: `${NAME}` of Flux and shells, `<path:…>` of Argo CD's vault plugin, `ref+…` of vals.
    pub fn would_seal(&self, document: &Value) -> Vec<String> {
        let mut found = Vec::new();
        Search::by(&self.rule, is_placeholder).search(document, &mut found);
        found
    }
}

fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("${") && text.ends_with('}')
        || text.starts_with('<') && text.ends_with('>')
        || text.starts_with("ref+")
}

fn text<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The kinds of keys of a rule without key groups, each with the name of its service.
const KINDS: [(&str, &str); 7] = [
    ("age", ""),
    ("pgp", "PGP "),
    ("kms", "AWS KMS "),
    ("gcp_kms", "GCP KMS "),
    ("hckms", "HuaweiCloud KMS "),
    ("azure_keyvault", "Azure Key Vault "),
    ("hc_vault_transit_uri", "HashiCorp Vault "),
];

fn own_keys(entry: &Value) -> Result<Keys, String> {
    let mut keys = Keys::new();
    for (kind, title) in KINDS {
        for name in names(entry.get(kind), kind)? {
            keys.insert(format!("{title}{}", spaceless(kind, &name)));
        }
    }
    Ok(keys)
}

/// Adds the keys of a key group, and of the groups that it merges.
fn add_group(group: &Value, keys: &mut Keys) -> Result<(), String> {
    for merged in group.get("merge").and_then(Value::as_sequence).unwrap_or_default() {
        add_group(merged, keys)?;
    }
    for (kind, title) in [("age", ""), ("pgp", "PGP "), ("hc_vault", "HashiCorp Vault ")] {
        for name in names(group.get(kind), kind)? {
            keys.insert(format!("{title}{}", spaceless(kind, &name)));
        }
    }
    let entries = |kind| group.get(kind).and_then(Value::as_sequence).unwrap_or_default();
    keys.extend(entries("kms").iter().map(|key| {
        let role = text(key, "role");
        let plus = if role.is_empty() { "" } else { "+" };
        format!("AWS KMS {}{plus}{role}", text(key, "arn"))
    }));
    keys.extend(
        entries("gcp_kms")
            .iter()
            .map(|key| format!("GCP KMS {}", text(key, "resource_id"))),
    );
    keys.extend(
        entries("hckms")
            .iter()
            .map(|key| format!("HuaweiCloud KMS {}", text(key, "key_id"))),
    );
    keys.extend(entries("azure_keyvault").iter().map(|key| {
        let [url, name, version] = ["vaultUrl", "key", "version"].map(|name| text(key, name));
        format!("Azure Key Vault {url}/keys/{name}/{version}")
    }));
    Ok(())
}

/// A PGP fingerprint may be written with spaces.
fn spaceless(kind: &str, name: &str) -> String {
    if kind == "pgp" {
        name.replace(' ', "")
    } else {
        name.to_owned()
    }
}

/// Names that are separated by commas, or listed.
fn names(value: Option<&Value>, kind: &str) -> Result<Vec<String>, String> {
    let listed = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Sequence(items)) => items.iter().collect(),
        Some(one) => vec![one],
    };
    let mut names = Vec::new();
    for item in listed {
        let text = item
            .as_str()
            .ok_or_else(|| format!("{kind} must be text, or a list of texts"))?;
        let parts = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.extend(parts.map(str::to_owned));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(rule: &CreationRule) -> Vec<Vec<&str>> {
        assert!(rule.has_keys());
        rule.groups
            .iter()
            .map(|group| group.iter().map(String::as_str).collect())
            .collect()
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = CreationRules::parse(
            b"keys: [&me age1me]\n\
              creation_rules:\n\
              - path_regex: talos/.*\\.sops\\.ya?ml\n  age: *me\n\
              - path_regex: kubernetes/.*\\.sops\\.ya?ml\n  encrypted_regex: ^(data|stringData)$\n  age: >-\n    age1a,\n    age1b\n\
              - pgp: AB CD\n",
        )
        .unwrap();
        let rule = |path| rules.for_path(path).unwrap();
        assert_eq!(keys(rule("talos/secret.sops.yaml")), [["age1me"]]);
        assert_eq!(keys(rule("kubernetes/a/b.sops.yml")), [["age1a", "age1b"]]);
        assert_eq!(keys(rule("README.md")), [["PGP ABCD"]]);
        assert_eq!(rule("README.md").number, 3);
        let selective = ["talos/a.sops.yaml", "README.md"].map(|path| rule(path).is_selective());
        assert_eq!(selective, [true, false]);
        let kubernetes = rule("kubernetes/a.sops.yaml");
        assert_eq!(kubernetes.text.to_string(), "encrypted_regex: ^(data|stringData)$");
        let seal = |text: &str| kubernetes.would_seal(&yaml::parse(text.as_bytes()).unwrap()[0]);
        assert_eq!(
            seal("kind: Secret\nstringData: {a: b, c: '${D}', e: '<path:f#g>'}\n"),
            ["stringData.a"]
        );
        assert!(seal("kind: Kustomization\nresources: [a]\n").is_empty());
    }

    #[test]
    fn key_groups_may_merge_others() {
        let rules = CreationRules::parse(
            b"creation_rules:\n\
              - key_groups:\n\
              \x20 - age: [age1a, 'age1b,age1c']\n\
              \x20   merge: [{pgp: [AB], kms: [{arn: a, role: r}]}]\n\
              \x20 - {azure_keyvault: [{vaultUrl: u, key: k, version: v}], hc_vault: [uri], gcp_kms: [{resource_id: g}]}\n",
        )
        .unwrap();
        let rule = rules.for_path("x").unwrap();
        assert_eq!(keys(rule)[0], ["AWS KMS a+r", "PGP AB", "age1a", "age1b", "age1c"]);
        assert_eq!(
            keys(rule)[1],
            ["Azure Key Vault u/keys/k/v", "GCP KMS g", "HashiCorp Vault uri"]
        );
    }

    #[test]
    fn rules_that_sops_refuses_are_named() {
        for (text, wanted) in [
            ("creation_rules: [{path_regex: '('}]", "creation rule 1: path_regex"),
            ("creation_rules: [{}, {age: 1}]", "creation rule 2: age must be text"),
            (
                "creation_rules: [{encrypted_regex: a, encrypted_suffix: b}]",
                "only one of them",
            ),
            ("a: [", ""),
        ] {
            let error = CreationRules::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(CreationRules::parse(b"stores: {}\n").unwrap().is_empty());
        assert!(CreationRules::parse(b"").unwrap().for_path("a").is_none());
    }
}
