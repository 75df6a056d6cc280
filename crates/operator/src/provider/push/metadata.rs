//! Tags and vault of a pushed item.

use serde::Deserialize;
use serde_json::Value;

use crate::provider::ProviderError;

const API_VERSION: &str = "kubernetes.external-secrets.io/v1alpha1";
const KIND: &str = "PushSecretMetadata";

/// The `spec` of an entry's `metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PutMetadata {
    /// Replace the item's tags.
    pub(crate) tags: Option<Vec<String>>,
    /// The vault in which a new item is created, by name or id.
    pub(crate) vault: Option<String>,
}

impl PutMetadata {
    /// Parses the `metadata` of an entry of `data` or `dataTo`.
    ///
    /// # Errors
    /// [`ProviderError::Invalid`] with what is wrong with it.
    pub(crate) fn parse(metadata: Option<&Value>) -> Result<Self, ProviderError> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        struct Envelope {
            api_version: String,
            kind: String,
            spec: Option<PutMetadata>,
        }
        let invalid = |why: String| ProviderError::Invalid(format!("failed to parse push secret metadata: {why}"));
        let Some(metadata) = metadata else {
            return Ok(Self::default());
        };
        let read: Envelope = serde_json::from_value(metadata.clone())
            .map_err(|error| invalid(format!("failed to parse {API_VERSION} {KIND}: {error}")))?;
        for (what, is, must_be) in [
            ("apiVersion", &read.api_version, API_VERSION),
            ("kind", &read.kind, KIND),
        ] {
            if is != must_be {
                return Err(invalid(format!("unexpected {what} {is:?}, expected {must_be:?}")));
            }
        }
        Ok(read.spec.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn api_version_kind_and_members_are_checked() {
        let parse = |value: Value| PutMetadata::parse(Some(&value)).map_err(|error| error.to_string());
        let whole = json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": { "tags": ["a"], "vault": "v" } });
        let expected = PutMetadata {
            tags: Some(vec!["a".to_owned()]),
            vault: Some("v".to_owned()),
        };
        assert_eq!(parse(whole), Ok(expected));
        let error = parse(json!({ "apiVersion": "v1", "kind": KIND })).unwrap_err();
        assert!(error.contains("unexpected apiVersion \"v1\""), "{error}");
        assert!(parse(json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": { "tag": "a" } })).is_err());
        assert_eq!(PutMetadata::parse(None).unwrap(), PutMetadata::default());
    }
}
