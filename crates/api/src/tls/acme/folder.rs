//! `acme/` in the data directory, with the ACME account and the certificate. Without it each restart would need a new account
//! and a new order, of which an ACME server allows few.
//!
//! Each ACME server has a folder of its own in it, so that a certificate from a server's test environment is never served in
//! place of a real one.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use rustls::pki_types::DnsName;

use super::TlsError;
use super::certificate::Certificate;

const ACCOUNT: &str = "account.json";

/// One ACME server's folder, with mode 0700. Its files have mode 0600, because they hold private keys.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it does not exist.
    ///
    /// # Errors
    /// If the folder can't be written to: no certificate is requested that can't be stored.
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

    /// The account, if a valid one is stored.
    pub(super) fn account(&self) -> Option<AccountCredentials> {
        let text = self.read(ACCOUNT)?;
        serde_json::from_str(&text)
            .inspect_err(
                |_| tracing::warn!(path = %self.0.join(ACCOUNT).display(), "the file is not a valid ACME account; a new account is made"),
            )
            .ok()
    }

    /// Stores the account.
    pub(super) fn keep_account(&self, account: &AccountCredentials) -> io::Result<()> {
        self.write(ACCOUNT, &serde_json::to_vec(account)?)
    }

    /// Deletes the account, because the ACME server does not know it any more.
    pub(super) fn forget_account(&self) -> io::Result<()> {
        std::fs::remove_file(self.0.join(ACCOUNT))
    }

    /// The certificate for a name, if a usable one is stored.
    pub(super) fn certificate(&self, domain: &DnsName<'_>) -> Option<Certificate> {
        let name = certificate_name(domain);
        Certificate::parse(&self.read(&name)?)
            .inspect_err(|error| {
                tracing::warn!(path = %self.0.join(&name).display(), %error, "the stored certificate can't be used; a new one is requested");
            })
            .ok()
    }

    /// Stores key and chain in one file, so that one is never replaced without the other.
    pub(super) fn keep_certificate(&self, domain: &DnsName<'_>, text: &str) -> io::Result<()> {
        self.write(&certificate_name(domain), text.as_bytes())
    }

    fn read(&self, name: &str) -> Option<String> {
        let path = self.0.join(name);
        std::fs::read_to_string(&path)
            .inspect_err(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "the file can't be read, and is replaced");
                }
            })
            .ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // tempfile makes files with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }
}

/// The file name for a domain. All characters of a DNS name are allowed in file names.
fn certificate_name(domain: &DnsName<'_>) -> String {
    format!("{}.pem", domain.to_lowercase_owned().as_ref())
}

/// The folder name for the URL of an ACME directory.
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn domain() -> DnsName<'static> {
        DnsName::try_from("Vault.example.test").unwrap()
    }

    #[test]
    fn stored_files_are_found_again_and_only_their_owner_may_read_them() {
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
    fn damaged_files_count_as_missing() {
        let data = tempfile::tempdir().unwrap();
        let folder = Folder::open(data.path(), "https://ca.example/dir").unwrap();
        folder.write(ACCOUNT, b"{").unwrap();
        folder.keep_certificate(&domain(), "-----BEGIN").unwrap();
        assert!(folder.account().is_none());
        assert!(folder.certificate(&domain()).is_none());
    }

    #[test]
    fn no_url_leads_out_of_the_folder() {
        for url in ["https://../../etc", "https://..", "/etc", "https://a/../../b"] {
            let name = name_for(url);
            assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
        }
    }
}
