//! External Secrets' hashes: SHA3-224 over what Go's `fmt.Sprintf("%+v", …)` prints. Both programs see each other's
//! Secrets as unchanged only if these are the same to the byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::ByteString;
use kube::core::ObjectMeta;

use crate::names::sha3;

/// The hash of a Secret's data: its `data-hash` annotation.
pub(crate) fn data(data: &BTreeMap<String, ByteString>) -> String {
    // Go prints a map in the order of its keys, and bytes as decimal numbers.
    let mut text = String::from("map[");
    for (index, (key, value)) in data.iter().enumerate() {
        let _infallible = write!(text, "{}{key}:[", if index == 0 { "" } else { " " });
        for (index, byte) in value.0.iter().enumerate() {
            let _infallible = write!(text, "{}{byte}", if index == 0 { "" } else { " " });
        }
        text.push(']');
    }
    text.push(']');
    sha3(text)
}

/// The hash of a name: the `created-by` label.
pub(crate) fn owner(namespace: &str, name: &str) -> String {
    sha3(format!("{namespace}/{name}"))
}

/// The state of a resource that its values were read for: `status.syncedResourceVersion`. Changes with spec, labels
/// and annotations.
pub(crate) fn resource_version(meta: &ObjectMeta) -> String {
    let text = format!(
        "{{annotations:{} labels:{}}}",
        strings(meta.annotations.as_ref()),
        strings(meta.labels.as_ref())
    );
    format!("{}-{}", meta.generation.unwrap_or_default(), sha3(text))
}

fn strings(map: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect();
    format!("map[{}]", pairs.join(" "))
}
