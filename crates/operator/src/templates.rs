//! Watches the ConfigMaps and Secrets that `templateFrom` names. When one changes, the ExternalSecrets that name it are
//! requeued.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use kube::Client;
use kube::api::DynamicObject;

use crate::access;
use crate::api_error::api_message;
use crate::informer::{Informer, ObjectChange, Scope, Watched};
use crate::object_key::ObjectKey;
use crate::operator::{Identity, Operator};
use crate::start::core;
use crate::wake;

/// The kinds of object that hold templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TemplateKind {
    ConfigMap,
    Secret,
}

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

/// Watches a kind once the first template names an object of the kind. A cluster without such templates costs no watch
/// and no memory.
pub(crate) struct TemplateSources {
    watch_client: Client,
    scope: Scope,
    /// Whose ExternalSecrets are requeued. Set before the first template is rendered.
    operator: Arc<OnceLock<Arc<Operator>>>,
    config_maps: Arc<AtomicBool>,
    secrets: Arc<AtomicBool>,
}

impl TemplateSources {
    pub(crate) fn new(watch_client: Client, scope: Scope, operator: Arc<OnceLock<Arc<Operator>>>) -> Self {
        Self {
            watch_client,
            scope,
            operator,
            config_maps: Arc::default(),
            secrets: Arc::default(),
        }
    }

    /// Starts to watch a kind, unless it is watched already. Must be called before an object of the kind is read: when
    /// the first list arrives, it requeues every ExternalSecret that may have read an older version in the meantime.
    pub(crate) fn follow(&self, kind: TemplateKind) {
        let (resource, is_followed) = match kind {
            TemplateKind::ConfigMap => (core("ConfigMap", "configmaps"), &self.config_maps),
            TemplateKind::Secret => (core("Secret", "secrets"), &self.secrets),
        };
        if is_followed.swap(true, Ordering::Relaxed) {
            return;
        }
        let (client, scope, operator) = (self.watch_client.clone(), self.scope.clone(), self.operator.clone());
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
            let seen = move |key: &ObjectKey, seen: ObjectChange<'_, Version>| {
                let is_other = match &seen {
                    ObjectChange::Applied(now, before) => before.as_ref().is_none_or(|before| before.0 != now.0),
                    // Without the template the Secret can't be rendered and stays as it is, so no reconcile is needed.
                    ObjectChange::Deleted(_) | ObjectChange::Unreadable(..) => false,
                };
                if is_other && let Some(operator) = operator.get() {
                    wake::of_template(operator, kind, key);
                }
            };
            // The watch task keeps the informer alive until the process ends.
            Informer::<Version>::start_metadata(client, &resource, &scope, |_, _| Vec::new(), seen);
        });
    }
}
