//! The passphrase of a locked credentials file.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::CredentialsError;

/// The longest passphrase in bytes, far more than a person or a generator uses.
const MAX_LEN: usize = 1024;

/// A passphrase. It is wiped when it is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase typed by a person.
    ///
    /// # Errors
    /// [`CredentialsError::Passphrase`] if it is empty or longer than 1,024 bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, CredentialsError> {
        let text = Zeroizing::new(text.into());
        match text.len() {
            1..=MAX_LEN => Ok(Self(text)),
            _ => Err(CredentialsError::Passphrase),
        }
    }

    /// Reads the file that `SIDEVAULT_PASSPHRASE_FILE` names. A line break at the end of the file is left out: editors and
    /// `echo` add it.
    ///
    /// # Errors
    /// [`CredentialsError::PassphraseFileMissing`] or another error if the file can't be read;
    /// [`CredentialsError::Passphrase`] if it is empty or too long.
    pub fn from_file(path: &Path) -> Result<Self, CredentialsError> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_LEN + 3));
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_LEN as u64 + 3).read_to_string(&mut text))
            .map_err(|error| match CredentialsError::reading(path, &error) {
                CredentialsError::Missing { path } => CredentialsError::PassphraseFileMissing { path },
                other => other,
            })?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_break_at_the_end_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        for (content, expected) in [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a\n\n", " a\n")] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Passphrase::from_file(&path).unwrap().as_bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn empty_and_long_and_missing_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        for content in [String::new(), "\n".into(), "x".repeat(1025)] {
            std::fs::write(&path, content).unwrap();
            assert!(matches!(
                Passphrase::from_file(&path),
                Err(CredentialsError::Passphrase)
            ));
        }
        let missing = Passphrase::from_file(&folder.path().join("none"));
        assert!(matches!(missing, Err(CredentialsError::PassphraseFileMissing { .. })));
    }
}
