//! The ConfigMaps and Secrets that templates live in: when one changes, the ExternalSecrets that name it are read again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use kube::Client;
use kube::api::DynamicObject;

use crate::access;
use crate::api_error::api_message;
use crate::informer::{Informer, Scope, Seen, Watched};
use crate::operator::{Identity, Operator};
use crate::queue::ObjectKey;
use crate::start::core;
use crate::wake;

/// The kinds of object that hold templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TemplateKind {
    ConfigMap,
    Secret,
}

/// A ConfigMap or Secret in one version. Nothing else of it is kept, since all objects of the kind in the cluster are watched.
struct Version(Identity);

impl Watched for Version {
    type Kept = Identity;

    fn take(object: &mut DynamicObject) -> Result<(Arc<Self>, Identity), serde_json::Error> {
        let identity = Identity::of(&object.metadata);
        Ok((Arc::new(Self(identity)), identity))
    }

    fn look(kept: &Identity) -> Option<Arc<Self>> {
        Some(Arc::new(Self(*kept)))
    }
}

/// Follows a kind from the first template on that lives in an object of it: clusters without such templates have no
/// watch and no memory taken.
pub(crate) struct TemplateSources {
    watching: Client,
    scope: Scope,
    /// Whom to wake; set before any template is filled.
    operator: Arc<OnceLock<Arc<Operator>>>,
    config_maps: Arc<AtomicBool>,
    secrets: Arc<AtomicBool>,
}

impl TemplateSources {
    pub(crate) fn new(watching: Client, scope: Scope, operator: Arc<OnceLock<Arc<Operator>>>) -> Self {
        Self {
            watching,
            scope,
            operator,
            config_maps: Arc::default(),
            secrets: Arc::default(),
        }
    }

    /// Follows a kind, if it is not followed yet. To be called before an object of the kind is read: the first list of the
    /// kind wakes whoever read an older version meanwhile.
    pub(crate) fn follow(&self, kind: TemplateKind) {
        let (resource, is_followed) = match kind {
            TemplateKind::ConfigMap => (core("ConfigMap", "configmaps"), &self.config_maps),
            TemplateKind::Secret => (core("Secret", "secrets"), &self.secrets),
        };
        if is_followed.swap(true, Ordering::Relaxed) {
            return;
        }
        let (client, scope, operator) = (self.watching.clone(), self.scope.clone(), self.operator.clone());
        let is_followed = is_followed.clone();
        tokio::spawn(async move {
            match access::may_follow(&client, &resource, scope.namespace.as_deref(), None).await {
                Ok(true) => {}
                Ok(false) => {
                    let kind = &resource.kind;
                    tracing::warn!(
                        %kind,
                        "a changed template is noticed at the next refresh only: the operator may not list and watch the \
                         objects that templates live in (grant it and restart the operator)"
                    );
                    return;
                }
                Err(error) => {
                    tracing::debug!(error = %api_message(&error), "the API server can't be asked for the operator's rights");
                    // The next template tries again.
                    return is_followed.store(false, Ordering::Relaxed);
                }
            }
            let seen = move |key: &ObjectKey, seen: Seen<'_, Version>| {
                let is_other = match &seen {
                    Seen::Is(now, before) => before.as_ref().is_none_or(|before| before.0 != now.0),
                    // Without its template a Secret can't be rendered anew and stays as it is, so no reconcile is needed.
                    Seen::Gone(_) | Seen::Unreadable(..) => false,
                };
                if is_other && let Some(operator) = operator.get() {
                    wake::of_template(operator, kind, key);
                }
            };
            // The informer lives as long as its watch, which ends with the process.
            Informer::<Version>::start_metadata(client, &resource, &scope, |_, _| Vec::new(), seen);
        });
    }
}
