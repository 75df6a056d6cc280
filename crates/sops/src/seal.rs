//! Encrypts a new file to age recipients, as `sops encrypt` would: YAML with a mapping of texts and bytes.

use std::borrow::Cow;
use std::io::Write as _;
use std::str::FromStr;

use age::armor::{ArmoredWriter, Format as ArmorFormat};
use jiff::Timestamp;
use rand::Rng as _;
use zeroize::Zeroizing;

use crate::cipher::Cipher;
use crate::edit::{json_text, yaml_key};
use crate::identities::PostQuantumRecipient;
use crate::metadata::{KEY, Metadata};
use crate::recipient::short;
use crate::rule::Rule;
use crate::{CreationRule, Format, MAX_FILE_BYTES, SopsError, Value, decrypt, parse, take_blocks};

/// A public key that a new file is encrypted to: X25519 (`age1…`), post-quantum (`age1pq1…`) or SSH (`ssh-ed25519 …`, `ssh-rsa …`).
#[derive(Clone)]
pub struct SealTo {
    name: String,
    key: Key,
}

#[derive(Clone)]
enum Key {
    X25519(age::x25519::Recipient),
    PostQuantum(Box<PostQuantumRecipient>),
    Ssh(age::ssh::Recipient),
}

impl FromStr for SealTo {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let key = if text.starts_with("ssh-") {
            text.parse()
                .map(Key::Ssh)
                .map_err(|_| "is no SSH key of the types that age uses, ed25519 and RSA")?
        } else if let Some(key) = PostQuantumRecipient::parse(text) {
            Key::PostQuantum(Box::new(key))
        } else {
            text.parse().map(Key::X25519).map_err(
                |_| "is no age recipient (age1…, age1pq1…); new files are encrypted to such and to SSH keys only",
            )?
        };
        Ok(Self {
            name: text.to_owned(),
            key,
        })
    }
}

impl std::fmt::Debug for SealTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl SealTo {
    fn recipient(&self) -> &dyn age::Recipient {
        match &self.key {
            Key::X25519(recipient) => recipient,
            Key::PostQuantum(recipient) => &**recipient,
            Key::Ssh(recipient) => recipient,
        }
    }
}

/// Encrypts a document: a mapping of mappings, texts, bytes and nulls. `now` becomes the time of the file's last change.
///
/// The result is read again before it is returned, and must hold exactly the same values.
///
/// # Errors
/// [`SopsError::NotSealable`] if the document is no mapping, is empty, has a top-level key `sops`, or a value of another kind;
/// [`SopsError::Limit`] if the file would be larger than [`MAX_FILE_BYTES`]; [`SopsError::Metadata`] without recipients.
pub fn seal(document: &Value, to: &[SealTo], now: Timestamp) -> Result<Vec<u8>, SopsError> {
    // The rule that sops itself writes; if it would leave a value in the clear, one that encrypts all.
    let (name, text) = match has_unencrypted(document) {
        true => ("encrypted_regex", ".*"),
        false => ("unencrypted_suffix", "_unencrypted"),
    };
    let rule = Rule::from_metadata(|known| (known == name).then(|| text.to_owned()))?;
    seal_with(document, to, (&rule, &format!("    {name}: {text}\n")), now)
}

/// Encrypts a document as a creation rule of `.sops.yaml` says, else as [`seal`].
///
/// # Errors
/// Those of [`seal`], and [`SopsError::NotSealable`] if the rule has no keys, several key groups, keys that are not
/// [`SealTo`], or takes comments for a sign of what is encrypted.
pub fn seal_by(document: &Value, rule: &CreationRule, now: Timestamp) -> Result<Vec<u8>, SopsError> {
    if matches!(rule.rule, Rule::Comments) {
        return Err(refused(
            "comments tell which values are encrypted, and a new file has none; create it with `sops edit`",
        ));
    }
    let [keys] = &rule.groups[..] else {
        return Err(refused(
            "its creation rule has several key groups; create it with `sops edit`",
        ));
    };
    if keys.is_empty() {
        return Err(refused(
            "its creation rule names no keys; add an age recipient to the rule in .sops.yaml, or set SOPS_AGE_RECIPIENTS",
        ));
    }
    let parse = |name: &String| {
        name.parse().map_err(|_| {
            refused(format!(
                "its creation rule names {}, and Sidevault encrypts to age1…, age1pq1… and SSH keys only; create it with `sops edit`",
                short(name)
            ))
        })
    };
    let to = keys.iter().map(parse).collect::<Result<Vec<SealTo>, SopsError>>()?;
    let (name, text) = rule.text.parts();
    let mac_only_encrypted = match rule.mac_only_encrypted {
        true => "    mac_only_encrypted: true\n",
        false => "",
    };
    let lines = format!("    {name}: {}\n{mac_only_encrypted}", json_text(text));
    seal_with(document, &to, (&rule.rule, &lines), now)
}

