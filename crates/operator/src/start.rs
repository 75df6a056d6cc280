//! Builds the parts of a running operator, and starts to follow the API server.

use std::sync::Arc;
use std::time::Instant;

use kube::Client;
use kube::core::ApiResource;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::clients::Clients;
use crate::controllers::{cluster_external_secret, external_secret, push_secret, store};
use crate::index::IndexKey;
use crate::informer::{Informer, ObjectChange, Scope};
use crate::informers::{Informers, ManagedSecret};
use crate::kube_ext::core_resource;
use crate::metrics::Metrics;
use crate::names::LABEL_MANAGED;
use crate::object_key::ObjectKey;
use crate::options::Options;
use crate::provider::{Changed, Connections, DependencyIndex};
use crate::queues::Queues;
use crate::recorder::Recorder;
use crate::stores::Stores;
use crate::template_reader::TemplateReader;
use crate::templates::TemplateWatches;
use crate::types::{Served, Store};

/// What the controllers share. Each controller is given the parts that it uses.
pub(crate) struct Operator {
    pub(crate) client: Client,
    pub(crate) options: Arc<Options>,
    pub(crate) served: Arc<Served>,
    pub(crate) informers: Arc<Informers>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) dependencies: Arc<Mutex<DependencyIndex>>,
    pub(crate) templates: Arc<TemplateReader>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) metrics: Arc<Metrics>,
    /// When the initial lists were requested (operator start).
    pub(crate) started_at: Instant,
}

impl Operator {
    /// Builds the parts, all of them empty. Nothing is requested from the API server yet. Changes at Connect servers go to
    /// `changes`.
    pub(crate) fn new(
        clients: &Clients,
        options: Options,
        served: Served,
        metrics: Arc<Metrics>,
        dependencies: Arc<Mutex<DependencyIndex>>,
        changes: mpsc::UnboundedSender<Changed>,
    ) -> Self {
        let client = clients.client.clone();
        let informers = Arc::new(Informers {
            external_secrets: Informer::new(external_secret::triggers::index),
            stores: Arc::new(Stores {
                namespaced: Informer::new(|_, _| Vec::new()),
                cluster: Informer::new(|_, _| Vec::new()),
                use_cluster: options.cluster_stores,
                controller_class: options.controller_class.clone(),
            }),
            cluster_external_secrets: Informer::new(|_, _| Vec::new()),
            push_secrets: Informer::new(push_secret::triggers::index),
            targets: Informer::new(by_owner),
            namespaces: Informer::new(|_, _| Vec::new()),
        });
        let queues = Queues::new(options.concurrent, options.default_store.clone(), &metrics);
        let queues = Arc::new(queues);
        let on_template = {
            let (informers, queues, dependencies) = (informers.clone(), queues.clone(), dependencies.clone());
            move |kind, key: &ObjectKey| {
                external_secret::triggers::on_template(&informers, &queues, &dependencies, kind, key);
            }
        };
        let scope = namespace_scope(&options);
        Self {
            connections: Arc::new(Connections::new(client.clone(), changes)),
            templates: Arc::new(TemplateReader {
                client: client.clone(),
                watches: TemplateWatches::new(clients.watch_client.clone(), scope, Arc::new(on_template)),
                delimiters: options.template_delimiters.clone(),
            }),
            recorder: Arc::new(Recorder::new(client.clone(), std::env::var("POD_NAME").ok())),
            client,
            options: Arc::new(options),
            served: Arc::new(served),
            informers,
            queues,
            dependencies,
            metrics,
            started_at: Instant::now(),
        }
    }

    /// Starts to list and watch all kinds; of namespaces those in `namespaces`, or none. Listed objects are queued when they
    /// arrive.
    pub(crate) fn follow(&self, client: &Client, namespaces: Option<&Scope>) {
        self.follow_external_secrets(client);
        let (stores, served) = (&self.informers.stores, &self.served);
        // Also if SecretStores are not checked, because ExternalSecrets use them all the same.
        self.follow_stores(
            &stores.namespaced,
            client,
            &served.secret_store,
            &namespace_scope(&self.options),
        );
        if self.options.cluster_stores {
            self.follow_stores(&stores.cluster, client, &served.cluster_secret_store, &Scope::default());
        } else {
            stores.cluster.stay_empty();
        }
        self.follow_cluster_external_secrets(client);
        self.follow_push_secrets(client);
        self.follow_targets(client);
        self.follow_namespaces(client, namespaces);
    }

