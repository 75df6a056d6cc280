//! Reads and edits [SOPS](https://getsops.io) files with age keys: YAML, JSON, dotenv, INI and binary.
//!
//! [`read`] takes a file's bytes and returns its content in order: decrypted and verified if SOPS encrypted it, unchanged if
//! not. [`edit`] takes the bytes of an encrypted file and returns them with changed values, as `sops` would write them. [`seal`]
//! encrypts a new file. This crate opens no files and uses no network. It starts a program only for an identity of an age plugin.
//!
//! ```
//! use sidevault_sops::{Document, Format, Identities, read, scalar_text};
//!
//! let file = read(Format::Yaml, b"user: admin\nport: 0x1F90\n", &Identities::default())?;
//! assert!(!file.encrypted);
//! let Document::Tree(documents) = &file.document else { unreachable!() };
//! let port = documents[0].get("port").map(scalar_text);
//! assert_eq!(port.as_deref(), Some("8080"));
//! # Ok::<(), sidevault_sops::SopsError>(())
//! ```
//!
//! # What is supported
//!
//! Everything that sops 3 writes for age recipients (X25519, post-quantum, SSH keys, plugins): all five formats, every value type, several YAML documents in
//! a file, the four suffix and regex rules, the two comment rules, MACs over all values or over encrypted values only, and
//! key groups. Documents that were encrypted one by one and joined later are decrypted, too. Text may start with a byte
//! order mark, be UTF-16 after one, and have Windows line ends.
//!
//! Not supported are PGP and key management services; errors name them.
//!
//! The `rops` crate is not used because it has no comments, comment rules, key groups, dotenv or INI.
//!
//! # What SOPS guarantees
//!
//! A value can be decrypted only at the keys that it was encrypted at, and the MAC covers all values in order. SOPS does not
//! authenticate everything: a key name is covered only if an encrypted value is under it; comments, nulls, and empty lists and
//! mappings are not covered; and the type of a value is covered only through its text, so someone can turn `42` into `"42"`.
//!
//! This crate is stricter than sops in three ways. It refuses a repeated key in YAML, JSON and dotenv (sops: in YAML only; in
//! an INI section the last one counts, as in sops). It refuses base64 that is not canonical. And it refuses a file with a
//! value that is still ciphertext after decryption. It is laxer in one way, which helps no attacker: under a comment rule, the
//! form of a value tells whether it is encrypted, because the comments themselves are not covered by the MAC.

mod binary;
mod cipher;
mod creation_rules;
mod data_key;
mod decrypt;
mod documents;
pub mod dotenv;
mod edit;
mod error;
mod flatten;
mod format;
mod identities;
pub mod ini;
mod inspect;
pub mod json;
mod limits;
mod merge;
mod metadata;
mod number;
mod recipient;
mod recognize;
mod rule;
mod seal;
mod text;
mod value;
pub mod yaml;

use std::fmt;

pub use cipher::holds_mark;
pub use creation_rules::{BadRules, CreationRule, CreationRules};
pub use edit::{Change, Edit, Step, edit, edit_plaintext};
pub use error::SopsError;
pub use format::Format;
pub use identities::{Identities, UnusableIdentity};
pub use inspect::{Inspected, Keys, inspect};
pub use limits::{MAX_ALIASED_BYTES, MAX_DEPTH, MAX_FILE_BYTES, MAX_VALUES};
pub use recipient::Recipient;
pub use recognize::Detector;
pub use rule::RuleText;
pub use seal::{SealTo, plain_yaml, seal, seal_by};
pub use value::{Value, scalar_text};

/// The content of a file.
#[derive(PartialEq)]
pub enum Document {
    /// The documents of the file: any number in YAML, one in JSON, dotenv and INI.
    Tree(Vec<Value>),
    /// The bytes of a binary file. They are not wiped on drop; the caller has to do that.
    Binary(Vec<u8>),
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(documents) => f.debug_tuple("Tree").field(documents).finish(),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

/// The result of [`read`].
#[derive(Debug, PartialEq)]
pub struct Decrypted {
    /// The content, without the `sops` metadata.
    pub document: Document,
    /// Whether the file was encrypted. If so, it was decrypted and verified.
    pub encrypted: bool,
    /// The time at which sops last wrote the file, in RFC 3339; `None` if the file was not encrypted.
    pub lastmodified: Option<String>,
}

/// Reads a file. If SOPS encrypted it, the file is decrypted and verified.
///
/// `format` is the format of the file's name ([`Format::from_path`]). If the content shows that SOPS encrypted the file in
/// another format, that one is used: `b.yaml.enc` gives a tree. YAML merge keys are merged and INI sections of one name are
/// joined. Windows line ends and byte order marks are removed from names and values.
///
/// # Errors
/// [`SopsError`] if the file is malformed, exceeds a limit (for its size: [`MAX_FILE_BYTES`]), is encrypted to keys that are
/// not in `identities`, was changed since it was encrypted, or has encrypted values without metadata.
pub fn read(format: Format, bytes: &[u8], identities: &Identities) -> Result<Decrypted, SopsError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SopsError::Limit {
            what: "bytes",
            limit: MAX_FILE_BYTES,
        });
    }
    let read_as = recognize::format(format, bytes)?;
    let mut documents = match read_as {
        Format::Binary => {
            return Ok(Decrypted {
                document: Document::Binary(bytes.to_vec()),
                encrypted: false,
                lastmodified: None,
            });
        }
        // A binary file is encrypted as a JSON envelope. If the envelope can't be parsed, it was cut off.
        Format::Json if format == Format::Binary => json::parse(bytes).map_err(|_| SopsError::MissingMetadata)?,
        _ => parse(read_as, bytes)?,
    };
    let blocks = take_blocks(read_as, &mut documents)?;
    let lastmodified = documents::open(&mut documents, &blocks, identities)?;
    for document in &mut documents {
        match read_as {
            Format::Yaml => merge::resolve(document),
            Format::Ini => ini::join_sections(document),
            Format::Dotenv => dotenv::drop_marks(document),
            _ => {}
        }
        decrypt::refuse_sealed(document)?;
    }
    let enveloped = (format == Format::Binary)
        .then(|| binary::content(&mut documents))
        .flatten();
    Ok(Decrypted {
        document: match enveloped {
            Some(bytes) => Document::Binary(bytes),
            None => Document::Tree(documents),
        },
        encrypted: lastmodified.is_some(),
        lastmodified,
    })
}

