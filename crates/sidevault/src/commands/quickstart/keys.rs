//! The keys that quickstart uses: its own, made on the first start; or the published ones.

use std::path::Path;
use std::sync::Arc;

use sidevault_keys::{Credentials, Issuer, Passphrase};

use crate::commands::init::write_keys;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::{CREDENTIALS_FILE, ISSUER_FILE, load_credentials};

/// The seed of the development keys, which are published so that tests can rely on them.
const DEV_SEED: &[u8; 32] = b"sidevault: for development only!";

pub(super) struct Keys {
    pub(super) credentials: Arc<Credentials>,
    pub(super) issuer: Issuer,
    /// Whether the keys were made now, on the first start.
    pub(super) are_new: bool,
}

pub(super) fn published() -> Keys {
    Keys {
        credentials: Arc::new(Credentials::from_seed(DEV_SEED)),
        issuer: Issuer::from_seed(DEV_SEED),
        are_new: true,
    }
}

pub(super) fn load_or_make(data: &Path, environment: &Environment) -> Result<Keys, Failure> {
    let (credentials, issuer) = (data.join(CREDENTIALS_FILE), data.join(ISSUER_FILE));
    let passphrase_file = environment.get("SIDEVAULT_PASSPHRASE_FILE").map(Path::new);
    let are_new = !credentials.exists();
    if are_new {
        if sidevault_store::has_store(data) {
            return Err(Failure::Config(format!(
                "there is a database in {} but no {CREDENTIALS_FILE}: put the file back, or use another --data",
                data.display()
            )));
        }
        write_keys(data, passphrase_file.map(Passphrase::from_file).transpose()?.as_ref())?;
    }
    Ok(Keys {
        credentials: Arc::new(load_credentials(&credentials.to_string_lossy(), passphrase_file)?),
        issuer: Issuer::load(&issuer)?,
        are_new,
    })
}
