//! Reads [SOPS](https://getsops.io) files with age keys: YAML, JSON, dotenv, INI and binary.
//!
//! [`read`] takes a file's bytes and gives its content in order, decrypted and verified if it is
//! encrypted, as it is if not. Nothing here writes files, starts programs or asks the network.
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
//! Everything sops 3 writes for age's X25519 recipients: all five formats, every value type, multi-document
//! YAML, the four suffix and regex rules, the two comment rules, MACs over all or over encrypted values
//! only, and key groups. Files of several documents that were encrypted one by one are opened, too. Text may
//! have a byte order mark, be UTF-16 behind one, and have Windows line ends. Not supported are other key
//! services, SSH keys (the `age` crate's RSA is open to the timing attack of RUSTSEC-2023-0071, and a server
//! that opens what a repository brings is just where that matters), plugins and post-quantum identities: the
//! error names them. The `rops` crate was weighed
//! and left: it has no comments, comment rules, key groups, dotenv or INI.
//!
//! # What SOPS promises, and what it does not
//!
//! A value opens only under the keys it was sealed at, and the MAC covers all values in order. Key names
//! are covered only as far as values under them are sealed; comments, nulls and empty collections are not
//! covered at all; and a value's noted type is covered only through its text, so `42` may be made `"42"`.
//! Three things are stricter here than in sops: a repeated key is refused in YAML, JSON and dotenv (sops
//! refuses it in YAML only; within an INI section the last one counts, as in sops), base64 that is not
//! canonical is refused, and so is a file of which a value is ciphertext once it is decrypted. One is laxer, and gains an attacker nothing: under a comment rule, whether a value is sealed
//! is read off the value, since the comments that say so are not covered by the MAC.

mod binary;
mod cipher;
mod data_key;
mod decrypt;
mod documents;
pub mod dotenv;
mod error;
mod flatten;
mod format;
mod identities;
pub mod ini;
pub mod json;
mod limits;
mod merge;
mod metadata;
mod number;
mod recipient;
mod recognize;
mod rule;
mod text;
mod value;
pub mod yaml;

use std::fmt;

pub use cipher::holds_mark;
pub use error::SopsError;
pub use format::Format;
pub use identities::{Identities, UnusableIdentity};
pub use limits::{MAX_ALIASED_BYTES, MAX_DEPTH, MAX_FILE_BYTES, MAX_VALUES};
pub use recipient::Recipient;
pub use recognize::Detector;
pub use value::{Value, scalar_text};

/// A file's content.
#[derive(PartialEq)]
pub enum Document {
    /// The documents of the file: any number for YAML, one for the other structured formats.
    Tree(Vec<Value>),
    /// The bytes of a binary file. Wiping them is up to the caller.
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

/// What [`read`] gives.
#[derive(Debug, PartialEq)]
pub struct Decrypted {
    /// The content, without the `sops` metadata.
    pub document: Document,
    /// Whether the file was encrypted, and so decrypted and verified.
    pub encrypted: bool,
    /// When sops last wrote the file, in RFC 3339, if it was encrypted.
    pub lastmodified: Option<String>,
}

/// Reads a file: decrypts and verifies it if SOPS encrypted it, else returns it as it is.
///
/// `format` is the one of the file's name ([`Format::from_path`]). A file whose content shows that SOPS
/// encrypted it in another format is read in that one: `b.yaml.enc` gives a tree. YAML merge keys are
/// merged, INI sections of one name joined, and Windows line ends and byte order marks are in no value.
///
/// # Errors
/// [`SopsError`]: the file is malformed, beyond a limit (its size: [`MAX_FILE_BYTES`]), encrypted
/// to others, changed since it was sealed, or holds encrypted values without the metadata for them.
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
        Format::Dotenv => dotenv::parse(bytes)?,
        Format::Ini => ini::parse(bytes)?,
        // The envelope of a binary file that was cut off.
        Format::Json if format == Format::Binary => json::parse(bytes).map_err(|_| SopsError::MissingMetadata)?,
        Format::Json => json::parse(bytes)?,
        Format::Yaml => yaml::parse(bytes)?,
    };
    let take = match read_as {
        Format::Dotenv => metadata::take_dotenv,
        Format::Ini => metadata::take_ini,
        _ => metadata::take_nested,
    };
    let blocks = documents.iter_mut().map(take).collect::<Result<Vec<_>, _>>()?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn plain(format: Format, text: &[u8]) -> Result<Decrypted, SopsError> {
        read(format, text, &Identities::default())
    }

    #[test]
    fn plain_files_are_returned_as_they_are() {
        let file = plain(Format::Binary, b"{\"no\": \"sops\"}").unwrap();
        assert_eq!(file.document, Document::Binary(b"{\"no\": \"sops\"}".to_vec()));
        let file = plain(Format::Dotenv, b"A=1").unwrap();
        assert!(!file.encrypted && file.lastmodified.is_none());
        assert_eq!(plain(Format::Yaml, b"").unwrap().document, Document::Tree(Vec::new()));
        assert!(plain(Format::Yaml, b"- a\n- b\n").is_ok());
    }

    #[test]
    fn sealed_values_without_metadata_are_refused() {
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
        for words in ["PGP ABCD", "AWS KMS arn:aws:k", "does not support PGP and AWS KMS", "--add-age"] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains('\n'), "{told}");
    }
}
