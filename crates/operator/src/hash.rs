//! External Secrets' hashes: SHA3-224 of the output of Go's `fmt.Sprintf("%+v", …)`. External Secrets and this operator
//! recognise each other's Secrets as unchanged only if both compute the same hashes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::ByteString;
use kube::core::ObjectMeta;

use crate::names::sha3;

/// The hash of a Secret's data, for the annotation `data-hash`.
pub(crate) fn data(data: &BTreeMap<String, ByteString>) -> String {
    // Go prints a map in the order of its keys, and bytes as decimal numbers. Writing to a String can't fail.
    let mut text = String::from("map[");
    for (index, (key, value)) in data.iter().enumerate() {
        write!(text, "{}{key}:[", if index == 0 { "" } else { " " }).ok();
        for (index, byte) in value.0.iter().enumerate() {
            write!(text, "{}{byte}", if index == 0 { "" } else { " " }).ok();
        }
        text.push(']');
    }
    text.push(']');
    sha3(text)
}

/// The hash of an ExternalSecret's namespace and name, for the label `created-by`.
pub(crate) fn owner(namespace: &str, name: &str) -> String {
    sha3(format!("{namespace}/{name}"))
}

/// A version of a resource that changes with its spec, labels and annotations, for `status.syncedResourceVersion`.
pub(crate) fn resource_version(meta: &ObjectMeta) -> String {
    let text = format!(
        "{{annotations:{} labels:{}}}",
        strings(meta.annotations.as_ref()),
        strings(meta.labels.as_ref())
    );
    format!("{}-{}", meta.generation.unwrap_or_default(), sha3(text))
}

/// A `map[string]string` as Go prints it.
fn strings(map: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    format!("map[{}]", pairs.join(" "))
}
