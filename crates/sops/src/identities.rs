//! Age identities, the private keys that files are decrypted with.

use std::collections::HashSet;
use std::fmt;

use age::Decryptor;
use age::armor::ArmoredReader;
use age::x25519;
use zeroize::Zeroizing;

use crate::text;

/// The most lines of a text that are reported as unusable. A file that is not a list of keys may have any number of lines.
const MAX_UNUSABLE: usize = 20;

/// Age identities that may decrypt a file's data key.
///
/// `Debug` shows only the public halves; the keys themselves are wiped on drop by the `age` crate.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<Identity>,
    /// The recipients of `keys`.
    known: HashSet<String>,
    unusable: Vec<String>,
}

#[derive(Clone)]
struct Identity {
    private: x25519::Identity,
    /// The public half, as `sops` metadata names it.
    recipient: String,
}

/// A line of a key file that gives no usable identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableIdentity {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with the line, and what to do. It quotes nothing of the line, which may hold a key.
    pub problem: &'static str,
}

impl fmt::Display for UnusableIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl Identities {
    /// Parses identities in the form of SOPS_AGE_KEY and SOPS_AGE_KEY_FILE: lines with one or more `AGE-SECRET-KEY-1…`,
    /// blank lines, and `#` comments. Text without any key gives an empty set. A key that occurs twice counts once.
    ///
    /// Also returns the lines that give no identity, in order: SSH keys, plugins and post-quantum identities, which age
    /// supports and this crate does not, and anything that is not a key. The other keys are used all the same.
    pub fn parse(bytes: &[u8]) -> (Self, Vec<UnusableIdentity>) {
        let mut found = Self::default();
        let mut unusable = Unusable(Vec::new());
        if let Some(problem) = encrypted(bytes) {
            unusable.add(1, problem);
            return (found, unusable.0);
        }
        let text = Zeroizing::new(match text::from_utf16(bytes) {
            Some(Ok(text)) => text,
            // A line that is not UTF-8 is not a key.
            _ => String::from_utf8_lossy(bytes).into_owned(),
        });
        // Within a key of several lines: how its last line starts.
        let mut until = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start_matches(text::BYTE_ORDER_MARK).trim();
            if let Some(end) = until {
                if line.starts_with(end) {
                    until = None;
                }
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            if line.starts_with("-----BEGIN") {
                unusable.add(index + 1, SSH);
                until = Some("-----END");
                continue;
            }
            for word in line.split_whitespace() {
                match parse_key(word) {
                    Ok(key) => found.add(key),
                    Err(problem) => {
                        unusable.add(index + 1, problem);
                        // The rest of the line belongs to the same problem: `ssh-rsa AAAA… me@host` has three words.
                        break;
                    }
                }
            }
        }
        (found, unusable.0)
    }

    /// Adds the identities and the notes of `other`, without repetitions.
    pub fn extend(&mut self, other: Identities) {
        other.keys.into_iter().for_each(|key| self.add(key));
        other
            .unusable
            .into_iter()
            .for_each(|problem| self.note_unusable(problem));
    }

    /// Notes a source of identities that gave none. The errors of files that can't be decrypted have this text.
    pub fn note_unusable(&mut self, problem: String) {
        if !self.unusable.contains(&problem) {
            self.unusable.push(problem);
        }
    }

    /// The texts of [`Identities::note_unusable`].
    pub fn unusable(&self) -> &[String] {
        &self.unusable
    }

    /// Whether the set has no identity.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The public halves (`age1…`), in order, for messages and for `sops --age`.
    pub fn recipients(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.recipient.clone()).collect()
    }

    /// The identities, for the crate `age`.
    pub fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().map(|key| &key.private as &dyn age::Identity)
    }

    fn add(&mut self, key: Identity) {
        if self.known.insert(key.recipient.clone()) {
            self.keys.push(key);
        }
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identities").field(&self.recipients()).finish()
    }
}

struct Unusable(Vec<UnusableIdentity>);

impl Unusable {
    fn add(&mut self, line: usize, problem: &'static str) {
        if self.0.len() < MAX_UNUSABLE {
            self.0.push(UnusableIdentity { line, problem });
        }
    }
}

const SSH: &str =
    "SSH keys are not supported; convert the key with `ssh-to-age -private-key`, and encrypt the files to the new key";

/// The problem of a key file that is itself encrypted with age; `None` for other files.
fn encrypted(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.trim_ascii_start();
    if !start.starts_with(b"age-encryption.org/") && !start.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
        return None;
    }
    Some(match Decryptor::new(ArmoredReader::new(start)) {
        Ok(file) if file.is_scrypt() => {
            "the key file itself is encrypted with a passphrase, which a server can't ask for; decrypt it with \
             `age -d` and store the result"
        }
        _ => "the key file itself is encrypted with age; decrypt it with `age -d` and store the result",
    })
}

fn parse_key(word: &str) -> Result<Identity, &'static str> {
    if word.starts_with("age1") {
        Err("this is a public key (recipient); the private key starts with AGE-SECRET-KEY-1")
    } else if word.starts_with("AGE-SECRET-KEY-PQ-1") {
        Err("post-quantum age identities are not supported; add an X25519 identity made by `age-keygen`")
    } else if word.starts_with("AGE-PLUGIN-") {
        Err("age plugin identities are not supported; add an X25519 identity made by `age-keygen`")
    } else if word.starts_with("ssh-") {
        Err(SSH)
    } else {
        let private: x25519::Identity = word
            .parse()
            .map_err(|_| "not an age identity; expected AGE-SECRET-KEY-1… as `age-keygen` writes it")?;
        let recipient = private.to_public().to_string();
        Ok(Identity { private, recipient })
    }
}

