//! The Connect server and the token that commands use, and errors that name them.

use std::fmt;
use std::path::{Path, PathBuf};

use sidevault_client::{Client, ClientBuilder, ClientError, Filter, Kind};
use sidevault_model::filter::fold;
use sidevault_model::{Item, Vault, VaultId, printable};

use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::{TOKEN_FILE, URL_FILE, quickstart_directory};

/// The address of a server that runs with the default port on this machine.
pub(crate) const DEFAULT_HOST: &str = "http://localhost:8080";

/// The server and the token, as flags name them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connection {
    /// The server's address, instead of OP_CONNECT_HOST
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) host: Option<String>,
    /// A file with the token, instead of OP_CONNECT_TOKEN and SIDEVAULT_TOKEN_FILE
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) token_file: Option<PathBuf>,
}

/// The server's address: OP_CONNECT_HOST, else the address on which a quickstart with this data directory listened last.
pub(crate) fn host(environment: &Environment, data: &Path) -> Option<String> {
    let noted = || std::fs::read_to_string(data.join(URL_FILE)).ok();
    match environment.get("OP_CONNECT_HOST") {
        Some(host) => Some(host.to_owned()),
        None => noted().map(|url| url.trim().to_owned()),
    }
}

/// Where a token was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenSource {
    /// OP_CONNECT_TOKEN.
    Variable,
    /// The file that SIDEVAULT_TOKEN_FILE names.
    File(PathBuf),
    /// The file that `--token-file` names.
    Flag(PathBuf),
    /// The token file of a quickstart.
    Quickstart(PathBuf),
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable => f.write_str("OP_CONNECT_TOKEN"),
            Self::File(path) => write!(f, "SIDEVAULT_TOKEN_FILE ({})", path.display()),
            Self::Flag(path) | Self::Quickstart(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The failure without a token.
pub(crate) const NO_TOKEN: &str =
    "no token: set OP_CONNECT_TOKEN (sidevault token create makes one), or run sidevault quickstart";

/// The token: OP_CONNECT_TOKEN, else the content of the file that SIDEVAULT_TOKEN_FILE names, else the token of a
/// quickstart with this data directory.
pub(crate) fn token(environment: &Environment, data: &Path) -> Result<(String, TokenSource), Failure> {
    if let Some(token) = environment.get("OP_CONNECT_TOKEN") {
        return Ok((token.to_owned(), TokenSource::Variable));
    }
    if let Some(path) = environment.get("SIDEVAULT_TOKEN_FILE") {
        let token = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("SIDEVAULT_TOKEN_FILE ({path}): {error}")))?;
        return Ok((token, TokenSource::File(path.into())));
    }
    let path = data.join(TOKEN_FILE);
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok((token, TokenSource::Quickstart(path))),
        Err(_) => Err(Failure::Usage(NO_TOKEN.to_owned())),
    }
}

/// A Connect server, as the environment names it.
pub(crate) struct Server {
    pub(crate) client: Client,
    host: String,
    token: TokenSource,
}

impl Server {
    pub(crate) fn connect(connection: &Connection, environment: &Environment) -> Result<Self, Failure> {
        let data = quickstart_directory(environment);
        let (named, name) = match &connection.host {
            Some(host) => (Some(host.clone()), "--host"),
            None => (environment.get("OP_CONNECT_HOST").map(str::to_owned), "OP_CONNECT_HOST"),
        };
        let is_named = named.is_some();
        let host = named
            .or_else(|| host(environment, &data))
            .unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let (jwt, token) = match &connection.token_file {
            Some(path) => {
                let token = std::fs::read_to_string(path)
                    .map_err(|error| Failure::Usage(format!("--token-file {}: {error}", path.display())))?;
                (token, TokenSource::Flag(path.clone()))
            }
            None => token(environment, &data)?,
        };
        let client = ClientBuilder::new(host.clone(), jwt)
            .user_agent(concat!("sidevault/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| match (error, is_named) {
                (ClientError::Config(why), true) => Failure::Usage(format!("{name}: {why}")),
                (error, _) => error.into(),
            })?;
        Ok(Self { client, host, token })
    }

    /// The server's address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The error, with the server, and with the token if it is refused.
    pub(crate) fn failure(&self, error: ClientError) -> Failure {
        let (host, token) = (&self.host, &self.token);
        // For a 401 this text names the server.
        let what = error.to_string();
        let is_refused = error.status() == Some(401);
        match Failure::from(error) {
            Failure::Denied(_) if is_refused => Failure::Denied(format!(
                "{what} (the token in {token}). Set OP_CONNECT_TOKEN to a token of this server, or OP_CONNECT_HOST to the \
                 token's server; `sidevault token inspect` shows what a token grants"
            )),
            Failure::Denied(_) => Failure::Denied(format!("{what} (token in {token}, server {host})")),
            Failure::Unreachable(_) if !what.contains(host.as_str()) => Failure::Unreachable(format!("{host}: {what}")),
            failure => failure,
        }
    }

