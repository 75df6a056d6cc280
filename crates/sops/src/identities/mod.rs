//! Age identities, the private keys that files are decrypted with.

mod plugin;
mod post_quantum;
mod ssh;
#[cfg(test)]
mod testkit_tests;
mod x_wing;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::io::Read as _;
use std::sync::Arc;

use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, scrypt, x25519};
use zeroize::Zeroizing;

use self::post_quantum::PostQuantumIdentity;
pub(crate) use self::post_quantum::PostQuantumRecipient;
use crate::text;

/// The most lines of a text that are reported as unusable. A file that is not a list of keys may have any number of lines.
const MAX_UNUSABLE: usize = 20;

/// The largest key file, in bytes: 16 MiB, as in age.
const MAX_KEY_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The most work that the passphrase of a key file may cost, as a power of two: 1 GiB of memory. `age -p` takes 18.
const MAX_WORK_FACTOR: u8 = 20;

/// Age identities that may decrypt a file's data key.
///
/// `Debug` shows only the public halves; the keys themselves are wiped on drop.
#[derive(Clone, Default)]
pub struct Identities {
    keys: Vec<Identity>,
    /// The recipients of `keys`, and the texts of plugin identities.
    known: HashSet<String>,
    unusable: Vec<String>,
}

#[derive(Clone)]
struct Identity {
    private: Arc<dyn age::Identity + Send + Sync>,
    /// The public half, as `sops` metadata names it. For a plugin's identity, which does not tell its public half, the name
    /// of the plugin's program.
    recipient: String,
    is_plugin: bool,
    /// What makes two identities the same one.
    same: String,
}

/// A line of a key file that gives no usable identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableIdentity {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with the line, and what to do. It quotes nothing of the line, which may hold a key.
    pub problem: Cow<'static, str>,
}

impl fmt::Display for UnusableIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl Identities {
    /// Parses identities in the form of SOPS_AGE_KEY and SOPS_AGE_KEY_FILE: lines with one or more of `AGE-SECRET-KEY-1…`,
    /// `AGE-SECRET-KEY-PQ-1…` and `AGE-PLUGIN-…`, SSH private keys, blank lines, and `#` comments. Text without any key gives
    /// an empty set. A key that occurs twice counts once.
    ///
    /// `passphrase` decrypts a key file that is itself encrypted with a passphrase, and SSH keys that are.
    ///
    /// Also returns the lines that give no identity, in order: plugins whose program is missing, SSH keys that age does not
    /// support, and anything that is not a key. The other keys are used all the same.
    pub fn parse(bytes: &[u8], passphrase: Option<&str>) -> (Self, Vec<UnusableIdentity>) {
        let passphrase = passphrase.map(SecretString::from);
        if !Self::is_protected(bytes) {
            return Self::parse_plain(bytes, passphrase.as_ref());
        }
        match decrypt_key_file(bytes, passphrase) {
            Ok(plain) => Self::parse_plain(&plain, None),
            Err(problem) => (
                Self::default(),
                vec![UnusableIdentity {
                    line: 1,
                    problem: problem.into(),
                }],
            ),
        }
    }

    /// Whether a key file is itself encrypted with age, so that parsing it needs a passphrase and costs time and memory.
    pub fn is_protected(bytes: &[u8]) -> bool {
        let start = bytes.trim_ascii_start();
        start.starts_with(b"age-encryption.org/") || start.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
    }

