//! `sidevault init`: the keys of a new server.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sidevault_keys::{Credentials, Issuer, Passphrase, write_all_new};

use crate::cli;
use crate::commands::keys::recovery::show_shares;
use crate::exit::Failure;
use crate::installation::{CREDENTIALS_FILE, ISSUER_FILE};
use crate::output;
use crate::recovery::{self, RECOVERY_FILE};

/// Makes all files, or none.
pub(crate) fn run(arguments: &cli::Init) -> Result<(), Failure> {
    let passphrase = arguments
        .passphrase_file
        .as_deref()
        .map(Passphrase::from_file)
        .transpose()?;
    let (credentials, issuer) = Credentials::generate();
    let copy = match (arguments.recovery.as_slice(), arguments.recovery_shares) {
        ([], None) => None,
        (recipients, sharing) => Some(recovery::encrypt(
            &credentials,
            passphrase.as_ref(),
            Some(&issuer),
            recipients,
            sharing,
        )?),
    };
    make_private(&arguments.out).map_err(|error| Failure::Failed(format!("{}: {error}", arguments.out.display())))?;
    let encrypted = copy.as_ref().map(|copy| copy.encrypted.as_slice());
    write_files(&arguments.out, &credentials, &issuer, passphrase.as_ref(), encrypted)?;
    let [credentials, issuer, recovery] =
        [CREDENTIALS_FILE, ISSUER_FILE, RECOVERY_FILE].map(|name| arguments.out.join(name));
    let (credentials, issuer) = (credentials.display(), issuer.display());
    let keep = match copy {
        Some(_) => format!(
            "{} is an encrypted copy of both: keep it in another place, such as beside the backups.",
            recovery.display()
        ),
        None => "Keep a copy of both files; --recovery and --recovery-shares make an encrypted one.".to_owned(),
    };
    output::line(&format!(
        "Wrote {credentials}, the server's keys, and {issuer}, which signs tokens. Whoever has {issuer} can make a token \
         that reads everything: keep it off the server. {keep}

In Kubernetes:
  kubectl create secret generic op-credentials --from-file={CREDENTIALS_FILE}={credentials}
  sidevault token create my-app --vault secrets=read --expires 90d --issuer {issuer} --out my-app.token
On this machine:
  export OP_SESSION={absolute} XDG_DATA_HOME=$PWD/data
  sidevault api &
  sidevault sync --vault secrets &
  sidevault token create my-app --vault secrets=read --expires 90d --issuer {issuer}",
        absolute = absolute(&arguments.out.join(CREDENTIALS_FILE)).display(),
    ))?;
    show_shares(
        copy.map(|copy| copy.shares).unwrap_or_default().as_slice(),
        arguments.recovery_shares,
    )
}

/// The path from the root, so that it is still right in another directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Makes a directory with mode 0700. A directory that exists keeps its mode.
pub(crate) fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes new keys into two files in `dir`.
pub(crate) fn write_keys(dir: &Path, passphrase: Option<&Passphrase>) -> Result<(), Failure> {
    let (credentials, issuer) = Credentials::generate();
    write_files(dir, &credentials, &issuer, passphrase, None)
}

/// Writes keys, and their encrypted copy if there is one, into files in `dir`: all, or none.
fn write_files(
    dir: &Path,
    credentials: &Credentials,
    issuer: &Issuer,
    passphrase: Option<&Passphrase>,
    copy: Option<&[u8]>,
) -> Result<(), Failure> {
    let [server, own, recovery] = [CREDENTIALS_FILE, ISSUER_FILE, RECOVERY_FILE].map(|name| dir.join(name));
    let (credentials, issuer) = (credentials.to_json(passphrase), issuer.to_json());
    let keys = [
        (server.as_path(), credentials.as_bytes()),
        (own.as_path(), issuer.as_bytes()),
    ];
    Ok(write_all_new(
        keys.into_iter().chain(copy.map(|copy| (recovery.as_path(), copy))),
    )?)
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
