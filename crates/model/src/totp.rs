//! Computes one-time codes (RFC 6238) from the value of an OTP field.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::time::Timestamp;

/// Base32 as people paste it: in any case, with spaces and hyphens between groups, with or without padding, and with any trailing
/// bits.
static BASE32: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    spec.translate.from.push_str("abcdefghijklmnopqrstuvwxyz");
    spec.translate.to.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    spec.ignore.push_str(" \t\r\n-=");
    spec.check_trailing_bits = false;
    spec.encoding().ok()
});

#[derive(Clone, Copy)]
enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// The parameters of the codes.
struct Seed {
    key: Vec<u8>,
    algorithm: Algorithm,
    digits: u32,
    /// In seconds.
    period: u64,
}

/// The code at a time. `None` if the value is not a seed.
///
/// The value is an `otpauth://totp/…` URI with algorithm (SHA1, SHA256, SHA512), digits (6–8) and period, or only a seed in base32,
/// which means SHA1, 6 digits and 30 seconds.
///
/// ```
/// use sidevault_model::{Timestamp, totp};
/// // RFC 6238, appendix B; the key is "12345678901234567890".
/// let uri = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&digits=8";
/// assert_eq!(totp::code(uri, Timestamp::from_millis(59_000)).as_deref(), Some("94287082"));
/// ```
pub fn code(value: &str, at: Timestamp) -> Option<String> {
    let seed = Seed::parse(value)?;
    let counter = u64::try_from(at.as_seconds()).ok()? / seed.period;
    let digest = match seed.algorithm {
        Algorithm::Sha1 => mac::<Hmac<Sha1>>(&seed.key, counter),
        Algorithm::Sha256 => mac::<Hmac<Sha256>>(&seed.key, counter),
        Algorithm::Sha512 => mac::<Hmac<Sha512>>(&seed.key, counter),
    }?;
    // RFC 4226, section 5.3: the last four bits are the offset of the 31 bits that make the code.
    let start = usize::from(digest.last()? & 0x0f);
    let word: [u8; 4] = digest.get(start..start + 4)?.try_into().ok()?;
    let number = (u32::from_be_bytes(word) & 0x7fff_ffff) % 10u32.pow(seed.digits);
    Some(format!("{number:0width$}", width = seed.digits as usize))
}

/// Adds `totp`, the code at a time, to each OTP field with a valid seed in the JSON of a full item. Other JSON, and bytes that are
/// no JSON, are returned unchanged.
pub fn insert_codes(full_json: &[u8], at: Timestamp) -> Vec<u8> {
    with_codes(full_json, at).unwrap_or_else(|| full_json.to_vec())
}

fn with_codes(full_json: &[u8], at: Timestamp) -> Option<Vec<u8>> {
    let mut item: Value = serde_json::from_slice(full_json).ok()?;
    for field in item.get_mut("fields")?.as_array_mut()? {
        let Some(field) = field.as_object_mut() else {
            continue;
        };
        if field.get("type").and_then(Value::as_str) != Some("OTP") {
            continue;
        }
        if let Some(code) = field
            .get("value")
            .and_then(Value::as_str)
            .and_then(|value| code(value, at))
        {
            field.insert("totp".to_owned(), code.into());
        }
    }
    serde_json::to_vec(&item).ok()
}

fn mac<M: KeyInit + Mac>(key: &[u8], counter: u64) -> Option<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    mac.update(&counter.to_be_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

impl Seed {
    fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let scheme = "otpauth://";
        match value.get(..scheme.len()) {
            Some(start) if start.eq_ignore_ascii_case(scheme) => Self::from_uri(&value[scheme.len()..]),
            _ => Some(Self {
                key: key(value)?,
                algorithm: Algorithm::Sha1,
                digits: 6,
                period: 30,
            }),
        }
    }

    /// `rest` is the URI after `otpauth://`. `None` for codes by counter (`hotp`), which can't be computed from the time.
    fn from_uri(rest: &str) -> Option<Self> {
        let (path, query) = rest.split_once('?')?;
        let kind = path.split('/').next()?;
        let query = query.split('#').next()?;
        if !kind.eq_ignore_ascii_case("totp") {
            return None;
        }
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            // In a query `+` is a space.
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().ok()?;
            (!value.is_empty()).then(|| value.into_owned())
        };
        let algorithm = match parameter("algorithm")
            .map(|name| name.to_ascii_uppercase().replace('-', ""))
            .as_deref()
        {
            None | Some("SHA1") => Algorithm::Sha1,
            Some("SHA256") => Algorithm::Sha256,
            Some("SHA512") => Algorithm::Sha512,
            Some(_) => return None,
        };
        let digits = parameter("digits").map_or(Some(6), |digits| digits.parse().ok())?;
        let period = parameter("period").map_or(Some(30), |period| period.parse().ok())?;
        let usable = (6..=8).contains(&digits) && period > 0;
        usable.then_some(Self {
            key: key(&parameter("secret")?)?,
            algorithm,
            digits,
            period,
        })
    }
}

