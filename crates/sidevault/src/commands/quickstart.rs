//! `sidevault quickstart`: api and sync in one process, and a token that works.

mod keys;
mod new_vaults;
mod ready;
mod token;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sidevault_api::{Api, Config as ApiConfig, Revoked, SyncLink, Tls};
use sidevault_keys::{Credentials, Issuer};
use sidevault_model::filter::fold;
use sidevault_model::{Dependency, DependencyStatus};
use sidevault_store::{Database, LOCAL_SOURCE, Reader, ReaderOptions, VaultEntry, has_store};
use sidevault_sync::{Config, LowDisk, Options, Queue, Running, SyncError, start};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::cli;
use crate::commands::api::{revoked, serve_until};
use crate::commands::sync::add_directory;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::{CREDENTIALS_FILE, ISSUER_FILE, Installation, TOKEN_FILE, URL_FILE, quickstart_directory};
use crate::listening;
use crate::settings::{health_details, low_disk, revoked_file, switch};
use crate::signals::stop_token;
use keys::Keys;

/// The vault that is made unless the arguments name vaults or directories.
const DEFAULT_VAULT: &str = "secrets";

/// The vaults of a server with the published keys, unless the arguments name vaults or directories.
const DEV_VAULTS: [&str; 2] = [DEFAULT_VAULT, "apps"];

/// Serves until a signal says stop.
pub(crate) async fn run(arguments: cli::Quickstart, environment: &Environment) -> Result<(), Failure> {
    if arguments.json && arguments.token_out.as_deref() == Some(Path::new("-")) {
        return Err(Failure::Usage(
            "--token-out - prints the token and nothing else, and --json prints a line that holds the token: use one of them"
                .to_owned(),
        ));
    }
    let stop = stop_token()?;
    let home = Home::open(&arguments, environment)?;
    let config = sources(&arguments)?;
    // Before anything is written: a port that is taken is the most common mishap.
    let listener = listening::on(SocketAddr::new(arguments.bind, arguments.port), "--port").await?;
    let url = url(listener.local_addr());
    let keys = if arguments.dev_token {
        eprintln!("{}", ready::DEV_BANNER);
        keys::published()
    } else {
        keys::load_or_make(home.path(), environment)?
    };
    refuse_taken_names(home.path(), &keys.credentials, &arguments).await?;
    let credentials = home.path().join(CREDENTIALS_FILE);
    let settings = ServerSettings {
        low_disk: low_disk(environment)?,
        revoked: revoked(revoked_file(environment, &credentials.to_string_lossy()))?,
        health_details: health_details(environment)?,
        page: switch(environment, "SIDEVAULT_UI", true)?,
    };
    let locals = config.local_vaults.clone();
    let started = Server::start(home.path(), &keys, config, settings).await;
    let server = started.map_err(|error| not_started(error, home.path(), &arguments))?;
    let outcome = stop
        .run_until_cancelled(server.prepare(&arguments, &home, &keys, &locals, &url))
        .await;
    let ready = match outcome {
        Some(Ok(ready)) => ready,
        Some(Err(failure)) => {
            server.stop().await;
            return Err(failure);
        }
        // A signal came while the sources were read.
        None => {
            server.stop().await;
            return Ok(());
        }
    };
    ready.announce(&arguments)?;
    // The writer ends when nobody has its queue any more, so the queue must not outlive this block.
    {
        let queue = server.queue()?;
        let follow = new_vaults::follow(ready.vault_ids(), &home, &keys, &arguments, &queue);
        let serve = serve_until(server.api.clone(), listener, Tls::Off, stop);
        tokio::pin!(serve);
        tokio::select! {
            () = &mut serve => {}
            Err(error) = follow => {
                tracing::warn!(%error, "the token will not cover vaults that are added to a directory: restart quickstart then");
                serve.await;
            }
        }
    }
    server.stop().await;
    // A temporary directory is deleted only now.
    drop(home);
    Ok(())
}

/// Makes a new quickstart token if `installation` is quickstart's and its token does not cover all vaults, so that a new
/// vault can be read at once.
pub(crate) async fn renew_token(installation: &Installation, credentials: &Credentials) -> Result<(), Failure> {
    let data = &installation.data;
    let path = data.join(TOKEN_FILE);
    let Ok(issuer) = Issuer::load(&data.join(ISSUER_FILE)) else {
        return Ok(());
    };
    if !path.exists() {
        return Ok(());
    }
    let token = token::kept(data, credentials, &issuer, &vaults(data, credentials).await?)?;
    if token.is_new {
        admin::command(installation, credentials, token.registration()).await?;
        eprintln!("note: {}", token::renewal_note(&path));
    }
    Ok(())
}

impl cli::Quickstart {
    /// Whether only directories and repositories are served. Then no local vault is made, and the disk may be lost with a Pod.
    fn directories_only(&self) -> bool {
        self.vaults.is_empty() && !(self.dirs.is_empty() && self.repositories.is_empty())
    }

    fn keeps_nothing(&self) -> bool {
        self.ephemeral || self.dev_token
    }
}

