//! Runs an operator, from its options to its stop.

use std::sync::Arc;
use std::time::Duration;

use kube::core::ApiResource;
use kube::{Client, Config};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::callers::Callers;
use crate::clients::{self, Clients};
use crate::controllers;
use crate::controllers::cluster_external_secret::ClusterExternalSecretReconciler;
use crate::controllers::external_secret::{ExternalSecretReconciler, Fetcher, TargetWriter};
use crate::controllers::force_sync::ForceSyncReconciler;
use crate::controllers::push_secret::{ItemWriter, PushSecretReconciler, SourceReader, StoreFinalizer};
use crate::controllers::store::StoreReconciler;
use crate::discovery;
use crate::error::OperatorError;
use crate::informer::{Informer, Scope};
use crate::kube_ext::{ObjectWriter, core_resource};
use crate::leader;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::provider::{Changed, DependencyIndex};
use crate::server;
use crate::server_events::ServerEvents;
use crate::start::Operator;
use crate::types::{Served, Store};

/// How often values that nobody has used lately are removed from memory.
const TIDY_INTERVAL: Duration = Duration::from_secs(15);

/// Runs an operator until `stop`.
///
/// # Errors
/// See [`OperatorError`].
pub async fn run(mut options: Options, stop: CancellationToken) -> Result<(), OperatorError> {
    if let Some(election) = &options.leader_election {
        election.check().map_err(OperatorError::Election)?;
    }
    let config = clients::config().await?;
    let clients = Clients::new(&config)?;
    if options.namespace.is_some() {
        options.cluster_external_secrets = false;
    }
    if options.poke_only {
        (options.cluster_external_secrets, options.push_secrets) = (false, false);
    }
    let metrics = Metrics::new(options.extended_metric_labels);
    let ready = server::Ready::default();
    let dependencies = Arc::<Mutex<DependencyIndex>>::default();
    let callers = Callers::new(&config);
    server::start(
        &options,
        metrics.clone(),
        dependencies.clone(),
        callers,
        ready.clone(),
        &stop,
    )
    .await?;
    let served = discovery::served(&clients.client, &config).await?;
    let namespaces = limit_to_rights(&clients.client, &config, &mut options, &served).await?;
    // A kind that is turned off is treated like a kind that the API server does not have.
    let served = Served {
        cluster_external_secret: served
            .cluster_external_secret
            .filter(|_| options.cluster_external_secrets),
        push_secret: served.push_secret.filter(|_| options.push_secrets),
        ..served
    };
    let lease = match &options.leader_election {
        None => None,
        Some(election) => {
            // See `Ready`: a replica that waits for the Lease is ready.
            ready.set();
            // Half of the deadline, so that one request without an answer does not cost the Lease.
            let client = clients::client_with_timeout(&config, election.deadline / 2)?;
            match leader::wait(&client, election, &stop).await {
                Some(lease) => Some(lease),
                None => return Ok(()),
            }
        }
    };
    let (changes, changed) = mpsc::unbounded_channel();
    let operator = Operator::new(&clients, options, served, metrics, dependencies, changes);
    operator.follow(&clients.watch_client, namespaces.as_ref());
    let work = async {
        let lists_complete = operator.informers.wait_ready();
        if stop.run_until_cancelled(lists_complete).await.is_none() {
            return;
        }
        ready.set();
        tracing::info!(
            external_secrets = operator.informers.external_secrets.len(),
            version = operator.served.external_secret.version,
            "operator is running"
        );
        reconcile_all(&operator, changed, stop.clone()).await;
    };
    let result = match lease {
        None => {
            work.await;
            Ok(())
        }
        // The Lease is renewed from now on, because the first lists may take long.
        Some(lease) => {
            // The Lease is released after the last reconcile, so that no other replica begins before that.
            let done = CancellationToken::new();
            let holding = lease.hold(&done);
            tokio::pin!(work, holding);
            tokio::select! {
                () = &mut work => {
                    done.cancel();
                    holding.await;
                    Ok(())
                }
                // Another replica may work already, so this one stops without waiting for its reconciles.
                () = &mut holding => Err(OperatorError::LeaseLost),
            }
        }
    };
    tracing::info!("operator has stopped");
    result
}

