//! `acme/` in the data directory: what must outlive a restart, or each one would cost an account
//! and an order, of which an ACME server allows few.
//!
//! Every ACME server has a folder of its own there, so a certificate of its test directory is
//! never taken for one of the real.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use rustls::pki_types::DnsName;

use super::TlsError;
use super::certificate::Certificate;

const ACCOUNT: &str = "account.json";

/// One ACME server's folder. Mode 0700, its files 0600: they hold private keys.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if need be, and tries whether it can be written to: a certificate that
    /// can't be kept is not asked for.
    pub(super) fn open(data: &Path, directory: &str) -> Result<Self, TlsError> {
        let path = data.join("acme").join(name_for(directory));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .and_then(|()| tempfile::tempfile_in(&path))
            .map_err(|cause| TlsError::Folder {
                path: path.clone(),
                cause,
            })?;
        Ok(Self(path))
    }

    /// The account, if one is kept that can be read.
    pub(super) fn account(&self) -> Option<AccountCredentials> {
        let text = self.read(ACCOUNT)?;
        serde_json::from_str(&text)
            .inspect_err(
                |_| tracing::warn!(path = %self.0.join(ACCOUNT).display(), "not an ACME account; a new one is made"),
            )
            .ok()
    }

    /// Keeps the account.
    pub(super) fn keep_account(&self, account: &AccountCredentials) -> io::Result<()> {
        self.write(ACCOUNT, &serde_json::to_vec(account)?)
    }

    /// The server does not know the account any more.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        std::fs::remove_file(self.0.join(ACCOUNT))
    }

    /// The certificate for a name, if one is kept that can be used.
    pub(super) fn certificate(&self, domain: &DnsName<'_>) -> Option<Certificate> {
        let name = certificate_name(domain);
        Certificate::parse(&self.read(&name)?)
            .inspect_err(|error| {
                tracing::warn!(path = %self.0.join(&name).display(), %error, "the kept certificate can't be used; a new one is asked for");
            })
            .ok()
    }

    /// Keeps key and chain; in one file, so that the two can't part.
    pub(super) fn keep_certificate(&self, domain: &DnsName<'_>, text: &str) -> io::Result<()> {
        self.write(&certificate_name(domain), text.as_bytes())
    }

    fn read(&self, name: &str) -> Option<String> {
        let path = self.0.join(name);
        std::fs::read_to_string(&path)
            .inspect_err(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "can't be read, and is replaced");
                }
            })
            .ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }
}

/// A DNS name has nothing in it that a file's name may not have.
fn certificate_name(domain: &DnsName<'_>) -> String {
    format!("{}.pem", domain.to_lowercase_owned().as_ref())
}

/// A folder's name for a directory's URL.
fn name_for(directory: &str) -> String {
    let bare = directory.trim_start_matches("https://").trim_end_matches('/');
    bare.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect::<String>()
        .trim_start_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn domain() -> DnsName<'static> {
        DnsName::try_from("Vault.example.test").unwrap()
    }

    #[test]
    fn what_is_kept_is_for_the_owner_only_and_is_found_again() {
        let data = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["vault.example.test".to_owned()]).unwrap();
        let text = made.signing_key.serialize_pem() + &made.cert.pem();
        let folder = Folder::open(data.path(), "https://ca.example/dir").unwrap();
        assert!(folder.certificate(&domain()).is_none());
        folder.keep_certificate(&domain(), &text).unwrap();
        let again = Folder::open(data.path(), "https://ca.example/dir").unwrap();
        assert!(again.certificate(&domain()).is_some());
        let other = Folder::open(data.path(), "https://test.ca.example/dir").unwrap();
        assert!(other.certificate(&domain()).is_none(), "each server has its own");
        let path = data.path().join("acme/ca.example-dir");
        assert_eq!(mode(&data.path().join("acme")), 0o700);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("vault.example.test.pem")), 0o600);
        assert_eq!(
            std::fs::read_dir(&path).unwrap().count(),
            1,
            "nothing temporary is left"
        );
    }

    #[test]
    fn what_is_damaged_counts_as_not_there() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::open(data.path(), "https://ca.example/dir").unwrap();
        folder.write(ACCOUNT, b"{").unwrap();
        folder.keep_certificate(&domain(), "-----BEGIN").unwrap();
        assert!(folder.account().is_none());
        assert!(folder.certificate(&domain()).is_none());
    }

    #[test]
    fn a_url_can_not_lead_out_of_the_folder() {
        for url in ["https://../../etc", "https://..", "/etc", "https://a/../../b"] {
            let name = name_for(url);
            assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
        }
    }
}
