//! From options to a running operator.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::access;
use crate::clients::{self, Clients};
use crate::controllers::{self, cluster_external_secret, external_secret, push_secret, store};
use crate::discovery::{self, DiscoveryError};
use crate::force_sync;
use crate::informer::Scope;
use crate::leader;
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::options::Options;
use crate::provider::Changed;
use crate::queue::Queue;
use crate::server;
use crate::start::{core, start};
use crate::types::Served;
use crate::wake;
use crate::work::Requeue;

/// How often values that were read a while ago are forgotten.
const TIDY: Duration = Duration::from_secs(15);

/// Why an operator does not run.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no API server to be reached.
    #[error("the Kubernetes API server can't be reached: {0}")]
    Kubernetes(String),
    /// The API server does not have the resources.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// An address can't be listened on.
    #[error("{what} {address}: {cause}")]
    Listen {
        /// The flag.
        what: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The times of the leader election make no sense together.
    #[error("{0}")]
    Election(String),
    /// Another replica took over: this one has to start anew.
    #[error("another replica holds the Lease now")]
    LeaseLost,
}

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
    server::start(&options, metrics.clone(), ready.clone(), &stop).await?;
    let served = discovery::served(&clients.client).await?;
    let namespaces = narrow(&clients.client, &mut options, &served)
        .await
        .map_err(DiscoveryError::from)?;
    // What is turned off is as if the API server did not have it.
    let served = Served {
        cluster_external_secret: served
            .cluster_external_secret
            .filter(|_| options.cluster_external_secrets),
        push_secret: served.push_secret.filter(|_| options.push_secrets),
        ..served
    };
    if options.leader_election.is_some() {
        // One that waits for the Lease is as it should be: a Deployment's roll-out waits for it to be ready.
        ready.set();
    }
    let lease = match &options.leader_election {
        None => None,
        Some(election) => {
            // One request that is not answered shall not cost the Lease.
            let client = clients::answered_within(&config, election.deadline / 2)?;
            match leader::wait(&client, election, &stop).await {
                Some(lease) => Some(lease),
                None => return Ok(()),
            }
        }
    };
    let (changes, changed) = mpsc::unbounded_channel();
    let operator = start(clients, options, served, namespaces, metrics, changes);
    // The first lists may take long: the Lease is held meanwhile.
    let work = async {
        if stop.run_until_cancelled(operator.wait_ready()).await.is_none() {
            return;
        }
        ready.set();
        tracing::info!(
            external_secrets = operator.informers.external_secrets.len(),
            version = operator.served.external_secret.version,
            "operator is running"
        );
        work(operator.clone(), changed, stop.clone()).await;
    };
    let outcome = match lease {
        None => {
            work.await;
            Ok(())
        }
        Some(lease) => {
            // The Lease is given back when all work is done, not before: nobody else may begin meanwhile.
            let done = CancellationToken::new();
            let holding = lease.hold(&done);
            tokio::pin!(work, holding);
            tokio::select! {
                () = &mut work => {
                    done.cancel();
                    holding.await;
                    Ok(())
                }
                // Another replica may be at work already: stop at once rather than in order.
                () = &mut holding => Err(OperatorError::LeaseLost),
            }
        }
    };
    tracing::info!("operator has stopped");
    outcome
}

/// Which namespaces' labels are to be known. With one namespace, what belongs to all of them is only looked at where
/// that is allowed: a Role alone must do.
async fn narrow(client: &Client, options: &mut Options, served: &Served) -> Result<Option<Scope>, kube::Error> {
    let Some(namespace) = &options.namespace else {
        return Ok(Some(Scope::default()));
    };
    if !options.cluster_stores {
        return Ok(None);
    }
    options.cluster_stores = access::may_follow(client, &served.cluster_secret_store, None, None).await?;
    if !options.cluster_stores {
        tracing::info!("ClusterSecretStores are left alone: they may not be listed and watched");
        return Ok(None);
    }
    let scope = Scope {
        name: Some(namespace.clone()),
        ..Scope::default()
    };
    let allowed = access::may_follow(client, &core("Namespace", "namespaces"), None, Some(namespace)).await?;
    Ok(allowed.then_some(scope))
}

/// All controllers, until `stop`.
async fn work(operator: Arc<Operator>, changed: mpsc::UnboundedReceiver<Changed>, stop: CancellationToken) {
    let queues = &operator.queues;
    let metrics = |name: &str| operator.metrics.queue(name, operator.options.concurrent);
    let external_secrets = {
        let operator = operator.clone();
        controllers::run(
            queues.external_secrets.clone(),
            metrics("externalsecret"),
            stop.clone(),
            move |work| {
                let operator = operator.clone();
                async move {
                    match operator.options.poke_only {
                        true => force_sync::reconcile(&operator, &work).await,
                        false => external_secret::reconcile(&operator, &work).await,
                    }
                }
            },
        )
    };
    let stores = |queue: &Arc<Queue>, name| {
        let operator = operator.clone();
        controllers::run(queue.clone(), metrics(name), stop.clone(), move |work| {
            let operator = operator.clone();
            async move {
                match operator.options.poke_only {
                    true => Requeue::OnChange,
                    false => store::reconcile(&operator, &work).await,
                }
            }
        })
    };
    let cluster_stores = stores(&queues.cluster_stores, "clustersecretstore");
    let stores = stores(&queues.stores, "secretstore");
    let cluster_external_secrets = {
        let (operator, queue) = (operator.clone(), queues.cluster_external_secrets.clone());
        controllers::run(queue, metrics("clusterexternalsecret"), stop.clone(), move |work| {
            let operator = operator.clone();
            async move { cluster_external_secret::reconcile(&operator, &work).await }
        })
    };
    let push_secrets = {
        let operator = operator.clone();
        controllers::run(
            queues.push_secrets.clone(),
            metrics("pushsecret"),
            stop.clone(),
            move |work| {
                let operator = operator.clone();
                async move { push_secret::reconcile(&operator, &work).await }
            },
        )
    };
    let wakes = wake::run(operator.clone(), changed, stop.clone());
    let tidies = async {
        while stop.run_until_cancelled(tokio::time::sleep(TIDY)).await.is_some() {
            let many_wait = operator.queues.external_secrets.is_crowded();
            operator.connections.tidy(|key| operator.has_store(key), many_wait);
        }
    };
    tokio::join!(
        external_secrets,
        stores,
        cluster_stores,
        cluster_external_secrets,
        push_secrets,
        wakes,
        tidies
    );
}
