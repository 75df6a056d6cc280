//! Errors, each with the cause and the next step for the owner of the file.

use std::borrow::Cow;

use crate::recipient::short;
use crate::{Format, Recipient};

/// Why a file could not be read.
///
/// The texts may name keys of the file, line numbers and public recipients. They never have a value or a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SopsError {
    /// The text is not well-formed.
    #[error("line {line}: not valid {format}: {problem}")]
    Syntax {
        /// The format the file was read as.
        format: Format,
        /// The line at which the parser stopped, counted from 1.
        line: usize,
        /// What the parser expected or found.
        problem: String,
    },
    /// A key occurs twice in one mapping. Parsers differ in which of them they use.
    #[error("line {line}: the key \"{key}\" occurs twice in one {format} mapping; keep only one of them")]
    DuplicateKey {
        /// The format the file was read as.
        format: Format,
        /// A line of the mapping, or the line after it, counted from 1.
        line: usize,
        /// The repeated key, escaped, and cut to a length that fits a message.
        key: String,
    },
    /// The file exceeds a limit. The limits keep hostile files from exhausting memory or processor time.
    #[error("the file has more {what} than the limit of {limit}; split it into smaller files")]
    Limit {
        /// What the file has too much of: `values`, `bytes of key paths`.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// An error in one of several documents. Each may have been encrypted on its own.
    #[error("document {number}: {problem}")]
    Document {
        /// The number of the document, counted from 1.
        number: usize,
        /// The error.
        problem: Box<SopsError>,
    },
    /// Values are encrypted, but the `sops` block with the data key is missing.
    #[error(
        "the file holds encrypted values but no complete `sops` metadata: it was cut off or lost that \
         block; restore it from version control"
    )]
    MissingMetadata,
    /// The `sops` block can't be used.
    #[error("the file's `sops` metadata is not usable: {problem}; restore it, or encrypt the file again with sops")]
    Metadata {
        /// What is wrong.
        problem: String,
    },
    /// Every recipient of the file is of a kind that no age identity can match: PGP, or a key management service.
    #[error(
        "the file is encrypted to {} only, and Sidevault does not use {}. Add an age recipient on a machine that can \
         decrypt the file: `sops rotate --in-place --add-age {} FILE`, or name the recipient in .sops.yaml and run \
         `sops updatekeys FILE`",
        list(.recipients), kinds(.recipients), recipient_to_add(.held)
    )]
    UnsupportedRecipients {
        /// Everything the file is encrypted to.
        recipients: Vec<Recipient>,
        /// The public halves of the identities at hand.
        held: Vec<String>,
    },
    /// There is no identity at all to try.
    #[error(
        "there is no age key to decrypt this file with: it is encrypted to {}. Set SOPS_AGE_KEY_FILE to a file that \
         holds the identity (AGE-SECRET-KEY-…) of one of these recipients{}",
        list_with_notes(.recipients), not_used(.unusable)
    )]
    NoIdentity {
        /// Everything the file is encrypted to.
        recipients: Vec<Recipient>,
        /// What should have given identities, and why it did not.
        unusable: Vec<String>,
    },
    /// None of the identities at hand is among the recipients.
    #[error(
        "no age identity here can decrypt this file: it is encrypted to {}; the identities held are {}. \
         Add the identity of one of these recipients, or add one of the held ones with `sops updatekeys`{}",
        list_with_notes(.recipients), list_short(.held), not_used(.unusable)
    )]
    NoMatchingIdentity {
        /// Everything the file is encrypted to.
        recipients: Vec<Recipient>,
        /// The public halves of the identities at hand.
        held: Vec<String>,
        /// What should have given more identities, and why it did not.
        unusable: Vec<String>,
    },
    /// The file needs several key groups, and the identities decrypt too few of them.
    #[error(
        "only {opened} of the {needed} key groups that this file needs could be decrypted: it is encrypted to {}; \
         the identities held are {}. Add an identity for another group",
        list_with_notes(.recipients), list_short(.held)
    )]
    KeyGroups {
        /// How many groups were decrypted.
        opened: usize,
        /// How many groups are needed.
        needed: usize,
        /// Everything the file is encrypted to.
        recipients: Vec<Recipient>,
        /// The public halves of the identities at hand.
        held: Vec<String>,
    },
    /// An identity matches, but the data key that it decrypts is damaged.
    #[error(
        "the data key encrypted to {recipient} is damaged; restore the file, or run `sops updatekeys` with another key"
    )]
    DataKey {
        /// The recipient whose part of the data key is damaged.
        recipient: Recipient,
    },
    /// An age plugin failed, or asked for something that nobody can answer at a server.
    #[error(
        "the age plugin could not decrypt the data key encrypted to {recipient}: its device may be missing, or it asked for \
         a PIN or a touch, which a server can't answer; add an age recipient without a plugin with `sops updatekeys`"
    )]
    Plugin {
        /// The recipient whose part of the data key was tried.
        recipient: Recipient,
    },
    /// A value could not be decrypted.
    #[error("value at {path}: {problem}")]
    Value {
        /// The path of the value: `db.hosts[0]`.
        path: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// [`seal`](crate::seal) can't encrypt a document as a file.
    #[error("the file can't be encrypted: {problem}")]
    NotSealable {
        /// What is wrong and what to do.
        problem: Cow<'static, str>,
    },
    /// [`crate::edit`] can't make a change. The file is as it was.
    #[error("{path} can't be changed: {problem}")]
    NotEditable {
        /// The path of the value: `db.hosts[0]`.
        path: String,
        /// What is in the way and what to do.
        problem: &'static str,
    },
    /// The metadata has no MAC, so nothing proves that the file is complete and unchanged.
    #[error(
        "the file has no MAC, so nothing proves it is complete and unchanged; restore it, or, if you trust \
         it, edit and save it with `sops --ignore-mac`"
    )]
    MissingMac,
    /// The content does not match the MAC.
    #[error(
        "the file's content does not match its MAC: it was edited, merged or reordered without sops. Restore \
         it from version control, or, if you trust it, edit and save it with `sops --ignore-mac`"
    )]
    MacMismatch,
}