/// Whether keys and data outlive the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    /// They are in quickstart's own directory, where `sidevault item` finds address and token.
    Default,
    /// They are in the directory that `--data` names.
    Named,
    /// They are deleted with the process.
    Ephemeral,
}

/// The data directory. A temporary one is deleted when this is dropped.
enum Home {
    Kept { path: PathBuf, lifetime: Lifetime },
    Temporary(TempDir),
}

impl Home {
    fn open(arguments: &cli::Quickstart, environment: &Environment) -> Result<Self, Failure> {
        if arguments.keeps_nothing() {
            let dir = tempfile::Builder::new().prefix("sidevault-").tempdir()?;
            return Ok(Self::Temporary(dir));
        }
        let (path, lifetime) = match &arguments.data {
            Some(path) => (path.clone(), Lifetime::Named),
            None => (quickstart_directory(environment), Lifetime::Default),
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
        Ok(Self::Kept { path, lifetime })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept { path, .. } => path,
            Self::Temporary(dir) => dir.path(),
        }
    }

    fn lifetime(&self) -> Lifetime {
        match self {
            Self::Kept { lifetime, .. } => *lifetime,
            Self::Temporary(_) => Lifetime::Ephemeral,
        }
    }
}

fn sources(arguments: &cli::Quickstart) -> Result<Config, Failure> {
    let mut config = Config {
        allow_ephemeral: arguments.keeps_nothing(),
        local_vaults: arguments.vaults.clone(),
        ..Config::default()
    };
    for directory in &arguments.dirs {
        if !directory.path.is_dir() {
            return Err(Failure::Config(format!(
                "--dir {}: there is no such directory",
                directory.path.display()
            )));
        }
        let mut source = directory.source(&arguments.age_key_files);
        source.writable = arguments.writable;
        add_directory(&mut config, source)?;
    }
    for repository in &arguments.repositories {
        let mut source = repository.source(arguments.git_token_file.as_deref(), &arguments.age_key_files)?;
        source
            .set_writable(arguments.writable)
            .map_err(|error| Failure::Config(format!("{error}. As an argument: --git URL#BRANCH")))?;
        add_directory(&mut config, source)?;
    }
    if config.local_vaults.is_empty() && config.directories.is_empty() {
        config.local_vaults = if arguments.dev_token {
            DEV_VAULTS.map(str::to_owned).into()
        } else {
            vec![DEFAULT_VAULT.to_owned()]
        };
    }
    Ok(config)
}

/// Refuses a directory whose files at the top would form a vault with the name of a local vault. Serving would answer with
/// the local vault's items.
async fn refuse_taken_names(
    data: &Path,
    credentials: &Credentials,
    arguments: &cli::Quickstart,
) -> Result<(), Failure> {
    if arguments.dirs.is_empty() || !has_store(data) {
        return Ok(());
    }
    // A store that can't be read is reported when the server starts.
    let vaults = vaults(data, credentials).await.unwrap_or_default();
    for directory in &arguments.dirs {
        let name = directory.source(&[]).name;
        let is_taken =
            |entry: &&Arc<VaultEntry>| entry.source == LOCAL_SOURCE && fold(&entry.vault.name) == fold(&name);
        if let Some(taken) = vaults.iter().find(is_taken)
            && has_files_at_top(&directory.path)
        {
            let (path, vault) = (directory.path.display(), &taken.vault.name);
            return Err(Failure::Config(format!(
                "--dir {path}: vault \"{vault}\" is a local vault in {} already. Give the directory's vault another name: \
                 --dir {name}-files={path}. Or keep this server's vaults apart: --data DIR",
                data.display()
            )));
        }
    }
    Ok(())
}

/// Whether a directory holds files that sync serves: hidden files are none.
fn has_files_at_top(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        !is_hidden && entry.path().is_file()
    })
}

fn not_started(error: SyncError, data: &Path, arguments: &cli::Quickstart) -> Failure {
    match error {
        SyncError::Ephemeral { vault, disk } if !arguments.directories_only() => Failure::Config(format!(
            "won't keep the vault \"{vault}\" in {}: that is on {disk}, and the vault would be lost with it. Choose a disk \
             that stays with --data (in a container: mount a volume), or say --ephemeral to try things out",
            data.display()
        )),
        error => error.into(),
    }
}

async fn open_reader(data: &Path, credentials: &Credentials) -> Result<Reader, Failure> {
    let options = ReaderOptions {
        connections: 1,
        ..ReaderOptions::default()
    };
    Ok(Reader::open(&Database::Sqlite(data.to_owned()), credentials.kek(), options).await?)
}

async fn vaults(data: &Path, credentials: &Credentials) -> Result<Vec<Arc<VaultEntry>>, Failure> {
    let reader = open_reader(data, credentials).await?;
    let vaults = reader.snapshot().await?.vaults().cloned().collect();
    reader.close().await;
    Ok(vaults)
}

/// The URL that clients use, without `/v1`.
fn url(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => format!("http://localhost:{}", address.port()),
        _ => format!("http://{address}"),
    }
}

