//! ExternalSecrets, ClusterExternalSecrets and PushSecrets: what they read, where they write, and the stores that they name.

use super::objects::{Object, Objects};
use super::tree::Node;

/// The provider of stores that are Connect servers.
pub(crate) const PROVIDER: &str = "spec.provider.onepassword";

/// How an entry of an ExternalSecret reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// `data[].remoteRef`: one value of an item.
    Value,
    /// `dataFrom[].extract`: all values of an item.
    Extract,
    /// `dataFrom[].find`: values of all items that match.
    Find,
}

/// An entry of an ExternalSecret.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) reads: Reads,
    /// The node of `remoteRef`, `extract` or `find`.
    pub(crate) reference: &'a Node,
    /// The reference to the store. `None` if the manifest names none, so that the operator's default store is meant.
    pub(crate) store: Option<&'a Node>,
    /// The key of the Secret that gets the value, if the entry alone decides it.
    pub(crate) secret_key: Option<&'a str>,
}

/// Whether an object is an ExternalSecret, or makes some.
pub(crate) fn makes_secrets(object: &Object) -> bool {
    matches!(&*object.kind, "ExternalSecret" | "ClusterExternalSecret")
}

impl Objects {
    /// The ExternalSecrets and ClusterExternalSecrets.
    pub(crate) fn external_secrets(&self) -> impl Iterator<Item = &Object> {
        self.0.iter().filter(|object| makes_secrets(object))
    }
}

/// The spec of an ExternalSecret, or of those that a ClusterExternalSecret makes.
pub(crate) fn spec(object: &Object) -> Option<&Node> {
    match &*object.kind {
        "ClusterExternalSecret" => object.node.at("spec.externalSecretSpec"),
        _ => object.node.at("spec"),
    }
}

/// The name of the Secret that an ExternalSecret makes, and its keys, if the manifest alone says which they are.
pub(crate) fn target(object: &Object) -> (&str, Option<Vec<&str>>) {
    let own = object.node.text_at("spec.externalSecretName").unwrap_or(&object.name);
    let Some(spec) = spec(object) else {
        return (own, None);
    };
    let name = spec.text_at("target.name").unwrap_or(own);
    let merges = matches!(spec.text_at("target.creationPolicy"), Some("Merge" | "CreateOrMerge"));
    let from_elsewhere = merges || spec.at("dataFrom").is_some() || spec.at("target.template").is_some();
    let keys = spec.all("data").iter().filter_map(|entry| entry.text_at("secretKey"));
    (name, (!from_elsewhere).then(|| keys.collect()))
}

/// Whether an ExternalSecret makes its Secret in a namespace, or a ClusterExternalSecret may make one there.
pub(crate) fn is_in(object: &Object, namespace: Option<&str>) -> bool {
    if object.kind == "ExternalSecret" {
        return object.namespace.as_deref() == namespace;
    }
    let has_selector = ["spec.namespaceSelector", "spec.namespaceSelectors"]
        .iter()
        .any(|path| object.node.at(path).is_some());
    let named = object.node.all("spec.namespaces").iter().filter_map(Node::text);
    has_selector || named.into_iter().any(|name| Some(name) == namespace)
}

/// The entries of an ExternalSecret. Those of generators are left out, because they read no item.
pub(crate) fn entries(object: &Object) -> Vec<Entry<'_>> {
    let Some(spec) = spec(object) else {
        return Vec::new();
    };
    let common = spec
        .at("secretStoreRef")
        .filter(|store| store.text_at("name").is_some());
    let is_rewritten = spec.at("target.template").is_some();
    let data = spec.all("data").iter().map(|entry| (entry, "remoteRef", Reads::Value));
    let all = spec
        .all("dataFrom")
        .iter()
        .flat_map(|entry| [(entry, "extract", Reads::Extract), (entry, "find", Reads::Find)]);
    data.chain(all)
        .filter(|(entry, ..)| entry.at("sourceRef.generatorRef").is_none())
        .filter_map(|(entry, member, reads)| {
            Some(Entry {
                reads,
                reference: entry.at(member)?,
                store: entry.at("sourceRef.storeRef").or(common),
                secret_key: entry.text_at("secretKey").filter(|_| !is_rewritten),
            })
        })
        .collect()
}

/// All references of an ExternalSecret to stores.
pub(crate) fn stores(object: &Object) -> Vec<&Node> {
    let Some(spec) = spec(object) else {
        return Vec::new();
    };
    let lists = ["data", "dataFrom"].into_iter().flat_map(|path| spec.all(path));
    spec.at("secretStoreRef")
        .into_iter()
        .chain(lists.filter_map(|entry| entry.at("sourceRef.storeRef")))
        .collect()
}

/// The store that a reference of an object names.
pub(crate) fn find_store<'a>(object: &Object, reference: &Node, objects: &'a Objects) -> Option<&'a Object> {
    let name = reference.text_at("name")?;
    match reference.text_at("kind") {
        Some("ClusterSecretStore") => objects.find("ClusterSecretStore", None, name),
        _ => objects.find("SecretStore", object.namespace.as_deref(), name),
    }
}

/// The vaults of a store, in the order in which they are searched.
pub(crate) fn vaults_of(store: &Object) -> Vec<&Node> {
    let vaults = store.node.at(PROVIDER).and_then(|provider| provider.at("vaults"));
    let place = |place: &Node| -> i64 { place.text().and_then(|text| text.parse().ok()).unwrap_or_default() };
    let mut vaults: Vec<(i64, &Node)> = vaults
        .map_or(&[][..], Node::entries)
        .iter()
        .map(|(name, at)| (place(at), name))
        .collect();
    vaults.sort_by_key(|(place, _)| *place);
    vaults.into_iter().map(|(_, name)| name).collect()
}

/// A value, or several, that a PushSecret writes to an item.
pub(crate) struct Pushed<'a> {
    /// The key of the Secret; `None`: all keys.
    pub(crate) secret_key: Option<&'a str>,
    /// The node that names the item.
    pub(crate) at: &'a Node,
    /// The item's title or id; `None` if each key of the Secret becomes an item.
    pub(crate) item: Option<&'a str>,
    /// The property; empty for the default label, and for several values.
    pub(crate) property: &'a str,
    /// Whether `property` names the one field that is written.
    pub(crate) is_single: bool,
}

/// What a PushSecret writes.
pub(crate) fn pushes(object: &Object) -> Vec<Pushed<'_>> {
    let data = object.node.all("spec.data").iter().filter_map(|entry| {
        let at = entry.at("match.remoteRef")?;
        Some(Pushed {
            secret_key: entry.text_at("match.secretKey"),
            at,
            item: Some(at.text_at("remoteKey")?),
            property: at.text_at("property").unwrap_or_default(),
            is_single: true,
        })
    });
    let all = object.node.all("spec.dataTo").iter().map(|entry| Pushed {
        secret_key: None,
        at: entry,
        item: entry.text_at("remoteKey"),
        property: "",
        is_single: false,
    });
    data.chain(all).collect()
}

/// The name of the Secret whose values a PushSecret writes.
pub(crate) fn pushed_secret(object: &Object) -> Option<&Node> {
    object.node.at("spec.selector.secret")?.at("name")
}
