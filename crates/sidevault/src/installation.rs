//! Where a server's data and keys are on this machine, for the commands of its administrator.

use std::path::{Path, PathBuf};

use sidevault_keys::{Credentials, CredentialsError, Issuer, Passphrase, RevocationList};
use sidevault_store::{Database, Reader, ReaderOptions, has_store};

use crate::cli::Place;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::settings::{DEFAULT_SESSION, data_directory};

/// The name of the server's file of `init` and `quickstart`.
pub(crate) const CREDENTIALS_FILE: &str = "1password-credentials.json";

/// The name of the administrator's file of `init` and `quickstart`.
pub(crate) const ISSUER_FILE: &str = "issuer.json";

/// The file with quickstart's token, in its data directory.
pub(crate) const TOKEN_FILE: &str = "quickstart.token";

/// The file with the address on which quickstart listened last, in its data directory.
pub(crate) const URL_FILE: &str = "quickstart.url";

/// The directory to which the README and `docs/tokens.md` have `init` write.
const KEYS_DIRECTORY: &str = "keys";

/// Quickstart's data directory, as the XDG base directory specification has it.
pub(crate) fn quickstart_directory(environment: &Environment) -> PathBuf {
    let base = match (environment.get("XDG_DATA_HOME"), environment.get("HOME")) {
        (Some(data), _) => PathBuf::from(data),
        (None, Some(home)) => Path::new(home).join(".local/share"),
        (None, None) => PathBuf::from("."),
    };
    base.join("sidevault")
}

/// How the server on this machine is run, which decides what to type to start it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deployment {
    /// `sidevault quickstart`.
    Quickstart,
    /// `sidevault api` and `sidevault sync`, as processes or containers.
    Pair,
    /// `api` and `sync` as containers of a Pod, in which this process runs, too.
    Kubernetes,
}

/// A server's data directory, and where its keys are.
pub(crate) struct Installation {
    pub(crate) data: PathBuf,
    /// SIDEVAULT_STORE: the store, if it is not in the data directory.
    store: Option<String>,
    /// The keys that `--session` or OP_SESSION name: a path, JSON or base64.
    session: Option<String>,
    passphrase_file: Option<PathBuf>,
    named_revoked_file: Option<PathBuf>,
    in_kubernetes: bool,
}

