//! `sidevault init`: the keys of a new server.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sidevault_keys::{Credentials, Passphrase, write_new};

use crate::cli;
use crate::exit::Failure;
use crate::installation::{CREDENTIALS_FILE, ISSUER_FILE};
use crate::output;

/// Makes both files, or none.
pub(crate) fn run(arguments: &cli::Init) -> Result<(), Failure> {
    let passphrase = arguments
        .passphrase_file
        .as_deref()
        .map(Passphrase::from_file)
        .transpose()?;
    make_private(&arguments.out).map_err(|error| Failure::Failed(format!("{}: {error}", arguments.out.display())))?;
    write_keys(&arguments.out, passphrase.as_ref())?;
    let (credentials, issuer) = (arguments.out.join(CREDENTIALS_FILE), arguments.out.join(ISSUER_FILE));
    let (credentials, issuer) = (credentials.display(), issuer.display());
    output::line(&format!(
        "Wrote {credentials}, the server's keys, and {issuer}, which signs tokens. Whoever has {issuer} can make a token \
         that reads everything: keep it off the server. Keep a copy of both files.

In Kubernetes:
  kubectl create secret generic op-credentials --from-file={CREDENTIALS_FILE}={credentials}
  sidevault token create my-app --vault secrets=read --expires 90d --issuer {issuer} --out my-app.token
On this machine:
  export OP_SESSION={absolute} XDG_DATA_HOME=$PWD/data
  sidevault api &
  sidevault sync --vault secrets &
  sidevault token create my-app --vault secrets=read --expires 90d --issuer {issuer}",
        absolute = absolute(&arguments.out.join(CREDENTIALS_FILE)).display(),
    ))
}

/// The path from the root, so that it is still right in another directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Makes a directory with mode 0700. A directory that exists keeps its mode.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes new keys into two files in `dir`.
pub(crate) fn write_keys(dir: &Path, passphrase: Option<&Passphrase>) -> Result<(), Failure> {
    let (credentials, issuer) = Credentials::generate();
    // The issuer's file first: if the second file can't be written, the first is removed again.
    let (server, own) = (dir.join(CREDENTIALS_FILE), dir.join(ISSUER_FILE));
    if server.symlink_metadata().is_ok() {
        return Err(sidevault_keys::CredentialsError::AlreadyExists { path: server }.into());
    }
    write_new(&own, issuer.to_json().as_bytes())?;
    write_new(&server, credentials.to_json(passphrase).as_bytes()).inspect_err(|_| {
        // Best effort: a file without the other one would stop the next try.
        let _ = std::fs::remove_file(&own);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_directory_has_mode_0700_and_an_existing_one_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("new/keys");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        make_private(&keys).unwrap();
        assert_eq!(mode(&keys), 0o700);
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o750)).unwrap();
        make_private(&keys).unwrap();
        assert_eq!(mode(&keys), 0o750);
    }

    #[test]
    fn keys_are_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        write_keys(dir.path(), None).unwrap();
        let before = std::fs::read(dir.path().join(CREDENTIALS_FILE)).unwrap();
        assert_eq!(write_keys(dir.path(), None).unwrap_err().code(), 5);
        std::fs::remove_file(dir.path().join(ISSUER_FILE)).unwrap();
        assert_eq!(write_keys(dir.path(), None).unwrap_err().code(), 5);
        assert!(!dir.path().join(ISSUER_FILE).exists());
        let file = dir.path().join(CREDENTIALS_FILE);
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