/// Turns off what the operator has no right to, and returns which namespaces to follow. With `--namespace` a Role without
/// any cluster-wide right must be enough, so cluster-scoped objects are followed only if that is allowed.
async fn limit_to_rights(
    client: &Client,
    config: &Config,
    options: &mut Options,
    served: &Served,
) -> Result<Option<Scope>, OperatorError> {
    let Some(namespace) = &options.namespace else {
        return Ok(Some(Scope::default()));
    };
    if !options.cluster_stores {
        return Ok(None);
    }
    let may_follow = async |kind: &ApiResource, name: Option<&str>| {
        let allowed = access::may_follow(client, kind, None, name).await;
        allowed.map_err(|error| OperatorError::from_api(config, &error))
    };
    options.cluster_stores = may_follow(&served.cluster_secret_store, None).await?;
    if !options.cluster_stores {
        tracing::info!("ClusterSecretStores are ignored, because the operator may not list and watch them");
        return Ok(None);
    }
    let scope = Scope {
        name: Some(namespace.clone()),
        ..Scope::default()
    };
    let namespaces = core_resource("Namespace", "namespaces");
    let allowed = may_follow(&namespaces, Some(namespace)).await?;
    Ok(allowed.then_some(scope))
}

/// Runs all controllers until `stop`, and then until their last reconcile has ended.
async fn reconcile_all(operator: &Operator, changed: mpsc::UnboundedReceiver<Changed>, stop: CancellationToken) {
    let queues = &operator.queues;
    let external_secrets = async {
        let queue = queues.external_secrets.clone();
        if operator.options.poke_only {
            let reconciler = Arc::new(operator.force_sync_reconciler());
            controllers::run("externalsecret", queue, reconciler, stop.clone()).await;
        } else {
            let reconciler = Arc::new(operator.external_secret_reconciler());
            controllers::run("externalsecret", queue, reconciler, stop.clone()).await;
        }
    };
    let (served, stores) = (&operator.served, &operator.informers.stores);
    let checks_stores = operator.options.secret_stores;
    let stores_of_namespaces = controllers::run(
        "secretstore",
        queues.stores.clone(),
        Arc::new(operator.store_reconciler(&served.secret_store, &stores.namespaced, checks_stores)),
        stop.clone(),
    );
    let cluster_stores = controllers::run(
        "clustersecretstore",
        queues.cluster_stores.clone(),
        Arc::new(operator.store_reconciler(&served.cluster_secret_store, &stores.cluster, true)),
        stop.clone(),
    );
    let cluster_external_secrets = async {
        if let Some(reconciler) = operator.cluster_external_secret_reconciler() {
            let queue = queues.cluster_external_secrets.clone();
            controllers::run("clusterexternalsecret", queue, Arc::new(reconciler), stop.clone()).await;
        }
    };
    let push_secrets = async {
        if let Some(reconciler) = operator.push_secret_reconciler() {
            let queue = queues.push_secrets.clone();
            controllers::run("pushsecret", queue, Arc::new(reconciler), stop.clone()).await;
        }
    };
    let server_events = Arc::new(ServerEvents {
        informers: operator.informers.clone(),
        queues: operator.queues.clone(),
        connections: operator.connections.clone(),
        dependencies: operator.dependencies.clone(),
    });
    let tidying = async {
        while stop
            .run_until_cancelled(tokio::time::sleep(TIDY_INTERVAL))
            .await
            .is_some()
        {
            let is_busy = queues.external_secrets.is_crowded();
            operator.connections.tidy(|key| stores.by_key(key).is_some(), is_busy);
        }
    };
    tokio::join!(
        external_secrets,
        stores_of_namespaces,
        cluster_stores,
        cluster_external_secrets,
        push_secrets,
        server_events.run(changed, stop.clone()),
        tidying
    );
}