    fn follow_external_secrets(&self, client: &Client) {
        let (informers, queues, recorder) = (self.informers.clone(), self.queues.clone(), self.recorder.clone());
        let (served, started_at) = (self.served.clone(), self.started_at);
        let on_change = move |key: &ObjectKey, change: ObjectChange<'_, _>| {
            if served.cluster_external_secret.is_some() {
                cluster_external_secret::triggers::on_external_secret(&informers, &queues, &change);
            }
            external_secret::triggers::on_external_secret(&informers, &queues, started_at, key, &change);
            if let ObjectChange::Unreadable(meta, error) = change {
                external_secret::triggers::record_unreadable(&recorder, &served, meta, error);
            }
        };
        let (resource, scope) = (&self.served.external_secret, namespace_scope(&self.options));
        let informer = &self.informers.external_secrets;
        informer.follow(client.clone(), resource, &scope, on_change);
    }

    fn follow_stores(&self, informer: &Arc<Informer<Store>>, client: &Client, resource: &ApiResource, scope: &Scope) {
        let (informers, queues) = (self.informers.clone(), self.queues.clone());
        let (connections, options) = (self.connections.clone(), self.options.clone());
        let on_change = move |key: &ObjectKey, change: ObjectChange<'_, Store>| {
            let default_store = options.default_store.as_ref();
            store::triggers::on_store(&informers, &queues, &connections, default_store, key, change);
        };
        informer.follow(client.clone(), resource, scope, on_change);
    }

    fn follow_cluster_external_secrets(&self, client: &Client) {
        let informer = &self.informers.cluster_external_secrets;
        let Some(resource) = &self.served.cluster_external_secret else {
            return informer.stay_empty();
        };
        let queues = self.queues.clone();
        informer.follow(client.clone(), resource, &Scope::default(), move |key, change| {
            cluster_external_secret::triggers::on_cluster_external_secret(&queues, key, change);
        });
    }

    fn follow_push_secrets(&self, client: &Client) {
        let informer = &self.informers.push_secrets;
        let Some(resource) = &self.served.push_secret else {
            return informer.stay_empty();
        };
        let (informers, queues) = (self.informers.clone(), self.queues.clone());
        let scope = namespace_scope(&self.options);
        informer.follow(client.clone(), resource, &scope, move |key, change| {
            push_secret::triggers::on_push_secret(&informers, &queues, key, change);
        });
    }

    fn follow_targets(&self, client: &Client) {
        let informer = &self.informers.targets;
        // This mode writes no Secret, and so needs no right to list them.
        if self.options.poke_only {
            return informer.stay_empty();
        }
        let scope = Scope {
            labels: Some(format!("{LABEL_MANAGED}=true")),
            ..namespace_scope(&self.options)
        };
        let (informers, queues) = (self.informers.clone(), self.queues.clone());
        let resource = core_resource("Secret", "secrets");
        informer.follow_metadata(client.clone(), &resource, &scope, move |key, change| {
            external_secret::triggers::on_target(&informers, &queues, key, &change);
        });
    }

    fn follow_namespaces(&self, client: &Client, scope: Option<&Scope>) {
        let informer = &self.informers.namespaces;
        let Some(scope) = scope else {
            return informer.stay_empty();
        };
        let (informers, queues, served) = (self.informers.clone(), self.queues.clone(), self.served.clone());
        let resource = core_resource("Namespace", "namespaces");
        informer.follow_metadata(client.clone(), &resource, scope, move |key, change| {
            if served.cluster_external_secret.is_some() {
                cluster_external_secret::triggers::on_namespace(&informers, &queues, key, &change);
            }
        });
    }
}

/// The one namespace that the options name, or all.
fn namespace_scope(options: &Options) -> Scope {
    Scope {
        namespace: options.namespace.clone(),
        ..Scope::default()
    }
}

fn by_owner(_: &ObjectKey, secret: &ManagedSecret) -> Vec<IndexKey> {
    Vec::from_iter(secret.owner.clone().map(IndexKey::Owner))
}