/// Returns a document as a YAML file that is not encrypted: a mapping of mappings, texts and nulls.
///
/// # Errors
/// [`SopsError::NotSealable`] as for [`seal`].
pub fn plain_yaml(document: &Value) -> Result<Vec<u8>, SopsError> {
    let mut text = String::new();
    mapping(&mut text, entries(document)?, "", Around::default(), None).ok_or(refused(UNWRITABLE))?;
    match parse(Format::Yaml, text.as_bytes()) {
        Ok(documents) if documents == std::slice::from_ref(document) => Ok(text.into_bytes()),
        _ => Err(refused(UNWRITABLE)),
    }
}

/// Encrypts by a rule, which is also given as lines of the metadata.
fn seal_with(
    document: &Value,
    to: &[SealTo],
    (rule, rule_lines): (&Rule, &str),
    now: Timestamp,
) -> Result<Vec<u8>, SopsError> {
    let entries = entries(document)?;
    let mut data_key = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(&mut *data_key);
    let cipher = Cipher::new(&*data_key).ok_or(refused(UNWRITABLE))?;
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();

    let mut text = String::new();
    mapping(&mut text, entries, "", Around::default(), Some((rule, &cipher))).ok_or(refused(UNWRITABLE))?;
    let block = recipients(to, &*data_key)?;
    let with_mac = |mac: &str| {
        format!(
            "{text}{KEY}:\n    age:\n{block}    lastmodified: \"{now}\"\n    mac: {mac}\n{rule_lines}    version: 3.10.2\n"
        )
    };
    // The MAC covers the values as a reader gets them.
    let unsigned = with_mac("none");
    let (mut documents, unsigned) = read(&unsigned)?;
    let computed = decrypt::open(&mut documents, &unsigned, &cipher)?;
    let mac = cipher
        .seal("str", computed.as_bytes(), &now)
        .ok_or(refused(UNWRITABLE))?;
    let whole = with_mac(&mac);
    let (mut documents, metadata) = read(&whole)?;
    decrypt::decrypt(&mut documents, &metadata, &cipher)?;
    if documents.len() != 1 || documents[0] != *document {
        return Err(refused(UNWRITABLE));
    }
    match whole.len() <= MAX_FILE_BYTES {
        true => Ok(whole.into_bytes()),
        false => Err(SopsError::Limit {
            what: "bytes",
            limit: MAX_FILE_BYTES,
        }),
    }
}

/// The entries of a document that can be a file.
fn entries(document: &Value) -> Result<&[(String, Value)], SopsError> {
    let entries = document.as_mapping().filter(|entries| !entries.is_empty());
    let entries = entries.ok_or(refused("only a mapping with entries can be encrypted as a file"))?;
    if entries.iter().any(|(key, _)| key == KEY) {
        return Err(refused(
            "sops uses the name `sops` for its metadata; choose another name",
        ));
    }
    Ok(entries)
}

fn refused(problem: impl Into<Cow<'static, str>>) -> SopsError {
    SopsError::NotSealable {
        problem: problem.into(),
    }
}

const UNWRITABLE: &str =
    "it has a value that can't be written: only texts, bytes, nulls and mappings can be encrypted as a file";

/// Whether a key has the suffix of keys that sops leaves in the clear.
fn has_unencrypted(value: &Value) -> bool {
    let entries = value.as_mapping().unwrap_or_default();
    entries
        .iter()
        .any(|(key, below)| key.ends_with("_unencrypted") || has_unencrypted(below))
}

