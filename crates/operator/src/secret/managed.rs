//! The keys of a Secret that an ExternalSecret wrote, by `metadata.managedFields` (server-side apply's record).

use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use crate::names::field_owner;

/// The keys of a Secret that one field manager owns.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Managed {
    /// Keys of `data`.
    pub(crate) data: Vec<String>,
    /// Keys of labels.
    pub(crate) labels: Vec<String>,
    /// Keys of annotations.
    pub(crate) annotations: Vec<String>,
}

/// The keys that the ExternalSecret with this name wrote.
pub(crate) fn managed(secret: &Secret, external_secret: &str) -> Managed {
    let owner = field_owner(external_secret);
    let mut managed = Managed::default();
    for entry in secret.metadata.managed_fields.iter().flatten() {
        let Some(fields) = entry
            .fields_v1
            .as_ref()
            .filter(|_| entry.manager.as_deref() == Some(&owner))
        else {
            continue;
        };
        managed.data.extend(keys(fields.0.get("f:data")));
        let metadata = fields.0.get("f:metadata");
        managed
            .labels
            .extend(keys(metadata.and_then(|metadata| metadata.get("f:labels"))));
        managed
            .annotations
            .extend(keys(metadata.and_then(|metadata| metadata.get("f:annotations"))));
    }
    managed
}

/// The names of the members of one object in `fieldsV1`, such as `f:user`.
fn keys(fields: Option<&Value>) -> impl Iterator<Item = String> {
    let fields = fields.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(key, _)| key.strip_prefix("f:").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_field_managers_are_left_out() {
        let secret: Secret = serde_json::from_str(
            r#"{"metadata":{"managedFields":[
                {"manager":"externalsecrets.external-secrets.io/a","fieldsV1":{"f:data":{".":{},"f:user":{}},
                 "f:metadata":{"f:labels":{"f:team":{}}}}},
                {"manager":"kubectl","fieldsV1":{"f:data":{"f:extra":{}}}}]}}"#,
        )
        .unwrap();
        let managed = managed(&secret, "a");
        assert_eq!(managed.data, ["user"]);
        assert_eq!(managed.labels, ["team"]);
        assert!(super::managed(&secret, "b").data.is_empty());
    }
}