    fn parse_plain(bytes: &[u8], passphrase: Option<&SecretString>) -> (Self, Vec<UnusableIdentity>) {
        let mut found = Self::default();
        let mut unusable = Unusable(Vec::new());
        let text = Zeroizing::new(match text::from_utf16(bytes) {
            Some(Ok(text)) => text,
            // A line that is not UTF-8 is not a key.
            _ => String::from_utf8_lossy(bytes).into_owned(),
        });
        // The lines of a key of several lines, and the number of the first.
        let mut block: Option<(usize, Zeroizing<String>)> = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start_matches(text::BYTE_ORDER_MARK).trim();
            if line.starts_with("-----BEGIN") && block.is_none() {
                // The text is at most as long as the whole file, so it is never moved to a larger place and left behind.
                block = Some((index + 1, Zeroizing::new(String::with_capacity(text.len() + 1))));
            }
            if let Some((start, lines)) = &mut block {
                lines.push_str(line);
                lines.push('\n');
                if line.starts_with("-----END") {
                    match ssh::parse(lines, passphrase) {
                        Ok((key, recipient)) => found.add(Identity::new(key, recipient)),
                        Err(problem) => unusable.add(*start, problem),
                    }
                    block = None;
                }
                continue;
            }
            if line.starts_with('#') {
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
        if let Some((start, _)) = block {
            unusable.add(start, "the SSH key has no last line (-----END …)".into());
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

    /// The public halves (`age1…`, `age1pq1…`, `ssh-…`) in order, for messages and for `sops --age`. An identity of a plugin
    /// does not tell its public half, so the plugin's program stands for it.
    pub fn recipients(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.recipient.clone()).collect()
    }

    /// All identities, for the crate `age`: plugins last, because each of those starts a program.
    pub fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.own().chain(self.plugins())
    }

    /// Decrypts an age file, armored or not, that has at most `limit` bytes of content.
    ///
    /// # Errors
    /// Why it can't be decrypted, without its content.
    pub fn open_age(&self, bytes: &[u8], limit: u64) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        const DAMAGED: &str = "it is no age file, or it was damaged";
        let decryptor = Decryptor::new(ArmoredReader::new(bytes)).map_err(|_| DAMAGED)?;
        let content = decryptor.decrypt(self.iter()).map_err(|error| match error {
            DecryptError::NoMatchingKeys => "none of the age keys opens it",
            _ => DAMAGED,
        })?;
        let mut plain = Zeroizing::new(Vec::new());
        content.take(limit + 1).read_to_end(&mut plain).map_err(|_| DAMAGED)?;
        match plain.len() as u64 > limit {
            true => Err("it is too large"),
            false => Ok(plain),
        }
    }

    /// The identities that decrypt without another program.
    pub(crate) fn own(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.kind(false)
    }

    /// The identities of plugins. Each starts a program.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.kind(true)
    }

    fn kind(&self, is_plugin: bool) -> impl Iterator<Item = &dyn age::Identity> {
        let keys = self.keys.iter().filter(move |key| key.is_plugin == is_plugin);
        keys.map(|key| &*key.private as &dyn age::Identity)
    }

    fn add(&mut self, key: Identity) {
        if self.known.insert(key.same.clone()) {
            self.keys.push(key);
        }
    }
}

impl Identity {
    fn new(private: impl age::Identity + Send + Sync + 'static, recipient: String) -> Self {
        Self {
            private: Arc::new(private),
            same: recipient.clone(),
            recipient,
            is_plugin: false,
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
    fn add(&mut self, line: usize, problem: Cow<'static, str>) {
        if self.0.len() < MAX_UNUSABLE {
            self.0.push(UnusableIdentity { line, problem });
        }
    }
}

/// Decrypts a key file that is itself encrypted with a passphrase.
fn decrypt_key_file(bytes: &[u8], passphrase: Option<SecretString>) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const DAMAGED: &str = "the key file is encrypted with age and damaged; restore it";
    let file = Decryptor::new(ArmoredReader::new(bytes.trim_ascii_start())).map_err(|_| DAMAGED)?;
    if !file.is_scrypt() {
        return Err(
            "the key file itself is encrypted to an age key, not with a passphrase; decrypt it with `age -d` and store the result",
        );
    }
    let passphrase = passphrase.ok_or(
        "the key file itself is encrypted with a passphrase; store the passphrase in a file, and name that file in \
         SIDEVAULT_AGE_PASSPHRASE_FILE",
    )?;
    let mut identity = scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let plain = file.decrypt(std::iter::once(&identity as _)).map_err(|error| match error {
        DecryptError::ExcessiveWork { .. } => {
            "the passphrase of the key file needs more than 1 GiB of memory (its work factor is over 20); encrypt the key \
             file again with `age -p`"
        }
        DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            "the passphrase in SIDEVAULT_AGE_PASSPHRASE_FILE does not decrypt this key file"
        }
        _ => DAMAGED,
    })?;
    let mut keys = Zeroizing::new(Vec::with_capacity(bytes.len()));
    plain
        .take(MAX_KEY_FILE_BYTES)
        .read_to_end(&mut keys)
        .map_err(|_| DAMAGED)?;
    Ok(keys)
}

