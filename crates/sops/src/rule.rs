//! The rule of a file that tells which of its values are encrypted.

use std::fmt;

use sidevault_go::regex::Regex;

use crate::{SopsError, Value};

/// The rule of sops if the metadata has none.
const DEFAULT_UNENCRYPTED_SUFFIX: &str = "_unencrypted";

/// The names of the rules, in metadata and in `.sops.yaml`.
const NAMES: [&str; 6] = [
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
];

/// A rule as it is written in metadata or in `.sops.yaml`: its name and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleText {
    name: &'static str,
    text: String,
}

impl RuleText {
    /// The rule of a `sops` block or of a creation rule, or the rule that sops takes if there is none.
    pub(crate) fn of(block: &Value) -> Self {
        let given = |name: &&'static str| block.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let found = NAMES.iter().find_map(|name| given(name).map(|text| (*name, text)));
        let (name, text) = found.unwrap_or(("unencrypted_suffix", DEFAULT_UNENCRYPTED_SUFFIX));
        Self {
            name,
            text: text.to_owned(),
        }
    }
}

impl RuleText {
    /// The name and the text.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        (self.name, &self.text)
    }

    /// Whether this is the rule that sops takes if it is given none.
    pub fn is_default(&self) -> bool {
        self.name == "unencrypted_suffix" && self.text == DEFAULT_UNENCRYPTED_SUFFIX
    }
}

impl fmt::Display for RuleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.text)
    }
}

/// The rule of a file. It applies to a value if any key on the value's path matches.
#[derive(Debug)]
pub(crate) enum Rule {
    UnencryptedSuffix(String),
    EncryptedSuffix(String),
    UnencryptedRegex(Regex),
    EncryptedRegex(Regex),
    /// `encrypted_comment_regex` or `unencrypted_comment_regex`: comments above a value tell whether it is encrypted.
    ///
    /// The MAC does not cover comments, so anyone can edit them, and they prove no more than the form of the value itself.
    /// So a value in the form `ENC[…]` is decrypted, any other is taken as it is, and the MAC over all values tells
    /// whether that was right.
    Comments,
}

impl Rule {
    /// The rule of the metadata. An empty text counts as absent.
    pub(crate) fn from_metadata(get: impl Fn(&str) -> Option<String>) -> Result<Self, SopsError> {
        let given = |name| get(name).filter(|text| !text.is_empty()).map(|text| (name, text));
        let mut rules = NAMES.into_iter().filter_map(given);

        let Some((name, text)) = rules.next() else {
            return Ok(Self::UnencryptedSuffix(DEFAULT_UNENCRYPTED_SUFFIX.to_owned()));
        };
        if let Some((other, _)) = rules.next() {
            return Err(SopsError::Metadata {
                problem: format!("both {name} and {other} are set; only one of them is allowed"),
            });
        }
        let regex = |text: &str| {
            Regex::new(text).map_err(|_| SopsError::Metadata {
                problem: format!("{name} is not a valid regular expression"),
            })
        };
        Ok(match name {
            "unencrypted_suffix" => Self::UnencryptedSuffix(text),
            "encrypted_suffix" => Self::EncryptedSuffix(text),
            "unencrypted_regex" => Self::UnencryptedRegex(regex(&text)?),
            "encrypted_regex" => Self::EncryptedRegex(regex(&text)?),
            _ => Self::Comments,
        })
    }

    /// Whether `key` matches.
    pub(crate) fn matches(&self, key: &str) -> bool {
        match self {
            Self::UnencryptedSuffix(suffix) | Self::EncryptedSuffix(suffix) => key.ends_with(suffix),
            Self::UnencryptedRegex(regex) | Self::EncryptedRegex(regex) => regex.is_match(key),
            Self::Comments => false,
        }
    }

    /// Whether a value must be encrypted. `path_matches` tells whether a key on its path matches, `looks_sealed` whether it
    /// has the form of an encrypted value.
    pub(crate) fn seals(&self, path_matches: bool, looks_sealed: bool) -> bool {
        match self {
            Self::UnencryptedSuffix(_) | Self::UnencryptedRegex(_) => !path_matches,
            Self::EncryptedSuffix(_) | Self::EncryptedRegex(_) => path_matches,
            Self::Comments => looks_sealed,
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn rule(given: &[(&str, &str)]) -> Result<Rule, SopsError> {
        Rule::from_metadata(|name| {
            given
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn without_a_rule_the_unencrypted_suffix_applies() {
        let rule = rule(&[("encrypted_regex", "")]).unwrap();
        assert!(rule.matches("note_unencrypted") && !rule.matches("note"));
        assert!(rule.seals(false, false) && !rule.seals(true, true));
    }

    #[test]
    fn an_encrypted_regex_applies_to_matching_keys_only() {
        let rule = rule(&[("encrypted_regex", "^data$")]).unwrap();
        assert!(rule.matches("data") && !rule.matches("metadata"));
        assert!(rule.seals(true, false) && !rule.seals(false, true));
    }

    #[test]
    fn two_rules_or_an_invalid_rule_are_refused() {
        assert!(rule(&[("encrypted_regex", "a"), ("encrypted_suffix", "b")]).is_err());
        assert!(rule(&[("encrypted_regex", "(")]).is_err());
    }
}