/// Parses a file, without decrypting it. Binary files are parsed as their JSON envelope.
fn parse(format: Format, bytes: &[u8]) -> Result<Vec<Value>, SopsError> {
    match format {
        Format::Dotenv => dotenv::parse(bytes),
        Format::Ini => ini::parse(bytes),
        Format::Json | Format::Binary => json::parse(bytes),
        Format::Yaml => yaml::parse(bytes),
    }
}

/// Takes the `sops` block out of each document that has one.
fn take_blocks(format: Format, documents: &mut [Value]) -> Result<Vec<Option<Value>>, SopsError> {
    let take = match format {
        Format::Dotenv => metadata::take_dotenv,
        Format::Ini => metadata::take_ini,
        _ => metadata::take_nested,
    };
    documents.iter_mut().map(take).collect()
}

#[cfg(test)]
mod tests {

    use super::*;

    fn plain(format: Format, text: &[u8]) -> Result<Decrypted, SopsError> {
        read(format, text, &Identities::default())
    }

    #[test]
    fn files_that_are_not_encrypted_are_returned_unchanged() {
        let file = plain(Format::Binary, b"{\"no\": \"sops\"}").unwrap();
        assert_eq!(file.document, Document::Binary(b"{\"no\": \"sops\"}".to_vec()));
        let file = plain(Format::Dotenv, b"A=1").unwrap();
        assert!(!file.encrypted && file.lastmodified.is_none());
        assert_eq!(plain(Format::Yaml, b"").unwrap().document, Document::Tree(Vec::new()));
        assert!(plain(Format::Yaml, b"- a\n- b\n").is_ok());
    }

    #[test]
    fn encrypted_values_without_metadata_are_refused() {
        let sealed = "ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]";
        for (format, text) in [
            (Format::Yaml, format!("a: {sealed}\n")),
            (Format::Json, format!("{{\"a\": [\"{sealed}\"]}}")),
            (Format::Dotenv, format!("A={sealed}\n")),
            (Format::Ini, format!("[a]\nb = {sealed}\n")),
            (Format::Binary, format!("{{\"data\": \"{sealed}\", \"so")),
            (Format::Binary, format!("a: {sealed}\n")),
        ] {
            assert_eq!(
                plain(format, text.as_bytes()).unwrap_err(),
                SopsError::MissingMetadata,
                "{format}"
            );
        }
    }

    #[test]
    fn broken_metadata_is_refused() {
        for text in [
            "sops: 1",
            "sops:",
            "sops: {}",
            "sops: {mac: x, lastmodified: y}",
            "sops: {age: [], pgp: []}",
        ] {
            assert!(
                matches!(plain(Format::Yaml, text.as_bytes()), Err(SopsError::Metadata { .. })),
                "{text}"
            );
        }
        let no_mac = "sops: {age: [{recipient: age1x, enc: y}], lastmodified: z}";
        assert_eq!(
            plain(Format::Yaml, no_mac.as_bytes()).unwrap_err(),
            SopsError::MissingMac
        );
        assert!(matches!(
            plain(Format::Dotenv, b"sops_mac=x"),
            Err(SopsError::Metadata { .. })
        ));
        assert!(matches!(
            plain(Format::Ini, b"[sops]\nmac=x"),
            Err(SopsError::Metadata { .. })
        ));
    }

    #[test]
    fn a_file_without_an_age_recipient_names_what_is_not_supported() {
        let text = "sops: {mac: m, lastmodified: t, pgp: [{fp: ABCD, enc: x}], kms: [{arn: 'arn:aws:k\nx'}]}";
        let error = plain(Format::Yaml, text.as_bytes()).unwrap_err();
        let told = error.to_string();
        for words in [
            "PGP ABCD",
            "AWS KMS arn:aws:k",
            "does not use PGP and AWS KMS",
            "--add-age",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains('\n'), "{told}");
    }
}
