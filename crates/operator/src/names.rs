//! Labels, annotations, finalizers and field managers. They are External Secrets', so that either program continues
//! with the objects of the other.

use data_encoding::HEXLOWER;
use sha3::{Digest, Sha3_224};

/// Label `true` of every Secret that an ExternalSecret writes to.
pub(crate) const LABEL_MANAGED: &str = "reconcile.external-secrets.io/managed";
/// Label of Secrets with `creationPolicy: Owner`: a hash of the ExternalSecret's namespace and name.
pub(crate) const LABEL_OWNER: &str = "reconcile.external-secrets.io/created-by";
/// Annotation of Secrets: a hash of the data. If it does not match, another client changed the data.
pub(crate) const ANNOTATION_DATA_HASH: &str = "reconcile.external-secrets.io/data-hash";
/// Annotation of ExternalSecrets: a new value causes a refresh at once. A ClusterExternalSecret copies its own to its
/// ExternalSecrets.
pub(crate) const ANNOTATION_FORCE_SYNC: &str = "external-secrets.io/force-sync";
/// Finalizer of ExternalSecrets (External Secrets 2.x).
pub(crate) const FINALIZER: &str = "externalsecrets.external-secrets.io/externalsecret-cleanup";
/// The field manager of statuses and finalizers.
pub(crate) const FIELD_MANAGER: &str = "sidevault-operator";
/// The component that events name as their source.
pub(crate) const COMPONENT: &str = "external-secrets";

/// The field manager of what an ExternalSecret writes to its Secret. `metadata.managedFields` then lists the keys it
/// wrote.
pub(crate) fn field_owner(external_secret: &str) -> String {
    let name = format!("externalsecrets.external-secrets.io/{external_secret}");
    // The limit of 63 bytes is External Secrets'; the API server allows 128.
    if name.len() > 63 {
        format!("externalsecrets.external-secrets.io/sha3/{}", sha3(external_secret))
    } else {
        name
    }
}

/// SHA3-224 in hexadecimal.
pub(crate) fn sha3(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(&Sha3_224::digest(bytes))
}
