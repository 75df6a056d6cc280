//! `sidevault sync`: reads the sources, and is the only process that writes the store.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use sidevault_api::{StatusSource, status_server};
use sidevault_model::ServerHealth;
use sidevault_sync::{Config, DirectorySource, HookAnswer, Hooks, Metrics, Options, Status, start};

use crate::cli;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::load_credentials;
use crate::listening;
use crate::settings::{Role, Settings};
use crate::signals::stop_token;

/// Syncs until a signal says stop, then finishes the commands that it has begun.
pub(crate) async fn run(arguments: cli::Sync, environment: &Environment) -> Result<(), Failure> {
    let settings = Settings::read(environment, Role::Sync)?;
    let stop = stop_token()?;
    let credentials = load_credentials(&settings.session, settings.passphrase_file.as_deref())?;
    let backup = arguments.backup(&settings.data, environment)?;
    let mut config = match arguments.config.or(settings.sync_config) {
        Some(path) => Config::load(&path)?,
        None => Config::default(),
    };
    config.local_vaults.extend(arguments.vaults);
    config.allow_ephemeral |= arguments.allow_ephemeral;
    for directory in &arguments.dirs {
        // The directory may still be missing: git-sync makes it, in a container beside this one.
        add_directory(&mut config, directory.source(&arguments.age_key_files))?;
    }
    for repository in &arguments.repositories {
        add_directory(
            &mut config,
            repository.source(arguments.git_token_file.as_deref(), &arguments.age_key_files)?,
        )?;
    }
    let listener = listening::everywhere(settings.http_port, "OP_HTTP_PORT").await?;
    let (links, bus) = listening::bus(settings.bus_port, settings.bus_peers, &credentials)?;
    let running = start(Options {
        dir: settings.data,
        database: settings.database,
        credentials: Arc::new(credentials),
        config,
        low_disk: settings.low_disk,
        backup,
        links,
    })
    .await?;
    tracing::info!(
        address = %listener.local_addr(),
        bus = bus.map(|address| address.to_string()),
        version = env!("CARGO_PKG_VERSION"),
        "sync is running"
    );
    let source = SyncStatus {
        status: running.status.clone(),
        metrics: running.metrics.clone(),
        hooks: running.hooks.clone(),
        leads: running.leads(),
        details: settings.health_details,
    };
    status_server(Arc::new(source), listener, stop).await;
    running.stop().await;
    tracing::info!("sync has stopped");
    Ok(())
}

/// Adds a directory, unless another source has its name: the store records a vault's source by name.
pub(crate) fn add_directory(config: &mut Config, source: DirectorySource) -> Result<(), Failure> {
    let (argument, value) = match &source.git {
        Some(_) => ("--git", "URL".to_owned()),
        None => ("--dir", source.path.display().to_string()),
    };
    let taken = config.directories.iter().any(|other| other.name == source.name);
    if taken || source.name == sidevault_store::LOCAL_SOURCE {
        return Err(Failure::Config(format!(
            "{argument} {value}: another source has the name \"{0}\". Give this one another name: {argument} {0}-files={value} \
             (in the sources file: `name`)",
            source.name
        )));
    }
    config.directories.push(source);
    Ok(())
}

struct SyncStatus {
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    hooks: Arc<Hooks>,
    leads: Box<dyn Fn() -> bool + Send + Sync>,
    /// Whether every request gets the details; sync can't check tokens.
    details: bool,
}

impl StatusSource for SyncStatus {
    fn health(&self) -> ServerHealth {
        let parts = self.status.dependencies().into_iter();
        ServerHealth::sync(parts.map(|part| part.shown(self.details)).collect())
    }

    fn metrics(&self) -> String {
        self.metrics.encode()
    }

    fn webhook(&self, source: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), (StatusCode, &'static str)> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match self.hooks.receive(source, header, body) {
            HookAnswer::Accepted if (self.leads)() => Ok(()),
            HookAnswer::Accepted => Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "this sync is a standby: the one that leads asks the remote at its next interval",
            )),
            HookAnswer::Unknown => Err((StatusCode::NOT_FOUND, "no source of this name takes webhooks")),
            HookAnswer::Forged => Err((StatusCode::FORBIDDEN, "the signature or token is missing or wrong")),
            HookAnswer::Broken => Err((
                StatusCode::INTERNAL_SERVER_ERROR,
                "the secret of this source's webhook can't be read; the log of sync says why",
            )),
        }
    }
}