fn key(base32: &str) -> Option<Vec<u8>> {
    let key = BASE32.as_ref()?.decode(base32.as_bytes()).ok()?;
    (!key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    // RFC 6238, appendix B, whose keys are the digits 1234567890 repeated to the length of the hash. Check 86.
    #[test]
    fn the_vectors_of_rfc_6238() {
        let vectors = [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ];
        let uri = |algorithm: &str, length: usize| {
            let key: Vec<u8> = b"1234567890".iter().copied().cycle().take(length).collect();
            let secret = data_encoding::BASE32_NOPAD.encode(&key);
            format!("otpauth://totp/Ex%20ample:me?secret={secret}&issuer=x&algorithm={algorithm}&digits=8&period=30")
        };
        for (seconds, sha1, sha256, sha512) in vectors {
            assert_eq!(code(&uri("SHA1", 20), at(seconds)).unwrap(), sha1);
            assert_eq!(code(&uri("SHA256", 32), at(seconds)).unwrap(), sha256);
            assert_eq!(code(&uri("SHA512", 64), at(seconds)).unwrap(), sha512);
        }
    }

    // Check 85.
    #[test]
    fn pasted_seeds_are_read() {
        for seed in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezd gnbv gy3t qojq gezd gnbv gy3t qojq",
            " GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ== ",
            "otpauth://totp/?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "OTPAUTH://TOTP/x?Secret=gezdgnbvgy3tqojq%20gezdgnbvgy3tqojq%3D%3D&period=",
        ] {
            assert_eq!(code(seed, at(59)).as_deref(), Some("287082"), "{seed}");
        }
    }

    #[test]
    fn trailing_bits_are_ignored() {
        assert_eq!(code("GEZDGNBVGY3TQOJQGF", at(59)), code("GEZDGNBVGY3TQOJQGE", at(59)));
        assert!(code("GEZDGNBVGY3TQOJQGF", at(59)).is_some());
    }

    #[test]
    fn period_and_digits_are_honoured() {
        let uri = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(code(&format!("{uri}&digits=7"), at(59)).unwrap(), "4287082");
        // Counter 1 again, an hour long.
        assert_eq!(code(&format!("{uri}&period=3600"), at(3_600)).unwrap(), "287082");
        assert_eq!(code(&format!("{uri}&period=1"), at(1)).unwrap(), "287082");
    }

    // Check 87.
    #[test]
    fn a_broken_seed_has_no_code() {
        for seed in [
            "",
            "   ",
            "1",
            "not base32!",
            "ÄÖÜ",
            "otpauth://totp/x",
            "otpauth://totp/x?secret=",
            "otpauth://totp/x?secret=%",
            "otpauth://totp/x?secret=%FF",
            "otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQ&counter=1",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&algorithm=MD5",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&digits=9",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&digits=5",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&period=0",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&period=x",
        ] {
            assert_eq!(code(seed, at(59)), None, "{seed}");
        }
        assert_eq!(code("GEZDGNBVGY3TQOJQ", at(-1)), None);
    }

    // Checks 85 and 87.
    #[test]
    fn codes_are_added_to_otp_fields_with_valid_seeds() {
        let json = concat!(
            r#"{"title":"x","fields":[{"id":"a","type":"OTP","value":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"},"#,
            r#"{"id":"b","type":"OTP","value":"?"},{"id":"c","type":"STRING","value":"GEZDGNBVGY3TQOJQ"}]}"#
        );
        let wanted = json.replacen(r#""},"#, r#"","totp":"287082"},"#, 1);
        assert_eq!(
            String::from_utf8(insert_codes(json.as_bytes(), at(59))).unwrap(),
            wanted
        );
        for odd in ["", "{", "[]", r#"{"fields":3}"#, "\u{1f511}"] {
            assert_eq!(insert_codes(odd.as_bytes(), at(59)), odd.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn never_panics(value in ".*|otpauth://totp/x\\?(secret|digits|period|algorithm)=[A-Z0-9%&=]*", millis: i64) {
            if let Some(code) = code(&value, Timestamp::from_millis(millis)) {
                prop_assert!((6..=8).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit()));
            }
        }
    }
}
