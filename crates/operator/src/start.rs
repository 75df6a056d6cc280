//! What is followed, and whom each change wakes.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use kube::Client;
use kube::core::ApiResource;
use kube::runtime::events::EventType;
use tokio::sync::mpsc;

use crate::clients::Clients;
use crate::controllers::{cluster_external_secret, external_secret, push_secret, store};
use crate::informer::{IndexKey, Informer, ObjectChange, Scope, changed};
use crate::metrics::Metrics;
use crate::names::LABEL_MANAGED;
use crate::object_key::ObjectKey;
use crate::operator::{Informers, ManagedSecret, Meta, Operator, QueueSet};
use crate::options::Options;
use crate::provider::{Changed, Connections};
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::templates::TemplateSources;
use crate::types::{ExternalSecret, Served, Store, StoreRef, condition};
use crate::wake;
use crate::work::Trigger;

/// The longest that what fails waits until it is looked at again.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The same of stores: one whose server is back would keep all that use it waiting.
const LONGEST_WAIT_OF_STORES: Duration = Duration::from_secs(30);

/// Begins to follow everything, and namespaces as far as they are `followed_namespaces`. Objects that are there are
/// queued as they are seen.
pub(crate) fn start(
    clients: Clients,
    options: Options,
    served: Served,
    followed_namespaces: Option<Scope>,
    metrics: Arc<Metrics>,
    changes: mpsc::UnboundedSender<Changed>,
) -> Arc<Operator> {
    let Clients { watching, client } = clients;
    // Informers need the operator to know whom to wake, and the operator holds the informers.
    let late: Arc<OnceLock<Arc<Operator>>> = Arc::new(OnceLock::new());
    let started = Instant::now();
    let max_per_group = options.concurrent;
    let queue = |name: &str, longest| Arc::new(Queue::new(max_per_group, longest, metrics.queue(name, max_per_group)));
    let queues = QueueSet {
        external_secrets: queue("externalsecret", LONGEST_WAIT),
        stores: queue("secretstore", LONGEST_WAIT_OF_STORES),
        cluster_stores: queue("clustersecretstore", LONGEST_WAIT_OF_STORES),
        cluster_external_secrets: queue("clusterexternalsecret", LONGEST_WAIT),
        push_secrets: queue("pushsecret", LONGEST_WAIT),
    };
    let scope = Scope {
        namespace: options.namespace.clone(),
        ..Scope::default()
    };
    let everywhere = Scope::default();
    let informers = Informers {
        external_secrets: {
            let (queue, late, default) = (
                queues.external_secrets.clone(),
                late.clone(),
                options.default_store.clone(),
            );
            let owners = queues.cluster_external_secrets.clone();
            Informer::start(
                watching.clone(),
                &served.external_secret,
                &scope,
                external_secret::index,
                move |key, seen| {
                    cluster_external_secret::of_owned(late.get(), &owners, &seen);
                    seen_external_secret(&queue, &late, default.as_ref(), started, key, seen);
                },
            )
        },
        // Also where they are not validated here: ExternalSecrets use them all the same.
        secret_stores: store_informer(&watching, &served.secret_store, &scope, &queues, &late),
        cluster_stores: match options.cluster_stores {
            true => store_informer(&watching, &served.cluster_secret_store, &everywhere, &queues, &late),
            false => Informer::empty(),
        },
        cluster_external_secrets: match &served.cluster_external_secret {
            Some(resource) => {
                let queue = queues.cluster_external_secrets.clone();
                Informer::start(
                    watching.clone(),
                    resource,
                    &everywhere,
                    |_, _| Vec::new(),
                    move |key, seen| {
                        cluster_external_secret::seen(&queue, key, seen);
                    },
                )
            }
            _ => Informer::empty(),
        },
        push_secrets: match &served.push_secret {
            Some(resource) => {
                let (queue, late) = (queues.push_secrets.clone(), late.clone());
                Informer::start(
                    watching.clone(),
                    resource,
                    &scope,
                    push_secret::index,
                    move |key, seen| {
                        push_secret::seen(late.get(), &queue, key, seen);
                    },
                )
            }
            _ => Informer::empty(),
        },
        // Who only pokes need not see any Secret but the tokens.
        targets: if options.poke_only {
            Informer::empty()
        } else {
            let late = late.clone();
            let managed = Scope {
                namespace: options.namespace.clone(),
                labels: Some(format!("{LABEL_MANAGED}=true")),
                ..Scope::default()
            };
            let secrets = core("Secret", "secrets");
            let by_owner =
                |_: &ObjectKey, secret: &ManagedSecret| Vec::from_iter(secret.owner.clone().map(IndexKey::Owner));
            Informer::start_metadata(watching.clone(), &secrets, &managed, by_owner, move |key, seen| {
                // A list that is read again shows much that is as it was.
                let is_same = match &seen {
                    ObjectChange::Applied(now, Some(before)) => now.identity == before.identity,
                    _ => false,
                };
                if let (false, Some(operator)) = (is_same, late.get()) {
                    wake::of_target(operator, key);
                }
            })
        },
        namespaces: match followed_namespaces {
            Some(scope) => {
                let late = late.clone();
                let namespaces = core("Namespace", "namespaces");
                Informer::<Meta>::start_metadata(
                    watching.clone(),
                    &namespaces,
                    &scope,
                    |_, _| Vec::new(),
                    move |key, seen| {
                        if let Some(operator) = late.get() {
                            cluster_external_secret::of_namespace(operator, key, &seen);
                        }
                    },
                )
            }
            None => Informer::empty(),
        },
    };
    let operator = Arc::new(Operator {
        connections: Connections::new(client.clone(), changes),
        recorder: Recorder::new(client.clone(), std::env::var("POD_NAME").ok()),
        templates: TemplateSources::new(watching, scope, late.clone()),
        client,
        options,
        served,
        informers,
        queues,
        metrics,
        uses: Mutex::default(),
        verified: Mutex::default(),
        started,
    });
    let _first = late.set(operator.clone());
    operator
}

