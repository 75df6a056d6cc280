//! `sidevault quickstart`: api and sync in one process, and a token that works.

mod keys;
mod ready;
mod token;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use sidevault_api::{Api, Config as ApiConfig, Revoked, SyncLink, Tls};
use sidevault_model::{Dependency, DependencyStatus};
use sidevault_store::{Reader, ReaderOptions, VaultEntry};
use sidevault_sync::{Config, DirectorySource, LowDisk, Options, Running, SyncError, start};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::commands::api::{revoked, serve_until};
use crate::commands::sync::add_directory;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::{CREDENTIALS_FILE, URL_FILE, quickstart_directory};
use crate::listening;
use crate::settings::{health_details, low_disk, revoked_file};
use crate::signals::Signals;
use keys::Keys;

/// The vault that is made if nothing else is asked for.
const DEFAULT_VAULT: &str = "secrets";

/// The vaults of a development server if nothing else is asked for.
const DEV_VAULTS: [&str; 2] = [DEFAULT_VAULT, "apps"];

/// Serves until a signal says stop.
pub(crate) async fn run(arguments: cli::Quickstart, environment: &Environment) -> Result<(), Failure> {
    let stop = Signals::catch()?.into_token();
    let home = Home::open(&arguments, environment)?;
    let config = sources(&arguments)?;
    // Before anything is written: a port that is taken is the most common mishap.
    let listener = listening::on(SocketAddr::new(arguments.bind, arguments.port), "--port").await?;
    let url = url(listener.local_addr());
    let keys = match arguments.dev_token {
        true => keys::published(),
        false => keys::load_or_make(home.path(), environment)?,
    };
    if arguments.dev_token {
        eprintln!("{}", ready::DEV_BANNER);
    }
    let locals = config.local_vaults.clone();
    let low_disk = low_disk(environment)?;
    let credentials = home.path().join(CREDENTIALS_FILE);
    let revoked = revoked(revoked_file(environment, &credentials.to_string_lossy()))?;
    let server = Server::start(
        home.path(),
        &keys,
        config,
        low_disk,
        revoked,
        health_details(environment)?,
        arguments.directories_only(),
    )
    .await?;
    let outcome = stop
        .run_until_cancelled(server.prepare(&arguments, &home, &keys, &locals, &url))
        .await;
    match outcome {
        Some(Ok(ready)) => ready.announce(&arguments)?,
        Some(Err(failure)) => {
            server.stop().await;
            return Err(failure);
        }
        // A signal came while the sources were read.
        None => {
            server.stop().await;
            return Ok(());
        }
    }
    serve_until(server.api.clone(), listener, Tls::Off, stop).await;
    server.stop().await;
    drop(home);
    Ok(())
}

impl cli::Quickstart {
    /// What is served are files only; then no local vault is made, and the disk does not matter.
    fn directories_only(&self) -> bool {
        self.vaults.is_empty() && !self.dirs.is_empty()
    }

    fn keeps_nothing(&self) -> bool {
        self.ephemeral || self.dev_token
    }
}

