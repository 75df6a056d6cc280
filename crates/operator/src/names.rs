//! The words External Secrets and this operator leave on objects. Both use the same ones, so that either takes up
//! where the other stopped.

use sha3::{Digest, Sha3_224};

/// On every Secret that is made or filled; `true`.
pub(crate) const LABEL_MANAGED: &str = "reconcile.external-secrets.io/managed";
/// On Secrets that are owned: a hash of the ExternalSecret's namespace and name.
pub(crate) const LABEL_OWNER: &str = "reconcile.external-secrets.io/created-by";
/// The hash of the Secret's data, by which a change by others is seen.
pub(crate) const ANNOTATION_DATA_HASH: &str = "reconcile.external-secrets.io/data-hash";
/// Any new value makes an ExternalSecret be read at once. ClusterExternalSecrets hand theirs on.
pub(crate) const ANNOTATION_FORCE_SYNC: &str = "external-secrets.io/force-sync";
/// On ExternalSecrets (External Secrets 2.x).
pub(crate) const FINALIZER: &str = "externalsecrets.external-secrets.io/externalsecret-cleanup";
/// The field manager for statuses and finalizers.
pub(crate) const FIELD_MANAGER: &str = "sidevault-operator";
/// The component in events.
pub(crate) const COMPONENT: &str = "external-secrets";

/// The field manager for what an ExternalSecret writes: by it, the keys it wrote are known again.
pub(crate) fn field_owner(external_secret: &str) -> String {
    let name = format!("externalsecrets.external-secrets.io/{external_secret}");
    // Field managers longer than this are External Secrets' own limit, not the API server's.
    match name.len() > 63 {
        false => name,
        true => format!(
            "externalsecrets.external-secrets.io/sha3/{}",
            hex(&Sha3_224::digest(external_secret))
        ),
    }
}

/// SHA3-224 in hexadecimal.
pub(crate) fn sha3(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha3_224::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
