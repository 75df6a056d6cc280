//! Encrypted values: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`. The code calls them sealed.

use aes_gcm::aead::consts::U32;
use aes_gcm::aes::Aes256;
use aes_gcm::{AeadInOut, AesGcm, KeyInit, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use rand::Rng as _;
use zeroize::Zeroizing;

use crate::yaml::timestamp;
use crate::{Value, number};

/// SOPS encrypts with AES-256-GCM and a nonce of 256 bits; usual are 96.
type SopsGcm = AesGcm<Aes256, U32>;

const PREFIX: &str = "ENC[AES256_GCM,";

/// Why a value can't be decrypted, and what to do. It has nothing of the content.
pub(crate) type Problem = &'static str;

/// A decrypted value.
pub(crate) enum Opened {
    Value(Value),
    /// A comment, which sops encrypted as the item of a list.
    Comment,
}

/// Decrypts values with a file's data key, which is wiped on drop.
pub(crate) struct Cipher(SopsGcm);

impl Cipher {
    /// Returns `None` if the data key does not have 256 bits.
    pub(crate) fn new(data_key: &[u8]) -> Option<Self> {
        SopsGcm::new_from_slice(data_key).ok().map(Self)
    }

    /// Decrypts `sealed`. It must have been encrypted with `context`, the keys on its path.
    pub(crate) fn open(&self, sealed: &str, context: &str) -> Result<Opened, Problem> {
        let envelope = Envelope::parse(sealed)
            .ok_or("the value is not in the form ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]; restore it, or set it again with `sops edit`")?;
        let mut plain = Zeroizing::new(envelope.data);
        self.0
            .decrypt_inout_detached(
                &envelope.nonce,
                context.as_bytes(),
                plain.as_mut_slice().into(),
                &envelope.tag,
            )
            .map_err(|_| "the value can't be decrypted: it was changed, moved here from another key, or encrypted with another file's data key; restore it, or set it again with `sops edit`")?;
        typed(envelope.kind, plain)
    }

    /// Encrypts `plain` with `context` and a new nonce. `kind` is the type that is noted beside it. `None` if the text is too
    /// long for the cipher, which no file's is.
    pub(crate) fn seal(&self, kind: &str, plain: &[u8], context: &str) -> Option<String> {
        let mut nonce = Nonce::<U32>::default();
        rand::rng().fill_bytes(&mut nonce);
        let mut data = Zeroizing::new(plain.to_vec());
        let tag = self
            .0
            .encrypt_inout_detached(&nonce, context.as_bytes(), data.as_mut_slice().into())
            .ok()?;
        let [data, nonce, tag] = [&data[..], &nonce, &tag].map(|bytes| STANDARD.encode(bytes));
        Some(format!("{PREFIX}data:{data},iv:{nonce},tag:{tag},type:{kind}]"))
    }
}

struct Envelope<'a> {
    data: Vec<u8>,
    nonce: Nonce<U32>,
    tag: Tag,
    kind: &'a str,
}

impl<'a> Envelope<'a> {
    fn parse(sealed: &'a str) -> Option<Self> {
        let inner = sealed.strip_prefix(PREFIX)?.strip_prefix("data:")?.strip_suffix(']')?;
        let (data, rest) = inner.split_once(",iv:")?;
        let (nonce, rest) = rest.split_once(",tag:")?;
        let (tag, kind) = rest.split_once(",type:")?;
        Some(Self {
            data: STANDARD.decode(data).ok()?,
            nonce: Nonce::try_from(STANDARD.decode(nonce).ok()?.as_slice()).ok()?,
            tag: Tag::try_from(STANDARD.decode(tag).ok()?.as_slice()).ok()?,
            kind,
        })
    }
}

/// Whether a text in the form of an encrypted value is a comment, which sops encrypts as the item of a list.
pub(crate) fn is_comment(sealed: &str) -> bool {
    looks_sealed(sealed) && sealed.ends_with(",type:comment]")
}

/// Whether `text` starts like an encrypted value.
pub(crate) fn looks_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The start of every encrypted value, for a search in raw bytes. Every file that SOPS encrypted has one at least: its MAC.
pub(crate) const SEALED_MARK: &[u8] = b"ENC[AES256_GCM,data:";