    /// The vault's id. An id is taken as it is, without asking the server: a token that may only write can't look it up.
    pub(crate) async fn vault(&self, vault: &str) -> Result<VaultId, Failure> {
        if let Ok(id) = VaultId::parse(vault) {
            return Ok(id);
        }
        match self.client.vault_by_name(vault).await {
            Ok(found) => Ok(found.id),
            Err(error) => Err(self.not_found(error, vault, "").await),
        }
    }

    /// The item with this title, path or id, in the vault with this name or id.
    pub(crate) async fn item(&self, vault: &str, item: &str) -> Result<Item, Failure> {
        match self.client.resolve(vault, item).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.not_found(error, vault, item).await),
        }
    }

    /// The vault with this name or id, and the item in it with this title or id, without its fields. The server records no read of
    /// the item.
    pub(crate) async fn summary(&self, vault: &str, item: &str) -> Result<(Vault, Item), Failure> {
        let found = match self.client.resolve_vault(vault).await {
            Ok(vault) => self.client.summary(vault.id, item).await.map(|item| (vault, item)),
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => Ok(found),
            Err(error) => Err(self.not_found(error, vault, item).await),
        }
    }

    /// A vault's name for people: its id, if the token can't read the name.
    pub(crate) async fn vault_for_people(&self, id: VaultId) -> String {
        match self.client.vault(id).await {
            Ok(vault) => format!("{} ({id})", printable(&vault.name)),
            Err(_) => id.to_string(),
        }
    }

    /// The ids of a vault's items with this title or path. Empty if the token may not read them.
    pub(crate) async fn ids_with_title(&self, vault: VaultId, title: &str) -> Vec<String> {
        let items = self.client.items_named(vault, title).await.unwrap_or_default();
        items.into_iter().map(|item| item.id.to_string()).collect()
    }

    async fn ids_of_vaults(&self, name: &str) -> Vec<String> {
        let vaults = self.client.vaults(Some(&Filter::name(name))).await;
        let folded = fold(name);
        let same = vaults.unwrap_or_default().into_iter();
        same.filter(|vault| fold(&vault.name) == folded)
            .map(|vault| vault.id.to_string())
            .collect()
    }

    /// A failed look-up, with what was looked for, where, and the ids of several hits.
    async fn not_found(&self, error: ClientError, vault: &str, item: &str) -> Failure {
        let (host, shown_vault, shown_item) = (&self.host, printable(vault), printable(item));
        match error {
            ClientError::NoMatch(Kind::Vault) => Failure::NotFound(format!(
                "vault \"{shown_vault}\" not found at {host}: the token in {} may read no vault of this name",
                self.token
            )),
            ClientError::NoMatch(Kind::Item) => Failure::NotFound(format!(
                "item \"{shown_item}\" not found in vault \"{shown_vault}\" at {host} (sidevault item list --vault \
                 \"{shown_vault}\" shows all)"
            )),
            ClientError::Ambiguous { what: Kind::Vault, .. } => Failure::Conflict(format!(
                "several vaults at {host} are named \"{shown_vault}\": use the id of one of them ({})",
                self.ids_of_vaults(vault).await.join(", ")
            )),
            ClientError::Ambiguous { what: Kind::Item, .. } => {
                let ids = match self.client.resolve_vault(vault).await {
                    Ok(vault) => self.ids_with_title(vault.id, item).await,
                    Err(_) => Vec::new(),
                };
                Failure::Conflict(format!(
                    "several items of vault \"{shown_vault}\" have the title \"{shown_item}\": use the id of one of them \
                     ({})",
                    ids.join(", ")
                ))
            }
            error => self.failure(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_variables_the_last_quickstart_is_asked() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("sidevault");
        let environment = Environment::from([("XDG_DATA_HOME", root.path().to_str().unwrap())]);
        assert_eq!(host(&environment, &data), None);
        assert_eq!(token(&environment, &data).unwrap_err().code(), 2);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join(URL_FILE), "http://localhost:9").unwrap();
        std::fs::write(data.join(TOKEN_FILE), "t\n").unwrap();
        assert_eq!(host(&environment, &data).unwrap(), "http://localhost:9");
        let (jwt, from) = token(&environment, &data).unwrap();
        assert_eq!(
            (jwt.trim(), from),
            ("t", TokenSource::Quickstart(data.join(TOKEN_FILE)))
        );
    }
}