/// Each reconciler gets the parts that it uses.
impl Operator {
    fn external_secret_reconciler(&self) -> ExternalSecretReconciler {
        let (resource, informers) = (&self.served.external_secret, &self.informers);
        ExternalSecretReconciler {
            writer: ObjectWriter::new(
                self.client.clone(),
                resource.clone(),
                informers.external_secrets.clone(),
            ),
            fetcher: Arc::new(self.fetcher()),
            targets: TargetWriter::new(
                self.client.clone(),
                informers.clone(),
                self.templates.clone(),
                resource.api_version.clone(),
            ),
            informers: informers.clone(),
            recorder: self.recorder.clone(),
            metrics: self.metrics.clone(),
            options: self.options.clone(),
            client: self.client.clone(),
            started_at: self.started_at,
        }
    }

    fn force_sync_reconciler(&self) -> ForceSyncReconciler {
        let (resource, informer) = (&self.served.external_secret, &self.informers.external_secrets);
        ForceSyncReconciler {
            writer: ObjectWriter::new(self.client.clone(), resource.clone(), informer.clone()),
            fetcher: Arc::new(self.fetcher()),
            informers: self.informers.clone(),
            metrics: self.metrics.clone(),
            default_store: self.options.default_store.clone(),
            started_at: self.started_at,
        }
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher {
            informers: self.informers.clone(),
            connections: self.connections.clone(),
            dependencies: self.dependencies.clone(),
            queues: self.queues.clone(),
            metrics: self.metrics.clone(),
            flood_gate: self.options.flood_gate,
            poke_only: self.options.poke_only,
        }
    }

    fn store_reconciler(
        &self,
        resource: &ApiResource,
        informer: &Arc<Informer<Store>>,
        is_enabled: bool,
    ) -> StoreReconciler {
        StoreReconciler {
            writer: ObjectWriter::new(self.client.clone(), resource.clone(), informer.clone()),
            stores: self.informers.stores.clone(),
            connections: self.connections.clone(),
            recorder: self.recorder.clone(),
            metrics: self.metrics.clone(),
            finalizer: self.served.push_secret.as_ref().map(|_| StoreFinalizer {
                informers: self.informers.clone(),
            }),
            is_enabled: is_enabled && !self.options.poke_only,
            default_interval: self.options.store_interval,
        }
    }

    /// `None` if the API server does not have the kind, or the options turn it off.
    fn cluster_external_secret_reconciler(&self) -> Option<ClusterExternalSecretReconciler> {
        let resource = self.served.cluster_external_secret.clone()?;
        let informer = self.informers.cluster_external_secrets.clone();
        Some(ClusterExternalSecretReconciler {
            client: self.client.clone(),
            writer: ObjectWriter::new(self.client.clone(), resource, informer),
            informers: self.informers.clone(),
            external_secret: self.served.external_secret.clone(),
            metrics: self.metrics.clone(),
        })
    }

    /// `None` if the API server does not have the kind, or the options turn it off.
    fn push_secret_reconciler(&self) -> Option<PushSecretReconciler> {
        let resource = self.served.push_secret.clone()?;
        let informer = self.informers.push_secrets.clone();
        Some(PushSecretReconciler {
            writer: ObjectWriter::new(self.client.clone(), resource, informer),
            sources: SourceReader {
                client: self.client.clone(),
                templates: self.templates.clone(),
            },
            items: ItemWriter {
                connections: self.connections.clone(),
                metrics: self.metrics.clone(),
            },
            informers: self.informers.clone(),
            queues: self.queues.clone(),
            recorder: self.recorder.clone(),
            metrics: self.metrics.clone(),
        })
    }
}
