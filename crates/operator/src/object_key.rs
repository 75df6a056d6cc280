//! The name of a Kubernetes object, as a key of maps and queues.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use kube::core::ObjectMeta;

/// The namespace and name of an object; the namespace of a cluster-scoped object is empty. Many maps hold the same key, so
/// a clone is a pointer to the same strings.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey(Arc<NamespacedName>);

/// The fields of an [`ObjectKey`].
#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NamespacedName {
    /// The namespace; empty for a cluster-scoped object.
    pub(crate) namespace: Box<str>,
    /// The name.
    pub(crate) name: Box<str>,
}

impl ObjectKey {
    /// The key of an object in a namespace.
    pub(crate) fn new(namespace: impl Into<Box<str>>, name: impl Into<Box<str>>) -> Self {
        Self(Arc::new(NamespacedName {
            namespace: namespace.into(),
            name: name.into(),
        }))
    }

    /// The key of a cluster-scoped object.
    pub(crate) fn cluster(name: impl Into<Box<str>>) -> Self {
        Self::new("", name)
    }

    /// The key of the object that has this metadata.
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self::new(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        )
    }
}

impl Deref for ObjectKey {
    type Target = NamespacedName;

    fn deref(&self) -> &NamespacedName {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => f.write_str(&self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