impl Installation {
    /// The one that the arguments name; else the daemons'; else quickstart's, if only its directory exists.
    pub(crate) fn find(place: &Place, environment: &Environment) -> Self {
        let data = place.data.clone().unwrap_or_else(|| {
            let (daemons, quickstart) = (data_directory(environment), quickstart_directory(environment));
            if !daemons.exists() && quickstart.exists() {
                quickstart
            } else {
                daemons
            }
        });
        Self {
            data,
            store: environment
                .get("SIDEVAULT_STORE")
                .filter(|_| place.data.is_none())
                .map(str::to_owned),
            session: place
                .session
                .clone()
                .or(environment.get("OP_SESSION").map(str::to_owned)),
            passphrase_file: environment.get("SIDEVAULT_PASSPHRASE_FILE").map(PathBuf::from),
            named_revoked_file: environment.get("SIDEVAULT_REVOKED_FILE").map(PathBuf::from),
            in_kubernetes: environment.get("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }

    /// How this server is run: by quickstart if quickstart's files are in the data directory.
    pub(crate) fn deployment(&self) -> Deployment {
        let has = |name: &str| self.data.join(name).exists();
        if has(URL_FILE) || has(TOKEN_FILE) {
            Deployment::Quickstart
        } else if self.in_kubernetes {
            Deployment::Kubernetes
        } else {
            Deployment::Pair
        }
    }

    /// The credentials: those that are named, else the first of these files that exists: in the data directory, at
    /// Connect's default path, in the current directory.
    pub(crate) fn session(&self) -> String {
        let found = self.session.clone().or_else(|| {
            let path = self.candidates().into_iter().find(|path| path.exists())?;
            Some(path.to_string_lossy().into_owned())
        });
        found.unwrap_or_else(|| self.candidates()[0].to_string_lossy().into_owned())
    }

    /// Whether keys are named, or a file with keys is found.
    pub(crate) fn has_keys(&self) -> bool {
        self.session.is_some() || self.candidates().iter().any(|path| path.exists())
    }

    fn candidates(&self) -> [PathBuf; 3] {
        let here = Path::new(".").join(CREDENTIALS_FILE);
        [self.data.join(CREDENTIALS_FILE), DEFAULT_SESSION.into(), here]
    }

    /// [`Self::session`] for a message: a path; OP_SESSION may hold the keys themselves, which must not be shown.
    pub(crate) fn session_for_people(&self) -> String {
        let session = self.session();
        if Path::new(&session).is_file() {
            session
        } else {
            "OP_SESSION".to_owned()
        }
    }

    /// The server's revocation list, if it has one.
    pub(crate) fn revoked_file(&self) -> Option<PathBuf> {
        let beside = || RevocationList::default_path(&self.session());
        self.named_revoked_file.clone().or_else(beside)
    }

    /// The server's keys.
    ///
    /// # Errors
    /// If no keys are named and none are found, the message says where they were looked for and what to type.
    pub(crate) fn credentials(&self) -> Result<Credentials, Failure> {
        if self.has_keys() {
            load_credentials(&self.session(), self.passphrase_file.as_deref())
        } else {
            Err(self.no_credentials())
        }
    }

    /// The passphrase of the credentials file, if one is set.
    pub(crate) fn passphrase(&self) -> Result<Option<Passphrase>, Failure> {
        Ok(self.passphrase_file.as_deref().map(Passphrase::from_file).transpose()?)
    }

    /// The kind of the error if the keys can't be loaded.
    pub(crate) fn fault(&self) -> Option<CredentialsError> {
        let passphrase = self.passphrase_file.as_deref().map(Passphrase::from_file).transpose();
        let loaded = passphrase.and_then(|passphrase| Credentials::load(&self.session(), passphrase.as_ref()));
        loaded.err()
    }

    fn no_credentials(&self) -> Failure {
        let places: Vec<String> = self
            .candidates()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let keys = Path::new(KEYS_DIRECTORY).join(CREDENTIALS_FILE);
        let hint = if keys.is_file() {
            format!("add --session {}", keys.display())
        } else {
            format!("name the server's {CREDENTIALS_FILE} with --session (or OP_SESSION)")
        };
        Failure::Config(format!(
            "this command needs the server's keys, and there are none at {}: {hint}, and the server's data directory with \
             --data if the server uses another one. A first server with keys of its own: sidevault quickstart",
            places.join(", ")
        ))
    }

    /// The issuer's file: the named one, else the one in the current directory, else the data directory's.
    pub(crate) fn issuer_file(&self, named: Option<&Path>) -> Result<PathBuf, Failure> {
        if let Some(path) = named {
            return Ok(path.to_owned());
        }
        let candidates = [PathBuf::from(ISSUER_FILE), self.data.join(ISSUER_FILE)];
        candidates.into_iter().find(|path| path.exists()).ok_or_else(|| {
            let keys = Path::new(KEYS_DIRECTORY).join(ISSUER_FILE);
            let hint = if keys.is_file() {
                format!("add --issuer {}", keys.display())
            } else {
                "name the server's issuer.json with --issuer; a new server's is made by `sidevault init`".to_owned()
            };
            Failure::NotFound(format!("no issuer.json here nor in {}: {hint}", self.data.display()))
        })
    }

    /// The keys of the server that this issuer's tokens are for. Unless keys are named, the credentials beside the issuer's
    /// file come first: `init` writes both into one directory.
    ///
    /// # Errors
    /// If named keys can't be loaded. Keys that were only found may belong to another server, and don't matter then.
    pub(crate) fn server_of(&self, issuer: &Issuer, issuer_file: &Path) -> Result<ServerOf, Failure> {
        let accepts = |credentials: &Credentials| credentials.verifier().key_ids().any(|kid| kid == issuer.kid());
        if self.session.is_none() {
            let beside = issuer_file.with_file_name(CREDENTIALS_FILE);
            let beside = load_credentials(&beside.to_string_lossy(), self.passphrase_file.as_deref());
            if let Some(credentials) = beside.ok().filter(accepts) {
                return Ok(ServerOf::Issuer(credentials));
            }
        }
        match self.credentials() {
            Ok(credentials) if accepts(&credentials) => Ok(ServerOf::Issuer(credentials)),
            Ok(_) => Ok(ServerOf::Another),
            Err(failure) if self.session.is_some() => Err(failure),
            Err(_) => Ok(ServerOf::Unknown),
        }
    }

    /// Whether there is a store: SIDEVAULT_STORE names one, or sync has made one in the data directory.
    pub(crate) fn has_store(&self) -> bool {
        self.store.is_some() || has_store(&self.data)
    }

    /// The store.
    pub(crate) fn database(&self) -> Result<Database, Failure> {
        match &self.store {
            Some(setting) => Ok(Database::from_setting(setting)?),
            None => Ok(Database::Sqlite(self.data.clone())),
        }
    }

    /// Opens the store for reading, whether or not a sync writes to it.
    pub(crate) async fn reader(&self, credentials: &Credentials) -> Result<Reader, Failure> {
        let options = ReaderOptions {
            connections: 1,
            ..ReaderOptions::default()
        };
        Ok(Reader::open(&self.database()?, credentials.kek(), options).await?)
    }
}

/// Whose server is on this machine, seen from an issuer.
pub(crate) enum ServerOf {
    /// The server accepts the issuer's tokens; its keys.
    Issuer(Credentials),
    /// The server on this machine accepts the tokens of another issuer.
    Another,
    /// No server's keys are here.
    Unknown,
}

/// Reads credentials, and unlocks them if there is a passphrase.
pub(crate) fn load_credentials(session: &str, passphrase_file: Option<&Path>) -> Result<Credentials, Failure> {
    let passphrase = passphrase_file.map(Passphrase::from_file).transpose()?;
    Ok(Credentials::load(session, passphrase.as_ref())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quickstarts_directory_is_used_only_if_the_daemons_directory_does_not_exist() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().to_str().unwrap();
        let environment = Environment::from([("XDG_DATA_HOME", home)]);
        let found = || Installation::find(&Place::default(), &environment).data;
        assert_eq!(found(), root.path().join(".op/data"));
        std::fs::create_dir_all(root.path().join("sidevault")).unwrap();
        assert_eq!(found(), root.path().join("sidevault"));
        std::fs::create_dir_all(root.path().join(".op/data")).unwrap();
        assert_eq!(found(), root.path().join(".op/data"));
    }

    #[test]
    fn the_data_directorys_own_credentials_are_found() {
        let root = tempfile::tempdir().unwrap();
        let place = Place {
            data: Some(root.path().to_owned()),
            session: None,
        };
        let file = root.path().join(CREDENTIALS_FILE);
        std::fs::write(&file, "{}").unwrap();
        let installation = Installation::find(&place, &Environment::default());
        assert_eq!(installation.session(), file.to_str().unwrap());
    }

    #[test]
    fn missing_keys_are_reported_with_the_option_that_names_them() {
        let root = tempfile::tempdir().unwrap();
        let place = Place {
            data: Some(root.path().to_owned()),
            session: None,
        };
        let failure = Installation::find(&place, &Environment::default())
            .credentials()
            .err()
            .unwrap();
        let message = failure.to_string();
        assert_eq!(failure.code(), 78);
        assert!(
            message.contains("--session") && !message.contains("sidevault init"),
            "{message}"
        );
    }

    #[test]
    fn quickstarts_files_and_a_pods_variable_tell_how_a_server_is_run() {
        let root = tempfile::tempdir().unwrap();
        let place = Place {
            data: Some(root.path().to_owned()),
            session: None,
        };
        let in_pod = Environment::from([("KUBERNETES_SERVICE_HOST", "10.0.0.1")]);
        assert_eq!(Installation::find(&place, &in_pod).deployment(), Deployment::Kubernetes);
        let outside = || Installation::find(&place, &Environment::default()).deployment();
        assert_eq!(outside(), Deployment::Pair);
        std::fs::write(root.path().join(TOKEN_FILE), "t").unwrap();
        assert_eq!(outside(), Deployment::Quickstart);
    }
}
