//! The work queues of all controllers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::groups;
use crate::metrics::Metrics;
use crate::object_key::ObjectKey;
use crate::queue::Queue;
use crate::types::{ExternalSecret, PushSecret, StoreRef};
use crate::work::Trigger;

/// Maximum backoff after failures.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// Maximum backoff of stores. Shorter, because every dependent waits until a recovered store is rechecked.
const MAX_STORE_BACKOFF: Duration = Duration::from_secs(30);

/// The work queues of all controllers. Each method queues one object in its concurrency group.
pub(crate) struct Queues {
    pub(crate) external_secrets: Arc<Queue>,
    pub(crate) stores: Arc<Queue>,
    pub(crate) cluster_stores: Arc<Queue>,
    pub(crate) cluster_external_secrets: Arc<Queue>,
    pub(crate) push_secrets: Arc<Queue>,
    /// The store of ExternalSecrets that name none: it is their group.
    default_store: Option<StoreRef>,
}

impl Queues {
    /// Empty queues. `max_per_group` is how many objects of one group are reconciled at the same time.
    pub(crate) fn new(max_per_group: usize, default_store: Option<StoreRef>, metrics: &Metrics) -> Self {
        let queue = |controller, max_backoff| {
            let metrics = metrics.queue(controller, max_per_group);
            Arc::new(Queue::new(max_per_group, max_backoff, metrics))
        };
        Self {
            external_secrets: queue("externalsecret", MAX_BACKOFF),
            stores: queue("secretstore", MAX_STORE_BACKOFF),
            cluster_stores: queue("clustersecretstore", MAX_STORE_BACKOFF),
            cluster_external_secrets: queue("clusterexternalsecret", MAX_BACKOFF),
            push_secrets: queue("pushsecret", MAX_BACKOFF),
            default_store,
        }
    }

    /// Queues an ExternalSecret.
    pub(crate) fn add_external_secret(
        &self,
        key: &ObjectKey,
        external_secret: &ExternalSecret,
        trigger: Trigger,
        requested_at: Instant,
    ) {
        let group = groups::of_external_secret(external_secret, self.default_store.as_ref());
        self.external_secrets.add(key.clone(), &group, trigger, requested_at);
    }

    /// Queues an ExternalSecret that was deleted for its last reconcile. It needs no store, so it is in no store's group.
    pub(crate) fn add_deleted_external_secret(&self, key: &ObjectKey) {
        self.external_secrets.forget(key);
        self.external_secrets
            .add(key.clone(), "", Trigger::WatchEvent, Instant::now());
    }

    /// Queues a store because of a watch event.
    pub(crate) fn add_store(&self, key: &ObjectKey) {
        let group = groups::of_store(key);
        self.of_store(key)
            .add(key.clone(), &group, Trigger::WatchEvent, Instant::now());
    }

    /// Queues a ClusterExternalSecret because of a watch event.
    pub(crate) fn add_cluster_external_secret(&self, name: &str) {
        let key = ObjectKey::cluster(name);
        self.cluster_external_secrets
            .add(key, "", Trigger::WatchEvent, Instant::now());
    }

    /// Queues a PushSecret because of a watch event.
    pub(crate) fn add_push_secret(&self, key: &ObjectKey, push_secret: &PushSecret) {
        let group = groups::of_push_secret(push_secret);
        self.push_secrets
            .add(key.clone(), &group, Trigger::WatchEvent, Instant::now());
    }

    /// The queue of a store's kind.
    pub(crate) fn of_store(&self, key: &ObjectKey) -> &Queue {
        match &*key.namespace {
            "" => &self.cluster_stores,
            _ => &self.stores,
        }
    }
}