/// The data directory. A temporary one goes when this does.
enum Home {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Home {
    fn open(arguments: &cli::Quickstart, environment: &Environment) -> Result<Self, Failure> {
        if arguments.keeps_nothing() {
            let dir = tempfile::Builder::new().prefix("sidevault-").tempdir()?;
            return Ok(Self::Temporary(dir));
        }
        let path = match &arguments.data {
            Some(path) => path.clone(),
            None => quickstart_directory(environment),
        };
        let made = std::fs::create_dir_all(&path).and_then(|()| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
        });
        made.map_err(|error| {
            Failure::Config(format!(
                "can't use {} for keys and data: {error}; name another directory with --data, or keep nothing with --ephemeral",
                path.display()
            ))
        })?;
        Ok(Self::Kept(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

fn sources(arguments: &cli::Quickstart) -> Result<Config, Failure> {
    let mut config = Config {
        allow_ephemeral: arguments.keeps_nothing(),
        local_vaults: arguments.vaults.clone(),
        ..Config::default()
    };
    for path in &arguments.dirs {
        if !path.is_dir() {
            return Err(Failure::Config(format!(
                "--dir {}: there is no such directory",
                path.display()
            )));
        }
        let mut source = DirectorySource::new(path);
        source.age_key_file.clone_from(&arguments.age_key_file);
        add_directory(&mut config, source)?;
    }
    if config.local_vaults.is_empty() && config.directories.is_empty() {
        config.local_vaults = match arguments.dev_token {
            true => DEV_VAULTS.map(str::to_owned).into(),
            false => vec![DEFAULT_VAULT.to_owned()],
        };
    }
    Ok(config)
}

/// What to put in front of `/v1`.
fn url(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => format!("http://localhost:{}", address.port()),
        _ => format!("http://{address}"),
    }
}

/// Both halves, linked in memory.
struct Server {
    api: Arc<Api>,
    link: Arc<SyncLink>,
    sync: Running,
    api_task: tokio::task::JoinHandle<()>,
    stop_links: CancellationToken,
}

impl Server {
    async fn start(
        data: &Path,
        keys: &Keys,
        config: Config,
        low_disk: LowDisk,
        revoked: Revoked,
        health_details: bool,
        directories_only: bool,
    ) -> Result<Self, Failure> {
        let (api_end, sync_end) = sidevault_bus::in_memory();
        let ((to_api, api_links), (to_sync, sync_links)) = (mpsc::channel(1), mpsc::channel(1));
        // There is room for one, and it is the only one there will ever be.
        let _sent = (to_api.try_send(api_end), to_sync.try_send(sync_end));
        let options = Options {
            dir: data.to_owned(),
            credentials: keys.credentials.clone(),
            config,
            low_disk,
            links: sync_links,
        };
        let sync = start(options).await.map_err(|error| match error {
            SyncError::Ephemeral { vault, disk } if !directories_only => Failure::Config(format!(
                "won't keep the vault \"{vault}\" in {}: that is on {disk}, and what you store there would be gone \
                 with it. Choose a disk that stays with --data (in a container: mount a volume), or say --ephemeral \
                 to try things out",
                data.display()
            )),
            error => error.into(),
        })?;
        let link = Arc::new(SyncLink::default());
        let api = Api::new(
            ApiConfig {
                data: data.to_owned(),
                sync_timeout: Duration::from_secs(10),
                inline_file_bytes: 100 * 1024,
                health_details,
                reader: ReaderOptions::default(),
            },
            &keys.credentials,
            revoked,
            link.clone(),
        );
        let stop_links = CancellationToken::new();
        let (running, stopping) = (link.clone(), stop_links.clone());
        tokio::spawn(async move {
            stopping.run_until_cancelled(running.run(api_links)).await;
            drop((to_api, to_sync));
        });
        let api_task = tokio::spawn(api.clone().run(keys.credentials.clone()));
        Ok(Self {
            api,
            link,
            sync,
            api_task,
            stop_links,
        })
    }

    /// Waits until the sources are read, and has a token and a sample ready.
    async fn prepare(
        &self,
        arguments: &cli::Quickstart,
        home: &Home,
        keys: &Keys,
        locals: &[String],
        url: &str,
    ) -> Result<ready::Ready, Failure> {
        let bar = progress(arguments);
        self.link.initial_sync_done().await;
        bar.finish_and_clear();
        self.refuse_what_cannot_be_served()?;
        let vaults = self.vaults(home.path(), keys).await?;
        let token = match arguments.dev_token {
            true => token::published(keys, &vaults)?,
            false => token::kept(home.path(), keys, &vaults)?,
        };
        let sync = &self.sync.queue;
        sync.command(token.registration())
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        // Who named vaults wants them as they are, empty.
        if keys.are_new
            && arguments.vaults.is_empty()
            && let Some(vault) = ready::vault_for_sample(&vaults, locals)
        {
            ready::add_sample(sync, vault, &token.jti).await?;
        }
        if matches!(home, Home::Kept(_)) {
            std::fs::write(home.path().join(URL_FILE), url)?;
        }
        Ok(ready::Ready::new(url, &token, &vaults, home))
    }

    /// Going on would answer for a directory with what a vault of the same name holds.
    fn refuse_what_cannot_be_served(&self) -> Result<(), Failure> {
        let parts = self.link.dependencies().unwrap_or_default();
        // A store that can't be written is served all the same: `/health` says so.
        let failed = parts
            .into_iter()
            .find(|part| part.status == DependencyStatus::Failed && part.service != "sqlite");
        failed.map_or(Ok(()), |part| {
            let Dependency { service, message, .. } = part.shown(true);
            Err(Failure::Config(format!(
                "--dir {service}: {}. Or keep this server's vaults apart: --data DIR",
                message.unwrap_or_default()
            )))
        })
    }

    async fn vaults(&self, data: &Path, keys: &Keys) -> Result<Vec<Arc<VaultEntry>>, Failure> {
        let options = ReaderOptions {
            connections: 1,
            ..ReaderOptions::default()
        };
        let reader = Reader::open(data, keys.credentials.kek(), options).await?;
        let vaults = reader.snapshot().await?.vaults().cloned().collect();
        reader.close().await;
        Ok(vaults)
    }

    /// The api first: what it noted last goes to sync over the link.
    async fn stop(self) {
        self.api.stop();
        if let Err(error) = self.api_task.await {
            tracing::error!(%error, "the api ended badly");
        }
        self.sync.stop().await;
        self.stop_links.cancel();
    }
}

/// Reading a tree for the first time may take a while; a person is told that it goes on.
fn progress(arguments: &cli::Quickstart) -> ProgressBar {
    if arguments.dirs.is_empty() || arguments.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message("reading the directories");
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_address_is_called_localhost() {
        assert_eq!(url(([127, 0, 0, 1], 8080).into()), "http://localhost:8080");
        assert_eq!(url(([0, 0, 0, 0], 1).into()), "http://localhost:1");
        assert_eq!(url(([10, 0, 0, 7], 80).into()), "http://10.0.0.7:80");
    }
}
