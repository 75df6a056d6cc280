//! What cached objects can be found by, other than their own name.

use crate::object_key::ObjectKey;

/// A key of an informer's index. One object may have several, and several objects may share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IndexKey {
    /// Secrets, by their namespace and the hash of the ExternalSecret that owns them.
    Owner(ObjectKey),
    /// ExternalSecrets, by the name of the ClusterExternalSecret that owns them.
    Parent(Box<str>),
    /// ExternalSecrets, by the Secret they write.
    Target(ObjectKey),
    /// ExternalSecrets, by a ConfigMap or Secret that their `templateFrom` names.
    Template(TemplateKind, ObjectKey),
    /// ExternalSecrets and PushSecrets, by a store that they name. ExternalSecrets that name no store, and PushSecrets that
    /// select stores by label, are under an empty name.
    Store(ObjectKey),
}

/// The kinds of object that can hold a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TemplateKind {
    ConfigMap,
    Secret,
}
