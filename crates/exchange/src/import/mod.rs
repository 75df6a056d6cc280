//! Reads the exports of other programs.

mod archive;
mod bitwarden;
mod builder;
mod connect;
mod csv;
mod error;
mod item;
mod json;
mod keepass;
mod lenient;
mod onepux;
mod pass;
#[cfg(test)]
mod testing;
mod tree;
mod value;
mod whole;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;

use zeroize::Zeroizing;

pub use error::ImportError;
pub use item::{Entry, ImportedFile, ImportedItem, ImportedVault, Skipped};
pub use pass::{pass_entry, source_id as pass_source_id};

use archive::Archive;
use json::Records;
use onepux::OnePux;

/// What the folders and collections of an export become, where the format has them in place of vaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Groups {
    /// A vault for each.
    #[default]
    Vaults,
    /// A tag for each; all items go into one vault.
    Tags,
}

/// A format that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 1PUX of 1Password.
    OnePux,
    /// JSON and ZIP of Bitwarden and Vaultwarden.
    Bitwarden,
    /// A KeePass database.
    Keepass,
    /// CSV of a browser or password manager.
    Csv,
    /// Items as Connect's API and `op` show them.
    Connect,
    /// JSON of secrets by name: Vault, Doppler and Infisical.
    Secrets,
    /// A password store's directory.
    Pass,
    /// Files as a directory source reads them.
    Files,
}

impl Format {
    /// The format in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::OnePux => "1PUX",
            Self::Bitwarden => "an export of Bitwarden",
            Self::Keepass => "a KeePass database",
            Self::Csv => "CSV",
            Self::Connect => "items as Connect and op show them",
            Self::Secrets => "JSON of Vault, Doppler or Infisical",
            Self::Pass => "a password store",
            Self::Files => "files as a directory source reads them",
        }
    }

    /// Checks that an export that was recognised is in the format that someone said, if someone did.
    ///
    /// # Errors
    /// [`ImportError::Format`] names both.
    pub fn expect(self, said: Option<Self>) -> Result<(), ImportError> {
        match said {
            Some(said) if said != self => Err(ImportError::Format(format!(
                "expected {}, and it is {}",
                said.words(),
                self.words()
            ))),
            _ => Ok(()),
        }
    }
}

/// Asks for the password of an encrypted export. The argument says what is encrypted.
pub type AskPassword<'a> = dyn Fn(&str) -> Result<Zeroizing<Vec<u8>>, ImportError> + 'a;

/// What a reader needs beside the export.
pub struct Options<'a> {
    /// The format that the export has to be in. None: any.
    pub format: Option<Format>,
    /// The name of the vault, and of an item, where the format has none.
    pub name: &'a str,
    /// What folders and collections become.
    pub groups: Groups,
    /// Asks for the password of an encrypted export.
    pub password: &'a AskPassword<'a>,
    /// The content of KeePass's key file.
    pub key_file: Option<&'a [u8]>,
}

impl Default for Options<'_> {
    /// Without a password.
    fn default() -> Self {
        Self {
            format: None,
            name: "import",
            groups: Groups::default(),
            password: &|what| Err(ImportError::NoPassword(format!("{what} is encrypted with a password"))),
            key_file: None,
        }
    }
}

/// The formats, for messages.
const FORMATS: &str = "1PUX, which 1Password's desktop program exports, Bitwarden's JSON and ZIP, KeePass's KDBX, and items as `op item get --format \
                       json`, Connect's API and `sidevault export --to json` write them";

/// Recognises an export by its content, and opens it.
///
/// # Errors
/// [`ImportError::Unknown`] names the formats that can be read; [`ImportError::Format`] if it is in another format than
/// [`Options::format`].
pub fn open(file: File, options: &Options<'_>) -> Result<Box<dyn Source>, ImportError> {
    let mut head = [0; 4];
    let n = file.read_at(&mut head, 0)?;
    // The signatures of a member and of an empty archive's directory (APPNOTE.TXT, 4.3.7 and 4.3.16).
    if matches!(&head[..n], b"PK\x03\x04" | b"PK\x05\x06") {
        let archive = Archive::open(file)?;
        if OnePux::recognises(&archive) {
            Format::OnePux.expect(options.format)?;
            return Ok(Box::new(OnePux::open(archive)?));
        }
        if bitwarden::recognises(&archive) {
            Format::Bitwarden.expect(options.format)?;
            return Ok(Box::new(bitwarden::open_archive(archive, options)?));
        }
        return Err(unknown());
    }
    let text = whole::read(&file)?;
    if keepass::recognises(&head[..n]) {
        Format::Keepass.expect(options.format)?;
        return Ok(Box::new(keepass::read(&text, options)?));
    }
    if json::may_be_json(&text) {
        return open_json(&text, options);
    }
    if csv::recognises(&text) {
        Format::Csv.expect(options.format)?;
        return Ok(Box::new(csv::read(&text, options)?));
    }
    Err(unknown())
}

fn open_json(text: &[u8], options: &Options<'_>) -> Result<Box<dyn Source>, ImportError> {
    // A byte order mark, which programs on Windows write.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let records = Records::split(text)?;
    let first = records.first().unwrap_or_default();
    let format = match () {
        () if bitwarden::recognises_json(&first) => Format::Bitwarden,
        () if connect::recognises(&first) => Format::Connect,
        () if tree::recognises(&first) => Format::Secrets,
        () => return Err(unknown()),
    };
    format.expect(options.format)?;
    Ok(Box::new(match format {
        Format::Bitwarden => bitwarden::read(text, options)?,
        Format::Connect => connect::read(&records)?,
        _ => tree::read(&records, options)?,
    }))
}

fn unknown() -> ImportError {
    ImportError::Unknown(format!(
        "the file is in no format that can be imported. This version reads {FORMATS}"
    ))
}

/// An export that is being read.
///
/// The methods may be called in any order and any number of times: a plan, an import and a comparison read the same export again.
/// A reader holds one item in memory at a time where its format allows that.
pub trait Source: Send + Sync {
    /// The vaults, in the export's order. [`ImportedItem::vault`] is an index of this list.
    ///
    /// # Errors
    /// If the export can't be read, or is not what its format says.
    fn vaults(&self) -> Result<Vec<ImportedVault>, ImportError>;

    /// Calls `each` with every item, in the export's order. If `each` fails, the reader stops, and returns its error.
    ///
    /// # Errors
    /// As [`vaults`](Self::vaults), and the errors of `each`.
    fn items(&self, each: &mut dyn FnMut(Entry) -> Result<(), ImportError>) -> Result<(), ImportError>;

    /// Hands the content of an item's file to `read`. A caller may do so while [`items`](Self::items) runs.
    ///
    /// The content fails unless it has exactly [`ImportedFile::size`] bytes.
    ///
    /// # Errors
    /// If the export lacks the content, and the errors of `read`.
    fn content(
        &self,
        file: &ImportedFile,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<(), ImportError>,
    ) -> Result<(), ImportError>;
}
