//! `sidevault api`: serves the REST API.

use std::path::Path;
use std::sync::Arc;

use sidevault_api::{Acme, Api, Config, Revoked, RevokedFile, SyncLink, Tls, TlsFiles, serve};
use sidevault_store::ReaderOptions;
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::load_credentials;
use crate::listening;
use crate::settings::{Role, Settings, TlsSetting};
use crate::signals::stop_token;

/// Serves until a signal says stop, then finishes the requests that it has begun.
pub(crate) async fn run(environment: &Environment) -> Result<(), Failure> {
    let settings = Settings::read(environment, Role::Api)?;
    let stop = stop_token()?;
    let credentials = load_credentials(&settings.session, settings.passphrase_file.as_deref())?;
    let credentials = Arc::new(credentials);
    let revoked = revoked(settings.revoked)?;
    let (port, variable) = match settings.tls {
        TlsSetting::Off => (settings.http_port, "OP_HTTP_PORT"),
        _ => (settings.https_port, "OP_HTTPS_PORT"),
    };
    let listener = listening::everywhere(port, variable).await?;
    let tls = tls(settings.tls, &settings.data, &stop)?;
    let (links, bus) = listening::bus(settings.bus_port, settings.bus_peers, &credentials)?;
    let config = Config {
        database: settings.database,
        sync_timeout: settings.sync_timeout,
        inline_file_bytes: settings.inline_file_bytes,
        health_details: settings.health_details,
        page: settings.page,
        reader: ReaderOptions {
            connections: settings.store_connections,
            replica: settings.replica,
            ..ReaderOptions::default()
        },
    };
    let link = Arc::new(SyncLink::default());
    let api = Api::new(config, &credentials, revoked, link.clone());
    tokio::spawn(link.run(links));
    let running = tokio::spawn(api.clone().run(credentials));
    tracing::info!(
        address = %listener.local_addr(),
        bus = bus.map(|address| address.to_string()),
        tls = matches!(tls, Tls::On(_)),
        version = env!("CARGO_PKG_VERSION"),
        "api is listening"
    );
    serve_until(api, listener, tls, stop).await;
    running
        .await
        .map_err(|error| Failure::Failed(format!("the api's task failed: {error}")))?;
    tracing::info!("api has stopped");
    Ok(())
}

/// Reads the revocation list.
pub(crate) fn revoked(file: Option<RevokedFile>) -> Result<Revoked, Failure> {
    let Some(file) = file else {
        return Ok(Revoked::default());
    };
    Revoked::open(file).map_err(|error| {
        Failure::Config(format!(
            "{error}. Without it, revoked tokens would be accepted, so the api does not start (SIDEVAULT_REVOKED_FILE)"
        ))
    })
}

/// Serves until `stop`, then ends the api's event streams and waits for its tasks.
pub(crate) async fn serve_until(api: Arc<Api>, listener: sidevault_api::Listener, tls: Tls, stop: CancellationToken) {
    // Event streams never end by themselves: unless the api ends them, draining would wait for ever.
    let (ending, stopping) = (api.clone(), stop.clone());
    let ender = tokio::spawn(async move {
        stopping.cancelled().await;
        ending.stop();
    });
    serve(api, listener, tls, stop).await;
    // The task can't fail: it only waits and calls `stop`.
    let _ = ender.await;
}

fn tls(setting: TlsSetting, data: &Path, stop: &CancellationToken) -> Result<Tls, Failure> {
    match setting {
        TlsSetting::Off => {
            tracing::warn!(
                "serving plain HTTP: keep it inside the Pod's network, or set OP_TLS_CERT_FILE and OP_TLS_KEY_FILE"
            );
            Ok(Tls::Off)
        }
        TlsSetting::Files { certificate, key } => {
            let files = TlsFiles { cert: certificate, key };
            files
                .start(stop.clone())
                .map_err(|error| Failure::Config(format!("TLS (OP_TLS_CERT_FILE, OP_TLS_KEY_FILE): {error}")))
        }
        TlsSetting::Acme {
            domain,
            directory,
            authority,
        } => {
            let acme = Acme {
                domain,
                directory,
                authority,
                data: data.to_owned(),
            };
            acme.start(stop.clone())
                .map_err(|error| Failure::Config(format!("TLS (OP_TLS_DOMAIN, SIDEVAULT_ACME_CA_FILE): {error}")))
        }
    }
}