fn read(text: &str) -> Result<(Vec<Value>, Metadata), SopsError> {
    let mut documents = parse(Format::Yaml, text.as_bytes())?;
    let blocks = take_blocks(Format::Yaml, &mut documents)?;
    let block = blocks.into_iter().next().flatten().ok_or(SopsError::MissingMetadata)?;
    Ok((documents, Metadata::parse(&block)?))
}

/// What is around an entry.
#[derive(Clone, Copy, Default)]
struct Around {
    /// How many mappings.
    depth: usize,
    /// Whether the rule matches one of their keys.
    matched: bool,
}

/// Writes the entries of a mapping. `context` has the keys around them, each followed by `:`. Without `sealing`, nothing is
/// encrypted.
fn mapping(
    out: &mut String,
    entries: &[(String, Value)],
    context: &str,
    around: Around,
    sealing: Option<(&Rule, &Cipher)>,
) -> Option<()> {
    for (key, entry) in entries {
        let context = format!("{context}{key}:");
        out.push_str(&"    ".repeat(around.depth));
        out.push_str(&yaml_key(key));
        out.push(':');
        let matched = around.matched || sealing.is_some_and(|(rule, _)| rule.matches(key));
        value(out, entry, &context, Around { matched, ..around }, sealing)?;
    }
    Some(())
}

/// Writes a value behind its key.
fn value(
    out: &mut String,
    value: &Value,
    context: &str,
    around: Around,
    sealing: Option<(&Rule, &Cipher)>,
) -> Option<()> {
    let cipher = sealing.and_then(|(rule, cipher)| rule.seals(around.matched, true).then_some(cipher));
    let sealed = match (value, cipher) {
        (Value::Null, _) => "null".to_owned(),
        // sops does not encrypt an empty text.
        (Value::String(text), Some(cipher)) if !text.is_empty() => cipher.seal("str", text.as_bytes(), context)?,
        (Value::String(text), _) => json_text(text),
        (Value::Bytes(bytes), Some(cipher)) => cipher.seal("bytes", bytes, context)?,
        (Value::Mapping(entries), _) if entries.is_empty() => "{}".to_owned(),
        (Value::Mapping(entries), _) => {
            out.push('\n');
            let depth = around.depth + 1;
            return mapping(out, entries, context, Around { depth, ..around }, sealing);
        }
        _ => return None,
    };
    out.push(' ');
    out.push_str(&sealed);
    out.push('\n');
    Some(())
}

/// The list of recipients in the `sops` block.
fn recipients(to: &[SealTo], data_key: &[u8]) -> Result<String, SopsError> {
    let failed = |problem: String| SopsError::Metadata { problem };
    if to.is_empty() {
        return Err(failed("no recipient is given".to_owned()));
    }
    let mut list = String::new();
    for recipient in to {
        let wrapped =
            wrap(recipient, data_key).map_err(|error| failed(format!("the data key can't be encrypted: {error}")))?;
        list.push_str(&format!(
            "        - recipient: {}\n          enc: |\n",
            json_text(&recipient.name)
        ));
        for line in wrapped.lines() {
            list.push_str(&format!("            {line}\n"));
        }
    }
    Ok(list)
}

