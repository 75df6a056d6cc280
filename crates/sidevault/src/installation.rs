//! Where a server's data and keys are, for the commands of its administrator.

use std::path::{Path, PathBuf};

use sidevault_keys::{Credentials, Passphrase, RevocationList};
use sidevault_store::{DATABASE_FILE, Reader, ReaderOptions};

use crate::cli::Place;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::settings::{DEFAULT_SESSION, data_directory};

/// What `init` and `quickstart` call the server's file.
pub(crate) const CREDENTIALS_FILE: &str = "1password-credentials.json";

/// What they call the administrator's.
pub(crate) const ISSUER_FILE: &str = "issuer.json";

/// Where quickstart keeps its token.
pub(crate) const TOKEN_FILE: &str = "quickstart.token";

/// Where quickstart notes the address it listened on last.
pub(crate) const URL_FILE: &str = "quickstart.url";

/// Quickstart's data directory, as the XDG base directory specification has it.
pub(crate) fn quickstart_directory(environment: &Environment) -> PathBuf {
    let base = match (environment.get("XDG_DATA_HOME"), environment.get("HOME")) {
        (Some(data), _) => PathBuf::from(data),
        (None, Some(home)) => Path::new(home).join(".local/share"),
        (None, None) => PathBuf::from("."),
    };
    base.join("sidevault")
}

/// A server's data directory, and how to find its keys.
pub(crate) struct Installation {
    pub(crate) data: PathBuf,
    session: Option<String>,
    passphrase_file: Option<PathBuf>,
    named_revoked_file: Option<PathBuf>,
}

impl Installation {
    /// The one the arguments name, else the daemons', or quickstart's if only that is there.
    pub(crate) fn find(place: &Place, environment: &Environment) -> Self {
        let data = place.data.clone().unwrap_or_else(|| {
            let (daemons, quickstart) = (data_directory(environment), quickstart_directory(environment));
            match !daemons.exists() && quickstart.exists() {
                true => quickstart,
                false => daemons,
            }
        });
        Self {
            data,
            session: place
                .session
                .clone()
                .or(environment.get("OP_SESSION").map(str::to_owned)),
            passphrase_file: environment.get("SIDEVAULT_PASSPHRASE_FILE").map(PathBuf::from),
            named_revoked_file: environment.get("SIDEVAULT_REVOKED_FILE").map(PathBuf::from),
        }
    }

    /// What would be read as the credentials: what was asked for, else the first file that is there.
    pub(crate) fn session(&self) -> String {
        if let Some(session) = &self.session {
            return session.clone();
        }
        let here = Path::new(".").join(CREDENTIALS_FILE);
        let candidates = [self.data.join(CREDENTIALS_FILE), DEFAULT_SESSION.into(), here];
        let found = candidates.iter().find(|path| path.exists()).unwrap_or(&candidates[0]);
        found.to_string_lossy().into_owned()
    }

    /// The same for a message: a path, for the keys themselves must not be shown.
    pub(crate) fn session_for_people(&self) -> String {
        let session = self.session();
        match Path::new(&session).is_file() {
            true => session,
            false => "OP_SESSION".to_owned(),
        }
    }

    /// Where the server's revocation list is, if it has one.
    pub(crate) fn revoked_file(&self) -> Option<PathBuf> {
        let beside = || RevocationList::default_path(&self.session());
        self.named_revoked_file.clone().or_else(beside)
    }

    /// The server's keys.
    pub(crate) fn credentials(&self) -> Result<Credentials, Failure> {
        load_credentials(&self.session(), self.passphrase_file.as_deref())
    }

    /// The issuer's file: the one named, else the one here, else the data directory's.
    pub(crate) fn issuer_file(&self, named: Option<&Path>) -> Result<PathBuf, Failure> {
        if let Some(path) = named {
            return Ok(path.to_owned());
        }
        let candidates = [PathBuf::from(ISSUER_FILE), self.data.join(ISSUER_FILE)];
        candidates.into_iter().find(|path| path.exists()).ok_or_else(|| {
            Failure::NotFound(format!(
                "no issuer.json here nor in {}: name it with --issuer, or make one with `sidevault init`",
                self.data.display()
            ))
        })
    }

    /// Whether sync has ever made a store there.
    pub(crate) fn has_store(&self) -> bool {
        self.data.join(DATABASE_FILE).exists()
    }

    /// Opens the store for reading, whoever writes to it.
    pub(crate) async fn reader(&self, credentials: &Credentials) -> Result<Reader, Failure> {
        let options = ReaderOptions {
            connections: 1,
            ..ReaderOptions::default()
        };
        Ok(Reader::open(&self.data, credentials.kek(), options).await?)
    }
}

/// Reads credentials, and unlocks them if there is a passphrase.
pub(crate) fn load_credentials(session: &str, passphrase_file: Option<&Path>) -> Result<Credentials, Failure> {
    let passphrase = passphrase_file.map(Passphrase::from_file).transpose()?;
    Ok(Credentials::load(session, passphrase.as_ref())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quickstarts_directory_is_used_only_if_the_daemons_have_none() {
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
}
