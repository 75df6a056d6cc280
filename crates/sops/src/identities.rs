//! The age identities (private keys) we hold.

use std::fmt;

use age::x25519;

use crate::SopsError;

/// Age identities that may decrypt a file's data key.
///
/// `Debug` shows only the public halves; the keys themselves are wiped on drop by the `age` crate.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<x25519::Identity>,
}

impl Identities {
    /// Reads identities as SOPS_AGE_KEY and SOPS_AGE_KEY_FILE hold them: `AGE-SECRET-KEY-1…`, one or
    /// more a line, with blank lines and `#` comments between. Text without any key gives an empty
    /// set.
    ///
    /// # Errors
    /// [`SopsError::Identity`] with the line number if a line holds anything else, among it what
    /// age knows and we do not: SSH keys, plugins and post-quantum identities.
    pub fn parse(text: &str) -> Result<Self, SopsError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.starts_with('#') {
                continue;
            }
            for word in line.split_whitespace() {
                let key = parse_key(word).map_err(|problem| SopsError::Identity {
                    line: index + 1,
                    problem,
                })?;
                keys.push(key);
            }
        }
        Ok(Self { keys })
    }

    /// Adds the identities of `other`.
    pub fn extend(&mut self, other: Identities) {
        self.keys.extend(other.keys);
    }

    /// Whether there is no identity at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The public halves (`age1…`), in order, for messages and for `sops --age`.
    pub fn recipients(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.to_public().to_string()).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| key as &dyn age::Identity)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identities").field(&self.recipients()).finish()
    }
}

fn parse_key(word: &str) -> Result<x25519::Identity, &'static str> {
    if word.starts_with("age1") {
        Err("this is a public key (recipient); the private key starts with AGE-SECRET-KEY-1")
    } else if word.starts_with("AGE-SECRET-KEY-PQ-1") {
        Err("post-quantum age identities are not supported; add an X25519 identity made by `age-keygen`")
    } else if word.starts_with("AGE-PLUGIN-") {
        Err("age plugin identities are not supported; add an X25519 identity made by `age-keygen`")
    } else if word.starts_with("-----BEGIN") || word.starts_with("ssh-") {
        Err("SSH keys are not supported; convert it with `ssh-to-age -private-key` and encrypt to that")
    } else {
        word.parse()
            .map_err(|_| "not an age identity; expected AGE-SECRET-KEY-1… as `age-keygen` writes it")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use age::secrecy::ExposeSecret;

    use super::*;

    fn fresh() -> (String, String) {
        let key = x25519::Identity::generate();
        (key.to_string().expose_secret().to_owned(), key.to_public().to_string())
    }

    #[test]
    fn a_key_file_of_age_keygen_is_read() {
        let (one, public_one) = fresh();
        let (two, public_two) = fresh();
        let text = format!("# created: now\r\n# public key: {public_one}\r\n{one}\r\n\r\n{two}\n");
        let mut identities = Identities::parse(&text).unwrap();
        assert_eq!(identities.recipients(), [public_one.clone(), public_two.clone()]);

        let (three, public_three) = fresh();
        identities.extend(Identities::parse(&three).unwrap());
        assert_eq!(identities.recipients(), [public_one, public_two, public_three]);
    }

    #[test]
    fn several_keys_on_one_line_are_read() {
        let (one, _) = fresh();
        let (two, _) = fresh();
        assert_eq!(
            Identities::parse(&format!(" {one}  {two} "))
                .unwrap()
                .recipients()
                .len(),
            2
        );
    }

    #[test]
    fn no_keys_is_an_empty_set() {
        assert!(Identities::parse("# nothing\n\n").unwrap().is_empty());
    }

    #[test]
    fn debug_and_errors_never_show_a_private_key() {
        let (key, public) = fresh();
        let shown = format!("{:?}", Identities::parse(&key).unwrap());
        assert!(shown.contains(&public) && !shown.contains("SECRET"), "{shown}");

        let last = if key.ends_with('X') { 'Q' } else { 'X' };
        let broken = format!("# ok\n{}{last}", &key[..key.len() - 1]);
        let error = Identities::parse(&broken).unwrap_err();
        assert!(matches!(error, SopsError::Identity { line: 2, .. }), "{error}");
        assert!(!error.to_string().contains(&key[20..40]), "{error}");
    }

    #[test]
    fn what_age_knows_and_we_do_not_is_named() {
        for (text, word) in [
            (
                "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq",
                "public key",
            ),
            ("AGE-PLUGIN-YUBIKEY-1QQ", "plugin"),
            ("AGE-SECRET-KEY-PQ-1QQ", "post-quantum"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "SSH"),
        ] {
            let error = Identities::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