/// Whether `bytes` contain the start of an encrypted value.
pub fn holds_mark(bytes: &[u8]) -> bool {
    memmem::find(bytes, SEALED_MARK).is_some()
}

/// Converts decrypted bytes to a value of the type that sops noted beside them.
///
/// sops authenticates the bytes, not the type. The MAC covers the converted value, so someone who changes the type gets at
/// most another reading of the same text.
fn typed(kind: &str, mut plain: Zeroizing<Vec<u8>>) -> Result<Opened, Problem> {
    let value = match kind {
        "str" => Value::from_bytes(std::mem::take(&mut *plain)),
        "bytes" => Value::Bytes(std::mem::take(&mut *plain)),
        "comment" => return Ok(Opened::Comment),
        _ => {
            let text = std::str::from_utf8(&plain).map_err(|_| MISTYPED)?;
            match kind {
                "int" => Value::Int(text.parse::<i64>().map_err(|_| MISTYPED)?.to_string()),
                "float" => number::float_value(text.parse().map_err(|_| MISTYPED)?),
                "bool" => Value::Bool(boolean(text).ok_or(MISTYPED)?),
                "time" => Value::Time(timestamp::parse(text).ok_or(MISTYPED)?),
                _ => {
                    return Err(
                        "the value has a type that this version does not know; update Sidevault, or set the value again with `sops edit`",
                    );
                }
            }
        }
    };
    Ok(Opened::Value(value))
}

const MISTYPED: Problem =
    "the decrypted value does not have the type that is noted beside it; set it again with `sops edit`";

/// Parses a boolean like Go's `strconv.ParseBool`. sops itself writes `True` and `False`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn cipher() -> Cipher {
        Cipher::new(&[7; 32]).unwrap()
    }

    fn seal(plain: &[u8], kind: &str, context: &str) -> String {
        let nonce = Nonce::<U32>::from([9; 32]);
        let mut data = plain.to_vec();
        let tag = cipher()
            .0
            .encrypt_inout_detached(&nonce, context.as_bytes(), data.as_mut_slice().into())
            .unwrap();
        format!(
            "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{kind}]",
            STANDARD.encode(data),
            STANDARD.encode(nonce),
            STANDARD.encode(tag)
        )
    }

    fn open(sealed: &str, context: &str) -> Result<Value, Problem> {
        match cipher().open(sealed, context)? {
            Opened::Value(value) => Ok(value),
            Opened::Comment => Err("comment"),
        }
    }

    #[test]
    fn every_type_is_decrypted_to_its_value() {
        for (plain, kind, value) in [
            ("text", "str", Value::String("text".into())),
            ("-42", "int", Value::Int("-42".into())),
            ("0.10", "float", Value::Float("0.1".into())),
            ("True", "bool", Value::Bool(true)),
            ("raw", "bytes", Value::Bytes(b"raw".to_vec())),
            (
                "2024-01-31T10:00:00.5+02:00",
                "time",
                Value::Time("2024-01-31T10:00:00.5+02:00".into()),
            ),
        ] {
            assert_eq!(open(&seal(plain.as_bytes(), kind, "a:"), "a:").unwrap(), value);
        }
        assert_eq!(
            open(&seal(&[0xff], "str", "a:"), "a:").unwrap(),
            Value::Bytes(vec![0xff])
        );
        assert_eq!(open(&seal(b" x", "comment", "a:"), "a:"), Err("comment"));
    }

    #[test]
    fn a_value_can_be_decrypted_at_its_own_key_only() {
        assert!(open(&seal(b"x", "str", "a:"), "b:").is_err());
    }

    #[test]
    fn a_changed_character_anywhere_in_the_envelope_is_refused() {
        let sealed = seal(b"hunter2", "str", "a:");
        let types_at = sealed.find(",type:").unwrap();
        for index in 0..types_at {
            let mut changed = sealed.clone().into_bytes();
            changed[index] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(open(&changed, "a:").is_err(), "{changed}");
        }
    }

    #[test]
    fn values_that_do_not_match_their_type_are_refused() {
        for (plain, kind) in [
            ("x", "int"),
            ("x", "float"),
            ("yes", "bool"),
            ("now", "time"),
            ("x", "set"),
        ] {
            assert!(open(&seal(plain.as_bytes(), kind, "a:"), "a:").is_err());
        }
    }
}