impl Operator {
    /// Waits until everything was seen once.
    pub(crate) async fn wait_ready(&self) {
        let informers = &self.informers;
        informers.secret_stores.wait_ready().await;
        informers.cluster_stores.wait_ready().await;
        informers.namespaces.wait_ready().await;
        informers.targets.wait_ready().await;
        informers.external_secrets.wait_ready().await;
        informers.cluster_external_secrets.wait_ready().await;
        informers.push_secrets.wait_ready().await;
    }
}

fn store_informer(
    client: &Client,
    resource: &ApiResource,
    scope: &Scope,
    queues: &QueueSet,
    late: &Arc<OnceLock<Arc<Operator>>>,
) -> Arc<Informer<Store>> {
    let kind = resource.kind.clone();
    let stores = match kind.as_str() {
        "ClusterSecretStore" => queues.cluster_stores.clone(),
        _ => queues.stores.clone(),
    };
    let late = late.clone();
    Informer::start(
        client.clone(),
        resource,
        scope,
        |_, _| Vec::new(),
        move |key, seen: ObjectChange<'_, Store>| match seen {
            ObjectChange::Applied(store, before) => {
                let is_new = before
                    .as_ref()
                    .is_none_or(|before| changed(&before.metadata, &store.metadata));
                if is_new {
                    stores.add(
                        key.clone(),
                        &store::concurrency_group(key),
                        Trigger::WatchEvent,
                        Instant::now(),
                    );
                }
                // Those that wait for a store to be there, to be another, or to be ready need not wait for their time.
                let readiness = |store: &Store| {
                    store
                        .status
                        .clone()
                        .map(|status| condition::is_ready(&status.conditions))
                };
                let turned = before
                    .as_ref()
                    .is_some_and(|before| readiness(before) != readiness(store));
                if (before.is_some() && is_new || turned)
                    && let Some(operator) = late.get()
                {
                    wake::of_store(operator, key);
                    push_secret::of_store(operator, store);
                }
            }
            ObjectChange::Deleted(_) => {
                stores.forget(key);
                // Its last turn: its metrics go with it.
                stores.add(
                    key.clone(),
                    &store::concurrency_group(key),
                    Trigger::WatchEvent,
                    Instant::now(),
                );
                if let Some(operator) = late.get() {
                    operator.connections.close(key);
                }
            }
            ObjectChange::Unreadable(_, error) => {
                tracing::warn!(%kind, store = %key, %error, "the store can't be read")
            }
        },
    )
}

fn seen_external_secret(
    queue: &Arc<Queue>,
    late: &Arc<OnceLock<Arc<Operator>>>,
    default: Option<&StoreRef>,
    started: Instant,
    key: &ObjectKey,
    seen: ObjectChange<'_, ExternalSecret>,
) {
    match seen {
        ObjectChange::Applied(external_secret, before) => {
            let group = external_secret::concurrency_group(external_secret, default);
            match before {
                // What is there at the start is read once: changes may have been missed.
                None if late
                    .get()
                    .is_none_or(|operator| !operator.informers.external_secrets.is_ready()) =>
                {
                    queue.add(key.clone(), &group, Trigger::SourceChanged, started);
                }
                Some(before) if !changed(&before.metadata, &external_secret.metadata) => {}
                _ => queue.add(key.clone(), &group, Trigger::WatchEvent, Instant::now()),
            }
        }
        ObjectChange::Deleted(_) => {
            queue.forget(key);
            queue.add(key.clone(), "", Trigger::WatchEvent, Instant::now());
        }
        ObjectChange::Unreadable(meta, error) => {
            tracing::warn!(external_secret = %key, %error, "the ExternalSecret can't be read");
            if let Some(operator) = late.get().cloned() {
                let (meta, why) = (meta.clone(), format!("the resource can't be read: {error}"));
                tokio::spawn(async move {
                    let resource = &operator.served.external_secret;
                    operator
                        .recorder
                        .write(resource, &meta, EventType::Warning, "UpdateFailed", why)
                        .await;
                });
            }
        }
    }
}

/// A resource of the core group.
pub(crate) fn core(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}
