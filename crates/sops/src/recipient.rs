//! The recipients that a file's `sops` metadata names. They are public, so messages may show them.

use std::fmt;

use crate::text::shown;

/// One of the keys that a file's data key is encrypted to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recipient {
    /// The public name, escaped and cut to a length fit for a log line.
    name: String,
    kind: RecipientKind,
}

/// What kind of key a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RecipientKind {
    /// What `age-keygen` makes: the only kind that [`crate::Identities`] can hold.
    X25519,
    PostQuantum,
    SshKey,
    AgePlugin,
    /// PGP, or a key management service of this name.
    Service(&'static str),
}

impl Recipient {
    /// An age recipient. The start of its name tells its kind.
    pub(crate) fn age(recipient: &str) -> Self {
        // Post-quantum names and RSA keys are longer than a whole log line; an X25519 name has 62 characters.
        const LONGEST: usize = 62;
        let kind = if recipient.starts_with("age1pq1") {
            RecipientKind::PostQuantum
        } else if recipient.starts_with("ssh-") {
            RecipientKind::SshKey
        } else if recipient.starts_with("age1") && recipient.matches('1').count() > 1 {
            RecipientKind::AgePlugin
        } else {
            RecipientKind::X25519
        };
        let name = match recipient.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &recipient[..end]),
            None => recipient.to_owned(),
        };
        Self {
            name: shown(&name),
            kind,
        }
    }

    /// A PGP key, or a key in a key management service.
    pub(crate) fn service(title: &'static str, key: &str) -> Self {
        Self {
            name: shown(key),
            kind: RecipientKind::Service(title),
        }
    }

    /// What Sidevault would have to support to use this recipient; `None` if an age identity can match it.
    pub(crate) fn unsupported(&self) -> Option<&'static str> {
        match self.kind {
            RecipientKind::X25519 => None,
            RecipientKind::PostQuantum => Some("post-quantum age keys"),
            RecipientKind::SshKey => Some("SSH keys"),
            RecipientKind::AgePlugin => Some("age plugins"),
            RecipientKind::Service(title) => Some(title),
        }
    }

    /// The name with a note if no identity can match this recipient, for a list in which others are supported.
    pub(crate) fn with_note(&self) -> String {
        match self.kind {
            RecipientKind::X25519 => self.to_string(),
            RecipientKind::PostQuantum => format!("{} (post-quantum, not supported)", self.name),
            RecipientKind::SshKey => format!("{} (SSH key, not supported)", self.name),
            RecipientKind::AgePlugin => format!("{} (age plugin, not supported)", self.name),
            RecipientKind::Service(_) => format!("{self} (not supported)"),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RecipientKind::Service(title) => write!(f, "{title} {}", self.name),
            _ => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_age_recipient_tells_its_kind() {
        for (name, unsupported) in [
            ("age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq", None),
            ("age1pq1xyz", Some("post-quantum age keys")),
            ("age1yubikey1xyz", Some("age plugins")),
            ("ssh-ed25519 AAAA", Some("SSH keys")),
        ] {
            assert_eq!(Recipient::age(name).unsupported(), unsupported, "{name}");
        }
    }

    #[test]
    fn a_long_name_is_cut_and_keeps_its_note() {
        let long = Recipient::age(&format!("age1pq1{}", "x".repeat(2000))).with_note();
        assert!(
            long.len() < 120 && long.ends_with("… (post-quantum, not supported)"),
            "{long}"
        );
    }
}
