//! The operator's own HTTP server: `/metrics`, `/uses`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Serialize;
use sidevault_model::{ItemId, VaultId};
use sidevault_net::without_ipv6;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::callers::Callers;
use crate::error::OperatorError;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::provider::{Dependency, DependencyIndex};

/// The content type of `/metrics`.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether `/readyz` reports the operator as ready. A replica that waits for the Lease is ready, because a Deployment's
/// rollout waits for ready Pods.
#[derive(Clone, Default)]
pub(crate) struct Ready(Arc<AtomicBool>);

impl Ready {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Listens on the configured addresses, and serves until `stop`.
///
/// # Errors
/// When an address can't be listened on.
pub(crate) async fn start(
    options: &Options,
    metrics: Arc<Metrics>,
    dependencies: Arc<Mutex<DependencyIndex>>,
    callers: Callers,
    ready: Ready,
    stop: &CancellationToken,
) -> Result<(), OperatorError> {
    let metrics = Router::new()
        .route(
            "/metrics",
            get(move || async move {
                match metrics.encode() {
                    Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
                    Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                }
            }),
        )
        .route(
            "/uses/{vault}/{item}",
            get(
                move |headers: HeaderMap, Path((vault, item)): Path<(String, String)>| async move {
                    match callers.may_list_external_secrets(&headers).await {
                        Ok(()) => uses(&dependencies, &vault, &item),
                        Err(refusal) => refusal.into_response(),
                    }
                },
            ),
        );
    let health = Router::new().route("/healthz", get(|| async { "ok" })).route(
        "/readyz",
        get(move || async move {
            if ready.0.load(Ordering::Relaxed) {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "starting")
            }
        }),
    );
    match (options.metrics_address, options.health_address) {
        (Some(address), Some(other)) if address == other => {
            listen("--metrics-addr", address, metrics.merge(health), stop).await?;
        }
        (metrics_address, health_address) => {
            if let Some(address) = metrics_address {
                listen("--metrics-addr", address, metrics, stop).await?;
            }
            if let Some(address) = health_address {
                listen("--health-addr", address, health, stop).await?;
            }
        }
    }
    Ok(())
}

/// An ExternalSecret whose values depend on an item.
#[derive(Serialize)]
struct Use {
    namespace: String,
    name: String,
    /// The store: `namespace/name`, or the name of a ClusterSecretStore.
    store: String,
    /// `item`: the ExternalSecret has read it. `vault`: it has searched all items of the vault.
    reads: &'static str,
}

/// The ExternalSecrets that read an item, or searched its vault, by the ids of both.
fn uses(dependencies: &Mutex<DependencyIndex>, vault: &str, item: &str) -> Response {
    let (Ok(vault), Ok(item)) = (VaultId::parse(vault), ItemId::parse(item)) else {
        return (StatusCode::BAD_REQUEST, "write /uses/VAULT/ITEM, with ids").into_response();
    };
    let index = dependencies.lock();
    let users = index.users(vault, item);
    let mut uses: Vec<Use> = users
        .into_iter()
        .map(|(key, store, dependency)| Use {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            store: store.to_string(),
            reads: match dependency {
                Dependency::Vault(_) => "vault",
                Dependency::Item(..) | Dependency::Absent(..) => "item",
            },
        })
        .collect();
    drop(index);
    uses.sort_by(|a, b| (&a.namespace, &a.name, &a.store).cmp(&(&b.namespace, &b.name, &b.store)));
    Json(uses).into_response()
}

async fn listen(
    flag: &'static str,
    address: SocketAddr,
    router: Router,
    stop: &CancellationToken,
) -> Result<(), OperatorError> {
    let listener = match TcpListener::bind(address).await {
        Err(error) => match without_ipv6(address, &error) {
            Some(address) => TcpListener::bind(address).await,
            None => Err(error),
        },
        bound => bound,
    };
    let listener = listener.map_err(|cause| OperatorError::Listen { flag, address, cause })?;
    let stop = stop.clone();
    tokio::spawn(async move {
        let serve = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = serve.await {
            tracing::warn!(%error, flag, "the HTTP server has stopped");
        }
    });
    Ok(())
}