/// The data key as an armored age file for one recipient, as sops has it.
fn wrap(to: &SealTo, data_key: &[u8]) -> std::io::Result<String> {
    let encryptor = age::Encryptor::with_recipients(std::iter::once(to.recipient())).map_err(std::io::Error::other)?;
    let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(Vec::new(), ArmorFormat::AsciiArmor)?)?;
    writer.write_all(data_key)?;
    let armored = writer.finish()?.finish()?;
    String::from_utf8(armored).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{Document, Identities};

    fn keys() -> (SealTo, Identities) {
        let identity = age::x25519::Identity::generate();
        let secret = identity.to_string();
        let (identities, _) = Identities::parse(secret.expose_secret().as_bytes(), None);
        (identity.to_public().to_string().parse().unwrap(), identities)
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Mapping(
            entries
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        )
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_sealed_file_opens_with_each_recipients_key_only() {
        let ((one, first), (two, second), (_, stranger)) = (keys(), keys(), keys());
        let document = map(&[
            ("password", text("s3cret")),
            ("empty", text("")),
            ("odd: key", text("a\nb")),
            ("token_unencrypted", text("s3cret")),
            ("sec", map(&[("x", Value::Bytes(vec![0, 255])), ("none", Value::Null)])),
        ]);
        let sealed = seal(&document, &[one, two], NOW).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("s3cret"));
        for identities in [&first, &second] {
            let read = crate::read(Format::Yaml, &sealed, identities).unwrap();
            assert_eq!(read.document, Document::Tree(vec![document.clone()]));
            assert_eq!(read.lastmodified.as_deref(), Some("1970-01-01T00:00:00Z"));
        }
        assert!(crate::read(Format::Yaml, &sealed, &stranger).is_err());
    }

    #[test]
    fn what_can_not_be_written_is_refused() {
        let (to, _) = keys();
        for document in [
            text("x"),
            map(&[]),
            map(&[("sops", text("x"))]),
            map(&[("a", Value::Sequence(vec![text("x")]))]),
        ] {
            assert!(seal(&document, std::slice::from_ref(&to), NOW).is_err());
        }
        assert!(seal(&map(&[("a", text("x"))]), &[], NOW).is_err());
        for name in ["age1x", "ssh-x", "AGE-SECRET-KEY-1"] {
            assert!(name.parse::<SealTo>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_creation_rule_tells_recipients_and_values() {
        let identities = Identities::parse(include_bytes!("../tests/fixtures/identities.txt"), None).0;
        let document = map(&[
            ("user", text("ada: \"x\" # y\nz")),
            ("empty", text("")),
            ("data", map(&[("a b", text("true")), ("n_unencrypted", text("1"))])),
        ]);
        let by = |rule: &str| {
            let rules = crate::CreationRules::parse(format!("creation_rules:\n  - {rule}\n").as_bytes()).unwrap();
            seal_by(&document, rules.for_path("a.yaml").unwrap(), NOW).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        for values in [
            "",
            ", encrypted_regex: ^data$",
            ", encrypted_regex: ^data$, mac_only_encrypted: true",
        ] {
            let recipients = identities.recipients();
            for recipient in recipients
                .iter()
                .filter(|name| name.starts_with("age1") || name.starts_with("ssh-"))
            {
                let sealed = by(&format!("{{age: \"{recipient}\"{values}}}")).unwrap();
                let read = crate::read(Format::Yaml, sealed.as_bytes(), &identities).unwrap();
                assert_eq!(read.document, Document::Tree(vec![document.clone()]), "{sealed}");
                assert_eq!(sealed.contains("user: ENC["), values.is_empty(), "{sealed}");
                assert!(sealed.contains("\"a b\": ENC["), "{sealed}");
            }
        }
        for (rule, words) in [
            ("pgp: ABCD", "PGP ABCD"),
            ("age: age1yubikey1xyz", "age1yubikey1xyz"),
            ("path_regex: a", "names no keys"),
            ("key_groups: [{age: [a]}, {age: [b]}]", "several key groups"),
            ("{age: age1x, encrypted_comment_regex: x}", "comments tell"),
        ] {
            let told = by(rule).unwrap_err().to_string();
            assert!(told.contains(words), "{words}: {told}");
        }
        let plain = String::from_utf8(plain_yaml(&document).unwrap()).unwrap();
        assert!(plain.contains("\n    \"a b\": \"true\"\n"), "{plain}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_texts_are_read_as_they_were(
            entries in proptest::collection::btree_map(".{1,20}", ".{0,40}", 1..5),
            section in ".{1,20}",
        ) {
            let (to, identities) = keys();
            let inner: Vec<(String, Value)> = entries.iter().map(|(key, value)| (key.clone(), text(value))).collect();
            let mut outer = inner.clone();
            outer.retain(|(key, _)| *key != section && key != KEY);
            prop_assume!(section != KEY);
            outer.push((section, Value::Mapping(inner)));
            let document = Value::Mapping(outer);
            match seal(&document, &[to], NOW) {
                Ok(sealed) => {
                    let read = crate::read(Format::Yaml, &sealed, &identities).unwrap();
                    prop_assert_eq!(read.document, Document::Tree(vec![document]));
                }
                // A merge key, or a character that YAML does not allow.
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
