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
    /// A key that [`crate::Identities`] can hold: what `age-keygen` makes, with and without `-pq`, or an SSH key.
    Age,
    /// `age1tag1…`, `age1tagpq1…`: a key in hardware, which a plugin decrypts with.
    Tagged,
    /// A plugin's key.
    AgePlugin,
    /// PGP, or a key management service of this name.
    Service(&'static str),
}

impl Recipient {
    /// An age recipient. The start of its name tells its kind.
    pub(crate) fn age(recipient: &str) -> Self {
        let kind = if recipient.starts_with("age1pq1") || recipient.starts_with("ssh-") {
            RecipientKind::Age
        } else if recipient.starts_with("age1tag1") || recipient.starts_with("age1tagpq1") {
            RecipientKind::Tagged
        } else if recipient.starts_with("age1") && recipient.matches('1').count() > 1 {
            RecipientKind::AgePlugin
        } else {
            RecipientKind::Age
        };
        Self {
            name: short(recipient),
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

    /// The service that Sidevault would have to use for this recipient; `None` if an age identity can match it.
    pub(crate) fn service_name(&self) -> Option<&'static str> {
        match self.kind {
            RecipientKind::Service(title) => Some(title),
            _ => None,
        }
    }

    /// The name with a note on what it needs, for a list in which others need only a key.
    pub(crate) fn with_note(&self) -> String {
        match self.kind {
            RecipientKind::Age => self.to_string(),
            RecipientKind::Tagged => format!("{} (tagged: a key in hardware, used through its age plugin)", self.name),
            RecipientKind::AgePlugin => format!("{} (a key of an age plugin)", self.name),
            RecipientKind::Service(_) => format!("{self} (not supported)"),
        }
    }
}

/// A public key, escaped, and cut if it is longer than an X25519 name: post-quantum names and RSA keys are longer than a whole
/// log line.
pub(crate) fn short(recipient: &str) -> String {
    const LONGEST: usize = 62;
    match recipient.char_indices().nth(LONGEST) {
        Some((end, _)) => shown(&format!("{}…", &recipient[..end])),
        None => shown(recipient),
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
        for (name, note) in [
            ("age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq", ""),
            ("age1pq1xyz", ""),
            ("ssh-ed25519 AAAA", ""),
            ("age1yubikey1xyz", " (a key of an age plugin)"),
            (
                "age1tag1xyz",
                " (tagged: a key in hardware, used through its age plugin)",
            ),
            (
                "age1tagpq1xyz",
                " (tagged: a key in hardware, used through its age plugin)",
            ),
        ] {
            let recipient = Recipient::age(name);
            assert_eq!(recipient.with_note(), format!("{name}{note}"));
            assert_eq!(recipient.service_name(), None);
        }
    }

    #[test]
    fn a_long_name_is_cut_and_keeps_its_note() {
        let long = Recipient::age(&format!("age1tagpq1{}", "x".repeat(2000))).with_note();
        assert!(long.len() < 140 && long.contains("xx… (tagged"), "{long}");
    }
}
