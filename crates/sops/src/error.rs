//! What can go wrong with a file, told so that its owner knows the next step.

use crate::Format;

/// Why a file could not be read.
///
/// Texts name the cause and the next step. They may hold key names, line numbers and public
/// recipients, and never a value or a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SopsError {
    /// The text is not well-formed; `line` counts from 1.
    #[error("line {line}: not valid {format}: {problem}")]
    Syntax {
        /// The format the file was read as.
        format: Format,
        /// Where the parser stopped, counted from 1.
        line: usize,
        /// What the parser expected or found.
        problem: String,
    },
    /// A key occurs twice in one mapping, so which one counts is anyone's guess.
    #[error("line {line}: the key \"{key}\" occurs twice in one {format} mapping; keep only one of them")]
    DuplicateKey {
        /// The format the file was read as.
        format: Format,
        /// A line in or at the end of the mapping, counted from 1.
        line: usize,
        /// The repeated key, escaped and cut to a length fit for a message.
        key: String,
    },
    /// A limit that keeps hostile files from exhausting memory.
    #[error("the file has {what}, more than the limit of {limit}; split it into smaller files")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// A document of several in a file; each may have been encrypted on its own.
    #[error("document {number}: {problem}")]
    Document {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: Box<SopsError>,
    },
    /// Values are encrypted, but the block that says how is gone.
    #[error(
        "the file holds encrypted values but no complete `sops` metadata: it was cut off or lost that \
         block; restore it from version control"
    )]
    MissingMetadata,
    /// The `sops` block is there but cannot be understood.
    #[error("the file's `sops` metadata is not usable: {problem}; restore it, or encrypt the file again with sops")]
    Metadata {
        /// What is wrong.
        problem: String,
    },
    /// None of the identities we hold is among the recipients.
    #[error(
        "no age identity here can decrypt this file: it is encrypted to {}; the identities held are {}. \
         Add the identity of one of these recipients, or add one of ours with `sops updatekeys`{}",
        list(.recipients), list(.held), remarks(.recipients, .unusable)
    )]
    NoMatchingIdentity {
        /// Everything the file is encrypted to, public names only.
        recipients: Vec<String>,
        /// The public halves of the identities we hold.
        held: Vec<String>,
        /// What should have given more identities, and why it did not.
        unusable: Vec<String>,
    },
    /// The file needs several key groups and too few of them open.
    #[error(
        "only {opened} of the {needed} key groups this file needs could be opened: it is encrypted to {}; \
         the identities held are {}. Add an identity for another group",
        list(.recipients), list(.held)
    )]
    KeyGroups {
        /// Groups that opened.
        opened: usize,
        /// Groups that must open.
        needed: usize,
        /// Everything the file is encrypted to, public names only.
        recipients: Vec<String>,
        /// The public halves of the identities we hold.
        held: Vec<String>,
    },
    /// An identity fits, but what it opens is damaged or no data key.
    #[error(
        "the data key encrypted to {recipient} is damaged; restore the file, or run `sops updatekeys` with another key"
    )]
    DataKey {
        /// The public name of the recipient.
        recipient: String,
    },
    /// A value could not be decrypted.
    #[error("value at {path}: {problem}")]
    Value {
        /// The value's place: `db.hosts[0]`.
        path: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// The metadata has no MAC, so nothing proves that the file is whole.
    #[error(
        "the file has no MAC, so nothing proves it is complete and unchanged; restore it, or, if you trust \
         it, edit and save it with `sops --ignore-mac`"
    )]
    MissingMac,
    /// The content is not what was sealed.
    #[error(
        "the file's content does not match its MAC: it was edited, merged or reordered without sops. Restore \
         it from version control, or, if you trust it, edit and save it with `sops --ignore-mac`"
    )]
    MacMismatch,
}

/// What else may explain that no identity fits.
fn remarks(recipients: &[String], unusable: &[String]) -> String {
    let mut text = String::new();
    if recipients.iter().all(|name| name.ends_with(NOT_SUPPORTED)) {
        text.push_str("; Sidevault can use the keys of plain `age-keygen` only");
    }
    if !unusable.is_empty() {
        text.push_str(&format!(". Not used here: {}", list(unusable)));
    }
    text
}

/// The end of the name of a recipient that no identity here can match.
pub(crate) const NOT_SUPPORTED: &str = "not supported)";

/// At most a handful of names, so that one log line stays one line.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names {
        [] => "none".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_recipient_lists_are_cut() {
        let names: Vec<String> = (0..20).map(|n| format!("age1{n}")).collect();
        let error = SopsError::NoMatchingIdentity {
            recipients: names,
            held: Vec::new(),
            unusable: Vec::new(),
        };
        let text = error.to_string();
        assert!(text.contains("age17 and 12 more"), "{text}");
        assert!(text.contains("identities held are none"), "{text}");
    }
}
