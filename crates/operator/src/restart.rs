//! Restarts the workloads that use a Secret when the Secret changes, if an annotation asks for that. The annotations are
//! those of 1Password's own operator.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{NamespaceResourceScope, ObjectMeta};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::api_error::api_message;
use crate::informer::Informer;
use crate::informers::Metadata;
use crate::object_key::ObjectKey;
use crate::types::ExternalSecret;

/// Turns restarts on (`true`) or off (`false`). It may be on the ExternalSecret, the workload or the namespace, and the first
/// of them that has it counts.
const AUTO_RESTART: &str = "operator.1password.io/auto-restart";
/// The time of the last restart, on a workload's Pod template. A change of the template makes Kubernetes replace the Pods.
const LAST_RESTARTED: &str = "operator.1password.io/last-restarted";

/// A kind that runs Pods from a template.
trait Workload:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug
{
    fn template(&self) -> Option<&PodTemplateSpec>;
}

impl Workload for Deployment {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.as_ref()?.template)
    }
}

impl Workload for StatefulSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.as_ref()?.template)
    }
}

impl Workload for DaemonSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.as_ref()?.template)
    }
}

/// Restarts the workloads that use a Secret, after it was changed. Failures are only logged, because the Secret itself is
/// written.
pub(crate) async fn restart(
    client: &Client,
    namespaces: &Informer<Metadata>,
    external_secret: &ExternalSecret,
    secret: &str,
) {
    let namespace = external_secret.metadata.namespace.as_deref().unwrap_or_default();
    let of_namespace = namespaces.get(&ObjectKey::cluster(namespace));
    let of_namespace = of_namespace.as_ref().map(|namespace| &namespace.metadata);
    let is_asked_for = |workload: &ObjectMeta| {
        let objects = [Some(&external_secret.metadata), Some(workload), of_namespace];
        objects.into_iter().flatten().find_map(auto_restart).unwrap_or(false)
    };
    let results = [
        restart_kind::<Deployment>(client, namespace, secret, is_asked_for).await,
        restart_kind::<StatefulSet>(client, namespace, secret, is_asked_for).await,
        restart_kind::<DaemonSet>(client, namespace, secret, is_asked_for).await,
    ];
    for error in results.into_iter().filter_map(Result::err) {
        tracing::warn!(secret, error = %api_message(&error), "the workloads that use the Secret could not be listed");
    }
}

/// Restarts the workloads of one kind. A workload that can't be changed does not keep the others from being restarted.
async fn restart_kind<K: Workload>(
    client: &Client,
    namespace: &str,
    secret: &str,
    is_asked_for: impl Fn(&ObjectMeta) -> bool,
) -> Result<(), kube::Error> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    for workload in api.list(&ListParams::default()).await? {
        let pods = workload.template().and_then(|template| template.spec.as_ref());
        if !is_asked_for(workload.meta()) || !pods.is_some_and(|pods| uses(pods, secret)) {
            continue;
        }
        // With the fraction of a second, so that two changes within one second are two restarts.
        let at = Timestamp::now().to_string();
        let patch = json!({ "spec": { "template": { "metadata": { "annotations": { LAST_RESTARTED: at } } } } });
        let (kind, name) = (K::kind(&()), workload.name_any());
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                tracing::info!(namespace, secret, %kind, name, "the workload is restarted because the Secret has changed")
            }
            Err(error) => {
                tracing::warn!(namespace, secret, %kind, name, error = %api_message(&error), "the workload could not be restarted")
            }
        }
    }
    Ok(())
}

/// What an object's annotation says about restarts.
fn auto_restart(meta: &ObjectMeta) -> Option<bool> {
    match meta.annotations.as_ref()?.get(AUTO_RESTART)?.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Whether Pods use a Secret: in an environment variable, in a volume, or to pull images.
fn uses(pods: &PodSpec, secret: &str) -> bool {
    let in_container = |container: &Container| {
        let variables = container
            .env
            .iter()
            .flatten()
            .filter_map(|variable| Some(variable.value_from.as_ref()?.secret_key_ref.as_ref()?.name.as_str()));
        let sources = container.env_from.iter().flatten();
        let sources = sources.filter_map(|source| Some(source.secret_ref.as_ref()?.name.as_str()));
        variables.chain(sources).any(|name| name == secret)
    };
    let mut containers = pods.containers.iter().chain(pods.init_containers.iter().flatten());
    let in_volume = pods.volumes.iter().flatten().any(|volume| {
        let alone = volume.secret.as_ref().and_then(|source| source.secret_name.as_deref());
        let projected = volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten());
        let mut projected = projected.filter_map(|source| Some(source.secret.as_ref()?.name.as_str()));
        alone == Some(secret) || projected.any(|name| name == secret)
    });
    let pulls = pods.image_pull_secrets.iter().flatten().any(|pull| pull.name == secret);
    in_volume || pulls || containers.any(in_container)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::routing::{self, get};
    use axum::{Json, Router};
    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_workload_that_can_not_be_changed_does_not_stop_the_restart_of_others() {
        let restarted = Arc::new(Mutex::new(Vec::new()));
        let list = || async {
            let workload = |name: &str| {
                json!({ "metadata": { "name": name }, "spec": { "selector": {}, "template": { "spec": {
                    "containers": [{ "name": "a", "envFrom": [{ "secretRef": { "name": "s" } }] }] } } } })
            };
            Json(json!({ "metadata": {}, "items": [workload("refused"), workload("fine")] }))
        };
        let patched = restarted.clone();
        let patch = async move |Path(name): Path<String>| {
            patched.lock().push(name.clone());
            match name.as_str() {
                "refused" => {
                    let status = json!({ "status": "Failure", "message": "no", "reason": "Invalid", "code": 422 });
                    (StatusCode::UNPROCESSABLE_ENTITY, Json(status))
                }
                name => (
                    StatusCode::OK,
                    Json(json!({ "metadata": { "name": name }, "spec": { "selector": {}, "template": {} } })),
                ),
            }
        };
        let of_kind = "/apis/apps/v1/namespaces/apps/deployments";
        let server = Router::new()
            .route(of_kind, get(list))
            .route(&format!("{of_kind}/{{name}}"), routing::patch(patch));
        let client = Client::new(server, "apps");
        restart_kind::<Deployment>(&client, "apps", "s", |_| true)
            .await
            .unwrap();
        assert_eq!(*restarted.lock(), ["refused", "fine"]);
    }

    #[test]
    fn a_secret_is_used_by_variables_volumes_and_image_pulls() {
        let ways = [
            r#"{"containers":[{"name":"a","env":[{"name":"x","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}]}"#,
            r#"{"containers":[{"name":"a","envFrom":[{"secretRef":{"name":"s"}}]}]}"#,
            r#"{"containers":[],"initContainers":[{"name":"a","envFrom":[{"secretRef":{"name":"s"}}]}]}"#,
            r#"{"containers":[],"volumes":[{"name":"v","secret":{"secretName":"s"}}]}"#,
            r#"{"containers":[],"volumes":[{"name":"v","projected":{"sources":[{"secret":{"name":"s"}}]}}]}"#,
            r#"{"containers":[],"imagePullSecrets":[{"name":"s"}]}"#,
        ];
        for way in ways {
            let pods: PodSpec = serde_json::from_str(way).unwrap();
            assert!(uses(&pods, "s"), "{way}");
            assert!(!uses(&pods, "other"), "{way}");
        }
    }
}