fn parse_key(word: &str) -> Result<Identity, Cow<'static, str>> {
    if word.starts_with("age1") {
        Err("this is a public key (recipient); the private key starts with AGE-SECRET-KEY-".into())
    } else if word.starts_with("AGE-SECRET-KEY-PQ-1") {
        let private = PostQuantumIdentity::parse(word).ok_or(
            "not a valid post-quantum age identity; expected AGE-SECRET-KEY-PQ-1… as `age-keygen -pq` writes it",
        )?;
        let recipient = private.recipient();
        Ok(Identity::new(private, recipient))
    } else if word.starts_with("AGE-PLUGIN-") {
        let (private, program) = plugin::parse(word)?;
        Ok(Identity {
            private: Arc::new(private),
            recipient: program,
            is_plugin: true,
            same: word.to_owned(),
        })
    } else if word.starts_with("ssh-") {
        Err(
            "this is the public half of an SSH key; the private key starts with -----BEGIN OPENSSH PRIVATE KEY-----"
                .into(),
        )
    } else {
        let private: x25519::Identity = word
            .parse()
            .map_err(|_| "not an age identity; expected AGE-SECRET-KEY-1… as `age-keygen` writes it")?;
        let recipient = private.to_public().to_string();
        Ok(Identity::new(private, recipient))
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
        let (identities, unusable) = Identities::parse(text.as_bytes(), None);
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
        assert_eq!(Identities::parse(&text, None).0.recipients(), [public]);
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
        let (identities, unusable) = Identities::parse(broken.as_bytes(), None);
        assert!(identities.is_empty());
        let [problem] = &unusable[..] else {
            panic!("{unusable:?}")
        };
        assert_eq!(problem.line, 2);
        assert!(!problem.to_string().contains(&key[20..40]), "{problem}");
    }

    #[test]
    fn keys_that_cannot_be_used_are_reported_and_the_others_are_used() {
        let (one, public_one) = fresh();
        let (two, public_two) = fresh();
        let plugin = "AGE-PLUGIN-ABSENT-1QQPQVJE5NT";
        let text = format!(
            "{one}\nAGE-SECRET-KEY-PQ-1QQ\n{plugin}\n-----BEGIN OPENSSH PRIVATE KEY-----\n\
             b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\nAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----\n\
             ssh-rsa AAAAB3 me@host\nage1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq\n{two}\ntypo\n\
             -----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n"
        );
        let (identities, unusable) = Identities::parse(text.as_bytes(), None);
        assert_eq!(identities.recipients(), [public_one, public_two]);
        let told: Vec<String> = unusable.iter().map(ToString::to_string).collect();
        for (told, (line, word)) in told.iter().zip([
            ("line 2:", "not a valid post-quantum"),
            ("line 3:", "age plugin"),
            ("line 4:", "not an SSH private key"),
            ("line 8:", "public half of an SSH key"),
            ("line 9:", "public key"),
            ("line 11:", "not an age identity"),
            ("line 12:", "no last line"),
        ]) {
            assert!(told.starts_with(line) && told.contains(word), "{told}");
        }
        assert_eq!(told.len(), 7, "{told:?}");
    }

    #[test]
    fn no_kind_of_private_key_is_shown_by_debug() {
        let seed = age_core::primitives::bech32_encode(bech32::Hrp::parse_unchecked("age-secret-key-pq-"), &[5; 32]);
        let shown = format!("{:?}", all(&seed.to_uppercase()));
        assert!(
            shown.contains("age1pq1") && !shown.contains("SECRET") && !shown.contains(&seed[20..]),
            "{shown}"
        );
    }

    #[test]
    fn a_key_file_with_a_passphrase_is_opened_with_it_and_others_are_reported() {
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
        let told = |file: &[u8], passphrase| match Identities::parse(file, passphrase) {
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
            assert_eq!(Identities::parse(&file, Some("pass")).0.recipients().len(), 1);
            let missing = told(&file, None);
            assert!(
                missing.contains("name that file in SIDEVAULT_AGE_PASSPHRASE_FILE"),
                "{missing}"
            );
            let wrong = told(&file, Some("other"));
            assert!(wrong.contains("does not decrypt this key file"), "{wrong}");
            let cut = told(&file[..file.len() - 30], Some("pass"));
            assert!(cut.contains("damaged"), "{cut}");

            let recipient = x25519::Identity::generate().to_public();
            let file = encrypt(
                age::Encryptor::with_recipients(std::iter::once(&recipient as _)).unwrap(),
                armored,
            );
            let to_a_key = told(&file, Some("pass"));
            assert!(to_a_key.contains("encrypted to an age key"), "{to_a_key}");
        }
    }

    #[test]
    fn a_file_that_is_not_a_key_file_is_reported_in_few_lines() {
        let (identities, unusable) = Identities::parse(&b"\xff\x00 nothing\n".repeat(1000), None);
        assert!(identities.is_empty());
        assert_eq!(unusable.len(), MAX_UNUSABLE);
    }
}