impl SopsError {
    /// Whether the file may be fine and only lacks a reader with an age identity.
    pub fn is_without_identity(&self) -> bool {
        match self {
            Self::NoIdentity { .. } => true,
            Self::Document { problem, .. } => problem.is_without_identity(),
            _ => false,
        }
    }
}

/// Names the sources of identities that gave none.
fn not_used(unusable: &[String]) -> String {
    if unusable.is_empty() {
        String::new()
    } else {
        format!(". Not used here: {}", list(unusable))
    }
}

/// The recipient for `--add-age`: the first key held that has a public half. It is whole, so that the line can be copied.
fn recipient_to_add(held: &[String]) -> &str {
    let public = |name: &&String| name.starts_with("age1") || name.starts_with("ssh-");
    held.iter().find(public).map_or("AGE-RECIPIENT", String::as_str)
}

/// The services of unsupported recipients: `PGP and AWS KMS`.
fn kinds(recipients: &[Recipient]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for kind in recipients.iter().filter_map(Recipient::service_name) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(" and ")
}

fn list_with_notes(recipients: &[Recipient]) -> String {
    list(&recipients.iter().map(Recipient::with_note).collect::<Vec<_>>())
}

/// Like [`list`], with long keys cut.
fn list_short(recipients: &[String]) -> String {
    list(&recipients.iter().map(|name| short(name)).collect::<Vec<_>>())
}

/// Joins names with commas. Only the first eight are named, so that one log line stays one line.
fn list(names: &[impl ToString]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    let shown = shown.join(", ");
    if names.len() > SHOWN {
        format!("{shown} and {} more", names.len() - SHOWN)
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_recipient_lists_are_cut() {
        let error = SopsError::NoMatchingIdentity {
            recipients: (0..20).map(|n| Recipient::age(&format!("age1n{n}"))).collect(),
            held: vec!["age1held".to_owned()],
            unusable: Vec::new(),
        };
        let text = error.to_string();
        assert!(text.contains("age1n7 and 12 more"), "{text}");
        assert!(text.contains("identities held are age1held"), "{text}");
    }

    #[test]
    fn a_file_encrypted_to_pgp_names_pgp_and_the_command_that_adds_an_age_key() {
        let error = |held: &[&str]| {
            SopsError::UnsupportedRecipients {
                recipients: vec![Recipient::service("PGP", "AAAA"), Recipient::service("PGP", "BBBB")],
                held: held.iter().map(|name| (*name).to_owned()).collect(),
            }
            .to_string()
        };
        let text = error(&["age1held", "age1other"]);
        assert!(text.contains("PGP AAAA, PGP BBBB only"), "{text}");
        assert!(text.contains("does not use PGP. "), "{text}");
        assert!(text.contains("--add-age age1held FILE"), "{text}");
        assert!(error(&[]).contains("--add-age AGE-RECIPIENT FILE"));
    }

    #[test]
    fn without_any_age_key_the_variable_to_set_is_named() {
        let error = SopsError::Document {
            number: 2,
            problem: Box::new(SopsError::NoIdentity {
                recipients: vec![Recipient::age("age1x")],
                unusable: vec!["keys.txt: line 1: an SSH key".to_owned()],
            }),
        };
        assert!(error.is_without_identity());
        let text = error.to_string();
        assert!(
            text.contains("age1x") && text.contains("Set SOPS_AGE_KEY_FILE"),
            "{text}"
        );
        assert!(text.contains("Not used here: keys.txt: line 1"), "{text}");
    }
}
