//! Watches the ConfigMaps and Secrets that `templateFrom` names. When one changes, the ExternalSecrets that name it are
//! requeued.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kube::Client;
use kube::api::DynamicObject;

use crate::access;
use crate::api_error::api_message;
use crate::index::TemplateKind;
use crate::informer::{Informer, ObjectChange, Scope, Watched};
use crate::informers::Identity;
use crate::kube_ext::core_resource;
use crate::object_key::ObjectKey;

/// The uid and resource version of a ConfigMap or Secret. Nothing else is cached, because all objects of the kind in
/// the cluster are watched.
struct Version(Identity);

impl Watched for Version {
    type Encoded = Identity;

    fn encode(object: &mut DynamicObject) -> Result<(Arc<Self>, Identity), serde_json::Error> {
        let identity = Identity::of(&object.metadata);
        Ok((Arc::new(Self(identity)), identity))
    }

    fn decode(encoded: &Identity) -> Option<Arc<Self>> {
        Some(Arc::new(Self(*encoded)))
    }
}

/// Is called for each ConfigMap or Secret that was created or changed. Must not block.
pub(crate) type OnChange = Arc<dyn Fn(TemplateKind, &ObjectKey) + Send + Sync>;

/// Watches a kind once the first template names an object of the kind. A cluster without such templates costs no watch
/// and no memory.
pub(crate) struct TemplateWatches {
    watch_client: Client,
    scope: Scope,
    on_change: OnChange,
    config_maps: Arc<AtomicBool>,
    secrets: Arc<AtomicBool>,
}

impl TemplateWatches {
    pub(crate) fn new(watch_client: Client, scope: Scope, on_change: OnChange) -> Self {
        Self {
            watch_client,
            scope,
            on_change,
            config_maps: Arc::default(),
            secrets: Arc::default(),
        }
    }

    /// Starts to watch a kind, unless it is watched already. Must be called before an object of the kind is read: when
    /// the first list arrives, it requeues every ExternalSecret that may have read an older version in the meantime.
    pub(crate) fn follow(&self, kind: TemplateKind) {
        let (resource, is_followed) = match kind {
            TemplateKind::ConfigMap => (core_resource("ConfigMap", "configmaps"), &self.config_maps),
            TemplateKind::Secret => (core_resource("Secret", "secrets"), &self.secrets),
        };
        if is_followed.swap(true, Ordering::Relaxed) {
            return;
        }
        let (client, scope, on_change) = (self.watch_client.clone(), self.scope.clone(), self.on_change.clone());
        let is_followed = is_followed.clone();
        tokio::spawn(async move {
            match access::may_follow(&client, &resource, scope.namespace.as_deref(), None).await {
                Ok(true) => {}
                Ok(false) => {
                    let kind = &resource.kind;
                    tracing::warn!(
                        %kind,
                        "a change of a template is noticed at the next refresh only, because the operator may not list and \
                         watch the objects that hold templates; grant it these rights and restart it"
                    );
                    return;
                }
                Err(error) => {
                    tracing::debug!(error = %api_message(&error), "the request for the operator's own rights failed");
                    // The next template that names an object of the kind tries again.
                    return is_followed.store(false, Ordering::Relaxed);
                }
            }
            let on_change = move |key: &ObjectKey, change: ObjectChange<'_, Version>| {
                let is_other = match &change {
                    ObjectChange::Applied(now, before) => before.as_ref().is_none_or(|before| before.0 != now.0),
                    // Without the template the Secret can't be rendered and stays as it is, so no reconcile is needed.
                    ObjectChange::Deleted(_) | ObjectChange::Unreadable(..) => false,
                };
                if is_other {
                    on_change(kind, key);
                }
            };
            // The watch task keeps the informer alive until the process ends.
            Informer::<Version>::new(|_, _| Vec::new()).follow_metadata(client, &resource, &scope, on_change);
        });
    }
}
