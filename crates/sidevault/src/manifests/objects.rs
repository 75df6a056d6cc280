//! The objects of manifests, and how they refer to each other.

use std::collections::BTreeMap;

use super::tree::Node;

/// One object, and where it is.
pub(crate) struct Object {
    /// The number of its file in the list of all files that were read.
    pub(crate) file: usize,
    pub(crate) kind: String,
    pub(crate) name: String,
    /// `None` without a namespace, and for kinds that have none.
    pub(crate) namespace: Option<String>,
    pub(crate) node: Node,
}

impl Object {
    /// Reads an object; `None` if the node is none, as the values of a chart.
    pub(crate) fn read(file: usize, node: Node) -> Option<Self> {
        node.text_at("apiVersion")?;
        Some(Self {
            file,
            kind: node.text_at("kind")?.to_owned(),
            name: node.text_at("metadata.name").unwrap_or_default().to_owned(),
            namespace: node.text_at("metadata.namespace").map(str::to_owned),
            node,
        })
    }

    /// `ExternalSecret database/postgres-credentials`.
    pub(crate) fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }

    /// The template of its Pods, or the Pod itself.
    pub(crate) fn pods(&self) -> Option<&Node> {
        match &*self.kind {
            "Pod" => Some(&self.node),
            "CronJob" => self.node.at("spec.jobTemplate.spec.template"),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => self.node.at("spec.template"),
            _ => None,
        }
    }
}

/// All objects of the files.
pub(crate) struct Objects(pub(crate) Vec<Object>);

impl Objects {
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.0.iter().filter(move |object| object.kind == kind)
    }

    /// The object of a kind with this name; `namespace` is not compared if it is not known.
    pub(crate) fn find(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<&Object> {
        self.0.iter().find(|object| {
            let is_there =
                namespace.is_none() || object.namespace.is_none() || object.namespace.as_deref() == namespace;
            object.kind == kind && object.name == name && is_there
        })
    }

    /// The objects of a namespace that have Pods.
    pub(crate) fn workloads<'a>(&'a self, namespace: Option<&'a str>) -> impl Iterator<Item = (&'a Object, &'a Node)> {
        let all = self.0.iter().filter_map(|object| Some((object, object.pods()?)));
        all.filter(move |(object, _)| object.namespace.as_deref() == namespace)
    }
}

/// The containers of Pods, with init containers.
pub(crate) fn containers(pods: &Node) -> impl Iterator<Item = &Node> {
    let init = pods.all("spec.initContainers").iter();
    init.chain(pods.all("spec.containers"))
}

/// Whether the labels at `labels` have all entries of a selector's `matchLabels`.
pub(crate) fn selects(selector: &Node, labels: Option<&Node>) -> bool {
    selector.entries().iter().all(|(key, value)| {
        let label = labels.zip(key.text()).and_then(|(labels, key)| labels.entry(key));
        label.is_some_and(|(_, found)| found.text() == value.text())
    })
}

/// Whether a LabelSelector matches these labels. One without any condition matches nothing here: an API server refuses it, or it is not
/// meant.
pub(crate) fn matches_labels(selector: &Node, labels: &BTreeMap<String, String>) -> bool {
    let (exact, expressions) = (
        selector.at("matchLabels").map_or(&[][..], Node::entries),
        selector.all("matchExpressions"),
    );
    let is_exact = |(key, value): &(Node, Node)| {
        let label = key.text().and_then(|key| labels.get(key));
        label.is_some_and(|label| value.text() == Some(label))
    };
    let holds = |expression: &Node| {
        let label = expression.text_at("key").and_then(|key| labels.get(key));
        let values = expression.all("values");
        let is_in = label.is_some_and(|label| values.iter().any(|value| value.text() == Some(label)));
        match expression.text_at("operator") {
            Some("In") => is_in,
            Some("NotIn") => !is_in,
            Some("Exists") => label.is_some(),
            Some("DoesNotExist") => label.is_none(),
            _ => false,
        }
    };
    exact.len() + expressions.len() > 0 && exact.iter().all(is_exact) && expressions.iter().all(holds)
}