/// Settings that come from the environment.
struct ServerSettings {
    low_disk: LowDisk,
    revoked: Revoked,
    health_details: bool,
    page: bool,
}

/// An api and a sync, linked in memory.
struct Server {
    api: Arc<Api>,
    link: Arc<SyncLink>,
    sync: Running,
    api_task: tokio::task::JoinHandle<()>,
    stop_links: CancellationToken,
    has_page: bool,
}

impl Server {
    async fn start(data: &Path, keys: &Keys, config: Config, settings: ServerSettings) -> Result<Self, SyncError> {
        let (api_end, sync_end) = sidevault_bus::in_memory();
        let ((to_api, api_links), (to_sync, sync_links)) = (mpsc::channel(1), mpsc::channel(1));
        // Both channels are empty and have room for one connection.
        let _ = (to_api.try_send(api_end), to_sync.try_send(sync_end));
        let options = Options {
            dir: data.to_owned(),
            database: Database::Sqlite(data.to_owned()),
            credentials: keys.credentials.clone(),
            config,
            low_disk: settings.low_disk,
            backup: None,
            links: sync_links,
        };
        let sync = start(options).await?;
        let link = Arc::new(SyncLink::default());
        let has_page = settings.page;
        let api = Api::new(
            ApiConfig {
                database: Database::Sqlite(data.to_owned()),
                sync_timeout: Duration::from_secs(10),
                inline_file_bytes: 100 * 1024,
                health_details: settings.health_details,
                page: settings.page,
                reader: ReaderOptions::default(),
            },
            &keys.credentials,
            settings.revoked,
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
            has_page,
        })
    }

    /// The writer's queue.
    fn queue(&self) -> Result<Queue, Failure> {
        let queue = self.sync.queue();
        queue.ok_or_else(|| Failure::Conflict("another process writes to the store".to_owned()))
    }

    /// Waits until the sources are read, then makes the token and, on the first start, the sample item.
    async fn prepare(
        &self,
        arguments: &cli::Quickstart,
        home: &Home,
        keys: &Keys,
        locals: &[String],
        url: &str,
    ) -> Result<ready::Ready, Failure> {
        // Reading a tree for the first time may take a while.
        let has_sources = !arguments.dirs.is_empty() || !arguments.repositories.is_empty();
        if has_sources && !arguments.json && std::io::stderr().is_terminal() {
            eprintln!("Reading the directories and repositories ...");
        }
        self.link.initial_sync_done().await;
        self.refuse_failed_sources(arguments)?;
        let vaults = vaults(home.path(), &keys.credentials).await?;
        let token = if arguments.dev_token {
            token::published(keys, &vaults)?
        } else {
            token::kept(home.path(), &keys.credentials, &keys.issuer, &vaults)?
        };
        let sync = self.queue()?;
        sync.command(token.registration())
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let mut sample = None;
        // Vaults that the arguments name stay empty.
        if keys.are_new && arguments.vaults.is_empty() {
            sample = ready::vault_for_sample(&vaults, locals);
        }
        if let Some(vault) = sample {
            ready::add_sample(&sync, vault, &token.jti, arguments.dev_token).await?;
        }
        if home.lifetime() != Lifetime::Ephemeral {
            std::fs::write(home.path().join(URL_FILE), url)?;
        }
        let data = (home.path(), home.lifetime());
        let ready = ready::Ready::new(url, &token, &vaults, data, keys.are_new, sample);
        let ready = ready.with_writable_files(arguments.writable);
        Ok(match self.has_page {
            true => ready.with_page(&self.api.invite(token.jwt.clone())),
            false => ready,
        })
    }

    /// Refuses a source that can't be served at all: a vault of the same name would answer in its place. A store that can't
    /// be written is served all the same, and `/health` says so.
    fn refuse_failed_sources(&self, arguments: &cli::Quickstart) -> Result<(), Failure> {
        let parts = self.link.dependencies().unwrap_or_default();
        let failed = parts
            .into_iter()
            .find(|part| part.status == DependencyStatus::Failed && part.service != "sqlite");
        failed.map_or(Ok(()), |part| {
            let Dependency { service, message, .. } = part.shown(true);
            let message = message.unwrap_or_default();
            Err(Failure::Config(if arguments.repositories.is_empty() {
                format!("--dir {service}: {message}. Or keep this server's vaults apart: --data DIR")
            } else {
                format!("{service}: {message}")
            }))
        })
    }

    /// Stops the api first, which sends its last activity records to sync over the link; then sync.
    async fn stop(self) {
        self.api.stop();
        if let Err(error) = self.api_task.await {
            tracing::error!(%error, "the api's task failed");
        }
        self.sync.stop().await;
        self.stop_links.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_loopback_address_says_localhost() {
        assert_eq!(url(([127, 0, 0, 1], 8080).into()), "http://localhost:8080");
        assert_eq!(url(([0, 0, 0, 0], 1).into()), "http://localhost:1");
        assert_eq!(url(([10, 0, 0, 7], 80).into()), "http://10.0.0.7:80");
    }
}