#[cfg(test)]
mod tests {

    use std::io::Write as _;

    use age::secrecy::{ExposeSecret, SecretString};

    use super::*;

    fn fresh() -> (String, String) {
        let key = x25519::Identity::generate();
        (key.to_string().expose_secret().to_owned(), key.to_public().to_string())
    }

    /// The identities of a text without unusable lines.
    fn all(text: &str) -> Identities {
        let (identities, unusable) = Identities::parse(text.as_bytes());
        assert_eq!(unusable, []);
        identities
    }

    #[test]
    fn a_key_file_of_age_keygen_is_parsed() {
        let (one, public_one) = fresh();
        let (two, public_two) = fresh();
        let text = format!("# created: now\r\n# public key: {public_one}\r\n{one}\r\n\r\n{two}\n");
        let mut identities = all(&text);
        assert_eq!(identities.recipients(), [public_one.clone(), public_two.clone()]);

        let (three, public_three) = fresh();
        identities.extend(all(&format!("{one}\n{three}\n{one}")));
        assert_eq!(identities.recipients(), [public_one, public_two, public_three]);
    }

    #[test]
    fn several_keys_on_one_line_are_read() {
        let (one, _) = fresh();
        let (two, _) = fresh();
        assert_eq!(all(&format!(" {one}  {two} ")).recipients().len(), 2);
    }

    #[test]
    fn a_key_file_of_powershell_is_read() {
        let (key, public) = fresh();
        let text: Vec<u8> = format!("\u{feff}# public key: {public}\r\n{key}\r\n")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(Identities::parse(&text).0.recipients(), [public]);
    }

    #[test]
    fn text_without_keys_gives_an_empty_set() {
        assert!(all("# nothing\n\n").is_empty());
    }

    #[test]
    fn debug_and_problems_never_show_a_private_key() {
        let (key, public) = fresh();
        let shown = format!("{:?}", all(&key));
        assert!(shown.contains(&public) && !shown.contains("SECRET"), "{shown}");

        let last = if key.ends_with('X') { 'Q' } else { 'X' };
        let broken = format!("# ok\n{}{last}", &key[..key.len() - 1]);
        let (identities, unusable) = Identities::parse(broken.as_bytes());
        assert!(identities.is_empty());
        let [problem] = &unusable[..] else {
            panic!("{unusable:?}")
        };
        assert_eq!(problem.line, 2);
        assert!(!problem.to_string().contains(&key[20..40]), "{problem}");
    }

    #[test]
    fn unsupported_keys_are_reported_and_the_others_are_used() {
        let (one, public_one) = fresh();
        let (two, public_two) = fresh();
        let text = format!(
            "{one}\nAGE-SECRET-KEY-PQ-1QQ\nAGE-PLUGIN-YUBIKEY-1QQ\n-----BEGIN OPENSSH PRIVATE KEY-----\n\
             b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\nAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----\n\
             ssh-rsa AAAAB3 me@host\nage1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq\n{two}\ntypo\n"
        );
        let (identities, unusable) = Identities::parse(text.as_bytes());
        assert_eq!(identities.recipients(), [public_one, public_two]);
        let told: Vec<String> = unusable.iter().map(ToString::to_string).collect();
        for (told, (line, word)) in told.iter().zip([
            ("line 2:", "post-quantum"),
            ("line 3:", "plugin"),
            ("line 4:", "SSH"),
            ("line 8:", "SSH"),
            ("line 9:", "public key"),
            ("line 11:", "not an age identity"),
        ]) {
            assert!(told.starts_with(line) && told.contains(word), "{told}");
        }
        assert_eq!(told.len(), 6, "{told:?}");
    }

    #[test]
    fn an_encrypted_key_file_is_reported_as_encrypted() {
        let encrypt = |encryptor: age::Encryptor, armored: bool| {
            let mut file = Vec::new();
            let format = if armored {
                age::armor::Format::AsciiArmor
            } else {
                age::armor::Format::Binary
            };
            let armor = age::armor::ArmoredWriter::wrap_output(&mut file, format).unwrap();
            let mut writer = encryptor.wrap_output(armor).unwrap();
            writer.write_all(fresh().0.as_bytes()).unwrap();
            writer.finish().unwrap().finish().unwrap();
            file
        };
        let told = |file: &[u8]| match Identities::parse(file) {
            (identities, unusable) if identities.is_empty() && unusable.len() == 1 => unusable[0].to_string(),
            other => panic!("{other:?}"),
        };
        for armored in [false, true] {
            let mut passphrase = age::scrypt::Recipient::new(SecretString::from("pass".to_owned()));
            passphrase.set_work_factor(2);
            let file = encrypt(
                age::Encryptor::with_recipients(std::iter::once(&passphrase as _)).unwrap(),
                armored,
            );
            assert!(told(&file).contains("passphrase"), "{}", told(&file));

            let recipient = x25519::Identity::generate().to_public();
            let file = encrypt(
                age::Encryptor::with_recipients(std::iter::once(&recipient as _)).unwrap(),
                armored,
            );
            assert!(told(&file).contains("encrypted with age"), "{}", told(&file));
        }
    }

    #[test]
    fn a_file_that_is_not_a_key_file_is_reported_in_few_lines() {
        let (identities, unusable) = Identities::parse(&b"\xff\x00 nothing\n".repeat(1000));
        assert!(identities.is_empty());
        assert_eq!(unusable.len(), MAX_UNUSABLE);
    }
}
